//! Engines and what they run: the seam that every WebAssembly runtime implements.
//!
//! Engines only marshal. Every permission, quota and audit decision is taken above them, by the services that the
//! host hands over at instantiation, so that it is the same decision on every engine.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

mod files;
mod services;
mod value;

pub use files::{
    Descriptor, DirectoryEntries, DirectoryEntry, FileKind, FileRefusal, FileService, FileStat, NewTime,
    NoFiles, OpenFlags, SyncScope, Underway, WritePosition,
};
pub use services::{
    Comparison, Entry, Failure, HostFunction, HostFunctionDefinition, HostServices, Listing, LogLevel,
    LoggingService, MessagingRefusal, MessagingService, ServiceResult, StorageRefusal, StorageService,
    StorageUsage, parse_content_type,
};
pub use value::{ExportName, InvalidExportName, ResourceHandle, Value};

use crate::component::{ComponentConfig, ComponentInput, ComponentMetadata, ComponentOutput, ResourceLimits};
use crate::error::{Limit, Result};
use crate::interface::WitInterface;

/// An engine; shared by everything it loads.
#[async_trait]
pub trait RuntimeEngine: fmt::Debug + Send + Sync {
    /// What this engine is, and what it really enforces.
    fn profile(&self) -> EngineProfile;

    /// Validates and compiles a component, off the async threads.
    ///
    /// # Behavior
    /// - Whatever `wasm` holds, this returns; it never panics and never runs guest code.
    /// - Code that was compiled before is taken from the cache, where the engine has one.
    ///
    /// # Cancellation
    /// Dropping the future abandons the result; a compilation under way runs to its end.
    ///
    /// # Errors
    /// [`ComponentLoadFailed`](crate::error::ErrorKind::ComponentLoadFailed) with a
    /// [`LoadFault`](crate::error::LoadFault): not WebAssembly, a core module, truncated, invalid, or imports that neither
    /// this engine nor `options.extensions` provide, each of them named.
    async fn load(&self, wasm: &[u8], options: LoadOptions) -> Result<ComponentHandle>;
}

/// How a component is to be loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Whether its calls can be given fuel.
    pub metering: Metering,
    /// Functions of the embedder that it may import. Instances get their implementations, in this order, through
    /// [`HostServices::extensions`].
    pub extensions: Vec<HostFunctionDefinition>,
}

/// Whether compiled code counts its instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Metering {
    /// Not counted: the faster code.
    #[default]
    Off,
    /// Counted, so that a call can be limited in fuel.
    Fuel,
}

/// A loaded component; cloning copies a pointer.
#[derive(Clone, Debug)]
pub struct ComponentHandle(Arc<dyn LoadedComponent>);

impl ComponentHandle {
    /// Wraps what an engine loaded.
    pub fn new(component: impl LoadedComponent + 'static) -> Self {
        Self(Arc::new(component))
    }
}

impl std::ops::Deref for ComponentHandle {
    type Target = dyn LoadedComponent;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// Compiled code, ready to be instantiated any number of times.
#[async_trait]
pub trait LoadedComponent: fmt::Debug + Send + Sync {
    /// Every import and export, with types.
    fn interface(&self) -> &WitInterface;

    /// Where the compiled code came from.
    fn origin(&self) -> CodeOrigin;

    /// Makes an instance. Start functions of the component run here, under `budget`.
    ///
    /// # Behavior
    /// - The instance shares no memory, table or global with any other.
    /// - Memory, tables and instances are counted from here on against `limits`.
    ///
    /// # Cancellation
    /// Dropping the future ends the start functions and releases everything.
    ///
    /// # Errors
    /// [`ResourceLimitExceeded`](crate::error::ErrorKind::ResourceLimitExceeded) when the component declares more than `limits`
    /// allow; the kinds of [`Component::execute`] when a start function ends badly;
    /// [`InvalidConfiguration`](crate::error::ErrorKind::InvalidConfiguration) when `services` lack an extension that the
    /// component was loaded with, or when `limits` ask for what the engine cannot enforce.
    async fn instantiate(
        &self,
        limits: &ResourceLimits,
        services: HostServices,
        budget: CallBudget,
    ) -> Result<Box<dyn Component>>;
}

/// Where compiled code came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeOrigin {
    /// Compiled now.
    Compiled,
    /// Taken from the compiled-code cache, integrity checked.
    Cache,
}

