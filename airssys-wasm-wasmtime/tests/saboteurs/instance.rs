//! An instance with at most one flaw.

use std::env;
use std::future::ready;
use std::mem;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use airssys_wasm_core::component::ComponentMetadata;
use airssys_wasm_core::error::{Detail, ErrorKind, TrapKind};
use airssys_wasm_core::prelude::*;
use airssys_wasm_core::runtime::{ExecutionState, ExportName, MessagingRefusal, Metering, ResourceUsage};
use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::block_in_place;

use crate::flaws::Flaw;
use crate::values::{Numbers, swap_flags};

/// An instance that may be in use in several places, if that is the flaw.
pub(crate) type SharedInstance = Arc<Mutex<Box<dyn Component>>>;

/// The calls of all instances, whose number no two instances see alike.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// How much later than asked a flawed deadline falls.
const LATE: Duration = Duration::from_secs(4);
const NEAR: Duration = Duration::from_millis(1);

/// What an instance is made of, to make another.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) component: ComponentHandle,
    pub(crate) limits: ResourceLimits,
    pub(crate) services: HostServices,
    pub(crate) metering: Metering,
}

impl Origin {
    pub(crate) async fn instantiate(&self, budget: CallBudget) -> Result<Box<dyn Component>> {
        self.component.instantiate(&self.limits, self.services.clone(), budget).await
    }
}

/// An instance of Wasmtime with at most one flaw.
#[derive(Debug)]
pub(crate) struct Live {
    inner: SharedInstance,
    origin: Origin,
    flaw: Option<Flaw>,
    /// The deadline of the first call that had one.
    first_deadline: Option<Instant>,
    /// Whether a message is being handled: for good, when its future was dropped.
    is_handling: bool,
    /// Whether a call returned an invalid value.
    is_forgiven: bool,
    numbers: Numbers,
    /// The resources that were handed over, and what was in them.
    remains: Vec<(Value, Value)>,
}

