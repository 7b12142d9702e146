//! What a function of WASI is called with, taken one by one.

use std::vec;

use airssys_wasm_core::error::{Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::{ResourceHandle, Value};

/// The arguments of a call that are not taken yet. To take one of another type is a trap.
#[derive(Debug)]
pub(super) struct Arguments {
    /// The function, for errors.
    pub(super) operation: &'static str,
    values: vec::IntoIter<Value>,
}

impl Arguments {
    pub(super) fn of(operation: &'static str, values: Vec<Value>) -> Self {
        Self { operation, values: values.into_iter() }
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.take(|value| if let Value::U64(number) = value { Some(number) } else { None })
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        self.take(|value| if let Value::U8(number) = value { Some(number) } else { None })
    }

    pub(super) fn string(&mut self) -> Result<String> {
        self.take(|value| if let Value::String(text) = value { Some(text) } else { None })
    }

    /// The names of the flags that are set.
    pub(super) fn flags(&mut self) -> Result<Vec<String>> {
        self.take(|value| if let Value::Flags(names) = value { Some(names) } else { None })
    }

    /// A value that nothing depends on.
    pub(super) fn skip(&mut self) -> Result<()> {
        self.take(|_| Some(()))
    }

    /// The name of a case, and its value.
    pub(super) fn variant(&mut self) -> Result<(String, Option<Value>)> {
        self.take(|value| match value {
            Value::Variant(case, value) => Some((case, value.map(|value| *value))),
            _ => None,
        })
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>> {
        self.take(|value| if let Value::Bytes(bytes) = value { Some(bytes) } else { None })
    }

    /// Whether a `result` without values is `ok`.
    pub(super) fn is_ok(&mut self) -> Result<bool> {
        self.take(|value| if let Value::Result(result) = value { Some(result.is_ok()) } else { None })
    }

    pub(super) fn rep(&mut self) -> Result<u32> {
        self.take(|value| Some(handle(&value)))?.ok_or_else(|| self.trap(TrapKind::InvalidHandle))
    }

    pub(super) fn reps(&mut self) -> Result<Vec<u32>> {
        let Value::List(values) = self.take(Some)? else { return Err(self.trap(TrapKind::InvalidValue)) };
        let reps: Option<Vec<_>> = values.iter().map(handle).collect();
        reps.ok_or_else(|| self.trap(TrapKind::InvalidHandle))
    }

    pub(super) fn trap(&self, kind: TrapKind) -> WasmError {
        WasmError::trapped(self.operation, kind)
    }

    fn take<T>(&mut self, of: impl FnOnce(Value) -> Option<T>) -> Result<T> {
        self.values.next().and_then(of).ok_or_else(|| self.trap(TrapKind::InvalidValue))
    }
}

fn handle(value: &Value) -> Option<u32> {
    match value {
        Value::Resource(ResourceHandle(rep)) => u32::try_from(*rep).ok(),
        _ => None,
    }
}
