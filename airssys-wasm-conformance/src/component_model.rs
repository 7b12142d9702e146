//! The Component Model's own tests, through the engine seam.
//!
//! The files are those of `WebAssembly/component-model`, folder `test`. They are not part of this repository: the run reads the
//! folder named in `COMPONENT_MODEL_TESTS`, or `component-model-tests` beside the checkout or in a folder `shared` there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fmt, fs};

use airssys_wasm_core::component::ResourceLimits;
use airssys_wasm_core::config::RuntimeConfig;
use airssys_wasm_core::error::{Detail, ErrorKind, LoadFault, Result, WasmError};
use airssys_wasm_core::runtime::{
    CallBudget, Component, ComponentHandle, ExportName, LoadOptions, RuntimeEngine, Value,
};
use libtest_mimic::{Arguments, Failed, Trial};
use wast::component::WastVal;
use wast::parser::{self, ParseBuffer};
use wast::{QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet};

use crate::fakes::FakeHost;

/// Files with components that use what no engine here offers: the reason, and what the refusal of each of them names. The rest of such a
/// file is held as any other. A file of this list in which nothing is refused fails the run.
const PARTLY_OUT_OF_SCOPE: &[(&str, &str, &[&str])] = &[
    (
        "binary/binary",
        "encodings of later proposals: asynchronous functions, maps, lists of fixed length, garbage collection",
        &["async feature", "map feature", "fixed-length lists feature", "cm-implements", "gc proposal"],
    ),
    ("linking/tags", "exceptions are off", &["exceptions proposal"]),
    ("validation/attributes", "the attribute `implements` is a later proposal", &["cm-implements"]),
    (
        "validation/indicies",
        "asynchronous functions and threads are off",
        &["async feature", "threading feature"],
    ),
    (
        "validation/max-value-size",
        "lists of fixed length are a later proposal",
        &["fixed-length lists feature"],
    ),
    ("values/concat", "maps are a later proposal", &["map feature"]),
    ("values/post-return", "asynchronous functions are off", &["async feature"]),
    ("values/variants", "asynchronous functions are off", &["async feature"]),
];

/// More than any of the calls takes.
const AMPLE: Duration = Duration::from_secs(20);

/// Runs every file against an engine, as one test each.
///
/// Where the files are not found, the run says so, and no test counts as passed.
pub fn run(
    backend: &'static str,
    make: impl Fn(&RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> + Send + Sync + 'static,
) -> ExitCode {
    let arguments = Arguments::from_args();
    let Some(folder) = folder() else {
        return libtest_mimic::run(
            &arguments,
            vec![
                Trial::test("the_files_were_not_found_set_COMPONENT_MODEL_TESTS", || Ok(()))
                    .with_ignored_flag(true),
            ],
        )
        .exit_code();
    };
    let make = Arc::new(make);
    let trials = files(&folder).into_iter().map(|path| {
        let name = path.strip_prefix(&folder).unwrap_or(&path).with_extension("").display().to_string();
        let (make, file) = (Arc::clone(&make), name.clone());
        Trial::test(format!("component_model/{name}"), move || {
            let listed = PARTLY_OUT_OF_SCOPE.iter().find(|(listed, ..)| *listed == file);
            let later = listed.map_or(&[] as &[&str], |(.., named)| named);
            let Findings { refused, wrong } =
                check(&path, &*make, later).map_err(|error| Failed::from(format!("{file}: {error}")))?;
            match (wrong.is_empty(), refused, listed) {
                (true, 0, Some((_, reason, _))) => Err(Failed::from(format!(
                    "nothing in it is refused, and it is listed as out of scope: {reason}"
                ))),
                (true, ..) => Ok(()),
                (false, ..) => Err(Failed::from(format!("{backend}:\n{}", wrong.join("\n")))),
            }
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

fn folder() -> Option<PathBuf> {
    if let Some(named) = env::var_os("COMPONENT_MODEL_TESTS") {
        return Some(PathBuf::from(named));
    }
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.parent()?;
    ["component-model-tests", "shared/component-model-tests"]
        .iter()
        .map(|name| beside.join(name))
        .find(|folder| folder.is_dir())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "wast") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// What came of one file.
#[derive(Default)]
struct Findings {
    /// Components that were refused for a feature that no engine here offers.
    refused: usize,
    /// What was not as the file says.
    wrong: Vec<String>,
}

/// Runs one file. Components that name one of `later` in their refusal, and what is done with them, are left out.
fn check(
    path: &Path,
    make: &(dyn Fn(&RuntimeConfig) -> Result<Arc<dyn RuntimeEngine>> + Send + Sync),
    later: &[&str],
) -> std::result::Result<Findings, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let buffer = ParseBuffer::new(&text).map_err(|error| error.to_string())?;
    let file: Wast<'_> = parser::parse(&buffer).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let engine = make(&RuntimeConfig::default()).map_err(|error| error.to_string())?;
        let mut script =
            Script { engine, instances: HashMap::new(), current: None, definitions: HashMap::new() };
        let mut findings = Findings::default();
        for directive in file.directives {
            let (line, _) = directive.span().linecol_in(&text);
            match script.follow(directive).await {
                Ok(()) => {}
                Err(Failure::Load(why)) if later.iter().any(|feature| why.contains(feature)) => {
                    findings.refused += 1;
                }
                Err(Failure::Nothing) if findings.refused > 0 => {}
                Err(failure) => findings.wrong.push(format!("  line {}: {failure}", line + 1)),
            }
        }
        Ok(findings)
    })
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
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text.chars().take(300).collect()
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
