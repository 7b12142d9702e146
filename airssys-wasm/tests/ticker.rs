//! The thread that keeps the time. Alone in its process: it counts threads.

#![cfg(all(target_os = "linux", feature = "wasmtime"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "engine/support.rs"]
mod support;

use std::fs;
use std::time::{Duration, Instant};

use airssys_wasm::core::component::ResourceLimits;
use airssys_wasm::core::error::ErrorKind;
use airssys_wasm::core::runtime::{LoadOptions, Metering};
use support::*;

fn tickers() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("airssys-wasm-ti")).count()
}

async fn wait_for(count: usize) {
    let patience = Instant::now() + PATIENCE;
    while tickers() != count {
        assert!(Instant::now() < patience, "{} threads keep the time, and {count} should", tickers());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn one_thread_lives_as_long_as_the_last_instance() {
    assert_eq!(tickers(), 0);
    let engine = engine();
    let metered = LoadOptions { metering: Metering::Fuel, ..LoadOptions::default() };
    let hostile = engine.load(&guest("hostile"), metered).await.unwrap();
    let plain = load(&engine, &guest("hostile")).await;
    wait_for(1).await;
    let services = Services::new(Mood::Well);
    let limits = ResourceLimits::default();
    drop((engine, plain));
    let mut instance = hostile.instantiate(&limits, services.host(), budget()).await.unwrap();
    drop(hostile);
    wait_for(1).await;
    // Long enough for it to fall asleep.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let ended = instance.execute(message("loop"), within(Duration::from_millis(20))).await;
    expect(&ended.unwrap_err(), ErrorKind::ExecutionTimeout, None);
    drop(instance);
    wait_for(0).await;
}
