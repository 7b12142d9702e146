//! `airssys:core/storage`: the component's own keys and values, seen through the writes of the handler that runs.

use airssys_wasm_core::capability::Access;
use airssys_wasm_core::error::{Detail, Result, StorageFault, WasmError};
use airssys_wasm_core::runtime::{
    Comparison, Entry, Listing, ServiceResult, StorageRefusal, StorageService, StorageUsage,
};
use airssys_wasm_core::storage::{Key, KeyRange, MAX_PAGE_BYTES, Precondition, Record, check_value};
use async_trait::async_trait;

use crate::instance::InstanceContext;
use crate::unit_of_work::WriteRefused;

/// The most entries of one page, whatever the guest asks for.
const MAX_PAGE: usize = 1_000;

type Refusable<T> = Result<T, StorageRefusal>;

/// The value of a key now: where it comes from decides what a compare-and-set has to require.
enum Current {
    /// Written by the handler that runs.
    Written(Option<Vec<u8>>),
    /// In the store.
    Stored(Option<Record>),
}

impl Current {
    fn value(&self) -> Option<&[u8]> {
        match self {
            Self::Written(value) => value.as_deref(),
            Self::Stored(record) => record.as_ref().map(|record| record.value.as_slice()),
        }
    }

    fn into_value(self) -> Option<Vec<u8>> {
        match self {
            Self::Written(value) => value,
            Self::Stored(record) => record.map(|record| record.value),
        }
    }
}

impl InstanceContext {
    /// Counts the call and asks the gate: what every function of this interface does first.
    fn enter_storage(&self) -> Result<Refusable<()>> {
        self.count_host_call()?;
        let access = Access::Storage { namespace: self.id().as_str() };
        Ok(self.demand(access).map_err(|denial| StorageRefusal::Denied(denial.to_string())))
    }

    async fn current(&self, key: &[u8]) -> Refusable<Current> {
        let key = Key::new(key).map_err(|error| refused(&error))?;
        if let Some(value) = self.unit().writes().get(key.as_bytes()) {
            return Ok(Current::Written(value.map(<[u8]>::to_vec)));
        }
        self.shared
            .store
            .get(&self.namespace, &key)
            .await
            .map(Current::Stored)
            .map_err(|error| refused(&error))
    }

    async fn write(&self, key: Vec<u8>, value: Option<Vec<u8>>, current: &Current) -> Refusable<()> {
        if let Some(value) = &value {
            check_value("set", value).map_err(|error| refused(&error))?;
        }
        let stored = self.unit().writes().stored();
        if stored.is_none() {
            let usage = self.shared.store.usage(&self.namespace).await.map_err(|error| refused(&error))?;
            self.unit().writes().set_stored(usage);
        }
        let quota = self.quota();
        let old_length = current.value().map(<[u8]>::len);
        let written = self.unit().writes().write(key, value, old_length, quota);
        written.map_err(|refused| match refused {
            WriteRefused::Quota(usage) => StorageRefusal::QuotaExceeded(format!(
                "{} would hold {} bytes in {} keys; {} bytes in {} keys are allowed",
                self.namespace, usage.bytes, usage.keys, quota.bytes, quota.keys
            )),
            WriteRefused::Batch => {
                StorageRefusal::TooLarge("this handler has written more than one commit takes".to_owned())
            }
        })
    }
}

/// A refusal or failure of the store, as the guest may know it.
fn refused(error: &WasmError) -> StorageRefusal {
    match error.detail() {
        Some(Detail::Storage(StorageFault::InvalidKey | StorageFault::TooLarge)) => {
            StorageRefusal::TooLarge(error.message())
        }
        detail => {
            tracing::error!(%error, "the store failed a component");
            let reason = detail.map_or_else(|| error.kind().to_string(), |detail| detail.to_string());
            StorageRefusal::Unavailable(reason)
        }
    }
}

