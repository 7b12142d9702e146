//! Where instances live: slots that are made once, or memory that is asked for each time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use airssys_wasm_conformance::fakes::FakeHost;
use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::error::{Detail, Limit, Result};
use airssys_wasm_core::runtime::{
    CallBudget, CodeOrigin, Component, ComponentHandle, LoadOptions, RuntimeEngine, Value,
};
use airssys_wasm_wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};

fn engine(allocation: Allocation, code_cache: Option<PathBuf>) -> WasmtimeEngine {
    WasmtimeEngine::new(WasmtimeConfig { allocation, code_cache, ..WasmtimeConfig::default() }).unwrap()
}

fn budget() -> CallBudget {
    CallBudget { deadline: Some(Instant::now() + Duration::from_secs(20)), fuel: None }
}

async fn load(engine: &WasmtimeEngine, text: &str) -> ComponentHandle {
    engine.load(&wat::parse_str(text).unwrap(), LoadOptions::default()).await.unwrap()
}

async fn instantiate(component: &ComponentHandle) -> Result<Box<dyn Component>> {
    let limits = ResourceLimits { table_elements: u32::MAX, ..ResourceLimits::default() };
    component.instantiate(&limits, FakeHost::new("test/slots").services(), budget()).await
}

async fn run(instance: &mut dyn Component) -> Option<Value> {
    instance.call(&"run".parse().unwrap(), &[], budget()).await.unwrap()
}

/// A component with one core module that declares `core`, and a function `run` that returns 7.
fn declaring(core: &str) -> String {
    format!(
        r#"(component (core module $m {core} (func (export "run") (result i32) (i32.const 7)))
            (core instance $i (instantiate $m))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    )
}

#[tokio::test]
async fn a_full_pool_says_so_and_has_room_again() {
    let engine = engine(Allocation::Pooling { max_instances: 2 }, None);
    let loaded = load(&engine, &declaring("(memory 1)")).await;
    let first = instantiate(&loaded).await.unwrap();
    let mut second = instantiate(&loaded).await.unwrap();
    let third = instantiate(&loaded).await.map(|_| ()).unwrap_err();
    assert_eq!(third.detail(), Some(Detail::Limit(Limit::LiveInstances)), "{third}");
    assert_eq!(run(&mut *second).await, Some(Value::U32(7)));
    drop(first);
    let mut third = instantiate(&loaded).await.unwrap();
    assert_eq!(run(&mut *third).await, Some(Value::U32(7)));
}

#[tokio::test]
async fn large_components_fit_either_way() {
    let modules = "(core module (memory 1) (table 10 funcref))".to_owned()
        + &(0..120).map(|_| "(core instance (instantiate 0))").collect::<String>();
    for allocation in [Allocation::Pooling { max_instances: 200 }, Allocation::OnDemand] {
        let engine = engine(allocation, None);
        let instance = instantiate(&load(&engine, &format!("(component {modules})")).await).await.unwrap();
        assert_eq!(instance.usage().memory_bytes, 120 << 16);
        assert_eq!(instance.usage().table_elements, 1_200);
    }
}

#[tokio::test]
async fn what_fits_into_no_slot_is_served_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(Allocation::Pooling { max_instances: 32 }, Some(folder.path().to_owned()));
    for core in ["(table 0 funcref)".repeat(70), "(table 1000000 funcref)".into(), "(memory 0)".repeat(70)] {
        for origin in [CodeOrigin::Compiled, CodeOrigin::Cache] {
            let loaded = load(&engine, &declaring(&core)).await;
            assert_eq!(loaded.origin(), origin);
            let mut instance = instantiate(&loaded).await.unwrap();
            assert_eq!(run(&mut *instance).await, Some(Value::U32(7)));
        }
    }
}
