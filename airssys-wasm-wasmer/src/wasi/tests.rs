use std::collections::BTreeSet;
use std::sync::Mutex;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, SystemTime};

use airssys_wasm_conformance::fakes::FakeHost;
use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::{Detail, Limit};
use airssys_wasm_core::runtime::LoggingService;
use airssys_wasm_engine::wasi::{MAX_WRITE, interfaces};

use super::signatures::functions;
use super::*;

/// Interfaces that have no functions: only types and resources.
const WITHOUT_FUNCTIONS: [&str; 3] =
    ["wasi:cli/terminal-input", "wasi:cli/terminal-output", "wasi:sockets/network"];

#[derive(Debug, Default)]
struct Collected(Mutex<Vec<(LogLevel, String)>>);

impl LoggingService for Collected {
    fn log(&self, level: LogLevel, message: &str) -> Result<()> {
        if message == "refuse me" {
            return Err(WasmError::limited("log", Limit::HostCalls));
        }
        assert!(message != "panic at me", "as asked");
        self.0.lock().unwrap().push((level, message.to_owned()));
        Ok(())
    }

    fn enabled(&self, _: LogLevel) -> Result<bool> {
        Ok(true)
    }
}

struct World {
    wasi: Wasi,
    log: Arc<Collected>,
}

impl World {
    fn new() -> Self {
        Self::with(&ResourceLimits::default())
    }

    fn with(limits: &ResourceLimits) -> Self {
        let log = Arc::new(Collected::default());
        let ticker = Ticker::start(Duration::from_millis(1)).unwrap();
        let services =
            HostServices { logging: Arc::clone(&log) as _, ..FakeHost::new("acme/guest").services() };
        Self { wasi: Wasi::new(limits, &services, &ticker), log }
    }

    fn start(&self, name: &str, arguments: Vec<Value>) -> Answer {
        let (interface, function) = name.split_once('#').unwrap();
        let found = find(&format!("wasi:{interface}"), function).unwrap_or_else(|| panic!("no {name}"));
        found(&self.wasi, arguments)
    }

    fn call(&self, name: &str, arguments: Vec<Value>) -> Result<Option<Value>> {
        match self.start(name, arguments) {
            Answer::Now(answer) => answer,
            Answer::Later(answer) => block_on(answer),
            Answer::Then(answer) => block_on(answer)?(&self.wasi),
        }
    }

    /// Calls what answers with a value.
    fn get(&self, name: &str, arguments: Vec<Value>) -> Value {
        self.call(name, arguments).unwrap().unwrap()
    }

    /// What a call that ends the guest ends it with.
    fn detail(&self, name: &str, arguments: Vec<Value>) -> Detail {
        self.call(name, arguments).unwrap_err().detail().unwrap()
    }

    fn stdin(&self) -> Value {
        self.get("cli/stdin#get-stdin", vec![])
    }

    fn stdout(&self) -> Value {
        self.get("cli/stdout#get-stdout", vec![])
    }

    fn timer(&self, time: Duration) -> Value {
        self.get("clocks/monotonic-clock#subscribe-duration", vec![Value::U64(time.as_nanos() as u64)])
    }

    fn drop(&self, kind: &str, resource: &Value) -> Result<()> {
        self.wasi.drop_resource(kind, rep(resource))
    }

    fn lines(&self) -> Vec<(LogLevel, String)> {
        self.log.0.lock().unwrap().clone()
    }
}

fn rep(resource: &Value) -> u32 {
    let Value::Resource(ResourceHandle(rep)) = resource else { panic!("{resource:?} is not a resource") };
    u32::try_from(*rep).unwrap()
}

/// Waits without any executor.
fn block_on<T>(mut future: Pin<Box<dyn Future<Output = T> + Send>>) -> T {
    struct Unpark(thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Arc::new(Unpark(thread::current())).into();
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park();
    }
}

fn closed() -> Value {
    err(Value::Variant("closed".into(), None))
}

fn refused(code: &str) -> Value {
    err(Value::Enum(code.into()))
}

fn bytes(length: usize) -> Value {
    Value::Bytes(vec![b'x'; length])
}

fn indices(indices: &[u32]) -> Value {
    Value::List(indices.iter().map(|index| Value::U32(*index)).collect())
}

