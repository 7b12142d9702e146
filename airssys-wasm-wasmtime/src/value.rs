//! Dynamic values: ours, as Wasmtime's, by the type that a component declares.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use airssys_wasm_core::runtime::{ResourceHandle, Value};
pub(crate) use airssys_wasm_engine::value::{Mismatch, size};
use wasmtime::component::types::Case;
use wasmtime::component::{ResourceAny, ResourceType, Type, Val};

use crate::fault::escaped;

/// The resources that an instance handed out, and that were not handed back.
///
/// A number is never used twice in this process, so that a handle of another instance is told from one of this.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    owned: HashMap<u64, ResourceAny>,
}

impl Handles {
    fn keep(&mut self, resource: ResourceAny) -> ResourceHandle {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let handle = NEXT.fetch_add(1, Ordering::Relaxed);
        self.owned.insert(handle, resource);
        ResourceHandle(handle)
    }
}

/// The way into a guest. What it takes from the handles it gives back, unless the call is made.
pub(crate) struct Lowering<'h> {
    handles: Option<&'h mut Handles>,
    taken: Vec<(u64, ResourceAny)>,
    lent: Vec<u64>,
}

impl<'h> Lowering<'h> {
    /// With the resources of an instance.
    pub(crate) fn with(handles: Option<&'h mut Handles>) -> Self {
        Self { handles, taken: Vec::new(), lent: Vec::new() }
    }

    /// The value as one of type `kind`.
    pub(crate) fn lower(&mut self, value: &Value, kind: &Type) -> Result<Val, Mismatch> {
        Ok(match (kind, value) {
            (Type::Bool, Value::Bool(value)) => Val::Bool(*value),
            (Type::S8, Value::S8(value)) => Val::S8(*value),
            (Type::U8, Value::U8(value)) => Val::U8(*value),
            (Type::S16, Value::S16(value)) => Val::S16(*value),
            (Type::U16, Value::U16(value)) => Val::U16(*value),
            (Type::S32, Value::S32(value)) => Val::S32(*value),
            (Type::U32, Value::U32(value)) => Val::U32(*value),
            (Type::S64, Value::S64(value)) => Val::S64(*value),
            (Type::U64, Value::U64(value)) => Val::U64(*value),
            (Type::Float32, Value::F32(value)) => Val::Float32(canonical_f32(*value)),
            (Type::Float64, Value::F64(value)) => Val::Float64(canonical_f64(*value)),
            (Type::Char, Value::Char(value)) => Val::Char(*value),
            (Type::String, Value::String(value)) => Val::String(value.clone()),
            (Type::List(list), Value::Bytes(bytes)) if list.ty() == Type::U8 => {
                Val::List(bytes.iter().copied().map(Val::U8).collect())
            }
            (Type::List(list), Value::List(values)) if list.ty() != Type::U8 => {
                let element = list.ty();
                Val::List(self.all(values, std::iter::repeat(element))?)
            }
            (Type::Record(record), Value::Record(fields)) => {
                let declared = record.fields();
                if declared.len() != fields.len() {
                    let given = format!("a record of {} fields", fields.len());
                    return Err(Mismatch::new(format!("a record of {} fields", declared.len()), given));
                }
                let fields = declared.zip(fields).map(|(declared, (name, value))| {
                    if declared.name != name {
                        let given = format!("the field `{}`", escaped(name, 80));
                        return Err(Mismatch::new(format!("the field `{}`", declared.name), given));
                    }
                    let value =
                        self.lower(value, &declared.ty).map_err(|error| error.within(format!(".{name}")))?;
                    Ok((name.clone(), value))
                });
                Val::Record(fields.collect::<Result<_, _>>()?)
            }
            (Type::Tuple(tuple), Value::Tuple(values)) => {
                let types = tuple.types();
                if types.len() != values.len() {
                    let given = format!("a tuple of {}", values.len());
                    return Err(Mismatch::new(format!("a tuple of {}", types.len()), given));
                }
                Val::Tuple(self.all(values, types)?)
            }
            (Type::Variant(variant), Value::Variant(name, payload)) => {
                let Some(Case { ty, .. }) = variant.cases().find(|case| case.name == name) else {
                    return Err(unknown_name("a case of", variant.cases().map(|case| case.name), name));
                };
                let payload = self.payload(payload.as_deref(), ty.as_ref());
                Val::Variant(name.clone(), payload.map_err(|error| error.within(format!(".{name}")))?)
            }
            (Type::Enum(names), Value::Enum(name)) => {
                if !names.names().any(|known| known == name) {
                    return Err(unknown_name("a case of", names.names(), name));
                }
                Val::Enum(name.clone())
            }
            (Type::Option(option), Value::Option(value)) => {
                let value = value.as_deref().map(|value| self.lower(value, &option.ty())).transpose();
                Val::Option(value.map_err(|error| error.within(".some"))?.map(Box::new))
            }
            (Type::Result(result), Value::Result(Ok(value))) => {
                let value = self.payload(value.as_deref(), result.ok().as_ref());
                Val::Result(Ok(value.map_err(|error| error.within(".ok"))?))
            }
            (Type::Result(result), Value::Result(Err(value))) => {
                let value = self.payload(value.as_deref(), result.err().as_ref());
                Val::Result(Err(value.map_err(|error| error.within(".err"))?))
            }
            (Type::Flags(flags), Value::Flags(names)) => {
                if let Some(name) = names.iter().find(|name| !flags.names().any(|known| known == *name)) {
                    return Err(unknown_name("flags among", flags.names(), name));
                }
                Val::Flags(names.clone())
            }
            (Type::Own(kind), Value::Resource(handle)) => Val::Resource(self.hand_over(*handle, *kind)?),
            (Type::Borrow(kind), Value::Resource(handle)) => Val::Resource(self.lend(*handle, *kind)?),
            (kind, value) => return Err(Mismatch::new(type_name(kind), value.type_name())),
        })
    }

