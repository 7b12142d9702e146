//! What a guest asks of its host arrives as it was asked, and the answer goes back as it was given.

use std::time::Duration;

use airssys_wasm_core::capability::CapabilityKind;
use airssys_wasm_core::component::{ComponentConfig, ComponentInput, ResourceLimits};
use airssys_wasm_core::error::{Detail, ErrorKind, FailureCode, Result, StorageFault, TrapKind, WasmError};
use airssys_wasm_core::interface::{WitFunction, WitType};
use airssys_wasm_core::messaging::{Body, ContentType, MessageId};
use airssys_wasm_core::runtime::{
    Comparison, Entry, Failure, HostFunctionDefinition, Listing, LoadOptions, LogLevel, MessagingRefusal,
    StorageRefusal, StorageUsage, Value,
};

use super::mirror::MIRROR;
use super::{EngineBench, Instance, failed, message, of_kind};
use crate::fakes::{Answer, FakeHost, HostCall};
use crate::guests::Guest;
use crate::random::Random;
use crate::runner::{Broken, Outcome, contracts, ensure, ensure_eq, fail};

/// The functions that the values guest imports from its embedder.
pub(super) fn lookup() -> [HostFunctionDefinition; 2] {
    let find = WitFunction::new(
        "find",
        [("key", WitType::String)],
        Some(WitType::result(Some(WitType::String), Some(WitType::String))),
    );
    let add = WitFunction::new("add", [("a", WitType::S32), ("b", WitType::S32)], Some(WitType::S32));
    [find, add].map(|function| HostFunctionDefinition {
        interface: "airssys:fixtures/lookup@0.1.0".to_owned(),
        function: WitFunction { requires: Some(CapabilityKind::Custom), ..function },
        capability: Some("fixtures.lookup".to_owned()),
    })
}

type Function = Box<dyn Fn(&[Value]) -> Result<Option<Value>> + Send + Sync>;

fn found_or_not(arguments: &[Value]) -> Result<Option<Value>> {
    let string = |text: String| Some(Box::new(Value::String(text)));
    Ok(Some(Value::Result(match arguments {
        [Value::String(key)] if key == "absent" => Err(string("there is no `absent`".to_owned())),
        [Value::String(key)] => Ok(string(format!("value of {key}"))),
        _ => Err(None),
    })))
}

fn sum(arguments: &[Value]) -> Result<Option<Value>> {
    match arguments {
        [Value::S32(a), Value::S32(b)] => Ok(Some(Value::S32(a.wrapping_add(*b)))),
        _ => Err(WasmError::new(ErrorKind::Internal, "add")),
    }
}

fn lookup_host(find: Function, add: Function) -> FakeHost {
    let [find_definition, add_definition] = lookup();
    FakeHost::new("acme/guest").with_extension(find_definition, find).with_extension(add_definition, add)
}

/// An instance of the values guest, whose embedder answers as it should.
pub(super) async fn values(t: &EngineBench) -> Result<Instance> {
    values_with(t, lookup_host(Box::new(found_or_not), Box::new(sum))).await
}

async fn values_with(t: &EngineBench, host: FakeHost) -> Result<Instance> {
    let options = LoadOptions { extensions: lookup().to_vec(), ..LoadOptions::default() };
    let component = t.engine().load(&Guest::Values.bytes()?, options).await?;
    t.hosted_instance(&component, &ResourceLimits::default(), host).await
}

fn extension(name: &str, arguments: Vec<Value>) -> HostCall {
    let caller = FakeHost::new("acme/guest").id().clone();
    HostCall::Extension { name: name.to_owned(), caller, arguments }
}

/// The calls that a test is about: who the instance is may be asked at any time, by the engine as well.
fn asked(instance: &Instance) -> Vec<HostCall> {
    instance.host.take_calls().into_iter().filter(|call| *call != HostCall::SelfId).collect()
}

fn plain(text: &str) -> Result<Body, Broken> {
    Ok(Body::typed("text/plain".parse()?, text))
}

