//! `wasi:io/streams`: to the log, and to and from what the host has opened.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airssys_wasm_core::error::{Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::Value;
use airssys_wasm_engine::wasi::{Lines, MAX_WRITE, Stopped};

use super::arguments::Arguments;
use super::table::{Input, Output, Resource, SharedInput, SharedOutput, invalid};
use super::{Answer, Finish, Function, Wasi, err, handle, ok};

/// What a guest may write and flush at once, says WASI.
const MAX_BLOCKING_WRITE: usize = 4096;

static ZEROES: [u8; MAX_WRITE] = [0; MAX_WRITE];

pub(super) fn find(function: &str) -> Option<Function> {
    find_input(function).or_else(|| find_output(function))
}

fn find_input(function: &str) -> Option<Function> {
    let found: Function = match function {
        "[method]input-stream.read" => {
            |wasi, arguments| read(wasi, Arguments::of("input-stream.read", arguments), Value::Bytes).into()
        }
        "[method]input-stream.blocking-read" => |wasi, arguments| {
            blocking_read(wasi, Arguments::of("input-stream.blocking-read", arguments), Value::Bytes)
        },
        "[method]input-stream.skip" => {
            |wasi, arguments| read(wasi, Arguments::of("input-stream.skip", arguments), count).into()
        }
        "[method]input-stream.blocking-skip" => |wasi, arguments| {
            blocking_read(wasi, Arguments::of("input-stream.blocking-skip", arguments), count)
        },
        "[method]input-stream.subscribe" => |wasi, arguments| {
            let mut arguments = Arguments::of("input-stream.subscribe", arguments);
            let stream = input(wasi, &mut arguments);
            stream.and_then(|(rep, _)| subscribe(wasi, arguments.operation, rep)).into()
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
            write_and_flush(wasi, Arguments::of("output-stream.blocking-write-and-flush", arguments))
        },
        "[method]output-stream.flush" => {
            |wasi, arguments| flush(wasi, Arguments::of("output-stream.flush", arguments)).into()
        }
        "[method]output-stream.blocking-flush" => {
            |wasi, arguments| blocking_flush(wasi, Arguments::of("output-stream.blocking-flush", arguments))
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
            write_zeroes_and_flush(wasi, arguments)
        },
        "[method]output-stream.splice" => {
            |wasi, arguments| splice(wasi, Arguments::of("output-stream.splice", arguments)).into()
        }
        "[method]output-stream.blocking-splice" => {
            |wasi, arguments| blocking_splice(wasi, Arguments::of("output-stream.blocking-splice", arguments))
        }
        _ => return None,
    };
    Some(found)
}

/// Nobody who holds it waits for anything.
pub(super) fn lock<T>(stream: &Mutex<T>) -> MutexGuard<'_, T> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

fn input(wasi: &Wasi, arguments: &mut Arguments) -> Result<(u32, Input)> {
    let rep = arguments.rep()?;
    match wasi.table.borrow_mut().get(arguments.operation, rep)? {
        Resource::InputStream(input) => Ok((rep, input.clone())),
        _ => Err(invalid(arguments.operation, "the resource is not an input stream")),
    }
}

fn output(wasi: &Wasi, arguments: &mut Arguments) -> Result<(u32, Output)> {
    let rep = arguments.rep()?;
    match wasi.table.borrow_mut().get(arguments.operation, rep)? {
        Resource::OutputStream(output) => Ok((rep, output.clone())),
        _ => Err(invalid(arguments.operation, "the resource is not an output stream")),
    }
}

/// An output, as it is written to: lines of a log take anything at once.
enum Sink<'w> {
    Log(&'w Lines),
    Piped(SharedOutput),
}

impl Wasi {
    fn sink(&self, output: Output) -> Sink<'_> {
        match output {
            Output::Stdout => Sink::Log(&self.stdout),
            Output::Stderr => Sink::Log(&self.stderr),
            Output::Piped(stream) => Sink::Piped(stream),
        }
    }
}

fn subscribe(wasi: &Wasi, operation: &'static str, stream: u32) -> Result<Value> {
    wasi.table.borrow_mut().subscribe(operation, stream, false).map(handle)
}

/// What the guest is told of a stream that gives or takes nothing.
fn stopped(wasi: &Wasi, operation: &'static str, stopped: Stopped) -> Result<Value> {
    match stopped {
        Stopped::Closed => Ok(closed()),
        Stopped::Failed(refused) => {
            let error = wasi.give(operation, Resource::Error(refused))?;
            Ok(err(Value::Variant("last-operation-failed".into(), Some(Box::new(error)))))
        }
        Stopped::Ended(error) => Err(error),
    }
}

fn closed() -> Value {
    err(Value::Variant("closed".into(), None))
}

/// As many bytes as asked for, as far as the host hands over that many at once.
fn length(arguments: &mut Arguments) -> Result<usize> {
    Ok(usize::try_from(arguments.u64()?).unwrap_or(usize::MAX).min(MAX_WRITE))
}

