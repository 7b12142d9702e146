//! Starting and ending: one component, or the whole host.
//!
//! Where a component stands and the handle of its task change together, under one lock that is held across no wait. What ends
//! a component runs in a task of its own, so that whoever asked for it may stop waiting at any moment.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use airssys_wasm_core::component::{ComponentId, ComponentState};
use airssys_wasm_core::error::{Blame, ErrorKind, MessagingFault, Result, WasmError};
use airssys_wasm_core::security::HostAct;
use futures_util::future::join_all;
use tokio::task::{JoinError, JoinHandle};

use super::{Component, Host, Inner, not_installed};
use crate::cell::{Cell, CellStatistics, Delivery};
use crate::worker::Worker;

/// The time that a commit is given to end after its component was killed. A store that takes longer hangs.
const COMMIT_GRACE: Duration = Duration::from_secs(10);

/// The task of a component that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) cell: Arc<Cell>,
    task: JoinHandle<Option<WasmError>>,
}

/// What became of a component that was stopped.
#[derive(Debug, Default)]
pub struct StopReport {
    /// What it did since it was started.
    pub statistics: CellStatistics,
    /// Messages that were queued and not handled. Whoever waits for their replies is told.
    pub dropped: usize,
    /// Whether it was ended because the time was over: the handler that ran was ended, and `shutdown` was not called.
    pub interrupted: bool,
    /// How `shutdown` of the component failed, if it did.
    pub error: Option<WasmError>,
}

/// What a shutdown left behind.
#[derive(Debug, Default)]
pub struct ShutdownReport {
    /// Each component that ran, in the order of their ids.
    pub components: Vec<(ComponentId, StopReport)>,
    /// How closing the store failed, if it did.
    pub store_error: Option<WasmError>,
}

impl ShutdownReport {
    /// Messages that were queued and not handled, over all components.
    pub fn dropped(&self) -> usize {
        self.components.iter().map(|(_, report)| report.dropped).sum()
    }
}

impl Host {
    /// Makes an instance, initialises it, and lets it take messages.
    ///
    /// # Cancellation
    /// Dropping the future ends the instance; the component counts as failed and can be started again.
    ///
    /// # Errors
    /// [`ComponentNotFound`](ErrorKind::ComponentNotFound); [`ErrorKind::Actor`] when it is starting, running or stopping;
    /// [`LoadFault::Init`](airssys_wasm_core::error::LoadFault::Init), with what happened as its source, when the component
    /// does not come up; [`Limit::LiveInstances`](airssys_wasm_core::error::Limit::LiveInstances).
    pub async fn start(&self, id: &ComponentId) -> Result<()> {
        let shared = &self.0.shared;
        let installed = {
            let mut components = self.components();
            shared.check_open("start")?;
            let component = components.get_mut(id).ok_or_else(|| not_installed(id))?;
            component.become_(ComponentState::Starting)?;
            component.installed.clone()
        };
        let cell = Cell::new(id.clone(), installed.limits.clone(), installed.accepts.clone());
        let mut starting = Starting { host: self, cell: &cell, came_up: false };
        let worker = Worker::start(cell.clone(), installed, shared.clone()).await?;
        let mut components = self.components();
        // A shutdown that began meanwhile does not know of this component.
        shared.check_open("start")?;
        let component = components.get_mut(id).ok_or_else(|| not_installed(id))?;
        component.become_(ComponentState::Running)?;
        shared.router.insert(&cell);
        component.running = Some(Running { cell: cell.clone(), task: tokio::spawn(worker.run()) });
        starting.came_up = true;
        shared.gate.happened(id, HostAct::Started);
        Ok(())
    }

    /// Lets a component finish what is queued, for at most `within`, and ends it. Its subscriptions and its asynchronous
    /// requests end with it; what it stored stays.
    ///
    /// # Cancellation
    /// Dropping the future does not stop the stopping.
    ///
    /// # Errors
    /// [`ComponentNotFound`](ErrorKind::ComponentNotFound); [`ErrorKind::Actor`] when it does not run.
    pub async fn stop(&self, id: &ComponentId, within: Duration) -> Result<StopReport> {
        let ending = {
            let mut components = self.components();
            let component = components.get_mut(id).ok_or_else(|| not_installed(id))?;
            component.become_(ComponentState::Stopping)?;
            self.spawn_end(component, within)
        };
        match ending {
            Some(ending) => ending.await.map_err(|failed| defect(id, failed)),
            None => Ok(StopReport::default()),
        }
    }

    /// Takes no more messages of the embedder, lets components finish what they have, what they send each other included, for
    /// at most half of `within`, then ends all of them as [`stop`](Self::stop) does and closes the store.
    ///
    /// # Cancellation
    /// Dropping the future does not stop the shutdown.
    pub async fn shutdown(&self, within: Duration) -> ShutdownReport {
        let host = self.clone();
        let done = tokio::spawn(async move { host.shut_down(within).await });
        done.await.unwrap_or_else(|failed| ShutdownReport {
            components: Vec::new(),
            store_error: Some(WasmError::new(ErrorKind::Internal, "shutdown").because(failed)),
        })
    }

