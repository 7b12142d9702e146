//! Compares every pattern with a slow and obvious reading of its rules, on generated patterns and objects.

use std::fmt::{Debug, Display};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use airssys_wasm_core::capability::{
    Access, Capability, CapabilityKind, CapabilitySet, CustomCapability, DomainPattern, NamespacePattern,
    PathPattern, Topic, TopicPattern,
};
use airssys_wasm_core::component::ComponentId;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The rules, written to be read and not to be fast.
mod oracle {
    pub(crate) fn path(pattern: &str, path: &str) -> bool {
        let clean = path.starts_with('/') && !path.contains('\\') && !path.chars().any(char::is_control);
        let names: Vec<&str> = if path == "/" { vec![] } else { path.split('/').skip(1).collect() };
        let wanted: Vec<&str> = if pattern == "/" { vec![] } else { pattern.split('/').skip(1).collect() };
        clean && names.iter().all(|name| !["", ".", ".."].contains(name)) && many(&wanted, &names, one)
    }

    pub(crate) fn namespace(pattern: &str, namespace: &str) -> bool {
        let names: Vec<&str> = namespace.split('/').collect();
        let wanted: Vec<&str> = pattern.split('/').collect();
        let plain = |name: &&str| {
            !["", ".", ".."].contains(name)
                && name.chars().all(|c| "abcdefghijklmnopqrstuvwxyz0123456789-_.".contains(c))
        };
        names.iter().all(plain) && many(&wanted, &names, whole)
    }

    pub(crate) fn address(pattern: &str, address: &str) -> bool {
        let labels: Vec<&str> = address.split('/').collect();
        let segments: Vec<&str> = address.split('.').collect();
        let is_component = labels.len() == 2
            && labels.iter().all(|label| {
                label.starts_with(|c| "abcdefghijklmnopqrstuvwxyz".contains(c))
                    && !label.split('-').any(str::is_empty)
                    && label.chars().all(|c| "abcdefghijklmnopqrstuvwxyz0123456789-".contains(c))
            });
        let is_topic = segments.iter().all(|segment| {
            !segment.is_empty()
                && segment.chars().all(|c| "abcdefghijklmnopqrstuvwxyz0123456789-_".contains(c))
        });
        match pattern {
            "**" => is_component || is_topic,
            _ if pattern.contains('/') => {
                is_component && many(&pattern.split('/').collect::<Vec<_>>(), &labels, whole)
            }
            _ => is_topic && many(&pattern.split('.').collect::<Vec<_>>(), &segments, whole),
        }
    }

    /// For names only; addresses have a test of their own.
    pub(crate) fn domain(pattern: &str, host: &str, port: u16) -> bool {
        let (name, ports) = pattern.rsplit_once(':').expect("a domain pattern has a port");
        let labels = |name: &str| name.to_lowercase().split('.').map(str::to_owned).collect::<Vec<_>>();
        let (name, host) = (labels(name), labels(host));
        let plain = |label: &String| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|c| "abcdefghijklmnopqrstuvwxyz0123456789-_".contains(c))
        };
        let last = host.last().expect("there is always a label");
        let numeric = last.chars().all(|c| "0123456789".contains(c)) || last.starts_with("0x");
        let name_matches = match name.first().expect("there is always a label").as_str() {
            "*" if name.len() == 1 => true,
            "*" => host.len() >= name.len() && host.ends_with(&name[1..]),
            _ => host == name,
        };
        let port_matches = port > 0 && (ports == "*" || ports == port.to_string());
        host.iter().all(plain) && !numeric && name_matches && port_matches
    }

    fn many(wanted: &[&str], names: &[&str], same: fn(&str, &str) -> bool) -> bool {
        match (wanted, names) {
            ([], []) => true,
            (["**", rest @ ..], _) => (0..=names.len()).any(|skip| many(rest, &names[skip..], same)),
            ([first, rest @ ..], [name, names @ ..]) => same(first, name) && many(rest, names, same),
            _ => false,
        }
    }

    fn whole(wanted: &str, name: &str) -> bool {
        wanted == "*" || wanted == name
    }

    fn one(wanted: &str, name: &str) -> bool {
        match wanted.chars().next() {
            None => name.is_empty(),
            Some('*') => {
                let ends = name.char_indices().map(|(at, _)| at).chain([name.len()]);
                ends.into_iter().any(|at| one(&wanted[1..], &name[at..]))
            }
            Some(c) => name.strip_prefix(c).is_some_and(|rest| one(&wanted[c.len_utf8()..], rest)),
        }
    }
}

