//! Measures a product next to the floor it stands on, and says whether the ratio is within its budget.
//!
//! Machines have fast and slow phases, and other jobs. So the cases of a set take turns, a batch each, round after
//! round, and each round compares a case with the floor of the same round: the median of these ratios is what a budget is
//! about. The first case of a set is its floor.
//!
//! ```no_run
//! //! Measures how long it takes to count.
//! use std::hint::black_box;
//! use std::process::ExitCode;
//!
//! use airssys_wasm_conformance::bench::{self, Goal};
//!
//! fn main() -> ExitCode {
//!     bench::run("counting", |bench| {
//!         if !bench.wants("sum of 100") {
//!             return;
//!         }
//!         let numbers: Vec<u64> = (0..100).collect();
//!         let mut set = bench.batches("sum of 100");
//!         set.floor("loop", |times| {
//!             for _ in 0..times {
//!                 let mut sum = 0;
//!                 for number in black_box(&numbers) {
//!                     sum += number;
//!                 }
//!                 black_box(sum);
//!             }
//!         });
//!         set.case("iterator", Goal::AtMost(1.1), |times| {
//!             for _ in 0..times {
//!                 black_box(black_box(&numbers).iter().sum::<u64>());
//!             }
//!         });
//!         set.run();
//!     })
//! }
//! ```
//!
//! Three kinds of sets: [`Batches`] times operations that are too short to be timed one by one, [`Loops`] records the
//! latency of every operation, and [`Bench::values`] takes figures that were measured elsewhere, such as memory.
//!
//! # How it is run
//!
//! `cargo bench` runs everything. `cargo bench --bench NAME -- TEXT` runs the sets whose names hold `TEXT`; `--quick` takes
//! a fifth of the time, `--json` prints one object for each row, and `--check` fails when a row is over its budget. Without
//! `--bench`, which `cargo bench` passes and `cargo test` does not, every case runs for a moment and nothing is judged.
//!
//! # Side by side
//!
//! [`Bench::compare`] puts cases of a set on a line of a table that is printed at the end, a column for each backend. With
//! `--figures DIR`, the table is written to `DIR/NAME.md`, and to `DIR/NAME.json` as one object:
//!
//! | member | is |
//! | --- | --- |
//! | `name` | the name of the program |
//! | `quick` | whether a fifth of the time was taken |
//! | `machine` | `date`, `cores`, `cpu`, `kernel`, and `load`, the tasks that wanted to run in the minute before |
//! | `versions` | the version of each library, by its name |
//! | `operations` | for each line: `operation`, `unit` (`ns`, `per second`, `bytes`, `instructions` or `count`), and `cells` |
//!
//! A cell has the `column`, the `case`, the `figure`, and what it stands `beside`: for each, what the table calls it as `name`, its
//! `case`, its `figure`, and the `ratio` of the cell to it, or null where it is nothing. A figure or ratio has `median`, `q1`, `q3` and
//! the number of `rounds` that they are taken of; a ratio is taken in each round.
//!
//! The feature `figures` adds plots to the folder, as SVG.
//!
//! # Instructions
//!
//! Where an operation is so short that the clock is noise, `--instructions` counts instructions with callgrind, in the sets that
//! the program names with [`Bench::counts`]. It needs `valgrind`, and fails without; `DIR` then has `NAME-instructions` files. What
//! the kernel does and what the memory makes a processor wait for is not in such a figure.

mod batches;
mod comparison;
mod instructions;
mod latencies;
mod loops;
mod machine;
#[cfg(feature = "figures")]
mod plot;

use std::fmt::{self, Write};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

pub use batches::Batches;
use comparison::{Comparison, Measured, Spread, ratios};
use instructions::Counted;
pub use latencies::{Latencies, Pace};
pub use loops::{LoopGoals, Loops};
use machine::Machine;

