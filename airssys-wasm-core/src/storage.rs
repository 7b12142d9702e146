//! Stores: namespaced keys and values, changed in atomic batches.

use std::fmt;

use async_trait::async_trait;

use crate::error::{Result, StorageFault, WasmError};

mod batch;
mod key;
mod transaction;

pub use batch::{Batch, Change, CommitOutcome, Precondition, Quota, Requirement};
pub use key::{Key, KeyRange, Namespace, Order};
pub use transaction::{StorageTransaction, TransactionPage};

/// The largest value a store takes.
pub const MAX_VALUE: usize = 4 << 20;
/// The most operations of one batch: changes and preconditions together.
pub const MAX_BATCH_OPERATIONS: usize = 1_000;
/// The most bytes of keys and values of one batch.
pub const MAX_BATCH_BYTES: usize = 16 << 20;
/// The most bytes of keys and values of one page; a single larger record still makes a page of one.
pub const MAX_PAGE_BYTES: usize = 1 << 20;
/// What each record counts against a quota beside its key and its value.
pub const RECORD_OVERHEAD: u64 = 40;

/// A store.
///
/// # Behavior
/// - A key reads as the last committed value, byte for byte; an empty value is a value.
/// - A commit applies all of its changes, in their order, or none; readers see the state before or after.
/// - What a commit wrote is read at once by everybody, at any durability.
/// - Keys are ordered bytewise, and namespaces never meet, whatever their names hold.
/// - A read returns the stored bytes or an error, never other bytes.
///
/// Opening is the implementation's own business: each has a constructor that says what it needs.
#[async_trait]
pub trait StorageBackend: fmt::Debug + Send + Sync {
    /// What this store is, and what each durability survives here.
    fn profile(&self) -> StorageProfile;

    /// The record of `key`, if there is one.
    ///
    /// # Cancellation
    /// Dropping the future has no effect on the store.
    ///
    /// # Errors
    /// [`StorageFault::Damaged`] when the stored bytes do not match their checksum, [`StorageFault::Io`] when the
    /// medium fails, [`StorageFault::Closed`] after [`close`](Self::close).
    async fn get(&self, namespace: &Namespace, key: &Key) -> Result<Option<Record>>;

    /// The records of `range`, in its order, at most `limit` and at most [`MAX_PAGE_BYTES`].
    ///
    /// A page is taken at one moment; two pages are not. [`Page::more`] tells whether the range goes on behind the last record.
    ///
    /// # Cancellation
    /// Dropping the future has no effect on the store.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn scan(&self, namespace: &Namespace, range: KeyRange, limit: usize) -> Result<Page>;

    /// The names of namespaces behind `after`, in bytewise order, at most `limit`. Every namespace that holds a record is among
    /// them, and one that held some before may be; one that nothing was ever written to is not.
    ///
    /// # Cancellation
    /// Dropping the future has no effect on the store.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn namespaces(&self, after: Option<&Namespace>, limit: usize) -> Result<Vec<Namespace>>;

    /// Checks the preconditions and quotas of `batch` and applies its changes: all, or none. A batch without changes has as
    /// its outcome the version of the last commit.
    ///
    /// # Cancellation
    /// Dropping the future leaves the batch wholly applied or not at all; which of the two can be read.
    ///
    /// # Errors
    /// [`StorageFault::Conflict`] naming the key of the first precondition that does not hold, and
    /// [`StorageFault::QuotaExceeded`]; [`StorageFault::TooLarge`] beyond the batch limits; [`StorageFault::NoSpace`]
    /// and [`StorageFault::Io`] when the medium fails. After each the store is unchanged. After a failed sync it is
    /// unknown what the medium holds: the store answers [`StorageFault::ReadOnly`] to every later commit until opened again.
    async fn commit(&self, batch: Batch, durability: Durability) -> Result<CommitOutcome>;

    /// Begins a transaction, whose reads show the store as it is now.
    ///
    /// # Errors
    /// [`StorageFault::Closed`].
    async fn begin(&self) -> Result<Box<dyn StorageTransaction>>;

    /// What `namespace` counts against its quota now.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn usage(&self, namespace: &Namespace) -> Result<Usage>;

    /// Raises every commit that returned before this call to [`Durability::Immediate`].
    ///
    /// # Cancellation
    /// Dropping the future does not stop the synchronisation; whether it succeeded is then not known.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    async fn sync(&self) -> Result<()>;

    /// Synchronises and releases the store. Every later call answers [`StorageFault::Closed`]; closing twice succeeds.
    ///
    /// # Errors
    /// As [`commit`](Self::commit); the store is released all the same.
    async fn close(&self) -> Result<()>;
}

/// What a committed change survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Durability {
    /// The end of the process and the loss of power, as soon as the commit returns.
    #[default]
    Immediate,
    /// The same after a short while, or after [`StorageBackend::sync`]. What survives is a prefix of the commits.
    Eventual,
}

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageProfile {
    /// `memory`, `redb`, ...
    pub name: &'static str,
    /// The version of the engine underneath.
    pub engine_version: &'static str,
    /// Whether anything outlives the process.
    pub persistent: bool,
    /// What [`Durability::Immediate`] survives.
    pub immediate: Survives,
    /// What [`Durability::Eventual`] survives at the latest after the store's flush interval.
    pub eventual: Survives,
}

/// The worst event that a committed change survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Survives {
    /// Nothing: it lives in the process.
    Nothing,
    /// The end of the process by any signal.
    ProcessKill,
    /// The loss of power.
    PowerLoss,
}

/// A stored value and the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The bytes.
    pub value: Vec<u8>,
    /// The commit that wrote them.
    pub version: CommitVersion,
}

/// The number of a commit; grows with every commit that changes a store, across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitVersion(pub u64);

/// A part of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The records, in order.
    pub records: Vec<(Key, Record)>,
    /// Whether the range has records behind the last one.
    pub more: bool,
}

/// What a namespace counts against its quota.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of keys and values, and [`RECORD_OVERHEAD`] for each record.
    pub bytes: u64,
    /// Records.
    pub keys: u64,
}

impl Usage {
    /// What one record counts.
    pub fn of_record(key: &Key, value: &[u8]) -> u64 {
        key.as_bytes().len() as u64 + value.len() as u64 + RECORD_OVERHEAD
    }
}

/// Refuses a value beyond [`MAX_VALUE`].
///
/// # Errors
/// [`StorageFault::TooLarge`] with the size and what is allowed.
pub fn check_value(operation: &'static str, value: &[u8]) -> Result<()> {
    if value.len() <= MAX_VALUE {
        return Ok(());
    }
    Err(WasmError::storage(operation, StorageFault::TooLarge)
        .saying(format!("the value has {} bytes of {MAX_VALUE} allowed", value.len())))
}
