//! How a host is put together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::config::{HostConfig, RuntimeConfig, StorageConfig};
use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use airssys_wasm_core::runtime::{HostFunction, RuntimeEngine};
use airssys_wasm_core::security::{AuditSink, GrantsOnly, SecurityPolicy};
use airssys_wasm_core::storage::{Durability, StorageBackend};
use airssys_wasm_storage::MemoryStore;

use super::{Host, Inner, Shared};
use crate::audit::AuditLog;
use crate::deadlines::Deadlines;
use crate::gate::Gate;
use crate::message_id::MessageIds;
use crate::router::Router;
use crate::services::offered;
use crate::signature::Signatures;
use crate::subscriptions::Subscriptions;

/// How many allowed and how many denied decisions are kept when no other sink is given.
const AUDIT_CAPACITY: usize = 4_096;

/// How long a request of the host waits when nothing else is said.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A host to be configured.
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct HostBuilder {
    config: HostConfig,
    engine: Option<Arc<dyn RuntimeEngine>>,
    store: Option<Arc<dyn StorageBackend>>,
    policy: Option<Arc<dyn SecurityPolicy>>,
    audit: Option<Arc<dyn AuditSink>>,
    extensions: Vec<Arc<dyn HostFunction>>,
    signatures: Signatures,
    request_timeout: Option<Duration>,
}

impl HostBuilder {
    /// Everything that can be written in a file. Engine and store are made from it, unless they are given here.
    pub fn config(mut self, config: HostConfig) -> Self {
        self.config = config;
        self
    }

    /// The engine.
    pub fn engine(mut self, engine: Arc<dyn RuntimeEngine>) -> Self {
        self.engine = Some(engine);
        self
    }

    /// The store. It is closed when the host shuts down.
    pub fn store(mut self, store: Arc<dyn StorageBackend>) -> Self {
        self.store = Some(store);
        self
    }

    /// What decides where neither the forbidden list nor a grant does.
    pub fn policy(mut self, policy: Arc<dyn SecurityPolicy>) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Where decisions of the gate are recorded; an [`AuditLog`] of its own when none is given.
    pub fn audit(mut self, audit: Arc<dyn AuditSink>) -> Self {
        self.audit = Some(audit);
        self
    }

    /// The limits of components that state none of their own.
    pub fn limits(mut self, limits: ResourceLimits) -> Self {
        self.config.runtime.limits = limits;
        self
    }

    /// A function that components may import.
    pub fn extension(mut self, function: Arc<dyn HostFunction>) -> Self {
        self.extensions.push(function);
        self
    }

    /// Whose signatures count, and which components must have one; nobody looks for signatures when nothing is said. They are
    /// verified when a component is installed, over the bytes that are then compiled: what runs is what was verified, however
    /// often it is started again.
    pub fn signatures(mut self, signatures: Signatures) -> Self {
        self.signatures = signatures;
        self
    }

    /// How long requests of the host wait for their replies; 30 s when nothing is said.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = Some(timeout);
        self
    }

    /// Opens the store and makes the host. Its tasks run on the tokio runtime of the caller.
    ///
    /// # Cancellation
    /// Dropping the future makes nothing; a store that was being opened is closed again.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) when there is no engine, when two functions of the
    /// embedder have the same name, or outside of a tokio runtime with timers; those of the store when it cannot be opened.
    pub async fn build(self) -> Result<Host> {
        // Without timers, making one panics: there is no other way to ask.
        let has_timers = || std::panic::catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_ok();
        if tokio::runtime::Handle::try_current().is_err() || !has_timers() {
            return Err(invalid(
                "a host needs a tokio runtime",
                "build it inside of one, with timers enabled",
            ));
        }
        self.check_extensions()?;
        let engine = match self.engine {
            Some(engine) => engine,
            None => default_engine(&self.config.runtime)?,
        };
        let durability =
            self.config.storage.on_disk().map_or(Durability::Immediate, |settings| settings.durability);
        let store = match self.store {
            Some(store) => store,
            None => open_store(self.config.storage).await?,
        };
        let security = self.config.security;
        let gate = Gate::new(
            security.mode,
            security.forbidden.into_iter().collect(),
            self.policy.unwrap_or_else(|| Arc::new(GrantsOnly)),
            self.audit.unwrap_or_else(|| Arc::new(AuditLog::new(AUDIT_CAPACITY))),
        );
        let runtime = self.config.runtime;
        let shared = Shared {
            engine,
            store,
            durability,
            gate,
            router: Router::default(),
            subscriptions: Subscriptions::default(),
            message_ids: MessageIds::new(),
            deadlines: Deadlines::start()?,
            signatures: self.signatures,
            offered: offered(&self.extensions),
            extensions: self.extensions,
            limits: runtime.limits,
            max_component_size: runtime.max_component_size,
            max_instances: runtime.max_instances,
            live_instances: Arc::new(AtomicU32::new(0)),
            max_memory: runtime.max_memory,
            live_memory: Arc::default(),
            next_instance: AtomicU64::new(1),
            request_timeout: self.request_timeout.unwrap_or(REQUEST_TIMEOUT),
            closing: AtomicBool::new(false),
        };
        Ok(Host(Arc::new(Inner { shared: Arc::new(shared), components: Mutex::new(HashMap::new()) })))
    }

    fn check_extensions(&self) -> Result<()> {
        for (position, function) in self.extensions.iter().enumerate() {
            let definition = function.definition();
            let same = |other: &Arc<dyn HostFunction>| {
                let other = other.definition();
                other.interface == definition.interface && other.function.name == definition.function.name
            };
            if self.extensions[..position].iter().any(same) {
                let name = format!("{}#{}", definition.interface, definition.function.name);
                return Err(invalid(
                    format!("the function `{name}` is registered twice"),
                    "register it once",
                ));
            }
        }
        Ok(())
    }
}

