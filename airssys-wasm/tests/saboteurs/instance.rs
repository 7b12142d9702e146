//! An instance of a correct engine with one flaw, or none.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_wasm::core::component::ComponentMetadata;
use airssys_wasm::core::error::FailureCode;
use airssys_wasm::core::prelude::*;
use airssys_wasm::core::runtime::{ExecutionState, ExportName, ResourceUsage};
use async_trait::async_trait;

use crate::burden::{self, Hoard};
use crate::engine::lock;
use crate::flaw::Flaw;
use crate::messaging::UNKNOWN;
use crate::storage::Storage;

/// How late deadlines are that come late: later than any contract allows.
pub(crate) const LATE: Duration = Duration::from_secs(6);

const INVALID_HANDLE: Option<Detail> = Some(Detail::Trap(TrapKind::InvalidHandle));

#[derive(Debug)]
pub(crate) struct Live {
    inner: Box<dyn Component>,
    flaw: Option<Flaw>,
    told: Arc<Mutex<Vec<ComponentInput>>>,
    storage: Arc<Storage>,
    hoard: Hoard,
    /// A message that has to wait for the one behind it.
    kept_back: Option<ComponentInput>,
    /// The last answer.
    answered: Option<ComponentOutput>,
}

impl Live {
    pub(crate) fn new(
        inner: Box<dyn Component>,
        flaw: Option<Flaw>,
        told: Arc<Mutex<Vec<ComponentInput>>>,
        storage: Arc<Storage>,
        hoard: Hoard,
    ) -> Self {
        Self { inner, flaw, told, storage, hoard, kept_back: None, answered: None }
    }

    fn budget(&self, mut budget: CallBudget) -> CallBudget {
        if self.flaw == Some(Flaw::DeadlinesLate) {
            budget.deadline = budget.deadline.map(|deadline| deadline + LATE);
        }
        budget
    }

    fn bend_input(&self, input: &mut ComponentInput) {
        let ComponentInput::Message(envelope) = input else { return };
        match self.flaw {
            Some(Flaw::SendersLost) => envelope.sender = Sender::Host,
            Some(Flaw::IdsRepeated) => envelope.id = UNKNOWN,
            Some(Flaw::EventsKept) if envelope.topic.is_some() => self.hoard.keep(1 << 20),
            _ => {}
        }
    }

    fn bend(&self, output: &mut ComponentOutput) {
        match self.flaw {
            Some(Flaw::LastByte) if output.body.payload.len() > 10_000 => {
                output.body.payload.last_mut().into_iter().for_each(|byte| *byte ^= 1);
            }
            Some(Flaw::ContentTypeLost) => output.body.content_type = None,
            // What the attacker answers when a lookup has failed, and what it would answer when one had succeeded.
            Some(Flaw::LookupsSucceed) if output.body.payload == b"U" => output.body.payload = b"!".to_vec(),
            _ => {}
        }
    }

    async fn handle(&mut self, input: ComponentInput, budget: CallBudget) -> Result<ComponentOutput> {
        let outcome = self.inner.execute(input.clone(), budget).await;
        if let (Some(Flaw::FilesReached), Err(error), ComponentInput::Message(envelope)) =
            (self.flaw, &outcome, &input)
            && error.detail() == INVALID_HANDLE
        {
            unlink(&envelope.body.payload);
        }
        match outcome {
            Err(_) if self.flaw == Some(Flaw::EndedCallsAreAnswers) => Ok(ComponentOutput::default()),
            Err(error) => Err(bent(self.flaw, &self.hoard, error).await),
            Ok(output) => Ok(output),
        }
    }
}

