//! Traps of Wasmer and of adapters, as the typed errors that every engine agrees on.

use std::io;

use airssys_wasm_core::error::{ErrorKind, Limit, TrapKind, WasmError};
use airssys_wasm_engine::text::{escaped, timeout};
use wasmer_compiler::{InstantiationError, LinkError, get_trace_and_trapcode};
use wasmer_vm::{Trap, TrapCode};

use crate::bounds::Totals;

const MAX_TEXT: usize = 1024;
/// The most characters of the name of one function.
const MAX_FRAME: usize = 64;

/// What a call ended with when guest code trapped.
pub(crate) fn of_trap(operation: &'static str, trap: &Trap, totals: &Totals) -> WasmError {
    let (frames, code) = get_trace_and_trapcode(trap);
    let Some(code) = code else {
        return match trap {
            Trap::OOM { .. } => WasmError::new(ErrorKind::Internal, operation)
                .saying("the system does not provide the memory that a call needs"),
            _ => WasmError::trapped(operation, TrapKind::Other).because(escaped(&trap.to_string(), MAX_TEXT)),
        };
    };
    let mut error = match code {
        TrapCode::UnreachableCodeReached if totals.refused_memory() => {
            WasmError::limited(operation, Limit::Memory)
                .saying("the component was refused more memory, and gave up")
                .because(WasmError::trapped(operation, TrapKind::Unreachable))
                .advising("raise the memory limit of this component")
        }
        code => WasmError::trapped(operation, trap_kind(code)).because(code.message()),
    };
    if let Some(frame) = frames.first() {
        error = match frame.function_name() {
            Some(name) => error.with("frames", escaped(name, MAX_FRAME)),
            None => error.with("frames", format_args!("function {}", frame.func_index())),
        };
    }
    error
}

fn trap_kind(code: TrapCode) -> TrapKind {
    match code {
        TrapCode::StackOverflow => TrapKind::StackOverflow,
        TrapCode::HeapAccessOutOfBounds | TrapCode::HeapMisaligned => TrapKind::MemoryOutOfBounds,
        TrapCode::TableAccessOutOfBounds => TrapKind::TableOutOfBounds,
        TrapCode::IndirectCallToNull => TrapKind::IndirectCallToNull,
        TrapCode::BadSignature => TrapKind::IndirectCallSignature,
        TrapCode::IntegerOverflow => TrapKind::IntegerOverflow,
        TrapCode::IntegerDivisionByZero => TrapKind::IntegerDivisionByZero,
        TrapCode::BadConversionToInteger => TrapKind::BadConversionToInteger,
        TrapCode::UnreachableCodeReached => TrapKind::Unreachable,
        TrapCode::UnalignedAtomic => TrapKind::Misaligned,
        _ => TrapKind::Other,
    }
}

/// What an adapter between two inner components says with a number.
pub(crate) fn of_adapter(operation: &'static str, code: u32) -> WasmError {
    use wasmtime_environ::Trap as Adapter;

    let trap = u8::try_from(code).ok().and_then(Adapter::from_u8);
    let kind = match trap {
        Some(Adapter::CannotEnterComponent | Adapter::CannotLeaveComponent) => TrapKind::CannotEnter,
        Some(
            Adapter::InvalidChar
            | Adapter::StringOutOfBounds
            | Adapter::ListOutOfBounds
            | Adapter::InvalidDiscriminant
            | Adapter::UnalignedPointer
            | Adapter::DebugAssertStringEncodingFinished
            | Adapter::DebugAssertEqualCodeUnits
            | Adapter::DebugAssertPointerAligned
            | Adapter::DebugAssertUpperBitsUnset,
        ) => TrapKind::InvalidValue,
        Some(Adapter::MemoryOutOfBounds) => TrapKind::MemoryOutOfBounds,
        Some(Adapter::UnreachableCodeReached) => TrapKind::Unreachable,
        _ => TrapKind::Other,
    };
    let error = WasmError::trapped(operation, kind);
    match trap {
        Some(trap) => error.because(trap.to_string()),
        None => error.with("code", code),
    }
}

/// Why a core instance could not be made.
pub(crate) fn of_instantiation(
    operation: &'static str,
    error: &InstantiationError,
    totals: &Totals,
) -> WasmError {
    let text = || escaped(&error.to_string(), MAX_TEXT);
    match error {
        InstantiationError::Start(trap) | InstantiationError::Link(LinkError::Trap(trap)) => {
            of_trap(operation, trap, totals)
        }
        _ => match totals.refused_minimum() {
            Some(limit) => refused_minimum(operation, limit).because(text()),
            None => WasmError::new(ErrorKind::Internal, operation)
                .saying("the system does not provide what an instance needs")
                .because(text()),
        },
    }
}

/// A component that declares more than it may have.
pub(crate) fn refused_minimum(operation: &'static str, limit: Limit) -> WasmError {
    WasmError::limited(operation, limit)
        .saying(format!("the component declares more than its limit of {limit}"))
        .advising("raise the limit of this component, or build it with less")
}

/// A deadline that passed in guest code.
pub(crate) fn timeout_while_busy(operation: &'static str) -> WasmError {
    timeout(operation).because("the deadline passed while the guest was computing")
}

/// A host function was called with too little of the stack left.
pub(crate) fn no_room(operation: &'static str) -> WasmError {
    WasmError::trapped(operation, TrapKind::StackOverflow)
        .because("too little of the stack is left for a function of the host")
}

pub(crate) fn no_realloc(operation: &'static str) -> WasmError {
    WasmError::trapped(operation, TrapKind::InvalidValue)
        .saying("the component has no allocator for what it is given")
}

pub(crate) fn no_stack(operation: &'static str, error: io::Error) -> WasmError {
    WasmError::new(ErrorKind::Internal, operation)
        .saying("the system does not provide a stack for the call")
        .because(error)
}

/// Something that cannot happen, said rather than assumed.
pub(crate) fn no_outcome(operation: &'static str) -> WasmError {
    WasmError::new(ErrorKind::Internal, operation).saying("a call came to its end without an outcome")
}
