//! Limits: what a guest can never have more of.

use std::time::Instant;

use airssys_wasm_core::component::{ByteSize, ResourceLimits};
use airssys_wasm_core::error::{Detail, ErrorKind, Limit, LoadFault, TrapKind};
use airssys_wasm_core::messaging::Body;
use airssys_wasm_core::runtime::{LoadOptions, Value};

use super::EngineFeature::Holds;
use super::{EngineBench, failed, message, of_kind};
use crate::fakes::Answer;
use crate::guests::Guest;
use crate::runner::{Outcome, When, contracts, ensure, ensure_eq};

const PAGE: u64 = 65_536;

/// Two core instances, each with a memory of one page and a table of ten elements, that grow on request.
const TWINS: &str = r#"(component
    (core module $m
        (memory (export "memory") 1)
        (table $table 10 funcref)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "lengthen") (param i32) (result i32) (table.grow $table (ref.null func) (local.get 0))))
    (core instance $a (instantiate $m))
    (core instance $b (instantiate $m))
    (func (export "grow-a") (param "pages" u32) (result s32) (canon lift (core func $a "grow")))
    (func (export "grow-b") (param "pages" u32) (result s32) (canon lift (core func $b "grow")))
    (func (export "lengthen-a") (param "elements" u32) (result s32) (canon lift (core func $a "lengthen")))
    (func (export "lengthen-b") (param "elements" u32) (result s32) (canon lift (core func $b "lengthen")))
)"#;

/// Makes resource handles, and keeps them or drops them.
const HANDLES: &str = r#"(component
    (type $r (resource (rep i32)))
    (core func $new (canon resource.new $r))
    (core func $drop (canon resource.drop $r))
    (core module $m
        (import "host" "new" (func $new (param i32) (result i32)))
        (import "host" "drop" (func $drop (param i32)))
        (func (export "keep") (param $count i32)
            (loop $next
                (drop (call $new (local.get $count)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br_if $next (local.get $count))))
        (func (export "churn") (param $count i32)
            (loop $next
                (call $drop (call $new (local.get $count)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br_if $next (local.get $count)))))
    (core instance $i (instantiate $m
        (with "host" (instance (export "new" (func $new)) (export "drop" (func $drop))))))
    (func (export "keep") (param "count" u32) (canon lift (core func $i "keep")))
    (func (export "churn") (param "count" u32) (canon lift (core func $i "churn")))
)"#;

/// Returns a list of many lists that all lie in the same 64 KiB.
const ALIASES: &str = r#"(component
    (core module $m
        (memory (export "memory") 3)
        (func (export "lists") (param $count i32) (result i32) (local $at i32) (local $left i32)
            (local.set $at (i32.const 65536))
            (local.set $left (local.get $count))
            (loop $next
                (i32.store (local.get $at) (i32.const 0))
                (i32.store offset=4 (local.get $at) (i32.const 65536))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $next (local.get $left)))
            (i32.store (i32.const 196600) (i32.const 65536))
            (i32.store (i32.const 196604) (local.get $count))
            (i32.const 196600)))
    (core instance $i (instantiate $m))
    (alias core export $i "memory" (core memory $memory))
    (func (export "lists") (param "count" u32) (result (list (list u8)))
        (canon lift (core func $i "lists") (memory $memory)))
)"#;

fn limits(change: impl FnOnce(&mut ResourceLimits)) -> ResourceLimits {
    let mut limits = ResourceLimits::default();
    change(&mut limits);
    limits
}

fn pages(pages: u64) -> ResourceLimits {
    limits(|limits| limits.memory = ByteSize::bytes(pages * PAGE))
}

async fn refused_at_start(t: &EngineBench, text: &str, limits: &ResourceLimits, limit: Limit) -> Outcome {
    let component = t.load_text(text).await?;
    let result = t.limited_instance(&component, limits).await.map(|_| "an instance");
    failed(result, Detail::Limit(limit), "an instance that declares too much")?;
    Ok(())
}

fn elements(elements: u32) -> ResourceLimits {
    limits(|limits| limits.table_elements = elements)
}

/// A component of so many core instances, each with a memory or not.
fn crowd(instances: usize, module: &str) -> String {
    let instances = "(core instance (instantiate $m))".repeat(instances);
    format!("(component (core module $m {module}) {instances})")
}

