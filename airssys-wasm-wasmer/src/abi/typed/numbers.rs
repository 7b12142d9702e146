//! Numbers, `bool` and `char`.

use airssys_wasm_core::error::Result;
use wasmtime_environ::component::CanonicalAbiInfo;

use super::super::cells::{Cells, Reader};
use super::super::guest::{Guest, invalid, read, slice, slice_mut, write};
use super::{Layout, Lift, Lower};

macro_rules! numbers {
    ($($ty:ident $abi:ident, |$value:ident| $cell:expr, |$bits:ident| $number:expr;)*) => {$(
        impl Layout for $ty {
            const ABI: CanonicalAbiInfo = CanonicalAbiInfo::$abi;
        }

        impl Lower for $ty {
            #[inline]
            fn lower<G: Guest + ?Sized>(&self, _: &mut G, cells: &mut Cells) -> Result<()> {
                let $value = *self;
                cells.push($cell);
                Ok(())
            }

            #[inline]
            fn store<G: Guest + ?Sized>(&self, guest: &mut G, at: usize) -> Result<()> {
                write(guest, at, self.to_le_bytes())
            }

            fn store_all<G: Guest + ?Sized>(items: &[Self], guest: &mut G, at: usize) -> Result<()> {
                let target = slice_mut(guest, at, items.len() * Self::SIZE)?;
                for (item, place) in items.iter().zip(target.as_chunks_mut().0) {
                    *place = item.to_le_bytes();
                }
                Ok(())
            }
        }

        impl Lift for $ty {
            #[inline]
            fn lift<G: Guest + ?Sized>(_: &mut G, cells: &mut Reader<'_>) -> Result<Self> {
                let $bits = cells.next();
                Ok($number)
            }

            #[inline]
            fn load<G: Guest + ?Sized>(guest: &mut G, at: usize) -> Result<Self> {
                read(guest, at).map(Self::from_le_bytes)
            }

            fn load_all<G: Guest + ?Sized>(guest: &mut G, at: usize, count: usize) -> Result<Vec<Self>> {
                let bytes = slice(guest, at, count * Self::SIZE)?;
                Ok(bytes.as_chunks().0.iter().map(|bytes| Self::from_le_bytes(*bytes)).collect())
            }
        }
    )*};
}

numbers! {
    u16 SCALAR2, |value| u64::from(value), |bits| bits as u16;
    u32 SCALAR4, |value| u64::from(value), |bits| bits as u32;
    u64 SCALAR8, |value| value, |bits| bits;
    i8 SCALAR1, |value| u64::from(value as u32), |bits| bits as i8;
    i16 SCALAR2, |value| u64::from(value as u32), |bits| bits as i16;
    i32 SCALAR4, |value| u64::from(value as u32), |bits| bits as i32;
    i64 SCALAR8, |value| value as u64, |bits| bits as i64;
}

impl Layout for u8 {
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::SCALAR1;
}

impl Lower for u8 {
    #[inline]
    fn lower<G: Guest + ?Sized>(&self, _: &mut G, cells: &mut Cells) -> Result<()> {
        cells.push(u64::from(*self));
        Ok(())
    }

    #[inline]
    fn store<G: Guest + ?Sized>(&self, guest: &mut G, at: usize) -> Result<()> {
        write(guest, at, [*self])
    }

    fn store_all<G: Guest + ?Sized>(items: &[Self], guest: &mut G, at: usize) -> Result<()> {
        slice_mut(guest, at, items.len())?.copy_from_slice(items);
        Ok(())
    }
}

impl Lift for u8 {
    #[inline]
    fn lift<G: Guest + ?Sized>(_: &mut G, cells: &mut Reader<'_>) -> Result<Self> {
        Ok(cells.next() as Self)
    }

    #[inline]
    fn load<G: Guest + ?Sized>(guest: &mut G, at: usize) -> Result<Self> {
        read(guest, at).map(|[byte]| byte)
    }

    fn load_all<G: Guest + ?Sized>(guest: &mut G, at: usize, count: usize) -> Result<Vec<Self>> {
        slice(guest, at, count).map(<[u8]>::to_vec)
    }
}

/// Types that cross as a number does: what they are of, on the way in, and what is made of it, on the way
/// out.
macro_rules! through {
    ($($ty:ident as $number:ident, |$value:ident| $to:expr, |$guest:ident, $raw:ident| $from:expr;)*) => {$(
        impl Layout for $ty {
            const ABI: CanonicalAbiInfo = $number::ABI;
        }

        impl Lower for $ty {
            #[inline]
            fn lower<G: Guest + ?Sized>(&self, guest: &mut G, cells: &mut Cells) -> Result<()> {
                let $value = *self;
                $number::lower(&$to, guest, cells)
            }

            #[inline]
            fn store<G: Guest + ?Sized>(&self, guest: &mut G, at: usize) -> Result<()> {
                let $value = *self;
                $number::store(&$to, guest, at)
            }
        }

        impl Lift for $ty {
            #[inline]
            fn lift<G: Guest + ?Sized>($guest: &mut G, cells: &mut Reader<'_>) -> Result<Self> {
                // Cells have no narrow numbers: all 32 bits count.
                let $raw = through!(@cell $number, $guest, cells);
                $from
            }

            #[inline]
            fn load<G: Guest + ?Sized>($guest: &mut G, at: usize) -> Result<Self> {
                let $raw = through!(@memory $number, $guest, at);
                $from
            }
        }
    )*};
    (@cell u8, $guest:ident, $cells:ident) => { $cells.next_u32() };
    (@cell $number:ident, $guest:ident, $cells:ident) => { $number::lift($guest, $cells)? };
    (@memory u8, $guest:ident, $at:ident) => { u32::from(u8::load($guest, $at)?) };
    (@memory $number:ident, $guest:ident, $at:ident) => { $number::load($guest, $at)? };
}

through! {
    bool as u8, |value| u8::from(value), |_guest, raw| Ok(raw != 0);
    f32 as u32, |value| canonical_f32(value).to_bits(), |_guest, raw| Ok(canonical_f32(Self::from_bits(raw)));
    f64 as u64, |value| canonical_f64(value).to_bits(), |_guest, raw| Ok(canonical_f64(Self::from_bits(raw)));
    char as u32, |value| u32::from(value), |guest, raw| {
        Self::from_u32(raw).ok_or_else(|| invalid(guest, "a `char` is out of range").with("number", raw))
    };
}

fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(0x7fc0_0000) } else { value }
}

fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { value }
}
