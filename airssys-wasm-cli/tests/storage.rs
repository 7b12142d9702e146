//! `airssys-wasm storage`: operations on stores, as an operator runs them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
#[cfg(unix)]
use std::process::Command;

use airssys_wasm::core::storage::{Batch, Durability, Key, Namespace, StorageBackend};
use airssys_wasm::storage::{RedbOptions, RedbStore};
use serde_json::json;

mod command;

use command::{Place, Ran, airssys, text};

/// Does something with the store at `path`, which is made when it is not there.
fn with_store(path: &Path, work: impl AsyncFnOnce(&RedbStore)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = RedbStore::open(path, RedbOptions::default()).unwrap();
        work(&store).await;
        store.close().await.unwrap();
    });
}

/// Three records in two namespaces, one of which has a name that is not text.
fn fill(path: &Path) {
    with_store(path, async |store| {
        let (counter, odd) = (Namespace::new("acme/counter").unwrap(), Namespace::new([0xff, 0]).unwrap());
        let mut batch = Batch::new();
        batch
            .put(&counter, Key::new("count").unwrap(), "41")
            .put(&counter, Key::new("history").unwrap(), vec![7; 100])
            .put(&odd, Key::new("k").unwrap(), "");
        store.commit(batch, Durability::Immediate).await.unwrap();
    });
}

/// A place with a store in it, and the paths of both.
fn filled() -> (Place, String) {
    let place = Place::new();
    let path = place.path("state.redb");
    fill(&path);
    let path = text(&path);
    (place, path)
}

fn storage(arguments: &[&str]) -> Ran {
    airssys(&[&["storage"], arguments].concat())
}

/// The names in the place.
fn names(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path("")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_store_goes_out_and_comes_in_again() {
    let (place, store) = filled();
    let [first, second, copy] = ["first", "second", "copy.redb"].map(|name| text(&place.path(name)));
    let exported = storage(&["export", &store, &first]);
    assert_eq!((exported.code, exported.stderr.as_str()), (Some(0), ""));
    let (counts, digest) = exported.stdout.split_once("sha256      ").unwrap();
    assert_eq!(counts, "namespaces  2\nrecords     3\nbytes       115\n");
    assert_eq!(digest.trim_end().len(), 64);

    storage(&["import", &first, &copy]).ended(0, &exported.stdout);
    storage(&["export", "--store", "redb", &copy, &second]).ended(0, &exported.stdout);
    assert_eq!(fs::read(&first).unwrap(), fs::read(&second).unwrap());

    let info: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path("first.info.json")).unwrap()).unwrap();
    assert_eq!(info["store"], format!("redb:{store}"));
    assert_eq!(info["engine"], "redb");
    assert_eq!(info["commit_version"], 1);
    assert_eq!(info["sha256"], digest.trim_end());
    let expected = ["copy.redb", "first", "first.info.json", "second", "second.info.json", "state.redb"];
    assert_eq!(names(&place), expected);
}

#[test]
fn a_store_is_copied_with_one_command() {
    let (place, store) = filled();
    let copy = text(&place.path("copy.redb"));
    let (from, to) = (format!("redb:{store}"), format!("redb:{copy}"));
    let copied = storage(&["copy", "--from", &from, "--to", &to, "--output", "json"]);
    assert_eq!((copied.code, copied.stderr.as_str()), (Some(0), ""));
    let [copied] = copied.json().try_into().unwrap();
    assert_eq!(
        (&copied["namespaces"], &copied["records"], &copied["bytes"]),
        (&json!(2), &json!(3), &json!(115))
    );
    for (name, path) in [("a", &store), ("b", &copy)] {
        let exported = storage(&["export", path, &text(&place.path(name)), "--output", "json"]);
        assert_eq!(exported.json(), std::slice::from_ref(&copied));
    }
    assert_eq!(fs::read(place.path("a")).unwrap(), fs::read(place.path("b")).unwrap());
    storage(&["copy", "--from", &from, "--to", &to]).ended(2, "").told(&[
        &format!("`redb:{store}` was not copied"),
        "there is something at this path already",
        "Choose another path: what is there was left as it is.",
    ]);
    storage(&["copy", "--from", "rebd:a", "--to", &to]).ended(2, "").told(&["did you mean `redb`?"]);
    storage(&["copy", "--from", "redb", "--to", &to]).ended(2, "").told(&["write `redb:PATH`"]);
}

