//! `airssys-wasm keygen`, `sign` and `verify`.

use std::io::{self, Write};
use std::path::Path;

use airssys_wasm::rights::Rights;
use airssys_wasm::signature::{SecretKey, Signature, Signatures, Statement, TrustedKey};

use crate::arguments::{Format, SignArguments, VerifyArguments};
use crate::components::{Candidate, digest_of, input_problem};
use crate::diagnostics::Problem;
use crate::exit_code::Exit;
use crate::inspect;
use crate::report::Report;
use crate::values::ComponentPath;

/// Makes a key.
pub(crate) fn keygen(file: &Path) -> Exit {
    ended(|| {
        let key = SecretKey::generate()?;
        key.write_new(file).map_err(input_problem)?;
        Ok(vec![key.public().to_string()])
    })
}

/// Signs a component.
pub(crate) fn sign(arguments: &SignArguments) -> Exit {
    ended(|| {
        let candidate = Candidate::find(&ComponentPath { id: None, path: arguments.path.clone() })?;
        let key = SecretKey::read(&arguments.key).map_err(input_problem)?;
        let file = candidate.signature_file();
        key.sign(&statement(&candidate)?).write(&file).map_err(input_problem)?;
        let what =
            if candidate.manifest.is_some() { "binary and manifest" } else { "binary without a manifest" };
        Ok(vec![format!("{} {what}, signed with {}: {}", candidate.id, key.public(), file.display())])
    })
}

/// Verifies a signature.
pub(crate) fn verify(arguments: &VerifyArguments) -> Exit {
    ended(|| {
        let candidate = Candidate::find(&arguments.path)?;
        let signatures = match (&arguments.key, &arguments.rights) {
            (Some(key), _) => {
                Signatures::required([TrustedKey { name: String::new(), key: *key, ids: None }])
            }
            (None, Some(file)) => Rights::read(file).map_err(input_problem)?.signatures,
            (None, None) => Signatures::default(),
        };
        let signature = Signature::read(&candidate.signature_file()).map_err(input_problem)?;
        let id = &candidate.id;
        let trusted =
            signatures.verify(id, &statement(&candidate)?, signature.as_ref()).map_err(|doubt| {
                Problem::usage(format!("the signature of `{id}` does not count: {doubt}"))
                    .exiting(Exit::Denied)
                    .advising(doubt.next_step())
            })?;
        let name = if trusted.name.is_empty() {
            String::new()
        } else {
            format!(", {}", trusted.name.escape_debug())
        };
        Ok(vec![format!("{id} is signed with {}{name}", trusted.key)])
    })
}

/// What a signature of this component is about.
fn statement(candidate: &Candidate) -> Result<Statement, Problem> {
    let wasm = inspect::read(&candidate.wasm).map_err(input_problem)?;
    Ok(candidate.statement(digest_of(&wasm)))
}

fn ended(command: impl FnOnce() -> Result<Vec<String>, Problem>) -> Exit {
    match command() {
        Ok(lines) => {
            let mut out = io::stdout().lock();
            match lines.iter().try_for_each(|line| writeln!(out, "{line}")) {
                Ok(()) => Exit::Success,
                Err(_) => Exit::Host,
            }
        }
        Err(problem) => Report::new(Format::Text).problem(&problem),
    }
}
