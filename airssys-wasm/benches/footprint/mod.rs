//! What an idle instance costs, everything included. Each case runs in a process of its own, so that none inherits
//! another's pages.

use std::env;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use airssys_wasm::core::component::ComponentId;
use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm::wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};
use airssys_wasm::{Host, Installation};
use airssys_wasm_conformance::guests::Guest;
use tokio::runtime::{Builder, Runtime};

use crate::raw;

/// Tells a process that it is a case, which one, and with how many instances.
const CASE: &str = "AIRSSYS_WASM_BENCH_CASE";
/// Where a case may keep files.
const FOLDER: &str = "AIRSSYS_WASM_BENCH_FOLDER";
const PAYLOAD: [u8; 64] = [b'x'; 64];

/// Whose instances are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// Wasmtime by hand: a task and its channel for each instance.
    Plain,
    /// The host on the Wasmtime engine.
    Wasmtime,
    /// The host on the Wasmer engine.
    #[cfg(feature = "wasmer")]
    #[allow(dead_code, reason = "only one bench compares engines")]
    Wasmer,
}

impl Case {
    const ALL: &[Self] = &[
        Self::Plain,
        Self::Wasmtime,
        #[cfg(feature = "wasmer")]
        Self::Wasmer,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Wasmtime => "wasmtime",
            #[cfg(feature = "wasmer")]
            Self::Wasmer => "wasmer",
        }
    }
}

/// What a process does that was started for a case. None in the process that measures.
pub(crate) fn child() -> Option<ExitCode> {
    env::var(CASE).ok().map(|case| run_case(&case))
}

/// What a process uses, or each of its instances.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Footprint {
    pub(crate) resident: f64,
    pub(crate) tables: f64,
    pub(crate) mappings: f64,
    addresses: f64,
    pub(crate) nanos: f64,
}

impl Footprint {
    const FIGURES: usize = 5;

    fn figures(self) -> [f64; Self::FIGURES] {
        [self.resident, self.tables, self.mappings, self.addresses, self.nanos]
    }

    fn from_figures([resident, tables, mappings, addresses, nanos]: [f64; Self::FIGURES]) -> Self {
        Self { resident, tables, mappings, addresses, nanos }
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MIB: f64 = 1_048_576.0;
        let Self { resident, tables, mappings, addresses, .. } = self;
        let (resident, tables, addresses) = (resident / MIB, tables / MIB, addresses / MIB / MIB);
        write!(
            f,
            "{resident:.0} MiB resident, {tables:.0} MiB of page tables, {mappings} mappings, {addresses:.1} TiB of addresses"
        )
    }
}

/// Of a case: what each of its instances uses, and what its process does.
pub(crate) fn measure(case: Case, count: u32) -> (Footprint, Footprint) {
    let folder =
        tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written to");
    let program = env::current_exe().expect("this program has a path");
    let output = Command::new(program)
        .env(CASE, format!("{} {count}", case.name()))
        .env(FOLDER, folder.path())
        .output();
    let output = output.expect("this program can be started again");
    let text = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> = text.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
    let (each, whole) = figures.split_at_checked(Footprint::FIGURES).unwrap_or_default();
    match (each.try_into(), whole.try_into()) {
        (Ok(each), Ok(whole)) => (Footprint::from_figures(each), Footprint::from_figures(whole)),
        _ => panic!("the case {case:?} failed: {}{text}", String::from_utf8_lossy(&output.stderr)),
    }
}

#[expect(clippy::print_stdout, reason = "this is how a case tells its result")]
fn run_case(case: &str) -> ExitCode {
    let (case, count) = case.split_once(' ').expect("the parent names a case and a count");
    let count: u32 = count.parse().expect("the parent names a count");
    let case = Case::ALL.iter().find(|known| known.name() == case).expect("the parent names a case");
    let runtime =
        Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime can be made");
    let (each, whole) = match case {
        Case::Plain => plain(&runtime, count),
        Case::Wasmtime => product(&runtime, count, wasmtime),
        #[cfg(feature = "wasmer")]
        Case::Wasmer => product(&runtime, count, wasmer),
    };
    for figure in each.figures().into_iter().chain(whole.figures()) {
        println!("{figure}");
    }
    ExitCode::SUCCESS
}

