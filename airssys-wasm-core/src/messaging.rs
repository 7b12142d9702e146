//! Messages: the one envelope that everything between components travels in.

use std::fmt;
use std::str::FromStr;
use std::time::{Instant, SystemTime};

use crate::capability::Topic;
use crate::component::ComponentId;

/// Identifies one message: 128 bits, stamped by the host, unique and not guessable.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    high: u64,
    low: u64,
}

impl MessageId {
    /// The id with these two halves.
    pub const fn from_parts(high: u64, low: u64) -> Self {
        Self { high, low }
    }

    /// The upper 64 bits.
    pub const fn high(self) -> u64 {
        self.high
    }

    /// The lower 64 bits.
    pub const fn low(self) -> u64 {
        self.low
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.high, self.low)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// A media type, `type/subtype` with optional parameters (RFC 9110, 8.3.1), at most 255 bytes of visible ASCII.
///
/// ```
/// use airssys_wasm_core::messaging::ContentType;
///
/// assert!("application/json; charset=utf-8".parse::<ContentType>().is_ok());
/// assert_eq!(
///     "json".parse::<ContentType>().unwrap_err().to_string(),
///     "`json` is not a content type: write `type/subtype`, such as `application/json`",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentType(Box<str>);

impl ContentType {
    const MAX_LENGTH: usize = 255;

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `type/subtype`, without parameters.
    pub fn essence(&self) -> &str {
        self.0.split(';').next().unwrap_or_default().trim_end_matches(' ')
    }
}

impl FromStr for ContentType {
    type Err = InvalidContentType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let valid = text.len() <= Self::MAX_LENGTH
            && essence
                .trim_end_matches(' ')
                .split_once('/')
                .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
            && parameters.bytes().all(|c| matches!(c, b' '..=b'~'));
        if valid { Ok(Self(text.into())) } else { Err(InvalidContentType { text: shown(text) }) }
    }
}

fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect::<String>().escape_debug().to_string()
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not a [`ContentType`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a content type: write `type/subtype`, such as `application/json`")]
pub struct InvalidContentType {
    text: String,
}

/// Which content types are meant: one, `application/json`; all of a kind, `text/*`; or all, `*/*`.
///
/// # Behavior
/// - Letter case does not count, and neither do the parameters of what is compared. A pattern has none, and is kept in lower case.
/// - `*` is a wildcard where it stands alone, and is refused elsewhere.
///
/// ```
/// use airssys_wasm_core::messaging::{ContentType, ContentTypePattern};
///
/// let pattern: ContentTypePattern = "text/*".parse()?;
/// assert!(pattern.matches("text/plain".parse::<ContentType>().unwrap().essence()));
/// assert!(!pattern.matches("application/json"));
///
/// let refused = "text/plain; charset=utf-8".parse::<ContentTypePattern>().unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "`text/plain; charset=utf-8` means no content types: write `type/subtype` without parameters, `type/*` or `*/*`",
/// );
/// # Ok::<(), airssys_wasm_core::messaging::InvalidContentTypePattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct ContentTypePattern(Box<str>);

impl ContentTypePattern {
    /// Whether a content type of this [essence](ContentType::essence) is meant.
    pub fn matches(&self, essence: &str) -> bool {
        let Some((kind, subtype)) = self.0.split_once('/') else { return false };
        let is_meant = |pattern: &str, text: &str| pattern == "*" || pattern.eq_ignore_ascii_case(text);
        essence
            .split_once('/')
            .is_some_and(|(its_kind, its_subtype)| is_meant(kind, its_kind) && is_meant(subtype, its_subtype))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContentTypePattern {
    type Err = InvalidContentTypePattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |label: &str| is_token(label) && !label.contains('*');
        let valid = text.len() <= ContentType::MAX_LENGTH
            && text.split_once('/').is_some_and(|(kind, subtype)| match (kind, subtype) {
                ("*", "*") => true,
                (kind, "*") => is_name(kind),
                (kind, subtype) => is_name(kind) && is_name(subtype),
            });
        if valid {
            Ok(Self(text.to_ascii_lowercase().into()))
        } else {
            Err(InvalidContentTypePattern { text: shown(text) })
        }
    }
}

impl fmt::Display for ContentTypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContentTypePattern {
    type Error = InvalidContentTypePattern;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ContentTypePattern> for String {
    fn from(pattern: ContentTypePattern) -> Self {
        pattern.0.into()
    }
}

/// A text that is not a [`ContentTypePattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` means no content types: write `type/subtype` without parameters, `type/*` or `*/*`")]
pub struct InvalidContentTypePattern {
    text: String,
}

/// Opaque bytes and what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// What the bytes are; absent for plain bytes.
    pub content_type: Option<ContentType>,
    /// The bytes.
    pub payload: Vec<u8>,
}

impl Body {
    /// Plain bytes.
    pub fn new(payload: impl Into<Vec<u8>>) -> Self {
        Self { content_type: None, payload: payload.into() }
    }

    /// Bytes of a stated type.
    pub fn typed(content_type: ContentType, payload: impl Into<Vec<u8>>) -> Self {
        Self { content_type: Some(content_type), payload: payload.into() }
    }

    /// What this body counts against a limit in bytes.
    pub fn size(&self) -> usize {
        self.payload.len() + self.content_type.as_ref().map_or(0, |kind| kind.as_str().len())
    }

    /// What the bytes are, without parameters. Plain bytes count as `application/octet-stream` (RFC 9110, 8.3).
    pub fn essence(&self) -> &str {
        self.content_type.as_ref().map_or("application/octet-stream", ContentType::essence)
    }

    /// The payload as text, where it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.payload).ok()
    }
}

impl<T: Into<Vec<u8>>> From<T> for Body {
    fn from(payload: T) -> Self {
        Self::new(payload)
    }
}

/// Who sent a message; stamped by the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The program that embeds the host.
    Host,
    /// A component.
    Component(ComponentId),
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Component(id) => id.fmt(f),
        }
    }
}

