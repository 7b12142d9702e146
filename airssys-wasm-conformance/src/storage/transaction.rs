//! Transactions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use airssys_wasm_core::error::{Detail, Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    CommitOutcome, Durability, KeyRange, MAX_VALUE, Namespace, Quota, StorageTransaction,
};

use super::{Pair, StorageBench, Store, deleting, key, namespace, put, putting, read, read_all, refused};
use crate::random::Random;
use crate::runner::{Outcome, contracts, ensure, ensure_eq};

type Transaction = Box<dyn StorageTransaction>;

async fn commit(transaction: Transaction) -> Result<CommitOutcome> {
    transaction.commit(Durability::Eventual).await
}

async fn value(transaction: &mut Transaction, space: &Namespace, name: &str) -> Result<Option<Vec<u8>>> {
    transaction.get(space, &key(name)).await
}

fn set(transaction: &mut Transaction, space: &Namespace, name: &str, value: impl AsRef<[u8]>) -> Result<()> {
    transaction.put(space, key(name), value.as_ref().to_vec())
}

/// Every record that the transaction sees, page by page.
async fn pages(
    transaction: &mut Transaction,
    space: &Namespace,
    range: KeyRange,
    limit: usize,
) -> Outcome<Vec<Pair>> {
    let (mut all, mut rest) = (Vec::new(), range);
    loop {
        let page = transaction.scan(space, rest.clone(), limit).await?;
        ensure!(page.records.len() <= limit, "a page of {limit} has {} records", page.records.len());
        let last = page.records.last().map(|(key, _)| key.clone());
        all.extend(page.records.into_iter().map(|(key, value)| (key.into_bytes(), value)));
        match last {
            Some(last) if page.more => rest = rest.after(last.as_bytes()),
            _ => return Ok(all),
        }
    }
}

fn is_conflict(error: &WasmError) -> bool {
    error.detail() == Some(Detail::Storage(StorageFault::Conflict))
}

/// What a client of the random history has seen.
#[derive(Debug)]
struct Step {
    /// Where it stands: behind the commit of its version, or in front of it if it is that commit.
    version: u64,
    wrote: BTreeMap<String, Vec<u8>>,
    read: BTreeMap<String, Option<Vec<u8>>>,
    began: u64,
    ended: u64,
}

