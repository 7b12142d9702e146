//! The way out of a guest. What a value takes of the host's memory is counted before it is taken.

use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use airssys_wasm_core::runtime::{ResourceHandle, Value};
use wasmtime_environ::component::{ComponentTypes, InterfaceType, RecordField, TypeFlagsIndex};

use super::super::cells::Reader;
use super::super::guest::{Guest, load_discriminant, no_such_case, read_pair};
use super::super::typed::{Lift, place_list};
use super::{flat, info, type_name};

/// The scalars and strings, which cross as their Rust types do.
macro_rules! leaf {
    ($ty:expr, |$leaf:ident| $then:expr) => {
        match $ty {
            InterfaceType::Bool => {
                return {
                    type $leaf = bool;
                    $then.map(Value::Bool)
                }
            }
            InterfaceType::S8 => {
                return {
                    type $leaf = i8;
                    $then.map(Value::S8)
                }
            }
            InterfaceType::U8 => {
                return {
                    type $leaf = u8;
                    $then.map(Value::U8)
                }
            }
            InterfaceType::S16 => {
                return {
                    type $leaf = i16;
                    $then.map(Value::S16)
                }
            }
            InterfaceType::U16 => {
                return {
                    type $leaf = u16;
                    $then.map(Value::U16)
                }
            }
            InterfaceType::S32 => {
                return {
                    type $leaf = i32;
                    $then.map(Value::S32)
                }
            }
            InterfaceType::U32 => {
                return {
                    type $leaf = u32;
                    $then.map(Value::U32)
                }
            }
            InterfaceType::S64 => {
                return {
                    type $leaf = i64;
                    $then.map(Value::S64)
                }
            }
            InterfaceType::U64 => {
                return {
                    type $leaf = u64;
                    $then.map(Value::U64)
                }
            }
            InterfaceType::Float32 => {
                return {
                    type $leaf = f32;
                    $then.map(Value::F32)
                }
            }
            InterfaceType::Float64 => {
                return {
                    type $leaf = f64;
                    $then.map(Value::F64)
                }
            }
            InterfaceType::Char => {
                return {
                    type $leaf = char;
                    $then.map(Value::Char)
                }
            }
            InterfaceType::String => {
                return {
                    type $leaf = String;
                    $then.map(Value::String)
                }
            }
            _ => {}
        }
    };
}

pub(super) fn lift<G: Guest + ?Sized>(
    ty: InterfaceType,
    types: &ComponentTypes,
    guest: &mut G,
    cells: &mut Reader<'_>,
) -> Result<Value> {
    leaf!(ty, |Leaf| Leaf::lift(guest, cells));
    match ty {
        InterfaceType::List(index) => {
            let (pointer, length) = (cells.next_u32(), cells.next_u32());
            lift_list(pointer, length, types[index].element, types, guest)
        }
        InterfaceType::Record(index) => {
            let fields = &types[index].fields;
            charge_fields(fields, guest)?;
            let fields =
                fields.iter().map(|field| Ok((field.name.clone(), lift(field.ty, types, guest, cells)?)));
            fields.collect::<Result<_>>().map(Value::Record)
        }
        InterfaceType::Tuple(index) => all(&types[index].types, types, guest, cells).map(Value::Tuple),
        InterfaceType::Flags(index) => {
            let mut names = Vec::new();
            for word in 0..flat(ty, types) {
                push_flags(&mut names, word, cells.next_u32(), index, types, guest)?;
            }
            Ok(Value::Flags(names))
        }
        InterfaceType::Own(_) | InterfaceType::Borrow(_) => resource(ty, cells.next_u32(), guest),
        _ => {
            let end = cells.position() + flat(ty, types);
            let number = cells.next_u32();
            let payload = match payload(ty, number, types, guest)? {
                Some(kind) => Some(Box::new(lift(kind, types, guest, cells)?)),
                None => None,
            };
            cells.skip_to(end);
            assemble(ty, number, payload, types, guest)
        }
    }
}

pub(super) fn load<G: Guest + ?Sized>(
    ty: InterfaceType,
    types: &ComponentTypes,
    guest: &mut G,
    at: usize,
) -> Result<Value> {
    leaf!(ty, |Leaf| Leaf::load(guest, at));
    match ty {
        InterfaceType::List(index) => {
            let (pointer, length) = read_pair(guest, at)?;
            lift_list(pointer, length, types[index].element, types, guest)
        }
        InterfaceType::Record(index) => {
            let fields = &types[index].fields;
            charge_fields(fields, guest)?;
            let mut offset = 0;
            let fields = fields.iter().map(|field| {
                let place = types.canonical_abi(&field.ty).next_field32(&mut offset);
                Ok((field.name.clone(), load(field.ty, types, guest, at + place as usize)?))
            });
            fields.collect::<Result<_>>().map(Value::Record)
        }
        InterfaceType::Tuple(index) => load_all(&types[index].types, types, guest, at).map(Value::Tuple),
        InterfaceType::Flags(index) => {
            let mut names = Vec::new();
            let size = types[index].abi.size32;
            for word in 0..size.div_ceil(4) as usize {
                let bits = load_discriminant(guest, at + word * 4, size.min(4))?;
                push_flags(&mut names, word, bits, index, types, guest)?;
            }
            Ok(Value::Flags(names))
        }
        InterfaceType::Own(_) | InterfaceType::Borrow(_) => {
            let handle = u32::load(guest, at)?;
            resource(ty, handle, guest)
        }
        _ => {
            let info = info(ty, types).ok_or_else(|| unsupported(ty, types, guest))?;
            let number = load_discriminant(guest, at, info.size.byte_size())?;
            let payload = match payload(ty, number, types, guest)? {
                Some(kind) => Some(Box::new(load(kind, types, guest, at + info.payload_offset32 as usize)?)),
                None => None,
            };
            assemble(ty, number, payload, types, guest)
        }
    }
}

