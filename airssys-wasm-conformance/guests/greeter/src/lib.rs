//! The smallest component that is configured: the payload is a name, the reply greets it.
//!
//! The configuration key `greeting` replaces `Hello`.

wit_bindgen::generate!({ path: "../../../wit", world: "guest" });

use std::sync::OnceLock;

use airssys::core::types::FailureCode;
use exports::airssys::core::component::{Body, ComponentMetadata, Failure, Guest, Message};

static GREETING: OnceLock<String> = OnceLock::new();

struct Greeter;

impl Guest for Greeter {
    fn init(config: Vec<(String, String)>) -> Result<(), Failure> {
        let configured = config.into_iter().find(|(key, _)| key == "greeting").map(|(_, value)| value);
        GREETING.get_or_init(|| configured.unwrap_or_else(|| "Hello".to_owned()));
        Ok(())
    }

    fn execute(message: Message) -> Result<Body, Failure> {
        let name = String::from_utf8(message.body.payload)
            .map_err(|_| invalid_input("a name is UTF-8 text, and the payload is not"))?;
        if name.is_empty() {
            return Err(invalid_input("the payload is empty, and there is nobody to greet"));
        }
        let greeting = GREETING.get().map_or("Hello", String::as_str);
        Ok(Body {
            content_type: Some("text/plain".to_owned()),
            payload: format!("{greeting}, {name}!").into_bytes(),
        })
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

fn invalid_input(message: &str) -> Failure {
    Failure { code: FailureCode::InvalidInput, message: message.to_owned() }
}

export!(Greeter);
