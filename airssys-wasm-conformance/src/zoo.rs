//! The hostile zoo: attacks of components, and what every one of them comes to, on every engine the same.
//!
//! They need the feature `host`. Each attack runs against a host of its own, with an engine, a store in memory, and a
//! neighbour that a task asks all the while. The text of a contract says what the attacker does and how it ends. What
//! holds around every attack is checked by one oracle:
//!
//! - the host lives: the attack comes to its end, and the neighbour is answered rightly, within [`BOUND`];
//! - the end is the kind of error, with the detail, that the contract names, or the answer that it names;
//! - what is ended at its deadline is ended within [`BOUND`] after it;
//! - the memory of the process grows by no more than the limit of the component and [`ALLOWANCE`] (on Linux, where it
//!   can be read);
//! - the statistics of the attacker tell what happened, and what the gate denied is in the audit log;
//! - the attacker answers the next honest message, from a fresh instance where the attack cost it the old one.
//!
//! The memory is that of the whole process, so a suite runs one attack at a time, and no two suites may run at the same
//! time in one process.
//!
//! # What is left out
//!
//! - A14, archives that unpack without end: the host reads no archives, and has nothing to attack.
//!
//! Where the host promises less than the attack asks for, the contract says so: A28 (events have no limit of hops), A33 and A34
//! (WASI grants nothing at all), A43 (binaries have no signatures), A44 (a function that blocks its thread).

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use airssys_wasm::audit::AuditLog;
use airssys_wasm::{CellStatistics, Host, HostBuilder, Installation, Source};
use airssys_wasm_core::component::{ByteSize, ComponentId, ComponentState, ResourceLimits};
use airssys_wasm_core::config::RuntimeConfig;
use airssys_wasm_core::error::{Detail, ErrorKind, Limit, LoadFault, Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::RuntimeEngine;
use airssys_wasm_core::storage::{Key, Namespace, StorageBackend};
use tokio::task::JoinHandle;

use crate::guests::Guest;
use crate::host::{config, granted, id, installation};
use crate::runner::{
    Bench, Broken, Contract, Outcome, Running, Suite, chain, ensure, ensure_eq, fail, shown,
};

mod abi;
mod busy;
mod life;
mod messages;
mod size;
mod state;
mod world;

/// Every attack, by subject. This is the one list.
const SUBJECTS: [&[Contract<ZooBench>]; 7] = [
    busy::CONTRACTS,
    size::CONTRACTS,
    abi::CONTRACTS,
    messages::CONTRACTS,
    state::CONTRACTS,
    world::CONTRACTS,
    life::CONTRACTS,
];

/// How long the neighbour may take for an answer while an attack runs, and an attack to end after its deadline, on a machine
/// that has other work.
pub const BOUND: Duration = Duration::from_secs(5);
/// What the process may need beyond the memory limit of the attacker.
pub const ALLOWANCE: ByteSize = ByteSize::mib(32);

/// Longer than any attack takes; one that takes longer has hung the host.
const AMPLE: Duration = Duration::from_secs(30);
/// The deadline of attackers that are to meet it.
const SHORT: Duration = Duration::from_millis(250);
/// The pause of the neighbour between two messages.
const PAUSE: Duration = Duration::from_millis(1);

/// Every attack.
pub fn contracts() -> impl Iterator<Item = &'static Contract<ZooBench>> {
    SUBJECTS.into_iter().flatten()
}

/// The attacks, for one engine. They run one at a time.
///
/// `make` makes the engine, in the context of a Tokio runtime. It is called once for all attacks, and again, with a folder in
/// [`code_cache`](RuntimeConfig::code_cache), for those on the cache of compiled code.
pub fn suite(
    engine: impl Into<String>,
    make: impl Fn(&RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> + Send + Sync + 'static,
) -> Suite<ZooBench> {
    let make: Arc<Make> = Arc::new(make);
    let made: Mutex<Option<Arc<dyn RuntimeEngine>>> = Mutex::new(None);
    let suite = Suite::new(engine, contracts(), move || {
        let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = match &*made {
            Some(engine) => Arc::clone(engine),
            None => Arc::clone(made.insert(make(&RuntimeConfig::default())?)),
        };
        Ok(ZooBench { engine, make: Arc::clone(&make) })
    });
    suite.one_at_a_time()
}

type Make = dyn Fn(&RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> + Send + Sync;

/// An engine, and how to make another one of its kind.
pub struct ZooBench {
    engine: Arc<dyn RuntimeEngine>,
    make: Arc<Make>,
}

impl ZooBench {
    /// A host with a neighbour that is asked from now on.
    async fn open(&self) -> Outcome<Zoo> {
        self.open_as(Host::builder()).await
    }

    async fn open_as(&self, builder: HostBuilder) -> Outcome<Zoo> {
        Zoo::open(builder.engine(Arc::clone(&self.engine))).await
    }
}

impl fmt::Debug for ZooBench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZooBench").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// There is nothing that an engine may leave out here: what the host promises binds every one.
#[derive(Clone, Copy, Debug)]
pub enum ZooFeature {}

impl Bench for ZooBench {
    type Feature = ZooFeature;

    fn offers(&self, feature: ZooFeature) -> Running<'_, bool> {
        match feature {}
    }

    fn refuses(&self, feature: ZooFeature) -> Running<'_> {
        match feature {}
    }
}