pub(super) fn all<G: Guest + ?Sized>(
    kinds: &[InterfaceType],
    types: &ComponentTypes,
    guest: &mut G,
    cells: &mut Reader<'_>,
) -> Result<Vec<Value>> {
    guest.charge(kinds.len().saturating_mul(size_of::<Value>()))?;
    kinds.iter().map(|kind| lift(*kind, types, guest, cells)).collect()
}

pub(super) fn load_all<G: Guest + ?Sized>(
    kinds: &[InterfaceType],
    types: &ComponentTypes,
    guest: &mut G,
    at: usize,
) -> Result<Vec<Value>> {
    guest.charge(kinds.len().saturating_mul(size_of::<Value>()))?;
    let mut offset = 0;
    let values = kinds.iter().map(|kind| {
        let place = types.canonical_abi(kind).next_field32(&mut offset);
        load(*kind, types, guest, at + place as usize)
    });
    values.collect()
}

fn lift_list<G: Guest + ?Sized>(
    pointer: u32,
    length: u32,
    element: InterfaceType,
    types: &ComponentTypes,
    guest: &mut G,
) -> Result<Value> {
    let abi = types.canonical_abi(&element);
    let count = length as usize;
    let at = place_list(guest, pointer, count, abi)?;
    if element == InterfaceType::U8 {
        guest.charge(count)?;
        return u8::load_all(guest, at, count).map(Value::Bytes);
    }
    guest.charge(count.saturating_mul(size_of::<Value>()))?;
    let mut values = Vec::with_capacity(count);
    for position in 0..count {
        values.push(load(element, types, guest, at + position * abi.size32 as usize)?);
    }
    Ok(Value::List(values))
}

fn charge_fields<G: Guest + ?Sized>(fields: &[RecordField], guest: &mut G) -> Result<()> {
    let size = |field: &RecordField| field.name.len() + size_of::<(String, Value)>();
    guest.charge(fields.iter().map(size).sum())
}

/// The names of the flags that are set in one word of 32. Bits beyond the last flag are dropped.
fn push_flags<G: Guest + ?Sized>(
    set: &mut Vec<String>,
    word: usize,
    bits: u32,
    index: TypeFlagsIndex,
    types: &ComponentTypes,
    guest: &mut G,
) -> Result<()> {
    for (bit, name) in types[index].names.iter().skip(word * 32).take(32).enumerate() {
        if bits & 1 << bit != 0 {
            guest.charge(name.len() + size_of::<String>())?;
            set.push(name.clone());
        }
    }
    Ok(())
}

fn resource<G: Guest + ?Sized>(ty: InterfaceType, handle: u32, guest: &mut G) -> Result<Value> {
    let resource = match ty {
        InterfaceType::Borrow(ty) => guest.lift_borrow(ty, handle),
        InterfaceType::Own(ty) => guest.lift_own(ty, handle),
        _ => Err(WasmError::new(ErrorKind::Internal, guest.operation())),
    };
    resource.map(|resource| Value::Resource(ResourceHandle(resource)))
}

/// What the case of that number carries. Counts the name of the case, and the place for what it carries.
fn payload<G: Guest + ?Sized>(
    ty: InterfaceType,
    number: u32,
    types: &ComponentTypes,
    guest: &mut G,
) -> Result<Option<InterfaceType>> {
    let position = number as usize;
    let (case, cases) = match ty {
        InterfaceType::Variant(index) => {
            let cases = &types[index].cases;
            (cases.get_index(position).map(|(name, kind)| (name.len(), *kind)), cases.len())
        }
        InterfaceType::Enum(index) => {
            let names = &types[index].names;
            (names.iter().nth(position).map(|name| (name.len(), None)), names.len())
        }
        InterfaceType::Option(index) => {
            ([None, Some(types[index].ty)].get(position).map(|kind| (0, *kind)), 2)
        }
        InterfaceType::Result(index) => {
            ([types[index].ok, types[index].err].get(position).map(|kind| (0, *kind)), 2)
        }
        _ => return Err(unsupported(ty, types, guest)),
    };
    let (name, kind) = case.ok_or_else(|| no_such_case(guest, number, cases))?;
    guest.charge(name + if kind.is_some() { size_of::<Value>() } else { 0 })?;
    Ok(kind)
}

/// The value of a case that exists.
fn assemble<G: Guest + ?Sized>(
    ty: InterfaceType,
    number: u32,
    payload: Option<Box<Value>>,
    types: &ComponentTypes,
    guest: &G,
) -> Result<Value> {
    let position = number as usize;
    let value = match ty {
        InterfaceType::Variant(index) => {
            types[index].cases.get_index(position).map(|(name, _)| Value::Variant(name.clone(), payload))
        }
        InterfaceType::Enum(index) => types[index].names.iter().nth(position).cloned().map(Value::Enum),
        InterfaceType::Option(_) => Some(Value::Option(payload)),
        InterfaceType::Result(_) => Some(Value::Result(if number == 0 { Ok(payload) } else { Err(payload) })),
        _ => None,
    };
    value.ok_or_else(|| unsupported(ty, types, guest))
}

#[cold]
fn unsupported(ty: InterfaceType, types: &ComponentTypes, guest: &(impl Guest + ?Sized)) -> WasmError {
    WasmError::new(ErrorKind::Serialization, guest.operation()).saying(type_name(ty, types))
}
