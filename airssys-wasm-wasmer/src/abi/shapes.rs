//! Records, variants, enums and flags of the host: one line for each makes it cross.

/// Implements the crossing of a struct as a `record`, its fields in the order of WIT.
///
/// `both` for a type that goes in and comes out; `lower` for one that goes in, and can borrow; `lift` for one
/// that comes out.
///
/// ```text
/// record!(both MessageId { high: u64, low: u64 });
/// record!(lower['a] BodyRef<'a> { content_type: Option<&'a str>, payload: &'a [u8] });
/// ```
macro_rules! record {
    (both $name:ident { $($field:ident: $ty:ty),+ $(,)? }) => {
        $crate::abi::record!(@layout [] $name { $($field: $ty),+ });
        $crate::abi::record!(@lower [] $name { $($field: $ty),+ });
        $crate::abi::record!(@lift $name { $($field: $ty),+ });
    };
    (lift $name:ident { $($field:ident: $ty:ty),+ $(,)? }) => {
        $crate::abi::record!(@layout [] $name { $($field: $ty),+ });
        $crate::abi::record!(@lift $name { $($field: $ty),+ });
    };
    (lower $([$life:lifetime])? $name:ident$(<$given:lifetime>)? { $($field:ident: $ty:ty),+ $(,)? }) => {
        $crate::abi::record!(@layout [$($life)?] $name$(<$given>)? { $($field: $ty),+ });
        $crate::abi::record!(@lower [$($life)?] $name$(<$given>)? { $($field: $ty),+ });
    };
    (@layout [$($life:lifetime)?] $name:ty { $($field:ident: $ty:ty),+ }) => {
        impl<$($life)?> $crate::abi::Layout for $name {
            const ABI: wasmtime_environ::component::CanonicalAbiInfo =
                wasmtime_environ::component::CanonicalAbiInfo::record_static(&[
                    $(<$ty as $crate::abi::Layout>::ABI),+
                ]);
        }
    };
    (@lower [$($life:lifetime)?] $name:ty { $($field:ident: $ty:ty),+ }) => {
        impl<$($life)?> $crate::abi::Lower for $name {
            fn lower<G: $crate::abi::Guest + ?Sized>(
                &self,
                guest: &mut G,
                cells: &mut $crate::abi::Cells,
            ) -> airssys_wasm_core::error::Result<()> {
                $(<$ty as $crate::abi::Lower>::lower(&self.$field, guest, cells)?;)+
                Ok(())
            }

            fn store<G: $crate::abi::Guest + ?Sized>(
                &self,
                guest: &mut G,
                at: usize,
            ) -> airssys_wasm_core::error::Result<()> {
                let [$($field),+] =
                    const { $crate::abi::offsets([$(&<$ty as $crate::abi::Layout>::ABI),+]) };
                $(<$ty as $crate::abi::Lower>::store(&self.$field, guest, at + $field)?;)+
                Ok(())
            }
        }
    };
    (@lift $name:ty { $($field:ident: $ty:ty),+ }) => {
        impl $crate::abi::Lift for $name {
            fn lift<G: $crate::abi::Guest + ?Sized>(
                guest: &mut G,
                cells: &mut $crate::abi::Reader<'_>,
            ) -> airssys_wasm_core::error::Result<Self> {
                Ok(Self { $($field: <$ty as $crate::abi::Lift>::lift(guest, cells)?),+ })
            }

            fn load<G: $crate::abi::Guest + ?Sized>(
                guest: &mut G,
                at: usize,
            ) -> airssys_wasm_core::error::Result<Self> {
                let [$($field),+] =
                    const { $crate::abi::offsets([$(&<$ty as $crate::abi::Layout>::ABI),+]) };
                Ok(Self { $($field: <$ty as $crate::abi::Lift>::load(guest, at + $field)?),+ })
            }
        }
    };
}

