//! Files, for one instance: what `wasi:filesystem` becomes above the engines.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use super::ServiceResult;
use crate::error::Result;

/// Work that has begun. Dropping it abandons the answer; the work itself goes on to its end.
pub type Underway<T, E> = Pin<Box<dyn Future<Output = ServiceResult<T, E>> + Send>>;

/// The files that an instance can reach. Engines ask; what a path means and who may use it is decided here.
pub trait FileService: fmt::Debug + Send + Sync {
    /// The directories that the instance starts from, each with the name that it has for the guest.
    ///
    /// # Errors
    /// An error ends the guest's call.
    fn directories(&self) -> Result<Vec<(String, Arc<dyn Descriptor>)>>;
}

/// No files: a guest finds no directory to start from.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl FileService for NoFiles {
    fn directories(&self) -> Result<Vec<(String, Arc<dyn Descriptor>)>> {
        Ok(Vec::new())
    }
}

/// A file or a directory that an instance has opened.
///
/// # Behavior
/// - Every method asks for the right that it needs, so that a right that was taken back is missed at the next call.
/// - Paths are relative to this directory, and stay beneath it. A symbolic link is never followed.
/// - No method blocks its caller: what takes time is [`Underway`].
///
/// # Errors
/// A [`FileRefusal`] goes to the guest. The outer error ends the guest's call.
pub trait Descriptor: fmt::Debug + Send + Sync {
    /// Whether it is a file or a directory.
    fn kind(&self) -> FileKind;

    /// What it was opened for.
    fn flags(&self) -> OpenFlags;

    /// Opens what is at `path`.
    fn open_at(&self, path: &str, flags: OpenFlags) -> Underway<Arc<dyn Descriptor>, FileRefusal>;

    /// The same file for a stream, which holds some of its bytes: that counts as one more open file.
    ///
    /// # Errors
    /// [`FileRefusal::IsDirectory`]; [`FileRefusal::Quota`] when too many are open.
    fn for_stream(&self) -> ServiceResult<Arc<dyn Descriptor>, FileRefusal>;

    /// At most `length` bytes from `offset` on. No bytes: the end, unless none were asked for.
    fn read(&self, offset: u64, length: usize) -> Underway<Vec<u8>, FileRefusal>;

    /// Writes all of `bytes`.
    fn write(&self, position: WritePosition, bytes: Vec<u8>) -> Underway<(), FileRefusal>;

    /// Cuts it off, or fills it up with zeroes.
    fn set_size(&self, size: u64) -> Underway<(), FileRefusal>;

    /// Sets the times of the last access and the last change.
    fn set_times(&self, accessed: NewTime, modified: NewTime) -> Underway<(), FileRefusal>;

    /// As [`set_times`](Self::set_times), of what is at `path`.
    fn set_times_at(&self, path: &str, accessed: NewTime, modified: NewTime) -> Underway<(), FileRefusal>;

    /// Waits until what was written is on the medium.
    fn sync(&self, what: SyncScope) -> Underway<(), FileRefusal>;

    /// What is known of it.
    fn stat(&self) -> Underway<FileStat, FileRefusal>;

    /// What is known of what is at `path`. A symbolic link is known as one, and refused when it is to be followed.
    fn stat_at(&self, path: &str, follow: bool) -> Underway<FileStat, FileRefusal>;

    /// What is in this directory.
    fn entries(&self) -> Underway<Arc<dyn DirectoryEntries>, FileRefusal>;

    /// Makes a directory.
    fn create_directory_at(&self, path: &str) -> Underway<(), FileRefusal>;

    /// Removes a directory that is empty.
    fn remove_directory_at(&self, path: &str) -> Underway<(), FileRefusal>;

    /// Removes a file.
    fn unlink_file_at(&self, path: &str) -> Underway<(), FileRefusal>;

    /// Gives a file another name: `new_path` in the directory of that [`location`](Self::location).
    fn rename_at(&self, path: &str, location: &str, new_path: &str) -> Underway<(), FileRefusal>;

    /// Makes or reads a link at `path`. No host that follows none makes one: the attempt is recorded, and refused.
    fn link_at(&self, path: &str) -> Underway<Infallible, FileRefusal>;

    /// Its path, as the host names it.
    fn location(&self) -> &str;
}

/// The entries of a directory, in the order of the file system.
pub trait DirectoryEntries: fmt::Debug + Send + Sync {
    /// The next one; none at the end. `.` and `..` are not among them.
    fn next(&self) -> Underway<Option<DirectoryEntry>, FileRefusal>;
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// What it is.
    pub kind: FileKind,
    /// Its name.
    pub name: String,
}

/// What a path leads to: `descriptor-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// None of the others.
    Unknown,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A symbolic link.
    SymbolicLink,
    /// A file.
    RegularFile,
    /// A socket.
    Socket,
}

impl FileKind {
    /// Its name in WASI.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::BlockDevice => "block-device",
            Self::CharacterDevice => "character-device",
            Self::Directory => "directory",
            Self::Fifo => "fifo",
            Self::SymbolicLink => "symbolic-link",
            Self::RegularFile => "regular-file",
            Self::Socket => "socket",
        }
    }
}

