//! The one error type: a kind for code, a detail that backends can be compared on, context for people, a source for debuggers.

use std::error::Error;
use std::fmt;

mod detail;

pub use detail::{Detail, FailureCode, Limit, LoadFault, MessagingFault, StorageFault, TrapKind};

/// The result of everything in this crate that can fail.
pub type Result<T, E = WasmError> = std::result::Result<T, E>;

/// The class of an error: what code branches on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A component could not be validated, compiled, linked or initialised.
    ComponentLoadFailed,
    /// The component answered with an error of its own.
    ExecutionFailed,
    /// The guest trapped; its instance is poisoned.
    ComponentTrapped,
    /// The deadline passed before the answer came.
    ExecutionTimeout,
    /// A limit was reached; [`Detail::Limit`] says which.
    ResourceLimitExceeded,
    /// No grant covers what was asked.
    CapabilityDenied,
    /// A setting is wrong, or asks for what a backend cannot do.
    InvalidConfiguration,
    /// No component, version, instance or export of that name.
    ComponentNotFound,
    /// The store refused or failed; [`Detail::Storage`] says how.
    Storage,
    /// A message could not be delivered; [`Detail::Messaging`] says why.
    Messaging,
    /// An instance cannot take calls any more, or is not in the right state.
    Actor,
    /// The operating system failed a file or socket operation.
    Io,
    /// Bytes or text could not be read as what they should be.
    Serialization,
    /// A defect of the host. Please report it.
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 14] = [
        Self::ComponentLoadFailed,
        Self::ExecutionFailed,
        Self::ComponentTrapped,
        Self::ExecutionTimeout,
        Self::ResourceLimitExceeded,
        Self::CapabilityDenied,
        Self::InvalidConfiguration,
        Self::ComponentNotFound,
        Self::Storage,
        Self::Messaging,
        Self::Actor,
        Self::Io,
        Self::Serialization,
        Self::Internal,
    ];

    /// A stable name for logs and machine-readable output, in kebab-case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ComponentLoadFailed => "component-load-failed",
            Self::ExecutionFailed => "execution-failed",
            Self::ComponentTrapped => "component-trapped",
            Self::ExecutionTimeout => "execution-timeout",
            Self::ResourceLimitExceeded => "resource-limit-exceeded",
            Self::CapabilityDenied => "capability-denied",
            Self::InvalidConfiguration => "invalid-configuration",
            Self::ComponentNotFound => "component-not-found",
            Self::Storage => "storage",
            Self::Messaging => "messaging",
            Self::Actor => "actor",
            Self::Io => "io",
            Self::Serialization => "serialization",
            Self::Internal => "internal",
        }
    }

    const fn sentence(self) -> &'static str {
        match self {
            Self::ComponentLoadFailed => "the component could not be loaded",
            Self::ExecutionFailed => "the component answered with an error",
            Self::ComponentTrapped => "the component trapped",
            Self::ExecutionTimeout => "the deadline passed",
            Self::ResourceLimitExceeded => "a resource limit was exceeded",
            Self::CapabilityDenied => "the capability is not granted",
            Self::InvalidConfiguration => "the configuration is not valid",
            Self::ComponentNotFound => "there is no such component",
            Self::Storage => "the store failed",
            Self::Messaging => "the message could not be delivered",
            Self::Actor => "the instance cannot take calls",
            Self::Io => "the operating system refused",
            Self::Serialization => "the data could not be read",
            Self::Internal => "the host has a defect",
        }
    }

    /// Who is to blame when nothing more is known than this kind.
    pub const fn blame(self) -> Blame {
        match self {
            Self::ComponentLoadFailed
            | Self::ExecutionFailed
            | Self::ComponentTrapped
            | Self::ExecutionTimeout
            | Self::ResourceLimitExceeded => Blame::Guest,
            Self::CapabilityDenied
            | Self::InvalidConfiguration
            | Self::ComponentNotFound
            | Self::Messaging
            | Self::Serialization => Blame::Caller,
            Self::Storage | Self::Actor | Self::Io | Self::Internal => Blame::Host,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who has to change something for the error to go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The component: it trapped, ran over a limit, or answered with an error.
    Guest,
    /// Whoever asked: an unknown name, bad input, a missing grant.
    Caller,
    /// The host, its store, its disk.
    Host,
}

/// An error with its kind, typed detail, operation, context, next step and source.
///
/// `Display` is one sentence without a full stop; [`Error::source`] keeps the chain. Never compare the text:
/// two backends agree on [`kind`](Self::kind) and [`detail`](Self::detail) only.
///
/// ```
/// use airssys_wasm_core::error::{Blame, Detail, ErrorKind, TrapKind, WasmError};
///
/// let error = WasmError::trapped("execute", TrapKind::Unreachable).with("component", "acme/counter");
/// assert_eq!(error.kind(), ErrorKind::ComponentTrapped);
/// assert_eq!(error.detail(), Some(Detail::Trap(TrapKind::Unreachable)));
/// assert_eq!(error.blame(), Blame::Guest);
/// assert_eq!(
///     error.to_string(),
///     "execute: the component trapped: an `unreachable` instruction or a panic (component: acme/counter)",
/// );
/// ```
#[derive(Debug)]
pub struct WasmError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    detail: Option<Detail>,
    blame: Option<Blame>,
    operation: &'static str,
    message: Option<Box<str>>,
    context: Vec<(&'static str, Box<str>)>,
    next_step: Option<Box<str>>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl WasmError {
    /// An error of `kind` met while doing `operation`: one or two words, such as `load` or `storage commit`.
    pub fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: None,
            blame: None,
            operation,
            message: None,
            context: Vec::new(),
            next_step: None,
            source: None,
        }))
    }

    /// A guest trap.
    pub fn trapped(operation: &'static str, trap: TrapKind) -> Self {
        Self::new(ErrorKind::ComponentTrapped, operation).detailed(Detail::Trap(trap))
    }

    /// A limit that a guest ran into.
    pub fn limited(operation: &'static str, limit: Limit) -> Self {
        Self::new(ErrorKind::ResourceLimitExceeded, operation).detailed(Detail::Limit(limit))
    }

    /// A store's refusal or failure.
    pub fn storage(operation: &'static str, fault: StorageFault) -> Self {
        Self::new(ErrorKind::Storage, operation).detailed(Detail::Storage(fault))
    }

    /// A message that was not delivered, or an answer that did not come.
    pub fn messaging(operation: &'static str, fault: MessagingFault) -> Self {
        Self::new(ErrorKind::Messaging, operation).detailed(Detail::Messaging(fault))
    }

    /// A component that could not be loaded.
    pub fn unloadable(fault: LoadFault) -> Self {
        Self::new(ErrorKind::ComponentLoadFailed, "load").detailed(Detail::Load(fault))
    }

    /// Adds the typed detail.
    #[must_use]
    pub fn detailed(mut self, detail: Detail) -> Self {
        self.0.detail = Some(detail);
        self
    }

    /// Replaces the kind's general sentence by what happened here: no capital, no full stop.
    #[must_use]
    pub fn saying(mut self, message: impl Into<Box<str>>) -> Self {
        self.0.message = Some(message.into());
        self
    }

    /// Adds a fact. Facts are shown in the order in which they were added.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string().into()));
        self
    }

    /// Adds what to do about it: a sentence for the person who reads the error.
    #[must_use]
    pub fn advising(mut self, next_step: impl Into<Box<str>>) -> Self {
        self.0.next_step = Some(next_step.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Blames somebody other than the kind's usual suspect.
    #[must_use]
    pub fn blaming(mut self, blame: Blame) -> Self {
        self.0.blame = Some(blame);
        self
    }

    /// What code branches on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The typed detail, equal on every backend.
    pub fn detail(&self) -> Option<Detail> {
        self.0.detail
    }

    /// Who has to change something.
    pub fn blame(&self) -> Blame {
        self.0.blame.or_else(|| self.0.detail.and_then(Detail::blame)).unwrap_or_else(|| self.0.kind.blame())
    }

    /// What was being done.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// What happened, without operation and facts.
    pub fn message(&self) -> String {
        match (&self.0.message, self.0.detail) {
            (Some(message), _) => message.to_string(),
            (None, Some(detail)) => format!("{}: {detail}", self.0.kind.sentence()),
            (None, None) => self.0.kind.sentence().to_owned(),
        }
    }

    /// The facts, in the order in which they were added.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(name, value)| (*name, &**value))
    }

    /// What to do about it, if somebody knew.
    pub fn next_step(&self) -> Option<&str> {
        self.0.next_step.as_deref()
    }
}

