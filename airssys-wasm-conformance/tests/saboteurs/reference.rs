//! A small store that keeps every contract: a sorted map, and a file that is written whole.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, Change, CommitOutcome, CommitVersion, Durability, Key, KeyRange, MAX_BATCH_BYTES,
    MAX_BATCH_OPERATIONS, MAX_PAGE_BYTES, Namespace, Order, Page, Precondition, Quota, Record,
    StorageBackend, StorageProfile, StorageTransaction, Survives, TransactionPage, Usage, check_value,
};
use async_trait::async_trait;

static OPEN: LazyLock<Mutex<HashSet<PathBuf>>> = LazyLock::new(Mutex::default);

#[derive(Debug)]
pub(crate) struct Reference {
    path: PathBuf,
    state: Arc<Mutex<Option<State>>>,
    /// What is wrong with its transactions.
    pub(crate) wrong: Option<Wrong>,
}

/// What can be wrong with transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// They do not see what they write.
    OwnWrites,
    /// What one writes is there at once.
    WritesThrough,
    /// Ranges that were read do not count as read.
    Phantoms,
    /// Reads show what is there now.
    ReadsNow,
    /// One that has only read conflicts, too.
    ReadersConflict,
    /// They do not end.
    NeverOld,
    /// Quotas are dropped.
    NoQuota,
    /// Nothing counts as read.
    NoConflicts,
}

#[derive(Clone, Debug, Default)]
struct State {
    version: u64,
    records: BTreeMap<(Namespace, Key), Record>,
}

impl Reference {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("records");
        if !open_paths().insert(path.clone()) {
            return Err(WasmError::storage("open", StorageFault::Locked));
        }
        let state = fs::read(&path).ok().map_or_else(State::default, |bytes| State::decode(&bytes));
        Ok(Self { path, state: Arc::new(Mutex::new(Some(state))), wrong: None })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets others open the store while this one is.
    pub(crate) fn unlock(&self) {
        open_paths().remove(&self.path);
    }

    /// Keeps others from opening the store when this one is gone.
    pub(crate) fn leak_lock(&self) {
        open_paths().insert(self.path.clone());
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, operation: &'static str, work: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.lock();
        work(state.as_mut().ok_or_else(|| WasmError::storage(operation, StorageFault::Closed))?)
    }

    fn write(&self, state: &State) -> Result<()> {
        let io = |cause| WasmError::storage("commit", StorageFault::Io).because(cause);
        fs::write(&self.path, state.encode()).map_err(io)
    }

    fn release(&self) {
        if self.lock().take().is_some() {
            self.unlock();
        }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.release();
    }
}

