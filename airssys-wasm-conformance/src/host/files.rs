//! Files: what a grant opens, and nothing beside it.

use std::fs;
use std::path::{Path, PathBuf};

use airssys_wasm::Installation;
use airssys_wasm_core::capability::Capability;
use airssys_wasm_core::component::{ComponentId, ResourceLimits};
use airssys_wasm_core::security::{PermissionResult, Rule};
use tempfile::TempDir;

use super::{HostBench, Live, ample, granted, id};
use crate::guests::Guest;
use crate::runner::{Broken, Outcome, chain, contracts, ensure, ensure_eq, fail};

/// What nobody was granted, and what it says.
const SECRET: &str = "the secret";

/// A component that works with files, and the folders that it is about: one of its own, with a neighbour.
struct Place {
    _folder: TempDir,
    /// The path of its folder, without any symbolic link.
    own: PathBuf,
    /// The file beside its folder that it must not reach.
    secret: PathBuf,
    live: Live,
    component: ComponentId,
}

impl Place {
    /// The folder is `own`, the neighbour `other`; in grants, `@` is the folder.
    async fn new(t: &HostBench, grants: &[&str]) -> Outcome<Self> {
        Self::with_limits(t, grants, ample()).await
    }

    async fn with_limits(t: &HostBench, grants: &[&str], limits: ResourceLimits) -> Outcome<Self> {
        let folder = TempDir::with_prefix("airssys-wasm-files-")?;
        let root = fs::canonicalize(folder.path())?;
        let (own, other) = (root.join("own"), root.join("other"));
        fs::create_dir(&own)?;
        fs::create_dir(&other)?;
        let secret = other.join("secret");
        fs::write(&secret, SECRET)?;
        fs::write(own.join("note"), "a note")?;
        let live = t.start().await?;
        let installation = Installation::new(id("acme/files"), Guest::WasiFiles.bytes()?).limits(limits);
        let grants: Vec<_> = grants.iter().map(|grant| at(&own, grant)).collect();
        let grants: Vec<_> = grants.iter().map(String::as_str).collect();
        let component = live.run(granted(installation, &grants)).await?;
        Ok(Self { _folder: folder, own, secret, live, component })
    }

    /// With everything in its folder granted, and the directories opened: the folder is number 0.
    async fn open(t: &HostBench) -> Outcome<Self> {
        let place = Self::new(t, &["file-read:@/**", "file-write:@/**"]).await?;
        let directories = place.ask(&["directories"]).await?;
        ensure_eq!(directories, format!("0 {}\n", place.own.display()), "the directories that are open");
        Ok(place)
    }

    async fn ask(&self, words: &[&str]) -> Outcome<String> {
        match self.live.ask(&self.component, &words.join("\n")).await {
            Ok(reply) => Ok(reply),
            Err(error) => fail!("{words:?} came to {}", chain(&error)),
        }
    }

    /// Asks, and shows that this comes of it.
    async fn comes_to(&self, words: &[&str], expected: &str) -> Outcome {
        ensure_eq!(self.ask(words).await?, expected, "{words:?}");
        Ok(())
    }

    fn grant(&self, grant: &str) -> Outcome<Capability> {
        Ok(at(&self.own, grant).parse()?)
    }

    fn allow(&self, grant: &str) -> Outcome {
        ensure!(self.live.grant(&self.component, &self.grant(grant)?)?, "{grant} was granted before");
        Ok(())
    }

    fn deny(&self, grant: &str) -> Outcome {
        ensure!(self.live.revoke(&self.component, &self.grant(grant)?)?, "{grant} was not granted");
        Ok(())
    }

    fn content(&self, name: &str) -> Outcome<String> {
        Ok(fs::read_to_string(self.own.join(name))?)
    }
}

#[cfg(unix)]
fn symlink(target: impl AsRef<Path>, link: impl AsRef<Path>) -> Outcome {
    Ok(std::os::unix::fs::symlink(target, link)?)
}

#[cfg(unix)]
fn socket(path: &Path) -> Outcome<impl Sized + use<>> {
    Ok(std::os::unix::net::UnixListener::bind(path)?)
}

#[cfg(not(unix))]
fn symlink(_: impl AsRef<Path>, _: impl AsRef<Path>) -> Outcome {
    fail!("symbolic links are made on Unix alone")
}

