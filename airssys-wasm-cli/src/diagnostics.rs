//! Problems as people see them: what happened, why, and what to do about it.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use airssys_wasm::WasmError;
use airssys_wasm::core::error::{Blame, Detail, ErrorKind, LoadFault};
use airssys_wasm::core::interface::COMPONENT;
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, NarratableReportHandler};
use serde::Serialize;

use crate::exit_code::Exit;
use crate::{logs, suggestions, text};

/// Something that went wrong.
///
/// Its texts are kept as they came, from guests and files; showing it escapes them.
#[derive(Debug)]
pub(crate) struct Problem {
    exit: Exit,
    kind: ErrorKind,
    detail: Option<Detail>,
    blame: Blame,
    message: String,
    /// The sentence of this problem, and those of its causes.
    chain: Vec<String>,
    next_steps: Vec<String>,
    quiet: bool,
}

/// A problem as programs read it.
#[derive(Debug, Serialize)]
pub(crate) struct ProblemData<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    message: &'a str,
    blame: &'static str,
    chain: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<String>,
    exit_code: u8,
    exit: &'static str,
}

impl Problem {
    /// A wrong command line or configuration.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            exit: Exit::Usage,
            kind: ErrorKind::InvalidConfiguration,
            detail: None,
            blame: Blame::Caller,
            chain: vec![message.clone()],
            message,
            next_steps: Vec::new(),
            quiet: false,
        }
    }

    /// Ends the command in another way than the error alone would.
    #[must_use]
    pub(crate) fn exiting(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Puts a sentence before what happened: what was being done, in the words of the command line.
    #[must_use]
    pub(crate) fn during(mut self, sentence: String) -> Self {
        self.chain.insert(0, sentence);
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub(crate) fn advising(mut self, next_step: impl Into<String>) -> Self {
        self.next_steps.push(next_step.into());
        self
    }

    /// Adds the text of a cause.
    #[must_use]
    pub(crate) fn because(mut self, cause: impl fmt::Display) -> Self {
        let cause = cause.to_string().trim_end().to_owned();
        self.next_steps.extend(suggestions::in_file(&cause));
        self.chain.push(cause);
        self
    }

    /// Only the exit code tells of it.
    #[must_use]
    pub(crate) fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// How the command ends for it.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// For machine-readable output.
    pub(crate) fn data(&self) -> ProblemData<'_> {
        ProblemData {
            kind: self.kind.name(),
            detail: self.detail.map(detail_name),
            message: &self.message,
            blame: match self.blame {
                Blame::Guest => "guest",
                Blame::Caller => "caller",
                Blame::Host => "host",
            },
            chain: &self.chain,
            next_step: (!self.next_steps.is_empty()).then(|| self.next_steps.join("\n")),
            exit_code: self.exit.code(),
            exit: self.exit.name(),
        }
    }

    /// Writes it to standard error: with frames and colours on a terminal that wants them, as plain lines elsewhere.
    pub(crate) fn show(&self) {
        if self.quiet {
            return;
        }
        let shown = Shown::of(self);
        let mut text = String::new();
        let rendered = if logs::stderr_is_fancy() {
            // Lines are not wrapped: what they tell to write can be copied.
            let handler =
                GraphicalReportHandler::new_themed(GraphicalTheme::unicode()).with_wrap_lines(false);
            handler.render_report(&mut text, &shown)
        } else {
            NarratableReportHandler::new().render_report(&mut text, &shown)
        };
        if rendered.is_err() {
            text = format!("{shown}\n");
        }
        // Where even standard error is gone, the exit code is all that is left to tell.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// A configuration of several lines is shown as such; a guest's text never is.
    fn shown(&self, text: &str) -> String {
        if self.kind == ErrorKind::InvalidConfiguration { text::lines(text) } else { text::line(text) }
    }
}

impl From<WasmError> for Problem {
    fn from(error: WasmError) -> Self {
        let mut problem = Self {
            exit: Exit::of(&error),
            kind: error.kind(),
            detail: error.detail(),
            blame: error.blame(),
            message: error.message(),
            chain: Vec::new(),
            next_steps: near_export(&error).into_iter().collect(),
            quiet: false,
        };
        let mut next: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(error) = next {
            problem = problem.because(error);
            if let Some(step) = error.downcast_ref::<WasmError>().and_then(WasmError::next_step)
                && !problem.next_steps.iter().any(|known| known == step)
            {
                problem.next_steps.push(step.to_owned());
            }
            next = error.source();
        }
        problem
    }
}

/// The export that was probably meant to be the one every component has.
fn near_export(error: &WasmError) -> Option<String> {
    if error.detail() != Some(Detail::Load(LoadFault::MissingExport)) {
        return None;
    }
    let (_, exported) = error.context().find(|(name, _)| *name == "exported")?;
    let near = suggestions::nearest(COMPONENT, exported.split(", "))?;
    Some(format!("did you mean `{COMPONENT}` where the component exports `{near}`?"))
}

/// The stable name of a detail.
fn detail_name(detail: Detail) -> String {
    text::kebab(&match detail {
        Detail::Trap(detail) => format!("{detail:?}"),
        Detail::Limit(detail) => format!("{detail:?}"),
        Detail::Load(detail) => format!("{detail:?}"),
        Detail::Storage(detail) => format!("{detail:?}"),
        Detail::Messaging(detail) => format!("{detail:?}"),
        Detail::Failure(detail) => format!("{detail:?}"),
        _ => format!("{detail:?}"),
    })
}

/// A problem in the form that is rendered, its texts escaped.
#[derive(Debug)]
struct Shown {
    message: String,
    cause: Option<Box<Shown>>,
    code: Option<&'static str>,
    help: Option<String>,
}

impl Shown {
    fn of(problem: &Problem) -> Self {
        let sentence = |text: &String, cause: Option<Self>| Self {
            message: problem.shown(text),
            cause: cause.map(Box::new),
            code: None,
            help: None,
        };
        let chain = problem.chain.iter().rev().fold(None, |cause, text| Some(sentence(text, cause)));
        let mut shown = chain.unwrap_or_else(|| sentence(&problem.message, None));
        shown.code = Some(problem.exit.name());
        let help: Vec<_> = problem.next_steps.iter().map(|step| text::line(step)).collect();
        shown.help = (!help.is_empty()).then(|| help.join("\n"));
        shown
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Shown {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl Diagnostic for Shown {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.code.map(|code| Box::new(code) as Box<dyn fmt::Display>)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}

#[cfg(test)]
mod tests {
    use airssys_wasm::core::error::{FailureCode, Limit, TrapKind};

    use super::*;

    fn rendered(problem: &Problem) -> String {
        let mut text = String::new();
        NarratableReportHandler::new().render_report(&mut text, &Shown::of(problem)).unwrap();
        text
    }

    #[test]
    fn the_whole_chain_and_every_next_step_is_shown() {
        let trap =
            WasmError::trapped("execute", TrapKind::Unreachable).because("wasm trap\n\u{1b}[31mforged");
        let error = WasmError::limited("execute", Limit::Memory).advising("raise the limit").because(trap);
        let problem =
            Problem::from(error).during("message 1 was not handled".to_owned()).advising("or use less");
        assert_eq!(
            rendered(&problem),
            "message 1 was not handled\n    \
             Diagnostic severity: error\n    \
             Caused by: execute: a resource limit was exceeded: memory\n    \
             Caused by: execute: the component trapped: an `unreachable` instruction or a panic\n    \
             Caused by: wasm trap\\n\\u{1b}[31mforged\n\
             diagnostic help: raise the limit\nor use less\n\
             diagnostic code: limit\n"
        );
    }

    #[test]
    fn a_program_reads_the_same() {
        let error = WasmError::new(ErrorKind::ExecutionFailed, "execute")
            .detailed(Detail::Failure(FailureCode::InvalidInput))
            .saying("no\nsuch command");
        let data = serde_json::to_value(Problem::from(error).data()).unwrap();
        let expected = serde_json::json!({
            "kind": "execution-failed", "detail": "invalid-input", "message": "no\nsuch command", "blame": "guest",
            "chain": ["execute: no\nsuch command"], "exit_code": 3, "exit": "failed",
        });
        assert_eq!(data, expected);
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_one_meant() {
        let problem =
            Problem::usage("the file is not valid").because("unknown field `pth`, expected `path`\n");
        assert!(
            rendered(&problem).contains("did you mean `path` instead of `pth`?"),
            "{}",
            rendered(&problem)
        );
    }

    #[test]
    fn an_export_of_another_version_is_named() {
        let error = WasmError::unloadable(LoadFault::MissingExport)
            .with("exported", "a:b/c, airssys:core/component@0.2.0");
        let shown = rendered(&Problem::from(error));
        assert!(shown.contains("where the component exports `airssys:core/component@0.2.0`?"), "{shown}");
    }
}
