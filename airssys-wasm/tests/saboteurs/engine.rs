//! A correct engine with one flaw, or none.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airssys_wasm::core::component::ComponentMetadata;
use airssys_wasm::core::error::FailureCode;
use airssys_wasm::core::interface::WitInterface;
use airssys_wasm::core::prelude::*;
use airssys_wasm::core::runtime::{CodeOrigin, EngineProfile, ExecutionState, ExportName, ResourceUsage};
use airssys_wasm::wasmtime::{WasmtimeConfig, WasmtimeEngine};
use async_trait::async_trait;

use crate::flaw::Flaw;
use crate::messaging::Messaging;
use crate::storage::Storage;
use crate::store::Latest;

/// How late deadlines are that come late.
pub(crate) const LATE: Duration = Duration::from_secs(7);

static ENGINE: LazyLock<Arc<WasmtimeEngine>> = LazyLock::new(|| {
    Arc::new(WasmtimeEngine::new(WasmtimeConfig::default()).expect("the engine can be made"))
});

#[derive(Debug)]
pub(crate) struct Engine {
    flaw: Option<Flaw>,
    store: Latest,
    /// What the first instance of all was given.
    first: Arc<Mutex<Option<HostServices>>>,
}

impl Engine {
    pub(crate) fn new(flaw: Option<Flaw>, store: Latest) -> Self {
        Self { flaw, store, first: Arc::default() }
    }
}

#[derive(Debug)]
struct Loaded {
    inner: ComponentHandle,
    flaw: Option<Flaw>,
    store: Latest,
    first: Arc<Mutex<Option<HostServices>>>,
    instances: AtomicU64,
    /// What the instances of this component have handled.
    told: Arc<Mutex<Vec<ComponentInput>>>,
}

#[derive(Debug)]
struct Live {
    inner: Box<dyn Component>,
    flaw: Option<Flaw>,
    told: Arc<Mutex<Vec<ComponentInput>>>,
    /// A message that has to wait for the one behind it.
    kept_back: Option<ComponentInput>,
    /// The last answer.
    answered: Option<ComponentOutput>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl RuntimeEngine for Engine {
    fn profile(&self) -> EngineProfile {
        ENGINE.profile()
    }

    async fn load(&self, wasm: &[u8], options: LoadOptions) -> Result<ComponentHandle> {
        Ok(ComponentHandle::new(Loaded {
            inner: ENGINE.load(wasm, options).await?,
            flaw: self.flaw,
            store: self.store.clone(),
            first: self.first.clone(),
            instances: AtomicU64::new(0),
            told: Arc::default(),
        }))
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl LoadedComponent for Loaded {
    fn interface(&self) -> &WitInterface {
        self.inner.interface()
    }

    fn origin(&self) -> CodeOrigin {
        self.inner.origin()
    }

    async fn instantiate(
        &self,
        limits: &ResourceLimits,
        mut services: HostServices,
        budget: CallBudget,
    ) -> Result<Box<dyn Component>> {
        let before = self.instances.fetch_add(1, Ordering::Relaxed);
        if self.flaw == Some(Flaw::OneInstanceOnly) && before > 0 {
            return Err(WasmError::new(ErrorKind::Internal, "instantiate")
                .saying("the last instance was the only one"));
        }
        let id = services.messaging.self_id()?.clone();
        if self.flaw == Some(Flaw::InstancesBeginEmpty) {
            let mut batch = Batch::new();
            batch.clear(&Namespace::of_component(&id));
            self.store.commit(batch).await?;
        }
        if self.flaw == Some(Flaw::ServicesOfTheFirst) {
            services = lock(&self.first).get_or_insert(services).clone();
        }
        services.storage = Arc::new(Storage::new(services.storage, &id, self.flaw, self.store.clone()));
        services.messaging = Arc::new(Messaging::new(services.messaging, self.flaw));
        let inner = self.inner.instantiate(limits, services, budget).await?;
        let told = self.told.clone();
        Ok(Box::new(Live { inner, flaw: self.flaw, told, kept_back: None, answered: None }))
    }
}

impl Live {
    fn budget(&self, mut budget: CallBudget) -> CallBudget {
        if self.flaw == Some(Flaw::DeadlinesLate) {
            budget.deadline = budget.deadline.map(|deadline| deadline + LATE);
        }
        budget
    }

    fn bend_error(&self, error: WasmError) -> WasmError {
        match self.flaw {
            Some(Flaw::FailuresLoseTheirCode) if error.kind() == ErrorKind::ExecutionFailed => failed(),
            Some(Flaw::FailuresLoseTheirText) if error.kind() == ErrorKind::ExecutionFailed => {
                let code = error.detail().expect("a failure has its code");
                WasmError::new(error.kind(), error.operation()).detailed(code)
            }
            Some(Flaw::TimeoutsAreTraps) if error.kind() == ErrorKind::ExecutionTimeout => {
                WasmError::trapped(error.operation(), TrapKind::Other)
            }
            _ => error,
        }
    }

    fn bend(&self, output: &mut ComponentOutput) {
        match self.flaw {
            Some(Flaw::LastByte) if output.body.payload.len() > 10_000 => {
                output.body.payload.last_mut().into_iter().for_each(|byte| *byte ^= 1);
            }
            Some(Flaw::ContentTypeLost) => output.body.content_type = None,
            _ => {}
        }
    }
}

fn failed() -> WasmError {
    WasmError::new(ErrorKind::ExecutionFailed, "call").detailed(Detail::Failure(FailureCode::Internal))
}

fn is_one_way(input: &ComponentInput) -> bool {
    matches!(input, ComponentInput::Message(envelope) if envelope.kind == MessageType::OneWay)
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
        match self.flaw {
            Some(Flaw::InitErrorsSwallowed) => Ok(()),
            Some(Flaw::InitErrorsAlike) => came_up.map_err(|_| failed()),
            _ => came_up.map_err(|error| self.bend_error(error)),
        }
    }

    async fn execute(&mut self, input: ComponentInput, budget: CallBudget) -> Result<ComponentOutput> {
        let budget = self.budget(budget);
        if self.flaw == Some(Flaw::TwoAtATimeBackwards) && is_one_way(&input) {
            let Some(first) = self.kept_back.take() else {
                self.kept_back = Some(input);
                return Ok(ComponentOutput::default());
            };
            self.inner.execute(input, budget).await?;
            return self.inner.execute(first, budget).await;
        }
        let mut output = match (self.flaw, self.inner.execute(input.clone(), budget).await) {
            (Some(Flaw::EndedCallsAreAnswers), Err(_)) => ComponentOutput::default(),
            (_, output) => output.map_err(|error| self.bend_error(error))?,
        };
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
        let ended = self.inner.shutdown(self.budget(budget)).await;
        if self.flaw == Some(Flaw::ShutdownErrorsSwallowed) {
            return Ok(());
        }
        ended.map_err(|error| self.bend_error(error))
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
