//! The one place where it is decided what a component may do.
//!
//! Everything asks [`Gate::check`] before it has an effect. What is not granted is denied, the operator's forbidden
//! list wins over everything, and every decision is recorded. A check that allows allocates nothing.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use airssys_wasm_core::capability::{Access, Capability, CapabilitySet, TopicPattern};
use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::{ErrorKind, WasmError};
use airssys_wasm_core::security::{
    AuditEvent, AuditSink, HostAct, HostEvent, PermissionRequest, PermissionResult, Rule, SecurityContext,
    SecurityMode, SecurityPolicy, TrustLevel, Verdict,
};

pub use crate::grants::Grants;
use crate::grants::Rights;

/// Decides, and records what it decided.
#[derive(Debug)]
pub struct Gate {
    mode: SecurityMode,
    forbidden: Rights,
    policy: Arc<dyn SecurityPolicy>,
    audit: Arc<dyn AuditSink>,
}

impl Gate {
    /// A gate that asks `policy` where nothing else decided, and tells `audit` everything.
    pub fn new(
        mode: SecurityMode,
        forbidden: CapabilitySet,
        policy: Arc<dyn SecurityPolicy>,
        audit: Arc<dyn AuditSink>,
    ) -> Self {
        if mode == SecurityMode::Development {
            tracing::warn!(
                "development mode: whatever is not forbidden is allowed; never use it for other people's code"
            );
        }
        Self { mode, forbidden: Rights::new(forbidden), policy, audit }
    }

    /// Whether this component may do this now. The decision is recorded before it is returned.
    pub fn check(&self, context: &SecurityContext, grants: &Grants, access: Access<'_>) -> PermissionResult {
        let at = SystemTime::now();
        let result = self.decide(context, grants, access, at);
        self.audit.record(&AuditEvent { at, context, access, result });
        result
    }

    /// Records what happened to a component.
    pub(crate) fn happened(&self, component: &ComponentId, act: HostAct<'_>) {
        self.audit.happened(&HostEvent { at: SystemTime::now(), component, act });
    }

    /// As [`check`](Self::check), with the denial as an error that tells which grant would allow it.
    ///
    /// # Errors
    /// [`CapabilityDenied`](ErrorKind::CapabilityDenied).
    pub fn demand(
        &self,
        context: &SecurityContext,
        grants: &Grants,
        access: Access<'_>,
    ) -> Result<(), Denial> {
        match self.check(context, grants, access) {
            PermissionResult::Allowed(_) => Ok(()),
            PermissionResult::Denied(rule) => Err(Denial {
                component: context.component().clone(),
                access: access.to_string(),
                capability: is_missing(rule).then(|| access.capability_text()).flatten(),
                rule,
            }),
        }
    }

    /// Whether this component may subscribe to every topic of `pattern`.
    ///
    /// # Errors
    /// A [`Denial`], when no single grant covers the whole pattern.
    pub fn demand_subscription(
        &self,
        context: &SecurityContext,
        grants: &Grants,
        pattern: &TopicPattern,
    ) -> Result<(), Denial> {
        // The pattern itself is what is asked for and recorded. It is not a well-formed address where it has a wildcard, so
        // that the ordinary decision would always deny it.
        let access = Access::Messaging { address: pattern.as_str() };
        if access.is_well_formed() {
            return self.demand(context, grants, access);
        }
        let covers = |capability: &Capability| matches!(capability, Capability::Messaging(granted) if granted.covers(pattern));
        let meets = |capability: &Capability| matches!(capability, Capability::Messaging(forbidden) if forbidden.overlaps(pattern));
        let at = SystemTime::now();
        let granted = grants.at(at);
        let result = if self.forbidden.set().iter().any(meets) {
            PermissionResult::Denied(Rule::Forbidden)
        } else if self.mode == SecurityMode::Development {
            PermissionResult::Allowed(Rule::DevelopmentMode)
        } else if context.trust == TrustLevel::Development {
            PermissionResult::Allowed(Rule::DevelopmentTrust)
        } else if granted.set().iter().any(covers) {
            PermissionResult::Allowed(Rule::Grant)
        } else {
            self.ask_policy(context, access, || granted.ended().iter().any(covers))
        };
        self.audit.record(&AuditEvent { at, context, access, result });
        if result.is_allowed() {
            return Ok(());
        }
        let rule = result.rule();
        Err(Denial {
            component: context.component().clone(),
            access: access.to_string(),
            capability: is_missing(rule).then(|| Capability::Messaging(pattern.clone()).to_string()),
            rule,
        })
    }

