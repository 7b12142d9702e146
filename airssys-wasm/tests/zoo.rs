//! Every attack of the hostile zoo comes to the same end on every engine that is compiled in.

#![cfg(any(feature = "wasmtime", feature = "wasmer"))]

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

use airssys_wasm::core::config::RuntimeConfig;
use airssys_wasm::core::error::Result;
use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm_conformance::runner::Verdict;
use airssys_wasm_conformance::zoo;

/// The memory that attacks are measured by is that of the process.
static ONE_ENGINE: Mutex<()> = Mutex::new(());

fn hold(
    engine: &str,
    make: impl Fn(&RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> + Send + Sync + 'static,
) {
    let _one = ONE_ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    // `AIRSSYS_WASM_ATTACK` names the attacks to run while one is looked into; nothing else sets it.
    let attack = std::env::var("AIRSSYS_WASM_ATTACK").unwrap_or_default();
    let report = zoo::suite(engine, make).report_of(&attack);
    for line in &report.lines {
        #[expect(clippy::print_stdout, reason = "shown with --nocapture, and where an attack has succeeded")]
        {
            println!("{engine}: {line}");
        }
    }
    let broken: Vec<_> = report.broken().collect();
    assert!(broken.is_empty(), "{engine} breaks: {broken:#?}");
    let asked = zoo::contracts().filter(|contract| contract.id.contains(&attack)).count();
    assert!(asked > 0, "no attack is called `{attack}`");
    assert_eq!(report.lines.len(), asked, "{engine} was not attacked in every way");
    assert!(report.lines.iter().all(|line| line.verdict == Verdict::Held), "{engine} was let off an attack");
}

#[cfg(feature = "wasmtime")]
#[test]
fn on_wasmtime() {
    use airssys_wasm::wasmtime::{WasmtimeConfig, WasmtimeEngine};
    hold("wasmtime", |config| {
        let RuntimeConfig { max_stack, code_cache, .. } = config.clone();
        Ok(Arc::new(WasmtimeEngine::new(WasmtimeConfig {
            max_stack,
            code_cache,
            ..WasmtimeConfig::default()
        })?))
    });
}

#[cfg(feature = "wasmer")]
#[test]
fn on_wasmer() {
    use airssys_wasm::wasmer::{WasmerConfig, WasmerEngine};
    hold("wasmer", |config| {
        let RuntimeConfig { max_stack, code_cache, .. } = config.clone();
        Ok(Arc::new(WasmerEngine::new(WasmerConfig { max_stack, code_cache, ..WasmerConfig::default() })?))
    });
}
