//! What this crate adds to bare Wasmtime: the same guest, the same calls, side by side.
//!
//! Ignored because it measures. Run it optimised: `cargo test --release -p airssys-wasm-wasmtime --test ratio -- --ignored
//! --nocapture`.

#![allow(clippy::print_stdout, reason = "the figures are its output")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::future::Future;
use std::hint::black_box;
use std::time::{Duration, Instant};

use airssys_wasm_core::component::{ComponentInput, ResourceLimits};
use airssys_wasm_core::messaging::Body;
use airssys_wasm_core::runtime::{CallBudget, CodeOrigin};
use airssys_wasm_wasmtime::{WasmtimeConfig, WasmtimeEngine};
use support::*;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

#[allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    unused_qualifications,
    clippy::all,
    reason = "generated code"
)]
#[allow(unsafe_code, reason = "generated code")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "guest",
        imports: {
            "airssys:core/messaging.request": async | trappable,
            "airssys:core/storage": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::airssys::core::{logging, messaging, storage, types};
use bindings::exports::airssys::core::component::Message;

/// The least a host can be.
struct Bare;

impl types::Host for Bare {}

impl logging::Host for Bare {
    fn log(&mut self, _: logging::Level, _: String) -> wasmtime::Result<()> {
        Ok(())
    }

    fn enabled(&mut self, level: logging::Level) -> wasmtime::Result<bool> {
        Ok(matches!(level, logging::Level::Info))
    }
}

type Sent<T> = wasmtime::Result<Result<T, messaging::MessagingError>>;

impl messaging::Host for Bare {
    fn send(&mut self, _: String, _: messaging::Body) -> Sent<messaging::MessageId> {
        wasmtime::bail!("not here")
    }

    async fn request(&mut self, _: String, _: messaging::Body, _: u32) -> Sent<messaging::Body> {
        wasmtime::bail!("not here")
    }

    fn request_async(&mut self, _: String, _: messaging::Body, _: u32) -> Sent<messaging::MessageId> {
        wasmtime::bail!("not here")
    }

    fn cancel(&mut self, _: messaging::MessageId) -> wasmtime::Result<bool> {
        Ok(false)
    }

    fn publish(&mut self, _: String, _: messaging::Body) -> Sent<messaging::MessageId> {
        wasmtime::bail!("not here")
    }

    fn subscribe(&mut self, _: String) -> Sent<()> {
        Ok(Ok(()))
    }

    fn unsubscribe(&mut self, _: String) -> Sent<bool> {
        Ok(Ok(false))
    }

    fn self_id(&mut self) -> wasmtime::Result<String> {
        Ok(String::new())
    }
}

type Stored<T> = wasmtime::Result<Result<T, storage::StorageError>>;

impl storage::Host for Bare {
    async fn get(&mut self, _: Vec<u8>) -> Stored<Option<Vec<u8>>> {
        Ok(Ok(None))
    }

    async fn set(&mut self, _: Vec<u8>, _: Vec<u8>) -> Stored<()> {
        Ok(Ok(()))
    }

    async fn delete(&mut self, _: Vec<u8>) -> Stored<bool> {
        Ok(Ok(false))
    }

    async fn exists(&mut self, _: Vec<u8>) -> Stored<bool> {
        Ok(Ok(false))
    }

    async fn list(&mut self, _: Vec<u8>, _: Option<Vec<u8>>, _: u32) -> Stored<storage::Page> {
        wasmtime::bail!("not here")
    }

    async fn compare_and_set(&mut self, _: Vec<u8>, _: storage::Comparison, _: Vec<u8>) -> Stored<bool> {
        Ok(Ok(false))
    }

    async fn usage(&mut self) -> Stored<storage::StorageUsage> {
        wasmtime::bail!("not here")
    }
}

fn bare_engine() -> Engine {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(1_000)
        .total_core_instances(4_000)
        .total_memories(1_000)
        .total_tables(2_000)
        .total_stacks(1_000)
        .linear_memory_keep_resident(128 << 10)
        .table_keep_resident(16 << 10);
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config).unwrap()
}

fn bare_message<'a>(payload: &'a [u8], content_type: Option<&'static str>) -> Message<'a> {
    types::Message {
        id: types::MessageId { high: 1, low: 2 },
        sender: types::Sender::Host,
        topic: None,
        correlation: None,
        body: types::BodyParam { content_type, payload },
        sent_at: 7,
        attempt: 1,
        trace: None,
    }
}

