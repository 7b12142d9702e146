//! Calls by name, with dynamic values and resources.

use crate::support::*;
use airssys_wasm::core::component::{ByteSize, ResourceLimits};
use airssys_wasm::core::error::{ErrorKind, Limit, WasmError};
use airssys_wasm::core::interface::{WitFunction, WitType};
use airssys_wasm::core::runtime::{
    Component, ExecutionState, HostFunction, HostFunctionDefinition, LoadOptions, ResourceHandle, Value,
};
use async_trait::async_trait;

const VALUES: &str = "airssys:fixtures/values@0.1.0";

/// What the guest `values` imports, answered plainly.
#[derive(Debug)]
struct Lookup(HostFunctionDefinition);

impl Lookup {
    fn all() -> Vec<Self> {
        let define = |function| {
            Self(HostFunctionDefinition {
                interface: "airssys:fixtures/lookup@0.1.0".into(),
                function,
                capability: None,
            })
        };
        let found = WitType::result(Some(WitType::String), Some(WitType::String));
        vec![
            define(WitFunction::new("find", [("key", WitType::String)], Some(found))),
            define(WitFunction::new("add", [("a", WitType::S32), ("b", WitType::S32)], Some(WitType::S32))),
        ]
    }
}

#[async_trait]
impl HostFunction for Lookup {
    fn definition(&self) -> &HostFunctionDefinition {
        &self.0
    }

    async fn call(
        &self,
        caller: &airssys_wasm::core::component::ComponentId,
        arguments: Vec<Value>,
    ) -> airssys_wasm::core::error::Result<Option<Value>> {
        assert_eq!(caller.as_str(), "acme/tested");
        Ok(Some(match &arguments[..] {
            [Value::S32(a), Value::S32(b)] => Value::S32(a + b),
            [Value::String(key)] => {
                Value::Result(Ok(Some(Box::new(Value::String(format!("value of {key}"))))))
            }
            other => panic!("{other:?}"),
        }))
    }
}

async fn values() -> Box<dyn Component> {
    values_with(&ResourceLimits::default()).await
}

async fn values_with(limits: &ResourceLimits) -> Box<dyn Component> {
    let extensions = Lookup::all().iter().map(|function| function.0.clone()).collect();
    let loaded =
        engine().load(&guest("values"), LoadOptions { extensions, ..LoadOptions::default() }).await.unwrap();
    let functions = Lookup::all().into_iter().map(|function| std::sync::Arc::new(function) as _);
    let services = Services::new(Mood::Well);
    loaded.instantiate(limits, services.host_with(functions), budget()).await.unwrap()
}

async fn ask_values(instance: &mut dyn Component, function: &str, arguments: &[Value]) -> Value {
    let answer = call(instance, &format!("{VALUES}#{function}"), arguments).await;
    answer.unwrap_or_else(|error| panic!("{function}: {}", explain(&error))).unwrap()
}

async fn refusal(instance: &mut dyn Component, function: &str, arguments: &[Value]) -> WasmError {
    let error = call(instance, &format!("{VALUES}#{function}"), arguments).await.unwrap_err();
    expect(&error, ErrorKind::Serialization, None);
    assert_eq!(instance.state(), ExecutionState::Ready);
    error
}