/// Few different names, so that generated patterns and objects meet often.
fn joined(
    names: &'static [&'static str],
    separator: &'static str,
    most: usize,
) -> impl Strategy<Value = String> {
    vec(select(names), 0..=most).prop_map(move |names| names.join(separator))
}

fn path_pattern() -> impl Strategy<Value = String> {
    joined(&["a", "b", "ab", "*", "**", "a*", "*b", "*a*b", "é", ".a"], "/", 6)
        .prop_map(|text| format!("/{text}"))
}

fn path_object() -> impl Strategy<Value = String> {
    let names = joined(&["a", "b", "ab", "aab", "é", "e\u{301}", ".a", "*", "aé"], "/", 6);
    let hostile = joined(&["a", "b", "..", ".", "", "a\0", "a\\b", "*"], "/", 4);
    let object = prop_oneof![4 => names, 1 => hostile];
    (object, prop::bool::weighted(0.9))
        .prop_map(|(object, rooted)| if rooted { format!("/{object}") } else { object })
}

fn namespace_pattern() -> impl Strategy<Value = String> {
    joined(&["a", "b", "a.b", "*", "**"], "/", 5)
}

fn namespace_object() -> impl Strategy<Value = String> {
    let names = joined(&["a", "b", "a.b"], "/", 5);
    prop_oneof![4 => names, 1 => joined(&["a", "b", "*", "**", "..", ".", "", "A", "é"], "/", 4)]
}

fn topic_pattern() -> impl Strategy<Value = String> {
    let topics = joined(&["a", "b", "a_b", "*", "**"], ".", 5);
    let label = || select(&["a", "b", "a-b", "*"][..]);
    let components = (label(), label()).prop_map(|(namespace, name)| format!("{namespace}/{name}"));
    prop_oneof![2 => topics, 2 => components, 1 => joined(&["a", "**", "*", "", "9"], "/", 3)]
}

fn topic_object() -> impl Strategy<Value = String> {
    let topics = joined(&["a", "b", "a_b", "9"], ".", 5);
    let components = joined(&["a", "b", "a-b"], "/", 3);
    let hostile = ["a", "b", "", "*", "**", "A", "a.b", "9", "-", "a-", "a--b", "é"];
    let label = move || select(hostile.to_vec());
    let pair = (label(), select(&["/", "."][..]), label());
    let pair = pair.prop_map(|(one, separator, other)| format!("{one}{separator}{other}"));
    prop_oneof![topics, components, pair]
}

fn name() -> impl Strategy<Value = String> {
    let labels = &["a", "B", "example", "Example", "evil-example", "com", "xn--a", "1", "0x1", "_a"];
    let hostile = joined(&["a", "", "*", "ex\u{e4}mple", "\u{430}", "a-", "a b", "com"], ".", 3);
    prop_oneof![4 => joined(labels, ".", 4), 1 => hostile]
}

fn domain_pattern() -> impl Strategy<Value = String> {
    let host =
        prop_oneof![2 => name(), 2 => name().prop_map(|name| format!("*.{name}")), 1 => Just("*".to_owned())];
    (host, select(&["1", "443", "65535", "*"][..])).prop_map(|(host, port)| format!("{host}:{port}"))
}

fn port() -> impl Strategy<Value = u16> {
    select(&[0, 1, 80, 443, 65535][..])
}

