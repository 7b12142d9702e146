//! Attackers that reach for the world: files, network, threads, clocks, random numbers.

use std::fs;
use std::net::TcpListener;

use airssys_wasm::Installation;
use airssys_wasm_core::error::{Limit, LoadFault, TrapKind};

use super::{End, ZooBench, id, impatient, installation, numbered};
use crate::forged::{Forged, lower};
use crate::guests::Guest;
use crate::runner::{contracts, ensure, ensure_eq};

/// The clock of WASI, and what waits for it.
pub(super) const CLOCKS: &str = r#"(import "wasi:io/poll@0.2.6" (instance $poll
        (export "pollable" (type $pollable (sub resource)))
        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))
        (export "poll" (func (param "in" (list (borrow $pollable))) (result (list u32))))))
    (alias export $poll "pollable" (type $pollable))
    (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
        (alias outer 1 $pollable (type $outer))
        (export "pollable" (type $pollable (eq $outer)))
        (export "now" (func (result u64)))
        (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))"#;

/// Opening a file of WASI below a directory.
const FILES: &str = r#"(import "wasi:filesystem/types@0.2.6" (instance $files
        (export "descriptor" (type $descriptor (sub resource)))
        (type $error' (enum
            "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist" "file-too-large"
            "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop" "too-many-links"
            "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory" "insufficient-space"
            "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow"
            "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
        (export "error-code" (type $error (eq $error')))
        (type $at' (flags "symlink-follow"))
        (export "path-flags" (type $at (eq $at')))
        (type $open' (flags "create" "directory" "exclusive" "truncate"))
        (export "open-flags" (type $open (eq $open')))
        (type $how' (flags
            "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync" "mutate-directory"))
        (export "descriptor-flags" (type $how (eq $how')))
        (export "[method]descriptor.open-at" (func (param "self" (borrow $descriptor)) (param "path-flags" $at)
            (param "path" string) (param "open-flags" $open) (param "flags" $how)
            (result (result (own $descriptor) (error $error)))))
        (export "[method]descriptor.unlink-file-at" (func (param "self" (borrow $descriptor)) (param "path" string)
            (result (result (error $error)))))))
    (alias export $files "descriptor" (type $descriptor))
    (import "wasi:filesystem/preopens@0.2.6" (instance $preopens
        (alias outer 1 $descriptor (type $outer))
        (export "descriptor" (type $descriptor (eq $outer)))
        (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))"#;

/// Names and sockets of WASI.
const NETWORK: &str = r#"(import "wasi:sockets/network@0.2.6" (instance $network
        (export "network" (type $network (sub resource)))
        (type $error' (enum
            "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
            "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
            "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset"
            "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
            "permanent-resolver-failure"))
        (export "error-code" (type $error (eq $error')))
        (type $family' (enum "ipv4" "ipv6"))
        (export "ip-address-family" (type $family (eq $family')))))
    (alias export $network "network" (type $network))
    (alias export $network "error-code" (type $network-error))
    (alias export $network "ip-address-family" (type $family))
    (import "wasi:sockets/instance-network@0.2.6" (instance $here
        (alias outer 1 $network (type $outer))
        (export "network" (type $network (eq $outer)))
        (export "instance-network" (func (result (own $network))))))
    (import "wasi:sockets/ip-name-lookup@0.2.6" (instance $lookup
        (alias outer 1 $network (type $outer))
        (export "network" (type $network (eq $outer)))
        (alias outer 1 $network-error (type $error))
        (export "error-code" (type $error' (eq $error)))
        (export "resolve-address-stream" (type $stream (sub resource)))
        (export "resolve-addresses" (func (param "network" (borrow $network)) (param "name" string)
            (result (result (own $stream) (error $error')))))))
    (import "wasi:sockets/tcp@0.2.6" (instance $tcp (export "tcp-socket" (type (sub resource)))))
    (alias export $tcp "tcp-socket" (type $socket))
    (import "wasi:sockets/tcp-create-socket@0.2.6" (instance $create
        (alias outer 1 $network-error (type $error))
        (export "error-code" (type $error' (eq $error)))
        (alias outer 1 $family (type $family))
        (export "ip-address-family" (type $family' (eq $family)))
        (alias outer 1 $socket (type $socket))
        (export "tcp-socket" (type $socket' (eq $socket)))
        (export "create-tcp-socket" (func (param "address-family" $family')
            (result (result (own $socket') (error $error')))))))"#;

contracts! { ZooBench;
    "zoo.a33" {
        /// Opens and deletes files by every name that has ever left a sandbox. No component is given a directory, so it has only
        /// handles that it made up: `ComponentTrapped(InvalidHandle)`; it is told of no directory, and what lies outside
        /// is as it was.
        fn files(t) {
            let folder = tempfile::TempDir::with_prefix("airssys-wasm-conformance-")?;
            let canary = folder.path().join("canary");
            fs::write(&canary, "alive")?;
            let zoo = t.open().await?;
            let wasm = Forged::new()
                .item(FILES)
                .function("open", &lower("files", "[method]descriptor.open-at"), "(param i32 i32 i32 i32 i32 i32 i32)")
                .function("unlink", &lower("files", "[method]descriptor.unlink-file-at"), "(param i32 i32 i32 i32)")
                .function("directories", &lower("preopens", "get-directories"), "(param i32)")
                .attack(
                    "(call $open (i32.sub (i32.load8_u offset=1 (local.get $payload)) (i32.const 48)) (i32.const 1)
                        (i32.add (local.get $payload) (i32.const 2)) (i32.sub (local.get $length) (i32.const 2))
                        (i32.const 9) (i32.const 3) (i32.const 2048))
                    (call $answer (i32.const 16) (i32.const 2))",
                )
                .attack(
                    "(call $unlink (i32.sub (i32.load8_u offset=1 (local.get $payload)) (i32.const 48))
                        (i32.add (local.get $payload) (i32.const 2)) (i32.sub (local.get $length) (i32.const 2)) (i32.const 2048))
                    (call $answer (i32.const 16) (i32.const 2))",
                )
                .attack(
                    "(call $directories (i32.const 2048))
                    (i32.store8 (i32.const 4096) (i32.add (i32.const 48) (i32.load (i32.const 2052))))
                    (call $answer (i32.const 4096) (i32.const 1))",
                )
                .wasm()?;
            let attacker = zoo.attacker(Installation::new(id("evil/files"), wasm), impatient()).await?;
            zoo.attack(&attacker, "2", End::Answer("0")).await?;
            let absolute = canary.to_string_lossy().into_owned();
            let paths = [
                absolute.as_str(), "..", ".", "/", "//", "../", "canary/", "./canary", "a/../../canary", "\\canary", "C:\\canary",
                "\\\\?\\C:\\canary", "NUL", "COM\u{b9}", "canary::$DATA", "canary\0", "/proc/self/environ", "/dev/zero", "CANARY",
                "can\u{e4}ry", "cana\u{308}ry",
            ];
            for path in paths {
                for attack in ["00", "01", "03", "10", "13"] {
                    zoo.attack(&attacker, format!("{attack}{path}"), End::trap(TrapKind::InvalidHandle)).await?;
                }
            }
            let compiled = zoo.attacker(installation(Guest::WasiClock, "evil/compiled", &[])?, impatient()).await;
            // It does not know the honest message; that it was loaded and started is enough to ask it.
            ensure!(compiled.is_err(), "the guest answers what it does not know");
            let found = zoo.host.request(&id("evil/compiled"), "directories").await?;
            ensure_eq!(found.payload, b"0", "directories of a compiled guest");
            ensure_eq!(fs::read_to_string(&canary).ok().as_deref(), Some("alive"), "the canary");
            ensure_eq!(fs::read_dir(folder.path())?.count(), 1, "files beside the canary");
            zoo.end().await
        }
    }

    "zoo.a34" {
        /// Looks up names and makes sockets, by every way of writing an address that has passed for another. Nothing is granted:
        /// lookups fail with `permanent-resolver-failure`, sockets with `access-denied`, and no packet arrives at a listener.
        fn network(t) {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            let zoo = t.open().await?;
            let wasm = Forged::new()
                .item(NETWORK)
                .function("here", &lower("here", "instance-network"), "(result i32)")
                .function("resolve", &lower("lookup", "resolve-addresses"), "(param i32 i32 i32 i32)")
                .function("create", &lower("create", "create-tcp-socket"), "(param i32 i32)")
                .inside(
                    "(global $network (mut i32) (i32.const 0))
                    (func $told (result i32)
                        (i32.store8 (i32.const 4096) (i32.add (i32.const 65) (i32.load8_u (i32.const 2052))))
                        (if (i32.eqz (i32.load8_u (i32.const 2048))) (then (i32.store8 (i32.const 4096) (i32.const 33))))
                        (call $answer (i32.const 4096) (i32.const 1)))",
                )
                .attack(
                    "(if (i32.eqz (global.get $network)) (then (global.set $network (call $here))))
                    (call $resolve (global.get $network) (i32.add (local.get $payload) (i32.const 1))
                        (i32.sub (local.get $length) (i32.const 1)) (i32.const 2048))
                    (call $told)",
                )
                .attack("(call $create (i32.const 0) (i32.const 2048)) (call $told)")
                .attack("(call $create (i32.const 1) (i32.const 2048)) (call $told)")
                .wasm()?;
            let attacker = zoo.attacker(Installation::new(id("evil/network"), wasm), impatient()).await?;
            // The letter is the position of the error: `permanent-resolver-failure` is the last, `access-denied` the second.
            let hosts = [
                "localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "::1",
                "::ffff:127.0.0.1", "fe80::1%eth0", "user@localhost", "localhost\\@example.com", "xn--nxasmq6b", "example.com",
            ];
            for host in hosts {
                zoo.attack(&attacker, format!("0{host}"), End::Answer("U")).await?;
            }
            zoo.attack(&attacker, "1", End::Answer("B")).await?;
            zoo.attack(&attacker, "2", End::Answer("B")).await?;
            let arrived = listener.accept().map(drop).map_err(|error| error.kind());
            ensure_eq!(arrived, Err(std::io::ErrorKind::WouldBlock), "what arrived at the listener");
            zoo.end().await
        }
    }

    "zoo.a40" {
        /// Wants threads to build a clock from: shared memory, atomic instructions, and 64-bit memories with them, are switched off, and
        /// the binary is refused with `ComponentLoadFailed(Invalid)`. The clock of WASI is as fine as that of the host.
        fn threads(t) {
            let zoo = t.open().await?;
            let wanted = [
                ("evil/shared", "(memory $shared 1 1 shared)"),
                ("evil/atomic", "(func (drop (i32.atomic.load (i32.const 0))))"),
                ("evil/wait", "(func (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1))))"),
                ("evil/wide", "(memory $wide i64 1)"),
            ];
            for (name, inside) in wanted {
                let wasm = Forged::new().inside(inside).wasm()?;
                zoo.refused(name, wasm, impatient(), End::load(LoadFault::Invalid)).await?;
            }
            zoo.end().await
        }
    }

    "zoo.a41" {
        /// Asks for 2^64-1 random bytes: `ResourceLimitExceeded(Transfer)`, and none is made. Polls a list that is larger than its memory:
        /// `ComponentTrapped(InvalidValue)`.
        fn giant_requests(t) {
            let zoo = t.open().await?;
            let wasm = Forged::new()
                .item(CLOCKS)
                .item(
                    r#"(import "wasi:random/random@0.2.6" (instance $random
                        (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
                    (import "wasi:random/insecure@0.2.6" (instance $insecure
                        (export "get-insecure-random-bytes" (func (param "len" u64) (result (list u8))))))"#,
                )
                .function("random", &lower("random", "get-random-bytes"), "(param i64 i32)")
                .function("insecure", &lower("insecure", "get-insecure-random-bytes"), "(param i64 i32)")
                .function("poll", &lower("poll", "poll"), "(param i32 i32 i32)")
                .attack("(call $random (i64.const -1) (i32.const 2048)) unreachable")
                .attack("(call $random (i64.const 0x10000001) (i32.const 2048)) unreachable")
                .attack("(call $insecure (i64.const -1) (i32.const 2048)) unreachable")
                .attack("(call $poll (i32.const 0) (i32.const 0x3fffffff) (i32.const 2048)) unreachable")
                .attack("(call $poll (i32.const 0) (i32.const -1) (i32.const 2048)) unreachable")
                .wasm()?;
            let attacker = zoo.attacker(Installation::new(id("evil/giant"), wasm), impatient()).await?;
            for attack in 0..3 {
                zoo.attack(&attacker, numbered(attack), End::limit(Limit::Transfer)).await?;
            }
            for attack in 3..5 {
                zoo.attack(&attacker, numbered(attack), End::trap(TrapKind::InvalidValue)).await?;
            }
            zoo.end().await
        }
    }
}
