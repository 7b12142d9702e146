//! One engine next to the other: the same component, the same services, the same limits. The floor of calls is our own Wasmtime
//! engine, which the goals of the Wasmer engine are about; the table at the end has both beside plain Wasmtime.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use airssys_wasm::core::component::{ComponentInput, ResourceLimits};
use airssys_wasm::core::error::ErrorKind;
use airssys_wasm::core::messaging::{Body, Envelope, MessageId, MessageType, Sender, TraceContext};
use airssys_wasm::core::runtime::{
    CallBudget, CodeOrigin, Component, ComponentHandle, LoadOptions, Metering, RuntimeEngine,
};
use airssys_wasm::wasmer::{WasmerConfig, WasmerEngine};
use airssys_wasm::wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};
use airssys_wasm::{ComponentRef, Host};
use airssys_wasm_conformance::bench::{self, Bench, Goal, Latencies, LoopGoals, Unit};
use airssys_wasm_conformance::guests::Guest;
use tokio::runtime::{Builder, Runtime};

mod actors;
mod footprint;
mod kernels;
mod nobody;
mod raw;

use footprint::Case;
use nobody::STORED;

/// The columns of the table.
const RAW: &str = "raw Wasmtime";
const WASMTIME: &str = "Wasmtime engine";
const WASMER: &str = "Wasmer engine";
/// Plain Wasmtime, as the cases have it.
const PLAIN: &str = "plain wasmtime";
/// Plain Wasmtime, where messages travel.
const CHANNELS: &str = "plain wasmtime, mpsc and oneshot";

fn main() -> std::process::ExitCode {
    if let Some(ended) = footprint::child() {
        return ended;
    }
    bench::run("engines", |bench| {
        bench.versions(include_str!("../../Cargo.lock"), &["wasmtime", "wasmer", "tokio"]);
        bench.counts(&["call, no payload", "echo, 64 B", "host call, logging.enabled"]);
        calls(bench);
        records(bench);
        host_calls(bench);
        computing(bench);
        overrun(bench);
        instantiation(bench);
        cache(bench);
        compilation(bench);
        requests(bench);
        throughput(bench);
        memory(bench);
    })
}

