//! The RocksDB store: a folder, a log-structured tree, for many writes and much data.

use std::fs;
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ::rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, Error as RocksError, ErrorKind,
    LogLevel, Options, ReadOptions, WriteBatch, WriteBufferManager, WriteOptions,
};
use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{Durability, Order, StorageProfile, Survives};

use self::folder::Folder;
use crate::engine::{EngineError, KeyValueEngine, Write};
use crate::store::Store;
use crate::store::format::Found;

mod folder;
mod records;

const OPEN: &str = "storage open";
/// The key of the engine's own: up to which sequence number everything was durable when the group that holds it was written.
/// No store uses the empty key.
const DURABLE: &[u8] = &[];
/// The smallest key of a store.
const FIRST: &[u8] = &[0];

/// A store in a folder, kept by RocksDB.
///
/// What survives: a commit with [`Durability::Immediate`] survives the end of the process and the loss of power as soon as it
/// returns. One with [`Durability::Eventual`] survives the end of the process at once, and the loss of power after the next
/// immediate commit, [`sync`], or [`RocksDbOptions::flush_interval`], whichever comes first; what survives is a prefix.
///
/// When a write or a synchronisation fails, the store takes no writes until it is opened again. It can be read on; what it
/// shows is what opening again would show.
///
/// RocksDB keeps two idle threads from the first opening to the end of the process.
///
/// [`sync`]: airssys_wasm_core::storage::StorageBackend::sync
pub type RocksDbStore = Store<RocksDbEngine>;

/// How a RocksDB store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RocksDbOptions {
    /// Memory for cached blocks, indexes and filters, and for changes that are not in a table yet. A quarter of it is for
    /// the changes; a group of commits that is larger is held beside it until it is written.
    pub cache: ByteSize,
    /// Whether opening reads everything and compares its checksums. Without it a damaged block is noticed when it is read;
    /// it never passes for other data, nor for an absent key.
    pub check_on_open: bool,
    /// How long a commit with [`Durability::Eventual`] may stay undurable.
    pub flush_interval: Duration,
}

impl Default for RocksDbOptions {
    /// 64 MiB of cache, a check on opening, 100 ms.
    fn default() -> Self {
        Self {
            cache: airssys_wasm_core::config::default_cache(),
            check_on_open: true,
            flush_interval: Duration::from_millis(100),
        }
    }
}

impl RocksDbStore {
    /// Opens the store in the folder `path`, or creates it. The folder above must be there.
    ///
    /// Blocks: checking a large store, or taking over what a crash left in its log, reads all of that. In an async program call it
    /// on a thread where blocking is allowed.
    ///
    /// # Errors
    /// The folder is left as it was after the first three.
    /// - [`StorageFault::Locked`] when this or another process has the store open.
    /// - [`StorageFault::Format`] when the path is not a folder, or the folder is empty, not a store, another engine's, or of a
    ///   later format.
    /// - [`StorageFault::Damaged`] when a file is missing or cut short or does not match its checksums, or when the log is damaged
    ///   before its end.
    /// - [`StorageFault::Io`] when the folder above is missing or a file cannot be read and written.
    /// - [`StorageFault::NoSpace`] when the device is full.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use airssys_wasm_core::error::{Detail, StorageFault};
    /// use airssys_wasm_core::storage::StorageBackend;
    /// use airssys_wasm_storage::{RocksDbOptions, RocksDbStore};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("state");
    /// let store: Arc<dyn StorageBackend> = Arc::new(RocksDbStore::open(&path, RocksDbOptions::default())?);
    /// assert_eq!(store.profile().name, "rocksdb");
    ///
    /// let again = RocksDbStore::open(&path, RocksDbOptions::default()).unwrap_err();
    /// assert_eq!(again.detail(), Some(Detail::Storage(StorageFault::Locked)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<Path>, options: RocksDbOptions) -> Result<Self> {
        let path = path.as_ref();
        let refused = |error| explain(path, error);
        let folder = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match Folder::create(path).map_err(refused)? {
                    Some(unfinished) => Self::create(unfinished, path, options)?,
                    None => Folder::open(path).map_err(refused)?,
                }
            }
            _ => Folder::open(path).map_err(refused)?,
        };
        let engine = RocksDbEngine::look(folder, place(path), options).map_err(refused)?;
        Self::over_when(engine, options.flush_interval, |engine, found| {
            if found == Found::Nothing {
                let foreign = EngineError::new(StorageFault::Format, "a RocksDB database without a store");
                return Err(refused(foreign));
            }
            engine.make().map_err(refused)
        })
    }

    /// Makes an empty store aside and gives it its name when it is whole: a crash before that leaves no half of a store.
    fn create(unfinished: Folder, path: &Path, options: RocksDbOptions) -> Result<Folder> {
        let refused = |error| explain(path, error);
        let unfinished = Arc::new(unfinished);
        let made = RocksDbEngine::create(Arc::clone(&unfinished), place(path), options)
            .map_err(refused)
            // Writes the stamp, durably; dropping it closes the database.
            .and_then(|engine| Self::over(engine, options.flush_interval).map(drop));
        if let Err(error) = made {
            // What is left is of no use; if it cannot be removed either, the next attempt takes it up.
            let _ = unfinished.remove();
            return Err(error);
        }
        let unfinished = Arc::into_inner(unfinished);
        unfinished.expect("the engine that shared it was dropped").name(path).map_err(refused)
    }
}