/// How a message wants to be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// Sent to one component; the reply is dropped.
    OneWay,
    /// Sent to one component by somebody who waits for the reply.
    Request,
    /// Published on a topic, or broadcast; the reply is dropped.
    Event,
}

/// A W3C trace context, handed on unchanged: <https://www.w3.org/TR/trace-context/>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The `traceparent` header.
    pub trace_parent: Box<str>,
    /// The `tracestate` header; may be empty.
    pub trace_state: Box<str>,
}

/// A message and everything the host knows of it.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Stamped by the host.
    pub id: MessageId,
    /// How it wants to be treated.
    pub kind: MessageType,
    /// Stamped by the host.
    pub sender: Sender,
    /// The topic it was published on; none when it was sent by name.
    pub topic: Option<Topic>,
    /// The message that this one belongs to.
    pub correlation: Option<MessageId>,
    /// What is said.
    pub body: Body,
    /// When the host took it, by the wall clock.
    pub sent_at: SystemTime,
    /// When the sender stops caring: it is not handled after that.
    pub deadline: Option<Instant>,
    /// 1 for the first delivery.
    pub attempt: u32,
    /// The trace that it belongs to.
    pub trace: Option<TraceContext>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_checked() {
        for accepted in ["application/json", "text/plain;charset=utf-8", "text/plain ; q=1", "x/y+z"] {
            assert_eq!(accepted.parse::<ContentType>().unwrap().as_str(), accepted);
        }
        let long = format!("a/{}", "b".repeat(300));
        for refused in
            ["", "json", "/json", "a/", "a/b/c", "a b/c", "a/b\n", "a/b;\u{1b}[31m", "ä/b", long.as_str()]
        {
            assert!(refused.parse::<ContentType>().is_err(), "{refused:?} was accepted");
        }
    }

    #[test]
    fn patterns_of_content_types_match_what_they_say() {
        let check = |pattern: &str, meant: &[&str], others: &[&str]| {
            let pattern: ContentTypePattern = pattern.parse().unwrap();
            let essence = |text: &str| Body::typed(text.parse().unwrap(), "").essence().to_owned();
            for text in meant {
                assert!(pattern.matches(&essence(text)), "{pattern} and {text}");
            }
            for text in others {
                assert!(!pattern.matches(&essence(text)), "{pattern} and {text}");
            }
        };
        check(
            "Application/JSON",
            &["application/json", "application/Json;q=1", "application/json ; a=b"],
            &["application/json5", "text/json", "application/x-json"],
        );
        check("text/*", &["text/plain", "TEXT/html;charset=utf-8"], &["textual/plain", "application/text"]);
        check("*/*", &["text/plain", "a/b"], &[]);
        assert!(
            "application/octet-stream"
                .parse::<ContentTypePattern>()
                .unwrap()
                .matches(Body::new("x").essence())
        );
        let long = format!("a/{}", "b".repeat(300));
        for refused in [
            "",
            "json",
            "*",
            "*/json",
            "text/pl*",
            "te*/plain",
            "a/b/c",
            "a/b;q=1",
            "a/",
            "/b",
            " a/b",
            &long,
        ] {
            assert!(refused.parse::<ContentTypePattern>().is_err(), "{refused:?} was accepted");
        }
    }

    #[test]
    fn message_ids_print_as_32_digits() {
        assert_eq!(MessageId::from_parts(1, 0xff).to_string(), "000000000000000100000000000000ff");
    }
}
