//! The storage that a guest is given, with one flaw, or none.

use std::sync::{Arc, Mutex, PoisonError};

use airssys_wasm::core::component::ComponentId;
use airssys_wasm::core::error::{ErrorKind, WasmError};
use airssys_wasm::core::runtime::{
    Comparison, Listing, ServiceResult, StorageRefusal, StorageService, StorageUsage,
};
use airssys_wasm::core::storage::{Batch, Key, Namespace};
use airssys_wasm_conformance::fakes::FakeHost;
use async_trait::async_trait;

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
}

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
    ) -> Self {
        Self {
            inner,
            flaw,
            open: FakeHost::new(id.as_str()).services().storage,
            store,
            namespace: Namespace::of_component(id),
            decided: Mutex::default(),
        }
    }

    /// Who is asked.
    fn asked(&self) -> &dyn StorageService {
        let decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        match self.flaw {
            Some(Flaw::GateNotAsked) => &*self.open,
            Some(Flaw::AllowedForGood) if decided.allowed => &*self.open,
            Some(Flaw::DeniedForGood) if decided.denied.is_some() => &*self.open,
            _ => &*self.inner,
        }
    }

    fn bend<T: Default>(&self, answer: ServiceResult<T, StorageRefusal>) -> ServiceResult<T, StorageRefusal> {
        let mut decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
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
        let answer = self.asked().get(key).await;
        self.bend(answer)
    }

    async fn set(&self, key: Vec<u8>, value: Vec<u8>) -> ServiceResult<(), StorageRefusal> {
        if self.flaw == Some(Flaw::WritesAtOnce) {
            let mut batch = Batch::new();
            batch.put(&self.namespace, Key::new(key)?, value);
            return self.store.commit(batch).await.map(|_| Ok(()));
        }
        let answer = self.asked().set(key, value).await;
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
        let answer = self.asked().list(prefix, cursor, limit).await;
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
