//! Components: who they are, what they may use, what goes in and what comes out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

mod environment;
mod identity;
mod limits;
mod size;
mod version;

pub use environment::{Environment, InvalidEnvironment};
pub use identity::{ArtifactDigest, ComponentId, InstanceId, InvalidComponentId, InvalidDigest};
pub use limits::ResourceLimits;
pub use size::{ByteSize, InvalidByteSize};
pub use version::{InvalidVersion, Version};

use crate::messaging::{Body, Envelope, MessageId};
use crate::runtime::MessagingRefusal;

/// What a component says of itself through `component.metadata`. Shown to people; trusted by nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ComponentMetadata {
    /// Its name for people.
    pub name: String,
    /// Its version, as it spells it.
    pub version: String,
    /// A sentence about it.
    pub description: String,
}

/// The configuration that an operator gives a component, handed to `init` in key order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct ComponentConfig(BTreeMap<String, String>);

impl ComponentConfig {
    /// No configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `key`; the last value wins.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(key.into(), value.into());
        self
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Every key and value, in key order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for ComponentConfig {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// What an instance is asked to handle.
#[derive(Clone, Debug)]
pub enum ComponentInput {
    /// A message for `component.execute`.
    Message(Envelope),
    /// The answer to an asynchronous request, for `replies.handle-reply`.
    Reply {
        /// The request that this answers.
        request: MessageId,
        /// The answer, or why there is none.
        outcome: Result<Body, MessagingRefusal>,
    },
}

/// What a handler returned: the reply to a message, nothing after a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentOutput {
    /// The reply.
    pub body: Body,
}

/// Where a component came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstallationSource {
    /// Bytes that the embedder handed over.
    Bytes,
    /// A file.
    File(PathBuf),
}

impl fmt::Display for InstallationSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes => f.write_str("bytes in memory"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Where an installed component stands.
///
/// `Installed -> Starting -> Running -> Stopping -> Stopped`; from `Starting` and `Running` also to `Failed`. A
/// component that is `Stopped` or `Failed` can be started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum ComponentState {
    /// Loaded and checked; no instance yet.
    Installed,
    /// An instance is being made and initialised.
    Starting,
    /// Takes messages.
    Running,
    /// Takes no new messages; handles what is queued.
    Stopping,
    /// Ended in order.
    Stopped,
    /// Could not start, or could not be given a fresh instance.
    Failed,
}

impl ComponentState {
    /// Whether a component may go from `self` to `next`.
    pub const fn can_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Installed | Self::Stopped | Self::Failed, Self::Starting)
                | (Self::Starting, Self::Running | Self::Failed)
                | (Self::Running, Self::Stopping | Self::Failed)
                | (Self::Stopping, Self::Stopped | Self::Failed)
        )
    }
}

impl fmt::Display for ComponentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Installed => "installed",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}
