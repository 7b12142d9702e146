//! Standard output: replies and findings, as text for people or as JSON for programs.

use std::io::{self, Write};
use std::time::Duration;

use airssys_wasm::core::component::ComponentId;
use airssys_wasm::core::messaging::{Body, ContentType};
use serde::Serialize;

use crate::arguments::Format;
use crate::diagnostics::{Problem, ProblemData};
use crate::exit_code::Exit;
use crate::text;

/// Writes results.
#[derive(Debug)]
pub(crate) struct Report {
    format: Format,
    out: io::Stdout,
}

/// A message that was sent, and how long its answer took.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Its number, from 1.
    pub(crate) message: u64,
    pub(crate) to: ComponentId,
    pub(crate) elapsed: Duration,
}

#[derive(Debug, Default, Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<&'a str>,
    /// In place of `reply`, where that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ProblemData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    elapsed_us: Option<u128>,
}

impl Report {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, out: io::stdout() }
    }

    /// Writes a reply.
    pub(crate) fn reply(&mut self, exchange: &Exchange, reply: &Body) -> Result<(), Problem> {
        let text = reply.text();
        let hex = || text::hex(&reply.payload);
        match self.format {
            Format::Text => self.line(&text.map_or_else(|| format!("hex:{}", hex()), text::line)),
            Format::Json => self.object(&Line {
                message: Some(exchange.message),
                to: Some(exchange.to.as_str()),
                reply: text,
                reply_hex: if text.is_none() { Some(hex()) } else { None },
                content_type: reply.content_type.as_ref().map(ContentType::as_str),
                elapsed_us: Some(exchange.elapsed.as_micros()),
                ..Line::default()
            }),
        }
    }

    /// Tells of a message that was not answered: on standard error, and for programs here as well.
    pub(crate) fn unanswered(&mut self, exchange: &Exchange, problem: Problem) -> Result<(), Problem> {
        if self.format == Format::Json {
            self.object(&Line {
                message: Some(exchange.message),
                to: Some(exchange.to.as_str()),
                error: Some(problem.data()),
                elapsed_us: Some(exchange.elapsed.as_micros()),
                ..Line::default()
            })?;
        }
        problem.during(format!("message {} to `{}` was not handled", exchange.message, exchange.to)).show();
        Ok(())
    }

    /// Tells of a problem that belongs to no message, as [`unanswered`](Self::unanswered) does of others.
    pub(crate) fn problem(&mut self, problem: &Problem) -> Exit {
        if self.format == Format::Json {
            // If standard output is gone, standard error may still be there.
            let _ = self.object(&Line { error: Some(problem.data()), ..Line::default() });
        }
        problem.show();
        problem.exit()
    }

    /// Writes a line of text.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Problem> {
        writeln!(self.out, "{line}").and_then(|()| self.out.flush()).map_err(|cause| unwritable(&cause))
    }

    /// Writes a JSON object on one line.
    pub(crate) fn object(&mut self, object: &impl Serialize) -> Result<(), Problem> {
        let line = serde_json::to_string(object).map_err(|cause| unwritable(&cause.into()))?;
        self.line(&line)
    }
}

fn unwritable(cause: &io::Error) -> Problem {
    let problem = Problem::usage("standard output cannot be written to").because(cause).exiting(Exit::Host);
    // Whoever reads has enough, as `head` does: that is nothing to complain about.
    if cause.kind() == io::ErrorKind::BrokenPipe { problem.quiet() } else { problem }
}
