//! Who a component is, and how its author builds it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use airssys_wasm_core::component::{ComponentId, Version};
use serde::{Deserialize, Serialize};

/// Who a component is: the section `package`.
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
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
    /// The licence that it comes under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<Licence>,
    /// Where its binary is, seen from the folder of this file.
    pub component: PathBuf,
}

/// An SPDX expression, `MIT OR Apache-2.0`: one line that is not empty. Which licences there are is not checked.
///
/// ```
/// use airssys_wasm::manifest::Licence;
///
/// assert!("MIT OR Apache-2.0".parse::<Licence>().is_ok());
/// assert_eq!(
///     " ".parse::<Licence>().unwrap_err().to_string(),
///     "a licence is one line with an SPDX expression, such as `MIT OR Apache-2.0`",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Licence(Box<str>);

impl Licence {
    /// The expression.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Licence {
    type Err = InvalidLicence;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim().is_empty() || text.contains(char::is_control) {
            return Err(InvalidLicence);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Licence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Licence {
    type Error = InvalidLicence;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Licence> for String {
    fn from(licence: Licence) -> Self {
        licence.0.into()
    }
}

/// A text that is not a [`Licence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidLicence;

impl fmt::Display for InvalidLicence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a licence is one line with an SPDX expression, such as `MIT OR Apache-2.0`")
    }
}

impl std::error::Error for InvalidLicence {}

/// How its author builds a component: the section `build`. The host never runs any of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Build {
    /// The command and its arguments, word by word; no shell is meant to read it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// What it is compiled for, as its compiler calls it: `wasm32-wasip2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}
