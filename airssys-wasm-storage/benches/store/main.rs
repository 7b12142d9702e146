//! The stores beside the engines that they are made of, and beside what the device takes to synchronise.

use std::hint::black_box;
use std::iter::Cycle;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use airssys_wasm_conformance::bench::{self, Bench, Goal, Latencies, LoopGoals};
use airssys_wasm_core::storage::{Batch, Durability, KeyRange, Namespace, Precondition, StorageBackend};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

mod mix;
mod raw;
mod records;
mod room;
mod subjects;

use mix::{Mix, Step};
use raw::Raw;
use records::{fill, fill_raw, key, namespace, stored, value};
use subjects::{CACHE, SUBJECTS, Subject};

const ENTRIES: u64 = 100_000;
/// Bytes of a value, but in the mixes.
const VALUE: usize = 128;
/// What nothing that is durable can be faster than.
const DEVICE: &str = "the device: 4 KiB and fdatasync";
/// How long a round of writers takes.
const ROUND: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    if let Some(ended) = room::child() {
        return ended;
    }
    bench::run("stores", |bench| {
        bench.versions(include_str!("../../../Cargo.lock"), subjects::PACKAGES);
        for subject in SUBJECTS {
            bench.counts(&[&format!("{}, {}", subject.name, got(bench))]);
            get(bench, subject);
            scan(bench, subject);
            set_buffered(bench, subject, 1);
            set_buffered(bench, subject, 10);
            set_durable(bench, subject, 1);
            set_durable(bench, subject, 10);
            writers(bench, subject);
            for mix in Mix::ALL {
                mixed(bench, subject, mix);
            }
            room::space(bench, subject);
            room::crash(bench, subject);
        }
    })
}

type Numbers = Cycle<Range<u64>>;

/// A store and its engine by hand, side by side, with the same records.
struct Pair {
    name: &'static str,
    runtime: Runtime,
    store: Arc<dyn StorageBackend>,
    raw: Box<dyn Raw>,
    entries: u64,
    folder: TempDir,
}

impl Pair {
    fn new(bench: &Bench, subject: &Subject, entries: u64, size: usize) -> Self {
        let entries = if bench.is_smoke() { 100 } else { entries };
        let folder =
            tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written to");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let store = (subject.store)(&folder.path().join("store"), CACHE);
        let raw = (subject.raw)(&folder.path().join("raw"));
        runtime.block_on(fill(&*store, entries, size));
        fill_raw(&*raw, entries, size);
        Self { name: subject.raw_name, runtime, store, raw, entries, folder }
    }

    /// The numbers of the records, one after the other, for ever.
    fn numbers(&self) -> Numbers {
        (0..self.entries).cycle()
    }
}

/// How many records there are to read.
fn entries(bench: &Bench) -> u64 {
    if bench.is_counting() { 1_000 } else { ENTRIES }
}

fn got(bench: &Bench) -> String {
    format!("get {VALUE} B of {}", entries(bench))
}

fn get(bench: &mut Bench, subject: &Subject) {
    // A map in memory answers faster than any seam.
    let goal = if subject.in_memory { Goal::Report } else { Goal::AtMostAnd(1.5, 300.0) };
    let by_hand = |raw: &dyn Raw, number| drop(black_box(raw.get(&key(number)).expect("it is there")));
    reading(bench, subject, &got(bench), goal, by_hand, async |store, space, number| {
        let record = store.get(space, &stored(number)).await.expect("it can be read");
        black_box(record.expect("it is there"));
    });
}

fn scan(bench: &mut Bench, subject: &Subject) {
    const RECORDS: usize = 1_000;
    let what = format!("scan of {RECORDS} times {VALUE} B");
    let by_hand = |raw: &dyn Raw, number| drop(black_box(raw.scan(&key(number), RECORDS)));
    reading(bench, subject, &what, Goal::Report, by_hand, async |store, space, number| {
        let range = KeyRange::all().after(&key(number));
        black_box(store.scan(space, range, RECORDS).await.expect("it can be read"));
    });
}

/// Reads, by the number of a record.
fn reading(
    bench: &mut Bench,
    subject: &Subject,
    what: &str,
    goal: Goal,
    by_hand: impl Fn(&dyn Raw, u64),
    through: impl AsyncFn(&dyn StorageBackend, &Namespace, u64),
) {
    let name = format!("{}, {what}", subject.name);
    if !bench.wants(&name) {
        return;
    }
    let pair = &Pair::new(bench, subject, entries(bench), VALUE);
    let mut set = bench.batches(name.as_str());
    let mut numbers = pair.numbers();
    set.floor(pair.name, move |times| {
        (0..times).zip(numbers.by_ref()).for_each(|(_, number)| by_hand(&*pair.raw, number));
    });
    let (namespace, mut numbers) = (namespace(), pair.numbers());
    set.case("StorageBackend", goal, move |times| {
        pair.runtime.block_on(async {
            for (_, number) in (0..times).zip(numbers.by_ref()) {
                through(&*pair.store, &namespace, number).await;
            }
        });
    });
    set.run();
    bench.compare(what, &name).column(subject.name, "StorageBackend", &[(pair.name, "raw")]);
}

