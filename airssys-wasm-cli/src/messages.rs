//! What is sent, and to whom.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::thread;

use airssys_wasm::WasmError;
use airssys_wasm::core::component::ComponentId;
use airssys_wasm::core::error::MessagingFault;
use tokio::sync::mpsc;

use crate::arguments::Word;
use crate::components::Plan;
use crate::diagnostics::Problem;
use crate::exit_code::Exit;

/// The longest line that is read: more than any component takes by default.
const MAX_LINE: usize = 64 << 20;

/// A message to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) to: ComponentId,
    pub(crate) payload: Vec<u8>,
}

/// Where messages come from, in order; every file is open.
#[derive(Debug)]
pub(crate) struct Schedule(Vec<(ComponentId, Source)>);

#[derive(Debug)]
enum Source {
    Text(String),
    File(File, String),
    Stdin,
}

impl Schedule {
    /// Follows the order of the command line. A single `--to` is for every message; several are each for those behind them.
    pub(crate) fn make(words: &[Word], plan: &Plan) -> Result<Self, Problem> {
        let targets: Vec<_> =
            words.iter().filter_map(|word| if let Word::To(id) = word { Some(id) } else { None }).collect();
        for target in &targets {
            plan.position(target).map_err(unknown_target)?;
        }
        let mut target = match targets.as_slice() {
            [only] => *only,
            _ => plan.first(),
        };
        let mut sources = Vec::new();
        for word in words {
            let source = match word {
                Word::To(id) => {
                    target = id;
                    continue;
                }
                Word::Text(text) => Source::Text(text.clone()),
                Word::File(path) if path == Path::new("-") => Source::Stdin,
                Word::File(path) => Source::File(open(path)?, path.display().to_string()),
            };
            sources.push((target.clone(), source));
        }
        if let (Some(Word::To(last)), [_, _, ..]) = (words.last(), targets.as_slice()) {
            return Err(Problem::usage(format!("no message follows the last `--to {last}`"))
                .advising("write each `--to` before its messages"));
        }
        if sources.is_empty() {
            sources.push((target.clone(), Source::Stdin));
        }
        Ok(Self(sources))
    }

    /// The messages, one by one: nothing is read before the one before it was taken.
    ///
    /// Reading blocks, so that it is done by a thread of its own, which ends with the process.
    pub(crate) fn messages(self) -> mpsc::Receiver<Result<Message, Problem>> {
        let (sender, receiver) = mpsc::channel(1);
        thread::spawn(move || {
            for (to, source) in self.0 {
                let send = |payload| sender.blocking_send(Ok(Message { to: to.clone(), payload })).is_ok();
                let read = match source {
                    Source::Text(text) => Ok(send(text.into_bytes())),
                    Source::File(file, name) => {
                        each_line(BufReader::new(file), send).map_err(|cause| (name, cause))
                    }
                    Source::Stdin => {
                        hint_at_terminal();
                        each_line(io::stdin().lock(), send).map_err(|cause| ("-".to_owned(), cause))
                    }
                };
                match read {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err((name, cause)) => {
                        let _ = sender.blocking_send(Err(unreadable(&name, &cause)));
                        return;
                    }
                }
            }
        });
        receiver
    }
}

/// Sends each line, without its end. False when nobody takes them any more.
fn each_line(mut lines: impl BufRead, send: impl Fn(Vec<u8>) -> bool) -> io::Result<bool> {
    loop {
        let mut line = Vec::new();
        if lines.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)? == 0 {
            return Ok(true);
        }
        if line.len() > MAX_LINE {
            return Err(io::Error::other(format!("a line is longer than {MAX_LINE} bytes")));
        }
        if line.pop_if(|last| *last == b'\n').is_some() {
            line.pop_if(|last| *last == b'\r');
        }
        if !send(line) {
            return Ok(false);
        }
    }
}

fn hint_at_terminal() {
    if io::stdin().is_terminal() {
        // Without the hint the command works just as well.
        let _ = writeln!(io::stderr(), "each line is a message; Ctrl-D ends");
    }
}

fn open(path: &Path) -> Result<File, Problem> {
    File::open(path).map_err(|cause| unreadable(&path.display().to_string(), &cause))
}

fn unreadable(name: &str, cause: &io::Error) -> Problem {
    Problem::usage(format!("the messages in `{name}` cannot be read"))
        .because(cause)
        .advising("check the path and its permissions")
}

fn unknown_target(sentence: String) -> Problem {
    let error = WasmError::messaging("send", MessagingFault::UnknownTarget).saying(sentence);
    Problem::from(error)
        .exiting(Exit::Messaging)
        .advising("`--to` names one of the components on the command line")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn each_line_is_a_message() {
        let check = |text: &[u8], expected: &[&[u8]]| {
            let lines = RefCell::new(Vec::new());
            let all = each_line(text, |line| {
                lines.borrow_mut().push(line);
                true
            });
            assert!(all.unwrap());
            assert_eq!(lines.into_inner(), expected);
        };
        check(b"a\nb\r\n\nc", &[b"a", b"b", b"", b"c"]);
        check(b"", &[]);
        check(b"\xff\r\r\n", &[b"\xff\r"]);
        check(b"a\r", &[b"a\r"]);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let endless = BufReader::new(io::repeat(b'x'));
        assert!(
            each_line(endless, |_| true).unwrap_err().to_string().contains("is longer than 67108864 bytes")
        );
    }

    #[test]
    fn reading_ends_when_nobody_takes_the_lines() {
        assert!(!each_line(b"a\nb".as_slice(), |_| false).unwrap());
    }
}
