//! The house rules that a machine can check: which crate may depend on which, what core drags in, and what is pinned.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

fn cargo(arguments: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO")).args(arguments).current_dir(root()).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// The crates of the workspace and, of each, the crates of the workspace it depends on; dev-dependencies apart.
fn arrows() -> BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)> {
    let metadata: Value = serde_json::from_str(&cargo(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
        "--locked",
        "--offline",
    ]))
    .expect("cargo metadata prints JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = metadata["packages"].as_array().expect("packages are a list");
    let names: BTreeSet<_> = packages.iter().map(|package| text(&package["name"])).collect();
    let arrows = packages.iter().map(|package| {
        let (mut normal, mut dev) = (BTreeSet::new(), BTreeSet::new());
        for dependency in package["dependencies"].as_array().expect("dependencies are a list") {
            let name = text(&dependency["name"]);
            if names.contains(&name) {
                if dependency["kind"] == "dev" {
                    dev.insert(name)
                } else {
                    normal.insert(name)
                };
            }
        }
        (text(&package["name"]), (normal, dev))
    });
    arrows.collect()
}

#[test]
fn the_arrows_between_crates_are_the_ones_drawn() {
    let expected: &[(&str, &[&str], &[&str])] = &[
        ("airssys-wasm-core", &[], &[]),
        // The host comes with the feature `host` alone, for its own contracts.
        ("airssys-wasm-conformance", &["airssys-wasm", "airssys-wasm-core"], &[]),
        ("airssys-wasm-storage", &["airssys-wasm-core"], &["airssys-wasm-conformance"]),
        ("airssys-wasm-engine", &["airssys-wasm-core"], &[]),
        (
            "airssys-wasm-wasmtime",
            &["airssys-wasm-core", "airssys-wasm-engine"],
            &["airssys-wasm-conformance"],
        ),
        ("airssys-wasm-wasmer", &["airssys-wasm-core", "airssys-wasm-engine"], &["airssys-wasm-conformance"]),
        (
            "airssys-wasm",
            &["airssys-wasm-core", "airssys-wasm-storage", "airssys-wasm-wasmer", "airssys-wasm-wasmtime"],
            &["airssys-wasm-conformance"],
        ),
        ("airssys-wasm-cli", &["airssys-wasm", "airssys-wasm-conformance"], &[]),
    ];
    let arrows = arrows();
    assert_eq!(
        arrows.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        expected.iter().map(|(name, ..)| *name).collect(),
        "a new crate is a decision: draw its arrows here"
    );
    for (name, normal, dev) in expected {
        let (found_normal, found_dev) = &arrows[*name];
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(*found_normal, set(normal), "{name} depends on");
        assert!(found_dev.is_subset(&set(dev)), "{name} has the dev-dependencies {found_dev:?}");
    }
}

#[test]
fn core_drags_in_nothing_but_proc_macros() {
    let tree = cargo(&[
        "tree",
        "--locked",
        "--offline",
        "-e",
        "normal",
        "-p",
        "airssys-wasm-core",
        "--no-default-features",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    // What the two proc-macros are made of is built for the machine that compiles, and is no part of the product.
    let allowed = [
        "airssys-wasm-core",
        "async-trait",
        "thiserror",
        "thiserror-impl",
        "proc-macro2",
        "quote",
        "syn",
        "unicode-ident",
    ];
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let name = line.split(' ').next().unwrap_or_default();
        assert!(allowed.contains(&name), "core has come to depend on {name}:\n{tree}");
    }
}

#[test]
fn the_default_build_compiles_no_foreign_language_store_and_no_second_engine() {
    let tree = cargo(&[
        "tree",
        "--locked",
        "--offline",
        "-e",
        "normal,build",
        "-p",
        "airssys-wasm-cli",
        "-p",
        "airssys-wasm",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    for stranger in ["librocksdb-sys", "rocksdb", "bindgen", "cmake", "wasmer-compiler", "wasmer-vm"] {
        assert!(
            !tree.lines().any(|line| line.split(' ').next() == Some(stranger)),
            "{stranger} is in the default build"
        );
    }
}

#[test]
fn every_page_of_the_book_exists_and_every_page_is_in_the_book() {
    let pages = root().join("docs");
    let summary = std::fs::read_to_string(pages.join("SUMMARY.md")).expect("the book has a summary");
    let linked: BTreeSet<_> = summary
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|link| {
            pages
                .join(link)
                .canonicalize()
                .unwrap_or_else(|_| panic!("the summary links {link}, which is not there"))
        })
        .collect();
    let present = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).expect("the folder can be listed");
        entries
            .map(|entry| entry.expect("the entry can be read").path())
            .filter(|path| path.extension().is_some_and(|end| end == "md"))
            .collect()
    };
    for page in present(&pages).into_iter().chain(present(&root().join("docs/adr"))) {
        let page = page.canonicalize().expect("the page exists");
        assert!(
            page.ends_with("SUMMARY.md") || linked.contains(&page),
            "{} is in no summary",
            page.display()
        );
    }
}
