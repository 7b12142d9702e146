//! What is signed.

use airssys_wasm_core::component::ArtifactDigest;
use sha2::{Digest, Sha256};

/// What every signed text begins with, so that a signature for something else is none for a component.
const DOMAIN: &[u8] = b"airssys-wasm component signature, version 1\0";
const UNREAD: &[u8] = b"airssys-wasm manifest, not read\0";
const MANIFEST_DOMAIN: &[u8] = b"airssys-wasm manifest, version 1\0";

/// This binary, with this manifest, or with none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    component: ArtifactDigest,
    manifest: Option<ManifestDigest>,
}

impl Statement {
    /// About a binary.
    pub fn of(wasm: &[u8], manifest: Option<ManifestDigest>) -> Self {
        Self::about(ArtifactDigest::from_bytes(Sha256::digest(wasm).into()), manifest)
    }

    /// About the binary of this digest.
    pub fn about(component: ArtifactDigest, manifest: Option<ManifestDigest>) -> Self {
        Self { component, manifest }
    }

    /// The bytes that are signed: the domain, whether there is a manifest, and both digests, each of a fixed length. What is
    /// signed without a manifest is so never taken for anything with one.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        bytes.push(u8::from(self.manifest.is_some()));
        bytes.extend(self.component.as_bytes());
        bytes.extend(self.manifest.map_or([0; 32], |manifest| manifest.0));
        bytes
    }
}

/// The digest of what a manifest says. Comments, blanks and the order of keys do not matter, nor does the path of the binary,
/// which has its own digest; everything else does, and so does what a later version adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestDigest([u8; 32]);

impl ManifestDigest {
    /// Of a manifest that was not read from a text: nobody signs it.
    pub(crate) fn unread() -> Self {
        Self(Sha256::digest(UNREAD).into())
    }

    /// Of the tables of a manifest, as they are written: a default that somebody writes down is another text.
    pub(crate) fn of(document: &toml::Table) -> Self {
        let mut document = document.clone();
        if let Some(package) = document.get_mut("package").and_then(toml::Value::as_table_mut) {
            package.remove("component");
        }
        let mut canonical = Vec::new();
        write_table(&mut canonical, &document);
        let hash = Sha256::new().chain_update(MANIFEST_DOMAIN).chain_update(&canonical);
        Self(hash.finalize().into())
    }
}

/// The canonical form: a letter for the type, and the content, with its length where that is not fixed. No two values have the same.
fn write_value(canonical: &mut Vec<u8>, value: &toml::Value) {
    match value {
        toml::Value::String(text) => write_text(canonical, b's', text),
        toml::Value::Datetime(time) => write_text(canonical, b'd', &time.to_string()),
        toml::Value::Integer(number) => {
            canonical.push(b'i');
            canonical.extend(number.to_le_bytes());
        }
        toml::Value::Float(number) => {
            canonical.push(b'f');
            canonical.extend(number.to_bits().to_le_bytes());
        }
        toml::Value::Boolean(truth) => canonical.extend([b'b', u8::from(*truth)]),
        toml::Value::Array(values) => {
            canonical.push(b'a');
            write_length(canonical, values.len());
            values.iter().for_each(|value| write_value(canonical, value));
        }
        toml::Value::Table(table) => write_table(canonical, table),
    }
}

/// Sorted by key.
fn write_table(canonical: &mut Vec<u8>, table: &toml::Table) {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    canonical.push(b't');
    write_length(canonical, entries.len());
    for (key, value) in entries {
        write_text(canonical, b's', key);
        write_value(canonical, value);
    }
}

fn write_text(canonical: &mut Vec<u8>, kind: u8, text: &str) {
    canonical.push(kind);
    write_length(canonical, text.len());
    canonical.extend(text.as_bytes());
}

fn write_length(canonical: &mut Vec<u8>, length: usize) {
    canonical.extend((length as u64).to_le_bytes());
}
