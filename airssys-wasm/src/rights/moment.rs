//! Moments in files: RFC 3339, in UTC.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Reads a moment: a date and a time with an offset, such as `2027-01-31T12:00:00Z`.
///
/// # Errors
/// What is wrong, and how to write it.
pub fn parse(text: &str) -> Result<SystemTime, String> {
    let moment: Timestamp = text.parse().map_err(|refused| {
        let shown: String = text.chars().take(40).collect();
        format!(
            "`{}` is not a moment: write one such as `2027-01-31T12:00:00Z` ({refused})",
            shown.escape_debug()
        )
    })?;
    Ok(moment.into())
}

/// Writes a moment so that [`parse`] gives it back, to the nanosecond.
pub fn format(moment: SystemTime) -> String {
    // What no file can say is as late, or as early, as one can.
    let bound = if moment > SystemTime::UNIX_EPOCH { Timestamp::MAX } else { Timestamp::MIN };
    Timestamp::try_from(moment).unwrap_or(bound).to_string()
}

/// For `#[serde(with = "...")]`.
pub(super) fn serialize<S: Serializer>(
    moment: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    moment.map(format).serialize(serializer)
}

/// For `#[serde(with = "...")]`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SystemTime>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| parse(&text).map_err(de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_they_are_read() {
        for text in ["2027-01-31T12:00:00Z", "1969-12-31T23:59:59.000000001Z", "9999-01-01T00:00:00Z"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(format(parse("2027-01-31T13:00:00+01:00").unwrap()), "2027-01-31T12:00:00Z");
        for refused in ["", "2027-01-31", "2027-01-31T12:00:00", "tomorrow", "2027-02-30T00:00:00Z"] {
            assert!(parse(refused).unwrap_err().contains("is not a moment"), "{refused}");
        }
    }
}
