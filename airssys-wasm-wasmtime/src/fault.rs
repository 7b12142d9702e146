//! Errors of Wasmtime, as the typed errors that every engine agrees on.

use std::fmt;

use airssys_wasm_core::error::{Limit, TrapKind, WasmError};
pub(crate) use airssys_wasm_engine::text::{escaped, of_panic, timeout};
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::budget::DeadlinePassed;
use crate::limits::Totals;

/// The most characters of a text that a guest wrote into an error.
const MAX_TEXT: usize = 1024;
/// The most characters of the name of one function.
const MAX_FRAME: usize = 64;
/// The most frames of a backtrace.
const MAX_FRAMES: usize = 8;

/// What a call ended with, when that was not an answer of the guest.
pub(crate) fn of_call(operation: &'static str, error: wasmtime::Error, totals: &Totals) -> WasmError {
    if error.is::<WasmError>() {
        // The error that a service answered with ended the call: it is the outcome, as it is.
        return match error.downcast() {
            Ok(error) => error,
            Err(error) => unknown(operation, &error),
        };
    }
    let frames = frames(&error);
    let mut outcome = classify(operation, &error, totals);
    if let Some(frames) = frames {
        outcome = outcome.with("frames", frames);
    }
    outcome
}

/// As [`of_call`], while an instance is being made.
pub(crate) fn of_instantiation(
    operation: &'static str,
    error: wasmtime::Error,
    totals: &Totals,
) -> WasmError {
    if let Some(limit) = totals.refused_minimum().filter(|_| !error.is::<Trap>() && !error.is::<WasmError>())
    {
        return WasmError::limited(operation, limit)
            .saying(format!("the component declares more than its limit of {limit}"))
            .because(plain(&error))
            .advising("raise the limit of this component, or build it with less");
    }
    of_call(operation, error, totals)
}

/// An error of Wasmtime as a source: its cause, without the backtrace that is wrapped around it.
pub(crate) fn plain(error: &wasmtime::Error) -> String {
    escaped(&error.root_cause().to_string(), MAX_TEXT)
}

/// An error of Wasmtime with everything on the way to its cause, on one line.
pub(crate) fn chain(error: &wasmtime::Error) -> String {
    let links: Vec<_> = error.chain().map(ToString::to_string).collect();
    escaped(&links.join(": "), MAX_TEXT)
}

fn classify(operation: &'static str, error: &wasmtime::Error, totals: &Totals) -> WasmError {
    if error.is::<DeadlinePassed>() {
        return timeout(operation);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return of_trap(operation, *trap, totals);
    }
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return WasmError::limited(operation, Limit::LiveInstances)
            .because(full.to_string())
            .advising("stop other components, or give the engine more slots");
    }
    if let Some(table) = error.downcast_ref::<ResourceTableError>() {
        return match table {
            ResourceTableError::Full => WasmError::limited(operation, Limit::Handles),
            _ => WasmError::trapped(operation, TrapKind::InvalidHandle),
        }
        .because(table.to_string());
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return WasmError::trapped(operation, TrapKind::Other)
            .saying("the component asked to exit, and a component of this host is not a program")
            .with("status", exit.0);
    }
    of_text(operation, error)
}

fn of_trap(operation: &'static str, trap: Trap, totals: &Totals) -> WasmError {
    let outcome = match trap {
        Trap::OutOfFuel => WasmError::limited(operation, Limit::Fuel),
        Trap::Interrupt => timeout(operation),
        Trap::UnreachableCodeReached if totals.refused_memory() => {
            return WasmError::limited(operation, Limit::Memory)
                .saying("the component was refused more memory, and gave up")
                .because(WasmError::trapped(operation, TrapKind::Unreachable))
                .advising("raise the memory limit of this component");
        }
        _ => WasmError::trapped(operation, trap_kind(trap)),
    };
    outcome.because(trap)
}

/// Every trap of this version of Wasmtime. Those of the asynchronous Component Model and of garbage collection cannot
/// happen here: both are switched off.
fn trap_kind(trap: Trap) -> TrapKind {
    match trap {
        Trap::StackOverflow => TrapKind::StackOverflow,
        Trap::MemoryOutOfBounds => TrapKind::MemoryOutOfBounds,
        Trap::HeapMisaligned => TrapKind::Misaligned,
        Trap::TableOutOfBounds => TrapKind::TableOutOfBounds,
        Trap::IndirectCallToNull => TrapKind::IndirectCallToNull,
        Trap::BadSignature => TrapKind::IndirectCallSignature,
        Trap::IntegerOverflow => TrapKind::IntegerOverflow,
        Trap::IntegerDivisionByZero => TrapKind::IntegerDivisionByZero,
        Trap::BadConversionToInteger => TrapKind::BadConversionToInteger,
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::NullReference => TrapKind::NullReference,
        // To leave an instance at a forbidden moment, such as in its post-return, is to enter another one then.
        Trap::CannotEnterComponent | Trap::CannotLeaveComponent => TrapKind::CannotEnter,
        Trap::InvalidChar
        | Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::UnalignedPointer
        | Trap::DebugAssertStringEncodingFinished
        | Trap::DebugAssertEqualCodeUnits
        | Trap::DebugAssertPointerAligned
        | Trap::DebugAssertUpperBitsUnset => TrapKind::InvalidValue,
        Trap::Interrupt
        | Trap::OutOfFuel
        | Trap::AtomicWaitNonSharedMemory
        | Trap::ArrayOutOfBounds
        | Trap::AllocationTooLarge
        | Trap::CastFailure
        | Trap::NoAsyncResult
        | Trap::UnhandledTag
        | Trap::ContinuationAlreadyConsumed
        | Trap::DisabledOpcode
        | Trap::AsyncDeadlock
        | Trap::CannotBlockSyncTask
        | Trap::TaskCancelNotCancelled
        | Trap::TaskCancelOrReturnTwice
        | Trap::SubtaskCancelAfterTerminal
        | Trap::TaskReturnInvalid
        | Trap::WaitableSetDropHasWaiters
        | Trap::SubtaskDropNotResolved
        | Trap::ThreadNewIndirectInvalidType
        | Trap::ThreadNewIndirectUninitialized
        | Trap::BackpressureOverflow
        | Trap::UnsupportedCallbackCode
        | Trap::CannotResumeThread
        | Trap::ConcurrentFutureStreamOp
        | Trap::ReferenceCountOverflow
        | Trap::StreamOpTooBig
        | Trap::WaitableSyncAndAsync
        | Trap::UncaughtException => TrapKind::Other,
        _ => TrapKind::Other,
    }
}

