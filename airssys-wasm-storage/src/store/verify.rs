//! Reads everything that a store holds and compares it with what the store's books say.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Bound, ControlFlow};

use airssys_wasm_core::error::{Result, StorageFault};
use airssys_wasm_core::storage::{CommitVersion, Key, Namespace, Order, Usage};

use super::layout::{self, Counters, Kind};
use super::{Shared, envelope};
use crate::engine::KeyValueEngine;
use crate::stream::Totals;

const VERIFY: &str = "storage verify";
/// After how many records the progress is told.
const STEP: u64 = 1_000;

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The class: [`StorageFault::Damaged`], [`StorageFault::Format`], or that with which the engine failed.
    pub fault: StorageFault,
    /// In which namespace, if that is known.
    pub namespace: Option<Namespace>,
    /// At which key of the namespace, if it is about one.
    pub key: Option<Vec<u8>>,
    /// What it is: no capital, no full stop.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match (&self.namespace, &self.key) {
            (Some(namespace), Some(key)) => {
                write!(f, " (namespace: {namespace}, key: {})", key.escape_ascii())
            }
            (Some(namespace), None) => write!(f, " (namespace: {namespace})"),
            (None, Some(key)) => write!(f, " (key: {})", key.escape_ascii()),
            (None, None) => Ok(()),
        }
    }
}

pub(super) fn verify<E: KeyValueEngine>(
    shared: &Shared<E>,
    progress: &mut dyn FnMut(Totals),
    found: &mut dyn FnMut(Finding),
) -> Result<Totals> {
    shared.check_open(VERIFY)?;
    let mut audit = Audit::new(found, progress);
    let mut start = Bound::Unbounded;
    let mut last = Vec::new();
    loop {
        let scanned = shared.scan(
            start.as_ref().map(Vec::as_slice),
            Bound::Unbounded,
            Order::Ascending,
            |key, sealed| {
                audit.entry(key, sealed);
                last.clear();
                last.extend_from_slice(key);
                ControlFlow::Continue(())
            },
        );
        let Err(error) = scanned else { break };
        if error.fault == StorageFault::Closed {
            return Err(shared.engine_failed(VERIFY, error));
        }
        audit.find(error.fault, None, None, format!("the engine cannot read on: {}", error.cause));
        audit.books_read &= layout::namespace_of(&last) > 0;
        // Whatever is left of this namespace cannot be reached; what the other ones hold may be.
        let Some(next) = shared.namespaces.id_behind(layout::namespace_of(&last)) else { break };
        last = layout::records_of(next).to_vec();
        start = Bound::Included(last.clone());
    }
    Ok(audit.finish())
}

/// What was read so far.
struct Audit<'a> {
    found: &'a mut dyn FnMut(Finding),
    progress: &'a mut dyn FnMut(Totals),
    names: BTreeMap<u32, Namespace>,
    /// The usage that the books say, and where they are damaged, nothing.
    recorded: BTreeMap<u32, Option<Usage>>,
    counted: BTreeMap<u32, Usage>,
    /// Ids of namespaces that were cleared. What is left of their records is nobody's.
    retired: BTreeSet<u32>,
    /// Whether all books were read, so that records can be compared with them.
    books_read: bool,
    /// No record has a later version.
    limit: Option<u64>,
    totals: Totals,
}

impl<'a> Audit<'a> {
    fn new(found: &'a mut dyn FnMut(Finding), progress: &'a mut dyn FnMut(Totals)) -> Self {
        Self {
            found,
            progress,
            names: BTreeMap::new(),
            recorded: BTreeMap::new(),
            counted: BTreeMap::new(),
            retired: BTreeSet::new(),
            books_read: true,
            limit: None,
            totals: Totals::default(),
        }
    }

    /// Takes what the engine holds, key after key: the books come before the records.
    fn entry(&mut self, stored: &[u8], sealed: &[u8]) {
        let opened = envelope::open(stored, sealed);
        match layout::kind(stored) {
            // It was read when the store was opened.
            Kind::Stamp => {}
            Kind::Name(name) => self.name(name, opened),
            Kind::Usage(namespace) => {
                let usage =
                    opened.and_then(|(_, bytes)| layout::decode_usage(bytes).ok_or(StorageFault::Damaged));
                if let Err(fault) = usage {
                    let name = self.names.get(&namespace).cloned();
                    self.find(fault, name, None, "the usage of a namespace is damaged");
                }
                self.recorded.insert(namespace, usage.ok());
            }
            Kind::Counters => {
                let counters =
                    opened.and_then(|(_, bytes)| Counters::decode(bytes).ok_or(StorageFault::Damaged));
                match counters {
                    Ok(counters) => self.limit = Some(counters.version.max(counters.lease)),
                    Err(fault) => self.find(fault, None, None, "the counters of the store are damaged"),
                }
            }
            Kind::Retired(namespace) => {
                if let Err(fault) = opened {
                    self.find(fault, None, None, "the note that a namespace was cleared is damaged");
                }
                self.retired.insert(namespace);
            }
            Kind::Record(namespace, _) if self.retired.contains(&namespace) => {}
            Kind::Record(namespace, key) => self.record(namespace, key, sealed, opened),
            Kind::Other => {
                self.find(
                    StorageFault::Format,
                    None,
                    Some(stored),
                    "a key of the engine that no store writes",
                );
            }
        }
    }

