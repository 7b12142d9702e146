//! Topics, and patterns of what messages are sent to.

use std::{fmt, str::FromStr};

use super::invalid::{InvalidPattern, PatternProblem, PatternSubject};
use super::{text_door, wildcard};

/// The most bytes of a topic or a topic pattern.
const LONGEST: usize = 255;

/// The most bytes of either label of a component address.
const LONGEST_LABEL: usize = 64;

/// The name that messages are published to: segments of `a-z`, `0-9`, `-` and `_` with `.` between them.
///
/// A topic has no `/`, and a component address has exactly one, so that neither can be taken for the other.
///
/// ```
/// use airssys_wasm_core::capability::{InvalidPattern, Topic};
///
/// let topic: Topic = "orders.eu.created".parse()?;
/// assert_eq!(topic.as_str(), "orders.eu.created");
///
/// assert!("orders..created".parse::<Topic>().is_err());
/// # Ok::<(), InvalidPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct Topic(Box<str>);

impl Topic {
    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Topic {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match check_topic(text) {
            Ok(()) => Ok(Self(text.into())),
            Err(problem) => Err(InvalidPattern::new(PatternSubject::Topic, text, problem)),
        }
    }
}

text_door!(Topic, InvalidPattern);

/// Which addresses of messages are meant: components, topics, or all of both.
///
/// - With a `/`, the pattern means components: `acme/greeter`. Either label may be `*`: `acme/*`, `*/*`.
/// - Without, it means topics: `orders.eu.created`. `*` as a whole segment stands for one segment, and `**`
///   for any number of them, none included: `orders.**` covers `orders` too.
/// - `**` alone means every component and every topic.
///
/// # Behavior
/// - Comparison is exact. What is neither a component address (two kebab-case labels, as in a
///   [`ComponentId`](crate::component::ComponentId)) nor a [`Topic`] never matches.
/// - No pattern with a `/` matches a topic, and no pattern but `**` without one matches a component.
///
/// ```
/// use airssys_wasm_core::capability::{InvalidPattern, TopicPattern};
///
/// let pattern: TopicPattern = "orders.*.created".parse()?;
/// assert!(pattern.matches("orders.eu.created"));
/// assert!(!pattern.matches("orders/created"));
///
/// assert!("acme/**".parse::<TopicPattern>().is_err());
/// # Ok::<(), InvalidPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct TopicPattern(Box<str>);

impl TopicPattern {
    /// Whether `address` is one of the addresses meant.
    pub fn matches(&self, address: &str) -> bool {
        // What is compared first costs least. What matches is checked before the answer is yes, so that nothing malformed is
        // ever meant, and what does not match need not be checked.
        if &*self.0 == "**" {
            return is_address(address);
        }
        if !self.0.contains('*') {
            return &*self.0 == address;
        }
        if self.0.contains('/') {
            wildcard::segments_match(self.0.split('/'), address.split('/'))
                && check_component(address).is_ok()
        } else {
            wildcard::segments_match(self.0.split('.'), address.split('.')) && check_topic(address).is_ok()
        }
    }

    /// Whether every topic that `other` means is one of the topics meant: what a subscription to `other` needs.
    ///
    /// Cautious where it matters: true is always right. It compares wildcard by wildcard, and so does not see that several
    /// patterns together cover another one.
    ///
    /// ```
    /// use airssys_wasm_core::capability::{InvalidPattern, TopicPattern};
    ///
    /// let (all, some): (TopicPattern, TopicPattern) = ("orders.**".parse()?, "orders.*.created".parse()?);
    /// assert!(all.covers(&some) && !some.covers(&all));
    /// # Ok::<(), InvalidPattern>(())
    /// ```
    pub fn covers(&self, other: &Self) -> bool {
        if &*self.0 == "**" {
            return true;
        }
        match (self.0.contains('/'), other.0.contains('/')) {
            (true, true) => segments_cover(&mut self.0.split('/'), &mut other.0.split('/')),
            (false, false) if &*other.0 != "**" => {
                segments_cover(&mut self.0.split('.'), &mut other.0.split('.'))
            }
            _ => false,
        }
    }

