//! What an engine may be set up with, and what it says of itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::ErrorKind;
use airssys_wasm_core::runtime::RuntimeEngine;
use airssys_wasm_wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};

#[test]
fn the_profile_tells_the_version_of_the_lockfile() {
    let lockfile = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    let lockfile: toml::Table = lockfile.parse().unwrap();
    let packages = lockfile["package"].as_array().unwrap();
    let versions: Vec<_> = packages
        .iter()
        .filter(|package| package["name"].as_str() == Some("wasmtime"))
        .map(|package| package["version"].as_str().unwrap())
        .collect();
    let profile = WasmtimeEngine::new(WasmtimeConfig::default()).unwrap().profile();
    assert_eq!((profile.name, versions), ("wasmtime", vec![profile.version]));
    assert_eq!(profile.version, "48.0.8", "read the change log of Wasmtime, then change this line");
    assert!(profile.deadlines);
}

#[test]
fn settings_out_of_range_are_refused() {
    let check = |change: &dyn Fn(&mut WasmtimeConfig)| {
        let mut config = WasmtimeConfig::default();
        change(&mut config);
        let error = WasmtimeEngine::new(config).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{error}");
        assert!(error.next_step().is_some());
    };
    check(&|config| config.max_stack = ByteSize::bytes(1));
    check(&|config| config.max_stack = ByteSize::MAX);
    check(&|config| config.tick = Duration::ZERO);
    check(&|config| config.tick = Duration::from_secs(9));
    check(&|config| config.allocation = Allocation::Pooling { max_instances: 0 });
    check(&|config| config.allocation = Allocation::Pooling { max_instances: u32::MAX });
}