const INVALID_HANDLE: Detail = Detail::Trap(TrapKind::InvalidHandle);
const INVALID_VALUE: Detail = Detail::Trap(TrapKind::InvalidValue);
const OTHER: Detail = Detail::Trap(TrapKind::Other);

const NO_TIME: Duration = Duration::ZERO;
const SHORT: Duration = Duration::from_millis(250);
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn every_function_of_every_interface_is_found() {
    assert_eq!(functions().count(), 123);
    for (interface, function) in functions() {
        assert!(find(interface, function).is_some(), "{interface}#{function}");
    }
    let mut known: Vec<_> = functions().map(|(interface, _)| interface).collect();
    known.extend(WITHOUT_FUNCTIONS);
    known.sort_unstable();
    known.dedup();
    let offered: Vec<_> = interfaces().collect();
    let offered: Vec<_> = offered.iter().map(|name| name.split_once('@').unwrap().0).collect();
    assert_eq!(known, offered);
}

#[test]
fn what_is_not_stable_wasi_is_not_found() {
    for (interface, function) in [
        ("wasi:sockets/network", "network-error-code"),
        ("wasi:clocks/timezone", "display"),
        ("wasi:cli/run", "run"),
        ("wasi:http/types", "[constructor]fields"),
        ("wasi:io/streams@0.2.12", "[method]input-stream.read"),
        ("wasi:io/streams", "read"),
        ("wasi:io/streams", "[method]output-stream.read"),
        ("io/streams", "[method]input-stream.read"),
        ("wasi:io", "poll"),
        ("", ""),
    ] {
        assert!(find(interface, function).is_none(), "{interface}#{function}");
    }
}

#[test]
fn everything_that_a_guest_can_reach_answers_as_on_wasmtime() {
    let world = World::new();
    let (stdin, stdout) = (world.stdin(), world.stdout());
    let network = world.get("sockets/instance-network#instance-network", vec![]);
    let on = |resource: &Value, rest: &[Value]| [std::slice::from_ref(resource), rest].concat();
    let size = Value::U64;
    let check = |name: &str, arguments: Vec<Value>, expected: Value| {
        assert_eq!(world.call(name, arguments).unwrap(), Some(expected), "{name}");
    };
    check("cli/environment#get-environment", vec![], Value::List(vec![]));
    check("cli/environment#get-arguments", vec![], Value::List(vec![]));
    check("cli/environment#initial-cwd", vec![], Value::Option(None));
    check("cli/terminal-stdin#get-terminal-stdin", vec![], Value::Option(None));
    check("cli/terminal-stdout#get-terminal-stdout", vec![], Value::Option(None));
    check("cli/terminal-stderr#get-terminal-stderr", vec![], Value::Option(None));
    check("filesystem/preopens#get-directories", vec![], Value::List(vec![]));
    for family in ["ipv4", "ipv6"] {
        let family = vec![Value::Enum(family.into())];
        check("sockets/tcp-create-socket#create-tcp-socket", family.clone(), refused("access-denied"));
        check("sockets/udp-create-socket#create-udp-socket", family, refused("access-denied"));
    }
    for name in ["localhost", "127.0.0.1", "not a name", ""] {
        let arguments = on(&network, &[Value::String(name.into())]);
        check("sockets/ip-name-lookup#resolve-addresses", arguments, refused("permanent-resolver-failure"));
    }
    for length in [0, 1, u64::MAX] {
        let arguments = on(&stdin, &[size(length)]);
        check("io/streams#[method]input-stream.read", arguments.clone(), closed());
        check("io/streams#[method]input-stream.blocking-read", arguments.clone(), closed());
        check("io/streams#[method]input-stream.skip", arguments.clone(), closed());
        check("io/streams#[method]input-stream.blocking-skip", arguments, closed());
        let spliced = if length == 0 { ok(size(0)) } else { closed() };
        let arguments = on(&stdout, &[stdin.clone(), size(length)]);
        check("io/streams#[method]output-stream.splice", arguments.clone(), spliced.clone());
        check("io/streams#[method]output-stream.blocking-splice", arguments, spliced);
    }
    check("io/streams#[method]output-stream.check-write", on(&stdout, &[]), ok(size(65536)));
    check("io/streams#[method]output-stream.write", on(&stdout, &[bytes(0)]), ok(None));
    check("io/streams#[method]output-stream.write", on(&stdout, &[bytes(MAX_WRITE + 1)]), ok(None));
    check("io/streams#[method]output-stream.blocking-write-and-flush", on(&stdout, &[bytes(4096)]), ok(None));
    check("io/streams#[method]output-stream.flush", on(&stdout, &[]), ok(None));
    check("io/streams#[method]output-stream.blocking-flush", on(&stdout, &[]), ok(None));
    check("io/streams#[method]output-stream.write-zeroes", on(&stdout, &[size(65536)]), ok(None));
    let most = on(&stdout, &[size(4096)]);
    check("io/streams#[method]output-stream.blocking-write-zeroes-and-flush", most, ok(None));
    check("random/random#get-random-bytes", vec![size(0)], Value::Bytes(vec![]));
    check("random/insecure#get-insecure-random-bytes", vec![size(0)], Value::Bytes(vec![]));
    for stream in [&stdin, &stdout] {
        let kind = if stream == &stdin { "input" } else { "output" };
        let subscribe = format!("io/streams#[method]{kind}-stream.subscribe");
        let pollable = world.get(&subscribe, vec![stream.clone()]);
        check("io/poll#[method]pollable.ready", on(&pollable, &[]), Value::Bool(true));
        assert_eq!(world.call("io/poll#[method]pollable.block", on(&pollable, &[])).unwrap(), None);
        check("io/poll#poll", vec![Value::List(vec![pollable])], indices(&[0]));
    }
}

