//! The actor that owns one instance: it takes messages from a mailbox one at a time, and gives each a budget and a unit of work.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use airssys_wasm_core::component::{ComponentId, ComponentInput, ResourceLimits};
use airssys_wasm_core::error::{Detail, ErrorKind, LoadFault, MessagingFault, Result, WasmError};
use airssys_wasm_core::messaging::{Body, Envelope, MessageId, TraceContext};
use airssys_wasm_core::runtime::{CallBudget, Component, ExecutionState, MessagingRefusal};
use airssys_wasm_core::security::{IsolationBoundary, SecurityContext};
use tokio::sync::oneshot;

use crate::host::{LivePermit, Shared};
use crate::installation::Installed;
use crate::instance::InstanceContext;
use crate::mailbox::{Mailbox, NoRoom};
use crate::services::{PendingRequests, counted};

/// What others see of a running component: its mailbox, and what it is waiting for.
#[derive(Debug)]
pub(crate) struct Cell {
    id: ComponentId,
    limits: ResourceLimits,
    mailbox: Arc<Mailbox<Delivery>>,
    pending: PendingRequests,
    waiting_on: Mutex<Option<Arc<Cell>>>,
    counters: Counters,
}

/// Something in a mailbox.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A message, and whoever waits for the reply.
    Message { envelope: Envelope, reply: Option<oneshot::Sender<Result<Body>>> },
    /// The answer to an asynchronous request.
    Reply { request: MessageId, outcome: Result<Body, MessagingRefusal> },
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

