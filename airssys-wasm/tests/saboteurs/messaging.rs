//! The messages that a guest can send, with one flaw, or none.

use std::sync::Arc;
use std::time::Duration;

use airssys_wasm::core::component::ComponentId;
use airssys_wasm::core::error::{ErrorKind, FailureCode, Result, WasmError};
use airssys_wasm::core::messaging::{Body, MessageId};
use airssys_wasm::core::runtime::{MessagingRefusal, MessagingService, ServiceResult};
use async_trait::async_trait;
use futures_util::FutureExt;

use crate::flaw::Flaw;
use crate::instance::LATE;

/// The id of a message that the host does not know of.
pub(crate) const UNKNOWN: MessageId = MessageId::from_parts(0, 1);
const HOUR: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
pub(crate) struct Messaging {
    inner: Arc<dyn MessagingService>,
    flaw: Option<Flaw>,
}

impl Messaging {
    pub(crate) fn new(inner: Arc<dyn MessagingService>, flaw: Option<Flaw>) -> Self {
        Self { inner, flaw }
    }

    fn bend<T>(
        &self,
        answer: ServiceResult<T, MessagingRefusal>,
        success: T,
    ) -> ServiceResult<T, MessagingRefusal> {
        match (self.flaw, answer) {
            (Some(Flaw::RefusalsAreSuccesses), Ok(Err(_))) => Ok(Ok(success)),
            (Some(Flaw::RefusalsEndTheCall), Ok(Err(_))) => {
                Err(WasmError::new(ErrorKind::Messaging, "host call").saying("refused, and ended for it"))
            }
            (Some(Flaw::DenialsUnexplained), Ok(Err(MessagingRefusal::Denied(_)))) => {
                Ok(Err(MessagingRefusal::Denied("no".to_owned())))
            }
            (Some(Flaw::RingsAreTimeouts), Ok(Err(MessagingRefusal::Cycle(_)))) => {
                Ok(Err(MessagingRefusal::Timeout))
            }
            (Some(Flaw::PassedOnFailuresLoseTheirCode), Ok(Err(MessagingRefusal::Failed(mut failure)))) => {
                failure.code = FailureCode::Internal;
                Ok(Err(MessagingRefusal::Failed(failure)))
            }
            (Some(Flaw::PassedOnFailuresLoseTheirText), Ok(Err(MessagingRefusal::Failed(mut failure)))) => {
                failure.message.clear();
                Ok(Err(MessagingRefusal::Failed(failure)))
            }
            (_, answer) => answer,
        }
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
#[async_trait]
impl MessagingService for Messaging {
    fn send(&self, target: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        match self.flaw {
            Some(Flaw::MessagesLost) => return Ok(Ok(UNKNOWN)),
            Some(Flaw::SendsAtOnce) => {
                // A request leaves when it is first polled; nobody waits for its answer.
                let answer = self.inner.request(target, body, HOUR).now_or_never();
                return answer.map_or(Ok(Ok(UNKNOWN)), |answer| answer.map(|answer| answer.map(|_| UNKNOWN)));
            }
            _ => {}
        }
        self.bend(self.inner.send(target, body), UNKNOWN)
    }

    async fn request(
        &self,
        target: &str,
        body: Body,
        mut timeout: Duration,
    ) -> ServiceResult<Body, MessagingRefusal> {
        if self.flaw == Some(Flaw::RequestsLeaveLater) {
            return self.inner.send(target, body).map(|sent| sent.map(|_| Body::default()));
        }
        if self.flaw == Some(Flaw::AnHourForEveryRequest) {
            timeout = HOUR;
        }
        let answer = self.inner.request(target, body, timeout).await;
        if self.flaw == Some(Flaw::DeadlinesLate) && matches!(answer, Ok(Err(MessagingRefusal::Timeout))) {
            tokio::time::sleep(LATE).await;
        }
        if self.flaw == Some(Flaw::LongRingsAreTimeouts)
            && matches!(answer, Ok(Err(MessagingRefusal::Cycle(_))))
            && self.inner.self_id()?.as_str() != target
        {
            return Ok(Err(MessagingRefusal::Timeout));
        }
        self.bend(answer, Body::default())
    }

    fn request_async(
        &self,
        target: &str,
        body: Body,
        timeout: Duration,
    ) -> ServiceResult<MessageId, MessagingRefusal> {
        self.bend(self.inner.request_async(target, body, timeout), UNKNOWN)
    }

    fn cancel(&self, request: MessageId) -> Result<bool> {
        self.inner.cancel(request)
    }

    fn publish(&self, topic: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        self.bend(self.inner.publish(topic, body), UNKNOWN)
    }

    fn subscribe(&self, pattern: &str) -> ServiceResult<(), MessagingRefusal> {
        let answer = self.inner.subscribe(pattern);
        if self.flaw == Some(Flaw::SubscriptionsLost) && matches!(answer, Ok(Ok(()))) {
            return self.inner.unsubscribe(pattern).map(|unsubscribed| unsubscribed.map(|_| ()));
        }
        self.bend(answer, ())
    }

    fn unsubscribe(&self, pattern: &str) -> ServiceResult<bool, MessagingRefusal> {
        self.bend(self.inner.unsubscribe(pattern), true)
    }

    fn self_id(&self) -> Result<&ComponentId> {
        self.inner.self_id()
    }
}
