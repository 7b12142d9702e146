//! A store over any engine: the promises of [`StorageBackend`], kept once.

use std::ops::{Bound, ControlFlow, RangeBounds};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, Change, CommitOutcome, Durability, Key, KeyRange, MAX_BATCH_BYTES, MAX_BATCH_OPERATIONS,
    MAX_PAGE_BYTES, MAX_VALUE, Namespace, Order, Page, Record, StorageBackend, StorageProfile,
    StorageTransaction, Usage, check_value,
};
use async_trait::async_trait;

use self::commit::{Committer, Proposal};
use self::format::Found;
use self::history::History;
use self::layout::Counters;
use self::namespace::Namespaces;
use self::transaction::Transaction;
use self::verify::Finding;
use self::writer::Writer;
use crate::engine::{EngineError, KeyValueEngine};
use crate::maintenance::Maintenance;
use crate::stream::Totals;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};

mod commit;
mod envelope;
pub(crate) mod format;
mod group;
mod history;
mod layout;
mod namespace;
mod transaction;
pub(crate) mod verify;
mod writer;

const OPEN: &str = "storage open";
const GET: &str = "storage get";
const SCAN: &str = "storage scan";
const NAMESPACES: &str = "storage namespaces";
const COMMIT: &str = "storage commit";
const BEGIN: &str = "storage begin";
const USAGE: &str = "storage usage";
const SYNC: &str = "storage sync";
const COMPACT: &str = "storage compact";
const CLOSE: &str = "storage close";

/// How many records of cleared namespaces a commit removes on the way, beside one for each of its operations.
const FEW: usize = 64;

/// A store over the engine `E`.
///
/// Reads run on the calling thread. Commits run there too when the engine never waits, and those with [`Durability::Eventual`] when
/// nobody else is committing; otherwise a thread of the store's own takes whatever was asked for since it last looked and applies it as
/// one engine transaction, with the strongest durability among them. Each batch is judged by itself, in the order of arrival; one that is refused disturbs no other.
///
/// Dropping the store finishes the commits that were asked for, synchronises, and releases the engine; it waits for that.
/// [`close`](StorageBackend::close) does the same and tells whether it went well.
#[derive(Debug)]
pub struct Store<E: KeyValueEngine> {
    shared: Arc<Shared<E>>,
    turn: Arc<Turn<E>>,
}

/// What readers and the committer share.
#[derive(Debug)]
struct Shared<E> {
    engine: E,
    namespaces: Namespaces,
    history: Arc<History>,
    /// Whether records of cleared namespaces are still to be removed.
    sweeps: AtomicBool,
    closed: AtomicBool,
    broken: OnceLock<Broken>,
}

/// The failure after which nothing is written any more.
#[derive(Clone, Debug)]
struct Broken {
    fault: StorageFault,
    cause: Arc<str>,
}

/// Who commits.
#[derive(Debug)]
enum Turn<E: KeyValueEngine> {
    Caller(Mutex<Committer<E>>),
    Thread(Writer<E>),
}

impl<E: KeyValueEngine> Store<E> {
    /// Opens what `engine` holds; an empty engine becomes an empty store. Blocks while the engine does.
    /// `flush_interval`: how long a commit with [`Durability::Eventual`] may stay undurable.
    ///
    /// # Errors
    /// [`StorageFault::Format`] when the engine holds something else, another engine's store, or a later format: it is then
    /// left as it is. [`StorageFault::Damaged`] and [`StorageFault::Io`] when it cannot be read.
    pub fn over(engine: E, flush_interval: Duration) -> Result<Self> {
        Self::over_when(engine, flush_interval, |_, _| Ok(()))
    }

    /// The same, with a word to say when everything was read and nothing is written yet.
    pub(crate) fn over_when(
        engine: E,
        flush_interval: Duration,
        agreed: impl FnOnce(&E, Found) -> Result<()>,
    ) -> Result<Self> {
        let found = format::inspect(&engine)?;
        let shared = Arc::new(Shared::new(engine));
        let (counters, retired) = shared.load()?;
        let engine = &shared.engine;
        agreed(engine, found)?;
        if found == Found::Nothing {
            let stamp = vec![format::stamp(engine)];
            engine.apply(stamp, Durability::Immediate).map_err(|error| shared.engine_failed(OPEN, error))?;
        }
        let inline = engine.commits_inline();
        let committer = Committer::new(Arc::clone(&shared), counters, retired);
        let turn = if inline {
            Turn::Caller(Mutex::new(committer))
        } else {
            Turn::Thread(Writer::start(committer, flush_interval)?)
        };
        Ok(Self { shared, turn: Arc::new(turn) })
    }

