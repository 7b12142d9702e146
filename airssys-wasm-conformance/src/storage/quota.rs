//! Quotas, which are part of the commit.

use std::sync::Arc;

use airssys_wasm_core::error::{Detail, StorageFault};
use airssys_wasm_core::storage::{Batch, Durability, Key, Namespace, Quota, Usage};

use super::{StorageBench, deleting, key, namespace, put, putting, read, recount, refused};
use crate::random::Random;
use crate::runner::{contracts, ensure, ensure_eq};

const MANY: u64 = u64::MAX;

fn limited(mut batch: Batch, space: &Namespace, bytes: u64, keys: u64) -> Batch {
    batch.limit(space, Quota { bytes, keys });
    batch
}

fn size_of(name: &str, value: usize) -> u64 {
    let key: Key = key(name);
    Usage::of_record(&key, &vec![0; value])
}

contracts! { StorageBench;
    "storage.quota" {
        /// The last byte that is allowed fits, and the next does not; the same for records. A refusal changes nothing.
        fn exact(t) {
            let store = t.open()?;
            let space = namespace("space");
            let room = size_of("one", 100) + size_of("two", 50);
            store.commit(limited(putting(&space, "one", [1; 100]), &space, room, MANY), Durability::Eventual).await?;
            let over = store.commit(limited(putting(&space, "two", [2; 51]), &space, room, MANY), Durability::Eventual).await;
            refused(over, StorageFault::QuotaExceeded, "one byte too many")?;
            ensure_eq!(read(&store, &space, "two").await?, None, "the record that was refused");
            ensure_eq!(store.usage(&space).await?.bytes, size_of("one", 100), "the usage after a refusal");
            store.commit(limited(putting(&space, "two", [2; 50]), &space, room, MANY), Durability::Eventual).await?;
            ensure_eq!(store.usage(&space).await?, Usage { bytes: room, keys: 2 }, "the usage at the quota");
            let over = store.commit(limited(putting(&space, "3", ""), &space, room, MANY), Durability::Eventual).await;
            refused(over, StorageFault::QuotaExceeded, "an empty record beyond the quota")?;

            let over = store.commit(limited(putting(&space, "three", ""), &space, MANY, 2), Durability::Eventual).await;
            refused(over, StorageFault::QuotaExceeded, "one record too many")?;
            store.commit(limited(putting(&space, "three", ""), &space, MANY, 3), Durability::Eventual).await?;
            store.commit(limited(putting(&space, "three", "more"), &space, MANY, 3), Durability::Eventual).await?;
            Ok(())
        }

        /// Overwriting and deleting give back what they free, also within one batch.
        fn gives_back(t) {
            let store = t.open()?;
            let space = namespace("space");
            let room = size_of("k", 100);
            store.commit(limited(putting(&space, "k", [1; 100]), &space, room, 1), Durability::Eventual).await?;
            store.commit(limited(putting(&space, "k", [2; 100]), &space, room, 1), Durability::Eventual).await?;
            store.commit(limited(putting(&space, "k", [3; 10]), &space, room, 1), Durability::Eventual).await?;
            ensure_eq!(store.usage(&space).await?, Usage { bytes: size_of("k", 10), keys: 1 }, "after shrinking");
            store.commit(limited(putting(&space, "k", [4; 100]), &space, room, 1), Durability::Eventual).await?;
            let mut swap = deleting(&space, "k");
            swap.put(&space, key("l"), [5; 100]);
            store.commit(limited(swap, &space, room, 1), Durability::Eventual).await?;
            ensure_eq!(store.usage(&space).await?, Usage { bytes: room, keys: 1 }, "after the swap");
            let mut churn = Batch::new();
            for _ in 0..50 {
                churn.put(&space, key("m"), [6; 100]).delete(&space, key("m"));
            }
            store.commit(limited(churn, &space, room, 1), Durability::Eventual).await?;
            store.commit(deleting(&space, "l"), Durability::Eventual).await?;
            ensure_eq!(store.usage(&space).await?, Usage::default(), "after the last delete");
            Ok(())
        }

        /// A batch that shrinks a namespace passes even while the namespace is above its quota.
        fn shrinking_passes(t) {
            let store = t.open()?;
            let space = namespace("space");
            for name in ["a", "b", "c"] {
                put(&store, &space, name, [0; 100]).await?;
            }
            store.commit(limited(deleting(&space, "a"), &space, 50, 1), Durability::Eventual).await?;
            store.commit(limited(putting(&space, "b", [0; 99]), &space, 50, 1), Durability::Eventual).await?;
            let grow = store.commit(limited(putting(&space, "b", [0; 101]), &space, 50, 1), Durability::Eventual).await;
            refused(grow, StorageFault::QuotaExceeded, "growing above the quota")?;
            ensure_eq!(store.usage(&space).await?, recount(&store, &space).await?, "the usage");
            Ok(())
        }

        /// A quota binds the namespace it names, and no other.
        fn names_its_namespace(t) {
            let store = t.open()?;
            let (space, other) = (namespace("space"), namespace("space2"));
            let mut batch = putting(&space, "k", "small");
            batch.put(&other, key("k"), [0; 1000]);
            store.commit(limited(batch, &space, 100, 1), Durability::Eventual).await?;
            let mut batch = putting(&space, "l", "small");
            batch.put(&other, key("l"), [0; 1000]);
            let batch = limited(limited(batch, &space, MANY, MANY), &other, 100, MANY);
            refused(store.commit(batch, Durability::Eventual).await, StorageFault::QuotaExceeded, "the other's quota")?;
            ensure_eq!(store.usage(&space).await?.keys, 1, "records of the namespace with room");
            Ok(())
        }

        /// Writers that race for the last room do not pass the quota together.
        fn no_race(t) {
            const ROOM: u64 = 40;
            let store = t.open()?;
            let space = namespace("space");
            let mut writers = Vec::new();
            for writer in 0..16 {
                let (store, space) = (Arc::clone(&store), space.clone());
                writers.push(tokio::spawn(async move {
                    let mut written = 0;
                    for number in 0..10 {
                        let name = format!("{writer:02} {number}");
                        let room = ROOM * size_of(&name, 10);
                        let batch = limited(putting(&space, &name, [0; 10]), &space, room, MANY);
                        match store.commit(batch, Durability::Eventual).await {
                            Ok(outcome) => {
                                written += 1;
                                if outcome.usage.iter().any(|(_, usage)| usage.keys > ROOM) {
                                    return Ok((written, false));
                                }
                            }
                            Err(error) if error.detail() == Some(Detail::Storage(StorageFault::QuotaExceeded)) => {}
                            Err(error) => return Err(error),
                        }
                    }
                    Ok((written, true))
                }));
            }
            let mut total = 0;
            for writer in writers {
                let (written, within) = writer.await??;
                ensure!(within, "an outcome shows more than the quota allows");
                total += written;
            }
            ensure_eq!(total, ROOM, "the records that writers were told they wrote");
            ensure_eq!(store.usage(&space).await?.keys, ROOM, "the records that count");
            ensure_eq!(recount(&store, &space).await?.keys, ROOM, "the records that are there");
            Ok(())
        }

        /// The usage equals a recount, after any mixture of changes.
        fn usage_equals_recount(t) {
            let mut store = t.open()?;
            let persistent = store.profile().persistent;
            let spaces = [namespace("a"), namespace("b")];
            let seed = Random::seed();
            let mut random = Random::from_seed(seed);
            for round in 0..300 {
                let mut batch = Batch::new();
                for _ in 0..=random.below(8) {
                    let space = &spaces[random.below(2)];
                    let name = key(format!("{}", random.below(12)));
                    if random.below(3) == 0 {
                        batch.delete(space, name);
                    } else {
                        let length = random.below(200);
                        batch.put(space, name, random.bytes(length));
                    }
                }
                store.commit(batch, Durability::Eventual).await?;
                if persistent && round % 100 == 99 {
                    store = t.reopen(store).await?;
                }
                for space in &spaces {
                    let (usage, recount) = (store.usage(space).await?, recount(&store, space).await?);
                    ensure_eq!(usage, recount, "the usage of {space:?} in round {round}, seed {seed}");
                }
            }
            Ok(())
        }
    }
}
