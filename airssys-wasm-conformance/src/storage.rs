//! The contracts of stores.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use airssys_wasm_core::error::{Detail, Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, CommitOutcome, Durability, Key, KeyRange, Namespace, Page, Precondition, StorageBackend, Survives,
};
use tempfile::TempDir;

use crate::runner::{Bench, Broken, Contract, Outcome, Running, Suite, ensure, ensure_eq};

mod commit;
mod life;
mod model;
mod namespaces;
mod quota;
mod reading;
mod scan;
mod transaction;

/// Every contract of stores, by subject. This is the one list.
const SUBJECTS: [&[Contract<StorageBench>]; 8] = [
    reading::CONTRACTS,
    scan::CONTRACTS,
    namespaces::CONTRACTS,
    commit::CONTRACTS,
    quota::CONTRACTS,
    transaction::CONTRACTS,
    life::CONTRACTS,
    model::CONTRACTS,
];

/// Every contract of stores.
pub fn contracts() -> impl Iterator<Item = &'static Contract<StorageBench>> {
    SUBJECTS.into_iter().flatten()
}

/// The contracts of stores, for one store.
///
/// `open` opens the store in a folder of its own, which exists, and is empty the first time. The folder is removed
/// afterwards. A store that keeps nothing in files leaves it alone.
pub fn suite(
    backend: impl Into<String>,
    open: impl Fn(&Path) -> Result<Arc<dyn StorageBackend>> + Send + Sync + 'static,
) -> Suite<StorageBench> {
    let open: Arc<Open> = Arc::new(open);
    Suite::new(backend, contracts(), move || {
        let folder = TempDir::with_prefix("airssys-wasm-conformance-")?;
        Ok(StorageBench { folder, open: Arc::clone(&open) })
    })
}

type Open = dyn Fn(&Path) -> Result<Arc<dyn StorageBackend>> + Send + Sync;

/// A folder, and how to open a store in it.
pub struct StorageBench {
    folder: TempDir,
    open: Arc<Open>,
}

/// What stores may or may not offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageFeature {
    /// What was written is still there after a restart.
    Persistent,
}

impl StorageBench {
    /// Opens the store.
    ///
    /// # Errors
    /// Those of the store.
    pub fn open(&self) -> Result<Arc<dyn StorageBackend>> {
        (self.open)(&self.main_folder())
    }

    /// Closes the store, and opens it again.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn reopen(&self, store: Arc<dyn StorageBackend>) -> Result<Arc<dyn StorageBackend>> {
        store.close().await?;
        drop(store);
        self.open()
    }

    /// Opens a copy of the files as they are now: what the end of the process by a signal would leave behind.
    fn open_after_kill(&self, name: &str) -> Outcome<Arc<dyn StorageBackend>> {
        let copy = self.folder.path().join(name);
        copy_folder(&self.main_folder(), &copy)?;
        Ok((self.open)(&copy)?)
    }

    fn main_folder(&self) -> PathBuf {
        let folder = self.folder.path().join("store");
        // A folder that is missing after this is an error of the store's own, with its path.
        let _ = std::fs::create_dir(&folder);
        folder
    }
}

fn copy_folder(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&source, &copy)?;
        } else {
            std::fs::copy(source, copy)?;
        }
    }
    Ok(())
}

impl Bench for StorageBench {
    type Feature = StorageFeature;

    fn offers(&self, feature: StorageFeature) -> Running<'_, bool> {
        Box::pin(async move {
            let store = self.open()?;
            let profile = store.profile();
            store.close().await?;
            match feature {
                StorageFeature::Persistent => Ok(profile.persistent),
            }
        })
    }

    fn refuses(&self, feature: StorageFeature) -> Running<'_> {
        Box::pin(async move {
            match feature {
                StorageFeature::Persistent => self.forgets().await,
            }
        })
    }
}

