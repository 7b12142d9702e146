//! Strings and lists: an address and a length.

use airssys_wasm_core::error::Result;
use wasmtime_environ::component::CanonicalAbiInfo;

use super::super::cells::{Cells, Reader};
use super::super::guest::{Guest, allocate, place, read_pair, write_pair};
use super::super::text;
use super::{Layout, Lift, Lower};

/// Types that are an address and a length: how they are written, and how they are read.
macro_rules! pairs {
    ($([$($generic:ident)?] $ty:ty, |$value:ident, $to:ident| $pair:expr;)*) => {$(
        impl<$($generic: Layout)?> Layout for $ty {
            const ABI: CanonicalAbiInfo = CanonicalAbiInfo::POINTER_PAIR;
        }

        impl<$($generic: Lower)?> Lower for $ty {
            fn lower<G: Guest + ?Sized>(&self, $to: &mut G, cells: &mut Cells) -> Result<()> {
                let $value = self;
                let (pointer, length) = $pair?;
                cells.push(u64::from(pointer));
                cells.push(u64::from(length));
                Ok(())
            }

            fn store<G: Guest + ?Sized>(&self, $to: &mut G, at: usize) -> Result<()> {
                let $value = self;
                let pair = $pair?;
                write_pair($to, at, pair)
            }
        }
    )*};
}

pairs! {
    [] str, |value, guest| text::lower(value, guest);
    [] String, |value, guest| text::lower(value, guest);
    [T] [T], |value, guest| lower_list(value, guest);
    [T] Vec<T>, |value, guest| lower_list(value, guest);
}

impl Lift for String {
    fn lift<G: Guest + ?Sized>(guest: &mut G, cells: &mut Reader<'_>) -> Result<Self> {
        let (pointer, length) = (cells.next_u32(), cells.next_u32());
        text::lift(guest, pointer, length)
    }

    fn load<G: Guest + ?Sized>(guest: &mut G, at: usize) -> Result<Self> {
        let (pointer, length) = read_pair(guest, at)?;
        text::lift(guest, pointer, length)
    }
}

impl<T: Lift> Lift for Vec<T> {
    fn lift<G: Guest + ?Sized>(guest: &mut G, cells: &mut Reader<'_>) -> Result<Self> {
        let (pointer, length) = (cells.next_u32(), cells.next_u32());
        lift_list(guest, pointer, length)
    }

    fn load<G: Guest + ?Sized>(guest: &mut G, at: usize) -> Result<Self> {
        let (pointer, length) = read_pair(guest, at)?;
        lift_list(guest, pointer, length)
    }
}

fn lower_list<T: Lower, G: Guest + ?Sized>(items: &[T], guest: &mut G) -> Result<(u32, u32)> {
    let at = allocate(guest, T::ABI.align32, items.len().saturating_mul(T::SIZE))?;
    T::store_all(items, guest, at)?;
    Ok((at as u32, items.len() as u32))
}

fn lift_list<T: Lift, G: Guest + ?Sized>(guest: &mut G, pointer: u32, length: u32) -> Result<Vec<T>> {
    let count = length as usize;
    let at = place_list(guest, pointer, count, &T::ABI)?;
    guest.charge(count.saturating_mul(size_of::<T>().max(1)))?;
    T::load_all(guest, at, count)
}

/// Where a list is that the guest claims to have.
pub(crate) fn place_list(
    guest: &(impl Guest + ?Sized),
    pointer: u32,
    count: usize,
    element: &CanonicalAbiInfo,
) -> Result<usize> {
    let size = count.saturating_mul(element.size32 as usize);
    place(guest, pointer, element.align32, size, "a list is not inside of the guest's memory, or not aligned")
}