/// What the instances made by `make` use, each, and what the process then uses.
async fn each(count: u32, make: impl AsyncFnOnce()) -> (Footprint, Footprint) {
    let (before, start) = (now(), std::time::Instant::now());
    make().await;
    let (nanos, after) = (start.elapsed().as_nanos() as f64, now());
    let each = |before: f64, after: f64| (after - before) / f64::from(count);
    let each = Footprint {
        resident: each(before.resident, after.resident),
        tables: each(before.tables, after.tables),
        mappings: each(before.mappings, after.mappings),
        addresses: each(before.addresses, after.addresses),
        nanos: nanos / f64::from(count),
    };
    (each, after)
}

fn now() -> Footprint {
    let status = fs::read_to_string("/proc/self/status").expect("/proc can be read");
    let kilobytes = |name: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells of it");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("it is a number") * 1024.0
    };
    let mappings = fs::read_to_string("/proc/self/maps").expect("/proc can be read").lines().count();
    Footprint {
        resident: kilobytes("VmRSS:"),
        tables: kilobytes("VmPTE:"),
        mappings: mappings as f64,
        addresses: kilobytes("VmSize:"),
        nanos: 0.0,
    }
}

fn plain(runtime: &Runtime, count: u32) -> (Footprint, Footprint) {
    let wasm = Guest::Echo.bytes().expect("the guest is there");
    let component = raw::load(&raw::engine(count + 1), &wasm);
    let start = async || {
        let mut instance = raw::Instance::new(&component, raw::State::default()).await;
        instance.init(&[]).await;
        let mailbox = raw::spawn(instance);
        assert_eq!(raw::ask(&mailbox, PAYLOAD.to_vec()).await, PAYLOAD);
        mailbox
    };
    runtime.block_on(async {
        let mut running = Vec::with_capacity(count as usize + 1);
        running.push(start().await);
        each(count, async || {
            for _ in 0..count {
                running.push(start().await);
            }
        })
        .await
    })
}

/// An engine that keeps its code in the folder and has room for so many instances.
fn wasmtime(folder: &Path, count: u32) -> Arc<dyn RuntimeEngine> {
    let config = WasmtimeConfig {
        allocation: Allocation::Pooling { max_instances: count + 1 },
        code_cache: Some(folder.join("cache")),
        ..WasmtimeConfig::default()
    };
    Arc::new(WasmtimeEngine::new(config).expect("the pool fits into the address space"))
}

#[cfg(feature = "wasmer")]
fn wasmer(folder: &Path, _: u32) -> Arc<dyn RuntimeEngine> {
    use airssys_wasm::wasmer::{WasmerConfig, WasmerEngine};
    let config = WasmerConfig { code_cache: Some(folder.join("cache")), ..WasmerConfig::default() };
    Arc::new(WasmerEngine::new(config).expect("the engine can be made"))
}

fn product(
    runtime: &Runtime,
    count: u32,
    engine: fn(&Path, u32) -> Arc<dyn RuntimeEngine>,
) -> (Footprint, Footprint) {
    let wasm: Arc<[u8]> = Guest::Echo.bytes().expect("the guest is there").into();
    let folder = env::var_os(FOLDER).expect("the parent names a folder");
    runtime.block_on(async {
        let engine = engine(Path::new(&folder), count);
        let mut host_config = airssys_wasm::core::config::HostConfig::default();
        host_config.runtime.max_instances = count + 1;
        let host = Host::builder().config(host_config).engine(engine).build().await;
        let host = host.expect("the host is complete");
        let start = async |number: u32| {
            let id: ComponentId = format!("bench/echo-{number}").parse().expect("the id is valid");
            let source = airssys_wasm::Source::Bytes(wasm.clone());
            host.install(Installation::new(id.clone(), source)).await.expect("the component is valid");
            host.start(&id).await.expect("the component starts");
            let answer = host.request(&id, PAYLOAD).await.expect("it answers");
            assert_eq!(answer.payload, PAYLOAD);
        };
        start(count).await;
        each(count, async || {
            for number in 0..count {
                start(number).await;
            }
        })
        .await
    })
}
