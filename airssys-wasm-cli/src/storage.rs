//! `airssys-wasm storage`: operations on whole stores.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use airssys_wasm::WasmError;
use airssys_wasm::core::error::{Detail, ErrorKind, StorageFault};
use airssys_wasm::core::storage::Namespace;
use airssys_wasm::storage::{
    CheckedExport, Contents, Exported, Finding, Maintenance, Totals, Unfinished, copy, export, usage,
};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::arguments::{Format, StorageCommand, TableFormat};
use crate::diagnostics::Problem;
use crate::exit_code::Exit;
use crate::inspect::size;
use crate::interrupt::Interrupts;
use crate::progress::Meter;
use crate::report::Report;
use crate::stores::{Examined, StoreAt};
use crate::text;

/// Runs the command.
pub(crate) fn run(command: &StorageCommand) -> Exit {
    let format = match command {
        StorageCommand::Usage { output: TableFormat::Table, .. } => Format::Text,
        StorageCommand::Usage { output: TableFormat::Json, .. } => Format::Json,
        StorageCommand::Export { output, .. }
        | StorageCommand::Import { output, .. }
        | StorageCommand::Verify { output, .. }
        | StorageCommand::Compact { output, .. }
        | StorageCommand::Copy { output, .. } => *output,
    };
    let mut report = Report::new(format);
    let done = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| WasmError::new(ErrorKind::Io, "start").because(cause).into())
        .and_then(|runtime| {
            let done = runtime.block_on(run_to(command, format, &mut report));
            // A file that is still being checked is not waited for.
            runtime.shutdown_background();
            done
        });
    done.unwrap_or_else(|problem| report.problem(&problem))
}

async fn run_to(command: &StorageCommand, format: Format, report: &mut Report) -> Result<Exit, Problem> {
    match command {
        StorageCommand::Export { store, file, .. } => {
            let store = store.place();
            let Some(written) = interruptible(export_to(&store, file)).await else {
                return Ok(Exit::Interrupted);
            };
            let written = written.map_err(|problem| problem.during(format!("`{store}` was not exported")))?;
            summary(report, format, written.contents)
        }
        StorageCommand::Import { store, file, .. } => {
            let store = store.place();
            let Some(contents) = interruptible(import_from(file, &store)).await else {
                return Ok(Exit::Interrupted);
            };
            let failed = |problem: Problem| problem.during(format!("`{}` was not imported", file.display()));
            summary(report, format, contents.map_err(failed)?)
        }
        StorageCommand::Copy { from, to, .. } => {
            let Some(contents) = interruptible(copy_to(from, to)).await else {
                return Ok(Exit::Interrupted);
            };
            summary(
                report,
                format,
                contents.map_err(|problem| problem.during(format!("`{from}` was not copied")))?,
            )
        }
        StorageCommand::Verify { store, .. } => verify(&store.place(), format, report).await,
        StorageCommand::Usage { store, output } => show_usage(&store.place(), *output, report).await,
        StorageCommand::Compact { store, .. } => compact(&store.place(), format, report).await,
    }
}

/// None when it was asked to end before it was done; what it was building is then removed.
async fn interruptible<T>(work: impl Future<Output = T>) -> Option<T> {
    let interrupts = Interrupts::listen();
    tokio::select! {
        biased;
        () = interrupts.reached(1) => None,
        done = work => Some(done),
    }
}

/// Where an export came from: what the export itself does not say.
#[derive(Debug, Serialize)]
struct Origin<'a> {
    store: String,
    engine: &'a str,
    engine_version: &'a str,
    commit_version: u64,
    written_by: &'a str,
    unix_time: u64,
    #[serde(flatten)]
    contents: Summary,
}

async fn export_to(store: &StoreAt, file: &Path) -> Result<Exported, Problem> {
    let unfinished = beside(file)?;
    let mut info = file.as_os_str().to_owned();
    info.push(".info.json");
    let unfinished_info = beside(Path::new(&info))?;

    let opened = store.open()?;
    let meter = Meter::new("exporting", Some(records(&*opened).await?));
    let out = File::create_new(unfinished.path()).map_err(|cause| unwritable(file, cause))?;
    let exported = export(&*opened, &out, &mut |totals| meter.at(totals)).await?;
    out.sync_all().map_err(|cause| unwritable(file, cause))?;
    let profile = opened.profile();
    opened.close().await?;

    let origin = Origin {
        store: store.to_string(),
        engine: profile.name,
        engine_version: profile.engine_version,
        commit_version: exported.version.0,
        written_by: concat!("airssys-wasm ", env!("CARGO_PKG_VERSION")),
        unix_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        contents: Summary::of(exported.contents),
    };
    let written = serde_json::to_vec_pretty(&origin).map_err(io::Error::from);
    written
        .and_then(|bytes| fs::write(unfinished_info.path(), bytes))
        .map_err(|cause| unwritable(Path::new(&info), cause))?;
    unfinished.finish()?;
    unfinished_info.finish()?;
    Ok(exported)
}

