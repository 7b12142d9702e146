//! The Wasmtime engine of airssys-wasm: compiles components, runs instances, enforces limits.
//!
//! ```
//! use airssys_wasm_core::prelude::*;
//! use airssys_wasm_wasmtime::{WasmtimeConfig, WasmtimeEngine};
//!
//! let engine = WasmtimeEngine::new(WasmtimeConfig::default())?;
//! assert_eq!(engine.profile().name, "wasmtime");
//! # Ok::<(), WasmError>(())
//! ```
//!
//! The engine only marshals: every permission, quota and audit decision is taken by the services that an instance is
//! made with. What it adds are the bounds that hold whatever a guest does: time, memory, tables, instances, handles, stack,
//! fuel, and the bytes that cross the boundary.

mod bindings;
mod budget;
mod config;
mod engine;
mod extensions;
mod fault;
mod host;
mod instance;
mod limits;
mod load;
mod types;
mod value;
mod wasi;

pub use config::{Allocation, WasmtimeConfig};
pub use engine::WasmtimeEngine;

/// The version of Wasmtime that this crate is built with. A test compares it with the lockfile.
pub const WASMTIME_VERSION: &str = "48.0.8";
