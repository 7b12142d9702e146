//! `airssys-wasm inspect --diff`: what another version of a component asks for, needs and offers, beside the one before.

use std::collections::BTreeMap;

use airssys_wasm::core::capability::{Capability, CapabilityKind};
use airssys_wasm::core::config::RuntimeConfig;
use airssys_wasm::core::interface::{WitFunction, WitInstance, WitInterface};
use airssys_wasm::core::runtime::RuntimeEngine;
use airssys_wasm::manifest::{Manifest, Wish};
use serde::Serialize;
use serde_json::Value;

use crate::arguments::{Format, InspectArguments};
use crate::components::{Candidate, digest_of, input_problem};
use crate::diagnostics::Problem;
use crate::engine;
use crate::exit_code::Exit;
use crate::grants::is_narrower;
use crate::inspect;
use crate::report::Report;
use crate::text;
use crate::values::ComponentPath;

/// Compares two versions, and tells what changed. That is no failure.
pub(crate) fn diff(
    arguments: &InspectArguments,
    [old, new]: [&ComponentPath; 2],
    report: &mut Report,
) -> Result<Exit, Problem> {
    let engine = engine::make(arguments.engine, &RuntimeConfig::default())?;
    let (old, new) = (Version::find(old, &*engine)?, Version::find(new, &*engine)?);
    let difference = Difference::between(&old, &new);
    match arguments.output {
        Format::Json => report.object(&difference)?,
        Format::Text => difference.lines().iter().try_for_each(|line| report.line(line))?,
    }
    Ok(Exit::Success)
}

/// One of the two.
struct Version {
    candidate: Candidate,
    digest: String,
    interface: WitInterface,
}

impl Version {
    fn find(path: &ComponentPath, engine: &dyn RuntimeEngine) -> Result<Self, Problem> {
        let candidate = Candidate::find(path)?;
        let wasm = inspect::read(&candidate.wasm).map_err(input_problem)?;
        let interface = inspect::load(engine, &candidate, &wasm)?;
        Ok(Self { candidate, digest: digest_of(&wasm).to_string(), interface })
    }

    fn side(&self) -> Side<'_> {
        Side {
            id: self.candidate.id.as_str(),
            version: self.number(),
            path: self.candidate.path().display().to_string(),
            digest: &self.digest,
        }
    }

    fn number(&self) -> Option<String> {
        self.candidate.manifest.as_ref().map(|manifest| manifest.package.version.to_string())
    }

    fn accepts(&self) -> Vec<String> {
        let accepts = self.candidate.manifest.iter().flat_map(|manifest| &manifest.codecs.accepts);
        let mut accepts: Vec<_> = accepts.map(ToString::to_string).collect();
        accepts.sort_unstable();
        accepts.dedup();
        accepts
    }
}

/// What changed; what is not there has not.
#[derive(Debug, Serialize)]
struct Difference<'a> {
    old: Side<'a>,
    new: Side<'a>,
    changed: bool,
    same_binary: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Change<&'a str>>,
    /// Absent in one of them when that has no manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Change<Option<String>>>,
    #[serde(skip_serializing_if = "Capabilities::is_empty")]
    capabilities: Capabilities<'a>,
    /// Absent where those of the host hold.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<String, Change<Option<Value>>>,
    /// All of them, where the list is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_types: Option<Change<Vec<String>>>,
    #[serde(skip_serializing_if = "Interfaces::is_empty")]
    imports: Interfaces<'a>,
    #[serde(skip_serializing_if = "Interfaces::is_empty")]
    exports: Interfaces<'a>,
}

#[derive(Debug, Serialize)]
struct Side<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    path: String,
    digest: &'a str,
}

#[derive(Debug, PartialEq, Serialize)]
struct Change<T> {
    old: T,
    new: T,
}

impl<T: PartialEq> Change<T> {
    /// None when there is none.
    fn of(old: T, new: T) -> Option<Self> {
        (old != new).then_some(Self { old, new })
    }
}

/// What is asked for, and was not, or was otherwise.
#[derive(Debug, Default, Serialize)]
struct Capabilities<'a> {
    added: Vec<&'a Wish>,
    removed: Vec<&'a Wish>,
    /// The new one allows all of the old one.
    widened: Vec<Change<&'a Wish>>,
    /// The old one allows all of the new one.
    narrowed: Vec<Change<&'a Wish>>,
}

