//! A store in a folder: a mark that says whose it is, and the engine's own files beside it.
//!
//! Engines change files while they open. The mark is read first, so that a folder that is not ours, or is of a later format, stays
//! as it was. It also carries the lock. A new store is made under another name and gets its own when it is whole.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm_core::error::{Result, StorageFault};
use airssys_wasm_core::storage::Durability;

use crate::engine::{EngineError, KeyValueEngine};
use crate::opening::{explain, place, sync_folder, sync_names, unfinished};
use crate::store::Store;
use crate::store::format::{self, Found};

const MARK: &str = "airssys-wasm";
const DATA: &str = "data";
/// A mark has a few dozen bytes; what is longer is none.
const MAX_MARK: u64 = 1 << 10;

/// The folder of a store, which nobody else has open: the operating system keeps the lock, and drops it with the process.
/// It is held until the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    mark: Arc<Mark>,
}

#[derive(Debug)]
struct Mark(File);

impl Drop for Mark {
    fn drop(&mut self) {
        // A child process that is just being started has the file open, too; closing ours would not be enough.
        let _ = self.0.unlock();
    }
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the engine's files are.
    pub(crate) fn data(&self) -> PathBuf {
        self.path.join(DATA)
    }

    /// Locks the mark, once it was opened.
    fn lock(path: &Path, opened: io::Result<File>) -> Result<Self, EngineError> {
        let mark = opened.map_err(io_failed)?;
        match mark.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), mark: Arc::new(Mark(mark)) }),
            Err(TryLockError::WouldBlock) => {
                Err(EngineError::new(StorageFault::Locked, "the folder is locked by another opener"))
            }
            Err(TryLockError::Error(cause)) => Err(io_failed(cause)),
        }
    }

    fn read_mark(&self) -> io::Result<Vec<u8>> {
        let mut mark = Vec::new();
        (&self.mark.0).take(MAX_MARK).read_to_end(&mut mark)?;
        Ok(mark)
    }
}

/// What an engine in a folder is.
pub(crate) trait InFolder: KeyValueEngine + Sized {
    /// The name in its profile.
    const NAME: &'static str;

    type Options: Copy;

    /// Opens the database in the folder of `folder` for its data; makes one when that is empty.
    /// `folder` is kept until everything else was released.
    fn start(folder: Folder, options: Self::Options) -> Result<Self, EngineError>;
}

/// Opens the store in the folder at `path`. Makes it when nothing is there, or an empty folder.
pub(crate) fn open<E: InFolder>(
    path: &Path,
    options: E::Options,
    flush_interval: Duration,
) -> Result<Store<E>> {
    let refused = |error: EngineError| explain(path, error, advice);
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path, options, flush_interval),
        Err(error) => Err(refused(io_failed(error))),
        Ok(metadata) if !metadata.is_dir() => {
            let message = format!("not a folder, and a {} store is one", E::NAME);
            Err(refused(EngineError::new(StorageFault::Format, message)))
        }
        Ok(_) => match OpenOptions::new().read(true).write(true).open(path.join(MARK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if holds_nothing(path).map_err(|error| refused(io_failed(error)))? {
                    return create(path, options, flush_interval);
                }
                Err(refused(EngineError::new(StorageFault::Format, "a folder that is not a store")))
            }
            opened => {
                let folder = Folder::lock(path, opened).map_err(refused)?;
                take(folder, options, flush_interval)
            }
        },
    }
}

/// Opens a store that was made whole before.
fn take<E: InFolder>(folder: Folder, options: E::Options, flush_interval: Duration) -> Result<Store<E>> {
    let path = folder.path().to_owned();
    let refused = |error: EngineError| explain(&path, error, advice);
    let damaged = |message| refused(EngineError::new(StorageFault::Damaged, message));
    let mark = folder.read_mark().map_err(|error| refused(io_failed(error)))?;
    format::judge(&mark, E::NAME, &place(&path))?;
    let data = folder.data();
    match data.is_dir() {
        // An engine would start anew in an empty folder.
        true if holds_nothing(&data).map_err(|error| refused(io_failed(error)))? => {
            return Err(damaged("the files of the engine are missing"));
        }
        true => {}
        false => return Err(damaged("the folder of the engine is missing")),
    }
    let engine = E::start(folder, options).map_err(refused)?;
    sync_tree(&data).map_err(|error| refused(io_failed(error)))?;
    Store::over_when(engine, flush_interval, |_, found| match found {
        Found::Store => Ok(()),
        // It had its stamp before it got its name.
        Found::Nothing => Err(damaged("the engine has lost everything")),
    })
}

