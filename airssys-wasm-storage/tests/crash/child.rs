//! The program that is started again as a child: it opens a store and works on it, or verifies it.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::marks::{Bounds, Mark, Violation, say};
use crate::{subjects, verifier, workload};

/// The first argument of a child.
pub(crate) const CHILD: &str = "--child";
/// A child that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a child is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// To commit so many generations.
    Work { until: u64, seed: u64 },
    /// To check what is there; when something acknowledged is missing, the contract of this name is broken.
    Verify { bounds: Bounds, survives: String },
}

impl Task {
    fn arguments(&self) -> Vec<String> {
        match self {
            Self::Work { until, seed } => vec!["work".to_owned(), until.to_string(), seed.to_string()],
            Self::Verify { bounds: Bounds { acknowledged, started, version }, survives } => vec![
                "verify".to_owned(),
                acknowledged.to_string(),
                started.to_string(),
                version.to_string(),
                survives.clone(),
            ],
        }
    }

    /// The other way round.
    pub(crate) fn parse(arguments: &[String]) -> Option<Self> {
        match arguments {
            [word, until, seed] if word == "work" => {
                Some(Self::Work { until: until.parse().ok()?, seed: seed.parse().ok()? })
            }
            [word, acknowledged, started, version, survives] if word == "verify" => {
                let bounds = Bounds {
                    acknowledged: acknowledged.parse().ok()?,
                    started: started.parse().ok()?,
                    version: version.parse().ok()?,
                };
                Some(Self::Verify { bounds, survives: survives.clone() })
            }
            _ => None,
        }
    }
}

/// What comes behind the name of the program: a store, its folder, and the task.
pub(crate) fn arguments(store: &str, folder: &Path, task: &Task) -> Vec<String> {
    let mut arguments = vec![CHILD.to_owned(), store.to_owned(), folder.display().to_string()];
    arguments.extend(task.arguments());
    arguments
}

/// The child itself. What it has to say it says in marks; whatever else happens to it is the parent's to judge.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let [store, folder, task @ ..] = arguments else { return ExitCode::FAILURE };
    let Some(task) = Task::parse(task) else { return ExitCode::FAILURE };
    let folder = PathBuf::from(folder);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let outcome = runtime.expect("threads and timers are there").block_on(async {
        match task {
            Task::Work { until, seed } => work(store, &folder, until, seed).await,
            Task::Verify { bounds, survives } => verifier::verify(store, &folder, bounds, &survives).await,
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(violation) => {
            say(&Mark::Violated(violation));
            ExitCode::FAILURE
        }
    }
}

async fn work(store: &str, folder: &Path, until: u64, seed: u64) -> Result<(), Violation> {
    say(&Mark::Opening);
    let Ok(store) = subjects::open(store, folder) else {
        // The verifier finds out whether it ought to have opened.
        say(&Mark::Refused);
        return Ok(());
    };
    let found = verifier::shown(&*store).await?;
    say(&Mark::Opened(found.generation));
    if workload::work(&*store, found.generation, until.saturating_add(found.generation), seed)
        .await?
        .is_continue()
        && store.close().await.is_err()
    {
        say(&Mark::Refused);
    }
    Ok(())
}

/// A child that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) marks: Vec<Mark>,
    pub(crate) status: ExitStatus,
    pub(crate) complaints: String,
}

impl Ended {
    /// Whether it has something to say against its store.
    pub(crate) fn has_complained(&self) -> bool {
        self.marks.iter().any(|mark| matches!(mark, Mark::Violated(_) | Mark::Refused))
    }

    /// The promise that was broken, if the child said so or came to a bad end.
    pub(crate) fn violation(&self, contract: &str) -> Option<Violation> {
        let said = self.marks.iter().find_map(|mark| match mark {
            Mark::Violated(violation) => Some(violation.clone()),
            _ => None,
        });
        said.or_else(|| {
            let seen = || format!("the process ended with {}: {}", self.status, self.complaints.trim());
            (!self.status.success()).then(|| Violation::new(contract, seen()))
        })
    }
}

/// When a child is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// When it takes too long.
    IfItHangs,
    /// So long after its start.
    AfterStart(Duration),
    /// So long after it began to open the store.
    AfterOpening(Duration),
}

/// Runs a child to its end.
pub(crate) fn start(store: &str, folder: &Path, task: &Task, kill: Kill) -> Ended {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args(arguments(store, folder, task));
    watch(command, kill)
}

/// Runs a command whose output are marks.
pub(crate) fn watch(mut command: Command, kill: Kill) -> Ended {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process can be started");
    let began = Instant::now();
    let out = child.stdout.take().expect("it is piped");
    let mut complaints = child.stderr.take().expect("it is piped");
    let (opening, opened) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        let mut marks = Vec::new();
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            // The last line of a killed child may be cut short.
            let Ok(mark) = line.parse() else { break };
            if mark == Mark::Opening {
                // Nobody waits for it unless the kill depends on it.
                let _ = opening.send(());
            }
            marks.push(mark);
        }
        marks
    });
    let listener = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = complaints.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let at = match kill {
        Kill::IfItHangs => PATIENCE,
        Kill::AfterStart(delay) => delay,
        Kill::AfterOpening(delay) => {
            // An error means that it has ended before it came to that.
            let _ = opened.recv_timeout(PATIENCE);
            began.elapsed() + delay
        }
    };
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        let left = at.saturating_sub(began.elapsed());
        if left.is_zero() {
            child.kill().expect("it is our child");
            break child.wait().expect("it is our child");
        }
        thread::sleep(left.min(Duration::from_millis(1)));
    };
    let marks = reader.join().expect("the reader does not panic");
    let mut complaints = listener.join().expect("the listener does not panic");
    if kill == Kill::IfItHangs && began.elapsed() >= PATIENCE {
        complaints.push_str("it was killed after two minutes");
    }
    Ended { marks, status, complaints }
}
