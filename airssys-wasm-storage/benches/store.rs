//! The stores next to what they are made of: a map, and redb used by hand.

use std::cell::Cell;
use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airssys_wasm_conformance::bench::{self, Bench, Goal, Latencies, LoopGoals};
use airssys_wasm_core::storage::{Batch, Durability, Key, Namespace, StorageBackend};
use airssys_wasm_storage::{MemoryStore, RedbOptions, RedbStore};
use redb::{Database, ReadableDatabase, TableDefinition};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("bench");
const ENTRIES: u64 = 100_000;
const VALUE: usize = 128;
const WRITERS: u64 = 16;

fn main() -> ExitCode {
    bench::run("store", |bench| {
        get(bench, "redb, get 128 B of 100,000", get_redb);
        get(bench, "memory, get 128 B of 100,000", get_memory);
        writes(bench);
        durable_together(bench);
    })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written to")
}

/// The same keys in the same order for everybody; neighbours in time are far from each other in the file.
fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&(number % ENTRIES).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key
}

fn stored(number: u64) -> Key {
    Key::new(key(number)).expect("the key is short")
}

fn value(number: u64) -> [u8; VALUE] {
    let mut value = [0; VALUE];
    value[..8].copy_from_slice(&number.to_be_bytes());
    value
}

fn namespace() -> Namespace {
    Namespace::new("bench/store").expect("the namespace is valid")
}

fn plain(path: &Path, entries: u64) -> Database {
    let database = Database::builder().set_cache_size(64 << 20).create(path).expect("the file can be made");
    let transaction = database.begin_write().expect("nobody else writes");
    {
        let mut table = transaction.open_table(TABLE).expect("the table is ours");
        for number in 0..entries {
            table.insert(key(number).as_slice(), value(number).as_slice()).expect("the disk takes it");
        }
    }
    transaction.commit().expect("the disk takes it");
    database
}

async fn fill(store: &dyn StorageBackend, entries: u64) {
    let namespace = namespace();
    for start in (0..entries).step_by(1_000) {
        let mut batch = Batch::new();
        for number in start..(start + 1_000).min(entries) {
            batch.put(&namespace, stored(number), value(number));
        }
        store.commit(batch, Durability::Eventual).await.expect("the disk takes it");
    }
    store.sync().await.expect("the disk takes it");
}

fn open(folder: &TempDir) -> RedbStore {
    RedbStore::open(folder.path().join("store.redb"), RedbOptions::default()).expect("the file can be made")
}

fn get(bench: &mut Bench, name: &str, cases: fn(&mut bench::Batches<'_, '_>, u64)) {
    let entries = if bench.is_smoke() { 100 } else { ENTRIES };
    if !bench.wants(name) {
        return;
    }
    let mut set = bench.batches(name);
    cases(&mut set, entries);
    set.run();
}

/// A closure that hands out the numbers of entries, one after the other.
fn numbers(entries: u64) -> impl Fn() -> u64 {
    let next = Cell::new(0);
    move || next.replace((next.get() + 1) % entries)
}

fn get_redb(set: &mut bench::Batches<'_, '_>, entries: u64) {
    let folder = folder();
    let database = plain(&folder.path().join("plain.redb"), entries);
    let next = numbers(entries);
    set.floor("redb, a transaction for each", move |times| {
        for _ in 0..times {
            let transaction = database.begin_read().expect("the database is open");
            let table = transaction.open_table(TABLE).expect("the table is there");
            let found =
                table.get(key(next()).as_slice()).expect("the disk can be read").expect("it is there");
            black_box(found.value().to_vec());
        }
    });
    get_store(set, open(&folder), Some(folder), entries, Goal::AtMost(1.5));
}

fn get_memory(set: &mut bench::Batches<'_, '_>, entries: u64) {
    let map: HashMap<Vec<u8>, Vec<u8>> =
        (0..entries).map(|number| (key(number).to_vec(), value(number).to_vec())).collect();
    let next = numbers(entries);
    set.floor("HashMap", move |times| {
        for _ in 0..times {
            black_box(map.get(key(next()).as_slice()).expect("it is there").clone());
        }
    });
    get_store(set, MemoryStore::new(), None, entries, Goal::Report);
}

fn get_store(
    set: &mut bench::Batches<'_, '_>,
    store: impl StorageBackend + 'static,
    folder: Option<TempDir>,
    entries: u64,
    goal: Goal,
) {
    let store: Arc<dyn StorageBackend> = Arc::new(store);
    let (runtime, namespace, next) = (runtime(), namespace(), numbers(entries));
    runtime.block_on(fill(&*store, entries));
    set.case("StorageBackend::get", goal, move |times| {
        let _keep = &folder;
        runtime.block_on(async {
            for _ in 0..times {
                let record = store.get(&namespace, &stored(next())).await.expect("the disk can be read");
                black_box(record.expect("it is there"));
            }
        });
    });
}

