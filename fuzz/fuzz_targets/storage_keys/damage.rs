//! Bytes that are not those that a store wrote: what is read is what was written, or an error.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::time::Duration;

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::{
    Batch, Durability, Key, KeyRange, Namespace, Order, Record, StorageBackend, StorageProfile,
};
use airssys_wasm_fuzz::{wait_for, within};
use airssys_wasm_storage::{
    CheckedExport, EngineError, KeyValueEngine, Maintenance, MemoryEngine, MemoryStore, Store, Write, export,
};
use arbitrary::{Result, Unstructured};

use crate::model::Place;
use crate::steps::fault_of;

/// What reading an export may cost, beside the largest value that a frame can announce.
const COST_OF_IMPORT: usize = 5 << 20;

/// A memory engine that outlives the store above it, as a medium does.
#[derive(Clone, Debug, Default)]
struct Medium(Arc<MemoryEngine>);

impl KeyValueEngine for Medium {
    fn profile(&self) -> StorageProfile {
        self.0.profile()
    }

    fn place(&self) -> &str {
        self.0.place()
    }

    fn commits_inline(&self) -> bool {
        self.0.commits_inline()
    }

    fn get<T>(
        &self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> T,
    ) -> std::result::Result<Option<T>, EngineError> {
        self.0.get(key, read)
    }

