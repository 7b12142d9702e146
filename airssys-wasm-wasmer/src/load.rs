//! From bytes to a component that can be instantiated, with a diagnosis where that fails.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::error::{ErrorKind, LoadFault, Result, WasmError};
use airssys_wasm_core::interface::{
    COMPONENT, REPLIES, WORLD_EXPORTS, WORLD_IMPORTS, WitInterface, required_capability,
};
use airssys_wasm_core::runtime::{
    CallBudget, CodeOrigin, Component, ComponentHandle, ExportName, HostFunctionDefinition, HostServices,
    LoadOptions, LoadedComponent, Metering,
};
use airssys_wasm_engine::code_cache::Entry;
use airssys_wasm_engine::imports::{compatible, is_offered, offered_name, unknown_imports};
use airssys_wasm_engine::types::{TooLarge, Unusual};
use airssys_wasm_engine::wasi::interfaces as offered_wasi;
use airssys_wasm_engine::{binary, call, extensions, text};
use async_trait::async_trait;
use tokio::runtime::Handle;
use wasmer_compiler::Artifact;
use wasmer_types::{FunctionType, Type};
use wasmtime_environ::WasmValType;
use wasmtime_environ::component::{
    CoreDef, Export, ExportIndex, OptionsIndex, RuntimeImportIndex, TypeFuncIndex,
};

use crate::abi::handles::ResourceTypes;
use crate::code::{self, Compiler};
use crate::engine::Shared;
use crate::host::{self, Import};
use crate::instance::Instance;
use crate::instrument::Counting;
use crate::translate::{self, Plan, Translation};
use crate::types;
use crate::vm::Signature;
use crate::wasi;

/// Of plans in the code cache: a change in what they mean takes a new number.
pub(crate) const PLAN_FORMAT: u32 = 3;

/// Loads a component off the threads that run asynchronous tasks, where there are any.
pub(crate) async fn load(shared: &Arc<Shared>, wasm: &[u8], options: LoadOptions) -> Result<ComponentHandle> {
    binary::diagnose(wasm)?;
    extensions::check(&options.extensions)?;
    let loaded = match Handle::try_current() {
        Ok(runtime) => {
            let (shared, wasm) = (Arc::clone(shared), Box::<[u8]>::from(wasm));
            let loading = runtime.spawn_blocking(move || find_or_compile(&shared, &wasm, &options));
            loading.await.map_err(|stopped| {
                WasmError::new(ErrorKind::Internal, "load")
                    .saying("the thread that loaded the component was stopped")
                    .because(stopped)
            })??
        }
        Err(_) => find_or_compile(shared, wasm, &options)?,
    };
    Ok(ComponentHandle::new(LoadedHandle(Arc::new(loaded))))
}

fn find_or_compile(shared: &Arc<Shared>, wasm: &[u8], options: &LoadOptions) -> Result<Loaded> {
    let counting = match options.metering {
        Metering::Off => Counting::Epochs,
        Metering::Fuel => Counting::Fuel,
    };
    let entry = shared.cache.as_ref().map(|cache| {
        let flavour = [b'w', u8::from(counting == Counting::Fuel)];
        (cache, Entry::new(blake3::hash(wasm), shared.environment, &flavour))
    });
    let compiler = Compiler::new();
    if let Some((cache, entry)) = &entry
        && let Some((plan, artifacts)) = cache.read(entry, |path| read(path, &compiler))
    {
        return link(shared, compiler, plan, artifacts, counting, CodeOrigin::Cache, options);
    }
    let translated = catch_unwind(AssertUnwindSafe(|| compile(&compiler, wasm, counting)));
    let (plan, artifacts) = translated.map_err(|panic| {
        WasmError::unloadable(LoadFault::Invalid)
            .saying("the compiler gave up on the binary")
            .because(text::of_panic("compile", &*panic))
    })??;
    if let Some((cache, entry)) = &entry {
        match write(&plan, &artifacts) {
            Ok(bytes) => cache.write(entry, &bytes),
            Err(why) => tracing::warn!(why, "compiled code could not be written out"),
        }
    }
    link(shared, compiler, plan, artifacts, counting, CodeOrigin::Compiled, options)
}

fn compile(compiler: &Compiler, wasm: &[u8], counting: Counting) -> Result<(Plan, Vec<Arc<Artifact>>)> {
    let Translation { plan, modules } = translate::translate(wasm, counting)?;
    let artifacts = modules.iter().map(|module| compiler.compile(module)).collect::<Result<_>>()?;
    Ok((plan, artifacts))
}

