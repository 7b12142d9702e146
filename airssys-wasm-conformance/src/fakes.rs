//! A host that is none: it records what a component asks for, and answers as a test tells it to.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::{Result, WasmError};
use airssys_wasm_core::messaging::{Body, MessageId};
use airssys_wasm_core::runtime::{
    Comparison, Entry, HostFunction, HostFunctionDefinition, HostServices, Listing, LogLevel, LoggingService,
    MessagingRefusal, MessagingService, NoFiles, ServiceResult, StorageRefusal, StorageService, StorageUsage,
    Value,
};
use async_trait::async_trait;

/// Services that record every call, and behave well unless told otherwise.
///
/// Storage is a map in memory, and takes everything. Messages go nowhere, get the ids 1, 2, 3 and so on, and a request
/// is answered with its own body. Every log level is enabled. [`answer`](Self::answer) and
/// [`always`](Self::always) replace an answer. Cloning copies a pointer.
///
/// ```
/// use airssys_wasm_conformance::fakes::{Answer, FakeHost, HostCall};
/// use airssys_wasm_core::runtime::StorageRefusal;
///
/// let host = FakeHost::new("acme/guest");
/// host.answer("storage.get", Answer::StorageRefusal(StorageRefusal::Unavailable("on fire".into())));
/// let services = host.services();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// assert!(services.storage.get(b"key").await.unwrap().is_err());
/// assert!(services.storage.get(b"key").await.unwrap().is_ok());
/// # });
/// assert_eq!(host.calls(), vec![HostCall::Get { key: b"key".to_vec() }; 2]);
/// ```
#[derive(Clone)]
pub struct FakeHost {
    id: ComponentId,
    state: Arc<Mutex<State>>,
    extensions: Vec<Arc<dyn HostFunction>>,
}

#[derive(Default)]
struct State {
    calls: Vec<HostCall>,
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    messages: u64,
    next: HashMap<&'static str, VecDeque<Answer>>,
    always: HashMap<&'static str, Answer>,
    abandoned: usize,
}

/// A call of a host function, as it arrived.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are the arguments of the functions of the same name")]
pub enum HostCall {
    /// `logging.log`
    Log { level: LogLevel, message: String },
    /// `logging.enabled`
    Enabled { level: LogLevel },
    /// `messaging.send`
    Send { target: String, body: Body },
    /// `messaging.request`
    Request { target: String, body: Body, timeout: Duration },
    /// `messaging.request-async`
    RequestAsync { target: String, body: Body, timeout: Duration },
    /// `messaging.cancel`
    Cancel { request: MessageId },
    /// `messaging.publish`
    Publish { topic: String, body: Body },
    /// `messaging.subscribe`
    Subscribe { pattern: String },
    /// `messaging.unsubscribe`
    Unsubscribe { pattern: String },
    /// `messaging.self-id`
    SelfId,
    /// `storage.get`
    Get { key: Vec<u8> },
    /// `storage.set`
    Set { key: Vec<u8>, value: Vec<u8> },
    /// `storage.replace`
    Replace { key: Vec<u8>, value: Vec<u8> },
    /// `storage.delete`
    Delete { key: Vec<u8> },
    /// `storage.exists`
    Exists { key: Vec<u8> },
    /// `storage.list`
    List { prefix: Vec<u8>, cursor: Option<Vec<u8>>, limit: u32 },
    /// `storage.compare-and-set`
    CompareAndSet { key: Vec<u8>, expected: Comparison, value: Vec<u8> },
    /// `storage.usage`
    Usage,
    /// A function of the embedder.
    Extension { name: String, caller: ComponentId, arguments: Vec<Value> },
}

