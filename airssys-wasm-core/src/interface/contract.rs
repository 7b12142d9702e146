//! The interfaces of the WIT package, and the check that a component keeps to them.
//!
//! The signatures are written here in canonical form, so that the check is the same on every engine. A test compares
//! them with the WIT package itself.

use super::{WitInstance, WitInterface};
use crate::error::{LoadFault, Result, WasmError};

/// What every component exports.
pub const COMPONENT: &str = "airssys:core/component@0.1.0";
/// Optional: health checks.
pub const HEALTH: &str = "airssys:core/health@0.1.0";
/// Optional: state handed to a successor.
pub const MIGRATION: &str = "airssys:core/migration@0.1.0";
/// Optional: answers to asynchronous requests.
pub const REPLIES: &str = "airssys:core/replies@0.1.0";
/// Lines for the operator.
pub const LOGGING: &str = "airssys:core/logging@0.1.0";
/// Messages to other components.
pub const MESSAGING: &str = "airssys:core/messaging@0.1.0";
/// The component's own keys and values.
pub const STORAGE: &str = "airssys:core/storage@0.1.0";

macro_rules! failure {
    () => {
        "record{code: enum{invalid-input, not-found, denied, conflict, unavailable, internal}, message: string}"
    };
}
macro_rules! body {
    () => {
        "record{content-type: option<string>, payload: list<u8>}"
    };
}
macro_rules! message_id {
    () => {
        "record{high: u64, low: u64}"
    };
}
macro_rules! messaging_error {
    () => {
        concat!(
            "variant{denied(string), invalid-address(string), not-found(string), queue-full(string), too-large(string), ",
            "timeout, cycle(string), failed(", failure!(), "), unavailable(string)}"
        )
    };
}
macro_rules! storage_error {
    () => {
        concat!(
            "variant{denied(string), quota-exceeded(string), too-large(string), invalid-cursor(string), ",
            "unavailable(string)}"
        )
    };
}

type Functions = &'static [(&'static str, &'static str)];

/// What a component of airssys-wasm can export, with the signature of each function.
pub const WORLD_EXPORTS: &[(&str, Functions)] = &[
    (
        COMPONENT,
        &[
            ("init", concat!("func(config: list<tuple<string, string>>) -> result<_, ", failure!(), ">")),
            (
                "execute",
                concat!(
                    "func(message: record{id: ",
                    message_id!(),
                    ", sender: variant{host, component(string)}, ",
                    "topic: option<string>, correlation: option<",
                    message_id!(),
                    ">, body: ",
                    body!(),
                    ", sent-at: u64, ",
                    "attempt: u32, trace: option<record{trace-parent: string, trace-state: string}>}) -> result<",
                    body!(),
                    ", ",
                    failure!(),
                    ">"
                ),
            ),
            ("shutdown", concat!("func() -> result<_, ", failure!(), ">")),
            ("metadata", "func() -> record{name: string, version: string, description: string}"),
        ],
    ),
    (HEALTH, &[("check", "func() -> variant{healthy, degraded(string), unhealthy(string)}")]),
    (
        MIGRATION,
        &[
            ("save", concat!("func() -> result<list<u8>, ", failure!(), ">")),
            (
                "restore",
                concat!("func(from-version: string, state: list<u8>) -> result<_, ", failure!(), ">"),
            ),
        ],
    ),
    (
        REPLIES,
        &[(
            "handle-reply",
            concat!(
                "func(request: ",
                message_id!(),
                ", outcome: result<",
                body!(),
                ", ",
                messaging_error!(),
                ">) -> result<_, ",
                failure!(),
                ">"
            ),
        )],
    ),
];