fn messaging_refusals() -> Vec<(MessagingRefusal, &'static str)> {
    vec![
        (MessagingRefusal::Denied("no grant".into()), "denied: no grant"),
        (MessagingRefusal::InvalidAddress("bad".into()), "invalid-address: bad"),
        (MessagingRefusal::NotFound("who".into()), "not-found: who"),
        (MessagingRefusal::QueueFull("full".into()), "queue-full: full"),
        (MessagingRefusal::TooLarge("".into()), "too-large: "),
        (MessagingRefusal::Timeout, "timeout"),
        (MessagingRefusal::Cycle("round and round".into()), "cycle: round and round"),
        (
            MessagingRefusal::Failed(Failure { code: FailureCode::Conflict, message: "theirs 🦀".into() }),
            "failed: theirs 🦀",
        ),
        (MessagingRefusal::Unavailable("gone".into()), "unavailable: gone"),
    ]
}

fn storage_refusals() -> Vec<(StorageRefusal, &'static str, &'static str)> {
    vec![
        (StorageRefusal::Denied("no grant".into()), "denied", "no grant"),
        (StorageRefusal::QuotaExceeded("full".into()), "quota-exceeded", "full"),
        (StorageRefusal::TooLarge("large".into()), "too-large", "large"),
        (StorageRefusal::InvalidCursor("".into()), "invalid-cursor", ""),
        (StorageRefusal::Unavailable("on fire 🔥".into()), "unavailable", "on fire 🔥"),
    ]
}

fn answer(value: Value) -> Option<Value> {
    Some(Value::Result(Ok(Some(Box::new(value)))))
}

fn optional(value: Option<&[u8]>) -> Value {
    Value::Option(value.map(|bytes| Box::new(Value::Bytes(bytes.to_vec()))))
}

