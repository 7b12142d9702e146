//! How calls end that do not return: traps, deadlines, cancellation, fuel.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use airssys_wasm_core::component::{ComponentConfig, ResourceLimits};
use airssys_wasm_core::error::{Detail, ErrorKind, Limit, TrapKind};
use airssys_wasm_core::messaging::Body;
use airssys_wasm_core::runtime::{CallBudget, ComponentHandle, ExecutionState, Value};

use super::EngineFeature::{Deadlines, Holds};
use super::{EngineBench, Instance, PUNCTUAL, failed, message, of_kind, soon, within};
use crate::fakes::{Answer, FakeHost};
use crate::guests::Guest;
use crate::random::Random;
use crate::runner::{Outcome, When, contracts, ensure, ensure_eq, fail, poll_once};

/// One export for each way to trap.
const TRAPS: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (table 2 funcref)
        (type $none (func))
        (type $other (func (param i64)))
        (func $f (type $none))
        (elem (i32.const 0) func $f)
        (func $deeper (param i64) (result i64)
            (i64.add (call $deeper (i64.add (local.get 0) (i64.const 1))) (local.get 0)))
        (func (export "fine"))
        (func (export "unreachable") unreachable)
        (func (export "memory-out-of-bounds") (drop (i32.load (i32.const 65533))))
        (func (export "table-out-of-bounds") (call_indirect (type $none) (i32.const 99)))
        (func (export "null") (call_indirect (type $none) (i32.const 1)))
        (func (export "signature") (call_indirect (type $other) (i64.const 0) (i32.const 0)))
        (func (export "overflow") (drop (i32.div_s (i32.const -2147483648) (i32.const -1))))
        (func (export "division") (drop (i64.rem_u (i64.const 1) (i64.const 0))))
        (func (export "conversion") (drop (i32.trunc_f32_s (f32.const nan))))
        (func (export "stack") (drop (call $deeper (i64.const 0)))))
    (core instance $i (instantiate $m))
    (func (export "fine") (canon lift (core func $i "fine")))
    (func (export "unreachable") (canon lift (core func $i "unreachable")))
    (func (export "memory-out-of-bounds") (canon lift (core func $i "memory-out-of-bounds")))
    (func (export "table-out-of-bounds") (canon lift (core func $i "table-out-of-bounds")))
    (func (export "null") (canon lift (core func $i "null")))
    (func (export "signature") (canon lift (core func $i "signature")))
    (func (export "overflow") (canon lift (core func $i "overflow")))
    (func (export "division") (canon lift (core func $i "division")))
    (func (export "conversion") (canon lift (core func $i "conversion")))
    (func (export "stack") (canon lift (core func $i "stack")))
)"#;

/// Exports that return what the canonical ABI refuses, and one whose allocator lies.
const INVALID_VALUES: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (data (i32.const 0) "\ff\ff\00\00\02\00\00\00")
        (data (i32.const 16) "\10\00\00\00\ff\ff\ff\ff")
        (data (i32.const 32) "\40\00\00\00\02\00\00\00")
        (data (i32.const 48) "\09\00")
        (data (i32.const 64) "\ff\fe")
        (func (export "outside") (result i32) (i32.const 0))
        (func (export "endless") (result i32) (i32.const 16))
        (func (export "not-utf8") (result i32) (i32.const 32))
        (func (export "no-case") (result i32) (i32.const 48))
        (func (export "surrogate") (result i32) (i32.const 0xd800))
        (func (export "beyond") (result i32) (i32.const 0x110000))
        (func (export "result-outside") (result i32) (i32.const -8))
        (func (export "take") (param i32 i32))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const -16)))
    (core instance $i (instantiate $m))
    (alias core export $i "memory" (core memory $memory))
    (alias core export $i "realloc" (core func $realloc))
    (func (export "outside") (result string) (canon lift (core func $i "outside") (memory $memory)))
    (func (export "endless") (result (list u64)) (canon lift (core func $i "endless") (memory $memory)))
    (func (export "not-utf8") (result string) (canon lift (core func $i "not-utf8") (memory $memory)))
    (func (export "no-case") (result (option u8)) (canon lift (core func $i "no-case") (memory $memory)))
    (func (export "surrogate") (result char) (canon lift (core func $i "surrogate")))
    (func (export "beyond") (result char) (canon lift (core func $i "beyond")))
    (func (export "result-outside") (result string) (canon lift (core func $i "result-outside") (memory $memory)))
    (func (export "take") (param "text" string)
        (canon lift (core func $i "take") (memory $memory) (realloc $realloc)))
)"#;

