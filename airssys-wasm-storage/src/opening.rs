//! What stores on disk do alike when they open.

use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use airssys_wasm_core::error::{StorageFault, WasmError};

use crate::engine::EngineError;

pub(crate) const OPEN: &str = "storage open";

/// Why the store at `path` cannot be opened, and what to do about it.
pub(crate) fn explain(
    path: &Path,
    error: EngineError,
    advice: impl FnOnce(StorageFault) -> &'static str,
) -> WasmError {
    let missing = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    let refused = WasmError::storage(OPEN, error.fault).with("store", place(path)).because(error.cause);
    match missing {
        Some(folder) => refused
            .saying("the folder of the store is missing")
            .advising(format!("Create the folder {}, or choose another path.", folder.display())),
        None => refused.advising(advice(error.fault)),
    }
}

pub(crate) fn place(path: &Path) -> String {
    path.display().to_string()
}

/// Where a store is made before it gets its name.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Makes a new name durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync_names(folder)
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_names(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// An engine may panic on a damaged file; that must not end the host.
pub(crate) fn guarded<T>(act: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    // The engines guard their state against unwinding themselves, and after a failed write nothing but reading goes on.
    panic::catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("the engine panicked");
        Err(EngineError::new(StorageFault::Damaged, said))
    })
}
