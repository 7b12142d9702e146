//! Every attack of the hostile zoo comes to the same end on every engine that is compiled in.

#[cfg(any(feature = "wasmtime", feature = "wasmer"))]
use std::sync::Arc;
#[cfg(any(feature = "wasmtime", feature = "wasmer"))]
use std::sync::{Mutex, PoisonError};

#[cfg(any(feature = "wasmtime", feature = "wasmer"))]
use airssys_wasm::core::config::RuntimeConfig;
#[cfg(any(feature = "wasmtime", feature = "wasmer"))]
use airssys_wasm::core::error::Result;
#[cfg(any(feature = "wasmtime", feature = "wasmer"))]
use airssys_wasm::core::runtime::RuntimeEngine;
#[cfg(any(feature = "wasmtime", feature = "wasmer"))]
use airssys_wasm_conformance::runner::Verdict;
use airssys_wasm_conformance::zoo;

/// The memory that attacks are measured by is that of the process.
#[cfg(any(feature = "wasmtime", feature = "wasmer"))]
static ONE_ENGINE: Mutex<()> = Mutex::new(());

#[cfg(any(feature = "wasmtime", feature = "wasmer"))]
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

#[test]
fn the_book_has_every_attack() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/zoo.md");
    let page = std::fs::read_to_string(page).expect("the page on the zoo is there");
    for contract in zoo::contracts() {
        let promise: Vec<_> = contract.promise.lines().map(str::trim).collect();
        let row = format!("| `{}` | {} |", contract.id, promise.join(" "));
        assert!(page.contains(&row), "docs/zoo.md lacks this row:\n{row}");
    }
    let rows = page.lines().filter(|line| line.starts_with("| `zoo.")).count();
    assert_eq!(rows, zoo::contracts().count(), "docs/zoo.md has other attacks than the suite");
}
