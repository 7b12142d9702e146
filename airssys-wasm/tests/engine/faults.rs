//! How guests end: the same typed fault every time, and an instance that takes no more calls.

use crate::support::*;
use airssys_wasm::core::component::ResourceLimits;
use airssys_wasm::core::error::{Blame, Detail, ErrorKind, Limit, TrapKind};
use airssys_wasm::core::runtime::{ExecutionState, Value};

async fn check_trap(what: &str, wasm: &[u8], arguments: &[Value], trap: TrapKind) {
    let mut instance = instance(wasm).await;
    let error = call(&mut *instance, "run", arguments).await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Trap(trap)), "{what}: {}", explain(&error));
    assert_eq!((error.kind(), instance.state()), (ErrorKind::ComponentTrapped, ExecutionState::Poisoned));
    let again = call(&mut *instance, "run", arguments).await.unwrap_err();
    expect(&again, ErrorKind::Actor, None);
    assert!(again.to_string().contains(&error.message()), "{again} does not say {}", error.message());
}

#[tokio::test]
async fn every_trap_of_a_core_module_has_its_kind() {
    for (core, trap) in [
        ("unreachable", TrapKind::Unreachable),
        ("(drop (i32.load (i32.const 65536)))", TrapKind::MemoryOutOfBounds),
        ("(memory.fill (i32.const 65536) (i32.const 0) (i32.const 1))", TrapKind::MemoryOutOfBounds),
        ("(drop (table.get $t (i32.const 9)))", TrapKind::TableOutOfBounds),
        ("(call_indirect $t (i32.const 9))", TrapKind::TableOutOfBounds),
        ("(call_indirect $t (i32.const 1))", TrapKind::IndirectCallToNull),
        ("(call_indirect $t (param i32) (i32.const 1) (i32.const 0))", TrapKind::IndirectCallSignature),
        ("(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))", TrapKind::IntegerOverflow),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", TrapKind::IntegerDivisionByZero),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", TrapKind::BadConversionToInteger),
        ("(drop (i32.trunc_f32_s (f32.const 1e30)))", TrapKind::IntegerOverflow),
        ("(call $recurse)", TrapKind::StackOverflow),
    ] {
        let wasm = running(&format!(
            r#"(memory 1) (table $t 2 funcref) (elem (i32.const 0) $recurse)
            (func $recurse (local i64 i64 i64) (call $recurse) (call $recurse))
            (func (export "run") {core})"#
        ));
        check_trap(core, &wasm, &[], trap).await;
    }
}

#[tokio::test]
async fn what_the_canonical_abi_refuses_is_an_invalid_value() {
    let list = r#"(param "x" (list u8))"#;
    for (what, core, parameters, result, trap) in [
        ("realloc beyond the memory", "(i32.const 65530)", list, "", TrapKind::InvalidValue),
        ("realloc traps", "unreachable", list, "", TrapKind::Unreachable),
        ("realloc unaligned", "(i32.const 1)", r#"(param "x" (list u32))"#, "", TrapKind::InvalidValue),
        ("string beyond the memory", "", "", "string 65536 1", TrapKind::InvalidValue),
        ("string of nearly all addresses", "", "", "string 16 -1", TrapKind::InvalidValue),
        ("list beyond the memory", "", "", "(list u64) 8 0x10000000", TrapKind::InvalidValue),
        ("unaligned list", "", "", "(list u32) 1 1", TrapKind::InvalidValue),
        ("text that is not UTF-8", "", "", "string 100 2", TrapKind::InvalidValue),
    ] {
        let (result, core_result, body) = match result.rsplitn(3, ' ').collect::<Vec<_>>()[..] {
            [length, pointer, kind] => (
                format!("(result {kind})"),
                "(result i32)",
                format!(
                    "(i32.store (i32.const 0) (i32.const {pointer})) (i32.store (i32.const 4) (i32.const {length})) (i32.const 0)"
                ),
            ),
            _ => (String::new(), "", String::new()),
        };
        let core_parameters = if parameters.is_empty() { "" } else { "(param i32 i32)" };
        let realloc = if core.is_empty() { "(i32.const 0)" } else { core };
        let wasm = wat(&format!(
            r#"(component
                (core module $m
                    (memory (export "memory") 1) (data (i32.const 100) "\ff\ff")
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) {realloc})
                    (func (export "run") {core_parameters} {core_result} {body})
                )
                (core instance $i (instantiate $m))
                (func (export "run") {parameters} {result}
                    (canon lift (core func $i "run") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            )"#
        ));
        let argument = match parameters {
            "" => vec![],
            bytes if bytes == list => vec![Value::Bytes(vec![1; 100])],
            _ => vec![Value::List(vec![Value::U32(1)])],
        };
        check_trap(what, &wasm, &argument, trap).await;
    }
}