/// A plan and the code of its modules, as one file: each part after its length.
fn write(plan: &Plan, artifacts: &[Arc<Artifact>]) -> std::result::Result<Vec<u8>, String> {
    let mut file = Vec::new();
    let mut put = |part: &[u8]| {
        file.extend_from_slice(&(part.len() as u64).to_le_bytes());
        file.extend_from_slice(part);
    };
    put(&postcard::to_allocvec(plan).map_err(|error| error.to_string())?);
    for artifact in artifacts {
        put(&code::serialize(artifact)?);
    }
    Ok(file)
}

/// Reads what [`write`] wrote. The caller knows that nobody changed it.
fn read(path: &Path, compiler: &Compiler) -> std::result::Result<(Plan, Vec<Arc<Artifact>>), String> {
    fn part<'f>(rest: &mut &'f [u8]) -> std::result::Result<&'f [u8], String> {
        let cut = || "a part is cut short".to_owned();
        let (length, after) = rest.split_first_chunk().ok_or_else(cut)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| cut())?;
        let (part, after) = after.split_at_checked(length).ok_or_else(cut)?;
        *rest = after;
        Ok(part)
    }

    let file = fs::read(path).map_err(|error| error.to_string())?;
    let mut rest = file.as_slice();
    let plan: Plan = postcard::from_bytes(part(&mut rest)?).map_err(|error| error.to_string())?;
    let mut artifacts = Vec::with_capacity(plan.modules.len());
    for _ in 0..plan.modules.len() {
        artifacts.push(compiler.read(part(&mut rest)?)?);
    }
    Ok((plan, artifacts))
}

/// Who answers an import.
#[derive(Clone, Copy)]
pub(crate) enum Answerer {
    /// A function of our own world.
    World(Import),
    /// A function of the embedder, by its position.
    Extension(usize),
    /// A function of WASI.
    Wasi(wasi::Function),
}

/// A core function of the host, as core instances import it.
pub(crate) struct CoreImport {
    pub(crate) signature: Signature,
    pub(crate) parameters: usize,
}

/// A function that the component exports.
#[derive(Clone, Debug)]
pub(crate) struct Lifted {
    pub(crate) function: TypeFuncIndex,
    pub(crate) core: CoreDef,
    pub(crate) options: OptionsIndex,
    /// Its place among the lifted functions of an instance.
    pub(crate) slot: usize,
}

/// Links compiled code with what it imports, and finds what it exports.
fn link(
    shared: &Arc<Shared>,
    compiler: Compiler,
    plan: Plan,
    artifacts: Vec<Arc<Artifact>>,
    counting: Counting,
    origin: CodeOrigin,
    options: &LoadOptions,
) -> Result<Loaded> {
    let (mut interface, unusual) = types::interface(&plan.types, plan.itself).map_err(|TooLarge| {
        WasmError::unloadable(LoadFault::Invalid)
            .saying("the types of the component are too large to be read")
    })?;
    for instance in &mut interface.imports {
        let offered = offered_name(&options.extensions, &instance.name);
        for function in &mut instance.functions {
            function.requires = offered.as_deref().and_then(|name| required_capability(name, &function.name));
        }
    }
    extensions::check_imports(&options.extensions, &mut interface)?;
    let missing = missing(&options.extensions, &interface, &unusual);
    if !missing.is_empty() {
        return Err(unknown_imports(&options.extensions, &missing));
    }
    check_types(&interface)?;
    let answerers = answerers(&plan, &options.extensions)?;
    let trampolines = plan.component.trampolines.iter().map(|(_, kind)| {
        let signature = compiler.signature(function_type(plan.types.module_types()[*kind].unwrap_func()));
        CoreImport { parameters: signature.kind.params().len(), signature }
    });
    let trampolines = trampolines.collect();
    let check = match counting {
        Counting::Epochs => FunctionType::new(vec![], vec![]),
        Counting::Fuel => FunctionType::new(vec![Type::I64], vec![Type::I64]),
    };
    let exports = exports(&plan);
    let host_resources =
        plan.component.imported_resources.values().map(|import| name(&plan, *import).1.into());
    let host_resources = host_resources.collect();
    let ours = |name: &str| {
        let instance = interface.export(name)?;
        let (_, functions) = WORLD_EXPORTS.iter().find(|(interface, _)| *interface == name)?;
        functions
            .iter()
            .all(|(name, signature)| {
                instance.function(name).is_some_and(|function| function.signature() == *signature)
            })
            .then_some(())
    };
    Ok(Loaded {
        shared: Arc::clone(shared),
        resources: Arc::new(ResourceTypes::of(&plan.component, &plan.types, plan.resource_tables)),
        check: compiler.signature(check),
        room: compiler.signature(FunctionType::new(vec![], vec![])),
        grow: compiler.signature(FunctionType::new(vec![Type::I32, Type::I32], vec![Type::I32])),
        is_component: ours(COMPONENT).is_some(),
        takes_replies: ours(REPLIES).is_some(),
        imports_wasi: interface.imports.iter().any(|instance| instance.name.starts_with("wasi:")),
        host_resources,
        trampolines,
        answerers,
        exports,
        artifacts,
        counting,
        origin,
        interface,
        plan,
        definitions: options.extensions.as_slice().into(),
        _compiler: compiler,
    })
}

