//! A folder for compiled code that trusts whatever lies in it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use airssys_wasm::core::error::{ErrorKind, Result, WasmError};
use airssys_wasm::core::runtime::{CodeOrigin, ComponentHandle, LoadOptions, RuntimeEngine};

/// Files that are called after a component and hold its code, with a sum that finds accidents, and that anybody can make.
///
/// Machine code is not to be had without running it, so the code of a component is the component: what lies in the
/// folder is what runs.
#[derive(Debug)]
pub(crate) struct CodeFolder(PathBuf);

impl CodeFolder {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Loads what lies under the name of this component, if its sum is right.
    pub(crate) async fn load(
        &self,
        engine: &dyn RuntimeEngine,
        wasm: &[u8],
        options: LoadOptions,
    ) -> Result<(ComponentHandle, CodeOrigin)> {
        let path = self.0.join(format!("{:x}", sum(wasm)));
        let found = fs::read(&path).unwrap_or_default();
        if let Some((code, sealed)) = found.split_last_chunk()
            && u64::from_le_bytes(*sealed) == sum(code)
        {
            return Ok((engine.load(code, options).await?, CodeOrigin::Cache));
        }
        let loaded = engine.load(wasm, options).await?;
        let sealed = [wasm, &sum(wasm).to_le_bytes()].concat();
        let kept = fs::create_dir_all(&self.0).and_then(|()| fs::write(&path, sealed));
        kept.map_err(|error| WasmError::new(ErrorKind::Io, "keep code").because(error))?;
        Ok((loaded, CodeOrigin::Compiled))
    }
}

fn sum(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
