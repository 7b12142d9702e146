//! Steps on a memory store, each compared with the model.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use airssys_wasm_core::error::{Detail, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, CommitVersion, Durability, Key, KeyRange, Namespace, Order, Precondition, Quota, StorageBackend,
    StorageTransaction,
};
use airssys_wasm_fuzz::wait_for;
use airssys_wasm_storage::{CheckedExport, Maintenance, MemoryStore, export};
use arbitrary::{Arbitrary, Result, Unstructured};

use crate::model::{Model, Place};

const MAX_STEPS: usize = 40;
const MAX_TRANSACTIONS: usize = 3;

/// What is done to a store, but for where and with what.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Commit,
    Get,
    Scan,
    Pages,
    Usage,
    Namespaces,
    Begin,
    InTransaction,
    EndTransaction,
    Move,
}

pub(crate) fn walk(input: &mut Unstructured<'_>) -> Result<()> {
    let store = MemoryStore::new();
    let mut model = Model::default();
    let mut transactions: Vec<Reader> = Vec::new();
    for _ in 0..MAX_STEPS {
        if input.is_empty() {
            break;
        }
        match input.arbitrary()? {
            Step::Commit => commit(&store, &mut model, input)?,
            Step::Get => {
                let (namespace, key) = place(input)?;
                let found = wait_for(store.get(&namespace, &key)).expect("memory is read");
                assert_eq!(found.as_ref(), model.records.get(&(namespace, key)));
            }
            Step::Scan => {
                let (namespace, range, limit) =
                    (namespace(input)?, range(input)?, input.int_in_range(0..=6)?);
                let mut expected = model.range(&namespace, &range);
                let more = expected.len() > limit;
                expected.truncate(limit);
                let page = wait_for(store.scan(&namespace, range.clone(), limit)).expect("memory is read");
                assert_eq!(
                    (page.records, page.more),
                    (expected, more),
                    "{limit} of {range:?} of {namespace}"
                );
            }
            Step::Pages => pages(&store, &model, input)?,
            Step::Usage => {
                let namespace = namespace(input)?;
                let usage = wait_for(store.usage(&namespace)).expect("memory is read");
                assert_eq!(usage, model.usage(&namespace));
            }
            Step::Namespaces => {
                let after = input.arbitrary::<bool>()?.then(|| namespace(input)).transpose()?;
                let names = wait_for(store.namespaces(after.as_ref(), usize::MAX)).expect("memory is read");
                assert!(names.is_sorted() && names.iter().all(|name| Some(name) > after.as_ref()));
                let holds: BTreeSet<_> = model.records.keys().map(|(namespace, _)| namespace).collect();
                let mut expected = holds.into_iter().filter(|name| Some(*name) > after.as_ref());
                assert!(expected.all(|name| names.contains(name)), "{names:?}");
            }
            Step::Begin if transactions.len() < MAX_TRANSACTIONS => {
                transactions.push(Reader::begin(&store, &model));
            }
            Step::Begin | Step::InTransaction => {
                if let Some(at) = some_index(transactions.len(), input)? {
                    transactions[at].step(input)?;
                }
            }
            Step::EndTransaction => {
                if let Some(at) = some_index(transactions.len(), input)? {
                    let transaction = transactions.swap_remove(at);
                    if input.ratio(3, 4)? {
                        transaction.commit(&mut model);
                    }
                }
            }
            Step::Move => move_all(&store, &model),
        }
    }
    drop(transactions);
    check_all(&store, &model);
    Ok(())
}

fn commit(store: &MemoryStore, model: &mut Model, input: &mut Unstructured<'_>) -> Result<()> {
    let batch = batch(model, input)?;
    let durability = if input.arbitrary()? { Durability::Immediate } else { Durability::Eventual };
    let found = wait_for(store.commit(batch.clone(), durability));
    match (model.commit(&batch), found) {
        (Ok(effect), Ok(outcome)) => {
            assert_eq!(outcome.evicted, effect.evicted, "{batch:?}");
            check_version(effect.writes, model.version, outcome.version);
            let named: BTreeSet<_> = outcome.usage.iter().map(|(namespace, _)| namespace).collect();
            assert_eq!(named.len(), outcome.usage.len(), "{:?}", outcome.usage);
            assert!(batch.changes().iter().all(|change| named.contains(change.namespace())), "{batch:?}");
            for (namespace, usage) in &outcome.usage {
                assert_eq!(*usage, effect.after.usage(namespace), "{namespace} after {batch:?}");
            }
            *model = effect.stamped(outcome.version);
        }
        (Err(fault), Err(error)) => assert_eq!(fault_of(&error), fault, "{batch:?}: {error}"),
        (expected, found) => panic!("{batch:?}: {expected:?} was expected, {found:?} was found"),
    }
    Ok(())
}

