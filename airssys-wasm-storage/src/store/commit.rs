//! The commit turn: preconditions, quotas, versions and usage of a group of batches, judged one after another and applied as one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, Change, CommitOutcome, CommitVersion, Durability, Key, KeyRange, Namespace, Order, Precondition,
    Quota, Requirement, Usage,
};

use super::history::{Reads, Replaced, Ticket};
use super::layout::{self, Counters};
use super::{Broken, CLOSE, COMMIT, COMPACT, SYNC, Shared, envelope};
use crate::engine::{EngineError, KeyValueEngine, Write};

/// How many versions a lease covers: so many commits with [`Durability::Eventual`] pass between two that are made durable
/// at once, to renew it.
const LEASE: u64 = 1 << 16;

/// What somebody wants to have committed.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) batch: Batch,
    pub(super) durability: Durability,
    /// What the batch depends on, if it is that of a transaction.
    pub(super) read: Option<(Ticket, Reads)>,
    /// Keeps what the reads are compared with until the batch is judged, also when its caller has gone away.
    pub(super) _held: Option<Box<dyn fmt::Debug + Send + Sync>>,
}

/// The one who commits. Whoever holds it has the turn.
#[derive(Debug)]
pub(super) struct Committer<E> {
    shared: Arc<Shared<E>>,
    counters: Counters,
    /// Ids of namespaces that were cleared, whose records are still there, and the commit that cleared each.
    retired: VecDeque<(u32, u64)>,
    /// The usage of every namespace that was changed since the store was opened.
    usage: HashMap<u32, Usage>,
    undurable: bool,
    closed: bool,
}

impl<E: KeyValueEngine> Committer<E> {
    pub(super) fn new(shared: Arc<Shared<E>>, counters: Counters, retired: Vec<u32>) -> Self {
        shared.history.start_at(counters.version);
        let retired = retired.into_iter().map(|id| (id, counters.version)).collect();
        Self { shared, counters, retired, usage: HashMap::new(), undurable: false, closed: false }
    }

    /// Whether a commit waits for [`sync`](Self::sync) to become durable.
    pub(super) fn undurable(&self) -> bool {
        self.undurable
    }

