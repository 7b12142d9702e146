//! Durations in files: `250 ms`, `5 s`, `2 min`, `1 h`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const UNITS: [(&str, u64); 5] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("min", 60_000_000), ("h", 3_600_000_000)];

/// Reads a duration: a whole number and one of `us`, `ms`, `s`, `min`, `h`, with or without a space.
///
/// # Errors
/// What is wrong and how to write it, when the text is not such a duration or is longer than about 500,000 years.
///
/// ```
/// use std::time::Duration;
/// use airssys_wasm_core::config::duration::parse;
///
/// assert_eq!(parse("250 ms"), Ok(Duration::from_millis(250)));
/// assert_eq!(
///     parse("5"),
///     Err("`5` is not a duration: write a whole number and one of us, ms, s, min, h, such as `250 ms`".to_owned()),
/// );
/// ```
pub fn parse(text: &str) -> Result<Duration, String> {
    let refuse = || {
        let shown = text.chars().take(40).collect::<String>();
        format!(
            "`{}` is not a duration: write a whole number and one of us, ms, s, min, h, such as `250 ms`",
            shown.escape_debug()
        )
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let unit = text[digits..].strip_prefix(' ').unwrap_or(&text[digits..]);
    let number: u64 = text[..digits].parse().map_err(|_| refuse())?;
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?;
    number.checked_mul(*factor).map(Duration::from_micros).ok_or_else(refuse)
}

/// Writes a duration so that [`parse`] gives it back, to the microsecond.
pub fn format(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let (name, factor) = UNITS
        .iter()
        .rev()
        .find(|(_, factor)| micros != 0 && micros.is_multiple_of(*factor))
        .unwrap_or(&UNITS[0]);
    format!("{} {name}", micros / factor)
}

/// For `#[serde(with = "...")]`.
///
/// # Errors
/// Those of the serialiser.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    format(*duration).serialize(serializer)
}

/// For `#[serde(with = "...")]`.
///
/// # Errors
/// Those of [`parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_without_a_unit_is_refused() {
        for refused in [
            "",
            "5",
            "s",
            "1.5 s",
            "-1 s",
            "1  s",
            "1 S",
            "1 sec",
            "99999999999999999999 s",
            "9999999999999 h",
        ] {
            assert!(parse(refused).is_err(), "{refused:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn durations_round_trip(micros in any::<u64>()) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }
    }
}
