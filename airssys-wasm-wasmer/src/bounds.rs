//! Memory, tables and instances of a component instance, counted together.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::error::Limit;
use wasmer_compiler::{BaseTunables, Tunables};
use wasmer_types::target::Target;
use wasmer_types::{MemoryError, MemoryStyle, MemoryType, Pages, TableStyle, TableType, WASM_PAGE_SIZE};
use wasmer_vm::{VMConfig, VMMemory, VMMemoryDefinition, VMTable, VMTableDefinition};

use crate::memory::{Memory, Reservations};

/// What an instance has and may have.
#[derive(Clone, Debug)]
pub(crate) struct Totals(Arc<Mutex<Counts>>);

#[derive(Debug)]
struct Counts {
    memory: u64,
    max_memory: u64,
    /// Bytes of the host for its core instances.
    bookkeeping: u64,
    /// When the tables were made; they are asked how long they are now.
    table_elements: u64,
    max_table_elements: u64,
    memories: u32,
    tables: u32,
    instances: u32,
    /// The most of each of these three.
    most: u32,
    refused_growth: u64,
    refused_memory: bool,
    /// What the component declared in excess, while it is being made.
    refused_minimum: Option<Limit>,
}

impl Totals {
    pub(crate) fn new(limits: &ResourceLimits) -> Self {
        Self(Arc::new(Mutex::new(Counts {
            memory: 0,
            max_memory: limits.memory.as_u64(),
            bookkeeping: 0,
            table_elements: 0,
            max_table_elements: limits.table_elements.into(),
            memories: 0,
            tables: 0,
            instances: 0,
            most: limits.instances,
            refused_growth: 0,
            refused_memory: false,
            refused_minimum: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Nothing under the lock can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.lock().memory
    }

    pub(crate) fn refused_growth(&self) -> u64 {
        self.lock().refused_growth
    }

    pub(crate) fn start_call(&self) {
        self.lock().refused_memory = false;
    }

    /// Whether a growth of memory was refused since the call began.
    pub(crate) fn refused_memory(&self) -> bool {
        self.lock().refused_memory
    }

    /// The limit that a declared minimum passed, if that is why the component could not be made.
    pub(crate) fn refused_minimum(&self) -> Option<Limit> {
        self.lock().refused_minimum
    }

    /// Counts one more core instance, and the bytes that the host needs to keep it.
    ///
    /// What the host keeps is no memory of the guest, and is bounded by the same limit, apart from it.
    ///
    /// # Errors
    /// The limit that does not allow it.
    pub(crate) fn add_instance(&self, bookkeeping: u64) -> Result<(), Limit> {
        let mut counts = self.lock();
        if counts.instances == counts.most {
            return Err(Limit::Instances);
        }
        counts.bookkeeping = counts.bookkeeping.saturating_add(bookkeeping);
        if counts.bookkeeping > counts.max_memory {
            return Err(Limit::Memory);
        }
        counts.instances += 1;
        Ok(())
    }

    /// Whether the tables, which have `elements` now, may get `by` more; a refusal is counted.
    pub(crate) fn allows_table(&self, elements: u64, by: u32, fits: bool) -> bool {
        let mut counts = self.lock();
        let allowed = fits && elements.saturating_add(by.into()) <= counts.max_table_elements;
        if !allowed {
            counts.refused_growth += 1;
        }
        allowed
    }

    fn add_memory(&self, bytes: u64) -> bool {
        let mut counts = self.lock();
        if counts.memories == counts.most {
            counts.refused_minimum.get_or_insert(Limit::Instances);
            return false;
        }
        let grown = counts.memory.saturating_add(bytes);
        if grown > counts.max_memory {
            counts.refused_minimum.get_or_insert(Limit::Memory);
            counts.refused_growth += 1;
            return false;
        }
        counts.memories += 1;
        counts.memory = grown;
        true
    }

    fn add_table(&self, elements: u32) -> bool {
        let mut counts = self.lock();
        if counts.tables == counts.most {
            counts.refused_minimum.get_or_insert(Limit::Instances);
            return false;
        }
        let grown = counts.table_elements.saturating_add(elements.into());
        if grown > counts.max_table_elements {
            counts.refused_minimum.get_or_insert(Limit::TableElements);
            counts.refused_growth += 1;
            return false;
        }
        counts.tables += 1;
        counts.table_elements = grown;
        true
    }

    pub(crate) fn grow_memory(&self, bytes: u64) -> bool {
        let mut counts = self.lock();
        let grown = counts.memory.saturating_add(bytes);
        let allowed = grown <= counts.max_memory;
        if allowed {
            counts.memory = grown;
        } else {
            counts.refused_growth += 1;
            counts.refused_memory = true;
        }
        allowed
    }

    pub(crate) fn take_back_memory(&self, bytes: u64) {
        let mut counts = self.lock();
        counts.memory = counts.memory.saturating_sub(bytes);
        counts.refused_growth += 1;
        counts.refused_memory = true;
    }
}

/// Makes the memories and tables of one core instance, within the totals of its component instance.
pub(crate) struct Bounds<'m> {
    base: BaseTunables,
    totals: Totals,
    reservations: &'m Reservations,
    /// Tables of the module that had a maximum before it was instrumented.
    maxima: &'m [(u32, u64)],
    /// The index of the next table.
    table: Cell<u32>,
}

impl<'m> Bounds<'m> {
    /// `first_table` is the number of tables that the module imports.
    pub(crate) fn new(
        totals: Totals,
        reservations: &'m Reservations,
        maxima: &'m [(u32, u64)],
        first_table: u32,
    ) -> Self {
        Self {
            base: BaseTunables::for_target(&Target::default()),
            totals,
            reservations,
            maxima,
            table: Cell::new(first_table),
        }
    }
}

impl Tunables for Bounds<'_> {
    fn memory_style(&self, memory: &MemoryType) -> MemoryStyle {
        self.base.memory_style(memory)
    }

    fn table_style(&self, table: &TableType) -> TableStyle {
        self.base.table_style(table)
    }

    fn create_host_memory(&self, ty: &MemoryType, style: &MemoryStyle) -> Result<VMMemory, MemoryError> {
        self.base.create_host_memory(ty, style)
    }

    #[expect(unsafe_code, reason = "declared so by the trait")]
    unsafe fn create_vm_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
        location: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        if !self.totals.add_memory(bytes(ty.minimum)) {
            return Err(MemoryError::Generic("the limit of this component".into()));
        }
        // SAFETY: as the caller promises.
        let memory = unsafe { Memory::new(self.reservations, ty, style, location, self.totals.clone())? };
        Ok(VMMemory(Box::new(memory)))
    }

    fn create_host_table(&self, ty: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        self.base.create_host_table(ty, style)
    }

    #[expect(unsafe_code, reason = "declared so by the trait")]
    unsafe fn create_vm_table(
        &self,
        ty: &TableType,
        style: &TableStyle,
        location: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        let index = self.table.replace(self.table.get() + 1);
        if !self.totals.add_table(ty.minimum) {
            return Err("the limit of this component".into());
        }
        let mut ty = *ty;
        if let Some((_, maximum)) = self.maxima.iter().find(|(table, _)| *table == index) {
            ty.maximum = Some(u32::try_from(*maximum).unwrap_or(u32::MAX));
        }
        // Wasmer refuses a maximum beyond what it ever allocates.
        ty.maximum = ty.maximum.filter(|maximum| *maximum <= 1 << 24);
        // SAFETY: as the caller promises.
        unsafe { self.base.create_vm_table(&ty, style, location) }
    }

    fn vmconfig(&self) -> &VMConfig {
        &VMConfig { wasm_stack_size: None }
    }
}

fn bytes(pages: Pages) -> u64 {
    u64::from(pages.0) * WASM_PAGE_SIZE as u64
}