/// How long a batch takes: long against the clock, short against the phases of the machine.
const BATCH: Duration = Duration::from_micros(150);
/// How long a round of a loop takes.
const LOOP: Duration = Duration::from_millis(50);
/// The most rounds of a set.
const MAX_ROUNDS: usize = 5_000;

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// Nothing: it is reported.
    Report,
    /// So many times the floor, or less.
    AtMost(f64),
    /// So many times the floor and this much more, or less; in the unit of the row, which is nanoseconds for times.
    AtMostAnd(f64, f64),
    /// So many times the floor, or more.
    AtLeast(f64),
    /// This value, or less, whatever the floor is; in the unit of the row, which is nanoseconds for times.
    Below(f64),
}

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Nanoseconds,
    /// Operations in a second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// Instructions of the processor.
    Instructions,
}

/// The sets of one program, and what was found so far.
#[derive(Debug)]
pub struct Bench {
    name: &'static str,
    options: Options,
    rows: usize,
    over: usize,
    measured: Vec<Measured>,
    comparison: Comparison,
    versions: Vec<(String, String)>,
    machine: Machine,
    /// The sets in which instructions can be counted.
    countable: Vec<String>,
    /// What a process under callgrind was started for.
    counted: Option<Counted>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Options {
    filters: Vec<String>,
    json: bool,
    quick: bool,
    check: bool,
    /// Instructions instead of time.
    instructions: bool,
    /// Where to write what was compared.
    figures: Option<PathBuf>,
    /// Run by `cargo test`: each case for a moment.
    smoke: bool,
    help: bool,
}

/// Runs the sets that `sets` describes, as the command line asks. The exit code tells of budgets with `--check` only.
pub fn run(name: &'static str, sets: impl FnOnce(&mut Bench)) -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(wrong) => {
            show(&format!("{wrong}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    if options.help {
        show(USAGE);
        return ExitCode::SUCCESS;
    }
    if options.instructions
        && let Some(reason) = instructions::missing()
    {
        show(&reason);
        return ExitCode::FAILURE;
    }
    let mut bench = Bench {
        name,
        options,
        rows: 0,
        over: 0,
        measured: Vec::new(),
        comparison: Comparison::default(),
        versions: Vec::new(),
        machine: Machine::now(),
        countable: Vec::new(),
        counted: Counted::from_environment(),
    };
    sets(&mut bench);
    if bench.counted.is_some() {
        return ExitCode::SUCCESS;
    }
    if !bench.options.json && !bench.options.smoke {
        if !bench.comparison.operations.is_empty() {
            show(&format!("\n{}\n\n{}", bench.heading(), bench.comparison.text().trim_end()));
        }
        show(&format!("\n{name}: {} rows, {} over budget", bench.rows, bench.over));
    }
    if let Some(folder) = &bench.options.figures
        && !bench.comparison.operations.is_empty()
        && let Err(error) = bench.write(&beside_the_lockfile(folder))
    {
        show(&format!("the figures cannot be written to {}: {error}", folder.display()));
        return ExitCode::FAILURE;
    }
    if bench.options.check && bench.over > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

const USAGE: &str = "\
usage: cargo bench --bench NAME -- [--quick] [--json] [--check] [--instructions] [--figures DIR] [TEXT]...
  TEXT     run the sets whose names hold one of these texts
  --quick  take a fifth of the time
  --json   print one object for each row
  --check  fail when a row is over its budget
  --instructions
           count instructions with valgrind, in the sets where the clock is noise
  --figures DIR
           write what was compared to DIR, which is taken from the folder of Cargo.lock";

/// Cargo starts a bench in the folder of its package; who types the command stands at the top of the workspace.
fn beside_the_lockfile(folder: &Path) -> PathBuf {
    let current = std::env::current_dir().unwrap_or_default();
    let top = current.ancestors().find(|ancestor| ancestor.join("Cargo.lock").is_file());
    top.unwrap_or(&current).join(folder)
}

impl Options {
    fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { smoke: true, ..Self::default() };
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => options.smoke = false,
                "--json" => options.json = true,
                "--quick" => options.quick = true,
                "--check" => options.check = true,
                "--instructions" => options.instructions = true,
                "--help" | "-h" => options.help = true,
                "--figures" => {
                    let folder = arguments.next().ok_or("`--figures` needs a folder.")?;
                    options.figures = Some(folder.into());
                }
                _ if argument.starts_with('-') => return Err(format!("`{argument}` is not an option.")),
                _ => options.filters.push(argument),
            }
        }
        if options.smoke && (options.figures.is_some() || options.instructions) {
            return Err("`--figures` and `--instructions` need `cargo bench`.".to_owned());
        }
        Ok(options)
    }

