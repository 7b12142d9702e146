//! Judging: preconditions, what transactions have read, quotas, versions and usage of a group of batches, one after another.

use std::collections::{BTreeMap, HashMap};

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Change, CommitOutcome, CommitVersion, Key, MAX_BATCH_BYTES, Namespace, Precondition, Quota, Requirement,
    Usage,
};

use super::commit::Proposal;
use super::history::{Reads, Ticket};
use super::layout::{self, Counters, Kind};
use super::{COMMIT, Shared, envelope};
use crate::engine::KeyValueEngine;

/// Keys of the engine with what they are to hold. None: nothing.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What batches would change.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) writes: Writes,
    pub(super) usage: HashMap<u32, Usage>,
    pub(super) names: HashMap<Namespace, u32>,
    /// Ids whose namespaces have new ones.
    pub(super) retired: Vec<u32>,
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

    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.names.is_empty()
    }
}

/// A group that is being judged: the state of the store, and on it what was accepted already.
pub(super) struct Group<'a, E> {
    shared: &'a Shared<E>,
    known_usage: &'a HashMap<u32, Usage>,
    accepted: Draft,
    counters: Counters,
}

impl<'a, E: KeyValueEngine> Group<'a, E> {
    pub(super) fn new(
        shared: &'a Shared<E>,
        known_usage: &'a HashMap<u32, Usage>,
        counters: Counters,
    ) -> Self {
        Self { shared, known_usage, accepted: Draft::default(), counters }
    }

    /// What was accepted, and the counters behind it.
    pub(super) fn accepted(self) -> (Draft, Counters) {
        (self.accepted, self.counters)
    }

    /// Adds the batch to what is accepted, or leaves everything as it was.
    pub(super) fn judge(&mut self, proposal: &Proposal) -> Result<CommitOutcome> {
        let batch = &proposal.batch;
        for requirement in batch.requirements() {
            self.check(requirement)?;
        }
        if batch.changes().is_empty() && batch.cleared().is_empty() {
            let version = CommitVersion(self.counters.version);
            return Ok(CommitOutcome { version, usage: Vec::new(), evicted: Vec::new() });
        }
        if let Some((moment, reads)) = &proposal.read {
            self.check_reads(moment.ticket, reads)?;
        }
        let version = self.counters.version.checked_add(1).map(CommitVersion);
        let version = version.ok_or_else(|| self.exhausted("versions"))?;
        let mut next_namespace = self.counters.next_namespace;
        let mut draft = Draft::default();
        let mut touched: Vec<(&Namespace, Option<u32>)> = Vec::new();
        let mut evicted: Vec<Option<Vec<u8>>> = Vec::new();
        let mut evicted_bytes = 0;
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
                let value = id.map_or(Ok(None), |id| self.value(&draft, id, namespace, change.key()))?;
                evicted_bytes += value.as_ref().map_or(0, Vec::len);
                if evicted_bytes > MAX_BATCH_BYTES {
                    return Err(WasmError::storage(COMMIT, StorageFault::TooLarge)
                        .saying(format!(
                            "the batch replaces more than {MAX_BATCH_BYTES} bytes of values that it asks for"
                        ))
                        .advising(
                            "Replace fewer at a time, or put them without asking for what was there.",
                        ));
                }
                evicted.push(value);
            }
            // A namespace without an id has no key that could be deleted.
            if let Some(id) = id {
                self.change(&mut draft, id, change, version)?;
            }
        }
        for (namespace, quota) in batch.quotas() {
            if let Some((_, Some(id))) = touched.iter().find(|(other, _)| *other == namespace) {
                // Before the batch the name may have had another id.
                let former = self.namespace(&Draft::default(), namespace).unwrap_or(*id);
                let (before, after) = (self.usage(None, former)?, self.usage(Some(&draft), *id)?);
                check_quota(namespace, before, after, *quota)?;
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
        let Some(changed) = conflict else { return Ok(()) };
        let (what, name) = match layout::kind(&changed) {
            Kind::Name(name) => ("namespace", name),
            _ => ("key", changed.get(layout::PREFIX..).unwrap_or_default()),
        };
        Err(self
            .shared
            .failed(COMMIT, StorageFault::Conflict)
            .saying("what the transaction has read was changed before it was committed")
            .with(what, name.escape_ascii())
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

/// Refuses what grows a namespace beyond its quota.
fn check_quota(namespace: &Namespace, before: Usage, after: Usage, quota: Quota) -> Result<()> {
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
