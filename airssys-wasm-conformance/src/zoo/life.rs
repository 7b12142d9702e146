//! Attackers that go for what outlives a call: rights, remains, instances, compiled code, the functions of the embedder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use airssys_wasm::{Host, Installation};
use airssys_wasm_core::component::{ByteSize, ComponentState};
use airssys_wasm_core::config::RuntimeConfig;
use airssys_wasm_core::error::{ErrorKind, TrapKind};
use airssys_wasm_core::runtime::CodeOrigin;
use airssys_wasm_core::storage::{Batch, Durability, Key, Namespace};

use super::{End, Zoo, ZooBench, explained, granted, id, impatient, installation, limits, numbered};
use crate::door::{DOOR, GRANT, with_door};
use crate::forged::{Forged, STORAGE, lower};
use crate::guests::Guest;
use crate::random::Random;
use crate::runner::{Outcome, contracts, ensure, ensure_eq, fail};

/// The files of a folder, and of those in it.
fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Installs a guest on a fresh engine over this folder of compiled code, and says where its code came from. It answers.
async fn code_of(t: &ZooBench, folder: &Path, of: Guest) -> Outcome<CodeOrigin> {
    let config = RuntimeConfig { code_cache: Some(folder.to_owned()), ..RuntimeConfig::default() };
    let zoo = Zoo::open(Host::builder().engine((t.make)(&config)?)).await?;
    let installed = zoo
        .around("loading", ByteSize::mib(64), zoo.host.install(installation(of, "evil/cached", &[])?))
        .await??;
    zoo.host.start(&installed.id).await?;
    let answer = zoo.host.request(&installed.id, "ok").await?;
    let expected = if of == Guest::Greeter { "Hello, ok!" } else { "ok" };
    ensure_eq!(String::from_utf8_lossy(&answer.payload), expected, "the answer of {of}");
    zoo.end().await?;
    Ok(installed.code)
}

