//! `wasi:config` and `wasi:logging`, proposals of WASI, from the configuration and the log that every instance has.

use std::sync::{Arc, LazyLock, Weak};

use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::{ErrorKind, Result, TrapKind, WasmError};
use airssys_wasm_core::interface::{WitFunction, WitType};
use airssys_wasm_core::runtime::{HostFunction, HostFunctionDefinition, LogLevel, LoggingService, Value};
use async_trait::async_trait;

use crate::instance::InstanceContext;

/// The interfaces of a configuration, by the names that it had.
const CONFIG: [&str; 3] =
    ["wasi:config/store@0.2.0-rc.1", "wasi:config/store@0.2.0-draft", "wasi:config/runtime@0.2.0-draft"];
const LOGGING: [&str; 2] = ["wasi:logging/logging@0.1.0-draft", "wasi:logging/logging"];

const LEVELS: [(&str, LogLevel); 6] = [
    ("trace", LogLevel::Trace),
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("warn", LogLevel::Warn),
    ("error", LogLevel::Error),
    ("critical", LogLevel::Error),
];

/// A function that every host offers beside those of its embedder.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) definition: HostFunctionDefinition,
    deed: Deed,
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Get,
    GetAll,
    Log,
}

static ALL: LazyLock<Vec<Offered>> = LazyLock::new(|| {
    let text = || Some(WitType::String);
    let error = WitType::Variant(vec![("upstream".to_owned(), text()), ("io".to_owned(), text())]);
    let result = |ok| WitType::Result { ok: Some(Box::new(ok)), err: Some(Box::new(error.clone())) };
    let pairs = WitType::list(WitType::Tuple(vec![WitType::String, WitType::String]));
    let level = WitType::Enum(LEVELS.map(|(name, _)| name.to_owned()).to_vec());
    let config = CONFIG.into_iter().flat_map(|interface| {
        let get = WitFunction::new(
            "get",
            [("key", WitType::String)],
            Some(result(WitType::option(WitType::String))),
        );
        let get_all = WitFunction::new("get-all", [], Some(result(pairs.clone())));
        [(interface, get, Deed::Get), (interface, get_all, Deed::GetAll)]
    });
    let logging = LOGGING.into_iter().map(|interface| {
        let parameters =
            [("level", level.clone()), ("context", WitType::String), ("message", WitType::String)];
        (interface, WitFunction::new("log", parameters, None), Deed::Log)
    });
    let offered = |(interface, function, deed): (&str, _, _)| Offered {
        definition: HostFunctionDefinition { interface: interface.to_owned(), function, capability: None },
        deed,
    };
    config.chain(logging).map(offered).collect()
});

/// What a host offers whose embedder has registered `registered`: an interface of the embedder's own takes the place of ours.
pub(crate) fn offered(registered: &[Arc<dyn HostFunction>]) -> Vec<&'static Offered> {
    let is_taken = |offered: &&Offered| {
        let mut theirs = registered.iter().map(|function| &function.definition().interface);
        !theirs.any(|interface| *interface == offered.definition.interface)
    };
    ALL.iter().filter(is_taken).collect()
}

impl Offered {
    /// The function, for one instance.
    pub(crate) fn bind(&'static self, instance: &Arc<InstanceContext>) -> Arc<dyn HostFunction> {
        Arc::new(Bound { offered: self, instance: Arc::downgrade(instance) })
    }
}

#[derive(Debug)]
struct Bound {
    offered: &'static Offered,
    /// Weak, because the instance's services own this.
    instance: Weak<InstanceContext>,
}

#[async_trait]
impl HostFunction for Bound {
    fn definition(&self) -> &HostFunctionDefinition {
        &self.offered.definition
    }

    async fn call(&self, _: &ComponentId, arguments: Vec<Value>) -> Result<Option<Value>> {
        let Some(instance) = self.instance.upgrade() else {
            return Err(WasmError::new(ErrorKind::Actor, "wasi").saying("the instance has ended"));
        };
        let text = |text: &str| Value::String(text.to_owned());
        match (self.offered.deed, arguments.as_slice()) {
            (Deed::Get, [Value::String(key)]) => {
                instance.count_host_call()?;
                let value = instance.given.config.get(key).map(|value| Box::new(text(value)));
                Ok(Some(Value::Result(Ok(Some(Box::new(Value::Option(value)))))))
            }
            (Deed::GetAll, []) => {
                instance.count_host_call()?;
                let pairs = instance.given.config.iter();
                let pairs = pairs.map(|(key, value)| Value::Tuple(vec![text(key), text(value)])).collect();
                Ok(Some(Value::Result(Ok(Some(Box::new(Value::List(pairs)))))))
            }
            (Deed::Log, [Value::Enum(level), Value::String(context), Value::String(message)]) => {
                let level =
                    LEVELS.iter().find(|(name, _)| name == level).map_or(LogLevel::Info, |found| found.1);
                if context.is_empty() {
                    instance.log(level, message)?;
                } else {
                    instance.log(level, &format!("{context}: {message}"))?;
                }
                Ok(None)
            }
            _ => Err(WasmError::trapped("wasi", TrapKind::InvalidValue)),
        }
    }
}
