//! What commits replaced while transactions were running: enough to show each of them its own moment, and to tell whether what it
//! read has changed. (Multiversion reads with backward validation: Kung and Robinson, "On Optimistic Methods for
//! Concurrency Control", 1981.)
//!
//! Nothing is recorded while there is no transaction. A commit is published here *before* the engine applies it: a reader who
//! sees what it wrote always finds here what it replaced.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::sync::{Mutex, MutexGuard, Notify};
use airssys_wasm_core::error::StorageFault;

/// The most bytes of keys and values that are kept for running transactions.
const MAX_BYTES: usize = 64 << 20;
/// What an entry counts beside its key and its value.
const OVERHEAD: usize = 128;
/// How long a transaction may run.
const MAX_AGE: Duration = Duration::from_secs(30);

/// What is kept for the transactions of a store.
#[derive(Debug)]
pub(super) struct History {
    state: Mutex<State>,
    applied: Notify,
    max_bytes: usize,
    max_age: Duration,
}

#[derive(Debug)]
struct State {
    /// The last commit that the engine has applied.
    applied: u64,
    /// Whether a commit is under way that is not recorded. Nobody can begin until it is applied.
    unrecorded: bool,
    /// How many commits have begun, and how many of them are over.
    started: u64,
    finished: u64,
    /// How many want to begin.
    waiting: usize,
    running: BTreeMap<u64, Running>,
    next: u64,
    /// What a key of the engine held before a commit.
    before: BTreeMap<(Vec<u8>, u64), Option<Vec<u8>>>,
    /// The commits that are recorded, oldest first: version, keys, bytes.
    commits: VecDeque<(u64, Vec<Vec<u8>>, usize)>,
    bytes: usize,
    /// Transactions that began before this commit cannot go on.
    floor: u64,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    moment: u64,
    started: Instant,
}

/// What a transaction shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    number: u64,
    /// The commit that it shows.
    pub(super) moment: u64,
    started: Instant,
}

/// The bounds of a range of the engine's keys.
pub(super) type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// What a key of the engine held.
type Held = Option<Vec<u8>>;

/// Keys of the engine with what they held.
pub(super) type Replaced = Vec<(Vec<u8>, Held)>;

/// Keys and ranges of the engine that a transaction has read.
#[derive(Debug, Default)]
pub(super) struct Reads {
    pub(super) keys: BTreeSet<Vec<u8>>,
    pub(super) ranges: Vec<Range>,
    bytes: usize,
}

impl Reads {
    /// The most bytes of keys and bounds that a transaction may read.
    const MAX_BYTES: usize = 16 << 20;

    /// # Errors
    /// It has read too much.
    pub(super) fn add_key(&mut self, key: Vec<u8>) -> Result<(), StorageFault> {
        if self.keys.contains(&key) {
            return Ok(());
        }
        self.count(key.len())?;
        self.keys.insert(key);
        Ok(())
    }

    /// # Errors
    /// It has read too much.
    pub(super) fn add_range(
        &mut self,
        start: Bound<Vec<u8>>,
        end: Bound<Vec<u8>>,
    ) -> Result<(), StorageFault> {
        let length = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Included(key) | Bound::Excluded(key) => key.len(),
            Bound::Unbounded => 0,
        };
        self.count(length(&start) + length(&end))?;
        self.ranges.push((start, end));
        Ok(())
    }

    /// Bytes of keys and bounds, with what each costs beside them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn count(&mut self, bytes: usize) -> Result<(), StorageFault> {
        self.bytes += bytes + OVERHEAD;
        if self.bytes > Self::MAX_BYTES { Err(StorageFault::TooLarge) } else { Ok(()) }
    }
}

impl History {
    /// Of a store whose last commit was `applied`.
    pub(super) fn new(applied: u64) -> Self {
        Self::bounded(applied, MAX_BYTES, MAX_AGE)
    }

