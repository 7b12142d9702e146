//! The contracts of engines.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use airssys_wasm_core::component::{ComponentConfig, ComponentInput, ComponentOutput, ResourceLimits};
use airssys_wasm_core::config::RuntimeConfig;
use airssys_wasm_core::error::{Detail, ErrorKind, Limit, Result, WasmError};
use airssys_wasm_core::messaging::{Body, Envelope, MessageId, MessageType, Sender};
use airssys_wasm_core::runtime::{
    CallBudget, Component, ComponentHandle, EngineProfile, ExecutionState, ExportName, LoadOptions, Metering,
    RuntimeEngine, Value,
};

use crate::component_model;
use crate::fakes::FakeHost;
use crate::guests::Guest;
use crate::runner::{Bench, Broken, Contract, Outcome, Running, Suite, chain, shown};

mod bounds;
mod call;
mod ending;
mod exposed;
mod host;
mod isolation;
mod load;
mod mirror;

/// Every contract of engines, by subject. This is the one list.
const SUBJECTS: [&[Contract<EngineBench>]; 6] = [
    load::CONTRACTS,
    call::CONTRACTS,
    host::CONTRACTS,
    ending::CONTRACTS,
    bounds::CONTRACTS,
    isolation::CONTRACTS,
];

/// How much later than its deadline a guest may end, on a machine that has other work.
const PUNCTUAL: Duration = Duration::from_secs(2);
/// More than any honest call takes: where one does not come back, a contract says so rather than to hang.
const AMPLE: Duration = Duration::from_secs(20);

/// Every contract of engines; the Component Model's own tests are in [`component_model`].
pub fn contracts() -> impl Iterator<Item = &'static Contract<EngineBench>> {
    SUBJECTS.into_iter().flatten()
}

/// The contracts of engines and the Component Model's own tests, for one engine.
///
/// `make` makes the engine, in the context of a Tokio runtime; it is called once, and every contract loads its
/// components afresh. The configuration has no code cache: what is loaded is compiled.
pub fn suite(
    backend: impl Into<String>,
    make: impl Fn(&RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> + Send + Sync + 'static,
) -> Suite<EngineBench> {
    let engine: Mutex<Option<Arc<dyn RuntimeEngine>>> = Mutex::new(None);
    Suite::new(backend, contracts().chain(component_model::contracts()), move || {
        let mut engine = engine.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = match &*engine {
            Some(engine) => Arc::clone(engine),
            None => Arc::clone(engine.insert(make(&RuntimeConfig::default())?)),
        };
        Ok(EngineBench { profile: engine.profile(), engine })
    })
}

/// An engine, and ways to get an instance of something quickly.
pub struct EngineBench {
    engine: Arc<dyn RuntimeEngine>,
    profile: EngineProfile,
}

/// What engines may or may not offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineFeature {
    /// A busy guest is ended at its deadline.
    Deadlines,
    /// This limit holds.
    Holds(Limit),
}

impl EngineBench {
    /// The engine.
    pub fn engine(&self) -> &dyn RuntimeEngine {
        &*self.engine
    }

    pub(crate) fn shared(&self) -> Arc<dyn RuntimeEngine> {
        Arc::clone(&self.engine)
    }

    /// What the engine says of itself.
    pub fn profile(&self) -> &EngineProfile {
        &self.profile
    }

