//! Functions that an embedder adds: what they may be, and whether an instance is given those that its component imports.

use std::sync::Arc;

use airssys_wasm_core::error::{ErrorKind, LoadFault, Result, WasmError};
use airssys_wasm_core::interface::{WitFunction, WitInterface, WitType};
use airssys_wasm_core::runtime::{HostFunction, HostFunctionDefinition};

use crate::imports::{compatible, is_offered};
use crate::text::guest_text;

/// Checks what an embedder wants to add.
///
/// # Errors
/// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) for a resource, a type that does not exist synchronously, a name
/// that is given twice, and an interface of ours or of WASI.
pub fn check(definitions: &[HostFunctionDefinition]) -> Result<()> {
    let refuse = |definition: &HostFunctionDefinition, what: String| {
        Err(WasmError::new(ErrorKind::InvalidConfiguration, "load")
            .saying(what)
            .with("function", name(definition)))
    };
    for (position, definition) in definitions.iter().enumerate() {
        let function = &definition.function;
        let types = function.parameters.iter().map(|(_, kind)| kind).chain(&function.result);
        if let Some(unsupported) = types.into_iter().find_map(unsupported) {
            return refuse(
                definition,
                format!(
                    "a host function of an embedder cannot take or return {unsupported}; use plain values"
                ),
            );
        }
        let same = |other: &&HostFunctionDefinition| {
            other.interface == definition.interface && other.function.name == function.name
        };
        if definitions[..position].iter().find(same).is_some() {
            return refuse(definition, "a host function is defined twice".into());
        }
        if is_offered(&[], &definition.interface) {
            return refuse(
                definition,
                "the interface of this host function is one that every host offers".into(),
            );
        }
    }
    Ok(())
}

fn unsupported(kind: &WitType) -> Option<&'static str> {
    match kind {
        WitType::Own | WitType::Borrow => Some("a resource"),
        WitType::Unsupported(keyword) => Some(keyword),
        WitType::List(inner) | WitType::Option(inner) => unsupported(inner),
        WitType::Tuple(items) => items.iter().find_map(unsupported),
        WitType::Record(fields) => fields.iter().find_map(|(_, kind)| unsupported(kind)),
        WitType::Variant(cases) => cases.iter().find_map(|(_, kind)| kind.as_ref().and_then(unsupported)),
        WitType::Result { ok, err } => {
            ok.as_deref().and_then(unsupported).or_else(|| err.as_deref().and_then(unsupported))
        }
        _ => None,
    }
}

/// The function that answers this import, if any does.
pub fn find<'d>(
    definitions: &'d [HostFunctionDefinition],
    interface: &str,
    function: &str,
) -> Option<&'d HostFunctionDefinition> {
    definitions.iter().find(|definition| {
        definition.function.name == function && compatible(&definition.interface, interface)
    })
}

/// Checks the types of what a component imports of these, and notes which right each call needs.
///
/// # Errors
/// [`LoadFault::ImportType`] naming the function, its type and the one it is imported with.
pub fn check_imports(definitions: &[HostFunctionDefinition], interface: &mut WitInterface) -> Result<()> {
    for instance in &mut interface.imports {
        for function in &mut instance.functions {
            let Some(definition) = find(definitions, &instance.name, &function.name) else { continue };
            check_type(&instance.name, function, &definition.function.signature())?;
            function.requires = definition.required_kind();
        }
    }
    Ok(())
}

/// # Errors
/// [`LoadFault::ImportType`] when the import is of another type than `expected`.
pub fn check_type(interface: &str, found: &WitFunction, expected: &str) -> Result<()> {
    let signature = found.signature();
    if signature == expected {
        return Ok(());
    }
    Err(WasmError::unloadable(LoadFault::ImportType)
        .with("import", format_args!("{interface}#{}", found.name))
        .with("expected", expected)
        .with("found", guest_text(&signature))
        .advising("build the component against the WIT package of this host"))
}

/// Checks that an instance is given what its component was loaded with.
///
/// # Errors
/// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) naming the first function that is missing or another.
pub fn check_given(definitions: &[HostFunctionDefinition], given: &[Arc<dyn HostFunction>]) -> Result<()> {
    let refuse = |definition: &HostFunctionDefinition, what: &str| {
        Err(WasmError::new(ErrorKind::InvalidConfiguration, "instantiate")
            .saying(what)
            .with("function", name(definition))
            .advising(
                "give each instance the host functions that its component was loaded with, in the same order",
            ))
    };
    for (position, definition) in definitions.iter().enumerate() {
        match given.get(position) {
            None => return refuse(definition, "a host function is missing"),
            Some(function) if function.definition() != definition => {
                return refuse(
                    definition,
                    "a host function is not the one that the component was loaded with",
                );
            }
            Some(_) => {}
        }
    }
    match given.get(definitions.len()) {
        Some(extra) => {
            refuse(extra.definition(), "a host function is given that the component was not loaded with")
        }
        None => Ok(()),
    }
}

/// How a function is called in messages: `interface#function`.
pub fn name(definition: &HostFunctionDefinition) -> String {
    format!("{}#{}", definition.interface, definition.function.name)
}