impl<'a> Capabilities<'a> {
    fn between(old: &'a [Wish], new: &'a [Wish]) -> Self {
        let without = |these: &'a [Wish], those: &[Wish]| {
            let is_new = |wish: &&Wish| those.iter().all(|other| other.capability != wish.capability);
            these.iter().filter(is_new).collect::<Vec<_>>()
        };
        let mut found = Self { removed: without(old, new), ..Self::default() };
        for wish in without(new, old) {
            let mut paired = |is_pair: &dyn Fn(&Capability) -> bool| {
                let place = found.removed.iter().position(|removed| is_pair(&removed.capability))?;
                Some(found.removed.remove(place))
            };
            if let Some(old) = paired(&|removed| is_narrower(removed, &wish.capability)) {
                found.widened.push(Change { old, new: wish });
            } else if let Some(old) = paired(&|removed| is_narrower(&wish.capability, removed)) {
                found.narrowed.push(Change { old, new: wish });
            } else {
                found.added.push(wish);
            }
        }
        found
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.widened.is_empty()
            && self.narrowed.is_empty()
    }

    fn lines(&self) -> Vec<String> {
        let reason = |wish: &Wish| format!("      what for: {}", text::line(&wish.reason));
        let mut lines = Vec::new();
        for wish in &self.added {
            lines.extend([format!("  + {}", wish.capability), reason(wish)]);
        }
        for (word, changes) in [("widened", &self.widened), ("narrowed", &self.narrowed)] {
            for Change { old, new } in changes {
                lines.extend([format!("  {word}: {} -> {}", old.capability, new.capability), reason(new)]);
            }
        }
        lines.extend(self.removed.iter().map(|wish| format!("  - {}", wish.capability)));
        lines
    }
}

/// Interfaces on one side of a component.
#[derive(Debug, Default, Serialize)]
struct Interfaces<'a> {
    added: Vec<Interface<'a>>,
    removed: Vec<Interface<'a>>,
    changed: Vec<ChangedInterface<'a>>,
}

#[derive(Debug, Serialize)]
struct Interface<'a> {
    name: &'a str,
    functions: Vec<Function<'a>>,
}

#[derive(Debug, Serialize)]
struct ChangedInterface<'a> {
    name: &'a str,
    added: Vec<Function<'a>>,
    removed: Vec<Function<'a>>,
    changed: Vec<ChangedFunction<'a>>,
}

#[derive(Debug, Serialize)]
struct Function<'a> {
    name: &'a str,
    signature: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    requires: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct ChangedFunction<'a> {
    name: &'a str,
    #[serde(flatten)]
    signature: Change<String>,
}

impl<'a> Function<'a> {
    fn of(function: &'a WitFunction) -> Self {
        Self {
            name: &function.name,
            signature: function.signature(),
            requires: function.requires.map(CapabilityKind::name),
        }
    }

    fn line(&self) -> String {
        let requires = self.requires.map_or_else(String::new, |kind| format!("  [needs {kind}]"));
        format!("{}: {}{requires}", text::line(self.name), text::line(&self.signature))
    }
}

impl<'a> ChangedInterface<'a> {
    /// None when it has not changed.
    fn between(old: &'a WitInstance, new: &'a WitInstance) -> Option<Self> {
        let without = |these: &'a WitInstance, those: &WitInstance| {
            let is_new = |function: &&WitFunction| those.function(&function.name).is_none();
            these.functions.iter().filter(is_new).map(Function::of).collect::<Vec<_>>()
        };
        let changed = new.functions.iter().filter_map(|function| {
            let before = old.function(&function.name)?;
            let signature = Change::of(before.signature(), function.signature())?;
            Some(ChangedFunction { name: &function.name, signature })
        });
        let found = Self {
            name: &new.name,
            added: without(new, old),
            removed: without(old, new),
            changed: changed.collect(),
        };
        let is_changed = !(found.added.is_empty() && found.removed.is_empty() && found.changed.is_empty());
        is_changed.then_some(found)
    }
}

