//! Time: the thread that ticks, deadlines in guest code and in host functions, and the end of a call that is dropped.
//!
//! A busy guest meets its deadline at a tick: every loop and every function of a guest looks at the epoch of its engine, and a
//! guest that sees it move yields to the executor, or ends when its time is over. A guest that waits in a host function
//! is woken at its deadline by the same thread. So no deadline depends on an executor, and none can be set too early to be
//! seen: whoever enters late meets the next tick.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use airssys_wasm_core::error::{ErrorKind, Result, WasmError};

use crate::text;

/// Ticks without a guest after which the thread goes to sleep. Waking it costs a system call, so it lingers.
const LINGER: u32 = 100;
/// Running calls are counted in this many places, so that workers do not wait for each other's cache line.
const SHARDS: usize = 16;

/// What guests look at to see that time passes.
pub trait Epoch: Send {
    /// Moves on by one. False when nobody can see it any more.
    fn advance(&self) -> bool;
}

/// The time of one engine and everything made from it. Its thread ends with the last pointer to it.
pub struct Ticker(Arc<Shared>);

struct Shared {
    /// Polls under way, by the shard of their thread. Their sum is all that counts.
    running: [Shard; SHARDS],
    /// The thread sleeps until it is woken, or until the first timer.
    parked: AtomicBool,
    state: Mutex<Timetable>,
    wake: Condvar,
    tick: Duration,
}

#[derive(Default)]
#[repr(align(64))]
struct Shard(AtomicUsize);

#[derive(Default)]
struct Timetable {
    epochs: Vec<Box<dyn Epoch>>,
    timers: BTreeMap<(Instant, u64), Waker>,
    next_timer: u64,
    ended: bool,
}

impl Ticker {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) when the system does not start it.
    pub fn start(tick: Duration) -> Result<Arc<Self>> {
        let shared = Arc::new(Shared {
            running: Default::default(),
            parked: AtomicBool::new(false),
            state: Mutex::default(),
            wake: Condvar::new(),
            tick,
        });
        let ticking = Arc::clone(&shared);
        thread::Builder::new().name("airssys-wasm-tick".into()).spawn(move || ticking.run()).map_err(
            |error| {
                WasmError::new(ErrorKind::Io, "make engine")
                    .saying("the thread that keeps the time could not be started")
                    .because(error)
            },
        )?;
        Ok(Arc::new(Self(shared)))
    }

    /// Moves this epoch, too, for as long as it lasts.
    pub fn drive(&self, epoch: impl Epoch + 'static) {
        self.0.lock().epochs.push(Box::new(epoch));
    }

    /// Polls `call` until it is ready, or until `deadline`: there and then, when it waits for something.
    ///
    /// Dropping the future drops `call`. A panic of `call` is caught: the host goes on.
    pub fn bound<F: Future>(
        &self,
        deadline: Option<Instant>,
        call: Pin<&mut F>,
    ) -> impl Future<Output = std::result::Result<F::Output, Ended>> {
        Bound { ticker: self, deadline, timer: None, waited: false, call }
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticker").field("tick", &self.0.tick).finish_non_exhaustive()
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.wake.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Timetable> {
        // Nothing that runs under the lock leaves the timetable half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut idle = 0;
        let mut state = self.lock();
        while !state.ended {
            let now = Instant::now();
            let mut due = Vec::new();
            while let Some(timer) = state.timers.first_entry().filter(|timer| timer.key().0 <= now) {
                due.push(timer.remove());
            }
            if !due.is_empty() {
                drop(state);
                for waker in due {
                    // A waker is the executor's code: it must not end the thread that everybody's time depends on.
                    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
                }
                state = self.lock();
                continue;
            }
            idle = if self.is_running() { 0 } else { idle + 1 };
            if idle <= LINGER {
                state = self.wait(state, Some(self.tick));
                state.epochs.retain(|epoch| epoch.advance());
                continue;
            }
            self.parked.store(true, Ordering::SeqCst);
            // Whoever entered before the store is seen here; whoever enters after it sees the store, and wakes us.
            if !self.is_running() {
                let first =
                    state.timers.first_key_value().map(|((at, _), _)| at.saturating_duration_since(now));
                state = self.wait(state, first);
            }
            // A call that woke us may be over already: more will come, so linger again.
            let was_woken = !self.parked.swap(false, Ordering::SeqCst);
            if was_woken || self.is_running() {
                idle = 0;
            }
        }
    }

    fn wait<'s>(
        &self,
        state: MutexGuard<'s, Timetable>,
        time: Option<Duration>,
    ) -> MutexGuard<'s, Timetable> {
        match time {
            Some(time) => self.wake.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0,
            None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
        }
    }

    fn is_running(&self) -> bool {
        self.running.iter().any(|shard| shard.0.load(Ordering::SeqCst) != 0)
    }

    #[cold]
    fn unpark(&self) {
        // The thread holds the lock from before it says that it is parked until it really sleeps.
        self.parked.store(false, Ordering::SeqCst);
        drop(self.lock());
        self.wake.notify_one();
    }
}

/// A poll of guest code under way: the thread ticks while there is any.
struct Running<'t>(&'t Shard);

