//! The folder of a RocksDB store: what marks it as one, who has it, and how a new one gets its name.
//!
//! RocksDB writes into a folder as soon as it opens it, and frees its own lock when it closes the database. Both come too early
//! for us: what is not a store stays as it was, and after a failed write we read on from a database opened anew while nobody else may
//! write. So the folder holds a file of ours. It marks the folder as a store, and carries the lock of whoever has it open.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use airssys_wasm_core::error::StorageFault;

use super::records;
use crate::engine::EngineError;

/// The file that marks a folder as a store and carries its lock. In it: `sequence number u64 | crc32c u32`, big-endian, or nothing.
const MARK: &str = "airssys-wasm.lock";

/// A folder that nobody else has open as a store: the operating system keeps the lock, and drops it with the process.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Locks a folder that is there. Changes nothing.
    pub(super) fn open(path: &Path) -> Result<Self, EngineError> {
        let format = |cause: &'static str| EngineError::new(StorageFault::Format, cause);
        if !fs::metadata(path).map_err(failed)?.is_dir() {
            return Err(format("not a folder, and a RocksDB store is one"));
        }
        match OpenOptions::new().read(true).write(true).open(path.join(MARK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if is_empty(path).map_err(failed)? {
                    return Err(format("the folder is empty; a store never is"));
                }
                Err(format(
                    "a folder of something else: the file `airssys-wasm.lock` of a store is not in it",
                ))
            }
            opened => Self::lock(path, opened.map_err(failed)?),
        }
    }

    /// Makes and locks the folder in which a new store for `path` is made. None when somebody else has finished one meanwhile.
    pub(super) fn create(path: &Path) -> Result<Option<Self>, EngineError> {
        if path.file_name().is_none() {
            return Err(EngineError::new(StorageFault::Format, "not the name of a folder"));
        }
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".new");
        let unfinished = PathBuf::from(unfinished);
        match fs::create_dir(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let mark = unfinished.join(MARK);
        if !mark.exists() && !is_empty(&unfinished).map_err(failed)? {
            return Err(EngineError::new(
                StorageFault::Format,
                format!("the store would be made in {}, where something else is", unfinished.display()),
            ));
        }
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(mark);
        let folder = Self::lock(&unfinished, opened.map_err(failed)?)?;
        // Under the lock: nobody else is making it now, but somebody may have finished since we looked.
        if path.exists() {
            return Ok(None);
        }
        folder.clear().and_then(|()| folder.lock.set_len(0)).map_err(failed)?;
        Ok(Some(folder))
    }

    fn lock(path: &Path, lock: File) -> Result<Self, EngineError> {
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => {
                Err(EngineError::new(StorageFault::Locked, "the folder is locked by another opener"))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives a new store, which is closed, its name. The lock goes with it.
    pub(super) fn name(mut self, path: &Path) -> Result<Self, EngineError> {
        fs::rename(&self.path, path).and_then(|()| sync_parent(path)).map_err(failed)?;
        path.clone_into(&mut self.path);
        Ok(self)
    }

    /// Removes a new store that could not be finished.
    pub(super) fn remove(&self) -> io::Result<()> {
        self.clear()?;
        fs::remove_file(self.path.join(MARK))?;
        fs::remove_dir(&self.path)
    }

    /// Notes, durably, that the database holds everything up to `sequence` in tables. Its list of tables has no other witness: cut
    /// short, it reads as the list of an earlier day.
    pub(super) fn vouch(&self, sequence: u64) -> Result<(), EngineError> {
        let said = sequence.to_be_bytes();
        let mut note = said.to_vec();
        note.extend(crc32c::crc32c(&said).to_be_bytes());
        let mut file = &self.lock;
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&note))
            .and_then(|()| file.sync_data())
            .map_err(failed)
    }

    /// What was noted last; none when nothing was, or when the note itself is damaged.
    pub(super) fn vouched(&self) -> Result<Option<u64>, EngineError> {
        let mut note = Vec::new();
        let mut file = &self.lock;
        file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut note)).map_err(failed)?;
        let Some((said, sum)) = note.split_first_chunk() else { return Ok(None) };
        let whole = sum == crc32c::crc32c(said).to_be_bytes();
        Ok(whole.then(|| u64::from_be_bytes(*said)))
    }

    /// Whether the log of the database holds anything: what a crash left, for opening to take over.
    pub(super) fn has_log(&self) -> Result<bool, EngineError> {
        let mut logs = self.files(|name| name.ends_with(".log"))?.into_iter();
        logs.try_fold(false, |any, log| Ok(any || fs::metadata(log)?.len() > 0)).map_err(failed)
    }

    /// Refuses logs, and lists of tables, with which RocksDB would never come to an end.
    pub(super) fn check_logs(&self) -> Result<(), EngineError> {
        for log in self.files(|name| name.ends_with(".log") || name.starts_with("MANIFEST-"))? {
            if !File::open(&log).and_then(records::can_be_read).map_err(failed)? {
                let said = format!("a record of {} is damaged", log.display());
                return Err(EngineError::new(StorageFault::Damaged, said));
            }
        }
        Ok(())
    }

    fn files(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, EngineError> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name().to_str().is_some_and(&wanted) {
                files.push(entry.path());
            }
        }
        Ok(files)
    }

    /// Removes everything but the mark.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() != MARK {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

/// Makes a new name durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn failed(error: io::Error) -> EngineError {
    let fault = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageFault::NoSpace,
        _ => StorageFault::Io,
    };
    EngineError::new(fault, error)
}
