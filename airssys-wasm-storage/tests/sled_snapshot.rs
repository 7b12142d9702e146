//! A sled store whose files were damaged. Alone in its process: a thread of sled's that fails, fails for all of it.

#![cfg(feature = "sled")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::{Batch, Durability, KeyRange};
use stores::{Kind, fault, key, plant, put, space, tree, value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Remembers the warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Visit for Warnings {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.lock().unwrap().push(format!("{field}: {value:?}"));
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A store with a snapshot, and a log that goes on behind it.
async fn filled(path: &Path) {
    for round in 0..3 {
        let store = Kind::Sled.open(path);
        for number in 0..50 {
            put(&*store, &space("a"), &format!("{round} {number}"), &"v".repeat(number * 20)).await;
        }
        store.close().await.unwrap();
    }
}

async fn holds_all(path: &Path) {
    let store = Kind::Sled.open(path);
    for round in 0..3 {
        for number in 0..50 {
            let found = value(&*store, &space("a"), format!("{round} {number}")).await;
            assert_eq!(found, Some(b"v".repeat(number * 20)), "{round} {number}");
        }
    }
    store.close().await.unwrap();
}

fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("snap.")).collect()
}

#[tokio::test]
async fn damaged_files_are_lived_with_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let data = path.join("data");
    filled(&path).await;
    let whole = tree(&path);
    let [snapshot] = &snapshots(&data)[..] else { panic!("one snapshot") };
    let bytes = fs::read(snapshot).unwrap();

    // A damaged snapshot is set aside, and nothing is lost; not by the openings after that, either.
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    for damaged in [&flipped[..], &bytes[..bytes.len() / 2], &bytes[..5], &[]] {
        plant(&path, &whole);
        fs::write(snapshot, damaged).unwrap();
        let warnings = Warnings::default();
        {
            let _guard = tracing::subscriber::set_default(warnings.clone());
            holds_all(&path).await;
        }
        let said = warnings.0.lock().unwrap().join("\n");
        assert!(said.contains("set aside") && said.contains(&path.display().to_string()), "{said:?}");
        let aside = path.join("set-aside").join(snapshot.file_name().unwrap());
        assert!(fs::read(aside).unwrap() == damaged);
        for _ in 0..3 {
            holds_all(&path).await;
        }
    }

    // What is not the fault of the snapshot does not cost it.
    plant(&path, &whole);
    fs::write(data.join("conf"), "version: nonsense, and more of it").unwrap();
    assert_eq!(fault(Kind::Sled.try_open(&path)), StorageFault::Damaged);
    assert!(fs::read(snapshot).unwrap() == bytes);

    a_damaged_log_never_shows_other_bytes(&path, &whole).await;
}

/// It may show an earlier state.
async fn a_damaged_log_never_shows_other_bytes(
    path: &Path,
    whole: &std::collections::BTreeMap<PathBuf, Vec<u8>>,
) {
    let mut numbers = stores::Numbers::seeded();
    let log = &whole[Path::new("data/db")];
    let used = log.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let (mut opened, mut refused, mut missing, mut holes) = (0, 0, 0, 0);
    for _ in 0..40 {
        let mut damaged = whole.clone();
        let at = numbers.below(used) as usize;
        damaged.get_mut(Path::new("data/db")).unwrap()[at] ^= 1 << numbers.below(8);
        plant(path, &damaged);
        let store = match Kind::Sled.try_open(path) {
            Ok(store) => store,
            Err(error) => {
                assert_eq!(fault::<()>(Err(error)), StorageFault::Damaged, "at {at}");
                refused += 1;
                continue;
            }
        };
        opened += 1;
        for round in 0..3 {
            for number in 0..50 {
                match store.get(&space("a"), &key(format!("{round} {number}"))).await {
                    Ok(Some(record)) => assert!(record.value == b"v".repeat(number * 20), "at {at}"),
                    Ok(None) => missing += 1,
                    Err(error) => assert_eq!(fault::<()>(Err(error)), StorageFault::Damaged, "at {at}"),
                }
            }
        }
        let kept =
            store.scan(&space("a"), KeyRange::all(), 1_000).await.map(|page| page.records.len() as u64);
        let counted = store.usage(&space("a")).await.map(|usage| usage.keys);
        holes += u64::from(!matches!((kept, counted), (Ok(kept), Ok(counted)) if kept == counted));
        let mut batch = Batch::new();
        batch.put(&space("a"), key("new"), "v");
        // What is damaged may not take writes either.
        let _ = store.commit(batch, Durability::Immediate).await;
        let _ = store.close().await;
    }
    #[allow(clippy::print_stdout, reason = "for those who want to know")]
    {
        println!(
            "opened {opened}, refused {refused}, missing values {missing}, not an earlier state {holes}"
        );
    }
}
