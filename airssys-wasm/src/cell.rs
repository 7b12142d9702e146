//! What others see of a running component: its mailbox, what it waits for, what it has done.

use std::future::{Future, poll_fn};
use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use airssys_wasm_core::component::{ComponentId, ResourceLimits};
use airssys_wasm_core::error::{MessagingFault, Result, WasmError};
use airssys_wasm_core::messaging::{Body, ContentTypePattern, Envelope, MessageId};
use airssys_wasm_core::runtime::{MessagingRefusal, ResourceUsage};
use futures_util::task::AtomicWaker;
use tokio::sync::oneshot;

use crate::mailbox::{Mailbox, NoRoom, Reservation};
use crate::rate::Rate;
use crate::services::{PendingRequests, counted};
use crate::waiting::{Waiting, WaitingOn};

/// A running component, as everybody but its own task knows it. It outlives its instances.
#[derive(Debug)]
pub(crate) struct Cell {
    id: ComponentId,
    limits: ResourceLimits,
    /// The content types it understands; all of them, when there are none.
    accepts: Box<[ContentTypePattern]>,
    mailbox: Arc<Mailbox<Delivery>>,
    pending: PendingRequests,
    waiting_on: WaitingOn,
    counters: Counters,
    rates: Rates,
    killed: AtomicBool,
    kill: AtomicWaker,
}

/// What a component may do in a second, over all of its instances.
#[derive(Debug)]
pub(crate) struct Rates {
    pub(crate) messages: Option<Rate>,
    pub(crate) message_bytes: Option<Rate>,
    pub(crate) log_bytes: Option<Rate>,
    /// Lines that say that others are left out.
    pub(crate) log_notices: Rate,
}

/// Something in a mailbox.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A message, and whoever waits for the reply.
    Message { envelope: Envelope, reply: Option<Reply> },
    /// The answer to an asynchronous request.
    Reply { request: MessageId, outcome: Result<Body, MessagingRefusal> },
}

/// Where a reply goes.
#[derive(Debug)]
pub(crate) struct Reply {
    sender: oneshot::Sender<Result<Body>>,
    /// The wait that ends with the reply, when a component waits.
    waiting: Option<Arc<Waiting>>,
}

impl Reply {
    pub(crate) fn new(sender: oneshot::Sender<Result<Body>>, waiting: Option<Arc<Waiting>>) -> Self {
        Self { sender, waiting }
    }

    /// Gives the answer. A sender who has stopped waiting wants none.
    pub(crate) fn send(self, outcome: Result<Body>) {
        if let Some(waiting) = &self.waiting {
            waiting.end();
        }
        let _ = self.sender.send(outcome);
    }
}

#[derive(Debug, Default)]
struct Counters {
    handled: AtomicU64,
    failed: AtomicU64,
    expired: AtomicU64,
    replaced: AtomicU64,
    memory_bytes: AtomicU64,
    fuel: AtomicU64,
}

/// What a component has done since it was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellStatistics {
    /// Messages whose handler returned ok, and whose effects are committed.
    pub handled: u64,
    /// Messages whose handler ended in any other way.
    pub failed: u64,
    /// Messages that were not handled because their sender had stopped waiting.
    pub expired: u64,
    /// Instances that were replaced by a fresh one after they were ended.
    pub replaced: u64,
    /// Bytes of linear memory after the last message.
    pub memory_bytes: u64,
    /// Fuel consumed by the present instance; zero where instructions are not counted.
    pub fuel: u64,
}

/// Why a component does not take a message.
#[derive(Clone, Debug)]
pub(crate) enum NotTaken {
    /// Its mailbox has no room.
    NoRoom(NoRoom),
    /// It does not accept content of this type.
    NotAccepted { content_type: Box<str> },
}

impl From<NoRoom> for NotTaken {
    fn from(no_room: NoRoom) -> Self {
        Self::NoRoom(no_room)
    }
}

/// Something to be counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Handled,
    Failed,
    Expired,
    Replaced,
}

impl Cell {
    pub(crate) fn new(
        id: ComponentId,
        limits: ResourceLimits,
        accepts: impl Into<Box<[ContentTypePattern]>>,
    ) -> Arc<Self> {
        let mailbox = Arc::new(Mailbox::new(&limits));
        let rates = Rates {
            messages: limits.messages_per_second.map(Rate::new),
            message_bytes: limits.message_bytes_per_second.map(Rate::new),
            log_bytes: limits.log_bytes_per_second.map(Rate::new),
            log_notices: Rate::new(NonZeroU64::MIN),
        };
        Arc::new(Self {
            id,
            limits,
            accepts: accepts.into(),
            mailbox,
            pending: PendingRequests::default(),
            waiting_on: WaitingOn::default(),
            counters: Counters::default(),
            rates,
            killed: AtomicBool::new(false),
            kill: AtomicWaker::new(),
        })
    }

    pub(crate) fn id(&self) -> &ComponentId {
        &self.id
    }

