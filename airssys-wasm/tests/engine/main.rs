//! What an engine does for a component, tried on the engine under test: Wasmtime, or the one that `AIRSSYS_WASM_ENGINE` names.

#![cfg(feature = "wasmtime")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod code_cache;
mod execute;
mod extensions;
mod faults;
mod limits;
mod load;
mod support;
mod time;
mod values;
mod wasi;