#[test]
fn misuse_ends_the_call_as_on_wasmtime() {
    let world = World::new();
    let stdout = world.stdout();
    let check = |name: &str, arguments: Vec<Value>, expected: Detail| {
        let arguments = [vec![stdout.clone()], arguments].concat();
        assert_eq!(
            world.detail(&format!("io/streams#[method]output-stream.{name}"), arguments),
            expected,
            "{name}"
        );
    };
    check("blocking-write-and-flush", vec![bytes(4097)], INVALID_VALUE);
    for length in [4097, u64::MAX] {
        check("blocking-write-zeroes-and-flush", vec![Value::U64(length)], INVALID_VALUE);
    }
    for length in [65537, u64::MAX] {
        check("write-zeroes", vec![Value::U64(length)], OTHER);
    }
    assert_eq!(world.detail("io/poll#poll", vec![Value::List(vec![])]), OTHER);
    world.wasi.end_call().unwrap();
    assert_eq!(world.lines(), []);
}

#[test]
fn an_exit_ends_the_call() {
    let world = World::new();
    let check = |function: &str, status: Value, expected: &str| {
        let error = world.call(&format!("cli/exit#{function}"), vec![status]).unwrap_err();
        assert_eq!(error.detail(), Some(OTHER));
        assert_eq!(error.context().collect::<Vec<_>>(), [("status", expected)]);
    };
    check("exit", Value::Result(Ok(None)), "0");
    check("exit", Value::Result(Err(None)), "1");
    check("exit-with-code", Value::U8(0), "0");
    check("exit-with-code", Value::U8(255), "255");
}

#[test]
fn outputs_are_lines_of_the_log() {
    let world = World::new();
    let write = |stream: &Value, text: &str| {
        let arguments = vec![stream.clone(), Value::Bytes(text.into())];
        world.call("io/streams#[method]output-stream.write", arguments)
    };
    let stderr = world.get("cli/stderr#get-stderr", vec![]);
    write(&world.stdout(), "a").unwrap();
    write(&stderr, "oh\n").unwrap();
    write(&world.stdout(), "b\nc").unwrap();
    world.get("io/streams#[method]output-stream.write-zeroes", vec![stderr.clone(), Value::U64(2)]);
    world.wasi.end_call().unwrap();
    world.wasi.end_call().unwrap();
    let line = |level, text: &str| (level, text.to_owned());
    assert_eq!(
        world.lines(),
        [
            line(LogLevel::Warn, "oh"),
            line(LogLevel::Info, "ab"),
            line(LogLevel::Info, "c"),
            line(LogLevel::Warn, "\\u{0}\\u{0}"),
        ]
    );
    let refused = write(&stderr, "refuse me\n").unwrap_err();
    assert_eq!((refused.operation(), refused.detail()), ("log", Some(Detail::Limit(Limit::HostCalls))));
    write(&stderr, "panic at me").unwrap();
    assert_eq!(world.wasi.end_call().unwrap_err().detail(), Some(Detail::Trap(TrapKind::HostFault)));
}