fn open_paths() -> MutexGuard<'static, HashSet<PathBuf>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn usage(&self, space: &Namespace) -> Usage {
        let of_space = self.records.iter().filter(|((other, _), _)| other == space);
        of_space.fold(Usage::default(), |sum, ((_, key), record)| Usage {
            bytes: sum.bytes + Usage::of_record(key, &record.value),
            keys: sum.keys + 1,
        })
    }

    fn commit(&mut self, batch: &Batch) -> Result<CommitOutcome> {
        if batch.operations() > MAX_BATCH_OPERATIONS || batch.bytes() > MAX_BATCH_BYTES {
            return Err(WasmError::storage("commit", StorageFault::TooLarge));
        }
        for requirement in batch.requirements() {
            let found = self.records.get(&(requirement.namespace.clone(), requirement.key.clone()));
            let holds = match requirement.precondition {
                Precondition::Absent => found.is_none(),
                Precondition::Present => found.is_some(),
                Precondition::Version(version) => found.is_some_and(|record| record.version == version),
            };
            if !holds {
                return Err(
                    WasmError::storage("commit", StorageFault::Conflict).with("key", &requirement.key)
                );
            }
        }
        let grown = u64::from(!batch.changes().is_empty());
        let version = CommitVersion(self.version + grown);
        let mut after = Self { version: version.0, records: self.records.clone() };
        let mut changed: Vec<Namespace> = Vec::new();
        let mut evicted = Vec::new();
        for space in batch.cleared() {
            after.records.retain(|(other, _), _| other != space);
            changed.push(space.clone());
        }
        for (position, change) in batch.changes().iter().enumerate() {
            if !changed.contains(change.namespace()) {
                changed.push(change.namespace().clone());
            }
            let place = (change.namespace().clone(), change.key().clone());
            if batch.is_replaced(position) {
                evicted.push(after.records.get(&place).map(|record| record.value.clone()));
            }
            match change {
                Change::Put { value, .. } => {
                    check_value("commit", value)?;
                    after.records.insert(place, Record { value: value.clone(), version });
                }
                Change::Delete { .. } => drop(after.records.remove(&place)),
            }
        }
        for (space, quota) in batch.quotas() {
            let (old, new) = (self.usage(space), after.usage(space));
            let is_over = |old: u64, new: u64, quota: u64| new > quota && new > old;
            if is_over(old.bytes, new.bytes, quota.bytes) || is_over(old.keys, new.keys, quota.keys) {
                return Err(WasmError::storage("commit", StorageFault::QuotaExceeded));
            }
        }
        *self = after;
        let usage = changed.into_iter().map(|space| (space.clone(), self.usage(&space))).collect();
        Ok(CommitOutcome { version, usage, evicted })
    }

    fn scan(&self, space: &Namespace, range: &KeyRange, limit: usize) -> Page {
        let mut page = Page::default();
        let mut bytes = 0;
        let mut records: Vec<_> = self.records.iter().filter(|((other, _), _)| other == space).collect();
        if range.order() == Order::Descending {
            records.reverse();
        }
        for ((_, key), record) in records {
            if !range.contains(key.as_bytes()) {
                continue;
            }
            let size = key.as_bytes().len() + record.value.len();
            let is_full = !page.records.is_empty() && bytes + size > MAX_PAGE_BYTES;
            if page.records.len() == limit || is_full {
                page.more = true;
                break;
            }
            bytes += size;
            page.records.push((key.clone(), record.clone()));
        }
        page
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = self.version.to_be_bytes().to_vec();
        for ((space, key), record) in &self.records {
            bytes.extend(record.version.0.to_be_bytes());
            for part in [space.as_bytes(), key.as_bytes(), &record.value] {
                bytes.extend((part.len() as u64).to_be_bytes());
                bytes.extend(part);
            }
        }
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Self {
        let mut state = Self { version: take_number(&mut bytes), ..Self::default() };
        while !bytes.is_empty() {
            let version = CommitVersion(take_number(&mut bytes));
            let space = Namespace::new(take(&mut bytes)).unwrap();
            let key = Key::new(take(&mut bytes)).unwrap();
            state.records.insert((space, key), Record { value: take(&mut bytes), version });
        }
        state
    }
}

fn take_number(bytes: &mut &[u8]) -> u64 {
    let (number, rest) = bytes.split_first_chunk().unwrap();
    *bytes = rest;
    u64::from_be_bytes(*number)
}

fn take(bytes: &mut &[u8]) -> Vec<u8> {
    let length = take_number(bytes) as usize;
    let (part, rest) = bytes.split_at(length);
    *bytes = rest;
    part.to_vec()
}

#[async_trait]
impl StorageBackend for Reference {
    fn profile(&self) -> StorageProfile {
        StorageProfile {
            name: "reference",
            engine_version: "1",
            persistent: true,
            immediate: Survives::ProcessKill,
            eventual: Survives::ProcessKill,
        }
    }

    async fn get(&self, namespace: &Namespace, key: &Key) -> Result<Option<Record>> {
        let place = (namespace.clone(), key.clone());
        self.with("get", |state| Ok(state.records.get(&place).cloned()))
    }

    async fn scan(&self, namespace: &Namespace, range: KeyRange, limit: usize) -> Result<Page> {
        self.with("scan", |state| Ok(state.scan(namespace, &range, limit)))
    }