impl HostCall {
    /// `interface.function`, as [`FakeHost::answer`] wants it; of an extension, the name of its function.
    pub fn function(&self) -> &str {
        match self {
            Self::Log { .. } => "logging.log",
            Self::Enabled { .. } => "logging.enabled",
            Self::Send { .. } => "messaging.send",
            Self::Request { .. } => "messaging.request",
            Self::RequestAsync { .. } => "messaging.request-async",
            Self::Cancel { .. } => "messaging.cancel",
            Self::Publish { .. } => "messaging.publish",
            Self::Subscribe { .. } => "messaging.subscribe",
            Self::Unsubscribe { .. } => "messaging.unsubscribe",
            Self::SelfId => "messaging.self-id",
            Self::Get { .. } => "storage.get",
            Self::Set { .. } => "storage.set",
            Self::Replace { .. } => "storage.replace",
            Self::Delete { .. } => "storage.delete",
            Self::Exists { .. } => "storage.exists",
            Self::List { .. } => "storage.list",
            Self::CompareAndSet { .. } => "storage.compare-and-set",
            Self::Usage => "storage.usage",
            Self::Extension { name, .. } => name,
        }
    }
}

/// What a fake service answers.
#[derive(Clone)]
pub enum Answer {
    /// An error of the storage interface, for the guest.
    StorageRefusal(StorageRefusal),
    /// An error of the messaging interface, for the guest.
    MessagingRefusal(MessagingRefusal),
    /// Of `storage.get`.
    Value(Option<Vec<u8>>),
    /// Of functions that answer yes or no.
    Flag(bool),
    /// Of `storage.list`.
    Listing(Listing),
    /// Of `storage.usage`.
    Usage(StorageUsage),
    /// Of functions that answer with the id of a message.
    Id(MessageId),
    /// Of `messaging.request`.
    Body(Body),
    /// An error that ends the call of the guest.
    Ends(Arc<dyn Fn() -> WasmError + Send + Sync>),
    /// A panic in the service.
    Panics,
    /// Nothing, ever; for functions that wait.
    Never,
}

impl Answer {
    /// An error that ends the call of the guest.
    pub fn ends(error: impl Fn() -> WasmError + Send + Sync + 'static) -> Self {
        Self::Ends(Arc::new(error))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StorageRefusal(refusal) => f.debug_tuple("StorageRefusal").field(refusal).finish(),
            Self::MessagingRefusal(refusal) => f.debug_tuple("MessagingRefusal").field(refusal).finish(),
            Self::Value(value) => f.debug_tuple("Value").field(value).finish(),
            Self::Flag(flag) => f.debug_tuple("Flag").field(flag).finish(),
            Self::Listing(listing) => f.debug_tuple("Listing").field(listing).finish(),
            Self::Usage(usage) => f.debug_tuple("Usage").field(usage).finish(),
            Self::Id(id) => f.debug_tuple("Id").field(id).finish(),
            Self::Body(body) => f.debug_tuple("Body").field(body).finish(),
            Self::Ends(error) => f.debug_tuple("Ends").field(&error()).finish(),
            Self::Panics => f.write_str("Panics"),
            Self::Never => f.write_str("Never"),
        }
    }
}

impl FakeHost {
    /// A host for one instance of this component.
    ///
    /// # Panics
    /// When `id` is not a component id.
    pub fn new(id: &str) -> Self {
        let id = id.parse().unwrap_or_else(|refused| panic!("{refused}"));
        Self { id, state: Arc::default(), extensions: Vec::new() }
    }

    /// Adds a function of the embedder; it records its calls here too, and answers as `answer` says.
    #[must_use]
    pub fn with_extension(
        mut self,
        definition: HostFunctionDefinition,
        answer: impl Fn(&[Value]) -> Result<Option<Value>> + Send + Sync + 'static,
    ) -> Self {
        let host = Self { extensions: Vec::new(), ..self.clone() };
        self.extensions.push(Arc::new(FakeFunction { definition, host, answer: Box::new(answer) }));
        self
    }

    /// What to hand to an engine.
    pub fn services(&self) -> HostServices {
        HostServices {
            logging: Arc::new(self.clone()),
            messaging: Arc::new(self.clone()),
            storage: Arc::new(self.clone()),
            files: Arc::new(NoFiles),
            environment: Arc::default(),
            extensions: self.extensions.as_slice().into(),
        }
    }