#[test]
fn clocks_run() {
    let world = World::new();
    let number = |name: &str| match world.get(&format!("clocks/{name}"), vec![]) {
        Value::U64(number) => number,
        value => panic!("{value:?}"),
    };
    let time = |name: &str| match world.get(&format!("clocks/{name}"), vec![]) {
        Value::Record(fields) => match &*fields {
            [(first, Value::U64(seconds)), (second, Value::U32(nanoseconds))] => {
                assert_eq!((&**first, &**second), ("seconds", "nanoseconds"));
                Duration::new(*seconds, *nanoseconds)
            }
            fields => panic!("{fields:?}"),
        },
        value => panic!("{value:?}"),
    };
    let before = number("monotonic-clock#now");
    thread::sleep(SHORT);
    assert!(number("monotonic-clock#now") - before >= 20_000_000);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(time("wall-clock#now").abs_diff(now) < Duration::from_secs(60));
    assert!((1..=55_000_000).contains(&number("monotonic-clock#resolution")));
    assert!((1..=55_000_000).contains(&time("wall-clock#resolution").as_nanos()));
}

#[test]
fn a_pollable_of_a_clock_waits_without_any_executor() {
    let world = World::new();
    let ready = |pollable: &Value| world.get("io/poll#[method]pollable.ready", vec![pollable.clone()]);
    let started = Instant::now();
    let timer = world.timer(SHORT);
    assert_eq!(ready(&timer), Value::Bool(false));
    assert_eq!(world.call("io/poll#[method]pollable.block", vec![timer.clone()]).unwrap(), None);
    assert!(started.elapsed() >= SHORT);
    assert_eq!(ready(&timer), Value::Bool(true));
    for at in [0, 1] {
        let past = world.get("clocks/monotonic-clock#subscribe-instant", vec![Value::U64(at)]);
        assert_eq!(ready(&past), Value::Bool(false), "others have their turn first");
        assert_eq!(ready(&past), Value::Bool(true));
    }
    for at in [u64::MAX, u64::MAX / 2] {
        let far = world.get("clocks/monotonic-clock#subscribe-instant", vec![Value::U64(at)]);
        assert_eq!(ready(&far), Value::Bool(false));
    }
}

#[test]
fn a_wait_can_be_given_up() {
    let world = World::new();
    let timer = world.timer(LONG);
    let Answer::Later(mut waiting) = world.start("io/poll#poll", vec![Value::List(vec![timer.clone()])])
    else {
        panic!("nothing is ready");
    };
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    world.drop("pollable", &timer).unwrap();
    drop(waiting);
}

#[test]
fn poll_tells_all_that_are_ready() {
    let world = World::new();
    let poll = |pollables: &[&Value]| {
        world.get("io/poll#poll", vec![Value::List(pollables.iter().copied().cloned().collect())])
    };
    let (first, second) = (world.stdout(), world.stdout());
    let subscribe =
        |stream: &Value| world.get("io/streams#[method]output-stream.subscribe", vec![stream.clone()]);
    let started = Instant::now();
    let (late, soon, later) = (world.timer(LONG), world.timer(SHORT), world.timer(LONG));
    let (of_second, of_first, again) = (subscribe(&second), subscribe(&first), subscribe(&second));
    // In the order of what they are about, and then of the list.
    assert_eq!(poll(&[&late, &of_second, &of_first, &again, &soon]), indices(&[2, 1, 3]));
    assert_eq!(poll(&[&of_first, &of_first]), indices(&[0, 1]));
    assert_eq!(poll(&[&late, &soon, &later, &soon]), indices(&[1, 3]));
    assert!(started.elapsed() >= SHORT);
    // What has no time to wait is ready after others had their turn, unless something else is ready.
    let (now, now_too) = (world.timer(NO_TIME), world.timer(NO_TIME));
    assert_eq!(poll(&[&now, &of_first]), indices(&[1]));
    assert_eq!(poll(&[&now, &of_first]), indices(&[1, 0]));
    assert_eq!(poll(&[&late, &now_too, &soon]), indices(&[2]));
    let fresh = world.timer(NO_TIME);
    assert_eq!(poll(&[&late, &fresh]), indices(&[1]));
    assert_eq!(world.call("io/poll#[method]pollable.block", vec![world.timer(NO_TIME)]).unwrap(), None);
}

