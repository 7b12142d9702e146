//! What a component may do: grants written as a kind and a pattern, and the check of one access against them.
//!
//! A [`Capability`] is what somebody granted, an [`Access`] is what a component asks for at one moment, and a
//! [`CapabilitySet`] answers whether the first covers the second. Everything else is a pattern.
//!
//! ```
//! use airssys_wasm_core::capability::{Access, CapabilitySet};
//!
//! let mut granted = CapabilitySet::new();
//! granted.grant("network-outbound:*.example.com:443".parse()?);
//!
//! assert!(granted.matches(&Access::NetworkOutbound { host: "api.example.com", port: 443 }).is_some());
//! assert!(granted.matches(&Access::NetworkOutbound { host: "evil-example.com", port: 443 }).is_none());
//! # Ok::<(), airssys_wasm_core::capability::InvalidCapability>(())
//! ```
//!
//! The rules that hold for every pattern:
//! - A pattern is parsed once and matched without allocating, in time bounded by the product of both lengths.
//! - An object that is not well-formed matches nothing; nothing is normalised on the way. See
//!   [`Access::is_well_formed`].
//! - `*` and `**` are wildcards in patterns only; in an object they are data.
//! - The check compares names. It opens no file and resolves no host, so symbolic and hard links, renames,
//!   device names and changing DNS answers are for the code that performs the access: it opens files beneath
//!   a directory handle, and connects to the very address that it checked.

mod access;
mod custom;
mod domain;
mod escape;
mod index;
mod invalid;
mod namespace;
mod path;
mod set;
mod topic;
mod wildcard;

use std::{fmt, str::FromStr};

pub use self::access::{Access, AccessObject};
pub use self::custom::CustomCapability;
pub use self::domain::DomainPattern;
pub use self::index::CapabilityIndex;
pub use self::invalid::{
    CapabilityProblem, InvalidCapability, InvalidPattern, PatternProblem, PatternSubject,
    UnknownCapabilityKind,
};
pub use self::namespace::NamespacePattern;
pub use self::path::PathPattern;
pub use self::set::{CapabilitySet, IntoIter, Iter};
pub use self::topic::{Topic, TopicPattern};

/// Gives a type with `FromStr` and `Display` the same door for owned strings; serde goes through it.
macro_rules! text_door {
    ($type:ty, $error:ty) => {
        impl TryFrom<String> for $type {
            type Error = $error;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    };
}
use text_door;

/// A permission: a kind and the pattern of the objects it covers.
///
/// The text form is `kind:pattern`; command lines, manifests and denials use it.
///
/// ```
/// use airssys_wasm_core::capability::{Access, Capability};
///
/// let capability: Capability = "storage:acme/*".parse()?;
/// assert!(capability.allows(&Access::Storage { namespace: "acme/counter" }));
/// assert_eq!(capability.to_string(), "storage:acme/*");
///
/// let refused = "storage:acme//counter".parse::<Capability>().unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "the capability `storage:acme//counter` is refused: the namespace pattern `acme//counter` has an \
///      empty segment; put exactly one `/` between two segments and none at the ends",
/// );
/// # Ok::<(), airssys_wasm_core::capability::InvalidCapability>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub enum Capability {
    /// Reading files and listing directories.
    FileRead(PathPattern),
    /// Creating, changing and removing files and directories.
    FileWrite(PathPattern),
    /// Connecting to a host and port.
    NetworkOutbound(DomainPattern),
    /// Listening on a local address and port.
    NetworkInbound(DomainPattern),
    /// Using a storage namespace.
    Storage(NamespacePattern),
    /// Starting a program.
    ProcessSpawn(PathPattern),
    /// Sending to a component or a topic.
    Messaging(TopicPattern),
    /// Something that the embedder added to the host.
    Custom(CustomCapability),
}

impl Capability {
    /// The kind, without the pattern.
    pub fn kind(&self) -> CapabilityKind {
        match self {
            Self::FileRead(_) => CapabilityKind::FileRead,
            Self::FileWrite(_) => CapabilityKind::FileWrite,
            Self::NetworkOutbound(_) => CapabilityKind::NetworkOutbound,
            Self::NetworkInbound(_) => CapabilityKind::NetworkInbound,
            Self::Storage(_) => CapabilityKind::Storage,
            Self::ProcessSpawn(_) => CapabilityKind::ProcessSpawn,
            Self::Messaging(_) => CapabilityKind::Messaging,
            Self::Custom(_) => CapabilityKind::Custom,
        }
    }

