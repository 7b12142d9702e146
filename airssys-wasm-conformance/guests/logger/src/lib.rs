//! Writes every message it is given to the log, and counts them.
//!
//! The configuration key `level` names the level of its lines (`info` unless configured), and `subscribe` a topic
//! pattern that it subscribes to when it starts. The count lives in storage under `seen`; every reply is the count.

wit_bindgen::generate!({ path: "../../../wit", world: "guest" });

use std::fmt::Write;
use std::sync::OnceLock;

use airssys::core::logging::{self, Level};
use airssys::core::messaging::{self, MessagingError};
use airssys::core::storage::{self, StorageError};
use airssys::core::types::{FailureCode, Sender};
use exports::airssys::core::component::{Body, ComponentMetadata, Failure, Guest, Message};

const SEEN: &[u8] = b"seen";
/// How many bytes of a payload that is not text are shown.
const HEX_PREFIX: usize = 32;

static LEVEL: OnceLock<Level> = OnceLock::new();

struct Logger;

impl Guest for Logger {
    fn init(config: Vec<(String, String)>) -> Result<(), Failure> {
        for (key, value) in config {
            match key.as_str() {
                "level" => {
                    let level = parse_level(&value)?;
                    LEVEL.get_or_init(|| level);
                }
                "subscribe" => messaging::subscribe(&value).map_err(from_messaging)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn execute(message: Message) -> Result<Body, Failure> {
        logging::log(LEVEL.get().copied().unwrap_or(Level::Info), &describe(&message));
        let seen = seen()? + 1;
        storage::set(SEEN, seen.to_string().as_bytes()).map_err(from_storage)?;
        Ok(Body { content_type: Some("text/plain".to_owned()), payload: seen.to_string().into_bytes() })
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

/// One line: who sent the message, on which topic, what it is, how long, and the payload.
fn describe(message: &Message) -> String {
    let sender = match &message.sender {
        Sender::Host => "the host",
        Sender::Component(id) => id,
    };
    let payload = &message.body.payload;
    let mut line = format!("from {sender}");
    if let Some(topic) = &message.topic {
        line += &format!(" on {topic}");
    }
    let content_type = message.body.content_type.as_deref().unwrap_or("plain bytes");
    line += &format!(", {content_type}, {} bytes: ", payload.len());
    match str::from_utf8(payload) {
        Ok(text) => line += text,
        Err(_) => {
            line += "0x";
            for byte in payload.iter().take(HEX_PREFIX) {
                write!(line, "{byte:02x}").expect("writing to a string does not fail");
            }
            if payload.len() > HEX_PREFIX {
                line += "...";
            }
        }
    }
    line
}

fn seen() -> Result<u64, Failure> {
    let Some(stored) = storage::get(SEEN).map_err(from_storage)? else { return Ok(0) };
    str::from_utf8(&stored)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| failure(FailureCode::Internal, "the key `seen` does not hold a number".to_owned()))
}

fn parse_level(name: &str) -> Result<Level, Failure> {
    match name {
        "trace" => Ok(Level::Trace),
        "debug" => Ok(Level::Debug),
        "info" => Ok(Level::Info),
        "warn" => Ok(Level::Warn),
        "error" => Ok(Level::Error),
        _ => Err(failure(
            FailureCode::InvalidInput,
            format!("`level` is `{name}`; the levels are: trace, debug, info, warn, error"),
        )),
    }
}

fn from_storage(error: StorageError) -> Failure {
    match error {
        StorageError::Denied(text) => failure(FailureCode::Denied, text),
        StorageError::QuotaExceeded(text) | StorageError::Unavailable(text) => {
            failure(FailureCode::Unavailable, text)
        }
        StorageError::TooLarge(text) | StorageError::InvalidCursor(text) => {
            failure(FailureCode::Internal, text)
        }
    }
}

fn from_messaging(error: MessagingError) -> Failure {
    match error {
        MessagingError::Denied(text) => failure(FailureCode::Denied, text),
        MessagingError::InvalidAddress(text) => failure(FailureCode::InvalidInput, text),
        other => failure(FailureCode::Unavailable, format!("the subscription failed: {other}")),
    }
}

fn failure(code: FailureCode, message: String) -> Failure {
    Failure { code, message }
}

export!(Logger);
