//! Orders of events that once went wrong, each made to happen: an engine stops where the test wants it to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use airssys_wasm_core::error::{Detail, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, Durability, Key, KeyRange, MAX_BATCH_BYTES, MAX_PAGE_BYTES, Namespace, Order, Quota,
    StorageBackend, StorageProfile, StorageTransaction,
};
use airssys_wasm_storage::{
    EngineError, KeyValueEngine, Maintenance, MemoryEngine, MemoryStore, Store, Write,
};
use futures_util::FutureExt;

/// What happens at the next occasion, once.
type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// What a test does to an engine, and sees of it.
#[derive(Clone, Default)]
struct Strings {
    before_get: Hook,
    /// Right after an `apply`, before the store has heard of it.
    after_apply: Hook,
    fails: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
    /// How often something was made durable.
    syncs: Arc<AtomicUsize>,
    /// How many records there are, the store's books included.
    records: Arc<AtomicUsize>,
}

/// A memory engine on strings.
#[derive(Default)]
struct Puppet {
    engine: MemoryEngine,
    queues: bool,
    strings: Strings,
}

impl fmt::Debug for Puppet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.engine.fmt(f)
    }
}

fn pull(hook: &Hook) {
    let hook = hook.lock().unwrap().take();
    if let Some(hook) = hook {
        hook();
    }
}

impl KeyValueEngine for Puppet {
    fn profile(&self) -> StorageProfile {
        self.engine.profile()
    }

    fn place(&self) -> &str {
        self.engine.place()
    }

    fn commits_inline(&self) -> bool {
        !self.queues
    }

    fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, EngineError> {
        pull(&self.strings.before_get);
        self.engine.get(key, read)
    }

    fn scan(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        order: Order,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        self.engine.scan(start, end, order, visit)
    }

