//! Types that are known when the host is built: their layout, and the two ways across.

mod compound;
mod lists;
mod numbers;

use airssys_wasm_core::error::{Result, WasmError};
use wasmtime_environ::component::{CanonicalAbiInfo, VariantInfo};

use super::cells::{Cells, Reader};
use super::guest::{Guest, load_discriminant, no_such_case, store_discriminant};

pub(super) use lists::place_list;

/// How a type lies in memory, and how many cells it has without memory.
pub(crate) trait Layout {
    const ABI: CanonicalAbiInfo;
    const SIZE: usize = Self::ABI.size32 as usize;
    /// Its number of cells. What has more than sixteen never goes without memory.
    const FLAT: usize = match Self::ABI.flat_count {
        Some(count) => count as usize,
        None => usize::MAX,
    };
}

/// A value on the way into a guest; often borrowed.
pub(crate) trait Lower: Layout {
    /// As cells.
    fn lower<G: Guest + ?Sized>(&self, guest: &mut G, cells: &mut Cells) -> Result<()>;

    /// In memory, at an address that is aligned and has room.
    fn store<G: Guest + ?Sized>(&self, guest: &mut G, at: usize) -> Result<()>;

    /// Many in memory, one after the other.
    fn store_all<G: Guest + ?Sized>(items: &[Self], guest: &mut G, at: usize) -> Result<()>
    where
        Self: Sized,
    {
        let mut at = at;
        for item in items {
            item.store(guest, at)?;
            at += Self::SIZE;
        }
        Ok(())
    }
}

/// A value on the way out of a guest; always owned.
pub(crate) trait Lift: Layout + Sized {
    /// From cells.
    fn lift<G: Guest + ?Sized>(guest: &mut G, cells: &mut Reader<'_>) -> Result<Self>;

    /// From memory, at an address that is aligned and inside.
    fn load<G: Guest + ?Sized>(guest: &mut G, at: usize) -> Result<Self>;

    /// Many from memory. Whoever calls has checked where they are, and counted what they take.
    fn load_all<G: Guest + ?Sized>(guest: &mut G, at: usize, count: usize) -> Result<Vec<Self>> {
        (0..count).map(|position| Self::load(guest, at + position * Self::SIZE)).collect()
    }
}

impl<T: Layout + ?Sized> Layout for &T {
    const ABI: CanonicalAbiInfo = T::ABI;
}

impl<T: Lower + ?Sized> Lower for &T {
    #[inline]
    fn lower<G: Guest + ?Sized>(&self, guest: &mut G, cells: &mut Cells) -> Result<()> {
        T::lower(self, guest, cells)
    }

    #[inline]
    fn store<G: Guest + ?Sized>(&self, guest: &mut G, at: usize) -> Result<()> {
        T::store(self, guest, at)
    }
}

/// The cases of a variant of the host, numbered from zero.
pub(crate) trait Cases: Layout {
    const INFO: VariantInfo;
    const COUNT: usize;
    /// Where the payload is.
    const PAYLOAD: usize = Self::INFO.payload_offset32 as usize;

    fn store_number<G: Guest + ?Sized>(guest: &mut G, at: usize, number: u32) -> Result<()> {
        store_discriminant(guest, at, Self::INFO.size.byte_size(), number)
    }

    fn load_number<G: Guest + ?Sized>(guest: &mut G, at: usize) -> Result<u32> {
        load_discriminant(guest, at, Self::INFO.size.byte_size())
    }

