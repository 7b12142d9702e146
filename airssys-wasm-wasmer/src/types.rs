//! The types of a component, as data.

use airssys_wasm_core::interface::{WitFunction, WitInstance, WitInterface, WitType};
use airssys_wasm_engine::types::{Size, TooLarge, Unusual};
use wasmtime_environ::component::{
    ComponentTypes, InterfaceType, TypeComponentIndex, TypeDef, TypeFuncIndex,
};

/// Every function a component imports and exports, and the imports that are something else.
pub(crate) fn interface(
    types: &ComponentTypes,
    component: TypeComponentIndex,
) -> Result<(WitInterface, Vec<Unusual>), TooLarge> {
    let mut writer = Writer { types, size: Size::default() };
    let mut unusual = Vec::new();
    let component = &types[component];
    let imports = component.imports.iter().map(|(name, item)| (name.as_str(), item.ty));
    let imports = writer.instances(imports, &mut unusual)?;
    let exports = component.exports.iter().map(|(name, item)| (name.as_str(), item.ty));
    let exports = writer.instances(exports, &mut Vec::new())?;
    Ok((WitInterface { imports, exports }, unusual))
}

struct Writer<'t> {
    types: &'t ComponentTypes,
    size: Size,
}

impl Writer<'_> {
    fn instances<'a>(
        &mut self,
        items: impl Iterator<Item = (&'a str, TypeDef)>,
        unusual: &mut Vec<Unusual>,
    ) -> Result<Vec<WitInstance>, TooLarge> {
        let mut root = WitInstance::default();
        let mut instances = Vec::new();
        for (name, item) in items {
            match item {
                TypeDef::ComponentFunc(function) => root.functions.push(self.function(name, function)?),
                TypeDef::ComponentInstance(instance) => {
                    let exports = &self.types[instance].exports;
                    if exports.is_empty() {
                        unusual.push(Unusual::empty(name));
                    }
                    let mut functions = Vec::new();
                    for (function, item) in exports {
                        if let TypeDef::ComponentFunc(found) = item.ty {
                            functions.push(self.function(function, found)?);
                        }
                    }
                    instances.push(WitInstance { name: name.to_owned(), functions });
                }
                TypeDef::Interface(_) => {}
                TypeDef::Resource(_) => unusual.push(Unusual::new(name, "a resource")),
                TypeDef::Module(_) => unusual.push(Unusual::new(name, "a core module")),
                TypeDef::CoreFunc(_) => unusual.push(Unusual::new(name, "a core function")),
                TypeDef::Component(_) => unusual.push(Unusual::new(name, "a component")),
            }
        }
        if !root.functions.is_empty() {
            instances.insert(0, root);
        }
        Ok(instances)
    }

    fn function(&mut self, name: &str, function: TypeFuncIndex) -> Result<WitFunction, TooLarge> {
        let function = &self.types[function];
        let parameters = function
            .param_names
            .iter()
            .zip(&*self.types[function.params].types)
            .map(|(name, kind)| Ok((self.size.count(name)?, self.kind(*kind)?)))
            .collect::<Result<_, TooLarge>>()?;
        let result = self.types[function.results].types.first().map(|kind| self.kind(*kind)).transpose()?;
        Ok(WitFunction { name: name.to_owned(), parameters, result, requires: None })
    }

    fn kind(&mut self, kind: InterfaceType) -> Result<WitType, TooLarge> {
        self.size.count("")?;
        let types = self.types;
        Ok(match kind {
            InterfaceType::Bool => WitType::Bool,
            InterfaceType::S8 => WitType::S8,
            InterfaceType::U8 => WitType::U8,
            InterfaceType::S16 => WitType::S16,
            InterfaceType::U16 => WitType::U16,
            InterfaceType::S32 => WitType::S32,
            InterfaceType::U32 => WitType::U32,
            InterfaceType::S64 => WitType::S64,
            InterfaceType::U64 => WitType::U64,
            InterfaceType::Float32 => WitType::F32,
            InterfaceType::Float64 => WitType::F64,
            InterfaceType::Char => WitType::Char,
            InterfaceType::String => WitType::String,
            InterfaceType::List(list) => WitType::list(self.kind(types[list].element)?),
            InterfaceType::Record(record) => WitType::Record(
                types[record]
                    .fields
                    .iter()
                    .map(|field| Ok((self.size.count(&field.name)?, self.kind(field.ty)?)))
                    .collect::<Result<_, TooLarge>>()?,
            ),
            InterfaceType::Tuple(tuple) => WitType::Tuple(
                types[tuple].types.iter().map(|kind| self.kind(*kind)).collect::<Result<_, TooLarge>>()?,
            ),
            InterfaceType::Variant(variant) => WitType::Variant(
                types[variant]
                    .cases
                    .iter()
                    .map(|(name, kind)| Ok((self.size.count(name)?, self.optional(*kind)?)))
                    .collect::<Result<_, TooLarge>>()?,
            ),
            InterfaceType::Enum(names) => {
                WitType::Enum(self.size.names(types[names].names.iter().map(String::as_str))?)
            }
            InterfaceType::Option(some) => WitType::option(self.kind(types[some].ty)?),
            InterfaceType::Result(result) => {
                WitType::result(self.optional(types[result].ok)?, self.optional(types[result].err)?)
            }
            InterfaceType::Flags(flags) => {
                WitType::Flags(self.size.names(types[flags].names.iter().map(String::as_str))?)
            }
            InterfaceType::Own(_) => WitType::Own,
            InterfaceType::Borrow(_) => WitType::Borrow,
            InterfaceType::Future(_) => WitType::Unsupported("future"),
            InterfaceType::Stream(_) => WitType::Unsupported("stream"),
            InterfaceType::ErrorContext(_) => WitType::Unsupported("error-context"),
            InterfaceType::Map(_) => WitType::Unsupported("map"),
            InterfaceType::FixedLengthList(_) => WitType::Unsupported("list of fixed length"),
        })
    }

    fn optional(&mut self, kind: Option<InterfaceType>) -> Result<Option<WitType>, TooLarge> {
        kind.map(|kind| self.kind(kind)).transpose()
    }
}
