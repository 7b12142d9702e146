//! Attackers that never give the processor back.

use std::num::NonZeroU64;

use airssys_wasm::Installation;
use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::error::{Limit, LoadFault};

use super::{End, ZooBench, config, id, impatient, installation, limits};
use crate::forged::Forged;
use crate::guests::Guest;
use crate::runner::contracts;

contracts! { ZooBench;
    "zoo.a01" {
        /// Computes forever, with and without calls of the host in between: `ExecutionTimeout` at its deadline; where instructions are
        /// counted, `ResourceLimitExceeded(Fuel)`.
        fn endless_loop(t) {
            let zoo = t.open().await?;
            let timed = zoo.attacker(installation(Guest::Hostile, "evil/timed", &[])?, impatient()).await?;
            zoo.attack(&timed, "loop", End::TIMEOUT).await?;
            zoo.attack(&timed, "loop-in-pieces", End::TIMEOUT).await?;
            let fuel = limits(|limits| limits.fuel = NonZeroU64::new(5_000_000));
            let metered = zoo.attacker(installation(Guest::Hostile, "evil/metered", &[])?, fuel).await?;
            zoo.attack(&metered, "loop", End::limit(Limit::Fuel)).await?;
            zoo.end().await
        }
    }
    "zoo.a02" {
        /// Would call itself without end and without a stack, by tail calls: the proposal is off, and the binary is refused with
        /// `ComponentLoadFailed(Invalid)`.
        fn tail_calls(t) {
            let zoo = t.open().await?;
            let wasm = Forged::new().inside("(func $forever (return_call $forever))").wasm()?;
            zoo.refused("evil/tail", wasm, impatient(), End::load(LoadFault::Invalid)).await?;
            zoo.end().await
        }
    }

    "zoo.a03" {
        /// Fills and copies all of its memory and of its tables without end. Such an instruction is not interrupted in the middle:
        /// `ExecutionTimeout` at the deadline and at most one instruction, which the limits bound.
        fn bulk_instructions(t) {
            let zoo = t.open().await?;
            let wasm = Forged::new()
                .inside("(table $wide 100 funcref) (func $grown (result i32) (drop (memory.grow (i32.const 1000))) (drop (table.grow $wide (ref.null func) (i32.const 90000))) (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 65536)))")
                .attack("(local $all i32) (local.set $all (call $grown)) (loop $again (memory.fill (i32.const 65536) (i32.const 1) (local.get $all)) (br $again)) unreachable")
                .attack("(local $all i32) (local.set $all (call $grown)) (loop $again (memory.copy (i32.const 65536) (i32.const 65535) (local.get $all)) (br $again)) unreachable")
                .attack("(drop (call $grown)) (loop $again (table.fill $wide (i32.const 0) (ref.null func) (table.size $wide)) (br $again)) unreachable")
                .attack("(drop (call $grown)) (loop $again (table.copy $wide $wide (i32.const 1) (i32.const 0) (i32.sub (table.size $wide) (i32.const 1))) (br $again)) unreachable")
                .wasm()?;
            let attacker = Installation::new(id("evil/bulk"), wasm);
            let attacker = zoo.attacker(attacker, limits(|limits| {
                limits.deadline = super::SHORT;
                limits.memory = ByteSize::mib(32);
            })).await?;
            for attack in ["0", "1", "2", "3"] {
                zoo.attack(&attacker, attack, End::TIMEOUT).await?;
            }
            zoo.end().await
        }
    }

    "zoo.a04" {
        /// Computes forever before it is ready, in a start function, in the `_initialize` of a toolchain, in `init`: it does not
        /// start, `ComponentLoadFailed(Init)` because of `ExecutionTimeout`.
        fn never_ready(t) {
            let zoo = t.open().await?;
            let spin = "(loop $again (br $again))";
            let start = Forged::new().inside(&format!("(func $spin {spin}) (start $spin)"));
            let initialize = Forged::new().item(&format!(
                r#"(core module $early (func (export "_initialize") {spin})) (core instance $early (instantiate $early))
                (core module $caller (import "early" "_initialize" (func $initialize)) (start $initialize))
                (core instance (instantiate $caller (with "early" (instance $early))))"#
            ));
            let init = Forged::new().init("(loop $again (br $again))");
            for (name, forged) in [("evil/start", start), ("evil/initialize", initialize), ("evil/init", init)] {
                let attacker = Installation::new(id(name), forged.wasm()?);
                zoo.does_not_start(attacker, impatient(), End::TIMEOUT).await?;
            }
            let compiled = installation(Guest::Hostile, "evil/compiled", &[])?.config(config(&[("init", "loop")]));
            zoo.does_not_start(compiled, impatient(), End::TIMEOUT).await?;
            zoo.end().await
        }
    }

    "zoo.a05" {
        /// Computes forever where the host calls it for its own ends: in its allocator, after its result was read, in the
        /// destructor of a resource: `ExecutionTimeout`.
        fn in_callbacks(t) {
            let zoo = t.open().await?;
            let spin = "(loop $again (br $again))";
            let wasm = Forged::new()
                .item(&format!(
                    r#"(core module $dtor (func (export "dtor") (param i32) {spin})) (core instance $dtor (instantiate $dtor))
                    (alias core export $dtor "dtor" (core func $dtor))
                    (type $r (resource (rep i32) (dtor (core func $dtor))))"#
                ))
                .function("new", "(canon resource.new $r)", "(param i32) (result i32)")
                .function("drop", "(canon resource.drop $r)", "(param i32)")
                .options(r#"(post-return (core func $main "post"))"#)
                .inside(&format!(
                    r#"(global $armed (mut i32) (i32.const 0))
                    (func (export "post") (param i32) (if (global.get $armed) (then {spin})))
                    (func $allocate (type $realloc)
                        (if (i32.eq (local.get 3) (i32.const 77)) (then {spin}))
                        (call $bump (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
                    (elem (table $hook) (i32.const 0) func $allocate)"#
                ))
                .attack("(global.set $armed (i32.const 1)) (call $answer (i32.const 16) (i32.const 2))")
                .attack("(call $drop (call $new (i32.const 7))) unreachable")
                .wasm()?;
            let attacker = zoo.attacker(Installation::new(id("evil/callbacks"), wasm), impatient()).await?;
            zoo.attack(&attacker, [b'x'; 77], End::TIMEOUT).await?;
            zoo.attack(&attacker, "0", End::TIMEOUT).await?;
            zoo.attack(&attacker, "1", End::TIMEOUT).await?;
            zoo.end().await
        }
    }
}
