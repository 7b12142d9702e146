//! What is in a directory, a few names at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use airssys_wasm_core::runtime::{DirectoryEntries, DirectoryEntry, FileRefusal, Underway};
use cap_std::fs::{Dir, ReadDir};

use super::descriptor::FileDescriptor;
use super::opening::{kind, refusal};
use super::{OpenFile, at_once, begin};

/// How many entries are read at once.
const BATCH: usize = 64;

/// The entries of a directory, as far as they are not read yet.
#[derive(Debug)]
pub(super) struct Entries {
    listed: FileDescriptor,
    reading: Arc<Mutex<Reading>>,
}

#[derive(Debug)]
struct Reading {
    left: ReadDir,
    read: VecDeque<Result<DirectoryEntry, FileRefusal>>,
    is_at_end: bool,
    _open: OpenFile,
}

impl Entries {
    pub(super) fn of(listed: FileDescriptor, directory: &Dir, open: OpenFile) -> Result<Self, FileRefusal> {
        let left = directory.entries().map_err(refusal)?;
        let reading = Reading { left, read: VecDeque::new(), is_at_end: false, _open: open };
        Ok(Self { listed, reading: Arc::new(Mutex::new(reading)) })
    }
}

impl DirectoryEntries for Entries {
    fn next(&self) -> Underway<Option<DirectoryEntry>, FileRefusal> {
        match self.listed.ask_to_list() {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => return at_once(Ok(Err(refused))),
            Err(error) => return at_once(Err(error)),
        }
        // A reading that was abandoned may still be under way.
        if let Ok(mut reading) = self.reading.try_lock()
            && let Some(next) = reading.next_read()
        {
            return at_once(Ok(next));
        }
        let reading = Arc::clone(&self.reading);
        begin(move || {
            let mut reading = reading.lock().unwrap_or_else(PoisonError::into_inner);
            reading.read_on();
            reading.next_read().unwrap_or(Ok(None))
        })
    }
}

impl Reading {
    /// The next entry; none when more have to be read first.
    fn next_read(&mut self) -> Option<Result<Option<DirectoryEntry>, FileRefusal>> {
        match self.read.pop_front() {
            Some(entry) => Some(entry.map(Some)),
            None => self.is_at_end.then_some(Ok(None)),
        }
    }

    fn read_on(&mut self) {
        while self.read.len() < BATCH && !self.is_at_end {
            match self.left.next() {
                Some(Ok(entry)) => {
                    let name = entry.file_name().into_string().map_err(|_| FileRefusal::IllegalByteSequence);
                    let entry = name.and_then(|name| {
                        let kind = entry.file_type().map(kind).map_err(refusal)?;
                        Ok(DirectoryEntry { kind, name })
                    });
                    self.read.push_back(entry);
                }
                Some(Err(failed)) => {
                    self.read.push_back(Err(refusal(failed)));
                    self.is_at_end = true;
                }
                None => self.is_at_end = true,
            }
        }
    }
}