fn capability_text() -> impl Strategy<Value = String> {
    let custom = (select(&["acme:geo", "acme:map"][..]), namespace_pattern())
        .prop_map(|(name, objects)| format!("{name}/{objects}"));
    prop_oneof![
        path_pattern().prop_map(|pattern| format!("file-read:{pattern}")),
        path_pattern().prop_map(|pattern| format!("file-write:{pattern}")),
        path_pattern().prop_map(|pattern| format!("process-spawn:{pattern}")),
        domain_pattern().prop_map(|pattern| format!("network-outbound:{pattern}")),
        domain_pattern().prop_map(|pattern| format!("network-inbound:{pattern}")),
        namespace_pattern().prop_map(|pattern| format!("storage:{pattern}")),
        topic_pattern().prop_map(|pattern| format!("messaging:{pattern}")),
        custom.prop_map(|pattern| format!("custom:{pattern}")),
    ]
}

/// The words of an access of any kind.
#[derive(Clone, Debug)]
struct Question {
    kind: CapabilityKind,
    object: String,
    port: u16,
    name: &'static str,
}

impl Question {
    fn access(&self) -> Access<'_> {
        let object = self.object.as_str();
        match self.kind {
            CapabilityKind::FileRead => Access::FileRead { path: object },
            CapabilityKind::FileWrite => Access::FileWrite { path: object },
            CapabilityKind::NetworkOutbound => Access::NetworkOutbound { host: object, port: self.port },
            CapabilityKind::NetworkInbound => Access::NetworkInbound { host: object, port: self.port },
            CapabilityKind::Storage => Access::Storage { namespace: object },
            CapabilityKind::ProcessSpawn => Access::ProcessSpawn { program: object },
            CapabilityKind::Messaging => Access::Messaging { address: object },
            CapabilityKind::Custom => Access::Custom { name: self.name, object },
            kind => unreachable!("{kind} has no generator"),
        }
    }
}

fn question() -> impl Strategy<Value = Question> {
    let object = prop_oneof![path_object(), name(), namespace_object(), topic_object()];
    let custom = select(&["acme:geo", "acme:map"][..]);
    (select(&CapabilityKind::ALL[..]), object, port(), custom)
        .prop_map(|(kind, object, port, name)| Question { kind, object, port, name })
}

