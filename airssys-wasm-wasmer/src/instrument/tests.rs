//! Instrumented modules do what they did, and count like Wasmtime.

use super::{Counting, InstrumentError, Instrumented, MODULE, instrument};

use harness::{Limits, PLENTY, Twins};

mod harness;

fn wasm(text: &str) -> Vec<u8> {
    let wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    harness::validate(&wasm).unwrap_or_else(|error| panic!("{error}: {text}"));
    wasm
}

/// Runs `calls` on both twins with no limit, then with every limit and slice that could make a difference.
fn check(twins: &Twins, text: &str, calls: &[(&str, &[i32])]) {
    let wasm = wasm(text);
    harness::twin(&wasm, Counting::Epochs);
    let twin = harness::twin(&wasm, Counting::Fuel);
    let same = |limits| {
        let expected = twins.original(&wasm, calls, limits).expect("the imports have default values");
        let actual = twins.instrumented(&twin, calls, limits).expect("the imports have default values");
        assert_eq!(actual[1..], expected[1..], "{limits:?} {text}");
        expected
    };
    let steps = same(Limits::NONE);
    let most = steps.iter().skip(1).map(|step| step.consumed).max().unwrap_or(0);
    for slice in [1, 2, 7] {
        same(Limits { fuel: PLENTY, slice });
    }
    if most < PLENTY {
        for part in 0..24 {
            let fuel = if most < 24 { part + 1 } else { 1 + most * part / 20 };
            same(Limits { fuel, slice: PLENTY });
            same(Limits { fuel, slice: 5 });
        }
    }
}

#[test]
fn totals_and_results_are_those_of_wasmtime() {
    let twins = Twins::new(|_| {});
    for (text, calls) in MODULES {
        check(&twins, text, calls);
    }
}

type Case = (&'static str, &'static [(&'static str, &'static [i32])]);

