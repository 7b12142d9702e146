//! The engine: up to four engines of Wasmtime behind one face, and the one thread that keeps their time.

use std::fmt;
use std::sync::{Arc, OnceLock};

use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use airssys_wasm_core::runtime::{ComponentHandle, EngineProfile, LoadOptions, Metering, RuntimeEngine};
use airssys_wasm_engine::code_cache::{CodeCache, Environment};
use airssys_wasm_engine::profile;
use airssys_wasm_engine::ticker::Ticker;
use async_trait::async_trait;
use wasmtime::Engine;
use wasmtime::component::Linker;

use crate::budget::EngineEpoch;
use crate::config::{Allocation, WasmtimeConfig};
use crate::instance::State;
use crate::{WASMTIME_VERSION, fault, host, load, wasi};

/// Wasmtime. Cloning copies a pointer.
///
/// One thread keeps the time of every engine, component and instance made from this one. It sleeps while no guest runs, and
/// ends with the last of them.
#[derive(Clone)]
pub struct WasmtimeEngine(Arc<Shared>);

impl WasmtimeEngine {
    /// Makes an engine. Cheap enough to do at start-up: a pool of 1,000 slots costs a few milliseconds.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) for a setting out of range, for a code cache that others can
    /// write to, and when the system does not give the addresses that the pool reserves; [`Io`](ErrorKind::Io) when the
    /// folder of the code cache cannot be used.
    pub fn new(config: WasmtimeConfig) -> Result<Self> {
        config.check()?;
        let cache = config.code_cache.as_deref().map(CodeCache::open).transpose()?;
        let shared =
            Shared { ticker: Ticker::start(config.tick)?, flavours: Default::default(), cache, config };
        shared.flavour(Flavour { metered: false, on_demand: shared.prefers_on_demand() })?;
        Ok(Self(Arc::new(shared)))
    }
}

impl fmt::Debug for WasmtimeEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmtimeEngine").field("config", &self.0.config).finish_non_exhaustive()
    }
}

#[async_trait]
impl RuntimeEngine for WasmtimeEngine {
    fn profile(&self) -> EngineProfile {
        EngineProfile {
            name: "wasmtime",
            version: WASMTIME_VERSION,
            enforces: profile::LIMITS,
            deadlines: true,
            imports: profile::imports(),
        }
    }

    async fn load(&self, wasm: &[u8], options: LoadOptions) -> Result<ComponentHandle> {
        load::load(&self.0, wasm, options).await
    }
}

/// What an engine, its components and their instances share.
pub(crate) struct Shared {
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) cache: Option<CodeCache>,
    config: WasmtimeConfig,
    flavours: [OnceLock<Prepared>; 4],
}

/// Code is compiled for one of these, and memory comes from one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flavour {
    pub(crate) metered: bool,
    pub(crate) on_demand: bool,
}

impl Flavour {
    /// Part of the name of its code in the cache.
    pub(crate) fn name(self) -> [u8; 2] {
        [u8::from(self.metered), u8::from(self.on_demand)]
    }
}

/// An engine of Wasmtime, and everything a component can import from us and from WASI.
pub(crate) struct Prepared {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    /// What code for this engine depends on.
    pub(crate) environment: Environment,
}

impl Shared {
    /// The flavour that a component is loaded into, unless it does not fit.
    pub(crate) fn preferred(&self, metering: Metering) -> Flavour {
        Flavour { metered: metering == Metering::Fuel, on_demand: self.prefers_on_demand() }
    }

    fn prefers_on_demand(&self) -> bool {
        self.config.allocation == Allocation::OnDemand
    }

    /// Whether the engine of this flavour is there already.
    pub(crate) fn is_prepared(&self, flavour: Flavour) -> bool {
        self.slot(flavour).get().is_some()
    }

    fn slot(&self, flavour: Flavour) -> &OnceLock<Prepared> {
        &self.flavours[usize::from(flavour.metered) * 2 + usize::from(flavour.on_demand)]
    }

    /// The engine of this flavour, made at first use.
    pub(crate) fn flavour(&self, flavour: Flavour) -> Result<&Prepared> {
        let slot = self.slot(flavour);
        if let Some(prepared) = slot.get() {
            return Ok(prepared);
        }
        // Two threads may both prepare one. The ticker learns of the one that stays, and of it only.
        let prepared = self.prepare(flavour)?;
        let engine = prepared.engine.weak();
        if slot.set(prepared).is_ok() {
            self.ticker.drive(EngineEpoch(engine));
        }
        Ok(slot.get().expect("the slot was just filled, by us or by somebody else"))
    }

    fn prepare(&self, flavour: Flavour) -> Result<Prepared> {
        let allocation = if flavour.on_demand { Allocation::OnDemand } else { self.config.allocation };
        let engine = Engine::new(&self.config.wasmtime(flavour.metered, allocation)).map_err(|error| {
            WasmError::new(ErrorKind::InvalidConfiguration, "make engine")
                .saying("Wasmtime could not be set up")
                .with("allocation", format_args!("{allocation:?}"))
                .because(fault::plain(&error))
                .advising("choose fewer slots, or `Allocation::OnDemand`, where the address space is limited")
        })?;
        let mut linker = Linker::new(&engine);
        host::add_to_linker(&mut linker).and_then(|()| wasi::add_to_linker(&mut linker)).map_err(
            |error| {
                WasmError::new(ErrorKind::Internal, "make engine")
                    .saying("the host's own functions could not be linked")
                    .because(fault::plain(&error))
            },
        )?;
        Ok(Prepared { environment: Environment::of(engine.precompile_compatibility_hash()), engine, linker })
    }
}