impl<'a> Interfaces<'a> {
    fn between(old: &'a [WitInstance], new: &'a [WitInstance]) -> Self {
        let named = |all: &'a [WitInstance], name: &str| all.iter().find(|instance| instance.name == name);
        let without = |these: &'a [WitInstance], those: &'a [WitInstance]| {
            let strangers = these.iter().filter(|instance| named(those, &instance.name).is_none());
            let interface = |instance: &'a WitInstance| Interface {
                name: &instance.name,
                functions: instance.functions.iter().map(Function::of).collect(),
            };
            strangers.map(interface).collect::<Vec<_>>()
        };
        let changed = new
            .iter()
            .filter_map(|instance| ChangedInterface::between(named(old, &instance.name)?, instance));
        Self { added: without(new, old), removed: without(old, new), changed: changed.collect() }
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    fn lines(&self) -> Vec<String> {
        let name = |name: &str| {
            if name.is_empty() { "the world itself".to_owned() } else { text::line(name) }
        };
        let mut lines = Vec::new();
        for interface in &self.added {
            lines.push(format!("  + {}", name(interface.name)));
            lines.extend(interface.functions.iter().map(|function| format!("      {}", function.line())));
        }
        lines.extend(self.removed.iter().map(|interface| format!("  - {}", name(interface.name))));
        for interface in &self.changed {
            lines.push(format!("  {}", name(interface.name)));
            lines.extend(interface.added.iter().map(|function| format!("    + {}", function.line())));
            lines.extend(interface.removed.iter().map(|function| format!("    - {}", function.line())));
            for ChangedFunction { name, signature } in &interface.changed {
                lines.push(format!("    {}: {}", text::line(name), text::line(&signature.old)));
                lines.push(format!("      -> {}", text::line(&signature.new)));
            }
        }
        lines
    }
}

impl<'a> Difference<'a> {
    fn between(old: &'a Version, new: &'a Version) -> Self {
        // An id that was made from the name of a file says nothing.
        let ids = old.candidate.manifest.is_some() && new.candidate.manifest.is_some();
        let id = Change::of(old.candidate.id.as_str(), new.candidate.id.as_str()).filter(|_| ids);
        let mut found = Self {
            old: old.side(),
            new: new.side(),
            changed: false,
            same_binary: old.digest == new.digest,
            id,
            version: Change::of(old.number(), new.number()),
            capabilities: Capabilities::between(old.candidate.wishes(), new.candidate.wishes()),
            limits: changed_limits(&old.candidate, &new.candidate),
            content_types: Change::of(old.accepts(), new.accepts()),
            imports: Interfaces::between(&old.interface.imports, &new.interface.imports),
            exports: Interfaces::between(&old.interface.exports, &new.interface.exports),
        };
        found.changed = !found.sections().is_empty();
        found
    }

    /// What changed, each with its title.
    fn sections(&self) -> Vec<(&'static str, Vec<String>)> {
        let arrow = |old: &str, new: &str| vec![format!("  {old} -> {new}")];
        let id = self.id.iter().flat_map(|Change { old, new }| arrow(old, new));
        let number = |version: &Option<String>| version.clone().unwrap_or_else(|| "none is said".to_owned());
        let version = self.version.iter().flat_map(|Change { old, new }| arrow(&number(old), &number(new)));
        let limit = |value: &Option<Value>| match value {
            None => "that of the host".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let limits = self
            .limits
            .iter()
            .map(|(key, Change { old, new })| format!("  {key}: {} -> {}", limit(old), limit(new)));
        let types = |types: &[String]| if types.is_empty() { "all".to_owned() } else { types.join(", ") };
        let content_types =
            self.content_types.iter().flat_map(|Change { old, new }| arrow(&types(old), &types(new)));
        let sections = vec![
            ("id", id.collect()),
            ("version", version.collect()),
            ("capabilities", self.capabilities.lines()),
            ("limits", limits.collect()),
            ("content types", content_types.collect()),
            ("imports", self.imports.lines()),
            ("exports", self.exports.lines()),
        ];
        sections.into_iter().filter(|(_, lines): &(_, Vec<String>)| !lines.is_empty()).collect()
    }

    fn lines(&self) -> Vec<String> {
        let side = |name: &str, side: &Side<'_>| {
            let version = side.version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
            [
                format!("{name}  {}{version}, {}", side.id, text::line(&side.path)),
                format!("     {}", side.digest),
            ]
        };
        let mut lines: Vec<_> =
            [side("old", &self.old), side("new", &self.new)].into_iter().flatten().collect();
        lines.push(String::new());
        if !self.changed {
            lines.push("nothing changed: version, capabilities, limits, content types, imports and exports are the same".to_owned());
        }
        for (title, section) in self.sections() {
            lines.push(format!("{title}:"));
            lines.extend(section);
        }
        lines.push(
            if self.same_binary { "the binary is the same" } else { "the binary is another one" }.to_owned(),
        );
        lines
    }
}

