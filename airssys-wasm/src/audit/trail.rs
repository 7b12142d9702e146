//! The audit trail on disk: every decision of the gate, in the order in which they were made.
//!
//! Whoever asks the gate never waits for the disk: decisions go into a bounded buffer, and one thread writes. When decisions come
//! faster than that, they are counted by component and rule, and the counts are written, so that the sum is always that of
//! the decisions: none is dropped without a trace.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use airssys_wasm_core::component::{ArtifactDigest, ComponentId, InstanceId};
use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use airssys_wasm_core::security::{AuditEvent, AuditSink, HostAct, HostEvent, PermissionResult, Rule};

use super::chain::{self, Act, Counted, Decided, MAX_LINE, Seal, TrailRecord};
use super::verify::{file_name, files};
use crate::rights::moment;

/// Decisions that wait to be written.
const WAITING: usize = 8_192;
/// Kinds of decisions that are counted apart; the rest is counted together.
const COUNTS: usize = 1_024;
/// How long a decision waits for others to be written with.
const GATHER: Duration = Duration::from_millis(2);
/// After how many bytes a file is closed and the next begun, when nothing else is said.
const FILE: u64 = 64 << 20;
/// How long the thread waits before it tries again to write what failed.
const RETRY: Duration = Duration::from_secs(1);

/// A sink of the gate that writes a hash-chained trail of JSON lines into a folder.
///
/// A decision is on its way to the disk when [`record`](AuditSink::record) returns, and written within milliseconds.
/// What is written survives the end of the process, however it ends; the loss of power is survived by what
/// [`sync`](Self::sync) or the end of a file was waited for. Dropping the trail writes everything that waits.
#[derive(Debug)]
pub struct AuditTrail {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Told when something waits, and when something was written.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Slots that are written again in place, so that recording allocates nothing once they are there.
    slots: Vec<Slot>,
    used: usize,
    counts: HashMap<Kind, Count>,
    /// Records handed over so far, and those of them that are written.
    handed: u64,
    written: u64,
    /// Asks for the file to be made durable; the number of the last time that it was.
    sync_asked: u64,
    synced: u64,
    failing: Option<String>,
    closing: bool,
}

/// What is counted together: about whom, and the rule that decided, unless it is no decision.
type Kind = (Option<ComponentId>, Counted, Option<Rule>);

#[derive(Debug)]
struct Slot {
    at: SystemTime,
    /// What happened, where it is no decision; the rest then means nothing.
    act: Option<Act>,
    instance: Option<InstanceId>,
    digest: ArtifactDigest,
    access: String,
    result: PermissionResult,
}

