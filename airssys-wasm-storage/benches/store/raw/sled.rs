//! sled: a batch for each write, flushed when it is to be durable; without the synchronisations that sled leaves out.

use std::path::Path;

use sled::{Batch, Config, Db};

use super::Raw;

pub(crate) fn open(path: &Path) -> Db {
    let config = Config::new().path(path).cache_capacity(64 << 20).flush_every_ms(None);
    config.open().expect("the folder can be made")
}

impl Raw for Db {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        sled::Tree::get(self, key).expect("it can be read").map(|found| found.to_vec())
    }

    fn scan(&self, from: &[u8], count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let records = self.range(from..).take(count);
        records
            .map(|record| {
                let (key, value) = record.expect("it can be read");
                (key.to_vec(), value.to_vec())
            })
            .collect()
    }

    fn write(&self, entries: &[([u8; 16], Vec<u8>)], durable: bool) {
        let mut batch = Batch::default();
        for (key, value) in entries {
            batch.insert(key.as_slice(), value.as_slice());
        }
        self.apply_batch(batch).expect("the disk takes it");
        if durable {
            self.flush().expect("the disk takes it");
        }
    }
}