    fn wants(&self, set: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|text| set.contains(text.as_str()))
    }
}

impl Bench {
    /// Whether anybody asked for a set of this name. Asked before anything is prepared for it.
    pub fn wants(&self, set: &str) -> bool {
        if let Some(counted) = &self.counted {
            return counted.set == set;
        }
        self.options.wants(set) && (!self.options.instructions || self.countable.iter().any(|one| one == set))
    }

    /// Names sets of batches whose instructions can be counted: what they run in the thread that runs them is what they measure.
    pub fn counts(&mut self, sets: &[&str]) {
        self.countable.extend(sets.iter().map(|set| (*set).to_owned()));
    }

    /// Whether instructions are counted, which takes fifty times as long as running them: what is prepared should be small.
    pub fn is_counting(&self) -> bool {
        self.options.instructions || self.counted.is_some()
    }

    /// A set whose cases run so many operations at a time.
    pub fn batches<'c>(&mut self, set: impl Into<String>) -> Batches<'_, 'c> {
        let time = Duration::from_millis(1_000) / if self.options.quick { 5 } else { 1 };
        Batches::new(self, set.into(), time)
    }

    /// A set whose cases run for so long and record every latency.
    pub fn loops<'c>(&mut self, set: impl Into<String>) -> Loops<'_, 'c> {
        let rounds = if self.options.quick { 5 } else { 25 };
        Loops::new(self, set.into(), rounds)
    }

    /// Rows of figures that were measured elsewhere: a name, the figure, and its goal. The first one is the floor.
    pub fn values(&mut self, set: &str, unit: Unit, figures: &[(&str, f64, Goal)]) {
        let rounds: Vec<_> =
            figures.iter().map(|(name, figure, goal)| (*name, vec![*figure], *goal)).collect();
        self.rounds(set, unit, &rounds);
    }

    /// Rows of figures that were measured elsewhere, several times each: a name, the figures of the rounds, and the goal.
    pub fn rounds(&mut self, set: &str, unit: Unit, figures: &[(&str, Vec<f64>, Goal)]) {
        let names: Vec<_> = figures.iter().map(|(name, _, goal)| (*name, *goal)).collect();
        let samples: Vec<_> = figures.iter().map(|(_, rounds, _)| rounds.clone()).collect();
        self.add(set, unit, &names, &samples);
    }

    /// A line of the table that is printed at the end: an operation, as a set has measured it. Further sets can add to it, a backend
    /// each.
    ///
    /// # Panics
    /// When no set of this name was measured. What [`Loops`] measures has `, p50`, `, p99` or `, rate` after the name of the set.
    pub fn compare(&mut self, operation: &str, set: &str) -> Line<'_> {
        let measured = self.measured.iter().rev().find(|measured| measured.set == set);
        let measured = measured.unwrap_or_else(|| panic!("`{set}` was not measured")).clone();
        Line { comparison: &mut self.comparison, operation: operation.to_owned(), measured }
    }

    /// Says which versions of these packages were measured, as a `Cargo.lock` has them.
    ///
    /// # Panics
    /// When the lockfile does not have one of them.
    pub fn versions(&mut self, lockfile: &str, packages: &[&str]) {
        self.versions.extend(machine::versions(lockfile, packages));
    }

    /// What must be known to read the table.
    fn heading(&self) -> String {
        let mut heading = format!("{}: medians", self.name);
        if self.options.instructions {
            heading = format!("{}: instructions of one operation, counted by callgrind.\n", self.name);
        } else {
            heading += if self.options.quick { " of a quick run" } else { "" };
            heading +=
                ", IQR: the interquartile range over the rounds; a ratio is the median over the rounds.\n";
        }
        heading += &self.machine.sentence();
        for (package, version) in &self.versions {
            let _ = write!(heading, ", {package} {version}");
        }
        heading + "."
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let name = format!("{}{}", self.name, if self.options.instructions { "-instructions" } else { "" });
        let file = |end: &str| folder.join(format!("{name}.{end}"));
        #[cfg_attr(not(feature = "figures"), expect(unused_mut, reason = "there are no pictures to add"))]
        let mut page = format!("# {name}\n\n{}\n\n{}", self.heading(), self.comparison.markdown());
        #[cfg(feature = "figures")]
        for (end, picture) in plot::pictures(&name, &self.comparison).map_err(io::Error::other)? {
            let picture_name = format!("{name}-{end}.svg");
            let _ = write!(page, "\n![{name}, {end}]({picture_name})\n");
            std::fs::write(folder.join(picture_name), picture)?;
        }
        std::fs::write(file("md"), page)?;
        let json = json!({
            "name": self.name,
            "quick": self.options.quick,
            "machine": self.machine.json(),
            "versions": self.versions.iter().map(|(name, version)| (name.clone(), json!(version))).collect::<Value>(),
            "operations": self.comparison.json(),
        });
        std::fs::write(file("json"), format!("{json:#}\n"))
    }

    /// Whether less time is to be taken: `--quick`, or a run that only shows that everything works.
    pub fn is_quick(&self) -> bool {
        self.options.quick || self.options.smoke
    }

    /// Whether this run only shows that everything works.
    pub fn is_smoke(&self) -> bool {
        self.options.smoke
    }

    /// A line of text between the sets, for people.
    pub fn note(&self, text: &str) {
        if !self.options.json && !self.options.smoke {
            show(&format!("  {text}"));
        }
    }

    /// Prints the rows of a set, and keeps them: `samples` has the rounds of each case.
    fn add(&mut self, set: &str, unit: Unit, cases: &[(&str, Goal)], samples: &[Vec<f64>]) {
        let rounds =
            cases.iter().zip(samples).map(|((case, _), rounds)| ((*case).to_owned(), rounds.clone()));
        self.measured.push(Measured { set: set.to_owned(), unit, cases: rounds.collect() });
        if self.counted.is_some() {
            return;
        }
        if self.options.smoke {
            return show(&format!("{}: {set}: ran", self.name));
        }
        if !self.options.json {
            let head = format!("{set} ({unit})");
            show(&format!(
                "\n{head:<58} {:>10} {:>10} {:>10} {:>10} {:>7} {:>12}  verdict",
                "min", "median", "IQR", "p99", "ratio", "budget"
            ));
        }
        for ((case, goal), rounds) in cases.iter().zip(samples) {
            let row = Row::new(rounds, &samples[0], *goal);
            self.rows += 1;
            self.over += usize::from(row.verdict() == Verdict::Over);
            show(&if self.options.json {
                row.json(self.name, set, case, unit, &samples[0]).to_string()
            } else {
                row.line(case, unit)
            });
        }
    }
}