/// Puts a set on a line of the table: cases of these names, and one for plain Wasmtime.
fn compare(bench: &mut Bench, operation: &str, set: &str, raw: &str) {
    let beside = [(raw, "raw")];
    bench
        .compare(operation, set)
        .column(RAW, raw, &[])
        .column(WASMTIME, "wasmtime", &beside)
        .column(WASMER, "wasmer", &beside);
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

const SLOTS: u32 = 64;

/// How many slots of 4 GiB a pool has: valgrind has few addresses to give.
fn slots(bench: &Bench) -> u32 {
    if bench.is_counting() { 1 } else { SLOTS }
}

fn wasmtime(slots: u32) -> Arc<dyn RuntimeEngine> {
    let allocation = Allocation::Pooling { max_instances: slots };
    let config = WasmtimeConfig { allocation, ..WasmtimeConfig::default() };
    Arc::new(WasmtimeEngine::new(config).expect("the pool fits into the address space"))
}

fn wasmer() -> Arc<dyn RuntimeEngine> {
    Arc::new(WasmerEngine::new(WasmerConfig::default()).expect("the engine can be made"))
}

fn guest() -> Vec<u8> {
    Guest::Echo.bytes().expect("the guest is there").into_owned()
}

/// An instance of the guest on each engine.
fn instances(runtime: &Runtime, wasm: &[u8], metering: Metering, slots: u32) -> [Box<dyn Component>; 2] {
    let limits = ResourceLimits { host_calls: u64::MAX, ..ResourceLimits::default() };
    [wasmtime(slots), wasmer()].map(|engine| {
        runtime.block_on(async {
            let component = load(&*engine, wasm, metering).await;
            instantiate(&component, &limits).await
        })
    })
}

async fn load(engine: &dyn RuntimeEngine, wasm: &[u8], metering: Metering) -> ComponentHandle {
    let options = LoadOptions { metering, ..LoadOptions::default() };
    engine.load(wasm, options).await.expect("the component is valid")
}

async fn instantiate(component: &ComponentHandle, limits: &ResourceLimits) -> Box<dyn Component> {
    let budget = CallBudget::starting_now(limits);
    component.instantiate(limits, nobody::Nobody::services(), budget).await.expect("the component is sound")
}

fn message(body: Body) -> Envelope {
    Envelope {
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
    }
}

async fn execute(instance: &mut dyn Component, message: Envelope) -> Body {
    let budget = CallBudget::starting_now(&ResourceLimits::default());
    instance.execute(ComponentInput::Message(message), budget).await.expect("the guest answers").body
}

fn calls(bench: &mut Bench) {
    let sizes = [
        ("call, no payload", 0, 1.3),
        ("echo, 64 B", 64, 1.5),
        ("echo, 1 KiB", 1 << 10, 1.5),
        ("echo, 64 KiB", 64 << 10, 1.5),
    ];
    for (metering, how) in [(Metering::Off, ""), (Metering::Fuel, ", metered")] {
        for (what, size, goal) in sizes {
            let name = format!("{what}{how}");
            if !bench.wants(&name) {
                continue;
            }
            let (runtime, wasm, payload) = (&runtime(), guest(), &vec![1_u8; size]);
            let [first, second] = instances(runtime, &wasm, metering, slots(bench));
            let call = move |mut instance: Box<dyn Component>| {
                move |times: u64| {
                    runtime.block_on(async {
                        for _ in 0..times {
                            black_box(execute(&mut *instance, message(Body::new(payload.clone()))).await);
                        }
                    });
                }
            };
            let component = raw::load(&raw::engine(slots(bench)), &wasm);
            let mut plain = runtime.block_on(raw::Instance::new(&component, raw::State::default()));
            let mut set = bench.batches(name.as_str());
            set.floor("wasmtime", call(first));
            set.case("wasmer", Goal::AtMost(goal), call(second));
            if matches!(metering, Metering::Off) {
                set.case(PLAIN, Goal::Report, move |times| {
                    runtime.block_on(async {
                        for _ in 0..times {
                            // The engines are given the payload, too: a copy for each call.
                            let payload = payload.clone();
                            black_box(plain.execute(None, &payload).await.expect("the guest answers"));
                        }
                    });
                });
            }
            set.run();
            if matches!(metering, Metering::Off) {
                compare(bench, what, &name, PLAIN);
            }
        }
    }
}

/// A message in which every field is set.
fn records(bench: &mut Bench) {
    const NAME: &str = "message with every field, metered";
    if !bench.wants(NAME) {
        return;
    }
    let (runtime, wasm) = (&runtime(), guest());
    let whole = &Envelope {
        sender: Sender::Component("bench/sender".parse().expect("the id is valid")),
        topic: Some("orders.new".parse().expect("the topic is valid")),
        correlation: Some(MessageId::from_parts(5, 6)),
        trace: Some(TraceContext {
            trace_parent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
            trace_state: "vendor=value".into(),
        }),
        ..message(Body::typed("text/plain".parse().expect("the type is valid"), vec![b'x'; 256]))
    };
    let [first, second] = instances(runtime, &wasm, Metering::Fuel, slots(bench));
    let call = move |mut instance: Box<dyn Component>| {
        move |times: u64| {
            runtime.block_on(async {
                for _ in 0..times {
                    black_box(execute(&mut *instance, whole.clone()).await);
                }
            });
        }
    };
    let mut set = bench.batches(NAME);
    set.floor("wasmtime", call(first));
    set.case("wasmer", Goal::AtMost(2.0), call(second));
    set.run();
}

/// Calls from the guest to the host, as many in one message as there are repetitions.
fn host_calls(bench: &mut Bench) {
    for (name, content_type) in [
        ("host call, logging.enabled", "application/x-calls"),
        ("host call, storage.get 128 B", "application/x-gets"),
    ] {
        if !bench.wants(name) {
            continue;
        }
        let (runtime, wasm) = (&runtime(), guest());
        let [first, second] = instances(runtime, &wasm, Metering::Off, slots(bench));
        let call = move |mut instance: Box<dyn Component>| {
            move |times: u64| {
                let kind = content_type.parse().expect("the content type is valid");
                let body = Body::typed(kind, times.to_string());
                black_box(runtime.block_on(execute(&mut *instance, message(body))));
            }
        };
        let component = raw::load(&raw::engine(slots(bench)), &wasm);
        let state = raw::State { values: [(b"k".to_vec(), STORED.to_vec())].into(), ..raw::State::default() };
        let mut plain = runtime.block_on(raw::Instance::new(&component, state));
        let mut set = bench.batches(name);
        set.floor("wasmtime", call(first));
        set.case("wasmer", Goal::Report, call(second));
        set.case(PLAIN, Goal::Report, move |times| {
            let called = runtime.block_on(plain.execute(Some(content_type), times.to_string().as_bytes()));
            black_box(called.expect("the guest answers"));
        });
        set.run();
        compare(bench, name, name, PLAIN);
    }
}

fn computing(bench: &mut Bench) {
    let run = &"run".parse().expect("the name is valid");
    for (metering, how) in [(Metering::Off, ""), (Metering::Fuel, ", metered")] {
        for (kernel, core) in kernels::KERNELS {
            let name = format!("{kernel}{how}");
            if !bench.wants(&name) {
                continue;
            }
            let (runtime, wasm) = (&runtime(), kernels::component(core));
            let [first, second] = instances(runtime, &wasm, metering, slots(bench));
            let call = move |mut instance: Box<dyn Component>| {
                move |times: u64| {
                    runtime.block_on(async {
                        for _ in 0..times {
                            let budget = CallBudget::starting_now(&ResourceLimits::default());
                            black_box(instance.call(run, &[], budget).await.expect("the guest computes"));
                        }
                    });
                }
            };
            let (mut store, plain) =
                runtime.block_on(raw::function(&raw::engine(slots(bench)), &wasm, "run"));
            let mut set = bench.batches(name.as_str());
            set.floor("wasmtime", call(first));
            let goal = if matches!(metering, Metering::Fuel) { Goal::AtMost(1.2) } else { Goal::Report };
            set.case("wasmer", goal, call(second));
            if matches!(metering, Metering::Off) {
                set.case(PLAIN, Goal::Report, move |times| {
                    runtime.block_on(async {
                        for _ in 0..times {
                            store.set_epoch_deadline(1);
                            black_box(plain.call_async(&mut store, ()).await.expect("the guest computes"));
                        }
                    });
                });
            }
            set.run();
            if matches!(metering, Metering::Off) {
                compare(bench, kernel, &name, PLAIN);
            }
        }
    }
}

/// How long an endless loop runs beyond its deadline.
fn overrun(bench: &mut Bench) {
    const DEADLINE: Duration = Duration::from_millis(10);
    const NAME: &str = "overrun of a deadline by an endless loop";
    if !bench.wants(NAME) {
        return;
    }
    let runtime = &runtime();
    let wasm = Guest::Hostile.bytes().expect("the guest is there").into_owned();
    let [first, second] =
        [wasmtime(SLOTS), wasmer()].map(|engine| runtime.block_on(load(&*engine, &wasm, Metering::Off)));
    let run = move |component: ComponentHandle| {
        move |time: Duration| {
            let (until, mut latencies) = (Instant::now() + time, Latencies::new());
            runtime.block_on(async {
                while Instant::now() < until {
                    let mut instance = instantiate(&component, &ResourceLimits::default()).await;
                    let deadline = Instant::now() + DEADLINE;
                    let budget = CallBudget { deadline: Some(deadline), fuel: None };
                    let input = ComponentInput::Message(message(Body::new("loop")));
                    let error = instance.execute(input, budget).await.expect_err("a loop has no answer");
                    assert_eq!(error.kind(), ErrorKind::ExecutionTimeout);
                    latencies.record(deadline.elapsed());
                }
            });
            latencies
        }
    };
    let mut set = bench.loops(NAME);
    set.rounds(5, Duration::from_secs(1));
    set.floor("wasmtime", run(first));
    let goals = LoopGoals { p50: Goal::Below(10e6), p99: Goal::Below(50e6), ..LoopGoals::default() };
    set.case("wasmer", goals, run(second));
    set.run();
}

fn instantiation(bench: &mut Bench) {
    const NAME: &str = "instantiate and drop";
    if !bench.wants(NAME) {
        return;
    }
    let (runtime, wasm, limits) = (&runtime(), guest(), &ResourceLimits::default());
    let [first, second] =
        [wasmtime(SLOTS), wasmer()].map(|engine| runtime.block_on(load(&*engine, &wasm, Metering::Off)));
    let make = move |component: ComponentHandle| {
        move |times: u64| {
            runtime.block_on(async {
                for _ in 0..times {
                    drop(black_box(instantiate(&component, limits).await));
                }
            });
        }
    };
    let plain = raw::load(&raw::engine(SLOTS), &wasm);
    let mut set = bench.batches(NAME);
    set.floor("wasmtime", make(first));
    set.case("wasmer", Goal::AtMost(2.0), make(second));
    set.case(PLAIN, Goal::Report, move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                drop(black_box(raw::Instance::new(&plain, raw::State::default()).await));
            }
        });
    });
    set.run();
    compare(bench, NAME, NAME, PLAIN);
}