impl Slot {
    /// One to be written into.
    fn empty() -> Self {
        Self {
            at: SystemTime::UNIX_EPOCH,
            act: None,
            instance: None,
            digest: ArtifactDigest::from_bytes([0; 32]),
            access: String::new(),
            result: PermissionResult::Denied(Rule::Default),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Count {
    count: u64,
    from: SystemTime,
    until: SystemTime,
}

impl AuditTrail {
    /// Opens the trail in `folder`, which is made where it is missing, and goes on behind its last record.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when another process writes to it, when its last record was changed, or when it cannot be
    /// written to.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        Self::with_file_size(folder, FILE)
    }

    /// The same, with a new file after so many bytes.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn with_file_size(folder: impl Into<PathBuf>, bytes: u64) -> Result<Self> {
        let mut writer = Writer::open(folder.into(), bytes)?;
        let shared = Arc::new(Shared { waiting: Mutex::default(), changed: Condvar::new() });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("audit trail".to_owned()).spawn(move || writer.run(&theirs));
        let thread = thread.map_err(|cause| {
            WasmError::new(ErrorKind::Io, "open audit trail").saying("no thread").because(cause)
        })?;
        Ok(Self { shared, writer: Some(thread) })
    }

    /// Waits until everything that was recorded before is written and made durable.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when it cannot be written; it is tried again all the same.
    pub fn sync(&self) -> Result<()> {
        let mut waiting = self.shared.lock();
        waiting.sync_asked += 1;
        let mine = waiting.sync_asked;
        self.shared.changed.notify_all();
        loop {
            if waiting.synced >= mine {
                return Ok(());
            }
            if let Some(failing) = &waiting.failing {
                return Err(WasmError::new(ErrorKind::Io, "sync audit trail")
                    .saying(failing.clone())
                    .advising("make room on the disk; what waits is written then"));
            }
            waiting = self.shared.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for AuditTrail {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl AuditSink for AuditTrail {
    fn record(&self, event: &AuditEvent<'_>) {
        let mut waiting = self.shared.lock();
        if let Some(slot) = waiting.next() {
            slot.decide(event);
        } else {
            let what = if event.result.is_allowed() { Counted::Allowed } else { Counted::Denied };
            waiting
                .count((Some(event.context.component().clone()), what, Some(event.result.rule())), event.at);
        }
        self.shared.wake(&waiting);
    }

    fn happened(&self, event: &HostEvent<'_>) {
        let mut waiting = self.shared.lock();
        if let Some(slot) = waiting.next() {
            (slot.at, slot.act) = (event.at, Some(act(event)));
        } else {
            waiting.count((Some(event.component.clone()), Counted::Happened, None), event.at);
        }
        self.shared.wake(&waiting);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread for the first that waits; it comes for the others by itself.
    fn wake(&self, waiting: &Waiting) {
        if waiting.used == 1 {
            self.changed.notify_all();
        }
    }
}

impl Waiting {
    /// The next place; none when too many wait.
    fn next(&mut self) -> Option<&mut Slot> {
        self.handed += 1;
        if self.used == WAITING {
            return None;
        }
        if self.used == self.slots.len() {
            self.slots.push(Slot::empty());
        }
        self.used += 1;
        self.slots.get_mut(self.used - 1)
    }

    fn count(&mut self, kind: Kind, at: SystemTime) {
        let is_known = self.counts.len() < COUNTS || self.counts.contains_key(&kind);
        // Of one too many, it is still told whether it was allowed.
        let kind = if is_known { kind } else { (None, kind.1, None) };
        let count = self.counts.entry(kind).or_insert(Count { count: 0, from: at, until: at });
        count.count += 1;
        count.until = at;
    }

    fn is_empty(&self) -> bool {
        self.used == 0 && self.counts.is_empty()
    }
}

/// The thread's side: the file, and where the chain is.
#[derive(Debug)]
struct Writer {
    folder: PathBuf,
    file_size: u64,
    /// Held for as long as the trail is open.
    _lock: File,
    number_of_file: u64,
    file: File,
    /// The bytes of the file that are whole lines.
    length: u64,
    number: u64,
    head: Seal,
}

impl Writer {
    fn open(folder: PathBuf, file_size: u64) -> Result<Self> {
        let fail = |what: &str, cause: io::Error| {
            WasmError::new(ErrorKind::Io, "open audit trail")
                .saying(what.to_owned())
                .with("path", folder.display())
                .advising("check the folder and its permissions")
                .because(cause)
        };
        fs::create_dir_all(&folder).map_err(|cause| fail("the folder cannot be made", cause))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"));
        let lock = lock.map_err(|cause| fail("the folder cannot be written to", cause))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(WasmError::new(ErrorKind::Io, "open audit trail")
                    .saying("another host writes to this trail")
                    .with("path", folder.display())
                    .advising("give each host a folder of its own"));
            }
            Err(TryLockError::Error(cause)) => return Err(fail("the folder cannot be locked", cause)),
        }
        let last = files(&folder)?.pop();
        let (number_of_file, path) = last.unwrap_or_else(|| (1, folder.join(file_name(1))));
        let mut file = open_file(&path).map_err(|cause| fail("a file cannot be opened", cause))?;
        let tail = Tail::read(&mut file).map_err(|cause| fail("a file cannot be read", cause))?;
        let (number, head) = match &tail.last {
            None if number_of_file == 1 => (0, Seal::NONE),
            // The file before was ended, and nothing came into this one.
            None => last_of(&folder.join(file_name(number_of_file - 1)))?,
            Some(line) => read_last(&path, line)?,
        };
        let mut writer =
            Self { folder, file_size, _lock: lock, number_of_file, file, length: tail.whole, number, head };
        let torn =
            (!tail.torn.is_empty()).then(|| tail.torn.iter().map(|byte| format!("{byte:02x}")).collect());
        let opened = [(SystemTime::now(), Act::Opened { torn })];
        writer.write(opened.into_iter()).map_err(|cause| {
            WasmError::new(ErrorKind::Io, "open audit trail")
                .saying("the trail cannot be written to")
                .with("path", path.display())
                .because(cause)
        })?;
        Ok(writer)
    }

    fn run(&mut self, shared: &Shared) {
        let mut slots = Vec::new();
        loop {
            let mut waiting = shared.lock();
            while waiting.is_empty() && !waiting.closing && waiting.synced == waiting.sync_asked {
                waiting = shared.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if !waiting.closing && waiting.synced == waiting.sync_asked && waiting.used < WAITING / 2 {
                // More may come at once, and is written with it.
                drop(waiting);
                thread::sleep(GATHER);
                waiting = shared.lock();
            }
            mem::swap(&mut waiting.slots, &mut slots);
            let used = mem::take(&mut waiting.used);
            let counts = mem::take(&mut waiting.counts);
            let (closing, asked, handed) = (waiting.closing, waiting.sync_asked, waiting.handed);
            let must_sync = closing || asked > waiting.synced;
            drop(waiting);
            if !self.write_all(shared, &slots[..used], &counts, must_sync) {
                return;
            }
            let mut waiting = shared.lock();
            waiting.written = handed;
            waiting.synced = if must_sync { asked } else { waiting.synced };
            waiting.failing = None;
            shared.changed.notify_all();
            if closing && waiting.is_empty() {
                drop(waiting);
                let closed = [(SystemTime::now(), Act::Closed)];
                if self.write(closed.into_iter()).and_then(|()| self.file.sync_all()).is_err() {
                    tracing::error!(folder = %self.folder.display(), "the end of the audit trail cannot be written");
                }
                return;
            }
        }
    }

    /// Writes until it is written. False when it cannot be, and the trail is closing.
    fn write_all(
        &mut self,
        shared: &Shared,
        slots: &[Slot],
        counts: &HashMap<Kind, Count>,
        must_sync: bool,
    ) -> bool {
        loop {
            let acts = slots.iter().map(Slot::act).chain(counts.iter().map(counted));
            let written =
                self.write(acts).and_then(|()| if must_sync { self.file.sync_data() } else { Ok(()) });
            let Err(cause) = written else { return true };
            let mut waiting = shared.lock();
            if waiting.failing.is_none() {
                tracing::error!(
                    folder = %self.folder.display(), %cause,
                    "the audit trail cannot be written; decisions are kept, then counted, until it can"
                );
            }
            waiting.failing = Some(format!("the trail cannot be written: {cause}"));
            shared.changed.notify_all();
            if waiting.closing {
                tracing::error!(
                    decisions = waiting.handed - waiting.written,
                    "decisions are not in the audit trail"
                );
                return false;
            }
            drop(waiting);
            thread::sleep(RETRY);
        }
    }

    /// Writes all of these, or none of them.
    fn write(&mut self, acts: impl Iterator<Item = (SystemTime, Act)>) -> io::Result<()> {
        if self.length >= self.file_size {
            self.next_file()?;
        }
        let (mut number, mut head, mut lines) = (self.number, self.head, String::new());
        for (at, act) in acts {
            number += 1;
            let record = TrailRecord { number, at: moment::format(at), act };
            head = chain::append(&mut lines, &record, head)?;
        }
        if lines.is_empty() {
            return Ok(());
        }
        // Also takes away what an attempt before has left.
        self.file.set_len(self.length)?;
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.write_all(lines.as_bytes())?;
        self.length += lines.len() as u64;
        (self.number, self.head) = (number, head);
        Ok(())
    }

    fn next_file(&mut self) -> io::Result<()> {
        self.file.sync_all()?;
        self.file = open_file(&self.folder.join(file_name(self.number_of_file + 1)))?;
        self.number_of_file += 1;
        self.length = 0;
        Ok(())
    }
}

impl Slot {
    fn decide(&mut self, event: &AuditEvent<'_>) {
        self.at = event.at;
        self.act = None;
        if self.instance.as_ref() != Some(&event.context.instance) {
            self.instance = Some(event.context.instance.clone());
        }
        self.digest = event.context.digest;
        self.access.clear();
        event.access.append_to(&mut self.access);
        self.result = event.result;
    }

    fn act(&self) -> (SystemTime, Act) {
        let (None, Some(instance)) = (&self.act, &self.instance) else {
            return (self.at, self.act.clone().unwrap_or(Act::Closed));
        };
        let decided = Decided {
            component: instance.component().clone(),
            instance: instance.to_string(),
            digest: self.digest.to_string(),
            access: self.access.clone(),
            rule: self.result.rule().name().to_owned(),
        };
        (self.at, if self.result.is_allowed() { Act::Allowed(decided) } else { Act::Denied(decided) })
    }
}

fn act(event: &HostEvent<'_>) -> Act {
    let component = event.component.clone();
    match event.act {
        HostAct::Installed { version, digest } => {
            Act::Installed { component, version: version.to_string(), digest: digest.to_string() }
        }
        HostAct::Granted { capability, until } => {
            Act::Granted { component, capability: capability.to_string(), until: until.map(moment::format) }
        }
        HostAct::Revoked { capability } => Act::Revoked { component, capability: capability.to_string() },
        HostAct::Started => Act::Started { component },
        HostAct::Ended { instance, error } => Act::Ended {
            component,
            instance: instance.to_string(),
            kind: error.kind().name().to_owned(),
            detail: error.detail().map(|detail| format!("{detail:?}")),
        },
        HostAct::Stopped => Act::Stopped { component },
    }
}

fn counted(((component, what, rule), count): (&Kind, &Count)) -> (SystemTime, Act) {
    let act = Act::Counted {
        count: count.count,
        what: *what,
        component: component.clone(),
        rule: rule.map(|rule| rule.name().to_owned()),
        until: moment::format(count.until),
    };
    (count.from, act)
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}

/// The end of a file.
struct Tail {
    /// The bytes up to the end of the last whole line.
    whole: u64,
    /// The last whole line, without its end.
    last: Option<Vec<u8>>,
    /// What is behind it.
    torn: Vec<u8>,
}

impl Tail {
    fn read(file: &mut File) -> io::Result<Self> {
        let length = file.seek(SeekFrom::End(0))?;
        // What was written at once, and torn, can be longer than a line; only its beginning is kept.
        let from = length.saturating_sub(2 * (WAITING as u64) * 1024);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let torn = bytes[end..].iter().copied().take(MAX_LINE / 8).collect();
        let whole = &bytes[..end];
        let last = whole.len().checked_sub(1).map(|end| {
            let start = whole[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |start| start + 1);
            whole[start..end].to_vec()
        });
        Ok(Self { whole: from + end as u64, last, torn })
    }
}

fn last_of(path: &Path) -> Result<(u64, Seal)> {
    let unreadable = |cause: io::Error| {
        WasmError::new(ErrorKind::Io, "open audit trail")
            .saying("a file cannot be read")
            .with("path", path.display())
            .because(cause)
    };
    let tail = File::open(path).and_then(|mut file| Tail::read(&mut file)).map_err(unreadable)?;
    read_last(path, &tail.last.unwrap_or_default())
}

fn read_last(path: &Path, line: &[u8]) -> Result<(u64, Seal)> {
    let (record, _, seal) = chain::read(line).map_err(|what| {
        WasmError::new(ErrorKind::Io, "open audit trail")
            .saying(format!("the last record cannot be continued: {what}"))
            .with("path", path.display())
            .advising("look at it with `airssys-wasm audit verify`, and begin a trail in another folder")
    })?;
    Ok((record.number, seal))
}

#[cfg(test)]
mod tests;
