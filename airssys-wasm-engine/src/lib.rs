//! What the engines of airssys-wasm share: no engine is named here, and nothing here runs a guest.
//!
//! Two engines must refuse the same binaries with the same words, end a guest at the same deadline, and keep compiled code
//! under the same seal. What makes them do so is written once.

pub mod binary;
pub mod call;
pub mod code_cache;
pub mod extensions;
pub mod imports;
pub mod profile;
pub mod text;
pub mod ticker;
pub mod types;
pub mod value;
pub mod wasi;
