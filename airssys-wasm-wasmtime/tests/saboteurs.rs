//! The engine contracts bite: this engine with exactly one flaw is caught by the contract that names the flaw.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use airssys_wasm_conformance::engine::{self, EngineBench};
use airssys_wasm_conformance::runner::Suite;
use airssys_wasm_core::component::{ByteSize, ComponentMetadata};
use airssys_wasm_core::error::{Detail, ErrorKind, LoadFault, TrapKind};
use airssys_wasm_core::interface::{WitInstance, WitInterface};
use airssys_wasm_core::prelude::*;
use airssys_wasm_core::runtime::{CodeOrigin, EngineProfile, ExecutionState, ExportName, ResourceUsage};
use airssys_wasm_wasmtime::{WasmtimeConfig, WasmtimeEngine};
use async_trait::async_trait;

macro_rules! flaws {
    ($($(#[doc = $doc:literal])+ $flaw:ident => $contract:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Flaw { $($(#[doc = $doc])+ $flaw,)* }

        /// Every flaw, and the contract that must catch it.
        const FLAWS: &[(Flaw, &str)] = &[$((Flaw::$flaw, $contract),)*];
    };
}

flaws! {
    /// Every load fails as not valid, whatever the reason.
    OneLoadFault => "engine.load.rejects_truncated",
    /// Imports are not named.
    ImportsUnnamed => "engine.load.unknown_import_named",
    /// The interface lacks its last function.
    InterfaceCut => "engine.load.interface_is_complete",
    /// The profile names an interface that cannot be imported.
    ProfileBoasts => "engine.profile.is_true",
    /// The last byte of a long reply is another.
    LastByte => "engine.call.message_round_trip",
    /// The content type is dropped.
    ContentTypeLost => "engine.call.message_round_trip",
    /// The sender is always the host.
    SenderLost => "engine.call.message_fields",
    /// The configuration is not handed over.
    ConfigurationLost => "engine.call.configuration",
    /// A failure of the guest is a trap.
    FailureIsTrap => "engine.call.failure_is_a_value",
    /// Lists are cut at a thousand elements.
    ListsCut => "engine.call.all_wit_types",
    /// A NaN keeps its bits.
    NanKept => "engine.call.exact_floats",
    /// What does not exist is a trap.
    UnknownExportTraps => "engine.call.argument_mismatch",
    /// Calls are not counted.
    CallsNotCounted => "engine.call.usage_counts_calls",
    /// Every trap is `unreachable`.
    OneTrapKind => "engine.trap.kinds",
    /// A poisoned instance says that it is ready.
    PoisonNotShown => "engine.trap.poisons_instance",
    /// Deadlines are a second later than asked.
    DeadlineLate => "engine.deadline.stops",
    /// Deadlines do not count in `init`.
    DeadlineNotInInit => "engine.deadline.covers_everything",
    /// The same work takes another amount of fuel each time.
    FuelWanders => "engine.fuel.deterministic",
    /// Running out of fuel is a timeout.
    FuelIsTimeout => "engine.fuel.exhausted",
    /// One page more than the limit.
    OnePageMore => "engine.limits.memory_total",
    /// What a component declares is not limited.
    DeclaredUnlimited => "engine.limits.declared_minimum",
    /// Tables are not limited.
    TablesUnlimited => "engine.limits.tables",
    /// Instances are not limited.
    InstancesUnlimited => "engine.limits.instances",
    /// Handles are not limited.
    HandlesUnlimited => "engine.limits.handles",
    /// Transfers are not limited.
    TransferUnlimited => "engine.limits.transfer",
    /// Replies are not limited.
    ReplyUnlimited => "engine.limits.reply",
}

static ENGINE: LazyLock<Arc<WasmtimeEngine>> = LazyLock::new(|| {
    Arc::new(WasmtimeEngine::new(WasmtimeConfig::default()).expect("the engine can be made"))
});
static CALLS: AtomicU64 = AtomicU64::new(0);

fn suite(flaw: Option<Flaw>) -> Suite<EngineBench> {
    engine::suite("saboteur", move |_| Ok(Arc::new(Engine { inner: Arc::clone(&ENGINE), flaw })))
}

#[test]
fn every_flaw_is_caught_by_the_contract_that_names_it() {
    let mut missed = Vec::new();
    for (flaw, contract) in FLAWS {
        let is_broken = |flaw| suite(flaw).verdict(contract).is_some_and(|verdict| verdict.is_broken());
        if is_broken(None) {
            missed.push(format!("{contract} is broken without a flaw"));
        }
        if !is_broken(Some(*flaw)) {
            missed.push(format!("{flaw:?} went through {contract}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[derive(Debug)]
struct Engine {
    inner: Arc<WasmtimeEngine>,
    flaw: Option<Flaw>,
}

struct Loaded {
    inner: ComponentHandle,
    interface: WitInterface,
    flaw: Option<Flaw>,
}

#[derive(Debug)]
struct Live {
    inner: Box<dyn Component>,
    flaw: Option<Flaw>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("flaw", &self.flaw).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl RuntimeEngine for Engine {
    fn profile(&self) -> EngineProfile {
        let mut profile = self.inner.profile();
        if self.flaw == Some(Flaw::ProfileBoasts) {
            profile.imports.push("acme:quantum/entangler@1.0.0".to_owned());
        }
        profile
    }

    async fn load(&self, wasm: &[u8], options: LoadOptions) -> Result<ComponentHandle> {
        let inner = match self.inner.load(wasm, options).await {
            Err(_) if self.flaw == Some(Flaw::OneLoadFault) => {
                return Err(WasmError::unloadable(LoadFault::Invalid));
            }
            Err(error) if self.flaw == Some(Flaw::ImportsUnnamed) => {
                let unnamed = WasmError::new(error.kind(), "load");
                return Err(match error.detail() {
                    Some(detail) => unnamed.detailed(detail),
                    None => unnamed,
                });
            }
            loaded => loaded?,
        };
        let mut interface = inner.interface().clone();
        if self.flaw == Some(Flaw::InterfaceCut) {
            let last = |instance: &mut WitInstance| drop(instance.functions.pop());
            interface.exports.iter_mut().for_each(last);
        }
        Ok(ComponentHandle::new(Loaded { inner, interface, flaw: self.flaw }))
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl LoadedComponent for Loaded {
    fn interface(&self) -> &WitInterface {
        &self.interface
    }

    fn origin(&self) -> CodeOrigin {
        self.inner.origin()
    }

    async fn instantiate(
        &self,
        limits: &ResourceLimits,
        services: HostServices,
        budget: CallBudget,
    ) -> Result<Box<dyn Component>> {
        let mut limits = limits.clone();
        match self.flaw {
            Some(Flaw::OnePageMore) => limits.memory = ByteSize::bytes(limits.memory.as_u64() + 65_536),
            Some(Flaw::DeclaredUnlimited) => limits.memory = ByteSize::mib(1_024),
            Some(Flaw::TablesUnlimited) => limits.table_elements = 100_000,
            Some(Flaw::InstancesUnlimited) => limits.instances = 1_000,
            Some(Flaw::HandlesUnlimited) => limits.handles = 20_000,
            Some(Flaw::TransferUnlimited) => limits.transfer = ByteSize::mib(64),
            Some(Flaw::ReplyUnlimited) => limits.reply = ByteSize::mib(4),
            _ => {}
        }
        let inner = self.inner.instantiate(&limits, services, budget).await?;
        Ok(Box::new(Live { inner, flaw: self.flaw }))
    }
}

impl Live {
    fn budget(&self, mut budget: CallBudget) -> CallBudget {
        if self.flaw == Some(Flaw::DeadlineLate) {
            budget.deadline = budget.deadline.map(|deadline| deadline + Duration::from_secs(1));
        }
        budget
    }

    fn bend(&self, error: WasmError) -> WasmError {
        match (self.flaw, error.detail()) {
            (Some(Flaw::FailureIsTrap), Some(Detail::Failure(_))) => {
                WasmError::trapped("execute", TrapKind::Unreachable)
            }
            (Some(Flaw::OneTrapKind), Some(Detail::Trap(_))) => {
                WasmError::trapped("execute", TrapKind::Unreachable)
            }
            (Some(Flaw::FuelIsTimeout), Some(Detail::Limit(Limit::Fuel))) => {
                WasmError::new(ErrorKind::ExecutionTimeout, "execute")
            }
            (Some(Flaw::UnknownExportTraps), _) if error.kind() == ErrorKind::ComponentNotFound => {
                WasmError::trapped("execute", TrapKind::Other)
            }
            _ => error,
        }
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl Component for Live {
    async fn init(&mut self, config: &ComponentConfig, mut budget: CallBudget) -> Result<()> {
        if self.flaw == Some(Flaw::DeadlineNotInInit) {
            budget.deadline = budget.deadline.map(|deadline| deadline + Duration::from_secs(2));
        }
        if self.flaw == Some(Flaw::ConfigurationLost) {
            return self.inner.init(&ComponentConfig::new(), budget).await;
        }
        self.inner.init(config, budget).await
    }

    async fn execute(&mut self, mut input: ComponentInput, budget: CallBudget) -> Result<ComponentOutput> {
        if let ComponentInput::Message(envelope) = &mut input {
            if self.flaw == Some(Flaw::SenderLost) {
                envelope.sender = Sender::Host;
            }
            if self.flaw == Some(Flaw::ContentTypeLost) {
                envelope.body.content_type = None;
            }
        }
        let budget = self.budget(budget);
        let mut output = self.inner.execute(input, budget).await.map_err(|error| self.bend(error))?;
        if self.flaw == Some(Flaw::LastByte)
            && output.body.payload.len() > 10_000
            && let Some(last) = output.body.payload.last_mut()
        {
            *last ^= 1;
        }
        Ok(output)
    }

    async fn call(
        &mut self,
        export: &ExportName,
        arguments: &[Value],
        budget: CallBudget,
    ) -> Result<Option<Value>> {
        let budget = self.budget(budget);
        let mut result =
            self.inner.call(export, arguments, budget).await.map_err(|error| self.bend(error))?;
        if self.flaw == Some(Flaw::ListsCut)
            && let Some(Value::List(values)) = &mut result
        {
            values.truncate(1_000);
        }
        if self.flaw == Some(Flaw::NanKept)
            && let (Some(Value::F64(number)), [Value::F64(sent)]) = (&mut result, arguments)
            && sent.is_nan()
        {
            *number = *sent;
        }
        Ok(result)
    }

    async fn shutdown(&mut self, budget: CallBudget) -> Result<()> {
        self.inner.shutdown(self.budget(budget)).await
    }

    async fn metadata(&mut self, budget: CallBudget) -> Result<ComponentMetadata> {
        self.inner.metadata(self.budget(budget)).await
    }

    fn state(&self) -> ExecutionState {
        if self.flaw == Some(Flaw::PoisonNotShown) {
            return ExecutionState::Ready;
        }
        self.inner.state()
    }

    fn usage(&self) -> ResourceUsage {
        let mut usage = self.inner.usage();
        if self.flaw == Some(Flaw::FuelWanders) {
            usage.fuel += CALLS.fetch_add(1, Ordering::SeqCst).pow(2);
        }
        if self.flaw == Some(Flaw::CallsNotCounted) {
            usage.calls = 0;
        }
        usage
    }
}
