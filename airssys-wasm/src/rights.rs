//! The operator's file: who was looked at, and what every one may do.
//!
//! What an author asks for is in the manifest of a component; what an operator grants is here, and this file wins. A component
//! that nobody has looked at waits for review, and so does one whose binary has changed since, or whose manifest
//! asks for something new: an upgrade keeps no rights that nobody granted.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use airssys_wasm_core::capability::Capability;
use airssys_wasm_core::component::{ArtifactDigest, ComponentId, ResourceLimits};
use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use airssys_wasm_core::security::TrustLevel;
use serde::{Deserialize, Serialize};
use toml_edit::DocumentMut;

use crate::installation::Installation;
use crate::manifest::Wish;
use crate::signature::Signatures;

pub mod moment;

const VERSION: u32 = 1;

/// The file, version 1.
///
/// ```
/// use airssys_wasm::rights::Rights;
///
/// let rights = Rights::parse(r#"
///     rights-version = 1
///
///     [components."acme/counter"]
///     digest = "sha256:cd5d4935a48c0672cb06407bb443bc0087aff947c6b864bac886982c73b3027f"
///     declined = ["network-outbound:telemetry.example.com:443"]
///
///     [[components."acme/counter".grants]]
///     capability = "storage:acme/counter"
///
///     [[components."acme/counter".grants]]
///     capability = "messaging:acme/greeter"
///     until = "2027-01-31T12:00:00Z"
/// "#)?;
/// assert_eq!(rights.components.len(), 1);
///
/// let refused = Rights::parse("rights-version = 1\n[components.\"acme/counter\"]\ngrant = []").unwrap_err();
/// assert!(refused.to_string().contains("unknown field `grant`"));
/// # Ok::<(), airssys_wasm::WasmError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rights {
    /// Always 1.
    pub rights_version: u32,
    /// What was decided, by component.
    #[serde(default)]
    pub components: BTreeMap<ComponentId, Decision>,
    /// Whose signatures count, and who must have one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub signatures: Signatures,
}

/// What an operator decided about a component.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Decision {
    /// The binary that was looked at; any, when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<ArtifactDigest>,
    /// How much its source is trusted. What a trusted one asks for in its manifest is granted without a review.
    #[serde(skip_serializing_if = "is_unknown")]
    pub trust: TrustLevel,
    /// Why it may not run at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<String>,
    /// What it asks for, and does not get.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub declined: Vec<Capability>,
    /// Limits in place of those in its manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceLimits>,
    /// What it may do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Granted>,
}

/// A capability that was granted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Granted {
    /// What.
    pub capability: Capability,
    /// When it ends, by the wall clock; never, when there is no such moment.
    #[serde(default, with = "moment", skip_serializing_if = "Option::is_none")]
    pub until: Option<SystemTime>,
}

/// Why a component may not run yet, or at all.
#[derive(Clone, Debug, PartialEq)]
pub enum Review {
    /// Nobody has looked at it.
    Undecided,
    /// Another binary was looked at.
    OtherBinary {
        /// The one that was approved.
        approved: ArtifactDigest,
    },
    /// It asks for what nobody has granted or declined.
    AsksForMore(Vec<Capability>),
    /// It was denied.
    Denied {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Review {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecided => f.write_str("it waits for review: nobody has looked at it"),
            Self::OtherBinary { approved } => {
                write!(f, "it waits for review: the binary is not the one that was approved, {approved}")
            }
            Self::AsksForMore(capabilities) => {
                f.write_str("it waits for review: it asks for ")?;
                for (position, capability) in capabilities.iter().enumerate() {
                    write!(f, "{}`{capability}`", if position == 0 { "" } else { ", " })?;
                }
                f.write_str(", which nobody has granted or declined")
            }
            Self::Denied { reason } => write!(f, "it was denied: {}", reason.escape_debug()),
        }
    }
}