const MODULES: &[Case] = &[
    // Straight line.
    (
        r#"(module (func (export "f") (param i32) (result i32) local.get 0 i32.const 1 i32.add nop))"#,
        &[("f", &[1])],
    ),
    (r#"(module (func (export "f")))"#, &[("f", &[])]),
    // Branches.
    (
        r#"(module (func (export "f") (param i32) (result i32)
        (if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.mul (i32.const 2) (i32.const 3))))))"#,
        &[("f", &[0]), ("f", &[1])],
    ),
    (
        r#"(module (func (export "f") (param i32) (result i32)
        (if (local.get 0) (then (return (i32.const 1)))) (i32.add (i32.const 2) (i32.const 3))))"#,
        &[("f", &[0]), ("f", &[1])],
    ),
    (
        r#"(module (func (export "f") (param i32) (result i32)
        (if (local.get 0) (then (local.set 0 (i32.const 7)) (br 0) (local.set 0 (i32.const 8)))
        (else (local.set 0 (i32.const 9)) (nop))) (local.get 0)))"#,
        &[("f", &[0]), ("f", &[1])],
    ),
    (
        r#"(module (func (export "f") (param i32) (result i32)
        (block (block (block (br_table 0 1 2 (local.get 0))) (return (i32.const 10)))
        (return (i32.add (i32.const 10) (i32.const 1)))) (i32.const 12)))"#,
        &[("f", &[0]), ("f", &[1]), ("f", &[2]), ("f", &[-1])],
    ),
    // A branch out of the function, with one result, several and none.
    (
        r#"(module (func (export "f") (param i32) (result i32)
        (block (drop (br_if 1 (i32.const 5) (local.get 0)))) (i32.sub (i32.const 2) (i32.const 3))))"#,
        &[("f", &[0]), ("f", &[1])],
    ),
    (
        r#"(module (func (export "f") (param i32) (result i32 i64)
        (i32.const 5) (i64.const 6) (br_if 0 (local.get 0)) (drop) (drop) (i32.const 7) (i64.const 8)))"#,
        &[("f", &[0]), ("f", &[1])],
    ),
    (
        r#"(module (func (export "f") (param i32) (loop (br_if 1 (local.get 0)) (local.set 0 (i32.const 1)) (br 0))))"#,
        &[("f", &[0]), ("f", &[1])],
    ),
    // Loops.
    (
        r#"(module (func (export "f") (param i32) (result i64) (local i64)
        (loop $outer (local.set 1 (i64.add (local.get 1) (i64.const 3)))
        (block (loop $inner (br_if 1 (i32.eqz (i32.and (local.get 0) (i32.const 3))))
        (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br $inner)))
        (br_if $outer (i32.gt_s (local.tee 0 (i32.sub (local.get 0) (i32.const 1))) (i32.const 0))))
        (local.get 1)))"#,
        &[("f", &[9]), ("f", &[1])],
    ),
    (
        r#"(module (func (export "f") (param i32) (result i32)
        (i32.const 0) (loop (param i32) (result i32) (i32.const 2) (i32.add)
        (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0)))))"#,
        &[("f", &[9])],
    ),
    // Blocks with several values.
    (
        r#"(module (func (export "f") (param i32) (result i32 i32 i64)
        (local.get 0) (i32.const 4) (block (param i32 i32) (result i32 i32 i64)
        (i64.const 5) (br_if 0 (local.get 0)) (drop) (i32.add) (i32.const 8) (i64.const 1))
        (if (param i64) (result i64) (local.get 0) (then (i64.const 2) (i64.add)) (else (i64.const 3) (i64.mul)))))"#,
        &[("f", &[0]), ("f", &[1])],
    ),
    // Calls.
    (
        r#"(module (func $g (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))
        (func (export "f") (param i32) (result i32)
        (if (result i32) (local.get 0) (then (call $g (call $g (local.get 0)))) (else (call $g (i32.const 3))))))"#,
        &[("f", &[0]), ("f", &[2])],
    ),
    (
        r#"(module (func $fib (export "f") (param i32) (result i32)
        (if (i32.lt_u (local.get 0) (i32.const 2)) (then (return (local.get 0))))
        (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2))))))"#,
        &[("f", &[9])],
    ),
    (
        r#"(module (table funcref (elem $a $b)) (type $t (func (param i32) (result i32)))
        (func $a (type $t) (i32.const 1)) (func $b (param i64) (result i32) (i32.const 2))
        (func (export "f") (param i32) (result i32) (call_indirect (type $t) (i32.const 9) (local.get 0))))"#,
        &[("f", &[0]), ("f", &[1]), ("f", &[2])],
    ),
    (
        r#"(module (func $even (export "f") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
        (return_call $odd (i32.sub (local.get 0) (i32.const 1))))
        (func $odd (param i32) (result i32) (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (return_call_indirect (param i32) (result i32) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0)))
        (table funcref (elem $even)))"#,
        &[("f", &[9]), ("f", &[8])],
    ),
    // The host in between.
    (
        r#"(module (import "host" "look" (func $look)) (import "host" "twice" (func $twice (param i32) (result i32)))
        (func (export "f") (param i32) (result i32) (call $look)
        (loop (local.set 0 (call $twice (local.get 0))) (call $look) (br_if 0 (i32.lt_u (local.get 0) (i32.const 99))))
        (call $g) (call $look) (local.get 0)) (func $g (call $look)))"#,
        &[("f", &[3]), ("f", &[60])],
    ),
    // Traps in the middle.
    (
        r#"(module (func $g (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
        (func (export "f") (param i32) (result i32) (drop (call $g (i32.const 1)))
        (i32.add (i32.const 1) (call $g (local.get 0)))))"#,
        &[("f", &[0]), ("f", &[1])],
    ),
    (
        r#"(module (memory 1) (func (export "f") (param i32) (result i32)
        (loop (local.set 0 (i32.add (local.get 0) (i32.load (local.get 0)))) (local.set 0 (i32.add (local.get 0)
        (i32.const 4096))) (br 0)) (unreachable)))"#,
        &[("f", &[0])],
    ),
    (r#"(module (func (export "f") (param i32) (drop (i32.const 1)) (unreachable)))"#, &[("f", &[0])]),
    (r#"(module (func (export "f") (result i32) (i32.trunc_f32_s (f32.const nan))))"#, &[("f", &[])]),
    // An access that is never in bounds.
    (
        r#"(module (memory 1 1) (func (export "f") (param i32) (result i32)
        (if (local.get 0) (then (drop (i32.load offset=65533 (i32.const 0))) (drop (i32.const 1)))
        (else (i64.store8 offset=65536 (i32.const 0) (i64.const 1)))) (i32.load8_u offset=65535 (i32.const 0))))"#,
        &[("f", &[0]), ("f", &[1])],
    ),
    (
        r#"(module (memory 1 1) (func (export "f") (param i32) (result i32)
        (i32.load8_u offset=65535 (local.get 0)) (v128.load32_lane offset=65533 3 (i32.const 0) (v128.const i64x2 0 0))
        (drop)))"#,
        &[("f", &[0]), ("f", &[1])],
    ),
    // Code that is not reached.
    (
        r#"(module (func (export "f") (param i32) (result i32)
        (return (local.get 0)) (i32.add) (loop (result i32) (br 0)) (block (result i32) (i32.const 1) (if (result i32) (then (i32.const 1))
        (else (unreachable)))) (drop) (drop) (drop) (i32.const 1) (call 0)))"#,
        &[("f", &[4])],
    ),
    (
        r#"(module (func (export "f") (param i32) (result i32)
        (block (block (br 1)) (drop (i32.const 1)) (local.set 0 (i32.const 4))) (local.get 0)))"#,
        &[("f", &[4])],
    ),
    (
        r#"(module (func (export "f") (param i32) (result i32)
        (loop (result i32) (br_if 0 (local.tee 0 (i32.shr_u (local.get 0) (i32.const 1)))) (br 1 (i32.const 6)))
        (i32.const 1) (i32.add)))"#,
        &[("f", &[4])],
    ),
    (
        r#"(module (func (export "f") (param i32) (result i32)
        (if (result i32) (local.get 0) (then (return (i32.const 1))) (else (unreachable))) (i32.const 1) (i32.add)))"#,
        &[("f", &[4]), ("f", &[0])],
    ),
    (
        r#"(module (func (export "f") (param i32) (result i32)
        (if (local.get 0) (then (unreachable)) (else (return (i32.const 1)))) (i32.const 1)))"#,
        &[("f", &[4]), ("f", &[0])],
    ),
    // Select and references.
    (
        r#"(module (table 1 funcref) (elem declare func $f) (func $f (export "f") (param i32) (result i32)
        (table.set (i32.const 0) (select (result funcref) (ref.func $f) (ref.null func) (local.get 0)))
        (select (i32.const 3) (i32.const 4) (ref.is_null (table.get (i32.const 0))))))"#,
        &[("f", &[0]), ("f", &[1])],
    ),
    // Bulk operations.
    (
        r#"(module (memory 1) (data $d "0123456789") (func (export "f") (param i32) (result i32)
        (memory.fill (i32.const 10) (i32.const 7) (local.get 0)) (memory.fill (i32.const 10) (i32.const 8) (i32.const 4))
        (memory.fill (i32.const 10) (i32.const 8) (i32.const 4000))
        (memory.copy (i32.const 100) (i32.const 0) (local.get 0)) (memory.copy (i32.const 4) (i32.const 8) (i32.const 129))
        (memory.init $d (i32.const 3) (i32.const 1) (local.get 0)) (memory.init $d (i32.const 3) (i32.const 1) (i32.const 2))
        (data.drop $d) (i32.load (i32.const 104))))"#,
        &[("f", &[0]), ("f", &[3])],
    ),
    (
        r#"(module (memory 1 3) (func (export "f") (param i32) (result i32)
        (i32.add (memory.grow (local.get 0)) (memory.grow (i32.const 1))) (i32.add (memory.size))))"#,
        &[("f", &[0]), ("f", &[1]), ("f", &[-1])],
    ),
    (
        r#"(module (memory 1) (func (export "f") (param i32) (memory.fill (i32.const 0) (i32.const 0) (local.get 0))
        (drop (i32.const 1))))"#,
        &[("f", &[65536]), ("f", &[-1]), ("f", &[9])],
    ),
    (
        r#"(module (table $t 10 20 funcref) (table $u 10 funcref) (elem $e func 0 0 0) (func (export "f") (param i32) (result i32)
        (table.fill $t (i32.const 1) (ref.null func) (local.get 0)) (table.fill $t (i32.const 1) (ref.null func) (i32.const 2))
        (table.copy $t $u (i32.const 1) (i32.const 2) (local.get 0))
        (table.init $u $e (i32.const 1) (i32.const 0) (local.get 0)) (table.init $u $e (i32.const 1) (i32.const 0) (i32.const 1))
        (elem.drop $e) (table.grow $t (ref.null func) (local.get 0)) (table.grow $t (ref.null func) (i32.const 300)) (i32.add)
        (i32.add (table.size $t))))"#,
        &[("f", &[0]), ("f", &[2]), ("f", &[1])],
    ),
    (
        r#"(module (memory $a 1) (memory $b i64 1) (func (export "f") (param i64)
        (memory.copy $a $b (i32.const 1) (i64.const 2) (i32.wrap_i64 (local.get 0)))
        (memory.fill $b (i64.const 1) (i32.const 2) (local.get 0)) (memory.copy $b $b (i64.const 1) (i64.const 2) (local.get 0))
        (drop (memory.grow $b (i64.const 1))) (i32.store $b offset=4294967296 (i64.const 0) (i32.const 0))))"#,
        &[("f", &[5]), ("f", &[-5]), ("f", &[500])],
    ),
    // Globals, elements and data that name what has moved.
    (
        r#"(module (import "host" "twice" (func $twice (param i32) (result i32))) (import "e" "g" (global $g i32))
        (global $m (mut i32) (i32.add (global.get $g) (i32.const 5))) (global $r funcref (ref.func $f)) (memory 1) (table 4 funcref)
        (elem (offset (global.get $g)) $twice $f) (elem (i32.const 2) funcref (ref.func $f) (global.get $r))
        (data (offset (global.get $g)) "abc") (func $f (export "f") (param i32) (result i32)
        (global.set $m (i32.add (global.get $m) (call_indirect (param i32) (result i32) (local.get 0) (global.get $g))))
        (global.get $m)))"#,
        &[("f", &[5]), ("f", &[6])],
    ),
    // Vectors.
    (
        r#"(module (memory 1) (func (export "f") (param i32) (result i64)
        (v128.store (local.get 0) (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 31 (v128.const i32x4 1 2 3 4) (i32x4.splat (local.get 0))))
        (i64x2.extract_lane 1 (i64x2.add (v128.load (i32.const 0)) (v128.load32_splat (local.get 0))))))"#,
        &[("f", &[5]), ("f", &[65535])],
    ),
];

