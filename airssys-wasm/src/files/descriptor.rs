//! A file or directory that an instance has opened.

use std::convert::Infallible;
use std::fs::{File, FileTimes};
use std::io::{self, Write};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use airssys_wasm_core::capability::Access;
use airssys_wasm_core::error::Result;
use airssys_wasm_core::runtime::{
    Descriptor, DirectoryEntries, FileKind, FileRefusal, FileStat, NewTime, OpenFlags, SyncScope, Underway,
    WritePosition,
};
use cap_std::fs::Dir;

use super::entries::Entries;
use super::location::{Location, Place};
use super::opening::{self, Handle, refusal};
use super::{OpenFile, at_once, begin};
use crate::instance::InstanceContext;

/// What the gate is asked for.
#[derive(Clone, Copy)]
enum Right {
    Read,
    Write,
}

/// The answer to whether a call may go on: the outer error ends the guest's call.
type Permission<T> = Result<std::result::Result<T, FileRefusal>>;

/// A file or directory, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct FileDescriptor {
    instance: Arc<InstanceContext>,
    location: Location,
    flags: OpenFlags,
    /// None: a directory that a grant names. It is opened when something of it is asked for.
    opened: Option<Opened>,
}

#[derive(Clone, Debug)]
struct Opened {
    handle: Arc<Handle>,
    /// The same file, open for writing at its end.
    appending: Arc<OnceLock<File>>,
    _counted: Arc<OpenFile>,
}

/// Goes on when the component may, or answers why not.
macro_rules! permitted {
    ($asked:expr) => {
        match $asked {
            Ok(Ok(value)) => value,
            Ok(Err(refused)) => return at_once(Ok(Err(refused))),
            Err(error) => return at_once(Err(error)),
        }
    };
}

impl FileDescriptor {
    /// The directory of a grant.
    pub(crate) fn granted(instance: &Arc<InstanceContext>, path: &str) -> Self {
        let flags = OpenFlags { read: true, mutate_directory: true, ..OpenFlags::default() };
        Self { instance: Arc::clone(instance), location: Location::trusted(path), flags, opened: None }
    }

    /// Counts the call, and asks the gate about `location`.
    fn ask(&self, right: Right, location: &Location) -> Permission<()> {
        self.instance.count_host_call()?;
        Ok(self.check(right, location))
    }

    /// Counts the call, and asks whether this directory may still be listed.
    pub(super) fn ask_to_list(&self) -> Permission<()> {
        self.ask(Right::Read, &self.location)
    }

    fn check(&self, right: Right, location: &Location) -> std::result::Result<(), FileRefusal> {
        let path = location.as_str();
        let access = match right {
            Right::Read => Access::FileRead { path },
            Right::Write => Access::FileWrite { path },
        };
        self.instance.demand(access).map_err(|_| FileRefusal::Access)
    }

    /// As [`ask`](Self::ask), about what a path of the guest leads to.
    fn ask_at(&self, right: Right, path: &str) -> Permission<Place> {
        self.instance.count_host_call()?;
        Ok(self.place(path).and_then(|place| self.check(right, &place.location).map(|()| place)))
    }

    fn place(&self, path: &str) -> std::result::Result<Place, FileRefusal> {
        if self.kind() != FileKind::Directory {
            return Err(FileRefusal::NotDirectory);
        }
        self.location.join(path)
    }

    /// Counts one more open file.
    fn count(&self) -> std::result::Result<OpenFile, FileRefusal> {
        self.instance.open_files.open(self.instance.limits().open_files).ok_or(FileRefusal::Quota)
    }

    /// What was opened, when it is a file.
    fn opened_file(&self) -> std::result::Result<Opened, FileRefusal> {
        let opened = self.opened.clone().filter(|opened| matches!(*opened.handle, Handle::File(_)));
        opened.ok_or(FileRefusal::IsDirectory)
    }

    /// The file, when it was opened for this.
    fn file(&self, right: Right) -> std::result::Result<Opened, FileRefusal> {
        let opened = self.opened_file()?;
        let may = match right {
            Right::Read => self.flags.read,
            Right::Write => self.flags.write,
        };
        if may { Ok(opened) } else { Err(FileRefusal::BadDescriptor) }
    }

    /// Counts the call, asks the gate, and gives the file.
    fn ask_for_file(&self, right: Right) -> Permission<Opened> {
        Ok(self.ask(right, &self.location)?.and_then(|()| self.file(right)))
    }

    /// Opens the directory of a grant, or gives what is open.
    fn handle(&self) -> impl FnOnce() -> std::result::Result<Arc<Handle>, FileRefusal> + Send + use<> {
        let opened = self.opened.clone();
        let location = self.location.clone();
        move || match opened {
            Some(opened) => Ok(opened.handle),
            None => opening::directory(&location).map(|directory| Arc::new(Handle::Directory(directory))),
        }
    }
}

