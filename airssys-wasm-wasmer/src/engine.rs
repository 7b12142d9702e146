//! The engine: its clock, its cache, and what it tells of itself.

use std::fmt;
use std::sync::Arc;

use airssys_wasm_core::error::Result;
use airssys_wasm_core::runtime::{ComponentHandle, EngineProfile, LoadOptions, RuntimeEngine};
use airssys_wasm_engine::code_cache::{CodeCache, Environment};
use airssys_wasm_engine::profile;
use airssys_wasm_engine::ticker::Ticker;
use async_trait::async_trait;

use crate::code::Compiler;
use crate::config::WasmerConfig;
use crate::epoch::Epoch;
use crate::fiber::Stacks;
use crate::memory::Reservations;
use crate::{WASMER_VERSION, load};

/// What plans are written with: this crate, and the one whose types they hold.
const PLAN_VERSIONS: (&str, &str) = (env!("CARGO_PKG_VERSION"), "wasmtime-environ 48.0.8");

/// Ticks before a guest yields for the first time: calls shorter than one tick never do.
pub(crate) const EPOCH_SLICE: i64 = 2;

/// Wasmer, with the Component Model supplied by this crate. Cloning copies a pointer.
///
/// One thread keeps the time of every component and instance made from this engine. It sleeps while no guest runs, and ends
/// with the last of them.
#[derive(Clone)]
pub struct WasmerEngine(Arc<Shared>);

/// What an engine, its components and their instances share.
pub(crate) struct Shared {
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) epoch: Epoch,
    pub(crate) cache: Option<CodeCache>,
    /// What compiled code depends on.
    pub(crate) environment: Environment,
    pub(crate) stacks: Stacks,
    pub(crate) reservations: Reservations,
    config: WasmerConfig,
}

impl WasmerEngine {
    /// Makes an engine. Cheap: it starts a thread, and opens the code cache where there is one.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](airssys_wasm_core::error::ErrorKind::InvalidConfiguration) for a setting out of range, and for
    /// a code cache that others can write to; [`Io`](airssys_wasm_core::error::ErrorKind::Io) when the folder of the code cache
    /// cannot be used, or the thread not be started.
    pub fn new(config: WasmerConfig) -> Result<Self> {
        config.check()?;
        let cache = config.code_cache.as_deref().map(CodeCache::open).transpose()?;
        let ticker = Ticker::start(config.tick)?;
        let epoch = Epoch::default();
        ticker.drive(epoch.hand());
        let environment =
            Environment::of((WASMER_VERSION, PLAN_VERSIONS, load::PLAN_FORMAT, Compiler::new().settings()));
        Ok(Self(Arc::new(Shared {
            ticker,
            epoch,
            cache,
            environment,
            stacks: Stacks::new(config.max_stack.as_usize()),
            reservations: Reservations::default(),
            config,
        })))
    }
}

impl fmt::Debug for WasmerEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmerEngine").field("config", &self.0.config).finish_non_exhaustive()
    }
}

#[async_trait]
impl RuntimeEngine for WasmerEngine {
    fn profile(&self) -> EngineProfile {
        EngineProfile {
            name: "wasmer",
            version: WASMER_VERSION,
            enforces: profile::LIMITS,
            deadlines: true,
            imports: profile::imports(),
        }
    }

    async fn load(&self, wasm: &[u8], options: LoadOptions) -> Result<ComponentHandle> {
        load::load(&self.0, wasm, options).await
    }
}
