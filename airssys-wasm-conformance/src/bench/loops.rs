//! Sets of loops that record the latency of every operation.

use std::fmt;
use std::time::{Duration, Instant};

use super::{Bench, Goal, LOOP, Latencies, Unit};

/// What the figures of a loop have to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoopGoals {
    /// The median latency.
    pub p50: Goal,
    /// The latency of the slowest in a hundred.
    pub p99: Goal,
    /// Operations in a second.
    pub rate: Goal,
}

impl Default for LoopGoals {
    fn default() -> Self {
        Self { p50: Goal::Report, p99: Goal::Report, rate: Goal::Report }
    }
}

/// A set of cases that run for so long and record the latency of every operation.
#[must_use = "a set is measured when it is run"]
pub struct Loops<'b, 'c> {
    bench: &'b mut Bench,
    set: String,
    cases: Vec<LoopCase<'c>>,
    rounds: usize,
    round: Duration,
}

struct LoopCase<'c> {
    name: &'static str,
    goals: LoopGoals,
    run: Box<dyn FnMut(Duration) -> Latencies + 'c>,
}

impl<'b, 'c> Loops<'b, 'c> {
    pub(super) fn new(bench: &'b mut Bench, set: String, rounds: usize) -> Self {
        Self { bench, set, cases: Vec::new(), rounds, round: LOOP }
    }

    /// Takes so many rounds, each this long: for loops that have few operations in a second.
    pub fn rounds(&mut self, rounds: usize, time: Duration) {
        self.rounds = if self.bench.options.quick { rounds.div_ceil(2) } else { rounds };
        self.round = time;
    }

    /// The case that the others are compared with. It comes first.
    pub fn floor(&mut self, name: &'static str, run: impl FnMut(Duration) -> Latencies + 'c) {
        self.case(name, LoopGoals::default(), run);
    }

    /// A case; `run` does the operation for about so long.
    pub fn case(
        &mut self,
        name: &'static str,
        goals: LoopGoals,
        run: impl FnMut(Duration) -> Latencies + 'c,
    ) {
        self.cases.push(LoopCase { name, goals, run: Box::new(run) });
    }

    /// Measures, and prints the rows: for the medians, the 99th percentiles, and the rates of the rounds.
    pub fn run(mut self) {
        let smoke = self.bench.options.smoke;
        let (rounds, time) = if smoke { (1, Duration::from_millis(1)) } else { (self.rounds, self.round) };
        let mut samples = [const { Vec::new() }; 3].map(|_: Vec<f64>| vec![Vec::new(); self.cases.len()]);
        // The first round of each warms up.
        for round in 0..=rounds {
            for turn in 0..self.cases.len() {
                let index = (turn + round) % self.cases.len();
                let start = Instant::now();
                let mut latencies = (self.cases[index].run)(time);
                let seconds = start.elapsed().as_secs_f64();
                if round > 0 {
                    samples[0][index].push(latencies.quantile(0.5).as_nanos() as f64);
                    samples[1][index].push(latencies.quantile(0.99).as_nanos() as f64);
                    samples[2][index].push(latencies.len() as f64 / seconds);
                }
            }
        }
        let goals: [fn(&LoopGoals) -> Goal; 3] = [|goals| goals.p50, |goals| goals.p99, |goals| goals.rate];
        let measures = [("p50", Unit::Nanoseconds), ("p99", Unit::Nanoseconds), ("rate", Unit::PerSecond)];
        for (((measure, unit), goal), samples) in measures.into_iter().zip(goals).zip(&samples) {
            let cases: Vec<_> = self.cases.iter().map(|case| (case.name, goal(&case.goals))).collect();
            self.bench.add(&format!("{}, {measure}", self.set), unit, &cases, samples);
        }
    }
}

impl fmt::Debug for Loops<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loops")
            .field("set", &self.set)
            .field("cases", &self.cases.len())
            .finish_non_exhaustive()
    }
}