/// Times in nanoseconds, of many short rounds taken in turn: the least of each, and the middle of their ratios.
async fn compare<A, B>(
    name: &str,
    calls: u32,
    mut bare: impl AsyncFnMut() -> A,
    mut ours: impl AsyncFnMut() -> B,
) {
    async fn round<T>(calls: u32, call: &mut impl AsyncFnMut() -> T) -> f64 {
        let started = Instant::now();
        for _ in 0..calls {
            black_box(call().await);
        }
        started.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
    }
    let (mut least_bare, mut least_ours, mut ratios) = (f64::MAX, f64::MAX, Vec::new());
    for _ in 0..300 {
        let (bare, ours) = (round(calls, &mut bare).await, round(calls, &mut ours).await);
        least_bare = least_bare.min(bare);
        least_ours = least_ours.min(ours);
        ratios.push(ours / bare);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "{name:<24} bare {least_bare:>9.0} ns   ours {least_ours:>9.0} ns   least {:.2}   median {:.2}",
        least_ours / least_bare,
        ratios[ratios.len() / 2]
    );
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
#[ignore = "measures"]
fn ratios() {
    block_on(async {
        let wasm = guest("echo");
        let bare = bare_engine();
        let mut linker = Linker::<Bare>::new(&bare);
        bindings::Guest::add_to_linker::<_, HasSelf<Bare>>(&mut linker, |bare| bare).unwrap();
        let component = Component::new(&bare, &wasm).unwrap();
        let pre = linker.instantiate_pre(&component).unwrap();
        let exports = bindings::exports::airssys::core::component::GuestIndices::new(&pre).unwrap();
        let make = async || {
            let mut store = Store::new(&bare, Bare);
            store.set_epoch_deadline(u64::MAX / 2);
            let instance = pre.instantiate_async(&mut store).await.unwrap();
            let exports = exports.load(&mut store, &instance).unwrap();
            (store, exports)
        };

        let engine = WasmtimeEngine::new(WasmtimeConfig::default()).unwrap();
        let loaded = load(&engine, &wasm).await;
        let limits = ResourceLimits::default();
        let host = Services::new(Mood::Well).host();

        compare("instantiate", 50, make, async || {
            loaded.instantiate(&limits, host.clone(), CallBudget::starting_now(&limits)).await.unwrap()
        })
        .await;

        let (mut store, calls) = make().await;
        let mut ours = loaded.instantiate(&limits, host.clone(), budget()).await.unwrap();
        for size in [0, 64, 1 << 10, 64 << 10] {
            let payload = vec![7_u8; size];
            let rounds = if size > 4096 { 50 } else { 500 };
            compare(
                &format!("echo {size} B"),
                rounds,
                async || {
                    let payload = payload.clone();
                    calls.call_execute(&mut store, bare_message(&payload, None)).await.unwrap().unwrap()
                },
                async || {
                    let mut message = envelope(Body::new(payload.clone()));
                    message.sent_at = std::time::UNIX_EPOCH;
                    let budget = CallBudget::starting_now(&limits);
                    ours.execute(ComponentInput::Message(message), budget).await.unwrap()
                },
            )
            .await;
        }
        for (name, kind) in
            [("1000 calls of a host", "application/x-calls"), ("1000 reads", "application/x-gets")]
        {
            let content_type: airssys_wasm_core::messaging::ContentType = kind.parse().unwrap();
            compare(
                name,
                5,
                async || {
                    calls.call_execute(&mut store, bare_message(b"1000", Some(kind))).await.unwrap().unwrap()
                },
                async || {
                    let message = envelope(Body::typed(content_type.clone(), *b"1000"));
                    ours.execute(ComponentInput::Message(message), budget()).await.unwrap()
                },
            )
            .await;
        }
        let Ok(metadata) = ours.metadata(budget()).await else { panic!("no metadata") };
        compare(
            "metadata",
            500,
            async || calls.call_metadata(&mut store).await.unwrap(),
            async || ours.metadata(CallBudget::starting_now(&limits)).await.unwrap(),
        )
        .await;
        black_box(metadata);
    });
}

/// A component of about a megabyte.
fn large() -> Vec<u8> {
    let body =
        "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 1234567)) (i32.const 7654321)))".repeat(100);
    let functions: String =
        (0..640).map(|_| format!("(func (param i32) (result i32) {body} local.get 0)")).collect();
    running(&format!(r#"{functions} (func (export "run"))"#))
}

#[test]
#[ignore = "measures"]
fn loading_compiled_code() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let wasm = large();
        let config =
            WasmtimeConfig { code_cache: Some(folder.path().to_owned()), ..WasmtimeConfig::default() };
        let engine = WasmtimeEngine::new(config).unwrap();
        let started = Instant::now();
        assert_eq!(load(&engine, &wasm).await.origin(), CodeOrigin::Compiled);
        println!("{} bytes of WebAssembly, compiled in {:?}", wasm.len(), started.elapsed());
        let bare = bare_engine();
        let file = folder.path().join("bare");
        std::fs::write(&file, bare.precompile_component(&wasm).unwrap()).unwrap();
        println!("{} bytes of code", std::fs::metadata(&file).unwrap().len());
        #[allow(unsafe_code, reason = "what is measured")]
        let unchecked = async || {
            // SAFETY: The file was written three lines above, by the same engine.
            unsafe { Component::deserialize_file(&bare, &file) }.unwrap()
        };
        compare("load 1 MB from the cache", 5, unchecked, async || load(&engine, &wasm).await).await;
    });
}

#[test]
#[ignore = "measures"]
fn memory_of_idle_instances() {
    let resident = || -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    block_on(async {
        let engine = WasmtimeEngine::new(WasmtimeConfig::default()).unwrap();
        let loaded = load(&engine, &guest("echo")).await;
        let limits = ResourceLimits::default();
        let host = Services::new(Mood::Well).host();
        let (mut instances, before) = (Vec::new(), resident());
        for _ in 0..500 {
            instances.push(loaded.instantiate(&limits, host.clone(), budget()).await.unwrap());
        }
        let made = resident();
        for instance in &mut instances {
            execute(&mut **instance, "x").await.unwrap();
        }
        println!(
            "{} KB for an instance, {} KB after its first call",
            (made - before) / 500,
            (resident() - before) / 500
        );
    });
    std::thread::sleep(Duration::from_millis(1));
}
