//! Attackers that forge what the canonical ABI passes: pointers, lengths, texts, discriminants, handles.

use airssys_wasm::Installation;
use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::{Limit, TrapKind};

use super::{Attacker, End, ZooBench, granted, id, impatient, limits, numbered};
use crate::door::{DOOR, GRANT, with_door};
use crate::forged::{Forged, LOGGING, STORAGE, lower};
use crate::runner::{contracts, ensure_eq};

const INVALID: End = End::trap(TrapKind::InvalidValue);

/// A component that passes texts to the log, and keys to the store.
fn talker() -> Forged {
    Forged::new()
        .item(LOGGING)
        .item(STORAGE)
        .function("log", &lower("logging", "log"), "(param i32 i32 i32)")
        .function("exists", &lower("storage", "exists"), "(param i32 i32 i32)")
}

contracts! { ZooBench;
    "zoo.a15" {
        /// Passes places and lengths that lie outside of its memory, up to a length of 2^32-1, as its answer and to functions of the
        /// host: `ComponentTrapped(InvalidValue)`, and nothing of that size is allocated.
        fn out_of_bounds(t) {
            let zoo = t.open().await?;
            let wasm = talker()
                .attack("(call $answer (i32.const 16) (i32.const -1))")
                .attack("(call $answer (i32.const -16) (i32.const 8))")
                .attack("(call $answer (i32.const 1048570) (i32.const 7))")
                .attack("(i32.const -8)")
                .attack("(call $log (i32.const 2) (i32.const 16) (i32.const -1)) (i32.const 512)")
                .attack("(call $log (i32.const 2) (i32.const -1) (i32.const 1)) (i32.const 512)")
                .attack("(call $exists (i32.const 1048576) (i32.const 1) (i32.const 2048)) (i32.const 512)")
                .attack("(call $exists (i32.const 16) (i32.const 0x7fffffff) (i32.const 2048)) (i32.const 512)")
                .attack("(call $exists (i32.const 16) (i32.const 1) (i32.const -4)) (i32.const 512)")
                .wasm()?;
            let attacker = granted(Installation::new(id("evil/outside"), wasm), &["storage:evil/outside"]);
            let attacker = zoo.attacker(attacker, impatient()).await?;
            for attack in 0..9 {
                zoo.attack(&attacker, numbered(attack), INVALID).await?;
            }
            ensure_eq!(zoo.stored(&attacker, b"ok").await?, None, "what is stored");
            zoo.end().await
        }
    }
    "zoo.a16" {
        /// Hands lists of lists to functions of the embedder that all lie in the same mebibyte, 10 GiB and more when they are taken
        /// apart: `ResourceLimitExceeded(Transfer)`, before the host holds more than it allows.
        fn aliased_lists(t) {
            let zoo = t.open_as(with_door()).await?;
            let wasm = Forged::new()
                .item(DOOR)
                .function("bytes", &lower("door", "take-bytes"), "(param i32 i32)")
                .function("tower", &lower("door", "take-tower"), "(param i32 i32)")
                .function("entries", &lower("door", "take-entries"), "(param i32 i32)")
                .inside(
                    "(func $lists (param $at i32) (param $length i32) (local $place i32)
                        (local.set $place (i32.const 131072))
                        (loop $next
                            (i32.store (local.get $place) (local.get $at))
                            (i32.store offset=4 (local.get $place) (local.get $length))
                            (local.set $place (i32.add (local.get $place) (i32.const 8)))
                            (br_if $next (i32.lt_u (local.get $place) (i32.const 1048576)))))",
                )
                .attack(
                    "(call $lists (i32.const 0) (i32.const 1048576))
                    (call $bytes (i32.const 131072) (i32.const 114688)) unreachable",
                )
                .attack(
                    "(call $lists (i32.const 131072) (i32.const 1000))
                    (call $tower (i32.const 131072) (i32.const 114688)) unreachable",
                )
                .attack(
                    "(call $lists (i32.const 131072) (i32.const 1000)) (memory.fill (i32.const 131072) (i32.const 0) (i32.const 65536))
                    (call $entries (i32.const 196608) (i32.const 106496)) unreachable",
                )
                .attack(
                    "(call $lists (i32.const 0) (i32.const 100))
                    (call $bytes (i32.const 131072) (i32.const 100)) (call $answer (i32.const 16) (i32.const 2))",
                )
                .wasm()?;
            let attacker = granted(Installation::new(id("evil/aliases"), wasm), &[GRANT]);
            let attacker = zoo.attacker(attacker, limits(|limits| limits.memory = ByteSize::mib(1))).await?;
            for _ in 0..2 {
                for attack in 0..3 {
                    zoo.attack(&attacker, numbered(attack), End::limit(Limit::Transfer)).await?;
                }
                zoo.attack(&attacker, numbered(3), End::Answer("ok")).await?;
            }
            zoo.end().await
        }
    }
    "zoo.a17" {
        /// Passes text that is none, in each of the three encodings: cut, overlong and surrogate UTF-8, lone surrogates, odd places
        /// and giant lengths in UTF-16 and behind the bit that tells Latin-1 from it, to the host and as its answer:
        /// `ComponentTrapped(InvalidValue)`.
        fn broken_text(t) {
            let zoo = t.open().await?;
            let wide = r#"(canon lower (func $logging "log") (memory $memory) string-encoding=utf16)"#;
            let compact = r#"(canon lower (func $logging "log") (memory $memory) string-encoding=latin1+utf16)"#;
            let wasm = talker()
                .function("wide", wide, "(param i32 i32 i32)")
                .function("compact", compact, "(param i32 i32 i32)")
                .inside(r#"(data (i32.const 32) "\ff\fe") (data (i32.const 40) "\ed\a0\80") (data (i32.const 48) "\f0\9f\a6")"#)
                .inside(r#"(data (i32.const 56) "\c0\80") (data (i32.const 64) "\00\d8\41\00") (data (i32.const 72) "\00\dc")"#)
                .attack("(call $log (i32.const 2) (i32.const 32) (i32.const 2)) (i32.const 512)")
                .attack("(call $log (i32.const 2) (i32.const 40) (i32.const 3)) (i32.const 512)")
                .attack("(call $log (i32.const 2) (i32.const 48) (i32.const 3)) (i32.const 512)")
                .attack("(call $log (i32.const 2) (i32.const 56) (i32.const 2)) (i32.const 512)")
                .attack("(call $wide (i32.const 2) (i32.const 64) (i32.const 2)) (i32.const 512)")
                .attack("(call $wide (i32.const 2) (i32.const 72) (i32.const 1)) (i32.const 512)")
                .attack("(call $wide (i32.const 2) (i32.const 17) (i32.const 1)) (i32.const 512)")
                .attack("(call $wide (i32.const 2) (i32.const 16) (i32.const 0x80000000)) (i32.const 512)")
                .attack("(call $compact (i32.const 2) (i32.const 64) (i32.const 0x80000002)) (i32.const 512)")
                .attack("(call $compact (i32.const 2) (i32.const 17) (i32.const 0x80000001)) (i32.const 512)")
                .attack("(call $compact (i32.const 2) (i32.const 16) (i32.const 0xffffffff)) (i32.const 512)")
                .attack("(call $compact (i32.const 2) (i32.const 16) (i32.const 0x7fffffff)) (i32.const 512)")
                .attack(
                    "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1028) (i32.const 5))
                    (i32.store (i32.const 1032) (i32.const 32)) (i32.store (i32.const 1036) (i32.const 2)) (i32.const 1024)",
                )
                .attack(
                    "(drop (call $answer (i32.const 16) (i32.const 2))) (i32.store8 (i32.const 1028) (i32.const 1))
                    (i32.store (i32.const 1032) (i32.const 32)) (i32.store (i32.const 1036) (i32.const 2)) (i32.const 1024)",
                )
                .wasm()?;
            let attacker = zoo.attacker(Installation::new(id("evil/text"), wasm), impatient()).await?;
            for attack in 0..14 {
                zoo.attack(&attacker, numbered(attack), INVALID).await?;
            }
            zoo.end().await
        }
    }

    "zoo.a18" {
        /// Has an allocator that lies. A place outside of its memory, or one that is not aligned: `ComponentTrapped(InvalidValue)`. Zero,
        /// or a place that is in use: the bytes go there, as the canonical ABI has it, and nobody but the attacker is harmed.
        fn lying_allocator(t) {
            let zoo = t.open().await?;
            let wasm = Forged::new()
                .item(STORAGE)
                .function("set", &lower("storage", "set"), "(param i32 i32 i32 i32 i32)")
                .function("get", &lower("storage", "get"), "(param i32 i32 i32)")
                .function("list", &lower("storage", "list"), "(param i32 i32 i32 i32 i32 i32 i32)")
                .inside(
                    "(global $lie (mut i32) (i32.const 1))
                    (func $allocate (type $realloc)
                        (if (i32.ne (global.get $lie) (i32.const 1)) (then (return (global.get $lie))))
                        (call $bump (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
                    (elem (table $hook) (i32.const 0) func $allocate)
                    (func $read (param $at i32) (result i32)
                        (global.set $lie (local.get $at))
                        (call $get (i32.const 16) (i32.const 2) (i32.const 2048))
                        (global.set $lie (i32.const 1))
                        (i32.store16 (i32.const 16) (i32.const 0x6b6f))
                        (call $answer (local.get $at) (i32.const 2)))",
                )
                .attack(
                    "(memory.fill (i32.const 4096) (i32.const 118) (i32.const 77))
                    (call $set (i32.const 16) (i32.const 2) (i32.const 4096) (i32.const 77) (i32.const 2048))
                    (call $answer (i32.const 16) (i32.const 2))",
                )
                .attack("(call $read (i32.const 0))")
                .attack("(call $read (i32.const 65536))")
                .attack("(call $read (i32.const -16))")
                .attack("(call $read (i32.const 1048570))")
                .attack(
                    "(global.set $lie (i32.const 4097))
                    (call $list (i32.const 16) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 2048))
                    unreachable",
                )
                .wasm()?;
            let attacker = granted(Installation::new(id("evil/allocator"), wasm), &["storage:evil/allocator"]);
            let attacker = zoo.attacker(attacker, impatient()).await?;
            zoo.attack(&attacker, numbered(0), End::Answer("ok")).await?;
            zoo.attack(&attacker, numbered(1), End::Answer("vv")).await?;
            zoo.attack(&attacker, numbered(2), End::Answer("vv")).await?;
            for attack in 3..6 {
                zoo.attack(&attacker, numbered(attack), INVALID).await?;
            }
            ensure_eq!(zoo.stored(&attacker, b"ok").await?, Some(vec![b'v'; 77]), "what is stored");
            zoo.end().await
        }
    }

    "zoo.a19" {
        /// Passes numbers that are no value of their type. A case of a variant, of an enumeration or of a result that does not exist, a
        /// surrogate or more than U+10FFFF as a character: `ComponentTrapped(InvalidValue)`. Bits beyond a boolean, a set of flags
        /// or a small number are masked, as the canonical ABI has it.
        fn no_such_value(t) {
            let zoo = t.open_as(with_door()).await?;
            let wasm = talker()
                .item(DOOR)
                .function("look", &lower("door", "look"), "(param i32 i32 i32 i32 i32)")
                .attack("(call $look (i32.const 2) (i32.const 97) (i32.const 0xffffffff) (i32.const 0x1ff) (i32.const 2048)) (call $answer (i32.load (i32.const 2048)) (i32.load (i32.const 2052)))")
                .attack("(i32.store8 (i32.const 1024) (i32.const 7)) (i32.const 1024)")
                .attack("(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1028) (i32.const 99)) (i32.const 1024)")
                .attack("(drop (call $answer (i32.const 16) (i32.const 2))) (i32.store8 (i32.const 1028) (i32.const 9)) (i32.const 1024)")
                .attack("(call $log (i32.const 77) (i32.const 16) (i32.const 2)) (i32.const 512)")
                .attack("(call $log (i32.const -1) (i32.const 16) (i32.const 2)) (i32.const 512)")
                .attack("(call $look (i32.const 1) (i32.const 0xd800) (i32.const 0) (i32.const 0) (i32.const 2048)) (i32.const 512)")
                .attack("(call $look (i32.const 1) (i32.const 0xdfff) (i32.const 0) (i32.const 0) (i32.const 2048)) (i32.const 512)")
                .attack("(call $look (i32.const 1) (i32.const 0x110000) (i32.const 0) (i32.const 0) (i32.const 2048)) (i32.const 512)")
                .attack("(call $look (i32.const 1) (i32.const -1) (i32.const 0) (i32.const 0) (i32.const 2048)) (i32.const 512)")
                .wasm()?;
            let attacker = granted(Installation::new(id("evil/values"), wasm), &[GRANT]);
            let attacker = zoo.attacker(attacker, impatient()).await?;
            zoo.attack(&attacker, numbered(0), End::Answer("true a 255 read write run")).await?;
            for attack in 1..10 {
                zoo.attack(&attacker, numbered(attack), INVALID).await?;
            }
            zoo.end().await
        }
    }

    "zoo.a20" {
        /// Uses handles that it does not have: never given, zero, the largest number, dropped before, dropped twice, of another type of
        /// resource, of the host: `ComponentTrapped(InvalidHandle)`.
        fn forged_handles(t) {
            let zoo = t.open().await?;
            let wasm = Forged::new()
                .item(
                    r#"(type $r (resource (rep i32))) (type $q (resource (rep i32)))
                    (import "wasi:io/poll@0.2.6" (instance $poll
                        (export "pollable" (type $pollable (sub resource)))
                        (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))"#,
                )
                .function("new", "(canon resource.new $r)", "(param i32) (result i32)")
                .function("drop", "(canon resource.drop $r)", "(param i32)")
                .function("rep", "(canon resource.rep $r)", "(param i32) (result i32)")
                .function("other", "(canon resource.new $q)", "(param i32) (result i32)")
                .function("block", &lower("poll", "[method]pollable.block"), "(param i32)")
                .attack("(drop (call $rep (i32.const 0))) unreachable")
                .attack("(drop (call $rep (i32.const 99))) unreachable")
                .attack("(drop (call $rep (i32.const -1))) unreachable")
                .attack("(call $drop (i32.const 0x7fffffff)) unreachable")
                .attack("(local $r i32) (local.set $r (call $new (i32.const 7))) (call $drop (local.get $r)) (drop (call $rep (local.get $r))) unreachable")
                .attack("(local $r i32) (local.set $r (call $new (i32.const 7))) (call $drop (local.get $r)) (call $drop (local.get $r)) unreachable")
                .attack("(call $drop (call $other (i32.const 7))) unreachable")
                .attack("(drop (call $rep (call $other (i32.const 7)))) unreachable")
                .attack("(call $block (i32.const 1)) unreachable")
                .attack("(call $block (call $new (i32.const 1))) unreachable")
                .wasm()?;
            let attacker = zoo.attacker(Installation::new(id("evil/handles"), wasm), impatient()).await?;
            for attack in 0..10 {
                zoo.attack(&attacker, numbered(attack), End::trap(TrapKind::InvalidHandle)).await?;
            }
            zoo.end().await
        }
    }

    "zoo.a21" {
        /// Makes handles without end and drops none: `ResourceLimitExceeded(Handles)` at the first one beyond the limit.
        fn endless_handles(t) {
            let zoo = t.open().await?;
            let wasm = Forged::new()
                .item("(type $r (resource (rep i32)))")
                .function("new", "(canon resource.new $r)", "(param i32) (result i32)")
                .inside(
                    "(func $make (param $count i32)
                        (loop $next
                            (drop (call $new (i32.const 7)))
                            (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                            (br_if $next (local.get $count))))",
                )
                .attack("(loop $again (drop (call $new (i32.const 7))) (br $again)) unreachable")
                .attack("(call $make (i32.const 1000)) (call $answer (i32.const 16) (i32.const 2))")
                .attack("(call $make (i32.const 1)) unreachable")
                .wasm()?;
            let thousand = limits(|limits| limits.handles = 1_000);
            let attacker = zoo.attacker(Installation::new(id("evil/handles"), wasm), thousand).await?;
            zoo.attack(&attacker, numbered(0), End::limit(Limit::Handles)).await?;
            zoo.attack(&attacker, numbered(1), End::Answer("ok")).await?;
            zoo.attack(&attacker, numbered(2), End::limit(Limit::Handles)).await?;
            zoo.end().await
        }
    }

    "zoo.a22" {
        /// Calls the host from where the host calls it: from its allocator, which would enter it again, and after its result was
        /// read: `ComponentTrapped(CannotEnter)`.
        fn reentry(t) {
            let zoo = t.open().await?;
            let wasm = talker()
                .options(r#"(post-return (core func $main "post"))"#)
                .inside(
                    r#"(global $armed (mut i32) (i32.const 0))
                    (func (export "post") (param i32)
                        (if (global.get $armed) (then (call $log (i32.const 2) (i32.const 16) (i32.const 2)))))
                    (func $allocate (type $realloc)
                        (if (i32.eq (local.get 3) (i32.const 77))
                            (then (call $exists (i32.const 16) (i32.const 2) (i32.const 2048))))
                        (call $bump (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
                    (elem (table $hook) (i32.const 0) func $allocate)"#,
                )
                .attack("(global.set $armed (i32.const 1)) (call $answer (i32.const 16) (i32.const 2))")
                .wasm()?;
            let attacker = zoo.attacker(Installation::new(id("evil/reentry"), wasm), impatient()).await?;
            zoo.attack(&attacker, [b'x'; 77], End::trap(TrapKind::CannotEnter)).await?;
            zoo.attack(&attacker, numbered(0), End::trap(TrapKind::CannotEnter)).await?;
            zoo.end().await
        }
    }

    "zoo.a23" {
        /// Answers with 1 GiB of its memory, which it may have: `ResourceLimitExceeded(Reply)`, and none of it is copied.
        fn giant_reply(t) {
            let zoo = t.open().await?;
            let wasm = Forged::new()
                .attack("(drop (memory.grow (i32.const 16384))) (call $answer (i32.const 16) (i32.const 0x40000000))")
                .wasm()?;
            let giant = limits(|limits| limits.memory = ByteSize::mib(2048));
            let attacker = zoo.attacker(Installation::new(id("evil/reply"), wasm), giant).await?;
            // It touches none of its memory, and so may cost no more than one who has little.
            let attacker = Attacker { limits: limits(|_| {}), ..attacker };
            zoo.attack(&attacker, numbered(0), End::limit(Limit::Reply)).await?;
            zoo.end().await
        }
    }
}