fn invalid(message: impl Into<Box<str>>, next_step: &'static str) -> WasmError {
    WasmError::new(ErrorKind::InvalidConfiguration, "build host").saying(message).advising(next_step)
}

#[cfg(feature = "wasmtime")]
fn default_engine(config: &RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> {
    use airssys_wasm_wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};
    let config = WasmtimeConfig {
        max_stack: config.max_stack,
        code_cache: config.code_cache.clone(),
        allocation: Allocation::Pooling { max_instances: config.max_instances },
        ..WasmtimeConfig::default()
    };
    Ok(Arc::new(WasmtimeEngine::new(config)?))
}

#[cfg(all(feature = "wasmer", not(feature = "wasmtime")))]
fn default_engine(config: &RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> {
    use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};
    let config = WasmerConfig {
        max_stack: config.max_stack,
        code_cache: config.code_cache.clone(),
        ..WasmerConfig::default()
    };
    Ok(Arc::new(WasmerEngine::new(config)?))
}

#[cfg(not(any(feature = "wasmtime", feature = "wasmer")))]
fn default_engine(_: &RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> {
    Err(invalid(
        "no engine was given, and none is compiled in",
        "give one, or enable the feature `wasmtime` or `wasmer`",
    ))
}

async fn open_store(config: StorageConfig) -> Result<Arc<dyn StorageBackend>> {
    let opened = tokio::task::spawn_blocking(move || open_blocking(config));
    opened.await.map_err(|failed| WasmError::new(ErrorKind::Internal, "open store").because(failed))?
}

fn open_blocking(config: StorageConfig) -> Result<Arc<dyn StorageBackend>> {
    Ok(match config {
        StorageConfig::Memory => Arc::new(MemoryStore::new()),
        #[cfg(feature = "redb")]
        StorageConfig::Redb(disk) => {
            use airssys_wasm_storage::{RedbOptions, RedbStore};
            Arc::new(RedbStore::open(disk.path, RedbOptions { cache: disk.cache, ..RedbOptions::default() })?)
        }
        #[cfg(feature = "fjall")]
        StorageConfig::Fjall(disk) => {
            use airssys_wasm_storage::{FjallOptions, FjallStore};
            Arc::new(FjallStore::open(
                disk.path,
                FjallOptions { cache: disk.cache, ..FjallOptions::default() },
            )?)
        }
        #[cfg(feature = "sled")]
        StorageConfig::Sled(disk) => {
            use airssys_wasm_storage::{SledOptions, SledStore};
            Arc::new(SledStore::open(disk.path, SledOptions { cache: disk.cache, ..SledOptions::default() })?)
        }
        #[cfg(feature = "rocksdb")]
        StorageConfig::RocksDb(disk) => {
            use airssys_wasm_storage::{RocksDbOptions, RocksDbStore};
            Arc::new(RocksDbStore::open(
                disk.path,
                RocksDbOptions { cache: disk.cache, ..RocksDbOptions::default() },
            )?)
        }
        other => {
            return Err(invalid(
                format!("the store `{}` is not compiled in", other.backend()),
                "enable the Cargo feature of that name, or choose another store",
            ));
        }
    })
}
