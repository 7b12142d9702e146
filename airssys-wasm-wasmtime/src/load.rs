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
use async_trait::async_trait;
use tokio::runtime::Handle;
use wasmtime::component::{Component as WasmtimeComponent, ComponentExportIndex, InstancePre, Linker};

use crate::bindings::guest::exports::airssys::core::component as guest;
use crate::bindings::optional::exports::airssys::core::{migration, replies};
use crate::code_cache::Entry;
use crate::engine::{Flavour, Prepared, Shared};
use crate::instance::{Instance, State};
use crate::types::{self, Unusual};
use crate::{extensions, fault, wasi};

/// The most imports that an error names one by one, and the most characters of each.
const MAX_NAMED: usize = 40;
const MAX_NAME: usize = 200;

/// Loads a component off the threads that run asynchronous tasks, where there are any.
pub(crate) async fn load(shared: &Arc<Shared>, wasm: &[u8], options: LoadOptions) -> Result<ComponentHandle> {
    diagnose(wasm)?;
    extensions::check(&options.extensions)?;
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
    let mut entries = vec![(preferred, Entry::new(wasm, environment, preferred))];
    if !preferred.on_demand {
        let on_demand = Flavour { on_demand: true, ..preferred };
        entries.push((on_demand, Entry::new(wasm, environment, on_demand)));
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
            && let Some(component) = cache.read(entry, &shared.flavour(*flavour)?.engine)
        {
            return link(shared, *flavour, &component, CodeOrigin::Cache, options).map(Some);
        }
    }
    Ok(None)
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
        let entry = Entry::new(blake3::hash(wasm), shared.flavour(preferred)?.environment, flavour);
        cache.write(&entry, &component);
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
        .map_err(|types::TooLarge| {
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
    extensions::check_imports(&options.extensions, &mut interface)?;
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

/// What can be told from the first bytes, and from the lengths of the sections.
fn diagnose(wasm: &[u8]) -> Result<()> {
    const MAGIC: &[u8] = b"\0asm";
    const MODULE: &[u8] = &[1, 0, 0, 0];
    const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

    if wasm.is_empty() || !(wasm.starts_with(MAGIC) || MAGIC.starts_with(wasm)) {
        let advice = if wasm.trim_ascii_start().starts_with(b"(") {
            "this is the text format: make a binary of it with `wasm-tools parse`"
        } else {
            "name a component: a `.wasm` file made by a toolchain that targets the Component Model"
        };
        let start = wasm.get(..4).unwrap_or(wasm).escape_ascii();
        return Err(WasmError::unloadable(LoadFault::NotWebAssembly)
            .with("bytes", wasm.len())
            .with("start", start)
            .advising(advice));
    }
    let truncated = || {
        WasmError::unloadable(LoadFault::Truncated)
            .with("bytes", wasm.len())
            .advising("fetch or build the component again")
    };
    let (version, sections) = match wasm.get(4..8) {
        Some(version) => (version, &wasm[8..]),
        None => return Err(truncated()),
    };
    if version == MODULE {
        return Err(WasmError::unloadable(LoadFault::CoreModule).advising(
            "build for the target `wasm32-wasip2`, or make a component of it with `wasm-tools component new`",
        ));
    }
    if version != COMPONENT {
        return Err(WasmError::unloadable(LoadFault::Invalid)
            .saying("the binary is of a version of WebAssembly that this host does not know")
            .with("version", version.escape_ascii()));
    }
    if is_cut_short(sections) { Err(truncated()) } else { Ok(()) }
}

/// Whether the last section says that it is longer than what is left.
fn is_cut_short(mut sections: &[u8]) -> bool {
    while let Some((_, rest)) = sections.split_first() {
        let mut length = 0_u64;
        let mut read = 0;
        loop {
            let Some(byte) = rest.get(read) else { return true };
            length |= u64::from(byte & 0x7f) << (7 * read);
            read += 1;
            if byte & 0x80 == 0 {
                break;
            }
            if read == 5 {
                // No length at all: the validator knows better what to say.
                return false;
            }
        }
        match usize::try_from(length).ok().and_then(|length| rest.get(read..)?.get(length..)) {
            Some(next) => sections = next,
            None => return true,
        }
    }
    false
}

/// The name under which one of our interfaces, or an extension's, answers the import `name`.
fn offered_name(extensions: &[HostFunctionDefinition], name: &str) -> Option<String> {
    let ours = WORLD_IMPORTS.iter().map(|(interface, _)| *interface);
    let theirs = extensions.iter().map(|definition| definition.interface.as_str());
    ours.chain(theirs).find(|offered| compatible(offered, name)).map(str::to_owned)
}

fn is_offered(extensions: &[HostFunctionDefinition], name: &str) -> bool {
    offered_name(extensions, name).is_some() || wasi::interfaces().any(|offered| compatible(&offered, name))
}

/// Whether an interface of the name `offered` answers the import `wanted`: the same, or another version that promises to be
/// compatible. So Wasmtime links, too.
pub(crate) fn compatible(offered: &str, wanted: &str) -> bool {
    offered == wanted
        || matches!(
            (split_version(offered), split_version(wanted)),
            ((offered, Some(have)), (wanted, Some(want))) if offered == wanted && track(have).is_some() && track(have) == track(want)
        )
}

fn split_version(name: &str) -> (&str, Option<&str>) {
    name.split_once('@').map_or((name, None), |(name, version)| (name, Some(version)))
}

/// The part of a version that must be equal for two to be compatible; none for a version that is so with no other.
fn track(version: &str) -> Option<(u64, u64)> {
    if version.contains('-') {
        return None;
    }
    let mut numbers = version.split('+').next()?.split('.').map(str::parse::<u64>);
    match (numbers.next()?.ok()?, numbers.next()?.ok()?) {
        (0, 0) => None,
        (0, minor) => Some((0, minor)),
        (major, _) => Some((major, 0)),
    }
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
            extensions::check_type(&instance.name, function, signature).err()
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
        let wasi = wasi::interfaces().find(|offered| compatible(offered, &instance.name));
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

fn unknown_imports(definitions: &[HostFunctionDefinition], missing: &[String]) -> WasmError {
    let ours = WORLD_IMPORTS.iter().flat_map(|(interface, functions)| {
        functions.iter().map(move |(function, _)| format!("{interface}#{function}"))
    });
    let theirs = definitions.iter().map(|definition| match definition.interface.as_str() {
        "" => definition.function.name.clone(),
        interface => format!("{interface}#{}", definition.function.name),
    });
    let functions: Vec<_> = ours.chain(theirs).collect();
    let mut interfaces: Vec<_> = functions
        .iter()
        .map(|function| {
            function.split_once('#').map_or(function.as_str(), |(interface, _)| interface).to_owned()
        })
        .chain(wasi::interfaces())
        .collect();
    interfaces.dedup();
    let hints: Vec<_> =
        missing.iter().take(3).filter_map(|name| hint(name, &functions, &interfaces)).collect();
    let mut error = WasmError::unloadable(LoadFault::UnknownImports)
        .with("missing", list(missing))
        .with("offered", list(&interfaces));
    if !hints.is_empty() {
        error = error.with("hint", hints.join("; "));
    }
    error.advising("load the component on a host that provides these functions, or build it without them")
}

/// What a missing import may have been meant to be.
fn hint(missing: &str, functions: &[String], interfaces: &[String]) -> Option<String> {
    let interface = missing.split_once('#').map_or(missing, |(interface, _)| interface);
    let (name, _) = split_version(interface);
    if let Some(other) =
        interfaces.iter().find(|offered| split_version(offered).0 == name && !compatible(offered, interface))
    {
        return Some(format!("`{}` is offered as `{other}`", fault::escaped(interface, MAX_NAME)));
    }
    // Comparing takes the square of the length.
    if missing.len() > MAX_NAME {
        return None;
    }
    let near = |candidate: &&String| strsim::jaro_winkler(candidate, missing) > 0.9;
    let closest = |left: &&String, right: &&String| {
        strsim::jaro_winkler(left, missing).total_cmp(&strsim::jaro_winkler(right, missing))
    };
    let found = functions.iter().chain(interfaces).filter(near).max_by(closest)?;
    Some(format!("`{}` is close to `{found}`", fault::escaped(missing, MAX_NAME)))
}

fn list(names: &[String]) -> String {
    let named: Vec<_> = names.iter().take(MAX_NAMED).map(|name| fault::escaped(name, MAX_NAME)).collect();
    let mut text = named.join(", ");
    if names.len() > MAX_NAMED {
        text.push_str(&format!(" and {} more", names.len() - MAX_NAMED));
    }
    text
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

    /// Whether it was loaded with functions of the embedder.
    pub(crate) fn has_extensions(&self) -> bool {
        !self.definitions.is_empty()
    }

    /// The error for an export that is not there.
    pub(crate) fn no_export(&self, operation: &'static str, name: &ExportName) -> WasmError {
        let exports: Vec<_> = self
            .interface
            .exports
            .iter()
            .flat_map(|instance| {
                instance.functions.iter().map(|function| match instance.name.as_str() {
                    "" => function.name.clone(),
                    interface => format!("{interface}#{}", function.name),
                })
            })
            .collect();
        WasmError::new(ErrorKind::ComponentNotFound, operation)
            .saying("the component does not export this function")
            .with("export", fault::guest_text(&name.to_string()))
            .with("exported", list(&exports))
    }

    /// The fuel of one call: what the budget gives, and no end of it where it gives none.
    pub(crate) fn check_fuel(&self, operation: &'static str, budget: CallBudget) -> Result<Option<u64>> {
        match (self.metered, budget.fuel) {
            (true, fuel) => Ok(Some(fuel.map_or(u64::MAX, std::num::NonZeroU64::get))),
            (false, None) => Ok(None),
            (false, Some(_)) => Err(WasmError::new(ErrorKind::InvalidConfiguration, operation)
                .saying("a call is given fuel, and the component was loaded without metering")
                .advising("load the component with `Metering::Fuel`")),
        }
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
        extensions::check_given(&self.0.definitions, &services.extensions)?;
        let instance = Instance::make(Arc::clone(&self.0), limits, services, budget).await?;
        Ok(Box::new(instance))
    }
}

#[cfg(test)]
mod tests {
    use airssys_wasm_core::error::Detail;

    use super::*;

    #[test]
    fn versions_on_one_track_are_compatible() {
        let check = |offered: &str, wanted: &str, expected: bool| {
            assert_eq!(compatible(offered, wanted), expected, "{offered} for {wanted}");
        };
        check("a:b/c", "a:b/c", true);
        check("a:b/c@0.2.12", "a:b/c@0.2.0", true);
        check("a:b/c@0.2.0", "a:b/c@0.2.12", true);
        check("a:b/c@0.2.0", "a:b/c@0.3.0", false);
        check("a:b/c@1.2.0", "a:b/c@1.9.9", true);
        check("a:b/c@1.2.0", "a:b/c@2.0.0", false);
        check("a:b/c@0.0.1", "a:b/c@0.0.2", false);
        check("a:b/c@0.0.1", "a:b/c@0.0.1", true);
        check("a:b/c@1.0.0-rc.1", "a:b/c@1.0.0", false);
        check("a:b/c@1.0.0-rc.1", "a:b/c@1.0.0-rc.1", true);
        check("a:b/c@1.0.0", "a:b/c", false);
        check("a:b/c@1.0.0", "a:b/d@1.0.0", false);
    }

    #[test]
    fn the_first_bytes_tell_what_it_is() {
        let check = |wasm: &[u8], expected: Option<LoadFault>| {
            let found = diagnose(wasm).err().and_then(|error| error.detail());
            assert_eq!(found, expected.map(Detail::Load), "{wasm:?}");
        };
        check(b"", Some(LoadFault::NotWebAssembly));
        check(b"(component)", Some(LoadFault::NotWebAssembly));
        check(b"\x7fELF", Some(LoadFault::NotWebAssembly));
        check(b"\0as", Some(LoadFault::Truncated));
        check(b"\0asm\x0d\0", Some(LoadFault::Truncated));
        check(b"\0asm\x01\0\0\0", Some(LoadFault::CoreModule));
        check(b"\0asm\x0e\0\x01\0", Some(LoadFault::Invalid));
        check(b"\0asm\x0d\0\x01\0", None);
        check(b"\0asm\x0d\0\x01\0\0", Some(LoadFault::Truncated));
        check(b"\0asm\x0d\0\x01\0\0\x02a", Some(LoadFault::Truncated));
        check(b"\0asm\x0d\0\x01\0\0\x01a", None);
        check(b"\0asm\x0d\0\x01\0\0\xff\xff\xff\xff\xff", None);
    }
}
