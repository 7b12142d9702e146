//! The redb store: one file, copy-on-write trees, crash safe.

use std::fs;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ::redb::{
    Builder, CommitError, CompactionError, Database, DatabaseError, Durability as RedbDurability,
    ReadableDatabase, StorageError, TableDefinition, TableError, TransactionError,
};
use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{Durability, Order, StorageProfile, Survives};

use self::draft::{Draft, Mounted};
use self::medium::FileMedium;
use crate::engine::{EngineError, KeyValueEngine, Write};
use crate::opening::{OPEN, explain, guarded, place, sync_folder, unfinished};
use crate::store::Store;
use crate::store::format::Found;

mod draft;
mod medium;

pub use self::medium::Medium;

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("airssys-wasm");

/// A store in one redb file.
///
/// What survives: a commit with [`Durability::Immediate`] survives the end of the process and the loss of power as soon as it
/// returns. One with [`Durability::Eventual`] lives in memory until the next immediate commit, [`sync`], or
/// [`RedbOptions::flush_interval`], whichever comes first; a crash before that undoes it, and what survives is a prefix.
///
/// When a write or a synchronisation fails, the store takes no writes until it is opened again. It can be read on; what it
/// shows is what opening again would show, without the commits that were not durable yet.
///
/// [`sync`]: airssys_wasm_core::storage::StorageBackend::sync
pub type RedbStore = Store<RedbEngine>;

/// How a redb store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedbOptions {
    /// Memory for cached pages.
    pub cache: ByteSize,
    /// Whether a durable commit synchronises twice: first the pages, then the mark that makes them current. Without it, whoever
    /// chooses keys and values, and makes the process crash at the right moment, could have a half-written commit pass for a
    /// whole one.
    pub two_phase: bool,
    /// Whether opening reads the whole file and compares its checksums. Without it a damaged file may be noticed late, and a
    /// record whose key was damaged reads as absent.
    pub check_on_open: bool,
    /// How long a commit with [`Durability::Eventual`] may stay undurable.
    pub flush_interval: Duration,
}

impl Default for RedbOptions {
    /// 64 MiB of cache, two-phase commits, a check on opening, 100 ms.
    fn default() -> Self {
        Self {
            cache: airssys_wasm_core::config::default_cache(),
            two_phase: true,
            check_on_open: true,
            flush_interval: Duration::from_millis(100),
        }
    }
}