impl Rights {
    /// A file in which nothing was decided.
    pub fn new() -> Self {
        Self { rights_version: VERSION, components: BTreeMap::new(), signatures: Signatures::default() }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) with line and column, and what was expected there.
    pub fn parse(text: &str) -> Result<Self> {
        let rights: Self = toml::from_str(text).map_err(|refused| invalid(refused.to_string().trim_end()))?;
        if rights.rights_version != VERSION {
            let message = format!("rights-version is {}; this host reads {VERSION}", rights.rights_version);
            return Err(invalid(message).advising("write `rights-version = 1`, or use a newer host"));
        }
        Ok(rights)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse); [`ErrorKind::Io`] when the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|cause| unreadable(path, cause))?;
        Self::parse(&text).map_err(|error| error.with("path", path.display()))
    }

    /// What this component gets, with a binary of this digest and these wishes in its manifest.
    ///
    /// # Errors
    /// Why it may not run.
    pub fn admit(
        &self,
        id: &ComponentId,
        digest: &ArtifactDigest,
        wishes: &[Wish],
    ) -> Result<Decision, Review> {
        let decision = self.components.get(id).ok_or(Review::Undecided)?;
        if let Some(reason) = &decision.denied {
            return Err(Review::Denied { reason: reason.clone() });
        }
        let mut decision = decision.clone();
        // Its own work in progress changes all the while.
        if decision.trust == TrustLevel::Development {
            return Ok(decision);
        }
        if let Some(approved) = decision.digest.filter(|approved| approved != digest) {
            return Err(Review::OtherBinary { approved });
        }
        let open = wishes.iter().map(|wish| wish.capability.clone()).filter(|wish| !decision.knows(wish));
        let open: Vec<_> = open.collect();
        match decision.trust {
            TrustLevel::Trusted => {
                decision
                    .grants
                    .extend(open.into_iter().map(|capability| Granted { capability, until: None }));
            }
            _ if open.is_empty() => {}
            _ => return Err(Review::AsksForMore(open)),
        }
        Ok(decision)
    }
}

impl Default for Rights {
    fn default() -> Self {
        Self::new()
    }
}

impl Decision {
    /// Whether this was granted or declined.
    fn knows(&self, wish: &Capability) -> bool {
        self.declined.contains(wish) || self.grants.iter().any(|granted| granted.capability == *wish)
    }

    /// Grants this, until then; whatever was said of it before is forgotten.
    pub fn grant(&mut self, capability: Capability, until: Option<SystemTime>) {
        self.forget(&capability);
        self.grants.push(Granted { capability, until });
    }

    /// Declines this; whatever was said of it before is forgotten.
    pub fn decline(&mut self, capability: Capability) {
        self.forget(&capability);
        self.declined.push(capability);
    }

    /// Forgets what was said of this; false when nothing was.
    pub fn forget(&mut self, capability: &Capability) -> bool {
        let before = self.grants.len() + self.declined.len();
        self.grants.retain(|granted| granted.capability != *capability);
        self.declined.retain(|declined| declined != capability);
        before != self.grants.len() + self.declined.len()
    }

    /// The installation with what was decided, in place of what it was granted before.
    #[must_use]
    pub fn apply(&self, mut installation: Installation) -> Installation {
        installation = installation.trust(self.trust);
        if let (Some(digest), false) = (self.digest, self.trust == TrustLevel::Development) {
            installation = installation.digest(digest);
        }
        for Granted { capability, until } in &self.grants {
            installation = match until {
                None => installation.grant(capability.clone()),
                Some(until) => installation.grant_until(capability.clone(), *until),
            };
        }
        match &self.limits {
            Some(limits) => installation.limits(limits.clone()),
            None => installation,
        }
    }
}

