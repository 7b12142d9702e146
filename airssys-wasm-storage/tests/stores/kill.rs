//! A store whose process is killed at random times, and opened again.

#![allow(clippy::print_stdout, reason = "how the child tells its parent what it has done")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use airssys_wasm_core::storage::{Batch, Durability, KeyRange, StorageBackend};

use super::{Numbers, Open, key, recount, space};

const CHILD: &str = "AIRSSYS_TEST_WRITE";
const ROUNDS: u64 = 16;
const KEYS: u64 = 8;

fn bytes(generation: u64, name: u64) -> Vec<u8> {
    let mut text = format!("{generation} {name} ");
    text = text.repeat(1 + ((generation * 31 + name * 17) % 60) as usize);
    text.into_bytes()
}

/// All keys get the bytes of one generation; a ring of entries remembers the last ones.
fn generation(number: u64) -> Batch {
    let mut batch = Batch::new();
    for name in 0..KEYS {
        batch.put(&space(format!("space {}", name % 2)), key(name.to_be_bytes()), bytes(number, name));
    }
    batch.put(&space("ring"), key((number % 50).to_be_bytes()), bytes(number, 99));
    batch.delete(&space("ring"), key(((number + 10) % 50).to_be_bytes()));
    batch
}

/// The generation in the store, every byte of which must be right.
async fn found(store: &dyn StorageBackend) -> u64 {
    let mut found = Vec::new();
    for name in 0..KEYS {
        let record =
            store.get(&space(format!("space {}", name % 2)), &key(name.to_be_bytes())).await.unwrap();
        let number = record.as_ref().map_or(0, |record| {
            let text = String::from_utf8_lossy(&record.value).into_owned();
            text.split(' ').next().unwrap().parse().unwrap()
        });
        assert_eq!(record.map(|record| record.value), (number > 0).then(|| bytes(number, name)));
        found.push(number);
    }
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "torn: {found:?}");
    let last = found[0];
    let ring = store.scan(&space("ring"), KeyRange::all(), 100).await.unwrap();
    let mut expected: Vec<_> =
        (last.saturating_sub(39).max(1)..=last).map(|number| (number % 50, bytes(number, 99))).collect();
    expected.sort();
    let ring: Vec<_> = ring
        .records
        .into_iter()
        .map(|(key, record)| (u64::from_be_bytes(key.as_bytes().try_into().unwrap()), record.value))
        .collect();
    assert!(ring == expected, "the ring of generation {last} does not match");
    for namespace in ["space 0", "space 1", "ring"] {
        let usage = store.usage(&space(namespace)).await.unwrap();
        assert_eq!(usage, recount(store, &space(namespace)).await);
    }
    last
}

/// What the child of [`survives`] does: writes, and says what it starts and what was acknowledged. Nothing in other processes.
pub(crate) async fn write_until_killed(open: Open) {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let say = |word: &str, number: u64| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{word} {number}").and_then(|()| out.flush()).unwrap();
    };
    let store = open(Path::new(&path));
    let mut number = found(&*store).await;
    say("open", number);
    loop {
        number += 1;
        say("start", number);
        let durability = if number % 4 == 0 { Durability::Immediate } else { Durability::Eventual };
        store.commit(generation(number), durability).await.unwrap();
        if durability == Durability::Immediate {
            say("ack", number);
        } else if number % 13 == 0 {
            store.sync().await.unwrap();
            say("ack", number);
        }
    }
}

/// Kills a child that runs the test `write_until_killed` of the same binary; what was acknowledged must be found.
pub(crate) async fn survives(open: Open) {
    let mut numbers = Numbers::seeded();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut at_least = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "write_until_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let (mut started, mut acknowledged) = (0, 0);
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                match line.split_once(' ') {
                    Some(("start", number)) => started = number.parse().unwrap_or(started),
                    Some(("ack", number)) => acknowledged = number.parse().unwrap_or(acknowledged),
                    _ => {}
                }
            }
            (started, acknowledged)
        });
        // One in four is killed while it opens, or creates.
        let most = if round % 4 == 0 { 20 } else { 300 };
        std::thread::sleep(Duration::from_millis(numbers.below(most)));
        child.kill().unwrap();
        child.wait().unwrap();
        let (started, acknowledged) = reader.join().unwrap();
        at_least = acknowledged.max(at_least);
        let at_most = started.max(at_least);

        // Opened twice before anything is written: a recovery must not spoil what the next opening finds.
        let store = open(&path);
        let first = found(&*store).await;
        drop(store);
        let store = open(&path);
        let second = found(&*store).await;
        assert_eq!(first, second, "round {round}");
        assert!((at_least..=at_most).contains(&second), "round {round}: {at_least} <= {second} <= {at_most}");
        store.commit(generation(second + 1), Durability::Immediate).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(found(&*open(&path)).await, second + 1);
        at_least = second + 1;
    }
}
