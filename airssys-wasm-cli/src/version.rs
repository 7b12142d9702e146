//! The versions that `--version` shows.

use std::sync::LazyLock;

use airssys_wasm::wasmtime::WASMTIME_VERSION;

/// The version of redb that the stores are built with. A test compares it with the lockfile.
const REDB_VERSION: &str = "4.6.0";

/// Package, engines and store.
pub(crate) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let version = env!("CARGO_PKG_VERSION");
        format!("{version} / wasmtime {WASMTIME_VERSION}{} / redb {REDB_VERSION}", wasmer())
    });
    &TEXT
}

#[cfg(feature = "wasmer")]
fn wasmer() -> String {
    format!(" / wasmer {}", airssys_wasm::wasmer::WASMER_VERSION)
}

#[cfg(not(feature = "wasmer"))]
fn wasmer() -> &'static str {
    ""
}
