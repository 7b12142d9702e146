//! From a component to a plan: core modules, and what to do with them to make an instance.
//!
//! Validation, the types and the flattening of inner components are `wasmtime-environ`'s, as in Wasmtime itself: what one
//! engine takes or refuses, the other does, too. Calls between inner components become core modules as well.

use airssys_wasm_core::error::{LoadFault, Result, WasmError};
use airssys_wasm_engine::text::escaped;
use serde::{Deserialize, Serialize};
use wasmparser::{Validator, WasmFeatures};
use wasmtime_environ::component::{
    Component, ComponentTypes, ComponentTypesBuilder, FixedEncoding, LoweredIndex, OptionsIndex,
    RuntimeComponentInstanceIndex, RuntimeMemoryIndex, Transcode, Translator, TypeComponentIndex,
    TypeFuncIndex, TypeResourceTableIndex,
};
use wasmtime_environ::{EntityIndex, ScopeVec, Tunables};

use crate::instrument::{self, Counting};

/// The most characters of what a validator says.
const MAX_TEXT: usize = 1024;

/// A component, taken apart.
pub(crate) struct Translation {
    pub(crate) plan: Plan,
    /// The core modules, with what counts and interrupts them built in.
    pub(crate) modules: Vec<Vec<u8>>,
}

/// How an instance is made from core modules, and how its functions are called.
#[derive(Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) component: Component,
    pub(crate) types: ComponentTypes,
    pub(crate) itself: TypeComponentIndex,
    /// How many tables of resource handles the types speak of.
    pub(crate) resource_tables: usize,
    /// By their index.
    pub(crate) trampolines: Vec<Trampoline>,
    /// By their index.
    pub(crate) modules: Vec<ModulePlan>,
}

/// What instrumentation made of the indices of a core module.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct ModulePlan {
    pub(crate) imported_functions: u32,
    pub(crate) imported_globals: u32,
    /// Whether it asks before its tables grow.
    pub(crate) grows_tables: bool,
    /// Whether it asks for room on the stack.
    pub(crate) needs_room: bool,
    pub(crate) added_globals: u32,
    /// Bytes that Wasmer keeps for each instance of it, by function and by element of its segments.
    pub(crate) bookkeeping: u64,
    /// Tables and the maximum that they declared.
    pub(crate) table_maxima: Vec<(u32, u64)>,
    /// The function to call when an instance was made.
    pub(crate) start: Option<u32>,
}

/// Something of a core instance, by its index in the module.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item {
    Function(u32),
    Table(u32),
    Memory(u32),
    Global(u32),
    Tag(u32),
}

impl ModulePlan {
    /// Where an item of the module is, now that it is instrumented.
    pub(crate) fn item(&self, item: EntityIndex) -> Item {
        let added_functions = 1 + u32::from(self.grows_tables) + u32::from(self.needs_room);
        let moved = |index: u32, imported, added| if index < imported { index } else { index + added };
        match item {
            EntityIndex::Function(index) => {
                Item::Function(moved(index.as_u32(), self.imported_functions, added_functions))
            }
            EntityIndex::Global(index) => {
                Item::Global(moved(index.as_u32(), self.imported_globals, self.added_globals))
            }
            EntityIndex::Table(index) => Item::Table(index.as_u32()),
            EntityIndex::Memory(index) => Item::Memory(index.as_u32()),
            EntityIndex::Tag(index) => Item::Tag(index.as_u32()),
        }
    }
}

