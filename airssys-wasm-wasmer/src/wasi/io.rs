//! `wasi:io`: errors, and waiting. Streams are [next door](super::streams).

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use airssys_wasm_core::error::{Result, TrapKind};
use airssys_wasm_core::runtime::{FileRefusal, Value};
use airssys_wasm_engine::ticker::Ticker;

use super::arguments::Arguments;
use super::streams::{self, lock};
use super::table::{Deadline, Input, Output, Resource, SharedInput, SharedOutput, invalid};
use super::{Answer, Function, Wasi};

pub(super) fn find(interface: &str, function: &str) -> Option<Function> {
    match interface {
        "error" => find_error(function),
        "poll" => find_poll(function),
        "streams" => streams::find(function),
        _ => None,
    }
}

fn find_error(function: &str) -> Option<Function> {
    match function {
        "[method]error.to-debug-string" => {
            Some(|wasi, arguments| describe(wasi, Arguments::of("error.to-debug-string", arguments)).into())
        }
        _ => None,
    }
}

fn describe(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    failure(wasi, &mut arguments).map(|refused| Value::String(refused.to_string()))
}

/// What went wrong with a stream.
pub(super) fn failure(wasi: &Wasi, arguments: &mut Arguments) -> Result<FileRefusal> {
    let rep = arguments.rep()?;
    match wasi.table.borrow_mut().get(arguments.operation, rep)? {
        Resource::Error(refused) => Ok(*refused),
        _ => Err(invalid(arguments.operation, "the resource is not an error")),
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

/// What one or more pollables of a call wait for.
#[derive(Debug)]
struct Wait {
    until: Until,
    /// Their positions among the arguments.
    positions: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Until {
    Now,
    /// Other tasks had their turn.
    Turn,
    Time(Instant),
    Never,
    /// There is something to read.
    Input(SharedInput),
    /// There is room to write.
    Output(SharedOutput),
}

impl Until {
    fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Input(stream) => lock(stream).poll_ready(context),
            Self::Output(stream) => lock(stream).poll_ready(context),
            Self::Now => Poll::Ready(()),
            Self::Turn | Self::Time(_) | Self::Never => Poll::Pending,
        }
    }
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
        Resource::InputStream(Input::Piped(stream)) => Until::Input(Arc::clone(stream)),
        Resource::OutputStream(Output::Piped(stream)) => Until::Output(Arc::clone(stream)),
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
    let is_ready = |wait: &&Wait| match &wait.until {
        Until::Turn => had_turn,
        Until::Time(at) => *at <= now,
        until => until.poll(&mut Context::from_waker(Waker::noop())).is_ready(),
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
    let time = |wait: &Wait| if let Until::Time(at) = &wait.until { Some(*at) } else { None };
    // Without a time and a stream it is the call's deadline that ends this.
    let one = poll_fn(|context| {
        let is_ready = |wait: &Wait| wait.until.poll(context).is_ready();
        if waits.iter().map(is_ready).fold(false, |any, one| any | one) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    let _ = ticker.bound(waits.iter().filter_map(time).min(), pin!(one)).await;
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
