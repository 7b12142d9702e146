//! The life of a component, and of the host.

use std::time::Duration;

use airssys_wasm_core::component::ComponentState;
use airssys_wasm_core::error::{Detail, ErrorKind, LoadFault, MessagingFault, WasmError};

use super::{AMPLE, HostBench, HostFeature, When, config, failed, impatient, installation};
use crate::guests::Guest;
use crate::runner::{contracts, ensure, ensure_eq};

contracts! { HostBench;
    "host.restart" {
        /// A fresh instance after a trap keeps what was committed, and nothing of the old one's memory.
        fn of_an_instance(t) {
            let live = t.start().await?;
            let guest = live.guest(Guest::Hostile, "acme/guest", &["storage:acme/guest"]).await?;
            ensure_eq!(live.ask(&guest, "mark ok").await?, "ok", "the reply");
            ensure_eq!(live.ask(&guest, "leak 1000").await?, "1000 bytes kept", "what it keeps in memory");
            failed(live.ask(&guest, "panic").await, ErrorKind::ComponentTrapped, None, "a panic")?;
            ensure_eq!(live.ask(&guest, "leak 1").await?, "1 bytes kept", "what a fresh instance keeps in memory");
            ensure_eq!(live.ask(&guest, "marked").await?, "true", "what was committed before");
            live.end().await
        }

        /// A component that is stopped finishes what is queued, takes no more, and starts again with what it stored.
        fn of_a_component(t) {
            let live = t.start().await?;
            let counter = live.guest(Guest::Counter, "acme/counter", &["storage:acme/counter"]).await?;
            for _ in 0..50 {
                live.send(&counter, "increment")?;
            }
            let report = live.stop(&counter, AMPLE).await?;
            ensure!(!report.interrupted && report.dropped == 0 && report.error.is_none(), "the stop said {report:?}");
            ensure_eq!(live.stored(&counter, "count").await?, Some(b"50".to_vec()), "the count in the store");
            let gone = Some(Detail::Messaging(MessagingFault::UnknownTarget));
            failed(live.send(&counter, "increment"), ErrorKind::Messaging, gone, "a message to one who was stopped")?;
            live.host.start(&counter).await?;
            ensure_eq!(live.ask(&counter, "get").await?, "50", "the count after the start");
            live.end().await
        }

        /// A host that was shut down and made again over the same store finds everything that was committed.
        [When::Feature(HostFeature::Persistent)]
        fn of_the_host(t) {
            for round in 1..=3 {
                let live = t.start().await?;
                let counter = live.guest(Guest::Counter, "acme/counter", &["storage:acme/counter"]).await?;
                ensure_eq!(live.ask(&counter, "increment").await?, round.to_string(), "the count over restarts");
                live.end().await?;
            }
            Ok(())
        }
    }

    "host.life" {
        /// A component whose `init` fails does not start, says why, and can be started again.
        fn init_may_fail(t) {
            let live = t.start().await?;
            for (attack, kind) in [
                ("fail", ErrorKind::ExecutionFailed), ("panic", ErrorKind::ComponentTrapped), ("loop", ErrorKind::ExecutionTimeout),
            ] {
                let name = format!("acme/{attack}");
                let guest = installation(Guest::Hostile, &name, &[])?.limits(impatient()).config(config(&[("init", attack)]));
                let id = guest.id().clone();
                live.install(guest).await?;
                for _ in 0..2 {
                    let init = Some(Detail::Load(LoadFault::Init));
                    let error = failed(live.host.start(&id).await, ErrorKind::ComponentLoadFailed, init, attack)?;
                    let cause = std::error::Error::source(&error)
                        .and_then(|cause| cause.downcast_ref::<WasmError>())
                        .map(WasmError::kind);
                    ensure_eq!(cause, Some(kind), "the cause, when `init` comes to {attack}");
                    ensure_eq!(live.status(&id)?.state, ComponentState::Failed, "its state");
                }
            }
            live.end().await
        }

        /// A component that fails in `shutdown`, or does not return from it, is stopped all the same.
        fn shutdown_may_fail(t) {
            let live = t.start().await?;
            for (attack, kind) in [("panic", ErrorKind::ComponentTrapped), ("loop", ErrorKind::ExecutionTimeout)] {
                let name = format!("acme/{attack}");
                let guest = installation(Guest::Hostile, &name, &[])?.limits(impatient()).config(config(&[("shutdown", attack)]));
                let guest = live.run(guest).await?;
                let report = live.stop(&guest, AMPLE).await?;
                ensure_eq!(report.error.map(|error| error.kind()), Some(kind), "the error of a shutdown that comes to {attack}");
                ensure_eq!(live.status(&guest)?.state, ComponentState::Stopped, "its state");
            }
            live.end().await
        }

        /// A host that is shut down ends every component, hangs in none, and takes nothing more.
        fn the_host_ends(t) {
            let live = t.start().await?;
            let busy = live.guest(Guest::Hostile, "acme/busy", &[]).await?;
            live.guest(Guest::Counter, "acme/counter", &["storage:acme/counter"]).await?;
            live.send(&busy, "loop")?;
            let report = tokio::time::timeout(AMPLE, live.shutdown(Duration::from_millis(50))).await;
            ensure!(report.is_ok(), "the host did not come to an end");
            ensure!(live.send(&busy, "ok").is_err(), "a host that was shut down takes messages");
            ensure!(live.install(installation(Guest::Echo, "acme/late", &[])?).await.is_err() || live.host.start(&super::id("acme/late")).await.is_err(),
                "a host that was shut down starts components");
            Ok(())
        }
    }
}
