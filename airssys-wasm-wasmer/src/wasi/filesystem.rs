//! `wasi:filesystem`, handed over between the guest and the files of its instance.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airssys_wasm_core::error::{Result, TrapKind};
use airssys_wasm_core::runtime::{
    Descriptor, DirectoryEntries, FileKind, FileRefusal, FileStat, NewTime, OpenFlags, SyncScope, Underway,
    Value, WritePosition,
};
use airssys_wasm_engine::wasi::{self as streams, FileSink, FileSource, MAX_WRITE};

use super::arguments::Arguments;
use super::io::failure;
use super::streams::shared;
use super::table::{Input, Output, Resource, invalid};
use super::{Answer, Finish, Function, Wasi, err, ok};

pub(super) fn find(interface: &str, function: &str) -> Option<Function> {
    match (interface, function) {
        ("preopens", "get-directories") => Some(|wasi, _| directories(wasi).into()),
        ("types", "filesystem-error-code") => {
            Some(|wasi, arguments| error_code(wasi, Arguments::of("filesystem-error-code", arguments)).into())
        }
        ("types", method) => match method.strip_prefix("[method]") {
            Some(method) => find_quick(method).or_else(|| find_slow(method)),
            None => None,
        },
        _ => None,
    }
}

/// Calls that are answered at once.
fn find_quick(method: &str) -> Option<Function> {
    macro_rules! quick {
        ($name:literal, $function:ident) => {
            |wasi, arguments| $function(wasi, Arguments::of($name, arguments)).into()
        };
    }
    let found: Function = match method {
        "descriptor.advise" => quick!("descriptor.advise", advise),
        "descriptor.get-flags" => quick!("descriptor.get-flags", get_flags),
        "descriptor.get-type" => quick!("descriptor.get-type", get_type),
        "descriptor.read-via-stream" => quick!("descriptor.read-via-stream", read_via_stream),
        "descriptor.write-via-stream" => quick!("descriptor.write-via-stream", write_via_stream),
        "descriptor.append-via-stream" => quick!("descriptor.append-via-stream", append_via_stream),
        _ => return None,
    };
    Some(found)
}

/// Calls that wait for the file system.
fn find_slow(method: &str) -> Option<Function> {
    macro_rules! slow {
        ($name:literal, $function:ident) => {
            |wasi, arguments| {
                $function(wasi, Arguments::of($name, arguments))
                    .unwrap_or_else(|error| Answer::Now(Err(error)))
            }
        };
    }
    let found: Function = match method {
        "descriptor.sync-data" => slow!("descriptor.sync-data", sync_data),
        "descriptor.set-size" => slow!("descriptor.set-size", set_size),
        "descriptor.set-times" => slow!("descriptor.set-times", set_times),
        "descriptor.read" => slow!("descriptor.read", read),
        "descriptor.write" => slow!("descriptor.write", write),
        "descriptor.read-directory" => slow!("descriptor.read-directory", read_directory),
        "descriptor.sync" => slow!("descriptor.sync", sync),
        "descriptor.create-directory-at" => slow!("descriptor.create-directory-at", create_directory_at),
        "descriptor.stat" => slow!("descriptor.stat", stat),
        "descriptor.stat-at" => slow!("descriptor.stat-at", stat_at),
        "descriptor.set-times-at" => slow!("descriptor.set-times-at", set_times_at),
        "descriptor.link-at" => slow!("descriptor.link-at", link_at),
        "descriptor.open-at" => slow!("descriptor.open-at", open_at),
        "descriptor.readlink-at" => slow!("descriptor.readlink-at", readlink_at),
        "descriptor.remove-directory-at" => slow!("descriptor.remove-directory-at", remove_directory_at),
        "descriptor.rename-at" => slow!("descriptor.rename-at", rename_at),
        "descriptor.symlink-at" => slow!("descriptor.symlink-at", symlink_at),
        "descriptor.unlink-file-at" => slow!("descriptor.unlink-file-at", unlink_file_at),
        "descriptor.is-same-object" => slow!("descriptor.is-same-object", is_same_object),
        "descriptor.metadata-hash" => slow!("descriptor.metadata-hash", metadata_hash),
        "descriptor.metadata-hash-at" => slow!("descriptor.metadata-hash-at", metadata_hash_at),
        "directory-entry-stream.read-directory-entry" => {
            slow!("directory-entry-stream.read-directory-entry", read_directory_entry)
        }
        _ => return None,
    };
    Some(found)
}