fn cache(bench: &mut Bench) {
    const NAME: &str = "load 21 KB from the code cache";
    if !bench.wants(NAME) {
        return;
    }
    let (runtime, wasm) = (&runtime(), &guest());
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder can be made"));
    let code = |folder: &tempfile::TempDir| Some(folder.path().join("code"));
    let first = WasmtimeConfig {
        allocation: Allocation::Pooling { max_instances: SLOTS },
        code_cache: code(&folders[0]),
        ..WasmtimeConfig::default()
    };
    let second = WasmerConfig { code_cache: code(&folders[1]), ..WasmerConfig::default() };
    let first: Arc<dyn RuntimeEngine> = Arc::new(WasmtimeEngine::new(first).expect("the engine can be made"));
    let second: Arc<dyn RuntimeEngine> = Arc::new(WasmerEngine::new(second).expect("the engine can be made"));
    for engine in [&first, &second] {
        runtime.block_on(load(&**engine, wasm, Metering::Off));
    }
    let read = move |engine: Arc<dyn RuntimeEngine>| {
        move |times: u64| {
            for _ in 0..times {
                let component = runtime.block_on(load(&*engine, wasm, Metering::Off));
                assert_eq!(component.origin(), CodeOrigin::Cache);
            }
        }
    };
    let raw_engine = raw::engine(SLOTS);
    let (linker, path) = (raw::linker(&raw_engine), folders[0].path().join("plain.cwasm"));
    let compiled = raw_engine.precompile_component(wasm).expect("the component is valid");
    std::fs::write(&path, compiled).expect("the folder can be written to");
    let mut set = bench.batches(NAME);
    set.floor("wasmtime", read(first));
    set.case("wasmer", Goal::AtMost(3.0), read(second));
    set.case("plain wasmtime, unchecked", Goal::Report, move |times| {
        for _ in 0..times {
            black_box(raw::link(&linker, &raw::deserialize(&raw_engine, &path)));
        }
    });
    set.run();
    compare(bench, NAME, NAME, "plain wasmtime, unchecked");
}

