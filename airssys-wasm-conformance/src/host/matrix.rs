//! The deny matrix: every function that the host links, called without a grant, with a wrong one, with the right one, and
//! after that was revoked.
//!
//! The functions are those of [`WORLD_IMPORTS`], which a test holds against the WIT package, and one of the embedder. A
//! function without a [`Row`] breaks the contracts, and so does a row without a function.

use std::fmt::{self, Write};
use std::path::Path;
use std::sync::Arc;

use airssys_wasm::Installation;
use airssys_wasm_core::capability::{Capability, CapabilityKind};
use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::{ErrorKind, Result};
use airssys_wasm_core::interface::{LOGGING, MESSAGING, STORAGE, WORLD_IMPORTS, required_capability};
use airssys_wasm_core::runtime::RuntimeEngine;
use airssys_wasm_core::storage::StorageBackend;

use super::{HostBench, Live, id};
use crate::door::{DOOR, with_door};
use crate::forged::{self, Forged, lower};
use crate::guests::Guest;
use crate::runner::{Outcome, chain, contracts, ensure, ensure_eq, fail};

/// Who calls.
const CALLER: &str = "acme/gatecrasher";
/// The interface of the embedder.
const EMBEDDER: &str = "zoo:embedder/door@0.1.0";

/// A function, and how a component calls it.
#[derive(Debug)]
struct Row {
    interface: &'static str,
    function: &'static str,
    /// The types of its parameters, and of its result, as core code has them.
    kind: &'static str,
    /// Core code that calls it by `$call`, and leaves the place of an answer.
    body: &'static str,
    /// What a call comes to that the gate lets through.
    granted: Seen,
}

/// What a component sees of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It worked.
    Allowed,
    /// It was denied.
    Denied,
    /// It was not denied, and did not work for another reason.
    Refused,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Refused => "let through",
        })
    }
}

/// `k` and `v` lie at 200 and 201, the other texts behind them. Results lie at 2048; where the error in them begins depends on
/// the alignment of the other case.
const TEXTS: &str = r#"(data (i32.const 200) "kv") (data (i32.const 208) "acme/target") (data (i32.const 224) "news.today")
    (data (i32.const 240) "news.*") (data (i32.const 256) "allowed") (data (i32.const 264) "denied")
    (data (i32.const 272) "refused")
    (func $free (result i32) (call $answer (i32.const 256) (i32.const 7)))
    (func $outcome (param $error i32) (result i32)
        (if (i32.eqz (i32.load8_u (i32.const 2048))) (then (return (call $free))))
        (if (i32.eqz (i32.load8_u (local.get $error))) (then (return (call $answer (i32.const 264) (i32.const 6)))))
        (call $answer (i32.const 272) (i32.const 7)))"#;

macro_rules! body {
    () => {
        "(i32.const 0) (i32.const 0) (i32.const 0) (i32.const 201) (i32.const 1)"
    };
}
macro_rules! target {
    () => {
        concat!("(i32.const 208) (i32.const 11) ", body!())
    };
}
macro_rules! key {
    () => {
        "(i32.const 200) (i32.const 1)"
    };
}
macro_rules! value {
    () => {
        "(i32.const 201) (i32.const 1)"
    };
}
/// Calls with these arguments and the place of the result, and looks at the error there.
macro_rules! call {
    ($arguments:expr, $error:literal) => {
        concat!("(call $call ", $arguments, " (i32.const 2048)) (call $outcome (i32.const ", $error, "))")
    };
}

const fn row(interface: &'static str, function: &'static str, kind: &'static str, body: &'static str) -> Row {
    Row { interface, function, kind, body, granted: Seen::Allowed }
}

