//! `airssys:core/storage`.

use airssys_wasm_core::runtime::{
    Comparison as CoreComparison, Listing, StorageRefusal, StorageUsage as CoreUsage,
};

use super::wait_for;
use super::world::storage::{Comparison, Entry, Host, Page, StorageError, StorageUsage};
use crate::instance::State;

type Answer<T> = wasmtime::Result<Result<T, StorageError>>;

impl Host for State {
    async fn get(&mut self, key: Vec<u8>) -> Answer<Option<Vec<u8>>> {
        self.check_transfer("storage.get", key.len())?;
        let answer = wait_for("storage.get", self.services.storage.get(&key)).await?;
        if let Ok(Some(value)) = &answer {
            self.check_transfer("storage.get", value.len())?;
        }
        Ok(answer.map_err(StorageError::from))
    }

    async fn set(&mut self, key: Vec<u8>, value: Vec<u8>) -> Answer<()> {
        self.check_transfer("storage.set", key.len() + value.len())?;
        let answer = wait_for("storage.set", self.services.storage.set(key, value)).await?;
        Ok(answer.map_err(StorageError::from))
    }

    async fn replace(&mut self, key: Vec<u8>, value: Vec<u8>) -> Answer<Option<Vec<u8>>> {
        self.check_transfer("storage.replace", key.len() + value.len())?;
        let answer = wait_for("storage.replace", self.services.storage.replace(key, value)).await?;
        if let Ok(Some(evicted)) = &answer {
            self.check_transfer("storage.replace", evicted.len())?;
        }
        Ok(answer.map_err(StorageError::from))
    }

    async fn delete(&mut self, key: Vec<u8>) -> Answer<bool> {
        self.check_transfer("storage.delete", key.len())?;
        let answer = wait_for("storage.delete", self.services.storage.delete(key)).await?;
        Ok(answer.map_err(StorageError::from))
    }

    async fn exists(&mut self, key: Vec<u8>) -> Answer<bool> {
        self.check_transfer("storage.exists", key.len())?;
        let answer = wait_for("storage.exists", self.services.storage.exists(&key)).await?;
        Ok(answer.map_err(StorageError::from))
    }

    async fn list(&mut self, prefix: Vec<u8>, cursor: Option<Vec<u8>>, limit: u32) -> Answer<Page> {
        self.check_transfer("storage.list", prefix.len() + cursor.as_ref().map_or(0, Vec::len))?;
        let asked = self.services.storage.list(&prefix, cursor.as_deref(), limit);
        match wait_for("storage.list", asked).await? {
            Ok(listing) => {
                self.check_transfer("storage.list", size(&listing))?;
                Ok(Ok(listing.into()))
            }
            Err(refusal) => Ok(Err(refusal.into())),
        }
    }

    async fn compare_and_set(&mut self, key: Vec<u8>, expected: Comparison, value: Vec<u8>) -> Answer<bool> {
        let comparison = if let Comparison::Value(value) = &expected { value.len() } else { 0 };
        self.check_transfer("storage.compare-and-set", key.len() + comparison + value.len())?;
        let asked = self.services.storage.compare_and_set(key, expected.into(), value);
        let answer = wait_for("storage.compare-and-set", asked).await?;
        Ok(answer.map_err(StorageError::from))
    }

    async fn usage(&mut self) -> Answer<StorageUsage> {
        let answer = wait_for("storage.usage", self.services.storage.usage()).await?;
        Ok(answer.map(StorageUsage::from).map_err(StorageError::from))
    }
}

fn size(listing: &Listing) -> usize {
    let entries: usize = listing.entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
    entries + listing.cursor.as_ref().map_or(0, Vec::len)
}

impl From<Listing> for Page {
    fn from(listing: Listing) -> Self {
        let entries = listing.entries.into_iter().map(|entry| Entry { key: entry.key, value: entry.value });
        Self { entries: entries.collect(), cursor: listing.cursor }
    }
}

impl From<Comparison> for CoreComparison {
    fn from(expected: Comparison) -> Self {
        match expected {
            Comparison::Absent => Self::Absent,
            Comparison::Value(value) => Self::Value(value),
        }
    }
}

impl From<CoreUsage> for StorageUsage {
    fn from(usage: CoreUsage) -> Self {
        Self { bytes: usage.bytes, keys: usage.keys, max_bytes: usage.max_bytes, max_keys: usage.max_keys }
    }
}

impl From<StorageRefusal> for StorageError {
    fn from(refusal: StorageRefusal) -> Self {
        match refusal {
            StorageRefusal::Denied(text) => Self::Denied(text),
            StorageRefusal::QuotaExceeded(text) => Self::QuotaExceeded(text),
            StorageRefusal::TooLarge(text) => Self::TooLarge(text),
            StorageRefusal::InvalidCursor(text) => Self::InvalidCursor(text),
            StorageRefusal::Unavailable(text) => Self::Unavailable(text),
        }
    }
}
