//! `wasi:io`: streams to the log, and waiting.

use std::collections::BTreeMap;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use airssys_wasm_core::error::{Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::Value;
use airssys_wasm_engine::ticker::Ticker;
use airssys_wasm_engine::wasi::{Lines, MAX_WRITE};

use super::arguments::Arguments;
use super::table::{Deadline, Output, Resource, invalid};
use super::{Answer, Function, Wasi, err, handle, never_given, ok};

/// What a guest may write and flush at once, says WASI.
const MAX_BLOCKING_WRITE: usize = 4096;

static ZEROES: [u8; MAX_WRITE] = [0; MAX_WRITE];

pub(super) fn find(interface: &str, function: &str) -> Option<Function> {
    match interface {
        "error" => find_error(function),
        "poll" => find_poll(function),
        "streams" => find_input(function).or_else(|| find_output(function)),
        _ => None,
    }
}

/// No stream of ours ever fails.
fn find_error(function: &str) -> Option<Function> {
    match function {
        "[method]error.to-debug-string" => Some(|_, _| never_given("error.to-debug-string")),
        _ => None,
    }
}

fn find_poll(function: &str) -> Option<Function> {
    let found: Function = match function {
        "[method]pollable.ready" => {
            |wasi, arguments| is_ready(wasi, Arguments::of("pollable.ready", arguments)).into()
        }
        "[method]pollable.block" => |wasi, arguments| block(wasi, Arguments::of("pollable.block", arguments)),
        "poll" => |wasi, arguments| poll(wasi, Arguments::of("poll.poll", arguments)),
        _ => return None,
    };
    Some(found)
}

fn find_input(function: &str) -> Option<Function> {
    let found: Function = match function {
        "[method]input-stream.read" => {
            |wasi, arguments| read(wasi, Arguments::of("input-stream.read", arguments)).into()
        }
        "[method]input-stream.blocking-read" => {
            |wasi, arguments| read(wasi, Arguments::of("input-stream.blocking-read", arguments)).into()
        }
        "[method]input-stream.skip" => {
            |wasi, arguments| read(wasi, Arguments::of("input-stream.skip", arguments)).into()
        }
        "[method]input-stream.blocking-skip" => {
            |wasi, arguments| read(wasi, Arguments::of("input-stream.blocking-skip", arguments)).into()
        }
        "[method]input-stream.subscribe" => |wasi, arguments| {
            let mut arguments = Arguments::of("input-stream.subscribe", arguments);
            let stream = input(wasi, &mut arguments);
            stream.and_then(|rep| subscribe(wasi, arguments.operation, rep)).into()
        },
        _ => return None,
    };
    Some(found)
}

fn find_output(function: &str) -> Option<Function> {
    let found: Function = match function {
        "[method]output-stream.check-write" => {
            |wasi, arguments| check_write(wasi, Arguments::of("output-stream.check-write", arguments)).into()
        }
        "[method]output-stream.write" => {
            |wasi, arguments| write(wasi, Arguments::of("output-stream.write", arguments)).into()
        }
        "[method]output-stream.blocking-write-and-flush" => |wasi, arguments| {
            write_and_flush(wasi, Arguments::of("output-stream.blocking-write-and-flush", arguments)).into()
        },
        "[method]output-stream.flush" => {
            |wasi, arguments| flush(wasi, Arguments::of("output-stream.flush", arguments)).into()
        }
        "[method]output-stream.blocking-flush" => {
            |wasi, arguments| flush(wasi, Arguments::of("output-stream.blocking-flush", arguments)).into()
        }
        "[method]output-stream.subscribe" => |wasi, arguments| {
            let mut arguments = Arguments::of("output-stream.subscribe", arguments);
            let stream = output(wasi, &mut arguments);
            stream.and_then(|(rep, _)| subscribe(wasi, arguments.operation, rep)).into()
        },
        "[method]output-stream.write-zeroes" => |wasi, arguments| {
            write_zeroes(wasi, Arguments::of("output-stream.write-zeroes", arguments)).into()
        },
        "[method]output-stream.blocking-write-zeroes-and-flush" => |wasi, arguments| {
            let arguments = Arguments::of("output-stream.blocking-write-zeroes-and-flush", arguments);
            write_zeroes_and_flush(wasi, arguments).into()
        },
        "[method]output-stream.splice" => {
            |wasi, arguments| splice(wasi, Arguments::of("output-stream.splice", arguments)).into()
        }
        "[method]output-stream.blocking-splice" => {
            |wasi, arguments| splice(wasi, Arguments::of("output-stream.blocking-splice", arguments)).into()
        }
        _ => return None,
    };
    Some(found)
}

fn input(wasi: &Wasi, arguments: &mut Arguments) -> Result<u32> {
    let rep = arguments.rep()?;
    match wasi.table.borrow_mut().get(arguments.operation, rep)? {
        Resource::InputStream => Ok(rep),
        _ => Err(invalid(arguments.operation, "the resource is not an input stream")),
    }
}

fn output<'w>(wasi: &'w Wasi, arguments: &mut Arguments) -> Result<(u32, &'w Lines)> {
    let rep = arguments.rep()?;
    match wasi.table.borrow_mut().get(arguments.operation, rep)? {
        Resource::OutputStream(Output::Stdout) => Ok((rep, &wasi.stdout)),
        Resource::OutputStream(Output::Stderr) => Ok((rep, &wasi.stderr)),
        _ => Err(invalid(arguments.operation, "the resource is not an output stream")),
    }
}

