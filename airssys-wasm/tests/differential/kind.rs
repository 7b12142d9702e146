//! Types of the Component Model: generated, written as text, and flattened.

use airssys_wasm::core::interface::WitType;
use arbitrary::{Result, Unstructured};

const SIMPLE: [WitType; 13] = {
    use WitType::*;
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
fn label(position: usize) -> String {
    format!("n{position}")
}

fn labels(count: usize) -> Vec<String> {
    (0..count).map(label).collect()
}

/// A type that nests at most so deep.
pub(crate) fn generate(entropy: &mut Unstructured<'_>, depth: u32) -> Result<WitType> {
    if depth == 0 || entropy.ratio(2, 5)? {
        return Ok(match entropy.int_in_range(0..=11)? {
            0 => WitType::Enum(labels(*entropy.choose(&[1, 2, 3, 255, 256, 257])?)),
            1 => WitType::Flags(labels(*entropy.choose(&[1, 7, 8, 9, 16, 17, 31, 32])?)),
            2 | 3 => WitType::String,
            4 => WitType::bytes(),
            _ => entropy.choose(&SIMPLE)?.clone(),
        });
    }
    let inner = |entropy: &mut Unstructured<'_>| generate(entropy, depth - 1);
    let perhaps = |entropy: &mut Unstructured<'_>| {
        if entropy.arbitrary()? { inner(entropy).map(Some) } else { Ok(None) }
    };
    let many = |entropy: &mut Unstructured<'_>| {
        (0..entropy.int_in_range(1..=5)?).map(|_| inner(entropy)).collect::<Result<Vec<_>>>()
    };
    Ok(match entropy.int_in_range(0..=5)? {
        0 => WitType::list(inner(entropy)?),
        1 => WitType::option(inner(entropy)?),
        2 => WitType::result(perhaps(entropy)?, perhaps(entropy)?),
        3 => WitType::Tuple(many(entropy)?),
        4 => WitType::Record(labelled(many(entropy)?)),
        _ => {
            let cases = entropy.int_in_range(1..=5)?;
            WitType::Variant(labelled((0..cases).map(|_| perhaps(entropy)).collect::<Result<_>>()?))
        }
    })
}

fn labelled<T>(parts: Vec<T>) -> Vec<(String, T)> {
    parts.into_iter().enumerate().map(|(at, part)| (label(at), part)).collect()
}

/// The core types that a value of this type is passed as.
pub(crate) fn flat(kind: &WitType) -> Vec<Core> {
    let variant = |cases: &mut dyn Iterator<Item = Option<&WitType>>| {
        let mut all = vec![Core::I32];
        for case in cases.flatten() {
            for (at, core) in flat(case).into_iter().enumerate() {
                match all.get_mut(at + 1) {
                    Some(known) => *known = known.join(core),
                    None => all.push(core),
                }
            }
        }
        all
    };
    match kind {
        WitType::S64 | WitType::U64 => vec![Core::I64],
        WitType::F32 => vec![Core::F32],
        WitType::F64 => vec![Core::F64],
        WitType::String | WitType::List(_) => vec![Core::I32, Core::I32],
        WitType::Option(kind) => variant(&mut [None, Some(&**kind)].into_iter()),
        WitType::Result { ok, err } => variant(&mut [ok.as_deref(), err.as_deref()].into_iter()),
        WitType::Tuple(kinds) => kinds.iter().flat_map(flat).collect(),
        WitType::Record(fields) => fields.iter().flat_map(|(_, kind)| flat(kind)).collect(),
        WitType::Variant(cases) => variant(&mut cases.iter().map(|(_, kind)| kind.as_ref())),
        _ => vec![Core::I32],
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
    pub(crate) fn text(&mut self, kind: &WitType) -> String {
        let quoted = |names: &[String]| names.iter().map(|name| format!(" \"{name}\"")).collect::<String>();
        let definition = match kind {
            WitType::List(element) => return format!("(list {})", self.text(element)),
            WitType::Option(kind) => return format!("(option {})", self.text(kind)),
            WitType::Result { ok, err } => {
                let ok = ok.as_ref().map(|kind| self.text(kind)).unwrap_or_default();
                let err = err.as_ref().map(|kind| format!("(error {})", self.text(kind))).unwrap_or_default();
                return format!("(result {ok} {err})");
            }
            WitType::Tuple(kinds) => {
                let kinds: Vec<_> = kinds.iter().map(|kind| self.text(kind)).collect();
                return format!("(tuple {})", kinds.join(" "));
            }
            WitType::Record(fields) => {
                let fields =
                    fields.iter().map(|(name, kind)| format!(" (field \"{name}\" {})", self.text(kind)));
                format!("(record{})", fields.collect::<String>())
            }
            WitType::Variant(cases) => {
                let cases = cases.iter().map(|(name, kind)| {
                    let payload = kind.as_ref().map(|kind| self.text(kind)).unwrap_or_default();
                    format!(" (case \"{name}\" {payload})")
                });
                format!("(variant{})", cases.collect::<String>())
            }
            WitType::Enum(names) => format!("(enum{})", quoted(names)),
            WitType::Flags(names) => format!("(flags{})", quoted(names)),
            // What is left is written in a component as in WIT.
            simple => return simple.to_string(),
        };
        let name = self.count;
        self.count += 1;
        self.definitions.push_str(&format!(
            "(type $d{name} {definition}) (export \"t{name}\" (type $t{name} (eq $d{name})))\n"
        ));
        format!("$t{name}")
    }
}
