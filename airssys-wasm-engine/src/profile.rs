//! What every engine here enforces and offers.

use airssys_wasm_core::error::Limit;
use airssys_wasm_core::interface::{LOGGING, MESSAGING, STORAGE};

use crate::wasi;

/// The limits that an engine holds. An engine that lacks one makes a list of its own.
pub const LIMITS: &[Limit] = &[
    Limit::Fuel,
    Limit::Memory,
    Limit::TableElements,
    Limit::Instances,
    Limit::Handles,
    Limit::Transfer,
    Limit::Reply,
];

/// The interfaces that components may import, extensions of the embedder aside.
pub fn imports() -> Vec<String> {
    [LOGGING, MESSAGING, STORAGE].map(str::to_owned).into_iter().chain(wasi::interfaces()).collect()
}
