//! Linear memories: addresses that are reserved once, and serve one instance after another.
//!
//! Compiled code checks no bounds: behind every memory lie as many addresses as an instruction can name, which nobody may
//! touch. To reserve and release so many for each instance costs more than everything else that makes one, so an engine keeps
//! some. What a guest wrote is gone before another sees the addresses: the system takes the pages back, and gives empty ones.

use std::io;
use std::ptr::{NonNull, null_mut};
use std::sync::{Arc, Mutex, PoisonError};

use wasmer_types::{Bytes, MemoryError, MemoryStyle, MemoryType, Pages};
use wasmer_vm::{LinearMemory, VMMemoryDefinition};

use crate::bounds::Totals;

/// How many reservations an engine keeps that nobody uses. They hold addresses and no memory.
const KEPT: usize = 64;

/// A memory that became larger is not kept: a system that commits no more than it has would hold its size back from others.
const KEPT_SIZE: usize = 32 << 20;

/// The reservations of an engine that nobody uses now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reservations(Arc<Mutex<Vec<Reservation>>>);

/// Addresses that are ours: the first can be used, the others cannot.
#[derive(Debug)]
struct Reservation {
    start: NonNull<u8>,
    length: usize,
    /// Bytes from the start that can be read and written. A multiple of the page size, as all lengths here.
    accessible: usize,
}

// SAFETY: it owns its addresses as a box does, and is used by one owner at a time.
#[expect(unsafe_code, reason = "holds a pointer")]
unsafe impl Send for Reservation {}

/// A memory of an instance, whose growth is counted.
#[derive(Debug)]
pub(crate) struct Memory {
    /// There until the memory is dropped.
    reservation: Option<Reservation>,
    kept: Reservations,
    /// Where compiled code looks for its start and its size.
    definition: NonNull<VMMemoryDefinition>,
    size: Pages,
    kind: MemoryType,
    style: MemoryStyle,
    totals: Totals,
}

// SAFETY: what it points to belongs to the same instance, which one thread uses at a time.
#[expect(unsafe_code, reason = "holds a pointer")]
unsafe impl Send for Memory {}
// SAFETY: by a shared reference nothing is changed.
#[expect(unsafe_code, reason = "holds a pointer")]
unsafe impl Sync for Memory {}

impl Reservations {
    /// Addresses of which the first `accessible` hold zeros and can be used.
    fn take(&self, length: usize, accessible: usize) -> io::Result<Reservation> {
        let kept = {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // One of the same size needs no work at all.
            let fits = |other: &Reservation| other.length == length;
            let best = kept.iter().rposition(|other| fits(other) && other.accessible == accessible);
            best.or_else(|| kept.iter().rposition(fits)).map(|position| kept.swap_remove(position))
        };
        let mut reservation = kept.map_or_else(|| Reservation::new(length), Ok)?;
        reservation.set_accessible(accessible)?;
        Ok(reservation)
    }

    fn give_back(&self, reservation: Reservation) {
        if reservation.accessible > KEPT_SIZE || !reservation.clear() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(reservation);
        }
    }
}

#[expect(unsafe_code, reason = "asks the system for memory")]
impl Reservation {
    fn new(length: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: addresses of the system's choice, which are nobody else's.
        let start = unsafe { libc::mmap(null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("no address"))?;
        Ok(Self { start, length, accessible: 0 })
    }

    fn set_accessible(&mut self, bytes: usize) -> io::Result<()> {
        assert!(bytes <= self.length, "a memory of {bytes} bytes in {} addresses", self.length);
        let (from, length, protection) = if bytes > self.accessible {
            (self.accessible, bytes - self.accessible, libc::PROT_READ | libc::PROT_WRITE)
        } else {
            (bytes, self.accessible - bytes, libc::PROT_NONE)
        };
        if length > 0 {
            // SAFETY: it lies within the reservation.
            let from = unsafe { self.start.add(from) };
            // SAFETY: the addresses are ours, and no reference points there.
            if unsafe { libc::mprotect(from.as_ptr().cast(), length, protection) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        self.accessible = bytes;
        Ok(())
    }

    /// Gives all pages back to the system: what is read next is zero. Whether it was done.
    fn clear(&self) -> bool {
        // SAFETY: the addresses are ours, and no reference points there.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.accessible, libc::MADV_DONTNEED) == 0 }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the addresses are ours, and nothing uses them any more.
        #[expect(unsafe_code, reason = "gives addresses back to the system")]
        let released = unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert_eq!(released, 0, "{}", io::Error::last_os_error());
    }
}

impl Memory {
    /// A memory of its minimal size, which `definition` then describes.
    ///
    /// # Errors
    /// The system does not provide it.
    ///
    /// # Safety
    /// `definition` points to the place of the instance for this memory, which lives as long.
    #[expect(unsafe_code, reason = "writes into the instance")]
    pub(crate) unsafe fn new(
        kept: &Reservations,
        kind: &MemoryType,
        style: &MemoryStyle,
        definition: NonNull<VMMemoryDefinition>,
        totals: Totals,
    ) -> Result<Self, MemoryError> {
        let MemoryStyle::Static { bound, .. } = style else {
            return Err(MemoryError::Generic("a memory that moves, which this engine does not make".into()));
        };
        let guard = usize::try_from(style.offset_guard_size()).map_err(|error| failed(&error))?;
        let length = bound.bytes().0 + guard;
        let reservation = kept.take(length, kind.minimum.bytes().0).map_err(|error| failed(&error))?;
        let base = reservation.start.as_ptr();
        // SAFETY: as the caller promises.
        unsafe { definition.write(VMMemoryDefinition { base, current_length: kind.minimum.bytes().0 }) };
        Ok(Self {
            reservation: Some(reservation),
            kept: kept.clone(),
            definition,
            size: kind.minimum,
            kind: *kind,
            style: *style,
            totals,
        })
    }

    fn enlarge(&mut self, delta: Pages) -> Result<Pages, MemoryError> {
        let refused = MemoryError::CouldNotGrow { current: self.size, attempted_delta: delta };
        let most = self.kind.maximum.unwrap_or(Pages::max_value()).min(Pages::max_value());
        let Some(size) = self.size.checked_add(delta).filter(|size| *size <= most) else {
            return Err(refused);
        };
        let Some(reservation) = &mut self.reservation else { return Err(refused) };
        let Bytes(bytes) = size.bytes();
        reservation.set_accessible(bytes).map_err(|error| failed(&error))?;
        // SAFETY: the instance lives as long as its memories, and guest code does not run meanwhile.
        #[expect(unsafe_code, reason = "writes into the instance")]
        let definition = unsafe { self.definition.as_mut() };
        definition.current_length = bytes;
        Ok(std::mem::replace(&mut self.size, size))
    }
}

fn failed(error: &dyn std::fmt::Display) -> MemoryError {
    MemoryError::Region(error.to_string())
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.kept.give_back(reservation);
        }
    }
}

impl LinearMemory for Memory {
    fn ty(&self) -> MemoryType {
        MemoryType { minimum: self.size, ..self.kind }
    }

