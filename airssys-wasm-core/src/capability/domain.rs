//! Patterns of hosts and ports.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU16,
    str::FromStr,
};

use super::invalid::{InvalidPattern, PatternProblem, PatternSubject};
use super::text_door;

/// The most bytes of a domain name.
const LONGEST_NAME: usize = 253;

/// The most bytes of one label of a domain name.
const LONGEST_LABEL: usize = 63;

/// Which hosts are meant, and which of their ports: `host:port`.
///
/// The host is one of
/// - a name: `api.example.com`;
/// - `*.` and a name, for all that is beneath it: `*.example.com` covers `a.example.com` and
///   `a.b.example.com`, and neither `example.com` nor `evil-example.com`;
/// - an address: `192.0.2.7`, or `[2001:db8::7]` in brackets;
/// - `*`, for every name and no address.
///
/// The port is a number from 1 to 65535, or `*` for every one. There is no default port.
///
/// # Behavior
/// - Names are ASCII: labels of letters, digits, `-` and `_`, compared without regard to case; an
///   international name is written in punycode. A dot after the last label is refused.
/// - A name whose last label is a number, in decimal or hexadecimal, is refused, because some resolvers read
///   `127.1`, `0x7f.0.0.1` and `2130706433` as addresses.
/// - Addresses are compared as numbers. An IPv4-mapped IPv6 address is the IPv4 address; an address with a
///   zone is refused.
/// - Port 0 never matches, and a host that these rules refuse never matches.
/// - A name says nothing about the address it resolves to: whoever connects checks that address as well.
///
/// ```
/// use airssys_wasm_core::capability::{DomainPattern, InvalidPattern};
///
/// let pattern: DomainPattern = "*.Example.com:443".parse()?;
/// assert_eq!(pattern.to_string(), "*.example.com:443");
/// assert!(pattern.matches("API.example.com", 443));
/// assert!(!pattern.matches("evil-example.com", 443));
///
/// assert!("example.com".parse::<DomainPattern>().is_err());
/// # Ok::<(), InvalidPattern>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct DomainPattern {
    host: HostPattern,
    port: Option<NonZeroU16>,
}

impl DomainPattern {
    /// Whether `port` of `host` is meant. An IPv6 address may be given with or without brackets.
    pub fn matches(&self, host: &str, port: u16) -> bool {
        let port_matches = port != 0 && self.port.is_none_or(|only| only.get() == port);
        port_matches && Host::parse(host).is_ok_and(|host| self.host.matches(host))
    }

    /// The only port meant, or nothing when every port is.
    pub fn port(&self) -> Option<NonZeroU16> {
        self.port
    }

    /// The pattern that means just this port of this host.
    pub(super) fn exact(host: &str, port: u16) -> Option<Self> {
        let host = match Host::parse(host).ok()? {
            Host::Name(name) => HostPattern::Name(name.to_ascii_lowercase().into()),
            Host::Address(address) => HostPattern::Address(address),
        };
        Some(Self { host, port: Some(NonZeroU16::new(port)?) })
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostPattern::AnyName => f.write_str("*")?,
            HostPattern::Beneath(suffix) => write!(f, "*{suffix}")?,
            HostPattern::Name(name) => f.write_str(name)?,
            HostPattern::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
            HostPattern::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

impl FromStr for DomainPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|problem| InvalidPattern::new(PatternSubject::Domain, text, problem))
    }
}

text_door!(DomainPattern, InvalidPattern);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum HostPattern {
    AnyName,
    /// The name with the dot before it, so that a match ends on a label boundary.
    Beneath(Box<str>),
    Name(Box<str>),
    /// Never an IPv4-mapped IPv6 address.
    Address(IpAddr),
}