    /// Whether some topic or component is meant by both patterns: what a forbidden pattern has to be compared by.
    pub fn overlaps(&self, other: &Self) -> bool {
        if [&*self.0, &*other.0].contains(&"**") {
            return true;
        }
        match (self.0.contains('/'), other.0.contains('/')) {
            (true, true) => segments_overlap(&mut self.0.split('/'), &mut other.0.split('/')),
            (false, false) => segments_overlap(&mut self.0.split('.'), &mut other.0.split('.')),
            _ => false,
        }
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Which prefixes of `right` the segments of `left` can stand for so far: one bit of state for each length of prefix,
/// so that the time is the product of the lengths, whatever wildcards there are.
fn walk<'a>(
    left: impl Iterator<Item = &'a str>,
    right: &[&str],
    meets: impl Fn(&str, &str) -> bool,
    stays: impl Fn(&str) -> bool,
) -> bool {
    let close = |reached: &mut [bool], from: &str| {
        for position in 0..right.len() {
            if reached[position] && (from == "**" || stays(right[position])) {
                reached[position + 1] = true;
            }
        }
    };
    let mut reached = vec![false; right.len() + 1];
    reached[0] = true;
    close(&mut reached, "");
    for segment in left {
        let mut next = vec![false; right.len() + 1];
        for position in 0..=right.len() {
            if !reached[position] {
                continue;
            }
            if segment == "**" {
                next[position] = true;
            } else if position < right.len() {
                next[position + 1] |= meets(segment, right[position]);
                next[position] |= stays(right[position]);
            }
        }
        close(&mut next, segment);
        reached = next;
    }
    reached[right.len()]
}

fn segments_cover<'a>(
    left: &mut dyn Iterator<Item = &'a str>,
    right: &mut dyn Iterator<Item = &'a str>,
) -> bool {
    let right: Vec<_> = right.collect();
    walk(left, &right, |l, r| r != "**" && (l == "*" || l == r), |_| false)
}

fn segments_overlap<'a>(
    left: &mut dyn Iterator<Item = &'a str>,
    right: &mut dyn Iterator<Item = &'a str>,
) -> bool {
    let right: Vec<_> = right.collect();
    walk(left, &right, |l, r| l == "*" || r == "*" || r == "**" || l == r, |r| r == "**")
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TopicPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match check_pattern(text) {
            Ok(()) => Ok(Self(text.into())),
            Err(problem) => Err(InvalidPattern::new(PatternSubject::TopicPattern, text, problem)),
        }
    }
}

text_door!(TopicPattern, InvalidPattern);

/// Whether messages can be sent to `address`: it is a component or a topic.
pub(super) fn is_address(address: &str) -> bool {
    check_component(address).is_ok() || check_topic(address).is_ok()
}

