//! A set of grants, asked with one access at a time.

use std::{collections::BTreeSet, fmt};

use super::{Access, Capability, CapabilityKind};

/// The capabilities that somebody was granted. An empty set allows nothing.
///
/// Grants are kept by kind, so that an access is compared only with grants of its own kind, and in an order
/// that does not depend on how the set was built: by kind, then by pattern.
///
/// # Behavior
/// - A set holds each capability once; equal means the same kind and the same canonical pattern.
/// - An access is allowed exactly when a single grant allows it.
/// - Revoking removes exactly the capability named: it makes no hole in a wider grant.
///
/// ```
/// use airssys_wasm_core::capability::{Access, Capability, CapabilitySet};
///
/// let counter: Capability = "storage:acme/counter".parse()?;
/// let mut granted = CapabilitySet::from_iter([counter.clone()]);
/// let access = Access::Storage { namespace: "acme/counter" };
/// assert_eq!(granted.matches(&access), Some(&counter));
///
/// assert!(granted.revoke(&counter));
/// assert_eq!(granted.matches(&access), None);
/// # Ok::<(), airssys_wasm_core::capability::InvalidCapability>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "Vec<Capability>", into = "Vec<Capability>"))]
pub struct CapabilitySet {
    by_kind: [BTreeSet<Capability>; CapabilityKind::ALL.len()],
}

impl CapabilitySet {
    /// A set that allows nothing.
    pub const fn new() -> Self {
        Self { by_kind: [const { BTreeSet::new() }; CapabilityKind::ALL.len()] }
    }

    /// Adds a capability; tells whether it was not there before.
    pub fn grant(&mut self, capability: Capability) -> bool {
        self.by_kind[capability.kind() as usize].insert(capability)
    }

    /// Removes exactly this capability; tells whether it was there.
    pub fn revoke(&mut self, capability: &Capability) -> bool {
        self.by_kind[capability.kind() as usize].remove(capability)
    }

    /// Whether exactly this capability was granted. A wider one does not count: ask
    /// [`matches`](Self::matches).
    pub fn has(&self, capability: &Capability) -> bool {
        self.by_kind[capability.kind() as usize].contains(capability)
    }

    /// The first grant, in the order of the set, that allows `access`.
    pub fn matches(&self, access: &Access<'_>) -> Option<&Capability> {
        self.by_kind[access.kind() as usize].iter().find(|capability| capability.allows(access))
    }

    /// All grants in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.by_kind.iter().flatten())
    }

    /// The grants of one kind in order.
    pub fn of_kind(&self, kind: CapabilityKind) -> impl Iterator<Item = &Capability> {
        self.by_kind[kind as usize].iter()
    }

    /// The grants that `other` does not have, in order: what would be new to a holder of `other`.
    ///
    /// Compares capabilities, not what they cover: a narrower pattern is shown too.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Capability> {
        self.by_kind.iter().zip(&other.by_kind).flat_map(|(own, others)| own.difference(others))
    }

    /// How many capabilities there are.
    pub fn len(&self) -> usize {
        self.by_kind.iter().map(BTreeSet::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_kind.iter().all(BTreeSet::is_empty)
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self).finish()
    }
}

/// One capability per line.
impl fmt::Display for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, capability) in self.iter().enumerate() {
            let before = if index == 0 { "" } else { "\n" };
            write!(f, "{before}{capability}")?;
        }
        Ok(())
    }
}

impl Extend<Capability> for CapabilitySet {
    fn extend<T: IntoIterator<Item = Capability>>(&mut self, capabilities: T) {
        for capability in capabilities {
            self.grant(capability);
        }
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<T: IntoIterator<Item = Capability>>(capabilities: T) -> Self {
        let mut set = Self::new();
        set.extend(capabilities);
        set
    }
}

impl From<Vec<Capability>> for CapabilitySet {
    fn from(capabilities: Vec<Capability>) -> Self {
        capabilities.into_iter().collect()
    }
}

impl From<CapabilitySet> for Vec<Capability> {
    fn from(set: CapabilitySet) -> Self {
        set.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a CapabilitySet {
    type Item = &'a Capability;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for CapabilitySet {
    type Item = Capability;
    type IntoIter = IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        IntoIter(self.by_kind.into_iter().flatten())
    }
}

/// Borrows the grants of a [`CapabilitySet`] in order.
#[derive(Clone, Debug)]
pub struct Iter<'a>(std::iter::Flatten<std::slice::Iter<'a, BTreeSet<Capability>>>);

impl<'a> Iterator for Iter<'a> {
    type Item = &'a Capability;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// Takes the grants out of a [`CapabilitySet`] in order.
#[derive(Debug)]
pub struct IntoIter(
    std::iter::Flatten<std::array::IntoIter<BTreeSet<Capability>, { CapabilityKind::ALL.len() }>>,
);

impl Iterator for IntoIter {
    type Item = Capability;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(text: &str) -> Capability {
        text.parse().unwrap()
    }

