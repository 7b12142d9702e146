//! Grants made ready to be asked often.

use super::{Access, Capability, CapabilityKind, CapabilitySet};

/// The capabilities of a [`CapabilitySet`], in the order in which asking them costs least.
///
/// It is made when grants change and asked at every access: what is named without a wildcard is found by its text, and a
/// pattern is only walked when the object starts as the pattern does.
///
/// # Behavior
/// - It allows what the set allows, and nothing else.
/// - What it allows is [well-formed](Access::is_well_formed).
/// - Asking allocates nothing.
///
/// ```
/// use airssys_wasm_core::capability::{Access, CapabilityIndex, CapabilitySet};
///
/// let mut granted = CapabilitySet::new();
/// granted.grant("storage:acme/counter".parse()?);
/// let granted = CapabilityIndex::new(&granted);
/// assert!(granted.allows(&Access::Storage { namespace: "acme/counter" }));
/// assert!(!granted.allows(&Access::Messaging { address: "acme/counter" }));
/// # Ok::<(), airssys_wasm_core::capability::InvalidCapability>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CapabilityIndex {
    /// In the order of their keys.
    named: Box<[Named]>,
    /// In the order of their kinds.
    patterns: Box<[Pattern]>,
}

/// One object, named in full.
#[derive(Clone, Debug)]
struct Named {
    kind: CapabilityKind,
    object: Box<str>,
}

#[derive(Clone, Debug)]
struct Pattern {
    kind: CapabilityKind,
    /// What each object that it matches starts with, and which bits of that count.
    start: u64,
    mask: u64,
    capability: Capability,
}

impl Named {
    fn key(&self) -> (CapabilityKind, usize, &str) {
        key(self.kind, &self.object)
    }
}

/// Lengths are compared before texts.
fn key(kind: CapabilityKind, object: &str) -> (CapabilityKind, usize, &str) {
    (kind, object.len(), object)
}

impl CapabilityIndex {
    /// The capabilities of `set`.
    pub fn new(set: &CapabilitySet) -> Self {
        let (mut named, mut patterns) = (Vec::new(), Vec::new());
        for capability in set {
            let kind = capability.kind();
            match text(capability) {
                Some(object) if !object.contains('*') => named.push(Named { kind, object: object.into() }),
                pattern => {
                    let start = pattern.map_or("", start);
                    let bits = 8 * start.len().min(8) as u32;
                    let mask = u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0);
                    patterns.push(Pattern { kind, start: word(start), mask, capability: capability.clone() });
                }
            }
        }
        named.sort_unstable_by(|left, right| left.key().cmp(&right.key()));
        Self { named: named.into(), patterns: patterns.into() }
    }

    /// Whether a single capability covers `access`.
    pub fn allows(&self, access: &Access<'_>) -> bool {
        let (kind, object) = (access.kind(), access.text());
        if let Some(object) = object
            && !self.named.is_empty()
        {
            let wanted = key(kind, object);
            if self.named.binary_search_by(|named| named.key().cmp(&wanted)).is_ok() {
                return true;
            }
        }
        let word = object.map_or(0, word);
        let may = |pattern: &&Pattern| pattern.kind == kind && word & pattern.mask == pattern.start;
        self.patterns.iter().filter(may).any(|pattern| pattern.capability.allows(access))
    }
}

/// The pattern of a capability whose objects are single texts that are compared byte by byte.
fn text(capability: &Capability) -> Option<&str> {
    match capability {
        Capability::FileRead(pattern)
        | Capability::FileWrite(pattern)
        | Capability::ProcessSpawn(pattern) => Some(pattern.as_str()),
        Capability::Storage(pattern) => Some(pattern.as_str()),
        Capability::Messaging(pattern) => Some(pattern.as_str()),
        Capability::NetworkOutbound(_) | Capability::NetworkInbound(_) | Capability::Custom(_) => None,
    }
}