impl fmt::Display for WasmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.message())?;
        for (position, (name, value)) in self.context().enumerate() {
            let opening = if position == 0 { " (" } else { ", " };
            write!(f, "{opening}{name}: {value}")?;
        }
        if self.0.context.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl Error for WasmError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_operation_message_and_facts() {
        let error = WasmError::new(ErrorKind::Io, "open store")
            .saying("the folder is not writable")
            .with("path", "/data/x")
            .with("user", "nobody");
        assert_eq!(error.to_string(), "open store: the folder is not writable (path: /data/x, user: nobody)");
    }

    #[test]
    fn the_chain_is_kept() {
        let cause = std::io::Error::other("disk on fire");
        let error = WasmError::storage("commit", StorageFault::Io).because(cause);
        assert_eq!(error.to_string(), "commit: the store failed: input or output failed");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("disk on fire"));
    }

    #[test]
    fn blame_follows_the_detail_before_the_kind() {
        assert_eq!(WasmError::storage("commit", StorageFault::Io).blame(), Blame::Host);
        assert_eq!(WasmError::storage("commit", StorageFault::QuotaExceeded).blame(), Blame::Guest);
        assert_eq!(
            WasmError::storage("commit", StorageFault::QuotaExceeded).blaming(Blame::Host).blame(),
            Blame::Host
        );
        assert_eq!(WasmError::new(ErrorKind::CapabilityDenied, "send").blame(), Blame::Caller);
    }

    #[test]
    fn names_are_distinct_and_kinds_complete() {
        let mut names: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 14);
    }

    #[test]
    fn an_error_is_one_pointer_wide() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }
}
