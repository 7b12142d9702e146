//! Components that pass values on, or make them up.
//!
//! A stage is a component that imports a function `swap` of generated types and exports one of the same types. Its core module
//! calls the one from the other, or returns what it likes; and its allocator may lie. One or two stages, each with its own
//! string encoding, stand between the caller and the function of the embedder.

use airssys_wasm::core::interface::{WitFunction, WitType};
use airssys_wasm::core::runtime::HostFunctionDefinition;
use arbitrary::{Result, Unstructured};

use crate::case::Case;
use crate::kind::{self, Core, Names};
use crate::value;

const INTERFACE: &str = "acme:swap/swap@1.0.0";

/// Where results of the import are written. Everything below is data.
const RESULTS: i32 = 8 << 10;

/// Where what is allocated begins.
const HEAP: i32 = 64 << 10;

/// A function's type, in every form that is needed.
struct Signature {
    parameters: Vec<WitType>,
    result: Option<WitType>,
    names: Names,
    /// As it is written inside `(func ...)`.
    text: String,
}

impl Signature {
    fn generate(entropy: &mut Unstructured<'_>) -> Result<Self> {
        let count = entropy.int_in_range(0..=4)?;
        let parameters = (0..count).map(|_| kind::generate(entropy, 3)).collect::<Result<Vec<_>>>()?;
        let result = entropy.ratio(9, 10)?.then(|| kind::generate(entropy, 3)).transpose()?;
        let mut names = Names::default();
        let mut text = String::new();
        for (at, kind) in parameters.iter().enumerate() {
            text.push_str(&format!("(param \"p{at}\" {}) ", names.text(kind)));
        }
        if let Some(kind) = &result {
            text.push_str(&format!("(result {})", names.text(kind)));
        }
        Ok(Self { parameters, result, names, text })
    }

    fn define(&self) -> HostFunctionDefinition {
        let parameters = self.parameters.iter().enumerate();
        let parameters = parameters.map(|(at, kind)| (format!("p{at}"), kind.clone())).collect();
        HostFunctionDefinition {
            interface: INTERFACE.into(),
            function: WitFunction { parameters, ..WitFunction::new("swap", [], self.result.clone()) },
            capability: None,
        }
    }

    /// The core parameters of both sides, up to a pointer for results.
    fn flat_parameters(&self) -> Vec<Core> {
        let flat: Vec<_> = self.parameters.iter().flat_map(kind::flat).collect();
        if flat.len() > 16 { vec![Core::I32] } else { flat }
    }

    fn flat_result(&self) -> Vec<Core> {
        self.result.as_ref().map(kind::flat).unwrap_or_default()
    }

    /// An import of the function, under the name `$host`, and aliases of its types.
    fn import(&self, name: &str) -> String {
        let definitions = &self.names.definitions;
        let text = &self.text;
        let aliases: String = (0..self.names.count)
            .map(|name| format!("(alias export $host \"t{name}\" (type $t{name}))\n"))
            .collect();
        format!(
            "(import \"{name}\" (instance $host {definitions} (export \"swap\" (func {text}))))\n{aliases}"
        )
    }
}

/// What a stage does when it is called.
#[derive(Clone, Copy)]
enum Manner {
    /// Passes everything on.
    Honest,
    /// Returns something of its own.
    Inventive,
    /// Asks for something of its own, and passes on what it gets.
    Curious,
}

pub(crate) fn generate(entropy: &mut Unstructured<'_>) -> Result<Case> {
    let signature = Signature::generate(entropy)?;
    let mut text = String::from("(component\n");
    text.push_str(&signature.import(INTERFACE));
    let stages = entropy.int_in_range(1..=2)?;
    let honest = entropy.ratio(2, 5)?;
    let mut below = "$host".to_owned();
    for number in 0..stages {
        text.push_str(&stage(entropy, &signature, number, honest)?);
        text.push_str(&format!(
            "(instance $i{number} (instantiate $c{number} (with \"below\" (instance {below}))))\n"
        ));
        let types: String =
            (0..signature.names.count).map(|name| format!(" (export \"t{name}\" (type $t{name}))")).collect();
        text.push_str(&format!(
            "(instance $s{number} (export \"swap\" (func $i{number} \"swap\")){types})\n"
        ));
        below = format!("$s{number}");
    }
    text.push_str(&format!("(export \"swap\" (func {below} \"swap\"))\n)"));
    let wasm = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let several = |entropy: &mut Unstructured<'_>, kinds: &[WitType]| {
        kinds.iter().map(|kind| value::generate(entropy, kind)).collect::<Result<Vec<_>>>()
    };
    let calls = entropy.int_in_range(1..=8)?;
    Ok(Case {
        wasm,
        function: Some(signature.define()),
        answers: (0..calls)
            .filter_map(|_| signature.result.as_ref().map(|kind| value::generate(entropy, kind)))
            .collect::<Result<_>>()?,
        calls: (0..calls)
            .map(|_| Ok(("swap".to_owned(), several(entropy, &signature.parameters)?)))
            .collect::<Result<_>>()?,
        fuel: if entropy.arbitrary()? { std::num::NonZeroU64::new(10_000_000) } else { None },
    })
}

