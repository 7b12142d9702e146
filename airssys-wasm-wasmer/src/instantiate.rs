//! Carries out the plan of a component: core instances in order, each with the imports that the plan names.

use std::ptr::NonNull;

use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use wasmer_types::Type;
use wasmer_vm::VMExtern;
use wasmtime_environ::EntityIndex;
use wasmtime_environ::component::{
    CoreDef, CoreExport, ExportItem, GlobalInitializer, InstantiateModule, StaticModuleIndex,
};

use crate::bounds::Bounds;
use crate::fault;
use crate::instrument::Counting;
use crate::store::Store;
use crate::trampolines::{self, Tables, Target};
use crate::translate::{Item, ModulePlan};
use crate::vm::{CoreFunction, CoreGlobal, CoreInstances, again};

const OPERATION: &str = "instantiate";

/// What core instances import, while they are made.
pub(crate) struct Linkage {
    may_leave: Vec<VMExtern>,
    may_block: VMExtern,
    trampolines: Vec<Option<VMExtern>>,
    check: Option<VMExtern>,
    meter: VMExtern,
    /// Stands for the engine's epoch until the instance is made.
    epoch: VMExtern,
    /// The modules of the instances made so far.
    modules: Vec<StaticModuleIndex>,
}

/// What the host keeps of it.
pub(crate) struct Globals {
    pub(crate) may_leave: Box<[CoreGlobal]>,
    pub(crate) meter: CoreGlobal,
}

impl Linkage {
    /// The globals that the host shares with the guest.
    pub(crate) fn new(
        core: &mut CoreInstances,
        inner_components: u32,
        trampolines: usize,
    ) -> (Self, Globals) {
        let mut may_leave = Vec::new();
        let mut flags = Vec::new();
        for _ in 0..inner_components {
            let (flag, import) = core.add_global(Type::I32);
            flag.set_i32(1);
            flags.push(flag);
            may_leave.push(import);
        }
        let (_, may_block) = core.add_global(Type::I32);
        let (meter, meter_import) = core.add_global(Type::I64);
        let (_, epoch) = core.add_global(Type::I64);
        let linkage = Self {
            may_leave,
            may_block,
            trampolines: (0..trampolines).map(|_| None).collect(),
            check: None,
            meter: meter_import,
            epoch,
            modules: Vec::new(),
        };
        (linkage, Globals { may_leave: flags.into(), meter })
    }
}

/// Makes everything that the plan names. Runs on a fiber: start functions are guest code.
///
/// # Errors
/// What the limits of the component do not allow, and what ends a start function.
#[expect(unsafe_code, reason = "calls start functions")]
pub(crate) fn instantiate(store: &Store, linkage: &mut Linkage) -> Result<()> {
    let plan = &store.loaded.plan;
    for initializer in &plan.component.initializers {
        store.check_time()?;
        if store.is_slice_over() {
            store.next_slice();
            // SAFETY: this runs on a fiber, and what its frames hold is borrowed.
            unsafe { store.give_way() };
        }
        match initializer {
            GlobalInitializer::InstantiateModule(InstantiateModule::Static(module, arguments), inner) => {
                let made = make(store, linkage, *module, arguments)?;
                if inner.is_some() {
                    store.handles.borrow_mut().enter_call();
                }
                let initialised = store.core.borrow_mut().initialise(made);
                initialised.map_err(|error| fault::of_instantiation(OPERATION, &error, &store.totals))?;
                if let Some(start) = start_function(store, made, &plan.modules[module.as_u32() as usize]) {
                    // SAFETY: this runs on a fiber, and what its frames hold is borrowed. A start function takes nothing.
                    unsafe { start.call(&mut []) };
                }
                if inner.is_some() {
                    store.handles.borrow_mut().exit_call()?;
                }
            }
            GlobalInitializer::ExtractMemory(extract) => {
                let item = export(store, linkage, &map(&extract.export, EntityIndex::Memory))?;
                let memory = store.core.borrow().memory(&item).ok_or_else(|| surprise("memory"))?;
                let _ = store.memories[extract.index.as_u32() as usize].set(memory);
            }
            GlobalInitializer::ExtractRealloc(extract) => {
                let function = function(store, linkage, &extract.def)?;
                let _ = store.reallocs[extract.index.as_u32() as usize].set(function);
            }
            GlobalInitializer::ExtractPostReturn(extract) => {
                let function = function(store, linkage, &extract.def)?;
                let _ = store.post_returns[extract.index.as_u32() as usize].set(function);
            }
            GlobalInitializer::Resource(resource) => {
                let destructor = resource
                    .dtor
                    .as_ref()
                    .map(|destructor| function(store, linkage, destructor))
                    .transpose()?;
                let index = plan.component.resource_index(resource.index);
                let _ = store.destructors[index.as_u32() as usize].set(destructor);
            }
            // Who answers was decided when the component was loaded.
            GlobalInitializer::LowerImport { .. } => {}
            GlobalInitializer::InstantiateModule(InstantiateModule::Import(..), _)
            | GlobalInitializer::ExtractCallback(_)
            | GlobalInitializer::ExtractTable(_) => {
                return Err(surprise("a step of another kind of component"));
            }
        }
    }
    for lifted in store.loaded.lifted() {
        let _ = store.functions[lifted.slot].set(function(store, linkage, &lifted.core)?);
    }
    Ok(())
}

