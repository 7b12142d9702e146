//! Runs the Component Model's own tests on Wasmer.

#[cfg(supported)]
fn main() -> std::process::ExitCode {
    use airssys_wasm_conformance::component_model;
    use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};
    use std::sync::Arc;

    component_model::run("wasmer", |_| Ok(Arc::new(WasmerEngine::new(WasmerConfig::default())?)))
}

#[cfg(not(supported))]
fn main() {}
