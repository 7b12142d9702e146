//! The types of WIT, structurally: names of records and variants do not count, names of fields and cases do.

use std::fmt;

/// A WIT type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WitType {
    /// `bool`
    Bool,
    /// `s8`
    S8,
    /// `u8`
    U8,
    /// `s16`
    S16,
    /// `u16`
    U16,
    /// `s32`
    S32,
    /// `u32`
    U32,
    /// `s64`
    S64,
    /// `u64`
    U64,
    /// `f32`
    F32,
    /// `f64`
    F64,
    /// `char`
    Char,
    /// `string`
    String,
    /// `list<T>`
    List(Box<WitType>),
    /// `record`: fields in order.
    Record(Vec<(String, WitType)>),
    /// `tuple`
    Tuple(Vec<WitType>),
    /// `variant`: cases in order.
    Variant(Vec<(String, Option<WitType>)>),
    /// `enum`: cases in order.
    Enum(Vec<String>),
    /// `option<T>`
    Option(Box<WitType>),
    /// `result<T, E>`, each of them optional.
    Result {
        /// Of success.
        ok: Option<Box<WitType>>,
        /// Of failure.
        err: Option<Box<WitType>>,
    },
    /// `flags`: names in order.
    Flags(Vec<String>),
    /// An owned resource. Resources are compared by what they are to the component, not by name.
    Own,
    /// A borrowed resource.
    Borrow,
    /// A type of the asynchronous Component Model, or one this version has no name for, by its keyword.
    Unsupported(&'static str),
}

impl WitType {
    /// `list<u8>`
    pub fn bytes() -> Self {
        Self::List(Box::new(Self::U8))
    }

    /// `result<ok, err>`
    pub fn result(ok: Option<Self>, err: Option<Self>) -> Self {
        Self::Result { ok: ok.map(Box::new), err: err.map(Box::new) }
    }

    /// `option<T>`
    pub fn option(some: Self) -> Self {
        Self::Option(Box::new(some))
    }

    /// `list<T>`
    pub fn list(element: Self) -> Self {
        Self::List(Box::new(element))
    }
}

impl fmt::Display for WitType {
    /// Canonical WIT, with records, variants, enums and flags written in place: `record{a: u8, b: string}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = match self {
            Self::Bool => "bool",
            Self::S8 => "s8",
            Self::U8 => "u8",
            Self::S16 => "s16",
            Self::U16 => "u16",
            Self::S32 => "s32",
            Self::U32 => "u32",
            Self::S64 => "s64",
            Self::U64 => "u64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Char => "char",
            Self::String => "string",
            Self::Own => "own",
            Self::Borrow => "borrow",
            Self::Unsupported(keyword) => keyword,
            Self::List(element) => return write!(f, "list<{element}>"),
            Self::Option(some) => return write!(f, "option<{some}>"),
            Self::Tuple(items) => {
                f.write_str("tuple<")?;
                separated(f, items, fmt::Display::fmt)?;
                return f.write_str(">");
            }
            Self::Record(fields) => {
                f.write_str("record{")?;
                separated(f, fields, |(name, kind), f| write!(f, "{name}: {kind}"))?;
                return f.write_str("}");
            }
            Self::Variant(cases) => {
                f.write_str("variant{")?;
                separated(f, cases, |(name, payload), f| match payload {
                    Some(payload) => write!(f, "{name}({payload})"),
                    None => f.write_str(name),
                })?;
                return f.write_str("}");
            }
            Self::Enum(names) => {
                f.write_str("enum{")?;
                separated(f, names, |name, f| f.write_str(name))?;
                return f.write_str("}");
            }
            Self::Flags(names) => {
                f.write_str("flags{")?;
                separated(f, names, |name, f| f.write_str(name))?;
                return f.write_str("}");
            }
            Self::Result { ok, err } => {
                return match (ok, err) {
                    (None, None) => f.write_str("result"),
                    (Some(ok), None) => write!(f, "result<{ok}>"),
                    (None, Some(err)) => write!(f, "result<_, {err}>"),
                    (Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
                };
            }
        };
        f.write_str(plain)
    }
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    mut each: impl FnMut(&T, &mut fmt::Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            f.write_str(", ")?;
        }
        each(item, f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_print_as_wit() {
        let check = |kind: WitType, expected: &str| assert_eq!(kind.to_string(), expected);
        check(WitType::bytes(), "list<u8>");
        check(WitType::result(None, Some(WitType::String)), "result<_, string>");
        check(WitType::result(Some(WitType::U8), None), "result<u8>");
        check(
            WitType::Variant(vec![("a".into(), None), ("b".into(), Some(WitType::Char))]),
            "variant{a, b(char)}",
        );
        check(WitType::Record(vec![("x".into(), WitType::option(WitType::F64))]), "record{x: option<f64>}");
        check(WitType::Tuple(vec![WitType::Own, WitType::Enum(vec!["e".into()])]), "tuple<own, enum{e}>");
    }
}