contracts! { EngineBench;
    "engine.limits" {
        /// The memories of all core instances together stay within the limit: growing beyond fails, and the guest goes on.
        [When::Feature(Holds(Limit::Memory))] fn memory_total(t) {
            let component = t.load_text(TWINS).await?;
            let mut instance = t.limited_instance(&component, &pages(16)).await?;
            ensure_eq!(instance.usage().memory_bytes, 2 * PAGE, "the memories at the start");
            let steps = [("grow-a", 10, 1), ("grow-b", 5, -1), ("grow-b", 4, 1), ("grow-b", 1, -1), ("grow-a", 1, -1), ("grow-a", 0, 11), ("grow-b", 0, 5), ("grow-a", 70_000, -1)];
            for (export, more, expected) in steps {
                let found = instance.ask(export, &[Value::U32(more)]).await?;
                ensure_eq!(found, Some(Value::S32(expected)), "`{export}` by {more} pages");
            }
            let usage = instance.usage();
            ensure_eq!(usage.memory_bytes, 16 * PAGE, "the memories in the end");
            ensure_eq!(usage.refused_growth, 4, "how often growth was refused");
            instance.is_ready()?;
            let other = t.limited_instance(&component, &pages(16)).await?;
            ensure_eq!(other.usage().memory_bytes, 2 * PAGE, "the memories of another instance");
            Ok(())
        }

        /// A guest that takes what it can get stops at the limit and goes on; one that cannot live without more is
        /// ended, and the limit is named.
        [When::Feature(Holds(Limit::Memory))] fn memory_of_messages(t) {
            let component = t.load(Guest::Hostile).await?;
            let small = limits(|limits| limits.memory = ByteSize::mib(4));
            let mut instance = t.limited_instance(&component, &small).await?;
            let before = instance.usage().memory_bytes;
            let gained = instance.say("grow").await?;
            let gained: u64 = str::from_utf8(&gained)?.parse()?;
            // The guest's allocator may have taken a page for the message before.
            ensure!(gained > 0 && before + gained * PAGE <= 4 << 20, "the guest gained {gained} pages on {before} bytes");
            ensure_eq!(instance.usage().memory_bytes, 4 << 20, "the usage");
            ensure!(instance.usage().refused_growth > 0, "no growth was refused");
            instance.is_ready()?;
            ensure_eq!(instance.say("ok").await?, b"ok", "after growing to the limit");

            let mut instance = t.limited_instance(&component, &small).await?;
            failed(instance.say("grow-and-die").await, Detail::Limit(Limit::Memory), "an allocator that gave up")?;
            instance.is_poisoned().await?;

            let mut instance = t.limited_instance(&component, &small).await?;
            instance.say("grow").await?;
            let result = instance.say("unreachable").await;
            failed(result, Detail::Trap(TrapKind::Unreachable), "a trap in a later call than the refused growth")?;
            Ok(())
        }

        /// A component that declares more memory than it may have is not started, one memory or several.
        [When::Feature(Holds(Limit::Memory))] fn declared_minimum(t) {
            let one = "(component (core module $m (memory 17)) (core instance (instantiate $m)))";
            refused_at_start(t, one, &pages(16), Limit::Memory).await?;
            let component = t.load_text(one).await?;
            ensure_eq!(t.limited_instance(&component, &pages(17)).await?.usage().memory_bytes, 17 * PAGE, "the memory");
            refused_at_start(t, &crowd(3, "(memory 6)"), &pages(17), Limit::Memory).await?;
            let component = t.load_text(&crowd(3, "(memory 6)")).await?;
            ensure_eq!(t.limited_instance(&component, &pages(18)).await?.usage().memory_bytes, 18 * PAGE, "three memories");
            let giant = "(component (core module $m (memory 65536)) (core instance (instantiate $m)))";
            refused_at_start(t, giant, &pages(16), Limit::Memory).await
        }

        /// The elements of all tables together stay within the limit, declared or grown; a giant table is refused.
        [When::Feature(Holds(Limit::TableElements))] fn tables(t) {
            let component = t.load_text(TWINS).await?;
            let mut instance = t.limited_instance(&component, &elements(100)).await?;
            ensure_eq!(instance.usage().table_elements, 20, "the elements at the start");
            let steps = [("lengthen-a", 50, 10), ("lengthen-b", 31, -1), ("lengthen-b", 30, 10), ("lengthen-a", 1, -1), ("lengthen-b", u32::MAX, -1)];
            for (export, more, expected) in steps {
                let found = instance.ask(export, &[Value::U32(more)]).await?;
                ensure_eq!(found, Some(Value::S32(expected)), "`{export}` by {more} elements");
            }
            ensure_eq!(instance.usage().table_elements, 100, "the elements in the end");
            ensure_eq!(instance.usage().refused_growth, 3, "how often growth was refused");
            instance.is_ready()?;
            refused_at_start(t, TWINS, &elements(19), Limit::TableElements).await?;
            let wasm = wat::parse_str("(component (core module $m (table 4294967295 funcref)) (core instance (instantiate $m)))")?;
            match t.engine().load(&wasm, LoadOptions::default()).await {
                Err(error) => {
                    ensure_eq!(error.detail(), Some(Detail::Load(LoadFault::Invalid)), "a giant table, when it is loaded");
                }
                Ok(giant) => {
                    let result = t.limited_instance(&giant, &elements(100_000)).await.map(|_| "an instance");
                    failed(result, Detail::Limit(Limit::TableElements), "a giant table")?;
                }
            }
            Ok(())
        }

        /// Core instances, memories and tables are counted, and too many of them are not started.
        [When::Feature(Holds(Limit::Instances))] fn instances(t) {
            let few = limits(|limits| limits.instances = 40);
            let component = t.load_text(&crowd(20, "(memory 0) (table 0 funcref)")).await?;
            t.limited_instance(&component, &few).await?;
            for module in ["", "(memory 0)", "(table 0 funcref)"] {
                refused_at_start(t, &crowd(41, module), &few, Limit::Instances).await?;
            }
            Ok(())
        }

        /// Recursion without end is a trap, and never the end of the host; recursion that ends, two thousand calls deep, is
        /// none.
        fn stack(t) {
            let component = t.load(Guest::Hostile).await?;
            for round in 0..20 {
                let mut instance = t.instance(&component).await?;
                let honest = instance.say("recurse 2000").await;
                ensure!(honest.is_ok(), "recursion that ends came to {honest:?}");
                let result = instance.say("recurse").await;
                failed(result, Detail::Trap(TrapKind::StackOverflow), &format!("endless recursion, round {round}"))?;
                instance.is_poisoned().await?;
            }
            let many_locals = format!(
                "(component (core module $m (func $f (export \"f\") (local {}) (call $f) (local.set 0 (i64.const 1)))) \
                 (core instance $i (instantiate $m)) (func (export \"f\") (canon lift (core func $i \"f\"))))",
                "i64 ".repeat(5_000)
            );
            let mut instance = t.start_text(&many_locals).await?;
            failed(instance.ask("f", &[]).await, Detail::Trap(TrapKind::StackOverflow), "frames of many locals")?;
            Ok(())
        }

        /// Handles that live at a time are counted, and too many end the guest; those that were dropped do not count.
        [When::Feature(Holds(Limit::Handles))] fn handles(t) {
            let component = t.load_text(HANDLES).await?;
            let hundred = limits(|limits| limits.handles = 100);
            let mut instance = t.limited_instance(&component, &hundred).await?;
            instance.ask("churn", &[Value::U32(100_000)]).await?;
            instance.ask("keep", &[Value::U32(90)]).await?;
            instance.is_ready()?;
            let result = instance.ask("keep", &[Value::U32(11)]).await;
            failed(result, Detail::Limit(Limit::Handles), "eleven handles beside ninety, of a hundred")?;
            let result = instance.ask("churn", &[Value::U32(1)]).await;
            of_kind(result, ErrorKind::Actor, "a call of the instance that was ended")?;
            let mut instance = t.limited_instance(&component, &hundred).await?;
            let result = instance.ask("keep", &[Value::U32(10_000_000)]).await;
            failed(result, Detail::Limit(Limit::Handles), "ten million handles")?;
            Ok(())
        }

        /// The bytes that cross in one call are limited in both directions, counted as they arrive: lists that share
        /// their bytes count each time.
        [When::Feature(Holds(Limit::Transfer))] fn transfer(t) {
            let small = limits(|limits| limits.transfer = ByteSize::mib(1));
            let hostile = t.load(Guest::Hostile).await?;
            let mut instance = t.limited_instance(&hostile, &small).await?;
            ensure_eq!(instance.say("big-value 500000").await?, b"stored", "half of what is allowed");
            for round in 0..4 {
                instance.say("big-value 500000").await?;
                ensure_eq!(instance.host.take_calls().len(), 1 + usize::from(round == 0), "the calls of round {round}");
            }
            for attack in ["big-value 2000000", "giant-log 2000000", "send-flood acme/other 1 2000000", "giant-failure 2000000"] {
                let mut instance = t.limited_instance(&hostile, &small).await?;
                failed(instance.say(attack).await, Detail::Limit(Limit::Transfer), attack)?;
                instance.is_poisoned().await?;
                ensure_eq!(instance.host.calls(), vec![], "what reached the host of `{attack}`");
            }
            let echo = t.load(Guest::Echo).await?;
            let mut instance = t.limited_instance(&echo, &small).await?;
            instance.say(vec![0; 500_000]).await?;
            let result = instance.execute_ample(message(Body::new(vec![0; 2 << 20]))).await;
            failed(result.map(drop), Detail::Limit(Limit::Transfer), "a message beyond the limit")?;
            let mut instance = t.start(Guest::Counter).await?;
            instance.host.answer("storage.get", Answer::Value(Some(vec![b'7'])));
            ensure_eq!(instance.say("get").await?, b"7", "a stored value of one byte");
            let mut instance = t.limited_instance(&t.load(Guest::Counter).await?, &small).await?;
            instance.host.answer("storage.get", Answer::Value(Some(vec![b'7'; 2 << 20])));
            failed(instance.say("get").await, Detail::Limit(Limit::Transfer), "a stored value beyond the limit")?;
            instance.is_poisoned().await?;
            Ok(())
        }

        /// Values that a call by name returns are limited likewise, by what they take of the host: an element of a list
        /// counts at most 40 bytes, and lists that share their bytes count each time.
        [When::Feature(Holds(Limit::Transfer))] fn transfer_of_values(t) {
            let aliases = t.load_text(ALIASES).await?;
            let small = limits(|limits| limits.transfer = ByteSize::bytes(40 * 65_537));
            let mut instance = t.limited_instance(&aliases, &small).await?;
            let started = Instant::now();
            let result = instance.ask("lists", &[Value::U32(8_000)]).await.map(drop);
            failed(result, Detail::Limit(Limit::Transfer), "500 MiB out of 64 KiB")?;
            ensure!(started.elapsed().as_secs() < 10, "refusing them took {:?}", started.elapsed());
            let result = instance.ask("lists", &[Value::U32(1)]).await;
            of_kind(result, ErrorKind::Actor, "a call of the instance that was ended")?;
            let mut instance = t.limited_instance(&aliases, &small).await?;
            let one = instance.ask("lists", &[Value::U32(1)]).await?;
            ensure_eq!(one, Some(Value::List(vec![Value::Bytes(vec![0; 65_536])])), "40 bytes for each element");
            Ok(())
        }

        /// A reply of the allowed size arrives; a byte more ends the guest.
        [When::Feature(Holds(Limit::Reply))] fn reply(t) {
            let component = t.load(Guest::Hostile).await?;
            let small = limits(|limits| limits.reply = ByteSize::kib(64));
            let mut instance = t.limited_instance(&component, &small).await?;
            ensure_eq!(instance.say("giant-reply 65536").await?.len(), 65_536, "a reply of the allowed size");
            failed(instance.say("giant-reply 65537").await, Detail::Limit(Limit::Reply), "one byte more")?;
            instance.is_poisoned().await?;
            let mut instance = t.limited_instance(&component, &small).await?;
            let result = instance.say("giant-reply 30000000").await;
            let error = of_kind(result.map(drop), ErrorKind::ResourceLimitExceeded, "a giant reply")?;
            let is_limit = matches!(error.detail(), Some(Detail::Limit(Limit::Reply | Limit::Transfer)));
            ensure!(is_limit, "the limit is neither that of replies nor of transfers: {error}");
            Ok(())
        }
    }
}
