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
    closed: bool,
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
        let queue = Queue { items: VecDeque::new(), taken_items: 0, taken_bytes: 0, reader: None, closed: false };
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
        queue.items.push_back((item, bytes));
        let reader = queue.reader.take();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// The next item; none when the mailbox is closed and empty.
    ///
    /// # Cancellation
    /// Dropping the future takes nothing.
    pub(crate) async fn pop(&self) -> Option<T> {
        poll_fn(|context| {
            let mut queue = self.lock();
            if let Some((item, bytes)) = queue.items.pop_front() {
                queue.give_back(bytes);
                return Poll::Ready(Some(item));
            }
            if queue.closed {
                return Poll::Ready(None);
            }
            if !queue.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker())) {
                queue.reader = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// Takes no more items, reservations included; what is queued stays.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let reader = queue.reader.take();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
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

    /// How many items are queued.
    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }
}

impl<T> Queue<T> {
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
    /// Queues the item in its room. Gives it back when the mailbox was closed meanwhile.
    pub(crate) fn fill(mut self, item: T) -> Result<(), T> {
        let mailbox = self.mailbox.take().expect("a reservation is filled once, by value");
        let mut queue = mailbox.lock();
        if queue.closed {
            queue.give_back(self.bytes);
            return Err(item);
        }
        queue.items.push_back((item, self.bytes));
        let reader = queue.reader.take();
        drop(queue);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }
}

impl<T> Drop for Reservation<T> {
    fn drop(&mut self) {
        if let Some(mailbox) = self.mailbox.take() {
            mailbox.lock().give_back(self.bytes);
        }
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

    #[test]
    fn closing_refuses_what_was_reserved_and_keeps_what_was_queued() {
        let mailbox = mailbox(3, 10);
        mailbox.push(1, 1).unwrap();
        let reservation = mailbox.reserve(1).unwrap();
        mailbox.close();
        assert_eq!(reservation.fill(2), Err(2));
        assert_eq!(mailbox.drain(), [1]);
        assert_eq!(mailbox.len(), 0);
    }
}
