//! Transactions over any engine.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Weak};

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, CommitOutcome, CommitVersion, Durability, Key, KeyRange, MAX_BATCH_BYTES, MAX_BATCH_OPERATIONS,
    MAX_PAGE_BYTES, Namespace, Order, Quota, StorageTransaction, TransactionPage, check_value,
};
use async_trait::async_trait;

use super::commit::Proposal;
use super::history::{Moment, Reads, Ticket};
use super::{COMMIT, Shared, Turn, envelope, layout};
use crate::engine::KeyValueEngine;
use crate::sync::atomic::Ordering;

const GET: &str = "transaction get";
const SCAN: &str = "transaction scan";
const WRITE: &str = "transaction write";

/// A transaction on a [`Store`](super::Store).
#[derive(Debug)]
pub(super) struct Transaction<E: KeyValueEngine> {
    shared: Arc<Shared<E>>,
    /// A store that is gone is not kept by its transactions.
    turn: Weak<Turn<E>>,
    ticket: Ticket,
    /// None once the commit has it.
    moment: Option<Moment>,
    reads: Reads,
    writes: BTreeMap<Namespace, Writes>,
    quotas: Vec<(Namespace, Quota)>,
    /// Bytes of keys and values, and how many there are.
    written: (usize, usize),
}

/// What a transaction writes into a namespace. None: the key is removed.
type Writes = BTreeMap<Key, Option<Vec<u8>>>;

/// A part of a namespace at the transaction's moment.
struct Part {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How far it goes. None: to the end of the range.
    last: Option<Vec<u8>>,
}

impl<E: KeyValueEngine> Transaction<E> {
    pub(super) async fn begin(shared: &Arc<Shared<E>>, turn: &Arc<Turn<E>>) -> Self {
        let moment = shared.history.begin().await;
        Self {
            shared: Arc::clone(shared),
            turn: Arc::downgrade(turn),
            ticket: moment.ticket,
            moment: Some(moment),
            reads: Reads::default(),
            writes: BTreeMap::new(),
            quotas: Vec::new(),
            written: (0, 0),
        }
    }

    fn refused(&self, operation: &'static str, fault: StorageFault) -> WasmError {
        let error = self.shared.failed(operation, fault);
        match fault {
            StorageFault::TransactionTooOld => {
                error.advising("Begin the transaction again, and keep it short.")
            }
            StorageFault::TooLarge => error
                .saying("the transaction reads or writes more than one may")
                .advising("Do the work in several transactions."),
            _ => error,
        }
    }

    /// What the engine held under `key` at the moment of the transaction. Counts as read.
    fn at_moment(&mut self, operation: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.reads.add_key(key.to_vec()).map_err(|fault| self.refused(operation, fault))?;
        let shared = &self.shared;
        let now =
            shared.engine.get(key, <[u8]>::to_vec).map_err(|error| shared.engine_failed(operation, error))?;
        let then = shared.history.at(self.ticket, key).map_err(|fault| self.refused(operation, fault))?;
        Ok(then.unwrap_or(now))
    }

    /// The id that a name had.
    fn namespace(&mut self, operation: &'static str, namespace: &Namespace) -> Result<Option<u32>> {
        let key = layout::name(namespace.as_bytes());
        let Some(sealed) = self.at_moment(operation, &key)? else { return Ok(None) };
        let id = envelope::open(&key, &sealed).ok().and_then(|(_, id)| id.try_into().ok());
        id.map(|id| Some(u32::from_be_bytes(id)))
            .ok_or_else(|| self.shared.failed(operation, StorageFault::Damaged).with("namespace", namespace))
    }

