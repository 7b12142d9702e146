//! Core instances of Wasmer: their memories, globals and functions, and functions of the host that they import.
//!
//! Pointers in here stay valid as long as the [`CoreInstances`] they come from: Wasmer allocates what they point to once.

use std::cell::UnsafeCell;
use std::fmt;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use wasmer_compiler::{Artifact, InstantiationError};
use wasmer_types::entity::EntityRef;
use wasmer_types::{
    ExportIndex, FunctionIndex, FunctionType, GlobalIndex, GlobalType, MemoryIndex, Mutability, RawValue,
    TableIndex, TagIndex, Type, VMOffsets,
};
use wasmer_vm::{
    InternalStoreHandle, MaybeInstanceOwned, StoreObjects, VMCallerCheckedAnyfunc, VMConfig, VMContext,
    VMExtern, VMFunction, VMFunctionBody, VMFunctionContext, VMFunctionKind, VMGlobal, VMGlobalDefinition,
    VMInstance, VMMemoryDefinition, VMSignatureHash, VMTable,
};

use crate::bounds::Bounds;
use crate::translate::Item;

/// A parameter or result of a core function.
pub(crate) type Cell = RawValue;

/// The core instances of one component instance, and everything they share.
pub(crate) struct CoreInstances {
    /// In the order in which they were made. Before `objects`, to which they point.
    instances: Vec<VMInstance>,
    /// In a box: instances point to it.
    objects: Box<StoreObjects>,
    /// Their code.
    artifacts: Vec<Arc<Artifact>>,
    /// The tables of all of them.
    tables: Vec<InternalStoreHandle<VMTable>>,
}

/// A linear memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoreMemory(NonNull<VMMemoryDefinition>);

/// A global of one of the integer types.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoreGlobal(NonNull<VMGlobalDefinition>);

/// A function of a guest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CoreFunction(NonNull<VMCallerCheckedAnyfunc>);

/// A function of the host as guest code calls it: with its context, and the cells in which parameters come and results go.
pub(crate) type Entry<T> = unsafe extern "C" fn(&HostContext<T>, *mut Cell);

/// What a function of the host is called with. Wasmer's trampoline takes the address from its start.
#[repr(C)]
pub(crate) struct HostContext<T> {
    address: Entry<T>,
    pub(crate) data: T,
}

/// A type of core functions, as compiled code compares it.
#[derive(Clone, Debug)]
pub(crate) struct Signature {
    pub(crate) kind: FunctionType,
    pub(crate) hash: VMSignatureHash,
}

impl CoreInstances {
    pub(crate) fn new() -> Self {
        wasmer_vm::init_traps();
        Self { instances: Vec::new(), objects: Box::default(), artifacts: Vec::new(), tables: Vec::new() }
    }

    /// Makes an instance, and gives its number. Neither its segments are applied nor its start function is called.
    ///
    /// # Errors
    /// The bounds do not allow it, or the system does not provide it.
    #[expect(unsafe_code, reason = "makes an instance")]
    pub(crate) fn instantiate(
        &mut self,
        artifact: &Arc<Artifact>,
        bounds: &Bounds<'_>,
        imports: &[VMExtern],
    ) -> Result<usize, Box<InstantiationError>> {
        // SAFETY: the artifact was compiled from a validated module, and its imports are of the types that it declares.
        let instance = unsafe { artifact.instantiate(bounds, imports, &mut self.objects) }?;
        self.instances.push(instance);
        let made = self.instances.len() - 1;
        let module = self.instances[made].module_ref();
        let (imported, all) = (module.num_imported_tables, module.tables.len());
        for table in imported..all {
            if let VMExtern::Table(handle) = self.item(made, Item::Table(table as u32)) {
                self.tables.push(handle);
            }
        }
        self.artifacts.push(Arc::clone(artifact));
        Ok(made)
    }

    /// The elements of all tables.
    pub(crate) fn table_elements(&self) -> u64 {
        self.tables.iter().map(|table| u64::from(table.get(&self.objects).size())).sum()
    }

    /// The size of a table that an instance has, and the most that it may grow to.
    pub(crate) fn table_size(&mut self, instance: usize, table: u32) -> Option<(u32, Option<u32>)> {
        let VMExtern::Table(handle) = self.item(instance, Item::Table(table)) else { return None };
        let table = handle.get(&self.objects);
        Some((table.size(), table.ty().maximum))
    }