contracts! { EngineBench;
    "engine.host_function" {
        /// A function of the embedder receives the very values that the guest passed, and who it was; the guest
        /// receives what it returned.
        fn same_bytes(t) {
            let mut instance = values(t).await?;
            ensure_eq!(instance.say("find key").await?, b"value of key", "what the guest was told");
            ensure_eq!(instance.say("find ümläut🦀").await?, "value of ümläut🦀".as_bytes(), "what the guest was told");
            ensure_eq!(instance.say("add 40 2").await?, b"42", "the sum");
            ensure_eq!(instance.say("add -2147483648 -1").await?, b"2147483647", "the sum");
            let expected = [
                extension("find", vec![Value::String("key".into())]),
                extension("find", vec![Value::String("ümläut🦀".into())]),
                extension("add", vec![Value::S32(40), Value::S32(2)]),
                extension("add", vec![Value::S32(i32::MIN), Value::S32(-1)]),
            ];
            ensure_eq!(asked(&instance), expected, "what the embedder was asked");
            Ok(())
        }

        /// An error that is a value reaches the guest; an error of the function itself ends the call, and keeps its kind.
        fn error_is_value(t) {
            let mut instance = values(t).await?;
            let failure = failed(instance.say("find absent").await, Detail::Failure(FailureCode::NotFound), "an error value")?;
            ensure!(failure.to_string().contains("there is no `absent`"), "the guest did not see the text: {failure}");
            instance.is_ready()?;
            ensure_eq!(instance.say("find key").await?, b"value of key", "after the error");

            let denied = || WasmError::new(ErrorKind::CapabilityDenied, "lookup").saying("not for you");
            instance.host.answer("find", Answer::ends(denied));
            of_kind(instance.say("find key").await, ErrorKind::CapabilityDenied, "an error of the function")?;
            instance.is_poisoned().await
        }

        /// A panic in a function of the embedder ends that instance with a fault of the host, and no other.
        fn panic_ends_instance_only(t) {
            let mut instance = values(t).await?;
            let mut neighbour = values(t).await?;
            instance.host.answer("add", Answer::Panics);
            failed(instance.say("add 1 2").await, Detail::Trap(TrapKind::HostFault), "a panic in the function")?;
            instance.is_poisoned().await?;
            drop(instance);
            ensure_eq!(neighbour.say("add 1 2").await?, b"3", "the neighbour");
            ensure_eq!(values(t).await?.say("add 2 2").await?, b"4", "a fresh instance");
            Ok(())
        }

        /// A result of another type than the function declared never reaches the guest.
        fn result_is_checked(t) {
            for wrong in [None, Some(Value::S64(3)), Some(Value::String("three".into())), Some(Value::U32(3))] {
                let returned = wrong.clone();
                let host = lookup_host(Box::new(found_or_not), Box::new(move |_| Ok(returned.clone())));
                let mut instance = values_with(t, host).await?;
                let result = instance.say("add 1 2").await;
                let Err(error) = result else { fail!("{wrong:?} reached the guest as a sum, which said {result:?}") };
                ensure!(error.kind() != ErrorKind::ExecutionFailed, "{wrong:?} reached the guest: {error}");
                instance.is_poisoned().await?;
            }
            Ok(())
        }

        /// An instance without the functions that its component was loaded with is not made.
        fn missing_is_refused(t) {
            let options = LoadOptions { extensions: lookup().to_vec(), ..LoadOptions::default() };
            let component = t.engine().load(&Guest::Values.bytes()?, options).await?;
            let result = t.instance(&component).await.map(|_| "an instance without its functions");
            of_kind(result, ErrorKind::InvalidConfiguration, "an instance without its functions")?;
            Ok(())
        }
    }

    "engine.services" {
        /// Storage calls arrive with their exact arguments, and every answer and error goes back as it was given.
        fn storage(t) {
            let mut instance = t.start_text(MIRROR).await?;
            let bytes: Vec<u8> = (0..=255).collect();
            let value = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
            let set = instance.ask("set", &[value(&bytes), value(b"")]).await?;
            ensure_eq!(set, Some(Value::Result(Ok(None))), "the answer to `set`");
            let get = instance.ask("get", &[value(&bytes)]).await?;
            ensure_eq!(get, answer(optional(Some(b""))), "an empty value");
            let get = instance.ask("get", &[value(b"")]).await?;
            ensure_eq!(get, answer(optional(None)), "no value");
            let exists = instance.ask("exists", &[value(&bytes)]).await?;
            ensure_eq!(exists, answer(Value::Bool(true)), "the answer to `exists`");
            let absent = Value::Variant("absent".into(), None);
            let expected = Value::Variant("value".into(), Some(Box::new(value(b"old"))));
            let cas = instance.ask("compare-and-set", &[value(b"k"), absent, value(b"old")]).await?;
            ensure_eq!(cas, answer(Value::Bool(true)), "the answer to the first `compare-and-set`");
            let cas = instance.ask("compare-and-set", &[value(b"k"), expected, value(b"new")]).await?;
            ensure_eq!(cas, answer(Value::Bool(true)), "the answer to the second `compare-and-set`");
            let replace = instance.ask("replace", &[value(b"k"), value(b"newer")]).await?;
            ensure_eq!(replace, answer(optional(Some(b"new"))), "what `replace` evicts");
            let replace = instance.ask("replace", &[value(b"other"), value(b"")]).await?;
            ensure_eq!(replace, answer(optional(None)), "what `replace` evicts where nothing was");
            let delete = instance.ask("delete", &[value(b"nothing")]).await?;
            ensure_eq!(delete, answer(Value::Bool(false)), "the answer to `delete`");

            let entry = |key: &[u8], value: &[u8]| Entry { key: key.to_vec(), value: value.to_vec() };
            let listing = Listing { entries: vec![entry(b"a", b"1"), entry(&[0xff], b"")], cursor: Some(b"on".to_vec()) };
            instance.host.answer("storage.list", Answer::Listing(listing));
            let page = instance.ask("list", &[value(b"pre"), optional(Some(b"from")), Value::U32(u32::MAX)]).await?;
            let record = |key: &[u8], bytes: &[u8]| {
                Value::Record(vec![("key".into(), value(key)), ("value".into(), value(bytes))])
            };
            let entries = Value::List(vec![record(b"a", b"1"), record(&[0xff], b"")]);
            let expected =
                Value::Record(vec![("entries".into(), entries), ("cursor".into(), optional(Some(b"on")))]);
            ensure_eq!(page, answer(expected), "a page");
            instance.host.answer("storage.list", Answer::Listing(Listing::default()));
            let page = instance.ask("list", &[value(b""), optional(None), Value::U32(0)]).await?;
            let expected =
                Value::Record(vec![("entries".into(), Value::List(vec![])), ("cursor".into(), optional(None))]);
            ensure_eq!(page, answer(expected), "an empty page");
            let usage = StorageUsage { bytes: 1, keys: 2, max_bytes: u64::MAX, max_keys: 4 };
            instance.host.answer("storage.usage", Answer::Usage(usage));
            let numbers = [("bytes", 1), ("keys", 2), ("max-bytes", u64::MAX), ("max-keys", 4)];
            let numbers = numbers.map(|(name, number)| (name.to_owned(), Value::U64(number)));
            ensure_eq!(instance.ask("usage", &[]).await?, answer(Value::Record(numbers.to_vec())), "the usage");

            let calls = [
                HostCall::Set { key: bytes.clone(), value: vec![] },
                HostCall::Get { key: bytes.clone() },
                HostCall::Get { key: vec![] },
                HostCall::Exists { key: bytes },
                HostCall::CompareAndSet { key: b"k".into(), expected: Comparison::Absent, value: b"old".into() },
                HostCall::CompareAndSet {
                    key: b"k".into(),
                    expected: Comparison::Value(b"old".into()),
                    value: b"new".into(),
                },
                HostCall::Replace { key: b"k".into(), value: b"newer".into() },
                HostCall::Replace { key: b"other".into(), value: vec![] },
                HostCall::Delete { key: b"nothing".into() },
                HostCall::List { prefix: b"pre".into(), cursor: Some(b"from".into()), limit: u32::MAX },
                HostCall::List { prefix: vec![], cursor: None, limit: 0 },
                HostCall::Usage,
            ];
            ensure_eq!(asked(&instance), calls, "the calls as they arrived");

            for (refusal, name, text) in storage_refusals() {
                let expected = Value::Variant(name.into(), Some(Box::new(Value::String(text.into()))));
                let expected = Some(Value::Result(Err(Some(Box::new(expected)))));
                let absent = Value::Variant("absent".into(), None);
                let questions = [
                    ("get", vec![value(b"k")]),
                    ("set", vec![value(b"k"), value(b"v")]),
                    ("replace", vec![value(b"k"), value(b"v")]),
                    ("delete", vec![value(b"k")]),
                    ("exists", vec![value(b"k")]),
                    ("list", vec![value(b"k"), optional(None), Value::U32(1)]),
                    ("compare-and-set", vec![value(b"k"), absent, value(b"v")]),
                    ("usage", vec![]),
                ];
                let functions = [
                    "storage.get", "storage.set", "storage.replace", "storage.delete", "storage.exists",
                    "storage.list", "storage.compare-and-set", "storage.usage",
                ];
                for ((function, arguments), service) in questions.into_iter().zip(functions) {
                    instance.host.answer(service, Answer::StorageRefusal(refusal.clone()));
                    ensure_eq!(instance.ask(function, &arguments).await?, expected, "`{function}` refused");
                }
            }
            Ok(())
        }

        /// A large value crosses in both directions without a changed byte.
        fn storage_of_any_size(t) {
            let mut instance = t.start(Guest::Counter).await?;
            let mut mirror = t.start_text(MIRROR).await?;
            instance.host.store(b"count", b"41");
            ensure_eq!(instance.say("increment").await?, b"42", "the count");
            ensure_eq!(instance.host.entries().get(&b"count"[..]).cloned(), Some(b"42".to_vec()), "the stored count");
            let large = Random::from_seed(5).bytes(200_000);
            mirror.ask("set", &[Value::Bytes(b"large".into()), Value::Bytes(large.clone())]).await?;
            ensure!(mirror.host.entries().get(&b"large"[..]) == Some(&large), "the stored bytes are others");
            let found = mirror.ask("get", &[Value::Bytes(b"large".into())]).await?;
            ensure!(found == answer(optional(Some(&large))), "the bytes that came back are others");
            Ok(())
        }

        /// Messaging calls arrive with their exact arguments, and every answer and error goes back as it was given.
        fn messaging(t) {
            let mut relay = t.start(Guest::Relay).await?;
            let config = ComponentConfig::new().with("target", "acme/other").with("timeout-ms", "1234");
            relay.init_ample(&config).await?;
            relay.host.answer("messaging.send", Answer::Id(MessageId::from_parts(u64::MAX, 0xabc)));
            let reply = relay.say("send acme/other hello there").await?;
            ensure_eq!(String::from_utf8_lossy(&reply), "ffffffffffffffff-0000000000000abc", "the id of a message");
            relay.say("publish orders.new 7").await?;
            relay.say("subscribe orders.**").await?;
            ensure_eq!(relay.say("unsubscribe orders.**").await?, b"true", "the answer to `unsubscribe`");
            relay.host.answer("messaging.unsubscribe", Answer::Flag(false));
            ensure_eq!(relay.say("unsubscribe nothing").await?, b"false", "the second answer to `unsubscribe`");
            ensure_eq!(relay.say("cancel 0000000000000001-ffffffffffffffff").await?, b"true", "the answer to `cancel`");
            relay.say("ask-async acme/other question").await?;
            relay.host.answer("messaging.request", Answer::Body(Body::typed("a/b".parse()?, "an answer")));
            let reply = relay.execute_ample(message(Body::typed("c/d".parse()?, [0xff, 0xfe]))).await?.body;
            let expected = Body::typed("a/b".parse()?, "acme/guest heard from acme/other: an answer");
            ensure_eq!(reply, expected, "the answer to a request");
            let calls: Vec<_> =
                asked(&relay).into_iter().filter(|call| !call.function().starts_with("storage.")).collect();
            let (target, timeout) = ("acme/other".to_owned(), Duration::from_millis(1234));
            let expected = [
                HostCall::Send { target: target.clone(), body: plain("hello there")? },
                HostCall::Publish { topic: "orders.new".into(), body: plain("7")? },
                HostCall::Subscribe { pattern: "orders.**".into() },
                HostCall::Unsubscribe { pattern: "orders.**".into() },
                HostCall::Unsubscribe { pattern: "nothing".into() },
                HostCall::Cancel { request: MessageId::from_parts(1, u64::MAX) },
                HostCall::RequestAsync { target: target.clone(), body: plain("question")?, timeout },
                HostCall::Request { target, body: Body::typed("c/d".parse()?, [0xff, 0xfe]), timeout },
            ];
            ensure_eq!(calls, expected, "the calls as they arrived");

            let mut hostile = t.start(Guest::Hostile).await?;
            for (refusal, said) in messaging_refusals() {
                hostile.host.answer("messaging.send", Answer::MessagingRefusal(refusal.clone()));
                let reply = hostile.say("send-flood acme/other 3 10").await?;
                ensure_eq!(String::from_utf8_lossy(&reply), format!("0 sent; refused: {said}"), "`send` refused");
                hostile.host.answer("messaging.request", Answer::MessagingRefusal(refusal));
                let reply = hostile.say("self-request").await?;
                ensure_eq!(String::from_utf8_lossy(&reply), format!("refused: {said}"), "`request` refused");
            }
            Ok(())
        }

        /// The longest content type there is reaches the service as it is.
        fn longest_content_type(t) {
            let mut relay = t.start(Guest::Relay).await?;
            relay.init_ample(&ComponentConfig::new().with("target", "acme/other")).await?;
            // The guest passes the body on as it came.
            let longest = format!("a/{}", "b".repeat(253));
            relay.execute_ample(message(Body::typed(longest.parse()?, "x"))).await?;
            let calls = asked(&relay);
            let Some(HostCall::Request { body, .. }) = calls.first() else { fail!("nothing was asked: {calls:?}") };
            ensure_eq!(body.content_type.as_ref().map(ContentType::as_str), Some(longest.as_str()), "the longest type");
            Ok(())
        }

        /// The answer to an asynchronous request arrives through `replies`, every error of it included.
        fn replies(t) {
            let mut relay = t.start(Guest::Relay).await?;
            let request = MessageId::from_parts(0x12, 0x34);
            let key = b"reply/0000000000000012-0000000000000034".as_slice();
            let outcome = Ok(Body::typed("a/b".parse()?, [0, 1, 0xff]));
            let output = relay.execute_ample(ComponentInput::Reply { request, outcome }).await?;
            ensure_eq!(output.body, Body::default(), "what handling a reply returns");
            ensure_eq!(relay.host.entries().get(key).cloned(), Some(vec![0, 1, 0xff]), "the answer as the guest saw it");
            for (refusal, said) in messaging_refusals() {
                relay.execute_ample(ComponentInput::Reply { request, outcome: Err(refusal) }).await?;
                let seen = relay.host.entries().get(key).cloned().unwrap_or_default();
                ensure_eq!(String::from_utf8_lossy(&seen), format!("error: {said}"), "the error as the guest saw it");
            }
            let mut echo = t.start(Guest::Echo).await?;
            let outcome = Ok(Body::new("for nobody"));
            let result = echo.execute_ample(ComponentInput::Reply { request, outcome }).await;
            of_kind(result, ErrorKind::ComponentNotFound, "a reply for a component without `replies`")?;
            echo.is_ready()?;
            Ok(())
        }

        /// Log lines arrive with their level and their text, whatever it holds; the guest can ask which levels count.
        fn logging(t) {
            let logger = t.load(Guest::Logger).await?;
            let levels = [
                ("trace", LogLevel::Trace),
                ("debug", LogLevel::Debug),
                ("info", LogLevel::Info),
                ("warn", LogLevel::Warn),
                ("error", LogLevel::Error),
            ];
            for (name, level) in levels {
                let mut instance = t.instance(&logger).await?;
                instance.init_ample(&ComponentConfig::new().with("level", name)).await?;
                let odd = "\0\u{1b}[31m\n🦀\u{202e}";
                instance.say(odd).await?;
                let message = format!("from the host, plain bytes, {} bytes: {odd}", odd.len());
                ensure_eq!(asked(&instance).first(), Some(&HostCall::Log { level, message }), "a line of level {name}");
            }
            let mut echo = t.start(Guest::Echo).await?;
            let count = message(Body::typed("application/x-calls".parse()?, "25"));
            echo.execute_ample(count).await?;
            ensure_eq!(asked(&echo), vec![HostCall::Enabled { level: LogLevel::Info }; 25], "how often it asked");
            Ok(())
        }

        /// An error of a service itself ends the guest's call with that very error, from every service.
        fn error_ends_call(t) {
            let store_failed = || WasmError::storage("get", StorageFault::Io).saying("the disk is on fire");
            let too_many = || WasmError::new(ErrorKind::Messaging, "send").saying("the router is gone");
            let cases: [(Guest, &str, &'static str, ErrorKind, Answer); 6] = [
                (Guest::Counter, "get", "storage.get", ErrorKind::Storage, Answer::ends(store_failed)),
                (Guest::Counter, "increment", "storage.set", ErrorKind::Storage, Answer::ends(store_failed)),
                (Guest::Relay, "send acme/other x", "messaging.send", ErrorKind::Messaging, Answer::ends(too_many)),
                (Guest::Hostile, "self-request", "messaging.request", ErrorKind::Messaging, Answer::ends(too_many)),
                (Guest::Hostile, "giant-log 10", "logging.log", ErrorKind::Messaging, Answer::ends(too_many)),
                (Guest::Hostile, "flood 10", "storage.exists", ErrorKind::Storage, Answer::ends(store_failed)),
            ];
            for (guest, payload, function, kind, answer) in cases {
                let mut instance = t.start(guest).await?;
                instance.host.answer(function, answer);
                let error = of_kind(instance.say(payload).await, kind, &format!("{function} failed"))?;
                if kind == ErrorKind::Storage {
                    ensure_eq!(error.detail(), Some(Detail::Storage(StorageFault::Io)), "the detail of {function}");
                }
                instance.is_poisoned().await?;
            }
            Ok(())
        }

        /// A panic in a service ends that instance with a fault of the host, and no other.
        fn panic_ends_instance_only(t) {
            let cases = [
                (Guest::Counter, "get", "storage.get"),
                (Guest::Relay, "send acme/other x", "messaging.send"),
                (Guest::Hostile, "giant-log 10", "logging.log"),
            ];
            for (guest, payload, function) in cases {
                let component = t.load(guest).await?;
                let (mut instance, mut neighbour) = (t.instance(&component).await?, t.instance(&component).await?);
                instance.host.answer(function, Answer::Panics);
                failed(instance.say(payload).await, Detail::Trap(TrapKind::HostFault), &format!("{function} panicked"))?;
                instance.is_poisoned().await?;
                neighbour.say(payload).await?;
            }
            Outcome::Ok(())
        }
    }
}
