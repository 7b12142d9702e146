//! Nothing passes the gate unasked, unallowed or unrecorded.

#![cfg(feature = "wasmtime")]

mod support;

use airssys_wasm::Host;
use airssys_wasm::core::component::ComponentId;
use airssys_wasm::core::config::{HostConfig, SecurityConfig};
use airssys_wasm::core::error::{Detail, ErrorKind, FailureCode, Result, TrapKind};
use airssys_wasm::core::interface::{WitFunction, WitType};
use airssys_wasm::core::runtime::{HostFunction, HostFunctionDefinition, Value};
use airssys_wasm::core::security::{PermissionResult, Rule, SecurityMode, TrustLevel};
use airssys_wasm_conformance::guests::Guest;
use async_trait::async_trait;
use std::sync::Arc;
use support::*;

#[tokio::test]
async fn storage_without_a_grant_is_denied_with_the_grant_that_would_allow_it() {
    let (host, audit) = host().await;
    let counter = start(&host, guest(Guest::Counter, "acme/counter", &[])).await;
    let error = ask(&host, &counter, "increment").await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Failure(FailureCode::Denied)));
    assert!(error.message().contains("grant `storage:acme/counter` to acme/counter"), "{error}");

    let denial = &audit.denials()[0];
    assert_eq!(
        (denial.access.as_str(), denial.result),
        ("storage:acme/counter", PermissionResult::Denied(Rule::Default))
    );
    assert_eq!(denial.instance.component(), &counter);

    host.grant(&counter, &"storage:acme/counter".parse().unwrap()).unwrap();
    assert_eq!(ask(&host, &counter, "increment").await.unwrap(), "1", "a grant takes effect at once");
    assert!(host.revoke(&counter, &"storage:acme/counter".parse().unwrap()).unwrap());
    assert_eq!(
        ask(&host, &counter, "get").await.unwrap_err().detail(),
        Some(Detail::Failure(FailureCode::Denied))
    );
}

#[tokio::test]
async fn a_grant_for_another_namespace_is_none_for_this_one() {
    let (host, _) = host().await;
    let grants = ["storage:acme/other", "storage:acme/counter2", "messaging:**"];
    let counter = start(&host, guest(Guest::Counter, "acme/counter", &grants)).await;
    assert_eq!(
        ask(&host, &counter, "get").await.unwrap_err().detail(),
        Some(Detail::Failure(FailureCode::Denied))
    );
}

#[tokio::test]
async fn every_decision_is_recorded_allowed_or_denied() {
    let (host, audit) = host().await;
    let counter = counter(&host).await;
    ask(&host, &counter, "get").await.unwrap();
    let before = audit.recorded();
    ask(&host, &counter, "get").await.unwrap();
    assert_eq!(audit.recorded(), before + 1, "reading the count is one host call");
    let last = audit.records().pop().unwrap();
    assert_eq!(
        (last.access.as_str(), last.result),
        ("storage:acme/counter", PermissionResult::Allowed(Rule::Grant))
    );
}

#[tokio::test]
async fn a_message_without_a_grant_does_not_leave() {
    let (host, audit) = host().await;
    let counter = counter(&host).await;
    let relay = guest(Guest::Relay, "acme/relay", &["messaging:acme/greeter"])
        .config(config(&[("target", "acme/counter")]));
    let relay = start(&host, relay).await;
    for command in ["increment", "send acme/counter increment", "ask-async acme/counter increment"] {
        let error = ask(&host, &relay, command).await.unwrap_err();
        assert_eq!(error.detail(), Some(Detail::Failure(FailureCode::Denied)), "{command}");
    }
    assert_eq!(ask(&host, &counter, "get").await.unwrap(), "0");
    let denied =
        audit.denials().into_iter().filter(|record| record.access == "messaging:acme/counter").count();
    assert_eq!(denied, 3);
}

#[tokio::test]
async fn a_component_that_does_not_exist_and_may_not_be_asked_is_denied_not_missing() {
    let (host, _) = host().await;
    let relay = start(&host, guest(Guest::Relay, "acme/relay", &[])).await;
    let error = ask(&host, &relay, "send acme/nobody hello").await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Failure(FailureCode::Denied)));
}

#[tokio::test]
async fn the_forbidden_list_wins_over_grants_and_development_mode() {
    let security = SecurityConfig {
        mode: SecurityMode::Development,
        forbidden: vec!["storage:acme/counter".parse().unwrap()],
    };
    let (host, _) = build(Host::builder().config(HostConfig { security, ..HostConfig::default() })).await;
    let forbidden = counter(&host).await;
    let error = ask(&host, &forbidden, "get").await.unwrap_err();
    assert!(error.message().contains("the operator forbids it"), "{error}");
    let free = start(&host, guest(Guest::Counter, "acme/free", &[])).await;
    assert_eq!(ask(&host, &free, "increment").await.unwrap(), "1");
}

