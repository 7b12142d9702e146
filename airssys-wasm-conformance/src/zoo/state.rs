//! Attackers that go for what is stored: quotas, keys, names, cursors, transactions.

use airssys_wasm::Installation;
use airssys_wasm_core::component::{ByteSize, ComponentId};

use super::world::CLOCKS;
use super::{Attacker, End, Zoo, ZooBench, granted, id, impatient, installation, limits, numbered};
use crate::forged::{Forged, STORAGE, lower};
use crate::guests::Guest;
use crate::runner::{Outcome, contracts, ensure, ensure_eq};

/// Which case of a result came back, as text: `ok`, or the number of the case of the error.
const VERDICT: &str = "(func $verdict (result i32)
    (if (i32.eqz (i32.load8_u (i32.const 2048))) (then (return (call $answer (i32.const 16) (i32.const 2)))))
    (i32.store8 (i32.const 4096) (i32.add (i32.const 48) (i32.load8_u (i32.const 2052))))
    (call $answer (i32.const 4096) (i32.const 1)))";
/// The cases of the error.
const TOO_LARGE: End = End::Answer("2");
const INVALID_CURSOR: End = End::Answer("3");

/// A component that stores and finds whatever it is told:
///
/// - `0VKEY` stores the value `V` under a key, and `1 KEY` replies with the value;
/// - `2CURSOR` goes on with a listing, and `3` begins one and replies with its cursor;
/// - `4` replies with the number of entries of the largest page, in four bytes; `5N` stores 750 keys that begin with `N`;
/// - `6` stores under the empty key, `7` under one of 2,049 bytes, `8` a value of 4 MiB and a byte.
fn keeper(name: &str) -> Outcome<Installation> {
    let wasm = Forged::new()
        .item(STORAGE)
        .function("set", &lower("storage", "set"), "(param i32 i32 i32 i32 i32)")
        .function("get", &lower("storage", "get"), "(param i32 i32 i32)")
        .function("list", &lower("storage", "list"), "(param i32 i32 i32 i32 i32 i32 i32)")
        .inside(VERDICT)
        .attack(
            "(call $set (i32.add (local.get $payload) (i32.const 2)) (i32.sub (local.get $length) (i32.const 2))
                (i32.add (local.get $payload) (i32.const 1)) (i32.const 1) (i32.const 2048))
            (call $verdict)",
        )
        .attack(
            "(call $get (i32.add (local.get $payload) (i32.const 2)) (i32.sub (local.get $length) (i32.const 2))
                (i32.const 2048))
            (if (i32.load8_u (i32.const 2048)) (then (return (call $verdict))))
            (if (i32.eqz (i32.load8_u (i32.const 2052))) (then (return (call $answer (i32.const 4) (i32.const 0)))))
            (call $answer (i32.load (i32.const 2056)) (i32.load (i32.const 2060)))",
        )
        .attack(
            "(call $list (i32.const 0) (i32.const 0) (i32.const 1) (i32.add (local.get $payload) (i32.const 1))
                (i32.sub (local.get $length) (i32.const 1)) (i32.const -1) (i32.const 2048))
            (call $verdict)",
        )
        .attack(
            "(call $list (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1)
                (i32.const 2048))
            (call $answer (i32.load (i32.const 2064)) (i32.load (i32.const 2068)))",
        )
        .attack(
            "(call $list (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const -1)
                (i32.const 2048))
            (call $answer (i32.const 2056) (i32.const 4))",
        )
        .attack(
            "(local $left i32) (local.set $left (i32.const 750))
            (i32.store8 (i32.const 5000) (i32.load8_u offset=1 (local.get $payload)))
            (loop $next
                (i32.store (i32.const 5001) (local.get $left))
                (call $set (i32.const 5000) (i32.const 5) (i32.const 16) (i32.const 2) (i32.const 2048))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $next (local.get $left)))
            (call $verdict)",
        )
        .attack("(call $set (i32.const 16) (i32.const 0) (i32.const 16) (i32.const 2) (i32.const 2048)) (call $verdict)")
        .attack("(call $set (i32.const 16) (i32.const 2049) (i32.const 16) (i32.const 2) (i32.const 2048)) (call $verdict)")
        .attack(
            "(drop (memory.grow (i32.const 65)))
            (call $set (i32.const 16) (i32.const 2) (i32.const 0) (i32.const 4194305) (i32.const 2048)) (call $verdict)",
        )
        .wasm()?;
    Ok(granted(Installation::new(id(name), wasm), &[&format!("storage:{name}")]))
}

