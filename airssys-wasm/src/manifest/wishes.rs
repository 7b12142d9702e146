//! What an author asks for. Nothing of it is granted by saying so.

use airssys_wasm_core::capability::{Capability, TopicPattern};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// A capability that an author asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wish {
    /// What.
    pub capability: Capability,
    /// What for, in words for the operator.
    pub reason: String,
}

/// Whom a component speaks to: the section `messaging`. Each pattern is a wish for the capability `messaging:` of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Messaging {
    /// The components that it sends to: `acme/greeter`, `acme/*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "components")]
    pub targets: Vec<TopicPattern>,
    /// The topics that it publishes on or subscribes to: `orders.created`, `orders.**`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "topics")]
    pub topics: Vec<TopicPattern>,
    /// What for, in words for the operator.
    pub reason: String,
}

impl Messaging {
    /// The same as capabilities.
    pub(super) fn wishes(&self) -> impl Iterator<Item = Wish> {
        self.targets.iter().chain(&self.topics).map(|pattern| Wish {
            capability: Capability::Messaging(pattern.clone()),
            reason: self.reason.clone(),
        })
    }
}

fn components<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TopicPattern>, D::Error> {
    let patterns = Vec::<TopicPattern>::deserialize(deserializer)?;
    match patterns.iter().find(|pattern| !pattern.as_str().contains('/')) {
        None => Ok(patterns),
        Some(all) if all.as_str() == "**" => Err(D::Error::custom(EVERYTHING)),
        Some(topic) => Err(D::Error::custom(format!("`{topic}` means topics: list it in `topics`"))),
    }
}

fn topics<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TopicPattern>, D::Error> {
    let patterns = Vec::<TopicPattern>::deserialize(deserializer)?;
    match patterns.iter().find(|pattern| pattern.as_str().contains('/') || pattern.as_str() == "**") {
        None => Ok(patterns),
        Some(all) if all.as_str() == "**" => Err(D::Error::custom(EVERYTHING)),
        Some(component) => {
            Err(D::Error::custom(format!("`{component}` means components: list it in `targets`")))
        }
    }
}

const EVERYTHING: &str =
    "`**` means every component and every topic: ask for `messaging:**` in `capabilities`";
