//! The recorder: runs a child under strace and makes a history of what it did to the files of its store.
//!
//! What it cannot follow it refuses with an error: memory maps that are written through, io_uring, other processes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use crate::child::{self, Ended, Kill, Task};
use crate::history::{Change, Contents, Event, FileId, History, Synced, moved};
use crate::trace::{self, Argument, Call};

/// The calls that change files, say which file is meant, or would blind us.
const CALLS: &str = "openat,openat2,open,creat,close,dup,dup2,dup3,fcntl,lseek,read,readv,\
    write,pwrite64,writev,pwritev,pwritev2,truncate,ftruncate,fallocate,\
    rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,mkdir,mkdirat,\
    fsync,fdatasync,sync,syncfs,\
    mmap,io_uring_setup,io_uring_enter,io_setup,io_submit,copy_file_range,sendfile,splice,\
    execve,fork,vfork,clone,clone3,chdir,fchdir";

/// The most bytes of one write that a trace holds; more of them is an error. Twice the largest batch.
const MOST_BYTES: &str = "33554432";

/// Whether strace is there.
pub(crate) fn available() -> bool {
    Command::new("strace")
        .arg("-V")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A call that fails: the how many-th of its kind, counted for each thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A synchronisation.
    Sync(u64),
    /// A write, or what makes room for one, for want of space.
    Write(u64),
}

impl Failure {
    /// As strace wants to be told.
    fn injection(self) -> String {
        match self {
            Self::Sync(which) => format!("inject=fsync,fdatasync,syncfs:error=EIO:when={which}"),
            Self::Write(which) => {
                let calls = "write,pwrite64,writev,pwritev,pwritev2,ftruncate,fallocate";
                format!("inject={calls}:error=ENOSPC:when={which}")
            }
        }
    }
}

/// Runs a child on the store in `folder`, and tells what it did. `scratch` is for the trace.
///
/// # Errors
/// When something happened that the recorder cannot follow.
pub(crate) fn record(
    store: &str,
    folder: &Path,
    task: &Task,
    fails: Option<Failure>,
    scratch: &Path,
) -> Result<(History, Ended), String> {
    if !available() {
        return Err("strace is missing: install it".to_owned());
    }
    let said = |error: io::Error| format!("the recorder: {error}");
    let folder = folder.canonicalize().map_err(said)?;
    let before = Contents::read(&folder).map_err(said)?;
    let trace = scratch.join("trace");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-xx", "--seccomp-bpf", "-s", MOST_BYTES, "-e", "signal=none", "-e"])
        .arg(format!("trace={CALLS}"));
    if let Some(failure) = fails {
        command.arg("-e").arg(failure.injection());
    }
    command.arg("-o").arg(&trace).arg("--");
    command.arg(std::env::current_exe().map_err(said)?).args(child::arguments(store, &folder, task));
    let ended = child::watch(command, Kill::IfItHangs);
    let mut recorder = Recorder::new(&folder, &before);
    let mut lines = BufReader::new(fs::File::open(&trace).map_err(said)?);
    let mut line = String::new();
    while lines.read_line(&mut line).map_err(said)? > 0 {
        recorder.take(line.trim_end())?;
        line.clear();
    }
    fs::remove_file(&trace).map_err(said)?;
    if recorder.events.iter().all(|event| !matches!(event, Event::Said(_))) {
        return Err(format!("strace has recorded nothing: {}", ended.complaints.trim()));
    }
    Ok((History { before, events: recorder.events }, ended))
}

/// The program so far: its names, its open files.
#[derive(Debug)]
pub(crate) struct Recorder {
    root: PathBuf,
    pub(crate) events: Vec<Event>,
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, FileId>,
    sizes: Vec<u64>,
    /// Open descriptors, by what they are opened on; two may share a position.
    open: HashMap<i64, usize>,
    opened: Vec<Opened>,
    /// Calls that have not returned: what was said of them, and how many events there were when they began.
    unfinished: HashMap<u32, (String, usize)>,
    /// What the program said, up to the next end of a line.
    saying: Vec<u8>,
    started: bool,
}

