//! A handler is a transaction: its writes and its messages take effect together, or not at all.

use std::time::Duration;

use airssys_wasm_core::component::{ByteSize, ComponentId, ResourceLimits};
use airssys_wasm_core::error::{Detail, ErrorKind, Limit, TrapKind};

use super::{
    AMPLE, HostBench, HostFeature, Live, When, ample, config, eventually, failed, id, impatient, installation,
};
use crate::guests::Guest;
use crate::runner::{Broken, Outcome, contracts, ensure, ensure_eq};

/// A component that writes and sends before it attacks, and who it sends to.
async fn writer_and_accomplice(live: &Live, limits: ResourceLimits) -> Outcome<(ComponentId, ComponentId)> {
    let accomplice = live.guest(Guest::Logger, "acme/accomplice", &["storage:acme/accomplice"]).await?;
    let grants = ["storage:acme/writer", "messaging:acme/accomplice"];
    let writer = installation(Guest::Hostile, "acme/writer", &grants)?
        .limits(limits)
        .config(config(&[("accomplice", "acme/accomplice")]));
    Ok((live.run(writer).await?, accomplice))
}

/// Shows that the handler that just failed has left nothing behind, and that the component goes on. `nth` counts from one how
/// often this pair was asked.
async fn left_nothing(live: &Live, writer: &ComponentId, accomplice: &ComponentId, nth: usize) -> Outcome {
    ensure_eq!(live.ask(writer, "marked").await?, "false", "whether the component sees its write");
    ensure_eq!(live.stored(writer, "mark").await?, None, "what is in the store");
    // It counts what it is told, in the order in which it is told: a message that had left comes before this question.
    let told = live.ask(accomplice, "how many").await?;
    ensure_eq!(told, nth.to_string(), "messages that left, and questions");
    Ok(())
}

