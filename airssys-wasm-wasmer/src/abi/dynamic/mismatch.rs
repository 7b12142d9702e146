//! Values that are not of the type they should be, and how that is found.

use airssys_wasm_core::runtime::{ResourceHandle, Value};
use airssys_wasm_engine::text::escaped;
use airssys_wasm_engine::value::Mismatch;
use wasmtime_environ::component::{ComponentTypes, InterfaceType, TypeResourceTableIndex};

/// The most names of cases, fields or flags that an error lists.
const MAX_NAMES: usize = 20;

/// What the host knows of the resources that it holds.
///
/// One per call: a resource that is handed over cannot be lent in the same call. An error says what was given
/// instead.
pub(crate) trait Held {
    /// Whether `resource` can be handed over as one of type `ty`.
    fn hand_over(&mut self, ty: TypeResourceTableIndex, resource: ResourceHandle)
    -> Result<(), &'static str>;

    /// Whether `resource` can be lent as one of type `ty`.
    fn lend(&mut self, ty: TypeResourceTableIndex, resource: ResourceHandle) -> Result<(), &'static str>;
}

/// Whether `value` is of type `ty`, with everything in it.
pub(crate) fn check(
    value: &Value,
    ty: InterfaceType,
    types: &ComponentTypes,
    held: &mut dyn Held,
) -> Result<(), Mismatch> {
    match (ty, value) {
        (InterfaceType::Bool, Value::Bool(_))
        | (InterfaceType::S8, Value::S8(_))
        | (InterfaceType::U8, Value::U8(_))
        | (InterfaceType::S16, Value::S16(_))
        | (InterfaceType::U16, Value::U16(_))
        | (InterfaceType::S32, Value::S32(_))
        | (InterfaceType::U32, Value::U32(_))
        | (InterfaceType::S64, Value::S64(_))
        | (InterfaceType::U64, Value::U64(_))
        | (InterfaceType::Float32, Value::F32(_))
        | (InterfaceType::Float64, Value::F64(_))
        | (InterfaceType::Char, Value::Char(_))
        | (InterfaceType::String, Value::String(_)) => Ok(()),
        (InterfaceType::List(index), Value::Bytes(_)) if types[index].element == InterfaceType::U8 => Ok(()),
        (InterfaceType::List(index), Value::List(values)) if types[index].element != InterfaceType::U8 => {
            let element = types[index].element;
            check_all(values, std::iter::repeat_n(element, values.len()), types, held)
        }
        (InterfaceType::Record(index), Value::Record(fields)) => {
            let declared = &types[index].fields;
            if declared.len() != fields.len() {
                let given = format!("a record of {} fields", fields.len());
                return Err(Mismatch::new(format!("a record of {} fields", declared.len()), given));
            }
            for (declared, (name, value)) in declared.iter().zip(fields) {
                if declared.name != *name {
                    let given = format!("the field `{}`", escaped(name, 80));
                    return Err(Mismatch::new(format!("the field `{}`", declared.name), given));
                }
                check(value, declared.ty, types, held).map_err(|error| error.within(format!(".{name}")))?;
            }
            Ok(())
        }
        (InterfaceType::Tuple(index), Value::Tuple(values)) => {
            let declared = &types[index].types;
            if declared.len() != values.len() {
                let given = format!("a tuple of {}", values.len());
                return Err(Mismatch::new(format!("a tuple of {}", declared.len()), given));
            }
            check_all(values, declared.iter().copied(), types, held)
        }
        (InterfaceType::Variant(index), Value::Variant(name, payload)) => {
            let cases = &types[index].cases;
            let Some(kind) = cases.get(name) else {
                return Err(unknown_name("a case of", cases.keys(), name));
            };
            check_payload(payload.as_deref(), *kind, types, held)
                .map_err(|error| error.within(format!(".{name}")))
        }
        (InterfaceType::Enum(index), Value::Enum(name)) => {
            let names = &types[index].names;
            if names.contains(name) { Ok(()) } else { Err(unknown_name("a case of", names.iter(), name)) }
        }
        (InterfaceType::Option(_), Value::Option(None)) => Ok(()),
        (InterfaceType::Option(index), Value::Option(Some(value))) => {
            check(value, types[index].ty, types, held).map_err(|error| error.within(".some"))
        }
        (InterfaceType::Result(index), Value::Result(Ok(value))) => {
            check_payload(value.as_deref(), types[index].ok, types, held).map_err(|error| error.within(".ok"))
        }
        (InterfaceType::Result(index), Value::Result(Err(value))) => {
            check_payload(value.as_deref(), types[index].err, types, held)
                .map_err(|error| error.within(".err"))
        }
        (InterfaceType::Flags(index), Value::Flags(given)) => {
            let names = &types[index].names;
            match given.iter().find(|name| !names.contains(*name)) {
                Some(name) => Err(unknown_name("flags among", names.iter(), name)),
                None => Ok(()),
            }
        }
        (InterfaceType::Own(ty), Value::Resource(handle)) => {
            held.hand_over(ty, *handle).map_err(|given| Mismatch::new(RESOURCE, given))
        }
        (InterfaceType::Borrow(ty), Value::Resource(handle)) => {
            held.lend(ty, *handle).map_err(|given| Mismatch::new(RESOURCE, given))
        }
        (ty, value) => Err(Mismatch::new(type_name(ty, types), value.type_name())),
    }
}

