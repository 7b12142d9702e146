//! Handles of resources: a table for each component instance, and the calls that borrows live in.
//!
//! A guest sees the numbers, so they are given out as the specification says: from one, and the last one
//! dropped first.

use std::mem;
use std::sync::Arc;

use airssys_wasm_core::error::{ErrorKind, Limit, Result, TrapKind, WasmError};
use wasmtime_environ::EntityRef;
use wasmtime_environ::component::{
    Component, ComponentTypes, ResourceIndex, RuntimeComponentInstanceIndex, TypeResourceTable,
    TypeResourceTableIndex,
};

const OPERATION: &str = "resource";
/// The highest bits of a handle are for the Component Model's own use.
const MAX_HANDLE: usize = 1 << 28;

/// The resource types of a component: made once for a component, and shared by its instances.
#[derive(Debug)]
pub(crate) struct ResourceTypes {
    tables: Box<[Option<ResourceType>]>,
    instances: usize,
}

/// A resource type as one component instance sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceType {
    /// The instance whose table has its handles.
    pub(crate) instance: RuntimeComponentInstanceIndex,
    /// What it is, whoever sees it.
    pub(crate) resource: ResourceIndex,
    /// Whether that instance made the type. It then borrows by representation, not by handle.
    pub(crate) is_definer: bool,
}

impl ResourceTypes {
    /// Of a component whose types have `count` tables, as `ComponentTypesBuilder::num_resource_tables` says.
    pub(crate) fn of(component: &Component, types: &ComponentTypes, count: usize) -> Self {
        let table = |index| match types[TypeResourceTableIndex::new(index)] {
            TypeResourceTable::Concrete { ty: resource, instance } => {
                let definer = component
                    .defined_resource_index(resource)
                    .map(|defined| component.defined_resource_instances[defined]);
                Some(ResourceType { instance, resource, is_definer: definer == Some(instance) })
            }
            TypeResourceTable::Abstract(_) => None,
        };
        Self {
            tables: (0..count).map(table).collect(),
            instances: component.num_runtime_component_instances as usize,
        }
    }

    /// The type behind a table.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for a table that no instance has: such types are in signatures only.
    pub(crate) fn get(&self, ty: TypeResourceTableIndex) -> Result<ResourceType> {
        self.tables.get(ty.index()).copied().flatten().ok_or_else(|| {
            WasmError::new(ErrorKind::Internal, OPERATION).saying("a resource type without a table")
        })
    }
}

/// The handles of all component instances of one live component.
#[derive(Debug)]
pub(crate) struct Handles {
    types: Arc<ResourceTypes>,
    tables: Box<[Table]>,
    scopes: Vec<Scope>,
    /// Handles, and lends: both take memory of the host.
    alive: usize,
    limit: usize,
}

/// What a handle that was dropped leaves to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// The resource is gone: its destructor is to be called, if its type has one.
    Own { resource: ResourceIndex, rep: u32 },
    /// Nothing.
    Borrow,
}

impl Handles {
    /// At most `limit` of them, in all instances together.
    pub(crate) fn new(types: Arc<ResourceTypes>, limit: usize) -> Self {
        let tables = (0..types.instances).map(|_| Table::default()).collect();
        Self { types, tables, scopes: Vec::new(), alive: 0, limit }
    }

    /// Handles and lends alive.
    #[cfg(test)]
    pub(crate) fn alive(&self) -> usize {
        self.alive
    }

    /// Counts a resource that the host keeps after it was lifted.
    pub(crate) fn keep(&mut self) -> Result<()> {
        if self.alive >= self.limit {
            return Err(full(self.limit));
        }
        self.alive += 1;
        Ok(())
    }

    /// Ends what [`keep`](Self::keep) counted.
    pub(crate) fn give_back(&mut self) {
        self.alive -= 1;
    }

    /// `resource.new`, and an `own` that is lowered.
    pub(crate) fn insert(&mut self, ty: TypeResourceTableIndex, rep: u32) -> Result<u32> {
        self.add(ty, Slot::Own { ty, rep, lends: 0 })
    }

