//! Operations on whole stores: export, import, copy, usage, verification, compaction.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::io::Cursor;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, Durability, Key, KeyRange, Namespace, Order, StorageBackend, StorageProfile, Usage,
};
use airssys_wasm_storage::{
    CheckedExport, Contents, EngineError, Finding, KeyValueEngine, Maintenance, MemoryEngine, MemoryStore,
    Store, Totals, Write, copy, export, usage,
};
use futures_util::FutureExt;
use sha2::{Digest, Sha256};
use stores::{Bench, Numbers, fault, get, key, put, recount, space, value};

const MAGIC: &[u8] = b"airssys-wasm export\0\0\0\x01";

async fn exported(store: &dyn StorageBackend) -> Vec<u8> {
    let mut bytes = Vec::new();
    export(store, &mut bytes, &mut |_| ()).await.unwrap();
    bytes
}

fn checked(bytes: &[u8]) -> Result<CheckedExport<Cursor<&[u8]>>> {
    CheckedExport::check(Cursor::new(bytes), &mut |_| ())
}

async fn import(bytes: &[u8], store: &dyn StorageBackend) -> Result<Contents> {
    let checked = checked(bytes)?;
    let contents = checked.contents();
    checked.import_into(store, &mut |_| ()).await?;
    Ok(contents)
}

/// Three records in two namespaces, one of them without a value; one namespace that was emptied.
async fn fill_small(store: &dyn StorageBackend) {
    put(store, &space("b"), "k2", "value").await;
    put(store, &space("gone"), "k", "v").await;
    put(store, &space("b"), "k1", "").await;
    put(store, &space("a\0"), "\u{ff}", "other").await;
    let mut batch = Batch::new();
    batch.delete(&space("gone"), key("k"));
    store.commit(batch, Durability::Eventual).await.unwrap();
}

/// Records of many sizes, in namespaces whose names are hard to keep apart. Other numbers, other contents.
async fn fill(store: &dyn StorageBackend, numbers: &mut Numbers) {
    let names = [b"a".to_vec(), b"a\0".to_vec(), b"a/b".to_vec(), vec![0xff; 255], "\u{e4}".into()];
    for _ in 0..60 {
        let mut batch = Batch::new();
        for _ in 0..=numbers.below(40) {
            let name = space(&names[numbers.below(names.len() as u64) as usize]);
            let length = 1 + numbers.below(3) as usize;
            let key = key(numbers.bytes(length));
            if numbers.below(4) == 0 {
                batch.delete(&name, key);
                continue;
            }
            let length = [0, 1, 100, 5_000][numbers.below(4) as usize];
            batch.put(&name, key, numbers.bytes(length));
        }
        store.commit(batch, Durability::Eventual).await.unwrap();
    }
    let mut large = Batch::new();
    large.put(&space("large"), key(vec![7; Key::MAX_LENGTH]), numbers.bytes(4 << 20));
    store.commit(large, Durability::Eventual).await.unwrap();
}