/// What a skip tells of what it took.
#[expect(clippy::needless_pass_by_value, reason = "it takes the place of `Value::Bytes`")]
fn count(bytes: Vec<u8>) -> Value {
    Value::U64(bytes.len() as u64)
}

/// Reads or skips what is there.
fn read(wasi: &Wasi, mut arguments: Arguments, answer: fn(Vec<u8>) -> Value) -> Result<Value> {
    let (_, input) = input(wasi, &mut arguments)?;
    let most = length(&mut arguments)?;
    match input {
        Input::Empty => Ok(closed()),
        Input::Piped(stream) => taken(wasi, arguments.operation, &stream, most, answer),
    }
}

fn taken(
    wasi: &Wasi,
    operation: &'static str,
    stream: &SharedInput,
    most: usize,
    answer: fn(Vec<u8>) -> Value,
) -> Result<Value> {
    let taken = lock(stream).take(most);
    match taken {
        Ok(bytes) => Ok(ok(answer(bytes))),
        Err(why) => stopped(wasi, operation, why),
    }
}

/// Reads or skips once there is something.
fn blocking_read(wasi: &Wasi, mut arguments: Arguments, answer: fn(Vec<u8>) -> Value) -> Answer {
    let read = input(wasi, &mut arguments).and_then(|(_, input)| Ok((input, length(&mut arguments)?)));
    let operation = arguments.operation;
    match read {
        Ok((Input::Piped(stream), most)) => then(async move {
            readable(&stream).await;
            Ok(Box::new(move |wasi: &Wasi| taken(wasi, operation, &stream, most, answer).map(Some)) as Finish)
        }),
        Ok((Input::Empty, _)) => Ok(closed()).into(),
        Err(error) => Answer::Now(Err(error)),
    }
}

async fn readable(stream: &SharedInput) {
    poll_fn(|context| lock(stream).poll_ready(context)).await;
}

async fn writable(stream: &SharedOutput) {
    poll_fn(|context| lock(stream).poll_ready(context)).await;
}

fn then(answer: impl Future<Output = Result<Finish>> + Send + 'static) -> Answer {
    Answer::Then(Box::pin(answer))
}

fn check_write(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let (_, output) = output(wasi, &mut arguments)?;
    match wasi.sink(output) {
        Sink::Log(_) => Ok(ok(Value::U64(MAX_WRITE as u64))),
        Sink::Piped(stream) => {
            let room = lock(&stream).room();
            match room {
                Ok(room) => Ok(ok(Value::U64(room as u64))),
                Err(why) => stopped(wasi, arguments.operation, why),
            }
        }
    }
}

/// A log takes any length: that of a call is limited, and what it was told it may write is not looked at.
fn write(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let (_, output) = output(wasi, &mut arguments)?;
    let bytes = arguments.bytes()?;
    put(wasi, &arguments, output, bytes)
}

fn put(wasi: &Wasi, arguments: &Arguments, output: Output, bytes: Vec<u8>) -> Result<Value> {
    match wasi.sink(output) {
        Sink::Log(lines) => lines.write(&bytes).map(|()| ok(None)),
        Sink::Piped(stream) => {
            let begun = lock(&stream).write(bytes);
            match begun {
                Ok(true) => Ok(ok(None)),
                Ok(false) => Err(too_much(arguments.operation)),
                Err(why) => stopped(wasi, arguments.operation, why),
            }
        }
    }
}

fn too_much(operation: &'static str) -> WasmError {
    WasmError::trapped(operation, TrapKind::Other).because("more is written than `check-write` allows")
}

fn write_and_flush(wasi: &Wasi, mut arguments: Arguments) -> Answer {
    let written = output(wasi, &mut arguments).and_then(|(_, output)| Ok((output, arguments.bytes()?)));
    match written {
        Ok((_, bytes)) if bytes.len() > MAX_BLOCKING_WRITE => Answer::Now(Err(too_large(&arguments))),
        Ok((output, bytes)) => put_and_flush(wasi, arguments.operation, output, bytes),
        Err(error) => Answer::Now(Err(error)),
    }
}

fn put_and_flush(wasi: &Wasi, operation: &'static str, output: Output, bytes: Vec<u8>) -> Answer {
    let stream = match wasi.sink(output) {
        Sink::Log(lines) => return lines.write(&bytes).map(|()| ok(None)).into(),
        Sink::Piped(stream) => stream,
    };
    then(async move {
        writable(&stream).await;
        let begun = lock(&stream).write(bytes);
        let written = match begun {
            Ok(true) => {
                writable(&stream).await;
                lock(&stream).room().map(drop)
            }
            Ok(false) => return Err(too_much(operation)),
            Err(why) => Err(why),
        };
        Ok(flushed(operation, written))
    })
}

