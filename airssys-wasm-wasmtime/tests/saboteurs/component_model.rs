//! The Component Model's own tests bite, too: none of them holds on an engine that loads nothing, and on one that loads anything.

use std::sync::Arc;

use airssys_wasm_conformance::component_model;
use airssys_wasm_conformance::engine;
use airssys_wasm_core::error::LoadFault;
use airssys_wasm_core::prelude::*;
use airssys_wasm_core::runtime::EngineProfile;
use airssys_wasm_wasmtime::{WasmtimeConfig, WasmtimeEngine};
use async_trait::async_trait;

/// What is wrong with loading.
#[derive(Clone, Copy, Debug)]
enum Loads {
    /// Everything is refused.
    Nothing,
    /// What is refused is taken for an empty component.
    Anything,
}

#[derive(Debug)]
struct Engine {
    inner: WasmtimeEngine,
    loads: Loads,
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl RuntimeEngine for Engine {
    fn profile(&self) -> EngineProfile {
        self.inner.profile()
    }

    async fn load(&self, wasm: &[u8], options: LoadOptions) -> Result<ComponentHandle> {
        match self.loads {
            Loads::Nothing => Err(WasmError::unloadable(LoadFault::Invalid)),
            Loads::Anything => match self.inner.load(wasm, options.clone()).await {
                Ok(loaded) => Ok(loaded),
                Err(_) => self.inner.load(b"\0asm\x0d\0\x01\0", options).await,
            },
        }
    }
}

#[test]
fn every_file_of_the_component_model_catches_an_engine_that_loads_nothing_or_anything() {
    let suites = [Loads::Nothing, Loads::Anything].map(|loads| {
        engine::suite("saboteur", move |_| {
            Ok(Arc::new(Engine { inner: WasmtimeEngine::new(WasmtimeConfig::default())?, loads }))
        })
    });
    let goes_through =
        |id: &&str| suites.iter().all(|suite| !suite.verdict(id).is_some_and(|verdict| verdict.is_broken()));
    let through: Vec<_> =
        component_model::contracts().map(|contract| contract.id).filter(goes_through).collect();
    assert!(through.is_empty(), "these files catch neither: {through:#?}");
}
