//! The canonical ABI of the Wasmer engine beside a guest that lies: in its memory, in its core values, and with its allocator.
//!
//! The first byte says what is tried, the rest is types, values and memory. The module is compiled into this target from its
//! source, because nothing in it is of Wasmer and the crate around it is large.

#![no_main]

mod guest;
mod kinds;

#[path = "../../../airssys-wasm-wasmer/src"]
mod wasmer {
    #[allow(dead_code, unused_imports, unused_macros, reason = "the engine uses what this target does not")]
    pub(crate) mod abi;
}

use airssys_wasm_core::error::{Detail, ErrorKind, Limit, Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::{ResourceHandle, Value};
use airssys_wasm_fuzz::within;
use arbitrary::{Arbitrary, Unstructured};
use guest::{Allocator, Hostile};
use kinds::{Kind, tuple_of};
use libfuzzer_sys::fuzz_target;
use wasmer::abi::dynamic::{self, Held, check};
use wasmer::abi::transcode::{Memories, transcode};
use wasmer::abi::{self, Lift};
use wasmtime_environ::component::{
    ComponentTypes, FixedEncoding, StringEncoding, Transcode, TypeResourceTableIndex, TypeTupleIndex,
};

/// What a guest may make the host spend in one call.
const ALLOWANCE: usize = 1 << 12;
/// What the host may really hold meanwhile. A vector that grows can be twice as long as what is in it, and for a moment is there
/// twice; the texts of errors are apart.
const CEILING: usize = 4 * ALLOWANCE + (1 << 13);
/// The most bytes of a guest's memory.
const MEMORY: usize = 1 << 13;

fuzz_target!(|bytes: &[u8]| {
    let Some((what, rest)) = bytes.split_first() else { return };
    let input = &mut Unstructured::new(rest);
    // An input that is too short has nothing to say.
    let _ = match what % 4 {
        0 => lift_anything(input),
        1 => lower_anything(input),
        2 => lift_known_types(input),
        _ => transcode_anything(input),
    };
});

/// Whatever is in memory, lifting gives values or the guest's own fault; and what was lifted is lowered and lifted to itself.
fn lift_anything(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (types, tuple, _) = some_types(input)?;
    let encoding = encoding(input)?;
    let is_call = input.arbitrary()?;
    let cells: Vec<u64> = (0..17).map(|_| kinds::hostile_number(input)).collect::<arbitrary::Result<_>>()?;
    let mut guest = Hostile::new(encoding, Allocator::Traps, ALLOWANCE, &memory(input)?);
    let lifted = within(CEILING, || {
        if is_call {
            dynamic::lift_parameters(&cells, tuple, &types, &mut guest)
        } else {
            dynamic::lift_results(&cells, tuple, &types, &mut guest)
        }
    });
    match lifted {
        Ok(values) => check_crossing(&values, tuple, &types, encoding),
        Err(error) => check_blame(&error),
    }
    Ok(())
}

/// Values of the right type cross to an honest guest and back; to a lying one they cross or it is to blame. Values of another type
/// are found.
fn lower_anything(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (types, tuple, kinds) = some_types(input)?;
    let encoding = encoding(input)?;
    let values = kinds.iter().map(|kind| kind.value(input)).collect::<arbitrary::Result<Vec<_>>>()?;
    check_crossing(&values, tuple, &types, encoding);

    let (others, other, _) = some_types(input)?;
    let fits = others[other].types.len() == values.len()
        && others[other].types.iter().zip(&values).all(|(ty, value)| is_of(value, *ty, &others));
    if fits {
        check_crossing(&values, other, &others, encoding);
    } else if let Err(error) =
        dynamic::lower_parameters(&values, other, &others, &mut Hostile::honest(encoding))
    {
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }

    let pointer = kinds::hostile_number(input)?;
    let answers = Allocator::Answers(Vec::arbitrary(input)?);
    let mut guest = Hostile::new(encoding, answers, ALLOWANCE, &memory(input)?);
    for result in [
        dynamic::lower_parameters(&values, tuple, &types, &mut guest),
        dynamic::lower_results(&values, &[pointer], tuple, &types, &mut guest),
    ] {
        if let Err(error) = result {
            check_blame(&error);
        }
    }
    Ok(())
}

type Texts = Vec<(Option<String>, u8)>;
type Outcome = std::result::Result<(u8, f32), String>;

/// A type that Rust knows and the same one by the tables of a component: they see the same in the same memory.
fn lift_known_types(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let pair = |left, right| Kind::Tuple(vec![left, right]);
    let texts = Kind::List(Box::new(pair(Kind::Option(Box::new(Kind::String)), Kind::U8)));
    let outcome = Kind::Result(Some(Box::new(pair(Kind::U8, Kind::F32))), Some(Box::new(Kind::String)));
    let small = Kind::Record(vec![Kind::Bool, Kind::Char, Kind::S16]);
    let bytes = Kind::List(Box::new(Kind::U8));
    let encoding = encoding(input)?;
    let cells: Vec<u64> = (0..17).map(|_| kinds::hostile_number(input)).collect::<arbitrary::Result<_>>()?;
    let which = input.int_in_range(0..=3)?;
    let memory = &memory(input)?;
    match which {
        0 => same::<(Texts,)>(&[texts], &cells, encoding, memory),
        1 => same::<(Outcome, Option<u64>)>(
            &[outcome, Kind::Option(Box::new(Kind::U64))],
            &cells,
            encoding,
            memory,
        ),
        2 => same::<((bool, char, i16), Vec<u8>)>(&[small, bytes], &cells, encoding, memory),
        _ => same::<(String, Texts, Vec<Vec<u32>>)>(
            &[Kind::String, texts, Kind::List(Box::new(Kind::List(Box::new(Kind::U32))))],
            &cells,
            encoding,
            memory,
        ),
    }
    Ok(())
}

fn same<T: Lift>(kinds: &[Kind], cells: &[u64], encoding: StringEncoding, memory: &[u8]) {
    let (types, tuple) = tuple_of(kinds);
    assert_eq!(types[tuple].abi, T::ABI);
    let mut guest = Hostile::new(encoding, Allocator::Traps, ALLOWANCE, memory);
    let typed = within(CEILING, || abi::lift_parameters::<T, _>(cells, &mut guest).map(drop));
    let mut guest = Hostile::new(encoding, Allocator::Traps, ALLOWANCE, memory);
    let dynamic = within(CEILING, || dynamic::lift_parameters(cells, tuple, &types, &mut guest).map(drop));
    for error in [&typed, &dynamic].into_iter().filter_map(|lifted| lifted.as_ref().err()) {
        check_blame(error);
    }
    // A value of the host is larger than one that Rust knows: one of the two can be too much where the other is not.
    let is_limit = |lifted: &Result<()>| {
        lifted.as_ref().is_err_and(|error| error.detail() == Some(Detail::Limit(Limit::Transfer)))
    };
    if !is_limit(&typed) && !is_limit(&dynamic) {
        assert_eq!(typed.is_ok(), dynamic.is_ok(), "{typed:?} and {dynamic:?}");
    }
}

const TRANSCODERS: [Transcode; 12] = [
    Transcode::Copy(FixedEncoding::Utf8),
    Transcode::Copy(FixedEncoding::Utf16),
    Transcode::Copy(FixedEncoding::Latin1),
    Transcode::Latin1ToUtf16,
    Transcode::Latin1ToUtf8,
    Transcode::Utf16ToCompactProbablyUtf16,
    Transcode::Utf16ToCompactUtf16,
    Transcode::Utf16ToLatin1,
    Transcode::Utf16ToUtf8,
    Transcode::Utf8ToCompactUtf16,
    Transcode::Utf8ToLatin1,
    Transcode::Utf8ToUtf16,
];

/// Strings between two memories, or inside of one: the same answer either way, nothing written but where it was asked for, and no
/// more said to be written than there is.
fn transcode_anything(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let op = *input.choose(&TRANSCODERS)?;
    let parameters: Vec<u64> =
        (0..5).map(|_| kinds::hostile_number(input)).collect::<arbitrary::Result<_>>()?;
    let from = &memory(input)?[..];
    let before = vec![0x5a; 256];
    let mut to = before.clone();
    let apart = within(CEILING, || transcode(op, &parameters, Memories::Two { from, to: &mut to }));

    // The same in one memory, the target behind the source and where it is aligned alike.
    let offset = from.len().next_multiple_of(2);
    let mut shared = from.to_vec();
    shared.resize(offset, 0);
    shared.extend(&before);
    let mut moved = parameters.clone();
    let target = parameters[2] as u32;
    moved[2] = u64::from(target.saturating_add(offset as u32));
    let is_inside = |pointer: u64, length: u64, unit: u64| {
        u64::from(pointer as u32) + u64::from(length as u32) * unit <= from.len() as u64
    };
    let in_one = transcode(op, &moved, Memories::One(&mut shared));
    match (&apart, &in_one) {
        (Ok(apart), Ok(in_one)) => {
            assert_eq!(apart.as_slice(), in_one.as_slice(), "{op:?}");
            assert_eq!(to, shared[offset..], "{op:?}");
            assert_eq!(from, &shared[..from.len()], "{op:?} wrote into its source");
        }
        (Err(error), Err(_)) => {
            check_blame(error);
        }
        (Ok(_), Err(error)) => panic!("{op:?} is refused in one memory alone: {error}"),
        // The one memory goes on where the other one ends.
        (Err(error), Ok(_)) => {
            check_blame(error);
            assert!(
                !is_inside(parameters[0], parameters[1], 2),
                "{op:?} is refused in two memories alone: {error}"
            );
        }
    }
    if apart.is_ok() {
        let start = (target as usize).min(to.len());
        assert_eq!(to[..start], before[..start], "{op:?} wrote in front of its target");
    }
    Ok(())
}

/// What was checked crosses to an honest guest, takes the cells that its type says, and comes back as it was; as parameters and as
/// results.
fn check_crossing(values: &[Value], tuple: TypeTupleIndex, types: &ComponentTypes, encoding: StringEncoding) {
    for (value, ty) in values.iter().zip(&types[tuple].types) {
        assert!(is_of(value, *ty, types), "{value:?}");
    }
    let mut guest = Hostile::honest(encoding);
    let cells = dynamic::lower_parameters(values, tuple, types, &mut guest).expect("an honest guest");
    assert_eq!(cells.len(), types[tuple].abi.flat_count.map_or(1, usize::from));
    let back =
        dynamic::lift_parameters(cells.as_slice(), tuple, types, &mut guest).expect("it was just lowered");
    assert_eq!(format!("{back:?}"), format!("{values:?}"));

    let abi = &types[tuple].abi;
    let pointer = u64::from(guest.place(abi.align32, abi.size32));
    let results =
        dynamic::lower_results(values, &[pointer], tuple, types, &mut guest).expect("an honest guest");
    let is_flat = abi.flat_count(1).is_some();
    let results = if is_flat { results.as_slice() } else { &[pointer] };
    let back = dynamic::lift_results(results, tuple, types, &mut guest).expect("it was just lowered");
    assert_eq!(format!("{back:?}"), format!("{values:?}"));
}

fn is_of(value: &Value, ty: wasmtime_environ::component::InterfaceType, types: &ComponentTypes) -> bool {
    check(value, ty, types, &mut Anything).is_ok()
}

/// A host that holds every resource.
struct Anything;

impl Held for Anything {
    fn hand_over(
        &mut self,
        _: TypeResourceTableIndex,
        _: ResourceHandle,
    ) -> std::result::Result<(), &'static str> {
        Ok(())
    }

    fn lend(
        &mut self,
        _: TypeResourceTableIndex,
        _: ResourceHandle,
    ) -> std::result::Result<(), &'static str> {
        Ok(())
    }
}

