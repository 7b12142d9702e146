//! Values of any WIT type, and the names of exports: what dynamic calls are made of.

use std::fmt;
use std::str::FromStr;

/// A value of any WIT type.
///
/// This is the form for exports that the host knows nothing of, and for functions of embedders. Messages never
/// pass through it. Names of fields and cases are spelled as in WIT.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `bool`
    Bool(bool),
    /// `s8`
    S8(i8),
    /// `u8`
    U8(u8),
    /// `s16`
    S16(i16),
    /// `u16`
    U16(u16),
    /// `s32`
    S32(i32),
    /// `u32`
    U32(u32),
    /// `s64`
    S64(i64),
    /// `u64`
    U64(u64),
    /// `f32`; a NaN is the canonical one.
    F32(f32),
    /// `f64`; a NaN is the canonical one.
    F64(f64),
    /// `char`
    Char(char),
    /// `string`
    String(String),
    /// `list<u8>`, which is never a [`List`](Self::List).
    Bytes(Vec<u8>),
    /// `list<T>` of anything but bytes.
    List(Vec<Value>),
    /// `record`, in the order of its declaration.
    Record(Vec<(String, Value)>),
    /// `tuple`
    Tuple(Vec<Value>),
    /// `variant`
    Variant(String, Option<Box<Value>>),
    /// `enum`
    Enum(String),
    /// `option`
    Option(Option<Box<Value>>),
    /// `result`
    Result(Result<Option<Box<Value>>, Option<Box<Value>>>),
    /// `flags`: the names that are set.
    Flags(Vec<String>),
    /// `own` or `borrow` of a resource of the component. Handing it over as `own` ends the handle.
    Resource(ResourceHandle),
}

impl Value {
    /// The WIT keyword of its type, for messages.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::S8(_) => "s8",
            Self::U8(_) => "u8",
            Self::S16(_) => "s16",
            Self::U16(_) => "u16",
            Self::S32(_) => "s32",
            Self::U32(_) => "u32",
            Self::S64(_) => "s64",
            Self::U64(_) => "u64",
            Self::F32(_) => "f32",
            Self::F64(_) => "f64",
            Self::Char(_) => "char",
            Self::String(_) => "string",
            Self::Bytes(_) => "list<u8>",
            Self::List(_) => "list",
            Self::Record(_) => "record",
            Self::Tuple(_) => "tuple",
            Self::Variant(..) => "variant",
            Self::Enum(_) => "enum",
            Self::Option(_) => "option",
            Self::Result(_) => "result",
            Self::Flags(_) => "flags",
            Self::Resource(_) => "resource",
        }
    }
}

/// A resource that an instance handed out. Valid for that instance only, until it is handed back as `own`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceHandle(pub u64);

/// The name of an exported function: `interface#function`, or `function` for one exported by the world itself.
///
/// ```
/// use airssys_wasm_core::runtime::ExportName;
///
/// let check: ExportName = "airssys:core/health@0.1.0#check".parse()?;
/// assert_eq!((check.interface(), check.function()), (Some("airssys:core/health@0.1.0"), "check"));
/// assert!("a#b#c".parse::<ExportName>().is_err());
/// # Ok::<(), airssys_wasm_core::runtime::InvalidExportName>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExportName {
    interface: Option<Box<str>>,
    function: Box<str>,
}

impl ExportName {
    /// The interface that exports it; none for the world itself.
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// The function.
    pub fn function(&self) -> &str {
        &self.function
    }
}

impl FromStr for ExportName {
    type Err = InvalidExportName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (interface, function) =
            text.split_once('#').map_or((None, text), |(interface, function)| (Some(interface), function));
        if function.is_empty() || function.contains('#') || interface.is_some_and(str::is_empty) {
            return Err(InvalidExportName {
                text: text.chars().take(120).collect::<String>().escape_debug().to_string(),
            });
        }
        Ok(Self { interface: interface.map(Into::into), function: function.into() })
    }
}

impl fmt::Display for ExportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{interface}#{}", self.function),
            None => f.write_str(&self.function),
        }
    }
}

/// A text that is not an [`ExportName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not the name of an export: write `interface#function`, such as `airssys:core/health@0.1.0#check`"
)]
pub struct InvalidExportName {
    text: String,
}
