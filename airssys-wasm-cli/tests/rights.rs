//! `airssys-wasm grants` and `explain`, and `run --rights`, as an operator uses them.

use std::fs;

use serde_json::json;

mod command;

use command::{Place, airssys, guest, text};

const STORAGE: &str = "storage:acme/counter";
const MESSAGING: &str = "messaging:acme/*";

/// A counter that asks for more than it needs, and the file of rights beside it.
struct Scene {
    place: Place,
    manifest: String,
    rights: String,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        fs::copy(guest("counter"), place.path("counter.wasm")).expect("the guest can be copied");
        let manifest = place.file("Component.toml", manifest(&[STORAGE, MESSAGING]));
        let rights = text(&place.path("rights.toml"));
        Self { place, manifest, rights }
    }

    fn run(&self, code: i32, stdout: &str) -> command::Ran {
        let ran = airssys(&["run", &self.manifest, "--rights", &self.rights, "-m", "get"]);
        ran.ended(code, stdout);
        ran
    }

    fn grants(&self, words: &[&str]) -> command::Ran {
        let mut line = vec!["grants", words[0], &self.rights];
        line.extend(&words[1..]);
        airssys(&line)
    }

    fn approve(&self, more: &[&str]) {
        let mut words = vec!["approve", &self.manifest];
        words.extend(more);
        let approved = self.grants(&words);
        assert_eq!(approved.code, Some(0), "{}", approved.stderr);
    }
}

fn manifest(wishes: &[&str]) -> String {
    let mut text = "manifest-version = 1\n[package]\nid = \"acme/counter\"\nversion = \"1.4.0\"\n".to_owned();
    text += "component = \"counter.wasm\"\n";
    for wish in wishes {
        text += &format!("[[capabilities]]\ncapability = \"{wish}\"\nreason = \"because\"\n");
    }
    text
}

#[test]
fn a_component_waits_until_somebody_has_looked_at_it() {
    let scene = Scene::new();
    scene.place.file("rights.toml", "rights-version = 1\n");
    let waits = scene.run(7, "");
    waits.told(&["waits for review: nobody has looked at it"]);
    let command =
        waits.stderr.lines().find_map(|line| line.split_once("to approve it: airssys-wasm ")).unwrap().1;
    let words: Vec<_> = command.split(' ').collect();
    assert_eq!(words, ["grants", "approve", &scene.rights, &scene.manifest]);
    assert_eq!(airssys(&words).code, Some(0));
    scene.run(0, "0\n");
}

#[test]
fn an_upgrade_keeps_no_rights_that_nobody_granted() {
    let scene = Scene::new();
    scene.approve(&["--only", STORAGE]);
    scene.run(0, "0\n");
    scene.place.file("Component.toml", manifest(&[STORAGE, MESSAGING, "storage:acme/other"]));
    scene.run(7, "").told(&["it asks for `storage:acme/other`, which nobody has granted or declined"]);
    scene.approve(&["--only", STORAGE]);
    scene.run(0, "0\n");
    // A custom section at the end changes the binary, and nothing else.
    let mut wasm = fs::read(scene.place.path("counter.wasm")).unwrap();
    wasm.extend([0, 2, 1, b'x']);
    scene.place.file("counter.wasm", wasm);
    scene.run(7, "").told(&["the binary is not the one that was approved, sha256:"]);
    scene.approve(&["--any-binary"]);
    scene.run(0, "0\n");
}

#[test]
fn what_messaging_needs_is_looked_at_like_everything_else() {
    let scene = Scene::new();
    scene.approve(&[]);
    scene.run(0, "0\n");
    let messaging =
        "[messaging]\ntargets = [\"acme/stock\"]\ntopics = [\"orders.**\"]\nreason = \"it tells\"\n";
    scene.place.file("Component.toml", manifest(&[STORAGE, MESSAGING]) + messaging);
    scene
        .run(7, "")
        .told(&["it asks for `messaging:acme/stock`, `messaging:orders.**`, which nobody has granted"]);
    let explained = airssys(&["explain", &scene.manifest, "--rights", &scene.rights]);
    assert_eq!(explained.code, Some(7));
    for text in ["messaging:acme/stock", "messaging:orders.**", "what for: it tells"] {
        assert!(explained.stdout.contains(text), "`{text}` is missing in:\n{}", explained.stdout);
    }
    scene.approve(&["--only", STORAGE, "--only", "messaging:orders.**"]);
    scene.run(0, "0\n");
    let listed = scene.grants(&["list", "--output", "json"]);
    assert!(listed.json()[0]["declined"].as_array().unwrap().contains(&json!("messaging:acme/stock")));
}