#[test]
fn usage_is_a_table() {
    let (_place, store) = filled();
    storage(&["usage", &store]).ended(
        0,
        "namespace     bytes  keys\n\
         acme/counter    194     2\n\
         \\xff\\x00         41     1\n",
    );
    let listed = storage(&["usage", &store, "--output", "json"]);
    assert_eq!(
        listed.json(),
        [
            json!({"namespace": "acme/counter", "bytes": 194, "keys": 2}),
            json!({"namespace_hex": "ff00", "bytes": 41, "keys": 1}),
        ]
    );
}

#[test]
fn a_whole_store_verifies() {
    let (_place, store) = filled();
    storage(&["verify", &store]).ended(0, "namespaces  2\nrecords     3\nbytes       115\nproblems    0\n");
    let verified = storage(&["verify", &store, "--output", "json"]);
    assert_eq!(verified.json(), [json!({"namespaces": 2, "records": 3, "bytes": 115, "problems": 0})]);
}

#[test]
fn compaction_tells_what_it_gave_back() {
    let (_place, store) = filled();
    with_store(Path::new(&store), async |store| {
        let space = Namespace::new("bulk").unwrap();
        let mut batch = Batch::new();
        for number in 0..500_u32 {
            batch.put(&space, Key::new(number.to_be_bytes()).unwrap(), vec![1; 8_000]);
        }
        store.commit(batch, Durability::Immediate).await.unwrap();
        let mut batch = Batch::new();
        for number in 0..500_u32 {
            batch.delete(&space, Key::new(number.to_be_bytes()).unwrap());
        }
        store.commit(batch, Durability::Immediate).await.unwrap();
    });
    let size = || fs::metadata(&store).unwrap().len();
    let before = size();
    let ran = storage(&["compact", &store, "--output", "json"]);
    assert_eq!(ran.json(), [json!({"bytes_before": before, "bytes_after": size()})]);
    assert!(size() * 2 < before, "{before} bytes before, {} after", size());
    let (before, ran) = (size(), storage(&["compact", &store]));
    assert!(ran.stdout.starts_with(&format!("before  {before} B")), "{}", ran.stdout);
    assert_eq!(storage(&["verify", &store]).code, Some(0));
}

#[test]
fn what_is_no_export_makes_no_store() {
    let (place, store) = filled();
    let whole = text(&place.path("whole"));
    storage(&["export", &store, &whole]);
    let bytes = fs::read(&whole).unwrap();
    let before = names(&place);
    let refused = |bytes: &[u8], told: &[&str]| {
        let file = place.file("broken", bytes);
        let ran = storage(&["import", &file, &text(&place.path("new.redb"))]);
        ran.ended(9, "").told(told).told(&[&format!("`{file}` was not imported"), "diagnostic code: host"]);
        fs::remove_file(file).unwrap();
        assert_eq!(names(&place), before);
    };
    refused(b"PK", &["not an export of a store", "Choose a file that an export wrote."]);
    refused(&bytes[..100], &["the export is cut short (offset: 100)", "Use another copy of the export"]);
    let mut damaged = bytes.clone();
    damaged[50] ^= 1;
    refused(&damaged, &["the export is damaged: a frame does not match its checksum (offset: 41)"]);
    let mut later = bytes;
    later[22] = 9;
    refused(&later, &["an export of format 9; this version reads format 1"]);
}

