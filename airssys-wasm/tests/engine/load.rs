//! Loading: what is refused, and what is known of what is not.

use std::error::Error;
use std::time::Duration;

use crate::support::*;
use airssys_wasm::core::capability::CapabilityKind;
use airssys_wasm::core::component::{ByteSize, ResourceLimits};
use airssys_wasm::core::error::{Detail, ErrorKind, LoadFault, WasmError};
use airssys_wasm::core::interface::{
    COMPONENT, LOGGING, MESSAGING, REPLIES, STORAGE, WORLD_EXPORTS, WORLD_IMPORTS, WitFunction, WitType,
    check_exports,
};
use airssys_wasm::core::runtime::{CodeOrigin, HostFunctionDefinition, LoadOptions, Value};

async fn refusal(wasm: &[u8]) -> WasmError {
    refusal_with(wasm, LoadOptions::default()).await
}

async fn refusal_with(wasm: &[u8], options: LoadOptions) -> WasmError {
    engine().load(wasm, options).await.map(|_| ()).unwrap_err()
}

#[track_caller]
fn expect_fault(error: &WasmError, fault: LoadFault) {
    expect(error, ErrorKind::ComponentLoadFailed, Some(Detail::Load(fault)));
}

fn fact(error: &WasmError, name: &str) -> String {
    error.context().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn what_is_no_component_is_told_apart() {
    expect_fault(&refusal(b"").await, LoadFault::NotWebAssembly);
    expect_fault(&refusal(b"hello").await, LoadFault::NotWebAssembly);
    let text = refusal(b"(component)").await;
    expect_fault(&text, LoadFault::NotWebAssembly);
    assert!(text.next_step().unwrap().contains("wasm-tools parse"));
    let module = refusal(&wat("(module)")).await;
    expect_fault(&module, LoadFault::CoreModule);
    assert!(module.next_step().unwrap().contains("wasm32-wasip2"));
}

#[tokio::test]
async fn a_binary_that_is_cut_anywhere_is_refused() {
    let engine = engine();
    let whole = guest("greeter");
    for length in (0..whole.len()).step_by(whole.len() / 40) {
        let Err(error) = engine.load(&whole[..length], LoadOptions::default()).await else {
            assert_eq!(length, 8, "a component cut to {length} bytes was loaded");
            continue;
        };
        let fault = match length {
            0 => LoadFault::NotWebAssembly,
            _ => LoadFault::Truncated,
        };
        expect_fault(&error, fault);
    }
}

#[tokio::test]
async fn bytes_that_are_wrong_are_refused_and_nothing_panics() {
    let engine = engine();
    let whole = guest("greeter");
    let mut refused = 0;
    for position in (8..whole.len()).step_by(97) {
        let mut wasm = whole.clone();
        wasm[position] ^= 0x55;
        if let Err(error) = engine.load(&wasm, LoadOptions::default()).await {
            refused += 1;
            assert_eq!(error.kind(), ErrorKind::ComponentLoadFailed, "{}", explain(&error));
        }
    }
    assert!(refused > 10, "only {refused} damaged binaries were refused");
    let invalid = refusal(&wat("(component (core module (func (export \"f\") i32.const 1)))")).await;
    expect_fault(&invalid, LoadFault::Invalid);
    assert!(
        invalid.source().unwrap().to_string().contains("values remaining on stack"),
        "{}",
        explain(&invalid)
    );
}

#[tokio::test]
async fn proposals_that_are_off_are_refused() {
    for (what, core) in [
        ("memory64", "(memory i64 1)"),
        ("threads", "(memory 1 1 shared)"),
        ("tail calls", "(func $f return_call $f)"),
        ("relaxed simd", "(func (param v128) (result v128) local.get 0 local.get 0 i8x16.relaxed_swizzle)"),
        ("garbage collection", "(type (struct (field i32)))"),
        ("references to the host", "(func (param externref))"),
        ("exceptions", "(tag)"),
        ("custom page sizes", "(memory 1 (pagesize 1))"),
    ] {
        let error = refusal(&wat(&format!("(component (core module {core}))"))).await;
        assert_eq!(error.detail(), Some(Detail::Load(LoadFault::Invalid)), "{what}: {}", explain(&error));
    }
    let streams = wat(r#"(component (import "f" (func (param "s" (stream u8)))))"#);
    expect_fault(&refusal(&streams).await, LoadFault::Invalid);
}

#[tokio::test]
async fn every_missing_import_is_named() {
    let error = refusal(&wat(
        r#"(component
            (import "acme:geo/lookup@1.0.0" (instance (export "find" (func)) (export "count" (func (result u32)))))
            (import "airssys:core/logging@0.1.0" (instance (export "shout" (func))))
            (import "airssys:core/storage@0.2.0" (instance (export "get" (func))))
            (import "wasi:cli/environment@0.2.0" (instance (export "get-everything" (func))))
            (import "plain" (func))
            (import "a-module" (core module))
        )"#,
    ))
    .await;
    expect_fault(&error, LoadFault::UnknownImports);
    assert_eq!(
        fact(&error, "missing"),
        "a-module (a core module), plain, acme:geo/lookup@1.0.0#find, acme:geo/lookup@1.0.0#count, \
         airssys:core/logging@0.1.0#shout, airssys:core/storage@0.2.0#get, \
         wasi:cli/environment@0.2.0#get-everything"
    );
    for offered in [LOGGING, MESSAGING, STORAGE, "wasi:io/streams@0.2"] {
        assert!(fact(&error, "offered").contains(offered), "{offered} is not in the list");
    }

    let misspelt = r#"(component (import "airssys:core/mesaging@0.1.0" (instance (export "send" (func)))))"#;
    let error = refusal(&wat(misspelt)).await;
    assert!(fact(&error, "hint").contains("airssys:core/messaging@0.1.0#send"), "{}", fact(&error, "hint"));
    let newer = r#"(component (import "airssys:core/logging@0.2.0" (instance (export "enabled" (func)))))"#;
    let error = refusal(&wat(newer)).await;
    assert!(
        fact(&error, "hint").contains("is offered as `airssys:core/logging@0.1.0`"),
        "{}",
        fact(&error, "hint")
    );
}

#[tokio::test]
async fn an_import_of_another_type_is_shown_with_both() {
    let error = refusal(&wat(r#"(component (import "airssys:core/logging@0.1.0" (instance
            (export "enabled" (func (param "level" u32) (result bool)))
        )))"#))
    .await;
    expect_fault(&error, LoadFault::ImportType);
    assert_eq!(fact(&error, "import"), "airssys:core/logging@0.1.0#enabled");
    assert_eq!(fact(&error, "expected"), "func(level: enum{trace, debug, info, warn, error}) -> bool");
    assert_eq!(fact(&error, "found"), "func(level: u32) -> bool");

    let wasi = r#"(component (import "wasi:random/random@0.2.0" (instance (export "get-random-u64" (func (result u8))))))"#;
    expect_fault(&refusal(&wat(wasi)).await, LoadFault::ImportType);
}

