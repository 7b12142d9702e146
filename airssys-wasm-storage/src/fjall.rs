//! The fjall store: log-structured trees in a folder, pure Rust.

mod metadata;

use std::fmt;
use std::fs;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use ::fjall::{
    Database, Error as FjallError, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode, Readable,
};
use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::{Result, StorageFault};
use airssys_wasm_core::storage::{Durability, Order, StorageProfile, Survives};

use crate::engine::{EngineError, KeyValueEngine, Write};
use crate::folder::{self, Folder, InFolder};
use crate::opening::{guarded, place};
use crate::store::Store;

const KEYSPACE: &str = "airssys-wasm";
/// So much is kept in memory before it is sorted into the trees; an opening after a crash reads a few times as much again.
const MEMTABLE: u64 = 8 << 20;

/// A store in a folder of fjall's.
///
/// What survives: every commit survives the end of the process as soon as it returns. One with [`Durability::Immediate`] is
/// synchronised before it returns, one with [`Durability::Eventual`] by the next immediate commit, [`sync`], or
/// [`FjallOptions::flush_interval`], whichever comes first. The loss of power is *not* promised to be survived: when it tore writes that
/// were not synchronised yet, one disk in about sixty that the crash tests made could not be opened any more, because an assertion of
/// fjall's recovery fails. Nothing else was found.
///
/// When a write or a synchronisation fails, the store takes no writes until it is opened again. It can be read on.
///
/// fjall takes keys of 1 to 65,536 bytes and values of up to 4 GiB; the limits of every store are lower. A background thread
/// or more sort what was written into the trees; they end when the store is closed.
///
/// [`sync`]: airssys_wasm_core::storage::StorageBackend::sync
pub type FjallStore = Store<FjallEngine>;

/// How a fjall store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FjallOptions {
    /// Memory for cached blocks. What was written and is not sorted into the trees yet comes on top: a gibibyte used
    /// with 16 MiB of cache took 113 MiB.
    pub cache: ByteSize,
    /// How long a commit with [`Durability::Eventual`] may stay without protection from a loss of power.
    pub flush_interval: Duration,
}

impl Default for FjallOptions {
    /// 64 MiB of cache, 100 ms.
    fn default() -> Self {
        Self { cache: airssys_wasm_core::config::default_cache(), flush_interval: Duration::from_millis(100) }
    }
}

impl FjallStore {
    /// Opens the store in the folder at `path`. Makes it when nothing is there, or an empty folder; then the folder above must
    /// be there. A new store appears whole or not at all.
    ///
    /// Blocks: after a crash it reads the journal. In an async program call it on a thread where blocking is allowed.
    ///
    /// # Errors
    /// - [`StorageFault::Locked`] when this or another process has the store open. The end of a process, by any signal, gives
    ///   its stores free.
    /// - [`StorageFault::Format`] when the path is not a folder, or the folder holds something else, another engine's store, or
    ///   one of a later format; it is left as it was.
    /// - [`StorageFault::Damaged`] when the store does not match its checksums, or parts of it are missing.
    /// - [`StorageFault::Io`] when the folder above is missing or the files cannot be read and written.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use airssys_wasm_core::error::{Detail, StorageFault};
    /// use airssys_wasm_core::storage::StorageBackend;
    /// use airssys_wasm_storage::{FjallOptions, FjallStore};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("state");
    /// let store: Arc<dyn StorageBackend> = Arc::new(FjallStore::open(&path, FjallOptions::default())?);
    /// assert_eq!(store.profile().name, "fjall");
    ///
    /// let again = FjallStore::open(&path, FjallOptions::default()).unwrap_err();
    /// assert_eq!(again.detail(), Some(Detail::Storage(StorageFault::Locked)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<Path>, options: FjallOptions) -> Result<Self> {
        folder::open(path.as_ref(), options, options.flush_interval)
    }
}

/// A fjall database with one keyspace: the engine of [`FjallStore`].
#[derive(Debug)]
pub struct FjallEngine {
    place: String,
    /// None once it was closed.
    open: RwLock<Option<Open>>,
}

/// Fields are dropped in this order: the lock comes last.
struct Open {
    keyspace: Keyspace,
    database: Database,
    _folder: Folder,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

impl InFolder for FjallEngine {
    const NAME: &'static str = "fjall";

