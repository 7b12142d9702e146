//! What an instance can ask of its host. The identity of the instance is bound inside: a guest cannot name itself.
//!
//! A service answers on two levels. The inner result goes back to the guest as the error of its WIT function. The
//! outer one ends the guest's call: a limit was passed, or the host failed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::FileService;
use crate::capability::CapabilityKind;
use crate::component::{ComponentId, Environment};
use crate::error::{FailureCode, Result};
use crate::interface::WitFunction;
use crate::messaging::{Body, ContentType, MessageId};

/// An answer for the guest, or the end of its call.
pub type ServiceResult<T, E> = Result<std::result::Result<T, E>>;

/// Everything one instance can reach.
#[derive(Clone, Debug)]
pub struct HostServices {
    /// `airssys:core/logging`.
    pub logging: Arc<dyn LoggingService>,
    /// `airssys:core/messaging`.
    pub messaging: Arc<dyn MessagingService>,
    /// `airssys:core/storage`.
    pub storage: Arc<dyn StorageService>,
    /// `wasi:filesystem`.
    pub files: Arc<dyn FileService>,
    /// `wasi:cli/environment`.
    pub environment: Arc<Environment>,
    /// Functions of the embedder, in the order of the definitions that the component was loaded with.
    pub extensions: Arc<[Arc<dyn HostFunction>]>,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogLevel {
    /// Every step.
    Trace,
    /// For whoever looks for a defect.
    Debug,
    /// What happens in the ordinary course.
    Info,
    /// Something is not as it should be.
    Warn,
    /// Something failed.
    Error,
}

/// `airssys:core/logging`, for one instance.
pub trait LoggingService: fmt::Debug + Send + Sync {
    /// Takes a line. The text is the guest's: it may hold anything, and be long.
    fn log(&self, level: LogLevel, message: &str) -> Result<()>;

    /// Whether a line of this level would go anywhere.
    fn enabled(&self, level: LogLevel) -> Result<bool>;
}

/// `airssys:core/messaging`, for one instance.
#[async_trait]
pub trait MessagingService: fmt::Debug + Send + Sync {
    /// Puts a message into the outbox of the handler.
    fn send(&self, target: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal>;

    /// Asks and waits.
    ///
    /// # Cancellation
    /// Dropping the future gives up on the answer; the receiver may still handle the request.
    async fn request(
        &self,
        target: &str,
        body: Body,
        timeout: Duration,
    ) -> ServiceResult<Body, MessagingRefusal>;

    /// Puts a request into the outbox of the handler; the answer arrives as a message of its own.
    fn request_async(
        &self,
        target: &str,
        body: Body,
        timeout: Duration,
    ) -> ServiceResult<MessageId, MessagingRefusal>;

    /// Gives up on an asynchronous request.
    fn cancel(&self, request: MessageId) -> Result<bool>;

    /// Puts an event into the outbox of the handler.
    fn publish(&self, topic: &str, body: Body) -> ServiceResult<MessageId, MessagingRefusal>;

    /// Adds a subscription when the handler succeeds.
    fn subscribe(&self, pattern: &str) -> ServiceResult<(), MessagingRefusal>;

    /// Removes a subscription when the handler succeeds.
    fn unsubscribe(&self, pattern: &str) -> ServiceResult<bool, MessagingRefusal>;

    /// Who this instance is.
    fn self_id(&self) -> Result<&ComponentId>;
}

/// `messaging-error` of the WIT package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessagingRefusal {
    /// No grant covers this address; the text names the one that would.
    Denied(String),
    /// The address or topic is not a valid one.
    InvalidAddress(String),
    /// No component of that name is running.
    NotFound(String),
    /// The receiver's mailbox is full.
    QueueFull(String),
    /// The message, or the outbox, is larger than allowed.
    TooLarge(String),
    /// No answer in time.
    Timeout,
    /// The receiver is waiting for the sender.
    Cycle(String),
    /// The receiver answered with an error of its own, or does not accept content of this type.
    Failed(Failure),
    /// The receiver ended without an answer.
    Unavailable(String),
}

/// `failure` of the WIT package: an error that a component reports about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it is about.
    pub code: FailureCode,
    /// What the component says.
    pub message: String,
}

/// `airssys:core/storage`, for one instance.
#[async_trait]
pub trait StorageService: fmt::Debug + Send + Sync {
    /// The value now, the handler's own writes included.
    async fn get(&self, key: &[u8]) -> ServiceResult<Option<Vec<u8>>, StorageRefusal>;

    /// Writes when the handler succeeds.
    async fn set(&self, key: Vec<u8>, value: Vec<u8>) -> ServiceResult<(), StorageRefusal>;

