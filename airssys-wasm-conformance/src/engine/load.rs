//! Loading: what is refused, and what an engine knows of what it loaded.

use airssys_wasm_core::error::{Detail, ErrorKind, LoadFault};
use airssys_wasm_core::interface::{
    COMPONENT, LOGGING, MESSAGING, STORAGE, WORLD_EXPORTS, WORLD_IMPORTS, WitFunction, check_exports,
};
use airssys_wasm_core::runtime::{CodeOrigin, LoadOptions};

use super::host::lookup;
use super::{EngineBench, failed};
use crate::guests::Guest;
use crate::random::Random;
use crate::runner::{contracts, ensure, ensure_eq, fail};

/// The places between the sections of a component: a binary that is cut there is a shorter one, and not a cut one.
fn boundaries(wasm: &[u8]) -> Vec<usize> {
    let mut places = vec![8];
    let mut at = 8;
    while at < wasm.len() {
        let (mut size, mut shift) = (0_usize, 0);
        loop {
            at += 1;
            let byte = wasm[at];
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        at += 1 + size;
        places.push(at);
    }
    places
}

contracts! { EngineBench;
    "engine.load" {
        /// What is not a component is refused, and the fault says in which way: not WebAssembly, a core module, cut
        /// short, or not valid.
        fn rejects_invalid(t) {
            let load = |wasm: Vec<u8>| async move { t.engine().load(&wasm, LoadOptions::default()).await };
            for text in ["hello", "\x7fELF\x02\x01\x01\0\0\0\0\0", "(component)", "\0asn\x0d\0\x01\0"] {
                let result = load(text.into()).await;
                failed(result, Detail::Load(LoadFault::NotWebAssembly), &format!("the bytes {text:?}"))?;
            }
            let module = wat::parse_str("(module (memory 1) (func (export \"f\")))")?;
            failed(load(module).await, Detail::Load(LoadFault::CoreModule), "a core module")?;
            let invalid = wat::parse_str(
                "(component (core module (func (result i32) (i64.const 1))))",
            )?;
            failed(load(invalid).await, Detail::Load(LoadFault::Invalid), "a function of the wrong type")?;
            let mut newer = wat::parse_str("(component)")?;
            newer[4] = 0x7f;
            failed(load(newer).await, Detail::Load(LoadFault::Invalid), "an unknown version of the format")?;
            Ok(())
        }

        /// A component that is cut anywhere is refused as cut short.
        fn rejects_truncated(t) {
            let whole = Guest::Greeter.bytes()?;
            let boundaries = boundaries(&whole);
            ensure_eq!(boundaries.last(), Some(&whole.len()), "where the last section ends");
            let step = whole.len() / 60;
            let cuts = (4..8).chain((9..whole.len()).step_by(step)).chain([whole.len() - 1]);
            for cut in cuts.filter(|cut| !boundaries.contains(cut)) {
                let result = t.engine().load(&whole[..cut], LoadOptions::default()).await;
                failed(result, Detail::Load(LoadFault::Truncated), &format!("{cut} of {} bytes", whole.len()))?;
            }
            for empty in [&b""[..], b"\0", b"\0as"] {
                let Err(error) = t.engine().load(empty, LoadOptions::default()).await else {
                    fail!("{empty:?} was loaded")
                };
                ensure_eq!(error.kind(), ErrorKind::ComponentLoadFailed, "the kind of error for {empty:?}");
            }
            Ok(())
        }

        /// Whatever bytes it is given, loading returns: garbage, and components with bytes changed at random.
        fn survives_garbage(t) {
            let seed = Random::seed();
            let mut random = Random::from_seed(seed);
            let whole = Guest::Greeter.bytes()?;
            let mut refused = 0;
            for round in 0..90 {
                let wasm = if round % 3 == 0 {
                    let length = random.below(400);
                    [b"\0asm\x0d\0\x01\0".as_slice(), &random.bytes(length)].concat()
                } else {
                    let mut wasm = whole.to_vec();
                    for _ in 0..=random.below(3) {
                        let place = 8 + random.below(wasm.len() - 8);
                        wasm[place] = random.number().to_le_bytes()[0];
                    }
                    wasm
                };
                if let Err(error) = t.engine().load(&wasm, LoadOptions::default()).await {
                    let is_typed = matches!(error.detail(), Some(Detail::Load(_)));
                    ensure!(is_typed, "round {round}, seed {seed}: the error has no load fault: {error:?}");
                    refused += 1;
                }
            }
            ensure!(refused > 30, "only {refused} of 90 pieces of garbage were refused, seed {seed}");
            Ok(())
        }

        /// Imports that nothing provides are refused, each of them named; an import of ours with another type, too.
        fn unknown_import_named(t) {
            let text = r#"(component
                (import "acme:missing/thing@1.0.0" (instance (export "frobnicate" (func))))
                (import "acme:absent/other" (instance (export "twiddle" (func (param "x" u32)))))
                (import "airssys:core/logging@0.1.0" (instance (export "enabled" (func (param "level" u32)))))
            )"#;
            let wasm = wat::parse_str(text.replace("enabled", "no-such-function"))?;
            let result = t.engine().load(&wasm, LoadOptions::default()).await;
            let error = failed(result, Detail::Load(LoadFault::UnknownImports), "three unknown imports")?;
            let said = format!("{error} {}", error.next_step().unwrap_or_default());
            for name in ["acme:missing/thing@1.0.0", "acme:absent/other", "no-such-function"] {
                ensure!(said.contains(name), "`{name}` is not named: {said}");
            }

            let wasm = wat::parse_str(
                r#"(component (import "airssys:core/logging@0.1.0" (instance
                    (export "log" (func (param "message" string))))))"#,
            )?;
            let result = t.engine().load(&wasm, LoadOptions::default()).await;
            let error = failed(result, Detail::Load(LoadFault::ImportType), "an import of ours with another type")?;
            ensure!(error.to_string().contains("log"), "the function is not named: {error}");
            Ok(())
        }

        /// The functions of the embedder can be imported when they were declared, and only with the declared types.
        fn extensions(t) {
            let values = Guest::Values.bytes()?;
            let result = t.engine().load(&values, LoadOptions::default()).await;
            let error = failed(result, Detail::Load(LoadFault::UnknownImports), "an interface nobody declared")?;
            ensure!(error.to_string().contains("airssys:fixtures/lookup@0.1.0"), "the interface is not named: {error}");
            let declared = LoadOptions { extensions: lookup().to_vec(), ..LoadOptions::default() };
            t.engine().load(&values, declared).await?;
            let mut half = lookup().to_vec();
            half.pop();
            let result = t.engine().load(&values, LoadOptions { extensions: half, ..LoadOptions::default() }).await;
            failed(result, Detail::Load(LoadFault::UnknownImports), "one of two functions was declared")?;
            let mut other = lookup().to_vec();
            other[1].function.result = None;
            let result = t.engine().load(&values, LoadOptions { extensions: other, ..LoadOptions::default() }).await;
            failed(result, Detail::Load(LoadFault::ImportType), "a function declared with another type")?;
            Ok(())
        }

        /// The interface of a component names every import and export, with the types of our own package.
        fn interface_is_complete(t) {
            // One guest imports what a host offers beside its engine.
            for guest in Guest::ALL.into_iter().filter(|guest| *guest != Guest::WasiProposals) {
                let extensions = if guest == Guest::Values { lookup().to_vec() } else { Vec::new() };
                let component =
                    t.engine().load(&guest.bytes()?, LoadOptions { extensions, ..LoadOptions::default() }).await?;
                ensure_eq!(component.origin(), CodeOrigin::Compiled, "the origin of the code of {guest}");
                let interface = component.interface();
                if let Err(error) = check_exports(interface) {
                    fail!("{guest}: {error}");
                }
                let is_missing = |name: &str| interface.export(COMPONENT).is_none_or(|it| it.function(name).is_none());
                for name in ["init", "execute", "shutdown", "metadata"] {
                    ensure!(!is_missing(name), "{guest}: `{name}` is not among the exports");
                }
                let ours = [LOGGING, MESSAGING, STORAGE];
                for import in interface.imports.iter().filter(|import| ours.contains(&import.name.as_str())) {
                    let known = WORLD_IMPORTS.iter().find(|(name, _)| *name == import.name);
                    let functions = known.map_or(&[][..], |(_, functions)| *functions);
                    for function in &import.functions {
                        let expected = functions.iter().find(|(name, _)| *name == function.name).map(|(_, text)| *text);
                        let found = function.signature();
                        ensure_eq!(Some(found.as_str()), expected, "{guest}: the import {}#{}", import.name, function.name);
                    }
                }
            }
            ensure_eq!(WORLD_EXPORTS[0].0, COMPONENT, "the first of our exports");
            let values = LoadOptions { extensions: lookup().to_vec(), ..LoadOptions::default() };
            let values = t.engine().load(&Guest::Values.bytes()?, values).await?;
            let Some(functions) = values.interface().export("airssys:fixtures/values@0.1.0") else {
                fail!("the values guest exports only {:?}", values.interface().exports.iter().map(|it| &it.name).collect::<Vec<_>>())
            };
            let point = "record{x: f64, y: f64}";
            let line = format!("record{{from: {point}, to: {point}, label: string}}");
            let day = "enum{monday, tuesday, wednesday, thursday, friday, saturday, sunday}";
            let shape = format!(
                "variant{{nothing, radius(f32), count(u64), text(string), line({line}), outline(list<{point}>), day({day})}}"
            );
            let expected = [
                ("nothing", "func()".to_owned()),
                ("echo-char", "func(value: char) -> char".to_owned()),
                ("echo-bytes", "func(value: list<u8>) -> list<u8>".to_owned()),
                ("echo-variant", format!("func(value: {shape}) -> {shape}")),
                ("echo-permissions", "func(value: flags{read, write, execute}) -> flags{read, write, execute}".to_owned()),
                ("echo-nested-option", "func(value: option<option<bool>>) -> option<option<bool>>".to_owned()),
                ("echo-result-ok", "func(value: result<string>) -> result<string>".to_owned()),
                ("echo-result-error", "func(value: result<_, enum{small, large}>) -> result<_, enum{small, large}>".to_owned()),
                ("echo-result-empty", "func(value: result) -> result".to_owned()),
                ("[constructor]accumulator", "func(start: s64) -> own".to_owned()),
                ("[method]accumulator.add", "func(self: borrow, amount: s64) -> s64".to_owned()),
                ("[static]accumulator.join", "func(left: borrow, right: borrow) -> own".to_owned()),
                ("consume", "func(accumulator: own) -> s64".to_owned()),
                ("living", "func() -> u32".to_owned()),
            ];
            for (name, signature) in expected {
                let found = functions.function(name).map(WitFunction::signature);
                ensure_eq!(found, Some(signature), "the type of `{name}`");
            }
            ensure_eq!(functions.functions.len(), 49, "functions of the values guest");
            let lookups = values.interface().import("airssys:fixtures/lookup@0.1.0");
            let found: Vec<_> = lookups.into_iter().flat_map(|it| &it.functions).map(ToString::to_string).collect();
            let expected = ["find: func(key: string) -> result<string, string>", "add: func(a: s32, b: s32) -> s32"];
            ensure_eq!(found, expected, "the functions it imports from its embedder");
            Ok(())
        }
    }

    "engine.link" {
        /// A component that imports WASI loads, and is granted nothing: no environment, no directory.
        fn nothing_granted(t) {
            let mut instance = t.start(Guest::WasiClock).await?;
            for (question, nothing) in [("environment", ""), ("arguments", ""), ("directories", "0")] {
                let answer = instance.say(question).await?;
                ensure_eq!(String::from_utf8_lossy(&answer), nothing, "what {question} the guest sees");
            }
            let answer = instance.say("clock").await?;
            let seconds: Option<u64> = str::from_utf8(&answer).ok().and_then(|text| text.parse().ok());
            ensure!(seconds.is_some(), "the clock of the guest shows {:?}", String::from_utf8_lossy(&answer));
            Ok(())
        }
    }

    "engine.profile" {
        /// What an engine says of itself is true: it has a name and a version, and every interface that it says
        /// components may import can be imported. Each limit it claims has contracts of its own.
        fn is_true(t) {
            let profile = t.profile();
            ensure!(!profile.name.is_empty() && !profile.version.is_empty(), "name or version is empty");
            ensure_eq!(&t.engine().profile(), profile, "the profile, asked for again");
            for (ours, _) in WORLD_IMPORTS {
                ensure!(profile.imports.iter().any(|name| name == ours), "`{ours}` is not among the imports");
            }
            ensure!(profile.imports.iter().any(|name| name.starts_with("wasi:")), "WASI is not among the imports");
            for name in &profile.imports {
                let wasm = wat::parse_str(format!("(component (import \"{name}\" (instance)))"))?;
                if let Err(error) = t.engine().load(&wasm, LoadOptions::default()).await {
                    fail!("the profile says that `{name}` may be imported: {error}");
                }
            }
            Ok(())
        }
    }
}
