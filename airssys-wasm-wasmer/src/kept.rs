//! Resources of a guest that the host has: the guest handed them over in the answer to a dynamic call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use airssys_wasm_core::error::{Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::ResourceHandle;
use wasmtime_environ::component::{ResourceIndex, TypeResourceTableIndex};

use crate::abi::dynamic::Held;
use crate::abi::handles::ResourceTypes;

/// The next number of a resource. No two instances of a process give out the same.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// What the host has of one instance.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    resources: HashMap<u64, Resource>,
}

#[derive(Clone, Copy, Debug)]
struct Resource {
    kind: ResourceIndex,
    rep: u32,
}

impl Kept {
    /// Takes over a resource that stands for `rep`, and gives it a number.
    pub(crate) fn keep(&mut self, kind: ResourceIndex, rep: u32) -> u64 {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.resources.insert(number, Resource { kind, rep });
        number
    }

    /// Gives a resource away.
    ///
    /// # Errors
    /// The host does not have it.
    pub(crate) fn take(&mut self, kind: ResourceIndex, resource: u64) -> Result<u32> {
        let rep = self.rep(kind, resource)?;
        self.resources.remove(&resource);
        Ok(rep)
    }

    /// What a resource stands for.
    ///
    /// # Errors
    /// The host does not have it.
    pub(crate) fn rep(&self, kind: ResourceIndex, resource: u64) -> Result<u32> {
        match self.resources.get(&resource) {
            Some(found) if found.kind == kind => Ok(found.rep),
            _ => Err(WasmError::trapped("call", TrapKind::InvalidHandle).with("resource", resource)),
        }
    }
}

/// What one call may do with them.
pub(crate) struct Lending<'k> {
    kept: &'k Kept,
    types: &'k ResourceTypes,
    handed_over: Vec<u64>,
    lent: Vec<u64>,
}

impl<'k> Lending<'k> {
    pub(crate) fn new(kept: &'k Kept, types: &'k ResourceTypes) -> Self {
        Self { kept, types, handed_over: Vec::new(), lent: Vec::new() }
    }

    fn check(
        &self,
        ty: TypeResourceTableIndex,
        resource: ResourceHandle,
    ) -> std::result::Result<(), &'static str> {
        let kind = self.types.get(ty).map_err(|_| "a resource of no type")?.resource;
        let found = self.kept.resources.get(&resource.0).ok_or("a resource that is not held")?;
        if found.kind != kind {
            return Err("a resource of another type");
        }
        if self.handed_over.contains(&resource.0) {
            return Err("a resource that is handed over in the same call");
        }
        Ok(())
    }
}

impl Held for Lending<'_> {
    fn hand_over(
        &mut self,
        ty: TypeResourceTableIndex,
        resource: ResourceHandle,
    ) -> std::result::Result<(), &'static str> {
        self.check(ty, resource)?;
        if self.lent.contains(&resource.0) {
            return Err("a resource that is lent in the same call");
        }
        self.handed_over.push(resource.0);
        Ok(())
    }

    fn lend(
        &mut self,
        ty: TypeResourceTableIndex,
        resource: ResourceHandle,
    ) -> std::result::Result<(), &'static str> {
        self.check(ty, resource)?;
        self.lent.push(resource.0);
        Ok(())
    }
}
