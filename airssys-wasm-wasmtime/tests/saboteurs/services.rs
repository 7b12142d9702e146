//! The services of an instance, as a flawed engine passes them on.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::{Result, WasmError};
use airssys_wasm_core::messaging::{Body, MessageId};
use airssys_wasm_core::runtime::{
    Comparison, HostFunction, HostServices, Listing, LogLevel, LoggingService, MessagingRefusal,
    MessagingService, ServiceResult, StorageRefusal, StorageService, StorageUsage,
};
use async_trait::async_trait;

use crate::extensions::Function;
use crate::flaws::Flaw;

/// The services of one instance; with no flaw they are what the host handed over.
#[derive(Debug)]
struct Services {
    inner: HostServices,
    flaw: Option<Flaw>,
    enabled: OnceLock<bool>,
}

/// What an engine with this flaw hands to its guest. `panicked` is of all instances.
pub(crate) fn flawed(inner: HostServices, flaw: Option<Flaw>, panicked: &Arc<AtomicBool>) -> HostServices {
    let functions = inner.extensions.iter().map(|function| -> Arc<dyn HostFunction> {
        Arc::new(Function { inner: Arc::clone(function), flaw, panicked: Arc::clone(panicked) })
    });
    let extensions = functions.collect();
    let (files, environment) = (Arc::clone(&inner.files), Arc::clone(&inner.environment));
    let services = Arc::new(Services { inner, flaw, enabled: OnceLock::new() });
    let (logging, messaging) = (Arc::clone(&services), Arc::clone(&services));
    HostServices { logging, messaging, storage: services, files, environment, extensions }
}

impl Services {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// What becomes of an error of the store.
    fn bend<T>(&self, error: WasmError) -> ServiceResult<T, StorageRefusal> {
        if self.has(Flaw::ErrorIsRefusal) {
            return Ok(Err(StorageRefusal::Unavailable(error.to_string())));
        }
        if self.has(Flaw::ErrorWithoutDetail) {
            return Err(WasmError::new(error.kind(), error.operation()).saying(error.message()));
        }
        Err(error)
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
impl LoggingService for Services {
    fn log(&self, level: LogLevel, message: &str) -> Result<()> {
        if self.has(Flaw::LinesEscaped) {
            return self.inner.logging.log(level, &message.escape_debug().to_string());
        }
        self.inner.logging.log(level, message)
    }

    fn enabled(&self, level: LogLevel) -> Result<bool> {
        if self.has(Flaw::EnabledRemembered)
            && let Some(enabled) = self.enabled.get()
        {
            return Ok(*enabled);
        }
        let enabled = self.inner.logging.enabled(level)?;
        self.enabled.get_or_init(|| enabled);
        Ok(enabled)
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl MessagingService for Services {
    fn send(&self, target: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        self.inner.messaging.send(target, body)
    }

    async fn request(
        &self,
        target: &str,
        mut body: Body,
        timeout: Duration,
    ) -> ServiceResult<Body, MessagingRefusal> {
        if self.has(Flaw::ContentTypesCut)
            && let Some(long) = body.content_type.as_ref().and_then(|whole| whole.as_str().get(..100))
        {
            body.content_type = long.parse().ok();
        }
        let answer = self.inner.messaging.request(target, body, timeout).await?;
        match answer {
            Err(MessagingRefusal::Cycle(_)) if self.has(Flaw::CycleIsTimeout) => {
                Ok(Err(MessagingRefusal::Timeout))
            }
            answer => Ok(answer),
        }
    }

    fn request_async(
        &self,
        target: &str,
        body: Body,
        timeout: Duration,
    ) -> ServiceResult<MessageId, MessagingRefusal> {
        let seconds = Duration::from_secs(timeout.as_secs());
        let timeout = if self.has(Flaw::TimeoutRounded) { seconds } else { timeout };
        self.inner.messaging.request_async(target, body, timeout)
    }

    fn cancel(&self, request: MessageId) -> Result<bool> {
        self.inner.messaging.cancel(request)
    }

    fn publish(&self, topic: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        self.inner.messaging.publish(topic, body)
    }

    fn subscribe(&self, pattern: &str) -> ServiceResult<(), MessagingRefusal> {
        self.inner.messaging.subscribe(pattern)
    }

    fn unsubscribe(&self, pattern: &str) -> ServiceResult<bool, MessagingRefusal> {
        self.inner.messaging.unsubscribe(pattern)
    }

    fn self_id(&self) -> Result<&ComponentId> {
        self.inner.messaging.self_id()
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl StorageService for Services {
    async fn get(&self, key: &[u8]) -> ServiceResult<Option<Vec<u8>>, StorageRefusal> {
        let found = if self.has(Flaw::WaitGoesOn) {
            let (storage, key) = (Arc::clone(&self.inner.storage), key.to_vec());
            let reading = tokio::spawn(async move { storage.get(&key).await });
            reading.await.expect("the contract on waits lets no read panic")
        } else {
            self.inner.storage.get(key).await
        };
        match found {
            Ok(Ok(Some(value))) if self.has(Flaw::EmptyIsAbsent) && value.is_empty() => Ok(Ok(None)),
            Ok(answer) => Ok(answer),
            Err(error) => self.bend(error),
        }
    }

    async fn set(&self, key: Vec<u8>, mut value: Vec<u8>) -> ServiceResult<(), StorageRefusal> {
        if self.has(Flaw::ValuesCut) {
            value.truncate(65_536);
        }
        self.inner.storage.set(key, value).await
    }

    async fn replace(&self, key: Vec<u8>, value: Vec<u8>) -> ServiceResult<Option<Vec<u8>>, StorageRefusal> {
        self.inner.storage.replace(key, value).await
    }

    async fn delete(&self, key: Vec<u8>) -> ServiceResult<bool, StorageRefusal> {
        self.inner.storage.delete(key).await
    }

    async fn exists(&self, key: &[u8]) -> ServiceResult<bool, StorageRefusal> {
        self.inner.storage.exists(key).await
    }

    async fn list(
        &self,
        prefix: &[u8],
        cursor: Option<&[u8]>,
        limit: u32,
    ) -> ServiceResult<Listing, StorageRefusal> {
        let limit = if self.has(Flaw::ListingCapped) { limit.min(1_000) } else { limit };
        self.inner.storage.list(prefix, cursor, limit).await
    }

    async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Comparison,
        value: Vec<u8>,
    ) -> ServiceResult<bool, StorageRefusal> {
        let answer = self.inner.storage.compare_and_set(key, expected, value).await?;
        match answer {
            Err(StorageRefusal::QuotaExceeded(_)) if self.has(Flaw::RefusalWithoutWords) => {
                Ok(Err(StorageRefusal::QuotaExceeded(String::new())))
            }
            answer => Ok(answer),
        }
    }

    async fn usage(&self) -> ServiceResult<StorageUsage, StorageRefusal> {
        self.inner.storage.usage().await
    }
}
