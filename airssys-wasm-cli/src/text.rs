//! Text from guests and files, made safe to show.

/// One line: control characters, line ends and direction marks are escaped.
///
/// Quotes and backslashes stay as they are: this is for people, and is not meant to be read back.
pub(crate) fn line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\'' | '"' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    shown
}

/// The same, with line ends left as they are: for texts of the operator's own files.
pub(crate) fn lines(text: &str) -> String {
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// A word as a POSIX shell takes it: quoted where it has to be.
pub(crate) fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// `ComponentSize` as `component-size`: how names of kinds are written in machine-readable output.
pub(crate) fn kebab(name: &str) -> String {
    let mut kebab = String::with_capacity(name.len() + 4);
    let mut before: Option<char> = None;
    for character in name.chars() {
        let starts_word = character.is_ascii_uppercase()
            && before.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        if (starts_word || !character.is_ascii_alphanumeric()) && !kebab.is_empty() && !kebab.ends_with('-') {
            kebab.push('-');
        }
        if character.is_ascii_alphanumeric() {
            kebab.push(character.to_ascii_lowercase());
        }
        before = Some(character);
    }
    kebab.truncate(kebab.trim_end_matches('-').len());
    kebab
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_forge_lines_or_colours() {
        assert_eq!(line("a\nb\u{1b}[31m\0\u{202e}\"c\"\\"), "a\\nb\\u{1b}[31m\\0\\u{202e}\"c\"\\");
        assert_eq!(lines("a\nb\r\u{1b}"), "a\nb\\r\\u{1b}");
    }

    #[test]
    fn bytes_print_as_digits() {
        assert_eq!(hex(&[0, 0x9f, 0xff]), "009fff");
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(shell_word("storage:acme/counter"), "storage:acme/counter");
        assert_eq!(shell_word("messaging:orders.**"), "'messaging:orders.**'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn names_become_kebab_case() {
        for (name, expected) in [
            ("counter", "counter"),
            ("MyCounter", "my-counter"),
            ("wasi_clock.v2", "wasi-clock-v2"),
            ("__a  b__", "a-b"),
            ("IndirectCallToNull", "indirect-call-to-null"),
            ("ÄÖ", ""),
        ] {
            assert_eq!(kebab(name), expected, "{name}");
        }
    }
}
