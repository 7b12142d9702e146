//! Runs the storage contracts against sled.

use std::process::ExitCode;
use std::sync::Arc;

use airssys_wasm_conformance::storage;
use airssys_wasm_storage::{SledOptions, SledStore};

fn main() -> ExitCode {
    storage::suite("sled", |folder| {
        Ok(Arc::new(SledStore::open(folder.join("store"), SledOptions::default())?))
    })
    .run()
}
