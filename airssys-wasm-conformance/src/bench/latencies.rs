//! How long each operation of a loop took, and when it was due.

use std::time::{Duration, Instant};

/// The latencies of one round, each of them: quantiles are exact.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<u32>);

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one; more than four seconds count as four.
    pub fn record(&mut self, latency: Duration) {
        self.0.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
    }

    /// Adds those of another loop that ran at the same time.
    pub fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency that this part of them does not pass: 0.5 for the median.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use airssys_wasm_conformance::bench::Latencies;
    ///
    /// let mut latencies = Latencies::new();
    /// for millis in 1..=100 {
    ///     latencies.record(Duration::from_millis(millis));
    /// }
    /// assert_eq!(latencies.quantile(0.99), Duration::from_millis(99));
    /// ```
    pub fn quantile(&mut self, part: f64) -> Duration {
        if self.0.is_empty() {
            return Duration::ZERO;
        }
        let rank = (self.0.len() as f64 * part).ceil() as usize;
        let index = rank.clamp(1, self.0.len()) - 1;
        Duration::from_nanos((*self.0.select_nth_unstable(index).1).into())
    }
}

/// When the operations of an open loop are due: at a fixed rate, whatever the earlier ones took. A latency counts from
/// the moment at which the operation was due, so that a stall is not hidden by the operations that it held up.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    next: Instant,
    interval: Duration,
}

impl Pace {
    /// So many in a second, from now on.
    pub fn per_second(rate: u32) -> Self {
        Self { next: Instant::now(), interval: Duration::from_secs(1) / rate.max(1) }
    }

    /// When the next one is due; it may have been already.
    pub fn due(&mut self) -> Instant {
        let due = self.next;
        self.next += self.interval;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_ranks() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.quantile(0.5), Duration::ZERO);
        for nanos in (1..=1_000).rev() {
            latencies.record(Duration::from_nanos(nanos));
        }
        let mut other = Latencies::new();
        other.record(Duration::from_secs(60));
        latencies.merge(other);
        assert_eq!(latencies.len(), 1_001);
        assert_eq!(latencies.quantile(0.5), Duration::from_nanos(501));
        assert_eq!(latencies.quantile(1.0), Duration::from_nanos(u32::MAX.into()));
    }

    #[test]
    fn an_open_loop_does_not_wait_for_the_slow() {
        let mut pace = Pace::per_second(1_000);
        let first = pace.due();
        std::thread::sleep(Duration::from_millis(3));
        assert_eq!(pace.due() - first, Duration::from_millis(1));
    }
}
