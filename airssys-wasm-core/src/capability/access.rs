//! What a component asks for at one moment.

use std::fmt::{self, Write};
use std::str::FromStr;

use super::escape::Escaped;
use super::{
    Capability, CapabilityKind, CustomCapability, DomainPattern, custom, domain, namespace, path, topic,
};

/// How many characters of an object are shown; enough for the longest path.
const SHOWN: usize = 4096;

/// One access, described in borrowed words: making and checking it allocates nothing.
///
/// Nothing is validated here, because what is asked for comes from a guest: an access that is not
/// [well-formed](Self::is_well_formed) can be described, audited and refused like any other.
///
/// `Display` gives `kind:object` on one line, escaped where the object is not printable.
///
/// ```
/// use airssys_wasm_core::capability::{Access, Capability};
///
/// let access = Access::NetworkOutbound { host: "api.example.com", port: 443 };
/// let capability: Capability = "network-outbound:*.example.com:443".parse()?;
/// assert!(capability.allows(&access));
/// assert_eq!(access.to_string(), "network-outbound:api.example.com:443");
/// # Ok::<(), airssys_wasm_core::capability::InvalidCapability>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access<'a> {
    /// Reading a file, or listing a directory.
    FileRead {
        /// Absolute and normalised.
        path: &'a str,
    },
    /// Creating, changing or removing a file or a directory.
    FileWrite {
        /// Absolute and normalised.
        path: &'a str,
    },
    /// Connecting.
    NetworkOutbound {
        /// A name or an address; an IPv6 address with or without brackets.
        host: &'a str,
        /// Never 0.
        port: u16,
    },
    /// Listening.
    NetworkInbound {
        /// The local name or address.
        host: &'a str,
        /// Never 0: nobody knows yet which port that would be.
        port: u16,
    },
    /// Using a storage namespace.
    Storage {
        /// The namespace.
        namespace: &'a str,
    },
    /// Starting a program.
    ProcessSpawn {
        /// The path of the executable file, absolute and normalised.
        program: &'a str,
    },
    /// Sending a message.
    Messaging {
        /// A component, `namespace/name`, or a topic.
        address: &'a str,
    },
    /// Something that the embedder added to the host.
    Custom {
        /// The name of the permission: `acme:geo`.
        name: &'a str,
        /// What it is needed for: `lookup`.
        object: &'a str,
    },
}

impl<'a> Access<'a> {
    /// The kind of capability that it takes.
    pub fn kind(&self) -> CapabilityKind {
        match self {
            Self::FileRead { .. } => CapabilityKind::FileRead,
            Self::FileWrite { .. } => CapabilityKind::FileWrite,
            Self::NetworkOutbound { .. } => CapabilityKind::NetworkOutbound,
            Self::NetworkInbound { .. } => CapabilityKind::NetworkInbound,
            Self::Storage { .. } => CapabilityKind::Storage,
            Self::ProcessSpawn { .. } => CapabilityKind::ProcessSpawn,
            Self::Messaging { .. } => CapabilityKind::Messaging,
            Self::Custom { .. } => CapabilityKind::Custom,
        }
    }

    /// The object, where it is a single text that is compared byte by byte.
    pub(super) fn text(&self) -> Option<&'a str> {
        match *self {
            Self::FileRead { path } | Self::FileWrite { path } | Self::ProcessSpawn { program: path } => {
                Some(path)
            }
            Self::Storage { namespace } => Some(namespace),
            Self::Messaging { address } => Some(address),
            Self::NetworkOutbound { .. } | Self::NetworkInbound { .. } | Self::Custom { .. } => None,
        }
    }

    /// Appends what `Display` shows, without what a formatter costs where the object is printable: for audits.
    ///
    /// ```
    /// use airssys_wasm_core::capability::Access;
    ///
    /// let mut line = "denied ".to_owned();
    /// Access::Storage { namespace: "acme/counter" }.append_to(&mut line);
    /// assert_eq!(line, "denied storage:acme/counter");
    /// ```
    pub fn append_to(&self, text: &mut String) {
        match self.text() {
            Some(object) if (Escaped { text: object, limit: SHOWN }).is_plain() => {
                text.push_str(self.kind().name());
                text.push(':');
                text.push_str(object);
            }
            _ => write!(text, "{self}").expect("writing into a string cannot fail"),
        }
    }

    /// What it is about, without the kind, ready to be shown.
    pub fn object(&self) -> AccessObject<'a> {
        AccessObject(*self)
    }

    /// Whether the object is one that a pattern could match.
    ///
    /// An access that is not well-formed matches no pattern at all. Where a match *forbids*, that is no
    /// protection: refuse such an access before asking a list of forbidden things.
    ///
    /// ```
    /// use airssys_wasm_core::capability::Access;
    ///
    /// assert!(Access::FileRead { path: "/etc/passwd" }.is_well_formed());
    /// assert!(!Access::FileRead { path: "/data/../etc/passwd" }.is_well_formed());
    /// ```
    pub fn is_well_formed(&self) -> bool {
        match *self {
            Self::FileRead { path } | Self::FileWrite { path } | Self::ProcessSpawn { program: path } => {
                path::is_path(path)
            }
            Self::NetworkOutbound { host, port } | Self::NetworkInbound { host, port } => {
                domain::is_endpoint(host, port)
            }
            Self::Storage { namespace } => namespace::is_namespace(namespace),
            Self::Messaging { address } => topic::is_address(address),
            Self::Custom { name, object } => custom::is_object(name, object),
        }
    }

    /// The capability that allows just this access.
    ///
    /// There is none when the access is not well-formed, and none for a path with `*` in it, since a pattern
    /// would take that for a wildcard.
    pub fn exact_capability(&self) -> Option<Capability> {
        let capability = match *self {
            Self::FileRead { path } => Capability::FileRead(exact(path)?),
            Self::FileWrite { path } => Capability::FileWrite(exact(path)?),
            Self::NetworkOutbound { host, port } => {
                Capability::NetworkOutbound(DomainPattern::exact(host, port)?)
            }
            Self::NetworkInbound { host, port } => {
                Capability::NetworkInbound(DomainPattern::exact(host, port)?)
            }
            Self::Storage { namespace } => Capability::Storage(exact(namespace)?),
            Self::ProcessSpawn { program } => Capability::ProcessSpawn(exact(program)?),
            Self::Messaging { address } => Capability::Messaging(exact(address)?),
            Self::Custom { name, object } => {
                Capability::Custom(exact::<CustomCapability>(&format!("{name}/{object}"))?)
            }
        };
        capability.allows(self).then_some(capability)
    }

    /// The text of [`exact_capability`](Self::exact_capability): what a denial tells people to grant.
    ///
    /// ```
    /// use airssys_wasm_core::capability::Access;
    ///
    /// let access = Access::NetworkOutbound { host: "::1", port: 80 };
    /// assert_eq!(access.capability_text().as_deref(), Some("network-outbound:[::1]:80"));
    ///
    /// assert_eq!(Access::Storage { namespace: "acme/*" }.capability_text(), None);
    /// ```
    pub fn capability_text(&self) -> Option<String> {
        self.exact_capability().map(|capability| capability.to_string())
    }
}