/// An operation, and what each backend takes for it.
#[derive(Debug)]
pub struct Line<'b> {
    comparison: &'b mut Comparison,
    operation: String,
    measured: Measured,
}

impl Line<'_> {
    /// Shows a case in a column, and its ratio to each of the others, with what the table calls them.
    ///
    /// # Panics
    /// When the set has no such case.
    #[expect(clippy::return_self_not_must_use, reason = "the line is there without")]
    pub fn column(self, column: &str, case: &str, beside: &[(&str, &str)]) -> Self {
        self.comparison.add(&self.operation, &self.measured, column, case, beside);
        self
    }
}

/// One line of a table.
struct Row {
    min: f64,
    p99: f64,
    /// None where nothing was measured.
    spread: Option<Spread>,
    /// The median over the rounds of this case to the floor; none where the floor is nothing.
    ratio: Option<f64>,
    goal: Goal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Within,
    Over,
    Reported,
}

impl Row {
    fn new(rounds: &[f64], floor: &[f64], goal: Goal) -> Self {
        let mut sorted = rounds.to_vec();
        sorted.sort_by(f64::total_cmp);
        Self {
            min: quantile(&sorted, 0.0).unwrap_or_default(),
            p99: quantile(&sorted, 0.99).unwrap_or_default(),
            spread: Spread::of(sorted),
            ratio: Spread::of(ratios(rounds, floor)).map(|ratio| ratio.median),
            goal,
        }
    }

