//! What the tests of every store share.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use airssys_wasm_core::error::{Detail, Result, StorageFault};
use airssys_wasm_core::storage::{
    Batch, Durability, Key, KeyRange, Namespace, Page, Record, StorageBackend, Usage,
};
use airssys_wasm_storage::MemoryStore;
#[cfg(feature = "fjall")]
use airssys_wasm_storage::{FjallOptions, FjallStore};
#[cfg(feature = "redb")]
use airssys_wasm_storage::{RedbOptions, RedbStore};
#[cfg(feature = "rocksdb")]
use airssys_wasm_storage::{RocksDbOptions, RocksDbStore};
#[cfg(feature = "sled")]
use airssys_wasm_storage::{SledOptions, SledStore};

/// A store that outlives its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    #[cfg(feature = "redb")]
    Redb,
    #[cfg(feature = "fjall")]
    Fjall,
    #[cfg(feature = "sled")]
    Sled,
    #[cfg(feature = "rocksdb")]
    RocksDb,
}

impl Kind {
    pub(crate) const ALL: &[Self] = &[
        #[cfg(feature = "redb")]
        Self::Redb,
        #[cfg(feature = "fjall")]
        Self::Fjall,
        #[cfg(feature = "sled")]
        Self::Sled,
        #[cfg(feature = "rocksdb")]
        Self::RocksDb,
    ];

    /// As its profile says it, and the environment of a child process.
    pub(crate) fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "redb")]
            Self::Redb => "redb",
            #[cfg(feature = "fjall")]
            Self::Fjall => "fjall",
            #[cfg(feature = "sled")]
            Self::Sled => "sled",
            #[cfg(feature = "rocksdb")]
            Self::RocksDb => "rocksdb",
        }
    }

    pub(crate) fn named(name: &str) -> Self {
        *Self::ALL.iter().find(|kind| kind.name() == name).unwrap()
    }

    #[allow(unused_variables, reason = "without a feature there is nothing to open")]
    pub(crate) fn try_open(self, path: &Path) -> Result<Arc<dyn StorageBackend>> {
        match self {
            #[cfg(feature = "redb")]
            Self::Redb => Ok(Arc::new(RedbStore::open(path, RedbOptions::default())?)),
            #[cfg(feature = "fjall")]
            Self::Fjall => Ok(Arc::new(FjallStore::open(path, FjallOptions::default())?)),
            #[cfg(feature = "sled")]
            Self::Sled => Ok(Arc::new(SledStore::open(path, SledOptions::default())?)),
            #[cfg(feature = "rocksdb")]
            Self::RocksDb => Ok(Arc::new(RocksDbStore::open(path, RocksDbOptions::default())?)),
        }
    }

    #[track_caller]
    pub(crate) fn open(self, path: &Path) -> Arc<dyn StorageBackend> {
        self.try_open(path).unwrap()
    }
}

/// A fresh store, and the folder it lives in.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn StorageBackend>,
    home: Option<(Kind, tempfile::TempDir)>,
}

impl Bench {
    pub(crate) fn memory() -> Self {
        Self { store: Arc::new(MemoryStore::new()), home: None }
    }

    pub(crate) fn of(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: kind.open(&folder.path().join("store")), home: Some((kind, folder)) }
    }

    /// Closes and opens again what outlives its store.
    pub(crate) async fn reopen(&mut self) {
        if let Some((kind, folder)) = &self.home {
            self.store.close().await.unwrap();
            self.store = kind.open(&folder.path().join("store"));
        }
    }
}

#[cfg(feature = "redb")]
pub(crate) fn open(path: &Path) -> RedbStore {
    RedbStore::open(path, RedbOptions::default()).unwrap()
}

#[cfg(feature = "rocksdb")]
pub(crate) fn open_rocksdb(path: &Path) -> RocksDbStore {
    RocksDbStore::open(path, RocksDbOptions::default()).unwrap()
}

/// Runs a test on every store.
#[macro_export]
macro_rules! on_every_store {
    ($(async fn $name:ident($bench:ident: Bench) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "not every test needs everything")]
            use super::*;

            async fn check(#[allow(unused_mut, reason = "few tests open again")] mut $bench: Bench) $body

            #[tokio::test]
            async fn memory() {
                check(Bench::memory()).await;
            }

            #[cfg(feature = "redb")]
            #[tokio::test]
            async fn redb() {
                check(Bench::of(stores::Kind::Redb)).await;
            }

            #[cfg(feature = "fjall")]
            #[tokio::test]
            async fn fjall() {
                check(Bench::of(stores::Kind::Fjall)).await;
            }

            #[cfg(feature = "sled")]
            #[tokio::test]
            async fn sled() {
                check(Bench::of(stores::Kind::Sled)).await;
            }

            #[cfg(feature = "rocksdb")]
            #[tokio::test]
            async fn rocksdb() {
                check(Bench::of(stores::Kind::RocksDb)).await;
            }
        }
    )*};
}

