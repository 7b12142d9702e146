//! The task that owns one instance: it takes messages one at a time, and gives each a budget and a unit of work.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airssys_wasm_core::component::{ComponentId, ComponentInput};
use airssys_wasm_core::error::{ErrorKind, LoadFault, MessagingFault, Result, WasmError};
use airssys_wasm_core::messaging::{Body, MessageId, TraceContext};
use airssys_wasm_core::runtime::{CallBudget, Component, ExecutionState};
use airssys_wasm_core::security::HostAct;
use airssys_wasm_core::security::{IsolationBoundary, SecurityContext};
use futures_util::FutureExt;

use crate::cell::{Cell, Delivery, Event};
use crate::host::{LivePermit, Shared};
use crate::installation::Installed;
use crate::instance::InstanceContext;

/// The wait before an instance is made anew when the last one did not come up: it doubles each time, up to the longest.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// The task of a cell.
pub(crate) struct Worker {
    cell: Arc<Cell>,
    installed: Arc<Installed>,
    shared: Arc<Shared>,
    live: Option<Live>,
    /// When an instance may be made anew, and the wait before the time after that.
    next_start: Option<(Instant, Duration)>,
    /// Kept while an instance is replaced, so that nobody else takes its place.
    _permit: LivePermit,
}

/// An instance and what the host knows of it.
struct Live {
    instance: Box<dyn Component>,
    context: Arc<InstanceContext>,
}