/// What becomes of an error, and of those around it.
pub(crate) async fn bent(flaw: Option<Flaw>, hoard: &Hoard, error: WasmError) -> WasmError {
    burden::weigh(flaw, hoard, &error).await;
    match (flaw, error.kind(), error.detail()) {
        (Some(Flaw::FailuresLoseTheirCode), ErrorKind::ExecutionFailed, _) => failed(),
        (Some(Flaw::FailuresLoseTheirText), ErrorKind::ExecutionFailed, code) => {
            WasmError::new(error.kind(), error.operation()).detailed(code.expect("a failure has its code"))
        }
        (Some(Flaw::TimeoutsAreTraps), ErrorKind::ExecutionTimeout, _) => {
            WasmError::trapped(error.operation(), TrapKind::Other)
        }
        (Some(Flaw::FuelIsTimeout), _, Some(Detail::Limit(Limit::Fuel))) => {
            WasmError::new(ErrorKind::ExecutionTimeout, error.operation())
        }
        (Some(Flaw::StackIsMemory), _, Some(Detail::Trap(TrapKind::StackOverflow))) => {
            WasmError::trapped(error.operation(), TrapKind::MemoryOutOfBounds)
        }
        (Some(Flaw::TrapsAlike), _, Some(Detail::Trap(_))) => {
            WasmError::trapped(error.operation(), TrapKind::Unreachable)
        }
        (Some(Flaw::EndedByServicesIsFault), ErrorKind::CapabilityDenied, _)
        | (Some(Flaw::EndedByServicesIsFault), _, Some(Detail::Limit(Limit::HostCalls))) => {
            WasmError::trapped(error.operation(), TrapKind::HostFault)
        }
        _ => error,
    }
}

fn failed() -> WasmError {
    WasmError::new(ErrorKind::ExecutionFailed, "call").detailed(Detail::Failure(FailureCode::Internal))
}

fn is_one_way(input: &ComponentInput) -> bool {
    matches!(input, ComponentInput::Message(envelope) if envelope.kind == MessageType::OneWay)
}

/// Deletes the file that a message of the zoo asks for, as if its handle were one. Nothing but what the contract has made
/// for this end is ever deleted.
fn unlink(message: &[u8]) {
    let Some(path) = message.strip_prefix(b"10").and_then(|path| str::from_utf8(path).ok()) else { return };
    let path = Path::new(path);
    let folder = path.parent().and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
    if path.is_absolute() && path.ends_with("canary") && folder.starts_with("airssys-wasm-conformance-") {
        fs::remove_file(path).expect("the contract has made a canary");
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl Component for Live {
    async fn init(&mut self, config: &ComponentConfig, budget: CallBudget) -> Result<()> {
        let budget = self.budget(budget);
        let came_up = self.inner.init(config, budget).await;
        if self.flaw == Some(Flaw::MemoryOutlivesItsInstance) {
            let told = lock(&self.told).clone();
            for input in told {
                self.inner.execute(input, budget).await?;
            }
        }
        match (self.flaw, came_up) {
            (Some(Flaw::InitErrorsSwallowed), _) | (_, Ok(())) => Ok(()),
            (Some(Flaw::InitErrorsAlike), Err(_)) => Err(failed()),
            (_, Err(error)) => Err(bent(self.flaw, &self.hoard, error).await),
        }
    }

    async fn execute(&mut self, mut input: ComponentInput, budget: CallBudget) -> Result<ComponentOutput> {
        let budget = self.budget(budget);
        self.bend_input(&mut input);
        if self.flaw == Some(Flaw::TwoAtATimeBackwards) && is_one_way(&input) {
            let Some(first) = self.kept_back.take() else {
                self.kept_back = Some(input);
                return Ok(ComponentOutput::default());
            };
            self.inner.execute(input, budget).await?;
            return self.inner.execute(first, budget).await;
        }
        self.storage.write_again().await?;
        let mut output = self.handle(input.clone(), budget).await?;
        self.storage.forget_writes();
        if self.flaw == Some(Flaw::MemoryOutlivesItsInstance) {
            lock(&self.told).push(input);
        }
        self.bend(&mut output);
        let before = self.answered.replace(output.clone());
        Ok(before.filter(|_| self.flaw == Some(Flaw::AnswerOfTheOneBefore)).unwrap_or(output))
    }

    async fn call(
        &mut self,
        export: &ExportName,
        arguments: &[Value],
        budget: CallBudget,
    ) -> Result<Option<Value>> {
        self.inner.call(export, arguments, self.budget(budget)).await
    }

    async fn shutdown(&mut self, budget: CallBudget) -> Result<()> {
        match self.inner.shutdown(self.budget(budget)).await {
            Err(error) if self.flaw != Some(Flaw::ShutdownErrorsSwallowed) => {
                Err(bent(self.flaw, &self.hoard, error).await)
            }
            _ => Ok(()),
        }
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
        self.inner.usage()
    }
}
