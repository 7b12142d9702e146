//! `wasi:filesystem`: the directories that an instance starts from.

use std::collections::BTreeSet;
use std::sync::Arc;

use airssys_wasm_core::capability::Capability;
use airssys_wasm_core::error::Result;
use airssys_wasm_core::runtime::{Descriptor, FileService};

use crate::files::FileDescriptor;
use crate::instance::InstanceContext;

/// What an instance was granted of files.
#[derive(Debug)]
pub(crate) struct GrantedFiles(pub(crate) Arc<InstanceContext>);

impl FileService for GrantedFiles {
    /// One for each grant of files: the longest directory that the grant is about, by its own path.
    fn directories(&self) -> Result<Vec<(String, Arc<dyn Descriptor>)>> {
        let instance = &self.0;
        instance.count_host_call()?;
        let granted = instance.grants.snapshot();
        let paths: BTreeSet<&str> = granted
            .iter()
            .filter_map(|capability| match capability {
                Capability::FileRead(pattern) | Capability::FileWrite(pattern) => Some(pattern.base()),
                _ => None,
            })
            .collect();
        let directory = |path: &str| {
            let descriptor = FileDescriptor::granted(instance, path);
            (path.to_owned(), Arc::new(descriptor) as Arc<dyn Descriptor>)
        };
        Ok(paths.into_iter().map(directory).collect())
    }
}
