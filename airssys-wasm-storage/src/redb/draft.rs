//! A medium under a draft: changes are held in memory until it is known that they may be made.
//!
//! redb writes while it opens: it marks the file as in use, and repairs what a crash left. We want to have looked first: a file
//! that is not ours, is damaged or is of a later format stays as it was, byte for byte. And after a failed write we want to
//! read on, from what opening again would show, without touching the file.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::medium::Medium;

const BLOCK: u64 = 4096;

/// A medium, and the changes that are held back from it.
#[derive(Debug)]
pub(super) struct Draft {
    medium: Arc<dyn Medium>,
    /// Whether changes reach the medium.
    through: AtomicBool,
    cut_off: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    size: u64,
    /// Whole blocks that differ from the medium.
    blocks: BTreeMap<u64, Box<[u8]>>,
    /// Everything that was asked for, in order, to be repeated on the medium. A crash in the middle of that is
    /// to the database as a crash in the middle of its own writing.
    log: Vec<Change>,
}

#[derive(Debug)]
enum Change {
    Write(u64, Box<[u8]>),
    SetSize(u64),
    Sync,
}

impl Draft {
    /// Holds back every change of `medium`.
    pub(super) fn hold(medium: Arc<dyn Medium>) -> io::Result<Self> {
        let size = medium.size()?;
        let held = Mutex::new(Held { size, blocks: BTreeMap::new(), log: Vec::new() });
        Ok(Self { medium, through: AtomicBool::new(false), cut_off: AtomicBool::new(false), held })
    }

    /// Makes the changes that were held back, and all later ones at once.
    pub(super) fn make(&self) -> io::Result<()> {
        let mut held = self.held();
        for change in held.log.drain(..) {
            match change {
                Change::Write(offset, bytes) => self.medium.write(offset, &bytes)?,
                Change::SetSize(size) => self.medium.set_size(size)?,
                Change::Sync => self.medium.sync()?,
            }
        }
        held.blocks.clear();
        self.through.store(true, Ordering::Release);
        Ok(())
    }

    /// From now on every change fails, and none reaches the medium.
    pub(super) fn cut_off(&self) -> Arc<dyn Medium> {
        self.cut_off.store(true, Ordering::Release);
        Arc::clone(&self.medium)
    }

    fn changing(&self) -> io::Result<Option<MutexGuard<'_, Held>>> {
        if self.cut_off.load(Ordering::Acquire) {
            return Err(io::Error::other("the database takes no writes any more"));
        }
        Ok(self.holding())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is held, while changes are held back.
    fn holding(&self) -> Option<MutexGuard<'_, Held>> {
        if self.through.load(Ordering::Acquire) {
            return None;
        }
        let held = self.held();
        // It may have been made while we waited.
        (!self.through.load(Ordering::Acquire)).then_some(held)
    }

    /// The block as the draft shows it.
    fn block(&self, held: &Held, number: u64) -> io::Result<Box<[u8]>> {
        if let Some(block) = held.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK as usize].into_boxed_slice();
        let start = number * BLOCK;
        let there = self.medium.size()?.min(held.size).saturating_sub(start).min(BLOCK);
        if let Some(there) = usize::try_from(there).ok().and_then(|there| block.get_mut(..there))
            && !there.is_empty()
        {
            self.medium.read(start, there)?;
        }
        Ok(block)
    }
}

/// The parts of the blocks that `offset..offset + length` covers: block, range in it, range in the whole.
fn parts(
    offset: u64,
    length: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let position = offset + done as u64;
        let within = (position % BLOCK) as usize;
        let count = (BLOCK as usize - within).min(length - done);
        let part = (position / BLOCK, within..within + count, done..done + count);
        done += count;
        Some(part)
    })
}

impl Medium for Draft {
    fn size(&self) -> io::Result<u64> {
        match self.holding() {
            Some(held) => Ok(held.size),
            None => self.medium.size(),
        }
    }

    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let Some(held) = self.holding() else { return self.medium.read(offset, into) };
        if offset.checked_add(into.len() as u64).is_none_or(|end| end > held.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, whole) in parts(offset, into.len()) {
            let block = self.block(&held, number)?;
            into[whole].copy_from_slice(&block[within]);
        }
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(mut held) = self.changing()? else { return self.medium.write(offset, bytes) };
        let end = offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        for (number, within, whole) in parts(offset, bytes.len()) {
            let mut block = self.block(&held, number)?;
            block[within].copy_from_slice(&bytes[whole]);
            held.blocks.insert(number, block);
        }
        held.size = held.size.max(end);
        held.log.push(Change::Write(offset, bytes.into()));
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let Some(mut held) = self.changing()? else { return self.medium.set_size(size) };
        if size < held.size {
            // What is cut off reads as zeros when the medium grows again.
            held.blocks.split_off(&size.div_ceil(BLOCK));
            let tail = (size % BLOCK) as usize;
            if tail > 0 {
                let mut block = self.block(&held, size / BLOCK)?;
                block[tail..].fill(0);
                held.blocks.insert(size / BLOCK, block);
            }
            let behind = held.size.min(self.medium.size()?).div_ceil(BLOCK);
            for number in size.div_ceil(BLOCK)..behind {
                held.blocks.insert(number, vec![0; BLOCK as usize].into_boxed_slice());
            }
        }
        held.size = size;
        held.log.push(Change::SetSize(size));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        match self.changing()? {
            Some(mut held) => {
                held.log.push(Change::Sync);
                Ok(())
            }
            None => self.medium.sync(),
        }
    }
}

/// How redb sees a draft.
#[derive(Debug)]
pub(super) struct Mounted(pub(super) Arc<Draft>);

impl redb::StorageBackend for Mounted {
    fn len(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_size(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}
