use airssys_wasm_core::component::ComponentId;

use super::*;
use std::fs;

const MANIFEST: &str = r#"
manifest-version = 1

[package]
id = "acme/counter"
version = "1.0.0"
component = "counter.wasm"

[[capabilities]]
capability = "storage:acme/counter"
reason = "to count"
"#;
const WASM: &[u8] = b"\0asm and so on";

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn manifest(text: &str) -> Option<ManifestDigest> {
    Some(ManifestDigest::of(&text.parse().expect("the text is TOML")))
}

fn trusted(seed: u8, ids: Option<&str>) -> TrustedKey {
    let ids = ids.map(|ids| ids.parse().expect("the pattern is valid"));
    TrustedKey { name: String::new(), key: secret(seed).public(), ids }
}

fn id(text: &str) -> ComponentId {
    text.parse().expect("the id is valid")
}

/// The first and the third test of RFC 8032, section 7.1, by way of the library that is used.
#[test]
fn keys_and_signatures_are_those_of_rfc_8032() {
    for (seed, public, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            &[][..],
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            &[0xaf, 0x82],
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ] {
        let key = SecretKey::from_seed(&bytes_of(seed).unwrap()).public();
        assert_eq!(key.to_string(), format!("ed25519:{public}"));
        assert!(key.verifies(message, &bytes_of(signature).unwrap()));
        assert!(!key.verifies(b"another", &bytes_of(signature).unwrap()));
    }
}

#[test]
fn a_key_that_anybody_can_sign_for_is_refused() {
    // The points of order 1, 2, 4 and 8, in their canonical encodings.
    for point in [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    ] {
        let refused = format!("ed25519:{point}").parse::<PublicKey>().unwrap_err();
        assert!(refused.to_string().contains("small order"), "{refused}");
    }
    for text in
        ["", "ed25519:", "d75a98", "ed25519:D75A980182B10AB7D54BFED3C964073A0EE172F3DAA62325AF021A68F707511A"]
    {
        assert!(text.parse::<PublicKey>().is_err(), "{text}");
    }
}

#[test]
fn every_bit_counts() {
    let key = secret(1);
    let statement = Statement::of(WASM, manifest(MANIFEST));
    let signature = key.sign(&statement);
    assert!(signature.is_of(&statement));
    for bit in 0..8 * 64 {
        let mut bent = signature.clone();
        bent.bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!bent.is_of(&statement), "bit {bit} of the signature");
    }
    for bit in 0..8 * WASM.len() {
        let mut bent = WASM.to_vec();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(!signature.is_of(&Statement::of(&bent, manifest(MANIFEST))), "bit {bit} of the binary");
    }
    let mut tried = 0;
    for (position, byte) in MANIFEST.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_alphanumeric()) {
        let mut bent = MANIFEST.as_bytes().to_vec();
        bent[position] = if byte == b'z' { b'y' } else { byte + 1 };
        let Ok(document) = String::from_utf8(bent).unwrap().parse() else { continue };
        let is_path = (MANIFEST.find("counter.wasm").unwrap()..).take(12).any(|at| at == position);
        let bent = Statement::of(WASM, Some(ManifestDigest::of(&document)));
        assert_eq!(signature.is_of(&bent), is_path, "byte {position} of the manifest");
        tried += 1;
    }
    assert!(tried > 100, "{tried} changes of the manifest");
    let by_another = Signature { key: secret(2).public(), ..signature };
    assert!(!by_another.is_of(&statement));
}

#[test]
fn what_says_the_same_is_the_same() {
    let reordered = r#"
        # Comments and the order of keys say nothing.
        manifest-version = 1
        capabilities = [{ reason = "to count", capability = "storage:acme/counter" }]
        package = { version = "1.0.0", id = "acme/counter", component = "elsewhere/counter.wasm" }
    "#;
    assert_eq!(manifest(MANIFEST), manifest(reordered));
    assert_ne!(manifest("a = [\"b\", \"c\"]"), manifest("a = [\"bc\"]"));
    assert_ne!(manifest("a = 1"), manifest("a = \"1\""));
    assert_ne!(manifest("a = 1"), manifest("a = 1.0"));
    assert_ne!(manifest("[a]\nb = 1"), manifest("a = {}\nb = 1"));
}

