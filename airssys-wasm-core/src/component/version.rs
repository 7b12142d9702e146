//! Semantic versions, as <https://semver.org/spec/v2.0.0.html> defines them.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The version of an artifact: `1.4.0`, `2.0.0-rc.1`, `1.0.0+build.5`.
///
/// Ordered by precedence; build metadata breaks ties by text, so that equal means identical.
///
/// ```
/// use airssys_wasm_core::component::Version;
///
/// let version: Version = "1.4.0-rc.1".parse()?;
/// assert!(version < Version::new(1, 4, 0));
/// assert_eq!(
///     "1.4".parse::<Version>().unwrap_err().to_string(),
///     "`1.4` is not a version: three numbers are needed; write `MAJOR.MINOR.PATCH`, such as `1.4.0`",
/// );
/// # Ok::<(), airssys_wasm_core::component::InvalidVersion>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    pre_release: Box<str>,
    build: Box<str>,
}

const MAX_LENGTH: usize = 128;

impl Version {
    /// A release version.
    pub fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self { major, minor, patch, pre_release: "".into(), build: "".into() }
    }

    /// The three numbers.
    pub fn numbers(&self) -> (u64, u64, u64) {
        (self.major, self.minor, self.patch)
    }

    /// The identifiers behind `-`; empty for a release.
    pub fn pre_release(&self) -> &str {
        &self.pre_release
    }

    /// The identifiers behind `+`; empty when there are none.
    pub fn build(&self) -> &str {
        &self.build
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason| InvalidVersion {
            text: text.chars().take(80).collect::<String>().escape_debug().to_string(),
            reason,
        };
        if text.len() > MAX_LENGTH {
            return Err(refuse("it is longer than 128 bytes"));
        }
        let (rest, build) = split(text, '+');
        let (numbers, pre_release) = split(rest, '-');
        let mut parts = numbers.split('.');
        let (Some(major), Some(minor), Some(patch), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(refuse("three numbers are needed"));
        };
        let number = |digits: &str| match digits.as_bytes() {
            [] => Err("three numbers are needed"),
            [b'0', _, ..] => Err("a number starts with a zero"),
            bytes if !bytes.iter().all(u8::is_ascii_digit) => Err("a number has something other than digits"),
            _ => digits.parse().map_err(|_| "a number is too large"),
        };
        let (major, minor, patch) =
            (number(major).map_err(refuse)?, number(minor).map_err(refuse)?, number(patch).map_err(refuse)?);
        for (identifiers, is_pre_release) in [(pre_release, true), (build, false)] {
            for identifier in identifiers.into_iter().flat_map(|text| text.split('.')) {
                check_identifier(identifier, is_pre_release).map_err(refuse)?;
            }
        }
        let (pre_release, build) = (pre_release.unwrap_or_default().into(), build.unwrap_or_default().into());
        Ok(Self { major, minor, patch, pre_release, build })
    }
}

fn split(text: &str, separator: char) -> (&str, Option<&str>) {
    text.split_once(separator).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn check_identifier(identifier: &str, is_pre_release: bool) -> Result<(), &'static str> {
    if identifier.is_empty() {
        return Err("an identifier is empty");
    }
    if !identifier.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return Err("an identifier has something other than letters, digits and `-`");
    }
    let numeric = identifier.bytes().all(|c| c.is_ascii_digit());
    if is_pre_release && numeric && identifier.len() > 1 && identifier.starts_with('0') {
        return Err("a number starts with a zero");
    }
    Ok(())
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.pre_release.is_empty() {
            write!(f, "-{}", self.pre_release)?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers()
            .cmp(&other.numbers())
            .then_with(|| compare_pre_release(&self.pre_release, &other.pre_release))
            .then_with(|| self.build.cmp(&other.build))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Section 11 of the specification: a pre-release comes before its release, numbers before words.
fn compare_pre_release(left: &str, right: &str) -> Ordering {
    match (left.is_empty(), right.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let is_number = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
    let (mut left, mut right) = (left.split('.'), right.split('.'));
    loop {
        let ordering = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(l), Some(r)) => match (is_number(l), is_number(r)) {
                (true, true) => l.len().cmp(&r.len()).then_with(|| l.cmp(r)),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => l.cmp(r),
            },
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
}

impl TryFrom<String> for Version {
    type Error = InvalidVersion;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

/// A text that is not a [`Version`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a version: {reason}; write `MAJOR.MINOR.PATCH`, such as `1.4.0`")]
pub struct InvalidVersion {
    text: String,
    reason: &'static str,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn the_specifications_own_order_holds() {
        let ascending = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.10.0",
            "2.0.0",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for refused in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3+",
            "v1.2.3",
            "1.2.x",
            " 1.2.3",
            "1.2.3 ",
            "1.2.3-a..b",
            "1.2.3+a_b",
            "-1.2.3",
            "1.2.99999999999999999999",
            "1..3",
        ] {
            assert!(refused.parse::<Version>().is_err(), "{refused:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn versions_round_trip(a in any::<u64>(), b in any::<u64>(), c in any::<u64>(), pre in "(-[a-z][0-9a-z]{0,3}(\\.[1-9])?)?", build in "(\\+[0-9a-z-]{1,4})?") {
            let text = format!("{a}.{b}.{c}{pre}{build}");
            prop_assert_eq!(version(&text).to_string(), text);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = text.parse::<Version>();
        }
    }
}