    /// Judges the batches in their order and applies those that pass, together. One answer for each.
    pub(super) fn commit(&mut self, proposals: &[&Proposal]) -> Vec<Result<CommitOutcome>> {
        if let Err(first) = self.check(COMMIT) {
            let others =
                proposals.iter().skip(1).map(|_| self.check(COMMIT).and(Err(self.shared.gone(COMMIT))));
            return std::iter::once(Err(first)).chain(others).collect();
        }
        let mut group = Group {
            shared: &self.shared,
            known_usage: &self.usage,
            accepted: Draft::default(),
            counters: self.counters,
        };
        let mut durability = Durability::Eventual;
        let mut answers = Vec::with_capacity(proposals.len());
        for proposal in proposals {
            let answer = group.judge(proposal);
            if answer.is_ok() && proposal.durability == Durability::Immediate {
                durability = Durability::Immediate;
            }
            answers.push(answer);
        }
        let Group { accepted, counters, .. } = group;
        if accepted.is_empty() {
            return answers;
        }
        let recorded = self.shared.history.start_commit();
        let applied = self.apply(accepted, counters, durability, recorded);
        self.shared.history.finish_commit(applied.is_ok().then_some(counters.version));
        if let Err(error) = applied {
            let broken = self.break_off(&error);
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(self.failure(COMMIT, &broken));
            }
        }
        answers
    }

    fn apply(
        &mut self,
        accepted: Draft,
        mut counters: Counters,
        mut durability: Durability,
        recorded: bool,
    ) -> Result<(), EngineError> {
        // A crash may undo an undurable commit, but its version must not come back with other contents: a durable lease
        // says up to where versions may have been given out.
        if durability == Durability::Eventual && counters.version > counters.lease {
            counters.lease = counters.version.saturating_add(LEASE);
            durability = Durability::Immediate;
        }
        let Draft { mut writes, usage, names, retired } = accepted;
        let version = CommitVersion(counters.version);
        let mut keep = |key: Vec<u8>, payload: &[u8]| {
            let sealed = envelope::seal(&key, version, payload);
            writes.insert(key, Some(sealed));
        };
        for (namespace, usage) in &usage {
            keep(layout::usage(*namespace).to_vec(), &layout::encode_usage(*usage));
        }
        for (namespace, id) in &names {
            keep(layout::name(namespace.as_bytes()), &id.to_be_bytes());
        }
        for id in &retired {
            keep(layout::retired(*id).to_vec(), &[]);
        }
        keep(layout::COUNTERS.to_vec(), &counters.encode());
        if recorded {
            let history = &self.shared.history;
            match self.replaced(&writes, history.max_bytes())? {
                Some(replaced) => history.publish(counters.version, replaced),
                None => history.give_up(counters.version),
            }
        }
        let writes = writes.into_iter().map(|(key, value)| Write { key, value }).collect();
        if retired.is_empty() {
            self.shared.namespaces.add(names);
            self.shared.engine.apply(writes, durability)?;
        } else {
            self.shared
                .namespaces
                .exchange(names, || self.shared.engine.apply(writes, Durability::Eventual))?;
            if durability == Durability::Immediate {
                self.shared.engine.sync()?;
            }
        }
        self.counters = counters;
        self.usage.extend(usage);
        self.retired.extend(retired.into_iter().map(|id| (id, counters.version)));
        self.undurable = durability == Durability::Eventual;
        Ok(())
    }

    /// What `writes` are about to replace, of what transactions read. None when that is more than so many bytes.
    fn replaced(&self, writes: &Writes, most: usize) -> Result<Option<Replaced>, EngineError> {
        let mut replaced = Vec::with_capacity(writes.len());
        let mut bytes = 0;
        for key in writes.keys().filter(|key| layout::is_read(key)) {
            let value = self.shared.engine.get(key, <[u8]>::to_vec)?;
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            if bytes > most {
                return Ok(None);
            }
            replaced.push((key.clone(), value));
        }
        Ok(Some(replaced))
    }

    /// Whether a commit with [`Durability::Eventual`] waits for no medium now: it needs no new lease.
    pub(super) fn is_quick(&self) -> bool {
        self.counters.version < self.counters.lease
    }

    /// Whether [`sweep`](Self::sweep) has something to do now.
    pub(super) fn can_sweep(&self) -> bool {
        let oldest = self.retired.front().map(|(_, version)| *version);
        let is_free = |version| self.shared.history.oldest_moment() >= version;
        !self.closed && self.shared.broken.get().is_none() && oldest.is_some_and(is_free)
    }

    /// Removes at most so many records of namespaces that were cleared.
    pub(super) fn sweep(&mut self, most: usize) {
        let Some((id, _)) = self.retired.front().copied().filter(|_| self.can_sweep()) else { return };
        let (start, end) = layout::range(id, &KeyRange::all());
        let mut writes = Vec::new();
        let found = self.shared.engine.scan(
            start.as_ref().map(Vec::as_slice),
            end.as_ref().map(Vec::as_slice),
            Order::Ascending,
            |key, _| {
                writes.push(Write { key: key.to_vec(), value: None });
                if writes.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        );
        let done = writes.len() < most;
        if done {
            writes.push(Write { key: layout::usage(id).to_vec(), value: None });
            writes.push(Write { key: layout::retired(id).to_vec(), value: None });
        }
        match found.and_then(|()| self.shared.engine.apply(writes, Durability::Eventual)) {
            Ok(()) => {
                self.undurable = true;
                if done {
                    self.retired.pop_front();
                    self.usage.remove(&id);
                }
            }
            // Whoever commits next is told.
            Err(error) => {
                let _ = self.break_off(&error);
            }
        }
    }

    /// Makes everything committed so far durable.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.check(SYNC)?;
        if self.undurable {
            if let Err(error) = self.shared.engine.sync() {
                let broken = self.break_off(&error);
                return Err(self.failure(SYNC, &broken));
            }
            self.undurable = false;
        }
        Ok(())
    }

    /// Has the engine give back the room that it does not need.
    pub(super) fn compact(&mut self) -> Result<()> {
        self.check(COMPACT)?;
        self.sync()?;
        if let Err(error) = self.shared.engine.compact() {
            let broken = self.break_off(&error);
            return Err(self.failure(COMPACT, &broken));
        }
        Ok(())
    }

    /// Synchronises and releases the engine, once.
    pub(super) fn close(&mut self) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let synced = self.return_lease().and_then(|()| self.sync());
        self.closed = true;
        let released = self.shared.engine.close().map_err(|error| self.shared.engine_failed(CLOSE, error));
        synced.and(released)
    }

    /// Gives back the versions that were leased and not used, so that the next opening goes on where this one ends.
    fn return_lease(&mut self) -> Result<()> {
        self.check(CLOSE)?;
        if self.counters.lease <= self.counters.version {
            return Ok(());
        }
        let counters = Counters { lease: self.counters.version, ..self.counters };
        let sealed = envelope::seal(layout::COUNTERS, CommitVersion(counters.version), &counters.encode());
        let write = Write { key: layout::COUNTERS.to_vec(), value: Some(sealed) };
        if let Err(error) = self.shared.engine.apply(vec![write], Durability::Immediate) {
            let broken = self.break_off(&error);
            return Err(self.failure(CLOSE, &broken));
        }
        self.counters = counters;
        self.undurable = false;
        Ok(())
    }

    fn check(&self, operation: &'static str) -> Result<()> {
        if self.closed {
            return Err(self.shared.gone(operation));
        }
        self.shared.check_writable(operation)
    }

    fn break_off(&self, error: &EngineError) -> Broken {
        let broken = Broken { fault: error.fault, cause: error.cause.to_string().into() };
        self.shared.broken.get_or_init(|| broken).clone()
    }

    fn failure(&self, operation: &'static str, broken: &Broken) -> WasmError {
        let advice = match broken.fault {
            StorageFault::NoSpace => "Free space on the device, then open the store again.",
            _ => "Look after the device, then open the store again.",
        };
        self.shared.failed(operation, broken.fault).because(broken.cause.to_string()).advising(advice)
    }
}

