//! An interface of the embedder, for attackers to break into.

use std::fmt::Write;
use std::future::pending;
use std::sync::Arc;

use airssys_wasm::{Host, HostBuilder};
use airssys_wasm_core::component::ComponentId;
use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use airssys_wasm_core::interface::{WitFunction, WitType};
use airssys_wasm_core::runtime::{HostFunction, HostFunctionDefinition, Value};
use async_trait::async_trait;

/// The grant for all of the interface.
pub(crate) const GRANT: &str = "custom:zoo:door/*";

/// The interface, as a component imports it.
pub(crate) const DOOR: &str = r#"(import "zoo:embedder/door@0.1.0" (instance $door
        (type $rights' (flags "read" "write" "run"))
        (export "rights" (type $rights (eq $rights')))
        (export "look" (func (param "truth" bool) (param "letter" char) (param "rights" $rights) (param "number" u8)
            (result string)))
        (type $entry' (record (field "name" string) (field "weight" (option u8)) (field "rights" $rights)))
        (export "entry" (type $entry (eq $entry')))
        (export "take-bytes" (func (param "all" (list (list u8)))))
        (export "take-tower" (func (param "all" (list (list (list u64))))))
        (export "take-entries" (func (param "all" (list (list $entry)))))
        (export "burst" (func))
        (export "hang" (func))))"#;

/// What a function of the interface does.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Writes its arguments down.
    Look,
    /// Takes what it is given.
    Take,
    /// Panics.
    Burst,
    /// Never returns.
    Hang,
}

#[derive(Debug)]
struct Door {
    definition: HostFunctionDefinition,
    deed: Deed,
}

/// A host with the interface.
pub(crate) fn with_door() -> HostBuilder {
    let rights = WitType::Flags(["read", "write", "run"].map(str::to_owned).to_vec());
    let entry =
        [("name", WitType::String), ("weight", WitType::option(WitType::U8)), ("rights", rights.clone())];
    let entry = WitType::Record(entry.map(|(name, kind)| (name.to_owned(), kind)).into());
    let look =
        [("truth", WitType::Bool), ("letter", WitType::Char), ("rights", rights), ("number", WitType::U8)];
    let take = |name, element| {
        let all = WitType::list(WitType::list(element));
        (WitFunction::new(name, [("all", all)], None), Deed::Take)
    };
    let functions = [
        take("take-bytes", WitType::U8),
        take("take-tower", WitType::list(WitType::U64)),
        take("take-entries", entry),
        (WitFunction::new("look", look, Some(WitType::String)), Deed::Look),
        (WitFunction::new("burst", [], None), Deed::Burst),
        (WitFunction::new("hang", [], None), Deed::Hang),
    ];
    functions.into_iter().fold(Host::builder(), |builder, (function, deed)| {
        let definition = HostFunctionDefinition {
            interface: "zoo:embedder/door@0.1.0".to_owned(),
            function,
            capability: Some("zoo:door".to_owned()),
        };
        builder.extension(Arc::new(Door { definition, deed }))
    })
}

#[async_trait]
impl HostFunction for Door {
    fn definition(&self) -> &HostFunctionDefinition {
        &self.definition
    }

    async fn call(&self, _: &ComponentId, arguments: Vec<Value>) -> Result<Option<Value>> {
        match (self.deed, &*arguments) {
            (
                Deed::Look,
                [Value::Bool(truth), Value::Char(letter), Value::Flags(rights), Value::U8(number)],
            ) => {
                let mut seen = format!("{truth} {letter} {number}");
                for right in rights {
                    let _ = write!(seen, " {right}");
                }
                Ok(Some(Value::String(seen)))
            }
            (Deed::Take, _) => Ok(None),
            (Deed::Burst, []) => panic!("the embedder's function panics, as it was asked to"),
            (Deed::Hang, []) => pending().await,
            _ => Err(WasmError::new(ErrorKind::Internal, "door").saying("the arguments are of other types")),
        }
    }
}
