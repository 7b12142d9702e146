//! Guest code on a stack of its own, which can be left in the middle of a host function and entered again later, by
//! another thread if need be.
//!
//! Wasmer runs every call on a stack that it switches to, and finds its way back from a trap through variables of the
//! thread. To leave such a call in the middle would leave them behind. So a [`Fiber`] has a stack of its own, and
//! Wasmer's is entered anew for each [slice](Fiber::resume) of a call:
//!
//! ```text
//! thread -> Wasmer's stack (for the traps of its library) -> stack of the fiber (guest code, host functions)
//! ```
//!
//! A trap of guest code is a signal. Wasmer's handler asks [ours](signal) first, and ours ends the fiber.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use airssys_wasm_core::error::WasmError;
use backtrace::Backtrace;
use corosensei::stack::{DefaultStack, Stack};
use corosensei::trap::CoroutineTrapHandler;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use wasmer_vm::{Trap, TrapCode, VMConfig, catch_traps};

mod signal;

/// What is left of a stack for host functions, beyond what guests may use.
const RESERVE: usize = 512 << 10;
/// Wasmer's stack is only passed through on the way to the fiber's.
const OUTER: VMConfig = VMConfig { wasm_stack_size: Some(64 << 10) };

/// How a slice of a call ended.
pub(crate) enum Slice {
    /// The call came to its end.
    Done,
    /// It waits, or gives way to others: resume it later.
    Suspended,
    /// Guest code trapped. What the frames of the call held is gone without having been dropped.
    Trapped(Trap),
    /// A host function ended the call. As with a trap, nothing was dropped.
    Ended(WasmError),
}

enum Left {
    Suspended,
    Ended(WasmError),
}

/// The stack of one call at a time.
pub(crate) struct GuestStack(DefaultStack);

impl GuestStack {
    /// A stack on which guests have `size` bytes.
    ///
    /// # Errors
    /// The system does not provide the memory.
    pub(crate) fn new(size: usize) -> io::Result<Self> {
        DefaultStack::new(size + RESERVE).map(Self)
    }
}

/// The stacks of an engine that no call uses now.
pub(crate) struct Stacks {
    size: usize,
    kept: Mutex<Vec<GuestStack>>,
}

impl Stacks {
    /// How many are kept. Each holds the pages that the deepest of its calls has used.
    const KEPT: usize = 16;

    /// Stacks on which guests have `size` bytes.
    pub(crate) fn new(size: usize) -> Self {
        Self { size, kept: Mutex::default() }
    }

    /// # Errors
    /// The system does not provide the memory.
    pub(crate) fn take(&self) -> io::Result<GuestStack> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.map_or_else(|| GuestStack::new(self.size), Ok)
    }

    pub(crate) fn give_back(&self, stack: GuestStack) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < Self::KEPT {
            kept.push(stack);
        }
    }
}

/// A call on a stack of its own.
pub(crate) struct Fiber(Option<Coroutine<(), Left, Option<Signal>, DefaultStack>>);

// SAFETY: between two slices a fiber holds the frames of guest code, which knows no thread, and of the host functions of
// this crate, which keep nothing of a thread while they are suspended.
#[expect(unsafe_code, reason = "a call may go on in another thread")]
unsafe impl Send for Fiber {}

/// The fiber that runs on a thread, as a signal handler needs it.
#[derive(Clone, Copy)]
struct Running(CoroutineTrapHandler<Option<Signal>>);

/// A trap of guest code, as the signal handler saw it.
#[derive(Clone, Copy)]
struct Signal {
    pc: usize,
    code: Option<TrapCode>,
}

/// What ran on this thread before a slice: put back when the slice is over, however it ends.
struct Before(Option<Running>);

impl Drop for Before {
    fn drop(&mut self) {
        RUNNING.set(self.0);
    }
}

thread_local! {
    static RUNNING: Cell<Option<Running>> = const { Cell::new(None) };
}

/// The way out of a fiber, for the host functions that run on it.
#[derive(Clone, Copy)]
pub(crate) struct Exit {
    yielder: *const Yielder<(), Left>,
    limit: usize,
}

