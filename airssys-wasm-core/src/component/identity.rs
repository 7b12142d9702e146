//! Component ids, artifact digests and instance ids: three names that must not blur.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Version;

/// A component's logical name, `namespace/name`: what messages are sent to and grants are given to.
///
/// Each label is 1 to 64 of `a-z`, `0-9` and `-`, starts with a letter, and neither ends with `-` nor holds `--`.
/// Cloning copies a pointer.
///
/// ```
/// use airssys_wasm_core::component::ComponentId;
///
/// let id: ComponentId = "acme/counter".parse()?;
/// assert_eq!((id.namespace(), id.name()), ("acme", "counter"));
///
/// let refused = "Acme/counter".parse::<ComponentId>().unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "`Acme/counter` is not a component id: `A` is not allowed; write `namespace/name` in lower-case kebab-case",
/// );
/// # Ok::<(), airssys_wasm_core::component::InvalidComponentId>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct ComponentId(Arc<str>);

const MAX_LABEL: usize = 64;

impl ComponentId {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the slash.
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

impl FromStr for ComponentId {
    type Err = InvalidComponentId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason| InvalidComponentId { text: shown(text), reason };
        let Some((namespace, name)) = text.split_once('/') else {
            return Err(refuse("the `/` between namespace and name is missing".into()));
        };
        check_label(namespace, "namespace").map_err(refuse)?;
        check_label(name, "name").map_err(refuse)?;
        Ok(Self(text.into()))
    }
}

fn check_label(label: &str, what: &str) -> Result<(), String> {
    if let Some(stranger) = label.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(format!("`{}` is not allowed", stranger.escape_default()));
    }
    if label.is_empty() {
        return Err(format!("the {what} is empty"));
    }
    if label.len() > MAX_LABEL {
        return Err(format!("the {what} has {} characters of {MAX_LABEL} allowed", label.len()));
    }
    if !label.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(format!("the {what} does not start with a letter"));
    }
    if label.ends_with('-') || label.contains("--") {
        return Err(format!("the {what} has a `-` with nothing behind it"));
    }
    Ok(())
}

/// Text from outside, cut so that an error stays readable.
fn shown(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() <= SHOWN {
        return text.escape_debug().to_string();
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{}...", start.escape_debug())
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ComponentId({})", self.0)
    }
}

impl Borrow<str> for ComponentId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ComponentId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ComponentId {
    type Error = InvalidComponentId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ComponentId> for String {
    fn from(id: ComponentId) -> Self {
        id.as_str().to_owned()
    }
}

/// A text that is not a [`ComponentId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a component id: {reason}; write `namespace/name` in lower-case kebab-case")]
pub struct InvalidComponentId {
    text: String,
    reason: String,
}

/// The SHA-256 of a component's binary: what exactly runs, whatever it is called.
///
/// ```
/// use airssys_wasm_core::component::ArtifactDigest;
///
/// let digest = ArtifactDigest::from_bytes([0xab; 32]);
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// assert!("sha256:12".parse::<ArtifactDigest>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct ArtifactDigest([u8; 32]);

impl ArtifactDigest {
    /// Wraps a SHA-256 that was computed elsewhere: core computes none.
    pub const fn from_bytes(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ArtifactDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ArtifactDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArtifactDigest({self})")
    }
}

impl FromStr for ArtifactDigest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || InvalidDigest { text: shown(text) };
        let hex = text.strip_prefix("sha256:").ok_or_else(refuse)?;
        if hex.len() != 64 || !hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refuse());
        }
        let mut digest = [0; 32];
        for (position, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * position..2 * position + 2], 16).map_err(|_| refuse())?;
        }
        Ok(Self(digest))
    }
}

impl TryFrom<String> for ArtifactDigest {
    type Error = InvalidDigest;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ArtifactDigest> for String {
    fn from(digest: ArtifactDigest) -> Self {
        digest.to_string()
    }
}

/// A text that is not an [`ArtifactDigest`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an artifact digest: write `sha256:` and 64 lower-case hexadecimal digits")]
pub struct InvalidDigest {
    text: String,
}

/// One live instance, `acme/counter@1.4.0#7`; never reused by the host that made it.
///
/// Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct InstanceId(Arc<InstanceName>);

#[derive(PartialEq, Eq, Hash)]
struct InstanceName {
    component: ComponentId,
    version: Version,
    number: u64,
}

impl InstanceId {
    /// The instance with this number of this version of `component`.
    pub fn new(component: ComponentId, version: Version, number: u64) -> Self {
        Self(Arc::new(InstanceName { component, version, number }))
    }

    /// The component that it is an instance of.
    pub fn component(&self) -> &ComponentId {
        &self.0.component
    }

    /// The version that runs.
    pub fn version(&self) -> &Version {
        &self.0.version
    }

    /// Its number, unique within a host.
    pub fn number(&self) -> u64 {
        self.0.number
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}#{}", self.0.component, self.0.version, self.0.number)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceId({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_are_two_kebab_case_labels() {
        let longest = format!("{0}/{0}", "a".repeat(64));
        for accepted in ["a/b", "acme/counter", "a1-b2/c3-d4", longest.as_str()] {
            assert_eq!(accepted.parse::<ComponentId>().unwrap().as_str(), accepted);
        }
        let too_long = format!("a/{}", "b".repeat(65));
        for refused in [
            "",
            "/",
            "a",
            "a/",
            "/b",
            "a/b/c",
            "A/b",
            "a/B",
            "a b/c",
            "a/b ",
            "1a/b",
            "-a/b",
            "a-/b",
            "a--b/c",
            "a/..",
            "a/b\0",
            "a\\b",
            "ä/b",
            "a/*",
            "a_b/c",
            too_long.as_str(),
        ] {
            assert!(refused.parse::<ComponentId>().is_err(), "{refused:?} was accepted");
        }
    }

    #[test]
    fn a_refusal_shows_control_characters_escaped_and_long_text_cut() {
        let refused =
            format!("\u{1b}[31m{}", "x".repeat(500)).parse::<ComponentId>().unwrap_err().to_string();
        assert!(!refused.contains('\u{1b}') && refused.len() < 250, "{refused}");
    }

    #[test]
    fn instances_are_named_in_full() {
        let id = InstanceId::new("acme/counter".parse().unwrap(), "1.4.0".parse().unwrap(), 7);
        assert_eq!(id.to_string(), "acme/counter@1.4.0#7");
    }

    proptest! {
        #[test]
        fn whatever_parses_prints_as_it_was(text in "[a-z0-9/-]{0,12}") {
            if let Ok(id) = text.parse::<ComponentId>() {
                prop_assert_eq!(id.to_string(), text);
                prop_assert!(!id.namespace().is_empty() && !id.name().is_empty());
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = text.parse::<ComponentId>();
            let _ = text.parse::<ArtifactDigest>();
        }

        #[test]
        fn digests_round_trip(bytes in any::<[u8; 32]>()) {
            let digest = ArtifactDigest::from_bytes(bytes);
            prop_assert_eq!(digest.to_string().parse::<ArtifactDigest>(), Ok(digest));
        }
    }
}