#[tokio::test]
async fn permissive_mode_gives_trusted_components_their_own_storage_and_no_more() {
    let security = SecurityConfig { mode: SecurityMode::Permissive, forbidden: vec![] };
    let (host, _) = build(Host::builder().config(HostConfig { security, ..HostConfig::default() })).await;
    let unknown = start(&host, guest(Guest::Counter, "acme/unknown", &[])).await;
    assert!(ask(&host, &unknown, "get").await.is_err());
    let trusted = start(&host, guest(Guest::Counter, "acme/trusted", &[]).trust(TrustLevel::Trusted)).await;
    assert_eq!(ask(&host, &trusted, "increment").await.unwrap(), "1");
}

#[derive(Debug)]
struct Find(HostFunctionDefinition);

impl Find {
    fn new(capability: Option<&str>) -> Arc<Self> {
        let result = WitType::result(Some(WitType::String), Some(WitType::String));
        Arc::new(Self(HostFunctionDefinition {
            interface: "airssys:fixtures/lookup@0.1.0".into(),
            function: WitFunction::new("find", [("key", WitType::String)], Some(result)),
            capability: capability.map(Into::into),
        }))
    }
}

#[async_trait]
impl HostFunction for Find {
    fn definition(&self) -> &HostFunctionDefinition {
        &self.0
    }

    async fn call(&self, caller: &ComponentId, arguments: Vec<Value>) -> Result<Option<Value>> {
        let [Value::String(key)] = arguments.as_slice() else {
            panic!("arguments are checked before the call")
        };
        assert_ne!(key, "panic", "asked to");
        let text = Box::new(Value::String(format!("{key} for {caller}")));
        Ok(Some(Value::Result(if key == "none" { Err(Some(text)) } else { Ok(Some(text)) })))
    }
}

#[derive(Debug)]
struct Add(HostFunctionDefinition);

impl Add {
    fn new(capability: Option<&str>) -> Arc<Self> {
        Arc::new(Self(HostFunctionDefinition {
            interface: "airssys:fixtures/lookup@0.1.0".into(),
            function: WitFunction::new("add", [("a", WitType::S32), ("b", WitType::S32)], Some(WitType::S32)),
            capability: capability.map(Into::into),
        }))
    }
}

#[async_trait]
impl HostFunction for Add {
    fn definition(&self) -> &HostFunctionDefinition {
        &self.0
    }

    async fn call(&self, _: &ComponentId, arguments: Vec<Value>) -> Result<Option<Value>> {
        let [Value::S32(a), Value::S32(b)] = arguments.as_slice() else {
            panic!("arguments are checked before the call")
        };
        Ok(Some(Value::S32(a + b)))
    }
}

#[tokio::test]
async fn an_embedders_function_is_called_behind_the_gate() {
    let builder = Host::builder().extension(Find::new(Some("acme:lookup"))).extension(Add::new(None));
    let (host, audit) = build(builder).await;
    let values = start(&host, guest(Guest::Values, "acme/values", &["custom:acme:lookup/find"])).await;
    assert_eq!(ask(&host, &values, "find pearl").await.unwrap(), "pearl for acme/values");
    assert_eq!(ask(&host, &values, "add 40 2").await.unwrap(), "42");
    assert!(ask(&host, &values, "find none").await.unwrap_err().message().contains("none for acme/values"));
    assert_eq!(audit.records().len(), 2, "a function that everybody may call is not asked for");

    let values = start(&host, guest(Guest::Values, "acme/stranger", &["custom:acme:lookup/other"])).await;
    let error = ask(&host, &values, "find pearl").await.unwrap_err();
    assert!(error.message().contains("grant `custom:acme:lookup/find` to acme/stranger"), "{error}");
    assert_eq!(
        ask(&host, &values, "add 40 2").await.unwrap(),
        "42",
        "the denial went to the guest as its error"
    );
}

#[tokio::test]
async fn a_denied_function_that_cannot_say_so_ends_the_call() {
    let builder = Host::builder().extension(Find::new(None)).extension(Add::new(Some("acme:sums")));
    let (host, _) = build(builder).await;
    let values = start(&host, guest(Guest::Values, "acme/values", &[])).await;
    let error = ask(&host, &values, "add 40 2").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CapabilityDenied, "{error:?}");
    assert_eq!(error.next_step(), Some("grant `custom:acme:sums/add` to acme/values"));
}

#[tokio::test]
async fn a_function_that_panics_ends_the_instance_and_nothing_else() {
    let (host, _) = build(Host::builder().extension(Find::new(None)).extension(Add::new(None))).await;
    let values = start(&host, guest(Guest::Values, "acme/values", &[])).await;
    let error = ask(&host, &values, "find panic").await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Trap(TrapKind::HostFault)), "{error:?}");
    assert_eq!(ask(&host, &values, "find pearl").await.unwrap(), "pearl for acme/values");
}

#[tokio::test]
async fn a_function_that_is_registered_twice_is_refused() {
    let refused =
        Host::builder().engine(engine()).extension(Find::new(None)).extension(Find::new(None)).build().await;
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(error.to_string().contains("`airssys:fixtures/lookup@0.1.0#find` is registered twice"));
}
