//! Loading, as far as it goes before code is generated: whatever the bytes, there is a component or an error of loading, and the
//! modules that the Wasmer engine would compile are valid ones.
//!
//! The input is a component. The modules of the engine are compiled into this target from their sources, because nothing in them
//! is of Wasmer. With the feature `engines` both engines also load the bytes, code and all, and have to say the same.

#![no_main]

#[cfg(feature = "engines")]
mod engines;

#[path = "../../../airssys-wasm-wasmer/src"]
mod wasmer {
    #[allow(dead_code, unused_imports, reason = "the engine uses what this target does not")]
    pub(crate) mod instrument;
    #[allow(dead_code, unused_imports, reason = "the engine uses what this target does not")]
    pub(crate) mod translate;
    #[allow(dead_code, unused_imports, reason = "the engine uses what this target does not")]
    pub(crate) mod types;
}

use airssys_wasm_core::error::{Detail, ErrorKind, LoadFault, WasmError};
use airssys_wasm_core::interface::{WitInterface, check_exports};
use airssys_wasm_engine::binary::diagnose;
use airssys_wasm_engine::extensions::check_imports;
use airssys_wasm_fuzz::within;
use libfuzzer_sys::fuzz_target;
use wasmer::instrument::Counting;
use wasmer::translate::{Translation, translate};
use wasmer::{instrument, types};
use wasmparser::{Validator, WasmFeatures};

/// What the host may hold while it takes a binary apart. Types written out have a bound of their own.
const FIXED_COST: usize = 48 << 20;
const COST_OF_BYTE: usize = 512;

fuzz_target!(|wasm: &[u8]| {
    let diagnosis = within(4_096, || diagnose(wasm));
    let cost = FIXED_COST + wasm.len() * COST_OF_BYTE;
    let by_epochs = within(cost, || translate(wasm, Counting::Epochs));
    let by_fuel = within(cost, || translate(wasm, Counting::Fuel));
    match (&by_epochs, &by_fuel) {
        (Ok(epochs), Ok(fuel)) => {
            if let Err(error) = &diagnosis {
                panic!("a component is said to be none: {error}");
            }
            check_modules(epochs);
            check_modules(fuel);
            assert_eq!(epochs.modules.len(), fuel.modules.len());
            within(cost, || check_interface(epochs));
        }
        (Err(epochs), Err(fuel)) => {
            check_error(epochs);
            assert_eq!(epochs.detail(), fuel.detail(), "{epochs} and {fuel}");
        }
        (epochs, fuel) => {
            panic!("what is counted decides what loads: {:?} and {:?}", epochs.is_ok(), fuel.is_ok())
        }
    }
    if let Err(error) = &diagnosis {
        check_error(error);
    }
    #[cfg(feature = "engines")]
    engines::check_loading(wasm);
});

/// The compiler is handed valid modules, with the imports and indices that the plan says.
fn check_modules(translation: &Translation) {
    let features = WasmFeatures::WASM2 | WasmFeatures::MULTI_MEMORY | WasmFeatures::EXTENDED_CONST;
    assert_eq!(translation.modules.len(), translation.plan.modules.len());
    for (module, plan) in translation.modules.iter().zip(&translation.plan.modules) {
        let checked = Validator::new_with_features(features & !WasmFeatures::GC_TYPES).validate_all(module);
        let types = checked.unwrap_or_else(|error| panic!("an instrumented module is invalid: {error:#}"));
        if let Some(start) = plan.start {
            assert!(start < types.as_ref().function_count(), "the start function is no function");
        }
    }
}

/// The types of a component are written out, or said to be too many.
fn check_interface(translation: &Translation) {
    let plan = &translation.plan;
    let Ok((mut interface, _)) = types::interface(&plan.types, plan.itself) else { return };
    if let Err(error) = check_exports(&interface) {
        check_error(&error);
    }
    if let Err(error) = check_imports(&[], &mut interface) {
        panic!("without functions of an embedder, there are none of another type: {error}");
    }
    check_names(&interface);
}

/// What is written out can be looked up again.
fn check_names(interface: &WitInterface) {
    for instance in &interface.exports {
        assert!(interface.export(&instance.name).is_some());
        for function in &instance.functions {
            let found = instance.function(&function.name).expect("it is in the list");
            assert_eq!(found.signature(), function.signature());
        }
    }
    for instance in &interface.imports {
        assert!(interface.import(&instance.name).is_some());
    }
}

/// An error of loading: of its kind, with a fault, and fit to be shown.
fn check_error(error: &WasmError) -> LoadFault {
    assert_eq!(error.kind(), ErrorKind::ComponentLoadFailed, "{error}");
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control), "{text:?} has a control character");
    match error.detail() {
        Some(Detail::Load(fault)) => fault,
        other => panic!("{error} has the detail {other:?}"),
    }
}