/// Ends the function with a refusal for the guest.
macro_rules! granted {
    ($refusable:expr) => {
        match $refusable {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

#[async_trait]
impl StorageService for InstanceContext {
    async fn get(&self, key: &[u8]) -> ServiceResult<Option<Vec<u8>>, StorageRefusal> {
        granted!(self.enter_storage()?);
        Ok(self.current(key).await.map(Current::into_value))
    }

    async fn set(&self, key: Vec<u8>, value: Vec<u8>) -> ServiceResult<(), StorageRefusal> {
        granted!(self.enter_storage()?);
        let current = granted!(self.current(&key).await);
        Ok(self.write(key, Some(value), &current).await)
    }

    async fn replace(&self, key: Vec<u8>, value: Vec<u8>) -> ServiceResult<Option<Vec<u8>>, StorageRefusal> {
        granted!(self.enter_storage()?);
        let current = granted!(self.current(&key).await);
        granted!(self.write(key.clone(), Some(value), &current).await);
        if let Current::Stored(record) = &current {
            // What the guest is told was evicted must be what the commit evicts.
            let read =
                record.as_ref().map_or(Precondition::Absent, |record| Precondition::Version(record.version));
            self.unit().writes().require(&key, read);
        }
        Ok(Ok(current.into_value()))
    }

    async fn delete(&self, key: Vec<u8>) -> ServiceResult<bool, StorageRefusal> {
        granted!(self.enter_storage()?);
        let current = granted!(self.current(&key).await);
        if current.value().is_none() {
            return Ok(Ok(false));
        }
        Ok(self.write(key, None, &current).await.map(|()| true))
    }

    async fn exists(&self, key: &[u8]) -> ServiceResult<bool, StorageRefusal> {
        granted!(self.enter_storage()?);
        Ok(self.current(key).await.map(|current| current.value().is_some()))
    }

    async fn list(
        &self,
        prefix: &[u8],
        cursor: Option<&[u8]>,
        limit: u32,
    ) -> ServiceResult<Listing, StorageRefusal> {
        granted!(self.enter_storage()?);
        let cursors = Cursors { namespace: self.namespace.as_bytes(), prefix };
        let mut range = KeyRange::prefix(prefix);
        if let Some(cursor) = cursor {
            let last = granted!(cursors.read(cursor));
            range = range.after(last);
        }
        let limit = (limit as usize).clamp(1, MAX_PAGE);
        Ok(self.page(range, limit).await.map(|(entries, more)| {
            let cursor = entries.last().filter(|_| more).map(|last| cursors.write(&last.key));
            Listing { entries, cursor }
        }))
    }

    async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Comparison,
        value: Vec<u8>,
    ) -> ServiceResult<bool, StorageRefusal> {
        granted!(self.enter_storage()?);
        let current = granted!(self.current(&key).await);
        let expected = match &expected {
            Comparison::Absent => None,
            Comparison::Value(value) => Some(value.as_slice()),
        };
        if current.value() != expected {
            return Ok(Ok(false));
        }
        granted!(self.write(key.clone(), Some(value), &current).await);
        if let Current::Stored(record) = current {
            let precondition =
                record.map_or(Precondition::Absent, |record| Precondition::Version(record.version));
            self.unit().writes().require(&key, precondition);
        }
        Ok(Ok(true))
    }

    async fn usage(&self) -> ServiceResult<StorageUsage, StorageRefusal> {
        granted!(self.enter_storage()?);
        let stored =
            granted!(self.shared.store.usage(&self.namespace).await.map_err(|error| refused(&error)));
        let mut unit = self.unit();
        unit.writes().set_stored(stored);
        let usage = unit.writes().usage();
        let quota = self.quota();
        Ok(Ok(StorageUsage {
            bytes: usage.bytes,
            keys: usage.keys,
            max_bytes: quota.bytes,
            max_keys: quota.keys,
        }))
    }
}

impl InstanceContext {
    /// Entries of `range`, the uncommitted ones laid over the stored ones; whether there may be more behind the last.
    async fn page(&self, mut range: KeyRange, limit: usize) -> Refusable<(Vec<Entry>, bool)> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        loop {
            let page = self
                .shared
                .store
                .scan(&self.namespace, range.clone(), limit)
                .await
                .map_err(|error| refused(&error))?;
            let end = page.records.last().filter(|_| page.more).map(|(key, _)| key.clone());
            let mut stored = page.records.into_iter().peekable();
            let written: Vec<_> = {
                let mut unit = self.unit();
                let within = |key: &[u8]| end.as_ref().is_none_or(|end| key <= end.as_bytes());
                let mut live = 0;
                // Up to one value more than a page holds: the page is then full before the first one left out.
                let own = unit.writes().range(&range).take_while(|(key, value)| {
                    let wanted = live <= limit && within(key);
                    live += usize::from(value.is_some());
                    wanted
                });
                own.map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))).collect()
            };
            let mut written = written.into_iter().peekable();
            loop {
                let from_store = match (stored.peek(), written.peek()) {
                    (None, None) => break,
                    (Some(_), None) => true,
                    (None, Some(_)) => false,
                    (Some((key, _)), Some((own, _))) => key.as_bytes() < own.as_slice(),
                };
                let next = if from_store {
                    stored.next().map(|(key, record)| Entry { key: key.into_bytes(), value: record.value })
                } else {
                    let own = written.next();
                    stored.next_if(|(key, _)| {
                        own.as_ref().is_some_and(|(own, _)| key.as_bytes() == own.as_slice())
                    });
                    own.and_then(|(key, value)| value.map(|value| Entry { key, value }))
                };
                let Some(entry) = next else { continue };
                let size = entry.key.len() + entry.value.len();
                if entries.len() == limit || (!entries.is_empty() && bytes + size > MAX_PAGE_BYTES) {
                    return Ok((entries, true));
                }
                bytes += size;
                entries.push(entry);
            }
            let Some(end) = end else { return Ok((entries, false)) };
            range = range.after(end.as_bytes());
        }
    }
}