fn subscribe(wasi: &Wasi, operation: &'static str, stream: u32) -> Result<Value> {
    wasi.table.borrow_mut().subscribe(operation, stream, false).map(handle)
}

/// Reads or skips: there is nothing to read, however long somebody waits.
fn read(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    input(wasi, &mut arguments)?;
    arguments.u64()?;
    Ok(closed())
}

fn closed() -> Value {
    err(Value::Variant("closed".into(), None))
}

fn check_write(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    output(wasi, &mut arguments)?;
    Ok(ok(Value::U64(MAX_WRITE as u64)))
}

/// A log takes any length: that of a call is limited, and what it was told it may write is not looked at.
fn write(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let (_, lines) = output(wasi, &mut arguments)?;
    lines.write(&arguments.bytes()?)?;
    Ok(ok(None))
}

fn write_and_flush(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let (_, lines) = output(wasi, &mut arguments)?;
    let bytes = arguments.bytes()?;
    if bytes.len() > MAX_BLOCKING_WRITE {
        return Err(too_large(&arguments));
    }
    lines.write(&bytes)?;
    Ok(ok(None))
}

fn write_zeroes(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let (_, lines) = output(wasi, &mut arguments)?;
    let zeroes = zeroes(arguments.u64()?, MAX_WRITE)
        .ok_or_else(|| arguments.trap(TrapKind::Other).because("more zeroes than `check-write` allows"))?;
    lines.write(zeroes)?;
    Ok(ok(None))
}

fn write_zeroes_and_flush(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let (_, lines) = output(wasi, &mut arguments)?;
    let zeroes = zeroes(arguments.u64()?, MAX_BLOCKING_WRITE).ok_or_else(|| too_large(&arguments))?;
    lines.write(zeroes)?;
    Ok(ok(None))
}

fn zeroes(length: u64, most: usize) -> Option<&'static [u8]> {
    let length = usize::try_from(length).ok().filter(|length| *length <= most)?;
    ZEROES.get(..length)
}

fn too_large(arguments: &Arguments) -> WasmError {
    arguments.trap(TrapKind::InvalidValue).because("more than 4096 bytes to write and flush at once")
}

fn flush(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    output(wasi, &mut arguments)?;
    Ok(ok(None))
}

fn splice(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    output(wasi, &mut arguments)?;
    input(wasi, &mut arguments)?;
    // Nothing of an input that is at its end is something, until somebody looks.
    Ok(if arguments.u64()? == 0 { ok(Value::U64(0)) } else { closed() })
}

