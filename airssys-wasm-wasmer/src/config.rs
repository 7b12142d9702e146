//! What an embedder can choose.

use std::path::PathBuf;
use std::time::Duration;

use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::{ErrorKind, Result, WasmError};

/// How an engine is set up.
///
/// ```
/// use airssys_wasm_wasmer::WasmerConfig;
///
/// let config = WasmerConfig::default();
/// assert_eq!(config.tick.as_millis(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WasmerConfig {
    /// The stack of a guest. A guest that needs more traps with a stack overflow.
    pub max_stack: ByteSize,
    /// A folder for compiled code, created when it is missing. None: components are compiled at every load.
    ///
    /// Compiled code is machine code, so only this user may write there: a folder that others can write to is refused. It can
    /// be the folder of another engine of this library.
    pub code_cache: Option<PathBuf>,
    /// How often a busy guest lets others run, and looks at its deadline.
    pub tick: Duration,
}

impl Default for WasmerConfig {
    /// 512 KiB of stack, a tick of 1 ms, no code cache.
    fn default() -> Self {
        Self { max_stack: ByteSize::kib(512), code_cache: None, tick: Duration::from_millis(1) }
    }
}

impl WasmerConfig {
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |setting: &'static str, value: String, advice: &'static str| {
            Err(WasmError::new(ErrorKind::InvalidConfiguration, "make engine")
                .saying("a setting of the engine is out of range")
                .with("setting", setting)
                .with("value", value)
                .advising(advice))
        };
        if self.max_stack < ByteSize::kib(32) || self.max_stack > ByteSize::mib(64) {
            return refuse("max_stack", self.max_stack.to_string(), "choose a stack of 32 KiB to 64 MiB");
        }
        if self.tick < Duration::from_micros(100) || self.tick > Duration::from_millis(100) {
            return refuse("tick", format!("{:?}", self.tick), "choose a tick of 100 us to 100 ms");
        }
        Ok(())
    }
}
