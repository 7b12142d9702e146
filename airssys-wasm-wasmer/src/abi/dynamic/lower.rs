//! The way into a guest, for values that were checked.

use airssys_wasm_core::error::{Result, WasmError};
use airssys_wasm_core::runtime::Value;
use wasmtime_environ::component::{ComponentTypes, InterfaceType, TypeFlagsIndex};

use super::super::cells::Cells;
use super::super::guest::{Guest, allocate, defect, store_discriminant, write_pair};
use super::super::typed::Lower;
use super::{flat, info};

/// The scalars, strings and bytes, which cross as their Rust types do.
macro_rules! leaf {
    ($ty:expr, $value:expr, $types:expr, |$leaf:ident| $then:expr) => {
        match ($ty, $value) {
            (InterfaceType::Bool, Value::Bool($leaf)) => return $then,
            (InterfaceType::S8, Value::S8($leaf)) => return $then,
            (InterfaceType::U8, Value::U8($leaf)) => return $then,
            (InterfaceType::S16, Value::S16($leaf)) => return $then,
            (InterfaceType::U16, Value::U16($leaf)) => return $then,
            (InterfaceType::S32, Value::S32($leaf)) => return $then,
            (InterfaceType::U32, Value::U32($leaf)) => return $then,
            (InterfaceType::S64, Value::S64($leaf)) => return $then,
            (InterfaceType::U64, Value::U64($leaf)) => return $then,
            (InterfaceType::Float32, Value::F32($leaf)) => return $then,
            (InterfaceType::Float64, Value::F64($leaf)) => return $then,
            (InterfaceType::Char, Value::Char($leaf)) => return $then,
            (InterfaceType::String, Value::String($leaf)) => return $then,
            (InterfaceType::List(index), Value::Bytes($leaf))
                if $types[index].element == InterfaceType::U8 =>
            {
                return $then;
            }
            _ => {}
        }
    };
}

pub(super) fn lower<G: Guest + ?Sized>(
    value: &Value,
    ty: InterfaceType,
    types: &ComponentTypes,
    guest: &mut G,
    cells: &mut Cells,
) -> Result<()> {
    leaf!(ty, value, types, |leaf| leaf.lower(guest, cells));
    match (ty, value) {
        (InterfaceType::List(index), Value::List(values)) => {
            let (pointer, length) = lower_list(values, types[index].element, types, guest)?;
            cells.push(u64::from(pointer));
            cells.push(u64::from(length));
        }
        (InterfaceType::Record(index), Value::Record(fields)) => {
            for ((_, value), field) in fields.iter().zip(&types[index].fields) {
                lower(value, field.ty, types, guest, cells)?;
            }
        }
        (InterfaceType::Tuple(index), Value::Tuple(values)) => {
            all(values, &types[index].types, types, guest, cells)?;
        }
        (InterfaceType::Flags(index), Value::Flags(names)) => {
            for word in 0..flat(ty, types) {
                cells.push(u64::from(bits(names, word, index, types)));
            }
        }
        (InterfaceType::Own(_) | InterfaceType::Borrow(_), Value::Resource(_)) => {
            let handle = handle(value, ty, guest)?;
            cells.push(u64::from(handle));
        }
        _ => {
            let case = case(value, ty, types).ok_or_else(|| unchecked(guest))?;
            let end = cells.len() + flat(ty, types);
            cells.push(u64::from(case.number));
            if let Some((value, kind)) = case.payload {
                lower(value, kind, types, guest, cells)?;
            }
            cells.pad(end);
        }
    }
    Ok(())
}

pub(super) fn store<G: Guest + ?Sized>(
    value: &Value,
    ty: InterfaceType,
    types: &ComponentTypes,
    guest: &mut G,
    at: usize,
) -> Result<()> {
    leaf!(ty, value, types, |leaf| leaf.store(guest, at));
    match (ty, value) {
        (InterfaceType::List(index), Value::List(values)) => {
            let pair = lower_list(values, types[index].element, types, guest)?;
            write_pair(guest, at, pair)
        }
        (InterfaceType::Record(index), Value::Record(fields)) => {
            let mut offset = 0;
            for ((_, value), field) in fields.iter().zip(&types[index].fields) {
                let place = types.canonical_abi(&field.ty).next_field32(&mut offset);
                store(value, field.ty, types, guest, at + place as usize)?;
            }
            Ok(())
        }
        (InterfaceType::Tuple(index), Value::Tuple(values)) => {
            store_all(values, &types[index].types, types, guest, at)
        }
        (InterfaceType::Flags(index), Value::Flags(names)) => {
            let size = types[index].abi.size32;
            for word in 0..size.div_ceil(4) {
                let bits = bits(names, word as usize, index, types);
                store_discriminant(guest, at + word as usize * 4, size.min(4), bits)?;
            }
            Ok(())
        }
        (InterfaceType::Own(_) | InterfaceType::Borrow(_), Value::Resource(_)) => {
            handle(value, ty, guest)?.store(guest, at)
        }
        _ => {
            let case = case(value, ty, types).zip(info(ty, types));
            let (case, info) = case.ok_or_else(|| unchecked(guest))?;
            store_discriminant(guest, at, info.size.byte_size(), case.number)?;
            match case.payload {
                Some((value, kind)) => store(value, kind, types, guest, at + info.payload_offset32 as usize),
                None => Ok(()),
            }
        }
    }
}