impl<'t> Running<'t> {
    fn enter(shared: &'t Shared) -> Self {
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
        let shard = &shared.running[index];
        shard.0.fetch_add(1, Ordering::SeqCst);
        if shared.parked.load(Ordering::SeqCst) {
            shared.unpark();
        }
        Self(shard)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Why a call ended without an outcome of its own.
#[derive(Debug)]
pub enum Ended {
    /// Its deadline passed while it waited.
    Deadline,
    /// Something of the host panicked below it.
    Panicked(Box<dyn Any + Send>),
}

impl Ended {
    /// The error for the caller.
    pub fn into_error(self, operation: &'static str) -> WasmError {
        match self {
            Self::Deadline => text::timeout(operation),
            Self::Panicked(panic) => text::of_panic(operation, &*panic),
        }
    }
}

struct Bound<'t, 'f, F> {
    ticker: &'t Ticker,
    deadline: Option<Instant>,
    /// In a box: a call that never waits has none.
    timer: Option<Box<Timer<'t>>>,
    waited: bool,
    call: Pin<&'f mut F>,
}

impl<F: Future> Future for Bound<'_, '_, F> {
    type Output = std::result::Result<F::Output, Ended>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // The first poll follows a check of the deadline.
        if this.waited && this.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Poll::Ready(Err(Ended::Deadline));
        }
        let polled = {
            let _running = Running::enter(&this.ticker.0);
            catch_unwind(AssertUnwindSafe(|| this.call.as_mut().poll(context)))
        };
        match polled {
            Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
            Err(panic) => Poll::Ready(Err(Ended::Panicked(panic))),
            Ok(Poll::Pending) => {
                this.waited = true;
                if let Some(deadline) = this.deadline {
                    match &mut this.timer {
                        Some(timer) => timer.renew(context.waker()),
                        none => *none = Some(Box::new(Timer::set(&this.ticker.0, deadline, context.waker()))),
                    }
                }
                Poll::Pending
            }
        }
    }
}

/// Wakes a task at its deadline, unless it is dropped before.
struct Timer<'t> {
    shared: &'t Shared,
    key: (Instant, u64),
    waker: Waker,
}

impl<'t> Timer<'t> {
    fn set(shared: &'t Shared, deadline: Instant, waker: &Waker) -> Self {
        let mut state = shared.lock();
        let key = (deadline, state.next_timer);
        state.next_timer += 1;
        state.timers.insert(key, waker.clone());
        let is_first = state.timers.first_key_value().is_some_and(|(first, _)| *first == key);
        drop(state);
        if is_first && shared.parked.load(Ordering::SeqCst) {
            shared.wake.notify_one();
        }
        Self { shared, key, waker: waker.clone() }
    }

    fn renew(&mut self, waker: &Waker) {
        if !self.waker.will_wake(waker) {
            self.waker.clone_from(waker);
            self.shared.lock().timers.insert(self.key, waker.clone());
        }
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        // The waker is dropped outside of the lock: it is the executor's code.
        let waker = self.shared.lock().timers.remove(&self.key);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::task::Wake;

    use super::*;

    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let waker = Arc::new(Unpark(thread::current())).into();
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return value;
            }
            thread::park();
        }
    }

    #[test]
    fn what_waits_ends_at_its_deadline_without_any_executor() {
        let ticker = Ticker::start(Duration::from_millis(1)).unwrap();
        for wait in [0, 5, 150] {
            let deadline = Instant::now() + Duration::from_millis(wait);
            let ended = block_on(ticker.bound(Some(deadline), pin!(pending::<()>())));
            assert!(matches!(ended, Err(Ended::Deadline)));
            assert!(Instant::now() >= deadline);
        }
        assert!(ticker.0.lock().timers.is_empty(), "a timer outlived its call");
    }

    #[test]
    fn what_is_ready_sets_no_timer() {
        let ticker = Ticker::start(Duration::from_millis(1)).unwrap();
        assert_eq!(block_on(ticker.bound(Some(Instant::now()), pin!(ready(7)))).ok(), Some(7));
        assert_eq!(ticker.0.lock().next_timer, 0);
    }

    #[test]
    fn a_dropped_call_leaves_no_timer() {
        let ticker = Ticker::start(Duration::from_millis(1)).unwrap();
        {
            let mut call = pin!(pending::<()>());
            let mut bound = pin!(ticker.bound(Some(Instant::now() + Duration::from_secs(60)), call.as_mut()));
            let waker = Waker::noop();
            assert!(bound.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            assert_eq!(ticker.0.lock().timers.len(), 1);
        }
        assert_eq!(ticker.0.lock().timers.len(), 0);
    }

    #[test]
    fn a_panic_is_an_outcome() {
        let ticker = Ticker::start(Duration::from_millis(1)).unwrap();
        let ended = block_on(ticker.bound(None, pin!(async { panic!("as asked") })));
        assert!(matches!(ended, Err(Ended::Panicked(_))));
    }

    #[test]
    fn the_thread_sleeps_when_idle_wakes_for_a_guest_and_ends_with_its_ticker() {
        let ticker = Ticker::start(Duration::from_millis(1)).unwrap();
        let shared = Arc::clone(&ticker.0);
        let until = |what: &str, done: &dyn Fn() -> bool| {
            let patience = Instant::now() + Duration::from_secs(20);
            while !done() {
                assert!(Instant::now() < patience, "the thread did not {what}");
                thread::sleep(Duration::from_millis(2));
            }
        };
        until("park", &|| shared.parked.load(Ordering::SeqCst));
        let running = Running::enter(&shared);
        until("wake", &|| !shared.parked.load(Ordering::SeqCst));
        drop(running);
        until("park again", &|| shared.parked.load(Ordering::SeqCst));
        drop(ticker);
        until("end", &|| Arc::strong_count(&shared) == 1);
    }
}