impl Descriptor for FileDescriptor {
    fn kind(&self) -> FileKind {
        match self.opened.as_ref().map(|opened| &*opened.handle) {
            Some(Handle::File(_)) => FileKind::RegularFile,
            Some(Handle::Directory(_)) | None => FileKind::Directory,
        }
    }

    fn flags(&self) -> OpenFlags {
        self.flags
    }

    fn open_at(&self, path: &str, flags: OpenFlags) -> Underway<Arc<dyn Descriptor>, FileRefusal> {
        let changes = flags.write || flags.create || flags.truncate;
        let first = if changes { Right::Write } else { Right::Read };
        let place = permitted!(self.ask_at(first, path));
        if changes && flags.read {
            permitted!(Ok(self.check(Right::Read, &place.location)));
        }
        let counted = permitted!(Ok(self.count()));
        let instance = Arc::clone(&self.instance);
        begin(move || {
            let handle = Arc::new(opening::open(&place, flags)?);
            let opened = Some(Opened { handle, appending: Arc::default(), _counted: Arc::new(counted) });
            let descriptor = Self { instance, location: place.location, flags, opened };
            Ok(Arc::new(descriptor) as Arc<dyn Descriptor>)
        })
    }

    fn for_stream(&self) -> Permission<Arc<dyn Descriptor>> {
        self.instance.count_host_call()?;
        Ok(self.opened_file().and_then(|opened| {
            let opened = Some(Opened { _counted: Arc::new(self.count()?), ..opened });
            Ok(Arc::new(Self { opened, ..self.clone() }) as Arc<dyn Descriptor>)
        }))
    }

    fn read(&self, offset: u64, length: usize) -> Underway<Vec<u8>, FileRefusal> {
        let opened = permitted!(self.ask_for_file(Right::Read));
        begin(move || {
            let mut bytes = vec![0; length];
            let read = read_at(opened.file()?, &mut bytes, offset).map_err(refusal)?;
            bytes.truncate(read);
            Ok(bytes)
        })
    }

    fn write(&self, position: WritePosition, bytes: Vec<u8>) -> Underway<(), FileRefusal> {
        let opened = permitted!(self.ask_for_file(Right::Write));
        let location = self.location.clone();
        begin(move || {
            let file = opened.file()?;
            let WritePosition::At(offset) = position else {
                if opened.appending.get().is_none() {
                    let appending = opening::open_to_append(&location, file)?;
                    let _ = opened.appending.set(appending);
                }
                let mut appending = opened.appending.get().ok_or(FileRefusal::BadDescriptor)?;
                return appending.write_all(&bytes).map_err(refusal);
            };
            write_at(file, &bytes, offset).map_err(refusal)
        })
    }

    fn set_size(&self, size: u64) -> Underway<(), FileRefusal> {
        let opened = permitted!(self.ask_for_file(Right::Write));
        begin(move || opened.file()?.set_len(size).map_err(refusal))
    }

    fn set_times(&self, accessed: NewTime, modified: NewTime) -> Underway<(), FileRefusal> {
        permitted!(self.ask(Right::Write, &self.location));
        let handle = self.handle();
        begin(move || set_times(&*handle()?, accessed, modified))
    }

    fn set_times_at(&self, path: &str, accessed: NewTime, modified: NewTime) -> Underway<(), FileRefusal> {
        let place = permitted!(self.ask_at(Right::Write, path));
        begin(move || {
            let handle = opening::open(&place, OpenFlags { read: true, ..OpenFlags::default() })?;
            set_times(&handle, accessed, modified)
        })
    }

    fn sync(&self, what: SyncScope) -> Underway<(), FileRefusal> {
        let right = if self.flags.write { Right::Write } else { Right::Read };
        permitted!(self.ask(right, &self.location));
        let handle = self.handle();
        begin(move || match (&*handle()?, what) {
            (Handle::File(file), SyncScope::Data) => file.sync_data().map_err(refusal),
            (Handle::File(file), SyncScope::Everything) => file.sync_all().map_err(refusal),
            (Handle::Directory(directory), _) => {
                as_file(directory).and_then(|file| file.sync_all()).map_err(refusal)
            }
        })
    }

    fn stat(&self) -> Underway<FileStat, FileRefusal> {
        permitted!(self.ask(Right::Read, &self.location));
        let (handle, key) = (self.handle(), self.instance.open_files.key.clone());
        begin(move || handle()?.stat(&key))
    }

    fn stat_at(&self, path: &str, follow: bool) -> Underway<FileStat, FileRefusal> {
        let place = permitted!(self.ask_at(Right::Read, path));
        let key = self.instance.open_files.key.clone();
        begin(move || {
            let known = opening::stat_at(&place.location, &key)?;
            match known.kind {
                FileKind::SymbolicLink if follow => Err(FileRefusal::Loop),
                FileKind::Directory => Ok(known),
                _ if place.is_directory => Err(FileRefusal::NotDirectory),
                _ => Ok(known),
            }
        })
    }

