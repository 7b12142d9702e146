//! `Component.toml`: what an author says of a component. What it asks for is not granted by saying so.

use std::path::{Path, PathBuf};

use airssys_wasm_core::capability::Capability;
use airssys_wasm_core::component::{ComponentConfig, ComponentId, ResourceLimits, Version};
use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use serde::{Deserialize, Serialize};

use crate::installation::{Installation, Source};

/// The file, version 1.
///
/// ```
/// use airssys_wasm::manifest::Manifest;
///
/// let manifest = Manifest::parse(r#"
///     manifest-version = 1
///
///     [package]
///     id = "acme/counter"
///     version = "1.4.0"
///     description = "Counts"
///     component = "counter.wasm"
///
///     [[capabilities]]
///     capability = "storage:acme/counter"
///     reason = "the count outlives the process"
///
///     [limits]
///     memory = "16 MiB"
/// "#)?;
/// assert_eq!(manifest.package.id.to_string(), "acme/counter");
///
/// let refused = Manifest::parse("manifest-version = 1\n[packages]").unwrap_err();
/// assert!(refused.to_string().contains("unknown field `packages`"));
/// # Ok::<(), airssys_wasm::WasmError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// Always 1.
    pub manifest_version: u32,
    /// Who it is.
    pub package: Package,
    /// What it asks for. An operator decides what it gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Wish>,
    /// Its configuration.
    #[serde(default)]
    pub config: ComponentConfig,
    /// Its limits; those of the host when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceLimits>,
}

/// Who a component is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Package {
    /// Its id.
    pub id: ComponentId,
    /// Its version.
    pub version: Version,
    /// A sentence about it.
    #[serde(default)]
    pub description: String,
    /// Where its binary is, seen from the folder of this file.
    pub component: PathBuf,
}

/// A capability that an author asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wish {
    /// What.
    pub capability: Capability,
    /// What for, in words for the operator.
    pub reason: String,
}

const VERSION: u32 = 1;

impl Manifest {
    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) with line and column, and what was expected there.
    pub fn parse(text: &str) -> Result<Self> {
        let fail = |message: String| {
            WasmError::new(ErrorKind::InvalidConfiguration, "read manifest").saying(message)
        };
        let manifest: Self =
            toml::from_str(text).map_err(|refused| fail(refused.to_string().trim_end().to_owned()))?;
        if manifest.manifest_version != VERSION {
            let message =
                format!("manifest-version is {}; this host reads {VERSION}", manifest.manifest_version);
            return Err(fail(message).advising("write `manifest-version = 1`, or use a newer host"));
        }
        Ok(manifest)
    }

    /// Reads a manifest file. The path of its binary is then seen from the folder of the file.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse); [`ErrorKind::Io`] when the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|cause| {
            WasmError::new(ErrorKind::Io, "read manifest")
                .saying("the file cannot be read")
                .with("path", path.display())
                .advising("check the path and its permissions")
                .because(cause)
        })?;
        let mut manifest = Self::parse(&text).map_err(|error| error.with("path", path.display()))?;
        if let Some(folder) = path.parent() {
            manifest.package.component = folder.join(&manifest.package.component);
        }
        Ok(manifest)
    }

    /// The installation that it describes, with nothing granted.
    pub fn installation(&self) -> Installation {
        let installation =
            Installation::new(self.package.id.clone(), Source::File(self.package.component.clone()))
                .version(self.package.version.clone())
                .config(self.config.clone());
        match &self.limits {
            Some(limits) => installation.limits(limits.clone()),
            None => installation,
        }
    }
}