#[test]
fn a_signature_is_of_one_component_and_one_manifest() {
    let signatures = Signatures::required([trusted(1, None)]);
    let verify = |statement: &Statement, signature: &Signature| {
        signatures.verify(&id("acme/counter"), statement, Some(signature)).map(drop)
    };
    let key = secret(1);
    let doubt = Err(Doubt::NotOfThis(key.public()));
    let (with, without) = (Statement::of(WASM, manifest(MANIFEST)), Statement::of(WASM, None));
    assert_eq!(verify(&with, &key.sign(&with)), Ok(()));
    assert_eq!(verify(&without, &key.sign(&without)), Ok(()));
    let widened = MANIFEST.replace("storage:acme/counter", "storage:**");
    assert_eq!(verify(&Statement::of(WASM, manifest(&widened)), &key.sign(&with)), doubt);
    assert_eq!(verify(&Statement::of(b"another", manifest(MANIFEST)), &key.sign(&with)), doubt);
    assert_eq!(verify(&with, &key.sign(&without)), doubt, "signed without a manifest");
    assert_eq!(verify(&without, &key.sign(&with)), doubt, "signed with a manifest");
}

#[test]
fn a_manifest_that_was_changed_since_is_not_what_was_signed() {
    use crate::manifest::Manifest;
    let read = Manifest::parse(MANIFEST).unwrap();
    assert_eq!(Some(read.digest()), manifest(MANIFEST));
    let mut moved = read.clone();
    moved.package.component = "elsewhere.wasm".into();
    assert_eq!(moved.digest(), read.digest(), "the path of the binary");
    let mut widened = read.clone();
    widened.capabilities[0].capability = "storage:**".parse().unwrap();
    let mut unlimited = read.clone();
    unlimited.limits = Some(airssys_wasm_core::component::ResourceLimits::default());
    let made = Manifest { origin: crate::manifest::Origin::default(), ..read.clone() };
    for changed in [widened, unlimited, made] {
        assert_eq!(changed.digest(), ManifestDigest::unread());
        let signed = secret(1).sign(&Statement::of(WASM, Some(read.digest())));
        assert!(!signed.is_of(&Statement::of(WASM, Some(changed.digest()))));
    }
}

#[test]
fn keys_count_for_whom_they_are_trusted() {
    let statement = Statement::of(WASM, None);
    let signatures = Signatures {
        exemptions: vec![Exemption { ids: "local/*".parse().unwrap(), policy: SignaturePolicy::Off }],
        ..Signatures::required([
            trusted(1, Some("acme/*")),
            trusted(2, Some("other/*")),
            trusted(2, Some("acme/two")),
        ])
    };
    let check = |name: &str, signature: Option<Signature>| {
        signatures.check(&id(name), &statement, signature.as_ref()).map_err(|error| error.to_string())
    };
    let by = |seed| Some(secret(seed).sign(&statement));
    assert_eq!(check("acme/counter", by(1)), Ok(()));
    assert_eq!(check("acme/two", by(2)), Ok(()));
    assert_eq!(check("local/trial", None), Ok(()));
    for (name, signature, why) in [
        ("acme/counter", None, "it is not signed"),
        ("acme/counter", by(2), "trusted for other components"),
        ("other/thing", by(1), "trusted for other components"),
        ("acme/counter", by(3), "not among the trusted keys"),
        ("acme/counter", Some(secret(1).sign(&Statement::of(b"x", None))), "is not of this binary"),
    ] {
        let refused = check(name, signature).unwrap_err();
        assert!(refused.contains("a signature is required") && refused.contains(why), "{refused}");
    }
    let lenient = Signatures { policy: SignaturePolicy::Warn, ..signatures };
    assert!(lenient.check(&id("acme/counter"), &statement, None).is_ok());
}

#[test]
fn files_are_read_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let key = SecretKey::generate().unwrap();
    key.write_new(&path).unwrap();
    assert_eq!(SecretKey::read(&path).unwrap().public(), key.public());
    assert!(!format!("{key:?}").contains(&fs::read_to_string(&path).unwrap()[15..40]));
    let refused = secret(1).write_new(&path).unwrap_err().to_string();
    assert!(refused.contains("there is such a file"), "{refused}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o620, 0o666] {
            fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let refused = SecretKey::read(&path).unwrap_err().to_string();
            assert!(refused.contains("others than its owner"), "{refused}");
        }
    }
    let signature = key.sign(&Statement::of(WASM, None));
    let file = folder.path().join("counter.wasm.sig");
    assert_eq!(Signature::read(&file).unwrap(), None);
    fs::write(&file, signature.to_text()).unwrap();
    assert_eq!(Signature::read(&file).unwrap(), Some(signature.clone()));
    for (from, to) in [
        ("signature-version = 1", "signature-version = 2"),
        ("signature = \"", "signature = \"00"),
        ("key = ", "keys = "),
        ("ed25519:", "ed448:"),
    ] {
        fs::write(&file, signature.to_text().replace(from, to)).unwrap();
        assert_eq!(Signature::read(&file).unwrap_err().kind(), ErrorKind::InvalidConfiguration, "{to}");
    }
}