async fn import_from(file: &Path, store: &StoreAt) -> Result<Contents, Problem> {
    let unfinished = beside(&store.path)?;
    let input = File::open(file).map_err(|cause| {
        Problem::usage(format!("`{}` cannot be read", file.display()))
            .because(cause)
            .advising("check the path and its permissions")
    })?;
    // Reading all of it takes its time, and must not keep an interrupt waiting.
    let checking = tokio::task::spawn_blocking(move || {
        let meter = Meter::new("checking", None);
        CheckedExport::check(input, &mut |totals| meter.at(totals))
    });
    let checked =
        checking.await.map_err(|cause| WasmError::new(ErrorKind::Internal, "check").because(cause))??;
    let contents = checked.contents();

    let made = store.make_at(unfinished.path())?;
    let meter = Meter::new("importing", Some(contents.totals.records));
    checked.import_into(&*made, &mut |totals| meter.at(totals)).await?;
    made.close().await?;
    drop(made);
    unfinished.finish()?;
    Ok(contents)
}

async fn copy_to(from: &StoreAt, to: &StoreAt) -> Result<Contents, Problem> {
    let unfinished = beside(&to.path)?;
    let source = from.open()?;
    let meter = Meter::new("copying", Some(records(&*source).await?));
    let made = to.make_at(unfinished.path())?;
    let contents = copy(&*source, &*made, &mut |totals| meter.at(totals)).await?;
    made.close().await?;
    drop(made);
    source.close().await?;
    unfinished.finish()?;
    Ok(contents)
}

/// Tells every problem, then what was read.
async fn verify(store: &StoreAt, format: Format, report: &mut Report) -> Result<Exit, Problem> {
    let Examined { copy, store: opened, damage } = store.examine()?;
    let meter = Meter::new("verifying", Some(records(&*opened).await.unwrap_or_default()));
    let mut told = Ok(());
    let mut problems = 0_u64;
    let mut tell = |finding: Finding| {
        problems += 1;
        if told.is_ok() {
            told = match format {
                Format::Text => report.line(&text::line(&finding.to_string())),
                Format::Json => report.object(&FindingData::of(&finding)),
            };
        }
    };
    if let Some(damage) = damage {
        let said = damage.source().map_or_else(|| damage.message(), ToString::to_string);
        let what = format!("the engine finds damage: {said}");
        tell(Finding { fault: StorageFault::Damaged, namespace: None, key: None, what });
    }
    let totals = opened.verify(&mut |totals| meter.at(totals), &mut tell)?;
    drop(meter);
    told?;
    // Of a damaged copy nothing is kept.
    let closed = opened.close().await;
    drop(opened);
    if copy.is_none() {
        closed?;
    }
    match format {
        Format::Text => {
            lines(report, totals)?;
            report.line(&format!("problems    {problems}"))?;
        }
        Format::Json => report.object(&Verified { counts: Counts::of(totals), problems })?,
    }
    if problems == 0 {
        return Ok(Exit::Success);
    }
    let found = if problems == 1 {
        "1 problem was found".to_owned()
    } else {
        format!("{problems} problems were found")
    };
    let problem = Problem::from(
        WasmError::storage("storage verify", StorageFault::Damaged)
            .saying(found)
            .with("store", store)
            .advising("Restore the store from an export or a copy, and look after the device that it is on."),
    );
    problem.show();
    Ok(problem.exit())
}

async fn show_usage(store: &StoreAt, format: TableFormat, report: &mut Report) -> Result<Exit, Problem> {
    let opened = store.open()?;
    let usage = usage(&*opened).await?;
    opened.close().await?;
    if format == TableFormat::Json {
        for (name, usage) in &usage {
            report.object(&UsageData { name: Name::of(name), bytes: usage.bytes, keys: usage.keys })?;
        }
        return Ok(Exit::Success);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["namespace", "bytes", "keys"]);
    for (name, usage) in &usage {
        table.add_row([name.to_string(), usage.bytes.to_string(), usage.keys.to_string()]);
    }
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if number > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().try_for_each(|line| report.line(line.trim_end()))?;
    Ok(Exit::Success)
}