contracts! { StorageBench;
    "storage.txn" {
        /// A transaction sees its own writes: in reads, and in scans of both directions, page by page.
        fn own_writes(t) {
            let store = t.open()?;
            let space = namespace("space");
            for number in 0..20 {
                put(&store, &space, format!("{number:02}"), "old").await?;
            }
            let mut transaction = store.begin().await?;
            let mut expected: BTreeMap<String, &str> = (0..20).map(|number| (format!("{number:02}"), "old")).collect();
            for number in (0..20).step_by(3) {
                transaction.delete(&space, key(format!("{number:02}")))?;
                expected.remove(&format!("{number:02}"));
            }
            for name in ["05", "10 and more", "0", "99"] {
                set(&mut transaction, &space, name, "new")?;
                expected.insert(name.to_owned(), "new");
            }
            ensure_eq!(value(&mut transaction, &space, "05").await?, Some(b"new".to_vec()), "a value of its own");
            ensure_eq!(value(&mut transaction, &space, "03").await?, None, "a key that it removed");
            let expected: Vec<Pair> =
                expected.into_iter().map(|(key, value)| (key.into_bytes(), value.as_bytes().to_vec())).collect();
            let backward: Vec<Pair> = expected.iter().rev().cloned().collect();
            for limit in [1, 3, 100] {
                let found = pages(&mut transaction, &space, KeyRange::all(), limit).await?;
                ensure_eq!(found, expected, "what it sees in pages of {limit}");
                let found = pages(&mut transaction, &space, KeyRange::all().reversed(), limit).await?;
                ensure_eq!(found, backward, "what it sees backward in pages of {limit}");
            }
            ensure_eq!(read(&store, &space, "99").await?, None, "what others see of it before it is committed");
            commit(transaction).await?;
            ensure_eq!(read_all(&store, &space, KeyRange::all(), 7).await?, expected, "what is there when it is committed");
            Ok(())
        }

        /// One that is dropped leaves nothing behind.
        fn dropped_is_nothing(t) {
            let store = t.open()?;
            let space = namespace("space");
            put(&store, &space, "key", "old").await?;
            let mut transaction = store.begin().await?;
            set(&mut transaction, &space, "key", "new")?;
            drop(transaction);
            ensure_eq!(read(&store, &space, "key").await?, Some(b"old".to_vec()), "the key");
            Ok(())
        }

        /// Lost updates, write skew and phantoms are conflicts; a conflict writes nothing and names the store and the key.
        fn serializable(t) {
            let store = t.open()?;
            let space = namespace("space");
            for name in ["a", "b"] {
                put(&store, &space, name, "1").await?;
            }
            // A lost update.
            let (mut first, mut second) = (store.begin().await?, store.begin().await?);
            for transaction in [&mut first, &mut second] {
                value(transaction, &space, "a").await?;
                set(transaction, &space, "a", "2")?;
            }
            commit(first).await?;
            let error = refused(commit(second).await, StorageFault::Conflict, "a lost update")?;
            let named = error.context().any(|(name, value)| name == "key" && value == "a");
            ensure!(named, "the conflict does not name the key: {error}");
            // Write skew: each reads what the other writes.
            let (mut first, mut second) = (store.begin().await?, store.begin().await?);
            value(&mut first, &space, "a").await?;
            set(&mut first, &space, "b", "skew")?;
            value(&mut second, &space, "b").await?;
            set(&mut second, &space, "a", "skew")?;
            commit(first).await?;
            refused(commit(second).await, StorageFault::Conflict, "write skew")?;
            ensure_eq!(read(&store, &space, "a").await?, Some(b"2".to_vec()), "what the conflict would have written");
            // An absent key is read, too.
            let mut transaction = store.begin().await?;
            value(&mut transaction, &space, "absent").await?;
            set(&mut transaction, &space, "b", "3")?;
            put(&store, &space, "absent", "not any more").await?;
            refused(commit(transaction).await, StorageFault::Conflict, "a key that was absent")?;
            // So is a namespace that nobody knows.
            let other = namespace("other");
            let mut transaction = store.begin().await?;
            value(&mut transaction, &other, "key").await?;
            set(&mut transaction, &space, "b", "4")?;
            put(&store, &other, "key", "value").await?;
            refused(commit(transaction).await, StorageFault::Conflict, "a namespace that was not there")?;
            // A phantom: a range has one key more, or less, than was seen.
            for backward in [false, true] {
                for change in [putting(&space, "b5", "x"), deleting(&space, "b5")] {
                    let range = if backward { KeyRange::prefix(b"b").reversed() } else { KeyRange::prefix(b"b") };
                    let mut transaction = store.begin().await?;
                    transaction.scan(&space, range, 100).await?;
                    set(&mut transaction, &space, "sum", "of all b")?;
                    store.commit(change, Durability::Eventual).await?;
                    refused(commit(transaction).await, StorageFault::Conflict, "a phantom")?;
                }
            }
            // What was not read may change.
            let mut transaction = store.begin().await?;
            transaction.scan(&space, KeyRange::prefix(b"b"), 100).await?;
            set(&mut transaction, &space, "sum", "of all b")?;
            put(&store, &space, "c", "elsewhere").await?;
            commit(transaction).await?;
            ensure_eq!(read(&store, &space, "sum").await?, Some(b"of all b".to_vec()), "a write that met no conflict");
            Ok(())
        }

        /// Every read of a transaction is of one moment, also when it cannot be committed any more: keys, pages, namespaces.
        fn opaque(t) {
            let store = t.open()?;
            let (space, other) = (namespace("space"), namespace("other"));
            for number in 0..30 {
                put(&store, &space, format!("{number:02}"), "before").await?;
            }
            put(&store, &other, "key", "before").await?;
            let expected = read_all(&store, &space, KeyRange::all(), 100).await?;
            let mut transaction = store.begin().await?;
            ensure_eq!(value(&mut transaction, &space, "00").await?, Some(b"before".to_vec()), "the first read");
            let mut batch = putting(&other, "key", "after");
            for number in 0..30 {
                match number % 3 {
                    0 => batch.put(&space, key(format!("{number:02}")), "after"),
                    1 => batch.delete(&space, key(format!("{number:02}"))),
                    _ => batch.put(&space, key(format!("{number:02} more")), "after"),
                };
            }
            store.commit(batch, Durability::Eventual).await?;
            put(&store, &space, "00", "later still").await?;
            for name in ["00", "03", "04"] {
                ensure_eq!(value(&mut transaction, &space, name).await?, Some(b"before".to_vec()), "`{name}` at the same moment");
            }
            ensure_eq!(value(&mut transaction, &space, "02 more").await?, None, "a key that was added");
            ensure_eq!(value(&mut transaction, &other, "key").await?, Some(b"before".to_vec()), "another namespace");
            for limit in [1, 4, 100] {
                ensure_eq!(pages(&mut transaction, &space, KeyRange::all(), limit).await?, expected, "pages of {limit}");
                let mut backward = pages(&mut transaction, &space, KeyRange::all().reversed(), limit).await?;
                backward.reverse();
                ensure_eq!(backward, expected, "pages of {limit} backward");
            }
            let mut cleared = airssys_wasm_core::storage::Batch::new();
            cleared.clear(&space);
            store.commit(cleared, Durability::Eventual).await?;
            put(&store, &space, "00", "of the new namespace").await?;
            ensure_eq!(pages(&mut transaction, &space, KeyRange::all(), 7).await?, expected, "a namespace that was cleared");
            ensure_eq!(value(&mut transaction, &space, "29").await?, Some(b"before".to_vec()), "a key of a cleared namespace");
            set(&mut transaction, &space, "00", "too late")?;
            refused(commit(transaction).await, StorageFault::Conflict, "a write after all that")?;
            Ok(())
        }

        /// A transaction that writes nothing is committed, whatever others did.
        fn readonly_never_conflicts(t) {
            let store = t.open()?;
            let space = namespace("space");
            put(&store, &space, "key", "before").await?;
            let mut transaction = store.begin().await?;
            value(&mut transaction, &space, "key").await?;
            transaction.scan(&space, KeyRange::all(), 10).await?;
            put(&store, &space, "key", "after").await?;
            put(&store, &space, "another", "after").await?;
            commit(transaction).await?;
            Ok(())
        }

        /// One that is left alone delays nobody, and ends as too old when others have replaced more than the store keeps.
        fn too_old(t) {
            let store = t.open()?;
            let space = namespace("space");
            let large = vec![1; MAX_VALUE];
            put(&store, &space, "large", &large).await?;
            let mut idle = store.begin().await?;
            let mut ended = None;
            for _ in 0..400 {
                put(&store, &space, "large", &large).await?;
                if let Err(error) = value(&mut idle, &space, "small").await {
                    ended = Some(error);
                    break;
                }
            }
            ensure!(ended.is_some(), "it goes on although more than a gigabyte was replaced since it began");
            refused(ended.map_or(Ok(()), Err), StorageFault::TransactionTooOld, "one that was left alone")?;
            set(&mut idle, &space, "small", "too late")?;
            refused(commit(idle).await, StorageFault::TransactionTooOld, "its commit")?;
            let mut next = store.begin().await?;
            ensure_eq!(value(&mut next, &space, "small").await?, None, "what the next one sees");
            Ok(())
        }

        /// Quotas bind transactions as they bind batches.
        fn quota(t) {
            let store = t.open()?;
            let space = namespace("space");
            let mut transaction = store.begin().await?;
            transaction.limit(&space, Quota { bytes: u64::MAX, keys: 1 });
            set(&mut transaction, &space, "one", "1")?;
            set(&mut transaction, &space, "two", "2")?;
            refused(commit(transaction).await, StorageFault::QuotaExceeded, "a key too many")?;
            ensure_eq!(store.usage(&space).await?.keys, 0, "records after the refusal");
            Ok(())
        }
    }

    "storage.history" {
        /// Transactions, batches and reads of several clients take effect one after another, each between its call and its return.
        ///
        /// Every commit has a version, so the order is known: the history is replayed in it, and each must have read what was there.
        fn linearizable(t) {
            const NAMES: [&str; 4] = ["a", "b", "c", "d"];
            let store = t.open()?;
            let space = namespace("space");
            let clock = Arc::new(AtomicU64::new(0));
            let seed = Random::seed();
            let mut clients = Vec::new();
            for client in 0..6_u64 {
                let (store, space, clock) = (Arc::clone(&store), space.clone(), Arc::clone(&clock));
                clients.push(tokio::spawn(async move {
                    let mut random = Random::from_seed(seed ^ client.rotate_left(32));
                    let mut steps = Vec::new();
                    for number in 0..60 {
                        let began = clock.fetch_add(1, Ordering::SeqCst);
                        if let Some((version, read, wrote)) = random_step(&store, &space, &mut random, &format!("{client} {number}"), &NAMES).await? {
                            let ended = clock.fetch_add(1, Ordering::SeqCst);
                            steps.push(Step { version, wrote, read, began, ended });
                        }
                        tokio::task::yield_now().await;
                    }
                    Ok::<_, WasmError>(steps)
                }));
            }
            let mut steps = Vec::new();
            for client in clients {
                steps.extend(client.await??);
            }
            // Readers of a version come after the commit that made it.
            steps.sort_by_key(|step| (step.version, step.wrote.is_empty()));
            let mut state: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            for step in &steps {
                for (name, found) in &step.read {
                    ensure_eq!(state.get(name), found.as_ref(), "`{name}` as {step:?} read it (seed {seed})");
                }
                state.extend(step.wrote.clone());
            }
            // Who ended before another began comes before it.
            let mut latest = 0;
            let mut ends: Vec<_> = steps.iter().map(|step| (step.ended, step.version)).collect();
            ends.sort_unstable();
            let mut begins: Vec<_> = steps.iter().collect();
            begins.sort_by_key(|step| step.began);
            let mut ends = ends.into_iter().peekable();
            for step in begins {
                while let Some((_, version)) = ends.next_if(|(ended, _)| *ended < step.began) {
                    latest = latest.max(version);
                }
                ensure!(step.version >= latest, "{step:?} shows less than version {latest}, which was there before it began (seed {seed})");
            }
            Ok(())
        }
    }
}

