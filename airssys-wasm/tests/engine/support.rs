//! Services that record and misbehave as a test asks, guests, and small conveniences.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(missing_docs, unreachable_pub, reason = "for tests")]
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "for tests")]

use std::collections::BTreeMap;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use airssys_wasm::core::component::{ByteSize, ComponentId, ComponentInput, ComponentOutput, ResourceLimits};
use airssys_wasm::core::error::{Detail, ErrorKind, Limit, Result, TrapKind, WasmError};
use airssys_wasm::core::messaging::{Body, Envelope, MessageId, MessageType, Sender};
use airssys_wasm::core::runtime::{
    CallBudget, Comparison, Component, ComponentHandle, Entry, HostFunction, HostServices, Listing,
    LoadOptions, LogLevel, LoggingService, MessagingRefusal, MessagingService, NoFiles, RuntimeEngine,
    ServiceResult, StorageRefusal, StorageService, StorageUsage, Value,
};
#[cfg(feature = "wasmer")]
use airssys_wasm::wasmer::{WasmerConfig, WasmerEngine};
use airssys_wasm::wasmtime::{Allocation, WasmtimeConfig, WasmtimeEngine};
use airssys_wasm_conformance::guests::Guest;
use async_trait::async_trait;

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How a service answers when it is asked by the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Well,
    Panics,
    Fails,
    NeverAnswers,
    YieldsOften,
}

impl Mood {
    fn now(self) -> Result<()> {
        match self {
            Self::Panics => panic!("the service panics as asked"),
            Self::Fails => Err(WasmError::limited("service", Limit::HostCalls).with("why", "as asked")),
            _ => Ok(()),
        }
    }

    async fn later(self) -> Result<()> {
        self.now()?;
        match self {
            Self::NeverAnswers => pending().await,
            Self::YieldsOften => {
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[derive(Debug)]
pub struct Services {
    pub mood: Mood,
    pub id: ComponentId,
    pub lines: Mutex<Vec<(LogLevel, String)>>,
    pub sent: Mutex<Vec<(String, Body)>>,
    pub stored: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    pub answer: Mutex<Body>,
}

impl Services {
    pub fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Self {
            mood,
            id: "acme/tested".parse().unwrap(),
            lines: Mutex::default(),
            sent: Mutex::default(),
            stored: Mutex::default(),
            answer: Mutex::new(Body::new("the answer")),
        })
    }

    pub fn host(self: &Arc<Self>) -> HostServices {
        self.host_with([])
    }

    pub fn host_with(
        self: &Arc<Self>,
        extensions: impl IntoIterator<Item = Arc<dyn HostFunction>>,
    ) -> HostServices {
        HostServices {
            logging: Arc::clone(self) as _,
            messaging: Arc::clone(self) as _,
            storage: Arc::clone(self) as _,
            files: Arc::new(NoFiles),
            environment: Arc::default(),
            extensions: extensions.into_iter().collect(),
        }
    }

    pub fn texts(&self) -> Vec<String> {
        self.lines.lock().unwrap().iter().map(|(_, text)| text.clone()).collect()
    }

    fn post(&self, to: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        self.mood.now()?;
        let mut sent = self.sent.lock().unwrap();
        sent.push((to.to_owned(), body));
        Ok(Ok(MessageId::from_parts(7, sent.len() as u64)))
    }
}

impl LoggingService for Services {
    fn log(&self, level: LogLevel, message: &str) -> Result<()> {
        self.mood.now()?;
        self.lines.lock().unwrap().push((level, message.to_owned()));
        Ok(())
    }

    fn enabled(&self, level: LogLevel) -> Result<bool> {
        self.mood.now()?;
        Ok(level >= LogLevel::Info)
    }
}

#[async_trait]
impl MessagingService for Services {
    fn send(&self, target: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        self.post(target, body)
    }

    async fn request(&self, target: &str, body: Body, _: Duration) -> ServiceResult<Body, MessagingRefusal> {
        self.mood.later().await?;
        self.sent.lock().unwrap().push((target.to_owned(), body));
        Ok(Ok(self.answer.lock().unwrap().clone()))
    }

    fn request_async(
        &self,
        target: &str,
        body: Body,
        _: Duration,
    ) -> ServiceResult<MessageId, MessagingRefusal> {
        self.post(target, body)
    }

    fn cancel(&self, _: MessageId) -> Result<bool> {
        self.mood.now()?;
        Ok(true)
    }

    fn publish(&self, topic: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        self.post(topic, body)
    }

    fn subscribe(&self, pattern: &str) -> ServiceResult<(), MessagingRefusal> {
        Ok(Err(MessagingRefusal::Denied(format!("no grant for {pattern}"))))
    }

    fn unsubscribe(&self, _: &str) -> ServiceResult<bool, MessagingRefusal> {
        Ok(Ok(false))
    }

    fn self_id(&self) -> Result<&ComponentId> {
        Ok(&self.id)
    }
}

#[async_trait]
impl StorageService for Services {
    async fn get(&self, key: &[u8]) -> ServiceResult<Option<Vec<u8>>, StorageRefusal> {
        self.mood.later().await?;
        Ok(Ok(self.stored.lock().unwrap().get(key).cloned()))
    }

    async fn set(&self, key: Vec<u8>, value: Vec<u8>) -> ServiceResult<(), StorageRefusal> {
        self.mood.later().await?;
        self.stored.lock().unwrap().insert(key, value);
        Ok(Ok(()))
    }

    async fn replace(&self, key: Vec<u8>, value: Vec<u8>) -> ServiceResult<Option<Vec<u8>>, StorageRefusal> {
        self.mood.later().await?;
        Ok(Ok(self.stored.lock().unwrap().insert(key, value)))
    }

    async fn delete(&self, key: Vec<u8>) -> ServiceResult<bool, StorageRefusal> {
        Ok(Ok(self.stored.lock().unwrap().remove(&key).is_some()))
    }

    async fn exists(&self, key: &[u8]) -> ServiceResult<bool, StorageRefusal> {
        self.mood.later().await?;
        Ok(Ok(self.stored.lock().unwrap().contains_key(key)))
    }

    async fn list(
        &self,
        prefix: &[u8],
        _: Option<&[u8]>,
        limit: u32,
    ) -> ServiceResult<Listing, StorageRefusal> {
        let stored = self.stored.lock().unwrap();
        let entries = stored
            .iter()
            .filter(|(key, _)| key.starts_with(prefix))
            .take(limit as usize)
            .map(|(key, value)| Entry { key: key.clone(), value: value.clone() });
        Ok(Ok(Listing { entries: entries.collect(), cursor: None }))
    }

    async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Comparison,
        value: Vec<u8>,
    ) -> ServiceResult<bool, StorageRefusal> {
        let mut stored = self.stored.lock().unwrap();
        let fits = match expected {
            Comparison::Absent => !stored.contains_key(&key),
            Comparison::Value(value) => stored.get(&key) == Some(&value),
        };
        if fits {
            stored.insert(key, value);
        }
        Ok(Ok(fits))
    }

    async fn usage(&self) -> ServiceResult<StorageUsage, StorageRefusal> {
        Ok(Ok(StorageUsage { bytes: 1, keys: 2, max_bytes: 3, max_keys: 4 }))
    }
}

/// What a test changes about an engine.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    pub max_stack: Option<ByteSize>,
    pub tick: Option<Duration>,
    pub code_cache: Option<PathBuf>,
}

