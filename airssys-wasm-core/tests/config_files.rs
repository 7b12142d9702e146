//! What an operator writes in a file: both formats, every section, and what is refused.

#![cfg(feature = "serde")]

use std::num::NonZeroU64;
use std::time::Duration;

use airssys_wasm_core::component::{ByteSize, ResourceLimits};
use airssys_wasm_core::config::{HostConfig, OnDisk, RuntimeConfig, SecurityConfig, StorageConfig};
use airssys_wasm_core::security::SecurityMode;
use airssys_wasm_core::storage::Durability;

fn full() -> HostConfig {
    let limits = ResourceLimits {
        memory: ByteSize::mib(32),
        deadline: Duration::from_millis(1_500),
        fuel: NonZeroU64::new(1_000),
        storage_keys: 7,
        messages_per_second: NonZeroU64::new(5),
        ..ResourceLimits::default()
    };
    HostConfig {
        runtime: RuntimeConfig {
            max_component_size: ByteSize::kib(5),
            max_instances: 3,
            max_memory: Some(ByteSize::mib(512)),
            max_stack: ByteSize::kib(256),
            code_cache: Some("cache".into()),
            limits,
        },
        security: SecurityConfig {
            mode: SecurityMode::Permissive,
            forbidden: ["storage:bank/**", "network-outbound:*:*"]
                .map(|text| text.parse().expect("the capability is valid"))
                .into(),
        },
        storage: StorageConfig::Redb(OnDisk {
            path: "state.redb".into(),
            cache: ByteSize::mib(8),
            durability: Durability::Eventual,
        }),
    }
}

#[test]
fn a_configuration_survives_both_formats() {
    for config in [full(), HostConfig::default()] {
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<HostConfig>(&text).unwrap(), config, "{text}");
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<HostConfig>(&text).unwrap(), config, "{text}");
    }
}

#[test]
fn every_mode_has_a_name() {
    let check = |text: &str, mode: SecurityMode| {
        let config: HostConfig = toml::from_str(&format!("[security]\nmode = \"{text}\"")).unwrap();
        assert_eq!((config.security.mode, mode.to_string()), (mode, text.to_owned()));
    };
    check("strict", SecurityMode::Strict);
    check("permissive", SecurityMode::Permissive);
    check("development", SecurityMode::Development);
    assert_eq!(HostConfig::default().security.mode, SecurityMode::Strict);
}

#[test]
fn every_store_on_disk_has_the_same_settings() {
    let check = |backend: &str, expected: fn(OnDisk) -> StorageConfig| {
        let text = format!("[storage]\nbackend = \"{backend}\"\npath = \"state\"");
        let config: HostConfig = toml::from_str(&text).unwrap();
        assert_eq!(config.storage, expected(OnDisk::at("state")));
        assert_eq!(config.storage.backend(), backend);
        let text = format!("{text}\ncache = \"3 MiB\"\ndurability = \"eventual\"");
        let config: HostConfig = toml::from_str(&text).unwrap();
        let settings =
            OnDisk { path: "state".into(), cache: ByteSize::mib(3), durability: Durability::Eventual };
        assert_eq!(config.storage, expected(settings));
    };
    check("redb", StorageConfig::Redb);
    check("fjall", StorageConfig::Fjall);
    check("sled", StorageConfig::Sled);
    check("rocksdb", StorageConfig::RocksDb);
}

#[test]
fn what_is_not_understood_is_refused_with_a_reason() {
    let check = |text: &str, reason: &str| {
        let refused = toml::from_str::<HostConfig>(text).unwrap_err().to_string();
        assert!(refused.contains(reason), "{text:?} is refused with: {refused}");
    };
    check("[runtime]\nmemory = \"1 MiB\"", "unknown field `memory`");
    check("[runtime.limits]\nmemmory = \"1 MiB\"", "unknown field `memmory`");
    check("[runtime.limits]\nmemory = \"1 mb\"", "the unit `mb` is unknown");
    check("[runtime.limits]\nmemory = -1", "a size such as \"64 MiB\"");
    check("[runtime.limits]\ndeadline = \"5\"", "`5` is not a duration");
    check("[runtime.limits]\nfuel = 0", "nonzero");
    check("[runtime.limits]\nlog-bytes-per-second = 0", "nonzero");
    check("[security]\nmode = \"lax\"", "unknown variant `lax`");
    check("[security]\nforbidden = [\"storage:../x\"]", "storage:../x");
    check("[storage]\nbackend = \"oracle\"", "unknown variant `oracle`");
    check("[storage]\nbackend = \"redb\"", "missing field `path`");
    check("[storage]\nbackend = \"redb\"\npath = \"x\"\ncashe = 1", "unknown field `cashe`");
    check("[storage]\nbackend = \"rocksdb\"\npath = \"x\"\ncache = \"1 mb\"", "the unit `mb` is unknown");
    check("[storage]\nbackend = \"memory\"\npath = \"x\"", "unknown field `path`");
    check("[network]\n", "unknown field `network`");
}
