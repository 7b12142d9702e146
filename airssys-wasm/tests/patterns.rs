//! Publish and subscribe, asynchronous requests, cycles.

#![cfg(feature = "wasmtime")]

mod support;

use airssys_wasm::Host;
use airssys_wasm::core::component::{ByteSize, ComponentId, ResourceLimits};
use airssys_wasm::core::error::{Detail, ErrorKind, FailureCode};
use airssys_wasm_conformance::guests::Guest;
use support::*;

async fn relay(host: &Host, name: &str, target: &str) -> ComponentId {
    let own = format!("storage:{name}");
    let relay = guest(Guest::Relay, name, &["messaging:**", &own]);
    start(host, relay.config(config(&[("target", target), ("timeout-ms", "20000")]))).await
}

#[tokio::test]
async fn what_is_published_reaches_those_who_subscribed() {
    let (host, _) = host().await;
    let hears = |name: &str, pattern: &str| {
        let own = format!("storage:{name}");
        guest(Guest::Logger, name, &[&own, "messaging:orders.**"]).config(config(&[("subscribe", pattern)]))
    };
    let one = start(&host, hears("acme/one", "orders.*")).await;
    let deep = start(&host, hears("acme/deep", "orders.**")).await;
    let relay = relay(&host, "acme/relay", "acme/one").await;
    ask(&host, &relay, "publish orders.eu created").await.unwrap();
    ask(&host, &relay, "publish orders.eu.paid yes").await.unwrap();
    eventually("both heard what they wanted", async || {
        let seen = |id| host.status(id).unwrap().statistics.handled;
        (seen(&one), seen(&deep)) == (1, 2)
    })
    .await;
}

#[tokio::test]
async fn a_subscription_needs_a_grant_and_loses_effect_with_it() {
    let (host, _) = host().await;
    let greedy = guest(Guest::Logger, "acme/greedy", &["storage:acme/greedy", "messaging:orders.eu"]);
    host.install(greedy.config(config(&[("subscribe", "orders.*")]))).await.unwrap();
    let error = host.start(&id("acme/greedy")).await.unwrap_err();
    assert!(chain(&error).contains("grant `messaging:orders.*` to acme/greedy"), "{}", chain(&error));

    host.grant(&id("acme/greedy"), &"messaging:orders.*".parse().unwrap()).unwrap();
    host.start(&id("acme/greedy")).await.unwrap();
    let topic = || "orders.us".parse().unwrap();
    assert_eq!(host.publish(topic(), "x").delivered.len(), 1);
    host.revoke(&id("acme/greedy"), &"messaging:orders.*".parse().unwrap()).unwrap();
    assert!(host.publish(topic(), "x").delivered.is_empty());
}

#[tokio::test]
async fn subscriptions_change_when_the_handler_returns_ok() {
    let (host, _) = host().await;
    let relay = relay(&host, "acme/relay", "acme/relay").await;
    ask(&host, &relay, "subscribe news.*").await.unwrap();
    assert_eq!(
        host.publish("news.today".parse().unwrap(), "last-reply").delivered,
        std::slice::from_ref(&relay)
    );
    assert_eq!(ask(&host, &relay, "unsubscribe news.*").await.unwrap(), "true");
    assert_eq!(ask(&host, &relay, "unsubscribe news.*").await.unwrap(), "false");
    assert!(host.publish("news.today".parse().unwrap(), "x").delivered.is_empty());
}

#[tokio::test]
async fn an_asynchronous_request_is_answered_by_a_message_of_its_own() {
    let (host, _) = host().await;
    start(&host, guest(Guest::Greeter, "acme/greeter", &[])).await;
    let relay = relay(&host, "acme/relay", "acme/greeter").await;
    ask(&host, &relay, "ask-async acme/greeter Ada").await.unwrap();
    eventually("the answer arrived", async || {
        ask(&host, &relay, "last-reply").await.is_ok_and(|reply| reply.contains("Hello, Ada!"))
    })
    .await;
}

#[tokio::test]
async fn an_asynchronous_request_that_fails_says_how() {
    let (host, _) = host().await;
    let hostile = start(&host, guest(Guest::Hostile, "evil/guest", &[])).await;
    let relay = relay(&host, "acme/relay", "evil/guest").await;
    ask(&host, &relay, "ask-async evil/guest panic").await.unwrap();
    eventually("the failure arrived", async || {
        ask(&host, &relay, "last-reply").await.is_ok_and(|reply| reply.starts_with("error: unavailable"))
    })
    .await;
    assert_eq!(ask(&host, &hostile, "ok").await.unwrap(), "ok");
}

