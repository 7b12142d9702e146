//! The engine and what it loaded, each with at most one flaw.

use std::collections::HashMap;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::{Detail, LoadFault};
use airssys_wasm_core::interface::{COMPONENT, WitInstance, WitInterface};
use airssys_wasm_core::prelude::*;
use airssys_wasm_core::runtime::{
    CodeOrigin, EngineProfile, ExecutionState, HostFunctionDefinition, Metering,
};
use airssys_wasm_wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};
use async_trait::async_trait;

use crate::extensions::Stub;
use crate::flaws::Flaw;
use crate::instance::{Live, Origin, SharedInstance};
use crate::services;

static WHOLE: LazyLock<Arc<WasmtimeEngine>> = LazyLock::new(|| engine(WasmtimeConfig::default()));

/// An engine like the other, but for its stack.
static SHALLOW: LazyLock<Arc<WasmtimeEngine>> = LazyLock::new(|| {
    let (max_stack, allocation) = (ByteSize::kib(32), Allocation::OnDemand);
    engine(WasmtimeConfig { max_stack, allocation, ..WasmtimeConfig::default() })
});

fn engine(config: WasmtimeConfig) -> Arc<WasmtimeEngine> {
    Arc::new(WasmtimeEngine::new(config).expect("the engine can be made"))
}

/// Wasmtime with at most one flaw.
#[derive(Debug)]
pub(crate) struct Engine {
    inner: Arc<WasmtimeEngine>,
    flaw: Option<Flaw>,
    /// What was loaded so far, by its bytes.
    known: Mutex<HashMap<Vec<u8>, ComponentHandle>>,
    /// Whether a function of an embedder has panicked, in any instance.
    panicked: Arc<AtomicBool>,
}

