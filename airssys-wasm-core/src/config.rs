//! The configuration of a host, as an operator writes it. An unknown key is an error.

use std::path::PathBuf;

#[cfg(feature = "serde")]
pub mod duration;

use crate::capability::Capability;
use crate::component::{ByteSize, ResourceLimits};
use crate::security::SecurityMode;
use crate::storage::Durability;

/// Everything about a host that can be written in a file.
///
/// ```
/// use airssys_wasm_core::config::HostConfig;
///
/// let config: HostConfig = toml::from_str(r#"
///     [runtime]
///     max-component-size = "8 MiB"
///     [runtime.limits]
///     memory = "32 MiB"
///     deadline = "250 ms"
///     [security]
///     mode = "strict"
///     forbidden = ["storage:bank/**"]
///     [storage]
///     backend = "redb"
///     path = "state.redb"
/// "#)?;
/// assert_eq!(config.runtime.limits.deadline.as_millis(), 250);
///
/// let refused = toml::from_str::<HostConfig>("[runtime]\nmax-size = 1").unwrap_err();
/// assert!(refused.message().starts_with("unknown field `max-size`, expected one of"));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields, rename_all = "kebab-case"))]
pub struct HostConfig {
    /// What runs components, and how much of it.
    pub runtime: RuntimeConfig,
    /// Who may do what.
    pub security: SecurityConfig,
    /// Where state lives.
    pub storage: StorageConfig,
}

/// What runs components, and how much of it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields, rename_all = "kebab-case"))]
pub struct RuntimeConfig {
    /// The largest component binary that is loaded at all.
    pub max_component_size: ByteSize,
    /// The most instances alive at a time.
    pub max_instances: u32,
    /// The most memory that all components that run may have together, by their limits. None: whatever their limits come to.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_memory: Option<ByteSize>,
    /// The stack of a guest. Calls nested deeper trap.
    pub max_stack: ByteSize,
    /// Where compiled code is kept between runs. None: nowhere.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub code_cache: Option<PathBuf>,
    /// The limits of a component that states none of its own.
    pub limits: ResourceLimits,
}

impl Default for RuntimeConfig {
    /// Components up to 64 MiB, 1,000 of them, a stack of 512 KiB, no cache.
    fn default() -> Self {
        Self {
            max_component_size: ByteSize::mib(64),
            max_instances: 1_000,
            max_memory: None,
            max_stack: ByteSize::kib(512),
            code_cache: None,
            limits: ResourceLimits::default(),
        }
    }
}

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields, rename_all = "kebab-case"))]
pub struct SecurityConfig {
    /// How strictly the gate decides where nothing was said.
    pub mode: SecurityMode,
    /// What no component may do, whatever it was granted.
    pub forbidden: Vec<Capability>,
}

/// Where state lives.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "backend", deny_unknown_fields, rename_all = "lowercase"))]
#[non_exhaustive]
pub enum StorageConfig {
    /// In the process: gone with it.
    #[default]
    #[cfg_attr(feature = "serde", serde(deserialize_with = "no_settings"))]
    Memory,
    /// In a redb file.
    Redb(OnDisk),
    /// In a folder of fjall's.
    Fjall(OnDisk),
    /// In a folder of sled's.
    Sled(OnDisk),
    /// In a folder of RocksDB's.
    RocksDb(OnDisk),
}

/// A store in memory has none; one that is given is an error.
#[cfg(feature = "serde")]
fn no_settings<'de, D: serde::Deserializer<'de>>(settings: D) -> Result<(), D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoSettings {}

    <NoSettings as serde::Deserialize>::deserialize(settings).map(|NoSettings {}| ())
}

impl StorageConfig {
    /// What the backend is called in a file.
    pub const fn backend(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redb(_) => "redb",
            Self::Fjall(_) => "fjall",
            Self::Sled(_) => "sled",
            Self::RocksDb(_) => "rocksdb",
        }
    }

    /// The settings of a store on disk.
    pub const fn on_disk(&self) -> Option<&OnDisk> {
        match self {
            Self::Memory => None,
            Self::Redb(settings) | Self::Fjall(settings) | Self::Sled(settings) | Self::RocksDb(settings) => {
                Some(settings)
            }
        }
    }
}

/// The settings that every store on disk has.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields, rename_all = "kebab-case"))]
pub struct OnDisk {
    /// The file or folder; created when it does not exist.
    pub path: PathBuf,
    /// Memory for cached pages.
    #[cfg_attr(feature = "serde", serde(default = "default_cache"))]
    pub cache: ByteSize,
    /// What a handler's writes survive when its answer is given.
    #[cfg_attr(feature = "serde", serde(default))]
    pub durability: Durability,
}

impl OnDisk {
    /// A store at `path`, all other settings as where nothing is said.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), cache: default_cache(), durability: Durability::default() }
    }
}

/// Memory for cached pages where nothing is said.
pub const fn default_cache() -> ByteSize {
    ByteSize::mib(64)
}
