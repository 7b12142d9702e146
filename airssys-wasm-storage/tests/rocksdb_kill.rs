//! A RocksDB store whose process is killed at random times, and opened again.

#![cfg(all(feature = "rocksdb", unix))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::sync::Arc;

/// Not a test of its own: what [`acknowledged_commits_survive_a_kill`] starts.
#[tokio::test]
async fn write_until_killed() {
    stores::kill::write_until_killed(|path| Arc::new(stores::open_rocksdb(path))).await;
}

#[tokio::test]
async fn acknowledged_commits_survive_a_kill() {
    stores::kill::survives(|path| Arc::new(stores::open_rocksdb(path))).await;
}