/// How an attack is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With exactly this answer.
    Answer(&'static str),
    /// With an answer that begins so.
    AnswerLike(&'static str),
    /// With this error; the instance is replaced.
    Error(ErrorKind, Option<Detail>),
}

impl End {
    const TIMEOUT: Self = Self::Error(ErrorKind::ExecutionTimeout, None);

    const fn trap(kind: TrapKind) -> Self {
        Self::Error(ErrorKind::ComponentTrapped, Some(Detail::Trap(kind)))
    }

    const fn limit(limit: Limit) -> Self {
        Self::Error(ErrorKind::ResourceLimitExceeded, Some(Detail::Limit(limit)))
    }

    const fn load(fault: LoadFault) -> Self {
        Self::Error(ErrorKind::ComponentLoadFailed, Some(Detail::Load(fault)))
    }

    #[track_caller]
    fn check(self, found: &Result<String>, what: &str) -> Outcome {
        let is_it = match (self, found) {
            (Self::Answer(expected), Ok(found)) => found == expected,
            (Self::AnswerLike(beginning), Ok(found)) => found.starts_with(beginning),
            (Self::Error(kind, detail), Err(error)) => error.kind() == kind && error.detail() == detail,
            _ => false,
        };
        if is_it {
            return Ok(());
        }
        Err(Broken::new(match found {
            Ok(answer) => format!("{what}: {self:?} was expected, the answer is {}", shown(answer)),
            Err(error) => format!("{what}: {self:?} was expected, the error is {}", explained(error)),
        }))
    }

    /// Checks that what was to end at its deadline did so soon after it.
    #[track_caller]
    fn check_in_time(self, took: Duration, deadline: Duration, what: &str) -> Outcome {
        let is_late = self == Self::TIMEOUT && took > deadline + BOUND;
        ensure!(!is_late, "{what}: it was ended after {took:?}, and its deadline is {deadline:?}");
        Ok(())
    }
}

/// An error with its kind, its detail and its causes.
fn explained(error: &WasmError) -> String {
    format!("{:?} {:?}: {}", error.kind(), error.detail(), chain(error))
}

/// An attacker that runs.
#[derive(Clone, Debug)]
struct Attacker {
    id: ComponentId,
    limits: ResourceLimits,
}

/// A host, what can be seen of it from outside, and a neighbour that is asked all the while.
struct Zoo {
    host: Host,
    audit: Arc<AuditLog>,
    store: Arc<dyn StorageBackend>,
    watch: Arc<Watch>,
    asking: JoinHandle<Outcome>,
}

/// What the task that asks the neighbour has seen.
#[derive(Debug, Default)]
struct Watch {
    over: AtomicBool,
    answers: AtomicU64,
    /// Nanoseconds of the slowest answer, and the most memory of the process, since the attack began.
    slowest: AtomicU64,
    resident: AtomicU64,
}

impl Zoo {
    async fn open(builder: HostBuilder) -> Outcome<Self> {
        let audit = Arc::new(AuditLog::new(10_000));
        let store: Arc<dyn StorageBackend> = Arc::new(airssys_wasm::storage::MemoryStore::new());
        let builder = builder.store(Arc::clone(&store)).audit(audit.clone()).request_timeout(AMPLE);
        let host = builder.build().await?;
        let neighbour: ComponentId = id("quiet/neighbour");
        host.install(Installation::new(neighbour.clone(), Guest::Echo.bytes()?)).await?;
        host.start(&neighbour).await?;
        let watch = Arc::new(Watch::default());
        let asking = tokio::spawn(ask(host.clone(), neighbour, Arc::clone(&watch)));
        Ok(Self { host, audit, store, watch, asking })
    }

    /// Installs an attacker with these limits, and starts it.
    async fn attacker(&self, installation: Installation, limits: ResourceLimits) -> Outcome<Attacker> {
        let id = installation.id().clone();
        self.host.install(installation.limits(limits.clone())).await?;
        self.host.start(&id).await?;
        let attacker = Attacker { id, limits };
        self.is_honest(&attacker).await?;
        Ok(attacker)
    }

    /// Sends a message, and returns the text of the reply.
    async fn ask(&self, attacker: &Attacker, payload: &[u8]) -> Result<String> {
        let body = self.host.request(&attacker.id, payload.to_vec()).await?;
        Ok(String::from_utf8_lossy(&body.payload).into_owned())
    }

    /// Shows that the attacker answers an honest message.
    async fn is_honest(&self, attacker: &Attacker) -> Outcome {
        let answer = self.ask(attacker, b"ok").await?;
        ensure_eq!(answer, "ok", "the answer of {} to an honest message", attacker.id);
        Ok(())
    }

    fn statistics(&self, attacker: &Attacker) -> Outcome<CellStatistics> {
        Ok(self.host.status(&attacker.id)?.statistics)
    }

    /// Sends a message that attacks, and shows that everything around it holds.
    async fn attack(&self, attacker: &Attacker, payload: impl AsRef<[u8]>, end: End) -> Outcome<String> {
        let payload = payload.as_ref();
        let what = shown(&String::from_utf8_lossy(payload));
        let before = self.statistics(attacker)?;
        let asked = timed(self.ask(attacker, payload));
        let (took, found) = self.around(&what, attacker.limits.memory, asked).await?;
        end.check(&found, &what)?;
        end.check_in_time(took, attacker.limits.deadline, &what)?;
        let after = self.statistics(attacker)?;
        let failed = u64::from(found.is_err());
        ensure_eq!(after.failed - before.failed, failed, "{what}: failures in the statistics");
        ensure_eq!(after.handled - before.handled, 1 - failed, "{what}: messages handled in the statistics");
        self.is_honest(attacker).await.map_err(|broken| broken.during(format!("after {what}")))?;
        let replaced = self.statistics(attacker)?.replaced - before.replaced;
        ensure_eq!(replaced, failed, "{what}: instances replaced in the statistics");
        Ok(found.unwrap_or_default())
    }

    /// Shows that a component is refused when it is installed.
    async fn refused(
        &self,
        name: &str,
        wasm: impl Into<Source>,
        limits: ResourceLimits,
        end: End,
    ) -> Outcome {
        let memory = limits.memory;
        let installation = Installation::new(id(name), wasm).limits(limits);
        let installed = self.around(name, memory, self.host.install(installation)).await?;
        end.check(&installed.map(|info| info.id.to_string()), name)?;
        let nobody = self.host.status(&id(name)).map(drop).map_err(|error| error.kind());
        ensure_eq!(nobody, Err(ErrorKind::ComponentNotFound), "{name}, which was refused, in the host");
        Ok(())
    }

    /// Shows that a component is installed, and does not come up, for this reason.
    async fn does_not_start(&self, installation: Installation, limits: ResourceLimits, end: End) -> Outcome {
        let (id, memory, deadline) = (installation.id().clone(), limits.memory, limits.deadline);
        let name = id.to_string();
        self.host.install(installation.limits(limits)).await?;
        for _ in 0..2 {
            let (took, started) = self.around(&name, memory, timed(self.host.start(&id))).await?;
            let started = started.map(|()| "it has started".to_owned());
            End::load(LoadFault::Init).check(&started, &name)?;
            let error = started.err();
            let cause = error.as_ref().and_then(std::error::Error::source);
            let Some(cause) = cause.and_then(|cause| cause.downcast_ref::<WasmError>()) else {
                fail!("{name}: why it did not start is not told");
            };
            let found = End::Error(cause.kind(), cause.detail());
            ensure!(
                found == end,
                "{name}: {end:?} was expected, it did not start because of {}",
                explained(cause)
            );
            end.check_in_time(took, deadline, &name)?;
        }
        ensure_eq!(self.host.status(&id)?.state, ComponentState::Failed, "the state of {name}");
        Ok(())
    }

    /// Shows that the host lives and stays within its bounds while something happens.
    async fn around<T>(&self, what: &str, memory: ByteSize, happens: impl Future<Output = T>) -> Outcome<T> {
        let watch = &*self.watch;
        self.answered(what, 2).await?;
        watch.slowest.store(0, Ordering::Relaxed);
        let before = resident();
        watch.resident.store(before, Ordering::Relaxed);
        let happened = tokio::time::timeout(AMPLE, happens).await;
        let Ok(happened) = happened else { fail!("{what} did not end within {} s", AMPLE.as_secs()) };
        self.answered(what, 2).await?;
        let slowest = Duration::from_nanos(watch.slowest.load(Ordering::Relaxed));
        ensure!(slowest <= BOUND, "{what}: the neighbour was answered after {slowest:?}");
        let grown = watch.resident.load(Ordering::Relaxed).saturating_sub(before);
        let allowed = memory.as_u64() + ALLOWANCE.as_u64();
        ensure!(grown <= allowed, "{what}: the process grew by {grown} bytes, and may by {allowed}");
        Ok(happened)
    }

    /// Waits for the neighbour to be answered so many times more.
    async fn answered(&self, what: &str, times: u64) -> Outcome {
        let goal = self.watch.answers.load(Ordering::Relaxed) + times;
        let patience = Instant::now() + AMPLE;
        while self.watch.answers.load(Ordering::Relaxed) < goal {
            ensure!(!self.asking.is_finished(), "{what}: the neighbour was not answered");
            ensure!(Instant::now() < patience, "{what}: the neighbour is not answered any more");
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// How many denials of this access are in the audit log.
    fn denied(&self, access: &str) -> usize {
        self.audit.denials().iter().filter(|record| record.access == access).count()
    }

    /// What the store holds for a component, past the host.
    async fn stored(&self, of: &Attacker, name: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let record = self.store.get(&Namespace::of_component(&of.id), &Key::new(name.to_vec())?).await?;
        Ok(record.map(|record| record.value))
    }

    /// Ends the host, and shows that the neighbour was answered to the last.
    async fn end(self) -> Outcome {
        self.watch.over.store(true, Ordering::Relaxed);
        self.asking.await??;
        self.host.shutdown(AMPLE).await;
        Ok(())
    }
}

/// Asks the neighbour until it is over. It is an error when an answer is wrong or none.
async fn ask(host: Host, neighbour: ComponentId, watch: Arc<Watch>) -> Outcome {
    // A question that could not even be asked has waited as well.
    let mut due = Instant::now();
    for question in 0_u64.. {
        if watch.over.load(Ordering::Relaxed) {
            break;
        }
        let question = question.to_be_bytes();
        let answer = host.request(&neighbour, question.to_vec()).await?;
        let took = u64::try_from(due.elapsed().as_nanos()).unwrap_or(u64::MAX);
        ensure_eq!(answer.payload, question, "the answer of the neighbour");
        watch.slowest.fetch_max(took, Ordering::Relaxed);
        watch.resident.fetch_max(resident(), Ordering::Relaxed);
        watch.answers.fetch_add(1, Ordering::Relaxed);
        due = Instant::now() + PAUSE;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Something that happens, and how long it took.
async fn timed<T>(happens: impl Future<Output = T>) -> (Duration, T) {
    let begun = Instant::now();
    let happened = happens.await;
    (begun.elapsed(), happened)
}

/// Waits until `condition` holds.
async fn eventually(what: &str, mut condition: impl FnMut() -> Outcome<bool>) -> Outcome {
    let patience = Instant::now() + AMPLE;
    while !condition()? {
        ensure!(Instant::now() < patience, "it never came to be that {what}");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Bytes of the process that are in memory; zero where the system does not tell.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// The message that names an attack of a [`Forged`](crate::forged::Forged) component.
fn numbered(attack: u8) -> [u8; 1] {
    [b'0' + attack]
}

/// The default limits, but for these.
fn limits(change: impl FnOnce(&mut ResourceLimits)) -> ResourceLimits {
    let mut limits = ResourceLimits::default();
    change(&mut limits);
    limits
}

/// The default limits, but for the time of a call.
fn impatient() -> ResourceLimits {
    limits(|limits| limits.deadline = SHORT)
}
