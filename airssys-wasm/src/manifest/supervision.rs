//! What becomes of a component that ends, and of its versions: all that can be said, and what of it this host does.

use std::time::Duration;

use airssys_wasm_core::config::duration;
use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use serde::{Deserialize, Serialize};

/// What becomes of a component whose instance ended: the section `supervision`.
///
/// A host replaces an instance that was ended when the next message comes, however often. It refuses to install a component that
/// asks for something else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct Supervision {
    /// When it is replaced; always, when nothing is said.
    pub restart: Option<Restart>,
    /// How often it is replaced; without end, when nothing is said.
    pub intensity: Option<Intensity>,
}

/// How often an instance is replaced before its component counts as failed: `max-restarts` and `within`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// So many times.
    pub max_restarts: u32,
    /// In this time.
    pub within: Duration,
}

/// When an instance that ended is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Restart {
    /// However it ended.
    Permanent,
    /// Unless it ended by its own choice, with success.
    Transient,
    /// Never.
    Temporary,
}

impl Restart {
    /// Every value, in the order of declaration.
    pub const ALL: [Self; 3] = [Self::Permanent, Self::Transient, Self::Temporary];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Temporary => "temporary",
        }
    }
}

/// How a version takes the place of another one: the section `deployment`.
///
/// A version takes the place of another one when it is installed and started in its place. A host refuses to install a component that asks for
/// something else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Deployment {
    /// At once, when nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
}

/// How a version takes the place of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Strategy {
    /// The old one is stopped, and the new one is started.
    Immediate,
    /// The new one runs beside the old one, and takes all messages at one moment.
    BlueGreen,
    /// The new one takes a part of the messages first.
    Canary,
    /// The instances are replaced one after the other.
    Rolling,
}

impl Strategy {
    /// Every value, in the order of declaration.
    pub const ALL: [Self; 4] = [Self::Immediate, Self::BlueGreen, Self::Canary, Self::Rolling];

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Immediate => "immediate",
            Self::BlueGreen => "blue-green",
            Self::Canary => "canary",
            Self::Rolling => "rolling",
        }
    }
}

impl Supervision {
    /// Refuses what this host does not do, rather than to do something else.
    pub(crate) fn check_supported(&self) -> Result<()> {
        match self.restart {
            None | Some(Restart::Permanent) => {}
            Some(restart) => {
                let what = format!("this host does not restart components as `{}` yet", restart.name());
                return Err(unsupported(what).with("key", "supervision.restart").advising(
                    "write `restart = \"permanent\"`: an instance that was ended is replaced when the next message comes",
                ));
            }
        }
        if self.intensity.is_some() {
            let what = "this host does not count restarts yet: it replaces an instance however often it ends";
            return Err(unsupported(what)
                .with("key", "supervision.max-restarts")
                .advising("leave `max-restarts` and `within` out"));
        }
        Ok(())
    }
}

impl Deployment {
    /// Refuses what this host does not do, rather than to do something else.
    pub(crate) fn check_supported(&self) -> Result<()> {
        match self.strategy {
            None | Some(Strategy::Immediate) => Ok(()),
            Some(strategy) => {
                let what = format!("this host does not deploy components as `{}` yet", strategy.name());
                Err(unsupported(what).with("key", "deployment.strategy").advising(
                    "write `strategy = \"immediate\"`: the old version is stopped, and the new one is started",
                ))
            }
        }
    }
}

fn unsupported(what: impl Into<Box<str>>) -> WasmError {
    WasmError::new(ErrorKind::InvalidConfiguration, "install").saying(what)
}

/// The section as it is written.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Text {
    #[serde(skip_serializing_if = "Option::is_none")]
    restart: Option<Restart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_restarts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<Within>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
struct Within(#[serde(with = "duration")] Duration);

impl TryFrom<Text> for Supervision {
    type Error = &'static str;

    fn try_from(text: Text) -> Result<Self, Self::Error> {
        let intensity = match (text.max_restarts, text.within) {
            (None, None) => None,
            (Some(max_restarts), Some(Within(within))) => Some(Intensity { max_restarts, within }),
            (Some(_), None) => return Err("`max-restarts` needs `within`: in which time"),
            (None, Some(_)) => return Err("`within` needs `max-restarts`: how often"),
        };
        Ok(Self { restart: text.restart, intensity })
    }
}

impl From<Supervision> for Text {
    fn from(supervision: Supervision) -> Self {
        Self {
            restart: supervision.restart,
            max_restarts: supervision.intensity.map(|intensity| intensity.max_restarts),
            within: supervision.intensity.map(|intensity| Within(intensity.within)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_does_not_do_is_refused_by_name() {
        let supervision = |text: &str| toml::from_str::<Supervision>(text).unwrap().check_supported();
        let deployment = |text: &str| toml::from_str::<Deployment>(text).unwrap().check_supported();
        for done in [supervision(""), supervision("restart = \"permanent\"")] {
            assert!(done.is_ok(), "{done:?}");
        }
        for done in [deployment(""), deployment("strategy = \"immediate\"")] {
            assert!(done.is_ok(), "{done:?}");
        }
        let check = |refused: Result<()>, told: &str| {
            let refused = refused.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidConfiguration);
            assert!(refused.to_string().contains(told) && refused.next_step().is_some(), "{refused}");
        };
        for name in ["transient", "temporary"] {
            let told = format!("this host does not restart components as `{name}` yet");
            check(supervision(&format!("restart = \"{name}\"")), &told);
        }
        check(supervision("max-restarts = 3\nwithin = \"1 min\""), "this host does not count restarts yet");
        for name in ["blue-green", "canary", "rolling"] {
            let told = format!("this host does not deploy components as `{name}` yet");
            check(deployment(&format!("strategy = \"{name}\"")), &told);
        }
    }

    #[test]
    fn a_number_of_restarts_is_one_in_some_time() {
        let read = |text: &str| toml::from_str::<Supervision>(text);
        let read_back = read("max-restarts = 3\nwithin = \"90 s\"").unwrap();
        let intensity = Intensity { max_restarts: 3, within: Duration::from_secs(90) };
        assert_eq!(read_back.intensity, Some(intensity));
        assert_eq!(read(&toml::to_string(&read_back).unwrap()), Ok(read_back));
        for (half, told) in
            [("max-restarts = 3", "needs `within`"), ("within = \"1 s\"", "needs `max-restarts`")]
        {
            let refused = read(half).unwrap_err();
            assert!(refused.message().contains(told), "{refused}");
        }
    }
}
