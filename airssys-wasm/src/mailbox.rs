//! The bounded queue of messages waiting for one component. It outlives the instances that read it.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use airssys_wasm_core::component::ResourceLimits;

/// A queue with many senders and one reader, bounded by the number of items and by their bytes.
///
/// Room is reserved first and used later, so that a sender knows at once whether its message will be taken. An item that
/// was not put into its reservation gives the room back.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    queue: Mutex<Queue<T>>,
    max_items: usize,
    max_bytes: usize,
}

struct Queue<T> {
    items: VecDeque<(T, usize)>,
    /// Items queued and reserved.
    taken_items: usize,
    /// Bytes queued and reserved.
    taken_bytes: usize,
    reader: Option<Waker>,
    /// Whether the reader works on what it took last.
    reader_busy: bool,
    /// How many items were ever queued.
    pushed: u64,
    /// No more room is given; what was given is still used.
    closed: bool,
    /// Nothing is queued any more.
    sealed: bool,
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("items", &self.items.len())
            .field("taken_items", &self.taken_items)
            .field("taken_bytes", &self.taken_bytes)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Larger than the whole mailbox.
    TooLarge { bytes: usize, max_bytes: usize },
    /// Full now.
    Full { max_items: usize, max_bytes: usize },
    /// The component takes no more messages.
    Closed,
}

impl<T> Mailbox<T> {
    pub(crate) fn new(limits: &ResourceLimits) -> Self {
        let queue = Queue {
            items: VecDeque::new(),
            taken_items: 0,
            taken_bytes: 0,
            reader: None,
            reader_busy: false,
            pushed: 0,
            closed: false,
            sealed: false,
        };
        Self {
            queue: Mutex::new(queue),
            max_items: limits.mailbox_messages as usize,
            max_bytes: limits.mailbox_bytes.as_usize(),
        }
    }

    /// Nothing that can panic runs under the lock, so a poisoned one is as good as new.
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes room for one item of this size.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Reservation<T>, NoRoom> {
        self.lock().take_room(bytes, self.max_items, self.max_bytes)?;
        Ok(Reservation { mailbox: Some(self.clone()), bytes })
    }

    /// Queues one item of this size, or gives it back.
    pub(crate) fn push(&self, item: T, bytes: usize) -> Result<(), (NoRoom, T)> {
        let mut queue = self.lock();
        if let Err(refused) = queue.take_room(bytes, self.max_items, self.max_bytes) {
            return Err((refused, item));
        }
        let reader = queue.push(item, bytes);
        drop(queue);
        wake(reader);
        Ok(())
    }

    /// The next item; none when the mailbox is closed, empty, and nobody has room in it, or when it is sealed.
    ///
    /// # Cancellation
    /// Dropping the future takes nothing.
    pub(crate) async fn pop(&self) -> Option<T> {
        poll_fn(|context| {
            let mut queue = self.lock();
            if queue.sealed {
                return Poll::Ready(None);
            }
            if let Some((item, bytes)) = queue.items.pop_front() {
                queue.give_back(bytes);
                queue.reader_busy = true;
                return Poll::Ready(Some(item));
            }
            queue.reader_busy = false;
            if queue.closed && queue.taken_items == 0 {
                return Poll::Ready(None);
            }
            if !queue.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
                queue.reader = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Gives no more room. What is queued, and what has room, is still read.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let reader = queue.reader.take();
        drop(queue);
        wake(reader);
    }

    /// Takes nothing any more, reservations included, and is read no more; what is queued can be [drained](Self::drain).
    pub(crate) fn seal(&self) {
        let mut queue = self.lock();
        (queue.closed, queue.sealed) = (true, true);
        let reader = queue.reader.take();
        drop(queue);
        wake(reader);
    }

    /// Whether no more room is given.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Takes everything that is queued.
    pub(crate) fn drain(&self) -> Vec<T> {
        let mut queue = self.lock();
        let items = std::mem::take(&mut queue.items);
        for (_, bytes) in &items {
            queue.give_back(*bytes);
        }
        drop(queue);
        items.into_iter().map(|(item, _)| item).collect()
    }

    /// How many items were ever queued, if none is queued now and the reader waits for one.
    pub(crate) fn idle_after(&self) -> Option<u64> {
        let queue = self.lock();
        (queue.items.is_empty() && !queue.reader_busy).then_some(queue.pushed)
    }

    /// How many items are queued.
    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }
}

impl<T> Queue<T> {
    /// Queues an item; the reader that is returned waits for it.
    fn push(&mut self, item: T, bytes: usize) -> Option<Waker> {
        self.items.push_back((item, bytes));
        self.pushed += 1;
        self.reader.take()
    }

