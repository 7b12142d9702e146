//! What holds for every type, value and memory: generated ones.

use std::fmt::Debug;

use airssys_wasm_core::error::{Detail, ErrorKind, Limit, Result, TrapKind, WasmError};
use airssys_wasm_core::runtime::{ResourceHandle, Value};
use airssys_wasm_engine::value::Mismatch;
use proptest::prelude::*;
use wasmparser::{Validator, WasmFeatures};
use wasmtime_environ::component::{
    ComponentTypesBuilder, StringEncoding, Translator, TypeDef, TypeResourceTableIndex,
};
use wasmtime_environ::{ScopeVec, Tunables};

use super::dynamic::{self, Held, check, lift_parameters, lower_parameters};
use super::fake::{Allocator, ENCODINGS, Fake};
use super::guest::Guest;
use super::kind::{Kind, name, tuple_of};
use super::{Lift, Lower};

const LEAVES: [Kind; 15] = [
    Kind::Bool,
    Kind::S8,
    Kind::U8,
    Kind::S16,
    Kind::U16,
    Kind::S32,
    Kind::U32,
    Kind::S64,
    Kind::U64,
    Kind::F32,
    Kind::F64,
    Kind::Char,
    Kind::String,
    Kind::Own,
    Kind::Borrow,
];

fn kind() -> impl Strategy<Value = Kind> {
    let leaf = prop_oneof![
        8 => prop::sample::select(&LEAVES[..]),
        1 => prop_oneof![1..5usize, Just(256), Just(257)].prop_map(Kind::Enum),
        1 => prop_oneof![1..40usize, Just(64), Just(65)].prop_map(Kind::Flags),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        let many = prop::collection::vec(inner.clone(), 1..5);
        let payload = || prop::option::of(inner.clone().prop_map(Box::new));
        prop_oneof![
            inner.clone().prop_map(|kind| Kind::List(Box::new(kind))),
            many.clone().prop_map(Kind::Record),
            many.prop_map(Kind::Tuple),
            prop::collection::vec(prop::option::of(inner.clone()), 1..5).prop_map(Kind::Variant),
            inner.clone().prop_map(|kind| Kind::Option(Box::new(kind))),
            (payload(), payload()).prop_map(|(ok, err)| Kind::Result(ok, err)),
        ]
    })
}

fn value(kind: &Kind) -> BoxedStrategy<Value> {
    let optional = |kind: Option<&Kind>| match kind {
        Some(kind) => value(kind).prop_map(|value| Some(Box::new(value))).boxed(),
        None => Just(None).boxed(),
    };
    let all = |kinds: &[Kind]| kinds.iter().map(value).collect::<Vec<_>>();
    match kind {
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::S8 => any::<i8>().prop_map(Value::S8).boxed(),
        Kind::U8 => any::<u8>().prop_map(Value::U8).boxed(),
        Kind::S16 => any::<i16>().prop_map(Value::S16).boxed(),
        Kind::U16 => any::<u16>().prop_map(Value::U16).boxed(),
        Kind::S32 => any::<i32>().prop_map(Value::S32).boxed(),
        Kind::U32 => any::<u32>().prop_map(Value::U32).boxed(),
        Kind::S64 => any::<i64>().prop_map(Value::S64).boxed(),
        Kind::U64 => any::<u64>().prop_map(Value::U64).boxed(),
        Kind::F32 => any::<f32>().prop_map(Value::F32).boxed(),
        Kind::F64 => any::<f64>().prop_map(Value::F64).boxed(),
        Kind::Char => any::<char>().prop_map(Value::Char).boxed(),
        Kind::String => text().prop_map(Value::String).boxed(),
        Kind::Own | Kind::Borrow => {
            any::<u32>().prop_map(|number| Value::Resource(ResourceHandle(u64::from(number) + 1000))).boxed()
        }
        Kind::Enum(count) => (0..*count).prop_map(|case| Value::Enum(name(case))).boxed(),
        Kind::Flags(count) => prop::collection::vec(any::<bool>(), *count)
            .prop_map(|set| {
                let names = set.iter().enumerate().filter(|(_, set)| **set);
                Value::Flags(names.map(|(position, _)| name(position)).collect())
            })
            .boxed(),
        Kind::List(element) if matches!(**element, Kind::U8) => {
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes).boxed()
        }
        Kind::List(element) => prop::collection::vec(value(element), 0..4).prop_map(Value::List).boxed(),
        Kind::Record(fields) => all(fields)
            .prop_map(|values| {
                let fields = values.into_iter().enumerate();
                Value::Record(fields.map(|(position, value)| (name(position), value)).collect())
            })
            .boxed(),
        Kind::Tuple(kinds) => all(kinds).prop_map(Value::Tuple).boxed(),
        Kind::Variant(cases) => {
            let payloads: Vec<_> = cases.iter().map(|case| optional(case.as_ref())).collect();
            (0..cases.len())
                .prop_flat_map(move |case| {
                    payloads[case].clone().prop_map(move |payload| Value::Variant(name(case), payload))
                })
                .boxed()
        }
        Kind::Option(kind) => {
            prop::option::of(value(kind).prop_map(Box::new)).prop_map(Value::Option).boxed()
        }
        Kind::Result(ok, err) => prop_oneof![
            optional(ok.as_deref()).prop_map(|value| Value::Result(Ok(value))),
            optional(err.as_deref()).prop_map(|value| Value::Result(Err(value))),
        ]
        .boxed(),
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,12}", "[a-z\u{80}-\u{ff}]{0,6}", ".{0,6}", "[\u{ff}\u{100}\u{1f600}]{0,5}"]
}

