//! Types that tests make up, as tables of a component. The fuzz target of the canonical ABI compiles this file, too.

use wasmparser::Validator;
use wasmtime_environ::component::{
    CanonicalAbiInfo, Component, ComponentTypes, ComponentTypesBuilder, InterfaceType, RecordField, TypeEnum,
    TypeFlags, TypeList, TypeOption, TypeRecord, TypeResourceTableIndex, TypeResult, TypeTuple,
    TypeTupleIndex, TypeVariant, VariantInfo,
};

/// A type, before it is one of a component.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Bool,
    S8,
    U8,
    S16,
    U16,
    S32,
    U32,
    S64,
    U64,
    F32,
    F64,
    Char,
    String,
    Own,
    Borrow,
    Enum(usize),
    Flags(usize),
    List(Box<Kind>),
    Record(Vec<Kind>),
    Tuple(Vec<Kind>),
    Variant(Vec<Option<Kind>>),
    Option(Box<Kind>),
    Result(Option<Box<Kind>>, Option<Box<Kind>>),
}

/// What fields, cases and flags are called.
pub(crate) fn name(position: usize) -> String {
    format!("n{position}")
}

/// The type tables of a component that has a tuple of these kinds.
pub(crate) fn tuple_of(kinds: &[Kind]) -> (ComponentTypes, TypeTupleIndex) {
    let mut types = ComponentTypesBuilder::new(&Validator::new());
    let tuple = Kind::Tuple(kinds.to_vec());
    let InterfaceType::Tuple(index) = add(&tuple, &mut types) else { unreachable!("it is a tuple") };
    (types.finish(&Component::default()).0, index)
}

fn add(kind: &Kind, types: &mut ComponentTypesBuilder) -> InterfaceType {
    let mut all = |kinds: &[Kind]| kinds.iter().map(|kind| add(kind, types)).collect::<Vec<_>>();
    match kind {
        Kind::Bool => InterfaceType::Bool,
        Kind::S8 => InterfaceType::S8,
        Kind::U8 => InterfaceType::U8,
        Kind::S16 => InterfaceType::S16,
        Kind::U16 => InterfaceType::U16,
        Kind::S32 => InterfaceType::S32,
        Kind::U32 => InterfaceType::U32,
        Kind::S64 => InterfaceType::S64,
        Kind::U64 => InterfaceType::U64,
        Kind::F32 => InterfaceType::Float32,
        Kind::F64 => InterfaceType::Float64,
        Kind::Char => InterfaceType::Char,
        Kind::String => InterfaceType::String,
        Kind::Own => InterfaceType::Own(TypeResourceTableIndex::from_u32(0)),
        Kind::Borrow => InterfaceType::Borrow(TypeResourceTableIndex::from_u32(0)),
        Kind::Enum(count) => {
            let (info, abi) = VariantInfo::new((0..*count).map(|_| None));
            let names = (0..*count).map(name).collect();
            InterfaceType::Enum(types.add_enum_type(TypeEnum { names, abi, info }))
        }
        Kind::Flags(count) => {
            let abi = CanonicalAbiInfo::flags(*count);
            let names = (0..*count).map(name).collect();
            InterfaceType::Flags(types.add_flags_type(TypeFlags { names, abi }))
        }
        Kind::List(element) => {
            let element = add(element, types);
            InterfaceType::List(types.add_list_type(TypeList { element }))
        }
        Kind::Record(fields) => {
            let fields = all(fields);
            let abi = CanonicalAbiInfo::record(fields.iter().map(|field| types.canonical_abi(field)));
            let fields = fields.into_iter().enumerate();
            let fields = fields.map(|(position, ty)| RecordField { name: name(position), ty }).collect();
            InterfaceType::Record(types.add_record_type(TypeRecord { fields, abi }))
        }
        Kind::Tuple(kinds) => {
            let kinds = all(kinds);
            let abi = CanonicalAbiInfo::record(kinds.iter().map(|kind| types.canonical_abi(kind)));
            InterfaceType::Tuple(types.add_tuple_type(TypeTuple { types: kinds.into(), abi }))
        }
        Kind::Variant(cases) => {
            let cases: Vec<_> = cases.iter().map(|case| case.as_ref().map(|kind| add(kind, types))).collect();
            let (info, abi) = cases_of(&cases, types);
            let cases =
                cases.into_iter().enumerate().map(|(position, kind)| (name(position), kind)).collect();
            InterfaceType::Variant(types.add_variant_type(TypeVariant { cases, abi, info }))
        }
        Kind::Option(kind) => {
            let ty = add(kind, types);
            let (info, abi) = cases_of(&[None, Some(ty)], types);
            InterfaceType::Option(types.add_option_type(TypeOption { ty, abi, info }))
        }
        Kind::Result(ok, err) => {
            let ok = ok.as_deref().map(|kind| add(kind, types));
            let err = err.as_deref().map(|kind| add(kind, types));
            let (info, abi) = cases_of(&[ok, err], types);
            InterfaceType::Result(types.add_result_type(TypeResult { ok, err, abi, info }))
        }
    }
}

fn cases_of(
    cases: &[Option<InterfaceType>],
    types: &ComponentTypesBuilder,
) -> (VariantInfo, CanonicalAbiInfo) {
    VariantInfo::new(cases.iter().map(|case| case.as_ref().map(|kind| types.canonical_abi(kind))))
}
