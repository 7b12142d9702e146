//! The number that compiled code compares at every loop and function, to see that time passes.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};

use airssys_wasm_engine::ticker;
use wasmer_vm::VMGlobalDefinition;

use crate::vm::CoreGlobal;

/// Laid out as a global of Wasmer, which compiled code reads.
#[derive(Debug, Default)]
#[repr(C, align(16))]
struct Number {
    now: AtomicI64,
    _rest: u64,
}

/// The epoch of one engine; cloning copies a pointer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Epoch(Arc<Number>);

/// Moves the epoch on while there is anybody to see it.
pub(crate) struct Hand(Weak<Number>);

impl Epoch {
    pub(crate) fn now(&self) -> i64 {
        self.0.now.load(Ordering::Relaxed)
    }

    pub(crate) fn hand(&self) -> Hand {
        Hand(Arc::downgrade(&self.0))
    }

    /// The epoch as a global that core instances read.
    ///
    /// # Safety
    /// The epoch outlives those instances, and none of them writes to it: instrumented code does not.
    #[expect(unsafe_code, reason = "compiled code reads through a pointer")]
    pub(crate) unsafe fn global(&self) -> CoreGlobal {
        const { assert!(size_of::<Number>() == size_of::<VMGlobalDefinition>()) };
        const { assert!(align_of::<Number>() >= align_of::<VMGlobalDefinition>()) };
        // SAFETY: as the caller promises. The cell inside is one that may change behind a shared reference.
        unsafe { CoreGlobal::shared(NonNull::from(&*self.0).cast()) }
    }
}

impl ticker::Epoch for Hand {
    fn advance(&self) -> bool {
        self.0.upgrade().map(|number| number.now.fetch_add(1, Ordering::Relaxed)).is_some()
    }
}