fn compilation(bench: &mut Bench) {
    const NAME: &str = "compile, 21 KB";
    if !bench.wants(NAME) {
        return;
    }
    let (runtime, wasm) = (&runtime(), &guest());
    let compile = move |engine: Arc<dyn RuntimeEngine>| {
        move |times: u64| {
            for _ in 0..times {
                black_box(runtime.block_on(load(&*engine, wasm, Metering::Off)));
            }
        }
    };
    let raw_engine = raw::engine(SLOTS);
    let mut set = bench.batches(NAME);
    set.floor("wasmtime", compile(wasmtime(SLOTS)));
    set.case("wasmer", Goal::Report, compile(wasmer()));
    set.case(PLAIN, Goal::Report, move |times| {
        for _ in 0..times {
            black_box(raw::load(&raw_engine, wasm));
        }
    });
    set.run();
    compare(bench, NAME, NAME, PLAIN);
}

/// A component that asks another one, through the host on each engine.
fn requests(bench: &mut Bench) {
    const NAME: &str = "component asks a component, 64 B";
    if !bench.wants(NAME) {
        return;
    }
    let runtime = &actors::one_thread();
    let plain = runtime.block_on(actors::raw_relay(&raw::engine(slots(bench))));
    let hosts = [wasmtime(SLOTS), wasmer()].map(|engine| runtime.block_on(actors::relay(engine)));
    let mut set = bench.loops(NAME);
    set.floor(CHANNELS, |time| actors::ask_raw_relay(runtime, &plain, time));
    for (name, (_, relay)) in ["wasmtime", "wasmer"].into_iter().zip(&hosts) {
        set.case(name, LoopGoals::default(), move |time| actors::ask_relay(runtime, relay, time));
    }
    set.run();
    compare(bench, "request between components", &format!("{NAME}, p50"), CHANNELS);
}

