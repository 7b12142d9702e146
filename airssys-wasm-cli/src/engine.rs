//! The engine as a command needs it: few instances, and nothing to serve while it compiles.

use std::sync::Arc;

use airssys_wasm::Result;
use airssys_wasm::core::config::RuntimeConfig;
use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm::wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};

/// An engine that reserves no address space beforehand and compiles on every core.
pub(crate) fn make(config: &RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> {
    let config = WasmtimeConfig {
        max_stack: config.max_stack,
        code_cache: config.code_cache.clone(),
        allocation: Allocation::OnDemand,
        parallel_compilation: true,
        ..WasmtimeConfig::default()
    };
    Ok(Arc::new(WasmtimeEngine::new(config)?))
}