fn create<E: InFolder>(path: &Path, options: E::Options, flush_interval: Duration) -> Result<Store<E>> {
    let refused = |error: EngineError| explain(path, error, advice);
    let failed = |error: io::Error| refused(io_failed(error));
    if path.file_name().is_none() {
        return Err(refused(EngineError::new(StorageFault::Format, "not the name of a folder")));
    }
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(refused(EngineError::new(StorageFault::Io, "a link, and there is no store behind it")));
    }
    let new = unfinished(path);
    match fs::create_dir(&new) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed)?,
    }
    if !holds_only_ours(&new).map_err(failed)? {
        let message = format!("the folder {} is in the way", new.display());
        return Err(refused(EngineError::new(StorageFault::Format, message)));
    }
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(new.join(MARK));
    let folder = Folder::lock(&new, opened).map_err(refused)?;
    // Under the lock: nobody else is making it now, but somebody may have finished since we looked.
    if path.join(MARK).exists() {
        drop(folder);
        return open(path, options, flush_interval);
    }
    if let Err(error) = make::<E>(&folder, options)
        .and_then(|()| fs::rename(&new, path).and_then(|()| sync_folder(path)).map_err(io_failed))
    {
        // What is left is of no use; if it cannot be removed either, the next attempt takes it up.
        let _ = fs::remove_dir_all(&new);
        return Err(refused(error));
    }
    // Engines remember where they were opened, so this one is opened again; under the lock that it was made with.
    let folder = Folder { path: path.to_owned(), ..folder };
    (&folder.mark.0).rewind().map_err(failed)?;
    take(folder, options, flush_interval)
}

/// Makes an empty store in a folder that may hold an unfinished one.
fn make<E: InFolder>(folder: &Folder, options: E::Options) -> Result<(), EngineError> {
    let data = folder.data();
    if data.exists() {
        fs::remove_dir_all(&data).map_err(io_failed)?;
    }
    fs::create_dir(&data).map_err(io_failed)?;
    let engine = E::start(folder.clone(), options)?;
    sync_tree(&data).map_err(io_failed)?;
    let stamp = format::stamp(&engine);
    let mark = stamp.value.clone().unwrap_or_default();
    let stamped = engine.apply(vec![stamp], Durability::Immediate);
    stamped.and(engine.close())?;
    let mut file = &folder.mark.0;
    file.set_len(0)
        .and_then(|()| file.write_all(&mark))
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_names(folder.path()))
        .map_err(io_failed)
}

/// Makes every name below `folder` durable. Engines make folders when they open and do not synchronise what holds them: after a
/// loss of power fjall has its journal, and not the folder of the keyspace that the journal is about.
fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    sync_names(folder)
}

fn holds_nothing(folder: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

/// Whether a folder holds nothing but what an unfinished store may.
fn holds_only_ours(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name != MARK && name != DATA {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The class of an error of the operating system.
pub(crate) fn fault(error: &io::Error) -> StorageFault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StorageFault::NoSpace
        }
        _ => StorageFault::Io,
    }
}

pub(crate) fn io_failed(error: io::Error) -> EngineError {
    EngineError::new(fault(&error), error)
}

fn advice(fault: StorageFault) -> &'static str {
    match fault {
        StorageFault::Locked => "Close the other opener: one process has a store open at a time, once.",
        StorageFault::Format => "Choose another path: what is there was left as it is.",
        StorageFault::Damaged => "Restore the folder from a copy.",
        StorageFault::NoSpace => "Free space on the device, then open the store again.",
        _ => {
            "Make sure that this user can read and write the folder and all in it, and that the device is well."
        }
    }
}
