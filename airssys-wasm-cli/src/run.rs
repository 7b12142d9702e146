//! `airssys-wasm run`: starts components, sends messages, writes replies.

use std::sync::Arc;
use std::time::{Duration, Instant};

use airssys_wasm::audit::AuditTrail;
use airssys_wasm::core::component::ComponentId;
use airssys_wasm::core::error::ErrorKind;
use airssys_wasm::core::messaging::Body;
use airssys_wasm::{Host, ShutdownReport, WasmError};

use crate::arguments::RunArguments;
use crate::audit_lines::{Decisions, Denial};
use crate::components::{Plan, input_problem};
use crate::diagnostics::Problem;
use crate::exit_code::Exit;
use crate::interrupt::Interrupts;
use crate::messages::{Message, Schedule};
use crate::report::{Exchange, Report};
use crate::{configuration, engine, logs};

/// Runs the command.
pub(crate) fn run(arguments: &RunArguments) -> Exit {
    logs::start(arguments.log);
    let mut report = Report::new(arguments.output);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            let error =
                WasmError::new(ErrorKind::Io, "start").saying("no threads can be started").because(cause);
            return report.problem(&error.into());
        }
    };
    let exit = runtime.block_on(async {
        match Session::open(arguments, &mut report).await {
            Ok(Some((session, schedule))) => session.run(schedule).await,
            Ok(None) => Exit::Interrupted,
            Err(problem) => report.problem(&problem),
        }
    });
    // A guest that is still being compiled, or a line that is still being read, is not waited for.
    runtime.shutdown_background();
    exit
}

/// A host, and everything that its messages need.
#[derive(Debug)]
struct Session<'a> {
    arguments: &'a RunArguments,
    report: &'a mut Report,
    plan: Plan,
    decisions: Arc<Decisions>,
    interrupts: Interrupts,
    host: Host,
}

/// Why no further message is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    AllSent,
    Failed,
    Interrupted,
}

impl<'a> Session<'a> {
    /// Checks the whole command line, then makes a host. None when that was interrupted.
    async fn open(
        arguments: &'a RunArguments,
        report: &'a mut Report,
    ) -> Result<Option<(Self, Schedule)>, Problem> {
        let interrupts = Interrupts::listen();
        let config = configuration::host_config(arguments)?;
        let plan = Plan::make(arguments)?;
        let schedule = Schedule::make(&arguments.words, &plan)?;
        let trail = arguments.audit_trail.as_ref().map(AuditTrail::open).transpose()?;
        let decisions = Arc::new(Decisions::new(arguments.audit, trail));
        let engine = engine::make(arguments.engine, &config.runtime)?;
        let building = Host::builder()
            .config(config)
            .engine(engine)
            .audit(decisions.clone())
            .signatures(plan.signatures())
            // Every handler has a deadline: there is no need for a second one.
            .request_timeout(Duration::MAX)
            .build();
        let host = tokio::select! {
            biased;
            () = interrupts.reached(1) => return Ok(None),
            host = building => host?,
        };
        Ok(Some((Self { arguments, report, plan, decisions, interrupts, host }, schedule)))
    }

    async fn run(mut self, schedule: Schedule) -> Exit {
        let mut exit = None;
        let interrupts = self.interrupts.clone();
        let started = tokio::select! {
            biased;
            () = interrupts.reached(1) => None,
            started = self.start() => Some(started),
        };
        let end = match started {
            None => End::Interrupted,
            Some(Ok(())) => self.exchange_all(schedule, &mut exit).await.unwrap_or_else(|problem| {
                let problem_exit = self.report.problem(&problem);
                exit.get_or_insert(problem_exit);
                End::Failed
            }),
            Some(Err(problem)) => {
                exit = Some(self.report.problem(&problem));
                End::Failed
            }
        };
        let shut_down = tokio::select! {
            biased;
            () = interrupts.reached(2) => None,
            report = self.host.shutdown(self.arguments.shutdown_timeout) => Some(report),
        };
        match shut_down {
            None => return Exit::Interrupted,
            Some(report) => {
                for problem in self.shutdown_problems(report) {
                    let problem_exit = self.report.problem(&problem);
                    exit.get_or_insert(problem_exit);
                }
            }
        }
        if let Err(error) = self.decisions.sync() {
            let problem_exit = self.report.problem(&error.into());
            exit.get_or_insert(problem_exit);
        }
        exit.unwrap_or(if end == End::Interrupted { Exit::Interrupted } else { Exit::Success })
    }

