//! Values of options, parsed at the door: each says what to write when it is refused.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use airssys_wasm::core::capability::{Capability, CapabilityKind, CapabilityProblem};
use airssys_wasm::core::component::ComponentId;
use airssys_wasm::core::config::duration;

use crate::suggestions::did_you_mean;

/// A component to run: `PATH`, or `ID=PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ComponentPath {
    pub(crate) id: Option<ComponentId>,
    pub(crate) path: PathBuf,
}

impl ComponentPath {
    /// What is before the first `=` is an id if it can be one. A path that looks like that is written `./PATH`.
    pub(crate) fn parse(text: OsString) -> Result<Self, String> {
        let Some((id, path)) = text.to_str().and_then(|text| text.split_once('=')) else {
            return Ok(Self { id: None, path: text.into() });
        };
        match id.parse::<ComponentId>() {
            Ok(_) if path.is_empty() => Err(format!("no path follows `{id}=`")),
            Ok(id) => Ok(Self { id: Some(id), path: path.into() }),
            Err(_) if id.starts_with('.') || Path::new(&text).exists() => {
                Ok(Self { id: None, path: text.into() })
            }
            Err(refused) => Err(refused.to_string()),
        }
    }
}

/// A capability to grant: `CAPABILITY`, or `ID=CAPABILITY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) component: Option<ComponentId>,
    pub(crate) capability: Capability,
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The kind of a capability ends with a `:`, which no id has.
        let (component, capability) = match text.split_once('=') {
            Some((id, capability)) if !id.contains(':') => {
                (Some(id.parse().map_err(|refused| format!("{refused}"))?), capability)
            }
            _ => (None, text),
        };
        Ok(Self { component, capability: parse_capability(capability)? })
    }
}

fn parse_capability(text: &str) -> Result<Capability, String> {
    text.parse().map_err(|refused: airssys_wasm::core::capability::InvalidCapability| {
        let kind = text.split(':').next().unwrap_or_default();
        let near = match refused.problem() {
            CapabilityProblem::UnknownKind => {
                did_you_mean(kind, CapabilityKind::ALL.map(CapabilityKind::name))
            }
            _ => String::new(),
        };
        format!("{refused}{near}")
    })
}

/// A configuration entry: `KEY=VALUE`, or `ID:KEY=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigEntry {
    pub(crate) component: Option<ComponentId>,
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for ConfigEntry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) =
            text.split_once('=').ok_or("there is no `=`; write `KEY=VALUE` or `ID:KEY=VALUE`")?;
        // An id has a `/`; what is before the `:` of an ordinary key has none.
        let (component, key) = match name.split_once(':') {
            Some((id, key)) if id.contains('/') => {
                (Some(id.parse().map_err(|refused| format!("{refused}"))?), key)
            }
            _ => (None, name),
        };
        if key.is_empty() {
            return Err("the key is empty; write `KEY=VALUE` or `ID:KEY=VALUE`".to_owned());
        }
        Ok(Self { component, key: key.to_owned(), value: value.to_owned() })
    }
}

/// A duration such as `250ms`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Option<ComponentId> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_path_may_carry_an_id() {
        let check = |text: &str, expected: Result<(Option<ComponentId>, &str), &str>| {
            let parsed = ComponentPath::parse(text.into());
            match (parsed, expected) {
                (Ok(parsed), Ok((id, path))) => {
                    assert_eq!((parsed.id, parsed.path.as_path()), (id, Path::new(path)));
                }
                (Err(refused), Err(expected)) => assert!(refused.contains(expected), "{refused}"),
                (parsed, _) => panic!("{text}: {parsed:?}"),
            }
        };
        check("counter.wasm", Ok((None, "counter.wasm")));
        check("acme/counter=counter.wasm", Ok((id("acme/counter"), "counter.wasm")));
        check("acme/counter=a=b.wasm", Ok((id("acme/counter"), "a=b.wasm")));
        check("./acme/counter=x.wasm", Ok((None, "./acme/counter=x.wasm")));
        check("acme/counter=", Err("no path follows"));
        check("Acme/counter=x.wasm", Err("`A` is not allowed"));
    }

    #[test]
    fn a_grant_may_carry_an_id() {
        let check = |text: &str, component: Option<ComponentId>, capability: &str| {
            let grant: Grant = text.parse().unwrap();
            assert_eq!((grant.component, grant.capability.to_string().as_str()), (component, capability));
        };
        check("storage:acme/counter", None, "storage:acme/counter");
        check("acme/counter=storage:acme/*", id("acme/counter"), "storage:acme/*");
        check("file-read:/data/a=b", None, "file-read:/data/a=b");
        check("acme/counter=file-read:/data/a=b", id("acme/counter"), "file-read:/data/a=b");
        let refused = "storge:acme/counter".parse::<Grant>().unwrap_err();
        assert!(refused.ends_with("; did you mean `storage`?"), "{refused}");
        assert!("Acme=storage:a/b".parse::<Grant>().unwrap_err().contains("is not a component id"));
    }

    #[test]
    fn a_configuration_entry_may_carry_an_id() {
        let check = |text: &str, component: Option<ComponentId>, key: &str, value: &str| {
            let entry: ConfigEntry = text.parse().unwrap();
            assert_eq!((entry.component, entry.key.as_str(), entry.value.as_str()), (component, key, value));
        };
        check("greeting=Hi", None, "greeting", "Hi");
        check("acme/greeter:greeting=a=b", id("acme/greeter"), "greeting", "a=b");
        check("log:level=", None, "log:level", "");
        for refused in ["greeting", "=x", "acme/a:=x", "Acme/a:k=x"] {
            assert!(refused.parse::<ConfigEntry>().is_err(), "{refused} was accepted");
        }
    }
}
