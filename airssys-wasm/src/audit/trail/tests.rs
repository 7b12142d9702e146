use std::env;
use std::process::{Command, Stdio};

use airssys_wasm_core::capability::Access;
use airssys_wasm_core::component::Version;
use airssys_wasm_core::security::{IsolationBoundary, SecurityContext, TrustLevel};
use tempfile::TempDir;

use super::super::verify;
use super::*;

fn context(component: &str) -> SecurityContext {
    SecurityContext {
        instance: InstanceId::new(component.parse().unwrap(), Version::new(1, 0, 0), 1),
        digest: ArtifactDigest::from_bytes([7; 32]),
        trust: TrustLevel::Unknown,
        boundary: IsolationBoundary::Sandbox,
    }
}

fn record(trail: &AuditTrail, object: &str, result: PermissionResult) {
    let context = context("acme/counter");
    let access = Access::Storage { namespace: object };
    trail.record(&AuditEvent { at: SystemTime::now(), context: &context, access, result });
}

const DENIED: PermissionResult = PermissionResult::Denied(Rule::Default);
const ALLOWED: PermissionResult = PermissionResult::Allowed(Rule::Grant);

fn all(folder: &Path) -> Vec<TrailRecord> {
    let mut records = Vec::new();
    verify(folder, None, |record| records.push(record.clone())).unwrap();
    records
}

/// What verification says of a trail of one file with this content.
fn verdict(bytes: &[u8]) -> Result<crate::audit::TrailReport> {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join(file_name(1)), bytes).unwrap();
    verify(folder.path(), None, |_| {})
}

/// A trail with a few records, as the bytes of its file.
fn small() -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let trail = AuditTrail::open(folder.path()).unwrap();
    record(&trail, "acme/counter", ALLOWED);
    record(&trail, "acme/other\n\u{2028}\"}", DENIED);
    record(&trail, "acme/third", DENIED);
    drop(trail);
    fs::read(folder.path().join(file_name(1))).unwrap()
}

#[test]
fn what_is_recorded_is_there_in_order_also_after_reopening() {
    let folder = TempDir::new().unwrap();
    for round in 0..3 {
        let trail = AuditTrail::with_file_size(folder.path(), 1_000).unwrap();
        for number in 0..10 {
            record(&trail, &format!("acme/c{round}{number}"), if number % 2 == 0 { ALLOWED } else { DENIED });
            trail.sync().unwrap();
        }
    }
    let records = all(folder.path());
    let accesses: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.act {
            Act::Allowed(decided) | Act::Denied(decided) => Some(decided.access.as_str()),
            _ => None,
        })
        .collect();
    let expected: Vec<_> = (0..30).map(|number| format!("storage:acme/c{number:02}")).collect();
    assert_eq!(accesses, expected);
    assert_eq!(records.len(), 36, "each time it was opened and closed");
    let report = verify(folder.path(), None, |_| {}).unwrap();
    assert!(report.files > 3 && report.torn == 0, "{report:?}");
}

#[test]
fn every_changed_byte_is_found() {
    let bytes = small();
    let good = verdict(&bytes).unwrap();
    assert_eq!((good.records, good.torn), (5, 0));
    for position in 0..bytes.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut changed = bytes.clone();
            changed[position] ^= flip;
            match verdict(&changed) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::Io),
                // The last line end alone: what is before it is told as torn, and not taken for a record.
                Ok(report) => {
                    assert!(position + 1 == bytes.len() && report.torn > 0, "byte {position}: {report:?}");
                }
            }
        }
    }
}

#[test]
fn lines_that_are_missing_doubled_or_moved_are_found() {
    let bytes = small();
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 5, "hostile text stays on its line");
    let refused = |order: &[usize]| {
        let changed: Vec<u8> = order.iter().flat_map(|line| lines[*line].to_vec()).collect();
        assert!(verdict(&changed).is_err(), "{order:?}");
    };
    for missing in 0..4 {
        refused(&(0..5).filter(|line| *line != missing).collect::<Vec<_>>());
    }
    for doubled in 0..5 {
        refused(&(0..5).flat_map(|line| vec![line; 1 + usize::from(line == doubled)]).collect::<Vec<_>>());
        for other in doubled + 1..5 {
            let mut order: Vec<_> = (0..5).collect();
            order.swap(doubled, other);
            refused(&order);
        }
    }
    // A chain cannot tell that its end was cut off; whoever kept its head can.
    let folder = TempDir::new().unwrap();
    let head = verdict(&bytes).unwrap().head;
    let path = folder.path().join(file_name(1));
    fs::write(&path, lines[..4].concat()).unwrap();
    let cut = verify(folder.path(), Some(head), |_| {}).unwrap();
    assert!(!cut.expected && cut.records == 4);
    fs::write(&path, &bytes).unwrap();
    assert!(verify(folder.path(), Some(head), |_| {}).unwrap().expected);
    assert!(verify(folder.path(), Some(cut.head), |_| {}).unwrap().expected, "it was the head once");
}

