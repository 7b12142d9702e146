//! How much later a neighbour is answered while somebody attacks, on each engine that is compiled in.
//!
//! The floor of a set is the neighbour with nobody beside it. An attacker is asked for the same attack again and again.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use airssys_wasm::core::component::{ComponentId, ResourceLimits};
use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm::{ComponentRef, Host, Installation};
use airssys_wasm_conformance::bench::{self, Bench, Goal, Latencies, LoopGoals};
use airssys_wasm_conformance::guests::Guest;
use tokio::runtime::{Builder, Runtime};

/// Attacks that take time, by the name of the attack in the zoo and the message of the hostile guest.
const ATTACKS: [(&str, &str); 12] = [
    ("a01, endless loop", "loop"),
    ("a01, endless loop with host calls", "loop-in-pieces"),
    ("a06, endless recursion", "recurse"),
    ("a08, memory to the limit", "grow"),
    ("a08, memory beyond the limit", "grow-and-die"),
    ("a23, reply beyond the limit", "giant-reply 5000000"),
    ("a24, host calls beyond the limit", "flood"),
    ("a24, log lines beyond the limit", "log-flood 10000000 8"),
    ("a25, log line of 10 MB", "giant-log 10000000"),
    ("a26, messages to itself", "send-flood bench/attacker 1000 1000"),
    ("a29, writes beyond the quota", "write-flood 900 20000"),
    ("a39, trap on every message", "panic"),
];
const GOALS: LoopGoals = LoopGoals { p50: Goal::AtMost(2.0), p99: Goal::AtMost(2.0), rate: Goal::Report };

fn main() -> ExitCode {
    bench::run("zoo", |bench| {
        #[cfg(feature = "wasmtime")]
        neighbours(bench, "a neighbour on wasmtime", || {
            use airssys_wasm::wasmtime::{WasmtimeConfig, WasmtimeEngine};
            Arc::new(
                WasmtimeEngine::new(WasmtimeConfig::default()).expect("the pool fits into the address space"),
            )
        });
        #[cfg(feature = "wasmer")]
        neighbours(bench, "a neighbour on wasmer", || {
            use airssys_wasm::wasmer::{WasmerConfig, WasmerEngine};
            Arc::new(WasmerEngine::new(WasmerConfig::default()).expect("the engine can be made"))
        });
    })
}

fn neighbours(bench: &mut Bench, set: &'static str, engine: impl FnOnce() -> Arc<dyn RuntimeEngine>) {
    if !bench.wants(set) {
        return;
    }
    let runtime =
        &Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime can be made");
    let (_host, neighbour, attacker) = &runtime.block_on(pair(engine()));
    let mut set = bench.loops(set);
    set.rounds(20, Duration::from_millis(250));
    set.floor("nobody attacks", move |time| answers(runtime, neighbour, time));
    for (name, attack) in ATTACKS {
        set.case(name, GOALS, move |time| {
            let over = Arc::new(AtomicBool::new(false));
            let attacking = runtime.spawn(attack_until(Arc::clone(&over), attacker.clone(), attack));
            let latencies = answers(runtime, neighbour, time);
            over.store(true, Ordering::Relaxed);
            runtime.block_on(attacking).expect("the attack does not panic");
            latencies
        });
    }
    set.run();
}

/// A neighbour and an attacker, in one host.
async fn pair(engine: Arc<dyn RuntimeEngine>) -> (Host, ComponentRef, ComponentRef) {
    let host = Host::builder().engine(engine).build().await.expect("the host is complete");
    let limits = ResourceLimits {
        deadline: Duration::from_millis(50),
        host_calls: 20_000,
        ..ResourceLimits::default()
    };
    let neighbour = start(&host, Installation::new(id("bench/neighbour"), guest(Guest::Echo))).await;
    let attacker = Installation::new(id("bench/attacker"), guest(Guest::Hostile)).limits(limits);
    let attacker = ["storage:bench/attacker", "messaging:bench/attacker"]
        .into_iter()
        .fold(attacker, |it, grant| it.grant(grant.parse().expect("the grant is valid")));
    let attacker = start(&host, attacker).await;
    (host, neighbour, attacker)
}

async fn start(host: &Host, installation: Installation) -> ComponentRef {
    let id = installation.id().clone();
    host.install(installation).await.expect("the component is valid");
    host.start(&id).await.expect("the component starts");
    host.component(&id).expect("the component was just started")
}

/// Asks the neighbour until the time is over, the next when the last was answered.
fn answers(runtime: &Runtime, neighbour: &ComponentRef, time: Duration) -> Latencies {
    let neighbour = neighbour.clone();
    let asking = runtime.spawn(async move {
        let until = Instant::now() + time;
        let mut latencies = Latencies::new();
        let mut asked = Instant::now();
        while asked < until {
            neighbour.request(vec![b'x'; 64]).await.expect("the neighbour answers");
            let answered = Instant::now();
            latencies.record(answered - asked);
            asked = answered;
        }
        latencies
    });
    runtime.block_on(asking).expect("the task that asks does not panic")
}

async fn attack_until(over: Arc<AtomicBool>, attacker: ComponentRef, attack: &'static str) {
    while !over.load(Ordering::Relaxed) {
        // How it ends is the business of the zoo; here it only has to take place.
        let _ = attacker.request(attack).await;
    }
}

fn guest(guest: Guest) -> Vec<u8> {
    guest.bytes().expect("the guest is there").into_owned()
}

fn id(name: &str) -> ComponentId {
    name.parse().expect("the id is valid")
}
