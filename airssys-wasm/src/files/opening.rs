//! Walking to a path, one name after the other.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind};
use std::time::SystemTime;
#[cfg(unix)]
use std::time::{Duration, UNIX_EPOCH};

use airssys_wasm_core::runtime::{FileKind, FileRefusal, FileStat, OpenFlags};
use cap_fs_ext::{
    DirExt, FileTypeExt, FollowSymlinks, MetadataExt, OpenOptionsFollowExt, OpenOptionsSyncExt,
};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, FileType, Metadata, OpenOptions};

use super::location::{Location, Place};

/// What was opened.
#[derive(Debug)]
pub(super) enum Handle {
    File(File),
    Directory(Dir),
}

/// Opens the directory that this is in, and gives its name there. The root is in none, and is refused.
pub(super) fn parent(location: &Location) -> Result<(Dir, &str), FileRefusal> {
    let (parent, name) = location.split().ok_or(FileRefusal::NotPermitted)?;
    Ok((directory(&parent)?, name))
}

/// Opens a directory: every name beneath the one before, none of them a symbolic link.
pub(super) fn directory(location: &Location) -> Result<Dir, FileRefusal> {
    let mut directory = Dir::open_ambient_dir("/", ambient_authority()).map_err(refusal)?;
    for name in location.names() {
        directory = match directory.open_dir_nofollow(name) {
            Ok(next) => next,
            Err(failed) => return Err(refused_at(&directory, name, failed)),
        };
    }
    Ok(directory)
}

/// Opens what is at `place`. Only files and directories can be: what else there may be is not touched.
pub(super) fn open(place: &Place, flags: OpenFlags) -> Result<Handle, FileRefusal> {
    let wants_directory = flags.directory || place.is_directory;
    let Some((parent, name)) = place.location.split() else {
        return open_directory(&place.location, flags);
    };
    let parent = directory(&parent)?;
    let found = match parent.symlink_metadata(name) {
        Ok(found) => Some(found.file_type()),
        Err(failed) if failed.kind() == ErrorKind::NotFound => None,
        Err(failed) => return Err(refusal(failed)),
    };
    match found {
        Some(kind) if kind.is_dir() => return open_directory(&place.location, flags),
        Some(kind) if kind.is_symlink() => return Err(FileRefusal::Loop),
        Some(_) if wants_directory => return Err(FileRefusal::NotDirectory),
        Some(kind) if !kind.is_file() => return Err(FileRefusal::NotPermitted),
        None if wants_directory && flags.create => return Err(FileRefusal::Invalid),
        Some(_) | None => {}
    }
    let mut options = OpenOptions::new();
    options
        .read(flags.read || !flags.write)
        .write(flags.write || flags.truncate || flags.create)
        .truncate(flags.truncate)
        .create(flags.create && !flags.exclusive)
        .create_new(flags.create && flags.exclusive)
        .follow(FollowSymlinks::No)
        // A pipe that took the place of the file would make the host wait for somebody to write.
        .nonblock(true);
    let file =
        parent.open_with(name, &options).map_err(|failed| refused_at(&parent, name, failed))?.into_std();
    if !file.metadata().map_err(refusal)?.is_file() {
        return Err(FileRefusal::NotPermitted);
    }
    Ok(Handle::File(file))
}

fn open_directory(location: &Location, flags: OpenFlags) -> Result<Handle, FileRefusal> {
    if flags.create && flags.exclusive {
        return Err(FileRefusal::Exist);
    }
    if flags.write || flags.truncate || flags.create {
        return Err(FileRefusal::IsDirectory);
    }
    directory(location).map(Handle::Directory)
}

/// Opens it once more, for writing at its end wherever that will be.
pub(super) fn open_to_append(location: &Location, same: &File) -> Result<File, FileRefusal> {
    let (parent, name) = parent(location)?;
    let mut options = OpenOptions::new();
    options.append(true).follow(FollowSymlinks::No).nonblock(true);
    let file =
        parent.open_with(name, &options).map_err(|failed| refused_at(&parent, name, failed))?.into_std();
    // Somebody may have put another file in its place.
    if identity_of(&file)? == identity_of(same)? { Ok(file) } else { Err(FileRefusal::BadDescriptor) }
}

fn identity_of(file: &File) -> Result<(u64, u64), FileRefusal> {
    let known = Metadata::from_file(file).map_err(refusal)?;
    Ok((MetadataExt::dev(&known), MetadataExt::ino(&known)))
}