fn batch(model: &Model, input: &mut Unstructured<'_>) -> Result<Batch> {
    let mut batch = Batch::new();
    for _ in 0..input.int_in_range(0..=5)? {
        let (namespace, key) = place(input)?;
        match input.int_in_range(0..=9)? {
            0..=3 => batch.put(&namespace, key, value(input)?),
            4 | 5 => batch.replace(&namespace, key, value(input)?),
            6 | 7 => batch.delete(&namespace, key),
            8 => batch.clear(&namespace),
            _ => {
                let known = model.records.get(&(namespace.clone(), key.clone())).map(|record| record.version);
                let precondition = match input.int_in_range(0..=3)? {
                    0 => Precondition::Absent,
                    1 => Precondition::Present,
                    2 => Precondition::Version(CommitVersion(input.int_in_range(0..=model.version.0 + 1)?)),
                    _ => known.map_or(Precondition::Absent, Precondition::Version),
                };
                batch.require(&namespace, key, precondition)
            }
        };
    }
    if input.ratio(1, 4)? {
        let namespace = namespace(input)?;
        let usage = model.usage(&namespace);
        let bytes = (usage.bytes + input.int_in_range(0..=150)?).saturating_sub(60);
        let keys = (usage.keys + input.int_in_range(0..=3)?).saturating_sub(1);
        batch.limit(&namespace, Quota { bytes, keys });
    }
    Ok(batch)
}

/// A commit that writes gets a later version; one that does not may get the one before.
fn check_version(writes: bool, before: CommitVersion, version: CommitVersion) {
    assert!(version > before || (!writes && version == before), "{version:?} follows {before:?}");
}

/// Page after page, each behind the last key of the one before: every record once.
fn pages(store: &MemoryStore, model: &Model, input: &mut Unstructured<'_>) -> Result<()> {
    let (namespace, mut range) = (namespace(input)?, range(input)?);
    let expected = model.range(&namespace, &range);
    let limit = input.int_in_range(1..=3)?;
    let mut found = Vec::new();
    loop {
        let page = wait_for(store.scan(&namespace, range.clone(), limit)).expect("memory is read");
        assert!(page.records.len() <= limit);
        found.extend(page.records);
        match found.last() {
            Some((last, _)) if page.more => range = range.after(last.as_bytes()),
            _ => break assert!(!page.more, "an empty page with more behind it"),
        }
    }
    assert_eq!(found, expected, "{namespace}");
    Ok(())
}

/// Exported and imported again, a store holds the same.
fn move_all(store: &MemoryStore, model: &Model) {
    let mut bytes = Vec::new();
    let exported = wait_for(export(store, &mut bytes, &mut |_| ())).expect("nobody writes meanwhile");
    assert_eq!(exported.contents.totals.records, model.records.len() as u64);
    let checked = CheckedExport::check(Cursor::new(&bytes), &mut |_| ()).expect("it was just exported");
    assert_eq!(checked.contents(), exported.contents);
    let copy = MemoryStore::new();
    wait_for(checked.import_into(&copy, &mut |_| ())).expect("the copy is empty");
    for (namespace, key) in model.records.keys() {
        let found = wait_for(copy.get(namespace, key)).expect("memory is read").map(|record| record.value);
        let expected =
            model.records.get(&(namespace.clone(), key.clone())).map(|record| record.value.clone());
        assert_eq!(found, expected);
    }
    let mut again = Vec::new();
    wait_for(export(&copy, &mut again, &mut |_| ())).expect("nobody writes meanwhile");
    assert_eq!(again, bytes);
}

fn check_all(store: &MemoryStore, model: &Model) {
    for namespace in NAMESPACES.map(|name| Namespace::new(name).expect("a name")) {
        let page = wait_for(store.scan(&namespace, KeyRange::all(), usize::MAX)).expect("memory is read");
        assert_eq!(page.records, model.range(&namespace, &KeyRange::all()));
    }
    let mut findings = Vec::new();
    let totals = store.verify(&mut |_| (), &mut |finding| findings.push(finding)).expect("memory is read");
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(totals.records, model.records.len() as u64);
}