type Seen = (u64, BTreeMap<String, Option<Vec<u8>>>, BTreeMap<String, Vec<u8>>);

/// A transaction, a batch or a read. None: it was a conflict.
async fn random_step(
    store: &Store,
    space: &Namespace,
    random: &mut Random,
    mark: &str,
    names: &[&str],
) -> Result<Option<Seen>> {
    let (mut seen, mut wrote) = (BTreeMap::new(), BTreeMap::new());
    if random.below(4) == 0 {
        let name = names[random.below(names.len())];
        let outcome = put(store, space, name, mark).await?;
        wrote.insert(name.to_owned(), mark.as_bytes().to_vec());
        return Ok(Some((outcome.version.0, seen, wrote)));
    }
    let mut transaction = store.begin().await?;
    let moment = transaction.version().0;
    for _ in 0..random.below(3) {
        let name = names[random.below(names.len())];
        seen.insert(name.to_owned(), value(&mut transaction, space, name).await?);
        tokio::task::yield_now().await;
    }
    if random.below(3) == 0 {
        let page = transaction.scan(space, KeyRange::all(), 10).await?;
        let found: BTreeMap<_, _> =
            page.records.into_iter().map(|(key, value)| (key.into_bytes(), value)).collect();
        for name in names {
            seen.insert((*name).to_owned(), found.get(name.as_bytes()).cloned());
        }
    }
    for _ in 0..random.below(3) {
        let name = names[random.below(names.len())];
        set(&mut transaction, space, name, mark)?;
        wrote.insert(name.to_owned(), mark.as_bytes().to_vec());
    }
    match commit(transaction).await {
        Ok(_) if wrote.is_empty() => Ok(Some((moment, seen, wrote))),
        Ok(outcome) => Ok(Some((outcome.version.0, seen, wrote))),
        Err(error) if is_conflict(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