const ROWS: [Row; 19] = [
    row(
        LOGGING,
        "log",
        "(param i32 i32 i32)",
        concat!("(call $call (i32.const 0) ", key!(), ") (call $free)"),
    ),
    row(LOGGING, "enabled", "(param i32) (result i32)", "(drop (call $call (i32.const 0))) (call $free)"),
    row(MESSAGING, "send", "(param i32 i32 i32 i32 i32 i32 i32 i32)", call!(target!(), 2056)),
    row(
        MESSAGING,
        "request",
        "(param i32 i32 i32 i32 i32 i32 i32 i32 i32)",
        call!(concat!(target!(), "(i32.const 20000)"), 2052),
    ),
    // The component takes no replies, which is found out once it may ask.
    Row {
        granted: Seen::Refused,
        ..row(
            MESSAGING,
            "request-async",
            "(param i32 i32 i32 i32 i32 i32 i32 i32 i32)",
            call!(concat!(target!(), "(i32.const 20000)"), 2056),
        )
    },
    row(
        MESSAGING,
        "cancel",
        "(param i64 i64) (result i32)",
        "(drop (call $call (i64.const 1) (i64.const 2))) (call $free)",
    ),
    row(
        MESSAGING,
        "publish",
        "(param i32 i32 i32 i32 i32 i32 i32 i32)",
        call!(concat!("(i32.const 224) (i32.const 10) ", body!()), 2056),
    ),
    row(MESSAGING, "subscribe", "(param i32 i32 i32)", call!("(i32.const 240) (i32.const 6)", 2052)),
    row(MESSAGING, "unsubscribe", "(param i32 i32 i32)", call!("(i32.const 240) (i32.const 6)", 2052)),
    row(MESSAGING, "self-id", "(param i32)", "(call $call (i32.const 2048)) (call $free)"),
    row(STORAGE, "get", "(param i32 i32 i32)", call!(key!(), 2052)),
    row(STORAGE, "set", "(param i32 i32 i32 i32 i32)", call!(concat!(key!(), value!()), 2052)),
    row(STORAGE, "replace", "(param i32 i32 i32 i32 i32)", call!(concat!(key!(), value!()), 2052)),
    row(STORAGE, "delete", "(param i32 i32 i32)", call!(key!(), 2052)),
    row(STORAGE, "exists", "(param i32 i32 i32)", call!(key!(), 2052)),
    row(
        STORAGE,
        "list",
        "(param i32 i32 i32 i32 i32 i32 i32)",
        call!(concat!(key!(), "(i32.const 0) (i32.const 0) (i32.const 0) (i32.const 10)"), 2052),
    ),
    row(
        STORAGE,
        "compare-and-set",
        "(param i32 i32 i32 i32 i32 i32 i32 i32)",
        call!(concat!(key!(), "(i32.const 0) (i32.const 0) (i32.const 0)", value!()), 2052),
    ),
    row(STORAGE, "usage", "(param i32)", call!("", 2056)),
    row(
        EMBEDDER,
        "look",
        "(param i32 i32 i32 i32 i32)",
        "(call $call (i32.const 1) (i32.const 97) (i32.const 1) (i32.const 7) (i32.const 2048)) (call $free)",
    ),
];

impl Row {
    /// What the gate asks for before a call.
    fn needs(&self) -> Option<CapabilityKind> {
        if self.interface == EMBEDDER {
            return Some(CapabilityKind::Custom);
        }
        required_capability(self.interface, self.function)
    }

    /// The grant that allows the call, as narrow as it can be.
    fn right(&self) -> Option<&'static str> {
        Some(match (self.needs()?, self.function) {
            (CapabilityKind::Storage, _) => "storage:acme/gatecrasher",
            (CapabilityKind::Messaging, "publish") => "messaging:news.today",
            (CapabilityKind::Messaging, "subscribe") => "messaging:news.*",
            (CapabilityKind::Messaging, _) => "messaging:acme/target",
            (CapabilityKind::Custom, _) => "custom:zoo:door/look",
            (kind, function) => unreachable!("no row needs {kind} for `{function}`"),
        })
    }

    /// Grants that come close, and allow nothing: neighbours, longer and shorter names, other kinds.
    fn wrong(&self) -> &'static [&'static str] {
        match self.needs() {
            None => &[],
            Some(CapabilityKind::Storage) => &[
                "storage:acme/other",
                "storage:acme/gatecrashers",
                "storage:acme/gatecrash",
                "storage:acme/gatecrasher/*",
                "messaging:**",
                "custom:zoo:door/*",
            ],
            Some(CapabilityKind::Messaging) => &[
                "messaging:acme/targets",
                "messaging:acme/other",
                "messaging:acme.target",
                "messaging:news",
                "messaging:news.today.late",
                "messaging:news.yesterday",
                "messaging:old.*",
                "storage:**",
                "custom:zoo:door/*",
            ],
            Some(_) => &["custom:zoo:door/burst", "custom:zoo:doors/*", "storage:**", "messaging:**"],
        }
    }

    /// What the interface is called in the text of the caller.
    fn instance(&self) -> &'static str {
        match self.interface {
            LOGGING => "logging",
            MESSAGING => "messaging",
            STORAGE => "storage",
            _ => "door",
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.interface, self.function)
    }
}