    /// Answers the next call of `function`, such as `storage.get`, in this way. Several answers queue up.
    ///
    /// An answer of a kind that the function does not have makes its call panic.
    pub fn answer(&self, function: &'static str, answer: Answer) {
        self.state().next.entry(function).or_default().push_back(answer);
    }

    /// Answers every call of `function` in this way, once the queue of [`answer`](Self::answer) is empty.
    pub fn always(&self, function: &'static str, answer: Answer) {
        self.state().always.insert(function, answer);
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<HostCall> {
        self.state().calls.clone()
    }

    /// Every call since this was last asked, in order.
    pub fn take_calls(&self) -> Vec<HostCall> {
        std::mem::take(&mut self.state().calls)
    }

    /// The entries of the storage.
    pub fn entries(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        self.state().entries.clone()
    }

    /// Puts an entry into the storage.
    pub fn store(&self, key: &[u8], value: &[u8]) {
        self.state().entries.insert(key.to_vec(), value.to_vec());
    }

    /// How many calls that were to wait forever were given up by the engine.
    pub fn abandoned(&self) -> usize {
        self.state().abandoned
    }

    /// How many clones of this host there are beside it. Each service of an instance is one, until it is released.
    pub fn clones(&self) -> usize {
        Arc::strong_count(&self.state) - 1
    }

    /// Who the instance is.
    pub fn id(&self) -> &ComponentId {
        &self.id
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call, and takes the answer that was prepared for it.
    fn record(&self, call: HostCall) -> Option<Answer> {
        let mut state = self.state();
        let prepared = state.next.get_mut(call.function()).and_then(VecDeque::pop_front);
        let prepared = prepared.or_else(|| state.always.get(call.function()).cloned());
        state.calls.push(call);
        prepared
    }

    fn next_id(&self) -> MessageId {
        let mut state = self.state();
        state.messages += 1;
        MessageId::from_parts(0, state.messages)
    }

    /// Waits until it is dropped, and takes note of that.
    async fn wait_forever(&self) -> Infallible {
        struct Note<'a>(&'a FakeHost);
        impl Drop for Note<'_> {
            fn drop(&mut self) {
                self.0.state().abandoned += 1;
            }
        }
        let _note = Note(self);
        std::future::pending().await
    }

    async fn waits(&self, prepared: Option<&Answer>) {
        if matches!(prepared, Some(Answer::Never)) {
            self.wait_forever().await;
        }
    }
}

impl fmt::Debug for FakeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeHost").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Unwinds like a panic, and leaves out the message that a panic hook would print: this one is on purpose.
fn panic_as_asked() -> ! {
    std::panic::resume_unwind(Box::new("panicked as asked"))
}

fn unfit(answer: &Answer) -> ! {
    panic!("the answer {answer:?} does not fit the function")
}

/// The answer of a function whose errors only end the call.
fn plain<T>(
    prepared: Option<Answer>,
    take: impl FnOnce(&Answer) -> Option<T>,
    usual: impl FnOnce() -> T,
) -> Result<T> {
    match prepared {
        None => Ok(usual()),
        Some(Answer::Ends(error)) => Err(error()),
        Some(Answer::Panics) => panic_as_asked(),
        Some(answer) => Ok(take(&answer).unwrap_or_else(|| unfit(&answer))),
    }
}

fn messaging<T>(
    prepared: Option<Answer>,
    take: impl FnOnce(&Answer) -> Option<T>,
    usual: impl FnOnce() -> T,
) -> ServiceResult<T, MessagingRefusal> {
    match prepared {
        Some(Answer::MessagingRefusal(refusal)) => Ok(Err(refusal)),
        prepared => plain(prepared, take, usual).map(Ok),
    }
}

