//! One live instance, and the calls of its exports.

use std::cell::OnceCell;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use airssys_wasm_core::component::{
    ComponentConfig, ComponentInput, ComponentMetadata, ComponentOutput, ResourceLimits,
};
use airssys_wasm_core::error::{Detail, ErrorKind, Limit, Result, WasmError};
use airssys_wasm_core::interface::{COMPONENT, REPLIES};
use airssys_wasm_core::messaging::{self, Envelope, MessageId};
use airssys_wasm_core::runtime::{
    CallBudget, Component, ExecutionState, ExportName, Failure, HostServices, MessagingRefusal,
    ResourceUsage, Value,
};
use airssys_wasm_engine::call::{Standing, accept_reply, check_deadline, message_size};
use airssys_wasm_engine::text::{failed, missing};
use airssys_wasm_engine::value::size;
use async_trait::async_trait;

use crate::abi::dynamic::{self, check};
use crate::abi::{Cells, Lift, Lower, MAX_CELLS, lift_results, lower_parameters};
use crate::fault;
use crate::host::world::{Body, Message};
use crate::instantiate::{Linkage, instantiate};
use crate::kept::Lending;
use crate::load::{Lifted, Loaded};
use crate::side::Side;
use crate::store::{Outcome, Store};
use crate::vm::{Cell, CoreInstances};

const EXECUTE: &str = "execute";

/// A live instance.
pub(crate) struct Instance {
    /// In a box: functions of the host point to it.
    store: Box<Store>,
    loaded: Arc<Loaded>,
    reply: usize,
    calls: u64,
    fuel: u64,
    standing: Standing,
}

impl Instance {
    /// Makes an instance. What a component runs when it is made runs here.
    pub(crate) async fn make(
        loaded: Arc<Loaded>,
        limits: &ResourceLimits,
        services: HostServices,
        budget: CallBudget,
    ) -> Result<Self> {
        const OPERATION: &str = "instantiate";
        check_deadline(OPERATION, budget)?;
        loaded.check_fuel(OPERATION, CallBudget { fuel: limits.fuel, ..budget })?;
        let fuel = loaded.check_fuel(OPERATION, budget)?;
        let (store, mut linkage) = prepare(&loaded, services, limits);
        store.start(OPERATION, budget.deadline, fuel);
        let made = {
            let making = pin!(store.run(OPERATION, |store| instantiate(store, &mut linkage)));
            loaded.shared.ticker.bound(budget.deadline, making).await
        };
        made.unwrap_or_else(|ended| Err(ended.into_error(OPERATION)))?;
        if let Some(wasi) = &store.wasi {
            wasi.end_call()?;
        }
        let consumed = store.consumed();
        Ok(Self {
            store,
            loaded,
            reply: limits.reply.as_usize(),
            calls: 0,
            fuel: consumed,
            standing: Standing::Ready,
        })
    }

    /// Begins a call: the instance is poisoned until [`finish`](Self::finish).
    fn begin(&mut self, operation: &'static str, budget: CallBudget) -> Result<()> {
        self.standing.check_ready(operation)?;
        check_deadline(operation, budget)?;
        let fuel = self.loaded.check_fuel(operation, budget)?;
        self.store.start(operation, budget.deadline, fuel);
        self.calls += 1;
        self.standing = Standing::Calling(operation);
        Ok(())
    }

    /// Ends a call. The instance takes more of them only when this one came to an answer.
    fn finish<T>(&mut self, outcome: Result<T>) -> Result<T> {
        self.fuel += self.store.consumed();
        let outcome = match (&self.store.wasi, outcome) {
            (Some(wasi), Ok(value)) => wasi.end_call().map(|()| value),
            (Some(wasi), Err(error)) => {
                let _ = wasi.end_call();
                Err(error)
            }
            (None, outcome) => outcome,
        };
        self.standing = Standing::after(&outcome);
        outcome
    }

    /// Checks that it takes calls, and that there is a `component` to call.
    fn check_component(&self, operation: &'static str) -> Result<()> {
        self.standing.check_ready(operation)?;
        if self.loaded.is_component { Ok(()) } else { Err(missing(operation, COMPONENT)) }
    }

