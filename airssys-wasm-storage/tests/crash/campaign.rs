//! A campaign: many crashes of one store, and what was seen of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::child::{self, Kill, Task};
use crate::history::Contents;
use crate::marks::{Bounds, Mark, Violation};
use crate::stores::Numbers;

/// After so many violations a campaign ends: the rest would say the same.
const ENOUGH: usize = 5;

/// What a campaign works with.
#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    pub(crate) store: String,
    /// Of the whole run: what repeats it.
    run: u64,
    /// Its own: no two campaigns of a run do the same.
    pub(crate) seed: u64,
    /// Ends it as soon as this contract was seen broken: for saboteurs.
    pub(crate) until: Option<&'static str>,
    pub(crate) tally: Tally,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) rounds: u64,
    pub(crate) broken: Vec<Violation>,
    pub(crate) reopened: Vec<Duration>,
    /// What else is worth a line.
    pub(crate) remark: String,
    pub(crate) took: Duration,
}

impl Campaign {
    /// The campaign `name` against a store.
    pub(crate) fn new(name: &str, store: &str, run: u64) -> Self {
        // FNV.
        let seed =
            name.bytes().fold(run, |mixed, byte| (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self { store: store.to_owned(), run, seed, until: None, tally: Tally::default() }
    }

    /// The numbers of one round, the same for the same seed.
    pub(crate) fn numbers(&self, round: u64) -> Numbers {
        Numbers::new(self.seed ^ round.wrapping_mul(0x9e37_79b9))
    }

    /// Whether enough was seen.
    pub(crate) fn is_over(&self) -> bool {
        match self.until {
            Some(contract) => self.tally.broken.iter().any(|violation| violation.contract == contract),
            None => self.tally.broken.len() >= ENOUGH,
        }
    }

    /// Lets a child verify `folder`, which holds `contents`. Returns the bounds of what is there afterwards, and keeps a
    /// copy of what broke a promise.
    pub(crate) fn verify(
        &mut self,
        folder: &Path,
        contents: &Contents,
        bounds: Bounds,
        survives: &str,
        how: &str,
    ) -> Option<Bounds> {
        let task = Task::Verify { bounds, survives: survives.to_owned() };
        let ended = child::start(&self.store, folder, &task, Kill::IfItHangs);
        self.tally.rounds += 1;
        let mut after = Bounds { acknowledged: 0, started: 0, version: bounds.version };
        for mark in &ended.marks {
            after.note(mark);
            if let Mark::Reopened(micros) = mark {
                self.tally.reopened.push(Duration::from_micros(*micros));
            }
        }
        let Some(violation) = ended.violation(survives) else { return Some(after) };
        self.refute(&violation, contents, &task, how);
        None
    }

    /// Notes a broken promise, and keeps the files and the question that show it.
    pub(crate) fn refute(&mut self, violation: &Violation, contents: &Contents, task: &Task, how: &str) {
        if self.until.is_some() {
            // What a saboteur leaves is no news.
            self.broken(violation, how);
            return;
        }
        let kept = self.keep(contents, task);
        self.broken(violation, &format!("{how}; kept in {}", kept.display()));
    }

    /// Notes a broken promise, and how it came to that.
    pub(crate) fn broken(&mut self, violation: &Violation, how: &str) {
        let seen = format!("{} ({}, seed {}: {how})", violation.seen, self.store, self.run);
        self.tally.broken.push(Violation::new(&violation.contract, seen));
    }

    /// Keeps files that broke a promise, and the question that was asked of them.
    fn keep(&self, contents: &Contents, task: &Task) -> PathBuf {
        let place = kept().join(format!("{}-{}-{}", self.store, self.seed, self.tally.rounds));
        let write = || {
            if place.exists() {
                fs::remove_dir_all(&place)?;
            }
            let files = place.join("files");
            fs::create_dir_all(&files)?;
            contents.write(&files)?;
            fs::write(place.join("task"), child::arguments(&self.store, &files, task)[1..].join("\n"))
        };
        write().expect("there is room for what is kept");
        place
    }
}

/// Where files are kept that broke a promise.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("crashes")
}

/// Verifies what an earlier run has kept.
pub(crate) fn replay(place: &Path) -> Result<(), String> {
    let said = |error: std::io::Error| format!("{}: {error}", place.display());
    let task = fs::read_to_string(place.join("task")).map_err(said)?;
    let arguments: Vec<_> = task.lines().map(str::to_owned).collect();
    let [store, files, rest @ ..] = &arguments[..] else { return Err("the task is not one".to_owned()) };
    let task = Task::parse(rest).ok_or("the task is not one")?;
    // On a copy, so that it can be repeated.
    let contents = Contents::read(Path::new(files)).map_err(said)?;
    let folder = Folder::in_memory();
    contents.write(&folder.path).map_err(said)?;
    let ended = child::start(store, &folder.path, &task, Kill::IfItHangs);
    match ended.violation("storage.recovery.twice") {
        Some(violation) => Err(violation.to_string()),
        None => Ok(()),
    }
}

/// An empty folder, gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    _kept: tempfile::TempDir,
}

impl Folder {
    /// On a disk.
    pub(crate) fn on_disk() -> Self {
        Self::below(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// In memory, if there is such a place: what is durable an image decides, not the medium that it lies on.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::below(memory) } else { Self::on_disk() }
    }

    fn below(place: &Path) -> Self {
        let kept = tempfile::Builder::new()
            .prefix("airssys-crash-")
            .tempdir_in(place)
            .expect("there is a place for a folder");
        Self { path: kept.path().canonicalize().expect("it was just made"), _kept: kept }
    }
}

/// Measures how long a campaign takes.
pub(crate) fn timed(campaign: &mut Campaign, act: impl FnOnce(&mut Campaign)) {
    let began = Instant::now();
    act(campaign);
    campaign.tally.took = began.elapsed();
}
