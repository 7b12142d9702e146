//! The sled store: a log of pages in a folder, pure Rust; for data that can be rebuilt.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::{Bound, ControlFlow};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use ::sled::{Batch, Config, Db, Error as SledError};
use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::{Result, StorageFault};
use airssys_wasm_core::storage::{Durability, Order, StorageProfile, Survives};

use crate::engine::{EngineError, KeyValueEngine, Write};
use crate::folder::{self, Folder, InFolder, fault, io_failed};
use crate::opening::{guarded, place, sync_names};
use crate::store::Store;

/// sled's threads may hold its files for a moment after it was dropped.
const RELEASE: Duration = Duration::from_secs(30);
const RELEASE_STEP: Duration = Duration::from_millis(1);

/// A store in a folder of sled's, version 0.34.7.
///
/// sled has a poor record in the field, and its last release is from 2021: keep only data in it that you can rebuild. This store
/// adds what sled was found to lack: it synchronises the files that sled leaves unsynchronised, and opens without sled's
/// snapshot of its log when that is damaged; the snapshot is then set aside in the folder `set-aside`, and a warning is logged.
///
/// What survives: a commit with [`Durability::Immediate`] survives the end of the process and the loss of power as soon as it
/// returns. One with [`Durability::Eventual`] lives in memory until the next immediate commit, [`sync`], or
/// [`SledOptions::flush_interval`], whichever comes first; a crash before that undoes it, and what survives is a prefix.
///
/// When a write or a synchronisation fails, the store takes no writes and answers no reads until it is opened again: sled cannot
/// tell what it holds.
///
/// sled itself sets no limit to keys and values. It has no snapshots: a scan holds up commits until it has its page, and a
/// commit holds up reads until it is in memory. Seven threads of sled's stay for the life of the process, however many stores
/// it opens.
///
/// [`sync`]: airssys_wasm_core::storage::StorageBackend::sync
pub type SledStore = Store<SledEngine>;

/// How a sled store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SledOptions {
    /// Memory for cached pages. sled does not keep to it: a gibibyte used with 16 MiB of cache took 432 MiB.
    pub cache: ByteSize,
    /// How long a commit with [`Durability::Eventual`] may stay undurable.
    pub flush_interval: Duration,
}

impl Default for SledOptions {
    /// 64 MiB of cache, 100 ms.
    fn default() -> Self {
        Self { cache: airssys_wasm_core::config::default_cache(), flush_interval: Duration::from_millis(100) }
    }
}

impl SledStore {
    /// Opens the store in the folder at `path`. Makes it when nothing is there, or an empty folder; then the folder above must
    /// be there. A new store appears whole or not at all.
    ///
    /// Blocks: it reads the log behind the last snapshot, after a crash all of it at worst. In an async program call it on a
    /// thread where blocking is allowed.
    ///
    /// # Errors
    /// - [`StorageFault::Locked`] when this or another process has the store open. The end of a process, by any signal, gives
    ///   its stores free.
    /// - [`StorageFault::Format`] when the path is not a folder, or the folder holds something else, another engine's store, or
    ///   one of a later format; it is left as it was.
    /// - [`StorageFault::Damaged`] when sled cannot read it even without its snapshot, or parts of it are missing. sled may have
    ///   changed files before it noticed. A log that is damaged in the middle mostly passes for one that ends there: the store
    ///   then opens, without an error, with an earlier state.
    /// - [`StorageFault::Io`] when the folder above is missing or the files cannot be read and written.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use airssys_wasm_core::error::{Detail, StorageFault};
    /// use airssys_wasm_core::storage::StorageBackend;
    /// use airssys_wasm_storage::{SledOptions, SledStore};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("state");
    /// let store: Arc<dyn StorageBackend> = Arc::new(SledStore::open(&path, SledOptions::default())?);
    /// assert_eq!(store.profile().name, "sled");
    ///
    /// let again = SledStore::open(&path, SledOptions::default()).unwrap_err();
    /// assert_eq!(again.detail(), Some(Detail::Storage(StorageFault::Locked)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open(path: impl AsRef<Path>, options: SledOptions) -> Result<Self> {
        folder::open(path.as_ref(), options, options.flush_interval)
    }
}

/// A sled database, of which one tree is used: the engine of [`SledStore`].
#[derive(Debug)]
pub struct SledEngine {
    place: String,
    /// Written while a batch is applied: sled shows it to readers piece by piece.
    state: RwLock<State>,
}

