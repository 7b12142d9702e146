//! Takes and returns a value of every WIT type, and calls an interface that the embedder supplies.
//!
//! The interface `airssys:fixtures/values` is for calls by name. The payloads of `execute` reach
//! `airssys:fixtures/lookup`: `find KEY` replies with the value, `add A B` with the sum.

wit_bindgen::generate!({
    path: ["../../../wit", "wit"],
    world: "airssys:fixtures/values-guest",
    generate_all,
});

use std::cell::Cell;

use airssys::core::types::FailureCode;
use airssys::fixtures::lookup;
use exports::airssys::core::component::{self, Body, ComponentMetadata, Failure, Message};
use exports::airssys::fixtures::values::{
    self, Accumulator, AccumulatorBorrow, Deep, Drawing, Everything, Mistake, Months, Permissions, Point,
    Shape, Switches, Weekday,
};

thread_local! {
    static LIVING: Cell<u32> = const { Cell::new(0) };
}

struct Values;

impl component::Guest for Values {
    fn init(_config: Vec<(String, String)>) -> Result<(), Failure> {
        Ok(())
    }

    fn execute(message: Message) -> Result<Body, Failure> {
        let command = String::from_utf8_lossy(&message.body.payload);
        let words: Vec<&str> = command.split_ascii_whitespace().collect();
        let reply = match words[..] {
            ["find", key] => {
                lookup::find(key).map_err(|message| Failure { code: FailureCode::NotFound, message })?
            }
            ["add", a, b] => lookup::add(number(a)?, number(b)?).to_string(),
            _ => return Err(invalid_input(format!("`{command}` is neither `find KEY` nor `add A B`"))),
        };
        Ok(Body { content_type: Some("text/plain".to_owned()), payload: reply.into_bytes() })
    }

    fn shutdown() -> Result<(), Failure> {
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

fn number(text: &str) -> Result<i32, Failure> {
    text.parse().map_err(|_| invalid_input(format!("`{text}` is not a number of 32 bits")))
}

fn invalid_input(message: String) -> Failure {
    Failure { code: FailureCode::InvalidInput, message }
}

/// Writes functions that return the value they are given.
macro_rules! echo {
    ($($name:ident: $kind:ty;)*) => {
        $(fn $name(value: $kind) -> $kind {
            value
        })*
    };
}

impl values::Guest for Values {
    type Accumulator = Sum;

    fn nothing() {}

    echo! {
        echo_bool: bool;
        echo_u8: u8;
        echo_s8: i8;
        echo_u16: u16;
        echo_s16: i16;
        echo_u32: u32;
        echo_s32: i32;
        echo_u64: u64;
        echo_s64: i64;
        echo_f32: f32;
        echo_f64: f64;
        echo_char: char;
        echo_string: String;
        echo_bytes: Vec<u8>;
        echo_strings: Vec<String>;
        echo_matrix: Vec<Vec<f64>>;
        echo_points: Vec<Point>;
        echo_shapes: Vec<Shape>;
        echo_chars: Vec<char>;
        echo_bools: Vec<bool>;
        echo_u64s: Vec<u64>;
        echo_record: Drawing;
        echo_tuple: (u8, String, f32, bool);
        echo_variant: Shape;
        echo_enum: Weekday;
        echo_option: Option<String>;
        echo_nested_option: Option<Option<bool>>;
        echo_result: Result<u32, String>;
        echo_result_ok: Result<String, ()>;
        echo_result_error: Result<(), Mistake>;
        echo_result_empty: Result<(), ()>;
        echo_permissions: Permissions;
        echo_months: Months;
        echo_switches: Switches;
        echo_deep: Deep;
        echo_everything: Everything;
    }

    fn show(value: Everything) -> String {
        format!("{value:?}")
    }

    #[rustfmt::skip]
    fn sixteen(
        a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32, j: u32, k: u32, l: u32, m: u32,
        n: u32, o: u32, p: u32,
    ) -> u64 {
        weigh(&[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    #[rustfmt::skip]
    fn seventeen(
        a: u32, b: u32, c: u32, d: u32, e: u32, f: u32, g: u32, h: u32, i: u32, j: u32, k: u32, l: u32, m: u32,
        n: u32, o: u32, p: u32, q: u32,
    ) -> u64 {
        weigh(&[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q])
    }

    #[rustfmt::skip]
    fn many(
        a: bool, b: u8, c: i8, d: u16, e: i16, f: u32, g: i32, h: u64, i: i64, j: f32, k: f64, l: char, m: String,
        n: Vec<u8>, o: u8, p: u16, q: u32, r: u64, s: String, t: bool,
    ) -> (
        bool, u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, char, String, Vec<u8>, u8, u16, u32, u64, String, bool,
    ) {
        (a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t)
    }

    fn look(accumulator: AccumulatorBorrow<'_>) -> i64 {
        accumulator.get::<Sum>().0.get()
    }

    fn consume(accumulator: Accumulator) -> i64 {
        accumulator.get::<Sum>().0.get()
    }

    fn pass_through(accumulator: Accumulator) -> Accumulator {
        accumulator
    }

    fn living() -> u32 {
        LIVING.get()
    }
}

/// Each value times its position, counted from one: two that changed places change the sum.
fn weigh(values: &[u32]) -> u64 {
    (1..).zip(values).map(|(position, value)| position * u64::from(*value)).sum()
}

/// The accumulator of the interface. It counts how many of its kind exist, so that a leak can be seen.
struct Sum(Cell<i64>);

impl Sum {
    fn start_at(start: i64) -> Self {
        LIVING.set(LIVING.get() + 1);
        Self(Cell::new(start))
    }
}

impl Drop for Sum {
    fn drop(&mut self) {
        LIVING.set(LIVING.get() - 1);
    }
}

impl values::GuestAccumulator for Sum {
    fn new(start: i64) -> Self {
        Self::start_at(start)
    }

    fn add(&self, amount: i64) -> i64 {
        self.0.set(self.0.get().wrapping_add(amount));
        self.0.get()
    }

    fn sum(&self) -> i64 {
        self.0.get()
    }

    fn join(left: AccumulatorBorrow<'_>, right: AccumulatorBorrow<'_>) -> Accumulator {
        let (left, right) = (left.get::<Sum>().0.get(), right.get::<Sum>().0.get());
        Accumulator::new(Self::start_at(left.wrapping_add(right)))
    }
}

export!(Values);