#[tokio::test]
async fn a_cancelled_request_is_never_answered() {
    let (host, _) = host().await;
    start(&host, guest(Guest::Hostile, "evil/slow", &[]).limits(impatient())).await;
    let relay = relay(&host, "acme/relay", "evil/slow").await;
    ask(&host, &relay, "ask-async evil/slow loop").await.unwrap();
    assert_eq!(ask(&host, &relay, "cancel").await.unwrap(), "true");
    assert_eq!(ask(&host, &relay, "cancel").await.unwrap(), "false");
    eventually("the slow one was ended", async || {
        host.status(&id("evil/slow")).unwrap().statistics.failed == 1
    })
    .await;
    let last = ask(&host, &relay, "last-reply").await;
    assert!(last.as_ref().map_or(true, |reply| !reply.contains("error")), "{last:?}");
}

#[tokio::test]
async fn an_asynchronous_request_to_nobody_is_refused_at_once() {
    let (host, _) = host().await;
    let relay = relay(&host, "acme/relay", "acme/relay").await;
    let error = ask(&host, &relay, "ask-async acme/nobody hello").await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Failure(FailureCode::NotFound)));
}

#[tokio::test]
async fn who_has_answered_can_ask_in_return_at_once() {
    let (host, _) = host().await;
    let one = relay(&host, "acme/one", "acme/two").await;
    // Two's mailbox holds one's request, and behind it a message that makes two ask one.
    let two = relay(&host, "acme/two", "acme/greeter").await;
    start(&host, guest(Guest::Greeter, "acme/greeter", &[])).await;
    for _ in 0..50 {
        let asked = host.request(&one, "Ada");
        let in_return = async {
            tokio::task::yield_now().await;
            host.request(&two, "send acme/one last-reply").await
        };
        let (asked, in_return) = tokio::join!(asked, in_return);
        asked.unwrap();
        in_return.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_for_the_asker_is_a_refusal_and_ends_nobody() {
    let (host, _) = host().await;
    let talker = start(&host, guest(Guest::Hostile, "evil/talker", &[])).await;
    let small = ResourceLimits {
        transfer: ByteSize::kib(64),
        mailbox_bytes: ByteSize::kib(64),
        ..ResourceLimits::default()
    };
    let relay = guest(Guest::Relay, "acme/relay", &["messaging:**", "storage:acme/relay"]).limits(small);
    let relay =
        start(&host, relay.config(config(&[("target", "evil/talker"), ("timeout-ms", "20000")]))).await;
    let error = ask(&host, &relay, "giant-reply 100000").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ExecutionFailed, "{}", chain(&error));
    ask(&host, &relay, "ask-async evil/talker giant-reply 100000").await.unwrap();
    eventually("the refusal arrived", async || {
        ask(&host, &relay, "last-reply").await.is_ok_and(|reply| reply.starts_with("error: too-large"))
    })
    .await;
    let replaced = |id| host.status(id).unwrap().statistics.replaced;
    assert_eq!((replaced(&relay), replaced(&talker)), (0, 0));
}

#[tokio::test]
async fn subscriptions_are_bounded() {
    let (host, _) = host().await;
    let relay = relay(&host, "acme/relay", "acme/relay").await;
    for number in 0..1_000 {
        ask(&host, &relay, &format!("subscribe news.n{number}")).await.unwrap();
    }
    let error = ask(&host, &relay, "subscribe news.more").await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Failure(FailureCode::InvalidInput)), "{error}");
    assert_eq!(ask(&host, &relay, "unsubscribe news.n7").await.unwrap(), "true");
    ask(&host, &relay, "subscribe news.more").await.unwrap();
}

#[tokio::test]
async fn a_request_that_would_come_back_is_refused_at_once() {
    let (host, _) = host().await;
    // one -> two -> three -> one
    let one = relay(&host, "acme/one", "acme/two").await;
    relay(&host, "acme/two", "acme/three").await;
    relay(&host, "acme/three", "acme/one").await;
    let began = std::time::Instant::now();
    let error = ask(&host, &one, "round and round").await.unwrap_err();
    assert!(error.message().contains("acme/one is waiting for acme/three"), "{error}");
    assert!(began.elapsed() < PATIENCE / 2, "nobody waited for a timeout");
    let itself = relay(&host, "acme/itself", "acme/itself").await;
    let error = ask(&host, &itself, "hello").await.unwrap_err();
    assert!(error.message().contains("acme/itself would wait for itself"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_components_that_ask_each_other_at_once_do_not_wait_for_ever() {
    let (host, _) = host().await;
    let one = relay(&host, "acme/one", "acme/two").await;
    let two = relay(&host, "acme/two", "acme/one").await;
    let began = std::time::Instant::now();
    for _ in 0..50 {
        let (left, right) = tokio::join!(host.request(&one, "a"), host.request(&two, "b"));
        assert!(left.is_err() && right.is_err(), "each answer needs the other one's first");
    }
    assert!(began.elapsed() < PATIENCE / 2, "nobody waited for a timeout");
}
