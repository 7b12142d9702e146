//! The runner tells held, refused, deviating and broken apart, and lets nothing go by in silence.

use std::process::ExitCode;
use std::time::Duration;

use airssys_wasm_conformance::runner::{Bench, Broken, Contract, Outcome, Running, Suite, Verdict, When};
use libtest_mimic::{Arguments, FormatSetting};

#[derive(Debug)]
struct Desk;

#[derive(Clone, Copy, Debug)]
enum Feature {
    Offered,
    Refused,
    Ignored,
}

impl Bench for Desk {
    type Feature = Feature;

    fn offers(&self, feature: Feature) -> Running<'_, bool> {
        Box::pin(async move { Ok(matches!(feature, Feature::Offered)) })
    }

    fn refuses(&self, feature: Feature) -> Running<'_> {
        Box::pin(async move {
            match feature {
                Feature::Ignored => Err(Broken::new("it was ignored in silence")),
                Feature::Offered | Feature::Refused => Ok(()),
            }
        })
    }
}

fn fine(_: &Desk) -> Running<'_> {
    Box::pin(async { Ok(()) })
}

fn wrong(_: &Desk) -> Running<'_> {
    Box::pin(async { Err(Broken::new("wrong")) })
}

fn panics(_: &Desk) -> Running<'_> {
    Box::pin(async { std::panic::resume_unwind(Box::new("out of paper")) })
}

fn hangs(_: &Desk) -> Running<'_> {
    Box::pin(std::future::pending())
}

const fn contract(id: &'static str, run: for<'a> fn(&'a Desk) -> Running<'a>) -> Contract<Desk> {
    Contract { id, promise: "a promise", when: When::Always, run }
}

const fn of_feature(id: &'static str, feature: Feature) -> Contract<Desk> {
    Contract { id, promise: "a promise", when: When::Feature(feature), run: fine }
}

static CONTRACTS: [Contract<Desk>; 8] = [
    contract("desk.first.fine", fine),
    contract("desk.first.fine_too", fine),
    contract("desk.first.wrong", wrong),
    contract("desk.second.panics", panics),
    contract("desk.second.hangs", hangs),
    of_feature("desk.feature.offered", Feature::Offered),
    of_feature("desk.feature.refused", Feature::Refused),
    of_feature("desk.feature.ignored", Feature::Ignored),
];

fn suite() -> Suite<Desk> {
    Suite::new("desk", &CONTRACTS, || Ok(Desk)).patience(Duration::from_millis(200))
}

fn verdict(suite: &Suite<Desk>, id: &str) -> (&'static str, String) {
    let verdict = suite.verdict(id).expect("the tests name contracts of their own");
    let text = if let Verdict::Broken(broken) = &verdict { broken.to_string() } else { String::new() };
    (verdict.name(), text)
}

fn is_success(code: ExitCode) -> bool {
    // An exit code says nothing but its text.
    format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS)
}

fn arguments(change: impl FnOnce(&mut Arguments)) -> Arguments {
    let mut arguments = Arguments::default();
    change(&mut arguments);
    arguments
}

fn run(suite: Suite<Desk>, filter: &str, exact: bool) -> bool {
    let arguments = arguments(|arguments| {
        arguments.filter = Some(filter.to_owned());
        arguments.exact = exact;
    });
    is_success(suite.run_as(&arguments))
}

#[test]
fn verdicts_are_told_apart() {
    let suite = suite();
    let check = |id: &str, name: &str, words: &str| {
        let (found, text) = verdict(&suite, id);
        assert_eq!(found, name, "{id}: {text}");
        assert!(text.contains(words), "{id}: {text}");
    };
    check("desk.first.fine", "held", "");
    check("desk.first.wrong", "broken", "wrong [");
    check("desk.second.panics", "broken", "a panic: out of paper");
    check("desk.second.hangs", "broken", "it did not end within");
    check("desk.feature.offered", "held", "");
    check("desk.feature.refused", "refused", "");
    check("desk.feature.ignored", "broken", "ignored in silence");
    assert_eq!(suite.verdict("desk.first.unknown"), None);
}

#[test]
fn a_deviation_is_allowed_until_it_heals() {
    let suite = suite().deviates("desk.first.wrong", "known").deviates("desk.first.fine", "no longer true");
    assert_eq!(verdict(&suite, "desk.first.wrong").0, "deviates");
    let (name, text) = verdict(&suite, "desk.first.fine");
    assert_eq!(name, "broken");
    assert!(text.contains("take it off the list"), "{text}");
    assert!(!suite.report().is_success());
}

#[test]
fn the_exit_code_says_how_it_went() {
    assert!(run(suite(), "desk.first.fine", false), "a substring that two contracts hold");
    assert!(run(suite(), "desk.first.fine", true));
    assert!(run(suite(), "desk.feature.refused", true));
    assert!(!run(suite(), "desk.first.wrong", true));
    assert!(run(suite().deviates("desk.first.wrong", "known"), "desk.first.wrong", true));
}

#[test]
fn an_empty_run_fails() {
    assert!(!run(suite(), "no.such.contract", false));
    assert!(!run(suite(), "desk.first", true), "an exact name is not a substring");
    let nothing: [&Contract<Desk>; 0] = [];
    assert!(!is_success(Suite::new("desk", nothing, || Ok(Desk)).run_as(&Arguments::default())));
}

#[test]
fn an_unknown_deviation_fails() {
    assert!(!run(suite().deviates("desk.first.unknown", "a typing error"), "desk.first.fine", true));
}

#[test]
fn whoever_asks_for_ignored_contracts_gets_none() {
    assert!(is_success(suite().run_as(&arguments(|arguments| arguments.ignored = true))));
    let list = arguments(|arguments| {
        arguments.list = true;
        arguments.format = Some(FormatSetting::Terse);
    });
    assert!(is_success(suite().run_as(&list)));
}

#[test]
fn a_bench_that_cannot_be_made_breaks_the_contract() {
    let suite = Suite::new("desk", &CONTRACTS, || Outcome::<Desk>::Err(Broken::new("no desk left")));
    let (name, text) = verdict(&suite, "desk.first.fine");
    assert_eq!(name, "broken");
    assert!(text.contains("no desk left"), "{text}");
}
