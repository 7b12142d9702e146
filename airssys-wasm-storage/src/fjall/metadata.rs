//! A look at fjall's metadata before fjall acts on it.
//!
//! fjall writes a checksum of each version file beside its number, and does not compare it (lsm-tree 3.1, `version/recovery.rs`).
//! It asserts what it reads there, and asks for as much memory as it finds written; either ends the whole process, since a failed
//! assertion meets a destructor that panics again. What is damaged is therefore refused here, and nothing is changed.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use airssys_wasm_core::error::StorageFault;
use xxhash_rust::xxh3::xxh3_128;

use crate::engine::EngineError;
use crate::folder;

/// The end of an archive: a magic word, version, kind of checksum, checksum, and the place and length of its table of contents.
const TRAILER: usize = 4 + 1 + 1 + 16 + 8 + 8;
/// An entry of a table of contents: place, length, length of a name, and the name.
const SMALLEST_ENTRY: u64 = 8 + 8 + 2;

/// Refuses a folder of fjall's in which a part of the metadata is missing or damaged.
///
/// # Errors
/// [`StorageFault::Damaged`], and what reading the files yields.
pub(super) fn check(data: &Path) -> Result<(), EngineError> {
    for keyspace in entries(&data.join("keyspaces"))? {
        check_version(&keyspace)?;
        let tables = keyspace.join("tables");
        // A copy of the files alone has no empty folder. fjall notices a table that is missing.
        if tables.is_dir() {
            for table in entries(&tables)? {
                if !contents_fit(&table).map_err(|error| failed(&table, &error))? {
                    return Err(damaged(&table, "has a table of contents longer than itself"));
                }
            }
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, EngineError> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    entries.map_err(|error| failed(folder, &error))
}

/// `current` holds the number of the version file, its checksum, and the kind of checksum.
fn check_version(keyspace: &Path) -> Result<(), EngineError> {
    let read = |path: &Path| fs::read(path).map_err(|error| failed(path, &error));
    let path = keyspace.join("current");
    let current = read(&path)?;
    let (Some((number, rest)), 25) = (current.split_first_chunk::<8>(), current.len()) else {
        return Err(damaged(&path, "does not have 25 bytes"));
    };
    let path = keyspace.join(format!("v{}", u64::from_le_bytes(*number)));
    let mut expected = xxh3_128(&read(&path)?).to_le_bytes().to_vec();
    expected.push(0);
    if rest == expected { Ok(()) } else { Err(damaged(&path, "does not match its checksum")) }
}

/// A table may be the leftover of a crash, which fjall deletes. So this looks only for what would end the process: a table of
/// contents with more entries than the file has room for.
fn contents_fit(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let Some(end) = size.checked_sub(TRAILER as u64) else { return Ok(true) };
    let trailer: [u8; TRAILER] = read_at(&mut file, end)?;
    let Some(place) = trailer[22..].first_chunk() else { return Ok(true) };
    let place = u64::from_le_bytes(*place);
    if !trailer.starts_with(b"SFA!") || place.checked_add(8).is_none_or(|begin| begin > end) {
        return Ok(true);
    }
    let contents = u64::from_le_bytes(read_at(&mut file, place)?);
    let (magic, entries) = (contents as u32, contents >> 32);
    Ok(magic != u32::from_le_bytes(*b"TOC!") || entries <= (end - place) / SMALLEST_ENTRY)
}

fn read_at<const SIZE: usize>(file: &mut File, place: u64) -> io::Result<[u8; SIZE]> {
    let mut bytes = [0; SIZE];
    file.seek(SeekFrom::Start(place))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn damaged(path: &Path, what: &str) -> EngineError {
    EngineError::new(StorageFault::Damaged, format!("{} {what}", path.display()))
}

/// The store was whole when it got its mark: what is missing was there.
fn failed(path: &Path, error: &io::Error) -> EngineError {
    let fault = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => {
            StorageFault::Damaged
        }
        _ => folder::fault(error),
    };
    EngineError::new(fault, format!("{}: {error}", path.display()))
}
