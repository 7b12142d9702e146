//! Two engines, the same generated components and calls: what they answer, ask, refuse and count is compared.
//!
//! `AIRSSYS_WASM_CASES` says how many calls are compared, and `AIRSSYS_WASM_SEED` with which seed to begin. A seed stands for
//! one component and the calls to it.

#![cfg(all(feature = "wasmtime", feature = "wasmer", target_os = "linux"))]
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says how far it came"
)]

mod case;
mod kind;
mod module;
mod stage;
mod value;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm::wasmer::{WasmerConfig, WasmerEngine};
use airssys_wasm::wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};
use case::{Case, Verdict};

/// How many calls are compared when nobody says.
const CASES: u64 = 2_000;

/// Seeds that once showed a difference, as long as the generators make the same of them: modules with an `externref`, which one engine
/// took and the other refused.
const SEEDS: &[u64] = &[7, 30, 93];

struct Engines {
    wasmtime: Arc<dyn RuntimeEngine>,
    wasmer: Arc<dyn RuntimeEngine>,
}

impl Engines {
    fn new() -> Self {
        let allocation = Allocation::Pooling { max_instances: 16 };
        let config = WasmtimeConfig { allocation, ..WasmtimeConfig::default() };
        Self {
            wasmtime: Arc::new(WasmtimeEngine::new(config).unwrap()),
            wasmer: Arc::new(WasmerEngine::new(WasmerConfig::default()).unwrap()),
        }
    }

    /// Runs one seed on both.
    fn compare(&self, seed: u64) -> Verdict {
        let case = Case::generate(seed);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let [wasmtime, wasmer] =
            [&self.wasmtime, &self.wasmer].map(|engine| runtime.block_on(case.run(&**engine)));
        Verdict::of(&wasmtime, &wasmer).unwrap_or_else(|difference| {
            let path = std::env::temp_dir().join(format!("airssys-wasm-seed-{seed}.wasm"));
            std::fs::write(&path, &case.wasm).unwrap();
            panic!("seed {seed}: {difference}\nthe component is in {}", path.display());
        })
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse().unwrap_or_else(|error| panic!("{variable} is `{text}`, and should be a number: {error}"))
    })
}

#[test]
fn seeds_that_differed_once_are_the_same() {
    let engines = Engines::new();
    for seed in SEEDS {
        engines.compare(*seed);
    }
}

fn rotate<T>(list: &mut [T]) {
    list.rotate_left(list.len().min(1));
}

/// The same component is told other things the second time: what it is asked, answers and uses is compared, and not only that it runs.
#[test]
fn another_answer_of_the_host_is_a_difference() {
    let engines = Engines::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let differs = |seed: u64, change: &dyn Fn(&mut Case)| {
        let (case, mut changed) = (Case::generate(seed), Case::generate(seed));
        change(&mut changed);
        let traces = [&case, &changed].map(|case| runtime.block_on(case.run(&*engines.wasmer)));
        Verdict::of(&traces[0], &traces[1]).is_err()
    };
    let seeds = || 0..60;
    assert!(!seeds().any(|seed| differs(seed, &|_| {})), "one engine differs from itself");
    let answers = seeds().filter(|seed| differs(*seed, &|case| rotate(&mut case.answers))).count();
    assert!(answers >= 5, "only {answers} components show what the host answers");
    let arguments = seeds().filter(|seed| differs(*seed, &|case| rotate(&mut case.calls))).count();
    assert!(arguments >= 5, "only {arguments} components show what they are called with");
    let fuel = |case: &mut Case| case.fuel = case.fuel.and(std::num::NonZeroU64::new(1));
    assert!(seeds().filter(|seed| differs(*seed, &fuel)).count() >= 5, "hardly any component uses fuel");
}

#[test]
fn generated_components_do_the_same_on_both() {
    let (first, cases) = (number("AIRSSYS_WASM_SEED", 0), number("AIRSSYS_WASM_CASES", CASES));
    let engines = Engines::new();
    let [seeds, calls, deep] = [const { AtomicU64::new(0) }; 3];
    let endings = Mutex::new(BTreeMap::<String, u64>::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while calls.load(Ordering::Relaxed) < cases {
                    let verdict = engines.compare(first + seeds.fetch_add(1, Ordering::Relaxed));
                    calls.fetch_add(verdict.calls, Ordering::Relaxed);
                    deep.fetch_add(u64::from(verdict.stack), Ordering::Relaxed);
                    let ending = verdict.ending.unwrap_or_else(|| "no error".to_owned());
                    *endings.lock().unwrap().entry(ending).or_default() += 1;
                }
            });
        }
    });
    let [seeds, calls, deep] = [seeds, calls, deep].map(AtomicU64::into_inner);
    let endings = endings.into_inner().unwrap();
    println!("{calls} calls to {seeds} components, {deep} of which came to the end of a stack");
    for (ending, count) in &endings {
        println!("{count:8} {ending}");
    }
    // A generator that only makes components which fail, or which never do, compares little.
    let well = endings.get("no error").copied().unwrap_or_default();
    assert!(well > seeds / 5 && well < seeds * 9 / 10, "{well} of {seeds} components ended in no error");
    assert!(cases < CASES || endings.len() >= 8, "there are only these endings: {endings:?}");
    assert!(deep <= seeds / 20, "{deep} of {seeds} components met the end of a stack");
}
