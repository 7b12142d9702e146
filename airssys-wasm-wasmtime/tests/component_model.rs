//! Runs the Component Model's own tests on Wasmtime.

use std::process::ExitCode;
use std::sync::Arc;

use airssys_wasm_conformance::component_model;
use airssys_wasm_wasmtime::{WasmtimeConfig, WasmtimeEngine};

fn main() -> ExitCode {
    component_model::run("wasmtime", |_| Ok(Arc::new(WasmtimeEngine::new(WasmtimeConfig::default())?)))
}
