//! What one component may use.

use std::num::NonZeroU64;
use std::time::Duration;

use super::ByteSize;

/// The limits of one component. Every one is enforced, or the component does not start.
///
/// An engine that cannot enforce a limit says so in its [`EngineProfile`](crate::runtime::EngineProfile), and
/// the host then refuses to start a component at all rather than to run it unlimited.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields, rename_all = "kebab-case"))]
pub struct ResourceLimits {
    /// Bytes of all linear memories together. Growing beyond is refused to the guest; starting beyond is an error.
    pub memory: ByteSize,
    /// Elements of all tables together.
    pub table_elements: u32,
    /// Core instances; also the number of memories and of tables.
    pub instances: u32,
    /// Resource handles alive at a time.
    pub handles: u32,
    /// Bytes handed over in one call between guest and host, in either direction. Values that a guest hands to a function of
    /// the embedder, or returns from a call by name, count what they take of the host: depending on the engine up to 40
    /// bytes for an element of a list, be it one byte, and the names of fields and cases.
    pub transfer: ByteSize,
    /// Bytes of a reply.
    pub reply: ByteSize,
    /// Time for one call into the component, `init` and `shutdown` included.
    #[cfg_attr(feature = "serde", serde(with = "crate::config::duration"))]
    pub deadline: Duration,
    /// Instructions for one call. None: not counted, which makes guests faster.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub fuel: Option<NonZeroU64>,
    /// Calls of host functions during one message.
    pub host_calls: u64,
    /// Messages sent during one message.
    pub outbox_messages: u32,
    /// Bytes of all messages sent during one message.
    pub outbox_bytes: ByteSize,
    /// Messages waiting for the component.
    pub mailbox_messages: u32,
    /// Bytes of all messages waiting for the component; also the size of the largest one.
    pub mailbox_bytes: ByteSize,
    /// Bytes of stored keys and values, with the store's overhead for each key.
    pub storage_bytes: ByteSize,
    /// Stored keys.
    pub storage_keys: u64,
    /// Bytes logged during one message; what is beyond is cut, and a line says so.
    pub log_bytes: ByteSize,
    /// Messages sent, asked and published in a second, taken over all handlers. None: as many as the other limits allow.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub messages_per_second: Option<NonZeroU64>,
    /// Bytes of these messages in a second. None: as many as the other limits allow.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub message_bytes_per_second: Option<NonZeroU64>,
    /// Bytes logged in a second; lines beyond are left out, and a line says so. None: as many as the other limits allow.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub log_bytes_per_second: Option<NonZeroU64>,
    /// Requests that were asked without waiting, and are not answered yet.
    pub pending_requests: u32,
    /// Files, directories, and streams of files open at a time; more are refused to the guest.
    pub open_files: u32,
}

impl Default for ResourceLimits {
    /// Room for an ordinary component on a shared machine: 64 MiB of memory, 5 s for a call, 16 MiB of storage.
    fn default() -> Self {
        Self {
            memory: ByteSize::mib(64),
            table_elements: 100_000,
            instances: 256,
            handles: 10_000,
            transfer: ByteSize::mib(16),
            reply: ByteSize::mib(4),
            deadline: Duration::from_secs(5),
            fuel: None,
            host_calls: 1_000_000,
            outbox_messages: 1_000,
            outbox_bytes: ByteSize::mib(16),
            mailbox_messages: 1_024,
            mailbox_bytes: ByteSize::mib(16),
            storage_bytes: ByteSize::mib(16),
            storage_keys: 100_000,
            log_bytes: ByteSize::kib(64),
            messages_per_second: None,
            message_bytes_per_second: None,
            log_bytes_per_second: None,
            pending_requests: 1_024,
            open_files: 64,
        }
    }
}
