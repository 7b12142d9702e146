//! The Component Model's own tests, as contracts.
//!
//! The files are those of `WebAssembly/component-model`, folder `test`; commit and licence are told beside them. A contract holds when all
//! that its file asserts is so: what is loaded and what is refused, what calls return, and what traps.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::error::{Detail, ErrorKind, LoadFault, Result, WasmError};
use airssys_wasm_core::runtime::{
    CallBudget, Component, ComponentHandle, ExportName, LoadOptions, RuntimeEngine, Value,
};
use wast::component::WastVal;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet};

use crate::engine::EngineBench;
use crate::fakes::FakeHost;
use crate::runner::{Broken, Contract, Outcome, When, chain, ensure};

/// A contract for each file. Where a file has components that use what no engine here offers, `without` says which proposals, and what the
/// refusal of each of them names; the rest of the file is held as any other. A file in which nothing is refused may not say so.
macro_rules! files {
    ($($folder:literal / $file:literal $(without $reason:literal $named:tt)?,)+) => {
        /// Every file.
        const CONTRACTS: &[Contract<EngineBench>] = &[$(Contract {
            id: concat!("component-model.", $folder, ".", $file),
            promise: concat!(
                "All that `", $folder, "/", $file, ".wast` of the Component Model's own tests asserts.",
                $(" Without ", $reason, ", which no engine here offers.")?
            ),
            when: When::Always,
            run: |bench| {
                const TEXT: &str = include_str!(concat!("../component-model-tests/", $folder, "/", $file, ".wast"));
                #[allow(unused_mut, unused_assignments, reason = "most files leave nothing out")]
                let mut without: Option<&[&str]> = None;
                $(without = Some(&$named);)?
                Box::pin(hold(bench, TEXT, without))
            },
        },)+];
    };
}

files! {
    "binary" / "binary" without "the encodings of later proposals"
        ["async feature", "map feature", "fixed-length lists feature", "cm-implements", "gc proposal"],
    "linking" / "link-time-virtualization",
    "linking" / "shared-everything-dynamic-linking",
    "linking" / "tags" without "exceptions" ["exceptions proposal"],
    "linking" / "unit",
    "resources" / "borrows",
    "resources" / "handle-table",
    "resources" / "multiple-resources",
    "validation" / "abi",
    "validation" / "annotated-names",
    "validation" / "attributes" without "the attribute `implements`" ["cm-implements"],
    "validation" / "core-modules",
    "validation" / "defined-types",
    "validation" / "extern-names",
    "validation" / "external-visibility",
    "validation" / "indicies" without "asynchronous functions and threads" ["async feature", "threading feature"],
    "validation" / "instantiation",
    "validation" / "kebab",
    "validation" / "max-value-size" without "lists of fixed length" ["fixed-length lists feature"],
    "validation" / "outer-alias",
    "validation" / "resources",
    "values" / "alignment",
    "values" / "concat" without "maps" ["map feature"],
    "values" / "numerics",
    "values" / "post-return" without "asynchronous functions" ["async feature"],
    "values" / "realloc",
    "values" / "strings",
    "values" / "transcode",
    "values" / "variants" without "asynchronous functions" ["async feature"],
}

/// A contract for each of the files.
pub fn contracts() -> impl Iterator<Item = &'static Contract<EngineBench>> {
    CONTRACTS.iter()
}

/// More than any of the calls takes.
const AMPLE: Duration = Duration::from_secs(20);

/// Follows one file. Components that name one of `without` in their refusal, and what is done with them, are left out.
async fn hold(bench: &EngineBench, text: &str, without: Option<&[&str]>) -> Outcome {
    let buffer = ParseBuffer::new(text)?;
    let file: Wast<'_> = parser::parse(&buffer)?;
    let later = without.unwrap_or_default();
    let mut script = Script {
        engine: bench.shared(),
        instances: HashMap::new(),
        current: None,
        definitions: HashMap::new(),
    };
    let mut refused = 0;
    let mut wrong = Vec::new();
    for directive in file.directives {
        let (line, _) = directive.span().linecol_in(text);
        match script.follow(directive).await {
            Ok(()) => {}
            Err(Failure::Load(why)) if later.iter().any(|feature| why.contains(feature)) => refused += 1,
            Err(Failure::Nothing) if refused > 0 => {}
            Err(failure) => wrong.push(format!("line {}: {failure}", line + 1)),
        }
    }
    if !wrong.is_empty() {
        return Err(Broken::new(wrong.join("\n")));
    }
    ensure!(
        without.is_none() || refused > 0,
        "nothing in it was refused, and it is listed as partly out of scope"
    );
    Ok(())
}