    fn take_room(&mut self, bytes: usize, max_items: usize, max_bytes: usize) -> Result<(), NoRoom> {
        if self.closed {
            return Err(NoRoom::Closed);
        }
        if bytes > max_bytes {
            return Err(NoRoom::TooLarge { bytes, max_bytes });
        }
        if self.taken_items >= max_items || bytes > max_bytes - self.taken_bytes.min(max_bytes) {
            return Err(NoRoom::Full { max_items, max_bytes });
        }
        self.taken_items += 1;
        self.taken_bytes += bytes;
        Ok(())
    }

    fn give_back(&mut self, bytes: usize) {
        self.taken_items -= 1;
        self.taken_bytes -= bytes;
    }
}

/// Room for one item, until it is used or dropped.
pub(crate) struct Reservation<T> {
    mailbox: Option<Arc<Mailbox<T>>>,
    bytes: usize,
}

impl<T> Reservation<T> {
    /// Takes more room, for an item that turns out to be larger than was known.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let mailbox =
            self.mailbox.as_ref().expect("a reservation has its mailbox until it is filled, by value");
        let mut queue = mailbox.lock();
        let max_bytes = mailbox.max_bytes;
        if bytes > max_bytes.saturating_sub(self.bytes) {
            return Err(NoRoom::TooLarge { bytes: self.bytes.saturating_add(bytes), max_bytes });
        }
        if bytes > max_bytes.saturating_sub(queue.taken_bytes) {
            return Err(NoRoom::Full { max_items: mailbox.max_items, max_bytes });
        }
        queue.taken_bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// Queues the item in its room. Gives it back when the mailbox was sealed meanwhile.
    pub(crate) fn fill(mut self, item: T) -> Result<(), T> {
        let mailbox = self.mailbox.take().expect("a reservation is filled once, by value");
        let mut queue = mailbox.lock();
        if queue.sealed {
            queue.give_back(self.bytes);
            return Err(item);
        }
        let reader = queue.push(item, self.bytes);
        drop(queue);
        wake(reader);
        Ok(())
    }
}

impl<T> Drop for Reservation<T> {
    fn drop(&mut self) {
        let Some(mailbox) = self.mailbox.take() else { return };
        let mut queue = mailbox.lock();
        queue.give_back(self.bytes);
        // A reader of a closed mailbox waits for the last reservation.
        let reader = if queue.closed { queue.reader.take() } else { None };
        drop(queue);
        wake(reader);
    }
}

fn wake(reader: Option<Waker>) {
    if let Some(reader) = reader {
        reader.wake();
    }
}

impl<T> fmt::Debug for Reservation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use airssys_wasm_core::component::ByteSize;

    use super::*;

    fn mailbox(items: u32, bytes: u64) -> Arc<Mailbox<u32>> {
        let limits = ResourceLimits {
            mailbox_messages: items,
            mailbox_bytes: ByteSize::bytes(bytes),
            ..ResourceLimits::default()
        };
        Arc::new(Mailbox::new(&limits))
    }

    #[tokio::test]
    async fn items_come_out_in_the_order_in_which_they_went_in() {
        let mailbox = mailbox(10, 100);
        for item in 0..3 {
            mailbox.push(item, 1).unwrap();
        }
        mailbox.close();
        assert_eq!(
            (mailbox.pop().await, mailbox.pop().await, mailbox.pop().await, mailbox.pop().await),
            (Some(0), Some(1), Some(2), None)
        );
    }

