//! Rewrites a core module so that it counts what it does and asks the host before it goes on.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, DataCountSection, DataSection, ElementSection, EntityType, ExportSection, FunctionSection,
    GlobalSection, GlobalType, ImportSection, MemorySection, Module, NameSection, TableSection, TagSection,
    TypeSection, ValType,
};
use wasmparser::Name;

use body::Body;
use scope::Scope;
use sections::Sections;

mod body;
mod cost;
mod scope;
mod sections;
#[cfg(test)]
mod tests;

/// The module name of the added imports.
pub(crate) const MODULE: &str = "airssys";
/// What a module that grows tables imports after `check`: `[table: i32, by: i32] -> [i32]`. It answers zero when the table
/// must not grow, and `table.grow` then answers -1.
pub(crate) const GROW: &str = "grow";
/// What a module imports after these, `[] -> []`, when it has operators that the engine's own library carries out on the guest's stack. It
/// is called before each of them, and does not return when too little of the stack is left.
pub(crate) const ROOM: &str = "room";

/// Which of these a module imports.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    pub(crate) grow: bool,
    pub(crate) room: bool,
}

/// What a guest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counting {
    /// Nothing: it compares the clock of the host with its own next appointment.
    ///
    /// Added imports, in this order: `check: [] -> []`, `epoch` and `until` (mutable `i64` globals).
    ///
    /// # Behavior
    /// - `check` is called at function entries, at loop headers and before bulk operations when `epoch >= until`,
    ///   unsigned.
    /// - A function with loops keeps a copy of `until` and renews it after its own calls of `check` only. A callee
    ///   may have moved `until` meanwhile: `check` can be called early, and must then do nothing.
    /// - For the same reason `until` only grows while a frame of the guest is on the stack. To call earlier, raise
    ///   `epoch`.
    /// - Every loop contains a call of `check`, which is why a compiler does not move the load of `epoch` out of it.
    Epochs,
    /// The operators that ran, as Wasmtime 48 counts them.
    ///
    /// Added imports, in this order: `check: [i64] -> [i64]` and `fuel` (a mutable `i64` global).
    ///
    /// # Behavior
    /// - The count starts at minus the units of the slice and grows; `check` is called at function entries, at loop
    ///   headers and before bulk operations when it is zero or more. It takes the count and answers the count to go
    ///   on with: the old one minus the units of the new slice, less than zero. Or it traps.
    /// - The functions keep the count in a local. `fuel` is up to date where Wasmtime updates its store: when a
    ///   function is called, returns, throws or reaches `unreachable`. `check` moves `fuel` by the same units as the
    ///   count, so that the units of all slices plus `fuel` are the total at any time, after a trap too.
    /// - The units of all slices plus the count that `check` is given are the exact total. The guest is out of fuel
    ///   when this is its limit or more.
    Fuel,
}

impl Counting {
    /// The imports that a module gets, after its own and in this order.
    pub(crate) fn imports(self) -> &'static [&'static str] {
        match self {
            Self::Epochs => &["check", "epoch", "until"],
            Self::Fuel => &["check", "fuel"],
        }
    }

    /// How many of the added imports are globals.
    pub(crate) fn globals(self) -> u32 {
        match self {
            Self::Epochs => 2,
            Self::Fuel => 1,
        }
    }
}

/// A module that counts.
#[derive(Debug)]
pub(crate) struct Instrumented {
    pub(crate) wasm: Vec<u8>,
    /// How many imports the module had. The added ones follow, see [`Counting::imports`].
    #[cfg(test)]
    pub(crate) imports: u32,
    /// Where functions and globals are now. Tables, memories, tags and exports have not moved.
    #[cfg(test)]
    pub(crate) moves: Moves,
    /// The maxima that were dropped from exported tables which the module defines: table index and maximum. The host
    /// creates these tables, and sees to it that they do not grow further.
    pub(crate) table_maxima: Vec<(u32, u64)>,
    /// The elements of all its segments.
    pub(crate) elements: u64,
    /// What it imports beside `check` and the counters.
    pub(crate) needs: Needs,
    /// The new index of the start function, for the host to call: it is guest code like any other, and has no section
    /// any more.
    pub(crate) start: Option<u32>,
}

/// How indices change when imports are added after the existing ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moves {
    imported_functions: u32,
    imported_globals: u32,
    added_functions: u32,
    added_globals: u32,
}

impl Moves {
    /// The new index of a function.
    pub(crate) fn function(self, index: u32) -> u32 {
        if index < self.imported_functions { index } else { index + self.added_functions }
    }

    /// The new index of a global.
    pub(crate) fn global(self, index: u32) -> u32 {
        if index < self.imported_globals { index } else { index + self.added_globals }
    }

