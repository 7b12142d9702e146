//! Opening, durability, closing, and what a store says of itself.

use std::sync::Arc;

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::{Durability, KeyRange, Survives};

use super::StorageFeature::Persistent;
use super::{StorageBench, Store, deleting, key, namespace, put, putting, read, read_all, recount, refused};
use crate::runner::{Outcome, When, contracts, ensure, ensure_eq};

/// Shows that a store holds the values `0` to `count`, and nothing else.
async fn holds_exactly(store: &Store, count: u32, when: &str) -> Outcome {
    let expected: Vec<_> = (0..count)
        .map(|number| (format!("{number:04}").into_bytes(), number.to_string().into_bytes()))
        .collect();
    let found = read_all(store, &namespace("space"), KeyRange::all(), 1000).await?;
    ensure_eq!(found.len(), expected.len(), "records {when}");
    ensure!(found == expected, "the records are others {when}");
    ensure_eq!(
        store.usage(&namespace("space")).await?,
        recount(store, &namespace("space")).await?,
        "usage {when}"
    );
    Ok(())
}

async fn write(store: &Store, numbers: std::ops::Range<u32>, durability: Durability) -> Outcome {
    for number in numbers {
        let batch = putting(&namespace("space"), format!("{number:04}"), number.to_string());
        store.commit(batch, durability).await?;
    }
    Ok(())
}

