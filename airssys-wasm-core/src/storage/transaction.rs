//! Transactions: reads of one moment, and writes that depend on them.

use std::fmt;

use async_trait::async_trait;

use super::{CommitOutcome, CommitVersion, Durability, Key, KeyRange, Namespace, Quota};
use crate::error::Result;

/// A transaction on a store.
///
/// # Behavior
/// - Every read shows the store as it was when the transaction began, with the transaction's own writes on top; whatever others commit
///   meanwhile.
/// - Writes are kept here until [`commit`](Self::commit), which applies all of them if nothing that was read has been changed by
///   others since, and none otherwise. Ranges count as read with the keys that were not in them, and everything that was read in a namespace
///   as changed when others clear it or are the first to write to it. So transactions
///   and commits are strictly serializable: they take effect as if each ran alone, at a moment between its call and its return.
/// - A transaction that writes nothing never conflicts.
/// - It holds no lock, so that one which is left alone delays nobody. It ends as too old when the store cannot keep its moment any longer.
///
/// Dropping it takes back everything.
#[async_trait]
pub trait StorageTransaction: fmt::Debug + Send {
    /// The commit that its reads show.
    fn version(&self) -> CommitVersion;

    /// The value of `key`, if there is one.
    ///
    /// # Errors
    /// As [`StorageBackend::get`](super::StorageBackend::get);
    /// [`StorageFault::TransactionTooOld`](crate::error::StorageFault::TransactionTooOld) and, when it has read too much,
    /// [`StorageFault::TooLarge`](crate::error::StorageFault::TooLarge).
    async fn get(&mut self, namespace: &Namespace, key: &Key) -> Result<Option<Vec<u8>>>;

    /// The keys and values of `range`, in its order, at most `limit` and about [`MAX_PAGE_BYTES`](super::MAX_PAGE_BYTES).
    /// All pages of a transaction are of its moment.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn scan(&mut self, namespace: &Namespace, range: KeyRange, limit: usize)
    -> Result<TransactionPage>;

    /// Sets a value.
    ///
    /// # Errors
    /// [`StorageFault::TooLarge`](crate::error::StorageFault::TooLarge) for a value beyond [`MAX_VALUE`](super::MAX_VALUE), and when the
    /// writes are more than a batch may hold.
    fn put(&mut self, namespace: &Namespace, key: Key, value: Vec<u8>) -> Result<()>;

    /// Removes a key; succeeds when it is absent.
    ///
    /// # Errors
    /// [`StorageFault::TooLarge`](crate::error::StorageFault::TooLarge) when the writes are more than a batch may hold.
    fn delete(&mut self, namespace: &Namespace, key: Key) -> Result<()>;

    /// Makes the commit respect a quota; the last one given for a namespace counts.
    fn limit(&mut self, namespace: &Namespace, quota: Quota);

    /// Applies the writes, if what was read is still so.
    ///
    /// # Cancellation
    /// Dropping the future leaves the writes wholly applied or not at all.
    ///
    /// # Errors
    /// [`StorageFault::Conflict`](crate::error::StorageFault::Conflict) naming what others changed: begin again.
    /// [`StorageFault::TransactionTooOld`](crate::error::StorageFault::TransactionTooOld), and everything that
    /// [`StorageBackend::commit`](super::StorageBackend::commit) answers.
    async fn commit(self: Box<Self>, durability: Durability) -> Result<CommitOutcome>;
}

/// A part of a range, as a transaction sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionPage {
    /// Keys and values, in order.
    pub records: Vec<(Key, Vec<u8>)>,
    /// Whether the range may have records behind the last one. False at its end.
    pub more: bool,
}