    /// The index of the function `check`.
    pub(crate) fn check(self) -> u32 {
        self.imported_functions
    }

    /// The index of the function `room`, in a module that needs it.
    pub(crate) fn room(self) -> u32 {
        self.imported_functions + self.added_functions - 1
    }

    /// The index of the function `grow`, in a module that grows tables.
    pub(crate) fn grow(self) -> u32 {
        self.imported_functions + 1
    }

    /// The index of the first added global.
    pub(crate) fn first_global(self) -> u32 {
        self.imported_globals
    }
}

impl Reencode for Moves {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, reencode::Error> {
        Ok(self.function(index))
    }

    fn global_index(&mut self, index: u32) -> Result<u32, reencode::Error> {
        Ok(self.global(index))
    }
}

/// Makes a module count.
///
/// # Behavior
/// - The results and traps of the module stay the same. The start function is left to the host, which calls it.
/// - With [`Counting::Fuel`] totals are those of Wasmtime 48.0.8 with its default costs, and a guest runs out of
///   fuel at the same place, with one exception: Wasmtime leaves out the check before a bulk operation that costs at
///   most 128 for its length, and before `memory.grow`, when it knows the operand to be constant. Here only a
///   constant that was pushed by the operator before is known, and not one from a local.
/// - A bulk operation is charged for its length before it runs, and is not interrupted: the caps on memories and
///   tables bound it.
/// - Imported and exported tables lose their maximum: Wasmer keeps an inline copy of tables that cannot grow, which
///   writes through another instance do not reach.
/// - Code that cannot be reached is dropped, and so are custom sections other than the names of the module and of
///   its functions.
///
/// # Errors
/// When the module cannot be read, or uses what no engine of ours runs. It was validated before, so this is a defect
/// of the host.
pub(crate) fn instrument(module: &[u8], counting: Counting) -> Result<Instrumented, InstrumentError> {
    let sections = Sections::read(module)?;
    let scope = Scope::new(&sections)?;
    let needs = sections.needs()?;
    let elements = sections.elements()?;
    let moves = Moves {
        imported_functions: scope.imported_functions,
        imported_globals: scope.imported_globals,
        added_functions: 1 + u32::from(needs.grow) + u32::from(needs.room),
        added_globals: counting.globals(),
    };
    let mut writer = Writer {
        sections,
        scope,
        moves,
        counting,
        needs,
        types: TypeSection::new(),
        table_maxima: Vec::new(),
    };
    let wasm = writer.module(module)?;
    let start = writer.sections.start.map(|start| moves.function(start));
    Ok(Instrumented {
        wasm,
        #[cfg(test)]
        imports: writer.scope.imports,
        #[cfg(test)]
        moves,
        table_maxima: writer.table_maxima,
        needs,
        elements,
        start,
    })
}

/// Writes the sections of the new module.
struct Writer<'a> {
    sections: Sections<'a>,
    scope: Scope,
    moves: Moves,
    counting: Counting,
    needs: Needs,
    types: TypeSection,
    table_maxima: Vec<(u32, u64)>,
}

