//! What a redb database is written on: a locked file, or whatever a test puts in its place.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use airssys_wasm_core::error::StorageFault;

use crate::engine::EngineError;

/// Bytes that can be read, written, cut and synchronised: what a [`RedbStore`](crate::RedbStore) lives on.
///
/// # Behavior
/// - A write is seen by every later read. What is durable is only known after [`sync`](Self::sync).
/// - Nobody else writes to it.
/// - Dropping it releases it.
pub trait Medium: fmt::Debug + Send + Sync + 'static {
    /// How many bytes there are.
    ///
    /// # Errors
    /// When the medium fails.
    fn size(&self) -> io::Result<u64>;

    /// Fills `into` with what lies at `offset`.
    ///
    /// # Errors
    /// When the medium fails, and with [`io::ErrorKind::UnexpectedEof`] when it ends before.
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;

    /// Writes `bytes` at `offset`; grows the medium when they reach behind its end.
    ///
    /// # Errors
    /// When the medium fails.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the medium, or grows it by zeros.
    ///
    /// # Errors
    /// When the medium fails.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Returns when everything written before is durable.
    ///
    /// # Errors
    /// When the medium fails; what it holds is then not known.
    fn sync(&self) -> io::Result<()>;
}

/// A file that nobody else has open as a store: the operating system keeps the lock, and drops it with the process.
#[derive(Debug)]
pub(super) struct FileMedium {
    file: File,
    #[cfg(not(unix))]
    position: std::sync::Mutex<()>,
}

impl FileMedium {
    /// Opens and locks a file that is there.
    pub(super) fn open(path: &Path) -> Result<Self, EngineError> {
        Self::lock(OpenOptions::new().read(true).write(true).open(path))
    }

    /// Opens and locks a file, which is created when it is not there.
    pub(super) fn create(path: &Path) -> Result<Self, EngineError> {
        Self::lock(OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path))
    }

    fn lock(opened: io::Result<File>) -> Result<Self, EngineError> {
        let failed = |cause: io::Error| EngineError::new(fault(&cause), cause);
        let file = opened.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self {
                file,
                #[cfg(not(unix))]
                position: std::sync::Mutex::new(()),
            }),
            Err(TryLockError::WouldBlock) => {
                Err(EngineError::new(StorageFault::Locked, "the file is locked by another opener"))
            }
            Err(TryLockError::Error(cause)) => Err(failed(cause)),
        }
    }
}

impl Drop for FileMedium {
    fn drop(&mut self) {
        // A child process that is just being started has the file open, too; closing ours would not be enough.
        let _ = self.file.unlock();
    }
}

/// The class of an error of the operating system.
pub(super) fn fault(error: &io::Error) -> StorageFault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StorageFault::NoSpace
        }
        // redb reads what its own pages point to: only damage points behind the end.
        io::ErrorKind::UnexpectedEof => StorageFault::Damaged,
        // How redb says that a file does not start like one of its own.
        io::ErrorKind::InvalidData => StorageFault::Format,
        _ => StorageFault::Io,
    }
}

impl Medium for FileMedium {
    fn size(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }

    #[cfg(unix)]
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, into, offset)
    }

    #[cfg(unix)]
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset)
    }

    #[cfg(not(unix))]
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};

        let _turn = self.position.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (&self.file).seek(SeekFrom::Start(offset))?;
        (&self.file).read_exact(into)
    }

    #[cfg(not(unix))]
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        use std::io::{Seek, SeekFrom, Write};

        let _turn = self.position.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        (&self.file).seek(SeekFrom::Start(offset))?;
        (&self.file).write_all(bytes)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
