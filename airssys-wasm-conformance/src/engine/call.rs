//! Calling: messages, configuration, values of every type, resources.

use std::time::{Duration, SystemTime};

use airssys_wasm_core::component::{ComponentConfig, ComponentInput, ComponentMetadata};
use airssys_wasm_core::error::{Detail, ErrorKind, FailureCode, TrapKind};
use airssys_wasm_core::messaging::{Body, MessageId, MessageType, Sender, TraceContext};
use airssys_wasm_core::runtime::{ExecutionState, Value};

use super::EngineFeature::Deadlines;
use super::exposed::{EXPOSED, Piece, SeenMessage};
use super::host::values;
use super::{EngineBench, Instance, envelope, failed, message, of_kind};
use crate::fakes::HostCall;
use crate::guests::Guest;
use crate::random::Random;
use crate::runner::{Outcome, When, contracts, ensure, ensure_eq, fail};

const VALUES: &str = "airssys:fixtures/values@0.1.0";

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn some(value: Value) -> Value {
    Value::Option(Some(Box::new(value)))
}

fn none() -> Value {
    Value::Option(None)
}

fn ok(value: Value) -> Value {
    Value::Result(Ok(Some(Box::new(value))))
}

fn error(value: Value) -> Value {
    Value::Result(Err(Some(Box::new(value))))
}

fn list(values: impl IntoIterator<Item = Value>) -> Value {
    Value::List(values.into_iter().collect())
}

