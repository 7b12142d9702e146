//! Whether the recorder sees what it should, refuses what it cannot follow, and whether images hold what they should.

use std::path::{Path, PathBuf};

use libtest_mimic::{Failed, Trial};

use crate::history::{Change, Contents, Event, FileId, History, Synced};
use crate::images::Mode;
use crate::recorder::Recorder;
use crate::stores::Numbers;

type Check = fn() -> Result<(), String>;

const ROOT: &str = "/store";

/// A check, by name.
pub(crate) fn trials() -> Vec<Trial> {
    let checks: [(&str, Check); 6] = [
        ("recorder::follows_files", follows_files),
        ("recorder::follows_threads", follows_threads),
        ("recorder::refuses_what_it_cannot_follow", refuses_what_it_cannot_follow),
        ("recorder::knows_failed_syncs", knows_failed_syncs),
        ("images::have_four_modes", have_four_modes),
        ("images::lose_what_a_failed_sync_covered", lose_what_a_failed_sync_covered),
    ];
    checks.map(|(name, check)| Trial::test(name, move || check().map_err(Failed::from))).into()
}

/// As strace writes strings.
fn text(bytes: &str) -> String {
    let digits: String = bytes.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("\"{digits}\"")
}

fn opens(name: &str, flags: &str, descriptor: u32) -> String {
    format!("1 openat(AT_FDCWD, {}, O_RDWR|{flags}, 0666) = {descriptor}", text(&format!("{ROOT}/{name}")))
}

fn recorded(lines: &[String]) -> Result<Vec<Event>, String> {
    let mut recorder = Recorder::new(Path::new(ROOT), &Contents::default());
    for line in lines {
        recorder.take(line)?;
    }
    Ok(recorder.events)
}

fn is<T: PartialEq + std::fmt::Debug>(found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?} instead of {expected:?}")) }
}

fn named(name: &str, file: usize) -> Event {
    Event::Changed(Change::Name { path: PathBuf::from(name), file: FileId(file) })
}

fn written(file: usize, offset: u64, bytes: &str) -> Event {
    Event::Changed(Change::Write { file: FileId(file), offset, bytes: bytes.into() })
}

fn follows_files() -> Result<(), String> {
    let events = recorded(&[
        opens("a", "O_CREAT|O_APPEND|O_CLOEXEC", 5),
        format!("1 write(5, {}, 3) = 3", text("abc")),
        "1 fcntl(5, F_DUPFD_CLOEXEC, 3) = 6".to_owned(),
        "1 close(5) = 0".to_owned(),
        // A write may do less than it was asked for.
        format!(
            "1 writev(6, [{{iov_base={}, iov_len=1}}, {{iov_base={}, iov_len=2}}], 2) = 2",
            text("d"),
            text("ef")
        ),
        opens("a", "O_CLOEXEC", 5),
        format!("1 pwrite64(5, {}, 1, 1) = 1", text("x")),
        "1 ftruncate(5, 4) = 0".to_owned(),
        format!("1 rename({}, {}) = 0", text("/store/a"), text("/store/b")),
        format!("1 unlink({}) = 0", text("/elsewhere/b")),
        format!("1 openat(AT_FDCWD, {}, O_RDONLY|O_DIRECTORY) = 7", text("/store")),
        "1 fsync(7) = 0".to_owned(),
        format!("1 write(1, {}, 8) = 8", text("start 1\n")),
    ])?;
    let (path, to) = (PathBuf::from("a"), PathBuf::from("b"));
    is(
        &events,
        &vec![
            named("a", 0),
            written(0, 0, "abc"),
            written(0, 3, "de"),
            written(0, 1, "x"),
            Event::Changed(Change::Resize { file: FileId(0), size: 4 }),
            Event::Changed(Change::Rename { from: path, to }),
            Event::Synced { what: Synced::Folder(PathBuf::new()), covers: 6 },
            Event::Said("start 1".parse()?),
        ],
    )
}

fn follows_threads() -> Result<(), String> {
    let events = recorded(&[
        opens("a", "O_CREAT", 5),
        "1 fdatasync(5 <unfinished ...>".to_owned(),
        format!("2 pwrite64(5, {}, 1, 0) = 1", text("x")),
        "1 <... fdatasync resumed>) = 0".to_owned(),
    ])?;
    // The write came while the synchronisation ran: it is not covered.
    let synced = Event::Synced { what: Synced::File(FileId(0)), covers: 1 };
    is(&events, &vec![named("a", 0), written(0, 0, "x"), synced])
}

