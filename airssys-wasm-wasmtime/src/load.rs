//! From bytes to a component that can be instantiated, with a diagnosis where that fails.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::error::{ErrorKind, LoadFault, Result, WasmError};
use airssys_wasm_core::interface::{WORLD_IMPORTS, WitInterface, required_capability};
use airssys_wasm_core::runtime::{
    CallBudget, CodeOrigin, Component, ComponentHandle, ExportName, HostFunctionDefinition, HostServices,
    LoadOptions, LoadedComponent,
};
use airssys_wasm_engine::code_cache::{CodeCache, Entry};
use airssys_wasm_engine::imports::{compatible, is_offered, offered_name, unknown_imports};
use airssys_wasm_engine::types::{TooLarge, Unusual};
use airssys_wasm_engine::wasi::interfaces as offered_wasi;
use airssys_wasm_engine::{binary, call, extensions as checks};
use async_trait::async_trait;
use tokio::runtime::Handle;
use wasmtime::Engine;
use wasmtime::component::{Component as WasmtimeComponent, ComponentExportIndex, InstancePre, Linker};

use crate::bindings::guest::exports::airssys::core::component as guest;
use crate::bindings::optional::exports::airssys::core::{migration, replies};
use crate::engine::{Flavour, Prepared, Shared};
use crate::instance::{Instance, State};
use crate::types;
use crate::{extensions, fault, wasi};

/// Loads a component off the threads that run asynchronous tasks, where there are any.
pub(crate) async fn load(shared: &Arc<Shared>, wasm: &[u8], options: LoadOptions) -> Result<ComponentHandle> {
    binary::diagnose(wasm)?;
    checks::check(&options.extensions)?;
    let loaded = match Handle::try_current() {
        Ok(runtime) => match find_elsewhere(&runtime, shared, wasm, &options).await? {
            Some(loaded) => loaded,
            None => {
                let (shared, wasm) = (Arc::clone(shared), Box::<[u8]>::from(wasm));
                elsewhere(&runtime, move || compile(&shared, &wasm, &options)).await?
            }
        },
        Err(_) => match find(shared, &entries(shared, wasm, &options)?, &options)? {
            Some(loaded) => loaded,
            None => compile(shared, wasm, &options)?,
        },
    };
    Ok(ComponentHandle::new(loaded))
}

/// Runs what takes long on a thread for that.
async fn elsewhere<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    runtime.spawn_blocking(work).await.map_err(|stopped| {
        WasmError::new(ErrorKind::Internal, "load")
            .saying("the thread that loaded the component was stopped")
            .because(stopped)
    })?
}

/// Looks into the cache. The bytes are hashed here: to copy them for another thread costs as much.
async fn find_elsewhere(
    runtime: &Handle,
    shared: &Arc<Shared>,
    wasm: &[u8],
    options: &LoadOptions,
) -> Result<Option<LoadedHandle>> {
    let preferred = shared.preferred(options.metering);
    if !shared.is_prepared(preferred) {
        let shared = Arc::clone(shared);
        elsewhere(runtime, move || shared.flavour(preferred).map(drop)).await?;
    }
    let entries = entries(shared, wasm, options)?;
    if entries.is_empty() {
        return Ok(None);
    }
    let (shared, options) = (Arc::clone(shared), options.clone());
    elsewhere(runtime, move || find(&shared, &entries, &options)).await
}

/// Where the code of a component may be in the cache. None without a cache.
fn entries(shared: &Shared, wasm: &[u8], options: &LoadOptions) -> Result<Vec<(Flavour, Entry)>> {
    if shared.cache.is_none() {
        return Ok(Vec::new());
    }
    let preferred = shared.preferred(options.metering);
    let environment = shared.flavour(preferred)?.environment;
    let wasm = blake3::hash(wasm);
    let mut entries = vec![(preferred, Entry::new(wasm, environment, &preferred.name()))];
    if !preferred.on_demand {
        let on_demand = Flavour { on_demand: true, ..preferred };
        entries.push((on_demand, Entry::new(wasm, environment, &on_demand.name())));
    }
    Ok(entries)
}

fn find(
    shared: &Arc<Shared>,
    entries: &[(Flavour, Entry)],
    options: &LoadOptions,
) -> Result<Option<LoadedHandle>> {
    let Some(cache) = &shared.cache else { return Ok(None) };
    for (flavour, entry) in entries {
        if cache.has(entry)
            && let Some(component) = read(cache, entry, &shared.flavour(*flavour)?.engine)
        {
            return link(shared, *flavour, &component, CodeOrigin::Cache, options).map(Some);
        }
    }
    Ok(None)
}