impl Setup {
    pub fn cached(folder: &Path) -> Self {
        Self { code_cache: Some(folder.to_owned()), ..Self::default() }
    }

    /// The engine under test.
    pub fn engine(self) -> Result<Arc<dyn RuntimeEngine>> {
        match std::env::var("AIRSSYS_WASM_ENGINE").as_deref() {
            Err(_) | Ok("wasmtime") => {}
            #[cfg(feature = "wasmer")]
            Ok("wasmer") => {
                let mut config = WasmerConfig { code_cache: self.code_cache, ..WasmerConfig::default() };
                config.max_stack = self.max_stack.unwrap_or(config.max_stack);
                config.tick = self.tick.unwrap_or(config.tick);
                return Ok(Arc::new(WasmerEngine::new(config)?));
            }
            Ok(other) => panic!("the tests are not built with an engine `{other}`"),
        }
        // Many tests run at a time: each engine takes few addresses.
        let allocation = Allocation::Pooling { max_instances: 32 };
        let mut config =
            WasmtimeConfig { allocation, code_cache: self.code_cache, ..WasmtimeConfig::default() };
        config.max_stack = self.max_stack.unwrap_or(config.max_stack);
        config.tick = self.tick.unwrap_or(config.tick);
        Ok(Arc::new(WasmtimeEngine::new(config)?))
    }
}

pub fn engine() -> Arc<dyn RuntimeEngine> {
    Setup::default().engine().unwrap()
}

/// The bytes of a guest.
pub fn guest(name: &str) -> Vec<u8> {
    let guest = Guest::ALL.into_iter().find(|guest| guest.name() == name).unwrap();
    guest.bytes().unwrap().into_owned()
}

pub fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

pub async fn load(engine: &Arc<dyn RuntimeEngine>, wasm: &[u8]) -> ComponentHandle {
    engine.load(wasm, LoadOptions::default()).await.unwrap_or_else(|error| panic!("{}", explain(&error)))
}