    fn entries(&self) -> Underway<Arc<dyn DirectoryEntries>, FileRefusal> {
        permitted!(self.ask(Right::Read, &self.location));
        if self.kind() != FileKind::Directory {
            return at_once(Ok(Err(FileRefusal::NotDirectory)));
        }
        let counted = permitted!(Ok(self.count()));
        let (handle, listed) = (self.handle(), self.clone());
        begin(move || match &*handle()? {
            Handle::Directory(directory) => {
                let entries = Entries::of(listed, directory, counted)?;
                Ok(Arc::new(entries) as Arc<dyn DirectoryEntries>)
            }
            Handle::File(_) => Err(FileRefusal::NotDirectory),
        })
    }

    fn create_directory_at(&self, path: &str) -> Underway<(), FileRefusal> {
        let place = permitted!(self.ask_at(Right::Write, path));
        begin(move || {
            let Some((parent, name)) = place.location.split() else { return Err(FileRefusal::Exist) };
            opening::directory(&parent)?.create_dir(name).map_err(refusal)
        })
    }

    fn remove_directory_at(&self, path: &str) -> Underway<(), FileRefusal> {
        let place = permitted!(self.ask_at(Right::Write, path));
        begin(move || {
            let (parent, name) = opening::parent(&place.location)?;
            parent.remove_dir(name).map_err(refusal)
        })
    }

    fn unlink_file_at(&self, path: &str) -> Underway<(), FileRefusal> {
        let place = permitted!(self.ask_at(Right::Write, path));
        begin(move || {
            let (parent, name) = opening::parent(&place.location)?;
            let is_directory = parent.symlink_metadata(name).map_err(refusal)?.is_dir();
            match (is_directory, place.is_directory) {
                (true, _) => Err(FileRefusal::IsDirectory),
                (false, true) => Err(FileRefusal::NotDirectory),
                (false, false) => parent.remove_file(name).map_err(refusal),
            }
        })
    }

    /// What is moved can be read and written at its new path as it could at the old one: both rights are asked for at both. A
    /// directory is not moved, because what is in it may be covered by other grants there.
    fn rename_at(&self, path: &str, location: &str, new_path: &str) -> Underway<(), FileRefusal> {
        let old = permitted!(self.ask_at(Right::Write, path));
        let new = permitted!(Ok(Location::trusted(location).join(new_path)));
        permitted!(Ok(self.check(Right::Write, &new.location)));
        permitted!(Ok(self.check(Right::Read, &old.location)));
        permitted!(Ok(self.check(Right::Read, &new.location)));
        begin(move || {
            let (from, old_name) = opening::parent(&old.location)?;
            let (to, new_name) = opening::parent(&new.location)?;
            let moved = from.symlink_metadata(old_name).map_err(refusal)?;
            if moved.is_dir() {
                return Err(FileRefusal::Unsupported);
            }
            if !moved.is_file() {
                return Err(FileRefusal::NotPermitted);
            }
            if old.is_directory || new.is_directory {
                return Err(FileRefusal::NotDirectory);
            }
            from.rename(old_name, &to, new_name).map_err(refusal)
        })
    }

    fn link_at(&self, path: &str) -> Underway<Infallible, FileRefusal> {
        permitted!(self.ask_at(Right::Write, path));
        at_once(Ok(Err(FileRefusal::NotPermitted)))
    }

    fn location(&self) -> &str {
        self.location.as_str()
    }
}

impl Opened {
    fn file(&self) -> std::result::Result<&File, FileRefusal> {
        match &*self.handle {
            Handle::File(file) => Ok(file),
            Handle::Directory(_) => Err(FileRefusal::IsDirectory),
        }
    }
}

fn set_times(handle: &Handle, accessed: NewTime, modified: NewTime) -> std::result::Result<(), FileRefusal> {
    let time = |time| match time {
        NewTime::NoChange => None,
        NewTime::Now => Some(SystemTime::now()),
        NewTime::At(time) => Some(time),
    };
    let mut times = FileTimes::new();
    if let Some(accessed) = time(accessed) {
        times = times.set_accessed(accessed);
    }
    if let Some(modified) = time(modified) {
        times = times.set_modified(modified);
    }
    let set = match handle {
        Handle::File(file) => file.set_times(times),
        Handle::Directory(directory) => as_file(directory).and_then(|file| file.set_times(times)),
    };
    set.map_err(refusal)
}

/// The handle of a directory may be one for walking alone.
fn as_file(directory: &Dir) -> io::Result<File> {
    directory.open(".").map(cap_std::fs::File::into_std)
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, bytes, offset)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, bytes, offset)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        let more =
            std::os::windows::fs::FileExt::seek_write(file, &bytes[written..], offset + written as u64)?;
        if more == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        written += more;
    }
    Ok(())
}
