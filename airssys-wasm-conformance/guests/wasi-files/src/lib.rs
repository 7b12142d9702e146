//! Calls every function of WASI that has to do with files, as it is told.
//!
//! A payload is a command and its arguments, one to a line. Descriptors are numbers: `directories` gives the first ones, and
//! `open` the next. The reply is what the function returned, or `error ` and the code of WASI.
//!
//! - `directories`: a line for each directory that is open, with its number and its name
//! - `open DESCRIPTOR FLAGS PATH`: the number of what was opened; the flags, separated by commas, are those of WASI
//! - `close DESCRIPTOR`
//! - `read DESCRIPTOR OFFSET LENGTH`, `write DESCRIPTOR OFFSET TEXT`
//! - `read-stream DESCRIPTOR OFFSET`, `poll-stream DESCRIPTOR OFFSET`: all that follows, read by waiting or by polling
//! - `write-stream DESCRIPTOR OFFSET TEXT`, `append DESCRIPTOR TEXT`, `push-stream DESCRIPTOR TEXT`, `splice FROM TO`
//! - `stat DESCRIPTOR`, `stat-at DESCRIPTOR FLAGS PATH`: kind, size and number of names
//! - `type`, `flags`, `advise`, `sync`, `sync-data`, `hash`, `set-times` and `list` with `DESCRIPTOR`
//! - `hold-stream` and `hold-list` with `DESCRIPTOR`: a stream that is read from, or a list, which stays open; `next-entry` goes on with
//!   the latest list
//! - `set-size DESCRIPTOR SIZE`, `set-times-at DESCRIPTOR PATH`, `hash-at DESCRIPTOR PATH`, `same DESCRIPTOR DESCRIPTOR`
//! - `make-directory`, `remove-directory`, `unlink` and `readlink` with `DESCRIPTOR PATH`
//! - `rename DESCRIPTOR PATH DESCRIPTOR PATH`, `link DESCRIPTOR PATH DESCRIPTOR PATH`, `symlink DESCRIPTOR TARGET PATH`

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "airssys:wasi-files/files-guest",
    generate_all,
});

use std::cell::RefCell;

use airssys::core::types::FailureCode;
use exports::airssys::core::component::{Body, ComponentMetadata, Failure, Guest, Message};
use wasi::filesystem::preopens;
use wasi::filesystem::types::{
    Advice, Descriptor, DescriptorFlags, DescriptorType, DirectoryEntryStream, ErrorCode, NewTimestamp,
    OpenFlags, PathFlags, filesystem_error_code,
};
use wasi::io::poll;
use wasi::io::streams::{InputStream, OutputStream, StreamError};

struct WasiFiles;

thread_local! {
    static OPEN: RefCell<Vec<Option<Descriptor>>> = const { RefCell::new(Vec::new()) };
    static LISTS: RefCell<Vec<DirectoryEntryStream>> = const { RefCell::new(Vec::new()) };
    static STREAMS: RefCell<Vec<InputStream>> = const { RefCell::new(Vec::new()) };
}

/// Why there is no reply.
enum Trouble {
    Refused(ErrorCode),
    Closed,
    Command(&'static str),
}

impl From<ErrorCode> for Trouble {
    fn from(code: ErrorCode) -> Self {
        Self::Refused(code)
    }
}

impl From<StreamError> for Trouble {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Closed => Self::Closed,
            StreamError::LastOperationFailed(error) => {
                filesystem_error_code(&error).map_or(Self::Closed, Self::Refused)
            }
        }
    }
}

type Reply<T = String> = Result<T, Trouble>;

struct Words<'a>(std::str::SplitN<'a, char>);

impl<'a> Words<'a> {
    fn text(&mut self) -> Reply<&'a str> {
        self.0.next().ok_or(Trouble::Command("an argument is missing"))
    }

    fn number(&mut self) -> Reply<u64> {
        self.text()?.parse().map_err(|_| Trouble::Command("an argument is not a number"))
    }

    fn with<T>(&mut self, use_it: impl FnOnce(&Descriptor, &mut Self) -> Reply<T>) -> Reply<T> {
        let number = self.number()?;
        OPEN.with_borrow(|open| {
            let descriptor = open.get(number as usize).and_then(Option::as_ref);
            use_it(descriptor.ok_or(Trouble::Command("there is no such descriptor"))?, self)
        })
    }
}

