//! Compiled core modules: made by Wasmer with Cranelift, written out, and read in again.

use std::fmt;
use std::sync::Arc;

use airssys_wasm_core::error::{LoadFault, Result, WasmError};
use airssys_wasm_engine::text::escaped;
use shared_buffer::OwnedBuffer;
use wasmer_compiler::{Artifact, Engine, EngineBuilder};
use wasmer_compiler_cranelift::{Cranelift, CraneliftOptLevel};
use wasmer_types::{Features, FunctionType};

use crate::vm::Signature;

const MAX_TEXT: usize = 1024;

/// Compiles core modules, and owns their code.
#[derive(Clone)]
pub(crate) struct Compiler(Engine);

impl Compiler {
    pub(crate) fn new() -> Self {
        let mut cranelift = Cranelift::new();
        cranelift.opt_level(CraneliftOptLevel::Speed);
        cranelift.canonicalize_nans(false);
        // The bytes were validated before; these are what adapters and instrumented modules may use.
        let mut features = Features::none();
        features
            .reference_types(true)
            .simd(true)
            .bulk_memory(true)
            .multi_value(true)
            .multi_memory(true)
            .extended_const(true)
            .exceptions(true);
        Self(EngineBuilder::new(cranelift).set_features(Some(features)).engine())
    }

    /// A type of core functions, as code of this compiler compares it.
    pub(crate) fn signature(&self, kind: FunctionType) -> Signature {
        let hash = self.0.register_signature(&kind);
        Signature { kind, hash }
    }

    /// Reads what [`serialize`] wrote.
    ///
    /// # Errors
    /// A text for the log.
    #[expect(unsafe_code, reason = "Wasmer trusts compiled code, and cannot check it")]
    pub(crate) fn read(&self, bytes: &[u8]) -> std::result::Result<Arc<Artifact>, String> {
        let bytes = OwnedBuffer::from_bytes(bytes.to_vec());
        // SAFETY: the bytes come out of the code cache, which checks their seal: this user's host wrote them, with `serialize`.
        unsafe { self.0.deserialize(bytes) }.map_err(|error| error.to_string())
    }

    /// # Errors
    /// [`LoadFault::Invalid`] when the compiler refuses the module.
    pub(crate) fn compile(&self, module: &[u8]) -> Result<Arc<Artifact>> {
        self.0.compile(module).map_err(|error| {
            WasmError::unloadable(LoadFault::Invalid)
                .saying("the compiler refused a core module of the component")
                .because(escaped(&error.to_string(), MAX_TEXT))
        })
    }

    /// What code of this compiler depends on.
    pub(crate) fn settings(&self) -> impl std::hash::Hash + use<> {
        (self.0.deterministic_id(), self.0.artifact_format())
    }
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiler").finish_non_exhaustive()
    }
}

/// # Errors
/// A text for the log, when the code cannot be written out.
pub(crate) fn serialize(artifact: &Artifact) -> std::result::Result<Vec<u8>, String> {
    use wasmer_compiler::ArtifactCreate;

    artifact.serialize().map_err(|error| error.to_string())
}