fn stage(entropy: &mut Unstructured<'_>, signature: &Signature, number: u32, honest: bool) -> Result<String> {
    let manner = match entropy.int_in_range(0..=3)? {
        _ if honest => Manner::Honest,
        0 => Manner::Honest,
        1 => Manner::Curious,
        _ => Manner::Inventive,
    };
    let encoding = *entropy.choose(&["utf8", "utf16", "latin1+utf16"])?;
    let options = format!("(memory $memory) (realloc $realloc) string-encoding={encoding}");
    let (parameters, result) = (signature.flat_parameters(), signature.flat_result());
    let types = |types: &[Core]| types.iter().map(|core| format!(" {}", core.text())).collect::<String>();
    let direct = result.len() <= 1;
    let mut lower = parameters.clone();
    if !direct {
        lower.push(Core::I32);
    }
    let lift_result = if direct { result } else { vec![Core::I32] };
    let lower_result = if direct { lift_result.clone() } else { vec![] };

    let mut body = String::new();
    if !matches!(manner, Manner::Inventive) {
        body.push_str("(call $swap");
        for (at, core) in parameters.iter().enumerate() {
            match manner {
                Manner::Curious => body.push_str(&constant(entropy, *core)?),
                _ => body.push_str(&format!(" (local.get {at})")),
            }
        }
        if !direct {
            body.push_str(&format!(" (i32.const {RESULTS})"));
        }
        body.push(')');
        if !direct {
            body.push_str(&format!("(i32.const {RESULTS})"));
        }
    } else {
        for core in &lift_result {
            body.push_str(&constant(entropy, *core)?);
        }
    }
    let (post_return, after) = match entropy.int_in_range(0..=9)? {
        0..=3 => ("(post-return $after)", "(global.set $calls (i32.const 7))"),
        4 if !honest => ("(post-return $after)", "unreachable"),
        _ => ("", ""),
    };
    let heap = heap(entropy, honest)?;
    let import = signature.import("below");
    let text = &signature.text;
    let (lower, lower_result) = (types(&lower), types(&lower_result));
    let (lift, lift_result) = (types(&parameters), types(&lift_result));
    Ok(format!(
        r#"(component $c{number}
            {import}
            (core module $heap {heap})
            (core instance $heap (instantiate $heap))
            (alias core export $heap "memory" (core memory $memory))
            (alias core export $heap "realloc" (core func $realloc))
            (core func $swap (canon lower (func $host "swap") {options}))
            (core module $m
                (import "below" "swap" (func $swap (param{lower}) (result{lower_result})))
                (global $calls (mut i32) (i32.const 0))
                (func (export "swap") (param{lift}) (result{lift_result}) {body})
                (func (export "after") (param{lift_result}) {after}))
            (core instance $m (instantiate $m (with "below" (instance (export "swap" (func $swap))))))
            (alias core export $m "after" (core func $after))
            (func (export "swap") {text}
                (canon lift (core func $m "swap") {options} {post_return})))
        "#
    ))
}

/// A memory with data that looks like values, and an allocator that may lie.
fn heap(entropy: &mut Unstructured<'_>, honest: bool) -> Result<String> {
    let mut data = String::new();
    for _ in 0..entropy.int_in_range(0..=256)? {
        let word = word(entropy)?;
        for byte in word.to_le_bytes() {
            data.push_str(&format!("\\{byte:02x}"));
        }
    }
    let answer = match entropy.int_in_range(0..=11)? {
        _ if honest => "(local.get $at)".to_owned(),
        0 => "unreachable".to_owned(),
        1 => "(i32.add (local.get $at) (i32.const 1))".to_owned(),
        2 => format!("(i32.const {})", word(entropy)?),
        3 => "(i32.const -8)".to_owned(),
        _ => "(local.get $at)".to_owned(),
    };
    Ok(format!(
        r#"(memory (export "memory") 2)
        (data (i32.const 0) "{data}")
        (global $top (mut i32) (i32.const {HEAP}))
        (func (export "realloc") (param $old i32) (param $was i32) (param $align i32) (param $size i32) (result i32)
            (local $at i32) (local $pages i32)
            (local.set $at (i32.and (i32.add (global.get $top) (i32.sub (local.get $align) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get $align))))
            (global.set $top (i32.add (local.get $at) (local.get $size)))
            (local.set $pages (i32.sub (i32.shr_u (i32.add (global.get $top) (i32.const 65535)) (i32.const 16))
                (memory.size)))
            (if (i32.gt_s (local.get $pages) (i32.const 0)) (then (drop (memory.grow (local.get $pages)))))
            (memory.copy (local.get $at) (local.get $old)
                (select (local.get $was) (local.get $size) (i32.lt_u (local.get $was) (local.get $size))))
            {answer})"#
    ))
}

/// A word that is small, a pointer into the data, text, or nothing sensible.
fn word(entropy: &mut Unstructured<'_>) -> Result<i32> {
    Ok(match entropy.int_in_range(0..=9)? {
        0..=2 => entropy.int_in_range(0..=3)?,
        3 | 4 => entropy.int_in_range(0..=300)? & !7,
        5 => entropy.int_in_range(0..=2_000)?,
        6 => i32::from_le_bytes(*entropy.choose(&[
            *b"text",
            *b"\xc3\xa9xy",
            *b"a\0b\0",
            *b"\xff\xd8\x00\xdc",
        ])?),
        7 => *entropy.choose(&[
            0x20_0000,
            131_072 - 4,
            131_072,
            -1,
            i32::MIN,
            i32::MAX,
            -8,
            0x8000_0001_u32 as i32,
        ])?,
        8 => 1 << entropy.int_in_range(0..=31)?,
        _ => entropy.arbitrary()?,
    })
}

fn constant(entropy: &mut Unstructured<'_>, core: Core) -> Result<String> {
    let low = word(entropy)?;
    Ok(match core {
        Core::I32 => format!(" (i32.const {low})"),
        Core::I64 if entropy.arbitrary()? => format!(" (i64.const {low})"),
        Core::I64 => format!(" (i64.const {})", entropy.arbitrary::<i64>()?),
        Core::F32 => format!(" (f32.reinterpret_i32 (i32.const {low}))"),
        Core::F64 => format!(" (f64.reinterpret_i64 (i64.const {}))", entropy.arbitrary::<i64>()?),
    })
}
