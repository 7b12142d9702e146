//! Capability patterns: text that parses prints itself, and an access is allowed exactly when the rules, read slowly, say so.
//!
//! The input is text. Each line is a capability if it parses as one, and an object that every kind of access asks for.

#![no_main]

mod rules;

use airssys_wasm_core::capability::{
    Access, Capability, CapabilityIndex, CapabilityKind, CapabilitySet, Topic, TopicPattern,
};
use libfuzzer_sys::fuzz_target;

/// More lines than this are compared pair by pair for too long.
const MAX_LINES: usize = 12;

fuzz_target!(|text: &str| {
    let lines: Vec<_> = text.split('\n').take(MAX_LINES).collect();
    let grants: Vec<_> = lines.iter().filter_map(|line| grant(line)).collect();
    let patterns: Vec<_> = lines.iter().filter_map(|line| topic_pattern(line)).collect();
    let set: CapabilitySet = grants.iter().cloned().collect();
    let index = CapabilityIndex::new(&set);
    for line in &lines {
        check_texts(line);
        for object in [Some(*line), line.split_once(':').map(|(_, object)| object)].into_iter().flatten() {
            for access in accesses(object) {
                check_access(&access, &grants, &set, &index);
            }
            check_topics(object, &patterns);
        }
    }
});

/// The capability of a line. It prints itself, and is written as it was given but for hosts, which have one canonical form.
fn grant(line: &str) -> Option<Capability> {
    let capability: Capability = match line.parse() {
        Ok(capability) => capability,
        Err(refused) => {
            check_printable(&format!("{refused}"));
            return None;
        }
    };
    let printed = capability.to_string();
    assert_eq!(printed.parse().as_ref(), Ok(&capability), "{line:?} prints as {printed:?}");
    let is_host =
        matches!(capability.kind(), CapabilityKind::NetworkInbound | CapabilityKind::NetworkOutbound);
    assert!(is_host || printed == line, "{line:?} prints as {printed:?}");
    Some(capability)
}

fn topic_pattern(line: &str) -> Option<TopicPattern> {
    let pattern: TopicPattern = line.parse().ok()?;
    assert_eq!(pattern.to_string(), line);
    Some(pattern)
}

/// The texts that are not capabilities: kinds, and topics, which mean themselves and nothing else.
fn check_texts(line: &str) {
    if let Ok(kind) = line.parse::<CapabilityKind>() {
        assert_eq!(kind.to_string(), line);
    }
    if let Ok(topic) = line.parse::<Topic>() {
        assert_eq!(topic.as_str(), line);
        let pattern: TopicPattern = line.parse().expect("a topic is a pattern of itself");
        assert!(pattern.matches(line));
        assert!(Access::Messaging { address: line }.is_well_formed());
    }
}

/// `object`, asked for in every way.
fn accesses(object: &str) -> Vec<Access<'_>> {
    let mut accesses = vec![
        Access::FileRead { path: object },
        Access::FileWrite { path: object },
        Access::ProcessSpawn { program: object },
        Access::Storage { namespace: object },
        Access::Messaging { address: object },
    ];
    let (host, port) = object.rsplit_once(':').unwrap_or((object, "443"));
    for port in [port.parse().unwrap_or(443), 0] {
        accesses.push(Access::NetworkOutbound { host, port });
        accesses.push(Access::NetworkInbound { host, port });
    }
    let (name, object) = object.split_once('/').unwrap_or((object, "a"));
    accesses.push(Access::Custom { name, object });
    accesses
}

fn check_access(access: &Access<'_>, grants: &[Capability], set: &CapabilitySet, index: &CapabilityIndex) {
    let is_well_formed = rules::is_well_formed(access);
    assert_eq!(access.is_well_formed(), is_well_formed, "{access:?}");
    for grant in grants {
        let expected = is_well_formed && rules::allows(grant, access);
        assert_eq!(grant.allows(access), expected, "{grant} against {access:?}");
    }
    let allowed = grants.iter().any(|grant| grant.allows(access));
    assert_eq!(set.matches(access).is_some(), allowed, "{set} against {access:?}");
    assert_eq!(index.allows(access), allowed, "the index of {set} against {access:?}");

    let exact = access.exact_capability();
    let has_wildcard = access.object().to_string().contains('*');
    assert_eq!(exact.is_some(), is_well_formed && !has_wildcard, "what allows {access:?} alone: {exact:?}");
    if let Some(exact) = exact {
        assert!(exact.allows(access), "{exact} against {access:?}");
        assert_eq!(access.capability_text(), Some(exact.to_string()));
        assert_eq!(exact.to_string().parse(), Ok(exact));
    }
    let shown = access.to_string();
    check_printable(&shown);
    let mut appended = String::new();
    access.append_to(&mut appended);
    assert_eq!(appended, shown);
}

/// What patterns say of each other is so for this address.
fn check_topics(address: &str, patterns: &[TopicPattern]) {
    for left in patterns {
        assert!(left.covers(left) && left.overlaps(left), "{left} and itself");
        for right in patterns {
            assert_eq!(left.overlaps(right), right.overlaps(left), "{left} and {right}");
            let (by_left, by_right) = (left.matches(address), right.matches(address));
            assert!(
                !left.covers(right) || !by_right || by_left,
                "{left} covers {right}, but for {address:?}"
            );
            assert!(left.overlaps(right) || !by_left || !by_right, "{left} and {right} meet in {address:?}");
        }
    }
}

/// Texts of guests and operators are shown on one line.
fn check_printable(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?} has a control character");
}
