//! What is stored for a key: `format u8 | flags u8 | version u64 | crc32c u32 | payload`, numbers big-endian.
//!
//! The checksum covers the engine's key too, so that a record found under a damaged key is damaged, not another record.
//! It is against accidents, not against a tamperer.

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::{CommitVersion, Record};

const FORMAT: u8 = 1;
/// Bytes before the payload.
pub(super) const HEADER: usize = 14;
const SUMMED: usize = 10;

/// The stored form of `payload` under `key`.
pub(super) fn seal(key: &[u8], version: CommitVersion, payload: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER + payload.len());
    sealed.extend([FORMAT, 0]);
    sealed.extend(version.0.to_be_bytes());
    sealed.extend(checksum(key, &sealed, payload).to_be_bytes());
    sealed.extend(payload);
    sealed
}

/// The version and the payload of what is stored under `key`.
pub(super) fn open<'a>(key: &[u8], sealed: &'a [u8]) -> Result<(CommitVersion, &'a [u8]), StorageFault> {
    let (header, payload) = sealed.split_at_checked(HEADER).ok_or(StorageFault::Damaged)?;
    let (summed, sum) = header.split_at(SUMMED);
    if sum != checksum(key, summed, payload).to_be_bytes() {
        return Err(StorageFault::Damaged);
    }
    let [FORMAT, 0, version @ ..] = summed else {
        // The bytes are whole, so they were written like this: by a later version of this crate.
        return Err(StorageFault::Format);
    };
    let version = version.try_into().map_err(|_| StorageFault::Damaged)?;
    Ok((CommitVersion(u64::from_be_bytes(version)), payload))
}

/// The record stored under `key`.
pub(super) fn record(key: &[u8], sealed: &[u8]) -> Result<Record, StorageFault> {
    open(key, sealed).map(|(version, payload)| Record { value: payload.to_vec(), version })
}

fn checksum(key: &[u8], header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(key), header), payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens() {
        for payload in [&b""[..], b"x", &[0; 5_000]] {
            let sealed = seal(b"key", CommitVersion(7), payload);
            assert_eq!(open(b"key", &sealed), Ok((CommitVersion(7), payload)));
            assert_eq!(open(b"kez", &sealed), Err(StorageFault::Damaged));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_damage() {
        let sealed = seal(b"key", CommitVersion(7), b"payload");
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(b"key", &damaged), Err(StorageFault::Damaged), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(open(b"key", &sealed[..length]), Err(StorageFault::Damaged), "cut at {length}");
        }
    }

    #[test]
    fn a_later_format_is_not_damage() {
        let mut sealed = vec![2, 0];
        sealed.extend(7_u64.to_be_bytes());
        sealed.extend(checksum(b"key", &sealed, b"payload").to_be_bytes());
        sealed.extend(b"payload");
        assert_eq!(open(b"key", &sealed), Err(StorageFault::Format));
    }
}
