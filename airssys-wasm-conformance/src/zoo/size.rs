//! Attackers that want more than there is: stack, memory, tables, instances, and the time of the compiler.

use airssys_wasm::{Host, Installation};
use airssys_wasm_core::component::ByteSize;
use airssys_wasm_core::config::{HostConfig, RuntimeConfig};
use airssys_wasm_core::error::{Limit, LoadFault, TrapKind};
use wasm_encoder::{
    CodeSection, Component, Function, FunctionSection, Instruction, Module, ModuleSection, TypeSection,
};

use super::{End, ZooBench, id, impatient, installation, limits};
use crate::forged::Forged;
use crate::guests::Guest;
use crate::runner::{Outcome, contracts, ensure, ensure_eq};

const PAGE: u64 = 65_536;

/// A component of one core module that has so many functions, each with this body and of type `func()`.
fn functions(count: u32, body: &[Instruction<'_>]) -> Vec<u8> {
    let (mut types, mut declared, mut code) =
        (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    let mut function = Function::new([]);
    for instruction in body {
        function.instruction(instruction);
    }
    function.instruction(&Instruction::End);
    for _ in 0..count {
        declared.function(0);
        code.function(&function);
    }
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    component.finish()
}

/// So many instances of something that is written once.
fn crowd(count: usize, declared: &str, instance: &str) -> Outcome<Vec<u8>> {
    Forged::new().item(&format!("{declared} {}", instance.repeat(count))).wasm()
}

contracts! { ZooBench;
    "zoo.a06" {
        /// Recurses without end, in its own code, and through the host, by a destructor that drops a resource of its own kind:
        /// `ComponentTrapped(StackOverflow)`, and never the end of the process.
        fn deep_recursion(t) {
            let zoo = t.open().await?;
            let compiled = zoo.attacker(installation(Guest::Hostile, "evil/compiled", &[])?, limits(|_| {})).await?;
            zoo.attack(&compiled, "recurse", End::trap(TrapKind::StackOverflow)).await?;
            let wasm = Forged::new()
                .item(
                    r#"(core module $dtor
                        (import "heap" "hook" (table $hook 2 funcref))
                        (func (export "dtor") (param i32) (call_indirect $hook (param i32) (local.get 0) (i32.const 1))))
                    (core instance $dtor (instantiate $dtor (with "heap" (instance $heap))))
                    (alias core export $dtor "dtor" (core func $dtor))
                    (type $r (resource (rep i32) (dtor (core func $dtor))))"#,
                )
                .function("new", "(canon resource.new $r)", "(param i32) (result i32)")
                .function("drop", "(canon resource.drop $r)", "(param i32)")
                .inside(
                    "(func $deeper (param i32) (call $drop (call $new (local.get 0))))
                    (elem (table $hook) (i32.const 1) func $deeper)",
                )
                .attack("(call $deeper (i32.const 1)) unreachable")
                .wasm()?;
            let attacker = zoo.attacker(Installation::new(id("evil/destructor"), wasm), limits(|_| {})).await?;
            for _ in 0..3 {
                zoo.attack(&attacker, "0", End::trap(TrapKind::StackOverflow)).await?;
            }
            zoo.end().await
        }
    }

    "zoo.a07" {
        /// Recurses in frames as large as the format allows, of 50,000 locals or of 1,000 parameters:
        /// `ComponentTrapped(StackOverflow)`.
        fn giant_frames(t) {
            let zoo = t.open().await?;
            let locals = format!(
                "(func $locals (param i64) (result i64) (local {}) (local.set 49999 (i64.add (call $locals (local.get 0)) (i64.const 1))) (i64.add (call $locals (local.get 49999)) (local.get 49999)))",
                "i64 ".repeat(49_999)
            );
            let passed: String = (0..1_000).map(|local| format!("(local.get {})", (local + 1) % 1_000)).collect();
            let parameters = format!(
                "(func $parameters (param {}) (result i64) (i64.add (call $parameters {passed}) (local.get 999)))",
                "i64 ".repeat(1_000)
            );
            let ones = "(i64.const 1)".repeat(1_000);
            let wasm = Forged::new()
                .inside(&locals)
                .inside(&parameters)
                .inside(&format!("(func $begin (drop (call $parameters {ones})))"))
                .attack("(drop (call $locals (i64.const 1))) unreachable")
                .attack("(call $begin) unreachable")
                .wasm()?;
            let attacker = zoo.attacker(Installation::new(id("evil/frames"), wasm), limits(|_| {})).await?;
            zoo.attack(&attacker, "0", End::trap(TrapKind::StackOverflow)).await?;
            zoo.attack(&attacker, "1", End::trap(TrapKind::StackOverflow)).await?;
            zoo.end().await
        }
    }

    "zoo.a08" {
        /// Grows its memory until it is refused: the growth beyond the limit fails with -1, the guest goes on and answers; one
        /// that cannot live without more is ended with `ResourceLimitExceeded(Memory)`.
        fn memory_growth(t) {
            let zoo = t.open().await?;
            let eight = limits(|limits| limits.memory = ByteSize::mib(8));
            let attacker = zoo.attacker(installation(Guest::Hostile, "evil/grower", &[])?, eight).await?;
            let gained = zoo.attack(&attacker, "grow", End::AnswerLike("")).await?;
            let gained: u64 = gained.parse()?;
            ensure!(gained > 0 && gained * PAGE < 8 << 20, "it gained {gained} pages of 8 MiB");
            ensure_eq!(zoo.statistics(&attacker)?.memory_bytes, 8 << 20, "its memory in the statistics");
            zoo.attack(&attacker, "grow-and-die", End::limit(Limit::Memory)).await?;
            zoo.end().await
        }
    }

    "zoo.a09" {
        /// Declares more memory than it may have, by a page or by 4 GiB: it does not start, `ComponentLoadFailed(Init)` because of
        /// `ResourceLimitExceeded(Memory)`, and nothing is mapped.
        fn declared_memory(t) {
            let zoo = t.open().await?;
            let small = limits(|limits| limits.memory = ByteSize::mib(2));
            for (name, pages) in [("evil/page", 17), ("evil/giant", 65_536)] {
                let forged = Forged::new().inside(&format!("(memory $more {pages})"));
                let attacker = Installation::new(id(name), forged.wasm()?);
                zoo.does_not_start(attacker, small.clone(), End::limit(Limit::Memory)).await?;
            }
            let fits = Forged::new().inside("(memory $more 16)").wasm()?;
            zoo.attacker(Installation::new(id("evil/fits"), fits), small).await?;
            zoo.end().await
        }
    }

    "zoo.a10" {
        /// Declares many memories, or many core instances, none of them over a limit alone: it does not start,
        /// `ComponentLoadFailed(Init)` because of `ResourceLimitExceeded` of their sum.
        fn many_small_ones(t) {
            let zoo = t.open().await?;
            let instance = "(core instance (instantiate $m))";
            let memories = crowd(40, "(core module $m (memory 10))", instance)?;
            let attacker = Installation::new(id("evil/memories"), memories);
            let few = limits(|limits| limits.memory = ByteSize::mib(16));
            zoo.does_not_start(attacker, few, End::limit(Limit::Memory)).await?;
            let one = Forged::new().inside(&"(memory 10)".repeat(40)).wasm()?;
            let few = limits(|limits| limits.memory = ByteSize::mib(16));
            zoo.does_not_start(Installation::new(id("evil/one"), one), few, End::limit(Limit::Memory)).await?;
            for (name, module) in
                [("evil/empty", "(core module $m)"), ("evil/tables", "(core module $m (table 1 funcref))")]
            {
                let attacker = Installation::new(id(name), crowd(300, module, instance)?);
                zoo.does_not_start(attacker, limits(|_| {}), End::limit(Limit::Instances)).await?;
            }
            zoo.end().await
        }
    }

    "zoo.a11" {
        /// Declares a table of 2^32-1 elements, or of more than its limit: it does not start, `ComponentLoadFailed(Init)` because
        /// of `ResourceLimitExceeded(TableElements)`. Growing one to the end fails with -1, and the guest goes on.
        fn giant_tables(t) {
            let zoo = t.open().await?;
            for (name, elements) in [("evil/large", 100_001), ("evil/larger", 9_999_999), ("evil/giant", u32::MAX)] {
                let forged = Forged::new().inside(&format!("(table $t {elements} funcref)"));
                let attacker = Installation::new(id(name), forged.wasm()?);
                zoo.does_not_start(attacker, limits(|_| {}), End::limit(Limit::TableElements)).await?;
            }
            let grower = Forged::new()
                .inside("(table $t 10 funcref)")
                .attack(
                    "(local $step i32) (local.set $step (i32.const -1))
                    (loop $again
                        (if (i32.eq (table.grow $t (ref.null func) (local.get $step)) (i32.const -1))
                            (then (local.set $step (i32.shr_u (local.get $step) (i32.const 1)))))
                        (br_if $again (local.get $step)))
                    (i32.store (i32.const 4096) (table.size $t)) (call $answer (i32.const 4096) (i32.const 4))",
                )
                .wasm()?;
            let attacker = zoo.attacker(Installation::new(id("evil/grower"), grower), limits(|_| {})).await?;
            let grown = zoo.around("growing", attacker.limits.memory, zoo.host.request(&attacker.id, "0")).await??;
            // Three elements are in its other tables.
            ensure_eq!(grown.payload, 99_997_u32.to_le_bytes(), "elements of the table in the end");
            zoo.is_honest(&attacker).await?;
            ensure_eq!(zoo.statistics(&attacker)?.replaced, 0, "instances replaced");
            zoo.end().await
        }
    }

    "zoo.a12" {
        /// Nests 10,000 instances: `ComponentLoadFailed(Invalid)`. As many as the format takes: it does not start, because of
        /// `ResourceLimitExceeded(Instances)`.
        fn nested_instances(t) {
            let zoo = t.open().await?;
            let nested = "(component $m (core module $c) (core instance (instantiate $c)))";
            let instance = "(instance (instantiate $m))";
            zoo.refused("evil/nested", crowd(10_000, nested, instance)?, limits(|_| {}), End::load(LoadFault::Invalid)).await?;
            let core = crowd(10_000, "(core module $m)", "(core instance (instantiate $m))")?;
            zoo.refused("evil/core", core, limits(|_| {}), End::load(LoadFault::Invalid)).await?;
            let most = Installation::new(id("evil/most"), crowd(900, nested, instance)?);
            zoo.does_not_start(most, limits(|_| {}), End::limit(Limit::Instances)).await?;
            zoo.end().await
        }
    }

    "zoo.a13" {
        /// Is 50 MB of code where 8 MiB are allowed: `ResourceLimitExceeded(ComponentSize)`, unread. A million and one functions, a
        /// function of 8 MB, a type that is nested 200 deep, a jump to ten million places: `ComponentLoadFailed(Invalid)`. What is allowed
        /// and takes long to compile keeps nobody: others are installed meanwhile. How long compiling may take is
        /// bounded by the size of the binary alone.
        fn compile_bombs(t) {
            let runtime = RuntimeConfig { max_component_size: ByteSize::mib(8), ..RuntimeConfig::default() };
            let zoo = t.open_as(Host::builder().config(HostConfig { runtime, ..HostConfig::default() })).await?;
            let nops = vec![Instruction::Nop; 5_000];
            let code = functions(10_000, &nops);
            ensure!(code.len() > 50_000_000, "the code has {} bytes", code.len());
            zoo.refused("evil/code", code, impatient(), End::limit(Limit::ComponentSize)).await?;
            zoo.end().await?;

            let zoo = t.open().await?;
            let many = functions(1_000_001, &[]);
            zoo.refused("evil/functions", many, impatient(), End::load(LoadFault::Invalid)).await?;
            let long = functions(1, &vec![Instruction::Nop; 8_000_000]);
            zoo.refused("evil/function", long, impatient(), End::load(LoadFault::Invalid)).await?;
            let jump = Instruction::BrTable(vec![0; 10_000_000].into(), 0);
            let jump = functions(1, &[Instruction::I32Const(0), jump]);
            zoo.refused("evil/jump", jump, impatient(), End::load(LoadFault::Invalid)).await?;
            let deep: String = (1..200).map(|depth| format!("(type $list{depth} (list $list{}))", depth - 1)).collect();
            let deep = format!("(type $list0 (list u8)) {deep}");
            let deep = Forged::new().item(&deep).wasm()?;
            zoo.refused("evil/deep", deep, impatient(), End::load(LoadFault::Invalid)).await?;

            let allowed = vec![Instruction::Nop; 50];
            let allowed = Installation::new(id("slow/allowed"), functions(20_000, &allowed)).limits(impatient());
            let other = installation(Guest::Greeter, "quick/other", &[])?;
            let install = async { tokio::join!(zoo.host.install(allowed), zoo.host.install(other)) };
            let (slow, other) = zoo.around("a slow compilation", ByteSize::mib(256), install).await?;
            End::load(LoadFault::MissingExport).check(&slow.map(|info| info.id.to_string()), "20,000 functions")?;
            zoo.host.start(&other?.id).await?;
            zoo.end().await
        }
    }
}
