//! What a store applies atomically: changes, the preconditions they depend on, and the quotas they must respect.

use super::{CommitVersion, Key, Namespace, Usage};

/// Changes that take effect together, if every precondition and quota holds.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    changes: Vec<Change>,
    /// Positions among the changes whose former value is asked for.
    replaced: Vec<usize>,
    cleared: Vec<Namespace>,
    requirements: Vec<Requirement>,
    quotas: Vec<(Namespace, Quota)>,
}

/// One change of one key. Later changes of the same key win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets the value.
    Put {
        /// Where.
        namespace: Namespace,
        /// Which.
        key: Key,
        /// To what.
        value: Vec<u8>,
    },
    /// Removes the key; succeeds when it is absent.
    Delete {
        /// Where.
        namespace: Namespace,
        /// Which.
        key: Key,
    },
}

impl Change {
    /// The namespace it changes.
    pub fn namespace(&self) -> &Namespace {
        match self {
            Self::Put { namespace, .. } | Self::Delete { namespace, .. } => namespace,
        }
    }

    /// The key it changes.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

/// What must be true of a key, before the batch, for the batch to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Where.
    pub namespace: Namespace,
    /// Which.
    pub key: Key,
    /// What.
    pub precondition: Precondition,
}

/// The state a key must be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// There is no record.
    Absent,
    /// There is a record.
    Present,
    /// There is a record, written by this commit. Versions, not values: a value that went away and came back is a conflict.
    Version(CommitVersion),
}

/// The most that a namespace may hold after the batch. A batch that shrinks the namespace passes even above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes, counted as in [`Usage::bytes`].
    pub bytes: u64,
    /// Records.
    pub keys: u64,
}

impl Batch {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a value.
    pub fn put(&mut self, namespace: &Namespace, key: Key, value: impl Into<Vec<u8>>) -> &mut Self {
        self.changes.push(Change::Put { namespace: namespace.clone(), key, value: value.into() });
        self
    }

    /// Sets a value, and asks for the one that it replaces: see [`CommitOutcome::evicted`]. What one batch asks for is at most
    /// [`MAX_BATCH_BYTES`](super::MAX_BATCH_BYTES); one that asks for more is refused as too large.
    pub fn replace(&mut self, namespace: &Namespace, key: Key, value: impl Into<Vec<u8>>) -> &mut Self {
        self.replaced.push(self.changes.len());
        self.put(namespace, key, value)
    }

    /// Removes everything in a namespace, in an instant however much it is. Takes effect before every change of the batch.
    pub fn clear(&mut self, namespace: &Namespace) -> &mut Self {
        if !self.cleared.contains(namespace) {
            self.cleared.push(namespace.clone());
        }
        self
    }

    /// Removes a key.
    pub fn delete(&mut self, namespace: &Namespace, key: Key) -> &mut Self {
        self.changes.push(Change::Delete { namespace: namespace.clone(), key });
        self
    }

    /// Makes the batch depend on a key's state.
    pub fn require(&mut self, namespace: &Namespace, key: Key, precondition: Precondition) -> &mut Self {
        self.requirements.push(Requirement { namespace: namespace.clone(), key, precondition });
        self
    }

    /// Makes the batch respect a quota; the last one given for a namespace counts.
    pub fn limit(&mut self, namespace: &Namespace, quota: Quota) -> &mut Self {
        self.quotas.retain(|(other, _)| other != namespace);
        self.quotas.push((namespace.clone(), quota));
        self
    }

    /// The changes, in their order.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Whether the value that this change replaces is asked for, by its position among the changes.
    pub fn is_replaced(&self, change: usize) -> bool {
        self.replaced.contains(&change)
    }

    /// The namespaces that are emptied first.
    pub fn cleared(&self) -> &[Namespace] {
        &self.cleared
    }

    /// The preconditions.
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The quotas.
    pub fn quotas(&self) -> &[(Namespace, Quota)] {
        &self.quotas
    }

    /// The changes, by value.
    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }

    /// Whether there is nothing to apply and nothing to check.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.requirements.is_empty() && self.cleared.is_empty()
    }

    /// Bytes of the keys and values it writes.
    pub fn bytes(&self) -> usize {
        let change = |change: &Change| {
            change.key().as_bytes().len()
                + if let Change::Put { value, .. } = change { value.len() } else { 0 }
        };
        self.changes.iter().map(change).sum()
    }

    /// How many changes, preconditions and cleared namespaces it has.
    pub fn operations(&self) -> usize {
        self.changes.len() + self.requirements.len() + self.cleared.len()
    }
}

/// What a commit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOutcome {
    /// The version that the written records carry.
    pub version: CommitVersion,
    /// What each changed namespace holds afterwards, in the order in which the batch first changed them.
    pub usage: Vec<(Namespace, Usage)>,
    /// For each [`Batch::replace`], in their order: the value before it.
    pub evicted: Vec<Option<Vec<u8>>>,
}
