//! Why a text was refused, and what to write instead.

use std::fmt;

use thiserror::Error;

use super::CapabilityKind;
use super::escape::Escaped;

/// How many characters of a refused text a message repeats.
const SHOWN: usize = 120;

/// A text that is no capability.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the capability `{}` {}", shown(text), Because(problem))]
pub struct InvalidCapability {
    text: Box<str>,
    problem: CapabilityProblem,
}

impl InvalidCapability {
    pub(super) fn new(text: &str, problem: CapabilityProblem) -> Self {
        Self { text: text.into(), problem }
    }

    /// The refused text, as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &CapabilityProblem {
        &self.problem
    }
}

/// What is wrong with a capability text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CapabilityProblem {
    /// There is no `:` between kind and pattern.
    MissingPattern,
    /// The text before the first `:` is no [`CapabilityKind`].
    UnknownKind,
    /// The text after the first `:` is no pattern of that kind.
    Pattern(InvalidPattern),
}

struct Because<'a>(&'a CapabilityProblem);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CapabilityProblem::MissingPattern => {
                f.write_str("has no pattern; write `kind:pattern`, for example `storage:acme/counter`")
            }
            CapabilityProblem::UnknownKind => {
                write!(f, "is of no known kind; start it with {KindNames} and a `:`")
            }
            CapabilityProblem::Pattern(cause) => write!(f, "is refused: {cause}"),
        }
    }
}

/// A text that is no [`CapabilityKind`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the capability kind `{}` is unknown; write one of {KindNames}", shown(text))]
pub struct UnknownCapabilityKind {
    text: Box<str>,
}

impl UnknownCapabilityKind {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.into() }
    }

    /// The refused text, as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }
}

struct KindNames;

impl fmt::Display for KindNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = CapabilityKind::ALL.len() - 1;
        for (index, kind) in CapabilityKind::ALL.into_iter().enumerate() {
            let before = match index {
                0 => "",
                _ if index == last => " or ",
                _ => ", ",
            };
            write!(f, "{before}{kind}")?;
        }
        Ok(())
    }
}

/// A text that is no pattern, or no name that patterns are matched with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the {subject} `{}` {}; {}", shown(text), Finding { subject, problem }, Advice { subject, problem })]
pub struct InvalidPattern {
    subject: PatternSubject,
    text: Box<str>,
    problem: PatternProblem,
}

impl InvalidPattern {
    pub(super) fn new(subject: PatternSubject, text: &str, problem: PatternProblem) -> Self {
        Self { subject, text: text.into(), problem }
    }

    /// What the text was meant to be.
    pub fn subject(&self) -> PatternSubject {
        self.subject
    }

    /// The refused text, as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with it.
    pub fn problem(&self) -> PatternProblem {
        self.problem
    }
}

/// What a refused text was meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PatternSubject {
    /// A [`PathPattern`](super::PathPattern).
    Path,
    /// A [`DomainPattern`](super::DomainPattern).
    Domain,
    /// A [`NamespacePattern`](super::NamespacePattern).
    Namespace,
    /// A [`TopicPattern`](super::TopicPattern).
    TopicPattern,
    /// A [`Topic`](super::Topic).
    Topic,
    /// A [`CustomCapability`](super::CustomCapability).
    Custom,
}

impl PatternSubject {
    /// What one piece between two separators is called.
    fn piece(self) -> &'static str {
        if self == Self::Domain { "label" } else { "segment" }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Path => "/data/**",
            Self::Domain => "api.example.com:443",
            Self::Namespace => "acme/counter",
            Self::TopicPattern => "acme/*` or `orders.**",
            Self::Topic => "orders.eu.created",
            Self::Custom => "acme:geo/lookup",
        }
    }
}

impl fmt::Display for PatternSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "path pattern",
            Self::Domain => "domain pattern",
            Self::Namespace => "namespace pattern",
            Self::TopicPattern => "topic pattern",
            Self::Topic => "topic",
            Self::Custom => "custom capability",
        })
    }
}

