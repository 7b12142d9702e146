//! What happened to the files of a store, in order.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::marks::Mark;

/// A file, whatever its names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FileId(pub(crate) usize);

/// Everything from one start of a program to its end. Paths are relative to the folder of the store.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) before: Contents,
    pub(crate) events: Vec<Event>,
}

/// One step. A `sync` is where it returned, and names the events that it covers: those that were over when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Said(Mark),
    Changed(Change),
    Synced {
        what: Synced,
        covers: usize,
    },
    /// What it covers is lost: the system takes it for written from now on, and no later call writes it.
    SyncFailed {
        what: Synced,
        covers: usize,
    },
}

impl Event {
    /// The file whose bytes it changes.
    pub(crate) fn file(&self) -> Option<FileId> {
        match self {
            Self::Changed(change) => change.file(),
            _ => None,
        }
    }
}

/// What a synchronisation makes durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Synced {
    File(FileId),
    /// The names in it.
    Folder(PathBuf),
    Everything,
}

/// A change of a file, or of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Write {
        file: FileId,
        offset: u64,
        bytes: Vec<u8>,
    },
    Resize {
        file: FileId,
        size: u64,
    },
    /// A file gets a name; the file that had it loses it.
    Name {
        path: PathBuf,
        file: FileId,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    MakeFolder {
        path: PathBuf,
    },
    RemoveFolder {
        path: PathBuf,
    },
}

impl Change {
    /// The file whose bytes it changes.
    pub(crate) fn file(&self) -> Option<FileId> {
        match self {
            Self::Write { file, .. } | Self::Resize { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// The same change, when the folder `from` has become `to` since.
    pub(crate) fn after_move(&self, from: &Path, to: &Path) -> Option<Self> {
        let mut change = self.clone();
        let paths = match &mut change {
            Self::Write { .. } | Self::Resize { .. } => return None,
            Self::Rename { from, to } => vec![from, to],
            Self::Name { path, .. }
            | Self::Unlink { path }
            | Self::MakeFolder { path }
            | Self::RemoveFolder { path } => vec![path],
        };
        let mut any = false;
        for path in paths {
            // The name of the folder itself stays where it was: in the folder that holds it.
            if path != from
                && let Some(new) = moved(path, from, to)
            {
                *path = new;
                any = true;
            }
        }
        any.then_some(change)
    }

    /// Whether it changes the names in `folder`.
    pub(crate) fn is_in(&self, folder: &Path) -> bool {
        let inside = |path: &Path| path.parent() == Some(folder);
        match self {
            Self::Write { .. } | Self::Resize { .. } => false,
            Self::Rename { from, to } => inside(from) || inside(to),
            Self::Name { path, .. }
            | Self::Unlink { path }
            | Self::MakeFolder { path }
            | Self::RemoveFolder { path } => inside(path),
        }
    }
}

/// Where `path` is when `from`, a folder, has become `to`. None: it is elsewhere.
pub(crate) fn moved(path: &Path, from: &Path, to: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(from).ok()?;
    Some(if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) })
}

/// A folder with everything in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Contents {
    /// Reads a folder.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let mut contents = Self::default();
        contents.add(folder, Path::new(""))?;
        contents.folders.sort();
        Ok(contents)
    }

    fn add(&mut self, root: &Path, within: &Path) -> io::Result<()> {
        for entry in fs::read_dir(root.join(within))? {
            let entry = entry?;
            let path = within.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.folders.push(path.clone());
                self.add(root, &path)?;
            } else {
                self.files.insert(path.clone(), fs::read(root.join(&path))?);
            }
        }
        Ok(())
    }

    /// Writes it into an empty folder.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        for path in &self.folders {
            fs::create_dir_all(folder.join(path))?;
        }
        for (path, bytes) in &self.files {
            fs::write(folder.join(path), bytes)?;
        }
        Ok(())
    }
}
