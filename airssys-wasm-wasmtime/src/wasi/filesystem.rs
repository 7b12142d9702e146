//! `wasi:filesystem`, handed over between the guest and the files of its instance.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use airssys_wasm_core::error::Result;
use airssys_wasm_core::runtime::{
    Descriptor, DirectoryEntries, FileKind, FileRefusal, FileService, FileStat, NewTime, OpenFlags,
    SyncScope, Underway, WritePosition,
};
use airssys_wasm_engine::wasi::{FileSink, FileSource, Input, MAX_WRITE, Output, Stopped};
use bytes::Bytes;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, FsError, FsResult, InputStream, OutputStream, Pollable, StreamError,
    StreamResult,
};

use crate::host;
use crate::instance::State;

/// Puts these functions in the place of those that the library has.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    types::add_to_linker::<_, Files>(linker, State::files)?;
    preopens::add_to_linker::<_, Files>(linker, State::files)
}

struct Files;

impl HasData for Files {
    type Data<'a> = FilesView<'a>;
}

/// The files of an instance, and where its resources are.
struct FilesView<'a> {
    service: &'a Arc<dyn FileService>,
    table: &'a mut ResourceTable,
}

impl State {
    fn files(&mut self) -> FilesView<'_> {
        let wasi = self.wasi.as_mut().expect("a component that imports WASI is given a world of it");
        FilesView { service: &self.services.files, table: &mut wasi.table }
    }
}

type Opened = Arc<dyn Descriptor>;
type Reading = Arc<dyn DirectoryEntries>;

impl FilesView<'_> {
    /// Makes a resource of the guest's of what it stands for here. The library calls it by another type.
    fn give<T: Send + 'static, R: 'static>(&mut self, what: T) -> wasmtime::Result<Resource<R>> {
        Ok(Resource::new_own(self.table.push(what)?.rep()))
    }

    fn descriptor(&self, resource: &Resource<types::Descriptor>) -> wasmtime::Result<Opened> {
        Ok(Arc::clone(self.table.get(&Resource::<Opened>::new_borrow(resource.rep()))?))
    }

    fn entries(&self, resource: &Resource<types::DirectoryEntryStream>) -> wasmtime::Result<Reading> {
        Ok(Arc::clone(self.table.get(&Resource::<Reading>::new_borrow(resource.rep()))?))
    }

    /// Does what a descriptor is asked. The answer holds nothing of this view, so that others can wait for it.
    fn ask<T: 'static, F: FnOnce(&dyn Descriptor) -> Underway<T, FileRefusal>>(
        &self,
        resource: &Resource<types::Descriptor>,
        begin: F,
    ) -> impl Future<Output = FsResult<T>> + Send + use<T, F> {
        let descriptor = self.descriptor(resource).map_err(FsError::trap);
        let begun = descriptor.map(|descriptor| host::guarded(OPERATION, || Ok(begin(&*descriptor))));
        async move { finish(begun?).await }
    }

    /// A stream of a file.
    fn stream<T>(&self, resource: &Resource<types::Descriptor>, of: impl FnOnce(Opened) -> T) -> FsResult<T> {
        let descriptor = self.descriptor(resource).map_err(FsError::trap)?;
        let file = host::ask(OPERATION, || descriptor.for_stream()).map_err(FsError::trap)?;
        file.map(of).map_err(|refused| code(refused).into())
    }
}

const OPERATION: &str = "filesystem";

/// Waits for what has begun.
async fn finish<T>(begun: Result<Underway<T, FileRefusal>>) -> FsResult<T> {
    let trap = |error| FsError::trap(wasmtime::Error::new(error));
    let answer = host::wait_for(OPERATION, begun.map_err(trap)?).await.map_err(FsError::trap)?;
    answer.map_err(|refused| code(refused).into())
}

impl preopens::Host for FilesView<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Resource<types::Descriptor>, String)>> {
        let service = Arc::clone(self.service);
        let directories = host::ask(OPERATION, || service.directories())?;
        directories.into_iter().map(|(name, directory)| Ok((self.give(directory)?, name))).collect()
    }
}