    /// Calls a function of our own world, between [`begin`](Self::begin) and [`finish`](Self::finish).
    async fn invoke<P, R>(
        &mut self,
        operation: &'static str,
        interface: &str,
        function: &str,
        parameters: &P,
        budget: CallBudget,
    ) -> Result<R>
    where
        P: Lower + Sync,
        R: Lift + Send,
    {
        let store = &*self.store;
        let outcome = Outcome::default();
        let called = {
            let lifted = self.loaded.find(interface, function);
            let place = &outcome;
            let calling = pin!(store.run(operation, move |store| {
                let lifted = lifted.ok_or_else(|| missing(operation, COMPONENT))?;
                // SAFETY: this runs on a fiber, and the parameters and the outcome are outside of it.
                #[expect(unsafe_code, reason = "calls the guest")]
                unsafe {
                    call_known(store, lifted, operation, parameters, place)
                }
            }));
            self.loaded.shared.ticker.bound(budget.deadline, calling).await
        };
        called.unwrap_or_else(|ended| Err(ended.into_error(operation)))?;
        outcome.take().ok_or_else(|| fault::no_outcome(operation))
    }

    async fn handle(&mut self, message: &Envelope, budget: CallBudget) -> Result<ComponentOutput> {
        self.check_component(EXECUTE)?;
        self.store.check_transfer(EXECUTE, message_size(message))?;
        self.begin(EXECUTE, budget)?;
        let parameters = (Message::from(message),);
        let answered: Result<std::result::Result<Body, Failure>> =
            self.invoke(EXECUTE, COMPONENT, "execute", &parameters, budget).await;
        let outcome = match answered {
            Ok(Ok(Body { content_type, payload })) => {
                accept_reply(EXECUTE, self.reply, content_type.as_deref(), payload).map(Ok)
            }
            Ok(Err(failure)) => {
                self.store.check_transfer(EXECUTE, failure.message.len()).map(|()| Err(failure))
            }
            Err(error) => Err(self.fault_of_reply(error)),
        };
        self.finish(outcome)?.map_err(|failure| failed(EXECUTE, failure.code, &failure.message))
    }

    /// A transfer that failed after the guest had returned was that of its reply.
    fn fault_of_reply(&self, error: WasmError) -> WasmError {
        if self.store.has_returned()
            && error.detail() == Some(Detail::Limit(Limit::Transfer))
            && self.reply <= self.store.transfer
        {
            return WasmError::limited(EXECUTE, Limit::Reply).with("limit", self.reply);
        }
        error
    }

    async fn hand_reply(
        &mut self,
        request: MessageId,
        outcome: std::result::Result<messaging::Body, MessagingRefusal>,
        budget: CallBudget,
    ) -> Result<ComponentOutput> {
        const OPERATION: &str = "handle-reply";
        self.standing.check_ready(OPERATION)?;
        if !self.loaded.takes_replies {
            return Err(missing(OPERATION, REPLIES));
        }
        let bytes = outcome.as_ref().map_or_else(|refusal| refusal.message().len(), messaging::Body::size);
        self.store.check_transfer(OPERATION, bytes)?;
        self.begin(OPERATION, budget)?;
        let parameters = (crate::host::world::MessageId::from(request), outcome.map(Body::from));
        let answered = self.invoke(OPERATION, REPLIES, "handle-reply", &parameters, budget).await;
        let outcome: std::result::Result<(), Failure> = self.finish(answered)?;
        outcome
            .map(|()| ComponentOutput::default())
            .map_err(|failure| failed(OPERATION, failure.code, &failure.message))
    }

    /// Checks the arguments of a dynamic call against the types of the export.
    fn check_arguments(
        &self,
        operation: &'static str,
        export: &ExportName,
        lifted: &Lifted,
        arguments: &[Value],
    ) -> Result<()> {
        let types = &self.loaded.plan.types;
        let function = &types[lifted.function];
        let parameters = &*types[function.params].types;
        if parameters.len() != arguments.len() {
            return Err(WasmError::new(ErrorKind::Serialization, operation)
                .saying("the number of arguments is not that of the parameters")
                .with("export", export)
                .with("expected", parameters.len())
                .with("given", arguments.len()));
        }
        let kept = self.store.kept.borrow();
        let mut lending = Lending::new(&kept, &self.loaded.resources);
        for ((kind, argument), name) in parameters.iter().zip(arguments).zip(&function.param_names) {
            check(argument, *kind, types, &mut lending).map_err(|mismatch| {
                WasmError::new(ErrorKind::Serialization, operation)
                    .saying("an argument is not of the type of its parameter")
                    .with("export", export)
                    .with("parameter", mismatch.place(name))
                    .with("expected", &mismatch.expected)
                    .with("given", &mismatch.given)
            })?;
        }
        Ok(())
    }
}

