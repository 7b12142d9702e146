//! What an idle instance costs, everything included. Each case runs in a process of its own, so that none inherits
//! another's pages.

use std::path::Path;
use std::process::ExitCode;

use airssys_wasm_conformance::bench::{self, Bench, Goal, Unit};

mod footprint;
mod raw;

use footprint::{Case, Footprint, measure};

fn main() -> ExitCode {
    if let Some(ended) = footprint::child() {
        return ended;
    }
    bench::run("memory", |bench| {
        for count in [1_000, 10_000] {
            instances(bench, count);
        }
    })
}

fn instances(bench: &mut Bench, count: u32) {
    let set = format!("resident memory of an idle instance, of {count}");
    if !bench.wants(&set) || (count > 1_000 && bench.is_quick()) {
        return;
    }
    if !Path::new("/proc/self/status").exists() {
        return bench.note("memory is only measured where /proc tells of it");
    }
    let count = if bench.is_smoke() { 10 } else { count };
    let (floor, floor_process) = measure(Case::Plain, count);
    let (host, host_process) = measure(Case::Wasmtime, count);
    let figure = |part: fn(&Footprint) -> f64| {
        [
            ("wasmtime, a task and its channel", part(&floor), Goal::Report),
            ("host, a component each", part(&host), Goal::AtMost(2.0)),
        ]
    };
    bench.values(&set, Unit::Bytes, &figure(|footprint| footprint.resident));
    bench.values(
        &format!("page tables of an idle instance, of {count}"),
        Unit::Bytes,
        &figure(|footprint| footprint.tables),
    );
    bench.values(
        &format!("mappings of an idle instance, of {count}"),
        Unit::Count,
        &figure(|footprint| footprint.mappings),
    );
    for (case, footprint) in [("wasmtime", floor_process), ("host", host_process)] {
        bench.note(&format!("{case}, the whole process: {footprint}"));
    }
    let started =
        [("wasmtime", floor.nanos, Goal::Report), ("host, from its cache", host.nanos, Goal::Report)];
    bench.values(&format!("install, start and ask, of {count}"), Unit::Nanoseconds, &started);
}