/// Parses what may be refused; what is accepted must print as text that reads back as the same value.
fn accepted<T>(text: &str) -> Option<T>
where
    T: FromStr + Display + Debug + PartialEq,
    T::Err: Debug + Display,
{
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            assert_eq!(printed.parse::<T>().expect("a canonical text is accepted"), value);
            assert_eq!(printed.parse::<T>().expect("a canonical text is accepted").to_string(), printed);
            Some(value)
        }
        Err(refused) => {
            let message = refused.to_string();
            assert!(!message.ends_with('.') && message.lines().count() == 1, "{message}");
            None
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn paths_match_as_the_rules_say(text in path_pattern(), path in path_object()) {
        if let Some(pattern) = accepted::<PathPattern>(&text) {
            assert_eq!(pattern.matches(&path), oracle::path(&text, &path), "{text} {path:?}");
        }
    }

    #[test]
    fn stars_inside_a_segment_match_as_the_rules_say(text in "/[ab*]{1,8}", path in "/[ab]{1,10}") {
        if let Some(pattern) = accepted::<PathPattern>(&text) {
            assert_eq!(pattern.matches(&path), oracle::path(&text, &path), "{text} {path:?}");
        }
    }

    #[test]
    fn namespaces_match_as_the_rules_say(text in namespace_pattern(), namespace in namespace_object()) {
        if let Some(pattern) = accepted::<NamespacePattern>(&text) {
            let expected = oracle::namespace(&text, &namespace);
            assert_eq!(pattern.matches(&namespace), expected, "{text} {namespace:?}");
        }
    }

    #[test]
    fn addresses_match_as_the_rules_say(text in topic_pattern(), address in topic_object()) {
        if let Some(pattern) = accepted::<TopicPattern>(&text) {
            let expected = oracle::address(&text, &address);
            assert_eq!(pattern.matches(&address), expected, "{text} {address:?}");
        }
    }

    #[test]
    fn component_ids_are_the_addresses_with_a_slash(
        text in "[a-c9A-]{0,3}[/.]?[a-c9_-]{0,4}",
        length in 60usize..70,
    ) {
        let components: TopicPattern = "*/*".parse()?;
        assert_eq!(components.matches(&text), text.parse::<ComponentId>().is_ok(), "{text:?}");
        let long = format!("a/{}", "b".repeat(length));
        assert_eq!(components.matches(&long), long.parse::<ComponentId>().is_ok(), "{long:?}");
    }

    #[test]
    fn hosts_match_as_the_rules_say(text in domain_pattern(), host in name(), port in port()) {
        if let Some(pattern) = accepted::<DomainPattern>(&text) {
            let expected = oracle::domain(&text, &host, port);
            assert_eq!(pattern.matches(&host, port), expected, "{text} {host:?} {port}");
        }
    }

    #[test]
    fn a_valid_object_is_its_own_pattern_and_no_other(one in path_object(), other in path_object()) {
        if let (false, Some(pattern)) = (one.contains('*'), accepted::<PathPattern>(&one)) {
            assert!(pattern.matches(&one));
            assert_eq!(pattern.matches(&other), one == other);
        }
    }

    #[test]
    fn dots_and_empty_segments_never_match(
        text in path_pattern(),
        path in path_object(),
        at in any::<Index>(),
    ) {
        let Some(pattern) = accepted::<PathPattern>(&text) else { return Ok(()) };
        for dots in ["..", ".", ""] {
            let mut names: Vec<&str> = path.split('/').skip(1).collect();
            names.insert(at.index(names.len() + 1), dots);
            let path = format!("/{}", names.join("/"));
            assert!(path == "/" || !pattern.matches(&path), "{text} {path:?}");
        }
        assert!(!pattern.matches(&format!("{path}/..")));
        assert!(!pattern.matches(path.trim_start_matches('/')));
    }

    #[test]
    fn one_star_never_crosses_a_separator(depth in 1usize..8, other in 1usize..8) {
        let (stars, names) = (vec!["*"; depth].join("/"), vec!["a"; other].join("/"));
        let paths: PathPattern = format!("/{stars}").parse()?;
        assert_eq!(paths.matches(&format!("/{names}")), depth == other);
        let namespaces: NamespacePattern = stars.parse()?;
        assert_eq!(namespaces.matches(&names), depth == other);
        let topics: TopicPattern = stars.replace('/', ".").parse()?;
        assert_eq!(topics.matches(&names.replace('/', ".")), depth == other);
    }

    #[test]
    fn a_suffix_ends_on_a_label_boundary(before in "[a-z0-9-]{1,20}", boundary in any::<bool>()) {
        let pattern: DomainPattern = "*.example.com:443".parse()?;
        let host = format!("{before}{}example.com", if boundary { "." } else { "" });
        let is_label = !before.starts_with('-') && !before.ends_with('-');
        assert_eq!(pattern.matches(&host, 443), boundary && is_label, "{host}");
    }

    #[test]
    fn only_ascii_case_is_folded_and_only_in_hosts(
        host in "[a-zA-Z]{1,8}\\.[a-zA-Z]{2,4}",
        c in prop_oneof![any::<char>(), prop::char::range('A', 'z')],
        at in any::<Index>(),
    ) {
        let pattern: DomainPattern = format!("{host}:1").parse()?;
        assert!(pattern.matches(&host.to_ascii_uppercase(), 1));
        assert!(pattern.matches(&host.to_ascii_lowercase(), 1));
        let beneath: DomainPattern = format!("*.{host}:1").parse()?;
        assert!(beneath.matches(&format!("a.{}", host.to_ascii_uppercase()), 1));
        assert!(beneath.matches(&format!("a.{}", host.to_ascii_lowercase()), 1));
        let mut changed: Vec<char> = host.chars().collect();
        let place = at.index(changed.len());
        let same = changed[place].eq_ignore_ascii_case(&c);
        let identical = changed[place] == c;
        changed[place] = c;
        let changed: String = changed.into_iter().collect();
        assert_eq!(pattern.matches(&changed, 1), same, "{host} {changed}");
        let path: PathPattern = format!("/{host}").parse()?;
        assert_eq!(path.matches(&format!("/{changed}")), identical);
    }

    #[test]
    fn no_foreign_letter_passes_an_ascii_pattern(
        before in "[a-z]{0,3}",
        c in prop::char::range('\u{80}', char::MAX),
        after in "[a-z]{0,3}",
    ) {
        let word = format!("{before}{c}{after}");
        let namespaces: NamespacePattern = "**".parse()?;
        let addresses: TopicPattern = "**".parse()?;
        let hosts: DomainPattern = "*:*".parse()?;
        assert!(!namespaces.matches(&word) && !addresses.matches(&word) && !hosts.matches(&word, 1));
        assert!(word.parse::<NamespacePattern>().is_err() && word.parse::<TopicPattern>().is_err());
        assert!(word.parse::<Topic>().is_err() && format!("{word}:1").parse::<DomainPattern>().is_err());
    }

    #[test]
    fn addresses_are_numbers(one in any::<u32>(), other in any::<u32>(), port in 1u16..) {
        let (one, other) = (Ipv4Addr::from_bits(one), Ipv4Addr::from_bits(other));
        let pattern: DomainPattern = format!("{one}:{port}").parse()?;
        let mapped = one.to_ipv6_mapped();
        let [a, b, c, d] = mapped.octets()[12..] else { return Err(TestCaseError::fail("four octets")) };
        assert!(pattern.matches(&one.to_string(), port));
        assert!(pattern.matches(&mapped.to_string(), port));
        assert!(pattern.matches(&format!("[0:0:0:0:0:FFFF:{a:X}{b:02X}:{c:X}{d:02X}]"), port));
        assert_eq!(pattern.matches(&other.to_string(), port), one == other);
        assert_eq!(format!("[{mapped}]:{port}").parse::<DomainPattern>()?, pattern.clone());
        let bits = one.to_bits();
        let spellings = [
            format!("{bits}"),
            format!("{bits:#x}"),
            format!("{a}.{b}.{}", u16::from_be_bytes([c, d])),
            format!("{a}.{}", bits & 0x00ff_ffff),
            format!("0{a:o}.{b}.{c}.{d}"),
            format!("{a:#x}.{b}.{c}.{d}"),
            format!("{one}."),
        ];
        for spelling in spellings {
            assert!(!pattern.matches(&spelling, port), "{spelling}");
            assert!(format!("{spelling}:{port}").parse::<DomainPattern>().is_err(), "{spelling}");
        }
        let names: DomainPattern = "*:*".parse()?;
        assert!(!names.matches(&one.to_string(), port) && !names.matches(&mapped.to_string(), port));
    }

    #[test]
    fn long_addresses_are_numbers_too(bits in any::<u128>(), flip in 0u32..128) {
        let address = Ipv6Addr::from_bits(bits);
        let pattern: DomainPattern = format!("[{address}]:443").parse()?;
        let spelled = address.segments().map(|segment| format!("{segment:04X}")).join(":");
        assert!(pattern.matches(&spelled, 443) && pattern.matches(&format!("[{spelled}]"), 443));
        assert!(!pattern.matches(&Ipv6Addr::from_bits(bits ^ (1 << flip)).to_string(), 443));
        assert!(!pattern.matches(&format!("{address}%1"), 443));
    }

    #[test]
    fn a_port_is_that_port(wanted in 1u16.., asked in any::<u16>()) {
        let one: DomainPattern = format!("example.com:{wanted}").parse()?;
        let every: DomainPattern = "example.com:*".parse()?;
        assert_eq!(one.matches("example.com", asked), wanted == asked);
        assert_eq!(every.matches("example.com", asked), asked != 0);
        assert!(format!("example.com:0{wanted}").parse::<DomainPattern>().is_err());
    }

    #[test]
    fn capabilities_read_as_they_print(text in capability_text()) {
        if let Some(capability) = accepted::<Capability>(&text) {
            assert!(text.starts_with(capability.kind().name()));
        }
    }

    #[test]
    fn whatever_the_text_nothing_panics(
        text in any::<String>(),
        port in any::<u16>(),
        kind in select(&CapabilityKind::ALL[..]),
    ) {
        accepted::<PathPattern>(&text);
        accepted::<DomainPattern>(&text);
        accepted::<NamespacePattern>(&text);
        accepted::<TopicPattern>(&text);
        accepted::<Topic>(&text);
        accepted::<CustomCapability>(&text);
        accepted::<CapabilityKind>(&text);
        accepted::<Capability>(&text);
        accepted::<Capability>(&format!("{kind}:{text}"));
        let question = Question { kind, object: text, port, name: "acme:geo" };
        assert!(question.access().to_string().lines().count() == 1);
    }

    #[test]
    fn only_well_formed_accesses_match(text in capability_text(), question in question()) {
        let access = question.access();
        if text.parse::<Capability>().is_ok_and(|capability| capability.allows(&access)) {
            assert!(access.is_well_formed());
        }
        let widest = [
            "file-read:/**",
            "file-write:/**",
            "process-spawn:/**",
            "storage:**",
            "messaging:**",
            "custom:acme:geo/**",
            "custom:acme:map/**",
            "network-outbound:*:*",
            "network-inbound:*:*",
        ];
        let everything = widest.into_iter().map(str::parse).collect::<Result<CapabilitySet, _>>()?;
        assert_eq!(everything.matches(&access).is_some(), access.is_well_formed());
    }

    #[test]
    fn the_text_to_grant_allows_the_access_and_nothing_else(question in question(), other in question()) {
        let (access, other) = (question.access(), other.access());
        match access.capability_text() {
            Some(text) => {
                let capability: Capability = text.parse()?;
                assert!(capability.allows(&access));
                let same = other.capability_text().as_ref() == Some(&text);
                assert_eq!(capability.allows(&other), same);
            }
            None => assert!(!access.is_well_formed() || question.object.contains('*')),
        }
    }

    #[test]
    fn a_custom_name_is_compared(text in namespace_pattern(), object in namespace_object()) {
        if let Some(custom) = accepted::<CustomCapability>(&format!("acme:geo/{text}")) {
            assert_eq!(custom.matches("acme:geo", &object), oracle::namespace(&text, &object));
            assert!(!custom.matches("acme:map", &object));
        }
    }

    #[test]
    fn a_set_allows_what_one_of_its_grants_allows(
        texts in vec(capability_text(), 0..8),
        question in question(),
    ) {
        let access = question.access();
        let mut grants: Vec<Capability> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        let mut set: CapabilitySet = grants.iter().cloned().collect();
        grants.sort();
        grants.dedup();
        assert_eq!(set.iter().collect::<Vec<_>>(), grants.iter().collect::<Vec<_>>());
        while let Some(revoked) = grants.pop() {
            let expected = grants.iter().chain([&revoked]).find(|grant| grant.allows(&access));
            assert_eq!(set.matches(&access), expected);
            assert!(set.revoke(&revoked) && !set.has(&revoked) && !set.revoke(&revoked));
            assert_ne!(set.matches(&access), Some(&revoked));
            assert_eq!(set.len(), grants.len());
        }
        assert!(set.is_empty() && set.matches(&access).is_none());
    }
}