fn run(command: &str) -> Reply {
    // Only the last argument may hold line ends.
    let (verb, arguments) = command.split_once('\n').unwrap_or((command, ""));
    let most = match verb {
        "rename" | "link" => 4,
        "append" | "push-stream" | "splice" | "same" => 2,
        _ => 3,
    };
    let mut words = Words(arguments.splitn(most, '\n'));
    let nothing = |()| String::new();
    match verb {
        "directories" => Ok(directories()),
        "open" => open(&mut words),
        "close" => close(words.number()?),
        "read" => words.with(|file, words| {
            let offset = words.number()?;
            let (bytes, _) = file.read(words.number()?, offset)?;
            Ok(text(bytes))
        }),
        "write" => words.with(|file, words| {
            let offset = words.number()?;
            Ok(file.write(words.text()?.as_bytes(), offset)?.to_string())
        }),
        "read-stream" => words.with(|file, words| read_all(&file.read_via_stream(words.number()?)?)),
        "poll-stream" => words.with(|file, words| poll_all(&file.read_via_stream(words.number()?)?)),
        "write-stream" => words.with(|file, words| {
            let stream = file.write_via_stream(words.number()?)?;
            write_all(&stream, words.text()?.as_bytes())
        }),
        "append" => words.with(|file, words| write_all(&file.append_via_stream()?, words.text()?.as_bytes())),
        "push-stream" => {
            words.with(|file, words| push_all(&file.write_via_stream(0)?, words.text()?.as_bytes()))
        }
        "splice" => words.with(|from, words| {
            let from = from.read_via_stream(0)?;
            words.with(|to, _| splice_all(&to.write_via_stream(0)?, &from))
        }),
        "stat" => words.with(|file, _| {
            let known = file.stat()?;
            Ok(format!("{} {} {}", kind(known.type_), known.size, known.link_count))
        }),
        "stat-at" => words.with(|directory, words| {
            let follow =
                if words.text()? == "follow" { PathFlags::SYMLINK_FOLLOW } else { PathFlags::empty() };
            let known = directory.stat_at(follow, words.text()?)?;
            Ok(format!("{} {} {}", kind(known.type_), known.size, known.link_count))
        }),
        "type" => words.with(|file, _| Ok(kind(file.get_type()?).to_owned())),
        "flags" => words.with(|file, _| Ok(format!("{:?}", file.get_flags()?))),
        "advise" => words.with(|file, _| Ok(file.advise(0, 1, Advice::Sequential).map(nothing)?)),
        "sync" => words.with(|file, _| Ok(file.sync().map(nothing)?)),
        "sync-data" => words.with(|file, _| Ok(file.sync_data().map(nothing)?)),
        "hash" => words.with(|file, _| {
            let hash = file.metadata_hash()?;
            Ok(format!("{:016x}{:016x}", hash.upper, hash.lower))
        }),
        "hash-at" => words.with(|directory, words| {
            let hash = directory.metadata_hash_at(PathFlags::empty(), words.text()?)?;
            Ok(format!("{:016x}{:016x}", hash.upper, hash.lower))
        }),
        "same" => words.with(|one, words| words.with(|other, _| Ok(one.is_same_object(other).to_string()))),
        "set-size" => words.with(|file, words| Ok(file.set_size(words.number()?).map(nothing)?)),
        "set-times" => words
            .with(|file, _| Ok(file.set_times(NewTimestamp::Now, NewTimestamp::NoChange).map(nothing)?)),
        "set-times-at" => words.with(|directory, words| {
            let path = words.text()?;
            let times = (NewTimestamp::NoChange, NewTimestamp::Now);
            Ok(directory.set_times_at(PathFlags::empty(), path, times.0, times.1).map(nothing)?)
        }),
        "list" => words.with(|directory, _| list(&directory.read_directory()?)),
        "hold-list" => words.with(|directory, _| {
            let entries = directory.read_directory()?;
            LISTS.with_borrow_mut(|lists| lists.push(entries));
            Ok(String::new())
        }),
        "next-entry" => LISTS.with_borrow(|lists| {
            let entries = lists.last().ok_or(Trouble::Command("no list is held"))?;
            Ok(entries.read_directory_entry()?.map(|entry| entry.name).unwrap_or_default())
        }),
        "hold-stream" => words.with(|file, _| {
            let stream = file.read_via_stream(0)?;
            let first = stream.blocking_read(1)?;
            STREAMS.with_borrow_mut(|streams| streams.push(stream));
            Ok(text(first))
        }),
        "make-directory" => {
            words.with(|directory, words| Ok(directory.create_directory_at(words.text()?).map(nothing)?))
        }
        "remove-directory" => {
            words.with(|directory, words| Ok(directory.remove_directory_at(words.text()?).map(nothing)?))
        }
        "unlink" => {
            words.with(|directory, words| Ok(directory.unlink_file_at(words.text()?).map(nothing)?))
        }
        "readlink" => words.with(|directory, words| Ok(directory.readlink_at(words.text()?)?)),
        "rename" => words.with(|directory, words| {
            let path = words.text()?;
            words.with(|target, words| Ok(directory.rename_at(path, target, words.text()?).map(nothing)?))
        }),
        "link" => words.with(|directory, words| {
            let path = words.text()?;
            words.with(|target, words| {
                Ok(directory.link_at(PathFlags::empty(), path, target, words.text()?).map(nothing)?)
            })
        }),
        "symlink" => words.with(|directory, words| {
            let target = words.text()?;
            Ok(directory.symlink_at(target, words.text()?).map(nothing)?)
        }),
        _ => Err(Trouble::Command("there is no such command")),
    }
}

