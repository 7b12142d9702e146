//! `airssys-wasm inspect`: what a component is, without running any of it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use airssys_wasm::core::capability::CapabilityKind;
use airssys_wasm::core::component::{ByteSize, ComponentId};
use airssys_wasm::core::config::RuntimeConfig;
use airssys_wasm::core::error::{ErrorKind, Limit};
use airssys_wasm::core::interface::{COMPONENT, WORLD_EXPORTS, WitInstance, WitInterface, check_exports};
use airssys_wasm::core::runtime::{EngineProfile, LoadOptions, RuntimeEngine};
use airssys_wasm::manifest::Wish;
use airssys_wasm::{Host, WasmError};
use serde::Serialize;

use crate::arguments::{Format, InspectArguments};
use crate::components::{Candidate, digest_of, input_problem};
use crate::diagnostics::{Problem, ProblemData};
use crate::diff;
use crate::engine;
use crate::exit_code::Exit;
use crate::report::Report;
use crate::text;

/// Runs the command.
pub(crate) fn inspect(arguments: &InspectArguments) -> Exit {
    let mut report = Report::new(arguments.output);
    let inspected = inspect_to(arguments, &mut report);
    inspected.unwrap_or_else(|problem| report.problem(&problem))
}

fn inspect_to(arguments: &InspectArguments, report: &mut Report) -> Result<Exit, Problem> {
    if let [old, new] = arguments.diff.as_slice() {
        return diff::diff(arguments, [old, new], report);
    }
    let path = arguments.path.as_ref().ok_or_else(|| Problem::usage("no component is named"))?;
    let candidate = Candidate::find(path)?;
    let wasm = read(&candidate.wasm).map_err(input_problem)?;
    let config = RuntimeConfig::default();
    let engine = engine::make(arguments.engine, &config)?;
    let interface = load(&*engine, &candidate, &wasm)?;
    let contract = check_exports(&interface).err().map(Problem::from);
    let findings = Findings::new(&candidate, &wasm, &engine.profile(), &interface, contract.as_ref());
    match arguments.output {
        Format::Json => report.object(&findings)?,
        Format::Text => findings.lines().iter().try_for_each(|line| report.line(line))?,
    }
    match contract {
        None => Ok(Exit::Success),
        Some(problem) => {
            let exit = problem.exit();
            problem.during(format!("`{}` does not meet the contract", candidate.wasm.display())).show();
            Ok(exit)
        }
    }
}

/// What a component imports and exports.
pub(crate) fn load(
    engine: &dyn RuntimeEngine,
    candidate: &Candidate,
    wasm: &[u8],
) -> Result<WitInterface, Problem> {
    interface(engine, wasm).map_err(|error| {
        Problem::from(error).during(format!("`{}` cannot be run here", candidate.wasm.display()))
    })
}

fn interface(engine: &dyn RuntimeEngine, wasm: &[u8]) -> Result<WitInterface, WasmError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| WasmError::new(ErrorKind::Io, "start").because(cause))?;
    let loaded = runtime.block_on(
        engine.load(wasm, LoadOptions { extensions: Host::offered_functions(), ..LoadOptions::default() }),
    )?;
    Ok(loaded.interface().clone())
}

/// The binary, unless it is larger than a host would take.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, WasmError> {
    let fail = |cause: io::Error| {
        WasmError::new(ErrorKind::Io, "read component")
            .saying("the file cannot be read")
            .with("path", path.display())
            .advising("check the path and its permissions")
            .because(cause)
    };
    let max = RuntimeConfig::default().max_component_size;
    let mut wasm = Vec::new();
    let file = File::open(path).map_err(fail)?;
    file.take(max.as_u64().saturating_add(1)).read_to_end(&mut wasm).map_err(fail)?;
    if wasm.len() as u64 > max.as_u64() {
        return Err(WasmError::limited("load", Limit::ComponentSize)
            .with("path", path.display())
            .with("allowed", max));
    }
    Ok(wasm)
}

