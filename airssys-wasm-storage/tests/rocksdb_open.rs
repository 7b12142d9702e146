//! How a RocksDB store opens, and how it refuses to.

#![cfg(feature = "rocksdb")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use airssys_wasm_core::error::{StorageFault, WasmError};
use airssys_wasm_core::storage::{Batch, Durability, StorageBackend};
use airssys_wasm_storage::{RocksDbOptions, RocksDbStore};
use rocksdb::DB;
use stores::{fault, key, open_rocksdb, put, space, value};

const CHILD: &str = "AIRSSYS_TEST_HOLD";
const MARK: &str = "airssys-wasm.lock";

/// Every file below `path` and its bytes.
fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(path) else { return BTreeMap::new() };
    entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap_or_default())
        })
        .collect()
}

/// Opening `path` fails like this, says what to do, names the path, and changes nothing.
#[track_caller]
fn refused(path: &Path, expected: StorageFault) -> WasmError {
    let before = files(path);
    let error = RocksDbStore::open(path, RocksDbOptions::default()).unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(error.next_step().is_some(), "{error}");
    assert!(files(path) == before, "the folder was changed: {error}");
    assert_eq!(fault::<()>(Err(error)), expected);
    RocksDbStore::open(path, RocksDbOptions::default()).unwrap_err()
}

async fn filled(path: &Path) {
    let store = open_rocksdb(path);
    for number in 0..20 {
        put(&store, &space("a"), &format!("k{number}"), &"v".repeat(number * 100)).await;
    }
    store.close().await.unwrap();
}

#[test]
fn what_is_not_a_store_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    fs::write(&path, "a file").unwrap();
    refused(&path, StorageFault::Format);
    assert_eq!(fs::read(&path).unwrap(), b"a file");
    fs::remove_file(&path).unwrap();

    fs::create_dir(&path).unwrap();
    refused(&path, StorageFault::Format);
    fs::write(path.join("letter"), "dear").unwrap();
    refused(&path, StorageFault::Format);

    let missing = folder.path().join("no/such/store");
    let error = refused(&missing, StorageFault::Io);
    assert!(error.to_string().contains("the folder of the store is missing"), "{error}");
    assert_eq!(files(folder.path()).into_keys().collect::<Vec<_>>(), ["x"], "nothing was made");
}

#[tokio::test]
async fn other_databases_and_formats_are_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign");
    let database = DB::open_default(&path).unwrap();
    database.put("somebody's", "1").unwrap();
    drop(database);
    refused(&path, StorageFault::Format);
    // Not even when it looks more like one of ours.
    fs::write(path.join(MARK), "").unwrap();
    refused(&path, StorageFault::Format);

    let path = folder.path().join("empty");
    drop(DB::open_default(&path).unwrap());
    fs::write(path.join(MARK), "").unwrap();
    refused(&path, StorageFault::Format);

    for (engine, format, expected) in
        [("rocksdb", 2_u32, "format 2"), ("rocksdb", u32::MAX, "format 4294967295"), ("redb", 1, "`redb`")]
    {
        let path = folder.path().join(format!("{engine} {format}"));
        filled(&path).await;
        let database = DB::open_default(&path).unwrap();
        let mut stamp = [&b"airssys-wasm store"[..], &format.to_be_bytes(), engine.as_bytes()].concat();
        stamp.extend(crc32c::crc32c(&stamp).to_be_bytes());
        database.put([0, 0], stamp).unwrap();
        drop(database);
        let error = refused(&path, StorageFault::Format);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn missing_and_short_files_are_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    filled(&path).await;
    let whole = files(&path);
    let matters =
        |name: &&String| name.ends_with(".sst") || name.starts_with("MANIFEST") || *name == "CURRENT";
    let names: Vec<_> = whole.keys().filter(matters).collect();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        fs::remove_file(path.join(name)).unwrap();
        refused(&path, StorageFault::Damaged);
        fs::write(path.join(name), &whole[name][..whole[name].len() / 2]).unwrap();
        refused(&path, StorageFault::Damaged);
        fs::write(path.join(name), &whole[name]).unwrap();
    }
    assert_eq!(value(&open_rocksdb(&path), &space("a"), "k1").await, Some(b"v".repeat(100)));
}

#[tokio::test]
async fn a_store_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = open_rocksdb(&path);
    put(&store, &space("a"), "k", "v").await;
    assert_eq!(fault(RocksDbStore::open(&path, RocksDbOptions::default())), StorageFault::Locked);
    // RocksDB itself is kept out, too.
    assert!(DB::open_default(&path).is_err());
    drop(store);
    for _ in 0..2 {
        let store = open_rocksdb(&path);
        assert_eq!(value(&store, &space("a"), "k").await, Some(b"v".to_vec()));
        store.close().await.unwrap();
        assert_eq!(fault(store.get(&space("a"), &key("k")).await), StorageFault::Closed);
        // Closed, and not dropped yet.
        assert_eq!(value(&open_rocksdb(&path), &space("a"), "k").await, Some(b"v".to_vec()));
    }
}

#[tokio::test]
async fn a_killed_owner_leaves_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_a_store", "--nocapture"])
        .env(CHILD, &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("holding")));
    assert_eq!(fault(RocksDbStore::open(&path, RocksDbOptions::default())), StorageFault::Locked);
    child.kill().unwrap();
    child.wait().unwrap();
    let store = open_rocksdb(&path);
    assert_eq!(value(&store, &space("a"), "k").await, Some(b"v".to_vec()));
}

/// Not a test of its own: what [`a_killed_owner_leaves_no_lock`] starts.
#[tokio::test]
#[allow(clippy::print_stdout, reason = "how the child speaks to its parent")]
async fn hold_a_store() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = open_rocksdb(Path::new(&path));
    let mut batch = Batch::new();
    batch.put(&space("a"), key("k"), "v");
    store.commit(batch, Durability::Immediate).await.unwrap();
    println!("\nholding");
    std::thread::sleep(std::time::Duration::from_secs(600));
}

#[tokio::test]
async fn an_unfinished_creation_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let unfinished = folder.path().join("store.new");
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join("letter"), "dear").unwrap();
    let error = RocksDbStore::open(&path, RocksDbOptions::default()).unwrap_err();
    assert_eq!(fault::<()>(Err(error)), StorageFault::Format);
    assert_eq!(files(&unfinished).len(), 1, "what is not ours was left");

    fs::write(unfinished.join(MARK), "").unwrap();
    let store = open_rocksdb(&path);
    put(&store, &space("a"), "k", "v").await;
    drop(store);
    let names: Vec<_> = files(folder.path()).into_keys().collect();
    assert_eq!(names, ["store"]);
    assert!(!files(&path).contains_key("letter"));
}