    async fn shut_down(&self, within: Duration) -> ShutdownReport {
        let began = Instant::now();
        let rest = || within.saturating_sub(began.elapsed());
        {
            // Under the lock: whoever starts a component looks under it, too.
            let _components = self.components();
            self.0.shared.closing.store(true, Ordering::Release);
        }
        let _ = tokio::time::timeout(within / 2, self.settle()).await;
        let ending: Vec<_> = {
            let mut components = self.components();
            let running = components.values_mut().filter_map(|component| {
                component.become_(ComponentState::Stopping).ok()?;
                let ending = self.spawn_end(component, rest())?;
                Some((component.installed.id.clone(), ending))
            });
            running.collect()
        };
        let ended = ending.into_iter().map(|(id, ending)| async move {
            let report = ending.await.unwrap_or_else(|failed| StopReport {
                error: Some(defect(&id, failed)),
                ..StopReport::default()
            });
            (id, report)
        });
        let mut components = join_all(ended).await;
        components.sort_by(|(left, _), (right, _)| left.cmp(right));
        // Somebody else may have begun to stop a component before this.
        while self.is_stopping() && !rest().is_zero() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        ShutdownReport { components, store_error: self.0.shared.store.close().await.err() }
    }

    fn is_stopping(&self) -> bool {
        self.components().values().any(|component| component.state == ComponentState::Stopping)
    }

    /// Waits until no component works, and none has sent another anything meanwhile.
    async fn settle(&self) {
        let mut before = None;
        loop {
            // A message is always in the mailbox of its receiver before its sender is idle. So when every component is idle
            // twice, and nothing was queued in between, nothing is on its way.
            let cells = self.0.shared.router.all();
            let now = cells.iter().map(|cell| cell.idle_after()).sum::<Option<u64>>();
            if now.is_some() && now == before {
                return;
            }
            before = now;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends a component that has come to be stopping, in a task that sees it through.
    fn spawn_end(&self, component: &mut Component, within: Duration) -> Option<JoinHandle<StopReport>> {
        let running = component.running.take()?;
        Some(tokio::spawn(end(self.0.clone(), running, within)))
    }
}

impl Component {
    /// Goes on to `next`.
    ///
    /// # Errors
    /// [`ErrorKind::Actor`] naming both states, when that is not a legal transition; nothing changes then.
    fn become_(&mut self, next: ComponentState) -> Result<()> {
        if self.state.can_become(next) {
            self.state = next;
            return Ok(());
        }
        Err(WasmError::new(ErrorKind::Actor, "change state")
            .saying(format!("{} is {} and cannot become {next}", self.installed.id, self.state))
            .blaming(Blame::Caller))
    }
}

async fn end(host: Arc<Inner>, mut running: Running, within: Duration) -> StopReport {
    let (cell, shared) = (running.cell, &host.shared);
    shared.router.remove(&cell);
    cell.close();
    let mut report = StopReport::default();
    let ended = match tokio::time::timeout(within, &mut running.task).await {
        Ok(ended) => ended,
        Err(_) => {
            report.interrupted = true;
            cell.kill();
            // The handler is ended at once; a commit that has begun is seen through.
            let ended = tokio::time::timeout(COMMIT_GRACE, &mut running.task).await;
            ended.unwrap_or_else(|_| {
                running.task.abort();
                tracing::error!(component = %cell.id(), "a commit did not end, and was given up");
                Ok(None)
            })
        }
    };
    report.error = ended.unwrap_or_else(|failed| Some(defect(cell.id(), failed)));
    cell.kill();
    // Its last handlers may have subscribed to something.
    shared.subscriptions.remove(&cell);
    report.statistics = cell.statistics();
    for delivery in cell.mailbox().drain() {
        report.dropped += 1;
        if let Delivery::Message { reply: Some(reply), .. } = delivery {
            let stopped = WasmError::messaging("request", MessagingFault::ShuttingDown);
            reply.send(Err(stopped.with("component", cell.id())));
        }
    }
    let mut components = host.components.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Err(error)) =
        components.get_mut(cell.id()).map(|component| component.become_(ComponentState::Stopped))
    {
        tracing::error!(%error, "a component that was stopping was not");
    }
    report
}

fn defect(id: &ComponentId, failed: JoinError) -> WasmError {
    WasmError::new(ErrorKind::Internal, "stop").with("component", id).because(failed)
}

/// Marks a component as failed, and takes back what its instance left, unless its start went through.
struct Starting<'a> {
    host: &'a Host,
    cell: &'a Arc<Cell>,
    came_up: bool,
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        if self.came_up {
            return;
        }
        self.cell.kill();
        self.host.0.shared.subscriptions.remove(self.cell);
        if let Some(component) = self.host.components().get_mut(self.cell.id()) {
            let failed = component.become_(ComponentState::Failed);
            debug_assert!(failed.is_ok(), "a component that is starting can fail");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let components = self.components.get_mut().unwrap_or_else(PoisonError::into_inner);
        for running in components.values_mut().filter_map(|component| component.running.take()) {
            self.shared.router.remove(&running.cell);
            self.shared.subscriptions.remove(&running.cell);
            running.cell.kill();
        }
    }
}