    fn bounded(applied: u64, max_bytes: usize, max_age: Duration) -> Self {
        let state = State {
            applied,
            unrecorded: false,
            started: 0,
            finished: 0,
            waiting: 0,
            running: BTreeMap::new(),
            next: 0,
            before: BTreeMap::new(),
            commits: VecDeque::new(),
            bytes: 0,
            floor: 0,
        };
        Self { state: Mutex::new(state), applied: Notify::new(), max_bytes, max_age }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last commit, when the store was read.
    pub(super) fn start_at(&self, applied: u64) {
        self.lock().applied = applied;
    }

    /// Begins a transaction. Waits for the commit that is under way, of which others may have seen something already, and for no
    /// later one, unless nobody records it.
    pub(super) async fn begin(self: &Arc<Self>) -> Moment {
        let mut waits = Waits { history: self, counted: false };
        let until = self.lock().started;
        loop {
            let applied = self.applied.notified();
            {
                let mut state = self.lock();
                if !state.unrecorded && state.finished >= until {
                    let (number, moment, started) = (state.next, state.applied, Instant::now());
                    state.next += 1;
                    state.running.insert(number, Running { moment, started });
                    let ticket = Ticket { number, moment, started };
                    return Moment { history: Arc::clone(self), ticket };
                }
                if !waits.counted {
                    state.waiting += 1;
                    waits.counted = true;
                }
            }
            applied.await;
        }
    }

    fn end(&self, ticket: Ticket) {
        let mut state = self.lock();
        if state.running.remove(&ticket.number).is_some() {
            state.trim();
        }
    }

    /// A commit begins. Whether it has to be recorded.
    pub(super) fn start_commit(&self) -> bool {
        let mut state = self.lock();
        let recorded = state.waiting > 0 || !state.running.is_empty();
        state.unrecorded = !recorded;
        state.started += 1;
        recorded
    }

    /// Records what a commit is about to replace.
    pub(super) fn publish(&self, version: u64, replaced: Replaced) {
        let mut state = self.lock();
        let mut keys = Vec::with_capacity(replaced.len());
        let mut bytes = 0;
        for (key, value) in replaced {
            bytes += key.len() + value.as_ref().map_or(0, Vec::len) + OVERHEAD;
            keys.push(key.clone());
            state.before.insert((key, version), value);
        }
        state.bytes += bytes;
        state.commits.push_back((version, keys, bytes));
        // They find out by their age.
        state.running.retain(|_, running| running.started.elapsed() <= self.max_age);
        state.trim();
        while state.bytes > self.max_bytes && state.forget_oldest() {}
    }

    /// In place of [`publish`](Self::publish), when what a commit replaces is more than is kept: whoever runs cannot go on.
    pub(super) fn give_up(&self, version: u64) {
        let mut state = self.lock();
        state.floor = state.floor.max(version);
        while state.forget_oldest() {}
    }

    /// The most bytes that are kept.
    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// A commit is over: the engine has applied it, up to this version, or it was given up.
    pub(super) fn finish_commit(&self, version: Option<u64>) {
        {
            let mut state = self.lock();
            match version {
                Some(version) => state.applied = version,
                // Nothing was replaced, whatever was given up for it.
                None => state.floor = state.floor.min(state.applied),
            }
            state.unrecorded = false;
            state.finished = state.started;
            if state.running.is_empty() {
                state.trim();
            }
        }
        self.applied.notify_waiters();
    }

    /// The oldest moment that somebody may still read.
    pub(super) fn oldest_moment(&self) -> u64 {
        let state = self.lock();
        state.running.values().map(|running| running.moment).min().unwrap_or(state.applied)
    }

    /// What `key` held at the moment of the transaction, if it has been changed since. Asked after the engine was read.
    ///
    /// # Errors
    /// The transaction is too old.
    pub(super) fn at(&self, ticket: Ticket, key: &[u8]) -> Result<Option<Option<Vec<u8>>>, StorageFault> {
        let state = self.lock();
        self.check(&state, ticket)?;
        Ok(state.after(key, ticket.moment).cloned())
    }

    /// The keys between these bounds that have been changed since the moment of the transaction, with what they held then.
    ///
    /// # Errors
    /// The transaction is too old.
    pub(super) fn changed(
        &self,
        ticket: Ticket,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
    ) -> Result<Vec<(Vec<u8>, Held)>, StorageFault> {
        let state = self.lock();
        self.check(&state, ticket)?;
        let mut changed: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        for ((key, version), value) in state.between(start, end) {
            let first = changed.last().is_none_or(|(last, _)| last != key);
            if *version > ticket.moment && first {
                changed.push((key.clone(), value.clone()));
            }
        }
        Ok(changed)
    }

    /// The first of what a transaction has read that has been changed since.
    ///
    /// # Errors
    /// The transaction is too old.
    pub(super) fn conflict(&self, ticket: Ticket, reads: &Reads) -> Result<Option<Vec<u8>>, StorageFault> {
        let state = self.lock();
        self.check(&state, ticket)?;
        let key = reads.keys.iter().find(|key| state.has_changed(key, ticket.moment));
        if let Some(key) = key {
            return Ok(Some(key.clone()));
        }
        let in_range = reads.ranges.iter().find_map(|(start, end)| {
            let (start, end) = (start.as_ref().map(Vec::as_slice), end.as_ref().map(Vec::as_slice));
            state.between(start, end).find(|((_, version), _)| *version > ticket.moment)
        });
        Ok(in_range.map(|((key, _), _)| key.clone()))
    }

    fn check(&self, state: &State, ticket: Ticket) -> Result<(), StorageFault> {
        if ticket.moment < state.floor || ticket.started.elapsed() > self.max_age {
            return Err(StorageFault::TransactionTooOld);
        }
        Ok(())
    }
}

/// The moment of a transaction, kept for as long as this lives.
#[derive(Debug)]
pub(super) struct Moment {
    history: Arc<History>,
    pub(super) ticket: Ticket,
}

impl Drop for Moment {
    fn drop(&mut self) {
        self.history.end(self.ticket);
    }
}

/// One who wants to begin, for as long as that takes.
struct Waits<'h> {
    history: &'h History,
    counted: bool,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if self.counted {
            self.history.lock().waiting -= 1;
        }
    }
}