impl RedbStore {
    /// Opens the store in the file at `path`, or creates it. The folder must be there.
    ///
    /// Blocks: checking a large file, or repairing it after a crash, reads all of it. In an async program call it on a thread
    /// where blocking is allowed.
    ///
    /// # Errors
    /// The file is left as it was after each of them.
    /// - [`StorageFault::Locked`] when this or another process has the store open.
    /// - [`StorageFault::Format`] when the path is not a regular file, or the file is empty, not a store, another engine's, or of
    ///   a later format.
    /// - [`StorageFault::Damaged`] when the file does not match its checksums or is cut short.
    /// - [`StorageFault::Io`] when the folder is missing or the file cannot be read and written.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use airssys_wasm_core::error::{Detail, StorageFault};
    /// use airssys_wasm_core::storage::StorageBackend;
    /// use airssys_wasm_storage::{RedbOptions, RedbStore};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("state.redb");
    /// let store: Arc<dyn StorageBackend> = Arc::new(RedbStore::open(&path, RedbOptions::default())?);
    /// assert_eq!(store.profile().name, "redb");
    ///
    /// let again = RedbStore::open(&path, RedbOptions::default()).unwrap_err();
    /// assert_eq!(again.detail(), Some(Detail::Storage(StorageFault::Locked)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<Path>, options: RedbOptions) -> Result<Self> {
        let path = path.as_ref();
        let refused = |error: EngineError| explain(path, error, advice);
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(path, options),
            Err(error) => Err(refused(EngineError::new(medium::fault(&error), error))),
            Ok(metadata) if metadata.is_dir() => {
                Err(refused(EngineError::new(StorageFault::Format, "a folder, and a redb store is one file")))
            }
            Ok(metadata) if !metadata.is_file() => {
                Err(refused(EngineError::new(StorageFault::Format, "not a regular file")))
            }
            Ok(metadata) if metadata.len() == 0 => {
                // Locked first: whoever has just made it is not to be told that it is broken.
                FileMedium::open(path).map_err(refused)?;
                Err(refused(EngineError::new(StorageFault::Format, "the file is empty; a store never is")))
            }
            Ok(_) => {
                let medium = FileMedium::open(path).map_err(refused)?;
                Self::mount(Arc::new(medium), place(path), options)
            }
        }
    }

    /// Opens the store on `medium`; an empty medium becomes an empty store. For media that are not files, and for tests that
    /// let one fail. Blocks as [`open`](Self::open) does.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(medium: Arc<dyn Medium>, options: RedbOptions) -> Result<Self> {
        Self::mount(medium, "medium".to_owned(), options)
    }

    /// A new store is made under another name and gets its own when it is whole: a crash in between leaves nothing that
    /// could not be opened.
    fn create(path: &Path, options: RedbOptions) -> Result<Self> {
        let refused = |error: EngineError| explain(path, error, advice);
        let failed = |error: io::Error| refused(EngineError::new(medium::fault(&error), error));
        if path.file_name().is_none() {
            return Err(refused(EngineError::new(StorageFault::Format, "not the name of a file")));
        }
        if fs::symlink_metadata(path).is_ok() {
            return Err(refused(EngineError::new(StorageFault::Io, "a link to a file that is not there")));
        }
        let unfinished = unfinished(path);
        let medium = FileMedium::create(&unfinished).map_err(refused)?;
        // Under the lock: nobody else is making it now, but somebody may have finished since we looked.
        if path.exists() {
            drop(medium);
            return Self::open(path, options);
        }
        let made = medium.set_size(0).map_err(failed).and_then(|()| {
            let store = Self::mount(Arc::new(medium), place(path), options)?;
            fs::rename(&unfinished, path).and_then(|()| sync_folder(path)).map_err(failed)?;
            Ok(store)
        });
        if made.is_err() {
            // What is left is of no use; if it cannot be removed either, the next attempt takes it up.
            let _ = fs::remove_file(&unfinished);
        }
        made
    }

    fn mount(medium: Arc<dyn Medium>, place: String, options: RedbOptions) -> Result<Self> {
        let said = place.clone();
        let refused = |error: EngineError| {
            WasmError::storage(OPEN, error.fault)
                .with("store", &said)
                .because(error.cause)
                .advising(advice(error.fault))
        };
        let new = medium.size().map_err(|error| refused(io_failed(error)))? == 0;
        let engine = RedbEngine::open(medium, place, options).map_err(refused)?;
        Self::over_when(engine, options.flush_interval, |engine, found| {
            if found == Found::Nothing && !new {
                let foreign = EngineError::new(StorageFault::Format, "a redb database without a store");
                return Err(refused(foreign));
            }
            engine.make().map_err(refused)
        })
    }
}

/// A redb database: the engine of [`RedbStore`].
#[derive(Debug)]
pub struct RedbEngine {
    place: String,
    options: RedbOptions,
    state: RwLock<State>,
}

#[derive(Debug)]
enum State {
    Open {
        database: Database,
        draft: Arc<Draft>,
    },
    /// After a failed write: what opening again would show, for reading.
    Failed(Database),
    /// After a failed write, when not even that can be read.
    Lost(StorageFault, String),
    Closed,
}

impl RedbEngine {
    /// Opens the database without changing the medium.
    fn open(medium: Arc<dyn Medium>, place: String, options: RedbOptions) -> Result<Self, EngineError> {
        let (database, draft) = read(medium, options, options.check_on_open)?;
        Ok(Self { place, options, state: RwLock::new(State::Open { database, draft }) })
    }