/// What a component of airssys-wasm can import beside WASI, with the signature of each function.
pub const WORLD_IMPORTS: &[(&str, Functions)] = &[
    (
        LOGGING,
        &[
            ("log", "func(level: enum{trace, debug, info, warn, error}, message: string)"),
            ("enabled", "func(level: enum{trace, debug, info, warn, error}) -> bool"),
        ],
    ),
    (
        MESSAGING,
        &[
            (
                "send",
                concat!(
                    "func(target: string, body: ",
                    body!(),
                    ") -> result<",
                    message_id!(),
                    ", ",
                    messaging_error!(),
                    ">"
                ),
            ),
            (
                "request",
                concat!(
                    "func(target: string, body: ",
                    body!(),
                    ", timeout-ms: u32) -> result<",
                    body!(),
                    ", ",
                    messaging_error!(),
                    ">"
                ),
            ),
            (
                "request-async",
                concat!(
                    "func(target: string, body: ",
                    body!(),
                    ", timeout-ms: u32) -> result<",
                    message_id!(),
                    ", ",
                    messaging_error!(),
                    ">"
                ),
            ),
            ("cancel", concat!("func(request: ", message_id!(), ") -> bool")),
            (
                "publish",
                concat!(
                    "func(topic: string, body: ",
                    body!(),
                    ") -> result<",
                    message_id!(),
                    ", ",
                    messaging_error!(),
                    ">"
                ),
            ),
            ("subscribe", concat!("func(pattern: string) -> result<_, ", messaging_error!(), ">")),
            ("unsubscribe", concat!("func(pattern: string) -> result<bool, ", messaging_error!(), ">")),
            ("self-id", "func() -> string"),
        ],
    ),
    (
        STORAGE,
        &[
            ("get", concat!("func(key: list<u8>) -> result<option<list<u8>>, ", storage_error!(), ">")),
            ("set", concat!("func(key: list<u8>, value: list<u8>) -> result<_, ", storage_error!(), ">")),
            (
                "replace",
                concat!(
                    "func(key: list<u8>, value: list<u8>) -> result<option<list<u8>>, ",
                    storage_error!(),
                    ">"
                ),
            ),
            ("delete", concat!("func(key: list<u8>) -> result<bool, ", storage_error!(), ">")),
            ("exists", concat!("func(key: list<u8>) -> result<bool, ", storage_error!(), ">")),
            (
                "list",
                concat!(
                    "func(prefix: list<u8>, cursor: option<list<u8>>, limit: u32) -> result<record{entries: ",
                    "list<record{key: list<u8>, value: list<u8>}>, cursor: option<list<u8>>}, ",
                    storage_error!(),
                    ">"
                ),
            ),
            (
                "compare-and-set",
                concat!(
                    "func(key: list<u8>, expected: variant{absent, value(list<u8>)}, value: list<u8>) -> result<bool, ",
                    storage_error!(),
                    ">"
                ),
            ),
            (
                "usage",
                concat!(
                    "func() -> result<record{bytes: u64, keys: u64, max-bytes: u64, max-keys: u64}, ",
                    storage_error!(),
                    ">"
                ),
            ),
        ],
    ),
];

/// Checks that a component exports `component`, and that what it exports of our interfaces has the right types.
/// Exports of any other interface are its own business.
///
/// # Errors
/// [`LoadFault::MissingExport`] naming what is exported instead; [`LoadFault::ExportType`] naming the function, its type and
/// the one it should have.
pub fn check_exports(interface: &WitInterface) -> Result<()> {
    if interface.export(COMPONENT).is_none() {
        let found: Vec<_> = interface.exports.iter().map(|instance| instance.name.as_str()).collect();
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
        return Err(WasmError::unloadable(LoadFault::MissingExport)
            .with("needed", COMPONENT)
            .with("exported", found)
            .advising(
                "build the component against the world `guest` of the WIT package `airssys:core@0.1.0`",
            ));
    }
    for (name, functions) in WORLD_EXPORTS {
        if let Some(instance) = interface.export(name) {
            functions
                .iter()
                .try_for_each(|(function, signature)| check_function(instance, function, signature))?;
        }
    }
    Ok(())
}

fn check_function(instance: &WitInstance, name: &str, expected: &str) -> Result<()> {
    let found = instance.function(name).map(super::WitFunction::signature);
    if found.as_deref() == Some(expected) {
        return Ok(());
    }
    Err(WasmError::unloadable(LoadFault::ExportType)
        .with("export", format_args!("{}#{name}", instance.name))
        .with("expected", expected)
        .with("found", found.as_deref().unwrap_or("no such function"))
        .advising("rebuild the component against the WIT package of this host"))
}
