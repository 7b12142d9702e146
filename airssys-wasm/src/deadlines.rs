//! The ends of waits for answers, kept by one thread for the whole host.
//!
//! An answer nearly always comes long before its deadline. So a wait is noted where it is found again at once, in no order, and
//! the thread looks through the notes when the earliest deadline has passed that it was told of: once in a while, whatever
//! the number of messages. It depends on no executor, and a deadline is met to about a millisecond.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use airssys_wasm_core::error::{ErrorKind, Result, WasmError};

/// Notes are kept in this many places, so that threads do not wait for each other's cache line.
const SHARDS: usize = 16;
/// The shortest time between two looks through all notes: what somebody who asks with many short deadlines can cost others.
const PAUSE: Duration = Duration::from_millis(1);
/// A place with more notes than this gives its memory back when the last of them goes.
const KEPT: usize = 256;

/// The deadlines of one host. The thread ends when this is dropped.
pub(crate) struct Deadlines(Arc<Shared>);

struct Shared {
    shards: [Shard; SHARDS],
    /// When the thread looks next, in nanoseconds from `origin`. Changed under the lock of `ended`.
    next_look: AtomicU64,
    origin: Instant,
    ended: Mutex<bool>,
    wake: Condvar,
}

#[derive(Default)]
#[repr(align(64))]
struct Shard(Mutex<Notes>);

/// Notes, found by their index.
#[derive(Default)]
struct Notes {
    slots: Vec<Slot>,
    /// The first slot that is free, and leads to the next one.
    free: Option<usize>,
    taken: usize,
}

enum Slot {
    Free(Option<usize>),
    /// Without a waker, the deadline has passed.
    Taken(Instant, Option<Waker>),
}

/// The deadline passed before there was an answer.
#[derive(Debug)]
pub(crate) struct Passed;

impl Deadlines {
    pub(crate) fn start() -> Result<Self> {
        let shared = Arc::new(Shared {
            shards: Default::default(),
            next_look: AtomicU64::new(u64::MAX),
            origin: Instant::now(),
            ended: Mutex::new(false),
            wake: Condvar::new(),
        });
        let looking = shared.clone();
        thread::Builder::new().name("airssys-wasm-deadlines".into()).spawn(move || looking.run()).map_err(
            |error| {
                WasmError::new(ErrorKind::Io, "build")
                    .saying("the thread that keeps deadlines could not be started")
                    .because(error)
            },
        )?;
        Ok(Self(shared))
    }

    /// Waits for an answer, at most until `deadline`.
    pub(crate) fn wait<F: Future + Unpin>(
        &self,
        deadline: Option<Instant>,
        answer: F,
    ) -> impl Future<Output = Result<F::Output, Passed>> {
        Wait { shared: &self.0, deadline, note: None, answer }
    }
}

impl Drop for Deadlines {
    fn drop(&mut self) {
        *self.0.lock() = true;
        self.0.wake.notify_one();
    }
}