    /// About a page of the range as it was, in the engine's keys and sealed values.
    fn part(&self, start: Bound<&[u8]>, end: Bound<&[u8]>, order: Order, limit: usize) -> Result<Part> {
        let shared = &self.shared;
        let mut records = BTreeMap::new();
        let mut last = None;
        let mut goes_on = false;
        let mut bytes = 0;
        shared
            .scan(start, end, order, |key, sealed| {
                let size = key.len() + sealed.len();
                if records.len() >= limit || (!records.is_empty() && bytes + size > MAX_PAGE_BYTES) {
                    goes_on = true;
                    return ControlFlow::Break(());
                }
                bytes += size;
                records.insert(key.to_vec(), sealed.to_vec());
                last = Some(key.to_vec());
                ControlFlow::Continue(())
            })
            .map_err(|error| shared.engine_failed(SCAN, error))?;
        let last = last.filter(|_| goes_on);
        let (start, end) = upto(start, end, order, last.as_deref());
        let changed =
            shared.history.changed(self.ticket, start, end).map_err(|fault| self.refused(SCAN, fault))?;
        for (key, value) in changed {
            match value {
                Some(value) => records.insert(key, value),
                None => records.remove(&key),
            };
        }
        Ok(Part { records, last })
    }

    fn write(&mut self, namespace: &Namespace, key: Key, value: Option<Vec<u8>>) -> Result<()> {
        let size = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        let old = self.writes.get(namespace).and_then(|writes| writes.get(&key));
        let (bytes, count) = match old {
            Some(old) => (self.written.0 - size(old) + size(&value), self.written.1),
            None => (self.written.0 + key.as_bytes().len() + size(&value), self.written.1 + 1),
        };
        if bytes > MAX_BATCH_BYTES || count > MAX_BATCH_OPERATIONS {
            return Err(self.refused(WRITE, StorageFault::TooLarge));
        }
        self.written = (bytes, count);
        self.writes.entry(namespace.clone()).or_default().insert(key, value);
        Ok(())
    }
}

/// The part of a range up to `last`, in its order.
fn upto<'b>(
    start: Bound<&'b [u8]>,
    end: Bound<&'b [u8]>,
    order: Order,
    last: Option<&'b [u8]>,
) -> (Bound<&'b [u8]>, Bound<&'b [u8]>) {
    match (last, order) {
        (None, _) => (start, end),
        (Some(last), Order::Ascending) => (start, Bound::Included(last)),
        (Some(last), Order::Descending) => (Bound::Included(last), end),
    }
}

/// The part of a range behind `last`, in its order.
fn behind(
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    order: Order,
    last: &[u8],
) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    match order {
        Order::Ascending => (Bound::Excluded(last.to_vec()), end),
        Order::Descending => (start, Bound::Excluded(last.to_vec())),
    }
}

#[async_trait]
impl<E: KeyValueEngine> StorageTransaction for Transaction<E> {
    fn version(&self) -> CommitVersion {
        CommitVersion(self.ticket.moment)
    }

    async fn get(&mut self, namespace: &Namespace, key: &Key) -> Result<Option<Vec<u8>>> {
        self.shared.check_open(GET)?;
        if let Some(own) = self.writes.get(namespace).and_then(|writes| writes.get(key)) {
            return Ok(own.clone());
        }
        let Some(id) = self.namespace(GET, namespace)? else { return Ok(None) };
        let stored = layout::record(id, key);
        let Some(sealed) = self.at_moment(GET, &stored)? else { return Ok(None) };
        match envelope::open(&stored, &sealed) {
            Ok((_, value)) => Ok(Some(value.to_vec())),
            Err(fault) => Err(self.shared.damaged(GET, fault, namespace, key)),
        }
    }

