//! Verdicts, and how they are shown.

use std::fmt;
use std::time::Duration;

use libtest_mimic::{Arguments, FormatSetting};
use serde_json::json;

use super::{Bench, Broken, Contract};

/// Whether a backend keeps a contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Held,
    /// It does not offer the feature named, and was shown to refuse it.
    Refused(String),
    /// It does not, and its file says so, with a reason.
    Deviates {
        /// Why, in the words of the backend's file.
        reason: String,
        /// How it shows.
        broken: Broken,
    },
    /// It does not.
    Broken(Broken),
}

impl Verdict {
    /// One word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Refused(_) => "refused",
            Self::Deviates { .. } => "deviates",
            Self::Broken(_) => "broken",
        }
    }

    /// Why it is not simply held.
    pub fn why(&self) -> Option<String> {
        match self {
            Self::Held => None,
            Self::Refused(feature) => Some(format!("{feature} is not offered, and refused")),
            Self::Deviates { reason, .. } => Some(reason.clone()),
            Self::Broken(broken) => Some(broken.to_string()),
        }
    }

    /// Whether the run fails.
    pub const fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

/// One contract and its verdict.
#[derive(Clone, Debug)]
pub struct Line {
    /// The contract.
    pub id: &'static str,
    /// What it promises.
    pub promise: &'static str,
    /// Whether it is kept.
    pub verdict: Verdict,
    /// How long it took to find out.
    pub took: Duration,
}

impl Line {
    /// What it promises, without the breaks between lines of its source.
    pub fn promise_in_one_line(&self) -> String {
        one_line(self.promise)
    }

    /// One line of JSON: what `backend` does about the contract.
    pub fn to_json(&self, backend: &str) -> String {
        json!({
            "type": "contract",
            "backend": backend,
            "id": self.id,
            "promise": one_line(self.promise),
            "verdict": self.verdict.name(),
            "why": self.verdict.why(),
            "milliseconds": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        })
        .to_string()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "test {} ... ", self.id)?;
        match &self.verdict {
            Verdict::Held => f.write_str("ok"),
            Verdict::Refused(feature) => write!(f, "ok (refused: {feature})"),
            Verdict::Deviates { reason, .. } => write!(f, "ok (deviates: {reason})"),
            Verdict::Broken(_) => f.write_str("FAILED"),
        }
    }
}

/// Every contract that was run, in the order of the suite.
#[derive(Clone, Debug)]
pub struct Report {
    /// Against what.
    pub backend: String,
    /// How it went.
    pub lines: Vec<Line>,
    /// How long it took.
    pub took: Duration,
}

impl Report {
    /// Whether no contract is broken.
    pub fn is_success(&self) -> bool {
        !self.lines.iter().any(|line| line.verdict.is_broken())
    }

    /// The verdict on one contract.
    pub fn verdict(&self, id: &str) -> Option<&Verdict> {
        self.lines.iter().find(|line| line.id == id).map(|line| &line.verdict)
    }

    /// The contracts that are not kept.
    pub fn broken(&self) -> impl Iterator<Item = (&'static str, &Broken)> {
        self.lines.iter().filter_map(|line| match &line.verdict {
            Verdict::Broken(broken) => Some((line.id, broken)),
            _ => None,
        })
    }

    /// One line of JSON that sums up the run.
    pub fn to_json(&self) -> String {
        let [held, refused, deviates, broken] = self.counts("");
        json!({
            "type": "summary",
            "backend": self.backend,
            "held": held,
            "refused": refused,
            "deviates": deviates,
            "broken": broken,
            "milliseconds": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
        })
        .to_string()
    }

