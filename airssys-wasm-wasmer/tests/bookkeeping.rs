//! What the host keeps for a component is bounded, too.

#![cfg(supported)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use airssys_wasm_conformance::fakes::FakeHost;
use airssys_wasm_core::component::{ByteSize, ResourceLimits};
use airssys_wasm_core::error::{Detail, Limit};
use airssys_wasm_core::runtime::{CallBudget, LoadOptions, RuntimeEngine};
use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};

/// Many instances of a module of many functions, none of which has a memory.
#[tokio::test]
async fn a_crowd_of_functions_counts_against_the_memory() {
    let functions = "(func)".repeat(10_000);
    let instances = "(core instance (instantiate $m))".repeat(20);
    let text = format!("(component (core module $m {functions}) {instances})");
    let engine = WasmerEngine::new(WasmerConfig::default()).unwrap();
    let component = engine.load(&wat::parse_str(text).unwrap(), LoadOptions::default()).await.unwrap();
    let make = async |memory| {
        let limits = ResourceLimits { memory, ..ResourceLimits::default() };
        let budget = CallBudget { deadline: Some(Instant::now() + Duration::from_secs(20)), fuel: None };
        component.instantiate(&limits, FakeHost::new("test/crowd").services(), budget).await
    };
    make(ByteSize::mib(9)).await.unwrap();
    let error = make(ByteSize::mib(7)).await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Limit(Limit::Memory)));
}