/// A component that calls the function of a row for the message that is the number of the row.
fn caller() -> Outcome<Vec<u8>> {
    let interfaces = [forged::LOGGING, forged::MESSAGING, forged::STORAGE, DOOR];
    let mut caller = interfaces.into_iter().fold(Forged::new().inside(TEXTS), Forged::item);
    for (number, row) in ROWS.iter().enumerate() {
        let name = format!("call{number}");
        caller = caller
            .function(&name, &lower(row.instance(), row.function), row.kind)
            .attack(row.body.replace("$call ", &format!("${name} ")));
    }
    caller.wasm()
}

/// Grants of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    NoGrant,
    WrongPattern,
    RightGrant,
    Revoked,
}

/// What one function came to in every column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    interface: &'static str,
    function: &'static str,
    needs: Option<&'static str>,
    /// Without a grant, with wrong ones, with the right one, after it was revoked.
    seen: Vec<Seen>,
}

/// Calls every function in every column on this engine, over a store in memory.
///
/// # Errors
/// Where the host cannot be set up, or a call ends in a way that is none of [`Seen`].
pub async fn deny_matrix(engine: Arc<dyn RuntimeEngine>) -> Outcome<Vec<Cells>> {
    let open = |_: &Path| -> Result<Arc<dyn StorageBackend>> {
        Ok(Arc::new(airssys_wasm::storage::MemoryStore::new()))
    };
    let bench = HostBench::new(engine, Arc::new(open))?;
    let cells = |row: &Row| Cells {
        interface: row.interface,
        function: row.function,
        needs: row.right(),
        seen: Vec::new(),
    };
    let mut cells: Vec<_> = ROWS.iter().map(cells).collect();
    for column in [Column::NoGrant, Column::WrongPattern, Column::RightGrant, Column::Revoked] {
        for (cells, seen) in cells.iter_mut().zip(column.fill(&bench).await?) {
            cells.seen.push(seen);
        }
    }
    Ok(cells)
}

/// The matrix as a table of Markdown.
pub fn deny_matrix_table(cells: &[Cells]) -> String {
    let mut table = String::from(
        "| function | needs, for example | no grant | wrong pattern | right grant | revoked |\n|---|---|---|---|---|---|\n",
    );
    for Cells { interface, function, needs, seen } in cells {
        let needs = needs.map_or_else(|| "nothing".to_owned(), |needs| format!("`{needs}`"));
        let _ = write!(table, "| `{interface}` `{function}` | {needs} |");
        for seen in seen {
            let _ = write!(table, " {seen} |");
        }
        table.push('\n');
    }
    table
}

impl Column {
    /// Calls every function, each with the grants of this column for it and no others.
    async fn fill(self, t: &HostBench) -> Outcome<Vec<Seen>> {
        let live = t.start_as(with_door()).await?;
        live.guest(Guest::Echo, "acme/target", &[]).await?;
        let caller = live.run(Installation::new(id(CALLER), caller()?)).await?;
        let mut seen = Vec::new();
        for (number, row) in ROWS.iter().enumerate() {
            seen.push(self.call(&live, &caller, number, row).await?);
        }
        live.end().await?;
        Ok(seen)
    }

