//! RocksDB: a batch for each write, synchronised when it is to be durable.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, IteratorMode, Options, WriteBatch,
    WriteOptions,
};

use super::Raw;

pub(crate) fn open(path: &Path) -> DB {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(64 << 20));
    blocks.set_bloom_filter(10.0, false);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    // As the store's.
    options.set_write_buffer_size(8 << 20);
    options.set_max_background_jobs(2);
    DB::open(&options, path).expect("the folder can be made")
}

impl Raw for DB {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        DB::get(self, key).expect("it can be read")
    }

    fn scan(&self, from: &[u8], count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let records = self.iterator(IteratorMode::From(from, Direction::Forward)).take(count);
        records
            .map(|record| {
                let (key, value) = record.expect("it can be read");
                (key.into_vec(), value.into_vec())
            })
            .collect()
    }

    fn write(&self, entries: &[([u8; 16], Vec<u8>)], durable: bool) {
        let mut batch = WriteBatch::default();
        for (key, value) in entries {
            batch.put(key, value);
        }
        let mut how = WriteOptions::default();
        how.set_sync(durable);
        self.write_opt(batch, &how).expect("the disk takes it");
    }
}
