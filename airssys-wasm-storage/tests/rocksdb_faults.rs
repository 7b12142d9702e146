//! What a RocksDB store does when its disk is full, and when its bytes change.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::{Result, StorageFault};
use airssys_wasm_core::storage::{Batch, Durability, StorageBackend};
use airssys_wasm_storage::{RocksDbOptions, RocksDbStore};
use stores::{Numbers, fault, key, space};

fn options() -> RocksDbOptions {
    RocksDbOptions {
        cache: ByteSize::mib(4),
        flush_interval: Duration::from_secs(3600),
        ..RocksDbOptions::default()
    }
}

fn text(number: u64) -> String {
    format!("{number} ").repeat(300)
}

async fn write(store: &dyn StorageBackend, number: u64, durability: Durability) -> Result<()> {
    let mut batch = Batch::new();
    batch.put(&space("a"), key(number.to_be_bytes()), text(number)).put(
        &space("b"),
        key("last"),
        text(number),
    );
    store.commit(batch, durability).await.map(drop)
}

/// How many numbers the store shows, which must be whole and without holes.
async fn shown(store: &dyn StorageBackend) -> Result<u64> {
    let last = store.get(&space("b"), &key("last")).await?;
    let last = last.map_or(0, |record| {
        let said = String::from_utf8(record.value).unwrap();
        let number = said.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(said, text(number));
        number
    });
    for number in 1..=last {
        let record = store.get(&space("a"), &key(number.to_be_bytes())).await?;
        assert_eq!(record.unwrap().value, text(number).into_bytes());
    }
    assert!(store.get(&space("a"), &key((last + 1).to_be_bytes())).await?.is_none());
    Ok(last)
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The file of the log that holds something.
fn log(folder: &Path) -> PathBuf {
    let logs = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut logs = logs.filter(|path| path.extension().is_some_and(|end| end == "log"));
    logs.find(|path| fs::metadata(path).unwrap().len() > 0).unwrap()
}

#[tokio::test]
async fn a_torn_end_of_the_log_is_cut_off_and_damage_before_it_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let image = folder.path().join("image");
    let store = RocksDbStore::open(&path, options()).unwrap();
    for number in 1..=60 {
        write(&store, number, Durability::Immediate).await.unwrap();
    }
    for number in 61..=80 {
        write(&store, number, Durability::Eventual).await.unwrap();
    }
    copy(&path, &image);
    let whole = fs::read(log(&image)).unwrap();
    let name = log(&image);
    assert!(whole.len() > 100_000, "{}", whole.len());

    // What a kill leaves: any beginning of the log. What is shown grows with it, and opening again shows the same.
    let mut before = 0;
    for length in (0..=whole.len()).step_by(whole.len() / 23) {
        copy(&path, &image);
        fs::write(&name, &whole[..length]).unwrap();
        let first = shown(&RocksDbStore::open(&image, options()).unwrap()).await.unwrap();
        assert!(first >= before, "{first} after {before}");
        before = first;
        let store = RocksDbStore::open(&image, options()).unwrap();
        assert_eq!(shown(&store).await.unwrap(), first);
        write(&store, first + 1, Durability::Immediate).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(shown(&RocksDbStore::open(&image, options()).unwrap()).await.unwrap(), first + 1);
    }
    assert!(before >= 78, "{before}");

    // What a loss of power leaves: zeros and garbage among what was not durable.
    for spoiled in [whole.len() - 600, whole.len() - 8_000, whole.len() - 24_000] {
        for fill in [0, 0xa5] {
            copy(&path, &image);
            let mut torn = whole.clone();
            torn[spoiled..spoiled + 512].fill(fill);
            fs::write(&name, torn).unwrap();
            let found = shown(&RocksDbStore::open(&image, options()).unwrap()).await.unwrap();
            assert!((60..80).contains(&found), "{found}");
        }
    }

    // A record that was durable, before others that say so: its bytes, or its type, with which RocksDB alone would never come to
    // an end.
    let mut kinds = Vec::new();
    let mut at = 0;
    for _ in 0..8 {
        kinds.push(at + 6);
        at += 7 + usize::from(u16::from_le_bytes([whole[at + 4], whole[at + 5]]));
    }
    for spoiled in (50..whole.len() / 2).step_by(whole.len() / 29).chain(kinds) {
        copy(&path, &image);
        let mut damaged = whole.clone();
        damaged[spoiled] ^= 4;
        fs::write(&name, &damaged).unwrap();
        assert_eq!(fault(RocksDbStore::open(&image, options())), StorageFault::Damaged, "at {spoiled}");
        assert!(fs::read(&name).unwrap() == damaged, "the log was changed");
    }
}