/// Takes code out of the cache.
fn read(cache: &CodeCache, entry: &Entry, engine: &Engine) -> Option<WasmtimeComponent> {
    cache.read(entry, |path| {
        // SAFETY: these are bytes that `compile` got from `Component::serialize`: the cache has just compared them with a seal that
        // only this user can make, and only this user can put another file there.
        #[expect(unsafe_code, reason = "Wasmtime trusts compiled code, and cannot check it")]
        unsafe { WasmtimeComponent::deserialize_file(engine, path) }.map_err(|error| fault::chain(&error))
    })
}

/// Compiles a component, and keeps its code in the cache where there is one.
fn compile(shared: &Arc<Shared>, wasm: &[u8], options: &LoadOptions) -> Result<LoadedHandle> {
    let preferred = shared.preferred(options.metering);
    let (flavour, component) = match compile_for(shared, preferred, wasm) {
        Err(error) if !preferred.on_demand && is_too_large_for_a_slot(&error) => {
            let on_demand = Flavour { on_demand: true, ..preferred };
            (on_demand, compile_for(shared, on_demand, wasm)?)
        }
        compiled => (preferred, compiled?),
    };
    if let Some(cache) = &shared.cache {
        let entry = Entry::new(blake3::hash(wasm), shared.flavour(preferred)?.environment, &flavour.name());
        match component.serialize() {
            Ok(code) => cache.write(&entry, &code),
            Err(error) => {
                tracing::warn!(error = fault::plain(&error), "compiled code could not be written out");
            }
        }
    }
    link(shared, flavour, &component, CodeOrigin::Compiled, options)
}

fn compile_for(shared: &Shared, flavour: Flavour, wasm: &[u8]) -> Result<WasmtimeComponent> {
    let Prepared { engine, .. } = shared.flavour(flavour)?;
    let compiled = catch_unwind(AssertUnwindSafe(|| WasmtimeComponent::from_binary(engine, wasm)));
    compiled
        .map_err(|panic| {
            WasmError::unloadable(LoadFault::Invalid)
                .saying("the compiler gave up on the binary")
                .because(fault::of_panic("compile", &*panic))
        })?
        .map_err(|error| {
            WasmError::unloadable(LoadFault::Invalid)
                .because(fault::chain(&error))
                .advising("check the binary with `wasm-tools validate`")
        })
}

/// Links compiled code with what it imports, and finds what it exports.
fn link(
    shared: &Arc<Shared>,
    flavour: Flavour,
    component: &WasmtimeComponent,
    origin: CodeOrigin,
    options: &LoadOptions,
) -> Result<LoadedHandle> {
    let prepared = shared.flavour(flavour)?;
    let (mut interface, mut unusual) = types::interface(&component.component_type(), &prepared.engine)
        .map_err(|TooLarge| {
            WasmError::unloadable(LoadFault::Invalid)
                .saying("the types of the component are too large to be read")
        })?;
    unusual.retain(|import| !import.is_empty || !is_offered(&options.extensions, &import.name));
    for instance in &mut interface.imports {
        let offered = offered_name(&options.extensions, &instance.name);
        for function in &mut instance.functions {
            function.requires = offered.as_deref().and_then(|name| required_capability(name, &function.name));
        }
    }
    checks::check_imports(&options.extensions, &mut interface)?;
    let definitions: Arc<[HostFunctionDefinition]> = options.extensions.as_slice().into();
    let extended;
    let linker = if definitions.is_empty() {
        &prepared.linker
    } else {
        let mut linker = prepared.linker.clone();
        extensions::add_to_linker(&mut linker, &definitions)?;
        extended = linker;
        &extended
    };
    let pre = linker
        .instantiate_pre(component)
        .map_err(|error| unlinkable(linker, &definitions, &interface, &unusual, &error))?;
    if !unusual.is_empty() {
        // Wasmtime links an interface of which nothing is imported, whatever its name.
        return Err(unknown_imports(&definitions, &missing(linker, &definitions, &interface, &unusual)));
    }
    Ok(LoadedHandle(Arc::new(Loaded {
        shared: Arc::clone(shared),
        component: guest::GuestIndices::new(&pre).ok(),
        replies: replies::GuestIndices::new(&pre).ok(),
        migration: migration::GuestIndices::new(&pre).ok(),
        exports: exports(component, &interface),
        imports_wasi: wasi::is_imported(&interface),
        metered: flavour.metered,
        definitions,
        interface,
        origin,
        pre,
    })))
}

