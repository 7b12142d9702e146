//! The stores that are put to the test, by name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm_core::error::Result;
use airssys_wasm_core::storage::StorageBackend;
use airssys_wasm_storage::Store;
#[cfg(feature = "fjall")]
use airssys_wasm_storage::{FjallOptions, FjallStore};
#[cfg(feature = "redb")]
use airssys_wasm_storage::{RedbOptions, RedbStore};
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
    "log",
];

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
        name => {
            assert!(name == "log" || Flaw::named(name).is_some(), "no store is called {name}");
            let engine = LogEngine::open(folder, Flaw::named(name)).map_err(|error| {
                airssys_wasm_core::error::WasmError::storage("open", error.fault).because(error.cause)
            })?;
            Ok(Arc::new(Store::over(engine, FLUSH_INTERVAL)?))
        }
    }
}