struct Anything;

impl Held for Anything {
    fn hand_over(&mut self, _: TypeResourceTableIndex, _: ResourceHandle) -> Result<(), &'static str> {
        Ok(())
    }

    fn lend(&mut self, _: TypeResourceTableIndex, handle: ResourceHandle) -> Result<(), &'static str> {
        if handle.0 == 7 { Err("another one") } else { Ok(()) }
    }
}

/// What a guest can do wrong, and nothing else.
fn is_of_guest(error: &WasmError) -> bool {
    matches!(
        error.detail(),
        Some(Detail::Trap(TrapKind::InvalidValue | TrapKind::Unreachable) | Detail::Limit(Limit::Transfer))
    )
}

fn kinds_and_values() -> impl Strategy<Value = (Vec<Kind>, Vec<Value>)> {
    prop::collection::vec(kind(), 0..6).prop_flat_map(|kinds| {
        let values: Vec<_> = kinds.iter().map(value).collect();
        (Just(kinds), values)
    })
}

proptest! {
    #[test]
    fn every_value_crosses_and_comes_back((kinds, values) in kinds_and_values()) {
        let (types, tuple) = tuple_of(&kinds);
        for (value, ty) in values.iter().zip(&types[tuple].types) {
            prop_assert!(check(value, *ty, &types, &mut Anything).is_ok());
        }
        for encoding in ENCODINGS {
            let guest = &mut Fake::new(encoding);
            let cells = lower_parameters(&values, tuple, &types, guest).unwrap();
            let expected = types[tuple].abi.flat_count.map_or(1, usize::from);
            prop_assert_eq!(cells.len(), expected);
            prop_assert_eq!(&lift_parameters(cells.as_slice(), tuple, &types, guest).unwrap(), &values);

            let pointer = guest.realloc(0, 0, types[tuple].abi.align32, types[tuple].abi.size32).unwrap();
            let pointer = u64::from(pointer);
            let results = dynamic::lower_results(&values, &[pointer], tuple, &types, guest).unwrap();
            let is_flat = types[tuple].abi.flat_count(1).is_some();
            let results = if is_flat { results.as_slice() } else { &[pointer] };
            prop_assert_eq!(&dynamic::lift_results(results, tuple, &types, guest).unwrap(), &values);
        }
    }

    /// A value of one type where another one is needed is found, or is of both.
    #[test]
    fn only_checked_values_are_lowered((kinds, _) in kinds_and_values(), (_, values) in kinds_and_values()) {
        let (types, tuple) = tuple_of(&kinds);
        let fits = values.len() == kinds.len()
            && values.iter().zip(&types[tuple].types).all(|(value, ty)| {
                check(value, *ty, &types, &mut Anything).is_ok()
            });
        let lowered = lower_parameters(&values, tuple, &types, &mut Fake::utf8());
        if fits {
            prop_assert!(lowered.is_ok());
        }
        if let Err(error) = lowered {
            prop_assert_eq!(error.kind(), ErrorKind::Internal);
        }
    }

    #[test]
    fn hostile_memory_is_survived(
        kinds in prop::collection::vec(kind(), 1..4),
        cells in prop::collection::vec(hostile_number(), 17),
        memory in prop::collection::vec(hostile_number(), 1..64),
        encoding in prop::sample::select(&ENCODINGS[..]),
    ) {
        let (types, tuple) = tuple_of(&kinds);
        let guest = &mut Fake::new(encoding);
        guest.memory = memory.iter().flat_map(|number| (*number as u32).to_le_bytes()).collect();
        guest.allowance = 1 << 16;
        for result in [
            lift_parameters(&cells, tuple, &types, guest),
            dynamic::lift_results(&cells, tuple, &types, guest),
        ] {
            if let Err(error) = result {
                prop_assert!(is_of_guest(&error), "{error}");
            }
        }
    }

    #[test]
    fn hostile_allocators_are_survived(
        (kinds, values) in kinds_and_values(),
        answer in hostile_number(),
        pointer in hostile_number(),
        encoding in prop::sample::select(&ENCODINGS[..]),
    ) {
        let (types, tuple) = tuple_of(&kinds);
        let guest = &mut Fake::new(encoding);
        guest.memory.truncate(256);
        guest.allocator = Allocator::Answers(answer as u32);
        let results = [
            lower_parameters(&values, tuple, &types, guest),
            dynamic::lower_results(&values, &[pointer], tuple, &types, guest),
        ];
        for result in results {
            if let Err(error) = result {
                prop_assert!(is_of_guest(&error), "{error}");
            }
        }
    }

    #[test]
    fn known_types_look_as_dynamic_ones(
        numbers in any::<(u8, i16, u32, i64)>(),
        floats in any::<(f32, f64)>(),
        (letter, on) in any::<(char, bool)>(),
        texts in prop::collection::vec(prop::option::of(text()), 0..4),
        bytes in any::<Vec<u8>>(),
        outcome in prop_oneof![text().prop_map(Ok), any::<(u8, f32)>().prop_map(Err)],
        joined in prop_oneof![any::<f32>().prop_map(Ok), any::<u64>().prop_map(Err)],
    ) {
        let boxed = |value: Value| Some(Box::new(value));
        let string = |text: &String| Value::String(text.clone());
        let option = |text: Option<&String>| Value::Option(text.map(string).and_then(boxed));
        same(
            &(numbers, floats, (letter, on), texts.clone(), bytes.clone()),
            &[
                Kind::Tuple(vec![Kind::U8, Kind::S16, Kind::U32, Kind::S64]),
                Kind::Tuple(vec![Kind::F32, Kind::F64]),
                Kind::Tuple(vec![Kind::Char, Kind::Bool]),
                Kind::List(Box::new(Kind::Option(Box::new(Kind::String)))),
                Kind::List(Box::new(Kind::U8)),
            ],
            &[
                Value::Tuple(vec![
                    Value::U8(numbers.0),
                    Value::S16(numbers.1),
                    Value::U32(numbers.2),
                    Value::S64(numbers.3),
                ]),
                Value::Tuple(vec![Value::F32(floats.0), Value::F64(floats.1)]),
                Value::Tuple(vec![Value::Char(letter), Value::Bool(on)]),
                Value::List(texts.iter().map(|text| option(text.as_ref())).collect()),
                Value::Bytes(bytes),
            ],
        );
        let result = |ok, err| Kind::Result(Some(Box::new(ok)), Some(Box::new(err)));
        same(
            &(outcome.clone(), joined),
            &[
                result(Kind::String, Kind::Tuple(vec![Kind::U8, Kind::F32])),
                result(Kind::F32, Kind::U64),
            ],
            &[
                Value::Result(match &outcome {
                    Ok(text) => Ok(boxed(string(text))),
                    Err((number, float)) => {
                        Err(boxed(Value::Tuple(vec![Value::U8(*number), Value::F32(*float)])))
                    }
                }),
                Value::Result(match joined {
                    Ok(float) => Ok(boxed(Value::F32(float))),
                    Err(number) => Err(boxed(Value::U64(number))),
                }),
            ],
        );
    }
}

