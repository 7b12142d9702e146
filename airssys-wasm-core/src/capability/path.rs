//! Patterns of file and program paths.

use std::{fmt, str::FromStr};

use super::invalid::{InvalidPattern, PatternProblem, PatternSubject};
use super::{text_door, wildcard};

/// The most bytes of a path or a path pattern, as many as Linux takes.
const LONGEST: usize = 4096;

/// Which absolute paths are meant.
///
/// Segments are compared one by one. `*` stands for any characters inside one segment (`/data/*.txt`), `**`
/// as a whole segment for any number of segments, none included: `/data/**` covers `/data` and all that is
/// beneath. No other character is special, and names that start with a dot are names like any other.
///
/// # Behavior
/// - [`matches`](Self::matches) expects an absolute and normalised path and does not normalise. A path that
///   is relative, ends with `/`, has an empty, `.` or `..` segment, a backslash or a control character, or is
///   longer than 4096 bytes, never matches.
/// - Comparison is exact, byte for byte: `A` is not `a`, and `é` as one code point is not `e` with a
///   combining accent. On a file system that folds case or Unicode forms, ask with the name that is on disk.
///
/// ```
/// use airssys_wasm_core::capability::{InvalidPattern, PathPattern};
///
/// let pattern: PathPattern = "/data/**/*.csv".parse()?;
/// assert!(pattern.matches("/data/2026/may.csv"));
/// assert!(!pattern.matches("/data/../etc/may.csv"));
///
/// assert!("data/**".parse::<PathPattern>().is_err());
/// # Ok::<(), InvalidPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct PathPattern(Box<str>);

impl PathPattern {
    /// Whether `path` is one of the paths meant.
    pub fn matches(&self, path: &str) -> bool {
        is_path(path) && wildcard::segments_match(segments(&self.0), segments(path))
    }

    /// The longest directory that everything meant is in, or is: `/data` of `/data/**` and of `/data/*.csv`.
    ///
    /// ```
    /// use airssys_wasm_core::capability::{InvalidPattern, PathPattern};
    ///
    /// let pattern: PathPattern = "/data/*/may.csv".parse()?;
    /// assert_eq!(pattern.base(), "/data");
    /// let one: PathPattern = "/etc/motd".parse()?;
    /// assert_eq!(one.base(), "/etc");
    /// # Ok::<(), InvalidPattern>(())
    /// ```
    pub fn base(&self) -> &str {
        let end = match self.0.find('*') {
            Some(wildcard) => self.0[..wildcard].rfind('/'),
            None => self.0.rfind('/'),
        };
        &self.0[..end.unwrap_or(0).max(1)]
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PathPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let check = || {
            check_path(text)?;
            if segments(text).any(|segment| wildcard::is_glued(segment, "**")) {
                return Err(PatternProblem::Wildcard);
            }
            if wildcard::repeats_any(segments(text)) {
                return Err(PatternProblem::RepeatedWildcard);
            }
            Ok(())
        };
        match check() {
            Ok(()) => Ok(Self(text.into())),
            Err(problem) => Err(InvalidPattern::new(PatternSubject::Path, text, problem)),
        }
    }
}

text_door!(PathPattern, InvalidPattern);

/// Whether `path` is absolute and normalised.
pub(super) fn is_path(path: &str) -> bool {
    check_path(path).is_ok()
}

fn check_path(path: &str) -> Result<(), PatternProblem> {
    if path.is_empty() {
        return Err(PatternProblem::Empty);
    }
    if path.len() > LONGEST {
        return Err(PatternProblem::TooLong { limit: LONGEST });
    }
    if let Some(c) = path.chars().find(|c| *c == '\\' || c.is_control()) {
        return Err(PatternProblem::Character(c));
    }
    if !path.starts_with('/') {
        return Err(PatternProblem::Relative);
    }
    if segments(path).any(str::is_empty) {
        return Err(PatternProblem::EmptySegment);
    }
    if path.len() > 1 && path.ends_with('/') {
        return Err(PatternProblem::TrailingSlash);
    }
    if segments(path).any(|segment| matches!(segment, "." | "..")) {
        return Err(PatternProblem::DotSegment);
    }
    Ok(())
}

