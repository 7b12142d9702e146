//! `airssys:core/logging`: lines for the operator, escaped and bounded.

use airssys_wasm_core::error::Result;
use airssys_wasm_core::runtime::{LogLevel, LoggingService};
use tracing::Level;

use crate::instance::InstanceContext;

/// The most characters of one line; what is beyond is cut.
const MAX_LINE: usize = 4_096;

/// Writes an event at a level that is known only at run time: `tracing` wants it at compile time.
macro_rules! at_level {
    ($level:expr, $event:ident!($($arguments:tt)*)) => {
        match $level {
            LogLevel::Trace => tracing::$event!(target: "airssys_wasm::guest", Level::TRACE, $($arguments)*),
            LogLevel::Debug => tracing::$event!(target: "airssys_wasm::guest", Level::DEBUG, $($arguments)*),
            LogLevel::Info => tracing::$event!(target: "airssys_wasm::guest", Level::INFO, $($arguments)*),
            LogLevel::Warn => tracing::$event!(target: "airssys_wasm::guest", Level::WARN, $($arguments)*),
            LogLevel::Error => tracing::$event!(target: "airssys_wasm::guest", Level::ERROR, $($arguments)*),
        }
    };
}

impl LoggingService for InstanceContext {
    fn log(&self, level: LogLevel, message: &str) -> Result<()> {
        self.count_host_call()?;
        if !enabled(level) {
            return Ok(());
        }
        let limit = self.limits().log_bytes.as_u64();
        // A line that is longer than a second allows takes all of it.
        let line = (message.len() as u64).max(1);
        let rate = self.cell.rates().log_bytes.as_ref();
        if let Some(rate) = rate.filter(|rate| !rate.take(line.min(rate.per_second()))) {
            if self.cell.rates().log_notices.take(1) {
                let (instance, limit) = (&self.security.instance, rate.per_second());
                tracing::warn!(target: "airssys_wasm::guest", %instance, limit, "more is logged in a second than allowed: lines are left out");
            }
            return Ok(());
        }
        let (room, cut_now) = {
            let mut unit = self.unit();
            let room = limit.saturating_sub(unit.logged);
            unit.logged = unit.logged.saturating_add(message.len() as u64);
            let over = unit.logged > limit;
            (room, over && !std::mem::replace(&mut unit.log_cut, over))
        };
        let shown = escaped(message, usize::try_from(room).unwrap_or(usize::MAX).min(MAX_LINE));
        let instance = &self.security.instance;
        if room > 0 {
            at_level!(level, event!(%instance, "{shown}"));
        }
        if cut_now {
            tracing::warn!(target: "airssys_wasm::guest", %instance, limit, "more was logged for this message than allowed: the rest is cut");
        }
        Ok(())
    }

    fn enabled(&self, level: LogLevel) -> Result<bool> {
        self.count_host_call()?;
        Ok(enabled(level))
    }
}

fn enabled(level: LogLevel) -> bool {
    match level {
        LogLevel::Trace => tracing::enabled!(target: "airssys_wasm::guest", Level::TRACE),
        LogLevel::Debug => tracing::enabled!(target: "airssys_wasm::guest", Level::DEBUG),
        LogLevel::Info => tracing::enabled!(target: "airssys_wasm::guest", Level::INFO),
        LogLevel::Warn => tracing::enabled!(target: "airssys_wasm::guest", Level::WARN),
        LogLevel::Error => tracing::enabled!(target: "airssys_wasm::guest", Level::ERROR),
    }
}

/// One line of at most `limit` bytes: control characters, line ends and direction marks are escaped.
fn escaped(text: &str, limit: usize) -> String {
    let mut line = String::with_capacity(text.len().min(limit) + 8);
    for character in text.chars() {
        let before = line.len();
        match character {
            '\'' | '"' | '\\' => line.push(character),
            _ => line.extend(character.escape_debug()),
        }
        if line.len() > limit {
            line.truncate(before);
            line.push_str(" [cut]");
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_forge_lines_or_colours() {
        assert_eq!(escaped("a\nb\u{1b}[31m\0\u{202e}\"c\"\\", 100), "a\\nb\\u{1b}[31m\\0\\u{202e}\"c\"\\");
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        assert_eq!(escaped("ääää", 5), "ää [cut]");
        assert_eq!(escaped("abc", 3), "abc");
        assert_eq!(escaped("abc\n", 4), "abc [cut]");
    }
}
