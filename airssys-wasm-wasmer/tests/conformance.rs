//! Runs the engine contracts against Wasmer.

use std::process::ExitCode;
use std::sync::Arc;

use airssys_wasm_conformance::engine;
use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};

fn main() -> ExitCode {
    engine::suite("wasmer", |config| {
        let max_stack = config.max_stack;
        Ok(Arc::new(WasmerEngine::new(WasmerConfig { max_stack, ..WasmerConfig::default() })?))
    })
    .run()
}
