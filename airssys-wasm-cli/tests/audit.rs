//! `run --audit-trail`, and `airssys-wasm audit`.

use std::fs;

mod command;

use command::{Place, airssys, guest, text};

#[test]
fn what_was_decided_is_in_the_trail_and_cannot_be_changed_unnoticed() {
    let place = Place::new();
    let (counter, trail) = (guest("counter"), text(&place.path("trail")));
    let run = |grant: &str| {
        airssys(&["run", &counter, "--audit-trail", &trail, "--grant", grant, "-m", "increment"])
    };
    run("storage:local/counter").ended(0, "1\n");
    run("storage:local/other").ended(7, "");
    let verified = airssys(&["audit", "verify", &trail, "--output", "json"]);
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    let verdict = &verified.json()[0];
    assert_eq!((&verdict["files"], &verdict["torn"]), (&1.into(), &0.into()));
    let denied = airssys(&["audit", "tail", &trail, "--act", "denied", "--component", "local/counter"]);
    assert_eq!(denied.code, Some(0));
    assert_eq!(denied.stdout.lines().count(), 1, "{}", denied.stdout);
    assert!(
        denied.stdout.contains(" denied    local/counter@0.1.0#1 storage:local/counter (default)"),
        "{}",
        denied.stdout
    );
    let all = airssys(&["audit", "tail", &trail, "--output", "json"]);
    let acts: Vec<_> =
        all.json().iter().map(|record| record["act"].as_str().unwrap_or_default().to_owned()).collect();
    let expected = ["opened", "installed", "granted", "started", "allowed", "allowed", "stopped", "closed"];
    assert_eq!(acts[..8], expected);
    assert_eq!(acts[12], "denied");
    let trapped = text(&place.path("trapped"));
    let hostile = airssys(&[
        "run",
        &guest("hostile"),
        "--audit-trail",
        &trapped,
        "-m",
        "panic",
        "-m",
        "ok",
        "--keep-going",
    ]);
    hostile.ended(4, "ok\n");
    let ended = airssys(&["audit", "tail", &trapped, "--act", "ended"]);
    assert!(
        ended.stdout.contains("local/hostile@0.1.0#1 (component-trapped, Trap(Unreachable))"),
        "{}",
        ended.stdout
    );
    assert_eq!(airssys(&["audit", "tail", &trail, "-n", "2"]).stdout.lines().count(), 2);
    airssys(&["audit", "tail", &trail, "-n", "0"]).ended(0, "");

    let head = verdict["head"].as_str().unwrap();
    assert_eq!(airssys(&["audit", "verify", &trail, "--expect-head", head]).code, Some(0));
    let path = place.path("trail").join("audit-000001.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = whole.split_inclusive('\n').collect();
    fs::write(&path, lines[..lines.len() - 1].concat()).unwrap();
    let cut = airssys(&["audit", "verify", &trail, "--expect-head", head]);
    assert_eq!(cut.code, Some(9));
    cut.told(&["no record of the trail has the hash that was expected"]);
    fs::write(&path, whole.replace("storage:local/counter", "storage:local/cuonter")).unwrap();
    airssys(&["audit", "verify", &trail]).ended(9, "").told(&[
        "it was changed",
        "audit-000001.jsonl",
        "line: 3",
    ]);
    run("storage:local/counter").ended(0, "1\n");
    fs::write(&path, lines[1..].concat()).unwrap();
    airssys(&["audit", "tail", &trail]).ended(9, "").told(&["one is missing, doubled, or was moved"]);
    airssys(&["audit", "verify", &trail, "--expect-head", "abc"])
        .ended(2, "")
        .told(&["64 hexadecimal digits"]);
    airssys(&["audit", "verify", &text(&place.path("nowhere"))]).ended(9, "").told(&["cannot be read"]);
}