/// A core function that the host provides.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) enum Trampoline {
    /// A function of the host, as the component imports it.
    Lowered { index: LoweredIndex, function: TypeFuncIndex, options: OptionsIndex },
    /// Copies a string from one memory to another.
    Transcode { operation: Transcoding, from: RuntimeMemoryIndex, to: RuntimeMemoryIndex },
    /// `resource.new`
    ResourceNew { instance: RuntimeComponentInstanceIndex, resource: TypeResourceTableIndex },
    /// `resource.rep`
    ResourceRep { instance: RuntimeComponentInstanceIndex, resource: TypeResourceTableIndex },
    /// `resource.drop`
    ResourceDrop { instance: RuntimeComponentInstanceIndex, resource: TypeResourceTableIndex },
    /// An owned resource goes from one inner component to another.
    TransferOwn,
    /// A resource is lent by one inner component to another.
    TransferBorrow,
    /// An adapter refuses what it was given.
    Trap,
    /// A call from one inner component to another begins.
    EnterCall,
    /// A call from one inner component to another ends.
    ExitCall,
}

/// What a [`Trampoline::Transcode`] does.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub(crate) enum Transcoding {
    CopyUtf8,
    CopyUtf16,
    CopyLatin1,
    Latin1ToUtf16,
    Latin1ToUtf8,
    Utf16ToCompactProbablyUtf16,
    Utf16ToCompactUtf16,
    Utf16ToLatin1,
    Utf16ToUtf8,
    Utf8ToCompactUtf16,
    Utf8ToLatin1,
    Utf8ToUtf16,
}

impl From<Transcoding> for Transcode {
    fn from(operation: Transcoding) -> Self {
        match operation {
            Transcoding::CopyUtf8 => Self::Copy(FixedEncoding::Utf8),
            Transcoding::CopyUtf16 => Self::Copy(FixedEncoding::Utf16),
            Transcoding::CopyLatin1 => Self::Copy(FixedEncoding::Latin1),
            Transcoding::Latin1ToUtf16 => Self::Latin1ToUtf16,
            Transcoding::Latin1ToUtf8 => Self::Latin1ToUtf8,
            Transcoding::Utf16ToCompactProbablyUtf16 => Self::Utf16ToCompactProbablyUtf16,
            Transcoding::Utf16ToCompactUtf16 => Self::Utf16ToCompactUtf16,
            Transcoding::Utf16ToLatin1 => Self::Utf16ToLatin1,
            Transcoding::Utf16ToUtf8 => Self::Utf16ToUtf8,
            Transcoding::Utf8ToCompactUtf16 => Self::Utf8ToCompactUtf16,
            Transcoding::Utf8ToLatin1 => Self::Utf8ToLatin1,
            Transcoding::Utf8ToUtf16 => Self::Utf8ToUtf16,
        }
    }
}

impl From<Transcode> for Transcoding {
    fn from(operation: Transcode) -> Self {
        match operation {
            Transcode::Copy(FixedEncoding::Utf8) => Self::CopyUtf8,
            Transcode::Copy(FixedEncoding::Utf16) => Self::CopyUtf16,
            Transcode::Copy(FixedEncoding::Latin1) => Self::CopyLatin1,
            Transcode::Latin1ToUtf16 => Self::Latin1ToUtf16,
            Transcode::Latin1ToUtf8 => Self::Latin1ToUtf8,
            Transcode::Utf16ToCompactProbablyUtf16 => Self::Utf16ToCompactProbablyUtf16,
            Transcode::Utf16ToCompactUtf16 => Self::Utf16ToCompactUtf16,
            Transcode::Utf16ToLatin1 => Self::Utf16ToLatin1,
            Transcode::Utf16ToUtf8 => Self::Utf16ToUtf8,
            Transcode::Utf8ToCompactUtf16 => Self::Utf8ToCompactUtf16,
            Transcode::Utf8ToLatin1 => Self::Utf8ToLatin1,
            Transcode::Utf8ToUtf16 => Self::Utf8ToUtf16,
        }
    }
}

/// What guests may use: WebAssembly 2.0 with multiple memories and extended constant expressions, in components of WASI 0.2.
///
/// The same as on the Wasmtime engine, which is built without a collector of garbage and so without `externref`.
fn features() -> WasmFeatures {
    let more = WasmFeatures::MULTI_MEMORY | WasmFeatures::EXTENDED_CONST | WasmFeatures::COMPONENT_MODEL;
    (WasmFeatures::WASM2 | more) & !WasmFeatures::GC_TYPES
}

