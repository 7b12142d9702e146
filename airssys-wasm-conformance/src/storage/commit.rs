//! Commits: all or nothing, in order, and only when their preconditions hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use airssys_wasm_core::error::{Detail, StorageFault};
use airssys_wasm_core::storage::{
    Batch, CommitVersion, Durability, KeyRange, MAX_BATCH_BYTES, MAX_BATCH_OPERATIONS, MAX_VALUE, Namespace,
    Precondition,
};

use super::{
    StorageBench, Store, deleting, key, namespace, put, putting, read, read_all, recount, refused, requiring,
};
use crate::random::Random;
use crate::runner::{Outcome, contracts, ensure, ensure_eq, fail, poll_once};

/// Sets forty keys in each of two namespaces to one generation.
fn generation(spaces: &[Namespace; 2], generation: u64) -> Batch {
    let mut batch = Batch::new();
    for number in 0..40 {
        for space in spaces {
            batch.put(space, key(format!("key {number:02}")), generation.to_be_bytes());
        }
    }
    batch
}

/// The generation that a page of a namespace shows, which must be a single one.
async fn seen_generation(store: &Store, space: &Namespace) -> Outcome<u64> {
    let page = store.scan(space, KeyRange::all(), 1000).await?;
    ensure_eq!(page.records.len(), 40, "records of {space:?}");
    let generations: Vec<u64> = page
        .records
        .iter()
        .map(|(_, record)| record.value.as_slice().try_into().map_or(u64::MAX, u64::from_be_bytes))
        .collect();
    let first = generations[0];
    ensure!(
        generations.iter().all(|other| *other == first),
        "one page shows several states: {generations:?}"
    );
    Ok(first)
}

