//! What a component accepts is refused to its senders when it is sent, whoever sends it and however.

#![cfg(feature = "wasmtime")]

mod support;

use airssys_wasm::core::error::{Detail, ErrorKind, FailureCode, MessagingFault, WasmError};
use airssys_wasm::core::messaging::Body;
use airssys_wasm::manifest::Manifest;
use airssys_wasm::{Host, Installation};
use airssys_wasm_conformance::guests::Guest;
use support::*;

fn typed(content_type: &str) -> Body {
    Body::typed(content_type.parse().expect("tests use valid content types"), "{}")
}

/// An echo that accepts these content types.
fn echo(accepts: &[&str]) -> Installation {
    let accepts = accepts.iter().map(|pattern| pattern.parse().expect("tests use valid patterns"));
    guest(Guest::Echo, "acme/echo", &["messaging:orders.**"]).accepts(accepts)
}

fn is_refused(error: &WasmError) {
    let fault = Some(Detail::Messaging(MessagingFault::NotAccepted));
    assert_eq!((error.kind(), error.detail()), (ErrorKind::Messaging, fault));
}

async fn with_relay(accepts: &[&str]) -> Host {
    let (host, _) = host().await;
    start(&host, echo(accepts)).await;
    let relay = guest(Guest::Relay, "acme/relay", &["messaging:**", "storage:acme/relay"])
        .config(config(&[("target", "acme/echo")]));
    start(&host, relay).await;
    host
}

#[tokio::test]
async fn the_embedder_is_told_what_is_accepted() {
    let (host, _) = host().await;
    let echo = start(&host, echo(&["application/json", "image/*"])).await;
    for accepted in ["application/json", "Application/JSON; charset=utf-8", "image/png"] {
        assert_eq!(host.request(&echo, typed(accepted)).await.unwrap(), typed(accepted));
        host.send(&echo, typed(accepted)).unwrap();
    }
    for refused in [typed("text/plain"), typed("application/json5"), Body::new("{}")] {
        let error = host.request(&echo, refused.clone()).await.unwrap_err();
        is_refused(&error);
        assert!(error.to_string().contains("application/json, image/*"), "{error}");
        is_refused(&host.send(&echo, refused).unwrap_err());
    }
    assert_eq!(host.status(&echo).unwrap().statistics.failed, 0, "nothing reached the component");
}

#[tokio::test]
async fn plain_bytes_are_an_octet_stream_and_an_empty_list_accepts_all() {
    let (host, _) = host().await;
    let bytes = start(&host, echo(&["application/octet-stream"])).await;
    assert_eq!(ask(&host, &bytes, "x").await.unwrap(), "x");
    is_refused(&host.request(&bytes, typed("text/plain")).await.unwrap_err());
    let all = start(&host, guest(Guest::Echo, "acme/all", &[])).await;
    for body in [Body::new("x"), typed("text/plain")] {
        assert_eq!(host.request(&all, body.clone()).await.unwrap(), body);
    }
}

#[tokio::test]
async fn a_component_is_told_what_another_accepts() {
    let host = with_relay(&["application/json"]).await;
    let relay = id("acme/relay");
    let asked = host.request(&relay, typed("application/json")).await.unwrap();
    assert_eq!(asked.text(), Some("acme/relay heard from acme/echo: {}"));
    // The body goes on as it came, or as text with the other commands.
    let body = |text: &str| Body::typed("text/plain".parse().unwrap(), text);
    for refused in [body("{}"), body("send acme/echo {}"), body("ask-async acme/echo {}")] {
        let error = host.request(&relay, refused.clone()).await.unwrap_err();
        let fault = Some(Detail::Failure(FailureCode::InvalidInput));
        assert_eq!((error.kind(), error.detail()), (ErrorKind::ExecutionFailed, fault), "{refused:?}");
        let told = "acme/echo does not accept `text/plain`; it accepts application/json";
        assert!(error.to_string().contains(told), "{error}");
    }
    assert_eq!(host.status(&id("acme/echo")).unwrap().statistics.handled, 1);
}

#[tokio::test]
async fn an_event_is_missed_by_who_does_not_accept_it() {
    let (host, _) = host().await;
    let json = ["application/json".parse().unwrap()];
    for (name, accepts) in [("acme/one", &json[..0]), ("acme/two", &json[..])] {
        let relay = guest(Guest::Relay, name, &["messaging:orders.**"]).accepts(accepts.iter().cloned());
        let relay = start(&host, relay).await;
        // Commands come in whatever content type is accepted.
        let subscribe = Body::typed("application/json".parse().unwrap(), "subscribe orders.**");
        host.request(&relay, subscribe).await.unwrap();
    }
    let report = host.publish("orders.created".parse().unwrap(), typed("text/plain"));
    assert_eq!(report.delivered, [id("acme/one")]);
    assert_eq!(report.refused[0].0, id("acme/two"));
    is_refused(&report.refused[0].1);
    let report = host.publish("orders.created".parse().unwrap(), typed("application/json"));
    assert_eq!((report.delivered.len(), report.refused.len()), (2, 0));
    let report = host.broadcast("plain");
    assert_eq!((report.delivered.len(), report.refused.len()), (1, 1));
}

#[tokio::test]
async fn an_event_of_a_component_is_missed_by_who_does_not_accept_it() {
    let (host, _) = host().await;
    let relay = guest(Guest::Relay, "acme/relay", &["messaging:**"]);
    let relay = start(&host, relay).await;
    let deaf = guest(Guest::Relay, "acme/deaf", &["messaging:orders.**"])
        .accepts(["application/json".parse().unwrap()]);
    let deaf = start(&host, deaf).await;
    let subscribe = Body::typed("application/json".parse().unwrap(), "subscribe orders.**");
    host.request(&deaf, subscribe).await.unwrap();
    ask(&host, &relay, "publish orders.created text").await.unwrap();
    // A handler after it: the event would have been queued before.
    let last = Body::typed("application/json".parse().unwrap(), "unsubscribe orders.**");
    host.request(&deaf, last).await.unwrap();
    let statistics = host.status(&deaf).unwrap().statistics;
    assert_eq!((statistics.handled, statistics.failed), (2, 0));
}

#[tokio::test]
async fn what_the_host_does_not_do_is_refused_when_it_is_installed() {
    let (host, _) = host().await;
    let head = "manifest-version = 1\n[package]\nid = \"acme/echo\"\nversion = \"1.0.0\"\ncomponent = \"echo.wasm\"\n";
    for (section, told) in [
        ("[supervision]\nrestart = \"temporary\"", "does not restart components as `temporary` yet"),
        ("[supervision]\nmax-restarts = 3\nwithin = \"1 min\"", "does not count restarts yet"),
        ("[deployment]\nstrategy = \"canary\"", "does not deploy components as `canary` yet"),
    ] {
        let manifest = Manifest::parse(&format!("{head}{section}")).unwrap();
        let refused = host.install(manifest.installation()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidConfiguration);
        assert!(refused.to_string().contains(told), "{refused}");
    }
    // A quota alone leaves the other limits to the host.
    let quota = Manifest::parse(&format!("{head}[storage.quota]\nkeys = 0")).unwrap().storage.quota;
    let counter = guest(Guest::Counter, "acme/counter", &["storage:acme/counter"]).storage_quota(quota);
    let counter = start(&host, counter).await;
    let refused = ask(&host, &counter, "increment").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ExecutionFailed, "{refused}");
}