#[cfg(not(unix))]
fn socket(_: &Path) -> Outcome<impl Sized + use<>> {
    Err::<(), _>(Broken::new("sockets among files are made on Unix alone".to_owned()))
}

fn at(own: &Path, grant: &str) -> String {
    grant.replace('@', &own.display().to_string())
}

/// A function of `wasi:filesystem` that is guarded, how it is called, and what it needs.
struct Guarded {
    function: &'static str,
    /// 0 is the folder, 1 the file `note`, open for reading and writing, 2 the directory `sub`, and 3 the file `gone`.
    command: &'static [&'static str],
    needs: &'static [&'static str],
    /// What comes of it with its grants; none: whatever, but no denial.
    granted: Option<&'static str>,
}

const fn guarded(
    function: &'static str,
    command: &'static [&'static str],
    needs: &'static [&'static str],
    granted: Option<&'static str>,
) -> Guarded {
    Guarded { function, command, needs, granted }
}

const READ_NOTE: &[&str] = &["file-read:@/note"];
const WRITE_NOTE: &[&str] = &["file-write:@/note"];

/// Every method that reaches files; the rest tells what the host knows of a descriptor without looking.
const GUARDED: [Guarded; 24] = [
    guarded("open-at", &["open", "0", "read", "note"], READ_NOTE, None),
    guarded("open-at (write)", &["open", "0", "write", "note"], WRITE_NOTE, None),
    guarded("open-at (create)", &["open", "0", "write,create", "new"], &["file-write:@/new"], None),
    guarded("read", &["read", "1", "0", "100"], READ_NOTE, Some("a note")),
    guarded("write", &["write", "1", "0", "a note"], WRITE_NOTE, Some("6")),
    guarded("read-via-stream", &["read-stream", "1", "0"], READ_NOTE, Some("a note")),
    guarded("write-via-stream", &["write-stream", "1", "0", "a note"], WRITE_NOTE, Some("6")),
    guarded("append-via-stream", &["append", "1", "x"], WRITE_NOTE, Some("1")),
    guarded("sync", &["sync", "1"], WRITE_NOTE, Some("")),
    guarded("sync-data", &["sync-data", "1"], WRITE_NOTE, Some("")),
    guarded("set-size", &["set-size", "1", "6"], WRITE_NOTE, Some("")),
    guarded("set-times", &["set-times", "1"], WRITE_NOTE, Some("")),
    guarded("set-times-at", &["set-times-at", "0", "note"], WRITE_NOTE, Some("")),
    guarded("stat", &["stat", "1"], READ_NOTE, Some("regular-file 6 1")),
    guarded("stat-at", &["stat-at", "0", "follow", "note"], READ_NOTE, Some("regular-file 6 1")),
    guarded("metadata-hash", &["hash", "1"], READ_NOTE, None),
    guarded("metadata-hash-at", &["hash-at", "0", "note"], READ_NOTE, None),
    guarded("read-directory", &["list", "2"], &["file-read:@/sub"], Some("regular-file leaf")),
    guarded("create-directory-at", &["make-directory", "0", "made"], &["file-write:@/made"], Some("")),
    guarded("remove-directory-at", &["remove-directory", "0", "made"], &["file-write:@/made"], Some("")),
    guarded("unlink-file-at", &["unlink", "0", "gone"], &["file-write:@/gone"], Some("")),
    guarded(
        "rename-at",
        &["rename", "0", "note", "0", "moved"],
        &["file-read:@/note", "file-write:@/note", "file-read:@/moved", "file-write:@/moved"],
        Some(""),
    ),
    guarded(
        "symlink-at",
        &["symlink", "0", "note", "link"],
        &["file-write:@/link"],
        Some("error not-permitted"),
    ),
    guarded(
        "link-at",
        &["link", "0", "note", "0", "link"],
        &["file-write:@/link"],
        Some("error not-permitted"),
    ),
];

/// Grants that come close to all of that.
const CLOSE: [&str; 8] = [
    "file-read:@/notes",
    "file-write:@/not",
    "file-read:@/note/*",
    "file-read:@/sub/*",
    "file-write:@/sub/**",
    "process-spawn:@/**",
    "storage:**",
    "messaging:**",
];

