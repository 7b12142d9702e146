//! An embeddable host that runs untrusted WebAssembly components as capability-gated actors, on the engine and the
//! store that you choose by Cargo feature.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use airssys_wasm::{Host, Installation, Source};
//!
//! let host = Host::builder().build().await?;
//! let counter = Installation::new("acme/counter".parse()?, Source::File("counter.wasm".into()))
//!     .grant("storage:acme/counter".parse()?);
//! let counter = host.install(counter).await?.id;
//! host.start(&counter).await?;
//! let reply = host.request(&counter, "increment").await?;
//! println!("{}", String::from_utf8_lossy(&reply.payload));
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is granted by default: a component reaches its storage, other components and the embedder's functions only
//! through the [`gate`], which denies what no grant covers and records every decision.
//!
//! | feature | default | brings |
//! | --- | --- | --- |
//! | `wasmtime` | yes | the Wasmtime engine |
//! | `wasmer` | no | the Wasmer engine; with both, Wasmtime is the one that a builder takes when it is given none |
//! | `redb` | yes | the redb store: one crash-safe file |
//! | `fjall` | no | [`storage`]`::FjallStore`: a folder of log-structured trees |
//! | `sled` | no | [`storage`]`::SledStore`: sled 0.34.7 with safeguards, for data that can be rebuilt |
//! | `rocksdb` | no | the RocksDB store, `storage::RocksDbStore`: a folder; compiles C++ |

mod artifact;
mod broadcast;
mod cell;
mod deadlines;
mod effects;
mod extension;
mod files;
mod grants;
mod host;
mod installation;
mod instance;
mod mailbox;
mod message_id;
mod rate;
mod router;
mod services;
mod subscriptions;
mod unit_of_work;
mod waiting;
mod worker;

pub mod audit;
pub mod gate;
pub mod manifest;
pub mod rights;
pub mod signature;

pub use airssys_wasm_core as core;
pub use airssys_wasm_core::error::{Result, WasmError};
pub use airssys_wasm_storage as storage;
#[cfg(feature = "wasmer")]
pub use airssys_wasm_wasmer as wasmer;
#[cfg(feature = "wasmtime")]
pub use airssys_wasm_wasmtime as wasmtime;

pub use broadcast::BroadcastReport;
pub use cell::CellStatistics;
pub use host::{
    ComponentInfo, ComponentRef, ComponentStatus, Host, HostBuilder, RequestOptions, ShutdownReport,
    StopReport,
};
pub use installation::{Installation, Source};