    async fn call(self, live: &Live, caller: &ComponentId, number: usize, row: &Row) -> Outcome<Seen> {
        let grants: Vec<_> = match self {
            Self::NoGrant => Vec::new(),
            Self::WrongPattern => row.wrong().to_vec(),
            Self::RightGrant | Self::Revoked => row.right().into_iter().collect(),
        };
        let grants = grants.into_iter().map(str::parse).collect::<Result<Vec<Capability>, _>>()?;
        for grant in &grants {
            ensure!(live.grant(caller, grant)?, "{row}: {grant} was granted before");
        }
        if self == Self::Revoked {
            ask(live, caller, number, row).await?;
            revoke(live, caller, &grants)?;
        }
        let before = live.audit.recorded();
        let seen = ask(live, caller, number, row).await?;
        let decisions = live.audit.recorded() - before;
        let expected = u64::from(row.needs().is_some());
        ensure_eq!(decisions, expected, "{row}, {self:?}: decisions in the audit log");
        if expected == 1 {
            let allowed = live.audit.records().pop().is_some_and(|record| record.result.is_allowed());
            ensure_eq!(allowed, seen != Seen::Denied, "{row}, {self:?}: the decision in the audit log");
        }
        if self != Self::Revoked {
            revoke(live, caller, &grants)?;
        }
        Ok(seen)
    }

    /// Shows that every guarded function comes to `guarded` in this column, and that every other one is open to everybody.
    async fn comes_to(self, t: &HostBench, guarded: impl Fn(&Row) -> Seen) -> Outcome {
        for (row, seen) in ROWS.iter().zip(self.fill(t).await?) {
            let expected = if row.needs().is_some() { guarded(row) } else { row.granted };
            ensure_eq!(seen, expected, "{row}, {self:?}");
        }
        Ok(())
    }
}

fn revoke(live: &Live, caller: &ComponentId, grants: &[Capability]) -> Outcome {
    for grant in grants {
        ensure!(live.revoke(caller, grant)?, "{grant} was not granted");
    }
    Ok(())
}

async fn ask(live: &Live, caller: &ComponentId, number: usize, row: &Row) -> Outcome<Seen> {
    let message = char::from(b'0' + u8::try_from(number)?).to_string();
    match live.ask(caller, &message).await {
        Ok(answer) if answer == "allowed" => Ok(Seen::Allowed),
        Ok(answer) if answer == "denied" => Ok(Seen::Denied),
        Ok(answer) if answer == "refused" => Ok(Seen::Refused),
        Ok(answer) => fail!("{row} came to the answer `{answer}`"),
        Err(error) if error.kind() == ErrorKind::CapabilityDenied => Ok(Seen::Denied),
        Err(error) => fail!("{row} came to {}", chain(&error)),
    }
}

contracts! { HostBench;
    "host.gate.matrix" {
        /// Every function that the host links has its row in the deny matrix.
        fn is_complete(_t) {
            let linked: Vec<_> = WORLD_IMPORTS
                .iter()
                .flat_map(|(interface, functions)| functions.iter().map(|(function, _)| (*interface, *function)))
                .collect();
            let rows: Vec<_> = ROWS.iter().map(|row| (row.interface, row.function)).collect();
            for function in &linked {
                ensure!(rows.contains(function), "{function:?} has no row in the deny matrix");
            }
            for row in rows.iter().filter(|row| row.0 != EMBEDDER) {
                ensure!(linked.contains(row), "{row:?} has a row in the deny matrix, and is not linked");
            }
            Ok(())
        }

        /// Without a grant, every guarded function is denied, and the denial recorded.
        fn no_grant(t) {
            Column::NoGrant.comes_to(t, |_| Seen::Denied).await
        }

        /// With grants for something else that comes close, every guarded function is denied.
        fn wrong_pattern(t) {
            Column::WrongPattern.comes_to(t, |_| Seen::Denied).await
        }

        /// With the narrowest grant there is, every function does its work.
        fn right_grant(t) {
            Column::RightGrant.comes_to(t, |row| row.granted).await
        }

        /// A running instance whose grant is revoked is denied from the next call on.
        fn revoked(t) {
            Column::Revoked.comes_to(t, |_| Seen::Denied).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_well_formed() {
        for row in &ROWS {
            for grant in row.right().iter().chain(row.wrong()) {
                grant.parse::<Capability>().unwrap_or_else(|error| panic!("{grant}: {error}"));
            }
        }
        caller().unwrap();
    }
}
