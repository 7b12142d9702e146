//! The engine next to plain Wasmtime: calls, host calls, compiling, loading and instantiating.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use airssys_wasm::core::component::{ComponentConfig, ComponentId, ComponentInput, ResourceLimits};
use airssys_wasm::core::messaging::{Body, Envelope, MessageId, MessageType, Sender};
use airssys_wasm::core::runtime::{
    CallBudget, CodeOrigin, Component, ComponentHandle, HostServices, LoadOptions, RuntimeEngine,
};
use airssys_wasm::core::storage::{Batch, Durability, Key, Namespace, StorageBackend};
use airssys_wasm::storage::MemoryStore;
use airssys_wasm::wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};
use airssys_wasm::{Host, Installation};
use airssys_wasm_conformance::bench::{self, Bench, Goal, Unit};
use airssys_wasm_conformance::guests::Guest;
use tokio::runtime::{Builder, Runtime};

mod nobody;
mod raw;

use nobody::{Nobody, STORED};

const SLOTS: u32 = 64;
const CALLS: &str = "application/x-calls";
const GETS: &str = "application/x-gets";

fn main() -> std::process::ExitCode {
    bench::run("engine", |bench| {
        calls(bench);
        host_calls(bench);
        instantiation(bench);
        compilation(bench);
        cache(bench);
    })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

fn config() -> WasmtimeConfig {
    WasmtimeConfig { allocation: Allocation::Pooling { max_instances: SLOTS }, ..WasmtimeConfig::default() }
}

fn product() -> WasmtimeEngine {
    WasmtimeEngine::new(config()).expect("the pool fits into the address space")
}

fn guest(guest: Guest) -> Vec<u8> {
    guest.bytes().expect("the guest is there").into_owned()
}

async fn load(engine: &WasmtimeEngine, wasm: &[u8]) -> ComponentHandle {
    engine.load(wasm, LoadOptions::default()).await.expect("the component is valid")
}

async fn instantiate(
    component: &ComponentHandle,
    limits: &ResourceLimits,
    services: &HostServices,
) -> Box<dyn Component> {
    let budget = CallBudget::starting_now(limits);
    component.instantiate(limits, services.clone(), budget).await.expect("there is a free slot")
}

fn message(body: Body) -> ComponentInput {
    ComponentInput::Message(Envelope {
        id: MessageId::from_parts(0, 0),
        kind: MessageType::Request,
        sender: Sender::Host,
        topic: None,
        correlation: None,
        body,
        sent_at: SystemTime::UNIX_EPOCH,
        deadline: None,
        attempt: 1,
        trace: None,
    })
}

async fn execute(instance: &mut dyn Component, limits: &ResourceLimits, body: Body) -> Body {
    let output = instance.execute(message(body), CallBudget::starting_now(limits)).await;
    output.expect("the guest answers").body
}

fn calls(bench: &mut Bench) {
    let sizes =
        [("call, no payload", 0), ("echo, 64 B", 64), ("echo, 1 KiB", 1 << 10), ("echo, 64 KiB", 64 << 10)];
    for (name, size) in sizes {
        if !bench.wants(name) {
            continue;
        }
        let (runtime, wasm, payload) = (&runtime(), guest(Guest::Echo), &vec![1_u8; size]);
        let raw_component = raw::load(&raw::engine(SLOTS), &wasm);
        let mut raw_instance = runtime.block_on(raw::Instance::new(&raw_component, raw::State::default()));
        let limits = &ResourceLimits::default();
        let mut instance = runtime.block_on(async {
            let component = load(&product(), &wasm).await;
            instantiate(&component, limits, &Nobody::services()).await
        });
        let mut set = bench.batches(name);
        set.floor("wasmtime", move |times| {
            runtime.block_on(async {
                for _ in 0..times {
                    let payload = payload.clone();
                    black_box(raw_instance.execute(None, &payload).await.expect("the guest answers"));
                }
            });
        });
        set.case("Component::execute", Goal::AtMost(1.3), move |times| {
            runtime.block_on(async {
                for _ in 0..times {
                    black_box(execute(&mut *instance, limits, Body::new(payload.clone())).await);
                }
            });
        });
        set.run();
    }
}

/// One call of the guest, in which the guest makes so many calls of the host.
fn host_calls(bench: &mut Bench) {
    for (name, content_type) in
        [("host call, logging.enabled", CALLS), ("host call, storage.get 128 B", GETS)]
    {
        if !bench.wants(name) {
            continue;
        }
        let (runtime, wasm) = (&runtime(), guest(Guest::Echo));
        let raw_component = raw::load(&raw::engine(SLOTS), &wasm);
        let state = raw::State { values: [(b"k".to_vec(), STORED.to_vec())].into(), ..raw::State::default() };
        let mut raw_instance = runtime.block_on(raw::Instance::new(&raw_component, state));
        let limits = &ResourceLimits { host_calls: u64::MAX, ..ResourceLimits::default() };
        let mut instance = runtime.block_on(async {
            let component = load(&product(), &wasm).await;
            instantiate(&component, limits, &Nobody::services()).await
        });
        let id: &ComponentId = &"bench/echo".parse().expect("the id is valid");
        let host = &runtime.block_on(host(&wasm, id, limits));
        let body = move |times: u64| {
            Body::typed(content_type.parse().expect("the content type is valid"), times.to_string())
        };
        let mut unbounded = runtime.block_on(async {
            let component = load(&product(), &wasm).await;
            instantiate(&component, limits, &Nobody::services()).await
        });
        let mut set = bench.batches(name);
        set.floor("wasmtime", move |times| {
            let called =
                runtime.block_on(raw_instance.execute(Some(content_type), times.to_string().as_bytes()));
            black_box(called.expect("the guest answers"));
        });
        set.case("engine, services that do nothing", Goal::AtMost(1.15), move |times| {
            black_box(runtime.block_on(execute(&mut *instance, limits, body(times))));
        });
        set.case("engine, a call without a deadline", Goal::Report, move |times| {
            let called = runtime.block_on(unbounded.execute(message(body(times)), CallBudget::UNBOUNDED));
            black_box(called.expect("the guest answers"));
        });
        set.case("host, gate, audit and store", Goal::Report, move |times| {
            black_box(runtime.block_on(host.request(id, body(times))).expect("the guest answers"));
        });
        set.run();
    }
}

async fn host(wasm: &[u8], id: &ComponentId, limits: &ResourceLimits) -> Host {
    let store = Arc::new(MemoryStore::new());
    let mut batch = Batch::new();
    batch.put(&Namespace::of_component(id), Key::new("k").expect("the key is valid"), STORED);
    store.commit(batch, Durability::Immediate).await.expect("memory takes it");
    let host =
        Host::builder().engine(Arc::new(product())).store(store).build().await.expect("the host is complete");
    let installation = Installation::new(id.clone(), wasm)
        .limits(limits.clone())
        .grant(format!("storage:{id}").parse().expect("the capability is valid"));
    host.install(installation).await.expect("the component is valid");
    host.start(id).await.expect("the component starts");
    host
}

fn instantiation(bench: &mut Bench) {
    for (name, with_call) in [("instantiate and drop", false), ("instantiate, init, first call, drop", true)]
    {
        if !bench.wants(name) {
            continue;
        }
        let (runtime, wasm) = (&runtime(), guest(Guest::Echo));
        let raw_component = raw::load(&raw::engine(SLOTS), &wasm);
        let (limits, services) = (&ResourceLimits::default(), &Nobody::services());
        let component = runtime.block_on(load(&product(), &wasm));
        let mut set = bench.batches(name);
        set.floor("wasmtime", move |times| {
            runtime.block_on(async {
                for _ in 0..times {
                    let mut instance = raw::Instance::new(&raw_component, raw::State::default()).await;
                    if with_call {
                        instance.init(&[]).await;
                        black_box(instance.execute(None, &[1; 64]).await.expect("the guest answers"));
                    }
                    drop(black_box(instance));
                }
            });
        });
        set.case("LoadedComponent::instantiate", Goal::AtMost(1.5), move |times| {
            runtime.block_on(async {
                let config = ComponentConfig::new();
                for _ in 0..times {
                    let mut instance = instantiate(&component, limits, services).await;
                    if with_call {
                        let started = instance.init(&config, CallBudget::starting_now(limits)).await;
                        started.expect("the guest takes its configuration");
                        black_box(execute(&mut *instance, limits, Body::new([1; 64])).await);
                    }
                    drop(black_box(instance));
                }
            });
        });
        set.run();
    }
}

/// The binary with a section that nobody reads: another digest, so that no cache knows it.
fn distinct(wasm: &[u8]) -> Vec<u8> {
    thread_local! {
        static NEXT: Cell<u32> = const { Cell::new(0) };
    }
    let number = NEXT.replace(NEXT.get() + 1);
    let mut wasm = wasm.to_vec();
    wasm.extend([0, 6, 1, b'n']);
    wasm.extend(number.to_le_bytes());
    wasm
}

fn compilation(bench: &mut Bench) {
    const SET: &str = "compile, 21 KB";
    if !bench.wants(SET) {
        return;
    }
    let (runtime, wasm) = (&runtime(), &guest(Guest::Echo));
    let raw_engine = raw::engine(SLOTS);
    let raw_linker = raw::linker(&raw_engine);
    let engine = product();
    let mut set = bench.batches(SET);
    set.floor("wasmtime", move |times| {
        for _ in 0..times {
            let component = wasmtime::component::Component::from_binary(&raw_engine, &distinct(wasm));
            black_box(raw::link(&raw_linker, &component.expect("the component is valid")));
        }
    });
    set.case("RuntimeEngine::load", Goal::AtMost(1.1), move |times| {
        for _ in 0..times {
            black_box(runtime.block_on(load(&engine, &distinct(wasm))));
        }
    });
    set.run();
}

/// A component of about this many bytes: functions that compute something and a quarter of data, so that its compiled code is
/// three to four times as large, as with what compilers emit.
fn synthetic(bytes: usize) -> Vec<u8> {
    let mut module = String::from("(memory 16)");
    // One of them is about 130 bytes long.
    for function in 0..bytes / 4 * 3 / 130 {
        let _ = write!(
            module,
            "(func $f{function} (param i32 i64) (result i64) (local i64 i32)
              (local.set 3 (i32.const {function}))
              (block (loop
                (br_if 1 (i32.eqz (local.get 0)))
                (local.set 2 (i64.add (i64.mul (local.get 2) (i64.const 6364136223846793005)) (local.get 1)))
                (local.set 2 (i64.xor (i64.rotl (local.get 2) (i64.const 17)) (i64.const -7046029254386353131)))
                (i64.store offset={} (i32.and (local.get 3) (i32.const 4088)) (local.get 2))
                (local.set 3 (i32.add (local.get 3) (i32.wrap_i64 (i64.shr_u (local.get 2) (i64.const 33)))))
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br 0)))
              (if (result i64) (i32.lt_u (local.get 3) (i32.const {}))
                (then (i64.xor (local.get 2) (i64.const {})))
                (else (call $f{} (i32.const 1) (local.get 2)))))",
            function % 1_000 * 8,
            function * 977,
            i64::MAX / (function as i64 + 1),
            if function == 0 { 0 } else { function - 1 },
        );
    }
    let data = "airssys-".repeat(bytes / 4 / 8);
    let text = format!(
        "(component (core module $m {module} (data (i32.const 8192) \"{data}\")) (core instance (instantiate $m)))"
    );
    wat::parse_str(text).expect("the text is valid")
}

