//! What operators cost: Wasmtime's default table.

use wasmparser::{MemArg, Operator};

use super::InstrumentError;
use super::scope::Scope;

/// The units of an operator, whatever it works on.
pub(super) fn units(op: &Operator<'_>) -> i64 {
    match op {
        Operator::Nop
        | Operator::Drop
        | Operator::Block { .. }
        | Operator::Loop { .. }
        | Operator::Unreachable
        | Operator::Return
        | Operator::Else
        | Operator::End => 0,
        _ => 1,
    }
}

/// An operator whose work depends on the operand at the top of the stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bulk {
    /// Whether each byte or element costs a unit.
    pub(super) charged: bool,
    /// Whether the operand is an `i64`.
    pub(super) wide: bool,
}

impl Bulk {
    /// Wasmtime does not check before a bulk operation of a constant length that costs no more than this.
    pub(super) const SMALL: u64 = 128;

    pub(super) fn of(op: &Operator<'_>, scope: &Scope) -> Result<Option<Self>, InstrumentError> {
        let memory64 = |index| scope.memory(index).map(|ty| ty.memory64);
        let (charged, wide) = match *op {
            Operator::MemoryInit { .. } | Operator::TableInit { .. } => (true, false),
            Operator::MemoryCopy { dst_mem, src_mem } => (true, memory64(dst_mem)? && memory64(src_mem)?),
            Operator::MemoryFill { mem } => (true, memory64(mem)?),
            Operator::MemoryGrow { mem } => (false, memory64(mem)?),
            Operator::TableCopy { dst_table, src_table } => {
                (true, scope.table64(dst_table)? && scope.table64(src_table)?)
            }
            Operator::TableFill { table } | Operator::TableGrow { table } => (true, scope.table64(table)?),
            _ => return Ok(None),
        };
        Ok(Some(Self { charged, wide }))
    }
}

/// Whether an operator accesses memory so far out that it traps at any address.
pub(super) fn always_traps(op: &Operator<'_>, scope: &Scope) -> Result<bool, InstrumentError> {
    let Some(argument) = memory_argument(op) else { return Ok(false) };
    let memory = scope.memory(argument.memory)?;
    // Wasmtime adds a longer offset to the address before it looks.
    let offset = u32::try_from(argument.offset).map_or(0, u64::from);
    let end = offset + (1 << argument.max_align);
    let page_size_log2 = memory.page_size_log2.unwrap_or(16);
    let reachable = match memory.maximum {
        Some(pages) => pages.saturating_mul(1 << page_size_log2),
        None if memory.memory64 => u64::MAX,
        None => 1 << 32,
    };
    Ok(end > reachable)
}

/// Finds the argument called `memarg` among those of an operator.
macro_rules! find_memory_argument {
    () => { None };
    (memarg = $value:ident $($name:ident = $other:ident)*) => { { $(let _ = $other;)* Some($value) } };
    ($name:ident = $other:ident $($rest:tt)*) => { { let _ = $other; find_memory_argument!($($rest)*) } };
}

macro_rules! define_memory_argument {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        fn memory_argument<'a>(op: &'a Operator<'_>) -> Option<&'a MemArg> {
            match op {
                $(Operator::$op $({ $($arg),* })? => find_memory_argument!($($($arg = $arg)*)?),)*
                _ => None,
            }
        }
    };
}

wasmparser::for_each_operator!(define_memory_argument);