/// Whatever a guest does, it is the guest's fault and not the host's.
fn check_blame(error: &WasmError) {
    assert!(
        matches!(
            error.detail(),
            Some(
                Detail::Trap(TrapKind::InvalidValue | TrapKind::InvalidHandle | TrapKind::Unreachable)
                    | Detail::Limit(Limit::Transfer)
            )
        ),
        "{error:?}"
    );
}

fn some_types(
    input: &mut Unstructured<'_>,
) -> arbitrary::Result<(ComponentTypes, TypeTupleIndex, Vec<Kind>)> {
    let count = input.int_in_range(0..=4)?;
    let kinds = (0..count).map(|_| Kind::of(input)).collect::<arbitrary::Result<Vec<_>>>()?;
    let (types, tuple) = tuple_of(&kinds);
    Ok((types, tuple, kinds))
}

/// What is left of the input, as a memory: bytes, or numbers that are often places and lengths. Often it repeats itself, so that a
/// long list has parts that make sense.
fn memory(input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let times = *input.choose(&[1, 1, 16, 256])?;
    let mut memory = Vec::new();
    if input.arbitrary()? {
        while !input.is_empty() && memory.len() < MEMORY {
            memory.extend((kinds::hostile_number(input)? as u32).to_le_bytes());
        }
    } else {
        memory.extend(input.bytes(input.len())?);
    }
    let mut memory = memory.repeat(times);
    memory.truncate(MEMORY);
    Ok(memory)
}

fn encoding(input: &mut Unstructured<'_>) -> arbitrary::Result<StringEncoding> {
    input.choose(&[StringEncoding::Utf8, StringEncoding::Utf16, StringEncoding::CompactUtf16]).copied()
}