fn commit(pair: &Pair, numbers: &mut Numbers, times: u64, changes: usize, durability: Durability) {
    let namespace = namespace();
    pair.runtime.block_on(async {
        for _ in 0..times {
            let mut batch = Batch::new();
            for number in numbers.by_ref().take(changes) {
                batch.put(&namespace, stored(number), value(number, VALUE));
            }
            black_box(pair.store.commit(batch, durability).await.expect("the disk takes it"));
        }
    });
}

fn write_raw(pair: &Pair, numbers: &mut Numbers, times: u64, changes: usize, durable: bool) {
    for _ in 0..times {
        let entries: Vec<_> =
            numbers.by_ref().take(changes).map(|number| (key(number), value(number, VALUE))).collect();
        pair.raw.write(&entries, durable);
    }
}

fn set_buffered(bench: &mut Bench, subject: &Subject, changes: usize) {
    let what = format!("{}, durable later", written(changes));
    let name = format!("{}, {what}", subject.name);
    if !bench.wants(&name) {
        return;
    }
    let pair = &Pair::new(bench, subject, ENTRIES, VALUE);
    let mut set = bench.batches(name.as_str());
    let mut numbers = pair.numbers();
    set.floor(pair.name, move |times| write_raw(pair, &mut numbers, times, changes, false));
    let mut numbers = pair.numbers();
    let goal = if subject.in_memory || changes > 1 { Goal::Report } else { Goal::AtMost(1.5) };
    set.case("StorageBackend::commit", goal, move |times| {
        commit(pair, &mut numbers, times, changes, Durability::Eventual);
    });
    set.run();
    bench.compare(&what, &name).column(subject.name, "StorageBackend::commit", &[(pair.name, "raw")]);
}

fn written(changes: usize) -> String {
    if changes == 1 { format!("set {VALUE} B") } else { format!("batch of {changes} times {VALUE} B") }
}

fn set_durable(bench: &mut Bench, subject: &Subject, changes: usize) {
    if subject.in_memory {
        return;
    }
    let what = format!("{}, durable on return", written(changes));
    let name = format!("{}, {what}", subject.name);
    if !bench.wants(&name) {
        return;
    }
    let pair = &Pair::new(bench, subject, ENTRIES, VALUE);
    let mut device = raw::Device::in_folder(pair.folder.path());
    let mut set = bench.batches(name.as_str());
    set.min_rounds(40);
    set.floor(DEVICE, move |times| (0..times).for_each(|_| device.write()));
    let mut numbers = pair.numbers();
    set.case(pair.name, Goal::Report, move |times| write_raw(pair, &mut numbers, times, changes, true));
    let goal = if changes == 1 { Goal::AtMost(subject.syncs) } else { Goal::Report };
    let mut numbers = pair.numbers();
    set.case("StorageBackend::commit", goal, move |times| {
        commit(pair, &mut numbers, times, changes, Durability::Immediate);
    });
    set.run();
    let beside = [(pair.name, "raw"), (DEVICE, "device")];
    bench.compare(&what, &name).column(subject.name, "StorageBackend::commit", &beside);
}