#[test]
fn the_start_function_is_left_to_the_host() {
    let twins = Twins::new(|_| {});
    let text = r#"(module (import "host" "look" (func $look)) (global $n (mut i32) (i32.const 20))
        (func $start (export "start") (call $look) (loop (global.set $n (i32.sub (global.get $n) (i32.const 1)))
        (br_if 0 (global.get $n))) (call $look)) (start $start) (func (export "f") (result i32) (global.get $n)))"#;
    let wasm = wasm(text);
    let twin = harness::twin(&wasm, Counting::Fuel);
    assert_eq!(twin.start, Some(2));
    let expected = twins.original(&wasm, &[("f", &[])], Limits::NONE).unwrap();
    let actual = twins.instrumented(&twin, &[("start", &[]), ("f", &[])], Limits::NONE).unwrap();
    assert_eq!(actual[0].consumed, 0);
    // Wasmtime calls it from a function of its own: one unit for that one, one for the call.
    assert_eq!(actual[1].consumed + 2, expected[0].consumed);
    assert_eq!(actual[1].seen.len(), 2);
    assert_eq!(actual[2], expected[1]);
}

#[test]
fn what_the_engines_do_not_share_is_valid() {
    for text in [
        "(module)",
        "(module (memory 1) (data (i32.const 0) \"a\"))",
        "(module (tag $t (param i32 i64)) (func (param i32) (result i32) (local i64)
            (block $none (block $all (block $pair (result i32 i64)
            (local.get 0) (try_table (param i32) (result i32) (catch $t $pair) (catch_all $all) (local.get 0)
                (drop) (br_if $none (local.get 0)) (throw $t (i64.const 1))) (return))
            (local.set 1) (return)) (unreachable)) (i32.const 1)))",
        "(module (tag $t (param i32)) (tag $e) (func (param i32) (result i32)
            (local.get 0) (block $out (param i32) (result i32) (try_table $try (param i32) (catch $t $out) (br_if $try) (throw $e))
            (loop $again (try_table (catch_all $again) (br_table $out $out (local.get 0) (local.get 0)))) (local.get 0))))",
        "(module (tag $t (param i32)) (func (result exnref) (block $h (result i32 exnref)
            (try_table (catch_ref $t $h) (catch_all_ref 1) (call 0) (throw_ref)) (unreachable)) (throw_ref)))",
        "(module (type $f (func (param i32) (result i32))) (func (param (ref null $f)) (result i32)
            (block $null (call_ref $f (i32.const 1) (br_on_null $null (local.get 0))) (return)) (i32.const 1)))",
        "(module (memory $a 1) (memory $b 1) (func (i32.store $b (i32.load $a (i32.const 0)) (i32.load8_u $b (i32.const 0)))))",
        "(module (func $f (br 0) (br 0)) (func $g (result i32) (loop (result i32) (br 0))) (func (loop (loop (br 1)) (nop)) (nop)))",
    ] {
        let wasm = wasm(text);
        for counting in [Counting::Epochs, Counting::Fuel] {
            harness::twin(&wasm, counting);
        }
    }
}

