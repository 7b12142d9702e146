//! Random steps, next to a model that cannot be wrong.

use std::collections::BTreeMap;

use airssys_wasm_core::error::{Detail, StorageFault};
use airssys_wasm_core::storage::{
    Batch, CommitVersion, Durability, Key, KeyRange, Namespace, Order, Precondition, Quota, Record, Usage,
};

use super::{StorageBench, Store, namespace};
use crate::random::Random;
use crate::runner::{Outcome, contracts, ensure, ensure_eq, fail};

/// What a store should hold.
#[derive(Default)]
struct Model {
    records: BTreeMap<(Namespace, Key), Record>,
    latest: CommitVersion,
}

impl Model {
    fn usage(&self, space: &Namespace) -> Usage {
        let of_space = self.records.iter().filter(|((namespace, _), _)| namespace == space);
        of_space.fold(Usage::default(), |usage, ((_, key), record)| Usage {
            bytes: usage.bytes + Usage::of_record(key, &record.value),
            keys: usage.keys + 1,
        })
    }

    /// What a commit should say, and whether it writes anything. The model then is as the store should be.
    fn commit(&mut self, batch: &Batch) -> Result<bool, StorageFault> {
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
        let mut after = Self { records: self.records.clone(), latest: self.latest };
        for change in batch.changes() {
            let place = (change.namespace().clone(), change.key().clone());
            match change {
                airssys_wasm_core::storage::Change::Put { value, .. } => {
                    let record = Record { value: value.clone(), version: CommitVersion(u64::MAX) };
                    after.records.insert(place, record);
                }
                airssys_wasm_core::storage::Change::Delete { .. } => {
                    after.records.remove(&place);
                }
            }
        }
        for (space, quota) in batch.quotas() {
            let (before, usage) = (self.usage(space), after.usage(space));
            let bytes_pass = usage.bytes <= quota.bytes || usage.bytes <= before.bytes;
            let keys_pass = usage.keys <= quota.keys || usage.keys <= before.keys;
            if !(bytes_pass && keys_pass) {
                return Err(StorageFault::QuotaExceeded);
            }
        }
        let writes = self.records != after.records;
        *self = after;
        Ok(writes)
    }

    /// Gives the records of the latest commit the version that the store gave them.
    fn stamp(&mut self, version: CommitVersion) {
        self.latest = version;
        for record in self.records.values_mut().filter(|record| record.version == CommitVersion(u64::MAX)) {
            record.version = version;
        }
    }

    fn page(&self, space: &Namespace, range: &KeyRange) -> Vec<(Key, Record)> {
        let in_range =
            |(namespace, key): &(Namespace, Key)| namespace == space && range.contains(key.as_bytes());
        let records = self.records.iter().filter(|(place, _)| in_range(place));
        let mut page: Vec<_> = records.map(|((_, key), record)| (key.clone(), record.clone())).collect();
        if range.order() == Order::Descending {
            page.reverse();
        }
        page
    }
}

struct Walk {
    random: Random,
    spaces: Vec<Namespace>,
    model: Model,
}

impl Walk {
    fn key(&mut self) -> Key {
        const ALPHABET: [u8; 5] = [0, b'a', b'b', 0xfe, 0xff];
        let length = 1 + self.random.below(3);
        let bytes: Vec<u8> = (0..length).map(|_| ALPHABET[self.random.below(ALPHABET.len())]).collect();
        super::key(bytes)
    }

    fn space(&mut self) -> Namespace {
        self.spaces[self.random.below(self.spaces.len())].clone()
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::new();
        for _ in 0..=self.random.below(5) {
            let (space, key) = (self.space(), self.key());
            if self.random.below(3) == 0 {
                batch.delete(&space, key);
            } else {
                let length = self.random.below(40);
                batch.put(&space, key, self.random.bytes(length));
            }
        }
        if self.random.below(3) == 0 {
            let (space, key) = (self.space(), self.key());
            let known = self.model.records.get(&(space.clone(), key.clone())).map(|record| record.version);
            let precondition = match self.random.below(4) {
                0 => Precondition::Absent,
                1 => Precondition::Present,
                2 => Precondition::Version(self.model.latest),
                _ => Precondition::Version(known.unwrap_or_default()),
            };
            batch.require(&space, key, precondition);
        }
        if self.random.below(4) == 0 {
            let space = self.space();
            let usage = self.model.usage(&space);
            let quota = Quota {
                bytes: usage.bytes + self.random.below(120) as u64,
                keys: usage.keys + self.random.below(3) as u64,
            };
            batch.limit(&space, quota);
        }
        batch
    }

