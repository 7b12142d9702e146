//! The verifier: opens what a crash left, twice, checks every byte, writes again, and checks that, too.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use airssys_wasm_core::error::WasmError;
use airssys_wasm_core::storage::{Durability, KeyRange, Record, StorageBackend};

use crate::marks::{Bounds, Mark, Violation, say};
use crate::stores::{key, recount, space};
use crate::subjects;
use crate::workload::{self, KEYS, LIMITED, RING_HELD, SPACES};

pub(crate) const IS_ATOMIC: &str = "storage.commit.is_atomic";
pub(crate) const IS_A_PREFIX: &str = "storage.eventual.is_a_prefix";
pub(crate) const EXACT_BYTES: &str = "storage.get.returns_what_was_set";
pub(crate) const USAGE: &str = "storage.quota.survives_crash";
pub(crate) const TWICE: &str = "storage.recovery.twice";
pub(crate) const NO_ABA: &str = "storage.cas.no_aba";

/// What a store shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) generation: u64,
    /// Of the commit that wrote it.
    pub(crate) version: u64,
}

/// Checks the store in `folder` against `bounds`; `survives` is the contract that is broken when something is missing.
/// Says what it commits.
pub(crate) async fn verify(
    store: &str,
    folder: &Path,
    bounds: Bounds,
    survives: &str,
) -> Result<(), Violation> {
    let first = open(store, folder, survives)?;
    let found = shown(&*first).await?;
    close(first, survives).await?;
    say(&Mark::Opened(found.generation));
    let Bounds { acknowledged, started, version } = bounds;
    let at = found.generation;
    if at < acknowledged {
        let seen = format!("generation {acknowledged} was acknowledged, and {at} is there");
        return Err(Violation::new(survives, seen));
    }
    if at > started {
        let seen = format!("generation {started} was the last to be started, and {at} is there");
        return Err(Violation::new(IS_A_PREFIX, seen));
    }

    // Opened twice before anything is written: a recovery must not spoil what the next opening finds.
    let store_again = open(store, folder, TWICE)?;
    let again = shown(&*store_again).await?;
    if again != found {
        return Err(Violation::new(TWICE, format!("{found:?} at first, then {again:?}")));
    }

    let mut told = version.max(found.version);
    for (generation, durability) in
        [(at + 1, Durability::Immediate), (at + 2, Durability::Eventual), (at + 3, Durability::Immediate)]
    {
        say(&Mark::Started(generation));
        let outcome = store_again.commit(workload::batch(generation), durability).await.map_err(|error| {
            Violation::new(survives, format!("a commit after the recovery: {}", full(&error)))
        })?;
        if outcome.version.0 <= told {
            let seen = format!("version {told} was given out before, and now {}", outcome.version.0);
            return Err(Violation::new(NO_ABA, seen));
        }
        told = outcome.version.0;
        say(&Mark::Committed(generation, told));
    }
    say(&Mark::Acknowledged(at + 3));
    close(store_again, survives).await?;

    let last = open(store, folder, TWICE)?;
    let kept = shown(&*last).await?;
    let expected = Shown { generation: at + 3, version: told };
    if kept != expected {
        return Err(Violation::new(
            TWICE,
            format!("{expected:?} was written after the recovery, {kept:?} is there"),
        ));
    }
    close(last, survives).await
}

fn open(store: &str, folder: &Path, contract: &str) -> Result<Arc<dyn StorageBackend>, Violation> {
    let began = Instant::now();
    let opened = subjects::open(store, folder)
        .map_err(|error| Violation::new(contract, format!("it cannot be opened: {}", full(&error))))?;
    say(&Mark::Reopened(began.elapsed().as_micros() as u64));
    Ok(opened)
}

async fn close(store: Arc<dyn StorageBackend>, contract: &str) -> Result<(), Violation> {
    store
        .close()
        .await
        .map_err(|error| Violation::new(contract, format!("it cannot be closed: {}", full(&error))))
}

/// The generation that a store shows, which must be whole, and right in every byte.
pub(crate) async fn shown(store: &dyn StorageBackend) -> Result<Shown, Violation> {
    let mut seen = Vec::new();
    for name in 0..KEYS {
        let record = get(store, workload::home(name), name).await?;
        seen.push(record.as_ref().map_or((0, 0), |record| (generation(record), record.version.0)));
        if let Some(record) = record
            && record.value != workload::value(generation(&record), name)
        {
            let text = format!("key {name} of generation {} has other bytes", generation(&record));
            return Err(Violation::new(EXACT_BYTES, text));
        }
    }
    if seen.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(Violation::new(IS_ATOMIC, format!("generations and versions of the keys: {seen:?}")));
    }
    let (last, version) = seen[0];
    check_ring(store, last, version).await?;
    for place in 0..LIMITED {
        // The latest generation with this place, if there was one.
        let generation = (last.saturating_sub(LIMITED - 1).max(1)..=last).find(|n| n % LIMITED == place);
        let found = get(store, "limited", place).await?.map(|record| record.value);
        if found != generation.map(workload::limited) {
            return Err(Violation::new(
                IS_ATOMIC,
                format!("key {place} of `limited` is not of {generation:?}"),
            ));
        }
    }
    for name in SPACES {
        let usage = store.usage(&space(name)).await.map_err(|error| unreadable(&error))?;
        let counted = recount(store, &space(name)).await;
        if usage != counted {
            return Err(Violation::new(USAGE, format!("{name}: {usage:?}, and counted {counted:?}")));
        }
    }
    Ok(Shown { generation: last, version })
}

/// The ring holds the last generations, without holes, in the order of their versions.
async fn check_ring(store: &dyn StorageBackend, last: u64, version: u64) -> Result<(), Violation> {
    let page =
        store.scan(&space("ring"), KeyRange::all(), 1_000).await.map_err(|error| unreadable(&error))?;
    let mut found: Vec<_> =
        page.records.iter().map(|(_, record)| (generation(record), record.version.0)).collect();
    found.sort_unstable();
    let expected: Vec<_> = (last.saturating_sub(RING_HELD - 1).max(1)..=last).collect();
    let generations: Vec<_> = found.iter().map(|(generation, _)| *generation).collect();
    if generations != expected {
        let contract = if generations.last() == expected.last() { IS_A_PREFIX } else { IS_ATOMIC };
        return Err(Violation::new(contract, format!("the ring of generation {last} holds {generations:?}")));
    }
    let ordered = found.windows(2).all(|pair| pair[0].1 < pair[1].1);
    if !ordered || found.last().is_some_and(|(_, newest)| *newest != version) {
        return Err(Violation::new(NO_ABA, format!("versions in the ring of version {version}: {found:?}")));
    }
    for (name, record) in &page.records {
        let generation = generation(record);
        let place = workload::place_in_ring(generation).to_be_bytes();
        if name.as_bytes() != place || record.value != workload::entry(generation) {
            return Err(Violation::new(EXACT_BYTES, format!("the entry of {generation} has other bytes")));
        }
    }
    Ok(())
}

async fn get(store: &dyn StorageBackend, home: &str, name: u64) -> Result<Option<Record>, Violation> {
    store.get(&space(home), &key(name.to_be_bytes())).await.map_err(|error| unreadable(&error))
}

fn generation(record: &Record) -> u64 {
    record.value.first_chunk().map_or(u64::MAX, |head| u64::from_be_bytes(*head))
}

fn unreadable(error: &WasmError) -> Violation {
    Violation::new(EXACT_BYTES, full(error))
}

fn full(error: &WasmError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