impl Engine {
    pub(crate) fn new(flaw: Option<Flaw>) -> Self {
        let inner = Arc::clone(if flaw == Some(Flaw::StackTooSmall) { &SHALLOW } else { &WHOLE });
        Self { inner, flaw, known: Mutex::default(), panicked: Arc::default() }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// What becomes of a refusal to load.
    fn bend(&self, error: WasmError) -> WasmError {
        match (self.flaw, error.detail()) {
            (Some(Flaw::OneLoadFault), _) => WasmError::unloadable(LoadFault::Invalid),
            (Some(Flaw::GarbagePanics), Some(Detail::Load(LoadFault::Invalid))) => {
                resume_unwind(Box::new("the validator came to a place that is never reached"))
            }
            (Some(Flaw::ImportsUnnamed), Some(detail)) => {
                WasmError::new(error.kind(), "load").detailed(detail)
            }
            _ => error,
        }
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl RuntimeEngine for Engine {
    fn profile(&self) -> EngineProfile {
        let mut profile = self.inner.profile();
        if self.has(Flaw::ProfileBoasts) {
            profile.imports.push("acme:quantum/entangler@1.0.0".to_owned());
        }
        profile
    }

    async fn load(&self, wasm: &[u8], options: LoadOptions) -> Result<ComponentHandle> {
        if self.has(Flaw::CodeKnownByBytes)
            && let Some(known) = lock(&self.known).get(wasm)
        {
            return Ok(known.clone());
        }
        let text = wat::parse_bytes(wasm).ok().filter(|_| self.has(Flaw::TextLoads));
        let (metering, extensions) = (options.metering, options.extensions.clone());
        let loaded = self.inner.load(text.as_deref().unwrap_or(wasm), options).await;
        let inner = loaded.map_err(|error| self.bend(error))?;
        let mut interface = inner.interface().clone();
        if self.has(Flaw::InterfaceCut) {
            let last = |instance: &mut WitInstance| drop(instance.functions.pop());
            interface.exports.iter_mut().for_each(last);
        }
        let panicked = Arc::clone(&self.panicked);
        let (flaw, instances) = (self.flaw, Mutex::default());
        let loaded = Loaded { inner, interface, metering, extensions, flaw, instances, panicked };
        let loaded = ComponentHandle::new(loaded);
        lock(&self.known).insert(wasm.to_vec(), loaded.clone());
        Ok(loaded)
    }
}

struct Loaded {
    inner: ComponentHandle,
    interface: WitInterface,
    metering: Metering,
    extensions: Vec<HostFunctionDefinition>,
    flaw: Option<Flaw>,
    /// The instances made so far, of engines that hand them out again.
    instances: Mutex<Vec<SharedInstance>>,
    panicked: Arc<AtomicBool>,
}

impl Loaded {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn bend_limits(&self, limits: &ResourceLimits) -> ResourceLimits {
        let mut limits = limits.clone();
        let is_called_by_name = self.interface.export(COMPONENT).is_none();
        match self.flaw {
            Some(Flaw::OnePageMore) => limits.memory = ByteSize::bytes(limits.memory.as_u64() + 65_536),
            Some(Flaw::DeclaredUnlimited) => limits.memory = ByteSize::mib(1_024),
            Some(Flaw::TablesUnlimited) => limits.table_elements = 100_000,
            Some(Flaw::InstancesUnlimited) => limits.instances = 1_000,
            Some(Flaw::HandlesUnlimited) => limits.handles = 20_000,
            Some(Flaw::TransferUnlimited) => limits.transfer = ByteSize::mib(64),
            Some(Flaw::ValuesWeighMore) if is_called_by_name => {
                limits.transfer = ByteSize::bytes(limits.transfer.as_u64() / 4);
            }
            Some(Flaw::ReplyUnlimited) => limits.reply = ByteSize::mib(4),
            _ => {}
        }
        limits
    }

    fn bend_services(&self, mut services: HostServices) -> HostServices {
        if self.has(Flaw::MissingIsStubbed) {
            let supplied = services.extensions.iter().map(Arc::clone);
            let missing = self.extensions.iter().skip(services.extensions.len());
            let stubs = missing.map(|definition| Arc::new(Stub(definition.clone())) as _);
            services.extensions = supplied.chain(stubs).collect();
        }
        services::flawed(services, self.flaw, &self.panicked)
    }

    /// An instance that was made before, where the flaw is to hand it out again.
    fn old_instance(&self) -> Option<SharedInstance> {
        let is_unused = |instance: &SharedInstance| Arc::strong_count(instance) == 1;
        let instances = lock(&self.instances);
        let mut candidates = instances.iter().filter(|instance| match self.flaw {
            Some(Flaw::InstancesReused) => is_unused(instance),
            Some(Flaw::OneInstanceForAll) => !is_unused(instance),
            _ => false,
        });
        let is_ready = |instance: &&SharedInstance| {
            instance.try_lock().is_ok_and(|instance| instance.state() == ExecutionState::Ready)
        };
        candidates.find(is_ready).map(Arc::clone)
    }

    fn keeps_instances(&self) -> bool {
        self.has(Flaw::InstancesReused) || self.has(Flaw::OneInstanceForAll)
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
        let (limits, services) = (self.bend_limits(limits), self.bend_services(services));
        let origin = Origin { component: self.inner.clone(), limits, services, metering: self.metering };
        if let Some(old) = self.old_instance() {
            return Ok(Box::new(Live::new(old, origin, self.flaw)));
        }
        let made = match origin.instantiate(budget).await {
            Err(error)
                if self.has(Flaw::StartTrapIsInvalid) && matches!(error.detail(), Some(Detail::Trap(_))) =>
            {
                return Err(WasmError::unloadable(LoadFault::Invalid));
            }
            made => Arc::new(tokio::sync::Mutex::new(made?)),
        };
        if self.keeps_instances() {
            lock(&self.instances).push(Arc::clone(&made));
        }
        if self.has(Flaw::InstancesLeak) {
            std::mem::forget(Arc::clone(&made));
        }
        Ok(Box::new(Live::new(made, origin, self.flaw)))
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("flaw", &self.flaw).finish_non_exhaustive()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
