//! Compiled code on disk: found by what it was compiled from and for, and used only when this host wrote it.
//!
//! Loading compiled code is running it. So an entry counts only with a seal, a keyed hash that nobody can make without the
//! key of this folder; and folder and key can be read and written by this user alone. Whatever is wrong with an entry, it
//! is compiled again.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use airssys_wasm_core::error::{ErrorKind, Result, WasmError};

/// Of the files: a change in what they mean takes a new number.
const FORMAT: u32 = 1;
const KEY_FILE: &str = "host.key";
const KEY_LENGTH: usize = 32;
/// How much of a file is read at once.
const PIECE: usize = 128 << 10;

/// A folder of compiled code.
pub struct CodeCache {
    folder: PathBuf,
    key: [u8; KEY_LENGTH],
}

/// Where the code of one binary is, for one engine.
#[derive(Clone, Debug)]
pub struct Entry(String);

/// What compiled code depends on, beside the binary.
#[derive(Clone, Copy, Debug)]
pub struct Environment(blake3::Hash);

impl Environment {
    /// That of code for which all of `settings` are the same: the engine, its version, its options, the processor.
    pub fn of(settings: impl Hash) -> Self {
        let mut environment = HashInto(blake3::Hasher::new());
        settings.hash(&mut environment);
        Self(environment.0.finalize())
    }
}

impl CodeCache {
    /// Opens a folder, made when it is missing.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) when it cannot be made, read or written; [`InvalidConfiguration`](ErrorKind::InvalidConfiguration)
    /// when others may write there, or when it is no folder.
    pub fn open(folder: &Path) -> Result<Self> {
        let failed = |what: &'static str| {
            move |error: io::Error| {
                WasmError::new(ErrorKind::Io, "open code cache")
                    .saying(what)
                    .with("path", folder.display())
                    .because(error)
                    .advising("name a folder that this user can write to, or switch the code cache off")
            }
        };
        make_folder(folder).map_err(failed("the folder of the code cache cannot be made"))?;
        check_owner(folder)?;
        let key = find_key(folder).map_err(failed("the key of the code cache cannot be read or written"))?;
        Ok(Self { folder: folder.to_owned(), key })
    }

    /// Whether there is anything under this name.
    pub fn has(&self, entry: &Entry) -> bool {
        self.seal_path(entry).exists()
    }

    /// What `open` makes of the file, if it is there and sealed by this host.
    ///
    /// While `open` runs, the file holds what [`write`](Self::write) was given: the seal says so, and only this user can read
    /// the key of the seal. Nobody else can put another file under this name between the comparison and then, because only
    /// this user can write to the folder. Another host of this user can, but puts a whole file that it sealed for this name; no
    /// host changes one in place.
    pub fn read<T>(
        &self,
        entry: &Entry,
        open: impl FnOnce(&Path) -> std::result::Result<T, String>,
    ) -> Option<T> {
        match self.try_read(entry, open) {
            Ok(code) => Some(code),
            Err(Unusable::Absent) => None,
            Err(Unusable::Bad(why)) => {
                tracing::warn!(
                    path = %self.code_path(entry).display(), why,
                    "an entry of the code cache is not usable, and is compiled again"
                );
                None
            }
        }
    }

    fn try_read<T>(
        &self,
        entry: &Entry,
        open: impl FnOnce(&Path) -> std::result::Result<T, String>,
    ) -> std::result::Result<T, Unusable> {
        let seal = fs::read(self.seal_path(entry))?;
        let seal: [u8; blake3::OUT_LEN] =
            seal.try_into().map_err(|_| Unusable::Bad("its seal is cut short".into()))?;
        let mut expected = self.start_seal(entry);
        let mut code = File::open(self.code_path(entry))?;
        // Piece by piece, through memory that stays close: to read the file into memory of its own costs as much again.
        let mut piece = vec![0; PIECE];
        loop {
            match code.read(&mut piece)? {
                0 => break,
                read => expected.update(&piece[..read]),
            };
        }
        // Compares in constant time.
        if expected.finalize() != blake3::Hash::from_bytes(seal) {
            return Err(Unusable::Bad("its seal is not that of this host".into()));
        }
        open(&self.code_path(entry)).map_err(Unusable::Bad)
    }

    /// Adds the code. A cache that cannot be written to is a slow one, and no reason to fail.
    pub fn write(&self, entry: &Entry, code: &[u8]) {
        let seal = self.start_seal(entry).update(code).finalize();
        // Whoever reads between the two finds a seal that does not fit, and compiles.
        let written = self
            .put(&self.code_path(entry), code)
            .and_then(|()| self.put(&self.seal_path(entry), seal.as_bytes()));
        if let Err(error) = written {
            tracing::warn!(path = %self.code_path(entry).display(), %error, "compiled code could not be kept");
        }
    }

    /// A hash of the bytes and of what they are for, so that an entry is not valid under another name.
    fn start_seal(&self, entry: &Entry) -> blake3::Hasher {
        let mut seal = blake3::Hasher::new_keyed(&self.key);
        seal.update(entry.0.as_bytes());
        seal
    }

    fn put(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        put(&self.folder, path, bytes, |new, path| fs::rename(new, path))
    }

    fn code_path(&self, entry: &Entry) -> PathBuf {
        self.folder.join(&entry.0).with_extension("cwasm")
    }

    fn seal_path(&self, entry: &Entry) -> PathBuf {
        self.folder.join(&entry.0).with_extension("seal")
    }
}

