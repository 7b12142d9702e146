//! A component's function next to the core function behind it: what stacks, deadlines, budgets and the canonical ABI add.

#![cfg_attr(not(supported), allow(unused, reason = "there is nothing to measure here"))]

use std::process::ExitCode;

#[cfg(supported)]
mod supported {
    use std::hint::black_box;
    use std::time::{Duration, Instant};

    use airssys_wasm_conformance::bench::{Bench, Goal};
    use airssys_wasm_conformance::fakes::FakeHost;
    use airssys_wasm_core::component::ResourceLimits;
    use airssys_wasm_core::runtime::{CallBudget, Component, ExportName, LoadOptions, RuntimeEngine, Value};
    use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};
    use tokio::runtime::{Builder, Runtime};
    use wasmer::{Instance, Module, Store, TypedFunction, imports};

    /// `nothing` returns; `echo` takes bytes that were put into its memory, and returns where they are.
    const CORE: &str = r#"
        (memory (export "memory") 4)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "nothing"))
        (func (export "echo") (param i32 i32) (result i32)
            (i32.store (i32.const 0) (local.get 0)) (i32.store (i32.const 4) (local.get 1)) (i32.const 0))"#;

    fn budget() -> CallBudget {
        CallBudget { deadline: Some(Instant::now() + Duration::from_secs(20)), fuel: None }
    }

    fn component(runtime: &Runtime) -> Box<dyn Component> {
        let text = format!(
            r#"(component (core module $m {CORE}) (core instance $i (instantiate $m))
                (func (export "nothing") (canon lift (core func $i "nothing")))
                (func (export "echo") (param "bytes" (list u8)) (result (list u8))
                    (canon lift (core func $i "echo") (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
        );
        let wasm = wat::parse_str(text).expect("the component is well-formed");
        let engine = WasmerEngine::new(WasmerConfig::default()).expect("the engine can be made");
        runtime.block_on(async {
            let loaded = engine.load(&wasm, LoadOptions::default()).await.expect("it is valid");
            let services = FakeHost::new("bench/core").services();
            let made = loaded.instantiate(&ResourceLimits::default(), services, budget()).await;
            made.expect("it is sound")
        })
    }

    fn core() -> (Store, Instance) {
        let mut store = Store::default();
        let wasm = wat::parse_str(format!("(module {CORE})")).expect("the module is well-formed");
        let module = Module::new(&store, wasm).expect("it is valid");
        let instance = Instance::new(&mut store, &module, &imports! {}).expect("it is sound");
        (store, instance)
    }

    pub(super) fn calls(bench: &mut Bench) {
        bench.versions(include_str!("../../Cargo.lock"), &["wasmer"]);
        bench.counts(&["a function that does nothing"]);
        let runtime = &Builder::new_current_thread().build().expect("a runtime can be made");
        if bench.wants("a function that does nothing") {
            let (mut store, instance) = core();
            let nothing: TypedFunction<(), ()> =
                instance.exports.get_typed_function(&store, "nothing").expect("it is exported");
            let mut component = component(runtime);
            let name: ExportName = "nothing".parse().expect("the name is valid");
            let mut set = bench.batches("a function that does nothing");
            set.floor("wasmer, the core function", move |times| {
                for _ in 0..times {
                    nothing.call(&mut store).expect("it returns");
                }
            });
            set.case("engine, called by name", Goal::Report, move |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        black_box(component.call(&name, &[], budget()).await.expect("it returns"));
                    }
                });
            });
            set.run();
            compare(bench, "a function that does nothing", "wasmer, the core function");
        }
        if bench.wants("64 KiB in and out") {
            let bytes = &vec![7_u8; 64 << 10];
            let (mut store, instance) = core();
            let memory = instance.exports.get_memory("memory").expect("it is exported").clone();
            let echo: TypedFunction<(i32, i32), i32> =
                instance.exports.get_typed_function(&store, "echo").expect("it is exported");
            let mut component = component(runtime);
            let name: ExportName = "echo".parse().expect("the name is valid");
            let mut set = bench.batches("64 KiB in and out");
            set.floor("wasmer, the core function and two copies", move |times| {
                for _ in 0..times {
                    memory.view(&store).write(1024, bytes).expect("it fits");
                    echo.call(&mut store, 1024, bytes.len() as i32).expect("it returns");
                    let mut back = vec![0; bytes.len()];
                    memory.view(&store).read(1024, &mut back).expect("it is there");
                    black_box(back);
                }
            });
            set.case("engine, called by name", Goal::Report, move |times| {
                runtime.block_on(async {
                    for _ in 0..times {
                        let arguments = [Value::Bytes(bytes.clone())];
                        black_box(component.call(&name, &arguments, budget()).await.expect("it returns"));
                    }
                });
            });
            set.run();
            compare(bench, "64 KiB in and out", "wasmer, the core function and two copies");
        }
    }

    fn compare(bench: &mut Bench, set: &str, raw: &str) {
        bench.compare(set, set).column("raw Wasmer, a core module", raw, &[]).column(
            "Wasmer engine, a component",
            "engine, called by name",
            &[(raw, "raw")],
        );
    }
}

fn main() -> ExitCode {
    #[cfg(supported)]
    return airssys_wasm_conformance::bench::run("core_calls", supported::calls);
    #[cfg(not(supported))]
    ExitCode::SUCCESS
}