impl Exit {
    /// Leaves the fiber, and returns when it is resumed.
    ///
    /// # Safety
    /// Called on the fiber's own stack, by frames that keep nothing of the thread.
    #[expect(unsafe_code, reason = "switches stacks")]
    pub(crate) unsafe fn suspend(self) {
        // SAFETY: as the caller promises.
        unsafe { self.leave(Left::Suspended) }
    }

    /// Ends the call.
    ///
    /// # Safety
    /// Called on the fiber's own stack, by frames that hold nothing that needs to be dropped.
    #[expect(unsafe_code, reason = "switches stacks")]
    pub(crate) unsafe fn end(self, error: WasmError) -> ! {
        // SAFETY: as the caller promises.
        unsafe { self.leave(Left::Ended(error)) };
        unreachable!("a call that was ended is not resumed")
    }

    /// Whether a host function has the room that it may need.
    #[inline]
    pub(crate) fn has_room(self) -> bool {
        let here = 0_u8;
        ptr::from_ref(&here).addr() >= self.limit + RESERVE
    }

    /// Not inlined: what a compiler knows of thread-local variables must not outlive the switch.
    #[inline(never)]
    #[expect(unsafe_code, reason = "switches stacks")]
    unsafe fn leave(self, left: Left) {
        // SAFETY: the yielder lies at the base of the stack that this runs on.
        let yielder = unsafe { &*self.yielder };
        yielder.suspend(left);
    }
}

impl Fiber {
    /// Prepares `call` to run on `stack`.
    ///
    /// # Safety
    /// What `call` borrows outlives the fiber.
    #[expect(unsafe_code, reason = "a call borrows from the future that owns its fiber")]
    pub(crate) unsafe fn new(stack: GuestStack, call: impl FnOnce(Exit)) -> Self {
        let limit = stack.0.limit().get();
        let body = move |yielder: &Yielder<(), Left>, ()| {
            call(Exit { yielder, limit });
            None
        };
        // SAFETY: the caller keeps alive what is borrowed.
        let call = unsafe { Coroutine::with_stack_unchecked(stack.0, body) };
        Self(Some(call))
    }

    /// Runs the call until it ends or is left.
    pub(crate) fn resume(&mut self) -> Slice {
        let guest = self.0.as_mut().expect("a fiber has its stack until it is taken apart");
        let running = Running(guest.trap_handler());
        let guest = ptr::from_mut(guest);
        let _before = Before(RUNNING.get());
        let slice = move || {
            RUNNING.set(Some(running));
            // SAFETY: `self` is borrowed until the slice is over.
            #[expect(unsafe_code, reason = "Wasmer asks for a closure without borrows")]
            let guest = unsafe { &mut *guest };
            guest.resume(())
        };
        // SAFETY: a trap of Wasmer's library leaves the slice in guest code, below which there are only the frames of this
        // closure and of the coroutine, which hold nothing to be dropped.
        #[expect(unsafe_code, reason = "runs guest code")]
        let outcome = unsafe { catch_traps(Some(signal::handler()), &OUTER, slice) };
        match outcome {
            Ok(CoroutineResult::Return(None)) => Slice::Done,
            Ok(CoroutineResult::Return(Some(Signal { pc, code }))) => {
                Slice::Trapped(Trap::wasm(pc, Backtrace::from(Vec::new()), code))
            }
            Err(trap) => Slice::Trapped(trap),
            Ok(CoroutineResult::Yield(Left::Suspended)) => Slice::Suspended,
            Ok(CoroutineResult::Yield(Left::Ended(error))) => {
                self.abandon();
                Slice::Ended(error)
            }
        }
    }

    /// Gives the stack back. A call that is not over ends here: nothing that it holds is dropped.
    pub(crate) fn into_stack(mut self) -> GuestStack {
        self.abandon();
        GuestStack(self.0.take().expect("it is taken apart once").into_stack())
    }

    fn abandon(&mut self) {
        let Some(guest) = self.0.as_mut() else { return };
        if guest.started() {
            // SAFETY: the host functions of this crate hold nothing while they are suspended, and guest code never does.
            #[expect(unsafe_code, reason = "guest code cannot be unwound")]
            unsafe {
                guest.force_reset();
            }
        } else {
            guest.force_unwind();
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl fmt::Debug for Fiber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fiber").finish_non_exhaustive()
    }
}