    fn apply(&self, writes: Vec<Write>, durability: Durability) -> Result<(), EngineError> {
        if self.strings.fails.load(Ordering::SeqCst) {
            return Err(EngineError::new(StorageFault::Io, "it fails, as it was told to"));
        }
        self.engine.apply(writes, durability)?;
        let mut records = 0;
        self.engine.scan(Bound::Unbounded, Bound::Unbounded, Order::Ascending, |_, _| {
            records += 1;
            ControlFlow::Continue(())
        })?;
        self.strings.records.store(records, Ordering::SeqCst);
        if durability == Durability::Immediate {
            self.strings.syncs.fetch_add(1, Ordering::SeqCst);
        }
        pull(&self.strings.after_apply);
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.strings.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn close(&self) -> Result<(), EngineError> {
        self.strings.closed.store(true, Ordering::SeqCst);
        self.engine.close()
    }
}

impl Strings {
    /// Stops the next one who applies, when others can see it already. The receiver hears of it, the sender lets it go on.
    fn stop_next(&self) -> (Receiver<()>, Sender<()>) {
        let ((stopped, hear), (go, wait)) = (mpsc::channel(), mpsc::channel::<()>());
        *self.after_apply.lock().unwrap() = Some(Box::new(move || {
            stopped.send(()).unwrap();
            wait.recv().unwrap();
        }));
        (hear, go)
    }
}

type Opened = Arc<Store<Puppet>>;

fn open(queues: bool, flush_interval: Duration) -> (Opened, Strings) {
    let strings = Strings::default();
    let engine = Puppet { queues, strings: strings.clone(), ..Puppet::default() };
    (Arc::new(Store::over(engine, flush_interval).unwrap()), strings)
}

/// A store with a queue, which flushes nothing by itself.
fn queued() -> (Opened, Strings) {
    open(true, Duration::from_secs(3_600))
}

fn space() -> Namespace {
    Namespace::new("space").unwrap()
}

fn key(name: impl AsRef<[u8]>) -> Key {
    Key::new(name.as_ref()).unwrap()
}

fn put(name: &str, value: impl Into<Vec<u8>>) -> Batch {
    let mut batch = Batch::new();
    batch.put(&space(), key(name), value);
    batch
}

fn clear() -> Batch {
    let mut batch = Batch::new();
    batch.clear(&space());
    batch
}

async fn get(store: &impl StorageBackend, name: &str) -> Option<Vec<u8>> {
    store.get(&space(), &key(name)).await.unwrap().map(|record| record.value)
}

async fn seen(transaction: &mut Box<dyn StorageTransaction>, name: &str) -> Option<Vec<u8>> {
    transaction.get(&space(), &key(name)).await.unwrap()
}

fn fault(error: &WasmError) -> StorageFault {
    match error.detail() {
        Some(Detail::Storage(fault)) => fault,
        other => panic!("{other:?}: {error}"),
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Waits for what another thread does on its own account.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn an_abandoned_transaction_overwrites_nobody() {
    let (store, strings) = queued();
    store.commit(put("count", "0"), Durability::Immediate).await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    assert_eq!(seen(&mut transaction, "count").await.unwrap(), b"0");
    transaction.put(&space(), key("count"), b"1".to_vec()).unwrap();
    store.commit(put("count", "100"), Durability::Immediate).await.unwrap();

    let (stopped, go) = strings.stop_next();
    let mut other = Box::pin(store.commit(put("other", ""), Durability::Immediate));
    assert!((&mut other).now_or_never().is_none());
    stopped.recv().unwrap();
    let mut commit = transaction.commit(Durability::Immediate);
    assert!((&mut commit).now_or_never().is_none(), "it is in the queue");
    drop(commit);
    go.send(()).unwrap();
    other.await.unwrap();
    store.sync().await.unwrap();
    assert_eq!(get(&*store, "count").await.unwrap(), b"100");
}

#[tokio::test]
async fn a_transaction_does_not_begin_before_what_was_read() {
    let (store, strings) = queued();
    store.commit(put("k", "1"), Durability::Immediate).await.unwrap();
    // Somebody who runs, so that commits are recorded.
    let _running = store.begin().await.unwrap();
    let (stopped, go) = strings.stop_next();
    let mut commit = Box::pin(store.commit(put("k", "2"), Durability::Immediate));
    assert!((&mut commit).now_or_never().is_none());
    stopped.recv().unwrap();
    assert_eq!(get(&*store, "k").await.unwrap(), b"2");
    let mut beginning = store.begin();
    let begun = (&mut beginning).now_or_never();
    go.send(()).unwrap();
    let mut transaction = match begun {
        Some(begun) => begun.unwrap(),
        None => beginning.await.unwrap(),
    };
    assert_eq!(seen(&mut transaction, "k").await.unwrap(), b"2");
    commit.await.unwrap();
}

/// Has somebody else clear and fill the namespace at the next read, and sweep what was there.
fn replace_everything_at_the_next_read(store: &Opened, strings: &Strings) {
    let store = Arc::clone(store);
    *strings.before_get.lock().unwrap() = Some(Box::new(move || {
        let replacing = thread::spawn(move || {
            let mut batch = clear();
            batch.put(&space(), key("k"), "2");
            wait(store.commit(batch, Durability::Eventual)).unwrap();
        });
        replacing.join().unwrap();
    }));
}

#[tokio::test]
async fn what_is_always_there_is_always_found() {
    let (store, strings) = open(false, Duration::ZERO);
    store.commit(put("k", "1"), Durability::Eventual).await.unwrap();
    replace_everything_at_the_next_read(&store, &strings);
    assert_eq!(get(&*store, "k").await.unwrap(), b"2");
    replace_everything_at_the_next_read(&store, &strings);
    assert_eq!(store.usage(&space()).await.unwrap().keys, 1);
}

/// A reader outlives a `clear`: when it ends, what was cleared is removed, and commits are made durable as ever.
#[tokio::test]
async fn a_reader_that_outlived_a_clear_holds_nothing_up_when_it_ends() {
    let (store, strings) = open(true, Duration::from_millis(5));
    store.commit(put("k", "1"), Durability::Immediate).await.unwrap();
    store.commit(put("leases versions", ""), Durability::Eventual).await.unwrap();
    let reader = store.begin().await.unwrap();
    store.commit(clear(), Durability::Immediate).await.unwrap();
    let held = strings.records.load(Ordering::SeqCst);
    drop(reader);
    eventually("nobody removed what was cleared", || strings.records.load(Ordering::SeqCst) < held);
    let before = strings.syncs.load(Ordering::SeqCst);
    store.commit(put("later", ""), Durability::Eventual).await.unwrap();
    eventually("nobody flushed", || strings.syncs.load(Ordering::SeqCst) > before);
}

#[tokio::test]
async fn a_durable_commit_that_changes_nothing_makes_what_was_before_durable() {
    let (store, strings) = queued();
    store.commit(put("leases versions", ""), Durability::Eventual).await.unwrap();
    store.commit(put("k", "1"), Durability::Immediate).await.unwrap();
    let mut delete = Batch::new();
    delete.delete(&space(), key("k"));
    store.commit(delete.clone(), Durability::Eventual).await.unwrap();
    let before = strings.syncs.load(Ordering::SeqCst);
    store.commit(delete.clone(), Durability::Immediate).await.unwrap();
    assert_eq!(strings.syncs.load(Ordering::SeqCst), before + 1);
    // Now there is nothing to make durable.
    store.commit(delete, Durability::Immediate).await.unwrap();
    assert_eq!(strings.syncs.load(Ordering::SeqCst), before + 1);
}

#[tokio::test]
async fn a_batch_that_shrinks_by_clearing_passes_above_the_quota() {
    let store = MemoryStore::new();
    let quota = Quota { bytes: 100, keys: 10 };
    store.commit(put("k", vec![0; 1_000]), Durability::Eventual).await.unwrap();
    let replace = |size: usize| {
        let mut batch = clear();
        batch.put(&space(), key("k"), vec![0; size]).limit(&space(), quota);
        store.commit(batch, Durability::Eventual)
    };
    replace(500).await.unwrap();
    let refused = replace(501).await.unwrap_err();
    assert_eq!(fault(&refused), StorageFault::QuotaExceeded);
    assert!(refused.to_string().contains("used: 541"), "{refused}");
}

#[tokio::test]
async fn evicted_values_are_bounded() {
    const VALUE: usize = 4 << 20;
    let store = MemoryStore::new();
    let count = MAX_BATCH_BYTES / VALUE + 1;
    for number in 0..count {
        store.commit(put(&number.to_string(), vec![0; VALUE]), Durability::Eventual).await.unwrap();
    }
    let replace = |count: usize| {
        let mut batch = Batch::new();
        for number in 0..count {
            batch.replace(&space(), key(number.to_string()), "");
        }
        store.commit(batch, Durability::Eventual)
    };
    assert_eq!(fault(&replace(count).await.unwrap_err()), StorageFault::TooLarge);
    assert_eq!(store.usage(&space()).await.unwrap().keys, count as u64);
    assert!(get(&store, "0").await.is_some_and(|value| value.len() == VALUE), "nothing was written");
    assert_eq!(replace(count - 1).await.unwrap().evicted.len(), count - 1);
}

/// On a stack that is as small as those of threads usually are.
#[test]
fn a_scan_over_much_that_the_transaction_removed_needs_no_stack() {
    let scanning = thread::Builder::new().stack_size(1 << 20).spawn(|| {
        wait(async {
            let store = MemoryStore::new();
            let names = || (0..999_u32).map(|number| key(number.to_be_bytes()));
            let mut batch = Batch::new();
            for name in names() {
                batch.put(&space(), name, "");
            }
            batch.put(&space(), key("z"), "last");
            store.commit(batch, Durability::Eventual).await.unwrap();
            let mut transaction = store.begin().await.unwrap();
            for name in names() {
                transaction.delete(&space(), name).unwrap();
            }
            let page = transaction.scan(&space(), KeyRange::all(), 1).await.unwrap();
            assert_eq!(page.records, [(key("z"), b"last".to_vec())]);
            let page = transaction.scan(&space(), KeyRange::all().reversed(), 2).await.unwrap();
            assert_eq!(page.records, [(key("z"), b"last".to_vec())]);
        });
    });
    scanning.unwrap().join().unwrap();
}

/// A transaction's page is bounded, whether the engine has it, or others have removed it, or the transaction has written it.
#[tokio::test]
async fn a_page_of_a_transaction_stops_at_its_limit() {
    const VALUE: usize = MAX_PAGE_BYTES / 2;
    let store = MemoryStore::new();
    let names: Vec<_> = (0..10_u32).map(|number| number.to_string()).collect();
    for name in &names {
        store.commit(put(name, vec![0; VALUE]), Durability::Eventual).await.unwrap();
    }
    let mut transaction = store.begin().await.unwrap();
    let mut delete = Batch::new();
    for name in &names {
        delete.delete(&space(), key(name));
    }
    store.commit(delete, Durability::Eventual).await.unwrap();
    for name in &names {
        transaction.put(&space(), key(format!("{name} own")), vec![1; VALUE]).unwrap();
    }
    for reversed in [false, true] {
        let mut range = if reversed { KeyRange::all().reversed() } else { KeyRange::all() };
        let mut found = Vec::new();
        loop {
            let page = transaction.scan(&space(), range.clone(), 1_000).await.unwrap();
            let bytes: usize = page.records.iter().map(|(_, value)| value.len()).sum();
            assert!(!page.records.is_empty() && bytes <= MAX_PAGE_BYTES, "{bytes} bytes");
            found.extend(page.records.iter().map(|(key, _)| key.clone()));
            if !page.more {
                break;
            }
            range = range.after(found.last().unwrap().as_bytes());
        }
        let mut expected: Vec<_> =
            names.iter().flat_map(|name| [key(name), key(format!("{name} own"))]).collect();
        if reversed {
            expected.reverse();
        }
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn what_was_cleared_does_not_gather() {
    const KEYS: u32 = 900;
    let (store, strings) = open(false, Duration::ZERO);
    let fill = || {
        let mut batch = Batch::new();
        for number in 0..KEYS {
            batch.put(&space(), key(number.to_be_bytes()), "");
        }
        batch
    };
    for _ in 0..20 {
        store.commit(fill(), Durability::Eventual).await.unwrap();
        store.commit(clear(), Durability::Eventual).await.unwrap();
    }
    let records = strings.records.load(Ordering::SeqCst);
    assert!(records < 3 * KEYS as usize, "{records} records of {KEYS}");
    store.compact().await.unwrap();
    assert!(strings.records.load(Ordering::SeqCst) < 10, "compaction removes what is left");
}

#[tokio::test]
async fn transactions_read_on_after_a_commit_failed_that_was_too_large_to_record() {
    const VALUE: usize = 4 << 20;
    let (store, strings) = open(false, Duration::ZERO);
    let mut delete = Batch::new();
    for number in 0..20 {
        let name = number.to_string();
        store.commit(put(&name, vec![0; VALUE]), Durability::Eventual).await.unwrap();
        delete.delete(&space(), key(&name));
    }
    let _running = store.begin().await.unwrap();
    strings.fails.store(true, Ordering::SeqCst);
    assert_eq!(fault(&store.commit(delete, Durability::Eventual).await.unwrap_err()), StorageFault::Io);
    let mut transaction = store.begin().await.unwrap();
    assert!(seen(&mut transaction, "1").await.is_some_and(|value| value.len() == VALUE));
}

#[test]
fn dropping_the_store_waits_for_a_transaction_that_commits() {
    let (store, strings) = queued();
    wait(async {
        let mut transaction = store.begin().await.unwrap();
        transaction.put(&space(), key("k"), b"1".to_vec()).unwrap();
        let (stopped, go) = strings.stop_next();
        let mut commit = transaction.commit(Durability::Immediate);
        assert!((&mut commit).now_or_never().is_none());
        stopped.recv().unwrap();
        let closed = Arc::clone(&strings.closed);
        let dropping = thread::spawn(move || {
            drop(store);
            assert!(closed.load(Ordering::SeqCst), "dropped, and the engine is still open");
        });
        // Gives one who does not wait the time to fail.
        thread::sleep(Duration::from_millis(20));
        go.send(()).unwrap();
        commit.await.unwrap();
        dropping.join().unwrap();
    });
}

#[tokio::test]
async fn a_panic_of_the_engine_is_told_to_everybody() {
    for queues in [true, false] {
        let (store, strings) = open(queues, Duration::from_secs(3_600));
        store.commit(put("leases versions", ""), Durability::Eventual).await.unwrap();
        store.commit(put("k", "1"), Durability::Eventual).await.unwrap();
        *strings.after_apply.lock().unwrap() = Some(Box::new(|| panic!("as it was told to")));
        let committing = Arc::clone(&store);
        let commit =
            tokio::spawn(async move { committing.commit(put("k", "2"), Durability::Immediate).await });
        if let Ok(answered) = commit.await {
            answered.unwrap_err();
        }
        let refused = store.commit(put("k", "3"), Durability::Eventual).await.unwrap_err();
        assert_eq!(fault(&refused), StorageFault::ReadOnly, "{refused}");
        assert!(format!("{refused:?}").contains("panicked"), "{refused:?}");
        let mut transaction = store.begin().await.unwrap();
        assert!(seen(&mut transaction, "k").await.is_some(), "reads go on");
        store.close().await.unwrap_err();
    }
}
