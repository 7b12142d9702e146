//! The types of the functions of WASI 0.2, as its WIT files say: those of wasmtime-wasi 48.0.8, unstable functions left out
//! except `exit-with-code`, which is linked.

use std::collections::HashMap;
use std::sync::LazyLock;

use airssys_wasm_core::interface::WitFunction;

/// A line for each function: its name, and its signature in canonical WIT. Names of parameters do not matter to WASI.
const TEXT: &str = include_str!("signatures.txt");

static ALL: LazyLock<HashMap<&str, &str>> =
    LazyLock::new(|| TEXT.lines().filter_map(|line| line.split_once(' ')).collect());

/// The signature that a component must import a function with, and the one that it has, if they differ.
///
/// Resources are compared by being owned or borrowed: one that is used as another is found by its number when it is used.
pub(crate) fn mismatch(interface: &str, function: &WitFunction) -> Option<(&'static str, WitFunction)> {
    let expected = ALL.get(format!("{interface}#{}", function.name).as_str())?;
    let mut found = function.clone();
    found.parameters.iter_mut().for_each(|(name, _)| "_".clone_into(name));
    (found.signature() != *expected).then_some((expected, found))
}

#[cfg(test)]
pub(super) fn functions() -> impl Iterator<Item = (&'static str, &'static str)> {
    let names = TEXT.lines().map(|line| line.split_once(' ').expect("a line is a name and a signature").0);
    names.map(|name| name.split_once('#').expect("a name is an interface and a function"))
}
