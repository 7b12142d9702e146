//! The host: what embedders hold.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

mod builder;
mod component_ref;
mod lifecycle;

pub use builder::HostBuilder;
pub use component_ref::{ComponentRef, RequestOptions};
pub use lifecycle::{ShutdownReport, StopReport};

use airssys_wasm_core::capability::{Capability, Topic};
use airssys_wasm_core::component::{
    ArtifactDigest, ByteSize, ComponentId, ComponentState, InstallationSource, InstanceId, ResourceLimits,
    Version,
};
use airssys_wasm_core::error::{ErrorKind, Limit, MessagingFault, Result, WasmError};
use airssys_wasm_core::interface::{self, WitInterface, check_exports};
use airssys_wasm_core::messaging::{Body, MessageId, Sender};
use airssys_wasm_core::runtime::{
    CodeOrigin, ComponentHandle, EngineProfile, HostFunction, HostFunctionDefinition, LoadOptions, Metering,
    RuntimeEngine,
};
use airssys_wasm_core::security::{HostAct, TrustLevel};
use airssys_wasm_core::storage::{Durability, StorageBackend, StorageProfile};

use self::lifecycle::Running;
use crate::artifact;
use crate::broadcast::BroadcastReport;
use crate::cell::CellStatistics;
use crate::deadlines::Deadlines;
use crate::effects::Event;
use crate::gate::{Gate, Grants};
use crate::installation::{Given, Installation, Installed};
use crate::message_id::MessageIds;
use crate::router::Router;
use crate::services::{Offered, offered};
use crate::signature::{Signatures, Statement};
use crate::subscriptions::Subscriptions;

/// Runs components. Cloning copies a pointer; when the last clone goes, everything that still runs is ended at once.
///
/// [`shutdown`](Self::shutdown) ends in order: it lets components finish what is queued, and tells what was dropped.
#[derive(Clone, Debug)]
pub struct Host(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    components: Mutex<HashMap<ComponentId, Component>>,
}

/// An installed component, where it stands, and its task while it runs.
#[derive(Debug)]
struct Component {
    installed: Arc<Installed>,
    state: ComponentState,
    running: Option<Running>,
}

/// What every part of the host reaches.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) engine: Arc<dyn RuntimeEngine>,
    pub(crate) store: Arc<dyn StorageBackend>,
    pub(crate) durability: Durability,
    pub(crate) gate: Gate,
    pub(crate) router: Router,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) message_ids: MessageIds,
    pub(crate) deadlines: Deadlines,
    pub(crate) extensions: Vec<Arc<dyn HostFunction>>,
    pub(crate) signatures: Signatures,
    /// What every host offers beside these.
    pub(crate) offered: Vec<&'static Offered>,
    pub(crate) limits: ResourceLimits,
    pub(crate) max_component_size: ByteSize,
    max_instances: u32,
    live_instances: Arc<AtomicU32>,
    max_memory: Option<ByteSize>,
    /// The memory limits of all that run, together.
    live_memory: Arc<AtomicU64>,
    next_instance: AtomicU64,
    request_timeout: Duration,
    /// Whether the host is shutting down.
    closing: AtomicBool,
}

/// The right to one live instance and to its memory, given back when dropped.
#[derive(Debug)]
pub(crate) struct LivePermit {
    instances: Arc<AtomicU32>,
    live_memory: Arc<AtomicU64>,
    memory: u64,
}

impl Drop for LivePermit {
    fn drop(&mut self) {
        self.live_memory.fetch_sub(self.memory, Ordering::AcqRel);
        self.instances.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    pub(crate) fn next_instance(&self, installed: &Installed) -> InstanceId {
        let number = self.next_instance.fetch_add(1, Ordering::Relaxed);
        InstanceId::new(installed.id.clone(), installed.version.clone(), number)
    }

    /// Refuses what the embedder asks for once the host is shutting down.
    pub(crate) fn check_open(&self, operation: &'static str) -> Result<()> {
        if self.closing.load(Ordering::Acquire) {
            return Err(WasmError::messaging(operation, MessagingFault::ShuttingDown));
        }
        Ok(())
    }

    /// Counts one more live instance, and the memory that it may take.
    ///
    /// # Errors
    /// [`Limit::LiveInstances`]; [`Limit::Memory`] when all that run might take more than the host allows.
    pub(crate) fn permit_instance(&self, memory: ByteSize) -> Result<LivePermit> {
        let one_more = |live| if live < self.max_instances { Some(live + 1) } else { None };
        self.live_instances.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).map_err(|_| {
            WasmError::limited("start", Limit::LiveInstances)
                .with("limit", self.max_instances)
                .advising("stop a component, or raise `max-instances` of the host")
        })?;
        let (instances, live) = (self.live_instances.clone(), self.live_memory.clone());
        // From here on it is given back.
        let mut permit = LivePermit { instances, live_memory: live, memory: 0 };
        let most = self.max_memory.map_or(u64::MAX, ByteSize::as_u64);
        let more = |live: u64| live.checked_add(memory.as_u64()).filter(|sum| *sum <= most);
        match self.live_memory.fetch_update(Ordering::AcqRel, Ordering::Acquire, more) {
            Ok(_) => {
                permit.memory = memory.as_u64();
                Ok(permit)
            }
            Err(live) => Err(WasmError::limited("start", Limit::Memory)
                .saying("all components that run might take more memory together than the host allows")
                .with("limit", ByteSize::bytes(most))
                .with("taken", ByteSize::bytes(live))
                .with("needed", memory)
                .advising("stop a component, lower its `memory`, or raise `max-memory` of the host")),
        }
    }
}