    /// `resource.rep`: what a handle stands for.
    pub(crate) fn rep(&self, ty: TypeResourceTableIndex, handle: u32) -> Result<u32> {
        let table = &self.tables[self.types.get(ty)?.instance.index()];
        match table.slot(handle)? {
            Slot::Own { ty: found, rep, .. } | Slot::Borrow { ty: found, rep, .. } => {
                same(*found, ty, handle)?;
                Ok(*rep)
            }
            Slot::Free { .. } => Err(unknown(handle)),
        }
    }

    /// `resource.drop`, without the destructor.
    pub(crate) fn remove(&mut self, ty: TypeResourceTableIndex, handle: u32) -> Result<Dropped> {
        let kind = self.types.get(ty)?;
        let table = &mut self.tables[kind.instance.index()];
        let dropped = match *table.slot(handle)? {
            Slot::Own { lends, .. } if lends > 0 => {
                return Err(misused("a resource that is lent out cannot be handed over or dropped", handle));
            }
            Slot::Own { ty: found, rep, .. } => {
                same(found, ty, handle)?;
                Dropped::Own { resource: kind.resource, rep }
            }
            Slot::Borrow { ty: found, scope, .. } => {
                same(found, ty, handle)?;
                if let Some(scope) = self.scopes.get_mut(scope) {
                    scope.borrows -= 1;
                }
                Dropped::Borrow
            }
            Slot::Free { .. } => return Err(unknown(handle)),
        };
        table.free(handle);
        self.alive -= 1;
        Ok(dropped)
    }

    /// An `own` that is lifted: the handle is gone, and its representation the caller's.
    pub(crate) fn lift_own(&mut self, ty: TypeResourceTableIndex, handle: u32) -> Result<u32> {
        match self.remove(ty, handle)? {
            Dropped::Own { rep, .. } => Ok(rep),
            Dropped::Borrow => Err(misused("a borrowed resource cannot be handed over", handle)),
        }
    }

    /// A `borrow` that is lifted: the handle is lent out until the current call ends.
    pub(crate) fn lift_borrow(&mut self, ty: TypeResourceTableIndex, handle: u32) -> Result<u32> {
        let instance = self.types.get(ty)?.instance.index();
        match self.tables[instance].slot_mut(handle)? {
            Slot::Own { ty: found, rep, lends } => {
                same(*found, ty, handle)?;
                let scope = self.scopes.last_mut().ok_or_else(no_call)?;
                if self.alive >= self.limit || *lends == u32::MAX {
                    return Err(full(self.limit));
                }
                self.alive += 1;
                *lends += 1;
                scope.lenders.push((instance, handle));
                Ok(*rep)
            }
            Slot::Borrow { ty: found, rep, .. } => {
                same(*found, ty, handle)?;
                Ok(*rep)
            }
            Slot::Free { .. } => Err(unknown(handle)),
        }
    }

    /// A `borrow` that is lowered: a handle to be dropped before the current call ends, or the representation
    /// itself for the instance that made the type.
    pub(crate) fn lower_borrow(&mut self, ty: TypeResourceTableIndex, rep: u32) -> Result<u32> {
        if self.types.get(ty)?.is_definer {
            return Ok(rep);
        }
        let scope = self.scopes.len().checked_sub(1).ok_or_else(no_call)?;
        let handle = self.add(ty, Slot::Borrow { ty, rep, scope })?;
        self.scopes[scope].borrows += 1;
        Ok(handle)
    }

    /// An `own` that one component hands to another.
    pub(crate) fn transfer_own(
        &mut self,
        from: TypeResourceTableIndex,
        to: TypeResourceTableIndex,
        handle: u32,
    ) -> Result<u32> {
        let rep = self.lift_own(from, handle)?;
        self.insert(to, rep)
    }

