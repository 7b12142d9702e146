//! The names of namespaces and the ids that stand for them in keys.
//!
//! A name is data, so it never becomes part of a record's key: `a` with `b/c` can not meet `a/b` with `c`.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::PoisonError;

use airssys_wasm_core::storage::Namespace;

use crate::sync::RwLock;

/// Every name of the store, in memory: a read finds its id without asking the engine.
#[derive(Debug, Default)]
pub(super) struct Namespaces(RwLock<Names>);

#[derive(Debug, Default)]
struct Names {
    ids: HashMap<Namespace, u32>,
    sorted: BTreeSet<Namespace>,
}

impl Namespaces {
    /// The id, if anything was ever stored under that name.
    pub(super) fn id(&self, namespace: &Namespace) -> Option<u32> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).ids.get(namespace).copied()
    }

    /// The first names behind `after`, in bytewise order.
    pub(super) fn behind(&self, after: Option<&Namespace>, limit: usize) -> Vec<Namespace> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.sorted.range((start, Bound::Unbounded)).take(limit).cloned().collect()
    }

    /// Gives names other ids while `apply` makes that so in the engine. Nobody finds an id meanwhile: a reader sees
    /// all of the commit or nothing of it.
    ///
    /// # Errors
    /// That of `apply`; the ids then stay as they were.
    pub(super) fn exchange<T, E>(
        &self,
        names: impl IntoIterator<Item = (Namespace, u32)>,
        apply: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let applied = apply()?;
        known.add(names);
        Ok(applied)
    }

    /// The smallest id above `id`.
    pub(super) fn id_behind(&self, id: u32) -> Option<u32> {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.ids.values().filter(|other| **other > id).min().copied()
    }

    /// Adds names. They are added *before* the records that need them are applied: a reader who sees one change of a
    /// commit must be able to see all of them, those in a new namespace too.
    pub(super) fn add(&self, names: impl IntoIterator<Item = (Namespace, u32)>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).add(names);
    }
}

impl Names {
    fn add(&mut self, names: impl IntoIterator<Item = (Namespace, u32)>) {
        for (name, id) in names {
            self.sorted.insert(name.clone());
            self.ids.insert(name, id);
        }
    }
}
