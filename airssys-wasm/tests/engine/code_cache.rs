//! Compiled code on disk: used when it is ours, compiled again when it is anything else.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::support::*;
use airssys_wasm::core::component::ResourceLimits;
use airssys_wasm::core::error::ErrorKind;
use airssys_wasm::core::runtime::{CodeOrigin, LoadOptions, Metering, RuntimeEngine};

fn with_cache(folder: &Path) -> Arc<dyn RuntimeEngine> {
    Setup::cached(folder).engine().unwrap()
}

async fn origin(engine: &Arc<dyn RuntimeEngine>, wasm: &[u8]) -> CodeOrigin {
    load(engine, wasm).await.origin()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    files.sort();
    files
}

/// A small component: the tests load it very often.
fn small(number: u32) -> Vec<u8> {
    wat(&format!(
        r#"(component (core module $m (func (export "run") (result i32) (i32.const {number})))
            (core instance $i (instantiate $m))
            (func (export "run") (result u32) (canon lift (core func $i "run"))))"#
    ))
}

async fn check_number(engine: &Arc<dyn RuntimeEngine>, number: u32) {
    let services = Services::new(Mood::Well);
    let mut instance = instance_of(engine, &small(number), &ResourceLimits::default(), &services).await;
    let answer = run(&mut *instance, "run").await.unwrap();
    assert_eq!(answer, Some(airssys_wasm::core::runtime::Value::U32(number)));
}

#[tokio::test]
async fn code_is_compiled_once() {
    let folder = tempfile::tempdir().unwrap();
    let engine = with_cache(folder.path());
    let greeter = guest("greeter");
    assert_eq!(origin(&engine, &greeter).await, CodeOrigin::Compiled);
    assert_eq!(origin(&engine, &greeter).await, CodeOrigin::Cache);
    let services = Services::new(Mood::Well);
    let mut instance = instance_of(&engine, &greeter, &ResourceLimits::default(), &services).await;
    assert_eq!(ask(&mut *instance, "world").await, "Hello, world!");
    let again = with_cache(folder.path());
    assert_eq!(origin(&again, &greeter).await, CodeOrigin::Cache);
    let cached = load(&again, &greeter).await;
    assert_eq!(cached.interface(), load(&crate::support::engine(), &greeter).await.interface());
    assert_eq!(origin(&again, &guest("counter")).await, CodeOrigin::Compiled);
}

#[tokio::test]
async fn code_for_other_settings_is_other_code() {
    let folder = tempfile::tempdir().unwrap();
    let engine = with_cache(folder.path());
    let metered = LoadOptions { metering: Metering::Fuel, ..LoadOptions::default() };
    assert_eq!(origin(&engine, &small(1)).await, CodeOrigin::Compiled);
    assert_eq!(engine.load(&small(1), metered.clone()).await.unwrap().origin(), CodeOrigin::Compiled);
    assert_eq!(engine.load(&small(1), metered).await.unwrap().origin(), CodeOrigin::Cache);
    assert_eq!(files(folder.path(), "cwasm").len(), 2);
}

#[tokio::test]
async fn every_damaged_bit_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let engine = with_cache(folder.path());
    check_number(&engine, 1).await;
    let (code, seal) = (files(folder.path(), "cwasm").remove(0), files(folder.path(), "seal").remove(0));
    let (good_code, good_seal) = (fs::read(&code).unwrap(), fs::read(&seal).unwrap());
    for path in [&code, &seal] {
        let good = fs::read(path).unwrap();
        let step = (good.len() * 8 / 60).max(1);
        for bit in (0..good.len() * 8).step_by(step) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(path, &bad).unwrap();
            assert_eq!(
                origin(&engine, &small(1)).await,
                CodeOrigin::Compiled,
                "bit {bit} of {}",
                path.display()
            );
            assert_eq!(fs::read(&code).unwrap(), good_code);
            assert_eq!(fs::read(&seal).unwrap(), good_seal);
        }
    }
    assert_eq!(origin(&engine, &small(1)).await, CodeOrigin::Cache);
}