#[test]
fn imports_are_added_at_the_end() {
    let wasm = wasm(
        r#"(module $named (import "a" "f" (func $imported)) (import "a" "g" (global i32)) (import "a" "t" (table 1 4 funcref))
            (func $own (export "own") (call $imported)) (global (export "global") i32 (i32.const 1)))"#,
    );
    for (counting, imports) in [
        (Counting::Epochs, &["f", "g", "t", "check", "epoch", "until"][..]),
        (Counting::Fuel, &["f", "g", "t", "check", "fuel"]),
    ] {
        let twin = harness::twin(&wasm, counting);
        let module = wasmtime::Module::new(&wasmtime::Engine::default(), &twin.wasm).unwrap();
        assert_eq!(module.imports().map(|import| import.name()).collect::<Vec<_>>(), imports);
        assert_eq!(&imports[twin.imports as usize..], counting.imports());
        assert!(module.imports().skip(3).all(|import| import.module() == MODULE));
        assert_eq!(module.exports().map(|export| export.name()).collect::<Vec<_>>(), ["own", "global"]);
        assert_eq!(module.name(), Some("named"));
        assert_eq!((twin.moves.function(0), twin.moves.check(), twin.moves.function(1)), (0, 1, 2));
        let globals = counting.imports().len() as u32 - 1;
        assert_eq!(
            (twin.moves.global(0), twin.moves.first_global(), twin.moves.global(1)),
            (0, 1, 1 + globals)
        );
    }
}

