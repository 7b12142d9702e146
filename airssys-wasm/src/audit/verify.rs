//! Reading an audit trail, and finding out whether somebody changed it.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use airssys_wasm_core::error::{ErrorKind, Result, WasmError};

use super::chain::{self, MAX_LINE, Seal, TrailRecord};

/// What a trail holds, when nothing is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct TrailReport {
    /// How many records.
    pub records: u64,
    /// In how many files.
    pub files: usize,
    /// The hash of the last record. Whoever keeps it elsewhere can tell later that no record behind it was cut off.
    pub head: Seal,
    /// Whether the given [`head`](verify) is that of one of the records.
    pub expected: bool,
    /// Bytes behind the last whole line: the process that wrote them ended in the middle.
    pub torn: u64,
}

/// The first thing that is wrong with a trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailFault {
    /// In which file.
    pub file: PathBuf,
    /// In which line, from 1; 0 for the file itself.
    pub line: u64,
    /// What.
    pub what: String,
}

impl From<TrailFault> for WasmError {
    fn from(fault: TrailFault) -> Self {
        Self::new(ErrorKind::Io, "verify audit trail")
            .saying(fault.what)
            .with("file", fault.file.display())
            .with("line", fault.line)
            .advising("compare the folder with a copy that was kept elsewhere")
    }
}

/// Reads the trail in `folder` from its first record to its last, hands each to `visit`, and checks the chain.
///
/// It finds every record that was changed, left out, doubled or moved, and files that are missing before the last. It cannot find
/// that records were cut off at the end: for that, `expected` is the hash of a record that was the last one once, and has to be among
/// them.
///
/// # Errors
/// [`ErrorKind::Io`] with the file, the line and what is wrong; or when the folder cannot be read.
pub fn verify(
    folder: &Path,
    expected: Option<Seal>,
    mut visit: impl FnMut(&TrailRecord),
) -> Result<TrailReport> {
    let files = files(folder)?;
    let mut report = TrailReport {
        records: 0,
        files: files.len(),
        head: Seal::NONE,
        expected: expected.is_none_or(|expected| expected == Seal::NONE),
        torn: 0,
    };
    for (position, (number, path)) in files.iter().enumerate() {
        let fault = |line, what: String| TrailFault { file: path.clone(), line, what };
        if *number != position as u64 + 1 {
            let what = format!(
                "the file before it is missing: this is number {number}, and {} comes next",
                position + 1
            );
            return Err(fault(0, what).into());
        }
        let mut input = BufReader::new(File::open(path).map_err(|cause| unreadable(path, cause))?);
        let mut line = Vec::new();
        for line_number in 1_u64.. {
            line.clear();
            read_line(&mut input, &mut line).map_err(|cause| unreadable(path, cause))?;
            if line.is_empty() {
                break;
            }
            if line.pop_if(|end| *end == b'\n').is_none() {
                if position + 1 < files.len() {
                    return Err(fault(
                        line_number,
                        "the file ends in the middle of a line, and is not the last".into(),
                    )
                    .into());
                }
                if line.len() >= MAX_LINE {
                    return Err(
                        fault(line_number, format!("the line is longer than {MAX_LINE} bytes")).into()
                    );
                }
                report.torn = line.len() as u64;
                break;
            }
            let (record, previous, seal) = chain::read(&line).map_err(|what| fault(line_number, what))?;
            if previous != report.head {
                let what = "it does not follow the record before it: one is missing, doubled, or was moved";
                return Err(fault(line_number, what.to_owned()).into());
            }
            report.records += 1;
            if record.number != report.records {
                let what = format!("its number is {}, and {} comes next", record.number, report.records);
                return Err(fault(line_number, what).into());
            }
            report.head = seal;
            report.expected |= expected == Some(seal);
            visit(&record);
        }
    }
    Ok(report)
}

fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<()> {
    io::Read::take(input, MAX_LINE as u64).read_until(b'\n', line).map(|_| ())
}

/// The files of a trail, with their numbers, in order.
pub(super) fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|cause| unreadable(folder, cause))? {
        let path = entry.map_err(|cause| unreadable(folder, cause))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("audit-").and_then(|name| name.strip_suffix(".jsonl"));
        if let Some(number) = number.filter(|digits| digits.len() >= 6).and_then(|digits| digits.parse().ok())
        {
            files.push((number, path));
        }
    }
    files.sort_unstable();
    Ok(files)
}

pub(super) fn file_name(number: u64) -> String {
    format!("audit-{number:06}.jsonl")
}

fn unreadable(path: &Path, cause: io::Error) -> WasmError {
    WasmError::new(ErrorKind::Io, "read audit trail")
        .saying("the trail cannot be read")
        .with("path", path.display())
        .advising("check the path and its permissions")
        .because(cause)
}