/// One label of a component address, or of the name of a custom capability: kebab-case, as in a component id.
pub(super) fn check_label(label: &str) -> Result<(), PatternProblem> {
    if label.is_empty() {
        return Err(PatternProblem::EmptySegment);
    }
    if label.len() > LONGEST_LABEL {
        return Err(PatternProblem::LabelTooLong { limit: LONGEST_LABEL });
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if let Some(c) = label.chars().find(|c| !allowed(*c)) {
        return Err(PatternProblem::Character(c));
    }
    let starts_well = label.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_well || label.ends_with('-') || label.contains("--") {
        return Err(PatternProblem::LabelForm);
    }
    Ok(())
}

fn check_pattern(text: &str) -> Result<(), PatternProblem> {
    check_length(text)?;
    if let Some((namespace, name)) = text.split_once('/') {
        if name.contains('/') {
            return Err(PatternProblem::Address);
        }
        return [namespace, name].into_iter().try_for_each(|label| match label {
            "*" => Ok(()),
            _ if label.contains('*') => Err(PatternProblem::Wildcard),
            _ => check_label(label),
        });
    }
    for segment in text.split('.') {
        match segment {
            "*" | "**" => {}
            _ if wildcard::is_glued(segment, "*") => return Err(PatternProblem::Wildcard),
            _ => check_segment(segment)?,
        }
    }
    if wildcard::repeats_any(text.split('.')) { Err(PatternProblem::RepeatedWildcard) } else { Ok(()) }
}

fn check_component(address: &str) -> Result<(), PatternProblem> {
    let (namespace, name) = address.split_once('/').ok_or(PatternProblem::Address)?;
    check_label(namespace)?;
    check_label(name)
}

fn check_topic(topic: &str) -> Result<(), PatternProblem> {
    check_length(topic)?;
    topic.split('.').try_for_each(|segment| match check_segment(segment) {
        Err(PatternProblem::Character('*')) => Err(PatternProblem::Wildcard),
        checked => checked,
    })
}

fn check_length(text: &str) -> Result<(), PatternProblem> {
    match text.len() {
        0 => Err(PatternProblem::Empty),
        1..=LONGEST => Ok(()),
        _ => Err(PatternProblem::TooLong { limit: LONGEST }),
    }
}

fn check_segment(segment: &str) -> Result<(), PatternProblem> {
    if segment.is_empty() {
        return Err(PatternProblem::EmptySegment);
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    match segment.chars().find(|c| !allowed(*c)) {
        Some(c) => Err(PatternProblem::Character(c)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_and_topics_are_never_confused() {
        let check = |pattern: &str, address: &str, expected: bool| {
            let parsed: TopicPattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(address), expected, "{pattern} against {address:?}");
        };
        check("acme/greeter", "acme/greeter", true);
        check("acme/greeter", "acme/greeter2", false);
        check("acme/greeter", "acme.greeter", false);
        check("acme.greeter", "acme/greeter", false);
        check("acme/*", "acme/greeter", true);
        check("acme/*", "other/greeter", false);
        check("acme/*", "acme.greeter", false);
        check("*/greeter", "acme/greeter", true);
        check("*/*", "acme/greeter", true);
        check("*/*", "acme", false);
        check("*/*", "acme.greeter", false);
        check("*", "orders", true);
        check("*", "orders.eu", false);
        check("*", "acme/greeter", false);
        check("*.*", "acme/greeter", false);
        check("orders.*", "orders.eu", true);
        check("orders.*", "orders", false);
        check("orders.*", "orders.eu.created", false);
        check("orders.**", "orders", true);
        check("orders.**", "orders.eu.created", true);
        check("orders.**", "orders2", false);
        check("orders.**.created", "orders.created", true);
        check("orders.**.created", "orders.eu.de.created", true);
        check("**.created", "orders.created", true);
        check("**.created", "acme/created", false);
        check("**", "orders", true);
        check("**", "orders.eu", true);
        check("**", "acme/greeter", true);
        check("9_-.a", "9_-.a", true);
    }

    #[test]
    fn covering_and_overlapping_agree_with_every_topic_there_is() {
        let segments = ["a", "b", "*", "**"];
        let mut patterns: Vec<TopicPattern> = Vec::new();
        let mut topics: Vec<String> = Vec::new();
        for first in segments {
            patterns.extend(first.parse());
            for second in segments {
                patterns.extend(format!("{first}.{second}").parse());
                for third in segments {
                    patterns.extend(format!("{first}.{second}.{third}").parse());
                }
            }
        }
        for length in 1..=5_u32 {
            for number in 0..2_u32.pow(length) {
                let topic: Vec<_> =
                    (0..length).map(|bit| if number >> bit & 1 == 0 { "a" } else { "b" }).collect();
                topics.push(topic.join("."));
            }
        }
        topics.push("c".into());
        topics.push("a.c".into());
        topics.push("c.c.c".into());
        for left in &patterns {
            for right in &patterns {
                let both = topics.iter().any(|topic| left.matches(topic) && right.matches(topic));
                assert_eq!(left.overlaps(right), both, "{left} overlaps {right}");
                let escapes = topics.iter().find(|topic| right.matches(topic) && !left.matches(topic));
                if left.covers(right) {
                    assert_eq!(escapes, None, "{left} covers {right}");
                }
            }
        }
    }

    #[test]
    fn a_subscription_is_covered_by_what_is_as_wide() {
        let check = |left: &str, right: &str, expected: bool| {
            let (left, right): (TopicPattern, TopicPattern) = (left.parse().unwrap(), right.parse().unwrap());
            assert_eq!(left.covers(&right), expected, "{left} covers {right}");
        };
        check("orders.**", "orders.*", true);
        check("orders.**", "orders.**", true);
        check("orders.**", "orders.**.created", true);
        check("orders.**", "orders", true);
        check("orders.*", "orders.**", false);
        check("orders.*", "orders.eu", true);
        check("*", "**", false);
        check("**", "*/*", true);
        check("*/*", "acme/*", true);
        check("acme/*", "*/*", false);
        check("acme/*", "acme", false);
        check("**.created", "orders.*.created", true);
    }

    #[test]
    fn what_is_no_address_never_matches() {
        let any: TopicPattern = "**".parse().unwrap();
        for address in [
            "",
            "/",
            ".",
            "..",
            "acme/",
            "/greeter",
            "acme//greeter",
            "acme/greeter/x",
            "acme/../greeter",
            "acme/gre.eter",
            "acme/gre_eter",
            "acme/9greeter",
            "-acme/greeter",
            "acme/-",
            "acme/greeter-",
            "acme/gre--eter",
            "Acme/greeter",
            "acme/*",
            "*/*",
            "**",
            "orders.*",
            "orders..created",
            ".orders",
            "orders.",
            "Orders.created",
            "orders.cr\u{e9}e",
            "\u{43e}rders.created",
            "orders\u{3002}created",
            "orders\0",
            "orders created",
            "acme:greeter",
            "acme\\greeter",
        ] {
            assert!(!any.matches(address), "{address:?}");
            for pattern in ["*/*", "acme/*", "*", "**.*", "orders.**"] {
                assert!(!pattern.parse::<TopicPattern>().unwrap().matches(address), "{pattern} {address:?}");
            }
        }
        let label = "a".repeat(LONGEST_LABEL);
        assert!(any.matches(&format!("{label}/{label}")));
        assert!(!any.matches(&format!("{label}a/b")) && !any.matches(&format!("b/{label}a")));
        assert!(any.matches(&"a".repeat(LONGEST)));
        assert!(!any.matches(&"a".repeat(LONGEST + 1)));
    }

    #[test]
    fn refusals_say_what_to_write() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<TopicPattern>().unwrap_err().to_string(), expected);
        };
        check("", "the topic pattern `` is empty; write for example `acme/*` or `orders.**`");
        check(
            "acme/**",
            "the topic pattern `acme/**` has a wildcard where none may be; make `*` a whole label or \
             segment, and use `**` only alone or in topics",
        );
        check(
            "acme/g*",
            "the topic pattern `acme/g*` has a wildcard where none may be; make `*` a whole label or \
             segment, and use `**` only alone or in topics",
        );
        check(
            "a/b/c",
            "the topic pattern `a/b/c` has more than one `/`; write `namespace/name` for a component",
        );
        check(
            "acme/9",
            "the topic pattern `acme/9` has a label that is not kebab-case; start each label with `a-z` and \
             put one `-` between words",
        );
        check(
            "Orders",
            "the topic pattern `Orders` contains 'O'; use `a-z`, `0-9` and `-`, with one `/` for a \
             component, or with `_` and with `.` between segments for a topic",
        );
        check(
            "orders.",
            "the topic pattern `orders.` has an empty segment; put exactly one `/` or `.` between two \
             segments and none at the ends",
        );
        check("a.**.**", "the topic pattern `a.**.**` has `**` after `**`; write `**` once");
        let long = "a".repeat(LONGEST + 1).parse::<TopicPattern>().unwrap_err();
        assert_eq!(long.problem(), PatternProblem::TooLong { limit: LONGEST });

        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<Topic>().unwrap_err().to_string(), expected);
        };
        check("", "the topic `` is empty; write for example `orders.eu.created`");
        check(
            "orders.*",
            "the topic `orders.*` has a wildcard where none may be; write the name of one topic",
        );
        check(
            "acme/greeter",
            "the topic `acme/greeter` contains '/'; use `a-z`, `0-9`, `-` and `_`, with `.` between segments",
        );
        check(
            "a..b",
            "the topic `a..b` has an empty segment; put exactly one `.` between two names and none at the \
             ends",
        );
    }
}
