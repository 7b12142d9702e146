//! The binary of a component, read within its bound, and what identifies it.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use airssys_wasm_core::component::{ArtifactDigest, ByteSize};
use airssys_wasm_core::error::{ErrorKind, Limit, Result, WasmError};
use sha2::{Digest, Sha256};

use crate::installation::Source;

/// The binary and its digest.
pub(crate) async fn read(source: Source, max: ByteSize) -> Result<(Arc<[u8]>, ArtifactDigest)> {
    let read = tokio::task::spawn_blocking(move || {
        let wasm = match source {
            Source::Bytes(wasm) => check_size(wasm.len() as u64, max).map(|()| wasm)?,
            Source::File(path) => read_file(&path, max)?,
        };
        let digest = ArtifactDigest::from_bytes(Sha256::digest(&wasm).into());
        Ok((wasm, digest))
    });
    read.await.map_err(|failed| WasmError::new(ErrorKind::Internal, "read component").because(failed))?
}

fn read_file(path: &Path, max: ByteSize) -> Result<Arc<[u8]>> {
    let fail = |cause: io::Error| {
        WasmError::new(ErrorKind::Io, "read component")
            .saying("the file cannot be read")
            .with("path", path.display())
            .advising("check the path and its permissions")
            .because(cause)
    };
    let file = std::fs::File::open(path).map_err(fail)?;
    check_size(file.metadata().map_err(fail)?.len(), max)
        .map_err(|error| error.with("path", path.display()))?;
    let mut wasm = Vec::new();
    // The file may grow while it is read, or be a device that never ends.
    file.take(max.as_u64().saturating_add(1)).read_to_end(&mut wasm).map_err(fail)?;
    check_size(wasm.len() as u64, max).map_err(|error| error.with("path", path.display()))?;
    Ok(wasm.into())
}

fn check_size(bytes: u64, max: ByteSize) -> Result<()> {
    if bytes <= max.as_u64() {
        return Ok(());
    }
    Err(WasmError::limited("load", Limit::ComponentSize)
        .with("bytes", bytes)
        .with("allowed", max)
        .advising("raise `max-component-size` of the host if the component is meant to be that large"))
}