/// Implements the crossing of an enum as a `variant`, or as an `enum` if no case has a payload: its cases in
/// the order of WIT, each with one payload or none.
///
/// ```text
/// variant!(both Sender { Host, Component(String) });
/// variant!(lower['a] SenderRef<'a> { Host, Component(&'a str) });
/// ```
macro_rules! variant {
    (both $name:ident { $($case:ident$(($ty:ty))?),+ $(,)? }) => {
        $crate::abi::variant!(@layout [] $name { $($case$(($ty))?),+ });
        $crate::abi::variant!(@lower [] $name { $($case$(($ty))?),+ });
        $crate::abi::variant!(@lift $name { $($case$(($ty))?),+ });
    };
    (lift $name:ident { $($case:ident$(($ty:ty))?),+ $(,)? }) => {
        $crate::abi::variant!(@layout [] $name { $($case$(($ty))?),+ });
        $crate::abi::variant!(@lift $name { $($case$(($ty))?),+ });
    };
    (lower $([$life:lifetime])? $name:ident$(<$given:lifetime>)? { $($case:ident$(($ty:ty))?),+ $(,)? }) => {
        $crate::abi::variant!(@layout [$($life)?] $name$(<$given>)? { $($case$(($ty))?),+ });
        $crate::abi::variant!(@lower [$($life)?] $name$(<$given>)? { $($case$(($ty))?),+ });
    };
    (@layout [$($life:lifetime)?] $name:ty { $($case:ident$(($ty:ty))?),+ }) => {
        impl<$($life)?> $crate::abi::Layout for $name {
            const ABI: wasmtime_environ::component::CanonicalAbiInfo =
                wasmtime_environ::component::CanonicalAbiInfo::variant_static(&[
                    $($crate::abi::variant!(@abi $($ty)?)),+
                ]);
        }

        impl<$($life)?> $crate::abi::Cases for $name {
            const INFO: wasmtime_environ::component::VariantInfo =
                wasmtime_environ::component::VariantInfo::new_static(&[
                    $($crate::abi::variant!(@abi $($ty)?)),+
                ]);
            const COUNT: usize = [$(stringify!($case)),+].len();
        }
    };
    (@lower [$($life:lifetime)?] $name:ty { $($case:ident$(($ty:ty))?),+ }) => {
        impl<$($life)?> $crate::abi::Lower for $name {
            fn lower<G: $crate::abi::Guest + ?Sized>(
                &self,
                guest: &mut G,
                cells: &mut $crate::abi::Cells,
            ) -> airssys_wasm_core::error::Result<()> {
                #[repr(u32)]
                enum Number { $($case),+ }

                let end = cells.len() + <Self as $crate::abi::Layout>::FLAT;
                let _unused_by_enums = &guest;
                match self {
                    $(Self::$case$(($crate::abi::variant!(@bind payload $ty)))? => {
                        cells.push(u64::from(Number::$case as u32));
                        $(<$ty as $crate::abi::Lower>::lower(payload, guest, cells)?;)?
                    })+
                }
                cells.pad(end);
                Ok(())
            }

            fn store<G: $crate::abi::Guest + ?Sized>(
                &self,
                guest: &mut G,
                at: usize,
            ) -> airssys_wasm_core::error::Result<()> {
                #[repr(u32)]
                enum Number { $($case),+ }

                match self {
                    $(Self::$case$(($crate::abi::variant!(@bind payload $ty)))? => {
                        <Self as $crate::abi::Cases>::store_number(guest, at, Number::$case as u32)?;
                        $(<$ty as $crate::abi::Lower>::store(
                            payload,
                            guest,
                            at + <Self as $crate::abi::Cases>::PAYLOAD,
                        )?;)?
                    })+
                }
                Ok(())
            }
        }
    };
    (@lift $name:ty { $($case:ident$(($ty:ty))?),+ }) => {
        impl $crate::abi::Lift for $name {
            fn lift<G: $crate::abi::Guest + ?Sized>(
                guest: &mut G,
                cells: &mut $crate::abi::Reader<'_>,
            ) -> airssys_wasm_core::error::Result<Self> {
                #[repr(u32)]
                enum Number { $($case),+ }

                let end = cells.position() + <Self as $crate::abi::Layout>::FLAT;
                let number = cells.next_u32();
                let value = match number {
                    $(number if number == Number::$case as u32 => {
                        Self::$case$((<$ty as $crate::abi::Lift>::lift(guest, cells)?))?
                    })+
                    other => return Err(<Self as $crate::abi::Cases>::no_such_case(guest, other)),
                };
                cells.skip_to(end);
                Ok(value)
            }

            fn load<G: $crate::abi::Guest + ?Sized>(
                guest: &mut G,
                at: usize,
            ) -> airssys_wasm_core::error::Result<Self> {
                #[repr(u32)]
                enum Number { $($case),+ }

                let number = <Self as $crate::abi::Cases>::load_number(guest, at)?;
                Ok(match number {
                    $(number if number == Number::$case as u32 => Self::$case$((
                        <$ty as $crate::abi::Lift>::load(guest, at + <Self as $crate::abi::Cases>::PAYLOAD)?
                    ))?,)+
                    other => return Err(<Self as $crate::abi::Cases>::no_such_case(guest, other)),
                })
            }
        }
    };
    (@abi) => { None };
    (@abi $ty:ty) => { Some(<$ty as $crate::abi::Layout>::ABI) };
    (@bind $name:ident $ty:ty) => { $name };
}

