//! Messages through the host next to plain Wasmtime behind tokio channels: latency, throughput, and busy neighbours.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use airssys_wasm::Installation;
use airssys_wasm::core::component::ResourceLimits;
use airssys_wasm::core::error::ErrorKind;
use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm::wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};
use airssys_wasm_conformance::bench::{self, Bench, Goal, Latencies, LoopGoals, Pace};
use airssys_wasm_conformance::guests::Guest;
use tokio::runtime::Builder;

mod actors;
mod raw;

use actors::{PAYLOAD, ask_until, guest, id, one_client, one_thread, start, two_workers};

const SLOTS: u32 = 256;
/// Half of the time, half of the throughput, twice the tail.
const GOALS: LoopGoals =
    LoopGoals { p50: Goal::AtMost(2.0), p99: Goal::AtMost(2.0), rate: Goal::AtLeast(0.5) };

fn main() -> ExitCode {
    bench::run("messages", |bench| {
        host_to_component(bench);
        component_to_component(bench);
        throughput(bench);
        overrun(bench);
        neighbour(bench);
    })
}

fn engine() -> Arc<dyn RuntimeEngine> {
    let config = WasmtimeConfig {
        allocation: Allocation::Pooling { max_instances: SLOTS },
        ..WasmtimeConfig::default()
    };
    Arc::new(WasmtimeEngine::new(config).expect("the pool fits into the address space"))
}

fn host_to_component(bench: &mut Bench) {
    for (name, size) in [("host asks a component, 64 B", 64), ("host asks a component, 1 KiB", 1 << 10)] {
        if !bench.wants(name) {
            continue;
        }
        let (runtime, wasm) = (&one_thread(), guest(Guest::Echo));
        let component = raw::load(&raw::engine(SLOTS), &wasm);
        let mailbox = runtime
            .block_on(async { raw::spawn(raw::Instance::new(&component, raw::State::default()).await) });
        let echo = id("bench/echo");
        let (host, reference) = runtime.block_on(async {
            let host = actors::host(engine()).await;
            let reference = start(&host, Installation::new(echo.clone(), wasm)).await;
            (host, reference)
        });
        let mut set = bench.loops(name);
        set.floor("wasmtime, mpsc and oneshot", move |time| {
            let (mailbox, payload) = (mailbox.clone(), vec![b'x'; size]);
            one_client(runtime, async move {
                ask_until!(Instant::now() + time, raw::ask(&mailbox, payload.clone()).await)
            })
        });
        set.case("Host::request", GOALS, move |time| {
            let (host, echo, payload) = (host.clone(), echo.clone(), vec![b'x'; size]);
            one_client(runtime, async move {
                ask_until!(
                    Instant::now() + time,
                    host.request(&echo, payload.clone()).await.expect("it answers")
                )
            })
        });
        set.case("ComponentRef::request", GOALS, move |time| {
            let (reference, payload) = (reference.clone(), vec![b'x'; size]);
            one_client(runtime, async move {
                ask_until!(
                    Instant::now() + time,
                    reference.request(payload.clone()).await.expect("it answers")
                )
            })
        });
        set.run();
    }
}

fn component_to_component(bench: &mut Bench) {
    const SET: &str = "component asks a component, 64 B";
    if !bench.wants(SET) {
        return;
    }
    let runtime = &one_thread();
    let mailbox = runtime.block_on(actors::raw_relay(&raw::engine(SLOTS)));
    let (host, reference) = runtime.block_on(actors::relay(engine()));
    let mut set = bench.loops(SET);
    set.floor("wasmtime, mpsc and oneshot", move |time| actors::ask_raw_relay(runtime, &mailbox, time));
    set.case("host, gate and audit", GOALS, move |time| {
        let _keep = &host;
        actors::ask_relay(runtime, &reference, time)
    });
    set.run();
}

fn throughput(bench: &mut Bench) {
    let settings = [
        ("1 component, 16 clients, 2 workers", 1, 16, false),
        ("100 components, 100 clients, 2 workers", 100, 100, false),
        ("100 components, 100 clients, 1 thread", 100, 100, true),
    ];
    for (name, actors, count, alone) in settings {
        if !bench.wants(name) {
            continue;
        }
        let runtime = &if alone { one_thread() } else { two_workers() };
        let mailboxes = runtime.block_on(actors::raw_echoes(&raw::engine(SLOTS), actors));
        let (host, references) = runtime.block_on(actors::echoes(engine(), actors));
        let mut set = bench.loops(name);
        set.floor("wasmtime, mpsc and oneshot", move |time| {
            actors::ask_raw_echoes(runtime, &mailboxes, count, time)
        });
        let goals = LoopGoals { p50: Goal::Report, ..GOALS };
        set.case("ComponentRef::request", goals, move |time| {
            let _keep = &host;
            actors::ask_echoes(runtime, &references, count, time)
        });
        set.run();
    }
}

