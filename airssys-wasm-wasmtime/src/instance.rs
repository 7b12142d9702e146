//! One live instance: a store of Wasmtime, the functions it exports, and the state that its host functions see.

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use airssys_wasm_core::capability::Topic;
use airssys_wasm_core::component::{
    ComponentConfig, ComponentInput, ComponentMetadata, ComponentOutput, ResourceLimits,
};
use airssys_wasm_core::error::{Detail, ErrorKind, Limit, Result, WasmError};
use airssys_wasm_core::interface::{COMPONENT, MIGRATION, REPLIES};
use airssys_wasm_core::messaging::{Body, ContentType, Envelope, MessageId, Sender};
use airssys_wasm_core::runtime::{
    CallBudget, Component, ExecutionState, ExportName, HostServices, MessagingRefusal, ResourceUsage, Value,
};
use airssys_wasm_engine::call::{self, Standing, accept_reply, check_deadline, message_size};
use airssys_wasm_engine::text::{failed, missing};
use airssys_wasm_engine::ticker::Ended;
use async_trait::async_trait;
use wasmtime::component::{Instance as WasmtimeInstance, Type, Val};
use wasmtime::{Store, component};

use crate::bindings::guest::airssys::core::types as guest_types;
use crate::bindings::guest::exports::airssys::core::component as guest;
use crate::bindings::optional::airssys::core::{messaging as reply_messaging, types as reply_types};
use crate::bindings::optional::exports::airssys::core::replies;
use crate::budget;
use crate::fault;
use crate::limits::Totals;
use crate::load::Loaded;
use crate::value::{self, Handles, Lowering};
use crate::wasi::Wasi;

const EXECUTE: &str = "execute";

/// What came of polling a call of a guest.
type Called<T> = std::result::Result<wasmtime::Result<T>, Ended>;

/// What the host functions of an instance see.
pub(crate) struct State {
    pub(crate) services: HostServices,
    pub(crate) totals: Totals,
    /// The end of the call under way.
    pub(crate) deadline: Option<Instant>,
    /// The most bytes handed over in one call.
    pub(crate) transfer: usize,
    /// Only for components that import WASI.
    pub(crate) wasi: Option<Box<Wasi>>,
}

