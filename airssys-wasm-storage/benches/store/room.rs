//! What a store takes of the disk and of memory, and how long it takes to open after a crash. Each in a process of its own.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use airssys_wasm_conformance::bench::{Bench, Goal, Unit};
use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::storage::{Batch, Durability, KeyRange};
use tokio::runtime::Builder;

use crate::records::{key, namespace, stored, value};
use crate::subjects::{SUBJECTS, Subject};

/// Says what a child is to do: the task, the store, the number of records and the path, with a line each.
const TASK: &str = "AIRSSYS_WASM_BENCH_TASK";
const SIZE: usize = 4_096;
/// How many records are written at a time.
const BATCH: u64 = 256;
/// The memory for cached pages, here: much less than the records.
const CACHE: ByteSize = ByteSize::mib(16);
/// What a store may take beside its cache.
const BESIDE: ByteSize = ByteSize::mib(64);

/// What a process does that was started to do a part. None in the process that measures.
pub(crate) fn child() -> Option<ExitCode> {
    let task = std::env::var(TASK).ok()?;
    let [task, store, records, path]: [&str; 4] =
        task.lines().collect::<Vec<_>>().try_into().expect("the task is complete");
    let subject = SUBJECTS.iter().find(|subject| subject.name == store).expect("the store is in this build");
    let records = records.parse().expect("the number of records is one");
    match task {
        "fill" => fill(subject, records, path.as_ref()),
        "fill by hand" => fill_by_hand(subject, records, path.as_ref()),
        "use" => make_use(subject, records, path.as_ref()),
        other => panic!("`{other}` is not a task"),
    }
    Some(ExitCode::SUCCESS)
}

fn start(task: &str, subject: &Subject, records: u64, path: &Path) -> Child {
    let program = std::env::current_exe().expect("the program is a file");
    let task = format!("{task}\n{}\n{records}\n{}", subject.name, path.display());
    Command::new(program).env(TASK, task).stdout(Stdio::piped()).spawn().expect("a process can be started")
}

fn tell(word: &str) {
    let mut output = io::stdout().lock();
    writeln!(output, "{word}").and_then(|()| output.flush()).expect("somebody reads it");
}

/// Fills the store, says so, and commits on until it is killed.
fn fill(subject: &Subject, records: u64, path: &Path) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let (store, namespace) = ((subject.store)(path, CACHE), namespace());
    runtime.block_on(async {
        for round in 0_u64.. {
            for start in (0..records).step_by(BATCH as usize) {
                let mut batch = Batch::new();
                for number in start..(start + BATCH).min(records) {
                    batch.put(&namespace, stored(number), value(number + round, SIZE));
                }
                store.commit(batch, Durability::Eventual).await.expect("the disk takes it");
                if round > 0 {
                    store.sync().await.expect("the disk takes it");
                }
            }
            if round == 0 {
                store.sync().await.expect("the disk takes it");
                tell("filled");
            }
        }
    });
}

/// The same with the engine alone.
fn fill_by_hand(subject: &Subject, records: u64, path: &Path) {
    let raw = (subject.raw)(path);
    for round in 0_u64.. {
        for start in (0..records).step_by(BATCH as usize) {
            let last = start + BATCH >= records;
            raw.write(&batch(start, records, round), round > 0 || last);
        }
        if round == 0 {
            tell("filled");
        }
    }
}

/// A batch of the records from this one on, as they are in a round.
fn batch(start: u64, records: u64, round: u64) -> Vec<([u8; 16], Vec<u8>)> {
    (start..(start + BATCH).min(records)).map(|number| (key(number), value(number + round, SIZE))).collect()
}

/// Reads everything in pieces and by key, writes a tenth of it, and says how much memory that took.
fn make_use(subject: &Subject, records: u64, path: &Path) {
    let before = resident("VmRSS:");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let (store, namespace) = ((subject.store)(path, CACHE), namespace());
    runtime.block_on(async {
        let mut range = KeyRange::all();
        loop {
            let page = store.scan(&namespace, range.clone(), 1_000).await.expect("it can be read");
            let Some((last, _)) = page.records.last().filter(|_| page.more) else { break };
            range = range.after(last.as_bytes());
        }
        for number in 0..records {
            let record = store.get(&namespace, &stored(number)).await.expect("it can be read");
            assert!(record.is_some(), "record {number} is missing");
            if number % 10 == 0 {
                let mut batch = Batch::new();
                batch.put(&namespace, stored(number), value(number, SIZE));
                store.commit(batch, Durability::Eventual).await.expect("the disk takes it");
            }
        }
    });
    tell(&(resident("VmHWM:") - before).to_string());
    runtime.block_on(store.close()).expect("the disk takes it");
}