/// How long an endless loop runs beyond its deadline.
fn overrun(bench: &mut Bench) {
    const DEADLINE: Duration = Duration::from_millis(20);
    const SET: &str = "overrun of a deadline by an endless loop";
    if !bench.wants(SET) {
        return;
    }
    let (runtime, wasm) = (&two_workers(), guest(Guest::Hostile));
    let component = raw::load(&raw::engine(SLOTS), &wasm);
    let host = runtime.block_on(actors::host(engine()));
    let limits = ResourceLimits { deadline: DEADLINE, ..ResourceLimits::default() };
    let reference =
        runtime.block_on(start(&host, Installation::new(id("bench/hostile"), wasm).limits(limits)));
    let mut set = bench.loops(SET);
    set.rounds(5, Duration::from_secs(1));
    set.floor("wasmtime, an epoch deadline that traps", move |time| {
        let component = component.clone();
        one_client(runtime, async move {
            let (until, mut latencies) = (Instant::now() + time, Latencies::new());
            while Instant::now() < until {
                let mut instance = raw::Instance::new(&component, raw::State::default()).await;
                let start = Instant::now();
                instance.store.epoch_deadline_trap();
                instance.store.set_epoch_deadline(u64::try_from(DEADLINE.as_millis()).expect("it is short"));
                assert!(instance.call(None, b"loop").await.is_err());
                latencies.record(start.elapsed().saturating_sub(DEADLINE));
            }
            latencies
        })
    });
    let goals = LoopGoals { p99: Goal::Below(50e6), ..LoopGoals::default() };
    set.case("ComponentRef::request", goals, move |time| {
        let (reference, _keep) = (reference.clone(), host.clone());
        one_client(runtime, async move {
            let (until, mut latencies) = (Instant::now() + time, Latencies::new());
            while Instant::now() < until {
                let start = Instant::now();
                let error = reference.request("loop").await.expect_err("a loop has no answer");
                assert_eq!(error.kind(), ErrorKind::ExecutionTimeout);
                latencies.record(start.elapsed().saturating_sub(DEADLINE));
            }
            latencies
        })
    });
    set.run();
}

/// What somebody else notices of a component that computes without end. The client is a thread of its own that asks
/// so often in a second, however long the answers take: seldom enough to be answered even when each waits for a tick or two.
fn neighbour(bench: &mut Bench) {
    const RATE: u32 = 250;
    const ROUND: Duration = Duration::from_millis(800);
    for (name, alone) in
        [("neighbour of an endless loop, 2 workers", false), ("neighbour of an endless loop, 1 worker", true)]
    {
        if !bench.wants(name) {
            continue;
        }
        let workers = if alone { 1 } else { 2 };
        let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build();
        let runtime = &runtime.expect("a runtime can be made");
        let plain = raw::engine(SLOTS);
        let (raw_echo, raw_hostile) =
            (raw::load(&plain, &guest(Guest::Echo)), raw::load(&plain, &guest(Guest::Hostile)));
        let mailbox = &runtime
            .block_on(async { raw::spawn(raw::Instance::new(&raw_echo, raw::State::default()).await) });
        let host = &runtime.block_on(actors::host(engine()));
        let echo = &runtime.block_on(start(host, Installation::new(id("bench/echo"), guest(Guest::Echo))));
        let hostile = &runtime.block_on(async {
            let limits = ResourceLimits { deadline: ROUND, ..ResourceLimits::default() };
            start(host, Installation::new(id("bench/hostile"), guest(Guest::Hostile)).limits(limits)).await
        });

        let ask_raw = move |time| {
            open_loop(time, RATE, || {
                runtime.block_on(raw::ask(mailbox, PAYLOAD.to_vec()));
            })
        };
        let ask_host = move |time| {
            open_loop(time, RATE, || {
                runtime.block_on(echo.request(PAYLOAD)).expect("it answers");
            })
        };
        let mut set = bench.loops(name);
        set.rounds(5, ROUND);
        set.floor("wasmtime, quiet", ask_raw);
        set.case("wasmtime, beside a loop", LoopGoals::default(), move |time| {
            let component = raw_hostile.clone();
            let ended = Arc::new(AtomicBool::new(false));
            let seen = ended.clone();
            let looping = runtime.spawn(async move {
                let mut instance = raw::Instance::new(&component, raw::State::default()).await;
                instance.store.epoch_deadline_callback(move |_| {
                    if seen.load(Ordering::Relaxed) {
                        return Err(wasmtime::format_err!("the round is over"));
                    }
                    Ok(wasmtime::UpdateDeadline::Yield(1))
                });
                assert!(instance.execute(None, b"loop").await.is_err());
            });
            let latencies = ask_raw(time);
            ended.store(true, Ordering::Relaxed);
            runtime.block_on(looping).expect("the loop is ended");
            latencies
        });
        set.run();

        let mut set = bench.loops(format!("{name}, host"));
        set.rounds(5, ROUND);
        set.floor("host, quiet", ask_host);
        let goals =
            LoopGoals { p99: if alone { Goal::Report } else { Goal::AtMost(2.0) }, ..LoopGoals::default() };
        set.case("host, beside a loop", goals, move |time| {
            let reference = hostile.clone();
            let looping = runtime.spawn(async move { reference.request("loop").await });
            let latencies = ask_host(time);
            assert!(runtime.block_on(looping).expect("the client does not panic").is_err());
            latencies
        });
        set.run();
    }
}

fn open_loop(time: Duration, rate: u32, mut ask: impl FnMut()) -> Latencies {
    let (until, mut pace, mut latencies) = (Instant::now() + time, Pace::per_second(rate), Latencies::new());
    loop {
        let due = pace.due();
        if due >= until {
            return latencies;
        }
        let early = due.saturating_duration_since(Instant::now());
        // A thread that overslept is late by its own fault; one that had to wait for an answer is not.
        let start = if early.is_zero() {
            due
        } else {
            thread::sleep(early);
            Instant::now()
        };
        ask();
        latencies.record(start.elapsed());
    }
}
