//! `airssys-wasm explain`: what a component asks for, what it gets, and what would allow the rest.

use std::path::Path;
use std::sync::Arc;

use airssys_wasm::audit::AuditLog;
use airssys_wasm::core::capability::Capability;
use airssys_wasm::core::component::{ArtifactDigest, ComponentId, InstanceId, Version};
use airssys_wasm::core::config::HostConfig;
use airssys_wasm::core::security::{GrantsOnly, IsolationBoundary, Rule, SecurityContext};
use airssys_wasm::gate::{Gate, Grants};
use airssys_wasm::rights::{Decision, Review, Rights};
use airssys_wasm::signature::{Doubt, SignaturePolicy};
use serde::Serialize;

use crate::access::OwnedAccess;
use crate::arguments::{ExplainArguments, Format};
use crate::components::{Candidate, digest_of, input_problem};
use crate::configuration;
use crate::diagnostics::Problem;
use crate::exit_code::Exit;
use crate::grants::{state_of, trust_name};
use crate::inspect;
use crate::report::Report;
use crate::text;

/// Runs the command.
pub(crate) fn explain(arguments: &ExplainArguments) -> Exit {
    let mut report = Report::new(arguments.output);
    let explained = explain_to(arguments, &mut report);
    explained.unwrap_or_else(|problem| report.problem(&problem))
}

fn explain_to(arguments: &ExplainArguments, report: &mut Report) -> Result<Exit, Problem> {
    let candidate = Candidate::find(&arguments.path)?;
    let digest = digest_of(&inspect::read(&candidate.wasm).map_err(input_problem)?);
    let config = arguments.host_config.as_deref().map(configuration::read).transpose()?.unwrap_or_default();
    let rights = arguments.rights.as_deref().map(Rights::read).transpose().map_err(input_problem)?;
    let review = rights.as_ref().map(|rights| rights.admit(&candidate.id, &digest, candidate.wishes()));
    let doubt = rights.as_ref().map_or(Ok(None), |rights| doubt_about(&candidate, digest, rights))?;
    let mut found =
        Explanation::new(arguments, &candidate, digest, &config, rights.as_ref(), review.as_ref());
    if let Some(doubt) = doubt.filter(|_| found.waits.is_none()) {
        found.waits = Some(format!("a signature is required: {doubt}"));
        found.next_step = Some(doubt.next_step().to_owned());
    }
    match arguments.output {
        Format::Json => report.object(&found)?,
        Format::Text => found.lines().iter().try_for_each(|line| report.line(line))?,
    }
    Ok(if found.is_satisfied() { Exit::Success } else { Exit::Denied })
}

/// What is wrong with its signature, where one is required.
fn doubt_about(
    candidate: &Candidate,
    digest: ArtifactDigest,
    rights: &Rights,
) -> Result<Option<Doubt>, Problem> {
    let policy = rights.signatures.policy_for(&candidate.id);
    if policy != SignaturePolicy::Require {
        return Ok(None);
    }
    let signature = candidate.signature(policy)?;
    Ok(rights.signatures.verify(&candidate.id, &candidate.statement(digest), signature.as_ref()).err())
}

#[derive(Debug, Serialize)]
struct Explanation {
    component: String,
    digest: String,
    mode: String,
    trust: &'static str,
    /// Why it may not run; none when it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<String>,
    asks: Vec<Asked>,
    /// What it gets beyond what it asks for.
    also: Vec<Row>,
    accesses: Vec<Answer>,
}

#[derive(Debug, Serialize)]
struct Asked {
    #[serde(flatten)]
    row: Row,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Row {
    capability: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_allow: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    access: String,
    allowed: bool,
    rule: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_allow: Option<String>,
}

impl Explanation {
    fn new(
        arguments: &ExplainArguments,
        candidate: &Candidate,
        digest: ArtifactDigest,
        config: &HostConfig,
        rights: Option<&Rights>,
        review: Option<&Result<Decision, Review>>,
    ) -> Self {
        let nothing = Decision::default();
        // What a component that waits was given before is shown all the same.
        let decided = rights.and_then(|rights| rights.components.get(&candidate.id)).unwrap_or(&nothing);
        let decision = review.and_then(|review| review.as_ref().ok()).unwrap_or(decided);
        let waits = review.and_then(|review| review.as_ref().err());
        let to_allow = |capability: &str| match &arguments.rights {
            Some(file) => add_command(file, &candidate.id, capability),
            None => format!("airssys-wasm run --grant {}", text::shell_word(capability)),
        };
        let row = |capability: &Capability| {
            let forbidden = config.security.forbidden.contains(capability);
            let granted = decision.grants.iter().find(|granted| granted.capability == *capability);
            let (state, may_help) = match granted {
                _ if forbidden => ("forbidden by the host".to_owned(), false),
                Some(granted) => {
                    let (state, end) = state_of(granted);
                    (format!("{state}{end}"), state == "ended")
                }
                None if decision.declined.contains(capability) => ("declined".to_owned(), true),
                None => ("not granted".to_owned(), true),
            };
            let capability = capability.to_string();
            Row { to_allow: may_help.then(|| to_allow(&capability)), capability, state }
        };
        let asked: Vec<_> = candidate.wishes().iter().map(|wish| &wish.capability).collect();
        let also = decision.grants.iter().map(|granted| &granted.capability);
        Self {
            component: candidate.id.to_string(),
            digest: digest.to_string(),
            mode: config.security.mode.to_string(),
            trust: trust_name(decision),
            waits: waits.map(ToString::to_string),
            next_step: waits.map(|review| next_step(review, arguments)),
            also: also.filter(|capability| !asked.contains(capability)).map(row).collect(),
            asks: candidate
                .wishes()
                .iter()
                .map(|wish| Asked { row: row(&wish.capability), reason: wish.reason.clone() })
                .collect(),
            accesses: answers(candidate, digest, config, decision, &arguments.access, to_allow),
        }
    }