/// What is found out about a component.
#[derive(Debug, Serialize)]
struct Findings<'a> {
    id: &'a str,
    path: String,
    digest: String,
    size: u64,
    engine: Engine,
    contract: Contract<'a>,
    imports: Vec<Interface<'a>>,
    exports: Vec<Interface<'a>>,
    /// What it may have to be granted, seen from what it imports.
    grants: Vec<Need>,
    /// What its manifest asks for.
    requested: &'a [Wish],
}

#[derive(Debug, Serialize)]
struct Engine {
    name: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct Contract<'a> {
    met: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ProblemData<'a>>,
}

#[derive(Debug, Serialize)]
struct Interface<'a> {
    name: &'a str,
    note: &'static str,
    functions: Vec<Function<'a>>,
}

#[derive(Debug, Serialize)]
struct Function<'a> {
    name: &'a str,
    signature: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires: Option<&'static str>,
}

/// A capability that something it imports needs.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Need {
    capability: String,
    why: &'static str,
}

impl<'a> Findings<'a> {
    fn new(
        candidate: &'a Candidate,
        wasm: &[u8],
        engine: &EngineProfile,
        interface: &'a WitInterface,
        contract: Option<&'a Problem>,
    ) -> Self {
        Self {
            id: candidate.id.as_str(),
            path: candidate.wasm.display().to_string(),
            digest: digest_of(wasm).to_string(),
            size: wasm.len() as u64,
            engine: Engine { name: engine.name, version: engine.version },
            contract: Contract { met: contract.is_none(), error: contract.map(Problem::data) },
            imports: interface
                .imports
                .iter()
                .map(|import| Interface::of(import, import_note(&import.name)))
                .collect(),
            exports: interface
                .exports
                .iter()
                .map(|export| Interface::of(export, export_note(&export.name)))
                .collect(),
            grants: needs(&candidate.id, interface),
            requested: candidate.wishes(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("id        {}", self.id),
            format!("path      {}", text::line(&self.path)),
            format!("digest    {}", self.digest),
            format!("size      {}", size(self.size)),
            format!("engine    {} {}", self.engine.name, self.engine.version),
        ];
        let contract = if self.contract.met { "met: a host can run it" } else { "not met" };
        lines.push(format!("contract  {contract}"));
        for (title, interfaces) in [("imports", &self.imports), ("exports", &self.exports)] {
            lines.push(String::new());
            lines.push(if interfaces.is_empty() { format!("{title}: none") } else { format!("{title}:") });
            lines.extend(interfaces.iter().flat_map(Interface::lines));
        }
        lines.push(String::new());
        if self.grants.is_empty() {
            lines.push("grants: none needed".to_owned());
        } else {
            lines.push("grants, as far as it uses what it imports:".to_owned());
            let grant =
                |need: &Need| format!("  --grant {}\n      {}", text::shell_word(&need.capability), need.why);
            lines.extend(self.grants.iter().map(grant));
        }
        if !self.requested.is_empty() {
            lines.push(String::new());
            lines.push("requested by the manifest:".to_owned());
            let wish = |wish: &Wish| {
                let capability = text::shell_word(&wish.capability.to_string());
                format!("  --grant {capability}\n      {}", text::line(&wish.reason))
            };
            lines.extend(self.requested.iter().map(wish));
        }
        lines
    }
}

impl<'a> Interface<'a> {
    fn of(instance: &'a WitInstance, note: &'static str) -> Self {
        let functions = instance.functions.iter().map(|function| Function {
            name: &function.name,
            signature: function.signature(),
            requires: function.requires.map(CapabilityKind::name),
        });
        Self { name: &instance.name, note, functions: functions.collect() }
    }