    /// Loads one of the guests.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn load(&self, guest: Guest) -> Result<ComponentHandle> {
        self.engine.load(&guest.bytes()?, LoadOptions::default()).await
    }

    async fn load_metered(&self, guest: Guest) -> Result<ComponentHandle> {
        let options = LoadOptions { metering: Metering::Fuel, extensions: Vec::new() };
        self.engine.load(&guest.bytes()?, options).await
    }

    /// Loads a component that is written down as text.
    async fn load_text(&self, text: &str) -> Outcome<ComponentHandle> {
        Ok(self.engine.load(&wat::parse_str(text)?, LoadOptions::default()).await?)
    }

    /// A budget that an honest call never feels.
    fn ample(&self) -> CallBudget {
        if self.profile.deadlines { within(AMPLE) } else { CallBudget::UNBOUNDED }
    }

    /// An instance of something that was loaded, with default limits and a host of its own.
    async fn instance(&self, component: &ComponentHandle) -> Result<Instance> {
        self.limited_instance(component, &ResourceLimits::default()).await
    }

    async fn limited_instance(
        &self,
        component: &ComponentHandle,
        limits: &ResourceLimits,
    ) -> Result<Instance> {
        self.hosted_instance(component, limits, FakeHost::new("acme/guest")).await
    }

    async fn hosted_instance(
        &self,
        component: &ComponentHandle,
        limits: &ResourceLimits,
        host: FakeHost,
    ) -> Result<Instance> {
        let budget = self.ample();
        let component = component.instantiate(limits, host.services(), budget).await?;
        Ok(Instance { component, host, deadlines: self.profile.deadlines })
    }

    /// Loads a guest, and makes an instance of it.
    async fn start(&self, guest: Guest) -> Result<Instance> {
        let component = self.load(guest).await?;
        self.instance(&component).await
    }

    async fn start_text(&self, text: &str) -> Outcome<Instance> {
        let component = self.load_text(text).await?;
        Ok(self.instance(&component).await?)
    }
}

/// An instance, and the host that it talks to.
struct Instance {
    component: Box<dyn Component>,
    host: FakeHost,
    deadlines: bool,
}

impl Instance {
    fn ample(&self) -> CallBudget {
        if self.deadlines { within(AMPLE) } else { CallBudget::UNBOUNDED }
    }

    /// Sends a message with this payload, and returns the payload of the reply.
    async fn say(&mut self, payload: impl AsRef<[u8]>) -> Result<Vec<u8>> {
        let budget = self.ample();
        self.say_within(payload, budget).await
    }

    async fn say_within(&mut self, payload: impl AsRef<[u8]>, budget: CallBudget) -> Result<Vec<u8>> {
        let output = self.component.execute(message(Body::new(payload.as_ref())), budget).await?;
        Ok(output.body.payload)
    }

    async fn execute_ample(&mut self, input: ComponentInput) -> Result<ComponentOutput> {
        let budget = self.ample();
        self.component.execute(input, budget).await
    }

    async fn init_ample(&mut self, config: &ComponentConfig) -> Result<()> {
        let budget = self.ample();
        self.component.init(config, budget).await
    }

    /// Calls an export by its name.
    async fn ask(&mut self, export: &str, arguments: &[Value]) -> Result<Option<Value>> {
        let budget = self.ample();
        self.ask_within(export, arguments, budget).await
    }

    async fn ask_within(
        &mut self,
        export: &str,
        arguments: &[Value],
        budget: CallBudget,
    ) -> Result<Option<Value>> {
        let export: ExportName = export.parse().expect("the contracts use names that are valid");
        self.component.call(&export, arguments, budget).await
    }

    /// Shows that the instance takes no more calls of any kind.
    async fn is_poisoned(&mut self) -> Outcome {
        if self.component.state() != ExecutionState::Poisoned {
            return Err(Broken::new(
                "the instance was ended in the middle of a call, and says that it is ready",
            ));
        }
        let budget = self.ample();
        let execute = self.component.execute(message(Body::new("ok")), budget).await.map(drop);
        let init = self.component.init(&ComponentConfig::new(), budget).await;
        let call = self.ask("airssys:core/component@0.1.0#metadata", &[]).await.map(drop);
        let shutdown = self.component.shutdown(budget).await;
        let metadata = self.component.metadata(budget).await.map(drop);
        let calls = [
            ("execute", execute),
            ("init", init),
            ("call", call),
            ("shutdown", shutdown),
            ("metadata", metadata),
        ];
        for (name, result) in calls {
            of_kind(result, ErrorKind::Actor, &format!("`{name}` of a poisoned instance"))?;
        }
        Ok(())
    }

    /// Shows that the instance takes calls: a guest with the payload `ok`, that is.
    fn is_ready(&self) -> Outcome {
        match self.component.state() {
            ExecutionState::Ready => Ok(()),
            ExecutionState::Poisoned => Err(Broken::new("the instance should be usable, and is poisoned")),
        }
    }
}

