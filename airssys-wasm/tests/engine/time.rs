//! Deadlines, cancellation, and neighbours.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::support::*;
use airssys_wasm::core::component::{ComponentConfig, ComponentInput, ResourceLimits};
use airssys_wasm::core::error::ErrorKind;
use airssys_wasm::core::messaging::Body;
use airssys_wasm::core::runtime::{CallBudget, ExecutionState, Value};

/// A deadline that is soon, and how late its error may be on a machine that does other things.
const SOON: Duration = Duration::from_millis(30);
const LATE: Duration = Duration::from_secs(5);

#[track_caller]
fn expect_timeout<T: std::fmt::Debug>(
    outcome: airssys_wasm::core::error::Result<T>,
    started: Instant,
    state: ExecutionState,
) {
    expect(&outcome.unwrap_err(), ErrorKind::ExecutionTimeout, None);
    assert!(started.elapsed() >= SOON && started.elapsed() < LATE, "{:?}", started.elapsed());
    assert_eq!(state, ExecutionState::Poisoned);
}

#[tokio::test]
async fn a_busy_guest_is_ended_wherever_it_computes() {
    for attack in ["loop", "loop-in-pieces", "flood"] {
        let mut hostile = instance(&guest("hostile")).await;
        let started = Instant::now();
        let outcome = hostile.execute(message(attack), within(SOON)).await;
        expect_timeout(outcome, started, hostile.state());
        let again = hostile.execute(message("ok"), budget()).await.unwrap_err();
        expect(&again, ErrorKind::Actor, None);
    }
    for handler in ["init", "shutdown"] {
        let mut hostile = instance(&guest("hostile")).await;
        let started = Instant::now();
        let config = ComponentConfig::new().with(handler, "loop");
        let outcome = match handler {
            "init" => hostile.init(&config, within(SOON)).await,
            _ => {
                hostile.init(&config, budget()).await.unwrap();
                hostile.shutdown(within(SOON)).await
            }
        };
        expect_timeout(outcome, started, hostile.state());
    }
}

#[tokio::test]
async fn a_busy_start_function_is_ended() {
    let text =
        "(component (core module $m (func $f (loop (br 0))) (start $f)) (core instance (instantiate $m)))";
    let loaded = load(&engine(), &wat(text)).await;
    let started = Instant::now();
    let made =
        loaded.instantiate(&ResourceLimits::default(), Services::new(Mood::Well).host(), within(SOON)).await;
    expect_timeout(made, started, ExecutionState::Poisoned);
}

