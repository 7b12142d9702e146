//! The workload: generations of changes. Each byte follows from the number of the generation, so that all can be checked
//! without a copy.

use std::ops::ControlFlow;
use std::time::Duration;

use airssys_wasm_core::error::{Detail, StorageFault, WasmError};
use airssys_wasm_core::storage::{Batch, Durability, Quota, RECORD_OVERHEAD, StorageBackend};
use futures_util::future::join_all;

use crate::marks::{Mark, Violation, say};
use crate::stores::{Numbers, key, space};
use crate::subjects::{self, FLUSH_INTERVAL};

/// The keys that every generation overwrites, half of them in each of two namespaces.
pub(crate) const KEYS: u64 = 8;
/// The places of the ring; [`RING_HELD`] of them are taken.
const RING: u64 = 50;
pub(crate) const RING_HELD: u64 = 40;
/// The keys of the namespace with a quota, which is always used up: the sixth key and the next byte are too much.
pub(crate) const LIMITED: u64 = 5;
const LIMITED_VALUE: usize = 100;

/// The namespaces that the workload writes to.
pub(crate) const SPACES: [&str; 4] = ["space 0", "space 1", "ring", "limited"];

/// The namespace of one of the [`KEYS`].
pub(crate) fn home(name: u64) -> &'static str {
    SPACES[(name % 2) as usize]
}

/// Where the entry of a generation lies in the ring.
pub(crate) fn place_in_ring(generation: u64) -> u64 {
    generation % RING
}

/// The value that a generation gives to one of the [`KEYS`]. Its first bytes tell the generation.
pub(crate) fn value(generation: u64, name: u64) -> Vec<u8> {
    let mixed = generation.wrapping_mul(31).wrapping_add(name * 17);
    // Few are large: they make the files of a store grow.
    let length = if mixed.is_multiple_of(41) { 40_000 } else { 16 + mixed * 7 % 600 };
    filled(generation, name, length as usize)
}

/// The entry of a generation in the ring.
pub(crate) fn entry(generation: u64) -> Vec<u8> {
    filled(generation, 1_000, 60)
}

/// The value of a generation in the namespace with a quota.
pub(crate) fn limited(generation: u64) -> Vec<u8> {
    filled(generation, 2_000, LIMITED_VALUE)
}

fn filled(generation: u64, name: u64, length: usize) -> Vec<u8> {
    let mut bytes = generation.to_be_bytes().to_vec();
    let mut numbers = Numbers::new(generation << 16 ^ name);
    while bytes.len() < length {
        bytes.extend(numbers.below(u64::MAX).to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// All changes of a generation.
pub(crate) fn batch(generation: u64) -> Batch {
    let mut batch = Batch::new();
    for name in 0..KEYS {
        batch.put(&space(home(name)), key(name.to_be_bytes()), value(generation, name));
    }
    batch.put(&space("ring"), key(place_in_ring(generation).to_be_bytes()), entry(generation));
    let oldest = place_in_ring(generation + (RING - RING_HELD));
    batch.delete(&space("ring"), key(oldest.to_be_bytes()));
    batch.put(&space("limited"), key((generation % LIMITED).to_be_bytes()), limited(generation));
    batch.limit(&space("limited"), quota());
    batch
}

fn quota() -> Quota {
    Quota { bytes: LIMITED * (8 + LIMITED_VALUE as u64 + RECORD_OVERHEAD), keys: LIMITED }
}

/// A batch that no store may take once every key of `limited` is there: nothing of it may ever be seen.
fn too_much(generation: u64) -> Batch {
    let mut batch = Batch::new();
    batch.put(&space(home(0)), key(0_u64.to_be_bytes()), "of a batch that was refused");
    let limited = space("limited");
    if generation.is_multiple_of(2) {
        batch.put(&limited, key(LIMITED.to_be_bytes()), "");
    } else {
        let name = generation % LIMITED;
        batch.put(&limited, key(name.to_be_bytes()), filled(generation, 0, LIMITED_VALUE + 1));
    }
    batch.limit(&limited, quota());
    batch
}

/// Commits the generations behind `from` until one is `until`, and says so. Breaks off at the first failure of the store.
pub(crate) async fn work(
    store: &dyn StorageBackend,
    from: u64,
    until: u64,
    seed: u64,
) -> Result<ControlFlow<()>, Violation> {
    let mut last = from;
    while last < until {
        let mut numbers = Numbers::new(seed ^ last);
        // Some are asked for at the same time, and may become one transaction of the engine.
        let count = if numbers.below(6) == 0 { 2 + numbers.below(4) } else { 1 };
        let group: Vec<_> = (last + 1..=last + count)
            .map(|generation| {
                say(&Mark::Started(generation));
                let immediate = numbers.below(3) == 0;
                (generation, if immediate { Durability::Immediate } else { Durability::Eventual })
            })
            .collect();
        let answers = join_all(
            group.iter().map(|(generation, durability)| store.commit(batch(*generation), *durability)),
        );
        let mut durable = None;
        for ((generation, durability), answer) in group.iter().zip(answers.await) {
            let Ok(outcome) = answer else { return refused(store, *generation).await };
            say(&Mark::Committed(*generation, outcome.version.0));
            if *durability == Durability::Immediate {
                durable = Some(*generation);
            }
        }
        last += count;
        if let Some(durable) = durable {
            say(&Mark::Acknowledged(durable));
        }
        if last >= LIMITED && numbers.below(7) == 0 {
            let answer = store.commit(too_much(last), Durability::Immediate).await;
            match answer.as_ref().err().and_then(WasmError::detail) {
                Some(Detail::Storage(StorageFault::QuotaExceeded)) => {}
                _ if answer.is_ok() => {
                    return Err(Violation::new("storage.quota.exact", "a batch beyond its quota was taken"));
                }
                _ => return refused(store, last).await,
            }
        }
        if numbers.below(13) == 0 {
            if store.sync().await.is_err() {
                return refused(store, last).await;
            }
            say(&Mark::Acknowledged(last));
        } else if numbers.below(60) == 0 {
            // What is eventual is durable by now, although nobody asked: twenty times the promise, for a busy machine.
            tokio::time::sleep(FLUSH_INTERVAL * 20).await;
            // Nothing to apply: it only tells whether the flush has failed.
            if store.commit(Batch::new(), Durability::Eventual).await.is_err() {
                return refused(store, last).await;
            }
            say(&Mark::Acknowledged(last));
        }
        if last.is_multiple_of(5) {
            // The writer has time to flush by itself.
            tokio::time::sleep(Duration::from_millis(numbers.below(4))).await;
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// After a failure: the store takes nothing any more, and can be read, or says that it cannot.
async fn refused(store: &dyn StorageBackend, generation: u64) -> Result<ControlFlow<()>, Violation> {
    let broken = |seen: String| Err(Violation::new("storage.fsync.failure_poisons", seen));
    let again = store.commit(batch(generation + 100), Durability::Immediate).await;
    if again.is_ok() {
        return broken("a commit after a failed one was taken".to_owned());
    }
    let read = store.get(&space(home(0)), &key(0_u64.to_be_bytes())).await;
    if let Err(error) = read.map(drop).or_else(|error| subjects::cannot_be_read(store, error)) {
        return broken(format!("after a failed commit nothing can be read: {error}"));
    }
    say(&Mark::Refused);
    Ok(ControlFlow::Break(()))
}