    fn median(&self) -> f64 {
        self.spread.map_or(0.0, |spread| spread.median)
    }

    fn verdict(&self) -> Verdict {
        let within = match self.goal {
            Goal::Report => return Verdict::Reported,
            Goal::AtMost(most) => self.ratio.is_some_and(|ratio| ratio <= most),
            // The floor of the same rounds, as the ratio tells it.
            Goal::AtMostAnd(most, more) => self
                .ratio
                .is_some_and(|ratio| ratio > 0.0 && self.median() <= self.median() / ratio * most + more),
            Goal::AtLeast(least) => self.ratio.is_some_and(|ratio| ratio >= least),
            Goal::Below(most) => self.median() <= most,
        };
        if within { Verdict::Within } else { Verdict::Over }
    }

    fn line(&self, case: &str, unit: Unit) -> String {
        let budget = match self.goal {
            Goal::Report => String::new(),
            Goal::AtMost(most) => format!("<= {most}x"),
            Goal::AtMostAnd(most, more) => format!("<= {most}x + {}", unit.figure(more)),
            Goal::AtLeast(least) => format!(">= {least}x"),
            Goal::Below(most) => format!("<= {}", unit.figure(most)),
        };
        let verdict = match self.verdict() {
            Verdict::Within => "within",
            Verdict::Over => "over",
            Verdict::Reported => "",
        };
        let ratio = self.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}x"));
        let range = self.spread.map_or(0.0, Spread::interquartile_range);
        let figures = [self.min, self.median(), range, self.p99].map(|figure| unit.figure(figure));
        let mut line = format!("  {case:<56}");
        for figure in figures {
            let _ = write!(line, " {figure:>10}");
        }
        let _ = write!(line, " {ratio:>7} {budget:>12}  {verdict}");
        line.truncate(line.trim_end().len());
        line
    }

    fn json(&self, bench: &str, set: &str, case: &str, unit: Unit, floor: &[f64]) -> Value {
        let (bound, budget) = match self.goal {
            Goal::Report => (Value::Null, Value::Null),
            Goal::AtMost(most) => (json!("ratio at most"), json!(most)),
            Goal::AtMostAnd(most, more) => (json!("ratio at most, and more"), json!([most, more])),
            Goal::AtLeast(least) => (json!("ratio at least"), json!(least)),
            Goal::Below(most) => (json!("at most"), json!(most)),
        };
        let verdict = match self.verdict() {
            Verdict::Within => json!("within"),
            Verdict::Over => json!("over"),
            Verdict::Reported => Value::Null,
        };
        let mut floor = floor.to_vec();
        floor.sort_by(f64::total_cmp);
        json!({
            "bench": bench,
            "set": set,
            "case": case,
            "unit": unit.to_string(),
            "min": self.min,
            "median": self.median(),
            "q1": self.spread.map(|spread| spread.q1),
            "q3": self.spread.map(|spread| spread.q3),
            "p99": self.p99,
            "floor": quantile(&floor, 0.5),
            "ratio": self.ratio,
            "bound": bound,
            "budget": budget,
            "verdict": verdict,
        })
    }
}