#[test]
fn random_numbers_are_limited_and_random() {
    let world = World::with(&ResourceLimits { transfer: ByteSize::kib(1), ..ResourceLimits::default() });
    for name in ["random#get-random-bytes", "insecure#get-insecure-random-bytes"] {
        let name = format!("random/{name}");
        let get = || world.get(&name, vec![Value::U64(1024)]);
        assert!(matches!(get(), Value::Bytes(bytes) if bytes.len() == 1024));
        assert_ne!(get(), get());
        for length in [1025, u64::MAX] {
            assert_eq!(world.detail(&name, vec![Value::U64(length)]), Detail::Limit(Limit::Transfer));
        }
        let large = World::with(&ResourceLimits { transfer: ByteSize::mib(64), ..ResourceLimits::default() });
        assert!(large.call(&name, vec![Value::U64(1 << 20)]).is_ok());
        assert_eq!(large.detail(&name, vec![Value::U64((1 << 20) + 1)]), Detail::Limit(Limit::Transfer));
    }
    for name in ["random#get-random-u64", "insecure#get-insecure-random-u64"] {
        let get = || world.get(&format!("random/{name}"), vec![]);
        assert!(matches!(get(), Value::U64(_)));
        assert_ne!(get(), get());
    }
    let seed = || world.get("random/insecure-seed#insecure-seed", vec![]);
    assert!(matches!(seed(), Value::Tuple(seed) if matches!(*seed, [Value::U64(_), Value::U64(_)])));
    assert_eq!(seed(), seed());
}

#[test]
fn a_stream_stays_while_something_waits_for_it() {
    let world = World::new();
    let check = |result: Result<()>| assert_eq!(result.unwrap_err().detail(), Some(INVALID_HANDLE));
    let stdin = world.stdin();
    let pollable = world.get("io/streams#[method]input-stream.subscribe", vec![stdin.clone()]);
    check(world.drop("input-stream", &stdin));
    world.drop("pollable", &pollable).unwrap();
    check(world.drop("pollable", &pollable));
    world.drop("input-stream", &stdin).unwrap();
    check(world.drop("input-stream", &stdin));
    assert_eq!(world.detail("io/streams#[method]input-stream.subscribe", vec![stdin]), INVALID_HANDLE);
}

#[test]
fn a_resource_is_dropped_under_its_own_name_only() {
    let world = World::new();
    let network = world.get("sockets/instance-network#instance-network", vec![]);
    let resources = [
        ("input-stream", world.stdin()),
        ("output-stream", world.stdout()),
        ("network", network),
        ("pollable", world.timer(LONG)),
    ];
    let kinds =
        ["input-stream", "output-stream", "network", "pollable", "error", "descriptor", "a deadline", ""];
    for (kind, resource) in &resources {
        for other in kinds.iter().filter(|other| *other != kind) {
            assert!(world.drop(other, resource).is_err(), "{kind} as {other}");
        }
        world.drop(kind, resource).unwrap();
    }
    for kind in kinds {
        for rep in [0, 1, 5, u32::MAX] {
            assert!(world.wasi.drop_resource(kind, rep).is_err());
        }
    }
}

#[test]
fn handles_are_limited() {
    let world = World::with(&ResourceLimits { handles: 3, ..ResourceLimits::default() });
    let check = |name: &str, arguments: Vec<Value>| {
        assert_eq!(world.detail(name, arguments), Detail::Limit(Limit::Handles), "{name}");
    };
    let streams = [world.stdout(), world.stdout(), world.stdout()];
    check("cli/stdin#get-stdin", vec![]);
    check("cli/stdout#get-stdout", vec![]);
    check("cli/stderr#get-stderr", vec![]);
    check("sockets/instance-network#instance-network", vec![]);
    check("io/streams#[method]output-stream.subscribe", vec![streams[0].clone()]);
    check("clocks/monotonic-clock#subscribe-duration", vec![Value::U64(0)]);
    world.drop("output-stream", &streams[2]).unwrap();
    world.drop("output-stream", &streams[0]).unwrap();
    for _ in 0..1000 {
        let timer = world.timer(LONG);
        world.drop("pollable", &timer).unwrap();
    }
    // The last that was free is used first, and what a timer waits for has a number, too.
    let timer = world.timer(LONG);
    assert_eq!(rep(&timer), 2);
    world.drop("pollable", &timer).unwrap();
    assert_eq!(rep(&world.stdout()), 0);
    world.stdout();
    check("cli/stdout#get-stdout", vec![]);
}

