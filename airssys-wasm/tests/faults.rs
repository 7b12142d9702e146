//! Bad input and hostile guests: a clear error, and everybody else carries on.

#![cfg(feature = "wasmtime")]

mod support;

use airssys_wasm::core::component::{ByteSize, ComponentState, ResourceLimits};
use airssys_wasm::core::config::{HostConfig, RuntimeConfig};
use airssys_wasm::core::error::{Blame, Detail, ErrorKind, Limit, LoadFault, TrapKind, WasmError};
use airssys_wasm::core::security::{PermissionRequest, SecurityPolicy, Verdict};
use airssys_wasm::{Host, Installation};
use airssys_wasm_conformance::guests::Guest;
use std::error::Error;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use support::*;

async fn refuse(wasm: impl Into<Vec<u8>>) -> WasmError {
    let (host, _) = host().await;
    let error = host
        .install(Installation::new(id("acme/bad"), wasm.into()))
        .await
        .expect_err("bad input is not installed");
    assert!(host.components_status().is_empty(), "what is refused is not installed");
    assert!(
        error.context().any(|fact| fact == ("component", "acme/bad")),
        "{error} does not name the component"
    );
    error
}

fn fault(error: &WasmError) -> LoadFault {
    match error.detail() {
        Some(Detail::Load(fault)) => fault,
        other => panic!("{error:?} has the detail {other:?}"),
    }
}

#[tokio::test]
async fn what_is_no_component_is_refused_by_name() {
    assert_eq!(fault(&refuse("not wasm at all").await), LoadFault::NotWebAssembly);
    assert_eq!(fault(&refuse("").await), LoadFault::NotWebAssembly);
    assert_eq!(fault(&refuse(b"\0asm\x01\0\0\0".to_vec()).await), LoadFault::CoreModule);
    let counter = Guest::Counter.bytes().unwrap();
    assert_eq!(fault(&refuse(&counter[..counter.len() / 2]).await), LoadFault::Truncated);
    let mut garbled = counter.to_vec();
    garbled[5_000..5_100].fill(0xff);
    assert!(matches!(fault(&refuse(garbled).await), LoadFault::Invalid | LoadFault::Truncated));
}

#[tokio::test]
async fn unknown_imports_are_named_with_what_is_offered() {
    let wasm = r#"(component (import "acme:geo/lookup@1.0.0" (instance (export "find" (func (param "key" string) (result string))))))"#;
    let error = refuse(wat::parse_str(wasm).unwrap()).await;
    assert_eq!(fault(&error), LoadFault::UnknownImports);
    let text = chain(&error);
    assert!(text.contains("acme:geo/lookup@1.0.0"), "{text}");
    assert!(text.contains("airssys:core/storage@0.1.0") && text.contains("wasi:"), "{text}");
}

#[tokio::test]
async fn a_component_without_our_export_is_told_what_is_needed() {
    let error = refuse(wat::parse_str("(component)").unwrap()).await;
    assert_eq!(fault(&error), LoadFault::MissingExport);
    assert!(error.to_string().contains("airssys:core/component@0.1.0"), "{error}");
    assert!(error.next_step().is_some());
}

#[tokio::test]
async fn an_export_of_the_wrong_type_is_named_with_both_types() {
    let wasm = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (instance $component (export "init" (func $f)))
        (export "airssys:core/component@0.1.0" (instance $component)))"#;
    let error = refuse(wat::parse_str(wasm).unwrap()).await;
    assert_eq!(fault(&error), LoadFault::ExportType);
    let text = error.to_string();
    assert!(text.contains("airssys:core/component@0.1.0#init") && text.contains("found: func()"), "{text}");
}

