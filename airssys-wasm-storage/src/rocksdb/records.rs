//! The records of RocksDB's logs, as far as it cannot be trusted to read them.
//!
//! A log is blocks of 32 KiB with records of `crc32c u32 | length u16 | type u8 | bytes`, little-endian, none across two blocks.
//! RocksDB 11.8 reads for ever when a type has become that of a recycled log's record, which its reader refuses without stepping over it
//! (facebook/rocksdb#11968 is a case of it). We never recycle a log, so such a type is damage.

use std::io::{self, Read};

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;
/// The types of recycled logs' records.
const RECYCLED: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// Whether RocksDB comes to an end with this log, be it whole or not.
pub(super) fn can_be_read(mut log: impl Read) -> io::Result<bool> {
    let mut block = Vec::with_capacity(BLOCK);
    loop {
        block.clear();
        log.by_ref().take(BLOCK as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            return Ok(true);
        }
        if !block_can_be_read(&block) {
            return Ok(false);
        }
    }
}

fn block_can_be_read(mut rest: &[u8]) -> bool {
    while let Some((header, behind)) = rest.split_first_chunk::<HEADER>() {
        let [a, b, c, d, low, high, kind] = *header;
        if RECYCLED.contains(&kind) {
            return false;
        }
        let length = usize::from(u16::from_le_bytes([low, high]));
        let Some((bytes, behind)) = behind.split_at_checked(length) else { return true };
        // RocksDB goes on with the next block, here as above.
        if checksum(kind, bytes) != u32::from_le_bytes([a, b, c, d]) {
            return true;
        }
        rest = behind;
    }
    true
}

fn checksum(kind: u8, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind]), bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let mut record = checksum(kind, bytes).to_le_bytes().to_vec();
        record.extend((bytes.len() as u16).to_le_bytes());
        record.push(kind);
        record.extend(bytes);
        record
    }

    #[test]
    fn a_recycled_type_is_found_where_rocksdb_would_look() {
        let check = |log: &[Vec<u8>], expected: bool| {
            assert_eq!(can_be_read(&log.concat()[..]).unwrap(), expected, "{log:?}");
        };
        check(&[], true);
        check(&[record(1, b"one"), record(1, b"two")], true);
        check(&[record(1, b"one"), record(5, b"two")], false);
        // Within a record it is a byte like any other.
        check(&[record(1, &record(5, b"two"))], true);
        // Behind what is damaged or torn, RocksDB goes on with the next block.
        let mut torn = record(1, b"one");
        torn[8] ^= 1;
        check(&[torn.clone(), record(5, b"two")], true);
        let gap = vec![0; BLOCK - torn.len()];
        check(&[torn, gap, record(5, b"two")], false);
        check(&[record(1, b"one")[..5].to_vec()], true);
    }
}
