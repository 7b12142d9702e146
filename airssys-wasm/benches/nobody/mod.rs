//! Services that do nothing, so that what is measured is the engine.

use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::core::component::ComponentId;
use airssys_wasm::core::error::Result;
use airssys_wasm::core::messaging::{Body, MessageId};
use airssys_wasm::core::runtime::{
    Comparison, HostServices, Listing, LogLevel, LoggingService, MessagingRefusal, MessagingService, NoFiles,
    ServiceResult, StorageRefusal, StorageService, StorageUsage,
};
use async_trait::async_trait;

/// What the store holds for every key.
pub(crate) const STORED: [u8; 128] = [7; 128];

/// Services that do nothing: what is left is the engine.
#[derive(Debug)]
pub(crate) struct Nobody(ComponentId);

impl Nobody {
    pub(crate) fn services() -> HostServices {
        let nobody = Arc::new(Self("bench/nobody".parse().expect("the id is valid")));
        HostServices {
            logging: nobody.clone(),
            messaging: nobody.clone(),
            storage: nobody,
            files: Arc::new(NoFiles),
            environment: Arc::default(),
            extensions: Arc::new([]),
        }
    }
}

impl LoggingService for Nobody {
    fn log(&self, _: LogLevel, _: &str) -> Result<()> {
        Ok(())
    }

    fn enabled(&self, _: LogLevel) -> Result<bool> {
        Ok(false)
    }
}

fn no_messages<T>() -> ServiceResult<T, MessagingRefusal> {
    Ok(Err(MessagingRefusal::Timeout))
}

#[async_trait]
impl MessagingService for Nobody {
    fn send(&self, _: &str, _: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        no_messages()
    }

    async fn request(&self, _: &str, _: Body, _: Duration) -> ServiceResult<Body, MessagingRefusal> {
        no_messages()
    }

    fn request_async(&self, _: &str, _: Body, _: Duration) -> ServiceResult<MessageId, MessagingRefusal> {
        no_messages()
    }

    fn cancel(&self, _: MessageId) -> Result<bool> {
        Ok(false)
    }

    fn publish(&self, _: &str, _: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        no_messages()
    }

    fn subscribe(&self, _: &str) -> ServiceResult<(), MessagingRefusal> {
        no_messages()
    }

    fn unsubscribe(&self, _: &str) -> ServiceResult<bool, MessagingRefusal> {
        no_messages()
    }

    fn self_id(&self) -> Result<&ComponentId> {
        Ok(&self.0)
    }
}

fn no_storage<T>() -> ServiceResult<T, StorageRefusal> {
    Ok(Err(StorageRefusal::Unavailable("the benches do not use it".to_owned())))
}

#[async_trait]
impl StorageService for Nobody {
    async fn get(&self, _: &[u8]) -> ServiceResult<Option<Vec<u8>>, StorageRefusal> {
        Ok(Ok(Some(STORED.to_vec())))
    }

    async fn set(&self, _: Vec<u8>, _: Vec<u8>) -> ServiceResult<(), StorageRefusal> {
        no_storage()
    }

    async fn replace(&self, _: Vec<u8>, _: Vec<u8>) -> ServiceResult<Option<Vec<u8>>, StorageRefusal> {
        no_storage()
    }

    async fn delete(&self, _: Vec<u8>) -> ServiceResult<bool, StorageRefusal> {
        no_storage()
    }

    async fn exists(&self, _: &[u8]) -> ServiceResult<bool, StorageRefusal> {
        no_storage()
    }

    async fn list(&self, _: &[u8], _: Option<&[u8]>, _: u32) -> ServiceResult<Listing, StorageRefusal> {
        no_storage()
    }

    async fn compare_and_set(
        &self,
        _: Vec<u8>,
        _: Comparison,
        _: Vec<u8>,
    ) -> ServiceResult<bool, StorageRefusal> {
        no_storage()
    }

    async fn usage(&self) -> ServiceResult<StorageUsage, StorageRefusal> {
        no_storage()
    }
}