#[tokio::test]
async fn a_component_beyond_the_size_allowed_is_refused_unread() {
    let runtime = RuntimeConfig { max_component_size: ByteSize::kib(1), ..RuntimeConfig::default() };
    let (host, _) = build(Host::builder().config(HostConfig { runtime, ..HostConfig::default() })).await;
    for source in [Guest::Counter.bytes().unwrap().into(), airssys_wasm::Source::File("/dev/zero".into())] {
        let error = host.install(Installation::new(id("acme/big"), source)).await.unwrap_err();
        assert_eq!(error.detail(), Some(Detail::Limit(Limit::ComponentSize)), "{error:?}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named() {
    let (host, _) = host().await;
    let missing = Installation::new(id("acme/a"), PathBuf::from("no/such/file.wasm"));
    let error = host.install(missing).await.unwrap_err();
    assert_eq!((error.kind(), error.blame()), (ErrorKind::Io, Blame::Host));
    assert!(error.to_string().contains("no/such/file.wasm"), "{error}");
    assert!(error.source().is_some() && error.next_step().is_some());
}

#[tokio::test]
async fn an_id_is_installed_once() {
    let (host, _) = host().await;
    host.install(guest(Guest::Greeter, "acme/a", &[])).await.unwrap();
    let error = host.install(guest(Guest::Counter, "acme/a", &[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
}

/// What each attack in `execute` comes to.
#[tokio::test]
async fn every_fault_of_a_guest_has_a_kind_and_a_detail() {
    let (host, _) = host().await;
    let neighbour = start(&host, guest(Guest::Greeter, "acme/greeter", &[])).await;
    let limits = ResourceLimits {
        memory: ByteSize::mib(4),
        reply: ByteSize::kib(64),
        host_calls: 1_000,
        deadline: Duration::from_millis(500),
        ..ResourceLimits::default()
    };
    let hostile =
        guest(Guest::Hostile, "evil/guest", &["storage:evil/guest", "messaging:evil/guest"]).limits(limits);
    let hostile = start(&host, hostile).await;
    let trap = |kind| (ErrorKind::ComponentTrapped, Some(Detail::Trap(kind)));
    let limit = |kind| (ErrorKind::ResourceLimitExceeded, Some(Detail::Limit(kind)));
    for (attack, expected) in [
        ("loop", (ErrorKind::ExecutionTimeout, None)),
        ("flood", limit(Limit::HostCalls)),
        ("grow-and-die", limit(Limit::Memory)),
        ("recurse", trap(TrapKind::StackOverflow)),
        ("panic", trap(TrapKind::Unreachable)),
        ("unreachable", trap(TrapKind::Unreachable)),
        ("out-of-bounds", trap(TrapKind::MemoryOutOfBounds)),
        ("divide", trap(TrapKind::IntegerDivisionByZero)),
        ("giant-reply 1000000", limit(Limit::Reply)),
    ] {
        let error = ask(&host, &hostile, attack).await.unwrap_err();
        assert_eq!((error.kind(), error.detail()), expected, "{attack}: {}", chain(&error));
        assert_eq!(error.blame(), Blame::Guest, "{attack}");
        assert_eq!(ask(&host, &hostile, "ok").await.unwrap(), "ok", "after {attack}");
        assert_eq!(ask(&host, &neighbour, "Ada").await.unwrap(), "Hello, Ada!", "after {attack}");
    }
    assert!(ask(&host, &hostile, "grow").await.is_ok(), "a guest that is refused memory can go on");
    let answer = ask(&host, &hostile, "self-request").await.unwrap();
    assert!(answer.starts_with("refused: cycle: "), "{answer}");
}

#[tokio::test]
async fn fuel_is_a_limit_of_its_own() {
    let (host, _) = host().await;
    let limits = ResourceLimits { fuel: NonZeroU64::new(1_000_000), ..ResourceLimits::default() };
    let hostile = start(&host, guest(Guest::Hostile, "evil/guest", &[]).limits(limits)).await;
    let error = ask(&host, &hostile, "loop").await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Limit(Limit::Fuel)), "{error:?}");
    assert_eq!(ask(&host, &hostile, "ok").await.unwrap(), "ok");
    assert!(host.status(&hostile).unwrap().statistics.fuel > 0);
}

#[tokio::test]
async fn a_component_that_does_not_come_up_tells_why_and_can_be_started_again() {
    let (host, _) = host().await;
    let limits = ResourceLimits { memory: ByteSize::mib(4), ..impatient() };
    for (attack, kind) in [
        ("panic", ErrorKind::ComponentTrapped),
        ("loop", ErrorKind::ExecutionTimeout),
        ("grow-and-die", ErrorKind::ResourceLimitExceeded),
        ("fail", ErrorKind::ExecutionFailed),
    ] {
        let name = format!("evil/{attack}");
        let hostile =
            guest(Guest::Hostile, &name, &[]).limits(limits.clone()).config(config(&[("init", attack)]));
        host.install(hostile).await.unwrap();
        for _ in 0..2 {
            let error = host.start(&id(&name)).await.unwrap_err();
            assert_eq!(fault(&error), LoadFault::Init, "{attack}");
            let cause = error
                .source()
                .and_then(|cause| cause.downcast_ref::<WasmError>())
                .expect("the cause is kept");
            assert_eq!(cause.kind(), kind, "{attack}: {}", chain(&error));
            assert_eq!(host.status(&id(&name)).unwrap().state, ComponentState::Failed);
        }
    }
}

#[tokio::test]
async fn a_component_that_fails_in_shutdown_is_stopped_all_the_same() {
    let (host, _) = host().await;
    for (attack, kind) in [("panic", ErrorKind::ComponentTrapped), ("loop", ErrorKind::ExecutionTimeout)] {
        let name = format!("evil/{attack}");
        let hostile =
            guest(Guest::Hostile, &name, &[]).limits(impatient()).config(config(&[("shutdown", attack)]));
        let hostile = start(&host, hostile).await;
        let report = host.stop(&hostile, PATIENCE).await.unwrap();
        assert_eq!(report.error.map(|error| error.kind()), Some(kind), "{attack}");
        assert_eq!(host.status(&hostile).unwrap().state, ComponentState::Stopped);
        host.start(&hostile).await.unwrap();
    }
}

#[tokio::test]
async fn a_component_that_declares_more_than_it_may_have_does_not_start() {
    let (host, _) = host().await;
    let neighbour = start(&host, guest(Guest::Greeter, "acme/greeter", &[])).await;
    let limits = ResourceLimits { memory: ByteSize::kib(64), ..ResourceLimits::default() };
    host.install(guest(Guest::Hostile, "evil/starved", &[]).limits(limits)).await.unwrap();
    let error = host.start(&id("evil/starved")).await.unwrap_err();
    let cause = error.source().and_then(|cause| cause.downcast_ref::<WasmError>()).unwrap();
    assert_eq!(cause.detail(), Some(Detail::Limit(Limit::Memory)), "{}", chain(&error));
    assert_eq!(ask(&host, &neighbour, "Ada").await.unwrap(), "Hello, Ada!");
}

/// A defect of the embedder.
#[derive(Debug)]
struct Panics;

impl SecurityPolicy for Panics {
    fn decide(&self, _: &PermissionRequest<'_>) -> Option<Verdict> {
        panic!("the policy is broken")
    }
}

#[tokio::test]
async fn a_policy_that_panics_ends_the_call_and_nothing_else() {
    let (host, _) = build(Host::builder().policy(Arc::new(Panics))).await;
    let counter = start(&host, guest(Guest::Counter, "acme/counter", &[])).await;
    let error = ask(&host, &counter, "get").await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Trap(TrapKind::HostFault)), "{error:?}");
    host.grant(&counter, &"storage:acme/counter".parse().unwrap()).unwrap();
    assert_eq!(ask(&host, &counter, "increment").await.unwrap(), "1");
}

#[tokio::test]
async fn live_instances_are_bounded_and_a_stopped_one_makes_room() {
    let runtime = RuntimeConfig { max_instances: 2, ..RuntimeConfig::default() };
    let (host, _) = build(Host::builder().config(HostConfig { runtime, ..HostConfig::default() })).await;
    for name in ["acme/a", "acme/b"] {
        start(&host, guest(Guest::Greeter, name, &[])).await;
    }
    host.install(guest(Guest::Greeter, "acme/c", &[])).await.unwrap();
    let error = host.start(&id("acme/c")).await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Limit(Limit::LiveInstances)), "{error:?}");
    host.stop(&id("acme/a"), PATIENCE).await.unwrap();
    host.start(&id("acme/c")).await.unwrap();
}

