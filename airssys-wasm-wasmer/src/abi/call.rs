//! Whole calls of known types: their parameters and results, as cells or through memory.

use airssys_wasm_core::error::Result;
use wasmtime_environ::component::{CanonicalAbiInfo, MAX_FLAT_PARAMS, MAX_FLAT_RESULTS};

use super::cells::{Cells, Reader};
use super::guest::{Guest, allocate, defect, place};
use super::typed::{Lift, Lower};

/// Hands the arguments to the guest, as the cells of a call of its export.
pub(crate) fn lower_parameters<P: Lower, G: Guest + ?Sized>(parameters: &P, guest: &mut G) -> Result<Cells> {
    let mut cells = Cells::default();
    if P::FLAT <= MAX_FLAT_PARAMS {
        parameters.lower(guest, &mut cells)?;
    } else {
        let at = allocate(guest, P::ABI.align32, P::SIZE)?;
        parameters.store(guest, at)?;
        cells.push(at as u64);
    }
    Ok(cells)
}

/// Takes the result that the guest's export returned.
pub(crate) fn lift_results<R: Lift, G: Guest + ?Sized>(cells: &[u64], guest: &mut G) -> Result<R> {
    lift(cells, guest, MAX_FLAT_RESULTS)
}

/// Takes the arguments of a call that the guest makes. A pointer for the result can follow them.
pub(crate) fn lift_parameters<P: Lift, G: Guest + ?Sized>(cells: &[u64], guest: &mut G) -> Result<P> {
    lift(cells, guest, MAX_FLAT_PARAMS)
}

/// Hands the result to the guest that made the call with `parameters`: the cells to return.
pub(crate) fn lower_results<R: Lower, G: Guest + ?Sized>(
    result: &R,
    parameters: &[u64],
    guest: &mut G,
) -> Result<Cells> {
    let mut cells = Cells::default();
    if R::FLAT <= MAX_FLAT_RESULTS {
        result.lower(guest, &mut cells)?;
    } else {
        let at = place_result(guest, parameters, &R::ABI)?;
        result.store(guest, at)?;
    }
    Ok(cells)
}

fn lift<T: Lift, G: Guest + ?Sized>(cells: &[u64], guest: &mut G, most: usize) -> Result<T> {
    if T::FLAT <= most {
        enough(guest, cells, T::FLAT)?;
        T::lift(guest, &mut Reader::new(cells))
    } else {
        let at = place_values(guest, cells, &T::ABI)?;
        T::load(guest, at)
    }
}

pub(super) fn enough(guest: &(impl Guest + ?Sized), cells: &[u64], count: usize) -> Result<()> {
    if cells.len() < count {
        return Err(defect(guest, "a call has fewer core values than its type")
            .with("expected", count)
            .with("given", cells.len()));
    }
    Ok(())
}

/// Where the guest left what does not fit into cells.
pub(super) fn place_values(
    guest: &(impl Guest + ?Sized),
    cells: &[u64],
    abi: &CanonicalAbiInfo,
) -> Result<usize> {
    enough(guest, cells, 1)?;
    let what = "a pointer to the values of a call is not inside of the guest's memory, or not aligned";
    place(guest, cells[0] as u32, abi.align32, abi.size32 as usize, what)
}

/// Where the guest wants a result that does not fit into a cell: its last parameter.
pub(super) fn place_result(
    guest: &(impl Guest + ?Sized),
    parameters: &[u64],
    abi: &CanonicalAbiInfo,
) -> Result<usize> {
    enough(guest, parameters, 1)?;
    let what = "the pointer for a result is not inside of the guest's memory, or not aligned";
    place(guest, parameters[parameters.len() - 1] as u32, abi.align32, abi.size32 as usize, what)
}

#[cfg(test)]
mod tests {
    use airssys_wasm_core::error::{Detail, ErrorKind, TrapKind};

    use super::super::fake::{Allocator, Fake};
    use super::*;

    type Wide = ((u64, u64, u64, u64, u64, u64, u64, u64), (u8, u8, u8, u8, u8, u8, u8, u8), String);

    fn wide() -> Wide {
        ((1, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4, 5, 6, 7, 8), "text".into())
    }

    #[test]
    fn a_few_parameters_are_cells_and_many_are_memory() {
        let guest = &mut Fake::utf8();
        let cells = lower_parameters(&(1u8, "ab"), guest).unwrap();
        assert_eq!(cells.as_slice(), [1, 8, 2]);
        assert_eq!(lift_parameters::<(u8, String), _>(cells.as_slice(), guest).unwrap(), (1, "ab".into()));
        let cells = lower_parameters(&wide(), guest).unwrap();
        assert_eq!(cells.len(), 1);
        assert_eq!(lift_parameters::<Wide, _>(cells.as_slice(), guest).unwrap(), wide());
    }

    #[test]
    fn a_result_is_a_cell_or_memory() {
        let guest = &mut Fake::utf8();
        assert_eq!(lower_results(&7u8, &[], guest).unwrap().as_slice(), [7]);
        assert_eq!(lift_results::<u8, _>(&[7], guest).unwrap(), 7);
        lift_results::<(), _>(&[], guest).unwrap();
        assert_eq!(lower_results(&("ab", 3u8), &[5, 1024], guest).unwrap().len(), 0);
        assert_eq!(lift_results::<(String, u8), _>(&[1024], guest).unwrap(), ("ab".into(), 3));
    }

    #[test]
    fn hostile_pointers_are_refused() {
        let guest = &mut Fake::utf8();
        for pointer in [2, 65532, 65536, u64::from(u32::MAX), u64::from(u32::MAX - 3)] {
            let errors = [
                lift_results::<(String, u8), _>(&[pointer], guest).unwrap_err(),
                lift_parameters::<Wide, _>(&[pointer], guest).unwrap_err(),
                lower_results(&("ab", 3u8), &[pointer], guest).unwrap_err(),
            ];
            for error in errors {
                assert_eq!(error.detail(), Some(Detail::Trap(TrapKind::InvalidValue)), "{error}");
            }
        }
        guest.allocator = Allocator::Answers(4);
        assert!(lower_parameters(&wide(), guest).is_err());
    }

    #[test]
    fn too_few_cells_are_our_own_fault() {
        let guest = &mut Fake::utf8();
        let error = lift_parameters::<(u8, String), _>(&[1, 2], guest).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