    async fn namespaces(&self, after: Option<&Namespace>, limit: usize) -> Result<Vec<Namespace>> {
        self.with("namespaces", |state| {
            let mut names: Vec<_> = state.records.keys().map(|(space, _)| space.clone()).collect();
            names.dedup();
            names.retain(|name| after.is_none_or(|after| name > after));
            names.truncate(limit);
            Ok(names)
        })
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<CommitOutcome> {
        self.with("commit", |state| {
            let outcome = state.commit(&batch)?;
            if durability == Durability::Immediate {
                self.write(state)?;
            }
            Ok(outcome)
        })
    }

    async fn begin(&self) -> Result<Box<dyn StorageTransaction>> {
        self.with("begin", |state| {
            Ok(Box::new(Transaction {
                moment: state.clone(),
                store: Arc::clone(&self.state),
                wrong: self.wrong,
                keys: BTreeSet::new(),
                ranges: Vec::new(),
                batch: Batch::new(),
            }) as Box<dyn StorageTransaction>)
        })
    }

    async fn usage(&self, namespace: &Namespace) -> Result<Usage> {
        self.with("usage", |state| Ok(state.usage(namespace)))
    }

    async fn sync(&self) -> Result<()> {
        self.with("sync", |state| self.write(state))
    }

    async fn close(&self) -> Result<()> {
        // Under one lock: nothing is acknowledged between the last write and the end.
        let mut open = self.lock();
        let synced = open.as_ref().map_or(Ok(()), |state| self.write(state));
        if open.take().is_some() {
            self.unlock();
        }
        synced
    }
}

/// A transaction: a copy of everything, compared when it is committed.
#[derive(Debug)]
struct Transaction {
    moment: State,
    store: Arc<Mutex<Option<State>>>,
    wrong: Option<Wrong>,
    keys: BTreeSet<(Namespace, Key)>,
    ranges: Vec<(Namespace, KeyRange)>,
    batch: Batch,
}

/// The reference keeps a copy for each transaction, and forgets nothing; it still ends one that others have left far behind.
const MOST_COMMITS: u64 = 300;

impl Transaction {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    fn now(&self) -> Result<State> {
        let state = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let state = state.as_ref().ok_or_else(|| WasmError::storage("transaction", StorageFault::Closed))?;
        self.check_age(state)?;
        Ok(state.clone())
    }

    fn check_age(&self, state: &State) -> Result<()> {
        if state.version > self.moment.version + MOST_COMMITS && !self.is(Wrong::NeverOld) {
            return Err(WasmError::storage("transaction", StorageFault::TransactionTooOld));
        }
        Ok(())
    }

    /// What it sees: its moment, and what it has written.
    fn seen(&self) -> Result<State> {
        let now = self.now()?;
        let mut seen = if self.is(Wrong::ReadsNow) { now } else { self.moment.clone() };
        if !self.is(Wrong::OwnWrites) {
            seen.commit(&self.batch)?;
        }
        Ok(seen)
    }
}

#[async_trait]
impl StorageTransaction for Transaction {
    fn version(&self) -> CommitVersion {
        CommitVersion(self.moment.version)
    }

    async fn get(&mut self, namespace: &Namespace, key: &Key) -> Result<Option<Vec<u8>>> {
        let place = (namespace.clone(), key.clone());
        let found = self.seen()?.records.remove(&place).map(|record| record.value);
        self.keys.insert(place);
        Ok(found)
    }

    async fn scan(
        &mut self,
        namespace: &Namespace,
        range: KeyRange,
        limit: usize,
    ) -> Result<TransactionPage> {
        let page = self.seen()?.scan(namespace, &range, limit);
        self.ranges.push((namespace.clone(), range));
        let records = page.records.into_iter().map(|(key, record)| (key, record.value)).collect();
        Ok(TransactionPage { records, more: page.more })
    }

    fn put(&mut self, namespace: &Namespace, key: Key, value: Vec<u8>) -> Result<()> {
        self.batch.put(namespace, key, value);
        if self.is(Wrong::WritesThrough)
            && let Some(state) = self.store.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            state.commit(&self.batch)?;
        }
        Ok(())
    }

    fn delete(&mut self, namespace: &Namespace, key: Key) -> Result<()> {
        self.batch.delete(namespace, key);
        Ok(())
    }

    fn limit(&mut self, namespace: &Namespace, quota: Quota) {
        if !self.is(Wrong::NoQuota) {
            self.batch.limit(namespace, quota);
        }
    }

    async fn commit(self: Box<Self>, _: Durability) -> Result<CommitOutcome> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let now = store.as_mut().ok_or_else(|| WasmError::storage("commit", StorageFault::Closed))?;
        self.check_age(now)?;
        let reads_only = self.batch.changes().is_empty() && !self.is(Wrong::ReadersConflict);
        let version = |state: &State, place| state.records.get(place).map(|record| record.version);
        let key = self.keys.iter().find(|place| version(now, place) != version(&self.moment, place));
        let range = self.ranges.iter().find(|(space, range)| {
            let all = |state: &State| state.scan(space, range, usize::MAX).records;
            all(now) != all(&self.moment) && !self.is(Wrong::Phantoms)
        });
        if (key.is_some() || range.is_some()) && !reads_only && !self.is(Wrong::NoConflicts) {
            let error = WasmError::storage("commit", StorageFault::Conflict);
            return Err(match key {
                Some((_, key)) => error.with("key", key),
                None => error,
            });
        }
        if self.batch.changes().is_empty() {
            let version = CommitVersion(now.version);
            return Ok(CommitOutcome { version, usage: Vec::new(), evicted: Vec::new() });
        }
        now.commit(&self.batch)
    }
}
