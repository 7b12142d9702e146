//! What core instances import: functions of the host as the component sees them, handles, and the helpers of adapters.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use airssys_wasm_engine::text;
use wasmer_vm::on_host_stack;
use wasmtime_environ::component::{RuntimeMemoryIndex, TypeResourceTableIndex};

use crate::abi::handles::Dropped;
use crate::abi::transcode::{Memories, transcode};
use crate::abi::{Cells, MAX_CELLS};
use crate::fault;
use crate::host::{extensions, wasi};
use crate::load::Answerer;
use crate::store::Store;
use crate::translate::Trampoline;
use crate::vm::{Cell, HostContext};

const OPERATION: &str = "host function";

/// Which function of the host it is, of which instance.
pub(crate) struct Target {
    pub(crate) store: NonNull<Store>,
    pub(crate) trampoline: u32,
}

/// Answers a call of guest code. An error ends the call.
#[expect(unsafe_code, reason = "called by Wasmer's convention")]
pub(crate) unsafe extern "C" fn enter(context: &HostContext<Target>, cells: *mut Cell) {
    let Target { store, trampoline } = context.data;
    // SAFETY: the store outlives the core instances, which import this.
    let store = unsafe { store.as_ref() };
    let exit = store.exit();
    let answered = if exit.has_room() {
        // SAFETY: this runs on the guest's stack, and keeps nothing there but the outcome.
        let answer = || unsafe { answer(store, trampoline as usize, cells) };
        catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|panic| Err(text::of_panic(OPERATION, &*panic)))
    } else {
        Err(on_host_stack(|| fault::no_room(OPERATION)))
    };
    if let Err(error) = answered {
        // SAFETY: as above; the error goes along.
        unsafe { exit.end(error) };
    }
}

/// Called by guests that count epochs, when their slice of time is over.
#[expect(unsafe_code, reason = "called by Wasmer's convention")]
pub(crate) unsafe extern "C" fn check_epoch(context: &HostContext<NonNull<Store>>, _: *mut Cell) {
    // SAFETY: the store outlives the core instances, which import this.
    let store = unsafe { context.data.as_ref() };
    if !store.is_slice_over() {
        return;
    }
    // There may be next to nothing left of the guest's stack.
    match on_host_stack(|| store.check_time()) {
        Ok(()) => {
            store.next_slice();
            // SAFETY: this runs on the guest's stack, and keeps nothing there.
            unsafe { store.give_way() };
        }
        // SAFETY: as above; the error goes along.
        Err(error) => unsafe { store.exit().end(error) },
    }
}

/// Called by guests before operators that the engine's library carries out on their stack.
#[expect(unsafe_code, reason = "called by Wasmer's convention")]
pub(crate) unsafe extern "C" fn check_room(context: &HostContext<NonNull<Store>>, _: *mut Cell) {
    // SAFETY: the store outlives the core instances, which import this.
    let store = unsafe { context.data.as_ref() };
    let exit = store.exit();
    if !exit.has_room() {
        let error = on_host_stack(|| fault::no_room("call"));
        // SAFETY: this runs on the guest's stack; the error goes along.
        unsafe { exit.end(error) };
    }
}

/// Which core instance of which store.
pub(crate) struct Tables {
    pub(crate) store: NonNull<Store>,
    pub(crate) instance: usize,
}

/// Called by guests before a table grows: whether it may.
#[expect(unsafe_code, reason = "called by Wasmer's convention")]
pub(crate) unsafe extern "C" fn check_growth(context: &HostContext<Tables>, cells: *mut Cell) {
    // SAFETY: the store outlives the core instances, which import this.
    let store = unsafe { context.data.store.as_ref() };
    // SAFETY: its type says that it takes two `i32`.
    let table = unsafe { cells.cast::<u32>().read() };
    // SAFETY: as above.
    let second = unsafe { cells.add(1) };
    // SAFETY: as above.
    let by = unsafe { second.cast::<u32>().read() };
    let allowed = on_host_stack(|| store.allows_growth(context.data.instance, table, by));
    // SAFETY: its type says that it returns one `i32`.
    unsafe { cells.cast::<u32>().write(u32::from(allowed)) };
}

/// Called by guests that count fuel, when their slice of it is used up.
#[expect(unsafe_code, reason = "called by Wasmer's convention")]
pub(crate) unsafe extern "C" fn check_fuel(context: &HostContext<NonNull<Store>>, cells: *mut Cell) {
    // SAFETY: the store outlives the core instances, which import this.
    let store = unsafe { context.data.as_ref() };
    // SAFETY: its type says that it takes one `i64`.
    let count = unsafe { cells.cast::<i64>().read() };
    let checked = on_host_stack(|| store.check_time().and_then(|()| store.refuel(count)));
    match checked {
        Ok(count) => {
            // SAFETY: its type says that it returns one `i64`.
            unsafe { cells.cast::<i64>().write(count) };
            if store.is_slice_over() {
                store.next_slice();
                // SAFETY: this runs on the guest's stack, and keeps nothing there.
                unsafe { store.give_way() };
            }
        }
        // SAFETY: as above; the error goes along.
        Err(error) => unsafe { store.exit().end(error) },
    }
}