impl HostPattern {
    fn matches(&self, host: Host<'_>) -> bool {
        match (self, host) {
            (Self::AnyName, Host::Name(_)) => true,
            (Self::Beneath(suffix), Host::Name(name)) => {
                let (name, suffix) = (name.as_bytes(), suffix.as_bytes());
                name.len() > suffix.len() && name[name.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
            }
            (Self::Name(only), Host::Name(name)) => only.eq_ignore_ascii_case(name),
            (Self::Address(only), Host::Address(address)) => *only == address,
            _ => false,
        }
    }
}

/// A host without wildcards.
#[derive(Clone, Copy)]
enum Host<'a> {
    Name(&'a str),
    /// Never an IPv4-mapped IPv6 address.
    Address(IpAddr),
}

impl<'a> Host<'a> {
    fn parse(text: &'a str) -> Result<Self, PatternProblem> {
        if text.starts_with('[') || text.contains(':') {
            let bare = text.strip_prefix('[').map_or(Some(text), |rest| rest.strip_suffix(']'));
            let problem = if text.contains('%') { PatternProblem::Zone } else { PatternProblem::Ipv6 };
            let address: Ipv6Addr = bare.and_then(|bare| bare.parse().ok()).ok_or(problem)?;
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        check_name(text)?;
        Ok(Self::Name(text))
    }
}

/// Whether the host is a name or an address, and the port is one.
pub(super) fn is_endpoint(host: &str, port: u16) -> bool {
    port != 0 && Host::parse(host).is_ok()
}

fn parse(text: &str) -> Result<DomainPattern, PatternProblem> {
    if text.is_empty() {
        return Err(PatternProblem::Empty);
    }
    if text.contains('/') {
        return Err(PatternProblem::Url);
    }
    if text.contains('@') {
        return Err(PatternProblem::UserInfo);
    }
    let after_brackets = text.rfind(']').unwrap_or(0);
    let Some(colon) = text[after_brackets..].rfind(':').map(|at| at + after_brackets) else {
        return Err(PatternProblem::MissingPort);
    };
    let (host, port) = (&text[..colon], &text[colon + 1..]);
    if host.contains(':') && !host.starts_with('[') {
        return Err(PatternProblem::Ipv6);
    }
    let host = match host.strip_prefix("*.") {
        None if host == "*" => HostPattern::AnyName,
        None => match Host::parse(host)? {
            Host::Name(name) => HostPattern::Name(name.to_ascii_lowercase().into()),
            Host::Address(address) => HostPattern::Address(address),
        },
        Some(name) => match Host::parse(name)? {
            Host::Name(name) => HostPattern::Beneath(format!(".{}", name.to_ascii_lowercase()).into()),
            Host::Address(_) => return Err(PatternProblem::Wildcard),
        },
    };
    Ok(DomainPattern { host, port: parse_port(port)? })
}

/// A number without sign and without leading zeros, or `*`.
fn parse_port(text: &str) -> Result<Option<NonZeroU16>, PatternProblem> {
    match text {
        "" => Err(PatternProblem::MissingPort),
        "*" => Ok(None),
        _ if text.starts_with(['+', '0']) => Err(PatternProblem::Port),
        _ => text.parse().map(Some).map_err(|_| PatternProblem::Port),
    }
}

fn check_name(name: &str) -> Result<(), PatternProblem> {
    if name.ends_with('.') {
        return Err(PatternProblem::TrailingDot);
    }
    if name.len() > LONGEST_NAME {
        return Err(PatternProblem::TooLong { limit: LONGEST_NAME });
    }
    name.split('.').try_for_each(check_label)?;
    let last = name.rsplit('.').next().unwrap_or(name).as_bytes();
    let is_decimal = last.iter().all(u8::is_ascii_digit);
    let is_hexadecimal = matches!(last, [b'0', b'x' | b'X', ..]);
    if is_decimal || is_hexadecimal { Err(PatternProblem::NumericName) } else { Ok(()) }
}

fn check_label(label: &str) -> Result<(), PatternProblem> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match label.chars().find(|c| !allowed(*c)) {
        Some('*') => Err(PatternProblem::Wildcard),
        Some(c) if !c.is_ascii() => Err(PatternProblem::Unicode),
        Some(c) => Err(PatternProblem::Character(c)),
        None if label.is_empty() => Err(PatternProblem::EmptySegment),
        None if label.len() > LONGEST_LABEL => Err(PatternProblem::LabelTooLong { limit: LONGEST_LABEL }),
        None if label.starts_with('-') || label.ends_with('-') => Err(PatternProblem::LabelForm),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_on_label_boundaries() {
        let check = |pattern: &str, host: &str, port: u16, expected: bool| {
            let parsed: DomainPattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(host, port), expected, "{pattern} against {host:?} {port}");
        };
        check("example.com:443", "example.com", 443, true);
        check("example.com:443", "EXAMPLE.Com", 443, true);
        check("EXAMPLE.com:443", "example.com", 443, true);
        check("example.com:443", "example.com", 80, false);
        check("example.com:443", "example.com", 0, false);
        check("example.com:443", "a.example.com", 443, false);
        check("example.com:*", "example.com", 1, true);
        check("example.com:*", "example.com", 65535, true);
        check("example.com:*", "example.com", 0, false);
        check("*.example.com:443", "a.example.com", 443, true);
        check("*.example.com:443", "a.b.EXAMPLE.com", 443, true);
        check("*.example.com:443", "example.com", 443, false);
        check("*.example.com:443", ".example.com", 443, false);
        check("*.example.com:443", "evil-example.com", 443, false);
        check("*.example.com:443", "evilexample.com", 443, false);
        check("*.example.com:443", "a.example.com.evil.org", 443, false);
        check("*.example.com:443", "*.example.com", 443, false);
        check("xn--bcher-kva.example:443", "XN--bcher-kva.example", 443, true);
        check("_dmarc.example.com:53", "_dmarc.example.com", 53, true);
        check("localhost:80", "localhost", 80, true);
        check("localhost:80", "127.0.0.1", 80, false);
        check("*:443", "anything.example", 443, true);
        check("*:443", "192.0.2.7", 443, false);
        check("*:443", "2001:db8::7", 443, false);
        check("*:443", "[::1]", 443, false);
        check("*:443", "*", 443, false);
        check("192.0.2.7:80", "192.0.2.7", 80, true);
        check("192.0.2.7:80", "192.0.2.70", 80, false);
        check("192.0.2.7:80", "::ffff:192.0.2.7", 80, true);
        check("192.0.2.7:80", "::ffff:c000:207", 80, true);
        check("192.0.2.7:80", "::192.0.2.7", 80, false);
        check("[::ffff:192.0.2.7]:80", "192.0.2.7", 80, true);
        check("[2001:DB8:0:0::7]:80", "2001:db8::7", 80, true);
        check("[2001:db8::7]:80", "[2001:db8::7]", 80, true);
        check("[2001:db8::7]:80", "2001:db8::8", 80, false);
        check("[::]:8080", "::", 8080, true);
        check("0.0.0.0:8080", "127.0.0.1", 8080, false);
    }