/// The first eight bytes, as one number; zeros where there are fewer.
fn word(text: &str) -> u64 {
    let bytes = text.as_bytes();
    match bytes.first_chunk() {
        Some(word) => u64::from_le_bytes(*word),
        None => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// What comes before the first wildcard. `**` may stand for nothing, and then for nothing of its separator, either.
fn start(pattern: &str) -> &str {
    let (start, wildcard) = pattern.split_at(pattern.find('*').unwrap_or(pattern.len()));
    if wildcard.starts_with("**") { start.strip_suffix(['/', '.']).unwrap_or(start) } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_allows_exactly_what_its_set_allows() {
        let segments = ["a", "ab", "abcdefgh-ij", "*", "**", "a*", "*b"];
        let prefixes = ["file-read:/", "storage:", "messaging:", "custom:acme:geo/", "network-outbound:"];
        let mut capabilities: Vec<Capability> = Vec::new();
        for prefix in prefixes {
            for (first, separator) in segments.iter().flat_map(|one| [(one, '/'), (one, '.')]) {
                capabilities.extend(format!("{prefix}{first}").parse());
                capabilities.extend(format!("{prefix}{first}:80").parse());
                for second in segments {
                    capabilities.extend(format!("{prefix}{first}{separator}{second}").parse());
                    capabilities.extend(format!("{prefix}{first}{separator}{second}:80").parse());
                    for third in ["a", "**"] {
                        let text = format!("{prefix}{first}{separator}{second}{separator}{third}");
                        capabilities.extend(text.parse());
                    }
                }
            }
        }
        assert!(capabilities.len() > 200, "there are only {}", capabilities.len());
        let objects = [
            "",
            "a",
            "ab",
            "b",
            "*",
            "**",
            "a/a",
            "a/ab",
            "ab/a",
            "a.a",
            "a.ab",
            "ab.a",
            "a/*",
            "a/a/a",
            "a/b/a",
            "a.b.a",
            "a/../a",
            "a//a",
            "A",
            "a/",
            "/a",
            "a.",
            "ax",
            "ab/ab/ab/ab",
            "abcdefgh-ij",
            "abcdefgh-ij/a",
            "abcdefgh/a",
            "abcdefgh-ij.ab.a",
        ];
        let mut allowed = 0;
        for object in objects {
            let path = &format!("/{object}");
            for access in [
                Access::FileRead { path },
                Access::FileRead { path: object },
                Access::FileWrite { path },
                Access::Storage { namespace: object },
                Access::Messaging { address: object },
                Access::Custom { name: "acme:geo", object },
                Access::Custom { name: "acme:other", object },
                Access::NetworkOutbound { host: object, port: 80 },
            ] {
                for capability in &capabilities {
                    let set = CapabilitySet::from_iter([capability.clone()]);
                    let expected = set.matches(&access).is_some();
                    assert_eq!(CapabilityIndex::new(&set).allows(&access), expected, "{capability} {access}");
                    assert!(!expected || access.is_well_formed(), "{capability} allows {access}");
                    allowed += u32::from(expected);
                }
            }
        }
        assert!(allowed > 500, "only {allowed} were allowed");
    }

    #[test]
    fn one_of_many_is_found_and_no_other() {
        let name = |number: usize| format!("acme/{}{number}", "x".repeat(number % 7));
        let set: CapabilitySet = (0..100)
            .filter(|number| number % 2 == 0)
            .map(|number| format!("storage:{}", name(number)).parse::<Capability>().unwrap())
            .collect();
        let index = CapabilityIndex::new(&set);
        for number in 0..100 {
            assert_eq!(index.allows(&Access::Storage { namespace: &name(number) }), number % 2 == 0);
            assert!(!index.allows(&Access::Messaging { address: &name(number) }));
        }
        assert!(!CapabilityIndex::default().allows(&Access::Storage { namespace: "acme/0" }));
    }
}
