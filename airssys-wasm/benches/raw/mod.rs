//! What the host stands on, without the host: Wasmtime and tokio channels, put together as plainly as possible.
//!
//! The settings are those of a serving host: a pool, copy-on-write images, epochs, fibers, bindings that borrow what
//! they pass. There are no limits, no rights, no audit and no transactions.

#![allow(dead_code, reason = "each bench uses a part")]

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use wasmtime::component::{Component, HasSelf, Linker, TypedFunc};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

pub(crate) mod bindings {
    #![allow(
        missing_docs,
        missing_debug_implementations,
        unreachable_pub,
        unused_qualifications,
        unsafe_code,
        clippy::all,
        clippy::undocumented_unsafe_blocks,
        clippy::uninlined_format_args,
        reason = "generated code"
    )]

    wasmtime::component::bindgen!({
        path: "../wit",
        world: "guest",
        imports: {
            "airssys:core/messaging.request": async,
            "airssys:core/storage": async,
        },
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::airssys::core::{logging, messaging, storage, types};
use bindings::exports::airssys::core::component;
use bindings::{Guest, GuestPre};

/// How often the epoch moves.
pub(crate) const TICK: Duration = Duration::from_millis(1);

pub(crate) fn config(slots: u32) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * 4)
        .total_memories(slots)
        .total_tables(slots * 2)
        .total_stacks(slots)
        .linear_memory_keep_resident(128 << 10)
        .table_keep_resident(16 << 10);
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .parallel_compilation(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// An engine and the thread that moves its epoch.
pub(crate) fn engine(slots: u32) -> Engine {
    let engine = Engine::new(&config(slots)).expect("the pool fits into the address space");
    let ticked = engine.weak();
    thread::spawn(move || {
        while let Some(engine) = ticked.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    });
    engine
}

/// What host functions see.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) id: String,
    pub(crate) peers: Arc<HashMap<String, mpsc::Sender<Letter>>>,
    pub(crate) values: HashMap<Vec<u8>, Vec<u8>>,
}

/// A message to an actor.
pub(crate) struct Letter {
    pub(crate) payload: Vec<u8>,
    pub(crate) reply: oneshot::Sender<Vec<u8>>,
}

impl types::Host for State {}

impl logging::Host for State {
    fn log(&mut self, _: logging::Level, _: String) {}

    fn enabled(&mut self, _: logging::Level) -> bool {
        false
    }
}

impl messaging::Host for State {
    fn send(
        &mut self,
        _: String,
        _: types::BodyResult,
    ) -> Result<types::MessageId, messaging::MessagingError> {
        unused()
    }

    async fn request(
        &mut self,
        target: String,
        body: types::BodyResult,
        _: u32,
    ) -> Result<types::BodyResult, messaging::MessagingError> {
        let Some(peer) = self.peers.get(&target) else {
            return Err(messaging::MessagingError::NotFound(target));
        };
        let payload = ask(peer, body.payload).await;
        Ok(types::BodyResult { content_type: None, payload })
    }

    fn request_async(
        &mut self,
        _: String,
        _: types::BodyResult,
        _: u32,
    ) -> Result<types::MessageId, messaging::MessagingError> {
        unused()
    }

    fn cancel(&mut self, _: types::MessageId) -> bool {
        false
    }

    fn publish(
        &mut self,
        _: String,
        _: types::BodyResult,
    ) -> Result<types::MessageId, messaging::MessagingError> {
        unused()
    }

    fn subscribe(&mut self, _: String) -> Result<(), messaging::MessagingError> {
        unused()
    }

    fn unsubscribe(&mut self, _: String) -> Result<bool, messaging::MessagingError> {
        unused()
    }

    fn self_id(&mut self) -> String {
        self.id.clone()
    }
}

fn unused<T>() -> Result<T, messaging::MessagingError> {
    Err(messaging::MessagingError::Unavailable("the benches do not use it".to_owned()))
}

impl storage::Host for State {
    async fn get(&mut self, key: Vec<u8>) -> Result<Option<Vec<u8>>, storage::StorageError> {
        Ok(self.values.get(&key).cloned())
    }

    async fn set(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), storage::StorageError> {
        self.values.insert(key, value);
        Ok(())
    }

    async fn replace(
        &mut self,
        key: Vec<u8>,
        value: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, storage::StorageError> {
        Ok(self.values.insert(key, value))
    }

    async fn delete(&mut self, key: Vec<u8>) -> Result<bool, storage::StorageError> {
        Ok(self.values.remove(&key).is_some())
    }

    async fn exists(&mut self, key: Vec<u8>) -> Result<bool, storage::StorageError> {
        Ok(self.values.contains_key(&key))
    }

    async fn list(
        &mut self,
        _: Vec<u8>,
        _: Option<Vec<u8>>,
        _: u32,
    ) -> Result<storage::Page, storage::StorageError> {
        Ok(storage::Page { entries: Vec::new(), cursor: None })
    }

    async fn compare_and_set(
        &mut self,
        _: Vec<u8>,
        _: storage::Comparison,
        _: Vec<u8>,
    ) -> Result<bool, storage::StorageError> {
        Ok(false)
    }

    async fn usage(&mut self) -> Result<storage::StorageUsage, storage::StorageError> {
        Ok(storage::StorageUsage { bytes: 0, keys: 0, max_bytes: 0, max_keys: 0 })
    }
}

/// Everything a component imports.
pub(crate) fn linker(engine: &Engine) -> Linker<State> {
    let mut linker = Linker::new(engine);
    Guest::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).expect("the names are free");
    linker
}

/// Links a component, so that it can be instantiated any number of times.
pub(crate) fn link(linker: &Linker<State>, component: &Component) -> GuestPre<State> {
    let linked = linker.instantiate_pre(component).expect("the component imports what there is");
    GuestPre::new(linked).expect("the component exports the world")
}

/// Compiles and links a component.
pub(crate) fn load(engine: &Engine, wasm: &[u8]) -> GuestPre<State> {
    let component = Component::from_binary(engine, wasm).expect("the component is valid");
    link(&linker(engine), &component)
}

/// Compiled code from a file that a bench wrote.
#[allow(unsafe_code, reason = "Wasmtime trusts compiled code, and cannot check it")]
pub(crate) fn deserialize(engine: &Engine, path: &Path) -> Component {
    // SAFETY: The file was written with what `precompile_component` of the same engine returned.
    unsafe { Component::deserialize_file(engine, path) }.expect("the code fits the engine")
}

/// A function without parameters of a component without imports, and the store of its instance.
pub(crate) async fn function(
    engine: &Engine,
    wasm: &[u8],
    name: &str,
) -> (Store<State>, TypedFunc<(), (u32,)>) {
    let component = Component::from_binary(engine, wasm).expect("the component is valid");
    let mut store = Store::new(engine, State::default());
    store.epoch_deadline_async_yield_and_update(1);
    store.set_epoch_deadline(1);
    let instance = Linker::new(engine).instantiate_async(&mut store, &component).await;
    let function = instance.expect("there is a free slot").get_typed_func(&mut store, name);
    (store, function.expect("the component exports it"))
}

/// A live instance.
pub(crate) struct Instance {
    pub(crate) store: Store<State>,
    pub(crate) guest: Guest,
}

impl Instance {
    pub(crate) async fn new(component: &GuestPre<State>, state: State) -> Self {
        let mut store = Store::new(component.engine(), state);
        store.epoch_deadline_async_yield_and_update(1);
        store.set_epoch_deadline(1);
        let guest = component.instantiate_async(&mut store).await.expect("there is a free slot");
        Self { store, guest }
    }

    pub(crate) async fn init(&mut self, config: &[(&str, &str)]) {
        self.store.set_epoch_deadline(1);
        let called = self.guest.airssys_core_component().call_init(&mut self.store, config).await;
        called.expect("the guest does not trap").expect("the guest takes its configuration");
    }

    /// Calls `execute`, and returns the payload of the reply.
    pub(crate) async fn execute(
        &mut self,
        content_type: Option<&str>,
        payload: &[u8],
    ) -> wasmtime::Result<Vec<u8>> {
        self.store.set_epoch_deadline(1);
        self.call(content_type, payload).await
    }

    /// As [`execute`](Self::execute), under the epoch deadline that is set already.
    pub(crate) async fn call(
        &mut self,
        content_type: Option<&str>,
        payload: &[u8],
    ) -> wasmtime::Result<Vec<u8>> {
        let message = component::Message {
            id: types::MessageId { high: 0, low: 0 },
            sender: types::Sender::Host,
            topic: None,
            correlation: None,
            body: types::BodyParam { content_type, payload },
            sent_at: 0,
            attempt: 1,
            trace: None,
        };
        let called = self.guest.airssys_core_component().call_execute(&mut self.store, message).await?;
        Ok(called.map_err(|failure| wasmtime::format_err!("the guest refused: {}", failure.message))?.payload)
    }
}

/// Starts an actor: a task that owns an instance and answers its letters.
pub(crate) fn spawn(mut instance: Instance) -> mpsc::Sender<Letter> {
    let (mailbox, mut letters) = mpsc::channel::<Letter>(64);
    tokio::spawn(async move {
        while let Some(letter) = letters.recv().await {
            let reply = instance.execute(None, &letter.payload).await.expect("the guest answers");
            let _ = letter.reply.send(reply);
        }
    });
    mailbox
}

/// Sends a letter and waits for the reply.
pub(crate) async fn ask(mailbox: &mpsc::Sender<Letter>, payload: Vec<u8>) -> Vec<u8> {
    let (reply, answer) = oneshot::channel();
    assert!(mailbox.send(Letter { payload, reply }).await.is_ok(), "the actor has ended");
    answer.await.expect("the actor answers")
}
