//! `Component.toml`: what an author says of a component. What it asks for is not granted by saying so.

use std::path::Path;

mod origin;
mod package;
mod settings;
mod suggestion;
mod supervision;
mod wishes;

pub use origin::Origin;
pub use package::{Build, InvalidLicence, Licence, Package};
pub use settings::{Codecs, Storage, StorageQuota};
pub use supervision::{Deployment, Intensity, Restart, Strategy, Supervision};
pub use wishes::{Messaging, Wish};

use airssys_wasm_core::component::{ComponentConfig, ResourceLimits};
use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use serde::{Deserialize, Serialize};

use crate::installation::{Installation, Source};
use crate::signature::ManifestDigest;

/// The file, version 1. [The book](https://github.com/airsstack/airssys-wasm/blob/main/docs/component-toml.md) has every key.
///
/// ```
/// use airssys_wasm::manifest::Manifest;
///
/// let manifest = Manifest::parse(r#"
///     manifest-version = 1
///
///     [package]
///     id = "acme/counter"
///     version = "1.4.0"
///     description = "Counts"
///     component = "counter.wasm"
///
///     [[capabilities]]
///     capability = "storage:acme/counter"
///     reason = "the count outlives the process"
///
///     [limits]
///     memory = "16 MiB"
/// "#)?;
/// assert_eq!(manifest.package.id.to_string(), "acme/counter");
///
/// let refused = Manifest::parse("manifest-version = 1\n[packages]").unwrap_err();
/// assert!(refused.to_string().contains("unknown field `packages`"));
/// # Ok::<(), airssys_wasm::WasmError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// Always 1.
    pub manifest_version: u32,
    /// Who it is.
    pub package: Package,
    /// How its author builds it. The host never runs any of this.
    #[serde(default, skip_serializing_if = "is_default")]
    pub build: Build,
    /// What it asks for, beside [`messaging`](Self::messaging). An operator decides what it gets: see [`wishes`](Self::wishes).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<Wish>,
    /// Whom it speaks to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messaging: Option<Messaging>,
    /// Its configuration.
    #[serde(default)]
    pub config: ComponentConfig,
    /// Its limits; those of the host when there are none. What [`storage`](Self::storage) says of its quota is in here, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceLimits>,
    /// How much it keeps.
    #[serde(default, skip_serializing_if = "is_default")]
    pub storage: Storage,
    /// Which content it understands.
    #[serde(default, skip_serializing_if = "is_default")]
    pub codecs: Codecs,
    /// What becomes of it when its instance ends.
    #[serde(default, skip_serializing_if = "is_default")]
    pub supervision: Supervision,
    /// How another version takes its place.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deployment: Deployment,
    /// What it was read from, which signatures are about.
    #[serde(skip)]
    pub origin: Origin,
}

const VERSION: u32 = 1;

impl Manifest {
    /// Reads the text of a manifest.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) with line and column, and what was expected there.
    pub fn parse(text: &str) -> Result<Self> {
        let manifest: Self = toml::from_str(text).map_err(|refused| {
            let error = invalid(refused.to_string().trim_end());
            match suggestion::for_message(refused.message()) {
                Some(suggestion) => error.advising(suggestion),
                None => error,
            }
        })?;
        if manifest.manifest_version != VERSION {
            let message =
                format!("manifest-version is {}; this host reads {VERSION}", manifest.manifest_version);
            return Err(invalid(message).advising("write `manifest-version = 1`, or use a newer host"));
        }
        let document = toml::from_str(text).map_err(|refused| invalid(refused.to_string().trim_end()))?;
        let origin = Origin::of(&manifest, ManifestDigest::of(&document));
        let manifest = Self { origin, ..manifest };
        manifest.with_quota_in_limits(text)
    }

