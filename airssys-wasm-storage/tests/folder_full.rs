//! Stores in a folder whose files may not grow any more.

#![cfg(all(any(feature = "fjall", feature = "sled"), unix))]
#![allow(clippy::print_stdout, reason = "how the child tells its parent what it has done")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::path::Path;
use std::process::Command;

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::{Batch, Durability};
use stores::{Kind, fault, key, recount, space, value};

const CHILD: &str = "AIRSSYS_TEST_FULL";
const KIND: &str = "AIRSSYS_TEST_STORE";

fn numbered(number: u64) -> (String, Vec<u8>) {
    (format!("{number:06}"), number.to_be_bytes().repeat(2_000))
}

fn batch(number: u64) -> Batch {
    let mut batch = Batch::new();
    let (name, value) = numbered(number);
    batch.put(&space("a"), key(&name), value.clone());
    batch.put(&space("b"), key(&name), value);
    batch
}

/// Not a test of its own: writes until it may not, and tells what was acknowledged.
#[tokio::test]
async fn write_until_full() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let kind = Kind::named(&std::env::var(KIND).unwrap());
    let store = kind.open(Path::new(&path));
    let mut number = 0;
    let failure = loop {
        let durability = if number % 4 == 0 { Durability::Immediate } else { Durability::Eventual };
        match store.commit(batch(number), durability).await {
            Ok(_) if durability == Durability::Immediate => println!("\nack {number}"),
            Ok(_) => {}
            Err(error) => break fault::<()>(Err(error)),
        }
        number += 1;
    };
    println!("\nfailed {failure:?}");
    assert_eq!(fault(store.commit(batch(0), Durability::Eventual).await), StorageFault::ReadOnly);
    assert_eq!(fault(store.sync().await), StorageFault::ReadOnly);
    let read = store.get(&space("a"), &key(numbered(0).0)).await;
    match kind.name() {
        // It cannot tell what it holds.
        "sled" => assert_eq!(format!("{:?}", fault(read)), format!("{failure:?}")),
        _ => assert_eq!(read.unwrap().unwrap().value, numbered(0).1),
    }
    let _ = store.close().await;
    println!("\nclosed");
}

on_every_folder! {
    /// What was acknowledged is there when there is room again, no batch is torn, and the store takes writes.
    async fn a_full_device_is_an_error(kind: Kind) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        kind.open(&path).close().await.unwrap();
        // In units of 512 bytes or of 1,024: either way the child comes to the limit soon.
        let limit = "trap '' XFSZ; ulimit -f 16384; exec \"$0\" \"$@\"";
        let child = Command::new("sh")
            .args(["-c", limit])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "write_until_full", "--nocapture"])
            .env(CHILD, &path)
            .env(KIND, kind.name())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
        // When a thread of fjall's is the first to fail, fjall does not tell why.
        let untold = kind.name() == "fjall" && said.contains("failed Io");
        assert!(untold || said.contains("failed NoSpace"), "{said}");
        assert!(said.contains("closed"), "{said}");
        let acknowledged = said.lines().filter_map(|line| line.strip_prefix("ack ")?.parse::<u64>().ok()).max();

        for _ in 0..2 {
            let store = kind.open(&path);
            let held = store.usage(&space("a")).await.unwrap();
            assert_eq!(store.usage(&space("b")).await.unwrap(), held);
            assert_eq!(recount(&*store, &space("a")).await, held);
            assert!(held.keys > acknowledged.unwrap(), "{} keys, acknowledged {acknowledged:?}", held.keys);
            for number in 0..held.keys {
                let (name, bytes) = numbered(number);
                assert!(value(&*store, &space("a"), &name).await == Some(bytes.clone()), "{name}");
                assert!(value(&*store, &space("b"), &name).await == Some(bytes), "{name}");
            }
            store.commit(batch(held.keys), Durability::Immediate).await.unwrap();
            store.close().await.unwrap();
        }
    }
}
