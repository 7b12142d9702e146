//! Messages: order, bounds, deadlines, cycles, and who sent them.

use std::time::Duration;

use airssys_wasm::RequestOptions;
use airssys_wasm_core::component::{ByteSize, ResourceLimits};
use airssys_wasm_core::error::{Detail, ErrorKind, FailureCode, MessagingFault};
use airssys_wasm_core::messaging::Body;

use super::{HostBench, SHORT, ample, config, eventually, failed, id, impatient, installation};
use crate::guests::Guest;
use crate::runner::{contracts, ensure, ensure_eq};

const fn fault(fault: MessagingFault) -> Option<Detail> {
    Some(Detail::Messaging(fault))
}

contracts! { HostBench;
    "host.messages" {
        /// What one sender sends is handled in the order of sending, one message at a time.
        fn ordered_per_sender(t) {
            let live = t.start().await?;
            let counter = live.guest(Guest::Counter, "acme/counter", &["storage:acme/counter"]).await?;
            // Only in this order do they make 300.
            for number in 0..300 {
                live.send(&counter, format!("set {number}"))?;
                live.send(&counter, "increment")?;
            }
            ensure_eq!(live.ask(&counter, "get").await?, "300", "the count");
            ensure_eq!(live.status(&counter)?.statistics.handled, 601, "messages handled");
            live.end().await
        }

        /// Bodies and content types arrive as they were sent, and come back as they were returned.
        fn bodies_are_kept(t) {
            let live = t.start().await?;
            let echo = live.guest(Guest::Echo, "acme/echo", &[]).await?;
            for size in [0, 1, 64, 65_536, 1 << 20] {
                let payload: Vec<u8> = (0..=255).cycle().take(size).collect();
                let body = Body::typed("application/x-test; a=b".parse()?, payload);
                ensure!(live.request(&echo, body.clone()).await? == body, "a body of {size} bytes was changed");
            }
            live.end().await
        }

        /// Every one of many requests at the same time gets its own answer.
        fn answers_find_their_request(t) {
            let live = t.start().await?;
            let echo = live.guest(Guest::Echo, "acme/echo", &[]).await?;
            let asked = (0..300_u32).map(|number| {
                let echo = live.component(&echo);
                tokio::spawn(async move { Ok::<_, airssys_wasm_core::error::WasmError>((number, echo?.request(number.to_string()).await?)) })
            });
            for asked in asked.collect::<Vec<_>>() {
                let (number, answer) = asked.await??;
                ensure_eq!(answer.payload, number.to_string().into_bytes(), "the answer to {number}");
            }
            live.end().await
        }

        /// A mailbox holds as many messages, and as many bytes, as it may; one more is refused at the moment of sending.
        fn mailbox_is_bounded(t) {
            let live = t.start().await?;
            for (name, messages, bytes, size) in [("acme/few", 3, 2_000, 10), ("acme/small", 100, 2_000, 500)] {
                let limits = ResourceLimits { mailbox_messages: messages, mailbox_bytes: ByteSize::bytes(bytes), ..ample() };
                let busy = live.run(installation(Guest::Hostile, name, &[])?.limits(limits)).await?;
                let reference = live.component(&busy)?;
                let running = tokio::spawn(async move { reference.request("loop").await });
                eventually("it has taken the message that keeps it busy", async || {
                    // What is taken is no longer queued; what was never sent is not, either.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Ok(live.status(&busy)?.queued == 0 && !running.is_finished())
                }).await?;
                let large = live.send(&busy, vec![b'x'; 2_001]);
                failed(large, ErrorKind::Messaging, fault(MessagingFault::TooLarge), "a message larger than the mailbox")?;
                for _ in 0..3 {
                    live.send(&busy, vec![b'x'; size])?;
                }
                let fourth = live.send(&busy, vec![b'x'; size]);
                failed(fourth, ErrorKind::Messaging, fault(MessagingFault::QueueFull), &format!("one message too many for {name}"))?;
                ensure_eq!(live.status(&busy)?.queued, 3, "the messages queued for {name}");
                live.stop(&busy, Duration::ZERO).await?;
                ensure!(running.await?.is_err(), "an endless loop has answered");
            }
            live.end().await
        }

        /// A mailbox outlives the instance: what was queued behind a message that trapped is handled by a fresh one, in order.
        fn mailbox_outlives_a_trap(t) {
            let live = t.start().await?;
            let counter = live.guest(Guest::Counter, "acme/counter", &["storage:acme/counter"]).await?;
            for round in 0..10 {
                live.send(&counter, "trap-after-write")?;
                live.send(&counter, "increment")?;
                ensure_eq!(live.ask(&counter, "get").await?, (round + 1).to_string(), "the count behind a trap");
            }
            ensure_eq!(live.status(&counter)?.statistics.replaced, 10, "instances replaced");
            live.end().await
        }

        /// What a handler sends is bounded, by number and by bytes; the refusal is a value for the guest.
        fn outbox_is_bounded(t) {
            let live = t.start().await?;
            live.guest(Guest::Logger, "acme/logger", &["storage:acme/logger"]).await?;
            let limits = ResourceLimits { outbox_messages: 4, outbox_bytes: ByteSize::kib(64), ..ResourceLimits::default() };
            let talker = installation(Guest::Hostile, "acme/talker", &["messaging:acme/logger"])?.limits(limits);
            let talker = live.run(talker).await?;
            let answer = live.ask(&talker, "send-flood acme/logger 10 1").await?;
            ensure!(answer.starts_with("4 sent; refused: too-large: "), "the answer is `{answer}`");
            let answer = live.ask(&talker, "send-flood acme/logger 10 30000").await?;
            ensure!(answer.starts_with("2 sent; refused: too-large: "), "the answer is `{answer}`");
            live.end().await
        }

        /// A request is answered or given up at its deadline; who asked goes on, and who was asked is not ended for it.
        fn requests_have_deadlines(t) {
            let live = t.start().await?;
            let slow = live.run(installation(Guest::Hostile, "acme/slow", &[])?.limits(impatient())).await?;
            let options = RequestOptions { timeout: Some(Duration::from_millis(20)), ..RequestOptions::default() };
            let asked = live.component(&slow)?.request_with("loop", options).await;
            failed(asked, ErrorKind::Messaging, fault(MessagingFault::Timeout), "a request of 20 ms")?;
            ensure_eq!(live.ask(&slow, "ok").await?, "ok", "the next answer");
            let relay = installation(Guest::Relay, "acme/relay", &["messaging:acme/slow"])?;
            let relay = live.run(relay.config(config(&[("target", "acme/slow"), ("timeout-ms", "20")]))).await?;
            let unavailable = Some(Detail::Failure(FailureCode::Unavailable));
            let asked = live.ask(&relay, "loop").await;
            let error = failed(asked, ErrorKind::ExecutionFailed, unavailable, "a component's request of 20 ms")?;
            ensure!(error.message().contains("within the time allowed"), "the request was not given up: {error}");
            // It is busy until its own deadline.
            ensure_eq!(live.ask(&slow, "ok").await?, "ok", "the answer behind the one that was given up");
            ensure_eq!(live.ask(&relay, "ok").await?, "acme/relay heard from acme/slow: ok", "the next answer to the relay");
            live.end().await
        }

        /// A component that waits for one which hangs is ended at its own deadline, however long it asked to wait.
        fn deadlines_hold_while_waiting(t) {
            let live = t.start().await?;
            live.guest(Guest::Hostile, "acme/slow", &[]).await?;
            let asks = installation(Guest::Hostile, "acme/asks", &["messaging:acme/slow"])?.limits(impatient());
            let asks = live.run(asks).await?;
            let begun = std::time::Instant::now();
            match live.ask(&asks, "ask acme/slow loop").await {
                // Its own deadline ends it, or the host tells it a moment before.
                Err(error) if error.kind() == ErrorKind::ExecutionTimeout => {}
                Ok(answer) if answer == "refused: timeout" => {}
                other => crate::runner::fail!("a wait for one who hangs came to {other:?}"),
            }
            ensure!(begun.elapsed() < SHORT + Duration::from_secs(5), "it took {:?}", begun.elapsed());
            live.stop(&id("acme/slow"), Duration::ZERO).await?;
            live.end().await
        }

        /// A request that would close a ring of waits is refused at once, and all of the ring go on.
        fn cycles_are_refused(t) {
            let live = t.start().await?;
            let selfish = live.guest(Guest::Hostile, "acme/selfish", &["messaging:acme/selfish"]).await?;
            let answer = live.ask(&selfish, "self-request").await?;
            ensure!(answer.starts_with("refused: cycle: "), "asking oneself was answered with `{answer}`");
            let ring = ["acme/a", "acme/b", "acme/c"];
            for (position, name) in ring.into_iter().enumerate() {
                let target = ring[(position + 1) % ring.len()];
                let relay = installation(Guest::Relay, name, &["messaging:acme/*"])?;
                live.run(relay.config(config(&[("target", target), ("timeout-ms", "20000")]))).await?;
            }
            let begun = std::time::Instant::now();
            let error = failed(live.ask(&id("acme/a"), "round").await, ErrorKind::ExecutionFailed, None, "a ring of three")?;
            ensure!(error.message().contains("cycl") || error.message().contains("waiting"), "the ring is not named: {error}");
            ensure!(begun.elapsed() < Duration::from_secs(10), "the ring was noticed after {:?}", begun.elapsed());
            for name in ring {
                ensure_eq!(live.status(&id(name))?.statistics.replaced, 0, "instances of {name} replaced");
            }
            live.end().await
        }

        /// Messages to somebody who does not run say so.
        fn to_nobody(t) {
            let live = t.start().await?;
            failed(live.send(&id("acme/nobody"), "x"), ErrorKind::Messaging, fault(MessagingFault::UnknownTarget), "a message to nobody")?;
            let relay = live.guest(Guest::Relay, "acme/relay", &["messaging:acme/*"]).await?;
            let missing = Some(Detail::Failure(FailureCode::NotFound));
            failed(live.ask(&relay, "send acme/nobody x").await, ErrorKind::ExecutionFailed, missing, "a component's message to nobody")?;
            live.end().await
        }

        /// The error of a component reaches who asked with its code and its text, through another component, too.
        fn errors_keep_their_code(t) {
            let live = t.start().await?;
            live.guest(Guest::Greeter, "acme/greeter", &[]).await?;
            let relay = installation(Guest::Relay, "acme/relay", &["messaging:acme/greeter"])?;
            let relay = live.run(relay.config(config(&[("target", "acme/greeter")]))).await?;
            let invalid = Some(Detail::Failure(FailureCode::InvalidInput));
            for (asked, what) in [(id("acme/greeter"), "an empty name"), (relay, "an empty name, asked by another")] {
                let error = failed(live.ask(&asked, "").await, ErrorKind::ExecutionFailed, invalid, what)?;
                ensure!(error.message().contains("there is nobody to greet"), "{what}: the text is lost: {error}");
            }
            live.end().await
        }
    }
}
