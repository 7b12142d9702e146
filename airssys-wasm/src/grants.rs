//! What a component was granted, and until when.

use std::sync::Arc;
use std::time::SystemTime;

use airssys_wasm_core::capability::{Access, Capability, CapabilityIndex, CapabilitySet};
use arc_swap::{ArcSwap, Guard};

/// What a component was granted; shared by its instances, so that a change takes effect at the next check.
///
/// A grant can have an end, by the wall clock. What has ended stays ended when the clock is set back.
#[derive(Debug, Default)]
pub struct Grants(ArcSwap<Rights>);

/// Capabilities, and how they are asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    set: Arc<CapabilitySet>,
    index: CapabilityIndex,
    /// The grants that have an end, the first to end first.
    ends: Vec<(SystemTime, Capability)>,
    ended: CapabilitySet,
}

impl Rights {
    pub(crate) fn new(set: CapabilitySet) -> Self {
        Self { index: CapabilityIndex::new(&set), set: Arc::new(set), ..Self::default() }
    }

    /// Whether one of them allows it.
    pub(crate) fn allow(&self, access: &Access<'_>) -> bool {
        self.index.allows(access)
    }

    pub(crate) fn set(&self) -> &CapabilitySet {
        &self.set
    }

    /// What was granted once, and has ended.
    pub(crate) fn ended(&self) -> &CapabilitySet {
        &self.ended
    }

    fn has_ended(&self, at: SystemTime) -> bool {
        self.ends.first().is_some_and(|(end, _)| *end <= at)
    }

    /// Takes the grants out that have ended by then.
    fn end(&mut self, at: SystemTime) {
        let ended = self.ends.partition_point(|(end, _)| *end <= at);
        let mut set = CapabilitySet::clone(&self.set);
        for (_, capability) in self.ends.drain(..ended) {
            set.revoke(&capability);
            self.ended.grant(capability);
        }
        self.replace(set);
    }

    fn replace(&mut self, set: CapabilitySet) {
        self.index = CapabilityIndex::new(&set);
        self.set = Arc::new(set);
    }

    fn forget(&mut self, capability: &Capability) {
        self.ends.retain(|(_, ends)| ends != capability);
        self.ended.revoke(capability);
    }
}

impl Grants {
    /// These grants, without an end.
    pub fn new(grants: CapabilitySet) -> Self {
        Self(ArcSwap::from_pointee(Rights::new(grants)))
    }

    /// Grants `capability` without an end; false when it was granted so before.
    pub fn grant(&self, capability: &Capability) -> bool {
        self.change(|rights| {
            let had_end = rights.ends.iter().any(|(_, ends)| ends == capability);
            rights.forget(capability);
            let mut set = CapabilitySet::clone(&rights.set);
            let is_new = set.grant(capability.clone());
            rights.replace(set);
            is_new || had_end
        })
    }

    /// Grants `capability` until then, and no longer, whatever was granted before; false when it was granted until then before.
    /// One that lies in the past has ended.
    pub fn grant_until(&self, capability: &Capability, end: SystemTime) -> bool {
        self.change(|rights| {
            let same = rights.ends.iter().any(|(ends, which)| *ends == end && which == capability);
            rights.forget(capability);
            let mut set = CapabilitySet::clone(&rights.set);
            set.grant(capability.clone());
            rights.replace(set);
            let place = rights.ends.partition_point(|(other, _)| *other <= end);
            rights.ends.insert(place, (end, capability.clone()));
            !same
        })
    }

    /// Takes exactly this grant back; false when it was not granted, or had ended.
    pub fn revoke(&self, capability: &Capability) -> bool {
        self.change(|rights| {
            rights.end(SystemTime::now());
            rights.forget(capability);
            let mut set = CapabilitySet::clone(&rights.set);
            let was_granted = set.revoke(capability);
            rights.replace(set);
            was_granted
        })
    }

    /// What is granted now.
    pub fn snapshot(&self) -> Arc<CapabilitySet> {
        Arc::clone(&self.at(SystemTime::now()).set)
    }

    /// What is granted at this moment.
    pub(crate) fn at(&self, at: SystemTime) -> Guard<Arc<Rights>> {
        let rights = self.0.load();
        if !rights.has_ended(at) {
            return rights;
        }
        drop(rights);
        self.change(|rights| rights.end(at));
        self.0.load()
    }

    fn change<T: Default>(&self, mut change: impl FnMut(&mut Rights) -> T) -> T {
        let mut answer = T::default();
        self.0.rcu(|rights| {
            let mut rights = Rights::clone(rights);
            answer = change(&mut rights);
            rights
        });
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn capability(text: &str) -> Capability {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn allowed(grants: &Grants, seconds: u64) -> Vec<String> {
        grants.at(at(seconds)).set().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_grant_ends_at_its_own_moment() {
        let grants = Grants::new([capability("storage:acme/c")].into_iter().collect());
        assert!(grants.grant_until(&capability("storage:acme/b"), at(20)));
        assert!(grants.grant_until(&capability("storage:acme/a"), at(10)));
        assert!(!grants.grant_until(&capability("storage:acme/a"), at(10)));
        assert_eq!(allowed(&grants, 9), ["storage:acme/a", "storage:acme/b", "storage:acme/c"]);
        assert_eq!(allowed(&grants, 10), ["storage:acme/b", "storage:acme/c"]);
        assert_eq!(allowed(&grants, 9), ["storage:acme/b", "storage:acme/c"], "the clock was set back");
        assert_eq!(allowed(&grants, 20), ["storage:acme/c"]);
        let ended: Vec<_> = grants.at(at(20)).ended().iter().map(ToString::to_string).collect();
        assert_eq!(ended, ["storage:acme/a", "storage:acme/b"]);
    }

    #[test]
    fn the_last_word_counts() {
        let grants = Grants::default();
        let a = capability("storage:acme/a");
        assert!(grants.grant(&a));
        assert!(!grants.grant(&a));
        assert!(grants.grant_until(&a, at(10)), "a grant for good is cut to an end");
        assert_eq!(allowed(&grants, 10), [""; 0]);
        assert!(!grants.revoke(&a), "it had ended");
        assert!(grants.at(at(10)).ended().is_empty(), "what is revoked is no grant that has ended");
        assert!(grants.grant_until(&a, SystemTime::now() + Duration::from_secs(3_600)));
        assert!(grants.grant(&a), "the end is lifted");
        assert!(grants.revoke(&a));
        assert_eq!(allowed(&grants, 0), [""; 0]);
    }
}