/// A RocksDB database: the engine of [`RocksDbStore`].
#[derive(Debug)]
pub struct RocksDbEngine {
    place: String,
    settings: Settings,
    /// Up to which sequence number everything is known to be durable.
    durable: AtomicU64,
    /// None once it is closed.
    held: RwLock<Option<Held>>,
}

/// What closing releases, the lock last.
#[derive(Debug)]
struct Held {
    database: Database,
    folder: Arc<Folder>,
}

#[derive(Debug)]
enum Database {
    /// Read, and nothing is written yet.
    Looked(DB),
    Open(DB),
    /// After a failed write: what opening again would show, for reading.
    Failed(DB),
    /// After a failed write, when not even that can be read.
    Lost(StorageFault, String),
}

impl RocksDbEngine {
    /// Reads the database without changing a file.
    fn look(folder: Folder, place: String, options: RocksDbOptions) -> Result<Self, EngineError> {
        let settings = Settings::new(options)?;
        let database = settings.read(&folder, DBRecoveryMode::PointInTime)?;
        if folder.vouched()?.is_some_and(|vouched| vouched > database.latest_sequence_number()) {
            return Err(EngineError::new(
                StorageFault::Damaged,
                "tables are missing from the list of tables",
            ));
        }
        if folder.has_log()? {
            check_log(&settings, &folder, &database)?;
        }
        if options.check_on_open {
            read_all(&database)?;
        }
        let durable = AtomicU64::new(database.latest_sequence_number());
        let held = Held { database: Database::Looked(database), folder: Arc::new(folder) };
        Ok(Self { place, settings, durable, held: RwLock::new(Some(held)) })
    }

    /// Makes a new, empty database.
    fn create(folder: Arc<Folder>, place: String, options: RocksDbOptions) -> Result<Self, EngineError> {
        let settings = Settings::new(options)?;
        let database = settings.write(&folder, true)?;
        let durable = AtomicU64::new(database.latest_sequence_number());
        let held = Held { database: Database::Open(database), folder };
        Ok(Self { place, settings, durable, held: RwLock::new(Some(held)) })
    }

    /// Opens for writing what was looked at. What was in the log becomes a durable table.
    fn make(&self) -> Result<(), EngineError> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let Some(Held { database, folder }) = held.take() else { return Err(EngineError::closed()) };
        drop(database);
        let database = self.settings.write(&folder, false)?;
        folder.vouch(database.latest_sequence_number())?;
        self.settled(&database);
        *held = Some(Held { database: Database::Open(database), folder });
        Ok(())
    }

    fn reading<T>(&self, act: impl FnOnce(&DB) -> Result<T, EngineError>) -> Result<T, EngineError> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        match &held.as_ref().ok_or_else(EngineError::closed)?.database {
            Database::Looked(database) | Database::Open(database) | Database::Failed(database) => {
                act(database)
            }
            Database::Lost(fault, cause) => Err(EngineError::new(*fault, cause.clone())),
        }
    }

    /// Acts on the open database. RocksDB keeps in memory what it could not write, and may try again by itself; so after an
    /// error we close it and put what can still be read in its place.
    fn writing(&self, act: impl FnOnce(&DB) -> Result<(), RocksError>) -> Result<(), EngineError> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let outcome = match &held.as_ref().ok_or_else(EngineError::closed)?.database {
            Database::Open(database) => act(database),
            Database::Looked(_) | Database::Failed(_) | Database::Lost(..) => {
                return Err(EngineError::new(StorageFault::ReadOnly, "an earlier write failed"));
            }
        };
        drop(held);
        outcome.map_err(|error| {
            self.read_on();
            failed(error)
        })
    }

    fn read_on(&self) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let Some(Held { database, folder }) = held.take() else { return };
        drop(database);
        let database = match self.settings.read(&folder, DBRecoveryMode::PointInTime) {
            Ok(database) => Database::Failed(database),
            Err(error) => Database::Lost(error.fault, error.cause.to_string()),
        };
        *held = Some(Held { database, folder });
    }

    /// Everything that was written so far is durable.
    fn settled(&self, database: &DB) {
        self.durable.store(database.latest_sequence_number(), Ordering::Relaxed);
    }
}

