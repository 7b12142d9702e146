//! What became of a message to many.

use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::WasmError;
use airssys_wasm_core::messaging::{MessageId, Sender};

use crate::cell::{Delivery, NotTaken};
use crate::effects::Event;
use crate::host::Shared;
use crate::mailbox::NoRoom;

/// Who took a message to many, and who did not.
#[derive(Debug)]
pub struct BroadcastReport {
    /// The message: every receiver sees this id.
    pub id: MessageId,
    /// Components whose mailboxes took it.
    pub delivered: Vec<ComponentId>,
    /// Components whose mailboxes did not, and why.
    pub refused: Vec<(ComponentId, WasmError)>,
}

impl Shared {
    /// Queues an event with everybody who subscribed to its topic, or with everybody when it has none. A receiver whose
    /// mailbox is full, or that does not accept its content type, misses it: nobody else waits for that.
    pub(crate) fn publish(&self, event: &Event) -> BroadcastReport {
        let receivers = match &event.topic {
            Some(topic) => self.subscriptions.subscribers(topic, &self.gate),
            None => self.router.all(),
        };
        let mut report = BroadcastReport { id: event.id, delivered: Vec::new(), refused: Vec::new() };
        for receiver in receivers {
            // Room first: a copy that nobody takes is not made.
            let open = event.sender != Sender::Host || self.check_open("publish").is_ok();
            let room = if open { receiver.reserve(&event.body) } else { Err(NoRoom::Closed.into()) };
            let queued = room.and_then(|room| {
                let delivery = Delivery::Message { envelope: event.envelope(), reply: None };
                room.fill(delivery).map_err(|_| NotTaken::NoRoom(NoRoom::Closed))
            });
            match queued {
                Ok(()) => report.delivered.push(receiver.id().clone()),
                Err(not_taken) => {
                    let error = receiver.not_taken(&not_taken);
                    tracing::debug!(message_id = %event.id, %error, "a receiver missed an event");
                    report.refused.push((receiver.id().clone(), error));
                }
            }
        }
        report
    }
}
