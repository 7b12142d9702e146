//! Sizes in bytes, with a unit where people write them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes, written `512`, `64 KiB`, `4MiB`, `1 GiB`, or decimal `64 kB`, `4 MB`, `1 GB`.
///
/// ```
/// use airssys_wasm_core::component::ByteSize;
///
/// assert_eq!("64 MiB".parse(), Ok(ByteSize::mib(64)));
/// assert_eq!(ByteSize::mib(64).to_string(), "64 MiB");
/// assert_eq!(
///     "64 M".parse::<ByteSize>().unwrap_err().to_string(),
///     "`64 M` is not a size: the unit `M` is unknown; write a whole number and one of B, KiB, MiB, GiB, kB, MB, GB",
/// );
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "SizeText", into = "String"))]
pub struct ByteSize(u64);

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// No bytes.
    pub const ZERO: Self = Self(0);
    /// More than any machine has.
    pub const MAX: Self = Self(u64::MAX);

    /// `bytes` bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// `kib` times 1,024 bytes; the largest size there is where that overflows.
    pub const fn kib(kib: u64) -> Self {
        Self(kib.saturating_mul(1 << 10))
    }

    /// `mib` times 1,048,576 bytes; the largest size there is where that overflows.
    pub const fn mib(mib: u64) -> Self {
        Self(mib.saturating_mul(1 << 20))
    }

    /// The number of bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The number of bytes, or the largest `usize` on a machine that cannot address them.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl From<u64> for ByteSize {
    fn from(bytes: u64) -> Self {
        Self(bytes)
    }
}

impl FromStr for ByteSize {
    type Err = InvalidByteSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason: String| InvalidByteSize {
            text: text.chars().take(40).collect::<String>().escape_debug().to_string(),
            reason,
        };
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = (&text[..digits], text[digits..].strip_prefix(' ').unwrap_or(&text[digits..]));
        if number.is_empty() {
            return Err(refuse("it does not start with a whole number".into()));
        }
        let number: u64 = number.parse().map_err(|_| refuse("the number is too large".into()))?;
        let factor = match unit {
            "" if digits == text.len() => 1,
            _ => {
                let known = UNITS.iter().find(|(name, _)| *name == unit);
                known
                    .map(|(_, factor)| *factor)
                    .ok_or_else(|| refuse(format!("the unit `{}` is unknown", unit.escape_debug())))?
            }
        };
        number.checked_mul(factor).map(Self).ok_or_else(|| refuse("the number is too large".into()))
    }
}

impl fmt::Display for ByteSize {
    /// The largest binary unit that divides it, so that parsing gives the same number back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS[..3].iter().find(|(_, factor)| self.0 != 0 && self.0.is_multiple_of(*factor));
        match unit {
            Some((name, factor)) => f.pad(&format!("{} {name}", self.0 / factor)),
            None => f.pad(&format!("{} B", self.0)),
        }
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

/// A size in a file: a text with a unit, or a plain number of bytes.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(untagged, expecting = "a size such as \"64 MiB\", or a whole number of bytes")]
enum SizeText {
    Number(u64),
    Text(String),
}

#[cfg(feature = "serde")]
impl TryFrom<SizeText> for ByteSize {
    type Error = InvalidByteSize;

    fn try_from(text: SizeText) -> Result<Self, Self::Error> {
        match text {
            SizeText::Number(bytes) => Ok(Self(bytes)),
            SizeText::Text(text) => text.parse(),
        }
    }
}

/// A text that is not a [`ByteSize`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size: {reason}; write a whole number and one of B, KiB, MiB, GiB, kB, MB, GB")]
pub struct InvalidByteSize {
    text: String,
    reason: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_a_number_and_a_unit() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("1 B", 1), ("1KiB", 1024), ("2 MB", 2_000_000), ("4 GiB", 4 << 30)]
        {
            assert_eq!(text.parse(), Ok(ByteSize::bytes(bytes)), "{text}");
        }
        for refused in [
            "",
            " 1",
            "MiB",
            "1  MiB",
            "1 mib",
            "1.5 MiB",
            "-1",
            "1 MiB ",
            "18446744073709551616",
            "99999999999 GiB",
            "1 ",
            "１",
        ] {
            assert!(refused.parse::<ByteSize>().is_err(), "{refused:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn sizes_round_trip(bytes in any::<u64>()) {
            let size = ByteSize::bytes(bytes);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = text.parse::<ByteSize>();
        }
    }
}
