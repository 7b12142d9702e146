//! Components answer the host and each other, through real WebAssembly.

#![cfg(feature = "wasmtime")]

mod support;

use airssys_wasm::core::error::{Detail, ErrorKind, FailureCode, MessagingFault};
use airssys_wasm::core::messaging::Body;
use airssys_wasm::{Host, RequestOptions};
use airssys_wasm_conformance::guests::Guest;
use std::time::Duration;
use support::*;

#[tokio::test]
async fn a_component_answers_its_host() {
    let (host, _) = host().await;
    let greeter = start(&host, guest(Guest::Greeter, "acme/greeter", &[])).await;
    assert_eq!(ask(&host, &greeter, "Ada").await.unwrap(), "Hello, Ada!");
}

#[tokio::test]
async fn a_component_is_given_its_configuration() {
    let (host, _) = host().await;
    let greeter = guest(Guest::Greeter, "acme/greeter", &[]).config(config(&[("greeting", "Servus")]));
    let greeter = start(&host, greeter).await;
    assert_eq!(ask(&host, &greeter, "Ada").await.unwrap(), "Servus, Ada!");
}

#[tokio::test]
async fn a_component_asks_another_and_combines_the_answer() {
    let (host, _) = host().await;
    start(&host, guest(Guest::Greeter, "acme/greeter", &[])).await;
    let relay = guest(Guest::Relay, "acme/relay", &["messaging:acme/greeter"])
        .config(config(&[("target", "acme/greeter")]));
    let relay = start(&host, relay).await;
    assert_eq!(ask(&host, &relay, "Ada").await.unwrap(), "acme/relay heard from acme/greeter: Hello, Ada!");
}

#[tokio::test]
async fn what_another_component_refuses_is_handed_on_with_its_code() {
    let (host, _) = host().await;
    start(&host, guest(Guest::Greeter, "acme/greeter", &[])).await;
    let relay = guest(Guest::Relay, "acme/relay", &["messaging:acme/greeter"])
        .config(config(&[("target", "acme/greeter")]));
    let relay = start(&host, relay).await;
    let error = ask(&host, &relay, "").await.unwrap_err();
    assert_eq!(
        (error.kind(), error.detail()),
        (ErrorKind::ExecutionFailed, Some(Detail::Failure(FailureCode::InvalidInput)))
    );
}

#[tokio::test]
async fn payloads_and_content_types_come_back_as_they_went() {
    let (host, _) = host().await;
    let echo = start(&host, guest(Guest::Echo, "acme/echo", &[])).await;
    let all: Vec<u8> = (0..=255).cycle().take(64 << 10).collect();
    for payload in [vec![], vec![0], all] {
        let body = Body::typed("application/x-test; a=b".parse().unwrap(), payload);
        assert_eq!(host.request(&echo, body.clone()).await.unwrap(), body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_one_of_many_concurrent_requests_gets_its_own_answer() {
    let (host, _) = host().await;
    let echo = start(&host, guest(Guest::Echo, "acme/echo", &[])).await;
    let requests = (0..500_u32).map(|number| {
        let (host, echo) = (host.clone(), echo.clone());
        tokio::spawn(async move { (number, host.request(&echo, number.to_string()).await.unwrap().payload) })
    });
    for request in requests.collect::<Vec<_>>() {
        let (number, answer) = request.await.unwrap();
        assert_eq!(answer, number.to_string().into_bytes());
    }
    assert_eq!(host.status(&echo).unwrap().statistics.handled, 500);
}

#[tokio::test]
async fn one_way_messages_are_handled_in_the_order_of_sending() {
    let (host, _) = host().await;
    let counter = counter(&host).await;
    for command in ["add 5", "reset", "add 3", "increment"] {
        host.send(&counter, command).unwrap();
    }
    assert_eq!(ask(&host, &counter, "get").await.unwrap(), "4");
}

#[tokio::test]
async fn a_broadcast_reaches_every_running_component() {
    let (host, _) = host().await;
    let one = start(&host, guest(Guest::Logger, "acme/one", &["storage:acme/one"])).await;
    let two = start(&host, guest(Guest::Logger, "acme/two", &["storage:acme/two"])).await;
    host.install(guest(Guest::Logger, "acme/idle", &[])).await.unwrap();
    let mut report = host.broadcast("news");
    report.delivered.sort();
    assert_eq!((report.delivered, report.refused.len()), (vec![one.clone(), two.clone()], 0));
    for logger in [one, two] {
        assert_eq!(ask(&host, &logger, "mine").await.unwrap(), "2");
    }
}

#[tokio::test]
async fn messages_to_nobody_say_so() {
    let (host, _) = host().await;
    let error = host.send(&id("acme/nobody"), "hello").unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Messaging(MessagingFault::UnknownTarget)));
    assert_eq!(error.next_step(), Some("install and start it first"));

    host.install(guest(Guest::Greeter, "acme/greeter", &[])).await.unwrap();
    let error = ask(&host, &id("acme/greeter"), "Ada").await.unwrap_err();
    assert_eq!(
        error.detail(),
        Some(Detail::Messaging(MessagingFault::UnknownTarget)),
        "installed, but not started"
    );
}

#[tokio::test]
async fn a_sender_who_stops_waiting_does_not_end_the_handler() {
    let (host, _) = host().await;
    let hostile = start(&host, guest(Guest::Hostile, "evil/busy", &[]).limits(impatient())).await;
    let busy = host.component(&hostile).unwrap();
    let options = RequestOptions { timeout: Some(Duration::from_millis(20)), ..RequestOptions::default() };
    let error = busy.request_with("loop", options.clone()).await.unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Messaging(MessagingFault::Timeout)));
    let queued = busy.request_with("ok", options).await.unwrap_err();
    assert_eq!(queued.detail(), Some(Detail::Messaging(MessagingFault::Timeout)));
    assert_eq!(ask(&host, &hostile, "ok").await.unwrap(), "ok");
    let statistics = host.status(&hostile).unwrap().statistics;
    assert_eq!(
        (statistics.handled, statistics.failed, statistics.expired, statistics.replaced),
        (1, 1, 1, 1)
    );
}

#[test]
fn a_host_outside_of_a_runtime_is_refused() {
    let refused = futures_executor(Host::builder().build()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfiguration);
}

/// Polls a future that is ready at once.
fn futures_executor<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("the future waits for something"),
    }
}