    pub(crate) fn limits(&self) -> &ResourceLimits {
        &self.limits
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox<Delivery>> {
        &self.mailbox
    }

    pub(crate) fn pending(&self) -> &PendingRequests {
        &self.pending
    }

    pub(crate) fn rates(&self) -> &Rates {
        &self.rates
    }

    pub(crate) fn waiting_on(&self) -> &WaitingOn {
        &self.waiting_on
    }

    pub(crate) fn count(&self, event: Event) {
        let counter = match event {
            Event::Handled => &self.counters.handled,
            Event::Failed => &self.counters.failed,
            Event::Expired => &self.counters.expired,
            Event::Replaced => &self.counters.replaced,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_usage(&self, usage: &ResourceUsage) {
        self.counters.memory_bytes.store(usage.memory_bytes, Ordering::Relaxed);
        self.counters.fuel.store(usage.fuel, Ordering::Relaxed);
    }

    pub(crate) fn statistics(&self) -> CellStatistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CellStatistics {
            handled: read(&self.counters.handled),
            failed: read(&self.counters.failed),
            expired: read(&self.counters.expired),
            replaced: read(&self.counters.replaced),
            memory_bytes: read(&self.counters.memory_bytes),
            fuel: read(&self.counters.fuel),
        }
    }

    /// How many messages it was ever given, if it has handled all of them and waits for no answer.
    pub(crate) fn idle_after(&self) -> Option<u64> {
        self.mailbox.idle_after().filter(|_| self.pending.is_empty())
    }

    /// Takes no more messages; what is queued, and what has room kept for it, is still handled. What it asked
    /// asynchronously it no longer wants to know.
    pub(crate) fn close(&self) {
        self.mailbox.close();
        self.pending.cancel_all();
    }

    /// Ends the handler that runs, wherever it is in guest code or in a host function, and every later one. A commit that
    /// has begun is not ended: it takes place with everything that belongs to it.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Release);
        self.kill.wake();
        self.mailbox.seal();
        self.pending.cancel_all();
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Runs `work` unless the cell is killed before it is done.
    pub(crate) async fn unless_killed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| {
            if self.is_killed() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            self.kill.register(context.waker());
            // Killed between the first look and the registration: nobody would wake this task.
            if self.is_killed() { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    /// Whether it accepts content of this type: every message to a component comes by here.
    fn check_accepted(&self, body: &Body) -> Result<(), NotTaken> {
        if self.accepts.is_empty() {
            return Ok(());
        }
        let essence = body.essence();
        if self.accepts.iter().any(|pattern| pattern.matches(essence)) {
            return Ok(());
        }
        Err(NotTaken::NotAccepted { content_type: essence.into() })
    }

    /// Room for a message with this body.
    pub(crate) fn reserve(&self, body: &Body) -> Result<Reservation<Delivery>, NotTaken> {
        self.check_accepted(body)?;
        Ok(self.mailbox.reserve(counted(body))?)
    }

    /// Queues a message at once.
    pub(crate) fn push(&self, envelope: Envelope, reply: Option<Reply>) -> Result<(), NotTaken> {
        self.check_accepted(&envelope.body)?;
        let bytes = counted(&envelope.body);
        let delivery = Delivery::Message { envelope, reply };
        self.mailbox.push(delivery, bytes).map_err(|(no_room, _)| no_room.into())
    }

    /// Queues a message of the embedder.
    ///
    /// # Errors
    /// [`MessagingFault::QueueFull`], [`MessagingFault::TooLarge`], [`MessagingFault::NotAccepted`] or
    /// [`MessagingFault::ShuttingDown`].
    pub(crate) fn deliver(&self, envelope: Envelope, reply: Option<Reply>) -> Result<()> {
        self.push(envelope, reply).map_err(|not_taken| self.not_taken(&not_taken))
    }

    /// Why this component does not take a message.
    pub(crate) fn not_taken(&self, not_taken: &NotTaken) -> WasmError {
        let error = |fault| WasmError::messaging("send", fault).with("component", &self.id);
        match not_taken {
            NotTaken::NoRoom(NoRoom::TooLarge { bytes, max_bytes }) => error(MessagingFault::TooLarge)
                .with("bytes", bytes)
                .with("allowed", max_bytes)
                .advising("send less, or raise the limit `mailbox-bytes` of the component"),
            NotTaken::NoRoom(NoRoom::Full { max_items, max_bytes }) => error(MessagingFault::QueueFull)
                .with("messages", max_items)
                .with("bytes", max_bytes)
                .advising("send again later"),
            NotTaken::NoRoom(NoRoom::Closed) => error(MessagingFault::ShuttingDown),
            NotTaken::NotAccepted { content_type } => error(MessagingFault::NotAccepted)
                .with("content type", content_type)
                .with("accepted", self.accepted())
                .advising("send one of the content types that it accepts, and say so in the body"),
        }
    }

    /// The content types it accepts, in words.
    pub(crate) fn accepted(&self) -> String {
        self.accepts.iter().map(ContentTypePattern::as_str).collect::<Vec<_>>().join(", ")
    }
}
