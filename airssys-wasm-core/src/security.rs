//! Who may do what: modes, trust, the embedder's policy, and the answer with its reason.

use std::fmt;
use std::time::SystemTime;

use crate::capability::{Access, Capability};
use crate::component::{ArtifactDigest, ComponentId, InstanceId, Version};
use crate::error::WasmError;

/// How strictly the gate decides where nothing was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum SecurityMode {
    /// What is not granted is denied.
    #[default]
    Strict,
    /// As strict, but components from a trusted source may also use their own storage namespace.
    Permissive,
    /// What is not forbidden is allowed, loudly. Never for other people's code.
    Development,
}

impl fmt::Display for SecurityMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Strict => "strict",
            Self::Permissive => "permissive",
            Self::Development => "development",
        })
    }
}

/// How much the operator trusts where a component came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum TrustLevel {
    /// Nobody vouches for it.
    #[default]
    Unknown,
    /// The operator vouches for its source.
    Trusted,
    /// The operator's own work in progress: whatever is not forbidden is allowed to this component, loudly. Never for other
    /// people's code.
    Development,
}

/// What separates a component from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IsolationBoundary {
    /// A WebAssembly sandbox of its own in the host's process: memory, tables, globals and handles are separate. There is
    /// no protection against side channels between components of one process.
    Sandbox,
}

/// Everything the gate knows about who asks.
#[derive(Clone, Debug)]
pub struct SecurityContext {
    /// The instance that asks; stamped by the host.
    pub instance: InstanceId,
    /// The binary that runs.
    pub digest: ArtifactDigest,
    /// How much its source is trusted.
    pub trust: TrustLevel,
    /// What separates it from the rest.
    pub boundary: IsolationBoundary,
}

impl SecurityContext {
    /// The component that asks.
    pub fn component(&self) -> &ComponentId {
        self.instance.component()
    }
}

/// A question to the gate.
#[derive(Clone, Copy, Debug)]
pub struct PermissionRequest<'a> {
    /// Who asks.
    pub context: &'a SecurityContext,
    /// For what.
    pub access: Access<'a>,
}

/// The gate's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PermissionResult {
    /// It may, by this rule.
    Allowed(Rule),
    /// It may not, by this rule.
    Denied(Rule),
}

impl PermissionResult {
    /// Whether it may.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }

    /// The rule that decided.
    pub fn rule(&self) -> Rule {
        match self {
            Self::Allowed(rule) | Self::Denied(rule) => *rule,
        }
    }
}

/// The rule that decided, in the order in which the gate asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// What was asked for is not well formed: no pattern could ever mean it.
    Malformed,
    /// The operator's forbidden list. It wins over everything.
    Forbidden,
    /// Development mode.
    DevelopmentMode,
    /// Permissive mode, for the component's own storage.
    PermissiveMode,
    /// The component is trusted as the operator's own work in progress.
    DevelopmentTrust,
    /// A grant.
    Grant,
    /// The embedder's [`SecurityPolicy`].
    Policy,
    /// A grant allowed it, and has ended.
    Ended,
    /// Nothing allowed it.
    Default,
}

impl Rule {
    /// A stable name, in kebab-case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Forbidden => "forbidden",
            Self::DevelopmentMode => "development-mode",
            Self::PermissiveMode => "permissive-mode",
            Self::DevelopmentTrust => "development-trust",
            Self::Grant => "grant",
            Self::Policy => "policy",
            Self::Ended => "ended",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not well formed",
            Self::Forbidden => "the operator forbids it",
            Self::DevelopmentMode => "development mode",
            Self::PermissiveMode => "permissive mode",
            Self::DevelopmentTrust => "trusted as work in progress",
            Self::Grant => "a grant",
            Self::Policy => "the policy of the embedder",
            Self::Ended => "its grant has ended",
            Self::Default => "nothing grants it",
        })
    }
}

/// What an embedder decides on its own, after the forbidden list and the grants.
///
/// It is asked on the message path: it must not block, and should not allocate.
pub trait SecurityPolicy: fmt::Debug + Send + Sync {
    /// The verdict, or none to leave it at the default, which is to deny.
    fn decide(&self, request: &PermissionRequest<'_>) -> Option<Verdict>;
}

/// What a policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// The policy that never says anything: grants alone decide.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrantsOnly;

impl SecurityPolicy for GrantsOnly {
    fn decide(&self, _: &PermissionRequest<'_>) -> Option<Verdict> {
        None
    }
}

/// A decision of the gate, as the audit sees it; borrowed, so that recording one need not allocate.
#[derive(Clone, Copy, Debug)]
pub struct AuditEvent<'a> {
    /// When, by the wall clock.
    pub at: SystemTime,
    /// Who asked.
    pub context: &'a SecurityContext,
    /// For what.
    pub access: Access<'a>,
    /// The answer.
    pub result: PermissionResult,
}

/// Something that happened to a component, beside the decisions about it; borrowed likewise.
#[derive(Clone, Copy, Debug)]
pub struct HostEvent<'a> {
    /// When, by the wall clock.
    pub at: SystemTime,
    /// To whom.
    pub component: &'a ComponentId,
    /// What.
    pub act: HostAct<'a>,
}

/// What happened to a component.
#[derive(Clone, Copy, Debug)]
pub enum HostAct<'a> {
    /// It was installed. What it was granted then follows.
    Installed {
        /// Its version.
        version: &'a Version,
        /// Its binary.
        digest: &'a ArtifactDigest,
    },
    /// Something was granted to it.
    Granted {
        /// What.
        capability: &'a Capability,
        /// When that ends; never, when there is no such moment.
        until: Option<SystemTime>,
    },
    /// A grant was taken back.
    Revoked {
        /// Which.
        capability: &'a Capability,
    },
    /// It came up, and takes messages.
    Started,
    /// An instance of it was ended in the middle of a call, or did not come up.
    Ended {
        /// Which.
        instance: &'a InstanceId,
        /// By what: a trap, a deadline, a limit, an end that was asked for.
        error: &'a WasmError,
    },
    /// It takes no more messages.
    Stopped,
}

/// Where the decisions of the gate are recorded: every one, allowed or denied.
///
/// It is called on the message path, before the effect that was asked for takes place: it must not block for long.
pub trait AuditSink: fmt::Debug + Send + Sync {
    /// Takes a record of the event.
    fn record(&self, event: &AuditEvent<'_>);

    /// Takes a record of what happened to a component. A sink that keeps decisions alone leaves it at that.
    fn happened(&self, _event: &HostEvent<'_>) {}
}
