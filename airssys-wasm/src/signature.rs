//! Signatures: who stands for a component and for what its manifest says.
//!
//! An author signs the digest of the binary and that of the manifest with Ed25519, in a file beside the component. An operator
//! says whose keys are trusted for which components, and what becomes of a component without a valid signature. It is
//! verified when a component is loaded, over the very bytes that are compiled.

mod keys;
mod statement;
mod trust;

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use serde::{Deserialize, Serialize};

use crate::rights::replace;

pub use self::keys::{InvalidKey, PublicKey, SecretKey};
pub use self::statement::{ManifestDigest, Statement};
pub use self::trust::{Doubt, Exemption, SignaturePolicy, Signatures, TrustedKey};

const VERSION: u32 = 1;
/// The most bytes of a signature file that are looked at.
const LONGEST: u64 = 64 << 10;

/// A signature, and the key that it is to be verified with. By itself it says nothing: see [`Signatures::check`].
///
/// ```
/// use airssys_wasm::signature::{SecretKey, Signature, Statement};
///
/// let (secret, wasm) = (SecretKey::generate()?, b"\0asm");
/// let statement = Statement::of(wasm, None);
/// let signature = secret.sign(&statement);
/// assert!(signature.is_of(&statement));
/// assert!(!signature.is_of(&Statement::of(b"another", None)));
///
/// let read = Signature::parse(&signature.to_text())?;
/// assert_eq!(read, signature);
/// # Ok::<(), airssys_wasm::WasmError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    key: PublicKey,
    bytes: [u8; 64],
}

/// The file beside a component.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SignatureFile {
    signature_version: u32,
    key: PublicKey,
    signature: String,
}

impl Signature {
    /// Reads the text of a signature file.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) saying what is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        let file: SignatureFile =
            toml::from_str(text).map_err(|refused| invalid(refused.to_string().trim_end()))?;
        if file.signature_version != VERSION {
            let message =
                format!("signature-version is {}; this host reads {VERSION}", file.signature_version);
            return Err(invalid(message).advising("sign the component again, or use a newer host"));
        }
        let bytes = bytes_of(&file.signature)
            .ok_or_else(|| invalid("`signature` is not 128 lower-case hexadecimal digits"))?;
        Ok(Self { key: file.key, bytes })
    }

    /// Reads a signature file; none when there is no such file.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse); [`ErrorKind::Io`] when the file cannot be read.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let read = File::open(path).and_then(|file| {
            let mut text = String::new();
            file.take(LONGEST).read_to_string(&mut text).map(|_| text)
        });
        let text = match read {
            Ok(text) => text,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => {
                return Err(WasmError::new(ErrorKind::Io, "read signature")
                    .saying("the file cannot be read")
                    .with("path", path.display())
                    .advising("check its permissions")
                    .because(cause));
            }
        };
        Self::parse(&text).map(Some).map_err(|error| error.with("path", path.display()))
    }

    /// Writes a signature file, in place of the one that was there, as a whole.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when it cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        replace(path, &self.to_text()).map_err(|cause| {
            WasmError::new(ErrorKind::Io, "write signature")
                .saying("the file cannot be written")
                .with("path", path.display())
                .advising("check the permissions of its folder")
                .because(cause)
        })
    }

    /// The text of a signature file.
    pub fn to_text(&self) -> String {
        format!(
            "signature-version = {VERSION}\nkey = \"{}\"\nsignature = \"{}\"\n",
            self.key,
            hexadecimal(&self.bytes)
        )
    }

    /// The key that it claims to be of.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether this key has signed this statement. Verified strictly: keys of small order and signatures that can be bent into
    /// others are none ([RFC 8032](https://www.rfc-editor.org/rfc/rfc8032), and `verify_strict` of ed25519-dalek).
    pub fn is_of(&self, statement: &Statement) -> bool {
        self.key.verifies(&statement.to_bytes(), &self.bytes)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of lower-case hexadecimal digits, when there are exactly that many.
fn bytes_of<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (position, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * position..2 * position + 2], 16).ok()?;
    }
    Some(bytes)
}

fn invalid(message: impl Into<Box<str>>) -> WasmError {
    WasmError::new(ErrorKind::InvalidConfiguration, "read signature").saying(message)
}

#[cfg(test)]
mod tests;
