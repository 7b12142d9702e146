//! The contracts that every engine and every store of airssys-wasm keeps, and the runner that finds out.
//!
//! A contract is one documented function with an id, such as `storage.commit.is_atomic`. It gets a fresh place to work in,
//! and uses nothing but the traits of [`airssys_wasm_core`]: this crate knows no engine and no store by name. Each
//! backend is held to all of them, and gets one of four verdicts on each:
//!
//! - *held*: it keeps the promise;
//! - *refused*: the contract is about a feature that it does not offer, and was shown to refuse rather than to ignore;
//! - *deviates*: its own file says that it does not keep the promise, and why. When it does after all, the run fails:
//!   a list of excuses must not outlive them;
//! - *broken*: anything else, panics and contracts that do not end included.
//!
//! Nothing is skipped, and a run without a contract fails.
//!
//! # How a backend joins
//!
//! With one file in its `tests` folder, and two entries in its manifest:
//!
//! ```toml
//! [dev-dependencies]
//! airssys-wasm-conformance = "0.1"
//!
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! A store says how it is opened in a folder. Opening the same folder again is a restart:
//!
//! ```no_run
//! //! Runs the storage contracts against my store.
//! # use std::path::Path;
//! # use airssys_wasm_core::error::Result;
//! # use airssys_wasm_core::storage::StorageBackend;
//! # mod my_store {
//! #     pub fn open(_: &std::path::Path) -> super::Result<std::sync::Arc<dyn super::StorageBackend>> {
//! #         use airssys_wasm_core::error::{ErrorKind, WasmError};
//! #         Err(WasmError::new(ErrorKind::Internal, "open"))
//! #     }
//! # }
//! use std::process::ExitCode;
//!
//! use airssys_wasm_conformance::storage;
//!
//! fn main() -> ExitCode {
//!     storage::suite("my-store", |folder: &Path| my_store::open(&folder.join("data"))).run()
//! }
//! ```
//!
//! An engine says how it is made. It is made once; every contract then loads its components afresh:
//!
//! ```no_run
//! //! Runs the engine contracts against my engine.
//! # use airssys_wasm_core::config::RuntimeConfig;
//! # use airssys_wasm_core::error::Result;
//! # use airssys_wasm_core::runtime::RuntimeEngine;
//! # mod my_engine {
//! #     pub fn new(_: &super::RuntimeConfig) -> super::Result<std::sync::Arc<dyn super::RuntimeEngine>> {
//! #         use airssys_wasm_core::error::{ErrorKind, WasmError};
//! #         Err(WasmError::new(ErrorKind::Internal, "open"))
//! #     }
//! # }
//! use std::process::ExitCode;
//!
//! use airssys_wasm_conformance::engine;
//!
//! fn main() -> ExitCode {
//!     engine::suite("my-engine", |config: &RuntimeConfig| my_engine::new(config))
//!         .deviates("engine.limits.handles", "handles are counted, and not limited yet")
//!         .run()
//! }
//! ```
//!
//! Contracts that are added here later bind the backend without a change to its file. Run two engines in two files:
//! signal handlers belong to the process.
//!
//! # How it is run
//!
//! `cargo test` and `cargo nextest run` both understand it. By hand, `cargo test --test conformance -- scan` runs the
//! contracts whose ids hold `scan`, `--exact` asks for one, `--list` names them all, and `--format json` writes
//! one object for each line. Contracts with random steps print their seed when they break; `AIRSSYS_WASM_SEED` repeats it.
//!
//! # What else is here
//!
//! - [`guests`]: the components that contracts run, for tests, examples and benches to use as well;
//! - [`component_model`]: the Component Model's own tests, which every engine is held to beside our contracts;
//! - [`fakes`]: a host that records what a component asks for, and answers as it is told.
//!
//! With the feature `host`, which brings the host along:
//!
//! - `host`: the contracts of the host, over an engine and a store;
//! - `zoo`: the attacks A01 to A44, each of them with the one end that it comes to on every engine, beside a neighbour that is
//!   answered all the while: loops, recursion, giant memories and binaries, forged pointers, texts, values and handles, floods,
//!   storms, quotas, names, cursors, files, network, revoked grants, remains of others, altered code. They run one at
//!   a time, because they measure the memory of the process.
//!
//! That the suite bites is tested too: correct backends with exactly one flaw put in are caught by the contract that
//! names the flaw.

pub mod bench;
pub mod component_model;
#[cfg(feature = "host")]
mod door;
pub mod engine;
pub mod fakes;
#[cfg(feature = "host")]
mod forged;
pub mod guests;
#[cfg(feature = "host")]
pub mod host;
mod random;
pub mod runner;
pub mod storage;
#[cfg(feature = "host")]
pub mod zoo;
