//! Which cell takes the messages of which component.

use std::collections::HashMap;
use std::sync::Arc;

use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::{MessagingFault, WasmError};
use arc_swap::ArcSwap;

use crate::cell::Cell;

/// A table that is read for every message and changed when a component starts or stops.
#[derive(Debug, Default)]
pub(crate) struct Router(ArcSwap<HashMap<ComponentId, Arc<Cell>>>);

impl Router {
    /// The cell of the component with this name.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Cell>> {
        self.0.load().get(id).cloned()
    }

    /// The cell of this component.
    pub(crate) fn route(&self, id: &ComponentId) -> Result<Arc<Cell>, WasmError> {
        self.find(id.as_str()).ok_or_else(|| {
            WasmError::messaging("route", MessagingFault::UnknownTarget)
                .with("component", id)
                .advising("install and start it first")
        })
    }

    /// Every cell, in no particular order.
    pub(crate) fn all(&self) -> Vec<Arc<Cell>> {
        self.0.load().values().cloned().collect()
    }

    pub(crate) fn insert(&self, cell: &Arc<Cell>) {
        self.0.rcu(|cells| {
            let mut cells = HashMap::clone(cells);
            cells.insert(cell.id().clone(), cell.clone());
            cells
        });
    }

    /// Removes this cell, and no other of the same name.
    pub(crate) fn remove(&self, cell: &Arc<Cell>) {
        self.0.rcu(|cells| {
            let mut cells = HashMap::clone(cells);
            if cells.get(cell.id()).is_some_and(|known| Arc::ptr_eq(known, cell)) {
                cells.remove(cell.id());
            }
            cells
        });
    }
}
