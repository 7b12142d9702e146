//! The attacks of the zoo bite: an engine with exactly one flaw is caught by the attack that names the flaw, and for that
//! reason. That an engine without a flaw withstands them all is in `zoo.rs`.

// Elsewhere the memory of the process is not measured.
#![cfg(all(feature = "wasmtime", target_os = "linux"))]

use std::sync::Arc;

use airssys_wasm_conformance::zoo;

#[path = "../saboteurs/burden.rs"]
mod burden;
#[path = "../saboteurs/code.rs"]
mod code;
#[path = "../saboteurs/engine.rs"]
mod engine;
#[path = "../saboteurs/files.rs"]
mod files;
#[path = "../saboteurs/flaw.rs"]
mod flaw;
#[path = "../saboteurs/instance.rs"]
mod instance;
#[path = "../saboteurs/messaging.rs"]
mod messaging;
#[path = "../saboteurs/storage.rs"]
mod storage;
#[path = "../saboteurs/store.rs"]
#[expect(dead_code, reason = "the zoo has its own store, and no attack is on stores")]
mod store;
#[path = "../saboteurs/table.rs"]
mod table;

use engine::Engine;
use store::Latest;
use table::{check_complete, missed};

/// One after the other: what an attack costs is measured by the memory of the process.
#[test]
fn every_flaw_is_caught_by_the_attack_that_names_it() {
    let mut let_through = Vec::new();
    for case in table::cases("zoo.") {
        let (flaw, attack, _) = case;
        let suite = zoo::suite("saboteur", move |config| {
            Ok(Arc::new(Engine::new(Some(flaw), Latest::default(), config.code_cache.clone())))
        });
        let verdict = suite.verdict(attack).unwrap_or_else(|| panic!("{attack} is no attack"));
        let_through.extend(missed(case, &verdict));
    }
    assert!(let_through.is_empty(), "{let_through:#?}");
}

#[test]
fn every_attack_has_a_saboteur() {
    check_complete(&table::cases("zoo."), &[], zoo::contracts().map(|attack| attack.id));
}