    async fn scan(
        &mut self,
        namespace: &Namespace,
        mut range: KeyRange,
        limit: usize,
    ) -> Result<TransactionPage> {
        self.shared.check_open(SCAN)?;
        loop {
            let mut page = TransactionPage::default();
            if range.is_empty() || limit == 0 {
                // What nobody looked at may be there.
                page.more = !range.is_empty();
                return Ok(page);
            }
            let order = range.order();
            let mut found: BTreeMap<Key, Vec<u8>> = BTreeMap::new();
            let mut last = None;
            if let Some(id) = self.namespace(SCAN, namespace)? {
                let (mut start, mut end) = layout::range(id, &range);
                loop {
                    let bounds = (start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice));
                    let part = self.part(bounds.0, bounds.1, order, limit)?;
                    let (from, to) = upto(bounds.0, bounds.1, order, part.last.as_deref());
                    let read = self.reads.add_range(from.map(<[u8]>::to_vec), to.map(<[u8]>::to_vec));
                    read.map_err(|fault| self.refused(SCAN, fault))?;
                    for (stored, sealed) in part.records {
                        let key = stored.get(layout::PREFIX..).and_then(|key| Key::new(key).ok());
                        let value = envelope::open(&stored, &sealed).map(|(_, value)| value.to_vec());
                        match (key, value) {
                            (Some(key), Ok(value)) => found.insert(key, value),
                            (key, _) => {
                                let error = self
                                    .shared
                                    .failed(SCAN, StorageFault::Damaged)
                                    .with("namespace", namespace);
                                return Err(match key {
                                    Some(key) => error.with("key", key),
                                    None => error,
                                });
                            }
                        };
                    }
                    last = part.last;
                    match &last {
                        // Everything in this part was written later: go on, so that a page that goes on has a record.
                        Some(at) if found.is_empty() => (start, end) = behind(start, end, order, at),
                        _ => break,
                    }
                }
            }
            let covered = |key: &Key| match (&last, order) {
                (None, _) => true,
                (Some(last), Order::Ascending) => key.as_bytes() <= &last[layout::PREFIX..],
                (Some(last), Order::Descending) => key.as_bytes() >= &last[layout::PREFIX..],
            };
            for (key, value) in self.writes.get(namespace).into_iter().flatten() {
                if !range.contains(key.as_bytes()) || !covered(key) {
                    continue;
                }
                match value {
                    Some(value) => found.insert(key.clone(), value.clone()),
                    None => found.remove(key),
                };
            }
            page.more = last.is_some() || found.len() > limit;
            let mut bytes = 0;
            let records: Box<dyn Iterator<Item = _> + Send> = match order {
                Order::Ascending => Box::new(found.into_iter()),
                Order::Descending => Box::new(found.into_iter().rev()),
            };
            for (key, value) in records.take(limit) {
                bytes += key.as_bytes().len() + value.len();
                if bytes > MAX_PAGE_BYTES && !page.records.is_empty() {
                    page.more = true;
                    break;
                }
                page.records.push((key, value));
            }
            match last {
                // The transaction has removed all of this part.
                Some(last) if page.records.is_empty() => range = range.after(&last[layout::PREFIX..]),
                _ => return Ok(page),
            }
        }
    }

    fn put(&mut self, namespace: &Namespace, key: Key, value: Vec<u8>) -> Result<()> {
        check_value(WRITE, &value).map_err(|error| error.with("namespace", namespace).with("key", &key))?;
        self.write(namespace, key, Some(value))
    }

    fn delete(&mut self, namespace: &Namespace, key: Key) -> Result<()> {
        self.write(namespace, key, None)
    }

    fn limit(&mut self, namespace: &Namespace, quota: Quota) {
        self.quotas.retain(|(other, _)| other != namespace);
        self.quotas.push((namespace.clone(), quota));
    }

    async fn commit(mut self: Box<Self>, durability: Durability) -> Result<CommitOutcome> {
        let Some(turn) = self.turn.upgrade() else { return Err(self.shared.gone(COMMIT)) };
        let mut batch = Batch::new();
        for (namespace, writes) in std::mem::take(&mut self.writes) {
            for (key, value) in writes {
                match value {
                    Some(value) => batch.put(&namespace, key, value),
                    None => batch.delete(&namespace, key),
                };
            }
        }
        for (namespace, quota) in &self.quotas {
            batch.limit(namespace, *quota);
        }
        let reads = std::mem::take(&mut self.reads);
        let read = self.moment.take().map(|moment| (moment, reads));
        self.shared.commit(&turn, Proposal { batch, durability, read }).await
    }
}

impl<E: KeyValueEngine> Drop for Transaction<E> {
    fn drop(&mut self) {
        // Whoever is told below finds that it has ended.
        if self.moment.take().is_none() || !self.shared.sweeps.load(Ordering::SeqCst) {
            return;
        }
        if let Some(turn) = self.turn.upgrade()
            && let Turn::Thread(writer) = &*turn
        {
            writer.look();
        }
    }
}
