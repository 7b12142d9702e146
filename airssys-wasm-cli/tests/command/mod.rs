//! Runs the command as a user does, and looks at its exit code and its output.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("the command writes UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("the command writes UTF-8"),
        }
    }

    /// Asserts the exit code and all of standard output.
    #[track_caller]
    pub(crate) fn ended(&self, code: i32, stdout: &str) -> &Self {
        assert_eq!(
            (self.code, self.stdout.as_str()),
            (Some(code), stdout),
            "standard error:\n{}",
            self.stderr
        );
        self
    }

    /// Asserts that all of `texts` are on standard error.
    #[track_caller]
    pub(crate) fn told(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is missing on standard error:\n{}", self.stderr);
        }
        self
    }

    /// Each line of standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

/// The command, reading nothing.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_airssys-wasm"));
    command.args(arguments).env_remove("NO_COLOR").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

pub(crate) fn airssys(arguments: &[&str]) -> Ran {
    Ran::of(command(arguments).output().unwrap())
}

/// The command, reading `input`.
pub(crate) fn airssys_reading(arguments: &[&str], input: &[u8]) -> Ran {
    let mut child = command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that ends early does not read all of it.
    let _ = child.stdin.take().unwrap().write_all(input);
    Ran::of(child.wait_with_output().unwrap())
}

/// The path of a guest component.
pub(crate) fn guest(name: &str) -> String {
    let prebuilt = Path::new(env!("CARGO_MANIFEST_DIR")).join("../airssys-wasm-conformance/prebuilt");
    text(&prebuilt.join(format!("{name}.wasm")))
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("paths of the tests are UTF-8").to_owned()
}

/// A folder for one test.
#[derive(Debug)]
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        text(&path)
    }

    /// The option for a store here.
    pub(crate) fn store(&self, name: &str) -> String {
        self.at("redb", name)
    }

    /// The option for a store of that kind here.
    pub(crate) fn at(&self, kind: &str, name: &str) -> String {
        format!("{kind}:{}", text(&self.path(name)))
    }
}