/// A live instance.
pub(crate) struct Instance {
    store: Store<State>,
    instance: WasmtimeInstance,
    component: Option<guest::Guest>,
    replies: Option<replies::Guest>,
    handles: Option<Box<Handles>>,
    loaded: Arc<Loaded>,
    reply: usize,
    calls: u64,
    fuel: u64,
    standing: Standing,
    /// The fuel that the call under way was given.
    given: Option<u64>,
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
        let wasi = loaded.imports_wasi.then(|| Box::new(Wasi::new(limits, &services)));
        let state = State {
            services,
            totals: Totals::new(limits),
            deadline: budget.deadline,
            transfer: limits.transfer.as_usize(),
            wasi,
        };
        let mut store = Store::try_new(loaded.pre.engine(), state)
            .map_err(|error| WasmError::new(ErrorKind::Internal, OPERATION).because(fault::plain(&error)))?;
        store.limiter(|state| &mut state.totals);
        store.set_max_component_handles(limits.handles as usize);
        store.set_hostcall_fuel(limits.transfer.as_usize());
        budget::watch(&mut store);
        budget::start(&mut store, budget.deadline);
        set_fuel(&mut store, fuel);
        let made = {
            let making = pin!(loaded.pre.instantiate_async(&mut store));
            loaded.shared.ticker.bound(budget.deadline, making).await
        };
        let instance = match made {
            Ok(Ok(instance)) => instance,
            Ok(Err(error)) => return Err(fault::of_instantiation(OPERATION, error, &store.data().totals)),
            Err(ended) => return Err(ended.into_error(OPERATION)),
        };
        // An interface of ours with other types is not ours: only calls by name reach it.
        let component =
            loaded.component.as_ref().and_then(|exports| exports.load(&mut store, &instance).ok());
        let replies = loaded.replies.as_ref().and_then(|exports| exports.load(&mut store, &instance).ok());
        if let Some(wasi) = &store.data().wasi {
            wasi.end_call()?;
        }
        let consumed = fuel.map_or(0, |fuel| fuel - store.get_fuel().unwrap_or(0));
        Ok(Self {
            store,
            instance,
            component,
            replies,
            handles: None,
            loaded,
            reply: limits.reply.as_usize(),
            calls: 0,
            fuel: consumed,
            standing: Standing::Ready,
            given: None,
        })
    }

    /// Refuses a call that cannot be made now, or says what fuel it gets. The instance is not touched.
    fn admit(&self, operation: &'static str, budget: CallBudget) -> Result<Option<u64>> {
        self.standing.check_ready(operation)?;
        check_deadline(operation, budget)?;
        self.loaded.check_fuel(operation, budget)
    }

    /// Begins a call: the instance is poisoned until [`finish`](Self::finish).
    fn begin(&mut self, operation: &'static str, budget: CallBudget) -> Result<()> {
        let fuel = self.admit(operation, budget)?;
        self.enter(operation, budget, fuel);
        Ok(())
    }

    fn enter(&mut self, operation: &'static str, budget: CallBudget, fuel: Option<u64>) {
        self.store.data_mut().totals.start_call();
        budget::start(&mut self.store, budget.deadline);
        set_fuel(&mut self.store, fuel);
        self.calls += 1;
        self.standing = Standing::Calling(operation);
        self.given = fuel;
    }

    /// Ends a call. The instance takes more of them only when this one came to an answer.
    fn finish<T>(&mut self, outcome: Result<T>) -> Result<T> {
        self.fuel += self.consumed();
        let outcome = match (&self.store.data().wasi, outcome) {
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

    /// The fuel that the call under way has used so far.
    fn consumed(&self) -> u64 {
        self.given.map_or(0, |given| given - self.store.get_fuel().unwrap_or(0))
    }

    /// Refuses what is too large to be handed over.
    fn check_transfer(&self, operation: &'static str, bytes: usize) -> Result<()> {
        call::check_transfer(operation, self.store.data().transfer, bytes)
    }

    /// Checks that it takes calls, and that there is a `component` to call.
    fn check_component(&self, operation: &'static str) -> Result<&guest::Guest> {
        self.standing.check_ready(operation)?;
        self.component.as_ref().ok_or_else(|| missing(operation, COMPONENT))
    }

    /// Begins the call of `execute`. What is refused leaves the instance as it was.
    fn begin_message(&mut self, message: &Envelope, budget: CallBudget) -> Result<()> {
        self.check_component(EXECUTE)?;
        self.check_transfer(EXECUTE, message_size(message))?;
        self.begin(EXECUTE, budget)
    }

    /// Ends the call of `execute`.
    fn end_message(
        &mut self,
        outcome: Called<(std::result::Result<guest::Body, guest::Failure>,)>,
    ) -> Result<ComponentOutput> {
        let outcome = match outcome {
            Ok(Ok((Ok(body),))) => {
                accept_reply(EXECUTE, self.reply, body.content_type.as_deref(), body.payload).map(Ok)
            }
            Ok(Ok((Err(failure),))) => {
                self.check_transfer(EXECUTE, failure.message.len()).map(|()| Err(failure))
            }
            Ok(Err(error)) => Err(self.fault_of_reply(error)),
            Err(ended) => Err(ended.into_error(EXECUTE)),
        };
        self.finish(outcome)?.map_err(|failure| failed(EXECUTE, failure.code.into(), &failure.message))
    }

    /// A transfer that failed after the guest had returned was that of its reply.
    fn fault_of_reply(&self, error: wasmtime::Error) -> WasmError {
        let is_reply = !fault::is_below_guest(&error);
        let error = fault::of_call(EXECUTE, error, &self.store.data().totals);
        if is_reply
            && error.detail() == Some(Detail::Limit(Limit::Transfer))
            && self.reply <= self.store.data().transfer
        {
            return WasmError::limited(EXECUTE, Limit::Reply).with("limit", self.reply);
        }
        error
    }

    async fn hand_reply(
        &mut self,
        request: MessageId,
        outcome: Result<Body, MessagingRefusal>,
        budget: CallBudget,
    ) -> Result<ComponentOutput> {
        const OPERATION: &str = "handle-reply";
        self.standing.check_ready(OPERATION)?;
        let exports = self.replies.clone().ok_or_else(|| missing(OPERATION, REPLIES))?;
        let bytes = outcome.as_ref().map_or_else(|refusal| refusal.message().len(), Body::size);
        self.check_transfer(OPERATION, bytes)?;
        self.begin(OPERATION, budget)?;
        let request = reply_types::MessageId { high: request.high(), low: request.low() };
        let outcome = outcome.map(reply_types::Body::from).map_err(reply_messaging::MessagingError::from);
        let outcome = {
            let calling = pin!(exports.call_handle_reply(&mut self.store, request, outcome.as_ref()));
            self.loaded.shared.ticker.bound(budget.deadline, calling).await
        };
        let outcome = self.answer(OPERATION, outcome)?;
        outcome
            .map(|()| ComponentOutput::default())
            .map_err(|failure| failed(OPERATION, failure.code.into(), &failure.message))
    }

    /// Calls `migration`, whose states are too large for dynamic values. None when it is not exported as we know it, or the
    /// arguments do not fit: then the call is one like any other.
    async fn migrate(
        &mut self,
        export: &ExportName,
        arguments: &[Value],
        budget: CallBudget,
    ) -> Result<Option<Value>> {
        const OPERATION: &str = "call";
        let Some(exports) = self
            .loaded
            .migration
            .as_ref()
            .filter(|_| export.interface() == Some(MIGRATION))
            .and_then(|exports| exports.load(&mut self.store, &self.instance).ok())
        else {
            return Ok(None);
        };
        let outcome = match (export.function(), arguments) {
            ("save", []) => {
                self.begin(OPERATION, budget)?;
                let outcome = {
                    let calling = pin!(exports.call_save(&mut self.store));
                    self.loaded.shared.ticker.bound(budget.deadline, calling).await
                };
                self.answer(OPERATION, outcome)?.map(|state| Some(Value::Bytes(state)))
            }
            ("restore", [Value::String(version), Value::Bytes(state)]) => {
                self.begin(OPERATION, budget)?;
                let outcome = {
                    let calling = pin!(exports.call_restore(&mut self.store, version, state));
                    self.loaded.shared.ticker.bound(budget.deadline, calling).await
                };
                self.answer(OPERATION, outcome)?.map(|()| None)
            }
            _ => return Ok(None),
        };
        let outcome =
            outcome.map(|value| value.map(Box::new)).map_err(|failure| Some(Box::new(failure.into())));
        Ok(Some(Value::Result(outcome)))
    }

    /// The outcome of a call whose answer needs no check.
    fn answer<T>(&mut self, operation: &'static str, outcome: Called<T>) -> Result<T> {
        let outcome = match outcome {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(fault::of_call(operation, error, &self.store.data().totals)),
            Err(ended) => Err(ended.into_error(operation)),
        };
        self.finish(outcome)
    }

    /// The arguments of a dynamic call, by the types of the export.
    fn lower_arguments(
        &mut self,
        operation: &'static str,
        export: &ExportName,
        function: &component::types::ComponentFunc,
        arguments: &[Value],
    ) -> Result<Vec<Val>> {
        let parameters = function.params();
        if parameters.len() != arguments.len() {
            return Err(WasmError::new(ErrorKind::Serialization, operation)
                .saying("the number of arguments is not that of the parameters")
                .with("export", export)
                .with("expected", parameters.len())
                .with("given", arguments.len()));
        }
        let mut lowering = Lowering::with(self.handles.as_deref_mut());
        let lowered: std::result::Result<Vec<_>, _> = parameters
            .zip(arguments)
            .map(|((name, kind), argument)| {
                lowering.lower(argument, &kind).map_err(|mismatch| {
                    WasmError::new(ErrorKind::Serialization, operation)
                        .saying("an argument is not of the type of its parameter")
                        .with("export", export)
                        .with("parameter", mismatch.place(name))
                        .with("expected", &mismatch.expected)
                        .with("given", &mismatch.given)
                })
            })
            .collect();
        if lowered.is_err() {
            lowering.undo();
        }
        lowered
    }
}

#[async_trait]
impl Component for Instance {
    async fn init(&mut self, config: &ComponentConfig, budget: CallBudget) -> Result<()> {
        const OPERATION: &str = "init";
        let exports = self.check_component(OPERATION)?.clone();
        self.check_transfer(OPERATION, config.iter().map(|(key, value)| key.len() + value.len()).sum())?;
        self.begin(OPERATION, budget)?;
        let pairs: Vec<_> = config.iter().collect();
        let outcome = {
            let calling = pin!(exports.call_init(&mut self.store, &pairs));
            self.loaded.shared.ticker.bound(budget.deadline, calling).await
        };
        let outcome = self.answer(OPERATION, outcome)?;
        outcome.map_err(|failure| failed(OPERATION, failure.code.into(), &failure.message))
    }

    // Written out: an `async fn` holds its arguments twice, and what is made for every message is kept small enough for
    // the quick part of the allocator.
    fn execute<'instance, 'call>(
        &'instance mut self,
        input: ComponentInput,
        budget: CallBudget,
    ) -> Pin<Box<dyn Future<Output = Result<ComponentOutput>> + Send + 'call>>
    where
        'instance: 'call,
        Self: 'call,
    {
        match input {
            ComponentInput::Message(message) => {
                Box::pin(async move {
                    self.begin_message(&message, budget)?;
                    let outcome = {
                        let exports = self.component.as_ref().expect("a call of it began");
                        // Not through `call_execute`, whose future holds the message once more.
                        let function = exports.func_execute();
                        let calling = pin!(function.call_async(&mut self.store, (lower(&message),)));
                        self.loaded.shared.ticker.bound(budget.deadline, calling).await
                    };
                    self.end_message(outcome)
                })
            }
            ComponentInput::Reply { request, outcome } => Box::pin(self.hand_reply(request, outcome, budget)),
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
        if self.loaded.export(export).is_none() {
            return Err(self.loaded.no_export(OPERATION, export));
        }
        let fuel = self.admit(OPERATION, budget)?;
        self.check_transfer(OPERATION, arguments.iter().map(value::size).sum())?;
        if let Some(outcome) = self.migrate(export, arguments, budget).await? {
            return Ok(Some(outcome));
        }
        let index = self.loaded.export(export).expect("the export was found above");
        let function = self.instance.get_func(&mut self.store, index).ok_or_else(|| {
            WasmError::new(ErrorKind::Internal, OPERATION)
                .with("export", export)
                .saying("an export is no function")
        })?;
        let kind = function.ty(&self.store);
        let lowered = self.lower_arguments(OPERATION, export, &kind, arguments)?;
        self.enter(OPERATION, budget, fuel);
        let result_type: Option<Type> = kind.results().next();
        let mut results = vec![Val::Bool(false); kind.results().len()];
        let outcome = {
            let calling = pin!(function.call_async(&mut self.store, &lowered, &mut results));
            self.loaded.shared.ticker.bound(budget.deadline, calling).await
        };
        let handles = &mut self.handles;
        let outcome = outcome.map(|called| {
            called.map(|()| {
                let result = results.pop().zip(result_type);
                result.map(|(result, kind)| value::lift(&result, &kind, handles)).transpose()
            })
        });
        self.answer(OPERATION, outcome)?.map_err(|mismatch| {
            WasmError::new(ErrorKind::Serialization, OPERATION)
                .saying("the result is of a type that dynamic calls do not support")
                .with("export", export)
                .because(mismatch)
        })
    }

    async fn shutdown(&mut self, budget: CallBudget) -> Result<()> {
        const OPERATION: &str = "shutdown";
        let exports = self.check_component(OPERATION)?.clone();
        self.begin(OPERATION, budget)?;
        let outcome = {
            let calling = pin!(exports.call_shutdown(&mut self.store));
            self.loaded.shared.ticker.bound(budget.deadline, calling).await
        };
        let outcome = self.answer(OPERATION, outcome)?;
        outcome.map_err(|failure| failed(OPERATION, failure.code.into(), &failure.message))
    }

    async fn metadata(&mut self, budget: CallBudget) -> Result<ComponentMetadata> {
        const OPERATION: &str = "metadata";
        let exports = self.check_component(OPERATION)?.clone();
        self.begin(OPERATION, budget)?;
        let outcome = {
            let calling = pin!(exports.call_metadata(&mut self.store));
            self.loaded.shared.ticker.bound(budget.deadline, calling).await
        };
        let guest::ComponentMetadata { name, version, description } = self.answer(OPERATION, outcome)?;
        Ok(ComponentMetadata { name, version, description })
    }

    fn state(&self) -> ExecutionState {
        self.standing.state()
    }

    fn usage(&self) -> ResourceUsage {
        let totals = &self.store.data().totals;
        ResourceUsage {
            memory_bytes: totals.memory_bytes(),
            table_elements: totals.table_elements(),
            refused_growth: totals.refused_growth(),
            fuel: self.fuel + if self.standing.is_calling() { self.consumed() } else { 0 },
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

impl From<reply_types::Failure> for Value {
    fn from(failure: reply_types::Failure) -> Self {
        let code = match failure.code {
            reply_types::FailureCode::InvalidInput => "invalid-input",
            reply_types::FailureCode::NotFound => "not-found",
            reply_types::FailureCode::Denied => "denied",
            reply_types::FailureCode::Conflict => "conflict",
            reply_types::FailureCode::Unavailable => "unavailable",
            reply_types::FailureCode::Internal => "internal",
        };
        Self::Record(vec![
            ("code".into(), Self::Enum(code.into())),
            ("message".into(), Self::String(failure.message)),
        ])
    }
}

fn set_fuel(store: &mut Store<State>, fuel: Option<u64>) {
    if let Some(fuel) = fuel {
        store.set_fuel(fuel).expect("fuel is only given to components that were compiled to count it");
    }
}

/// A message as the guest reads it: borrowed, so that the payload is copied straight into its memory.
fn lower(message: &Envelope) -> guest::Message<'_> {
    let id = |id: MessageId| guest_types::MessageId { high: id.high(), low: id.low() };
    let sent_at = message.sent_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    guest::Message {
        id: id(message.id),
        sender: match &message.sender {
            Sender::Host => guest_types::Sender::Host,
            Sender::Component(id) => guest_types::Sender::Component(id.as_str()),
        },
        topic: message.topic.as_ref().map(Topic::as_str),
        correlation: message.correlation.map(id),
        body: guest_types::BodyParam {
            content_type: message.body.content_type.as_ref().map(ContentType::as_str),
            payload: &message.body.payload,
        },
        sent_at: u64::try_from(sent_at).unwrap_or(u64::MAX),
        attempt: message.attempt,
        trace: message.trace.as_ref().map(|trace| guest_types::TraceContext {
            trace_parent: &trace.trace_parent,
            trace_state: &trace.trace_state,
        }),
    }
}
