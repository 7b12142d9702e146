//! The engine contracts bite: this engine keeps them all, and the same engine with exactly one flaw is caught by the
//! contract that names the flaw.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use airssys_wasm_conformance::engine::{self, EngineBench};
use airssys_wasm_conformance::runner::{Suite, Verdict};

mod component_model;
mod extensions;
mod flaws;
mod instance;
mod sabotaged;
mod services;
mod values;

use flaws::Flaw;
use sabotaged::Engine;

fn suite(flaw: Option<Flaw>) -> Suite<EngineBench> {
    engine::suite("saboteur", move |_| Ok(Arc::new(Engine::new(flaw))))
}

/// How this contract missed the flaw; nothing when it was broken, and by these words.
fn missed(flaw: Flaw, contract: &str, words: &str) -> Option<String> {
    match suite(Some(flaw)).verdict(contract) {
        None => Some(format!("{flaw:?} names {contract}, which is no contract")),
        Some(Verdict::Broken(broken)) if broken.to_string().contains(words) => None,
        Some(Verdict::Broken(broken)) => {
            Some(format!("{flaw:?} broke {contract}, and not by `{words}`: {broken}"))
        }
        Some(_) => Some(format!("{flaw:?} went through {contract}")),
    }
}

#[test]
fn every_flaw_is_caught_by_the_contract_that_names_it() {
    // Of a contract that is broken without a flaw, nothing can be learned about flaws.
    let report = suite(None).report();
    let not_held: Vec<_> = report.lines.iter().filter(|line| line.verdict != Verdict::Held).collect();
    assert!(not_held.is_empty(), "these contracts do not hold without a flaw: {not_held:#?}");

    let waiting = Mutex::new(Flaw::ALL.iter());
    let missed_flaws = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZeroUsize::get) {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(flaw) = next else { break };
                    let missed = missed(*flaw, flaw.contract(), flaw.words());
                    missed_flaws.lock().unwrap_or_else(PoisonError::into_inner).extend(missed);
                }
            });
        }
    });
    let missed_flaws = missed_flaws.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(missed_flaws.is_empty(), "{missed_flaws:#?}");
}

#[test]
fn every_contract_has_a_saboteur() {
    let named: HashSet<_> = Flaw::ALL.iter().map(|flaw| flaw.contract()).collect();
    let without: Vec<_> =
        engine::contracts().map(|contract| contract.id).filter(|id| !named.contains(id)).collect();
    assert!(without.is_empty(), "nothing shows that these contracts bite: {without:#?}");
}

#[test]
fn a_flaw_that_is_missed_is_told() {
    let check = |contract, words, expected: &str| {
        let found = missed(Flaw::DescriptionLost, contract, words);
        assert!(found.as_deref().is_some_and(|found| found.starts_with(expected)), "{contract}: {found:?}");
    };
    check("engine.call.configuration", "", "DescriptionLost went through engine.call.configuration");
    check("engine.call.poetry", "", "DescriptionLost names engine.call.poetry, which is no contract");
    let contract = "engine.call.metadata_and_shutdown";
    check(
        contract,
        "the name",
        "DescriptionLost broke engine.call.metadata_and_shutdown, and not by `the name`",
    );
    assert_eq!(missed(Flaw::DescriptionLost, contract, "what the component says of itself"), None);
}