/// What the host knows of an installed component.
#[derive(Clone, Debug)]
pub struct ComponentInfo {
    /// Its id.
    pub id: ComponentId,
    /// Its version.
    pub version: Version,
    /// The SHA-256 of its binary.
    pub digest: ArtifactDigest,
    /// Where the binary came from.
    pub source: InstallationSource,
    /// What it imports and exports.
    pub interface: WitInterface,
    /// Whether it was compiled now or taken from the cache.
    pub code: CodeOrigin,
}

/// How a component is doing.
#[derive(Clone, Debug)]
pub struct ComponentStatus {
    /// Its id.
    pub id: ComponentId,
    /// Its version.
    pub version: Version,
    /// The SHA-256 of its binary.
    pub digest: ArtifactDigest,
    /// Where the binary came from.
    pub source: InstallationSource,
    /// Where it stands.
    pub state: ComponentState,
    /// Messages waiting for it.
    pub queued: usize,
    /// What it has done since it was started.
    pub statistics: CellStatistics,
}

impl Host {
    /// A host to be configured. With the default features, [`build`](HostBuilder::build) alone gives one with the Wasmtime engine
    /// and a store in memory.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }

    /// The functions that every host offers to components beside those of its engine: what a component is to be loaded with by
    /// who only looks at it.
    pub fn offered_functions() -> Vec<HostFunctionDefinition> {
        offered(&[]).into_iter().map(|function| function.definition.clone()).collect()
    }

    /// Loads and checks a component, and keeps it ready to be started. No code of it runs.
    ///
    /// # Cancellation
    /// Dropping the future installs nothing.
    ///
    /// # Errors
    /// [`ComponentLoadFailed`](ErrorKind::ComponentLoadFailed) with a [`LoadFault`](airssys_wasm_core::error::LoadFault); [`ErrorKind::Io`] when the file cannot be read;
    /// [`Limit::ComponentSize`]; [`CapabilityDenied`](ErrorKind::CapabilityDenied) when the binary is not the one that is
    /// [meant](Installation::digest), or has no [signature](HostBuilder::signatures) that counts; [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) when the id is taken, when the
    /// engine cannot enforce a limit of the component, or when the component asks for a
    /// [supervision](Installation::supervision) or [deployment](Installation::deployment) that the host does not do.
    pub async fn install(&self, installation: Installation) -> Result<ComponentInfo> {
        let shared = &self.0.shared;
        let Installation {
            id,
            version,
            source,
            grants,
            ends,
            config,
            environment,
            limits,
            quota,
            accepts,
            supervision,
            deployment,
            trust,
            digest: meant,
            manifest,
            signature,
        } = installation;
        let fail = |error: WasmError| error.with("component", &id);
        supervision.check_supported().and_then(|()| deployment.check_supported()).map_err(fail)?;
        let limits = limits.unwrap_or_else(|| {
            let mut limits = shared.limits.clone();
            quota.apply(&mut limits);
            limits
        });
        check_enforced(&shared.engine.profile(), &limits).map_err(fail)?;
        self.check_free(&id)?;
        let described = source.describe();
        let (wasm, digest) = artifact::read(source, shared.max_component_size).await.map_err(fail)?;
        check_meant(meant, digest).map_err(fail)?;
        let statement = Statement::about(digest, manifest);
        shared.signatures.check(&id, &statement, signature.as_ref()).map_err(fail)?;
        let metering = if limits.fuel.is_some() { Metering::Fuel } else { Metering::Off };
        let component = match self.loaded(&digest, metering) {
            Some(component) => component,
            None => {
                let registered = shared.extensions.iter().map(|function| function.definition());
                let offered = shared.offered.iter().map(|function| &function.definition);
                let extensions = registered.chain(offered).cloned().collect();
                shared.engine.load(&wasm, LoadOptions { metering, extensions }).await.map_err(fail)?
            }
        };
        check_exports(component.interface()).map_err(fail)?;
        let info = ComponentInfo {
            id: id.clone(),
            version: version.clone(),
            digest,
            source: described.clone(),
            interface: component.interface().clone(),
            code: component.origin(),
        };
        let granted = Grants::new(grants.clone());
        for (capability, end) in &ends {
            granted.grant_until(capability, *end);
        }
        if trust == TrustLevel::Development {
            tracing::warn!(component = %id, "trusted as work in progress: whatever is not forbidden is allowed to it");
        }
        let takes_replies = component.interface().export(interface::REPLIES).is_some();
        let installed = Arc::new(Installed {
            id: id.clone(),
            version,
            digest,
            source: described,
            component,
            limits,
            accepts: accepts.into(),
            given: Arc::new(Given { config, environment: Arc::new(environment) }),
            grants: Arc::new(granted),
            trust,
            takes_replies,
        });
        let mut components = self.components();
        if components.contains_key(&id) {
            return Err(already_installed(&id));
        }
        let component = Component { installed, state: ComponentState::Installed, running: None };
        components.insert(id.clone(), component);
        let gate = &shared.gate;
        gate.happened(&id, HostAct::Installed { version: &info.version, digest: &digest });
        let for_good = grants.iter().filter(|capability| ends.iter().all(|(ends, _)| ends != *capability));
        for_good.for_each(|capability| gate.happened(&id, HostAct::Granted { capability, until: None }));
        for (capability, end) in &ends {
            gate.happened(&id, HostAct::Granted { capability, until: Some(*end) });
        }
        Ok(info)
    }