impl types::Host for FilesView<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<types::ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(
        &mut self,
        error: Resource<wasmtime::Error>,
    ) -> wasmtime::Result<Option<types::ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<FileRefusal>().copied().map(code))
    }
}

impl types::HostDescriptor for FilesView<'_> {
    async fn advise(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        _: u64,
        _: u64,
        _: types::Advice,
    ) -> FsResult<()> {
        // It tells how a file will be read, and changes nothing.
        match self.descriptor(&descriptor).map_err(FsError::trap)?.kind() {
            FileKind::Directory => Err(code(FileRefusal::BadDescriptor).into()),
            _ => Ok(()),
        }
    }

    async fn sync_data(&mut self, descriptor: Resource<types::Descriptor>) -> FsResult<()> {
        self.ask(&descriptor, |file| file.sync(SyncScope::Data)).await
    }

    async fn get_flags(
        &mut self,
        descriptor: Resource<types::Descriptor>,
    ) -> FsResult<types::DescriptorFlags> {
        let flags = self.descriptor(&descriptor).map_err(FsError::trap)?.flags();
        let flags = [
            (flags.read, types::DescriptorFlags::READ),
            (flags.write, types::DescriptorFlags::WRITE),
            (flags.mutate_directory, types::DescriptorFlags::MUTATE_DIRECTORY),
        ];
        let mut out = types::DescriptorFlags::empty();
        flags.into_iter().filter(|(set, _)| *set).for_each(|(_, flag)| out |= flag);
        Ok(out)
    }

    async fn get_type(&mut self, descriptor: Resource<types::Descriptor>) -> FsResult<types::DescriptorType> {
        Ok(kind(self.descriptor(&descriptor).map_err(FsError::trap)?.kind()))
    }

    async fn set_size(&mut self, descriptor: Resource<types::Descriptor>, size: u64) -> FsResult<()> {
        self.ask(&descriptor, |file| file.set_size(size)).await
    }

    async fn set_times(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (new_time(accessed)?, new_time(modified)?);
        self.ask(&descriptor, |file| file.set_times(accessed, modified)).await
    }

    async fn read(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        length: u64,
        offset: u64,
    ) -> FsResult<(Vec<u8>, bool)> {
        let most = usize::try_from(length).unwrap_or(usize::MAX).min(MAX_WRITE);
        let bytes = self.ask(&descriptor, |file| file.read(offset, most)).await?;
        let is_at_end = bytes.is_empty();
        Ok((bytes, is_at_end))
    }

    async fn write(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        bytes: Vec<u8>,
        offset: u64,
    ) -> FsResult<u64> {
        let length = bytes.len() as u64;
        self.ask(&descriptor, |file| file.write(WritePosition::At(offset), bytes)).await?;
        Ok(length)
    }

    async fn read_directory(
        &mut self,
        descriptor: Resource<types::Descriptor>,
    ) -> FsResult<Resource<types::DirectoryEntryStream>> {
        let entries = self.ask(&descriptor, |directory| directory.entries()).await?;
        self.give(entries).map_err(FsError::trap)
    }

    async fn sync(&mut self, descriptor: Resource<types::Descriptor>) -> FsResult<()> {
        self.ask(&descriptor, |file| file.sync(SyncScope::Everything)).await
    }

    async fn create_directory_at(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        path: String,
    ) -> FsResult<()> {
        self.ask(&descriptor, |directory| directory.create_directory_at(&path)).await
    }

    async fn stat(&mut self, descriptor: Resource<types::Descriptor>) -> FsResult<types::DescriptorStat> {
        self.ask(&descriptor, |file| file.stat()).await.map(|known| stat(&known))
    }

    async fn stat_at(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::DescriptorStat> {
        let follow = flags.contains(types::PathFlags::SYMLINK_FOLLOW);
        self.ask(&descriptor, |directory| directory.stat_at(&path, follow)).await.map(|known| stat(&known))
    }

    async fn set_times_at(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        _: types::PathFlags,
        path: String,
        accessed: types::NewTimestamp,
        modified: types::NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (new_time(accessed)?, new_time(modified)?);
        self.ask(&descriptor, |directory| directory.set_times_at(&path, accessed, modified)).await
    }

    async fn link_at(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        _: types::PathFlags,
        _: String,
        new_descriptor: Resource<types::Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        self.descriptor(&descriptor).map_err(FsError::trap)?;
        let never = self.ask(&new_descriptor, |directory| directory.link_at(&new_path)).await?;
        match never {}
    }

    async fn open_at(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        _: types::PathFlags,
        path: String,
        open: types::OpenFlags,
        flags: types::DescriptorFlags,
    ) -> FsResult<Resource<types::Descriptor>> {
        let flags = OpenFlags {
            read: flags.contains(types::DescriptorFlags::READ),
            write: flags.contains(types::DescriptorFlags::WRITE),
            mutate_directory: flags.contains(types::DescriptorFlags::MUTATE_DIRECTORY),
            create: open.contains(types::OpenFlags::CREATE),
            exclusive: open.contains(types::OpenFlags::EXCLUSIVE),
            directory: open.contains(types::OpenFlags::DIRECTORY),
            truncate: open.contains(types::OpenFlags::TRUNCATE),
        };
        let opened = self.ask(&descriptor, |directory| directory.open_at(&path, flags)).await?;
        self.give(opened).map_err(FsError::trap)
    }

    fn drop(&mut self, descriptor: Resource<types::Descriptor>) -> wasmtime::Result<()> {
        self.table.delete(Resource::<Opened>::new_own(descriptor.rep()))?;
        Ok(())
    }

    async fn readlink_at(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        path: String,
    ) -> FsResult<String> {
        let never = self.ask(&descriptor, |directory| directory.link_at(&path)).await?;
        match never {}
    }

    async fn remove_directory_at(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        path: String,
    ) -> FsResult<()> {
        self.ask(&descriptor, |directory| directory.remove_directory_at(&path)).await
    }

    async fn rename_at(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        path: String,
        new_descriptor: Resource<types::Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let target = self.descriptor(&new_descriptor).map_err(FsError::trap)?;
        self.ask(&descriptor, |directory| directory.rename_at(&path, target.location(), &new_path)).await
    }

    async fn symlink_at(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        _: String,
        path: String,
    ) -> FsResult<()> {
        let never = self.ask(&descriptor, |directory| directory.link_at(&path)).await?;
        match never {}
    }

    async fn unlink_file_at(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        path: String,
    ) -> FsResult<()> {
        self.ask(&descriptor, |directory| directory.unlink_file_at(&path)).await
    }

    fn read_via_stream(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        offset: u64,
    ) -> FsResult<Resource<DynInputStream>> {
        let stream = self.stream(&descriptor, |file| Input::new(FileSource::new(file, offset)))?;
        self.give(Box::new(Read(stream)) as DynInputStream).map_err(FsError::trap)
    }

    fn write_via_stream(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        offset: u64,
    ) -> FsResult<Resource<DynOutputStream>> {
        let position = WritePosition::At(offset);
        let stream = self.stream(&descriptor, |file| Output::new(FileSink::new(file, position)))?;
        self.give(Box::new(Written(stream)) as DynOutputStream).map_err(FsError::trap)
    }

    fn append_via_stream(
        &mut self,
        descriptor: Resource<types::Descriptor>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let position = WritePosition::End;
        let stream = self.stream(&descriptor, |file| Output::new(FileSink::new(file, position)))?;
        self.give(Box::new(Written(stream)) as DynOutputStream).map_err(FsError::trap)
    }

    async fn is_same_object(
        &mut self,
        one: Resource<types::Descriptor>,
        other: Resource<types::Descriptor>,
    ) -> wasmtime::Result<bool> {
        let known = [self.ask(&one, |file| file.stat()).await, self.ask(&other, |file| file.stat()).await];
        match known {
            [Ok(one), Ok(other)] => Ok(one.identity == other.identity),
            // What cannot be looked at is not said to be the same.
            [Err(failed), _] | [_, Err(failed)] => failed.downcast().map(|_: types::ErrorCode| false),
        }
    }

    async fn metadata_hash(
        &mut self,
        descriptor: Resource<types::Descriptor>,
    ) -> FsResult<types::MetadataHashValue> {
        self.ask(&descriptor, |file| file.stat()).await.map(|known| hash(&known))
    }

    async fn metadata_hash_at(
        &mut self,
        descriptor: Resource<types::Descriptor>,
        flags: types::PathFlags,
        path: String,
    ) -> FsResult<types::MetadataHashValue> {
        let follow = flags.contains(types::PathFlags::SYMLINK_FOLLOW);
        self.ask(&descriptor, |directory| directory.stat_at(&path, follow)).await.map(|known| hash(&known))
    }
}

