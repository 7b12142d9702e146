//! On what and when figures were taken: what tells one machine from another, and nothing that tells whose it is.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// A machine at a moment.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    date: String,
    cores: usize,
    cpu: Option<String>,
    kernel: Option<String>,
    /// How many tasks wanted to run, over the last minute.
    load: Option<String>,
}

impl Machine {
    pub(super) fn now() -> Self {
        let line = |path: &str| {
            fs::read_to_string(path).ok().and_then(|text| text.lines().next().map(str::to_owned))
        };
        let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86_400);
        Self {
            date: date(days),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| model(&text)),
            kernel: line("/proc/sys/kernel/osrelease"),
            load: line("/proc/loadavg").and_then(|line| line.split(' ').next().map(str::to_owned)),
        }
    }

    pub(super) fn sentence(&self) -> String {
        let unknown = "an unknown processor";
        let mut text =
            format!("{}, {} cores of {}", self.date, self.cores, self.cpu.as_deref().unwrap_or(unknown));
        for (name, fact) in [("kernel", &self.kernel), ("load at the start", &self.load)] {
            if let Some(fact) = fact {
                text += &format!(", {name} {fact}");
            }
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "date": self.date,
            "cores": self.cores,
            "cpu": self.cpu,
            "kernel": self.kernel,
            "load": self.load.as_deref().and_then(|load| load.parse::<f64>().ok()),
        })
    }
}

fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
}

/// The day, so many days after 1 January 1970, as `2026-01-31`.
///
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms": years begin in March.
fn date(days: u64) -> String {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// The versions of these packages, as a lockfile of Cargo has them; several of one package are all named.
pub(super) fn versions(lockfile: &str, packages: &[&str]) -> Vec<(String, String)> {
    let mut versions = Vec::new();
    for package in packages {
        let name = format!("name = \"{package}\"");
        let found = lockfile.split("[[package]]").filter(|entry| entry.lines().any(|line| line == name));
        let found = found.filter_map(|entry| entry.lines().find_map(|line| line.strip_prefix("version = ")));
        let found: Vec<_> = found.map(|version| version.trim_matches('"')).collect();
        assert!(!found.is_empty(), "the lockfile does not have `{package}`");
        versions.push(((*package).to_owned(), found.join(" and ")));
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        let dates = [(0, "1970-01-01"), (59, "1970-03-01"), (11_016, "2000-02-29"), (20_780, "2026-11-23")];
        for (days, expected) in dates {
            assert_eq!(date(days), expected);
        }
    }

    #[test]
    fn the_processor_is_named_as_the_kernel_names_it() {
        let text = "processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC\nmodel name\t: AMD EPYC\n";
        assert_eq!(model(text).as_deref(), Some("AMD EPYC"));
        assert_eq!(model("processor\t: 0\n"), None);
    }

    #[test]
    fn versions_are_those_of_the_lockfile() {
        let lockfile = "version = 4\n\n[[package]]\nname = \"redb\"\nversion = \"4.6.0\"\n\n\
                        [[package]]\nname = \"redb-derive\"\nversion = \"1.0.0\"\n\n\
                        [[package]]\nname = \"redb\"\nversion = \"2.0.0\"\n";
        assert_eq!(versions(lockfile, &["redb"]), [("redb".to_owned(), "4.6.0 and 2.0.0".to_owned())]);
    }
}