    /// Whether this permission alone covers `access`.
    ///
    /// An access of another kind is never covered: permission to write a file is no permission to read it.
    pub fn allows(&self, access: &Access<'_>) -> bool {
        match (self, *access) {
            (Self::FileRead(pattern), Access::FileRead { path })
            | (Self::FileWrite(pattern), Access::FileWrite { path })
            | (Self::ProcessSpawn(pattern), Access::ProcessSpawn { program: path }) => pattern.matches(path),
            (Self::NetworkOutbound(pattern), Access::NetworkOutbound { host, port })
            | (Self::NetworkInbound(pattern), Access::NetworkInbound { host, port }) => {
                pattern.matches(host, port)
            }
            (Self::Storage(pattern), Access::Storage { namespace }) => pattern.matches(namespace),
            (Self::Messaging(pattern), Access::Messaging { address }) => pattern.matches(address),
            (Self::Custom(custom), Access::Custom { name, object }) => custom.matches(name, object),
            _ => false,
        }
    }

    fn pattern(&self) -> &dyn fmt::Display {
        match self {
            Self::FileRead(pattern) | Self::FileWrite(pattern) | Self::ProcessSpawn(pattern) => pattern,
            Self::NetworkOutbound(pattern) | Self::NetworkInbound(pattern) => pattern,
            Self::Storage(pattern) => pattern,
            Self::Messaging(pattern) => pattern,
            Self::Custom(custom) => custom,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.pattern())
    }
}

impl FromStr for Capability {
    type Err = InvalidCapability;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |problem| InvalidCapability::new(text, problem);
        let Some((kind, pattern)) = text.split_once(':') else {
            return Err(refuse(CapabilityProblem::MissingPattern));
        };
        let kind = kind.parse().map_err(|_| refuse(CapabilityProblem::UnknownKind))?;
        let capability = match kind {
            CapabilityKind::FileRead => pattern.parse().map(Self::FileRead),
            CapabilityKind::FileWrite => pattern.parse().map(Self::FileWrite),
            CapabilityKind::NetworkOutbound => pattern.parse().map(Self::NetworkOutbound),
            CapabilityKind::NetworkInbound => pattern.parse().map(Self::NetworkInbound),
            CapabilityKind::Storage => pattern.parse().map(Self::Storage),
            CapabilityKind::ProcessSpawn => pattern.parse().map(Self::ProcessSpawn),
            CapabilityKind::Messaging => pattern.parse().map(Self::Messaging),
            CapabilityKind::Custom => pattern.parse().map(Self::Custom),
        };
        capability.map_err(|cause| refuse(CapabilityProblem::Pattern(cause)))
    }
}

text_door!(Capability, InvalidCapability);

/// The kinds of permission there are.
///
/// ```
/// use airssys_wasm_core::capability::CapabilityKind;
///
/// assert_eq!("file-read".parse(), Ok(CapabilityKind::FileRead));
/// assert!("FileRead".parse::<CapabilityKind>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
#[non_exhaustive]
pub enum CapabilityKind {
    /// `file-read`
    FileRead,
    /// `file-write`
    FileWrite,
    /// `network-outbound`
    NetworkOutbound,
    /// `network-inbound`
    NetworkInbound,
    /// `storage`
    Storage,
    /// `process-spawn`
    ProcessSpawn,
    /// `messaging`
    Messaging,
    /// `custom`
    Custom,
}

impl CapabilityKind {
    /// Every kind, in declaration order.
    pub const ALL: [Self; 8] = [
        Self::FileRead,
        Self::FileWrite,
        Self::NetworkOutbound,
        Self::NetworkInbound,
        Self::Storage,
        Self::ProcessSpawn,
        Self::Messaging,
        Self::Custom,
    ];

    /// The kebab-case name, as in the text form of a capability.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FileRead => "file-read",
            Self::FileWrite => "file-write",
            Self::NetworkOutbound => "network-outbound",
            Self::NetworkInbound => "network-inbound",
            Self::Storage => "storage",
            Self::ProcessSpawn => "process-spawn",
            Self::Messaging => "messaging",
            Self::Custom => "custom",
        }
    }
}

