//! `airssys:core/logging`.

use airssys_wasm_core::runtime::LogLevel;

use super::ask;
use super::world::logging::{Host, Level};
use crate::instance::State;

impl Host for State {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.check_transfer("logging.log", message.len())?;
        ask("logging.log", || self.services.logging.log(level.into(), &message))
    }

    fn enabled(&mut self, level: Level) -> wasmtime::Result<bool> {
        ask("logging.enabled", || self.services.logging.enabled(level.into()))
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}