/// A transaction and what it should see.
struct Reader {
    transaction: Box<dyn StorageTransaction>,
    /// The store when it began.
    moment: Model,
    writes: BTreeMap<Place, Option<Vec<u8>>>,
    limits: BTreeMap<Namespace, Quota>,
    /// What it has surely read of the store itself.
    read: BTreeSet<Place>,
    /// Ranges that it has surely read.
    ranges: Vec<(Namespace, KeyRange)>,
    /// What it may count as read beside that.
    may_be_read: Vec<(Namespace, KeyRange)>,
}

impl Reader {
    fn begin(store: &MemoryStore, model: &Model) -> Self {
        let transaction = wait_for(store.begin()).expect("the store is open");
        assert_eq!(transaction.version(), model.version);
        Self {
            transaction,
            moment: model.clone(),
            writes: BTreeMap::new(),
            limits: BTreeMap::new(),
            read: BTreeSet::new(),
            ranges: Vec::new(),
            may_be_read: Vec::new(),
        }
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let (namespace, key) = place(input)?;
        match input.int_in_range(0..=6)? {
            0 | 1 => self.get(&namespace, &key),
            2 | 3 => {
                let value = value(input)?;
                self.transaction.put(&namespace, key.clone(), value.clone()).expect("it is small");
                self.writes.insert((namespace, key), Some(value));
            }
            4 => {
                self.transaction.delete(&namespace, key.clone()).expect("it is small");
                self.writes.insert((namespace, key), None);
            }
            5 => {
                let (bytes, keys) = (input.int_in_range(0..=400)?, input.int_in_range(0..=6)?);
                self.transaction.limit(&namespace, Quota { bytes, keys });
                self.limits.insert(namespace, Quota { bytes, keys });
            }
            _ => self.scan(&namespace, &range(input)?, input.int_in_range(0..=4)?),
        }
        Ok(())
    }

    fn get(&mut self, namespace: &Namespace, key: &Key) {
        let found = wait_for(self.transaction.get(namespace, key)).expect("memory is read");
        let place = (namespace.clone(), key.clone());
        let stored = || self.moment.records.get(&place).map(|record| record.value.clone());
        assert_eq!(found, self.writes.get(&place).cloned().unwrap_or_else(stored), "{key} of {namespace}");
        if !self.writes.contains_key(&place) {
            self.read.insert(place);
        }
    }

    fn scan(&mut self, namespace: &Namespace, range: &KeyRange, limit: usize) {
        let page = wait_for(self.transaction.scan(namespace, range.clone(), limit)).expect("memory is read");
        let mut expected: BTreeMap<Key, Vec<u8>> = self
            .moment
            .range(namespace, range)
            .into_iter()
            .map(|(key, record)| (key, record.value))
            .collect();
        for ((other, key), value) in &self.writes {
            if other == namespace && range.contains(key.as_bytes()) {
                match value {
                    Some(value) => expected.insert(key.clone(), value.clone()),
                    None => expected.remove(key),
                };
            }
        }
        let mut expected: Vec<_> = expected.into_iter().collect();
        if range.order() == Order::Descending {
            expected.reverse();
        }
        assert!(
            page.records.len() <= limit && expected.starts_with(&page.records),
            "{page:?} of {expected:?}"
        );
        assert!(page.more || page.records.len() == expected.len(), "{page:?} of {expected:?} ends too early");
        assert!(!page.more || limit == 0 || !page.records.is_empty(), "nobody can go on behind {page:?}");
        self.may_be_read.push((namespace.clone(), range.clone()));
        match page.records.last() {
            Some((last, _)) if page.more => {
                // Up to the last key, which the part behind it does not have.
                let behind = range.clone().after(last.as_bytes());
                let seen = self.moment.range(namespace, range).into_iter().map(|(key, _)| key);
                self.read.extend(
                    seen.filter(|key| !behind.contains(key.as_bytes()))
                        .map(|key| (namespace.clone(), key))
                        .filter(|place| !self.writes.contains_key(place)),
                );
            }
            _ if page.more => {}
            _ if self.writes.keys().all(|(other, _)| other != namespace) => {
                self.ranges.push((namespace.clone(), range.clone()));
            }
            _ => {}
        }
    }