    fn no_such_case<G: Guest + ?Sized>(guest: &G, number: u32) -> WasmError {
        no_such_case(guest, number, Self::COUNT)
    }
}

/// Where each field of a record or a tuple is.
pub(crate) const fn offsets<const N: usize>(fields: [&CanonicalAbiInfo; N]) -> [usize; N] {
    let mut offsets = [0; N];
    let mut offset = 0;
    let mut position = 0;
    while position < N {
        offset = (offset as u32).next_multiple_of(fields[position].align32) as usize;
        offsets[position] = offset;
        offset += fields[position].size32 as usize;
        position += 1;
    }
    offsets
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use airssys_wasm_core::error::{Detail, Limit, TrapKind};

    use super::super::fake::{ENCODINGS, Fake};
    use super::super::guest::allocate;
    use super::*;

    /// Through memory and, if it fits, through cells.
    fn check<T: Lower + Lift + PartialEq + Debug>(value: &T) {
        for encoding in ENCODINGS {
            let mut guest = Fake::new(encoding);
            let at = allocate(&mut guest, T::ABI.align32, T::SIZE).unwrap();
            value.store(&mut guest, at).unwrap();
            assert_eq!(T::load(&mut guest, at).unwrap(), *value);
            if T::FLAT <= 16 {
                let mut cells = Cells::default();
                value.lower(&mut guest, &mut cells).unwrap();
                assert_eq!(cells.len(), T::FLAT);
                assert_eq!(T::lift(&mut guest, &mut Reader::new(cells.as_slice())).unwrap(), *value);
            }
        }
    }

    #[test]
    fn values_cross_and_come_back() {
        check(&());
        check(&(true, false));
        check(&(u8::MAX, i8::MIN, u16::MAX, i16::MIN, u32::MAX, i32::MIN, u64::MAX, i64::MIN));
        check(&(1.5f32, f64::NEG_INFINITY, '\u{10ffff}'));
        check(&(String::from("n\u{ef}\u{1f600}"), vec![1u8, 2, 3]));
        check(&vec![Some(String::from("a")), None, Some(String::new())]);
        check(&vec![-1i16, 2, i16::MIN]);
        check(&Some(Some(7u8)));
        check(&(None::<u64>, 7u8, Ok::<u8, String>(1), 9u16));
        check(&Ok::<(u8, u64), String>((1, u64::MAX)));
        check(&Err::<(u8, u64), String>("no".into()));
        check(&Ok::<(), String>(()));
        check(&Err::<f32, u64>(u64::MAX));
        check(&Ok::<f32, u64>(-0.5));
        check(&vec![(1u8, 2u64, vec![(3u16,), (4,)])]);
        check(&(
            (1u64, 2u64, 3u64, 4u64, 5u64, 6u64),
            (1u8, 2u8, 3u8, 4u8, 5u8, 6u8),
            (1u8, 2u8, 3u8, 4u8, 5u8),
        ));
    }

    #[test]
    fn borrowed_values_look_as_owned_ones() {
        let (mut owned, mut borrowed) = (Fake::utf8(), Fake::utf8());
        let (mut one, mut other) = (Cells::default(), Cells::default());
        (Some(String::from("a")), vec![1u8, 2], vec![(String::from("k"), 1u8)])
            .lower(&mut owned, &mut one)
            .unwrap();
        (Some("a"), &[1u8, 2][..], &[("k", 1u8)][..]).lower(&mut borrowed, &mut other).unwrap();
        assert_eq!(one.as_slice(), other.as_slice());
        assert_eq!(owned.memory, borrowed.memory);
    }

    #[test]
    fn numbers_have_the_bits_of_core_values() {
        let cells = |value: &dyn Fn(&mut Fake, &mut Cells)| {
            let mut cells = Cells::default();
            value(&mut Fake::utf8(), &mut cells);
            cells.as_slice().to_vec()
        };
        assert_eq!(cells(&|guest, cells| (-1i8).lower(guest, cells).unwrap()), [0xffff_ffff]);
        assert_eq!(cells(&|guest, cells| (-2i16).lower(guest, cells).unwrap()), [0xffff_fffe]);
        assert_eq!(cells(&|guest, cells| (-1i64).lower(guest, cells).unwrap()), [u64::MAX]);
        assert_eq!(cells(&|guest, cells| f32::NAN.lower(guest, cells).unwrap()), [0x7fc0_0000]);
        let joined = Err::<i64, f32>(1.0);
        assert_eq!(cells(&|guest, cells| joined.lower(guest, cells).unwrap()), [1, 0x3f80_0000]);
        assert_eq!(cells(&|guest, cells| None::<String>.lower(guest, cells).unwrap()), [0, 0, 0]);
    }

    #[test]
    fn core_values_are_narrowed() {
        let guest = &mut Fake::utf8();
        assert_eq!(u8::lift(guest, &mut Reader::new(&[0x1_ff])).unwrap(), 0xff);
        assert_eq!(i8::lift(guest, &mut Reader::new(&[0xff])).unwrap(), -1);
        assert!(bool::lift(guest, &mut Reader::new(&[0x100])).unwrap());
        assert!(!bool::lift(guest, &mut Reader::new(&[1 << 32])).unwrap());
        let nan = f32::lift(guest, &mut Reader::new(&[0xffff_ffff])).unwrap();
        assert_eq!(nan.to_bits(), 0x7fc0_0000);
        guest.memory[8] = 2;
        assert!(bool::load(guest, 8).unwrap());
    }

    #[test]
    fn what_the_abi_refuses_is_refused() {
        let refused = |result: Result<()>| {
            assert_eq!(result.unwrap_err().detail(), Some(Detail::Trap(TrapKind::InvalidValue)));
        };
        let guest = &mut Fake::utf8();
        for bits in [0xd800, 0xdfff, 0x11_0000, u64::from(u32::MAX)] {
            refused(char::lift(guest, &mut Reader::new(&[bits])).map(drop));
        }
        refused(<Option<u8>>::lift(guest, &mut Reader::new(&[2, 0])).map(drop));
        refused(<Result<u8, u8>>::lift(guest, &mut Reader::new(&[u64::from(u32::MAX), 0])).map(drop));
        guest.memory[8] = 2;
        refused(<Option<u8>>::load(guest, 8).map(drop));
        refused(u64::load(guest, 65530).map(drop));
        refused(1u64.store(guest, usize::MAX));
        for (pointer, length) in [(1, 1), (65536, 1), (0xffff_fffc, 2), (8, 0xffff_ffff), (65540, 0)] {
            refused(<Vec<u32>>::lift(guest, &mut Reader::new(&[pointer, length])).map(drop));
        }
        assert_eq!(<Vec<u32>>::lift(guest, &mut Reader::new(&[65536, 0])).unwrap(), Vec::<u32>::new());
    }

    /// A list whose elements are all the same large list.
    #[test]
    fn aliases_run_into_the_allowance() {
        let guest = &mut Fake::utf8();
        for pair in guest.memory.as_chunks_mut::<8>().0 {
            *pair = (1u64 << 45).to_le_bytes();
        }
        let error = <Vec<Vec<Vec<u64>>>>::lift(guest, &mut Reader::new(&[0, 8192])).unwrap_err();
        assert_eq!(error.detail(), Some(Detail::Limit(Limit::Transfer)));
    }
}
