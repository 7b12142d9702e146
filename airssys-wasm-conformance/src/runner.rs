//! Runs contracts against a backend, and says how it went.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, FormatSetting};

mod contract;
mod report;

pub use contract::{Bench, Broken, Contract, Outcome, Running, When};
pub(crate) use contract::{chain, contracts, ensure, ensure_eq, fail, poll_once, shown};
pub use report::{Line, Report, Verdict, unanswered};

/// How long a contract may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// The contracts of one subject, about to be run against one backend.
pub struct Suite<B: Bench> {
    backend: String,
    contracts: Vec<&'static Contract<B>>,
    make: Arc<Make<B>>,
    deviations: Vec<Deviation>,
    patience: Duration,
    one_at_a_time: bool,
}

type Make<B> = dyn Fn() -> Outcome<B> + Send + Sync;

struct Deviation {
    id: String,
    reason: String,
}

impl<B: Bench> Suite<B> {
    /// A suite of `contracts` for `backend`; `make` sets up a fresh place to work in.
    pub fn new(
        backend: impl Into<String>,
        contracts: impl IntoIterator<Item = &'static Contract<B>>,
        make: impl Fn() -> Outcome<B> + Send + Sync + 'static,
    ) -> Self {
        Self {
            backend: backend.into(),
            contracts: contracts.into_iter().collect(),
            make: Arc::new(make),
            deviations: Vec::new(),
            patience: PATIENCE,
            one_at_a_time: false,
        }
    }

    /// Declares that the backend does not keep the contract `id`, and why. The run fails once it does keep it.
    #[must_use]
    pub fn deviates(mut self, id: impl Into<String>, reason: impl Into<String>) -> Self {
        self.deviations.push(Deviation { id: id.into(), reason: reason.into() });
        self
    }

    /// How long each contract may take before it is given up as hanging; a minute unless said otherwise.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs one contract after the other, however many threads are asked for: for contracts that measure what belongs to the
    /// whole process, such as its memory.
    #[must_use]
    pub fn one_at_a_time(mut self) -> Self {
        self.one_at_a_time = true;
        self
    }

    /// Does what the command line says: the `main` of a backend's file.
    ///
    /// It takes the arguments of an ordinary test binary, so that `cargo test` and `cargo nextest` both drive it.
    /// A run without a single contract fails.
    pub fn run(self) -> ExitCode {
        self.run_as(&Arguments::from_args())
    }

