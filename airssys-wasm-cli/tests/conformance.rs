//! `airssys-wasm conformance`: the verdicts on the backends of this build.

use serde_json::json;

mod command;

use command::airssys;

#[test]
fn a_store_is_judged_by_the_contracts_asked_for() {
    let judged =
        airssys(&["conformance", "--store", "memory", "--filter", "storage.scan", "--output", "json"]);
    assert_eq!((judged.code, judged.stderr.as_str()), (Some(0), ""));
    let verdicts = judged.json();
    assert!(verdicts.len() > 3, "{verdicts:?}");
    for verdict in &verdicts {
        assert_eq!((&verdict["backend"], &verdict["verdict"]), (&json!("memory"), &json!("held")));
        assert!(verdict["id"].as_str().is_some_and(|id| id.starts_with("storage.scan.")), "{verdict}");
        assert!(verdict["promise"].as_str().is_some_and(|promise| promise.ends_with('.')), "{verdict}");
    }
}

#[test]
fn engines_and_stores_have_a_table_each() {
    let judged = airssys(&["conformance", "--filter", "bytewise", "--store", "memory", "--store", "redb"]);
    assert_eq!(judged.code, Some(2));
    let judged = airssys(&[
        "conformance",
        "--store",
        "memory",
        "--store",
        "redb",
        "--engine",
        "wasmtime",
        "--filter",
        ".get.",
    ]);
    assert_eq!(judged.code, Some(0), "{}", judged.stderr);
    let heads: Vec<_> =
        judged.stdout.lines().filter(|line| line.trim_start().starts_with("contract")).collect();
    assert!(heads.iter().any(|head| head.contains("memory") && head.contains("redb")), "{}", judged.stdout);
    assert!(judged.stdout.lines().any(|line| line.matches("held").count() == 2), "{}", judged.stdout);
}

#[test]
fn an_engine_and_a_store_are_judged_as_a_pair_too() {
    let asked = ["conformance", "--engine", "wasmtime", "--store", "memory", "--store", "redb"];
    let judged = airssys(&[&asked[..], &["--filter", "restart.of_the_host"]].concat());
    assert_eq!(judged.code, Some(0), "{}", judged.stderr);
    let row = judged.stdout.lines().find(|line| line.contains("host.restart.of_the_host"));
    let words: Vec<_> = row.unwrap_or_default().split_whitespace().collect();
    assert_eq!(words, ["host.restart.of_the_host", "refused", "held"], "{}", judged.stdout);
    assert_eq!(judged.stderr, "");
}

#[test]
fn a_contract_that_nobody_holds_is_pointed_out() {
    let asked = ["conformance", "--store", "memory", "--filter", "storage.immediate.survives"];
    let judged = airssys(&asked);
    assert_eq!(judged.code, Some(0));
    assert_eq!(judged.stderr, "note: storage.immediate.survives is held by none of: memory\n");
    let page = airssys(&[&asked[..], &["--output", "markdown"]].concat());
    assert!(
        page.stdout.contains("- `storage.immediate.survives` is held by no backend above.\n"),
        "{}",
        page.stdout
    );
}

#[test]
fn build_servers_get_xml_and_documents_get_markdown() {
    let asked = ["conformance", "--store", "memory", "--filter", "storage.get", "--output"];
    let xml = airssys(&[&asked[..], &["junit"]].concat());
    assert_eq!(xml.code, Some(0));
    assert!(xml.stdout.starts_with("<?xml"), "{}", xml.stdout);
    assert!(xml.stdout.contains("<testsuite name=\"memory\""), "{}", xml.stdout);
    assert!(xml.stdout.contains("<testcase name=\"storage.get."), "{}", xml.stdout);
    let page = airssys(&[&asked[..], &["markdown"]].concat());
    assert!(page.stdout.starts_with("## Stores\n\n| contract | promise | memory |\n"), "{}", page.stdout);
    assert!(page.stdout.contains("| held |"), "{}", page.stdout);
}

#[test]
fn what_does_not_exist_is_refused() {
    airssys(&["conformance", "--filter", "no.such"]).ended(2, "").told(&["no contract matches `no.such`"]);
    airssys(&["conformance", "--store", "rebd"]).ended(2, "").told(&["did you mean `redb`?"]);
    if cfg!(not(feature = "wasmer")) {
        airssys(&["conformance", "--engine", "wasmer"]).ended(2, "").told(&["has no Wasmer"]);
    }
}
