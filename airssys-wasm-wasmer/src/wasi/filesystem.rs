//! `wasi:filesystem`: there are no directories, so nobody ever has a descriptor.

use airssys_wasm_core::runtime::Value;

use super::{Function, never_given};

const METHODS: &[&str] = &[
    "[method]descriptor.read-via-stream",
    "[method]descriptor.write-via-stream",
    "[method]descriptor.append-via-stream",
    "[method]descriptor.advise",
    "[method]descriptor.sync-data",
    "[method]descriptor.get-flags",
    "[method]descriptor.get-type",
    "[method]descriptor.set-size",
    "[method]descriptor.set-times",
    "[method]descriptor.read",
    "[method]descriptor.write",
    "[method]descriptor.read-directory",
    "[method]descriptor.sync",
    "[method]descriptor.create-directory-at",
    "[method]descriptor.stat",
    "[method]descriptor.stat-at",
    "[method]descriptor.set-times-at",
    "[method]descriptor.link-at",
    "[method]descriptor.open-at",
    "[method]descriptor.readlink-at",
    "[method]descriptor.remove-directory-at",
    "[method]descriptor.rename-at",
    "[method]descriptor.symlink-at",
    "[method]descriptor.unlink-file-at",
    "[method]descriptor.is-same-object",
    "[method]descriptor.metadata-hash",
    "[method]descriptor.metadata-hash-at",
    "[method]directory-entry-stream.read-directory-entry",
];

pub(super) fn find(interface: &str, function: &str) -> Option<Function> {
    match (interface, function) {
        ("preopens", "get-directories") => Some(|_, _| Ok(Value::List(Vec::new())).into()),
        // It takes an error of a stream, and no stream of ours fails.
        ("types", "filesystem-error-code") => Some(|_, _| never_given("filesystem.filesystem-error-code")),
        ("types", method) if METHODS.contains(&method) => Some(|_, _| never_given("filesystem.types")),
        _ => None,
    }
}
