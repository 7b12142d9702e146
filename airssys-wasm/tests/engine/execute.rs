//! Ordinary guests, ordinarily used.

use crate::support::*;
use airssys_wasm::core::component::{ByteSize, ComponentConfig, ComponentInput, ResourceLimits};
use airssys_wasm::core::error::{Detail, ErrorKind, FailureCode, Limit};
use airssys_wasm::core::messaging::{Body, MessageId, Sender, TraceContext};
use airssys_wasm::core::runtime::{ExecutionState, LogLevel, MessagingRefusal};

#[tokio::test]
async fn a_component_is_configured_and_handles_messages() {
    let mut greeter = instance(&guest("greeter")).await;
    greeter.init(&ComponentConfig::new().with("greeting", "Ahoy"), budget()).await.unwrap();
    assert_eq!(ask(&mut *greeter, "world").await, "Ahoy, world!");
    let reply = execute(&mut *greeter, "you").await.unwrap();
    assert_eq!(reply.body.content_type.unwrap().as_str(), "text/plain");
    let metadata = greeter.metadata(budget()).await.unwrap();
    assert_eq!((metadata.name.as_str(), metadata.version.as_str()), ("greeter", "0.1.0"));
    assert!(!metadata.description.is_empty());
    greeter.shutdown(budget()).await.unwrap();
    assert_eq!(greeter.usage().calls, 5);
    assert!(greeter.usage().memory_bytes >= 64 << 10);
}

#[tokio::test]
async fn a_failure_is_an_answer_and_the_instance_goes_on() {
    let mut greeter = instance(&guest("greeter")).await;
    let failure = execute(&mut *greeter, "").await.unwrap_err();
    expect(&failure, ErrorKind::ExecutionFailed, Some(Detail::Failure(FailureCode::InvalidInput)));
    assert_eq!(failure.message(), "the payload is empty, and there is nobody to greet");
    assert_eq!(greeter.state(), ExecutionState::Ready);
    assert_eq!(ask(&mut *greeter, "world").await, "Hello, world!");
}

#[tokio::test]
async fn the_text_of_a_failure_is_cut() {
    let mut hostile = instance(&guest("hostile")).await;
    let failure = execute(&mut *hostile, "giant-failure 1000000").await.unwrap_err();
    expect(&failure, ErrorKind::ExecutionFailed, Some(Detail::Failure(FailureCode::Internal)));
    assert!(failure.message().len() < 2_000, "{}", failure.message().len());
    assert_eq!(ask(&mut *hostile, "ok").await, "ok");
}

#[tokio::test]
async fn storage_is_reached() {
    let services = Services::new(Mood::YieldsOften);
    let mut counter = instance_of(&engine(), &guest("counter"), &ResourceLimits::default(), &services).await;
    assert_eq!(ask(&mut *counter, "increment").await, "1");
    assert_eq!(ask(&mut *counter, "add 41").await, "42");
    assert_eq!(services.stored.lock().unwrap().get(&b"count"[..]).unwrap(), b"42");
}

#[tokio::test]
async fn messaging_is_reached() {
    let services = Services::new(Mood::Well);
    let mut relay = instance_of(&engine(), &guest("relay"), &ResourceLimits::default(), &services).await;
    relay.init(&ComponentConfig::new().with("target", "acme/other"), budget()).await.unwrap();
    assert!(ask(&mut *relay, "anything").await.contains("the answer"));
    let (target, body) = services.sent.lock().unwrap().pop().unwrap();
    assert_eq!((target.as_str(), body.payload.as_slice()), ("acme/other", &b"anything"[..]));
    let id = ask(&mut *relay, "send acme/third hello").await;
    assert!(id.starts_with('7') || id.contains("7-"), "{id}");
    let refused = execute(&mut *relay, "subscribe orders.*").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ExecutionFailed);
    assert!(refused.message().contains("no grant for orders.*"), "{}", refused.message());
}

#[tokio::test]
async fn an_answer_arrives_through_replies() {
    let services = Services::new(Mood::Well);
    let mut relay = instance_of(&engine(), &guest("relay"), &ResourceLimits::default(), &services).await;
    let request = MessageId::from_parts(3, 4);
    let input = ComponentInput::Reply { request, outcome: Ok(Body::new("late answer")) };
    let output = relay.execute(input, budget()).await.unwrap();
    assert_eq!(output.body, Body::default());
    assert!(ask(&mut *relay, "last-reply").await.contains("late answer"));
    let outcome = Err(MessagingRefusal::Unavailable("gone".into()));
    relay.execute(ComponentInput::Reply { request, outcome }, budget()).await.unwrap();
    assert!(ask(&mut *relay, "last-reply").await.contains("gone"));

    let mut greeter = instance(&guest("greeter")).await;
    let input = ComponentInput::Reply { request, outcome: Ok(Body::new("x")) };
    let error = greeter.execute(input, budget()).await.unwrap_err();
    expect(&error, ErrorKind::ComponentNotFound, None);
    assert_eq!(greeter.state(), ExecutionState::Ready);
}