/// Writers who each wait for their own durable commit; by hand, each has a thread.
fn writers(bench: &mut Bench, subject: &Subject) {
    if subject.in_memory {
        return;
    }
    let name = format!("{}, writers, durable on return", subject.name);
    if !bench.wants(&name) {
        return;
    }
    let pair = &Pair::new(bench, subject, 1_000, VALUE);
    let together = |writers: u64, time: Duration| {
        let until = Instant::now() + time;
        pair.runtime.block_on(async {
            let writer = |first: u64| {
                let store = Arc::clone(&pair.store);
                async move {
                    let (namespace, mut latencies, mut number) = (namespace(), Latencies::new(), first);
                    while Instant::now() < until {
                        let start = Instant::now();
                        let mut batch = Batch::new();
                        batch.put(&namespace, stored(number % 1_000), value(number, VALUE));
                        store.commit(batch, Durability::Immediate).await.expect("the disk takes it");
                        latencies.record(start.elapsed());
                        number += writers;
                    }
                    latencies
                }
            };
            let mut all: JoinSet<_> = (0..writers).map(writer).collect();
            let mut latencies = Latencies::new();
            while let Some(writer) = all.join_next().await {
                latencies.merge(writer.expect("the writer does not panic"));
            }
            latencies
        })
    };
    let by_hand = |writers: u64, time: Duration| {
        let until = Instant::now() + time;
        let writer = |first: u64| {
            let (mut latencies, mut number) = (Latencies::new(), first);
            while Instant::now() < until {
                let start = Instant::now();
                pair.raw.write(&[(key(number % 1_000), value(number, VALUE))], true);
                latencies.record(start.elapsed());
                number += writers;
            }
            latencies
        };
        thread::scope(|scope| {
            let all: Vec<_> = (0..writers).map(|first| scope.spawn(move || writer(first))).collect();
            let mut latencies = Latencies::new();
            for writer in all {
                latencies.merge(writer.join().expect("the writer does not panic"));
            }
            latencies
        })
    };
    let mut device = raw::Device::in_folder(pair.folder.path());
    let mut set = bench.loops(name.as_str());
    set.rounds(8, ROUND);
    set.floor("1 writer", |time| together(1, time));
    set.case("8 writers", LoopGoals::default(), |time| together(8, time));
    let goals = LoopGoals { rate: Goal::AtLeast(3.0), ..LoopGoals::default() };
    set.case("32 writers", goals, |time| together(32, time));
    set.case("64 writers", LoopGoals::default(), |time| together(64, time));
    set.case("by hand, 1 writer", LoopGoals::default(), |time| by_hand(1, time));
    set.case("by hand, 8 writers", LoopGoals::default(), |time| by_hand(8, time));
    set.case("by hand, 64 writers", LoopGoals::default(), |time| by_hand(64, time));
    set.case(DEVICE, LoopGoals::default(), move |time| {
        let (until, mut latencies) = (Instant::now() + time, Latencies::new());
        while Instant::now() < until {
            let start = Instant::now();
            device.write();
            latencies.record(start.elapsed());
        }
        latencies
    });
    set.run();
    let cases = [
        ("1 writer", "by hand, 1 writer"),
        ("8 writers", "by hand, 8 writers"),
        ("64 writers", "by hand, 64 writers"),
    ];
    for (case, raw) in cases {
        let what = format!("durable commits, {case}");
        let beside = [(raw, "raw"), (DEVICE, "device")];
        bench.compare(&what, &format!("{name}, rate")).column(subject.name, case, &beside);
    }
}

/// A mix of operations on records of 1,000 bytes, some of which are asked for much more than others.
fn mixed(bench: &mut Bench, subject: &Subject, mix: Mix) {
    const RECORDS: u64 = 50_000;
    const SIZE: usize = 1_000;
    let name = format!("{}, {}", subject.name, mix.name());
    if !bench.wants(&name) {
        return;
    }
    let pair = &Pair::new(bench, subject, RECORDS, SIZE);
    let mut set = bench.batches(name);
    let mut steps = mix.steps(pair.entries);
    set.floor(pair.name, move |times| {
        for step in steps.by_ref().take(usize::try_from(times).expect("a batch is counted")) {
            match step {
                Step::Read(number) => drop(black_box(pair.raw.get(&key(number)))),
                Step::Scan(number, count) => drop(black_box(pair.raw.scan(&key(number), count))),
                Step::Write(number) => pair.raw.write(&[(key(number), value(number, SIZE))], false),
                Step::Change(number) => {
                    let mut found = pair.raw.get(&key(number)).expect("it is there");
                    found[9] = found[9].wrapping_add(1);
                    pair.raw.write(&[(key(number), found)], false);
                }
            }
        }
    });
    let (namespace, mut steps) = (namespace(), mix.steps(pair.entries));
    set.case("StorageBackend", Goal::Report, move |times| {
        pair.runtime.block_on(async {
            for step in steps.by_ref().take(usize::try_from(times).expect("a batch is counted")) {
                let mut batch = Batch::new();
                match step {
                    Step::Read(number) => {
                        black_box(pair.store.get(&namespace, &stored(number)).await.expect("it can be read"));
                        continue;
                    }
                    Step::Scan(number, count) => {
                        let range = KeyRange::all().after(&key(number));
                        black_box(pair.store.scan(&namespace, range, count).await.expect("it can be read"));
                        continue;
                    }
                    Step::Write(number) => {
                        batch.put(&namespace, stored(number), value(number, SIZE));
                    }
                    Step::Change(number) => {
                        let found =
                            pair.store.get(&namespace, &stored(number)).await.expect("it can be read");
                        let mut found = found.expect("it is there");
                        found.value[9] = found.value[9].wrapping_add(1);
                        batch.require(&namespace, stored(number), Precondition::Version(found.version));
                        batch.put(&namespace, stored(number), found.value);
                    }
                }
                pair.store.commit(batch, Durability::Eventual).await.expect("the disk takes it");
            }
        });
    });
    set.run();
}