impl Writer<'_> {
    fn module(&mut self, source: &[u8]) -> Result<Vec<u8>, InstrumentError> {
        if let Some(types) = self.sections.types.take() {
            self.moves.parse_type_section(&mut self.types, types)?;
        }
        let check = match self.counting {
            Counting::Epochs => self.scope.add_type(&mut self.types, vec![], vec![]),
            Counting::Fuel => self.scope.add_type(&mut self.types, vec![ValType::I64], vec![ValType::I64]),
        };
        let grow = self.needs.grow.then(|| {
            self.scope.add_type(&mut self.types, vec![ValType::I32, ValType::I32], vec![ValType::I32])
        });
        let room = self.needs.room.then(|| self.scope.add_type(&mut self.types, vec![], vec![]));
        let imports = self.imports(check, grow, room)?;
        let tables = self.tables()?;
        // Bodies may add types, so the code is written before the types are complete.
        let code = self.code(source)?;

        let mut module = Module::new();
        module.section(&self.types).section(&imports);
        if let Some(section) = self.sections.functions.take() {
            let mut functions = FunctionSection::new();
            self.moves.parse_function_section(&mut functions, section)?;
            module.section(&functions);
        }
        module.section(&tables);
        if let Some(section) = self.sections.memories.take() {
            let mut memories = MemorySection::new();
            self.moves.parse_memory_section(&mut memories, section)?;
            module.section(&memories);
        }
        if let Some(section) = self.sections.tags.take() {
            let mut tags = TagSection::new();
            self.moves.parse_tag_section(&mut tags, section)?;
            module.section(&tags);
        }
        if let Some(section) = self.sections.globals.take() {
            let mut globals = GlobalSection::new();
            self.moves.parse_global_section(&mut globals, section)?;
            module.section(&globals);
        }
        if let Some(section) = self.sections.exports.take() {
            let mut exports = ExportSection::new();
            self.moves.parse_export_section(&mut exports, section)?;
            module.section(&exports);
        }
        if let Some(section) = self.sections.elements.take() {
            let mut elements = ElementSection::new();
            self.moves.parse_element_section(&mut elements, section)?;
            module.section(&elements);
        }
        if let Some(count) = self.sections.data_count {
            module.section(&DataCountSection { count });
        }
        module.section(&code);
        if let Some(section) = self.sections.data.take() {
            let mut data = DataSection::new();
            self.moves.parse_data_section(&mut data, section)?;
            module.section(&data);
        }
        if let Some(names) = self.names() {
            module.section(&names);
        }
        Ok(module.finish())
    }

    fn imports(
        &mut self,
        check: u32,
        grow: Option<u32>,
        room: Option<u32>,
    ) -> Result<ImportSection, InstrumentError> {
        let mut imports = ImportSection::new();
        if let Some(section) = self.sections.imports.take() {
            for import in section.into_imports() {
                let import = import?;
                let mut ty = self.moves.entity_type(import.ty)?;
                if let EntityType::Table(table) = &mut ty {
                    table.maximum = None;
                }
                imports.import(import.module, import.name, ty);
            }
        }
        let counter = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
        for (position, name) in self.counting.imports().iter().enumerate() {
            let ty = if position == 0 { EntityType::Function(check) } else { EntityType::Global(counter) };
            imports.import(MODULE, name, ty);
            if position == 0 {
                for (name, ty) in [(GROW, grow), (ROOM, room)] {
                    if let Some(ty) = ty {
                        imports.import(MODULE, name, EntityType::Function(ty));
                    }
                }
            }
        }
        Ok(imports)
    }

    fn tables(&mut self) -> Result<TableSection, InstrumentError> {
        let mut tables = TableSection::new();
        for (table, index) in
            self.sections.tables.take().into_iter().flatten().zip(self.scope.imported_tables..)
        {
            let mut table = table?;
            if self.scope.exported_tables.contains(&index)
                && let Some(maximum) = table.ty.maximum.take()
            {
                self.table_maxima.push((index, maximum));
            }
            self.moves.parse_table(&mut tables, table)?;
        }
        Ok(tables)
    }

    fn code(&mut self, source: &[u8]) -> Result<CodeSection, InstrumentError> {
        let mut code = CodeSection::new();
        for (index, body) in self.sections.bodies.iter().enumerate() {
            let mut writer =
                Body::new(&mut self.scope, &mut self.types, self.moves, self.counting, source, index)?;
            code.function(&writer.write(body)?);
        }
        Ok(code)
    }

    /// The names that are worth keeping: error messages show them. Names that cannot be read are left out.
    fn names(&mut self) -> Option<NameSection> {
        let mut names = NameSection::new();
        let mut kept = false;
        for name in self.sections.names.take()? {
            if let name @ (Name::Module { .. } | Name::Function(_)) = name.ok()? {
                self.moves.parse_custom_name_subsection(&mut names, name).ok()?;
                kept = true;
            }
        }
        kept.then_some(names)
    }
}

/// Why a module could not be rewritten.
#[derive(Debug)]
pub(crate) enum InstrumentError {
    /// The module cannot be read.
    Parse(wasmparser::Error),
    /// A part of the module cannot be written again.
    Encode(reencode::Error),
    /// The module refers to something that it does not have.
    Missing(&'static str),
    /// The module uses a proposal that no engine of ours runs.
    Unsupported(&'static str),
}

impl fmt::Display for InstrumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parse(_) => f.write_str("a core module cannot be read"),
            Self::Encode(_) => f.write_str("a core module cannot be rewritten"),
            Self::Missing(what) => write!(f, "a core module refers to a {what} that it does not have"),
            Self::Unsupported(what) => write!(f, "a core module uses {what}"),
        }
    }
}

impl Error for InstrumentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Parse(source) => Some(source),
            Self::Encode(source) => Some(source),
            Self::Missing(_) | Self::Unsupported(_) => None,
        }
    }
}

impl From<wasmparser::Error> for InstrumentError {
    fn from(error: wasmparser::Error) -> Self {
        Self::Parse(error)
    }
}

impl From<reencode::Error> for InstrumentError {
    fn from(error: reencode::Error) -> Self {
        match error {
            reencode::Error::ParseError(error) => Self::Parse(error),
            error => Self::Encode(error),
        }
    }
}
