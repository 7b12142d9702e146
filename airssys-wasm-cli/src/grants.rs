//! `airssys-wasm grants`: what an operator decides about components, kept in a file.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use airssys_wasm::core::capability::Capability;
use airssys_wasm::core::component::ComponentId;
use airssys_wasm::rights::{self, Decision, Granted, Rights, moment};
use serde::Serialize;

use crate::arguments::{Format, GrantsCommand};
use crate::components::{Candidate, digest_of, input_problem};
use crate::diagnostics::Problem;
use crate::exit_code::Exit;
use crate::inspect;
use crate::report::Report;
use crate::suggestions::did_you_mean;
use crate::text;

/// Runs the command.
pub(crate) fn run(command: &GrantsCommand) -> Exit {
    let mut report = Report::new(command.output());
    let done = carry_out(command, &mut report);
    match done {
        Ok(()) => Exit::Success,
        Err(problem) => report.problem(&problem),
    }
}

fn carry_out(command: &GrantsCommand, report: &mut Report) -> Result<(), Problem> {
    let (file, id, decision) = match command {
        GrantsCommand::List { file, component, output } => {
            return list(file, component.as_ref(), *output, report);
        }
        GrantsCommand::Approve { file, path, only, until, trust, any_binary, .. } => {
            let candidate = Candidate::find(path)?;
            let wasm = inspect::read(&candidate.wasm).map_err(input_problem)?;
            check_only(&candidate, only)?;
            let decision = rights::change(file, &candidate.id, |decision: &mut Decision| {
                decision.denied = None;
                decision.digest = if *any_binary { None } else { Some(digest_of(&wasm)) };
                decision.trust = trust.map_or(decision.trust, Into::into);
                for wish in candidate.wishes() {
                    let wish = wish.capability.clone();
                    if only.is_empty() || only.contains(&wish) {
                        decision.grant(wish, *until);
                    } else {
                        decision.decline(wish);
                    }
                }
                Ok::<_, Problem>(())
            })?;
            (file, candidate.id, decision)
        }
        GrantsCommand::Deny { file, component, reason, .. } => {
            let decision = rights::change(file, component, |decision: &mut Decision| {
                decision.denied = Some(reason.clone());
                Ok::<_, Problem>(())
            })?;
            (file, component.clone(), decision)
        }
        GrantsCommand::Add { file, component, capability, until, .. } => {
            let decision = rights::change(file, component, |decision: &mut Decision| {
                decision.grant(capability.clone(), *until);
                Ok::<_, Problem>(())
            })?;
            (file, component.clone(), decision)
        }
        GrantsCommand::Narrow { file, component, from, to, .. } => {
            let decision = rights::change(file, component, |decision: &mut Decision| {
                let until = granted(decision, component, from)?.until;
                if !is_narrower(to, from) {
                    return Err(Problem::usage(format!("`{to}` is not known to be narrower than `{from}`"))
                        .advising(
                            "write what is left of it without wildcards, or revoke it and add another",
                        ));
                }
                decision.decline(from.clone());
                decision.grant(to.clone(), until);
                Ok(())
            })?;
            (file, component.clone(), decision)
        }
        GrantsCommand::Revoke { file, component, capability, .. } => {
            let decision = rights::change(file, component, |decision: &mut Decision| {
                granted(decision, component, capability)?;
                decision.decline(capability.clone());
                Ok::<_, Problem>(())
            })?;
            (file, component.clone(), decision)
        }
    };
    show(&Line { file, component: &id, decision: &decision }, command.output(), report)
}

fn list(
    file: &PathBuf,
    only: Option<&ComponentId>,
    output: Format,
    report: &mut Report,
) -> Result<(), Problem> {
    let rights = Rights::read(file).map_err(input_problem)?;
    if let Some(only) = only.filter(|only| !rights.components.contains_key(*only)) {
        let near = did_you_mean(only.as_str(), rights.components.keys().map(ComponentId::as_str));
        return Err(Problem::usage(format!("nothing was decided about `{only}`{near}"))
            .advising("`airssys-wasm grants list` without an id shows everybody"));
    }
    let chosen = rights.components.iter().filter(|(id, _)| only.is_none_or(|only| only == *id));
    chosen
        .map(|(component, decision)| Line { file, component, decision })
        .try_for_each(|line| show(&line, output, report))
}

/// What is said of one component.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(skip)]
    file: &'a Path,
    component: &'a ComponentId,
    #[serde(flatten)]
    decision: &'a Decision,
}

fn show(line: &Line<'_>, output: Format, report: &mut Report) -> Result<(), Problem> {
    if output == Format::Json {
        return report.object(line);
    }
    let Line { component, decision, file } = line;
    report.line(&format!("{component}, in {}", text::line(&file.display().to_string())))?;
    let mut row = |what: &str, value: &str| report.line(&format!("  {what:<9} {value}"));
    if let Some(reason) = &decision.denied {
        row("denied", &text::line(reason))?;
    }
    row("binary", &decision.digest.map_or_else(|| "any".to_owned(), |digest| digest.to_string()))?;
    row("trust", trust_name(decision))?;
    for granted in &decision.grants {
        let (state, end) = state_of(granted);
        row(state, &format!("{}{end}", granted.capability))?;
    }
    decision.declined.iter().try_for_each(|declined| row("declined", &declined.to_string()))
}

/// Whether a grant holds now, and the words about its end.
pub(crate) fn state_of(granted: &Granted) -> (&'static str, String) {
    match granted.until {
        None => ("granted", String::new()),
        Some(until) => {
            let state = if until > SystemTime::now() { "granted" } else { "ended" };
            (state, format!(" until {}", moment::format(until)))
        }
    }
}

pub(crate) fn trust_name(decision: &Decision) -> &'static str {
    use airssys_wasm::core::security::TrustLevel::{Development, Trusted, Unknown};
    match decision.trust {
        Unknown => "unknown",
        Trusted => "trusted",
        Development => "development",
    }
}

fn check_only(candidate: &Candidate, only: &[Capability]) -> Result<(), Problem> {
    let wishes: Vec<_> = candidate.wishes().iter().map(|wish| wish.capability.to_string()).collect();
    for capability in only.iter().map(Capability::to_string) {
        if !wishes.contains(&capability) {
            let near = did_you_mean(&capability, wishes.iter().map(String::as_str));
            return Err(Problem::usage(format!("`{}` does not ask for `{capability}`{near}", candidate.id))
                .advising("what it does not ask for is granted with `airssys-wasm grants add`"));
        }
    }
    Ok(())
}

fn granted<'a>(decision: &'a Decision, id: &ComponentId, which: &Capability) -> Result<&'a Granted, Problem> {
    decision.grants.iter().find(|granted| granted.capability == *which).ok_or_else(|| {
        let grants: Vec<_> = decision.grants.iter().map(|granted| granted.capability.to_string()).collect();
        let near = did_you_mean(&which.to_string(), grants.iter().map(String::as_str));
        Problem::usage(format!("`{which}` is not granted to `{id}`{near}"))
            .advising(format!("`airssys-wasm grants list FILE {id}` shows what is"))
    })
}

/// Whether everything that `to` allows is known to be allowed by `from`.
pub(crate) fn is_narrower(to: &Capability, from: &Capability) -> bool {
    match (to, from) {
        (Capability::Messaging(to), Capability::Messaging(from)) => from.covers(to),
        _ => crate::access::parse(&to.to_string()).is_ok_and(|to| from.allows(&to.access())),
    }
}
