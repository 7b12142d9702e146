//! Tells the linker that this guest speaks WASI 0.2 itself.
//!
//! The linker carries an adapter for guests built against the first preview of WASI, and compares the WIT of such a
//! guest with its own. The WIT here is only the part that is used, and would be refused.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-cdylib=--wasi-adapter=none");
}
