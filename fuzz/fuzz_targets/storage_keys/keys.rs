//! Namespaces, keys and ranges of keys by themselves.

use std::ops::Bound;

use airssys_wasm_core::error::{Detail, StorageFault, WasmError};
use airssys_wasm_core::storage::{Key, KeyRange, Namespace, Order};
use arbitrary::{Result, Unstructured};

/// How many keys are looked up in a range.
const PROBES: usize = 6;

pub(crate) fn check(input: &mut Unstructured<'_>) -> Result<()> {
    let prefix: Vec<u8> = input.arbitrary()?;
    let (is_reversed, after): (bool, Vec<Vec<u8>>) = input.arbitrary()?;
    check_name(&prefix);

    let mut range = KeyRange::prefix(&prefix);
    if is_reversed {
        range = range.reversed();
    }
    let order = if is_reversed { Order::Descending } else { Order::Ascending };
    assert_eq!(range.order(), order);
    assert_eq!(range.clone().reversed().reversed(), range);
    for behind in &after {
        range = range.after(behind);
    }
    // The interesting keys are those at the edges.
    let mut probes: Vec<Vec<u8>> =
        vec![prefix.clone(), Vec::new(), [&prefix[..], &[0]].concat(), [&prefix[..], &[0xff; 3]].concat()];
    for edge in after.iter().take(PROBES) {
        probes.extend([edge.clone(), [&edge[..], &[0]].concat(), [&prefix[..], &edge[..]].concat()]);
    }
    for _ in 0..PROBES {
        probes.push(input.arbitrary()?);
    }
    for probe in &probes {
        let is_behind = |edge: &Vec<u8>| if is_reversed { probe < edge } else { probe > edge };
        let expected = probe.starts_with(&prefix) && after.iter().all(is_behind);
        assert_eq!(range.contains(probe), expected, "{probe:?} in {range:?}");
        assert!(!range.is_empty() || !expected, "{range:?} is empty and has {probe:?}");
        let start = match range.start() {
            Bound::Included(start) => &probe[..] >= start,
            Bound::Excluded(start) => &probe[..] > start,
            Bound::Unbounded => true,
        };
        let end = match range.end() {
            Bound::Included(end) => &probe[..] <= end,
            Bound::Excluded(end) => &probe[..] < end,
            Bound::Unbounded => true,
        };
        assert_eq!(start && end, expected, "{probe:?} between the bounds of {range:?}");
    }
    Ok(())
}

fn check_name(bytes: &[u8]) {
    match Key::new(bytes) {
        Ok(key) => {
            assert!((1..=Key::MAX_LENGTH).contains(&bytes.len()));
            assert_eq!(key.as_bytes(), bytes);
            assert!(!key.to_string().chars().any(char::is_control));
            assert_eq!(key.into_bytes(), bytes);
        }
        Err(error) => check_refusal(&error, bytes, Key::MAX_LENGTH),
    }
    match Namespace::new(bytes) {
        Ok(namespace) => {
            assert!((1..=255).contains(&bytes.len()));
            assert_eq!(namespace.as_bytes(), bytes);
            assert!(!namespace.to_string().chars().any(char::is_control));
        }
        Err(error) => check_refusal(&error, bytes, 255),
    }
}

fn check_refusal(error: &WasmError, bytes: &[u8], most: usize) {
    assert_eq!(error.detail(), Some(Detail::Storage(StorageFault::InvalidKey)));
    assert!(bytes.is_empty() || bytes.len() > most, "{error}");
}
