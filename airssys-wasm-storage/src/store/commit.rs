//! The commit turn: preconditions, quotas, versions and usage of a group of batches, judged one after another and applied as one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, Change, CommitOutcome, CommitVersion, Durability, Key, Namespace, Precondition, Quota,
    Requirement, Usage,
};

use super::layout::{self, Counters};
use super::{Broken, CLOSE, COMMIT, COMPACT, SYNC, Shared, envelope};
use crate::engine::{EngineError, KeyValueEngine, Write};

/// How many versions a lease covers: so many commits with [`Durability::Eventual`] pass between two that are made durable
/// at once, to renew it.
const LEASE: u64 = 1 << 16;

/// The one who commits. Whoever holds it has the turn.
#[derive(Debug)]
pub(super) struct Committer<E> {
    shared: Arc<Shared<E>>,
    counters: Counters,
    /// The usage of every namespace that was changed since the store was opened.
    usage: HashMap<u32, Usage>,
    undurable: bool,
    closed: bool,
}

impl<E: KeyValueEngine> Committer<E> {
    pub(super) fn new(shared: Arc<Shared<E>>, counters: Counters) -> Self {
        Self { shared, counters, usage: HashMap::new(), undurable: false, closed: false }
    }

    /// Whether a commit waits for [`sync`](Self::sync) to become durable.
    pub(super) fn undurable(&self) -> bool {
        self.undurable
    }

    /// Judges the batches in their order and applies those that pass, together. One answer for each.
    pub(super) fn commit(&mut self, batches: &[(&Batch, Durability)]) -> Vec<Result<CommitOutcome>> {
        if let Err(first) = self.check(COMMIT) {
            let others =
                batches.iter().skip(1).map(|_| self.check(COMMIT).and(Err(self.shared.gone(COMMIT))));
            return std::iter::once(Err(first)).chain(others).collect();
        }
        let mut group = Group {
            shared: &self.shared,
            known_usage: &self.usage,
            accepted: Draft::default(),
            counters: self.counters,
        };
        let mut durability = Durability::Eventual;
        let mut answers = Vec::with_capacity(batches.len());
        for (batch, asked) in batches {
            let answer = group.judge(batch);
            if answer.is_ok() && *asked == Durability::Immediate {
                durability = Durability::Immediate;
            }
            answers.push(answer);
        }
        let Group { accepted, counters, .. } = group;
        if accepted.writes.is_empty() {
            return answers;
        }
        if let Err(error) = self.apply(accepted, counters, durability) {
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
    ) -> Result<(), EngineError> {
        // A crash may undo an undurable commit, but its version must not come back with other contents: a durable lease
        // says up to where versions may have been given out.
        if durability == Durability::Eventual && counters.version > counters.lease {
            counters.lease = counters.version.saturating_add(LEASE);
            durability = Durability::Immediate;
        }
        let Draft { mut writes, usage, names } = accepted;
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
        keep(layout::COUNTERS.to_vec(), &counters.encode());
        self.shared.namespaces.add(names);
        let writes = writes.into_iter().map(|(key, value)| Write { key, value }).collect();
        self.shared.engine.apply(writes, durability)?;
        self.counters = counters;
        self.usage.extend(usage);
        self.undurable = durability == Durability::Eventual;
        Ok(())
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
            StorageFault::NoSpace => {
                "Free space on the device, then open the store again; until then it can be read."
            }
            _ => "Look after the device, then open the store again; until then it can be read.",
        };
        self.shared.failed(operation, broken.fault).because(broken.cause.to_string()).advising(advice)
    }
}

/// What batches would change.
#[derive(Debug, Default)]
struct Draft {
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    usage: HashMap<u32, Usage>,
    names: HashMap<Namespace, u32>,
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
    fn judge(&mut self, batch: &Batch) -> Result<CommitOutcome> {
        for requirement in batch.requirements() {
            self.check(requirement)?;
        }
        if batch.changes().is_empty() {
            return Ok(CommitOutcome { version: CommitVersion(self.counters.version), usage: Vec::new() });
        }
        let version = self.counters.version.checked_add(1).map(CommitVersion);
        let version = version.ok_or_else(|| self.exhausted("versions"))?;
        let mut next_namespace = self.counters.next_namespace;
        let mut draft = Draft::default();
        let mut touched: Vec<(&Namespace, Option<u32>)> = Vec::new();
        for change in batch.changes() {
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
        let Draft { writes, usage: counted, names } = draft;
        if writes.is_empty() {
            // Nothing but absent keys was deleted.
            return Ok(CommitOutcome { version: CommitVersion(self.counters.version), usage });
        }
        self.counters = Counters { version: version.0, next_namespace, ..self.counters };
        self.accepted.writes.extend(writes);
        self.accepted.usage.extend(counted);
        self.accepted.names.extend(names);
        Ok(CommitOutcome { version, usage })
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