contracts! { StorageBench;
    "storage.open" {
        /// A store that is open cannot be opened a second time; one that was closed, or dropped, can.
        [When::Feature(Persistent)] fn exclusive(t) {
            let store = t.open()?;
            refused(t.open(), StorageFault::Locked, "opening a store that is open")?;
            put(&store, &namespace("space"), "key", "value").await?;
            store.close().await?;
            let store = t.open()?;
            let found = read(&store, &namespace("space"), "key").await?;
            ensure_eq!(found, Some(b"value".to_vec()), "the value after closing");
            drop(store);
            let store = t.open()?;
            let found = read(&store, &namespace("space"), "key").await?;
            ensure_eq!(found, Some(b"value".to_vec()), "the value after dropping without closing");
            store.close().await?;
            Ok(())
        }

        /// Opening and closing without a write loses nothing, however often.
        [When::Feature(Persistent)] fn loses_nothing(t) {
            let mut store = t.open()?;
            write(&store, 0..30, Durability::Immediate).await?;
            for restart in 1..=4 {
                store = t.reopen(store).await?;
                holds_exactly(&store, 30, &format!("after restart {restart}")).await?;
            }
            write(&store, 30..40, Durability::Immediate).await?;
            store = t.reopen(store).await?;
            holds_exactly(&store, 40, "after the last restart").await?;
            store.close().await?;
            Ok(())
        }
    }

    "storage.immediate" {
        /// A commit that is `Immediate` is there after a restart, and in the files that a kill would leave behind.
        [When::Feature(Persistent)] fn survives(t) {
            let store = t.open()?;
            write(&store, 0..10, Durability::Eventual).await?;
            write(&store, 10..15, Durability::Immediate).await?;
            let killed = t.open_after_kill("after-immediate")?;
            holds_exactly(&killed, 15, "in the files after an immediate commit").await?;
            write(&killed, 15..17, Durability::Immediate).await?;
            holds_exactly(&killed, 17, "after going on from these files").await?;
            killed.close().await?;
            store.commit(deleting(&namespace("space"), "0014"), Durability::Immediate).await?;
            let killed = t.open_after_kill("after-delete")?;
            holds_exactly(&killed, 14, "in the files after an immediate delete").await?;
            killed.close().await?;
            let store = t.reopen(store).await?;
            holds_exactly(&store, 14, "after a restart").await?;
            store.close().await?;
            Ok(())
        }
    }

    "storage.sync" {
        /// What was committed before `sync` returned is in the files that a kill would leave behind.
        [When::Feature(Persistent)] fn is_a_barrier(t) {
            let store = t.open()?;
            for round in 1..=3 {
                write(&store, (round - 1) * 20..round * 20, Durability::Eventual).await?;
                store.sync().await?;
                let killed = t.open_after_kill(&format!("after-sync-{round}"))?;
                holds_exactly(&killed, round * 20, &format!("in the files after sync {round}")).await?;
                killed.close().await?;
            }
            store.sync().await?;
            store.close().await?;
            Ok(())
        }
    }

    "storage.close" {
        /// Closing synchronises: after a restart, everything is there, whatever durability it had.
        [When::Feature(Persistent)] fn synchronises(t) {
            let store = t.open()?;
            write(&store, 0..50, Durability::Eventual).await?;
            let store = t.reopen(store).await?;
            holds_exactly(&store, 50, "after a restart").await?;
            store.close().await?;
            Ok(())
        }

        /// Every call after closing says that the store is closed, to every holder of it; closing twice succeeds.
        fn later_calls_say_so(t) {
            let store = t.open()?;
            let clone = Arc::clone(&store);
            let space = namespace("space");
            put(&store, &space, "key", "value").await?;
            store.close().await?;
            refused(clone.get(&space, &key("key")).await, StorageFault::Closed, "get")?;
            refused(clone.scan(&space, KeyRange::all(), 10).await, StorageFault::Closed, "scan")?;
            refused(clone.namespaces(None, 10).await, StorageFault::Closed, "namespaces")?;
            refused(put(&clone, &space, "key", "value").await, StorageFault::Closed, "commit")?;
            refused(clone.usage(&space).await, StorageFault::Closed, "usage")?;
            refused(clone.sync().await, StorageFault::Closed, "sync")?;
            clone.close().await?;
            store.close().await?;
            Ok(())
        }

        /// Closing while others write loses nothing that was acknowledged, and leaves nobody waiting.
        fn while_others_write(t) {
            let store = t.open()?;
            let space = namespace("space");
            let mut writers = Vec::new();
            for writer in 0..4 {
                let (store, space) = (Arc::clone(&store), space.clone());
                writers.push(tokio::spawn(async move {
                    for number in 0.. {
                        if let Err(error) = put(&store, &space, format!("{writer} {number:06}"), "x").await {
                            return (number, error);
                        }
                        // A store that never waits would keep the runtime from its timers.
                        tokio::task::yield_now().await;
                    }
                    unreachable!("nobody counts that far")
                }));
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            store.close().await?;
            let mut acknowledged = Vec::new();
            for writer in writers {
                let (count, error) = writer.await?;
                refused::<()>(Err(error), StorageFault::Closed, "a commit after closing")?;
                acknowledged.push(count);
            }
            if store.profile().persistent {
                drop(store);
                let store = t.open()?;
                let found = store.usage(&space).await?.keys;
                ensure_eq!(found, acknowledged.iter().sum::<u64>(), "records after a restart");
                store.close().await?;
            }
            Ok(())
        }
    }

    "storage.profile" {
        /// What a store says of itself is true: it has a name and a version, persists or does not, and its stronger
        /// durability is not the weaker one.
        fn is_true(t) {
            let store = t.open()?;
            let profile = store.profile();
            ensure!(!profile.name.is_empty() && !profile.engine_version.is_empty(), "name or version is empty");
            ensure!(profile.eventual <= profile.immediate, "`Eventual` survives more than `Immediate`");
            put(&store, &namespace("space"), "key", "value").await?;
            let again = t.reopen(store).await?;
            let found = read(&again, &namespace("space"), "key").await?.is_some();
            ensure_eq!(found, profile.persistent, "whether a value is there after a restart");
            let survives_nothing = profile.immediate == Survives::Nothing;
            ensure_eq!(survives_nothing, !profile.persistent, "whether `Immediate` survives nothing");
            ensure_eq!(again.profile(), profile, "the profile after a restart");
            again.close().await?;
            Ok(())
        }

        /// Versions go on growing after a restart, so that no version is used twice.
        [When::Feature(Persistent)] fn versions_outlive_restarts(t) {
            let mut store = t.open()?;
            let space = namespace("space");
            let mut latest = Default::default();
            for restart in 0..4 {
                let version = put(&store, &space, "key", "value").await?.version;
                ensure!(latest < version, "version {version:?} after restart {restart} does not follow {latest:?}");
                let seen = store.get(&space, &key("key")).await?;
                latest = store.commit(deleting(&space, "key"), Durability::Eventual).await?.version;
                store = t.reopen(store).await?;
                ensure_eq!(store.get(&space, &key("key")).await?, None, "the deleted record {seen:?}");
            }
            store.close().await?;
            Ok(())
        }
    }
}