    fn scan(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        order: Order,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> std::result::Result<(), EngineError> {
        self.0.scan(start, end, order, visit)
    }

    fn apply(&self, writes: Vec<Write>, durability: Durability) -> std::result::Result<(), EngineError> {
        self.0.apply(writes, durability)
    }

    fn sync(&self) -> std::result::Result<(), EngineError> {
        self.0.sync()
    }

    /// The medium stays when the store goes.
    fn close(&self) -> std::result::Result<(), EngineError> {
        Ok(())
    }
}

impl Medium {
    fn raw(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut records = Vec::new();
        let visit = |key: &[u8], value: &[u8]| {
            records.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        self.scan(Bound::Unbounded, Bound::Unbounded, Order::Ascending, visit).expect("memory is read");
        records
    }

    fn write(&self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.apply(vec![Write { key, value }], Durability::Immediate).expect("memory is written");
    }
}

/// Fills a store and changes bytes underneath. As long as only bytes of values are flipped, what is read is what was written, or an
/// error; after anything else there is no panic, and what is found is called by its name.
pub(crate) fn change_records(input: &mut Unstructured<'_>) -> Result<()> {
    let medium = Medium::default();
    let store = Store::over(medium.clone(), Duration::ZERO).expect("the medium is empty");
    let written = fill(&store, input)?;
    drop(store);

    let mut is_flipped_only = true;
    for _ in 0..input.int_in_range(1..=3)? {
        let raw = medium.raw();
        if raw.is_empty() {
            break;
        }
        let (key, mut value) = raw[input.choose_index(raw.len())?].clone();
        match input.int_in_range(0..=7)? {
            0..=3 if !value.is_empty() => {
                let at = input.choose_index(value.len())?;
                value[at] ^= 1 << input.int_in_range(0..=7)?;
                medium.write(key, Some(value));
            }
            0..=4 => {
                is_flipped_only = false;
                value.truncate(input.int_in_range(0..=value.len())?);
                medium.write(key, Some(value));
            }
            5 => {
                is_flipped_only = false;
                medium.write(key, None);
            }
            6 => {
                is_flipped_only = false;
                let (_, other) = &raw[input.choose_index(raw.len())?];
                medium.write(key, Some(other.clone()));
            }
            _ => {
                is_flipped_only = false;
                let mut key: Vec<u8> = input.arbitrary()?;
                key.truncate(64);
                if !key.is_empty() {
                    medium.write(key, Some(input.arbitrary()?));
                }
            }
        }
    }
    match Store::over(medium, Duration::ZERO) {
        Ok(store) => read_all(&store, &written, is_flipped_only),
        Err(error) => {
            check_fault(fault_of(&error));
        }
    }
    Ok(())
}

fn fill(store: &dyn StorageBackend, input: &mut Unstructured<'_>) -> Result<BTreeMap<Place, Vec<u8>>> {
    let mut written = BTreeMap::new();
    for _ in 0..input.int_in_range(1..=3)? {
        let mut batch = Batch::new();
        for _ in 0..input.int_in_range(1..=4)? {
            let namespace = Namespace::new([*input.choose(b"abc")?]).expect("a name");
            let key = Key::new(vec![*input.choose(b"xyz")?]).expect("a key");
            let length = input.int_in_range(0..=16)?;
            let value = input.bytes(length.min(input.len()))?.to_vec();
            batch.put(&namespace, key.clone(), value.clone());
            written.insert((namespace, key), value);
        }
        wait_for(store.commit(batch, Durability::Immediate)).expect("memory is written");
    }
    Ok(written)
}

fn read_all<E: KeyValueEngine>(store: &Store<E>, written: &BTreeMap<Place, Vec<u8>>, is_flipped_only: bool) {
    let check = |namespace: &Namespace, key: &Key, record: &Record| {
        let expected = written.get(&(namespace.clone(), key.clone()));
        assert!(
            !is_flipped_only || expected == Some(&record.value),
            "{key} of {namespace} reads as {:?} and was written as {expected:?}",
            record.value
        );
    };
    for (namespace, key) in written.keys() {
        match wait_for(store.get(namespace, key)) {
            Ok(Some(record)) => check(namespace, key, &record),
            Ok(None) => {}
            Err(error) => check_fault(fault_of(&error)),
        }
        match wait_for(store.scan(namespace, KeyRange::all(), usize::MAX)) {
            Ok(page) => page.records.iter().for_each(|(key, record)| check(namespace, key, record)),
            Err(error) => check_fault(fault_of(&error)),
        }
        if let Err(error) = wait_for(store.usage(namespace)) {
            check_fault(fault_of(&error));
        }
    }
    let mut findings = 0;
    store.verify(&mut |_| (), &mut |_| findings += 1).expect("memory is read");
    if findings == 0 {
        // What verification finds nothing in can be exported.
        wait_for(export(store, Vec::new(), &mut |_| ())).expect("verified");
    }
    // A damaged store takes writes or refuses them, and goes on answering.
    let mut batch = Batch::new();
    let (namespace, key) = (Namespace::new("a").expect("a name"), Key::new("x").expect("a key"));
    batch.put(&namespace, key.clone(), "new");
    match wait_for(store.commit(batch, Durability::Immediate)) {
        Ok(_) => match wait_for(store.get(&namespace, &key)) {
            Ok(record) => assert_eq!(record.map(|record| record.value), Some(b"new".to_vec())),
            Err(error) => check_fault(fault_of(&error)),
        },
        Err(error) => check_fault(fault_of(&error)),
    }
}

fn check_fault(fault: StorageFault) {
    assert!(
        matches!(fault, StorageFault::Damaged | StorageFault::Format | StorageFault::ReadOnly),
        "damage is called {fault:?}"
    );
}

/// An export is imported as it was written, or not at all; and other bytes are no export.
pub(crate) fn change_export(input: &mut Unstructured<'_>) -> Result<()> {
    let store = MemoryStore::new();
    fill(&store, input)?;
    let mut whole = Vec::new();
    wait_for(export(&store, &mut whole, &mut |_| ())).expect("nobody writes meanwhile");
    let mut changed = whole.clone();
    for _ in 0..input.int_in_range(1..=3)? {
        let at = input.int_in_range(0..=changed.len())?;
        match input.int_in_range(0..=3)? {
            0 => changed.truncate(at),
            1 if at < changed.len() => changed[at] = input.arbitrary()?,
            2 => {
                changed.truncate(at);
                changed.extend_from_slice(input.peek_bytes(input.len()).unwrap_or_default());
            }
            _ => {
                let bytes: [u8; 3] = input.arbitrary()?;
                changed.splice(at..at, bytes);
            }
        }
    }
    let checked = within(COST_OF_IMPORT, || CheckedExport::check(Cursor::new(&changed), &mut |_| ()));
    match checked {
        Ok(checked) => {
            assert_eq!(changed, whole, "a changed export is taken for a whole one");
            let copy = MemoryStore::new();
            wait_for(checked.import_into(&copy, &mut |_| ())).expect("the copy is empty");
            let mut again = Vec::new();
            wait_for(export(&copy, &mut again, &mut |_| ())).expect("nobody writes meanwhile");
            assert_eq!(again, whole);
        }
        Err(error) => check_fault(fault_of(&error)),
    }
    Ok(())
}
