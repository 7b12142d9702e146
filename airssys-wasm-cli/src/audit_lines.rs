//! The gate's decisions: printed where somebody asked for them, and remembered where they explain a failure.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use airssys_wasm::WasmError;
use airssys_wasm::audit::AuditTrail;
use airssys_wasm::core::capability::{Access, Capability};
use airssys_wasm::core::component::ComponentId;
use airssys_wasm::core::security::{AuditEvent, AuditSink, HostEvent, Rule};
use serde::Serialize;

/// The most denials that are remembered between two messages.
const REMEMBERED: usize = 16;

/// Takes every decision of the gate.
#[derive(Debug)]
pub(crate) struct Decisions {
    print: bool,
    trail: Option<AuditTrail>,
    denials: Mutex<Vec<Denial>>,
}

/// Something that a component may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Denial {
    pub(crate) component: ComponentId,
    pub(crate) access: String,
    /// Why not.
    pub(crate) rule: Rule,
    /// What would have to be granted; none where no grant helps.
    pub(crate) capability: Option<String>,
}

/// A decision as it is printed.
#[derive(Debug, Serialize)]
struct Line<'a> {
    audit: &'static str,
    at_ms: u128,
    component: &'a str,
    instance: String,
    digest: String,
    access: &'a str,
    rule: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<&'a str>,
}

impl Decisions {
    /// Prints each decision to standard error if `print` is set, and writes each to the trail, if there is one.
    pub(crate) fn new(print: bool, trail: Option<AuditTrail>) -> Self {
        Self { print, trail, denials: Mutex::default() }
    }

    /// Waits until the trail is on the disk.
    ///
    /// # Errors
    /// Those of the trail.
    pub(crate) fn sync(&self) -> Result<(), WasmError> {
        self.trail.as_ref().map_or(Ok(()), AuditTrail::sync)
    }

    /// What was denied since the last call, each thing once.
    pub(crate) fn take_denials(&self) -> Vec<Denial> {
        std::mem::take(&mut self.denials.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn remember(&self, denial: Denial) {
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        if denials.len() < REMEMBERED && !denials.contains(&denial) {
            denials.push(denial);
        }
    }
}

impl AuditSink for Decisions {
    fn record(&self, event: &AuditEvent<'_>) {
        if let Some(trail) = &self.trail {
            trail.record(event);
        }
        let allowed = event.result.is_allowed();
        if allowed && !self.print {
            return;
        }
        let rule = event.result.rule();
        let access = event.access.to_string();
        let capability = (!allowed && matches!(rule, Rule::Default | Rule::Ended))
            .then(|| capability(event.access))
            .flatten();
        if self.print {
            print(event, &access, capability.as_deref());
        }
        if !allowed {
            self.remember(Denial { component: event.context.component().clone(), access, rule, capability });
        }
    }

    fn happened(&self, event: &HostEvent<'_>) {
        if let Some(trail) = &self.trail {
            trail.happened(event);
        }
    }
}

/// What would have to be granted: the exact access, or the pattern that a component wants to subscribe to.
fn capability(access: Access<'_>) -> Option<String> {
    access.capability_text().or_else(|| match access {
        Access::Messaging { address } => Some(Capability::Messaging(address.parse().ok()?).to_string()),
        _ => None,
    })
}

fn print(event: &AuditEvent<'_>, access: &str, grant: Option<&str>) {
    let line = Line {
        audit: if event.result.is_allowed() { "allowed" } else { "denied" },
        at_ms: event.at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis()),
        component: event.context.component().as_str(),
        instance: event.context.instance.to_string(),
        digest: event.context.digest.to_string(),
        access,
        rule: event.result.rule().name(),
        grant,
    };
    if let Ok(mut line) = serde_json::to_string(&line) {
        line.push('\n');
        // The line is for whoever reads standard error; where nobody does, there is nobody to tell.
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use airssys_wasm::core::component::{ArtifactDigest, InstanceId, Version};
    use airssys_wasm::core::security::{IsolationBoundary, PermissionResult, SecurityContext, TrustLevel};

    use super::*;

    #[test]
    fn a_denial_is_remembered_once_with_what_would_allow_it() {
        let decisions = Decisions::new(false, None);
        let context = SecurityContext {
            instance: InstanceId::new("acme/counter".parse().unwrap(), Version::new(1, 0, 0), 1),
            digest: ArtifactDigest::from_bytes([0; 32]),
            trust: TrustLevel::Unknown,
            boundary: IsolationBoundary::Sandbox,
        };
        let record = |access, result| {
            decisions.record(&AuditEvent { at: SystemTime::now(), context: &context, access, result });
        };
        let storage = Access::Storage { namespace: "acme/counter" };
        record(storage, PermissionResult::Denied(Rule::Default));
        record(storage, PermissionResult::Denied(Rule::Default));
        record(storage, PermissionResult::Allowed(Rule::Grant));
        record(Access::Messaging { address: "orders.*" }, PermissionResult::Denied(Rule::Default));
        record(Access::Messaging { address: "bank/vault" }, PermissionResult::Denied(Rule::Forbidden));
        let denials = decisions.take_denials();
        let capabilities: Vec<_> = denials.iter().map(|denial| denial.capability.as_deref()).collect();
        assert_eq!(capabilities, [Some("storage:acme/counter"), Some("messaging:orders.*"), None]);
        assert_eq!(decisions.take_denials(), []);
    }
}