    /// The limits say the same of storage as the quota does.
    ///
    /// # Errors
    /// Both were written, and they differ.
    fn with_quota_in_limits(mut self, text: &str) -> Result<Self> {
        let Some(limits) = &mut self.limits else { return Ok(self) };
        let quota = self.storage.quota;
        // Limits that nobody wrote have the value of the default, which contradicts nothing.
        let document: toml::Table = if quota == StorageQuota::default() {
            toml::Table::new()
        } else {
            toml::from_str(text).map_err(|refused| invalid(refused.to_string()))?
        };
        let is_written = |key: &str| document.get("limits").is_some_and(|limits| limits.get(key).is_some());
        let contradiction = |key: &str, limit: String, quota_key: &str, quota: String| {
            invalid(format!("`limits.{key}` is {limit}, and `storage.quota.{quota_key}` is {quota}"))
                .advising(format!("they are one limit: leave one of them out, `limits.{key}` for example"))
        };
        if let Some(bytes) =
            quota.bytes.filter(|bytes| *bytes != limits.storage_bytes && is_written("storage-bytes"))
        {
            return Err(contradiction(
                "storage-bytes",
                limits.storage_bytes.to_string(),
                "bytes",
                bytes.to_string(),
            ));
        }
        if let Some(keys) =
            quota.keys.filter(|keys| *keys != limits.storage_keys && is_written("storage-keys"))
        {
            return Err(contradiction(
                "storage-keys",
                limits.storage_keys.to_string(),
                "keys",
                keys.to_string(),
            ));
        }
        quota.apply(limits);
        Ok(self)
    }

    /// Reads a manifest file. The path of its binary is then seen from the folder of the file.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse); [`ErrorKind::Io`] when the file cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|cause| {
            WasmError::new(ErrorKind::Io, "read manifest")
                .saying("the file cannot be read")
                .with("path", path.display())
                .advising("check the path and its permissions")
                .because(cause)
        })?;
        let mut manifest = Self::parse(&text).map_err(|error| error.with("path", path.display()))?;
        if let Some(folder) = path.parent() {
            manifest.package.component = folder.join(&manifest.package.component);
        }
        Ok(manifest)
    }

    /// Everything that it asks for: its capabilities, and what its messaging needs. An operator decides what it gets.
    pub fn wishes(&self) -> Vec<Wish> {
        let mut wishes = self.capabilities.clone();
        for wish in self.messaging.iter().flat_map(Messaging::wishes) {
            if wishes.iter().all(|known| known.capability != wish.capability) {
                wishes.push(wish);
            }
        }
        wishes
    }

    /// What a signature of it is about: the text that it was read from. A manifest that was changed since, or made in another way,
    /// has a digest that nobody signs.
    pub fn digest(&self) -> ManifestDigest {
        self.origin.digest_of(self)
    }

    /// The installation that it describes, with nothing granted.
    pub fn installation(&self) -> Installation {
        let installation =
            Installation::new(self.package.id.clone(), Source::File(self.package.component.clone()))
                .version(self.package.version.clone())
                .config(self.config.clone())
                .accepts(self.codecs.accepts.iter().cloned())
                .supervision(self.supervision.clone())
                .deployment(self.deployment.clone())
                .manifest(self.digest());
        match &self.limits {
            Some(limits) => installation.limits(limits.clone()),
            None => installation.storage_quota(self.storage.quota),
        }
    }
}