pub(crate) use {record, variant};

#[cfg(test)]
mod tests {
    use airssys_wasm_core::error::{Detail, TrapKind};

    use super::super::fake::Fake;
    use crate::abi::{Cells, Layout, Lift, Lower, Reader};

    #[derive(Debug, PartialEq)]
    struct Id {
        high: u64,
        low: u64,
    }
    record!(both Id { high: u64, low: u64 });

    #[derive(Debug, PartialEq)]
    struct Message {
        small: u8,
        id: Id,
        sender: Sender,
        level: Level,
        topic: Option<String>,
    }
    record!(both Message { small: u8, id: Id, sender: Sender, level: Level, topic: Option<String> });

    struct MessageRef<'a> {
        small: u8,
        id: &'a Id,
        sender: SenderRef<'a>,
        level: Level,
        topic: Option<&'a str>,
    }
    record!(lower['a] MessageRef<'a> {
        small: u8, id: &'a Id, sender: SenderRef<'a>, level: Level, topic: Option<&'a str>,
    });

    #[derive(Debug, PartialEq)]
    enum Sender {
        Host,
        Component(String),
        Id(Id),
    }
    variant!(both Sender { Host, Component(String), Id(Id) });

    enum SenderRef<'a> {
        Host,
        Component(&'a str),
        Id(&'a Id),
    }
    variant!(lower['a] SenderRef<'a> { Host, Component(&'a str), Id(&'a Id) });

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Level {
        Low,
        High,
    }
    variant!(both Level { Low, High });

    fn message() -> Message {
        let id = Id { high: 1, low: u64::MAX };
        Message { small: 9, id, sender: Sender::Component("a/b".into()), level: Level::High, topic: None }
    }

    #[test]
    fn records_and_variants_cross_and_come_back() {
        let senders = [Sender::Host, Sender::Component("a/b".into()), Sender::Id(Id { high: 3, low: 4 })];
        for (small, sender) in (0..).zip(senders) {
            let guest = &mut Fake::utf8();
            let message = Message { small, sender, ..message() };
            message.store(guest, 1024).unwrap();
            assert_eq!(Message::load(guest, 1024).unwrap(), message);
            let mut cells = Cells::default();
            message.lower(guest, &mut cells).unwrap();
            assert_eq!(Message::lift(guest, &mut Reader::new(cells.as_slice())).unwrap(), message);
        }
        assert_eq!((Message::SIZE, Message::FLAT, Level::SIZE), (64, 10, 1));
    }

    #[test]
    fn borrowed_records_look_as_owned_ones() {
        let (owned, borrowed) = (&mut Fake::utf8(), &mut Fake::utf8());
        let (mut one, mut other) = (Cells::default(), Cells::default());
        message().lower(owned, &mut one).unwrap();
        let id = &Id { high: 1, low: u64::MAX };
        let sender = SenderRef::Component("a/b");
        let by_reference = MessageRef { small: 9, id, sender, level: Level::High, topic: None };
        by_reference.lower(borrowed, &mut other).unwrap();
        assert_eq!(one.as_slice(), other.as_slice());
        assert_eq!(owned.memory, borrowed.memory);
        for (number, sender) in [(0, SenderRef::Host), (2, SenderRef::Id(id))] {
            sender.store(borrowed, 64).unwrap();
            assert_eq!(borrowed.memory[64], number);
        }
    }

    #[test]
    fn unknown_cases_are_refused() {
        let guest = &mut Fake::utf8();
        let error = Level::lift(guest, &mut Reader::new(&[2])).unwrap_err();
        assert_eq!(error.detail(), Some(Detail::Trap(TrapKind::InvalidValue)));
        assert_eq!(error.to_string(), "test: a variant has no case of that number (number: 2, cases: 2)",);
        guest.memory[64] = 3;
        assert!(Sender::load(guest, 64).is_err());
    }
}