#[test]
fn a_file_that_is_missing_is_found() {
    let folder = TempDir::new().unwrap();
    let trail = AuditTrail::with_file_size(folder.path(), 1).unwrap();
    for _ in 0..4 {
        record(&trail, "acme/counter", DENIED);
        trail.sync().unwrap();
    }
    drop(trail);
    assert!(verify(folder.path(), None, |_| {}).unwrap().files >= 4);
    for number in [1, 2] {
        let (path, aside) = (folder.path().join(file_name(number)), folder.path().join("aside"));
        fs::rename(&path, &aside).unwrap();
        assert!(verify(folder.path(), None, |_| {}).is_err(), "file {number}");
        fs::rename(&aside, &path).unwrap();
    }
}

#[test]
fn a_torn_line_is_told_and_kept() {
    let bytes = small();
    for cut in [1, 2, 40, 300] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join(file_name(1));
        fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
        let report = verify(folder.path(), None, |_| {}).unwrap();
        assert!(report.torn > 0, "{report:?}");
        drop(AuditTrail::open(folder.path()).unwrap());
        let records = all(folder.path());
        let torn = records.iter().find_map(|record| match &record.act {
            Act::Opened { torn } => torn.clone(),
            _ => None,
        });
        assert_eq!(torn.unwrap().len() as u64, 2 * report.torn, "the bytes are in the record of the opening");
    }
}

#[test]
fn one_host_writes_to_a_trail_and_a_changed_one_is_not_continued() {
    let folder = TempDir::new().unwrap();
    let trail = AuditTrail::open(folder.path()).unwrap();
    let second = AuditTrail::open(folder.path()).unwrap_err();
    assert!(second.to_string().contains("another host writes"), "{second}");
    drop(trail);
    let path = folder.path().join(file_name(1));
    let changed = fs::read_to_string(&path).unwrap().replace("closed", "clozed");
    fs::write(&path, changed).unwrap();
    let refused = AuditTrail::open(folder.path()).unwrap_err();
    assert!(refused.to_string().contains("cannot be continued"), "{refused}");
}

#[test]
fn a_million_denials_are_all_accounted_for() {
    const DENIALS: u64 = 1_000_000;
    let folder = TempDir::new().unwrap();
    let trail = AuditTrail::open(folder.path()).unwrap();
    let context = context("evil/asker");
    let event = AuditEvent {
        at: SystemTime::now(),
        context: &context,
        access: Access::Storage { namespace: "acme/bank" },
        result: DENIED,
    };
    for _ in 0..DENIALS {
        trail.record(&event);
    }
    record(&trail, "acme/counter", ALLOWED);
    drop(trail);
    let (mut denied, mut allowed) = (0, 0);
    for record in all(folder.path()) {
        match record.act {
            Act::Denied(_) => denied += 1,
            Act::Allowed(_) => allowed += 1,
            Act::Counted { count, what: Counted::Allowed, .. } => allowed += count,
            Act::Counted { count, component, rule, .. } => {
                assert_eq!((component.unwrap().as_str(), rule.as_deref()), ("evil/asker", Some("default")));
                denied += count;
            }
            _ => {}
        }
    }
    assert_eq!((denied, allowed), (DENIALS, 1));
}

#[test]
#[ignore = "the process that the test below starts and kills: it records until then"]
fn child_that_is_killed() {
    let folder = env::var_os("AUDIT_TRAIL_OF_A_CHILD").unwrap();
    let trail = AuditTrail::with_file_size(folder, 20_000).unwrap();
    io::stdout().write_all(b"ready\n").unwrap();
    for number in 0_u64.. {
        record(&trail, &format!("acme/c{number}"), DENIED);
        thread::sleep(Duration::from_micros(20));
    }
}

#[test]
fn a_trail_survives_that_its_process_is_killed() {
    let folder = TempDir::new().unwrap();
    let mut before = 0;
    for round in 0..10 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "audit::trail::tests::child_that_is_killed", "--ignored", "--nocapture"])
            .env("AUDIT_TRAIL_OF_A_CHILD", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"ready") && output.read(&mut byte).unwrap() == 1 {
            seen.push(byte[0]);
        }
        thread::sleep(Duration::from_millis(5 + 7 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let report = verify(folder.path(), None, |_| {}).unwrap();
        assert!(report.records > before, "round {round}: {report:?}");
        before = report.records;
    }
}
