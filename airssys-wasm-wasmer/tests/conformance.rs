//! Runs the engine contracts against Wasmer.

#[cfg(supported)]
fn main() -> std::process::ExitCode {
    use airssys_wasm_conformance::engine;
    use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};
    use std::sync::Arc;

    engine::suite("wasmer", |config| {
        let max_stack = config.max_stack;
        Ok(Arc::new(WasmerEngine::new(WasmerConfig { max_stack, ..WasmerConfig::default() })?))
    })
    .run()
}

#[cfg(not(supported))]
fn main() {}