impl Unit {
    /// What machines read.
    fn symbol(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::PerSecond => "per second",
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Instructions => "instructions",
        }
    }

    fn figure(self, figure: f64) -> String {
        let scaled = |steps: &[(f64, &str)]| {
            let (step, name) = steps.iter().rev().find(|(step, _)| figure >= *step).unwrap_or(&steps[0]);
            let value = figure / step;
            let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
            format!("{value:.digits$}{name}")
        };
        match self {
            Self::Nanoseconds => scaled(&[(1.0, " ns"), (1e3, " us"), (1e6, " ms"), (1e9, " s")]),
            Self::PerSecond => scaled(&[(1.0, "/s"), (1e3, "k/s"), (1e6, "M/s")]),
            Self::Bytes => scaled(&[(1.0, " B"), (1024.0, " KiB"), (1_048_576.0, " MiB")]),
            Self::Count => format!("{figure}"),
            Self::Instructions => format!("{figure:.0}"),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nanoseconds => "time",
            Self::PerSecond => "per second",
            Self::Bytes => "bytes",
            Self::Count => "count",
            Self::Instructions => "instructions",
        })
    }
}

/// Of sorted figures; none when there are none.
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[expect(clippy::print_stdout, reason = "the table is this program's output")]
fn show(line: &str) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Options::parse(arguments.iter().map(ToString::to_string))
    }

    #[test]
    fn the_command_line_of_cargo_is_understood() {
        let options = parse(&["--bench", "--quick", "echo", "call"]).unwrap();
        assert!(options.quick && !options.smoke && !options.check);
        assert!(options.wants("echo, 64 B") && options.wants("a call") && !options.wants("load"));
        assert!(parse(&[]).unwrap().smoke);
        assert_eq!(parse(&["--fast"]), Err("`--fast` is not an option.".to_owned()));
        assert_eq!(parse(&["--bench", "--figures", "docs"]).unwrap().figures, Some("docs".into()));
        assert_eq!(parse(&["--figures"]), Err("`--figures` needs a folder.".to_owned()));
        assert_eq!(
            parse(&["--figures", "docs"]).unwrap_err(),
            "`--figures` and `--instructions` need `cargo bench`."
        );
        assert!(parse(&["--bench", "--instructions"]).unwrap().instructions);
    }

    #[test]
    fn a_ratio_is_the_median_over_rounds() {
        // The machine was slow in the last round, for both.
        let row = |goal| Row::new(&[12.0, 11.0, 120.0], &[10.0, 10.0, 100.0], goal);
        assert_eq!(row(Goal::Report).ratio, Some(1.2));
        assert_eq!(row(Goal::AtMost(1.2)).verdict(), Verdict::Within);
        assert_eq!(row(Goal::AtMost(1.1)).verdict(), Verdict::Over);
        assert_eq!(row(Goal::AtMostAnd(1.0, 2.0)).verdict(), Verdict::Within);
        assert_eq!(row(Goal::AtMostAnd(1.0, 1.9)).verdict(), Verdict::Over);
        assert_eq!(row(Goal::AtLeast(1.5)).verdict(), Verdict::Over);
        assert_eq!(row(Goal::Below(12.0)).verdict(), Verdict::Within);
        assert_eq!(row(Goal::Report).verdict(), Verdict::Reported);
    }

    #[test]
    fn a_budget_without_a_floor_is_not_kept() {
        let row = Row::new(&[1.0], &[0.0], Goal::AtMost(2.0));
        assert_eq!((row.ratio, row.verdict()), (None, Verdict::Over));
    }

    #[test]
    fn a_row_shows_everything() {
        let line = Row::new(&[1_500.0], &[1_000.0], Goal::AtMost(1.3)).line("host", Unit::Nanoseconds);
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(
            words,
            ["host", "1.50", "us", "1.50", "us", "0.00", "ns", "1.50", "us", "1.50x", "<=", "1.3x", "over"]
        );
    }
}