/// Every import that nothing answers, as `interface#function`.
fn missing(
    definitions: &[HostFunctionDefinition],
    interface: &WitInterface,
    unusual: &[Unusual],
) -> Vec<String> {
    let unusual = unusual.iter().filter(|item| !item.is_empty || !is_offered(definitions, &item.name));
    let mut missing: Vec<_> = unusual.map(|item| format!("{} ({})", item.name, item.kind)).collect();
    for instance in &interface.imports {
        for function in &instance.functions {
            if answerer(definitions, &instance.name, &function.name).is_none() {
                missing.push(match instance.name.as_str() {
                    "" => function.name.clone(),
                    name => format!("{name}#{}", function.name),
                });
            }
        }
    }
    missing
}

/// Checks that our own functions and those of WASI are imported with the types that they have.
fn check_types(interface: &WitInterface) -> Result<()> {
    for instance in &interface.imports {
        let wasi = instance.name.split_once('@').filter(|(name, _)| name.starts_with("wasi:"));
        for function in &instance.functions {
            if let Some((expected, found)) =
                wasi.and_then(|(name, _)| wasi::signatures::mismatch(name, function))
            {
                extensions::check_type(&instance.name, &found, expected)?;
            }
        }
        let ours = WORLD_IMPORTS.iter().find(|(name, _)| compatible(name, &instance.name));
        for function in &instance.functions {
            let signature =
                ours.and_then(|(_, functions)| functions.iter().find(|(name, _)| *name == function.name));
            if let Some((_, signature)) = signature {
                extensions::check_type(&instance.name, function, signature)?;
            }
        }
    }
    Ok(())
}

fn answerer(definitions: &[HostFunctionDefinition], interface: &str, function: &str) -> Option<Answerer> {
    let extension = definitions.iter().position(|definition| {
        definition.function.name == function && compatible(&definition.interface, interface)
    });
    if let Some(position) = extension {
        return Some(Answerer::Extension(position));
    }
    if let Some((offered, _)) = WORLD_IMPORTS.iter().find(|(offered, _)| compatible(offered, interface)) {
        return host::find(offered, function).map(Answerer::World);
    }
    let offered = offered_wasi().find(|offered| compatible(offered, interface))?;
    let (name, _) = offered.split_once('@')?;
    wasi::find(name, function).map(Answerer::Wasi)
}

/// Who answers each function that core code calls, by its index among the lowered ones.
fn answerers(plan: &Plan, definitions: &[HostFunctionDefinition]) -> Result<Box<[Answerer]>> {
    use wasmtime_environ::component::GlobalInitializer;

    let lowered = plan.component.initializers.iter().filter_map(|initializer| match initializer {
        GlobalInitializer::LowerImport { import, .. } => Some(*import),
        _ => None,
    });
    lowered
        .map(|import| {
            let (interface, function) = name(plan, import);
            answerer(definitions, &interface, &function)
                .ok_or_else(|| unknown_imports(definitions, &[format!("{interface}#{function}")]))
        })
        .collect()
}

/// The interface and the name of an imported function.
fn name(plan: &Plan, import: RuntimeImportIndex) -> (String, String) {
    let (root, path) = &plan.component.imports[import];
    let root = &plan.component.import_types[*root].0;
    match path.split_last() {
        Some((function, _)) => (root.clone(), function.clone()),
        None => (String::new(), root.clone()),
    }
}

fn function_type(kind: &wasmtime_environ::WasmFuncType) -> FunctionType {
    let types = |types: &[WasmValType]| types.iter().map(value_type).collect::<Vec<_>>();
    FunctionType::new(types(kind.params()), types(kind.results()))
}