const RESOURCE: &str = "a resource of this instance";

fn check_all(
    values: &[Value],
    kinds: impl Iterator<Item = InterfaceType>,
    types: &ComponentTypes,
    held: &mut dyn Held,
) -> Result<(), Mismatch> {
    for (position, (value, kind)) in values.iter().zip(kinds).enumerate() {
        check(value, kind, types, held).map_err(|error| error.within(format!("[{position}]")))?;
    }
    Ok(())
}

fn check_payload(
    value: Option<&Value>,
    kind: Option<InterfaceType>,
    types: &ComponentTypes,
    held: &mut dyn Held,
) -> Result<(), Mismatch> {
    match (value, kind) {
        (None, None) => Ok(()),
        (Some(value), Some(kind)) => check(value, kind, types, held),
        (Some(value), None) => Err(Mismatch::new("no payload", value.type_name())),
        (None, Some(kind)) => Err(Mismatch::new(type_name(kind, types), "no payload")),
    }
}

fn unknown_name<'a>(what: &str, known: impl Iterator<Item = &'a String>, given: &str) -> Mismatch {
    Mismatch::new(format!("{what} {}", list(known)), format!("`{}`", escaped(given, 80)))
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.take(MAX_NAMES).map(String::as_str).collect();
    names.join(", ")
}

/// The type in WIT, not deeper than people read.
pub(crate) fn type_name(ty: InterfaceType, types: &ComponentTypes) -> String {
    let name = match ty {
        InterfaceType::Bool => "bool",
        InterfaceType::S8 => "s8",
        InterfaceType::U8 => "u8",
        InterfaceType::S16 => "s16",
        InterfaceType::U16 => "u16",
        InterfaceType::S32 => "s32",
        InterfaceType::U32 => "u32",
        InterfaceType::S64 => "s64",
        InterfaceType::U64 => "u64",
        InterfaceType::Float32 => "f32",
        InterfaceType::Float64 => "f64",
        InterfaceType::Char => "char",
        InterfaceType::String => "string",
        InterfaceType::List(index) if types[index].element == InterfaceType::U8 => "list<u8>",
        InterfaceType::List(_) => "list",
        InterfaceType::Option(_) => "option",
        InterfaceType::Result(_) => "result",
        InterfaceType::Own(_) | InterfaceType::Borrow(_) => "resource",
        InterfaceType::Record(index) => {
            let fields = &types[index].fields;
            return format!("record{{{}}}", list(fields.iter().map(|field| &field.name)));
        }
        InterfaceType::Tuple(index) => return format!("tuple of {}", types[index].types.len()),
        InterfaceType::Variant(index) => return format!("variant{{{}}}", list(types[index].cases.keys())),
        InterfaceType::Enum(index) => return format!("enum{{{}}}", list(types[index].names.iter())),
        InterfaceType::Flags(index) => return format!("flags{{{}}}", list(types[index].names.iter())),
        InterfaceType::Future(_)
        | InterfaceType::Stream(_)
        | InterfaceType::ErrorContext(_)
        | InterfaceType::Map(_)
        | InterfaceType::FixedLengthList(_) => "a type that dynamic calls do not support",
    };
    name.to_owned()
}
