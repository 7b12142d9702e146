//! Log lines on stderr: what guests log, and what the host has to say.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::arguments::Level;

/// Whether what is written to stderr may have colours and frames.
pub(crate) fn stderr_is_fancy() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Shows lines of `level` and above; without one, warnings of the host and everything from `info` on of guests.
pub(crate) fn start(level: Option<Level>) {
    let filter = match level {
        None => "warn,airssys_wasm::guest=info".to_owned(),
        Some(level @ (Level::Off | Level::Error)) => level.name().to_owned(),
        // The libraries underneath tell little below warnings that concerns a user of this command.
        Some(level) => format!("warn,airssys_wasm={}", level.name()),
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        .with_ansi(stderr_is_fancy())
        .init();
}
