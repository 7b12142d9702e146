//! An engine made to be broken: a sorted map in memory and a log of its changes. Without a flaw it keeps every promise.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::{Durability, Order, StorageProfile, Survives};
use airssys_wasm_storage::{EngineError, KeyValueEngine, Write};

/// What is wrong with a saboteur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// It never synchronises.
    NoSync,
    /// It synchronises every second time.
    EverySecondSync,
    /// It writes a group when the next one comes.
    AcknowledgedBeforeWritten,
    /// It writes a group as two.
    TwoHalves,
    /// After a crash it takes the last group for a torn one.
    RecoveryDropsTheLast,
    /// After a crash it removes the file that it has just read, and goes on without a name.
    RecoveryForgets,
    /// It takes a failed synchronisation for a good one.
    SyncErrorSwallowed,
}

impl Flaw {
    /// Each, with the name of the store that has it and the contract that says so.
    pub(crate) const ALL: [(&'static str, Self, &'static str); 7] = [
        ("no_sync", Self::NoSync, "storage.immediate.survives_power_loss"),
        ("every_second_sync", Self::EverySecondSync, "storage.immediate.survives_power_loss"),
        ("acknowledged_before_written", Self::AcknowledgedBeforeWritten, "storage.immediate.survives_kill"),
        ("two_halves", Self::TwoHalves, "storage.commit.is_atomic"),
        ("recovery_drops_the_last", Self::RecoveryDropsTheLast, "storage.immediate.survives_kill"),
        ("recovery_forgets", Self::RecoveryForgets, "storage.recovery.twice"),
        ("sync_error_swallowed", Self::SyncErrorSwallowed, "storage.fsync.failure_poisons"),
    ];

    /// The flaw of the store with this name.
    pub(crate) fn named(store: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, ..)| *name == store).map(|(_, flaw, _)| *flaw)
    }
}

/// `length u32 | crc32c u32 | kind u8 | changes`, one after another; the first that does not match ends the log.
#[derive(Debug)]
pub(crate) struct LogEngine {
    place: String,
    flaw: Option<Flaw>,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    log: File,
    map: BTreeMap<Vec<u8>, Vec<u8>>,
    syncs: u64,
    /// What a saboteur has acknowledged and not written.
    held: Vec<u8>,
}

const GROUP: u8 = 1;
/// The log was closed: nothing behind the last group was lost.
const CLOSED: u8 = 2;

impl LogEngine {
    /// Opens the log in `folder`, or begins one.
    pub(crate) fn open(folder: &Path, flaw: Option<Flaw>) -> Result<Self, EngineError> {
        let path = folder.join("log");
        let state = Self::recover(folder, &path, flaw).map_err(failed)?;
        Ok(Self { place: path.display().to_string(), flaw, state: Mutex::new(Some(state)) })
    }

    fn recover(folder: &Path, path: &Path, flaw: Option<Flaw>) -> io::Result<State> {
        let mut log = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        log.try_lock()?;
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes)?;
        let mut frames = Vec::new();
        let mut end = 0;
        while let Some((kind, changes, length)) = frame(&bytes[end..]) {
            frames.push((kind, changes, end));
            end += length;
        }
        if flaw == Some(Flaw::RecoveryDropsTheLast)
            && let Some((GROUP, _, start)) = frames.last()
        {
            end = *start;
            frames.pop();
        }
        if flaw == Some(Flaw::RecoveryForgets)
            && let Some((GROUP, ..)) = frames.last()
        {
            fs::remove_file(path)?;
        }
        let mut map = BTreeMap::new();
        for (_, changes, _) in frames {
            change(&mut map, decode(changes));
        }
        if end < bytes.len() {
            log.set_len(end as u64)?;
            log.sync_all()?;
        }
        // Always: whoever made the log may have ended before its name was durable.
        log.sync_all()?;
        File::open(folder)?.sync_all()?;
        Ok(State { log, map, syncs: 0, held: Vec::new() })
    }

    fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> Result<T, EngineError> {
        act(self.state().as_mut().ok_or_else(EngineError::closed)?).map_err(failed)
    }
}

