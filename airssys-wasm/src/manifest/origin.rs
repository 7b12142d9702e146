//! What a manifest was read from.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::Manifest;
use crate::signature::ManifestDigest;

/// The text that a manifest was read from, as far as signatures are about it. By default, it was not read from any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin(Option<Read>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Read {
    digest: ManifestDigest,
    /// Of what it came to, so that a change of that is noticed.
    meaning: [u8; 32],
}

impl Origin {
    /// Of what was just read.
    pub(super) fn of(manifest: &Manifest, digest: ManifestDigest) -> Self {
        Self(meaning(manifest).map(|meaning| Read { digest, meaning }))
    }

    /// The digest, when the manifest still says what was read.
    pub(super) fn digest_of(&self, manifest: &Manifest) -> ManifestDigest {
        let read = self.0.filter(|read| meaning(manifest) == Some(read.meaning));
        read.map_or_else(ManifestDigest::unread, |read| read.digest)
    }
}

/// A hash of everything that a manifest says but where the binary is.
fn meaning(manifest: &Manifest) -> Option<[u8; 32]> {
    let mut manifest = manifest.clone();
    manifest.package.component = PathBuf::new();
    // Quotas are in the limits, too, once they were read.
    let text = toml::to_string(&manifest).ok()?;
    Some(Sha256::digest(text).into())
}
