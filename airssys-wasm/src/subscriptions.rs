//! Who wants to hear what is published on which topics.

use std::collections::HashMap;
use std::sync::Arc;

use airssys_wasm_core::capability::{Access, Topic, TopicPattern};
use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::security::SecurityContext;
use arc_swap::ArcSwap;

use crate::cell::Cell;
use crate::gate::{Gate, Grants};
use crate::instance::InstanceContext;
use crate::unit_of_work::Interest;

/// The most patterns that one component subscribes to.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 1_000;

/// The subscriptions of all running components. They survive the replacement of an instance and end with the component.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(ArcSwap<HashMap<ComponentId, Arc<Subscriber>>>);

/// What one component wants to hear.
#[derive(Clone, Debug)]
struct Subscriber {
    cell: Arc<Cell>,
    security: SecurityContext,
    grants: Arc<Grants>,
    patterns: Vec<TopicPattern>,
}

impl Subscriber {
    fn new(instance: &InstanceContext) -> Self {
        Self {
            cell: instance.cell.clone(),
            security: instance.security.clone(),
            grants: instance.grants.clone(),
            patterns: Vec::new(),
        }
    }
}

impl Subscriptions {
    /// Makes the changes of one handler.
    pub(crate) fn change(&self, instance: &InstanceContext, changes: &[(TopicPattern, Interest)]) {
        self.update(instance, |patterns| {
            for (pattern, interest) in changes {
                patterns.retain(|other| other != pattern);
                if *interest == Interest::Subscribe {
                    patterns.push(pattern.clone());
                }
            }
        });
    }

    /// Lets the subscriptions of a component go on in the name of its present instance.
    pub(crate) fn renew(&self, instance: &InstanceContext) {
        if self.0.load().contains_key(instance.id()) {
            self.update(instance, |_| {});
        }
    }

    fn update(&self, instance: &InstanceContext, change: impl Fn(&mut Vec<TopicPattern>)) {
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            let mut subscriber = Subscriber::new(instance);
            // What an earlier life of the component wanted to hear is none of this one's.
            if let Some(known) =
                all.get(instance.id()).filter(|known| Arc::ptr_eq(&known.cell, &instance.cell))
            {
                subscriber.patterns.clone_from(&known.patterns);
            }
            change(&mut subscriber.patterns);
            if subscriber.patterns.is_empty() {
                all.remove(instance.id());
            } else {
                all.insert(instance.id().clone(), Arc::new(subscriber));
            }
            all
        });
    }

    /// Ends every subscription of this life of a component.
    pub(crate) fn remove(&self, cell: &Arc<Cell>) {
        if !self.0.load().contains_key(cell.id()) {
            return;
        }
        self.0.rcu(|all| {
            let mut all = HashMap::clone(all);
            if all.get(cell.id()).is_some_and(|known| Arc::ptr_eq(&known.cell, cell)) {
                all.remove(cell.id());
            }
            all
        });
    }

    pub(crate) fn has(&self, component: &ComponentId, pattern: &TopicPattern) -> bool {
        self.0.load().get(component).is_some_and(|known| known.patterns.contains(pattern))
    }

    /// How many patterns a component has subscribed to.
    pub(crate) fn count(&self, component: &ComponentId) -> usize {
        self.0.load().get(component).map_or(0, |known| known.patterns.len())
    }

    /// The cells that want to hear of `topic` and, by the gate's word of this moment, may. Each at most once.
    pub(crate) fn subscribers(&self, topic: &Topic, gate: &Gate) -> Vec<Arc<Cell>> {
        let access = Access::Messaging { address: topic.as_str() };
        let all = self.0.load();
        let wants =
            |one: &&Arc<Subscriber>| one.patterns.iter().any(|pattern| pattern.matches(topic.as_str()));
        let may = |one: &&Arc<Subscriber>| gate.check(&one.security, &one.grants, access).is_allowed();
        all.values().filter(wants).filter(may).map(|one| one.cell.clone()).collect()
    }
}