/// Answers when everything is written.
fn flushed(operation: &'static str, written: std::result::Result<(), Stopped>) -> Finish {
    Box::new(move |wasi| match written {
        Ok(()) => Ok(Some(ok(None))),
        Err(why) => stopped(wasi, operation, why).map(Some),
    })
}

fn write_zeroes(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let (_, output) = output(wasi, &mut arguments)?;
    let zeroes = zeroes(arguments.u64()?, MAX_WRITE)
        .ok_or_else(|| arguments.trap(TrapKind::Other).because("more zeroes than `check-write` allows"))?;
    put(wasi, &arguments, output, zeroes.to_vec())
}

fn write_zeroes_and_flush(wasi: &Wasi, mut arguments: Arguments) -> Answer {
    let written = output(wasi, &mut arguments).and_then(|(_, output)| {
        let zeroes = zeroes(arguments.u64()?, MAX_BLOCKING_WRITE).ok_or_else(|| too_large(&arguments))?;
        Ok((output, zeroes.to_vec()))
    });
    match written {
        Ok((output, zeroes)) => put_and_flush(wasi, arguments.operation, output, zeroes),
        Err(error) => Answer::Now(Err(error)),
    }
}

fn zeroes(length: u64, most: usize) -> Option<&'static [u8]> {
    let length = usize::try_from(length).ok().filter(|length| *length <= most)?;
    ZEROES.get(..length)
}

fn too_large(arguments: &Arguments) -> WasmError {
    arguments.trap(TrapKind::InvalidValue).because("more than 4096 bytes to write and flush at once")
}

/// Nothing waits to be written but what is under way.
fn flush(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let (_, output) = output(wasi, &mut arguments)?;
    let Sink::Piped(stream) = wasi.sink(output) else { return Ok(ok(None)) };
    let room = lock(&stream).room();
    match room {
        Ok(_) => Ok(ok(None)),
        Err(why) => stopped(wasi, arguments.operation, why),
    }
}

fn blocking_flush(wasi: &Wasi, mut arguments: Arguments) -> Answer {
    let stream = match output(wasi, &mut arguments) {
        Ok((_, Output::Piped(stream))) => stream,
        Ok(_) => return Ok(ok(None)).into(),
        Err(error) => return Answer::Now(Err(error)),
    };
    then(async move {
        writable(&stream).await;
        let written = lock(&stream).room().map(drop);
        Ok(flushed(arguments.operation, written))
    })
}

/// Writes what can be read now.
fn splice(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let (_, output) = output(wasi, &mut arguments)?;
    let (_, input) = input(wasi, &mut arguments)?;
    let most = length(&mut arguments)?;
    spliced(wasi, arguments.operation, output, input, most)
}

fn spliced(wasi: &Wasi, operation: &'static str, output: Output, input: Input, most: usize) -> Result<Value> {
    let room = match &output {
        Output::Piped(stream) => lock(stream).room(),
        Output::Stdout | Output::Stderr => Ok(MAX_WRITE),
    };
    let most = match room {
        Ok(room) => most.min(room),
        Err(why) => return stopped(wasi, operation, why),
    };
    if most == 0 {
        return Ok(ok(Value::U64(0)));
    }
    let bytes = match input {
        Input::Empty => Err(Stopped::Closed),
        Input::Piped(stream) => lock(&stream).take(most),
    };
    let bytes = match bytes {
        Ok(bytes) => bytes,
        Err(why) => return stopped(wasi, operation, why),
    };
    let length = bytes.len() as u64;
    let written = match wasi.sink(output) {
        Sink::Log(lines) => lines.write(&bytes).map_err(Stopped::Ended).map(|()| true),
        Sink::Piped(stream) => lock(&stream).write(bytes),
    };
    match written {
        Ok(true) => Ok(ok(Value::U64(length))),
        Ok(false) => Err(too_much(operation)),
        Err(why) => stopped(wasi, operation, why),
    }
}

/// Writes what can be read once there is something, and room for it.
fn blocking_splice(wasi: &Wasi, mut arguments: Arguments) -> Answer {
    let streams = output(wasi, &mut arguments).and_then(|(_, output)| {
        let (_, input) = input(wasi, &mut arguments)?;
        Ok((output, input, length(&mut arguments)?))
    });
    let operation = arguments.operation;
    match streams {
        Ok((Output::Stdout | Output::Stderr, Input::Empty, most)) if most > 0 => Ok(closed()).into(),
        Ok((output, input, most)) => then(async move {
            if let Output::Piped(stream) = &output {
                writable(stream).await;
            }
            if let Input::Piped(stream) = &input {
                readable(stream).await;
            }
            Ok(Box::new(move |wasi: &Wasi| spliced(wasi, operation, output, input, most).map(Some)) as Finish)
        }),
        Err(error) => Answer::Now(Err(error)),
    }
}

/// A stream that others can wait for.
pub(super) fn shared<T>(stream: T) -> Arc<Mutex<T>> {
    Arc::new(Mutex::new(stream))
}
