//! What the first bytes of a binary tell, before any engine looks at it.

use airssys_wasm_core::error::{LoadFault, Result, WasmError};

/// Refuses what cannot be a component, by its first bytes and the lengths of its sections.
///
/// # Errors
/// [`ComponentLoadFailed`](airssys_wasm_core::error::ErrorKind::ComponentLoadFailed) with
/// [`NotWebAssembly`](LoadFault::NotWebAssembly), [`CoreModule`](LoadFault::CoreModule), [`Truncated`](LoadFault::Truncated) or
/// [`Invalid`](LoadFault::Invalid).
pub fn diagnose(wasm: &[u8]) -> Result<()> {
    const MAGIC: &[u8] = b"\0asm";
    const MODULE: &[u8] = &[1, 0, 0, 0];
    const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

    if wasm.is_empty() || !(wasm.starts_with(MAGIC) || MAGIC.starts_with(wasm)) {
        let advice = if wasm.trim_ascii_start().starts_with(b"(") {
            "this is the text format: make a binary of it with `wasm-tools parse`"
        } else {
            "name a component: a `.wasm` file made by a toolchain that targets the Component Model"
        };
        let start = wasm.get(..4).unwrap_or(wasm).escape_ascii();
        return Err(WasmError::unloadable(LoadFault::NotWebAssembly)
            .with("bytes", wasm.len())
            .with("start", start)
            .advising(advice));
    }
    let truncated = || {
        WasmError::unloadable(LoadFault::Truncated)
            .with("bytes", wasm.len())
            .advising("fetch or build the component again")
    };
    let (version, sections) = match wasm.get(4..8) {
        Some(version) => (version, &wasm[8..]),
        None => return Err(truncated()),
    };
    if version == MODULE {
        return Err(WasmError::unloadable(LoadFault::CoreModule).advising(
            "build for the target `wasm32-wasip2`, or make a component of it with `wasm-tools component new`",
        ));
    }
    if version != COMPONENT {
        return Err(WasmError::unloadable(LoadFault::Invalid)
            .saying("the binary is of a version of WebAssembly that this host does not know")
            .with("version", version.escape_ascii()));
    }
    if is_cut_short(sections) { Err(truncated()) } else { Ok(()) }
}

/// Whether the last section says that it is longer than what is left.
fn is_cut_short(mut sections: &[u8]) -> bool {
    while let Some((_, rest)) = sections.split_first() {
        let mut length = 0_u64;
        let mut read = 0;
        loop {
            let Some(byte) = rest.get(read) else { return true };
            length |= u64::from(byte & 0x7f) << (7 * read);
            read += 1;
            if byte & 0x80 == 0 {
                break;
            }
            if read == 5 {
                // No length at all: the validator knows better what to say.
                return false;
            }
        }
        match usize::try_from(length).ok().and_then(|length| rest.get(read..)?.get(length..)) {
            Some(next) => sections = next,
            None => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use airssys_wasm_core::error::Detail;

    use super::*;

    #[test]
    fn the_first_bytes_tell_what_it_is() {
        let check = |wasm: &[u8], expected: Option<LoadFault>| {
            let found = diagnose(wasm).err().and_then(|error| error.detail());
            assert_eq!(found, expected.map(Detail::Load), "{wasm:?}");
        };
        check(b"", Some(LoadFault::NotWebAssembly));
        check(b"(component)", Some(LoadFault::NotWebAssembly));
        check(b"\x7fELF", Some(LoadFault::NotWebAssembly));
        check(b"\0as", Some(LoadFault::Truncated));
        check(b"\0asm\x0d\0", Some(LoadFault::Truncated));
        check(b"\0asm\x01\0\0\0", Some(LoadFault::CoreModule));
        check(b"\0asm\x0e\0\x01\0", Some(LoadFault::Invalid));
        check(b"\0asm\x0d\0\x01\0", None);
        check(b"\0asm\x0d\0\x01\0\0", Some(LoadFault::Truncated));
        check(b"\0asm\x0d\0\x01\0\0\x02a", Some(LoadFault::Truncated));
        check(b"\0asm\x0d\0\x01\0\0\x01a", None);
        check(b"\0asm\x0d\0\x01\0\0\xff\xff\xff\xff\xff", None);
    }
}
