//! Whose signatures count, and what becomes of a component without one.

use std::fmt;

use airssys_wasm_core::capability::NamespacePattern;
use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use serde::{Deserialize, Serialize};

use super::{PublicKey, Signature, Statement};

/// What an operator says of signatures: the section `signatures` of the [file of rights](crate::rights).
///
/// ```
/// use airssys_wasm::rights::Rights;
/// use airssys_wasm::signature::SignaturePolicy;
///
/// let rights = Rights::parse(r#"
///     rights-version = 1
///
///     [signatures]
///     policy = "require"
///
///     [[signatures.keys]]
///     name = "the build server of acme"
///     key = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
///     ids = "acme/*"
///
///     [[signatures.except]]
///     ids = "local/*"
///     policy = "off"
/// "#)?;
/// assert_eq!(rights.signatures.policy_for(&"acme/counter".parse()?), SignaturePolicy::Require);
/// assert_eq!(rights.signatures.policy_for(&"local/trial".parse()?), SignaturePolicy::Off);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Signatures {
    /// What becomes of a component without a valid signature.
    pub policy: SignaturePolicy,
    /// Whose signatures count.
    pub keys: Vec<TrustedKey>,
    /// Components for which another policy holds; the first that matches counts.
    #[serde(rename = "except")]
    pub exemptions: Vec<Exemption>,
}

/// A key, and what it may sign.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TrustedKey {
    /// Whose it is, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The key.
    pub key: PublicKey,
    /// The components that it may sign; all of them, when this is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<NamespacePattern>,
}

/// Another policy for some components.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Exemption {
    /// For which.
    pub ids: NamespacePattern,
    /// What holds for them.
    pub policy: SignaturePolicy,
}

/// What becomes of a component without a valid signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignaturePolicy {
    /// It is not loaded.
    Require,
    /// It is loaded, and the log says so.
    Warn,
    /// Nobody looks for one.
    #[default]
    Off,
}

/// What is wrong with the signature of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// There is none.
    Unsigned,
    /// It is of a key that nobody trusts.
    UnknownKey(PublicKey),
    /// It is of a key that is trusted for other components.
    KeyOfOthers(PublicKey),
    /// The key has not signed this binary with this manifest.
    NotOfThis(PublicKey),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => f.write_str("it is not signed"),
            Self::UnknownKey(key) => {
                write!(f, "it is signed with {key}, which is not among the trusted keys")
            }
            Self::KeyOfOthers(key) => {
                write!(f, "it is signed with {key}, which is trusted for other components")
            }
            Self::NotOfThis(key) => {
                write!(f, "the signature of {key} is not of this binary with this manifest")
            }
        }
    }
}

impl Doubt {
    /// What helps.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::Unsigned => "ask its author for the signature, and put it beside the component",
            Self::UnknownKey(_) | Self::KeyOfOthers(_) => {
                "if the key is its author's, add it to `signatures.keys` of the file of rights"
            }
            Self::NotOfThis(_) => {
                "get binary, manifest and signature from one place: one of them was changed"
            }
        }
    }
}

impl Signatures {
    /// Everybody must be signed, by one of these keys.
    pub fn required(keys: impl IntoIterator<Item = TrustedKey>) -> Self {
        Self { policy: SignaturePolicy::Require, keys: keys.into_iter().collect(), exemptions: Vec::new() }
    }

    /// What holds for this component.
    pub fn policy_for(&self, id: &ComponentId) -> SignaturePolicy {
        let exemption = self.exemptions.iter().find(|exemption| exemption.ids.matches(id.as_str()));
        exemption.map_or(self.policy, |exemption| exemption.policy)
    }

    /// Whether a key that is trusted for this component has signed this statement.
    ///
    /// # Errors
    /// What is wrong.
    pub fn verify(
        &self,
        id: &ComponentId,
        statement: &Statement,
        signature: Option<&Signature>,
    ) -> std::result::Result<&TrustedKey, Doubt> {
        let signature = signature.ok_or(Doubt::Unsigned)?;
        let key = *signature.key();
        let mut known = self.keys.iter().filter(|trusted| trusted.key == key).peekable();
        if known.peek().is_none() {
            return Err(Doubt::UnknownKey(key));
        }
        let covers = |trusted: &&TrustedKey| trusted.ids.as_ref().is_none_or(|ids| ids.matches(id.as_str()));
        let trusted = known.find(covers).ok_or(Doubt::KeyOfOthers(key))?;
        if signature.is_of(statement) { Ok(trusted) } else { Err(Doubt::NotOfThis(key)) }
    }

    /// Decides whether the component may be loaded. What is only warned of is in the log.
    ///
    /// # Errors
    /// [`CapabilityDenied`](ErrorKind::CapabilityDenied) with the [`Doubt`], when a signature is required.
    pub fn check(
        &self,
        id: &ComponentId,
        statement: &Statement,
        signature: Option<&Signature>,
    ) -> Result<()> {
        let policy = self.policy_for(id);
        if policy == SignaturePolicy::Off {
            return Ok(());
        }
        let Err(doubt) = self.verify(id, statement, signature) else { return Ok(()) };
        if policy == SignaturePolicy::Warn {
            tracing::warn!(component = %id, "no valid signature: {doubt}");
            return Ok(());
        }
        Err(WasmError::new(ErrorKind::CapabilityDenied, "verify signature")
            .saying(format!("a signature is required: {doubt}"))
            .advising(doubt.next_step()))
    }
}
