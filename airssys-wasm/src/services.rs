//! What an instance can ask of its host, one file for each interface of the WIT package, and of WASI.

mod files;
mod logging;
mod messaging;
mod storage;
mod wasi;

pub(crate) use files::GrantedFiles;
pub(crate) use messaging::{PendingRequests, counted};
pub(crate) use wasi::{Offered, offered};
