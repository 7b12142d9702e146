//! WIT interfaces as data: what a component imports and exports, and which right each function needs.

use std::fmt;

mod contract;
mod wit_type;

pub use contract::{
    COMPONENT, HEALTH, LOGGING, MESSAGING, MIGRATION, REPLIES, STORAGE, WORLD_EXPORTS, WORLD_IMPORTS,
    check_exports,
};
pub use wit_type::WitType;

use crate::capability::CapabilityKind;

/// Everything a component imports and exports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WitInterface {
    /// What it needs.
    pub imports: Vec<WitInstance>,
    /// What it offers.
    pub exports: Vec<WitInstance>,
}

impl WitInterface {
    /// The exported interface of this name.
    pub fn export(&self, name: &str) -> Option<&WitInstance> {
        self.exports.iter().find(|instance| instance.name == name)
    }

    /// The imported interface of this name.
    pub fn import(&self, name: &str) -> Option<&WitInstance> {
        self.imports.iter().find(|instance| instance.name == name)
    }
}

/// A named interface and its functions, in the order of the component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WitInstance {
    /// `namespace:package/interface@version`; empty for functions of the world itself.
    pub name: String,
    /// Its functions; those of resources are named `[method]resource.name` and the like.
    pub functions: Vec<WitFunction>,
}

impl WitInstance {
    /// The function of this name.
    pub fn function(&self, name: &str) -> Option<&WitFunction> {
        self.functions.iter().find(|function| function.name == name)
    }
}

/// A function and its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitFunction {
    /// Its name.
    pub name: String,
    /// Its parameters, in order.
    pub parameters: Vec<(String, WitType)>,
    /// What it returns, if anything.
    pub result: Option<WitType>,
    /// The kind of capability that a call needs; none when every component may call it.
    pub requires: Option<CapabilityKind>,
}

impl WitFunction {
    /// A function that every component may call.
    pub fn new(
        name: impl Into<String>,
        parameters: impl IntoIterator<Item = (&'static str, WitType)>,
        result: Option<WitType>,
    ) -> Self {
        let parameters = parameters.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect();
        Self { name: name.into(), parameters, result, requires: None }
    }

    /// Its type alone, in canonical WIT: two functions are interchangeable when these texts are equal.
    pub fn signature(&self) -> String {
        struct Signature<'a>(&'a WitFunction);
        impl fmt::Display for Signature<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("func(")?;
                for (position, (name, kind)) in self.0.parameters.iter().enumerate() {
                    let separator = if position == 0 { "" } else { ", " };
                    write!(f, "{separator}{name}: {kind}")?;
                }
                f.write_str(")")?;
                self.0.result.as_ref().map_or(Ok(()), |result| write!(f, " -> {result}"))
            }
        }
        Signature(self).to_string()
    }
}

impl fmt::Display for WitFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.signature())
    }
}

/// The kind of capability that a call of one of our own imports needs; none when every component may call it.
pub fn required_capability(interface: &str, function: &str) -> Option<CapabilityKind> {
    match (interface, function) {
        (STORAGE, _) => Some(CapabilityKind::Storage),
        (MESSAGING, "send" | "request" | "request-async" | "publish" | "subscribe") => {
            Some(CapabilityKind::Messaging)
        }
        _ => None,
    }
}