fn storage<T>(
    prepared: Option<Answer>,
    take: impl FnOnce(&Answer) -> Option<T>,
    usual: impl FnOnce() -> T,
) -> ServiceResult<T, StorageRefusal> {
    match prepared {
        Some(Answer::StorageRefusal(refusal)) => Ok(Err(refusal)),
        prepared => plain(prepared, take, usual).map(Ok),
    }
}

fn found(answer: &Answer) -> Option<Option<Vec<u8>>> {
    if let Answer::Value(value) = answer { Some(value.clone()) } else { None }
}

fn flag(answer: &Answer) -> Option<bool> {
    if let Answer::Flag(flag) = answer { Some(*flag) } else { None }
}

fn id(answer: &Answer) -> Option<MessageId> {
    if let Answer::Id(id) = answer { Some(*id) } else { None }
}

impl LoggingService for FakeHost {
    fn log(&self, level: LogLevel, message: &str) -> Result<()> {
        plain(self.record(HostCall::Log { level, message: message.to_owned() }), |_| None, || ())
    }

    fn enabled(&self, level: LogLevel) -> Result<bool> {
        plain(self.record(HostCall::Enabled { level }), flag, || true)
    }
}

#[async_trait]
impl MessagingService for FakeHost {
    fn send(&self, target: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        messaging(self.record(HostCall::Send { target: target.to_owned(), body }), id, || self.next_id())
    }

    async fn request(
        &self,
        target: &str,
        body: Body,
        timeout: Duration,
    ) -> ServiceResult<Body, MessagingRefusal> {
        let prepared =
            self.record(HostCall::Request { target: target.to_owned(), body: body.clone(), timeout });
        self.waits(prepared.as_ref()).await;
        let take = |answer: &Answer| if let Answer::Body(body) = answer { Some(body.clone()) } else { None };
        messaging(prepared, take, || body)
    }

    fn request_async(
        &self,
        target: &str,
        body: Body,
        timeout: Duration,
    ) -> ServiceResult<MessageId, MessagingRefusal> {
        let prepared = self.record(HostCall::RequestAsync { target: target.to_owned(), body, timeout });
        messaging(prepared, id, || self.next_id())
    }

    fn cancel(&self, request: MessageId) -> Result<bool> {
        plain(self.record(HostCall::Cancel { request }), flag, || true)
    }

    fn publish(&self, topic: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal> {
        messaging(self.record(HostCall::Publish { topic: topic.to_owned(), body }), id, || self.next_id())
    }

    fn subscribe(&self, pattern: &str) -> ServiceResult<(), MessagingRefusal> {
        messaging(self.record(HostCall::Subscribe { pattern: pattern.to_owned() }), |_| None, || ())
    }

    fn unsubscribe(&self, pattern: &str) -> ServiceResult<bool, MessagingRefusal> {
        messaging(self.record(HostCall::Unsubscribe { pattern: pattern.to_owned() }), flag, || true)
    }

    fn self_id(&self) -> Result<&ComponentId> {
        plain(self.record(HostCall::SelfId), |_| None, || &self.id)
    }
}

#[async_trait]
impl StorageService for FakeHost {
    async fn get(&self, key: &[u8]) -> ServiceResult<Option<Vec<u8>>, StorageRefusal> {
        let prepared = self.record(HostCall::Get { key: key.to_vec() });
        self.waits(prepared.as_ref()).await;
        storage(prepared, found, || self.state().entries.get(key).cloned())
    }

    async fn set(&self, key: Vec<u8>, value: Vec<u8>) -> ServiceResult<(), StorageRefusal> {
        let prepared = self.record(HostCall::Set { key: key.clone(), value: value.clone() });
        self.waits(prepared.as_ref()).await;
        storage(prepared, |_| None, || drop(self.state().entries.insert(key, value)))
    }

    async fn replace(&self, key: Vec<u8>, value: Vec<u8>) -> ServiceResult<Option<Vec<u8>>, StorageRefusal> {
        let prepared = self.record(HostCall::Replace { key: key.clone(), value: value.clone() });
        self.waits(prepared.as_ref()).await;
        storage(prepared, found, || self.state().entries.insert(key, value))
    }