    fn lines(&self) -> Vec<String> {
        let name = if self.name.is_empty() { "the world itself".to_owned() } else { text::line(self.name) };
        let mut lines = vec![format!("  {name}  ({})", self.note)];
        for Function { name, signature, requires } in &self.functions {
            let requires = requires.map_or_else(String::new, |kind| format!("  [needs {kind}]"));
            lines.push(format!("    {}: {}{requires}", text::line(name), text::line(signature)));
        }
        lines
    }
}

fn import_note(name: &str) -> &'static str {
    if name.starts_with("wasi:filesystem/") {
        "linked; files need file-read or file-write"
    } else if name.starts_with("wasi:") {
        "linked, nothing granted"
    } else if name.starts_with("airssys:core/") {
        "of the host"
    } else {
        "of the embedder"
    }
}

fn export_note(name: &str) -> &'static str {
    if name == COMPONENT {
        "what every component has"
    } else if WORLD_EXPORTS.iter().any(|(known, _)| *known == name) {
        "optional, used by the host"
    } else {
        "its own, ignored by the host"
    }
}

/// What the imported functions need, each kind once, in the order of the kinds.
fn needs(id: &ComponentId, interface: &WitInterface) -> Vec<Need> {
    let functions = interface.imports.iter().flat_map(|instance| &instance.functions);
    let kinds: Vec<_> = functions.filter_map(|function| function.requires).collect();
    CapabilityKind::ALL.into_iter().filter(|kind| kinds.contains(kind)).map(|kind| need(id, kind)).collect()
}

fn need(id: &ComponentId, kind: CapabilityKind) -> Need {
    let (object, why) = match kind {
        CapabilityKind::Storage => (id.as_str(), "to keep keys and values of its own"),
        CapabilityKind::Messaging => (
            "<who>",
            "for each component or topic that it sends to or subscribes to: `acme/greeter`, `acme/*`, `orders.**`",
        ),
        CapabilityKind::FileRead | CapabilityKind::FileWrite => {
            ("<path>", "for each file that it uses: `/data/**`")
        }
        CapabilityKind::NetworkOutbound | CapabilityKind::NetworkInbound => {
            ("<host>:<port>", "for each address that it uses: `api.example.com:443`")
        }
        CapabilityKind::ProcessSpawn => ("<program>", "for each program that it starts: `/usr/bin/env`"),
        _ => ("<name>/<function>", "for each function of the embedder that it calls"),
    };
    Need { capability: format!("{kind}:{object}"), why }
}

/// Bytes, and the same in a unit that is easier to read.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => ByteSize::bytes(bytes).to_string(),
        1024..1_048_576 => format!("{bytes} B ({:.1} KiB)", bytes as f64 / 1024.0),
        _ => format!("{bytes} B ({:.1} MiB)", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use airssys_wasm::core::interface::{LOGGING, MESSAGING, STORAGE, WitFunction, required_capability};

    use super::*;

    fn imports(functions: &[(&str, &str)]) -> WitInterface {
        let instance = |(name, function): &(&str, &str)| WitInstance {
            name: (*name).to_owned(),
            functions: vec![WitFunction {
                requires: required_capability(name, function),
                ..WitFunction::new(*function, [], None)
            }],
        };
        WitInterface { imports: functions.iter().map(instance).collect(), exports: Vec::new() }
    }

    #[test]
    fn needs_follow_from_imports() {
        let id = "acme/counter".parse().unwrap();
        let check = |functions: &[(&str, &str)], expected: &[&str]| {
            let needs = needs(&id, &imports(functions));
            let capabilities: Vec<_> = needs.iter().map(|need| need.capability.as_str()).collect();
            assert_eq!(capabilities, expected);
        };
        check(&[], &[]);
        check(&[(LOGGING, "log"), (MESSAGING, "self-id")], &[]);
        check(&[(STORAGE, "get"), (STORAGE, "set")], &["storage:acme/counter"]);
        check(&[(MESSAGING, "send"), (STORAGE, "get")], &["storage:acme/counter", "messaging:<who>"]);
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!(
            [size(12), size(28_136), size(3 << 20)],
            ["12 B", "28136 B (27.5 KiB)", "3145728 B (3.0 MiB)"]
        );
    }
}