/// Changes what is decided about one component in a file, and leaves everything else in it as it is, comments included. A file
/// that is not there yet is made. It is replaced as a whole, so that nobody ever reads half of it.
///
/// # Errors
/// Those of [`Rights::read`]; [`ErrorKind::Io`] when the file cannot be written, and whatever `change` refuses. Then the
/// file is as it was.
pub fn change<E: From<WasmError>>(
    path: &Path,
    id: &ComponentId,
    change: impl FnOnce(&mut Decision) -> Result<(), E>,
) -> Result<Decision, E> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => format!("rights-version = {VERSION}\n"),
        Err(cause) => return Err(unreadable(path, cause).into()),
    };
    let rights = Rights::parse(&text).map_err(|error| error.with("path", path.display()))?;
    let mut decision = rights.components.get(id).cloned().unwrap_or_default();
    change(&mut decision)?;
    let text = rewritten(&text, id, &decision).map_err(|error| error.with("path", path.display()))?;
    replace(path, &text).map_err(|cause| {
        WasmError::new(ErrorKind::Io, "write rights")
            .saying("the file cannot be written")
            .with("path", path.display())
            .advising("check the permissions of its folder")
            .because(cause)
    })?;
    Ok(decision)
}

/// The text with another decision about this component.
fn rewritten(text: &str, id: &ComponentId, decision: &Decision) -> Result<String> {
    let failed = |message: String| WasmError::new(ErrorKind::Internal, "write rights").saying(message);
    let mut document: DocumentMut =
        text.parse().map_err(|refused: toml_edit::TomlError| invalid(refused.to_string().trim_end()))?;
    let none = || {
        let mut table = toml_edit::Table::new();
        table.set_implicit(true);
        toml_edit::Item::Table(table)
    };
    let Some(components) = document.entry("components").or_insert_with(none).as_table_like_mut() else {
        return Err(invalid("`components` is no table"));
    };
    // By way of text, so that lists of tables are written as people write them.
    let table = toml::to_string(decision).map_err(|refused| failed(refused.to_string()))?;
    let table: DocumentMut =
        table.parse().map_err(|refused: toml_edit::TomlError| failed(refused.to_string()))?;
    components.insert(id.as_str(), toml_edit::Item::Table(table.into_table()));
    let text = document.to_string();
    let read = Rights::parse(&text)?;
    if read.components.get(id) != Some(decision) {
        return Err(failed("what was written is not what was decided".to_owned()));
    }
    Ok(text)
}

/// Writes a file beside it, and gives that its name.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    drop(file);
    fs::rename(&new, path)
}

fn is_default(signatures: &Signatures) -> bool {
    *signatures == Signatures::default()
}

fn is_unknown(trust: &TrustLevel) -> bool {
    *trust == TrustLevel::Unknown
}

fn invalid(message: impl Into<Box<str>>) -> WasmError {
    WasmError::new(ErrorKind::InvalidConfiguration, "read rights").saying(message)
}