#[derive(Clone, Debug)]
struct Opened {
    what: What,
    position: u64,
    appends: bool,
    /// Each write is a synchronisation, too.
    synced: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    File(FileId),
    /// Of the store, or outside of it: a name may be relative to it.
    Folder(PathBuf),
}

impl Recorder {
    /// In the folder `root`, which holds this.
    pub(crate) fn new(root: &Path, before: &Contents) -> Self {
        Self {
            root: root.to_owned(),
            events: Vec::new(),
            folders: before.folders.iter().cloned().collect(),
            names: before.files.keys().enumerate().map(|(id, path)| (path.clone(), FileId(id))).collect(),
            sizes: before.files.values().map(|bytes| bytes.len() as u64).collect(),
            open: HashMap::new(),
            opened: Vec::new(),
            unfinished: HashMap::new(),
            saying: Vec::new(),
            started: false,
        }
    }

    /// Takes up one line of the trace.
    pub(crate) fn take(&mut self, line: &str) -> Result<(), String> {
        let (thread, text) = trace::thread(line)?;
        if text.starts_with("+++") || text.starts_with("---") {
            return Ok(());
        }
        let now = self.events.len();
        if let Some(begun) = text.strip_suffix("<unfinished ...>") {
            // Its number is free before the call returns, and may be another file by then.
            if let Some(number) = begun.strip_prefix("close(") {
                self.open.remove(&number.trim_end().parse().map_err(|_| trace::shortened(line))?);
                return Ok(());
            }
            self.unfinished.insert(thread, (begun.trim_end().to_owned(), now));
            return Ok(());
        }
        if text.starts_with("<... close resumed>") {
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix("<... ") {
            let (_, rest) = rest.split_once("resumed>").ok_or_else(|| trace::shortened(line))?;
            let (begun, began) = self
                .unfinished
                .remove(&thread)
                .ok_or_else(|| format!("it goes on, and never began: {}", trace::shortened(line)))?;
            let whole = begun + rest;
            return self.call(&trace::call(&whole, began)?);
        }
        self.call(&trace::call(text, now)?)
    }

    fn call(&mut self, call: &Call<'_>) -> Result<(), String> {
        match call.name {
            "fsync" | "fdatasync" | "sync" | "syncfs" => return self.synced(call),
            "fork" | "vfork" | "clone" | "clone3" if call.returned.is_some() => {
                return if call.arguments.iter().any(|it| flagged(it, "CLONE_THREAD")) {
                    Ok(())
                } else {
                    Err("it starts another process, which the recorder does not follow".to_owned())
                };
            }
            _ => {}
        }
        // What failed has changed nothing.
        let Some(returned) = call.returned else { return Ok(()) };
        match call.name {
            "openat" => self.open(call, 1, Self::argument(call, 2), returned),
            "open" => self.open(call, 0, Self::argument(call, 1), returned),
            "close" => {
                self.open.remove(&self.descriptor(call, 0)?);
                Ok(())
            }
            "dup" | "dup2" | "dup3" => self.same(call, returned),
            "fcntl"
                if Self::argument(call, 1)
                    .is_some_and(|it| it.has("F_DUPFD") || it.has("F_DUPFD_CLOEXEC")) =>
            {
                self.same(call, returned)
            }
            "lseek" => {
                self.with(call, |opened| opened.position = returned as u64);
                Ok(())
            }
            "read" | "readv" => {
                self.with(call, |opened| opened.position += returned as u64);
                Ok(())
            }
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => self.written(call, returned),
            "ftruncate" | "fallocate" | "truncate" => self.resized(call),
            "rename" | "renameat" | "renameat2" => self.renamed(call),
            "unlink" | "unlinkat" | "rmdir" => self.unlinked(call),
            "mkdir" | "mkdirat" => {
                if let Some(path) = self.inside(call, usize::from(call.name == "mkdirat"))? {
                    self.folders.insert(path.clone());
                    self.events.push(Event::Changed(Change::MakeFolder { path }));
                }
                Ok(())
            }
            "link" | "linkat" => self.linked(call),
            "mmap" => {
                let shared = Self::argument(call, 3)
                    .is_some_and(|it| it.has("MAP_SHARED") || it.has("MAP_SHARED_VALIDATE"));
                let written = Self::argument(call, 2).is_some_and(|it| it.has("PROT_WRITE"));
                match self.opened(self.descriptor(call, 4)?) {
                    Some(_) if shared && written => {
                        Err("it writes through a memory map, which the recorder does not see".to_owned())
                    }
                    _ => Ok(()),
                }
            }
            "io_uring_setup" | "io_uring_enter" | "io_setup" | "io_submit" => {
                Err(format!("it uses {}, which the recorder does not see through", call.name))
            }
            "execve" if !std::mem::replace(&mut self.started, true) => Ok(()),
            "execve" => Err("it becomes another program".to_owned()),
            "chdir" | "fchdir" => Err("it changes its working folder".to_owned()),
            "copy_file_range" | "sendfile" | "splice" => {
                let target = usize::from(call.name != "sendfile") * 2;
                match self.opened(self.descriptor(call, target)?) {
                    Some(_) => Err(format!("it writes with {}", call.name)),
                    None => Ok(()),
                }
            }
            "symlink" | "symlinkat" | "creat" | "openat2" => {
                let touches =
                    (0..call.arguments.len()).any(|at| matches!(self.inside(call, at), Ok(Some(_))));
                if touches { Err(format!("it uses {} in its folder", call.name)) } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    fn argument<'a>(call: &'a Call<'_>, at: usize) -> Option<&'a Argument> {
        call.arguments.get(at)
    }

    fn descriptor(&self, call: &Call<'_>, at: usize) -> Result<i64, String> {
        Self::argument(call, at)
            .and_then(Argument::number)
            .ok_or_else(|| format!("{} has no descriptor: {:?}", call.name, call.arguments.get(at)))
    }

    fn opened(&self, descriptor: i64) -> Option<&Opened> {
        self.open.get(&descriptor).and_then(|at| self.opened.get(*at))
    }

    fn with(&mut self, call: &Call<'_>, act: impl FnOnce(&mut Opened)) {
        let at = self.descriptor(call, 0).ok().and_then(|descriptor| self.open.get(&descriptor));
        if let Some(opened) = at.and_then(|at| self.opened.get_mut(*at)) {
            act(opened);
        }
    }

    /// The path at this argument, within the folder of the store. None when it is elsewhere.
    fn inside(&self, call: &Call<'_>, at: usize) -> Result<Option<PathBuf>, String> {
        let Some(bytes) = Self::argument(call, at).and_then(Argument::bytes) else {
            return Err(format!("{} has no path", call.name));
        };
        let path =
            std::str::from_utf8(bytes).map_err(|_| format!("{} has a path that is no text", call.name))?;
        let mut path = PathBuf::from(path);
        if path.is_relative() {
            let base = at.checked_sub(1).and_then(|before| Self::argument(call, before));
            path = match base.and_then(Argument::number).and_then(|descriptor| self.opened(descriptor)) {
                Some(Opened { what: What::Folder(folder), .. }) => self.root.join(folder).join(path),
                _ => std::env::current_dir().map_err(|error| error.to_string())?.join(path),
            };
        }
        let mut plain = PathBuf::new();
        for component in path.components() {
            match component {
                Component::ParentDir => drop(plain.pop()),
                Component::CurDir => {}
                other => plain.push(other),
            }
        }
        Ok(plain.strip_prefix(&self.root).ok().map(Path::to_owned))
    }

    fn open(
        &mut self,
        call: &Call<'_>,
        at: usize,
        flags: Option<&Argument>,
        descriptor: i64,
    ) -> Result<(), String> {
        let flag = |name: &str| flags.is_some_and(|flags| flags.has(name));
        // A descriptor of the same number was closed by something that is not recorded.
        self.open.remove(&descriptor);
        let Some(path) = self.inside(call, at)? else { return Ok(()) };
        if flag("O_TMPFILE") {
            return Err("it makes a file without a name".to_owned());
        }
        let what = if path == Path::new("") || self.folders.contains(&path) {
            What::Folder(path)
        } else if let Some(file) = self.names.get(&path) {
            What::File(*file)
        } else if flag("O_CREAT") {
            let file = FileId(self.sizes.len());
            self.sizes.push(0);
            self.names.insert(path.clone(), file);
            self.events.push(Event::Changed(Change::Name { path, file }));
            What::File(file)
        } else {
            return Err(format!("it opens {}, and nobody has made that", path.display()));
        };
        if let What::File(file) = what
            && flag("O_TRUNC")
        {
            self.resize(file, 0);
        }
        let synced = flag("O_SYNC") || flag("O_DSYNC");
        self.open.insert(descriptor, self.opened.len());
        self.opened.push(Opened { what, position: 0, appends: flag("O_APPEND"), synced });
        Ok(())
    }

    fn same(&mut self, call: &Call<'_>, returned: i64) -> Result<(), String> {
        match self.open.get(&self.descriptor(call, 0)?) {
            Some(at) => self.open.insert(returned, *at),
            None => self.open.remove(&returned),
        };
        Ok(())
    }

    fn resize(&mut self, file: FileId, size: u64) {
        if self.sizes[file.0] != size {
            self.sizes[file.0] = size;
            self.events.push(Event::Changed(Change::Resize { file, size }));
        }
    }

    fn written(&mut self, call: &Call<'_>, returned: i64) -> Result<(), String> {
        let descriptor = self.descriptor(call, 0)?;
        let mut bytes = Vec::new();
        match Self::argument(call, 1) {
            Some(Argument::Bytes(written)) => bytes.extend(written),
            Some(Argument::List(parts)) => {
                for part in parts {
                    let Argument::List(part) = part else { return Err("a vector without parts".to_owned()) };
                    bytes.extend(part.first().and_then(Argument::bytes).unwrap_or_default());
                }
            }
            _ => {}
        }
        if descriptor == 1 {
            return self.said(&bytes);
        }
        let Some(at) = self.open.get(&descriptor).copied() else { return Ok(()) };
        let opened = &mut self.opened[at];
        let What::File(file) = opened.what else { return Ok(()) };
        let count = usize::try_from(returned).map_err(|_| "a negative count")?;
        if bytes.len() < count {
            return Err(format!("{count} bytes were written, and {} are in the trace", bytes.len()));
        }
        bytes.truncate(count);
        let positioned = call.name.starts_with('p');
        let offset = match positioned.then(|| Self::argument(call, 3).and_then(Argument::number)) {
            Some(None) => return Err(format!("{} has no offset", call.name)),
            // Linux appends even then.
            _ if opened.appends => self.sizes[file.0],
            Some(Some(offset)) if offset >= 0 => offset as u64,
            _ => opened.position,
        };
        let end = offset + count as u64;
        if !positioned {
            opened.position = end;
        }
        let synced = opened.synced;
        self.sizes[file.0] = self.sizes[file.0].max(end);
        self.events.push(Event::Changed(Change::Write { file, offset, bytes }));
        if synced {
            let covers = self.events.len();
            self.events.push(Event::Synced { what: Synced::File(file), covers });
        }
        Ok(())
    }

    fn said(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.saying.extend(bytes);
        while let Some(end) = self.saying.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.saying.drain(..=end).collect();
            let mark = String::from_utf8_lossy(&line).trim_end().parse()?;
            self.events.push(Event::Said(mark));
        }
        Ok(())
    }

    fn resized(&mut self, call: &Call<'_>) -> Result<(), String> {
        let number = |at: usize| {
            let number = Self::argument(call, at).and_then(Argument::number);
            number
                .and_then(|number| u64::try_from(number).ok())
                .ok_or_else(|| format!("{} without a size", call.name))
        };
        let file = if call.name == "truncate" {
            self.inside(call, 0)?.and_then(|path| self.names.get(&path).copied())
        } else {
            match self.opened(self.descriptor(call, 0)?) {
                Some(Opened { what: What::File(file), .. }) => Some(*file),
                _ => None,
            }
        };
        let Some(file) = file else { return Ok(()) };
        if call.name != "fallocate" {
            self.resize(file, number(1)?);
            return Ok(());
        }
        let mode = Self::argument(call, 1).ok_or("fallocate without a mode")?;
        let (offset, length) = (number(2)?, number(3)?);
        if mode.number() == Some(0) {
            self.resize(file, self.sizes[file.0].max(offset + length));
        } else if mode.has("FALLOC_FL_PUNCH_HOLE") {
            // What is punched out reads as zeros. It is a change of bytes that a loss of power may undo.
            let end = (offset + length).min(self.sizes[file.0]);
            let bytes = vec![0; end.saturating_sub(offset) as usize];
            self.events.push(Event::Changed(Change::Write { file, offset, bytes }));
        } else if !matches!(mode, Argument::Word(word) if word == "FALLOC_FL_KEEP_SIZE") {
            return Err(format!("it uses fallocate with {mode:?}"));
        }
        Ok(())
    }

    fn renamed(&mut self, call: &Call<'_>) -> Result<(), String> {
        let at = if call.name == "rename" { (0, 1) } else { (1, 3) };
        if Self::argument(call, 4).is_some_and(|flags| flags.has("RENAME_EXCHANGE")) {
            return Err("it exchanges two names".to_owned());
        }
        let (from, to) = match (self.inside(call, at.0)?, self.inside(call, at.1)?) {
            (Some(from), Some(to)) => (from, to),
            (None, None) => return Ok(()),
            _ => return Err("it moves a file into its folder, or out of it".to_owned()),
        };
        if let Some(file) = self.names.remove(&from) {
            self.names.insert(to.clone(), file);
        } else if self.folders.contains(&from) {
            let moved = |path: PathBuf| moved(&path, &from, &to).unwrap_or(path);
            self.folders = std::mem::take(&mut self.folders).into_iter().map(moved).collect();
            self.names =
                std::mem::take(&mut self.names).into_iter().map(|(path, file)| (moved(path), file)).collect();
            for opened in &mut self.opened {
                if let What::Folder(path) = &mut opened.what {
                    *path = moved(std::mem::take(path));
                }
            }
        }
        self.events.push(Event::Changed(Change::Rename { from, to }));
        Ok(())
    }

    fn unlinked(&mut self, call: &Call<'_>) -> Result<(), String> {
        let Some(path) = self.inside(call, usize::from(call.name == "unlinkat"))? else { return Ok(()) };
        let folder = call.name == "rmdir" || Self::argument(call, 2).is_some_and(|it| it.has("AT_REMOVEDIR"));
        self.events.push(Event::Changed(if folder {
            self.folders.remove(&path);
            Change::RemoveFolder { path }
        } else {
            self.names.remove(&path);
            Change::Unlink { path }
        }));
        Ok(())
    }

    fn linked(&mut self, call: &Call<'_>) -> Result<(), String> {
        let at = if call.name == "link" { (0, 1) } else { (1, 3) };
        let Some(path) = self.inside(call, at.1)? else { return Ok(()) };
        let file = self.inside(call, at.0)?.and_then(|from| self.names.get(&from).copied());
        let file = file.ok_or("it links a file from elsewhere")?;
        self.names.insert(path.clone(), file);
        self.events.push(Event::Changed(Change::Name { path, file }));
        Ok(())
    }

    /// A synchronisation covers what was over when it began, and counts when it returns.
    fn synced(&mut self, call: &Call<'_>) -> Result<(), String> {
        let covers = call.began;
        let what = if matches!(call.name, "sync" | "syncfs") {
            Synced::Everything
        } else {
            match self.opened(self.descriptor(call, 0)?).map(|opened| &opened.what) {
                Some(What::File(file)) => Synced::File(*file),
                Some(What::Folder(path)) => Synced::Folder(path.clone()),
                None => return Ok(()),
            }
        };
        self.events.push(match call.returned {
            Some(_) => Event::Synced { what, covers },
            None => Event::SyncFailed { what, covers },
        });
        Ok(())
    }
}

fn flagged(argument: &Argument, flag: &str) -> bool {
    match argument {
        // `flags=` is not taken off when something stands before it.
        Argument::Word(word) => word.contains(flag),
        Argument::List(parts) => parts.iter().any(|part| flagged(part, flag)),
        Argument::Bytes(_) => false,
    }
}
