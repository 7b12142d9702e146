//! What airssys-wasm is about, in a few seconds: `cargo run --example tour`.
//!
//! The same on Wasmer: `cargo run --example tour --features wasmer -- --engine wasmer`.
//!
//! Four acts, each on real WebAssembly components: one answers and asks another; its state outlives the process; a call
//! that nobody allowed is denied; a component that never returns is ended while its neighbour goes on answering.

#![expect(clippy::print_stdout, reason = "the story is what this program is for")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use airssys_wasm::core::component::{ByteSize, ComponentConfig, ComponentId, ResourceLimits};
use airssys_wasm::core::config::{HostConfig, OnDisk, RuntimeConfig, StorageConfig};
use airssys_wasm::{Host, HostBuilder, Installation};
use airssys_wasm_conformance::guests::Guest;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Where the first process tells the second one the store is.
const STORE: &str = "AIRSSYS_WASM_TOUR_STORE";

#[tokio::main]
async fn main() -> Outcome {
    if let Some(folder) = std::env::var_os(STORE).map(PathBuf::from) {
        return count_in_another_process(&folder).await;
    }
    let folder = tempfile::tempdir()?;
    let host = open(folder.path()).await?;
    components_answer_each_other(&host).await?;
    what_is_not_granted_is_denied(&host).await?;
    a_runaway_is_stopped(&host).await?;
    state_outlives_the_process(host, folder.path()).await
}

/// A host with a store in a file and compiled code kept beside it.
async fn open(folder: &Path) -> Outcome<Host> {
    let config = HostConfig {
        runtime: RuntimeConfig { code_cache: Some(folder.join("code")), ..RuntimeConfig::default() },
        storage: StorageConfig::Redb(OnDisk {
            cache: ByteSize::mib(16),
            ..OnDisk::at(folder.join("state.redb"))
        }),
        ..HostConfig::default()
    };
    let code = config.runtime.code_cache.clone();
    let building = Host::builder().config(config);
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let building = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["--engine", "wasmtime"] => building,
        ["--engine", "wasmer"] => on_wasmer(building, code)?,
        _ => return Err("usage: tour [--engine wasmtime|wasmer]".into()),
    };
    Ok(building.build().await?)
}

#[cfg(feature = "wasmer")]
fn on_wasmer(building: HostBuilder, code_cache: Option<PathBuf>) -> Outcome<HostBuilder> {
    use airssys_wasm::wasmer::{WasmerConfig, WasmerEngine};

    let engine = WasmerEngine::new(WasmerConfig { code_cache, ..WasmerConfig::default() })?;
    Ok(building.engine(std::sync::Arc::new(engine)))
}

#[cfg(not(feature = "wasmer"))]
fn on_wasmer(_: HostBuilder, _: Option<PathBuf>) -> Outcome<HostBuilder> {
    Err("build the tour with `--features wasmer`".into())
}

async fn components_answer_each_other(host: &Host) -> Outcome {
    println!("1. Components answer, and ask each other");
    let greeter = start(host, Installation::new("acme/greeter".parse()?, Guest::Greeter.bytes()?)).await?;
    ask(host, &greeter, "Ada").await;

    let relay = Installation::new("acme/relay".parse()?, Guest::Relay.bytes()?)
        .config(ComponentConfig::new().with("target", "acme/greeter"))
        .grant("messaging:acme/greeter".parse()?);
    let relay = start(host, relay).await?;
    ask(host, &relay, "Grace").await;
    Ok(())
}

async fn what_is_not_granted_is_denied(host: &Host) -> Outcome {
    println!("\n2. What is not granted is denied");
    let counter = start(host, Installation::new("acme/counter".parse()?, Guest::Counter.bytes()?)).await?;
    ask(host, &counter, "increment").await;
    println!("   granting `storage:acme/counter`, and nothing else");
    host.grant(&counter, &"storage:acme/counter".parse()?)?;
    ask(host, &counter, "increment").await;
    ask(host, &counter, "add 41").await;
    Ok(())
}

async fn a_runaway_is_stopped(host: &Host) -> Outcome {
    println!("\n3. A component that never returns is stopped while its neighbour answers");
    let limits = ResourceLimits { deadline: Duration::from_millis(500), ..ResourceLimits::default() };
    let runaway = Installation::new("evil/runaway".parse()?, Guest::Hostile.bytes()?).limits(limits);
    let runaway = start(host, runaway).await?;
    let greeter: ComponentId = "acme/greeter".parse()?;

    let began = Instant::now();
    let looping = host.request(&runaway, "loop");
    let greeting = async {
        let mut answers = 0;
        let mut slowest = Duration::ZERO;
        while began.elapsed() < Duration::from_millis(450) {
            let asked = Instant::now();
            host.request(&greeter, "Ada").await?;
            slowest = slowest.max(asked.elapsed());
            answers += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, airssys_wasm::WasmError>((answers, slowest))
    };
    let (ended, answered) = tokio::join!(looping, greeting);
    let (answers, slowest) = answered?;
    println!("   acme/greeter answered {answers} times meanwhile, the slowest in {slowest:.1?}");
    match ended {
        Ok(_) => return Err("an endless loop has returned".into()),
        Err(error) => println!("   evil/runaway was ended after {:.0?}: {error}", began.elapsed()),
    }
    ask(host, &runaway, "ok").await;
    Ok(())
}

async fn state_outlives_the_process(host: Host, folder: &Path) -> Outcome {
    println!("\n4. State outlives the process");
    let report = host.shutdown(Duration::from_secs(5)).await;
    println!("   the host is shut down: {} messages dropped", report.dropped());
    let status = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(STORE, folder)
        .status()?;
    if status.success() { Ok(()) } else { Err(format!("the other process ended with {status}").into()) }
}

async fn count_in_another_process(folder: &Path) -> Outcome {
    println!("   another process (number {}) opens the same store", std::process::id());
    let host = open(folder).await?;
    let counter = Installation::new("acme/counter".parse()?, Guest::Counter.bytes()?)
        .grant("storage:acme/counter".parse()?);
    let installed = host.install(counter).await?;
    println!(
        "   {} is loaded from the {:?} of compiled code: {}",
        installed.id, installed.code, installed.digest
    );
    host.start(&installed.id).await?;
    ask(&host, &installed.id, "get").await;
    ask(&host, &installed.id, "increment").await;
    host.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn start(host: &Host, installation: Installation) -> Outcome<ComponentId> {
    let id = host.install(installation).await?.id;
    host.start(&id).await?;
    Ok(id)
}

async fn ask(host: &Host, to: &ComponentId, text: &str) {
    match host.request(to, text).await {
        Ok(reply) => println!("   {to} <- {text:?}: {}", String::from_utf8_lossy(&reply.payload)),
        Err(error) => println!("   {to} <- {text:?}: refused: {}", error.message()),
    }
}