/// One live instance. `&mut self`: one call at a time, and no call re-enters another.
///
/// # Errors
/// Every call answers with
/// - [`ExecutionFailed`](crate::error::ErrorKind::ExecutionFailed): the guest's own error, with its code; the instance stays usable;
/// - [`ComponentTrapped`](crate::error::ErrorKind::ComponentTrapped), [`ResourceLimitExceeded`](crate::error::ErrorKind::ResourceLimitExceeded)
///   or [`ExecutionTimeout`](crate::error::ErrorKind::ExecutionTimeout): the guest was ended; the instance is poisoned;
/// - [`Actor`](crate::error::ErrorKind::Actor): the instance was poisoned before;
/// - the error of a host service, where that ended the call; the instance is poisoned.
///
/// A trap that follows a refused growth of memory in the same call, and is an `unreachable`, is reported as
/// [`Limit::Memory`], with the trap as its source: it is how a guest's allocator gives up.
///
/// # Cancellation
/// Dropping the future of any call ends the guest there and then, and poisons the instance. Dropping a poisoned
/// instance releases everything it had.
#[async_trait]
pub trait Component: fmt::Debug + Send {
    /// Calls `component.init`.
    async fn init(&mut self, config: &ComponentConfig, budget: CallBudget) -> Result<()>;

    /// Calls `component.execute`, or `replies.handle-reply`.
    ///
    /// # Errors
    /// Those of the trait; also [`Limit::Reply`] for a reply beyond the limit, which poisons the instance as well.
    async fn execute(&mut self, input: ComponentInput, budget: CallBudget) -> Result<ComponentOutput>;

    /// Calls any export by name, with dynamic values.
    ///
    /// # Errors
    /// Those of the trait; also [`ComponentNotFound`](crate::error::ErrorKind::ComponentNotFound) for an export that does not exist and
    /// [`Serialization`](crate::error::ErrorKind::Serialization) for arguments that do not fit, which leave the instance usable.
    async fn call(
        &mut self,
        export: &ExportName,
        arguments: &[Value],
        budget: CallBudget,
    ) -> Result<Option<Value>>;

    /// Calls `component.shutdown`.
    async fn shutdown(&mut self, budget: CallBudget) -> Result<()>;

    /// Calls `component.metadata`.
    async fn metadata(&mut self, budget: CallBudget) -> Result<ComponentMetadata>;

    /// Where the instance stands.
    fn state(&self) -> ExecutionState;

    /// What it has used so far.
    fn usage(&self) -> ResourceUsage;
}

/// Where an instance stands between two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExecutionState {
    /// Takes calls.
    Ready,
    /// Was ended in the middle of a call; takes no more.
    Poisoned,
}

/// What one call may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallBudget {
    /// When it is ended, wherever it is: in guest code, or waiting in a host function. None: never.
    pub deadline: Option<Instant>,
    /// The fuel it has. None: as much as it likes. Only components loaded with [`Metering::Fuel`] can have any.
    pub fuel: Option<NonZeroU64>,
}

impl CallBudget {
    /// No bound at all: for hosts that trust what they call.
    pub const UNBOUNDED: Self = Self { deadline: None, fuel: None };

    /// What `limits` allow a call that starts now.
    pub fn starting_now(limits: &ResourceLimits) -> Self {
        Self { deadline: Instant::now().checked_add(limits.deadline), fuel: limits.fuel }
    }

    /// The same, ending at `deadline` if that is earlier.
    #[must_use]
    pub fn until(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = match (self.deadline, deadline) {
            (Some(left), Some(right)) => Some(left.min(right)),
            (left, right) => left.or(right),
        };
        self
    }
}

/// What an instance has used since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResourceUsage {
    /// Bytes of its linear memories now. Memory never shrinks, so this is also the peak.
    pub memory_bytes: u64,
    /// Elements of its tables now.
    pub table_elements: u64,
    /// Growth of memory or tables that was refused.
    pub refused_growth: u64,
    /// Fuel consumed by all calls; zero where instructions are not counted.
    pub fuel: u64,
    /// Calls into the instance.
    pub calls: u64,
}

/// What an engine is, and what it really enforces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineProfile {
    /// `wasmtime`, `wasmer`.
    pub name: &'static str,
    /// The version of the engine underneath.
    pub version: &'static str,
    /// The limits that hold here. A component whose limits are not all among them is not started.
    pub enforces: &'static [Limit],
    /// Whether a busy guest is ended at its deadline.
    pub deadlines: bool,
    /// The interfaces that components may import, extensions of the embedder aside.
    pub imports: Vec<String>,
}

impl EngineProfile {
    /// Whether the engine holds this limit.
    pub fn holds(&self, limit: Limit) -> bool {
        self.enforces.contains(&limit)
    }
}