    /// The empty store over an empty engine that commits inline and keeps nothing, so that it needs no stamp.
    pub(crate) fn inline(engine: E) -> Self {
        let shared = Arc::new(Shared::new(engine));
        let committer = Committer::new(Arc::clone(&shared), Counters::START, Vec::new());
        Self { shared, turn: Arc::new(Turn::Caller(Mutex::new(committer))) }
    }
}

impl<E: KeyValueEngine> Shared<E> {
    fn new(engine: E) -> Self {
        Self {
            engine,
            namespaces: Namespaces::default(),
            history: Arc::new(History::new(0)),
            sweeps: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            broken: OnceLock::new(),
        }
    }

    /// Hands the records of a range to `visit`, as the engine's own `scan`, and none that lies outside: an engine whose inner pages are
    /// damaged may look for the beginning in the wrong place, and come upon what belongs to somebody else.
    fn scan(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        order: Order,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let mut is_astray = false;
        self.engine.scan(start, end, order, |key, sealed| {
            is_astray = !RangeBounds::<[u8]>::contains(&(start, end), key);
            if is_astray { ControlFlow::Break(()) } else { visit(key, sealed) }
        })?;
        if is_astray {
            return Err(EngineError::new(
                StorageFault::Damaged,
                "the engine found records outside of the range",
            ));
        }
        Ok(())
    }

    /// Reads the books: the names go to where readers look; the counters are returned, and the ids that are to be swept.
    fn load(&self) -> Result<(Counters, Vec<u32>)> {
        let damaged = |fault| self.failed(OPEN, fault).saying("the books of the store are damaged");
        let mut names = Vec::new();
        let mut flaw = None;
        self.scan(
            Bound::Included(layout::NAMES_START),
            Bound::Excluded(layout::NAMES_END),
            Order::Ascending,
            |key, sealed| {
                let entry = envelope::open(key, sealed).and_then(|(_, id)| {
                    let name =
                        key.get(layout::NAMES_START.len()..).and_then(|name| Namespace::new(name).ok());
                    name.zip(id.try_into().ok().map(u32::from_be_bytes)).ok_or(StorageFault::Damaged)
                });
                match entry {
                    Ok(entry) => {
                        names.push(entry);
                        ControlFlow::Continue(())
                    }
                    Err(fault) => {
                        flaw = Some(fault);
                        ControlFlow::Break(())
                    }
                }
            },
        )
        .map_err(|error| self.engine_failed(OPEN, error))?;
        if let Some(fault) = flaw {
            return Err(damaged(fault));
        }
        let counters = self
            .engine
            .get(layout::COUNTERS, |sealed| {
                let (_, bytes) = envelope::open(layout::COUNTERS, sealed)?;
                Counters::decode(bytes).ok_or(StorageFault::Damaged)
            })
            .map_err(|error| self.engine_failed(OPEN, error))?;
        let mut counters = match counters {
            Some(counters) => counters.map_err(damaged)?,
            None if names.is_empty() => Counters::START,
            None => return Err(damaged(StorageFault::Damaged)),
        };
        // Versions up to the lease may have been given out by commits that a crash undid.
        counters.version = counters.version.max(counters.lease);
        self.namespaces.add(names);
        Ok((counters, self.retired()?))
    }

    fn retired(&self) -> Result<Vec<u32>> {
        let mut retired = Vec::new();
        let (start, end) = (Bound::Included(layout::RETIRED_START), Bound::Excluded(layout::RETIRED_END));
        let read = |key: &[u8], sealed: &[u8]| {
            // A note that is damaged is one of records that nobody sees; they stay.
            let id = key.get(layout::RETIRED_START.len()..).and_then(|id| id.try_into().ok());
            if envelope::open(key, sealed).is_ok() {
                retired.extend(id.map(u32::from_be_bytes));
            }
            ControlFlow::Continue(())
        };
        self.scan(start, end, Order::Ascending, read).map_err(|error| self.engine_failed(OPEN, error))?;
        Ok(retired)
    }

