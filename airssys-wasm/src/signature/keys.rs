//! Keys, and the files of secret ones.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::str::FromStr;

use airssys_wasm_core::error::{ErrorKind, Result, WasmError};
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Signature, Statement, bytes_of, hexadecimal};

const PUBLIC: &str = "ed25519:";
const SECRET: &str = "ed25519-secret:";
/// The most bytes of the file of a key that are looked at.
const LONGEST: usize = 256;

/// A key that signatures are verified with: `ed25519:` and 64 hexadecimal digits.
///
/// Keys of small order, with which anything can be signed, are refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

/// A text that is no public key, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a public key: {why}")]
pub struct InvalidKey {
    text: String,
    why: &'static str,
}

impl PublicKey {
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", hexadecimal(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> std::result::Result<Self, InvalidKey> {
        let refuse = |why| InvalidKey { text: text.to_owned(), why };
        let bytes = text.strip_prefix(PUBLIC).and_then(bytes_of);
        let bytes: [u8; 32] =
            bytes.ok_or_else(|| refuse("write `ed25519:` and 64 lower-case hexadecimal digits"))?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| refuse("it is no point of the curve"))?;
        if key.to_edwards().compress().to_bytes() != bytes {
            return Err(refuse("it is not written as this key is written"));
        }
        if key.is_weak() {
            return Err(refuse("it is of small order: anybody can sign for it"));
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for PublicKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> std::result::Result<Self, InvalidKey> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

/// A key that signs. It is wiped from memory when it is dropped, and never shown.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// A new key, from the random numbers of the system.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the system has none.
    pub fn generate() -> Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).map_err(|cause| {
            WasmError::new(ErrorKind::Io, "generate key")
                .saying("the system does not provide random numbers")
                .because(cause.to_string())
        })?;
        Ok(Self::from_seed(&seed))
    }

    pub(super) fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Reads the file of a key.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when it cannot be read; [`InvalidConfiguration`](ErrorKind::InvalidConfiguration) when it holds no key, or
    /// when others than its owner can read it.
    pub fn read(path: &Path) -> Result<Self> {
        let unreadable = |cause| file_error(path, "the file of the key cannot be read").because(cause);
        let file = File::open(path).map_err(unreadable)?;
        check_private(path, &file.metadata().map_err(unreadable)?)?;
        // As long as it gets, so that no copy of it is left behind when it grows.
        let mut text = Zeroizing::new(String::with_capacity(LONGEST));
        file.take(LONGEST as u64).read_to_string(&mut text).map_err(unreadable)?;
        let seed = text.trim_end().strip_prefix(SECRET).and_then(bytes_of).map(Zeroizing::new);
        let seed = seed.ok_or_else(|| {
            WasmError::new(ErrorKind::InvalidConfiguration, "read key")
                .saying("the file holds no secret key")
                .with("path", path.display())
                .advising("make one with `airssys-wasm keygen FILE`")
        })?;
        Ok(Self::from_seed(&seed))
    }

    /// Writes the key into a new file that its owner alone can read.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when there is such a file already, or when it cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let digits = Zeroizing::new(hexadecimal(self.0.as_bytes()));
        let written = options.open(path).and_then(|mut file| {
            let written = [SECRET, &digits, "\n"].iter().try_for_each(|part| file.write_all(part.as_bytes()));
            // Half of a key is worse than none.
            written.and_then(|()| file.sync_all()).inspect_err(|_| drop(fs::remove_file(path)))
        });
        written.map_err(|cause| match cause.kind() {
            std::io::ErrorKind::AlreadyExists => {
                file_error(path, "there is such a file, and it may be a key")
                    .advising("give another name, or move the file away")
                    .because(cause)
            }
            _ => file_error(path, "the file of the key cannot be written").because(cause),
        })
    }

    /// The key that its signatures are verified with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a statement.
    pub fn sign(&self, statement: &Statement) -> Signature {
        Signature { key: self.public(), bytes: self.0.sign(&statement.to_bytes()).to_bytes() }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

#[cfg(unix)]
fn check_private(path: &Path, known: &fs::Metadata) -> Result<()> {
    let mode = std::os::unix::fs::MetadataExt::mode(known) & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(WasmError::new(ErrorKind::InvalidConfiguration, "read key")
        .saying("others than its owner can read or change the file of the key")
        .with("path", path.display())
        .with("mode", format_args!("{mode:03o}"))
        .advising("make another key if somebody may have read it; otherwise `chmod 600` the file"))
}

#[cfg(not(unix))]
fn check_private(_: &Path, _: &fs::Metadata) -> Result<()> {
    Ok(())
}

fn file_error(path: &Path, what: &'static str) -> WasmError {
    WasmError::new(ErrorKind::Io, "key").saying(what).with("path", path.display())
}
