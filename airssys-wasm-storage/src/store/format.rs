//! The stamp of a store: which layout its keys have, and which engine wrote it.
//!
//! Its own shape never changes, so that every version of this crate can tell what it looks at:
//! `airssys-wasm store | format u32 | name of the engine | crc32c u32`.

use std::ops::{Bound, ControlFlow};

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::Order;

use super::{OPEN, layout};
use crate::engine::{EngineError, KeyValueEngine, Write};

/// What this version writes and reads.
const FORMAT: u32 = 1;
const MAGIC: &[u8] = b"airssys-wasm store";

/// What an engine holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing at all.
    Nothing,
    /// A store that this version reads.
    Store,
}

/// The stamp to write into an empty engine.
pub(crate) fn stamp(engine: &impl KeyValueEngine) -> Write {
    Write { key: layout::STAMP.to_vec(), value: Some(encode(FORMAT, engine.profile().name)) }
}

/// Looks what `engine` holds, without writing.
///
/// # Errors
/// [`StorageFault::Format`] when it is neither empty nor a store of this format and engine.
pub(crate) fn inspect(engine: &impl KeyValueEngine) -> Result<Found> {
    let name = engine.profile().name;
    let failed = |error: EngineError| {
        WasmError::storage(OPEN, error.fault).with("store", engine.place()).because(error.cause)
    };
    let Some(stamp) = engine.get(layout::STAMP, <[u8]>::to_vec).map_err(failed)? else {
        let mut empty = true;
        engine
            .scan(Bound::Unbounded, Bound::Unbounded, Order::Ascending, |_, _| {
                empty = false;
                ControlFlow::Break(())
            })
            .map_err(failed)?;
        return if empty {
            Ok(Found::Nothing)
        } else {
            Err(WasmError::storage(OPEN, StorageFault::Format)
                .saying(format!("a {name} database of another program"))
                .with("store", engine.place())
                .advising("Choose another path: this database was left as it is."))
        };
    };
    judge(&stamp, name, engine.place()).map(|()| Found::Store)
}

/// Whether `stamp` is that of a store which this version reads, with the engine `name`. `place`: where it was found.
pub(crate) fn judge(stamp: &[u8], name: &str, place: &str) -> Result<()> {
    let refused =
        |fault, message: String| WasmError::storage(OPEN, fault).saying(message).with("store", place);
    match decode(stamp) {
        Some((FORMAT, writer)) if writer == name.as_bytes() => Ok(()),
        Some((FORMAT, writer)) => Err(refused(
            StorageFault::Format,
            format!("a store of the engine `{}`, not `{name}`", writer.escape_ascii()),
        )
        .advising("Choose the backend that wrote it.")),
        Some((format, _)) => Err(refused(
            StorageFault::Format,
            format!("a store of format {format}; this version reads format {FORMAT}"),
        )
        .advising("Open it with the version of airssys-wasm that wrote it, or a later one.")),
        None => Err(refused(StorageFault::Damaged, "the stamp of the store is damaged".to_owned())
            .advising("Restore the store from a copy: this one was left as it is.")),
    }
}

fn encode(format: u32, engine: &str) -> Vec<u8> {
    let mut stamp = [MAGIC, &format.to_be_bytes(), engine.as_bytes()].concat();
    stamp.extend(crc32c::crc32c(&stamp).to_be_bytes());
    stamp
}

fn decode(stamp: &[u8]) -> Option<(u32, &[u8])> {
    let (said, sum) = stamp.split_last_chunk()?;
    if crc32c::crc32c(said) != u32::from_be_bytes(*sum) {
        return None;
    }
    let (format, engine) = said.strip_prefix(MAGIC)?.split_first_chunk()?;
    Some((u32::from_be_bytes(*format), engine))
}

#[cfg(test)]
mod tests {
    use airssys_wasm_core::error::Detail;
    use airssys_wasm_core::storage::Durability;

    use super::*;
    use crate::memory::MemoryEngine;

    fn holding(key: &[u8], value: Vec<u8>) -> MemoryEngine {
        let engine = MemoryEngine::default();
        let write = Write { key: key.to_vec(), value: Some(value) };
        engine.apply(vec![write], Durability::Immediate).unwrap();
        engine
    }

    #[test]
    fn only_our_own_stamp_opens() {
        let check = |engine: &MemoryEngine, expected: Result<Found, StorageFault>| {
            let found = inspect(engine).map_err(|error| match error.detail() {
                Some(Detail::Storage(fault)) => fault,
                _ => panic!("{error}"),
            });
            assert_eq!(found, expected);
        };
        check(&MemoryEngine::default(), Ok(Found::Nothing));
        check(&holding(layout::STAMP, encode(FORMAT, "memory")), Ok(Found::Store));
        check(&holding(layout::STAMP, encode(FORMAT, "redb")), Err(StorageFault::Format));
        check(&holding(layout::STAMP, encode(FORMAT + 1, "memory")), Err(StorageFault::Format));
        check(&holding(b"other", vec![]), Err(StorageFault::Format));
        let stamp = encode(FORMAT, "memory");
        for bit in 0..stamp.len() * 8 {
            let mut damaged = stamp.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            check(&holding(layout::STAMP, damaged), Err(StorageFault::Damaged));
        }
        for length in 0..stamp.len() {
            check(&holding(layout::STAMP, stamp[..length].to_vec()), Err(StorageFault::Damaged));
        }
    }
}
