//! WASI 0.2: components of ordinary toolchains link, and find the files, arguments and environment of their instance, and beside these an empty world.
//!
//! No input and no network. What a component writes to its output goes line by line to
//! the logging service of its instance; clocks run, and random numbers are random.

mod filesystem;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::error::Result;
use airssys_wasm_core::interface::WitInterface;
use airssys_wasm_core::runtime::{HostServices, LogLevel};
use airssys_wasm_engine::wasi::{Lines, MAX_RANDOM, MAX_WRITE};
use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView, async_trait};

use crate::host;
use crate::instance::State;

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    filesystem::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// Whether a component needs a world of WASI at all.
pub(crate) fn is_imported(interface: &WitInterface) -> bool {
    interface.imports.iter().any(|instance| instance.name.starts_with("wasi:"))
}

/// The world of one instance that imports WASI.
pub(crate) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    outputs: [Output; 2],
}

impl Wasi {
    pub(crate) fn new(limits: &ResourceLimits, services: &HostServices) -> Self {
        let outputs = [LogLevel::Info, LogLevel::Warn]
            .map(|level| Output(Arc::new(Lines::new(Arc::clone(&services.logging), level))));
        let variables: Vec<_> = services.environment.variables().collect();
        let arguments: Vec<_> = services.environment.arguments().collect();
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.handles as usize);
        let context = WasiCtxBuilder::new()
            .envs(&variables)
            .args(&arguments)
            .stdout(outputs[0].clone())
            .stderr(outputs[1].clone())
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .max_random_size(MAX_RANDOM.min(limits.transfer.as_u64()))
            .build();
        Self { context, table, outputs }
    }

    /// Logs what the guest left without an end of line.
    pub(crate) fn end_call(&self) -> Result<()> {
        host::guarded("logging.log", || self.outputs.iter().try_for_each(|output| output.0.end()))
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self.wasi.as_mut().expect("a component that imports WASI is given a world of it");
        WasiCtxView { ctx: &mut wasi.context, table: &mut wasi.table }
    }
}

/// One of the two outputs of a guest. All of its streams write into the same lines.
#[derive(Clone)]
struct Output(Arc<Lines>);

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.write(&bytes).map_err(|error| StreamError::Trap(wasmtime::Error::new(error)))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_WRITE)
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(bytes).map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