impl Live {
    pub(crate) fn new(inner: SharedInstance, origin: Origin, flaw: Option<Flaw>) -> Self {
        Self {
            inner,
            origin,
            flaw,
            first_deadline: None,
            is_handling: false,
            is_forgiven: false,
            numbers: Numbers::default(),
            remains: Vec::new(),
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn inner(&self) -> MutexGuard<'_, Box<dyn Component>> {
        self.inner.try_lock().expect("the contracts on shared instances make one call at a time")
    }

    /// Refuses calls after one that was dropped and goes on.
    fn check_given_up(&self) -> Result<()> {
        if self.has(Flaw::DroppedCallGoesOn) && self.is_handling {
            return Err(WasmError::new(ErrorKind::Actor, "call").saying("the instance was given up"));
        }
        Ok(())
    }

    fn bend_budget(&mut self, mut budget: CallBudget) -> CallBudget {
        let now = Instant::now();
        self.first_deadline = self.first_deadline.or(budget.deadline);
        budget.deadline = budget.deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(now);
            match self.flaw {
                Some(Flaw::DeadlineLate) => deadline + LATE,
                Some(Flaw::PastDeadlineGrace) if left.is_zero() => now + LATE,
                Some(Flaw::NearDeadlineMissed) if !left.is_zero() && left < NEAR => now + LATE,
                Some(Flaw::FarDeadlineOverflows) if left > 25_000 * LATE => now,
                _ => deadline,
            }
        });
        if self.has(Flaw::DeadlineStays) {
            budget = budget.until(self.first_deadline);
        }
        if self.has(Flaw::FuelIgnored) && self.origin.metering == Metering::Off {
            budget.fuel = None;
        }
        budget
    }

    fn bend_input(&self, input: &mut ComponentInput) {
        match (self.flaw, input) {
            (Some(Flaw::SenderLost), ComponentInput::Message(envelope)) => envelope.sender = Sender::Host,
            (Some(Flaw::ContentTypeLost), ComponentInput::Message(envelope)) => {
                envelope.body.content_type = None;
            }
            (Some(Flaw::CorrelationLost), ComponentInput::Message(envelope)) => envelope.correlation = None,
            (Some(Flaw::SecondsOnly), ComponentInput::Message(envelope)) => {
                let since = envelope.sent_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                envelope.sent_at = SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs());
            }
            (Some(Flaw::AttemptsFromZero), ComponentInput::Message(envelope)) => envelope.attempt -= 1,
            (Some(Flaw::TraceLost), ComponentInput::Message(envelope)) => envelope.trace = None,
            (Some(Flaw::IdTurned), ComponentInput::Message(envelope)) => {
                envelope.id = MessageId::from_parts(envelope.id.low(), envelope.id.high());
            }
            (Some(Flaw::ReplyErrorsAlike), ComponentInput::Reply { outcome: Err(refusal), .. }) => {
                *refusal = MessagingRefusal::Timeout;
            }
            _ => {}
        }
    }

    fn bend_config(&self, config: &ComponentConfig) -> ComponentConfig {
        let is_kept = |value: &str| match self.flaw {
            Some(Flaw::ConfigurationLost) => false,
            Some(Flaw::EmptySettingLost) => !value.is_empty(),
            _ => true,
        };
        let kept = config.iter().filter(|(_, value)| is_kept(value));
        kept.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// What becomes of an error, whatever was called.
    fn bend(&mut self, error: WasmError) -> WasmError {
        match (self.flaw, error.detail()) {
            (Some(Flaw::FailureIsTrap), Some(Detail::Failure(_))) => {
                WasmError::trapped("execute", TrapKind::Unreachable)
            }
            (Some(Flaw::OneTrapKind), Some(Detail::Trap(_))) => {
                WasmError::trapped("execute", TrapKind::Unreachable)
            }
            (Some(Flaw::StackIsMemory), Some(Detail::Trap(TrapKind::StackOverflow))) => {
                WasmError::trapped("execute", TrapKind::MemoryOutOfBounds)
            }
            (Some(Flaw::FuelIsTimeout), Some(Detail::Limit(Limit::Fuel))) => {
                WasmError::new(ErrorKind::ExecutionTimeout, "execute")
            }
            (Some(Flaw::UnknownExportTraps), _) if error.kind() == ErrorKind::ComponentNotFound => {
                WasmError::trapped("execute", TrapKind::Other)
            }
            (Some(Flaw::GivingUpIsTrap), Some(Detail::Limit(Limit::Memory))) => {
                WasmError::trapped("execute", TrapKind::Unreachable)
            }
            (Some(Flaw::MemoryAlwaysBlamed), Some(Detail::Trap(TrapKind::Unreachable)))
                if self.usage().refused_growth > 0 =>
            {
                WasmError::limited("execute", Limit::Memory).because(error)
            }
            (Some(Flaw::InvalidValueForgiven), Some(Detail::Trap(TrapKind::InvalidValue))) => {
                self.is_forgiven = true;
                error
            }
            (Some(Flaw::PanicGoesOn), Some(Detail::Trap(TrapKind::HostFault))) => {
                resume_unwind(Box::new("the panic of a service"))
            }
            _ => error,
        }
    }

    async fn handle(&mut self, mut input: ComponentInput, budget: CallBudget) -> Result<ComponentOutput> {
        self.check_given_up()?;
        self.bend_input(&mut input);
        let is_reply = matches!(input, ComponentInput::Reply { .. });
        let asks_for_environment =
            matches!(&input, ComponentInput::Message(envelope) if envelope.body.payload == b"environment");
        let budget = self.bend_budget(budget);
        self.is_handling = true;
        let result = if self.has(Flaw::ThreadKept) {
            block_in_place(|| Handle::current().block_on(self.inner().execute(input, budget)))
        } else if self.has(Flaw::DroppedCallGoesOn) {
            let inner = Arc::clone(&self.inner);
            let call = tokio::spawn(async move { inner.lock().await.execute(input, budget).await });
            call.await.expect("the engine does not panic")
        } else {
            self.inner().execute(input, budget).await
        };
        self.is_handling = false;
        let mut output = match (self.flaw, result) {
            (Some(Flaw::ReplyDropped), Err(error))
                if is_reply && error.kind() == ErrorKind::ComponentNotFound =>
            {
                return Ok(ComponentOutput::default());
            }
            (Some(Flaw::DivisionIsPanic), Err(error))
                if error.detail() == Some(Detail::Trap(TrapKind::IntegerDivisionByZero)) =>
            {
                return Err(WasmError::trapped("execute", TrapKind::Unreachable));
            }
            (Some(Flaw::FailureForgets), Err(error))
                if matches!(error.detail(), Some(Detail::Failure(_))) =>
            {
                let fresh = self.origin.instantiate(CallBudget::UNBOUNDED).await?;
                *self.inner() = fresh;
                return Err(error);
            }
            (_, Err(error)) => return Err(self.bend(error)),
            (_, Ok(output)) => output,
        };
        if self.has(Flaw::LastByte)
            && output.body.payload.len() > 10_000
            && let Some(last) = output.body.payload.last_mut()
        {
            *last ^= 1;
        }
        if self.has(Flaw::EnvironmentInherited) && asks_for_environment {
            output.body.payload = env::vars_os().count().to_string().into_bytes();
        }
        Ok(output)
    }

    fn bend_result(&mut self, result: &mut Value, arguments: &[Value]) {
        match (self.flaw, result, arguments) {
            (Some(Flaw::ListsCut), Value::List(values), _) => values.truncate(1_000),
            (Some(Flaw::NanKept), Value::F64(number), [Value::F64(sent)]) if sent.is_nan() => *number = *sent,
            (Some(Flaw::FlagsSwapped), value, _) => swap_flags(value),
            (Some(Flaw::HandlesNumbered), value, _) => self.numbers.number(value),
            _ => {}
        }
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl Component for Live {
    async fn init(&mut self, config: &ComponentConfig, budget: CallBudget) -> Result<()> {
        self.check_given_up()?;
        let mut budget = self.bend_budget(budget);
        if self.has(Flaw::DeadlineNotInInit) {
            budget.deadline = budget.deadline.map(|deadline| deadline + LATE);
        }
        let config = self.bend_config(config);
        let result = self.inner().init(&config, budget).await;
        result.map_err(|error| self.bend(error))
    }

    fn execute<'live, 'call>(
        &'live mut self,
        input: ComponentInput,
        budget: CallBudget,
    ) -> Pin<Box<dyn Future<Output = Result<ComponentOutput>> + Send + 'call>>
    where
        'live: 'call,
        Self: 'call,
    {
        let begins_early = self.has(Flaw::CallBeginsEarly);
        let mut call = Box::pin(self.handle(input, budget));
        if begins_early
            && let Poll::Ready(result) = call.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        {
            return Box::pin(ready(result));
        }
        call
    }

    async fn call(
        &mut self,
        export: &ExportName,
        arguments: &[Value],
        budget: CallBudget,
    ) -> Result<Option<Value>> {
        self.check_given_up()?;
        let budget = self.bend_budget(budget);
        let mut export = export.clone();
        if self.has(Flaw::OwnIsBorrow) && export.function() == "consume" {
            export = export.to_string().replace("#consume", "#look").parse().expect("the name is valid");
        }
        let mut passed = arguments.to_vec();
        match self.flaw {
            Some(Flaw::FlagsSwapped) => passed.iter_mut().for_each(swap_flags),
            Some(Flaw::HandlesNumbered) => passed.iter_mut().for_each(|value| self.numbers.resolve(value)),
            _ => {}
        }
        if self.has(Flaw::StaleHandleTaken)
            && export.function() == "look"
            && let Some((_, kept)) = self.remains.iter().find(|(handle, _)| passed.first() == Some(handle))
        {
            return Ok(Some(kept.clone()));
        }
        let result = self.inner().call(&export, &passed, budget).await;
        let mut result = match (self.flaw, result) {
            (Some(Flaw::ValuesLeftOut), Err(error))
                if error.detail() == Some(Detail::Limit(Limit::Transfer)) =>
            {
                return Ok(Some(Value::List(Vec::new())));
            }
            (Some(Flaw::TextMended), Err(error)) if format!("{error:?}").contains("utf-8") => {
                return Ok(Some(Value::String(char::REPLACEMENT_CHARACTER.into())));
            }
            (_, Err(error)) => return Err(self.bend(error)),
            (_, Ok(result)) => result,
        };
        if export.function() == "consume"
            && let (Some(handle), Some(kept)) = (passed.first(), &result)
        {
            self.remains.push((handle.clone(), kept.clone()));
        }
        if let Some(result) = &mut result {
            self.bend_result(result, arguments);
        }
        Ok(result)
    }

    async fn shutdown(&mut self, budget: CallBudget) -> Result<()> {
        self.check_given_up()?;
        if self.has(Flaw::ShutdownSkipped) && self.state() == ExecutionState::Ready {
            return Ok(());
        }
        let budget = self.bend_budget(budget);
        let result = self.inner().shutdown(budget).await;
        result.map_err(|error| self.bend(error))
    }

    async fn metadata(&mut self, budget: CallBudget) -> Result<ComponentMetadata> {
        self.check_given_up()?;
        let budget = self.bend_budget(budget);
        let mut metadata = self.inner().metadata(budget).await?;
        if self.has(Flaw::DescriptionLost) {
            metadata.description.clear();
        }
        if self.has(Flaw::MetadataSwapped) {
            mem::swap(&mut metadata.version, &mut metadata.description);
        }
        Ok(metadata)
    }

    fn state(&self) -> ExecutionState {
        if self.check_given_up().is_err() {
            return ExecutionState::Poisoned;
        }
        let is_forgotten = match self.flaw {
            Some(Flaw::PoisonNotShown) => true,
            Some(Flaw::DropNotNoticed) => self.is_handling,
            Some(Flaw::InvalidValueForgiven) => self.is_forgiven,
            _ => false,
        };
        if is_forgotten { ExecutionState::Ready } else { self.inner().state() }
    }

    fn usage(&self) -> ResourceUsage {
        let mut usage = self.inner().usage();
        if self.has(Flaw::FuelWanders) {
            usage.fuel += CALLS.fetch_add(1, Ordering::SeqCst).pow(2);
        }
        if self.has(Flaw::CallsNotCounted) {
            usage.calls = 0;
        }
        usage
    }
}