/// Many components, each with a client that asks it again and again.
fn throughput(bench: &mut Bench) {
    const ACTORS: usize = 100;
    const NAME: &str = "100 components, 100 clients, 2 workers";
    if !bench.wants(NAME) {
        return;
    }
    let runtime = &actors::two_workers();
    let plain = runtime.block_on(actors::raw_echoes(&raw::engine(ACTORS as u32), ACTORS));
    let pooled = WasmtimeConfig {
        allocation: Allocation::Pooling { max_instances: ACTORS as u32 },
        ..WasmtimeConfig::default()
    };
    let pooled = WasmtimeEngine::new(pooled).expect("the pool fits into the address space");
    let hosts: [(Host, Vec<ComponentRef>); 2] = [Arc::new(pooled) as Arc<dyn RuntimeEngine>, wasmer()]
        .map(|engine| runtime.block_on(actors::echoes(engine, ACTORS)));
    let mut set = bench.loops(NAME);
    set.floor(CHANNELS, |time| actors::ask_raw_echoes(runtime, &plain, ACTORS, time));
    for (name, (_, echoes)) in ["wasmtime", "wasmer"].into_iter().zip(&hosts) {
        set.case(name, LoopGoals::default(), move |time| actors::ask_echoes(runtime, echoes, ACTORS, time));
    }
    set.run();
    compare(bench, "messages, 100 components and clients", &format!("{NAME}, rate"), CHANNELS);
}

/// What an idle instance takes, of a thousand; each figure is of a process of its own.
fn memory(bench: &mut Bench) {
    const NAME: &str = "resident memory of an idle instance, of 1000";
    if !bench.wants(NAME) {
        return;
    }
    let (count, rounds) = if bench.is_smoke() { (10, 1) } else { (1_000, 3) };
    let measured = |case: Case| -> Vec<f64> {
        (0..rounds).map(|_| footprint::measure(case, count).0.resident).collect()
    };
    let figures = [
        (CHANNELS, measured(Case::Plain), Goal::Report),
        ("wasmtime", measured(Case::Wasmtime), Goal::Report),
        ("wasmer", measured(Case::Wasmer), Goal::Report),
    ];
    bench.rounds(NAME, Unit::Bytes, &figures);
    compare(bench, "memory of an idle instance, of 1,000", NAME, CHANNELS);
}