fn case(name: &str, payload: Value) -> Value {
    Value::Variant(name.to_owned(), Some(Box::new(payload)))
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn flags<const N: usize>(names: [&str; N]) -> Value {
    Value::Flags(names.map(str::to_owned).to_vec())
}

fn day(name: &str) -> Value {
    Value::Enum(name.to_owned())
}

fn point(x: f64, y: f64) -> Value {
    record([("x", Value::F64(x)), ("y", Value::F64(y))])
}

fn line(label: &str) -> Value {
    record([("from", point(0.0, -0.0)), ("to", point(1.5, f64::INFINITY)), ("label", text(label))])
}

fn shapes() -> Vec<Value> {
    vec![
        Value::Variant("nothing".to_owned(), None),
        case("radius", Value::F32(2.5)),
        case("count", Value::U64(u64::MAX)),
        case("text", text("ä text")),
        case("line", line("")),
        case("outline", list([point(1.0, 2.0), point(3.0, 4.0)])),
        case("outline", list([])),
        case("day", day("sunday")),
    ]
}

fn drawing() -> Value {
    record([
        ("title", some(text("a drawing"))),
        ("lines", list([line("one"), line("two")])),
        ("shapes", list(shapes())),
        ("allowed", flags(["read", "execute"])),
    ])
}

fn months() -> Value {
    flags(["january", "august", "september", "december"])
}

fn everything() -> Value {
    record([
        ("truth", Value::Bool(true)),
        (
            "unsigned",
            Value::Tuple(vec![Value::U8(255), Value::U16(65535), Value::U32(u32::MAX), Value::U64(u64::MAX)]),
        ),
        (
            "signed",
            Value::Tuple(vec![
                Value::S8(-128),
                Value::S16(-32768),
                Value::S32(i32::MIN),
                Value::S64(i64::MIN),
            ]),
        ),
        ("single", Value::F32(-0.5)),
        ("double", Value::F64(1e300)),
        ("letter", Value::Char('\u{10ffff}')),
        ("text", text("text")),
        ("bytes", Value::Bytes(vec![0, 1, 255])),
        ("words", list([text("a"), text(""), text("b c")])),
        (
            "drawing",
            record([
                ("title", none()),
                ("lines", list([])),
                ("shapes", list([case("radius", Value::F32(1.0))])),
                ("allowed", flags([])),
            ]),
        ),
        ("day", day("wednesday")),
        ("months", months()),
        ("switches", flags(["bit0", "bit31"])),
        ("maybe", some(some(Value::U8(7)))),
        ("outcome", error(text("no"))),
    ])
}

/// For each echoing function, values that it must return as they are.
fn samples() -> Vec<(&'static str, Vec<Value>)> {
    let long: String = "a long text with ümläuts and 字 and 🦀; ".repeat(2000);
    vec![
        ("bool", vec![Value::Bool(false), Value::Bool(true)]),
        ("u8", vec![Value::U8(0), Value::U8(128), Value::U8(255)]),
        ("s8", vec![Value::S8(0), Value::S8(-1), Value::S8(-128), Value::S8(127)]),
        ("u16", vec![Value::U16(0), Value::U16(256), Value::U16(u16::MAX)]),
        ("s16", vec![Value::S16(-1), Value::S16(i16::MIN), Value::S16(i16::MAX)]),
        ("u32", vec![Value::U32(0), Value::U32(1 << 31), Value::U32(u32::MAX)]),
        ("s32", vec![Value::S32(-1), Value::S32(i32::MIN), Value::S32(i32::MAX)]),
        ("u64", vec![Value::U64(0), Value::U64(1 << 63), Value::U64(u64::MAX)]),
        ("s64", vec![Value::S64(-1), Value::S64(i64::MIN), Value::S64(i64::MAX)]),
        ("char", ['\0', 'a', 'ä', '\u{d7ff}', '\u{e000}', '🦀', '\u{10ffff}'].map(Value::Char).to_vec()),
        ("string", ["", "a", "ümläut", "\0nul\0", "🦀\u{10ffff}", "e\u{301}", &long].map(text).to_vec()),
        (
            "bytes",
            vec![Value::Bytes(vec![]), Value::Bytes((0..=255).collect()), Value::Bytes(vec![7; 100_000])],
        ),
        ("strings", vec![list([]), list([text(""), text("a"), text(&long), text("🦀")])]),
        (
            "matrix",
            vec![
                list([]),
                list([
                    list([]),
                    list([Value::F64(1.5)]),
                    list([Value::F64(-0.0), Value::F64(f64::MIN_POSITIVE)]),
                ]),
            ],
        ),
        ("points", vec![list([]), list([point(1.0, -1.0), point(f64::INFINITY, f64::NEG_INFINITY)])]),
        ("shapes", vec![list([]), list(shapes())]),
        ("chars", vec![list([]), list(['x', '🦀', '\0'].map(Value::Char))]),
        ("bools", vec![list([]), list([true, false, true].map(Value::Bool))]),
        ("u64s", vec![list([]), list([0, 1, u64::MAX].map(Value::U64)), list((0..5000).map(Value::U64))]),
        ("record", vec![drawing()]),
        ("tuple", vec![Value::Tuple(vec![Value::U8(1), text("two"), Value::F32(3.5), Value::Bool(true)])]),
        ("variant", shapes()),
        ("enum", ["monday", "thursday", "sunday"].map(day).to_vec()),
        ("option", vec![none(), some(text("")), some(text("some"))]),
        (
            "nested-option",
            vec![none(), some(none()), some(some(Value::Bool(false))), some(some(Value::Bool(true)))],
        ),
        ("result", vec![ok(Value::U32(7)), error(text("why")), error(text(""))]),
        ("result-ok", vec![ok(text("yes")), Value::Result(Err(None))]),
        ("result-error", vec![Value::Result(Ok(None)), error(Value::Enum("large".to_owned()))]),
        ("result-empty", vec![Value::Result(Ok(None)), Value::Result(Err(None))]),
        (
            "permissions",
            vec![flags([]), flags(["read"]), flags(["write"]), flags(["read", "write", "execute"])],
        ),
        ("months", vec![flags([]), months()]),
        ("switches", vec![flags([]), flags(["bit0", "bit7", "bit8", "bit15", "bit16", "bit31"])]),
        (
            "deep",
            vec![
                list([]),
                list([
                    none(),
                    some(ok(Value::Tuple(vec![text("x"), list([none(), some(Value::U8(9))])]))),
                    some(error(list([text("a"), text("")]))),
                ]),
            ],
        ),
        ("everything", vec![everything()]),
    ]
}

async fn echoes(instance: &mut Instance, function: &str, value: &Value) -> Outcome {
    let export = format!("{VALUES}#echo-{function}");
    let found = instance.ask(&export, std::slice::from_ref(value)).await?;
    ensure_eq!(found.as_ref(), Some(value), "`echo-{function}`");
    Ok(())
}

contracts! { EngineBench;
    "engine.call" {
        /// A message and its reply keep every byte, whatever their size, and the content type.
        fn message_round_trip(t) {
            let mut instance = t.start(Guest::Echo).await?;
            let every_byte: Vec<u8> = (0..=255).collect();
            let mut random = Random::from_seed(4);
            let payloads = [Vec::new(), vec![0], every_byte, random.bytes(64), random.bytes(1 << 10), random.bytes(64 << 10), random.bytes(1 << 20)];
            for payload in payloads {
                for content_type in [None, Some("application/octet-stream"), Some("text/plain; charset=utf-8")] {
                    let content_type = content_type.map(str::parse).transpose()?;
                    let body = Body { content_type, payload: payload.clone() };
                    let reply = instance.execute_ample(message(body.clone())).await?.body;
                    ensure_eq!(reply.content_type, body.content_type, "the content type");
                    ensure!(reply.payload == body.payload, "{} bytes came back as others", payload.len());
                }
            }
            Ok(())
        }

        /// A guest sees who sent a message, on which topic, and what it is.
        fn message_fields(t) {
            let mut instance = t.start(Guest::Logger).await?;
            let mut sent = envelope(Body::typed("text/csv".parse()?, "a,b"));
            sent.sender = Sender::Component("acme/asker".parse()?);
            sent.topic = Some("orders.new".parse()?);
            sent.kind = MessageType::Event;
            instance.execute_ample(ComponentInput::Message(sent)).await?;
            instance.execute_ample(message(Body::new([0xff, 0]))).await?;
            let lines: Vec<_> = instance
                .host
                .calls()
                .into_iter()
                .filter_map(|call| if let HostCall::Log { message, .. } = call { Some(message) } else { None })
                .collect();
            let expected = [
                "from acme/asker on orders.new, text/csv, 3 bytes: a,b",
                "from the host, plain bytes, 2 bytes: 0xff00",
            ];
            ensure_eq!(lines, expected, "what the guest saw of two messages");
            Ok(())
        }

        /// Every field of a message arrives as it was sent, those that are absent as absent.
        fn every_field(t) {
            let mut instance = t.start_text(EXPOSED).await?;
            let mut sent = envelope(Body::typed("text/csv".parse()?, "a,b"));
            sent.id = MessageId::from_parts(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210);
            sent.sender = Sender::Component("acme/asker".parse()?);
            sent.topic = Some("orders.new".parse()?);
            sent.correlation = Some(MessageId::from_parts(u64::MAX, 7));
            sent.sent_at = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
            sent.attempt = 3;
            sent.trace = Some(TraceContext { trace_parent: "00-aa-bb-01".into(), trace_state: "k=v".into() });
            let full = SeenMessage {
                id: sent.id,
                sender: Some("acme/asker".to_owned()),
                topic: Some("orders.new".to_owned()),
                correlation: sent.correlation,
                content_type: Some("text/csv".to_owned()),
                payload: "a,b".to_owned(),
                sent_at: 1_700_000_000_123_456_789,
                attempt: 3,
                trace: Some(("00-aa-bb-01".to_owned(), "k=v".to_owned())),
            };
            let plain = SeenMessage {
                id: MessageId::from_parts(1, 2),
                sender: None,
                topic: None,
                correlation: None,
                content_type: None,
                payload: String::new(),
                sent_at: 1_700_000_000_000_000_000,
                attempt: 1,
                trace: None,
            };
            for (input, expected) in [(ComponentInput::Message(sent), full), (message(Body::default()), plain)] {
                let reply = instance.execute_ample(input).await?;
                ensure_eq!(Piece(reply.body.payload).message(), Some(expected), "the message as it lies in the guest");
            }
            Ok(())
        }

        /// `init` hands over every key and value of the configuration, in the order of the keys.
        fn configuration(t) {
            let greeter = t.load(Guest::Greeter).await?;
            let mut plain = t.instance(&greeter).await?;
            plain.init_ample(&ComponentConfig::new()).await?;
            ensure_eq!(plain.say("you").await?, b"Hello, you!", "without configuration");
            let mut configured = t.instance(&greeter).await?;
            let config = ComponentConfig::new().with("a", "x").with("greeting", "Grüß Gott").with("z", "");
            configured.init_ample(&config).await?;
            ensure_eq!(configured.say("you").await?, "Grüß Gott, you!".as_bytes(), "with a greeting configured");
            let mut exposed = t.start_text(EXPOSED).await?;
            exposed.init_ample(&config).await?;
            let seen = Piece(exposed.say("").await?).configuration();
            let expected = [("a", "x"), ("greeting", "Grüß Gott"), ("z", "")];
            let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
            ensure_eq!(seen, Some(expected), "the configuration as it lies in the guest");
            Ok(())
        }

        /// `metadata` returns what the component says of itself, and `shutdown` succeeds.
        fn metadata_and_shutdown(t) {
            let mut instance = t.start(Guest::Greeter).await?;
            let budget = t.ample();
            let metadata = instance.metadata(budget).await?;
            let expected = ComponentMetadata {
                name: "greeter".to_owned(),
                version: "0.1.0".to_owned(),
                description: "Greets whoever the message names, in the words of its configuration".to_owned(),
            };
            ensure_eq!(metadata, expected, "what the component says of itself");
            instance.shutdown(budget).await?;
            Ok(())
        }

        /// An error of the component is a value: it has its code and its text, and the instance goes on.
        fn failure_is_a_value(t) {
            let mut hostile = t.start(Guest::Hostile).await?;
            for round in 0..5 {
                let failure = failed(hostile.say("fail").await, Detail::Failure(FailureCode::Internal), "`fail`")?;
                ensure!(failure.to_string().contains("failed as asked"), "the guest's own words are missing: {failure}");
                hostile.is_ready()?;
                ensure_eq!(hostile.say("ok").await?, b"ok", "after failure {round}");
            }
            let mut greeter = t.start(Guest::Greeter).await?;
            failed(greeter.say("").await, Detail::Failure(FailureCode::InvalidInput), "nobody to greet")?;
            greeter.is_ready()?;
            let mut relay = t.start(Guest::Relay).await?;
            let config = ComponentConfig::new().with("timeout-ms", "soon");
            failed(relay.init_ample(&config).await, Detail::Failure(FailureCode::InvalidInput), "`init`")?;
            failed(relay.say("last-reply").await, Detail::Failure(FailureCode::NotFound), "no answer yet")?;
            relay.is_ready()?;
            Ok(())
        }

        /// Values of every WIT type go in and come out as they are.
        fn all_wit_types(t) {
            let mut instance = values(t).await?;
            for (function, samples) in samples() {
                for value in samples {
                    echoes(&mut instance, function, &value)
                        .await
                        .map_err(|broken| broken.during(format!("echo-{function}")))?;
                }
            }
            ensure_eq!(instance.ask(&format!("{VALUES}#nothing"), &[]).await?, None, "a function without a result");
            Ok(())
        }

        /// The guest sees the values as they were sent, and not merely something that comes back alike.
        fn seen_by_the_guest(t) {
            let mut instance = values(t).await?;
            let seen = instance.ask(&format!("{VALUES}#show"), &[everything()]).await?;
            let Some(Value::String(seen)) = seen else { fail!("`show` returned {seen:?}") };
            let pieces = [
                "truth: true", "(255, 65535, 4294967295, 18446744073709551615)",
                "(-128, -32768, -2147483648, -9223372036854775808)", "single: -0.5", "double: 1e300",
                "letter: '\\u{10ffff}'", "text: \"text\"", "bytes: [0, 1, 255]", "words: [\"a\", \"\", \"b c\"]",
                "title: None", "Shape::Radius(1.0)", "Weekday::Wednesday", "maybe: Some(Some(7))", "Err(\"no\")",
                "JANUARY", "AUGUST", "SEPTEMBER", "DECEMBER", "BIT0", "BIT31",
            ];
            for piece in pieces {
                ensure!(seen.contains(piece), "the guest did not see `{piece}`: {seen}");
            }
            for other in ["FEBRUARY", "BIT1 ", "BIT30"] {
                ensure!(!seen.contains(other), "the guest saw `{other}`: {seen}");
            }
            let weigh = |count: u32| (1..=u64::from(count)).map(|position| position * (position * 1_000_003 % 65_537)).sum::<u64>();
            let arguments = |count: u32| (1..=count).map(|position| Value::U32(position * 1_000_003 % 65_537)).collect::<Vec<_>>();
            for (name, count) in [("sixteen", 16), ("seventeen", 17)] {
                let found = instance.ask(&format!("{VALUES}#{name}"), &arguments(count)).await?;
                ensure_eq!(found, Some(Value::U64(weigh(count))), "the weight of {count} parameters");
            }
            let many = vec![
                Value::Bool(true), Value::U8(2), Value::S8(-3), Value::U16(4), Value::S16(-5), Value::U32(6), Value::S32(-7),
                Value::U64(8), Value::S64(-9), Value::F32(10.5), Value::F64(-11.5), Value::Char('l'), text("m"),
                Value::Bytes(vec![14]), Value::U8(15), Value::U16(16), Value::U32(17), Value::U64(18), text("s"), Value::Bool(false),
            ];
            let found = instance.ask(&format!("{VALUES}#many"), &many).await?;
            ensure_eq!(found, Some(Value::Tuple(many)), "twenty parameters of many types");
            Ok(())
        }

        /// Floats keep every bit; a NaN is the canonical one.
        fn exact_floats(t) {
            let mut instance = values(t).await?;
            let singles = [0.0, -0.0, 1.0, f32::MIN_POSITIVE, f32::from_bits(1), f32::MAX, f32::INFINITY, f32::NEG_INFINITY];
            let doubles = [0.0, -0.0, 0.1, f64::MIN_POSITIVE, f64::from_bits(1), f64::MAX, f64::INFINITY, f64::NEG_INFINITY];
            for number in singles {
                let found = instance.ask(&format!("{VALUES}#echo-f32"), &[Value::F32(number)]).await?;
                let Some(Value::F32(found)) = found else { fail!("{number} came back as {found:?}") };
                ensure_eq!(found.to_bits(), number.to_bits(), "the bits of {number}");
            }
            for number in doubles {
                let found = instance.ask(&format!("{VALUES}#echo-f64"), &[Value::F64(number)]).await?;
                let Some(Value::F64(found)) = found else { fail!("{number} came back as {found:?}") };
                ensure_eq!(found.to_bits(), number.to_bits(), "the bits of {number}");
            }
            for bits in [0x7fc0_0000, 0x7fc0_0001, 0xffc0_0000, 0x7fa0_0000] {
                let found = instance.ask(&format!("{VALUES}#echo-f32"), &[Value::F32(f32::from_bits(bits))]).await?;
                let Some(Value::F32(found)) = found else { fail!("a NaN came back as {found:?}") };
                ensure_eq!(found.to_bits(), 0x7fc0_0000, "the canonical NaN, of {bits:#x}");
            }
            for bits in [0x7ff8_0000_0000_0000, 0x7ff8_0000_0000_0001, 0xfff8_0000_0000_0000, 0x7ff4_0000_0000_0000] {
                let found = instance.ask(&format!("{VALUES}#echo-f64"), &[Value::F64(f64::from_bits(bits))]).await?;
                let Some(Value::F64(found)) = found else { fail!("a NaN came back as {found:?}") };
                ensure_eq!(found.to_bits(), 0x7ff8_0000_0000_0000, "the canonical NaN, of {bits:#x}");
            }
            Ok(())
        }

        /// An export that does not exist and arguments that do not fit are refused, and the instance goes on.
        fn argument_mismatch(t) {
            let mut instance = values(t).await?;
            for name in ["no-such-function", "airssys:fixtures/values@0.1.0#echo-u7", "acme:other/values#echo-u8", "airssys:fixtures/values#echo-u8", "airssys:fixtures/values@0.1.0"] {
                let result = instance.ask(name, &[Value::U8(1)]).await;
                of_kind(result, ErrorKind::ComponentNotFound, &format!("the export `{name}`"))?;
                instance.is_ready()?;
            }
            let mismatches = [
                ("echo-u8", vec![]),
                ("echo-u8", vec![Value::U8(1), Value::U8(2)]),
                ("echo-u8", vec![Value::S8(1)]),
                ("echo-u8", vec![Value::U32(1)]),
                ("echo-string", vec![Value::Bytes(b"bytes".to_vec())]),
                ("echo-bytes", vec![list([Value::U8(1)])]),
                ("echo-strings", vec![list([text("a"), Value::U8(1)])]),
                ("echo-enum", vec![day("someday")]),
                ("echo-variant", vec![case("radius", Value::F64(1.0))]),
                ("echo-variant", vec![Value::Variant("radius".into(), None)]),
                ("echo-variant", vec![case("nothing", Value::U8(1))]),
                ("echo-variant", vec![case("squareness", Value::U8(1))]),
                ("echo-tuple", vec![Value::Tuple(vec![Value::U8(1), text("two"), Value::F32(3.5)])]),
                ("echo-record", vec![record([("title", none())])]),
                ("echo-option", vec![text("not an option")]),
                ("echo-result", vec![ok(text("not a number"))]),
                ("echo-result-empty", vec![ok(Value::U8(1))]),
                ("echo-permissions", vec![flags(["read", "fly"])]),
                ("nothing", vec![Value::Bool(true)]),
                ("look", vec![Value::U64(1)]),
            ];
            for (name, arguments) in mismatches {
                let result = instance.ask(&format!("{VALUES}#{name}"), &arguments).await;
                of_kind(result, ErrorKind::Serialization, &format!("`{name}` of {arguments:?}"))?;
                instance.is_ready()?;
                echoes(&mut instance, "u8", &Value::U8(7)).await?;
            }
            Ok(())
        }

        /// Every call is counted, and nothing is used before the first.
        fn usage_counts_calls(t) {
            let mut instance = t.start(Guest::Echo).await?;
            ensure_eq!(instance.usage().calls, 0, "calls of a fresh instance");
            ensure_eq!(instance.state(), ExecutionState::Ready, "the state of a fresh instance");
            for _ in 0..3 {
                instance.say("x").await?;
            }
            ensure_eq!(instance.usage().calls, 3, "calls after three messages");
            ensure!(instance.usage().memory_bytes > 0, "the instance has a memory, and its usage shows none");
            Ok(())
        }
    }

    "engine.resources" {
        /// A resource lives until it is handed back: it can be lent any number of times, is destroyed once, and its handle
        /// is then refused.
        fn lifecycle(t) {
            let mut instance = values(t).await?;
            let call = |name: &str| format!("{VALUES}#{name}");
            let made = instance.ask(&call("[constructor]accumulator"), &[Value::S64(40)]).await?;
            let Some(first @ Value::Resource(_)) = made else { fail!("the constructor returned {made:?}") };
            for expected in [41, 42] {
                let sum = instance.ask(&call("[method]accumulator.add"), &[first.clone(), Value::S64(1)]).await?;
                ensure_eq!(sum, Some(Value::S64(expected)), "the sum");
            }
            let made = instance.ask(&call("[constructor]accumulator"), &[Value::S64(8)]).await?;
            let Some(second @ Value::Resource(_)) = made else { fail!("the constructor returned {made:?}") };
            ensure!(first != second, "two resources have one handle");
            let joined = instance.ask(&call("[static]accumulator.join"), &[first.clone(), second.clone()]).await?;
            let Some(joined @ Value::Resource(_)) = joined else { fail!("`join` returned {joined:?}") };
            ensure_eq!(instance.ask(&call("look"), std::slice::from_ref(&joined)).await?, Some(Value::S64(50)), "the joined sum");
            ensure_eq!(instance.ask(&call("living"), &[]).await?, Some(Value::U32(3)), "how many live");
            let passed = instance.ask(&call("pass-through"), &[joined]).await?;
            let Some(passed @ Value::Resource(_)) = passed else { fail!("`pass-through` returned {passed:?}") };
            for (handle, sum) in [(first.clone(), 42), (second, 8), (passed, 50)] {
                ensure_eq!(instance.ask(&call("consume"), &[handle]).await?, Some(Value::S64(sum)), "the last look");
            }
            ensure_eq!(instance.ask(&call("living"), &[]).await?, Some(Value::U32(0)), "how many live in the end");
            let Err(error) = instance.ask(&call("look"), &[first]).await else {
                fail!("a resource that was handed back can still be looked at")
            };
            let is_refused = error.kind() == ErrorKind::Serialization
                || error.detail() == Some(Detail::Trap(TrapKind::InvalidHandle));
            ensure!(is_refused, "a stale handle is neither refused nor an invalid handle: {error}");
            Ok(())
        }

        /// A handle of one instance means nothing to another, whether or not that one has handles of its own.
        fn belong_to_their_instance(t) {
            let (mut left, mut right, mut empty) = (values(t).await?, values(t).await?, values(t).await?);
            let constructor = format!("{VALUES}#[constructor]accumulator");
            let Some(of_left) = left.ask(&constructor, &[Value::S64(1)]).await? else { fail!("nothing was made") };
            let Some(of_right) = right.ask(&constructor, &[Value::S64(2)]).await? else { fail!("nothing was made") };
            for (instance, foreign) in [(&mut left, &of_right), (&mut right, &of_left), (&mut empty, &of_left)] {
                let result = instance.ask(&format!("{VALUES}#look"), std::slice::from_ref(foreign)).await;
                ensure!(result.is_err(), "another instance took the handle, and answered {result:?}");
            }
            Ok(())
        }
    }

    "engine.reuse" {
        /// One instance takes any number of messages, failures among them, and keeps its state between them.
        fn after_failure(t) {
            let mut instance = t.start(Guest::Hostile).await?;
            for round in 1..=200_u32 {
                ensure_eq!(instance.say("ok").await?, b"ok", "round {round}");
                failed(instance.say("fail").await, Detail::Failure(FailureCode::Internal), "`fail`")?;
                let kept = instance.say("leak 100").await?;
                ensure_eq!(String::from_utf8_lossy(&kept), format!("{} bytes kept", round * 100), "the state");
                failed(instance.say("nonsense").await, Detail::Failure(FailureCode::InvalidInput), "nonsense")?;
            }
            ensure_eq!(instance.usage().calls, 800, "calls in the end");
            Ok(())
        }
    }

    "engine.neighbours" {
        /// A busy guest does not keep another from answering, even on one thread.
        [When::Feature(Deadlines)] fn are_not_starved(t) {
            let mut busy = t.start(Guest::Hostile).await?;
            let mut honest = t.start(Guest::Echo).await?;
            let work = async {
                for _ in 0..50 {
                    honest.say("hello").await?;
                    tokio::task::yield_now().await;
                }
                Outcome::Ok(std::time::Instant::now())
            };
            let spin = async {
                let result = busy.say_within("loop", super::within(Duration::from_secs(3))).await;
                (result, std::time::Instant::now())
            };
            let ((result, ended), done) = tokio::join!(spin, work);
            of_kind(result, ErrorKind::ExecutionTimeout, "the busy guest")?;
            ensure!(done? < ended, "the honest guest had to wait until the busy one was ended");
            Ok(())
        }
    }
}
