//! Who wants to hear what is published on which topics.

use std::sync::Arc;

use airssys_wasm_core::capability::{Access, Topic, TopicPattern};
use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::security::SecurityContext;
use arc_swap::ArcSwap;

use crate::cell::Cell;
use crate::gate::{Gate, Grants};

/// The subscriptions of all running components. They survive a restart of the instance and end with the component.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(ArcSwap<Vec<Subscription>>);

/// One component's interest in a pattern of topics.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) pattern: TopicPattern,
    pub(crate) cell: Arc<Cell>,
    pub(crate) security: SecurityContext,
    pub(crate) grants: Arc<Grants>,
}

impl Subscriptions {
    /// Adds a subscription; a second one of the same component with the same pattern changes nothing.
    pub(crate) fn add(&self, subscription: &Subscription) {
        self.0.rcu(|all| {
            let mut all = Vec::clone(all);
            if !all.iter().any(|one| one.is(subscription.cell.id(), &subscription.pattern)) {
                all.push(subscription.clone());
            }
            all
        });
    }

    pub(crate) fn remove(&self, component: &ComponentId, pattern: &TopicPattern) {
        self.retain(|one| !one.is(component, pattern));
    }

    pub(crate) fn remove_all(&self, component: &ComponentId) {
        self.retain(|one| one.cell.id() != component);
    }

    fn retain(&self, keep: impl Fn(&Subscription) -> bool) {
        self.0.rcu(|all| all.iter().filter(|one| keep(one)).cloned().collect::<Vec<_>>());
    }

    pub(crate) fn has(&self, component: &ComponentId, pattern: &TopicPattern) -> bool {
        self.0.load().iter().any(|one| one.is(component, pattern))
    }

    /// The cells that want to hear of `topic` and, by the gate's word of this moment, may. Each at most once.
    pub(crate) fn subscribers(&self, topic: &Topic, gate: &Gate) -> Vec<Arc<Cell>> {
        let mut cells: Vec<Arc<Cell>> = Vec::new();
        for one in self.0.load().iter() {
            let matches = one.pattern.matches(topic.as_str()) && !cells.iter().any(|cell| cell.id() == one.cell.id());
            let access = Access::Messaging { address: topic.as_str() };
            if matches && gate.check(&one.security, &one.grants, access).is_allowed() {
                cells.push(one.cell.clone());
            }
        }
        cells
    }
}

impl Subscription {
    fn is(&self, component: &ComponentId, pattern: &TopicPattern) -> bool {
        self.cell.id() == component && self.pattern == *pattern
    }
}
