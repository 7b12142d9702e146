//! Starting, stopping, and the end of the host.

#![cfg(feature = "wasmtime")]

mod support;

use airssys_wasm::Host;
use airssys_wasm::core::component::ComponentState;
use airssys_wasm::core::error::{Detail, ErrorKind, MessagingFault, StorageFault};
use airssys_wasm::core::storage::{Key, Namespace, StorageBackend};
use airssys_wasm::storage::MemoryStore;
use airssys_wasm_conformance::guests::Guest;
use std::sync::Arc;
use std::time::Duration;
use support::*;

#[tokio::test]
async fn states_follow_each_other_in_order() {
    let (host, _) = host().await;
    let state = |host: &Host| host.status(&id("acme/greeter")).unwrap().state;
    host.install(guest(Guest::Greeter, "acme/greeter", &[])).await.unwrap();
    assert_eq!(state(&host), ComponentState::Installed);
    let greeter = id("acme/greeter");
    assert_eq!(host.stop(&greeter, PATIENCE).await.unwrap_err().kind(), ErrorKind::Actor);
    host.start(&greeter).await.unwrap();
    assert_eq!(state(&host), ComponentState::Running);
    assert_eq!(host.start(&greeter).await.unwrap_err().kind(), ErrorKind::Actor);
    host.stop(&greeter, PATIENCE).await.unwrap();
    assert_eq!(state(&host), ComponentState::Stopped);
    host.start(&greeter).await.unwrap();
    assert_eq!(ask(&host, &greeter, "Ada").await.unwrap(), "Hello, Ada!");
}

#[tokio::test]
async fn stopping_finishes_what_is_queued_and_takes_no_more() {
    let store = Arc::new(MemoryStore::new());
    let (host, _) = build(Host::builder().store(store.clone())).await;
    let counter = counter(&host).await;
    let reference = host.component(&counter).unwrap();
    for _ in 0..100 {
        reference.send("increment").unwrap();
    }
    let report = host.stop(&counter, PATIENCE).await.unwrap();
    assert_eq!((report.dropped, report.interrupted, report.error.is_none()), (0, false, true));
    let count =
        store.get(&Namespace::of_component(&counter), &Key::new("count").unwrap()).await.unwrap().unwrap();
    assert_eq!(count.value, b"100");
    let error = reference.send("increment").unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Messaging(MessagingFault::ShuttingDown)));
}

