//! `airssys-wasm conformance`: whether the engines and stores of this build keep their contracts, the host over each pair of
//! them, and what attacks come to.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use airssys_wasm::Result as HostResult;
use airssys_wasm::core::config::RuntimeConfig;
use airssys_wasm::core::storage::StorageBackend;
use airssys_wasm::storage::{Maintenance, MemoryStore};
use airssys_wasm_conformance::runner::{Bench, Report, Suite, Verdict, unanswered};
use airssys_wasm_conformance::{engine as engines, host as hosts, storage as storages, zoo};
use comfy_table::{Table, presets};

use crate::arguments::{ConformanceArguments, ReportFormat};
use crate::diagnostics::Problem;
use crate::engine::{self, Engine};
use crate::exit_code::Exit;
use crate::stores;

/// Runs the command.
pub(crate) fn run(arguments: &ConformanceArguments) -> Exit {
    let judged = judge(arguments);
    judged.and_then(|judged| judged.show(arguments.output)).unwrap_or_else(|problem| {
        problem.show();
        problem.exit()
    })
}

/// What was found out: of engines, of stores, of the host over pairs of them, and of attacks on each engine.
struct Judged([Vec<Report>; 4]);

/// The headings of the four.
const KINDS: [&str; 4] = ["Engines", "Stores", "The host, over an engine and a store", "Attacks"];

fn judge(arguments: &ConformanceArguments) -> Result<Judged, Problem> {
    // Whoever asks for one kind of backend asks for that kind alone.
    let everything = arguments.engine.is_empty() && arguments.store.is_empty();
    let engines_asked = if everything { Engine::in_this_build() } else { &arguments.engine };
    let stores_asked = if everything { stores::Judged::all() } else { arguments.store.clone() };
    let mut reports = [const { Vec::new() }; 4];
    for &asked in engines_asked {
        // An engine that is not in this build is refused before anything is run.
        engine::make(asked, &RuntimeConfig::default())?;
        let suite = engines::suite(asked.name(), move |config| engine::make(asked, config));
        reports[0].push(held_to(&suite, arguments));
    }
    for &asked in &stores_asked {
        let suite = storages::suite(asked.name(), move |folder| open(asked, folder));
        reports[1].push(held_to(&suite, arguments));
    }
    for &engine in engines_asked {
        for &store in &stores_asked {
            let pair = format!("{} + {}", engine.name(), store.name());
            let suite = hosts::suite(
                pair,
                move |config| engine::make(engine, config),
                move |folder| open(store, folder),
            );
            reports[2].push(held_to(&suite, arguments));
        }
    }
    for &asked in engines_asked {
        let suite = zoo::suite(asked.name(), move |config| engine::make(asked, config));
        reports[3].push(held_to(&suite, arguments));
    }
    if reports.iter().flatten().all(|report| report.lines.is_empty()) {
        let filter = arguments.filter.as_deref().unwrap_or_default();
        return Err(Problem::usage(format!("no contract matches `{}`", filter.escape_debug()))
            .advising("Leave the filter away to see every id."));
    }
    Ok(Judged(reports))
}

fn open(store: stores::Judged, folder: &Path) -> HostResult<Arc<dyn StorageBackend>> {
    match store {
        stores::Judged::Memory => Ok(Arc::new(MemoryStore::new())),
        stores::Judged::OnDisk(kind) => {
            let store: Arc<dyn Maintenance> = kind.open_or_make(&folder.join("store"))?.into();
            Ok(store)
        }
    }
}

fn held_to<B: Bench>(suite: &Suite<B>, arguments: &ConformanceArguments) -> Report {
    let report = suite.report_of(arguments.filter.as_deref().unwrap_or_default());
    if io::stderr().is_terminal() {
        let broken = report.broken().count();
        let kept = report.lines.len() - broken;
        let _ = writeln!(
            io::stderr(),
            "{}: {kept} kept, {broken} broken, {:.1} s",
            report.backend,
            report.took.as_secs_f64()
        );
    }
    report
}