    /// A `borrow` that one component lends to another, until the current call ends.
    pub(crate) fn transfer_borrow(
        &mut self,
        from: TypeResourceTableIndex,
        to: TypeResourceTableIndex,
        handle: u32,
    ) -> Result<u32> {
        let rep = self.lift_borrow(from, handle)?;
        self.lower_borrow(to, rep)
    }

    /// Begins a call: into a guest, out of it, or from one component to another. Its arguments cross after
    /// this.
    pub(crate) fn enter_call(&mut self) {
        self.scopes.push(Scope::default());
    }

    /// Ends a call: what it was lent must have been dropped, and what was lent to it is whole again.
    pub(crate) fn exit_call(&mut self) -> Result<()> {
        let mut scope = self.scopes.pop().ok_or_else(no_call)?;
        if scope.borrows > 0 {
            return Err(WasmError::trapped(OPERATION, TrapKind::InvalidHandle)
                .saying("borrowed resources were not dropped at the end of the call")
                .with("handles", scope.borrows));
        }
        for (instance, handle) in mem::take(&mut scope.lenders) {
            if let Slot::Own { lends, .. } = self.tables[instance].slot_mut(handle)? {
                *lends -= 1;
                self.alive -= 1;
            }
        }
        Ok(())
    }

    fn add(&mut self, ty: TypeResourceTableIndex, slot: Slot) -> Result<u32> {
        let table = &mut self.tables[self.types.get(ty)?.instance.index()];
        if self.alive >= self.limit || table.next + 1 >= MAX_HANDLE {
            return Err(full(self.limit));
        }
        self.alive += 1;
        Ok(table.insert(slot))
    }
}

/// A call in progress, and what was lent in it.
#[derive(Debug, Default)]
struct Scope {
    /// Handles that the callee has to drop.
    borrows: usize,
    /// Handles of callers that are not to be dropped meanwhile: the instance and the number of each.
    lenders: Vec<(usize, u32)>,
}

/// The handles of one component instance. Handle 1 is the first slot.
#[derive(Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    /// The slot that is taken next: the head of the list of free ones, or the end.
    next: usize,
}

#[derive(Debug)]
enum Slot {
    Free { next: usize },
    Own { ty: TypeResourceTableIndex, rep: u32, lends: u32 },
    Borrow { ty: TypeResourceTableIndex, rep: u32, scope: usize },
}

impl Table {
    fn slot(&self, handle: u32) -> Result<&Slot> {
        let slot = (handle as usize).checked_sub(1).and_then(|position| self.slots.get(position));
        slot.ok_or_else(|| unknown(handle))
    }

    fn slot_mut(&mut self, handle: u32) -> Result<&mut Slot> {
        let slot = (handle as usize).checked_sub(1).and_then(|position| self.slots.get_mut(position));
        slot.ok_or_else(|| unknown(handle))
    }

    fn insert(&mut self, slot: Slot) -> u32 {
        let position = self.next;
        match self.slots.get_mut(position) {
            Some(free) => {
                if let Slot::Free { next } = mem::replace(free, slot) {
                    self.next = next;
                }
            }
            None => {
                self.slots.push(slot);
                self.next += 1;
            }
        }
        position as u32 + 1
    }

    /// Frees the slot of a handle that is there.
    fn free(&mut self, handle: u32) {
        let position = handle as usize - 1;
        self.slots[position] = Slot::Free { next: self.next };
        self.next = position;
    }
}

fn same(found: TypeResourceTableIndex, asked: TypeResourceTableIndex, handle: u32) -> Result<()> {
    if found == asked { Ok(()) } else { Err(misused("a handle of another type of resource", handle)) }
}

#[cold]
fn unknown(handle: u32) -> WasmError {
    misused("there is no such handle", handle)
}

#[cold]
fn misused(what: &'static str, handle: u32) -> WasmError {
    WasmError::trapped(OPERATION, TrapKind::InvalidHandle).saying(what).with("handle", handle)
}