impl Cell {
    pub(crate) fn new(id: ComponentId, limits: ResourceLimits) -> Arc<Self> {
        let mailbox = Arc::new(Mailbox::new(&limits));
        Arc::new(Self {
            id,
            limits,
            mailbox,
            pending: PendingRequests::default(),
            waiting_on: Mutex::default(),
            counters: Counters::default(),
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

    /// Queues a message.
    ///
    /// # Errors
    /// [`MessagingFault::QueueFull`], [`MessagingFault::TooLarge`] or [`MessagingFault::ShuttingDown`].
    pub(crate) fn deliver(&self, envelope: Envelope, reply: Option<oneshot::Sender<Result<Body>>>) -> Result<()> {
        let bytes = counted(&envelope.body);
        self.mailbox.push(Delivery::Message { envelope, reply }, bytes).map_err(|(no_room, _)| {
            let error = |fault| WasmError::messaging("send", fault).with("component", &self.id);
            match no_room {
                NoRoom::TooLarge { bytes, max_bytes } => error(MessagingFault::TooLarge)
                    .with("bytes", bytes)
                    .with("allowed", max_bytes)
                    .advising("send less, or raise the limit `mailbox-bytes` of the component"),
                NoRoom::Full { max_items, max_bytes } => error(MessagingFault::QueueFull)
                    .with("messages", max_items)
                    .with("bytes", max_bytes)
                    .advising("send again later"),
                NoRoom::Closed => error(MessagingFault::ShuttingDown),
            }
        })
    }

    fn lock_waiting(&self) -> MutexGuard<'_, Option<Arc<Self>>> {
        self.waiting_on.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that this cell's handler waits for `target`, until the result is dropped.
    ///
    /// Each cell handles one message at a time, and so waits for at most one other: following the waits from `target` either
    /// ends, or comes back here. The note is made before the walk, so that of two cells that start to wait for each other
    /// at the same moment at least one sees the other's.
    pub(crate) fn wait_for(self: &Arc<Self>, target: &Arc<Self>) -> Result<Waiting, WouldCycle> {
        *self.lock_waiting() = Some(target.clone());
        let waiting = Waiting(self.clone());
        let mut next = Some(target.clone());
        while let Some(cell) = next {
            if Arc::ptr_eq(&cell, self) {
                return Err(WouldCycle { target: target.id.clone(), asker: self.id.clone() });
            }
            next = cell.lock_waiting().clone();
            if next.as_ref().is_some_and(|next| Arc::ptr_eq(next, target)) {
                // Others wait for each other in a ring that this cell is no part of; their own walks end it.
                break;
            }
        }
        Ok(waiting)
    }
}

/// A wait for another component's answer.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Cell>);

impl Drop for Waiting {
    fn drop(&mut self) {
        *self.0.lock_waiting() = None;
    }
}

/// The receiver is waiting, directly or not, for the one who asks.
#[derive(Debug)]
pub(crate) struct WouldCycle {
    target: ComponentId,
    asker: ComponentId,
}

impl fmt::Display for WouldCycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.target == self.asker {
            write!(f, "{} would wait for itself", self.asker)
        } else {
            write!(f, "{} is waiting for {}", self.target, self.asker)
        }
    }
}

/// What became of a component that was stopped.
#[derive(Debug, Default)]
pub struct StopReport {
    /// Messages that were queued and not handled. Whoever waits for their replies is told.
    pub dropped: usize,
    /// Whether the handler that ran was ended because the time was over.
    pub interrupted: bool,
    /// How `shutdown` of the component failed, if it did.
    pub error: Option<WasmError>,
}

/// The task of a cell.
pub(crate) struct Worker {
    cell: Arc<Cell>,
    installed: Arc<Installed>,
    shared: Arc<Shared>,
    live: Option<Live>,
}

/// An instance and what the host knows of it.
struct Live {
    instance: Box<dyn Component>,
    context: Arc<InstanceContext>,
    _permit: LivePermit,
}

impl Live {
    async fn start(installed: &Installed, cell: &Arc<Cell>, shared: &Arc<Shared>) -> Result<Self> {
        let permit = shared.permit_instance()?;
        let security = SecurityContext {
            instance: shared.next_instance(installed),
            digest: installed.digest,
            trust: installed.trust,
            boundary: IsolationBoundary::Sandbox,
        };
        let context =
            InstanceContext::new(security, installed.grants.clone(), cell.clone(), shared.clone(), installed.takes_replies);
        let budget = CallBudget::starting_now(cell.limits());
        context.begin(|unit| unit.begin(None, None, budget.deadline));
        let started = async {
            let mut instance = installed.component.instantiate(cell.limits(), context.services(), budget).await?;
            instance.init(&installed.config, budget).await?;
            context.commit().await?;
            Ok(instance)
        };
        match started.await {
            Ok(instance) => Ok(Self { instance, context, _permit: permit }),
            Err(error) => {
                context.begin(|unit| unit.begin(None, None, None));
                Err(init_failed(&context, error))
            }
        }
    }
}

fn init_failed(context: &InstanceContext, error: WasmError) -> WasmError {
    let failed = WasmError::unloadable(LoadFault::Init).with("instance", &context.security.instance);
    let blame = error.blame();
    failed.blaming(blame).because(error)
}

impl Worker {
    /// A worker with an instance that is initialised and ready.
    pub(crate) async fn start(cell: Arc<Cell>, installed: Arc<Installed>, shared: Arc<Shared>) -> Result<Self> {
        let live = Live::start(&installed, &cell, &shared).await?;
        Ok(Self { cell, installed, shared, live: Some(live) })
    }

    /// Handles messages until the mailbox is closed and empty, then shuts the instance down.
    pub(crate) async fn run(mut self) -> Option<WasmError> {
        while let Some(delivery) = self.cell.mailbox.pop().await {
            self.handle(delivery).await;
            // A full mailbox never makes `pop` wait: without this, its cell would keep the worker thread to itself.
            tokio::task::coop::consume_budget().await;
        }
        self.shut_down().await.err()
    }

