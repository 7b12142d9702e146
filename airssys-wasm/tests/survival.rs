//! What is committed is there after the host was killed.

#![cfg(all(feature = "wasmtime", feature = "redb"))]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use airssys_wasm::Host;
use airssys_wasm::core::component::ByteSize;
use airssys_wasm::core::config::{HostConfig, OnDisk, StorageConfig};
use airssys_wasm::core::error::{Detail, ErrorKind, StorageFault};
use support::*;

const STORE: &str = "AIRSSYS_WASM_TEST_STORE";

fn config(path: &Path) -> HostConfig {
    let storage = StorageConfig::Redb(OnDisk { cache: ByteSize::mib(4), ..OnDisk::at(path) });
    HostConfig { storage, ..HostConfig::default() }
}

/// Counts until it is killed, and prints each count when it has been told of it. Not a test of its own: the test below
/// starts this program again with the store's path, and kills it.
#[tokio::test]
async fn counts_until_killed() {
    let Some(path) = std::env::var_os(STORE).map(PathBuf::from) else { return };
    let (host, _) = build(Host::builder().config(config(&path))).await;
    let counter = counter(&host).await;
    loop {
        let count = ask(&host, &counter, "increment").await.unwrap();
        let mut output = std::io::stdout().lock();
        writeln!(output, "\ncount {count}").unwrap();
        output.flush().unwrap();
    }
}

#[tokio::test]
async fn a_killed_host_loses_nothing_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let mut last = 0_u64;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["counts_until_killed", "--exact", "--nocapture"])
            .env(STORE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut counts =
            lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("count ")?.parse::<u64>().ok());
        let first = counts.next().expect("the host came up and counted");
        assert!(
            first == last + 1 || first == last + 2,
            "round {round}: {last} was answered, then came {first}"
        );
        // One count may be committed and not yet answered when the kill comes.
        last = counts.by_ref().take(3 + 7 * round).last().unwrap_or(first);
        child.kill().unwrap();
        last = counts.last().unwrap_or(last);
        child.wait().unwrap();
    }
    let (host, _) = build(Host::builder().config(config(&path))).await;
    let counter = counter(&host).await;
    let found: u64 = ask(&host, &counter, "get").await.unwrap().parse().unwrap();
    assert!(found == last || found == last + 1, "{last} was answered, {found} is there");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_is_named_and_the_host_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no/such/folder/state.redb");
    let error = Host::builder().engine(engine()).config(config(&missing)).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error:?}");
    assert!(error.to_string().contains("state.redb") && error.next_step().is_some(), "{error:?}");
}

/// A folder of the system in which nobody, not even its administrator, makes files.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_store_that_cannot_be_written_is_named() {
    let error = Host::builder()
        .engine(engine())
        .config(config(Path::new("/proc/state.redb")))
        .build()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error:?}");
    assert!(error.to_string().contains("/proc/state.redb") && error.next_step().is_some(), "{error:?}");
}

#[tokio::test]
async fn a_store_is_opened_by_one_host_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let (first, _) = build(Host::builder().config(config(&path))).await;
    let error = Host::builder().engine(engine()).config(config(&path)).build().await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Storage(StorageFault::Locked)), "{error:?}");
    first.shutdown(Duration::from_secs(5)).await;
    build(Host::builder().config(config(&path))).await;
}
