//! The Wasmer engine of airssys-wasm: the Component Model on an engine that knows core modules only.
//!
//! ```
//! use airssys_wasm_core::prelude::*;
//! use airssys_wasm_wasmer::{WasmerConfig, WasmerEngine};
//!
//! match WasmerEngine::new(WasmerConfig::default()) {
//!     Ok(engine) => assert_eq!(engine.profile().name, "wasmer"),
//!     // Not on Linux, or on another processor than x86-64 and AArch64.
//!     Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidConfiguration),
//! }
//! ```
//!
//! A component is [taken apart](translate) into core modules and a plan; each module is [instrumented](instrument) and
//! [compiled](code); an instance carries out the [plan](instantiate), and its calls go through the [canonical ABI](abi) on a
//! [stack of their own](fiber).

#[cfg(supported)]
mod abi;
#[cfg(supported)]
mod bounds;
#[cfg(supported)]
mod code;
mod config;
#[cfg(not(supported))]
mod elsewhere;
#[cfg(supported)]
mod engine;
#[cfg(supported)]
mod epoch;
#[cfg(supported)]
mod fault;
#[cfg(supported)]
mod fiber;
#[cfg(supported)]
mod host;
#[cfg(supported)]
mod instance;
#[cfg(supported)]
mod instantiate;
#[cfg(supported)]
mod instrument;
#[cfg(supported)]
mod kept;
#[cfg(supported)]
mod load;
#[cfg(supported)]
mod memory;
#[cfg(supported)]
mod side;
#[cfg(supported)]
mod store;
#[cfg(supported)]
mod trampolines;
#[cfg(supported)]
mod translate;
#[cfg(supported)]
mod types;
#[cfg(supported)]
mod vm;
#[cfg(supported)]
mod wasi;

pub use config::WasmerConfig;
#[cfg(not(supported))]
pub use elsewhere::WasmerEngine;
#[cfg(supported)]
pub use engine::WasmerEngine;

/// The version of Wasmer that this crate is built with. A test compares it with the lockfile.
pub const WASMER_VERSION: &str = "7.3.0";