    async fn handle(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Message { envelope, reply } => {
                if envelope.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    self.cell.counters.expired.fetch_add(1, Ordering::Relaxed);
                    if let Some(reply) = reply {
                        let late = WasmError::messaging("request", MessagingFault::Timeout).with("component", &self.cell.id);
                        let _ = reply.send(Err(late));
                    }
                    return;
                }
                let (id, trace) = (envelope.id, envelope.trace.clone());
                let outcome = self.execute(id, trace, ComponentInput::Message(envelope)).await;
                match reply {
                    // A sender who has stopped waiting wants no reply.
                    Some(reply) => drop(reply.send(outcome)),
                    None => drop(outcome),
                }
            }
            Delivery::Reply { request, outcome } => {
                let _ = self.execute(request, None, ComponentInput::Reply { request, outcome }).await;
            }
        }
    }

    async fn execute(&mut self, id: MessageId, trace: Option<TraceContext>, input: ComponentInput) -> Result<Body> {
        let outcome = self.attempt(id, trace, input).await;
        match &outcome {
            Ok(_) => {
                self.cell.counters.handled.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.cell.counters.failed.fetch_add(1, Ordering::Relaxed);
                report(&self.cell.id, id, error);
            }
        }
        outcome
    }

    async fn attempt(&mut self, id: MessageId, trace: Option<TraceContext>, input: ComponentInput) -> Result<Body> {
        if self.live.is_none() {
            let live = Live::start(&self.installed, &self.cell, &self.shared).await?;
            self.cell.counters.replaced.fetch_add(1, Ordering::Relaxed);
            self.live = Some(live);
        }
        let live = self.live.as_mut().expect("an instance was made above if there was none");
        let budget = CallBudget::starting_now(&self.cell.limits);
        live.context.begin(|unit| unit.begin(Some(id), trace, budget.deadline));
        let outcome = live.instance.execute(input, budget).await;
        let usage = live.instance.usage();
        self.cell.counters.memory_bytes.store(usage.memory_bytes, Ordering::Relaxed);
        self.cell.counters.fuel.store(usage.fuel, Ordering::Relaxed);
        match outcome {
            Ok(output) => match live.context.commit().await {
                Ok(()) => Ok(output.body),
                Err(error) => {
                    // The instance believes that its writes took place: a fresh one reads what is really there.
                    self.live = None;
                    Err(error)
                }
            },
            Err(error) => {
                live.context.begin(|unit| unit.begin(None, None, None));
                if live.instance.state() == ExecutionState::Poisoned {
                    self.live = None;
                }
                Err(error)
            }
        }
    }

    async fn shut_down(&mut self) -> Result<()> {
        self.cell.pending.cancel_all();
        let Some(live) = &mut self.live else { return Ok(()) };
        let budget = CallBudget::starting_now(&self.cell.limits);
        live.context.begin(|unit| unit.begin(None, None, budget.deadline));
        live.instance.shutdown(budget).await?;
        live.context.commit().await
    }
}

/// Tells the operator of a message that was not handled: at a level that fits who is to blame.
fn report(component: &ComponentId, message: MessageId, error: &WasmError) {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if error.kind() == ErrorKind::ExecutionFailed && matches!(error.detail(), Some(Detail::Failure(_))) {
        tracing::debug!(%component, %message, %error, cause, "a component answered with an error");
    } else {
        tracing::warn!(%component, %message, %error, cause, "a message was not handled");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(name: &str) -> Arc<Cell> {
        Cell::new(name.parse().unwrap(), ResourceLimits::default())
    }

    #[test]
    fn a_ring_of_waits_is_refused_where_it_would_close() {
        let (a, b, c) = (cell("t/a"), cell("t/b"), cell("t/c"));
        let _a_waits = a.wait_for(&b).unwrap();
        let b_waits = b.wait_for(&c).unwrap();
        assert_eq!(c.wait_for(&a).unwrap_err().to_string(), "t/a is waiting for t/c");
        assert_eq!(c.wait_for(&c).unwrap_err().to_string(), "t/c would wait for itself");
        drop(b_waits);
        c.wait_for(&a).unwrap();
    }

    #[test]
    fn a_walk_ends_in_a_ring_of_others() {
        let (a, b, c) = (cell("t/a"), cell("t/b"), cell("t/c"));
        *a.lock_waiting() = Some(b.clone());
        *b.lock_waiting() = Some(a.clone());
        c.wait_for(&a).unwrap();
        *a.lock_waiting() = None;
        *b.lock_waiting() = None;
    }
}