    #[tokio::test]
    async fn both_bounds_hold_to_the_last_item_and_byte() {
        let full = NoRoom::Full { max_items: 2, max_bytes: 10 };
        let by_count = mailbox(2, 10);
        by_count.push(1, 0).unwrap();
        by_count.push(2, 0).unwrap();
        assert_eq!(by_count.push(3, 0), Err((full, 3)));

        let by_bytes = mailbox(2, 10);
        by_bytes.push(1, 6).unwrap();
        assert_eq!(by_bytes.push(2, 5), Err((full, 2)));
        by_bytes.push(3, 4).unwrap();
        assert_eq!(by_bytes.push(4, 11), Err((NoRoom::TooLarge { bytes: 11, max_bytes: 10 }, 4)));
        assert_eq!(by_bytes.pop().await, Some(1));
        by_bytes.push(5, 6).unwrap();
    }

    #[tokio::test]
    async fn a_reservation_holds_room_until_it_is_used_or_dropped() {
        let mailbox = mailbox(1, 10);
        let reservation = mailbox.reserve(4).unwrap();
        assert!(mailbox.push(1, 0).is_err());
        drop(reservation);
        let reservation = mailbox.reserve(4).unwrap();
        reservation.fill(7).unwrap();
        assert_eq!(mailbox.pop().await, Some(7));
        assert!(mailbox.reserve(10).is_ok());
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_by_an_item_and_by_the_end() {
        let mailbox = mailbox(1, 10);
        let reader = tokio::spawn({
            let mailbox = mailbox.clone();
            async move { (mailbox.pop().await, mailbox.pop().await) }
        });
        tokio::task::yield_now().await;
        mailbox.push(1, 0).unwrap();
        while mailbox.len() > 0 {
            tokio::task::yield_now().await;
        }
        mailbox.close();
        assert_eq!(reader.await.unwrap(), (Some(1), None));
        assert_eq!(mailbox.push(2, 0), Err((NoRoom::Closed, 2)));
    }

    #[tokio::test]
    async fn a_mailbox_is_idle_when_its_reader_asks_for_more_than_there_is() {
        let mailbox = mailbox(3, 10);
        assert_eq!(mailbox.idle_after(), Some(0));
        mailbox.push(1, 1).unwrap();
        assert_eq!(mailbox.idle_after(), None);
        mailbox.pop().await;
        assert_eq!(mailbox.idle_after(), None, "the item is being worked on");
        assert!(futures_util::FutureExt::now_or_never(mailbox.pop()).is_none());
        assert_eq!(mailbox.idle_after(), Some(1));
    }

    #[tokio::test]
    async fn a_closed_mailbox_ends_after_the_last_reservation() {
        let mailbox = mailbox(3, 10);
        mailbox.push(1, 1).unwrap();
        let (used, dropped) = (mailbox.reserve(1).unwrap(), mailbox.reserve(1).unwrap());
        mailbox.close();
        assert!(mailbox.reserve(0).is_err());
        let reader = tokio::spawn({
            let mailbox = mailbox.clone();
            async move { (mailbox.pop().await, mailbox.pop().await, mailbox.pop().await) }
        });
        tokio::task::yield_now().await;
        used.fill(2).unwrap();
        tokio::task::yield_now().await;
        assert!(!reader.is_finished(), "somebody has room");
        drop(dropped);
        assert_eq!(reader.await.unwrap(), (Some(1), Some(2), None));
    }

    #[tokio::test]
    async fn a_sealed_mailbox_takes_and_gives_nothing_and_can_be_drained() {
        let mailbox = mailbox(3, 10);
        mailbox.push(1, 1).unwrap();
        let reservation = mailbox.reserve(1).unwrap();
        mailbox.seal();
        assert_eq!(mailbox.pop().await, None);
        assert_eq!(reservation.fill(2), Err(2));
        assert_eq!(mailbox.drain(), [1]);
        assert_eq!(mailbox.len(), 0);
    }

    #[test]
    fn a_reservation_grows_within_the_bound() {
        let mailbox = mailbox(3, 10);
        let mut reservation = mailbox.reserve(2).unwrap();
        assert_eq!(reservation.grow(9), Err(NoRoom::TooLarge { bytes: 11, max_bytes: 10 }));
        let other = mailbox.reserve(3).unwrap();
        assert_eq!(reservation.grow(6), Err(NoRoom::Full { max_items: 3, max_bytes: 10 }));
        drop(other);
        reservation.grow(8).unwrap();
        assert!(mailbox.reserve(1).is_err());
        drop(reservation);
        mailbox.reserve(10).unwrap();
    }
}