impl State {
    fn append(&mut self, writes: &[Write], flaw: Option<Flaw>) -> io::Result<()> {
        let new = seal(GROUP, writes);
        let now = if flaw == Some(Flaw::AcknowledgedBeforeWritten) {
            std::mem::replace(&mut self.held, new)
        } else {
            new
        };
        self.log.write_all(&now)
    }

    fn sync(&mut self, flaw: Option<Flaw>) -> io::Result<()> {
        self.syncs += 1;
        match flaw {
            Some(Flaw::NoSync) => Ok(()),
            Some(Flaw::EverySecondSync) if self.syncs.is_multiple_of(2) => Ok(()),
            Some(Flaw::SyncErrorSwallowed) => {
                let _ = self.log.sync_data();
                Ok(())
            }
            _ => self.log.sync_data(),
        }
    }
}

impl KeyValueEngine for LogEngine {
    fn profile(&self) -> StorageProfile {
        StorageProfile {
            name: "log",
            engine_version: "1",
            persistent: true,
            immediate: Survives::PowerLoss,
            eventual: Survives::PowerLoss,
        }
    }

    fn place(&self) -> &str {
        &self.place
    }

    fn commits_inline(&self) -> bool {
        false
    }

    fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, EngineError> {
        self.with(|state| Ok(state.map.get(key).map(|value| read(value))))
    }

    fn scan(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        order: Order,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.with(|state| {
            let range = state.map.range::<[u8], _>((start, end));
            let _ended = match order {
                Order::Ascending => range.into_iter().try_for_each(|(key, value)| visit(key, value)),
                Order::Descending => range.rev().try_for_each(|(key, value)| visit(key, value)),
            };
            Ok(())
        })
    }

    fn apply(&self, writes: Vec<Write>, durability: Durability) -> Result<(), EngineError> {
        self.with(|state| {
            let (first, second) = match self.flaw {
                Some(Flaw::TwoHalves) => writes.split_at(writes.len() / 2),
                _ => (&writes[..], &[][..]),
            };
            for part in [first, second] {
                if !part.is_empty() {
                    state.append(part, self.flaw)?;
                    if durability == Durability::Immediate {
                        state.sync(self.flaw)?;
                    }
                }
            }
            change(&mut state.map, writes);
            Ok(())
        })
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.with(|state| state.sync(self.flaw))
    }

    fn close(&self) -> Result<(), EngineError> {
        let Some(mut state) = self.state().take() else { return Ok(()) };
        let held = std::mem::take(&mut state.held);
        let closing = [held, seal(CLOSED, &[])].concat();
        state.log.write_all(&closing).and_then(|()| state.sync(self.flaw)).map_err(failed)
    }
}

fn failed(error: io::Error) -> EngineError {
    EngineError::new(StorageFault::Io, error)
}

fn change(map: &mut BTreeMap<Vec<u8>, Vec<u8>>, writes: Vec<Write>) {
    for Write { key, value } in writes {
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}

fn seal(kind: u8, writes: &[Write]) -> Vec<u8> {
    let mut body = vec![kind];
    let mut put = |bytes: &[u8]| {
        body.extend((bytes.len() as u32).to_be_bytes());
        body.extend(bytes);
    };
    for Write { key, value } in writes {
        put(key);
        // An empty value is a value: its bytes come behind a mark.
        put(&value.as_ref().map_or(vec![], |value| [&[1], value.as_slice()].concat()));
    }
    let head = [(body.len() as u32).to_be_bytes(), crc32c::crc32c(&body).to_be_bytes()];
    [head.concat(), body].concat()
}

/// Kind, changes and length of the frame at the start of `bytes`, if it is whole.
fn frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let body = rest.get(..u32::from_be_bytes(*length) as usize)?;
    let (kind, changes) = body.split_first()?;
    (crc32c::crc32c(body) == u32::from_be_bytes(*sum)).then_some((*kind, changes, 8 + body.len()))
}

fn decode(mut changes: &[u8]) -> Vec<Write> {
    let mut take = || {
        let (length, rest) = changes.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        changes = rest;
        Some(part.to_vec())
    };
    let mut writes = Vec::new();
    while let (Some(key), Some(value)) = (take(), take()) {
        writes.push(Write { key, value: value.split_first().map(|(_, value)| value.to_vec()) });
    }
    writes
}