impl StorageBench {
    /// A store that does not persist says that its commits survive nothing, and starts empty.
    async fn forgets(&self) -> Outcome {
        let store = self.open()?;
        let profile = store.profile();
        ensure_eq!(
            profile.immediate,
            Survives::Nothing,
            "what `Immediate` survives in a store without persistence"
        );
        ensure_eq!(
            profile.eventual,
            Survives::Nothing,
            "what `Eventual` survives in a store without persistence"
        );
        let space = namespace("space");
        put(&store, &space, "key", "value").await?;
        let store = self.reopen(store).await?;
        let found = read(&store, &space, "key").await?;
        ensure!(found.is_none(), "the store says that it does not persist, and a restart kept a value");
        Ok(())
    }
}

impl std::fmt::Debug for StorageBench {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StorageBench").field("folder", &self.folder.path()).finish_non_exhaustive()
    }
}

type Store = Arc<dyn StorageBackend>;

fn namespace(name: impl AsRef<[u8]>) -> Namespace {
    Namespace::new(name).expect("the contracts use names that are valid")
}

fn key(bytes: impl AsRef<[u8]>) -> Key {
    Key::new(bytes.as_ref().to_vec()).expect("the contracts use keys that are valid")
}

/// A batch of one change.
fn putting(space: &Namespace, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Batch {
    let mut batch = Batch::new();
    batch.put(space, key(name), value.as_ref());
    batch
}

fn deleting(space: &Namespace, name: impl AsRef<[u8]>) -> Batch {
    let mut batch = Batch::new();
    batch.delete(space, key(name));
    batch
}

fn requiring(mut batch: Batch, space: &Namespace, name: impl AsRef<[u8]>, what: Precondition) -> Batch {
    batch.require(space, key(name), what);
    batch
}

async fn put(
    store: &Store,
    space: &Namespace,
    name: impl AsRef<[u8]>,
    value: impl AsRef<[u8]>,
) -> Result<CommitOutcome> {
    store.commit(putting(space, name, value), Durability::Eventual).await
}

async fn read(store: &Store, space: &Namespace, name: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
    Ok(store.get(space, &key(name)).await?.map(|record| record.value))
}

/// Every key and value of a range, page by page.
async fn read_all(store: &Store, space: &Namespace, range: KeyRange, limit: usize) -> Outcome<Vec<Pair>> {
    let mut all = Vec::new();
    let mut rest = range;
    loop {
        let Page { records, more } = store.scan(space, rest.clone(), limit).await?;
        let last = records.last().map(|(key, _)| key.clone());
        all.extend(records.into_iter().map(|(key, record)| (key.into_bytes(), record.value)));
        match (more, last) {
            (false, _) => return Ok(all),
            (true, None) => return Err(Broken::new("a page without a record says that there is more")),
            (true, Some(last)) => rest = rest.after(last.as_bytes()),
        }
    }
}

type Pair = (Vec<u8>, Vec<u8>);

/// What a namespace holds, counted anew.
async fn recount(store: &Store, space: &Namespace) -> Outcome<airssys_wasm_core::storage::Usage> {
    let all = read_all(store, space, KeyRange::all(), 100).await?;
    let overhead = airssys_wasm_core::storage::RECORD_OVERHEAD;
    let bytes = all.iter().map(|(key, value)| key.len() as u64 + value.len() as u64 + overhead).sum();
    Ok(airssys_wasm_core::storage::Usage { bytes, keys: all.len() as u64 })
}

/// Shows that something was refused, and why.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, fault: StorageFault, what: &str) -> Outcome<WasmError> {
    match result {
        Err(error) if error.detail() == Some(Detail::Storage(fault)) => Ok(error),
        Err(error) => Err(Broken::new(format!("{what}: {fault:?} was expected, the error was {error}"))),
        Ok(answer) => Err(Broken::new(format!(
            "{what}: {fault:?} was expected, the answer was {}",
            crate::runner::shown(&answer)
        ))),
    }
}