    /// A page of the namespace with this id.
    fn page(&self, id: u32, namespace: &Namespace, range: &KeyRange, limit: usize) -> Result<Page> {
        let mut page = Page::default();
        let (start, end) = layout::range(id, range);
        let mut bytes = 0;
        let mut flaw = None;
        let visit = |stored: &[u8], sealed: &[u8]| {
            let size = (stored.len() + sealed.len()).saturating_sub(layout::PREFIX + envelope::HEADER);
            let full =
                page.records.len() >= limit || (!page.records.is_empty() && bytes + size > MAX_PAGE_BYTES);
            if full {
                page.more = true;
                return ControlFlow::Break(());
            }
            let entry = envelope::record(stored, sealed).and_then(|record| {
                let key = stored.get(layout::PREFIX..).and_then(|key| Key::new(key).ok());
                Ok((key.ok_or(StorageFault::Damaged)?, record))
            });
            match entry {
                Ok(entry) => {
                    bytes += size;
                    page.records.push(entry);
                    ControlFlow::Continue(())
                }
                Err(fault) => {
                    flaw = Some((
                        fault,
                        stored.get(layout::PREFIX..).unwrap_or_default().escape_ascii().to_string(),
                    ));
                    ControlFlow::Break(())
                }
            }
        };
        self.scan(start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice), range.order(), visit)
            .map_err(|error| self.engine_failed(SCAN, error))?;
        match flaw {
            None => Ok(page),
            Some((fault, key)) => Err(self.failed(SCAN, fault).with("namespace", namespace).with("key", key)),
        }
    }

    async fn commit(&self, turn: &Turn<E>, proposal: Proposal) -> Result<CommitOutcome> {
        self.check_open(COMMIT)?;
        self.check_writable(COMMIT)?;
        check_limits(&proposal.batch)?;
        let operations = proposal.batch.operations();
        let gone = || Err(self.gone(COMMIT));
        match turn {
            Turn::Caller(committer) => {
                let mut committer = lock(committer);
                let outcome = committer.commit(&[&proposal]).pop();
                committer.sweep(FEW + operations);
                outcome.unwrap_or_else(gone)
            }
            Turn::Thread(writer) => writer.commit(proposal).await.unwrap_or_else(gone),
        }
    }

    fn usage(&self, namespace: u32, operation: &'static str) -> Result<Usage> {
        let key = layout::usage(namespace);
        let usage = self
            .engine
            .get(&key, |sealed| {
                let (_, bytes) = envelope::open(&key, sealed)?;
                layout::decode_usage(bytes).ok_or(StorageFault::Damaged)
            })
            .map_err(|error| self.engine_failed(operation, error))?;
        usage
            .transpose()
            .map(Option::unwrap_or_default)
            .map_err(|fault| self.failed(operation, fault).saying("the usage of a namespace is damaged"))
    }

    fn check_open(&self, operation: &'static str) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(self.failed(operation, StorageFault::Closed));
        }
        Ok(())
    }

    fn check_writable(&self, operation: &'static str) -> Result<()> {
        let Some(broken) = self.broken.get() else { return Ok(()) };
        Err(self
            .failed(operation, StorageFault::ReadOnly)
            .saying("an earlier write failed, and what the medium holds since then is not known")
            .with("failure", broken.fault)
            .because(broken.cause.to_string())
            .advising("Set right what the failure names, then open the store again."))
    }

    fn failed(&self, operation: &'static str, fault: StorageFault) -> WasmError {
        WasmError::storage(operation, fault).with("store", self.engine.place())
    }

    /// The answer when the one who should give it has ended: after a close that ran at the same time.
    fn gone(&self, operation: &'static str) -> WasmError {
        self.failed(operation, StorageFault::Closed)
    }

    fn engine_failed(&self, operation: &'static str, error: EngineError) -> WasmError {
        self.failed(operation, error.fault).because(error.cause)
    }

    fn damaged(
        &self,
        operation: &'static str,
        fault: StorageFault,
        namespace: &Namespace,
        key: &Key,
    ) -> WasmError {
        self.failed(operation, fault).with("namespace", namespace).with("key", key)
    }
}

#[async_trait]
impl<E: KeyValueEngine> StorageBackend for Store<E> {
    fn profile(&self) -> StorageProfile {
        self.shared.engine.profile()
    }

    async fn get(&self, namespace: &Namespace, key: &Key) -> Result<Option<Record>> {
        let shared = &*self.shared;
        shared.check_open(GET)?;
        loop {
            let Some(id) = shared.namespaces.id(namespace) else { return Ok(None) };
            let stored = layout::record(id, key);
            match shared.engine.get(&stored, |sealed| envelope::record(&stored, sealed)) {
                // It was cleared meanwhile, and swept: what was written since counts.
                Ok(None) if shared.namespaces.id(namespace) != Some(id) => {}
                Ok(None) => return Ok(None),
                Ok(Some(Ok(record))) => return Ok(Some(record)),
                Ok(Some(Err(fault))) => return Err(shared.damaged(GET, fault, namespace, key)),
                Err(error) => return Err(shared.engine_failed(GET, error)),
            }
        }
    }