type Opened = Arc<dyn Descriptor>;

fn descriptor(wasi: &Wasi, arguments: &mut Arguments) -> Result<Opened> {
    let rep = arguments.rep()?;
    match wasi.table.borrow_mut().get(arguments.operation, rep)? {
        Resource::Descriptor(descriptor) => Ok(Arc::clone(descriptor)),
        _ => Err(invalid(arguments.operation, "the resource is not a descriptor")),
    }
}

/// Waits for what has begun, and answers with what `value` makes of it.
fn answer<T: Send + 'static>(
    begun: Underway<T, FileRefusal>,
    value: impl FnOnce(&Wasi, T) -> Result<Option<Value>> + Send + 'static,
) -> Answer {
    Answer::Then(Box::pin(async move {
        let done = begun.await?;
        let finish: Finish = Box::new(|wasi| match done {
            Ok(done) => value(wasi, done).map(|value| Some(ok(value))),
            Err(refused) => Ok(Some(err(code(refused)))),
        });
        Ok(finish)
    }))
}

fn answer_nothing(begun: Underway<(), FileRefusal>) -> Answer {
    answer(begun, |_, ()| Ok(None))
}

fn code(refused: FileRefusal) -> Value {
    Value::Enum(refused.name().into())
}

fn directories(wasi: &Wasi) -> Result<Value> {
    let directories = wasi.files.directories()?;
    let directories = directories.into_iter().map(|(name, directory)| {
        let directory = wasi.give("preopens.get-directories", Resource::Descriptor(directory))?;
        Ok(Value::Tuple(vec![directory, Value::String(name)]))
    });
    directories.collect::<Result<_>>().map(Value::List)
}

fn error_code(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    failure(wasi, &mut arguments).map(|refused| Value::Option(Some(Box::new(code(refused)))))
}

/// It tells how a file will be read, and changes nothing.
fn advise(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    Ok(match descriptor(wasi, &mut arguments)?.kind() {
        FileKind::Directory => err(code(FileRefusal::BadDescriptor)),
        _ => ok(None),
    })
}

fn get_flags(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let flags = descriptor(wasi, &mut arguments)?.flags();
    let names = [(flags.read, "read"), (flags.write, "write"), (flags.mutate_directory, "mutate-directory")];
    let set = names.into_iter().filter(|(set, _)| *set).map(|(_, name)| name.to_owned());
    Ok(ok(Value::Flags(set.collect())))
}

fn get_type(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    Ok(ok(kind(descriptor(wasi, &mut arguments)?.kind())))
}

fn kind(kind: FileKind) -> Value {
    Value::Enum(kind.name().into())
}

fn read_via_stream(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let file = descriptor(wasi, &mut arguments)?;
    let offset = arguments.u64()?;
    stream(wasi, arguments.operation, &file, |file| {
        Resource::InputStream(Input::Piped(shared(streams::Input::new(FileSource::new(file, offset)))))
    })
}

fn write_via_stream(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let file = descriptor(wasi, &mut arguments)?;
    let position = WritePosition::At(arguments.u64()?);
    stream(wasi, arguments.operation, &file, |file| written(file, position))
}

fn append_via_stream(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let file = descriptor(wasi, &mut arguments)?;
    stream(wasi, arguments.operation, &file, |file| written(file, WritePosition::End))
}

fn written(file: Opened, position: WritePosition) -> Resource {
    Resource::OutputStream(Output::Piped(shared(streams::Output::new(FileSink::new(file, position)))))
}

fn stream(
    wasi: &Wasi,
    operation: &'static str,
    file: &Opened,
    of: impl FnOnce(Opened) -> Resource,
) -> Result<Value> {
    match file.for_stream()? {
        Ok(file) => wasi.give(operation, of(file)).map(ok),
        Err(refused) => Ok(err(code(refused))),
    }
}

fn sync_data(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    Ok(answer_nothing(descriptor(wasi, &mut arguments)?.sync(SyncScope::Data)))
}

fn sync(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    Ok(answer_nothing(descriptor(wasi, &mut arguments)?.sync(SyncScope::Everything)))
}

