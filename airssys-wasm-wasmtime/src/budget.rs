//! Time as Wasmtime sees it: each engine has an epoch, and a guest that sees it move yields, or ends when its time is over.

use std::fmt;
use std::time::Instant;

use airssys_wasm_engine::ticker::Epoch;
use wasmtime::{EngineWeak, Store, UpdateDeadline};

use crate::instance::State;

/// Ticks before a guest yields for the first time: calls shorter than one tick never do.
const FIRST_SLICE: u64 = 2;

/// The epoch of one engine of Wasmtime.
pub(crate) struct EngineEpoch(pub(crate) EngineWeak);

impl Epoch for EngineEpoch {
    fn advance(&self) -> bool {
        let engine = self.0.upgrade();
        engine.as_ref().inspect(|engine| engine.increment_epoch()).is_some()
    }
}

/// What a guest is ended with at its deadline.
#[derive(Debug)]
pub(crate) struct DeadlinePassed;

impl fmt::Display for DeadlinePassed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline passed while the guest was computing")
    }
}

impl std::error::Error for DeadlinePassed {}

/// Makes the guests of this store look at their deadline, and let others run, at every tick.
pub(crate) fn watch(store: &mut Store<State>) {
    store.epoch_deadline_callback(|context| {
        if context.data().deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(wasmtime::Error::new(DeadlinePassed));
        }
        // Tokio's own yield lets its timers and sockets have a turn; elsewhere it wakes the task at once.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
}

/// Starts the time of one call.
pub(crate) fn start(store: &mut Store<State>, deadline: Option<Instant>) {
    store.data_mut().deadline = deadline;
    store.set_epoch_deadline(FIRST_SLICE);
}