/// Violations of the canonical ABI have no type in Wasmtime, only a text. The version is pinned, and tests provoke each.
const HANDLES_FULL: &[&str] =
    &["store handle limit exceeded", "cannot allocate another handle", "too many active lends"];
const INVALID_HANDLE: &[&str] = &[
    "unknown handle index",
    "handle index",
    "index is not a resource",
    "is not a resource",
    "is not an own resource",
    "cannot remove owned resource while borrowed",
    "cannot lift own resource from a borrow",
    "borrow handles still remain",
    "resource type mismatch",
    "mismatched resource types",
    "host resource already consumed",
    "already de-allocated",
    "used with the wrong type",
    "expected `own` or `borrow`",
    "cannot lower a `borrow` resource into an `own`",
];
const INVALID_VALUE: &[&str] = &[
    "out of bounds",
    "out of range",
    "not aligned",
    "unaligned",
    "overflow",
    "too large",
    "realloc return",
    "invalid option discriminant",
    "invalid expected discriminant",
    "discriminant",
    "invalid utf",
    "unpaired surrogate",
    "out of range integral type conversion",
    "converted integer out of range",
    "invalid `char`",
    "bad flags",
];

fn of_text(operation: &'static str, error: &wasmtime::Error) -> WasmError {
    let text = plain(error);
    let has = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    let outcome = if text.contains("fuel allocated for hostcalls") || text.starts_with("requested len") {
        WasmError::limited(operation, Limit::Transfer)
    } else if has(HANDLES_FULL) {
        WasmError::limited(operation, Limit::Handles)
    } else if text.starts_with("resource limit exceeded") {
        WasmError::limited(operation, Limit::Instances)
    } else if has(INVALID_HANDLE) {
        WasmError::trapped(operation, TrapKind::InvalidHandle)
    } else if error.root_cause().is::<std::str::Utf8Error>()
        || error.root_cause().is::<std::char::DecodeUtf16Error>()
        || error.root_cause().is::<std::num::TryFromIntError>()
        || has(INVALID_VALUE)
    {
        WasmError::trapped(operation, TrapKind::InvalidValue)
    } else {
        return unknown(operation, error);
    };
    outcome.because(text)
}

fn unknown(operation: &'static str, error: &wasmtime::Error) -> WasmError {
    WasmError::trapped(operation, TrapKind::Other).because(plain(error))
}

/// The guest's stack, innermost first: `parse <- execute`.
fn frames(error: &wasmtime::Error) -> Option<String> {
    let backtrace = error.downcast_ref::<WasmBacktrace>()?;
    let mut text = String::new();
    for frame in backtrace.frames().iter().take(MAX_FRAMES) {
        if !text.is_empty() {
            text.push_str(" <- ");
        }
        match frame.func_name() {
            Some(name) => text.push_str(&escaped(name, MAX_FRAME)),
            None => fmt::write(&mut text, format_args!("function {}", frame.func_index()))
                .expect("a string takes any text"),
        }
    }
    (!text.is_empty()).then_some(text)
}

/// Whether the error was met below guest code, and not while its result was read.
pub(crate) fn is_below_guest(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<WasmBacktrace>().is_some_and(|backtrace| !backtrace.frames().is_empty())
}

#[cfg(test)]
mod tests {
    use airssys_wasm_core::component::ResourceLimits;
    use airssys_wasm_core::error::{Detail, ErrorKind};

    use super::*;

    fn totals() -> Totals {
        Totals::new(&ResourceLimits::default())
    }

    #[test]
    fn every_trap_has_a_kind() {
        let check = |trap: Trap, kind: ErrorKind, detail: Option<Detail>| {
            let error = of_call("execute", wasmtime::Error::new(trap), &totals());
            assert_eq!((error.kind(), error.detail()), (kind, detail), "{trap:?}");
        };
        let mut known = 0;
        for trap in (0..=u8::MAX).filter_map(Trap::from_u8) {
            known += 1;
            match trap {
                Trap::OutOfFuel => {
                    check(trap, ErrorKind::ResourceLimitExceeded, Some(Detail::Limit(Limit::Fuel)));
                }
                Trap::Interrupt => check(trap, ErrorKind::ExecutionTimeout, None),
                _ => check(trap, ErrorKind::ComponentTrapped, Some(Detail::Trap(trap_kind(trap)))),
            }
        }
        assert_eq!(known, 50, "Wasmtime has other traps than those that were sorted into kinds");
    }

    #[test]
    fn the_error_of_a_service_is_the_outcome() {
        let error = WasmError::limited("log", Limit::HostCalls).with("calls", 7);
        let text = error.to_string();
        let wrapped = wasmtime::Error::new(error).context("something around it");
        assert_eq!(of_call("execute", wrapped, &totals()).to_string(), text);
    }
}
