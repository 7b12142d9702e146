//! The end of a handler that returned ok: one commit, then everything it sent leaves.

use std::time::{Instant, SystemTime};

use airssys_wasm_core::capability::Topic;
use airssys_wasm_core::error::Result;
use airssys_wasm_core::messaging::{Body, Envelope, MessageId, MessageType, Sender, TraceContext};
use tokio::sync::oneshot;

use crate::cell::{Delivery, Reply};
use crate::instance::InstanceContext;
use crate::services::PendingRequests;
use crate::unit_of_work::Outgoing;

impl InstanceContext {
    /// Commits the unit of work: the writes in one batch, and when that is done, subscriptions and messages.
    ///
    /// # Errors
    /// Those of the store; nothing of the unit has then taken effect.
    pub(crate) async fn commit(&self) -> Result<()> {
        let (effects, handling, trace) = {
            let mut unit = self.unit();
            if unit.is_empty() {
                return Ok(());
            }
            (unit.take(&self.namespace, self.quota())?, unit.handling, unit.trace.clone())
        };
        if !effects.batch.is_empty() {
            self.shared.store.commit(effects.batch, self.shared.durability).await?;
        }
        if !effects.subscriptions.is_empty() {
            self.shared.subscriptions.change(self, &effects.subscriptions);
        }
        for outgoing in effects.outbox {
            self.release(outgoing, handling, trace.as_ref());
            // One handler may reach many receivers: others have their turn in between.
            tokio::task::coop::consume_budget().await;
        }
        Ok(())
    }

    fn release(&self, outgoing: Outgoing, handling: Option<MessageId>, trace: Option<&TraceContext>) {
        match outgoing {
            Outgoing::Send { room, envelope } => {
                let id = envelope.id;
                if room.fill(Delivery::Message { envelope, reply: None }).is_err() {
                    tracing::warn!(sender = %self.id(), message_id = %id, "the receiver was ended before the message could leave");
                }
            }
            Outgoing::Request { room, receiver, mut envelope, answer, timeout } => {
                let (reply, answered) = oneshot::channel();
                let id = envelope.id;
                envelope.deadline = Instant::now().checked_add(timeout);
                let deadline = envelope.deadline;
                // A receiver that has stopped drops `reply`, and the answer says so.
                let _ = room.fill(Delivery::Message { envelope, reply: Some(Reply::new(reply, None)) });
                PendingRequests::expect(&self.shared, &self.cell, receiver, id, answered, answer, deadline);
            }
            Outgoing::Publish { id, topic, body } => {
                let sender = Sender::Component(self.id().clone());
                self.shared.publish(&Event {
                    id,
                    topic: Some(topic),
                    body,
                    sender,
                    correlation: handling,
                    trace: trace.cloned(),
                });
            }
        }
    }
}

/// Something for everybody who wants to hear it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: MessageId,
    /// None for a broadcast of the host.
    pub(crate) topic: Option<Topic>,
    pub(crate) body: Body,
    pub(crate) sender: Sender,
    pub(crate) correlation: Option<MessageId>,
    pub(crate) trace: Option<TraceContext>,
}

impl Event {
    /// The copy for one receiver.
    pub(crate) fn envelope(&self) -> Envelope {
        Envelope {
            id: self.id,
            kind: MessageType::Event,
            sender: self.sender.clone(),
            topic: self.topic.clone(),
            correlation: self.correlation,
            body: self.body.clone(),
            sent_at: SystemTime::now(),
            deadline: None,
            attempt: 1,
            trace: self.trace.clone(),
        }
    }
}
