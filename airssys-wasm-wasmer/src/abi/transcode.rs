//! Strings from one component to another: what the adapters between them import.
//!
//! An adapter has checked where its strings are and asked for the memory. Here this is checked again, because
//! a mistake there must not become a defect of the host.

use airssys_wasm_core::error::{ErrorKind, Result, TrapKind, WasmError};
use wasmtime_environ::component::{FixedEncoding, Transcode};

use super::cells::Cells;
use super::text::{UTF16_TAG, encode_utf16, inflate, units};

const OPERATION: &str = "string";

/// The memories that a string goes between.
#[derive(Debug)]
pub(crate) enum Memories<'m> {
    /// The same one. The string is copied out first, so that it can overlap what is written.
    One(&'m mut [u8]),
    /// One of each component.
    Two { from: &'m [u8], to: &'m mut [u8] },
}

/// Does what one import of an adapter asks for, with its parameters: the cells that it returns.
pub(crate) fn transcode(op: Transcode, parameters: &[u64], memories: Memories<'_>) -> Result<Cells> {
    let parameter = |position: usize| {
        let cell = parameters.get(position).map(|cell| *cell as u32 as usize);
        cell.ok_or_else(|| WasmError::new(ErrorKind::Internal, OPERATION).saying("a parameter is missing"))
    };
    let (pointer, length, target) = (parameter(0)?, parameter(1)?, parameter(2)?);
    let (unit, target_unit, target_length) = match op {
        Transcode::Copy(FixedEncoding::Utf8 | FixedEncoding::Latin1) | Transcode::Utf8ToLatin1 => {
            (1, 1, length)
        }
        Transcode::Copy(FixedEncoding::Utf16) | Transcode::Utf16ToCompactProbablyUtf16 => (2, 2, length),
        Transcode::Latin1ToUtf16 | Transcode::Utf8ToUtf16 => (1, 2, length),
        Transcode::Utf16ToLatin1 => (2, 1, length),
        Transcode::Latin1ToUtf8 => (1, 1, parameter(3)?),
        Transcode::Utf16ToUtf8 => (2, 1, parameter(3)?),
        Transcode::Utf8ToCompactUtf16 => (1, 2, parameter(3)?),
        Transcode::Utf16ToCompactUtf16 => (2, 2, parameter(3)?),
    };
    let copy;
    let (from, to) = match memories {
        Memories::One(memory) => {
            copy = memory[range(memory, pointer, length, unit)?].to_vec();
            (&copy[..], memory)
        }
        Memories::Two { from, to } => (&from[range(from, pointer, length, unit)?], to),
    };
    let range = range(to, target, target_length, target_unit)?;
    let to = &mut to[range];
    let mut cells = Cells::default();
    match op {
        Transcode::Copy(encoding) => {
            let well_formed = match encoding {
                FixedEncoding::Utf8 => std::str::from_utf8(from).is_ok(),
                FixedEncoding::Utf16 => is_utf16(from),
                FixedEncoding::Latin1 => true,
            };
            if !well_formed {
                return Err(malformed());
            }
            to.copy_from_slice(from);
        }
        Transcode::Latin1ToUtf16 => {
            to[..from.len()].copy_from_slice(from);
            inflate(to, from.len());
        }
        Transcode::Utf8ToUtf16 => cells.push(encode_utf16(utf8(from)?, to) as u64),
        Transcode::Utf16ToCompactProbablyUtf16 => cells.push(u64::from(utf16_to_compact(from, to)?)),
        Transcode::Latin1ToUtf8 => {
            let first = parameter(4)? != 0;
            let characters = from.iter().map(|byte| Some((char::from(*byte), 1)));
            pair(&mut cells, to_utf8(characters, to, first)?);
        }
        Transcode::Utf16ToUtf8 => {
            let first = parameter(4)? != 0;
            let characters = char::decode_utf16(units(from))
                .map(|character| character.ok().map(|character| (character, character.len_utf16())));
            pair(&mut cells, to_utf8(characters, to, first)?);
        }
        Transcode::Utf8ToLatin1 => pair(&mut cells, utf8_to_latin1(from, to)),
        Transcode::Utf16ToLatin1 => {
            let written = latin1(units(from).map(u32::from), to);
            pair(&mut cells, (written, written));
        }
        Transcode::Utf8ToCompactUtf16 => {
            let so_far = parameter(4)?;
            let to = inflated(to, so_far)?;
            let written = encode_utf16(utf8(from)?, to);
            cells.push((so_far + written) as u64);
        }
        Transcode::Utf16ToCompactUtf16 => {
            let so_far = parameter(4)?;
            let to = inflated(to, so_far)?;
            if !is_utf16(from) {
                return Err(malformed());
            }
            to.get_mut(..from.len()).ok_or_else(outside)?.copy_from_slice(from);
            cells.push((so_far + length) as u64);
        }
    }
    Ok(cells)
}

