//! WASI, called with dynamic values: none of it is on a path where time matters.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use airssys_wasm_core::error::{Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::{ResourceHandle, Value};
use airssys_wasm_engine::text;
use airssys_wasm_engine::value::size;
use futures_util::FutureExt;
use wasmer_vm::on_host_stack;
use wasmtime_environ::component::{TypeFuncIndex, TypeResourceTableIndex};

use crate::abi::Cells;
use crate::abi::dynamic::{self, Held, check};
use crate::fault;
use crate::side::Side;
use crate::wasi::{Answer, Finish, Function};

const OPERATION: &str = "wasi";

/// Calls a function of WASI.
///
/// # Safety
/// As [`Import`](super::Import).
#[expect(unsafe_code, reason = "leaves the guest's stack while it waits")]
pub(crate) unsafe fn call(
    side: &mut Side<'_>,
    answerer: Function,
    function: TypeFuncIndex,
    cells: &[u64],
) -> Result<Cells> {
    let store = side.store;
    let types = &store.loaded.plan.types;
    let kind = &types[function];
    // Types can be deep, and the guest's stack nearly full.
    let arguments = on_host_stack(|| dynamic::lift_parameters(cells, kind.params, types, side))?;
    let world = store.wasi.as_ref().ok_or_else(|| fault::no_outcome(OPERATION))?;
    let answer = on_host_stack(|| catch_unwind(AssertUnwindSafe(|| answerer(world, arguments))));
    let answer = match answer.map_err(|panic| text::of_panic(OPERATION, &*panic))? {
        Answer::Now(answer) => store.hold(answer?),
        Answer::Later(answering) => {
            let answering = AssertUnwindSafe(answering).catch_unwind().map(|answered| {
                let answer = answered.unwrap_or_else(|panic| Err(text::of_panic(OPERATION, &*panic)))?;
                Ok(Box::new(answer) as Box<dyn Any + Send>)
            });
            // SAFETY: as the caller promises; what was lifted is in the future.
            let answer = unsafe { store.wait(Box::pin(answering)) }?;
            store.hold(answer).downcast_ref::<Option<Value>>().ok_or_else(|| fault::no_outcome(OPERATION))?
        }
        Answer::Then(answering) => {
            let answering = AssertUnwindSafe(answering).catch_unwind().map(|answered| {
                let finish = answered.unwrap_or_else(|panic| Err(text::of_panic(OPERATION, &*panic)))?;
                Ok(Box::new(finish) as Box<dyn Any + Send>)
            });
            // SAFETY: as the caller promises; what was lifted is in the future.
            let finish = unsafe { store.wait(Box::pin(answering)) }?;
            let finish = finish.downcast::<Finish>().map_err(|_| fault::no_outcome(OPERATION))?;
            let answer = on_host_stack(|| catch_unwind(AssertUnwindSafe(|| finish(world))));
            store.hold(answer.map_err(|panic| text::of_panic(OPERATION, &*panic))??)
        }
    };
    let results = answer.as_slice();
    on_host_stack(|| check_type(side, function, results))?;
    store.check_transfer(OPERATION, results.iter().map(size).sum())?;
    let returned = dynamic::lower_results(results, cells, kind.results, types, side)?;
    store.release();
    Ok(returned)
}

/// A component that imports a function of WASI with other types than it has is told so when it calls it.
fn check_type(side: &Side<'_>, function: TypeFuncIndex, results: &[Value]) -> Result<()> {
    let types = &side.store.loaded.plan.types;
    let expected = &*types[types[function].results].types;
    let fits = match (results, expected) {
        ([], []) => true,
        ([result], [kind]) => check(result, *kind, types, &mut Ours).is_ok(),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(WasmError::trapped(OPERATION, TrapKind::HostFault)
        .saying("the component imports a function of WASI with another type than it has"))
}

/// Resources of the host, which it may hand over as it likes.
struct Ours;

impl Held for Ours {
    fn hand_over(
        &mut self,
        _: TypeResourceTableIndex,
        _: ResourceHandle,
    ) -> std::result::Result<(), &'static str> {
        Ok(())
    }

    fn lend(
        &mut self,
        _: TypeResourceTableIndex,
        _: ResourceHandle,
    ) -> std::result::Result<(), &'static str> {
        Ok(())
    }
}