impl types::HostDirectoryEntryStream for FilesView<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<types::DirectoryEntryStream>,
    ) -> FsResult<Option<types::DirectoryEntry>> {
        let entries = self.entries(&stream).map_err(FsError::trap)?;
        let entry = finish(host::guarded(OPERATION, || Ok(entries.next()))).await?;
        Ok(entry.map(|entry| types::DirectoryEntry { type_: kind(entry.kind), name: entry.name }))
    }

    fn drop(&mut self, stream: Resource<types::DirectoryEntryStream>) -> wasmtime::Result<()> {
        self.table.delete(Resource::<Reading>::new_own(stream.rep()))?;
        Ok(())
    }
}

/// An input stream of the library's.
struct Read(Input);

#[async_trait]
impl Pollable for Read {
    async fn ready(&mut self) {
        poll_fn(|context| self.0.poll_ready(context)).await;
    }
}

#[async_trait]
impl InputStream for Read {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.0.take(size).map(Bytes::from).map_err(stopped)
    }
}

/// An output stream of the library's.
struct Written(Output);

#[async_trait]
impl Pollable for Written {
    async fn ready(&mut self) {
        poll_fn(|context| self.0.poll_ready(context)).await;
    }
}

#[async_trait]
impl OutputStream for Written {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        match self.0.write(bytes.into()).map_err(stopped)? {
            true => Ok(()),
            false => Err(StreamError::trap("more is written than `check-write` allows")),
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        // Nothing waits to be written but what is under way.
        self.0.room().map(drop).map_err(stopped)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.room().map_err(stopped)
    }
}

