//! The gate: how long a check takes that allows, and that it allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashSet;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use airssys_wasm::audit::AuditLog;
use airssys_wasm::core::capability::{Access, Capability, CapabilitySet};
use airssys_wasm::core::component::{ArtifactDigest, InstanceId, Version};
use airssys_wasm::core::security::{
    AuditEvent, AuditSink, GrantsOnly, IsolationBoundary, SecurityContext, SecurityMode, TrustLevel,
};
use airssys_wasm::gate::{Gate, Grants};
use airssys_wasm_conformance::bench::{self, Bench, Goal, Unit};

/// The system's allocator, and how often it was asked.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: Every call is handed to the system's allocator unchanged, which keeps the promises of the trait.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: The caller keeps the promises of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: The pointer came from `System`, because all of them do.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What the gate is compared with.
const FLOOR: &str = "a set of strings and the clock";
const CHECKS: u64 = 10_000;
const CAPACITY: usize = 4_096;

fn main() -> ExitCode {
    bench::run("gate", |bench| {
        bench.counts(&["check that allows, storage", "check that allows, messaging"]);
        allowing(bench, "storage", Access::Storage { namespace: "acme/counter" });
        allowing(bench, "messaging", Access::Messaging { address: "acme/greeter" });
    })
}

/// Takes no notice: what is left is the decision.
#[derive(Debug)]
struct Unheard;

impl AuditSink for Unheard {
    fn record(&self, event: &AuditEvent<'_>) {
        black_box(event);
    }
}

struct Setting {
    gate: Gate,
    context: SecurityContext,
    grants: Grants,
}

impl Setting {
    fn new(forbidden: &[String], granted: &[String], audit: Arc<dyn AuditSink>) -> Self {
        let set = |texts: &[String]| -> CapabilitySet {
            texts.iter().map(|text| text.parse::<Capability>().expect("the capability is valid")).collect()
        };
        Self {
            gate: Gate::new(SecurityMode::Strict, set(forbidden), Arc::new(GrantsOnly), audit),
            context: SecurityContext {
                instance: InstanceId::new(
                    "acme/counter".parse().expect("the id is valid"),
                    Version::new(1, 0, 0),
                    1,
                ),
                digest: ArtifactDigest::from_bytes([7; 32]),
                trust: TrustLevel::Unknown,
                boundary: IsolationBoundary::Sandbox,
            },
            grants: Grants::new(set(granted)),
        }
    }

    fn check(&self, access: Access<'_>) {
        assert!(self.gate.check(black_box(&self.context), &self.grants, black_box(access)).is_allowed());
    }
}

fn allowing(bench: &mut Bench, kind: &'static str, access: Access<'static>) {
    let name = format!("check that allows, {kind}");
    if !bench.wants(&name) {
        return;
    }
    let object = access.to_string();
    let granted = vec![object.clone()];
    // Those before it in the order of a set are looked at first.
    let many: Vec<_> = (0..9).map(|number| format!("{kind}:aaa{number}/*")).chain([object.clone()]).collect();
    let forbidden: Vec<_> = (0..10).map(|number| format!("{kind}:bank{number}/*")).collect();
    let settings: [(&'static str, Setting); 4] = [
        ("1 grant, no audit", Setting::new(&[], &granted, Arc::new(Unheard))),
        ("1 grant, audit log", Setting::new(&[], &granted, Arc::new(AuditLog::new(CAPACITY)))),
        ("10 grants, audit log", Setting::new(&[], &many, Arc::new(AuditLog::new(CAPACITY)))),
        (
            "10 grants, 10 forbidden, audit log",
            Setting::new(&forbidden, &many, Arc::new(AuditLog::new(CAPACITY))),
        ),
    ];
    // A log that is full writes over its oldest entries: what it needs to get there is its own memory.
    for (_, setting) in &settings {
        allocations(CAPACITY as u64, || setting.check(access));
    }
    let counted: Vec<_> = settings
        .iter()
        .map(|(name, setting)| (*name, allocations(CHECKS, || setting.check(access)), Goal::Below(0.0)))
        .collect();

    let names: HashSet<String> =
        (0..10).map(|number| format!("{kind}:{number}")).chain([object.clone()]).collect();
    let mut set = bench.batches(name.clone());
    set.floor(FLOOR, move |times| {
        for _ in 0..times {
            assert!(black_box(&names).contains(black_box(object.as_str())));
            black_box(SystemTime::now());
        }
    });
    for (name, setting) in settings {
        set.case(name, Goal::Below(100.0), move |times| {
            for _ in 0..times {
                setting.check(access);
            }
        });
    }
    set.run();
    let mut line = bench.compare(&name, &name);
    for (setting, ..) in &counted {
        line = line.column(setting, setting, &[(FLOOR, "floor")]);
    }
    bench.values(&format!("allocations of {CHECKS} checks that allow, {kind}"), Unit::Count, &counted);
}

fn allocations(times: u64, check: impl Fn()) -> f64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..times {
        check();
    }
    (ALLOCATIONS.load(Ordering::Relaxed) - before) as f64
}
