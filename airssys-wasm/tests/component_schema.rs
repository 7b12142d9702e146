//! The published schema of manifests, and the page about them, say what the parser takes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use airssys_wasm::core::component::{ComponentConfig, ResourceLimits};
use airssys_wasm::manifest::{
    Build, Codecs, Deployment, Intensity, Manifest, Messaging, Origin, Package, Restart, Storage,
    StorageQuota, Strategy, Supervision, Wish,
};
use jsonschema::Validator;
use serde_json::Value;

fn docs(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    std::fs::read_to_string(path).expect("the page can be read")
}

fn schema() -> Value {
    serde_json::from_str(&docs("component.schema.json")).expect("the schema is JSON")
}

fn validator() -> Validator {
    let schema = schema();
    jsonschema::draft202012::meta::validate(&schema).expect("the schema is one of draft 2020-12");
    jsonschema::draft202012::new(&schema).expect("the schema can be used")
}

/// A manifest with every key, written out: a key more does not compile without a line more here.
fn full() -> Manifest {
    let some = std::num::NonZeroU64::new(1_000_000);
    let limits = ResourceLimits {
        fuel: some,
        messages_per_second: some,
        message_bytes_per_second: some,
        log_bytes_per_second: some,
        ..ResourceLimits::default()
    };
    let pattern = |text: &str| text.parse().expect("the pattern is valid");
    Manifest {
        manifest_version: 1,
        package: Package {
            id: "acme/counter".parse().expect("the id is valid"),
            version: "1.4.0-rc.1+build.5".parse().expect("the version is valid"),
            description: "Counts".to_owned(),
            authors: vec!["Ada".to_owned()],
            licence: Some("MIT OR Apache-2.0".parse().expect("the licence is one line")),
            component: "counter.wasm".into(),
        },
        build: Build { command: vec!["make".to_owned()], target: Some("wasm32-wasip2".to_owned()) },
        capabilities: vec![Wish {
            capability: "storage:acme/counter".parse().expect("the capability is valid"),
            reason: "it counts".to_owned(),
        }],
        messaging: Some(Messaging {
            targets: vec![pattern("acme/*")],
            topics: vec![pattern("orders.**")],
            reason: "it tells".to_owned(),
        }),
        config: ComponentConfig::new().with("start", "1"),
        storage: Storage {
            quota: StorageQuota { bytes: Some(limits.storage_bytes), keys: Some(limits.storage_keys) },
        },
        limits: Some(limits),
        codecs: Codecs { accepts: vec!["text/*".parse().expect("the pattern is valid")] },
        supervision: Supervision {
            restart: Some(Restart::Transient),
            intensity: Some(Intensity { max_restarts: 3, within: Duration::from_secs(60) }),
        },
        deployment: Deployment { strategy: Some(Strategy::BlueGreen) },
        origin: Origin::default(),
    }
}

/// Every key of a value, with those around it; entries of lists have the key of their list.
fn keys_of(value: &Value, path: &str, keys: &mut BTreeSet<String>) {
    match value {
        // The keys in here are the component's own.
        Value::Object(_) if path == ".config" => {}
        Value::Object(entries) => {
            for (key, value) in entries {
                let path = format!("{path}.{key}");
                keys.insert(path.clone());
                keys_of(value, &path, keys);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys_of(item, path, keys)),
        _ => {}
    }
}

/// The same of a schema.
fn keys_in_schema(schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        keys.insert(path.clone());
        keys_in_schema(schema, &path, keys);
    }
    if let Some(items) = schema.get("items") {
        keys_in_schema(items, path, keys);
    }
}

/// Every object that lists its keys has no others.
fn check_closed(schema: &Value, path: &str) {
    let Some(properties) = schema["properties"].as_object() else {
        return schema.get("items").into_iter().for_each(|items| check_closed(items, path));
    };
    assert_eq!(schema["additionalProperties"], false, "{path}");
    for (key, schema) in properties {
        assert!(schema["description"].is_string(), "{path}.{key} is not described");
        check_closed(schema, &format!("{path}.{key}"));
    }
}

#[test]
fn the_schema_has_the_keys_of_the_parser_and_no_others() {
    let manifest = full();
    let written = toml::to_string(&manifest).unwrap();
    let read = Manifest { origin: Origin::default(), ..Manifest::parse(&written).unwrap() };
    assert_eq!(read, manifest, "{written}");
    let json = serde_json::to_value(&manifest).unwrap();
    validator().validate(&json).unwrap_or_else(|refused| panic!("{refused}"));
    let (mut of_parser, mut of_schema) = (BTreeSet::new(), BTreeSet::new());
    keys_of(&json, "", &mut of_parser);
    keys_in_schema(&schema(), "", &mut of_schema);
    assert_eq!(of_schema, of_parser);
    check_closed(&schema(), "");
}

#[test]
fn the_schema_has_the_defaults_of_the_parser() {
    let limits = serde_json::to_value(ResourceLimits::default()).unwrap();
    for (key, schema) in schema()["properties"]["limits"]["properties"].as_object().unwrap() {
        assert_eq!(schema.get("default"), limits.get(key), "limits.{key}");
    }
}