    /// Hosts that some parser takes for another one; no pattern covers them, however wide.
    #[test]
    fn the_ways_around_a_host_check_are_closed() {
        let patterns = ["*:*", "*.com:*", "example.com:*", "127.0.0.1:*", "[::1]:*", "[fe80::1]:*"];
        for host in [
            "",
            ".",
            "example.com.",
            "example.com..",
            ".example.com",
            "a..example.com",
            "user@example.com",
            "example.com@evil.org",
            "example.com:443",
            "http://example.com",
            "//example.com",
            "example.com/",
            "example.com\\evil.org",
            "example.com#",
            "example.com?",
            "example.com%00",
            "example%2ecom",
            "example.com\0",
            " example.com",
            "example.com\n",
            "*.example.com",
            "-example.com",
            "example-.com",
            "ex\u{e4}mple.com",
            "ex\u{430}mple.com",
            "example\u{3002}com",
            "\u{ff45}xample.com",
            "example.co\u{212a}",
            "example.com\u{ad}",
            "127.1",
            "127.0.1",
            "2130706433",
            "0177.0.0.1",
            "127.0.0.01",
            "0x7f.0.0.1",
            "0x7f000001",
            "0X7F000001",
            "0x7f.1",
            "127.0.0.0x1",
            "127.0.0.1.",
            "127.0.0.1.5",
            "127.0.0.256",
            "evil.127",
            "1\u{2e3}.com\u{0}",
            "\u{2460}27.0.0.1",
            "[127.0.0.1]",
            "[::1",
            "::1]",
            "[[::1]]",
            "[::1]:80",
            "fe80::1%eth0",
            "fe80::1%25eth0",
            "[fe80::1%1]",
            "::g",
            ":::",
            "1:2:3:4:5:6:7:8:9",
        ] {
            assert!(!is_endpoint(host, 443), "{host:?}");
            for pattern in patterns {
                assert!(!pattern.parse::<DomainPattern>().unwrap().matches(host, 443), "{pattern} {host:?}");
            }
        }
    }

