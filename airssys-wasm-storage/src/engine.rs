//! What a key-value engine does for a store: sorted bytes to bytes, and nothing else.

use std::error::Error;
use std::fmt;
use std::ops::{Bound, ControlFlow};

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::{Durability, Order, StorageProfile};

/// An embedded key-value engine; blocking. (The async seam is
/// [`StorageBackend`](airssys_wasm_core::storage::StorageBackend), which [`Store`](crate::Store) implements over any engine.)
///
/// # Behavior
/// - Keys are ordered as unsigned bytes. No key is empty.
/// - A reader sees the state before or after an [`apply`](Self::apply), nothing between.
/// - A finished `apply` is seen by every later read, at any durability.
/// - What a crash leaves is a prefix of the applied groups, and holds each of those applied with
///   [`Durability::Immediate`] or followed by a finished [`sync`](Self::sync).
/// - After an error of `apply` or `sync` the store above takes no writes any more; reads go on, and show what opening again would show.
///   An engine that cannot tell what that is answers them with the error.
/// - Reads run at the same time from any thread. `apply`, `sync` and `close` come from one thread at a time.
pub trait KeyValueEngine: fmt::Debug + Send + Sync + 'static {
    /// What this engine is, and what each durability survives.
    fn profile(&self) -> StorageProfile;

    /// Where the data lives, as error messages say it: a path, or `memory`.
    fn place(&self) -> &str;

    /// Whether [`apply`](Self::apply) and [`sync`](Self::sync) never wait for a medium. The store then commits on the calling
    /// thread; for every other engine it keeps one writer thread, which applies concurrent commits in groups. With that, too, an `apply`
    /// that need not be durable at once may come from any caller's thread: it should not wait for a medium as a rule.
    fn commits_inline(&self) -> bool;

    /// Hands the value of `key` to `read`, if there is one.
    ///
    /// # Errors
    /// When the medium fails or the engine finds damage.
    fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, EngineError>;

    /// Hands the records of a range to `visit`, in the order asked for, as they are at one moment, until it breaks off.
    /// The start never lies behind the end, in either order.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn scan(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        order: Order,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError>;

    /// Applies all of `writes`, or none. Each key occurs once. Removing an absent key succeeds.
    ///
    /// # Errors
    /// When the medium fails.
    fn apply(&self, writes: Vec<Write>, durability: Durability) -> Result<(), EngineError>;

    /// Raises everything applied so far to [`Durability::Immediate`].
    ///
    /// # Errors
    /// When the medium fails.
    fn sync(&self) -> Result<(), EngineError>;

    /// Gives room that deleted and overwritten records left back to the medium, as far as the engine can. Changes no record. Takes
    /// turns with `apply`; reads may have to wait for it.
    ///
    /// An engine that does this by itself, or cannot, has nothing to do here.
    ///
    /// # Errors
    /// When the medium fails; the store above then takes no writes any more, as after `apply`.
    fn compact(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Releases everything the engine holds: memory, files, locks. Everything else answers [`StorageFault::Closed`] from then on.
    ///
    /// # Errors
    /// When the medium fails; everything is released all the same.
    fn close(&self) -> Result<(), EngineError>;
}

/// One change of one raw key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key.
    pub key: Vec<u8>,
    /// The value it gets; none removes the key.
    pub value: Option<Vec<u8>>,
}

/// How an engine failed.
#[derive(Debug)]
pub struct EngineError {
    /// What code branches on.
    pub fault: StorageFault,
    /// What the engine said.
    pub cause: Box<dyn Error + Send + Sync>,
}

impl EngineError {
    /// A failure of this class.
    pub fn new(fault: StorageFault, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { fault, cause: cause.into() }
    }

    /// The answer of a closed engine.
    pub fn closed() -> Self {
        Self::new(StorageFault::Closed, "the engine was closed")
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fault, self.cause)
    }
}

impl Error for EngineError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}