/// Numbers that are often places in a small memory, its end, or small lengths.
fn hostile_number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0..64u64).prop_map(|number| number * 4),
        2 => 0..5u64,
        1 => 250..260u64,
        1 => any::<u64>(),
        1 => prop::sample::select(&[0x8000_0000, 0x8000_0002, 0xffff_ffff, 0xffff_fff8, 0xd800, 0xdc00][..]),
    ]
}

/// The same cells and the same bytes, by the type that Rust knows and by the one that a component declares.
fn same<T: Lower + Lift + PartialEq + Debug>(value: &T, kinds: &[Kind], values: &[Value]) {
    let (types, tuple) = tuple_of(kinds);
    assert_eq!(types[tuple].abi, T::ABI);
    for encoding in ENCODINGS {
        let (typed, untyped) = (&mut Fake::new(encoding), &mut Fake::new(encoding));
        let cells = super::lower_parameters(value, typed).unwrap();
        let others = lower_parameters(values, tuple, &types, untyped).unwrap();
        assert_eq!(cells.as_slice(), others.as_slice());
        assert!(typed.memory == untyped.memory, "the bytes differ");
        assert_eq!(super::lift_parameters::<T, _>(others.as_slice(), untyped).unwrap(), *value);
        assert_eq!(lift_parameters(cells.as_slice(), tuple, &types, typed).unwrap(), values);
    }
}

