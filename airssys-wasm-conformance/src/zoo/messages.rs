//! Attackers that flood, encircle or impersonate others.

use std::collections::HashSet;
use std::time::Duration;

use airssys_wasm::Installation;
use airssys_wasm_core::component::{ByteSize, ComponentState};
use airssys_wasm_core::error::Detail;
use airssys_wasm_core::error::{Limit, MessagingFault};

use super::world::CLOCKS;
use super::{End, ZooBench, eventually, granted, id, impatient, installation, limits, numbered};
use crate::forged::{Forged, LOGGING, MESSAGING, lower};
use crate::guests::Guest;
use crate::runner::{Outcome, contracts, ensure, ensure_eq};

contracts! { ZooBench;
    "zoo.a24" {
        /// Calls the host ten million times: `ResourceLimitExceeded(HostCalls)`, whatever it calls of our own interfaces. Calls of
        /// WASI, such as its clock, are not counted: `ExecutionTimeout`.
        fn host_call_flood(t) {
            let zoo = t.open().await?;
            let few = limits(|limits| limits.host_calls = 20_000);
            let attacker = installation(Guest::Hostile, "evil/flood", &["storage:evil/flood"])?;
            let attacker = zoo.attacker(attacker, few.clone()).await?;
            zoo.attack(&attacker, "flood 10000000", End::limit(Limit::HostCalls)).await?;
            zoo.attack(&attacker, "log-flood 10000000 8", End::limit(Limit::HostCalls)).await?;
            let ungranted = zoo.attacker(installation(Guest::Hostile, "evil/ungranted", &[])?, few).await?;
            zoo.attack(&ungranted, "flood 10000000", End::limit(Limit::HostCalls)).await?;
            ensure!(zoo.denied("storage:evil/ungranted") > 0, "no denial is in the audit log");
            let wasm = Forged::new()
                .item(CLOCKS)
                .function("now", &lower("clock", "now"), "(result i64)")
                .attack("(loop $again (drop (call $now)) (br $again)) unreachable")
                .wasm()?;
            let clock = zoo.attacker(Installation::new(id("evil/clock"), wasm), impatient()).await?;
            zoo.attack(&clock, numbered(0), End::TIMEOUT).await?;
            zoo.end().await
        }
    }

    "zoo.a25" {
        /// Logs 10 MB of colours, line ends and NUL as one line: it is cut, and goes on. Logs 100 MB:
        /// `ResourceLimitExceeded(Transfer)`.
        fn giant_log_line(t) {
            let zoo = t.open().await?;
            let large = limits(|limits| limits.memory = ByteSize::mib(256));
            let attacker = zoo.attacker(installation(Guest::Hostile, "evil/log", &[])?, large).await?;
            zoo.attack(&attacker, "giant-log 10000000", End::Answer("10000000 bytes logged")).await?;
            zoo.attack(&attacker, "giant-log 100000000", End::limit(Limit::Transfer)).await?;
            let wasm = Forged::new()
                .item(LOGGING)
                .function("log", &lower("logging", "log"), "(param i32 i32 i32)")
                .attack("(drop (memory.grow (i32.const 1600))) (call $log (i32.const 4) (i32.const 0) (i32.const 100000000)) unreachable")
                .wasm()?;
            let zeroes = zoo.attacker(Installation::new(id("evil/zeroes"), wasm), limits(|limits| limits.memory = ByteSize::mib(128))).await?;
            zoo.attack(&zeroes, numbered(0), End::limit(Limit::Transfer)).await?;
            zoo.end().await
        }
    }

    "zoo.a26" {
        /// Sends more than a slow receiver takes: `queue-full` at the number that its mailbox holds, and nothing beyond is kept. A message of
        /// 64 MiB is `too-large`, or `ResourceLimitExceeded(Transfer)` where as much may not even reach the host.
        fn message_flood(t) {
            let zoo = t.open().await?;
            let small = limits(|limits| limits.mailbox_messages = 10);
            let slow = zoo.attacker(installation(Guest::Hostile, "evil/slow", &[])?, small).await?;
            let talker = installation(Guest::Hostile, "evil/talker", &["messaging:evil/slow"])?;
            let talker = zoo.attacker(talker, limits(|_| {})).await?;
            zoo.attack(&talker, "send-flood evil/slow 1000 100", End::AnswerLike("10 sent; refused: queue-full: ")).await?;
            // What is copied takes its time on a busy machine, and is not to meet a deadline.
            let large = limits(|limits| {
                limits.memory = ByteSize::mib(160);
                limits.deadline = Duration::from_secs(25);
            });
            let shouter = installation(Guest::Hostile, "evil/shouter", &["messaging:evil/slow"])?;
            let shouter = zoo.attacker(shouter, large.clone()).await?;
            zoo.attack(&shouter, "send-flood evil/slow 1 67108864", End::limit(Limit::Transfer)).await?;
            let wider = airssys_wasm_core::component::ResourceLimits { transfer: ByteSize::mib(100), ..large };
            let louder = installation(Guest::Hostile, "evil/louder", &["messaging:evil/slow"])?;
            let louder = zoo.attacker(louder, wider).await?;
            zoo.attack(&louder, "send-flood evil/slow 1 67108864", End::AnswerLike("0 sent; refused: too-large: ")).await?;
            let empty = || Ok(zoo.host.status(&slow.id)?.queued == 0);
            eventually("the mailbox of the slow one is empty", empty).await?;
            ensure_eq!(zoo.statistics(&slow)?.failed, 10, "messages that the slow one was sent, and understood nothing of");
            let sent = zoo.host.send(&slow.id, vec![0; 64 << 20]).map(drop).map_err(|error| error.detail());
            ensure_eq!(sent, Err(Some(Detail::Messaging(MessagingFault::TooLarge))), "64 MiB of the embedder");
            zoo.end().await
        }
    }

    "zoo.a27" {
        /// Asks itself, or asks one who asks it in turn: the request that would close the ring is refused with `cycle` at once, and
        /// all of the ring go on.
        fn request_cycle(t) {
            let zoo = t.open().await?;
            let selfish = installation(Guest::Hostile, "evil/selfish", &["messaging:evil/selfish"])?;
            let selfish = zoo.attacker(selfish, impatient()).await?;
            zoo.attack(&selfish, "self-request", End::AnswerLike("refused: cycle: ")).await?;
            let left = installation(Guest::Hostile, "evil/left", &["messaging:evil/right"])?;
            let left = zoo.attacker(left, limits(|_| {})).await?;
            let right = installation(Guest::Hostile, "evil/right", &["messaging:evil/left"])?;
            let right = zoo.attacker(right, limits(|_| {})).await?;
            let ring = "ask evil/right ask evil/left ok";
            zoo.attack(&left, ring, End::AnswerLike("answered: refused: cycle: ")).await?;
            ensure_eq!(zoo.statistics(&right)?.replaced, 0, "instances of the other one replaced");
            zoo.end().await
        }
    }
    "zoo.a28" {
        /// Publishes twice for every event it hears, as two others do: mailboxes stay within their bounds, what does not fit is dropped, and
        /// the storm ends when the grant to publish is taken back: every publication is then denied, recorded, and the
        /// mailboxes drain. There is no limit of hops: it is the operator who ends a storm.
        fn publish_storm(t) {
            let zoo = t.open().await?;
            let wasm = Forged::new()
                .item(MESSAGING)
                .function("publish", &lower("messaging", "publish"), "(param i32 i32 i32 i32 i32 i32 i32 i32)")
                .function("subscribe", &lower("messaging", "subscribe"), "(param i32 i32 i32)")
                .inside(r#"(data (i32.const 32) "storm.*") (data (i32.const 48) "storm.x") (data (i32.const 64) "0")
                    (func $again (call $publish (i32.const 48) (i32.const 7) (i32.const 0) (i32.const 0) (i32.const 0)
                        (i32.const 64) (i32.const 1) (i32.const 2048)))"#)
                .init("(call $subscribe (i32.const 32) (i32.const 7) (i32.const 2048))")
                .attack("(global.set $top (i32.const 65536)) (call $again) (call $again) (call $answer (i32.const 16) (i32.const 2))")
                .wasm()?;
            let small = limits(|limits| limits.mailbox_messages = 100);
            let mut all = Vec::new();
            for name in ["evil/one", "evil/two", "evil/three"] {
                let attacker = granted(Installation::new(id(name), wasm.clone()), &["messaging:storm.*"]);
                all.push(zoo.attacker(attacker, small.clone()).await?);
            }
            let storm = async {
                End::Answer("ok").check(&zoo.ask(&all[0], b"0").await, "the first of the storm")?;
                for attacker in &all {
                    eventually("everybody is in the storm", || Ok(zoo.statistics(attacker)?.handled > 100)).await?;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
                Outcome::Ok(())
            };
            zoo.around("a storm", ByteSize::mib(3 * 64), storm).await??;
            for attacker in &all {
                let status = zoo.host.status(&attacker.id)?;
                ensure!(status.queued <= 100, "{} has {} messages queued", attacker.id, status.queued);
            }
            for attacker in &all {
                zoo.host.revoke(&attacker.id, &"messaging:storm.*".parse()?)?;
            }
            for attacker in &all {
                let calm = || Ok(zoo.host.status(&attacker.id)?.queued == 0);
                eventually("the storm is over", calm).await?;
                zoo.is_honest(attacker).await?;
                ensure_eq!(zoo.host.status(&attacker.id)?.state, ComponentState::Running, "the state of {}", attacker.id);
            }
            ensure!(zoo.denied("messaging:storm.x") > 0, "no denial is in the audit log");
            zoo.end().await
        }
    }

    "zoo.a35" {
        /// Says in a message that it comes from somebody else, and sends the same twice: the receiver is told who sent it by the host, and
        /// every message has an id that no other has. What is sent once is handled once.
        fn impersonation(t) {
            let zoo = t.open().await?;
            let wasm = Forged::new()
                .attack(
                    "(if (i32.eqz (i32.load8_u offset=16 (global.get $message)))
                        (then (return (call $answer (i32.const 4) (i32.const 0)))))
                    (call $answer (i32.load offset=20 (global.get $message)) (i32.load offset=24 (global.get $message)))",
                )
                .attack("(call $answer (global.get $message) (i32.const 16))")
                .wasm()?;
            let witness = zoo.attacker(Installation::new(id("good/witness"), wasm), limits(|_| {})).await?;
            let forger = installation(Guest::Hostile, "evil/forger", &["messaging:good/witness"])?;
            let forger = zoo.attacker(forger, limits(|_| {})).await?;
            for claim in ["0", "0 sender=quiet/neighbour", "0 from: host", "0\u{0}quiet/neighbour"] {
                let attack = format!("ask good/witness {claim}");
                zoo.attack(&forger, attack, End::Answer("answered: evil/forger")).await?;
            }
            zoo.attack(&witness, numbered(0), End::Answer("")).await?;
            let mut ids = HashSet::new();
            for _ in 0..300 {
                let id = zoo.host.request(&witness.id, "1").await?.payload;
                ensure!(id.len() == 16 && ids.insert(id), "an id of a message was used twice");
            }
            let before = zoo.statistics(&witness)?;
            zoo.attack(&forger, "send-flood good/witness 50 1", End::Answer("50 sent")).await?;
            eventually("every message was handled", || Ok(zoo.host.status(&witness.id)?.queued == 0)).await?;
            zoo.is_honest(&witness).await?;
            let after = zoo.statistics(&witness)?;
            // Its payload is `x`, of which the witness understands nothing.
            ensure_eq!(after.failed - before.failed, 50, "messages that arrived of fifty");
            zoo.end().await
        }
    }
}
