//! The writer: one thread that takes the turn for everybody and applies concurrent commits together. A commit that nobody waits
//! for a medium with is applied by its caller, when the turn is free and nobody came before.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{CommitOutcome, Durability, MAX_BATCH_BYTES};

use super::OPEN;
use super::commit::{Committer, Proposal, SWEEP};
use crate::engine::KeyValueEngine;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Mutex, MutexGuard, OwnedSemaphorePermit, Semaphore, oneshot};

/// The most batches of one engine transaction.
const MAX_GROUP: usize = 512;
/// The most bytes of keys and values of one engine transaction; a batch is at most this large.
const MAX_GROUP_BYTES: usize = MAX_BATCH_BYTES;
/// The most bytes that wait in the queue; who comes later waits outside.
const MAX_QUEUE_BYTES: usize = 4 * MAX_BATCH_BYTES;
/// What a queued batch counts beside its keys and values.
const BATCH_OVERHEAD: usize = 1 << 10;

/// The turn, and the queue in front of the thread.
#[derive(Debug)]
pub(super) struct Writer<E: KeyValueEngine> {
    turn: Arc<Mutex<Committer<E>>>,
    jobs: Sender<Job>,
    /// How many commits were queued and are not over. While there are any, nobody overtakes them.
    queued: Arc<AtomicUsize>,
    room: Arc<Semaphore>,
    thread: Mutex<Thread>,
}

#[derive(Debug)]
enum Thread {
    Runs(JoinHandle<()>),
    Ended { panicked: bool },
}

#[derive(Debug)]
enum Job {
    Commit(Box<Queued>),
    Sync(oneshot::Sender<Result<()>>),
    Compact(oneshot::Sender<Result<()>>),
    /// Somebody else had the turn: there may be something to flush or to sweep.
    Look,
    Close(oneshot::Sender<Result<()>>),
}

#[derive(Debug)]
struct Queued {
    proposal: Proposal,
    answer: oneshot::Sender<Result<CommitOutcome>>,
    _room: OwnedSemaphorePermit,
}

impl<E: KeyValueEngine> Writer<E> {
    /// Starts the thread.
    pub(super) fn start(committer: Committer<E>, flush_interval: Duration) -> Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let (turn, queued) = (Arc::new(Mutex::new(committer)), Arc::new(AtomicUsize::new(0)));
        let work = Loop {
            turn: Arc::clone(&turn),
            queue,
            queued: Arc::clone(&queued),
            flush_interval,
            flush_at: None,
        };
        let thread = thread::Builder::new()
            .name("airssys-storage".to_owned())
            .spawn(move || work.run())
            .map_err(|cause| {
                WasmError::storage(OPEN, StorageFault::Io)
                    .saying("the writer thread could not be started")
                    .because(cause)
                    .advising("Raise the limit of threads for this process.")
            })?;
        let room = Arc::new(Semaphore::new(MAX_QUEUE_BYTES));
        Ok(Self { turn, jobs, queued, room, thread: Mutex::new(Thread::Runs(thread)) })
    }

    /// None when the thread has ended.
    pub(super) async fn commit(&self, proposal: Proposal) -> Option<Result<CommitOutcome>> {
        if let Some(outcome) = self.commit_here(&proposal) {
            return Some(outcome);
        }
        let bytes = proposal.bytes().saturating_add(BATCH_OVERHEAD).min(MAX_QUEUE_BYTES);
        let room =
            Arc::clone(&self.room).acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX)).await.ok()?;
        let (answer, answered) = oneshot::channel();
        self.queued.fetch_add(1, Ordering::SeqCst);
        self.ask(Job::Commit(Box::new(Queued { proposal, answer, _room: room })))?;
        answered.await.ok()
    }

    /// Commits on the calling thread, where that waits neither for a medium nor for somebody else.
    fn commit_here(&self, proposal: &Proposal) -> Option<Result<CommitOutcome>> {
        if proposal.durability == Durability::Immediate {
            return None;
        }
        // A turn in which somebody panicked is no turn any more: the thread has ended or will.
        let mut committer = self.turn.try_lock().ok()?;
        // Also those whose callers have gone away: what was asked for first is done first.
        if self.queued.load(Ordering::SeqCst) > 0 || !committer.is_quick() {
            return None;
        }
        let was_undurable = committer.undurable();
        let outcome = committer.commit(&[proposal]).pop();
        let tell = (committer.undurable() && !was_undurable) || committer.can_sweep();
        drop(committer);
        if tell {
            self.look();
        }
        outcome
    }

    /// Has the thread look whether there is something to flush or to sweep.
    pub(super) fn look(&self) {
        let _ = self.ask(Job::Look);
    }

    /// None when the thread has ended.
    pub(super) async fn sync(&self) -> Option<Result<()>> {
        let (answer, answered) = oneshot::channel();
        self.ask(Job::Sync(answer))?;
        answered.await.ok()
    }

    /// None when the thread has ended.
    pub(super) async fn compact(&self) -> Option<Result<()>> {
        let (answer, answered) = oneshot::channel();
        self.ask(Job::Compact(answer))?;
        answered.await.ok()
    }

    /// Ends the thread, after everything that was queued before. None when a panic has ended it.
    pub(super) async fn close(&self) -> Option<Result<()>> {
        let (answer, answered) = oneshot::channel();
        let outcome = match self.ask(Job::Close(answer)) {
            Some(()) => answered.await.ok(),
            None => None,
        };
        let panicked = self.join();
        // No answer and no panic: another close was there before.
        outcome.or((!panicked).then_some(Ok(())))
    }

    /// The same, for one who does not want to know.
    pub(super) fn end(&self) {
        let (answer, _) = oneshot::channel();
        let _ = self.ask(Job::Close(answer));
        self.join();
    }

    fn ask(&self, job: Job) -> Option<()> {
        self.jobs.send(job).ok()
    }

    /// Waits for the thread, which has been told to end. Whether it panicked.
    fn join(&self) -> bool {
        // Held while waiting: a second caller returns when the thread is gone, too.
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let panicked = match std::mem::replace(&mut *thread, Thread::Ended { panicked: false }) {
            // A panic has answered the thread's callers already, by dropping their channels.
            Thread::Runs(handle) => handle.join().is_err(),
            Thread::Ended { panicked } => panicked,
        };
        *thread = Thread::Ended { panicked };
        panicked
    }
}