    type Options = FjallOptions;

    fn start(folder: Folder, options: FjallOptions) -> Result<Self, EngineError> {
        let data = folder.data();
        // fjall would start anew beside what is left.
        let new = fs::read_dir(&data).map_err(folder::io_failed)?.next().is_none();
        if !new && !data.join("version").exists() {
            return Err(EngineError::new(StorageFault::Damaged, "the version file of fjall is missing"));
        }
        if !new {
            metadata::check(&data)?;
        }
        guarded(|| {
            let database =
                Database::builder(&data).cache_size(options.cache.as_u64()).open().map_err(opening_failed)?;
            let keyspace = database
                .keyspace(KEYSPACE, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE))
                .map_err(opening_failed)?;
            let place = place(folder.path());
            Ok(Self { place, open: RwLock::new(Some(Open { keyspace, database, _folder: folder })) })
        })
    }
}

impl FjallEngine {
    fn with<T>(&self, act: impl FnOnce(&Open) -> Result<T, EngineError>) -> Result<T, EngineError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let open = open.as_ref().ok_or_else(EngineError::closed)?;
        guarded(|| act(open))
    }
}

impl KeyValueEngine for FjallEngine {
    fn profile(&self) -> StorageProfile {
        StorageProfile {
            name: Self::NAME,
            engine_version: "3.1",
            persistent: true,
            immediate: Survives::ProcessKill,
            eventual: Survives::ProcessKill,
        }
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn commits_inline(&self) -> bool {
        false
    }

    /// From a snapshot, as a scan: without one, a part of a batch could be seen.
    fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, EngineError> {
        self.with(|open| {
            let value = open.database.snapshot().get(&open.keyspace, key).map_err(failed)?;
            Ok(value.map(|value| read(&value)))
        })
    }

    fn scan(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        order: Order,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.with(|open| {
            let mut range = open.database.snapshot().range::<&[u8], _>(&open.keyspace, (start, end));
            while let Some(entry) = match order {
                Order::Ascending => range.next(),
                Order::Descending => range.next_back(),
            } {
                let (key, value) = entry.into_inner().map_err(failed)?;
                if visit(&key, &value).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn apply(&self, writes: Vec<Write>, durability: Durability) -> Result<(), EngineError> {
        self.with(|open| {
            let mode = match durability {
                Durability::Immediate => PersistMode::SyncAll,
                Durability::Eventual => PersistMode::Buffer,
            };
            let mut batch = open.database.batch().durability(Some(mode));
            for Write { key, value } in writes {
                match value {
                    Some(value) => batch.insert(&open.keyspace, key, value),
                    None => batch.remove(&open.keyspace, key),
                }
            }
            batch.commit().map_err(failed)
        })
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.with(|open| open.database.persist(PersistMode::SyncAll).map_err(failed))
    }

    fn close(&self) -> Result<(), EngineError> {
        let open = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        guarded(|| {
            drop(open);
            Ok(())
        })
    }
}

fn failed(error: FjallError) -> EngineError {
    let fault = match &error {
        FjallError::Io(error) | FjallError::Storage(LsmError::Io(error)) => io_fault(error),
        FjallError::InvalidVersion(_) | FjallError::Storage(LsmError::InvalidVersion(_)) => {
            StorageFault::Format
        }
        FjallError::Locked => StorageFault::Locked,
        // A thread of fjall's failed before, and has said why in the log alone.
        FjallError::Poisoned => StorageFault::Io,
        _ => StorageFault::Damaged,
    };
    EngineError::new(fault, error)
}

/// The mark was there, so what is missing now was there, too.
fn opening_failed(error: FjallError) -> EngineError {
    match &error {
        FjallError::Io(cause) | FjallError::Storage(LsmError::Io(cause))
            if cause.kind() == io::ErrorKind::NotFound =>
        {
            EngineError::new(StorageFault::Damaged, error)
        }
        _ => failed(error),
    }
}

fn io_fault(error: &io::Error) -> StorageFault {
    match error.kind() {
        // fjall reads and seeks where its own files point to.
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            StorageFault::Damaged
        }
        _ => folder::fault(error),
    }
}
