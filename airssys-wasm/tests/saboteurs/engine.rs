//! A correct engine with one flaw, or none.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use airssys_wasm::core::error::LoadFault;
use airssys_wasm::core::interface::WitInterface;
use airssys_wasm::core::prelude::*;
use airssys_wasm::core::runtime::{CodeOrigin, EngineProfile};
use airssys_wasm::wasmtime::{WasmtimeConfig, WasmtimeEngine};
use airssys_wasm_conformance::guests::Guest;
use async_trait::async_trait;

use crate::burden::{self, Hoard};
use crate::code::CodeFolder;
use crate::files::Files;
use crate::flaw::Flaw;
use crate::instance::{Live, bent};
use crate::messaging::Messaging;
use crate::storage::{Storage, Writes};
use crate::store::Latest;

static ENGINE: LazyLock<Arc<WasmtimeEngine>> = LazyLock::new(|| {
    Arc::new(WasmtimeEngine::new(WasmtimeConfig::default()).expect("the engine can be made"))
});

/// The services of instances, by what a flaw takes for their name.
type Given = Arc<Mutex<BTreeMap<String, HostServices>>>;

#[derive(Debug)]
pub(crate) struct Engine {
    flaw: Option<Flaw>,
    store: Latest,
    code: Option<CodeFolder>,
    given: Given,
    hoard: Hoard,
}

impl Engine {
    /// The engine with this flaw. `code_cache` is the folder of the cache that the flaw is in, if that is where it is.
    pub(crate) fn new(flaw: Option<Flaw>, store: Latest, code_cache: Option<PathBuf>) -> Self {
        let code = code_cache.filter(|_| flaw == Some(Flaw::CodeTrusted)).map(CodeFolder::new);
        Self { flaw, store, code, given: Arc::default(), hoard: Hoard::default() }
    }

    async fn load_inner(&self, wasm: &[u8], options: LoadOptions) -> Result<(ComponentHandle, CodeOrigin)> {
        match &self.code {
            Some(code) => code.load(&**ENGINE, wasm, options).await,
            None => {
                let loaded = ENGINE.load(wasm, options).await?;
                let origin = loaded.origin();
                Ok((loaded, origin))
            }
        }
    }
}

#[derive(Debug)]
struct Loaded {
    inner: ComponentHandle,
    origin: CodeOrigin,
    /// What is wrong with it, where that is found out late.
    fault: Option<LoadFault>,
    flaw: Option<Flaw>,
    store: Latest,
    given: Given,
    hoard: Hoard,
    instances: AtomicU64,
    /// What the instances of this component have handled.
    told: Arc<Mutex<Vec<ComponentInput>>>,
    writes: Writes,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl RuntimeEngine for Engine {
    fn profile(&self) -> EngineProfile {
        ENGINE.profile()
    }

    async fn load(&self, wasm: &[u8], options: LoadOptions) -> Result<ComponentHandle> {
        if self.flaw == Some(Flaw::ThreadsKept) && wasm.len() > 1 << 20 {
            burden::keep_threads().await;
        }
        let invalid = Some(Detail::Load(LoadFault::Invalid));
        let (inner, origin, fault) = match self.load_inner(wasm, options.clone()).await {
            Err(error) if self.flaw == Some(Flaw::ValidatedLate) && error.detail() == invalid => {
                let stand_in = ENGINE.load(&Guest::Echo.bytes()?, options).await?;
                (stand_in, CodeOrigin::Compiled, Some(LoadFault::Invalid))
            }
            loaded => loaded.map(|(inner, origin)| (inner, origin, None))?,
        };
        Ok(ComponentHandle::new(Loaded {
            inner,
            origin,
            fault,
            flaw: self.flaw,
            store: self.store.clone(),
            given: self.given.clone(),
            hoard: self.hoard.clone(),
            instances: AtomicU64::new(0),
            told: Arc::default(),
            writes: Writes::default(),
        }))
    }
}

impl Loaded {
    fn bend_limits(&self, limits: &ResourceLimits) -> ResourceLimits {
        let mut limits = limits.clone();
        match self.flaw {
            Some(Flaw::MemoryDoubled) => limits.memory = ByteSize::bytes(2 * limits.memory.as_u64()),
            Some(Flaw::TablesDoubled) => limits.table_elements *= 2,
            Some(Flaw::HandlesDoubled) => limits.handles *= 2,
            Some(Flaw::InstancesUnlimited) => limits.instances = 100_000,
            Some(Flaw::TransferUnlimited) => limits.transfer = ByteSize::mib(1_024),
            Some(Flaw::ReplyUnlimited) => limits.reply = ByteSize::mib(4_096),
            _ => {}
        }
        limits
    }

    /// Under which name the services of an instance are kept, where they are not its own.
    fn name_of(&self, id: &ComponentId) -> Option<String> {
        match self.flaw {
            Some(Flaw::ServicesOfTheFirst) => Some(String::new()),
            Some(Flaw::DashesOverlooked) => Some(id.as_str().replace('-', "")),
            _ => None,
        }
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl LoadedComponent for Loaded {
    fn interface(&self) -> &WitInterface {
        self.inner.interface()
    }

    fn origin(&self) -> CodeOrigin {
        self.origin
    }

    async fn instantiate(
        &self,
        limits: &ResourceLimits,
        mut services: HostServices,
        budget: CallBudget,
    ) -> Result<Box<dyn Component>> {
        if let Some(fault) = self.fault {
            return Err(WasmError::unloadable(fault));
        }
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
        if let Some(name) = self.name_of(&id) {
            services = lock(&self.given).entry(name).or_insert(services).clone();
        }
        let writes = self.writes.clone();
        let storage = Storage::new(services.storage, &id, self.flaw, self.store.clone(), writes.clone());
        let storage = Arc::new(storage);
        services.storage = storage.clone();
        services.messaging = Arc::new(Messaging::new(services.messaging, self.flaw));
        services.files = Arc::new(Files::new(services.files, self.flaw));
        let limits = self.bend_limits(limits);
        match self.inner.instantiate(&limits, services, budget).await {
            Ok(inner) => {
                Ok(Box::new(Live::new(inner, self.flaw, self.told.clone(), storage, self.hoard.clone())))
            }
            Err(error) => Err(bent(self.flaw, &self.hoard, error).await),
        }
    }
}
