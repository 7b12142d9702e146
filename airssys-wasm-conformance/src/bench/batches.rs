//! Sets of operations that are too short to be timed one by one.

use std::fmt;
use std::time::{Duration, Instant};

use super::{BATCH, Bench, Goal, MAX_ROUNDS, Unit, instructions};

/// A set of cases that run so many operations at a time. Times are of one operation.
#[must_use = "a set is measured when it is run"]
pub struct Batches<'b, 'c> {
    bench: &'b mut Bench,
    set: String,
    cases: Vec<Batch<'c>>,
    time: Duration,
    min_rounds: usize,
}

struct Batch<'c> {
    name: &'static str,
    goal: Goal,
    run: Box<dyn FnMut(u64) + 'c>,
    times: u64,
}

impl<'b, 'c> Batches<'b, 'c> {
    pub(super) fn new(bench: &'b mut Bench, set: String, time: Duration) -> Self {
        Self { bench, set, cases: Vec::new(), time, min_rounds: 10 }
    }

    /// Takes at least so many rounds, whatever they cost: for operations that are slow.
    pub fn min_rounds(&mut self, rounds: usize) {
        self.min_rounds = rounds;
    }

    /// The case that the others are compared with: what the product is made of, without the product. It comes first.
    pub fn floor(&mut self, name: &'static str, run: impl FnMut(u64) + 'c) {
        self.case(name, Goal::Report, run);
    }

    /// A case; `run` does the operation so many times.
    pub fn case(&mut self, name: &'static str, goal: Goal, run: impl FnMut(u64) + 'c) {
        self.cases.push(Batch { name, goal, run: Box::new(run), times: 1 });
    }

    /// Measures, and prints the rows.
    ///
    /// # Panics
    /// When instructions are to be counted, and a case fails under valgrind.
    pub fn run(mut self) {
        if let Some(counted) = &self.bench.counted {
            for case in &mut self.cases {
                counted.run(case.name, &mut *case.run);
            }
            let cases: Vec<_> = self.cases.iter().map(|case| (case.name, case.goal)).collect();
            let nothing = vec![vec![0.0]; cases.len()];
            return self.bench.add(&self.set, Unit::Instructions, &cases, &nothing);
        }
        if self.bench.options.instructions {
            let count = |case: &Batch<'_>| match instructions::count(&self.set, case.name) {
                Ok(instructions) => vec![instructions],
                Err(error) => panic!("{error}"),
            };
            let samples: Vec<_> = self.cases.iter().map(count).collect();
            // Goals are about time.
            let cases: Vec<_> = self.cases.iter().map(|case| (case.name, Goal::Report)).collect();
            return self.bench.add(&self.set, Unit::Instructions, &cases, &samples);
        }
        let smoke = self.bench.options.smoke;
        let mut round_time = Duration::ZERO;
        for case in &mut self.cases {
            round_time += case.calibrate(smoke);
        }
        let total = self.time * u32::try_from(self.cases.len()).unwrap_or(u32::MAX);
        let fitting = total.as_nanos() / round_time.as_nanos().max(1);
        let rounds = usize::try_from(fitting).unwrap_or(MAX_ROUNDS).clamp(self.min_rounds, MAX_ROUNDS);
        let mut samples = vec![Vec::new(); self.cases.len()];
        for round in 0..if smoke { 1 } else { rounds } {
            for turn in 0..self.cases.len() {
                let index = (turn + round) % self.cases.len();
                let case = &mut self.cases[index];
                samples[index].push(case.time().as_nanos() as f64 / case.times as f64);
            }
        }
        let cases: Vec<_> = self.cases.iter().map(|case| (case.name, case.goal)).collect();
        self.bench.add(&self.set, Unit::Nanoseconds, &cases, &samples);
    }
}

impl Batch<'_> {
    fn time(&mut self) -> Duration {
        let start = Instant::now();
        (self.run)(self.times);
        start.elapsed()
    }

    /// Finds how many operations make a batch, and how long that takes.
    fn calibrate(&mut self, smoke: bool) -> Duration {
        loop {
            let mut time = self.time();
            if !smoke {
                // The first batch of all finds nothing in its place, and any other may be interrupted: what is slow once says little.
                time = time.min(self.time());
            }
            if smoke || time >= BATCH {
                return time;
            }
            let wanted = BATCH.as_nanos().div_ceil(time.as_nanos().max(1));
            self.times = self.times.saturating_mul(u64::try_from(wanted).unwrap_or(2).clamp(2, 10));
        }
    }
}

impl fmt::Debug for Batches<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches")
            .field("set", &self.set)
            .field("cases", &self.cases.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_start_does_not_settle_for_a_batch_of_one() {
        let mut cold = true;
        let run = move |times| {
            if std::mem::take(&mut cold) || times > 5 {
                std::thread::sleep(BATCH * 2);
            }
        };
        let mut batch = Batch { name: "cold", goal: Goal::Report, times: 1, run: Box::new(run) };
        batch.calibrate(false);
        assert!(batch.times > 5, "a batch is {} operations", batch.times);
    }
}
