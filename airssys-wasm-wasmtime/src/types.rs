//! The types of a component, as data.

use airssys_wasm_core::interface::{WitFunction, WitInstance, WitInterface, WitType};
use airssys_wasm_engine::types::{Size, TooLarge, Unusual};
use wasmtime::Engine;
use wasmtime::component::Type;
use wasmtime::component::types::{Component, ComponentFunc, ComponentItem};

/// Every function a component imports and exports, and the imports that are something else.
pub(crate) fn interface(
    component: &Component,
    engine: &Engine,
) -> Result<(WitInterface, Vec<Unusual>), TooLarge> {
    let mut writer = Writer { size: Size::default() };
    let mut unusual = Vec::new();
    let imports = component.imports(engine).map(|(name, item)| (name, item.ty));
    let imports = writer.instances(imports, engine, &mut unusual)?;
    let exports = component.exports(engine).map(|(name, item)| (name, item.ty));
    let exports = writer.instances(exports, engine, &mut Vec::new())?;
    Ok((WitInterface { imports, exports }, unusual))
}

struct Writer {
    size: Size,
}

impl Writer {
    fn instances<'a>(
        &mut self,
        items: impl Iterator<Item = (&'a str, ComponentItem)>,
        engine: &Engine,
        unusual: &mut Vec<Unusual>,
    ) -> Result<Vec<WitInstance>, TooLarge> {
        let mut root = WitInstance::default();
        let mut instances = Vec::new();
        for (name, item) in items {
            match item {
                ComponentItem::ComponentFunc(function) => {
                    root.functions.push(self.function(name, &function)?);
                }
                ComponentItem::ComponentInstance(instance) => {
                    if instance.exports(engine).len() == 0 {
                        unusual.push(Unusual::empty(name));
                    }
                    let mut functions = Vec::new();
                    for (function, item) in instance.exports(engine) {
                        if let ComponentItem::ComponentFunc(found) = item.ty {
                            functions.push(self.function(function, &found)?);
                        }
                    }
                    instances.push(WitInstance { name: name.to_owned(), functions });
                }
                ComponentItem::Type(_) => {}
                ComponentItem::Resource(_) => unusual.push(Unusual::new(name, "a resource")),
                ComponentItem::Module(_) => unusual.push(Unusual::new(name, "a core module")),
                ComponentItem::CoreFunc(_) => unusual.push(Unusual::new(name, "a core function")),
                ComponentItem::Component(_) => unusual.push(Unusual::new(name, "a component")),
            }
        }
        if !root.functions.is_empty() {
            instances.insert(0, root);
        }
        Ok(instances)
    }

    fn function(&mut self, name: &str, function: &ComponentFunc) -> Result<WitFunction, TooLarge> {
        let parameters = function
            .params()
            .map(|(name, kind)| Ok((self.size.count(name)?, self.kind(&kind)?)))
            .collect::<Result<_, TooLarge>>()?;
        let result = function.results().next().map(|kind| self.kind(&kind)).transpose()?;
        Ok(WitFunction { name: name.to_owned(), parameters, result, requires: None })
    }

    fn kind(&mut self, kind: &Type) -> Result<WitType, TooLarge> {
        self.size.count("")?;
        Ok(match kind {
            Type::Bool => WitType::Bool,
            Type::S8 => WitType::S8,
            Type::U8 => WitType::U8,
            Type::S16 => WitType::S16,
            Type::U16 => WitType::U16,
            Type::S32 => WitType::S32,
            Type::U32 => WitType::U32,
            Type::S64 => WitType::S64,
            Type::U64 => WitType::U64,
            Type::Float32 => WitType::F32,
            Type::Float64 => WitType::F64,
            Type::Char => WitType::Char,
            Type::String => WitType::String,
            Type::List(list) => WitType::list(self.kind(&list.ty())?),
            Type::Record(record) => WitType::Record(
                record
                    .fields()
                    .map(|field| Ok((self.size.count(field.name)?, self.kind(&field.ty)?)))
                    .collect::<Result<_, TooLarge>>()?,
            ),
            Type::Tuple(tuple) => {
                WitType::Tuple(tuple.types().map(|kind| self.kind(&kind)).collect::<Result<_, TooLarge>>()?)
            }
            Type::Variant(variant) => WitType::Variant(
                variant
                    .cases()
                    .map(|case| Ok((self.size.count(case.name)?, self.optional(case.ty)?)))
                    .collect::<Result<_, TooLarge>>()?,
            ),
            Type::Enum(names) => WitType::Enum(self.size.names(names.names())?),
            Type::Option(some) => WitType::option(self.kind(&some.ty())?),
            Type::Result(result) => {
                WitType::result(self.optional(result.ok())?, self.optional(result.err())?)
            }
            Type::Flags(flags) => WitType::Flags(self.size.names(flags.names())?),
            Type::Own(_) => WitType::Own,
            Type::Borrow(_) => WitType::Borrow,
            Type::Future(_) => WitType::Unsupported("future"),
            Type::Stream(_) => WitType::Unsupported("stream"),
            Type::ErrorContext => WitType::Unsupported("error-context"),
            Type::Map(_) => WitType::Unsupported("map"),
            Type::FixedLengthList(_) => WitType::Unsupported("list of fixed length"),
        })
    }

    fn optional(&mut self, kind: Option<Type>) -> Result<Option<WitType>, TooLarge> {
        kind.map(|kind| self.kind(&kind)).transpose()
    }
}
