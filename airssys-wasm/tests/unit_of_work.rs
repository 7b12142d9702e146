//! A handler's writes and messages take effect together, or not at all.

#![cfg(feature = "wasmtime")]

mod support;

use airssys_wasm::Host;
use airssys_wasm::core::component::{ByteSize, ComponentId, ResourceLimits};
use airssys_wasm::core::error::{Detail, ErrorKind, TrapKind};
use airssys_wasm::core::storage::{Key, Namespace, StorageBackend};
use airssys_wasm::storage::MemoryStore;
use airssys_wasm_conformance::guests::Guest;
use std::sync::Arc;
use support::*;

#[tokio::test]
async fn writes_stay_when_the_handler_returns_ok() {
    let store = Arc::new(MemoryStore::new());
    let (host, _) = build(Host::builder().store(store.clone())).await;
    let counter = counter(&host).await;
    assert_eq!(ask(&host, &counter, "increment").await.unwrap(), "1");
    assert_eq!(ask(&host, &counter, "add 41").await.unwrap(), "42");
    let stored = store.get(&Namespace::of_component(&counter), &Key::new("count").unwrap()).await.unwrap();
    assert_eq!(stored.unwrap().value, b"42");
}

#[tokio::test]
async fn writes_vanish_when_the_handler_fails() {
    let (host, _) = host().await;
    let counter = counter(&host).await;
    ask(&host, &counter, "add 7").await.unwrap();
    let error = ask(&host, &counter, "fail-after-write").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ExecutionFailed);
    assert_eq!(ask(&host, &counter, "get").await.unwrap(), "7");
}

#[tokio::test]
async fn writes_vanish_when_the_handler_traps_and_the_mailbox_lives_on() {
    let (host, _) = host().await;
    let counter = counter(&host).await;
    ask(&host, &counter, "add 7").await.unwrap();
    let trap = host.request(&counter, "trap-after-write");
    let next = host.request(&counter, "increment");
    let (trap, next) = tokio::join!(trap, next);
    let trap = trap.unwrap_err();
    assert_eq!(
        (trap.kind(), trap.detail()),
        (ErrorKind::ComponentTrapped, Some(Detail::Trap(TrapKind::Unreachable)))
    );
    assert_eq!(next.unwrap().payload, b"8", "the queued message was handled by a fresh instance");
    assert_eq!(host.status(&counter).unwrap().statistics.replaced, 1);
}

#[tokio::test]
async fn messages_leave_only_when_the_handler_returns_ok() {
    let (host, _) = host().await;
    let counter = counter(&host).await;
    let relay = relay(&host).await;
    let error = ask(&host, &relay, "send-then-fail acme/counter increment").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ExecutionFailed);
    assert_eq!(ask(&host, &counter, "get").await.unwrap(), "0");
    ask(&host, &relay, "send acme/counter increment").await.unwrap();
    assert_eq!(ask(&host, &counter, "get").await.unwrap(), "1");
}

#[tokio::test]
async fn a_replaced_value_is_handed_back_to_the_guest() {
    let (host, _) = host().await;
    let counter = counter(&host).await;
    assert_eq!(ask(&host, &counter, "set 7").await.unwrap(), "0");
    assert_eq!(ask(&host, &counter, "set 9").await.unwrap(), "7");
    assert_eq!(ask(&host, &counter, "get").await.unwrap(), "9");
    let other = start(&host, guest(Guest::Counter, "acme/poor", &[])).await;
    let denied = ask(&host, &other, "set 1").await.unwrap_err();
    assert!(denied.to_string().contains("storage:acme/poor"), "{denied}");
}

#[tokio::test]
async fn a_handler_ended_at_its_deadline_leaves_nothing_behind() {
    let (host, _) = host().await;
    let hostile = guest(Guest::Hostile, "evil/busy", &["storage:evil/busy"]).limits(impatient());
    let hostile = start(&host, hostile).await;
    let error = ask(&host, &hostile, "loop-in-pieces").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ExecutionTimeout);
    assert_eq!(ask(&host, &hostile, "ok").await.unwrap(), "ok");
}

