//! What a store leaves behind in its process and its folder. Alone in its process, so that it can count.

#![cfg(all(feature = "redb", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use airssys_wasm_core::storage::StorageBackend;
use stores::{put, space, value};

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// A thread that was waited for may be listed for a moment longer.
#[track_caller]
fn eventually(expected: usize) {
    let since = Instant::now();
    while threads() != expected {
        assert!(since.elapsed() < Duration::from_secs(60), "{} threads of {expected}", threads());
        std::thread::yield_now();
    }
}

fn open_files(folder: &Path) -> usize {
    let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
    files.filter(|file| fs::read_link(file.path()).is_ok_and(|target| target.starts_with(folder))).count()
}

fn children() -> String {
    fs::read_to_string("/proc/thread-self/children").unwrap_or_default()
}

#[tokio::test]
async fn nothing_is_left_after_close_or_drop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let before = threads();
    for closes in [true, false, true] {
        let store = stores::open(&path);
        assert_eq!((threads(), open_files(folder.path())), (before + 1, 1));
        put(&store, &space("a"), "k", "v").await;
        if closes {
            store.close().await.unwrap();
            eventually(before);
            assert_eq!(open_files(folder.path()), 0, "closed, and not dropped yet");
        }
        drop(store);
        eventually(before);
        assert_eq!(open_files(folder.path()), 0);
        assert_eq!(children(), "");
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["store.redb"]);
    }
    // What was only `Eventual` is there: closing and dropping synchronise.
    assert_eq!(value(&stores::open(&path), &space("a"), "k").await, Some(b"v".to_vec()));
}
