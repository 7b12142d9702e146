//! What a store holds, as a stream of bytes that is equal for equal contents, whatever the store.

use std::collections::VecDeque;
use std::io::{self, Write};

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, CommitVersion, Durability, Key, KeyRange, Namespace, Record, StorageBackend, Usage,
};

use crate::stream::{self, Contents, Encoder, Totals};

const EXPORT: &str = "storage export";
/// How many names, or records, are asked for at a time.
const PAGE: usize = 1_000;

/// What was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// What the stream holds.
    pub contents: Contents,
    /// The last commit that it holds. The stream does not say it: versions are the store's own.
    pub version: CommitVersion,
}

/// Writes everything that `store` holds to `out`, page by page: the records of each namespace that has some, in the order of
/// names and keys. Versions are not written, and neither is what the store is: equal contents give equal bytes.
///
/// `progress` is told now and then how much is written. Writing blocks: in an async program call it where that is allowed.
///
/// # Errors
/// After each of them what was written is no export: importing it is refused.
/// - [`StorageFault::Conflict`] when somebody changed the store meanwhile.
/// - [`StorageFault::NoSpace`] and [`StorageFault::Io`] when `out` fails.
/// - Those of reading the store; [`StorageFault::ReadOnly`] when it takes no writes, and so cannot tell whether it changes.
///
/// ```
/// use airssys_wasm_core::storage::{Batch, Durability, Key, Namespace, StorageBackend};
/// use airssys_wasm_storage::{CheckedExport, MemoryStore, export};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryStore::new();
/// let mut batch = Batch::new();
/// batch.put(&Namespace::new("acme/counter")?, Key::new("visits")?, "1");
/// store.commit(batch, Durability::Immediate).await?;
///
/// let mut bytes = Vec::new();
/// let exported = export(&store, &mut bytes, &mut |_| ()).await?;
/// assert_eq!(exported.contents.totals.records, 1);
///
/// let copy = MemoryStore::new();
/// CheckedExport::check(std::io::Cursor::new(&bytes), &mut |_| ())?.import_into(&copy, &mut |_| ()).await?;
/// let mut again = Vec::new();
/// export(&copy, &mut again, &mut |_| ()).await?;
/// assert_eq!(again, bytes);
/// # Ok::<(), airssys_wasm_core::error::WasmError>(())
/// # }).unwrap();
/// ```
pub async fn export(
    store: &dyn StorageBackend,
    out: impl Write,
    progress: &mut (dyn FnMut(Totals) + Send),
) -> Result<Exported> {
    let mut encoder = Encoder::start(out).map_err(unwritable)?;
    let mut walk = Walk::start(store, EXPORT).await?;
    while let Some((namespace, records)) = walk.page().await? {
        for (key, record) in &records {
            encoder.record(&namespace, key, &record.value).map_err(unwritable)?;
        }
        progress(encoder.totals());
    }
    let version = walk.finish().await?;
    let contents = encoder.finish().map_err(unwritable)?;
    Ok(Exported { contents, version })
}

/// What each namespace of `store` counts against its quota, by name; those that hold nothing are left out.
///
/// # Errors
/// Those of reading the store.
pub async fn usage(store: &dyn StorageBackend) -> Result<Vec<(Namespace, Usage)>> {
    let mut table: Vec<(Namespace, Usage)> = Vec::new();
    let mut after: Option<Namespace> = None;
    loop {
        let names = store.namespaces(after.as_ref(), PAGE).await?;
        let Some(last) = names.last().cloned() else { return Ok(table) };
        for name in names {
            let usage = store.usage(&name).await?;
            if usage != Usage::default() {
                table.push((name, usage));
            }
        }
        after = Some(last);
    }
}

fn unwritable(error: io::Error) -> WasmError {
    WasmError::storage(EXPORT, stream::fault(&error))
        .saying("the export cannot be written")
        .because(error)
        .advising("Make sure that there is room, and that this user can write there.")
}

/// Goes through every record of a store in order, and finds out whether somebody changed it meanwhile.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    store: &'a dyn StorageBackend,
    operation: &'static str,
    version: CommitVersion,
    names: VecDeque<Namespace>,
    /// The last name that was asked for; none before the first.
    last: Option<Namespace>,
    /// Where the next page begins.
    rest: Option<(Namespace, KeyRange)>,
}

impl<'a> Walk<'a> {
    pub(crate) async fn start(store: &'a dyn StorageBackend, operation: &'static str) -> Result<Self> {
        let version = version(store).await?;
        Ok(Self { store, operation, version, names: VecDeque::new(), last: None, rest: None })
    }

    /// The next records, all of one namespace.
    pub(crate) async fn page(&mut self) -> Result<Option<(Namespace, Vec<(Key, Record)>)>> {
        // Reads may never wait; others want their turn, and the caller to be interrupted.
        tokio::task::yield_now().await;
        loop {
            let Some((namespace, range)) = self.next_range().await? else { return Ok(None) };
            let page = self.store.scan(&namespace, range.clone(), PAGE).await?;
            if let Some((last, _)) = page.records.last() {
                if page.more {
                    self.rest = Some((namespace.clone(), range.after(last.as_bytes())));
                }
                return Ok(Some((namespace, page.records)));
            }
        }
    }

    async fn next_range(&mut self) -> Result<Option<(Namespace, KeyRange)>> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        if self.names.is_empty() {
            self.names = self.store.namespaces(self.last.as_ref(), PAGE).await?.into();
            self.last = self.names.back().cloned().or(self.last.take());
        }
        Ok(self.names.pop_front().map(|name| (name, KeyRange::all())))
    }

    /// The version of everything that was seen.
    pub(crate) async fn finish(self) -> Result<CommitVersion> {
        let now = version(self.store).await?;
        if now == self.version {
            return Ok(now);
        }
        Err(WasmError::storage(self.operation, StorageFault::Conflict)
            .saying("the store was changed while it was read")
            .with("version before", self.version.0)
            .with("version after", now.0)
            .advising("Try again while nobody writes to the store."))
    }
}

/// The version of the last commit.
async fn version(store: &dyn StorageBackend) -> Result<CommitVersion> {
    store.commit(Batch::new(), Durability::Eventual).await.map(|outcome| outcome.version)
}