impl Entry {
    /// The entry of a binary with this hash, for an environment, and for one `flavour` of the code made from it there.
    pub fn new(wasm: blake3::Hash, environment: Environment, flavour: &[u8]) -> Self {
        let mut name = blake3::Hasher::new();
        name.update(&FORMAT.to_le_bytes());
        name.update(flavour);
        name.update(environment.0.as_bytes());
        name.update(wasm.as_bytes());
        Self(name.finalize().to_hex().to_string())
    }
}

impl fmt::Debug for CodeCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeCache").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Why an entry is not taken.
enum Unusable {
    Absent,
    Bad(String),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Absent } else { Self::Bad(error.to_string()) }
    }
}

/// Writes a file that nobody sees until it is complete.
fn put(
    folder: &Path,
    path: &Path,
    bytes: &[u8],
    publish: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let new = folder.join(format!(".new-{}-{number}", std::process::id()));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written =
        options.open(&new).and_then(|mut file| file.write_all(bytes)).and_then(|()| publish(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// # Errors
/// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) when somebody else could put code there.
#[cfg(unix)]
fn check_owner(folder: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;

    let refuse = |what: &'static str, advice: String| {
        Err(WasmError::new(ErrorKind::InvalidConfiguration, "open code cache")
            .saying(what)
            .with("path", folder.display())
            .advising(advice))
    };
    let metadata = fs::metadata(folder).map_err(|error| {
        WasmError::new(ErrorKind::Io, "open code cache").with("path", folder.display()).because(error)
    })?;
    if !metadata.is_dir() {
        return refuse("the code cache is no folder", "name a folder".into());
    }
    if metadata.mode() & 0o022 != 0 {
        return refuse(
            "others can write to the folder of the code cache, and so could make this host run their code",
            format!("run `chmod 700 {}`, or name another folder", folder.display()),
        );
    }
    // Who made a file is whom we run as: there is no other way to ask without unsafe code.
    let probe = folder.join(format!(".owner-{}", std::process::id()));
    let ours = File::create(&probe).and_then(|file| file.metadata()).map(|metadata| metadata.uid());
    let _ = fs::remove_file(&probe);
    match ours {
        Ok(ours) if ours == metadata.uid() => Ok(()),
        Ok(_) => refuse(
            "the folder of the code cache belongs to somebody else",
            "name a folder of the user that runs this host".into(),
        ),
        Err(error) => Err(WasmError::new(ErrorKind::Io, "open code cache")
            .saying("the folder of the code cache cannot be written to")
            .with("path", folder.display())
            .because(error)
            .advising("name a folder that this user can write to, or switch the code cache off")),
    }
}

#[cfg(not(unix))]
fn check_owner(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    Err(WasmError::new(ErrorKind::InvalidConfiguration, "open code cache")
        .saying("the code cache is no folder")
        .with("path", folder.display()))
}

/// The key of this folder, made at first use. Of two hosts that make one at the same time, one wins, and both use it.
fn find_key(folder: &Path) -> io::Result<[u8; KEY_LENGTH]> {
    let path = folder.join(KEY_FILE);
    if let Some(key) = read_key(&path)? {
        return Ok(key);
    }
    let mut key = [0; KEY_LENGTH];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    match put(folder, &path, &key, |new, path| {
        fs::hard_link(new, path)?;
        fs::remove_file(new)
    }) {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match read_key(&path)? {
            Some(key) => Ok(key),
            None => {
                tracing::warn!(path = %path.display(), "the key of the code cache is damaged, and is made anew");
                put(folder, &path, &key, |new, path| fs::rename(new, path))?;
                Ok(key)
            }
        },
        Err(error) => Err(error),
    }
}

/// The key, unless there is none, or none that only this user could read.
fn read_key(path: &Path) -> io::Result<Option<[u8; KEY_LENGTH]>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::mode(&file.metadata()?) & 0o077 != 0 {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(KEY_LENGTH as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes.try_into().ok())
}

/// Hands what is hashed to BLAKE3.
struct HashInto(blake3::Hasher);

impl Hasher for HashInto {
    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        let first = hash.as_bytes().first_chunk().expect("a hash has 32 bytes");
        u64::from_le_bytes(*first)
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}
