//! `airssys-wasm audit`: reads audit trails, and finds out whether somebody changed them.

use std::collections::VecDeque;
use std::path::Path;

use airssys_wasm::audit::{Act, Counted, Decided, TrailRecord, verify};
use airssys_wasm::core::component::ComponentId;
use serde::Serialize;

use crate::arguments::{AuditCommand, Format};
use crate::diagnostics::Problem;
use crate::exit_code::Exit;
use crate::report::Report;
use crate::text;

/// Runs the command.
pub(crate) fn run(command: &AuditCommand) -> Exit {
    let (AuditCommand::Verify { output, .. } | AuditCommand::Tail { output, .. }) = command;
    let mut report = Report::new(*output);
    match carry_out(command, &mut report) {
        Ok(()) => Exit::Success,
        Err(problem) => report.problem(&problem),
    }
}

fn carry_out(command: &AuditCommand, report: &mut Report) -> Result<(), Problem> {
    match command {
        AuditCommand::Verify { folder, expect_head, output } => {
            let found = verify(folder, *expect_head, |_| {})?;
            let verdict = Verdict {
                records: found.records,
                files: found.files,
                head: found.head.to_string(),
                torn: found.torn,
            };
            show(&verdict, *output, report)?;
            if found.expected {
                return Ok(());
            }
            Err(Problem::usage("no record of the trail has the hash that was expected")
                .exiting(Exit::Host)
                .advising("records behind it were cut off, or it is the head of another trail"))
        }
        AuditCommand::Tail { folder, number, component, act, output } => {
            let wanted = |record: &TrailRecord| {
                component.as_ref().is_none_or(|component| record.act.component() == Some(component))
                    && (act.is_empty() || act.iter().any(|act| act == record.act.name()))
            };
            let last = tail(folder, *number, wanted)?;
            last.iter().try_for_each(|record| match output {
                Format::Json => report.object(record),
                Format::Text => report.line(&line(record)),
            })
        }
    }
}

/// What was found of a trail with nothing wrong.
#[derive(Debug, Serialize)]
struct Verdict {
    records: u64,
    files: usize,
    head: String,
    torn: u64,
}

fn show(verdict: &Verdict, output: Format, report: &mut Report) -> Result<(), Problem> {
    if output == Format::Json {
        return report.object(verdict);
    }
    let Verdict { records, files, head, torn } = verdict;
    report.line(&format!("{records} records in {files} files: nothing was changed, left out or moved"))?;
    report.line(&format!("head {head}"))?;
    if *torn > 0 {
        report
            .line(&format!("{torn} bytes behind the last record: a host ended in the middle of writing"))?;
    }
    Ok(())
}

/// The last records that are wanted. The whole trail is verified on the way.
fn tail(
    folder: &Path,
    number: usize,
    wanted: impl Fn(&TrailRecord) -> bool,
) -> Result<VecDeque<TrailRecord>, Problem> {
    let mut last = VecDeque::new();
    verify(folder, None, |record| {
        if wanted(record) {
            if last.len() >= number {
                last.pop_front();
            }
            if number > 0 {
                last.push_back(record.clone());
            }
        }
    })?;
    Ok(last)
}

fn line(record: &TrailRecord) -> String {
    let what = match &record.act {
        Act::Opened { torn: None } | Act::Closed => String::new(),
        Act::Opened { torn: Some(torn) } => {
            format!("behind {} bytes of a record that was not finished", torn.len() / 2)
        }
        Act::Allowed(Decided { instance, access, rule, .. })
        | Act::Denied(Decided { instance, access, rule, .. }) => {
            format!("{instance} {access} ({rule})")
        }
        Act::Installed { component, version, digest } => format!("{component}@{version} {digest}"),
        Act::Granted { component, capability, until: None } | Act::Revoked { component, capability } => {
            format!("{component} {capability}")
        }
        Act::Granted { component, capability, until: Some(until) } => {
            format!("{component} {capability} until {until}")
        }
        Act::Started { component } | Act::Stopped { component } => component.to_string(),
        Act::Ended { instance, kind, detail, .. } => {
            let detail = detail.as_ref().map_or_else(String::new, |detail| format!(", {detail}"));
            format!("{instance} ({kind}{detail})")
        }
        Act::Counted { count, what, component, rule, until } => {
            let verdict = match what {
                Counted::Allowed => "allowed",
                Counted::Denied => "denied",
                Counted::Happened => "events",
            };
            let who = component.as_ref().map_or("several components", ComponentId::as_str);
            let rule = rule.as_deref().map_or_else(String::new, |rule| format!(" ({rule})"));
            format!("{count} more {verdict} of {who}{rule} until {until}")
        }
    };
    let TrailRecord { number, at, .. } = record;
    text::line(format!("{number} {at} {:<9} {what}", record.act.name()).trim_end())
}
