//! `wasi:sockets`: there is a network to name, and nothing can be done with it.

use airssys_wasm_core::error::Result;
use airssys_wasm_core::runtime::Value;

use super::arguments::Arguments;
use super::table::{Resource, invalid};
use super::{Function, Wasi, err, never_given};

const TCP_METHODS: &[&str] = &[
    "[method]tcp-socket.start-bind",
    "[method]tcp-socket.finish-bind",
    "[method]tcp-socket.start-connect",
    "[method]tcp-socket.finish-connect",
    "[method]tcp-socket.start-listen",
    "[method]tcp-socket.finish-listen",
    "[method]tcp-socket.accept",
    "[method]tcp-socket.local-address",
    "[method]tcp-socket.remote-address",
    "[method]tcp-socket.is-listening",
    "[method]tcp-socket.address-family",
    "[method]tcp-socket.set-listen-backlog-size",
    "[method]tcp-socket.keep-alive-enabled",
    "[method]tcp-socket.set-keep-alive-enabled",
    "[method]tcp-socket.keep-alive-idle-time",
    "[method]tcp-socket.set-keep-alive-idle-time",
    "[method]tcp-socket.keep-alive-interval",
    "[method]tcp-socket.set-keep-alive-interval",
    "[method]tcp-socket.keep-alive-count",
    "[method]tcp-socket.set-keep-alive-count",
    "[method]tcp-socket.hop-limit",
    "[method]tcp-socket.set-hop-limit",
    "[method]tcp-socket.receive-buffer-size",
    "[method]tcp-socket.set-receive-buffer-size",
    "[method]tcp-socket.send-buffer-size",
    "[method]tcp-socket.set-send-buffer-size",
    "[method]tcp-socket.subscribe",
    "[method]tcp-socket.shutdown",
];

const UDP_METHODS: &[&str] = &[
    "[method]udp-socket.start-bind",
    "[method]udp-socket.finish-bind",
    "[method]udp-socket.stream",
    "[method]udp-socket.local-address",
    "[method]udp-socket.remote-address",
    "[method]udp-socket.address-family",
    "[method]udp-socket.unicast-hop-limit",
    "[method]udp-socket.set-unicast-hop-limit",
    "[method]udp-socket.receive-buffer-size",
    "[method]udp-socket.set-receive-buffer-size",
    "[method]udp-socket.send-buffer-size",
    "[method]udp-socket.set-send-buffer-size",
    "[method]udp-socket.subscribe",
    "[method]incoming-datagram-stream.receive",
    "[method]incoming-datagram-stream.subscribe",
    "[method]outgoing-datagram-stream.check-send",
    "[method]outgoing-datagram-stream.send",
    "[method]outgoing-datagram-stream.subscribe",
];

const LOOKUP_METHODS: &[&str] =
    &["[method]resolve-address-stream.resolve-next-address", "[method]resolve-address-stream.subscribe"];

pub(super) fn find(interface: &str, function: &str) -> Option<Function> {
    let found: Function = match (interface, function) {
        ("instance-network", "instance-network") => {
            |wasi, _| wasi.give("instance-network.instance-network", Resource::Network).into()
        }
        ("tcp-create-socket", "create-tcp-socket") | ("udp-create-socket", "create-udp-socket") => {
            |_, _| Ok(error_code("access-denied")).into()
        }
        ("ip-name-lookup", "resolve-addresses") => |wasi, arguments| {
            resolve(wasi, Arguments::of("ip-name-lookup.resolve-addresses", arguments)).into()
        },
        ("tcp", method) if TCP_METHODS.contains(&method) => |_, _| never_given("sockets.tcp"),
        ("udp", method) if UDP_METHODS.contains(&method) => |_, _| never_given("sockets.udp"),
        ("ip-name-lookup", method) if LOOKUP_METHODS.contains(&method) => {
            |_, _| never_given("sockets.ip-name-lookup")
        }
        _ => return None,
    };
    Some(found)
}

/// Answers as Wasmtime does, to which a lookup that is not allowed is a failure for good.
fn resolve(wasi: &Wasi, mut arguments: Arguments) -> Result<Value> {
    let rep = arguments.rep()?;
    match wasi.table.borrow_mut().get(arguments.operation, rep)? {
        Resource::Network => Ok(error_code("permanent-resolver-failure")),
        _ => Err(invalid(arguments.operation, "the resource is not a network")),
    }
}

fn error_code(code: &str) -> Value {
    err(Value::Enum(code.into()))
}