    fn decide(
        &self,
        context: &SecurityContext,
        grants: &Grants,
        access: Access<'_>,
        at: SystemTime,
    ) -> PermissionResult {
        use PermissionResult::{Allowed, Denied};
        let rights = grants.at(at);
        // Asked first, though it counts last: what a grant allows is well formed, and need not be looked through for that.
        let granted = rights.allow(&access);
        if !granted && !access.is_well_formed() {
            return Denied(Rule::Malformed);
        }
        if self.forbidden.allow(&access) {
            return Denied(Rule::Forbidden);
        }
        match self.mode {
            SecurityMode::Development => return Allowed(Rule::DevelopmentMode),
            SecurityMode::Permissive
                if is_own_storage(context, access) && context.trust == TrustLevel::Trusted =>
            {
                return Allowed(Rule::PermissiveMode);
            }
            SecurityMode::Permissive | SecurityMode::Strict => {}
        }
        if context.trust == TrustLevel::Development {
            return Allowed(Rule::DevelopmentTrust);
        }
        if granted {
            return Allowed(Rule::Grant);
        }
        self.ask_policy(context, access, || rights.ended().matches(&access).is_some())
    }

    /// What is left when no grant allows it; `had_ended` tells whether one did.
    fn ask_policy(
        &self,
        context: &SecurityContext,
        access: Access<'_>,
        had_ended: impl FnOnce() -> bool,
    ) -> PermissionResult {
        match self.policy.decide(&PermissionRequest { context, access }) {
            Some(Verdict::Allow) => PermissionResult::Allowed(Rule::Policy),
            Some(Verdict::Deny) => PermissionResult::Denied(Rule::Policy),
            None if had_ended() => PermissionResult::Denied(Rule::Ended),
            None => PermissionResult::Denied(Rule::Default),
        }
    }
}

/// Whether a grant would have helped.
fn is_missing(rule: Rule) -> bool {
    matches!(rule, Rule::Default | Rule::Ended)
}

fn is_own_storage(context: &SecurityContext, access: Access<'_>) -> bool {
    matches!(access, Access::Storage { namespace } if namespace == context.component().as_str())
}

/// A denial: who, what, why, and the grant that would allow it, if a grant could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    component: ComponentId,
    access: String,
    rule: Rule,
    capability: Option<String>,
}

impl Denial {
    /// The rule that denied it.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// The text of the capability that would allow it; none where no grant could.
    pub fn capability(&self) -> Option<&str> {
        self.capability.as_deref()
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} may not use {}: {}", self.component, self.access, self.rule)?;
        match &self.capability {
            Some(capability) => write!(f, "; to allow it, grant `{capability}` to {}", self.component),
            None => Ok(()),
        }
    }
}

impl From<Denial> for WasmError {
    fn from(denial: Denial) -> Self {
        let error = Self::new(ErrorKind::CapabilityDenied, "gate").saying(denial.to_string());
        match &denial.capability {
            Some(capability) => error.advising(format!("grant `{capability}` to {}", denial.component)),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use airssys_wasm_core::component::{ArtifactDigest, InstanceId, Version};
    use airssys_wasm_core::security::{GrantsOnly, IsolationBoundary};

    use super::*;

    #[derive(Debug, Default)]
    struct Recorded(Mutex<Vec<(String, PermissionResult)>>);

    impl AuditSink for Recorded {
        fn record(&self, event: &AuditEvent<'_>) {
            self.0.lock().unwrap().push((event.access.to_string(), event.result));
        }
    }

    #[derive(Debug)]
    struct Always(Verdict);

    impl SecurityPolicy for Always {
        fn decide(&self, _: &PermissionRequest<'_>) -> Option<Verdict> {
            Some(self.0)
        }
    }

    struct Case {
        mode: SecurityMode,
        trust: TrustLevel,
        forbidden: &'static [&'static str],
        granted: &'static [&'static str],
        policy: Option<Verdict>,
    }

    impl Default for Case {
        fn default() -> Self {
            Self {
                mode: SecurityMode::Strict,
                trust: TrustLevel::Unknown,
                forbidden: &[],
                granted: &[],
                policy: None,
            }
        }
    }

