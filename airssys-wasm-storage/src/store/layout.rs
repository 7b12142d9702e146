//! Which engine keys a store uses: `tag | namespace id | user key` for records, a tag of their own for its books.

use std::ops::Bound;

use airssys_wasm_core::storage::{Key, KeyRange, Usage};

const SYSTEM: u8 = 0;
const RECORDS: u8 = 1;
/// Bytes of a record's engine key before the user's key.
pub(super) const PREFIX: usize = 5;

/// The stamp: what this store is.
pub(super) const STAMP: &[u8] = &[SYSTEM, 0];
/// The counters.
pub(super) const COUNTERS: &[u8] = &[SYSTEM, 3];

/// Where the id of a namespace is kept.
pub(super) fn name(namespace: &[u8]) -> Vec<u8> {
    [NAMES_START, namespace].concat()
}

/// All names.
pub(super) const NAMES_START: &[u8] = &[SYSTEM, 1];
/// Behind all names.
pub(super) const NAMES_END: &[u8] = USAGE_START;
const USAGE_START: &[u8] = &[SYSTEM, 2];

/// Where the usage of a namespace is kept.
pub(super) fn usage(namespace: u32) -> [u8; 6] {
    let [a, b, c, d] = namespace.to_be_bytes();
    [SYSTEM, 2, a, b, c, d]
}

/// Where it is noted that a namespace was cleared, and its records are to be removed.
pub(super) fn retired(namespace: u32) -> [u8; 6] {
    let [a, b, c, d] = namespace.to_be_bytes();
    [SYSTEM, 4, a, b, c, d]
}

/// All of these notes.
pub(super) const RETIRED_START: &[u8] = &[SYSTEM, 4];
/// Behind all of them.
pub(super) const RETIRED_END: &[u8] = &[SYSTEM, 5];

/// Whether transactions read this key: names and records.
pub(super) fn is_read(key: &[u8]) -> bool {
    key.starts_with(&[RECORDS]) || key.starts_with(NAMES_START)
}

/// Where a record is kept.
pub(super) fn record(namespace: u32, key: &Key) -> Vec<u8> {
    behind(namespace, key.as_bytes())
}

/// The engine's bounds of a range within a namespace.
pub(super) fn range(namespace: u32, range: &KeyRange) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let start = match range.start() {
        Bound::Included(key) => Bound::Included(behind(namespace, key)),
        Bound::Excluded(key) => Bound::Excluded(behind(namespace, key)),
        Bound::Unbounded => Bound::Included(records_of(namespace).to_vec()),
    };
    let end = match range.end() {
        Bound::Included(key) => Bound::Included(behind(namespace, key)),
        Bound::Excluded(key) => Bound::Excluded(behind(namespace, key)),
        // The last namespace has no successor; its records end where their tag ends.
        Bound::Unbounded => Bound::Excluded(
            namespace.checked_add(1).map_or_else(|| vec![RECORDS + 1], |next| records_of(next).to_vec()),
        ),
    };
    (start, end)
}

/// What a key of the engine is for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Stamp,
    /// Of the namespace with this name.
    Name(&'a [u8]),
    Usage(u32),
    Counters,
    /// Says that the records with this id are of a namespace that was cleared.
    Retired(u32),
    Record(u32, &'a [u8]),
    /// Nothing that this version writes.
    Other,
}

/// Tells what `stored` is for.
pub(super) fn kind(stored: &[u8]) -> Kind<'_> {
    match stored {
        STAMP => Kind::Stamp,
        COUNTERS => Kind::Counters,
        [SYSTEM, 1, name @ ..] => Kind::Name(name),
        [SYSTEM, 2, a, b, c, d] => Kind::Usage(u32::from_be_bytes([*a, *b, *c, *d])),
        [SYSTEM, 4, a, b, c, d] => Kind::Retired(u32::from_be_bytes([*a, *b, *c, *d])),
        [RECORDS, a, b, c, d, key @ ..] => Kind::Record(u32::from_be_bytes([*a, *b, *c, *d]), key),
        _ => Kind::Other,
    }
}