#[tokio::test]
async fn a_stop_that_runs_out_of_time_ends_the_handler_and_tells_what_it_dropped() {
    let (host, _) = host().await;
    let hostile = start(&host, guest(Guest::Hostile, "evil/busy", &[])).await;
    let busy = host.component(&hostile).unwrap();
    let running = tokio::spawn({
        let busy = busy.clone();
        async move { busy.request("loop").await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let waiting = tokio::spawn({
        let busy = busy.clone();
        async move { busy.request("ok").await }
    });
    busy.send("ok").unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let report = host.stop(&hostile, Duration::from_millis(50)).await.unwrap();
    assert_eq!((report.dropped, report.interrupted), (2, true));
    let fault = |error: airssys_wasm::WasmError| error.detail();
    assert_eq!(
        fault(running.await.unwrap().unwrap_err()),
        Some(Detail::Messaging(MessagingFault::Unavailable))
    );
    assert_eq!(
        fault(waiting.await.unwrap().unwrap_err()),
        Some(Detail::Messaging(MessagingFault::ShuttingDown))
    );
    host.start(&hostile).await.unwrap();
    assert_eq!(ask(&host, &hostile, "ok").await.unwrap(), "ok");
}

#[tokio::test]
async fn shutdown_drains_every_component_and_closes_the_store() {
    let store = Arc::new(MemoryStore::new());
    let (host, _) = build(Host::builder().store(store.clone())).await;
    let counter = counter(&host).await;
    start(&host, guest(Guest::Greeter, "acme/greeter", &[])).await;
    for _ in 0..10 {
        host.send(&counter, "increment").unwrap();
    }
    let report = host.shutdown(PATIENCE).await;
    assert_eq!(
        report.components.iter().map(|(id, _)| id.to_string()).collect::<Vec<_>>(),
        ["acme/counter", "acme/greeter"]
    );
    assert_eq!((report.dropped(), report.store_error.is_none()), (0, true));
    let error = store.get(&Namespace::of_component(&counter), &Key::new("count").unwrap()).await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Storage(StorageFault::Closed)));
    assert!(host.shutdown(PATIENCE).await.components.is_empty(), "a second shutdown finds nothing to do");
}

#[tokio::test]
async fn whoever_stops_may_stop_waiting_for_it() {
    let (host, _) = host().await;
    let hostile = start(&host, guest(Guest::Hostile, "evil/busy", &[])).await;
    host.send(&hostile, "loop").unwrap();
    let impatient =
        tokio::time::timeout(Duration::from_millis(20), host.stop(&hostile, Duration::from_millis(100)));
    assert!(impatient.await.is_err());
    assert_eq!(host.stop(&hostile, PATIENCE).await.unwrap_err().kind(), ErrorKind::Actor, "it is stopping");
    eventually("it stopped all the same", async || {
        host.status(&hostile).unwrap().state == ComponentState::Stopped
    })
    .await;
    host.start(&hostile).await.unwrap();

    host.send(&hostile, "loop").unwrap();
    let shutdown = tokio::time::timeout(Duration::from_millis(20), host.shutdown(Duration::from_millis(200)));
    assert!(shutdown.await.is_err());
    eventually("it ended all the same", async || {
        host.status(&hostile).unwrap().state == ComponentState::Stopped
    })
    .await;
}

#[tokio::test]
async fn a_component_cannot_be_stopped_before_it_runs_and_a_dropped_start_fails() {
    let (host, _) = host().await;
    let slow = guest(Guest::Hostile, "evil/slow", &[]).config(config(&[("init", "loop")]));
    host.install(slow).await.unwrap();
    let slow = id("evil/slow");
    {
        let mut starting = std::pin::pin!(host.start(&slow));
        assert!(tokio::time::timeout(Duration::from_millis(30), &mut starting).await.is_err());
        assert_eq!(host.status(&slow).unwrap().state, ComponentState::Starting);
        assert_eq!(host.stop(&slow, PATIENCE).await.unwrap_err().kind(), ErrorKind::Actor);
        assert_eq!(host.start(&slow).await.unwrap_err().kind(), ErrorKind::Actor);
    }
    assert_eq!(host.status(&slow).unwrap().state, ComponentState::Failed);
}

#[tokio::test]
async fn a_shutdown_that_cannot_settle_still_ends_the_others_in_order() {
    let (host, _) = host().await;
    // It answers each of its own messages with another one: never idle.
    let relay = guest(Guest::Relay, "acme/relay", &["messaging:acme/relay", "storage:acme/relay"]);
    let relay = start(&host, relay.config(config(&[("target", "acme/relay")]))).await;
    let hostile = start(&host, guest(Guest::Hostile, "evil/busy", &[])).await;
    host.send(&hostile, "loop").unwrap();
    let report = host.shutdown(Duration::from_millis(400)).await;
    let interrupted: Vec<_> = report.components.iter().map(|(id, report)| (id, report.interrupted)).collect();
    assert_eq!(interrupted, [(&relay, false), (&hostile, true)]);
}

#[tokio::test]
async fn a_component_hears_again_after_it_was_stopped_and_started() {
    let (host, _) = host().await;
    let relay = guest(Guest::Relay, "acme/relay", &["messaging:**", "storage:acme/relay"]);
    let relay = start(&host, relay.config(config(&[("target", "acme/relay")]))).await;
    // Handled while the component is being stopped.
    host.send(&relay, "subscribe news.*").unwrap();
    host.stop(&relay, PATIENCE).await.unwrap();
    assert!(host.publish("news.today".parse().unwrap(), "x").delivered.is_empty());
    host.start(&relay).await.unwrap();
    assert!(
        host.publish("news.today".parse().unwrap(), "x").delivered.is_empty(),
        "a new life has said nothing yet"
    );
    ask(&host, &relay, "subscribe news.*").await.unwrap();
    let report = host.publish("news.today".parse().unwrap(), "last-reply");
    assert_eq!((report.delivered, report.refused.len()), (vec![relay], 0));
}

#[tokio::test]
async fn shutdown_lets_messages_between_components_arrive() {
    let (host, _) = host().await;
    let counter = counter(&host).await;
    let relay = guest(Guest::Relay, "acme/relay", &["messaging:acme/counter", "storage:acme/relay"]);
    let relay = start(&host, relay.config(config(&[("target", "acme/counter")]))).await;
    for _ in 0..20 {
        host.send(&relay, "send acme/counter increment").unwrap();
        host.send(&relay, "ask-async acme/counter increment").unwrap();
    }
    let report = host.shutdown(PATIENCE).await;
    assert_eq!(report.dropped(), 0);
    let handled: Vec<_> =
        report.components.iter().map(|(id, report)| (id, report.statistics.handled)).collect();
    // The relay also handled the twenty answers.
    assert_eq!(handled, [(&counter, 40), (&relay, 60)]);
    let error = host.send(&counter, "increment").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Messaging, "{error:?}");
}

#[tokio::test]
async fn dropping_the_last_handle_of_a_host_ends_its_tasks() {
    let store = Arc::new(MemoryStore::new());
    let (host, _) = build(Host::builder().store(store.clone())).await;
    counter(&host).await;
    let hostile = start(&host, guest(Guest::Hostile, "evil/busy", &[])).await;
    host.send(&hostile, "loop").unwrap();
    drop(host);
    eventually("the tasks let go of the store", async || Arc::strong_count(&store) == 1).await;
}

#[tokio::test]
async fn a_component_that_was_stopped_hears_no_more_events() {
    let (host, _) = host().await;
    let logger = guest(Guest::Logger, "acme/logger", &["storage:acme/logger", "messaging:news.*"]);
    let logger = start(&host, logger.config(config(&[("subscribe", "news.*")]))).await;
    assert_eq!(host.publish("news.today".parse().unwrap(), "rain").delivered, std::slice::from_ref(&logger));
    host.stop(&logger, PATIENCE).await.unwrap();
    assert!(host.publish("news.today".parse().unwrap(), "sun").delivered.is_empty());
}