#[async_trait]
impl Component for Instance {
    async fn init(&mut self, config: &ComponentConfig, budget: CallBudget) -> Result<()> {
        const OPERATION: &str = "init";
        self.check_component(OPERATION)?;
        self.store
            .check_transfer(OPERATION, config.iter().map(|(key, value)| key.len() + value.len()).sum())?;
        self.begin(OPERATION, budget)?;
        let pairs: Vec<_> = config.iter().collect();
        let answered = self.invoke(OPERATION, COMPONENT, "init", &(pairs,), budget).await;
        let outcome: std::result::Result<(), Failure> = self.finish(answered)?;
        outcome.map_err(|failure| failed(OPERATION, failure.code, &failure.message))
    }

    async fn execute(&mut self, input: ComponentInput, budget: CallBudget) -> Result<ComponentOutput> {
        match input {
            ComponentInput::Message(message) => self.handle(&message, budget).await,
            ComponentInput::Reply { request, outcome } => self.hand_reply(request, outcome, budget).await,
        }
    }

    async fn call(
        &mut self,
        export: &ExportName,
        arguments: &[Value],
        budget: CallBudget,
    ) -> Result<Option<Value>> {
        const OPERATION: &str = "call";
        self.standing.check_ready(OPERATION)?;
        let loaded = Arc::clone(&self.loaded);
        let Some(lifted) = loaded.export(export) else { return Err(loaded.no_export(OPERATION, export)) };
        self.store.check_transfer(OPERATION, arguments.iter().map(size).sum())?;
        self.check_arguments(OPERATION, export, lifted, arguments)?;
        self.begin(OPERATION, budget)?;
        let store = &*self.store;
        let outcome = Outcome::default();
        let called = {
            let place = &outcome;
            let calling = pin!(store.run(OPERATION, move |store| {
                // SAFETY: this runs on a fiber, and the arguments and the outcome are outside of it.
                #[expect(unsafe_code, reason = "calls the guest")]
                unsafe {
                    call_dynamic(store, lifted, OPERATION, arguments, place)
                }
            }));
            self.loaded.shared.ticker.bound(budget.deadline, calling).await
        };
        let called = called.unwrap_or_else(|ended| Err(ended.into_error(OPERATION)));
        let outcome = called.and_then(|()| {
            let values: Vec<Value> = outcome.take().ok_or_else(|| fault::no_outcome(OPERATION))?;
            Ok(values.into_iter().next())
        });
        self.finish(outcome)
    }

    async fn shutdown(&mut self, budget: CallBudget) -> Result<()> {
        const OPERATION: &str = "shutdown";
        self.check_component(OPERATION)?;
        self.begin(OPERATION, budget)?;
        let answered = self.invoke(OPERATION, COMPONENT, "shutdown", &(), budget).await;
        let outcome: std::result::Result<(), Failure> = self.finish(answered)?;
        outcome.map_err(|failure| failed(OPERATION, failure.code, &failure.message))
    }

    async fn metadata(&mut self, budget: CallBudget) -> Result<ComponentMetadata> {
        const OPERATION: &str = "metadata";
        self.check_component(OPERATION)?;
        self.begin(OPERATION, budget)?;
        let answered = self.invoke(OPERATION, COMPONENT, "metadata", &(), budget).await;
        self.finish(answered)
    }

    fn state(&self) -> ExecutionState {
        self.standing.state()
    }

