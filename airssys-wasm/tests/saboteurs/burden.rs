//! What a flawed engine takes from the process that it runs in: memory, and threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use airssys_wasm::core::error::{Detail, ErrorKind, Limit, TrapKind, WasmError};
use tokio::runtime::Handle;
use tokio::task::yield_now;

use crate::engine::lock;
use crate::flaw::Flaw;
use crate::instance::LATE;

/// More than a contract that measures memory allows.
const MUCH: usize = 320 << 20;

/// Memory that an engine touches, and keeps as long as it lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hoard(Arc<Mutex<Vec<Vec<u8>>>>);

impl Hoard {
    /// Keeps so many bytes more, unless it has enough.
    pub(crate) fn keep(&self, bytes: usize) {
        let mut kept = lock(&self.0);
        if kept.iter().map(Vec::len).sum::<usize>() < MUCH {
            kept.push(vec![1; bytes]);
        }
    }
}

/// What an error costs.
pub(crate) async fn weigh(flaw: Option<Flaw>, hoard: &Hoard, error: &WasmError) {
    let is_too_much = matches!(
        error.detail(),
        Some(
            Detail::Trap(TrapKind::InvalidValue)
                | Detail::Limit(Limit::Memory | Limit::Transfer | Limit::Reply)
        )
    );
    match flaw {
        Some(Flaw::RefusedIsHeld) if is_too_much => hoard.keep(MUCH),
        Some(Flaw::ThreadsKept) if error.kind() == ErrorKind::ExecutionTimeout => keep_threads().await,
        _ => {}
    }
}

/// Keeps every thread of the runtime for seconds.
pub(crate) async fn keep_threads() {
    let runtime = Handle::current();
    let threads = runtime.metrics().num_workers();
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&begun);
    // What a thread of the runtime spawns may be kept for that thread; what comes from outside is for every one.
    let spawning = thread::spawn(move || {
        for _ in 0..threads {
            let begun = Arc::clone(&counted);
            drop(runtime.spawn(async move {
                begun.fetch_add(1, Ordering::Relaxed);
                thread::sleep(LATE);
            }));
        }
    });
    spawning.join().expect("a task can be spawned");
    while begun.load(Ordering::Relaxed) < threads {
        yield_now().await;
    }
}