fn cache(bench: &mut Bench) {
    let small = bench.is_smoke();
    const SET: &str = "load 1 MB from the cache";
    if !bench.wants(SET) {
        return;
    }
    let runtime = &runtime();
    let wasm = &synthetic(if small { 10_000 } else { 1_000_000 });
    let folder =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written to");

    let raw_engine = raw::engine(SLOTS);
    let compiled = raw_engine.precompile_component(wasm).expect("the component is valid");
    let path = folder.path().join("plain.cwasm");
    fs::write(&path, &compiled).expect("the target folder can be written to");

    let code_cache = folder.path().join("cache");
    let engine = WasmtimeEngine::new(WasmtimeConfig { code_cache: Some(code_cache.clone()), ..config() });
    let engine = engine.expect("the pool fits into the address space");
    assert_eq!(runtime.block_on(load(&engine, wasm)).origin(), CodeOrigin::Compiled);

    let (loads, compilations) = (&Cell::new(0), &Cell::new(0));
    let mut set = bench.batches(SET);
    set.floor("Component::deserialize_file, unchecked", move |times| {
        for _ in 0..times {
            black_box(raw::deserialize(&raw_engine, &path));
        }
    });
    set.case("RuntimeEngine::load, integrity checked", Goal::AtMost(5.0), move |times| {
        for _ in 0..times {
            let loaded = runtime.block_on(load(&engine, wasm));
            loads.set(loads.get() + 1);
            compilations.set(compilations.get() + u32::from(loaded.origin() == CodeOrigin::Compiled));
        }
    });
    set.run();
    // Another engine over the same folder is what a restart of the host looks like.
    let again = WasmtimeEngine::new(WasmtimeConfig { code_cache: Some(code_cache), ..config() });
    let again = runtime.block_on(load(&again.expect("the pool fits into the address space"), wasm));
    compilations.set(compilations.get() + u32::from(again.origin() == CodeOrigin::Compiled));
    let (loads, compilations) = (f64::from(loads.get() + 1), f64::from(compilations.get()));
    bench.note(&format!("wasm: {} bytes, compiled code: {} bytes", wasm.len(), compiled.len()));
    let figures = [("loads", loads, Goal::Report), ("compilations", compilations, Goal::Below(0.0))];
    bench.values("load of a known binary", Unit::Count, &figures);
}
