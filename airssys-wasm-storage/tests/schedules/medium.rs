//! A medium that knows what is durable, may fail, and lets others run at every step.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::{Durability, Order, StorageProfile, Survives};
use airssys_wasm_storage::{EngineError, KeyValueEngine, Write};
use shuttle::sync::Mutex;
use shuttle::thread;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Debug)]
pub(crate) struct Medium {
    state: Mutex<State>,
    inline: bool,
    forgetful: bool,
}

#[derive(Debug, Default)]
struct State {
    applied: Map,
    durable: Map,
    closed: bool,
    /// How many writes and synchronisations succeed before one fails.
    good: Option<usize>,
    failed: bool,
}

impl Medium {
    pub(crate) fn new(inline: bool) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), inline, forgetful: false })
    }

    /// Makes nothing durable, whatever it answers.
    pub(crate) fn forgetful() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), inline: false, forgetful: true })
    }

    /// A medium that holds what is durable now.
    pub(crate) fn after_power_loss(&self) -> Arc<Self> {
        let durable = self.state.lock().unwrap().durable.clone();
        let state = State { applied: durable.clone(), durable, ..State::default() };
        Arc::new(Self { state: Mutex::new(state), inline: self.inline, forgetful: false })
    }

    pub(crate) fn fail_after(&self, good: usize) {
        self.state.lock().unwrap().good = Some(good);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state.lock().unwrap().failed
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().unwrap().closed
    }

    fn write(&self, change: impl FnOnce(&mut Map), durability: Durability) -> Result<(), EngineError> {
        thread::yield_now();
        let mut state = self.state.lock().unwrap();
        if state.closed {
            return Err(EngineError::closed());
        }
        state.good = match state.good {
            Some(0) => {
                state.failed = true;
                return Err(EngineError::new(StorageFault::Io, "the medium fails, as it was told to"));
            }
            good => good.map(|good| good - 1),
        };
        change(&mut state.applied);
        if durability == Durability::Immediate && !self.forgetful {
            state.durable = state.applied.clone();
        }
        drop(state);
        thread::yield_now();
        Ok(())
    }
}

/// The engine over a [`Medium`] that the test keeps an eye on.
#[derive(Debug)]
pub(crate) struct Engine(Arc<Medium>);

impl Engine {
    pub(crate) fn of(medium: &Arc<Medium>) -> Self {
        Self(Arc::clone(medium))
    }
}

impl KeyValueEngine for Engine {
    fn profile(&self) -> StorageProfile {
        StorageProfile {
            name: "medium",
            engine_version: "1",
            persistent: true,
            immediate: Survives::PowerLoss,
            eventual: Survives::PowerLoss,
        }
    }

    fn place(&self) -> &str {
        "medium"
    }

    fn commits_inline(&self) -> bool {
        self.0.inline
    }

    fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, EngineError> {
        let state = self.0.state.lock().unwrap();
        if state.closed {
            Err(EngineError::closed())
        } else {
            Ok(state.applied.get(key).map(|value| read(value)))
        }
    }

    fn scan(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        order: Order,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let state = self.0.state.lock().unwrap();
        if state.closed {
            return Err(EngineError::closed());
        }
        let range = state.applied.range::<[u8], _>((start, end));
        let _ended = match order {
            Order::Ascending => range.into_iter().try_for_each(|(key, value)| visit(key, value)),
            Order::Descending => range.rev().try_for_each(|(key, value)| visit(key, value)),
        };
        Ok(())
    }

    fn apply(&self, writes: Vec<Write>, durability: Durability) -> Result<(), EngineError> {
        let change = |map: &mut Map| {
            for Write { key, value } in writes {
                match value {
                    Some(value) => map.insert(key, value),
                    None => map.remove(&key),
                };
            }
        };
        self.0.write(change, durability)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.0.write(|_| {}, Durability::Immediate)
    }

    fn close(&self) -> Result<(), EngineError> {
        self.0.state.lock().unwrap().closed = true;
        Ok(())
    }
}
