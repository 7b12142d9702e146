//! What the fuzz targets share: a ceiling on the memory that a run may hold, and futures that never wait.

use std::alloc::System;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::thread;

use cap::Cap;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// Runs `work`, which may hold at most `bytes` more than is held now. The allocation that passes this ends the process, and so is
/// a finding.
pub fn within<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    let ceiling = ALLOCATOR.allocated().saturating_add(bytes);
    ALLOCATOR.set_limit(ceiling).expect("the ceiling is above what is allocated");
    let outcome = work();
    ALLOCATOR.set_limit(usize::MAX).expect("every amount is below the highest limit");
    outcome
}

/// What `future` comes to. It is polled without a runtime: what it waits for must be of this thread, or short.
pub fn wait_for<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut context) {
            return outcome;
        }
        thread::yield_now();
    }
}
