//! The stores of airssys-wasm: [`MemoryStore`]; with the feature `redb`, `RedbStore`; with the feature `rocksdb`, `RocksDbStore`.
//!
//! Everything that a store promises is written once, in [`Store`]: namespaces, versions, preconditions, quotas, checksums,
//! grouping of concurrent commits. Underneath lies a [`KeyValueEngine`]: sorted bytes to bytes, blocking, one thin module each.
//!
//! ```
//! use airssys_wasm_core::storage::{Batch, Durability, Key, Namespace, StorageBackend};
//! use airssys_wasm_storage::MemoryStore;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let store = MemoryStore::new();
//! let counters = Namespace::new("acme/counter")?;
//! let mut batch = Batch::new();
//! batch.put(&counters, Key::new("visits")?, "1");
//! let outcome = store.commit(batch, Durability::Immediate).await?;
//!
//! let record = store.get(&counters, &Key::new("visits")?).await?.expect("it was just written");
//! assert_eq!(record.value, b"1");
//! assert_eq!(record.version, outcome.version);
//! # Ok::<(), airssys_wasm_core::error::WasmError>(())
//! # }).unwrap();
//! ```

mod engine;
mod memory;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod store;

pub use engine::{EngineError, KeyValueEngine, Write};
pub use memory::{MemoryEngine, MemoryStore};
#[cfg(feature = "redb")]
pub use redb::{Medium, RedbEngine, RedbOptions, RedbStore};
#[cfg(feature = "rocksdb")]
pub use rocksdb::{RocksDbEngine, RocksDbOptions, RocksDbStore};
pub use store::Store;
