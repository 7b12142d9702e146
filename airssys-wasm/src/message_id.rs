//! Where message ids come from.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use airssys_wasm_core::messaging::MessageId;

/// Makes ids that are unique within a host and cannot be guessed from earlier ones.
///
/// The upper half is SipHash of a counter under a key drawn when the host was built: without the key it looks random. The
/// lower half is the counter itself, from a random start, which makes the id unique.
#[derive(Debug)]
pub(crate) struct MessageIds {
    key: RandomState,
    next: AtomicU64,
}

impl MessageIds {
    pub(crate) fn new() -> Self {
        let start = RandomState::new().hash_one(std::process::id());
        Self { key: RandomState::new(), next: AtomicU64::new(start) }
    }

    pub(crate) fn next(&self) -> MessageId {
        let low = self.next.fetch_add(1, Ordering::Relaxed);
        MessageId::from_parts(self.key.hash_one(low), low)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_their_upper_halves_spread() {
        let ids = MessageIds::new();
        let made: Vec<_> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(made.iter().collect::<HashSet<_>>().len(), made.len());
        assert_eq!(made.iter().map(|id| id.high()).collect::<HashSet<_>>().len(), made.len());
        assert_ne!(MessageIds::new().next().high(), MessageIds::new().next().high());
    }
}