fn mismatch(kind: Kind, value: &Value) -> Mismatch {
    let (types, tuple) = tuple_of(&[kind]);
    check(value, types[tuple].types[0], &types, &mut Anything).unwrap_err()
}

#[test]
fn mismatches_say_what_and_where() {
    let check = |kind: Kind, value: Value, place: &str, text: &str| {
        let error = mismatch(kind, &value);
        assert_eq!((error.place("it").as_str(), error.to_string().as_str()), (place, text));
    };
    let list = |kind| Kind::List(Box::new(kind));
    let string = || Value::String(String::new());
    check(Kind::U8, Value::U16(1), "it", "expected u8, got u16");
    check(list(Kind::U8), Value::List(vec![]), "it", "expected list<u8>, got list");
    check(list(Kind::S8), Value::Bytes(vec![]), "it", "expected list, got list<u8>");
    check(list(Kind::U16), Value::List(vec![Value::U16(1), string()]), "it[1]", "expected u16, got string");
    let record = Kind::Record(vec![Kind::U8, list(Kind::Bool)]);
    let fields = |second: &str| {
        let values = Value::List(vec![string()]);
        Value::Record(vec![("n0".into(), Value::U8(1)), (second.into(), values)])
    };
    check(record.clone(), fields("n1"), "it.n1[0]", "expected bool, got string");
    check(record.clone(), fields("n2"), "it", "expected the field `n1`, got the field `n2`");
    check(record, Value::Record(vec![]), "it", "expected a record of 2 fields, got a record of 0 fields");
    let tuple = Kind::Tuple(vec![Kind::U8]);
    check(tuple, Value::Tuple(vec![]), "it", "expected a tuple of 1, got a tuple of 0");
    let variant = Kind::Variant(vec![None, Some(Kind::U8)]);
    let case = |name: &str, payload| Value::Variant(name.into(), payload);
    check(variant.clone(), case("x\n", None), "it", "expected a case of n0, n1, got `x\\n`");
    check(variant.clone(), case("n1", None), "it.n1", "expected u8, got no payload");
    check(variant, case("n0", Some(Box::new(string()))), "it.n0", "expected no payload, got string");
    check(Kind::Enum(2), Value::Enum("n2".into()), "it", "expected a case of n0, n1, got `n2`");
    check(Kind::Flags(2), Value::Flags(vec!["n2".into()]), "it", "expected flags among n0, n1, got `n2`");
    let option = Kind::Option(Box::new(Kind::U8));
    check(option, Value::Option(Some(Box::new(string()))), "it.some", "expected u8, got string");
    let result = Kind::Result(None, Some(Box::new(Kind::U8)));
    check(result, Value::Result(Err(None)), "it.err", "expected u8, got no payload");
    let resource = Value::Resource(ResourceHandle(7));
    check(Kind::Borrow, resource, "it", "expected a resource of this instance, got another one");
}

/// Lists in lists that are all the same memory: a few bytes of the guest that would fill the host.
#[test]
fn aliases_run_into_the_allowance() {
    let deep = (0..6).fold(Kind::U64, |kind, _| Kind::List(Box::new(kind)));
    let (types, tuple) = tuple_of(&[deep]);
    let guest = &mut Fake::utf8();
    for pair in guest.memory.as_chunks_mut::<8>().0 {
        *pair = (1u64 << 45).to_le_bytes();
    }
    let error = lift_parameters(&[0, 8192], tuple, &types, guest).unwrap_err();
    assert_eq!(error.detail(), Some(Detail::Limit(Limit::Transfer)));
}

/// What a list only claims to have is not allocated.
#[test]
fn claimed_lengths_are_checked_first() {
    let (types, tuple) = tuple_of(&[Kind::List(Box::new(Kind::Bool))]);
    for (pointer, length) in [(0, u64::from(u32::MAX)), (65536, 1), (65537, 0), (u64::from(u32::MAX), 1)] {
        let error = lift_parameters(&[pointer, length], tuple, &types, &mut Fake::utf8()).unwrap_err();
        assert_eq!(error.detail(), Some(Detail::Trap(TrapKind::InvalidValue)));
    }
}