/// Everything that the store holds for a component, past the host.
async fn held(zoo: &Zoo, of: &Attacker) -> Outcome<Vec<(Vec<u8>, Vec<u8>)>> {
    use airssys_wasm_core::storage::{KeyRange, Namespace};

    let page = zoo.store.scan(&Namespace::of_component(&of.id), KeyRange::prefix(b""), 1_000).await?;
    Ok(page.records.into_iter().map(|(key, record)| (key.into_bytes(), record.value)).collect())
}

contracts! { ZooBench;
    "zoo.a29" {
        /// Writes until its quota is full: `quota-exceeded` at the very byte, in one message and over many; what fits is
        /// stored, and others go on writing. How each store meets a full disk is in the contracts of stores.
        fn full_quota(t) {
            let zoo = t.open().await?;
            // A key of 14 bytes, a value of 46, and 40 for each record: 100 bytes.
            let tight = limits(|limits| limits.storage_bytes = ByteSize::bytes(1_099));
            let attacker = zoo.attacker(installation(Guest::Hostile, "evil/filler", &["storage:evil/filler"])?, tight).await?;
            let other = zoo.attacker(keeper("good/other")?, limits(|_| {})).await?;
            zoo.attack(&attacker, "write-flood 1000 46", End::AnswerLike("10 written; refused: quota-exceeded: ")).await?;
            zoo.attack(&attacker, "big-value 1", End::AnswerLike("stored")).await?;
            zoo.attack(&attacker, "big-value 56", End::AnswerLike("stored")).await?;
            zoo.attack(&attacker, "big-value 57", End::AnswerLike("refused: quota-exceeded: ")).await?;
            ensure_eq!(held(&zoo, &attacker).await?.len(), 11, "records of the attacker");
            zoo.attack(&other, "0xkey", End::Answer("ok")).await?;
            zoo.end().await
        }
    }

    "zoo.a30" {
        /// Writes under the empty key, under one of 2,049 bytes, a value of more than 4 MiB, a million keys in one message: `too-large`,
        /// and nothing of what was refused is written.
        fn oversized_writes(t) {
            let zoo = t.open().await?;
            let attacker = zoo.attacker(keeper("evil/keys")?, limits(|_| {})).await?;
            for attack in [6, 7, 8] {
                zoo.attack(&attacker, numbered(attack), TOO_LARGE).await?;
            }
            ensure_eq!(held(&zoo, &attacker).await?, vec![], "what is stored");
            let many = installation(Guest::Hostile, "evil/many", &["storage:evil/many"])?;
            let many = zoo.attacker(many, limits(|limits| limits.storage_bytes = ByteSize::mib(64))).await?;
            zoo.attack(&many, "write-flood 1000000 1", End::AnswerLike("999 written; refused: too-large: ")).await?;
            zoo.attack(&many, "big-value 4194305", End::AnswerLike("refused: too-large: ")).await?;
            zoo.end().await
        }
    }

    "zoo.a31" {
        /// Has a name that is almost another's, and keys with separators, NUL, `..`, the names of others: everybody finds their own and
        /// nobody else's, and the store holds exactly that. Names with anything else in them are none.
        fn names_and_keys(t) {
            let names = ["\0evil/a", "evil/a\0", "evil//a", "evil/../a", "evil/a/", "/evil/a", "evil", "Evil/a", "evil/A", "evil/\u{430}", "evil/a b", "evil/a:b", "evil/*", "evil/", "../a"];
            for name in names {
                ensure!(name.parse::<ComponentId>().is_err(), "{name:?} is an id");
            }
            let zoo = t.open().await?;
            let mut all = Vec::new();
            for name in ["evil/a", "evil/ab", "evil/a-b", "evil-a/b", "evi/la"] {
                all.push(zoo.attacker(keeper(name)?, limits(|_| {})).await?);
            }
            let keys: [&[u8]; 12] = [
                b"\0", b"/", b"..", b"../evil/ab/key", b"evil/a", b"evil/ab\0key", b"b/key", b"-b", b"\xff\xff\xff", b"\0\0\0\x01", b"key", "e\u{301}\u{202e}".as_bytes(),
            ];
            for (owner, attacker) in (b'a'..).zip(&all) {
                for key in keys {
                    zoo.attack(attacker, [b"0", &[owner][..], key].concat(), End::Answer("ok")).await?;
                }
            }
            for (owner, attacker) in (b'a'..).zip(&all) {
                for key in keys {
                    let found = zoo.ask(attacker, &[b"1 ", key].concat()).await?;
                    ensure_eq!(found.as_bytes(), [owner], "what {} finds under {key:?}", attacker.id);
                }
                let mut expected: Vec<_> = keys.iter().map(|key| (key.to_vec(), vec![owner])).collect();
                expected.sort();
                ensure_eq!(held(&zoo, attacker).await?, expected, "what is stored for {}", attacker.id);
            }
            zoo.end().await
        }
    }

    "zoo.a32" {
        /// Goes on with a cursor that it made up, changed, or was given by another: `invalid-cursor`. Asks for a page of 2^32-1 entries:
        /// it gets 1,000.
        fn forged_cursors(t) {
            let zoo = t.open().await?;
            let attacker = zoo.attacker(keeper("evil/reader")?, limits(|_| {})).await?;
            let other = zoo.attacker(keeper("good/reader")?, limits(|_| {})).await?;
            for keeper in [&attacker, &other] {
                zoo.attack(keeper, "5a", End::Answer("ok")).await?;
                zoo.attack(keeper, "5b", End::Answer("ok")).await?;
            }
            let own = zoo.host.request(&attacker.id, "3").await?.payload;
            let foreign = zoo.host.request(&other.id, "3").await?.payload;
            ensure!(!own.is_empty() && !foreign.is_empty(), "a listing of 1,500 keys has no cursor");
            zoo.attack(&attacker, [b"2", &own[..]].concat(), End::Answer("ok")).await?;
            let mut forged: Vec<Vec<u8>> = vec![foreign, vec![], vec![0; 40], vec![0xff; 4_000], own[..own.len() / 2].to_vec()];
            let mut changed = own.clone();
            changed[6] ^= 1;
            forged.push(changed);
            for cursor in forged {
                zoo.attack(&attacker, [b"2", &cursor[..]].concat(), INVALID_CURSOR).await?;
            }
            let entries = zoo.around("the largest page", attacker.limits.memory, zoo.host.request(&attacker.id, "4")).await??;
            ensure_eq!(entries.payload, 1_000_u32.to_le_bytes(), "entries of the largest page");
            zoo.end().await
        }
    }

    "zoo.a42" {
        /// Writes, and then sleeps for centuries in the host: `ExecutionTimeout` at its deadline, what it wrote is undone, and nothing
        /// that it held keeps it or others from writing.
        fn sleeps_in_the_host(t) {
            let zoo = t.open().await?;
            let wasm = Forged::new()
                .item(STORAGE)
                .item(CLOCKS)
                .function("set", &lower("storage", "set"), "(param i32 i32 i32 i32 i32)")
                .function("later", &lower("clock", "subscribe-duration"), "(param i64) (result i32)")
                .function("block", &lower("poll", "[method]pollable.block"), "(param i32)")
                .inside("(func $keep (call $set (i32.const 16) (i32.const 2) (i32.const 16) (i32.const 2) (i32.const 2048)))")
                .attack("(call $keep) (call $block (call $later (i64.const -1))) unreachable")
                .attack("(call $keep) (call $answer (i32.const 16) (i32.const 2))")
                .wasm()?;
            let grants = ["storage:evil/sleeper"];
            let sleeper = granted(Installation::new(id("evil/sleeper"), wasm), &grants);
            let sleeper = zoo.attacker(sleeper, impatient()).await?;
            for _ in 0..2 {
                zoo.attack(&sleeper, numbered(0), End::TIMEOUT).await?;
                ensure_eq!(zoo.stored(&sleeper, b"ok").await?, None, "what a handler has left that was ended");
            }
            zoo.attack(&sleeper, numbered(1), End::Answer("ok")).await?;
            ensure_eq!(zoo.stored(&sleeper, b"ok").await?, Some(b"ok".to_vec()), "what was committed");
            zoo.end().await
        }
    }
}