/// Whether a binary was refused only because the pool has no slot of its size. Wasmtime says so in words alone.
fn is_too_large_for_a_slot(error: &WasmError) -> bool {
    std::error::Error::source(error).map(ToString::to_string).is_some_and(|text| {
        [
            "pooling allocator",
            "exceeds the limit of",
            "exceeds the per-instance limit",
            "exceeds the total tables limit",
        ]
        .iter()
        .any(|part| text.contains(part))
    })
}

/// Says which imports are missing, or of another type, when linking failed.
fn unlinkable(
    linker: &Linker<State>,
    definitions: &[HostFunctionDefinition],
    interface: &WitInterface,
    unusual: &[Unusual],
    error: &wasmtime::Error,
) -> WasmError {
    let missing = missing(linker, definitions, interface, unusual);
    if !missing.is_empty() {
        return unknown_imports(definitions, &missing);
    }
    let ours = interface.imports.iter().find_map(|instance| {
        let (_, functions) = WORLD_IMPORTS.iter().find(|(name, _)| compatible(name, &instance.name))?;
        instance.functions.iter().find_map(|function| {
            let (_, signature) = functions.iter().find(|(name, _)| *name == function.name)?;
            checks::check_type(&instance.name, function, signature).err()
        })
    });
    ours.unwrap_or_else(|| WasmError::unloadable(LoadFault::ImportType)).because(fault::chain(error))
}

/// Every import that nothing answers, as `interface#function`.
fn missing(
    linker: &Linker<State>,
    definitions: &[HostFunctionDefinition],
    interface: &WitInterface,
    unusual: &[Unusual],
) -> Vec<String> {
    // A linker tells what it has only by refusing to be given it again.
    let mut linker = linker.clone();
    let mut missing: Vec<_> = unusual.iter().map(|item| format!("{} ({})", item.name, item.kind)).collect();
    for instance in &interface.imports {
        let wasi = offered_wasi().find(|offered| compatible(offered, &instance.name));
        let offered = offered_name(definitions, &instance.name).or(wasi);
        for function in &instance.functions {
            let is_free = |name: &str| {
                let mut found = if name.is_empty() { linker.root() } else { linker.instance(name).ok()? };
                found.func_new(&function.name, |_, _, _, _| Ok(())).ok()
            };
            if offered.as_deref().map(is_free).is_none_or(|free| free.is_some()) {
                missing.push(match instance.name.as_str() {
                    "" => function.name.clone(),
                    name => format!("{name}#{}", function.name),
                });
            }
        }
    }
    missing
}

type Exports = HashMap<Box<str>, HashMap<Box<str>, ComponentExportIndex>>;

fn exports(component: &WasmtimeComponent, interface: &WitInterface) -> Exports {
    let mut exports = Exports::new();
    for instance in &interface.exports {
        let index = component.get_export_index(None, &instance.name);
        let functions = instance.functions.iter().filter_map(|function| {
            let index = component.get_export_index(index.as_ref(), &function.name)?;
            Some((function.name.as_str().into(), index))
        });
        exports.insert(instance.name.as_str().into(), functions.collect());
    }
    exports
}

/// A loaded component, as the host holds it.
#[derive(Debug)]
struct LoadedHandle(Arc<Loaded>);

/// A loaded component, as its instances hold it.
pub(crate) struct Loaded {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pre: InstancePre<State>,
    pub(crate) component: Option<guest::GuestIndices>,
    pub(crate) replies: Option<replies::GuestIndices>,
    pub(crate) migration: Option<migration::GuestIndices>,
    pub(crate) imports_wasi: bool,
    exports: Exports,
    interface: WitInterface,
    origin: CodeOrigin,
    metered: bool,
    definitions: Arc<[HostFunctionDefinition]>,
}

impl Loaded {
    /// Where an export is.
    pub(crate) fn export(&self, name: &ExportName) -> Option<&ComponentExportIndex> {
        self.exports.get(name.interface().unwrap_or_default())?.get(name.function())
    }

    /// The error for an export that is not there.
    pub(crate) fn no_export(&self, operation: &'static str, name: &ExportName) -> WasmError {
        call::no_export(operation, &self.interface, name)
    }

    /// The fuel of one call: what the budget gives, and no end of it where it gives none.
    pub(crate) fn check_fuel(&self, operation: &'static str, budget: CallBudget) -> Result<Option<u64>> {
        call::check_fuel(operation, self.metered, budget)
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("origin", &self.origin)
            .field("metered", &self.metered)
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
        checks::check_given(&self.0.definitions, &services.extensions)?;
        let instance = Instance::make(Arc::clone(&self.0), limits, services, budget).await?;
        Ok(Box::new(instance))
    }
}
