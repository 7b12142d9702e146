//! Attackers that forge what the canonical ABI passes: pointers, lengths, texts, discriminants, handles.

use airssys_wasm::Installation;
use airssys_wasm_core::error::TrapKind;

use super::forged::{Forged, LOGGING, STORAGE, lower};
use super::{End, ZooBench, granted, id, impatient};
use crate::runner::{contracts, ensure_eq};

/// A component that passes texts to the log, and keys to the store.
fn talker() -> Forged {
    Forged::new()
        .item(LOGGING)
        .item(STORAGE)
        .function("log", &lower("logging", "log"), "(param i32 i32 i32)")
        .function("exists", &lower("storage", "exists"), "(param i32 i32 i32)")
}

contracts! { ZooBench;
    "zoo.a15" {
        /// Passes places and lengths that lie outside of its memory, up to a length of 2^32-1, as its answer and to functions of the
        /// host: `ComponentTrapped(InvalidValue)`, and nothing of that size is allocated.
        fn out_of_bounds(t) {
            let zoo = t.open().await?;
            let wasm = talker()
                .attack("(call $answer (i32.const 16) (i32.const -1))")
                .attack("(call $answer (i32.const -16) (i32.const 8))")
                .attack("(call $answer (i32.const 1048570) (i32.const 7))")
                .attack("(i32.const -8)")
                .attack("(call $log (i32.const 2) (i32.const 16) (i32.const -1)) (i32.const 512)")
                .attack("(call $log (i32.const 2) (i32.const -1) (i32.const 1)) (i32.const 512)")
                .attack("(call $exists (i32.const 1048576) (i32.const 1) (i32.const 2048)) (i32.const 512)")
                .attack("(call $exists (i32.const 16) (i32.const 0x7fffffff) (i32.const 2048)) (i32.const 512)")
                .attack("(call $exists (i32.const 16) (i32.const 1) (i32.const -4)) (i32.const 512)")
                .wasm()?;
            let attacker = granted(Installation::new(id("evil/outside"), wasm), &["storage:evil/outside"]);
            let attacker = zoo.attacker(attacker, impatient()).await?;
            for attack in ["0", "1", "2", "3", "4", "5", "6", "7", "8"] {
                zoo.attack(&attacker, attack, End::trap(TrapKind::InvalidValue)).await?;
            }
            ensure_eq!(zoo.stored(&attacker, b"ok").await?, None, "what is stored");
            zoo.end().await
        }
    }
}