/// What is wrong with a pattern, or with a name that patterns are matched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PatternProblem {
    /// The text is empty.
    Empty,
    /// The text has more bytes than `limit`.
    TooLong {
        /// The most bytes that are accepted.
        limit: usize,
    },
    /// A character that this kind of text does not have.
    Character(char),
    /// Two separators in a row, or a separator at an end.
    EmptySegment,
    /// A segment is `.` or `..`.
    DotSegment,
    /// A path does not start with `/`.
    Relative,
    /// A path ends with `/`.
    TrailingSlash,
    /// A wildcard is not where wildcards may be.
    Wildcard,
    /// `**` follows `**`.
    RepeatedWildcard,
    /// A label has too many bytes.
    LabelTooLong {
        /// The most bytes that are accepted.
        limit: usize,
    },
    /// A label is not formed as its kind is: kebab-case, or in a domain name without `-` at its ends.
    LabelForm,
    /// A domain pattern has no port.
    MissingPort,
    /// The port is neither a number from 1 to 65535 nor `*`.
    Port,
    /// A domain pattern is a URL, or has a path.
    Url,
    /// A domain pattern has `@`.
    UserInfo,
    /// A domain name ends with a dot.
    TrailingDot,
    /// A domain name is not ASCII.
    Unicode,
    /// A domain name ends like a number, which some resolvers read as an IPv4 address.
    NumericName,
    /// What should be an IPv6 address in brackets is not.
    Ipv6,
    /// An IPv6 address has a zone.
    Zone,
    /// A component address has more than one `/`.
    Address,
    /// The name of a custom capability is not two labels with a `:` between them.
    CustomName,
    /// A custom capability has no object.
    MissingObject,
}

/// The predicate of the sentence.
struct Finding<'a> {
    subject: &'a PatternSubject,
    problem: &'a PatternProblem,
}

impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let piece = self.subject.piece();
        match *self.problem {
            PatternProblem::Empty => f.write_str("is empty"),
            PatternProblem::TooLong { limit } => write!(f, "is longer than {limit} bytes"),
            PatternProblem::Character(c) => write!(f, "contains {c:?}"),
            PatternProblem::EmptySegment => write!(f, "has an empty {piece}"),
            PatternProblem::DotSegment => write!(f, "has a `.` or `..` {piece}"),
            PatternProblem::Relative => f.write_str("does not start with `/`"),
            PatternProblem::TrailingSlash => f.write_str("ends with `/`"),
            PatternProblem::Wildcard if *self.subject == PatternSubject::Path => {
                f.write_str("has other characters beside `**` in one segment")
            }
            PatternProblem::Wildcard => f.write_str("has a wildcard where none may be"),
            PatternProblem::RepeatedWildcard => f.write_str("has `**` after `**`"),
            PatternProblem::LabelTooLong { limit } => write!(f, "has a label longer than {limit} bytes"),
            PatternProblem::LabelForm if *self.subject == PatternSubject::Domain => {
                f.write_str("has a label that starts or ends with `-`")
            }
            PatternProblem::LabelForm => f.write_str("has a label that is not kebab-case"),
            PatternProblem::MissingPort => f.write_str("has no port"),
            PatternProblem::Port => f.write_str("has a port that is not a number from 1 to 65535"),
            PatternProblem::Url => f.write_str("has a scheme or a path"),
            PatternProblem::UserInfo => f.write_str("has an `@`"),
            PatternProblem::TrailingDot => f.write_str("has a dot after the name"),
            PatternProblem::Unicode => f.write_str("has a name that is not ASCII"),
            PatternProblem::NumericName => f.write_str("has a number for the last label"),
            PatternProblem::Ipv6 => f.write_str("has what is no IPv6 address in brackets"),
            PatternProblem::Zone => f.write_str("has an IPv6 zone"),
            PatternProblem::Address => f.write_str("has more than one `/`"),
            PatternProblem::CustomName => {
                f.write_str("does not start with two kebab-case labels joined by `:`")
            }
            PatternProblem::MissingObject => f.write_str("has no object"),
        }
    }
}

/// The next step.
struct Advice<'a> {
    subject: &'a PatternSubject,
    problem: &'a PatternProblem,
}

