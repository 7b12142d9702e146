//! Talks to other components in every way the host offers.
//!
//! A payload that starts with one of these words is a command:
//!
//! - `send TARGET TEXT` sends without waiting; the reply is the id of the message.
//! - `send-then-fail TARGET TEXT` does the same and then returns a failure: nothing may arrive.
//! - `publish TOPIC TEXT` sends to every subscriber; the reply is the id of the message.
//! - `subscribe PATTERN` and `unsubscribe PATTERN`; the reply to the latter is `true` or `false`.
//! - `ask-async TARGET TEXT` asks without waiting; the reply is the id of the request.
//! - `cancel` gives up on the latest such request, `cancel ID` on the one named; the reply is `true` or `false`.
//! - `last-reply` replies with the latest answer that arrived through `replies.handle-reply`.
//!
//! Everything else is passed on, unchanged, to the component that the configuration key `target` names, and the reply
//! quotes its answer. `timeout-ms` limits the wait of every request; it is one second unless configured.
//!
//! Ids are written as two hexadecimal numbers, `<high>-<low>`. An asynchronous answer is stored under `reply/<id>` and
//! under `last-reply`; an error is stored as `error: ` and its text.

wit_bindgen::generate!({ path: "../../../wit", world: "guest-with-replies" });

use std::sync::OnceLock;

use airssys::core::messaging::{self, MessagingError};
use airssys::core::storage::{self, StorageError};
use airssys::core::types::{FailureCode, MessageId};
use exports::airssys::core::component::{self, Body, ComponentMetadata, Failure, Message};
use exports::airssys::core::replies;

const LAST_REQUEST: &[u8] = b"last-request";
const LAST_REPLY: &[u8] = b"last-reply";

static SETTINGS: OnceLock<Settings> = OnceLock::new();

struct Settings {
    target: Option<String>,
    timeout_ms: u32,
}

impl Settings {
    fn parse(config: Vec<(String, String)>) -> Result<Self, Failure> {
        let mut settings = Self { target: None, timeout_ms: 1000 };
        for (key, value) in config {
            match key.as_str() {
                "target" => settings.target = Some(value),
                "timeout-ms" => {
                    settings.timeout_ms = value.parse().map_err(|_| {
                        invalid_input(format!(
                            "`timeout-ms` is `{value}`, which is not a number of milliseconds"
                        ))
                    })?;
                }
                _ => {}
            }
        }
        Ok(settings)
    }

    fn current() -> &'static Self {
        SETTINGS.get_or_init(|| Self { target: None, timeout_ms: 1000 })
    }
}

struct Relay;

impl component::Guest for Relay {
    fn init(config: Vec<(String, String)>) -> Result<(), Failure> {
        let settings = Settings::parse(config)?;
        SETTINGS.get_or_init(|| settings);
        Ok(())
    }

