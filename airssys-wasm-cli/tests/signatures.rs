//! `airssys-wasm keygen`, `sign`, `verify`, and what `run` makes of signatures.

use std::fs;

mod command;

use command::{Place, Ran, airssys, guest};

const MANIFEST: &str = r#"manifest-version = 1

[package]
id = "acme/echo"
version = "1.0.0"
component = "echo.wasm"

[[capabilities]]
capability = "storage:acme/echo"
reason = "to remember"
"#;

/// A component with a manifest, a key, and an operator who requires signatures of that key.
struct Signed {
    place: Place,
    manifest: String,
    key: String,
    public: String,
    rights: String,
}

impl Signed {
    fn new() -> Self {
        let place = Place::new();
        let path = |name: &str| place.path(name).display().to_string();
        let (manifest, key, rights) = (path("Component.toml"), path("author.key"), path("rights.toml"));
        fs::copy(guest("echo"), place.path("echo.wasm")).expect("the guest can be copied");
        fs::write(&manifest, MANIFEST).expect("the manifest can be written");
        let made = airssys(&["keygen", &key]);
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        let public = made.stdout.trim().to_owned();
        let approved = airssys(&["grants", "approve", &rights, &manifest]);
        assert_eq!(approved.code, Some(0), "{}", approved.stderr);
        let text = fs::read_to_string(&rights).expect("the rights can be read");
        let required = format!(
            "{text}\n[signatures]\npolicy = \"require\"\n\n[[signatures.keys]]\nname = \"the author\"\nkey = \"{public}\"\nids = \"acme/*\"\n"
        );
        fs::write(&rights, required).expect("the rights can be written");
        Self { place, manifest, key, public, rights }
    }

    fn sign(&self) -> Ran {
        airssys(&["sign", &self.manifest, "--key", &self.key])
    }

    fn run(&self) -> Ran {
        airssys(&["run", &self.manifest, "--rights", &self.rights, "-m", "hello"])
    }

    /// Shows that it is refused for this.
    fn refused(&self, why: &str) {
        let ran = self.run();
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(7), ""), "{}", ran.stderr);
        assert!(ran.stderr.contains(why) && ran.stderr.contains("acme/echo"), "`{why}`: {}", ran.stderr);
    }

    fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.place.path(file);
        let text = fs::read_to_string(&path).expect("the file can be read");
        assert!(text.contains(from), "`{from}` is not in {text}");
        fs::write(&path, text.replace(from, to)).expect("the file can be written");
    }
}

#[test]
fn a_key_is_private_and_never_written_over() {
    let place = Place::new();
    let key = place.path("a.key").display().to_string();
    let made = airssys(&["keygen", &key]);
    assert!(
        made.stdout.starts_with("ed25519:") && made.stdout.len() == "ed25519:".len() + 65,
        "{}",
        made.stdout
    );
    let before = fs::read(&key).unwrap();
    let again = airssys(&["keygen", &key]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(2), ""), "{}", again.stderr);
    assert!(again.stderr.contains("there is such a file"), "{}", again.stderr);
    assert_eq!(fs::read(&key).unwrap(), before);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
        let signed = airssys(&["sign", &guest("echo"), "--key", &key]);
        assert_ne!(signed.code, Some(0));
        assert!(signed.stderr.contains("others than its owner"), "{}", signed.stderr);
    }
}

#[test]
fn what_must_be_signed_runs_as_it_was_signed() {
    let signed = Signed::new();
    signed.refused("it is not signed");
    let explained = airssys(&["explain", &signed.manifest, "--rights", &signed.rights]);
    assert_eq!(explained.code, Some(7), "{}", explained.stderr);
    assert!(explained.stdout.contains("a signature is required: it is not signed"), "{}", explained.stdout);
    let ran = signed.sign();
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("Component.toml.sig"), "{}", ran.stdout);
    signed.run().ended(0, "hello\n");
    let by_key = airssys(&["verify", &signed.manifest, "--key", &signed.public]);
    assert_eq!(by_key.code, Some(0), "{}", by_key.stderr);
    let by_rights = airssys(&["verify", &signed.manifest, "--rights", &signed.rights]);
    assert!(by_rights.stdout.contains("the author"), "{}{}", by_rights.stdout, by_rights.stderr);
    // What says nothing changes nothing.
    signed.edit("Component.toml", "manifest-version", "# A comment.\nmanifest-version");
    signed.run().ended(0, "hello\n");
}

#[test]
fn a_widened_manifest_is_not_what_was_signed() {
    let signed = Signed::new();
    signed.sign();
    signed.edit("Component.toml", "version = \"1.0.0\"", "version = \"1.0.1\"");
    signed.refused("is not of this binary with this manifest");
    signed.edit("Component.toml", "version = \"1.0.1\"", "version = \"1.0.0\"");
    signed.run().ended(0, "hello\n");
    signed.edit("Component.toml", "storage:acme/echo", "storage:**");
    let verified = airssys(&["verify", &signed.manifest, "--key", &signed.public]);
    assert_eq!(verified.code, Some(7), "{}", verified.stderr);
    assert!(verified.stderr.contains("is not of this binary with this manifest"), "{}", verified.stderr);
}

#[test]
fn another_binary_is_not_what_was_signed() {
    let signed = Signed::new();
    signed.sign();
    fs::copy(guest("greeter"), signed.place.path("echo.wasm")).unwrap();
    // The operator has approved any binary: the signature alone stands in the way.
    let approved = airssys(&["grants", "approve", &signed.rights, &signed.manifest, "--any-binary"]);
    assert_eq!(approved.code, Some(0), "{}", approved.stderr);
    signed.refused("is not of this binary with this manifest");
    signed.edit("rights.toml", "policy = \"require\"", "policy = \"warn\"");
    let warned = signed.run();
    assert_eq!(warned.code, Some(0), "{}", warned.stderr);
    assert!(warned.stderr.contains("no valid signature"), "{}", warned.stderr);
}

#[test]
fn a_key_counts_for_its_own_components_alone() {
    let signed = Signed::new();
    signed.sign();
    signed.edit("rights.toml", "ids = \"acme/*\"", "ids = \"other/*\"");
    signed.refused("trusted for other components");
    let other = signed.place.path("other.key").display().to_string();
    airssys(&["keygen", &other]);
    signed.edit("rights.toml", "ids = \"other/*\"", "ids = \"acme/*\"");
    airssys(&["sign", &signed.manifest, "--key", &other]);
    signed.refused("not among the trusted keys");
    fs::write(signed.place.path("Component.toml.sig"), "signature-version = 1\n").unwrap();
    let broken = signed.run();
    assert_ne!(broken.code, Some(0));
    assert!(broken.stderr.contains("Component.toml.sig"), "{}", broken.stderr);
    signed.edit("rights.toml", "policy = \"require\"", "policy = \"warn\"");
    let warned = signed.run();
    assert_eq!(warned.code, Some(0), "{}", warned.stderr);
    assert!(warned.stderr.contains("it is not signed"), "{}", warned.stderr);
}