/// Cursors of one listing: `namespace`, `prefix` and last key, each behind its length, so that one of another
/// component or another prefix is told from one of this listing.
struct Cursors<'a> {
    namespace: &'a [u8],
    prefix: &'a [u8],
}

impl Cursors<'_> {
    fn head(&self) -> Vec<u8> {
        let mut head = vec![1];
        for part in [self.namespace, self.prefix] {
            head.extend_from_slice(&(part.len() as u32).to_be_bytes());
            head.extend_from_slice(part);
        }
        head
    }

    fn write(&self, last: &[u8]) -> Vec<u8> {
        let mut cursor = self.head();
        cursor.extend_from_slice(last);
        cursor
    }

    fn read<'a>(&self, cursor: &'a [u8]) -> Refusable<&'a [u8]> {
        let last = cursor.strip_prefix(self.head().as_slice());
        last.filter(|last| last.starts_with(self.prefix) && !last.is_empty() && last.len() <= Key::MAX_LENGTH)
            .ok_or_else(|| {
                StorageRefusal::InvalidCursor("the cursor was not made by `list` with this prefix".to_owned())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_listing_is_refused() {
        let ours = Cursors { namespace: b"acme/a", prefix: b"p" };
        assert_eq!(ours.read(&ours.write(b"pq")), Ok(b"pq".as_slice()));
        for other in [
            Cursors { namespace: b"acme/b", prefix: b"p" }.write(b"pq"),
            Cursors { namespace: b"acme/a", prefix: b"" }.write(b"pq"),
            ours.write(b"q"),
            ours.write(b""),
            ours.write(&[b'p'; 3_000]),
            b"".to_vec(),
            vec![0xff; 20],
        ] {
            assert!(ours.read(&other).is_err(), "{other:?} was accepted");
        }
    }
}
