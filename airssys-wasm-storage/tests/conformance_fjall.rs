//! Runs the storage contracts against fjall.

use std::process::ExitCode;
use std::sync::Arc;

use airssys_wasm_conformance::storage;
use airssys_wasm_storage::{FjallOptions, FjallStore};

fn main() -> ExitCode {
    storage::suite("fjall", |folder| {
        Ok(Arc::new(FjallStore::open(folder.join("store"), FjallOptions::default())?))
    })
    .run()
}