/// What the thread does.
struct Loop<E: KeyValueEngine> {
    turn: Arc<Mutex<Committer<E>>>,
    queue: Receiver<Job>,
    queued: Arc<AtomicUsize>,
    flush_interval: Duration,
    flush_at: Option<Instant>,
}

impl<E: KeyValueEngine> Loop<E> {
    fn run(mut self) {
        while let Some(job) = self.next() {
            let mut job = Some(job);
            while let Some(current) = job.take() {
                match current {
                    Job::Commit(first) => job = self.commit(first),
                    // A caller who has gone away does not want the answer.
                    Job::Sync(answer) => {
                        let synced = self.committer().sync();
                        self.settle();
                        let _ = answer.send(synced);
                    }
                    Job::Compact(answer) => {
                        let compacted = self.committer().compact();
                        self.settle();
                        let _ = answer.send(compacted);
                    }
                    Job::Look => self.settle(),
                    Job::Close(answer) => {
                        let closed = self.committer().close();
                        drop(self);
                        let _ = answer.send(closed);
                        return;
                    }
                }
            }
        }
        // Nobody is left to be told; what was lost was promised to nobody as durable.
        let _ = self.committer().close();
    }

    /// The turn.
    ///
    /// # Panics
    /// When somebody panicked in it: what the books hold then is not known, and the thread ends.
    fn committer(&self) -> MutexGuard<'_, Committer<E>> {
        self.turn.lock().expect("nobody panicked while it was his turn")
    }

    /// The next job; flushes when it is time. None when the store has been dropped and the queue is empty.
    fn next(&mut self) -> Option<Job> {
        loop {
            // Whoever asks for something goes first.
            if self.committer().can_sweep() {
                match self.queue.try_recv() {
                    Ok(job) => return Some(job),
                    Err(TryRecvError::Disconnected) => return None,
                    Err(TryRecvError::Empty) => {
                        self.committer().sweep(SWEEP);
                        self.settle();
                    }
                }
                if self.flush_at.is_some_and(|at| at <= Instant::now()) {
                    self.flush();
                }
                continue;
            }
            let Some(at) = self.flush_at else { return self.queue.recv().ok() };
            let wait = at.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                self.flush();
                continue;
            }
            match self.queue.recv_timeout(wait) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Timeout) => self.flush(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    fn flush(&mut self) {
        // A failure makes the store read-only; whoever commits or synchronises next is told.
        let _ = self.committer().sync();
        self.flush_at = None;
    }

    /// Applies `first` and what has gathered behind it. Returns the job that ended the group, if one did.
    fn commit(&mut self, first: Box<Queued>) -> Option<Job> {
        let mut bytes = first.proposal.batch.bytes();
        let mut group = vec![first];
        let mut behind = None;
        while group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
            match self.queue.try_recv() {
                Ok(Job::Commit(queued)) if bytes + queued.proposal.batch.bytes() <= MAX_GROUP_BYTES => {
                    bytes += queued.proposal.batch.bytes();
                    group.push(queued);
                }
                Ok(other) => {
                    behind = Some(other);
                    break;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        let proposals: Vec<_> = group.iter().map(|queued| &queued.proposal).collect();
        let answers = self.committer().commit(&proposals);
        self.queued.fetch_sub(group.len(), Ordering::SeqCst);
        self.settle();
        for (queued, answer) in group.into_iter().zip(answers) {
            let _ = queued.answer.send(answer);
        }
        if behind.is_some() && self.flush_at.is_some_and(|at| at <= Instant::now()) {
            self.flush();
        }
        behind
    }

    /// Sets or forgets the time of the next flush, after something was written.
    fn settle(&mut self) {
        let undurable = self.committer().undurable();
        if undurable {
            self.flush_at.get_or_insert_with(|| Instant::now() + self.flush_interval);
        } else {
            self.flush_at = None;
        }
    }
}
