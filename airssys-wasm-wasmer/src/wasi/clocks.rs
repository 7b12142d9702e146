//! `wasi:clocks`: the clocks of the system, and pollables that are ready at a time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use airssys_wasm_core::error::Result;
use airssys_wasm_core::runtime::Value;

use super::arguments::Arguments;
use super::table::{Deadline, Resource};
use super::{Function, Wasi, handle};

pub(super) fn find(interface: &str, function: &str) -> Option<Function> {
    let found: Function = match (interface, function) {
        ("monotonic-clock", "now") => |wasi, _| Ok(Value::U64(now(wasi))).into(),
        ("monotonic-clock", "resolution") => {
            |_, _| Ok(Value::U64(nanoseconds(resolution(Clock::Monotonic)))).into()
        }
        ("monotonic-clock", "subscribe-instant") => |wasi, arguments| {
            let mut arguments = Arguments::of("monotonic-clock.subscribe-instant", arguments);
            let left = arguments.u64().map(|when| when.saturating_sub(now(wasi)));
            left.and_then(|left| subscribe(wasi, arguments.operation, left)).into()
        },
        ("monotonic-clock", "subscribe-duration") => |wasi, arguments| {
            let mut arguments = Arguments::of("monotonic-clock.subscribe-duration", arguments);
            arguments.u64().and_then(|left| subscribe(wasi, arguments.operation, left)).into()
        },
        ("wall-clock", "now") => {
            |_, _| Ok(datetime(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())).into()
        }
        ("wall-clock", "resolution") => |_, _| Ok(datetime(resolution(Clock::Wall))).into(),
        _ => return None,
    };
    Some(found)
}

fn now(wasi: &Wasi) -> u64 {
    nanoseconds(wasi.started.elapsed())
}

fn subscribe(wasi: &Wasi, operation: &'static str, left: u64) -> Result<Value> {
    let deadline = match Instant::now().checked_add(Duration::from_nanos(left)) {
        _ if left == 0 => Deadline::Past { had_turn: false },
        Some(at) => Deadline::At(at),
        None => Deadline::Never,
    };
    let mut table = wasi.table.borrow_mut();
    let deadline = table.add(operation, Resource::Deadline(deadline))?;
    table.subscribe(operation, deadline, true).map(handle)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn datetime(time: Duration) -> Value {
    Value::Record(vec![
        ("seconds".into(), Value::U64(time.as_secs())),
        ("nanoseconds".into(), Value::U32(time.subsec_nanos())),
    ])
}

/// A clock of the system.
#[derive(Clone, Copy, Debug)]
enum Clock {
    Monotonic,
    Wall,
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "the standard library does not tell how fine its clocks are")]
fn resolution(clock: Clock) -> Duration {
    let clock = match clock {
        Clock::Monotonic => libc::CLOCK_MONOTONIC,
        Clock::Wall => libc::CLOCK_REALTIME,
    };
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the write, and every system has both clocks. On failure it stays zero.
    unsafe { libc::clock_getres(clock, &raw mut time) };
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// What Windows promises at least.
#[cfg(not(unix))]
fn resolution(clock: Clock) -> Duration {
    match clock {
        Clock::Monotonic => Duration::from_nanos(100),
        Clock::Wall => Duration::from_millis(55),
    }
}