#[derive(Debug)]
enum State {
    Open(Open),
    /// After a failed write.
    Failed(StorageFault, String),
    Closed,
}

struct Open {
    database: Db,
    files: Files,
    folder: Folder,
}

impl fmt::Debug for Open {
    // sled would show all that it holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").finish_non_exhaustive()
    }
}

impl InFolder for SledEngine {
    const NAME: &'static str = "sled";

    type Options = SledOptions;

    fn start(folder: Folder, options: SledOptions) -> Result<Self, EngineError> {
        let data = folder.data();
        let database = match read(&data, options) {
            Err(error) if error.fault == StorageFault::Damaged => read_anew(&folder, options, error)?,
            read => read?,
        };
        let files = Files::of(&data).map_err(io_failed)?;
        files.settle().map_err(io_failed)?;
        let place = place(folder.path());
        Ok(Self { place, state: RwLock::new(State::Open(Open { database, files, folder })) })
    }
}

impl SledEngine {
    fn reading<T>(&self, act: impl FnOnce(&Open) -> Result<T, EngineError>) -> Result<T, EngineError> {
        act_on(&self.state.read().unwrap_or_else(PoisonError::into_inner), act)
    }

    /// What failed is given up: sled would go on with what it has in memory.
    fn settled(&self, outcome: Result<(), EngineError>) -> Result<(), EngineError> {
        if let Err(error) = &outcome {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if matches!(*state, State::Open(_)) {
                let failed = State::Failed(error.fault, error.cause.to_string());
                if let State::Open(open) = std::mem::replace(&mut *state, failed) {
                    // The failure to report is the first one.
                    let _ = open.release();
                }
            }
        }
        outcome
    }
}