impl Judged {
    fn show(&self, format: ReportFormat) -> Result<Exit, Problem> {
        let text = match format {
            ReportFormat::Table => self.tables(),
            ReportFormat::Json => self.json(),
            ReportFormat::Junit => Report::to_junit(self.reports()).map_err(|cause| {
                Problem::usage("the report cannot be written as XML").because(cause).exiting(Exit::Host)
            })?,
            ReportFormat::Markdown => self.markdown(),
        };
        io::stdout().write_all(text.as_bytes()).map_err(|cause| {
            Problem::usage("standard output cannot be written to").because(cause).exiting(Exit::Host)
        })?;
        for report in self.reports() {
            for (id, broken) in report.broken() {
                Problem::usage(format!("`{}` breaks {id}", report.backend))
                    .because(broken)
                    .exiting(Exit::Host)
                    .show();
            }
        }
        for reports in &self.0 {
            for id in unanswered(reports) {
                let among =
                    reports.iter().map(|report| report.backend.as_str()).collect::<Vec<_>>().join(", ");
                let _ = writeln!(io::stderr(), "note: {id} is held by none of: {among}");
            }
        }
        Ok(if self.reports().all(Report::is_success) { Exit::Success } else { Exit::Host })
    }

    fn reports(&self) -> impl Iterator<Item = &Report> {
        self.0.iter().flatten()
    }

    fn json(&self) -> String {
        let lines = |report: &Report| {
            let lines: Vec<_> =
                report.lines.iter().map(|line| line.to_json(&report.backend) + "\n").collect();
            lines.concat()
        };
        self.reports().map(lines).collect()
    }

    fn tables(&self) -> String {
        let mut text = String::new();
        for reports in self.0.iter().filter(|reports| is_asked(reports)) {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            let head = reports.iter().map(|report| report.backend.as_str());
            table.set_header(std::iter::once("contract").chain(head));
            for (id, _, verdicts) in rows(reports) {
                let verdicts = verdicts.into_iter().map(|verdict| verdict.map_or("not asked", Verdict::name));
                table.add_row(std::iter::once(id).chain(verdicts));
            }
            if !text.is_empty() {
                text.push('\n');
            }
            text += &table.trim_fmt();
            text.push('\n');
        }
        text
    }

    fn markdown(&self) -> String {
        let mut text = String::new();
        let mut reasons = Vec::new();
        for (reports, kind) in self.0.iter().zip(KINDS).filter(|(reports, _)| is_asked(reports)) {
            text += &format!("## {kind}\n\n| contract | promise |");
            reports.iter().for_each(|report| text += &format!(" {} |", report.backend));
            text += &format!("\n| --- | --- |{}\n", " --- |".repeat(reports.len()));
            for (id, promise, verdicts) in rows(reports) {
                text += &format!("| `{id}` | {} |", promise.replace('|', "\\|"));
                for (verdict, report) in verdicts.into_iter().zip(reports) {
                    text += &format!(" {} |", verdict.map_or("not asked", Verdict::name));
                    if let Some(why) = verdict.and_then(Verdict::why) {
                        reasons.push(format!("- {}, `{id}`: {why}\n", report.backend));
                    }
                }
                text.push('\n');
            }
            text.push('\n');
        }
        for reports in &self.0 {
            for id in unanswered(reports) {
                reasons.push(format!("- `{id}` is held by no backend above.\n"));
            }
        }
        if !reasons.is_empty() {
            text += "## What is not simply held\n\n";
            reasons.iter().for_each(|reason| text += reason);
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

/// Whether anything of this kind was asked for: the backends, and contracts that the filter leaves.
fn is_asked(reports: &[Report]) -> bool {
    reports.iter().any(|report| !report.lines.is_empty())
}

/// A contract, its promise, and the verdict of each report.
fn rows(reports: &[Report]) -> Vec<(&'static str, String, Vec<Option<&Verdict>>)> {
    let first = reports.iter().flat_map(|report| &report.lines);
    let mut ids: Vec<(&'static str, String)> = Vec::new();
    for line in first {
        if !ids.iter().any(|(id, _)| *id == line.id) {
            ids.push((line.id, line.promise_in_one_line()));
        }
    }
    let verdicts = |id| reports.iter().map(|report| report.verdict(id)).collect();
    ids.into_iter().map(|(id, promise)| (id, promise, verdicts(id))).collect()
}
