//! `airssys-wasm run`, with real components.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};

use serde_json::json;

mod command;

use command::{Place, Ran, airssys, airssys_reading, command, guest};

const COUNTER_GRANT: &str = "storage:local/counter";

#[test]
fn a_counter_counts_on_in_the_next_run() {
    let place = Place::new();
    let store = place.store("state.redb");
    let run = |messages: &[&str]| {
        let counter = guest("counter");
        let mut arguments = vec!["run", &counter, "--store", &store, "--grant", COUNTER_GRANT];
        arguments.extend(messages.iter().flat_map(|message| ["-m", message]));
        airssys(&arguments)
    };
    run(&["increment", "add 4"]).ended(0, "1\n5\n");
    run(&["fail-after-write"]).ended(3, "");
    run(&["get", "increment"]).ended(0, "5\n6\n");
}

#[test]
fn a_component_takes_what_its_manifest_says() {
    let place = Place::new();
    fs::copy(guest("echo"), place.path("echo.wasm")).unwrap();
    let head = "manifest-version = 1\n[package]\nid = \"acme/echo\"\nversion = \"1.0.0\"\ncomponent = \"echo.wasm\"\n";
    let manifest =
        place.file("Component.toml", format!("{head}[codecs]\naccepts = [\"application/json\"]\n"));
    airssys(&["run", &manifest, "-m", "{}", "--content-type", "application/json"]).ended(0, "{}\n");
    let refused = airssys(&["run", &manifest, "-m", "{}"]);
    assert_eq!(refused.stdout, "");
    refused.told(&["the receiver does not accept this content type", "accepted: application/json"]);
    let manifest = place.file("Component.toml", format!("{head}[deployment]\nstrategy = \"canary\"\n"));
    airssys(&["run", &manifest, "-m", "{}"])
        .ended(2, "")
        .told(&["this host does not deploy components as `canary` yet", "strategy = \"immediate\""]);
}

#[test]
fn memory_is_the_default_store() {
    let counter = guest("counter");
    for _ in 0..2 {
        airssys(&["run", &counter, "--grant", COUNTER_GRANT, "-m", "increment"]).ended(0, "1\n");
    }
}

#[test]
fn a_denial_tells_the_grant_that_allows_it() {
    let counter = guest("counter");
    let denied = airssys(&["run", &counter, "-m", "increment"]);
    denied.ended(7, "").told(&[
        "message 1 to `local/counter` was not handled",
        "nothing grants it",
        "diagnostic code: denied",
    ]);
    let option = denied.stderr.lines().find_map(|line| line.split_once("to allow it, add: ")).unwrap().1;
    assert_eq!(option, "--grant storage:local/counter");
    let (name, capability) = option.split_once(' ').unwrap();
    airssys(&["run", &counter, "-m", "increment", name, capability]).ended(0, "1\n");

    airssys(&["run", &counter, "-m", "increment", "--deny-all"]).ended(7, "");
    airssys(&["run", &counter, "-m", "increment", "--grant", "storage:local/other"])
        .ended(7, "")
        .told(&[option]);
}

#[test]
fn a_denial_that_a_component_lives_with_is_logged_once() {
    let ran = airssys(&["run", &guest("hostile"), "-m", "flood 3"]);
    ran.ended(0, "3 calls, 3 refused\n").told(&["WARN", "to allow it, add: --grant storage:local/hostile"]);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
}

#[test]
fn a_denial_of_another_component_names_it_in_the_option() {
    let (relay, counter) =
        (format!("acme/relay={}", guest("relay")), format!("acme/counter={}", guest("counter")));
    let common = ["run", &relay, &counter, "--config", "acme/relay:target=acme/counter", "-m", "increment"]
        .map(String::from);
    let run = |grants: &[&str]| {
        let grants = grants.iter().flat_map(|grant| ["--grant", grant]);
        airssys(&common.iter().map(String::as_str).chain(grants).collect::<Vec<_>>())
    };
    run(&[]).ended(7, "").told(&["to allow it, add: --grant messaging:acme/counter\n"]);
    run(&["messaging:acme/counter"])
        .ended(7, "")
        .told(&["to allow it, add: --grant acme/counter=storage:acme/counter\n"]);
    run(&["messaging:acme/counter", "acme/counter=storage:acme/counter"])
        .ended(0, "acme/relay heard from acme/counter: 1\n");
}