    /// Applies the segments of an instance that was just made.
    ///
    /// # Errors
    /// A segment does not fit.
    #[expect(unsafe_code, reason = "initialises an instance")]
    pub(crate) fn initialise(&mut self, instance: usize) -> Result<(), Box<InstantiationError>> {
        const NO_START: VMConfig = VMConfig { wasm_stack_size: None };
        let artifact = &self.artifacts[instance];
        // SAFETY: the instance was made from this artifact, and not used since.
        unsafe { artifact.finish_instantiation(&NO_START, None, &mut self.instances[instance]) }
            .map_err(Box::new)
    }

    pub(crate) fn item(&mut self, instance: usize, item: Item) -> VMExtern {
        let index = match item {
            Item::Function(index) => ExportIndex::Function(FunctionIndex::from_u32(index)),
            Item::Table(index) => ExportIndex::Table(TableIndex::from_u32(index)),
            Item::Memory(index) => ExportIndex::Memory(MemoryIndex::from_u32(index)),
            Item::Global(index) => ExportIndex::Global(GlobalIndex::from_u32(index)),
            Item::Tag(index) => ExportIndex::Tag(TagIndex::new(index as usize)),
        };
        self.instances[instance].lookup_by_declaration(index)
    }

    /// The item that the module exports under this name.
    pub(crate) fn export(&mut self, instance: usize, name: &str) -> Option<VMExtern> {
        self.instances[instance].lookup(name)
    }

    pub(crate) fn function(&self, item: &VMExtern) -> Option<CoreFunction> {
        let VMExtern::Function(handle) = item else { return None };
        Some(CoreFunction(handle.get(&self.objects).anyfunc.as_ptr()))
    }

    pub(crate) fn memory(&self, item: &VMExtern) -> Option<CoreMemory> {
        use wasmer_vm::LinearMemory;

        let VMExtern::Memory(handle) = item else { return None };
        Some(CoreMemory(handle.get(&self.objects).vmmemory()))
    }

    /// A global that the host keeps, and core instances import.
    pub(crate) fn add_global(&mut self, kind: Type) -> (CoreGlobal, VMExtern) {
        let global = VMGlobal::new(GlobalType::new(kind, Mutability::Var));
        let definition = CoreGlobal(global.vmglobal());
        (definition, VMExtern::Global(InternalStoreHandle::new(&mut self.objects, global)))
    }

    /// Makes an instance use `shared` in place of the global that it imported.
    ///
    /// # Safety
    /// `shared` outlives the instance.
    #[expect(unsafe_code, reason = "a global that many instances share")]
    pub(crate) unsafe fn redirect_global(&mut self, instance: usize, import: u32, shared: CoreGlobal) {
        let instance = &mut self.instances[instance];
        let offset =
            VMOffsets::vmctx_vmglobal_import_definition(instance.vmoffsets(), GlobalIndex::from_u32(import));
        // SAFETY: this is where compiled code finds the address of the global.
        let address = unsafe { instance.vmctx_ptr().cast::<u8>().add(offset as usize) };
        // SAFETY: as above; Wasmer aligns it as a pointer.
        unsafe { address.cast::<NonNull<VMGlobalDefinition>>().write(shared.0) };
    }

    /// A function of the host.
    pub(crate) fn add_function<T: 'static>(
        &mut self,
        signature: &Signature,
        entry: Entry<T>,
        data: T,
    ) -> (CoreFunction, VMExtern) {
        let context = Box::new(HostContext { address: entry, data });
        let anyfunc = VMCallerCheckedAnyfunc {
            // Wasmer puts the trampoline of the importing module here.
            func_ptr: std::ptr::null(),
            type_signature_hash: signature.hash,
            vmctx: VMFunctionContext { host_env: std::ptr::from_ref(&*context).cast_mut().cast() },
            call_trampoline: call_host::<T>,
        };
        let function = VMFunction {
            anyfunc: MaybeInstanceOwned::Host(Box::new(UnsafeCell::new(anyfunc))),
            signature: signature.kind.clone(),
            kind: VMFunctionKind::Dynamic,
            host_data: context,
        };
        let core = CoreFunction(function.anyfunc.as_ptr());
        (core, VMExtern::Function(InternalStoreHandle::new(&mut self.objects, function)))
    }
}