#[test]
fn hostile_arguments_end_the_call_and_nothing_else() {
    let most = 50;
    let world = World::with(&ResourceLimits { handles: most, ..ResourceLimits::default() });
    let (stdin, stdout, timer) = (world.stdin(), world.stdout(), world.timer(NO_TIME));
    let network = world.get("sockets/instance-network#instance-network", vec![]);
    let resource = |rep| Value::Resource(ResourceHandle(rep));
    let values = [
        stdin,
        stdout,
        network,
        timer.clone(),
        resource(u64::from(rep(&timer)) - 1),
        resource(99),
        resource(u64::from(u32::MAX)),
        resource(1 << 32),
        resource(u64::MAX),
        Value::U64(0),
        Value::U64(u64::MAX),
        Value::U8(7),
        bytes(0),
        bytes(5000),
        Value::String("x".into()),
        Value::Bool(true),
        Value::Result(Ok(None)),
        Value::Enum("ipv5".into()),
        Value::List(vec![]),
        Value::List(vec![timer.clone(), Value::Bool(true)]),
        Value::List(vec![timer, resource(u64::MAX)]),
    ];
    let mut details = BTreeSet::new();
    for (interface, function) in functions() {
        let name = format!("{}#{function}", interface.strip_prefix("wasi:").unwrap());
        // Whoever takes a resource refuses what is not one.
        let takes_resource = function.starts_with("[method]") || function.ends_with("-error-code");
        let mut check = |arguments: Vec<Value>| {
            let exists = matches!(&*arguments, [Value::Resource(resource), ..] if resource.0 < most.into());
            if let Answer::Now(answer) = world.start(&name, arguments) {
                assert!(answer.is_err() || exists || !takes_resource, "{name}");
                details.extend(answer.err().map(|error| format!("{:?}", error.detail())));
            }
        };
        check(vec![]);
        for first in &values {
            check(vec![first.clone()]);
            for second in &values {
                check(vec![first.clone(), second.clone()]);
            }
        }
    }
    let expected = [
        "Some(Limit(Handles))",
        "Some(Limit(Transfer))",
        "Some(Trap(InvalidHandle))",
        "Some(Trap(InvalidValue))",
        "Some(Trap(Other))",
    ];
    assert_eq!(details.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_resource_of_another_kind_is_refused() {
    let world = World::new();
    let network = world.get("sockets/instance-network#instance-network", vec![]);
    let (stdin, stdout, timer) = (world.stdin(), world.stdout(), world.timer(NO_TIME));
    let check = |name: &str, arguments: &[&Value]| {
        let arguments = arguments.iter().copied().cloned().collect();
        assert_eq!(world.detail(name, arguments), INVALID_HANDLE, "{name}");
    };
    let number = Value::U64(1);
    let list = Value::List(vec![timer.clone(), stdin.clone()]);
    check("io/poll#poll", &[&list]);
    for other in [&stdout, &network, &timer] {
        check("io/streams#[method]input-stream.read", &[other, &number]);
        check("io/streams#[method]input-stream.subscribe", &[other]);
        check("io/streams#[method]output-stream.splice", &[&stdout, other, &number]);
    }
    for other in [&stdin, &network, &timer] {
        check("io/streams#[method]output-stream.write", &[other, &bytes(1)]);
        check("io/streams#[method]output-stream.check-write", &[other]);
    }
    for other in [&stdin, &stdout, &network] {
        check("io/poll#[method]pollable.ready", &[other]);
        check("io/poll#[method]pollable.block", &[other]);
    }
    for other in [&stdin, &stdout, &timer] {
        check("sockets/ip-name-lookup#resolve-addresses", &[other, &Value::String("localhost".into())]);
    }
    for other in [&stdin, &stdout, &timer, &network] {
        check("io/error#[method]error.to-debug-string", &[other]);
        check("filesystem/types#[method]descriptor.stat", &[other]);
        check("sockets/tcp#[method]tcp-socket.subscribe", &[other]);
    }
}
