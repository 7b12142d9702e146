//! What one handler changed and sent so far: it takes effect together when the handler returns ok, or not at all.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::{Duration, Instant};

use airssys_wasm_core::capability::{Topic, TopicPattern};
use airssys_wasm_core::component::{ComponentId, ResourceLimits};
use airssys_wasm_core::error::Result;
use airssys_wasm_core::messaging::{Body, Envelope, MessageId, TraceContext};
use airssys_wasm_core::storage::{
    Batch, Key, KeyRange, MAX_BATCH_BYTES, MAX_BATCH_OPERATIONS, Namespace, Precondition, Quota, Usage,
};

use crate::cell::Delivery;
use crate::mailbox::Reservation;
use crate::services::counted;

/// The changes and messages of one handler.
#[derive(Debug, Default)]
pub(crate) struct UnitOfWork {
    /// The message being handled.
    pub(crate) handling: Option<MessageId>,
    /// Its trace, which everything sent here carries on.
    pub(crate) trace: Option<TraceContext>,
    /// When the handler will be ended.
    pub(crate) deadline: Option<Instant>,
    /// Bytes logged so far.
    pub(crate) logged: u64,
    /// Whether the line that tells of the cut was written.
    pub(crate) log_cut: bool,
    writes: Writes,
    outbox: Vec<Outgoing>,
    /// Messages sent, those that have left already included.
    sent_messages: usize,
    sent_bytes: usize,
    subscriptions: Vec<(TopicPattern, Interest)>,
}

/// Something that leaves when the handler returns ok.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// A message with room kept for it.
    Send { room: Reservation<Delivery>, envelope: Envelope },
    /// A request with room kept for it, and room in the sender's own mailbox for the answer.
    Request {
        room: Reservation<Delivery>,
        receiver: ComponentId,
        envelope: Envelope,
        answer: Reservation<Delivery>,
        timeout: Duration,
    },
    /// An event.
    Publish { id: MessageId, topic: Topic, body: Body },
}

/// What a handler wants to hear from now on, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Subscribe,
    Unsubscribe,
}

/// Everything a handler leaves behind when it returns ok.
#[derive(Debug)]
pub(crate) struct Effects {
    pub(crate) batch: Batch,
    pub(crate) outbox: Vec<Outgoing>,
    pub(crate) subscriptions: Vec<(TopicPattern, Interest)>,
}

/// Why a message does not fit into the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutboxFull;

impl UnitOfWork {
    /// Starts anew, whatever the last handler left.
    pub(crate) fn begin(
        &mut self,
        handling: Option<MessageId>,
        trace: Option<TraceContext>,
        deadline: Option<Instant>,
    ) {
        self.handling = handling;
        self.trace = trace;
        self.deadline = deadline;
        self.logged = 0;
        self.log_cut = false;
        if !self.is_empty() || self.writes.stored.is_some() {
            self.writes.clear();
            self.outbox.clear();
            self.subscriptions.clear();
        }
        (self.sent_messages, self.sent_bytes) = (0, 0);
    }