/// The same item once more: an item is a number.
pub(crate) fn again(item: &VMExtern) -> VMExtern {
    match item {
        VMExtern::Function(handle) => VMExtern::Function(*handle),
        VMExtern::Table(handle) => VMExtern::Table(*handle),
        VMExtern::Memory(handle) => VMExtern::Memory(*handle),
        VMExtern::Global(handle) => VMExtern::Global(*handle),
        VMExtern::Tag(handle) => VMExtern::Tag(*handle),
    }
}

/// Calls a function of the host that was handed out as a function of a guest, without guest code in between.
#[expect(unsafe_code, reason = "called by Wasmer's convention")]
unsafe extern "C" fn call_host<T>(context: *mut VMContext, _: *const VMFunctionBody, cells: *mut Cell) {
    // SAFETY: `add_function` put the address of its context where Wasmer takes this from.
    let context = unsafe { &*context.cast::<HostContext<T>>() };
    // SAFETY: the caller of the trampoline gives cells for this type of function.
    unsafe { (context.address)(context, cells) };
}

impl CoreFunction {
    /// Calls it with what is in `cells`, and leaves there what it returns. A trap does not return.
    ///
    /// # Safety
    /// Called on the stack of a fiber, by frames that hold nothing that needs to be dropped, with as many cells as the
    /// function has parameters or results, whichever are more. No reference to a memory of the instance is live.
    #[expect(unsafe_code, reason = "calls guest code")]
    pub(crate) unsafe fn call(self, cells: &mut [Cell]) {
        // SAFETY: it lives as long as the instances.
        let function = unsafe { self.0.as_ref() };
        // SAFETY: every function has a context.
        let context = unsafe { function.vmctx.vmctx };
        // SAFETY: as the caller promises.
        unsafe { (function.call_trampoline)(context, function.func_ptr, cells.as_mut_ptr()) };
    }
}

impl CoreMemory {
    /// # Safety
    /// No guest code runs while the slice is in use, and there is no other slice of the memory that can be written to.
    #[expect(unsafe_code, reason = "memory of a guest")]
    pub(crate) unsafe fn bytes<'memory>(self) -> &'memory [u8] {
        // SAFETY: it lives as long as the instances.
        let definition = unsafe { self.0.as_ref() };
        // SAFETY: Wasmer keeps base and length true.
        unsafe { slice::from_raw_parts(definition.base, definition.current_length) }
    }

    /// # Safety
    /// No guest code runs while the slice is in use, and there is no other slice of the memory.
    #[expect(unsafe_code, reason = "memory of a guest")]
    pub(crate) unsafe fn bytes_mut<'memory>(self) -> &'memory mut [u8] {
        // SAFETY: it lives as long as the instances.
        let definition = unsafe { self.0.as_ref() };
        // SAFETY: Wasmer keeps base and length true.
        unsafe { slice::from_raw_parts_mut(definition.base, definition.current_length) }
    }

    pub(crate) fn is_same(self, other: Self) -> bool {
        self.0 == other.0
    }
}

impl CoreGlobal {
    /// A global outside of any instance.
    ///
    /// # Safety
    /// The definition outlives every use of it.
    #[expect(unsafe_code, reason = "wraps a pointer")]
    pub(crate) unsafe fn shared(definition: NonNull<VMGlobalDefinition>) -> Self {
        Self(definition)
    }

    #[expect(unsafe_code, reason = "a global of a guest")]
    pub(crate) fn get_i32(self) -> i32 {
        // SAFETY: it lives as long as the instances, and is only accessed by the thread that runs them.
        unsafe { self.0.cast().read() }
    }

    #[expect(unsafe_code, reason = "a global of a guest")]
    pub(crate) fn set_i32(self, value: i32) {
        // SAFETY: as for reading.
        unsafe { self.0.cast().write(value) };
    }

    #[expect(unsafe_code, reason = "a global of a guest")]
    pub(crate) fn get_i64(self) -> i64 {
        // SAFETY: it lives as long as the instances, and is only accessed by the thread that runs them.
        unsafe { self.0.cast().read() }
    }

    #[expect(unsafe_code, reason = "a global of a guest")]
    pub(crate) fn set_i64(self, value: i64) {
        // SAFETY: as for reading.
        unsafe { self.0.cast().write(value) };
    }
}

impl fmt::Debug for CoreInstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreInstances").field("instances", &self.instances.len()).finish_non_exhaustive()
    }
}
