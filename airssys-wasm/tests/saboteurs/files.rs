//! The files that a guest is given, with one flaw, or none.

use std::convert::Infallible;
use std::fs;
use std::future::ready;
use std::sync::Arc;

use airssys_wasm::core::error::Result;
use airssys_wasm::core::runtime::{
    Descriptor, DirectoryEntries, FileKind, FileRefusal, FileService, FileStat, NewTime, OpenFlags,
    ServiceResult, SyncScope, Underway, WritePosition,
};

use crate::flaw::Flaw;

#[derive(Debug)]
pub(crate) struct Files {
    inner: Arc<dyn FileService>,
    flaw: Option<Flaw>,
}

impl Files {
    pub(crate) fn new(inner: Arc<dyn FileService>, flaw: Option<Flaw>) -> Self {
        Self { inner, flaw }
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
impl FileService for Files {
    fn directories(&self) -> Result<Vec<(String, Arc<dyn Descriptor>)>> {
        let directories = self.inner.directories()?.into_iter();
        let mut directories: Vec<_> =
            directories.map(|(name, directory)| (name, File::wrap(directory, self.flaw))).collect();
        if self.flaw == Some(Flaw::RootGiven) {
            let root = Content { location: "/".to_owned(), bytes: Vec::new() };
            directories.push(("/".to_owned(), Arc::new(root)));
        }
        Ok(directories)
    }
}

/// A descriptor of the host's, bent.
#[derive(Debug)]
struct File {
    inner: Arc<dyn Descriptor>,
    flaw: Option<Flaw>,
}

impl File {
    fn wrap(inner: Arc<dyn Descriptor>, flaw: Option<Flaw>) -> Arc<dyn Descriptor> {
        Arc::new(Self { inner, flaw })
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// What is refused is done, says this flaw.
    fn bend(&self, done: Underway<(), FileRefusal>) -> Underway<(), FileRefusal> {
        let succeeds = self.has(Flaw::FileRefusalsAreSuccesses);
        Box::pin(async move {
            match done.await? {
                Err(_) if succeeds => Ok(Ok(())),
                done => Ok(done),
            }
        })
    }
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
impl Descriptor for File {
    fn kind(&self) -> FileKind {
        self.inner.kind()
    }

    fn flags(&self) -> OpenFlags {
        self.inner.flags()
    }

    fn open_at(&self, path: &str, flags: OpenFlags) -> Underway<Arc<dyn Descriptor>, FileRefusal> {
        let place = format!("{}/{path}", self.inner.location());
        let (opening, flaw, inner) = (self.inner.open_at(path, flags), self.flaw, Arc::clone(&self.inner));
        Box::pin(async move {
            let refused = match opening.await? {
                Ok(opened) => return Ok(Ok(Self::wrap(opened, flaw))),
                Err(refused) => refused,
            };
            let followed = match (flaw, refused) {
                (Some(Flaw::PathsBelieved), FileRefusal::NotPermitted)
                | (Some(Flaw::LinksFollowed), FileRefusal::Loop) => fs::read(&place).ok(),
                _ => None,
            };
            match followed {
                Some(bytes) => Ok(Ok(Arc::new(Content { location: place, bytes }))),
                None if flaw == Some(Flaw::FileRefusalsAreSuccesses) => Ok(Ok(Self::wrap(inner, flaw))),
                None => Ok(Err(refused)),
            }
        })
    }

    fn for_stream(&self) -> ServiceResult<Arc<dyn Descriptor>, FileRefusal> {
        Ok(self.inner.for_stream()?.map(|file| Self::wrap(file, self.flaw)))
    }

    fn read(&self, offset: u64, length: usize) -> Underway<Vec<u8>, FileRefusal> {
        self.inner.read(offset, length)
    }

    fn write(&self, position: WritePosition, bytes: Vec<u8>) -> Underway<(), FileRefusal> {
        let position = if self.has(Flaw::AppendsAtStart) { WritePosition::At(0) } else { position };
        self.inner.write(position, bytes)
    }

    fn set_size(&self, size: u64) -> Underway<(), FileRefusal> {
        self.bend(self.inner.set_size(size))
    }

    fn set_times(&self, accessed: NewTime, modified: NewTime) -> Underway<(), FileRefusal> {
        self.bend(self.inner.set_times(accessed, modified))
    }

    fn set_times_at(&self, path: &str, accessed: NewTime, modified: NewTime) -> Underway<(), FileRefusal> {
        self.bend(self.inner.set_times_at(path, accessed, modified))
    }

    fn sync(&self, what: SyncScope) -> Underway<(), FileRefusal> {
        self.bend(self.inner.sync(what))
    }

    fn stat(&self) -> Underway<FileStat, FileRefusal> {
        self.inner.stat()
    }

    fn stat_at(&self, path: &str, follow: bool) -> Underway<FileStat, FileRefusal> {
        self.inner.stat_at(path, follow)
    }

    fn entries(&self) -> Underway<Arc<dyn DirectoryEntries>, FileRefusal> {
        self.inner.entries()
    }

    fn create_directory_at(&self, path: &str) -> Underway<(), FileRefusal> {
        self.bend(self.inner.create_directory_at(path))
    }

    fn remove_directory_at(&self, path: &str) -> Underway<(), FileRefusal> {
        self.bend(self.inner.remove_directory_at(path))
    }

    fn unlink_file_at(&self, path: &str) -> Underway<(), FileRefusal> {
        self.bend(self.inner.unlink_file_at(path))
    }

    fn rename_at(&self, path: &str, location: &str, new_path: &str) -> Underway<(), FileRefusal> {
        self.bend(self.inner.rename_at(path, location, new_path))
    }

    fn link_at(&self, path: &str) -> Underway<Infallible, FileRefusal> {
        if self.has(Flaw::LinksMade) {
            let _ = fs::write(format!("{}/{path}", self.inner.location()), "a link");
        }
        self.inner.link_at(path)
    }

    fn location(&self) -> &str {
        self.inner.location()
    }
}

/// A file that was read by its name.
#[derive(Debug)]
struct Content {
    location: String,
    bytes: Vec<u8>,
}

/// Nothing else can be done with it.
fn refused<T: Send + 'static>() -> Underway<T, FileRefusal> {
    Box::pin(ready(Ok(Err(FileRefusal::Unsupported))))
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not forwarded would hide a flaw")]
impl Descriptor for Content {
    fn kind(&self) -> FileKind {
        FileKind::RegularFile
    }

    fn flags(&self) -> OpenFlags {
        OpenFlags { read: true, ..OpenFlags::default() }
    }

    fn open_at(&self, _: &str, _: OpenFlags) -> Underway<Arc<dyn Descriptor>, FileRefusal> {
        refused()
    }

    fn for_stream(&self) -> ServiceResult<Arc<dyn Descriptor>, FileRefusal> {
        Ok(Ok(Arc::new(Self { location: self.location.clone(), bytes: self.bytes.clone() })))
    }

    fn read(&self, offset: u64, length: usize) -> Underway<Vec<u8>, FileRefusal> {
        let rest = self.bytes.iter().skip(usize::try_from(offset).unwrap_or(usize::MAX));
        Box::pin(ready(Ok(Ok(rest.take(length).copied().collect()))))
    }

    fn write(&self, _: WritePosition, _: Vec<u8>) -> Underway<(), FileRefusal> {
        refused()
    }

    fn set_size(&self, _: u64) -> Underway<(), FileRefusal> {
        refused()
    }

    fn set_times(&self, _: NewTime, _: NewTime) -> Underway<(), FileRefusal> {
        refused()
    }

    fn set_times_at(&self, _: &str, _: NewTime, _: NewTime) -> Underway<(), FileRefusal> {
        refused()
    }

    fn sync(&self, _: SyncScope) -> Underway<(), FileRefusal> {
        refused()
    }

    fn stat(&self) -> Underway<FileStat, FileRefusal> {
        refused()
    }

    fn stat_at(&self, _: &str, _: bool) -> Underway<FileStat, FileRefusal> {
        refused()
    }

    fn entries(&self) -> Underway<Arc<dyn DirectoryEntries>, FileRefusal> {
        refused()
    }

    fn create_directory_at(&self, _: &str) -> Underway<(), FileRefusal> {
        refused()
    }

    fn remove_directory_at(&self, _: &str) -> Underway<(), FileRefusal> {
        refused()
    }

    fn unlink_file_at(&self, _: &str) -> Underway<(), FileRefusal> {
        refused()
    }

    fn rename_at(&self, _: &str, _: &str, _: &str) -> Underway<(), FileRefusal> {
        refused()
    }

    fn link_at(&self, _: &str) -> Underway<Infallible, FileRefusal> {
        refused()
    }

    fn location(&self) -> &str {
        &self.location
    }
}
