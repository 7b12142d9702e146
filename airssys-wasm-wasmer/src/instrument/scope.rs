//! What the body of a function needs to know of its module.

use std::collections::HashSet;

use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasm_encoder::{BlockType, TypeSection, ValType};
use wasmparser::{CompositeInnerType, ExternalKind, FuncType, MemoryType, SectionLimited, TypeRef};

use super::InstrumentError;
use super::sections::Sections;

#[derive(Default)]
pub(super) struct Scope {
    pub(super) imports: u32,
    pub(super) imported_functions: u32,
    pub(super) imported_globals: u32,
    pub(super) imported_tables: u32,
    pub(super) exported_tables: HashSet<u32>,
    types: Vec<Option<FuncType>>,
    functions: Vec<u32>,
    /// What the elements of a table are, and whether it has 64-bit indices.
    tables: Vec<(ValType, bool)>,
    memories: Vec<MemoryType>,
    added: Vec<(Vec<ValType>, Vec<ValType>)>,
}

impl Scope {
    pub(super) fn new(sections: &Sections<'_>) -> Result<Self, InstrumentError> {
        let mut scope = Self::default();
        for group in sections.types.clone().into_iter().flatten() {
            for ty in group?.into_types() {
                scope.types.push(match ty.composite_type.inner {
                    CompositeInnerType::Func(ty) => Some(ty),
                    _ => None,
                });
            }
        }
        for import in sections.imports.clone().into_iter().flat_map(SectionLimited::into_imports) {
            scope.imports += 1;
            match import?.ty {
                TypeRef::Func(_) | TypeRef::FuncExact(_) => scope.imported_functions += 1,
                TypeRef::Global(_) => scope.imported_globals += 1,
                TypeRef::Table(ty) => {
                    scope.imported_tables += 1;
                    scope.tables.push((element(ty.element_type)?, ty.table64));
                }
                TypeRef::Memory(ty) => scope.memories.push(ty),
                TypeRef::Tag(_) => {}
            }
        }
        for ty in sections.functions.clone().into_iter().flatten() {
            scope.functions.push(ty?);
        }
        for table in sections.tables.clone().into_iter().flatten() {
            let ty = table?.ty;
            scope.tables.push((element(ty.element_type)?, ty.table64));
        }
        for memory in sections.memories.clone().into_iter().flatten() {
            scope.memories.push(memory?);
        }
        for export in sections.exports.clone().into_iter().flatten() {
            let export = export?;
            if export.kind == ExternalKind::Table {
                scope.exported_tables.insert(export.index);
            }
        }
        Ok(scope)
    }

    /// The type of a function that the module defines, counted from the first of them.
    pub(super) fn function(&self, defined: usize) -> Result<&FuncType, InstrumentError> {
        let ty = self.functions.get(defined).ok_or(InstrumentError::Missing("function"))?;
        self.function_type(*ty)
    }

    pub(super) fn function_type(&self, index: u32) -> Result<&FuncType, InstrumentError> {
        self.types
            .get(index as usize)
            .and_then(Option::as_ref)
            .ok_or(InstrumentError::Missing("function type"))
    }

    pub(super) fn table64(&self, index: u32) -> Result<bool, InstrumentError> {
        self.tables.get(index as usize).map(|(_, wide)| *wide).ok_or(InstrumentError::Missing("table"))
    }

    /// What the elements of a table are.
    pub(super) fn element(&self, index: u32) -> Result<ValType, InstrumentError> {
        self.tables.get(index as usize).map(|(element, _)| *element).ok_or(InstrumentError::Missing("table"))
    }

    pub(super) fn memory(&self, index: u32) -> Result<&MemoryType, InstrumentError> {
        self.memories.get(index as usize).ok_or(InstrumentError::Missing("memory"))
    }

    pub(super) fn params(&self, ty: wasmparser::BlockType) -> Result<Vec<ValType>, InstrumentError> {
        match ty {
            wasmparser::BlockType::Empty | wasmparser::BlockType::Type(_) => Ok(Vec::new()),
            wasmparser::BlockType::FuncType(index) => value_types(self.function_type(index)?.params()),
        }
    }

    pub(super) fn results(&self, ty: wasmparser::BlockType) -> Result<Vec<ValType>, InstrumentError> {
        match ty {
            wasmparser::BlockType::Empty => Ok(Vec::new()),
            wasmparser::BlockType::Type(ty) => value_types(&[ty]),
            wasmparser::BlockType::FuncType(index) => value_types(self.function_type(index)?.results()),
        }
    }

    /// The type of a block, added to the module when there is no shorter way to write it.
    pub(super) fn block_type(
        &mut self,
        types: &mut TypeSection,
        params: Vec<ValType>,
        results: Vec<ValType>,
    ) -> BlockType {
        match (&*params, &*results) {
            ([], []) => BlockType::Empty,
            ([], [result]) => BlockType::Result(*result),
            _ => BlockType::FunctionType(self.add_type(types, params, results)),
        }
    }

    pub(super) fn add_type(
        &mut self,
        types: &mut TypeSection,
        params: Vec<ValType>,
        results: Vec<ValType>,
    ) -> u32 {
        let added = (params, results);
        let position = self.added.iter().position(|known| *known == added).unwrap_or_else(|| {
            types.ty().function(added.0.iter().copied(), added.1.iter().copied());
            self.added.push(added);
            self.added.len() - 1
        });
        (self.types.len() + position) as u32
    }
}

fn element(ty: wasmparser::RefType) -> Result<ValType, InstrumentError> {
    Ok(RoundtripReencoder.val_type(wasmparser::ValType::Ref(ty))?)
}

pub(super) fn value_types(types: &[wasmparser::ValType]) -> Result<Vec<ValType>, InstrumentError> {
    Ok(types.iter().map(|ty| RoundtripReencoder.val_type(*ty)).collect::<Result<_, _>>()?)
}
