//! Text of guests in messages for people, and the errors that every engine words alike.

use std::any::Any;

use airssys_wasm_core::error::{Detail, ErrorKind, FailureCode, TrapKind, WasmError};

/// The most characters of a text that a guest wrote into an error.
const MAX_TEXT: usize = 1024;

/// Text of a guest, for people: no control characters, and not without end.
pub fn escaped(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most));
    for (position, character) in text.chars().enumerate() {
        if position == most {
            out.push('…');
            break;
        }
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// The text of a failure that a guest returned.
pub fn guest_text(text: &str) -> String {
    escaped(text, MAX_TEXT)
}

/// A deadline that passed.
pub fn timeout(operation: &'static str) -> WasmError {
    WasmError::new(ErrorKind::ExecutionTimeout, operation)
}

/// A panic in a function of the host.
pub fn of_panic(operation: &'static str, panic: &(dyn Any + Send)) -> WasmError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    WasmError::trapped(operation, TrapKind::HostFault)
        .saying("a host function panicked, and the call was ended")
        .with("panic", escaped(text, MAX_TEXT))
}

/// An interface that a component does not export.
pub fn missing(operation: &'static str, interface: &str) -> WasmError {
    WasmError::new(ErrorKind::ComponentNotFound, operation)
        .saying("the component does not export this interface")
        .with("interface", interface)
}

/// An error that a component reported about itself.
pub fn failed(operation: &'static str, code: FailureCode, message: &str) -> WasmError {
    WasmError::new(ErrorKind::ExecutionFailed, operation)
        .detailed(Detail::Failure(code))
        .saying(guest_text(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_guests_are_cut_and_escaped() {
        assert_eq!(escaped("a\n\u{1b}[31mb\0", 80), "a\\n\\u{1b}[31mb\\u{0}");
        assert_eq!(escaped("abcdef", 3), "abc…");
        assert_eq!(escaped("äöü", 3), "äöü");
    }
}
