//! The resources of one instance, by number.
//!
//! Numbers are given and given again in the order of Wasmtime: it shows in the order of what `poll` finds ready.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use airssys_wasm_core::error::{Limit, Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::{Descriptor, DirectoryEntries, FileRefusal};
use airssys_wasm_engine::wasi as streams;

/// What a resource stands for.
#[derive(Clone, Debug)]
pub(super) enum Resource {
    InputStream(Input),
    OutputStream(Output),
    Descriptor(Arc<dyn Descriptor>),
    DirectoryEntries(Arc<dyn DirectoryEntries>),
    /// Why a stream failed.
    Error(FileRefusal),
    Network,
    Pollable {
        /// What is ready, or not yet.
        of: u32,
        /// Whether nobody else needs that.
        owns: bool,
    },
    /// What a pollable of a clock waits for. The guest never has one.
    Deadline(Deadline),
}

/// Where a stream reads.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// It is at its end.
    Empty,
    Piped(SharedInput),
}

/// Where a stream writes.
#[derive(Clone, Debug)]
pub(super) enum Output {
    /// One of the outputs of the guest. All of their streams write into the same lines.
    Stdout,
    Stderr,
    Piped(SharedOutput),
}

/// A stream that a pollable may wait for, too.
pub(super) type SharedInput = Arc<Mutex<streams::Input>>;
pub(super) type SharedOutput = Arc<Mutex<streams::Output>>;

/// When a pollable of a clock is ready.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deadline {
    /// Once other tasks had their turn: a guest that polls with no time to wait must not starve them.
    Past {
        had_turn: bool,
    },
    At(Instant),
    Never,
}

impl Resource {
    /// Its name in WIT.
    fn kind(&self) -> &'static str {
        match self {
            Self::InputStream(_) => "input-stream",
            Self::OutputStream(_) => "output-stream",
            Self::Descriptor(_) => "descriptor",
            Self::DirectoryEntries(_) => "directory-entry-stream",
            Self::Error(_) => "error",
            Self::Network => "network",
            Self::Pollable { .. } => "pollable",
            Self::Deadline(_) => "a deadline",
        }
    }
}

#[derive(Debug)]
pub(super) struct Table {
    entries: Vec<Option<Entry>>,
    /// The last one is used next.
    free: Vec<u32>,
    most: usize,
}

#[derive(Debug)]
struct Entry {
    resource: Resource,
    parent: Option<u32>,
    /// While there are any, it stays.
    children: usize,
}

impl Table {
    pub(super) fn new(most: usize) -> Self {
        Self { entries: Vec::new(), free: Vec::new(), most }
    }

    pub(super) fn add(&mut self, operation: &'static str, resource: Resource) -> Result<u32> {
        self.insert(operation, Entry { resource, parent: None, children: 0 })
    }

    /// Adds a pollable. A parent that it does not own outlives it.
    pub(super) fn subscribe(&mut self, operation: &'static str, of: u32, owns: bool) -> Result<u32> {
        self.entry(operation, of)?;
        let resource = Resource::Pollable { of, owns };
        let rep = self.insert(operation, Entry { resource, parent: Some(of), children: 0 })?;
        self.entry(operation, of)?.children += 1;
        Ok(rep)
    }

    /// Takes out a resource of this name, and what it owns.
    pub(super) fn remove(&mut self, operation: &'static str, kind: &str, rep: u32) -> Result<()> {
        let entry = self.entry(operation, rep)?;
        if entry.resource.kind() != kind {
            return Err(invalid(operation, "the resource is of another type"));
        }
        if entry.children > 0 {
            return Err(invalid(operation, "the resource has children"));
        }
        let parent = entry.parent;
        let owned = if let Resource::Pollable { of, owns: true } = entry.resource { Some(of) } else { None };
        self.release(rep);
        if let Some(parent) = parent {
            self.entry(operation, parent)?.children -= 1;
        }
        if let Some(owned) = owned {
            self.release(owned);
        }
        Ok(())
    }

    pub(super) fn get(&mut self, operation: &'static str, rep: u32) -> Result<&mut Resource> {
        self.entry(operation, rep).map(|entry| &mut entry.resource)
    }

    fn insert(&mut self, operation: &'static str, entry: Entry) -> Result<u32> {
        if let Some(rep) = self.free.pop() {
            self.entries[rep as usize] = Some(entry);
            return Ok(rep);
        }
        let rep = u32::try_from(self.entries.len()).ok().filter(|_| self.entries.len() < self.most);
        let rep = rep.ok_or_else(|| WasmError::limited(operation, Limit::Handles))?;
        self.entries.push(Some(entry));
        Ok(rep)
    }

    fn release(&mut self, rep: u32) {
        self.entries[rep as usize] = None;
        self.free.push(rep);
    }

    fn entry(&mut self, operation: &'static str, rep: u32) -> Result<&mut Entry> {
        let entry = self.entries.get_mut(rep as usize).and_then(Option::as_mut);
        entry.ok_or_else(|| invalid(operation, "there is no such resource"))
    }
}

/// A handle that does not stand for what it should.
pub(super) fn invalid(operation: &'static str, why: &'static str) -> WasmError {
    WasmError::trapped(operation, TrapKind::InvalidHandle).because(why)
}
