//! Dynamic values, counted.

use airssys_wasm_core::runtime::Value;

/// What a value counts against the limit of bytes handed over.
pub(crate) fn size(value: &Value) -> usize {
    match value {
        Value::Bytes(bytes) => bytes.len(),
        Value::String(text) | Value::Enum(text) => text.len(),
        Value::List(values) | Value::Tuple(values) => values.iter().map(size).sum(),
        Value::Record(fields) => fields.iter().map(|(_, value)| size(value)).sum(),
        Value::Variant(_, payload) | Value::Option(payload) => 1 + payload.as_deref().map_or(0, size),
        Value::Result(Ok(payload) | Err(payload)) => 1 + payload.as_deref().map_or(0, size),
        Value::Flags(names) => names.len().div_ceil(8),
        Value::Bool(_) | Value::S8(_) | Value::U8(_) => 1,
        Value::S16(_) | Value::U16(_) => 2,
        Value::S32(_) | Value::U32(_) | Value::F32(_) | Value::Char(_) | Value::Resource(_) => 4,
        Value::S64(_) | Value::U64(_) | Value::F64(_) => 8,
    }
}
