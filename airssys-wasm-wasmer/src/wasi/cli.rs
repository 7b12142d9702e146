//! `wasi:cli`: the environment and arguments of the instance, no terminal; an input that is at its end, and outputs that are logged.

use airssys_wasm_core::error::{TrapKind, WasmError};
use airssys_wasm_core::runtime::Value;

use super::arguments::Arguments;
use super::table::{Input, Output, Resource};
use super::{Answer, Function};

pub(super) fn find(interface: &str, function: &str) -> Option<Function> {
    let found: Function = match (interface, function) {
        ("environment", "get-environment") => |wasi, _| {
            let pair = |(name, value): (&str, &str)| {
                Value::Tuple(vec![Value::String(name.into()), Value::String(value.into())])
            };
            Ok(Value::List(wasi.environment.variables().map(pair).collect())).into()
        },
        ("environment", "get-arguments") => |wasi, _| {
            let arguments = wasi.environment.arguments().map(|argument| Value::String(argument.into()));
            Ok(Value::List(arguments.collect())).into()
        },
        ("environment", "initial-cwd")
        | ("terminal-stdin", "get-terminal-stdin")
        | ("terminal-stdout", "get-terminal-stdout")
        | ("terminal-stderr", "get-terminal-stderr") => |_, _| Ok(Value::Option(None)).into(),
        ("exit", "exit") => |_, arguments| {
            let is_ok = Arguments::of("exit.exit", arguments).is_ok();
            Answer::Now(is_ok.and_then(|is_ok| Err(exit("exit.exit", u8::from(!is_ok)))))
        },
        ("exit", "exit-with-code") => |_, arguments| {
            let status = Arguments::of("exit.exit-with-code", arguments).u8();
            Answer::Now(status.and_then(|status| Err(exit("exit.exit-with-code", status))))
        },
        ("stdin", "get-stdin") => {
            |wasi, _| wasi.give("stdin.get-stdin", Resource::InputStream(Input::Empty)).into()
        }
        ("stdout", "get-stdout") => {
            |wasi, _| wasi.give("stdout.get-stdout", Resource::OutputStream(Output::Stdout)).into()
        }
        ("stderr", "get-stderr") => {
            |wasi, _| wasi.give("stderr.get-stderr", Resource::OutputStream(Output::Stderr)).into()
        }
        _ => return None,
    };
    Some(found)
}

fn exit(operation: &'static str, status: u8) -> WasmError {
    WasmError::trapped(operation, TrapKind::Other)
        .saying("the component asked to exit, and a component of this host is not a program")
        .with("status", status)
}
