//! The lines of an audit trail, each of which seals the one before it.
//!
//! A line is a JSON object whose last two members are `previous` and `hash`. The hash is the SHA-256 of [`DOMAIN`] and of the bytes
//! of the line up to the member `hash`; `previous` is the hash of the line before, or zeros. So a changed byte breaks its own line, and a
//! line that is missing, doubled or moved breaks the one that follows it.

use std::fmt;
use std::str::FromStr;

use airssys_wasm_core::component::ComponentId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the hash of a line begins with, so that it is the hash of nothing else.
const DOMAIN: &[u8] = b"airssys-wasm audit trail, version 1\n";

/// What stands before the hash of a line.
const SEAL: &str = ",\"hash\":\"";
const HEX: usize = 64;

/// The longest line that is read. What is written is far shorter.
pub(super) const MAX_LINE: usize = 64 << 10;

/// The hash of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seal([u8; 32]);

impl Seal {
    /// What the first line of a trail follows.
    pub const NONE: Self = Self([0; 32]);
}

impl fmt::Display for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seal({self})")
    }
}

impl FromStr for Seal {
    type Err = String;

    /// 64 digits, in lower case.
    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || "the hash of a record is 64 hexadecimal digits in lower case".to_owned();
        if text.len() != HEX || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| refuse())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}

/// One record of a trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrailRecord {
    /// Its number, from 1; none is left out.
    pub number: u64,
    /// When, in RFC 3339.
    pub at: String,
    /// What happened.
    #[serde(flatten)]
    pub act: Act,
}

/// What a record tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Act {
    /// The trail was opened by a host.
    Opened {
        /// What was found behind the last whole line, in hexadecimal: the process that wrote before ended in the middle of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        torn: Option<String>,
    },
    /// The gate allowed something.
    Allowed(Decided),
    /// The gate denied something.
    Denied(Decided),
    /// A component was installed. What it was granted then follows.
    Installed {
        /// Which.
        component: ComponentId,
        /// Its version.
        version: String,
        /// Its binary.
        digest: String,
    },
    /// Something was granted.
    Granted {
        /// To whom.
        component: ComponentId,
        /// What.
        capability: String,
        /// When that ends; never, when there is no such moment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<String>,
    },
    /// A grant was taken back.
    Revoked {
        /// From whom.
        component: ComponentId,
        /// Which.
        capability: String,
    },
    /// A component came up, and takes messages.
    Started {
        /// Which.
        component: ComponentId,
    },
    /// An instance was ended in the middle of a call, or did not come up.
    Ended {
        /// Of which component.
        component: ComponentId,
        /// Which.
        instance: String,
        /// By what kind of error.
        kind: String,
        /// The detail of that, such as the kind of trap, or the limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// A component takes no more messages.
    Stopped {
        /// Which.
        component: ComponentId,
    },
    /// What came faster than it could be written, counted.
    Counted {
        /// How many.
        count: u64,
        /// Of what.
        what: Counted,
        /// Who asked; many, when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        component: Option<ComponentId>,
        /// The rule that decided; several, when there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// When the last of them was; the first is that of the record.
        until: String,
    },
    /// The trail was closed in order.
    Closed,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Counted {
    /// Decisions that allowed something.
    Allowed,
    /// Decisions that denied something.
    Denied,
    /// Anything else that happened to components.
    Happened,
}

impl Act {
    /// The name of the act, in kebab-case.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::Allowed(_) => "allowed",
            Self::Denied(_) => "denied",
            Self::Installed { .. } => "installed",
            Self::Granted { .. } => "granted",
            Self::Revoked { .. } => "revoked",
            Self::Started { .. } => "started",
            Self::Ended { .. } => "ended",
            Self::Stopped { .. } => "stopped",
            Self::Counted { .. } => "counted",
            Self::Closed => "closed",
        }
    }

    /// The component that it is about; none when it is about none, or about several.
    pub fn component(&self) -> Option<&ComponentId> {
        match self {
            Self::Allowed(decided) | Self::Denied(decided) => Some(&decided.component),
            Self::Installed { component, .. }
            | Self::Granted { component, .. }
            | Self::Revoked { component, .. }
            | Self::Started { component }
            | Self::Ended { component, .. }
            | Self::Stopped { component } => Some(component),
            Self::Counted { component, .. } => component.as_ref(),
            Self::Opened { .. } | Self::Closed => None,
        }
    }
}

/// A decision of the gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decided {
    /// Who asked.
    pub component: ComponentId,
    /// Which instance of it.
    pub instance: String,
    /// The binary that asked.
    pub digest: String,
    /// For what, as `kind:object`, escaped.
    pub access: String,
    /// The rule that decided.
    pub rule: String,
}

/// Appends the line of a record that follows `previous`, and returns its seal.
pub(super) fn append(line: &mut String, record: &TrailRecord, previous: Seal) -> serde_json::Result<Seal> {
    let start = line.len();
    let body = serde_json::to_string(record)?;
    // JSON escapes control characters; these two end a line for some who read it.
    let body = body.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    line.push_str(body.strip_suffix('}').unwrap_or(&body));
    line.push_str(&format!(",\"previous\":\"{previous}\""));
    let seal = seal_of(&line[start..]);
    line.push_str(&format!("{SEAL}{seal}\"}}\n"));
    Ok(seal)
}

fn seal_of(body: &str) -> Seal {
    Seal(Sha256::new().chain_update(DOMAIN).chain_update(body).finalize().into())
}

/// Reads a line without its end: the record, the seal it follows, and its own.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(line: &[u8]) -> Result<(TrailRecord, Seal, Seal), String> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(flatten)]
        record: TrailRecord,
        previous: String,
    }

    let line = std::str::from_utf8(line).map_err(|_| "it is not UTF-8")?;
    let cut = line.len().checked_sub(SEAL.len() + HEX + 2).filter(|cut| line.is_char_boundary(*cut));
    let (body, rest) = cut.map(|cut| line.split_at(cut)).ok_or("it is too short for a record")?;
    let seal = rest
        .strip_prefix(SEAL)
        .and_then(|rest| rest.strip_suffix("\"}"))
        .ok_or("it has no hash at its end")?;
    let seal: Seal = seal.parse()?;
    if seal_of(body) != seal {
        return Err("its content does not have the hash at its end: it was changed".to_owned());
    }
    let Line { record, previous } =
        serde_json::from_str(&format!("{body}}}")).map_err(|refused| refused.to_string())?;
    Ok((record, previous.parse()?, seal))
}
