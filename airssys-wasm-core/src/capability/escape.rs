//! Untrusted text, made safe to print.

use std::fmt::{self, Write};

/// Shows text on one line: what is not printable is escaped, and what is too long is cut with `…`.
///
/// Printable text, quotes included, stays as it is; a backslash is doubled, because it starts an escape.
#[derive(Clone, Copy)]
pub(super) struct Escaped<'a> {
    pub(super) text: &'a str,
    pub(super) limit: usize,
}

impl Escaped<'_> {
    /// Whether it is shown as it is.
    pub(super) fn is_plain(&self) -> bool {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'\\';
        self.text.len() <= self.limit && self.text.bytes().all(is_plain)
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_plain() {
            return f.write_str(self.text);
        }
        let mut chars = self.text.chars();
        for c in chars.by_ref().take(self.limit) {
            match c {
                '\'' | '"' => f.write_char(c)?,
                _ => write!(f, "{}", c.escape_debug())?,
            }
        }
        if chars.next().is_some() { f.write_char('…') } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_on_one_line() {
        let check = |text, expected: &str| assert_eq!(Escaped { text, limit: 12 }.to_string(), expected);
        check("/data/it's", "/data/it's");
        check("/données", "/données");
        check("a\nb\0\x1b[2J", "a\\nb\\0\\u{1b}[2J");
        check("a\\nb", "a\\\\nb");
        check("right\u{202e}left", "right\\u{202e}left");
        check("0123456789ab", "0123456789ab");
        check("0123456789abc", "0123456789ab…");
    }
}