impl fmt::Display for CapabilityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for CapabilityKind {
    type Err = UnknownCapabilityKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownCapabilityKind::new(text))
    }
}

text_door!(CapabilityKind, UnknownCapabilityKind);

#[cfg(test)]
mod tests {
    use super::*;

    /// One grant of each kind and an access that it covers; index by index.
    const PAIRS: [(&str, Access<'static>); 8] = [
        ("file-read:/data/**", Access::FileRead { path: "/data/a/b" }),
        ("file-write:/data/*.txt", Access::FileWrite { path: "/data/a.txt" }),
        ("network-outbound:*.example.com:443", Access::NetworkOutbound { host: "a.example.com", port: 443 }),
        ("network-inbound:[::1]:*", Access::NetworkInbound { host: "::1", port: 8080 }),
        ("storage:acme/counter", Access::Storage { namespace: "acme/counter" }),
        ("process-spawn:/usr/bin/*", Access::ProcessSpawn { program: "/usr/bin/env" }),
        ("messaging:acme/greeter", Access::Messaging { address: "acme/greeter" }),
        ("custom:acme:geo/lookup", Access::Custom { name: "acme:geo", object: "lookup" }),
    ];

    #[test]
    fn each_kind_allows_its_own_access_and_no_other() {
        for (row, (text, _)) in PAIRS.iter().enumerate() {
            let capability: Capability = text.parse().unwrap();
            assert_eq!(capability.to_string(), *text);
            assert_eq!(capability.kind(), CapabilityKind::ALL[row]);
            for (column, (_, access)) in PAIRS.iter().enumerate() {
                assert_eq!(access.kind(), CapabilityKind::ALL[column]);
                assert_eq!(capability.allows(access), row == column, "{text} against {access}");
            }
        }
    }

    #[test]
    fn permission_to_write_is_no_permission_to_read_or_run() {
        let capability: Capability = "file-write:/**".parse().unwrap();
        assert!(capability.allows(&Access::FileWrite { path: "/bin/sh" }));
        assert!(!capability.allows(&Access::FileRead { path: "/bin/sh" }));
        assert!(!capability.allows(&Access::ProcessSpawn { program: "/bin/sh" }));
    }

    #[test]
    fn kinds_read_as_they_print() {
        for kind in CapabilityKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!(format!("{:<10}|", CapabilityKind::Storage), "storage   |");
    }

    #[test]
    fn refusals_say_what_to_write() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<Capability>().unwrap_err().to_string(), expected);
        };
        check(
            "storage",
            "the capability `storage` has no pattern; write `kind:pattern`, for example \
             `storage:acme/counter`",
        );
        check(
            "",
            "the capability `` has no pattern; write `kind:pattern`, for example `storage:acme/counter`",
        );
        check(
            "Storage:acme/counter",
            "the capability `Storage:acme/counter` is of no known kind; start it with file-read, file-write, \
             network-outbound, network-inbound, storage, process-spawn, messaging or custom and a `:`",
        );
        check(
            "file-read:data/a",
            "the capability `file-read:data/a` is refused: the path pattern `data/a` does not start with \
             `/`; write an absolute path",
        );
        assert_eq!(
            "disk".parse::<CapabilityKind>().unwrap_err().to_string(),
            "the capability kind `disk` is unknown; write one of file-read, file-write, network-outbound, \
             network-inbound, storage, process-spawn, messaging or custom",
        );
    }

    #[cfg(feature = "serde")]
    #[test]
    fn data_goes_through_the_same_door() {
        for (text, _) in PAIRS {
            let json = format!("\"{text}\"");
            let capability: Capability = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&capability).unwrap(), json);
        }
        let refused = serde_json::from_str::<Capability>("\"storage:..\"").unwrap_err();
        assert!(
            refused.to_string().contains("the namespace pattern `..` has a `.` or `..` segment"),
            "{refused}"
        );
        assert_eq!(serde_json::from_str::<CapabilityKind>("\"custom\"").unwrap(), CapabilityKind::Custom);
        assert!(serde_json::from_str::<CapabilityKind>("\"Custom\"").is_err());
    }
}