fn stopped(stopped: Stopped) -> StreamError {
    match stopped {
        Stopped::Closed => StreamError::Closed,
        Stopped::Failed(refused) => StreamError::LastOperationFailed(wasmtime::Error::new(refused)),
        Stopped::Ended(error) => StreamError::Trap(wasmtime::Error::new(error)),
    }
}

fn stat(known: &FileStat) -> types::DescriptorStat {
    types::DescriptorStat {
        type_: kind(known.kind),
        link_count: known.links,
        size: known.size,
        data_access_timestamp: known.accessed.and_then(datetime),
        data_modification_timestamp: known.modified.and_then(datetime),
        status_change_timestamp: known.changed.and_then(datetime),
    }
}

fn hash(known: &FileStat) -> types::MetadataHashValue {
    types::MetadataHashValue { lower: known.identity as u64, upper: (known.identity >> 64) as u64 }
}

/// None before 1970, which WASI cannot say.
fn datetime(time: SystemTime) -> Option<Datetime> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(Datetime { seconds: since.as_secs(), nanoseconds: since.subsec_nanos() })
}

fn new_time(time: types::NewTimestamp) -> FsResult<NewTime> {
    match time {
        types::NewTimestamp::NoChange => Ok(NewTime::NoChange),
        types::NewTimestamp::Now => Ok(NewTime::Now),
        types::NewTimestamp::Timestamp(Datetime { seconds, nanoseconds }) if nanoseconds < 1_000_000_000 => {
            let time = UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds));
            time.map(NewTime::At).ok_or_else(|| code(FileRefusal::Overflow).into())
        }
        types::NewTimestamp::Timestamp(_) => Err(code(FileRefusal::Invalid).into()),
    }
}