/// What was synchronised vouches for what came before, too.
#[tokio::test]
async fn a_sync_vouches_for_what_was_eventual() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let image = folder.path().join("image");
    let store = RocksDbStore::open(&path, options()).unwrap();
    for number in 1..=40 {
        write(&store, number, Durability::Eventual).await.unwrap();
    }
    store.sync().await.unwrap();
    for number in 41..=80 {
        write(&store, number, Durability::Eventual).await.unwrap();
    }
    copy(&path, &image);
    let name = log(&image);
    let mut damaged = fs::read(&name).unwrap();
    let middle = damaged.len() / 4;
    damaged[middle] ^= 1;
    fs::write(&name, damaged).unwrap();
    assert_eq!(fault(RocksDbStore::open(&image, options())), StorageFault::Damaged);
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_or_harmless() {
    let mut numbers = Numbers::seeded();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let image = folder.path().join("image");
    let store = RocksDbStore::open(&path, options()).unwrap();
    for number in 1..=40 {
        write(&store, number, Durability::Eventual).await.unwrap();
    }
    store.close().await.unwrap();
    let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let mut noticed = 0;
    for name in names {
        let whole = fs::read(path.join(&name)).unwrap();
        if whole.is_empty() {
            continue;
        }
        for round in 0..24 {
            copy(&path, &image);
            let mut damaged = whole.clone();
            let at =
                if round < 4 { whole.len() - 1 - round } else { numbers.below(whole.len() as u64) as usize };
            damaged[at.min(whole.len() - 1)] ^= 1 << numbers.below(8);
            fs::write(image.join(&name), damaged).unwrap();
            // The whole of it or an error: never other bytes, never less.
            match RocksDbStore::open(&image, options()) {
                Ok(store) => assert_eq!(shown(&store).await.unwrap(), 40, "{name:?} at {at}"),
                Err(error) => {
                    let found = fault::<()>(Err(error));
                    assert!(
                        matches!(found, StorageFault::Damaged | StorageFault::Format | StorageFault::Io),
                        "{name:?} at {at}: {found}"
                    );
                    noticed += 1;
                }
            }
        }
    }
    assert!(noticed > 20, "{noticed}");
}

/// The list of tables is a log, too; RocksDB takes its end for torn wherever it is cut.
#[tokio::test]
async fn a_list_of_tables_that_was_cut_or_damaged_is_an_error_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = RocksDbStore::open(&path, options()).unwrap();
    for number in 1..=3 {
        write(&store, number, Durability::Immediate).await.unwrap();
    }
    store.close().await.unwrap();
    let store = RocksDbStore::open(&path, options()).unwrap();
    write(&store, 4, Durability::Immediate).await.unwrap();
    store.close().await.unwrap();
    let current = fs::read_to_string(path.join("CURRENT")).unwrap();
    let list = path.join(current.trim());
    let whole = fs::read(&list).unwrap();
    let mut spoiled = Vec::new();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        spoiled.extend([whole[..at].to_vec(), damaged]);
    }
    let image = folder.path().join("image");
    let mut noticed = 0;
    for bytes in &spoiled {
        copy(&path, &image);
        fs::write(image.join(current.trim()), bytes).unwrap();
        match RocksDbStore::open(&image, options()) {
            Ok(store) => assert_eq!(shown(&store).await.unwrap(), 4, "{} bytes", bytes.len()),
            Err(error) => {
                let found = fault::<()>(Err(error));
                assert!(matches!(found, StorageFault::Damaged | StorageFault::Format), "{found}");
                noticed += 1;
            }
        }
    }
    assert!(noticed > spoiled.len() / 2, "{noticed} of {}", spoiled.len());
}

#[cfg(unix)]
mod full {
    use std::process::Command;

    use super::*;

    const CHILD: &str = "AIRSSYS_TEST_FULL";

    /// A limit on the size of files stands for a full disk: the log cannot grow.
    #[tokio::test]
    async fn a_full_disk_is_told_and_reads_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = RocksDbStore::open(&path, options()).unwrap();
        write(&store, 1, Durability::Immediate).await.unwrap();
        store.close().await.unwrap();
        let script = r#"trap "" XFSZ; ulimit -f 64; exec "$0" --exact full::fill_the_disk --nocapture"#;
        let child = Command::new("bash")
            .args(["-c", script])
            .arg(std::env::current_exe().unwrap())
            .env(CHILD, &path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout).into_owned();
        assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
        let last: u64 = said.lines().find_map(|line| line.strip_prefix("shown ")).unwrap().parse().unwrap();
        assert!(last > 5, "{last}");
        // There is room again.
        let store = RocksDbStore::open(&path, options()).unwrap();
        assert_eq!(shown(&store).await.unwrap(), last);
        write(&store, last + 1, Durability::Immediate).await.unwrap();
        assert_eq!(shown(&store).await.unwrap(), last + 1);
    }

    /// Not a test of its own: what [`a_full_disk_is_told_and_reads_go_on`] starts.
    #[tokio::test]
    #[allow(clippy::print_stdout, reason = "how the child speaks to its parent")]
    async fn fill_the_disk() {
        let Some(path) = std::env::var_os(CHILD) else { return };
        let store = RocksDbStore::open(&path, options()).unwrap();
        let mut number = 1;
        let refused = loop {
            match write(&store, number + 1, Durability::Immediate).await {
                Ok(()) => number += 1,
                Err(error) => break error,
            }
            assert!(number < 10_000, "the limit was never met");
        };
        assert_eq!(fault::<()>(Err(refused)), StorageFault::NoSpace);
        let refused = write(&store, number + 1, Durability::Eventual).await;
        assert_eq!(fault(refused), StorageFault::ReadOnly);
        assert_eq!(shown(&store).await.unwrap(), number);
        assert_eq!(fault(RocksDbStore::open(&path, options())), StorageFault::Locked, "while it is read");
        println!("\nshown {number}");
    }
}