#[test]
fn every_decision_is_audited() {
    let counter = guest("counter");
    let decisions = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let ran = airssys(arguments);
        ran.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let allowed = decisions(&["run", &counter, "--audit", "--grant", COUNTER_GRANT, "-m", "increment"]);
    assert_eq!(allowed.len(), 2, "a read and a write");
    assert_eq!(allowed[0]["audit"], "allowed");
    assert_eq!(allowed[0]["rule"], "grant");
    assert_eq!(allowed[0]["access"], COUNTER_GRANT);
    assert_eq!(allowed[0]["instance"], "local/counter@0.1.0#1");
    assert!(allowed[0]["at_ms"].as_u64().unwrap() > 0);
    assert!(allowed[0]["digest"].as_str().unwrap().starts_with("sha256:"));

    let denied = decisions(&["run", &counter, "--audit", "-m", "increment"]);
    assert_eq!(denied.len(), 1);
    assert_eq!((&denied[0]["audit"], &denied[0]["grant"]), (&json!("denied"), &json!(COUNTER_GRANT)));
    assert_eq!(decisions(&["run", &counter, "-m", "increment"]), Vec::<serde_json::Value>::new());
}

/// An attack of the guest `hostile`, and the exit code and the words that tell of it.
#[track_caller]
fn check_attack(attack: &str, options: &[&str], code: i32, told: &[&str]) {
    let hostile = guest("hostile");
    let arguments = ["run", &hostile, "-m", attack].into_iter().chain(options.iter().copied());
    airssys(&arguments.collect::<Vec<_>>()).ended(code, "").told(told);
}

#[test]
fn each_way_to_fail_has_its_exit_code() {
    check_attack("fail", &[], 3, &["diagnostic code: failed"]);
    check_attack(
        "unreachable",
        &[],
        4,
        &["an `unreachable` instruction or a panic", "diagnostic code: trapped"],
    );
    check_attack("out-of-bounds", &[], 4, &["an access outside of linear memory"]);
    check_attack("recurse", &[], 4, &["a stack overflow"]);
    check_attack("loop", &["--timeout", "200ms"], 5, &["the deadline passed", "diagnostic code: timeout"]);
    check_attack(
        "loop",
        &["--fuel", "1000000"],
        6,
        &["a resource limit was exceeded: fuel", "diagnostic code: limit"],
    );
    check_attack(
        "grow-and-die",
        &["--max-memory", "8MiB"],
        6,
        &["was refused more memory", "diagnostic code: limit"],
    );
}

#[test]
fn a_component_that_does_not_start_ends_as_its_cause_says() {
    check_attack("ok", &["--config", "init=fail"], 3, &["the component did not start"]);
    check_attack("ok", &["--config", "init=panic"], 4, &["the component did not start", "a panic"]);
    check_attack("ok", &["--config", "init=loop", "--timeout", "200ms"], 5, &["the component did not start"]);
    check_attack("ok", &["--max-memory", "64KiB"], 6, &["memory"]);
}

#[test]
fn a_component_that_does_not_end_in_order_is_reported() {
    let hostile = guest("hostile");
    airssys(&["run", &hostile, "-m", "ok", "--config", "shutdown=panic"])
        .ended(4, "ok\n")
        .told(&["`local/hostile` did not end in order"]);
    airssys(&["run", &hostile, "-m", "ok", "--config", "shutdown=loop", "--shutdown-timeout", "100ms"])
        .ended(5, "ok\n")
        .told(&["the component did not finish in time"]);
}

#[test]
fn the_first_failure_ends_the_run_unless_told_otherwise() {
    let hostile = guest("hostile");
    let arguments = ["run", &hostile, "-m", "fail", "-m", "ok", "-m", "panic", "-m", "ok"];
    airssys(&arguments).ended(3, "");
    let on = [&arguments[..], &["--keep-going"]].concat();
    airssys(&on).ended(3, "ok\nok\n").told(&["message 1 to", "message 3 to"]);
}

