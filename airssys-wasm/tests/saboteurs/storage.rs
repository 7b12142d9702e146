//! The storage that a guest is given, with one flaw, or none.

use std::mem;
use std::sync::{Arc, Mutex};

use airssys_wasm::core::component::ComponentId;
use airssys_wasm::core::error::{ErrorKind, Result, WasmError};
use airssys_wasm::core::runtime::{
    Comparison, Listing, ServiceResult, StorageRefusal, StorageService, StorageUsage,
};
use airssys_wasm::core::storage::{Batch, Key, Namespace};
use airssys_wasm_conformance::fakes::FakeHost;
use async_trait::async_trait;

use crate::engine::lock;
use crate::flaw::Flaw;
use crate::store::Latest;

#[derive(Debug)]
pub(crate) struct Storage {
    inner: Arc<dyn StorageService>,
    flaw: Option<Flaw>,
    /// Takes and gives everything, without a gate.
    open: Arc<dyn StorageService>,
    store: Latest,
    namespace: Namespace,
    decided: Mutex<Decided>,
    writes: Writes,
}

/// Keys and values as they were written, over all instances of a component.
pub(crate) type Writes = Arc<Mutex<Vec<(Vec<u8>, Vec<u8>)>>>;

/// What the gate has said before.
#[derive(Debug, Default)]
struct Decided {
    allowed: bool,
    denied: Option<StorageRefusal>,
}

impl Storage {
    pub(crate) fn new(
        inner: Arc<dyn StorageService>,
        id: &ComponentId,
        flaw: Option<Flaw>,
        store: Latest,
        writes: Writes,
    ) -> Self {
        Self {
            inner,
            flaw,
            open: FakeHost::new(id.as_str()).services().storage,
            store,
            namespace: Namespace::of_component(id),
            decided: Mutex::default(),
            writes,
        }
    }

    /// Writes once more what calls have written that were ended.
    pub(crate) async fn write_again(&self) -> Result<()> {
        let left = mem::take(&mut *lock(&self.writes));
        for (key, value) in left {
            // What is refused now was refused then.
            let _ = self.inner.set(key, value).await?;
        }
        Ok(())
    }

    /// What a call has written that came to its end is not written again.
    pub(crate) fn forget_writes(&self) {
        lock(&self.writes).clear();
    }

    /// The key that is really meant.
    fn meant<'key>(&self, key: &'key [u8]) -> &'key [u8] {
        let end = key.iter().skip(1).position(|byte| *byte == 0).map(|position| position + 1);
        end.filter(|_| self.flaw == Some(Flaw::KeysEndAtNul)).map_or(key, |end| &key[..end])
    }

    /// Who is asked.
    fn asked(&self) -> &dyn StorageService {
        let decided = lock(&self.decided);
        match self.flaw {
            Some(Flaw::GateNotAsked) => &*self.open,
            Some(Flaw::AllowedForGood) if decided.allowed => &*self.open,
            Some(Flaw::DeniedForGood) if decided.denied.is_some() => &*self.open,
            _ => &*self.inner,
        }
    }

    fn bend<T: Default>(&self, answer: ServiceResult<T, StorageRefusal>) -> ServiceResult<T, StorageRefusal> {
        let mut decided = lock(&self.decided);
        match &answer {
            Ok(Err(denied @ StorageRefusal::Denied(_))) => decided.denied = Some(denied.clone()),
            Ok(_) => decided.allowed = true,
            Err(_) => {}
        }
        match (self.flaw, answer) {
            (Some(Flaw::DeniedForGood), Ok(Ok(_))) if decided.denied.is_some() => {
                Ok(decided.denied.clone().map_or_else(|| Ok(T::default()), Err))
            }
            (Some(Flaw::DenialsUnexplained), Ok(Err(StorageRefusal::Denied(_)))) => {
                Ok(Err(StorageRefusal::Denied("no".to_owned())))
            }
            (Some(Flaw::RefusalsAreSuccesses), Ok(Err(_))) => Ok(Ok(T::default())),
            (Some(Flaw::RefusalsEndTheCall), Ok(Err(_))) => {
                Err(WasmError::new(ErrorKind::Storage, "host call").saying("refused, and ended for it"))
            }
            (_, answer) => answer,
        }
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl StorageService for Storage {
    async fn get(&self, key: &[u8]) -> ServiceResult<Option<Vec<u8>>, StorageRefusal> {
        let answer = self.asked().get(self.meant(key)).await;
        self.bend(answer)
    }

    async fn set(&self, key: Vec<u8>, value: Vec<u8>) -> ServiceResult<(), StorageRefusal> {
        if self.flaw == Some(Flaw::WritesAtOnce) {
            let mut batch = Batch::new();
            batch.put(&self.namespace, Key::new(key)?, value);
            return self.store.commit(batch).await.map(|_| Ok(()));
        }
        if self.flaw == Some(Flaw::EndedCallsWriteLater) {
            lock(&self.writes).push((key.clone(), value.clone()));
        }
        let answer = self.asked().set(self.meant(&key).to_vec(), value).await;
        self.bend(answer)
    }

    async fn replace(&self, key: Vec<u8>, value: Vec<u8>) -> ServiceResult<Option<Vec<u8>>, StorageRefusal> {
        let answer = self.asked().replace(key, value).await;
        self.bend(answer)
    }

    async fn delete(&self, key: Vec<u8>) -> ServiceResult<bool, StorageRefusal> {
        let answer = self.asked().delete(key).await;
        self.bend(answer)
    }

    async fn exists(&self, key: &[u8]) -> ServiceResult<bool, StorageRefusal> {
        let answer = self.asked().exists(key).await;
        self.bend(answer)
    }

    async fn list(
        &self,
        prefix: &[u8],
        cursor: Option<&[u8]>,
        limit: u32,
    ) -> ServiceResult<Listing, StorageRefusal> {
        let mut answer = self.asked().list(prefix, cursor, limit).await;
        if self.flaw == Some(Flaw::CursorsMended)
            && matches!(answer, Ok(Err(StorageRefusal::InvalidCursor(_))))
        {
            answer = self.asked().list(prefix, None, limit).await;
        }
        self.bend(answer)
    }

    async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Comparison,
        value: Vec<u8>,
    ) -> ServiceResult<bool, StorageRefusal> {
        let answer = self.asked().compare_and_set(key, expected, value).await;
        self.bend(answer)
    }

    async fn usage(&self) -> ServiceResult<StorageUsage, StorageRefusal> {
        let answer = self.asked().usage().await;
        self.bend(answer)
    }
}
