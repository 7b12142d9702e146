//! Values of generated types.

use airssys_wasm::core::interface::WitType;
use airssys_wasm::core::runtime::Value;
use arbitrary::{Result, Unstructured};

/// A value of one of the types that [`kind`](crate::kind) makes.
pub(crate) fn generate(entropy: &mut Unstructured<'_>, kind: &WitType) -> Result<Value> {
    let payload = |entropy: &mut Unstructured<'_>, kind: Option<&WitType>| {
        kind.map(|kind| generate(entropy, kind).map(Box::new)).transpose()
    };
    Ok(match kind {
        WitType::Bool => Value::Bool(entropy.arbitrary()?),
        WitType::S8 => Value::S8(entropy.arbitrary()?),
        WitType::U8 => Value::U8(entropy.arbitrary()?),
        WitType::S16 => Value::S16(entropy.arbitrary()?),
        WitType::U16 => Value::U16(entropy.arbitrary()?),
        WitType::S32 => Value::S32(entropy.arbitrary()?),
        WitType::U32 => Value::U32(entropy.arbitrary()?),
        WitType::S64 => Value::S64(entropy.arbitrary()?),
        WitType::U64 => Value::U64(entropy.arbitrary()?),
        WitType::F32 => Value::F32(entropy.arbitrary()?),
        WitType::F64 => Value::F64(entropy.arbitrary()?),
        WitType::Char => Value::Char(entropy.arbitrary()?),
        WitType::String => Value::String(text(entropy)?),
        WitType::List(element) if **element == WitType::U8 => {
            let length = entropy.int_in_range(0..=40)?;
            Value::Bytes(entropy.bytes(length).map_or(vec![7; length], <[u8]>::to_vec))
        }
        WitType::List(element) => {
            let length = entropy.int_in_range(0..=4)?;
            Value::List((0..length).map(|_| generate(entropy, element)).collect::<Result<_>>()?)
        }
        WitType::Option(kind) => {
            let some = entropy.arbitrary::<bool>()?;
            Value::Option(payload(entropy, some.then_some(&**kind))?)
        }
        WitType::Result { ok, err } => Value::Result(if entropy.arbitrary()? {
            Ok(payload(entropy, ok.as_deref())?)
        } else {
            Err(payload(entropy, err.as_deref())?)
        }),
        WitType::Tuple(kinds) => {
            Value::Tuple(kinds.iter().map(|kind| generate(entropy, kind)).collect::<Result<_>>()?)
        }
        WitType::Record(fields) => {
            let fields = fields.iter().map(|(name, kind)| Ok((name.clone(), generate(entropy, kind)?)));
            Value::Record(fields.collect::<Result<_>>()?)
        }
        WitType::Variant(cases) => {
            let (name, kind) = entropy.choose(cases)?;
            Value::Variant(name.clone(), payload(entropy, kind.as_ref())?)
        }
        WitType::Enum(names) => Value::Enum(entropy.choose(names)?.clone()),
        WitType::Flags(names) => {
            let set: u32 = entropy.arbitrary()?;
            let set = names.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1);
            Value::Flags(set.map(|(_, name)| name.clone()).collect())
        }
        WitType::Own | WitType::Borrow | WitType::Unsupported(_) => {
            unreachable!("no such type is generated: {kind}")
        }
    })
}

/// Text that the encodings treat differently: ASCII, Latin-1, and beyond it.
fn text(entropy: &mut Unstructured<'_>) -> Result<String> {
    const ALPHABETS: [&[char]; 4] = [
        &['a', 'b', '\0', '~'],
        &['a', '\u{80}', '\u{ff}', 'é'],
        &['a', '\u{100}', '\u{7ff}', '\u{ffff}', 'é'],
        &['\u{1f600}', '\u{10ffff}', 'a', '\u{d7ff}', '\u{e000}'],
    ];
    let alphabet = entropy.choose(&ALPHABETS)?;
    let length = if entropy.ratio(1, 20)? { 300 } else { entropy.int_in_range(0..=9)? };
    (0..length).map(|_| entropy.choose(alphabet).copied()).collect()
}