    /// The same, with arguments from elsewhere.
    #[expect(clippy::print_stdout, reason = "the report is what this program is for")]
    #[expect(clippy::print_stderr, reason = "so is the reason why there is none")]
    pub fn run_as(self, arguments: &Arguments) -> ExitCode {
        let json = arguments.format == Some(FormatSetting::Json);
        if let Some(refusal) = self.unknown_deviation() {
            eprintln!("error: {refusal}");
            return ExitCode::FAILURE;
        }
        // No contract is ever ignored, and none is a benchmark: whoever asks for these only gets nothing, rightly.
        let nothing_asked = (arguments.ignored && !arguments.include_ignored) || arguments.bench;
        let selected = if nothing_asked { Vec::new() } else { self.select(arguments) };
        if arguments.list {
            print!("{}", report::listing(&selected, arguments));
            return ExitCode::SUCCESS;
        }
        if selected.is_empty() && !nothing_asked {
            let filter = arguments.filter.as_deref().unwrap_or_default();
            eprintln!("error: no contract matches `{filter}`; `--list` shows them all");
            return ExitCode::FAILURE;
        }
        if !json {
            println!("\nrunning {} contracts against {}", selected.len(), self.backend);
        }
        let total = self.contracts.len();
        let report = self.run_selected(&selected, arguments.test_threads, &mut |line| {
            if json {
                println!("{}", line.to_json(&self.backend));
            } else {
                println!("{line}");
            }
        });
        if json {
            println!("{}", report.to_json());
        } else {
            print!("{}", report.closing(total));
        }
        if report.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Runs every contract in silence.
    pub fn report(&self) -> Report {
        self.run_selected(&self.contracts, None, &mut |_| {})
    }

    /// Runs the contracts whose ids hold `filter` in silence. There may be none.
    pub fn report_of(&self, filter: &str) -> Report {
        let selected: Vec<_> =
            self.contracts.iter().filter(|contract| contract.id.contains(filter)).copied().collect();
        self.run_selected(&selected, None, &mut |_| {})
    }

    /// Runs one contract in silence; none when there is no contract of this name.
    pub fn verdict(&self, id: &str) -> Option<Verdict> {
        let contract = self.contracts.iter().find(|contract| contract.id == id)?;
        Some(self.judge(contract).verdict)
    }

    fn unknown_deviation(&self) -> Option<String> {
        let is_unknown =
            |deviation: &&Deviation| !self.contracts.iter().any(|known| known.id == deviation.id);
        let unknown = self.deviations.iter().find(is_unknown)?;
        Some(format!("`{}` is listed as a deviation, and is not a contract", unknown.id))
    }

    fn select(&self, arguments: &Arguments) -> Vec<&'static Contract<B>> {
        let matches =
            |filter: &str, id: &str| if arguments.exact { id == filter } else { id.contains(filter) };
        let is_wanted = |contract: &&&'static Contract<B>| {
            arguments.filter.as_deref().is_none_or(|filter| matches(filter, contract.id))
                && !arguments.skip.iter().any(|skipped| matches(skipped, contract.id))
        };
        self.contracts.iter().filter(is_wanted).copied().collect()
    }

    fn run_selected(
        &self,
        selected: &[&'static Contract<B>],
        threads: Option<usize>,
        each: &mut dyn FnMut(&Line),
    ) -> Report {
        let started = Instant::now();
        let threads = threads
            .unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get))
            .clamp(1, if self.one_at_a_time { 1 } else { selected.len().max(1) });
        let waiting: Mutex<VecDeque<_>> = Mutex::new(selected.iter().enumerate().collect());
        let (finished, lines) = channel();
        let mut judged: Vec<(usize, Line)> = thread::scope(|scope| {
            for _ in 0..threads {
                let (finished, waiting) = (finished.clone(), &waiting);
                scope.spawn(move || {
                    loop {
                        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some((position, contract)) = next else { break };
                        // The receiver lives as long as this scope: it drains the channel until every sender is gone.
                        let _ = finished.send((position, self.judge(contract)));
                    }
                });
            }
            drop(finished);
            lines.into_iter().inspect(|(_, line)| each(line)).collect()
        });
        judged.sort_by_key(|(position, _)| *position);
        Report {
            backend: self.backend.clone(),
            lines: judged.into_iter().map(|(_, line)| line).collect(),
            took: started.elapsed(),
        }
    }

    fn judge(&self, contract: &'static Contract<B>) -> Line {
        let started = Instant::now();
        let verdict = match self.attempt(contract) {
            Ok(verdict) => verdict,
            Err(broken) => Verdict::Broken(broken),
        };
        let deviation = self.deviations.iter().find(|deviation| deviation.id == contract.id);
        let verdict = match (verdict, deviation) {
            (Verdict::Broken(broken), Some(deviation)) => {
                Verdict::Deviates { reason: deviation.reason.clone(), broken }
            }
            (healed, Some(deviation)) => Verdict::Broken(Broken::new(format!(
                "it is listed as a deviation (\"{}\"), and now it is {}: take it off the list",
                deviation.reason,
                healed.name()
            ))),
            (verdict, None) => verdict,
        };
        Line { id: contract.id, promise: contract.promise, verdict, took: started.elapsed() }
    }

    /// Runs a contract on a thread of its own, which is left behind when it hangs.
    fn attempt(&self, contract: &'static Contract<B>) -> Outcome<Verdict> {
        let (finished, verdict) = channel();
        let make = Arc::clone(&self.make);
        thread::Builder::new().name(contract.id.to_owned()).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| on_fresh_bench(contract, &*make)));
            let outcome = outcome.unwrap_or_else(|panic| Err(Broken::from_panic(&*panic)));
            // Nobody listens any more when this took longer than the suite's patience.
            let _ = finished.send(outcome);
        })?;
        match verdict.recv_timeout(self.patience) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Timeout) => {
                Err(Broken::new(format!("it did not end within {} s", self.patience.as_secs())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(Broken::new("its thread ended without a verdict")),
        }
    }
}

fn on_fresh_bench<B: Bench>(contract: &Contract<B>, make: &Make<B>) -> Outcome<Verdict> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        let bench = make()?;
        if let When::Feature(feature) = contract.when
            && !bench.offers(feature).await?
        {
            bench.refuses(feature).await?;
            return Ok(Verdict::Refused(format!("{feature:?}")));
        }
        (contract.run)(&bench).await.map(|()| Verdict::Held)
    });
    // What a contract left running is no reason to wait: whatever it should have awaited, it has.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

impl<B: Bench> fmt::Debug for Suite<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite")
            .field("backend", &self.backend)
            .field("contracts", &self.contracts.len())
            .finish_non_exhaustive()
    }
}
