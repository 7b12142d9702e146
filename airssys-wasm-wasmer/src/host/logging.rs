//! `airssys:core/logging`.

use airssys_wasm_core::runtime::LogLevel;

use super::{Import, ask};

pub(super) fn find(function: &str) -> Option<Import> {
    Some(match function {
        "log" => |side, cells| {
            ask("logging.log", side, cells, |store, (level, message): (LogLevel, String)| {
                store.check_transfer("logging.log", message.len())?;
                store.services.logging.log(level, &message)
            })
        },
        "enabled" => |side, cells| {
            ask("logging.enabled", side, cells, |store, (level,): (LogLevel,)| {
                store.services.logging.enabled(level)
            })
        },
        _ => return None,
    })
}
