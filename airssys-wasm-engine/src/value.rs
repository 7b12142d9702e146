//! Dynamic values, as far as no engine's types are needed.

use std::fmt;

use airssys_wasm_core::runtime::Value;

use crate::text::escaped;

/// The most characters of one part of an error: names are the component's, and can be long.
const MAX_TEXT: usize = 300;

/// A value that is not of the type it should be.
#[derive(Debug)]
pub struct Mismatch {
    /// Fields and positions on the way to it, innermost first.
    path: Vec<String>,
    /// The type, in words.
    pub expected: String,
    /// The value, in words.
    pub given: String,
}

impl Mismatch {
    /// Of a value, with what was expected of it.
    pub fn new(expected: impl AsRef<str>, given: impl AsRef<str>) -> Self {
        let short = |text: &str| escaped(text, MAX_TEXT);
        Self { path: Vec::new(), expected: short(expected.as_ref()), given: short(given.as_ref()) }
    }

    /// The same, one step further out.
    #[must_use]
    pub fn within(mut self, step: impl Into<String>) -> Self {
        self.path.push(step.into());
        self
    }

    /// Where it is, seen from a value called `root`: `config.entries[3].key`.
    pub fn place(&self, root: &str) -> String {
        let mut place = root.to_owned();
        place.extend(self.path.iter().rev().map(String::as_str));
        escaped(&place, MAX_TEXT)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, got {}", self.expected, self.given)
    }
}

impl std::error::Error for Mismatch {}

/// What a value counts against the limit of bytes handed over.
pub fn size(value: &Value) -> usize {
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
