//! Functions of the embedder, as a flawed engine calls them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::{ErrorKind, Result, TrapKind, WasmError};
use airssys_wasm_core::interface::WitType;
use airssys_wasm_core::runtime::{HostFunction, HostFunctionDefinition, Value};
use async_trait::async_trait;

use crate::flaws::Flaw;

/// A function of the embedder; with no flaw it does what the function does.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) inner: Arc<dyn HostFunction>,
    pub(crate) flaw: Option<Flaw>,
    /// Whether a function of any instance has panicked.
    pub(crate) panicked: Arc<AtomicBool>,
}

/// A function that nobody supplied, and that fails whenever it is called.
#[derive(Debug)]
pub(crate) struct Stub(pub(crate) HostFunctionDefinition);

/// Takes note of a panic that passes by.
struct PanicNote<'a>(&'a AtomicBool);

impl Drop for PanicNote<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl HostFunction for Function {
    fn definition(&self) -> &HostFunctionDefinition {
        self.inner.definition()
    }

    async fn call(&self, caller: &ComponentId, mut arguments: Vec<Value>) -> Result<Option<Value>> {
        let embedder = "acme/embedder".parse().expect("the name is valid");
        let caller = if self.flaw == Some(Flaw::CallerIsEmbedder) { &embedder } else { caller };
        if self.flaw == Some(Flaw::ArgumentsReversed) {
            arguments.reverse();
        }
        if self.flaw == Some(Flaw::PanicPoisonsAll) && self.panicked.load(Ordering::SeqCst) {
            return Err(WasmError::new(ErrorKind::Internal, "call").saying("the lock is poisoned"));
        }
        let result = {
            let _note = PanicNote(&self.panicked);
            self.inner.call(caller, arguments).await
        };
        match (self.flaw, result) {
            (Some(Flaw::ErrorValueEnds), Ok(Some(Value::Result(Err(error))))) => {
                Err(WasmError::new(ErrorKind::ExecutionFailed, "call").saying(format!("{error:?}")))
            }
            (Some(Flaw::FunctionErrorIsFault), Err(error)) => {
                Err(WasmError::trapped("call", TrapKind::HostFault).because(error))
            }
            (Some(Flaw::NumbersConverted), Ok(Some(value)))
                if self.definition().function.result == Some(WitType::S32) =>
            {
                Ok(Some(as_s32(value)))
            }
            (_, result) => result,
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "this is how the flaw comes about")]
fn as_s32(value: Value) -> Value {
    match value {
        Value::S64(number) => Value::S32(number as i32),
        Value::U32(number) => Value::S32(number.cast_signed()),
        other => other,
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl HostFunction for Stub {
    fn definition(&self) -> &HostFunctionDefinition {
        &self.0
    }

    async fn call(&self, _: &ComponentId, _: Vec<Value>) -> Result<Option<Value>> {
        Err(WasmError::new(ErrorKind::Internal, "call").saying("nobody supplied this function"))
    }
}