#[test]
fn a_denial_is_explained_and_allowed_by_the_line_it_names() {
    let scene = Scene::new();
    scene.approve(&["--only", MESSAGING]);
    let denied = scene.run(7, "");
    let command =
        denied.stderr.lines().find_map(|line| line.split_once("to allow it: airssys-wasm ")).unwrap().1;
    let explained = airssys(&[
        "explain",
        &scene.manifest,
        "--rights",
        &scene.rights,
        "--access",
        STORAGE,
        "--output",
        "json",
    ]);
    assert_eq!(explained.code, Some(7));
    let found = &explained.json()[0];
    assert_eq!(found["asks"][0]["state"], "declined");
    assert_eq!(found["asks"][1]["state"], "granted");
    let to_allow = format!("airssys-wasm {command}");
    let expected =
        json!({"access": STORAGE, "allowed": false, "rule": "nothing grants it", "to_allow": to_allow});
    assert_eq!(found["accesses"][0], expected);
    assert_eq!(airssys(&command.split(' ').collect::<Vec<_>>()).code, Some(0));
    scene.run(0, "0\n");
    let explained = airssys(&["explain", &scene.manifest, "--rights", &scene.rights, "--access", STORAGE]);
    assert_eq!(explained.code, Some(0), "{}", explained.stdout);
    assert!(explained.stdout.contains("storage:acme/counter: allowed, a grant"), "{}", explained.stdout);
}

#[test]
fn grants_end_are_narrowed_and_taken_back() {
    let scene = Scene::new();
    scene.approve(&["--until", "2020-01-01T00:00:00Z"]);
    scene.run(7, "").told(&["its grant has ended"]);
    scene.grants(&["add", "acme/counter", "storage:acme/**", "--until", "2999-01-01T00:00:00Z"]);
    scene.run(0, "0\n");
    scene.grants(&["narrow", "acme/counter", "storage:acme/**", "storage:acme/countr"]);
    scene.run(7, "");
    let listed = scene.grants(&["list", "--output", "json"]);
    assert_eq!(
        listed.json()[0]["grants"][2],
        json!({"capability": "storage:acme/countr", "until": "2999-01-01T00:00:00Z"})
    );
    scene
        .grants(&["narrow", "acme/counter", "storage:acme/countr", "storage:acme/counter"])
        .ended(2, "")
        .told(&["is not known to be narrower"]);
    scene
        .grants(&["revoke", "acme/counter", "storage:acme/contr"])
        .ended(2, "")
        .told(&["is not granted to `acme/counter`; did you mean `storage:acme/countr`?"]);
    scene.grants(&["revoke", "acme/counter", "storage:acme/countr"]);
    scene.grants(&["deny", "acme/counter", "--reason", "it\nphones home"]);
    scene.run(7, "").told(&["it was denied: it\\nphones home"]);
}

#[test]
fn trust_is_written_down_and_the_forbidden_list_wins_over_it() {
    let scene = Scene::new();
    scene.approve(&["--only", MESSAGING, "--trust", "development"]);
    scene.run(0, "0\n").told(&["trusted as work in progress"]);
    let config = scene.place.file("host.toml", format!("[security]\nforbidden = [\"{STORAGE}\"]\n"));
    let ran =
        airssys(&["run", &scene.manifest, "--rights", &scene.rights, "--host-config", &config, "-m", "get"]);
    ran.ended(7, "").told(&["the operator forbids it"]);
    let explained = airssys(&[
        "explain",
        &scene.manifest,
        "--rights",
        &scene.rights,
        "--host-config",
        &config,
        "--access",
        STORAGE,
    ]);
    assert_eq!(explained.code, Some(7));
    assert!(explained.stdout.contains("denied, the operator forbids it"), "{}", explained.stdout);
}

#[test]
fn what_cannot_be_done_is_said_and_changes_nothing() {
    let scene = Scene::new();
    scene.approve(&[]);
    let before = fs::read_to_string(&scene.rights).unwrap();
    for (words, told) in [
        (&["approve", scene.manifest.as_str(), "--only", "storage:acme/contr"][..], "does not ask for"),
        (&["add", "acme/counter", "storge:acme/x"], "no known kind"),
        (&["add", "acme", STORAGE], "acme"),
        (&["add", "acme/counter", STORAGE, "--until", "tomorrow"], "is not a moment"),
        (&["list", "acme/contr"], "did you mean `acme/counter`?"),
    ] {
        let refused = scene.grants(words);
        assert_eq!(refused.code, Some(2), "{words:?}: {}", refused.stderr);
        refused.told(&[told]);
    }
    assert_eq!(fs::read_to_string(&scene.rights).unwrap(), before);
    scene.place.file("rights.toml", "rights-version = 1\n[component.\"acme/counter\"]\n");
    scene.run(2, "").told(&["did you mean `components` instead of `component`?"]);
}
