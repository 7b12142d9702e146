//! The kinds of stores on disk that this build has, and how each is opened.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use airssys_wasm::WasmError;
use airssys_wasm::core::config::{OnDisk, StorageConfig};
use airssys_wasm::core::error::{Detail, StorageFault};
use airssys_wasm::storage::{Maintenance, RedbOptions, RedbStore, Unfinished};

use crate::diagnostics::Problem;
use crate::suggestions::did_you_mean;

/// A kind of store.
pub(crate) struct StoreKind {
    pub(crate) name: &'static str,
    /// The configuration of a host that keeps its state in one.
    config: fn(OnDisk) -> StorageConfig,
    /// Opens the store at a path, or makes an empty one there.
    open: Open,
    /// Opens a store that `open` refuses as damaged, to look what can still be read; may change it.
    open_damaged: Option<Open>,
}

type Open = fn(&Path) -> Result<Box<dyn Maintenance>, WasmError>;

/// Every kind. This is the one list.
const KINDS: &[StoreKind] = &[
    StoreKind { name: "redb", config: StorageConfig::Redb, open: redb, open_damaged: Some(damaged_redb) },
    #[cfg(feature = "fjall")]
    StoreKind { name: "fjall", config: StorageConfig::Fjall, open: fjall, open_damaged: None },
    #[cfg(feature = "rocksdb")]
    StoreKind { name: "rocksdb", config: StorageConfig::RocksDb, open: rocksdb, open_damaged: None },
    #[cfg(feature = "sled")]
    StoreKind { name: "sled", config: StorageConfig::Sled, open: sled, open_damaged: None },
];

fn redb(path: &Path) -> Result<Box<dyn Maintenance>, WasmError> {
    Ok(Box::new(RedbStore::open(path, RedbOptions::default())?))
}

#[cfg(feature = "fjall")]
fn fjall(path: &Path) -> Result<Box<dyn Maintenance>, WasmError> {
    use airssys_wasm::storage::{FjallOptions, FjallStore};

    Ok(Box::new(FjallStore::open(path, FjallOptions::default())?))
}

#[cfg(feature = "rocksdb")]
fn rocksdb(path: &Path) -> Result<Box<dyn Maintenance>, WasmError> {
    use airssys_wasm::storage::{RocksDbOptions, RocksDbStore};

    Ok(Box::new(RocksDbStore::open(path, RocksDbOptions::default())?))
}

#[cfg(feature = "sled")]
fn sled(path: &Path) -> Result<Box<dyn Maintenance>, WasmError> {
    use airssys_wasm::storage::{SledOptions, SledStore};

    Ok(Box::new(SledStore::open(path, SledOptions::default())?))
}

fn damaged_redb(path: &Path) -> Result<Box<dyn Maintenance>, WasmError> {
    let options = RedbOptions { check_on_open: false, ..RedbOptions::default() };
    Ok(Box::new(RedbStore::open(path, options)?))
}

/// The kind that is meant when none is said.
pub(crate) const DEFAULT: &str = "redb";

/// The names of all kinds.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// The kind of that name.
pub(crate) fn kind(name: &str) -> Result<&'static StoreKind, String> {
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let near = did_you_mean(name, names());
        let known = names().collect::<Vec<_>>().join(", ");
        format!("the kind of store `{}` is not in this build, which has: {known}{near}", name.escape_debug())
    })
}

impl fmt::Debug for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A store: `KIND:PATH`.
#[derive(Clone, Debug)]
pub(crate) struct StoreAt {
    pub(crate) kind: &'static StoreKind,
    pub(crate) path: PathBuf,
}

impl FromStr for StoreAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, path) = text.split_once(':').unwrap_or((text, ""));
        let kind = kind(name)?;
        if path.is_empty() {
            return Err(format!("no path follows; write `{name}:PATH`"));
        }
        Ok(Self { kind, path: path.into() })
    }
}

/// Where a host keeps its state: `memory` or `KIND:PATH`.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Memory,
    At(StoreAt),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("memory", _)) => Err("nothing follows `memory`".to_owned()),
            None if kind(text).is_err() => Err(format!(
                "write `memory`, or `KIND:PATH` with one of these kinds: {}{}",
                names().collect::<Vec<_>>().join(", "),
                did_you_mean(text, names().chain(["memory"]))
            )),
            _ => text.parse().map(Self::At),
        }
    }
}

impl Place {
    /// The configuration that keeps state there; settings beside the place are those of `before`.
    pub(crate) fn config(self, before: &StorageConfig) -> StorageConfig {
        match self {
            Self::Memory => StorageConfig::Memory,
            Self::At(StoreAt { kind, path }) => {
                let settings = before.on_disk().cloned().unwrap_or_else(|| OnDisk::at(""));
                (kind.config)(OnDisk { path, ..settings })
            }
        }
    }
}

/// A store to be judged: `memory` or a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Judged {
    Memory,
    OnDisk(&'static StoreKind),
}

