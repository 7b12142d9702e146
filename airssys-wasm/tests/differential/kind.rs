//! Types of the Component Model: generated, written as text, and flattened.

use airssys_wasm::core::interface::WitType;
use arbitrary::{Result, Unstructured};

/// A type. Names of fields and cases are their positions: see [`label`].
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Simple(Simple),
    List(Box<Kind>),
    Option(Box<Kind>),
    Result(Option<Box<Kind>>, Option<Box<Kind>>),
    Tuple(Vec<Kind>),
    Record(Vec<Kind>),
    Variant(Vec<Option<Kind>>),
    Enum(usize),
    Flags(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Simple {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
}

const SIMPLE: [Simple; 13] = {
    use Simple::*;
    [Bool, S8, U8, S16, U16, S32, U32, S64, U64, F32, F64, Char, String]
};

/// A type of a core function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    I32,
    I64,
    F32,
    F64,
}

/// The name of a field, a case or a flag.
pub(crate) fn label(position: usize) -> String {
    format!("n{position}")
}

impl Kind {
    pub(crate) fn generate(entropy: &mut Unstructured<'_>, depth: u32) -> Result<Self> {
        if depth == 0 || entropy.ratio(2, 5)? {
            return Ok(match entropy.int_in_range(0..=11)? {
                0 => Self::Enum(*entropy.choose(&[1, 2, 3, 255, 256, 257])?),
                1 => Self::Flags(*entropy.choose(&[1, 7, 8, 9, 16, 17, 31, 32])?),
                2 | 3 => Self::Simple(Simple::String),
                4 => Self::List(Box::new(Self::Simple(Simple::U8))),
                _ => Self::Simple(*entropy.choose(&SIMPLE)?),
            });
        }
        let inner = |entropy: &mut Unstructured<'_>| Self::generate(entropy, depth - 1);
        let boxed = |entropy: &mut Unstructured<'_>| inner(entropy).map(Box::new);
        let perhaps = |entropy: &mut Unstructured<'_>| {
            if entropy.arbitrary()? { inner(entropy).map(Some) } else { Ok(None) }
        };
        let many = |entropy: &mut Unstructured<'_>| {
            (0..entropy.int_in_range(1..=5)?).map(|_| inner(entropy)).collect::<Result<Vec<_>>>()
        };
        Ok(match entropy.int_in_range(0..=5)? {
            0 => Self::List(boxed(entropy)?),
            1 => Self::Option(boxed(entropy)?),
            2 => Self::Result(perhaps(entropy)?.map(Box::new), perhaps(entropy)?.map(Box::new)),
            3 => Self::Tuple(many(entropy)?),
            4 => Self::Record(many(entropy)?),
            _ => {
                let cases = entropy.int_in_range(1..=5)?;
                Self::Variant((0..cases).map(|_| perhaps(entropy)).collect::<Result<_>>()?)
            }
        })
    }

    pub(crate) fn wit(&self) -> WitType {
        let labelled =
            |kinds: &[Self]| kinds.iter().enumerate().map(|(at, kind)| (label(at), kind.wit())).collect();
        let labels = |count: usize| (0..count).map(label).collect();
        match self {
            Self::Simple(simple) => simple.wit(),
            Self::List(element) => WitType::list(element.wit()),
            Self::Option(kind) => WitType::option(kind.wit()),
            Self::Result(ok, err) => {
                WitType::result(ok.as_ref().map(|kind| kind.wit()), err.as_ref().map(|kind| kind.wit()))
            }
            Self::Tuple(kinds) => WitType::Tuple(kinds.iter().map(Self::wit).collect()),
            Self::Record(fields) => WitType::Record(labelled(fields)),
            Self::Variant(cases) => {
                let cases = cases.iter().enumerate();
                WitType::Variant(cases.map(|(at, kind)| (label(at), kind.as_ref().map(Self::wit))).collect())
            }
            Self::Enum(count) => WitType::Enum(labels(*count)),
            Self::Flags(count) => WitType::Flags(labels(*count)),
        }
    }

    /// The core types that a value of this type is passed as.
    pub(crate) fn flat(&self) -> Vec<Core> {
        let variant = |cases: &mut dyn Iterator<Item = Option<&Self>>| {
            let mut flat = vec![Core::I32];
            for case in cases.flatten() {
                for (at, core) in case.flat().into_iter().enumerate() {
                    match flat.get_mut(at + 1) {
                        Some(known) => *known = known.join(core),
                        None => flat.push(core),
                    }
                }
            }
            flat
        };
        match self {
            Self::Simple(simple) => simple.flat(),
            Self::List(_) => vec![Core::I32, Core::I32],
            Self::Option(kind) => variant(&mut [None, Some(&**kind)].into_iter()),
            Self::Result(ok, err) => variant(&mut [ok.as_deref(), err.as_deref()].into_iter()),
            Self::Tuple(kinds) | Self::Record(kinds) => kinds.iter().flat_map(Self::flat).collect(),
            Self::Variant(cases) => variant(&mut cases.iter().map(Option::as_ref)),
            Self::Enum(_) | Self::Flags(_) => vec![Core::I32],
        }
    }
}