    /// Whether the handler changed and sent nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.values.is_empty() && self.outbox.is_empty() && self.subscriptions.is_empty()
    }

    /// Takes everything out. The quota makes the store check what was checked here, in the same commit.
    pub(crate) fn take(&mut self, namespace: &Namespace, quota: Quota) -> Result<Effects> {
        (self.sent_messages, self.sent_bytes) = (0, 0);
        Ok(Effects {
            batch: self.writes.take(namespace, quota)?,
            outbox: std::mem::take(&mut self.outbox),
            subscriptions: std::mem::take(&mut self.subscriptions),
        })
    }

    /// The writes so far.
    pub(crate) fn writes(&mut self) -> &mut Writes {
        &mut self.writes
    }

    /// Whether a message of this size fits.
    pub(crate) fn check_outbox(&self, bytes: usize, limits: &ResourceLimits) -> Result<(), OutboxFull> {
        let fits = self.sent_messages < limits.outbox_messages as usize
            && self.sent_bytes.saturating_add(bytes) <= limits.outbox_bytes.as_usize();
        if fits { Ok(()) } else { Err(OutboxFull) }
    }

    /// How many requests are to leave that nobody waits for.
    pub(crate) fn requests(&self) -> usize {
        self.outbox.iter().filter(|outgoing| matches!(outgoing, Outgoing::Request { .. })).count()
    }

    /// Adds a message that [`check_outbox`](Self::check_outbox) found to fit.
    pub(crate) fn send(&mut self, outgoing: Outgoing, bytes: usize) {
        self.count_sent(bytes);
        self.outbox.push(outgoing);
    }

    /// Counts a message that leaves at once.
    pub(crate) fn count_sent(&mut self, bytes: usize) {
        self.sent_messages += 1;
        self.sent_bytes += bytes;
    }

    /// Takes a request that has not left yet out of the outbox.
    pub(crate) fn withdraw_request(&mut self, id: MessageId) -> bool {
        let is_it =
            |outgoing: &Outgoing| matches!(outgoing, Outgoing::Request { envelope, .. } if envelope.id == id);
        let Some(position) = self.outbox.iter().position(is_it) else { return false };
        if let Outgoing::Request { envelope, .. } = self.outbox.remove(position) {
            self.sent_messages -= 1;
            self.sent_bytes -= counted(&envelope.body);
        }
        true
    }

    /// What this handler last said of a pattern.
    pub(crate) fn interest(&self, pattern: &TopicPattern) -> Option<Interest> {
        self.subscriptions.iter().rev().find(|(other, _)| other == pattern).map(|(_, interest)| *interest)
    }

    /// How many changes of subscriptions there are.
    pub(crate) fn interests(&self) -> usize {
        self.subscriptions.len()
    }

    /// Notes a change of subscriptions.
    pub(crate) fn set_interest(&mut self, pattern: TopicPattern, interest: Interest) {
        self.subscriptions.retain(|(other, _)| *other != pattern);
        self.subscriptions.push((pattern, interest));
    }
}

/// Writes that are not committed yet, laid over the store.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// The value of each key that was written; none for one that was deleted.
    values: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// What a compare-and-set found in the store, to be found again at the commit.
    requirements: BTreeMap<Vec<u8>, Precondition>,
    bytes: usize,
    /// What the namespace held when the first write was made.
    stored: Option<Usage>,
    /// What the writes add to it.
    added_bytes: i64,
    added_keys: i64,
}

/// Why a write is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteRefused {
    /// The namespace would hold this much.
    Quota(Usage),
    /// The commit would be larger than a store takes.
    Batch,
}

impl Writes {
    fn clear(&mut self) {
        *self = Self::default();
    }

    /// The uncommitted value of a key: none if this handler has not written it.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        self.values.get(key).map(Option::as_deref)
    }

    /// What the namespace held before, if it was asked already.
    pub(crate) fn stored(&self) -> Option<Usage> {
        self.stored
    }

    /// Notes what the namespace held before this handler wrote.
    pub(crate) fn set_stored(&mut self, usage: Usage) {
        self.stored.get_or_insert(usage);
    }

    /// What the namespace would hold now.
    pub(crate) fn usage(&self) -> Usage {
        let stored = self.stored.unwrap_or_default();
        Usage {
            bytes: stored.bytes.saturating_add_signed(self.added_bytes),
            keys: stored.keys.saturating_add_signed(self.added_keys),
        }
    }

    /// Sets or deletes a key whose value now, with the writes so far, is `old_length` bytes long.
    pub(crate) fn write(
        &mut self,
        key: Vec<u8>,
        value: Option<Vec<u8>>,
        old_length: Option<usize>,
        quota: Quota,
    ) -> Result<(), WriteRefused> {
        let counted = |length: usize| (key.len() + length) as i64 + RECORD_OVERHEAD;
        let (old, new) =
            (old_length.map_or(0, counted), value.as_ref().map_or(0, |value| counted(value.len())));
        let added_bytes = self.added_bytes + new - old;
        let added_keys = self.added_keys + i64::from(value.is_some()) - i64::from(old_length.is_some());
        let grows = new > old;
        let before = (self.added_bytes, self.added_keys);
        (self.added_bytes, self.added_keys) = (added_bytes, added_keys);
        let usage = self.usage();
        let refused = if grows && (usage.bytes > quota.bytes || usage.keys > quota.keys) {
            Some(WriteRefused::Quota(usage))
        } else if !self.fits(&key, value.as_deref()) {
            Some(WriteRefused::Batch)
        } else {
            None
        };
        if let Some(refused) = refused {
            (self.added_bytes, self.added_keys) = before;
            return Err(refused);
        }
        self.bytes -= self.values.get(&key).map_or(0, |old| written(&key, old.as_deref()));
        self.bytes += written(&key, value.as_deref());
        self.values.insert(key, value);
        Ok(())
    }

    fn fits(&self, key: &[u8], value: Option<&[u8]>) -> bool {
        let replaced = self.values.get(key).map(|old| written(key, old.as_deref()));
        let operations = self.values.len() + self.requirements.len() + usize::from(replaced.is_none());
        // A compare-and-set may add a requirement to the write that is asked about.
        operations < MAX_BATCH_OPERATIONS
            && self.bytes - replaced.unwrap_or(0) + written(key, value) <= MAX_BATCH_BYTES
    }

    /// Makes the commit depend on what a compare-and-set found in the store. The first finding of a key counts.
    pub(crate) fn require(&mut self, key: &[u8], precondition: Precondition) {
        self.requirements.entry(key.to_vec()).or_insert(precondition);
    }

    /// The writes to keys of `range`, in order.
    pub(crate) fn range<'a>(
        &'a self,
        range: &KeyRange,
    ) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let bounds = if range.is_empty() {
            None
        } else {
            Some((range.start().map(<[u8]>::to_vec), range.end().map(<[u8]>::to_vec)))
        };
        bounds
            .into_iter()
            .flat_map(|bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>)| self.values.range(bounds))
            .map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    fn take(&mut self, namespace: &Namespace, quota: Quota) -> Result<Batch> {
        let taken = std::mem::take(self);
        let mut batch = Batch::new();
        for (key, precondition) in taken.requirements {
            batch.require(namespace, Key::new(key)?, precondition);
        }
        if !taken.values.is_empty() {
            batch.limit(namespace, quota);
        }
        for (key, value) in taken.values {
            let key = Key::new(key)?;
            match value {
                Some(value) => batch.put(namespace, key, value),
                None => batch.delete(namespace, key),
            };
        }
        Ok(batch)
    }
}