fn unreadable(path: &Path, cause: io::Error) -> WasmError {
    WasmError::new(ErrorKind::Io, "read rights")
        .saying("the file cannot be read")
        .with("path", path.display())
        .advising("check the path and its permissions; `airssys-wasm grants approve` makes one")
        .because(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTER: &str = "acme/counter";

    fn digest(byte: u8) -> ArtifactDigest {
        ArtifactDigest::from_bytes([byte; 32])
    }

    fn wishes(texts: &[&str]) -> Vec<Wish> {
        texts
            .iter()
            .map(|text| Wish { capability: text.parse().unwrap(), reason: "needed".to_owned() })
            .collect()
    }

    fn rights(decision: Decision) -> Rights {
        Rights { components: BTreeMap::from([(COUNTER.parse().unwrap(), decision)]), ..Rights::new() }
    }

    fn admit(rights: &Rights, digest: &ArtifactDigest, asks: &[&str]) -> Result<Vec<String>, Review> {
        let decision = rights.admit(&COUNTER.parse().unwrap(), digest, &wishes(asks))?;
        Ok(decision.grants.iter().map(|granted| granted.capability.to_string()).collect())
    }

    #[test]
    fn nobody_runs_who_was_not_looked_at() {
        assert_eq!(admit(&Rights::new(), &digest(1), &[]), Err(Review::Undecided));
        let mut decision = Decision { digest: Some(digest(1)), ..Decision::default() };
        decision.grant("storage:acme/counter".parse().unwrap(), None);
        decision.decline("messaging:**".parse().unwrap());
        let approved = rights(decision.clone());
        let known = ["storage:acme/counter", "messaging:**"];
        assert_eq!(admit(&approved, &digest(1), &known), Ok(vec!["storage:acme/counter".to_owned()]));
        assert_eq!(
            admit(&approved, &digest(2), &known),
            Err(Review::OtherBinary { approved: digest(1) }),
            "an upgrade keeps no rights"
        );
        let more = vec!["storage:acme/other".parse().unwrap()];
        assert_eq!(
            admit(&approved, &digest(1), &["storage:acme/counter", "storage:acme/other"]),
            Err(Review::AsksForMore(more))
        );
        let denied = rights(Decision { denied: Some("it phones home".to_owned()), ..decision });
        let review = admit(&denied, &digest(1), &known).unwrap_err();
        assert_eq!(review.to_string(), "it was denied: it phones home");
    }

    #[test]
    fn trust_spares_the_review() {
        let trusted = |trust| rights(Decision { trust, digest: Some(digest(1)), ..Decision::default() });
        let asks = ["storage:acme/counter"];
        assert_eq!(
            admit(&trusted(TrustLevel::Trusted), &digest(1), &asks),
            Ok(vec!["storage:acme/counter".to_owned()])
        );
        let other = admit(&trusted(TrustLevel::Trusted), &digest(2), &asks);
        assert_eq!(other, Err(Review::OtherBinary { approved: digest(1) }));
        assert_eq!(admit(&trusted(TrustLevel::Development), &digest(2), &asks), Ok(Vec::new()));
        let mut declined = Decision { trust: TrustLevel::Trusted, ..Decision::default() };
        declined.decline(asks[0].parse().unwrap());
        assert_eq!(admit(&rights(declined), &digest(1), &asks), Ok(Vec::new()), "what was declined stays so");
    }

    #[test]
    fn a_change_leaves_the_rest_of_the_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rights.toml");
        let id: ComponentId = COUNTER.parse().unwrap();
        let until = moment::parse("2027-01-31T12:00:00Z").unwrap();
        let grant = |decision: &mut Decision| -> Result<()> {
            decision.grant("storage:acme/counter".parse().unwrap(), Some(until));
            Ok(())
        };
        change(&path, &id, grant).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let commented = text.replace("rights-version", "# ours\nrights-version")
            + "\n# theirs\n[components.\"acme/other\"]\ndenied = \"no\" # why not\n";
        fs::write(&path, &commented).unwrap();
        let decline = |decision: &mut Decision| -> Result<()> {
            decision.decline("messaging:**".parse().unwrap());
            Ok(())
        };
        let decision = change(&path, &id, decline).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        for kept in ["# ours", "# theirs", "denied = \"no\" # why not", "until = \"2027-01-31T12:00:00Z\""] {
            assert!(text.contains(kept), "`{kept}` is lost:\n{text}");
        }
        let read = Rights::read(&path).unwrap();
        assert_eq!((read.components.len(), &read.components[&id]), (2, &decision));
        let refused = change(&path, &id, |_| Err::<(), _>(WasmError::new(ErrorKind::Internal, "test")));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Internal);
        fs::write(&path, "rights-version = 2").unwrap();
        let refused = change(&path, &id, |_| Ok::<_, WasmError>(())).unwrap_err();
        assert!(refused.to_string().contains("this host reads 1"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "rights-version = 2", "what cannot be read is kept");
    }
}
