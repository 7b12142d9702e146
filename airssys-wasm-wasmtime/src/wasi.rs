//! WASI 0.2, with nothing granted: components of ordinary toolchains link, and find an empty world.
//!
//! No file, directory, environment, argument, input or network. What a component writes to its output goes line by line to
//! the logging service of its instance; clocks run, and random numbers are random.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::error::Result;
use airssys_wasm_core::interface::WitInterface;
use airssys_wasm_core::runtime::{LogLevel, LoggingService};
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, async_trait};

use crate::instance::State;
use crate::{fault, host};

/// The version of the interfaces below. Components made for any other 0.2 link with it.
const VERSION: &str = "0.2.12";

const INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// A line is cut into pieces of this many bytes, so that a guest cannot make the host hold more.
const MAX_LINE: usize = 4 << 10;
/// What a guest may write at once.
const MAX_WRITE: usize = 64 << 10;
/// The most random bytes of one call.
const MAX_RANDOM: u64 = 1 << 20;

/// The interfaces that are linked, with their version.
pub(crate) fn interfaces() -> impl Iterator<Item = String> {
    INTERFACES.iter().map(|name| format!("{name}@{VERSION}"))
}

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

/// Whether a component needs a world of WASI at all.
pub(crate) fn is_imported(interface: &WitInterface) -> bool {
    interface.imports.iter().any(|instance| instance.name.starts_with("wasi:"))
}

/// The world of one instance that imports WASI.
pub(crate) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    outputs: [Output; 2],
}

impl Wasi {
    pub(crate) fn new(limits: &ResourceLimits, logging: &Arc<dyn LoggingService>) -> Self {
        let outputs = [LogLevel::Info, LogLevel::Warn].map(|level| {
            Output(Arc::new(Lines { logging: Arc::clone(logging), level, pending: Mutex::default() }))
        });
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        let context = WasiCtxBuilder::new()
            .stdout(outputs[0].clone())
            .stderr(outputs[1].clone())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(MAX_RANDOM.min(limits.transfer.as_u64()))
            .build();
        Self { context, table, outputs }
    }

    /// Logs what the guest left without an end of line.
    pub(crate) fn end_call(&self) -> Result<()> {
        host::guarded("logging.log", || self.outputs.iter().try_for_each(|output| output.0.end()))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.as_mut().expect("a component that imports WASI is given a world of it");
        WasiCtxView { ctx: &mut wasi.context, table: &mut wasi.table }
    }
}

/// One of the two outputs of a guest. All of its streams write into the same lines.
#[derive(Clone)]
struct Output(Arc<Lines>);

struct Lines {
    logging: Arc<dyn LoggingService>,
    level: LogLevel,
    pending: Mutex<Vec<u8>>,
}

impl Lines {
    fn write(&self, bytes: &[u8]) -> Result<()> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            for part in text.chunks(MAX_LINE) {
                if pending.len() + part.len() > MAX_LINE {
                    self.log(&mut pending)?;
                }
                pending.extend_from_slice(part);
            }
            if ends {
                self.log(&mut pending)?;
            }
        }
        Ok(())
    }

    fn end(&self) -> Result<()> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.is_empty() { Ok(()) } else { self.log(&mut pending) }
    }

    fn log(&self, pending: &mut Vec<u8>) -> Result<()> {
        let bytes = std::mem::take(pending);
        let text = String::from_utf8_lossy(&bytes);
        self.logging.log(self.level, &fault::escaped(text.strip_suffix('\r').unwrap_or(&text), MAX_LINE))
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(&bytes).map_err(|error| StreamError::Trap(wasmtime::Error::new(error)))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Collected(Mutex<Vec<String>>);

    impl LoggingService for Collected {
        fn log(&self, _: LogLevel, message: &str) -> Result<()> {
            self.0.lock().unwrap().push(message.to_owned());
            Ok(())
        }

        fn enabled(&self, _: LogLevel) -> Result<bool> {
            Ok(true)
        }
    }

    #[test]
    fn output_is_cut_into_lines() {
        let check = |writes: &[&[u8]], expected: &[&str]| {
            let logging = Arc::new(Collected::default());
            let lines = Lines {
                logging: Arc::clone(&logging) as _,
                level: LogLevel::Info,
                pending: Mutex::default(),
            };
            writes.iter().for_each(|bytes| lines.write(bytes).unwrap());
            lines.end().unwrap();
            assert_eq!(*logging.0.lock().unwrap(), expected);
        };
        check(&[], &[]);
        check(&[b"a\nb\r\nc"], &["a", "b", "c"]);
        check(&[b"a", b"b", b"\n\n"], &["ab", ""]);
        check(&[b"\x1b[2J\x00\xff"], &["\\u{1b}[2J\\u{0}\u{fffd}"]);
        let long = vec![b'x'; 2 * MAX_LINE + 1];
        check(&[&long], &["x".repeat(MAX_LINE).as_str(), "x".repeat(MAX_LINE).as_str(), "x"]);
    }
}
