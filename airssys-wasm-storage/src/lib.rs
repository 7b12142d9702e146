//! The stores of airssys-wasm: [`MemoryStore`] and, each with the feature of its name, `RedbStore`, `FjallStore`,
//! `RocksDbStore` and `SledStore`.
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
//!
//! Beside them are the operations on whole stores: [`export`], which has equal bytes for equal contents, [`CheckedExport`] for
//! the way back, [`copy`] from any store to any other one, [`usage`], and [`Maintenance`].

mod engine;
mod export;
#[cfg(feature = "fjall")]
mod fjall;
#[cfg(any(feature = "fjall", feature = "sled"))]
mod folder;
mod import;
mod maintenance;
mod memory;
#[cfg(any(feature = "fjall", feature = "redb", feature = "sled"))]
mod opening;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sled")]
mod sled;
mod store;
mod stream;
mod sync;
mod unfinished;

pub use engine::{EngineError, KeyValueEngine, Write};
pub use export::{Exported, export, usage};
#[cfg(feature = "fjall")]
pub use fjall::{FjallEngine, FjallOptions, FjallStore};
pub use import::{CheckedExport, copy};
pub use maintenance::Maintenance;
pub use memory::{MemoryEngine, MemoryStore};
#[cfg(feature = "redb")]
pub use redb::{Medium, RedbEngine, RedbOptions, RedbStore};
#[cfg(feature = "rocksdb")]
pub use rocksdb::{RocksDbEngine, RocksDbOptions, RocksDbStore};
#[cfg(feature = "sled")]
pub use sled::{SledEngine, SledOptions, SledStore};
pub use store::Store;
pub use store::verify::Finding;
pub use stream::{Contents, Totals};
pub use unfinished::Unfinished;
