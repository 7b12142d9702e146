//! A fjall store whose files were damaged.

#![cfg(feature = "fjall")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::KeyRange;
use stores::{Kind, Numbers, fault, key, plant, put, space, tree};

/// Whether a path is that of one of fjall's version files: `v` and a number.
fn is_version(name: &Path) -> bool {
    let name = name.file_name().and_then(OsStr::to_str).unwrap_or_default();
    name.strip_prefix('v').is_some_and(|number| number.parse::<u64>().is_ok())
}

/// A flipped bit may cost the end of the journal, but never shows other bytes.
#[tokio::test]
async fn a_damaged_file_never_shows_other_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    for round in 0..3 {
        let store = Kind::Fjall.open(&path);
        for number in 0..50 {
            put(&*store, &space("a"), &format!("{round} {number}"), &"v".repeat(number * 20)).await;
        }
        store.close().await.unwrap();
    }
    let whole = tree(&path);
    let used = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let files: Vec<_> =
        whole.iter().filter(|(name, bytes)| name.starts_with("data") && used(bytes) > 0).collect();
    // Its version files, byte for byte: what stands there unprotected ends the process when fjall believes it.
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with("current") || is_version(name)) {
        for at in 0..used(bytes) {
            let mut damaged = whole.clone();
            damaged.get_mut(*name).unwrap()[at] ^= 1 << (at % 8);
            plant(&path, &damaged);
            let found = fault(Kind::Fjall.try_open(&path));
            assert_eq!(found, StorageFault::Damaged, "{} at {at}", name.display());
        }
    }
    let mut numbers = Numbers::seeded();
    let (mut opened, mut refused, mut missing, mut holes) = (0, 0, 0, 0);
    for round in 0..60 {
        // Every second time the largest file: the journal.
        let (name, bytes): (&PathBuf, &Vec<u8>) = if round % 2 == 0 {
            files.iter().copied().max_by_key(|(_, bytes)| used(bytes)).unwrap()
        } else {
            files[numbers.below(files.len() as u64) as usize]
        };
        let at = numbers.below(used(bytes) as u64) as usize;
        let mut damaged = whole.clone();
        damaged.get_mut(name).unwrap()[at] ^= 1 << numbers.below(8);
        plant(&path, &damaged);
        let store = match Kind::Fjall.try_open(&path) {
            Ok(store) => store,
            Err(error) => {
                let found = fault::<()>(Err(error));
                assert!(
                    matches!(found, StorageFault::Damaged | StorageFault::Format),
                    "{found:?}: {} at {at}",
                    name.display()
                );
                refused += 1;
                continue;
            }
        };
        opened += 1;
        for round in 0..3 {
            for number in 0..50 {
                match store.get(&space("a"), &key(format!("{round} {number}"))).await {
                    Ok(Some(record)) => {
                        assert!(record.value == b"v".repeat(number * 20), "{} at {at}", name.display());
                    }
                    Ok(None) => missing += 1,
                    Err(error) => assert_eq!(fault::<()>(Err(error)), StorageFault::Damaged),
                }
            }
        }
        let kept =
            store.scan(&space("a"), KeyRange::all(), 1_000).await.map(|page| page.records.len() as u64);
        let counted = store.usage(&space("a")).await.map(|usage| usage.keys);
        holes += u64::from(!matches!((kept, counted), (Ok(kept), Ok(counted)) if kept == counted));
        let _ = store.close().await;
    }
    #[allow(clippy::print_stdout, reason = "for those who want to know")]
    {
        println!(
            "opened {opened}, refused {refused}, missing values {missing}, not an earlier state {holes}"
        );
    }
}
