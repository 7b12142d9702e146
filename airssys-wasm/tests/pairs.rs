//! The contracts of the host hold on every engine over every store that is compiled in.

#![cfg(any(feature = "wasmtime", feature = "wasmer"))]

use std::path::Path;
use std::sync::Arc;

use airssys_wasm::core::config::RuntimeConfig;
use airssys_wasm::core::error::Result;
use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm::core::storage::StorageBackend;
use airssys_wasm_conformance::host;
use airssys_wasm_conformance::runner::Verdict;

/// Holds a pair to every contract.
fn hold(
    pair: &str,
    engine: impl Fn(&RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> + Send + Sync + 'static,
    store: impl Fn(&Path) -> Result<Arc<dyn StorageBackend>> + Send + Sync + 'static,
) {
    let report = host::suite(pair, engine, store).report();
    let broken: Vec<_> = report.broken().collect();
    assert!(broken.is_empty(), "{pair} breaks: {broken:#?}");
    assert_eq!(report.lines.len(), host::contracts().count(), "{pair} was not held to every contract");
    let held = report.lines.iter().filter(|line| line.verdict == Verdict::Held).count();
    assert!(held > 20, "{pair} holds {held} contracts alone");
}

/// One test for each store that is compiled in, over the engine that `$engine` makes.
macro_rules! over_each_store {
    ($engine:ident) => {
        #[test]
        fn over_memory() {
            hold(concat!(stringify!($engine), "+memory"), super::$engine, |_| {
                Ok(Arc::new(airssys_wasm::storage::MemoryStore::new()))
            });
        }

        #[cfg(feature = "redb")]
        #[test]
        fn over_redb() {
            use airssys_wasm::storage::{RedbOptions, RedbStore};
            hold(concat!(stringify!($engine), "+redb"), super::$engine, |folder| {
                Ok(Arc::new(RedbStore::open(folder.join("store"), RedbOptions::default())?))
            });
        }

        #[cfg(feature = "fjall")]
        #[test]
        fn over_fjall() {
            use airssys_wasm::storage::{FjallOptions, FjallStore};
            hold(concat!(stringify!($engine), "+fjall"), super::$engine, |folder| {
                Ok(Arc::new(FjallStore::open(folder.join("store"), FjallOptions::default())?))
            });
        }

        #[cfg(feature = "sled")]
        #[test]
        fn over_sled() {
            use airssys_wasm::storage::{SledOptions, SledStore};
            hold(concat!(stringify!($engine), "+sled"), super::$engine, |folder| {
                Ok(Arc::new(SledStore::open(folder.join("store"), SledOptions::default())?))
            });
        }

        #[cfg(feature = "rocksdb")]
        #[test]
        fn over_rocksdb() {
            use airssys_wasm::storage::{RocksDbOptions, RocksDbStore};
            hold(concat!(stringify!($engine), "+rocksdb"), super::$engine, |folder| {
                Ok(Arc::new(RocksDbStore::open(folder.join("store"), RocksDbOptions::default())?))
            });
        }
    };
}

#[cfg(feature = "wasmtime")]
fn wasmtime(config: &RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> {
    use airssys_wasm::wasmtime::{WasmtimeConfig, WasmtimeEngine};
    let max_stack = config.max_stack;
    Ok(Arc::new(WasmtimeEngine::new(WasmtimeConfig { max_stack, ..WasmtimeConfig::default() })?))
}

#[cfg(feature = "wasmer")]
fn wasmer(config: &RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> {
    use airssys_wasm::wasmer::{WasmerConfig, WasmerEngine};
    let max_stack = config.max_stack;
    Ok(Arc::new(WasmerEngine::new(WasmerConfig { max_stack, ..WasmerConfig::default() })?))
}

#[cfg(feature = "wasmtime")]
mod on_wasmtime {
    use super::*;
    over_each_store!(wasmtime);
}

#[cfg(feature = "wasmer")]
mod on_wasmer {
    use super::*;
    over_each_store!(wasmer);
}