    /// The reports as JUnit XML, which many build servers show: a suite for each backend, a failure for each contract that is
    /// broken.
    ///
    /// # Errors
    /// When a text cannot be written as XML.
    pub fn to_junit<'a>(
        reports: impl IntoIterator<Item = &'a Self>,
    ) -> Result<String, quick_junit::SerializeError> {
        use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

        let mut junit = quick_junit::Report::new("airssys-wasm conformance");
        for report in reports {
            let mut suite = TestSuite::new(report.backend.as_str());
            suite.set_time(report.took);
            for line in &report.lines {
                let status = match &line.verdict {
                    Verdict::Broken(broken) => {
                        let mut failure = TestCaseStatus::non_success(NonSuccessKind::Failure);
                        failure.set_message(broken.to_string());
                        failure
                    }
                    _ => TestCaseStatus::success(),
                };
                let mut case = TestCase::new(line.id, status);
                case.set_classname(report.backend.as_str()).set_time(line.took);
                if let Some(why) = line.verdict.why() {
                    case.set_system_out(format!("{}: {why}", line.verdict.name()));
                }
                suite.add_test_case(case);
            }
            junit.add_test_suite(suite);
        }
        junit.to_string()
    }

    /// How many contracts of a group are held, refused, deviating and broken; of all groups, for the empty prefix.
    fn counts(&self, group: &str) -> [usize; 4] {
        let count = |name: &str| {
            let is_counted = |line: &&Line| {
                line.verdict.name() == name && (group.is_empty() || group_of(line.id) == group)
            };
            self.lines.iter().filter(is_counted).count()
        };
        ["held", "refused", "deviates", "broken"].map(count)
    }

    /// What follows the lines of the contracts: what broke, the table, and the line that test runners read.
    pub(super) fn closing(&self, total: usize) -> String {
        use fmt::Write as _;
        let mut text = String::new();
        // Writing to a string does not fail.
        if self.lines.iter().any(|line| line.verdict.is_broken()) {
            text.push_str("\nfailures:\n");
            for line in &self.lines {
                if let Verdict::Broken(broken) = &line.verdict {
                    let _ = write!(text, "\n---- {} ----\n{}\n{broken}\n", line.id, one_line(line.promise));
                }
            }
        }
        let mut groups: Vec<&str> = Vec::new();
        for line in &self.lines {
            if !groups.contains(&group_of(line.id)) {
                groups.push(group_of(line.id));
            }
        }
        let width = groups.iter().map(|group| group.len()).chain([self.backend.len()]).max().unwrap_or(0);
        let _ = writeln!(text, "\n{:width$}  held  refused  deviates  broken", self.backend);
        for (group, name) in groups.iter().map(|group| (*group, *group)).chain([("", "all")]) {
            let [held, refused, deviates, broken] = self.counts(group);
            let _ = writeln!(text, "{name:width$}  {held:>4}  {refused:>7}  {deviates:>8}  {broken:>6}");
        }
        let [held, refused, deviates, broken] = self.counts("");
        let verdict = if self.is_success() { "ok" } else { "FAILED" };
        let _ = writeln!(
            text,
            "\ntest result: {verdict}. {} passed; {broken} failed; 0 ignored; 0 measured; {} filtered out; \
             finished in {:.2}s\n",
            held + refused + deviates,
            total - self.lines.len(),
            self.took.as_secs_f64(),
        );
        text
    }
}

/// The contracts that none of these backends holds: all refuse, deviate or break. A promise that nobody keeps is to be seen, and
/// not to be taken for kept.
pub fn unanswered(reports: &[Report]) -> Vec<&'static str> {
    let mut ids: Vec<&'static str> = Vec::new();
    for line in reports.iter().flat_map(|report| &report.lines) {
        if !ids.contains(&line.id) {
            ids.push(line.id);
        }
    }
    let is_held = |id: &&'static str| reports.iter().any(|report| report.verdict(id) == Some(&Verdict::Held));
    ids.retain(|id| !is_held(id));
    ids
}

/// What `--list` prints.
pub(super) fn listing<B: Bench>(contracts: &[&Contract<B>], arguments: &Arguments) -> String {
    let mut text = String::new();
    for contract in contracts {
        if arguments.format == Some(FormatSetting::Json) {
            let promise = one_line(contract.promise);
            let line = json!({ "type": "contract", "id": contract.id, "promise": promise });
            text.push_str(&line.to_string());
        } else {
            text.push_str(contract.id);
            text.push_str(": test");
        }
        text.push('\n');
    }
    let is_terse = arguments.quiet || arguments.format.is_some_and(|format| format != FormatSetting::Pretty);
    if !is_terse {
        text.push_str(&format!("\n{} tests, 0 benchmarks\n", contracts.len()));
    }
    text
}

fn one_line(promise: &str) -> String {
    promise.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `storage.scan` of `storage.scan.order`.
fn group_of(id: &str) -> &str {
    id.rsplit_once('.').map_or(id, |(group, _)| group)
}