/// A figure of this process in bytes, as Linux tells it.
fn resident(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the benches run on Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux tells it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("it is a number");
    kib << 10
}

/// What the file or folder takes of the disk.
fn size_of(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;

    let metadata = fs::metadata(path).expect("it is there");
    if metadata.is_file() {
        return metadata.blocks() * 512;
    }
    let entries = fs::read_dir(path).expect("it can be read");
    entries.map(|entry| size_of(&entry.expect("it can be read").path())).sum()
}

/// The same data overwritten a hundred times, then maintenance.
pub(crate) fn space(bench: &mut Bench, subject: &Subject) {
    let name = format!("{}, on the disk after 100 times the same data", subject.name);
    if subject.in_memory || !bench.wants(&name) {
        return;
    }
    let records: u64 = if bench.is_smoke() { 16 } else { 4_096 };
    let folder =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written to");
    let path = folder.path().join("store");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let (store, namespace) = ((subject.store)(&path, CACHE), namespace());
    runtime.block_on(async {
        for round in 0..100 {
            for start in (0..records).step_by(BATCH as usize) {
                let mut batch = Batch::new();
                for number in start..(start + BATCH).min(records) {
                    batch.put(&namespace, stored(number), value(number + round, SIZE));
                }
                store.commit(batch, Durability::Eventual).await.expect("the disk takes it");
            }
        }
        store.compact().await.expect("the disk takes it");
        store.close().await.expect("the disk takes it");
    });
    let by_hand = folder.path().join("raw");
    let mut raw = (subject.raw)(&by_hand);
    for round in 0..100 {
        for start in (0..records).step_by(BATCH as usize) {
            raw.write(&batch(start, records, round), false);
        }
    }
    raw.compact();
    drop(raw);
    let live = (records * (SIZE as u64 + 16)) as f64;
    let figures = [
        ("keys and values", live, Goal::Report),
        (subject.raw_name, size_of(&by_hand) as f64, Goal::Report),
        ("the store", size_of(&path) as f64, Goal::AtMost(8.0)),
    ];
    bench.values(&name, Unit::Bytes, &figures);
    let beside = [(subject.raw_name, "raw"), ("keys and values", "what is in it")];
    bench.compare("on the disk after 100 times 16 MiB", &name).column(subject.name, "the store", &beside);
}

/// Has a process fill a store, and kills it while it writes on.
fn fill_and_kill(task: &str, subject: &Subject, records: u64, path: &Path, small: bool) {
    let mut filling = start(task, subject, records, path);
    let mut said = BufReader::new(filling.stdout.take().expect("it is piped")).lines();
    assert_eq!(said.next().expect("it lives").expect("it writes text"), "filled");
    thread::sleep(Duration::from_millis(if small { 1 } else { 500 }));
    filling.kill().expect("it lives");
    filling.wait().expect("it was killed");
}

/// A store of 1 GiB whose owner was killed while it wrote: how long it takes to open, and how much memory to use.
pub(crate) fn crash(bench: &mut Bench, subject: &Subject) {
    let opening = format!("{}, open 1 GiB after a crash", subject.name);
    let memory = format!("{}, memory to use 1 GiB with a cache of 16 MiB", subject.name);
    if subject.in_memory || !(bench.wants(&opening) || bench.wants(&memory)) {
        return;
    }
    let records: u64 = if bench.is_smoke() { 256 } else { 1 << 18 };
    let folder =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written to");
    let path = folder.path().join("store");
    let small = bench.is_smoke();
    fill_and_kill("fill", subject, records, &path, small);
    let began = Instant::now();
    let store = (subject.store)(&path, CACHE);
    let opened = began.elapsed().as_nanos() as f64;
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(store.close()).expect("the disk takes it");
    drop(store);
    let by_hand = folder.path().join("raw");
    fill_and_kill("fill by hand", subject, records, &by_hand, small);
    let began = Instant::now();
    drop((subject.raw)(&by_hand));
    let opened_by_hand = began.elapsed().as_nanos() as f64;
    let figures = [(subject.raw_name, opened_by_hand, Goal::Report), ("the store", opened, Goal::Below(2e9))];
    bench.values(&opening, Unit::Nanoseconds, &figures);
    let beside = [(subject.raw_name, "raw")];
    bench.compare("open 1 GiB after a crash", &opening).column(subject.name, "the store", &beside);

    let using = start("use", subject, records, &path);
    let output = using.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", output.status);
    let taken: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("it tells a number");
    let most = (CACHE.as_u64() + BESIDE.as_u64()) as f64;
    bench.values(&memory, Unit::Bytes, &[("the store", taken, Goal::Below(most))]);
}