const SPINNING_START: &str = r#"(component
    (core module $m (func $spin (loop $again (br $again))) (start $spin))
    (core instance (instantiate $m)))"#;

const TRAPPING_START: &str = r#"(component
    (core module $m (func $trap unreachable) (start $trap))
    (core instance (instantiate $m)))"#;

/// Shows that a call was ended by its deadline: not before, not much later, and in the right way.
async fn ended_on_time<T: std::fmt::Debug>(
    allowed: Duration,
    what: &str,
    call: impl AsyncFnOnce(CallBudget) -> airssys_wasm_core::error::Result<T>,
) -> Outcome {
    // Before the deadline is set: whoever is kept from the processor in between must not look punctual, or early.
    let started = Instant::now();
    let result = soon(what, call(within(allowed))).await?;
    let took = started.elapsed();
    of_kind(result, ErrorKind::ExecutionTimeout, what)?;
    ensure!(took >= allowed, "{what} was ended after {took:?}, before its {allowed:?} were over");
    ensure!(took <= allowed + PUNCTUAL, "{what} was ended after {took:?}, and had {allowed:?}");
    Ok(())
}

async fn hostile(t: &EngineBench) -> Outcome<Instance> {
    Ok(t.start(Guest::Hostile).await?)
}

/// The fuel that a message takes in a fresh instance of a component that was loaded with fuel.
async fn fuel_of(t: &EngineBench, component: &ComponentHandle, payload: &str) -> Outcome<u64> {
    let limits = ResourceLimits { fuel: NonZeroU64::new(u64::MAX / 4), ..ResourceLimits::default() };
    let mut instance = t.limited_instance(component, &limits).await?;
    let before = instance.usage().fuel;
    let budget = CallBudget { fuel: NonZeroU64::new(1 << 40), ..t.ample() };
    instance.say_within(payload, budget).await?;
    Ok(instance.usage().fuel - before)
}