fn write_plain(
    database: &Database,
    durability: redb::Durability,
    two_phase: bool,
    numbers: impl Iterator<Item = u64>,
) {
    let mut transaction = database.begin_write().expect("nobody else writes");
    transaction.set_durability(durability).expect("nothing was written yet");
    transaction.set_two_phase_commit(two_phase);
    {
        let mut table = transaction.open_table(TABLE).expect("the table is ours");
        for number in numbers {
            table.insert(key(number).as_slice(), value(number).as_slice()).expect("the disk takes it");
        }
    }
    transaction.commit().expect("the disk takes it");
}

fn writes(bench: &mut Bench) {
    let settings = [
        ("redb, set 128 B, durable later", Durability::Eventual, 1),
        ("redb, set 128 B, durable on return", Durability::Immediate, 1),
        ("redb, set 10 times 128 B, durable on return", Durability::Immediate, 10),
    ];
    for (name, durability, changes) in settings {
        let entries = if bench.is_smoke() { 100 } else { ENTRIES };
        if !bench.wants(name) {
            continue;
        }
        let folder = folder();
        let database = Arc::new(plain(&folder.path().join("plain.redb"), entries));
        let raw_durability = match durability {
            Durability::Immediate => redb::Durability::Immediate,
            Durability::Eventual => redb::Durability::None,
        };
        let (runtime, store) = (runtime(), open(&folder));
        runtime.block_on(fill(&store, entries));
        let store: Arc<dyn StorageBackend> = Arc::new(store);
        let one_phase = (durability == Durability::Immediate).then(|| database.clone());
        let next = numbers(entries);
        let mut set = bench.batches(name);
        set.floor("redb, two phases", move |times| {
            for _ in 0..times {
                write_plain(&database, raw_durability, true, (0..changes).map(|_| next()));
            }
        });
        if let Some(database) = one_phase {
            let next = numbers(entries);
            set.case("redb, one phase", Goal::Report, move |times| {
                for _ in 0..times {
                    write_plain(&database, raw_durability, false, (0..changes).map(|_| next()));
                }
            });
        }
        let (namespace, next) = (namespace(), numbers(entries));
        set.case("StorageBackend::commit", Goal::Report, move |times| {
            runtime.block_on(async {
                for _ in 0..times {
                    let mut batch = Batch::new();
                    for _ in 0..changes {
                        let number = next();
                        batch.put(&namespace, stored(number), value(number));
                    }
                    black_box(store.commit(batch, durability).await.expect("the disk takes it"));
                }
            });
        });
        set.run();
    }
}

/// Many who each wait for their own commit: by hand one after the other, in the store together.
fn durable_together(bench: &mut Bench) {
    const SET: &str = "redb, 16 writers, durable on return";
    if !bench.wants(SET) {
        return;
    }
    let folder = folder();
    let database = plain(&folder.path().join("plain.redb"), 1_000);
    let next = numbers(1_000);
    let mut set = bench.loops(SET);
    set.rounds(8, Duration::from_millis(200));
    set.floor("redb, one after the other", move |time| {
        let (until, mut latencies) = (Instant::now() + time, Latencies::new());
        while Instant::now() < until {
            let start = Instant::now();
            write_plain(&database, redb::Durability::Immediate, true, std::iter::once(next()));
            latencies.record(start.elapsed());
        }
        latencies
    });
    let (runtime, store) = (runtime(), open(&folder));
    runtime.block_on(fill(&store, 1_000));
    let store: Arc<dyn StorageBackend> = Arc::new(store);
    let goals = LoopGoals { rate: Goal::AtLeast(1.0), ..LoopGoals::default() };
    set.case("StorageBackend::commit, all at once", goals, move |time| {
        let until = Instant::now() + time;
        runtime.block_on(async {
            let writer = |writer: u64| {
                let store = store.clone();
                async move {
                    let (namespace, mut latencies, mut number) = (namespace(), Latencies::new(), writer);
                    while Instant::now() < until {
                        let start = Instant::now();
                        let mut batch = Batch::new();
                        batch.put(&namespace, stored(number % 1_000), value(number));
                        store.commit(batch, Durability::Immediate).await.expect("the disk takes it");
                        latencies.record(start.elapsed());
                        number += WRITERS;
                    }
                    latencies
                }
            };
            let mut writers: JoinSet<_> = (0..WRITERS).map(writer).collect();
            let mut latencies = Latencies::new();
            while let Some(writer) = writers.join_next().await {
                latencies.merge(writer.expect("the writer does not panic"));
            }
            latencies
        })
    });
    set.run();
}