#[test]
fn messages_come_from_options_files_and_standard_input() {
    let place = Place::new();
    let echo = guest("echo");
    let file = place.file("messages", "from file\r\n\nlast");
    airssys_reading(&["run", &echo], b"a\nb").ended(0, "a\nb\n");
    airssys(&["run", &echo]).ended(0, "");
    airssys(&["run", &echo, "--messages", &file, "-m", "-x"]).ended(0, "from file\n\nlast\n-x\n");
    airssys_reading(&["run", &echo, "-m", "first", "--messages", "-"], b"second\n")
        .ended(0, "first\nsecond\n");
    airssys(&["run", &echo, "--messages", "absent"])
        .ended(2, "")
        .told(&["the messages in `absent` cannot be read"]);
}

#[test]
fn messages_find_their_component() {
    let (a, b) = (format!("t/a={}", guest("greeter")), format!("t/b={}", guest("greeter")));
    let run = |rest: &[&str]| {
        let first = ["run", &a, &b, "--config", "t/a:greeting=A", "--config", "t/b:greeting=B"];
        airssys(&[first.as_slice(), rest].concat())
    };
    run(&["-m", "x"]).ended(0, "A, x!\n");
    run(&["-m", "x", "--to", "t/b"]).ended(0, "B, x!\n");
    run(&["-m", "x", "--to", "t/b", "-m", "y", "--to", "t/a", "-m", "z"]).ended(0, "A, x!\nB, y!\nA, z!\n");
    run(&["--to", "t/b", "-m", "x", "--to", "t/a"])
        .ended(2, "")
        .told(&["no message follows the last `--to t/a`"]);
}

#[test]
fn a_reply_is_one_line_and_cannot_forge_another() {
    let place = Place::new();
    let echo = guest("echo");
    airssys(&["run", &echo, "-m", "a\nb\u{1b}[31mc \"ä\""]).ended(0, "a\\nb\\u{1b}[31mc \"ä\"\n");
    let bytes = place.file("bytes", [0xff, 0x00, b'\n']);
    airssys(&["run", &echo, "--messages", &bytes]).ended(0, "hex:ff00\n");
}