impl fmt::Display for Advice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use PatternSubject as Subject;

        let advice = match (*self.problem, *self.subject) {
            (PatternProblem::Empty, subject) => {
                return write!(f, "write for example `{}`", subject.example());
            }
            (PatternProblem::TooLong { .. } | PatternProblem::LabelTooLong { .. }, _) => "shorten it",
            (PatternProblem::Character('\\'), Subject::Path) => "separate segments with `/`",
            (PatternProblem::Character(_), Subject::Path) => "leave control characters out",
            (PatternProblem::Character(_), Subject::Domain) => {
                "write `host:port` with letters, digits, `-`, `_` and `.`"
            }
            (PatternProblem::Character(_), Subject::Namespace | Subject::Custom) => {
                "use `a-z`, `0-9`, `-`, `_` and `.`, with `/` between segments"
            }
            (PatternProblem::Character(_), Subject::TopicPattern) => {
                "use `a-z`, `0-9` and `-`, with one `/` for a component, or with `_` and with `.` between \
                 segments for a topic"
            }
            (PatternProblem::Character(_), Subject::Topic) => {
                "use `a-z`, `0-9`, `-` and `_`, with `.` between segments"
            }
            (PatternProblem::EmptySegment, Subject::Domain | Subject::Topic) => {
                "put exactly one `.` between two names and none at the ends"
            }
            (PatternProblem::EmptySegment, Subject::TopicPattern) => {
                "put exactly one `/` or `.` between two segments and none at the ends"
            }
            (PatternProblem::EmptySegment, _) => {
                "put exactly one `/` between two segments and none at the ends"
            }
            (PatternProblem::DotSegment, Subject::Path) => "write the path that it leads to",
            (PatternProblem::DotSegment, _) => "give the segment a name",
            (PatternProblem::Relative, _) => "write an absolute path",
            (PatternProblem::TrailingSlash, _) => {
                "leave the last `/` out, or add `**` for all that is beneath"
            }
            (PatternProblem::Wildcard, Subject::Path) => "make `**` a segment of its own, or write one `*`",
            (PatternProblem::Wildcard, Subject::Domain) => {
                "write `*.` before a name for its subdomains, or `*` alone for every name"
            }
            (PatternProblem::Wildcard, Subject::TopicPattern) => {
                "make `*` a whole label or segment, and use `**` only alone or in topics"
            }
            (PatternProblem::Wildcard, Subject::Topic) => "write the name of one topic",
            (PatternProblem::Wildcard, _) => "make `*` or `**` a segment of its own",
            (PatternProblem::RepeatedWildcard, _) => "write `**` once",
            (PatternProblem::LabelForm, Subject::Domain) => "start and end each label with a letter or digit",
            (PatternProblem::LabelForm, _) => "start each label with `a-z` and put one `-` between words",
            (PatternProblem::MissingPort, _) => "append one, for example `:443`, or `:*` for every port",
            (PatternProblem::Port, _) => "write such a number, or `*` for every port",
            (PatternProblem::Url | PatternProblem::UserInfo, _) => "write only `host:port`",
            (PatternProblem::TrailingDot, _) => "leave the dot out",
            (PatternProblem::Unicode, _) => "write the name in punycode, with `xn--` labels",
            (PatternProblem::NumericName, _) => {
                "write an IPv4 address as four decimal numbers, like `127.0.0.1`"
            }
            (PatternProblem::Ipv6, _) => "write an IPv6 address like `[::1]:443`",
            (PatternProblem::Zone, _) => "leave the `%` and the zone out",
            (PatternProblem::Address, _) => "write `namespace/name` for a component",
            (PatternProblem::CustomName, _) => "write for example `acme:geo/lookup`",
            (PatternProblem::MissingObject, _) => {
                "append it, for example `/lookup`, or `/**` for every object"
            }
        };
        f.write_str(advice)
    }
}

fn shown(text: &str) -> Escaped<'_> {
    Escaped { text, limit: SHOWN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_bounded_line_without_a_full_stop() {
        let long = format!("\n{}", "x".repeat(5000));
        let message = InvalidPattern::new(PatternSubject::Path, &long, PatternProblem::Relative).to_string();
        assert!(message.starts_with("the path pattern `\\nxxx"), "{message}");
        assert!(message.ends_with("x…` does not start with `/`; write an absolute path"), "{message}");
        assert!(message.len() < 250);
    }
}
