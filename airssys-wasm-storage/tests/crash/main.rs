//! Every store whose process is killed and whose power is cut, at random moments, and opened again.
//!
//! `cargo test -p airssys-wasm-storage --test crash -- --tier 2` does more of it, `--seed N` repeats a run, and `--replay PATH`
//! verifies files that an earlier run has kept. `docs/storage-crash-tests.md` tells what is simulated.

#![allow(
    clippy::print_stdout,
    reason = "the table is this program's output, and marks are how a child speaks"
)]
#![allow(clippy::unwrap_used, reason = "what the tests share fails by panicking")]

mod campaign;
mod child;
mod history;
mod images;
mod kills;
mod log_engine;
mod marks;
mod power;
mod recorder;
mod self_checks;
#[path = "../stores/mod.rs"]
mod stores;
mod subjects;
mod tiers;
mod trace;
mod verifier;
mod workload;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == child::CHILD) {
        return child::run(&arguments[1..]);
    }
    if let Some(place) = option(&mut arguments, "--replay") {
        return match campaign::replay(Path::new(&place)) {
            Ok(()) => {
                println!("every promise is kept");
                ExitCode::SUCCESS
            }
            Err(violation) => {
                println!("{violation}");
                ExitCode::FAILURE
            }
        };
    }
    let number = |text: Option<String>| {
        text.map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("not a number: {text}")))
    };
    let tier = number(option(&mut arguments, "--tier")).unwrap_or(1);
    let seed = number(option(&mut arguments, "--seed"));
    let program = std::iter::once("crash".to_owned());
    tiers::run(&Arguments::from_iter(program.chain(arguments)), tier, seed)
}

/// Takes an option and its value out of the arguments.
fn option(arguments: &mut Vec<String>, name: &str) -> Option<String> {
    if let Some(at) = arguments.iter().position(|argument| argument == name) {
        assert!(at + 1 < arguments.len(), "{name} needs a value");
        arguments.remove(at);
        return Some(arguments.remove(at));
    }
    None
}
