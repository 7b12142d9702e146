//! The contract that components are checked against says what the WIT package says.

use airssys_wasm_core::interface::{WORLD_EXPORTS, WORLD_IMPORTS, WitFunction, WitType};
use wit_parser::{Handle, Resolve, Type, TypeDefKind, WorldItem};

fn convert(resolve: &Resolve, kind: &Type) -> WitType {
    let inner = |kind: &Type| Box::new(convert(resolve, kind));
    let id = match kind {
        Type::Bool => return WitType::Bool,
        Type::U8 => return WitType::U8,
        Type::U32 => return WitType::U32,
        Type::U64 => return WitType::U64,
        Type::String => return WitType::String,
        Type::Id(id) => id,
        other => panic!("the package has come to use {other:?}: teach this test about it"),
    };
    match &resolve.types[*id].kind {
        TypeDefKind::Type(alias) => convert(resolve, alias),
        TypeDefKind::List(element) => WitType::List(inner(element)),
        TypeDefKind::Option(some) => WitType::Option(inner(some)),
        TypeDefKind::Tuple(tuple) => {
            WitType::Tuple(tuple.types.iter().map(|kind| convert(resolve, kind)).collect())
        }
        TypeDefKind::Record(record) => WitType::Record(
            record.fields.iter().map(|field| (field.name.clone(), convert(resolve, &field.ty))).collect(),
        ),
        TypeDefKind::Variant(variant) => WitType::Variant(
            variant
                .cases
                .iter()
                .map(|case| (case.name.clone(), case.ty.as_ref().map(|kind| convert(resolve, kind))))
                .collect(),
        ),
        TypeDefKind::Enum(cases) => WitType::Enum(cases.cases.iter().map(|case| case.name.clone()).collect()),
        TypeDefKind::Result(result) => {
            WitType::Result { ok: result.ok.as_ref().map(inner), err: result.err.as_ref().map(inner) }
        }
        TypeDefKind::Handle(Handle::Own(_)) => WitType::Own,
        other => panic!("the package has come to use {other:?}: teach this test about it"),
    }
}

/// Every function of the interfaces that `items` name, as `(interface, [(function, signature)])`, types left out.
fn functions<'a>(
    resolve: &Resolve,
    items: impl Iterator<Item = &'a WorldItem>,
) -> Vec<(String, Vec<(String, String)>)> {
    let interfaces = items.filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(*id),
        _ => None,
    });
    let mut found: Vec<_> = interfaces
        .map(|id| {
            let name = resolve.id_of(id).expect("an interface of a package has a name");
            let functions = resolve.interfaces[id].functions.values().map(|function| {
                let parameters = function
                    .params
                    .iter()
                    .map(|parameter| (parameter.name.clone(), convert(resolve, &parameter.ty)));
                let result = function.result.as_ref().map(|kind| convert(resolve, kind));
                let mut described = WitFunction::new(&function.name, [], result);
                described.parameters = parameters.collect();
                (function.name.clone(), described.signature())
            });
            (name, functions.collect::<Vec<_>>())
        })
        .filter(|(_, functions)| !functions.is_empty())
        .collect();
    found.sort();
    found.dedup();
    found
}

fn declared(contract: &[(&str, &[(&str, &str)])]) -> Vec<(String, Vec<(String, String)>)> {
    let owned = |(name, signature): &(&str, &str)| ((*name).to_owned(), (*signature).to_owned());
    let mut all: Vec<_> = contract
        .iter()
        .map(|(name, functions)| ((*name).to_owned(), functions.iter().map(owned).collect()))
        .collect();
    all.sort();
    all
}

#[test]
fn the_contract_and_the_package_are_the_same() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
    let worlds: Vec<_> = resolve.packages[package].worlds.values().map(|id| &resolve.worlds[*id]).collect();
    assert!(worlds.len() >= 4, "a world for each optional export");
    let exports = functions(&resolve, worlds.iter().flat_map(|world| world.exports.values()));
    assert_eq!(exports, declared(WORLD_EXPORTS));
    let imports = functions(&resolve, worlds.iter().flat_map(|world| world.imports.values()));
    assert_eq!(imports, declared(WORLD_IMPORTS));
}