contracts! { EngineBench;
    "engine.trap" {
        /// Every way to trap has its own kind, the same on every engine.
        fn kinds(t) {
            let component = t.load_text(TRAPS).await?;
            let kinds = [
                ("unreachable", TrapKind::Unreachable),
                ("memory-out-of-bounds", TrapKind::MemoryOutOfBounds),
                ("table-out-of-bounds", TrapKind::TableOutOfBounds),
                ("null", TrapKind::IndirectCallToNull),
                ("signature", TrapKind::IndirectCallSignature),
                ("overflow", TrapKind::IntegerOverflow),
                ("division", TrapKind::IntegerDivisionByZero),
                ("conversion", TrapKind::BadConversionToInteger),
                ("stack", TrapKind::StackOverflow),
            ];
            for (export, kind) in kinds {
                let mut instance = t.instance(&component).await?;
                ensure_eq!(instance.ask("fine", &[]).await?, None, "before the trap");
                failed(instance.ask(export, &[]).await, Detail::Trap(kind), export)?;
                ensure_eq!(instance.state(), ExecutionState::Poisoned, "the state after `{export}`");
            }
            Ok(())
        }

        /// A guest in Rust that panics, reads out of bounds, divides by zero or recurses without end traps likewise.
        fn kinds_of_messages(t) {
            let component = t.load(Guest::Hostile).await?;
            let kinds = [
                ("panic", TrapKind::Unreachable),
                ("unreachable", TrapKind::Unreachable),
                ("out-of-bounds", TrapKind::MemoryOutOfBounds),
                ("divide", TrapKind::IntegerDivisionByZero),
                ("recurse", TrapKind::StackOverflow),
            ];
            for (attack, kind) in kinds {
                let mut instance = t.instance(&component).await?;
                failed(instance.say(attack).await, Detail::Trap(kind), attack)?;
                instance.is_poisoned().await?;
            }
            Ok(())
        }

        /// Values that the canonical ABI refuses are a trap, and never a panic, a giant allocation or a wrong value.
        fn invalid_values(t) {
            let component = t.load_text(INVALID_VALUES).await?;
            for export in ["outside", "endless", "not-utf8", "no-case", "surrogate", "beyond", "result-outside"] {
                let mut instance = t.instance(&component).await?;
                failed(instance.ask(export, &[]).await, Detail::Trap(TrapKind::InvalidValue), export)?;
                ensure_eq!(instance.state(), ExecutionState::Poisoned, "the state after `{export}`");
            }
            let mut instance = t.instance(&component).await?;
            let result = instance.ask("take", &[Value::String("text".into())]).await;
            failed(result, Detail::Trap(TrapKind::InvalidValue), "an allocator that answers with nonsense")?;
            Ok(())
        }

        /// A trap ends its instance for good, and no other: neither one that was there before, nor one made after.
        fn poisons_instance(t) {
            let component = t.load(Guest::Hostile).await?;
            let mut before = t.instance(&component).await?;
            before.say("leak 10").await?;
            let mut instance = t.instance(&component).await?;
            failed(instance.say("panic").await, Detail::Trap(TrapKind::Unreachable), "`panic`")?;
            instance.is_poisoned().await?;
            ensure_eq!(before.say("leak 10").await?, b"20 bytes kept", "an instance made before the trap");
            let mut after = t.instance(&component).await?;
            ensure_eq!(after.say("ok").await?, b"ok", "an instance made after the trap");
            drop(instance);
            ensure_eq!(after.say("ok").await?, b"ok", "an instance after the poisoned one was dropped");
            Ok(())
        }

        /// A trap in `init`, in `shutdown` or in a start function is one like in `execute`.
        fn anywhere(t) {
            let mut instance = hostile(t).await?;
            let result = instance.init_ample(&ComponentConfig::new().with("init", "panic")).await;
            failed(result, Detail::Trap(TrapKind::Unreachable), "a panic in `init`")?;
            instance.is_poisoned().await?;
            let mut instance = hostile(t).await?;
            instance.init_ample(&ComponentConfig::new().with("shutdown", "divide")).await?;
            let budget = t.ample();
            let result = instance.shutdown(budget).await;
            failed(result, Detail::Trap(TrapKind::IntegerDivisionByZero), "a division in `shutdown`")?;
            instance.is_poisoned().await?;
            let component = t.load_text(TRAPPING_START).await?;
            let result = t.instance(&component).await.map(|_| "an instance");
            failed(result, Detail::Trap(TrapKind::Unreachable), "a start function")?;
            Ok(())
        }
    }

    "engine.deadline" {
        /// A busy guest is ended at its deadline: in a tight loop, between host calls, in endless host calls.
        [When::Feature(Deadlines)] fn stops(t) {
            let component = t.load(Guest::Hostile).await?;
            for attack in ["loop", "loop-in-pieces", "flood"] {
                let mut instance = t.instance(&component).await?;
                let allowed = Duration::from_millis(200);
                ended_on_time(allowed, attack, async |budget| instance.say_within(attack, budget).await).await?;
                instance.is_poisoned().await?;
            }
            Ok(())
        }

        /// A guest that waits for its host is ended at its deadline, and the wait is given up.
        [When::Feature(Deadlines)] fn stops_blocked(t) {
            let cases = [
                (Guest::Counter, "get", "storage.get"),
                (Guest::Counter, "add 1", "storage.set"),
                (Guest::Hostile, "flood 1", "storage.exists"),
                (Guest::Hostile, "self-request", "messaging.request"),
            ];
            for (guest, payload, function) in cases {
                let mut instance = t.start(guest).await?;
                instance.host.always(function, Answer::Never);
                let allowed = Duration::from_millis(200);
                let what = format!("waiting in {function}");
                ended_on_time(allowed, &what, async |budget| instance.say_within(payload, budget).await).await?;
                instance.is_poisoned().await?;
                let host = instance.host.clone();
                drop(instance);
                ensure_eq!(host.abandoned(), 1, "waits given up in {function}");
            }
            Ok(())
        }

        /// A deadline that is over already is kept too: the guest gets no time.
        [When::Feature(Deadlines)] fn already_past(t) {
            let component = t.load(Guest::Hostile).await?;
            for ago in [Duration::ZERO, Duration::from_millis(1), Duration::from_secs(3600)] {
                let mut instance = t.instance(&component).await?;
                let deadline = Instant::now().checked_sub(ago);
                if deadline.is_none() {
                    continue;
                }
                let started = Instant::now();
                let result = instance.say_within("loop", CallBudget { deadline, fuel: None });
                let result = soon("a call after its deadline", result).await?;
                of_kind(result, ErrorKind::ExecutionTimeout, "a call after its deadline")?;
                ensure!(started.elapsed() <= PUNCTUAL, "it went on for {:?}", started.elapsed());
            }
            Ok(())
        }

        /// The deadline covers `init`, `shutdown`, calls by name, and the start functions of a component.
        [When::Feature(Deadlines)] fn covers_everything(t) {
            let allowed = Duration::from_millis(150);
            let mut instance = hostile(t).await?;
            let config = ComponentConfig::new().with("init", "loop");
            ended_on_time(allowed, "a loop in `init`", async |budget| instance.init(&config, budget).await).await?;
            instance.is_poisoned().await?;

            let mut instance = hostile(t).await?;
            instance.init_ample(&ComponentConfig::new().with("shutdown", "loop")).await?;
            ended_on_time(allowed, "a loop in `shutdown`", async |budget| instance.shutdown(budget).await).await?;
            instance.is_poisoned().await?;

            let mut instance = t.start_text(super::isolation::SPIN).await?;
            ended_on_time(allowed, "a loop in a call by name", async |budget| instance.ask_within("spin", &[], budget).await).await?;

            let component = t.load_text(SPINNING_START).await?;
            let host = FakeHost::new("acme/guest");
            let limits = ResourceLimits::default();
            let start = async |budget| {
                component.instantiate(&limits, host.services(), budget).await.map(|_| "an instance")
            };
            ended_on_time(allowed, "a loop in a start function", start).await
        }

        /// No deadline gets lost, however close to the entry into the guest it falls.
        [When::Feature(Deadlines)] fn not_lost(t) {
            let component = t.load(Guest::Hostile).await?;
            let seed = Random::seed();
            let mut random = Random::from_seed(seed);
            for round in 0..150 {
                let mut instance = t.instance(&component).await?;
                let allowed = Duration::from_micros(random.below(400) as u64);
                let started = Instant::now();
                let result = soon("a short call", instance.say_within("loop", within(allowed))).await?;
                of_kind(result, ErrorKind::ExecutionTimeout, &format!("round {round}, seed {seed}, after {allowed:?}"))?;
                ensure!(started.elapsed() <= PUNCTUAL, "round {round}, seed {seed}: it took {:?}", started.elapsed());
            }
            Ok(())
        }

        /// A deadline that lies far ahead disturbs nothing, and one call's deadline is not the next one's.
        [When::Feature(Deadlines)] fn is_of_one_call(t) {
            let mut instance = t.start(Guest::Echo).await?;
            instance.say_within("x", within(Duration::from_millis(300))).await?;
            tokio::time::sleep(Duration::from_millis(400)).await;
            for budget in [CallBudget::UNBOUNDED, within(Duration::from_secs(1_000_000)), t.ample()] {
                ensure_eq!(instance.say_within("y", budget).await?, b"y", "a call after another's deadline");
            }
            Ok(())
        }
    }

    "engine.cancel" {
        /// Dropping the future of a call, at any point, ends the guest and poisons the instance; the next one works.
        fn any_point(t) {
            let component = t.load(Guest::Hostile).await?;
            let seed = Random::seed();
            let mut random = Random::from_seed(seed);
            for round in 0..200 {
                let mut instance = t.instance(&component).await?;
                let attack = ["loop", "loop-in-pieces", "flood", "self-request"][round % 4];
                instance.host.always("messaging.request", Answer::Never);
                let call = instance.component.execute(message(Body::new(attack)), CallBudget::UNBOUNDED);
                if round % 5 == 0 {
                    soon("the first step of a call", poll_once(call)).await?;
                } else {
                    let patience = Duration::from_micros(random.below(3000) as u64);
                    let result = soon("giving up a call", tokio::time::timeout(patience, call)).await?;
                    if let Ok(result) = result {
                        fail!("`{attack}` returned {result:?} in round {round}, seed {seed}");
                    }
                }
                instance.is_poisoned().await.map_err(|broken| broken.during(format!("round {round}, seed {seed}")))?;
                let host = instance.host.clone();
                drop(instance);
                ensure_eq!(host.clones(), 0, "services that a given up call still has, in round {round}, seed {seed}");
                let mut next = t.instance(&component).await?;
                ensure_eq!(next.say("ok").await?, b"ok", "the next instance in round {round}, seed {seed}");
            }
            Ok(())
        }

        /// A future that is dropped before it was polled once has not called anything.
        fn before_it_began(t) {
            let mut instance = t.start(Guest::Counter).await?;
            drop(instance.component.execute(message(Body::new("increment")), CallBudget::UNBOUNDED));
            ensure_eq!(instance.host.calls(), vec![], "what was asked of the host");
            Ok(())
        }

        /// Dropping an instance, one that waits and one that was never used included, releases it and its services:
        /// thousands can follow one another.
        fn releases_everything(t) {
            let component = t.load(Guest::Hostile).await?;
            for round in 0..1500 {
                let mut instance = t.instance(&component).await?;
                if round % 3 == 0 {
                    instance.host.always("messaging.request", Answer::Never);
                    poll_once(instance.component.execute(message(Body::new("self-request")), t.ample())).await;
                } else if round % 3 == 1 {
                    instance.say("ok").await?;
                }
                let host = instance.host.clone();
                drop(instance);
                ensure_eq!(host.clones(), 0, "services kept after their instance was dropped, in round {round}");
            }
            Ok(())
        }
    }

    "engine.fuel" {
        /// The same input takes the same fuel every time, and more work takes more.
        [When::Feature(Holds(Limit::Fuel))] fn deterministic(t) {
            for (guest, payload) in [(Guest::Hostile, "recurse 100"), (Guest::Echo, "hello"), (Guest::Greeter, "you")] {
                let component = t.load_metered(guest).await?;
                let first = fuel_of(t, &component, payload).await?;
                ensure!(first > 0, "{guest} took no fuel for `{payload}`");
                for _ in 0..3 {
                    ensure_eq!(fuel_of(t, &component, payload).await?, first, "the fuel of {guest} for `{payload}`");
                }
                let again = t.load_metered(guest).await?;
                ensure_eq!(fuel_of(t, &again, payload).await?, first, "the fuel of {guest}, loaded once more");
            }
            let component = t.load_metered(Guest::Hostile).await?;
            let little = fuel_of(t, &component, "recurse 100").await?;
            let more = fuel_of(t, &component, "recurse 1000").await?;
            ensure!(little < more, "ten times the work took {more} fuel, instead of {little}");
            Ok(())
        }

        /// A call that runs out of fuel is ended, with a kind of its own; the next call starts with its own fuel.
        [When::Feature(Holds(Limit::Fuel))] fn exhausted(t) {
            let component = t.load_metered(Guest::Hostile).await?;
            let limits = ResourceLimits { fuel: NonZeroU64::new(10_000_000), ..ResourceLimits::default() };
            for fuel in [1, 1_000, 10_000_000] {
                let mut instance = t.limited_instance(&component, &limits).await?;
                let budget = CallBudget { fuel: NonZeroU64::new(fuel), ..t.ample() };
                let result = soon("a call with little fuel", instance.say_within("loop", budget)).await?;
                failed(result, Detail::Limit(Limit::Fuel), &format!("a loop with {fuel} fuel"))?;
                instance.is_poisoned().await?;
                let used = instance.usage().fuel;
                ensure!(used >= fuel / 2 && used <= 2 * 10_000_000, "{used} fuel was used of {fuel}");
            }
            let needed = fuel_of(t, &component, "recurse 100").await?;
            let mut instance = t.limited_instance(&component, &limits).await?;
            for _ in 0..5 {
                let budget = CallBudget { fuel: NonZeroU64::new(2 * needed), ..t.ample() };
                instance.say_within("recurse 100", budget).await?;
            }
            let budget = CallBudget { fuel: None, ..t.ample() };
            instance.say_within("recurse 1000", budget).await?;
            Ok(())
        }

        /// Fuel for a component whose instructions are not counted is refused, and never ignored.
        fn refused_when_not_counted(t) {
            let component = t.load(Guest::Hostile).await?;
            let mut instance = t.instance(&component).await?;
            ensure_eq!(instance.say("ok").await?, b"ok", "a call without fuel");
            let limits = ResourceLimits { fuel: NonZeroU64::new(1_000_000), ..ResourceLimits::default() };
            let budget = CallBudget::starting_now(&limits);
            of_kind(instance.say_within("ok", budget).await, ErrorKind::InvalidConfiguration, "a call with fuel")?;
            Ok(())
        }
    }
}
