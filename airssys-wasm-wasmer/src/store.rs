//! What the functions of one component instance share: core instances, tables of handles, services, and the call under way.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::error::{Limit, Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::HostServices;
use airssys_wasm_engine::call::check_transfer;
use wasmtime_environ::component::{ResourceIndex, RuntimeComponentInstanceIndex};

use crate::abi::handles::Handles;
use crate::bounds::Totals;
use crate::engine::EPOCH_SLICE;
use crate::fault;
use crate::fiber::{Exit, Fiber, Slice};
use crate::instantiate::Globals;
use crate::kept::Kept;
use crate::load::Loaded;
use crate::vm::{self, CoreFunction, CoreGlobal, CoreInstances, CoreMemory};
use crate::wasi::Wasi;

/// Fuel that is given out at once: a guest that has used it up looks at its deadline.
const FUEL_SLICE: u64 = 50_000;

/// What a host function waits for; its answer goes to [`Store::answer`].
type Pending = Pin<Box<dyn Future<Output = Result<Box<dyn Any + Send>>> + Send>>;

/// The state of one component instance.
///
/// Guest code is entered from many places, and calls functions of the host in between: so everything that changes is in a
/// cell, and none of it is borrowed while guest code runs.
pub(crate) struct Store {
    pub(crate) core: RefCell<CoreInstances>,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) services: HostServices,
    pub(crate) totals: Totals,
    pub(crate) handles: RefCell<Handles>,
    /// Only for components that import WASI.
    pub(crate) wasi: Option<Box<Wasi>>,
    /// Resources of the guest that the host has.
    pub(crate) kept: RefCell<Kept>,
    pub(crate) memories: Box<[OnceCell<CoreMemory>]>,
    pub(crate) reallocs: Box<[OnceCell<CoreFunction>]>,
    pub(crate) post_returns: Box<[OnceCell<CoreFunction>]>,
    /// By the index of a resource that the component defines.
    pub(crate) destructors: Box<[OnceCell<Option<CoreFunction>>]>,
    /// What the component exports, by the slot of the lifted function.
    pub(crate) functions: Box<[OnceCell<CoreFunction>]>,
    /// Whether each inner component may call out now.
    pub(crate) may_leave: Box<[CoreGlobal]>,
    /// The fuel left, or the epoch until which the guest runs without looking up.
    pub(crate) meter: CoreGlobal,
    /// The most bytes handed over in one call.
    pub(crate) transfer: usize,
    /// The end of the call under way.
    deadline: Cell<Option<Instant>>,
    fuel: Cell<Fuel>,
    /// When a guest that counts fuel gives way to others.
    appointment: Cell<i64>,
    operation: Cell<&'static str>,
    /// Whether the guest has come to the end of its function.
    returned: Cell<bool>,
    exit: Cell<Option<Exit>>,
    /// What the executor polls the call with, while it does.
    context: Cell<Option<NonNull<Context<'static>>>>,
    pending: RefCell<Option<Pending>>,
    answer: RefCell<Option<Result<Box<dyn Any + Send>>>>,
    /// Whether the guest left to let others have a turn.
    yields: Cell<bool>,
    /// Values that are being handed to the guest: a trap must not lose them with the stack.
    held: RefCell<Vec<Box<dyn Any>>>,
}

// SAFETY: a store belongs to one instance, whose calls all take `&mut`: one thread at a time uses it, through its own frames and
// the functions of the host that these reach. What is pointed to moves along.
#[expect(unsafe_code, reason = "an instance goes from thread to thread between polls")]
unsafe impl Send for Store {}

// SAFETY: as above: references to a store exist only below a call of its instance.
#[expect(unsafe_code, reason = "a call keeps references across its polls")]
unsafe impl Sync for Store {}

/// Fuel of the call under way.
#[derive(Clone, Copy, Default)]
struct Fuel {
    /// What it may use. None: it is not counted.
    limit: Option<u64>,
    /// What was given out.
    granted: u64,
}

