//! What an embedder says of a component, and what the host keeps of it.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use airssys_wasm_core::capability::{Capability, CapabilitySet};
use airssys_wasm_core::component::{
    ArtifactDigest, ComponentConfig, ComponentId, Environment, InstallationSource, ResourceLimits, Version,
};
use airssys_wasm_core::messaging::ContentTypePattern;
use airssys_wasm_core::runtime::ComponentHandle;
use airssys_wasm_core::security::TrustLevel;

use crate::gate::Grants;
use crate::manifest::{Deployment, StorageQuota, Supervision};
use crate::signature::{ManifestDigest, Signature};

/// A component to be installed: its id, its binary, and what it may do. By itself it may do nothing.
#[derive(Clone, Debug)]
pub struct Installation {
    pub(crate) id: ComponentId,
    pub(crate) version: Version,
    pub(crate) source: Source,
    pub(crate) grants: CapabilitySet,
    /// Grants that have an end.
    pub(crate) ends: Vec<(Capability, SystemTime)>,
    pub(crate) config: ComponentConfig,
    pub(crate) environment: Environment,
    pub(crate) limits: Option<ResourceLimits>,
    /// Counts when it has no limits of its own.
    pub(crate) quota: StorageQuota,
    pub(crate) accepts: Vec<ContentTypePattern>,
    pub(crate) supervision: Supervision,
    pub(crate) deployment: Deployment,
    pub(crate) trust: TrustLevel,
    /// The binary that is meant; any, when there is none.
    pub(crate) digest: Option<ArtifactDigest>,
    /// What its signature is about beside the binary.
    pub(crate) manifest: Option<ManifestDigest>,
    pub(crate) signature: Option<Signature>,
}

/// Where the binary is.
#[derive(Clone, Debug)]
pub enum Source {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// In a file.
    File(PathBuf),
}

impl Source {
    pub(crate) fn describe(&self) -> InstallationSource {
        match self {
            Self::Bytes(_) => InstallationSource::Bytes,
            Self::File(path) => InstallationSource::File(path.clone()),
        }
    }
}

impl From<&[u8]> for Source {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Cow<'_, [u8]>> for Source {
    fn from(bytes: Cow<'_, [u8]>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<PathBuf> for Source {
    fn from(path: PathBuf) -> Self {
        Self::File(path)
    }
}

impl Installation {
    /// Version 0.1.0 of the component `id`, with nothing granted, no configuration, and the host's limits.
    pub fn new(id: ComponentId, source: impl Into<Source>) -> Self {
        Self {
            id,
            version: Version::new(0, 1, 0),
            source: source.into(),
            grants: CapabilitySet::new(),
            ends: Vec::new(),
            config: ComponentConfig::new(),
            environment: Environment::default(),
            limits: None,
            quota: StorageQuota::default(),
            accepts: Vec::new(),
            supervision: Supervision::default(),
            deployment: Deployment::default(),
            trust: TrustLevel::Unknown,
            digest: None,
            manifest: None,
            signature: None,
        }
    }

    /// Its version.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Grants a capability.
    #[must_use]
    pub fn grant(mut self, capability: Capability) -> Self {
        self.grants.grant(capability);
        self
    }

    /// Grants a capability until then by the wall clock, and no longer, even if it is granted otherwise, too.
    #[must_use]
    pub fn grant_until(mut self, capability: Capability, end: SystemTime) -> Self {
        self.ends.push((capability, end));
        self
    }

    /// Grants every capability of a set.
    #[must_use]
    pub fn grant_all(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        self.grants.extend(capabilities);
        self
    }

    /// Its configuration.
    #[must_use]
    pub fn config(mut self, config: ComponentConfig) -> Self {
        self.config = config;
        self
    }

    /// What it finds as its environment, through WASI: nothing of the host's own, unless it is given here.
    ///
    /// ```
    /// use airssys_wasm::core::component::Environment;
    /// use airssys_wasm::{Installation, Source};
    ///
    /// let environment = Environment::new().variable("LANG", "de")?.argument("--verbose")?;
    /// let report = Installation::new("acme/report".parse()?, Source::File("report.wasm".into()));
    /// let report = report.environment(environment);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Limits of its own, in place of the host's and of its [storage quota](Self::storage_quota).
    #[must_use]
    pub fn limits(mut self, limits: ResourceLimits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// How much it may keep, when it otherwise has the limits of the host.
    #[must_use]
    pub fn storage_quota(mut self, quota: StorageQuota) -> Self {
        self.quota = quota;
        self
    }

    /// The content types that it understands; all of them, when there are none. A message of another type is refused to its sender,
    /// and plain bytes count as `application/octet-stream`. What answers its own requests is not looked at.
    #[must_use]
    pub fn accepts(mut self, content_types: impl IntoIterator<Item = ContentTypePattern>) -> Self {
        self.accepts = content_types.into_iter().collect();
        self
    }

    /// What becomes of it when an instance ends. What the host does not do is refused when it is installed.
    #[must_use]
    pub fn supervision(mut self, supervision: Supervision) -> Self {
        self.supervision = supervision;
        self
    }

    /// How another version takes its place. What the host does not do is refused when it is installed.
    #[must_use]
    pub fn deployment(mut self, deployment: Deployment) -> Self {
        self.deployment = deployment;
        self
    }

    /// How much its source is trusted; not at all by default.
    #[must_use]
    pub fn trust(mut self, trust: TrustLevel) -> Self {
        self.trust = trust;
        self
    }

    /// The only binary that is meant. Another one is refused when it is installed, before anything of it is looked at.
    #[must_use]
    pub fn digest(mut self, digest: ArtifactDigest) -> Self {
        self.digest = Some(digest);
        self
    }

    /// Its signature, and the digest of its manifest, when it has one. What is made of a [`Manifest`](crate::manifest::Manifest) has
    /// the digest already.
    #[must_use]
    pub fn signed(mut self, signature: Signature) -> Self {
        self.signature = Some(signature);
        self
    }

    pub(crate) fn manifest(mut self, digest: ManifestDigest) -> Self {
        self.manifest = Some(digest);
        self
    }

    /// The id it will have.
    pub fn id(&self) -> &ComponentId {
        &self.id
    }
}

/// What each instance of a component is told.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) config: ComponentConfig,
    pub(crate) environment: Arc<Environment>,
}

/// A component that is loaded and checked, and what it was given.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) id: ComponentId,
    pub(crate) version: Version,
    pub(crate) digest: ArtifactDigest,
    pub(crate) source: InstallationSource,
    pub(crate) component: ComponentHandle,
    pub(crate) limits: ResourceLimits,
    pub(crate) accepts: Box<[ContentTypePattern]>,
    pub(crate) given: Arc<Given>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) trust: TrustLevel,
    /// Whether it exports `replies`.
    pub(crate) takes_replies: bool,
}