/// The namespace of a key of the engine; 0, which no namespace has, for what comes before all records, and the last one for what comes
/// behind them.
pub(super) fn namespace_of(stored: &[u8]) -> u32 {
    match stored {
        [RECORDS, a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]),
        [] | [SYSTEM | RECORDS, ..] => 0,
        _ => u32::MAX,
    }
}

/// Where the records of a namespace begin.
pub(super) fn records_of(namespace: u32) -> [u8; PREFIX] {
    let [a, b, c, d] = namespace.to_be_bytes();
    [RECORDS, a, b, c, d]
}

fn behind(namespace: u32, key: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(PREFIX + key.len());
    whole.extend(records_of(namespace));
    whole.extend(key);
    whole
}

/// What a store counts beside its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counters {
    /// The version of the last commit.
    pub(super) version: u64,
    /// No commit that a crash may undo has a version above this one; so none is given out twice.
    pub(super) lease: u64,
    /// The id of the next namespace.
    pub(super) next_namespace: u32,
}

impl Counters {
    /// Of a store in which nothing has happened.
    pub(super) const START: Self = Self { version: 0, lease: 0, next_namespace: 1 };

    pub(super) fn encode(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.version.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.lease.to_be_bytes());
        bytes[16..].copy_from_slice(&self.next_namespace.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first_chunk()?;
        let (lease, rest) = rest.split_first_chunk()?;
        let next_namespace = rest.try_into().ok()?;
        Some(Self {
            version: u64::from_be_bytes(*version),
            lease: u64::from_be_bytes(*lease),
            next_namespace: u32::from_be_bytes(next_namespace),
        })
    }
}

/// The stored form of a usage.
pub(super) fn encode_usage(usage: Usage) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&usage.bytes.to_be_bytes());
    bytes[8..].copy_from_slice(&usage.keys.to_be_bytes());
    bytes
}

/// The usage of a stored form.
pub(super) fn decode_usage(bytes: &[u8]) -> Option<Usage> {
    let (used, keys) = bytes.split_first_chunk()?;
    Some(Usage { bytes: u64::from_be_bytes(*used), keys: u64::from_be_bytes(keys.try_into().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_namespace_ends_with_its_tag() {
        let (start, end) = range(u32::MAX, &KeyRange::all());
        assert_eq!(start, Bound::Included(vec![1, 255, 255, 255, 255]));
        assert_eq!(end, Bound::Excluded(vec![2]));
    }

    #[test]
    fn every_key_is_for_something() {
        let key = Key::new("k").unwrap();
        assert_eq!(kind(&record(7, &key)), Kind::Record(7, b"k"));
        assert_eq!(kind(&usage(7)), Kind::Usage(7));
        assert_eq!(kind(&name(b"a")), Kind::Name(b"a"));
        assert_eq!((kind(STAMP), kind(COUNTERS)), (Kind::Stamp, Kind::Counters));
        for other in [&[][..], &[SYSTEM], &[SYSTEM, 2, 0], &[RECORDS, 0, 0], &[RECORDS + 1]] {
            assert_eq!(kind(other), Kind::Other, "{other:?}");
        }
    }

    #[test]
    fn keys_tell_their_namespace() {
        let key = Key::new("k").unwrap();
        assert_eq!(namespace_of(&record(255, &key)), 255);
        assert_eq!(namespace_of(&records_of(u32::MAX)), u32::MAX);
        assert_eq!((namespace_of(&[]), namespace_of(COUNTERS), namespace_of(&[RECORDS, 9])), (0, 0, 0));
        assert_eq!(namespace_of(&[RECORDS + 1]), u32::MAX);
    }

    #[test]
    fn books_read_as_written() {
        let counters = Counters { version: 7, lease: 9, next_namespace: 3 };
        assert_eq!(Counters::decode(&counters.encode()), Some(counters));
        assert_eq!(Counters::decode(&[0; 19]), None);
        assert_eq!(Counters::decode(&[0; 21]), None);
        let usage = Usage { bytes: 7, keys: 2 };
        assert_eq!(decode_usage(&encode_usage(usage)), Some(usage));
        assert_eq!(decode_usage(&[0; 15]), None);
    }
}
