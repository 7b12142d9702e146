//! The versions that `--version` shows.

use std::sync::LazyLock;

use airssys_wasm::wasmtime::WASMTIME_VERSION;

/// The version of redb that the stores are built with. A test compares it with the lockfile.
const REDB_VERSION: &str = "4.6.0";

/// Package, engine and store.
pub(crate) fn text() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        format!("{} / wasmtime {WASMTIME_VERSION} / redb {REDB_VERSION}", env!("CARGO_PKG_VERSION"))
    });
    &TEXT
}