contracts! { ZooBench;
    "zoo.a36" {
        /// Goes on using a grant in the middle of a handler while it is taken back: from its next host call on it is denied, and the denials
        /// are recorded.
        fn use_after_revocation(t) {
            let zoo = t.open().await?;
            let attacker = installation(Guest::Hostile, "evil/revoked", &["storage:evil/revoked"])?;
            let attacker = zoo.attacker(attacker, limits(|limits| limits.deadline = Duration::from_secs(25))).await?;
            let before = zoo.audit.recorded();
            let over = AtomicBool::new(false);
            let flood = async {
                let answer = zoo.attack(&attacker, "flood 200000", End::AnswerLike("200000 calls, ")).await;
                over.store(true, Ordering::Relaxed);
                answer
            };
            let revoke = async {
                while zoo.audit.recorded() < before + 100 {
                    ensure!(!over.load(Ordering::Relaxed), "the gate was not asked about every call");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                zoo.host.revoke(&attacker.id, &"storage:evil/revoked".parse()?)?;
                Outcome::Ok(())
            };
            let (answer, revoked) = tokio::join!(flood, revoke);
            revoked?;
            let answer = answer?;
            let refused = answer.trim_start_matches("200000 calls, ").trim_end_matches(" refused");
            let refused: u64 = refused.parse()?;
            ensure!((1..200_000).contains(&refused), "{refused} of 200,000 calls were refused");
            ensure!(zoo.denied("storage:evil/revoked") > 0, "no denial is in the audit log");
            zoo.attack(&attacker, "flood 10", End::Answer("10 calls, 10 refused")).await?;
            zoo.end().await
        }
    }

    "zoo.a37" {
        /// Fills its memory, its table and its globals with marks and traps, or is stopped; a fresh instance of it, and of another
        /// component in the same place, looks for them: memory is zero, the table empty, the globals as they were declared.
        fn remains_of_others(t) {
            let zoo = t.open().await?;
            let wasm = Forged::new()
                .inside(
                    "(global $mark (mut i64) (i64.const 0)) (table $marks 100 1000 funcref)
                    (func $marked) (elem declare func $marked)
                    (func $grown
                        (if (i32.lt_u (i32.const 100) (memory.size)) (then (return)))
                        (drop (memory.grow (i32.const 112))) (drop (table.grow $marks (ref.null func) (i32.const 900))))
                    (func $fill
                        (call $grown) (global.set $mark (i64.const 77))
                        (table.fill $marks (i32.const 0) (ref.func $marked) (i32.const 1000))
                        (memory.fill (i32.const 131072) (i32.const 0xaa)
                            (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 131072))))",
                )
                .attack("(call $fill) unreachable")
                .attack(
                    "(local $at i32) (local $found i32) (call $grown)
                    (if (i64.ne (global.get $mark) (i64.const 0)) (then (return (call $answer (i32.const 4) (i32.const 1)))))
                    (loop $next
                        (local.set $found (i32.or (local.get $found) (i32.eqz (ref.is_null (table.get $marks (local.get $at))))))
                        (local.set $at (i32.add (local.get $at) (i32.const 1)))
                        (br_if $next (i32.lt_u (local.get $at) (i32.const 1000))))
                    (local.set $at (i32.const 131072))
                    (loop $next
                        (local.set $found (i32.or (local.get $found) (i32.load (local.get $at))))
                        (local.set $at (i32.add (local.get $at) (i32.const 4)))
                        (br_if $next (i32.lt_u (local.get $at) (i32.mul (memory.size) (i32.const 65536)))))
                    (if (local.get $found) (then (return (call $answer (i32.const 4) (i32.const 1)))))
                    (call $answer (i32.const 16) (i32.const 2))",
                )
                .attack("(call $fill) (call $answer (i32.const 16) (i32.const 2))")
                .wasm()?;
            let eight = limits(|limits| limits.memory = ByteSize::mib(8));
            let attacker = zoo.attacker(Installation::new(id("evil/marker"), wasm.clone()), eight.clone()).await?;
            zoo.attack(&attacker, numbered(2), End::Answer("ok")).await?;
            zoo.host.stop(&attacker.id, super::AMPLE).await?;
            zoo.host.start(&attacker.id).await?;
            zoo.attack(&attacker, numbered(1), End::Answer("ok")).await?;
            for round in 0..10 {
                zoo.attack(&attacker, numbered(0), End::trap(TrapKind::Unreachable)).await?;
                zoo.attack(&attacker, numbered(1), End::Answer("ok")).await?;
                let heir = Installation::new(id(&format!("evil/heir-{round}")), wasm.clone());
                zoo.attack(&attacker, numbered(0), End::trap(TrapKind::Unreachable)).await?;
                let heir = zoo.attacker(heir, eight.clone()).await?;
                zoo.attack(&heir, numbered(1), End::Answer("ok")).await?;
                zoo.host.stop(&heir.id, super::AMPLE).await?;
            }
            zoo.end().await
        }
    }

    "zoo.a38" {
        /// Computes, calls and waits while those who asked give up at random moments, and while it is stopped at random moments: nothing
        /// panics, nothing is left, and it answers the next message.
        fn given_up_at_random(t) {
            let zoo = t.open().await?;
            let soon = limits(|limits| limits.deadline = Duration::from_millis(100));
            let attacker = installation(Guest::Hostile, "evil/dropped", &["storage:evil/dropped", "messaging:evil/dropped"])?;
            let attacker = zoo.attacker(attacker, soon).await?;
            let seed = Random::seed();
            let mut random = Random::from_seed(seed);
            let rounds = async {
                for round in 0..60 {
                    let attack = ["loop", "loop-in-pieces", "flood", "self-request", "mark ok"][round % 5];
                    let patience = Duration::from_micros(random.below(12_000) as u64);
                    let _ = tokio::time::timeout(patience, zoo.host.request(&attacker.id, attack)).await;
                    if round % 8 == 7 {
                        zoo.host.stop(&attacker.id, Duration::from_micros(random.below(2_000) as u64)).await?;
                        zoo.host.start(&attacker.id).await?;
                    }
                }
                Outcome::Ok(())
            };
            let what = format!("giving up, seed {seed}");
            zoo.around(&what, attacker.limits.memory, rounds).await?.map_err(|broken| broken.during(&what))?;
            zoo.is_honest(&attacker).await.map_err(|broken| broken.during(&what))?;
            zoo.end().await
        }
    }

    "zoo.a39" {
        /// Traps on every message: each is answered with `ComponentTrapped`, and the next has a fresh instance. One whose fresh instances
        /// trap in `init`, too, is tried again only after a delay that doubles; messages in between are answered with
        /// `Actor` at once, and it works again when its cause is gone. A message that traps is not tried again.
        fn traps_on_every_message(t) {
            let zoo = t.open().await?;
            let trapping = zoo.attacker(installation(Guest::Hostile, "evil/trapping", &[])?, limits(|_| {})).await?;
            for _ in 0..20 {
                zoo.attack(&trapping, "panic", End::trap(TrapKind::Unreachable)).await?;
            }
            ensure_eq!(zoo.statistics(&trapping)?.replaced, 20, "instances replaced");
            let wasm = Forged::new()
                .item(STORAGE)
                .function("set", &lower("storage", "set"), "(param i32 i32 i32 i32 i32)")
                .function("exists", &lower("storage", "exists"), "(param i32 i32 i32)")
                .init("(call $exists (i32.const 16) (i32.const 2) (i32.const 2048)) (if (i32.load8_u (i32.const 2052)) (then unreachable))")
                .attack(
                    "(call $set (i32.const 16) (i32.const 2) (i32.const 16) (i32.const 2) (i32.const 2048))
                    (call $answer (i32.const 16) (i32.const 2))",
                )
                .attack("unreachable")
                .wasm()?;
            let broken = granted(Installation::new(id("evil/broken"), wasm), &["storage:evil/broken"]);
            let broken = zoo.attacker(broken, limits(|_| {})).await?;
            zoo.attack(&broken, numbered(0), End::Answer("ok")).await?;
            End::trap(TrapKind::Unreachable).check(&zoo.ask(&broken, b"1").await, "the trap")?;
            let begun = Instant::now();
            let storm = async {
                let (mut tried, mut refused) = (0_u32, 0_u32);
                while begun.elapsed() < Duration::from_millis(600) {
                    let Err(error) = zoo.ask(&broken, b"ok").await else { fail!("a component whose `init` traps answers") };
                    match error.kind() {
                        ErrorKind::ComponentLoadFailed => tried += 1,
                        ErrorKind::Actor => refused += 1,
                        _ => fail!("a component whose `init` traps is answered with {}", explained(&error)),
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Outcome::Ok((tried, refused))
            };
            let (tried, refused) = zoo.around("a component whose `init` traps", broken.limits.memory, storm).await??;
            // At once, and after 100, 300 and 700 ms; the last question may be asked late.
            let most = 2 + begun.elapsed().as_millis().div_ceil(100).ilog2();
            ensure!(tried <= most && refused > 0, "it was tried {tried} times of {most}, and refused {refused} times");
            ensure_eq!(zoo.host.status(&broken.id)?.state, ComponentState::Running, "the state of the component");
            let mut repair = Batch::new();
            repair.delete(&Namespace::of_component(&broken.id), Key::new(b"ok".to_vec())?);
            zoo.store.commit(repair, Durability::Immediate).await?;
            let patience = Instant::now() + super::AMPLE;
            while zoo.ask(&broken, b"ok").await.is_err() {
                ensure!(Instant::now() < patience, "it does not work again");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            zoo.is_honest(&broken).await?;
            zoo.end().await
        }
    }

    "zoo.a43" {
        /// Alters the compiled code in the cache, cuts it, or puts that of another component in its place: it is not run, but compiled
        /// anew from the binary. Signatures of binaries are not there yet.
        fn foreign_code(t) {
            let folder = tempfile::TempDir::with_prefix("airssys-wasm-conformance-")?;
            let cache = folder.path().join("code");
            ensure_eq!(code_of(t, &cache, Guest::Hostile).await?, CodeOrigin::Compiled, "the code with an empty cache");
            ensure_eq!(code_of(t, &cache, Guest::Hostile).await?, CodeOrigin::Cache, "the code with a full cache");
            let before = files(&cache)?;
            ensure_eq!(code_of(t, &cache, Guest::Greeter).await?, CodeOrigin::Compiled, "the code of another");
            // The seal of the code is a key of this user, and is no code.
            let code = |path: &&PathBuf| fs::metadata(path).is_ok_and(|file| file.len() > 10_000);
            let ours: Vec<_> = before.iter().filter(code).cloned().collect();
            let all = files(&cache)?;
            let theirs: Vec<_> = all.iter().filter(|path| !before.contains(path)).filter(code).cloned().collect();
            ensure!(!ours.is_empty() && !theirs.is_empty(), "the cache holds {all:?}");
            let foreign = fs::read(&theirs[0])?;
            let sound: Vec<_> = ours.iter().map(fs::read).collect::<std::io::Result<_>>()?;
            for attack in ["first", "middle", "last", "cut", "foreign"] {
                for (path, sound) in ours.iter().zip(&sound) {
                    let mut code = sound.clone();
                    let end = code.len() - 1;
                    match attack {
                        "first" => code[0] ^= 1,
                        "middle" => code[end / 2] ^= 0x10,
                        "last" => code[end] ^= 0x80,
                        "cut" => code.truncate(end / 2),
                        _ => code.clone_from(&foreign),
                    }
                    // A file of its own: the old one may be mapped.
                    fs::remove_file(path)?;
                    fs::write(path, code)?;
                }
                let origin = code_of(t, &cache, Guest::Hostile).await?;
                ensure_eq!(origin, CodeOrigin::Compiled, "the code after the attack `{attack}`");
            }
            Ok(())
        }
    }

    "zoo.a44" {
        /// Calls a function of the embedder that panics: `ComponentTrapped(HostFault)`; one that never returns: `ExecutionTimeout` at its
        /// deadline. A function that blocks its thread keeps that thread: no host can take it back.
        fn faults_of_the_embedder(t) {
            let zoo = t.open_as(with_door()).await?;
            let wasm = Forged::new()
                .item(DOOR)
                .function("burst", &lower("door", "burst"), "")
                .function("hang", &lower("door", "hang"), "")
                .attack("(call $burst) (call $answer (i32.const 16) (i32.const 2))")
                .attack("(call $hang) (call $answer (i32.const 16) (i32.const 2))")
                .wasm()?;
            let attacker = granted(Installation::new(id("evil/door"), wasm.clone()), &[GRANT]);
            let attacker = zoo.attacker(attacker, impatient()).await?;
            for _ in 0..3 {
                zoo.attack(&attacker, numbered(0), End::trap(TrapKind::HostFault)).await?;
                zoo.attack(&attacker, numbered(1), End::TIMEOUT).await?;
            }
            let ungranted = zoo.attacker(Installation::new(id("evil/ungranted"), wasm), impatient()).await?;
            zoo.attack(&ungranted, numbered(0), End::Error(ErrorKind::CapabilityDenied, None)).await?;
            ensure_eq!(zoo.denied("custom:zoo:door/burst"), 1, "denials in the audit log");
            zoo.end().await
        }
    }
}
