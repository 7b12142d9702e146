//! Runs the storage contracts against redb.

use std::process::ExitCode;
use std::sync::Arc;

use airssys_wasm_conformance::storage;
use airssys_wasm_storage::{RedbOptions, RedbStore};

fn main() -> ExitCode {
    storage::suite("redb", |folder| {
        Ok(Arc::new(RedbStore::open(folder.join("store.redb"), RedbOptions::default())?))
    })
    .run()
}
