//! Patterns of storage namespaces.

use std::{fmt, str::FromStr};

use super::invalid::{InvalidPattern, PatternProblem, PatternSubject};
use super::{text_door, wildcard};

/// The most bytes of a namespace or a namespace pattern.
const LONGEST: usize = 255;

/// Which namespaces are meant.
///
/// A namespace is segments of `a-z`, `0-9`, `-`, `_` and `.` with `/` between them. In a pattern, `*` as a
/// whole segment stands for one segment, and `**` for any number of them, none included: `acme/**` covers
/// `acme` too.
///
/// # Behavior
/// - Comparison is exact. A name with an empty, `.` or `..` segment, with any other character, or of more
///   than 255 bytes is no namespace and never matches.
/// - `*` in a name that is asked for makes it no namespace; it is never read as a wildcard.
///
/// ```
/// use airssys_wasm_core::capability::{InvalidPattern, NamespacePattern};
///
/// let pattern: NamespacePattern = "acme/*/cache".parse()?;
/// assert!(pattern.matches("acme/counter/cache"));
/// assert!(!pattern.matches("acme/*/cache"));
///
/// assert!("acme/count*".parse::<NamespacePattern>().is_err());
/// # Ok::<(), InvalidPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct NamespacePattern(Box<str>);

impl NamespacePattern {
    /// Whether `namespace` is one of the namespaces meant.
    pub fn matches(&self, namespace: &str) -> bool {
        if !self.0.contains('*') {
            return &*self.0 == namespace;
        }
        wildcard::segments_match(self.0.split('/'), namespace.split('/')) && is_namespace(namespace)
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses without naming a subject, for patterns that contain this one.
    pub(super) fn parse(text: &str) -> Result<Self, PatternProblem> {
        check_length(text)?;
        for segment in text.split('/') {
            match segment {
                "*" | "**" => {}
                _ if wildcard::is_glued(segment, "*") => return Err(PatternProblem::Wildcard),
                _ => check_segment(segment)?,
            }
        }
        if wildcard::repeats_any(text.split('/')) {
            return Err(PatternProblem::RepeatedWildcard);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for NamespacePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).map_err(|problem| InvalidPattern::new(PatternSubject::Namespace, text, problem))
    }
}

text_door!(NamespacePattern, InvalidPattern);

/// Whether `name` is a namespace, without wildcards.
pub(super) fn is_namespace(name: &str) -> bool {
    check_length(name).and_then(|()| name.split('/').try_for_each(check_segment)).is_ok()
}

fn check_length(text: &str) -> Result<(), PatternProblem> {
    match text.len() {
        0 => Err(PatternProblem::Empty),
        1..=LONGEST => Ok(()),
        _ => Err(PatternProblem::TooLong { limit: LONGEST }),
    }
}

fn check_segment(segment: &str) -> Result<(), PatternProblem> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    match segment {
        "" => Err(PatternProblem::EmptySegment),
        "." | ".." => Err(PatternProblem::DotSegment),
        _ if segment.bytes().all(|byte| allowed(byte.into())) => Ok(()),
        _ => match segment.chars().find(|c| !allowed(*c)) {
            Some(c) => Err(PatternProblem::Character(c)),
            None => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_whole_segments() {
        let check = |pattern: &str, namespace: &str, expected: bool| {
            let parsed: NamespacePattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(namespace), expected, "{pattern} against {namespace:?}");
        };
        check("acme/counter", "acme/counter", true);
        check("acme/counter", "acme/counter2", false);
        check("acme/counter", "acme", false);
        check("acme/counter", "acme/counter/x", false);
        check("acme/*", "acme/counter", true);
        check("acme/*", "acme", false);
        check("acme/*", "acme/counter/x", false);
        check("acme/**", "acme", true);
        check("acme/**", "acme/a/b", true);
        check("acme/**", "acme2", false);
        check("acme/**/log", "acme/log", true);
        check("acme/**/log", "acme/a/b/log", true);
        check("**", "acme", true);
        check("**/audit", "acme/audit", true);
        check("*", "acme", true);
        check("*", "acme/counter", false);
        check("v1.2_a-b", "v1.2_a-b", true);
    }

    #[test]
    fn what_is_no_namespace_never_matches() {
        let any: NamespacePattern = "**".parse().unwrap();
        for name in [
            "",
            "/",
            "/acme",
            "acme/",
            "acme//counter",
            "acme/./counter",
            "acme/../other",
            "..",
            "acme/*",
            "acme/**",
            "*",
            "**",
            "Acme/counter",
            "acme\\counter",
            "acme:counter",
            "acme counter",
            "acme/\0",
            "acme/caf\u{e9}",
            "\u{430}cme/counter",
            "acme\u{2215}counter",
            "acme%2fcounter",
        ] {
            assert!(!any.matches(name), "{name:?}");
        }
        assert!(any.matches(&"a".repeat(LONGEST)));
        assert!(!any.matches(&"a".repeat(LONGEST + 1)));
    }

    #[test]
    fn a_wildcard_in_the_question_is_data() {
        let one: NamespacePattern = "acme/counter".parse().unwrap();
        for name in ["acme/*", "acme/**", "*/*", "**", "acme/count*"] {
            assert!(!one.matches(name), "{name}");
        }
    }

    #[test]
    fn refusals_say_what_to_write() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<NamespacePattern>().unwrap_err().to_string(), expected);
        };
        check("", "the namespace pattern `` is empty; write for example `acme/counter`");
        check(
            "Acme/counter",
            "the namespace pattern `Acme/counter` contains 'A'; use `a-z`, `0-9`, `-`, `_` and `.`, with \
             `/` between segments",
        );
        check(
            "/acme",
            "the namespace pattern `/acme` has an empty segment; put exactly one `/` between two segments \
             and none at the ends",
        );
        check(
            "acme/..",
            "the namespace pattern `acme/..` has a `.` or `..` segment; give the segment a name",
        );
        check(
            "acme/c*",
            "the namespace pattern `acme/c*` has a wildcard where none may be; make `*` or `**` a segment \
             of its own",
        );
        check("**/**", "the namespace pattern `**/**` has `**` after `**`; write `**` once");
        let long = "a".repeat(LONGEST + 1).parse::<NamespacePattern>().unwrap_err();
        assert_eq!(long.problem(), PatternProblem::TooLong { limit: LONGEST });
    }
}