impl KeyValueEngine for RocksDbEngine {
    fn profile(&self) -> StorageProfile {
        StorageProfile {
            name: "rocksdb",
            engine_version: "11.8",
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
            let value = database.get_pinned(key).map_err(failed)?;
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
        let start = match start {
            Bound::Included(key) => key.max(FIRST).to_vec(),
            Bound::Excluded(key) => behind(key),
            Bound::Unbounded => FIRST.to_vec(),
        };
        let end = match end {
            Bound::Included(key) => Some(behind(key)),
            Bound::Excluded(key) => Some(key.to_vec()),
            Bound::Unbounded => None,
        };
        if end.as_ref().is_some_and(|end| *end <= start) {
            return Ok(());
        }
        self.reading(|database| {
            let mut range = ReadOptions::default();
            range.set_iterate_lower_bound(start);
            if let Some(end) = end {
                range.set_iterate_upper_bound(end);
            }
            // It shows the database as it is now, whatever is written meanwhile.
            let mut records = database.raw_iterator_opt(range);
            match order {
                Order::Ascending => records.seek_to_first(),
                Order::Descending => records.seek_to_last(),
            }
            while let Some((key, value)) = records.item() {
                if visit(key, value).is_break() {
                    return Ok(());
                }
                match order {
                    Order::Ascending => records.next(),
                    Order::Descending => records.prev(),
                }
            }
            records.status().map_err(failed)
        })
    }

    fn apply(&self, writes: Vec<Write>, durability: Durability) -> Result<(), EngineError> {
        let mut batch = WriteBatch::default();
        batch.put(DURABLE, self.durable.load(Ordering::Relaxed).to_be_bytes());
        for Write { key, value } in &writes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        let mut how = WriteOptions::default();
        how.set_sync(durability == Durability::Immediate);
        self.writing(|database| {
            database.write_opt(batch, &how)?;
            // A synchronised write takes everything before it along.
            if durability == Durability::Immediate {
                self.settled(database);
            }
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.writing(|database| {
            database.flush_wal(true)?;
            self.settled(database);
            Ok(())
        })
    }

    /// Writes what is in the log into a table, so that nothing rests on the log while the store is closed.
    fn close(&self) -> Result<(), EngineError> {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        match held.take() {
            Some(Held { database: Database::Open(database), folder }) => {
                let flushed = database.flush().map_err(failed);
                let sequence = database.latest_sequence_number();
                // Before the lock goes.
                drop(database);
                flushed.and_then(|()| folder.vouch(sequence))
            }
            _ => Ok(()),
        }
    }
}

/// What a database is opened with. The memory is the same for each that is opened one after another.
struct Settings {
    options: Options,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}

impl Settings {
    fn new(asked: RocksDbOptions) -> Result<Self, EngineError> {
        // What the binding has no function for. A write that failed is not tried again behind our back; a new table
        // is read once before anything relies on it.
        let mut options = Options::default()
            .get_options_from_string("max_bgerror_resume_count=0;paranoid_file_checks=true")
            .map_err(failed)?;

        let cache = Cache::new_lru_cache(asked.cache.as_usize());
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&cache);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_bloom_filter(10.0, false);
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::Lz4);

        // What is not in a table yet counts as cached. Two buffers: one is filled while the other is written.
        let changes = (asked.cache.as_usize() / 4).max(2 * MIN_BUFFER);
        options.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager_with_cache(
            changes, false, cache,
        ));
        options.set_write_buffer_size(changes / 2);
        options.set_max_write_buffer_number(2);

        options.set_paranoid_checks(true);
        options.set_track_and_verify_wals_in_manifest(true);
        // Not without bound, and then RocksDB does not look for a database that needs no log, and reads that without its checks.
        options.set_max_open_files(500);
        options.set_max_file_opening_threads(1);
        options.set_max_background_jobs(2);

        // Nothing happens by the clock.
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_periodic_compaction_seconds(0);
        options.set_ttl(0);

        // RocksDB's own diary, `LOG`: only what went wrong, and only the last of it.
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(1 << 20);
        options.set_keep_log_file_num(2);
        Ok(Self { options })
    }