pub(super) fn all<G: Guest + ?Sized>(
    values: &[Value],
    kinds: &[InterfaceType],
    types: &ComponentTypes,
    guest: &mut G,
    cells: &mut Cells,
) -> Result<()> {
    if values.len() != kinds.len() {
        return Err(unchecked(guest));
    }
    for (value, kind) in values.iter().zip(kinds) {
        lower(value, *kind, types, guest, cells)?;
    }
    Ok(())
}

pub(super) fn store_all<G: Guest + ?Sized>(
    values: &[Value],
    kinds: &[InterfaceType],
    types: &ComponentTypes,
    guest: &mut G,
    at: usize,
) -> Result<()> {
    if values.len() != kinds.len() {
        return Err(unchecked(guest));
    }
    let mut offset = 0;
    for (value, kind) in values.iter().zip(kinds) {
        let place = types.canonical_abi(kind).next_field32(&mut offset);
        store(value, *kind, types, guest, at + place as usize)?;
    }
    Ok(())
}

fn lower_list<G: Guest + ?Sized>(
    values: &[Value],
    element: InterfaceType,
    types: &ComponentTypes,
    guest: &mut G,
) -> Result<(u32, u32)> {
    let abi = types.canonical_abi(&element);
    let size = abi.size32 as usize;
    let start = allocate(guest, abi.align32, values.len().saturating_mul(size))?;
    for (position, value) in values.iter().enumerate() {
        store(value, element, types, guest, start + position * size)?;
    }
    Ok((start as u32, values.len() as u32))
}

fn handle<G: Guest + ?Sized>(value: &Value, ty: InterfaceType, guest: &mut G) -> Result<u32> {
    match (ty, value) {
        (InterfaceType::Own(ty), Value::Resource(resource)) => guest.lower_own(ty, resource.0),
        (InterfaceType::Borrow(ty), Value::Resource(resource)) => guest.lower_borrow(ty, resource.0),
        _ => Err(unchecked(guest)),
    }
}

/// The bits of the flags that are set, of one word of 32.
fn bits(names: &[String], word: usize, index: TypeFlagsIndex, types: &ComponentTypes) -> u32 {
    let positions = names.iter().filter_map(|name| types[index].names.get_index_of(name));
    positions.filter(|position| position / 32 == word).fold(0, |bits, position| bits | 1 << (position % 32))
}

/// A case as it crosses: its number, and what it carries.
struct Case<'v> {
    number: u32,
    payload: Option<(&'v Value, InterfaceType)>,
}

fn case<'v>(value: &'v Value, ty: InterfaceType, types: &ComponentTypes) -> Option<Case<'v>> {
    let (number, value, kind) = match (ty, value) {
        (InterfaceType::Variant(index), Value::Variant(name, payload)) => {
            let (number, _, kind) = types[index].cases.get_full(name)?;
            (number, payload.as_deref(), *kind)
        }
        (InterfaceType::Enum(index), Value::Enum(name)) => {
            (types[index].names.get_index_of(name)?, None, None)
        }
        (InterfaceType::Option(_), Value::Option(None)) => (0, None, None),
        (InterfaceType::Option(index), Value::Option(value)) => (1, value.as_deref(), Some(types[index].ty)),
        (InterfaceType::Result(index), Value::Result(Ok(value))) => (0, value.as_deref(), types[index].ok),
        (InterfaceType::Result(index), Value::Result(Err(value))) => (1, value.as_deref(), types[index].err),
        _ => return None,
    };
    Some(Case { number: number as u32, payload: value.zip(kind) })
}

#[cold]
fn unchecked(guest: &(impl Guest + ?Sized)) -> WasmError {
    defect(guest, "a value was handed over that is not of its type")
}