#[cold]
fn full(limit: usize) -> WasmError {
    WasmError::limited(OPERATION, Limit::Handles)
        .with("limit", limit)
        .advising("raise the limit of resource handles of this component")
}

#[cold]
fn no_call() -> WasmError {
    WasmError::new(ErrorKind::Internal, OPERATION).saying("a resource crosses outside of a call")
}

#[cfg(test)]
mod tests {
    use airssys_wasm_core::error::Detail;
    use proptest::prelude::*;

    use super::*;

    fn ty(index: u32) -> TypeResourceTableIndex {
        TypeResourceTableIndex::from_u32(index)
    }

    /// Two instances. Type 0 is made by the first one, and seen by the second one as type 1; types 2 and 3
    /// are of the host.
    fn handles(limit: usize) -> Handles {
        let table = |instance, resource, is_definer| {
            let instance = RuntimeComponentInstanceIndex::from_u32(instance);
            Some(ResourceType { instance, resource: ResourceIndex::from_u32(resource), is_definer })
        };
        let tables = [table(0, 1, true), table(1, 1, false), table(0, 0, false), table(1, 0, false), None];
        Handles::new(Arc::new(ResourceTypes { tables: tables.into(), instances: 2 }), limit)
    }

    fn refused<T: std::fmt::Debug>(result: Result<T>) {
        assert_eq!(result.unwrap_err().detail(), Some(Detail::Trap(TrapKind::InvalidHandle)));
    }

    #[test]
    fn numbers_start_at_one_and_the_last_one_dropped_comes_first() {
        let mut handles = handles(100);
        for expected in 1..=4 {
            assert_eq!(handles.insert(ty(0), expected * 10).unwrap(), expected);
        }
        assert_eq!(handles.insert(ty(1), 7).unwrap(), 1, "every instance has a table of its own");
        handles.remove(ty(0), 2).unwrap();
        handles.remove(ty(0), 3).unwrap();
        assert_eq!(handles.insert(ty(2), 0).unwrap(), 3);
        assert_eq!(handles.insert(ty(0), 0).unwrap(), 2);
        assert_eq!(handles.insert(ty(0), 0).unwrap(), 5);
        assert_eq!(handles.alive(), 6);
    }

    #[test]
    fn a_dropped_resource_names_its_destructor() {
        let mut handles = handles(100);
        let handle = handles.insert(ty(1), 42).unwrap();
        assert_eq!(handles.rep(ty(1), handle).unwrap(), 42);
        let dropped = handles.remove(ty(1), handle).unwrap();
        assert_eq!(dropped, Dropped::Own { resource: ResourceIndex::from_u32(1), rep: 42 });
        refused(handles.remove(ty(1), handle));
        refused(handles.rep(ty(1), handle));
    }

    #[test]
    fn misuse_is_refused() {
        let mut handles = handles(100);
        handles.enter_call();
        let handle = handles.insert(ty(2), 42).unwrap();
        for handle in [0, 2, u32::MAX] {
            refused(handles.rep(ty(2), handle));
            refused(handles.remove(ty(2), handle));
            refused(handles.lift_own(ty(2), handle));
            refused(handles.lift_borrow(ty(2), handle));
        }
        refused(handles.rep(ty(0), handle));
        refused(handles.remove(ty(0), handle));
        refused(handles.lift_own(ty(0), handle));
        refused(handles.lift_borrow(ty(0), handle));
        let borrowed = handles.lower_borrow(ty(3), 42).unwrap();
        refused(handles.lift_own(ty(3), borrowed));
    }

