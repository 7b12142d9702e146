//! Strings in the three encodings of guests.

use airssys_wasm_core::error::Result;
use wasmtime_environ::component::StringEncoding;

use super::guest::{Guest, allocate, invalid, place, reallocate, slice, slice_mut};

/// The most bytes of a string: the highest bit of its length says what it is encoded in.
pub(super) const MAX_BYTES: usize = UTF16_TAG as usize - 1;
/// In the length of a string of `latin1+utf16`: it is UTF-16.
pub(super) const UTF16_TAG: u32 = 1 << 31;

/// Writes a text into memory of its own; its address and length.
pub(super) fn lower<G: Guest + ?Sized>(text: &str, guest: &mut G) -> Result<(u32, u32)> {
    let (at, units) = match guest.encoding() {
        StringEncoding::Utf8 => {
            fits(guest, text.len())?;
            let at = allocate(guest, 1, text.len())?;
            slice_mut(guest, at, text.len())?.copy_from_slice(text.as_bytes());
            (at, text.len() as u32)
        }
        StringEncoding::Utf16 => lower_utf16(text, guest)?,
        StringEncoding::CompactUtf16 => lower_compact(text, guest)?,
    };
    Ok((at as u32, units))
}

/// Reads the text at `pointer`, whose length is in the units of the guest's encoding.
pub(super) fn lift<G: Guest + ?Sized>(guest: &mut G, pointer: u32, length: u32) -> Result<String> {
    const WHERE: &str = "a string is not inside of the guest's memory, or not aligned";
    let (units, unit, align) = match guest.encoding() {
        StringEncoding::Utf8 => (length, 1, 1),
        StringEncoding::Utf16 => (length, 2, 2),
        StringEncoding::CompactUtf16 if length & UTF16_TAG == 0 => (length, 1, 2),
        StringEncoding::CompactUtf16 => (length ^ UTF16_TAG, 2, 2),
    };
    let Some(size) = (units as usize).checked_mul(unit) else {
        return Err(invalid(guest, WHERE).with("length", length));
    };
    let at = place(guest, pointer, align, size, WHERE)?;
    guest.charge(size)?;
    let bytes = slice(guest, at, size)?;
    let text = match (guest.encoding(), unit) {
        (StringEncoding::Utf8, _) => std::str::from_utf8(bytes).ok().map(str::to_owned),
        (_, 1) => Some(from_latin1(bytes)),
        _ => from_utf16(bytes),
    };
    text.ok_or_else(|| {
        invalid(guest, "a string is not well formed").with("pointer", pointer).with("length", length)
    })
}

fn fits(guest: &(impl Guest + ?Sized), size: usize) -> Result<()> {
    if size > MAX_BYTES {
        return Err(invalid(guest, "a string is too large for the guest").with("bytes", size));
    }
    Ok(())
}

/// As many units as there are bytes at first; what is not needed is given back.
fn lower_utf16<G: Guest + ?Sized>(text: &str, guest: &mut G) -> Result<(usize, u32)> {
    let size = text.len().saturating_mul(2);
    fits(guest, size)?;
    let mut at = allocate(guest, 2, size)?;
    let units = encode_utf16(text, slice_mut(guest, at, size)?);
    if units * 2 < size {
        at = reallocate(guest, at, size, 2, units * 2)?;
    }
    Ok((at, units as u32))
}

/// Latin-1 until a character does not fit into it; then everything again, as UTF-16.
fn lower_compact<G: Guest + ?Sized>(text: &str, guest: &mut G) -> Result<(usize, u32)> {
    let size = text.len();
    fits(guest, size)?;
    let mut at = allocate(guest, 2, size)?;
    let target = slice_mut(guest, at, size)?;
    let mut written = 0;
    for (position, character) in text.char_indices() {
        if let Ok(byte) = u8::try_from(u32::from(character)) {
            target[written] = byte;
            written += 1;
            continue;
        }
        let worst = size.saturating_mul(2);
        fits(guest, worst)?;
        at = reallocate(guest, at, size, 2, worst)?;
        let target = slice_mut(guest, at, worst)?;
        inflate(target, written);
        let units = written + encode_utf16(&text[position..], &mut target[written * 2..]);
        if units * 2 < worst {
            at = reallocate(guest, at, worst, 2, units * 2)?;
        }
        return Ok((at, units as u32 | UTF16_TAG));
    }
    if written < size {
        at = reallocate(guest, at, size, 2, written)?;
    }
    Ok((at, written as u32))
}

/// Writes the units of `text`, as far as there is room; how many there are.
pub(super) fn encode_utf16(text: &str, target: &mut [u8]) -> usize {
    let mut units = 0;
    for (unit, place) in text.encode_utf16().zip(target.as_chunks_mut::<2>().0) {
        *place = unit.to_le_bytes();
        units += 1;
    }
    units
}