#[test]
fn shared_tables_lose_their_maximum() {
    let twin = |text| {
        let Instrumented { wasm, table_maxima, .. } = harness::twin(&wasm(text), Counting::Epochs);
        let module = wasmtime::Module::new(&wasmtime::Engine::default(), &wasm).unwrap();
        let tables =
            module.imports().map(|import| import.ty()).chain(module.exports().map(|export| export.ty()));
        let maxima = tables.filter_map(|ty| ty.table().map(wasmtime::TableType::maximum)).collect::<Vec<_>>();
        (maxima, table_maxima)
    };
    assert_eq!(twin(r#"(module (import "a" "t" (table 1 4 funcref)))"#), (vec![None], vec![]));
    assert_eq!(
        twin(r#"(module (table 1 4 funcref) (table (export "t") 3 3 funcref))"#),
        (vec![None], vec![(1, 3)])
    );
    assert_eq!(twin(r#"(module (table (export "t") 3 funcref))"#), (vec![None], vec![]));
}

#[test]
fn malformed_modules_are_errors() {
    let whole = wasm(
        r#"(module (import "a" "f" (func)) (memory 1) (func (param i32) (block (br_if 1 (local.get 0)) (call 0))))"#,
    );
    for length in 0..whole.len() {
        for counting in [Counting::Epochs, Counting::Fuel] {
            // Sections may be missing at the end.
            let _ = instrument(&whole[..length], counting);
        }
    }
    for position in 8..whole.len() {
        for value in [0, 1, 0x0b, 0x10, 0x7f, 0xff] {
            let mut wasm = whole.clone();
            wasm[position] = value;
            let _ = instrument(&wasm, Counting::Fuel);
        }
    }
    let error = instrument(b"\0asm", Counting::Fuel).unwrap_err();
    assert_eq!(error.to_string(), "a core module cannot be read");
    assert!(std::error::Error::source(&error).is_some());
    assert_eq!(
        InstrumentError::Missing("block").to_string(),
        "a core module refers to a block that it does not have"
    );
}
