//! fjall: a batch for each write, synchronised when it is to be durable.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::Raw;

pub(crate) struct Fjall {
    database: Database,
    keyspace: Keyspace,
}

pub(crate) fn open(path: &Path) -> Fjall {
    let database = Database::builder(path).cache_size(64 << 20).open().expect("the folder can be made");
    // As large as the store's.
    let options = || KeyspaceCreateOptions::default().max_memtable_size(8 << 20);
    let keyspace = database.keyspace("bench", options).expect("the keyspace is new");
    Fjall { database, keyspace }
}

impl Raw for Fjall {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.keyspace.get(key).expect("it can be read").map(|found| found.to_vec())
    }

    fn scan(&self, from: &[u8], count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let records = self.keyspace.range(from..).take(count);
        records
            .map(|record| {
                let (key, value) = record.into_inner().expect("it can be read");
                (key.to_vec(), value.to_vec())
            })
            .collect()
    }

    fn write(&self, entries: &[([u8; 16], Vec<u8>)], durable: bool) {
        let mode = if durable { PersistMode::SyncAll } else { PersistMode::Buffer };
        let mut batch = self.database.batch().durability(Some(mode));
        for (key, value) in entries {
            batch.insert(&self.keyspace, key.as_slice(), value.as_slice());
        }
        batch.commit().expect("the disk takes it");
    }
}
