//! A running component, looked up once and spoken to many times.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::{MessagingFault, Result, WasmError};
use airssys_wasm_core::messaging::{Body, Envelope, MessageId, MessageType, Sender, TraceContext};
use tokio::sync::oneshot;

use super::Shared;
use crate::cell::{Cell, Reply};
use crate::deadlines::Passed;

/// A running component. It stays valid after the component has stopped; sending then fails.
#[derive(Clone, Debug)]
pub struct ComponentRef {
    cell: Arc<Cell>,
    shared: Arc<Shared>,
}

/// How a request is made.
#[derive(Clone, Debug, Default)]
pub struct RequestOptions {
    /// How long to wait for the reply; as long as the host was built to wait, when none is given.
    pub timeout: Option<Duration>,
    /// The trace that the message belongs to.
    pub trace: Option<TraceContext>,
}

impl ComponentRef {
    pub(super) fn new(cell: Arc<Cell>, shared: Arc<Shared>) -> Self {
        Self { cell, shared }
    }

    /// Its id.
    pub fn id(&self) -> &ComponentId {
        self.cell.id()
    }

    /// As [`Host::send`](super::Host::send).
    ///
    /// # Errors
    /// As [`Host::send`](super::Host::send).
    pub fn send(&self, body: impl Into<Body>) -> Result<MessageId> {
        self.shared.check_open("send")?;
        let envelope = self.envelope(MessageType::OneWay, body.into(), None, None);
        let id = envelope.id;
        self.cell.deliver(envelope, None)?;
        Ok(id)
    }

    /// As [`Host::request`](super::Host::request).
    ///
    /// # Cancellation
    /// As [`Host::request`](super::Host::request).
    ///
    /// # Errors
    /// As [`Host::request`](super::Host::request).
    pub async fn request(&self, body: impl Into<Body>) -> Result<Body> {
        self.request_with(body, RequestOptions::default()).await
    }

    /// As [`request`](Self::request), with options.
    ///
    /// # Cancellation
    /// As [`request`](Self::request).
    ///
    /// # Errors
    /// As [`request`](Self::request).
    pub async fn request_with(&self, body: impl Into<Body>, options: RequestOptions) -> Result<Body> {
        self.shared.check_open("request")?;
        let timeout = options.timeout.unwrap_or(self.shared.request_timeout);
        let deadline = Instant::now().checked_add(timeout);
        let envelope = self.envelope(MessageType::Request, body.into(), deadline, options.trace);
        let (reply, answer) = oneshot::channel();
        self.cell.deliver(envelope, Some(Reply::new(reply, None)))?;
        let failed = |fault| WasmError::messaging("request", fault).with("component", self.id());
        match self.shared.deadlines.wait(deadline, answer).await {
            Ok(answered) => answered.unwrap_or_else(|_| Err(failed(MessagingFault::Unavailable))),
            Err(Passed) => Err(failed(MessagingFault::Timeout).with("timeout", format_args!("{timeout:?}"))),
        }
    }

    fn envelope(
        &self,
        kind: MessageType,
        body: Body,
        deadline: Option<Instant>,
        trace: Option<TraceContext>,
    ) -> Envelope {
        Envelope {
            id: self.shared.message_ids.next(),
            kind,
            sender: Sender::Host,
            topic: None,
            correlation: None,
            body,
            sent_at: SystemTime::now(),
            deadline,
            attempt: 1,
            trace,
        }
    }
}