impl fmt::Display for Access<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.object())
    }
}

/// Shows what an access is about, on one line and escaped where it is not printable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccessObject<'a>(Access<'a>);

impl fmt::Display for AccessObject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text| Escaped { text, limit: SHOWN };
        match self.0 {
            Access::FileRead { path } | Access::FileWrite { path } => shown(path).fmt(f),
            Access::NetworkOutbound { host, port } | Access::NetworkInbound { host, port } => {
                if host.contains(':') && !host.starts_with('[') {
                    write!(f, "[{}]:{port}", shown(host))
                } else {
                    write!(f, "{}:{port}", shown(host))
                }
            }
            Access::Storage { namespace } => shown(namespace).fmt(f),
            Access::ProcessSpawn { program } => shown(program).fmt(f),
            Access::Messaging { address } => shown(address).fmt(f),
            Access::Custom { name, object } => write!(f, "{}/{}", shown(name), shown(object)),
        }
    }
}

fn exact<P: FromStr>(object: &str) -> Option<P> {
    if object.contains('*') { None } else { object.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_to_grant_is_exact() {
        let check = |access: Access<'_>, expected: Option<&str>| {
            assert_eq!(access.capability_text().as_deref(), expected, "{access:?}");
        };
        check(Access::FileRead { path: "/data/a b" }, Some("file-read:/data/a b"));
        check(Access::FileWrite { path: "/" }, Some("file-write:/"));
        check(Access::ProcessSpawn { program: "/bin/sh" }, Some("process-spawn:/bin/sh"));
        check(
            Access::NetworkOutbound { host: "API.example.com", port: 443 },
            Some("network-outbound:api.example.com:443"),
        );
        check(
            Access::NetworkOutbound { host: "::ffff:192.0.2.7", port: 1 },
            Some("network-outbound:192.0.2.7:1"),
        );
        check(Access::NetworkInbound { host: "[::]", port: 80 }, Some("network-inbound:[::]:80"));
        check(Access::Storage { namespace: "acme/counter" }, Some("storage:acme/counter"));
        check(Access::Messaging { address: "orders.eu" }, Some("messaging:orders.eu"));
        check(Access::Messaging { address: "acme/greeter" }, Some("messaging:acme/greeter"));
        check(Access::Custom { name: "acme:geo", object: "a/b" }, Some("custom:acme:geo/a/b"));

        check(Access::FileRead { path: "/data/*" }, None);
        check(Access::FileRead { path: "/data/../a" }, None);
        check(Access::NetworkOutbound { host: "*", port: 443 }, None);
        check(Access::NetworkOutbound { host: "example.com", port: 0 }, None);
        check(Access::NetworkOutbound { host: "127.1", port: 80 }, None);
        check(Access::Storage { namespace: "**" }, None);
        check(Access::Messaging { address: "**" }, None);
        check(Access::Custom { name: "acme:geo/a", object: "b" }, None);
        check(Access::Custom { name: "acme:geo", object: "" }, None);
    }

    #[test]
    fn an_object_is_shown_on_one_line() {
        let check = |access: Access<'_>, expected: &str| assert_eq!(access.to_string(), expected);
        check(Access::FileRead { path: "/a\nallowed" }, "file-read:/a\\nallowed");
        check(Access::NetworkOutbound { host: "::1", port: 80 }, "network-outbound:[::1]:80");
        check(Access::NetworkOutbound { host: "[::1]", port: 80 }, "network-outbound:[::1]:80");
        check(Access::NetworkInbound { host: "", port: 0 }, "network-inbound::0");
        check(Access::Custom { name: "acme:geo", object: "lookup" }, "custom:acme:geo/lookup");
        assert_eq!(Access::Storage { namespace: "acme/x" }.object().to_string(), "acme/x");
        assert!(Access::FileRead { path: &"/a".repeat(100_000) }.to_string().len() < 5000);
    }
}
