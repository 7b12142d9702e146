//! Every noun and every trait of airssys-wasm, with no engine, no database and no async runtime.
//!
//! Backends implement what is here; the host asks for it. A module per noun:
//!
//! - [`component`]: who a component is, what it may use, what goes in and what comes out;
//! - [`capability`]: what can be granted, and the patterns that really match;
//! - [`security`]: who decides, and the answer with its reason;
//! - [`runtime`]: the seam of engines, and the services an instance can reach;
//! - [`interface`]: WIT as data, and the contract that every component keeps;
//! - [`messaging`]: the one envelope;
//! - [`storage`]: the seam of stores;
//! - [`config`]: what an operator can write in a file;
//! - [`error`]: one error type, with blame.

pub mod capability;
pub mod component;
pub mod config;
pub mod error;
pub mod interface;
pub mod messaging;
pub mod prelude;
pub mod runtime;
pub mod security;
pub mod storage;
