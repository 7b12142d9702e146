//! Values of generated types.

use airssys_wasm::core::runtime::Value;
use arbitrary::{Result, Unstructured};

use crate::kind::{Kind, Simple, label};

pub(crate) fn generate(entropy: &mut Unstructured<'_>, kind: &Kind) -> Result<Value> {
    let all = |entropy: &mut Unstructured<'_>, kinds: &[Kind]| {
        kinds.iter().map(|kind| generate(entropy, kind)).collect::<Result<Vec<_>>>()
    };
    let payload = |entropy: &mut Unstructured<'_>, kind: Option<&Kind>| {
        kind.map(|kind| generate(entropy, kind).map(Box::new)).transpose()
    };
    Ok(match kind {
        Kind::Simple(simple) => simple_value(entropy, *simple)?,
        Kind::List(element) if matches!(**element, Kind::Simple(Simple::U8)) => {
            let length = entropy.int_in_range(0..=40)?;
            Value::Bytes(entropy.bytes(length).map_or(vec![7; length], <[u8]>::to_vec))
        }
        Kind::List(element) => {
            let length = entropy.int_in_range(0..=4)?;
            Value::List((0..length).map(|_| generate(entropy, element)).collect::<Result<_>>()?)
        }
        Kind::Option(kind) => {
            let some = entropy.arbitrary::<bool>()?;
            Value::Option(payload(entropy, some.then_some(kind))?)
        }
        Kind::Result(ok, err) => Value::Result(if entropy.arbitrary()? {
            Ok(payload(entropy, ok.as_deref())?)
        } else {
            Err(payload(entropy, err.as_deref())?)
        }),
        Kind::Tuple(kinds) => Value::Tuple(all(entropy, kinds)?),
        Kind::Record(fields) => {
            let values = all(entropy, fields)?.into_iter().enumerate();
            Value::Record(values.map(|(at, value)| (label(at), value)).collect())
        }
        Kind::Variant(cases) => {
            let case = entropy.choose_index(cases.len())?;
            Value::Variant(label(case), payload(entropy, cases[case].as_ref())?)
        }
        Kind::Enum(count) => Value::Enum(label(entropy.choose_index(*count)?)),
        Kind::Flags(count) => {
            let set: u32 = entropy.arbitrary()?;
            Value::Flags((0..*count).filter(|at| set >> at & 1 == 1).map(label).collect())
        }
    })
}

fn simple_value(entropy: &mut Unstructured<'_>, simple: Simple) -> Result<Value> {
    Ok(match simple {
        Simple::Bool => Value::Bool(entropy.arbitrary()?),
        Simple::S8 => Value::S8(entropy.arbitrary()?),
        Simple::U8 => Value::U8(entropy.arbitrary()?),
        Simple::S16 => Value::S16(entropy.arbitrary()?),
        Simple::U16 => Value::U16(entropy.arbitrary()?),
        Simple::S32 => Value::S32(entropy.arbitrary()?),
        Simple::U32 => Value::U32(entropy.arbitrary()?),
        Simple::S64 => Value::S64(entropy.arbitrary()?),
        Simple::U64 => Value::U64(entropy.arbitrary()?),
        Simple::F32 => Value::F32(entropy.arbitrary()?),
        Simple::F64 => Value::F64(entropy.arbitrary()?),
        Simple::Char => Value::Char(entropy.arbitrary()?),
        Simple::String => Value::String(text(entropy)?),
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