    fn usage(&self) -> ResourceUsage {
        let totals = &self.store.totals;
        ResourceUsage {
            memory_bytes: totals.memory_bytes(),
            table_elements: self.store.core.borrow().table_elements(),
            refused_growth: totals.refused_growth(),
            fuel: self.fuel + if self.standing.is_calling() { self.store.consumed() } else { 0 },
            calls: self.calls,
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("state", &self.state())
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

/// A store without any core instance yet.
fn prepare(loaded: &Arc<Loaded>, services: HostServices, limits: &ResourceLimits) -> (Box<Store>, Linkage) {
    let mut core = CoreInstances::new();
    let inner = loaded.plan.component.num_runtime_component_instances;
    let (linkage, globals) = Linkage::new(&mut core, inner, loaded.trampolines.len());
    (Box::new(Store::new(core, globals, Arc::clone(loaded), services, limits)), linkage)
}

/// Calls an export whose types are known.
///
/// # Safety
/// Called on a fiber's stack, with parameters and a place for the outcome that are not on it.
#[expect(unsafe_code, reason = "calls the guest")]
unsafe fn call_known<P: Lower, R: Lift>(
    store: &Store,
    lifted: &Lifted,
    operation: &'static str,
    parameters: &P,
    outcome: &Outcome<R>,
) -> Result<()> {
    let mut side = store.side(lifted.options, operation);
    store.handles.borrow_mut().enter_call();
    let cells = lower_parameters(parameters, &mut side)?;
    // SAFETY: as the caller promises.
    let returned = unsafe { call_core(store, lifted, &cells)? };
    outcome.set(lift_results(&[returned], &mut store.side(lifted.options, operation))?);
    // SAFETY: as the caller promises.
    unsafe { post_return(store, lifted, &side, returned) }
}

/// Calls an export with dynamic values, which were checked against its types.
///
/// # Safety
/// As [`call_known`].
#[expect(unsafe_code, reason = "calls the guest")]
unsafe fn call_dynamic(
    store: &Store,
    lifted: &Lifted,
    operation: &'static str,
    arguments: &[Value],
    outcome: &Outcome<Vec<Value>>,
) -> Result<()> {
    let types = &store.loaded.plan.types;
    let kind = &types[lifted.function];
    let mut side = store.side(lifted.options, operation);
    store.handles.borrow_mut().enter_call();
    let cells = dynamic::lower_parameters(arguments, kind.params, types, &mut side)?;
    // SAFETY: as the caller promises.
    let returned = unsafe { call_core(store, lifted, &cells)? };
    let mut lifting = store.side(lifted.options, operation);
    outcome.set(dynamic::lift_results(&[returned], kind.results, types, &mut lifting)?);
    // SAFETY: as the caller promises.
    unsafe { post_return(store, lifted, &side, returned) }
}

/// # Safety
/// As [`call_known`].
#[expect(unsafe_code, reason = "calls the guest")]
unsafe fn call_core(store: &Store, lifted: &Lifted, cells: &Cells) -> Result<u64> {
    let function = store.functions.get(lifted.slot).and_then(OnceCell::get).ok_or_else(no_function)?;
    let mut raw = [Cell { u64: 0 }; MAX_CELLS];
    for (raw, cell) in raw.iter_mut().zip(cells.as_slice()) {
        raw.u64 = *cell;
    }
    // SAFETY: as the caller promises; there are as many cells as a function of a component can have.
    unsafe { function.call(&mut raw) };
    store.set_returned();
    store.handles.borrow_mut().exit_call()?;
    // SAFETY: every bit of a cell can be read.
    Ok(unsafe { raw[0].u64 })
}

/// Lets the guest release what it returned.
///
/// # Safety
/// As [`call_known`].
#[expect(unsafe_code, reason = "calls the guest")]
unsafe fn post_return(store: &Store, lifted: &Lifted, side: &Side<'_>, returned: u64) -> Result<()> {
    let options = &store.loaded.plan.component.options[lifted.options];
    let Some(index) = options.post_return else { return Ok(()) };
    let function = store.post_returns[index.as_u32() as usize].get().ok_or_else(no_function)?;
    let may_leave = store.may_leave(side.instance);
    may_leave.set_i32(0);
    let mut cells = [Cell { u64: returned }];
    // SAFETY: as the caller promises; it takes what the function returned.
    unsafe { function.call(&mut cells) };
    may_leave.set_i32(1);
    Ok(())
}

#[cold]
fn no_function() -> WasmError {
    WasmError::new(ErrorKind::Internal, "call")
        .saying("an exported function was not found in its core instance")
}