#[tokio::test]
async fn a_runaway_neighbour_keeps_nobody_from_answering() {
    // One worker thread: the busy guest and its neighbour share it.
    let (host, _) = host().await;
    let neighbour = start(&host, guest(Guest::Greeter, "acme/greeter", &[])).await;
    let busy = guest(Guest::Hostile, "evil/busy", &[])
        .limits(ResourceLimits { deadline: Duration::from_secs(2), ..ResourceLimits::default() });
    let busy = start(&host, busy).await;
    let running = tokio::spawn({
        let (host, busy) = (host.clone(), busy.clone());
        async move { host.request(&busy, "loop").await }
    });
    for _ in 0..20 {
        assert_eq!(ask(&host, &neighbour, "Ada").await.unwrap(), "Hello, Ada!");
    }
    assert!(!running.is_finished(), "the neighbour answered while the other ran");
    assert_eq!(running.await.unwrap().unwrap_err().kind(), ErrorKind::ExecutionTimeout);
}

#[tokio::test]
async fn a_log_flood_is_cut_and_ends_nobody() {
    let (host, _) = host().await;
    let hostile = start(&host, guest(Guest::Hostile, "evil/talker", &[])).await;
    ask(&host, &hostile, "log-flood 10000 100").await.unwrap();
    ask(&host, &hostile, "giant-log 1000000").await.unwrap();
    assert_eq!(ask(&host, &hostile, "ok").await.unwrap(), "ok");
}
