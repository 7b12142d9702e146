//! `airssys:core/messaging`.

use std::time::Duration;

use airssys_wasm_core::error::Result;
use airssys_wasm_core::messaging;
use airssys_wasm_core::runtime::{MessagingRefusal, ServiceResult, parse_content_type};

use airssys_wasm_engine::call::check_transfer;

use super::world::{Body, MessageId};
use super::{Import, ask, ask_later};
use crate::store::Store;

type Answer<T> = Result<std::result::Result<T, MessagingRefusal>>;

#[expect(unsafe_code, reason = "a request leaves the guest's stack")]
pub(super) fn find(function: &str) -> Option<Import> {
    Some(match function {
        "send" => |side, cells| {
            ask("messaging.send", side, cells, |store, (target, body): (String, Body)| {
                post("messaging.send", store, &target, body, |body| {
                    store.services.messaging.send(&target, body)
                })
            })
        },
        "request" => |side, cells| {
            let request = |store: &Store, services: _, (target, body, timeout): (String, Body, u32)| {
                store.check_transfer("messaging.request", target.len() + body.size())?;
                Ok(request(services, store.transfer, target, body, Duration::from_millis(timeout.into())))
            };
            // SAFETY: the caller keeps to the contract of an import.
            unsafe { ask_later("messaging.request", side, cells, request) }
        },
        "request-async" => |side, cells| {
            ask(
                "messaging.request-async",
                side,
                cells,
                |store, (target, body, timeout): (String, Body, u32)| {
                    let timeout = Duration::from_millis(timeout.into());
                    post("messaging.request-async", store, &target, body, |body| {
                        store.services.messaging.request_async(&target, body, timeout)
                    })
                },
            )
        },
        "cancel" => |side, cells| {
            ask("messaging.cancel", side, cells, |store, (request,): (MessageId,)| {
                store.services.messaging.cancel(request.into())
            })
        },
        "publish" => |side, cells| {
            ask("messaging.publish", side, cells, |store, (topic, body): (String, Body)| {
                post("messaging.publish", store, &topic, body, |body| {
                    store.services.messaging.publish(&topic, body)
                })
            })
        },
        "subscribe" => |side, cells| {
            ask("messaging.subscribe", side, cells, |store, (pattern,): (String,)| {
                store.check_transfer("messaging.subscribe", pattern.len())?;
                store.services.messaging.subscribe(&pattern)
            })
        },
        "unsubscribe" => |side, cells| {
            ask("messaging.unsubscribe", side, cells, |store, (pattern,): (String,)| {
                store.check_transfer("messaging.unsubscribe", pattern.len())?;
                store.services.messaging.unsubscribe(&pattern)
            })
        },
        "self-id" => |side, cells| {
            ask("messaging.self-id", side, cells, |store, ()| {
                store.services.messaging.self_id().map(ToString::to_string)
            })
        },
        _ => return None,
    })
}

async fn request(
    services: airssys_wasm_core::runtime::HostServices,
    transfer: usize,
    target: String,
    body: Body,
    timeout: Duration,
) -> Answer<Body> {
    let body = match accept(body) {
        Ok(body) => body,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let answer = services.messaging.request(&target, body, timeout).await?;
    if let Ok(body) = &answer {
        check_transfer("messaging.request", transfer, body.size())?;
    }
    Ok(answer.map(Body::from))
}

fn post(
    function: &'static str,
    store: &Store,
    to: &str,
    body: Body,
    service: impl FnOnce(messaging::Body) -> ServiceResult<messaging::MessageId, MessagingRefusal>,
) -> Answer<MessageId> {
    store.check_transfer(function, to.len() + body.size())?;
    let answer = match accept(body) {
        Ok(body) => service(body)?,
        Err(refusal) => Err(refusal),
    };
    Ok(answer.map(MessageId::from))
}

fn accept(body: Body) -> std::result::Result<messaging::Body, MessagingRefusal> {
    let content_type = parse_content_type(body.content_type.as_deref())?;
    Ok(messaging::Body { content_type, payload: body.payload })
}
