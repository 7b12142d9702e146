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
    let ran = airssys(&["inspect", &guest("wasi-proposals")]);
    assert_eq!(ran.code, Some(0), "what `run` runs can be looked at: {}", ran.stderr);
    assert!(ran.stdout.contains("wasi:config/store@0.2.0-rc.1"), "{}", ran.stdout);
    let ran = airssys(&["inspect", &guest("wasi-files")]);
    assert!(ran.stdout.contains("files need file-read or file-write"), "{}{}", ran.stdout, ran.stderr);
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

const OLD: &str = "manifest-version = 1\n[package]\nid = \"acme/c\"\nversion = \"1.0.0\"\ncomponent = \"guest.wasm\"\n\
    [[capabilities]]\ncapability = \"storage:acme/c\"\nreason = \"it counts\"\n\
    [[capabilities]]\ncapability = \"network-outbound:example.com:443\"\nreason = \"it phones home\"\n\
    [limits]\nmemory = \"16 MiB\"\n[codecs]\naccepts = [\"application/json\"]\n";
const NEW: &str = "manifest-version = 1\n[package]\nid = \"acme/c\"\nversion = \"1.1.0\"\ncomponent = \"guest.wasm\"\n\
    [[capabilities]]\ncapability = \"storage:acme/*\"\nreason = \"it counts all\"\n\
    [messaging]\ntargets = [\"acme/greeter\"]\nreason = \"it\\ngreets\"\n\
    [limits]\nmemory = \"32 MiB\"\n[codecs]\naccepts = [\"text/*\", \"application/json\"]\n";

/// A manifest with the guest beside it.
fn version(place: &Place, folder: &str, manifest: &str, name: &str) -> String {
    fs::create_dir(place.path(folder)).expect("the folder is new");
    fs::copy(guest(name), place.path(folder).join("guest.wasm")).expect("the guest can be copied");
    place.file(&format!("{folder}/Component.toml"), manifest)
}

#[test]
fn two_versions_are_compared() {
    let place = Place::new();
    let old = version(&place, "old", OLD, "counter");
    let new = version(&place, "new", NEW, "relay");
    let ran = airssys(&["inspect", "--diff", &old, &new]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for text in [
        "old  acme/c 1.0.0, ",
        "version:\n  1.0.0 -> 1.1.0\n",
        "capabilities:\n  + messaging:acme/greeter\n      what for: it\\ngreets\n  \
         widened: storage:acme/c -> storage:acme/*\n      what for: it counts all\n  - network-outbound:example.com:443\n",
        "limits:\n  memory: 16 MiB -> 32 MiB\n",
        "content types:\n  application/json -> application/json, text/*\n",
        "imports:\n  + airssys:core/messaging@0.1.0\n",
        "      send: func(",
        "  [needs messaging]\n",
        "exports:\n  + airssys:core/replies@0.1.0\n",
        "the binary is another one\n",
    ] {
        assert!(ran.stdout.contains(text), "`{text}` is missing in:\n{}", ran.stdout);
    }
    let ran = airssys(&["inspect", "--output", "json", "--diff", &new, &old]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let [found] = ran.json().try_into().unwrap();
    assert_eq!((&found["changed"], &found["same_binary"]), (&json!(true), &json!(false)));
    assert_eq!(found["version"], json!({"old": "1.1.0", "new": "1.0.0"}));
    let narrowed = &found["capabilities"]["narrowed"][0];
    assert_eq!(narrowed["new"]["capability"], "storage:acme/c");
    assert_eq!(found["capabilities"]["removed"][0]["capability"], "messaging:acme/greeter");
    assert_eq!(found["limits"], json!({"memory": {"old": "32 MiB", "new": "16 MiB"}}));
    assert_eq!(found["exports"]["removed"][0]["name"], "airssys:core/replies@0.1.0");
    assert!(found.get("id").is_none());
}

#[test]
fn functions_of_two_versions_are_compared() {
    let place = Place::new();
    let component = |name: &str, parameter: &str, import: &str| {
        let text = format!(
            r#"(component {import}
            (core module $m (func (export "f") (param {parameter})))
            (core instance $i (instantiate $m))
            (func $f (param "x" {}) (canon lift (core func $i "f")))
            (instance $e (export "find" (func $f)))
            (export "acme:geo/lookup@1.0.0" (instance $e)))"#,
            if parameter == "i32" { "u32" } else { "u64" }
        );
        place.file(name, wat::parse_str(text).expect("the text is a component"))
    };
    let clock = r#"(import "wasi:random/insecure-seed@0.2.6" (instance (export "insecure-seed" (func (result (tuple u64 u64))))))"#;
    let (old, new) = (component("old.wasm", "i32", clock), component("new.wasm", "i64", ""));
    let ran = airssys(&["inspect", "--diff", &old, &new]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for text in [
        "imports:\n  - wasi:random/insecure-seed@0.2.6\n",
        "exports:\n  acme:geo/lookup@1.0.0\n    find: func(x: u32)\n      -> func(x: u64)\n",
    ] {
        assert!(ran.stdout.contains(text), "`{text}` is missing in:\n{}", ran.stdout);
    }
    let ran = airssys(&["inspect", "--diff", &old, &old]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for text in ["nothing changed: version, capabilities, limits, ", "the binary is the same\n"] {
        assert!(ran.stdout.contains(text), "`{text}` is missing in:\n{}", ran.stdout);
    }
    airssys(&["inspect", "--diff", &old]).ended(2, "");
    airssys(&["inspect", &old, "--diff", &old, &new]).ended(2, "");
    airssys(&["inspect", "--diff", &old, "nowhere.wasm"]).ended(2, "").told(&["the file cannot be read"]);
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
