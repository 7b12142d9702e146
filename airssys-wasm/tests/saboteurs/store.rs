//! A correct store with one flaw, or none.

use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use airssys_wasm::core::error::Result;
use airssys_wasm::core::storage::{
    Batch, Change, CommitOutcome, Durability, Key, KeyRange, Namespace, Page, Record, StorageBackend,
    StorageProfile, StorageTransaction, Usage,
};
use async_trait::async_trait;

use crate::flaw::Flaw;

/// The store that was opened last, for flaws of an engine that reach past the host. It is the host that keeps it open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latest(Arc<Mutex<Option<Weak<dyn StorageBackend>>>>);

impl Latest {
    pub(crate) fn set(&self, store: &Arc<dyn StorageBackend>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(store));
    }

    /// Commits past the host.
    pub(crate) async fn commit(&self, batch: Batch) -> Result<CommitOutcome> {
        let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let store = latest.and_then(|store| store.upgrade()).expect("the host has its store open");
        store.commit(batch, Durability::Immediate).await
    }
}

#[derive(Debug)]
pub(crate) struct Store {
    inner: Arc<dyn StorageBackend>,
    flaw: Option<Flaw>,
}

impl Store {
    pub(crate) fn new(inner: Arc<dyn StorageBackend>, flaw: Option<Flaw>) -> Self {
        Self { inner, flaw }
    }

    /// The namespace that this one really is.
    fn name(&self, namespace: &Namespace) -> Result<Namespace> {
        if self.flaw != Some(Flaw::DashesDropped) {
            return Ok(namespace.clone());
        }
        let bytes = namespace.as_bytes().iter().copied();
        Namespace::new(bytes.filter(|byte| *byte != b'-').collect::<Vec<_>>())
    }

    fn named(&self, batch: &Batch) -> Result<Batch> {
        let mut named = Batch::new();
        for namespace in batch.cleared() {
            named.clear(&self.name(namespace)?);
        }
        for requirement in batch.requirements() {
            named.require(
                &self.name(&requirement.namespace)?,
                requirement.key.clone(),
                requirement.precondition,
            );
        }
        for (namespace, quota) in batch.quotas() {
            named.limit(&self.name(namespace)?, *quota);
        }
        for (position, change) in batch.changes().iter().enumerate() {
            let namespace = self.name(change.namespace())?;
            match change.clone() {
                Change::Put { key, value, .. } if batch.is_replaced(position) => {
                    named.replace(&namespace, key, value);
                }
                Change::Put { key, value, .. } => drop(named.put(&namespace, key, value)),
                Change::Delete { key, .. } => drop(named.delete(&namespace, key)),
            }
        }
        Ok(named)
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl StorageBackend for Store {
    fn profile(&self) -> StorageProfile {
        let mut profile = self.inner.profile();
        profile.persistent |= self.flaw == Some(Flaw::ClaimsToPersist);
        profile
    }

    async fn get(&self, namespace: &Namespace, key: &Key) -> Result<Option<Record>> {
        self.inner.get(&self.name(namespace)?, key).await
    }

    async fn scan(&self, namespace: &Namespace, range: KeyRange, limit: usize) -> Result<Page> {
        self.inner.scan(&self.name(namespace)?, range, limit).await
    }

    async fn namespaces(&self, after: Option<&Namespace>, limit: usize) -> Result<Vec<Namespace>> {
        self.inner.namespaces(after, limit).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<CommitOutcome> {
        let batch = match self.flaw {
            Some(Flaw::CommitsLost) => Batch::new(),
            Some(Flaw::DashesDropped) => self.named(&batch)?,
            _ => batch,
        };
        self.inner.commit(batch, durability).await
    }

    async fn begin(&self) -> Result<Box<dyn StorageTransaction>> {
        self.inner.begin().await
    }

    async fn usage(&self, namespace: &Namespace) -> Result<Usage> {
        if self.flaw == Some(Flaw::UsageForgotten) {
            return Ok(Usage::default());
        }
        self.inner.usage(&self.name(namespace)?).await
    }

    async fn sync(&self) -> Result<()> {
        self.inner.sync().await
    }

    async fn close(&self) -> Result<()> {
        if self.flaw == Some(Flaw::ClosingHangs) {
            pending::<()>().await;
        }
        self.inner.close().await
    }
}
