//! Imports WASI, and reports how much of the world it was given.
//!
//! The payload is `clock` (replies with the seconds since the Unix epoch), `environment` (with the environment variables),
//! `arguments` (with the arguments) or `directories` (with the number of directories that are open to it). Lists are separated by
//! spaces. A host that gives nothing has no variables and arguments, and no directories.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "airssys:wasi-clock/wasi-guest",
    generate_all,
});

use airssys::core::types::FailureCode;
use exports::airssys::core::component::{Body, ComponentMetadata, Failure, Guest, Message};
use wasi::cli::environment;
use wasi::clocks::wall_clock;
use wasi::filesystem::preopens;

struct WasiClock;

fn pairs(pairs: Vec<(String, String)>) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

impl Guest for WasiClock {
    fn init(_config: Vec<(String, String)>) -> Result<(), Failure> {
        Ok(())
    }

    fn execute(message: Message) -> Result<Body, Failure> {
        let reply = match message.body.payload.as_slice() {
            b"clock" => wall_clock::now().seconds.to_string(),
            b"environment" => pairs(environment::get_environment()),
            b"arguments" => environment::get_arguments().join(" "),
            b"directories" => preopens::get_directories().len().to_string(),
            _ => {
                return Err(Failure {
                    code: FailureCode::InvalidInput,
                    message: "the payload is none of `clock`, `environment`, `arguments`, `directories`"
                        .to_owned(),
                });
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

export!(WasiClock);
