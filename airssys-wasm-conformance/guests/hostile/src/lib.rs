//! Everything a host must survive: one attack per message.
//!
//! The payload names the attack. The configuration keys `init` and `shutdown` name attacks that run in these handlers
//! instead; `execute` then still takes its own from the payload.
//!
//! An attack that the host answers with a refusal does not fail: it replies with what happened, so that a test can
//! read how far it came. Where a number can follow, it is decimal.
//!
//! | payload | what happens | reply |
//! | --- | --- | --- |
//! | `ok` | nothing | `ok` |
//! | `fail` | returns a failure | |
//! | `loop` | computes forever | |
//! | `loop-in-pieces` | computes forever, and calls the host now and then | |
//! | `grow` | asks for memory until it is refused, then goes on | pages gained |
//! | `grow-and-die` | allocates until the allocator gives up and aborts | |
//! | `leak BYTES` | keeps so many bytes more until the instance ends | `N bytes kept` |
//! | `recurse [DEPTH]` | recurses, endlessly unless told how deep | a checksum |
//! | `panic` | panics | |
//! | `unreachable` | executes the instruction `unreachable` | |
//! | `out-of-bounds` | reads beyond the end of its memory | |
//! | `divide` | divides by zero | |
//! | `flood [N]` | calls `storage.exists`, endlessly unless told how often | `N calls, M refused` |
//! | `log-flood N BYTES` | logs N lines of this size | `N lines` |
//! | `giant-log BYTES` | logs one line of escapes, newlines and NUL | `N bytes logged` |
//! | `giant-reply BYTES` | returns a reply of this size | the bytes |
//! | `giant-failure BYTES` | returns a failure with a text of this size | |
//! | `send-flood TARGET N BYTES` | sends N messages of this size | `N sent`, and `; refused: ...` |
//! | `self-request` | asks itself, and waits | `answered: ...` or `refused: ...` |
//! | `write-flood N BYTES` | writes N values of this size | `N written`, and `; refused: ...` |
//! | `big-value BYTES` | writes one value of this size | `stored` or `refused: ...` |
//! | `mark ATTACK` | writes the key `mark`, sends `mark` to the component that the configuration key `accomplice` names, and attacks | as the attack |
//! | `marked` | looks for the key `mark` | `true`, `false` or `refused: ...` |
//! | `ask TARGET TEXT` | asks, and waits for an hour | `answered: ...` or `refused: ...` |

wit_bindgen::generate!({ path: "../../../wit", world: "guest" });

use std::arch::wasm32;
use std::cell::RefCell;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::str::{FromStr, SplitAsciiWhitespace};
use std::sync::OnceLock;

use airssys::core::logging::{self, Level};
use airssys::core::messaging::{self, MessagingError};
use airssys::core::storage::{self, StorageError};
use airssys::core::types::FailureCode;
use exports::airssys::core::component::{Body, ComponentMetadata, Failure, Guest, Message};

static AT_SHUTDOWN: OnceLock<String> = OnceLock::new();
static ACCOMPLICE: OnceLock<String> = OnceLock::new();

