//! What most code that uses this crate needs.

pub use crate::capability::{Access, Capability, CapabilityKind, CapabilitySet};
pub use crate::component::{
    ArtifactDigest, ByteSize, ComponentConfig, ComponentId, ComponentInput, ComponentOutput, InstanceId,
    ResourceLimits, Version,
};
pub use crate::error::{Blame, Detail, ErrorKind, Limit, Result, TrapKind, WasmError};
pub use crate::messaging::{Body, Envelope, MessageId, MessageType, Sender};
pub use crate::runtime::{
    CallBudget, Component, ComponentHandle, HostFunction, HostServices, LoadOptions, LoadedComponent,
    Metering, RuntimeEngine, Value,
};
pub use crate::storage::{Batch, Durability, Key, KeyRange, Namespace, StorageBackend};
