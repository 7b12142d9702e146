//! A system that moves from one kind of store to another one and back, as an operator moves it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

mod command;

use command::{Place, airssys, guest, text};

/// The kinds of stores in this build.
const KINDS: &[&str] = &[
    "redb",
    #[cfg(feature = "fjall")]
    "fjall",
    #[cfg(feature = "rocksdb")]
    "rocksdb",
    #[cfg(feature = "sled")]
    "sled",
];

/// A component counts on wherever its store goes, and what was exported on the way there is exported on the way back.
#[test]
fn a_system_moves_to_every_other_store_and_back() {
    let counter = guest("counter");
    for from in KINDS {
        for to in KINDS {
            let place = Place::new();
            let [first, moved, back] =
                [(from, "first"), (to, "moved"), (from, "back")].map(|(kind, name)| place.at(kind, name));
            let count = |store: &str, expected: &str| {
                let grant = ["--grant", "storage:local/counter", "-m", "increment"];
                airssys(&[&["run", &counter, "--store", store], &grant[..]].concat()).ended(0, expected);
            };
            let export = |kind: &str, name: &str, file: &str| {
                let (store, file) = (text(&place.path(name)), text(&place.path(file)));
                assert_eq!(airssys(&["storage", "export", "--store", kind, &store, &file]).code, Some(0));
                fs::read(&file).unwrap()
            };
            let copy = |from: &str, to: &str| {
                let copied = airssys(&["storage", "copy", "--from", from, "--to", to]);
                assert_eq!(copied.code, Some(0), "{from} to {to}: {}", copied.stderr);
            };
            count(&first, "1\n");
            copy(&first, &moved);
            assert_eq!(export(from, "first", "a"), export(to, "moved", "b"), "{from} to {to}");
            count(&moved, "2\n");
            copy(&moved, &back);
            assert_eq!(export(to, "moved", "c"), export(from, "back", "d"), "{to} to {from}");
            count(&back, "3\n");
        }
    }
}

#[test]
fn a_host_configuration_names_the_store() {
    let counter = guest("counter");
    for kind in KINDS {
        let place = Place::new();
        let state = text(&place.path("state"));
        let file = place.file(
            "host.toml",
            format!("[storage]\nbackend = \"{kind}\"\npath = '{state}'\ncache = \"8 MiB\""),
        );
        let grant = ["--grant", "storage:local/counter", "-m", "increment"];
        for expected in ["1\n", "2\n"] {
            airssys(&[&["run", &counter, "--host-config", &file], &grant[..]].concat()).ended(0, expected);
        }
        airssys(&[&["run", &counter, "--store", &place.at(kind, "state")], &grant[..]].concat())
            .ended(0, "3\n");
        airssys(&[&["run", &counter, "--host-config", &file, "--store", "memory"], &grant[..]].concat())
            .ended(0, "1\n");
    }
}

#[test]
fn a_store_that_is_not_in_the_build_is_refused() {
    let counter = guest("counter");
    for kind in ["fjall", "rocksdb", "sled"].into_iter().filter(|kind| !KINDS.contains(kind)) {
        let place = Place::new();
        let file = place.file(
            "host.toml",
            format!("[storage]\nbackend = \"{kind}\"\npath = '{}'", text(&place.path("state"))),
        );
        airssys(&["run", &counter, "--host-config", &file, "-m", "get"]).ended(2, "").told(&[
            &format!("the store `{kind}` is not compiled in"),
            "enable the Cargo feature of that name",
        ]);
        airssys(&["run", &counter, "--store", &place.at(kind, "state"), "-m", "get"])
            .ended(2, "")
            .told(&[&format!("the kind of store `{kind}` is not in this build, which has: ")]);
        assert!(!place.path("state").exists());
    }
}
