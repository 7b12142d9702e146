//! The types of a component, as data.

use airssys_wasm_core::interface::{WitFunction, WitInstance, WitInterface, WitType};
use wasmtime::Engine;
use wasmtime::component::Type;
use wasmtime::component::types::{Component, ComponentFunc, ComponentItem};

/// The most that the types of one component may come to when written out, in parts and bytes of names together. Types can
/// share their parts, so that a small binary can describe a large tree.
const MAX_SIZE: usize = 4 << 20;

/// The types of a component are larger than anything that is written by people.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// An import or export that is neither a function nor an interface with something in it.
#[derive(Debug)]
pub(crate) struct Unusual {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    /// Whether it is an interface of which nothing is used, and so does no harm when it is known.
    pub(crate) is_empty: bool,
}

impl Unusual {
    fn new(name: &str, kind: &'static str) -> Self {
        Self { name: name.to_owned(), kind, is_empty: false }
    }
}

/// Every function a component imports and exports, and the imports that are something else.
pub(crate) fn interface(
    component: &Component,
    engine: &Engine,
) -> Result<(WitInterface, Vec<Unusual>), TooLarge> {
    let mut writer = Writer { size: 0 };
    let mut unusual = Vec::new();
    let imports = component.imports(engine).map(|(name, item)| (name, item.ty));
    let imports = writer.instances(imports, engine, &mut unusual)?;
    let exports = component.exports(engine).map(|(name, item)| (name, item.ty));
    let exports = writer.instances(exports, engine, &mut Vec::new())?;
    Ok((WitInterface { imports, exports }, unusual))
}

struct Writer {
    size: usize,
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
                        unusual.push(Unusual {
                            name: name.to_owned(),
                            kind: "an empty interface",
                            is_empty: true,
                        });
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
            .map(|(name, kind)| Ok((self.count(name)?, self.kind(&kind)?)))
            .collect::<Result<_, TooLarge>>()?;
        let result = function.results().next().map(|kind| self.kind(&kind)).transpose()?;
        Ok(WitFunction { name: name.to_owned(), parameters, result, requires: None })
    }

    fn kind(&mut self, kind: &Type) -> Result<WitType, TooLarge> {
        self.count("")?;
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
                    .map(|field| Ok((self.count(field.name)?, self.kind(&field.ty)?)))
                    .collect::<Result<_, TooLarge>>()?,
            ),
            Type::Tuple(tuple) => {
                WitType::Tuple(tuple.types().map(|kind| self.kind(&kind)).collect::<Result<_, TooLarge>>()?)
            }
            Type::Variant(variant) => WitType::Variant(
                variant
                    .cases()
                    .map(|case| Ok((self.count(case.name)?, self.optional(case.ty)?)))
                    .collect::<Result<_, TooLarge>>()?,
            ),
            Type::Enum(names) => WitType::Enum(self.names(names.names())?),
            Type::Option(some) => WitType::option(self.kind(&some.ty())?),
            Type::Result(result) => {
                WitType::result(self.optional(result.ok())?, self.optional(result.err())?)
            }
            Type::Flags(flags) => WitType::Flags(self.names(flags.names())?),
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

    fn names<'a>(&mut self, mut names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, TooLarge> {
        names.try_fold(Vec::new(), |mut names, name| {
            names.push(self.count(name)?);
            Ok(names)
        })
    }

    /// Counts one part, and its name.
    fn count(&mut self, name: &str) -> Result<String, TooLarge> {
        self.size += 1 + name.len();
        if self.size > MAX_SIZE { Err(TooLarge) } else { Ok(name.to_owned()) }
    }
}