#[tokio::test]
async fn everything_in_a_message_arrives() {
    let services = Services::new(Mood::Well);
    let mut logger = instance_of(&engine(), &guest("logger"), &ResourceLimits::default(), &services).await;
    let mut message = envelope(Body::new("a line"));
    message.sender = Sender::Component("acme/sender".parse().unwrap());
    message.topic = Some("orders.new".parse().unwrap());
    message.correlation = Some(MessageId::from_parts(5, 6));
    message.trace = Some(TraceContext { trace_parent: "00-aa-bb-01".into(), trace_state: "".into() });
    logger.execute(ComponentInput::Message(message), budget()).await.unwrap();
    let lines = services.lines.lock().unwrap().clone();
    let (level, text) = lines.last().unwrap();
    assert_eq!(*level, LogLevel::Info);
    assert!(text.contains("a line") && text.contains("acme/sender"), "{text}");
}

#[tokio::test]
async fn bodies_of_any_size_come_back() {
    let limits = ResourceLimits { reply: ByteSize::mib(16), ..ResourceLimits::default() };
    let mut echo = instance_with(&guest("echo"), &limits, Mood::Well).await;
    for size in [0, 1, 64, 1 << 10, 64 << 10, 1 << 20, 4 << 20] {
        let payload: Vec<u8> = (0..size).map(|position| position as u8).collect();
        let body = Body::typed("application/octet-stream".parse().unwrap(), payload);
        let output = echo.execute(ComponentInput::Message(envelope(body.clone())), budget()).await.unwrap();
        assert_eq!(output.body, body);
    }
}

#[tokio::test]
async fn what_is_too_large_to_hand_over_is_refused_before_the_call() {
    let limits = ResourceLimits { transfer: ByteSize::kib(64), ..ResourceLimits::default() };
    let mut echo = instance_with(&guest("echo"), &limits, Mood::Well).await;
    let error = execute(&mut *echo, vec![0; (64 << 10) + 1]).await.unwrap_err();
    expect_limit(&error, Limit::Transfer);
    assert_eq!((echo.state(), echo.usage().calls), (ExecutionState::Ready, 0));
    assert_eq!(execute(&mut *echo, vec![7; 64 << 10]).await.unwrap().body.payload, vec![7; 64 << 10]);
    let error = echo.init(&ComponentConfig::new().with("k", "v".repeat(70_000)), budget()).await.unwrap_err();
    expect_limit(&error, Limit::Transfer);
    assert_eq!(echo.state(), ExecutionState::Ready);
}

#[tokio::test]
async fn wasi_is_linked_and_grants_nothing() {
    let mut clock = instance(&guest("wasi-clock")).await;
    assert!(ask(&mut *clock, "clock").await.parse::<u64>().unwrap() > 1_700_000_000);
    assert_eq!(ask(&mut *clock, "environment").await, "");
    assert_eq!(ask(&mut *clock, "arguments").await, "");
    assert_eq!(ask(&mut *clock, "directories").await, "0");
}

#[tokio::test]
async fn instances_share_nothing() {
    let engine = engine();
    let services = Services::new(Mood::Well);
    let loaded = load(&engine, &guest("greeter")).await;
    let limits = ResourceLimits::default();
    let mut first = loaded.instantiate(&limits, services.host(), budget()).await.unwrap();
    first.init(&ComponentConfig::new().with("greeting", "First"), budget()).await.unwrap();
    let mut second = loaded.instantiate(&limits, services.host(), budget()).await.unwrap();
    assert_eq!(ask(&mut *second, "x").await, "Hello, x!");
    assert_eq!(ask(&mut *first, "x").await, "First, x!");
    drop(first);
    let mut third = loaded.instantiate(&limits, services.host(), budget()).await.unwrap();
    assert_eq!(ask(&mut *third, "x").await, "Hello, x!");
}

#[test]
fn no_runtime_of_tokio_is_needed() {
    let run = async {
        let services = Services::new(Mood::Well);
        let mut greeter =
            instance_of(&engine(), &guest("greeter"), &ResourceLimits::default(), &services).await;
        assert_eq!(ask(&mut *greeter, "world").await, "Hello, world!");
        let mut hostile =
            instance_of(&engine(), &guest("hostile"), &ResourceLimits::default(), &services).await;
        let looping = hostile.execute(message("loop"), within(std::time::Duration::from_millis(30)));
        expect(&looping.await.unwrap_err(), ErrorKind::ExecutionTimeout, None);
    };
    futures_executor(run);
}

/// The smallest executor there is.
fn futures_executor<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}
