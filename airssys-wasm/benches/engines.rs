//! One engine next to the other: the same component, the same services, the same limits. The floor is our own Wasmtime engine.

use std::hint::black_box;
use std::sync::Arc;
use std::time::SystemTime;

use airssys_wasm::core::component::{ComponentInput, ResourceLimits};
use airssys_wasm::core::messaging::{Body, Envelope, MessageId, MessageType, Sender};
use airssys_wasm::core::runtime::{
    CallBudget, CodeOrigin, Component, ComponentHandle, LoadOptions, Metering, RuntimeEngine,
};
use airssys_wasm::wasmer::{WasmerConfig, WasmerEngine};
use airssys_wasm::wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};
use airssys_wasm_conformance::bench::{self, Bench, Goal};
use airssys_wasm_conformance::fakes::FakeHost;
use airssys_wasm_conformance::guests::Guest;
use tokio::runtime::{Builder, Runtime};

fn main() -> std::process::ExitCode {
    bench::run("engines", |bench| {
        calls(bench);
        instantiation(bench);
        cache(bench);
        compilation(bench);
    })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

fn wasmtime() -> Arc<dyn RuntimeEngine> {
    let config =
        WasmtimeConfig { allocation: Allocation::Pooling { max_instances: 64 }, ..WasmtimeConfig::default() };
    Arc::new(WasmtimeEngine::new(config).expect("the pool fits into the address space"))
}

fn wasmer() -> Arc<dyn RuntimeEngine> {
    Arc::new(WasmerEngine::new(WasmerConfig::default()).expect("the engine can be made"))
}

fn guest() -> Vec<u8> {
    Guest::Echo.bytes().expect("the guest is there").into_owned()
}

async fn load(engine: &dyn RuntimeEngine, wasm: &[u8], metering: Metering) -> ComponentHandle {
    let options = LoadOptions { metering, ..LoadOptions::default() };
    engine.load(wasm, options).await.expect("the component is valid")
}

async fn instantiate(component: &ComponentHandle, limits: &ResourceLimits) -> Box<dyn Component> {
    let services = FakeHost::new("bench/echo").services();
    let budget = CallBudget::starting_now(limits);
    component.instantiate(limits, services, budget).await.expect("the component is sound")
}

async fn execute(instance: &mut dyn Component, limits: &ResourceLimits, payload: Vec<u8>) -> Body {
    let message = ComponentInput::Message(Envelope {
        id: MessageId::from_parts(0, 0),
        kind: MessageType::Request,
        sender: Sender::Host,
        topic: None,
        correlation: None,
        body: Body::new(payload),
        sent_at: SystemTime::UNIX_EPOCH,
        deadline: None,
        attempt: 1,
        trace: None,
    });
    let output = instance.execute(message, CallBudget::starting_now(limits)).await;
    output.expect("the guest answers").body
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
            let limits = &ResourceLimits::default();
            let mut instances = [wasmtime(), wasmer()].map(|engine| {
                runtime.block_on(async {
                    let component = load(&*engine, &wasm, metering).await;
                    Some(instantiate(&component, limits).await)
                })
            });
            let call = move |mut instance: Box<dyn Component>| {
                move |times: u64| {
                    runtime.block_on(async {
                        for _ in 0..times {
                            black_box(execute(&mut *instance, limits, payload.clone()).await);
                        }
                    });
                }
            };
            let mut set = bench.batches(name);
            set.floor("wasmtime", call(instances[0].take().expect("it was made")));
            set.case("wasmer", Goal::AtMost(goal), call(instances[1].take().expect("it was made")));
            set.run();
        }
    }
}

fn instantiation(bench: &mut Bench) {
    const NAME: &str = "instantiate and drop";
    if !bench.wants(NAME) {
        return;
    }
    let (runtime, wasm, limits) = (&runtime(), guest(), &ResourceLimits::default());
    let [first, second] =
        [wasmtime(), wasmer()].map(|engine| runtime.block_on(load(&*engine, &wasm, Metering::Off)));
    let make = move |component: ComponentHandle| {
        move |times: u64| {
            runtime.block_on(async {
                for _ in 0..times {
                    drop(black_box(instantiate(&component, limits).await));
                }
            });
        }
    };
    let mut set = bench.batches(NAME);
    set.floor("wasmtime", make(first));
    set.case("wasmer", Goal::AtMost(2.0), make(second));
    set.run();
}

fn cache(bench: &mut Bench) {
    const NAME: &str = "load from the code cache";
    if !bench.wants(NAME) {
        return;
    }
    let (runtime, wasm) = (&runtime(), &guest());
    let folders = [(); 2].map(|()| tempfile::tempdir().expect("a folder can be made"));
    let code = |folder: &tempfile::TempDir| Some(folder.path().join("code"));
    let first = WasmtimeConfig {
        allocation: Allocation::Pooling { max_instances: 64 },
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
    let mut set = bench.batches(NAME);
    set.floor("wasmtime", read(first));
    set.case("wasmer", Goal::AtMost(3.0), read(second));
    set.run();
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
    let mut set = bench.batches(NAME);
    set.floor("wasmtime", compile(wasmtime()));
    set.case("wasmer", Goal::Report, compile(wasmer()));
    set.run();
}
