//! Exit codes: what a script can tell from how the command ended.

use std::error::Error;
use std::process::ExitCode;

use airssys_wasm::WasmError;
use airssys_wasm::core::error::{
    Detail, ErrorKind, FailureCode, LoadFault, MessagingFault, StorageFault, TrapKind,
};

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Success = 0,
    Usage = 2,
    Failed = 3,
    Trapped = 4,
    TimedOut = 5,
    Limited = 6,
    Denied = 7,
    Incompatible = 8,
    Host = 9,
    Messaging = 10,
    Interrupted = 130,
}

/// Every code, in order, and what it means. Help, README and machine-readable output are made from this table.
pub(crate) const TABLE: [(Exit, &str, &str); 11] = [
    (Exit::Success, "success", "everything was done"),
    (Exit::Usage, "usage", "wrong usage, wrong configuration, or an input file that cannot be read"),
    (Exit::Failed, "failed", "a component answered with an error of its own"),
    (Exit::Trapped, "trapped", "a component trapped"),
    (Exit::TimedOut, "timeout", "a deadline passed"),
    (Exit::Limited, "limit", "a limit was reached: fuel, memory, quota, size, ..."),
    (Exit::Denied, "denied", "no grant covers what a component asked for"),
    (Exit::Incompatible, "incompatible", "not a component that this host can run"),
    (Exit::Host, "host", "the store, the system or the host failed"),
    (Exit::Messaging, "messaging", "a message could not be delivered: unknown component, full mailbox, ..."),
    (Exit::Interrupted, "interrupted", "ended by Ctrl-C or SIGTERM, after what had begun was finished"),
];

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }

    /// A stable name.
    pub(crate) fn name(self) -> &'static str {
        TABLE.iter().find(|(exit, ..)| *exit == self).map_or("", |(_, name, _)| name)
    }

    /// The code for `error`: that of the first error of its chain that is more than a report of the next one.
    pub(crate) fn of(error: &WasmError) -> Self {
        match (error.kind(), error.detail()) {
            (ErrorKind::ExecutionFailed, Some(Detail::Failure(FailureCode::Denied))) => Self::Denied,
            (ErrorKind::ExecutionFailed, _) => Self::Failed,
            (ErrorKind::ComponentTrapped, Some(Detail::Trap(TrapKind::HostFault))) => {
                Self::of_cause(error, Self::Host)
            }
            (ErrorKind::ComponentTrapped, _) => Self::Trapped,
            (ErrorKind::ExecutionTimeout, _) => Self::TimedOut,
            (ErrorKind::ResourceLimitExceeded, _) => Self::Limited,
            (ErrorKind::CapabilityDenied, _) => Self::Denied,
            (ErrorKind::ComponentLoadFailed, Some(Detail::Load(LoadFault::Init))) => {
                Self::of_cause(error, Self::Incompatible)
            }
            (ErrorKind::ComponentLoadFailed, _) => Self::Incompatible,
            (ErrorKind::InvalidConfiguration, _) => Self::Usage,
            (
                ErrorKind::Storage,
                Some(Detail::Storage(StorageFault::QuotaExceeded | StorageFault::TooLarge)),
            ) => Self::Limited,
            (ErrorKind::Messaging, Some(Detail::Messaging(MessagingFault::Timeout))) => Self::TimedOut,
            (ErrorKind::Messaging | ErrorKind::ComponentNotFound, _) => Self::Messaging,
            _ => Self::of_cause(error, Self::Host),
        }
    }

    fn of_cause(error: &WasmError, otherwise: Self) -> Self {
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref() {
                return Self::of(error);
            }
            cause = error.source();
        }
        otherwise
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The table as help shows it.
pub(crate) fn help() -> String {
    let lines =
        TABLE.iter().map(|(exit, name, meaning)| format!("  {:>3}  {name:<12}  {meaning}", exit.code()));
    format!("Exit codes:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use airssys_wasm::core::error::Limit;

    use super::*;

    fn check(error: &WasmError, expected: Exit) {
        assert_eq!(Exit::of(error), expected, "{error}");
    }

    fn init_failed(cause: WasmError) -> WasmError {
        WasmError::unloadable(LoadFault::Init).because(cause)
    }

    #[test]
    fn codes_are_distinct_and_in_order() {
        assert!(TABLE.windows(2).all(|pair| pair[0].0.code() < pair[1].0.code()));
        let numbers: Vec<_> = TABLE.iter().map(|(exit, ..)| exit.code()).collect();
        assert_eq!(numbers, [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 130]);
    }

    #[test]
    fn the_readme_has_the_table() {
        let readme = include_str!("../README.md");
        for (exit, name, meaning) in TABLE {
            let row = format!("| {} | `{name}` | {meaning} |", exit.code());
            assert!(readme.contains(&row), "the README lacks: {row}");
        }
    }

    #[test]
    fn every_kind_has_its_code() {
        let failure =
            |code| WasmError::new(ErrorKind::ExecutionFailed, "execute").detailed(Detail::Failure(code));
        check(&failure(FailureCode::Internal), Exit::Failed);
        check(&failure(FailureCode::Denied), Exit::Denied);
        check(&WasmError::trapped("execute", TrapKind::Unreachable), Exit::Trapped);
        check(&WasmError::new(ErrorKind::ExecutionTimeout, "execute"), Exit::TimedOut);
        check(&WasmError::messaging("request", MessagingFault::Timeout), Exit::TimedOut);
        check(&WasmError::limited("execute", Limit::Fuel), Exit::Limited);
        check(&WasmError::storage("commit", StorageFault::QuotaExceeded), Exit::Limited);
        check(&WasmError::new(ErrorKind::CapabilityDenied, "gate"), Exit::Denied);
        check(&WasmError::new(ErrorKind::InvalidConfiguration, "install"), Exit::Usage);
        check(&WasmError::storage("open", StorageFault::Locked), Exit::Host);
        check(&WasmError::new(ErrorKind::Io, "write"), Exit::Host);
        check(&WasmError::new(ErrorKind::Internal, "stop"), Exit::Host);
        check(&WasmError::messaging("send", MessagingFault::UnknownTarget), Exit::Messaging);
        check(&WasmError::messaging("send", MessagingFault::QueueFull), Exit::Messaging);
        for fault in LoadFault::ALL {
            check(&WasmError::unloadable(*fault), Exit::Incompatible);
        }
    }

    #[test]
    fn the_deciding_error_is_found_in_the_chain() {
        check(&init_failed(WasmError::trapped("init", TrapKind::Unreachable)), Exit::Trapped);
        check(&init_failed(WasmError::limited("init", Limit::Fuel)), Exit::Limited);
        check(&init_failed(WasmError::new(ErrorKind::ExecutionTimeout, "init")), Exit::TimedOut);
        let host_fault = WasmError::trapped("execute", TrapKind::HostFault);
        check(&host_fault, Exit::Host);
        let store_failed = WasmError::storage("get", StorageFault::Io);
        check(&WasmError::trapped("execute", TrapKind::HostFault).because(store_failed), Exit::Host);
        let trapped = WasmError::trapped("execute", TrapKind::Unreachable);
        check(&WasmError::limited("execute", Limit::Memory).because(trapped), Exit::Limited);
    }
}
