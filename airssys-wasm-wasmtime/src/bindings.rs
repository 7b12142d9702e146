//! Generated from the WIT package: our own world is lowered and lifted with no dynamic value in between.
//!
//! What goes into a guest is borrowed, so that a payload is copied once: from the host's buffer into the guest's memory.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    dead_code,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    clippy::uninlined_format_args,
    reason = "generated code"
)]
#![allow(
    unsafe_code,
    reason = "generated code names functions whose types it has checked by unchecked constructors"
)]

/// `component`, and everything a component imports.
pub(crate) mod guest {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "guest",
        imports: {
            "airssys:core/messaging.request": async | trappable,
            "airssys:core/storage": async | trappable,
            default: trappable,
        },
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// What some components export beside it, and the host calls with more than a few bytes.
pub(crate) mod optional {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package airssys:optional;
            world optional { export airssys:core/replies@0.1.0; export airssys:core/migration@0.1.0; }",
        world: "airssys:optional/optional",
        exports: { default: async },
    });
}
