//! `airssys:core/messaging`: messages to other components, behind the gate.
//!
//! What is sent leaves with the handler's unit of work, so that room for it is kept in the receiver's mailbox from the
//! moment at which the sender is told yes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use airssys_wasm_core::capability::{Access, Topic, TopicPattern};
use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::{Detail, FailureCode, MessagingFault, Result, WasmError};
use airssys_wasm_core::messaging::{Body, MessageId, MessageType};
use airssys_wasm_core::runtime::{Failure, MessagingRefusal, MessagingService, ServiceResult};
use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::cell::{Cell, Delivery, NotTaken, Reply};
use crate::deadlines::Passed;
use crate::host::Shared;
use crate::instance::InstanceContext;
use crate::mailbox::{NoRoom, Reservation};
use crate::rate::Rate;
use crate::subscriptions::MAX_SUBSCRIPTIONS;
use crate::unit_of_work::{Interest, Outgoing};
use crate::waiting::Waiting;

/// What one item counts against a mailbox beside its bytes: nothing is free to queue.
pub(crate) const MESSAGE_OVERHEAD: usize = 64;

type Refusable<T> = Result<T, MessagingRefusal>;

const BYTES_A_SECOND: &str = "message-bytes-per-second";

/// Ends the function with a refusal for the guest.
macro_rules! granted {
    ($refusable:expr) => {
        match $refusable {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

impl InstanceContext {
    /// The cell of a component that this one may send to.
    fn receiver(&self, target: &str) -> Refusable<Arc<Cell>> {
        if let Err(invalid) = check_address(target) {
            return Err(MessagingRefusal::InvalidAddress(invalid));
        }
        self.demand(Access::Messaging { address: target })
            .map_err(|denial| MessagingRefusal::Denied(denial.to_string()))?;
        self.shared
            .router
            .find(target)
            .ok_or_else(|| MessagingRefusal::NotFound(format!("no component `{target}` is running")))
    }

    /// Room in the receiver's mailbox, and in this handler's outbox.
    fn room_for(&self, receiver: &Cell, body: &Body) -> Refusable<Reservation<Delivery>> {
        self.check_outbox(body)?;
        receiver.reserve(body).map_err(|not_taken| not_taken_refusal(receiver, not_taken))
    }

    fn check_outbox(&self, body: &Body) -> Refusable<()> {
        self.unit().check_outbox(counted(body), self.limits()).map_err(|_| {
            let limits = self.limits();
            MessagingRefusal::TooLarge(format!(
                "one message may be answered with {} messages of {} together",
                limits.outbox_messages, limits.outbox_bytes
            ))
        })
    }

    /// Takes a message from what this component may send in a second: asked last, so that what is refused for another reason does
    /// not count.
    fn take_rate(&self, body: &Body) -> Refusable<()> {
        let (rates, bytes) = (self.cell.rates(), counted(body) as u64);
        let beyond = |rate: &Rate, limit, what| {
            let most = rate.per_second();
            let text =
                format!("{} may send {most} {what} in a second; its limit `{limit}` says so", self.id());
            Err(if bytes > most && limit == BYTES_A_SECOND {
                MessagingRefusal::TooLarge(format!("the message counts {bytes} bytes, and {text}"))
            } else {
                MessagingRefusal::QueueFull(text)
            })
        };
        if let Some(rate) = rates.messages.as_ref().filter(|rate| !rate.take(1)) {
            return beyond(rate, "messages-per-second", "messages");
        }
        let Some(rate) = rates.message_bytes.as_ref().filter(|rate| !rate.take(bytes)) else { return Ok(()) };
        if let Some(messages) = &rates.messages {
            messages.give_back(1);
        }
        beyond(rate, BYTES_A_SECOND, "bytes of messages")
    }

    /// What was asked without waiting and has no answer yet, by this handler and by those before it, stays within the bound.
    fn check_pending(&self) -> Refusable<()> {
        let most = self.limits().pending_requests as usize;
        if self.unit().requests() + self.cell.pending().count() < most {
            return Ok(());
        }
        Err(MessagingRefusal::TooLarge(format!(
            "a component may wait for the answers to {most} requests at a time"
        )))
    }

    fn pattern(&self, text: &str) -> Refusable<TopicPattern> {
        let invalid = |reason: String| Err(MessagingRefusal::InvalidAddress(reason));
        match text.parse::<TopicPattern>() {
            Ok(pattern) if !text.contains('/') => Ok(pattern),
            Ok(_) => {
                invalid(format!("`{text}` names components; a subscription is to topics, such as `orders.*`"))
            }
            Err(refused) => invalid(refused.to_string()),
        }
    }

    /// What the component has subscribed to and what this handler adds stay within the bound together.
    fn check_interests(&self) -> Refusable<()> {
        if self.unit().interests() + self.shared.subscriptions.count(self.id()) < MAX_SUBSCRIPTIONS {
            return Ok(());
        }
        Err(MessagingRefusal::TooLarge(format!("a component may have {MAX_SUBSCRIPTIONS} subscriptions")))
    }
}

#[async_trait]
impl MessagingService for InstanceContext {
    fn send(&self, target: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        self.count_host_call()?;
        let receiver = granted!(self.receiver(target));
        let room = granted!(self.room_for(&receiver, &body));
        granted!(self.take_rate(&body));
        let bytes = counted(&body);
        let envelope = self.envelope(MessageType::OneWay, body);
        let id = envelope.id;
        self.unit().send(Outgoing::Send { room, envelope }, bytes);
        Ok(Ok(id))
    }

    async fn request(
        &self,
        target: &str,
        body: Body,
        timeout: Duration,
    ) -> ServiceResult<Body, MessagingRefusal> {
        self.count_host_call()?;
        let receiver = granted!(self.receiver(target));
        let deadline = Instant::now().checked_add(timeout);
        let deadline = [deadline, self.unit().deadline].into_iter().flatten().min();
        granted!(self.check_outbox(&body));
        let waiting = Waiting::begin(&self.cell, &receiver);
        let waiting = granted!(waiting.map_err(|cycle| MessagingRefusal::Cycle(cycle.to_string())));
        granted!(self.take_rate(&body));
        let mut envelope = self.envelope(MessageType::Request, body);
        envelope.deadline = deadline;
        let (reply, answer) = oneshot::channel();
        let bytes = counted(&envelope.body);
        granted!(
            receiver
                .push(envelope, Some(Reply::new(reply, Some(waiting.clone()))))
                .map_err(|not_taken| not_taken_refusal(&receiver, not_taken))
        );
        self.unit().count_sent(bytes);
        let answer = wait_for_answer(&self.shared, receiver.id(), answer, deadline).await;
        waiting.end();
        Ok(answer.and_then(|body| self.cell.check_answer(receiver.id(), body)))
    }

    fn request_async(
        &self,
        target: &str,
        body: Body,
        timeout: Duration,
    ) -> ServiceResult<MessageId, MessagingRefusal> {
        self.count_host_call()?;
        let receiver = granted!(self.receiver(target));
        if !self.takes_replies {
            return Ok(Err(MessagingRefusal::Unavailable(MessagingFault::NoReplies.to_string())));
        }
        granted!(self.check_pending());
        let room = granted!(self.room_for(&receiver, &body));
        // Room for the answer is kept from now on, so that it can always be delivered.
        let answer = granted!(
            self.cell
                .mailbox()
                .reserve(MESSAGE_OVERHEAD)
                .map_err(|no_room| no_room_refusal(self.id(), no_room))
        );
        granted!(self.take_rate(&body));
        let bytes = counted(&body);
        let envelope = self.envelope(MessageType::Request, body);
        let id = envelope.id;
        let receiver = receiver.id().clone();
        self.unit().send(Outgoing::Request { room, receiver, envelope, answer, timeout }, bytes);
        Ok(Ok(id))
    }

    fn cancel(&self, request: MessageId) -> Result<bool> {
        self.count_host_call()?;
        Ok(self.unit().withdraw_request(request) || self.cell.pending().cancel(request))
    }

    fn publish(&self, topic: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        self.count_host_call()?;
        let topic: Topic =
            granted!(topic.parse().map_err(|refused| MessagingRefusal::InvalidAddress(format!("{refused}"))));
        let access = Access::Messaging { address: topic.as_str() };
        granted!(self.demand(access).map_err(|denial| MessagingRefusal::Denied(denial.to_string())));
        granted!(self.check_outbox(&body));
        granted!(self.take_rate(&body));
        let (id, bytes) = (self.next_message_id(), counted(&body));
        self.unit().send(Outgoing::Publish { id, topic, body }, bytes);
        Ok(Ok(id))
    }

    fn subscribe(&self, pattern: &str) -> ServiceResult<(), MessagingRefusal> {
        self.count_host_call()?;
        let pattern = granted!(self.pattern(pattern));
        granted!(
            self.shared
                .gate
                .demand_subscription(&self.security, &self.grants, &pattern)
                .map_err(|denial| MessagingRefusal::Denied(denial.to_string()))
        );
        granted!(self.check_interests());
        self.unit().set_interest(pattern, Interest::Subscribe);
        Ok(Ok(()))
    }

    fn unsubscribe(&self, pattern: &str) -> ServiceResult<bool, MessagingRefusal> {
        self.count_host_call()?;
        let pattern = granted!(self.pattern(pattern));
        let mut unit = self.unit();
        if unit.interests() >= MAX_SUBSCRIPTIONS {
            return Ok(Err(MessagingRefusal::TooLarge(format!(
                "one message may change {MAX_SUBSCRIPTIONS} subscriptions"
            ))));
        }
        let had = match unit.interest(&pattern) {
            Some(interest) => interest == Interest::Subscribe,
            None => self.shared.subscriptions.has(self.id(), &pattern),
        };
        unit.set_interest(pattern, Interest::Unsubscribe);
        Ok(Ok(had))
    }

    fn self_id(&self) -> Result<&ComponentId> {
        self.count_host_call()?;
        Ok(self.id())
    }
}

impl Cell {
    /// Refuses an answer that is larger than this component takes: the one who answered is to blame, and it goes on.
    fn check_answer(&self, from: &ComponentId, body: Body) -> Refusable<Body> {
        let limit = self.limits().transfer;
        if body.size() as u64 <= limit.as_u64() {
            return Ok(body);
        }
        Err(MessagingRefusal::TooLarge(format!(
            "the answer of {from} has {} bytes; {limit} are allowed",
            body.size()
        )))
    }
}

/// What a body counts against the limits of mailboxes and outboxes.
pub(crate) fn counted(body: &Body) -> usize {
    body.size() + MESSAGE_OVERHEAD
}

fn check_address(target: &str) -> Result<(), String> {
    // The gate's own notion of a well-formed address includes topics, which nobody receives messages at.
    if target.contains('/') && (Access::Messaging { address: target }).is_well_formed() {
        return Ok(());
    }
    match target.parse::<ComponentId>() {
        Ok(_) => Ok(()),
        Err(invalid) => Err(invalid.to_string()),
    }
}

/// A message that its receiver would not understand is refused as the receiver itself would refuse it.
fn not_taken_refusal(receiver: &Cell, not_taken: NotTaken) -> MessagingRefusal {
    match not_taken {
        NotTaken::NoRoom(no_room) => no_room_refusal(receiver.id(), no_room),
        NotTaken::NotAccepted { content_type } => MessagingRefusal::Failed(Failure {
            code: FailureCode::InvalidInput,
            message: format!(
                "{} does not accept `{content_type}`; it accepts {}",
                receiver.id(),
                receiver.accepted()
            ),
        }),
    }
}

fn no_room_refusal(receiver: &ComponentId, no_room: NoRoom) -> MessagingRefusal {
    match no_room {
        NoRoom::TooLarge { bytes, max_bytes } => MessagingRefusal::TooLarge(format!(
            "the message counts {bytes} bytes; {receiver} takes {max_bytes} at most"
        )),
        NoRoom::Full { max_items, max_bytes } => MessagingRefusal::QueueFull(format!(
            "the mailbox of {receiver} holds the {max_items} messages or {max_bytes} bytes it can"
        )),
        NoRoom::Closed => MessagingRefusal::Unavailable(format!("{receiver} is stopping")),
    }
}

async fn wait_for_answer(
    shared: &Shared,
    receiver: &ComponentId,
    answer: oneshot::Receiver<Result<Body>>,
    deadline: Option<Instant>,
) -> Refusable<Body> {
    match shared.deadlines.wait(deadline, answer).await {
        Err(Passed) => Err(MessagingRefusal::Timeout),
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(error))) => Err(refusal(receiver, &error)),
        Ok(Err(_)) => Err(MessagingRefusal::Unavailable(format!("{receiver} ended without an answer"))),
    }
}

/// What another component may know of how its request ended.
pub(crate) fn refusal(receiver: &ComponentId, error: &WasmError) -> MessagingRefusal {
    match error.detail() {
        Some(Detail::Failure(code)) => MessagingRefusal::Failed(Failure { code, message: error.message() }),
        Some(Detail::Messaging(MessagingFault::Timeout)) => MessagingRefusal::Timeout,
        _ => MessagingRefusal::Unavailable(format!("{receiver} ended without an answer: {}", error.kind())),
    }
}

/// The asynchronous requests of a component whose answers have not arrived.
#[derive(Debug, Default)]
pub(crate) struct PendingRequests(Mutex<HashMap<MessageId, AbortHandle>>);

impl PendingRequests {
    fn lock(&self) -> MutexGuard<'_, HashMap<MessageId, AbortHandle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up on a request; false when its answer has arrived, or was given up before.
    fn cancel(&self, request: MessageId) -> bool {
        let waiting = self.lock().remove(&request);
        waiting.inspect(AbortHandle::abort).is_some()
    }

    /// Whether no answer is waited for.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// How many answers are waited for.
    fn count(&self) -> usize {
        self.lock().len()
    }

    /// Gives up on every request.
    pub(crate) fn cancel_all(&self) {
        for (_, waiting) in self.lock().drain() {
            waiting.abort();
        }
    }

    /// Waits, in a task of its own, for the answer to a request that has left, and puts it into the mailbox of the
    /// component that asked.
    pub(crate) fn expect(
        shared: &Arc<Shared>,
        asker: &Arc<Cell>,
        receiver: ComponentId,
        request: MessageId,
        answer: oneshot::Receiver<Result<Body>>,
        mut room: Reservation<Delivery>,
        deadline: Option<Instant>,
    ) {
        let (shared, cell) = (shared.clone(), asker.clone());
        if cell.mailbox().is_closed() {
            return;
        }
        // The task cannot come to look for its entry before the entry is there: the lock is held until then.
        let mut pending = asker.pending().lock();
        let waiting = tokio::spawn(async move {
            let answered = wait_for_answer(&shared, &receiver, answer, deadline).await;
            // The room that was kept is that of the smallest answer.
            let outcome = answered.and_then(|body| cell.check_answer(&receiver, body)).and_then(|body| {
                room.grow(body.size()).map_err(|no_room| no_room_refusal(cell.id(), no_room)).map(|()| body)
            });
            let wanted = cell.pending().lock().remove(&request).is_some();
            if wanted && room.fill(Delivery::Reply { request, outcome }).is_err() {
                tracing::debug!(component = %cell.id(), %request, "an answer came after the component had stopped");
            }
        });
        pending.insert(request, waiting.abort_handle());
    }
}
