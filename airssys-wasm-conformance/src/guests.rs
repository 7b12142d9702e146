//! The components that contracts, tests, examples and benches run.

use std::borrow::Cow;
use std::env;
use std::fmt;
use std::fs;
use std::path::Path;

use airssys_wasm_core::error::{ErrorKind, Result, WasmError};

/// The environment variable that names a folder with other builds of the guests.
pub const FOLDER: &str = "AIRSSYS_WASM_GUESTS";

/// A component that is checked in, ready to be loaded. Its source says which messages it understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guest {
    /// A counter whose count lives in storage.
    Counter,
    /// The smallest component that is configured: replies with a greeting.
    Greeter,
    /// Talks to other components in every way the host offers.
    Relay,
    /// Writes every message to the log, and counts them.
    Logger,
    /// One attack for each message.
    Hostile,
    /// Returns the body it was given.
    Echo,
    /// Takes and returns values of every WIT type, and imports an interface of the embedder.
    Values,
    /// Imports WASI, and reports what it was granted.
    WasiClock,
    /// Calls every function of WASI that has to do with files.
    WasiFiles,
    /// Reads its configuration and writes to its log by proposals of WASI.
    WasiProposals,
}

macro_rules! prebuilt {
    ($name:literal) => {
        include_bytes!(concat!("../prebuilt/", $name, ".wasm"))
    };
}

impl Guest {
    /// Every guest.
    pub const ALL: [Self; 10] = [
        Self::Counter,
        Self::Greeter,
        Self::Relay,
        Self::Logger,
        Self::Hostile,
        Self::Echo,
        Self::Values,
        Self::WasiClock,
        Self::WasiFiles,
        Self::WasiProposals,
    ];

    /// The name of its file and of its package.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Greeter => "greeter",
            Self::Relay => "relay",
            Self::Logger => "logger",
            Self::Hostile => "hostile",
            Self::Echo => "echo",
            Self::Values => "values",
            Self::WasiClock => "wasi-clock",
            Self::WasiFiles => "wasi-files",
            Self::WasiProposals => "wasi-proposals",
        }
    }

    /// The component: the one that is checked in, or `NAME.wasm` of the folder that [`FOLDER`] names.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] naming the file that cannot be read.
    pub fn bytes(self) -> Result<Cow<'static, [u8]>> {
        match env::var_os(FOLDER).filter(|folder| !folder.is_empty()) {
            None => Ok(Cow::Borrowed(self.prebuilt())),
            Some(folder) => self.read_from(Path::new(&folder)).map(Cow::Owned),
        }
    }

    fn read_from(self, folder: &Path) -> Result<Vec<u8>> {
        let path = folder.join(self.name()).with_extension("wasm");
        fs::read(&path).map_err(|cause| {
            WasmError::new(ErrorKind::Io, "read guest")
                .saying("the guest component cannot be read")
                .with("path", path.display())
                .advising(format!("build the guests into that folder, or unset {FOLDER}"))
                .because(cause)
        })
    }

    const fn prebuilt(self) -> &'static [u8] {
        match self {
            Self::Counter => prebuilt!("counter"),
            Self::Greeter => prebuilt!("greeter"),
            Self::Relay => prebuilt!("relay"),
            Self::Logger => prebuilt!("logger"),
            Self::Hostile => prebuilt!("hostile"),
            Self::Echo => prebuilt!("echo"),
            Self::Values => prebuilt!("values"),
            Self::WasiClock => prebuilt!("wasi-clock"),
            Self::WasiFiles => prebuilt!("wasi-files"),
            Self::WasiProposals => prebuilt!("wasi-proposals"),
        }
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_is_a_component() {
        for guest in Guest::ALL {
            assert_eq!(&guest.prebuilt()[..8], b"\0asm\x0d\0\x01\0", "{guest}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Guest::Echo.read_from(Path::new("/nowhere")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "read guest: the guest component cannot be read (path: /nowhere/echo.wasm)"
        );
    }
}