contracts! { HostBench;
    "host.unit_of_work" {
        /// When a handler returns ok, its writes are in the store and its messages leave.
        fn commits_on_ok(t) {
            let live = t.start().await?;
            let (writer, accomplice) = writer_and_accomplice(&live, ample()).await?;
            ensure_eq!(live.ask(&writer, "mark ok").await?, "ok", "the reply");
            ensure_eq!(live.stored(&writer, "mark").await?, Some(b"set".to_vec()), "what is in the store");
            ensure_eq!(live.ask(&writer, "marked").await?, "true", "whether the component sees its write");
            eventually("the message arrived", async || Ok(live.status(&accomplice)?.statistics.handled == 1)).await?;
            live.end().await
        }

        /// A handler that returns an error leaves nothing behind.
        fn vanishes_on_error(t) {
            let live = t.start().await?;
            let (writer, accomplice) = writer_and_accomplice(&live, ample()).await?;
            failed(live.ask(&writer, "mark fail").await, ErrorKind::ExecutionFailed, None, "a failure")?;
            left_nothing(&live, &writer, &accomplice, 1).await?;
            ensure_eq!(live.status(&writer)?.statistics.replaced, 0, "instances replaced after a failure");
            live.end().await
        }

        /// A handler that traps leaves nothing behind, whatever the trap.
        fn vanishes_on_trap(t) {
            let live = t.start().await?;
            let (writer, accomplice) = writer_and_accomplice(&live, ample()).await?;
            for (before, (attack, kind)) in [
                ("mark panic", TrapKind::Unreachable),
                ("mark out-of-bounds", TrapKind::MemoryOutOfBounds),
                ("mark divide", TrapKind::IntegerDivisionByZero),
                ("mark recurse", TrapKind::StackOverflow),
            ].into_iter().enumerate() {
                failed(live.ask(&writer, attack).await, ErrorKind::ComponentTrapped, Some(Detail::Trap(kind)), attack)?;
                left_nothing(&live, &writer, &accomplice, before + 1).await?;
            }
            live.end().await
        }

        /// A handler that is ended at its deadline leaves nothing behind.
        fn vanishes_on_timeout(t) {
            let live = t.start().await?;
            let (writer, accomplice) = writer_and_accomplice(&live, impatient()).await?;
            for (before, attack) in ["mark loop", "mark loop-in-pieces"].into_iter().enumerate() {
                failed(live.ask(&writer, attack).await, ErrorKind::ExecutionTimeout, None, attack)?;
                left_nothing(&live, &writer, &accomplice, before + 1).await?;
            }
            live.end().await
        }

        /// A handler that runs over a limit leaves nothing behind.
        fn vanishes_at_a_limit(t) {
            let live = t.start().await?;
            let (writer, accomplice) = writer_and_accomplice(&live, ResourceLimits { host_calls: 1_000, ..ample() }).await?;
            let attacks = [("mark flood", Limit::HostCalls), ("mark giant-reply 5000000", Limit::Reply)];
            for (before, (attack, limit)) in attacks.into_iter().enumerate() {
                failed(live.ask(&writer, attack).await, ErrorKind::ResourceLimitExceeded, Some(Detail::Limit(limit)), attack)?;
                left_nothing(&live, &writer, &accomplice, before + 1).await?;
            }
            live.end().await
        }

        /// A handler that is ended because its component is stopped leaves nothing behind.
        fn vanishes_on_cancel(t) {
            let live = t.start().await?;
            let accomplice = live.guest(Guest::Logger, "acme/accomplice", &["storage:acme/accomplice"]).await?;
            let grants = ["storage:acme/writer", "messaging:acme/accomplice"];
            let writer = installation(Guest::Hostile, "acme/writer", &grants)?
                .config(config(&[("accomplice", "acme/accomplice")]));
            let writer = live.run(writer).await?;
            let reference = live.component(&writer)?;
            let running = tokio::spawn(async move { reference.request("mark loop").await });
            eventually("the handler runs", async || Ok(live.status(&writer)?.queued == 0 && !running.is_finished())).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
            let report = live.stop(&writer, Duration::ZERO).await?;
            ensure!(report.interrupted, "the stop did not end the handler: {report:?}");
            ensure!(running.await?.is_err(), "a handler that was ended has answered");
            live.host.start(&writer).await?;
            left_nothing(&live, &writer, &accomplice, 1).await?;
            live.end().await
        }

        /// A host that is gone in the middle of a handler, without a word, leaves nothing of that handler, and all of those before.
        [When::Feature(HostFeature::Persistent)]
        fn vanishes_on_host_kill(t) {
            for round in 0..3 {
                let bench = t.detached();
                // The runtime that everything runs on goes away, as it would with its process.
                let killed = std::thread::spawn(move || -> Outcome {
                    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
                    runtime.block_on(async {
                        let live = bench.start().await?;
                        let grants = ["storage:acme/writer"];
                        let writer = live.run(installation(Guest::Hostile, "acme/writer", &grants)?).await?;
                        let before = if round == 0 { "false" } else { "true" };
                        ensure_eq!(live.ask(&writer, "marked").await?, before, "the mark of the round before");
                        ensure_eq!(live.ask(&writer, "mark ok").await?, "ok", "the reply");
                        let counter = live.guest(Guest::Counter, "acme/counter", &["storage:acme/counter"]).await?;
                        let count = live.ask(&counter, "increment").await?;
                        ensure_eq!(count, (round + 1).to_string(), "the count over the restarts");
                        let busy = live.guest(Guest::Hostile, "acme/busy", &["storage:acme/busy"]).await?;
                        live.send(&busy, "mark loop")?;
                        eventually("the handler runs", async || Ok(live.status(&busy)?.queued == 0)).await?;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        Ok::<_, Broken>(())
                    })?;
                    runtime.shutdown_timeout(AMPLE);
                    Ok(())
                });
                let ended = tokio::task::spawn_blocking(move || killed.join()).await?;
                ended.map_err(|panic| Broken::from_panic(&*panic))??;
                let live = t.start().await?;
                ensure_eq!(live.stored(&id("acme/busy"), "mark").await?, None, "what the unfinished handler has left");
                ensure_eq!(live.stored(&id("acme/writer"), "mark").await?, Some(b"set".to_vec()), "what was committed");
                live.end().await?;
            }
            Ok(())
        }

        /// Asking another leaves at once, and is not undone with the handler that asked; who was asked commits by itself.
        fn a_request_is_its_own_transaction(t) {
            let live = t.start().await?;
            let counter = live.guest(Guest::Counter, "acme/counter", &["storage:acme/counter"]).await?;
            let asker = live.guest(Guest::Hostile, "acme/asker", &["messaging:acme/counter"]).await?;
            // Ended for its reply, after it has asked.
            let limits = ResourceLimits { reply: ByteSize::bytes(8), ..ample() };
            let grants = ["storage:acme/ended", "messaging:acme/counter"];
            let ended = installation(Guest::Hostile, "acme/ended", &grants)?;
            let ended = live.run(ended.limits(limits)).await?;
            let too_long = Some(Detail::Limit(Limit::Reply));
            let asked = live.ask(&ended, "mark ask acme/counter increment").await;
            failed(asked, ErrorKind::ResourceLimitExceeded, too_long, "a reply that is too long")?;
            ensure_eq!(live.ask(&counter, "get").await?, "1", "the count after an asker that was ended");
            ensure_eq!(live.stored(&ended, "mark").await?, None, "what the asker that was ended has stored");
            ensure_eq!(live.ask(&asker, "ask acme/counter increment").await?, "answered: 2", "the reply");
            ensure_eq!(live.ask(&counter, "get").await?, "2", "the count");
            live.end().await
        }

        /// A quota holds to the byte within a handler; the refusal is a value for the guest, which goes on.
        fn quota_is_exact(t) {
            let live = t.start().await?;
            // A key `flood/00000000` of 14 bytes, a value of 46 and the overhead of 40: 100 bytes a record.
            let limits = ResourceLimits { storage_bytes: ByteSize::bytes(299), ..ResourceLimits::default() };
            let filler = installation(Guest::Hostile, "acme/filler", &["storage:acme/filler"])?.limits(limits);
            let filler = live.run(filler).await?;
            let answer = live.ask(&filler, "write-flood 10 46").await?;
            ensure!(answer.starts_with("2 written; refused: quota-exceeded: "), "the answer is `{answer}`");
            ensure!(live.stored(&filler, "flood/00000001").await?.is_some(), "the second record is not in the store");
            ensure_eq!(live.stored(&filler, "flood/00000002").await?, None, "the record beyond the quota");
            // What is there counts in the next handler, too: two records of 101 bytes leave no room for a third.
            let answer = live.ask(&filler, "write-flood 10 47").await?;
            ensure!(answer.starts_with("2 written; refused: quota-exceeded: "), "the next answer is `{answer}`");
            live.end().await
        }
    }
}
