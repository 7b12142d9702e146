//! Runs the storage contracts against RocksDB.

use std::process::ExitCode;
use std::sync::Arc;

use airssys_wasm_conformance::storage;
use airssys_wasm_storage::{RocksDbOptions, RocksDbStore};

fn main() -> ExitCode {
    storage::suite("rocksdb", |folder| {
        Ok(Arc::new(RocksDbStore::open(folder.join("store"), RocksDbOptions::default())?))
    })
    .run()
}