    async fn delete(&self, key: Vec<u8>) -> ServiceResult<bool, StorageRefusal> {
        let prepared = self.record(HostCall::Delete { key: key.clone() });
        self.waits(prepared.as_ref()).await;
        storage(prepared, flag, || self.state().entries.remove(&key).is_some())
    }

    async fn exists(&self, key: &[u8]) -> ServiceResult<bool, StorageRefusal> {
        let prepared = self.record(HostCall::Exists { key: key.to_vec() });
        self.waits(prepared.as_ref()).await;
        storage(prepared, flag, || self.state().entries.contains_key(key))
    }

    async fn list(
        &self,
        prefix: &[u8],
        cursor: Option<&[u8]>,
        limit: u32,
    ) -> ServiceResult<Listing, StorageRefusal> {
        let cursor = cursor.map(<[u8]>::to_vec);
        let prepared = self.record(HostCall::List { prefix: prefix.to_vec(), cursor: cursor.clone(), limit });
        self.waits(prepared.as_ref()).await;
        let take = |answer: &Answer| {
            if let Answer::Listing(listing) = answer { Some(listing.clone()) } else { None }
        };
        storage(prepared, take, || {
            let start = cursor.map_or(Bound::Included(prefix.to_vec()), Bound::Excluded);
            let state = self.state();
            let mut rest = state
                .entries
                .range((start, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix))
                .map(|(key, value)| Entry { key: key.clone(), value: value.clone() })
                .peekable();
            let entries: Vec<_> = rest.by_ref().take(limit as usize).collect();
            let cursor = rest.peek().and(entries.last()).map(|entry| entry.key.clone());
            Listing { entries, cursor }
        })
    }

    async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Comparison,
        value: Vec<u8>,
    ) -> ServiceResult<bool, StorageRefusal> {
        let prepared = self.record(HostCall::CompareAndSet {
            key: key.clone(),
            expected: expected.clone(),
            value: value.clone(),
        });
        self.waits(prepared.as_ref()).await;
        storage(prepared, flag, || {
            let mut state = self.state();
            let holds = match (state.entries.get(&key), expected) {
                (None, Comparison::Absent) => true,
                (Some(found), Comparison::Value(expected)) => *found == expected,
                _ => false,
            };
            if holds {
                state.entries.insert(key, value);
            }
            holds
        })
    }

    async fn usage(&self) -> ServiceResult<StorageUsage, StorageRefusal> {
        let prepared = self.record(HostCall::Usage);
        self.waits(prepared.as_ref()).await;
        let take = |answer: &Answer| if let Answer::Usage(usage) = answer { Some(*usage) } else { None };
        storage(prepared, take, StorageUsage::default)
    }
}

struct FakeFunction {
    definition: HostFunctionDefinition,
    host: FakeHost,
    answer: Box<Reply>,
}

type Reply = dyn Fn(&[Value]) -> Result<Option<Value>> + Send + Sync;

#[async_trait]
impl HostFunction for FakeFunction {
    fn definition(&self) -> &HostFunctionDefinition {
        &self.definition
    }

    async fn call(&self, caller: &ComponentId, arguments: Vec<Value>) -> Result<Option<Value>> {
        let name = self.definition.function.name.clone();
        let call = HostCall::Extension { name, caller: caller.clone(), arguments: arguments.clone() };
        let prepared = self.host.record(call);
        self.host.waits(prepared.as_ref()).await;
        match prepared {
            None => (self.answer)(&arguments),
            Some(Answer::Ends(error)) => Err(error()),
            Some(Answer::Panics) => panic_as_asked(),
            Some(answer) => unfit(&answer),
        }
    }
}

impl fmt::Debug for FakeFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeFunction").field("definition", &self.definition).finish_non_exhaustive()
    }
}