fn refuses_what_it_cannot_follow() -> Result<(), String> {
    let maps = |protection: &str, flags: &str| {
        vec![
            opens("a", "O_CREAT", 5),
            format!("1 mmap(NULL, 4096, {protection}, {flags}, 5, 0) = 0x7f0000000000"),
        ]
    };
    recorded(&maps("PROT_READ", "MAP_SHARED"))?;
    recorded(&maps("PROT_READ|PROT_WRITE", "MAP_PRIVATE"))?;
    let threads =
        "1 clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0} => {parent_tid=[2]}, 88) = 2".to_owned();
    recorded(&[threads])?;
    for refused in [
        maps("PROT_READ|PROT_WRITE", "MAP_SHARED"),
        vec!["1 io_uring_setup(8, {flags=0}) = 5".to_owned()],
        vec!["1 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD) = 2".to_owned()],
        vec!["1 vfork() = 2".to_owned()],
        vec![opens("a", "O_CREAT", 5), "1 write(5, \"\\x61\"..., 2) = 2".to_owned()],
        vec![opens("a", "O_CREAT", 5), "1 sendfile(5, 4, NULL, 10) = 10".to_owned()],
        vec![opens("a", "O_CLOEXEC", 5)],
        vec!["1 what is this".to_owned()],
    ] {
        if let Ok(events) = recorded(&refused) {
            return Err(format!("{refused:?} was taken for {events:?}"));
        }
    }
    Ok(())
}

fn knows_failed_syncs() -> Result<(), String> {
    let events = recorded(&[
        opens("a", "O_CREAT", 5),
        "1 fsync(5) = -1 EIO (Input/output error) (INJECTED)".to_owned(),
        format!("1 pwrite64(5, {}, 1, 0) = -1 ENOSPC (No space left on device) (INJECTED)", text("x")),
    ])?;
    is(&events, &vec![named("a", 0), Event::SyncFailed { what: Synced::File(FileId(0)), covers: 1 }])
}

fn history(events: Vec<Event>) -> History {
    History { before: Contents::default(), events }
}

fn image(history: &History, mode: Mode) -> Vec<(String, String)> {
    let contents = history.image(history.events.len(), mode, &mut Numbers::new(1));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    contents.files.into_iter().map(|(path, bytes)| (path.display().to_string(), text(bytes))).collect()
}

fn file(name: &str, bytes: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), bytes.to_owned())]
}

fn have_four_modes() -> Result<(), String> {
    let history = history(vec![
        named("a", 0),
        written(0, 0, "old"),
        Event::Synced { what: Synced::File(FileId(0)), covers: 2 },
        Event::Synced { what: Synced::Folder(PathBuf::new()), covers: 3 },
        written(0, 2, "new"),
        Event::Changed(Change::Rename { from: PathBuf::from("a"), to: PathBuf::from("b") }),
    ]);
    is(&image(&history, Mode::Everything), &file("b", "olnew"))?;
    is(&image(&history, Mode::Metadata), &file("b", "old\0\0"))?;
    is(&image(&history, Mode::Nothing), &file("a", "old"))?;
    let torn: std::collections::BTreeSet<_> = (0..200)
        .map(|seed| history.image(history.events.len(), Mode::Torn, &mut Numbers::new(seed)).files)
        .map(|files| files.into_values().collect::<Vec<_>>().concat())
        .collect();
    is(&torn.len(), &2)?;
    // Sectors of one write go their own ways.
    let sectors = "s".repeat(4 * 512);
    let history = self::history(vec![named("a", 0), written(0, 0, &sectors)]);
    let torn: std::collections::BTreeSet<_> = (0..2_000)
        .map(|seed| {
            history.image(2, Mode::Torn, &mut Numbers::new(seed)).files.into_values().collect::<Vec<_>>()
        })
        .collect();
    is(&torn.len(), &16)
}

fn lose_what_a_failed_sync_covered() -> Result<(), String> {
    let history = history(vec![
        named("a", 0),
        Event::Synced { what: Synced::Everything, covers: 1 },
        written(0, 0, "lost"),
        Event::SyncFailed { what: Synced::File(FileId(0)), covers: 3 },
        written(0, 4, "kept"),
        Event::Synced { what: Synced::File(FileId(0)), covers: 5 },
    ]);
    is(&image(&history, Mode::Everything), &file("a", "lostkept"))?;
    is(&image(&history, Mode::Metadata), &file("a", "\0\0\0\0kept"))?;
    is(&image(&history, Mode::Nothing), &file("a", "\0\0\0\0kept"))
}