/// Why a step was not as the file says.
enum Failure {
    /// A component was not loaded.
    Load(String),
    /// There is no instance to call: its component was not loaded.
    Nothing,
    Wrong(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(text) | Self::Wrong(text) => f.write_str(text),
            Self::Nothing => f.write_str("there is no such instance"),
        }
    }
}

struct Script {
    engine: Arc<dyn RuntimeEngine>,
    definitions: HashMap<String, ComponentHandle>,
    instances: HashMap<String, Box<dyn Component>>,
    /// The instance made last, unless it has a name.
    current: Option<Current>,
}

enum Current {
    Named(String),
    Unnamed(Box<dyn Component>),
}

type Step = std::result::Result<(), Failure>;

impl Script {
    async fn follow(&mut self, directive: WastDirective<'_>) -> Step {
        let wrong = |text: String| Err(Failure::Wrong(text));
        match directive {
            WastDirective::Module(mut component) => {
                let name = component.name().map(|id| id.name().to_owned());
                // What follows is about this one, or about nothing.
                self.current = None;
                let bytes = encode(&mut component)?;
                let loaded = self.load(&bytes).await.map_err(|error| Failure::Load(told(&error)))?;
                self.instantiate(name, &loaded).await
            }
            WastDirective::ModuleDefinition(mut component) => {
                let name = component.name().map(|id| id.name().to_owned());
                let bytes = encode(&mut component)?;
                match self.load(&bytes).await {
                    Ok(loaded) => {
                        self.definitions.insert(name.unwrap_or_default(), loaded);
                        Ok(())
                    }
                    // Valid, and in need of a host that offers more than this one.
                    Err(error) if is_unlinked(&error) => Ok(()),
                    Err(error) => Err(Failure::Load(told(&error))),
                }
            }
            WastDirective::ModuleInstance { instance, module, .. } => {
                let definition = module.map(|id| id.name().to_owned()).unwrap_or_default();
                self.current = None;
                let loaded = self.definitions.get(&definition).ok_or(Failure::Nothing)?.clone();
                self.instantiate(instance.map(|id| id.name().to_owned()), &loaded).await
            }
            WastDirective::AssertMalformed { mut module, message, .. }
            | WastDirective::AssertInvalid { mut module, message, .. } => {
                let Ok(bytes) = module.encode() else { return Ok(()) };
                match self.load(&bytes).await {
                    Err(error) if is_unlinked(&error) => wrong(format!(
                        "taken for valid, and refused for its imports alone; expected: {message}"
                    )),
                    Err(_) => Ok(()),
                    Ok(_) => wrong(format!("it was loaded; expected: {message}")),
                }
            }
            WastDirective::Invoke(invoke) => match self.invoke(&invoke).await? {
                Ok(_) => Ok(()),
                Err(error) => wrong(told(&error)),
            },
            WastDirective::AssertReturn { exec: WastExecute::Invoke(invoke), results, .. } => {
                match (self.invoke(&invoke).await?, &*results) {
                    (Ok(None), []) => Ok(()),
                    (Ok(Some(found)), [WastRet::Component(expected)]) if equal(expected, &found) => Ok(()),
                    (Ok(found), _) => {
                        wrong(format!("`{}` answered {found:?}; expected: {results:?}", invoke.name))
                    }
                    (Err(error), _) => wrong(told(&error)),
                }
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let result = match exec {
                    WastExecute::Invoke(invoke) => self.invoke(&invoke).await?.map(drop),
                    WastExecute::Wat(component) => {
                        let bytes = encode(&mut QuoteWat::Wat(component))?;
                        let loaded = self.load(&bytes).await.map_err(|error| Failure::Load(told(&error)))?;
                        self.make(&loaded).await.map(drop)
                    }
                    WastExecute::Get { .. } => return wrong("a global of a core module is asked for".into()),
                };
                match result {
                    Err(error) if error.kind() == ErrorKind::ComponentTrapped => Ok(()),
                    Err(error) => wrong(format!("{}; expected a trap: {message}", told(&error))),
                    Ok(()) => wrong(format!("it did not trap; expected: {message}")),
                }
            }
            _ => wrong("a directive that this run does not know".into()),
        }
    }