fn set_size(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let file = descriptor(wasi, &mut arguments)?;
    Ok(answer_nothing(file.set_size(arguments.u64()?)))
}

fn set_times(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let file = descriptor(wasi, &mut arguments)?;
    Ok(match (new_time(&mut arguments)?, new_time(&mut arguments)?) {
        (Ok(accessed), Ok(modified)) => answer_nothing(file.set_times(accessed, modified)),
        (Err(refused), _) | (_, Err(refused)) => Ok(err(code(refused))).into(),
    })
}

fn set_times_at(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let directory = descriptor(wasi, &mut arguments)?;
    arguments.skip()?;
    let path = arguments.string()?;
    Ok(match (new_time(&mut arguments)?, new_time(&mut arguments)?) {
        (Ok(accessed), Ok(modified)) => answer_nothing(directory.set_times_at(&path, accessed, modified)),
        (Err(refused), _) | (_, Err(refused)) => Ok(err(code(refused))).into(),
    })
}

fn new_time(arguments: &mut Arguments) -> Result<std::result::Result<NewTime, FileRefusal>> {
    let (case, value) = arguments.variant()?;
    Ok(match (case.as_str(), value) {
        ("no-change", None) => Ok(NewTime::NoChange),
        ("now", None) => Ok(NewTime::Now),
        ("timestamp", Some(Value::Record(fields))) => match fields.as_slice() {
            [(_, Value::U64(seconds)), (_, Value::U32(nanoseconds))] => time_of(*seconds, *nanoseconds),
            _ => return Err(arguments.trap(TrapKind::InvalidValue)),
        },
        _ => return Err(arguments.trap(TrapKind::InvalidValue)),
    })
}

fn time_of(seconds: u64, nanoseconds: u32) -> std::result::Result<NewTime, FileRefusal> {
    if nanoseconds >= 1_000_000_000 {
        return Err(FileRefusal::Invalid);
    }
    let time = UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds));
    time.map(NewTime::At).ok_or(FileRefusal::Overflow)
}

fn read(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let file = descriptor(wasi, &mut arguments)?;
    let most = usize::try_from(arguments.u64()?).unwrap_or(usize::MAX).min(MAX_WRITE);
    Ok(answer(file.read(arguments.u64()?, most), |_, bytes| {
        let is_at_end = bytes.is_empty();
        Ok(Some(Value::Tuple(vec![Value::Bytes(bytes), Value::Bool(is_at_end)])))
    }))
}

fn write(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let file = descriptor(wasi, &mut arguments)?;
    let bytes = arguments.bytes()?;
    let length = bytes.len() as u64;
    let position = WritePosition::At(arguments.u64()?);
    Ok(answer(file.write(position, bytes), move |_, ()| Ok(Some(Value::U64(length)))))
}

fn read_directory(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let directory = descriptor(wasi, &mut arguments)?;
    let operation = arguments.operation;
    Ok(answer(directory.entries(), move |wasi, entries| {
        wasi.give(operation, Resource::DirectoryEntries(entries)).map(Some)
    }))
}

fn read_directory_entry(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let entries = entries(wasi, &mut arguments)?;
    Ok(answer(entries.next(), |_, entry| {
        let entry = entry.map(|entry| {
            Box::new(Value::Record(vec![
                ("type".into(), kind(entry.kind)),
                ("name".into(), Value::String(entry.name)),
            ]))
        });
        Ok(Some(Value::Option(entry)))
    }))
}

fn entries(wasi: &Wasi, arguments: &mut Arguments) -> Result<Arc<dyn DirectoryEntries>> {
    let rep = arguments.rep()?;
    match wasi.table.borrow_mut().get(arguments.operation, rep)? {
        Resource::DirectoryEntries(entries) => Ok(Arc::clone(entries)),
        _ => Err(invalid(arguments.operation, "the resource is not a stream of directory entries")),
    }
}

fn create_directory_at(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let directory = descriptor(wasi, &mut arguments)?;
    Ok(answer_nothing(directory.create_directory_at(&arguments.string()?)))
}

fn remove_directory_at(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let directory = descriptor(wasi, &mut arguments)?;
    Ok(answer_nothing(directory.remove_directory_at(&arguments.string()?)))
}

fn unlink_file_at(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let directory = descriptor(wasi, &mut arguments)?;
    Ok(answer_nothing(directory.unlink_file_at(&arguments.string()?)))
}

