//! The form of an export. Equal contents have equal bytes.
//!
//! `airssys-wasm export | format u32`, then for each namespace that holds a record, bytewise by name,
//! `1 | length u8 | name | sum`, and behind it for each of its records, bytewise by key,
//! `2 | length of the key u16 | length of the value u32 | key | value | sum`. At the end
//! `3 | namespaces u64 | records u64 | bytes of keys and values u64 | SHA-256 of everything before`.
//! Numbers are big-endian. A sum is the CRC-32C of what it follows, from the tag on: it tells where the stream is damaged.

use std::fmt;
use std::io::{self, BufReader, BufWriter, Read, Write};

use airssys_wasm_core::error::{Result, StorageFault, WasmError};
use airssys_wasm_core::storage::{Key, MAX_VALUE, Namespace};
use sha2::{Digest, Sha256};

const MAGIC: &[u8] = b"airssys-wasm export";
/// What this version writes and reads.
const FORMAT: u32 = 1;
const NAMESPACE: u8 = 1;
const RECORD: u8 = 2;
const END: u8 = 3;

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Namespaces that hold a record.
    pub namespaces: u64,
    /// Records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// What a store holds, in short.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// How much it is.
    pub totals: Totals,
    /// The SHA-256 of its export, without the 32 bytes at the end that say the same: equal for equal contents.
    pub sha256: [u8; 32],
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest: String = self.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        f.debug_struct("Contents").field("totals", &self.totals).field("sha256", &digest).finish()
    }
}

/// Writes a stream, from records that come in order.
#[derive(Debug)]
pub(crate) struct Encoder<W: Write> {
    out: BufWriter<W>,
    hash: Sha256,
    totals: Totals,
    namespace: Option<Namespace>,
}

