//! Options, results, tuples, and nothing.

use airssys_wasm_core::error::Result;
use wasmtime_environ::component::{CanonicalAbiInfo, VariantInfo};

use super::super::cells::{Cells, Reader};
use super::super::guest::{Guest, load_discriminant, no_such_case, store_discriminant};
use super::{Layout, Lift, Lower, offsets};

impl<T: Layout> Layout for Option<T> {
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::variant_static(&[None, Some(T::ABI)]);
}

/// Where the payload of an option or a result is.
const fn payload(cases: &[Option<CanonicalAbiInfo>]) -> usize {
    VariantInfo::new_static(cases).payload_offset32 as usize
}

impl<T: Lower> Lower for Option<T> {
    fn lower<G: Guest + ?Sized>(&self, guest: &mut G, cells: &mut Cells) -> Result<()> {
        let end = cells.len() + Self::FLAT;
        cells.push(u64::from(self.is_some()));
        if let Some(value) = self {
            value.lower(guest, cells)?;
        }
        cells.pad(end);
        Ok(())
    }

    fn store<G: Guest + ?Sized>(&self, guest: &mut G, at: usize) -> Result<()> {
        store_discriminant(guest, at, 1, u32::from(self.is_some()))?;
        match self {
            Some(value) => value.store(guest, at + const { payload(&[None, Some(T::ABI)]) }),
            None => Ok(()),
        }
    }
}

impl<T: Lift> Lift for Option<T> {
    fn lift<G: Guest + ?Sized>(guest: &mut G, cells: &mut Reader<'_>) -> Result<Self> {
        let end = cells.position() + Self::FLAT;
        let value = match cells.next_u32() {
            0 => None,
            1 => Some(T::lift(guest, cells)?),
            other => return Err(no_such_case(guest, other, 2)),
        };
        cells.skip_to(end);
        Ok(value)
    }

    fn load<G: Guest + ?Sized>(guest: &mut G, at: usize) -> Result<Self> {
        match load_discriminant(guest, at, 1)? {
            0 => Ok(None),
            1 => T::load(guest, at + const { payload(&[None, Some(T::ABI)]) }).map(Some),
            other => Err(no_such_case(guest, other, 2)),
        }
    }
}

impl<T: Layout, E: Layout> Layout for Result<T, E> {
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::variant_static(&[Some(T::ABI), Some(E::ABI)]);
}

impl<T: Lower, E: Lower> Lower for Result<T, E> {
    fn lower<G: Guest + ?Sized>(&self, guest: &mut G, cells: &mut Cells) -> Result<()> {
        let end = cells.len() + Self::FLAT;
        cells.push(u64::from(self.is_err()));
        match self {
            Ok(value) => value.lower(guest, cells)?,
            Err(error) => error.lower(guest, cells)?,
        }
        cells.pad(end);
        Ok(())
    }

    fn store<G: Guest + ?Sized>(&self, guest: &mut G, at: usize) -> Result<()> {
        store_discriminant(guest, at, 1, u32::from(self.is_err()))?;
        let at = at + const { payload(&[Some(T::ABI), Some(E::ABI)]) };
        match self {
            Ok(value) => value.store(guest, at),
            Err(error) => error.store(guest, at),
        }
    }
}

impl<T: Lift, E: Lift> Lift for Result<T, E> {
    fn lift<G: Guest + ?Sized>(guest: &mut G, cells: &mut Reader<'_>) -> Result<Self> {
        let end = cells.position() + Self::FLAT;
        let value = match cells.next_u32() {
            0 => Ok(T::lift(guest, cells)?),
            1 => Err(E::lift(guest, cells)?),
            other => return Err(no_such_case(guest, other, 2)),
        };
        cells.skip_to(end);
        Ok(value)
    }

    fn load<G: Guest + ?Sized>(guest: &mut G, at: usize) -> Result<Self> {
        let inside = at + const { payload(&[Some(T::ABI), Some(E::ABI)]) };
        match load_discriminant(guest, at, 1)? {
            0 => T::load(guest, inside).map(Ok),
            1 => E::load(guest, inside).map(Err),
            other => Err(no_such_case(guest, other, 2)),
        }
    }
}

macro_rules! tuples {
    ($(($($name:ident $value:ident $place:ident),+);)*) => {$(
        impl<$($name: Layout),+> Layout for ($($name,)+) {
            const ABI: CanonicalAbiInfo = CanonicalAbiInfo::record_static(&[$($name::ABI),+]);
        }

        impl<$($name: Lower),+> Lower for ($($name,)+) {
            #[inline]
            fn lower<Side: Guest + ?Sized>(&self, guest: &mut Side, cells: &mut Cells) -> Result<()> {
                let ($($value,)+) = self;
                $($value.lower(guest, cells)?;)+
                Ok(())
            }

            #[inline]
            fn store<Side: Guest + ?Sized>(&self, guest: &mut Side, at: usize) -> Result<()> {
                let ($($value,)+) = self;
                let [$($place),+] = const { offsets([$(&$name::ABI),+]) };
                $($value.store(guest, at + $place)?;)+
                Ok(())
            }
        }

        impl<$($name: Lift),+> Lift for ($($name,)+) {
            #[inline]
            fn lift<Side: Guest + ?Sized>(guest: &mut Side, cells: &mut Reader<'_>) -> Result<Self> {
                Ok(($($name::lift(guest, cells)?,)+))
            }

            #[inline]
            fn load<Side: Guest + ?Sized>(guest: &mut Side, at: usize) -> Result<Self> {
                let [$($place),+] = const { offsets([$(&$name::ABI),+]) };
                Ok(($($name::load(guest, at + $place)?,)+))
            }
        }
    )*};
}

tuples! {
    (A a at_a);
    (A a at_a, B b at_b);
    (A a at_a, B b at_b, C c at_c);
    (A a at_a, B b at_b, C c at_c, D d at_d);
    (A a at_a, B b at_b, C c at_c, D d at_d, E e at_e);
    (A a at_a, B b at_b, C c at_c, D d at_d, E e at_e, F f at_f);
    (A a at_a, B b at_b, C c at_c, D d at_d, E e at_e, F f at_f, G g at_g);
    (A a at_a, B b at_b, C c at_c, D d at_d, E e at_e, F f at_f, G g at_g, H h at_h);
}

/// Nothing: no parameters, no result, and the payload of a case without one.
impl Layout for () {
    const ABI: CanonicalAbiInfo = CanonicalAbiInfo::ZERO;
}

impl Lower for () {
    fn lower<G: Guest + ?Sized>(&self, _: &mut G, _: &mut Cells) -> Result<()> {
        Ok(())
    }

    fn store<G: Guest + ?Sized>(&self, _: &mut G, _: usize) -> Result<()> {
        Ok(())
    }
}

impl Lift for () {
    fn lift<G: Guest + ?Sized>(_: &mut G, _: &mut Reader<'_>) -> Result<Self> {
        Ok(())
    }

    fn load<G: Guest + ?Sized>(_: &mut G, _: usize) -> Result<Self> {
        Ok(())
    }
}
