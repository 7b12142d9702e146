//! Functions that an embedder adds, and what becomes of a guest when they misbehave.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use crate::support::*;
use airssys_wasm::core::component::{ByteSize, ComponentId, ResourceLimits};
use airssys_wasm::core::error::{Blame, ErrorKind, Limit, Result, TrapKind, WasmError};
use airssys_wasm::core::interface::{WitFunction, WitType};
use airssys_wasm::core::runtime::{
    Component, ExecutionState, HostFunction, HostFunctionDefinition, LoadOptions, Value,
};
use async_trait::async_trait;

type Answer = fn(Vec<Value>) -> Result<Option<Value>>;

#[derive(Debug)]
struct Function {
    definition: HostFunctionDefinition,
    answer: Answer,
    waits: bool,
}

impl Function {
    fn new(result: Option<WitType>, answer: Answer) -> Self {
        Self { definition: definition(result), answer, waits: false }
    }
}

fn definition(result: Option<WitType>) -> HostFunctionDefinition {
    HostFunctionDefinition {
        interface: "acme:tools/tool@1.0.0".into(),
        function: WitFunction::new("work", [("input", WitType::bytes())], result),
        capability: None,
    }
}

#[async_trait]
impl HostFunction for Function {
    fn definition(&self) -> &HostFunctionDefinition {
        &self.definition
    }

    async fn call(&self, caller: &ComponentId, arguments: Vec<Value>) -> Result<Option<Value>> {
        assert_eq!(caller.as_str(), "acme/tested");
        if self.waits {
            pending::<()>().await;
        }
        (self.answer)(arguments)
    }
}

/// Hands its argument to the function of the embedder, and returns what it gets.
fn caller() -> Vec<u8> {
    wat(r#"(component
            (import "acme:tools/tool@1.0.0" (instance $tool
                (export "work" (func (param "input" (list u8)) (result (list u8))))
            ))
            (core module $memory
                (memory (export "memory") 40) (global $next (mut i32) (i32.const 1024))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (global.get $next) (global.set $next (i32.add (global.get $next) (local.get 3)))))
            (core instance $memory (instantiate $memory))
            (alias core export $memory "memory" (core memory $mem))
            (alias core export $memory "realloc" (core func $realloc))
            (core func $work (canon lower (func $tool "work") (memory $mem) (realloc $realloc)))
            (core module $m
                (import "" "work" (func $work (param i32 i32 i32)))
                (func (export "run") (param i32 i32) (result i32)
                    (call $work (local.get 0) (local.get 1) (i32.const 0)) (i32.const 0)))
            (core instance $i (instantiate $m (with "" (instance (export "work" (func $work))))))
            (func (export "run") (param "input" (list u8)) (result (list u8))
                (canon lift (core func $i "run") (memory $mem) (realloc $realloc)))
        )"#)
}

async fn instance_with_function(function: Function, limits: &ResourceLimits) -> Box<dyn Component> {
    let options =
        LoadOptions { extensions: vec![definition(Some(WitType::bytes()))], ..LoadOptions::default() };
    let loaded = engine().load(&caller(), options).await.unwrap();
    let function = Function { definition: definition(Some(WitType::bytes())), ..function };
    let services = Services::new(Mood::Well);
    loaded.instantiate(limits, services.host_with([Arc::new(function) as _]), budget()).await.unwrap()
}

async fn work(answer: Answer) -> (Result<Option<Value>>, ExecutionState) {
    let function = Function::new(None, answer);
    let mut instance = instance_with_function(function, &ResourceLimits::default()).await;
    let outcome = call(&mut *instance, "run", &[Value::Bytes(b"abc".to_vec())]).await;
    (outcome, instance.state())
}

#[tokio::test]
async fn bytes_go_both_ways() {
    let (outcome, state) = work(|mut arguments| match arguments.pop() {
        Some(Value::Bytes(mut bytes)) => {
            bytes.reverse();
            Ok(Some(Value::Bytes(bytes)))
        }
        other => panic!("{other:?}"),
    })
    .await;
    assert_eq!((outcome.unwrap(), state), (Some(Value::Bytes(b"cba".to_vec())), ExecutionState::Ready));
}

