//! What components import of us: each function lifts its arguments, asks the service of the instance, and lowers the answer.
//!
//! All of this runs on the guest's stack, but for the services: they run on the thread's own, or are polled by its executor.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use airssys_wasm_core::error::Result;
use airssys_wasm_core::interface::{LOGGING, MESSAGING, STORAGE};
use airssys_wasm_core::runtime::HostServices;
use airssys_wasm_engine::text;
use futures_util::FutureExt;
use wasmer_vm::on_host_stack;

use crate::abi::{Cells, Lift, Lower, lift_parameters, lower_results};
use crate::fault;
use crate::side::Side;
use crate::store::Store;

pub(crate) mod extensions;
mod logging;
mod messaging;
mod storage;
pub(crate) mod wasi;
pub(crate) mod world;

/// A function that a component imports: from the cells that it is called with to those that it returns.
///
/// # Safety
/// Called on the guest's stack, by frames that hold nothing that needs to be dropped and nothing of the thread.
pub(crate) type Import = unsafe fn(&mut Side<'_>, &[u64]) -> Result<Cells>;

/// The function of ours that answers this import.
pub(crate) fn find(interface: &str, function: &str) -> Option<Import> {
    match interface {
        LOGGING => logging::find(function),
        MESSAGING => messaging::find(function),
        STORAGE => storage::find(function),
        _ => None,
    }
}

/// Asks a service that answers at once.
fn ask<P: Lift, R: Lower + 'static>(
    function: &'static str,
    side: &mut Side<'_>,
    cells: &[u64],
    service: impl FnOnce(&Store, P) -> Result<R>,
) -> Result<Cells> {
    let parameters = lift_parameters::<P, _>(cells, side)?;
    let store = side.store;
    let answer = on_host_stack(|| {
        catch_unwind(AssertUnwindSafe(|| service(store, parameters)))
            .unwrap_or_else(|panic| Err(text::of_panic(function, &*panic)))
    })?;
    if !std::mem::needs_drop::<R>() {
        return lower_results(&answer, cells, side);
    }
    let held = store.hold(answer);
    let returned = lower_results(held, cells, side)?;
    store.release();
    Ok(returned)
}

/// Asks a service that may have to wait.
///
/// # Safety
/// As [`Import`].
#[expect(unsafe_code, reason = "leaves the guest's stack while it waits")]
unsafe fn ask_later<P, R, F>(
    function: &'static str,
    side: &mut Side<'_>,
    cells: &[u64],
    service: impl FnOnce(&Store, HostServices, P) -> Result<F>,
) -> Result<Cells>
where
    P: Lift,
    R: Lower + Send + 'static,
    F: Future<Output = Result<R>> + Send + 'static,
{
    let parameters = lift_parameters::<P, _>(cells, side)?;
    let store = side.store;
    let answering = service(store, store.services.clone(), parameters)?;
    let answering = async move {
        let answer = AssertUnwindSafe(answering)
            .catch_unwind()
            .await
            .unwrap_or_else(|panic| Err(text::of_panic(function, &*panic)))?;
        Ok(Box::new(answer) as Box<dyn Any + Send>)
    };
    // SAFETY: as the caller promises; what was lifted is in the future.
    let answer = unsafe { store.wait(Box::pin(answering)) }?;
    let held = store.hold(answer);
    let answer = held.downcast_ref::<R>().ok_or_else(|| fault::no_outcome(function))?;
    let returned = lower_results(answer, cells, side)?;
    store.release();
    Ok(returned)
}
