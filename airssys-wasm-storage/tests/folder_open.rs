//! How a store in a folder opens, and how it refuses to.

#![cfg(any(feature = "fjall", feature = "sled"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use airssys_wasm_core::error::{StorageFault, WasmError};
use airssys_wasm_core::storage::{Batch, Durability};
use stores::{Kind, fault, key, plant, put, space, tree, value};

const CHILD: &str = "AIRSSYS_TEST_HOLD";
const KIND: &str = "AIRSSYS_TEST_STORE";

/// Opening `path` fails like this, says what to do, names the path, and changes nothing beside it.
#[track_caller]
fn refused(kind: Kind, path: &Path, expected: StorageFault) -> WasmError {
    let folder = path.parent().filter(|folder| folder.starts_with(std::env::temp_dir()) && folder.is_dir());
    let before = folder.map(tree);
    let error = kind.try_open(path).unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    assert!(error.next_step().is_some(), "{error}");
    assert!(folder.map(tree) == before, "files were changed");
    assert_eq!(fault::<()>(Err(error)), expected);
    kind.try_open(path).unwrap_err()
}

async fn filled(kind: Kind, path: &Path) {
    let store = kind.open(path);
    for number in 0..20 {
        put(&*store, &space("a"), &format!("k{number}"), &"v".repeat(number * 100)).await;
    }
    store.close().await.unwrap();
}

fn stamp(engine: &str, format: u32) -> Vec<u8> {
    let mut stamp = [&b"airssys-wasm store"[..], &format.to_be_bytes(), engine.as_bytes()].concat();
    stamp.extend(crc32c::crc32c(&stamp).to_be_bytes());
    stamp
}

