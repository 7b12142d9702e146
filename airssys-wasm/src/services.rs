//! What an instance can ask of its host, one file for each interface of the WIT package.

mod logging;
mod messaging;
mod storage;

pub(crate) use messaging::{PendingRequests, counted};