    fn size(&self) -> Pages {
        self.size
    }

    fn style(&self) -> MemoryStyle {
        self.style
    }

    fn grow(&mut self, delta: Pages) -> Result<Pages, MemoryError> {
        let Bytes(added) = delta.bytes();
        if !self.totals.grow_memory(added as u64) {
            return Err(MemoryError::CouldNotGrow { current: self.size, attempted_delta: delta });
        }
        self.enlarge(delta).inspect_err(|_| self.totals.take_back_memory(added as u64))
    }

    fn vmmemory(&self) -> NonNull<VMMemoryDefinition> {
        self.definition
    }

    fn try_clone(&self) -> Result<Box<dyn LinearMemory + Send + Sync + 'static>, MemoryError> {
        Err(MemoryError::MemoryNotShared)
    }

    fn copy(&self) -> Result<Box<dyn LinearMemory + Send + Sync + 'static>, MemoryError> {
        Err(MemoryError::MemoryNotShared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 64 << 10;

    #[expect(unsafe_code, reason = "reads and writes reserved memory")]
    fn byte(reservation: &mut Reservation, at: usize) -> &mut u8 {
        assert!(at < reservation.accessible);
        // SAFETY: it lies within what is accessible, and the tests hold one reference at a time.
        let place = unsafe { reservation.start.add(at) };
        // SAFETY: as above.
        unsafe { &mut *place.as_ptr() }
    }

    #[test]
    fn what_one_wrote_the_next_does_not_see() {
        let kept = Reservations::default();
        let mut first = kept.take(64 * PAGE, 4 * PAGE).expect("there is memory");
        let start = first.start;
        for at in [0, PAGE, 4 * PAGE - 1] {
            *byte(&mut first, at) = 7;
        }
        kept.give_back(first);
        for size in [2, 8, 4] {
            let mut next = kept.take(64 * PAGE, size * PAGE).expect("there is memory");
            assert_eq!((next.start, next.accessible), (start, size * PAGE));
            for at in [0, PAGE, size * PAGE - 1] {
                assert_eq!(std::mem::replace(byte(&mut next, at), 9), 0);
            }
            kept.give_back(next);
        }
    }

    #[test]
    fn one_of_the_same_size_is_preferred_and_another_length_is_never_used() {
        let kept = Reservations::default();
        let [small, large] = [1, 3].map(|size| kept.take(64 * PAGE, size * PAGE).expect("there is memory"));
        let (small_start, large_start) = (small.start, large.start);
        kept.give_back(small);
        kept.give_back(large);
        let other = kept.take(32 * PAGE, PAGE).expect("there is memory");
        assert!(other.start != small_start && other.start != large_start);
        assert_eq!(kept.take(64 * PAGE, PAGE).expect("there is memory").start, small_start);
    }

    #[test]
    fn few_are_kept_and_no_large_ones() {
        let kept = Reservations::default();
        let many: Vec<_> =
            (0..KEPT + 10).map(|_| kept.take(64 * PAGE, PAGE).expect("there is memory")).collect();
        many.into_iter().for_each(|reservation| kept.give_back(reservation));
        kept.give_back(kept.take(1 << 30, KEPT_SIZE + PAGE).expect("there is memory"));
        let kept = kept.0.lock().expect("nobody panicked");
        assert_eq!(kept.len(), KEPT);
        assert!(kept.iter().all(|reservation| reservation.accessible == PAGE));
    }
}
