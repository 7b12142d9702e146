//! The engine as a command needs it: few instances, and nothing to serve while it compiles.

use std::sync::Arc;

use airssys_wasm::Result;
use airssys_wasm::core::config::RuntimeConfig;
use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm::wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};
use clap::ValueEnum;

/// What runs components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// Wasmtime
    Wasmtime,
    /// Wasmer; only in builds with the feature `wasmer`
    Wasmer,
}

impl Engine {
    /// Every engine that this build has.
    pub(crate) const fn in_this_build() -> &'static [Self] {
        if cfg!(feature = "wasmer") { &[Self::Wasmtime, Self::Wasmer] } else { &[Self::Wasmtime] }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Wasmtime => "wasmtime",
            Self::Wasmer => "wasmer",
        }
    }
}

/// An engine that reserves no address space beforehand.
///
/// # Errors
/// [`InvalidConfiguration`](airssys_wasm::core::error::ErrorKind::InvalidConfiguration) for an engine that this build has not;
/// those of the engine.
pub(crate) fn make(engine: Engine, config: &RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> {
    match engine {
        Engine::Wasmtime => wasmtime(config),
        Engine::Wasmer => wasmer(config),
    }
}

/// Compiles on every core.
fn wasmtime(config: &RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> {
    let config = WasmtimeConfig {
        max_stack: config.max_stack,
        code_cache: config.code_cache.clone(),
        allocation: Allocation::OnDemand,
        parallel_compilation: true,
        ..WasmtimeConfig::default()
    };
    Ok(Arc::new(WasmtimeEngine::new(config)?))
}

#[cfg(feature = "wasmer")]
fn wasmer(config: &RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> {
    use airssys_wasm::wasmer::{WasmerConfig, WasmerEngine};

    let config = WasmerConfig {
        max_stack: config.max_stack,
        code_cache: config.code_cache.clone(),
        ..WasmerConfig::default()
    };
    Ok(Arc::new(WasmerEngine::new(config)?))
}

#[cfg(not(feature = "wasmer"))]
fn wasmer(_: &RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> {
    use airssys_wasm::WasmError;
    use airssys_wasm::core::error::ErrorKind;

    Err(WasmError::new(ErrorKind::InvalidConfiguration, "make engine")
        .saying("this build of the command has no Wasmer")
        .advising("build it with `--features wasmer`, or use `--engine wasmtime`"))
}