fn new_sum(start: i64) -> [Value; 1] {
    [Value::S64(start)]
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

#[tokio::test]
async fn values_come_back_as_they_went() {
    let mut values = values().await;
    for (function, value) in [
        ("echo-bytes", Value::Bytes((0..=255).collect())),
        ("echo-bytes", Value::Bytes(vec![])),
        ("echo-string", text("äöü \u{1f980}")),
        ("echo-strings", Value::List(vec![text("a"), text("")])),
        ("echo-strings", Value::List(vec![])),
        ("echo-f64", Value::F64(-0.0)),
        ("echo-option", Value::Option(None)),
        ("echo-nested-option", Value::Option(Some(Box::new(Value::Option(None))))),
        ("echo-result", Value::Result(Err(Some(Box::new(text("no")))))),
        ("echo-result-empty", Value::Result(Ok(None))),
        ("echo-enum", Value::Enum("friday".into())),
        ("echo-permissions", Value::Flags(vec!["read".into(), "execute".into()])),
        ("echo-variant", Value::Variant("nothing".into(), None)),
        ("echo-variant", Value::Variant("radius".into(), Some(Box::new(Value::F32(1.5))))),
    ] {
        assert_eq!(
            ask_values(&mut *values, function, std::slice::from_ref(&value)).await,
            value,
            "{function}"
        );
    }
    let Value::F32(nan) =
        ask_values(&mut *values, "echo-f32", &[Value::F32(f32::from_bits(0xffc1_2345))]).await
    else {
        panic!("a float came back as something else");
    };
    assert_eq!(nan.to_bits(), 0x7fc0_0000);
    assert_eq!(call(&mut *values, &format!("{VALUES}#nothing"), &[]).await.unwrap(), None);
}

#[tokio::test]
async fn bytes_pass_as_far_as_the_limit_allows() {
    let limits = ResourceLimits { transfer: ByteSize::kib(256), ..ResourceLimits::default() };
    let mut values = values_with(&limits).await;
    // Each takes 40 bytes of the host at most.
    let bytes = Value::Bytes(vec![7; (256 << 10) / 40]);
    assert_eq!(ask_values(&mut *values, "echo-bytes", std::slice::from_ref(&bytes)).await, bytes);
    let error =
        call(&mut *values, &format!("{VALUES}#echo-bytes"), &[Value::Bytes(vec![0; (256 << 10) + 1])]).await;
    expect_limit(&error.unwrap_err(), Limit::Transfer);
    assert_eq!(values.state(), ExecutionState::Ready);
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_shown_and_the_instance_goes_on() {
    let mut values = values().await;
    let check = |error: WasmError, facts: &[&str]| {
        for fact in facts {
            assert!(error.to_string().contains(fact), "{error} does not say `{fact}`");
        }
    };
    check(refusal(&mut *values, "echo-u8", &[]).await, &["expected: 1", "given: 0"]);
    check(
        refusal(&mut *values, "echo-u8", &[Value::U8(1), Value::U8(2)]).await,
        &["expected: 1", "given: 2"],
    );
    check(
        refusal(&mut *values, "echo-u8", &[text("1")]).await,
        &["parameter: value", "expected: u8", "given: string"],
    );
    let mixed = Value::List(vec![text("a"), Value::U8(1)]);
    check(refusal(&mut *values, "echo-strings", &[mixed]).await, &["parameter: value[1]", "given: u8"]);
    let bytes = Value::List(vec![Value::U8(1)]);
    check(refusal(&mut *values, "echo-bytes", &[bytes]).await, &["expected: list<u8>", "given: list"]);
    let day = Value::Enum("caturday\u{1b}[2J".into());
    let error = refusal(&mut *values, "echo-enum", &[day]).await;
    check(error, &["monday", "`caturday\\u{1b}[2J`"]);
    let flags = Value::Flags(vec!["read".into(), "fly".into()]);
    check(refusal(&mut *values, "echo-permissions", &[flags]).await, &["flags among read, write", "`fly`"]);
    let shape = Value::Variant("radius".into(), None);
    check(
        refusal(&mut *values, "echo-variant", &[shape]).await,
        &["value.radius", "expected: f32", "no payload"],
    );
    let point = Value::Record(vec![("x".into(), Value::F64(0.0)), ("z".into(), Value::F64(0.0))]);
    check(
        refusal(&mut *values, "echo-points", &[Value::List(vec![point])]).await,
        &["value[0]", "the field `y`", "the field `z`"],
    );
    let pair = Value::Tuple(vec![Value::U8(1)]);
    check(refusal(&mut *values, "echo-tuple", &[pair]).await, &["tuple of 4", "tuple of 1"]);
    assert_eq!(values.usage().calls, 0);
    assert_eq!(ask_values(&mut *values, "echo-u8", &[Value::U8(9)]).await, Value::U8(9));
}

#[tokio::test]
async fn resources_live_as_long_as_their_handles() {
    let mut values = values().await;
    let new = "[constructor]accumulator";
    let sum = ask_values(&mut *values, new, &new_sum(40)).await;
    let other = ask_values(&mut *values, new, &new_sum(100)).await;
    assert_ne!(sum, other);
    assert_eq!(ask_values(&mut *values, "living", &[]).await, Value::U32(2));
    let add = "[method]accumulator.add";
    assert_eq!(ask_values(&mut *values, add, &[sum.clone(), Value::S64(2)]).await, Value::S64(42));
    assert_eq!(ask_values(&mut *values, "look", std::slice::from_ref(&sum)).await, Value::S64(42));
    let joined = ask_values(&mut *values, "[static]accumulator.join", &[sum.clone(), other.clone()]).await;
    assert_eq!(ask_values(&mut *values, "[method]accumulator.sum", &[joined]).await, Value::S64(142));
    assert_eq!(ask_values(&mut *values, "consume", std::slice::from_ref(&sum)).await, Value::S64(42));
    assert_eq!(ask_values(&mut *values, "living", &[]).await, Value::U32(2));
    let passed = ask_values(&mut *values, "pass-through", std::slice::from_ref(&other)).await;
    assert_ne!(passed, other, "a handle that was handed over came back");
    assert_eq!(ask_values(&mut *values, "look", std::slice::from_ref(&passed)).await, Value::S64(100));

    for stale in [sum, other, Value::Resource(ResourceHandle(0)), Value::Resource(ResourceHandle(u64::MAX))] {
        let error = refusal(&mut *values, "look", std::slice::from_ref(&stale)).await;
        assert!(error.to_string().contains("a resource of this instance"), "{error}");
    }
    refusal(&mut *values, "look", &[Value::U32(1)]).await;
}

#[tokio::test]
async fn a_call_that_is_refused_takes_no_resource() {
    let mut values = values().await;
    let sum = ask_values(&mut *values, "[constructor]accumulator", &new_sum(7)).await;
    refusal(&mut *values, "consume", &[sum.clone(), Value::U8(1)]).await;
    assert_eq!(ask_values(&mut *values, "consume", &[sum]).await, Value::S64(7));
}

#[tokio::test]
async fn handles_of_another_instance_are_foreign() {
    let (mut first, mut second) = (values().await, values().await);
    let sum = ask_values(&mut *first, "[constructor]accumulator", &new_sum(1)).await;
    let own = ask_values(&mut *second, "[constructor]accumulator", &new_sum(2)).await;
    assert_ne!(sum, own);
    refusal(&mut *second, "look", std::slice::from_ref(&sum)).await;
    refusal(&mut *second, "consume", std::slice::from_ref(&sum)).await;
    assert_eq!(ask_values(&mut *first, "look", &[sum]).await, Value::S64(1));
}

#[tokio::test]
async fn handles_that_the_host_keeps_count_against_the_limit() {
    let limits = ResourceLimits { handles: 20, ..ResourceLimits::default() };
    let mut values = values_with(&limits).await;
    for round in 0..100 {
        let export = format!("{VALUES}#[constructor]accumulator");
        if let Err(error) = call(&mut *values, &export, &new_sum(round)).await {
            expect_limit(&error, Limit::Handles);
            assert!(round > 5, "refused at {round}");
            return;
        }
    }
    panic!("a hundred handles live in an instance that may have twenty");
}

#[tokio::test]
async fn functions_of_the_embedder_are_called() {
    let mut values = values().await;
    assert_eq!(ask(&mut *values, "find color").await, "value of color");
    assert_eq!(ask(&mut *values, "add 40 2").await, "42");
}

/// Keeps the state it was given, from the version that it was given; fails for an empty state.
fn migrating() -> Vec<u8> {
    let code = r#"(enum "invalid-input" "not-found" "denied" "conflict" "unavailable" "internal")"#;
    wat(&format!(
        r#"(component
            (type $code {code}) (type $failure (record (field "code" $code) (field "message" string)))
            (core module $m
                (memory (export "memory") 200) (data (i32.const 64) "nothing to take over")
                (global $next (mut i32) (i32.const 4096)) (global $at (mut i32) (i32.const 0))
                (global $length (mut i32) (i32.const 0))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (global.get $next) (global.set $next (i32.add (global.get $next) (local.get 3))))
                (func (export "save") (result i32)
                    (i32.store (i32.const 4) (global.get $at)) (i32.store (i32.const 8) (global.get $length))
                    (i32.store8 (i32.const 0) (i32.const 0)) (i32.const 0))
                (func (export "restore") (param i32 i32 i32 i32) (result i32)
                    (global.set $at (local.get 2)) (global.set $length (local.get 3))
                    (i32.store8 (i32.const 0) (i32.eqz (local.get 3))) (i32.store8 (i32.const 4) (i32.const 3))
                    (i32.store (i32.const 8) (i32.const 64)) (i32.store (i32.const 12) (i32.const 20)) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func $save (result (result (list u8) (error $failure)))
                (canon lift (core func $i "save") (memory (core memory $i "memory"))))
            (func $restore (param "from-version" string) (param "state" (list u8)) (result (result (error $failure)))
                (canon lift (core func $i "restore") (memory (core memory $i "memory"))
                    (realloc (core func $i "realloc"))))
            (component $named
                (type $c {code}) (import "code" (type $code (eq $c)))
                (type $f (record (field "code" $code) (field "message" string)))
                (import "failure" (type $failure (eq $f)))
                (import "save" (func $save (result (result (list u8) (error $failure)))))
                (import "restore" (func $restore (param "from-version" string) (param "state" (list u8))
                    (result (result (error $failure)))))
                (type $c2 {code}) (export $code2 "failure-code" (type $c2))
                (type $f2 (record (field "code" $code2) (field "message" string)))
                (export $failed "failure" (type $f2))
                (export "save" (func $save) (func (result (result (list u8) (error $failed)))))
                (export "restore" (func $restore) (func (param "from-version" string) (param "state" (list u8))
                    (result (result (error $failed)))))
            )
            (instance $migration (instantiate $named
                (with "code" (type $code)) (with "failure" (type $failure))
                (with "save" (func $save)) (with "restore" (func $restore))))
            (export "airssys:core/migration@0.1.0" (instance $migration))
        )"#
    ))
}

#[tokio::test]
async fn large_states_migrate() {
    const SAVE: &str = "airssys:core/migration@0.1.0#save";
    const RESTORE: &str = "airssys:core/migration@0.1.0#restore";
    let mut instance = instance(&migrating()).await;
    let done = Some(Value::Result(Ok(None)));
    let state = Value::Bytes((0..8 << 20).map(|position: u32| position as u8).collect());
    assert_eq!(call(&mut *instance, RESTORE, &[text("1.0.0"), state.clone()]).await.unwrap(), done);
    assert!(call(&mut *instance, SAVE, &[]).await.unwrap() == Some(Value::Result(Ok(Some(Box::new(state))))));

    let failed = call(&mut *instance, RESTORE, &[text("1.0.0"), Value::Bytes(vec![])]).await.unwrap();
    let failure = Value::Record(vec![
        ("code".into(), Value::Enum("conflict".into())),
        ("message".into(), text("nothing to take over")),
    ]);
    assert_eq!(failed, Some(Value::Result(Err(Some(Box::new(failure))))));

    let too_large = [text("1.0.0"), Value::Bytes(vec![0; 17 << 20])];
    expect_limit(&call(&mut *instance, RESTORE, &too_large).await.unwrap_err(), Limit::Transfer);
    let mistyped = call(&mut *instance, RESTORE, &[Value::U8(1), Value::U8(2)]).await.unwrap_err();
    expect(&mistyped, ErrorKind::Serialization, None);
    assert!(mistyped.to_string().contains("parameter: from-version"), "{mistyped}");
    assert_eq!(instance.state(), ExecutionState::Ready);
}