    /// Opens for reading; changes no file.
    fn read(&self, folder: &Folder, mode: DBRecoveryMode) -> Result<DB, EngineError> {
        folder.check_logs()?;
        let mut options = self.options.clone();
        options.set_wal_recovery_mode(mode);
        DB::open_for_read_only(&options, folder.path(), false).map_err(opening_failed)
    }

    /// Opens for writing what is there; `new`: what is not there.
    fn write(&self, folder: &Folder, new: bool) -> Result<DB, EngineError> {
        let mut options = self.options.clone();
        options.create_if_missing(new);
        options.set_error_if_exists(new);
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        DB::open(&options, folder.path()).map_err(opening_failed)
    }
}

/// The smallest buffer of changes.
const MIN_BUFFER: usize = 1 << 20;

/// Whether the log was read as far as it is known to have been durable.
///
/// A crash may leave a torn end: parts of the last writes, which nobody was told are durable. Reading therefore stops at the first
/// record that is not whole ([`DBRecoveryMode::PointInTime`]); a stricter mode would refuse to open after a loss of power. But a record
/// that was whole and has been damaged since looks the same, and everything behind it, durable or not, would be forgotten in silence. So each
/// record says up to where everything was durable when it was written. Here we read on behind the damage; when a record there vouches for
/// more than was read before it, it was no torn end.
fn check_log(settings: &Settings, folder: &Folder, database: &DB) -> Result<(), EngineError> {
    let Ok(beyond) = settings.read(folder, DBRecoveryMode::SkipAnyCorruptedRecord) else {
        // Nothing behind the end can be read, so nothing there vouches for anything.
        return Ok(());
    };
    let vouched = beyond.get_pinned(DURABLE).map_err(failed)?;
    let vouched = vouched.and_then(|bytes| bytes[..].try_into().ok().map(u64::from_be_bytes));
    if vouched.is_some_and(|vouched| vouched > database.latest_sequence_number()) {
        return Err(EngineError::new(StorageFault::Damaged, "the log is damaged before its end"));
    }
    Ok(())
}

/// Reads everything, so that every checksum is compared.
fn read_all(database: &DB) -> Result<(), EngineError> {
    let mut once = ReadOptions::default();
    once.fill_cache(false);
    let mut records = database.raw_iterator_opt(once);
    records.seek_to_first();
    while records.valid() {
        records.next();
    }
    records.status().map_err(failed)
}

/// The smallest key behind `key`.
fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

fn failed(error: RocksError) -> EngineError {
    let fault = match error.kind() {
        ErrorKind::Corruption => StorageFault::Damaged,
        ErrorKind::NotSupported => StorageFault::Format,
        _ if says(&error, &["No space left", "Disk quota exceeded", "File too large"]) => {
            StorageFault::NoSpace
        }
        _ if says(&error, &["lock hold by", "While lock file"]) => StorageFault::Locked,
        _ => StorageFault::Io,
    };
    EngineError::new(fault, error)
}

/// In a folder that is a store nothing may be missing.
fn opening_failed(error: RocksError) -> EngineError {
    let fault = match error.kind() {
        ErrorKind::NotFound => StorageFault::Damaged,
        _ if says(&error, &["No such file", "does not exist", "is missing"]) => StorageFault::Damaged,
        // Other column families, another order of keys: somebody else's.
        ErrorKind::InvalidArgument => StorageFault::Format,
        _ => return failed(error),
    };
    EngineError::new(fault, error)
}

/// The binding keeps the class of an error, not its code: what is finer is in the text alone.
fn says(error: &RocksError, any: &[&str]) -> bool {
    any.iter().any(|words| error.as_ref().contains(words))
}

/// Why the store at `path` cannot be opened, and what to do about it.
fn explain(path: &Path, error: EngineError) -> WasmError {
    let missing = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let refused = WasmError::storage(OPEN, error.fault).with("store", place(path)).because(error.cause);
    match missing {
        Some(folder) => refused
            .saying("the folder of the store is missing")
            .advising(format!("Create the folder {}, or choose another path.", folder.display())),
        None => refused.advising(advice(error.fault)),
    }
}

fn advice(fault: StorageFault) -> &'static str {
    match fault {
        StorageFault::Locked => "Close the other opener: one process has a store open at a time, once.",
        StorageFault::Format => "Choose another path: what is there was left as it is.",
        StorageFault::Damaged => "Restore the folder from a copy: it was left as it is.",
        StorageFault::NoSpace => "Free space on the device, then open the store again.",
        _ => "Make sure that this user can read and write the folder, and that the device is well.",
    }
}

fn place(path: &Path) -> String {
    path.display().to_string()
}
