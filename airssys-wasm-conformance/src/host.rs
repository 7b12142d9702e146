//! The contracts of the host, over an engine and a store.
//!
//! They need the feature `host`, which brings the host along. What a backend promises by itself is in [`engine`](crate::engine) and
//! [`storage`](crate::storage); here is what somebody who embeds the two together was promised.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use airssys_wasm::audit::AuditLog;
use airssys_wasm::{Host, HostBuilder, Installation};
use airssys_wasm_core::component::{ComponentConfig, ComponentId, ResourceLimits};
use airssys_wasm_core::config::RuntimeConfig;
use airssys_wasm_core::error::{Detail, ErrorKind, Result, WasmError};
use airssys_wasm_core::runtime::RuntimeEngine;
use airssys_wasm_core::storage::{Key, Namespace, StorageBackend};
use tempfile::TempDir;

use crate::guests::Guest;
use crate::runner::{Bench, Broken, Contract, Outcome, Running, Suite, When, chain, ensure, shown};

mod files;
mod gate;
mod life;
mod matrix;
mod messages;
mod unit_of_work;

pub use matrix::{Cells, Seen, deny_matrix, deny_matrix_table};

/// Every contract of the host, by subject. This is the one list.
const SUBJECTS: [&[Contract<HostBench>]; 6] = [
    gate::CONTRACTS,
    matrix::CONTRACTS,
    files::CONTRACTS,
    unit_of_work::CONTRACTS,
    messages::CONTRACTS,
    life::CONTRACTS,
];

/// Longer than anything here takes on a busy machine; who waits that long says so rather than to hang.
const AMPLE: Duration = Duration::from_secs(30);
/// A deadline that attacks are to meet.
const SHORT: Duration = Duration::from_millis(500);

/// Every contract of the host.
pub fn contracts() -> impl Iterator<Item = &'static Contract<HostBench>> {
    SUBJECTS.into_iter().flatten()
}

/// The contracts of the host, for one engine and one store.
///
/// `engine` makes the engine, once; `open` opens the store in a folder, which is empty the first time, as for
/// [`storage::suite`](crate::storage::suite). Every contract has a host and a folder of its own.
pub fn suite(
    backend: impl Into<String>,
    engine: impl Fn(&RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> + Send + Sync + 'static,
    open: impl Fn(&Path) -> Result<Arc<dyn StorageBackend>> + Send + Sync + 'static,
) -> Suite<HostBench> {
    let made: Mutex<Option<Arc<dyn RuntimeEngine>>> = Mutex::new(None);
    let open: Arc<Open> = Arc::new(open);
    Suite::new(backend, contracts(), move || {
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = match &*made {
            Some(engine) => Arc::clone(engine),
            None => Arc::clone(made.insert(engine(&RuntimeConfig::default())?)),
        };
        HostBench::new(engine, Arc::clone(&open))
    })
}

type Open = dyn Fn(&Path) -> Result<Arc<dyn StorageBackend>> + Send + Sync;

/// An engine, a folder, and how to open a store in it.
pub struct HostBench {
    engine: Arc<dyn RuntimeEngine>,
    folder: Arc<TempDir>,
    open: Arc<Open>,
}

/// What the pair of an engine and a store may or may not offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFeature {
    /// What was committed is still there after a restart of the host.
    Persistent,
}

impl HostBench {
    fn new(engine: Arc<dyn RuntimeEngine>, open: Arc<Open>) -> Outcome<Self> {
        Ok(Self { engine, folder: Arc::new(TempDir::with_prefix("airssys-wasm-conformance-")?), open })
    }

    /// A host over the store as it is now. Making one again, after the first was shut down, is a restart.
    ///
    /// # Errors
    /// Those of the store, and of the host.
    pub async fn start(&self) -> Result<Live> {
        self.start_as(Host::builder()).await
    }

    async fn start_as(&self, builder: HostBuilder) -> Result<Live> {
        let audit = Arc::new(AuditLog::new(10_000));
        let store = self.open_store()?;
        let host = builder
            .engine(Arc::clone(&self.engine))
            .store(Arc::clone(&store))
            .audit(audit.clone())
            .request_timeout(AMPLE)
            .build()
            .await?;
        Ok(Live { host, audit, store })
    }

    /// The same place, for somebody who outlives this borrow.
    fn detached(&self) -> Self {
        Self {
            engine: Arc::clone(&self.engine),
            folder: Arc::clone(&self.folder),
            open: Arc::clone(&self.open),
        }
    }

    fn open_store(&self) -> Result<Arc<dyn StorageBackend>> {
        (self.open)(&self.store_folder())
    }

    fn store_folder(&self) -> PathBuf {
        let folder = self.folder.path().join("store");
        // A folder that is missing after this is an error of the store's own, with its path.
        let _ = std::fs::create_dir(&folder);
        folder
    }
}