/// Takes a component apart.
///
/// # Errors
/// [`LoadFault::Invalid`] with what the validator says.
pub(crate) fn translate(wasm: &[u8], counting: Counting) -> Result<Translation> {
    let refuse = |error: &dyn std::fmt::Display| {
        WasmError::unloadable(LoadFault::Invalid)
            .because(escaped(&format!("{error:#}"), MAX_TEXT))
            .advising("check the binary with `wasm-tools validate`")
    };
    let tunables = tunables().map_err(|error| refuse(&error))?;
    // Bodies of functions, too: what takes a component apart looks at everything but these.
    Validator::new_with_features(features()).validate_all(wasm).map_err(|error| refuse(&error))?;
    let mut validator = Validator::new_with_features(features());
    let mut types = ComponentTypesBuilder::new(&validator);
    let scope = ScopeVec::new();
    let (translation, modules) = Translator::new(&tunables, &mut validator, &mut types, &scope)
        .translate(wasm)
        .map_err(|error| refuse(&error))?;
    let resource_tables = types.num_resource_tables();
    let (types, itself) = types.finish(&translation.component);

    let mut plan = Plan {
        component: translation.component,
        types,
        itself,
        resource_tables,
        trampolines: Vec::new(),
        modules: Vec::new(),
    };
    for (_, trampoline) in translation.trampolines {
        plan.trampolines.push(trampoline_of(&trampoline).ok_or_else(|| {
            WasmError::unloadable(LoadFault::Invalid)
                .saying("the component uses a feature of the Component Model beyond WASI 0.2")
                .with("feature", trampoline.symbol_name())
        })?);
    }
    let mut instrumented_modules = Vec::new();
    for (_, module) in modules {
        let instrumented = instrument::instrument(module.wasm, counting).map_err(|error| refuse(&error))?;
        plan.modules.push(ModulePlan {
            imported_functions: index(module.module.num_imported_funcs),
            imported_globals: index(module.module.num_imported_globals),
            grows_tables: instrumented.needs.grow,
            needs_room: instrumented.needs.room,
            added_globals: counting.globals(),
            bookkeeping: 40 * module.module.functions.len() as u64 + instrumented.elements * 8,
            table_maxima: instrumented.table_maxima,
            start: instrumented.start,
        });
        instrumented_modules.push(instrumented.wasm);
    }
    Ok(Translation { plan, modules: instrumented_modules })
}

/// What adapters are made for: nothing but calls that wait for each other.
fn tunables() -> wasmtime_environ::error::Result<Tunables> {
    let mut tunables = Tunables::default_host();
    tunables.concurrency_support = false;
    tunables.debug_native = false;
    Ok(tunables)
}

fn index(count: usize) -> u32 {
    u32::try_from(count).expect("a module has fewer of anything than 2^32")
}

fn trampoline_of(trampoline: &wasmtime_environ::component::Trampoline) -> Option<Trampoline> {
    use wasmtime_environ::component::Trampoline as From;

    Some(match *trampoline {
        From::LowerImport { index, lower_ty, options } => {
            Trampoline::Lowered { index, function: lower_ty, options }
        }
        From::Transcoder { op, from, from64: false, to, to64: false } => {
            Trampoline::Transcode { operation: op.into(), from, to }
        }
        From::ResourceNew { instance, ty } => Trampoline::ResourceNew { instance, resource: ty },
        From::ResourceRep { instance, ty } => Trampoline::ResourceRep { instance, resource: ty },
        From::ResourceDrop { instance, ty } => Trampoline::ResourceDrop { instance, resource: ty },
        From::ResourceTransferOwn => Trampoline::TransferOwn,
        From::ResourceTransferBorrow => Trampoline::TransferBorrow,
        From::Trap => Trampoline::Trap,
        From::EnterSyncCall => Trampoline::EnterCall,
        From::ExitSyncCall => Trampoline::ExitCall,
        _ => return None,
    })
}