    /// Makes the changes that opening needed, and from now on all others.
    fn make(&self) -> Result<(), EngineError> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open { draft, .. } => draft.make().map_err(io_failed),
            State::Failed(_) | State::Lost(..) | State::Closed => Err(EngineError::closed()),
        }
    }

    fn reading<T>(&self, act: impl FnOnce(&Database) -> Result<T, EngineError>) -> Result<T, EngineError> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open { database, .. } | State::Failed(database) => guarded(|| act(database)),
            State::Lost(fault, cause) => Err(EngineError::new(*fault, cause.clone())),
            State::Closed => Err(EngineError::closed()),
        }
    }

    /// Acts on the open database. After an error redb itself refuses to go on, so we put what can still be read in its place.
    fn writing(&self, act: impl FnOnce(&Database) -> Result<(), EngineError>) -> Result<(), EngineError> {
        let outcome = match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open { database, .. } => guarded(|| act(database)),
            State::Failed(_) | State::Lost(..) => {
                return Err(EngineError::new(StorageFault::ReadOnly, "an earlier write failed"));
            }
            State::Closed => return Err(EngineError::closed()),
        };
        if outcome.is_err() {
            self.read_on();
        }
        outcome
    }

    fn read_on(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State::Open { database, draft } = std::mem::replace(&mut *state, State::Closed) else { return };
        // redb writes what it still can when it is closed, and must not: what failed once is not tried again.
        let medium = draft.cut_off();
        let _ = guarded(|| database.close().map_err(database_failed));
        *state = match read(medium, self.options, false) {
            Ok((database, _)) => State::Failed(database),
            Err(error) => State::Lost(error.fault, error.cause.to_string()),
        };
    }

    fn commit(&self, durability: Durability, writes: &[Write]) -> Result<(), EngineError> {
        self.writing(|database| {
            let mut transaction = database.begin_write().map_err(transaction_failed)?;
            let durability = match durability {
                Durability::Immediate => RedbDurability::Immediate,
                Durability::Eventual => RedbDurability::None,
            };
            transaction
                .set_durability(durability)
                .map_err(|error| EngineError::new(StorageFault::Io, error))?;
            transaction.set_two_phase_commit(self.options.two_phase);
            if !writes.is_empty() {
                let mut table = transaction.open_table(TABLE).map_err(table_failed)?;
                for Write { key, value } in writes {
                    match value {
                        Some(value) => {
                            table.insert(key.as_slice(), value.as_slice()).map_err(storage_failed)?
                        }
                        None => table.remove(key.as_slice()).map_err(storage_failed)?,
                    };
                }
            }
            transaction.commit().map_err(commit_failed)
        })
    }
}

impl KeyValueEngine for RedbEngine {
    fn profile(&self) -> StorageProfile {
        StorageProfile {
            name: "redb",
            engine_version: "4.6",
            persistent: true,
            immediate: Survives::PowerLoss,
            eventual: Survives::PowerLoss,
        }
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn commits_inline(&self) -> bool {
        false
    }

    fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, EngineError> {
        self.reading(|database| {
            let transaction = database.begin_read().map_err(transaction_failed)?;
            let table = match transaction.open_table(TABLE) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(table_failed(error)),
            };
            let value = table.get(key).map_err(storage_failed)?;
            Ok(value.map(|value| read(value.value())))
        })
    }

