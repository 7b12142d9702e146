//! What a component may do, and nothing else.

use airssys_wasm::Host;
use airssys_wasm_core::config::{HostConfig, SecurityConfig};
use airssys_wasm_core::error::{Detail, ErrorKind, FailureCode, LoadFault, WasmError};
use airssys_wasm_core::security::{PermissionResult, Rule, SecurityMode};

use super::{HostBench, config, failed, installation};
use crate::guests::Guest;
use crate::runner::{contracts, ensure, ensure_eq};

const DENIED: Option<Detail> = Some(Detail::Failure(FailureCode::Denied));

contracts! { HostBench;
    "host.gate" {
        /// A component that was granted nothing is refused everything that is guarded; the refusal names the grant that would allow
        /// it, and is recorded. Nothing happens.
        fn nothing_granted(t) {
            let live = t.start().await?;
            let other = live.guest(Guest::Counter, "acme/other", &["storage:acme/other"]).await?;
            let relay = live.guest(Guest::Relay, "acme/relay", &[]).await?;
            for command in [
                "send acme/other increment", "ask-async acme/other increment", "publish news.today x", "subscribe news.*",
            ] {
                let error = failed(live.ask(&relay, command).await, ErrorKind::ExecutionFailed, DENIED, command)?;
                let grant = if command.contains("news") { "grant `messaging:news." } else { "grant `messaging:acme/other`" };
                ensure!(error.message().contains(grant), "`{command}` is refused without naming `{grant}`: {error}");
            }
            let counter = live.guest(Guest::Counter, "acme/counter", &[]).await?;
            for command in ["increment", "get", "set 7"] {
                let error = failed(live.ask(&counter, command).await, ErrorKind::ExecutionFailed, DENIED, command)?;
                ensure!(error.message().contains("grant `storage:acme/counter`"), "`{command}`: {error}");
            }
            ensure_eq!(live.stored(&counter, "count").await?, None, "what a component without a grant has stored");
            ensure_eq!(live.ask(&other, "get").await?, "0", "the count of who was sent to without a grant");
            let denials = live.audit.denials();
            let denied = |access: &str| denials.iter().filter(|record| record.access == access).count();
            ensure_eq!(denied("storage:acme/counter"), 3, "recorded denials of storage");
            ensure_eq!(denied("messaging:acme/other"), 2, "recorded denials of messages");
            ensure!(denials.iter().all(|record| record.result == PermissionResult::Denied(Rule::Default)), "{denials:?}");
            live.end().await
        }

        /// A grant for something else is none: another namespace, a longer name, another kind.
        fn wrong_grant(t) {
            let live = t.start().await?;
            let grants = ["storage:acme/other", "storage:acme/counter2", "messaging:**"];
            let counter = live.guest(Guest::Counter, "acme/counter", &grants).await?;
            failed(live.ask(&counter, "increment").await, ErrorKind::ExecutionFailed, DENIED, "a write")?;
            ensure_eq!(live.stored(&counter, "count").await?, None, "what was stored");
            live.end().await
        }

        /// What is granted works, from the next call of the host on; what is revoked is refused from the next call on. Each decision is
        /// recorded, with the rule that made it.
        fn follows_grants(t) {
            let live = t.start().await?;
            let counter = live.guest(Guest::Counter, "acme/counter", &[]).await?;
            let capability = "storage:acme/counter".parse()?;
            for round in 1..=3 {
                ensure!(live.grant(&counter, &capability)?, "the grant is said to be there already");
                ensure_eq!(live.ask(&counter, "increment").await?, round.to_string(), "the count after a grant");
                let last = live.audit.records().pop();
                let rule = last.map(|record| record.result);
                ensure_eq!(rule, Some(PermissionResult::Allowed(Rule::Grant)), "the decision that was recorded");
                ensure!(live.revoke(&counter, &capability)?, "the grant is said not to be there");
                failed(live.ask(&counter, "increment").await, ErrorKind::ExecutionFailed, DENIED, "a write after the grant was revoked")?;
            }
            ensure_eq!(live.stored(&counter, "count").await?, Some(b"3".to_vec()), "what was stored");
            live.end().await
        }

        /// What the operator forbids is refused even to who was granted it, and even in development mode, which allows all the rest.
        fn forbidden_wins(t) {
            let security = SecurityConfig {
                mode: SecurityMode::Development,
                forbidden: vec!["storage:acme/counter".parse()?],
            };
            let config = HostConfig { security, ..HostConfig::default() };
            let live = t.start_as(Host::builder().config(config)).await?;
            let counter = live.guest(Guest::Counter, "acme/counter", &["storage:acme/counter"]).await?;
            let error = failed(live.ask(&counter, "increment").await, ErrorKind::ExecutionFailed, DENIED, "what is forbidden")?;
            ensure!(error.message().contains("forbids"), "the refusal does not say that it is forbidden: {error}");
            ensure_eq!(live.stored(&counter, "count").await?, None, "what was stored");
            let free = live.guest(Guest::Counter, "acme/free", &[]).await?;
            ensure_eq!(live.ask(&free, "increment").await?, "1", "the count of who is not forbidden anything");
            live.end().await
        }

        /// Components see their own keys, and nobody else's, whatever the names.
        fn namespaces_are_apart(t) {
            let live = t.start().await?;
            let names = ["acme/a", "acme/a-b", "acme/ab", "acme-a/b", "ac/me-a"];
            let mut counters = Vec::new();
            for (number, name) in names.into_iter().enumerate() {
                let counter = live.guest(Guest::Counter, name, &[&format!("storage:{name}")]).await?;
                ensure_eq!(live.ask(&counter, "get").await?, "0", "the first count of {name}");
                live.ask(&counter, &format!("set {}", number + 1)).await?;
                counters.push(counter);
            }
            for (number, counter) in counters.iter().enumerate() {
                ensure_eq!(live.ask(counter, "get").await?, (number + 1).to_string(), "the count of {counter}");
            }
            live.end().await
        }

        /// A component subscribes, and receives what is published, only while a grant covers its subscription.
        fn subscriptions_need_their_grant(t) {
            let live = t.start().await?;
            let eavesdropper = installation(Guest::Logger, "acme/eavesdropper", &["messaging:other.*"])?;
            let eavesdropper = eavesdropper.config(config(&[("subscribe", "news.*")]));
            let refused = eavesdropper.id().clone();
            live.install(eavesdropper).await?;
            let init = Some(Detail::Load(LoadFault::Init));
            let started = live.host.start(&refused).await;
            let error = failed(started, ErrorKind::ComponentLoadFailed, init, "a subscription without a grant")?;
            let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<WasmError>());
            ensure_eq!(cause.and_then(WasmError::detail), DENIED, "the cause of a subscription without a grant");
            let grants = ["storage:acme/logger", "messaging:news.*"];
            let logger = installation(Guest::Logger, "acme/logger", &grants)?;
            let logger = live.run(logger.config(config(&[("subscribe", "news.*")]))).await?;
            let publish = || -> crate::runner::Outcome<usize> { Ok(live.publish("news.today".parse()?, "x").delivered.len()) };
            ensure_eq!(publish()?, 1, "deliveries to a subscriber with its grant");
            live.revoke(&logger, &"messaging:news.*".parse()?)?;
            ensure_eq!(publish()?, 0, "deliveries to a subscriber whose grant was revoked");
            live.end().await
        }
    }
}
