//! Namespaces, keys and ranges of keys.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use crate::component::ComponentId;
use crate::error::{Result, StorageFault, WasmError};

/// A separate set of keys. The name is data: any bytes up to 255, and no two names ever share a key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Arc<[u8]>);

impl Namespace {
    const MAX_LENGTH: usize = 255;

    /// The namespace with this name.
    ///
    /// # Errors
    /// [`StorageFault::InvalidKey`] when the name is empty or longer than 255 bytes.
    pub fn new(name: impl AsRef<[u8]>) -> Result<Self> {
        let name = name.as_ref();
        if name.is_empty() || name.len() > Self::MAX_LENGTH {
            return Err(WasmError::storage("namespace", StorageFault::InvalidKey).saying(format!(
                "a namespace has {} bytes; 1 to {} are allowed",
                name.len(),
                Self::MAX_LENGTH
            )));
        }
        Ok(Self(name.into()))
    }

    /// The private namespace of a component.
    pub fn of_component(id: &ComponentId) -> Self {
        Self(id.as_str().as_bytes().into())
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({self})")
    }
}

/// A key: 1 to 2,048 bytes.
///
/// ```
/// use airssys_wasm_core::storage::Key;
///
/// assert_eq!(Key::new("count")?.as_bytes(), b"count");
/// assert!(Key::new("").is_err());
/// # Ok::<(), airssys_wasm_core::error::WasmError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Box<[u8]>);

impl Key {
    /// The most bytes of a key.
    pub const MAX_LENGTH: usize = 2_048;

    /// The key with these bytes.
    ///
    /// # Errors
    /// [`StorageFault::InvalidKey`] when there are none, or more than 2,048.
    pub fn new(bytes: impl AsRef<[u8]> + Into<Vec<u8>>) -> Result<Self> {
        let length = bytes.as_ref().len();
        if length == 0 || length > Self::MAX_LENGTH {
            return Err(WasmError::storage("key", StorageFault::InvalidKey)
                .saying(format!("a key has {length} bytes; 1 to {} are allowed", Self::MAX_LENGTH)));
        }
        Ok(Self(bytes.into().into_boxed_slice()))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, by value.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_vec()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// In which order a scan gives the keys of its range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// Bytewise, the smallest first.
    #[default]
    Ascending,
    /// The largest first.
    Descending,
}

/// Which keys a scan covers, and in which order it gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    order: Order,
}

impl KeyRange {
    /// Every key.
    pub fn all() -> Self {
        Self { start: Bound::Unbounded, end: Bound::Unbounded, order: Order::Ascending }
    }

    /// Every key that starts with `prefix`.
    pub fn prefix(prefix: &[u8]) -> Self {
        Self {
            start: Bound::Included(prefix.to_vec()),
            end: successor(prefix).map_or(Bound::Unbounded, Bound::Excluded),
            order: Order::Ascending,
        }
    }

    /// The same keys, the last of them first.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.order = match self.order {
            Order::Ascending => Order::Descending,
            Order::Descending => Order::Ascending,
        };
        self
    }

    /// The part of this range behind `key`, in its order: where a scan goes on whose last key was this one.
    ///
    /// ```
    /// use airssys_wasm_core::storage::KeyRange;
    ///
    /// let all = KeyRange::all().after(b"m");
    /// assert!(all.contains(b"z") && !all.contains(b"m"));
    /// let back = KeyRange::all().reversed().after(b"m");
    /// assert!(back.contains(b"a") && !back.contains(b"m"));
    /// ```
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        match self.order {
            Order::Ascending => {
                let behind = match &self.start {
                    Bound::Included(start) => key >= start.as_slice(),
                    Bound::Excluded(start) => key > start.as_slice(),
                    Bound::Unbounded => true,
                };
                if behind {
                    self.start = Bound::Excluded(key.to_vec());
                }
            }
            Order::Descending => {
                let before = match &self.end {
                    Bound::Included(end) => key <= end.as_slice(),
                    Bound::Excluded(end) => key < end.as_slice(),
                    Bound::Unbounded => true,
                };
                if before {
                    self.end = Bound::Excluded(key.to_vec());
                }
            }
        }
        self
    }

    /// In which order its keys come.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Where it starts.
    pub fn start(&self) -> Bound<&[u8]> {
        self.start.as_ref().map(Vec::as_slice)
    }

    /// Where it ends.
    pub fn end(&self) -> Bound<&[u8]> {
        self.end.as_ref().map(Vec::as_slice)
    }

    /// Whether no key can be in it.
    pub fn is_empty(&self) -> bool {
        match (self.start(), self.end()) {
            (Bound::Included(start), Bound::Excluded(end)) => start >= end,
            (Bound::Excluded(start), Bound::Excluded(end) | Bound::Included(end)) => start >= end,
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (Bound::Unbounded, Bound::Excluded(end)) => end.is_empty(),
            (_, Bound::Unbounded) | (Bound::Unbounded, Bound::Included(_)) => false,
        }
    }

    /// Whether `key` is in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        let behind_start = match self.start() {
            Bound::Included(start) => key >= start,
            Bound::Excluded(start) => key > start,
            Bound::Unbounded => true,
        };
        let before_end = match self.end() {
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        };
        behind_start && before_end
    }
}

/// The smallest key behind every key that starts with `prefix`; none when that would be behind every key.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut successor = prefix[..=last].to_vec();
    successor[last] += 1;
    Some(successor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_have_1_to_2048_bytes() {
        assert!(Key::new(vec![]).is_err());
        assert!(Key::new(vec![0; 2048]).is_ok());
        assert!(Key::new(vec![0; 2049]).is_err());
    }

    proptest! {
        #[test]
        fn a_prefix_range_holds_exactly_what_starts_with_it(prefix in prop::collection::vec(prop_oneof![Just(0), Just(254), Just(255)], 0..4), key in prop::collection::vec(prop_oneof![Just(0), Just(254), Just(255)], 1..6)) {
            prop_assert_eq!(KeyRange::prefix(&prefix).contains(&key), key.starts_with(&prefix));
        }

        #[test]
        fn going_on_after_a_key_leaves_out_what_came_before(keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..3), 2)) {
            let range = KeyRange::prefix(&[]).after(&keys[0]);
            prop_assert_eq!(range.contains(&keys[1]), keys[1] > keys[0]);
        }
    }
}