/// A default instance of a default engine.
pub async fn instance(wasm: &[u8]) -> Box<dyn Component> {
    instance_with(wasm, &ResourceLimits::default(), Mood::Well).await
}

pub async fn instance_with(wasm: &[u8], limits: &ResourceLimits, mood: Mood) -> Box<dyn Component> {
    instance_of(&engine(), wasm, limits, &Services::new(mood)).await
}

pub async fn instance_of(
    engine: &Arc<dyn RuntimeEngine>,
    wasm: &[u8],
    limits: &ResourceLimits,
    services: &Arc<Services>,
) -> Box<dyn Component> {
    let loaded = load(engine, wasm).await;
    let made = loaded.instantiate(limits, services.host(), budget()).await;
    made.unwrap_or_else(|error| panic!("{}", explain(&error)))
}

/// Enough for everything that is meant to end.
pub fn budget() -> CallBudget {
    within(PATIENCE)
}

pub fn within(time: Duration) -> CallBudget {
    CallBudget { deadline: Some(Instant::now() + time), fuel: None }
}

pub fn message(payload: impl Into<Vec<u8>>) -> ComponentInput {
    ComponentInput::Message(envelope(Body::new(payload.into())))
}

pub fn envelope(body: Body) -> Envelope {
    Envelope {
        id: MessageId::from_parts(1, 2),
        kind: MessageType::Request,
        sender: Sender::Host,
        topic: None,
        correlation: None,
        body,
        sent_at: SystemTime::now(),
        deadline: None,
        attempt: 1,
        trace: None,
    }
}

pub async fn execute(instance: &mut dyn Component, payload: impl Into<Vec<u8>>) -> Result<ComponentOutput> {
    instance.execute(message(payload), budget()).await
}

pub async fn ask(instance: &mut dyn Component, payload: &str) -> String {
    let reply =
        execute(instance, payload).await.unwrap_or_else(|error| panic!("{payload}: {}", explain(&error)));
    reply.body.text().unwrap().to_owned()
}

/// An error with its causes, for a person.
pub fn explain(error: &WasmError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text.push_str(&format!("\n  because {next}"));
        cause = next.source();
    }
    text
}

#[track_caller]
pub fn expect(error: &WasmError, kind: ErrorKind, detail: Option<Detail>) {
    assert_eq!((error.kind(), error.detail()), (kind, detail), "{}", explain(error));
}

#[track_caller]
pub fn expect_trap(error: &WasmError, trap: TrapKind) {
    expect(error, ErrorKind::ComponentTrapped, Some(Detail::Trap(trap)));
}

#[track_caller]
pub fn expect_limit(error: &WasmError, limit: Limit) {
    expect(error, ErrorKind::ResourceLimitExceeded, Some(Detail::Limit(limit)));
}

/// Calls an export without arguments.
pub async fn run(instance: &mut dyn Component, export: &str) -> Result<Option<Value>> {
    call(instance, export, &[]).await
}

pub async fn call(instance: &mut dyn Component, export: &str, arguments: &[Value]) -> Result<Option<Value>> {
    instance.call(&export.parse().unwrap(), arguments, budget()).await
}

/// A component around one core module: its function `run` is exported as `run`, without parameters.
pub fn running(core: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
            (core module $m {core})
            (core instance $i (instantiate $m))
            (func (export "run") (canon lift (core func $i "run")))
        )"#
    ))
}

/// A component whose function `run` calls `logging.enabled` through the import `host.enabled` of its core module.
pub fn calling_the_host(core: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
            (import "airssys:core/logging@0.1.0" (instance $logging
                (type $l (enum "trace" "debug" "info" "warn" "error"))
                (export "level" (type $level (eq $l)))
                (export "enabled" (func (param "level" $level) (result bool)))
            ))
            (core func $enabled (canon lower (func $logging "enabled")))
            (core module $m {core})
            (core instance $i (instantiate $m (with "host" (instance (export "enabled" (func $enabled))))))
            (func (export "run") (canon lift (core func $i "run")))
        )"#
    ))
}

/// A component with `count` core modules, each with a memory and a table of ten elements. The function `run` returns
/// the number of the last one.
pub fn large(count: u32) -> Vec<u8> {
    let modules: String = (0..count)
        .map(|n| {
            format!(
                r#"(core module $m{n} (memory 1) (table 10 funcref) (func (export "run") (result i32) (i32.const {n})))
                (core instance $i{n} (instantiate $m{n}))"#
            )
        })
        .collect();
    let last = count - 1;
    wat(&format!(
        r#"(component {modules} (func (export "run") (result u32) (canon lift (core func $i{last} "run"))))"#
    ))
}
