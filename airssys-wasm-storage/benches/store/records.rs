//! The records of the benches: the same for a store and for its engine by hand.

use airssys_wasm_core::storage::{Batch, Durability, Key, Namespace, StorageBackend};

use crate::raw::Raw;

/// How many records are written at a time before anything is measured.
const CHUNK: u64 = 1_000;

/// The same keys in the same order for everybody; neighbours in time are far from each other in the file.
pub(crate) fn key(number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key
}

pub(crate) fn stored(number: u64) -> Key {
    Key::new(key(number)).expect("the key is short")
}

/// Bytes that do not compress, and tell the number.
pub(crate) fn value(number: u64, size: usize) -> Vec<u8> {
    let mut state = number | 1;
    let mut value = number.to_be_bytes().to_vec();
    while value.len() < size {
        // Marsaglia, "Xorshift RNGs", 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.extend(state.to_be_bytes());
    }
    value.truncate(size);
    value
}

pub(crate) fn namespace() -> Namespace {
    Namespace::new("bench/store").expect("the namespace is valid")
}

pub(crate) async fn fill(store: &dyn StorageBackend, entries: u64, size: usize) {
    let namespace = namespace();
    for start in (0..entries).step_by(CHUNK as usize) {
        let mut batch = Batch::new();
        for number in start..(start + CHUNK).min(entries) {
            batch.put(&namespace, stored(number), value(number, size));
        }
        store.commit(batch, Durability::Eventual).await.expect("the disk takes it");
    }
    store.sync().await.expect("the disk takes it");
}

pub(crate) fn fill_raw(raw: &dyn Raw, entries: u64, size: usize) {
    for start in (0..entries).step_by(CHUNK as usize) {
        let end = (start + CHUNK).min(entries);
        let chunk: Vec<_> = (start..end).map(|number| (key(number), value(number, size))).collect();
        raw.write(&chunk, end == entries);
    }
}
