//! Compiled code on disk: used when it is ours, compiled again when it is anything else.

#![cfg(supported)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use airssys_wasm_conformance::fakes::FakeHost;
use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::runtime::{
    CallBudget, CodeOrigin, ComponentHandle, LoadOptions, Metering, RuntimeEngine, Value,
};
use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};

fn engine(folder: &Path) -> WasmerEngine {
    WasmerEngine::new(WasmerConfig { code_cache: Some(folder.to_owned()), ..WasmerConfig::default() })
        .unwrap()
}

fn seven() -> Vec<u8> {
    wat::parse_str(
        r#"(component (core module $m (func (export "run") (result i32) (i32.const 7)))
            (core instance $i (instantiate $m))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#,
    )
    .unwrap()
}

async fn load(engine: &WasmerEngine, metering: Metering) -> ComponentHandle {
    engine.load(&seven(), LoadOptions { metering, ..LoadOptions::default() }).await.unwrap()
}

/// Where the code came from. It is run, too.
async fn origin(engine: &WasmerEngine) -> CodeOrigin {
    let component = load(engine, Metering::Off).await;
    let budget = CallBudget { deadline: Some(Instant::now() + Duration::from_secs(20)), fuel: None };
    let host = FakeHost::new("test/cache");
    let mut instance =
        component.instantiate(&ResourceLimits::default(), host.services(), budget).await.unwrap();
    assert_eq!(instance.call(&"run".parse().unwrap(), &[], budget).await.unwrap(), Some(Value::U32(7)));
    component.origin()
}

#[tokio::test]
async fn code_is_compiled_once_for_each_setting() {
    let folder = tempfile::tempdir().unwrap();
    let first = engine(folder.path());
    assert_eq!(origin(&first).await, CodeOrigin::Compiled);
    assert_eq!(origin(&first).await, CodeOrigin::Cache);
    assert_eq!(origin(&engine(folder.path())).await, CodeOrigin::Cache);
    assert_eq!(load(&first, Metering::Fuel).await.origin(), CodeOrigin::Compiled);
    assert_eq!(load(&first, Metering::Fuel).await.origin(), CodeOrigin::Cache);
}

#[tokio::test]
async fn a_damaged_file_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    origin(&engine).await;
    let files: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == "cwasm" || found == "seal"))
        .collect();
    assert_eq!(files.len(), 2);
    for path in &files {
        let good = fs::read(path).unwrap();
        for byte in (0..good.len()).step_by((good.len() / 20).max(1)) {
            let mut bad = good.clone();
            bad[byte] ^= 0x10;
            fs::write(path, bad).unwrap();
            assert_eq!(origin(&engine).await, CodeOrigin::Compiled, "byte {byte} of {}", path.display());
            assert_eq!(origin(&engine).await, CodeOrigin::Cache);
        }
        for length in [0, 1, good.len() / 2, good.len() - 1] {
            fs::write(path, &good[..length]).unwrap();
            assert_eq!(origin(&engine).await, CodeOrigin::Compiled, "{length} bytes of {}", path.display());
        }
    }
}