    /// Installs all components, then starts them in the order of the command line.
    async fn start(&self) -> Result<(), Problem> {
        for installation in self.plan.installations(self.arguments) {
            self.host.install(installation).await.map_err(input_problem)?;
        }
        for id in self.plan.ids() {
            self.host.start(id).await.map_err(|error| self.explain(error))?;
        }
        self.warn_of_denials();
        Ok(())
    }

    /// Sends one message after the other. `exit` is set by the first that fails.
    async fn exchange_all(&mut self, schedule: Schedule, exit: &mut Option<Exit>) -> Result<End, Problem> {
        let mut messages = schedule.messages();
        let interrupts = self.interrupts.clone();
        for number in 1.. {
            let message = tokio::select! {
                biased;
                () = interrupts.reached(1) => return Ok(End::Interrupted),
                message = messages.recv() => message,
            };
            let Some(message) = message else { break };
            if let Some(failed) = self.exchange(number, message?).await? {
                exit.get_or_insert(failed);
                if !self.arguments.keep_going {
                    return Ok(End::Failed);
                }
            }
        }
        Ok(End::AllSent)
    }

    /// Sends a message and writes the reply, or what happened instead; the exit code for that is returned.
    async fn exchange(
        &mut self,
        message: u64,
        Message { to, payload }: Message,
    ) -> Result<Option<Exit>, Problem> {
        let sent = Instant::now();
        let outcome = self.request(&to, payload).await;
        let exchange = Exchange { message, to, elapsed: sent.elapsed() };
        match outcome {
            Ok(reply) => {
                self.warn_of_denials();
                self.report.reply(&exchange, &reply).map(|()| None)
            }
            Err(error) => {
                let problem = self.explain(error);
                let exit = problem.exit();
                self.report.unanswered(&exchange, problem).map(|()| Some(exit))
            }
        }
    }

    /// Asks and waits. What has begun is finished when an end is asked for, but not for ever.
    async fn request(&self, to: &ComponentId, payload: Vec<u8>) -> Result<Body, WasmError> {
        let no_more_patience = async {
            self.interrupts.reached(1).await;
            tokio::select! {
                () = self.interrupts.reached(2) => {}
                () = tokio::time::sleep(self.arguments.shutdown_timeout) => {}
            }
        };
        let body = Body { content_type: self.arguments.content_type.clone(), payload };
        tokio::select! {
            outcome = self.host.request(to, body) => outcome,
            () = no_more_patience => Err(WasmError::new(ErrorKind::ExecutionTimeout, "request")
                .saying("the command was told to end while the component was at work")
                .with("component", to)),
        }
    }

    /// A problem, with the options that would allow what was denied on the way to it.
    fn explain(&self, error: WasmError) -> Problem {
        let mut problem = Problem::from(error);
        for denial in self.decisions.take_denials() {
            match self.plan.grant_option(&denial, self.arguments.rights.as_deref()) {
                Some(option) => problem = problem.advising(option),
                None => warn_of(&denial, ""),
            }
        }
        problem
    }

    /// Tells what was denied to components that went on all the same.
    fn warn_of_denials(&self) {
        for denial in self.decisions.take_denials() {
            warn_of(
                &denial,
                &self.plan.grant_option(&denial, self.arguments.rights.as_deref()).unwrap_or_default(),
            );
        }
    }

    fn shutdown_problems(&self, report: ShutdownReport) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (id, stopped) in report.components {
            if stopped.interrupted {
                let timeout = format!("{:?}", self.arguments.shutdown_timeout);
                let error = WasmError::new(ErrorKind::ExecutionTimeout, "shutdown")
                    .saying("the component did not finish in time")
                    .with("component", &id)
                    .with("timeout", timeout)
                    .with("messages dropped", stopped.dropped)
                    .advising("raise `--shutdown-timeout`, or lower `--timeout`");
                problems.push(error.into());
            }
            if let Some(error) = stopped.error {
                problems.push(self.explain(error).during(format!("`{id}` did not end in order")));
            }
        }
        problems.extend(report.store_error.map(Problem::from));
        self.warn_of_denials();
        problems
    }
}

fn warn_of(denial: &Denial, advice: &str) {
    let Denial { component, access, rule, .. } = denial;
    tracing::warn!(target: "airssys_wasm::audit", %component, %access, %rule, advice, "denied");
}