async fn compact(store: &StoreAt, format: Format, report: &mut Report) -> Result<Exit, Problem> {
    let opened = store.open()?;
    let measure = || on_disk(&store.path).map_err(|cause| unreadable(&store.path, cause));
    let before = measure()?;
    opened.compact().await?;
    opened.close().await?;
    let after = measure()?;
    match format {
        Format::Text => {
            report.line(&format!("before  {}", size(before)))?;
            report.line(&format!("after   {}", size(after)))?;
        }
        Format::Json => report.object(&Compacted { bytes_before: before, bytes_after: after })?,
    }
    Ok(Exit::Success)
}

/// How many records the books of the store say.
async fn records(store: &dyn Maintenance) -> Result<u64, Problem> {
    Ok(usage(store).await?.iter().map(|(_, usage)| usage.keys).sum())
}

/// A place to build what is to be at `path`. Naming a path that is taken is a wrong command line.
fn beside(path: &Path) -> Result<Unfinished, Problem> {
    Unfinished::beside(path).map_err(|error| {
        let taken = error.detail() == Some(Detail::Storage(StorageFault::Conflict));
        let problem = Problem::from(error);
        if taken { problem.exiting(Exit::Usage) } else { problem }
    })
}

/// The bytes of a file, or of all files in a folder.
fn on_disk(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    let mut rest: Vec<PathBuf> = vec![path.to_owned()];
    while let Some(path) = rest.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                rest.push(entry?.path());
            }
        } else {
            // What is named may be a link; what is in a folder of a store is none.
            bytes += fs::metadata(&path)?.len();
        }
    }
    Ok(bytes)
}

fn unreadable(path: &Path, cause: io::Error) -> Problem {
    WasmError::new(ErrorKind::Io, "measure store").with("path", path.display()).because(cause).into()
}

fn unwritable(path: &Path, cause: io::Error) -> Problem {
    WasmError::new(ErrorKind::Io, "write export")
        .saying("the file cannot be written")
        .with("path", path.display())
        .because(cause)
        .advising("check the folder, its permissions, and the room on the device")
        .into()
}

#[derive(Debug, Serialize)]
struct Counts {
    namespaces: u64,
    records: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    counts: Counts,
    sha256: String,
}

#[derive(Debug, Serialize)]
struct Verified {
    #[serde(flatten)]
    counts: Counts,
    problems: u64,
}

#[derive(Debug, Serialize)]
struct Compacted {
    bytes_before: u64,
    bytes_after: u64,
}

#[derive(Debug, Serialize)]
struct UsageData {
    #[serde(flatten)]
    name: Name,
    bytes: u64,
    keys: u64,
}

/// The name of a namespace: as text where it is UTF-8.
#[derive(Debug, Default, Serialize)]
struct Name {
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace_hex: Option<String>,
}

#[derive(Debug, Serialize)]
struct FindingData {
    #[serde(flatten)]
    name: Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_hex: Option<String>,
    detail: String,
    problem: String,
}

impl Counts {
    fn of(totals: Totals) -> Self {
        let Totals { namespaces, records, bytes } = totals;
        Self { namespaces, records, bytes }
    }
}

impl Summary {
    fn of(contents: Contents) -> Self {
        Self { counts: Counts::of(contents.totals), sha256: text::hex(&contents.sha256) }
    }
}

impl Name {
    fn of(namespace: &Namespace) -> Self {
        let bytes = namespace.as_bytes();
        match str::from_utf8(bytes) {
            Ok(text) => Self { namespace: Some(text.to_owned()), namespace_hex: None },
            Err(_) => Self { namespace: None, namespace_hex: Some(text::hex(bytes)) },
        }
    }
}

impl FindingData {
    fn of(finding: &Finding) -> Self {
        Self {
            name: finding.namespace.as_ref().map(Name::of).unwrap_or_default(),
            key_hex: finding.key.as_deref().map(text::hex),
            detail: text::kebab(&format!("{:?}", finding.fault)),
            problem: finding.what.clone(),
        }
    }
}

fn summary(report: &mut Report, format: Format, contents: Contents) -> Result<Exit, Problem> {
    let summary = Summary::of(contents);
    match format {
        Format::Text => {
            lines(report, contents.totals)?;
            report.line(&format!("sha256      {}", summary.sha256))?;
        }
        Format::Json => report.object(&summary)?,
    }
    Ok(Exit::Success)
}

fn lines(report: &mut Report, totals: Totals) -> Result<(), Problem> {
    report.line(&format!("namespaces  {}", totals.namespaces))?;
    report.line(&format!("records     {}", totals.records))?;
    report.line(&format!("bytes       {}", totals.bytes))
}