/// # Safety
/// Called on the guest's stack, by frames that hold nothing that needs to be dropped, with the cells of this trampoline.
#[expect(unsafe_code, reason = "reads and writes what Wasmer's trampoline gives")]
unsafe fn answer(store: &Store, index: usize, cells: *mut Cell) -> Result<()> {
    let trampoline = &store.loaded.trampolines[index];
    let count = trampoline.parameters;
    let mut parameters = [0; MAX_CELLS];
    let parameters = parameters.get_mut(..count).ok_or_else(|| {
        WasmError::new(ErrorKind::Internal, OPERATION).saying("a function has more parameters than any has")
    })?;
    for (position, parameter) in parameters.iter_mut().enumerate() {
        // SAFETY: there are as many cells as the function has parameters.
        let cell = unsafe { cells.add(position) };
        // SAFETY: all bits of a cell of any type can be read; its type says how many of them count.
        *parameter = unsafe { cell.cast::<u64>().read() };
    }
    // SAFETY: as the caller promises.
    let results = unsafe { perform(store, store.loaded.plan.trampolines[index], parameters)? };
    for (position, result) in results.as_slice().iter().enumerate() {
        // SAFETY: there are as many cells as the function has results.
        let cell = unsafe { cells.add(position) };
        // SAFETY: as above.
        unsafe { cell.cast::<u64>().write(*result) };
    }
    Ok(())
}

/// # Safety
/// As [`answer`].
#[expect(unsafe_code, reason = "may leave the guest's stack")]
unsafe fn perform(store: &Store, trampoline: Trampoline, parameters: &[u64]) -> Result<Cells> {
    let parameter = |position: usize| parameters.get(position).map_or(0, |cell| *cell as u32);
    let table = |position| TypeResourceTableIndex::from_u32(parameter(position));
    let one = |result: u32| {
        let mut cells = Cells::default();
        cells.push(result.into());
        cells
    };
    match trampoline {
        Trampoline::Lowered { index, function, options } => {
            let answerer = store.loaded.answerers[index.as_u32() as usize];
            let mut side = store.side(options, OPERATION);
            store.check_may_leave(side.instance, OPERATION)?;
            store.handles.borrow_mut().enter_call();
            let results = match answerer {
                // SAFETY: as the caller promises.
                Answerer::World(import) => unsafe { import(&mut side, parameters)? },
                // SAFETY: as the caller promises.
                Answerer::Extension(position) => unsafe {
                    extensions::call(&mut side, position, function, parameters)?
                },
                // SAFETY: as the caller promises.
                Answerer::Wasi(answerer) => unsafe { wasi::call(&mut side, answerer, function, parameters)? },
            };
            store.handles.borrow_mut().exit_call()?;
            Ok(results)
        }
        Trampoline::ResourceNew { instance, resource } => {
            store.check_may_leave(instance, OPERATION)?;
            store.handles.borrow_mut().insert(resource, parameter(0)).map(one)
        }
        Trampoline::ResourceRep { resource, .. } => {
            store.handles.borrow().rep(resource, parameter(0)).map(one)
        }
        Trampoline::ResourceDrop { instance, resource } => {
            store.check_may_leave(instance, OPERATION)?;
            let dropped = store.handles.borrow_mut().remove(resource, parameter(0))?;
            if let Dropped::Own { resource, rep } = dropped {
                // SAFETY: as the caller promises.
                unsafe { store.destroy(resource, rep)? };
            }
            Ok(Cells::default())
        }
        Trampoline::TransferOwn => {
            store.handles.borrow_mut().transfer_own(table(1), table(2), parameter(0)).map(one)
        }
        Trampoline::TransferBorrow => {
            store.handles.borrow_mut().transfer_borrow(table(1), table(2), parameter(0)).map(one)
        }
        Trampoline::Trap => Err(fault::of_adapter(OPERATION, parameter(0))),
        Trampoline::EnterCall => {
            store.handles.borrow_mut().enter_call();
            Ok(Cells::default())
        }
        Trampoline::ExitCall => store.handles.borrow_mut().exit_call().map(|()| Cells::default()),
        Trampoline::Transcode { operation, from, to } => {
            let memory = |index: RuntimeMemoryIndex| {
                store.memories[index.as_u32() as usize].get().copied().ok_or_else(|| {
                    WasmError::new(ErrorKind::Internal, OPERATION)
                        .saying("an adapter uses a memory that is not there")
                })
            };
            let (from, to) = (memory(from)?, memory(to)?);
            let memories = if from.is_same(to) {
                // SAFETY: no guest code runs while strings are copied, and this is the only slice.
                Memories::One(unsafe { to.bytes_mut() })
            } else {
                // SAFETY: as above, of another memory.
                let from = unsafe { from.bytes() };
                // SAFETY: as above.
                Memories::Two { from, to: unsafe { to.bytes_mut() } }
            };
            transcode(operation.into(), parameters, memories)
        }
    }
}