/// The limits that differ, as they are written.
fn changed_limits(old: &Candidate, new: &Candidate) -> BTreeMap<String, Change<Option<Value>>> {
    let (mut old, mut new) = (limits(old.manifest.as_ref()), limits(new.manifest.as_ref()));
    let keys: Vec<_> = old.keys().chain(new.keys()).cloned().collect();
    let change = |key: String| Some((key.clone(), Change::of(old.remove(&key), new.remove(&key))?));
    keys.into_iter().filter_map(change).collect()
}

/// The limits that a manifest states; the host's hold where it states none.
fn limits(manifest: Option<&Manifest>) -> BTreeMap<String, Value> {
    let Some(manifest) = manifest else { return BTreeMap::new() };
    let quota = manifest.storage.quota;
    match manifest.limits.as_ref().map(serde_json::to_value) {
        Some(Ok(Value::Object(limits))) => limits.into_iter().collect(),
        _ => {
            let bytes = quota.bytes.map(|bytes| ("storage-bytes".to_owned(), Value::from(bytes.to_string())));
            let keys = quota.keys.map(|keys| ("storage-keys".to_owned(), Value::from(keys)));
            bytes.into_iter().chain(keys).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use airssys_wasm::core::interface::WitType;

    use super::*;

    fn wishes(texts: &[&str]) -> Vec<Wish> {
        let wish =
            |text: &&str| Wish { capability: text.parse().expect("it is valid"), reason: "x".to_owned() };
        texts.iter().map(wish).collect()
    }

    #[test]
    fn what_covers_the_other_is_wider() {
        let check = |old: &[&str], new: &[&str], expected: &[&str]| {
            let (old, new) = (wishes(old), wishes(new));
            let lines = Capabilities::between(&old, &new).lines();
            let lines: Vec<_> = lines.iter().filter(|line| !line.contains("what for")).collect();
            assert_eq!(lines, expected);
        };
        check(&["storage:a/b"], &["storage:a/b"], &[]);
        check(&["storage:a/b"], &["storage:a/*"], &["  widened: storage:a/b -> storage:a/*"]);
        check(
            &["messaging:orders.**"],
            &["messaging:orders.*"],
            &["  narrowed: messaging:orders.** -> messaging:orders.*"],
        );
        check(&["storage:a/b"], &["messaging:a/b"], &["  + messaging:a/b", "  - storage:a/b"]);
        check(
            &["storage:a/b", "storage:a/c"],
            &["storage:a/*", "storage:a/c", "messaging:x"],
            &["  + messaging:x", "  widened: storage:a/b -> storage:a/*"],
        );
    }

    #[test]
    fn interfaces_are_compared_function_by_function() {
        let instance = |name: &str, functions: &[(&str, Option<WitType>)]| WitInstance {
            name: name.to_owned(),
            functions: functions
                .iter()
                .map(|(name, result)| WitFunction::new(*name, [], result.clone()))
                .collect(),
        };
        let old =
            [instance("a:b/c", &[("gone", None), ("same", None), ("other", None)]), instance("a:b/old", &[])];
        let new = [
            instance("a:b/c", &[("same", None), ("other", Some(WitType::U8)), ("more", None)]),
            instance("", &[("f", None)]),
        ];
        assert!(Interfaces::between(&old, &old).is_empty());
        let expected = [
            "  + the world itself",
            "      f: func()",
            "  - a:b/old",
            "  a:b/c",
            "    + more: func()",
            "    - gone: func()",
            "    other: func()",
            "      -> func() -> u8",
        ];
        assert_eq!(Interfaces::between(&old, &new).lines(), expected);
    }
}
