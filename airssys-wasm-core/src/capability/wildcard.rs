//! Wildcards: `*` inside a segment and `**` across segments.

/// Whether the segments of `pattern` match those of `text`: `**` stands for any number of segments, none
/// included, and every other segment for one segment, as [`segment_matches`] tells.
///
/// Each pair of segments is compared at most once after each `**`, because only the latest `**` is ever
/// widened.
pub(super) fn segments_match<'a, P, T>(mut pattern: P, mut text: T) -> bool
where
    P: Iterator<Item = &'a str> + Clone,
    T: Iterator<Item = &'a str> + Clone,
{
    let mut widen: Option<(P, T)> = None;
    loop {
        let (here, expected) = (text.clone(), pattern.next());
        match (expected, text.next()) {
            (None, None) => return true,
            (Some("**"), _) => {
                text = here;
                widen = Some((pattern.clone(), text.clone()));
                continue;
            }
            (Some(expected), Some(segment)) if segment_matches(expected, segment) => continue,
            (Some(_), None) => return false,
            _ => {}
        }
        let Some((after, from)) = &mut widen else { return false };
        from.next();
        (pattern, text) = (after.clone(), from.clone());
    }
}

/// Whether one segment matches; each `*` in `pattern` stands for any characters, none included.
///
/// Works on bytes: literals of a pattern are whole characters, so `*` never covers a part of one.
pub(super) fn segment_matches(pattern: &str, segment: &str) -> bool {
    let (pattern, segment) = (pattern.as_bytes(), segment.as_bytes());
    let (mut p, mut s) = (0, 0);
    let mut widen = None;
    while s < segment.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                widen = Some((p, s));
            }
            Some(expected) if *expected == segment[s] => {
                p += 1;
                s += 1;
            }
            _ => {
                let Some((after, from)) = &mut widen else { return false };
                *from += 1;
                (p, s) = (*after, *from);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Whether a valid pattern segment is a wildcard that must stand alone but does not.
pub(super) fn is_glued(segment: &str, wildcard: &str) -> bool {
    segment.contains(wildcard) && segment != "*" && segment != "**"
}

/// Whether `**` follows `**`, which means no more than one of them.
pub(super) fn repeats_any<'a>(segments: impl Iterator<Item = &'a str> + Clone) -> bool {
    segments.clone().zip(segments.skip(1)).any(|pair| pair == ("**", "**"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_stays_inside_a_segment() {
        let check = |pattern, segment, expected| {
            assert_eq!(segment_matches(pattern, segment), expected, "{pattern} against {segment}");
        };
        check("*", "a", true);
        check("a*", "a", true);
        check("*a", "ba", true);
        check("a*b", "ab", true);
        check("a*b", "axxb", true);
        check("a*b", "axxbc", false);
        check("a*b*c", "a-b-b-c", true);
        check("a", "", false);
        check("ab", "abc", false);
        check("abc", "ab", false);
        check("*é", "caf\u{e9}", true);
        check("*é", "cafe\u{301}", false);
    }

    #[test]
    fn double_star_crosses_segments() {
        let check = |pattern: &str, text: &str, expected| {
            let matched = segments_match(pattern.split_terminator('/'), text.split_terminator('/'));
            assert_eq!(matched, expected, "{pattern} against {text}");
        };
        check("", "", true);
        check("", "a", false);
        check("**", "", true);
        check("**", "a/b", true);
        check("a/**", "a", true);
        check("a/**", "b", false);
        check("**/a", "a", true);
        check("**/a", "b/a", true);
        check("**/a", "a/b", false);
        check("a/**/b", "a/b", true);
        check("a/**/b", "a/x/y/b", true);
        check("a/**/b/**/c", "a/b/b/c/c", true);
        check("a/**/b/**/c", "a/c/c", false);
        check("**/*/a", "a", false);
        check("a/*", "a", false);
    }
}
