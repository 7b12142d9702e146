//! The commit turn: a group of batches is judged, and what passes is applied as one.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{Batch, CommitOutcome, CommitVersion, Durability, KeyRange, Order, Usage};

use super::group::{Draft, Group, Writes};
use super::history::{Moment, Reads, Replaced};
use super::layout::{self, Counters};
use super::{Broken, CLOSE, COMMIT, COMPACT, SYNC, Shared, envelope};
use crate::engine::{EngineError, KeyValueEngine, Write};
use crate::sync::atomic::Ordering;

/// How many versions a lease covers: so many commits with [`Durability::Eventual`] pass between two that are made durable
/// at once, to renew it.
const LEASE: u64 = 1 << 16;

/// How many records of cleared namespaces are removed at a time.
pub(super) const SWEEP: usize = 256;

/// What somebody wants to have committed.
#[derive(Debug)]
pub(super) struct Proposal {
    pub(super) batch: Batch,
    pub(super) durability: Durability,
    /// What the batch depends on, if it is that of a transaction. The moment is kept until the batch is judged, also when its
    /// caller has gone away.
    pub(super) read: Option<(Moment, Reads)>,
}

impl Proposal {
    /// Bytes that it holds while it waits.
    pub(super) fn bytes(&self) -> usize {
        let required = self.batch.requirements().iter().map(|required| required.key.as_bytes().len());
        let read = self.read.as_ref().map_or(0, |(_, reads)| reads.bytes());
        self.batch.bytes() + required.sum::<usize>() + read
    }
}

/// A commit that the engine is told to apply. However that ends, those who wait for it go on.
struct UnderWay<E> {
    shared: Arc<Shared<E>>,
    /// The version up to which the engine has applied, none when it failed. None: it has panicked.
    over: Option<Option<u64>>,
}

impl<E> Drop for UnderWay<E> {
    fn drop(&mut self) {
        if self.over.is_none() {
            let cause = "the engine panicked while it applied a commit".into();
            self.shared.broken.get_or_init(|| Broken { fault: StorageFault::Io, cause });
        }
        self.shared.history.finish_commit(self.over.flatten());
    }
}

/// The one who commits. Whoever holds it has the turn.
#[derive(Debug)]
pub(super) struct Committer<E> {
    shared: Arc<Shared<E>>,
    counters: Counters,
    /// Ids of namespaces that were cleared, whose records are still there, and the commit that cleared each.
    retired: VecDeque<(u32, u64)>,
    /// The usage of every namespace that was changed since the store was opened.
    usage: HashMap<u32, Usage>,
    undurable: bool,
    closed: bool,
}

impl<E: KeyValueEngine> Committer<E> {
    pub(super) fn new(shared: Arc<Shared<E>>, counters: Counters, retired: Vec<u32>) -> Self {
        shared.history.start_at(counters.version);
        let retired = retired.into_iter().map(|id| (id, counters.version)).collect();
        Self { shared, counters, retired, usage: HashMap::new(), undurable: false, closed: false }
    }

    /// Whether a commit waits for [`sync`](Self::sync) to become durable.
    pub(super) fn undurable(&self) -> bool {
        self.undurable
    }