#[tokio::test]
async fn all_of_wasi_links() {
    let names: Vec<_> = engine().profile().imports;
    assert!(names.iter().filter(|name| name.starts_with("wasi:")).count() > 20);
    for (interface, function) in [
        ("wasi:cli/environment@0.2.0", r#"(export "get-arguments" (func (result (list string))))"#),
        ("wasi:clocks/wall-clock@0.2.3", ""),
        ("wasi:random/insecure-seed@0.2.9", r#"(export "insecure-seed" (func (result (tuple u64 u64))))"#),
        ("wasi:random/random@0.2.12", r#"(export "get-random-u64" (func (result u64)))"#),
    ] {
        load(&engine(), &wat(&format!(r#"(component (import "{interface}" (instance {function})))"#))).await;
    }
}

#[tokio::test]
async fn the_interface_is_known_with_types_and_rights() {
    let loaded = load(&engine(), &guest("relay")).await;
    let interface = loaded.interface();
    check_exports(interface).unwrap();
    let exported = |name: &str| interface.export(name).unwrap();
    assert_eq!(exported(COMPONENT).functions.len(), 4);
    for (name, functions) in WORLD_EXPORTS.iter().filter(|(name, _)| [COMPONENT, REPLIES].contains(name)) {
        for (function, signature) in *functions {
            assert_eq!(exported(name).function(function).unwrap().signature(), *signature);
        }
    }
    for instance in interface.imports.iter().filter(|instance| instance.name.starts_with("airssys:core/")) {
        let known = WORLD_IMPORTS.iter().find(|(name, _)| *name == instance.name);
        for function in &instance.functions {
            let (_, functions) = known.expect("imports are ours");
            let (_, signature) = functions.iter().find(|(name, _)| *name == function.name).unwrap();
            assert_eq!(function.signature(), *signature);
        }
    }
    let send = interface.import(MESSAGING).unwrap().function("send").unwrap();
    assert_eq!(send.requires, Some(CapabilityKind::Messaging));
    assert_eq!(
        interface.import(STORAGE).unwrap().function("get").unwrap().requires,
        Some(CapabilityKind::Storage)
    );
    assert_eq!(loaded.origin(), CodeOrigin::Compiled);
}

#[tokio::test]
async fn a_component_without_our_exports_can_be_loaded_and_called() {
    let wasm = running(r#"(func (export "run"))"#);
    let loaded = load(&engine(), &wasm).await;
    assert_eq!(
        check_exports(loaded.interface()).unwrap_err().detail(),
        Some(Detail::Load(LoadFault::MissingExport))
    );
    let mut instance = instance(&wasm).await;
    assert_eq!(run(&mut *instance, "run").await.unwrap(), None);
    expect(&execute(&mut *instance, "x").await.unwrap_err(), ErrorKind::ComponentNotFound, None);
    expect(&instance.metadata(budget()).await.unwrap_err(), ErrorKind::ComponentNotFound, None);
    expect(&instance.shutdown(budget()).await.unwrap_err(), ErrorKind::ComponentNotFound, None);
    let unknown = run(&mut *instance, "walk").await.unwrap_err();
    expect(&unknown, ErrorKind::ComponentNotFound, None);
    assert!(unknown.to_string().contains("exported: run"), "{unknown}");
    assert_eq!(run(&mut *instance, "run").await.unwrap(), None);
}

#[tokio::test]
async fn types_that_unfold_without_end_are_refused() {
    let mut types = String::from("(type $t0 (tuple u8 u8))");
    for depth in 1..20 {
        types.push_str(&format!("(type $t{depth} (tuple $t{} $t{}))", depth - 1, depth - 1));
    }
    let functions: String = (0..10).map(|n| format!(r#"(export "f{n}" (func (param "x" $t18)))"#)).collect();
    let error =
        refusal(&wat(&format!("(component {types} (import \"a:b/c\" (instance {functions})))"))).await;
    assert_eq!(error.kind(), ErrorKind::ComponentLoadFailed, "{}", explain(&error));
}

#[tokio::test]
async fn extensions_answer_imports_of_their_type_only() {
    let find = |result: WitType| HostFunctionDefinition {
        interface: "acme:geo/lookup@1.0.0".into(),
        function: WitFunction::new("find", [("key", WitType::String)], Some(result)),
        capability: Some("acme:geo".into()),
    };
    let wasm = wat(r#"(component (import "acme:geo/lookup@1.0.0" (instance
            (export "find" (func (param "key" string) (result u32)))
        )))"#);
    expect_fault(&refusal(&wasm).await, LoadFault::UnknownImports);
    let options = |kind| LoadOptions { extensions: vec![find(kind)], ..LoadOptions::default() };
    let loaded = engine().load(&wasm, options(WitType::U32)).await.unwrap();
    let function = &loaded.interface().imports[0].functions[0];
    assert_eq!(function.requires, Some(CapabilityKind::Custom));
    let error = refusal_with(&wasm, options(WitType::S32)).await;
    expect_fault(&error, LoadFault::ImportType);
    assert_eq!(fact(&error, "expected"), "func(key: string) -> s32");

    let missing =
        loaded.instantiate(&ResourceLimits::default(), Services::new(Mood::Well).host(), budget()).await;
    expect(&missing.map(|_| ()).unwrap_err(), ErrorKind::InvalidConfiguration, None);
}

#[tokio::test]
async fn extensions_that_cannot_be_are_refused() {
    let define = |interface: &str, kind: WitType| HostFunctionDefinition {
        interface: interface.into(),
        function: WitFunction::new("f", [("x", WitType::option(kind))], None),
        capability: None,
    };
    for extensions in [
        vec![define("a:b/c", WitType::Own)],
        vec![define("a:b/c", WitType::list(WitType::Borrow))],
        vec![define("a:b/c", WitType::Unsupported("stream"))],
        vec![define("a:b/c", WitType::U8), define("a:b/c", WitType::U16)],
        vec![HostFunctionDefinition {
            interface: LOGGING.into(),
            function: WitFunction::new("log", [], None),
            capability: None,
        }],
    ] {
        let error =
            refusal_with(&wat("(component)"), LoadOptions { extensions, ..LoadOptions::default() }).await;
        expect(&error, ErrorKind::InvalidConfiguration, None);
    }
}

#[tokio::test]
async fn large_components_fit() {
    let wasm = large(120);
    let mut instance = instance(&wasm).await;
    assert_eq!(instance.usage().memory_bytes, 120 << 16);
    assert_eq!(instance.usage().table_elements, 1_200);
    assert_eq!(run(&mut *instance, "run").await.unwrap(), Some(Value::U32(119)));
}

#[test]
fn settings_out_of_range_are_refused() {
    let check = |setup: Setup| {
        let error = setup.engine().map(|_| ()).unwrap_err();
        expect(&error, ErrorKind::InvalidConfiguration, None);
        assert!(error.next_step().is_some());
    };
    for max_stack in [ByteSize::bytes(1), ByteSize::MAX] {
        check(Setup { max_stack: Some(max_stack), ..Setup::default() });
    }
    for tick in [Duration::ZERO, Duration::from_secs(9)] {
        check(Setup { tick: Some(tick), ..Setup::default() });
    }
}
