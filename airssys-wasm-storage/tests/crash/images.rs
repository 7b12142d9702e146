//! What a disk may hold after the process or the power was cut at one moment of a history.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::history::{Change, Contents, Event, FileId, History, Synced, moved};
use crate::marks::Bounds;
use crate::stores::Numbers;

/// What a disk sector is: written whole, or not at all.
const SECTOR: usize = 512;

/// What reached the disk of what was not synchronised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything: only the process ended.
    Everything,
    /// Names and sizes, but no bytes: what was not synchronised reads as zeros, or as what was there before.
    Metadata,
    /// Names and sizes, and half of the writes, some of them in part.
    Torn,
    /// Nothing.
    Nothing,
}

impl Mode {
    pub(crate) const ALL: [Self; 4] = [Self::Everything, Self::Metadata, Self::Torn, Self::Nothing];
}

impl History {
    /// What was said before the cut.
    pub(crate) fn bounds(&self, mut known: Bounds, cut: usize) -> Bounds {
        for event in &self.events[..cut] {
            if let Event::Said(mark) = event {
                known.note(mark);
            }
        }
        known
    }

    /// One disk that is possible when everything ends before the event `cut`.
    pub(crate) fn image(&self, cut: usize, mode: Mode, numbers: &mut Numbers) -> Contents {
        let durable = self.durable(cut);
        let mut disk = Disk::holding(&self.before);
        for (index, event) in self.events[..cut].iter().enumerate() {
            let Event::Changed(change) = event else { continue };
            if mode == Mode::Everything || durable.contains(&index) {
                disk.apply(change);
                continue;
            }
            match (mode, change) {
                (Mode::Nothing, _) => {}
                (Mode::Metadata, Change::Write { file, offset, bytes }) => {
                    disk.grow(*file, *offset as usize + bytes.len());
                }
                (Mode::Torn, Change::Write { file, offset, bytes }) => {
                    disk.grow(*file, *offset as usize + bytes.len());
                    if numbers.below(2) == 0 {
                        let torn = numbers.below(10) < 3;
                        disk.write(*file, *offset as usize, bytes, |_| !torn || numbers.below(2) == 0);
                    }
                }
                _ => disk.apply(change),
            }
        }
        disk.contents()
    }

    /// The changes that a loss of power before `cut` cannot undo.
    fn durable(&self, cut: usize) -> HashSet<usize> {
        let mut durable = HashSet::new();
        let mut pending: Vec<(usize, Cow<'_, Change>)> = Vec::new();
        for (index, event) in self.events[..cut].iter().enumerate() {
            let (what, covers, failed) = match event {
                Event::Said(_) => continue,
                Event::Changed(change) => {
                    if let Change::Rename { from, to } = change {
                        // What was changed in a folder is synchronised under the name that the folder has then.
                        for (_, earlier) in &mut pending {
                            if let Some(moved) = earlier.after_move(from, to) {
                                *earlier = Cow::Owned(moved);
                            }
                        }
                    }
                    pending.push((index, Cow::Borrowed(change)));
                    continue;
                }
                Event::Synced { what, covers } => (what, *covers, false),
                Event::SyncFailed { what, covers } => (what, *covers, true),
            };
            pending.retain(|(index, change)| {
                let covered = *index < covers
                    && match what {
                        Synced::File(file) => change.file() == Some(*file),
                        Synced::Folder(folder) => change.is_in(folder),
                        Synced::Everything => true,
                    };
                if covered && !failed {
                    durable.insert(*index);
                }
                !covered
            });
        }
        durable
    }
}

/// Files and names that are being changed.
#[derive(Debug, Default)]
struct Disk {
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, FileId>,
    files: HashMap<FileId, Vec<u8>>,
}

impl Disk {
    /// Files that were there before have the first numbers, in the order of their names.
    fn holding(contents: &Contents) -> Self {
        let mut disk = Self { folders: contents.folders.iter().cloned().collect(), ..Self::default() };
        for (number, (path, bytes)) in contents.files.iter().enumerate() {
            disk.names.insert(path.clone(), FileId(number));
            disk.files.insert(FileId(number), bytes.clone());
        }
        disk
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { file, offset, bytes } => self.write(*file, *offset as usize, bytes, |_| true),
            Change::Resize { file, size } => self.files.entry(*file).or_default().resize(*size as usize, 0),
            // A name in a folder that never reached the disk is lost with it.
            Change::Name { path, file } if self.has_folder_of(path) => {
                self.names.insert(path.clone(), *file);
            }
            Change::Rename { from, to } if self.has_folder_of(to) => self.rename(from, to),
            Change::MakeFolder { path } if self.has_folder_of(path) => {
                self.folders.insert(path.clone());
            }
            Change::Unlink { path } => {
                self.names.remove(path);
            }
            Change::RemoveFolder { path } => {
                self.folders.remove(path);
            }
            Change::Name { .. } | Change::Rename { .. } | Change::MakeFolder { .. } => {}
        }
    }

    fn has_folder_of(&self, path: &Path) -> bool {
        path.parent().is_none_or(|folder| folder == Path::new("") || self.folders.contains(folder))
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        if let Some(file) = self.names.remove(from) {
            self.names.insert(to.to_owned(), file);
        } else if self.folders.remove(from) {
            self.folders = std::mem::take(&mut self.folders)
                .into_iter()
                .map(|path| moved(&path, from, to).unwrap_or(path))
                .chain([to.to_owned()])
                .collect();
            self.names = std::mem::take(&mut self.names)
                .into_iter()
                .map(|(path, file)| (moved(&path, from, to).unwrap_or(path), file))
                .collect();
        }
    }

    fn grow(&mut self, file: FileId, size: usize) {
        let bytes = self.files.entry(file).or_default();
        if bytes.len() < size {
            bytes.resize(size, 0);
        }
    }

    /// Writes the sectors of `new` that are `kept`.
    fn write(&mut self, file: FileId, offset: usize, new: &[u8], mut kept: impl FnMut(usize) -> bool) {
        self.grow(file, offset + new.len());
        let bytes = self.files.entry(file).or_default();
        let mut done = 0;
        while done < new.len() {
            let at = offset + done;
            let count = (SECTOR - at % SECTOR).min(new.len() - done);
            if kept(at / SECTOR) {
                bytes[at..at + count].copy_from_slice(&new[done..done + count]);
            }
            done += count;
        }
    }

    fn contents(mut self) -> Contents {
        // A file with two names is there twice.
        let files = std::mem::take(&mut self.names)
            .into_iter()
            .map(|(path, file)| (path, self.files.get(&file).cloned().unwrap_or_default()))
            .collect();
        Contents { folders: self.folders.into_iter().collect(), files }
    }
}