/// One core instance, its segments not applied yet.
#[expect(unsafe_code, reason = "shares the epoch of the engine")]
fn make(
    store: &Store,
    linkage: &mut Linkage,
    module: StaticModuleIndex,
    arguments: &[CoreDef],
) -> Result<usize> {
    let loaded = &store.loaded;
    let plan = &loaded.plan.modules[module.as_u32() as usize];
    if let Err(limit) = store.totals.add_instance(plan.bookkeeping) {
        return Err(fault::refused_minimum(OPERATION, limit));
    }
    let mut imports = Vec::with_capacity(arguments.len() + 3);
    let mut tables = 0;
    for argument in arguments {
        let item = define(store, linkage, argument)?;
        tables += u32::from(matches!(item, VMExtern::Table(_)));
        imports.push(item);
    }
    let check = match &linkage.check {
        Some(check) => again(check),
        None => {
            let entry = match loaded.counting {
                Counting::Epochs => trampolines::check_epoch,
                Counting::Fuel => trampolines::check_fuel,
            };
            let (_, check) = store.core.borrow_mut().add_function(&loaded.check, entry, NonNull::from(store));
            again(linkage.check.insert(check))
        }
    };
    imports.push(check);
    if plan.grows_tables {
        let target = Tables { store: NonNull::from(store), instance: linkage.modules.len() };
        let (_, grow) = store.core.borrow_mut().add_function(&loaded.grow, trampolines::check_growth, target);
        imports.push(grow);
    }
    if plan.needs_room {
        let entry = trampolines::check_room;
        let (_, room) = store.core.borrow_mut().add_function(&loaded.room, entry, NonNull::from(store));
        imports.push(room);
    }
    if loaded.counting == Counting::Epochs {
        imports.push(again(&linkage.epoch));
    }
    imports.push(again(&linkage.meter));
    let bounds = Bounds::new(store.totals.clone(), &loaded.shared.reservations, &plan.table_maxima, tables);
    let artifact = &loaded.artifacts[module.as_u32() as usize];
    let mut core = store.core.borrow_mut();
    let made = core
        .instantiate(artifact, &bounds, &imports)
        .map_err(|error| fault::of_instantiation(OPERATION, &error, &store.totals))?;
    if loaded.counting == Counting::Epochs {
        // SAFETY: the loaded component, which outlives its instances, holds the engine and so the epoch.
        let epoch = unsafe { loaded.shared.epoch.global() };
        // SAFETY: as above.
        unsafe { core.redirect_global(made, plan.imported_globals, epoch) };
    }
    linkage.modules.push(module);
    Ok(made)
}

fn start_function(store: &Store, instance: usize, plan: &ModulePlan) -> Option<CoreFunction> {
    let mut core = store.core.borrow_mut();
    let item = core.item(instance, Item::Function(plan.start?));
    core.function(&item)
}

/// Finds a function that the plan names.
fn function(store: &Store, linkage: &mut Linkage, definition: &CoreDef) -> Result<CoreFunction> {
    let item = define(store, linkage, definition)?;
    store.core.borrow().function(&item).ok_or_else(|| surprise("function"))
}

fn define(store: &Store, linkage: &mut Linkage, definition: &CoreDef) -> Result<VMExtern> {
    match definition {
        CoreDef::Export(item) => export(store, linkage, item),
        CoreDef::InstanceFlags(instance) => Ok(again(&linkage.may_leave[instance.as_u32() as usize])),
        CoreDef::TaskMayBlock => Ok(again(&linkage.may_block)),
        CoreDef::Trampoline(index) => {
            let index = index.as_u32();
            let slot = &mut linkage.trampolines[index as usize];
            if let Some(function) = slot {
                return Ok(again(function));
            }
            let target = Target { store: NonNull::from(store), trampoline: index };
            let signature = &store.loaded.trampolines[index as usize].signature;
            let (_, function) = store.core.borrow_mut().add_function(signature, trampolines::enter, target);
            Ok(again(slot.insert(function)))
        }
        CoreDef::UnsafeIntrinsic(_) => Err(surprise("an intrinsic of another host")),
    }
}

fn export(store: &Store, linkage: &Linkage, export: &CoreExport<EntityIndex>) -> Result<VMExtern> {
    let instance = export.instance.as_u32() as usize;
    let mut core = store.core.borrow_mut();
    match &export.item {
        ExportItem::Index(index) => {
            let module = linkage.modules.get(instance).ok_or_else(|| surprise("instance"))?;
            let plan = &store.loaded.plan.modules[module.as_u32() as usize];
            Ok(core.item(instance, plan.item(*index)))
        }
        ExportItem::Name(name) => core.export(instance, name).ok_or_else(|| surprise("export")),
    }
}

fn map<T: Clone>(export: &CoreExport<T>, kind: impl FnOnce(T) -> EntityIndex) -> CoreExport<EntityIndex> {
    export.clone().map_index(kind)
}

/// A plan that does not fit its modules: a defect of this crate.
#[cold]
fn surprise(what: &str) -> WasmError {
    WasmError::new(ErrorKind::Internal, OPERATION)
        .saying("the plan of the component names something that is not there")
        .with("what", what)
}
