//! The guest as lifting and lowering see it: a memory, an allocator, and tables of handles.

use airssys_wasm_core::error::{ErrorKind, Result, TrapKind, WasmError};
use wasmtime_environ::component::{StringEncoding, TypeResourceTableIndex};

/// The other side of a call, with the canonical options that it declares.
pub(crate) trait Guest {
    /// What is being done, for errors.
    fn operation(&self) -> &'static str;

    /// The memory, as it is now. Whatever calls the guest can move and grow it.
    fn memory(&self) -> &[u8];

    /// As [`memory`](Self::memory), to be written to.
    fn memory_mut(&mut self) -> &mut [u8];

    /// How the guest writes strings.
    fn encoding(&self) -> StringEncoding;

    /// Calls the guest's allocator. Nothing is assumed of the address it answers with.
    ///
    /// # Errors
    /// What ended the guest; it is handed up unchanged.
    fn realloc(&mut self, old: u32, old_size: u32, align: u32, size: u32) -> Result<u32>;

    /// Takes a handle out of the guest's table.
    fn lift_own(&mut self, ty: TypeResourceTableIndex, handle: u32) -> Result<u64>;

    /// Borrows what a handle of the guest stands for, until the call ends.
    fn lift_borrow(&mut self, ty: TypeResourceTableIndex, handle: u32) -> Result<u64>;

    /// Gives a resource to the guest.
    fn lower_own(&mut self, ty: TypeResourceTableIndex, resource: u64) -> Result<u32>;

    /// Lends a resource to the guest, until the call ends.
    fn lower_borrow(&mut self, ty: TypeResourceTableIndex, resource: u64) -> Result<u32>;

    /// Counts bytes of the host that the guest makes it spend.
    ///
    /// # Errors
    /// [`Limit::Transfer`](airssys_wasm_core::error::Limit::Transfer) when the allowance of this call is
    /// spent.
    fn charge(&mut self, bytes: usize) -> Result<()>;
}

/// A value that the canonical ABI refuses.
#[cold]
pub(crate) fn invalid(guest: &(impl Guest + ?Sized), what: &'static str) -> WasmError {
    WasmError::trapped(guest.operation(), TrapKind::InvalidValue).saying(what)
}

/// Something that the caller of this module got wrong.
#[cold]
pub(super) fn defect(guest: &(impl Guest + ?Sized), what: &'static str) -> WasmError {
    WasmError::new(ErrorKind::Internal, guest.operation()).saying(what)
}

/// An address that the guest chose, for `size` bytes.
pub(super) fn place(
    guest: &(impl Guest + ?Sized),
    pointer: u32,
    align: u32,
    size: usize,
    what: &'static str,
) -> Result<usize> {
    let at = pointer as usize;
    if !pointer.is_multiple_of(align) {
        return Err(invalid(guest, what).with("pointer", pointer).with("alignment", align));
    }
    let memory = guest.memory().len();
    if at.checked_add(size).is_none_or(|end| end > memory) {
        return Err(invalid(guest, what).with("pointer", pointer).with("bytes", size).with("memory", memory));
    }
    Ok(at)
}

/// A fresh block in the guest's memory.
pub(super) fn allocate(guest: &mut (impl Guest + ?Sized), align: u32, size: usize) -> Result<usize> {
    reallocate(guest, 0, 0, align, size)
}

/// A block in the guest's memory, made from an older one.
pub(super) fn reallocate(
    guest: &mut (impl Guest + ?Sized),
    old: usize,
    old_size: usize,
    align: u32,
    size: usize,
) -> Result<usize> {
    let narrow = |guest: &_, number: usize| {
        u32::try_from(number)
            .map_err(|_| invalid(guest, "a value is too large for the guest's memory").with("bytes", number))
    };
    let (old, old_size) = (narrow(guest, old)?, narrow(guest, old_size)?);
    let bytes = narrow(guest, size)?;
    let pointer = guest.realloc(old, old_size, align, bytes)?;
    place(guest, pointer, align, size, "the guest's allocator answered with an address that is not usable")
}

const OUTSIDE: &str = "an access outside of the guest's memory";

pub(super) fn slice(guest: &(impl Guest + ?Sized), at: usize, size: usize) -> Result<&[u8]> {
    guest
        .memory()
        .get(at..)
        .and_then(|rest| rest.get(..size))
        .ok_or_else(|| invalid(guest, OUTSIDE).with("pointer", at).with("bytes", size))
}

pub(super) fn slice_mut(guest: &mut (impl Guest + ?Sized), at: usize, size: usize) -> Result<&mut [u8]> {
    let end = at.checked_add(size).filter(|end| *end <= guest.memory().len());
    let Some(end) = end else {
        return Err(invalid(guest, OUTSIDE).with("pointer", at).with("bytes", size));
    };
    Ok(&mut guest.memory_mut()[at..end])
}

#[inline]
pub(super) fn read<const N: usize>(guest: &(impl Guest + ?Sized), at: usize) -> Result<[u8; N]> {
    match guest.memory().get(at..).and_then(<[u8]>::first_chunk) {
        Some(bytes) => Ok(*bytes),
        None => Err(invalid(guest, OUTSIDE).with("pointer", at).with("bytes", N)),
    }
}

#[inline]
pub(super) fn write<const N: usize>(
    guest: &mut (impl Guest + ?Sized),
    at: usize,
    bytes: [u8; N],
) -> Result<()> {
    match guest.memory_mut().get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        Some(target) => *target = bytes,
        None => return Err(invalid(guest, OUTSIDE).with("pointer", at).with("bytes", N)),
    }
    Ok(())
}

/// The address and the length that stand for a string or a list.
pub(super) fn read_pair(guest: &(impl Guest + ?Sized), at: usize) -> Result<(u32, u32)> {
    let [a, b, c, d, e, f, g, h] = read(guest, at)?;
    Ok((u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])))
}

pub(super) fn write_pair(guest: &mut (impl Guest + ?Sized), at: usize, pair: (u32, u32)) -> Result<()> {
    write(guest, at, (u64::from(pair.0) | u64::from(pair.1) << 32).to_le_bytes())
}

/// Reads the number of a case, which takes 1, 2 or 4 bytes.
pub(crate) fn load_discriminant(guest: &(impl Guest + ?Sized), at: usize, size: u32) -> Result<u32> {
    Ok(match size {
        1 => u32::from(u8::from_le_bytes(read(guest, at)?)),
        2 => u32::from(u16::from_le_bytes(read(guest, at)?)),
        _ => u32::from_le_bytes(read(guest, at)?),
    })
}

/// Writes the number of a case into 1, 2 or 4 bytes.
pub(crate) fn store_discriminant(
    guest: &mut (impl Guest + ?Sized),
    at: usize,
    size: u32,
    discriminant: u32,
) -> Result<()> {
    match size {
        1 => write(guest, at, (discriminant as u8).to_le_bytes()),
        2 => write(guest, at, (discriminant as u16).to_le_bytes()),
        _ => write(guest, at, discriminant.to_le_bytes()),
    }
}

/// The number of a case that does not exist.
#[cold]
pub(crate) fn no_such_case(guest: &(impl Guest + ?Sized), discriminant: u32, cases: usize) -> WasmError {
    invalid(guest, "a variant has no case of that number").with("number", discriminant).with("cases", cases)
}