    async fn scan(&self, namespace: &Namespace, range: KeyRange, limit: usize) -> Result<Page> {
        let shared = &*self.shared;
        shared.check_open(SCAN)?;
        if range.is_empty() {
            return Ok(Page::default());
        }
        loop {
            let Some(id) = shared.namespaces.id(namespace) else { return Ok(Page::default()) };
            let page = shared.page(id, namespace, &range, limit)?;
            // If it was cleared meanwhile, half of it may have been swept.
            if shared.namespaces.id(namespace) == Some(id) {
                return Ok(page);
            }
        }
    }

    async fn namespaces(&self, after: Option<&Namespace>, limit: usize) -> Result<Vec<Namespace>> {
        self.shared.check_open(NAMESPACES)?;
        Ok(self.shared.namespaces.behind(after, limit))
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<CommitOutcome> {
        self.shared.commit(&self.turn, Proposal { batch, durability, read: None }).await
    }

    async fn begin(&self) -> Result<Box<dyn StorageTransaction>> {
        self.shared.check_open(BEGIN)?;
        Ok(Box::new(Transaction::begin(&self.shared, &self.turn).await))
    }

    async fn usage(&self, namespace: &Namespace) -> Result<Usage> {
        self.shared.check_open(USAGE)?;
        loop {
            let Some(id) = self.shared.namespaces.id(namespace) else { return Ok(Usage::default()) };
            let usage = self.shared.usage(id, USAGE).map_err(|error| error.with("namespace", namespace))?;
            // If it was cleared meanwhile, the books of the old id may have been swept.
            if self.shared.namespaces.id(namespace) == Some(id) {
                return Ok(usage);
            }
        }
    }

    async fn sync(&self) -> Result<()> {
        self.shared.check_open(SYNC)?;
        match &*self.turn {
            Turn::Caller(committer) => lock(committer).sync(),
            Turn::Thread(writer) => writer.sync().await.unwrap_or_else(|| Err(self.shared.gone(SYNC))),
        }
    }

    async fn close(&self) -> Result<()> {
        self.shared.closed.store(true, Ordering::Release);
        match &*self.turn {
            Turn::Caller(committer) => lock(committer).close(),
            Turn::Thread(writer) => writer.close().await.unwrap_or_else(|| {
                let lost = "the writer ended in a panic, and what was not durable then may be lost";
                Err(self.shared.failed(CLOSE, StorageFault::Io).saying(lost))
            }),
        }
    }
}

impl<E: KeyValueEngine> Drop for Store<E> {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        // A transaction that commits may have the turn as well: the engine is released here, whoever is the last.
        match &*self.turn {
            Turn::Caller(committer) => drop(lock(committer).close()),
            Turn::Thread(writer) => writer.end(),
        }
    }
}

#[async_trait]
impl<E: KeyValueEngine> Maintenance for Store<E> {
    fn verify(&self, progress: &mut dyn FnMut(Totals), found: &mut dyn FnMut(Finding)) -> Result<Totals> {
        verify::verify(&self.shared, progress, found)
    }

    async fn compact(&self) -> Result<()> {
        self.shared.check_open(COMPACT)?;
        match &*self.turn {
            Turn::Caller(committer) => lock(committer).compact(),
            Turn::Thread(writer) => writer.compact().await.unwrap_or_else(|| Err(self.shared.gone(COMPACT))),
        }
    }
}

/// Refuses what no store takes, before anything is queued.
fn check_limits(batch: &Batch) -> Result<()> {
    let refused = |message: String| Err(WasmError::storage(COMMIT, StorageFault::TooLarge).saying(message));
    if batch.operations() > MAX_BATCH_OPERATIONS {
        return refused(format!(
            "the batch has {} operations of {MAX_BATCH_OPERATIONS} allowed",
            batch.operations()
        ));
    }
    if batch.bytes() > MAX_BATCH_BYTES {
        return refused(format!("the batch has {} bytes of {MAX_BATCH_BYTES} allowed", batch.bytes()));
    }
    for change in batch.changes() {
        if let Change::Put { namespace, key, value } = change
            && value.len() > MAX_VALUE
        {
            return check_value(COMMIT, value)
                .map_err(|error| error.with("namespace", namespace).with("key", key));
        }
    }
    Ok(())
}

// A committer that panicked has changed its books only after the engine agreed; they are whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