thread_local! {
    static LEAKED: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

struct Hostile;

impl Guest for Hostile {
    fn init(config: Vec<(String, String)>) -> Result<(), Failure> {
        for (key, attack) in config {
            match key.as_str() {
                "init" => drop(run(&attack)?),
                "shutdown" => drop(AT_SHUTDOWN.set(attack)),
                "accomplice" => drop(ACCOMPLICE.set(attack)),
                _ => {}
            }
        }
        Ok(())
    }

    fn execute(message: Message) -> Result<Body, Failure> {
        let attack = String::from_utf8_lossy(&message.body.payload);
        Ok(Body { content_type: None, payload: run(&attack)? })
    }

    fn shutdown() -> Result<(), Failure> {
        if let Some(attack) = AT_SHUTDOWN.get() {
            run(attack)?;
        }
        Ok(())
    }

    fn metadata() -> ComponentMetadata {
        ComponentMetadata {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            description: env!("CARGO_PKG_DESCRIPTION").to_owned(),
        }
    }
}

fn run(attack: &str) -> Result<Vec<u8>, Failure> {
    let mut words = attack.split_ascii_whitespace();
    let words = &mut words;
    match words.next().unwrap_or_default() {
        "ok" => Ok(b"ok".to_vec()),
        "fail" => Err(failure(FailureCode::Internal, "failed as asked".to_owned())),
        "loop" => spin_forever(),
        "loop-in-pieces" => spin_in_pieces(),
        "grow" => Ok(grow()),
        "grow-and-die" => grow_and_die(),
        "leak" => leak(next(words)?),
        "recurse" => Ok(dive(next_or(words, u64::MAX)?, 1).to_string().into_bytes()),
        "panic" => panic!("panicked as asked"),
        "unreachable" => wasm32::unreachable(),
        "out-of-bounds" => Ok(read_out_of_bounds()),
        "divide" => Ok(divide_by_zero()),
        "flood" => Ok(flood(next_or(words, u64::MAX)?)),
        "log-flood" => log_flood(next(words)?, next(words)?),
        "giant-log" => giant_log(next(words)?),
        "giant-reply" => Ok(vec![b'x'; next(words)?]),
        "giant-failure" => Err(failure(FailureCode::Internal, "x".repeat(next(words)?))),
        "send-flood" => send_flood(&next::<String>(words)?, next(words)?, next(words)?),
        "self-request" => Ok(self_request()),
        "write-flood" => write_flood(next(words)?, next(words)?),
        "big-value" => big_value(next(words)?),
        "mark" => {
            mark()?;
            run(attack.trim_start().strip_prefix("mark").unwrap_or_default())
        }
        "marked" => Ok(marked()),
        "ask" => Ok(ask(&next::<String>(words)?, &words.collect::<Vec<_>>().join(" "))),
        _ => Err(invalid_input(format!("`{attack}` is not an attack"))),
    }
}

fn spin_forever() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn spin_in_pieces() -> ! {
    loop {
        for turn in 0..100_000_u32 {
            black_box(turn);
        }
        black_box(logging::enabled(Level::Trace));
    }
}

/// Asks the engine for pages past the allocator, in steps that shrink when they are refused.
fn grow() -> Vec<u8> {
    const REFUSED: usize = usize::MAX;
    let mut gained = 0_usize;
    let mut step = 1024_usize;
    while step > 0 {
        if wasm32::memory_grow(0, step) == REFUSED {
            step /= 2;
        } else {
            gained += step;
        }
    }
    gained.to_string().into_bytes()
}

fn grow_and_die() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![0xaa_u8; 1 << 20]);
        black_box(&hoard);
    }
}

fn leak(bytes: usize) -> Result<Vec<u8>, Failure> {
    LEAKED.with_borrow_mut(|leaked| {
        let mut more = Vec::new();
        more.try_reserve_exact(bytes).map_err(|_| {
            failure(FailureCode::Unavailable, format!("the memory for {bytes} bytes was refused"))
        })?;
        more.resize(bytes, 0xaa);
        leaked.push(black_box(more));
        let kept: usize = leaked.iter().map(Vec::len).sum();
        Ok(format!("{kept} bytes kept").into_bytes())
    })
}

/// Recurses in frames that live on the engine's stack alone: the result is used after the call, so the call cannot
/// become a jump, and nothing is spilled to the guest's memory.
#[inline(never)]
fn dive(remaining: u64, salt: u64) -> u64 {
    if remaining == 0 {
        return salt;
    }
    let below = dive(remaining - 1, salt.rotate_left(7) ^ remaining);
    below.rotate_left(3).wrapping_mul(salt | 1)
}

fn read_out_of_bounds() -> Vec<u8> {
    let beyond = black_box(0xffff_fff0_usize) as *const u8;
    // SAFETY: none. The address lies beyond every memory that this guest can have, and the engine must stop the read.
    let byte = unsafe { beyond.read_volatile() };
    vec![byte]
}

fn divide_by_zero() -> Vec<u8> {
    // Rust checks its divisors, and a failed check is a panic. A divisor whose type excludes zero is not checked, which
    // leaves the check to the division instruction itself.
    // SAFETY: none. The engine must stop the division that follows.
    let divisor = unsafe { NonZeroU32::new_unchecked(black_box(0)) };
    let quotient = black_box(1_u32) / black_box(divisor);
    quotient.to_string().into_bytes()
}

fn flood(calls: u64) -> Vec<u8> {
    let mut refused = 0_u64;
    for _ in 0..calls {
        if storage::exists(b"flood").is_err() {
            refused += 1;
        }
    }
    format!("{calls} calls, {refused} refused").into_bytes()
}

fn log_flood(lines: u64, bytes: usize) -> Result<Vec<u8>, Failure> {
    let line = "x".repeat(bytes);
    for _ in 0..lines {
        logging::log(Level::Info, &line);
    }
    Ok(format!("{lines} lines").into_bytes())
}

fn giant_log(bytes: usize) -> Result<Vec<u8>, Failure> {
    const PIECE: &str =
        "\x1b[31mred\x1b[0m\nERROR a line that the host never wrote\r\x07\0\x1b]0;title\x07\x1b[2J";
    let mut line = String::with_capacity(bytes);
    while line.len() < bytes {
        let rest = bytes - line.len();
        line.push_str(&PIECE[..rest.min(PIECE.len())]);
    }
    logging::log(Level::Info, &line);
    Ok(format!("{bytes} bytes logged").into_bytes())
}