#[test]
fn the_schema_has_the_words_of_the_parser() {
    let schema = schema();
    let words = |section: &str, key: &str| {
        let words = schema["properties"][section]["properties"][key]["enum"].as_array().unwrap();
        words.iter().map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(words("supervision", "restart"), names(&Restart::ALL.map(Restart::name)));
    assert_eq!(words("deployment", "strategy"), names(&Strategy::ALL.map(Strategy::name)));
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

const PACKAGE: &str = "[package]\nid = \"acme/counter\"\nversion = \"1.4.0\"\ncomponent = \"counter.wasm\"\n";

/// What the parser and the schema say of a manifest.
fn verdicts(validator: &Validator, text: &str) -> (bool, bool) {
    let table: toml::Table = text.parse().unwrap_or_else(|refused| panic!("{refused}"));
    let json = serde_json::to_value(table).expect("tables are JSON objects");
    (Manifest::parse(text).is_ok(), validator.is_valid(&json))
}

#[test]
fn what_is_good_is_taken_by_both() {
    let validator = validator();
    let sections = [
        "",
        "authors = []\nlicence = \"MIT\"\ndescription = \"\"",
        "[build]\ncommand = []",
        "[build]",
        "[[capabilities]]\ncapability = \"network-outbound:*.example.com:443\"\nreason = \"\"",
        "[messaging]\nreason = \"none yet\"",
        "[messaging]\ntargets = [\"*/*\", \"acme/a-b2\"]\ntopics = [\"orders\", \"orders.*.created\"]\nreason = \"x\"",
        "[config]\nanything = \"at all\"",
        "[limits]\nmemory = 65536\ntransfer = \"1GB\"\nreply = \"7\"\nlog-bytes = \"1 B\"\ndeadline = \"3min\"\nfuel = 1",
        "[limits]\nstorage-bytes = \"1 KiB\"\n[storage.quota]\nbytes = 1024\nkeys = 0",
        "[storage]",
        "[codecs]\naccepts = [\"Application/vnd.acme+json\", \"text/*\", \"*/*\"]",
        "[codecs]\naccepts = []",
        "[supervision]\nrestart = \"temporary\"\nmax-restarts = 0\nwithin = \"1 h\"",
        "[deployment]\nstrategy = \"rolling\"",
    ];
    for section in sections {
        let text = format!("manifest-version = 1\n{PACKAGE}{section}");
        assert_eq!(verdicts(&validator, &text), (true, true), "{text}");
    }
}

#[test]
fn what_is_bad_is_refused_by_both() {
    let validator = validator();
    let whole = [
        PACKAGE.to_owned(),
        format!("manifest-version = 2\n{PACKAGE}"),
        format!("manifest-version = \"1\"\n{PACKAGE}"),
        "manifest-version = 1".to_owned(),
        "manifest-version = 1\n[package]\nid = \"acme/counter\"\nversion = \"1.4.0\"".to_owned(),
        format!("manifest-version = 1\n{}", PACKAGE.replace("acme/counter", "acme")),
        format!("manifest-version = 1\n{}", PACKAGE.replace("acme/counter", "Acme/counter")),
        format!("manifest-version = 1\n{}", PACKAGE.replace("acme/counter", "acme/a--b")),
        format!("manifest-version = 1\n{}", PACKAGE.replace("1.4.0", "1.4")),
        format!("manifest-version = 1\n{}", PACKAGE.replace("1.4.0", "01.4.0")),
    ];
    let sections = [
        "stranger = 1",
        "licence = \" \"",
        "licence = \"MIT\\nOR Apache-2.0\"",
        "authors = \"Ada\"",
        "[packages]",
        "[build]\nshell = \"make\"",
        "[build]\ncommand = \"make\"",
        "[[capabilities]]\ncapability = \"storage:acme/counter\"",
        "[[capabilities]]\ncapability = \"storage\"\nreason = \"x\"",
        "[[capabilities]]\ncapability = \"disk:acme/counter\"\nreason = \"x\"",
        "[messaging]\ntargets = [\"acme/greeter\"]",
        "[messaging]\ntargets = [\"orders.created\"]\nreason = \"x\"",
        "[messaging]\ntopics = [\"acme/greeter\"]\nreason = \"x\"",
        "[messaging]\ntopics = [\"**\"]\nreason = \"x\"",
        "[config]\nnumber = 1",
        "[limits]\nmemory = \"64 mib\"",
        "[limits]\nmemory = -1",
        "[limits]\ninstances = 4294967296",
        "[limits]\ndeadline = \"5\"",
        "[limits]\nfuel = 0",
        "[storage]\nbytes = 1",
        "[storage.quota]\nkeys = \"7\"",
        "[codecs]\naccepts = [\"json\"]",
        "[codecs]\naccepts = [\"text/plain; charset=utf-8\"]",
        "[codecs]\naccepts = [\"*/json\"]",
        "[supervision]\nrestart = \"Permanent\"",
        "[supervision]\nmax-restarts = 3",
        "[supervision]\nwithin = \"1 min\"",
        "[deployment]\nstrategy = \"big-bang\"",
    ];
    let sections = sections.map(|section| format!("manifest-version = 1\n{PACKAGE}{section}"));
    for text in whole.iter().chain(&sections) {
        assert_eq!(verdicts(&validator, text), (false, false), "{text}");
    }
}

#[test]
fn the_page_names_every_key_and_its_examples_are_manifests() {
    let page = docs("component-toml.md");
    let validator = validator();
    let examples: Vec<_> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!examples.is_empty());
    for example in &examples {
        Manifest::parse(example).unwrap_or_else(|refused| panic!("{refused}\n{example}"));
        assert_eq!(verdicts(&validator, example), (true, true), "{example}");
    }
    // The limits have a page of their own.
    let limits = docs("limits.md");
    let mut keys = BTreeSet::new();
    keys_in_schema(&schema(), "", &mut keys);
    for key in keys {
        let (page, name) = match key.strip_prefix(".limits.") {
            Some(limit) => (&limits, limit.to_owned()),
            None => (&page, key.trim_start_matches('.').to_owned()),
        };
        assert!(page.contains(&format!("`{name}`")), "`{name}` is on no page");
    }
}
