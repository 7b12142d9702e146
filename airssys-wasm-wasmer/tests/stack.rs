//! Guests that come to the end of their stack at a bad moment.

#![cfg(supported)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::time::{Duration, Instant};

use airssys_wasm_conformance::fakes::FakeHost;
use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::error::{Detail, TrapKind};
use airssys_wasm_core::runtime::{CallBudget, LoadOptions, RuntimeEngine, Value};
use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};

fn budget() -> CallBudget {
    CallBudget { deadline: Some(Instant::now() + Duration::from_secs(20)), fuel: None }
}

/// What Wasmer's library does on the guest's stack, it does where there is room for it, or not at all.
#[tokio::test]
async fn a_trap_of_the_library_needs_room() {
    let operators = [
        "(drop (table.get $t (i32.const 99)))",
        "(memory.fill (i32.const -1) (i32.const 0) (i32.const 9))",
        "(memory.copy (i32.const -1) (i32.const 0) (i32.const 9))",
        "(table.fill $t (i32.const 99) (ref.null func) (i32.const 1))",
    ];
    let engine = WasmerEngine::new(WasmerConfig::default()).unwrap();
    for operator in operators {
        let text = format!(
            r#"(component
                (core module $m
                    (table $t 1 funcref) (memory 1)
                    (func $down (export "down") (param i32)
                        (if (i32.eqz (local.get 0)) (then {operator}) (else (call $down (i32.sub (local.get 0) (i32.const 1)))))))
                (core instance $i (instantiate $m))
                (func (export "down") (param "depth" u32) (canon lift (core func $i "down"))))"#
        );
        let component = engine.load(&wat::parse_str(text).unwrap(), LoadOptions::default()).await.unwrap();
        let mut seen = HashSet::new();
        for depth in (0..40_000_u32).step_by(487) {
            let host = FakeHost::new("test/stack");
            let mut instance =
                component.instantiate(&ResourceLimits::default(), host.services(), budget()).await.unwrap();
            let ended =
                instance.call(&"down".parse().unwrap(), &[Value::U32(depth)], budget()).await.unwrap_err();
            let Some(Detail::Trap(kind)) = ended.detail() else { panic!("{operator} at {depth}: {ended}") };
            assert!(
                matches!(
                    kind,
                    TrapKind::StackOverflow | TrapKind::TableOutOfBounds | TrapKind::MemoryOutOfBounds
                ),
                "{operator} at {depth}: {ended}"
            );
            seen.insert(kind);
        }
        assert_eq!(seen.len(), 2, "{operator}: both ends were to be met, and {seen:?} were");
    }
}