impl Place {
    /// A place where everything of [`GUARDED`] is open, and nothing granted any more.
    async fn opened(t: &HostBench) -> Outcome<Self> {
        let place = Self::open(t).await?;
        fs::create_dir(place.own.join("sub"))?;
        fs::write(place.own.join("sub").join("leaf"), "a leaf")?;
        fs::write(place.own.join("gone"), "")?;
        place.comes_to(&["open", "0", "read,write", "note"], "1").await?;
        place.comes_to(&["open", "0", "read", "sub"], "2").await?;
        place.deny("file-read:@/**")?;
        place.deny("file-write:@/**")?;
        Ok(place)
    }

    /// Shows that every guarded function is denied now, and that the denials are recorded.
    async fn denies_everything(&self) -> Outcome {
        for guarded in &GUARDED {
            let before = self.live.audit.denials().len();
            let seen = self.ask(guarded.command).await?;
            ensure_eq!(seen, "error access", "{}", guarded.function);
            let denials = self.live.audit.denials();
            ensure!(denials.len() > before, "{}: the denial is not recorded", guarded.function);
            let rule = denials.last().map(|record| record.result);
            ensure_eq!(rule, Some(PermissionResult::Denied(Rule::Default)), "{}: the rule", guarded.function);
        }
        ensure_eq!(self.content("note")?, "a note", "what is in a file that must not be written");
        Ok(())
    }
}

/// Ways to write a path that leads out, or would if somebody took it for another. `@` is the neighbour's file.
const SPELLINGS: [&str; 24] = [
    "../other/secret",
    "./../other/secret",
    "sub/../../other/secret",
    "sub/./../.././other/secret",
    "../own/../other/secret",
    ".//..//other//secret",
    "@",
    "/@",
    "//@",
    "sub/..//../other/secret/",
    "..",
    "../other",
    "..\\other\\secret",
    "sub\\..\\..\\other\\secret",
    "%2e%2e/other/secret",
    "%2e%2e%2fother%2fsecret",
    "..%2fother/secret",
    ".../other/secret",
    "\u{2025}/other/secret",
    "\u{ff0e}\u{ff0e}/other/secret",
    "..;/other/secret",
    "~/../other/secret",
    "note\0/../../other/secret",
    "C:\\other\\secret",
];