/// The names between the slashes; none for the root.
fn segments(path: &str) -> impl Iterator<Item = &str> + Clone {
    path.strip_prefix('/').unwrap_or(path).split_terminator('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_keep_to_their_segments() {
        let check = |pattern: &str, path: &str, expected: bool| {
            let parsed: PathPattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(path), expected, "{pattern} against {path:?}");
        };
        check("/", "/", true);
        check("/", "/a", false);
        check("/a", "/a", true);
        check("/a", "/a/b", false);
        check("/a", "/ab", false);
        check("/*", "/a", true);
        check("/*", "/", false);
        check("/*", "/a/b", false);
        check("/*", "/.hidden", true);
        check("/**", "/", true);
        check("/**", "/a/b/c", true);
        check("/data/*.txt", "/data/a.txt", true);
        check("/data/*.txt", "/data/.txt", true);
        check("/data/*.txt", "/data/sub/a.txt", false);
        check("/data/a*b", "/data/ab", true);
        check("/data/a*b", "/data/a/b", false);
        check("/data/*/log", "/data/x/log", true);
        check("/data/*/log", "/data/log", false);
        check("/data/**", "/data", true);
        check("/data/**", "/data/a/b", true);
        check("/data/**", "/database", false);
        check("/data/**/log", "/data/log", true);
        check("/data/**/log", "/data/a/b/log", true);
        check("/data/**/log", "/data/a/b/log/x", false);
        check("/data/[ab]?{c}", "/data/[ab]?{c}", true);
        check("/data/[ab]", "/data/a", false);
        check("/with space/*", "/with space/x y", true);
    }

    /// What can be asked for with a grant of `/data/**` in hand; only plain names beneath `/data` pass.
    #[test]
    fn the_ways_around_a_path_check_are_closed() {
        let data: PathPattern = "/data/**".parse().unwrap();
        let any: PathPattern = "/**".parse().unwrap();
        for path in [
            "/data/../etc/passwd",
            "/data/a/../b",
            "/data/..",
            "/data/./a",
            "/data/.",
            "/./data",
            "/../data/a",
            "//data/a",
            "/data//a",
            "/data/a/",
            "/data/",
            "//",
            "",
            ".",
            "..",
            "data/a",
            "./data/a",
            "~/data",
            "/data/a\0.txt",
            "/data/a\n",
            "/data/a\u{7f}",
            "/data/a\u{85}",
            "/data\\..\\secret",
            "\\data\\a",
            "\\\\server\\share\\a",
            "\\\\?\\C:\\data",
            "//server/share",
            "C:/data/a",
            "C:\\data\\a",
            "file:///data/a",
        ] {
            assert!(!data.matches(path) && !any.matches(path), "{path:?}");
        }
        for path in [
            "/Data/a",
            "/DATA/a",
            "/d\u{430}ta/a",
            "/\u{ff44}ata/a",
            "/data\u{200b}/a",
            "/data /a",
            "/data\u{2215}a",
            "/%64ata/a",
            "/proc/self/environ",
            "/proc/self/fd/3",
            "/dev/mem",
            "/etc/passwd",
        ] {
            assert!(!data.matches(path) && any.matches(path), "{path:?}");
        }
        // Names to the check, even where a file system makes more of them: the code that opens the file
        // refuses those, or sees them stay beneath its directory handle.
        for path in
            ["/data/NUL", "/data/COM\u{b9}", "/data/a.txt:stream", "/data/%2e%2e/a", "/data/...", "/data/*"]
        {
            assert!(data.matches(path), "{path:?}");
        }
    }

    #[test]
    fn unicode_forms_are_different_names() {
        let composed: PathPattern = "/caf\u{e9}/*".parse().unwrap();
        assert!(composed.matches("/caf\u{e9}/menu"));
        assert!(!composed.matches("/cafe\u{301}/menu"));
        assert!(!composed.matches("/cafe/menu"));
    }

    #[test]
    fn a_hostile_pattern_costs_little() {
        let stars: PathPattern = format!("/{}b", "*a".repeat(1000)).parse().unwrap();
        let run: PathPattern = format!("/*{}b", "a".repeat(LONGEST / 2)).parse().unwrap();
        let deep: PathPattern = format!("/{}b", "**/a/*/".repeat(400)).parse().unwrap();
        let name = format!("/{}", "a".repeat(LONGEST - 1));
        let path = "/a".repeat(LONGEST / 2);
        let start = std::time::Instant::now();
        assert!(!stars.matches(&name));
        assert!(!stars.matches(&path));
        assert!(!run.matches(&name));
        assert!(!deep.matches(&name));
        assert!(!deep.matches(&path));
        assert!(start.elapsed().as_secs() < 5, "matching took {:?}", start.elapsed());
    }

    #[test]
    fn an_endless_path_is_refused_unread() {
        let any: PathPattern = "/**".parse().unwrap();
        assert!(any.matches(&format!("/{}", "a".repeat(LONGEST - 1))));
        assert!(!any.matches(&format!("/{}", "a".repeat(LONGEST))));
    }

    #[test]
    fn refusals_say_what_to_write() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<PathPattern>().unwrap_err().to_string(), expected);
        };
        check("", "the path pattern `` is empty; write for example `/data/**`");
        check("data/a", "the path pattern `data/a` does not start with `/`; write an absolute path");
        check("*", "the path pattern `*` does not start with `/`; write an absolute path");
        check(
            "/data/",
            "the path pattern `/data/` ends with `/`; leave the last `/` out, or add `**` for all that is \
             beneath",
        );
        check(
            "/data//a",
            "the path pattern `/data//a` has an empty segment; put exactly one `/` between two segments \
             and none at the ends",
        );
        check(
            "/data/../a",
            "the path pattern `/data/../a` has a `.` or `..` segment; write the path that it leads to",
        );
        check(
            "/data/.",
            "the path pattern `/data/.` has a `.` or `..` segment; write the path that it leads to",
        );
        check("C:\\data", "the path pattern `C:\\\\data` contains '\\\\'; separate segments with `/`");
        check("/a\0", "the path pattern `/a\\0` contains '\\0'; leave control characters out");
        check(
            "/data**",
            "the path pattern `/data**` has other characters beside `**` in one segment; make `**` a \
             segment of its own, or write one `*`",
        );
        check(
            "/***",
            "the path pattern `/***` has other characters beside `**` in one segment; make `**` a segment \
             of its own, or write one `*`",
        );
        check("/**/**", "the path pattern `/**/**` has `**` after `**`; write `**` once");
        let long = "/a".repeat(LONGEST);
        assert_eq!(
            long.parse::<PathPattern>().unwrap_err().problem(),
            PatternProblem::TooLong { limit: LONGEST },
        );
    }
}