#[test]
fn json_has_one_object_for_each_message() {
    let place = Place::new();
    let bytes = place.file("bytes", [0xff, 0x0a]);
    let ran = airssys(&["run", &guest("echo"), "--output", "json", "-m", "a\n\u{1b}", "--messages", &bytes]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let objects = ran.json();
    assert_eq!(objects.len(), 2);
    assert_eq!((&objects[0]["message"], &objects[0]["to"]), (&json!(1), &json!("local/echo")));
    assert_eq!(objects[0]["reply"], "a\n\u{1b}");
    assert!(objects[0]["elapsed_us"].is_u64() && objects[0].get("error").is_none());
    assert_eq!((objects[1].get("reply"), &objects[1]["reply_hex"]), (None, &json!("ff")));

    let ran =
        airssys(&["run", &guest("counter"), "--output", "json", "-m", "dance", "-m", "get", "--keep-going"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let objects = ran.json();
    let error = &objects[0]["error"];
    assert_eq!((&error["kind"], &error["detail"]), (&json!("execution-failed"), &json!("invalid-input")));
    assert_eq!((&error["blame"], &error["exit_code"]), (&json!("guest"), &json!(3)));
    assert!(error["message"].as_str().unwrap().contains("`dance` is not a command"), "{error}");
    assert_eq!(error["chain"].as_array().unwrap().len(), 1);
    let denied = &objects[1]["error"];
    assert_eq!((&denied["detail"], &denied["exit"]), (&json!("denied"), &json!("denied")));
    assert!(denied["next_step"].as_str().unwrap().contains("--grant storage:local/counter"), "{denied}");

    let ran = airssys(&["run", "absent.wasm", "--output", "json", "-m", "x"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert_eq!(ran.json()[0]["error"]["kind"], "io");
}

#[test]
fn guests_log_to_standard_error() {
    let logger = guest("logger");
    let run = |rest: &[&str]| {
        airssys(&[&["run", &logger, "--grant", "storage:local/logger", "-m", "hello"], rest].concat())
    };
    run(&[]).ended(0, "1\n").told(&["INFO", "hello"]);
    assert_eq!(run(&["--log", "off"]).ended(0, "1\n").stderr, "");
    assert!(!run(&["--log", "warn"]).ended(0, "1\n").stderr.contains("hello"));
}

#[test]
fn a_manifest_names_the_component_and_is_granted_nothing_by_itself() {
    let place = Place::new();
    fs::copy(guest("counter"), place.path("counter.wasm")).unwrap();
    let manifest = place.file(
        "Component.toml",
        r#"
        manifest-version = 1
        [package]
        id = "acme/counter"
        version = "1.4.0"
        component = "counter.wasm"
        [[capabilities]]
        capability = "storage:acme/counter"
        reason = "the count outlives the process"
        [limits]
        deadline = "2 s"
        "#,
    );
    airssys(&["run", &manifest, "-m", "get"]).ended(7, "").told(&["add: --grant storage:acme/counter"]);
    airssys(&["run", &manifest, "-m", "get", "--grant-requested"]).ended(0, "0\n");
    airssys(&["run", &manifest, "-m", "get", "--fuel", "10", "--grant-requested"]).ended(6, "");
    airssys(&["run", &manifest, "--id", "acme/other"])
        .ended(2, "")
        .told(&["a manifest has the id of its component"]);
}

#[test]
fn the_host_can_be_configured_in_a_file() {
    let place = Place::new();
    let hostile = guest("hostile");
    let small = place.file("small.json", r#"{"runtime": {"limits": {"memory": "4 MiB"}}}"#);
    airssys(&["run", &hostile, "--host-config", &small, "-m", "leak 8000000"]).ended(3, "");
    airssys(&["run", &hostile, "--host-config", &small, "--max-memory", "64MiB", "-m", "leak 8000000"])
        .ended(0, "8000000 bytes kept\n");
    let forbidding = place.file("forbidding.toml", "[security]\nforbidden = [\"storage:**\"]");
    let ran = airssys(&[
        "run",
        &guest("counter"),
        "--host-config",
        &forbidding,
        "--grant",
        COUNTER_GRANT,
        "-m",
        "get",
    ]);
    ran.ended(7, "").told(&["the operator forbids it"]);
    assert!(!ran.stderr.contains("--grant"), "{}", ran.stderr);
}

#[test]
fn compiled_code_is_kept_where_somebody_says_so() {
    let place = Place::new();
    let cache = command::text(&place.path("code"));
    for _ in 0..2 {
        airssys(&["run", &guest("echo"), "--code-cache", &cache, "-m", "x"]).ended(0, "x\n");
    }
    assert!(fs::read_dir(place.path("code")).unwrap().next().is_some(), "nothing is in the cache");
}

#[test]
fn a_store_that_cannot_be_opened_is_the_hosts_failure() {
    let place = Place::new();
    let counter = guest("counter");
    let run = |store: &str| airssys(&["run", &counter, "--store", store, "-m", "get"]);
    run(&place.store("absent/state.redb")).ended(9, "").told(&["absent/state.redb", "diagnostic code: host"]);
    fs::create_dir(place.path("folder")).unwrap();
    run(&place.store("folder")).ended(9, "").told(&["a folder"]);
    place.file("text", "not a store, but something else that is long enough to be looked at");
    run(&place.store("text")).ended(9, "").told(&["not a store"]);
}

/// A run that reads messages as long as it is not told to end.
struct Serving {
    child: Child,
    input: ChildStdin,
}

#[expect(clippy::unwrap_used, reason = "a test ends where something fails")]
impl Serving {
    /// Returns after the first reply.
    fn start(arguments: &[&str], message: &str, reply: &str) -> Self {
        let mut child = command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "{message}").unwrap();
        let mut replies = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        replies.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), reply);
        Self { child, input }
    }

    fn end(self) -> Ran {
        drop(self.input);
        Ran::of(self.child.wait_with_output().unwrap())
    }
}

#[test]
fn a_store_in_use_is_refused_until_it_is_free() {
    let place = Place::new();
    let store = place.store("state.redb");
    let counter = guest("counter");
    let arguments = ["run", &counter, "--store", &store, "--grant", COUNTER_GRANT];
    let serving = Serving::start(&arguments, "increment", "1");
    airssys(&arguments).ended(9, "").told(&["the store is open elsewhere"]);
    serving.end().ended(0, "");
    airssys_reading(&arguments, b"get").ended(0, "1\n");
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_in_order() {
    let place = Place::new();
    let store = place.store("state.redb");
    let counter = guest("counter");
    let arguments = ["run", &counter, "--store", &store, "--grant", COUNTER_GRANT];
    for (signal, count) in [("INT", "1"), ("TERM", "2")] {
        let serving = Serving::start(&arguments, "increment", count);
        let pid = serving.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
        // Its input is still open: it is the signal that ends it.
        let Serving { child, input } = serving;
        Ran::of(child.wait_with_output().unwrap()).ended(130, "");
        drop(input);
    }
    airssys_reading(&arguments, b"get").ended(0, "2\n");
}

#[cfg(unix)]
#[test]
fn an_interrupt_lets_the_message_at_work_finish() {
    let hostile = guest("hostile");
    let mut child =
        command(&["run", &hostile, "--timeout", "2s", "-m", "ok", "-m", "loop", "-m", "ok", "--keep-going"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let mut replies = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    replies.read_line(&mut first).unwrap();
    // The second message follows at once, and is at work for two seconds.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    // The deadline ends it, and the message behind it is not sent.
    Ran::of(child.wait_with_output().unwrap()).ended(5, "").told(&["message 2 to", "the deadline passed"]);
    let mut rest = String::new();
    replies.read_to_string(&mut rest).unwrap();
    assert_eq!((first.as_str(), rest.as_str()), ("ok\n", ""));
}

#[test]
fn a_component_finds_the_environment_it_is_given_and_no_other() {
    let (clock, proposals) = (guest("wasi-clock"), guest("wasi-proposals"));
    let ran = airssys(&["run", &clock, "-m", "environment"]);
    assert_eq!((ran.code, ran.stdout.trim()), (Some(0), ""), "{}", ran.stderr);
    let ran = airssys(&["run", &clock, "--env", "LANG=de", "--env", "X=a=b", "-m", "environment"]);
    assert_eq!((ran.code, ran.stdout.trim()), (Some(0), "LANG=de X=a=b"), "{}", ran.stderr);
    let ran = airssys(&[
        "run",
        &proposals,
        "--config",
        "greeting=Moin",
        "-m",
        "config greeting",
        "-m",
        "log a line",
    ]);
    assert_eq!((ran.code, ran.stdout.lines().next()), (Some(0), Some("Moin")), "{}", ran.stderr);
    assert!(ran.stderr.contains("ERROR") && ran.stderr.contains("guest: a line"), "{}", ran.stderr);
}

#[test]
fn a_component_reads_and_writes_the_files_it_is_granted() {
    let place = Place::new();
    let folder = fs::canonicalize(place.path(".")).unwrap();
    fs::write(folder.join("note"), "a note").unwrap();
    let files = guest("wasi-files");
    let (read, write) =
        (format!("file-read:{}/note", folder.display()), format!("file-write:{}/*.txt", folder.display()));
    let run = |grants: &[&str], messages: &[&str]| {
        let grants = grants.iter().flat_map(|grant| ["--grant", grant]);
        let messages = messages.iter().flat_map(|message| ["-m", message]);
        airssys(&["run", &files].into_iter().chain(grants).chain(messages).collect::<Vec<_>>())
    };
    let ran = run(&[&read], &["directories", "open\n0\nread\nnote", "read-stream\n1\n0"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.ends_with("1\na note\n"), "{}", ran.stdout);
    let open = "open\n0\nwrite,create\nnew.txt";
    let ran = run(&[&read], &["directories", open]);
    assert!(ran.stdout.ends_with("error access\n"), "{}", ran.stdout);
    let ran = run(&[&write], &["directories", open, "write-stream\n1\n0\nhello"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(fs::read_to_string(folder.join("new.txt")).unwrap(), "hello");
}