#[test]
fn what_is_there_is_left_as_it_is() {
    let (place, store) = filled();
    let whole = text(&place.path("whole"));
    storage(&["export", &store, &whole]);
    let before = fs::read(&store).unwrap();
    let taken = "there is something at this path already";
    storage(&["export", &store, &whole]).ended(2, "").told(&[taken, &whole]);
    storage(&["import", &whole, &store]).ended(2, "").told(&[taken, &store]);
    let apart = place.file("apart.info.json", "");
    storage(&["export", &store, &text(&place.path("apart"))]).ended(2, "").told(&[taken, &apart]);
    assert_eq!(fs::read(&store).unwrap(), before);
    assert_eq!(names(&place), ["apart.info.json", "state.redb", "whole", "whole.info.json"]);
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let place = Place::new();
    let (absent, file) = (text(&place.path("absent.redb")), text(&place.path("file")));
    let copy = [format!("redb:{absent}"), format!("redb:{file}")];
    let commands: [&[&str]; 5] = [
        &["export", &absent, &file],
        &["verify", &absent],
        &["usage", &absent],
        &["compact", &absent],
        &["copy", "--from", &copy[0], "--to", &copy[1]],
    ];
    for command in commands {
        storage(command)
            .ended(2, "")
            .told(&[&format!("there is no store at `{absent}`"), "check the path and its permissions"]);
    }
    storage(&["import", &file, &absent]).ended(2, "").told(&[&format!("`{file}` cannot be read")]);
    storage(&["verify", &absent, "--store", "rebd"]).ended(2, "").told(&["'rebd'"]);
    assert_eq!(names(&place), Vec::<String>::new());
}

#[test]
fn a_store_that_is_open_elsewhere_is_told() {
    let (place, store) = filled();
    with_store(Path::new(&store), async |_| {
        for arguments in [["verify", &store].as_slice(), &["export", &store, &text(&place.path("x"))]] {
            storage(arguments).ended(9, "").told(&["the store is open elsewhere", "Close the other opener"]);
        }
    });
    assert_eq!(names(&place), ["state.redb"]);
}

#[test]
fn every_problem_of_a_damaged_store_is_told() {
    let (place, store) = filled();
    let mut bytes = fs::read(&store).unwrap();
    let at = bytes.windows(100).position(|window| window == [7; 100]).unwrap();
    bytes[at + 50] ^= 1;
    fs::write(&store, &bytes).unwrap();
    let verified = storage(&["verify", &store]);
    verified.told(&["2 problems were found", "Restore the store from an export or a copy", "code: host"]);
    assert_eq!(verified.code, Some(9));
    let lines: Vec<_> = verified.stdout.lines().collect();
    assert!(lines[0].starts_with("the engine finds damage: "), "{lines:?}");
    assert_eq!(
        lines[1..],
        [
            "a record does not match its checksum (namespace: acme/counter, key: history)",
            "namespaces  2",
            "records     3",
            "bytes       115",
            "problems    2",
        ]
    );
    let told = storage(&["verify", &store, "--output", "json"]).json();
    let problem = json!({
        "namespace": "acme/counter",
        "key_hex": "686973746f7279",
        "detail": "damaged",
        "problem": "a record does not match its checksum",
    });
    assert_eq!(told[1], problem);
    for arguments in [["usage", &store].as_slice(), &["export", &store, &text(&place.path("x"))]] {
        storage(arguments).ended(9, "").told(&["stored bytes are damaged", "Restore the file from a copy"]);
    }
    assert_eq!(names(&place), ["state.redb"]);
    assert_eq!(fs::read(&store).unwrap(), bytes, "the file was changed");
}

/// Ctrl-C in the middle leaves neither a store nor a part of one.
#[cfg(unix)]
#[test]
fn an_interrupted_import_leaves_nothing() {
    let (place, store) = filled();
    with_store(Path::new(&store), async |store| {
        let space = Namespace::new("bulk").unwrap();
        for part in 0..40_u32 {
            let mut batch = Batch::new();
            for number in 0..1_000_u32 {
                batch.put(&space, Key::new((part * 1_000 + number).to_be_bytes()).unwrap(), vec![1; 200]);
            }
            store.commit(batch, Durability::Eventual).await.unwrap();
        }
    });
    let (whole, new) = (text(&place.path("whole")), text(&place.path("new.redb")));
    assert_eq!(storage(&["export", &store, &whole]).code, Some(0));
    let before = names(&place);
    let mut child = command::command(&["storage", "import", &whole, &new]).spawn().unwrap();
    // It has begun to write when there is something that was not there.
    while names(&place) == before {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it was interrupted");
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(&place), before);
}