impl State {
    fn has_changed(&self, key: &[u8], moment: u64) -> bool {
        self.after(key, moment).is_some()
    }

    /// What the first commit after `moment` that changed `key` replaced.
    fn after(&self, key: &[u8], moment: u64) -> Option<&Option<Vec<u8>>> {
        let from = (key.to_vec(), moment.checked_add(1)?);
        let to = (key.to_vec(), u64::MAX);
        self.before.range(from..=to).next().map(|(_, value)| value)
    }

    fn between(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
    ) -> impl Iterator<Item = (&(Vec<u8>, u64), &Option<Vec<u8>>)> {
        let start = match start {
            Bound::Included(key) => Bound::Included((key.to_vec(), 0)),
            Bound::Excluded(key) => Bound::Excluded((key.to_vec(), u64::MAX)),
            Bound::Unbounded => Bound::Unbounded,
        };
        let end = match end {
            Bound::Included(key) => Bound::Included((key.to_vec(), u64::MAX)),
            Bound::Excluded(key) => Bound::Excluded((key.to_vec(), 0)),
            Bound::Unbounded => Bound::Unbounded,
        };
        self.before.range((start, end))
    }

    /// Forgets what nobody can ask for: nobody who runs, and nobody who begins while a commit is under way.
    fn trim(&mut self) {
        let oldest = self.running.values().map(|running| running.moment).min().unwrap_or(self.applied);
        while self.commits.front().is_some_and(|(version, ..)| *version <= oldest) {
            self.drop_oldest();
        }
    }

