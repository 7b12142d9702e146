//! What a component imports from this host: one file for each interface of the WIT package.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use airssys_wasm_core::error::Result;
use airssys_wasm_engine::call::check_transfer;
use futures_util::FutureExt;
use wasmtime::component::{HasSelf, Linker};

use crate::bindings::guest::airssys::core as world;
use crate::fault;
use crate::instance::State;

mod logging;
mod messaging;
mod storage;

/// Makes the interfaces of the WIT package available to components.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    world::logging::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    world::messaging::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    world::storage::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

impl world::types::Host for State {}

/// Asks a service. A panic is an error of the host.
pub(crate) fn guarded<T>(function: &'static str, service: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(service)).unwrap_or_else(|panic| Err(fault::of_panic(function, &*panic)))
}

/// Asks a service for the guest. Its error ends the guest's call.
pub(crate) fn ask<T>(function: &'static str, service: impl FnOnce() -> Result<T>) -> wasmtime::Result<T> {
    guarded(function, service).map_err(wasmtime::Error::new)
}

/// As [`ask`], of a service that may have to wait.
pub(crate) async fn wait_for<T>(
    function: &'static str,
    service: impl Future<Output = Result<T>>,
) -> wasmtime::Result<T> {
    match AssertUnwindSafe(service).catch_unwind().await {
        Ok(answer) => answer.map_err(wasmtime::Error::new),
        Err(panic) => Err(wasmtime::Error::new(fault::of_panic(function, &*panic))),
    }
}

impl State {
    /// Ends the call when guest or host hands over more than the limit allows.
    pub(crate) fn check_transfer(&self, function: &'static str, bytes: usize) -> wasmtime::Result<()> {
        check_transfer(function, self.transfer, bytes).map_err(wasmtime::Error::new)
    }
}
