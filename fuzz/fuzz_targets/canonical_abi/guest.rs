//! A guest whose memory, answers and allocator are the fuzzer's.

use airssys_wasm_core::error::{Limit, Result, TrapKind, WasmError};
use wasmtime_environ::component::{StringEncoding, TypeResourceTableIndex};

use crate::wasmer::abi::Guest;

/// What a guest's allocator does.
#[derive(Debug)]
pub(crate) enum Allocator {
    /// Gives memory that nobody has.
    Grows,
    /// Gives these addresses, the last first; then it traps.
    Answers(Vec<u32>),
    Traps,
}

#[derive(Debug)]
pub(crate) struct Hostile {
    memory: Vec<u8>,
    encoding: StringEncoding,
    allocator: Allocator,
    allowance: usize,
}

/// Between the representation of a resource and its handle.
const HANDLES: u64 = 1_000;

impl Hostile {
    pub(crate) fn new(
        encoding: StringEncoding,
        allocator: Allocator,
        allowance: usize,
        memory: &[u8],
    ) -> Self {
        Self { memory: memory.to_vec(), encoding, allocator, allowance }
    }

    /// One that does what it should.
    pub(crate) fn honest(encoding: StringEncoding) -> Self {
        Self::new(encoding, Allocator::Grows, usize::MAX, &[0xa5; 8])
    }

    /// Fresh memory.
    pub(crate) fn place(&mut self, align: u32, size: u32) -> u32 {
        let at = self.memory.len().next_multiple_of(align as usize);
        self.memory.resize(at + size as usize, 0xa5);
        u32::try_from(at).expect("a test takes little memory")
    }
}

impl Guest for Hostile {
    fn operation(&self) -> &'static str {
        "fuzz"
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
        match &mut self.allocator {
            Allocator::Grows => {}
            Allocator::Answers(answers) => {
                return answers.pop().ok_or_else(|| WasmError::trapped("realloc", TrapKind::Unreachable));
            }
            Allocator::Traps => return Err(WasmError::trapped("realloc", TrapKind::Unreachable)),
        }
        let at = self.place(align, size);
        let old = old as usize;
        self.memory.copy_within(old..old + old_size.min(size) as usize, at as usize);
        Ok(at)
    }

    fn lift_own(&mut self, _: TypeResourceTableIndex, handle: u32) -> Result<u64> {
        Ok(u64::from(handle) + HANDLES)
    }

    fn lift_borrow(&mut self, _: TypeResourceTableIndex, handle: u32) -> Result<u64> {
        Ok(u64::from(handle) + HANDLES)
    }

    fn lower_own(&mut self, _: TypeResourceTableIndex, resource: u64) -> Result<u32> {
        Ok((resource - HANDLES) as u32)
    }

    fn lower_borrow(&mut self, _: TypeResourceTableIndex, resource: u64) -> Result<u32> {
        Ok((resource - HANDLES) as u32)
    }

    fn charge(&mut self, bytes: usize) -> Result<()> {
        self.allowance = self
            .allowance
            .checked_sub(bytes)
            .ok_or_else(|| WasmError::limited(self.operation(), Limit::Transfer))?;
        Ok(())
    }
}