    #[test]
    fn what_is_lent_stays_until_the_call_ends() {
        let mut handles = handles(100);
        let handle = handles.insert(ty(2), 42).unwrap();
        handles.enter_call();
        let borrowed = handles.transfer_borrow(ty(2), ty(3), handle).unwrap();
        assert_eq!(handles.rep(ty(3), borrowed).unwrap(), 42);
        refused(handles.remove(ty(2), handle));
        refused(handles.transfer_own(ty(2), ty(3), handle));
        handles.enter_call();
        assert_eq!(handles.lift_borrow(ty(3), borrowed).unwrap(), 42, "what is borrowed can be lent on");
        handles.exit_call().unwrap();
        assert_eq!(handles.remove(ty(3), borrowed).unwrap(), Dropped::Borrow);
        handles.exit_call().unwrap();
        assert_eq!(handles.transfer_own(ty(2), ty(3), handle).unwrap(), 1);
        assert_eq!(handles.alive(), 1);
    }

    #[test]
    fn a_borrow_that_is_kept_is_a_trap() {
        let mut handles = handles(100);
        handles.enter_call();
        handles.lower_borrow(ty(3), 42).unwrap();
        refused(handles.exit_call());
    }

    #[test]
    fn the_instance_that_made_a_type_borrows_by_representation() {
        let mut handles = handles(100);
        let handle = handles.insert(ty(1), 4242).unwrap();
        handles.enter_call();
        assert_eq!(handles.transfer_borrow(ty(1), ty(0), handle).unwrap(), 4242);
        handles.exit_call().unwrap();
        handles.remove(ty(1), handle).unwrap();
    }

    #[test]
    fn handles_and_lends_are_limited() {
        let mut handles = handles(2);
        let handle = handles.insert(ty(2), 1).unwrap();
        handles.enter_call();
        handles.lift_borrow(ty(2), handle).unwrap();
        for error in [handles.lift_borrow(ty(2), handle).unwrap_err(), handles.insert(ty(1), 1).unwrap_err()]
        {
            assert_eq!(error.detail(), Some(Detail::Limit(Limit::Handles)));
        }
        handles.exit_call().unwrap();
        handles.insert(ty(1), 1).unwrap();
    }

    #[test]
    fn a_table_has_an_end() {
        let mut handles = handles(100);
        handles.tables[0].next = MAX_HANDLE - 1;
        let error = handles.insert(ty(0), 1).unwrap_err();
        assert_eq!(error.detail(), Some(Detail::Limit(Limit::Handles)));
    }

    #[test]
    fn a_type_without_a_table_is_our_own_fault() {
        assert_eq!(handles(2).insert(ty(4), 1).unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(handles(2).insert(ty(5), 1).unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(handles(2).exit_call().unwrap_err().kind(), ErrorKind::Internal);
    }

    proptest! {
        /// Whatever a guest does, nothing panics, and what is alive is counted.
        #[test]
        fn any_sequence_is_survived(steps in prop::collection::vec((0..9u8, 0..4u32, 0..8u32), 0..200)) {
            let mut handles = handles(20);
            for (step, kind, handle) in steps {
                let other = ty(kind ^ 1);
                match step {
                    0 => drop(handles.insert(ty(kind), handle)),
                    1 => drop(handles.remove(ty(kind), handle)),
                    2 => drop(handles.lift_own(ty(kind), handle)),
                    3 => drop(handles.lift_borrow(ty(kind), handle)),
                    4 => drop(handles.lower_borrow(ty(kind), handle)),
                    5 => drop(handles.transfer_own(ty(kind), other, handle)),
                    6 => drop(handles.transfer_borrow(ty(kind), other, handle)),
                    7 => handles.enter_call(),
                    _ => {
                        // After a trap nothing of the instance is used any more.
                        let trapped = |error: WasmError| error.kind() == ErrorKind::ComponentTrapped;
                        if handles.exit_call().is_err_and(trapped) {
                            break;
                        }
                    }
                }
                let slots = handles.tables.iter().flat_map(|table| &table.slots);
                let expected: usize = slots
                    .map(|slot| match slot {
                        Slot::Free { .. } => 0,
                        Slot::Own { lends, .. } => 1 + *lends as usize,
                        Slot::Borrow { .. } => 1,
                    })
                    .sum();
                prop_assert_eq!(handles.alive(), expected);
                prop_assert!(expected <= 20);
            }
        }
    }
}
