//! What every test of the host needs: a host on the engine under test, and guests in it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::audit::AuditLog;
use airssys_wasm::core::component::{ComponentConfig, ComponentId, ResourceLimits};
use airssys_wasm::core::error::WasmError;
use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm::wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};
use airssys_wasm::{Host, HostBuilder, Installation};
use airssys_wasm_conformance::guests::Guest;

/// Long enough for a busy machine, short enough to notice a hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn id(text: &str) -> ComponentId {
    text.parse().expect("tests use valid ids")
}

/// The engine under test: Wasmtime, or the one that `AIRSSYS_WASM_ENGINE` names.
pub fn engine() -> Arc<dyn RuntimeEngine> {
    match std::env::var("AIRSSYS_WASM_ENGINE").as_deref() {
        Err(_) | Ok("wasmtime") => {}
        #[cfg(feature = "wasmer")]
        Ok("wasmer") => {
            let engine =
                airssys_wasm::wasmer::WasmerEngine::new(airssys_wasm::wasmer::WasmerConfig::default());
            return Arc::new(engine.expect("the engine can be made"));
        }
        Ok(other) => panic!("the tests are not built with an engine `{other}`"),
    }
    let config =
        WasmtimeConfig { allocation: Allocation::Pooling { max_instances: 50 }, ..WasmtimeConfig::default() };
    Arc::new(WasmtimeEngine::new(config).expect("the engine can be made"))
}

/// A host with a store in memory, and its audit log.
pub async fn host() -> (Host, Arc<AuditLog>) {
    build(Host::builder()).await
}

pub async fn build(builder: HostBuilder) -> (Host, Arc<AuditLog>) {
    let audit = Arc::new(AuditLog::new(10_000));
    let host = builder.engine(engine()).audit(audit.clone()).request_timeout(PATIENCE).build().await;
    (host.expect("the host can be built"), audit)
}

/// A guest under a name, with what it was granted.
pub fn guest(guest: Guest, name: &str, grants: &[&str]) -> Installation {
    let grants = grants.iter().map(|grant| grant.parse().expect("tests grant valid capabilities"));
    Installation::new(id(name), guest.bytes().expect("the guest can be read")).grant_all(grants)
}

pub async fn start(host: &Host, installation: Installation) -> ComponentId {
    let id = installation.id().clone();
    host.install(installation).await.unwrap_or_else(|error| panic!("{id} is not installed: {error:?}"));
    host.start(&id).await.unwrap_or_else(|error| panic!("{id} does not start: {error:?}"));
    id
}

/// A counter that may count.
pub async fn counter(host: &Host) -> ComponentId {
    start(host, guest(Guest::Counter, "acme/counter", &["storage:acme/counter"])).await
}

pub fn config(pairs: &[(&str, &str)]) -> ComponentConfig {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub async fn ask(host: &Host, id: &ComponentId, text: &str) -> Result<String, WasmError> {
    let body = host.request(id, text).await?;
    Ok(String::from_utf8(body.payload).expect("the guests answer in UTF-8"))
}

pub fn impatient() -> ResourceLimits {
    ResourceLimits { deadline: Duration::from_millis(200), ..ResourceLimits::default() }
}

/// Every message of the error and its sources.
pub fn chain(error: &WasmError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let patience = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < patience, "it never came to be that {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
