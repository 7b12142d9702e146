//! Runs the engine contracts against Wasmtime.

use std::process::ExitCode;
use std::sync::Arc;

use airssys_wasm_conformance::engine;
use airssys_wasm_wasmtime::{WasmtimeConfig, WasmtimeEngine};

fn main() -> ExitCode {
    engine::suite("wasmtime", |config| {
        let max_stack = config.max_stack;
        Ok(Arc::new(WasmtimeEngine::new(WasmtimeConfig { max_stack, ..WasmtimeConfig::default() })?))
    })
    .run()
}