    /// Whether it may run, and everything that was asked about is allowed.
    fn is_satisfied(&self) -> bool {
        self.waits.is_none() && self.accesses.iter().all(|answer| answer.allowed)
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("component  {}", self.component),
            format!("binary     {}", self.digest),
            format!("mode       {}", self.mode),
            format!("trust      {}", self.trust),
        ];
        match (&self.waits, &self.next_step) {
            (Some(why), next_step) => {
                lines.push(format!("may run    no: {}", text::line(why)));
                lines.extend(next_step.iter().map(|step| format!("           {step}")));
            }
            (None, _) => lines.push("may run    yes".to_owned()),
        }
        lines.push(String::new());
        lines.push(if self.asks.is_empty() { "asks for nothing" } else { "asks for" }.to_owned());
        for Asked { row, reason } in &self.asks {
            lines.extend(row.lines());
            lines.push(format!("      what for: {}", text::line(reason)));
        }
        if !self.also.is_empty() {
            lines.push("has besides".to_owned());
            lines.extend(self.also.iter().flat_map(Row::lines));
        }
        for Answer { access, allowed, rule, to_allow } in &self.accesses {
            let verdict = if *allowed { "allowed" } else { "denied" };
            lines.push(String::new());
            lines.push(format!("{access}: {verdict}, {rule}"));
            lines.extend(to_allow.iter().map(|step| format!("    to allow it: {step}")));
        }
        lines
    }
}

impl Row {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("  {:<40} {}", self.capability, self.state)];
        lines.extend(self.to_allow.iter().map(|step| format!("      to allow it: {step}")));
        lines
    }
}

/// Asks the gate itself.
fn answers(
    candidate: &Candidate,
    digest: ArtifactDigest,
    config: &HostConfig,
    decision: &Decision,
    accesses: &[OwnedAccess],
    to_allow: impl Fn(&str) -> String,
) -> Vec<Answer> {
    let grants = Grants::default();
    for granted in &decision.grants {
        match granted.until {
            None => grants.grant(&granted.capability),
            Some(until) => grants.grant_until(&granted.capability, until),
        };
    }
    let forbidden = config.security.forbidden.iter().cloned().collect();
    let gate = Gate::new(config.security.mode, forbidden, Arc::new(GrantsOnly), Arc::new(AuditLog::new(1)));
    let context = SecurityContext {
        instance: InstanceId::new(candidate.id.clone(), Version::new(0, 1, 0), 1),
        digest,
        trust: decision.trust,
        boundary: IsolationBoundary::Sandbox,
    };
    let answer = |access: &OwnedAccess| {
        let access = access.access();
        let result = gate.check(&context, &grants, access);
        let capability = access.capability_text();
        let may_help = matches!(result.rule(), Rule::Default | Rule::Ended) && !result.is_allowed();
        Answer {
            access: access.to_string(),
            allowed: result.is_allowed(),
            rule: result.rule().to_string(),
            to_allow: capability.filter(|_| may_help).map(|capability| to_allow(&capability)),
        }
    };
    accesses.iter().map(answer).collect()
}

/// The command that would let a component run.
fn next_step(review: &Review, arguments: &ExplainArguments) -> String {
    let Some(file) = &arguments.rights else { return String::new() };
    match review {
        Review::Denied { .. } => "whoever denied it can approve it: `airssys-wasm grants approve`".to_owned(),
        _ => approve(file, &arguments.path.path),
    }
}

/// The command that tells what a component asks for.
pub(crate) fn explain_command(file: &Path, component: &Path) -> String {
    let words = [component, file].map(|path| text::shell_word(&path.display().to_string()));
    format!("airssys-wasm explain {} --rights {}", words[0], words[1])
}

/// The command that approves a component.
pub(crate) fn approve(file: &Path, component: &Path) -> String {
    command("approve", file, &[&component.display().to_string()])
}

/// The command that grants a capability.
pub(crate) fn add_command(file: &Path, id: &ComponentId, capability: &str) -> String {
    command("add", file, &[id.as_str(), capability])
}

fn command(name: &str, file: &Path, words: &[&str]) -> String {
    let mut command = format!("airssys-wasm grants {name} {}", text::shell_word(&file.display().to_string()));
    for word in words {
        command.push(' ');
        command.push_str(&text::shell_word(word));
    }
    command
}
