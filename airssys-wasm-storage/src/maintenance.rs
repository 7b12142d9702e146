//! What an operator asks of a whole store.

use airssys_wasm_core::error::Result;
use airssys_wasm_core::storage::StorageBackend;
use async_trait::async_trait;

use crate::store::verify::Finding;
use crate::stream::Totals;

/// Care for a whole store; every [`Store`](crate::Store) has it, whatever its engine.
///
/// ```
/// use airssys_wasm_storage::{Maintenance, MemoryStore};
///
/// let store: Box<dyn Maintenance> = Box::new(MemoryStore::new());
/// let mut findings = Vec::new();
/// store.verify(&mut |_| (), &mut |finding| findings.push(finding))?;
/// assert!(findings.is_empty());
/// # Ok::<(), airssys_wasm_core::error::WasmError>(())
/// ```
#[async_trait]
pub trait Maintenance: StorageBackend {
    /// Reads everything, at one moment: compares each record with its checksum, counts the usage of every namespace anew and
    /// compares it with the books. Tells everything that is wrong to `found`, and goes on. Returns how much it read.
    ///
    /// Where the engine fails in the middle, what it can still reach is read from the next namespace on, at another moment.
    ///
    /// `progress` is told now and then how much was read. Blocks as long as reading takes; a memory store takes no commits meanwhile.
    ///
    /// # Errors
    /// [`Closed`](airssys_wasm_core::error::StorageFault::Closed) after closing. Everything else is a finding.
    fn verify(&self, progress: &mut dyn FnMut(Totals), found: &mut dyn FnMut(Finding)) -> Result<Totals>;

    /// Synchronises, then gives room that deleted and overwritten records left back to the medium, as far as the engine can. Takes
    /// its turn among the commits; reads may wait for it.
    ///
    /// # Cancellation
    /// Dropping the future does not stop it.
    ///
    /// # Errors
    /// As [`commit`](StorageBackend::commit).
    async fn compact(&self) -> Result<()>;
}