    #[test]
    fn lengths_are_those_of_dns() {
        let any: DomainPattern = "*:*".parse().unwrap();
        let label = "a".repeat(LONGEST_LABEL);
        let name = [&label[..], &label, &label, &label[..61]].join(".");
        assert_eq!(name.len(), LONGEST_NAME);
        assert!(any.matches(&name, 1));
        assert!(!any.matches(&format!("{name}a"), 1));
        assert!(!any.matches(&format!("{label}a"), 1));
    }

    #[test]
    fn text_is_canonical() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<DomainPattern>().unwrap().to_string(), expected);
        };
        check("API.Example.COM:443", "api.example.com:443");
        check("*.Example.COM:*", "*.example.com:*");
        check("*:80", "*:80");
        check("192.0.2.7:65535", "192.0.2.7:65535");
        check("[2001:DB8:0:0:0:0:0:7]:1", "[2001:db8::7]:1");
        check("[::ffff:192.0.2.7]:80", "192.0.2.7:80");
        check("[::FFFF:C000:0207]:80", "192.0.2.7:80");
    }

    #[test]
    fn refusals_say_what_to_write() {
        let check = |text: &str, expected: &str| {
            let message = text.parse::<DomainPattern>().unwrap_err().to_string();
            assert_eq!(message, format!("the domain pattern `{text}` {expected}"));
        };
        let port =
            "has a port that is not a number from 1 to 65535; write such a number, or `*` for every port";
        let missing = "has no port; append one, for example `:443`, or `:*` for every port";
        let number = "has a number for the last label; write an IPv4 address as four decimal numbers, like \
         `127.0.0.1`";
        let ipv6 = "has what is no IPv6 address in brackets; write an IPv6 address like `[::1]:443`";
        let wildcard = "has a wildcard where none may be; write `*.` before a name for its subdomains, or \
         `*` alone for every name";
        let url = "has a scheme or a path; write only `host:port`";
        let unicode = "has a name that is not ASCII; write the name in punycode, with `xn--` labels";
        let empty = "has an empty label; put exactly one `.` between two names and none at the ends";
        check("", "is empty; write for example `api.example.com:443`");
        check("example.com", missing);
        check("example.com:", missing);
        check("[::1]", missing);
        check("*", missing);
        for bad in
            ["0", "00443", "0443", "+443", "-1", "65536", "443 ", "https", "4*", "**", "\u{664}\u{664}"]
        {
            check(&format!("example.com:{bad}"), port);
        }
        check("https://example.com:443", url);
        check("example.com:443/x", url);
        check("10.0.0.0/8:80", url);
        check("user@example.com:443", "has an `@`; write only `host:port`");
        check("example.com.:443", "has a dot after the name; leave the dot out");
        check("b\u{fc}cher.example:443", unicode);
        check("\u{43e}range.example:443", unicode);
        for host in ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "0x7f000001", "127.0.0.256", "a.0x"] {
            check(&format!("{host}:80"), number);
        }
        check("*.127.1:80", number);
        check("::1:443", ipv6);
        check("::1", ipv6);
        check("[::1:443", ipv6);
        check("[127.0.0.1]:443", ipv6);
        check("[example.com]:443", ipv6);
        check("[fe80::1%eth0]:443", "has an IPv6 zone; leave the `%` and the zone out");
        check("*.192.0.2.7:80", wildcard);
        check("a.*.com:443", wildcard);
        check("*example.com:443", wildcard);
        check("**.example.com:443", wildcard);
        check("*.*.com:443", wildcard);
        check(":443", empty);
        check(".example.com:443", empty);
        check("a..b:443", empty);
        check(
            "-a.example:443",
            "has a label that starts or ends with `-`; start and end each label with a letter or digit",
        );
        check("a b:443", "contains ' '; write `host:port` with letters, digits, `-`, `_` and `.`");
        check(&format!("{}:1", "a".repeat(64)), "has a label longer than 63 bytes; shorten it");
    }
}