    #[test]
    fn an_empty_set_allows_nothing() {
        let set = CapabilitySet::default();
        assert!(set.is_empty());
        assert_eq!(set.len(), 0);
        assert_eq!(set.matches(&Access::Messaging { address: "acme/greeter" }), None);
        assert_eq!(set.to_string(), "");
    }

    #[test]
    fn a_grant_counts_once() {
        let mut set = CapabilitySet::new();
        assert!(set.grant(capability("network-outbound:example.com:443")));
        assert!(!set.grant(capability("network-outbound:EXAMPLE.com:443")));
        assert_eq!(set.len(), 1);
        assert!(set.has(&capability("network-outbound:example.com:443")));
        assert!(!set.has(&capability("network-inbound:example.com:443")));
        assert!(!set.has(&capability("network-outbound:*:443")));
    }

    #[test]
    fn a_revoked_grant_never_matches() {
        let access = Access::Storage { namespace: "acme/counter" };
        let mut set: CapabilitySet =
            ["storage:acme/counter", "storage:acme/*"].into_iter().map(capability).collect();
        assert_eq!(set.matches(&access), Some(&capability("storage:acme/*")));
        assert!(set.revoke(&capability("storage:acme/*")));
        assert_eq!(set.matches(&access), Some(&capability("storage:acme/counter")));
        assert!(!set.revoke(&capability("storage:acme/*")));
        assert!(!set.revoke(&capability("storage:**")));
        assert!(set.revoke(&capability("storage:acme/counter")));
        assert_eq!(set.matches(&access), None);
        assert!(set.is_empty());
    }

    #[test]
    fn order_does_not_depend_on_history() {
        let texts =
            ["file-read:/a", "file-read:/b/**", "storage:acme/x", "messaging:**", "custom:acme:geo/**"];
        let forward: CapabilitySet = texts.into_iter().map(capability).collect();
        let backward: CapabilitySet = texts.into_iter().rev().map(capability).collect();
        assert_eq!(forward, backward);
        assert_eq!(forward.to_string(), texts.join("\n"));
        assert!(backward.iter().zip(texts).all(|(granted, text)| granted.to_string() == text));
        assert_eq!(backward.into_iter().map(String::from).collect::<Vec<_>>(), texts);
        assert_eq!(forward.of_kind(CapabilityKind::FileRead).count(), 2);
        assert_eq!(forward.of_kind(CapabilityKind::FileWrite).count(), 0);
    }

    #[test]
    fn difference_shows_what_is_new() {
        let old: CapabilitySet = ["storage:acme/*", "messaging:a/b"].into_iter().map(capability).collect();
        let new: CapabilitySet = ["storage:acme/**", "messaging:a/b"].into_iter().map(capability).collect();
        assert_eq!(new.difference(&old).collect::<Vec<_>>(), [&capability("storage:acme/**")]);
        assert_eq!(old.difference(&new).collect::<Vec<_>>(), [&capability("storage:acme/*")]);
        assert_eq!(new.difference(&new).count(), 0);
    }

    #[cfg(feature = "serde")]
    #[test]
    fn data_is_a_list_of_texts() {
        let set: CapabilitySet =
            serde_json::from_str(r#"["storage:acme/x","file-read:/a","storage:acme/x"]"#).unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["file-read:/a","storage:acme/x"]"#);
        assert!(serde_json::from_str::<CapabilitySet>(r#"["storage"]"#).is_err());
    }
}