fn kind(kind: FileKind) -> types::DescriptorType {
    match kind {
        FileKind::Unknown => types::DescriptorType::Unknown,
        FileKind::BlockDevice => types::DescriptorType::BlockDevice,
        FileKind::CharacterDevice => types::DescriptorType::CharacterDevice,
        FileKind::Directory => types::DescriptorType::Directory,
        FileKind::Fifo => types::DescriptorType::Fifo,
        FileKind::SymbolicLink => types::DescriptorType::SymbolicLink,
        FileKind::RegularFile => types::DescriptorType::RegularFile,
        FileKind::Socket => types::DescriptorType::Socket,
    }
}

fn code(refused: FileRefusal) -> types::ErrorCode {
    match refused {
        FileRefusal::Access => types::ErrorCode::Access,
        FileRefusal::WouldBlock => types::ErrorCode::WouldBlock,
        FileRefusal::Already => types::ErrorCode::Already,
        FileRefusal::BadDescriptor => types::ErrorCode::BadDescriptor,
        FileRefusal::Busy => types::ErrorCode::Busy,
        FileRefusal::Deadlock => types::ErrorCode::Deadlock,
        FileRefusal::Quota => types::ErrorCode::Quota,
        FileRefusal::Exist => types::ErrorCode::Exist,
        FileRefusal::FileTooLarge => types::ErrorCode::FileTooLarge,
        FileRefusal::IllegalByteSequence => types::ErrorCode::IllegalByteSequence,
        FileRefusal::InProgress => types::ErrorCode::InProgress,
        FileRefusal::Interrupted => types::ErrorCode::Interrupted,
        FileRefusal::Invalid => types::ErrorCode::Invalid,
        FileRefusal::Io => types::ErrorCode::Io,
        FileRefusal::IsDirectory => types::ErrorCode::IsDirectory,
        FileRefusal::Loop => types::ErrorCode::Loop,
        FileRefusal::TooManyLinks => types::ErrorCode::TooManyLinks,
        FileRefusal::MessageSize => types::ErrorCode::MessageSize,
        FileRefusal::NameTooLong => types::ErrorCode::NameTooLong,
        FileRefusal::NoDevice => types::ErrorCode::NoDevice,
        FileRefusal::NoEntry => types::ErrorCode::NoEntry,
        FileRefusal::NoLock => types::ErrorCode::NoLock,
        FileRefusal::InsufficientMemory => types::ErrorCode::InsufficientMemory,
        FileRefusal::InsufficientSpace => types::ErrorCode::InsufficientSpace,
        FileRefusal::NotDirectory => types::ErrorCode::NotDirectory,
        FileRefusal::NotEmpty => types::ErrorCode::NotEmpty,
        FileRefusal::NotRecoverable => types::ErrorCode::NotRecoverable,
        FileRefusal::Unsupported => types::ErrorCode::Unsupported,
        FileRefusal::NoTty => types::ErrorCode::NoTty,
        FileRefusal::NoSuchDevice => types::ErrorCode::NoSuchDevice,
        FileRefusal::Overflow => types::ErrorCode::Overflow,
        FileRefusal::NotPermitted => types::ErrorCode::NotPermitted,
        FileRefusal::Pipe => types::ErrorCode::Pipe,
        FileRefusal::ReadOnly => types::ErrorCode::ReadOnly,
        FileRefusal::InvalidSeek => types::ErrorCode::InvalidSeek,
        FileRefusal::TextFileBusy => types::ErrorCode::TextFileBusy,
        FileRefusal::CrossDevice => types::ErrorCode::CrossDevice,
    }
}
