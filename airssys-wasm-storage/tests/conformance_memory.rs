//! Runs the storage contracts against the memory store.

use std::process::ExitCode;
use std::sync::Arc;

use airssys_wasm_conformance::storage;
use airssys_wasm_storage::MemoryStore;

fn main() -> ExitCode {
    storage::suite("memory", |_| Ok(Arc::new(MemoryStore::new()))).run()
}