    fn set(texts: &[&str]) -> CapabilitySet {
        texts.iter().map(|text| text.parse::<Capability>().unwrap()).collect()
    }

    fn context(trust: TrustLevel) -> SecurityContext {
        SecurityContext {
            instance: InstanceId::new("acme/counter".parse().unwrap(), Version::new(1, 0, 0), 1),
            digest: ArtifactDigest::from_bytes([0; 32]),
            trust,
            boundary: IsolationBoundary::Sandbox,
        }
    }

    fn check(case: &Case, access: Access<'_>, expected: PermissionResult) {
        let audit = Arc::new(Recorded::default());
        let policy: Arc<dyn SecurityPolicy> = match case.policy {
            Some(verdict) => Arc::new(Always(verdict)),
            None => Arc::new(GrantsOnly),
        };
        let gate = Gate::new(case.mode, set(case.forbidden), policy, audit.clone());
        assert_eq!(gate.check(&context(case.trust), &Grants::new(set(case.granted)), access), expected);
        assert_eq!(
            *audit.0.lock().unwrap(),
            [(access.to_string(), expected)],
            "each decision is recorded once"
        );
    }

    const OWN: Access<'_> = Access::Storage { namespace: "acme/counter" };
    const GREETER: Access<'_> = Access::Messaging { address: "acme/greeter" };

    #[test]
    fn the_rules_are_asked_in_their_order() {
        use PermissionResult::{Allowed, Denied};
        let strict = Case::default;
        check(&strict(), OWN, Denied(Rule::Default));
        check(&Case { granted: &["storage:acme/counter"], ..strict() }, OWN, Allowed(Rule::Grant));
        check(&Case { granted: &["storage:acme/other"], ..strict() }, OWN, Denied(Rule::Default));
        check(&Case { granted: &["messaging:**"], ..strict() }, OWN, Denied(Rule::Default));
        check(&Case { policy: Some(Verdict::Allow), ..strict() }, OWN, Allowed(Rule::Policy));
        check(&Case { policy: Some(Verdict::Deny), ..strict() }, OWN, Denied(Rule::Policy));

        let forbidden =
            Case { forbidden: &["messaging:acme/*"], granted: &["messaging:acme/greeter"], ..strict() };
        check(&forbidden, GREETER, Denied(Rule::Forbidden));
        check(&Case { mode: SecurityMode::Development, ..forbidden }, GREETER, Denied(Rule::Forbidden));
        check(&Case { mode: SecurityMode::Development, ..strict() }, GREETER, Allowed(Rule::DevelopmentMode));

        let permissive = || Case { mode: SecurityMode::Permissive, ..strict() };
        check(&permissive(), OWN, Denied(Rule::Default));
        check(&Case { trust: TrustLevel::Trusted, ..permissive() }, OWN, Allowed(Rule::PermissiveMode));
        check(&Case { trust: TrustLevel::Trusted, ..permissive() }, GREETER, Denied(Rule::Default));

        let trusted = || Case { trust: TrustLevel::Development, ..strict() };
        check(&trusted(), GREETER, Allowed(Rule::DevelopmentTrust));
        check(&Case { policy: Some(Verdict::Deny), ..trusted() }, GREETER, Allowed(Rule::DevelopmentTrust));
        check(&Case { forbidden: &["messaging:acme/*"], ..trusted() }, GREETER, Denied(Rule::Forbidden));
        check(&trusted(), Access::Messaging { address: "*" }, Denied(Rule::Malformed));
    }

