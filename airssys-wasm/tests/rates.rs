//! Rates and totals: what a component may do in a second, and what all of them may have together.

#![cfg(feature = "wasmtime")]

mod support;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use airssys_wasm::Host;
use airssys_wasm::core::component::{ByteSize, ComponentId, ResourceLimits};
use airssys_wasm::core::config::{HostConfig, RuntimeConfig};
use airssys_wasm::core::error::{Detail, Limit};
use airssys_wasm_conformance::guests::Guest;
use support::*;
use tracing::{Event, Metadata, Subscriber, span};

fn per_second(amount: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(amount)
}

/// A sender with these limits, and somebody who takes what it sends.
async fn sender(limits: ResourceLimits) -> (Host, ComponentId) {
    let (host, _) = host().await;
    start(&host, guest(Guest::Echo, "acme/echo", &[])).await;
    let hostile = guest(Guest::Hostile, "acme/sender", &["messaging:acme/echo"]).limits(limits);
    let id = start(&host, hostile).await;
    (host, id)
}

/// How many messages were sent of ten, and what was said of the rest.
async fn flood(host: &Host, id: &ComponentId, bytes: usize) -> (u64, String) {
    let answer = ask(host, id, &format!("send-flood acme/echo 10 {bytes}")).await.expect("it answers");
    let (sent, rest) = answer.split_once(" sent").expect("the answer says how many were sent");
    (sent.parse().expect("the number is one"), rest.to_owned())
}

#[tokio::test]
async fn messages_in_a_second_are_bounded() {
    let limits = ResourceLimits { messages_per_second: per_second(3), ..ResourceLimits::default() };
    let (host, id) = sender(limits).await;
    let (sent, rest) = flood(&host, &id, 1).await;
    assert!((3..10).contains(&sent), "{sent} sent{rest}");
    assert!(rest.contains("queue-full") && rest.contains("3 messages in a second"), "{rest}");
    // The rate is the component's, and not that of a message or of an instance.
    let (at_once, _) = flood(&host, &id, 1).await;
    assert!(at_once < 10, "{at_once} more at once");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (later, _) = flood(&host, &id, 1).await;
    assert!((3..10).contains(&later), "{later} sent after a second");
    assert_eq!(host.status(&id).unwrap().statistics.failed, 0, "a refusal ends nobody");
}

#[tokio::test]
async fn bytes_of_messages_in_a_second_are_bounded() {
    let limits = ResourceLimits { message_bytes_per_second: per_second(1_200), ..ResourceLimits::default() };
    let (host, id) = sender(limits).await;
    let (sent, rest) = flood(&host, &id, 500).await;
    assert!((2..10).contains(&sent), "{sent} sent{rest}");
    assert!(rest.contains("1200 bytes of messages in a second"), "{rest}");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (sent, _) = flood(&host, &id, 1_137).await;
    assert_eq!(sent, 0, "a message that is larger than a second allows");
    let (_, rest) = flood(&host, &id, 1_137).await;
    assert!(rest.contains("too-large") && rest.contains("`message-bytes-per-second`"), "{rest}");
}

#[tokio::test]
async fn who_has_no_rate_is_held_to_none() {
    let (host, id) = sender(ResourceLimits::default()).await;
    assert_eq!(flood(&host, &id, 500).await, (10, String::new()));
}

#[tokio::test]
async fn requests_without_an_answer_are_bounded() {
    let (host, _) = host().await;
    start(&host, guest(Guest::Greeter, "acme/greeter", &[])).await;
    let relay = |name: &str, pending_requests| {
        let limits = ResourceLimits { pending_requests, ..ResourceLimits::default() };
        guest(Guest::Relay, name, &["messaging:acme/greeter", "storage:acme/**"]).limits(limits)
    };
    let none = start(&host, relay("acme/none", 0)).await;
    let refused = ask(&host, &none, "ask-async acme/greeter x").await.unwrap_err().to_string();
    assert!(refused.contains("wait for the answers to 0 requests"), "{refused}");
    let one = start(&host, relay("acme/one", 1)).await;
    for round in 0..3 {
        ask(&host, &one, "ask-async acme/greeter x").await.unwrap_or_else(|error| panic!("{round}: {error}"));
        let answered = async {
            while ask(&host, &one, "last-reply").await.is_err() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("an answer comes");
        // The count goes down with the answer's delivery, which comes before its handling.
    }
}

/// Counts the lines of guests.
struct Lines(Arc<AtomicUsize>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "airssys_wasm::guest"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn logs_in_a_second_are_bounded() {
    let lines = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Lines(lines.clone()));
    let logged = async |limits: ResourceLimits| {
        let (host, id) = sender(limits).await;
        lines.store(0, Ordering::Relaxed);
        ask(&host, &id, "log-flood 20 200").await.expect("a flood of lines ends nobody");
        lines.load(Ordering::Relaxed)
    };
    assert_eq!(logged(ResourceLimits::default()).await, 20);
    let limits = ResourceLimits { log_bytes_per_second: per_second(1_000), ..ResourceLimits::default() };
    let bounded = logged(limits).await;
    assert!((6..20).contains(&bounded), "{bounded} lines: five, and one that says so, were to be expected");
}

#[tokio::test]
async fn memory_of_all_components_is_bounded() {
    let runtime = RuntimeConfig { max_memory: Some(ByteSize::mib(100)), ..RuntimeConfig::default() };
    let config = HostConfig { runtime, ..HostConfig::default() };
    let (host, _) = build(Host::builder().config(config)).await;
    let greeter = |name: &str, memory| {
        let limits = ResourceLimits { memory, ..ResourceLimits::default() };
        guest(Guest::Greeter, name, &[]).limits(limits)
    };
    let first = start(&host, greeter("acme/first", ByteSize::mib(64))).await;
    let second = greeter("acme/second", ByteSize::mib(64));
    let second = host.install(second).await.unwrap().id;
    let refused = host.start(&second).await.unwrap_err();
    assert_eq!(refused.detail(), Some(Detail::Limit(Limit::Memory)), "{refused}");
    assert!(refused.to_string().contains("more memory together than the host allows"), "{refused}");
    // Neither a refusal nor a start that fails keeps anything.
    let tiny = host.install(greeter("acme/tiny", ByteSize::bytes(1))).await.unwrap().id;
    for _ in 0..3 {
        host.start(&tiny).await.unwrap_err();
        host.start(&second).await.unwrap_err();
    }
    start(&host, greeter("acme/third", ByteSize::mib(36))).await;
    host.stop(&first, PATIENCE).await.unwrap();
    host.start(&second).await.unwrap();
}