#[tokio::test]
async fn flat_values_out_of_range_are_invalid() {
    for value in ["0xd800", "0xdfff", "0x110000", "-1"] {
        let wasm = wat(&format!(
            r#"(component
                (core module $m (func (export "run") (result i32) (i32.const {value})))
                (core instance $i (instantiate $m))
                (func (export "run") (result char) (canon lift (core func $i "run")))
            )"#
        ));
        check_trap(value, &wasm, &[], TrapKind::InvalidValue).await;
    }
    for kind in ["(option u8)", "(result u8)", r#"(variant (case "a" u8) (case "b"))"#] {
        let wasm = wat(&format!(
            r#"(component
                (type $t {kind}) (export $named "t" (type $t))
                (core module $m (memory (export "memory") 1) (data (i32.const 0) "\09\00")
                    (func (export "run") (result i32) (i32.const 0)))
                (core instance $i (instantiate $m))
                (func (export "run") (result $named) (canon lift (core func $i "run") (memory (core memory $i "memory"))))
            )"#
        ));
        check_trap(kind, &wasm, &[], TrapKind::InvalidValue).await;
    }
}

#[tokio::test]
async fn strings_between_components_are_checked() {
    // Two components in one: the adapter between them is made by the engine.
    let wasm = |pointer: i32, length: i32| {
        wat(&format!(
            r#"(component
                (component $taker
                    (core module $m (memory (export "memory") 1)
                        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
                        (func (export "take") (param i32 i32)))
                    (core instance $i (instantiate $m))
                    (func (export "take") (param "x" string)
                        (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
                )
                (instance $taker (instantiate $taker))
                (component $giver
                    (import "take" (func $take (param "x" string)))
                    (core module $memory (memory (export "memory") 1) (data (i32.const 8) "\ff\fe"))
                    (core instance $memory (instantiate $memory))
                    (core func $take (canon lower (func $take) (memory (core memory $memory "memory"))))
                    (core module $m (import "" "take" (func $take (param i32 i32)))
                        (func (export "run") (call $take (i32.const {pointer}) (i32.const {length}))))
                    (core instance $i (instantiate $m (with "" (instance (export "take" (func $take))))))
                    (func (export "run") (canon lift (core func $i "run")))
                )
                (instance $giver (instantiate $giver (with "take" (func $taker "take"))))
                (func (export "run") (alias export $giver "run"))
            )"#
        ))
    };
    check_trap("beyond the memory", &wasm(65_530, 100), &[], TrapKind::InvalidValue).await;
    check_trap("not UTF-8", &wasm(8, 2), &[], TrapKind::InvalidValue).await;
    let mut fine = instance(&wasm(0, 5)).await;
    run(&mut *fine, "run").await.unwrap();
}

#[tokio::test]
async fn handles_are_checked() {
    let resource = |body: &str| {
        wat(&format!(
            r#"(component
                (type $r (resource (rep i32))) (type $other (resource (rep i32)))
                (core func $new (canon resource.new $r)) (core func $drop (canon resource.drop $r))
                (core func $rep (canon resource.rep $r)) (core func $drop-other (canon resource.drop $other))
                (core module $m
                    (import "" "new" (func $new (param i32) (result i32)))
                    (import "" "drop" (func $drop (param i32))) (import "" "drop-other" (func $drop-other (param i32)))
                    (import "" "rep" (func $rep (param i32) (result i32)))
                    (func (export "run") (local $h i32) {body}))
                (core instance $i (instantiate $m (with "" (instance
                    (export "new" (func $new)) (export "drop" (func $drop)) (export "rep" (func $rep))
                    (export "drop-other" (func $drop-other))))))
                (func (export "run") (canon lift (core func $i "run")))
            )"#
        ))
    };
    for (what, body) in [
        ("forged", "(call $drop (i32.const 77))"),
        ("zero", "(call $drop (i32.const 0))"),
        ("negative", "(call $drop (i32.const -1))"),
        (
            "stale",
            "(local.set $h (call $new (i32.const 1))) (call $drop (local.get $h)) (call $drop (local.get $h))",
        ),
        ("of another type", "(call $drop-other (call $new (i32.const 1)))"),
        ("forged, looked at", "(drop (call $rep (i32.const 5)))"),
    ] {
        check_trap(what, &resource(body), &[], TrapKind::InvalidHandle).await;
    }
    let mut fine = instance(&resource("(call $drop (call $new (i32.const 1)))")).await;
    run(&mut *fine, "run").await.unwrap();
}