/// Turns the `count` Latin-1 characters at the front into UTF-16, in place.
pub(super) fn inflate(target: &mut [u8], count: usize) {
    for position in (0..count).rev() {
        target[position * 2] = target[position];
        target[position * 2 + 1] = 0;
    }
}

pub(super) fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit))
}

fn from_utf16(bytes: &[u8]) -> Option<String> {
    char::decode_utf16(units(bytes)).collect::<Result<_, _>>().ok()
}

fn from_latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use airssys_wasm_core::error::{Detail, Limit, TrapKind};

    use super::super::fake::{Allocator, ENCODINGS, Fake};
    use super::*;

    const TEXTS: [&str; 7] =
        ["", "a", "plain ascii", "na\u{ef}ve", "\u{ff}\u{100}", "x\u{ef}y\u{1f600}z", "\u{7ff}\u{800}"];

    #[test]
    fn texts_cross_and_come_back() {
        for encoding in ENCODINGS {
            for text in TEXTS {
                let mut guest = Fake::new(encoding);
                let (pointer, length) = lower(text, &mut guest).unwrap();
                assert_eq!(lift(&mut guest, pointer, length).unwrap(), text, "{encoding:?}");
            }
        }
    }

    #[test]
    fn memory_is_asked_for_as_the_specification_says() {
        let check = |encoding, text: &str, allocations, length| {
            let mut guest = Fake::new(encoding);
            let (_, given) = lower(text, &mut guest).unwrap();
            assert_eq!((guest.allocations, given), (allocations, length), "{encoding:?} {text:?}");
        };
        check(StringEncoding::Utf8, "", 1, 0);
        check(StringEncoding::Utf8, "\u{ef}", 1, 2);
        check(StringEncoding::Utf16, "abc", 1, 3);
        check(StringEncoding::Utf16, "\u{ef}", 2, 1);
        check(StringEncoding::CompactUtf16, "abc", 1, 3);
        check(StringEncoding::CompactUtf16, "\u{ef}", 2, 1);
        check(StringEncoding::CompactUtf16, "a\u{100}", 3, 2 | UTF16_TAG);
    }

    #[test]
    fn hostile_strings_are_refused() {
        let check = |encoding, bytes: &[u8], pointer: u32, length: u32| {
            let mut guest = Fake::new(encoding);
            guest.memory[16..16 + bytes.len()].copy_from_slice(bytes);
            let error = lift(&mut guest, pointer, length).unwrap_err();
            assert_eq!(error.detail(), Some(Detail::Trap(TrapKind::InvalidValue)), "{error}");
        };
        for encoding in ENCODINGS {
            check(encoding, b"", u32::MAX, 1);
            check(encoding, b"", 8, u32::MAX);
            check(encoding, b"", u32::MAX - 1, u32::MAX);
            check(encoding, b"", 65536, 1);
            check(encoding, b"", 65538, 0);
        }
        check(StringEncoding::Utf16, b"", 17, 0);
        check(StringEncoding::CompactUtf16, b"", 17, 1);
        check(StringEncoding::Utf8, &[0xff], 16, 1);
        check(StringEncoding::Utf8, &[0xed, 0xa0, 0x80], 16, 3);
        check(StringEncoding::Utf16, &[0x00, 0xd8, 0x41, 0x00], 16, 2);
        check(StringEncoding::Utf16, &[0x00, 0xdc], 16, 1);
        check(StringEncoding::CompactUtf16, &[0x00, 0xd8], 16, 1 | UTF16_TAG);
    }

    #[test]
    fn a_string_is_counted_before_it_is_copied() {
        let mut guest = Fake::utf8();
        guest.allowance = 9;
        guest.memory[16..26].copy_from_slice(b"0123456789");
        let error = lift(&mut guest, 16, 10).unwrap_err();
        assert_eq!(error.detail(), Some(Detail::Limit(Limit::Transfer)));
        assert_eq!(lift(&mut guest, 16, 9).unwrap(), "012345678");
    }

    #[test]
    fn an_allocator_is_not_believed() {
        for encoding in ENCODINGS {
            for answer in [65535, 65536, u32::MAX, u32::MAX - 1, 1] {
                let mut guest = Fake::new(encoding);
                guest.allocator = Allocator::Answers(answer);
                match lower("x\u{ef}\u{1f600}", &mut guest) {
                    Ok((pointer, _)) => assert_eq!((encoding, pointer), (StringEncoding::Utf8, 1)),
                    Err(error) => assert_eq!(error.detail(), Some(Detail::Trap(TrapKind::InvalidValue))),
                }
            }
            let mut guest = Fake::new(encoding);
            guest.allocator = Allocator::Traps;
            let error = lower("x", &mut guest).unwrap_err();
            assert_eq!(
                (error.operation(), error.detail()),
                ("realloc", Some(Detail::Trap(TrapKind::Unreachable)))
            );
        }
    }
}
