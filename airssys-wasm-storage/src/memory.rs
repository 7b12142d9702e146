//! The memory store: a sorted map, gone with the process.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use airssys_wasm_core::storage::{Durability, Order, StorageProfile, Survives};

use crate::engine::{EngineError, KeyValueEngine, Write};
use crate::store::Store;

/// A store in memory. Nothing survives the process.
///
/// ```
/// use std::sync::Arc;
///
/// use airssys_wasm_core::storage::StorageBackend;
/// use airssys_wasm_storage::MemoryStore;
///
/// let store: Arc<dyn StorageBackend> = Arc::new(MemoryStore::new());
/// assert!(!store.profile().persistent);
/// ```
pub type MemoryStore = Store<MemoryEngine>;

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::inline(MemoryEngine::default())
    }
}

impl Default for MemoryStore {
    /// An empty store.
    fn default() -> Self {
        Self::new()
    }
}

/// A sorted map behind a lock: the engine of [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryEngine(RwLock<Option<Map>>);

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

impl Default for MemoryEngine {
    /// An empty map.
    fn default() -> Self {
        Self(RwLock::new(Some(Map::new())))
    }
}

impl MemoryEngine {
    // No code of ours panics between two changes of the map, so a poisoned lock still guards a whole one.
    fn reading(&self) -> RwLockReadGuard<'_, Option<Map>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> RwLockWriteGuard<'_, Option<Map>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyValueEngine for MemoryEngine {
    fn profile(&self) -> StorageProfile {
        StorageProfile {
            name: "memory",
            engine_version: env!("CARGO_PKG_VERSION"),
            persistent: false,
            immediate: Survives::Nothing,
            eventual: Survives::Nothing,
        }
    }

    fn place(&self) -> &str {
        "memory"
    }

    fn commits_inline(&self) -> bool {
        true
    }

    fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, EngineError> {
        let guard = self.reading();
        let map = guard.as_ref().ok_or_else(EngineError::closed)?;
        Ok(map.get(key).map(|value| read(value)))
    }

    fn scan(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        order: Order,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let guard = self.reading();
        let map = guard.as_ref().ok_or_else(EngineError::closed)?;
        let range = map.range::<[u8], _>((start, end));
        let _ended = match order {
            Order::Ascending => range.into_iter().try_for_each(|(key, value)| visit(key, value)),
            Order::Descending => range.rev().try_for_each(|(key, value)| visit(key, value)),
        };
        Ok(())
    }

    fn apply(&self, writes: Vec<Write>, _durability: Durability) -> Result<(), EngineError> {
        let mut guard = self.writing();
        let map = guard.as_mut().ok_or_else(EngineError::closed)?;
        for Write { key, value } in writes {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn close(&self) -> Result<(), EngineError> {
        *self.writing() = None;
        Ok(())
    }
}
