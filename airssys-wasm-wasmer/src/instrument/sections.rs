//! The sections of a module, found before the first of them is rewritten.

use wasmparser::{
    DataSectionReader, ElementItems, ElementSectionReader, Encoding, ExportSectionReader, FunctionBody,
    FunctionSectionReader, GlobalSectionReader, ImportSectionReader, KnownCustom, MemorySectionReader,
    NameSectionReader, Operator, Parser, Payload, TableSectionReader, TagSectionReader, TypeSectionReader,
};

use super::{InstrumentError, Needs};

#[derive(Default)]
pub(super) struct Sections<'a> {
    pub(super) types: Option<TypeSectionReader<'a>>,
    pub(super) imports: Option<ImportSectionReader<'a>>,
    pub(super) functions: Option<FunctionSectionReader<'a>>,
    pub(super) tables: Option<TableSectionReader<'a>>,
    pub(super) memories: Option<MemorySectionReader<'a>>,
    pub(super) tags: Option<TagSectionReader<'a>>,
    pub(super) globals: Option<GlobalSectionReader<'a>>,
    pub(super) exports: Option<ExportSectionReader<'a>>,
    pub(super) start: Option<u32>,
    pub(super) elements: Option<ElementSectionReader<'a>>,
    pub(super) data_count: Option<u32>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
    pub(super) data: Option<DataSectionReader<'a>>,
    pub(super) names: Option<NameSectionReader<'a>>,
}

impl<'a> Sections<'a> {
    pub(super) fn read(module: &'a [u8]) -> Result<Self, InstrumentError> {
        let mut sections = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::Version { encoding: Encoding::Module, .. } => {}
                Payload::TypeSection(section) => sections.types = Some(section),
                Payload::ImportSection(section) => sections.imports = Some(section),
                Payload::FunctionSection(section) => sections.functions = Some(section),
                Payload::TableSection(section) => sections.tables = Some(section),
                Payload::MemorySection(section) => sections.memories = Some(section),
                Payload::TagSection(section) => sections.tags = Some(section),
                Payload::GlobalSection(section) => sections.globals = Some(section),
                Payload::ExportSection(section) => sections.exports = Some(section),
                Payload::StartSection { func, .. } => sections.start = Some(func),
                Payload::ElementSection(section) => sections.elements = Some(section),
                Payload::DataCountSection { count, .. } => sections.data_count = Some(count),
                Payload::CodeSectionStart { .. } | Payload::End(_) => {}
                Payload::CodeSectionEntry(body) => sections.bodies.push(body),
                Payload::DataSection(section) => sections.data = Some(section),
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        sections.names = Some(names);
                    }
                }
                _ => return Err(InstrumentError::Unsupported("a section of an unknown kind")),
            }
        }
        Ok(sections)
    }

    /// The elements of all segments.
    pub(super) fn elements(&self) -> Result<u64, InstrumentError> {
        let mut elements = 0;
        for segment in self.elements.clone().into_iter().flatten() {
            elements += match segment?.items {
                ElementItems::Functions(functions) => u64::from(functions.count()),
                ElementItems::Expressions(_, expressions) => u64::from(expressions.count()),
            };
        }
        Ok(elements)
    }

    /// What its code asks of the host.
    pub(super) fn needs(&self) -> Result<Needs, InstrumentError> {
        let mut needs = Needs::default();
        for body in &self.bodies {
            let mut reader = body.get_operators_reader()?;
            while !reader.eof() {
                let op = reader.read()?;
                needs.grow |= matches!(op, Operator::TableGrow { .. });
                needs.room |= runs_in_library(&op);
            }
        }
        Ok(needs)
    }
}

/// Whether the engine calls its library for this operator, on the guest's stack.
pub(super) fn runs_in_library(op: &Operator<'_>) -> bool {
    matches!(
        op,
        Operator::TableGet { .. }
            | Operator::TableSet { .. }
            | Operator::TableInit { .. }
            | Operator::TableCopy { .. }
            | Operator::TableFill { .. }
            | Operator::MemoryInit { .. }
            | Operator::MemoryCopy { .. }
            | Operator::MemoryFill { .. }
    )
}
