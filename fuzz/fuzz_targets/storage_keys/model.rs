//! What a store should hold: a sorted map.

use std::collections::BTreeMap;

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::{
    Batch, Change, CommitVersion, Key, KeyRange, Namespace, Order, Precondition, Record, Usage,
};

/// A key and where it is.
pub(crate) type Place = (Namespace, Key);

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) records: BTreeMap<Place, Record>,
    /// The commit that last wrote or removed each key, whether or not that changed it.
    pub(crate) touched: BTreeMap<Place, CommitVersion>,
    /// The last commit that cleared each namespace, or wrote to it while it was empty.
    pub(crate) renewed: BTreeMap<Namespace, CommitVersion>,
    pub(crate) version: CommitVersion,
}

/// What a commit does.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) after: Model,
    pub(crate) evicted: Vec<Option<Vec<u8>>>,
    /// Whether a record is written or removed.
    pub(crate) writes: bool,
}

/// Of records that are not committed yet.
const PENDING: CommitVersion = CommitVersion(u64::MAX);

impl Model {
    /// What committing `batch` does, or why it is refused.
    pub(crate) fn commit(&self, batch: &Batch) -> Result<Effect, StorageFault> {
        for requirement in batch.requirements() {
            let found = self.records.get(&(requirement.namespace.clone(), requirement.key.clone()));
            let holds = match requirement.precondition {
                Precondition::Absent => found.is_none(),
                Precondition::Present => found.is_some(),
                Precondition::Version(version) => found.is_some_and(|record| record.version == version),
            };
            if !holds {
                return Err(StorageFault::Conflict);
            }
        }
        let mut after = self.clone();
        for cleared in batch.cleared() {
            after.renewed.insert(cleared.clone(), PENDING);
            let gone: Vec<_> = after.records.keys().filter(|(other, _)| other == cleared).cloned().collect();
            for place in gone {
                after.records.remove(&place);
                after.touched.insert(place, PENDING);
            }
        }
        let mut evicted = Vec::new();
        for (position, change) in batch.changes().iter().enumerate() {
            let place = (change.namespace().clone(), change.key().clone());
            let before = match change {
                Change::Put { value, .. } => {
                    if !after.records.keys().any(|(namespace, _)| *namespace == place.0) {
                        after.renewed.insert(place.0.clone(), PENDING);
                    }
                    let record = Record { value: value.clone(), version: PENDING };
                    after.records.insert(place.clone(), record)
                }
                Change::Delete { .. } => after.records.remove(&place),
            };
            if batch.is_replaced(position) {
                evicted.push(before.map(|record| record.value));
            }
            after.touched.insert(place, PENDING);
        }
        for (namespace, quota) in batch.quotas() {
            let (before, usage) = (self.usage(namespace), after.usage(namespace));
            let passes = |usage: u64, before: u64, quota: u64| usage <= quota || usage <= before;
            if !passes(usage.bytes, before.bytes, quota.bytes) || !passes(usage.keys, before.keys, quota.keys)
            {
                return Err(StorageFault::QuotaExceeded);
            }
        }
        let writes = after.records != self.records;
        Ok(Effect { after, evicted, writes })
    }

    pub(crate) fn usage(&self, namespace: &Namespace) -> Usage {
        let records = self.records.iter().filter(|((other, _), _)| other == namespace);
        records.fold(Usage::default(), |usage, ((_, key), record)| Usage {
            bytes: usage.bytes + Usage::of_record(key, &record.value),
            keys: usage.keys + 1,
        })
    }

    /// The records of a range, in its order.
    pub(crate) fn range(&self, namespace: &Namespace, range: &KeyRange) -> Vec<(Key, Record)> {
        let records = self.records.iter();
        let mut found: Vec<_> = records
            .filter(|((other, key), _)| other == namespace && range.contains(key.as_bytes()))
            .map(|((_, key), record)| (key.clone(), record.clone()))
            .collect();
        if range.order() == Order::Descending {
            found.reverse();
        }
        found
    }
}

impl Effect {
    /// The model after the commit, which got this version.
    pub(crate) fn stamped(mut self, version: CommitVersion) -> Model {
        self.after.version = version;
        let pending = self.after.records.values_mut().map(|record| &mut record.version);
        let pending = pending.chain(self.after.touched.values_mut()).chain(self.after.renewed.values_mut());
        for stamp in pending.filter(|stamp| **stamp == PENDING) {
            *stamp = version;
        }
        self.after
    }
}
