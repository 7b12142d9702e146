//! Types that the fuzzer makes up, and values of them.

#[path = "../../../airssys-wasm-wasmer/src/abi/kind.rs"]
mod kind;

use airssys_wasm_core::runtime::{ResourceHandle, Value};
use arbitrary::{Result, Unstructured};

use kind::name;
pub(crate) use kind::{Kind, tuple_of};

/// How deep types are nested.
const DEPTH: u32 = 4;

impl Kind {
    /// One that the input describes.
    pub(crate) fn of(input: &mut Unstructured<'_>) -> Result<Self> {
        Self::nested(input, DEPTH)
    }

    fn nested(input: &mut Unstructured<'_>, depth: u32) -> Result<Self> {
        let last = if depth == 0 { 16 } else { 22 };
        let inner = |input: &mut Unstructured<'_>| Self::nested(input, depth.saturating_sub(1));
        let boxed = |input: &mut Unstructured<'_>| inner(input).map(Box::new);
        let maybe = |input: &mut Unstructured<'_>| -> Result<Option<Self>> {
            if input.arbitrary()? { inner(input).map(Some) } else { Ok(None) }
        };
        Ok(match input.int_in_range(0..=last)? {
            0 => Self::Bool,
            1 => Self::S8,
            2 => Self::U8,
            3 => Self::S16,
            4 => Self::U16,
            5 => Self::S32,
            6 => Self::U32,
            7 => Self::S64,
            8 => Self::U64,
            9 => Self::F32,
            10 => Self::F64,
            11 => Self::Char,
            12 => Self::String,
            13 => Self::Own,
            14 => Self::Borrow,
            15 => Self::Enum(*input.choose(&[1, 2, 3, 256, 257])?),
            16 => Self::Flags(*input.choose(&[1, 2, 8, 9, 16, 17, 32, 33, 64, 65])?),
            17 => Self::List(boxed(input)?),
            18 => Self::Record(several(input, inner)?),
            19 => Self::Tuple(several(input, inner)?),
            20 => Self::Variant(several(input, maybe)?),
            21 => Self::Option(boxed(input)?),
            _ => Self::Result(maybe(input)?.map(Box::new), maybe(input)?.map(Box::new)),
        })
    }

    /// A value of it.
    pub(crate) fn value(&self, input: &mut Unstructured<'_>) -> Result<Value> {
        Ok(match self {
            Self::Bool => Value::Bool(input.arbitrary()?),
            Self::S8 => Value::S8(input.arbitrary()?),
            Self::U8 => Value::U8(input.arbitrary()?),
            Self::S16 => Value::S16(input.arbitrary()?),
            Self::U16 => Value::U16(input.arbitrary()?),
            Self::S32 => Value::S32(input.arbitrary()?),
            Self::U32 => Value::U32(input.arbitrary()?),
            Self::S64 => Value::S64(input.arbitrary()?),
            Self::U64 => Value::U64(input.arbitrary()?),
            Self::F32 => Value::F32(input.arbitrary()?),
            Self::F64 => Value::F64(input.arbitrary()?),
            Self::Char => Value::Char(input.arbitrary()?),
            Self::String => Value::String(input.arbitrary()?),
            Self::Own | Self::Borrow => {
                Value::Resource(ResourceHandle(u64::from(input.arbitrary::<u32>()?) + 1_000))
            }
            Self::Enum(count) => Value::Enum(name(input.choose_index(*count)?)),
            Self::Flags(count) => {
                let mut set = Vec::new();
                for position in 0..*count {
                    if input.arbitrary()? {
                        set.push(name(position));
                    }
                }
                Value::Flags(set)
            }
            Self::List(element) if matches!(**element, Self::U8) => Value::Bytes(input.arbitrary()?),
            Self::List(element) => {
                let count = input.int_in_range(0..=5)?;
                Value::List((0..count).map(|_| element.value(input)).collect::<Result<_>>()?)
            }
            Self::Record(fields) => {
                let fields = fields.iter().enumerate();
                let fields = fields.map(|(position, kind)| Ok((name(position), kind.value(input)?)));
                Value::Record(fields.collect::<Result<_>>()?)
            }
            Self::Tuple(kinds) => {
                Value::Tuple(kinds.iter().map(|kind| kind.value(input)).collect::<Result<_>>()?)
            }
            Self::Variant(cases) => {
                let case = input.choose_index(cases.len())?;
                Value::Variant(name(case), payload(cases[case].as_ref(), input)?)
            }
            Self::Option(some) => {
                let kind = input.arbitrary::<bool>()?.then_some(&**some);
                Value::Option(payload(kind, input)?)
            }
            Self::Result(ok, _) if input.arbitrary()? => Value::Result(Ok(payload(ok.as_deref(), input)?)),
            Self::Result(_, err) => Value::Result(Err(payload(err.as_deref(), input)?)),
        })
    }
}

/// Numbers that are often places in a small memory, its end, lengths, or what the ABI gives a meaning to.
pub(crate) fn hostile_number(input: &mut Unstructured<'_>) -> Result<u64> {
    const SPECIAL: [u64; 8] =
        [0, 0x8000_0000, 0x8000_0002, 0xffff_fff8, 0xffff_ffff, 0xd800, 0xdc00, 0x1_0000_0000];
    Ok(match input.int_in_range(0..=7)? {
        0..=3 => u64::from(input.arbitrary::<u8>()?) * 4,
        4 | 5 => input.int_in_range(0..=9)?,
        6 => *input.choose(&SPECIAL)?,
        _ => input.arbitrary()?,
    })
}

fn payload(kind: Option<&Kind>, input: &mut Unstructured<'_>) -> Result<Option<Box<Value>>> {
    kind.map(|kind| kind.value(input).map(Box::new)).transpose()
}

fn several<T>(
    input: &mut Unstructured<'_>,
    mut one: impl FnMut(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = input.int_in_range(1..=4)?;
    (0..count).map(|_| one(input)).collect()
}