#[tokio::test]
async fn files_that_are_cut_missing_or_exchanged_are_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let engine = with_cache(folder.path());
    check_number(&engine, 1).await;
    check_number(&engine, 2).await;
    let (codes, seals) = (files(folder.path(), "cwasm"), files(folder.path(), "seal"));
    let contents: Vec<_> = codes.iter().chain(&seals).map(|path| fs::read(path).unwrap()).collect();
    let restore = || {
        for (path, content) in codes.iter().chain(&seals).zip(&contents) {
            fs::write(path, content).unwrap();
        }
    };
    let damages: [(&str, &dyn Fn()); 7] = [
        ("code cut", &|| {
            codes
                .iter()
                .zip(&contents)
                .for_each(|(path, good)| fs::write(path, &good[..good.len() / 2]).unwrap());
        }),
        ("code empty", &|| codes.iter().for_each(|path| fs::write(path, b"").unwrap())),
        ("code gone", &|| codes.iter().for_each(|path| fs::remove_file(path).unwrap())),
        ("seal cut", &|| seals.iter().for_each(|path| fs::write(path, [0; 31]).unwrap())),
        ("seal gone", &|| seals.iter().for_each(|path| fs::remove_file(path).unwrap())),
        ("seals exchanged", &|| {
            fs::write(&seals[0], &contents[3]).unwrap();
            fs::write(&seals[1], &contents[2]).unwrap();
        }),
        ("entries exchanged", &|| {
            fs::write(&codes[0], &contents[1]).unwrap();
            fs::write(&codes[1], &contents[0]).unwrap();
            fs::write(&seals[0], &contents[3]).unwrap();
            fs::write(&seals[1], &contents[2]).unwrap();
        }),
    ];
    for (what, damage) in damages {
        restore();
        assert_eq!(origin(&engine, &small(1)).await, CodeOrigin::Cache, "before: {what}");
        damage();
        for number in [1, 2] {
            assert_eq!(origin(&engine, &small(number)).await, CodeOrigin::Compiled, "{what}");
            check_number(&engine, number).await;
        }
    }
}

#[tokio::test]
async fn code_of_another_host_is_not_used() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    check_number(&with_cache(theirs.path()), 1).await;
    let engine = with_cache(ours.path());
    for file in files(theirs.path(), "cwasm").iter().chain(&files(theirs.path(), "seal")) {
        fs::copy(file, ours.path().join(file.file_name().unwrap())).unwrap();
    }
    assert_eq!(origin(&engine, &small(1)).await, CodeOrigin::Compiled);
    assert_eq!(origin(&engine, &small(1)).await, CodeOrigin::Cache);
}

#[tokio::test]
async fn a_damaged_key_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    check_number(&with_cache(folder.path()), 1).await;
    fs::write(folder.path().join("host.key"), b"short").unwrap();
    let engine = with_cache(folder.path());
    assert_eq!(origin(&engine, &small(1)).await, CodeOrigin::Compiled);
    assert_eq!(origin(&with_cache(folder.path()), &small(1)).await, CodeOrigin::Cache);
    assert_eq!(fs::read(folder.path().join("host.key")).unwrap().len(), 32);
}

#[test]
fn hosts_that_start_together_agree() {
    let folder = tempfile::tempdir().unwrap();
    let hosts: Vec<_> = (0..8)
        .map(|_| {
            let folder = folder.path().to_owned();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    let engine = with_cache(&folder);
                    for number in 0..10 {
                        check_number(&engine, number).await;
                    }
                });
            })
        })
        .collect();
    hosts.into_iter().for_each(|host| host.join().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for number in 0..10 {
            assert_eq!(origin(&with_cache(folder.path()), &small(number)).await, CodeOrigin::Cache);
        }
    });
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 21, "more files are left than ten entries and the key");
}

#[cfg(unix)]
#[tokio::test]
async fn only_this_user_can_write_there() {
    use std::os::unix::fs::PermissionsExt;

    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("made/for/the/cache");
    check_number(&with_cache(&folder), 1).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for file in fs::read_dir(&folder).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }

    // A key that others could read is not trusted any more.
    let key = fs::read(folder.join("host.key")).unwrap();
    fs::set_permissions(folder.join("host.key"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(origin(&with_cache(&folder), &small(1)).await, CodeOrigin::Compiled);
    assert_ne!(fs::read(folder.join("host.key")).unwrap(), key);

    for open in [0o770, 0o707, 0o777, 0o722] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(open)).unwrap();
        let error = Setup::cached(&folder).engine().map(|_| ()).unwrap_err();
        expect(&error, ErrorKind::InvalidConfiguration, None);
        assert!(error.next_step().unwrap().contains("chmod 700"), "{error}");
    }
}

#[test]
fn a_folder_that_cannot_be_is_refused_at_once() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, b"").unwrap();
    for folder in [file.clone(), file.join("below")] {
        let error = Setup::cached(&folder).engine().map(|_| ()).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::InvalidConfiguration), "{error}");
        assert!(error.to_string().contains(&folder.display().to_string()), "{error}");
        assert!(error.next_step().is_some());
    }
}
