//! A guest that is a vector and an allocator that only grows.

use airssys_wasm_core::error::{Limit, Result, TrapKind, WasmError};
use wasmtime_environ::component::{StringEncoding, TypeResourceTableIndex};

use super::guest::Guest;

/// What the allocator of a [`Fake`] answers with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Allocator {
    Honest,
    Answers(u32),
    Traps,
}

#[derive(Debug)]
pub(super) struct Fake {
    pub(super) memory: Vec<u8>,
    pub(super) encoding: StringEncoding,
    pub(super) allocator: Allocator,
    /// The first free byte.
    pub(super) free: usize,
    pub(super) allowance: usize,
    pub(super) allocations: usize,
}

impl Fake {
    pub(super) fn new(encoding: StringEncoding) -> Self {
        Self {
            memory: vec![0xa5; 1 << 16],
            encoding,
            allocator: Allocator::Honest,
            free: 8,
            allowance: 1 << 24,
            allocations: 0,
        }
    }

    pub(super) fn utf8() -> Self {
        Self::new(StringEncoding::Utf8)
    }
}

pub(super) const ENCODINGS: [StringEncoding; 3] =
    [StringEncoding::Utf8, StringEncoding::Utf16, StringEncoding::CompactUtf16];

impl Guest for Fake {
    fn operation(&self) -> &'static str {
        "test"
    }

    fn memory(&self) -> &[u8] {
        &self.memory
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }

    fn encoding(&self) -> StringEncoding {
        self.encoding
    }

    fn realloc(&mut self, old: u32, old_size: u32, align: u32, size: u32) -> Result<u32> {
        self.allocations += 1;
        match self.allocator {
            Allocator::Honest => {}
            Allocator::Answers(address) => return Ok(address),
            Allocator::Traps => return Err(WasmError::trapped("realloc", TrapKind::Unreachable)),
        }
        let at = self.free.next_multiple_of(align as usize);
        self.free = at + size as usize;
        if self.free > self.memory.len() {
            self.memory.resize(self.free.next_multiple_of(1 << 16), 0xa5);
        }
        let kept = old_size.min(size) as usize;
        self.memory.copy_within(old as usize..old as usize + kept, at);
        Ok(at as u32)
    }

    fn lift_own(&mut self, _: TypeResourceTableIndex, handle: u32) -> Result<u64> {
        Ok(u64::from(handle) + 1000)
    }

    fn lift_borrow(&mut self, _: TypeResourceTableIndex, handle: u32) -> Result<u64> {
        Ok(u64::from(handle) + 1000)
    }

    fn lower_own(&mut self, _: TypeResourceTableIndex, resource: u64) -> Result<u32> {
        Ok((resource - 1000) as u32)
    }

    fn lower_borrow(&mut self, _: TypeResourceTableIndex, resource: u64) -> Result<u32> {
        Ok((resource - 1000) as u32)
    }

    fn charge(&mut self, bytes: usize) -> Result<()> {
        match self.allowance.checked_sub(bytes) {
            Some(rest) => self.allowance = rest,
            None => return Err(WasmError::limited(self.operation(), Limit::Transfer)),
        }
        Ok(())
    }
}
