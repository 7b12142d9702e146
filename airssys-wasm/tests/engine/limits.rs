//! Bounds: each is met at its number, and named when it is passed.

use std::num::NonZeroU64;

use crate::support::*;
use airssys_wasm::core::component::{ByteSize, ResourceLimits};
use airssys_wasm::core::error::{Detail, ErrorKind, Limit, TrapKind, WasmError};
use airssys_wasm::core::runtime::{
    CallBudget, Component, ComponentHandle, ExecutionState, LoadOptions, Metering, Value,
};

const PAGE: u64 = 64 << 10;

fn pages(pages: u64) -> ResourceLimits {
    ResourceLimits { memory: ByteSize::bytes(pages * PAGE), ..ResourceLimits::default() }
}

async fn refused(wasm: &[u8], limits: &ResourceLimits) -> WasmError {
    let loaded = load(&engine(), wasm).await;
    loaded.instantiate(limits, Services::new(Mood::Well).host(), budget()).await.map(|_| ()).unwrap_err()
}

/// Two memories and two tables in two core instances, each with functions that grow it.
fn twins() -> Vec<u8> {
    let module = |name: &str| {
        format!(
            r#"(core module ${name} (memory 1) (table 4 funcref)
                (func (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
                (func (export "table") (param i32) (result i32) (table.grow (ref.null func) (local.get 0))))
            (core instance ${name} (instantiate ${name}))
            (func (export "memory-{name}") (param "x" u32) (result s32) (canon lift (core func ${name} "memory")))
            (func (export "table-{name}") (param "x" u32) (result s32) (canon lift (core func ${name} "table")))"#
        )
    };
    wat(&format!("(component {} {})", module("a"), module("b")))
}

async fn grow(instance: &mut dyn Component, export: &str, by: u32) -> i32 {
    match call(instance, export, &[Value::U32(by)]).await.unwrap() {
        Some(Value::S32(was)) => was,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn memory_is_limited_over_all_memories() {
    let mut twins = instance_with(&twins(), &pages(10), Mood::Well).await;
    assert_eq!(twins.usage().memory_bytes, 2 * PAGE);
    assert_eq!(grow(&mut *twins, "memory-a", 5).await, 1);
    assert_eq!(grow(&mut *twins, "memory-b", 4).await, -1);
    assert_eq!(grow(&mut *twins, "memory-b", 3).await, 1);
    assert_eq!(grow(&mut *twins, "memory-a", 1).await, -1);
    assert_eq!(grow(&mut *twins, "memory-a", u32::MAX).await, -1);
    let usage = twins.usage();
    assert_eq!((usage.memory_bytes, usage.refused_growth), (10 * PAGE, 3));
    assert_eq!(twins.state(), ExecutionState::Ready);
}

#[tokio::test]
async fn tables_are_limited_over_all_tables() {
    let limits = ResourceLimits { table_elements: 20, ..ResourceLimits::default() };
    let mut twins = instance_with(&twins(), &limits, Mood::Well).await;
    assert_eq!(grow(&mut *twins, "table-a", 8).await, 4);
    assert_eq!(grow(&mut *twins, "table-b", 5).await, -1);
    assert_eq!(grow(&mut *twins, "table-b", 4).await, 4);
    assert_eq!(grow(&mut *twins, "table-a", 1).await, -1);
    assert_eq!(grow(&mut *twins, "table-a", u32::MAX).await, -1);
    assert_eq!((twins.usage().table_elements, twins.usage().refused_growth), (20, 3));
}

#[tokio::test]
async fn a_memory_grows_to_the_end_where_it_may() {
    let mut twins =
        instance_with(&twins(), &ResourceLimits { memory: ByteSize::MAX, ..pages(0) }, Mood::Well).await;
    assert_eq!(grow(&mut *twins, "memory-a", 65_535).await, 1);
    assert_eq!(twins.usage().memory_bytes, (4 << 30) + PAGE);
    assert_eq!(grow(&mut *twins, "memory-a", 1).await, -1);
}

#[tokio::test]
async fn what_is_declared_in_excess_is_refused_at_once() {
    let few_tables = ResourceLimits { table_elements: 10, ..ResourceLimits::default() };
    let few_instances = ResourceLimits { instances: 3, ..ResourceLimits::default() };
    let many = "(core instance (instantiate $m))".repeat(4);
    for (what, core, limits, limit) in [
        (
            "one memory",
            "(core module $m (memory 11)) (core instance (instantiate $m))".into(),
            pages(10),
            Limit::Memory,
        ),
        (
            "the largest",
            "(core module $m (memory 65536)) (core instance (instantiate $m))".into(),
            pages(10),
            Limit::Memory,
        ),
        ("many memories", format!("(core module $m (memory 3)) {many}"), pages(10), Limit::Memory),
        (
            "several in one",
            "(core module $m (memory 6) (memory 5)) (core instance (instantiate $m))".into(),
            pages(10),
            Limit::Memory,
        ),
        (
            "a table",
            "(core module $m (table 11 funcref)) (core instance (instantiate $m))".into(),
            few_tables.clone(),
            Limit::TableElements,
        ),
        (
            "the largest table",
            "(core module $m (table 0xffffffff funcref)) (core instance (instantiate $m))".into(),
            few_tables.clone(),
            Limit::TableElements,
        ),
        (
            "many tables",
            format!("(core module $m (table 3 funcref)) {many}"),
            few_tables,
            Limit::TableElements,
        ),
        ("instances", format!("(core module $m) {many}"), few_instances.clone(), Limit::Instances),
        (
            "memories",
            "(core module $m (memory 0) (memory 0) (memory 0) (memory 0)) (core instance (instantiate $m))"
                .into(),
            few_instances.clone(),
            Limit::Instances,
        ),
        (
            "tables",
            format!("(core module $m {}) (core instance (instantiate $m))", "(table 0 funcref)".repeat(4)),
            few_instances,
            Limit::Instances,
        ),
    ] {
        let error = refused(&wat(&format!("(component {core})")), &limits).await;
        assert_eq!(error.detail(), Some(Detail::Limit(limit)), "{what}: {}", explain(&error));
    }
}

#[tokio::test]
async fn nested_instances_are_counted() {
    let mut nested = String::from("(component $c0 (core module $m) (core instance (instantiate $m)))");
    for level in 1..=4 {
        let inner = level - 1;
        nested = format!(
            "(component $c{level} {nested} {})",
            format!("(instance (instantiate $c{inner}))").repeat(10)
        );
    }
    let wasm = wat(&nested.replacen("$c4", "", 1));
    expect_limit(&refused(&wasm, &ResourceLimits::default()).await, Limit::Instances);
}

#[tokio::test]
async fn a_guest_that_dies_of_a_refused_allocation_met_its_limit() {
    let limits = ResourceLimits { memory: ByteSize::mib(8), ..ResourceLimits::default() };
    let mut hostile = instance_with(&guest("hostile"), &limits, Mood::Well).await;
    let pages: u64 = ask(&mut *hostile, "grow").await.parse().unwrap();
    assert!(pages > 0);
    assert_eq!(hostile.usage().memory_bytes, 8 << 20);
    assert_eq!(ask(&mut *hostile, "ok").await, "ok");
    // A trap of its own, in a call without a refusal, is what it is.
    let own = execute(&mut *hostile, "unreachable").await.unwrap_err();
    expect_trap(&own, TrapKind::Unreachable);

    let mut hostile = instance_with(&guest("hostile"), &limits, Mood::Well).await;
    let error = execute(&mut *hostile, "grow-and-die").await.unwrap_err();
    expect_limit(&error, Limit::Memory);
    let source = std::error::Error::source(&error).unwrap().downcast_ref::<WasmError>().unwrap();
    expect_trap(source, TrapKind::Unreachable);
    assert_eq!(hostile.state(), ExecutionState::Poisoned);
}

#[tokio::test]
async fn handles_are_limited() {
    let wasm = wat(r#"(component
            (type $r (resource (rep i32))) (core func $new (canon resource.new $r))
            (core module $m (import "" "new" (func $new (param i32) (result i32)))
                (func (export "run") (param $n i32)
                    (loop (drop (call $new (i32.const 1)))
                        (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
            (core instance $i (instantiate $m (with "" (instance (export "new" (func $new))))))
            (func (export "run") (param "n" u32) (canon lift (core func $i "run")))
        )"#);
    let limits = ResourceLimits { handles: 50, ..ResourceLimits::default() };
    let mut instance = instance_with(&wasm, &limits, Mood::Well).await;
    call(&mut *instance, "run", &[Value::U32(50)]).await.unwrap();
    expect_limit(&call(&mut *instance, "run", &[Value::U32(1)]).await.unwrap_err(), Limit::Handles);
    assert_eq!(instance.state(), ExecutionState::Poisoned);
}

#[tokio::test]
async fn the_stack_is_limited_and_a_host_call_fits_behind_it() {
    let recurse = |payload: &str| {
        calling_the_host(&format!(
            r#"(import "host" "enabled" (func $enabled (param i32) (result i32)))
            (func $dive (param i32) (local i64 i64)
                (drop (call $enabled (i32.const 2)))
                (if (local.get 0) (then (call $dive (i32.sub (local.get 0) (i32.const 1)))))
                (drop (call $enabled (i32.const 2))))
            (func (export "run") (call $dive (i32.const {payload})))"#
        ))
    };
    let mut shallow = instance(&recurse("5000")).await;
    run(&mut *shallow, "run").await.unwrap();
    let mut endless = instance(&recurse("-1")).await;
    expect_trap(&run(&mut *endless, "run").await.unwrap_err(), TrapKind::StackOverflow);

    let small = Setup { max_stack: Some(ByteSize::kib(64)), ..Setup::default() }.engine().unwrap();
    let services = Services::new(Mood::Well);
    let mut smaller = instance_of(&small, &recurse("5000"), &ResourceLimits::default(), &services).await;
    expect_trap(&run(&mut *smaller, "run").await.unwrap_err(), TrapKind::StackOverflow);
}

#[tokio::test]
async fn large_frames_overflow_and_do_not_abort() {
    let locals = "(local i64)".repeat(20_000);
    let mut instance = instance(&running(&format!(
        r#"(func $f {locals} (call $f) (local.set 7 (i64.const 1)) (call $f)) (func (export "run") (call $f))"#
    )))
    .await;
    expect_trap(&run(&mut *instance, "run").await.unwrap_err(), TrapKind::StackOverflow);
}

#[tokio::test]
async fn a_reply_of_the_allowed_size_arrives_and_no_larger_one() {
    let limits = ResourceLimits { reply: ByteSize::bytes(1000), ..ResourceLimits::default() };
    let mut hostile = instance_with(&guest("hostile"), &limits, Mood::Well).await;
    assert_eq!(ask(&mut *hostile, "giant-reply 1000").await.len(), 1000);
    expect_limit(&execute(&mut *hostile, "giant-reply 1001").await.unwrap_err(), Limit::Reply);
    assert_eq!(hostile.state(), ExecutionState::Poisoned);
    // So large that it may not even be handed over.
    let mut hostile = instance_with(&guest("hostile"), &limits, Mood::Well).await;
    expect_limit(&execute(&mut *hostile, "giant-reply 30000000").await.unwrap_err(), Limit::Reply);
}

#[tokio::test]
async fn what_a_guest_hands_over_is_limited() {
    let limits = ResourceLimits { transfer: ByteSize::kib(256), ..ResourceLimits::default() };
    for attack in ["giant-log 300000", "big-value 300000", "send-flood acme/x 1 300000"] {
        let services = Services::new(Mood::Well);
        let mut hostile = instance_of(&engine(), &guest("hostile"), &limits, &services).await;
        expect_limit(&execute(&mut *hostile, attack).await.unwrap_err(), Limit::Transfer);
        assert_eq!(hostile.state(), ExecutionState::Poisoned);
        assert!(
            services.texts().is_empty() && services.sent.lock().unwrap().is_empty(),
            "{attack} was served"
        );
    }
    let mut hostile = instance_with(&guest("hostile"), &limits, Mood::Well).await;
    ask(&mut *hostile, "giant-log 200000").await;
}

#[tokio::test]
async fn what_a_service_hands_over_is_limited() {
    let limits = ResourceLimits { transfer: ByteSize::kib(256), ..ResourceLimits::default() };
    let services = Services::new(Mood::Well);
    services.stored.lock().unwrap().insert(b"count".to_vec(), vec![b'1'; 300_000]);
    let mut counter = instance_of(&engine(), &guest("counter"), &limits, &services).await;
    expect_limit(&execute(&mut *counter, "get").await.unwrap_err(), Limit::Transfer);
}

async fn metered(wasm: &[u8]) -> ComponentHandle {
    let options = LoadOptions { metering: Metering::Fuel, ..LoadOptions::default() };
    engine().load(wasm, options).await.unwrap()
}

fn fuel(fuel: u64) -> CallBudget {
    CallBudget { fuel: NonZeroU64::new(fuel), ..budget() }
}

#[tokio::test]
async fn fuel_is_counted_the_same_each_time_and_ends_a_call_when_it_is_used_up() {
    let loaded = metered(&guest("hostile")).await;
    let make = || async {
        let services = Services::new(Mood::Well);
        loaded.instantiate(&ResourceLimits::default(), services.host(), budget()).await.unwrap()
    };
    let mut used = Vec::new();
    for _ in 0..3 {
        let mut instance = make().await;
        let before = instance.usage().fuel;
        instance.execute(message("recurse 100"), fuel(1_000_000)).await.unwrap();
        used.push(instance.usage().fuel - before);
    }
    assert!(used[0] > 500 && used.iter().all(|fuel| *fuel == used[0]), "{used:?}");

    let mut exact = make().await;
    exact.execute(message("recurse 100"), fuel(used[0])).await.unwrap();
    let mut short = make().await;
    let error = short.execute(message("recurse 100"), fuel(used[0] / 2)).await.unwrap_err();
    expect_limit(&error, Limit::Fuel);
    assert_eq!(short.state(), ExecutionState::Poisoned);

    let mut looping = make().await;
    let before = looping.usage().fuel;
    expect_limit(&looping.execute(message("loop"), fuel(1_000_000)).await.unwrap_err(), Limit::Fuel);
    assert!(looping.usage().fuel - before >= 1_000_000);

    let mut generous = make().await;
    generous.execute(message("recurse 100"), budget()).await.unwrap();
    generous.execute(message("recurse 100"), fuel(u64::MAX)).await.unwrap();
}

#[tokio::test]
async fn fuel_for_code_that_does_not_count_is_refused() {
    let mut hostile = instance(&guest("hostile")).await;
    let error = hostile.execute(message("ok"), fuel(1)).await.unwrap_err();
    expect(&error, ErrorKind::InvalidConfiguration, None);
    assert_eq!(hostile.state(), ExecutionState::Ready);
    assert_eq!(ask(&mut *hostile, "ok").await, "ok");
    let limits = ResourceLimits { fuel: NonZeroU64::new(7), ..ResourceLimits::default() };
    expect(&refused(&guest("hostile"), &limits).await, ErrorKind::InvalidConfiguration, None);
    let loaded = load(&engine(), &guest("hostile")).await;
    let made =
        loaded.instantiate(&ResourceLimits::default(), Services::new(Mood::Well).host(), fuel(7)).await;
    expect(&made.map(|_| ()).unwrap_err(), ErrorKind::InvalidConfiguration, None);
}

#[tokio::test]
async fn start_functions_use_fuel() {
    let loaded = metered(&wat(
        "(component (core module $m (func $f (loop (br 0))) (start $f)) (core instance (instantiate $m)))",
    ))
    .await;
    let made =
        loaded.instantiate(&ResourceLimits::default(), Services::new(Mood::Well).host(), fuel(10_000)).await;
    expect_limit(&made.map(|_| ()).unwrap_err(), Limit::Fuel);
}