fn send_flood(target: &str, messages: u64, bytes: usize) -> Result<Vec<u8>, Failure> {
    let body = Body { content_type: None, payload: vec![b'x'; bytes] };
    for sent in 0..messages {
        if let Err(error) = messaging::send(target, &body) {
            return Ok(format!("{sent} sent; refused: {}", describe_messaging(&error)).into_bytes());
        }
    }
    Ok(format!("{messages} sent").into_bytes())
}

fn mark() -> Result<(), Failure> {
    let refused = |text| failure(FailureCode::Unavailable, text);
    storage::set(b"mark", b"set").map_err(|error| refused(describe_storage(&error)))?;
    let Some(accomplice) = ACCOMPLICE.get() else { return Ok(()) };
    let body = Body { content_type: None, payload: b"mark".to_vec() };
    messaging::send(accomplice, &body).map_err(|error| refused(describe_messaging(&error)))?;
    Ok(())
}

fn marked() -> Vec<u8> {
    match storage::exists(b"mark") {
        Ok(is_marked) => is_marked.to_string().into_bytes(),
        Err(error) => format!("refused: {}", describe_storage(&error)).into_bytes(),
    }
}

fn self_request() -> Vec<u8> {
    ask_within(&messaging::self_id(), "ok", 1000)
}

fn ask(target: &str, text: &str) -> Vec<u8> {
    const HOUR_MS: u32 = 3_600_000;
    ask_within(target, text, HOUR_MS)
}

fn ask_within(target: &str, text: &str, timeout_ms: u32) -> Vec<u8> {
    let body = Body { content_type: None, payload: text.as_bytes().to_vec() };
    match messaging::request(target, &body, timeout_ms) {
        Ok(answer) => [b"answered: ".as_slice(), &answer.payload].concat(),
        Err(error) => format!("refused: {}", describe_messaging(&error)).into_bytes(),
    }
}

fn write_flood(writes: u64, bytes: usize) -> Result<Vec<u8>, Failure> {
    let value = vec![b'x'; bytes];
    for written in 0..writes {
        if let Err(error) = storage::set(format!("flood/{written:08}").as_bytes(), &value) {
            return Ok(format!("{written} written; refused: {}", describe_storage(&error)).into_bytes());
        }
    }
    Ok(format!("{writes} written").into_bytes())
}

fn big_value(bytes: usize) -> Result<Vec<u8>, Failure> {
    match storage::set(b"big", &vec![b'x'; bytes]) {
        Ok(()) => Ok(b"stored".to_vec()),
        Err(error) => Ok(format!("refused: {}", describe_storage(&error)).into_bytes()),
    }
}

fn describe_messaging(error: &MessagingError) -> String {
    match error {
        MessagingError::Denied(text) => format!("denied: {text}"),
        MessagingError::InvalidAddress(text) => format!("invalid-address: {text}"),
        MessagingError::NotFound(text) => format!("not-found: {text}"),
        MessagingError::QueueFull(text) => format!("queue-full: {text}"),
        MessagingError::TooLarge(text) => format!("too-large: {text}"),
        MessagingError::Timeout => "timeout".to_owned(),
        MessagingError::Cycle(text) => format!("cycle: {text}"),
        MessagingError::Failed(failure) => format!("failed: {}", failure.message),
        MessagingError::Unavailable(text) => format!("unavailable: {text}"),
    }
}

fn describe_storage(error: &StorageError) -> String {
    match error {
        StorageError::Denied(text) => format!("denied: {text}"),
        StorageError::QuotaExceeded(text) => format!("quota-exceeded: {text}"),
        StorageError::TooLarge(text) => format!("too-large: {text}"),
        StorageError::InvalidCursor(text) => format!("invalid-cursor: {text}"),
        StorageError::Unavailable(text) => format!("unavailable: {text}"),
    }
}

/// The next argument of an attack, which must be there.
fn next<T: FromStr>(words: &mut SplitAsciiWhitespace<'_>) -> Result<T, Failure> {
    let word = words.next().ok_or_else(|| invalid_input("the attack needs another argument".to_owned()))?;
    word.parse().map_err(|_| invalid_input(format!("`{word}` is not an argument of this attack")))
}

/// The next argument of an attack, or `default` when there is none.
fn next_or(words: &mut SplitAsciiWhitespace<'_>, default: u64) -> Result<u64, Failure> {
    if words.clone().next().is_some() { next(words) } else { Ok(default) }
}

fn invalid_input(message: String) -> Failure {
    failure(FailureCode::InvalidInput, message)
}

fn failure(code: FailureCode, message: String) -> Failure {
    Failure { code, message }
}

export!(Hostile);