impl fmt::Debug for Deadlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadlines").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Makes the thread look at `deadline`, at the latest.
    fn look_at(&self, deadline: Instant) {
        let deadline = self.nanos(deadline);
        // Whoever reads a time that the thread is about to replace made the note before the thread looks through it.
        if deadline < self.next_look.load(Ordering::SeqCst) {
            let ended = self.lock();
            self.next_look.fetch_min(deadline, Ordering::SeqCst);
            drop(ended);
            self.wake.notify_one();
        }
    }

    fn run(&self) {
        let mut last_look = self.origin;
        let mut ended = self.lock();
        while !*ended {
            let next_look = self.next_look.load(Ordering::SeqCst);
            if next_look == u64::MAX {
                ended = self.wake.wait(ended).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let at = (self.origin + Duration::from_nanos(next_look)).max(last_look + PAUSE);
            let now = Instant::now();
            if at > now {
                ended = self.wake.wait_timeout(ended, at - now).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            self.next_look.store(u64::MAX, Ordering::SeqCst);
            drop(ended);
            let earliest = self.look(now);
            last_look = now;
            ended = self.lock();
            if let Some(earliest) = earliest {
                self.next_look.fetch_min(self.nanos(earliest), Ordering::SeqCst);
            }
        }
    }

    /// Wakes everybody whose deadline has passed, and finds the earliest of the others.
    fn look(&self, now: Instant) -> Option<Instant> {
        let mut earliest: Option<Instant> = None;
        for shard in &self.shards {
            let mut due = Vec::new();
            for slot in &mut shard.lock().slots {
                let Slot::Taken(deadline, waker) = slot else { continue };
                if *deadline <= now {
                    due.extend(waker.take());
                } else if waker.is_some() {
                    earliest = Some(earliest.map_or(*deadline, |earliest| earliest.min(*deadline)));
                }
            }
            for waker in due {
                // A waker is the executor's code: it must not end the thread that everybody's deadlines depend on.
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
        }
        earliest
    }
}

impl Shard {
    /// The one that this thread notes its waits in.
    fn of_thread(shards: &[Self; SHARDS]) -> &Self {
        thread_local! {
            static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let index = SHARD.with(|shard| {
            if shard.get() == usize::MAX {
                shard.set(NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS);
            }
            shard.get()
        });
        &shards[index]
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        // Nothing that runs under the lock leaves the notes half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    fn insert(&mut self, deadline: Instant, waker: Waker) -> usize {
        self.taken += 1;
        let slot = Slot::Taken(deadline, Some(waker));
        match self.free {
            Some(index) => {
                if let Slot::Free(next) = std::mem::replace(&mut self.slots[index], slot) {
                    self.free = next;
                }
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }

    fn remove(&mut self, index: usize) -> Slot {
        let slot = std::mem::replace(&mut self.slots[index], Slot::Free(self.free));
        self.free = Some(index);
        self.taken -= 1;
        if self.taken == 0 && self.slots.len() > KEPT {
            *self = Self::default();
        }
        slot
    }
}

struct Wait<'d, F> {
    shared: &'d Shared,
    deadline: Option<Instant>,
    /// Where the wait is noted; one that never waits is not.
    note: Option<(&'d Shard, usize)>,
    answer: F,
}

impl<F: Future + Unpin> Future for Wait<'_, F> {
    type Output = Result<F::Output, Passed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Poll::Ready(answer) = Pin::new(&mut this.answer).poll(context) {
            return Poll::Ready(Ok(answer));
        }
        let Some(deadline) = this.deadline else { return Poll::Pending };
        match this.note {
            // A deadline that has passed already is seen by the thread at once.
            None => {
                let waker = context.waker().clone();
                let shard = Shard::of_thread(&this.shared.shards);
                this.note = Some((shard, shard.lock().insert(deadline, waker)));
            }
            Some(_) if Instant::now() >= deadline => return Poll::Ready(Err(Passed)),
            Some((shard, index)) => {
                let waker = context.waker().clone();
                let before = match &mut shard.lock().slots[index] {
                    Slot::Taken(_, noted) => noted.replace(waker),
                    Slot::Free(_) => unreachable!("a slot is taken until its wait is dropped"),
                };
                drop(before);
            }
        }
        this.shared.look_at(deadline);
        Poll::Pending
    }
}

impl<F> Drop for Wait<'_, F> {
    fn drop(&mut self) {
        if let Some((shard, index)) = self.note {
            // The waker is dropped outside of the lock: it is the executor's code.
            let slot = shard.lock().remove(index);
            drop(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    fn noted(deadlines: &Deadlines) -> usize {
        deadlines.0.shards.iter().map(|shard| shard.lock().taken).sum()
    }

    #[tokio::test]
    async fn what_is_not_answered_ends_at_its_deadline_in_whatever_order_it_was_asked() {
        let deadlines = Deadlines::start().unwrap();
        let start = Instant::now();
        let waits = [120, 0, 60, 5, 90].map(|wait| {
            let deadline = start + Duration::from_millis(wait);
            let waiting = deadlines.wait(Some(deadline), pending::<()>());
            async move {
                waiting.await.unwrap_err();
                assert!(Instant::now() >= deadline, "a deadline was met too early");
            }
        });
        futures_util::future::join_all(waits).await;
        assert_eq!(noted(&deadlines), 0, "a note outlived its wait");
    }

    #[tokio::test]
    async fn a_later_wait_with_an_earlier_deadline_is_seen() {
        let deadlines = Deadlines::start().unwrap();
        let mut long = pin!(deadlines.wait(Some(Instant::now() + Duration::from_secs(600)), pending::<()>()));
        assert!(long.as_mut().now_or_never().is_none());
        for _ in 0..3 {
            let soon = Instant::now() + Duration::from_millis(2);
            deadlines.wait(Some(soon), pending::<()>()).await.unwrap_err();
        }
        assert!(long.now_or_never().is_none());
    }

    #[tokio::test]
    async fn an_answer_in_time_leaves_no_note() {
        let deadlines = Deadlines::start().unwrap();
        let far = Some(Instant::now() + Duration::from_secs(600));
        assert_eq!(deadlines.wait(far, ready(7)).await.unwrap(), 7);
        assert_eq!(deadlines.wait(None, ready(7)).await.unwrap(), 7);
        let (sender, answer) = tokio::sync::oneshot::channel();
        let asking = deadlines.wait(far, answer);
        let answering = async {
            tokio::task::yield_now().await;
            assert_eq!(noted(&deadlines), 1);
            sender.send(8).unwrap();
        };
        let (answer, ()) = futures_util::future::join(asking, answering).await;
        assert_eq!((answer.unwrap().unwrap(), noted(&deadlines)), (8, 0));
    }

    #[test]
    fn slots_are_used_again_and_given_back() {
        let mut notes = Notes::default();
        let at = Instant::now();
        let mut taken: Vec<_> = (0..KEPT + 1).map(|_| notes.insert(at, Waker::noop().clone())).collect();
        let (first, second) = (taken[3], taken[5]);
        notes.remove(first);
        notes.remove(second);
        assert_eq!(
            [notes.insert(at, Waker::noop().clone()), notes.insert(at, Waker::noop().clone())],
            [second, first]
        );
        for index in taken.drain(..) {
            notes.remove(index);
        }
        assert_eq!((notes.taken, notes.slots.capacity()), (0, 0));
    }

    #[test]
    fn the_thread_ends_with_its_host() {
        let deadlines = Deadlines::start().unwrap();
        let shared = deadlines.0.clone();
        drop(deadlines);
        let patience = Instant::now() + Duration::from_secs(20);
        while Arc::strong_count(&shared) > 1 {
            assert!(Instant::now() < patience, "the thread did not end");
            thread::sleep(Duration::from_millis(1));
        }
    }
}