fn invalid(message: impl Into<Box<str>>) -> WasmError {
    WasmError::new(ErrorKind::InvalidConfiguration, "read manifest").saying(message)
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "manifest-version = 1\n[package]\nid = \"acme/counter\"\nversion = \"1.4.0\"\ncomponent = \"counter.wasm\"\n";

    fn parse(sections: &str) -> Result<Manifest> {
        Manifest::parse(&format!("{HEAD}{sections}"))
    }

    #[test]
    fn a_misspelt_key_is_answered_with_the_one_meant() {
        let check = |text: &str, expected: Option<&str>| {
            let refused = Manifest::parse(text).unwrap_err();
            assert_eq!(refused.next_step(), expected, "{refused}");
            assert!(refused.to_string().contains("line "), "{refused}");
        };
        check(
            &format!("{HEAD}[[capabilties]]\n"),
            Some("did you mean `capabilities` instead of `capabilties`?"),
        );
        check("manifest-verson = 1\n", Some("did you mean `manifest-version` instead of `manifest-verson`?"));
        let nested = [
            ("license = \"MIT\"", "licence", "license"),
            ("[build]\ncomand = []", "command", "comand"),
            ("[[capabilities]]\nreasons = \"x\"", "reason", "reasons"),
            ("[messaging]\ntarget = []", "targets", "target"),
            ("[limits]\nmemroy = 1", "memory", "memroy"),
            ("[storage]\nquotas = {}", "quota", "quotas"),
            ("[storage.quota]\nbyte = 1", "bytes", "byte"),
            ("[codecs]\naccept = []", "accepts", "accept"),
            ("[supervision]\nmax-restart = 1", "max-restarts", "max-restart"),
            ("[supervision]\nrestart = \"permanant\"", "permanent", "permanant"),
            ("[deployment]\nstrategy = \"canari\"", "canary", "canari"),
        ];
        for (section, near, name) in nested {
            let expected = format!("did you mean `{near}` instead of `{name}`?");
            check(&format!("{HEAD}{section}"), Some(&expected));
        }
        check(&format!("{HEAD}[zebra]"), None);
        check(&format!("{HEAD}{}capabilities = 1", "long-".repeat(1_000)), None);
    }

    #[test]
    fn what_messaging_needs_is_asked_for_like_everything_else() {
        let manifest = parse(
            "[messaging]\ntargets = [\"acme/greeter\", \"acme/*\"]\ntopics = [\"orders.**\"]\nreason = \"it greets\"\n\
             [[capabilities]]\ncapability = \"messaging:acme/greeter\"\nreason = \"it asks\"\n",
        );
        let wishes = manifest.unwrap().wishes();
        let told: Vec<_> =
            wishes.iter().map(|wish| (wish.capability.to_string(), wish.reason.as_str())).collect();
        let expected = [
            ("messaging:acme/greeter", "it asks"),
            ("messaging:acme/*", "it greets"),
            ("messaging:orders.**", "it greets"),
        ];
        assert_eq!(told, expected.map(|(capability, reason)| (capability.to_owned(), reason)));
        let refused = |lists: &str, told: &str| {
            let refused = parse(&format!("[messaging]\nreason = \"x\"\n{lists}")).unwrap_err().to_string();
            assert!(refused.contains(told) && refused.contains("line "), "{refused}");
        };
        refused("targets = [\"orders.created\"]", "`orders.created` means topics: list it in `topics`");
        refused("topics = [\"acme/greeter\"]", "`acme/greeter` means components: list it in `targets`");
        refused("topics = [\"**\"]", "ask for `messaging:**` in `capabilities`");
        refused("targets = [\"**\"]", "ask for `messaging:**` in `capabilities`");
    }

    #[test]
    fn a_quota_is_two_of_the_limits() {
        let limits = |sections: &str| {
            let limits = parse(sections).unwrap().limits.unwrap();
            (limits.storage_bytes.as_u64(), limits.storage_keys, limits.memory.as_u64())
        };
        let quota = "[storage.quota]\nbytes = \"1 KiB\"\nkeys = 7\n";
        assert_eq!(limits(&format!("{quota}[limits]\nmemory = 5\n")), (1024, 7, 5));
        assert_eq!(
            limits(&format!("{quota}[limits]\nmemory = 5\nstorage-bytes = 1024\nstorage-keys = 7")),
            (1024, 7, 5)
        );
        let manifest = parse(quota).unwrap();
        assert_eq!(manifest.limits, None, "the host\'s limits hold for the rest");
        assert_eq!(manifest.installation().quota, manifest.storage.quota);
        // What an operator says is in place of all of it.
        assert_eq!(
            manifest.installation().limits(ResourceLimits::default()).limits,
            Some(ResourceLimits::default())
        );
        for (limit, told) in [
            (
                "storage-bytes = \"16 MiB\"",
                "`limits.storage-bytes` is 16 MiB, and `storage.quota.bytes` is 1 KiB",
            ),
            ("storage-keys = 100000", "`limits.storage-keys` is 100000, and `storage.quota.keys` is 7"),
        ] {
            let refused = parse(&format!("{quota}[limits]\n{limit}")).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidConfiguration);
            assert!(refused.to_string().contains(told), "{refused}");
        }
    }

    #[test]
    fn a_licence_is_one_line() {
        assert_eq!(parse("licence = \"MIT\"").unwrap().package.licence.unwrap().as_str(), "MIT");
        for refused in ["\"\"", "\"  \"", "\"MIT\\nOR Apache-2.0\""] {
            let refused = parse(&format!("licence = {refused}")).unwrap_err().to_string();
            assert!(refused.contains("a licence is one line"), "{refused}");
        }
    }
}
