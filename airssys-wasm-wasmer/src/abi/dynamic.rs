//! Values of types that only the component knows, driven by its type tables.
//!
//! [`check`] first, then lower: what does not fit is found before anything of the guest is called. The
//! functions follow types, whose depth the validator bounds (100), so that no value can exhaust the stack.

mod lift;
mod lower;
mod mismatch;

use airssys_wasm_core::error::Result;
use airssys_wasm_core::runtime::Value;
use wasmtime_environ::component::{
    ComponentTypes, InterfaceType, MAX_FLAT_PARAMS, MAX_FLAT_RESULTS, TypeTupleIndex, VariantInfo,
};

use super::call::{enough, place_result, place_values};
use super::cells::{Cells, Reader};
use super::guest::{Guest, allocate};

use mismatch::type_name;
pub(crate) use mismatch::{Held, check};

/// Hands checked arguments to the guest, as the cells of a call of its export.
pub(crate) fn lower_parameters<G: Guest + ?Sized>(
    values: &[Value],
    tuple: TypeTupleIndex,
    types: &ComponentTypes,
    guest: &mut G,
) -> Result<Cells> {
    let abi = &types[tuple].abi;
    let mut cells = Cells::default();
    if abi.flat_count(MAX_FLAT_PARAMS).is_some() {
        lower::all(values, &types[tuple].types, types, guest, &mut cells)?;
    } else {
        let at = allocate(guest, abi.align32, abi.size32 as usize)?;
        lower::store_all(values, &types[tuple].types, types, guest, at)?;
        cells.push(at as u64);
    }
    Ok(cells)
}

/// Takes the results that the guest's export returned.
pub(crate) fn lift_results<G: Guest + ?Sized>(
    cells: &[u64],
    tuple: TypeTupleIndex,
    types: &ComponentTypes,
    guest: &mut G,
) -> Result<Vec<Value>> {
    lift_tuple(cells, tuple, types, guest, MAX_FLAT_RESULTS)
}

/// Takes the arguments of a call that the guest makes. A pointer for the result can follow them.
pub(crate) fn lift_parameters<G: Guest + ?Sized>(
    cells: &[u64],
    tuple: TypeTupleIndex,
    types: &ComponentTypes,
    guest: &mut G,
) -> Result<Vec<Value>> {
    lift_tuple(cells, tuple, types, guest, MAX_FLAT_PARAMS)
}

/// Hands checked results to the guest that made the call with `parameters`: the cells to return.
pub(crate) fn lower_results<G: Guest + ?Sized>(
    values: &[Value],
    parameters: &[u64],
    tuple: TypeTupleIndex,
    types: &ComponentTypes,
    guest: &mut G,
) -> Result<Cells> {
    let abi = &types[tuple].abi;
    let mut cells = Cells::default();
    if abi.flat_count(MAX_FLAT_RESULTS).is_some() {
        lower::all(values, &types[tuple].types, types, guest, &mut cells)?;
    } else {
        let at = place_result(guest, parameters, abi)?;
        lower::store_all(values, &types[tuple].types, types, guest, at)?;
    }
    Ok(cells)
}

fn lift_tuple<G: Guest + ?Sized>(
    cells: &[u64],
    tuple: TypeTupleIndex,
    types: &ComponentTypes,
    guest: &mut G,
    most: usize,
) -> Result<Vec<Value>> {
    let abi = &types[tuple].abi;
    if let Some(count) = abi.flat_count(most) {
        enough(guest, cells, count)?;
        lift::all(&types[tuple].types, types, guest, &mut Reader::new(cells))
    } else {
        let at = place_values(guest, cells, abi)?;
        lift::load_all(&types[tuple].types, types, guest, at)
    }
}

/// The cells of a type that goes without memory.
fn flat(ty: InterfaceType, types: &ComponentTypes) -> usize {
    types.canonical_abi(&ty).flat_count.map_or(0, usize::from)
}

/// How the cases of a `variant`, `enum`, `option` or `result` lie in memory.
fn info(ty: InterfaceType, types: &ComponentTypes) -> Option<&VariantInfo> {
    match ty {
        InterfaceType::Variant(index) => Some(&types[index].info),
        InterfaceType::Enum(index) => Some(&types[index].info),
        InterfaceType::Option(index) => Some(&types[index].info),
        InterfaceType::Result(index) => Some(&types[index].info),
        _ => None,
    }
}