    /// Puts back what was taken for a call that is not made.
    pub(crate) fn undo(self) {
        if let Some(handles) = self.handles {
            handles.owned.extend(self.taken);
        }
    }

    fn all(&mut self, values: &[Value], types: impl Iterator<Item = Type>) -> Result<Vec<Val>, Mismatch> {
        let lower = |(position, (value, kind)): (usize, (&Value, Type))| {
            self.lower(value, &kind).map_err(|error| error.within(format!("[{position}]")))
        };
        values.iter().zip(types).enumerate().map(lower).collect()
    }

    fn payload(&mut self, value: Option<&Value>, kind: Option<&Type>) -> Result<Option<Box<Val>>, Mismatch> {
        match (value, kind) {
            (None, None) => Ok(None),
            (Some(value), Some(kind)) => Ok(Some(Box::new(self.lower(value, kind)?))),
            (Some(value), None) => Err(Mismatch::new("no payload", value.type_name())),
            (None, Some(kind)) => Err(Mismatch::new(type_name(kind), "no payload")),
        }
    }

    fn hand_over(&mut self, handle: ResourceHandle, kind: ResourceType) -> Result<ResourceAny, Mismatch> {
        let resource = self.find(handle, kind)?;
        if self.lent.contains(&handle.0) {
            return Err(Mismatch::new(
                "a resource of this instance",
                "one that the same call borrows as well",
            ));
        }
        if let Some(handles) = self.handles.as_deref_mut() {
            handles.owned.remove(&handle.0);
        }
        self.taken.push((handle.0, resource));
        Ok(resource)
    }

    fn lend(&mut self, handle: ResourceHandle, kind: ResourceType) -> Result<ResourceAny, Mismatch> {
        let resource = self.find(handle, kind)?;
        self.lent.push(handle.0);
        Ok(resource)
    }

    fn find(&self, handle: ResourceHandle, kind: ResourceType) -> Result<ResourceAny, Mismatch> {
        let expected = "a resource of this instance";
        let Some(resource) = self.handles.as_deref().and_then(|handles| handles.owned.get(&handle.0)) else {
            let given = "a handle that this instance did not hand out, or that was handed back";
            return Err(Mismatch::new(expected, given));
        };
        if resource.ty() != kind {
            return Err(Mismatch::new(expected, "a resource of another type"));
        }
        Ok(*resource)
    }
}