    fn execute(message: Message) -> Result<Body, Failure> {
        let Ok(line) = str::from_utf8(&message.body.payload) else { return relay(&message.body) };
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        match command {
            "send" => send(rest).map(text),
            "send-then-fail" => {
                let id = send(rest)?;
                Err(failure(FailureCode::Internal, format!("sent {id}, then failed as asked")))
            }
            "publish" => publish(rest).map(text),
            "subscribe" => {
                messaging::subscribe(rest).map_err(|error| from_messaging(rest, error))?;
                Ok(text(format!("subscribed to {rest}")))
            }
            "unsubscribe" => {
                let was_subscribed =
                    messaging::unsubscribe(rest).map_err(|error| from_messaging(rest, error))?;
                Ok(text(was_subscribed.to_string()))
            }
            "ask-async" => ask_async(rest).map(text),
            "cancel" => cancel(rest).map(text),
            "last-reply" => last_reply(),
            _ => relay(&message.body),
        }
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

impl replies::Guest for Relay {
    fn handle_reply(request: MessageId, outcome: Result<Body, MessagingError>) -> Result<(), Failure> {
        let answer = match outcome {
            Ok(body) => body.payload,
            Err(error) => format!("error: {}", describe(&error)).into_bytes(),
        };
        storage::set(format!("reply/{}", write_id(request)).as_bytes(), &answer).map_err(from_storage)?;
        storage::set(LAST_REPLY, &answer).map_err(from_storage)
    }
}

/// Asks the configured target and quotes its answer.
fn relay(body: &Body) -> Result<Body, Failure> {
    let settings = Settings::current();
    let target = settings.target.as_deref().ok_or_else(|| {
        invalid_input("the configuration names no `target`, and the payload is not a command".to_owned())
    })?;
    let answer = messaging::request(target, body, settings.timeout_ms)
        .map_err(|error| from_messaging(target, error))?;
    let mut quoted = format!("{} heard from {target}: ", messaging::self_id()).into_bytes();
    quoted.extend_from_slice(&answer.payload);
    Ok(Body { content_type: answer.content_type, payload: quoted })
}

fn send(arguments: &str) -> Result<String, Failure> {
    let (target, body) = address_and_body(arguments)?;
    let id = messaging::send(target, &body).map_err(|error| from_messaging(target, error))?;
    Ok(write_id(id))
}

fn publish(arguments: &str) -> Result<String, Failure> {
    let (topic, body) = address_and_body(arguments)?;
    let id = messaging::publish(topic, &body).map_err(|error| from_messaging(topic, error))?;
    Ok(write_id(id))
}

fn ask_async(arguments: &str) -> Result<String, Failure> {
    let (target, body) = address_and_body(arguments)?;
    let id = messaging::request_async(target, &body, Settings::current().timeout_ms)
        .map_err(|error| from_messaging(target, error))?;
    let id = write_id(id);
    storage::set(LAST_REQUEST, id.as_bytes()).map_err(from_storage)?;
    Ok(id)
}

fn cancel(argument: &str) -> Result<String, Failure> {
    let id = if argument.is_empty() {
        let stored = storage::get(LAST_REQUEST).map_err(from_storage)?;
        let stored = stored.ok_or_else(|| not_found("no request was made with `ask-async`"))?;
        String::from_utf8_lossy(&stored).into_owned()
    } else {
        argument.to_owned()
    };
    let id = read_id(&id).ok_or_else(|| {
        invalid_input(format!("`{id}` is not an id of the form `<high>-<low>`, two hexadecimal numbers"))
    })?;
    Ok(messaging::cancel(id).to_string())
}

fn last_reply() -> Result<Body, Failure> {
    let stored = storage::get(LAST_REPLY).map_err(from_storage)?;
    let payload = stored.ok_or_else(|| not_found("no answer has arrived yet"))?;
    Ok(Body { content_type: None, payload })
}

/// Splits `ADDRESS TEXT`; the text may be empty and may hold spaces.
fn address_and_body(arguments: &str) -> Result<(&str, Body), Failure> {
    let (address, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
    if address.is_empty() {
        return Err(invalid_input("the command needs an address and a text".to_owned()));
    }
    Ok((address, text(rest.to_owned())))
}

fn text(text: String) -> Body {
    Body { content_type: Some("text/plain".to_owned()), payload: text.into_bytes() }
}

fn write_id(id: MessageId) -> String {
    format!("{:016x}-{:016x}", id.high, id.low)
}

fn read_id(text: &str) -> Option<MessageId> {
    let (high, low) = text.split_once('-')?;
    Some(MessageId { high: u64::from_str_radix(high, 16).ok()?, low: u64::from_str_radix(low, 16).ok()? })
}

/// An error of the messaging interface in one line: its case, and what it says.
fn describe(error: &MessagingError) -> String {
    match error {
        MessagingError::Denied(text) => format!("denied: {text}"),
        MessagingError::InvalidAddress(text) => format!("invalid-address: {text}"),
        MessagingError::NotFound(text) => format!("not-found: {text}"),
        MessagingError::QueueFull(text) => format!("queue-full: {text}"),
        MessagingError::TooLarge(text) => format!("too-large: {text}"),
        MessagingError::Timeout => "timeout".to_owned(),
        MessagingError::Cycle(text) => format!("cycle: {text}"),
        MessagingError::Failed(failure) => format!("failed: {}", failure.message),
        MessagingError::Unavailable(text) => format!("unavailable: {text}"),
    }
}

/// What the asker is told when `address` could not be reached.
fn from_messaging(address: &str, error: MessagingError) -> Failure {
    match error {
        MessagingError::Denied(text) => failure(FailureCode::Denied, text),
        MessagingError::InvalidAddress(text) | MessagingError::TooLarge(text) => invalid_input(text),
        MessagingError::NotFound(text) => not_found(&text),
        MessagingError::QueueFull(text) | MessagingError::Unavailable(text) => {
            failure(FailureCode::Unavailable, text)
        }
        MessagingError::Timeout => {
            failure(FailureCode::Unavailable, format!("{address} did not answer within the time allowed"))
        }
        MessagingError::Cycle(text) => failure(FailureCode::Internal, text),
        MessagingError::Failed(theirs) => failure(theirs.code, format!("{address}: {}", theirs.message)),
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

fn invalid_input(message: String) -> Failure {
    failure(FailureCode::InvalidInput, message)
}

fn not_found(message: &str) -> Failure {
    failure(FailureCode::NotFound, message.to_owned())
}

fn failure(code: FailureCode, message: String) -> Failure {
    Failure { code, message }
}

export!(Relay);
