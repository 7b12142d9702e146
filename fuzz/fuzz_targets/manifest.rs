//! Manifests of components and configurations of hosts: what parses can be written and parses again to the same, and what does not
//! says where and why. Also the small texts in them: sizes, durations, versions, ids.

#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use airssys_wasm::manifest::Manifest;
use airssys_wasm_core::component::{ByteSize, ComponentId, Version};
use airssys_wasm_core::config::{HostConfig, duration};
use airssys_wasm_core::error::ErrorKind;
use airssys_wasm_fuzz::within;
use libfuzzer_sys::fuzz_target;
use serde::Serialize;

/// What a text of so many bytes may cost to read.
const FIXED_COST: usize = 1 << 20;
const COST_OF_BYTE: usize = 4_096;
/// No key of ours; an error about it has to say so.
const STRANGER: &str = "zz-stranger";

fuzz_target!(|text: &str| {
    let cost = FIXED_COST + text.len() * COST_OF_BYTE;
    let manifest = within(cost, || Manifest::parse(text));
    match manifest {
        Ok(manifest) => {
            let written = written(&manifest);
            let again = Manifest::parse(&written).expect("what was written can be read");
            // They are of two texts, and say the same.
            assert_eq!(Manifest { origin: manifest.origin, ..again }, manifest, "{written}");
            assert_eq!(Manifest { origin: manifest.origin, ..manifest.clone() }.digest(), manifest.digest());
            assert_eq!(manifest.installation().id(), &manifest.package.id);
            assert!(manifest.wishes().starts_with(&manifest.capabilities));
            for stranger in with_stranger(&written, "[package]") {
                let refused = Manifest::parse(&stranger).expect_err("a key that is not known");
                assert!(refused.to_string().contains(STRANGER), "{refused}");
            }
        }
        Err(refused) => {
            assert_eq!(refused.kind(), ErrorKind::InvalidConfiguration, "{refused}");
            let told = refused.to_string();
            let says_where = told.contains("line ") && told.contains(", column ");
            let names_keys = told.contains("manifest-version") || told.contains("storage.quota.");
            assert!(says_where || names_keys, "{told}");
        }
    }

    let config = within(cost, || toml::from_str::<HostConfig>(text));
    match config {
        Ok(config) => {
            let written = written(&config);
            assert_eq!(toml::from_str::<HostConfig>(&written).as_ref(), Ok(&config), "{written}");
            for stranger in with_stranger(&written, "[runtime.limits]") {
                let refused = toml::from_str::<HostConfig>(&stranger).expect_err("a key that is not known");
                assert!(refused.message().contains(STRANGER), "{refused}");
            }
        }
        Err(refused) => assert!(!refused.message().is_empty()),
    }

    for line in text.lines().take(8) {
        let quoted = line.split('"').nth(1).unwrap_or(line);
        check_small_texts(quoted);
    }
});

fn written(value: &impl Serialize) -> String {
    toml::to_string(value).expect("what was read can be written")
}

/// A key more at the top, and one in the table.
fn with_stranger(written: &str, table: &str) -> [String; 2] {
    let line = format!("{STRANGER} = 1\n");
    let in_table = format!("{table}\n");
    assert!(written.contains(&in_table), "{written}");
    [format!("{line}{written}"), written.replacen(&in_table, &format!("{in_table}{line}"), 1)]
}

fn check_small_texts(text: &str) {
    prints_itself::<ByteSize>(text);
    prints_itself::<ComponentId>(text);
    let version = prints_itself::<Version>(text);
    if let Some(version) = version {
        assert_eq!(version.to_string(), text);
        let (major, minor, patch) = version.numbers();
        let release = Version::new(major, minor, patch);
        assert_eq!(version < release, !version.pre_release().is_empty(), "{version} and {release}");
    }
    match duration::parse(text) {
        Ok(parsed) => assert_eq!(duration::parse(&duration::format(parsed)), Ok(parsed), "{text:?}"),
        Err(refused) => check_refusal(&refused),
    }
}

fn prints_itself<T>(text: &str) -> Option<T>
where
    T: Debug + Display + FromStr + PartialEq,
    T::Err: Debug + Display + PartialEq,
{
    match text.parse::<T>() {
        Ok(parsed) => {
            let printed = parsed.to_string();
            assert_eq!(printed.parse::<T>().as_ref(), Ok(&parsed), "{text:?} prints as {printed:?}");
            Some(parsed)
        }
        Err(refused) => {
            check_refusal(&refused.to_string());
            None
        }
    }
}

/// One line, and short, whatever was refused.
fn check_refusal(refused: &str) {
    assert!(!refused.chars().any(char::is_control), "{refused:?}");
    assert!(refused.len() < 2_000, "{} bytes are said of a refused text", refused.len());
}
