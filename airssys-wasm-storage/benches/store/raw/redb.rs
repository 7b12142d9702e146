//! redb: a transaction for each operation, durable ones in two phases, as the store has them.

use std::path::Path;

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::Raw;

const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("bench");

pub(crate) fn open(path: &Path) -> Database {
    Database::builder().set_cache_size(64 << 20).create(path).expect("the file can be made")
}

impl Raw for Database {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let transaction = self.begin_read().expect("the database is open");
        let table = transaction.open_table(TABLE).expect("the table is there");
        table.get(key).expect("it can be read").map(|found| found.value().to_vec())
    }

    fn scan(&self, from: &[u8], count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let transaction = self.begin_read().expect("the database is open");
        let table = transaction.open_table(TABLE).expect("the table is there");
        let records = table.range(from..).expect("it can be read").take(count);
        records
            .map(|record| {
                let (key, value) = record.expect("it can be read");
                (key.value().to_vec(), value.value().to_vec())
            })
            .collect()
    }

    fn write(&self, entries: &[([u8; 16], Vec<u8>)], durable: bool) {
        let mut transaction = self.begin_write().expect("nobody else writes");
        let durability = if durable { Durability::Immediate } else { Durability::None };
        transaction.set_durability(durability).expect("nothing was written yet");
        transaction.set_two_phase_commit(true);
        {
            let mut table = transaction.open_table(TABLE).expect("the table is ours");
            for (key, value) in entries {
                table.insert(key.as_slice(), value.as_slice()).expect("the disk takes it");
            }
        }
        transaction.commit().expect("the disk takes it");
    }

    fn compact(&mut self) {
        Database::compact(self).expect("nobody uses it");
    }
}
