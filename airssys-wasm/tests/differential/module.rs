//! Generated core modules: control flow, arithmetic, memories and tables, with whatever traps they meet.

use std::num::NonZeroU64;

use airssys_wasm::core::runtime::Value;
use arbitrary::{Result, Unstructured};
use wasm_encoder::{
    CanonicalOption, ComponentBuilder, ComponentExportKind, ComponentValType, ExportKind, ModuleArg,
    PrimitiveValType,
};
use wasm_smith::{Config, Module};
use wasmparser::{ExternalKind, FuncType, Parser, Payload, TypeRef, ValType};

use crate::case::Case;

/// Few instructions are needed for most of what can differ; a loop that never ends uses this up.
const FUEL: u64 = 50_000;

fn config(entropy: &mut Unstructured<'_>) -> Result<Config> {
    Ok(Config {
        bulk_memory_enabled: true,
        canonicalize_nans: true,
        exceptions_enabled: false,
        export_everything: true,
        gc_enabled: false,
        max_imports: 0,
        max_funcs: 8,
        max_globals: 6,
        max_instructions: entropy.int_in_range(20..=150)?,
        max_memories: 2,
        max_memory32_bytes: 1 << 20,
        max_table_elements: 1_000,
        max_tables: 2,
        max_types: 10,
        memory64_enabled: false,
        memory_max_size_required: entropy.arbitrary()?,
        min_funcs: 1,
        // Most modules with them have an `externref` somewhere, and are refused.
        reference_types_enabled: entropy.ratio(1, 5)?,
        relaxed_simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        ..Config::default()
    })
}

pub(crate) fn generate(entropy: &mut Unstructured<'_>) -> Result<Case> {
    let module = Module::new(config(entropy)?, entropy)?.to_bytes();
    let shape = Shape::of(&module);
    let mut component = ComponentBuilder::default();
    let module = component.core_module_raw(None, &module);
    let instance = component.core_instantiate(None, module, []);
    let mut calls = Vec::new();
    for (number, (name, signature)) in shape.functions.iter().enumerate() {
        let function = component.core_alias_export(None, instance, name, ExportKind::Func);
        let parameters: Vec<_> = signature.params().iter().map(|kind| primitive(*kind)).collect();
        let (index, mut kind) = component.type_function(None);
        let names: Vec<_> = (0..parameters.len()).map(|at| format!("p{at}")).collect();
        kind.params(names.iter().map(String::as_str).zip(parameters.iter().copied()));
        kind.result(signature.results().first().map(|kind| ComponentValType::Primitive(primitive(*kind))));
        let lifted = component.lift_func(None, function, index, [] as [CanonicalOption; 0]);
        component.export(format!("f{number}"), ComponentExportKind::Func, lifted, None);
        for _ in 0..entropy.int_in_range(1..=3)? {
            let arguments =
                signature.params().iter().map(|kind| argument(entropy, *kind)).collect::<Result<_>>()?;
            calls.push((format!("f{number}"), arguments));
        }
    }
    shuffle(entropy, &mut calls)?;
    for (number, memory) in shape.memories.iter().enumerate() {
        let digest = component.core_module_raw(None, &digest(memory));
        let digest = component.core_instantiate(None, digest, [("m", ModuleArg::Instance(instance))]);
        let function = component.core_alias_export(None, digest, "digest", ExportKind::Func);
        let (index, mut kind) = component.type_function(None);
        kind.params([] as [(&str, ComponentValType); 0]);
        kind.result(Some(ComponentValType::Primitive(PrimitiveValType::U64)));
        let lifted = component.lift_func(None, function, index, [] as [CanonicalOption; 0]);
        component.export(format!("digest{number}"), ComponentExportKind::Func, lifted, None);
        calls.insert(calls.len() / 2, (format!("digest{number}"), Vec::new()));
        calls.push((format!("digest{number}"), Vec::new()));
    }
    Ok(Case {
        wasm: component.finish(),
        function: None,
        answers: Vec::new(),
        calls,
        fuel: NonZeroU64::new(FUEL),
    })
}

/// What a module exports that can be used through a component.
struct Shape {
    functions: Vec<(String, FuncType)>,
    memories: Vec<String>,
}

impl Shape {
    fn of(module: &[u8]) -> Self {
        let (mut types, mut functions) = (Vec::new(), Vec::new());
        let mut shape = Self { functions: Vec::new(), memories: Vec::new() };
        for payload in Parser::new(0).parse_all(module) {
            match payload.expect("the generator makes valid modules") {
                Payload::TypeSection(section) => {
                    types.extend(
                        section.into_iter_err_on_gc_types().map(|kind| kind.expect("there is no such type")),
                    );
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        if let TypeRef::Func(kind) = import.expect("it is valid").ty {
                            functions.push(kind);
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    functions.extend(section.into_iter().map(|kind| kind.expect("it is valid")));
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.expect("it is valid");
                        match export.kind {
                            ExternalKind::Func => {
                                let kind = &types[functions[export.index as usize] as usize];
                                if liftable(kind) {
                                    shape.functions.push((export.name.to_owned(), kind.clone()));
                                }
                            }
                            ExternalKind::Memory => shape.memories.push(export.name.to_owned()),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        shape
    }
}

fn liftable(kind: &FuncType) -> bool {
    let simple = |kind: &ValType| matches!(kind, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64);
    kind.params().len() <= 16
        && kind.results().len() <= 1
        && kind.params().iter().chain(kind.results()).all(simple)
}

fn primitive(kind: ValType) -> PrimitiveValType {
    match kind {
        ValType::I32 => PrimitiveValType::U32,
        ValType::I64 => PrimitiveValType::U64,
        ValType::F32 => PrimitiveValType::F32,
        ValType::F64 => PrimitiveValType::F64,
        other => unreachable!("{other} cannot be lifted"),
    }
}

fn argument(entropy: &mut Unstructured<'_>, kind: ValType) -> Result<Value> {
    let small = entropy.arbitrary::<bool>()?;
    Ok(match kind {
        ValType::I32 if small => Value::U32(entropy.int_in_range(0..=16)?),
        ValType::I32 => Value::U32(entropy.arbitrary()?),
        ValType::I64 if small => Value::U64(entropy.int_in_range(0..=16)?),
        ValType::I64 => Value::U64(entropy.arbitrary()?),
        ValType::F32 => Value::F32(entropy.arbitrary()?),
        ValType::F64 => Value::F64(entropy.arbitrary()?),
        other => unreachable!("{other} cannot be lifted"),
    })
}

fn shuffle<T>(entropy: &mut Unstructured<'_>, list: &mut [T]) -> Result<()> {
    for at in (1..list.len()).rev() {
        list.swap(at, entropy.int_in_range(0..=at)?);
    }
    Ok(())
}

/// A module that reads about a thousand words of a memory, and adds them up so that their places matter.
fn digest(memory: &str) -> Vec<u8> {
    let name: String = memory.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    wat::parse_str(format!(
        r#"(module (import "m" "{name}" (memory 0))
            (func (export "digest") (result i64) (local $at i32) (local $end i32) (local $sum i64)
                (local.set $end (i32.mul (memory.size) (i32.const 65536)))
                (block $done (loop $next
                    (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
                    (local.set $sum (i64.add (i64.rotl (local.get $sum) (i64.const 7)) (i64.load (local.get $at))))
                    (local.set $at (i32.add (local.get $at) (i32.add (i32.const 64) (i32.shr_u (local.get $end) (i32.const 10)))))
                    (br $next)))
                (local.get $sum)))"#
    ))
    .unwrap()
}