    /// Judges the batches in their order and applies those that pass, together. One answer for each.
    pub(super) fn commit(&mut self, proposals: &[&Proposal]) -> Vec<Result<CommitOutcome>> {
        if let Err(first) = self.check(COMMIT) {
            let others =
                proposals.iter().skip(1).map(|_| self.check(COMMIT).and(Err(self.shared.gone(COMMIT))));
            return std::iter::once(Err(first)).chain(others).collect();
        }
        let mut group = Group::new(&self.shared, &self.usage, self.counters);
        let mut durability = Durability::Eventual;
        let mut answers = Vec::with_capacity(proposals.len());
        for proposal in proposals {
            let answer = group.judge(proposal);
            if answer.is_ok() && proposal.durability == Durability::Immediate {
                durability = Durability::Immediate;
            }
            answers.push(answer);
        }
        let (accepted, counters) = group.accepted();
        let done = if !accepted.is_empty() {
            self.apply_accepted(accepted, counters, durability)
        } else if durability == Durability::Immediate {
            // What was committed before has to be durable with it: that a key is absent may be such a thing.
            self.sync_engine()
        } else {
            Ok(())
        };
        if let Err(error) = done {
            let broken = self.break_off(&error);
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(self.failure(COMMIT, &broken));
            }
        }
        answers
    }

    fn apply_accepted(
        &mut self,
        accepted: Draft,
        counters: Counters,
        durability: Durability,
    ) -> Result<(), EngineError> {
        let recorded = self.shared.history.start_commit();
        let mut under_way = UnderWay { shared: Arc::clone(&self.shared), over: None };
        let applied = self.apply(accepted, counters, durability, recorded);
        under_way.over = Some(applied.is_ok().then_some(counters.version));
        applied
    }

    fn apply(
        &mut self,
        accepted: Draft,
        mut counters: Counters,
        mut durability: Durability,
        recorded: bool,
    ) -> Result<(), EngineError> {
        // A crash may undo an undurable commit, but its version must not come back with other contents: a durable lease
        // says up to where versions may have been given out.
        if durability == Durability::Eventual && counters.version > counters.lease {
            counters.lease = counters.version.saturating_add(LEASE);
            durability = Durability::Immediate;
        }
        let Draft { mut writes, usage, names, retired } = accepted;
        let version = CommitVersion(counters.version);
        let mut keep = |key: Vec<u8>, payload: &[u8]| {
            let sealed = envelope::seal(&key, version, payload);
            writes.insert(key, Some(sealed));
        };
        for (namespace, usage) in &usage {
            keep(layout::usage(*namespace).to_vec(), &layout::encode_usage(*usage));
        }
        for (namespace, id) in &names {
            keep(layout::name(namespace.as_bytes()), &id.to_be_bytes());
        }
        for id in &retired {
            keep(layout::retired(*id).to_vec(), &[]);
        }
        keep(layout::COUNTERS.to_vec(), &counters.encode());
        if recorded {
            let history = &self.shared.history;
            match self.replaced(&writes, history.max_bytes())? {
                Some(replaced) => history.publish(counters.version, replaced),
                None => history.give_up(counters.version),
            }
        }
        let writes = writes.into_iter().map(|(key, value)| Write { key, value }).collect();
        if retired.is_empty() {
            self.shared.namespaces.add(names);
            self.shared.engine.apply(writes, durability)?;
        } else {
            self.shared
                .namespaces
                .exchange(names, || self.shared.engine.apply(writes, Durability::Eventual))?;
            if durability == Durability::Immediate {
                self.shared.engine.sync()?;
            }
        }
        self.counters = counters;
        self.usage.extend(usage);
        self.retired.extend(retired.into_iter().map(|id| (id, counters.version)));
        self.shared.sweeps.store(!self.retired.is_empty(), Ordering::SeqCst);
        self.undurable = durability == Durability::Eventual;
        Ok(())
    }

    /// What `writes` are about to replace, of what transactions read. None when that is more than so many bytes.
    fn replaced(&self, writes: &Writes, most: usize) -> Result<Option<Replaced>, EngineError> {
        let mut replaced = Vec::with_capacity(writes.len());
        let mut bytes = 0;
        for key in writes.keys().filter(|key| layout::is_read(key)) {
            let value = self.shared.engine.get(key, <[u8]>::to_vec)?;
            bytes += key.len() + value.as_ref().map_or(0, Vec::len);
            if bytes > most {
                return Ok(None);
            }
            replaced.push((key.clone(), value));
        }
        Ok(Some(replaced))
    }

    /// Whether a commit with [`Durability::Eventual`] waits for no medium now: it needs no new lease.
    pub(super) fn is_quick(&self) -> bool {
        self.counters.version < self.counters.lease
    }

    /// Whether [`sweep`](Self::sweep) has something to do now.
    pub(super) fn can_sweep(&self) -> bool {
        let oldest = self.retired.front().map(|(_, version)| *version);
        let is_free = |version| self.shared.history.oldest_moment() >= version;
        !self.closed && self.shared.broken.get().is_none() && oldest.is_some_and(is_free)
    }

    /// Removes at most so many records of namespaces that were cleared.
    pub(super) fn sweep(&mut self, most: usize) {
        let mut left = most;
        while left > 0 && self.can_sweep() {
            let Some((id, _)) = self.retired.front().copied() else { return };
            match self.sweep_one(id, left) {
                Ok(removed) => left = left.saturating_sub(removed),
                // Whoever commits next is told.
                Err(error) => {
                    let _ = self.break_off(&error);
                }
            }
        }
        self.shared.sweeps.store(!self.retired.is_empty(), Ordering::SeqCst);
    }

    /// Removes at most so many records of the namespace that had this id, the oldest of the cleared ones. Returns how many, and
    /// not less than one.
    fn sweep_one(&mut self, id: u32, most: usize) -> Result<usize, EngineError> {
        let (start, end) = layout::range(id, &KeyRange::all());
        let mut writes = Vec::new();
        self.shared.scan(
            start.as_ref().map(Vec::as_slice),
            end.as_ref().map(Vec::as_slice),
            Order::Ascending,
            |key, _| {
                writes.push(Write { key: key.to_vec(), value: None });
                if writes.len() < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            },
        )?;
        let removed = writes.len();
        if removed < most {
            writes.push(Write { key: layout::usage(id).to_vec(), value: None });
            writes.push(Write { key: layout::retired(id).to_vec(), value: None });
        }
        self.shared.engine.apply(writes, Durability::Eventual)?;
        self.undurable = true;
        if removed < most {
            self.retired.pop_front();
            self.usage.remove(&id);
        }
        Ok(removed.max(1))
    }

    /// Makes everything committed so far durable.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.check(SYNC)?;
        self.sync_engine().map_err(|error| {
            let broken = self.break_off(&error);
            self.failure(SYNC, &broken)
        })
    }

    fn sync_engine(&mut self) -> Result<(), EngineError> {
        if self.undurable {
            self.shared.engine.sync()?;
            self.undurable = false;
        }
        Ok(())
    }

    /// Has the engine give back the room that it does not need.
    pub(super) fn compact(&mut self) -> Result<()> {
        self.check(COMPACT)?;
        while self.can_sweep() {
            self.sweep(SWEEP);
        }
        self.sync()?;
        if let Err(error) = self.shared.engine.compact() {
            let broken = self.break_off(&error);
            return Err(self.failure(COMPACT, &broken));
        }
        Ok(())
    }

    /// Synchronises and releases the engine, once.
    pub(super) fn close(&mut self) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let synced = self.return_lease().and_then(|()| self.sync());
        self.closed = true;
        let released = self.shared.engine.close().map_err(|error| self.shared.engine_failed(CLOSE, error));
        synced.and(released)
    }

    /// Gives back the versions that were leased and not used, so that the next opening goes on where this one ends.
    fn return_lease(&mut self) -> Result<()> {
        self.check(CLOSE)?;
        if self.counters.lease <= self.counters.version {
            return Ok(());
        }
        let counters = Counters { lease: self.counters.version, ..self.counters };
        let sealed = envelope::seal(layout::COUNTERS, CommitVersion(counters.version), &counters.encode());
        let write = Write { key: layout::COUNTERS.to_vec(), value: Some(sealed) };
        if let Err(error) = self.shared.engine.apply(vec![write], Durability::Immediate) {
            let broken = self.break_off(&error);
            return Err(self.failure(CLOSE, &broken));
        }
        self.counters = counters;
        self.undurable = false;
        Ok(())
    }

    fn check(&self, operation: &'static str) -> Result<()> {
        if self.closed {
            return Err(self.shared.gone(operation));
        }
        self.shared.check_writable(operation)
    }

    fn break_off(&self, error: &EngineError) -> Broken {
        let broken = Broken { fault: error.fault, cause: error.cause.to_string().into() };
        self.shared.broken.get_or_init(|| broken).clone()
    }

    fn failure(&self, operation: &'static str, broken: &Broken) -> WasmError {
        let advice = match broken.fault {
            StorageFault::NoSpace => "Free space on the device, then open the store again.",
            _ => "Look after the device, then open the store again.",
        };
        self.shared.failed(operation, broken.fault).because(broken.cause.to_string()).advising(advice)
    }
}