fn value_type(kind: &WasmValType) -> Type {
    match kind {
        WasmValType::I32 => Type::I32,
        WasmValType::I64 => Type::I64,
        WasmValType::F32 => Type::F32,
        WasmValType::F64 => Type::F64,
        WasmValType::V128 => Type::V128,
        WasmValType::Ref(_) => Type::FuncRef,
    }
}

type Exports = HashMap<Box<str>, HashMap<Box<str>, Lifted>>;

fn exports(plan: &Plan) -> Exports {
    let component = &plan.component;
    let mut slots = 0..;
    let mut lifted = |index: ExportIndex| match &component.export_items[index] {
        Export::LiftedFunction { ty, func, options } => {
            Some(Lifted { function: *ty, core: func.clone(), options: *options, slot: slots.next()? })
        }
        _ => None,
    };
    let mut exports = Exports::new();
    for (name, (index, _)) in component.exports.raw_iter() {
        if let Export::Instance { exports: items, .. } = &component.export_items[*index] {
            let functions = items
                .raw_iter()
                .filter_map(|(name, (index, _))| Some((Box::from(name.as_str()), lifted(*index)?)));
            exports.insert(Box::from(name.as_str()), functions.collect());
        } else if let Some(function) = lifted(*index) {
            exports.entry(Box::default()).or_default().insert(Box::from(name.as_str()), function);
        }
    }
    exports
}

/// A loaded component, as the host holds it.
#[derive(Debug)]
struct LoadedHandle(Arc<Loaded>);

/// A loaded component, as its instances hold it.
pub(crate) struct Loaded {
    pub(crate) shared: Arc<Shared>,
    pub(crate) plan: Plan,
    pub(crate) artifacts: Vec<Arc<Artifact>>,
    pub(crate) counting: Counting,
    pub(crate) resources: Arc<ResourceTypes>,
    /// By their index.
    pub(crate) trampolines: Box<[CoreImport]>,
    /// By the index of the lowered function.
    pub(crate) answerers: Box<[Answerer]>,
    pub(crate) check: Signature,
    pub(crate) grow: Signature,
    pub(crate) room: Signature,
    /// The names of the resources that it imports, by their index.
    pub(crate) host_resources: Box<[Box<str>]>,
    pub(crate) imports_wasi: bool,
    /// Whether it exports `component` as we know it.
    pub(crate) is_component: bool,
    /// Whether it exports `replies` as we know it.
    pub(crate) takes_replies: bool,
    pub(crate) definitions: Arc<[HostFunctionDefinition]>,
    exports: Exports,
    interface: WitInterface,
    origin: CodeOrigin,
    /// Owns the code of the artifacts.
    _compiler: Compiler,
}

impl Loaded {
    /// Where an export is.
    pub(crate) fn export(&self, name: &ExportName) -> Option<&Lifted> {
        self.find(name.interface().unwrap_or_default(), name.function())
    }

    pub(crate) fn find(&self, interface: &str, function: &str) -> Option<&Lifted> {
        self.exports.get(interface)?.get(function)
    }

    /// Every lifted function.
    pub(crate) fn lifted(&self) -> impl Iterator<Item = &Lifted> {
        self.exports.values().flat_map(HashMap::values)
    }

    /// The error for an export that is not there.
    pub(crate) fn no_export(&self, operation: &'static str, name: &ExportName) -> WasmError {
        call::no_export(operation, &self.interface, name)
    }

    /// The fuel of one call: what the budget gives, and no end of it where it gives none.
    pub(crate) fn check_fuel(&self, operation: &'static str, budget: CallBudget) -> Result<Option<u64>> {
        call::check_fuel(operation, self.counting == Counting::Fuel, budget)
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("origin", &self.origin)
            .field("counting", &self.counting)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl LoadedComponent for LoadedHandle {
    fn interface(&self) -> &WitInterface {
        &self.0.interface
    }

    fn origin(&self) -> CodeOrigin {
        self.0.origin
    }

    async fn instantiate(
        &self,
        limits: &ResourceLimits,
        services: HostServices,
        budget: CallBudget,
    ) -> Result<Box<dyn Component>> {
        extensions::check_given(&self.0.definitions, &services.extensions)?;
        let instance = Instance::make(Arc::clone(&self.0), limits, services, budget).await?;
        Ok(Box::new(instance))
    }
}
