//! The map of the standard library.

use std::collections::BTreeMap;
use std::sync::RwLock;

use super::Raw;

#[derive(Debug, Default)]
pub(crate) struct Map(RwLock<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Raw for Map {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.read().expect("nobody panics").get(key).cloned()
    }

    fn scan(&self, from: &[u8], count: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let map = self.0.read().expect("nobody panics");
        map.range(from.to_vec()..).take(count).map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn write(&self, entries: &[([u8; 16], Vec<u8>)], _durable: bool) {
        let entries = entries.iter().map(|(key, value)| (key.to_vec(), value.clone()));
        self.0.write().expect("nobody panics").extend(entries);
    }
}
