//! One instance sees nothing of another.

use airssys_wasm_core::runtime::Value;

use super::EngineBench;
use crate::runner::{contracts, ensure, ensure_eq};

/// Computes forever.
pub(super) const SPIN: &str = r#"(component
    (core module $m (func (export "spin") (loop $again (br $again))))
    (core instance $i (instantiate $m))
    (func (export "spin") (canon lift (core func $i "spin"))))"#;

/// Soils its memory, global and table, and counts what it finds soiled. The memory starts with two pages.
const DIRT: &str = r#"(component
    (core module $m
        (memory 2)
        (global $global (mut i64) (i64.const 0))
        (table $table 64 funcref)
        (func $f)
        (elem declare func $f)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "soil") (local $at i32)
            (memory.fill (i32.const 0) (i32.const 0xaa) (i32.mul (memory.size) (i32.const 65536)))
            (global.set $global (i64.const -1))
            (loop $next
                (table.set $table (local.get $at) (ref.func $f))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const 64))))
            (drop (table.grow $table (ref.func $f) (i32.const 64))))
        (func (export "dirt") (result i64) (local $at i32) (local $end i32) (local $dirt i64)
            (local.set $end (i32.mul (memory.size) (i32.const 65536)))
            (loop $next
                (if (i64.ne (i64.load (local.get $at)) (i64.const 0))
                    (then (local.set $dirt (i64.add (local.get $dirt) (i64.const 1)))))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
            (if (i64.ne (global.get $global) (i64.const 0))
                (then (local.set $dirt (i64.add (local.get $dirt) (i64.const 1000000)))))
            (local.set $at (i32.const 0))
            (loop $next
                (if (i32.eqz (ref.is_null (table.get $table (local.get $at))))
                    (then (local.set $dirt (i64.add (local.get $dirt) (i64.const 2000000)))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $at) (table.size $table))))
            (if (i32.ne (table.size $table) (i32.const 64))
                (then (local.set $dirt (i64.add (local.get $dirt) (i64.const 3000000)))))
            (local.get $dirt)))
    (core instance $i (instantiate $m))
    (func (export "grow") (param "pages" u32) (result s32) (canon lift (core func $i "grow")))
    (func (export "soil") (canon lift (core func $i "soil")))
    (func (export "dirt") (result u64) (canon lift (core func $i "dirt"))))"#;

contracts! { EngineBench;
    "engine.isolation" {
        /// A fresh instance sees no byte of a former one: not in memory, not in what it grows into, not in globals or tables.
        fn memory(t) {
            let component = t.load_text(DIRT).await?;
            for round in 0..200_u32 {
                let mut instance = t.instance(&component).await?;
                let dirt = instance.ask("dirt", &[]).await?;
                ensure_eq!(dirt, Some(Value::U64(0)), "what a fresh instance finds in round {round}");
                let grown = instance.ask("grow", &[Value::U32(1 + round % 40)]).await?;
                ensure_eq!(grown, Some(Value::S32(2)), "the pages before growing");
                let dirt = instance.ask("dirt", &[]).await?;
                ensure_eq!(dirt, Some(Value::U64(0)), "what it grew into in round {round}");
                instance.ask("soil", &[]).await?;
                let dirt = instance.ask("dirt", &[]).await?;
                ensure!(dirt != Some(Value::U64(0)), "nothing was soiled");
            }
            Ok(())
        }

        /// Instances that live at the same time share nothing either.
        fn living_instances(t) {
            let component = t.load_text(DIRT).await?;
            let mut instances = Vec::new();
            for _ in 0..8 {
                instances.push(t.instance(&component).await?);
            }
            for soiled in 0..instances.len() {
                instances[soiled].ask("soil", &[]).await?;
                for clean in &mut instances[soiled + 1..] {
                    let dirt = clean.ask("dirt", &[]).await?;
                    ensure_eq!(dirt, Some(Value::U64(0)), "what another finds after instance {soiled} was soiled");
                }
            }
            Ok(())
        }
    }
}
