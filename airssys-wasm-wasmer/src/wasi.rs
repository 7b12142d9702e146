//! WASI 0.2: the answers are those of the Wasmtime engine, the functions our own.
//!
//! The files, arguments and environment of the instance, no input and no network. What a component writes to its output goes line by line to
//! the logging service of its instance; clocks run, and random numbers are random. Values are dynamic here: none of
//! this is worth a faster way.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use airssys_wasm_core::component::{Environment, ResourceLimits};
use airssys_wasm_core::error::{Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::{FileService, HostServices, LogLevel, ResourceHandle, Value};
use airssys_wasm_engine::text;
use airssys_wasm_engine::ticker::Ticker;
use airssys_wasm_engine::wasi::{Lines, MAX_RANDOM};

mod arguments;
mod cli;
mod clocks;
mod filesystem;
mod io;
mod random;
pub(crate) mod signatures;
mod sockets;
mod streams;
mod table;
#[cfg(test)]
mod tests;

use self::table::{Resource, Table};

/// A function of WASI, from its arguments to its answer.
pub(crate) type Function = fn(&Wasi, Vec<Value>) -> Answer;

/// The function of an interface, which is named without its version. None: it is not one of WASI 0.2.
///
/// Unstable functions are not linked, as on Wasmtime.
pub(crate) fn find(interface: &str, function: &str) -> Option<Function> {
    let (package, interface) = interface.strip_prefix("wasi:")?.split_once('/')?;
    match package {
        "cli" => cli::find(interface, function),
        "clocks" => clocks::find(interface, function),
        "filesystem" => filesystem::find(interface, function),
        "io" => io::find(interface, function),
        "random" => random::find(interface, function),
        "sockets" => sockets::find(interface, function),
        _ => None,
    }
}

/// What a function returns. An error ends the guest's call.
pub(crate) enum Answer {
    /// It is known at once.
    Now(Result<Option<Value>>),
    /// The guest waits for it.
    Later(Pin<Box<dyn Future<Output = Result<Option<Value>>> + Send>>),
    /// The guest waits, and what came of it is then made an answer with the world at hand: a resource can be given.
    Then(Pin<Box<dyn Future<Output = Result<Finish>> + Send>>),
}

/// The end of a call that had to wait.
pub(crate) type Finish = Box<dyn FnOnce(&Wasi) -> Result<Option<Value>> + Send>;

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(answer) => f.debug_tuple("Now").field(answer).finish(),
            Self::Later(_) => f.debug_struct("Later").finish_non_exhaustive(),
            Self::Then(_) => f.debug_struct("Then").finish_non_exhaustive(),
        }
    }
}

impl From<Result<Value>> for Answer {
    fn from(answer: Result<Value>) -> Self {
        Self::Now(answer.map(Some))
    }
}

/// The world of one instance that imports WASI.
///
/// Resources of the guest are entries of its table: a [`ResourceHandle`] among arguments and answers is the number of one.
#[derive(Debug)]
pub(crate) struct Wasi {
    table: RefCell<Table>,
    files: Arc<dyn FileService>,
    environment: Arc<Environment>,
    stdout: Lines,
    stderr: Lines,
    /// When the monotonic clock was zero.
    started: Instant,
    ticker: Arc<Ticker>,
    max_random: u64,
    insecure_seed: Cell<Option<(u64, u64)>>,
}

impl Wasi {
    pub(crate) fn new(limits: &ResourceLimits, services: &HostServices, ticker: &Arc<Ticker>) -> Self {
        Self {
            table: RefCell::new(Table::new(limits.handles as usize)),
            files: Arc::clone(&services.files),
            environment: Arc::clone(&services.environment),
            stdout: Lines::new(Arc::clone(&services.logging), LogLevel::Info),
            stderr: Lines::new(Arc::clone(&services.logging), LogLevel::Warn),
            started: Instant::now(),
            ticker: Arc::clone(ticker),
            max_random: MAX_RANDOM.min(limits.transfer.as_u64()),
            insecure_seed: Cell::new(None),
        }
    }

    /// Drops what the guest owned: a resource of this name.
    ///
    /// # Errors
    /// A trap when there is no such resource, or when others depend on it.
    pub(crate) fn drop_resource(&self, kind: &str, rep: u32) -> Result<()> {
        self.table.borrow_mut().remove("resource.drop", kind, rep)
    }

    /// Logs what the guest left without an end of line.
    ///
    /// # Errors
    /// Those of the logging service.
    pub(crate) fn end_call(&self) -> Result<()> {
        catch_unwind(AssertUnwindSafe(|| self.stdout.end().and_then(|()| self.stderr.end())))
            .unwrap_or_else(|panic| Err(text::of_panic("logging.log", &*panic)))
    }

    /// Makes a resource for the guest.
    fn give(&self, operation: &'static str, resource: Resource) -> Result<Value> {
        self.table.borrow_mut().add(operation, resource).map(handle)
    }
}

fn handle(rep: u32) -> Value {
    Value::Resource(ResourceHandle(rep.into()))
}

/// `ok` of a `result`.
fn ok(value: impl Into<Option<Value>>) -> Value {
    Value::Result(Ok(value.into().map(Box::new)))
}

/// `err` of a `result`.
fn err(value: Value) -> Value {
    Value::Result(Err(Some(Box::new(value))))
}

/// A function of a resource that is never handed out, so that nobody can have a handle of it.
fn never_given(operation: &'static str) -> Answer {
    Answer::Now(Err(WasmError::trapped(operation, TrapKind::InvalidHandle)))
}