    async fn load(&self, bytes: &[u8]) -> Result<ComponentHandle> {
        self.engine.load(bytes, LoadOptions::default()).await
    }

    async fn make(&self, component: &ComponentHandle) -> Result<Box<dyn Component>> {
        let host = FakeHost::new("test/component-model");
        component.instantiate(&ResourceLimits::default(), host.services(), budget()).await
    }

    async fn instantiate(&mut self, name: Option<String>, component: &ComponentHandle) -> Step {
        let instance = self.make(component).await.map_err(|error| Failure::Wrong(told(&error)))?;
        self.current = Some(match name {
            Some(name) => {
                self.instances.insert(name.clone(), instance);
                Current::Named(name)
            }
            None => Current::Unnamed(instance),
        });
        Ok(())
    }

    /// Calls an export; the outer error is that there is nothing to call.
    async fn invoke(
        &mut self,
        invoke: &WastInvoke<'_>,
    ) -> std::result::Result<Result<Option<Value>>, Failure> {
        let name = match (invoke.module, &self.current) {
            (Some(id), _) => Some(id.name().to_owned()),
            (None, Some(Current::Named(name))) => Some(name.clone()),
            _ => None,
        };
        let instance = match (&name, &mut self.current) {
            (Some(name), _) => self.instances.get_mut(name),
            (None, Some(Current::Unnamed(instance))) => Some(instance),
            _ => None,
        };
        let instance = instance.ok_or(Failure::Nothing)?;
        let export: ExportName = invoke.name.parse().map_err(|error| Failure::Wrong(format!("{error}")))?;
        let arguments = invoke.args.iter().map(|argument| match argument {
            WastArg::Component(value) => Ok(argument_of(value)),
            _ => Err(Failure::Wrong("an argument of a core function".into())),
        });
        let arguments = arguments.collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(instance.call(&export, &arguments, budget()).await)
    }
}

fn budget() -> CallBudget {
    CallBudget { deadline: Some(Instant::now() + AMPLE), fuel: None }
}

fn encode(component: &mut QuoteWat<'_>) -> std::result::Result<Vec<u8>, Failure> {
    component.encode().map_err(|error| Failure::Wrong(error.to_string()))
}

fn is_unlinked(error: &WasmError) -> bool {
    matches!(error.detail(), Some(Detail::Load(LoadFault::UnknownImports | LoadFault::ImportType)))
}

fn told(error: &WasmError) -> String {
    chain(error).chars().take(300).collect()
}