on_every_store! {
    async fn equal_contents_have_equal_exports(bench: Bench) {
        let mut numbers = Numbers::seeded();
        let original = MemoryStore::new();
        fill(&original, &mut numbers).await;
        let bytes = exported(&original).await;

        import(&bytes, &*bench.store).await.unwrap();
        assert!(exported(&*bench.store).await == bytes, "the import has another export");
        bench.reopen().await;
        assert!(exported(&*bench.store).await == bytes, "the export is another one after opening again");

        let back = MemoryStore::new();
        let contents = copy(&*bench.store, &back, &mut |_| ()).await.unwrap();
        assert!(exported(&back).await == bytes, "the copy has another export");
        assert_eq!(contents, checked(&bytes).unwrap().contents());
        assert_eq!(contents.sha256[..], bytes[bytes.len() - 32..]);

        // The way does not matter: other versions, names that are not used any more, records that came and went.
        put(&back, &space("passing"), "by", "x").await;
        let mut undo = Batch::new();
        undo.delete(&space("passing"), key("by"));
        back.commit(undo, Durability::Eventual).await.unwrap();
        assert!(exported(&back).await == bytes, "what happened on the way shows");
        put(&back, &space("a"), "one more", "").await;
        assert!(exported(&back).await != bytes, "one more record does not show");
    }

    async fn an_export_has_this_form(bench: Bench) {
        fill_small(&*bench.store).await;
        let mut progress = Vec::new();
        let mut bytes = Vec::new();
        let exported =
            export(&*bench.store, &mut bytes, &mut |totals| progress.push(totals)).await.unwrap();
        let totals = Totals { namespaces: 2, records: 3, bytes: 16 };
        assert_eq!((exported.contents.totals, progress.last()), (totals, Some(&totals)));
        assert_eq!(exported.version.0, 5);
        let expected = Forged::new()
            .namespace("a\0").record("\u{ff}", "other")
            .namespace("b").record("k1", "").record("k2", "value")
            .end(2, 3, 16);
        assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    async fn an_empty_store_has_an_export_too(bench: Bench) {
        let bytes = exported(&*bench.store).await;
        assert_eq!(bytes, Forged::new().end(0, 0, 0));
        assert_eq!(import(&bytes, &*bench.store).await.unwrap().totals, Totals::default());
        assert_eq!(copy(&*bench.store, &MemoryStore::new(), &mut |_| ()).await.unwrap().totals, Totals::default());
    }

    async fn only_an_empty_store_is_filled(bench: Bench) {
        let original = MemoryStore::new();
        fill_small(&original).await;
        let bytes = exported(&original).await;
        put(&*bench.store, &space("z"), "k", "mine").await;
        let before = exported(&*bench.store).await;
        let error = import(&bytes, &*bench.store).await.unwrap_err();
        assert!(error.to_string().contains("the store is not empty (namespace: z)"), "{error}");
        assert!(error.next_step().is_some());
        assert_eq!(fault::<()>(Err(error)), StorageFault::Conflict);
        assert_eq!(fault(copy(&original, &*bench.store, &mut |_| ()).await), StorageFault::Conflict);
        assert_eq!(exported(&*bench.store).await, before);

        // Emptied is empty.
        let mut batch = Batch::new();
        batch.delete(&space("z"), key("k"));
        bench.store.commit(batch, Durability::Eventual).await.unwrap();
        import(&bytes, &*bench.store).await.unwrap();
        assert_eq!(exported(&*bench.store).await, bytes);
        assert_eq!(value(&*bench.store, &space("b"), "k2").await, Some(b"value".to_vec()));
        assert_eq!(bench.store.usage(&space("b")).await.unwrap(), recount(&*bench.store, &space("b")).await);
    }

    async fn usage_is_listed_by_name(bench: Bench) {
        fill_small(&*bench.store).await;
        let expected = [
            (space("a\0"), Usage { bytes: 47, keys: 1 }),
            (space("b"), Usage { bytes: 89, keys: 2 }),
        ];
        assert_eq!(usage(&*bench.store).await.unwrap(), expected);
    }

    async fn many_namespaces_are_listed_page_by_page(bench: Bench) {
        let mut batch = Batch::new();
        for number in 0..2_500_u32 {
            batch.put(&space(number.to_be_bytes()), key("k"), number.to_be_bytes());
            if batch.operations() == 1_000 {
                bench.store.commit(std::mem::take(&mut batch), Durability::Eventual).await.unwrap();
            }
        }
        bench.store.commit(batch, Durability::Eventual).await.unwrap();
        assert_eq!(usage(&*bench.store).await.unwrap().len(), 2_500);
        let contents = copy(&*bench.store, &MemoryStore::new(), &mut |_| ()).await.unwrap();
        assert_eq!(contents.totals, Totals { namespaces: 2_500, records: 2_500, bytes: 2_500 * 5 });
    }
}

#[tokio::test]
async fn a_change_in_the_middle_is_told() {
    let store = MemoryStore::new();
    fill_small(&store).await;
    let write = || put(&store, &space("zz"), "k", "v").now_or_never().unwrap();
    let mut bytes = Vec::new();
    let error = export(&store, &mut bytes, &mut |_| write()).await.unwrap_err();
    assert!(error.to_string().contains("the store was changed while it was read"), "{error}");
    assert!(error.next_step().is_some());
    assert_eq!(fault::<()>(Err(error)), StorageFault::Conflict);
    assert_eq!(fault(checked(&bytes)), StorageFault::Damaged);
    assert_eq!(fault(copy(&store, &MemoryStore::new(), &mut |_| write()).await), StorageFault::Conflict);
}

/// What this is damaged to is refused before anything is written; the error tells where, and what to do.
async fn refused(bytes: &[u8], expected: StorageFault) -> WasmError {
    let store = MemoryStore::new();
    let error = import(bytes, &store).await.unwrap_err();
    assert!(error.next_step().is_some(), "{error}");
    assert!(error.context().any(|(name, _)| name == "offset"), "{error}");
    assert_eq!(fault::<()>(Err(error)), expected);
    assert_eq!(store.namespaces(None, 1).await.unwrap(), [], "something was written");
    import(bytes, &store).await.unwrap_err()
}

#[tokio::test]
async fn damage_of_any_byte_is_refused() {
    let store = MemoryStore::new();
    fill_small(&store).await;
    let whole = exported(&store).await;
    for position in 0..whole.len() {
        for mask in [1, 2, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[position] ^= mask;
            let header = position < MAGIC.len();
            refused(&damaged, if header { StorageFault::Format } else { StorageFault::Damaged }).await;
        }
        let mut longer = whole.clone();
        longer.insert(position, 0x55);
        let error = import(&longer, &MemoryStore::new()).await;
        assert!(
            matches!(fault(error), StorageFault::Format | StorageFault::Damaged),
            "one more byte at {position}"
        );
    }
    // The offset is that of the frame: the last record, `k2` with `value`, begins where its 18 bytes and the end are left.
    let mut damaged = whole.clone();
    let frame = whole.len() - (1 + 3 * 8 + 32) - (1 + 2 + 4 + 2 + 5 + 4);
    damaged[frame + 10] ^= 1;
    let error = refused(&damaged, StorageFault::Damaged).await;
    let expected = format!(
        "storage import: the export is damaged: a frame does not match its checksum (offset: {frame})"
    );
    assert_eq!(error.to_string(), expected);
}

#[tokio::test]
async fn a_cut_at_any_length_is_refused() {
    let store = MemoryStore::new();
    fill_small(&store).await;
    let whole = exported(&store).await;
    for length in 0..whole.len() {
        let error = refused(&whole[..length], StorageFault::Damaged).await;
        let expected = format!("storage import: the export is cut short (offset: {length})");
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn what_no_export_says_is_refused() {
    let refused = async |bytes: &[u8], fault, message: &str| {
        let error = refused(bytes, fault).await;
        assert!(error.to_string().contains(message), "{error}");
    };
    let damaged = StorageFault::Damaged;
    refused(b"PK\x03\x04", StorageFault::Format, "not an export of a store").await;
    refused(b"airssys-wasm store", StorageFault::Format, "not an export of a store").await;
    let mut later = Forged::new().end(0, 0, 0);
    later[MAGIC.len() - 1] = 2;
    refused(&later, StorageFault::Format, "an export of format 2; this version reads format 1").await;

    let one = || Forged::new().namespace("b").record("k", "v");
    let check = |forged: Forged, counts: [u64; 3]| forged.end(counts[0], counts[1], counts[2]);
    refused(&check(one().namespace("a").record("k", "v"), [2, 2, 4]), damaged, "namespaces are not in order")
        .await;
    refused(&check(one().namespace("b").record("l", "v"), [2, 2, 4]), damaged, "namespaces are not in order")
        .await;
    refused(&check(one().record("j", "v"), [1, 2, 4]), damaged, "the keys are not in order").await;
    refused(&check(one().record("k", "v"), [1, 2, 4]), damaged, "the keys are not in order").await;
    refused(&check(one().namespace("c"), [2, 1, 2]), damaged, "a namespace has no records").await;
    refused(&check(Forged::new().namespace("").record("k", ""), [1, 1, 1]), damaged, "without a name").await;
    refused(&check(Forged::new().record("k", ""), [0, 1, 1]), damaged, "a record without a namespace").await;
    refused(&check(one().record("", ""), [1, 2, 2]), damaged, "a record without a key").await;
    refused(&check(one().record("l".repeat(2_049), ""), [1, 2, 2_051]), damaged, "larger than records are")
        .await;
    for counts in [[2, 1, 2], [1, 2, 2], [1, 1, 3]] {
        refused(&check(one(), counts), damaged, "does not match the counts").await;
    }
    let mut longer = check(one(), [1, 1, 2]);
    longer.push(0);
    refused(&longer, damaged, "something follows the end").await;
    assert!(import(&check(one(), [1, 1, 2]), &MemoryStore::new()).await.is_ok());
}

/// An export that is written by hand.
struct Forged(Vec<u8>);

impl Forged {
    fn new() -> Self {
        Self(MAGIC.to_vec())
    }

    fn namespace(self, name: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        self.frame(&[&[1, name.len() as u8], name].concat())
    }

    fn record(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let (key, value) = (key.as_ref(), value.as_ref());
        let lengths = [&[2][..], &(key.len() as u16).to_be_bytes(), &(value.len() as u32).to_be_bytes()];
        self.frame(&[&lengths.concat(), key, value].concat())
    }

    fn frame(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.0.extend(crc32c::crc32c(bytes).to_be_bytes());
        self
    }

    fn end(mut self, namespaces: u64, records: u64, bytes: u64) -> Vec<u8> {
        self.0.push(3);
        for number in [namespaces, records, bytes] {
            self.0.extend(number.to_be_bytes());
        }
        let digest = Sha256::digest(&self.0);
        self.0.extend(digest);
        self.0
    }
}

/// Everything that is written fails.
struct Full;

impl std::io::Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_export_that_cannot_be_written_says_so() {
    let store = MemoryStore::new();
    fill_small(&store).await;
    assert_eq!(fault(export(&store, Full, &mut |_| ()).await), StorageFault::NoSpace);
}

#[test]
fn operations_can_be_spawned() {
    fn sendable(_: impl Future + Send) {}
    let (from, to) = (MemoryStore::new(), MemoryStore::new());
    sendable(export(&from, Vec::new(), &mut |_| ()));
    sendable(copy(&from, &to, &mut |_| ()));
    let bytes = Forged::new().end(0, 0, 0);
    sendable(checked(&bytes).unwrap().import_into(&to, &mut |_| ()));
}

/// A memory engine whose bytes a test reaches, and that fails where it is told to.
#[derive(Clone, Debug, Default)]
struct Open {
    engine: Arc<MemoryEngine>,
    /// No scan gets behind a key that starts like this.
    fails_at: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Open {
    fn store(&self) -> Result<Store<Self>> {
        Store::over(self.clone(), Duration::from_secs(3600))
    }

    fn all(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut all = Vec::new();
        let visit = |key: &[u8], value: &[u8]| {
            all.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        };
        self.engine.scan(Bound::Unbounded, Bound::Unbounded, Order::Ascending, visit).unwrap();
        all
    }

    fn set(&self, key: &[u8], value: Option<Vec<u8>>) {
        self.engine.apply(vec![Write { key: key.to_vec(), value }], Durability::Immediate).unwrap();
    }
}

impl KeyValueEngine for Open {
    fn profile(&self) -> StorageProfile {
        self.engine.profile()
    }

    fn place(&self) -> &str {
        "open"
    }

    fn commits_inline(&self) -> bool {
        true
    }

    fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, EngineError> {
        self.engine.get(key, read)
    }

    fn scan(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        order: Order,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let fails_at = self.fails_at.lock().unwrap().clone();
        let mut failed = false;
        self.engine.scan(start, end, order, |key, value| {
            failed = fails_at.as_ref().is_some_and(|prefix| key.starts_with(prefix));
            if failed { ControlFlow::Break(()) } else { visit(key, value) }
        })?;
        if failed { Err(EngineError::new(StorageFault::Damaged, "a bad block")) } else { Ok(()) }
    }

    fn apply(&self, writes: Vec<Write>, durability: Durability) -> Result<(), EngineError> {
        self.engine.apply(writes, durability)
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// The bytes outlive the store.
    fn close(&self) -> Result<(), EngineError> {
        Ok(())
    }
}

fn findings(store: &dyn Maintenance) -> (Totals, Vec<Finding>) {
    let mut found = Vec::new();
    let totals = store.verify(&mut |_| (), &mut |finding| found.push(finding)).unwrap();
    (totals, found)
}

fn sentences(store: &dyn Maintenance) -> Vec<String> {
    findings(store).1.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_whole_store_has_no_findings() {
    let engine = Open::default();
    let store = engine.store().unwrap();
    assert_eq!(findings(&store), (Totals::default(), vec![]));
    fill_small(&store).await;
    assert_eq!(findings(&store), (Totals { namespaces: 2, records: 3, bytes: 16 }, vec![]));
    store.close().await.unwrap();
    assert_eq!(fault(store.verify(&mut |_| (), &mut |_| ())), StorageFault::Closed);
    assert_eq!(fault(store.compact().await), StorageFault::Closed);
}

#[tokio::test]
async fn every_problem_is_told_at_once() {
    let engine = Open::default();
    let store = engine.store().unwrap();
    fill_small(&store).await;
    put(&store, &space("c"), "k", "v").await;
    // The ids are given out in the order of arrival: `b` 1, `gone` 2, `a\0` 3, `c` 4.
    let record = |namespace: u8, key: &[u8]| [&[1, 0, 0, 0, namespace], key].concat();
    let all = engine.all();
    let sealed = |key: &[u8]| all.iter().find(|(stored, _)| stored == key).unwrap().1.clone();

    let mut damaged = sealed(&record(1, b"k2"));
    damaged[16] ^= 4;
    engine.set(&record(1, b"k2"), Some(damaged));
    engine.set(&record(3, "\u{ff}".as_bytes()), None);
    engine.set(&record(9, b"lost"), Some(sealed(&record(1, b"k1"))));
    engine.set(&[0, 2, 0, 0, 0, 4], Some(vec![1, 2, 3]));
    engine.set(&[7], Some(vec![]));

    assert_eq!(
        sentences(&store),
        [
            "the usage of a namespace is damaged (namespace: c)",
            "a record does not match its checksum (namespace: b, key: k2)",
            "a record does not match its checksum (key: lost)",
            "a key of the engine that no store writes (key: \\x07)",
            "the books say 47 bytes in 1 records, and there are 0 bytes in 0 records (namespace: a\\x00)",
            "1 records belong to no namespace",
            "the books say 0 bytes in 0 records, and there are 44 bytes in 1 records",
        ]
    );
}

#[tokio::test]
async fn verification_goes_on_behind_what_the_engine_cannot_read() {
    let engine = Open::default();
    let store = engine.store().unwrap();
    for name in ["a", "b", "c"] {
        for number in 0..3 {
            put(&store, &space(name), &format!("k{number}"), "v").await;
        }
    }
    *engine.fails_at.lock().unwrap() = Some([&[1, 0, 0, 0, 2], &b"k1"[..]].concat());
    assert_eq!(
        sentences(&store),
        [
            "the engine cannot read on: a bad block",
            "the books say 129 bytes in 3 records, and there are 43 bytes in 1 records (namespace: b)",
        ]
    );
    assert_eq!(findings(&store).0.records, 7);
    // Without the books, nothing is said about what they say.
    *engine.fails_at.lock().unwrap() = Some(vec![0, 2]);
    assert_eq!(sentences(&store), ["the engine cannot read on: a bad block"]);
    assert_eq!(findings(&store).0.records, 9);
    // Nothing can be read at all: that is told once at the start, and once for each namespace.
    *engine.fails_at.lock().unwrap() = Some(vec![]);
    assert_eq!(sentences(&store), ["the engine cannot read on: a bad block"; 4]);
}

/// Whatever bit of whatever the engine holds is flipped: opening refuses, or the verification finds it.
#[tokio::test]
async fn no_flipped_bit_goes_unnoticed() {
    let engine = Open::default();
    let store = engine.store().unwrap();
    fill_small(&store).await;
    store.close().await.unwrap();
    for (key, value) in engine.all() {
        for bit in 0..value.len() * 8 {
            let mut damaged = value.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            engine.set(&key, Some(damaged));
            if let Ok(store) = engine.store() {
                let found = findings(&store).1;
                assert!(!found.is_empty(), "bit {bit} of {}", key.escape_ascii());
            }
        }
        engine.set(&key, None);
        if let Ok(store) = engine.store() {
            assert!(
                !findings(&store).1.is_empty()
                    || key == [0, 2, 0, 0, 0, 2]
                    || key == [0, 1, b'g', b'o', b'n', b'e'],
                "without {}",
                key.escape_ascii()
            );
        }
        engine.set(&key, Some(value));
    }
    assert_eq!(findings(&engine.store().unwrap()).1, vec![]);
}

#[cfg(feature = "redb")]
mod redb {
    use std::fs;
    use std::io::{BufRead, BufReader, Write as _};
    use std::path::Path;
    use std::process::{Command, Stdio};

    use airssys_wasm_storage::{RedbOptions, RedbStore, Unfinished};

    use super::*;

    const CHILD: &str = "AIRSSYS_TEST_IMPORT";

    fn open(path: &Path) -> RedbStore {
        RedbStore::open(path, RedbOptions::default()).unwrap()
    }

    /// Not a test of its own: what [`an_import_that_is_killed_leaves_nothing_behind`] starts. Says how far it is.
    #[tokio::test]
    #[allow(clippy::print_stdout, reason = "how the child tells its parent what it has done")]
    async fn import_until_killed() {
        let Some(folder) = std::env::var_os(CHILD) else { return };
        let folder = Path::new(&folder);
        let mut say = |totals: Totals| {
            let mut out = std::io::stdout().lock();
            writeln!(out, "\nat {}", totals.records).and_then(|()| out.flush()).unwrap();
            // The parent has time to kill.
            std::thread::sleep(Duration::from_millis(30));
        };
        let unfinished = Unfinished::beside(folder.join("store.redb")).unwrap();
        let checked =
            CheckedExport::check(fs::File::open(folder.join("export")).unwrap(), &mut |_| ()).unwrap();
        let store = open(unfinished.path());
        checked.import_into(&store, &mut say).await.unwrap();
        store.close().await.unwrap();
        say(Totals::default());
        unfinished.finish().unwrap();
    }

    #[tokio::test]
    async fn an_import_that_is_killed_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let original = MemoryStore::new();
        for part in 0..5_u64 {
            let mut batch = Batch::new();
            for number in 0..1_000_u64 {
                batch.put(&space("a"), key((part * 1_000 + number).to_be_bytes()), vec![7; 100]);
            }
            original.commit(batch, Durability::Eventual).await.unwrap();
        }
        let bytes = exported(&original).await;
        fs::write(folder.path().join("export"), &bytes).unwrap();
        let target = folder.path().join("store.redb");
        for steps in 1..=7 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "redb::import_until_killed", "--nocapture"])
                .env(CHILD, folder.path())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let out = BufReader::new(child.stdout.take().unwrap());
            let said =
                out.lines().map_while(std::io::Result::ok).filter(|line| line.starts_with("at ")).take(steps);
            // The last step is the one before the store gets its name; one more waits for the end.
            if said.count() == steps {
                child.kill().unwrap();
            }
            let ended = child.wait().unwrap();
            if ended.success() {
                break;
            }
            assert!(!target.exists(), "killed at step {steps}, and there is a store");
            let left = fs::read_dir(folder.path()).unwrap().filter(|entry| {
                entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("store.redb.unfinished-")
            });
            assert_eq!(left.count(), steps, "what was killed has a name that tells");
        }
        let store = open(&target);
        assert!(exported(&store).await == bytes, "the last import was not killed, and is whole");
    }

    #[tokio::test]
    async fn nothing_is_built_over_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let late = Unfinished::beside(&path).unwrap();
        fs::write(late.path(), "late").unwrap();
        fs::write(&path, "mine").unwrap();
        let error = Unfinished::beside(&path).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert_eq!(fault::<()>(Err(error)), StorageFault::Conflict);
        assert_eq!(fault(late.finish()), StorageFault::Conflict);
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(fault(Unfinished::beside(folder.path().join("absent/x"))), StorageFault::Io);
        assert_eq!(fault(Unfinished::beside("/")), StorageFault::Io);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "what was not finished is gone");
        // A folder is built the same way.
        let built = Unfinished::beside(folder.path().join("y")).unwrap();
        fs::create_dir(built.path()).unwrap();
        fs::write(built.path().join("part"), "").unwrap();
        drop(built);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "what was not finished is gone");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn compaction_gives_room_back_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let store = Arc::new(open(&path));
        for round in 0..20_u64 {
            let mut batch = Batch::new();
            for number in 0..100_u64 {
                batch.put(&space("a"), key((round * 100 + number).to_be_bytes()), vec![round as u8; 4_000]);
            }
            store.commit(batch, Durability::Eventual).await.unwrap();
        }
        for round in 0..20_u64 {
            let mut batch = Batch::new();
            for number in (0..100_u64).filter(|number| number % 20 != 0) {
                batch.delete(&space("a"), key((round * 100 + number).to_be_bytes()));
            }
            store.commit(batch, Durability::Eventual).await.unwrap();
        }
        store.sync().await.unwrap();
        let before = fs::metadata(&path).unwrap().len();
        let bytes = exported(&*store).await;
        // Others read and write meanwhile.
        let others: Vec<_> = (0..4_u64)
            .map(|other| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    for number in 0..50_u64 {
                        put(&*store, &space("b"), &format!("{other} {number}"), "v").await;
                        assert!(get(&*store, &space("a"), 0_u64.to_be_bytes()).await.is_some());
                        let page = store.scan(&space("a"), KeyRange::all(), 10).await.unwrap();
                        assert_eq!(page.records.len(), 10);
                    }
                })
            })
            .collect();
        store.compact().await.unwrap();
        for other in others {
            other.await.unwrap();
        }
        assert_eq!(store.usage(&space("b")).await.unwrap().keys, 200);
        for number in 0..200_u64 {
            let mut batch = Batch::new();
            batch.delete(&space("b"), key(format!("{} {}", number / 50, number % 50)));
            store.commit(batch, Durability::Eventual).await.unwrap();
        }
        store.compact().await.unwrap();
        assert_eq!(findings(&*store).1, vec![]);
        store.close().await.unwrap();
        let after = fs::metadata(&path).unwrap().len();
        assert!(after * 2 < before, "{before} bytes before, {after} after");
        assert!(exported(&open(&path)).await == bytes, "the contents have changed");
    }

    #[test]
    fn names_of_namespaces_outlive_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.redb");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            fill_small(&open(&path)).await;
            let names: Vec<Namespace> = open(&path).namespaces(None, 10).await.unwrap();
            assert_eq!(names, [space("a\0"), space("b"), space("gone")]);
        });
    }
}