    /// A running component, looked up once.
    ///
    /// # Errors
    /// [`MessagingFault::UnknownTarget`].
    pub fn component(&self, id: &ComponentId) -> Result<ComponentRef> {
        let cell = self.0.shared.router.route(id)?;
        Ok(ComponentRef::new(cell, self.0.shared.clone()))
    }

    /// Sends a message and does not wait.
    ///
    /// # Errors
    /// [`MessagingFault::UnknownTarget`], [`QueueFull`](MessagingFault::QueueFull), [`TooLarge`](MessagingFault::TooLarge),
    /// [`NotAccepted`](MessagingFault::NotAccepted).
    pub fn send(&self, to: &ComponentId, body: impl Into<Body>) -> Result<MessageId> {
        self.component(to)?.send(body)
    }

    /// Sends a message and waits for the reply, at most as long as the host was built to wait.
    ///
    /// # Cancellation
    /// Dropping the future gives up on the reply; the component may still handle the message.
    ///
    /// # Errors
    /// Those of [`send`](Self::send); [`MessagingFault::Timeout`]; and whatever the handler ended with: see
    /// [`Component::execute`](airssys_wasm_core::runtime::Component::execute).
    pub async fn request(&self, to: &ComponentId, body: impl Into<Body>) -> Result<Body> {
        self.component(to)?.request(body).await
    }

    /// Sends a message to every running component.
    pub fn broadcast(&self, body: impl Into<Body>) -> BroadcastReport {
        self.0.shared.publish(&self.event(None, body.into()))
    }

    /// Sends a message to every component that subscribed to `topic`, and may hear of it.
    pub fn publish(&self, topic: Topic, body: impl Into<Body>) -> BroadcastReport {
        self.0.shared.publish(&self.event(Some(topic), body.into()))
    }

    fn event(&self, topic: Option<Topic>, body: Body) -> Event {
        let id = self.0.shared.message_ids.next();
        Event { id, topic, body, sender: Sender::Host, correlation: None, trace: None }
    }

    /// Grants a capability, from the component's next host call on; false when it was granted before.
    ///
    /// # Errors
    /// [`ComponentNotFound`](ErrorKind::ComponentNotFound).
    pub fn grant(&self, id: &ComponentId, capability: &Capability) -> Result<bool> {
        let is_new = self.installed(id)?.grants.grant(capability);
        if is_new {
            self.0.shared.gate.happened(id, HostAct::Granted { capability, until: None });
        }
        Ok(is_new)
    }

    /// Grants a capability until then by the wall clock, and no longer, whatever was granted before; from the component's next
    /// host call on. False when it was granted until then before. What has ended is denied as such, also to running instances.
    ///
    /// # Errors
    /// [`ComponentNotFound`](ErrorKind::ComponentNotFound).
    pub fn grant_until(&self, id: &ComponentId, capability: &Capability, end: SystemTime) -> Result<bool> {
        let is_new = self.installed(id)?.grants.grant_until(capability, end);
        if is_new {
            self.0.shared.gate.happened(id, HostAct::Granted { capability, until: Some(end) });
        }
        Ok(is_new)
    }