/// Where a string of `length` units is.
fn range(memory: &[u8], pointer: usize, length: usize, unit: usize) -> Result<std::ops::Range<usize>> {
    let end = length.checked_mul(unit).and_then(|size| pointer.checked_add(size));
    match end {
        Some(end) if end <= memory.len() && pointer.is_multiple_of(unit) => Ok(pointer..end),
        _ => Err(outside().with("pointer", pointer).with("length", length).with("memory", memory.len())),
    }
}

fn pair(cells: &mut Cells, (read, written): (usize, usize)) {
    cells.push(read as u64);
    cells.push(written as u64);
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| malformed())
}

fn is_utf16(bytes: &[u8]) -> bool {
    char::decode_utf16(units(bytes)).all(|character| character.is_ok())
}

/// UTF-16, or Latin-1 if all of it is; the length, tagged.
fn utf16_to_compact(from: &[u8], to: &mut [u8]) -> Result<u32> {
    if !is_utf16(from) {
        return Err(malformed());
    }
    let length = (from.len() / 2) as u32;
    if units(from).all(|unit| unit < 0x100) {
        latin1(units(from).map(u32::from), to);
        Ok(length)
    } else {
        to.copy_from_slice(from);
        Ok(length | UTF16_TAG)
    }
}

/// Characters, each with the units that it was read from, as long as there is room; and only ASCII at
/// `first`. How many units were read, and how many bytes written.
fn to_utf8(
    characters: impl Iterator<Item = Option<(char, usize)>>,
    to: &mut [u8],
    first: bool,
) -> Result<(usize, usize)> {
    let (mut read, mut written) = (0, 0);
    for character in characters {
        let (character, units) = character.ok_or_else(malformed)?;
        let room = to.len() - written;
        if (first && !character.is_ascii()) || room < character.len_utf8() {
            break;
        }
        written += character.encode_utf8(&mut to[written..]).len();
        read += units;
    }
    Ok((read, written))
}

/// Up to the first character that Latin-1 has not, or that is not well formed: the next step refuses it.
fn utf8_to_latin1(from: &[u8], to: &mut [u8]) -> (usize, usize) {
    let text = match std::str::from_utf8(from) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&from[..error.valid_up_to()]).unwrap_or_default(),
    };
    let read = text.char_indices().find(|(_, character)| u32::from(*character) > 0xff);
    let read = read.map_or(text.len(), |(position, _)| position);
    (read, latin1(text[..read].chars().map(u32::from), to))
}

/// Up to the first character that Latin-1 has not; how many there are.
fn latin1(characters: impl Iterator<Item = u32>, to: &mut [u8]) -> usize {
    let mut written = 0;
    for (character, place) in characters.map_while(|character| u8::try_from(character).ok()).zip(to) {
        *place = character;
        written += 1;
    }
    written
}

/// Makes the Latin-1 that was written so far UTF-16; what follows it.
fn inflated(to: &mut [u8], so_far: usize) -> Result<&mut [u8]> {
    let (front, rest) = to.split_at_mut_checked(so_far.saturating_mul(2)).ok_or_else(outside)?;
    inflate(front, so_far);
    Ok(rest)
}