/// What one or more pollables of a call wait for.
#[derive(Debug)]
struct Wait {
    until: Until,
    /// Their positions among the arguments.
    positions: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Until {
    Now,
    /// Other tasks had their turn.
    Turn,
    Time(Instant),
    Never,
}

/// What the resource `of` has to wait for. Asking counts as the first poll of it.
fn wait_for(wasi: &Wasi, operation: &'static str, of: u32) -> Result<Until> {
    Ok(match wasi.table.borrow_mut().get(operation, of)? {
        Resource::Deadline(Deadline::Past { had_turn }) => {
            if std::mem::replace(had_turn, true) {
                Until::Now
            } else {
                Until::Turn
            }
        }
        Resource::Deadline(Deadline::At(at)) => Until::Time(*at),
        Resource::Deadline(Deadline::Never) => Until::Never,
        _ => Until::Now,
    })
}

/// What a pollable is about.
fn subject(wasi: &Wasi, operation: &'static str, rep: u32) -> Result<u32> {
    match wasi.table.borrow_mut().get(operation, rep)? {
        Resource::Pollable { of, .. } => Ok(*of),
        _ => Err(invalid(operation, "the resource is not a pollable")),
    }
}

fn waits(wasi: &Wasi, operation: &'static str, pollables: &[u32]) -> Result<Vec<Wait>> {
    let mut positions = BTreeMap::<u32, Vec<u32>>::new();
    for (position, rep) in (0..).zip(pollables) {
        positions.entry(subject(wasi, operation, *rep)?).or_default().push(position);
    }
    positions
        .into_iter()
        .map(|(of, positions)| Ok(Wait { until: wait_for(wasi, operation, of)?, positions }))
        .collect()
}

/// The positions of what is ready. `had_turn` tells whether other tasks had theirs.
fn ready(waits: &[Wait], had_turn: bool) -> Vec<Value> {
    let now = Instant::now();
    let is_ready = |wait: &&Wait| match wait.until {
        Until::Now => true,
        Until::Turn => had_turn,
        Until::Time(at) => at <= now,
        Until::Never => false,
    };
    waits
        .iter()
        .filter(is_ready)
        .flat_map(|wait| &wait.positions)
        .map(|position| Value::U32(*position))
        .collect()
}

/// Waits for the first of them.
async fn first(ticker: &Ticker, waits: &[Wait]) {
    if waits.iter().any(|wait| matches!(wait.until, Until::Turn)) {
        return tokio::task::yield_now().await;
    }
    let time = |wait: &Wait| if let Until::Time(at) = wait.until { Some(at) } else { None };
    // Without a time it is the call's deadline that ends this.
    let _ = ticker.bound(waits.iter().filter_map(time).min(), pin!(pending::<()>())).await;
}

fn is_ready(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let waits = waits(wasi, arguments.operation, &[arguments.rep()?])?;
    Ok(Value::Bool(!ready(&waits, false).is_empty()))
}

fn block(wasi: &Wasi, mut arguments: Arguments) -> Answer {
    let waits = arguments.rep().and_then(|rep| waits(wasi, arguments.operation, &[rep]));
    let waits = match waits {
        Ok(waits) => waits,
        Err(error) => return Answer::Now(Err(error)),
    };
    if !ready(&waits, false).is_empty() {
        return Answer::Now(Ok(None));
    }
    let ticker = Arc::clone(&wasi.ticker);
    Answer::Later(Box::pin(async move {
        first(&ticker, &waits).await;
        Ok(None)
    }))
}

fn poll(wasi: &Wasi, mut arguments: Arguments) -> Answer {
    let waits = arguments.reps().and_then(|pollables| {
        if pollables.is_empty() {
            return Err(arguments.trap(TrapKind::Other).because("there is nothing to poll"));
        }
        waits(wasi, arguments.operation, &pollables)
    });
    let waits = match waits {
        Ok(waits) => waits,
        Err(error) => return Answer::Now(Err(error)),
    };
    let now = ready(&waits, false);
    if !now.is_empty() {
        return Answer::Now(Ok(Some(Value::List(now))));
    }
    let ticker = Arc::clone(&wasi.ticker);
    Answer::Later(Box::pin(async move {
        first(&ticker, &waits).await;
        Ok(Some(Value::List(ready(&waits, true))))
    }))
}