    /// Takes exactly this grant back, from the component's next host call on; false when it was not granted.
    ///
    /// # Errors
    /// [`ComponentNotFound`](ErrorKind::ComponentNotFound).
    pub fn revoke(&self, id: &ComponentId, capability: &Capability) -> Result<bool> {
        let was_granted = self.installed(id)?.grants.revoke(capability);
        if was_granted {
            self.0.shared.gate.happened(id, HostAct::Revoked { capability });
        }
        Ok(was_granted)
    }

    /// How a component is doing.
    ///
    /// # Errors
    /// [`ComponentNotFound`](ErrorKind::ComponentNotFound).
    pub fn status(&self, id: &ComponentId) -> Result<ComponentStatus> {
        let components = self.components();
        components.get(id).map(Component::status).ok_or_else(|| not_installed(id))
    }

    /// How every installed component is doing, in the order of their ids.
    pub fn components_status(&self) -> Vec<ComponentStatus> {
        let mut all: Vec<_> = self.components().values().map(Component::status).collect();
        all.sort_by(|left, right| left.id.cmp(&right.id));
        all
    }

    /// The engine.
    pub fn engine_profile(&self) -> EngineProfile {
        self.0.shared.engine.profile()
    }

    /// The store.
    pub fn storage_profile(&self) -> StorageProfile {
        self.0.shared.store.profile()
    }

    fn components(&self) -> MutexGuard<'_, HashMap<ComponentId, Component>> {
        self.0.components.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn installed(&self, id: &ComponentId) -> Result<Arc<Installed>> {
        self.components()
            .get(id)
            .map(|component| component.installed.clone())
            .ok_or_else(|| not_installed(id))
    }

    /// The compiled code of a binary that is installed under another name, so that all of them share it.
    fn loaded(&self, digest: &ArtifactDigest, metering: Metering) -> Option<ComponentHandle> {
        let is_same = |installed: &&Arc<Installed>| {
            installed.digest == *digest && installed.limits.fuel.is_some() == (metering == Metering::Fuel)
        };
        let components = self.components();
        components
            .values()
            .map(|component| &component.installed)
            .find(is_same)
            .map(|found| found.component.clone())
    }

    fn check_free(&self, id: &ComponentId) -> Result<()> {
        if self.components().contains_key(id) { Err(already_installed(id)) } else { Ok(()) }
    }
}

impl Component {
    fn status(&self) -> ComponentStatus {
        let cell = self.running.as_ref().map(|running| &running.cell);
        ComponentStatus {
            id: self.installed.id.clone(),
            version: self.installed.version.clone(),
            digest: self.installed.digest,
            source: self.installed.source.clone(),
            state: self.state,
            queued: cell.map_or(0, |cell| cell.mailbox().len()),
            statistics: cell.map(|cell| cell.statistics()).unwrap_or_default(),
        }
    }
}

fn not_installed(id: &ComponentId) -> WasmError {
    WasmError::new(ErrorKind::ComponentNotFound, "find").with("component", id).advising("install it first")
}

fn check_meant(meant: Option<ArtifactDigest>, found: ArtifactDigest) -> Result<()> {
    match meant {
        Some(meant) if meant != found => Err(WasmError::new(ErrorKind::CapabilityDenied, "install")
            .saying("the binary is not the one that was approved")
            .with("approved", meant)
            .with("found", found)
            .advising("look at what has changed, and approve the new binary")),
        _ => Ok(()),
    }
}

fn already_installed(id: &ComponentId) -> WasmError {
    WasmError::new(ErrorKind::InvalidConfiguration, "install")
        .saying("a component of this id is installed")
        .with("component", id)
        .advising("choose another id")
}

/// Refuses limits that the engine would silently ignore.
fn check_enforced(profile: &EngineProfile, limits: &ResourceLimits) -> Result<()> {
    let mut needed = vec![
        Limit::Memory,
        Limit::TableElements,
        Limit::Instances,
        Limit::Handles,
        Limit::Transfer,
        Limit::Reply,
    ];
    if limits.fuel.is_some() {
        needed.push(Limit::Fuel);
    }
    let refuse = |what: String| {
        Err(WasmError::new(ErrorKind::InvalidConfiguration, "install")
            .saying(format!("the engine {} {} does not enforce {what}", profile.name, profile.version))
            .advising("choose another engine"))
    };
    match needed.into_iter().find(|limit| !profile.holds(*limit)) {
        Some(limit) => refuse(format!("the limit of {limit}")),
        None if !profile.deadlines => refuse("deadlines".to_owned()),
        None => Ok(()),
    }
}
