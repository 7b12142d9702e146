//! `airssys-wasm inspect`, and what cannot be run is told the same way by `run`.

mod command;

use std::fs;

use command::{Place, airssys, guest};
use serde_json::json;

#[test]
fn a_component_is_described() {
    let ran = airssys(&["inspect", &format!("acme/counter={}", guest("counter"))]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for text in [
        "id        acme/counter\n",
        "digest    sha256:",
        " KiB)\n",
        "engine    wasmtime 48.",
        "contract  met",
        "  airssys:core/storage@0.1.0  (of the host)",
        "    get: func(key: list<u8>) -> result<option<list<u8>>, ",
        "  [needs storage]",
        "  airssys:core/types@0.1.0  (of the host)",
        "  airssys:core/component@0.1.0  (what every component has)",
        "  --grant storage:acme/counter\n",
    ] {
        assert!(ran.stdout.contains(text), "`{text}` is missing in:\n{}", ran.stdout);
    }
}

#[test]
fn wasi_is_linked_with_nothing_granted() {
    let ran = airssys(&["inspect", &guest("wasi-clock")]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for text in ["wasi:clocks/wall-clock@0.2.6  (linked, nothing granted)", "grants: none needed"] {
        assert!(ran.stdout.contains(text), "`{text}` is missing in:\n{}", ran.stdout);
    }
}

#[test]
fn a_program_reads_the_same() {
    let path = guest("relay");
    let ran = airssys(&["inspect", &path, "--output", "json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let [findings] = ran.json().try_into().unwrap();
    assert_eq!(findings["id"], "local/relay");
    assert_eq!(findings["size"], fs::metadata(&path).unwrap().len());
    assert_eq!(findings["contract"], json!({"met": true}));
    assert_eq!(findings["engine"]["name"], "wasmtime");
    let capabilities: Vec<_> = findings["grants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|need| need["capability"].as_str().unwrap())
        .collect();
    assert_eq!(capabilities, ["storage:local/relay", "messaging:<who>"]);
    let exports = findings["exports"].as_array().unwrap();
    assert!(exports.iter().any(|export| export["name"] == "airssys:core/replies@0.1.0"), "{exports:?}");
}

#[test]
fn a_manifest_is_shown_with_its_wishes() {
    let place = Place::new();
    fs::copy(guest("counter"), place.path("counter.wasm")).unwrap();
    let manifest = place.file(
        "Component.toml",
        "manifest-version = 1\n[package]\nid = \"acme/c\"\nversion = \"1.0.0\"\ncomponent = \"counter.wasm\"\n\
         [[capabilities]]\ncapability = \"storage:acme/*\"\nreason = \"keeps the count\"\n",
    );
    let ran = airssys(&["inspect", &manifest]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("requested by the manifest:\n  --grant 'storage:acme/*'\n      keeps the count\n")
    );
}

/// What cannot be run is refused by both commands, with exit code 8 and these words.
#[track_caller]
fn check_refused(path: &str, told: &[&str]) {
    airssys(&["inspect", path]).ended(8, "").told(told);
    airssys(&["run", path, "-m", "x"]).ended(8, "").told(told);
}

#[test]
fn what_is_no_component_is_refused() {
    let place = Place::new();
    check_refused(&place.file("text.wasm", "hello"), &["the bytes are not WebAssembly"]);
    check_refused(&place.file("empty.wasm", ""), &["diagnostic code: incompatible"]);
    check_refused(
        &place.file("module.wasm", wat::parse_str("(module)").unwrap()),
        &["a core module, not a component"],
    );
    let whole = fs::read(guest("counter")).unwrap();
    check_refused(&place.file("half.wasm", &whole[..whole.len() / 2]), &["the binary is cut short"]);
}

#[test]
fn unknown_imports_are_named_with_what_is_offered() {
    let place = Place::new();
    let wasm = wat::parse_str(
        r#"(component
        (import "acme:geo/lookup@1.0.0" (instance (export "find" (func (param "key" string) (result string)))))
        (import "airssys:core/storag@0.1.0" (instance (export "usage" (func)))))"#,
    );
    check_refused(
        &place.file("imports.wasm", wasm.unwrap()),
        &[
            "imports that this host does not provide",
            "acme:geo/lookup@1.0.0",
            "airssys:core/storag@0.1.0",
            "airssys:core/storage@0.1.0",
        ],
    );
}

#[test]
fn what_misses_the_contract_is_described_and_refused() {
    let place = Place::new();
    let wasm = wat::parse_str(
        r#"(component (instance $nothing) (export "airssys:core/component@0.2.0" (instance $nothing)))"#,
    );
    let path = place.file("other.wasm", wasm.unwrap());
    let told = [
        "the interface `airssys:core/component` is not exported",
        "where the component exports `airssys:core/component@0.2.0`?",
    ];
    airssys(&["run", &path, "-m", "x"]).ended(8, "").told(&told);
    let ran = airssys(&["inspect", &path]);
    ran.told(&told);
    assert_eq!(ran.code, Some(8));
    assert!(ran.stdout.contains("contract  not met"), "{}", ran.stdout);
    let ran = airssys(&["inspect", &path, "--output", "json"]);
    assert_eq!(ran.code, Some(8));
    let contract = &ran.json()[0]["contract"];
    assert_eq!((&contract["met"], &contract["error"]["detail"]), (&json!(false), &json!("missing-export")));
}
