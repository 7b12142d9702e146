//! The engine on systems whose signals it does not know: it cannot be made.

use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use airssys_wasm_core::runtime::{ComponentHandle, EngineProfile, LoadOptions, RuntimeEngine};
use async_trait::async_trait;

use crate::config::WasmerConfig;

/// Wasmer, which does not run components on this system.
#[derive(Clone, Debug)]
pub enum WasmerEngine {}

impl WasmerEngine {
    /// Refuses to make an engine.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration), always.
    #[expect(clippy::needless_pass_by_value, reason = "as on systems on which it runs")]
    pub fn new(config: WasmerConfig) -> Result<Self> {
        config.check()?;
        Err(WasmError::new(ErrorKind::InvalidConfiguration, "make engine")
            .saying("the Wasmer engine runs on Linux alone, on x86-64 and AArch64")
            .with("system", std::env::consts::OS)
            .with("processor", std::env::consts::ARCH)
            .advising("use the Wasmtime engine: `--engine wasmtime` on the command line"))
    }
}

#[async_trait]
impl RuntimeEngine for WasmerEngine {
    fn profile(&self) -> EngineProfile {
        match *self {}
    }

    async fn load(&self, _: &[u8], _: LoadOptions) -> Result<ComponentHandle> {
        match *self {}
    }
}