impl Store {
    pub(crate) fn new(
        core: CoreInstances,
        globals: Globals,
        loaded: Arc<Loaded>,
        services: HostServices,
        limits: &ResourceLimits,
    ) -> Self {
        fn empty<T>(count: u32) -> Box<[OnceCell<T>]> {
            (0..count).map(|_| OnceCell::new()).collect()
        }

        let component = &loaded.plan.component;
        Self {
            memories: empty(component.num_runtime_memories),
            reallocs: empty(component.num_runtime_reallocs),
            post_returns: empty(component.num_runtime_post_returns),
            destructors: empty(component.num_resources),
            functions: loaded.lifted().map(|_| OnceCell::new()).collect(),
            handles: RefCell::new(Handles::new(Arc::clone(&loaded.resources), limits.handles as usize)),
            kept: RefCell::default(),
            wasi: loaded.imports_wasi.then(|| Box::new(Wasi::new(limits, &services, &loaded.shared.ticker))),
            core: RefCell::new(core),
            services,
            totals: Totals::new(limits),
            may_leave: globals.may_leave,
            meter: globals.meter,
            transfer: limits.transfer.as_usize(),
            deadline: Cell::new(None),
            fuel: Cell::default(),
            appointment: Cell::new(0),
            operation: Cell::new("call"),
            returned: Cell::new(false),
            exit: Cell::new(None),
            context: Cell::new(None),
            pending: RefCell::new(None),
            answer: RefCell::new(None),
            yields: Cell::new(false),
            held: RefCell::default(),
            loaded,
        }
    }

    /// Sets what the next call may use.
    pub(crate) fn start(&self, operation: &'static str, deadline: Option<Instant>, fuel: Option<u64>) {
        self.totals.start_call();
        self.operation.set(operation);
        self.deadline.set(deadline);
        let appointment = self.loaded.shared.epoch.now().wrapping_add(EPOCH_SLICE);
        self.appointment.set(appointment);
        match fuel {
            Some(limit) => {
                let granted = limit.min(FUEL_SLICE);
                self.fuel.set(Fuel { limit: Some(limit), granted });
                self.meter.set_i64(-(granted as i64));
            }
            None => {
                self.fuel.set(Fuel::default());
                self.meter.set_i64(appointment);
            }
        }
    }

    /// The fuel that the call has used so far.
    pub(crate) fn consumed(&self) -> u64 {
        let Fuel { limit: Some(limit), granted } = self.fuel.get() else { return 0 };
        granted.saturating_add_signed(self.meter.get_i64()).min(limit)
    }