contracts! { StorageBench;
    "storage.commit" {
        /// A commit applies all of its changes or none, also across namespaces; readers see the state before or after.
        fn is_atomic(t) {
            let store = t.open()?;
            let spaces = [namespace("left"), namespace("right")];
            store.commit(generation(&spaces, 0), Durability::Eventual).await?;
            let done = Arc::new(AtomicBool::new(false));
            let writer = tokio::spawn({
                let (store, spaces, done) = (Arc::clone(&store), spaces.clone(), Arc::clone(&done));
                async move {
                    let mut result = Ok(());
                    for number in 1..=150 {
                        if let Err(error) = store.commit(generation(&spaces, number), Durability::Eventual).await {
                            result = Err(error);
                            break;
                        }
                    }
                    done.store(true, Ordering::SeqCst);
                    result
                }
            });
            let mut latest = 0;
            while !done.load(Ordering::SeqCst) {
                for (first, second) in [(0, 1), (1, 0)] {
                    let before = seen_generation(&store, &spaces[first]).await?;
                    let after = seen_generation(&store, &spaces[second]).await?;
                    ensure!(latest <= before, "the state went back from {latest} to {before}");
                    ensure!(before <= after, "{:?} had {before}, and later {:?} only {after}", spaces[first], spaces[second]);
                    latest = after;
                }
                tokio::task::yield_now().await;
            }
            writer.await??;
            for space in &spaces {
                ensure_eq!(seen_generation(&store, space).await?, 150, "the last generation of {space:?}");
            }
            Ok(())
        }

        /// A batch that is refused leaves no trace, wherever in it the reason lies.
        fn refused_is_nothing(t) {
            let store = t.open()?;
            let (space, other) = (namespace("space"), namespace("other"));
            put(&store, &space, "old", "old").await?;
            for position in [0, 50, 99] {
                let mut batch = Batch::new();
                for number in 0..100 {
                    batch.put(if number % 2 == 0 { &space } else { &other }, key(format!("{number}")), "new");
                    if number == position {
                        batch.require(&other, key("absent"), Precondition::Present);
                    }
                }
                batch.delete(&space, key("old"));
                refused(store.commit(batch, Durability::Immediate).await, StorageFault::Conflict, "a batch with a conflict")?;
                let left = read_all(&store, &space, KeyRange::all(), 1000).await?;
                ensure_eq!(left, vec![(b"old".to_vec(), b"old".to_vec())], "the namespace after the refusal");
                ensure_eq!(read_all(&store, &other, KeyRange::all(), 1000).await?, vec![], "the other namespace");
                ensure_eq!(store.usage(&other).await?.keys, 0, "records of the other namespace");
            }
            Ok(())
        }

        /// Changes apply in their order: of one key, the last one wins.
        fn ordered_within(t) {
            let store = t.open()?;
            let space = namespace("space");
            put(&store, &space, "c", "before").await?;
            let mut batch = Batch::new();
            batch.put(&space, key("a"), "1").put(&space, key("a"), "22").put(&space, key("a"), "333");
            batch.put(&space, key("b"), "1").delete(&space, key("b"));
            batch.delete(&space, key("c")).put(&space, key("c"), "after");
            batch.put(&space, key("d"), "1").delete(&space, key("d")).put(&space, key("d"), "again");
            batch.delete(&space, key("e")).delete(&space, key("e"));
            let outcome = store.commit(batch, Durability::Eventual).await?;
            let expected: Vec<_> = [("a", "333"), ("c", "after"), ("d", "again")]
                .into_iter()
                .map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()))
                .collect();
            ensure_eq!(read_all(&store, &space, KeyRange::all(), 10).await?, expected, "what is left");
            let usage = recount(&store, &space).await?;
            ensure_eq!(outcome.usage, vec![(space.clone(), usage)], "the usage in the outcome");
            ensure_eq!(store.usage(&space).await?, usage, "the usage");
            Ok(())
        }

        /// The outcome names every namespace the batch changed, in the order of the first change, with what it holds.
        fn outcome_names_usage(t) {
            let store = t.open()?;
            let spaces = [namespace("z"), namespace("a"), namespace("m")];
            let mut batch = Batch::new();
            for number in 0..3 {
                for space in &spaces {
                    batch.put(space, key(format!("{number}")), vec![0; number * 10]);
                }
            }
            let outcome = store.commit(batch, Durability::Eventual).await?;
            let names: Vec<_> = outcome.usage.iter().map(|(space, _)| space.clone()).collect();
            ensure_eq!(names, spaces.to_vec(), "the namespaces of the outcome");
            for (space, usage) in outcome.usage {
                ensure_eq!(recount(&store, &space).await?, usage, "the usage of {space:?}");
            }
            Ok(())
        }

        /// Absent, present, and a version: a batch applies when they all hold, and otherwise not at all, naming the
        /// first key that was not as required.
        fn preconditions(t) {
            let store = t.open()?;
            let (space, other) = (namespace("space"), namespace("other"));
            let first = put(&store, &space, "there", "1").await?.version;
            let second = put(&store, &space, "there", "2").await?.version;
            let unused = CommitVersion(second.0 + 1_000_000);
            let cases = [
                ("there", Precondition::Present, true),
                ("there", Precondition::Absent, false),
                ("there", Precondition::Version(second), true),
                ("there", Precondition::Version(first), false),
                ("there", Precondition::Version(unused), false),
                ("missing", Precondition::Present, false),
                ("missing", Precondition::Absent, true),
                ("missing", Precondition::Version(second), false),
            ];
            for (number, (name, what, holds)) in cases.into_iter().enumerate() {
                let target = format!("target {number}");
                let batch = requiring(putting(&other, &target, "x"), &space, name, what);
                let result = store.commit(batch, Durability::Eventual).await;
                if holds {
                    if let Err(error) = result {
                        fail!("`{name}` is {what:?}, and the commit was refused: {error}");
                    }
                } else {
                    let error = refused(result, StorageFault::Conflict, &format!("`{name}` is not {what:?}"))?;
                    ensure!(error.to_string().contains(name), "the conflict does not name the key `{name}`: {error}");
                }
                let written = read(&store, &other, &target).await?.is_some();
                ensure_eq!(written, holds, "whether the batch with `{name}` {what:?} was applied");
                // Without a change, a precondition is still checked.
                let alone = requiring(Batch::new(), &space, name, what);
                let applied = store.commit(alone, Durability::Eventual).await.is_ok();
                ensure_eq!(applied, holds, "whether `{name}` {what:?} holds in a batch without changes");
            }
            let mut batch = putting(&space, "target", "x");
            batch.require(&space, key("there"), Precondition::Present);
            batch.require(&space, key("first-culprit"), Precondition::Present);
            batch.require(&space, key("second-culprit"), Precondition::Present);
            let result = store.commit(batch, Durability::Eventual).await;
            let error = refused(result, StorageFault::Conflict, "the second of three preconditions")?;
            ensure!(error.to_string().contains("first-culprit"), "the first failing key is not named: {error}");
            Ok(())
        }

        /// A precondition speaks of the state before the batch, whatever the batch changes.
        fn preconditions_come_first(t) {
            let store = t.open()?;
            let space = namespace("space");
            let mut batch = putting(&space, "key", "1");
            batch.require(&space, key("key"), Precondition::Absent);
            store.commit(batch, Durability::Eventual).await?;
            let mut batch = deleting(&space, "key");
            batch.require(&space, key("key"), Precondition::Present);
            store.commit(batch, Durability::Eventual).await?;
            let mut batch = putting(&space, "key", "1");
            batch.require(&space, key("key"), Precondition::Present);
            let result = store.commit(batch, Durability::Eventual).await;
            refused(result, StorageFault::Conflict, "a batch that requires what it writes itself")?;
            Ok(())
        }

        /// A batch of 1,000 operations and one of 16 MiB are taken; one more of either is refused, and nothing is written.
        fn limits(t) {
            let store = t.open()?;
            let space = namespace("space");
            let with_operations = |changes: usize, requirements: usize| {
                let mut batch = Batch::new();
                for number in 0..changes {
                    batch.put(&space, key(format!("{number}")), "x");
                }
                for number in 0..requirements {
                    batch.require(&space, key(format!("absent {number}")), Precondition::Absent);
                }
                batch
            };
            for (changes, requirements) in [(MAX_BATCH_OPERATIONS + 1, 0), (MAX_BATCH_OPERATIONS, 1), (1, MAX_BATCH_OPERATIONS)] {
                let result = store.commit(with_operations(changes, requirements), Durability::Eventual).await;
                refused(result, StorageFault::TooLarge, &format!("{changes} changes and {requirements} preconditions"))?;
                ensure_eq!(store.usage(&space).await?.keys, 0, "records after a batch that is too long");
            }
            store.commit(with_operations(MAX_BATCH_OPERATIONS, 0), Durability::Eventual).await?;
            ensure_eq!(store.usage(&space).await?.keys, MAX_BATCH_OPERATIONS as u64, "records of the longest batch");

            let large = namespace("large");
            let with_bytes = |bytes: usize| {
                let mut batch = Batch::new();
                for number in 0..4_u8 {
                    batch.put(&large, key([number]), vec![number; MAX_VALUE - 10]);
                }
                batch.put(&large, key([9]), vec![9; bytes - batch.bytes() - 1]);
                batch
            };
            let result = store.commit(with_bytes(MAX_BATCH_BYTES + 1), Durability::Eventual).await;
            refused(result, StorageFault::TooLarge, "a batch with a byte too many")?;
            ensure_eq!(store.usage(&large).await?.keys, 0, "records after a batch that is too large");
            store.commit(with_bytes(MAX_BATCH_BYTES), Durability::Eventual).await?;
            ensure_eq!(store.usage(&large).await?, recount(&store, &large).await?, "the usage after the largest batch");
            Ok(())
        }

        /// Dropping the future of a commit leaves the batch wholly applied or not at all, and the store goes on.
        fn cancel(t) {
            let store = t.open()?;
            let spaces = [namespace("left"), namespace("right")];
            let barrier = namespace("barrier");
            store.commit(generation(&spaces, 0), Durability::Eventual).await?;
            let seed = Random::seed();
            let mut random = Random::from_seed(seed);
            let mut given_up = 0;
            for round in 1..=150_u64 {
                let durability = if round % 5 == 0 { Durability::Immediate } else { Durability::Eventual };
                let commit = store.commit(generation(&spaces, round), durability);
                let patience = Duration::from_micros(random.below(600) as u64);
                if round % 3 == 0 {
                    // The narrowest point: polled once, and dropped.
                    poll_once(commit).await;
                } else if tokio::time::timeout(patience, commit).await.is_err() {
                    given_up += 1;
                }
                // Commits take effect in order, so that what was given up is decided when this one returns.
                put(&store, &barrier, "key", round.to_string()).await?;
                let left = seen_generation(&store, &spaces[0]).await?;
                let right = seen_generation(&store, &spaces[1]).await?;
                ensure_eq!(left, right, "both halves after a dropped commit, seed {seed}, round {round}, {given_up} given up");
            }
            store.commit(generation(&spaces, 1000), Durability::Immediate).await?;
            ensure_eq!(seen_generation(&store, &spaces[1]).await?, 1000, "the commit after all that");
            Ok(())
        }

        /// The version grows with every commit, and every record carries that of the commit that wrote it.
        fn versions(t) {
            let store = t.open()?;
            let space = namespace("space");
            let mut versions = Vec::new();
            for number in 0..20 {
                let mut batch = putting(&space, format!("{number}"), "x");
                batch.put(&space, key(format!("{number} twin")), "x");
                versions.push(store.commit(batch, Durability::Eventual).await?.version);
            }
            ensure!(versions.is_sorted_by(|left, right| left < right), "the versions do not grow: {versions:?}");
            for _ in 0..2 {
                let outcome = store.commit(Batch::new(), Durability::Eventual).await?;
                ensure_eq!(Some(outcome.version), versions.last().copied(), "the version of a batch without changes");
            }
            for (number, version) in versions.iter().enumerate() {
                for name in [format!("{number}"), format!("{number} twin")] {
                    let found = store.get(&space, &key(&name)).await?.map(|record| record.version);
                    ensure_eq!(found, Some(*version), "the version of `{name}`");
                }
            }
            Ok(())
        }
    }

    "storage.cas" {
        /// A value that went away and came back is a conflict: versions count, not values.
        fn no_aba(t) {
            let store = t.open()?;
            let space = namespace("space");
            let seen = put(&store, &space, "key", "A").await?.version;
            put(&store, &space, "key", "B").await?;
            put(&store, &space, "key", "A").await?;
            let batch = requiring(putting(&space, "key", "C"), &space, "key", Precondition::Version(seen));
            refused(store.commit(batch, Durability::Eventual).await, StorageFault::Conflict, "A, then B, then A")?;
            let seen = store.get(&space, &key("key")).await?.map(|record| record.version).unwrap_or_default();
            store.commit(deleting(&space, "key"), Durability::Eventual).await?;
            put(&store, &space, "key", "A").await?;
            let batch = requiring(putting(&space, "key", "C"), &space, "key", Precondition::Version(seen));
            refused(store.commit(batch, Durability::Eventual).await, StorageFault::Conflict, "A, then gone, then A")?;
            ensure_eq!(read(&store, &space, "key").await?, Some(b"A".to_vec()), "the value after two conflicts");
            Ok(())
        }

        /// Of many contenders for one key, one wins each round: no increment of a shared counter is lost.
        fn one_winner(t) {
            const CONTENDERS: u64 = 16;
            const INCREMENTS: u64 = 20;
            let store = t.open()?;
            let space = namespace("space");
            put(&store, &space, "counter", 0_u64.to_be_bytes()).await?;
            let mut contenders = Vec::new();
            for _ in 0..CONTENDERS {
                let (store, space) = (Arc::clone(&store), space.clone());
                contenders.push(tokio::spawn(async move {
                    let mut won = 0;
                    while won < INCREMENTS {
                        let Some(record) = store.get(&space, &key("counter")).await? else { continue };
                        let count = record.value.as_slice().try_into().map_or(0, u64::from_be_bytes);
                        let batch = requiring(
                            putting(&space, "counter", (count + 1).to_be_bytes()),
                            &space,
                            "counter",
                            Precondition::Version(record.version),
                        );
                        match store.commit(batch, Durability::Eventual).await {
                            Ok(_) => won += 1,
                            Err(error) if error.detail() == Some(Detail::Storage(StorageFault::Conflict)) => {}
                            Err(error) => return Err(error),
                        }
                    }
                    Ok(())
                }));
            }
            for contender in contenders {
                contender.await??;
            }
            let found = read(&store, &space, "counter").await?;
            ensure_eq!(found, Some((CONTENDERS * INCREMENTS).to_be_bytes().to_vec()), "the counter");

            for round in 0..20 {
                let name = format!("lock {round}");
                let mut contenders = Vec::new();
                for _ in 0..8 {
                    let (store, space, name) = (Arc::clone(&store), space.clone(), name.clone());
                    contenders.push(tokio::spawn(async move {
                        let batch = requiring(putting(&space, &name, "mine"), &space, &name, Precondition::Absent);
                        store.commit(batch, Durability::Eventual).await.is_ok()
                    }));
                }
                let mut winners = 0;
                for contender in contenders {
                    winners += u32::from(contender.await?);
                }
                ensure_eq!(winners, 1, "who made the key `{name}`");
            }
            Ok(())
        }
    }
}
