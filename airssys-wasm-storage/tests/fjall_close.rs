//! What a fjall store leaves behind in its process and its folder. Alone in its process, so that it can count.

#![cfg(all(feature = "fjall", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::fs;
use std::time::{Duration, Instant};

use stores::{Kind, put, space, value};

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

#[tokio::test]
async fn nothing_is_left_after_close_or_drop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let before = threads();
    for closes in [true, false, true] {
        let store = Kind::Fjall.open(&path);
        assert!(threads() > before + 1, "the writer, and fjall's own");
        put(&*store, &space("a"), "k", "v").await;
        if closes {
            store.close().await.unwrap();
            eventually(before);
        }
        drop(store);
        eventually(before);
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["store"]);
    }
    // What was only `Eventual` is there: closing and dropping synchronise.
    assert_eq!(value(&*Kind::Fjall.open(&path), &space("a"), "k").await, Some(b"v".to_vec()));
}
