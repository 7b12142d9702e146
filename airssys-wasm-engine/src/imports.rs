//! What a component imports and who answers it, by name and version.

use airssys_wasm_core::error::{LoadFault, WasmError};
use airssys_wasm_core::interface::WORLD_IMPORTS;
use airssys_wasm_core::runtime::HostFunctionDefinition;

use crate::text::escaped;
use crate::wasi;

/// The most imports that an error names one by one, and the most characters of each.
const MAX_NAMED: usize = 40;
const MAX_NAME: usize = 200;

/// The name under which one of our interfaces, or an extension's, answers the import `name`.
pub fn offered_name(extensions: &[HostFunctionDefinition], name: &str) -> Option<String> {
    let ours = WORLD_IMPORTS.iter().map(|(interface, _)| *interface);
    let theirs = extensions.iter().map(|definition| definition.interface.as_str());
    ours.chain(theirs).find(|offered| compatible(offered, name)).map(str::to_owned)
}

/// Whether an interface of ours, of an extension's or of WASI answers the import `name`.
pub fn is_offered(extensions: &[HostFunctionDefinition], name: &str) -> bool {
    offered_name(extensions, name).is_some() || wasi::interfaces().any(|offered| compatible(&offered, name))
}

/// Whether an interface of the name `offered` answers the import `wanted`: the same, or another version that promises to be
/// compatible. So Wasmtime links, too.
pub fn compatible(offered: &str, wanted: &str) -> bool {
    offered == wanted
        || matches!(
            (split_version(offered), split_version(wanted)),
            ((offered, Some(have)), (wanted, Some(want))) if offered == wanted && track(have).is_some() && track(have) == track(want)
        )
}

fn split_version(name: &str) -> (&str, Option<&str>) {
    name.split_once('@').map_or((name, None), |(name, version)| (name, Some(version)))
}

/// The part of a version that must be equal for two to be compatible; none for a version that is so with no other.
fn track(version: &str) -> Option<(u64, u64)> {
    if version.contains('-') {
        return None;
    }
    let mut numbers = version.split('+').next()?.split('.').map(str::parse::<u64>);
    match (numbers.next()?.ok()?, numbers.next()?.ok()?) {
        (0, 0) => None,
        (0, minor) => Some((0, minor)),
        (major, _) => Some((major, 0)),
    }
}

/// The error that names every import that nothing answers, and what is offered instead.
pub fn unknown_imports(definitions: &[HostFunctionDefinition], missing: &[String]) -> WasmError {
    let ours = WORLD_IMPORTS.iter().flat_map(|(interface, functions)| {
        functions.iter().map(move |(function, _)| format!("{interface}#{function}"))
    });
    let theirs = definitions.iter().map(|definition| match definition.interface.as_str() {
        "" => definition.function.name.clone(),
        interface => format!("{interface}#{}", definition.function.name),
    });
    let functions: Vec<_> = ours.chain(theirs).collect();
    let mut interfaces: Vec<_> = functions
        .iter()
        .map(|function| {
            function.split_once('#').map_or(function.as_str(), |(interface, _)| interface).to_owned()
        })
        .chain(wasi::interfaces())
        .collect();
    interfaces.dedup();
    let hints: Vec<_> =
        missing.iter().take(3).filter_map(|name| hint(name, &functions, &interfaces)).collect();
    let mut error = WasmError::unloadable(LoadFault::UnknownImports)
        .with("missing", list(missing))
        .with("offered", list(&interfaces));
    if !hints.is_empty() {
        error = error.with("hint", hints.join("; "));
    }
    error.advising("load the component on a host that provides these functions, or build it without them")
}

/// What a missing import may have been meant to be.
fn hint(missing: &str, functions: &[String], interfaces: &[String]) -> Option<String> {
    let interface = missing.split_once('#').map_or(missing, |(interface, _)| interface);
    let (name, _) = split_version(interface);
    if let Some(other) =
        interfaces.iter().find(|offered| split_version(offered).0 == name && !compatible(offered, interface))
    {
        return Some(format!("`{}` is offered as `{other}`", escaped(interface, MAX_NAME)));
    }
    // Comparing takes the square of the length.
    if missing.len() > MAX_NAME {
        return None;
    }
    let near = |candidate: &&String| strsim::jaro_winkler(candidate, missing) > 0.9;
    let closest = |left: &&String, right: &&String| {
        strsim::jaro_winkler(left, missing).total_cmp(&strsim::jaro_winkler(right, missing))
    };
    let found = functions.iter().chain(interfaces).filter(near).max_by(closest)?;
    Some(format!("`{}` is close to `{found}`", escaped(missing, MAX_NAME)))
}

/// The names, as far as people read.
pub fn list(names: &[String]) -> String {
    let named: Vec<_> = names.iter().take(MAX_NAMED).map(|name| escaped(name, MAX_NAME)).collect();
    let mut text = named.join(", ");
    if names.len() > MAX_NAMED {
        text.push_str(&format!(" and {} more", names.len() - MAX_NAMED));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_on_one_track_are_compatible() {
        let check = |offered: &str, wanted: &str, expected: bool| {
            assert_eq!(compatible(offered, wanted), expected, "{offered} for {wanted}");
        };
        check("a:b/c", "a:b/c", true);
        check("a:b/c@0.2.12", "a:b/c@0.2.0", true);
        check("a:b/c@0.2.0", "a:b/c@0.2.12", true);
        check("a:b/c@0.2.0", "a:b/c@0.3.0", false);
        check("a:b/c@1.2.0", "a:b/c@1.9.9", true);
        check("a:b/c@1.2.0", "a:b/c@2.0.0", false);
        check("a:b/c@0.0.1", "a:b/c@0.0.2", false);
        check("a:b/c@0.0.1", "a:b/c@0.0.1", true);
        check("a:b/c@1.0.0-rc.1", "a:b/c@1.0.0", false);
        check("a:b/c@1.0.0-rc.1", "a:b/c@1.0.0-rc.1", true);
        check("a:b/c@1.0.0", "a:b/c", false);
        check("a:b/c@1.0.0", "a:b/d@1.0.0", false);
    }
}
