//! Functions that an embedder adds, called with dynamic values.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use airssys_wasm_core::error::{Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::{ResourceHandle, Value};
use airssys_wasm_engine::extensions::name;
use airssys_wasm_engine::text;
use airssys_wasm_engine::value::size;
use futures_util::FutureExt;
use wasmer_vm::on_host_stack;
use wasmtime_environ::component::{TypeFuncIndex, TypeResourceTableIndex};

use crate::abi::Cells;
use crate::abi::dynamic::{self, Held, check};
use crate::fault;
use crate::side::Side;

const OPERATION: &str = "host function";

/// Calls the function at this position.
///
/// # Safety
/// As [`Import`](super::Import).
#[expect(unsafe_code, reason = "leaves the guest's stack while it waits")]
pub(crate) unsafe fn call(
    side: &mut Side<'_>,
    position: usize,
    function: TypeFuncIndex,
    cells: &[u64],
) -> Result<Cells> {
    let store = side.store;
    let types = &store.loaded.plan.types;
    let kind = &types[function];
    // Types can be deep, and the guest's stack nearly full.
    let arguments = on_host_stack(|| dynamic::lift_parameters(cells, kind.params, types, side))?;
    let implementation = Arc::clone(&store.services.extensions[position]);
    let messaging = Arc::clone(&store.services.messaging);
    let definitions = Arc::clone(&store.loaded.definitions);
    let asking = async move {
        let asked = AssertUnwindSafe(async { implementation.call(messaging.self_id()?, arguments).await });
        let answer = asked.catch_unwind().await.unwrap_or_else(|panic| {
            Err(text::of_panic(OPERATION, &*panic).with("function", name(&definitions[position])))
        })?;
        Ok(Box::new(answer.into_iter().collect::<Vec<_>>()) as Box<dyn Any + Send>)
    };
    // SAFETY: as the caller promises; what was lifted is in the future.
    let answer = unsafe { store.wait(Box::pin(asking)) }?;
    let held = store.hold(answer);
    let answer = held.downcast_ref::<Vec<Value>>().ok_or_else(|| fault::no_outcome(OPERATION))?;
    on_host_stack(|| check_answer(position, side, function, answer))?;
    store.check_transfer(OPERATION, answer.iter().map(size).sum())?;
    let returned = dynamic::lower_results(answer, cells, kind.results, types, side)?;
    store.release();
    Ok(returned)
}

fn check_answer(position: usize, side: &Side<'_>, kind: TypeFuncIndex, answer: &[Value]) -> Result<()> {
    let types = &side.store.loaded.plan.types;
    let fault = |what: String| {
        Err(WasmError::trapped(OPERATION, TrapKind::HostFault)
            .saying(what)
            .with("function", side.store.loaded.definitions.get(position).map(name).unwrap_or_default()))
    };
    match (answer, &*types[types[kind].results].types) {
        ([], []) => Ok(()),
        ([answer], [kind]) => match check(answer, *kind, types, &mut Nothing) {
            Ok(()) => Ok(()),
            Err(mismatch) => {
                fault(format!("a host function returned another type than it declares: {mismatch}"))
            }
        },
        ([answer, ..], _) => {
            fault(format!("a host function that returns nothing returned {}", answer.type_name()))
        }
        ([], _) => fault("a host function returned nothing, and declares a result".into()),
    }
}

/// A function of an embedder has no resources.
struct Nothing;

impl Held for Nothing {
    fn hand_over(
        &mut self,
        _: TypeResourceTableIndex,
        _: ResourceHandle,
    ) -> std::result::Result<(), &'static str> {
        Err("a resource")
    }

    fn lend(
        &mut self,
        _: TypeResourceTableIndex,
        _: ResourceHandle,
    ) -> std::result::Result<(), &'static str> {
        Err("a resource")
    }
}