fn directories() -> String {
    let directories = preopens::get_directories();
    OPEN.with_borrow_mut(|open| {
        open.clear();
        let mut lines = String::new();
        for (number, (directory, name)) in directories.into_iter().enumerate() {
            open.push(Some(directory));
            lines.push_str(&format!("{number} {name}\n"));
        }
        lines
    })
}

fn open(words: &mut Words<'_>) -> Reply {
    let opened = words.with(|directory, words| {
        let (mut flags, mut open) = (DescriptorFlags::empty(), OpenFlags::empty());
        for flag in words.text()?.split(',') {
            match flag {
                "read" => flags |= DescriptorFlags::READ,
                "write" => flags |= DescriptorFlags::WRITE,
                "mutate-directory" => flags |= DescriptorFlags::MUTATE_DIRECTORY,
                "create" => open |= OpenFlags::CREATE,
                "exclusive" => open |= OpenFlags::EXCLUSIVE,
                "directory" => open |= OpenFlags::DIRECTORY,
                "truncate" => open |= OpenFlags::TRUNCATE,
                _ => return Err(Trouble::Command("there is no such flag")),
            }
        }
        Ok(directory.open_at(PathFlags::SYMLINK_FOLLOW, words.text()?, open, flags)?)
    })?;
    Ok(OPEN.with_borrow_mut(|open| {
        open.push(Some(opened));
        (open.len() - 1).to_string()
    }))
}

fn close(number: u64) -> Reply {
    let closed = OPEN.with_borrow_mut(|open| open.get_mut(number as usize).and_then(Option::take));
    closed.map(|_| String::new()).ok_or(Trouble::Command("there is no such descriptor"))
}

fn read_all(stream: &InputStream) -> Reply {
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(10_000) {
            Ok(piece) => bytes.extend(piece),
            Err(StreamError::Closed) => return Ok(text(bytes)),
            Err(error) => return Err(error.into()),
        }
    }
}

fn poll_all(stream: &InputStream) -> Reply {
    let pollable = stream.subscribe();
    let mut bytes = Vec::new();
    loop {
        match stream.read(1_000) {
            Ok(piece) if piece.is_empty() => drop(poll::poll(&[&pollable])),
            Ok(piece) => bytes.extend(piece),
            Err(StreamError::Closed) => return Ok(text(bytes)),
            Err(error) => return Err(error.into()),
        }
    }
}

fn write_all(stream: &OutputStream, bytes: &[u8]) -> Reply {
    for piece in bytes.chunks(4096) {
        stream.blocking_write_and_flush(piece)?;
    }
    Ok(bytes.len().to_string())
}

/// Writes as much as there is room for, and waits for more.
fn push_all(stream: &OutputStream, mut bytes: &[u8]) -> Reply {
    let (pollable, length) = (stream.subscribe(), bytes.len());
    while !bytes.is_empty() {
        let room = stream.check_write()? as usize;
        if room == 0 {
            pollable.block();
            continue;
        }
        let (piece, rest) = bytes.split_at(room.min(bytes.len()));
        stream.write(piece)?;
        bytes = rest;
    }
    stream.flush()?;
    stream.blocking_flush()?;
    Ok(length.to_string())
}

fn splice_all(to: &OutputStream, from: &InputStream) -> Reply {
    let mut moved = 0;
    loop {
        match to.blocking_splice(from, 100_000) {
            Ok(length) => moved += length,
            Err(StreamError::Closed) => {
                to.blocking_flush()?;
                return Ok(moved.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn list(entries: &DirectoryEntryStream) -> Reply {
    let mut names = Vec::new();
    while let Some(entry) = entries.read_directory_entry()? {
        names.push(format!("{} {}", kind(entry.type_), entry.name));
    }
    names.sort();
    Ok(names.join("\n"))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn kind(kind: DescriptorType) -> &'static str {
    match kind {
        DescriptorType::Unknown => "unknown",
        DescriptorType::BlockDevice => "block-device",
        DescriptorType::CharacterDevice => "character-device",
        DescriptorType::Directory => "directory",
        DescriptorType::Fifo => "fifo",
        DescriptorType::SymbolicLink => "symbolic-link",
        DescriptorType::RegularFile => "regular-file",
        DescriptorType::Socket => "socket",
    }
}

impl Guest for WasiFiles {
    fn init(_config: Vec<(String, String)>) -> Result<(), Failure> {
        Ok(())
    }

    fn execute(message: Message) -> Result<Body, Failure> {
        let command = String::from_utf8_lossy(&message.body.payload);
        let reply = match run(&command) {
            Ok(reply) => reply,
            Err(Trouble::Refused(code)) => format!("error {}", code.name()),
            Err(Trouble::Closed) => "error closed".to_owned(),
            Err(Trouble::Command(message)) => {
                return Err(Failure { code: FailureCode::InvalidInput, message: message.to_owned() });
            }
        };
        Ok(Body { content_type: Some("text/plain".to_owned()), payload: reply.into_bytes() })
    }

    fn shutdown() -> Result<(), Failure> {
        Ok(())
    }

    fn metadata() -> ComponentMetadata {
        ComponentMetadata {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
        }
    }
}

export!(WasiFiles);
