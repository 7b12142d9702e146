//! Functions that an embedder adds: linked by their definition, answered by what the instance is made with.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use airssys_wasm_core::error::{ErrorKind, Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::HostFunctionDefinition;
use airssys_wasm_engine::extensions::name;
use futures_util::FutureExt;
use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Linker, Val};

use crate::fault;
use crate::instance::State;
use crate::value::{self, Lowering};

const OPERATION: &str = "host function";

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