#[test]
fn flags_of_every_width_cross() {
    for count in 1..=70 {
        let (types, tuple) = tuple_of(&[Kind::Flags(count)]);
        let ty = types[tuple].types[0];
        for set in [vec![], vec![name(0)], vec![name(count - 1)], (0..count).map(name).collect()] {
            let guest = &mut Fake::utf8();
            let values = [Value::Flags(set)];
            let cells = lower_parameters(&values, tuple, &types, guest).unwrap();
            assert_eq!(cells.len(), count.div_ceil(32));
            assert_eq!(lift_parameters(cells.as_slice(), tuple, &types, guest).unwrap(), values);
            assert_eq!(
                types.canonical_abi(&ty).size32,
                [1, 1, 2, 4, 4][count.div_ceil(8).min(4)].max(if count > 16 {
                    count.div_ceil(32) as u32 * 4
                } else {
                    1
                },)
            );
        }
        let all = vec![u64::MAX; 3];
        let values = lift_parameters(&all, tuple, &types, &mut Fake::utf8()).unwrap();
        assert_eq!(values, [Value::Flags((0..count).map(name).collect())], "bits beyond are dropped");
    }
}

/// The deepest type that the validator takes crosses on a small stack.
#[test]
fn the_deepest_type_needs_little_stack() {
    let crossing = || {
        let deep = (0..100).fold(Kind::U8, |kind, _| Kind::Option(Box::new(kind)));
        let (types, tuple) = tuple_of(&[deep]);
        let value = (0..100).fold(Value::U8(1), |value, _| Value::Option(Some(Box::new(value))));
        check(&value, types[tuple].types[0], &types, &mut Anything).unwrap();
        let guest = &mut Fake::utf8();
        let values = [value];
        let cells = lower_parameters(&values, tuple, &types, guest).unwrap();
        assert_eq!(lift_parameters(cells.as_slice(), tuple, &types, guest).unwrap(), values);
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(crossing).unwrap().join().unwrap();
}

#[test]
fn the_validator_bounds_the_depth_of_types() {
    let component = |depth: usize| {
        let types: String = (1..depth).map(|level| format!("(type (option {}))", level - 1)).collect();
        wat::parse_str(format!("(component (type (option u8)) {types})")).unwrap()
    };
    let mut validator = Validator::new_with_features(WasmFeatures::default() | WasmFeatures::COMPONENT_MODEL);
    assert!(validator.validate_all(&component(98)).is_ok());
    validator.reset();
    assert!(validator.validate_all(&component(101)).is_err());
}

/// The tables that a real component has, and not those that were put together here.
#[test]
fn a_translated_component_has_the_same_tables() {
    let text = r#"(component (import "f" (func
        (param "a" (list u8)) (param "b" (option (tuple string u32)))
        (result (result string (error char))))))"#;
    let binary = wat::parse_str(text).unwrap();
    let mut validator = Validator::new();
    let mut types = ComponentTypesBuilder::new(&validator);
    let (scope, tunables) = (ScopeVec::new(), Tunables::default_host());
    let translator = Translator::new(&tunables, &mut validator, &mut types, &scope);
    let (translation, _) = translator.translate(&binary).unwrap();
    let (types, _) = types.finish(&translation.component);
    let (_, (_, import)) = translation.component.import_types.iter().next().unwrap();
    let TypeDef::ComponentFunc(function) = import.ty else { unreachable!("it imports a function") };
    let function = &types[function];
    let guest = &mut Fake::new(StringEncoding::Utf16);
    let given = (vec![1u8, 2], Some((String::from("n\u{ef}"), 7u32)));
    let cells = super::lower_parameters(&given, guest).unwrap();
    let values = lift_parameters(cells.as_slice(), function.params, &types, guest).unwrap();
    let pair = Value::Tuple(vec![Value::String("n\u{ef}".into()), Value::U32(7)]);
    assert_eq!(values, [Value::Bytes(vec![1, 2]), Value::Option(Some(Box::new(pair)))]);
    let results = [Value::Result(Err(Some(Box::new(Value::Char('x')))))];
    dynamic::lower_results(&results, &[0, 1024], function.results, &types, guest).unwrap();
    assert_eq!(super::lift_results::<Result<String, char>, _>(&[1024], guest).unwrap(), Err('x'));
}
