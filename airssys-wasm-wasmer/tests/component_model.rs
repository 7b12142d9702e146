//! Runs the Component Model's own tests on Wasmer.

use std::process::ExitCode;
use std::sync::Arc;

use airssys_wasm_conformance::component_model;
use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};

fn main() -> ExitCode {
    component_model::run("wasmer", |_| Ok(Arc::new(WasmerEngine::new(WasmerConfig::default())?)))
}
