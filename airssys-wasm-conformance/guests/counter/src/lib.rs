//! A counter whose count lives in storage, and so outlives the instance.
//!
//! The payload is a command: `increment`, `add N`, `get`, `set N` or `reset`. The reply is the count, as text; to `set N` it is
//! the count that was there before.
//! `fail-after-write` and `trap-after-write` increment and then do not return ok: the count must stay what it was.

wit_bindgen::generate!({ path: "../../../wit", world: "guest" });

use airssys::core::storage::{self, StorageError};
use airssys::core::types::FailureCode;
use exports::airssys::core::component::{Body, ComponentMetadata, Failure, Guest, Message};

const COUNT: &[u8] = b"count";
const COMMANDS: &str = "increment, add N, get, set N, reset, fail-after-write, trap-after-write";

struct Counter;

impl Guest for Counter {
    fn init(_config: Vec<(String, String)>) -> Result<(), Failure> {
        Ok(())
    }

    fn execute(message: Message) -> Result<Body, Failure> {
        let command = String::from_utf8_lossy(&message.body.payload);
        let count = match command.trim() {
            "increment" => add(1)?,
            "get" => read()?,
            "reset" => write(0)?,
            "fail-after-write" => {
                let count = add(1)?;
                return Err(failure(FailureCode::Internal, format!("wrote {count}, then failed as asked")));
            }
            "trap-after-write" => {
                let count = add(1)?;
                panic!("wrote {count}, then trapped as asked");
            }
            other => match (number_after("add ", other), number_after("set ", other)) {
                (Some(amount), _) => add(amount)?,
                (_, Some(count)) => replace(count)?,
                (None, None) => {
                    let text = format!("`{other}` is not a command; the commands are: {COMMANDS}");
                    return Err(failure(FailureCode::InvalidInput, text));
                }
            },
        };
        Ok(Body { content_type: Some("text/plain".to_owned()), payload: count.to_string().into_bytes() })
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

fn number_after(word: &str, command: &str) -> Option<i64> {
    command.strip_prefix(word)?.trim().parse().ok()
}

fn add(amount: i64) -> Result<i64, Failure> {
    let count = read()?;
    let sum = count.checked_add(amount).ok_or_else(|| {
        failure(FailureCode::InvalidInput, format!("{count} and {amount} are more than a counter can hold"))
    })?;
    write(sum)
}

/// The count; a counter that was never written stands at zero.
fn read() -> Result<i64, Failure> {
    storage::get(COUNT).map_err(from_storage)?.map_or(Ok(0), |stored| parse(&stored))
}

/// Sets the count; the one that was there before.
fn replace(count: i64) -> Result<i64, Failure> {
    let evicted = storage::replace(COUNT, count.to_string().as_bytes()).map_err(from_storage)?;
    evicted.map_or(Ok(0), |stored| parse(&stored))
}

fn parse(stored: &[u8]) -> Result<i64, Failure> {
    str::from_utf8(stored)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| failure(FailureCode::Internal, "the key `count` does not hold a number".to_owned()))
}

fn write(count: i64) -> Result<i64, Failure> {
    storage::set(COUNT, count.to_string().as_bytes()).map_err(from_storage)?;
    Ok(count)
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

fn failure(code: FailureCode, message: String) -> Failure {
    Failure { code, message }
}

export!(Counter);
