//! Reads its configuration and writes to its log by the interfaces that WASI proposes for that.
//!
//! The payload is `config KEY` (replies with the value of that key, or `none`), `config` (with every key and value, separated by
//! spaces) or `log TEXT` (which is logged as critical, in the context `guest`).

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "airssys:wasi-proposals/proposals-guest",
    generate_all,
});

use airssys::core::types::FailureCode;
use exports::airssys::core::component::{Body, ComponentMetadata, Failure, Guest, Message};
use wasi::config::store;
use wasi::logging::logging;

struct WasiProposals;

fn pairs(pairs: Vec<(String, String)>) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn broken(error: store::Error) -> Failure {
    let (store::Error::Upstream(message) | store::Error::Io(message)) = error;
    Failure { code: FailureCode::Unavailable, message }
}

impl Guest for WasiProposals {
    fn init(_config: Vec<(String, String)>) -> Result<(), Failure> {
        Ok(())
    }

    fn execute(message: Message) -> Result<Body, Failure> {
        let payload = String::from_utf8_lossy(&message.body.payload);
        let (command, argument) = payload.split_once(' ').unwrap_or((&payload, ""));
        let reply = match (command, argument) {
            ("config", "") => store::get_all().map(pairs).map_err(broken)?,
            ("config", key) => store::get(key).map_err(broken)?.unwrap_or_else(|| "none".to_owned()),
            ("log", text) => {
                logging::log(logging::Level::Critical, "guest", text);
                String::new()
            }
            _ => {
                return Err(Failure {
                    code: FailureCode::InvalidInput,
                    message: "the payload is none of the commands of this guest".to_owned(),
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

export!(WasiProposals);
