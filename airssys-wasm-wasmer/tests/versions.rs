//! What is pinned, and why a new version has to be read before it is taken.

#![cfg(supported)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use airssys_wasm_core::runtime::RuntimeEngine;
use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};

#[test]
fn the_profile_tells_the_version_of_the_lockfile() {
    let lockfile = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock")).unwrap();
    let lockfile: toml::Table = lockfile.parse().unwrap();
    let version = |name: &str| {
        let packages = lockfile["package"].as_array().unwrap().iter();
        let found: Vec<_> = packages.filter(|package| package["name"].as_str() == Some(name)).collect();
        assert_eq!(found.len(), 1, "{name} is there more than once, or not at all");
        found[0]["version"].as_str().unwrap().to_owned()
    };
    let profile = WasmerEngine::new(WasmerConfig::default()).unwrap().profile();
    for part in ["wasmer-compiler", "wasmer-compiler-cranelift", "wasmer-types", "wasmer-vm"] {
        assert_eq!((profile.name, profile.version), ("wasmer", version(part).as_str()));
    }
    assert_eq!(
        profile.version, "7.3.0",
        "its traps, stacks and libcalls are relied upon: read them, then change this line"
    );
    assert_eq!(
        version("wasmtime-environ"),
        "48.0.8",
        "plans hold its types: give `PLAN_FORMAT` a new number, then change this line"
    );
}
