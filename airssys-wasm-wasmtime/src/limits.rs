//! Memory, tables and instances, summed over everything in a component.

use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::error::Limit;
use wasmtime::ResourceLimiter;

/// The totals of one instance. Wasmtime asks for each memory and each table; limits are for all of them together.
#[derive(Debug)]
pub(crate) struct Totals {
    memory: Total,
    table_elements: Total,
    instances: usize,
    refused_growth: u64,
    /// The growth of memory that was refused since the call began.
    refused_memory: bool,
    /// What the component declared in excess, while it is being made.
    refused_minimum: Option<Limit>,
}

#[derive(Debug)]
struct Total {
    now: u64,
    most: u64,
    /// What the last growth added: taken back when the system then does not provide it.
    last: u64,
}

impl Total {
    fn new(most: u64) -> Self {
        Self { now: 0, most, last: 0 }
    }

    /// Counts the growth of one memory or table, if there is room for it.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> bool {
        let added = desired.saturating_sub(current) as u64;
        let grown = self.now.saturating_add(added);
        if grown > self.most || maximum.is_some_and(|maximum| desired > maximum) {
            return false;
        }
        self.now = grown;
        self.last = added;
        true
    }

    fn take_back(&mut self) {
        self.now -= std::mem::take(&mut self.last);
    }
}

impl Totals {
    pub(crate) fn new(limits: &ResourceLimits) -> Self {
        Self {
            memory: Total::new(limits.memory.as_u64()),
            table_elements: Total::new(limits.table_elements.into()),
            instances: limits.instances as usize,
            refused_growth: 0,
            refused_memory: false,
            refused_minimum: None,
        }
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory.now
    }

    pub(crate) fn table_elements(&self) -> u64 {
        self.table_elements.now
    }

    pub(crate) fn refused_growth(&self) -> u64 {
        self.refused_growth
    }

    pub(crate) fn start_call(&mut self) {
        self.refused_memory = false;
    }

    /// Whether a growth of memory was refused since the call began.
    pub(crate) fn refused_memory(&self) -> bool {
        self.refused_memory
    }

    /// The limit that a declared minimum passed, if that is why the component could not be made.
    pub(crate) fn refused_minimum(&self) -> Option<Limit> {
        self.refused_minimum
    }

    fn refuse(&mut self, current: usize, limit: Limit) {
        if current == 0 {
            self.refused_minimum.get_or_insert(limit);
        }
        self.refused_growth += 1;
        self.refused_memory |= limit == Limit::Memory;
    }
}

impl ResourceLimiter for Totals {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = self.memory.grow(current, desired, maximum);
        if !allowed {
            self.refuse(current, Limit::Memory);
        }
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.take_back();
        self.refused_growth += 1;
        self.refused_memory = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = self.table_elements.grow(current, desired, maximum);
        if !allowed {
            self.refuse(current, Limit::TableElements);
        }
        Ok(allowed)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.table_elements.take_back();
        self.refused_growth += 1;
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}

#[cfg(test)]
mod tests {
    use airssys_wasm_core::component::ByteSize;

    use super::*;

    fn totals(memory: u64, table_elements: u32) -> Totals {
        let limits = ResourceLimits { memory: ByteSize::bytes(memory), table_elements, ..Default::default() };
        Totals::new(&limits)
    }

    #[test]
    fn growth_is_summed_over_memories() {
        let mut totals = totals(100, 10);
        assert!(totals.memory_growing(0, 60, None).unwrap());
        assert!(!totals.memory_growing(0, 60, None).unwrap());
        assert!(totals.memory_growing(0, 40, None).unwrap());
        assert!(!totals.memory_growing(40, 41, None).unwrap());
        assert_eq!((totals.memory_bytes(), totals.refused_growth()), (100, 2));
        assert_eq!(totals.refused_minimum(), Some(Limit::Memory));
    }

    #[test]
    fn growth_that_the_system_refuses_is_not_counted() {
        let mut totals = totals(100, 10);
        assert!(totals.memory_growing(0, 60, None).unwrap());
        assert!(totals.memory_growing(60, 90, None).unwrap());
        totals.memory_grow_failed(wasmtime::format_err!("no memory")).unwrap();
        assert_eq!((totals.memory_bytes(), totals.refused_growth()), (60, 1));
        assert!(totals.refused_memory());
        totals.memory_grow_failed(wasmtime::format_err!("again")).unwrap();
        assert_eq!(totals.memory_bytes(), 60);
    }

    #[test]
    fn a_declared_maximum_holds_and_sizes_do_not_overflow() {
        let mut totals = totals(u64::MAX, u32::MAX);
        assert!(!totals.memory_growing(10, 30, Some(20)).unwrap());
        assert!(totals.memory_growing(0, usize::MAX, None).unwrap());
        assert!(totals.table_growing(0, 10, None).unwrap());
        assert!(!totals.table_growing(0, usize::MAX, None).unwrap());
        assert_eq!(totals.table_elements(), 10);
    }
}