impl<W: Write> Encoder<W> {
    pub(crate) fn start(out: W) -> io::Result<Self> {
        let out = BufWriter::with_capacity(1 << 16, out);
        let mut encoder = Self { out, hash: Sha256::new(), totals: Totals::default(), namespace: None };
        encoder.put(MAGIC)?;
        encoder.put(&FORMAT.to_be_bytes())?;
        Ok(encoder)
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    pub(crate) fn record(&mut self, namespace: &Namespace, key: &Key, value: &[u8]) -> io::Result<()> {
        if self.namespace.as_ref() != Some(namespace) {
            let name = namespace.as_bytes();
            self.frame(&[&[NAMESPACE], &[short(name.len())?], name])?;
            self.namespace = Some(namespace.clone());
            self.totals.namespaces += 1;
        }
        let key = key.as_bytes();
        let key_length: u16 = short(key.len())?;
        let value_length: u32 = short(value.len())?;
        self.frame(&[&[RECORD], &key_length.to_be_bytes(), &value_length.to_be_bytes(), key, value])?;
        self.totals.records += 1;
        self.totals.bytes += key.len() as u64 + value.len() as u64;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<Contents> {
        let Totals { namespaces, records, bytes } = self.totals;
        self.put(&[END])?;
        for number in [namespaces, records, bytes] {
            self.put(&number.to_be_bytes())?;
        }
        let sha256: [u8; 32] = self.hash.finalize().into();
        self.out.write_all(&sha256)?;
        self.out.flush()?;
        Ok(Contents { totals: self.totals, sha256 })
    }

    fn frame(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut sum = 0;
        for part in parts {
            sum = crc32c::crc32c_append(sum, part);
            self.put(part)?;
        }
        self.put(&sum.to_be_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }
}

/// A length that the limits of stores keep small.
fn short<T: TryFrom<usize>>(length: usize) -> io::Result<T> {
    T::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// Reads a stream, and trusts nothing in it.
#[derive(Debug)]
pub(crate) struct Decoder<R> {
    operation: &'static str,
    input: BufReader<R>,
    hash: Sha256,
    /// Where the next byte is read.
    offset: u64,
    /// Where the frame begins that is being read, and the sum of it so far.
    frame: u64,
    sum: u32,
    totals: Totals,
    namespace: Option<Namespace>,
    /// The last key of the namespace.
    key: Option<Key>,
}

/// A record of a stream.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) namespace: Namespace,
    pub(crate) key: Key,
    pub(crate) value: Vec<u8>,
}

/// What a stream goes on with.
#[derive(Debug)]
pub(crate) enum Next {
    Record(Item),
    /// Everything was read, and is as the trailer says.
    End(Contents),
}

impl<R: Read> Decoder<R> {
    /// Reads the header. `operation` is what errors say was being done.
    pub(crate) fn start(input: R, operation: &'static str) -> Result<Self> {
        let mut decoder = Self {
            operation,
            input: BufReader::with_capacity(1 << 16, input),
            hash: Sha256::new(),
            offset: 0,
            frame: 0,
            sum: 0,
            totals: Totals::default(),
            namespace: None,
            key: None,
        };
        let mut magic = [0; MAGIC.len()];
        let read = decoder.read(&mut magic)?;
        if !MAGIC.starts_with(magic.get(..read).unwrap_or_default()) {
            return Err(WasmError::storage(operation, StorageFault::Format)
                .saying("not an export of a store")
                .with("offset", 0)
                .advising("Choose a file that an export wrote."));
        }
        if read < MAGIC.len() {
            return Err(decoder.cut_short());
        }
        let format = u32::from_be_bytes(decoder.array()?);
        if format != FORMAT {
            return Err(WasmError::storage(operation, StorageFault::Format)
                .saying(format!("an export of format {format}; this version reads format {FORMAT}"))
                .with("offset", MAGIC.len())
                .advising("Read it with the version of airssys-wasm that wrote it, or a later one."));
        }
        Ok(decoder)
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// The next record, or the end. Nothing is to be read behind the end, nor behind an error.
    pub(crate) fn next(&mut self) -> Result<Next> {
        loop {
            self.frame = self.offset;
            self.sum = 0;
            match self.array()? {
                [NAMESPACE] => self.read_namespace()?,
                [RECORD] => return self.read_record().map(Next::Record),
                [END] => return self.read_end().map(Next::End),
                [tag] => return Err(self.damaged(format!("a frame begins with {tag}"))),
            }
        }
    }

    fn read_namespace(&mut self) -> Result<()> {
        let [length] = self.array()?;
        let name = self.bytes(length.into())?;
        self.check_sum()?;
        let name = Namespace::new(name).map_err(|_| self.damaged("a namespace without a name"))?;
        if self.namespace.as_ref().is_some_and(|before| *before >= name) {
            return Err(self.damaged("the namespaces are not in order"));
        }
        self.check_not_empty()?;
        self.namespace = Some(name);
        self.key = None;
        self.totals.namespaces += 1;
        Ok(())
    }

    fn read_record(&mut self) -> Result<Item> {
        let key_length = usize::from(u16::from_be_bytes(self.array()?));
        let value_length = u32::from_be_bytes(self.array()?) as usize;
        if key_length > Key::MAX_LENGTH || value_length > MAX_VALUE {
            return Err(self.damaged("a record is larger than records are"));
        }
        let key = self.bytes(key_length)?;
        let value = self.bytes(value_length)?;
        self.check_sum()?;
        let key = Key::new(key).map_err(|_| self.damaged("a record without a key"))?;
        let Some(namespace) = self.namespace.clone() else {
            return Err(self.damaged("a record without a namespace"));
        };
        if self.key.as_ref().is_some_and(|before| *before >= key) {
            return Err(self.damaged("the keys are not in order"));
        }
        self.totals.records += 1;
        self.totals.bytes += key_length as u64 + value_length as u64;
        self.key = Some(key.clone());
        Ok(Item { namespace, key, value })
    }

    fn read_end(&mut self) -> Result<Contents> {
        let namespaces = u64::from_be_bytes(self.array()?);
        let records = u64::from_be_bytes(self.array()?);
        let bytes = u64::from_be_bytes(self.array()?);
        let sha256: [u8; 32] = self.hash.clone().finalize().into();
        if self.array()? != sha256 {
            return Err(self.damaged("what was read does not match the digest at the end"));
        }
        if self.totals != (Totals { namespaces, records, bytes }) {
            return Err(self.damaged("what was read does not match the counts at the end"));
        }
        self.check_not_empty()?;
        self.frame = self.offset;
        if self.read(&mut [0])? > 0 {
            return Err(self.damaged("something follows the end"));
        }
        Ok(Contents { totals: self.totals, sha256 })
    }

    /// A namespace without a record has no place in an export.
    fn check_not_empty(&self) -> Result<()> {
        if self.namespace.is_some() && self.key.is_none() {
            return Err(self.damaged("a namespace has no records"));
        }
        Ok(())
    }

    fn check_sum(&mut self) -> Result<()> {
        let sum = self.sum;
        if self.array()? != sum.to_be_bytes() {
            return Err(self.damaged("a frame does not match its checksum"));
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<()> {
        if self.read(into)? < into.len() {
            return Err(self.cut_short());
        }
        Ok(())
    }

    /// Reads as much as there is room for, or as there is.
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while let Some(room) = into.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.input.read(room) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(WasmError::storage(self.operation, StorageFault::Io)
                        .saying("the export cannot be read")
                        .with("offset", self.offset + filled as u64)
                        .because(error)
                        .advising(
                            "Make sure that this user can read the file, and that the device is well.",
                        ));
                }
            }
        }
        let read = into.get(..filled).unwrap_or_default();
        self.hash.update(read);
        self.sum = crc32c::crc32c_append(self.sum, read);
        self.offset += filled as u64;
        Ok(filled)
    }

    fn cut_short(&self) -> WasmError {
        self.unusable("the export is cut short").with("offset", self.offset)
    }

    fn damaged(&self, what: impl fmt::Display) -> WasmError {
        self.unusable(&format!("the export is damaged: {what}")).with("offset", self.frame)
    }

    fn unusable(&self, message: &str) -> WasmError {
        WasmError::storage(self.operation, StorageFault::Damaged)
            .saying(message)
            .advising("Use another copy of the export, or export again: this one was left as it is.")
    }
}

/// The class of an error of the operating system while a stream is written.
pub(crate) fn fault(error: &io::Error) -> StorageFault {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StorageFault::NoSpace
        }
        _ => StorageFault::Io,
    }
}
