//! The types of the WIT package, as they cross into a guest and out of it.

use std::time::UNIX_EPOCH;

use airssys_wasm_core::capability::Topic;
use airssys_wasm_core::component::ComponentMetadata;
use airssys_wasm_core::error::{FailureCode, Result};
use airssys_wasm_core::messaging::{self, ContentType, Envelope, Sender};
use airssys_wasm_core::runtime::{
    Comparison, Entry, Failure, Listing, LogLevel, MessagingRefusal, StorageRefusal, StorageUsage,
};
use wasmtime_environ::component::CanonicalAbiInfo;

use crate::abi::{Cells, Guest, Layout, Lift, Lower, Reader, record, variant};

variant!(lift LogLevel { Trace, Debug, Info, Warn, Error });

/// `failure-code`: the same cases as [`FailureCode`], which may get more.
#[derive(Clone, Copy, Debug)]
enum Code {
    InvalidInput,
    NotFound,
    Denied,
    Conflict,
    Unavailable,
    Internal,
}

variant!(both Code { InvalidInput, NotFound, Denied, Conflict, Unavailable, Internal });

impl Layout for FailureCode {
    const ABI: CanonicalAbiInfo = Code::ABI;
}

impl From<FailureCode> for Code {
    fn from(code: FailureCode) -> Self {
        match code {
            FailureCode::InvalidInput => Self::InvalidInput,
            FailureCode::NotFound => Self::NotFound,
            FailureCode::Denied => Self::Denied,
            FailureCode::Conflict => Self::Conflict,
            FailureCode::Unavailable => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

impl From<Code> for FailureCode {
    fn from(code: Code) -> Self {
        match code {
            Code::InvalidInput => Self::InvalidInput,
            Code::NotFound => Self::NotFound,
            Code::Denied => Self::Denied,
            Code::Conflict => Self::Conflict,
            Code::Unavailable => Self::Unavailable,
            Code::Internal => Self::Internal,
        }
    }
}

impl Lower for FailureCode {
    fn lower<G: Guest + ?Sized>(&self, guest: &mut G, cells: &mut Cells) -> Result<()> {
        Code::from(*self).lower(guest, cells)
    }

    fn store<G: Guest + ?Sized>(&self, guest: &mut G, at: usize) -> Result<()> {
        Code::from(*self).store(guest, at)
    }
}

impl Lift for FailureCode {
    fn lift<G: Guest + ?Sized>(guest: &mut G, cells: &mut Reader<'_>) -> Result<Self> {
        Code::lift(guest, cells).map(Self::from)
    }

    fn load<G: Guest + ?Sized>(guest: &mut G, at: usize) -> Result<Self> {
        Code::load(guest, at).map(Self::from)
    }
}

record!(both Failure { code: FailureCode, message: String });

/// `message-id`
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageId {
    high: u64,
    low: u64,
}

record!(both MessageId { high: u64, low: u64 });

impl From<messaging::MessageId> for MessageId {
    fn from(id: messaging::MessageId) -> Self {
        Self { high: id.high(), low: id.low() }
    }
}

impl From<MessageId> for messaging::MessageId {
    fn from(id: MessageId) -> Self {
        Self::from_parts(id.high, id.low)
    }
}

/// `body`
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) content_type: Option<String>,
    pub(crate) payload: Vec<u8>,
}

record!(both Body { content_type: Option<String>, payload: Vec<u8> });

impl Body {
    pub(crate) fn size(&self) -> usize {
        self.payload.len() + self.content_type.as_ref().map_or(0, String::len)
    }
}

impl From<messaging::Body> for Body {
    fn from(body: messaging::Body) -> Self {
        Self { content_type: body.content_type.map(|kind| kind.as_str().to_owned()), payload: body.payload }
    }
}

variant!(lower MessagingRefusal {
    Denied(String),
    InvalidAddress(String),
    NotFound(String),
    QueueFull(String),
    TooLarge(String),
    Timeout,
    Cycle(String),
    Failed(Failure),
    Unavailable(String),
});

variant!(lower StorageRefusal {
    Denied(String),
    QuotaExceeded(String),
    TooLarge(String),
    InvalidCursor(String),
    Unavailable(String),
});
variant!(lift Comparison { Absent, Value(Vec<u8>) });
record!(lower Entry { key: Vec<u8>, value: Vec<u8> });
record!(lower Listing { entries: Vec<Entry>, cursor: Option<Vec<u8>> });
record!(lower StorageUsage { bytes: u64, keys: u64, max_bytes: u64, max_keys: u64 });

record!(lift ComponentMetadata { name: String, version: String, description: String });

/// `message`: borrowed, so that the payload is copied straight into the memory of the guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'m> {
    id: MessageId,
    sender: SenderRef<'m>,
    topic: Option<&'m str>,
    correlation: Option<MessageId>,
    body: BodyRef<'m>,
    sent_at: u64,
    attempt: u32,
    trace: Option<TraceContext<'m>>,
}

#[derive(Clone, Copy, Debug)]
enum SenderRef<'m> {
    Host,
    Component(&'m str),
}

#[derive(Clone, Copy, Debug)]
struct BodyRef<'m> {
    content_type: Option<&'m str>,
    payload: &'m [u8],
}

#[derive(Clone, Copy, Debug)]
struct TraceContext<'m> {
    trace_parent: &'m str,
    trace_state: &'m str,
}

variant!(lower['m] SenderRef<'m> { Host, Component(&'m str) });
record!(lower['m] BodyRef<'m> { content_type: Option<&'m str>, payload: &'m [u8] });
record!(lower['m] TraceContext<'m> { trace_parent: &'m str, trace_state: &'m str });
record!(lower['m] Message<'m> {
    id: MessageId,
    sender: SenderRef<'m>,
    topic: Option<&'m str>,
    correlation: Option<MessageId>,
    body: BodyRef<'m>,
    sent_at: u64,
    attempt: u32,
    trace: Option<TraceContext<'m>>,
});

impl<'m> From<&'m Envelope> for Message<'m> {
    fn from(message: &'m Envelope) -> Self {
        let sent_at = message.sent_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Self {
            id: message.id.into(),
            sender: match &message.sender {
                Sender::Host => SenderRef::Host,
                Sender::Component(id) => SenderRef::Component(id.as_str()),
            },
            topic: message.topic.as_ref().map(Topic::as_str),
            correlation: message.correlation.map(MessageId::from),
            body: BodyRef {
                content_type: message.body.content_type.as_ref().map(ContentType::as_str),
                payload: &message.body.payload,
            },
            sent_at: u64::try_from(sent_at).unwrap_or(u64::MAX),
            attempt: message.attempt,
            trace: message.trace.as_ref().map(|trace| TraceContext {
                trace_parent: &trace.trace_parent,
                trace_state: &trace.trace_state,
            }),
        }
    }
}
