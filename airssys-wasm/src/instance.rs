//! One live instance as the host sees it: who it is, what it may, and what its handler has done so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use airssys_wasm_core::capability::Access;
use airssys_wasm_core::component::{ComponentId, ResourceLimits};
use airssys_wasm_core::error::{Limit, Result, WasmError};
use airssys_wasm_core::messaging::{Body, Envelope, MessageId, MessageType, Sender};
use airssys_wasm_core::runtime::{HostFunction, HostServices};
use airssys_wasm_core::security::SecurityContext;
use airssys_wasm_core::storage::{Namespace, Quota};

use crate::cell::Cell;
use crate::extension::GatedFunction;
use crate::files::OpenFiles;
use crate::gate::{Denial, Grants};
use crate::host::Shared;
use crate::installation::Given;
use crate::services::GrantedFiles;
use crate::unit_of_work::UnitOfWork;

/// What the services of one instance share. They are this type, once for each trait.
#[derive(Debug)]
pub(crate) struct InstanceContext {
    pub(crate) security: SecurityContext,
    pub(crate) grants: Arc<Grants>,
    pub(crate) cell: Arc<Cell>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) namespace: Namespace,
    /// Whether it exports `replies`.
    pub(crate) takes_replies: bool,
    pub(crate) given: Arc<Given>,
    pub(crate) open_files: Arc<OpenFiles>,
    host_calls: AtomicU64,
    unit: Mutex<UnitOfWork>,
}

impl InstanceContext {
    pub(crate) fn new(
        security: SecurityContext,
        grants: Arc<Grants>,
        cell: Arc<Cell>,
        shared: Arc<Shared>,
        takes_replies: bool,
        given: Arc<Given>,
    ) -> Arc<Self> {
        let namespace = Namespace::of_component(security.component());
        Arc::new(Self {
            security,
            grants,
            cell,
            shared,
            namespace,
            takes_replies,
            given,
            open_files: Arc::default(),
            host_calls: AtomicU64::new(0),
            unit: Mutex::default(),
        })
    }

    pub(crate) fn id(&self) -> &ComponentId {
        self.security.component()
    }

    pub(crate) fn limits(&self) -> &ResourceLimits {
        self.cell.limits()
    }

    pub(crate) fn quota(&self) -> Quota {
        Quota { bytes: self.limits().storage_bytes.as_u64(), keys: self.limits().storage_keys }
    }

    /// The services that this instance is given.
    pub(crate) fn services(self: &Arc<Self>) -> HostServices {
        HostServices {
            logging: self.clone(),
            messaging: self.clone(),
            storage: self.clone(),
            files: Arc::new(GrantedFiles(self.clone())),
            environment: Arc::clone(&self.given.environment),
            extensions: self.extensions().collect(),
        }
    }

    /// The functions of the embedder, and those that every host offers, in the order of their definitions.
    fn extensions(self: &Arc<Self>) -> impl Iterator<Item = Arc<dyn HostFunction>> {
        let registered = self.shared.extensions.iter().map(|function| GatedFunction::guard(function, self));
        registered.chain(self.shared.offered.iter().map(|function| function.bind(self)))
    }

    /// The unit of work of the handler that runs. Never held across an await or a call of the guest.
    pub(crate) fn unit(&self) -> MutexGuard<'_, UnitOfWork> {
        self.unit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a handler: its unit of work is empty, and it has made no host call.
    pub(crate) fn begin(&self, begin: impl FnOnce(&mut UnitOfWork)) {
        self.host_calls.store(0, Ordering::Relaxed);
        begin(&mut self.unit());
    }

    /// Counts a call of the guest to the host; every service does this first.
    ///
    /// # Errors
    /// [`Limit::HostCalls`], which ends the guest's call.
    pub(crate) fn count_host_call(&self) -> Result<()> {
        let calls = self.host_calls.load(Ordering::Relaxed) + 1;
        self.host_calls.store(calls, Ordering::Relaxed);
        if calls <= self.limits().host_calls {
            return Ok(());
        }
        Err(WasmError::limited("host call", Limit::HostCalls)
            .with("component", &self.security.instance)
            .with("limit", self.limits().host_calls))
    }

    /// Asks the gate.
    pub(crate) fn demand(&self, access: Access<'_>) -> Result<(), Denial> {
        self.shared.gate.demand(&self.security, &self.grants, access)
    }

    /// A message from this component, belonging to what it handles now.
    pub(crate) fn envelope(&self, kind: MessageType, body: Body) -> Envelope {
        let unit = self.unit();
        Envelope {
            id: self.shared.message_ids.next(),
            kind,
            sender: Sender::Component(self.id().clone()),
            topic: None,
            correlation: unit.handling,
            body,
            sent_at: SystemTime::now(),
            deadline: None,
            attempt: 1,
            trace: unit.trace.clone(),
        }
    }

    /// A new id for a message of this component.
    pub(crate) fn next_message_id(&self) -> MessageId {
        self.shared.message_ids.next()
    }
}