impl Simple {
    fn wit(self) -> WitType {
        match self {
            Self::Bool => WitType::Bool,
            Self::S8 => WitType::S8,
            Self::U8 => WitType::U8,
            Self::S16 => WitType::S16,
            Self::U16 => WitType::U16,
            Self::S32 => WitType::S32,
            Self::U32 => WitType::U32,
            Self::S64 => WitType::S64,
            Self::U64 => WitType::U64,
            Self::F32 => WitType::F32,
            Self::F64 => WitType::F64,
            Self::Char => WitType::Char,
            Self::String => WitType::String,
        }
    }

    fn flat(self) -> Vec<Core> {
        match self {
            Self::S64 | Self::U64 => vec![Core::I64],
            Self::F32 => vec![Core::F32],
            Self::F64 => vec![Core::F64],
            Self::String => vec![Core::I32, Core::I32],
            _ => vec![Core::I32],
        }
    }

    pub(crate) const fn text(self) -> &'static str {
        match self {
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
        }
    }
}

impl Core {
    /// The type that carries both.
    fn join(self, other: Self) -> Self {
        match (self, other) {
            _ if self == other => self,
            (Self::I32, Self::F32) | (Self::F32, Self::I32) => Self::I32,
            _ => Self::I64,
        }
    }

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }
}

/// Types with names, as a component has to have them where it imports and exports.
#[derive(Default)]
pub(crate) struct Names {
    /// The definitions inside a type of an instance, which exports each as `t0`, `t1` and so on.
    pub(crate) definitions: String,
    pub(crate) count: usize,
}

impl Names {
    /// How a type is written where it is used. What must have a name is defined.
    pub(crate) fn text(&mut self, kind: &Kind) -> String {
        let labels = |count: &usize| (0..*count).map(|at| format!(" \"{}\"", label(at))).collect::<String>();
        let definition = match kind {
            Kind::Simple(simple) => return simple.text().to_owned(),
            Kind::List(element) => return format!("(list {})", self.text(element)),
            Kind::Option(kind) => return format!("(option {})", self.text(kind)),
            Kind::Result(ok, err) => {
                let ok = ok.as_ref().map(|kind| self.text(kind)).unwrap_or_default();
                let err = err.as_ref().map(|kind| format!("(error {})", self.text(kind))).unwrap_or_default();
                return format!("(result {ok} {err})");
            }
            Kind::Tuple(kinds) => {
                let kinds: Vec<_> = kinds.iter().map(|kind| self.text(kind)).collect();
                return format!("(tuple {})", kinds.join(" "));
            }
            Kind::Record(fields) => {
                let fields = fields.iter().enumerate();
                let fields: String = fields
                    .map(|(at, kind)| format!(" (field \"{}\" {})", label(at), self.text(kind)))
                    .collect();
                format!("(record{fields})")
            }
            Kind::Variant(cases) => {
                let cases = cases.iter().enumerate();
                let cases: String = cases
                    .map(|(at, kind)| {
                        let payload = kind.as_ref().map(|kind| self.text(kind)).unwrap_or_default();
                        format!(" (case \"{}\" {payload})", label(at))
                    })
                    .collect();
                format!("(variant{cases})")
            }
            Kind::Enum(count) => format!("(enum{})", labels(count)),
            Kind::Flags(count) => format!("(flags{})", labels(count)),
        };
        let name = self.count;
        self.count += 1;
        self.definitions.push_str(&format!(
            "(type $d{name} {definition}) (export \"t{name}\" (type $t{name} (eq $d{name})))\n"
        ));
        format!("$t{name}")
    }
}