/// Keys of the engine with what they are to hold. None: nothing.
type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What batches would change.
#[derive(Debug, Default)]
struct Draft {
    writes: Writes,
    usage: HashMap<u32, Usage>,
    names: HashMap<Namespace, u32>,
    /// Ids whose namespaces have new ones.
    retired: Vec<u32>,
}

impl Draft {
    /// The first of what was read that is written here.
    fn conflict(&self, reads: &Reads) -> Option<Vec<u8>> {
        let names: Vec<_> = self.names.keys().map(|name| layout::name(name.as_bytes())).collect();
        let written = |key: &&Vec<u8>| self.writes.contains_key(*key) || names.contains(*key);
        if let Some(key) = reads.keys.iter().find(written) {
            return Some(key.clone());
        }
        let in_range = reads.ranges.iter().find_map(|(start, end)| {
            let bounds = (start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice));
            self.writes.range::<[u8], _>(bounds).next()
        });
        in_range.map(|(key, _)| key.clone())
    }

    fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.names.is_empty()
    }
}

/// A group that is being judged: the state of the store, and on it what was accepted already.
struct Group<'a, E> {
    shared: &'a Shared<E>,
    known_usage: &'a HashMap<u32, Usage>,
    accepted: Draft,
    counters: Counters,
}