impl Deref for Instance {
    type Target = dyn Component;

    fn deref(&self) -> &Self::Target {
        &*self.component
    }
}

impl DerefMut for Instance {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut *self.component
    }
}

fn within(time: Duration) -> CallBudget {
    CallBudget { deadline: Instant::now().checked_add(time), fuel: None }
}

/// A message with this body, and plain values for the rest.
fn message(body: Body) -> ComponentInput {
    ComponentInput::Message(envelope(body))
}

fn envelope(body: Body) -> Envelope {
    Envelope {
        id: MessageId::from_parts(1, 2),
        kind: MessageType::Request,
        sender: Sender::Host,
        topic: None,
        correlation: None,
        body,
        sent_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        deadline: None,
        attempt: 1,
        trace: None,
    }
}

/// Shows that something failed in this way, and no other.
#[track_caller]
fn failed<T: fmt::Debug>(result: Result<T>, detail: Detail, what: &str) -> Outcome<WasmError> {
    let kind = match detail {
        Detail::Trap(_) => ErrorKind::ComponentTrapped,
        Detail::Limit(_) => ErrorKind::ResourceLimitExceeded,
        Detail::Load(_) => ErrorKind::ComponentLoadFailed,
        Detail::Failure(_) => ErrorKind::ExecutionFailed,
        Detail::Storage(_) => ErrorKind::Storage,
        Detail::Messaging(_) => ErrorKind::Messaging,
        _ => ErrorKind::Internal,
    };
    let error = of_kind(result, kind, &format!("{what}, {detail:?}"))?;
    if error.detail() == Some(detail) {
        return Ok(error);
    }
    Err(Broken::new(format!("{what}: {detail:?} was expected, the detail is {:?}: {error}", error.detail())))
}

#[track_caller]
fn of_kind<T: fmt::Debug>(result: Result<T>, kind: ErrorKind, what: &str) -> Outcome<WasmError> {
    match result {
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => {
            let (found, error) = (error.kind(), chain(&error));
            Err(Broken::new(format!("{what}: {kind:?} was expected, the error is {found:?}: {error}")))
        }
        Ok(answer) => {
            Err(Broken::new(format!("{what}: {kind:?} was expected, the answer is {}", shown(&answer))))
        }
    }
}

/// Waits for something that has to come soon, and does not go on waiting when it never does.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> Outcome<T> {
    let patience = tokio::time::timeout(AMPLE, future).await;
    patience.map_err(|_| Broken::new(format!("{what} did not come back within {} s", AMPLE.as_secs())))
}

impl Bench for EngineBench {
    type Feature = EngineFeature;

    fn offers(&self, feature: EngineFeature) -> Running<'_, bool> {
        Box::pin(async move {
            Ok(match feature {
                EngineFeature::Deadlines => self.profile.deadlines,
                EngineFeature::Holds(limit) => self.profile.holds(limit),
            })
        })
    }

    /// What the engine cannot enforce, it refuses to start: an instance that asks for it is not made.
    fn refuses(&self, feature: EngineFeature) -> Running<'_> {
        Box::pin(async move {
            let component = self.load(Guest::Echo).await?;
            let mut limits = ResourceLimits::default();
            let mut budget = CallBudget::UNBOUNDED;
            match feature {
                EngineFeature::Deadlines => budget = within(AMPLE),
                EngineFeature::Holds(Limit::Fuel) => limits.fuel = std::num::NonZeroU64::new(1_000_000),
                // These limits are always asked for.
                EngineFeature::Holds(_) => {}
            }
            let host = FakeHost::new("acme/guest");
            let result = component.instantiate(&limits, host.services(), budget).await;
            of_kind(result, ErrorKind::InvalidConfiguration, &format!("{feature:?} is not offered"))?;
            Ok(())
        })
    }
}

impl fmt::Debug for EngineBench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineBench").field("profile", &self.profile).finish_non_exhaustive()
    }
}
