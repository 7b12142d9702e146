//! Files and folders that get their name when they are whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use airssys_wasm_core::error::{Result, StorageFault, WasmError};

use crate::stream;

const BUILD: &str = "storage build";

/// A place beside a path, to build there what shall appear under that path whole or not at all: the file of an export, the file
/// or folder of a store.
///
/// Dropping it without [`finish`](Self::finish) removes what was built. The end of the process leaves it behind, under the name
/// `<path>.unfinished-<number>`, for people to remove.
///
/// ```
/// use airssys_wasm_storage::Unfinished;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("note");
/// let unfinished = Unfinished::beside(&path)?;
/// std::fs::write(unfinished.path(), "whole")?;
/// assert!(!path.exists());
/// unfinished.finish()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "whole");
///
/// assert!(Unfinished::beside(&path).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Unfinished {
    target: PathBuf,
    path: PathBuf,
}

impl Unfinished {
    /// A place beside `target`, at which nothing is yet.
    ///
    /// # Errors
    /// [`StorageFault::Conflict`] when there is something at `target`, [`StorageFault::Io`] when it cannot be the name of a file
    /// or its folder is missing.
    pub fn beside(target: impl Into<PathBuf>) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let target = target.into();
        if target.file_name().is_none() {
            return Err(failed(&target, &io::ErrorKind::InvalidFilename.into()));
        }
        check_free(&target)?;
        let folder = folder(&target);
        if !folder.is_dir() {
            return Err(WasmError::storage(BUILD, StorageFault::Io)
                .saying("the folder is missing")
                .with("path", target.display())
                .advising(format!("Create the folder {}, or choose another path.", folder.display())));
        }
        loop {
            let mut path = target.clone().into_os_string();
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            path.push(format!(".unfinished-{}-{number}", std::process::id()));
            let path = PathBuf::from(path);
            // An earlier process with our number may have been killed.
            if fs::symlink_metadata(&path).is_err() {
                return Ok(Self { target, path });
            }
        }
    }

    /// Where to build it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name, durably. Its contents are to be synchronised and closed before.
    ///
    /// # Errors
    /// As [`beside`](Self::beside); what was built is then removed.
    pub fn finish(self) -> Result<()> {
        check_free(&self.target)?;
        fs::rename(&self.path, &self.target)
            .and_then(|()| if cfg!(unix) { File::open(folder(&self.target))?.sync_all() } else { Ok(()) })
            .map_err(|error| failed(&self.target, &error))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After finishing there is nothing. What cannot be removed is left to people, under a name that tells.
        let _ = match fs::symlink_metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&self.path),
            Ok(_) => fs::remove_file(&self.path),
            Err(_) => Ok(()),
        };
    }
}

fn check_free(target: &Path) -> Result<()> {
    if fs::symlink_metadata(target).is_err() {
        return Ok(());
    }
    Err(WasmError::storage(BUILD, StorageFault::Conflict)
        .saying("there is something at this path already")
        .with("path", target.display())
        .advising("Choose another path: what is there was left as it is."))
}

fn failed(target: &Path, error: &io::Error) -> WasmError {
    WasmError::storage(BUILD, stream::fault(error))
        .with("path", target.display())
        .because(error.to_string())
        .advising("Make sure that this user can write to the folder, and that the device is well.")
}

fn folder(target: &Path) -> &Path {
    target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
