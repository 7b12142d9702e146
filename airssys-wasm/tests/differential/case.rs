//! One component with the calls to it, and what an engine made of them.

use std::error::Error;
use std::fmt::Write;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use airssys_wasm::core::component::{ByteSize, ComponentId, ResourceLimits};
use airssys_wasm::core::error::{Detail, Result, TrapKind, WasmError};
use airssys_wasm::core::runtime::{
    CallBudget, HostFunction, HostFunctionDefinition, LoadOptions, Metering, RuntimeEngine, Value,
};
use airssys_wasm_conformance::fakes::FakeHost;
use arbitrary::Unstructured;
use async_trait::async_trait;

use crate::{module, stage};

/// Enough bytes for any case: the generators read zeros when these are used up.
const ENTROPY: usize = 64 << 10;

pub(crate) struct Case {
    pub(crate) wasm: Vec<u8>,
    /// A function that the component may import, and what it answers, in turn.
    pub(crate) function: Option<HostFunctionDefinition>,
    pub(crate) answers: Vec<Value>,
    pub(crate) calls: Vec<(String, Vec<Value>)>,
    /// Fuel for each call. None: the instructions are not counted.
    pub(crate) fuel: Option<NonZeroU64>,
}

/// What happened, step by step.
pub(crate) struct Trace {
    steps: Vec<String>,
    calls: u64,
    /// The error at the end, for a person. Its words are the engine's own.
    error: Option<String>,
    ending: Option<String>,
    stack: bool,
}

/// What was the same.
pub(crate) struct Verdict {
    pub(crate) calls: u64,
    /// The error that it ended in.
    pub(crate) ending: Option<String>,
    /// Whether an engine came to the end of its stack. How deep a guest may recurse is the compiler's affair, and what comes
    /// after that is not compared.
    pub(crate) stack: bool,
}

impl Case {
    pub(crate) fn generate(seed: u64) -> Self {
        let mut entropy = vec![0; ENTROPY];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut entropy);
        let mut entropy = Unstructured::new(&entropy);
        let case = if entropy.ratio(1, 3).unwrap() {
            module::generate(&mut entropy)
        } else {
            stage::generate(&mut entropy)
        };
        case.unwrap_or_else(|error| panic!("seed {seed} makes no component: {error}"))
    }

    pub(crate) async fn run(&self, engine: &dyn RuntimeEngine) -> Trace {
        let mut trace = Trace { steps: Vec::new(), calls: 0, error: None, ending: None, stack: false };
        if let Err(error) = self.follow(engine, &mut trace).await {
            trace.error =
                Some(format!("{error}; {}", error.source().map(ToString::to_string).unwrap_or_default()));
            trace.stack = error.detail() == Some(Detail::Trap(TrapKind::StackOverflow));
            trace.ending = Some(format!("{:?}, {:?}", error.kind(), error.detail()));
            trace.steps.push(format!("{:?}, {:?}, {:?}", error.kind(), error.detail(), error.blame()));
        }
        trace
    }

    async fn follow(&self, engine: &dyn RuntimeEngine, trace: &mut Trace) -> Result<()> {
        let limits = ResourceLimits {
            memory: ByteSize::mib(8),
            table_elements: 20_000,
            transfer: ByteSize::mib(1),
            ..ResourceLimits::default()
        };
        let budget =
            || CallBudget { deadline: Some(Instant::now() + Duration::from_secs(60)), fuel: self.fuel };
        let options = LoadOptions {
            metering: if self.fuel.is_some() { Metering::Fuel } else { Metering::Off },
            extensions: self.function.iter().cloned().collect(),
        };
        let component = engine.load(&self.wasm, options).await?;
        trace.steps.push(format!("{:?}", component.interface()));
        let function = self.function.clone().map(|definition| {
            Arc::new(Answers { definition, answers: self.answers.clone(), asked: Mutex::default() })
        });
        let mut services = FakeHost::new("test/differential").services();
        services.extensions = function.iter().map(|function| Arc::clone(function) as _).collect();
        let mut instance = component.instantiate(&limits, services, budget()).await?;
        trace.steps.push("made".to_owned());
        for (export, arguments) in &self.calls {
            let before = instance.usage().fuel;
            let outcome = instance.call(&export.parse().unwrap(), arguments, budget()).await;
            trace.calls += 1;
            let asked =
                function.iter().flat_map(|function| std::mem::take(&mut *function.asked.lock().unwrap()));
            let mut step = format!("{export}, which asked for {:?}", asked.collect::<Vec<_>>());
            trace.steps.push(step.clone());
            let value = outcome?;
            let usage = instance.usage();
            write!(
                step,
                ", is {value:?}; fuel {}, memory {}, table elements {}, refused {}",
                usage.fuel - before,
                usage.memory_bytes,
                usage.table_elements,
                usage.refused_growth
            )
            .unwrap();
            trace.steps.push(step);
        }
        Ok(())
    }
}

impl Verdict {
    pub(crate) fn of(wasmtime: &Trace, wasmer: &Trace) -> Result<Self, String> {
        let stack = wasmtime.stack || wasmer.stack;
        let calls = wasmtime.calls.min(wasmer.calls);
        let verdict = Self { calls, ending: wasmtime.ending.clone(), stack };
        let pairs = wasmtime.steps.iter().zip(&wasmer.steps);
        match pairs.clone().find(|(wasmtime, wasmer)| wasmtime != wasmer) {
            _ if stack => Ok(verdict),
            None if wasmtime.steps.len() == wasmer.steps.len() => Ok(verdict),
            None => Err(format!(
                "one goes on where the other ends\nwasmtime: {:?}\nwasmer:   {:?}",
                wasmtime.steps.last(),
                wasmer.steps.last()
            )),
            Some((wasmtime, wasmer)) => Err(format!("\nwasmtime: {wasmtime}\nwasmer:   {wasmer}")),
        }
        .map_err(|difference| {
            format!(
                "{difference}\nwasmtime's error: {:?}\nwasmer's error:   {:?}",
                wasmtime.error, wasmer.error
            )
        })
    }
}

/// The embedder's function: answers in turn, and records what it is asked.
#[derive(Debug)]
struct Answers {
    definition: HostFunctionDefinition,
    answers: Vec<Value>,
    asked: Mutex<Vec<Vec<Value>>>,
}

#[async_trait]
impl HostFunction for Answers {
    fn definition(&self) -> &HostFunctionDefinition {
        &self.definition
    }

    async fn call(&self, _: &ComponentId, arguments: Vec<Value>) -> Result<Option<Value>, WasmError> {
        let mut asked = self.asked.lock().unwrap();
        asked.push(arguments);
        Ok(self.answers.get(asked.len() % self.answers.len().max(1)).cloned())
    }
}