#[cold]
fn malformed() -> WasmError {
    WasmError::trapped(OPERATION, TrapKind::InvalidValue).saying("a string is not well formed")
}

#[cold]
fn outside() -> WasmError {
    WasmError::trapped(OPERATION, TrapKind::InvalidValue)
        .saying("a string is not inside of the guest's memory, or not aligned")
}

#[cfg(test)]
mod tests {
    use airssys_wasm_core::error::Detail;
    use proptest::prelude::*;

    use super::*;

    /// With the string in the one memory at 8, and what comes of it in the other at 16.
    fn run(op: Transcode, from: &[u8], parameters: &[u64], before: &[u8]) -> Result<(Vec<u64>, Vec<u8>)> {
        let mut source = vec![0xa5; 8];
        source.extend(from);
        let mut target = vec![0x5a; 1024];
        target[16..16 + before.len()].copy_from_slice(before);
        let cells = transcode(op, parameters, Memories::Two { from: &source, to: &mut target })?;

        let mut shared = source.clone();
        shared.resize(2048, 0);
        shared.extend([0x5a; 1024]);
        shared[2064..2064 + before.len()].copy_from_slice(before);
        let mut moved = parameters.to_vec();
        moved[2] += 2048;
        let same = transcode(op, &moved, Memories::One(&mut shared))?;
        assert_eq!((same.as_slice(), &shared[2048..]), (cells.as_slice(), &target[..]));
        Ok((cells.as_slice().to_vec(), target[16..].to_vec()))
    }

    fn check(op: Transcode, from: &[u8], parameters: &[u64], before: &[u8], cells: &[u64], after: &[u8]) {
        let (given, target) = run(op, from, parameters, before).unwrap();
        assert_eq!((given.as_slice(), &target[..after.len()]), (cells, after), "{op:?}");
        assert!(target[after.len()..].iter().all(|byte| *byte == 0x5a), "{op:?} wrote too much");
    }

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn refused(op: Transcode, from: &[u8], parameters: &[u64]) {
        let error = run(op, from, parameters, b"").unwrap_err();
        assert_eq!(error.detail(), Some(Detail::Trap(TrapKind::InvalidValue)), "{op:?}");
    }

    #[test]
    fn copies() {
        let text = "a\u{ef}\u{1f600}";
        check(Transcode::Copy(FixedEncoding::Utf8), text.as_bytes(), &[8, 7, 16], b"", &[], text.as_bytes());
        check(Transcode::Copy(FixedEncoding::Utf16), &utf16(text), &[8, 4, 16], b"", &[], &utf16(text));
        check(Transcode::Copy(FixedEncoding::Latin1), b"a\xef", &[8, 2, 16], b"", &[], b"a\xef");
        refused(Transcode::Copy(FixedEncoding::Utf8), b"a\xef", &[8, 2, 16]);
        refused(Transcode::Copy(FixedEncoding::Utf16), &[0, 0xd8], &[8, 1, 16]);
        refused(Transcode::Copy(FixedEncoding::Utf16), &[0; 4], &[9, 1, 16]);
        refused(Transcode::Copy(FixedEncoding::Utf16), &[0; 4], &[8, 1, 17]);
        refused(Transcode::Copy(FixedEncoding::Latin1), b"a", &[8, 2, 16]);
        refused(Transcode::Copy(FixedEncoding::Latin1), b"a", &[8, 1, 1024]);
    }

    #[test]
    fn one_pass() {
        check(Transcode::Latin1ToUtf16, b"a\xef", &[8, 2, 16], b"", &[], &[0x61, 0, 0xef, 0]);
        let text = "a\u{ef}\u{1f600}";
        let (cells, bytes) = run(Transcode::Utf8ToUtf16, text.as_bytes(), &[8, 7, 16], b"").unwrap();
        assert_eq!((cells, &bytes[..8]), (vec![4], &utf16(text)[..]));
        refused(Transcode::Utf8ToUtf16, b"\xff", &[8, 1, 16]);
        let op = Transcode::Utf16ToCompactProbablyUtf16;
        check(op, &utf16("a\u{ef}"), &[8, 2, 16], b"", &[2], b"a\xef");
        let wide = utf16("a\u{100}");
        check(op, &wide, &[8, 2, 16], b"", &[2 | 1 << 31], &wide);
        refused(op, &[0, 0xdc], &[8, 1, 16]);
    }