    fn name(&mut self, name: &[u8], opened: Result<(CommitVersion, &[u8]), StorageFault>) {
        let id = opened.and_then(|(_, id)| {
            let id = id.try_into().map(u32::from_be_bytes).map_err(|_| StorageFault::Damaged)?;
            Ok((id, Namespace::new(name).map_err(|_| StorageFault::Damaged)?))
        });
        match id {
            Ok((id, name)) => match self.names.entry(id) {
                Entry::Vacant(free) => drop(free.insert(name)),
                Entry::Occupied(taken) => {
                    let what = format!("it has the same records as the namespace {}", taken.get());
                    self.find(StorageFault::Damaged, Some(name), None, what);
                }
            },
            Err(fault) => self.find(fault, None, Some(name), "the name of a namespace is damaged"),
        }
    }

    fn record(
        &mut self,
        namespace: u32,
        key: &[u8],
        sealed: &[u8],
        opened: Result<(CommitVersion, &[u8]), StorageFault>,
    ) {
        let bytes = key.len() as u64 + sealed.len().saturating_sub(envelope::HEADER) as u64;
        // Counted by its length, damaged or not: the damage is one finding, and not a second one of the usage.
        let counted = self.counted.entry(namespace).or_default();
        self.totals.namespaces += u64::from(counted.keys == 0);
        counted.keys += 1;
        counted.bytes += bytes + airssys_wasm_core::storage::RECORD_OVERHEAD;
        self.totals.records += 1;
        self.totals.bytes += bytes;
        if self.totals.records.is_multiple_of(STEP) {
            (self.progress)(self.totals);
        }
        let name = self.names.get(&namespace).cloned();
        match opened {
            Err(StorageFault::Format) => {
                self.find(StorageFault::Format, name, Some(key), "a record of a later format");
            }
            Err(fault) => self.find(fault, name, Some(key), "a record does not match its checksum"),
            Ok((version, _)) if self.limit.is_some_and(|limit| version.0 > limit) => {
                let what = format!("a record has the version {}, which no commit has had yet", version.0);
                self.find(StorageFault::Damaged, name, Some(key), what);
            }
            Ok(_) if Key::new(key).is_err() => {
                let what = format!("a record has a key of {} bytes", key.len());
                self.find(StorageFault::Damaged, name, Some(key), what);
            }
            Ok(_) => {}
        }
    }

    fn finish(mut self) -> Totals {
        if self.books_read {
            self.compare();
        }
        (self.progress)(self.totals);
        self.totals
    }

    /// Compares what was counted with the books.
    fn compare(&mut self) {
        let ids: BTreeSet<u32> = self.recorded.keys().chain(self.counted.keys()).copied().collect();
        for id in ids.difference(&self.retired).copied().collect::<Vec<_>>() {
            let counted = self.counted.get(&id).copied().unwrap_or_default();
            let name = self.names.get(&id).cloned();
            if name.is_none() && counted.keys > 0 {
                let what = format!("{} records belong to no namespace", counted.keys);
                self.find(StorageFault::Damaged, None, None, what);
            }
            match self.recorded.get(&id).copied().unwrap_or(Some(Usage::default())) {
                Some(recorded) if recorded != counted => {
                    let what = format!(
                        "the books say {} bytes in {} records, and there are {} bytes in {} records",
                        recorded.bytes, recorded.keys, counted.bytes, counted.keys
                    );
                    self.find(StorageFault::Damaged, name, None, what);
                }
                _ => {}
            }
        }
        if self.limit.is_none() && self.totals.records > 0 {
            self.find(StorageFault::Damaged, None, None, "the counters of the store are missing");
        }
    }

    fn find(
        &mut self,
        fault: StorageFault,
        namespace: Option<Namespace>,
        key: Option<&[u8]>,
        what: impl Into<String>,
    ) {
        (self.found)(Finding { fault, namespace, key: key.map(<[u8]>::to_vec), what: what.into() });
    }
}
