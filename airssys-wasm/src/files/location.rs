//! From the words of a guest to one absolute path.

use airssys_wasm_core::runtime::FileRefusal;

/// The most bytes of a path, as on Linux.
const LONGEST: usize = 4096;

/// An absolute path without `.`, `..`, empty names and a `/` at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location(Box<str>);

impl Location {
    /// A path that is known to be one: that of a grant.
    pub(super) fn trusted(path: &str) -> Self {
        Self(path.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The names from the root on.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The directory that it is in, and its name there; none of the root.
    pub(super) fn split(&self) -> Option<(Self, &str)> {
        let (parent, name) = self.0.rsplit_once('/')?;
        let parent = if parent.is_empty() { "/" } else { parent };
        (!name.is_empty()).then(|| (Self::trusted(parent), name))
    }

    /// What `path` is, seen from here. `..` goes back what the path itself went, and no further: as no link is followed, the
    /// words are enough to know where it leads.
    pub(super) fn join(&self, path: &str) -> Result<Place, FileRefusal> {
        if path.is_empty() {
            return Err(FileRefusal::NoEntry);
        }
        if path.contains('\0') {
            return Err(FileRefusal::Invalid);
        }
        if path.starts_with('/') {
            return Err(FileRefusal::NotPermitted);
        }
        let mut names = Vec::new();
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop().ok_or(FileRefusal::NotPermitted)?),
                name => names.push(name),
            }
        }
        let mut joined = self.0.trim_end_matches('/').to_owned();
        for name in &names {
            joined.push('/');
            joined.push_str(name);
        }
        if joined.len() > LONGEST {
            return Err(FileRefusal::NameTooLong);
        }
        if joined.is_empty() {
            joined.push('/');
        }
        let is_directory = matches!(path.rsplit('/').next(), Some("" | "." | ".."));
        Ok(Place { location: Self(joined.into()), is_directory })
    }
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) location: Location,
    /// Whether the path says that there is a directory.
    pub(super) is_directory: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_beneath_their_directory() {
        let data = Location::trusted("/data");
        let leads = |path: &str| data.join(path).map(|place| place.location.as_str().to_owned());
        for (path, expected) in [
            ("a", "/data/a"),
            ("a/b", "/data/a/b"),
            ("./a", "/data/a"),
            ("a/../b", "/data/b"),
            ("a/./b/..", "/data/a"),
            ("a//b", "/data/a/b"),
            (".", "/data"),
            ("a/..", "/data"),
            ("...", "/data/..."),
            ("..a", "/data/..a"),
        ] {
            assert_eq!(leads(path).as_deref(), Ok(expected), "{path}");
        }
        for path in
            ["..", "../data/a", "a/../..", "a/../../data", "./..", "a/b/../../../etc", "/", "/etc", "//etc"]
        {
            assert_eq!(leads(path), Err(FileRefusal::NotPermitted), "{path}");
        }
        assert_eq!(leads(""), Err(FileRefusal::NoEntry));
        assert_eq!(leads("a\0b"), Err(FileRefusal::Invalid));
        assert_eq!(leads(&"a/".repeat(3_000)), Err(FileRefusal::NameTooLong));
        assert_eq!(
            Location::trusted("/").join(".").map(|place| place.location.as_str().to_owned()).as_deref(),
            Ok("/")
        );
        assert_eq!(
            Location::trusted("/").join("a").map(|place| place.location.as_str().to_owned()).as_deref(),
            Ok("/a")
        );
    }

    #[test]
    fn some_paths_can_only_be_directories() {
        let data = Location::trusted("/data");
        let says = |path: &str| data.join(path).is_ok_and(|place| place.is_directory);
        assert!(says("a/") && says("a/.") && says("a/b/..") && says("."));
        assert!(!says("a") && !says("a/b") && !says("a./b"));
    }
}