impl Judged {
    /// All of this build.
    pub(crate) fn all() -> Vec<Self> {
        std::iter::once(Self::Memory).chain(KINDS.iter().map(Self::OnDisk)).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::OnDisk(kind) => kind.name,
        }
    }
}

impl FromStr for Judged {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "memory" { Ok(Self::Memory) } else { kind(text).map(Self::OnDisk) }
    }
}

impl StoreKind {
    /// Opens the store at `path`, or makes an empty one there.
    pub(crate) fn open_or_make(&self, path: &Path) -> Result<Box<dyn Maintenance>, WasmError> {
        (self.open)(path)
    }
}

impl StoreAt {
    /// Opens a store that is there.
    pub(crate) fn open(&self) -> Result<Box<dyn Maintenance>, Problem> {
        self.check_there()?;
        Ok((self.kind.open)(&self.path)?)
    }

    /// Opens a store that is there, to be verified: where it is damaged, a copy of it, as far as that can be read.
    pub(crate) fn examine(&self) -> Result<Examined, Problem> {
        self.check_there()?;
        let damage = match (self.kind.open)(&self.path) {
            Ok(store) => return Ok(Examined { store, copy: None, damage: None }),
            Err(damage) if damage.detail() == Some(Detail::Storage(StorageFault::Damaged)) => damage,
            Err(refused) => return Err(refused.into()),
        };
        let Some(open) = self.kind.open_damaged.filter(|_| self.path.is_file()) else {
            return Err(damage.into());
        };
        let mut name = self.path.as_os_str().to_owned();
        name.push(".copy");
        let copied = Unfinished::beside(name).ok().filter(|copy| fs::copy(&self.path, copy.path()).is_ok());
        match copied.map(|copy| open(copy.path()).map(|store| (store, copy))) {
            Some(Ok((store, copy))) => Ok(Examined { store, copy: Some(copy), damage: Some(damage) }),
            // The damage is the news, not that no more than that can be told.
            Some(Err(_)) | None => Err(damage.into()),
        }
    }

    fn check_there(&self) -> Result<(), Problem> {
        if self.path.exists() {
            return Ok(());
        }
        Err(Problem::usage(format!("there is no store at `{}`", self.path.display()))
            .advising("check the path and its permissions"))
    }

    /// Makes an empty store at `path`, in place of the path of this one.
    pub(crate) fn make_at(&self, path: &Path) -> Result<Box<dyn Maintenance>, Problem> {
        Ok((self.kind.open)(path)?)
    }
}

/// A store that is verified.
#[derive(Debug)]
pub(crate) struct Examined {
    pub(crate) store: Box<dyn Maintenance>,
    /// What was opened in its place; removed with this.
    pub(crate) copy: Option<Unfinished>,
    /// What opening said of the store itself.
    pub(crate) damage: Option<WasmError>,
}

impl fmt::Display for StoreAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name, self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use airssys_wasm::core::component::ByteSize;

    use super::*;

    #[test]
    fn a_store_has_a_kind_and_a_path() {
        let at: StoreAt = "redb:C:/a".parse().unwrap();
        assert_eq!(
            (at.kind.name, at.path.as_path(), at.to_string()),
            ("redb", Path::new("C:/a"), "redb:C:/a".to_owned())
        );
        for (text, refused) in [
            ("rebd:a", "did you mean `redb`?"),
            ("a.redb", "the kind of store `a.redb` is not in this build, which has: redb"),
            ("redb", "write `redb:PATH`"),
            ("redb:", "write `redb:PATH`"),
        ] {
            let said = text.parse::<StoreAt>().unwrap_err();
            assert!(said.contains(refused), "{said}");
        }
    }

    #[test]
    fn a_place_is_memory_or_a_store() {
        let before = StorageConfig::Fjall(OnDisk { cache: ByteSize::mib(3), ..OnDisk::at("old") });
        let place = |text: &str| text.parse::<Place>().map(|place| place.config(&before));
        assert_eq!(place("memory"), Ok(StorageConfig::Memory));
        let expected = OnDisk { cache: ByteSize::mib(3), ..OnDisk::at("C:/a") };
        assert_eq!(place("redb:C:/a"), Ok(StorageConfig::Redb(expected)));
        for (text, refused) in [
            ("memory:", "nothing follows `memory`"),
            ("memori", "did you mean `memory`?"),
            ("a.redb", "write `memory`, or `KIND:PATH` with one of these kinds: redb"),
            ("rebd:a", "did you mean `redb`?"),
            ("redb", "write `redb:PATH`"),
            ("redb:", "write `redb:PATH`"),
            ("", "write `memory`, or `KIND:PATH`"),
        ] {
            let said = place(text).unwrap_err();
            assert!(said.contains(refused), "{text:?}: {said}");
        }
    }

    #[test]
    fn the_default_is_one_of_the_kinds() {
        assert!(kind(DEFAULT).is_ok());
    }
}
