//! Says whether this engine knows the signals and the registers of the target.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(supported)");
    println!("cargo::rerun-if-changed=build.rs");
    let of_target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    if of_target("OS") == "linux" && ["x86_64", "aarch64"].contains(&of_target("ARCH").as_str()) {
        println!("cargo::rustc-cfg=supported");
    }
}