impl KeyValueEngine for SledEngine {
    fn profile(&self) -> StorageProfile {
        StorageProfile {
            name: Self::NAME,
            engine_version: "0.34.7",
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
        self.reading(|open| {
            let value = open.database.get(key).map_err(failed)?;
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
        self.reading(|open| {
            let mut range = open.database.range::<&[u8], _>((start, end));
            while let Some(entry) = match order {
                Order::Ascending => range.next(),
                Order::Descending => range.next_back(),
            } {
                let (key, value) = entry.map_err(failed)?;
                if visit(&key, &value).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn apply(&self, writes: Vec<Write>, durability: Durability) -> Result<(), EngineError> {
        let mut batch = Batch::default();
        for Write { key, value } in writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        let applied = {
            let state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            act_on(&state, |open| open.database.apply_batch(batch).map_err(failed))
        };
        self.settled(applied)?;
        match durability {
            Durability::Immediate => self.sync(),
            Durability::Eventual => Ok(()),
        }
    }

    fn sync(&self) -> Result<(), EngineError> {
        let synced = self.reading(|open| {
            // What the log points to comes first.
            open.files.sync_blobs().map_err(io_failed)?;
            open.database.flush().map_err(failed)?;
            open.files.log.sync_data().map_err(io_failed)
        });
        self.settled(synced)
    }

    fn close(&self) -> Result<(), EngineError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Closed) {
            State::Open(open) => open.release(),
            State::Failed(..) | State::Closed => Ok(()),
        }
    }
}

fn act_on<T>(state: &State, act: impl FnOnce(&Open) -> Result<T, EngineError>) -> Result<T, EngineError> {
    match state {
        State::Open(open) => guarded(|| act(open)),
        State::Failed(fault, cause) => Err(EngineError::new(*fault, cause.clone())),
        State::Closed => Err(EngineError::closed()),
    }
}

impl Open {
    /// Returns when sled has let go of its files.
    fn release(self) -> Result<(), EngineError> {
        let Self { database, files, folder } = self;
        let released = guarded(|| {
            drop(database);
            Ok(())
        });
        let waited = wait_for_release(&files.log);
        drop(folder);
        released.and(waited)
    }
}

/// The files of a database that sled does not synchronise, or not well enough.
#[derive(Debug)]
struct Files {
    data: PathBuf,
    /// `db`: sled starts and awaits its writing, but neither its length nor the cache of the drive.
    log: File,
    /// The blobs that are durable: values too large for a segment of the log, one file each, written once.
    blobs: Mutex<BTreeSet<OsString>>,
}

impl Files {
    fn of(data: &Path) -> io::Result<Self> {
        let log = OpenOptions::new().read(true).write(true).open(log(data))?;
        Ok(Self { data: data.to_owned(), log, blobs: Mutex::default() })
    }

    /// Makes durable what sled made or repaired while it opened.
    fn settle(&self) -> io::Result<()> {
        // sled takes out of its log what is in a new snapshot: were the log durable first, a loss of power could leave neither.
        for entry in fs::read_dir(&self.data)? {
            let entry = entry?;
            if is_snapshot(&entry.file_name()) {
                File::open(entry.path())?.sync_all()?;
            }
        }
        sync_names(&self.data)?;
        File::open(self.data.join("conf"))?.sync_all()?;
        self.log.sync_all()?;
        self.sync_blobs()?;
        sync_names(&self.data)
    }

    /// Makes the blobs durable that were written since the last time.
    fn sync_blobs(&self) -> io::Result<()> {
        let folder = self.data.join("blobs");
        let mut durable = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = BTreeSet::new();
        let mut new = false;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if !durable.contains(&name) {
                new = true;
                match File::open(entry.path()).and_then(|blob| blob.sync_all()) {
                    // A thread of sled's removes blobs that nothing points to any more.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    synced => synced?,
                }
            }
            found.insert(name);
        }
        if new {
            sync_names(&folder)?;
        }
        *durable = found;
        Ok(())
    }
}

fn log(data: &Path) -> PathBuf {
    data.join("db")
}

fn read(data: &Path, options: SledOptions) -> Result<Db, EngineError> {
    match OpenOptions::new().read(true).write(true).open(log(data)) {
        Ok(log) => wait_for_release(&log)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // sled would start anew beside what is left.
            if fs::read_dir(data).map_err(io_failed)?.next().is_some() {
                return Err(EngineError::new(StorageFault::Damaged, "the log of sled is missing"));
            }
        }
        Err(error) => return Err(io_failed(error)),
    }
    guarded(|| {
        Config::new()
            .path(data)
            .cache_capacity(options.cache.as_u64())
            // The store flushes, and synchronises what sled does not.
            .flush_every_ms(None)
            .open()
            .map_err(|error| match error {
                SledError::Unsupported(_) => EngineError::new(StorageFault::Format, error),
                error => failed(error),
            })
    })
}

/// Opens without the snapshots, which hold nothing that the log does not.
fn read_anew(folder: &Folder, options: SledOptions, damage: EngineError) -> Result<Db, EngineError> {
    let data = folder.data();
    let aside = folder.path().join("set-aside");
    let moved = set_aside(&data, &aside).map_err(io_failed)?;
    if moved.is_empty() {
        return Err(damage);
    }
    match read(&data, options) {
        Ok(database) => {
            tracing::warn!(
                store = %folder.path().display(),
                error = %damage.cause,
                set_aside = ?moved,
                "sled could not be opened with its snapshot, which was set aside in the folder `set-aside`; \
                 the state was read from the log alone"
            );
            Ok(database)
        }
        Err(_) => {
            // It was not the snapshot.
            for name in moved {
                fs::rename(aside.join(&name), data.join(&name)).map_err(io_failed)?;
            }
            Err(damage)
        }
    }
}

fn is_snapshot(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"snap.")
}

/// Moves the snapshots of sled; returns their names.
fn set_aside(data: &Path, aside: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(data)? {
        let name = entry?.file_name();
        if is_snapshot(&name) {
            names.push(name);
        }
    }
    if !names.is_empty() && !aside.is_dir() {
        fs::create_dir(aside)?;
    }
    for name in &names {
        fs::rename(data.join(name), aside.join(name))?;
    }
    Ok(names)
}

/// Waits until no sled has the log open: it locks it, as we do here.
fn wait_for_release(log: &File) -> Result<(), EngineError> {
    let since = Instant::now();
    loop {
        match log.try_lock() {
            Ok(()) => return log.unlock().map_err(io_failed),
            Err(TryLockError::Error(error)) => return Err(io_failed(error)),
            Err(TryLockError::WouldBlock) if since.elapsed() > RELEASE => {
                return Err(EngineError::new(StorageFault::Locked, "sled still has its log open"));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(RELEASE_STEP),
        }
    }
}

fn failed(error: SledError) -> EngineError {
    let fault = match &error {
        SledError::Io(error) => match error.kind() {
            // sled reads what its own log points to.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::NotFound => {
                StorageFault::Damaged
            }
            _ => fault(error),
        },
        SledError::Corruption { .. } | SledError::CollectionNotFound(_) | SledError::ReportableBug(_) => {
            StorageFault::Damaged
        }
        SledError::Unsupported(_) => StorageFault::Io,
    };
    EngineError::new(fault, error)
}