    /// Forgets the oldest commit although somebody may need it. Whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let Some((version, ..)) = self.commits.front() else { return false };
        self.floor = self.floor.max(*version);
        self.drop_oldest();
        true
    }

    fn drop_oldest(&mut self) {
        let Some((version, keys, bytes)) = self.commits.pop_front() else { return };
        for key in keys {
            self.before.remove(&(key, version));
        }
        self.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn history(applied: u64) -> Arc<History> {
        Arc::new(History::new(applied))
    }

    fn begin(history: &Arc<History>) -> Moment {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be made");
        runtime.block_on(history.begin())
    }

    fn commit(history: &History, version: u64, key: &[u8], before: Option<&[u8]>) {
        if history.start_commit() {
            history.publish(version, vec![(key.to_vec(), before.map(<[u8]>::to_vec))]);
        }
        history.finish_commit(Some(version));
    }

    #[test]
    fn each_transaction_sees_its_own_moment() {
        let history = history(4);
        let first = begin(&history);
        commit(&history, 5, b"a", None);
        let second = begin(&history);
        commit(&history, 6, b"a", Some(b"five"));
        commit(&history, 7, b"b", Some(b"old"));
        assert_eq!(history.at(first.ticket, b"a"), Ok(Some(None)));
        assert_eq!(history.at(second.ticket, b"a"), Ok(Some(Some(b"five".to_vec()))));
        assert_eq!(history.at(second.ticket, b"c"), Ok(None));
        let all =
            history.changed(first.ticket, Bound::Unbounded, Bound::Unbounded).expect("it is not too old");
        assert_eq!(all, [(b"a".to_vec(), None), (b"b".to_vec(), Some(b"old".to_vec()))]);
        drop(first);
        drop(second);
        assert!(history.lock().before.is_empty() && history.lock().bytes == 0);
    }

    #[test]
    fn what_was_read_and_changed_is_a_conflict() {
        let history = history(0);
        let ticket = begin(&history);
        let mut reads = Reads::default();
        reads.add_key(b"key".to_vec()).expect("it is not much");
        let (start, end) = (Bound::Included(b"m".to_vec()), Bound::Excluded(b"p".to_vec()));
        reads.add_range(start, end).expect("it is not much");
        for (version, key) in [(1, b"other".as_slice()), (2, b"l\xff"), (3, b"p"), (4, b"keys")] {
            commit(&history, version, key, None);
            let expected = (key == b"other").then(|| key.to_vec());
            assert_eq!(history.conflict(ticket.ticket, &reads).expect("it is not too old"), expected.clone());
            if expected.is_some() {
                history.lock().drop_oldest();
            }
        }
        commit(&history, 5, b"key", None);
        assert_eq!(history.conflict(ticket.ticket, &reads), Ok(Some(b"key".to_vec())));
    }

    #[test]
    fn nothing_is_recorded_without_a_transaction() {
        let history = history(0);
        assert!(!history.start_commit());
        history.finish_commit(Some(1));
        let ticket = begin(&history);
        assert_eq!(ticket.ticket.moment, 1);
        assert!(history.start_commit());
        history.finish_commit(None);
        drop(ticket);
        assert!(!history.start_commit());
    }

    #[test]
    fn who_begins_waits_for_a_commit_that_is_not_recorded() {
        let history = history(0);
        assert!(!history.start_commit());
        let waiting = std::thread::spawn({
            let history = Arc::clone(&history);
            move || begin(&history).ticket.moment
        });
        while history.lock().waiting == 0 {
            std::thread::yield_now();
        }
        history.finish_commit(Some(1));
        assert_eq!(waiting.join().expect("it does not panic"), 1);
    }

    #[test]
    fn who_begins_waits_for_one_commit_and_reads_behind_the_next() {
        let history = history(0);
        let running = begin(&history);
        assert!(history.start_commit());
        history.publish(1, vec![(b"a".to_vec(), None)]);
        // Others may have seen what the first commit has written.
        let mut beginning = Box::pin(history.begin());
        assert!((&mut beginning).now_or_never().is_none());
        drop(running);
        history.finish_commit(Some(1));
        assert!(history.start_commit(), "somebody wants to begin");
        history.publish(2, vec![(b"a".to_vec(), Some(b"one".to_vec()))]);
        let begun = beginning.now_or_never().expect("the commit that it waited for is over");
        assert_eq!(begun.ticket.moment, 1);
        assert_eq!(history.at(begun.ticket, b"a"), Ok(Some(Some(b"one".to_vec()))));
        history.finish_commit(Some(2));
        assert_eq!(history.at(begun.ticket, b"a"), Ok(Some(Some(b"one".to_vec()))));
        drop(begun);
        assert!(history.lock().before.is_empty());
    }

    #[test]
    fn a_commit_that_was_given_up_and_failed_ends_nobody_who_begins_later() {
        let history = history(3);
        let old = begin(&history);
        assert!(history.start_commit());
        history.give_up(4);
        history.finish_commit(None);
        assert_eq!(history.at(begin(&history).ticket, b"a"), Ok(None));
        assert_eq!(history.at(old.ticket, b"a"), Ok(None));
    }

    #[test]
    fn what_is_more_than_is_kept_ends_who_runs() {
        let history = history(0);
        let old = begin(&history);
        assert!(history.start_commit());
        history.give_up(1);
        assert_eq!(history.at(old.ticket, b"a"), Err(StorageFault::TransactionTooOld));
        history.finish_commit(Some(1));
        assert_eq!(history.at(begin(&history).ticket, b"a"), Ok(None));
    }

    #[test]
    fn a_transaction_that_needs_too_much_or_takes_too_long_ends() {
        let history = Arc::new(History::bounded(0, 1_000, Duration::from_secs(60)));
        let old = begin(&history);
        commit(&history, 1, b"a", Some(&[0; 600]));
        let young = begin(&history);
        assert!(history.at(old.ticket, b"a").is_ok());
        commit(&history, 2, b"a", Some(&[0; 600]));
        assert_eq!(history.at(old.ticket, b"a"), Err(StorageFault::TransactionTooOld));
        assert!(history.at(young.ticket, b"a").is_ok());

        let history = Arc::new(History::bounded(0, 1_000, Duration::ZERO));
        let slow = begin(&history);
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(history.at(slow.ticket, b"a"), Err(StorageFault::TransactionTooOld));
        commit(&history, 1, b"a", None);
        assert!(history.lock().running.is_empty(), "a transaction that nobody ends holds nothing back");
    }
}