    async fn step(&mut self, store: &Store) -> Outcome {
        match self.random.below(10) {
            0..=4 => {
                let batch = self.batch();
                let durability =
                    if self.random.below(20) == 0 { Durability::Immediate } else { Durability::Eventual };
                let expected = self.model.commit(&batch);
                match (store.commit(batch.clone(), durability).await, expected) {
                    (Ok(outcome), Ok(writes)) => {
                        // A commit that writes nothing needs no version of its own.
                        let grows = self.model.latest < outcome.version
                            || (!writes && self.model.latest == outcome.version);
                        ensure!(grows, "version {:?} follows {:?}", outcome.version, self.model.latest);
                        self.model.stamp(outcome.version);
                        for (space, usage) in outcome.usage {
                            ensure_eq!(
                                usage,
                                self.model.usage(&space),
                                "the usage of {space:?} in the outcome"
                            );
                        }
                    }
                    (Err(error), Err(fault)) if error.detail() == Some(Detail::Storage(fault)) => {}
                    (found, expected) => {
                        fail!("{batch:?}: {expected:?} was expected, {found:?} was found")
                    }
                }
            }
            5 | 6 => {
                let (space, key) = (self.space(), self.key());
                let expected = self.model.records.get(&(space.clone(), key.clone())).cloned();
                ensure_eq!(store.get(&space, &key).await?, expected, "{key:?} of {space:?}");
            }
            7 | 8 => {
                let (space, edge) = (self.space(), self.key());
                let range = match self.random.below(3) {
                    0 => KeyRange::all(),
                    1 => KeyRange::prefix(edge.as_bytes()),
                    _ => KeyRange::all().after(edge.as_bytes()),
                };
                let range = if self.random.below(3) == 0 { range.reversed() } else { range };
                let limit = 1 + self.random.below(30);
                let mut expected = self.model.page(&space, &range);
                let more = expected.len() > limit;
                expected.truncate(limit);
                let page = store.scan(&space, range.clone(), limit).await?;
                ensure_eq!(page.records, expected, "a page of {limit} of {range:?} of {space:?}");
                ensure_eq!(page.more, more, "whether there is more behind a page of {limit} of {range:?}");
            }
            _ => {
                let space = self.space();
                ensure_eq!(store.usage(&space).await?, self.model.usage(&space), "the usage of {space:?}");
            }
        }
        Ok(())
    }
}

contracts! { StorageBench;
    "storage.model" {
        /// After any sequence of steps, restarts included, the store holds what a sorted map would.
        fn matches_btreemap(t) {
            const STEPS: usize = 3000;
            let mut store = t.open()?;
            let persistent = store.profile().persistent;
            let seed = Random::seed();
            let spaces = vec![namespace("a"), namespace("ab"), namespace("a\0"), namespace([0xff])];
            let mut walk = Walk { random: Random::from_seed(seed), spaces, model: Model::default() };
            for step in 0..STEPS {
                if persistent && walk.random.below(400) == 0 {
                    store = t.reopen(store).await?;
                }
                walk.step(&store).await.map_err(|broken| broken.during(format!("seed {seed}, step {step}")))?;
            }
            for space in walk.spaces.clone() {
                let page = store.scan(&space, KeyRange::all(), usize::MAX).await?;
                ensure_eq!(page.records, walk.model.page(&space, &KeyRange::all()), "{space:?} in the end, seed {seed}");
            }
            Ok(())
        }
    }
}
