//! The same store with exactly one flaw.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};

use airssys_wasm_core::error::{Detail, Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, Change, CommitOutcome, CommitVersion, Durability, Key, KeyRange, MAX_BATCH_OPERATIONS, MAX_VALUE,
    Namespace, Page, Precondition, Quota, Record, StorageBackend, StorageProfile, StorageTransaction, Usage,
};
use async_trait::async_trait;

use crate::reference::{Reference, Wrong};

macro_rules! flaws {
    ($($(#[doc = $doc:literal])+ $flaw:ident => $contract:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Flaw { $($(#[doc = $doc])+ $flaw,)* }

        impl Flaw {
            /// Every flaw, and the contract that must catch it.
            pub(crate) const ALL: &[(Self, &str)] = &[$((Self::$flaw, $contract),)*];
        }
    };
}

flaws! {
    /// An empty value reads as none.
    EmptyIsAbsent => "storage.get.returns_what_was_set",
    /// Deletes do nothing.
    LostDelete => "storage.get.absent_is_none",
    /// One byte in one read of thousands is another.
    WrongByte => "storage.get.is_repeatable",
    /// A shorter value leaves the end of the longer one before it.
    KeepsTail => "storage.set.overwrites",
    /// A read returns what the read before it returned.
    StaleRead => "storage.own_writes.are_visible",
    /// Values beyond the limit are cut and taken.
    CutsValues => "storage.keys.limits",
    /// Shorter keys come first.
    ScanByLength => "storage.scan.order",
    /// A page that is exactly full says that there is more.
    MoreAtTheEnd => "storage.scan.pages",
    /// A page has as many records as were asked for, whatever their size.
    PageOfAnySize => "storage.scan.page_bytes",
    /// Scanned records carry the latest version of all.
    ScanVersions => "storage.scan.versions",
    /// The name of a namespace ends at its first NUL.
    NameEndsAtNul => "storage.namespace.isolates",
    /// A namespace that nobody wrote to counts something.
    UnknownCounts => "storage.namespace.unknown_is_empty",
    /// A list of names goes on with the name that it ended with.
    ListRepeats => "storage.namespace.list",
    /// A full page of names lacks one.
    ListSkips => "storage.namespace.list",
    /// A batch is applied in two halves.
    Halves => "storage.commit.is_atomic",
    /// A batch that is refused leaves its first change behind.
    Trace => "storage.commit.refused_is_nothing",
    /// The first change of a key wins.
    FirstWins => "storage.commit.ordered_within",
    /// The outcome sorts its namespaces.
    SortedOutcome => "storage.commit.outcome_names_usage",
    /// `Present` is not checked.
    PresentIgnored => "storage.commit.preconditions",
    /// A conflict does not say which key.
    ConflictUnnamed => "storage.commit.preconditions",
    /// Keys that the batch writes itself count as present.
    OwnWritesCount => "storage.commit.preconditions_come_first",
    /// A batch that is too long is applied in pieces.
    Pieces => "storage.commit.limits",
    /// A commit that is dropped stops where it is.
    HalfWhenDropped => "storage.commit.cancel",
    /// The outcome has the version of the commit before.
    VersionBefore => "storage.commit.versions",
    /// A batch without changes has a version of its own.
    EmptyBatchCounts => "storage.commit.versions",
    /// Compare-and-set compares values.
    CasByValue => "storage.cas.no_aba",
    /// Preconditions are checked before the commit, and not in it.
    CheckThenAct => "storage.cas.one_winner",
    /// A quota allows one byte more.
    QuotaOffByOne => "storage.quota.exact",
    /// Overwritten values count against the quota.
    NothingGivenBack => "storage.quota.gives_back",
    /// A namespace above its quota takes nothing, smaller values included.
    NoShrinking => "storage.quota.shrinking_passes",
    /// A quota binds every namespace of its batch.
    QuotaOfAll => "storage.quota.names_its_namespace",
    /// The quota is checked before the commit, and not in it.
    QuotaThenAct => "storage.quota.no_race",
    /// The usage of a namespace with several records is off by a byte.
    UsageDrifts => "storage.quota.usage_equals_recount",
    /// A second opener gets in.
    SecondOpener => "storage.open.exclusive",
    /// A store that is dropped stays locked.
    LeakedLock => "storage.open.exclusive",
    /// The second opening without a write between starts anew.
    SecondOpenForgets => "storage.open.loses_nothing",
    /// `Immediate` is `Eventual`.
    NoFsync => "storage.immediate.survives",
    /// `sync` does nothing.
    SyncIsNothing => "storage.sync.is_a_barrier",
    /// Closing drops what was not durable.
    CloseForgets => "storage.close.synchronises",
    /// Reads go on after closing.
    ReadsAfterClose => "storage.close.later_calls_say_so",
    /// Commits after closing fail like a disk.
    ClosedIsIo => "storage.close.while_others_write",
    /// The profile denies that anything persists.
    DeniesPersistence => "storage.profile.is_true",
    /// Versions start anew with each opening.
    VersionsRestart => "storage.profile.versions_outlive_restarts",
    /// A replaced value is not handed back.
    EvictedForgotten => "storage.replace.returns_the_evicted",
    /// Clearing leaves the last records.
    ClearForgetsSome => "storage.namespace.clear_is_atomic",
    /// Transactions do not see what they write.
    OwnWritesUnseen => "storage.txn.own_writes",
    /// What a transaction writes is there before it is committed.
    WritesThrough => "storage.txn.dropped_is_nothing",
    /// A range that was read may change.
    Phantoms => "storage.txn.serializable",
    /// Reads of a transaction show what is there now.
    ReadsNow => "storage.txn.opaque",
    /// A transaction that has only read conflicts.
    ReadersConflict => "storage.txn.readonly_never_conflicts",
    /// A transaction that is too old for its reads is committed.
    NeverOld => "storage.txn.too_old",
    /// Transactions have no quota.
    TransactionsPassQuota => "storage.txn.quota",
    /// Whatever a transaction has read, it is committed.
    NoConflicts => "storage.history.linearizable",
    /// A prefix that ends with 255 does not find the key that equals it.
    PrefixMissesItself => "storage.model.matches_btreemap",
}

/// Flaws of transactions, which the reference has itself.
const WRONG: [(Flaw, Wrong); 8] = [
    (Flaw::OwnWritesUnseen, Wrong::OwnWrites),
    (Flaw::WritesThrough, Wrong::WritesThrough),
    (Flaw::Phantoms, Wrong::Phantoms),
    (Flaw::ReadsNow, Wrong::ReadsNow),
    (Flaw::ReadersConflict, Wrong::ReadersConflict),
    (Flaw::NeverOld, Wrong::NeverOld),
    (Flaw::TransactionsPassQuota, Wrong::NoQuota),
    (Flaw::NoConflicts, Wrong::NoConflicts),
];

/// A store with one flaw, or none.
#[derive(Debug)]
pub(crate) struct Sabotaged {
    inner: Reference,
    flaw: Option<Flaw>,
    reads: AtomicU64,
    closed: AtomicBool,
    /// What was read last of each key.
    seen: Mutex<HashMap<(Namespace, Key), Option<Record>>>,
    /// The values of all versions.
    history: Mutex<HashMap<(Namespace, Key, CommitVersion), Vec<u8>>>,
    /// What was read at the latest version when the store was open.
    last: Mutex<Option<CommitVersion>>,
    offset: u64,
}

/// How often each path was opened since it was written to.
static OPENINGS: LazyLock<Mutex<BTreeMap<PathBuf, u32>>> = LazyLock::new(Mutex::default);

impl Sabotaged {
    pub(crate) fn open(folder: &Path, flaw: Option<Flaw>) -> Result<Self> {
        let is = |other| flaw == Some(other);
        if is(Flaw::SecondOpenForgets) {
            let mut openings = OPENINGS.lock().unwrap();
            let count = openings.entry(folder.to_owned()).or_default();
            *count += 1;
            if *count == 3 {
                // Nothing there is nothing lost.
                let _ = std::fs::remove_file(folder.join("records"));
            }
        }
        let mut inner = Reference::open(folder)?;
        inner.wrong = WRONG.iter().find(|(other, _)| is(*other)).map(|(_, wrong)| *wrong);
        if is(Flaw::SecondOpener) {
            inner.unlock();
        }
        let offset = if is(Flaw::VersionsRestart) { restarts(folder) } else { 0 };
        Ok(Self {
            inner,
            flaw,
            reads: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            seen: Mutex::default(),
            history: Mutex::default(),
            last: Mutex::default(),
            offset,
        })
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn name(&self, namespace: &Namespace) -> Namespace {
        let bytes = namespace.as_bytes();
        match bytes.iter().position(|byte| *byte == 0) {
            Some(end) if end > 0 && self.is(Flaw::NameEndsAtNul) => Namespace::new(&bytes[..end]).unwrap(),
            _ => namespace.clone(),
        }
    }

    /// The batch as the flaw wants it.
    async fn bend(&self, batch: Batch) -> Result<Batch> {
        let mut bent = Batch::new();
        for space in batch.cleared() {
            if self.is(Flaw::ClearForgetsSome) {
                let page = self.inner.scan(space, KeyRange::all(), 100).await?;
                for (key, _) in page.records {
                    bent.delete(space, key);
                }
            } else {
                bent.clear(space);
            }
        }
        let mut changes: Vec<_> = batch.changes().iter().cloned().enumerate().collect();
        if self.is(Flaw::FirstWins) {
            changes.reverse();
        }
        for (position, change) in changes {
            let (space, key) = (self.name(change.namespace()), change.key().clone());
            match change {
                Change::Delete { .. } if self.is(Flaw::LostDelete) => {}
                Change::Delete { .. } => drop(bent.delete(&space, key)),
                Change::Put { mut value, .. } => {
                    if self.is(Flaw::CutsValues) {
                        value.truncate(MAX_VALUE);
                    }
                    if self.is(Flaw::KeepsTail)
                        && let Some(old) = self.inner.get(&space, &key).await?
                        && old.value.len() > value.len()
                    {
                        let end = value.len();
                        value.extend_from_slice(&old.value[end..]);
                    }
                    if batch.is_replaced(position) {
                        bent.replace(&space, key, value);
                    } else {
                        bent.put(&space, key, value);
                    }
                }
            }
        }
        let written: HashSet<_> =
            batch.changes().iter().map(|change| (change.namespace(), change.key())).collect();
        for requirement in batch.requirements() {
            let (space, key) = (&requirement.namespace, &requirement.key);
            let mut precondition = requirement.precondition;
            let is_present = precondition == Precondition::Present;
            if is_present && self.is(Flaw::PresentIgnored) {
                continue;
            }
            if is_present && self.is(Flaw::OwnWritesCount) && written.contains(&(space, key)) {
                continue;
            }
            if let Precondition::Version(version) = precondition
                && self.is(Flaw::CasByValue)
                && let Some(now) = self.inner.get(space, key).await?
                && self.history.lock().unwrap().get(&(space.clone(), key.clone(), version))
                    == Some(&now.value)
            {
                precondition = Precondition::Version(now.version);
            }
            if self.is(Flaw::CheckThenAct) {
                let mut check = Batch::new();
                check.require(space, key.clone(), precondition);
                self.inner.commit(check, Durability::Eventual).await?;
                tokio::task::yield_now().await;
                continue;
            }
            bent.require(space, key.clone(), precondition);
        }
        let of_all = batch.quotas().first().filter(|_| self.is(Flaw::QuotaOfAll)).map(|(_, quota)| *quota);
        if let Some(quota) = of_all {
            for change in batch.changes() {
                bent.limit(change.namespace(), quota);
            }
        }
        for (space, quota) in batch.quotas() {
            let mut quota = *quota;
            if self.is(Flaw::QuotaOffByOne) {
                quota.bytes = quota.bytes.saturating_add(1);
            }
            if self.is(Flaw::NothingGivenBack) || self.is(Flaw::NoShrinking) || self.is(Flaw::QuotaThenAct) {
                self.check_quota(&batch, space, quota).await?;
            }
            if !self.is(Flaw::QuotaThenAct) && !self.is(Flaw::QuotaOfAll) {
                bent.limit(space, quota);
            }
        }
        Ok(bent)
    }

    async fn check_quota(&self, batch: &Batch, space: &Namespace, quota: Quota) -> Result<()> {
        let usage = self.inner.usage(space).await?;
        let mut bytes = usage.bytes;
        for change in batch.changes().iter().filter(|change| change.namespace() == space) {
            let old = self.inner.get(space, change.key()).await?;
            if let Some(old) = old.filter(|_| !self.is(Flaw::NothingGivenBack)) {
                bytes -= Usage::of_record(change.key(), &old.value);
            }
            if let Change::Put { key, value, .. } = change {
                bytes += Usage::of_record(key, value);
            }
        }
        if bytes > quota.bytes {
            return Err(WasmError::storage("commit", StorageFault::QuotaExceeded));
        }
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Applies a batch in two halves, with a pause between them.
    async fn in_halves(&self, batch: Batch, durability: Durability) -> Result<CommitOutcome> {
        let (mut first, mut second) = (Batch::new(), Batch::new());
        for requirement in batch.requirements() {
            first.require(&requirement.namespace, requirement.key.clone(), requirement.precondition);
        }
        let middle = batch.changes().len() / 2;
        for (number, change) in batch.into_changes().into_iter().enumerate() {
            let half = if number < middle { &mut first } else { &mut second };
            match change {
                Change::Put { namespace, key, value } => half.put(&namespace, key, value),
                Change::Delete { namespace, key } => half.delete(&namespace, key),
            };
        }
        if middle > 0 {
            self.inner.commit(first, durability).await?;
            tokio::time::sleep(std::time::Duration::from_micros(50)).await;
        }
        self.inner.commit(second, durability).await
    }

    async fn in_pieces(&self, batch: Batch, durability: Durability) -> Result<CommitOutcome> {
        let mut rest = batch.into_changes();
        loop {
            let after = rest.split_off(rest.len().min(MAX_BATCH_OPERATIONS));
            let mut piece = Batch::new();
            for change in rest {
                if let Change::Put { namespace, key, value } = change {
                    piece.put(&namespace, key, value);
                }
            }
            let outcome = self.inner.commit(piece, durability).await?;
            if after.is_empty() {
                return Ok(outcome);
            }
            rest = after;
        }
    }

    async fn commit_bent(&self, batch: Batch, durability: Durability) -> Result<CommitOutcome> {
        let durability = if self.is(Flaw::NoFsync) { Durability::Eventual } else { durability };
        let original = batch.clone();
        let bent = self.bend(batch).await?;
        let long = bent.changes().len() > MAX_BATCH_OPERATIONS;
        let is_large = bent.changes().len() > 1 && bent.quotas().is_empty();
        let result = if is_large && (self.is(Flaw::Halves) || self.is(Flaw::HalfWhenDropped)) {
            self.in_halves(bent, durability).await
        } else if long && self.is(Flaw::Pieces) {
            self.in_pieces(bent, durability).await
        } else {
            self.inner.commit(bent, durability).await
        };
        let is_conflict = |error: &WasmError| error.detail() == Some(Detail::Storage(StorageFault::Conflict));
        match result {
            Err(error) if self.is(Flaw::Trace) && is_conflict(&error) => {
                if let Some(Change::Put { namespace, key, value }) = original.changes().first() {
                    let mut trace = Batch::new();
                    trace.put(namespace, key.clone(), value.clone());
                    self.inner.commit(trace, durability).await?;
                }
                Err(error)
            }
            Err(error) if self.is(Flaw::ConflictUnnamed) && is_conflict(&error) => {
                Err(WasmError::storage("commit", StorageFault::Conflict))
            }
            Ok(mut outcome) => {
                if self.is(Flaw::CasByValue) {
                    let mut history = self.history.lock().unwrap();
                    for change in original.changes() {
                        if let Change::Put { namespace, key, value } = change {
                            history.insert((namespace.clone(), key.clone(), outcome.version), value.clone());
                        }
                    }
                }
                if self.is(Flaw::EvictedForgotten) {
                    outcome.evicted.fill(None);
                }
                if self.is(Flaw::SortedOutcome) {
                    outcome.usage.sort_by(|left, right| left.0.cmp(&right.0));
                }
                if self.is(Flaw::EmptyBatchCounts) && original.is_empty() {
                    outcome.version.0 += 1;
                }
                *self.last.lock().unwrap() = Some(outcome.version);
                if self.is(Flaw::VersionBefore) {
                    outcome.version.0 -= 1;
                }
                outcome.version.0 -= self.offset.min(outcome.version.0);
                Ok(outcome)
            }
            Err(error) => Err(error),
        }
    }

    fn bend_record(&self, key: &Key, record: Option<Record>, namespace: &Namespace) -> Option<Record> {
        let mut record = record;
        let read = self.reads.fetch_add(1, Ordering::SeqCst);
        if let Some(record) = &mut record {
            record.version.0 -= self.offset.min(record.version.0);
            if self.is(Flaw::WrongByte) && read % 4_000 == 3_999 && !record.value.is_empty() {
                record.value[0] ^= 1;
            }
        }
        if self.is(Flaw::EmptyIsAbsent) {
            record = record.filter(|record| !record.value.is_empty());
        }
        if self.is(Flaw::StaleRead) {
            let mut seen = self.seen.lock().unwrap();
            let stale = seen.insert((namespace.clone(), key.clone()), record.clone());
            record = stale.unwrap_or(record);
        }
        record
    }
}

/// How many versions to take off after a restart, so that they start anew: all that were given out before.
fn restarts(folder: &Path) -> u64 {
    let bytes = std::fs::read(folder.join("records")).unwrap_or_default();
    bytes.first_chunk().map_or(0, |version| u64::from_be_bytes(*version))
}

impl Drop for Sabotaged {
    fn drop(&mut self) {
        if self.is(Flaw::LeakedLock) && !self.closed.load(Ordering::SeqCst) {
            // The reference unlocks when it is dropped, right after this: so it must not be the one that holds the lock.
            drop(finish(self.inner.close()));
            self.inner.leak_lock();
        }
    }
}

/// Runs a future of the reference, which never waits.
fn finish<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => unreachable!("the reference never waits"),
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl StorageBackend for Sabotaged {
    fn profile(&self) -> StorageProfile {
        let profile = self.inner.profile();
        if self.is(Flaw::DeniesPersistence) {
            let nothing = airssys_wasm_core::storage::Survives::Nothing;
            return StorageProfile { persistent: false, immediate: nothing, eventual: nothing, ..profile };
        }
        profile
    }

    async fn get(&self, namespace: &Namespace, key: &Key) -> Result<Option<Record>> {
        if self.is(Flaw::ReadsAfterClose) && self.closed.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let record = self.inner.get(&self.name(namespace), key).await?;
        Ok(self.bend_record(key, record, namespace))
    }

    async fn scan(&self, namespace: &Namespace, range: KeyRange, limit: usize) -> Result<Page> {
        let namespace = self.name(namespace);
        let mut page = self.inner.scan(&namespace, range.clone(), limit).await?;
        if self.is(Flaw::PageOfAnySize) {
            while page.more && page.records.len() < limit {
                let last = page.records[page.records.len() - 1].0.clone();
                let rest = range.clone().after(last.as_bytes());
                let more = self.inner.scan(&namespace, rest, limit - page.records.len()).await?;
                page.records.extend(more.records);
                page.more = more.more;
            }
        }
        if self.is(Flaw::ScanByLength) {
            page.records.sort_by_key(|(key, _)| key.as_bytes().len());
        }
        if self.is(Flaw::MoreAtTheEnd) {
            page.more |= page.records.len() == limit;
        }
        if let std::ops::Bound::Included(prefix) = range.start()
            && self.is(Flaw::PrefixMissesItself)
            && prefix.last() == Some(&0xff)
        {
            page.records.retain(|(key, _)| key.as_bytes() != prefix);
        }
        for (_, record) in &mut page.records {
            if let Some(last) = self.last.lock().unwrap().filter(|_| self.is(Flaw::ScanVersions)) {
                record.version = last;
            }
        }
        Ok(page)
    }

    async fn namespaces(&self, after: Option<&Namespace>, limit: usize) -> Result<Vec<Namespace>> {
        let mut names = self.inner.namespaces(after, limit).await?;
        if let Some(after) = after.filter(|_| self.is(Flaw::ListRepeats)) {
            names.insert(0, after.clone());
            names.truncate(limit);
        }
        if self.is(Flaw::ListSkips) && limit > 1 && names.len() == limit {
            names.remove(limit - 2);
        }
        Ok(names)
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<CommitOutcome> {
        let closed = |error: &WasmError| error.detail() == Some(Detail::Storage(StorageFault::Closed));
        match self.commit_bent(batch, durability).await {
            Err(error) if self.is(Flaw::ClosedIsIo) && closed(&error) => {
                Err(WasmError::storage("commit", StorageFault::Io))
            }
            result => result,
        }
    }

    async fn begin(&self) -> Result<Box<dyn StorageTransaction>> {
        self.inner.begin().await
    }

    async fn usage(&self, namespace: &Namespace) -> Result<Usage> {
        let mut usage = self.inner.usage(&self.name(namespace)).await?;
        if self.is(Flaw::UsageDrifts) && usage.keys > 5 {
            usage.bytes += 1;
        }
        if self.is(Flaw::UnknownCounts) && usage.keys == 0 {
            usage.bytes += 1;
        }
        Ok(usage)
    }

    async fn sync(&self) -> Result<()> {
        if self.is(Flaw::SyncIsNothing) {
            return self.inner.usage(&Namespace::new("any")?).await.map(drop);
        }
        self.inner.sync().await
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::SeqCst);
        if self.is(Flaw::CloseForgets) {
            let path = self.inner.path();
            let before = std::fs::read(path).ok();
            self.inner.close().await?;
            match before {
                Some(before) => drop(std::fs::write(path, before)),
                None => drop(std::fs::remove_file(path)),
            }
            return Ok(());
        }
        self.inner.close().await
    }
}
