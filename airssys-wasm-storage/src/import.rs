//! From an export, or another store, into an empty store.

use std::io::{self, Read, Seek};

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, Durability, Key, KeyRange, MAX_BATCH_OPERATIONS, Namespace, StorageBackend,
};

use crate::export::{Walk, export};
use crate::stream::{Contents, Decoder, Encoder, Next, Totals};

const IMPORT: &str = "storage import";
const COPY: &str = "storage copy";
/// How many bytes of keys and values one commit takes at most, but for a single record.
const COMMIT_BYTES: usize = 4 << 20;

/// An export that was read to its end and is whole.
#[derive(Debug)]
pub struct CheckedExport<R> {
    input: R,
    contents: Contents,
}

impl<R: Read + Seek> CheckedExport<R> {
    /// Reads all of `input`, from its start. `progress` is told now and then how much was read.
    ///
    /// # Errors
    /// - [`StorageFault::Format`] when it is no export, or one of a later format.
    /// - [`StorageFault::Damaged`] when it is damaged or cut short; the offset is that of the damaged frame, or of the cut.
    /// - [`StorageFault::Io`] when it cannot be read.
    ///
    /// ```
    /// use std::io::Cursor;
    ///
    /// use airssys_wasm_core::error::{Detail, StorageFault};
    /// use airssys_wasm_storage::CheckedExport;
    ///
    /// let refused = CheckedExport::check(Cursor::new("something else"), &mut |_| ()).unwrap_err();
    /// assert_eq!(refused.detail(), Some(Detail::Storage(StorageFault::Format)));
    /// ```
    pub fn check(mut input: R, progress: &mut (dyn FnMut(Totals) + Send)) -> Result<Self> {
        input.rewind().map_err(unreadable)?;
        let mut decoder = Decoder::start(&mut input, IMPORT)?;
        let contents = loop {
            match decoder.next()? {
                Next::End(contents) => break contents,
                Next::Record(_) => tell(decoder.totals(), progress),
            }
        };
        Ok(Self { input, contents })
    }

    /// What it holds.
    pub fn contents(&self) -> Contents {
        self.contents
    }

    /// Puts every record into `store`, which must be empty, and synchronises it. `progress` is told now and then how much is
    /// in the store. Reading blocks: in an async program call it where that is allowed.
    ///
    /// # Errors
    /// - [`StorageFault::Conflict`] when the store holds a record; nothing was written.
    /// - [`StorageFault::Damaged`] when the export is not what was checked; the store then holds a part of it.
    /// - Those of committing; the store then holds a part of the export.
    pub async fn import_into(
        mut self,
        store: &dyn StorageBackend,
        progress: &mut (dyn FnMut(Totals) + Send),
    ) -> Result<()> {
        check_empty(store, IMPORT).await?;
        self.input.rewind().map_err(unreadable)?;
        let mut decoder = Decoder::start(&mut self.input, IMPORT)?;
        let mut filling = Filling::of(store);
        let contents = loop {
            match decoder.next()? {
                Next::End(contents) => break contents,
                Next::Record(item) => {
                    if filling.put(&item.namespace, item.key, item.value).await? {
                        progress(decoder.totals());
                    }
                }
            }
        };
        if contents != self.contents {
            return Err(WasmError::storage(IMPORT, StorageFault::Damaged)
                .saying("the export was changed while it was imported")
                .advising("Import again, into an empty store, while nobody writes to the export."));
        }
        filling.finish().await?;
        progress(contents.totals);
        Ok(())
    }
}

/// Puts everything that `from` holds into `to`, which must be empty, synchronises it, and reads it again: the exports of both are
/// equal when it succeeds. `progress` is told now and then how much is in `to`.
///
/// # Errors
/// - [`StorageFault::Conflict`] when `to` holds a record: nothing was written. And when somebody changed `from` meanwhile.
/// - [`StorageFault::Damaged`] when `to` gives back something else than was written.
/// - Those of reading `from`, and of committing to `to`.
///
/// After all but the first of them, `to` holds a part.
pub async fn copy(
    from: &dyn StorageBackend,
    to: &dyn StorageBackend,
    progress: &mut (dyn FnMut(Totals) + Send),
) -> Result<Contents> {
    check_empty(to, COPY).await?;
    let mut encoder = Encoder::start(io::sink()).map_err(unreadable)?;
    let mut walk = Walk::start(from, COPY).await?;
    let mut filling = Filling::of(to);
    while let Some((namespace, records)) = walk.page().await? {
        for (key, record) in records {
            encoder.record(&namespace, &key, &record.value).map_err(unreadable)?;
            filling.put(&namespace, key, record.value).await?;
        }
        progress(encoder.totals());
    }
    walk.finish().await?;
    let contents = encoder.finish().map_err(unreadable)?;
    filling.finish().await?;
    let copied = export(to, io::sink(), &mut |_| ()).await?.contents;
    if copied != contents {
        return Err(WasmError::storage(COPY, StorageFault::Damaged)
            .saying("the copy does not hold what was written to it")
            .with("records written", contents.totals.records)
            .with("records found", copied.totals.records)
            .advising("Discard the copy, and look after the device that it is on."));
    }
    Ok(contents)
}

async fn check_empty(store: &dyn StorageBackend, operation: &'static str) -> Result<()> {
    let mut after: Option<Namespace> = None;
    loop {
        let names = store.namespaces(after.as_ref(), 1_000).await?;
        let Some(last) = names.last().cloned() else { return Ok(()) };
        for name in names {
            if !store.scan(&name, KeyRange::all(), 1).await?.records.is_empty() {
                return Err(WasmError::storage(operation, StorageFault::Conflict)
                    .saying("the store is not empty")
                    .with("namespace", name)
                    .advising("Choose a new store: this one was left as it is."));
            }
        }
        after = Some(last);
    }
}

/// A store that is being filled, in commits of a moderate size.
#[derive(Debug)]
struct Filling<'a> {
    store: &'a dyn StorageBackend,
    batch: Batch,
    bytes: usize,
}

impl<'a> Filling<'a> {
    fn of(store: &'a dyn StorageBackend) -> Self {
        Self { store, batch: Batch::new(), bytes: 0 }
    }

    /// Whether everything before this record was committed.
    async fn put(&mut self, namespace: &Namespace, key: Key, value: Vec<u8>) -> Result<bool> {
        let size = key.as_bytes().len() + value.len();
        let full = self.batch.operations() == MAX_BATCH_OPERATIONS || self.bytes + size > COMMIT_BYTES;
        if full {
            self.commit().await?;
        }
        self.bytes += size;
        self.batch.put(namespace, key, value);
        Ok(full)
    }

    async fn commit(&mut self) -> Result<()> {
        self.bytes = 0;
        self.store.commit(std::mem::take(&mut self.batch), Durability::Eventual).await?;
        // A store that never waits would keep others from their turn.
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        self.commit().await?;
        self.store.sync().await
    }
}

/// Tells of every thousandth record.
fn tell(totals: Totals, progress: &mut (dyn FnMut(Totals) + Send)) {
    if totals.records.is_multiple_of(1_000) {
        progress(totals);
    }
}

fn unreadable(error: io::Error) -> WasmError {
    WasmError::storage(IMPORT, StorageFault::Io)
        .saying("the export cannot be read")
        .because(error)
        .advising("Make sure that this user can read the file, and that the device is well.")
}
