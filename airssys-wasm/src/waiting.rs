//! Who waits for whom: a request that would close a ring is refused before anybody waits.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airssys_wasm_core::component::ComponentId;

use crate::cell::Cell;

/// What a cell waits for. It handles one message at a time, and so waits for at most one other.
#[derive(Debug, Default)]
pub(crate) struct WaitingOn(Mutex<Option<Note>>);

#[derive(Clone, Debug)]
struct Note {
    number: u64,
    target: Arc<Cell>,
}

impl WaitingOn {
    fn lock(&self) -> MutexGuard<'_, Option<Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn target(&self) -> Option<Arc<Cell>> {
        self.lock().as_ref().map(|note| note.target.clone())
    }
}

/// A wait for another component's answer. It is over when the answer is given, or when this is dropped: whichever is first,
/// so that whoever has answered can ask in return at once.
#[derive(Debug)]
pub(crate) struct Waiting {
    asker: Arc<Cell>,
    number: u64,
}

impl Waiting {
    /// Notes that the handler of `asker` waits for `target`.
    ///
    /// Following the waits from `target` either ends, or comes back to `asker`. The note is made before the walk, so that
    /// of two cells that start to wait for each other at the same moment at least one sees the other's.
    pub(crate) fn begin(asker: &Arc<Cell>, target: &Arc<Cell>) -> Result<Arc<Self>, WouldCycle> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        *asker.waiting_on().lock() = Some(Note { number, target: target.clone() });
        let waiting = Arc::new(Self { asker: asker.clone(), number });
        let mut next = Some(target.clone());
        while let Some(cell) = next {
            if Arc::ptr_eq(&cell, asker) {
                return Err(WouldCycle { target: target.id().clone(), asker: asker.id().clone() });
            }
            next = cell.waiting_on().target();
            if next.as_ref().is_some_and(|next| Arc::ptr_eq(next, target)) {
                // Others wait for each other in a ring that this cell is no part of; their own walks end it.
                break;
            }
        }
        Ok(waiting)
    }

    /// Ends the wait, unless it has ended.
    pub(crate) fn end(&self) {
        let mut note = self.asker.waiting_on().lock();
        if note.as_ref().is_some_and(|note| note.number == self.number) {
            *note = None;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end();
    }
}

/// The receiver is waiting, directly or not, for the one who asks.
#[derive(Debug)]
pub(crate) struct WouldCycle {
    target: ComponentId,
    asker: ComponentId,
}

impl fmt::Display for WouldCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.target == self.asker {
            write!(f, "{} would wait for itself", self.asker)
        } else {
            write!(f, "{} is waiting for {}", self.target, self.asker)
        }
    }
}

#[cfg(test)]
mod tests {
    use airssys_wasm_core::component::ResourceLimits;

    use super::*;

    fn cell(name: &str) -> Arc<Cell> {
        Cell::new(name.parse().unwrap(), ResourceLimits::default(), [])
    }

    #[test]
    fn a_ring_of_waits_is_refused_where_it_would_close() {
        let (a, b, c) = (cell("t/a"), cell("t/b"), cell("t/c"));
        let _a_waits = Waiting::begin(&a, &b).unwrap();
        let b_waits = Waiting::begin(&b, &c).unwrap();
        assert_eq!(Waiting::begin(&c, &a).unwrap_err().to_string(), "t/a is waiting for t/c");
        assert_eq!(Waiting::begin(&c, &c).unwrap_err().to_string(), "t/c would wait for itself");
        drop(b_waits);
        Waiting::begin(&c, &a).unwrap();
    }

    #[test]
    fn a_wait_is_over_when_the_answer_is_given_and_a_later_one_is_another() {
        let (a, b) = (cell("t/a"), cell("t/b"));
        let first = Waiting::begin(&a, &b).unwrap();
        first.end();
        Waiting::begin(&b, &a).unwrap();
        let second = Waiting::begin(&a, &b).unwrap();
        drop(first);
        assert!(Waiting::begin(&b, &a).is_err(), "the end of the first wait did not end the second");
        drop(second);
    }

    #[test]
    fn a_walk_ends_in_a_ring_of_others() {
        let (a, b, c) = (cell("t/a"), cell("t/b"), cell("t/c"));
        *a.waiting_on().lock() = Some(Note { number: u64::MAX, target: b.clone() });
        *b.waiting_on().lock() = Some(Note { number: u64::MAX, target: a.clone() });
        Waiting::begin(&c, &a).unwrap();
        *a.waiting_on().lock() = None;
        *b.waiting_on().lock() = None;
    }
}
