//! The guest on the other side of a call: its memory, its allocator, its handles, and what it may still hand over.

use airssys_wasm_core::error::{Limit, Result, TrapKind, WasmError};
use wasmtime_environ::component::{
    CanonicalOptionsDataModel, OptionsIndex, ResourceIndex, RuntimeComponentInstanceIndex, StringEncoding,
    TypeResourceTableIndex,
};

use crate::abi::Guest;
use crate::fault;
use crate::store::Store;
use crate::vm::{self, CoreFunction, CoreMemory};

impl Store {
    /// The other side of a call with these options.
    pub(crate) fn side(&self, options: OptionsIndex, operation: &'static str) -> Side<'_> {
        let options = &self.loaded.plan.component.options[options];
        Side {
            store: self,
            operation,
            instance: options.instance,
            encoding: options.string_encoding,
            memory: options
                .memory()
                .and_then(|memory| self.memories[memory.as_u32() as usize].get().copied()),
            realloc: match options.data_model {
                CanonicalOptionsDataModel::LinearMemory(memory) => memory.realloc,
                CanonicalOptionsDataModel::Gc {} => None,
            }
            .and_then(|realloc| self.reallocs[realloc.as_u32() as usize].get().copied()),
            allowance: self.transfer,
        }
    }

    fn is_of_host(&self, resource: ResourceIndex) -> bool {
        self.loaded.plan.component.defined_resource_index(resource).is_none()
    }

    fn lift_own(&self, ty: TypeResourceTableIndex, handle: u32) -> Result<u64> {
        let rep = self.handles.borrow_mut().lift_own(ty, handle)?;
        let resource = self.loaded.resources.get(ty)?.resource;
        if self.is_of_host(resource) {
            return Ok(rep.into());
        }
        self.handles.borrow_mut().keep()?;
        Ok(self.kept.borrow_mut().keep(resource, rep))
    }

    fn lift_borrow(&self, ty: TypeResourceTableIndex, handle: u32) -> Result<u64> {
        let rep = self.handles.borrow_mut().lift_borrow(ty, handle)?;
        let resource = self.loaded.resources.get(ty)?.resource;
        if self.is_of_host(resource) {
            return Ok(rep.into());
        }
        Err(WasmError::trapped(self.operation(), TrapKind::InvalidHandle)
            .saying("a function of the host takes no resource of a guest"))
    }

    fn lower_own(&self, ty: TypeResourceTableIndex, resource: u64) -> Result<u32> {
        let kind = self.loaded.resources.get(ty)?.resource;
        let rep = if self.is_of_host(kind) {
            resource as u32
        } else {
            let rep = self.kept.borrow_mut().take(kind, resource)?;
            self.handles.borrow_mut().give_back();
            rep
        };
        self.handles.borrow_mut().insert(ty, rep)
    }

    fn lower_borrow(&self, ty: TypeResourceTableIndex, resource: u64) -> Result<u32> {
        let kind = self.loaded.resources.get(ty)?.resource;
        let rep =
            if self.is_of_host(kind) { resource as u32 } else { self.kept.borrow().rep(kind, resource)? };
        self.handles.borrow_mut().lower_borrow(ty, rep)
    }
}

/// The guest as the canonical ABI sees it, for one call.
pub(crate) struct Side<'s> {
    pub(crate) store: &'s Store,
    pub(crate) instance: RuntimeComponentInstanceIndex,
    operation: &'static str,
    encoding: StringEncoding,
    memory: Option<CoreMemory>,
    realloc: Option<CoreFunction>,
    /// Bytes that may still be handed over.
    allowance: usize,
}

impl Guest for Side<'_> {
    fn operation(&self) -> &'static str {
        self.operation
    }

    #[expect(unsafe_code, reason = "memory of the guest")]
    fn memory(&self) -> &[u8] {
        // SAFETY: guest code runs only in `realloc`, which takes `&mut self`.
        self.memory.map_or(&[], |memory| unsafe { memory.bytes() })
    }

    #[expect(unsafe_code, reason = "memory of the guest")]
    fn memory_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; no other side of this instance is in use meanwhile.
        self.memory.map_or(&mut [], |memory| unsafe { memory.bytes_mut() })
    }

    fn encoding(&self) -> StringEncoding {
        self.encoding
    }

    #[expect(unsafe_code, reason = "calls the guest")]
    fn realloc(&mut self, old: u32, old_size: u32, align: u32, size: u32) -> Result<u32> {
        let Some(realloc) = self.realloc else { return Err(fault::no_realloc(self.operation)) };
        let may_leave = self.store.may_leave(self.instance);
        let before = may_leave.get_i32();
        may_leave.set_i32(0);
        let mut cells = [old, old_size, align, size].map(|value| vm::Cell { u32: value });
        // SAFETY: values that are handed over are held by the store or by the future of the call.
        unsafe { realloc.call(&mut cells) };
        may_leave.set_i32(before);
        // SAFETY: the type of an allocator says that it returns an `i32`.
        Ok(unsafe { cells[0].u32 })
    }

    fn lift_own(&mut self, ty: TypeResourceTableIndex, handle: u32) -> Result<u64> {
        self.store.lift_own(ty, handle)
    }

    fn lift_borrow(&mut self, ty: TypeResourceTableIndex, handle: u32) -> Result<u64> {
        self.store.lift_borrow(ty, handle)
    }

    fn lower_own(&mut self, ty: TypeResourceTableIndex, resource: u64) -> Result<u32> {
        self.store.lower_own(ty, resource)
    }

    fn lower_borrow(&mut self, ty: TypeResourceTableIndex, resource: u64) -> Result<u32> {
        self.store.lower_borrow(ty, resource)
    }

    fn charge(&mut self, bytes: usize) -> Result<()> {
        match self.allowance.checked_sub(bytes) {
            Some(left) => {
                self.allowance = left;
                Ok(())
            }
            None => {
                Err(WasmError::limited(self.operation, Limit::Transfer).with("limit", self.store.transfer))
            }
        }
    }
}
