//! `wasi:random`: every number comes from the system, those that may be guessed too.

use airssys_wasm_core::error::{ErrorKind, Limit, Result, WasmError};
use airssys_wasm_core::runtime::Value;

use super::arguments::Arguments;
use super::{Function, Wasi};

pub(super) fn find(interface: &str, function: &str) -> Option<Function> {
    let found: Function = match (interface, function) {
        ("random", "get-random-bytes") => {
            |wasi, arguments| bytes(wasi, Arguments::of("random.get-random-bytes", arguments)).into()
        }
        ("random", "get-random-u64") => |_, _| number("random.get-random-u64").map(Value::U64).into(),
        ("insecure", "get-insecure-random-bytes") => |wasi, arguments| {
            bytes(wasi, Arguments::of("insecure.get-insecure-random-bytes", arguments)).into()
        },
        ("insecure", "get-insecure-random-u64") => {
            |_, _| number("insecure.get-insecure-random-u64").map(Value::U64).into()
        }
        ("insecure-seed", "insecure-seed") => |wasi, _| seed(wasi).into(),
        _ => return None,
    };
    Some(found)
}

fn bytes(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let length = arguments.u64()?;
    if length > wasi.max_random {
        return Err(WasmError::limited(arguments.operation, Limit::Transfer).because(format!(
            "{length} random bytes were asked for at once, and {} is the most",
            wasi.max_random
        )));
    }
    let mut bytes = vec![0; length as usize];
    getrandom::fill(&mut bytes).map_err(|error| no_numbers(arguments.operation, error))?;
    Ok(Value::Bytes(bytes))
}

fn number(operation: &'static str) -> Result<u64> {
    getrandom::u64().map_err(|error| no_numbers(operation, error))
}

/// The same one for as long as the instance lives.
fn seed(wasi: &Wasi) -> Result<Value> {
    let (low, high) = match wasi.insecure_seed.get() {
        Some(seed) => seed,
        None => (number("insecure-seed.insecure-seed")?, number("insecure-seed.insecure-seed")?),
    };
    wasi.insecure_seed.set(Some((low, high)));
    Ok(Value::Tuple(vec![Value::U64(low), Value::U64(high)]))
}

fn no_numbers(operation: &'static str, error: getrandom::Error) -> WasmError {
    WasmError::new(ErrorKind::Io, operation)
        .saying("the system does not provide random numbers")
        .because(error.to_string())
}