/// A host at work, and what can be seen of it from outside.
#[derive(Debug)]
pub struct Live {
    host: Host,
    audit: Arc<AuditLog>,
    store: Arc<dyn StorageBackend>,
}

impl Deref for Live {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Live {
    /// Installs a guest under a name, with these grants, and starts it.
    async fn guest(&self, guest: Guest, name: &str, grants: &[&str]) -> Outcome<ComponentId> {
        self.run(installation(guest, name, grants)?).await
    }

    async fn run(&self, installation: Installation) -> Outcome<ComponentId> {
        let id = installation.id().clone();
        self.host.install(installation).await?;
        self.host.start(&id).await?;
        Ok(id)
    }

    /// Sends a message, and returns the text of the reply.
    async fn ask(&self, to: &ComponentId, text: &str) -> Result<String> {
        let body = self.host.request(to, text).await?;
        Ok(String::from_utf8_lossy(&body.payload).into_owned())
    }

    /// What the store holds for a component, past the host.
    async fn stored(&self, of: &ComponentId, name: &str) -> Outcome<Option<Vec<u8>>> {
        let record = self.store.get(&Namespace::of_component(of), &key(name)).await?;
        Ok(record.map(|record| record.value))
    }

    /// Ends the host in peace, and leaves the store to be opened again.
    async fn end(self) -> Outcome {
        self.host.shutdown(AMPLE).await;
        drop(self.store);
        Ok(())
    }
}

/// A guest under a name, with these grants.
pub(crate) fn installation(guest: Guest, name: &str, grants: &[&str]) -> Outcome<Installation> {
    Ok(granted(Installation::new(id(name), guest.bytes()?), grants))
}

pub(crate) fn granted(installation: Installation, grants: &[&str]) -> Installation {
    grants.iter().fold(installation, |installation, grant| {
        installation.grant(grant.parse().expect("the contracts grant valid capabilities"))
    })
}

pub(crate) fn id(name: &str) -> ComponentId {
    name.parse().expect("the contracts use valid ids")
}

fn key(name: &str) -> Key {
    Key::new(name.as_bytes().to_vec()).expect("the contracts use valid keys")
}

pub(crate) fn config(pairs: &[(&str, &str)]) -> ComponentConfig {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The default limits, but for the time of a call.
fn impatient() -> ResourceLimits {
    ResourceLimits { deadline: SHORT, ..ResourceLimits::default() }
}

/// The default limits, with time for everything on a busy machine.
fn ample() -> ResourceLimits {
    ResourceLimits { deadline: AMPLE, ..ResourceLimits::default() }
}

/// Waits until `condition` holds.
async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> Outcome<bool>) -> Outcome {
    let patience = tokio::time::Instant::now() + AMPLE;
    while !condition().await? {
        ensure!(tokio::time::Instant::now() < patience, "it never came to be that {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Shows that something failed in this way, and no other.
#[track_caller]
fn failed<T: fmt::Debug>(
    result: Result<T>,
    kind: ErrorKind,
    detail: Option<Detail>,
    what: &str,
) -> Outcome<WasmError> {
    match result {
        Err(error) if error.kind() == kind && (detail.is_none() || error.detail() == detail) => Ok(error),
        Err(error) => {
            let (found, error) = ((error.kind(), error.detail()), chain(&error));
            Err(Broken::new(format!(
                "{what}: {kind:?}, {detail:?} was expected, the error is {found:?}: {error}"
            )))
        }
        Ok(answer) => {
            Err(Broken::new(format!("{what}: {kind:?} was expected, the answer is {}", shown(&answer))))
        }
    }
}

impl Bench for HostBench {
    type Feature = HostFeature;

    fn offers(&self, feature: HostFeature) -> Running<'_, bool> {
        Box::pin(async move {
            let store = self.open_store()?;
            let profile = store.profile();
            store.close().await?;
            match feature {
                HostFeature::Persistent => Ok(profile.persistent),
            }
        })
    }

    /// A host over a store that does not persist says so, and begins anew.
    fn refuses(&self, feature: HostFeature) -> Running<'_> {
        Box::pin(async move {
            let HostFeature::Persistent = feature;
            for _ in 0..2 {
                let live = self.start().await?;
                ensure!(!live.storage_profile().persistent, "the host claims to persist");
                let counter = live.guest(Guest::Counter, "acme/counter", &["storage:acme/counter"]).await?;
                let count = live.ask(&counter, "increment").await?;
                ensure!(count == "1", "the count is {count} after a restart without persistence");
                live.end().await?;
            }
            Ok(())
        })
    }
}

impl fmt::Debug for HostBench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBench").field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}