#[tokio::test]
async fn the_functions_of_the_abi_are_covered() {
    let wasm = wat(r#"(component
            (type $r (resource (rep i32) ))
            (core module $m (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (loop (br 0)) (i32.const 0))
                (func (export "take") (param i32 i32))
                (func (export "give"))
                (func (export "after") (loop (br 0))))
            (core instance $i (instantiate $m))
            (func (export "take") (param "x" (list u8))
                (canon lift (core func $i "take") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (func (export "give") (canon lift (core func $i "give") (post-return (core func $i "after"))))
        )"#);
    for (export, arguments) in [("take", vec![Value::Bytes(vec![1])]), ("give", vec![])] {
        let mut instance = instance(&wasm).await;
        let started = Instant::now();
        let outcome = instance.call(&export.parse().unwrap(), &arguments, within(SOON)).await;
        expect_timeout(outcome, started, instance.state());
    }
}

#[tokio::test]
async fn a_guest_that_waits_for_the_host_is_ended() {
    for (name, payload) in [("counter", "get"), ("relay", "ask")] {
        let mut instance = instance_with(&guest(name), &ResourceLimits::default(), Mood::NeverAnswers).await;
        instance.init(&ComponentConfig::new().with("target", "acme/other"), budget()).await.unwrap();
        let started = Instant::now();
        let outcome = instance.execute(message(payload), within(SOON)).await;
        expect_timeout(outcome, started, instance.state());
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_not_the_guests_fault() {
    let engine = engine();
    let services = Services::new(Mood::Well);
    let loaded = load(&engine, &guest("counter")).await;
    let past = CallBudget { deadline: Some(Instant::now()), fuel: None };
    let limits = ResourceLimits::default();
    let made = loaded.instantiate(&limits, services.host(), past).await;
    expect(&made.map(|_| ()).unwrap_err(), ErrorKind::ExecutionTimeout, None);
    let mut counter = loaded.instantiate(&limits, services.host(), budget()).await.unwrap();
    for _ in 0..1_000 {
        let outcome = counter.execute(message("increment"), past).await;
        expect(&outcome.unwrap_err(), ErrorKind::ExecutionTimeout, None);
    }
    assert_eq!((counter.state(), counter.usage().calls), (ExecutionState::Ready, 0));
    assert_eq!(ask(&mut *counter, "increment").await, "1");
}

#[tokio::test]
async fn no_deadline_is_lost() {
    let engine = engine();
    let services = Services::new(Mood::Well);
    let loaded = load(&engine, &running(r#"(func (export "run") (loop (br 0)))"#)).await;
    let limits = ResourceLimits::default();
    let run = "run".parse().unwrap();
    for round in 0..10_000_u64 {
        let mut instance = loaded.instantiate(&limits, services.host(), CallBudget::UNBOUNDED).await.unwrap();
        let started = Instant::now();
        let deadline = Some(started + Duration::from_nanos(round % 50 * 100));
        let outcome = instance.call(&run, &[], CallBudget { deadline, fuel: None }).await;
        expect(&outcome.unwrap_err(), ErrorKind::ExecutionTimeout, None);
        assert!(started.elapsed() < LATE, "round {round} took {:?}", started.elapsed());
        if round % 1_000 == 999 {
            // Long enough for the thread that ticks to fall asleep.
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

#[tokio::test]
async fn a_call_ends_in_time_or_not_at_all() {
    // Short calls with short deadlines: each either answers or times out, and the next instance works.
    let engine = engine();
    let services = Services::new(Mood::Well);
    let loaded = load(&engine, &guest("echo")).await;
    let limits = ResourceLimits::default();
    let mut echo = loaded.instantiate(&limits, services.host(), budget()).await.unwrap();
    for round in 0..2_000 {
        let time = Duration::from_micros(round % 200);
        match echo.execute(message(vec![7; 4096]), within(time)).await {
            Ok(reply) => assert_eq!(reply.body.payload, vec![7; 4096]),
            Err(error) => {
                expect(&error, ErrorKind::ExecutionTimeout, None);
                if echo.state() == ExecutionState::Poisoned {
                    echo = loaded.instantiate(&limits, services.host(), budget()).await.unwrap();
                }
            }
        }
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_anywhere_ends_there() {
    let engine = engine();
    let services = Services::new(Mood::YieldsOften);
    let loaded = load(&engine, &guest("counter")).await;
    let limits = ResourceLimits::default();
    let mut polls = 0;
    for round in 0..200_u64 {
        let mut counter = loaded.instantiate(&limits, services.host(), budget()).await.unwrap();
        {
            let mut call = pin!(counter.execute(message("increment"), budget()));
            let mut finished = false;
            for _ in 0..=round % 45 {
                polls += 1;
                if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                    finished = true;
                    break;
                }
            }
            if finished {
                continue;
            }
        }
        assert_eq!(counter.state(), ExecutionState::Poisoned);
        let error = execute(&mut *counter, "get").await.unwrap_err();
        expect(&error, ErrorKind::Actor, None);
        assert!(error.to_string().contains("dropped"), "{error}");
    }
    assert!(polls > 1_000);
    let mut next = loaded.instantiate(&limits, services.host(), budget()).await.unwrap();
    ask(&mut *next, "get").await;
}

#[tokio::test]
async fn a_busy_guest_that_is_dropped_ends_there() {
    let engine = engine();
    let services = Services::new(Mood::Well);
    let loaded = load(&engine, &guest("hostile")).await;
    let limits = ResourceLimits::default();
    for round in 0..100_u64 {
        let mut hostile = loaded.instantiate(&limits, services.host(), budget()).await.unwrap();
        let attack = ["loop", "loop-in-pieces", "flood"][round as usize % 3];
        let stopped = tokio::time::timeout(
            Duration::from_micros(round * 73 % 4_000),
            hostile.execute(message(attack), budget()),
        )
        .await;
        assert!(stopped.is_err(), "{attack} ended");
        if hostile.usage().calls == 1 {
            assert_eq!(hostile.state(), ExecutionState::Poisoned);
        }
    }
    let mut next = loaded.instantiate(&limits, services.host(), budget()).await.unwrap();
    assert_eq!(ask(&mut *next, "ok").await, "ok");
}

#[tokio::test]
async fn instantiation_can_be_dropped() {
    let text = "(component (core module $m (memory 1) (func $f (loop (br 0))) (start $f)) (core instance (instantiate $m)))";
    let loaded = load(&engine(), &wat(text)).await;
    let services = Services::new(Mood::Well);
    // More often than the pool has slots.
    for _ in 0..100 {
        let limits = ResourceLimits::default();
        let making = loaded.instantiate(&limits, services.host(), budget());
        assert!(tokio::time::timeout(Duration::from_millis(3), making).await.is_err());
    }
    assert_eq!(Arc::strong_count(&services), 1);
}

#[test]
fn a_busy_guest_lets_its_neighbours_run_on_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut hostile = instance(&guest("hostile")).await;
        let mut greeter = instance(&guest("greeter")).await;
        let stop = Arc::new(AtomicBool::new(false));
        let ticks = Arc::new(AtomicU64::new(0));
        let counted = (Arc::clone(&stop), Arc::clone(&ticks));
        let timer = tokio::spawn(async move {
            while !counted.0.load(Ordering::Relaxed) {
                tokio::time::sleep(Duration::from_millis(5)).await;
                counted.1.fetch_add(1, Ordering::Relaxed);
            }
        });
        let busy =
            tokio::spawn(
                async move { hostile.execute(message("loop"), within(Duration::from_secs(3))).await },
            );
        let mut answered = 0;
        while !busy.is_finished() {
            let started = Instant::now();
            assert_eq!(ask(&mut *greeter, "x").await, "Hello, x!");
            assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
            answered += 1;
            tokio::task::yield_now().await;
        }
        expect(&busy.await.unwrap().unwrap_err(), ErrorKind::ExecutionTimeout, None);
        stop.store(true, Ordering::Relaxed);
        timer.await.unwrap();
        assert!(answered > 50, "a neighbour answered {answered} times in three seconds");
        assert!(ticks.load(Ordering::Relaxed) > 30, "a timer fired {ticks:?} times in three seconds");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_move_between_threads() {
    let engine = engine();
    let loaded = load(&engine, &guest("counter")).await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let loaded = loaded.clone();
            tokio::spawn(async move {
                let services = Services::new(Mood::YieldsOften);
                let limits = ResourceLimits::default();
                let mut counter = loaded.instantiate(&limits, services.host(), budget()).await.unwrap();
                for count in 1..=100 {
                    assert_eq!(ask(&mut *counter, "increment").await, count.to_string());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_reply_that_is_dropped_poisons_too() {
    let mut relay = instance_with(&guest("relay"), &ResourceLimits::default(), Mood::NeverAnswers).await;
    let request = airssys_wasm::core::messaging::MessageId::from_parts(1, 1);
    let input = ComponentInput::Reply { request, outcome: Ok(Body::new("x")) };
    {
        let mut call = pin!(relay.execute(input, budget()));
        assert!(matches!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
    }
    assert_eq!(relay.state(), ExecutionState::Poisoned);
}
