//! The contracts of the host bite: a correct pair of an engine and a store keeps them all, and the same pair with
//! exactly one flaw is caught by the contract that names the flaw, and for that reason.

#![cfg(all(feature = "wasmtime", feature = "redb"))]

use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use airssys_wasm::core::config::RuntimeConfig;
use airssys_wasm::core::error::Result;
use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm::core::storage::StorageBackend;
use airssys_wasm::storage::{MemoryStore, RedbOptions, RedbStore};
use airssys_wasm_conformance::host;
use airssys_wasm_conformance::runner::{Suite, Verdict};

mod burden;
mod code;
mod engine;
mod files;
mod flaw;
mod instance;
mod messaging;
mod storage;
mod store;
mod table;

use engine::Engine;
use flaw::Flaw;
use store::{Latest, Store};
use table::{check_complete, missed};

/// Contracts that no engine and no store can break, and why.
const OF_THE_HOST_ALONE: [(&str, &str); 2] = [
    ("host.messages.mailbox_is_bounded", "messages are counted by the host before any engine sees them"),
    (
        "host.gate.matrix.is_complete",
        "what the host links is a list of the core, and what is called one of the suite",
    ),
];

/// Contracts about restarts, which need a store that persists.
const OVER_RESTARTS: [&str; 2] = ["host.restart.of_the_host", "host.unit_of_work.vanishes_on_host_kill"];

/// A pair with one flaw, or none, on a store that the contract applies to.
fn suite(contract: &str, flaw: Option<Flaw>) -> Suite<host::HostBench> {
    let latest = Latest::default();
    let opened = latest.clone();
    let persists = OVER_RESTARTS.contains(&contract) && flaw != Some(Flaw::ClaimsToPersist);
    let open = move |folder: &Path| -> Result<Arc<dyn StorageBackend>> {
        let inner: Arc<dyn StorageBackend> = if persists {
            Arc::new(RedbStore::open(folder.join("store"), RedbOptions::default())?)
        } else {
            Arc::new(MemoryStore::new())
        };
        opened.set(&inner);
        Ok(Arc::new(Store::new(inner, flaw)))
    };
    let engine = move |config: &RuntimeConfig| -> Result<Arc<dyn RuntimeEngine>> {
        Ok(Arc::new(Engine::new(flaw, latest.clone(), config.code_cache.clone())))
    };
    host::suite("saboteur", engine, open)
}

/// The verdict of each contract on the pair with this flaw. Most contracts wait more than they compute, so that more
/// run at once than there are cores.
fn verdicts(cases: &[(&'static str, Option<Flaw>)]) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let judge = || {
        let mut judged = Vec::new();
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let Some((contract, flaw)) = cases.get(position) else { return judged };
            let verdict = suite(contract, *flaw).verdict(contract);
            judged.push((position, verdict.unwrap_or_else(|| panic!("{contract} is not a contract"))));
        }
    };
    let at_once = 2 * thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut judged: Vec<_> = thread::scope(|scope| {
        let judges: Vec<_> = (0..at_once).map(|_| scope.spawn(judge)).collect();
        judges.into_iter().flat_map(|judge| judge.join().expect("a contract that panics is broken")).collect()
    });
    judged.sort_by_key(|(position, _)| *position);
    judged.into_iter().map(|(_, verdict)| verdict).collect()
}

#[test]
fn a_pair_without_a_flaw_keeps_every_contract() {
    let cases: Vec<_> = host::contracts().map(|contract| (contract.id, None)).collect();
    let broken: Vec<_> = cases
        .iter()
        .zip(verdicts(&cases))
        .filter(|(_, verdict)| *verdict != Verdict::Held)
        .map(|((contract, _), verdict)| (contract, verdict))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_flaw_is_caught_by_the_contract_that_names_it() {
    let table = table::cases("host.");
    let cases: Vec<_> = table.iter().map(|(flaw, contract, _)| (*contract, Some(*flaw))).collect();
    let verdicts = verdicts(&cases);
    let missed: Vec<_> =
        table.iter().zip(&verdicts).filter_map(|(case, verdict)| missed(*case, verdict)).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn every_contract_has_a_saboteur() {
    let contracts = host::contracts().map(|contract| contract.id);
    check_complete(&table::cases("host."), &OF_THE_HOST_ALONE, contracts);
}
