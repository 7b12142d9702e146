//! The gate's decisions: kept in memory for whoever wants to look, and written to a trail that cannot be changed unnoticed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use airssys_wasm_core::component::{ArtifactDigest, InstanceId};
use airssys_wasm_core::security::{AuditEvent, AuditSink, PermissionResult};

mod chain;
mod trail;
mod verify;

pub use chain::{Act, Counted, Decided, Seal, TrailRecord};
pub use trail::AuditTrail;
pub use verify::{TrailFault, TrailReport, verify};

/// One decision of the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Its number; the first decision of a log is 1, and none is left out.
    pub number: u64,
    /// When, by the wall clock.
    pub at: SystemTime,
    /// Who asked.
    pub instance: InstanceId,
    /// The binary that asked.
    pub digest: ArtifactDigest,
    /// For what, as `kind:object`, escaped.
    pub access: String,
    /// The answer, and the rule that gave it.
    pub result: PermissionResult,
}

/// Keeps the latest decisions: a number of allowed ones, and as many denied ones, so that no flood of the first
/// washes away the second. It tells how many it no longer has.
#[derive(Debug)]
pub struct AuditLog {
    log: Mutex<Log>,
}

#[derive(Debug)]
struct Log {
    numbered: u64,
    allowed: Ring,
    denied: Ring,
}

/// A ring whose slots are written again in place, so that a full one allocates nothing.
#[derive(Debug)]
struct Ring {
    slots: Vec<AuditRecord>,
    next: usize,
    capacity: usize,
    overwritten: u64,
}

impl AuditLog {
    /// Keeps up to `capacity` allowed and `capacity` denied decisions, and at least one of each.
    pub fn new(capacity: usize) -> Self {
        let ring = || Ring { slots: Vec::new(), next: 0, capacity: capacity.max(1), overwritten: 0 };
        Self { log: Mutex::new(Log { numbered: 0, allowed: ring(), denied: ring() }) }
    }

    /// What it has, in the order of the decisions.
    pub fn records(&self) -> Vec<AuditRecord> {
        let log = self.lock();
        let mut records: Vec<_> = log.allowed.slots.iter().chain(&log.denied.slots).cloned().collect();
        drop(log);
        records.sort_unstable_by_key(|record| record.number);
        records
    }

    /// The denials it has, in their order.
    pub fn denials(&self) -> Vec<AuditRecord> {
        let mut records = self.lock().denied.slots.clone();
        records.sort_unstable_by_key(|record| record.number);
        records
    }

    /// How many decisions were recorded in all.
    pub fn recorded(&self) -> u64 {
        self.lock().numbered
    }

    /// How many allowed and denied decisions it no longer has.
    pub fn overwritten(&self) -> (u64, u64) {
        let log = self.lock();
        (log.allowed.overwritten, log.denied.overwritten)
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditSink for AuditLog {
    fn record(&self, event: &AuditEvent<'_>) {
        if !event.result.is_allowed() {
            // Not louder: a guest can ask as often as it may call its host.
            tracing::debug!(
                target: "airssys_wasm::audit",
                instance = %event.context.instance, access = %event.access, rule = %event.result.rule(), "denied"
            );
        }
        let mut log = self.lock();
        log.numbered += 1;
        let number = log.numbered;
        let ring = if event.result.is_allowed() { &mut log.allowed } else { &mut log.denied };
        ring.write(number, event);
    }
}

impl Ring {
    fn write(&mut self, number: u64, event: &AuditEvent<'_>) {
        if self.slots.len() < self.capacity {
            self.slots.push(AuditRecord {
                number,
                at: event.at,
                instance: event.context.instance.clone(),
                digest: event.context.digest,
                access: event.access.to_string(),
                result: event.result,
            });
            return;
        }
        let slot = &mut self.slots[self.next];
        slot.number = number;
        slot.at = event.at;
        if slot.instance != event.context.instance {
            slot.instance = event.context.instance.clone();
        }
        slot.digest = event.context.digest;
        slot.access.clear();
        event.access.append_to(&mut slot.access);
        slot.result = event.result;
        self.next = if self.next + 1 < self.capacity { self.next + 1 } else { 0 };
        self.overwritten += 1;
    }
}

#[cfg(test)]
mod tests {
    use airssys_wasm_core::capability::Access;
    use airssys_wasm_core::component::Version;
    use airssys_wasm_core::security::{IsolationBoundary, Rule, SecurityContext, TrustLevel};

    use super::*;

    #[test]
    fn a_flood_of_allowed_decisions_washes_no_denial_away() {
        let log = AuditLog::new(3);
        let context = SecurityContext {
            instance: InstanceId::new("acme/counter".parse().unwrap(), Version::new(1, 0, 0), 1),
            digest: ArtifactDigest::from_bytes([7; 32]),
            trust: TrustLevel::Unknown,
            boundary: IsolationBoundary::Sandbox,
        };
        let record = |namespace: &str, result| {
            let access = Access::Storage { namespace };
            log.record(&AuditEvent { at: SystemTime::now(), context: &context, access, result });
        };
        record("denied", PermissionResult::Denied(Rule::Default));
        for number in 0..10 {
            record(&format!("allowed-{number}"), PermissionResult::Allowed(Rule::Grant));
        }
        let kept: Vec<_> = log.records().into_iter().map(|record| (record.number, record.access)).collect();
        let kept: Vec<_> = kept.iter().map(|(number, access)| (*number, access.as_str())).collect();
        assert_eq!(
            kept,
            [
                (1, "storage:denied"),
                (9, "storage:allowed-7"),
                (10, "storage:allowed-8"),
                (11, "storage:allowed-9")
            ]
        );
        assert_eq!((log.recorded(), log.overwritten()), (11, (7, 0)));
        assert_eq!(log.denials().len(), 1);
    }
}