    /// What a guest asks when its slice of time or fuel is used up.
    ///
    /// # Errors
    /// Its deadline has passed.
    pub(crate) fn check_time(&self) -> Result<()> {
        if self.deadline.get().is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(fault::timeout_while_busy(self.operation()));
        }
        Ok(())
    }

    /// Gives out the next slice of fuel to a guest whose count has come to `count`, and takes it back as what to go on with.
    ///
    /// # Errors
    /// There is none left.
    pub(crate) fn refuel(&self, count: i64) -> Result<i64> {
        let Fuel { limit, granted } = self.fuel.get();
        let limit = limit.unwrap_or(u64::MAX);
        let used = granted.saturating_add_signed(count);
        if used >= limit {
            // All of it is consumed, whatever the guest would have gone on with.
            self.fuel.set(Fuel { limit: Some(limit), granted: limit });
            self.meter.set_i64(0);
            return Err(WasmError::limited(self.operation(), Limit::Fuel).with("limit", limit));
        }
        let over = count.unsigned_abs();
        let more = (limit - granted).min(FUEL_SLICE.saturating_add(over).max(1 + over));
        self.fuel.set(Fuel { limit: Some(limit), granted: granted + more });
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        self.meter.set_i64(self.meter.get_i64().wrapping_sub(more));
        Ok(count.wrapping_sub(more))
    }

    /// Whether a table of a core instance may get `by` more elements.
    pub(crate) fn allows_growth(&self, instance: usize, table: u32, by: u32) -> bool {
        let mut core = self.core.borrow_mut();
        let Some((size, maximum)) = core.table_size(instance, table) else { return false };
        let fits = size.checked_add(by).is_some_and(|grown| maximum.is_none_or(|maximum| grown <= maximum));
        self.totals.allows_table(core.table_elements(), by, fits)
    }

    /// Whether the guest has had its slice of time.
    pub(crate) fn is_slice_over(&self) -> bool {
        self.loaded.shared.epoch.now() >= self.appointment.get()
    }

    /// Begins the next slice of time.
    pub(crate) fn next_slice(&self) {
        let appointment = self.loaded.shared.epoch.now().wrapping_add(1);
        self.appointment.set(appointment);
        if self.fuel.get().limit.is_none() {
            self.meter.set_i64(appointment);
        }
    }

    pub(crate) fn operation(&self) -> &'static str {
        self.operation.get()
    }

    /// Whether the guest has come to the end of its function, and only what it returned is being read.
    pub(crate) fn has_returned(&self) -> bool {
        self.returned.get()
    }

    pub(crate) fn set_returned(&self) {
        self.returned.set(true);
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit.get().expect("guest code runs on a fiber")
    }

    /// Runs `body`, which calls the guest, on a stack of its own. A call that is dropped is over.
    pub(crate) async fn run(
        &self,
        operation: &'static str,
        body: impl FnOnce(&Self) -> Result<()> + Send,
    ) -> Result<()> {
        let stacks = &self.loaded.shared.stacks;
        let stack = stacks.take().map_err(|error| fault::no_stack(operation, error))?;
        let outcome = Outcome::default();
        self.returned.set(false);
        let mut fiber = {
            let place = &outcome;
            let call = move |exit| {
                self.exit.set(Some(exit));
                place.set(body(self));
            };
            // SAFETY: `self` and `outcome` live as long as this future, which is pinned, and the fiber ends before them.
            #[expect(unsafe_code, reason = "the fiber borrows from this future")]
            unsafe {
                Fiber::new(stack, call)
            }
        };
        let slice = poll_fn(|context| self.poll(&mut fiber, context)).await;
        let result = match slice {
            Slice::Done => outcome.take().unwrap_or_else(|| Err(fault::no_outcome(operation))),
            Slice::Trapped(trap) => Err(fault::of_trap(operation, &trap, &self.totals)),
            Slice::Ended(error) => Err(error),
            Slice::Suspended => Err(fault::no_outcome(operation)),
        };
        stacks.give_back(fiber.into_stack());
        self.exit.set(None);
        self.held.borrow_mut().clear();
        result
    }

    fn poll(&self, fiber: &mut Fiber, context: &mut Context<'_>) -> Poll<Slice> {
        loop {
            if let Some(pending) = self.pending.borrow_mut().as_mut() {
                match pending.as_mut().poll(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(answer) => *self.answer.borrow_mut() = Some(answer),
                }
            }
            *self.pending.borrow_mut() = None;
            self.context.set(Some(NonNull::from(&mut *context).cast()));
            let slice = fiber.resume();
            self.context.set(None);
            if !matches!(slice, Slice::Suspended) {
                return Poll::Ready(slice);
            }
            if self.yields.take() {
                let turn = async {
                    tokio::task::yield_now().await;
                    Ok(Box::new(()) as Box<dyn Any + Send>)
                };
                *self.pending.borrow_mut() = Some(Box::pin(turn));
            }
        }
    }

    /// Waits for a future, from a host function on the fiber.
    ///
    /// # Errors
    /// That of the future.
    ///
    /// # Safety
    /// Called on the fiber's own stack, by frames that hold nothing that needs to be dropped and nothing of the thread.
    #[expect(unsafe_code, reason = "leaves the stack")]
    pub(crate) unsafe fn wait(&self, future: Pending) -> Result<Box<dyn Any + Send>> {
        // What is ready at once needs no switch to another stack but this.
        let first = wasmer_vm::on_host_stack(|| self.poll_once(future));
        if let Some(answer) = first {
            return answer;
        }
        // SAFETY: as the caller promises; the future is kept by the store.
        unsafe { self.exit().suspend() };
        self.answer.borrow_mut().take().unwrap_or_else(|| Err(fault::no_outcome("host function")))
    }

    /// Polls a future with the executor's own context, and keeps it if it is not ready.
    fn poll_once(&self, mut future: Pending) -> Option<Result<Box<dyn Any + Send>>> {
        let context = self.context.get().expect("a fiber runs while it is polled");
        // SAFETY: it is that of the poll that runs this fiber now, which does not use it meanwhile.
        #[expect(unsafe_code, reason = "a context has a lifetime that a cell cannot name")]
        let context = unsafe { &mut *context.as_ptr() };
        match future.as_mut().poll(context) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => {
                *self.pending.borrow_mut() = Some(future);
                None
            }
        }
    }

    /// Lets other tasks run.
    ///
    /// # Safety
    /// As [`wait`](Self::wait).
    #[expect(unsafe_code, reason = "leaves the stack")]
    pub(crate) unsafe fn give_way(&self) {
        self.yields.set(true);
        // SAFETY: as the caller promises.
        unsafe { self.exit().suspend() };
    }

    /// Keeps a value outside of the fiber's stack while it is handed to the guest, until [`release`](Self::release).
    #[expect(unsafe_code, reason = "the value is in a box of its own")]
    pub(crate) fn hold<T: 'static>(&self, value: T) -> &T {
        let value = Box::new(value);
        let place = std::ptr::from_ref(&*value);
        self.held.borrow_mut().push(value);
        // SAFETY: nothing is taken out before `release`, and boxes do not move.
        unsafe { &*place }
    }

    /// Drops the value that was held last.
    pub(crate) fn release(&self) {
        self.held.borrow_mut().pop();
    }

    pub(crate) fn may_leave(&self, instance: RuntimeComponentInstanceIndex) -> CoreGlobal {
        self.may_leave[instance.as_u32() as usize]
    }

    /// # Errors
    /// The inner component is at a moment at which it must not call out.
    pub(crate) fn check_may_leave(
        &self,
        instance: RuntimeComponentInstanceIndex,
        operation: &'static str,
    ) -> Result<()> {
        if self.may_leave(instance).get_i32() == 0 {
            return Err(WasmError::trapped(operation, TrapKind::CannotEnter)
                .saying("the component called out at a moment at which it must not"));
        }
        Ok(())
    }

    /// # Errors
    /// More bytes than one call may hand over.
    pub(crate) fn check_transfer(&self, operation: &'static str, bytes: usize) -> Result<()> {
        check_transfer(operation, self.transfer, bytes)
    }

    /// Calls the destructor of a resource, if it has one.
    ///
    /// # Errors
    /// The resource is the host's, and is still in use. A destructor of a guest that traps ends the call.
    ///
    /// # Safety
    /// Called on the guest's stack, by frames that hold nothing that needs to be dropped.
    #[expect(unsafe_code, reason = "calls the guest")]
    pub(crate) unsafe fn destroy(&self, resource: ResourceIndex, rep: u32) -> Result<()> {
        if let Some(kind) = self.loaded.host_resources.get(resource.as_u32() as usize) {
            return self.wasi.as_ref().map_or(Ok(()), |wasi| wasi.drop_resource(kind, rep));
        }
        let destructor =
            self.destructors.get(resource.as_u32() as usize).and_then(OnceCell::get).copied().flatten();
        if let Some(destructor) = destructor {
            let mut cells = [vm::Cell { u32: rep }];
            // SAFETY: as the caller promises; a destructor takes the representation.
            unsafe { destructor.call(&mut cells) };
        }
        Ok(())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("totals", &self.totals).finish_non_exhaustive()
    }
}

/// Where the outcome of a call goes. The fiber has a reference to it.
pub(crate) struct Outcome<T>(Cell<Option<T>>);

// SAFETY: the fiber and the future that reads the cell are polled by the same thread, one after the other.
#[expect(unsafe_code, reason = "a cell that is written by the fiber of its own future")]
unsafe impl<T: Send> Sync for Outcome<T> {}

impl<T> Default for Outcome<T> {
    fn default() -> Self {
        Self(Cell::new(None))
    }
}

impl<T> Outcome<T> {
    pub(crate) fn set(&self, value: T) {
        self.0.set(Some(value));
    }

    pub(crate) fn take(&self) -> Option<T> {
        self.0.take()
    }
}
