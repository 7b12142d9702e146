//! How much of something a component may do in a second.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A rate, and how much of it is used. What was not used is kept for a second, and no longer.
///
/// This is the generic cell rate algorithm (ITU-T I.371) with a burst of one second: one number is kept, the moment at which all
/// that was taken will have been earned. To take is one exchange of that number, without a lock.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: NonZeroU64,
    /// Nanoseconds after `start` at which the bucket is full again.
    full_at: AtomicU64,
    start: Instant,
}

/// A second, in nanoseconds.
const BURST: u64 = 1_000_000_000;

impl Rate {
    pub(crate) fn new(per_second: NonZeroU64) -> Self {
        Self { per_second, full_at: AtomicU64::new(0), start: Instant::now() }
    }

    pub(crate) fn per_second(&self) -> u64 {
        self.per_second.get()
    }

    /// Takes `amount`, or nothing of it.
    pub(crate) fn take(&self, amount: u64) -> bool {
        self.take_after(self.start.elapsed(), amount)
    }

    /// Gives back what was taken, and not used after all.
    pub(crate) fn give_back(&self, amount: u64) {
        let cost = self.cost(amount).unwrap_or(0);
        let given = |full_at: u64| Some(full_at.saturating_sub(cost));
        let _ = self.full_at.try_update(Ordering::Relaxed, Ordering::Relaxed, given);
    }

    /// How long it takes to earn `amount`, rounded up.
    fn cost(&self, amount: u64) -> Option<u64> {
        let cost = (u128::from(amount) * u128::from(BURST)).div_ceil(u128::from(self.per_second.get()));
        u64::try_from(cost).ok()
    }

    /// As [`take`](Self::take), `elapsed` after the start.
    fn take_after(&self, elapsed: Duration, amount: u64) -> bool {
        let now = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let Some(cost) = self.cost(amount) else { return false };
        let taken = |full_at: u64| {
            let next = full_at.max(now).checked_add(cost)?;
            (next - now <= BURST).then_some(next)
        };
        self.full_at.try_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u64) -> Rate {
        Rate::new(NonZeroU64::new(per_second).expect("the rate is not zero"))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_second_is_kept_and_earned_again() {
        let rate = rate(10);
        let at = |elapsed: Duration| (0..1_000).filter(|_| rate.take_after(elapsed, 1)).count();
        assert_eq!(at(Duration::ZERO), 10);
        assert_eq!(at(Duration::ZERO), 0);
        assert_eq!(at(SECOND / 2), 5);
        assert_eq!(at(SECOND / 2 + SECOND / 10), 1);
        assert_eq!(at(3_600 * SECOND), 10, "an hour earns no more than a second");
        // A clock that stands still earns nothing, and one that jumps back takes nothing away.
        assert_eq!(at(3_600 * SECOND), 0);
        assert_eq!(at(SECOND), 0);
        assert_eq!(at(3_601 * SECOND), 10);
    }

    #[test]
    fn amounts_are_taken_whole() {
        let rate = rate(1_000);
        assert!(!rate.take_after(Duration::ZERO, 1_001), "more than a second allows");
        assert!(!rate.take_after(Duration::ZERO, u64::MAX));
        assert!(rate.take_after(Duration::ZERO, 1_000));
        assert!(!rate.take_after(Duration::ZERO, 1));
        assert!(rate.take_after(Duration::ZERO, 0));
        assert!(!rate.take_after(SECOND / 10, 101));
        assert!(rate.take_after(SECOND / 10, 100));
        assert!(!rate.take_after(Duration::MAX, 1), "the end of time is not passed");
        rate.give_back(100);
        assert!(rate.take_after(SECOND / 10, 100), "what was given back");
        assert!(!rate.take_after(SECOND / 10, 1));
        let fast = Rate::new(NonZeroU64::MAX);
        assert!(
            fast.take_after(Duration::ZERO, 1) && fast.full_at.load(Ordering::Relaxed) == 1,
            "nothing is free"
        );
    }

    #[test]
    fn a_million_takes_are_exact() {
        let rate = rate(1_000);
        let taken =
            (0..1_000_000_u64).filter(|at| rate.take_after(Duration::from_micros(10 * at), 1)).count();
        // Ten seconds, and the one that was kept before them.
        assert!((10_990..=11_000).contains(&taken), "{taken} were taken in ten seconds");
    }
}