/// What a file is opened for: `descriptor-flags` and `open-flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OpenFlags {
    /// Reading it.
    pub read: bool,
    /// Writing it.
    pub write: bool,
    /// Changing what is in a directory.
    pub mutate_directory: bool,
    /// Make a file when there is none.
    pub create: bool,
    /// Fail when there is one.
    pub exclusive: bool,
    /// Fail when it is no directory.
    pub directory: bool,
    /// Begin with an empty file.
    pub truncate: bool,
}

/// Where bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WritePosition {
    /// From this byte on.
    At(u64),
    /// At the end, wherever that is by then.
    End,
}

/// What is to be on the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncScope {
    /// The content.
    Data,
    /// The content and all that is known of the file.
    Everything,
}

/// A time to be set: `new-timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NewTime {
    /// It stays.
    NoChange,
    /// The time of the host.
    Now,
    /// This one.
    At(SystemTime),
}

/// What is known of a file: `descriptor-stat` and `metadata-hash`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// What it is.
    pub kind: FileKind,
    /// How many names it has.
    pub links: u64,
    /// Bytes.
    pub size: u64,
    /// When it was last read, where that is known.
    pub accessed: Option<SystemTime>,
    /// When it was last written.
    pub modified: Option<SystemTime>,
    /// When something of this was last changed.
    pub changed: Option<SystemTime>,
    /// The same for the same file, and only for that, as long as the instance lives. Tells nothing else of it.
    pub identity: u128,
}

/// Declares the codes with their names in WASI, in the order of its `error-code`.
macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident $name:literal $says:literal,)*) => {
        /// Why a guest is refused something of its files: `error-code` of `wasi:filesystem/types`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FileRefusal {
            $($(#[$doc])* $variant,)*
        }

        impl FileRefusal {
            /// Every code, in the order of WASI.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in WASI.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }

        impl fmt::Display for FileRefusal {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $says,)* })
            }
        }
    };
}

refusals! {
    /// No grant covers it.
    Access "access" "nothing grants this",
    /// It would have to wait.
    WouldBlock "would-block" "it would have to wait",
    /// It is under way already.
    Already "already" "it is under way already",
    /// The descriptor is not open for this.
    BadDescriptor "bad-descriptor" "the descriptor is not open for this",
    /// Somebody else uses it.
    Busy "busy" "it is in use",
    /// Two would wait for each other.
    Deadlock "deadlock" "two would wait for each other",
    /// A limit of the component, or of the file system's user.
    Quota "quota" "a limit is reached",
    /// There is one.
    Exist "exist" "it exists",
    /// Larger than files can be.
    FileTooLarge "file-too-large" "the file would be too large",
    /// A name is not text.
    IllegalByteSequence "illegal-byte-sequence" "a name is not Unicode",
    /// It has begun.
    InProgress "in-progress" "it is in progress",
    /// A signal came.
    Interrupted "interrupted" "it was interrupted",
    /// An argument means nothing.
    Invalid "invalid" "an argument is invalid",
    /// The medium failed.
    Io "io" "the medium failed",
    /// It is a directory.
    IsDirectory "is-directory" "it is a directory",
    /// There is a symbolic link on the way.
    Loop "loop" "there is a symbolic link on the way, and none is followed",
    /// No more names for the file.
    TooManyLinks "too-many-links" "the file has too many names",
    /// Too large to be taken at once.
    MessageSize "message-size" "it is too large to be taken at once",
    /// The name is longer than names can be.
    NameTooLong "name-too-long" "the name is too long",
    /// No such device.
    NoDevice "no-device" "there is no such device",
    /// There is none.
    NoEntry "no-entry" "it does not exist",
    /// No locks are left.
    NoLock "no-lock" "no locks are left",
    /// The host has no memory for it.
    InsufficientMemory "insufficient-memory" "there is not enough memory",
    /// The medium is full.
    InsufficientSpace "insufficient-space" "the medium is full",
    /// It is no directory.
    NotDirectory "not-directory" "it is no directory",
    /// There is something in the directory.
    NotEmpty "not-empty" "the directory is not empty",
    /// It was lost.
    NotRecoverable "not-recoverable" "it cannot be recovered",
    /// Files here do not have this.
    Unsupported "unsupported" "this is not supported",
    /// It is no terminal.
    NoTty "no-tty" "it is no terminal",
    /// No such device.
    NoSuchDevice "no-such-device" "there is no such device",
    /// A number does not fit.
    Overflow "overflow" "a number is too large",
    /// No grant can allow it.
    NotPermitted "not-permitted" "this is not permitted",
    /// Nobody reads what is written.
    Pipe "pipe" "nobody reads it",
    /// The file system cannot be written.
    ReadOnly "read-only" "the file system is read-only",
    /// It has no positions.
    InvalidSeek "invalid-seek" "it has no positions",
    /// The file is being executed.
    TextFileBusy "text-file-busy" "the program is running",
    /// On two file systems.
    CrossDevice "cross-device" "these are two file systems",
}

impl std::error::Error for FileRefusal {}
