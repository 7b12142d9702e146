//! Both engines, whole.

use std::sync::LazyLock;

use airssys_wasm_core::runtime::{LoadOptions, RuntimeEngine};
use airssys_wasm_fuzz::wait_for;
use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};
use airssys_wasm_wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};

use crate::check_error;

static WASMER: LazyLock<WasmerEngine> =
    LazyLock::new(|| WasmerEngine::new(WasmerConfig::default()).expect("Wasmer is there"));

static WASMTIME: LazyLock<WasmtimeEngine> = LazyLock::new(|| {
    let config = WasmtimeConfig { allocation: Allocation::OnDemand, ..WasmtimeConfig::default() };
    WasmtimeEngine::new(config).expect("Wasmtime is there")
});

/// Both load the bytes and see the same in them, or refuse them with the same fault.
pub(crate) fn check_loading(wasm: &[u8]) {
    let wasmtime = wait_for(WASMTIME.load(wasm, LoadOptions::default()));
    let wasmer = wait_for(WASMER.load(wasm, LoadOptions::default()));
    match (wasmtime, wasmer) {
        (Ok(wasmtime), Ok(wasmer)) => assert_eq!(wasmtime.interface(), wasmer.interface()),
        (Err(wasmtime), Err(wasmer)) => {
            assert_eq!(
                check_error(&wasmtime),
                check_error(&wasmer),
                "Wasmtime: {wasmtime}\nWasmer: {wasmer}"
            );
        }
        (Ok(_), Err(wasmer)) => panic!("only Wasmer refuses it: {wasmer:?}"),
        (Err(wasmtime), Ok(_)) => panic!("only Wasmtime refuses it: {wasmtime:?}"),
    }
}