    /// Commits, and applies what it wrote to the model if it should be.
    fn commit(self, model: &mut Model) {
        let mut batch = Batch::new();
        for ((namespace, key), value) in &self.writes {
            match value {
                Some(value) => batch.put(namespace, key.clone(), value.clone()),
                None => batch.delete(namespace, key.clone()),
            };
        }
        for (namespace, quota) in &self.limits {
            batch.limit(namespace, *quota);
        }
        let has_writes = !self.writes.is_empty();
        let (must_conflict, may_conflict) =
            (has_writes && self.is_outdated(model), has_writes && self.may_be_outdated(model));
        let found = wait_for(self.transaction.commit(Durability::Immediate));
        match found {
            Ok(outcome) => {
                assert!(!must_conflict, "what was read has changed: {:?}, {:?}", self.read, self.ranges);
                let effect =
                    model.commit(&batch).unwrap_or_else(|fault| panic!("{batch:?} passed beside {fault:?}"));
                check_version(effect.writes, model.version, outcome.version);
                *model = effect.stamped(outcome.version);
            }
            Err(error) => match fault_of(&error) {
                StorageFault::Conflict => assert!(may_conflict, "nothing that was read was touched: {error}"),
                StorageFault::QuotaExceeded => {
                    assert_eq!(model.commit(&batch).err(), Some(StorageFault::QuotaExceeded), "{error}");
                }
                _ => panic!("{error}"),
            },
        }
    }

    /// Whether something that was surely read holds something else now.
    fn is_outdated(&self, model: &Model) -> bool {
        let value =
            |model: &Model, place: &Place| model.records.get(place).map(|record| record.value.clone());
        self.read.iter().any(|place| value(&self.moment, place) != value(model, place))
            || self.ranges.iter().any(|(namespace, range)| {
                let values = |model: &Model| {
                    let records = model.range(namespace, range).into_iter();
                    records.map(|(key, record)| (key, record.value)).collect::<Vec<_>>()
                };
                values(&self.moment) != values(model)
            })
    }

    /// Whether somebody has written or removed something that may count as read, or has renewed a namespace that was read.
    fn may_be_outdated(&self, model: &Model) -> bool {
        let since = |version: &CommitVersion| *version > self.moment.version;
        let ranges = || self.may_be_read.iter();
        let mut namespaces =
            self.read.iter().map(|(namespace, _)| namespace).chain(ranges().map(|(namespace, _)| namespace));
        let mut touched = model.touched.iter().filter(|(_, version)| since(version)).map(|(place, _)| place);
        namespaces.any(|namespace| model.renewed.get(namespace).is_some_and(since))
            || touched.any(|place| {
                let (namespace, key) = place;
                self.read.contains(place)
                    || ranges().any(|(other, range)| other == namespace && range.contains(key.as_bytes()))
            })
    }
}

const NAMESPACES: [&[u8]; 4] = [b"a", b"a\0", b"ab", &[0xff; 255]];

fn namespace(input: &mut Unstructured<'_>) -> Result<Namespace> {
    Ok(Namespace::new(input.choose(&NAMESPACES)?).expect("a name"))
}

/// Few keys, so that steps meet.
fn key(input: &mut Unstructured<'_>) -> Result<Key> {
    let length = input.int_in_range(1..=3)?;
    let bytes: Vec<u8> =
        (0..length).map(|_| input.choose(&[0, b'a', 0xff]).copied()).collect::<Result<_>>()?;
    Ok(Key::new(bytes).expect("a key"))
}

fn place(input: &mut Unstructured<'_>) -> Result<Place> {
    Ok((namespace(input)?, key(input)?))
}

fn value(input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let length = input.int_in_range(0..=24)?;
    Ok(input.bytes(length.min(input.len()))?.to_vec())
}

fn range(input: &mut Unstructured<'_>) -> Result<KeyRange> {
    let mut range = match input.int_in_range(0..=2)? {
        0 => KeyRange::all(),
        1 => KeyRange::prefix(key(input)?.as_bytes()),
        _ => KeyRange::all().reversed(),
    };
    if input.arbitrary()? {
        range = range.after(key(input)?.as_bytes());
    }
    if input.ratio(1, 3)? {
        range = range.reversed();
    }
    Ok(range)
}

fn some_index(count: usize, input: &mut Unstructured<'_>) -> Result<Option<usize>> {
    if count == 0 { Ok(None) } else { input.choose_index(count).map(Some) }
}

pub(crate) fn fault_of(error: &WasmError) -> StorageFault {
    match error.detail() {
        Some(Detail::Storage(fault)) => fault,
        other => panic!("{error} has the detail {other:?}"),
    }
}