const RECORD_OVERHEAD: i64 = airssys_wasm_core::storage::RECORD_OVERHEAD as i64;

fn written(key: &[u8], value: Option<&[u8]>) -> usize {
    key.len() + value.map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota { bytes: 100, keys: 2 };

    fn write(
        writes: &mut Writes,
        key: &str,
        value: Option<&str>,
        old: Option<usize>,
    ) -> Result<(), WriteRefused> {
        writes.write(key.into(), value.map(Into::into), old, QUOTA)
    }

    #[test]
    fn the_quota_holds_to_the_byte_and_the_key() {
        let mut writes = Writes::default();
        writes.set_stored(Usage { bytes: 50, keys: 1 });
        let refused = write(&mut writes, "k", Some("0123456789"), None).unwrap_err();
        assert_eq!(refused, WriteRefused::Quota(Usage { bytes: 101, keys: 2 }));
        write(&mut writes, "k", Some("012345678"), None).unwrap();
        assert_eq!(writes.usage(), Usage { bytes: 100, keys: 2 });
        assert!(write(&mut writes, "l", Some(""), None).is_err());
        write(&mut writes, "k", None, Some(9)).unwrap();
        assert_eq!(writes.usage(), Usage { bytes: 50, keys: 1 });
    }

    #[test]
    fn what_is_above_the_quota_can_still_shrink() {
        let mut writes = Writes::default();
        writes.set_stored(Usage { bytes: 500, keys: 5 });
        write(&mut writes, "k", Some("a"), Some(10)).unwrap();
        write(&mut writes, "k", None, Some(1)).unwrap();
        assert!(write(&mut writes, "k", Some("a"), None).is_err());
    }

    #[test]
    fn a_unit_never_outgrows_a_batch() {
        let quota = Quota { bytes: u64::MAX, keys: u64::MAX };
        let mut writes = Writes::default();
        let mut accepted = 0;
        while writes.write(format!("{accepted}").into(), Some(vec![]), None, quota).is_ok() {
            accepted += 1;
        }
        // One operation is left for what a compare-and-set requires.
        assert_eq!(accepted, MAX_BATCH_OPERATIONS - 1);
        writes.require(b"0", Precondition::Absent);
        let batch = writes.take(&Namespace::new("n").unwrap(), quota).unwrap();
        assert_eq!(batch.operations(), MAX_BATCH_OPERATIONS);

        let mut writes = Writes::default();
        for key in 0..4 {
            writes.write(vec![key], Some(vec![0; MAX_BATCH_BYTES / 4 - 1]), None, quota).unwrap();
        }
        assert_eq!(writes.write(vec![9], Some(vec![]), None, quota), Err(WriteRefused::Batch));
        writes.write(vec![0], Some(vec![]), Some(MAX_BATCH_BYTES / 4 - 1), quota).unwrap();
        writes.write(vec![9], Some(vec![]), None, quota).unwrap();
    }
}
