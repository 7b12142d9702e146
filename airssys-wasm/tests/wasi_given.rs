//! What a component finds of WASI is what it was given: an environment, arguments, its configuration and its log.

#![cfg(any(feature = "wasmtime", feature = "wasmer"))]

use std::sync::Arc;

use airssys_wasm::core::component::{ComponentConfig, ComponentId, Environment};
use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm::{Host, Installation};
use airssys_wasm_conformance::guests::Guest;

/// A host on this engine, with one component that was given all of this.
async fn host(engine: Arc<dyn RuntimeEngine>, guest: Guest) -> (Host, ComponentId) {
    let host = Host::builder().engine(engine).build().await.expect("the host starts");
    let id: ComponentId = "acme/given".parse().expect("the id is valid");
    let environment = Environment::new()
        .variable("LANG", "de")
        .and_then(|environment| environment.variable("EMPTY", ""))
        .and_then(|environment| environment.argument("--verbose"))
        .expect("the environment is valid");
    let config = ComponentConfig::new().with("greeting", "Moin").with("size", "7");
    let installation = Installation::new(id.clone(), guest.bytes().expect("the guest is there"))
        .environment(environment)
        .config(config);
    host.install(installation).await.expect("it installs");
    host.start(&id).await.expect("it starts");
    (host, id)
}

async fn ask(host: &Host, id: &ComponentId, payload: &str) -> String {
    let reply = host.request(id, payload).await.expect("it answers");
    String::from_utf8(reply.payload).expect("the answer is text")
}

async fn finds_what_it_was_given(engine: Arc<dyn RuntimeEngine>) {
    let (given, id) = host(Arc::clone(&engine), Guest::WasiClock).await;
    assert_eq!(ask(&given, &id, "environment").await, "LANG=de EMPTY=");
    assert_eq!(ask(&given, &id, "arguments").await, "--verbose");
    let (given, id) = host(engine, Guest::WasiProposals).await;
    assert_eq!(ask(&given, &id, "config").await, "greeting=Moin size=7");
    assert_eq!(ask(&given, &id, "config greeting").await, "Moin");
    assert_eq!(ask(&given, &id, "config nothing").await, "none");
    assert_eq!(ask(&given, &id, "log a line").await, "");
}

#[cfg(feature = "wasmtime")]
#[tokio::test]
async fn on_wasmtime() {
    use airssys_wasm::wasmtime::{WasmtimeConfig, WasmtimeEngine};
    finds_what_it_was_given(Arc::new(WasmtimeEngine::new(WasmtimeConfig::default()).unwrap())).await;
}

#[cfg(feature = "wasmer")]
#[tokio::test]
async fn on_wasmer() {
    use airssys_wasm::wasmer::{WasmerConfig, WasmerEngine};
    finds_what_it_was_given(Arc::new(WasmerEngine::new(WasmerConfig::default()).unwrap())).await;
}