fn rename_at(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let directory = descriptor(wasi, &mut arguments)?;
    let path = arguments.string()?;
    let target = descriptor(wasi, &mut arguments)?;
    Ok(answer_nothing(directory.rename_at(&path, target.location(), &arguments.string()?)))
}

fn link_at(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    descriptor(wasi, &mut arguments)?;
    arguments.skip()?;
    arguments.skip()?;
    let directory = descriptor(wasi, &mut arguments)?;
    Ok(refuse_link(&directory, &arguments.string()?))
}

fn symlink_at(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let directory = descriptor(wasi, &mut arguments)?;
    arguments.skip()?;
    Ok(refuse_link(&directory, &arguments.string()?))
}

fn readlink_at(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let directory = descriptor(wasi, &mut arguments)?;
    Ok(refuse_link(&directory, &arguments.string()?))
}

fn refuse_link(directory: &Opened, path: &str) -> Answer {
    answer(directory.link_at(path), |_, never| match never {})
}

fn open_at(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let directory = descriptor(wasi, &mut arguments)?;
    arguments.skip()?;
    let path = arguments.string()?;
    let (open, flags) = (arguments.flags()?, arguments.flags()?);
    let has = |names: &[String], name: &str| names.iter().any(|set| set == name);
    let flags = OpenFlags {
        read: has(&flags, "read"),
        write: has(&flags, "write"),
        mutate_directory: has(&flags, "mutate-directory"),
        create: has(&open, "create"),
        exclusive: has(&open, "exclusive"),
        directory: has(&open, "directory"),
        truncate: has(&open, "truncate"),
    };
    let operation = arguments.operation;
    Ok(answer(directory.open_at(&path, flags), move |wasi, opened| {
        wasi.give(operation, Resource::Descriptor(opened)).map(Some)
    }))
}

fn stat(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    Ok(answer(descriptor(wasi, &mut arguments)?.stat(), |_, known| Ok(Some(stat_value(&known)))))
}

fn stat_at(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    Ok(answer(begin_stat_at(wasi, &mut arguments)?, |_, known| Ok(Some(stat_value(&known)))))
}

fn begin_stat_at(wasi: &Wasi, arguments: &mut Arguments) -> Result<Underway<FileStat, FileRefusal>> {
    let directory = descriptor(wasi, arguments)?;
    let follow = arguments.flags()?.iter().any(|flag| flag == "symlink-follow");
    Ok(directory.stat_at(&arguments.string()?, follow))
}

fn stat_value(known: &FileStat) -> Value {
    Value::Record(vec![
        ("type".into(), kind(known.kind)),
        ("link-count".into(), Value::U64(known.links)),
        ("size".into(), Value::U64(known.size)),
        ("data-access-timestamp".into(), datetime(known.accessed)),
        ("data-modification-timestamp".into(), datetime(known.modified)),
        ("status-change-timestamp".into(), datetime(known.changed)),
    ])
}

/// None before 1970, which WASI cannot say.
fn datetime(time: Option<SystemTime>) -> Value {
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Value::Option(since.map(|since| Box::new(super::clocks::datetime(since))))
}

fn metadata_hash(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    Ok(answer(descriptor(wasi, &mut arguments)?.stat(), |_, known| Ok(Some(hash(&known)))))
}

fn metadata_hash_at(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    Ok(answer(begin_stat_at(wasi, &mut arguments)?, |_, known| Ok(Some(hash(&known)))))
}

fn hash(known: &FileStat) -> Value {
    Value::Record(vec![
        ("lower".into(), Value::U64(known.identity as u64)),
        ("upper".into(), Value::U64((known.identity >> 64) as u64)),
    ])
}

/// What cannot be looked at is not said to be the same.
fn is_same_object(wasi: &Wasi, mut arguments: Arguments) -> Result<Answer> {
    let one = descriptor(wasi, &mut arguments)?.stat();
    let other = descriptor(wasi, &mut arguments)?.stat();
    Ok(Answer::Later(Box::pin(async move {
        let (one, other) = (one.await?, other.await?);
        let is_same = matches!((one, other), (Ok(one), Ok(other)) if one.identity == other.identity);
        Ok(Some(Value::Bool(is_same)))
    })))
}