#[tokio::test]
async fn a_result_of_another_type_is_a_fault_of_the_host() {
    let wrong: [Answer; 4] = [
        |_| Ok(Some(Value::String("text".into()))),
        |_| Ok(Some(Value::List(vec![Value::U8(1)]))),
        |_| Ok(None),
        |_| Ok(Some(Value::Resource(airssys_wasm::core::runtime::ResourceHandle(1)))),
    ];
    for answer in wrong {
        let (outcome, state) = work(answer).await;
        let error = outcome.unwrap_err();
        expect_trap(&error, TrapKind::HostFault);
        assert_eq!((error.blame(), state), (Blame::Host, ExecutionState::Poisoned));
        assert!(error.to_string().contains("function: acme:tools/tool@1.0.0#work"), "{error}");
    }
}

#[tokio::test]
async fn a_panic_ends_the_call_and_is_named() {
    let (outcome, state) = work(|_| panic!("the tool broke")).await;
    let error = outcome.unwrap_err();
    expect_trap(&error, TrapKind::HostFault);
    assert_eq!(state, ExecutionState::Poisoned);
    let text = error.to_string();
    assert!(text.contains("the tool broke") && text.contains("acme:tools/tool@1.0.0#work"), "{text}");
}

#[tokio::test]
async fn an_error_is_the_outcome_of_the_call() {
    let (outcome, state) =
        work(|_| Err(WasmError::new(ErrorKind::CapabilityDenied, "tool").with("why", "no grant"))).await;
    let error = outcome.unwrap_err();
    expect(&error, ErrorKind::CapabilityDenied, None);
    assert_eq!(error.to_string(), "tool: the capability is not granted (why: no grant)");
    assert_eq!(state, ExecutionState::Poisoned);
}

#[tokio::test]
async fn one_that_never_answers_is_given_up_at_the_deadline() {
    let function = Function { waits: true, ..Function::new(None, |_| Ok(None)) };
    let mut instance = instance_with_function(function, &ResourceLimits::default()).await;
    let arguments = [Value::Bytes(vec![])];
    let outcome = instance.call(&"run".parse().unwrap(), &arguments, within(Duration::from_millis(30))).await;
    expect(&outcome.unwrap_err(), ErrorKind::ExecutionTimeout, None);
}

#[tokio::test]
async fn what_goes_through_is_limited() {
    let limits = ResourceLimits { transfer: ByteSize::kib(64), ..ResourceLimits::default() };
    let echo: Answer = |mut arguments| Ok(arguments.pop());
    let mut instance = instance_with_function(Function::new(None, echo), &limits).await;
    // Each takes 40 bytes of the host at most.
    let most = Value::Bytes(vec![1; (64 << 10) / 40]);
    assert_eq!(call(&mut *instance, "run", std::slice::from_ref(&most)).await.unwrap(), Some(most));
    let more: Answer = |_| Ok(Some(Value::Bytes(vec![1; (64 << 10) + 1])));
    let mut instance = instance_with_function(Function::new(None, more), &limits).await;
    let outcome = call(&mut *instance, "run", &[Value::Bytes(vec![])]).await;
    expect_limit(&outcome.unwrap_err(), Limit::Transfer);
    assert_eq!(instance.state(), ExecutionState::Poisoned);
}

#[tokio::test]
async fn others_than_those_it_was_loaded_with_are_refused() {
    let options =
        LoadOptions { extensions: vec![definition(Some(WitType::bytes()))], ..LoadOptions::default() };
    let loaded = engine().load(&caller(), options).await.unwrap();
    let same = || {
        Arc::new(Function {
            definition: definition(Some(WitType::bytes())),
            ..Function::new(None, |_| Ok(None))
        })
    };
    let other = || {
        Arc::new(Function { definition: definition(Some(WitType::U8)), ..Function::new(None, |_| Ok(None)) })
    };
    let given: [Vec<Arc<dyn HostFunction>>; 3] = [vec![], vec![other()], vec![same(), same()]];
    for functions in given {
        let services = Services::new(Mood::Well).host_with(functions);
        let made = loaded.instantiate(&ResourceLimits::default(), services, budget()).await;
        expect(&made.map(|_| ()).unwrap_err(), ErrorKind::InvalidConfiguration, None);
    }
}
