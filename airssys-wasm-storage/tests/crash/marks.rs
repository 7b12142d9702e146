//! What a child says on its standard output, a line each: what it starts, what was acknowledged, what it found.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

/// One line of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It begins to open the store.
    Opening,
    /// The store is open, and shows this generation.
    Opened(u64),
    /// It is going to ask for the commit of this generation.
    Started(u64),
    /// This generation was committed and is visible, under this version.
    Committed(u64, u64),
    /// This generation and all before it are durable.
    Acknowledged(u64),
    /// The store refused, as it may after the failure that was injected.
    Refused,
    /// So many microseconds were needed to open the store.
    Reopened(u64),
    /// A promise was broken.
    Violated(Violation),
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The contract that says so.
    pub(crate) contract: String,
    /// What was seen.
    pub(crate) seen: String,
}

impl Violation {
    pub(crate) fn new(contract: &str, seen: impl fmt::Display) -> Self {
        // One line: it may have to pass through a pipe.
        Self { contract: contract.to_owned(), seen: seen.to_string().replace('\n', " | ") }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.contract, self.seen)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("opening"),
            Self::Opened(generation) => write!(f, "open {generation}"),
            Self::Started(generation) => write!(f, "start {generation}"),
            Self::Committed(generation, version) => write!(f, "done {generation} {version}"),
            Self::Acknowledged(generation) => write!(f, "ack {generation}"),
            Self::Refused => f.write_str("refused"),
            Self::Reopened(micros) => write!(f, "reopened {micros}"),
            Self::Violated(violation) => write!(f, "violated {} {}", violation.contract, violation.seen),
        }
    }
}

impl FromStr for Mark {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let wrong = || format!("not a mark: {line:?}");
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        Ok(match word {
            "opening" => Self::Opening,
            "open" => Self::Opened(number(rest)?),
            "start" => Self::Started(number(rest)?),
            "done" => {
                let (generation, version) = rest.split_once(' ').ok_or_else(wrong)?;
                Self::Committed(number(generation)?, number(version)?)
            }
            "ack" => Self::Acknowledged(number(rest)?),
            "refused" => Self::Refused,
            "reopened" => Self::Reopened(number(rest)?),
            "violated" => {
                let (contract, seen) = rest.split_once(' ').ok_or_else(wrong)?;
                Self::Violated(Violation::new(contract, seen))
            }
            _ => return Err(wrong()),
        })
    }
}

/// Says it. One system call each, so that a recording has it in its place among the changes of files.
pub(crate) fn say(mark: &Mark) {
    let line = format!("{mark}\n");
    let mut out = io::stdout().lock();
    let mut say = || out.write_all(line.as_bytes()).and_then(|()| out.flush());
    // The failure of one write that was injected may have hit ours; it is over then. Twice: nobody listens any more.
    if say().is_err() && say().is_err() {
        std::process::exit(1);
    }
}

/// What must be in a store, by what was said until its process or its power was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The last generation that was acknowledged.
    pub(crate) acknowledged: u64,
    /// The last generation that was started.
    pub(crate) started: u64,
    /// The last version that anybody was told of.
    pub(crate) version: u64,
}

impl Bounds {
    /// Takes up one more mark.
    pub(crate) fn note(&mut self, mark: &Mark) {
        match mark {
            Mark::Started(generation) => self.started = self.started.max(*generation),
            Mark::Committed(_, version) => self.version = self.version.max(*version),
            Mark::Acknowledged(generation) => self.acknowledged = self.acknowledged.max(*generation),
            _ => {}
        }
    }
}
