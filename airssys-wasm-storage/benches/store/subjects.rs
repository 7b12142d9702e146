//! The stores that are measured: those of this build.

use std::path::Path;
use std::sync::Arc;

use airssys_wasm_core::component::ByteSize;
use airssys_wasm_storage::{Maintenance, MemoryStore, RedbOptions, RedbStore};

use crate::raw::{self, Raw};

/// The memory for cached pages that the stores and their engines have, where nothing else is said.
pub(crate) const CACHE: ByteSize = ByteSize::mib(64);

/// A store and the engine that it is made of.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) raw_name: &'static str,
    pub(crate) in_memory: bool,
    /// How many times the device's own time to synchronise a durable commit may take.
    pub(crate) syncs: f64,
    /// Opens the store, with so much cache.
    pub(crate) store: fn(&Path, ByteSize) -> Arc<dyn Maintenance>,
    pub(crate) raw: fn(&Path) -> Box<dyn Raw>,
}

/// The packages of the engines.
pub(crate) const PACKAGES: &[&str] = &[
    "redb",
    #[cfg(feature = "fjall")]
    "fjall",
    #[cfg(feature = "sled")]
    "sled",
    #[cfg(feature = "rocksdb")]
    "rocksdb",
];

pub(crate) const SUBJECTS: &[Subject] = &[
    Subject {
        name: "memory",
        raw_name: "BTreeMap",
        in_memory: true,
        syncs: 0.0,
        store: |_, _| Arc::new(MemoryStore::new()),
        raw: |_| Box::new(raw::map::Map::default()),
    },
    Subject {
        name: "redb",
        raw_name: "redb by hand, two phases",
        in_memory: false,
        syncs: 3.5,
        store: |path, cache| {
            let options = RedbOptions { cache, ..RedbOptions::default() };
            Arc::new(RedbStore::open(path, options).expect("the file can be made"))
        },
        raw: |path| Box::new(raw::redb::open(path)),
    },
    #[cfg(feature = "fjall")]
    Subject {
        name: "fjall",
        raw_name: "fjall by hand",
        in_memory: false,
        syncs: 2.5,
        store: |path, cache| {
            use airssys_wasm_storage::{FjallOptions, FjallStore};
            let options = FjallOptions { cache, ..FjallOptions::default() };
            Arc::new(FjallStore::open(path, options).expect("the folder can be made"))
        },
        raw: |path| Box::new(raw::fjall::open(path)),
    },
    #[cfg(feature = "sled")]
    Subject {
        name: "sled",
        raw_name: "sled by hand",
        in_memory: false,
        syncs: 2.5,
        store: |path, cache| {
            use airssys_wasm_storage::{SledOptions, SledStore};
            let options = SledOptions { cache, ..SledOptions::default() };
            Arc::new(SledStore::open(path, options).expect("the folder can be made"))
        },
        raw: |path| Box::new(raw::sled::open(path)),
    },
    #[cfg(feature = "rocksdb")]
    Subject {
        name: "rocksdb",
        raw_name: "RocksDB by hand",
        in_memory: false,
        syncs: 2.5,
        store: |path, cache| {
            use airssys_wasm_storage::{RocksDbOptions, RocksDbStore};
            let options = RocksDbOptions { cache, ..RocksDbOptions::default() };
            Arc::new(RocksDbStore::open(path, options).expect("the folder can be made"))
        },
        raw: |path| Box::new(raw::rocksdb::open(path)),
    },
];