/// What is at `location`; of a symbolic link, the link.
pub(super) fn stat_at(location: &Location, key: &RandomState) -> Result<FileStat, FileRefusal> {
    let known = match location.split() {
        Some((parent, name)) => directory(&parent)?.symlink_metadata(name),
        None => directory(location)?.dir_metadata(),
    };
    known.map(|known| stat(&known, key)).map_err(refusal)
}

impl Handle {
    pub(super) fn stat(&self, key: &RandomState) -> Result<FileStat, FileRefusal> {
        let known = match self {
            Self::File(file) => Metadata::from_file(file),
            Self::Directory(directory) => directory.dir_metadata(),
        };
        known.map(|known| stat(&known, key)).map_err(refusal)
    }
}

fn stat(known: &Metadata, key: &RandomState) -> FileStat {
    let time =
        |time: io::Result<cap_std::time::SystemTime>| time.ok().map(cap_std::time::SystemTime::into_std);
    FileStat {
        kind: kind(known.file_type()),
        links: MetadataExt::nlink(known),
        size: known.len(),
        accessed: time(known.accessed()),
        modified: time(known.modified()),
        changed: changed(known),
        identity: identity(known, key),
    }
}

/// A number that says nothing of the file system but whether two files are one.
fn identity(known: &Metadata, key: &RandomState) -> u128 {
    let (device, number) = (MetadataExt::dev(known), MetadataExt::ino(known));
    u128::from(key.hash_one((device, number))) << 64 | u128::from(key.hash_one((number, device, 0)))
}

#[cfg(unix)]
fn changed(known: &Metadata) -> Option<SystemTime> {
    use cap_std::fs::MetadataExt;
    let seconds = u64::try_from(known.ctime()).ok()?;
    let nanoseconds = u32::try_from(known.ctime_nsec()).ok()?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
}

#[cfg(not(unix))]
fn changed(_: &Metadata) -> Option<SystemTime> {
    None
}

pub(super) fn kind(kind: FileType) -> FileKind {
    if kind.is_file() {
        FileKind::RegularFile
    } else if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_symlink() {
        FileKind::SymbolicLink
    } else if kind.is_block_device() {
        FileKind::BlockDevice
    } else if kind.is_char_device() {
        FileKind::CharacterDevice
    } else if kind.is_fifo() {
        FileKind::Fifo
    } else if kind.is_socket() {
        FileKind::Socket
    } else {
        FileKind::Unknown
    }
}

/// Why a name could not be opened. Systems disagree about what they say of a symbolic link.
fn refused_at(directory: &Dir, name: &str, failed: io::Error) -> FileRefusal {
    match directory.symlink_metadata(name) {
        Ok(found) if found.is_symlink() => FileRefusal::Loop,
        _ => refusal(failed),
    }
}

/// What the guest is told of a failure of the system.
#[expect(clippy::needless_pass_by_value, reason = "what `map_err` calls")]
pub(super) fn refusal(failed: io::Error) -> FileRefusal {
    match failed.kind() {
        ErrorKind::NotFound => FileRefusal::NoEntry,
        // The system's own rights: none of the host's grants would help.
        ErrorKind::PermissionDenied => FileRefusal::NotPermitted,
        ErrorKind::AlreadyExists => FileRefusal::Exist,
        ErrorKind::WouldBlock => FileRefusal::WouldBlock,
        ErrorKind::NotADirectory => FileRefusal::NotDirectory,
        ErrorKind::IsADirectory => FileRefusal::IsDirectory,
        ErrorKind::DirectoryNotEmpty => FileRefusal::NotEmpty,
        ErrorKind::ReadOnlyFilesystem => FileRefusal::ReadOnly,
        ErrorKind::InvalidInput => FileRefusal::Invalid,
        ErrorKind::InvalidFilename => FileRefusal::NameTooLong,
        ErrorKind::StorageFull => FileRefusal::InsufficientSpace,
        ErrorKind::NotSeekable => FileRefusal::InvalidSeek,
        ErrorKind::QuotaExceeded => FileRefusal::Quota,
        ErrorKind::FileTooLarge => FileRefusal::FileTooLarge,
        ErrorKind::ResourceBusy => FileRefusal::Busy,
        ErrorKind::ExecutableFileBusy => FileRefusal::TextFileBusy,
        ErrorKind::Deadlock => FileRefusal::Deadlock,
        ErrorKind::CrossesDevices => FileRefusal::CrossDevice,
        ErrorKind::TooManyLinks => FileRefusal::TooManyLinks,
        ErrorKind::Interrupted => FileRefusal::Interrupted,
        ErrorKind::Unsupported => FileRefusal::Unsupported,
        ErrorKind::OutOfMemory => FileRefusal::InsufficientMemory,
        _ => FileRefusal::Io,
    }
}
