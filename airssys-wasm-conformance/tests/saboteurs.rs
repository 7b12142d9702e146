//! The storage contracts bite: a correct store keeps them all, and the same store with one flaw is caught by the
//! contract that names the flaw.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic as the test may")]

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm_conformance::runner::{Suite, Verdict};
use airssys_wasm_conformance::storage::{self, StorageBench};

#[path = "saboteurs/flaws.rs"]
mod flaws;
#[path = "saboteurs/reference.rs"]
mod reference;

use flaws::{Flaw, Sabotaged};

fn suite(flaw: Option<Flaw>) -> Suite<StorageBench> {
    storage::suite("saboteur", move |folder: &Path| Ok(Arc::new(Sabotaged::open(folder, flaw)?)))
        .patience(Duration::from_secs(20))
}

#[test]
fn a_correct_store_keeps_every_contract() {
    let report = suite(None).report();
    let broken: Vec<_> = report.broken().collect();
    assert!(broken.is_empty(), "{broken:#?}");
    let held = report.lines.iter().filter(|line| line.verdict == Verdict::Held).count();
    assert_eq!(held, storage::contracts().count());
}

#[test]
fn every_flaw_is_caught_by_the_contract_that_names_it() {
    let missed: Vec<_> = Flaw::ALL
        .iter()
        .filter(|(flaw, contract)| {
            let verdict = suite(Some(*flaw)).verdict(contract);
            !verdict.unwrap_or_else(|| panic!("{contract} is not a contract")).is_broken()
        })
        .collect();
    assert!(missed.is_empty(), "these flaws went through: {missed:#?}");
}

#[test]
fn every_contract_has_a_saboteur() {
    let named: HashSet<_> = Flaw::ALL.iter().map(|(_, contract)| *contract).collect();
    let without: Vec<_> =
        storage::contracts().map(|contract| contract.id).filter(|id| !named.contains(id)).collect();
    assert!(without.is_empty(), "nothing shows that these contracts bite: {without:#?}");
}
