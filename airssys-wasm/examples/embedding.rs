//! The smallest program that embeds a host: `cargo run --example embedding [COMPONENT.wasm [MESSAGE]]`.
//!
//! Without arguments it runs the counter that comes with the project.

#![expect(clippy::print_stdout, reason = "the reply is this program's output")]

use std::path::PathBuf;
use std::time::Duration;

use airssys_wasm::core::prelude::*;
use airssys_wasm::{Host, Installation, Source};
use airssys_wasm_conformance::guests::Guest;

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let source = match arguments.next() {
        Some(path) => Source::File(PathBuf::from(path)),
        None => Source::from(Guest::Counter.bytes()?),
    };
    let message =
        arguments.next().map_or_else(|| "increment".to_owned(), |text| text.to_string_lossy().into_owned());

    let host = Host::builder().build().await?;
    let id: ComponentId = "acme/counter".parse()?;
    let grant: Capability = "storage:acme/counter".parse()?;
    host.install(Installation::new(id.clone(), source).grant(grant)).await?;
    host.start(&id).await?;

    let reply = host.request(&id, message.as_str()).await?;
    println!("{}", String::from_utf8_lossy(&reply.payload));

    host.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