/// The way out of a guest: a value of type `kind`.
pub(crate) fn lift(value: &Val, kind: &Type, handles: &mut Option<Box<Handles>>) -> Result<Value, Mismatch> {
    Ok(match (value, kind) {
        (Val::Bool(value), _) => Value::Bool(*value),
        (Val::S8(value), _) => Value::S8(*value),
        (Val::U8(value), _) => Value::U8(*value),
        (Val::S16(value), _) => Value::S16(*value),
        (Val::U16(value), _) => Value::U16(*value),
        (Val::S32(value), _) => Value::S32(*value),
        (Val::U32(value), _) => Value::U32(*value),
        (Val::S64(value), _) => Value::S64(*value),
        (Val::U64(value), _) => Value::U64(*value),
        (Val::Float32(value), _) => Value::F32(canonical_f32(*value)),
        (Val::Float64(value), _) => Value::F64(canonical_f64(*value)),
        (Val::Char(value), _) => Value::Char(*value),
        (Val::String(value), _) => Value::String(value.clone()),
        (Val::List(values), Type::List(list)) if list.ty() == Type::U8 => {
            let byte =
                |value: &Val| if let Val::U8(byte) = value { Ok(*byte) } else { Err(surprise(value, kind)) };
            Value::Bytes(values.iter().map(byte).collect::<Result<_, _>>()?)
        }
        (Val::List(values), Type::List(list)) => {
            let element = list.ty();
            Value::List(values.iter().map(|value| lift(value, &element, handles)).collect::<Result<_, _>>()?)
        }
        (Val::Record(fields), Type::Record(record)) => {
            let fields = fields.iter().zip(record.fields());
            let fields =
                fields.map(|((name, value), field)| Ok((name.clone(), lift(value, &field.ty, handles)?)));
            Value::Record(fields.collect::<Result<_, Mismatch>>()?)
        }
        (Val::Tuple(values), Type::Tuple(tuple)) => {
            let values = values.iter().zip(tuple.types());
            Value::Tuple(values.map(|(value, kind)| lift(value, &kind, handles)).collect::<Result<_, _>>()?)
        }
        (Val::Variant(name, payload), Type::Variant(variant)) => {
            let kind = variant.cases().find(|case| case.name == name).and_then(|case| case.ty);
            Value::Variant(name.clone(), lift_payload(payload.as_deref(), kind, handles)?)
        }
        (Val::Enum(name), _) => Value::Enum(name.clone()),
        (Val::Option(value), Type::Option(option)) => {
            Value::Option(lift_payload(value.as_deref(), Some(option.ty()), handles)?)
        }
        (Val::Result(Ok(value)), Type::Result(result)) => {
            Value::Result(Ok(lift_payload(value.as_deref(), result.ok(), handles)?))
        }
        (Val::Result(Err(value)), Type::Result(result)) => {
            Value::Result(Err(lift_payload(value.as_deref(), result.err(), handles)?))
        }
        (Val::Flags(names), _) => Value::Flags(names.clone()),
        (Val::Resource(resource), _) => Value::Resource(handles.get_or_insert_default().keep(*resource)),
        (value, kind) => return Err(surprise(value, kind)),
    })
}

fn lift_payload(
    value: Option<&Val>,
    kind: Option<Type>,
    handles: &mut Option<Box<Handles>>,
) -> Result<Option<Box<Value>>, Mismatch> {
    value.zip(kind).map(|(value, kind)| Ok(Box::new(lift(value, &kind, handles)?))).transpose()
}

/// A value that this version has no form for.
fn surprise(value: &Val, kind: &Type) -> Mismatch {
    let text = format!("{value:?}");
    Mismatch::new(type_name(kind), escaped(&text, 40))
}

fn unknown_name<'a>(what: &str, known: impl Iterator<Item = &'a str>, given: &str) -> Mismatch {
    let known: Vec<_> = known.take(20).collect();
    Mismatch::new(format!("{what} {}", known.join(", ")), format!("`{}`", escaped(given, 80)))
}

/// The type in WIT, not deeper than people read.
pub(crate) fn type_name(kind: &Type) -> String {
    match kind {
        Type::Bool => "bool".into(),
        Type::S8 => "s8".into(),
        Type::U8 => "u8".into(),
        Type::S16 => "s16".into(),
        Type::U16 => "u16".into(),
        Type::S32 => "s32".into(),
        Type::U32 => "u32".into(),
        Type::S64 => "s64".into(),
        Type::U64 => "u64".into(),
        Type::Float32 => "f32".into(),
        Type::Float64 => "f64".into(),
        Type::Char => "char".into(),
        Type::String => "string".into(),
        Type::List(list) if matches!(list.ty(), Type::U8) => "list<u8>".into(),
        Type::List(_) => "list".into(),
        Type::Record(record) => {
            let names: Vec<_> = record.fields().take(20).map(|field| field.name).collect();
            format!("record{{{}}}", names.join(", "))
        }
        Type::Tuple(tuple) => format!("tuple of {}", tuple.types().len()),
        Type::Variant(variant) => {
            let names: Vec<_> = variant.cases().take(20).map(|case| case.name).collect();
            format!("variant{{{}}}", names.join(", "))
        }
        Type::Enum(names) => {
            let names: Vec<_> = names.names().take(20).collect();
            format!("enum{{{}}}", names.join(", "))
        }
        Type::Option(_) => "option".into(),
        Type::Result(_) => "result".into(),
        Type::Flags(flags) => {
            let names: Vec<_> = flags.names().take(20).collect();
            format!("flags{{{}}}", names.join(", "))
        }
        Type::Own(_) | Type::Borrow(_) => "resource".into(),
        Type::Future(_) | Type::Stream(_) | Type::ErrorContext | Type::Map(_) | Type::FixedLengthList(_) => {
            "a type that dynamic calls do not support".into()
        }
    }
}

fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(0x7fc0_0000) } else { value }
}

fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() { f64::from_bits(0x7ff8_0000_0000_0000) } else { value }
}
