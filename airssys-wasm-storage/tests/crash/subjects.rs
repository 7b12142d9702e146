//! The stores that are put to the test, by name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm_core::error::{Result, WasmError};
use airssys_wasm_core::storage::{StorageBackend, Survives};
use airssys_wasm_storage::Store;
#[cfg(feature = "fjall")]
use airssys_wasm_storage::{FjallOptions, FjallStore};
#[cfg(feature = "redb")]
use airssys_wasm_storage::{RedbOptions, RedbStore};
#[cfg(feature = "rocksdb")]
use airssys_wasm_storage::{RocksDbOptions, RocksDbStore};
#[cfg(feature = "sled")]
use airssys_wasm_storage::{SledOptions, SledStore};

use crate::log_engine::{Flaw, LogEngine};

/// How long an eventual commit may stay undurable in these tests.
pub(crate) const FLUSH_INTERVAL: Duration = Duration::from_millis(20);

/// The stores of this crate that are compiled in, and the engine that the saboteurs are made from, without a flaw.
pub(crate) const STORES: &[&str] = &[
    #[cfg(feature = "redb")]
    "redb",
    #[cfg(feature = "fjall")]
    "fjall",
    #[cfg(feature = "sled")]
    "sled",
    #[cfg(feature = "rocksdb")]
    "rocksdb",
    "log",
];

/// Whether the profile of a store says that what is durable survives the loss of power. A test that the profile lets out is listed
/// as ignored, by name.
pub(crate) fn promises_power_loss(store: &str) -> bool {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let store = open(store, folder.path()).expect("an empty store can be made");
    store.profile().immediate >= Survives::PowerLoss
}

/// Whether a store may refuse to be read after a failed write. sled does: it does not know what it holds then.
pub(crate) fn cannot_be_read(store: &dyn StorageBackend, error: WasmError) -> Result<()> {
    if store.profile().name == "sled" { Ok(()) } else { Err(error) }
}

/// Opens the store of that name in `folder`, with little memory, so that its files are busy.
pub(crate) fn open(store: &str, folder: &Path) -> Result<Arc<dyn StorageBackend>> {
    match store {
        #[cfg(feature = "redb")]
        "redb" => {
            let options = RedbOptions {
                cache: airssys_wasm_core::component::ByteSize::mib(1),
                flush_interval: FLUSH_INTERVAL,
                ..RedbOptions::default()
            };
            Ok(Arc::new(RedbStore::open(folder.join("store.redb"), options)?))
        }
        #[cfg(feature = "fjall")]
        "fjall" => {
            let options = FjallOptions { flush_interval: FLUSH_INTERVAL, ..FjallOptions::default() };
            Ok(Arc::new(FjallStore::open(folder.join("store.fjall"), options)?))
        }
        #[cfg(feature = "sled")]
        "sled" => {
            let options = SledOptions { flush_interval: FLUSH_INTERVAL, ..SledOptions::default() };
            Ok(Arc::new(SledStore::open(folder.join("store.sled"), options)?))
        }
        #[cfg(feature = "rocksdb")]
        "rocksdb" => {
            let options = RocksDbOptions { flush_interval: FLUSH_INTERVAL, ..RocksDbOptions::default() };
            Ok(Arc::new(RocksDbStore::open(folder.join("store.rocksdb"), options)?))
        }
        name => {
            assert!(name == "log" || Flaw::named(name).is_some(), "no store is called {name}");
            let engine = LogEngine::open(folder, Flaw::named(name))
                .map_err(|error| WasmError::storage("open", error.fault).because(error.cause))?;
            Ok(Arc::new(Store::over(engine, FLUSH_INTERVAL)?))
        }
    }
}
