//! What a redb store does when its medium fails, and when its bytes change.

#![cfg(feature = "redb")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::{Result, StorageFault};
use airssys_wasm_core::storage::{Batch, Durability, KeyRange, Precondition, StorageBackend};
use airssys_wasm_storage::{Maintenance, Medium, RedbOptions, RedbStore};
use stores::{Numbers, fault, get, key, recount, space, value};

/// Bytes in memory that fail on command. What was not synchronised is kept apart, so that a loss of power can be played.
#[derive(Debug, Default)]
struct Disk {
    now: Mutex<Vec<u8>>,
    durable: Mutex<Vec<u8>>,
    changes: AtomicU64,
    syncs: AtomicU64,
    /// The change that fails, and all behind it.
    fails_at: AtomicU64,
    full: AtomicBool,
    gate: (Mutex<bool>, Condvar),
}

impl Disk {
    fn new(bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self {
            now: Mutex::new(bytes.clone()),
            durable: Mutex::new(bytes),
            fails_at: AtomicU64::new(u64::MAX),
            gate: (Mutex::new(true), Condvar::new()),
            ..Self::default()
        })
    }

    fn open(self: &Arc<Self>) -> Result<RedbStore> {
        RedbStore::open_on(Arc::clone(self) as Arc<dyn Medium>, options())
    }

    /// What programs see.
    fn now(&self) -> Vec<u8> {
        self.now.lock().unwrap().clone()
    }

    /// What a loss of power would leave.
    fn durable(&self) -> Vec<u8> {
        self.durable.lock().unwrap().clone()
    }

    fn change(&self) -> io::Result<()> {
        if self.changes.fetch_add(1, Ordering::SeqCst) < self.fails_at.load(Ordering::SeqCst) {
            return Ok(());
        }
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Err(io::Error::other("the disk has failed"))
    }
}