#[tokio::test]
async fn a_component_cannot_be_entered_by_itself_nor_left_too_late() {
    // `run` calls, through an inner component, back into the instance that is running.
    let post_return = wat(r#"(component
            (import "airssys:core/logging@0.1.0" (instance $logging
                (type $l (enum "trace" "debug" "info" "warn" "error"))
                (export "level" (type $level (eq $l)))
                (export "enabled" (func (param "level" $level) (result bool)))
            ))
            (core func $enabled (canon lower (func $logging "enabled")))
            (core module $m (import "" "enabled" (func $enabled (param i32) (result i32)))
                (func (export "run")) (func (export "after") (drop (call $enabled (i32.const 0)))))
            (core instance $i (instantiate $m (with "" (instance (export "enabled" (func $enabled))))))
            (func (export "run") (canon lift (core func $i "run") (post-return (core func $i "after"))))
        )"#);
    check_trap("a host call in post-return", &post_return, &[], TrapKind::CannotEnter).await;
}

#[tokio::test]
async fn guests_made_by_a_toolchain_trap_alike() {
    for (attack, trap) in [
        ("panic", TrapKind::Unreachable),
        ("unreachable", TrapKind::Unreachable),
        ("out-of-bounds", TrapKind::MemoryOutOfBounds),
        ("divide", TrapKind::IntegerDivisionByZero),
        ("recurse", TrapKind::StackOverflow),
    ] {
        let mut hostile = instance(&guest("hostile")).await;
        let error = execute(&mut *hostile, attack).await.unwrap_err();
        expect_trap(&error, trap);
        assert_eq!(error.blame(), Blame::Guest);
        let again = execute(&mut *hostile, "ok").await.unwrap_err();
        expect(&again, ErrorKind::Actor, None);
    }
}

#[tokio::test]
async fn where_a_guest_trapped_is_shown() {
    let mut instance = instance(&running(
        r#"(func $inner unreachable) (func $middle (call $inner)) (func (export "run") (call $middle))"#,
    ))
    .await;
    let error = run(&mut *instance, "run").await.unwrap_err();
    let frames = error.context().find(|(name, _)| *name == "frames").unwrap().1;
    // Wasmer tells the innermost function alone.
    let all = engine().profile().name == "wasmtime";
    assert!(if all { frames.starts_with("inner <- middle <- ") } else { frames == "inner" }, "{frames}");
}

#[tokio::test]
async fn names_of_functions_are_escaped() {
    let mut instance = instance(&running(
        r#"(func $"a\1b[31m\0a" unreachable) (func (export "run") (call $"a\1b[31m\0a"))"#,
    ))
    .await;
    let error = run(&mut *instance, "run").await.unwrap_err();
    assert!(!error.to_string().contains(['\u{1b}', '\n']), "{error:?}");
}

#[tokio::test]
async fn a_service_that_panics_ends_the_guest_and_nothing_else() {
    for (name, payload) in [("echo", "5"), ("counter", "get"), ("relay", "send acme/x y")] {
        let services = Services::new(Mood::Panics);
        let engine = engine();
        let limits = ResourceLimits::default();
        let mut instance = instance_of(&engine, &guest(name), &limits, &services).await;
        let mut input = envelope(payload.into());
        if name == "echo" {
            input.body.content_type = Some("application/x-calls".parse().unwrap());
        }
        let input = airssys_wasm::core::component::ComponentInput::Message(input);
        let error = instance.execute(input, budget()).await.unwrap_err();
        expect_trap(&error, TrapKind::HostFault);
        assert_eq!(error.blame(), Blame::Host);
        assert!(error.to_string().contains("the service panics as asked"), "{error}");
        assert_eq!(instance.state(), ExecutionState::Poisoned);
        let mut next = instance_of(&engine, &guest("greeter"), &limits, &services).await;
        assert_eq!(ask(&mut *next, "world").await, "Hello, world!");
    }
}

#[tokio::test]
async fn the_error_of_a_service_comes_out_as_it_is() {
    for (name, payload) in [("counter", "get"), ("relay", "publish a.b c")] {
        let mut instance = instance_with(&guest(name), &ResourceLimits::default(), Mood::Fails).await;
        let error = execute(&mut *instance, payload).await.unwrap_err();
        expect(&error, ErrorKind::ResourceLimitExceeded, Some(Detail::Limit(Limit::HostCalls)));
        assert_eq!(error.to_string(), {
            let original = airssys_wasm::core::error::WasmError::limited("service", Limit::HostCalls);
            original.with("why", "as asked").to_string()
        });
        assert_eq!(instance.state(), ExecutionState::Poisoned);
    }
}

#[tokio::test]
async fn ten_thousand_traps_leave_nothing_behind() {
    let engine = engine();
    let services = Services::new(Mood::Well);
    let loaded = load(&engine, &running(r#"(memory 1) (func (export "run") unreachable)"#)).await;
    let limits = ResourceLimits::default();
    for _ in 0..10_000 {
        let mut instance = loaded.instantiate(&limits, services.host(), budget()).await.unwrap();
        expect_trap(&run(&mut *instance, "run").await.unwrap_err(), TrapKind::Unreachable);
    }
}
