//! Returns the body it was given. The benches measure the host with it, so it does nothing else.
//!
//! Two content types make it call the host first; the payload then says how often, as a decimal number:
//! `application/x-calls` calls `logging.enabled`, `application/x-gets` calls `storage.get` for the key `k`.

wit_bindgen::generate!({ path: "../../../wit", world: "guest" });

use std::hint::black_box;

use airssys::core::logging::{self, Level};
use airssys::core::storage;
use airssys::core::types::FailureCode;
use exports::airssys::core::component::{Body, ComponentMetadata, Failure, Guest, Message};

struct Echo;

impl Guest for Echo {
    fn init(_config: Vec<(String, String)>) -> Result<(), Failure> {
        Ok(())
    }

    fn execute(message: Message) -> Result<Body, Failure> {
        match message.body.content_type.as_deref() {
            Some("application/x-calls") => {
                for _ in 0..times(&message.body.payload)? {
                    black_box(logging::enabled(Level::Info));
                }
            }
            Some("application/x-gets") => {
                for _ in 0..times(&message.body.payload)? {
                    black_box(storage::get(b"k").map_err(|_| refused("the host refused `storage.get`"))?);
                }
            }
            _ => {}
        }
        Ok(message.body)
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

fn times(payload: &[u8]) -> Result<u64, Failure> {
    str::from_utf8(payload).ok().and_then(|text| text.parse().ok()).ok_or_else(|| Failure {
        code: FailureCode::InvalidInput,
        message: "the payload is not a decimal number of calls".to_owned(),
    })
}

fn refused(message: &str) -> Failure {
    Failure { code: FailureCode::Unavailable, message: message.to_owned() }
}

export!(Echo);
