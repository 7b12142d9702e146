//! Core values, as a call passes them: raw cells of 64 bits.

/// The most cells of a call: sixteen parameters, and the pointer that a result is to be written to.
pub(crate) const MAX: usize = 17;

/// Core values on the way in or out, without an allocation.
///
/// A cell of `i32` or `f32` has its bits in the lower half, and zeros above. A variant whose cases differ in
/// type needs nothing more: its joined `i64` has the same bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cells {
    cells: [u64; MAX],
    count: usize,
}

impl Cells {
    pub(crate) fn as_slice(&self) -> &[u64] {
        &self.cells[..self.count]
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// # Panics
    /// With more than a call can have. What flattens to more than sixteen goes through memory.
    #[inline]
    pub(crate) fn push(&mut self, cell: u64) {
        self.cells[self.count] = cell;
        self.count += 1;
    }

    /// The cells that the longest case of a variant has and this one has not.
    pub(crate) fn pad(&mut self, count: usize) {
        while self.count < count {
            self.push(0);
        }
    }
}

/// Core values on the way out, read one after the other.
#[derive(Debug)]
pub(crate) struct Reader<'c> {
    cells: &'c [u64],
    position: usize,
}

impl<'c> Reader<'c> {
    /// Over cells that are as many as the type that is read has.
    pub(crate) fn new(cells: &'c [u64]) -> Self {
        Self { cells, position: 0 }
    }

    /// # Panics
    /// Beyond the last one: the entry points of this module count them.
    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        let cell = self.cells[self.position];
        self.position += 1;
        cell
    }

    #[inline]
    pub(crate) fn next_u32(&mut self) -> u32 {
        self.next() as u32
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    /// Leaves out the cells that the longest case of a variant has and this one has not.
    pub(crate) fn skip_to(&mut self, position: usize) {
        self.position = position;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_out_as_they_went_in() {
        let mut cells = Cells::default();
        (0..5).for_each(|cell| cells.push(cell << 40));
        cells.pad(7);
        assert_eq!(cells.len(), 7);
        let mut reader = Reader::new(cells.as_slice());
        assert_eq!((reader.next(), reader.next(), reader.next_u32()), (0, 1 << 40, 0));
        reader.skip_to(6);
        assert_eq!((reader.next(), reader.position()), (0, 7));
    }
}
