//! The rules of capabilities as their documentation states them, written to be read and not to be fast.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use airssys_wasm_core::capability::{Access, Capability};

/// Whether the pattern of `capability`, as it prints, means the object of a well-formed access.
pub(crate) fn allows(capability: &Capability, access: &Access<'_>) -> bool {
    if capability.kind() != access.kind() {
        return false;
    }
    let text = capability.to_string();
    let (_, pattern) = text.split_once(':').expect("a capability has a colon");
    match *access {
        Access::FileRead { path } | Access::FileWrite { path } | Access::ProcessSpawn { program: path } => {
            many(&names(pattern), &names(path), glob)
        }
        Access::NetworkOutbound { host, port } | Access::NetworkInbound { host, port } => {
            means_endpoint(pattern, host, port)
        }
        Access::Storage { namespace } => segments(pattern, namespace, '/'),
        Access::Messaging { address } => match pattern {
            "**" => true,
            _ if pattern.contains('/') != address.contains('/') => false,
            _ if pattern.contains('/') => segments(pattern, address, '/'),
            _ => segments(pattern, address, '.'),
        },
        Access::Custom { name, object } => {
            let (wanted, objects) = pattern.split_once('/').expect("a custom capability has objects");
            wanted == name && segments(objects, object, '/')
        }
    }
}

pub(crate) fn is_well_formed(access: &Access<'_>) -> bool {
    match *access {
        Access::FileRead { path } | Access::FileWrite { path } | Access::ProcessSpawn { program: path } => {
            path.starts_with('/')
                && path.len() <= 4096
                && !path.chars().any(|c| c == '\\' || c.is_control())
                && !names(path).iter().any(|name| ["", ".", ".."].contains(name))
        }
        Access::NetworkOutbound { host, port } | Access::NetworkInbound { host, port } => {
            port != 0 && self::host(host).is_some()
        }
        Access::Storage { namespace } => is_namespace(namespace),
        Access::Messaging { address } => is_component(address) || is_topic(address),
        Access::Custom { name, object } => {
            let labels: Vec<_> = name.split(':').collect();
            labels.len() == 2 && labels.into_iter().all(is_kebab_case) && is_namespace(object)
        }
    }
}

fn is_namespace(name: &str) -> bool {
    let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.');
    name.len() <= 255
        && name.chars().all(|c| c == '/' || plain(c))
        && !name.split('/').any(|segment| ["", ".", ".."].contains(&segment))
}

fn is_component(address: &str) -> bool {
    let labels: Vec<_> = address.split('/').collect();
    labels.len() == 2 && labels.into_iter().all(is_kebab_case)
}

fn is_kebab_case(label: &str) -> bool {
    label.len() <= 64
        && label.starts_with(|c: char| c.is_ascii_lowercase())
        && label.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-'))
        && !label.split('-').any(str::is_empty)
}

fn is_topic(address: &str) -> bool {
    let plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_');
    address.len() <= 255
        && address.split('.').all(|segment| !segment.is_empty() && segment.chars().all(plain))
}

/// The names between the slashes of an absolute path; the root has none.
fn names(path: &str) -> Vec<&str> {
    if path == "/" { Vec::new() } else { path.split('/').skip(1).collect() }
}

fn segments(pattern: &str, object: &str, separator: char) -> bool {
    let (pattern, object): (Vec<_>, Vec<_>) =
        (pattern.split(separator).collect(), object.split(separator).collect());
    many(&pattern, &object, |wanted, name| wanted == "*" || wanted == name)
}

/// Whether `**` can stand for any number of names, and every other segment for one, so that all are used.
///
/// `reached[n]`: the segments so far can stand for the first `n` names.
fn many(pattern: &[&str], names: &[&str], same: impl Fn(&str, &str) -> bool) -> bool {
    let mut reached = vec![false; names.len() + 1];
    reached[0] = true;
    for segment in pattern {
        let before = reached.clone();
        for count in 0..=names.len() {
            reached[count] = match *segment {
                "**" => before[..=count].contains(&true),
                _ => count > 0 && before[count - 1] && same(segment, names[count - 1]),
            };
        }
    }
    reached[names.len()]
}

/// Whether `*` can stand for any number of characters inside of a name.
fn glob(pattern: &str, name: &str) -> bool {
    let characters: Vec<_> = name.chars().collect();
    let mut reached = vec![false; characters.len() + 1];
    reached[0] = true;
    for wanted in pattern.chars() {
        let before = reached.clone();
        for count in 0..=characters.len() {
            reached[count] = match wanted {
                '*' => before[..=count].contains(&true),
                _ => count > 0 && before[count - 1] && characters[count - 1] == wanted,
            };
        }
    }
    reached[characters.len()]
}

#[derive(PartialEq)]
enum Host {
    /// The labels, in lower case.
    Name(Vec<String>),
    Address(IpAddr),
}

fn host(text: &str) -> Option<Host> {
    if text.contains([':', '[', ']']) {
        let bare = match (text.strip_prefix('['), text.ends_with(']')) {
            (Some(rest), true) => &rest[..rest.len() - 1],
            (None, false) => text,
            _ => return None,
        };
        let address: Ipv6Addr = bare.parse().ok()?;
        let mapped = address.to_ipv4_mapped().map(IpAddr::V4);
        return Some(Host::Address(mapped.unwrap_or(IpAddr::V6(address))));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(Host::Address(IpAddr::V4(address)));
    }
    let labels: Vec<_> = text.split('.').map(str::to_ascii_lowercase).collect();
    let plain = |label: &String| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = labels.last()?;
    let is_number = last.chars().all(|c| c.is_ascii_digit()) || last.starts_with("0x");
    (text.len() <= 253 && labels.iter().all(plain) && !is_number).then_some(Host::Name(labels))
}

fn means_endpoint(pattern: &str, asked: &str, port: u16) -> bool {
    let (wanted, ports) = pattern.rsplit_once(':').expect("a domain pattern has a port");
    if ports != "*" && ports != port.to_string() {
        return false;
    }
    let Some(asked) = host(asked) else { return false };
    match (wanted, &asked) {
        ("*", Host::Name(_)) => true,
        ("*", Host::Address(_)) => false,
        _ => match (wanted.strip_prefix("*."), &asked) {
            (None, _) => host(wanted).is_some_and(|wanted| wanted == asked),
            (Some(suffix), Host::Name(labels)) => {
                let suffix: Vec<_> = suffix.split('.').map(str::to_owned).collect();
                labels.len() > suffix.len() && labels.ends_with(&suffix)
            }
            (Some(_), Host::Address(_)) => false,
        },
    }
}
