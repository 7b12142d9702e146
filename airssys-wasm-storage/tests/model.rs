//! Every store against a sorted map, by random steps. A failure prints the seed; `AIRSSYS_SEED` repeats it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::collections::BTreeMap;

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::{
    Batch, CommitVersion, Durability, Key, KeyRange, Namespace, Precondition, Quota, RECORD_OVERHEAD, Record,
    Usage,
};
use stores::{Bench, Numbers, fault, key, recount, space};

const STEPS: u32 = 4_000;

#[derive(Clone, Debug, Default)]
struct Model {
    records: BTreeMap<(usize, Vec<u8>), Record>,
}

impl Model {
    fn usage(&self, namespace: usize) -> Usage {
        let mut usage = Usage::default();
        for ((_, key), record) in self.records.iter().filter(|((other, _), _)| *other == namespace) {
            usage.bytes += key.len() as u64 + record.value.len() as u64 + RECORD_OVERHEAD;
            usage.keys += 1;
        }
        usage
    }
}

enum Op {
    Put(usize, Vec<u8>, Vec<u8>),
    Delete(usize, Vec<u8>),
}

on_every_store! {
    async fn a_store_is_a_sorted_map(bench: Bench) {
        let mut numbers = Numbers::seeded();
        let spaces: Vec<Namespace> = [&b"a"[..], b"a/", b"\0", &[0xff; 255]].map(space).to_vec();
        let mut model = Model::default();
        let mut last_version = CommitVersion(0);
        for _ in 0..STEPS {
            match numbers.below(100) {
                0 if bench.store.profile().persistent => bench.reopen().await,
                0..50 => step(&mut bench, &mut numbers, &spaces, &mut model, &mut last_version).await,
                50..75 => {
                    let (namespace, name) = a_place(&mut numbers, &spaces);
                    let found = bench.store.get(&spaces[namespace], &key(&name)).await.unwrap();
                    assert_eq!(found.as_ref(), model.records.get(&(namespace, name)));
                }
                75..95 => {
                    let (namespace, mut name) = a_place(&mut numbers, &spaces);
                    name.truncate(numbers.below(3) as usize);
                    let mut range = KeyRange::prefix(&name);
                    let (_, after) = a_place(&mut numbers, &spaces);
                    let behind = numbers.below(2) == 0;
                    if behind {
                        range = range.after(&after);
                    }
                    let limit = numbers.below(8) as usize;
                    let page = bench.store.scan(&spaces[namespace], range, limit).await.unwrap();
                    let mut expected: Vec<(Key, Record)> = model
                        .records
                        .iter()
                        .filter(|((other, found), _)| {
                            *other == namespace && found.starts_with(&name) && (!behind || *found > after)
                        })
                        .map(|((_, found), record)| (key(found), record.clone()))
                        .collect();
                    let more = expected.len() > limit;
                    expected.truncate(limit);
                    assert_eq!((page.records, page.more), (expected, more));
                }
                _ => {
                    let namespace = numbers.below(spaces.len() as u64) as usize;
                    let usage = bench.store.usage(&spaces[namespace]).await.unwrap();
                    assert_eq!(usage, model.usage(namespace));
                    assert_eq!(usage, recount(&*bench.store, &spaces[namespace]).await);
                }
            }
        }
    }
}

async fn step(
    bench: &mut Bench,
    numbers: &mut Numbers,
    spaces: &[Namespace],
    model: &mut Model,
    last_version: &mut CommitVersion,
) {
    let mut batch = Batch::new();
    let mut expected = Ok(());
    for _ in 0..numbers.below(3) {
        let (namespace, name) = a_place(numbers, spaces);
        let found = model.records.get(&(namespace, name.clone()));
        let precondition = match numbers.below(4) {
            0 => Precondition::Absent,
            1 => Precondition::Present,
            2 => Precondition::Version(CommitVersion(numbers.below(last_version.0 + 1))),
            // Mostly one that holds.
            _ => found.map_or(Precondition::Absent, |record| Precondition::Version(record.version)),
        };
        let holds = match precondition {
            Precondition::Absent => found.is_none(),
            Precondition::Present => found.is_some(),
            Precondition::Version(version) => found.is_some_and(|record| record.version == version),
        };
        if !holds && expected.is_ok() {
            expected = Err((StorageFault::Conflict, Some(key(&name))));
        }
        batch.require(&spaces[namespace], key(name), precondition);
    }
    let mut after = model.clone();
    let mut touched = Vec::new();
    let mut written = Vec::new();
    for _ in 0..numbers.below(6) {
        let (namespace, name) = a_place(numbers, spaces);
        let op = if numbers.below(3) == 0 {
            Op::Delete(namespace, name)
        } else {
            let length = if numbers.below(20) == 0 { numbers.below(20_000) } else { numbers.below(40) };
            Op::Put(namespace, name, numbers.bytes(length as usize))
        };
        match op {
            Op::Put(namespace, name, value) => {
                batch.put(&spaces[namespace], key(&name), value.clone());
                let record = Record { value, version: CommitVersion(u64::MAX) };
                after.records.insert((namespace, name.clone()), record);
                written.push((namespace, name));
                touched.push(namespace);
            }
            Op::Delete(namespace, name) => {
                batch.delete(&spaces[namespace], key(&name));
                after.records.remove(&(namespace, name));
                touched.push(namespace);
            }
        }
    }
    if numbers.below(4) == 0 {
        let namespace = numbers.below(spaces.len() as u64) as usize;
        let quota = Quota { bytes: numbers.below(40_000), keys: numbers.below(60) };
        batch.limit(&spaces[namespace], quota);
        let (before, then) = (model.usage(namespace), after.usage(namespace));
        let exceeded = (then.bytes > quota.bytes && then.bytes > before.bytes)
            || (then.keys > quota.keys && then.keys > before.keys);
        if exceeded && expected.is_ok() {
            expected = Err((StorageFault::QuotaExceeded, None));
        }
    }
    let durability = if numbers.below(50) == 0 { Durability::Immediate } else { Durability::Eventual };
    let answer = bench.store.commit(batch, durability).await;
    match expected {
        Ok(()) => {
            let outcome = answer.unwrap();
            if written.is_empty() {
                assert!(outcome.version >= *last_version);
            } else {
                assert!(outcome.version > *last_version);
            }
            *last_version = outcome.version;
            for place in written {
                if let Some(record) = after.records.get_mut(&place) {
                    record.version = outcome.version;
                }
            }
            *model = after;
            let mut order: Vec<usize> = Vec::new();
            for namespace in touched {
                if !order.contains(&namespace) {
                    order.push(namespace);
                }
            }
            let usage: Vec<_> = order
                .into_iter()
                .map(|namespace| (spaces[namespace].clone(), model.usage(namespace)))
                .collect();
            assert_eq!(outcome.usage, usage);
        }
        Err((expected, name)) => {
            if let (Err(error), Some(name)) = (&answer, name) {
                assert!(error.context().any(|fact| fact == ("key", &name.to_string())), "{error}");
            }
            assert_eq!(fault(answer), expected);
        }
    }
}

/// A namespace and a key out of few, so that steps meet.
fn a_place(numbers: &mut Numbers, spaces: &[Namespace]) -> (usize, Vec<u8>) {
    let namespace = numbers.below(spaces.len() as u64) as usize;
    let length = 1 + numbers.below(3) as usize;
    let name = (0..length).map(|_| [0, 1, b'a', 0xff][numbers.below(4) as usize]).collect();
    (namespace, name)
}