#[tokio::test]
async fn a_quota_holds_to_the_byte_and_the_refusal_reaches_the_guest() {
    let (host, _) = host().await;
    let limits = ResourceLimits { storage_keys: 5, ..ResourceLimits::default() };
    let hostile = guest(Guest::Hostile, "evil/writer", &["storage:evil/writer"]).limits(limits);
    let hostile = start(&host, hostile).await;
    let answer = ask(&host, &hostile, "write-flood 10 1").await.unwrap();
    assert!(answer.starts_with("5 written; refused: quota-exceeded: "), "{answer}");

    // A key `flood/00000000` of 14 bytes, a value of 46 and the overhead of 40: 100 bytes a record.
    let limits = ResourceLimits { storage_bytes: ByteSize::bytes(299), ..ResourceLimits::default() };
    let hostile = guest(Guest::Hostile, "evil/filler", &["storage:evil/filler"]).limits(limits);
    let hostile = start(&host, hostile).await;
    let answer = ask(&host, &hostile, "write-flood 10 46").await.unwrap();
    assert!(answer.starts_with("2 written; refused: quota-exceeded: "), "{answer}");
}

#[tokio::test]
async fn the_room_kept_for_messages_that_never_leave_is_given_back() {
    let (host, _) = host().await;
    let small = ResourceLimits { mailbox_messages: 2, ..ResourceLimits::default() };
    let counter = guest(Guest::Counter, "acme/counter", &["storage:acme/counter"]).limits(small);
    let counter = start(&host, counter).await;
    let relay = relay(&host).await;
    for _ in 0..5 {
        ask(&host, &relay, "send-then-fail acme/counter increment").await.unwrap_err();
    }
    ask(&host, &relay, "send acme/counter increment").await.unwrap();
    assert_eq!(ask(&host, &counter, "get").await.unwrap(), "1");
}

#[tokio::test]
async fn a_full_mailbox_is_answered_at_the_moment_of_sending() {
    let (host, _) = host().await;
    let small = ResourceLimits { mailbox_messages: 3, ..ResourceLimits::default() };
    let logger = guest(Guest::Logger, "acme/logger", &["storage:acme/logger"]).limits(small);
    let logger = start(&host, logger).await;
    let flood = start(&host, guest(Guest::Hostile, "evil/flood", &["messaging:acme/logger"])).await;
    let answer = ask(&host, &flood, "send-flood acme/logger 10 1").await.unwrap();
    assert!(answer.starts_with("3 sent; refused: queue-full: "), "{answer}");
    eventually("the three were handled", async || host.status(&logger).unwrap().statistics.handled == 3)
        .await;
}

#[tokio::test]
async fn a_value_beyond_what_a_store_takes_is_refused_to_the_guest() {
    let (host, _) = host().await;
    let hostile = start(&host, guest(Guest::Hostile, "evil/big", &["storage:evil/big"])).await;
    assert_eq!(ask(&host, &hostile, "big-value 4194304").await.unwrap(), "stored");
    let answer = ask(&host, &hostile, "big-value 4194305").await.unwrap();
    assert!(answer.starts_with("refused: too-large: "), "{answer}");
}

#[tokio::test]
async fn an_outbox_is_bounded() {
    let (host, _) = host().await;
    let limits = ResourceLimits { outbox_messages: 4, ..ResourceLimits::default() };
    start(&host, guest(Guest::Logger, "acme/logger", &["storage:acme/logger"])).await;
    let flood = guest(Guest::Hostile, "evil/flood", &["messaging:acme/logger"]).limits(limits);
    let flood = start(&host, flood).await;
    let answer = ask(&host, &flood, "send-flood acme/logger 10 1").await.unwrap();
    assert!(answer.starts_with("4 sent; refused: too-large: "), "{answer}");
}

async fn relay(host: &Host) -> ComponentId {
    let relay = guest(Guest::Relay, "acme/relay", &["messaging:acme/*", "storage:acme/relay"]);
    start(host, relay.config(config(&[("target", "acme/counter")]))).await
}
