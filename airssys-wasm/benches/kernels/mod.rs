//! Guests that only compute, each for a millisecond or so.

/// The name of each, and its core module with a function `run`.
pub(crate) const KERNELS: [(&str, &str); 4] = [
    ("sieve", SIEVE),
    ("mixing of integers", MIX),
    ("product of matrices", MATRIX),
    ("recursion", FIBONACCI),
];

/// A component that exports the function `run` of a core module.
pub(crate) fn component(core: &str) -> Vec<u8> {
    let text = format!(
        r#"(component (core module $m {core}) (core instance $i (instantiate $m))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    );
    wat::parse_str(text).expect("the kernel is well-formed")
}

/// The number of primes below 200,000: bytes written and read with a stride.
const SIEVE: &str = r#"
    (memory 4)
    (func (export "run") (result i32) (local $i i32) (local $j i32) (local $found i32)
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 200000))
        (local.set $i (i32.const 2))
        (loop $next
            (if (i32.load8_u (local.get $i)) (then
                (local.set $found (i32.add (local.get $found) (i32.const 1)))
                (local.set $j (i32.shl (local.get $i) (i32.const 1)))
                (block $done (loop $strike
                    (br_if $done (i32.ge_u (local.get $j) (i32.const 200000)))
                    (i32.store8 (local.get $j) (i32.const 0))
                    (local.set $j (i32.add (local.get $j) (local.get $i)))
                    (br $strike)))))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 200000))))
        (local.get $found))"#;

/// A generator of random numbers (SplitMix64), summed: 64-bit arithmetic in one tight loop.
const MIX: &str = r#"
    (func (export "run") (result i32) (local $i i32) (local $state i64) (local $z i64) (local $sum i64)
        (loop $next
            (local.set $state (i64.add (local.get $state) (i64.const 0x9e3779b97f4a7c15)))
            (local.set $z (i64.mul (i64.xor (local.get $state) (i64.shr_u (local.get $state) (i64.const 30)))
                (i64.const 0xbf58476d1ce4e5b9)))
            (local.set $z (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 27)))
                (i64.const 0x94d049bb133111eb)))
            (local.set $sum (i64.add (local.get $sum) (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 31)))))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 400000))))
        (i32.wrap_i64 (local.get $sum)))"#;

/// The product of two matrices of 96 by 96 doubles: three nested loops and loads.
const MATRIX: &str = r#"
    (memory 4)
    (func (export "run") (result i32) (local $i i32) (local $j i32) (local $k i32) (local $sum f64)
        (local.set $i (i32.const 0))
        (loop $rows
            (local.set $j (i32.const 0))
            (loop $columns
                (local.set $k (i32.const 0)) (local.set $sum (f64.const 1))
                (loop $terms
                    (local.set $sum (f64.add (local.get $sum) (f64.mul
                        (f64.load (i32.shl (i32.add (i32.mul (local.get $i) (i32.const 96)) (local.get $k)) (i32.const 3)))
                        (f64.load offset=73728
                            (i32.shl (i32.add (i32.mul (local.get $k) (i32.const 96)) (local.get $j)) (i32.const 3))))))
                    (br_if $terms (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (i32.const 96))))
                (f64.store offset=147456
                    (i32.shl (i32.add (i32.mul (local.get $i) (i32.const 96)) (local.get $j)) (i32.const 3)) (local.get $sum))
                (br_if $columns (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const 96))))
            (br_if $rows (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 96))))
        (i32.trunc_f64_u (f64.load (i32.const 147456))))"#;

/// The 23rd number of Fibonacci: calls and returns.
const FIBONACCI: &str = r#"
    (func $fib (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0))
            (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
    (func (export "run") (result i32) (call $fib (i32.const 23)))"#;
