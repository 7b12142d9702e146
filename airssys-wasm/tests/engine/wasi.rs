//! WASI with nothing granted: what a guest prints is logged, and what it asks for beyond that is refused.

use crate::support::*;
use airssys_wasm::core::component::ResourceLimits;
use airssys_wasm::core::error::{Limit, TrapKind};
use airssys_wasm::core::runtime::{ExecutionState, LogLevel};

/// A component whose `run` has WASI at hand: `print` (to 1 or 2, a pointer, a length), `exit`, and `random`.
fn printing(body: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
            (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
            (alias export $error "error" (type $error-type))
            (import "wasi:io/streams@0.2.0" (instance $streams
                (export "output-stream" (type $stream (sub resource)))
                (alias outer 1 $error-type (type $e)) (export "error" (type $error (eq $e)))
                (type $failure (variant (case "last-operation-failed" (own $error)) (case "closed")))
                (export "stream-error" (type $stream-error (eq $failure)))
                (export "[method]output-stream.blocking-write-and-flush" (func
                    (param "self" (borrow $stream)) (param "contents" (list u8))
                    (result (result (error $stream-error)))))
            ))
            (alias export $streams "output-stream" (type $output))
            (import "wasi:cli/stdout@0.2.0" (instance $stdout
                (alias outer 1 $output (type $o)) (export "output-stream" (type $stream (eq $o)))
                (export "get-stdout" (func (result (own $stream))))
            ))
            (import "wasi:cli/stderr@0.2.0" (instance $stderr
                (alias outer 1 $output (type $o)) (export "output-stream" (type $stream (eq $o)))
                (export "get-stderr" (func (result (own $stream))))
            ))
            (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
            (import "wasi:random/random@0.2.0" (instance $random
                (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
            ))
            (core module $memory (memory (export "memory") 3)
                (data (i32.const 0) "one\ntwo\1b[2J\nrest")
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
            (core instance $memory (instantiate $memory))
            (alias core export $memory "memory" (core memory $mem))
            (alias core export $memory "realloc" (core func $realloc))
            (core func $stdout (canon lower (func $stdout "get-stdout")))
            (core func $stderr (canon lower (func $stderr "get-stderr")))
            (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
                (memory $mem) (realloc $realloc)))
            (core func $drop (canon resource.drop $output))
            (core func $exit (canon lower (func $exit "exit")))
            (core func $random (canon lower (func $random "get-random-bytes") (memory $mem) (realloc $realloc)))
            (core module $m
                (import "" "stdout" (func $stdout (result i32))) (import "" "stderr" (func $stderr (result i32)))
                (import "" "write" (func $write (param i32 i32 i32 i32))) (import "" "drop" (func $drop (param i32)))
                (import "" "exit" (func $exit (param i32))) (import "" "random" (func $random (param i64 i32)))
                (func $print (param $to i32) (param $at i32) (param $length i32) (local $stream i32)
                    (local.set $stream (if (result i32) (i32.eq (local.get $to) (i32.const 1))
                        (then (call $stdout)) (else (call $stderr))))
                    (call $write (local.get $stream) (local.get $at) (local.get $length) (i32.const 131072))
                    (call $drop (local.get $stream)))
                (func (export "run") {body}))
            (core instance $i (instantiate $m (with "" (instance
                (export "stdout" (func $stdout)) (export "stderr" (func $stderr)) (export "write" (func $write))
                (export "drop" (func $drop)) (export "exit" (func $exit)) (export "random" (func $random))))))
            (func (export "run") (canon lift (core func $i "run")))
        )"#
    ))
}

#[tokio::test]
async fn what_a_guest_prints_is_logged_line_by_line() {
    let services = Services::new(Mood::Well);
    let wasm = printing(
        r#"(call $print (i32.const 1) (i32.const 0) (i32.const 2)) (call $print (i32.const 2) (i32.const 4) (i32.const 8))
        (call $print (i32.const 1) (i32.const 2) (i32.const 14))"#,
    );
    let mut instance = instance_of(&engine(), &wasm, &ResourceLimits::default(), &services).await;
    run(&mut *instance, "run").await.unwrap();
    let lines = services.lines.lock().unwrap().clone();
    let lines: Vec<_> = lines.iter().map(|(level, text)| (*level, text.as_str())).collect();
    // `on`, then `e` and the end of a line; what has no end of line comes at the end of the call.
    let two = "two\\u{1b}[2J";
    assert_eq!(
        lines,
        [(LogLevel::Warn, two), (LogLevel::Info, "one"), (LogLevel::Info, two), (LogLevel::Info, "rest")]
    );
}

#[tokio::test]
async fn a_log_that_refuses_ends_the_guest_that_prints() {
    let wasm = printing("(call $print (i32.const 1) (i32.const 0) (i32.const 4))");
    let mut instance = instance_with(&wasm, &ResourceLimits::default(), Mood::Fails).await;
    expect_limit(&run(&mut *instance, "run").await.unwrap_err(), Limit::HostCalls);
    // At the end of the call, for what has no end of line.
    let wasm = printing("(call $print (i32.const 1) (i32.const 0) (i32.const 2))");
    let mut instance = instance_with(&wasm, &ResourceLimits::default(), Mood::Fails).await;
    expect_limit(&run(&mut *instance, "run").await.unwrap_err(), Limit::HostCalls);
    assert_eq!(instance.state(), ExecutionState::Poisoned);
    let mut instance = instance_with(&wasm, &ResourceLimits::default(), Mood::Panics).await;
    expect_trap(&run(&mut *instance, "run").await.unwrap_err(), TrapKind::HostFault);
}

#[tokio::test]
async fn a_component_cannot_exit() {
    let mut instance = instance(&printing("(call $exit (i32.const 0))")).await;
    let error = run(&mut *instance, "run").await.unwrap_err();
    expect_trap(&error, TrapKind::Other);
    assert!(error.to_string().contains("exit"), "{error}");
}

#[tokio::test]
async fn random_bytes_are_limited() {
    let mut few = instance(&printing("(call $random (i64.const 1000) (i32.const 131072))")).await;
    run(&mut *few, "run").await.unwrap();
    for many in ["-1", "10000000"] {
        let mut instance =
            instance(&printing(&format!("(call $random (i64.const {many}) (i32.const 131072))"))).await;
        expect_limit(&run(&mut *instance, "run").await.unwrap_err(), Limit::Transfer);
    }
}

#[tokio::test]
async fn streams_that_are_kept_count_as_handles() {
    let limits = ResourceLimits { handles: 20, ..ResourceLimits::default() };
    let mut instance =
        instance_with(&printing("(loop (drop (call $stdout)) (br 0))"), &limits, Mood::Well).await;
    expect_limit(&run(&mut *instance, "run").await.unwrap_err(), Limit::Handles);
}
