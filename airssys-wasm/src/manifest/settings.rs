//! What a component may keep, and which content it understands.

use airssys_wasm_core::component::{ByteSize, ResourceLimits};
use airssys_wasm_core::messaging::ContentTypePattern;
use serde::{Deserialize, Serialize};

/// What a component keeps: the section `storage`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Storage {
    /// How much of it.
    pub quota: StorageQuota,
}

/// How much a component may keep: the limits `storage-bytes` and `storage-keys` in a place of their own. What is missing is what the
/// limits say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct StorageQuota {
    /// Bytes of stored keys and values, as in [`ResourceLimits::storage_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<ByteSize>,
    /// Stored keys, as in [`ResourceLimits::storage_keys`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<u64>,
}

impl StorageQuota {
    /// Puts what it says in the place of the limits.
    pub fn apply(&self, limits: &mut ResourceLimits) {
        limits.storage_bytes = self.bytes.unwrap_or(limits.storage_bytes);
        limits.storage_keys = self.keys.unwrap_or(limits.storage_keys);
    }
}

/// What a component understands: the section `codecs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Codecs {
    /// The content types that it accepts in messages; all of them, when there are none here. Plain bytes count as
    /// `application/octet-stream`.
    pub accepts: Vec<ContentTypePattern>,
}
