//! Help, versions, completions, and what a wrong command line or a wrong file is answered with.

mod command;

use std::fs;

use command::{Place, airssys, guest};

#[test]
fn versions_are_those_of_the_lockfile() {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    let version = |package: &str| {
        let entry = format!("name = \"{package}\"\nversion = \"");
        lock.split_once(&entry).unwrap().1.split_once('"').unwrap().0
    };
    let package = env!("CARGO_PKG_VERSION");
    let wasmer =
        if cfg!(feature = "wasmer") { format!(" / wasmer {}", version("wasmer-vm")) } else { String::new() };
    let (wasmtime, redb) = (version("wasmtime"), version("redb"));
    let expected = format!("airssys-wasm {package} / wasmtime {wasmtime}{wasmer} / redb {redb}\n");
    airssys(&["--version"]).ended(0, &expected);
}

#[test]
fn an_engine_is_chosen_or_missed_in_words() {
    let greeter = guest("greeter");
    airssys(&["run", "--engine", "wasmtime", &greeter, "--message", "Ada"]).ended(0, "Hello, Ada!\n");
    let wasmer = airssys(&["run", "--engine", "wasmer", &greeter, "--message", "Ada"]);
    if cfg!(all(feature = "wasmer", target_os = "linux")) {
        wasmer.ended(0, "Hello, Ada!\n");
    } else {
        assert_ne!(wasmer.code, Some(0));
        wasmer.told(&["--engine wasmtime"]);
    }
    airssys(&["run", "--engine", "wasmtim", &greeter]).ended(2, "").told(&["'wasmtime'"]);
}

#[test]
fn help_has_the_exit_codes() {
    for arguments in [["--help"].as_slice(), &["run", "--help"], &["help", "inspect"], &["storage", "--help"]]
    {
        let help = airssys(arguments);
        assert_eq!(help.code, Some(0));
        for line in ["  0  success", "  4  trapped", " 10  messaging", "130  interrupted"] {
            assert!(help.stdout.contains(line), "`{line}` is missing in:\n{}", help.stdout);
        }
    }
}

#[test]
fn there_is_a_completion_script_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = airssys(&["completions", shell]);
        assert_eq!(script.code, Some(0));
        assert!(
            script.stdout.contains("airssys-wasm") && script.stdout.contains("grant-requested"),
            "{shell}"
        );
    }
}

#[test]
fn a_wrong_word_is_answered_with_the_one_meant() {
    let counter = guest("counter");
    let check = |arguments: &[&str], told: &[&str]| {
        airssys(arguments).ended(2, "").told(told);
    };
    check(&["isnpect", &counter], &["unrecognized subcommand 'isnpect'", "'inspect'"]);
    check(&["storage", "exprot", "a", "b"], &["unrecognized subcommand 'exprot'", "'export'"]);
    check(&["run", &counter, "--gran", "storage:a/b"], &["unexpected argument '--gran'", "'--grant'"]);
    check(&["run", &counter, "--grant", "storge:a/b"], &["is of no known kind", "did you mean `storage`?"]);
    check(&["run", &counter, "--grant", "storage:a//b"], &["has an empty segment"]);
    check(&["run", &counter, "--store", "rebd:x"], &["did you mean `redb`?"]);
    check(&["run", &counter, "--timeout", "200"], &["write a whole number and one of us, ms, s, min, h"]);
    check(&["run", &counter, "--max-memory", "1 M"], &["the unit `M` is unknown"]);
    check(&["run", &counter, "--config", "x"], &["write `KEY=VALUE`"]);
    check(&["run", &counter, "--deny-all", "--grant", "storage:a/b"], &["cannot be used with"]);
    check(&["run", &counter, "--log", "inf"], &["'info'"]);
    check(&["run"], &["[ID=]PATH"]);
    check(&["run", "Acme/X=x.wasm"], &["`A` is not allowed"]);
}

#[test]
fn an_unknown_component_is_answered_with_the_one_meant() {
    let counter = format!("acme/counter={}", guest("counter"));
    let check = |option: &str, value: &str, code: i32| {
        airssys(&["run", &counter, option, value, "-m", "get"])
            .ended(code, "")
            .told(&["unknown component `acme/countr`; did you mean `acme/counter`?"]);
    };
    check("--to", "acme/countr", 10);
    check("--grant", "acme/countr=storage:acme/counter", 2);
    check("--config", "acme/countr:key=value", 2);
    let far = airssys(&["run", &counter, "--to", "other/thing", "-m", "get"]);
    far.ended(10, "").told(&["unknown component `other/thing`"]);
    assert!(!far.stderr.contains("did you mean"), "{}", far.stderr);
}

#[test]
fn ids_are_unambiguous() {
    let counter = guest("counter");
    airssys(&["run", &counter, &counter]).ended(2, "").told(&["have the same id, `local/counter`", "`ID="]);
    airssys(&["run", &counter, &guest("echo"), "--id", "a/b"])
        .ended(2, "")
        .told(&["write each as `ID=PATH`"]);
    airssys(&["run", &format!("a/b={counter}"), "--id", "a/c"]).ended(2, "").told(&["the id is given twice"]);
    airssys(&["run", &counter, "--grant-requested"]).ended(2, "").told(&["nothing is requested"]);
    airssys(&["run", &counter, "--id", "acme/counter", "--grant", "storage:acme/counter", "-m", "get"])
        .ended(0, "0\n");
}

#[test]
fn a_file_that_cannot_be_read_is_wrong_usage() {
    let place = Place::new();
    let folder = command::text(&place.path(""));
    for command in ["run", "inspect"] {
        airssys(&[command, "absent.wasm"])
            .ended(2, "")
            .told(&["absent.wasm", "check the path and its permissions"]);
        airssys(&[command, "absent.toml"])
            .ended(2, "")
            .told(&["absent.toml", "check the path and its permissions"]);
        airssys(&[command, &format!("a/b={folder}")]).ended(2, "").told(&["the file cannot be read"]);
    }
    airssys(&["run", "x.wasm", "--host-config", "absent.toml"])
        .ended(2, "")
        .told(&["`absent.toml` cannot be read"]);
}

#[test]
fn an_unknown_key_of_a_file_is_answered_with_the_one_meant() {
    let place = Place::new();
    let manifest = place.file("Component.toml", "manifest-version = 1\n[pakage]\nid = \"a/b\"\n");
    for command in ["run", "inspect"] {
        airssys(&[command, &manifest]).ended(2, "").told(&[
            "Component.toml",
            "line 2",
            "unknown field `pakage`",
            "did you mean `package` instead of `pakage`?",
        ]);
    }
    let config = place.file("host.toml", "[runtime.limits]\nmemroy = \"1 MiB\"\n");
    airssys(&["run", &guest("echo"), "--host-config", &config]).ended(2, "").told(&[
        "host.toml",
        "unknown field `memroy`",
        "did you mean `memory` instead of `memroy`?",
    ]);
}