on_every_folder! {
    async fn what_is_not_a_store_is_refused_untouched(kind: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        fs::write(&path, "a file").unwrap();
        refused(kind, &path, StorageFault::Format);
        fs::remove_file(&path).unwrap();

        plant(&path, &[("notes.txt".into(), b"somebody's".to_vec())].into());
        refused(kind, &path, StorageFault::Format);
        // What one of these engines made by itself.
        fs::remove_dir_all(&path).unwrap();
        #[cfg(feature = "sled")]
        {
            sled::open(&path).unwrap().insert("a", "b").unwrap();
            refused(kind, &path, StorageFault::Format);
            fs::remove_dir_all(&path).unwrap();
        }
        #[cfg(feature = "fjall")]
        {
            let database = fjall::Database::builder(&path).open().unwrap();
            drop(database);
            refused(kind, &path, StorageFault::Format);
        }
    }

    async fn other_stores_and_formats_are_refused_untouched(kind: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for other in Kind::ALL.iter().filter(|other| **other != kind) {
            let path = folder.path().join(other.name());
            filled(*other, &path).await;
            refused(kind, &path, StorageFault::Format);
        }
        filled(kind, &path).await;
        for (mark, expected, said) in [
            (stamp(kind.name(), 2), StorageFault::Format, "format 2"),
            (stamp(kind.name(), u32::MAX), StorageFault::Format, "format 4294967295"),
            (stamp("other", 1), StorageFault::Format, "`other`"),
            (b"garbage".to_vec(), StorageFault::Damaged, "damaged"),
            (vec![], StorageFault::Damaged, "damaged"),
        ] {
            fs::write(path.join("airssys-wasm"), mark).unwrap();
            let error = refused(kind, &path, expected);
            assert!(error.to_string().contains(said), "{error}");
        }
        fs::write(path.join("airssys-wasm"), stamp(kind.name(), 1)).unwrap();
        assert_eq!(value(&*kind.open(&path), &space("a"), "k1").await, Some(b"v".repeat(100)));
    }

    async fn what_is_missing_is_noticed(kind: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        filled(kind, &path).await;
        let whole = tree(&path);
        let essential = match kind.name() {
            "sled" => "data/db",
            _ => "data/version",
        };
        let mut without = whole.clone();
        assert!(without.remove(Path::new(essential)).is_some());
        plant(&path, &without);
        refused(kind, &path, StorageFault::Damaged);

        fs::remove_dir_all(path.join("data")).unwrap();
        refused(kind, &path, StorageFault::Damaged);
        fs::create_dir(path.join("data")).unwrap();
        refused(kind, &path, StorageFault::Damaged);
        assert!(fs::read_dir(path.join("data")).unwrap().next().is_none());

        // A database of the engine's that is whole, and empty.
        fs::remove_dir(path.join("data")).unwrap();
        match kind.name() {
            #[cfg(feature = "sled")]
            "sled" => drop(sled::open(path.join("data")).unwrap()),
            #[cfg(feature = "fjall")]
            "fjall" => drop(fjall::Database::builder(path.join("data")).open().unwrap()),
            other => panic!("{other}"),
        }
        let error = kind.try_open(&path).unwrap_err();
        assert!(format!("{error:?}").contains("lost everything"), "{error:?}");
        assert_eq!(fault::<()>(Err(error)), StorageFault::Damaged);

        plant(&path, &whole);
        assert_eq!(value(&*kind.open(&path), &space("a"), "k1").await, Some(b"v".repeat(100)));
    }

    async fn a_path_that_cannot_be_a_store_is_explained(kind: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no/such/store");
        let error = refused(kind, &missing, StorageFault::Io);
        assert!(error.to_string().contains("the folder of the store is missing"), "{error}");
        assert!(error.next_step().is_some_and(|step| step.contains("no/such")), "{error:?}");
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made");
        #[cfg(unix)]
        {
            refused(kind, Path::new("/dev/null"), StorageFault::Format);
            let dangling = folder.path().join("link");
            std::os::unix::fs::symlink(folder.path().join("nowhere"), &dangling).unwrap();
            assert_eq!(fault(kind.try_open(&dangling)), StorageFault::Io);
            assert!(!folder.path().join("nowhere").exists());
        }
        #[cfg(target_os = "linux")]
        {
            // Not even root can make a folder here.
            refused(kind, Path::new("/proc/self/store"), StorageFault::Io);
        }
    }

    async fn a_store_is_open_once(kind: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let store = kind.open(&path);
        put(&*store, &space("a"), "k", "v").await;
        assert_eq!(fault(kind.try_open(&path)), StorageFault::Locked);
        drop(store);
        let store = kind.open(&path);
        store.close().await.unwrap();
        let again = kind.open(&path);
        assert_eq!(value(&*again, &space("a"), "k").await, Some(b"v".to_vec()));
        assert_eq!(fault(store.get(&space("a"), &key("k")).await), StorageFault::Closed);
    }

    async fn a_killed_owner_leaves_no_lock(kind: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hold_a_store", "--nocapture"])
            .env(CHILD, &path)
            .env(KIND, kind.name())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        assert!(lines.any(|line| line.unwrap().contains("holding")));
        assert_eq!(fault(kind.try_open(&path)), StorageFault::Locked);
        child.kill().unwrap();
        child.wait().unwrap();
        let store = kind.open(&path);
        assert_eq!(value(&*store, &space("a"), "k").await, Some(b"v".to_vec()));
    }

    async fn an_empty_folder_becomes_a_store(kind: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        fs::create_dir(&path).unwrap();
        filled(kind, &path).await;
        assert_eq!(value(&*kind.open(&path), &space("a"), "k1").await, Some(b"v".repeat(100)));
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["store"]);
    }

    async fn an_unfinished_creation_is_taken_up(kind: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let unfinished = folder.path().join("store.new");
        plant(&unfinished, &[
            ("airssys-wasm".into(), b"half a mark".to_vec()),
            ("data/db".into(), b"half a log".to_vec()),
            ("data/version".into(), vec![]),
        ].into());
        filled(kind, &path).await;
        assert_eq!(value(&*kind.open(&path), &space("a"), "k1").await, Some(b"v".repeat(100)));
        assert!(!unfinished.exists());

        // Somebody else's folder of that name is no unfinished store.
        let other = folder.path().join("other");
        plant(&folder.path().join("other.new"), &[("notes.txt".into(), b"somebody's".to_vec())].into());
        let error = refused(kind, &other, StorageFault::Format);
        assert!(format!("{error:?}").contains("in the way"), "{error:?}");
    }

    async fn opening_again_and_again_loses_nothing(kind: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        filled(kind, &path).await;
        for round in 0..6 {
            let store = kind.open(&path);
            for number in 0..20 + round {
                let expected = Some(b"v".repeat(number * 100));
                assert!(value(&*store, &space("a"), format!("k{number}")).await == expected, "{number} in {round}");
            }
            // Opened and closed without a write before each of them.
            store.close().await.unwrap();
            drop(kind.open(&path));
            let store = kind.open(&path);
            let number = 20 + round;
            put(&*store, &space("a"), &format!("k{number}"), &"v".repeat(number * 100)).await;
        }
    }

    #[cfg(target_os = "linux")]
    async fn files_are_released(kind: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let open_files = || {
            let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
            files.filter(|file| fs::read_link(file.path()).is_ok_and(|to| to.starts_with(folder.path()))).count()
        };
        for closes in [true, false, true] {
            let store = kind.open(&path);
            put(&*store, &space("a"), "k", "v").await;
            assert!(open_files() > 0);
            if closes {
                store.close().await.unwrap();
                assert_eq!(open_files(), 0, "closed, and not dropped yet");
            }
            drop(store);
            assert_eq!(open_files(), 0);
        }
    }
}

/// Not a test of its own: what [`a_killed_owner_leaves_no_lock`] starts.
#[tokio::test]
#[allow(clippy::print_stdout, reason = "how the child speaks to its parent")]
async fn hold_a_store() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = Kind::named(&std::env::var(KIND).unwrap()).open(Path::new(&path));
    let mut batch = Batch::new();
    batch.put(&space("a"), key("k"), "v");
    store.commit(batch, Durability::Immediate).await.unwrap();
    println!("\nholding");
    std::thread::sleep(std::time::Duration::from_secs(600));
}
