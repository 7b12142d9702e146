//! The files of an instance: paths that stay where they are, opened without following any link.
//!
//! A guest names what it wants by a directory and a path. From both comes one absolute path, by words alone; the gate is asked
//! about that path, and that path is walked from the root, name by name, each opened beneath the handle of the one before and
//! never through a symbolic link. So what was checked and what is opened are the same, whatever is moved meanwhile.

mod descriptor;
mod entries;
mod location;
mod opening;

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use airssys_wasm_core::runtime::{FileRefusal, ServiceResult, Underway};

pub(crate) use self::descriptor::FileDescriptor;

/// How many files an instance has open.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles {
    open: AtomicU32,
    /// What makes numbers of files mean nothing outside of the instance.
    key: RandomState,
}

impl OpenFiles {
    /// Counts one more, unless there are as many as may be.
    fn open(self: &Arc<Self>, most: u32) -> Option<OpenFile> {
        let one_more = |open| (open < most).then_some(open + 1);
        self.open.try_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(OpenFile(Arc::clone(self)))
    }
}

/// One of the open files, until it is dropped.
#[derive(Debug)]
struct OpenFile(Arc<OpenFiles>);

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Begins what may block, on a thread for that.
fn begin<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileRefusal> + Send + 'static,
) -> Underway<T, FileRefusal> {
    let working = tokio::task::spawn_blocking(work);
    Box::pin(async {
        // It is not cancelled but when the runtime ends.
        working.await.map_or_else(
            |failed| match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Ok(Err(FileRefusal::Interrupted)),
            },
            Ok,
        )
    })
}

/// What is known at once.
fn at_once<T: Send + 'static>(answer: ServiceResult<T, FileRefusal>) -> Underway<T, FileRefusal> {
    Box::pin(std::future::ready(answer))
}
