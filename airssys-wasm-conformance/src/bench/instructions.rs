//! Instructions instead of time: what callgrind counts does not depend on what else the machine does.
//!
//! The program starts itself under `valgrind --tool=callgrind`, twice for each case. That process prepares the set as any other run,
//! does the operation so many times to warm up, and as many times again in [`counted_operations`], outside of which nothing is counted.
//! The second process does it twice as often: the difference is what the operation takes, without what a batch takes once. Only the
//! thread that runs the batch is counted: a thread that moves an epoch is not.

use std::env;
use std::fs;
use std::process::{Command, Stdio};

/// Tells a process that it is counted, and what it is to run: set, case, and how many times, with a line each.
const COUNT: &str = "AIRSSYS_WASM_BENCH_COUNT";
/// How often the first process does the operation; the second one does it twice as often.
const TIMES: u64 = 500;

/// What this process was started for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) set: String,
    case: String,
    times: u64,
}

impl Counted {
    /// None where nobody counts.
    pub(super) fn from_environment() -> Option<Self> {
        Self::parse(&env::var(COUNT).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let [set, case, times]: [&str; 3] = text.lines().collect::<Vec<_>>().try_into().ok()?;
        Some(Self { set: set.to_owned(), case: case.to_owned(), times: times.parse().ok()? })
    }

    /// Runs a batch to warm up, and one that is counted, if the case is the one.
    pub(super) fn run(&self, case: &str, run: &mut dyn FnMut(u64)) {
        if case == self.case {
            run(TIMES);
            counted_operations(run, self.times);
        }
    }
}

/// Callgrind knows this function by its name.
#[inline(never)]
fn counted_operations(run: &mut dyn FnMut(u64), times: u64) {
    run(std::hint::black_box(times));
    // Not a tail call: the function is on the stack until it returns.
    std::hint::black_box(());
}

/// Why there is no callgrind to count with.
pub(super) fn missing() -> Option<String> {
    let found =
        Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("`valgrind --version` failed: {status}")),
        Err(error) => Some(format!("valgrind cannot be started, and counts the instructions: {error}")),
    }
}

/// How many instructions the operation of a case takes.
pub(super) fn count(set: &str, case: &str) -> Result<f64, String> {
    let collected = |times| {
        let collected = collected(&format!("{set}\n{case}\n{times}"));
        collected.map_err(|error| format!("`{set}`, `{case}` under valgrind: {error}"))
    };
    let (once, twice) = (collected(TIMES)?, collected(2 * TIMES)?);
    if once == 0 || twice <= once {
        return Err(format!("`{set}`, `{case}`: {once} and {twice} instructions cannot be right"));
    }
    Ok((twice - once) as f64 / TIMES as f64)
}

/// The instructions in [`counted_operations`] of a process with this task.
fn collected(task: &str) -> Result<u64, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (file, program) =
        (folder.path().join("counted"), env::current_exe().map_err(|error| error.to_string())?);
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--toggle-collect=*counted_operations*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .arg("--bench")
        .env(COUNT, task)
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = said.lines().collect();
        return Err(format!("{}\n{}", output.status, lines[lines.len().saturating_sub(12)..].join("\n")));
    }
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    total(&text).ok_or_else(|| "callgrind has written no total".to_owned())
}

fn total(dump: &str) -> Option<u64> {
    let line =
        dump.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_what_it_is_counted_for() {
        let counted = Counted::parse("echo, 64 B\nwasmtime\n100").unwrap();
        assert_eq!(counted.set, "echo, 64 B");
        let mut batches = Vec::new();
        counted.run("wasmer", &mut |times| batches.push(times));
        assert_eq!(batches, [0_u64; 0]);
        counted.run("wasmtime", &mut |times| batches.push(times));
        assert_eq!(batches, [TIMES, 100]);
        assert_eq!(Counted::parse("echo, 64 B\nwasmtime"), None);
    }

    #[test]
    fn the_total_of_a_dump_is_its_sum() {
        assert_eq!(total("# callgrind format\nversion: 1\nevents: Ir\nsummary: 42\n\nfn=(1)\n"), Some(42));
        assert_eq!(total("events: Ir\nfn=(1)\n3 4\n\ntotals: 4\n"), Some(4));
        assert_eq!(total("events: Ir\n"), None);
    }
}