    /// Writes when the handler succeeds; the value that was there, the handler's own writes included.
    async fn replace(&self, key: Vec<u8>, value: Vec<u8>) -> ServiceResult<Option<Vec<u8>>, StorageRefusal>;

    /// Removes when the handler succeeds; whether there was something to remove.
    async fn delete(&self, key: Vec<u8>) -> ServiceResult<bool, StorageRefusal>;

    /// Whether the key has a value now, the handler's own writes included.
    async fn exists(&self, key: &[u8]) -> ServiceResult<bool, StorageRefusal>;

    /// Entries in order of their keys, the handler's own writes included.
    async fn list(
        &self,
        prefix: &[u8],
        cursor: Option<&[u8]>,
        limit: u32,
    ) -> ServiceResult<Listing, StorageRefusal>;

    /// Writes when the handler succeeds, if the key now is as expected.
    async fn compare_and_set(
        &self,
        key: Vec<u8>,
        expected: Comparison,
        value: Vec<u8>,
    ) -> ServiceResult<bool, StorageRefusal>;

    /// What the component holds now, the handler's own writes included.
    async fn usage(&self) -> ServiceResult<StorageUsage, StorageRefusal>;
}

/// `storage-error` of the WIT package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageRefusal {
    /// No grant covers the component's namespace; the text names the one that would.
    Denied(String),
    /// The write would pass the quota.
    QuotaExceeded(String),
    /// A key, a value, or the handler's writes together are too large.
    TooLarge(String),
    /// Not a cursor of this listing.
    InvalidCursor(String),
    /// The store failed.
    Unavailable(String),
}

/// `comparison` of the WIT package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The key must be absent.
    Absent,
    /// The key must have this value.
    Value(Vec<u8>),
}

/// `page` of the WIT package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// Where the next page goes on; none when this was the last.
    pub cursor: Option<Vec<u8>>,
}

/// `entry` of the WIT package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

/// `usage` of the WIT package.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageUsage {
    /// Bytes of keys and values, with the overhead for each key.
    pub bytes: u64,
    /// Keys.
    pub keys: u64,
    /// The most bytes.
    pub max_bytes: u64,
    /// The most keys.
    pub max_keys: u64,
}

/// What an embedder's function is called, what it takes, and what right it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct HostFunctionDefinition {
    /// The interface that components import, with its version: `acme:geo/lookup@1.0.0`.
    pub interface: String,
    /// The function and its type. Its [`requires`](WitFunction::requires) is what the gate checks before each call.
    pub function: WitFunction,
    /// The name of the custom capability that is needed; none for a function that every component may call.
    pub capability: Option<String>,
}

/// A function that an embedder adds to what components can import.
///
/// The same registration works on every engine. Arguments are checked against the declared types before the call, and
/// the result after it.
#[async_trait]
pub trait HostFunction: fmt::Debug + Send + Sync {
    /// Its name, type and required capability; the same at every call.
    fn definition(&self) -> &HostFunctionDefinition;

    /// Does it, on behalf of `caller`.
    ///
    /// # Cancellation
    /// The future is dropped when the caller's deadline passes.
    ///
    /// # Errors
    /// An error ends the guest's call; an error that the guest is meant to see is a `Value::Result`. A panic ends the
    /// guest's call with [`TrapKind::HostFault`](crate::error::TrapKind::HostFault) and leaves the host running.
    async fn call(&self, caller: &ComponentId, arguments: Vec<super::Value>) -> Result<Option<super::Value>>;
}

impl HostFunctionDefinition {
    /// The kind of capability the gate asks for.
    pub fn required_kind(&self) -> Option<CapabilityKind> {
        self.capability.as_ref().map(|_| CapabilityKind::Custom)
    }
}

impl MessagingRefusal {
    /// What happened, in words.
    pub fn message(&self) -> &str {
        match self {
            Self::Denied(text)
            | Self::InvalidAddress(text)
            | Self::NotFound(text)
            | Self::QueueFull(text)
            | Self::TooLarge(text)
            | Self::Cycle(text)
            | Self::Unavailable(text) => text,
            Self::Timeout => "no answer in time",
            Self::Failed(failure) => &failure.message,
        }
    }
}

/// Parses the content type that a guest stated; a text that is none is dropped by refusing the message.
///
/// # Errors
/// [`MessagingRefusal::InvalidAddress`] saying what a content type looks like.
pub fn parse_content_type(text: Option<&str>) -> std::result::Result<Option<ContentType>, MessagingRefusal> {
    text.map(|text| {
        text.parse::<ContentType>().map_err(|refused| MessagingRefusal::InvalidAddress(refused.to_string()))
    })
    .transpose()
}
