//! How a redb store opens, and how it refuses to.

#![cfg(feature = "redb")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::fs;
use std::path::Path;
use std::process::Command;

use airssys_wasm_core::error::{StorageFault, WasmError};
use airssys_wasm_core::storage::{Batch, Durability, StorageBackend};
use airssys_wasm_storage::{KeyValueEngine, RedbOptions, RedbStore, Store, Write};
use redb::{Database, TableDefinition};
use stores::{fault, key, put, space, value};

const CHILD: &str = "AIRSSYS_TEST_HOLD";

/// Opening `path` fails like this, says what to do, names the path, and changes nothing.
#[track_caller]
fn refused(path: &Path, expected: StorageFault) -> WasmError {
    let before = fs::read(path).ok();
    let error = RedbStore::open(path, RedbOptions::default()).unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(error.next_step().is_some(), "{error}");
    assert!(fs::read(path).ok() == before, "the file was changed");
    assert_eq!(fault::<()>(Err(error)), expected);
    RedbStore::open(path, RedbOptions::default()).unwrap_err()
}

async fn filled(path: &Path) {
    let store = stores::open(path);
    for number in 0..20 {
        put(&store, &space("a"), &format!("k{number}"), &"v".repeat(number * 100)).await;
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_is_not_a_store_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");

    fs::write(&path, "").unwrap();
    refused(&path, StorageFault::Format);
    for garbage in ["r", "redb", "not a database at all", &"x".repeat(10_000)] {
        fs::write(&path, garbage).unwrap();
        refused(&path, StorageFault::Format);
    }
    fs::remove_file(&path).unwrap();

    filled(&path).await;
    let whole = fs::read(&path).unwrap();
    for length in [9, 100, 511, 512, 4_096, 4_097, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        refused(&path, StorageFault::Damaged);
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(value(&stores::open(&path), &space("a"), "k1").await, Some(b"v".repeat(100)));
}

#[tokio::test]
async fn other_databases_and_formats_are_refused_untouched() {
    const FOREIGN: TableDefinition<'static, &str, u64> = TableDefinition::new("somebody's");
    const OURS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("airssys-wasm");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(FOREIGN).unwrap().insert("a", 1).unwrap();
    transaction.commit().unwrap();
    drop(database);
    refused(&path, StorageFault::Format);

    for (engine, format, expected) in
        [("redb", 2_u32, "format 2"), ("redb", u32::MAX, "format 4294967295"), ("sled", 1, "`sled`")]
    {
        let path = folder.path().join(format!("{engine} {format}"));
        filled(&path).await;
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut stamp = [&b"airssys-wasm store"[..], &format.to_be_bytes(), engine.as_bytes()].concat();
        stamp.extend(crc32c::crc32c(&stamp).to_be_bytes());
        transaction.open_table(OURS).unwrap().insert(&[0, 0][..], stamp.as_slice()).unwrap();
        transaction.commit().unwrap();
        drop(database);
        let error = refused(&path, StorageFault::Format);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_path_that_cannot_be_a_store_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path(), StorageFault::Format);
    let missing = folder.path().join("no/such/store.redb");
    let error = refused(&missing, StorageFault::Io);
    assert!(error.to_string().contains("the folder of the store is missing"), "{error}");
    assert!(error.next_step().is_some_and(|step| step.contains("no/such")), "{error:?}");
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made");
    #[cfg(unix)]
    {
        refused(Path::new("/dev/null"), StorageFault::Format);
        let dangling = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &dangling).unwrap();
        refused(&dangling, StorageFault::Io);
    }
    #[cfg(target_os = "linux")]
    {
        // Not even root can make a file here.
        refused(Path::new("/proc/self/store.redb"), StorageFault::Io);
    }
}

#[tokio::test]
async fn a_store_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let store = stores::open(&path);
    put(&store, &space("a"), "k", "v").await;
    assert_eq!(fault(RedbStore::open(&path, RedbOptions::default())), StorageFault::Locked);
    // redb itself is kept out, too.
    assert!(Database::open(&path).is_err());
    drop(store);
    let store = stores::open(&path);
    store.close().await.unwrap();
    let again = stores::open(&path);
    assert_eq!(value(&again, &space("a"), "k").await, Some(b"v".to_vec()));
    assert_eq!(fault(store.get(&space("a"), &key("k")).await), StorageFault::Closed);
}

#[tokio::test]
async fn a_killed_owner_leaves_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hold_a_store", "--nocapture"])
        .env(CHILD, &path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    assert!(lines.any(|line| line.unwrap().contains("holding")));
    let error = refused_without_reading(&path);
    assert_eq!(fault::<()>(Err(error)), StorageFault::Locked);
    child.kill().unwrap();
    child.wait().unwrap();
    let store = stores::open(&path);
    assert_eq!(value(&store, &space("a"), "k").await, Some(b"v".to_vec()));
}

fn refused_without_reading(path: &Path) -> WasmError {
    RedbStore::open(path, RedbOptions::default()).unwrap_err()
}

/// Not a test of its own: what [`a_killed_owner_leaves_no_lock`] starts.
#[tokio::test]
#[allow(clippy::print_stdout, reason = "how the child speaks to its parent")]
async fn hold_a_store() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = stores::open(Path::new(&path));
    let mut batch = Batch::new();
    batch.put(&space("a"), key("k"), "v");
    store.commit(batch, Durability::Immediate).await.unwrap();
    println!("\nholding");
    std::thread::sleep(std::time::Duration::from_secs(600));
}

/// The generic constructor stamps what it finds empty, and refuses what it finds strange.
#[test]
fn any_engine_can_carry_a_store() {
    let engine = airssys_wasm_storage::MemoryEngine::default();
    Store::over(engine, std::time::Duration::ZERO).unwrap();
    let engine = airssys_wasm_storage::MemoryEngine::default();
    engine.apply(vec![Write { key: vec![9], value: Some(vec![]) }], Durability::Immediate).unwrap();
    assert_eq!(fault(Store::over(engine, std::time::Duration::ZERO)), StorageFault::Format);
}

#[tokio::test]
async fn an_unfinished_creation_is_taken_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    fs::write(folder.path().join("store.redb.new"), "half of a new store").unwrap();
    let store = stores::open(&path);
    put(&store, &space("a"), "k", "v").await;
    drop(store);
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["store.redb"]);
}