impl Live {
    async fn start(installed: &Installed, cell: &Arc<Cell>, shared: &Arc<Shared>) -> Result<Self> {
        let security = SecurityContext {
            instance: shared.next_instance(installed),
            digest: installed.digest,
            trust: installed.trust,
            boundary: IsolationBoundary::Sandbox,
        };
        let context = InstanceContext::new(
            security,
            installed.grants.clone(),
            cell.clone(),
            shared.clone(),
            installed.takes_replies,
            installed.given.clone(),
        );
        let budget = CallBudget::starting_now(cell.limits());
        context.begin(|unit| unit.begin(None, None, budget.deadline));
        let come_up = async {
            let mut instance =
                installed.component.instantiate(cell.limits(), context.services(), budget).await?;
            instance.init(&installed.given.config, budget).await?;
            Ok(instance)
        };
        let came_up = match cell.unless_killed(come_up).await {
            Some(Ok(instance)) => context.commit().await.map(|()| instance),
            Some(Err(error)) => Err(error),
            None => Err(killed(cell)),
        };
        match came_up {
            Ok(instance) => {
                shared.subscriptions.renew(&context);
                Ok(Self { instance, context })
            }
            Err(error) => {
                context.begin(|unit| unit.begin(None, None, None));
                ended(&context, &error);
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

/// Records that an instance was ended.
fn ended(context: &InstanceContext, error: &WasmError) {
    let instance = &context.security.instance;
    context.shared.gate.happened(context.id(), HostAct::Ended { instance, error });
}

fn killed(cell: &Cell) -> WasmError {
    WasmError::messaging("execute", MessagingFault::Unavailable)
        .saying("the component was ended while it handled the message")
        .with("component", cell.id())
}

impl Worker {
    /// A worker with an instance that is initialised and ready.
    pub(crate) async fn start(
        cell: Arc<Cell>,
        installed: Arc<Installed>,
        shared: Arc<Shared>,
    ) -> Result<Self> {
        let permit = shared.permit_instance(installed.limits.memory)?;
        let live = Live::start(&installed, &cell, &shared).await?;
        Ok(Self { cell, installed, shared, live: Some(live), next_start: None, _permit: permit })
    }

    /// Handles messages until the mailbox is closed and empty, then shuts the instance down. Ends at once when it is killed.
    pub(crate) async fn run(mut self) -> Option<WasmError> {
        while let Some(delivery) = self.cell.mailbox().pop().await {
            if let Err(panic) = AssertUnwindSafe(self.handle(delivery)).catch_unwind().await {
                panicked(&*panic);
                // Whoever waited for the reply is told by its absence.
                self.live = None;
                self.cell.count(Event::Failed);
            }
            // A full mailbox never makes `pop` wait: without this, its cell would keep the worker thread to itself.
            tokio::task::coop::consume_budget().await;
        }
        let ended = AssertUnwindSafe(self.shut_down()).catch_unwind().await;
        self.shared.gate.happened(self.cell.id(), HostAct::Stopped);
        ended
            .unwrap_or_else(|panic| {
                panicked(&*panic);
                Err(WasmError::new(ErrorKind::Internal, "shutdown").with("component", self.cell.id()))
            })
            .err()
    }

    async fn handle(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Message { envelope, reply } => {
                let now = Instant::now();
                if envelope.deadline.is_some_and(|deadline| deadline <= now) {
                    self.cell.count(Event::Expired);
                    if let Some(reply) = reply {
                        let late = WasmError::messaging("request", MessagingFault::Timeout);
                        reply.send(Err(late.with("component", self.cell.id())));
                    }
                    return;
                }
                let (id, trace) = (envelope.id, envelope.trace.clone());
                let outcome = self.execute(id, trace, ComponentInput::Message(envelope), now).await;
                if let Err(error) = &outcome {
                    report(self.cell.id(), id, error, reply.is_some());
                }
                if let Some(reply) = reply {
                    reply.send(outcome);
                }
            }
            Delivery::Reply { request, outcome } => {
                let input = ComponentInput::Reply { request, outcome };
                let outcome = self.execute(request, None, input, Instant::now()).await;
                if let Err(error) = &outcome {
                    report(self.cell.id(), request, error, false);
                }
            }
        }
    }

    async fn execute(
        &mut self,
        id: MessageId,
        trace: Option<TraceContext>,
        input: ComponentInput,
        now: Instant,
    ) -> Result<Body> {
        let outcome = self.attempt(id, trace, input, now).await;
        self.cell.count(if outcome.is_ok() { Event::Handled } else { Event::Failed });
        outcome
    }

    async fn attempt(
        &mut self,
        id: MessageId,
        trace: Option<TraceContext>,
        input: ComponentInput,
        mut now: Instant,
    ) -> Result<Body> {
        let live = match &mut self.live {
            Some(live) => live,
            None => {
                let live = replace(&self.installed, &self.cell, &self.shared, &mut self.next_start).await?;
                now = Instant::now();
                self.live.insert(live)
            }
        };
        let limits = self.cell.limits();
        let budget = CallBudget { deadline: now.checked_add(limits.deadline), fuel: limits.fuel };
        live.context.begin(|unit| unit.begin(Some(id), trace, budget.deadline));
        let outcome = self.cell.unless_killed(live.instance.execute(input, budget)).await;
        self.cell.note_usage(&live.instance.usage());
        match outcome {
            Some(Ok(output)) => match live.context.commit().await {
                Ok(()) => Ok(output.body),
                Err(error) => {
                    // The instance believes that its writes took place: a fresh one reads what is really there.
                    self.live = None;
                    Err(error)
                }
            },
            Some(Err(error)) => {
                live.context.begin(|unit| unit.begin(None, None, None));
                if live.instance.state() == ExecutionState::Poisoned {
                    ended(&live.context, &error);
                    self.live = None;
                }
                Err(error)
            }
            None => {
                live.context.begin(|unit| unit.begin(None, None, None));
                let error = killed(&self.cell);
                ended(&live.context, &error);
                self.live = None;
                Err(error)
            }
        }
    }

    async fn shut_down(&mut self) -> Result<()> {
        let Some(live) = self.live.as_mut().filter(|_| !self.cell.is_killed()) else { return Ok(()) };
        let budget = CallBudget::starting_now(self.cell.limits());
        live.context.begin(|unit| unit.begin(None, None, budget.deadline));
        match self.cell.unless_killed(live.instance.shutdown(budget)).await {
            Some(Ok(())) => live.context.commit().await,
            Some(Err(error)) => Err(error),
            None => Ok(()),
        }
    }
}

/// A fresh instance in place of one that was ended, unless the last ones did not come up and it is too early to try again.
async fn replace(
    installed: &Installed,
    cell: &Arc<Cell>,
    shared: &Arc<Shared>,
    next_start: &mut Option<(Instant, Duration)>,
) -> Result<Live> {
    let now = Instant::now();
    if let Some((at, _)) = next_start.filter(|(at, _)| *at > now) {
        return Err(WasmError::new(ErrorKind::Actor, "replace instance")
            .saying("the last instance did not come up, and it is too early to make another one")
            .with("component", cell.id())
            .with("next attempt in", format_args!("{:?}", at - now)));
    }
    match Live::start(installed, cell, shared).await {
        Ok(live) => {
            *next_start = None;
            cell.count(Event::Replaced);
            Ok(live)
        }
        Err(error) => {
            let delay = next_start.map_or(FIRST_DELAY, |(_, delay)| delay);
            *next_start = Some((Instant::now() + delay, (delay * 2).min(LONGEST_DELAY)));
            Err(error)
        }
    }
}

/// Tells the operator of a message that was not handled, unless somebody else is told.
fn report(component: &ComponentId, message: MessageId, error: &WasmError, sender_is_told: bool) {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    if sender_is_told {
        tracing::debug!(%component, message_id = %message, %error, cause, "a message was not handled");
    } else {
        tracing::warn!(%component, message_id = %message, %error, cause, "a message was not handled");
    }
}

/// Tells the operator of a panic in a policy, an audit sink or a store: of the embedder's code, or of ours.
fn panicked(panic: &(dyn Any + Send)) {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("no message"), "something that the host calls panicked");
}
