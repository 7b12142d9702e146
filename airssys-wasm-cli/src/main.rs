//! The `airssys-wasm` command: runs and inspects WebAssembly components.

use std::io::{self, Write};
use std::process;

use clap::CommandFactory;

use crate::arguments::{Arguments, Command};
use crate::exit_code::Exit;

mod access;
mod arguments;
mod audit;
mod audit_lines;
mod components;
mod configuration;
mod conformance;
mod diagnostics;
mod diff;
mod engine;
mod exit_code;
mod explain;
mod grants;
mod inspect;
mod interrupt;
mod logs;
mod messages;
mod progress;
mod report;
mod run;
mod signatures;
mod storage;
mod stores;
mod suggestions;
mod text;
mod values;
mod version;

fn main() -> process::ExitCode {
    let exit = match arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Audit { command } => audit::run(&command),
        Command::Explain(arguments) => explain::explain(&arguments),
        Command::Grants { command } => grants::run(&command),
        Command::Keygen { file } => signatures::keygen(&file),
        Command::Sign(arguments) => signatures::sign(&arguments),
        Command::Verify(arguments) => signatures::verify(&arguments),
        Command::Storage { command } => storage::run(&command),
        Command::Conformance(arguments) => conformance::run(&arguments),
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            let name = command.get_name().to_owned();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, name, &mut script);
            match io::stdout().write_all(&script) {
                Ok(()) => Exit::Success,
                Err(_) => Exit::Host,
            }
        }
    };
    exit.into()
}