    fn scan(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        order: Order,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.reading(|database| {
            let transaction = database.begin_read().map_err(transaction_failed)?;
            let table = match transaction.open_table(TABLE) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(()),
                Err(error) => return Err(table_failed(error)),
            };
            let mut range = table.range::<&[u8]>((start, end)).map_err(storage_failed)?;
            while let Some(entry) = match order {
                Order::Ascending => range.next(),
                Order::Descending => range.next_back(),
            } {
                let (key, value) = entry.map_err(storage_failed)?;
                if visit(key.value(), value.value()).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn apply(&self, writes: Vec<Write>, durability: Durability) -> Result<(), EngineError> {
        self.commit(durability, &writes)
    }

    /// A durable commit makes everything before it durable.
    fn sync(&self) -> Result<(), EngineError> {
        self.commit(Durability::Immediate, &[])
    }

    fn compact(&self) -> Result<(), EngineError> {
        // Whoever reads holds the lock: redb compacts when nobody does.
        let outcome = match &mut *self.state.write().unwrap_or_else(PoisonError::into_inner) {
            State::Open { database, .. } => {
                guarded(|| database.compact().map(drop).map_err(compaction_failed))
            }
            State::Failed(_) | State::Lost(..) => {
                return Err(EngineError::new(StorageFault::ReadOnly, "an earlier write failed"));
            }
            State::Closed => return Err(EngineError::closed()),
        };
        if outcome.is_err() {
            self.read_on();
        }
        outcome
    }

    fn close(&self) -> Result<(), EngineError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Closed) {
            State::Open { database, .. } => guarded(|| database.close().map_err(database_failed)),
            State::Failed(_) | State::Lost(..) | State::Closed => Ok(()),
        }
    }
}

/// Opens the database on a draft of `medium`.
fn read(
    medium: Arc<dyn Medium>,
    options: RedbOptions,
    check: bool,
) -> Result<(Database, Arc<Draft>), EngineError> {
    let draft = Arc::new(Draft::hold(medium).map_err(io_failed)?);
    let mounted = Mounted(Arc::clone(&draft));
    let database = guarded(|| {
        let mut builder = Builder::new();
        builder.set_cache_size(options.cache.as_usize()).set_check_integrity_on_open(check);
        builder.create_with_backend(mounted).map_err(database_failed)
    })?;
    Ok((database, draft))
}

fn io_failed(error: io::Error) -> EngineError {
    EngineError::new(medium::fault(&error), error)
}

fn storage_failed(error: StorageError) -> EngineError {
    let fault = match &error {
        StorageError::Io(error) => medium::fault(error),
        StorageError::Corrupted(_) | StorageError::LockPoisoned(_) => StorageFault::Damaged,
        StorageError::ValueTooLarge(_) => StorageFault::TooLarge,
        StorageError::DatabaseClosed => StorageFault::Closed,
        _ => StorageFault::Io,
    };
    EngineError::new(fault, error)
}

fn transaction_failed(error: TransactionError) -> EngineError {
    match error {
        TransactionError::Storage(error) => storage_failed(error),
        error => EngineError::new(StorageFault::Io, error),
    }
}

fn table_failed(error: TableError) -> EngineError {
    match error {
        TableError::Storage(error) => storage_failed(error),
        // Our table, with other types than ours: somebody else's.
        error => EngineError::new(StorageFault::Format, error),
    }
}

fn commit_failed(error: CommitError) -> EngineError {
    match error {
        CommitError::Storage(error) => storage_failed(error),
        error => EngineError::new(StorageFault::Damaged, error),
    }
}

fn compaction_failed(error: CompactionError) -> EngineError {
    match error {
        CompactionError::Storage(error) => storage_failed(error),
        error => EngineError::new(StorageFault::Io, error),
    }
}

fn database_failed(error: DatabaseError) -> EngineError {
    match error {
        DatabaseError::Storage(error) => storage_failed(error),
        DatabaseError::UpgradeRequired(_) => EngineError::new(StorageFault::Format, error),
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            EngineError::new(StorageFault::Locked, error)
        }
        error => EngineError::new(StorageFault::Io, error),
    }
}

fn advice(fault: StorageFault) -> &'static str {
    match fault {
        StorageFault::Locked => "Close the other opener: one process has a store open at a time, once.",
        StorageFault::Format => "Choose another path: what is there was left as it is.",
        StorageFault::Damaged => "Restore the file from a copy: it was left as it is.",
        StorageFault::NoSpace => "Free space on the device, then open the store again.",
        _ => {
            "Make sure that this user can read and write the file and its folder, and that the device is well."
        }
    }
}