impl<E: KeyValueEngine> Group<'_, E> {
    /// Adds `batch` to what is accepted, or leaves everything as it was.
    fn judge(&mut self, proposal: &Proposal) -> Result<CommitOutcome> {
        let batch = &proposal.batch;
        for requirement in batch.requirements() {
            self.check(requirement)?;
        }
        if batch.changes().is_empty() && batch.cleared().is_empty() {
            let version = CommitVersion(self.counters.version);
            return Ok(CommitOutcome { version, usage: Vec::new(), evicted: Vec::new() });
        }
        if let Some((ticket, reads)) = &proposal.read {
            self.check_reads(*ticket, reads)?;
        }
        let version = self.counters.version.checked_add(1).map(CommitVersion);
        let version = version.ok_or_else(|| self.exhausted("versions"))?;
        let mut next_namespace = self.counters.next_namespace;
        let mut draft = Draft::default();
        let mut touched: Vec<(&Namespace, Option<u32>)> = Vec::new();
        let mut evicted = Vec::new();
        for namespace in batch.cleared() {
            let mut id = self.namespace(&draft, namespace);
            // One without records is clear.
            if let Some(old) = id
                && self.usage(None, old)?.keys > 0
            {
                let new = next_namespace;
                next_namespace = new.checked_add(1).ok_or_else(|| self.exhausted("namespaces"))?;
                draft.retired.push(old);
                draft.names.insert(namespace.clone(), new);
                draft.usage.insert(new, Usage::default());
                id = Some(new);
            }
            touched.push((namespace, id));
        }
        for (position, change) in batch.changes().iter().enumerate() {
            let namespace = change.namespace();
            let mut id = self.namespace(&draft, namespace);
            if id.is_none() && matches!(change, Change::Put { .. }) {
                let new = next_namespace;
                next_namespace = new.checked_add(1).ok_or_else(|| self.exhausted("namespaces"))?;
                draft.names.insert(namespace.clone(), new);
                draft.usage.insert(new, Usage::default());
                id = Some(new);
            }
            match touched.iter_mut().find(|(other, _)| *other == namespace) {
                Some((_, known)) => *known = id,
                None => touched.push((namespace, id)),
            }
            if batch.is_replaced(position) {
                evicted.push(id.map_or(Ok(None), |id| self.value(&draft, id, namespace, change.key()))?);
            }
            // A namespace without an id has no key that could be deleted.
            if let Some(id) = id {
                self.change(&mut draft, id, change, version)?;
            }
        }
        for (namespace, quota) in batch.quotas() {
            if let Some((_, Some(id))) = touched.iter().find(|(other, _)| *other == namespace) {
                self.check_quota(&draft, namespace, *id, *quota)?;
            }
        }
        let mut usage = Vec::with_capacity(touched.len());
        for (namespace, id) in touched {
            let held = id.map_or(Ok(Usage::default()), |id| self.usage(Some(&draft), id))?;
            usage.push((namespace.clone(), held));
        }
        if draft.is_empty() {
            // Nothing but absent keys was deleted.
            return Ok(CommitOutcome { version: CommitVersion(self.counters.version), usage, evicted });
        }
        let Draft { writes, usage: counted, names, retired } = draft;
        self.counters = Counters { version: version.0, next_namespace, ..self.counters };
        self.accepted.writes.extend(writes);
        self.accepted.usage.extend(counted);
        self.accepted.names.extend(names);
        self.accepted.retired.extend(retired);
        Ok(CommitOutcome { version, usage, evicted })
    }

    fn change(
        &self,
        draft: &mut Draft,
        namespace: u32,
        change: &Change,
        version: CommitVersion,
    ) -> Result<()> {
        let key = change.key();
        let stored = layout::record(namespace, key);
        let before = self.length(draft, &stored)?;
        let mut usage = self.usage(Some(draft), namespace)?;
        if let Some(length) = before {
            usage.bytes = usage.bytes.saturating_sub(counted(key, length));
            usage.keys = usage.keys.saturating_sub(1);
        }
        match change {
            Change::Put { value, .. } => {
                usage.bytes = usage.bytes.saturating_add(Usage::of_record(key, value));
                usage.keys = usage.keys.saturating_add(1);
                let sealed = envelope::seal(&stored, version, value);
                draft.writes.insert(stored, Some(sealed));
            }
            Change::Delete { .. } if before.is_none() => return Ok(()),
            Change::Delete { .. } => {
                draft.writes.insert(stored, None);
            }
        }
        draft.usage.insert(namespace, usage);
        Ok(())
    }

    /// Refuses what grows a namespace beyond its quota.
    fn check_quota(&self, draft: &Draft, namespace: &Namespace, id: u32, quota: Quota) -> Result<()> {
        let before = self.usage(None, id)?;
        let after = self.usage(Some(draft), id)?;
        let exceeded = |what, before, after, allowed| {
            if after <= allowed || after <= before {
                return Ok(());
            }
            Err(WasmError::storage(COMMIT, StorageFault::QuotaExceeded)
                .saying(format!("the namespace would hold {after} {what} of {allowed} allowed"))
                .with("namespace", namespace)
                .with("used", before)
                .with("asked", after)
                .with("allowed", allowed))
        };
        exceeded("bytes", before.bytes, after.bytes, quota.bytes)?;
        exceeded("keys", before.keys, after.keys, quota.keys)
    }

    /// Refuses what the state before the batch does not allow.
    fn check(&self, requirement: &Requirement) -> Result<()> {
        let Requirement { namespace, key, precondition } = requirement;
        let found = self.version(namespace, key)?;
        let holds = match precondition {
            Precondition::Absent => found.is_none(),
            Precondition::Present => found.is_some(),
            Precondition::Version(version) => found == Some(*version),
        };
        if holds {
            return Ok(());
        }
        let expected = match precondition {
            Precondition::Absent => "absent".to_owned(),
            Precondition::Present => "present".to_owned(),
            Precondition::Version(version) => format!("version {}", version.0),
        };
        let found = found.map_or_else(|| "absent".to_owned(), |version| format!("version {}", version.0));
        Err(WasmError::storage(COMMIT, StorageFault::Conflict)
            .saying("a key is not in the state that the batch requires")
            .with("namespace", namespace)
            .with("key", key)
            .with("required", expected)
            .with("found", found))
    }

    /// Refuses a transaction that has read what others have changed since.
    fn check_reads(&self, ticket: Ticket, reads: &Reads) -> Result<()> {
        let conflict =
            self.shared.history.conflict(ticket, reads).map_err(|fault| {
                self.shared.failed(COMMIT, fault).advising("Begin the transaction again.")
            })?;
        let conflict = conflict.or_else(|| self.accepted.conflict(reads));
        let Some(key) = conflict else { return Ok(()) };
        Err(self
            .shared
            .failed(COMMIT, StorageFault::Conflict)
            .saying("what the transaction has read was changed before it was committed")
            .with("key", key.get(layout::PREFIX..).unwrap_or_default().escape_ascii())
            .advising("Begin the transaction again."))
    }

    /// The value of a key before a change.
    fn value(&self, draft: &Draft, id: u32, namespace: &Namespace, key: &Key) -> Result<Option<Vec<u8>>> {
        let stored = layout::record(id, key);
        let read = |sealed: &[u8]| envelope::open(&stored, sealed).map(|(_, payload)| payload.to_vec());
        let value = match draft.writes.get(&stored).or_else(|| self.accepted.writes.get(&stored)) {
            Some(written) => written.as_deref().map(read),
            None => self
                .shared
                .engine
                .get(&stored, read)
                .map_err(|error| self.shared.engine_failed(COMMIT, error))?,
        };
        value.transpose().map_err(|fault| self.shared.damaged(COMMIT, fault, namespace, key))
    }

    fn namespace(&self, draft: &Draft, namespace: &Namespace) -> Option<u32> {
        let drafted = draft.names.get(namespace).or_else(|| self.accepted.names.get(namespace));
        drafted.copied().or_else(|| self.shared.namespaces.id(namespace))
    }

    fn usage(&self, draft: Option<&Draft>, namespace: u32) -> Result<Usage> {
        let drafted = draft.and_then(|draft| draft.usage.get(&namespace));
        let known = drafted
            .or_else(|| self.accepted.usage.get(&namespace))
            .or_else(|| self.known_usage.get(&namespace));
        if let Some(usage) = known {
            return Ok(*usage);
        }
        // A namespace that only this batch knows had nothing before it.
        self.shared.usage(namespace, COMMIT)
    }

    /// The payload's length, whether or not the payload is whole: a damaged record can be overwritten and deleted.
    fn length(&self, draft: &Draft, stored: &[u8]) -> Result<Option<usize>> {
        let length = |sealed: &[u8]| sealed.len().saturating_sub(envelope::HEADER);
        match draft.writes.get(stored).or_else(|| self.accepted.writes.get(stored)) {
            Some(written) => Ok(written.as_deref().map(length)),
            None => self
                .shared
                .engine
                .get(stored, length)
                .map_err(|error| self.shared.engine_failed(COMMIT, error)),
        }
    }

    fn version(&self, namespace: &Namespace, key: &Key) -> Result<Option<CommitVersion>> {
        let Some(id) = self.namespace(&Draft::default(), namespace) else { return Ok(None) };
        let stored = layout::record(id, key);
        let read = |sealed: &[u8]| envelope::open(&stored, sealed).map(|(version, _)| version);
        let version = match self.accepted.writes.get(&stored) {
            Some(written) => written.as_deref().map(read),
            None => self
                .shared
                .engine
                .get(&stored, read)
                .map_err(|error| self.shared.engine_failed(COMMIT, error))?,
        };
        version.transpose().map_err(|fault| self.shared.damaged(COMMIT, fault, namespace, key))
    }

    fn exhausted(&self, what: &str) -> WasmError {
        self.shared.failed(COMMIT, StorageFault::TooLarge).saying(format!("the store has no {what} left"))
    }
}

fn counted(key: &Key, length: usize) -> u64 {
    Usage::of_record(key, &[]) + length as u64
}