fn argument_of(value: &WastVal<'_>) -> Value {
    let boxed = |value: &Option<Box<WastVal<'_>>>| value.as_deref().map(|value| Box::new(argument_of(value)));
    match value {
        WastVal::Bool(value) => Value::Bool(*value),
        WastVal::U8(value) => Value::U8(*value),
        WastVal::S8(value) => Value::S8(*value),
        WastVal::U16(value) => Value::U16(*value),
        WastVal::S16(value) => Value::S16(*value),
        WastVal::U32(value) => Value::U32(*value),
        WastVal::S32(value) => Value::S32(*value),
        WastVal::U64(value) => Value::U64(*value),
        WastVal::S64(value) => Value::S64(*value),
        WastVal::F32(value) => Value::F32(f32::from_bits(value.bits)),
        WastVal::F64(value) => Value::F64(f64::from_bits(value.bits)),
        WastVal::Char(value) => Value::Char(*value),
        WastVal::String(value) => Value::String((*value).to_owned()),
        WastVal::List(values) => {
            let bytes =
                values.iter().map(|value| if let WastVal::U8(byte) = value { Some(*byte) } else { None });
            match bytes.collect::<Option<Vec<_>>>().filter(|bytes| !bytes.is_empty()) {
                Some(bytes) => Value::Bytes(bytes),
                None => Value::List(values.iter().map(argument_of).collect()),
            }
        }
        WastVal::Map(entries) => Value::List(
            entries
                .iter()
                .map(|(key, value)| Value::Tuple(vec![argument_of(key), argument_of(value)]))
                .collect(),
        ),
        WastVal::Record(fields) => Value::Record(
            fields.iter().map(|(name, value)| ((*name).to_owned(), argument_of(value))).collect(),
        ),
        WastVal::Tuple(values) => Value::Tuple(values.iter().map(argument_of).collect()),
        WastVal::Variant(name, payload) => Value::Variant((*name).to_owned(), boxed(payload)),
        WastVal::Enum(name) => Value::Enum((*name).to_owned()),
        WastVal::Option(payload) => Value::Option(boxed(payload)),
        WastVal::Result(Ok(payload)) => Value::Result(Ok(boxed(payload))),
        WastVal::Result(Err(payload)) => Value::Result(Err(boxed(payload))),
        WastVal::Flags(names) => Value::Flags(names.iter().map(|name| (*name).to_owned()).collect()),
    }
}

/// Floats by their bits: a NaN is the canonical one. Flags in any order; an empty list is one of bytes or of anything else.
fn equal(expected: &WastVal<'_>, found: &Value) -> bool {
    let payloads = |expected: &Option<Box<WastVal<'_>>>, found: &Option<Box<Value>>| match (expected, found) {
        (None, None) => true,
        (Some(expected), Some(found)) => equal(expected, found),
        _ => false,
    };
    match (expected, found) {
        (WastVal::F32(expected), Value::F32(found)) => expected.bits == found.to_bits(),
        (WastVal::F64(expected), Value::F64(found)) => expected.bits == found.to_bits(),
        (WastVal::List(expected), Value::List(found)) | (WastVal::Tuple(expected), Value::Tuple(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|(expected, found)| equal(expected, found))
        }
        (WastVal::List(expected), Value::Bytes(found)) => {
            expected.len() == found.len()
                && expected
                    .iter()
                    .zip(found)
                    .all(|(expected, found)| matches!(expected, WastVal::U8(byte) if byte == found))
        }
        (WastVal::Record(expected), Value::Record(found)) => {
            expected.len() == found.len()
                && expected.iter().zip(found).all(|((name, expected), (found_name, found))| {
                    name == found_name && equal(expected, found)
                })
        }
        (WastVal::Variant(name, expected), Value::Variant(found_name, found)) => {
            name == found_name && payloads(expected, found)
        }
        (WastVal::Option(expected), Value::Option(found)) => payloads(expected, found),
        (WastVal::Result(Ok(expected)), Value::Result(Ok(found)))
        | (WastVal::Result(Err(expected)), Value::Result(Err(found))) => payloads(expected, found),
        (WastVal::Flags(expected), Value::Flags(found)) => {
            expected.len() == found.len()
                && expected.iter().all(|name| found.iter().any(|found| found == name))
        }
        (
            WastVal::Bool(_)
            | WastVal::U8(_)
            | WastVal::S8(_)
            | WastVal::U16(_)
            | WastVal::S16(_)
            | WastVal::U32(_)
            | WastVal::S32(_)
            | WastVal::U64(_)
            | WastVal::S64(_)
            | WastVal::Char(_)
            | WastVal::String(_)
            | WastVal::Enum(_),
            found,
        ) => argument_of(expected) == *found,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_is_a_contract() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("component-model-tests");
        let mut there = BTreeSet::new();
        for sub in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            for file in sub.is_dir().then(|| std::fs::read_dir(&sub).unwrap()).into_iter().flatten() {
                let file = file.unwrap().path().with_extension("");
                let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
                there.insert(format!("component-model.{}.{}", name(&sub), name(&file)));
            }
        }
        assert_eq!(there, contracts().map(|contract| contract.id.to_owned()).collect());
    }
}