/// Runs a test on every store that lives in a folder.
#[macro_export]
macro_rules! on_every_folder {
    ($($(#[$meta:meta])* async fn $name:ident($kind:ident: Kind) $body:block)*) => {$(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "not every test needs everything")]
            use super::*;

            async fn check($kind: Kind) $body

            #[cfg(feature = "fjall")]
            #[tokio::test]
            async fn fjall() {
                check(Kind::Fjall).await;
            }

            #[cfg(feature = "sled")]
            #[tokio::test]
            async fn sled() {
                check(Kind::Sled).await;
            }
        }
    )*};
}

/// Every file below a folder, by its path there, with what it holds.
pub(crate) fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Makes a folder that holds these files, and nothing else.
pub(crate) fn plant(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    for (path, bytes) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

pub(crate) fn key(bytes: impl AsRef<[u8]>) -> Key {
    Key::new(bytes.as_ref()).unwrap()
}

pub(crate) fn space(name: impl AsRef<[u8]>) -> Namespace {
    Namespace::new(name).unwrap()
}

pub(crate) async fn put(store: &dyn StorageBackend, namespace: &Namespace, name: &str, value: &str) {
    let mut batch = Batch::new();
    batch.put(namespace, key(name), value);
    store.commit(batch, Durability::Eventual).await.unwrap();
}

pub(crate) async fn get(
    store: &dyn StorageBackend,
    namespace: &Namespace,
    name: impl AsRef<[u8]>,
) -> Option<Record> {
    store.get(namespace, &key(name)).await.unwrap()
}

pub(crate) async fn value(
    store: &dyn StorageBackend,
    namespace: &Namespace,
    name: impl AsRef<[u8]>,
) -> Option<Vec<u8>> {
    get(store, namespace, name).await.map(|record| record.value)
}

pub(crate) async fn scan(
    store: &dyn StorageBackend,
    namespace: &Namespace,
    range: KeyRange,
    limit: usize,
) -> Page {
    store.scan(namespace, range, limit).await.unwrap()
}

/// Every key of a range, over as many pages as it takes.
pub(crate) async fn keys(
    store: &dyn StorageBackend,
    namespace: &Namespace,
    mut range: KeyRange,
    limit: usize,
) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    loop {
        let page = scan(store, namespace, range.clone(), limit).await;
        keys.extend(page.records.iter().map(|(key, _)| key.as_bytes().to_vec()));
        match page.records.last() {
            Some((last, _)) if page.more => range = range.after(last.as_bytes()),
            _ => return keys,
        }
    }
}

/// What a namespace holds, counted from its records.
pub(crate) async fn recount(store: &dyn StorageBackend, namespace: &Namespace) -> Usage {
    let mut usage = Usage::default();
    let mut range = KeyRange::all();
    loop {
        let page = scan(store, namespace, range.clone(), 1_000).await;
        for (key, record) in &page.records {
            usage.bytes += Usage::of_record(key, &record.value);
            usage.keys += 1;
        }
        match page.records.last() {
            Some((last, _)) if page.more => range = range.after(last.as_bytes()),
            _ => return usage,
        }
    }
}

/// The fault of what must fail.
#[track_caller]
pub(crate) fn fault<T: std::fmt::Debug>(result: Result<T>) -> StorageFault {
    match result {
        Err(error) => match error.detail() {
            Some(Detail::Storage(fault)) => fault,
            _ => panic!("not of a store: {error}"),
        },
        Ok(value) => panic!("it succeeded: {value:?}"),
    }
}

/// A small generator of numbers: the same seed, the same numbers.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// From `AIRSSYS_SEED`, or from the clock; printed, so that a failure can be repeated.
    pub(crate) fn seeded() -> Self {
        let seed =
            std::env::var("AIRSSYS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
                std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .map_or(1, |now| now.as_nanos() as u64)
            });
        #[allow(clippy::print_stdout, reason = "shown when the test fails")]
        {
            println!("AIRSSYS_SEED={seed}");
        }
        Self::new(seed)
    }

    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }
}
