//! The Wasmer engine of airssys-wasm: the Component Model on an engine that knows core modules only.
//!
//! ```
//! use airssys_wasm_core::prelude::*;
//! use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};
//!
//! let engine = WasmerEngine::new(WasmerConfig::default())?;
//! assert_eq!(engine.profile().name, "wasmer");
//! # Ok::<(), WasmError>(())
//! ```
//!
//! A component is [taken apart](translate) into core modules and a plan; each module is [instrumented](instrument) and
//! [compiled](code); an instance carries out the [plan](instantiate), and its calls go through the [canonical ABI](abi) on a
//! [stack of their own](fiber).

mod abi;
mod bounds;
mod code;
mod config;
mod engine;
mod epoch;
mod fault;
mod fiber;
mod host;
mod instance;
mod instantiate;
mod instrument;
mod kept;
mod load;
mod store;
mod trampolines;
mod translate;
mod types;
mod value;
mod vm;
mod wasi;

pub use config::WasmerConfig;
pub use engine::WasmerEngine;

/// The version of Wasmer that this crate is built with. A test compares it with the lockfile.
pub const WASMER_VERSION: &str = "7.3.0";
