//! WASI 0.2, as far as it is the same on every engine: what is linked, outputs as lines of a log, and streams of files.

mod streams;

use std::sync::{Arc, Mutex, PoisonError};

use airssys_wasm_core::error::Result;
use airssys_wasm_core::runtime::{LogLevel, LoggingService};

pub use self::streams::{FileSink, FileSource, Input, Output, Sink, Source, Stopped};
use crate::text::escaped;

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
pub const MAX_WRITE: usize = 64 << 10;
/// The most random bytes of one call.
pub const MAX_RANDOM: u64 = 1 << 20;

/// The interfaces that are linked, with their version.
pub fn interfaces() -> impl Iterator<Item = String> {
    INTERFACES.iter().map(|name| format!("{name}@{VERSION}"))
}

/// What a guest writes to one of its outputs, as lines of its log.
#[derive(Debug)]
pub struct Lines {
    logging: Arc<dyn LoggingService>,
    level: LogLevel,
    pending: Mutex<Vec<u8>>,
}

impl Lines {
    /// Lines of this level.
    pub fn new(logging: Arc<dyn LoggingService>, level: LogLevel) -> Self {
        Self { logging, level, pending: Mutex::default() }
    }

    /// Logs each line that ends, and keeps the rest.
    ///
    /// # Errors
    /// Those of the logging service.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
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

    /// Logs what was left without an end of line.
    ///
    /// # Errors
    /// Those of the logging service.
    pub fn end(&self) -> Result<()> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.is_empty() { Ok(()) } else { self.log(&mut pending) }
    }

    fn log(&self, pending: &mut Vec<u8>) -> Result<()> {
        let bytes = std::mem::take(pending);
        let text = String::from_utf8_lossy(&bytes);
        self.logging.log(self.level, &escaped(text.strip_suffix('\r').unwrap_or(&text), MAX_LINE))
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
            let lines = Lines::new(Arc::clone(&logging) as _, LogLevel::Info);
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