    #[test]
    fn a_grant_that_has_ended_is_denied_as_such() {
        let gate = |policy: Arc<dyn SecurityPolicy>| {
            Gate::new(SecurityMode::Strict, CapabilitySet::new(), policy, Arc::new(Recorded::default()))
        };
        let (context, grants) = (context(TrustLevel::Unknown), Grants::default());
        let (storage, topics) =
            ("storage:acme/counter".parse().unwrap(), "messaging:news.**".parse().unwrap());
        let hour = std::time::Duration::from_secs(3_600);
        grants.grant_until(&storage, SystemTime::now() + hour);
        grants.grant_until(&topics, SystemTime::now() + hour);
        let subscribe = |gate: &Gate| {
            let denied = gate.demand_subscription(&context, &grants, &"news.*".parse().unwrap());
            denied.map_err(|denial| denial.rule())
        };
        let alone = gate(Arc::new(GrantsOnly));
        assert_eq!(alone.check(&context, &grants, OWN), PermissionResult::Allowed(Rule::Grant));
        assert_eq!(subscribe(&alone), Ok(()));
        grants.grant_until(&storage, SystemTime::now() - hour);
        grants.grant_until(&topics, SystemTime::now() - hour);
        assert_eq!(alone.check(&context, &grants, OWN), PermissionResult::Denied(Rule::Ended));
        assert_eq!(subscribe(&alone), Err(Rule::Ended));
        let denied = alone.demand(&context, &grants, OWN).unwrap_err().to_string();
        assert!(
            denied.contains("its grant has ended; to allow it, grant `storage:acme/counter`"),
            "{denied}"
        );
        let kind = gate(Arc::new(Always(Verdict::Allow)));
        assert_eq!(kind.check(&context, &grants, OWN), PermissionResult::Allowed(Rule::Policy));
        grants.grant(&storage);
        assert_eq!(alone.check(&context, &grants, OWN), PermissionResult::Allowed(Rule::Grant));
    }

    #[test]
    fn what_is_not_well_formed_passes_in_no_mode() {
        let everything = Case {
            mode: SecurityMode::Development,
            granted: &["messaging:**", "storage:**"],
            policy: Some(Verdict::Allow),
            ..Case::default()
        };
        for address in ["", "*", "acme/*", "**", "acme/../greeter", "Acme/greeter", "acme/greeter\0"] {
            check(&everything, Access::Messaging { address }, PermissionResult::Denied(Rule::Malformed));
        }
    }

    #[test]
    fn revoking_takes_effect_at_the_next_check() {
        let gate = Gate::new(
            SecurityMode::Strict,
            CapabilitySet::new(),
            Arc::new(GrantsOnly),
            Arc::new(Recorded::default()),
        );
        let (context, grants) = (context(TrustLevel::Unknown), Grants::default());
        let capability: Capability = "storage:acme/counter".parse().unwrap();
        assert!(grants.grant(&capability) && !grants.grant(&capability));
        assert!(gate.check(&context, &grants, OWN).is_allowed());
        assert!(grants.revoke(&capability) && !grants.revoke(&capability));
        assert!(!gate.check(&context, &grants, OWN).is_allowed());
    }

    #[test]
    fn a_denial_names_the_grant_that_would_allow_it() {
        let gate = Gate::new(
            SecurityMode::Strict,
            set(&["storage:bank/**"]),
            Arc::new(GrantsOnly),
            Arc::new(Recorded::default()),
        );
        let (context, grants) = (context(TrustLevel::Unknown), Grants::default());
        let denied = gate.demand(&context, &grants, GREETER).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "acme/counter may not use messaging:acme/greeter: nothing grants it; to allow it, grant \
             `messaging:acme/greeter` to acme/counter",
        );
        let forbidden =
            gate.demand(&context, &grants, Access::Storage { namespace: "bank/vault" }).unwrap_err();
        assert_eq!(
            forbidden.to_string(),
            "acme/counter may not use storage:bank/vault: the operator forbids it"
        );
    }

    #[test]
    fn a_subscription_needs_a_grant_that_covers_all_of_it() {
        let gate = |forbidden| {
            Gate::new(
                SecurityMode::Strict,
                set(forbidden),
                Arc::new(GrantsOnly),
                Arc::new(Recorded::default()),
            )
        };
        let allowed = |gate: &Gate, granted: &[&str], pattern: &str| {
            let pattern = pattern.parse().unwrap();
            gate.demand_subscription(&context(TrustLevel::Unknown), &Grants::new(set(granted)), &pattern)
                .is_ok()
        };
        let open = gate(&[]);
        assert!(allowed(&open, &["messaging:orders.**"], "orders.*"));
        assert!(allowed(&open, &["messaging:orders.**"], "orders.eu"));
        assert!(allowed(&open, &["messaging:**"], "**"));
        assert!(!allowed(&open, &["messaging:orders.*"], "orders.**"));
        assert!(!allowed(&open, &["messaging:orders.eu"], "orders.*"));
        assert!(!allowed(&open, &[], "orders.*"));
        assert!(!allowed(&gate(&["messaging:orders.secret"]), &["messaging:**"], "orders.*"));
        assert!(allowed(&gate(&["messaging:orders.secret"]), &["messaging:**"], "news.*"));
    }
}
