//! `airssys:core/messaging`.

use std::time::Duration;

use airssys_wasm_core::error::FailureCode as CoreCode;
use airssys_wasm_core::messaging::{Body as CoreBody, MessageId as CoreId};
use airssys_wasm_core::runtime::{Failure, MessagingRefusal, ServiceResult, parse_content_type};

use super::world::messaging::{Body, Host, MessageId, MessagingError};
use super::world::types::{Failure as NowFailure, FailureCode};
use super::{ask, wait_for};
use crate::bindings::optional::airssys::core::messaging::MessagingError as LaterError;
use crate::bindings::optional::airssys::core::types::{
    Body as LaterBody, Failure as LaterFailure, FailureCode as LaterCode,
};
use crate::instance::State;

type Answer<T> = wasmtime::Result<Result<T, MessagingError>>;

impl Host for State {
    fn send(&mut self, target: String, body: Body) -> Answer<MessageId> {
        self.post("messaging.send", &target, body, |state, body| state.services.messaging.send(&target, body))
    }

    async fn request(&mut self, target: String, body: Body, timeout_ms: u32) -> Answer<Body> {
        self.check_transfer("messaging.request", target.len() + size(&body))?;
        let body = match accept(body) {
            Ok(body) => body,
            Err(refusal) => return Ok(Err(refusal.into())),
        };
        let timeout = Duration::from_millis(timeout_ms.into());
        let asked = self.services.messaging.request(&target, body, timeout);
        match wait_for("messaging.request", asked).await? {
            Ok(body) => {
                self.check_transfer("messaging.request", body.size())?;
                let content_type = body.content_type.map(|kind| kind.as_str().to_owned());
                Ok(Ok(Body { content_type, payload: body.payload }))
            }
            Err(refusal) => Ok(Err(refusal.into())),
        }
    }

    fn request_async(&mut self, target: String, body: Body, timeout_ms: u32) -> Answer<MessageId> {
        let timeout = Duration::from_millis(timeout_ms.into());
        self.post("messaging.request-async", &target, body, |state, body| {
            state.services.messaging.request_async(&target, body, timeout)
        })
    }

    fn cancel(&mut self, request: MessageId) -> wasmtime::Result<bool> {
        ask("messaging.cancel", || self.services.messaging.cancel(request.into()))
    }

    fn publish(&mut self, topic: String, body: Body) -> Answer<MessageId> {
        self.post("messaging.publish", &topic, body, |state, body| {
            state.services.messaging.publish(&topic, body)
        })
    }

    fn subscribe(&mut self, pattern: String) -> Answer<()> {
        self.check_transfer("messaging.subscribe", pattern.len())?;
        let answer = ask("messaging.subscribe", || self.services.messaging.subscribe(&pattern))?;
        Ok(answer.map_err(MessagingError::from))
    }

    fn unsubscribe(&mut self, pattern: String) -> Answer<bool> {
        self.check_transfer("messaging.unsubscribe", pattern.len())?;
        let answer = ask("messaging.unsubscribe", || self.services.messaging.unsubscribe(&pattern))?;
        Ok(answer.map_err(MessagingError::from))
    }

    fn self_id(&mut self) -> wasmtime::Result<String> {
        ask("messaging.self-id", || self.services.messaging.self_id().map(ToString::to_string))
    }
}

impl State {
    fn post(
        &self,
        function: &'static str,
        to: &str,
        body: Body,
        service: impl FnOnce(&Self, CoreBody) -> ServiceResult<CoreId, MessagingRefusal>,
    ) -> Answer<MessageId> {
        self.check_transfer(function, to.len() + size(&body))?;
        let answer = ask(function, || {
            accept(body).map_or_else(|refusal| Ok(Err(refusal)), |body| service(self, body))
        })?;
        Ok(answer.map(MessageId::from).map_err(MessagingError::from))
    }
}

fn size(body: &Body) -> usize {
    body.payload.len() + body.content_type.as_ref().map_or(0, String::len)
}

fn accept(body: Body) -> Result<CoreBody, MessagingRefusal> {
    let content_type = parse_content_type(body.content_type.as_deref())?;
    Ok(CoreBody { content_type, payload: body.payload })
}

impl From<CoreId> for MessageId {
    fn from(id: CoreId) -> Self {
        Self { high: id.high(), low: id.low() }
    }
}

impl From<MessageId> for CoreId {
    fn from(id: MessageId) -> Self {
        Self::from_parts(id.high, id.low)
    }
}

/// The types of answers are generated twice: as what a guest is told at once, and as what it is told later.
macro_rules! refusals {
    ($error:ty, $failure:ident, $code:ty) => {
        impl From<MessagingRefusal> for $error {
            fn from(refusal: MessagingRefusal) -> Self {
                match refusal {
                    MessagingRefusal::Denied(text) => Self::Denied(text),
                    MessagingRefusal::InvalidAddress(text) => Self::InvalidAddress(text),
                    MessagingRefusal::NotFound(text) => Self::NotFound(text),
                    MessagingRefusal::QueueFull(text) => Self::QueueFull(text),
                    MessagingRefusal::TooLarge(text) => Self::TooLarge(text),
                    MessagingRefusal::Timeout => Self::Timeout,
                    MessagingRefusal::Cycle(text) => Self::Cycle(text),
                    MessagingRefusal::Failed(Failure { code, message }) => {
                        Self::Failed($failure { code: code.into(), message })
                    }
                    MessagingRefusal::Unavailable(text) => Self::Unavailable(text),
                }
            }
        }

        impl From<CoreCode> for $code {
            fn from(code: CoreCode) -> Self {
                match code {
                    CoreCode::InvalidInput => Self::InvalidInput,
                    CoreCode::NotFound => Self::NotFound,
                    CoreCode::Denied => Self::Denied,
                    CoreCode::Conflict => Self::Conflict,
                    CoreCode::Unavailable => Self::Unavailable,
                    _ => Self::Internal,
                }
            }
        }

        impl From<$code> for CoreCode {
            fn from(code: $code) -> Self {
                match code {
                    <$code>::InvalidInput => Self::InvalidInput,
                    <$code>::NotFound => Self::NotFound,
                    <$code>::Denied => Self::Denied,
                    <$code>::Conflict => Self::Conflict,
                    <$code>::Unavailable => Self::Unavailable,
                    <$code>::Internal => Self::Internal,
                }
            }
        }
    };
}

refusals!(MessagingError, NowFailure, FailureCode);
refusals!(LaterError, LaterFailure, LaterCode);

impl From<CoreBody> for LaterBody {
    fn from(body: CoreBody) -> Self {
        Self { content_type: body.content_type.map(|kind| kind.as_str().to_owned()), payload: body.payload }
    }
}
