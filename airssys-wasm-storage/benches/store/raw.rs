//! The engines by hand, as a program would use them without a store above: the floors.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

#[cfg(feature = "fjall")]
pub(crate) mod fjall;
pub(crate) mod map;
pub(crate) mod redb;
#[cfg(feature = "rocksdb")]
pub(crate) mod rocksdb;
#[cfg(feature = "sled")]
pub(crate) mod sled;

/// What the benches do with an engine.
pub(crate) trait Raw: Sync {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// So many records, or as many as there are, from this key on.
    fn scan(&self, from: &[u8], count: usize) -> Vec<(Vec<u8>, Vec<u8>)>;

    /// Writes all of it at once.
    fn write(&self, entries: &[([u8; 16], Vec<u8>)], durable: bool);

    /// Gives back what nobody needs, where the engine has to be asked for it.
    fn compact(&mut self) {}
}

/// A file on the device, a block of which is written and synchronised.
pub(crate) struct Device {
    file: File,
    block: u64,
}

impl Device {
    const BLOCKS: u64 = 256;
    const SIZE: usize = 4_096;

    pub(crate) fn in_folder(folder: &Path) -> Self {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(folder.join("device"));
        let file = file.expect("the folder can be written to");
        file.write_all_at(&vec![1; Self::SIZE * Self::BLOCKS as usize], 0).expect("there is room");
        file.sync_all().expect("the disk takes it");
        Self { file, block: 0 }
    }

    pub(crate) fn write(&mut self) {
        self.block = (self.block + 1) % Self::BLOCKS;
        let bytes = [self.block as u8; Self::SIZE];
        self.file.write_all_at(&bytes, self.block * Self::SIZE as u64).expect("there is room");
        self.file.sync_data().expect("the disk takes it");
    }
}