    #[test]
    fn to_utf8_in_two_passes() {
        let text = utf16("ab\u{ef}c");
        check(Transcode::Utf16ToUtf8, &text, &[8, 4, 16, 4, 1], b"", &[2, 2], b"ab");
        check(Transcode::Utf16ToUtf8, &text, &[8, 4, 16, 12, 0], b"", &[4, 5], "ab\u{ef}c".as_bytes());
        check(Transcode::Utf16ToUtf8, &text, &[8, 4, 16, 3, 0], b"", &[2, 2], b"ab");
        check(
            Transcode::Utf16ToUtf8,
            &utf16("\u{1f600}"),
            &[8, 2, 16, 4, 0],
            b"",
            &[2, 4],
            "\u{1f600}".as_bytes(),
        );
        check(Transcode::Latin1ToUtf8, b"ab\xefc", &[8, 4, 16, 4, 1], b"", &[2, 2], b"ab");
        check(Transcode::Latin1ToUtf8, b"ab\xefc", &[8, 4, 16, 8, 0], b"", &[4, 5], "ab\u{ef}c".as_bytes());
        check(Transcode::Latin1ToUtf8, b"\xef", &[8, 1, 16, 1, 0], b"", &[0, 0], b"");
        refused(Transcode::Utf16ToUtf8, &[0, 0xd8], &[8, 1, 16, 9, 0]);
    }

    #[test]
    fn to_latin1_and_on_to_utf16() {
        let text = "a\u{ef}\u{100}z";
        check(Transcode::Utf8ToLatin1, text.as_bytes(), &[8, 6, 16], b"", &[3, 2], b"a\xef");
        check(Transcode::Utf16ToLatin1, &utf16(text), &[8, 4, 16], b"", &[2, 2], b"a\xef");
        check(Transcode::Utf8ToLatin1, b"a\xff", &[8, 2, 16], b"", &[1, 1], b"a");
        let rest = "\u{100}z";
        let parameters = &[8, 3, 16, 4, 2];
        check(Transcode::Utf8ToCompactUtf16, rest.as_bytes(), parameters, b"a\xef", &[4], &utf16(text));
        let parameters = &[8, 2, 16, 4, 2];
        check(Transcode::Utf16ToCompactUtf16, &utf16(rest), parameters, b"a\xef", &[4], &utf16(text));
        refused(Transcode::Utf8ToCompactUtf16, b"\xff", &[8, 1, 16, 4, 2]);
        refused(Transcode::Utf16ToCompactUtf16, &utf16("abc"), &[8, 3, 16, 4, 2]);
        refused(Transcode::Utf16ToCompactUtf16, &utf16("a"), &[8, 1, 16, 4, 5]);
    }

    const ALL: [Transcode; 12] = [
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

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..70u64, any::<u32>().prop_map(u64::from), Just(u64::from(u32::MAX))]
    }

    proptest! {
        /// Whatever the parameters and the memory, there is an answer or an error.
        #[test]
        fn hostile_parameters_are_survived(
            op in prop::sample::select(&ALL[..]),
            parameters in prop::collection::vec(number(), 5),
            from in prop::collection::vec(any::<u8>(), 0..64),
            one: bool,
        ) {
            let mut to = from.clone();
            let memories = if one {
                Memories::One(&mut to)
            } else {
                Memories::Two { from: &from, to: &mut to }
            };
            if let Err(error) = transcode(op, &parameters, memories) {
                prop_assert_eq!(error.detail(), Some(Detail::Trap(TrapKind::InvalidValue)));
            }
        }
    }
}