contracts! { HostBench;
    "host.files" {
        /// A component without a grant of files finds no directory.
        fn nothing_granted(t) {
            let place = Place::new(t, &["storage:**", "messaging:**"]).await?;
            place.comes_to(&["directories"], "").await?;
            place.live.end().await
        }

        /// The directories that a component starts from are those of its grants, by their own paths.
        fn directories_of_grants(t) {
            let grants = ["file-read:@/note", "file-write:@/logs/*.txt", "file-read:@/data/**", "file-read:@/data/*/deep"];
            let place = Place::new(t, &grants).await?;
            let own = place.own.display();
            place.comes_to(&["directories"], &format!("0 {own}\n1 {own}/data\n2 {own}/logs\n")).await?;
            place.comes_to(&["open", "0", "read", "note"], "3").await?;
            place.comes_to(&["read-stream", "3", "0"], "a note").await?;
            // A directory that is not there is an error when it is used.
            place.comes_to(&["open", "1", "read", "x"], "error no-entry").await?;
            fs::create_dir(place.own.join("logs"))?;
            place.comes_to(&["open", "2", "write,create", "today.txt"], "4").await?;
            place.comes_to(&["open", "2", "read", "today.txt"], "error access").await?;
            place.comes_to(&["open", "2", "write,create", "today.log"], "error access").await?;
            place.comes_to(&["list", "0"], "error access").await?;
            place.live.end().await
        }

        /// Whatever can be done with files does what WASI says, to the files that are there.
        fn does_what_wasi_says(t) {
            let place = Place::open(t).await?;
            let long = "0123456789abcdef".repeat(20_000);
            for (words, expected) in [
                (&["type", "0"][..], "directory"),
                (&["stat-at", "0", "follow", "note"], "regular-file 6 1"),
                (&["open", "0", "read", "missing"], "error no-entry"),
                (&["open", "0", "read,directory", "note"], "error not-directory"),
                (&["open", "0", "read", "note/"], "error not-directory"),
                (&["open", "0", "read", "note/deeper"], "error not-directory"),
                (&["open", "0", "read", ""], "error no-entry"),
                (&["open", "0", "write", "."], "error is-directory"),
                (&["open", "0", "write,create,exclusive", "note"], "error exist"),
                (&["open", "0", "read,write,create,exclusive", "new"], "1"),
                (&["type", "1"], "regular-file"),
                (&["write-stream", "1", "0", &long], "320000"),
                (&["stat", "1"], "regular-file 320000 1"),
                (&["read-stream", "1", "0"], &long),
                (&["poll-stream", "1", "16"], &long[16..]),
                (&["read", "1", "319990", "100"], "6789abcdef"),
                (&["read", "1", "320000", "100"], ""),
                (&["set-size", "1", "4"], ""),
                (&["append", "1", "+tail"], "5"),
                (&["read-stream", "1", "0"], "0123+tail"),
                (&["write", "1", "1", "XX"], "2"),
                (&["read-stream", "1", "0"], "0XX3+tail"),
                (&["open", "0", "write,create", "copy"], "2"),
                (&["read-stream", "2", "0"], "error bad-descriptor"),
                (&["splice", "1", "2"], "9"),
                (&["open", "0", "read,write", "copy"], "3"),
                (&["read-stream", "3", "0"], "0XX3+tail"),
                (&["push-stream", "3", &long], "320000"),
                (&["read-stream", "3", "319990"], "6789abcdef"),
                (&["read-stream", "0", "0"], "error is-directory"),
                (&["read", "0", "0", "1"], "error is-directory"),
                (&["write", "0", "0", "x"], "error is-directory"),
                (&["same", "2", "3"], "true"),
                (&["same", "1", "3"], "false"),
                (&["make-directory", "0", "sub"], ""),
                (&["make-directory", "0", "sub"], "error exist"),
                (&["open", "0", "read", "sub"], "4"),
                (&["open", "4", "read,write,create", "leaf"], "5"),
                (&["remove-directory", "0", "sub"], "error not-empty"),
                (&["unlink", "0", "sub"], "error is-directory"),
                (&["rename", "0", "note", "4", "note"], ""),
                (&["rename", "0", "sub", "0", "dir"], "error unsupported"),
                (&["list", "4"], "regular-file leaf\nregular-file note"),
                (&["list", "0"], "regular-file copy\nregular-file new\ndirectory sub"),
                (&["list", "1"], "error not-directory"),
                (&["advise", "1"], ""),
                (&["advise", "0"], "error bad-descriptor"),
                (&["sync", "0"], ""),
                (&["sync-data", "1"], ""),
                (&["set-times", "0"], ""),
                (&["set-times", "1"], ""),
                (&["set-times-at", "0", "copy"], ""),
                (&["unlink", "4", "leaf"], ""),
                (&["unlink", "4", "note"], ""),
                (&["unlink", "4", "note"], "error no-entry"),
                (&["remove-directory", "0", "sub"], ""),
                (&["remove-directory", "0", "copy"], "error not-directory"),
                (&["open", "0", "write,truncate", "copy"], "6"),
                (&["stat-at", "0", "", "copy"], "regular-file 0 1"),
                (&["close", "6"], ""),
            ] {
                if words[0] == "list" {
                    let mut listed: Vec<_> = expected.lines().collect();
                    listed.sort_unstable();
                    place.comes_to(words, &listed.join("\n")).await?;
                } else {
                    place.comes_to(words, expected).await?;
                }
            }
            ensure_eq!(place.content("new")?, "0XX3+tail", "what is on the disk");
            let hash = place.ask(&["hash", "1"]).await?;
            ensure_eq!(place.ask(&["hash-at", "0", "new"]).await?, hash.clone(), "two hashes of one file");
            ensure!(place.ask(&["hash-at", "0", "copy"]).await? != hash, "two files have one hash");
            place.live.end().await
        }

        /// What was open already is denied from the next call on, by every function that reaches files.
        fn revoked(t) {
            let place = Place::opened(t).await?;
            place.allow("file-read:@/**")?;
            place.comes_to(&["hold-list", "0"], "").await?;
            let first = place.ask(&["next-entry"]).await?;
            ensure!(!first.starts_with("error"), "the first entry of a list came to {first}");
            place.deny("file-read:@/**")?;
            place.comes_to(&["next-entry"], "error access").await?;
            place.denies_everything().await?;
            place.live.end().await
        }

        /// Grants that come close to what is asked for allow none of it.
        fn wrong_pattern(t) {
            let place = Place::opened(t).await?;
            for grant in CLOSE {
                place.allow(grant)?;
            }
            place.denies_everything().await?;
            place.live.end().await
        }

        /// Permission to write is none to read, and the other way round.
        fn read_is_not_write(t) {
            let place = Place::opened(t).await?;
            for (grant, words) in [
                ("file-write:@/note", &["read", "1", "0", "9"][..]),
                ("file-write:@/note", &["read-stream", "1", "0"]),
                ("file-write:@/note", &["open", "0", "read", "note"]),
                ("file-write:@/note", &["open", "0", "read,write", "note"]),
                ("file-write:@/note", &["stat", "1"]),
                ("file-read:@/note", &["write", "1", "0", "x"]),
                ("file-read:@/note", &["write-stream", "1", "0", "x"]),
                ("file-read:@/note", &["append", "1", "x"]),
                ("file-read:@/note", &["open", "0", "read,write", "note"]),
                ("file-read:@/note", &["open", "0", "read,truncate", "note"]),
                ("file-read:@/note", &["open", "0", "read,create", "note"]),
                ("file-read:@/note", &["unlink", "0", "note"]),
                ("file-read:@/note", &["set-size", "1", "0"]),
            ] {
                place.allow(grant)?;
                place.comes_to(words, "error access").await?;
                place.deny(grant)?;
            }
            ensure_eq!(place.content("note")?, "a note", "what is in the file");
            place.live.end().await
        }

        /// Each function works with the narrowest grants there are, and misses each of them.
        fn right_grant(t) {
            for guarded in &GUARDED {
                let place = Place::opened(t).await?;
                if guarded.function == "remove-directory-at" {
                    fs::create_dir(place.own.join("made"))?;
                }
                for missing in guarded.needs {
                    for grant in guarded.needs.iter().filter(|grant| *grant != missing) {
                        place.allow(grant)?;
                    }
                    place.comes_to(guarded.command, "error access").await?;
                    for grant in guarded.needs.iter().filter(|grant| *grant != missing) {
                        place.deny(grant)?;
                    }
                }
                for grant in guarded.needs {
                    place.allow(grant)?;
                }
                let seen = place.ask(guarded.command).await?;
                match guarded.granted {
                    Some(expected) => ensure_eq!(seen, expected, "{}", guarded.function),
                    None => ensure!(!seen.starts_with("error"), "{} came to {seen}", guarded.function),
                }
                place.live.end().await?;
            }
            Ok(())
        }

        /// No spelling of a path leads out of the directory that it starts from.
        fn paths_stay_beneath(t) {
            let place = Place::open(t).await?;
            fs::create_dir(place.own.join("sub"))?;
            for spelling in SPELLINGS {
                let path = spelling.replace('@', &place.secret.display().to_string());
                for words in [
                    &["open", "0", "read", &path][..],
                    &["open", "0", "read,write,create", &path],
                    &["stat-at", "0", "follow", &path],
                    &["make-directory", "0", &path],
                    &["unlink", "0", &path],
                    &["remove-directory", "0", &path],
                    &["rename", "0", "note", "0", &path],
                    &["rename", "0", &path, "0", "stolen"],
                    &["set-times-at", "0", &path],
                ] {
                    let seen = place.ask(words).await?;
                    // What is no way out on this system is a name like any other, in the folder.
                    let leads_out = spelling.contains('@') || spelling.split('/').any(|name| name == "..");
                    ensure!(seen.starts_with("error ") || !leads_out, "{words:?} came to `{seen}`");
                }
            }
            ensure_eq!(fs::read_to_string(&place.secret)?, SECRET, "what is outside");
            ensure_eq!(fs::read_dir(place.own.join("../other"))?.count(), 1, "files beside the folder");
            ensure_eq!(fs::read_dir(place.own.join(".."))?.count(), 2, "folders beside the folder");
            for entry in fs::read_dir(&place.own)? {
                let content = fs::read_to_string(entry?.path()).unwrap_or_default();
                ensure!(content != SECRET, "the secret was moved into the folder");
            }
            place.live.end().await
        }

        /// A symbolic link is never followed, wherever it leads and wherever it is on the way.
        fn links_are_not_followed(t) {
            let place = Place::open(t).await?;
            symlink(&place.secret, place.own.join("absolute"))?;
            symlink("../other/secret", place.own.join("relative"))?;
            symlink("../other", place.own.join("folder"))?;
            symlink("note", place.own.join("inside"))?;
            symlink("../other/new", place.own.join("dangling"))?;
            symlink("loop", place.own.join("loop"))?;
            for path in ["absolute", "relative", "folder", "folder/secret", "inside", "dangling", "loop", "loop/x"] {
                for flags in ["read", "write,create", "read,directory", "write,truncate"] {
                    place.comes_to(&["open", "0", flags, path], "error loop").await?;
                }
                place.comes_to(&["stat-at", "0", "follow", path], "error loop").await?;
                place.comes_to(&["set-times-at", "0", path], "error loop").await?;
                place.comes_to(&["readlink", "0", path], "error not-permitted").await?;
            }
            for words in [
                &["make-directory", "0", "folder/x"][..],
                &["unlink", "0", "folder/secret"],
                &["remove-directory", "0", "folder/x"],
                &["rename", "0", "note", "0", "folder/note"],
                &["rename", "0", "folder/secret", "0", "stolen"],
                &["stat-at", "0", "", "folder/secret"],
            ] {
                place.comes_to(words, "error loop").await?;
            }
            let kind = place.ask(&["stat-at", "0", "", "absolute"]).await?;
            ensure!(kind.starts_with("symbolic-link "), "a link is told to be `{kind}`");
            ensure_eq!(fs::read_to_string(&place.secret)?, SECRET, "what is outside");
            ensure_eq!(fs::read_dir(place.own.join("../other"))?.count(), 1, "files outside");
            place.live.end().await
        }

        /// A directory that is swapped for a symbolic link again and again is never a way out.
        fn swapped_for_a_link(t) {
            use std::sync::Arc;
            use std::sync::atomic::{AtomicBool, Ordering};
            let place = Place::open(t).await?;
            let (real, way, spare) = (place.own.join("real"), place.own.join("way"), place.own.join("spare"));
            fs::create_dir(&real)?;
            fs::write(real.join("secret"), "harmless")?;
            symlink("../other", &spare)?;
            fs::rename(&real, &way)?;
            let stop = Arc::new(AtomicBool::new(false));
            let swapping = {
                let stop = Arc::clone(&stop);
                std::thread::spawn(move || {
                    let mut swaps = 0_u64;
                    while !stop.load(Ordering::Relaxed) {
                        let swapped = fs::rename(&way, &real)
                            .and_then(|()| fs::rename(&spare, &way))
                            .and_then(|()| fs::rename(&way, &spare))
                            .and_then(|()| fs::rename(&real, &way));
                        if swapped.is_err() {
                            break;
                        }
                        swaps += 1;
                    }
                    swaps
                })
            };
            let mut found = 0;
            for _ in 0..400 {
                let opened = place.ask(&["open", "0", "read", "way/secret"]).await?;
                if !opened.starts_with("error ") {
                    let content = place.ask(&["read-stream", &opened, "0"]).await?;
                    ensure_eq!(content, "harmless", "what was read while the directory was swapped");
                    place.ask(&["close", &opened]).await?;
                    found += 1;
                }
            }
            stop.store(true, Ordering::Relaxed);
            let swaps = swapping.join().map_err(|_| Broken::new("the thread that swaps has panicked".to_owned()))?;
            ensure!(swaps > 0 && found > 0, "{swaps} swaps, and {found} reads: nothing was shown");
            place.live.end().await
        }

        /// No link is made: neither a symbolic one, nor a second name for a file.
        fn links_are_not_made(t) {
            let place = Place::open(t).await?;
            for words in [
                &["symlink", "0", "note", "link"][..],
                &["symlink", "0", "/etc", "link"],
                &["link", "0", "note", "0", "link"],
                &["readlink", "0", "note"],
            ] {
                place.comes_to(words, "error not-permitted").await?;
            }
            ensure_eq!(fs::read_dir(&place.own)?.count(), 1, "files in the folder");
            place.live.end().await
        }

        /// What cannot be read where it is cannot be moved to where it could be.
        fn moving_gives_no_right(t) {
            let grants = ["file-write:@/in/**", "file-read:@/out/**", "file-write:@/out/**"];
            let place = Place::new(t, &grants).await?;
            fs::create_dir(place.own.join("in"))?;
            fs::create_dir(place.own.join("out"))?;
            fs::write(place.own.join("in").join("sealed"), SECRET)?;
            place.ask(&["directories"]).await?;
            place.comes_to(&["rename", "0", "sealed", "1", "opened"], "error access").await?;
            place.comes_to(&["open", "0", "read", "sealed"], "error access").await?;
            ensure!(!place.own.join("out").join("opened").exists(), "the file was moved");
            place.live.end().await
        }

        /// What is neither a file nor a directory is not opened.
        fn special_files_are_not_opened(t) {
            let place = Place::open(t).await?;
            let _socket = socket(&place.own.join("socket"))?;
            for flags in ["read", "write", "read,write"] {
                place.comes_to(&["open", "0", flags, "socket"], "error not-permitted").await?;
            }
            let kind = place.ask(&["stat-at", "0", "", "socket"]).await?;
            ensure!(kind.starts_with("socket "), "a socket is told to be `{kind}`");
            place.live.end().await
        }

        /// No more files and directories are open at a time than the limit says, and what is closed counts no more.
        fn open_files_are_bounded(t) {
            let limits = ResourceLimits { open_files: 3, ..ample() };
            let place = Place::with_limits(t, &["file-read:@/**"], limits).await?;
            place.ask(&["directories"]).await?;
            for number in ["1", "2"] {
                place.comes_to(&["open", "0", "read", "note"], number).await?;
            }
            place.comes_to(&["hold-list", "0"], "").await?;
            for words in [&["open", "0", "read", "note"][..], &["open", "0", "read", "."], &["list", "0"]] {
                place.comes_to(words, "error quota").await?;
            }
            // A stream holds bytes of its file, and counts as well.
            for words in [&["read-stream", "2", "0"][..], &["hold-stream", "2"], &["append", "2", "x"]] {
                place.comes_to(words, "error quota").await?;
            }
            place.comes_to(&["read", "2", "0", "9"], "a note").await?;
            place.comes_to(&["close", "1"], "").await?;
            place.comes_to(&["read-stream", "2", "0"], "a note").await?;
            place.comes_to(&["list", "0"], "regular-file note").await?;
            place.comes_to(&["hold-stream", "2"], "a").await?;
            place.comes_to(&["open", "0", "read", "note"], "error quota").await?;
            place.live.end().await
        }

        /// What the operator forbids is out of reach for who was granted all that is around it.
        fn forbidden_wins(t) {
            use airssys_wasm::Host;
            use airssys_wasm_core::config::{HostConfig, SecurityConfig};
            let folder = TempDir::with_prefix("airssys-wasm-files-")?;
            let root = fs::canonicalize(folder.path())?;
            fs::write(root.join("open"), "open")?;
            fs::write(root.join("sealed"), SECRET)?;
            let forbidden = vec![format!("file-read:{}/sealed", root.display()).parse()?];
            let security = SecurityConfig { forbidden, ..SecurityConfig::default() };
            let config = HostConfig { security, ..HostConfig::default() };
            let live = t.start_as(Host::builder().config(config)).await?;
            let grant = format!("file-read:{}/**", root.display());
            let component = live.guest(Guest::WasiFiles, "acme/files", &[&grant]).await?;
            live.ask(&component, "directories").await?;
            ensure_eq!(live.ask(&component, "open\n0\nread\nopen").await?, "1", "a file that may be read");
            let seen = live.ask(&component, "open\n0\nread\nsealed").await?;
            ensure_eq!(seen, "error access", "a file that is forbidden");
            let rule = live.audit.denials().pop().map(|record| record.result);
            ensure_eq!(rule, Some(PermissionResult::Denied(Rule::Forbidden)), "the rule that denied it");
            live.end().await
        }
    }
}
