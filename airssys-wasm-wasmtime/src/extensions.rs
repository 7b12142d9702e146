//! Functions that an embedder adds: linked by their definition, answered by what the instance is made with.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use airssys_wasm_core::error::{ErrorKind, LoadFault, Result, TrapKind, WasmError};
use airssys_wasm_core::interface::{WitFunction, WitInterface, WitType};
use airssys_wasm_core::runtime::{HostFunction, HostFunctionDefinition};
use futures_util::FutureExt;
use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Linker, Val};

use crate::fault;
use crate::instance::State;
use crate::load::compatible;
use crate::value::{self, Lowering};

const OPERATION: &str = "host function";

/// Checks what an embedder wants to add.
///
/// # Errors
/// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) for a resource, a type that does not exist synchronously, or a name
/// that is given twice.
pub(crate) fn check(definitions: &[HostFunctionDefinition]) -> Result<()> {
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
pub(crate) fn find<'d>(
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
pub(crate) fn check_imports(
    definitions: &[HostFunctionDefinition],
    interface: &mut WitInterface,
) -> Result<()> {
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
pub(crate) fn check_type(interface: &str, found: &WitFunction, expected: &str) -> Result<()> {
    let signature = found.signature();
    if signature == expected {
        return Ok(());
    }
    Err(WasmError::unloadable(LoadFault::ImportType)
        .with("import", format_args!("{interface}#{}", found.name))
        .with("expected", expected)
        .with("found", fault::guest_text(&signature))
        .advising("build the component against the WIT package of this host"))
}

/// Adds the functions to what components can import.
pub(crate) fn add_to_linker(
    linker: &mut Linker<State>,
    definitions: &Arc<[HostFunctionDefinition]>,
) -> Result<()> {
    for (position, definition) in definitions.iter().enumerate() {
        let shared = Arc::clone(definitions);
        let added = if definition.interface.is_empty() {
            linker.root().func_new_async(
                &definition.function.name,
                move |context, kind, arguments, results| {
                    Box::new(call(context, Arc::clone(&shared), position, kind, arguments, results))
                },
            )
        } else {
            linker.instance(&definition.interface).and_then(|mut instance| {
                instance.func_new_async(
                    &definition.function.name,
                    move |context, kind, arguments, results| {
                        Box::new(call(context, Arc::clone(&shared), position, kind, arguments, results))
                    },
                )
            })
        };
        added.map_err(|error| {
            WasmError::new(ErrorKind::InvalidConfiguration, "load")
                .saying("a host function has a name that is not free, or not one of WIT")
                .with("function", name(definition))
                .because(fault::plain(&error))
        })?;
    }
    Ok(())
}

/// Checks that an instance is given what its component was loaded with.
///
/// # Errors
/// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) naming the first function that is missing or another.
pub(crate) fn check_given(
    definitions: &[HostFunctionDefinition],
    given: &[Arc<dyn HostFunction>],
) -> Result<()> {
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

async fn call(
    context: StoreContextMut<'_, State>,
    definitions: Arc<[HostFunctionDefinition]>,
    position: usize,
    kind: ComponentFunc,
    arguments: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let definition = &definitions[position];
    let services = &context.data().services;
    let function = Arc::clone(&services.extensions[position]);
    let messaging = Arc::clone(&services.messaging);
    let fault = |what: String| {
        let fault = WasmError::trapped(OPERATION, TrapKind::HostFault).saying(what);
        wasmtime::Error::new(fault.with("function", name(definition)))
    };
    let arguments = kind.params().zip(arguments).map(|((_, kind), argument)| {
        value::lift(argument, &kind, &mut None).map_err(|mismatch| fault(mismatch.to_string()))
    });
    let arguments = arguments.collect::<wasmtime::Result<Vec<_>>>()?;
    context.data().check_transfer(OPERATION, arguments.iter().map(value::size).sum())?;
    let asked = AssertUnwindSafe(async { function.call(messaging.self_id()?, arguments).await });
    let answer = match asked.catch_unwind().await {
        Ok(answer) => answer.map_err(wasmtime::Error::new)?,
        Err(panic) => {
            let panicked = fault::of_panic(OPERATION, &*panic).with("function", name(definition));
            return Err(wasmtime::Error::new(panicked));
        }
    };
    match (answer, kind.results().next(), results) {
        (None, None, []) => Ok(()),
        (Some(answer), Some(kind), [result]) => {
            context.data().check_transfer(OPERATION, value::size(&answer))?;
            *result = Lowering::with(None).lower(&answer, &kind).map_err(|mismatch| {
                fault(format!("a host function returned another type than it declares: {mismatch}"))
            })?;
            Ok(())
        }
        (Some(answer), ..) => {
            Err(fault(format!("a host function that returns nothing returned {}", answer.type_name())))
        }
        (None, ..) => Err(fault("a host function returned nothing, and declares a result".into())),
    }
}

fn name(definition: &HostFunctionDefinition) -> String {
    format!("{}#{}", definition.interface, definition.function.name)
}