impl Medium for Disk {
    fn size(&self) -> io::Result<u64> {
        Ok(self.now.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let now = self.now.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let there = now.get(start..start + into.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(there);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change()?;
        let mut now = self.now.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        if now.len() < start + bytes.len() {
            now.resize(start + bytes.len(), 0);
        }
        now[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.change()?;
        self.now.lock().unwrap().resize(usize::try_from(size).unwrap(), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let (open, opened) = &self.gate;
        drop(opened.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.change()?;
        self.durable.lock().unwrap().clone_from(&self.now.lock().unwrap());
        Ok(())
    }
}

fn options() -> RedbOptions {
    RedbOptions {
        cache: ByteSize::mib(1),
        flush_interval: Duration::from_secs(3600),
        ..RedbOptions::default()
    }
}

/// Every key of a generation, in two namespaces.
fn generation(number: u64) -> Batch {
    let mut batch = Batch::new();
    for name in ["x", "y", "z"] {
        let text = format!("{number} {name} ").repeat(1 + (number as usize % 7) * 40);
        batch.put(&space("a"), key(name), text.clone()).put(&space("b"), key(name), text);
    }
    batch.put(&space("log"), key(number.to_be_bytes()), vec![number as u8; 100]);
    batch
}

/// The generation that the store shows, which must be whole.
async fn shown(store: &dyn StorageBackend) -> Result<u64> {
    let mut generations = Vec::new();
    for namespace in ["a", "b"] {
        for name in ["x", "y", "z"] {
            let Some(record) = store.get(&space(namespace), &key(name)).await? else {
                generations.push(0);
                continue;
            };
            let text = String::from_utf8(record.value).unwrap();
            let number: u64 = text.split(' ').next().unwrap().parse().unwrap();
            assert_eq!(text, format!("{number} {name} ").repeat(1 + (number as usize % 7) * 40));
            generations.push(number);
        }
    }
    assert!(generations.windows(2).all(|pair| pair[0] == pair[1]), "torn: {generations:?}");
    let log = store.scan(&space("log"), KeyRange::all(), 1_000).await?;
    for (position, (key, record)) in log.records.iter().enumerate() {
        let number = position as u64 + 1;
        assert_eq!((key.as_bytes(), &record.value), (&number.to_be_bytes()[..], &vec![number as u8; 100]));
    }
    assert_eq!(log.records.len() as u64, generations[0]);
    for namespace in ["a", "b", "log"] {
        assert_eq!(store.usage(&space(namespace)).await?, recount(store, &space(namespace)).await);
    }
    Ok(generations[0])
}

/// Generations until something fails: what was acknowledged as durable, what was started, and the failure.
async fn run(store: &RedbStore, from: u64) -> (u64, u64, Option<StorageFault>) {
    let mut durable = from;
    for number in from + 1..=from + 12 {
        let durability = if number % 3 == 0 { Durability::Immediate } else { Durability::Eventual };
        match store.commit(generation(number), durability).await {
            Ok(_) if durability == Durability::Immediate => durable = number,
            Ok(_) => {}
            failed => return (durable, number, Some(fault(failed))),
        }
        if number % 5 == 0 {
            match store.sync().await {
                Ok(()) => durable = number,
                failed => return (durable, number, Some(fault(failed))),
            }
        }
    }
    (durable, from + 12, None)
}

#[tokio::test]
async fn a_failure_at_any_point_is_typed_and_recovered_from() {
    for full in [false, true] {
        let expected = if full { StorageFault::NoSpace } else { StorageFault::Io };
        let mut failures = 0;
        for fails_at in 0.. {
            let disk = Disk::new(vec![]);
            disk.full.store(full, Ordering::SeqCst);
            disk.fails_at.store(fails_at, Ordering::SeqCst);
            let store = match disk.open() {
                Ok(store) => store,
                refused => {
                    assert_eq!(fault(refused), expected, "at {fails_at}");
                    failures += 1;
                    continue;
                }
            };
            let (durable, started, failed) = run(&store, 0).await;
            if let Some(failed) = failed {
                failures += 1;
                assert_eq!(failed, expected, "at {fails_at}");
                // Read-only, and readable: a whole generation, and nothing that was durable is missing.
                assert_eq!(
                    fault(store.commit(generation(99), Durability::Eventual).await),
                    StorageFault::ReadOnly
                );
                assert_eq!(fault(store.sync().await), StorageFault::ReadOnly);
                let seen = shown(&store).await.unwrap();
                assert!(
                    (durable..=started).contains(&seen),
                    "at {fails_at}: {durable} <= {seen} <= {started}"
                );
                assert_eq!(fault(store.close().await), StorageFault::ReadOnly);
            } else {
                // The failure may still hit closing.
                let closed = store.close().await;
                if closed.is_ok() && disk.changes.load(Ordering::SeqCst) < fails_at {
                    assert!(failures > 50, "only {failures} points were tried");
                    break;
                }
            }
            drop(store);
            // The loss of power, and the other extreme: everything reached the disk.
            for bytes in [disk.durable(), disk.now()] {
                // Opened twice before anything is written: a recovery must not spoil what the next one finds.
                let disk = Disk::new(bytes);
                let found = shown(&disk.open().unwrap()).await.unwrap();
                assert!(
                    (durable..=started).contains(&found),
                    "at {fails_at}: {durable} <= {found} <= {started}"
                );
                let store = disk.open().unwrap();
                assert_eq!(shown(&store).await.unwrap(), found);
                let (_, last, failed) = run(&store, found).await;
                assert_eq!((shown(&store).await.unwrap(), failed), (last, None));
                store.close().await.unwrap();
                assert_eq!(shown(&disk.open().unwrap()).await.unwrap(), last);
            }
        }
    }
}

/// The generations up to `last`, of which nothing but `last` is left in the log's place: there is room to give back.
async fn sparse(disk: &Arc<Disk>, last: u64) {
    let store = disk.open().unwrap();
    for number in 1..=last {
        let mut batch = generation(number);
        batch.put(&space("bulk"), key(number.to_be_bytes()), vec![7; 20_000]);
        store.commit(batch, Durability::Eventual).await.unwrap();
    }
    let mut batch = Batch::new();
    for number in 1..last {
        batch.delete(&space("bulk"), key(number.to_be_bytes()));
    }
    store.commit(batch, Durability::Immediate).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_compaction_that_fails_at_any_point_loses_nothing() {
    const LAST: u64 = 25;
    let filled = Disk::new(vec![]);
    sparse(&filled, LAST).await;
    let before = filled.now();
    let mut failures = 0;
    for fails_at in 0.. {
        let disk = Disk::new(before.clone());
        let store = disk.open().unwrap();
        disk.fails_at.store(disk.changes.load(Ordering::SeqCst) + fails_at, Ordering::SeqCst);
        let compacted = store.compact().await;
        let done = compacted.is_ok();
        if let Err(error) = compacted {
            failures += 1;
            assert_eq!(fault::<()>(Err(error)), StorageFault::Io, "at {fails_at}");
            assert_eq!(
                fault(store.commit(generation(99), Durability::Eventual).await),
                StorageFault::ReadOnly
            );
            assert_eq!(shown(&store).await.unwrap(), LAST, "at {fails_at}");
        }
        drop(store);
        for bytes in [disk.durable(), disk.now()] {
            let disk = Disk::new(bytes);
            assert_eq!(shown(&disk.open().unwrap()).await.unwrap(), LAST, "at {fails_at}");
            let store = disk.open().unwrap();
            let mut findings = Vec::new();
            store.verify(&mut |_| (), &mut |finding| findings.push(finding)).unwrap();
            assert_eq!(findings, [], "at {fails_at}");
            store.commit(generation(LAST + 1), Durability::Immediate).await.unwrap();
            store.close().await.unwrap();
            assert_eq!(shown(&disk.open().unwrap()).await.unwrap(), LAST + 1);
        }
        if done {
            assert!(disk.now().len() < before.len(), "nothing was given back");
            break;
        }
    }
    assert!(failures > 5, "only {failures} points were tried");
}

#[tokio::test]
async fn a_sync_is_a_barrier() {
    let disk = Disk::new(vec![]);
    let store = disk.open().unwrap();
    for number in 1..=6 {
        store.commit(generation(number), Durability::Eventual).await.unwrap();
    }
    store.sync().await.unwrap();
    store.commit(generation(7), Durability::Eventual).await.unwrap();
    let durable = Disk::new(disk.durable());
    assert!(shown(&durable.open().unwrap()).await.unwrap() >= 6);
    // Nothing to do, nothing done.
    store.sync().await.unwrap();
    let syncs = disk.syncs.load(Ordering::SeqCst);
    store.sync().await.unwrap();
    assert_eq!(disk.syncs.load(Ordering::SeqCst), syncs);
}

#[tokio::test]
async fn an_eventual_commit_becomes_durable_by_itself() {
    let disk = Disk::new(vec![]);
    let options = RedbOptions { flush_interval: Duration::from_millis(1), ..options() };
    let store = RedbStore::open_on(Arc::clone(&disk) as Arc<dyn Medium>, options).unwrap();
    // The first takes a lease of versions and is durable at once.
    store.commit(generation(1), Durability::Eventual).await.unwrap();
    store.commit(generation(2), Durability::Eventual).await.unwrap();
    let since = Instant::now();
    while shown(&Disk::new(disk.durable()).open().unwrap()).await.unwrap() < 2 {
        assert!(since.elapsed() < Duration::from_secs(60), "it was never flushed");
        tokio::task::yield_now().await;
    }
    // A flush that fails is told to whoever comes next.
    disk.fails_at.store(disk.changes.load(Ordering::SeqCst), Ordering::SeqCst);
    let mut number = 3;
    let failed = loop {
        match store.commit(generation(number), Durability::Eventual).await {
            Ok(_) => number += 1,
            failed => break fault(failed),
        }
    };
    assert!(matches!(failed, StorageFault::ReadOnly | StorageFault::Io), "{failed}");
    assert_eq!(shown(&store).await.unwrap(), 2);
    assert_eq!(fault(store.commit(generation(3), Durability::Eventual).await), StorageFault::ReadOnly);
}

#[tokio::test]
async fn a_version_lost_in_a_crash_never_comes_back() {
    let disk = Disk::new(vec![]);
    let store = disk.open().unwrap();
    store.commit(generation(1), Durability::Immediate).await.unwrap();
    let mut given = Vec::new();
    for number in 2..6 {
        given.push(store.commit(generation(number), Durability::Eventual).await.unwrap().version);
    }
    let last = get(&store, &space("a"), "x").await.unwrap().version;
    let after = Disk::new(disk.durable());
    let after = after.open().unwrap();
    let found = shown(&after).await.unwrap();
    assert!(found < 5, "nothing was lost");
    for number in found + 1..found + 9 {
        let version = after.commit(generation(number), Durability::Eventual).await.unwrap().version;
        assert!(version > last && !given.contains(&version));
    }
    let mut batch = Batch::new();
    batch.require(&space("a"), key("x"), Precondition::Version(last));
    assert_eq!(fault(after.commit(batch, Durability::Eventual).await), StorageFault::Conflict);
}

#[tokio::test]
async fn concurrent_commits_share_a_transaction() {
    let disk = Disk::new(vec![]);
    let store = disk.open().unwrap();
    let gate = |open: bool| {
        *disk.gate.0.lock().unwrap() = open;
        disk.gate.1.notify_all();
    };
    gate(false);
    let before = disk.syncs.load(Ordering::SeqCst);
    let commits = (0..32_u8).map(|writer| {
        let mut batch = Batch::new();
        batch.put(&space("a"), key([writer]), [writer]);
        store.commit(batch, Durability::Immediate)
    });
    // All are asked for before the first can end; those that did not make it into the first transaction share the second.
    let (answers, ()) = tokio::join!(futures_util::future::join_all(commits), async { gate(true) });
    let syncs = disk.syncs.load(Ordering::SeqCst) - before;
    assert!(syncs <= 4, "{syncs} synchronisations, two for each transaction");
    let mut versions: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().version).collect();
    versions.dedup();
    assert_eq!(versions.len(), 32, "each batch is a commit of its own");
    assert!(versions.is_sorted());
    let durable = Disk::new(disk.durable());
    for writer in 0..32 {
        assert_eq!(value(&durable.open().unwrap(), &space("a"), [writer]).await, Some(vec![writer]));
    }
}

#[tokio::test]
async fn batches_of_a_transaction_see_each_other() {
    let disk = Disk::new(vec![]);
    let store = disk.open().unwrap();
    let gate = |open: bool| {
        *disk.gate.0.lock().unwrap() = open;
        disk.gate.1.notify_all();
    };
    gate(false);
    let commits = (0..24_usize).map(|number| {
        let mut batch = Batch::new();
        // The same key and the same new namespace again and again: longer, gone, and required to be what it then is.
        match number % 3 {
            0 => batch.require(&space("a"), key("k"), Precondition::Absent).put(
                &space("a"),
                key("k"),
                vec![0; number],
            ),
            1 => batch.require(&space("a"), key("k"), Precondition::Present).put(
                &space("a"),
                key("k"),
                vec![1; 99],
            ),
            _ => batch.delete(&space("a"), key("k")).put(&space("a"), key("other"), vec![2; number]),
        };
        store.commit(batch, Durability::Immediate)
    });
    let (answers, ()) = tokio::join!(futures_util::future::join_all(commits), async { gate(true) });
    for (number, answer) in answers.into_iter().enumerate() {
        let keys = u64::from(number >= 2) + u64::from(number % 3 < 2);
        assert_eq!(answer.unwrap().usage[0].1.keys, keys, "after batch {number}");
    }
    let usage = store.usage(&space("a")).await.unwrap();
    assert_eq!(usage, recount(&store, &space("a")).await);
    assert_eq!(value(&store, &space("a"), "other").await, Some(vec![2; 23]));
    assert_eq!(get(&store, &space("a"), "k").await, None);
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_or_harmless() {
    let disk = Disk::new(vec![]);
    let store = disk.open().unwrap();
    run(&store, 0).await;
    // Enough for branch pages, and a value that does not fit into a page.
    for chunk in 0..4 {
        let mut batch = Batch::new();
        for number in 0..60 {
            batch.put(&space("many"), key(format!("{chunk} {number}")), format!("value {number}").repeat(10));
        }
        batch.put(&space("large"), key([chunk]), vec![chunk; 20_000]);
        store.commit(batch, Durability::Immediate).await.unwrap();
    }
    let mut expected = Vec::new();
    for namespace in ["a", "b", "log", "many", "large"] {
        expected.push((space(namespace), contents(&store, namespace).await.unwrap()));
    }
    store.close().await.unwrap();
    let whole = disk.now();

    let mut numbers = Numbers::seeded();
    let used: Vec<usize> = (0..whole.len()).filter(|position| whole[*position] != 0).collect();
    let header = 0..320;
    let sample = (0..400).map(|_| used[numbers.below(used.len() as u64) as usize]).collect::<Vec<_>>();
    let (mut refused, mut harmless, mut partly) = (0, 0, 0);
    for position in header.chain(sample) {
        let bit = numbers.below(8);
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << bit;
        for check_on_open in [true, false] {
            let disk = Disk::new(bytes.clone());
            let options = RedbOptions { check_on_open, ..options() };
            let store = match RedbStore::open_on(Arc::clone(&disk) as Arc<dyn Medium>, options) {
                Ok(store) => store,
                error => {
                    let fault = fault(error);
                    assert!(matches!(fault, StorageFault::Damaged | StorageFault::Format), "{fault}");
                    assert!(disk.now() == bytes, "the file was changed");
                    refused += 1;
                    continue;
                }
            };
            let mut errors = 0;
            for (namespace, expected) in &expected {
                let page = contents(&store, &namespace.to_string()).await;
                let usage = store.usage(namespace).await;
                let place = format!("bit {bit} of byte {position}, checked: {check_on_open}");
                match page {
                    Ok(found) if check_on_open => assert!(found == *expected, "{place}"),
                    // Unchecked, a record may be gone, but none is another.
                    Ok(found) => {
                        let other = found.iter().find(|record| !expected.contains(record));
                        assert_eq!(other, None, "{place}");
                    }
                    error => {
                        errors += 1;
                        fault(error);
                    }
                }
                if let (Ok(usage), true) = (usage, check_on_open) {
                    assert_eq!(usage.keys, expected.len() as u64, "{place}");
                }
                for (name, record) in expected.iter().step_by(7) {
                    match store.get(namespace, name).await {
                        Ok(found) if check_on_open => assert_eq!(found.as_ref(), Some(record), "{place}"),
                        Ok(found) => assert!(found.is_none() || found.as_ref() == Some(record), "{place}"),
                        error => drop(fault(error)),
                    }
                }
            }
            if errors == 0 {
                harmless += 1;
            } else {
                partly += 1;
            }
        }
    }
    assert!(refused > 100 && harmless > 100, "refused {refused}, harmless {harmless}, partly {partly}");
}

async fn contents(
    store: &dyn StorageBackend,
    namespace: &str,
) -> Result<Vec<(airssys_wasm_core::storage::Key, airssys_wasm_core::storage::Record)>> {
    store.scan(&space(namespace), KeyRange::all(), 1_000).await.map(|page| page.records)
}
