//! Components that ask each other, through a host and as plain tasks: what the benches of messages are made of.

#![allow(dead_code, reason = "each bench uses a part")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airssys_wasm::core::component::{ComponentConfig, ComponentId};
use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm::{ComponentRef, Host, Installation};
use airssys_wasm_conformance::bench::Latencies;
use airssys_wasm_conformance::guests::Guest;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::raw::{self, Letter};

pub(crate) const PAYLOAD: [u8; 64] = [b'x'; 64];

/// One thread: who asks and who answers never wait for another core.
pub(crate) fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

pub(crate) fn two_workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime can be made")
}

pub(crate) fn guest(guest: Guest) -> Vec<u8> {
    guest.bytes().expect("the guest is there").into_owned()
}

pub(crate) fn id(name: &str) -> ComponentId {
    name.parse().expect("the id is valid")
}

pub(crate) async fn host(engine: Arc<dyn RuntimeEngine>) -> Host {
    Host::builder().engine(engine).build().await.expect("the host is complete")
}

pub(crate) async fn start(host: &Host, installation: Installation) -> ComponentRef {
    let id = installation.id().clone();
    host.install(installation).await.expect("the component is valid");
    host.start(&id).await.expect("the component starts");
    host.component(&id).expect("the component was just started")
}

/// Asks until the time is over, the next when the last was answered. A macro, because the future must be `Send`.
macro_rules! ask_until {
    ($until:expr, $ask:expr) => {{
        let until = $until;
        let mut latencies = Latencies::new();
        let mut start = Instant::now();
        while start < until {
            std::hint::black_box($ask);
            let end = Instant::now();
            latencies.record(end - start);
            start = end;
        }
        latencies
    }};
}

#[allow(unused_imports, reason = "each bench uses a part")]
pub(crate) use ask_until;

/// Runs one client in a task of its own.
pub(crate) fn one_client(
    runtime: &Runtime,
    client: impl Future<Output = Latencies> + Send + 'static,
) -> Latencies {
    runtime.block_on(async { tokio::spawn(client).await }).expect("the client does not panic")
}

/// Runs the clients, all at once.
fn clients<F>(runtime: &Runtime, clients: impl Iterator<Item = F>) -> Latencies
where
    F: Future<Output = Latencies> + Send + 'static,
{
    runtime.block_on(async {
        let mut running: JoinSet<_> = clients.collect();
        let mut latencies = Latencies::new();
        while let Some(client) = running.join_next().await {
            latencies.merge(client.expect("the client does not panic"));
        }
        latencies
    })
}

/// Two tasks, of which the first asks the second.
pub(crate) async fn raw_relay(engine: &wasmtime::Engine) -> mpsc::Sender<Letter> {
    let (echo, relay) = (raw::load(engine, &guest(Guest::Echo)), raw::load(engine, &guest(Guest::Relay)));
    let echo = raw::spawn(raw::Instance::new(&echo, raw::State::default()).await);
    let state = raw::State {
        id: "bench/relay".to_owned(),
        peers: Arc::new(HashMap::from([("bench/echo".to_owned(), echo)])),
        ..raw::State::default()
    };
    let mut relay = raw::Instance::new(&relay, state).await;
    relay.init(&[("target", "bench/echo")]).await;
    raw::spawn(relay)
}

/// Two components, of which the first asks the second.
pub(crate) async fn relay(engine: Arc<dyn RuntimeEngine>) -> (Host, ComponentRef) {
    let host = host(engine).await;
    start(&host, Installation::new(id("bench/echo"), guest(Guest::Echo))).await;
    let relay = Installation::new(id("bench/relay"), guest(Guest::Relay))
        .grant("messaging:bench/echo".parse().expect("the capability is valid"))
        .config(ComponentConfig::new().with("target", "bench/echo"));
    let reference = start(&host, relay).await;
    (host, reference)
}

/// How long the answer of a relay is.
const RELAYED: usize = PAYLOAD.len() + "bench/relay heard from bench/echo: ".len();

pub(crate) fn ask_raw_relay(runtime: &Runtime, relay: &mpsc::Sender<Letter>, time: Duration) -> Latencies {
    let relay = relay.clone();
    one_client(runtime, async move {
        ask_until!(Instant::now() + time, {
            let answer = raw::ask(&relay, PAYLOAD.to_vec()).await;
            assert_eq!(answer.len(), RELAYED);
        })
    })
}

pub(crate) fn ask_relay(runtime: &Runtime, relay: &ComponentRef, time: Duration) -> Latencies {
    let relay = relay.clone();
    one_client(runtime, async move {
        ask_until!(Instant::now() + time, {
            let answer = relay.request(PAYLOAD).await.expect("it answers");
            assert_eq!(answer.payload.len(), RELAYED);
        })
    })
}

/// So many tasks that answer.
pub(crate) async fn raw_echoes(engine: &wasmtime::Engine, count: usize) -> Vec<mpsc::Sender<Letter>> {
    let component = raw::load(engine, &guest(Guest::Echo));
    let mut mailboxes = Vec::new();
    for _ in 0..count {
        mailboxes.push(raw::spawn(raw::Instance::new(&component, raw::State::default()).await));
    }
    mailboxes
}

/// So many components that answer.
pub(crate) async fn echoes(engine: Arc<dyn RuntimeEngine>, count: usize) -> (Host, Vec<ComponentRef>) {
    let (host, wasm) = (host(engine).await, guest(Guest::Echo));
    let mut references = Vec::new();
    for number in 0..count {
        let installation = Installation::new(id(&format!("bench/echo-{number}")), wasm.clone());
        references.push(start(&host, installation).await);
    }
    (host, references)
}

/// Has so many clients ask, each always the same.
pub(crate) fn ask_raw_echoes(
    runtime: &Runtime,
    echoes: &[mpsc::Sender<Letter>],
    count: usize,
    time: Duration,
) -> Latencies {
    let until = Instant::now() + time;
    clients(
        runtime,
        (0..count).map(|client| {
            let mailbox = echoes[client % echoes.len()].clone();
            async move { ask_until!(until, raw::ask(&mailbox, PAYLOAD.to_vec()).await) }
        }),
    )
}

pub(crate) fn ask_echoes(
    runtime: &Runtime,
    echoes: &[ComponentRef],
    count: usize,
    time: Duration,
) -> Latencies {
    let until = Instant::now() + time;
    clients(
        runtime,
        (0..count).map(|client| {
            let reference = echoes[client % echoes.len()].clone();
            async move { ask_until!(until, reference.request(PAYLOAD).await.expect("it answers")) }
        }),
    )
}
