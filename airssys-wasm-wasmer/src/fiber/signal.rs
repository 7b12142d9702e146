//! Traps of guest code, which the processor reports and the system delivers as signals.

use std::ptr;

use corosensei::trap::TrapHandlerRegs;
use libc::{c_int, c_void, siginfo_t, ucontext_t};
use wasmer_vm::{TrapCode, TrapHandlerFn};

use super::{RUNNING, Signal};

/// Ends the fiber whose guest code trapped, and leaves every other signal to whom it belongs.
pub(super) fn handler() -> *const TrapHandlerFn<'static> {
    static HANDLER: &TrapHandlerFn<'static> = &handle;
    ptr::from_ref(HANDLER)
}

fn handle(signal: c_int, info: *const siginfo_t, context: *const c_void) -> bool {
    let Some(running) = RUNNING.get() else { return false };
    let context = context.cast_mut().cast::<ucontext_t>();
    // SAFETY: the system hands the handler the state of the thread, and takes back what the handler makes of it.
    #[expect(unsafe_code, reason = "the system gives a pointer")]
    let context = unsafe { &mut *context };
    let (pc, sp) = position(context);
    if !running.0.stack_ptr_in_bounds(sp) {
        return false;
    }
    let code = match signal {
        libc::SIGSEGV | libc::SIGBUS => {
            // SAFETY: the system hands the handler what it knows of the signal: of these two, an address.
            #[expect(unsafe_code, reason = "the system gives a pointer")]
            let info = unsafe { &*info };
            // SAFETY: as above.
            #[expect(unsafe_code, reason = "a field of a union of the system")]
            let address = unsafe { info.si_addr() }.addr();
            Some(if running.0.stack_ptr_in_bounds(address) {
                TrapCode::StackOverflow
            } else {
                TrapCode::HeapAccessOutOfBounds
            })
        }
        _ => None,
    };
    let end = move || Some(Signal { pc, code });
    // SAFETY: the stack pointer was just found to be on the fiber's stack, and the registers are set as demanded.
    #[expect(unsafe_code, reason = "discards what is on the fiber's stack")]
    let registers = unsafe { running.0.setup_trap_handler(end) };
    go_on_at(context, &registers);
    true
}

/// The instruction and the top of the stack that the signal interrupted.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn position(context: &ucontext_t) -> (usize, usize) {
    let registers = &context.uc_mcontext.gregs;
    (registers[libc::REG_RIP as usize] as usize, registers[libc::REG_RSP as usize] as usize)
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn go_on_at(context: &mut ucontext_t, registers: &TrapHandlerRegs) {
    let TrapHandlerRegs { rip, rsp, rbp, rdi, rsi } = *registers;
    for (register, value) in [
        (libc::REG_RIP, rip),
        (libc::REG_RSP, rsp),
        (libc::REG_RBP, rbp),
        (libc::REG_RDI, rdi),
        (libc::REG_RSI, rsi),
    ] {
        context.uc_mcontext.gregs[register as usize] = value as i64;
    }
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn position(context: &ucontext_t) -> (usize, usize) {
    (context.uc_mcontext.pc as usize, context.uc_mcontext.sp as usize)
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn go_on_at(context: &mut ucontext_t, registers: &TrapHandlerRegs) {
    let TrapHandlerRegs { pc, sp, x0, x1, x29, lr } = *registers;
    let into = &mut context.uc_mcontext;
    (into.pc, into.sp) = (pc, sp);
    (into.regs[0], into.regs[1], into.regs[29], into.regs[30]) = (x0, x1, x29, lr);
}
