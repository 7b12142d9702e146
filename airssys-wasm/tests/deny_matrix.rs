//! The deny matrix in the book is what every engine does.
//!
//! With `WRITE_BOOK=1` in the environment, the table in the book is written anew.

#![cfg(any(feature = "wasmtime", feature = "wasmer"))]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm_conformance::host::{deny_matrix, deny_matrix_table};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/deny-matrix.md");
/// The line that the table follows.
const HEADING: &str = "## The functions of the host\n\n";

async fn is_in_the_book(engine: Arc<dyn RuntimeEngine>) {
    let cells = deny_matrix(engine).await.unwrap_or_else(|broken| panic!("{broken}"));
    let table = deny_matrix_table(&cells);
    let page = fs::read_to_string(Path::new(PAGE)).expect("the page can be read");
    let (before, rest) = page.split_once(HEADING).expect("the page has the heading of the table");
    let (found, after) = rest.split_once("\n\n").expect("something follows the table");
    if std::env::var_os("WRITE_BOOK").is_some() {
        fs::write(PAGE, format!("{before}{HEADING}{table}\n{after}")).expect("the page can be written");
    } else {
        assert_eq!(
            format!("{found}\n"),
            table,
            "docs/deny-matrix.md is out of date: run this test with WRITE_BOOK=1"
        );
    }
}

#[cfg(feature = "wasmtime")]
#[tokio::test(flavor = "multi_thread")]
async fn on_wasmtime() {
    use airssys_wasm::wasmtime::{WasmtimeConfig, WasmtimeEngine};
    is_in_the_book(Arc::new(WasmtimeEngine::new(WasmtimeConfig::default()).unwrap())).await;
}

#[cfg(feature = "wasmer")]
#[tokio::test(flavor = "multi_thread")]
async fn on_wasmer() {
    use airssys_wasm::wasmer::{WasmerConfig, WasmerEngine};
    is_in_the_book(Arc::new(WasmerEngine::new(WasmerConfig::default()).unwrap())).await;
}
