//! The store's own concurrency under schedules that shuttle chooses: the queue of commits, what transactions see, closing,
//! failing. Runs with `--cfg shuttle` alone; docs/storage-crash-tests.md has the command.
//!
//! A schedule that breaks something is printed, and `shuttle::replay` runs it again.

#![cfg(shuttle)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use airssys_wasm_core::error::{Detail, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, CommitVersion, Durability, Key, KeyRange, Namespace, StorageBackend,
};
use airssys_wasm_storage::Store;
use futures_util::FutureExt;
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;
use shuttle::{Config, Runner};

mod medium;

use medium::{Engine, Medium};

/// How many schedules of each kind are tried where the environment does not say.
const SCHEDULES: usize = 1_000;

/// Runs `body` under as many schedules as are asked for, half of them by chance alone, half with few preemptions. (Burckhardt et
/// al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", 2010.)
fn under_all_schedules(body: impl Fn() + Send + Sync + 'static) {
    let count = match std::env::var("AIRSSYS_WASM_SCHEDULES") {
        Ok(text) => text.parse().expect("AIRSSYS_WASM_SCHEDULES is a number"),
        Err(_) => SCHEDULES,
    };
    let mut config = Config::new();
    config.stack_size = 1 << 18;
    let body = Arc::new(body);
    let again = Arc::clone(&body);
    let random = RandomScheduler::new(count.div_ceil(2));
    let tried = Runner::new(random, config.clone()).run(move || body());
    let preempting = PctScheduler::new(3, count / 2);
    let tried = tried + Runner::new(preempting, config).run(move || again());
    assert_eq!(tried, count, "schedules that were tried");
}

type Opened = Arc<Store<Engine>>;

fn open(medium: &Arc<Medium>) -> Opened {
    // Either no interval at all, so that a flush is due after every commit, or one that never ends.
    let interval = if thread_rng().gen_bool(0.5) { Duration::ZERO } else { Duration::from_secs(86_400) };
    Arc::new(Store::over(Engine::of(medium), interval).unwrap())
}

fn space() -> Namespace {
    Namespace::new("space").unwrap()
}

fn key(name: impl AsRef<[u8]>) -> Key {
    Key::new(name.as_ref()).unwrap()
}

fn put(names: &[&str], value: &str) -> Batch {
    let mut batch = Batch::new();
    for name in names {
        batch.put(&space(), key(name), value);
    }
    batch
}

fn value(store: &Opened, name: &str) -> Option<String> {
    let record = block_on(store.get(&space(), &key(name))).unwrap();
    record.map(|record| String::from_utf8(record.value).unwrap())
}

fn fault(error: &WasmError) -> StorageFault {
    match error.detail() {
        Some(Detail::Storage(fault)) => fault,
        other => panic!("{other:?}: {error}"),
    }
}

/// Every commit has a version of its own, those of one caller ascend, and the last version is the one that stays.
fn commits_are_one_after_another(inline: bool) {
    let medium = Medium::new(inline);
    let store = open(&medium);
    let callers = ["a", "b", "c"].map(|name| {
        let store = Arc::clone(&store);
        thread::spawn(move || {
            let commit = |round: &str| {
                let durability =
                    if thread_rng().gen_bool(0.5) { Durability::Immediate } else { Durability::Eventual };
                let written = format!("{name}{round}");
                let outcome = block_on(store.commit(put(&["last", &written], &written), durability)).unwrap();
                assert_eq!(
                    value(&store, &written).as_deref(),
                    Some(written.as_str()),
                    "a caller's own write"
                );
                (outcome.version, written)
            };
            [commit("1"), commit("2")]
        })
    });
    let mut written: Vec<(CommitVersion, String)> = Vec::new();
    for caller in callers {
        let of_one = caller.join().unwrap();
        assert!(of_one[0].0 < of_one[1].0, "{of_one:?}");
        written.extend(of_one);
    }
    written.sort();
    assert!(written.windows(2).all(|pair| pair[0].0 < pair[1].0), "{written:?}");
    assert_eq!(value(&store, "last").as_ref(), written.last().map(|(_, name)| name));
    block_on(store.close()).unwrap();
    assert!(medium.is_closed());
    let again = open(&medium.after_power_loss());
    assert_eq!(value(&again, "last").as_ref(), written.last().map(|(_, name)| name), "after closing");
}

#[test]
fn commits_through_the_queue_are_one_after_another() {
    under_all_schedules(|| commits_are_one_after_another(false));
}

#[test]
fn commits_on_the_calling_thread_are_one_after_another() {
    under_all_schedules(|| commits_are_one_after_another(true));
}

/// What was acknowledged as durable, or synchronised, is there after the power failed at any moment.
#[test]
fn what_was_acknowledged_survives_a_loss_of_power() {
    under_all_schedules(|| {
        let medium = Medium::new(false);
        let store = open(&medium);
        let callers = ["a", "b", "c"].map(|name| {
            let (store, medium) = (Arc::clone(&store), Arc::clone(&medium));
            thread::spawn(move || {
                if name == "c" {
                    block_on(store.commit(put(&["c"], "1"), Durability::Eventual)).unwrap();
                    block_on(store.sync()).unwrap();
                } else {
                    block_on(store.commit(put(&[name], "1"), Durability::Immediate)).unwrap();
                }
                assert_eq!(value(&open(&medium.after_power_loss()), name).as_deref(), Some("1"), "`{name}`");
            })
        });
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
}

/// A caller who goes away in the middle leaves a whole commit or none, and nobody else waits for it.
#[test]
fn an_abandoned_commit_is_whole_or_nothing() {
    under_all_schedules(|| {
        let medium = Medium::new(false);
        let store = open(&medium);
        // The first one leases versions; those behind it can do without the thread.
        block_on(store.commit(put(&["w"], "first"), Durability::Eventual)).unwrap();
        let abandoning = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                let mut commit = Box::pin(store.commit(put(&["x", "y"], "gone"), Durability::Immediate));
                for _ in 0..thread_rng().gen_range(0..3) {
                    if (&mut commit).now_or_never().is_some() {
                        return;
                    }
                    thread::yield_now();
                }
            })
        };
        block_on(store.commit(put(&["z"], "here"), Durability::Immediate)).unwrap();
        abandoning.join().unwrap();
        if thread_rng().gen_bool(0.5) {
            block_on(store.sync()).unwrap();
            assert_eq!(value(&store, "x"), value(&store, "y"));
            assert_eq!(value(&store, "z").as_deref(), Some("here"));
        }
        // Nobody overtakes what was asked for first.
        block_on(store.commit(put(&["x"], "after"), Durability::Eventual)).unwrap();
        block_on(store.sync()).unwrap();
        assert_eq!(value(&store, "x").as_deref(), Some("after"));
    });
}

/// Closing beside commits, a synchronisation and another closing: everybody is answered, and what was answered with ok is durable.
fn closing_answers_everybody(inline: bool) {
    let medium = Medium::new(inline);
    let store = open(&medium);
    let callers = ["a", "b"].map(|name| {
        let store = Arc::clone(&store);
        thread::spawn(move || match block_on(store.commit(put(&[name], "1"), Durability::Eventual)) {
            Ok(_) => true,
            Err(refused) => {
                assert_eq!(fault(&refused), StorageFault::Closed, "{refused}");
                false
            }
        })
    });
    let closing = {
        let store = Arc::clone(&store);
        thread::spawn(move || block_on(store.close()).unwrap())
    };
    match block_on(store.sync()) {
        Ok(()) => {}
        Err(refused) => assert_eq!(fault(&refused), StorageFault::Closed, "{refused}"),
    }
    block_on(store.close()).unwrap();
    assert!(medium.is_closed(), "a finished close leaves a closed engine");
    let done = callers.map(|caller| caller.join().unwrap());
    closing.join().unwrap();
    let again = open(&medium.after_power_loss());
    for (name, done) in ["a", "b"].into_iter().zip(done) {
        assert_eq!(value(&again, name).is_some(), done, "`{name}`");
    }
}

#[test]
fn closing_the_queue_answers_everybody() {
    under_all_schedules(|| closing_answers_everybody(false));
}

#[test]
fn closing_without_a_queue_answers_everybody() {
    under_all_schedules(|| closing_answers_everybody(true));
}

/// Dropping the last handle finishes what was asked for, and makes it durable.
#[test]
fn dropping_finishes_what_was_asked_for() {
    under_all_schedules(|| {
        let medium = Medium::new(false);
        let store = open(&medium);
        let callers = ["a", "b"].map(|name| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                block_on(store.commit(put(&[name], "1"), Durability::Eventual)).unwrap();
            })
        });
        drop(store);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        assert!(medium.is_closed());
        let again = open(&medium.after_power_loss());
        assert_eq!((value(&again, "a").as_deref(), value(&again, "b").as_deref()), (Some("1"), Some("1")));
    });
}

/// One failed write: whoever was in its group or behind it is told, nothing that was acknowledged is missing, reads go on.
#[test]
fn a_failure_is_told_to_everybody_behind_it() {
    under_all_schedules(|| {
        let medium = Medium::new(false);
        let store = open(&medium);
        medium.fail_after(thread_rng().gen_range(0..4));
        let callers = ["a", "b", "c"].map(|name| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                let mut failed = false;
                let mut done = Vec::new();
                for round in ["1", "2"] {
                    let written = format!("{name}{round}");
                    match block_on(store.commit(put(&[&written], "1"), Durability::Immediate)) {
                        Ok(_) => {
                            assert!(!failed, "a commit after a failure");
                            done.push(written);
                        }
                        Err(error) => {
                            assert!(
                                matches!(fault(&error), StorageFault::Io | StorageFault::ReadOnly),
                                "{error}"
                            );
                            failed = true;
                        }
                    }
                }
                done
            })
        });
        let done: Vec<_> = callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
        let again = open(&medium.after_power_loss());
        for name in &done {
            assert_eq!(value(&store, name).as_deref(), Some("1"), "`{name}` is read on");
            assert_eq!(value(&again, name).as_deref(), Some("1"), "`{name}` was acknowledged");
        }
        if medium.has_failed() {
            let refused = block_on(store.commit(put(&["late"], "1"), Durability::Eventual)).unwrap_err();
            assert_eq!(fault(&refused), StorageFault::ReadOnly);
        }
    });
}

/// Counting in transactions, each begun again when it is refused: no count is lost, and the refused ones were in the way of somebody.
fn transactions_lose_no_update(inline: bool) {
    let medium = Medium::new(inline);
    let store = open(&medium);
    let callers = [(), (), ()].map(|()| {
        let store = Arc::clone(&store);
        thread::spawn(move || {
            loop {
                let outcome: Result<(), WasmError> = block_on(async {
                    let mut transaction = store.begin().await?;
                    let found = transaction.get(&space(), &key("count")).await?;
                    let count: u32 =
                        found.map_or(0, |bytes| String::from_utf8(bytes).unwrap().parse().unwrap());
                    transaction.put(&space(), key("count"), (count + 1).to_string().into_bytes())?;
                    transaction.commit(Durability::Eventual).await?;
                    Ok(())
                });
                match outcome {
                    Ok(()) => return,
                    Err(refused) => assert_eq!(fault(&refused), StorageFault::Conflict, "{refused}"),
                }
            }
        })
    });
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    assert_eq!(value(&store, "count").as_deref(), Some("3"));
}

#[test]
fn transactions_through_the_queue_lose_no_update() {
    under_all_schedules(|| transactions_lose_no_update(false));
}

#[test]
fn transactions_on_the_calling_thread_lose_no_update() {
    under_all_schedules(|| transactions_lose_no_update(true));
}

/// Two of three doctors are on call, and each leaves if another one stays: never do all of them leave. (Write skew; Cahill et al.,
/// "Serializable Isolation for Snapshot Databases", 2008.)
#[test]
fn transactions_that_read_a_range_do_not_skew() {
    under_all_schedules(|| {
        let medium = Medium::new(thread_rng().gen_bool(0.5));
        let store = open(&medium);
        block_on(store.commit(put(&["a", "b"], "on call"), Durability::Eventual)).unwrap();
        let leave = |name: &'static str| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                let outcome: Result<(), WasmError> = block_on(async {
                    let mut transaction = store.begin().await?;
                    let page = transaction.scan(&space(), KeyRange::all(), 10).await?;
                    if page.records.len() > 1 {
                        transaction.delete(&space(), key(name))?;
                    }
                    transaction.commit(Durability::Eventual).await.map(drop)
                });
                if let Err(refused) = outcome {
                    assert_eq!(fault(&refused), StorageFault::Conflict, "{refused}");
                }
            })
        };
        [leave("a"), leave("b")].into_iter().for_each(|caller| caller.join().unwrap());
        assert!(value(&store, "a").is_some() || value(&store, "b").is_some());
    });
}

/// What a transaction reads is of one moment, whatever is written, cleared and swept meanwhile; and no page is of two.
#[test]
fn a_transaction_sees_one_moment() {
    under_all_schedules(|| {
        let medium = Medium::new(thread_rng().gen_bool(0.5));
        let store = open(&medium);
        block_on(store.commit(put(&["x", "y"], "0"), Durability::Eventual)).unwrap();
        let writing = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for round in ["1", "2"] {
                    block_on(store.commit(put(&["x", "y"], round), Durability::Eventual)).unwrap();
                }
            })
        };
        let clearing = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                let mut batch = Batch::new();
                batch.clear(&space());
                block_on(store.commit(batch, Durability::Eventual)).unwrap();
            })
        };
        for _ in 0..2 {
            let page = block_on(store.scan(&space(), KeyRange::all(), 10)).unwrap();
            let values: Vec<_> = page.records.into_iter().map(|(_, record)| record.value).collect();
            assert!(values.is_empty() || values.len() == 2 && values[0] == values[1], "a page: {values:?}");
            block_on(async {
                let mut transaction = store.begin().await.unwrap();
                let first = transaction.get(&space(), &key("x")).await.unwrap();
                let second = transaction.get(&space(), &key("y")).await.unwrap();
                let page = transaction.scan(&space(), KeyRange::all(), 10).await.unwrap();
                let again: Vec<_> = page.records.into_iter().map(|(_, value)| value).collect();
                assert_eq!(first, second);
                assert_eq!(again, [first, second].into_iter().flatten().collect::<Vec<_>>());
            });
        }
        writing.join().unwrap();
        clearing.join().unwrap();
    });
}

/// A namespace is emptied and filled in one commit, again and again: what is always there is always found.
#[test]
fn what_is_always_there_is_always_found() {
    under_all_schedules(|| {
        let medium = Medium::new(thread_rng().gen_bool(0.5));
        let store = open(&medium);
        block_on(store.commit(put(&["k"], "0"), Durability::Eventual)).unwrap();
        let replacing = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for round in ["1", "2"] {
                    let mut batch = put(&["k"], round);
                    batch.clear(&space());
                    block_on(store.commit(batch, Durability::Eventual)).unwrap();
                }
            })
        };
        for _ in 0..2 {
            assert!(value(&store, "k").is_some());
            assert_eq!(block_on(store.usage(&space())).unwrap().keys, 1);
        }
        replacing.join().unwrap();
    });
}

/// A transaction begins behind everything that its caller has seen, whoever runs beside it.
#[test]
fn a_transaction_begins_behind_what_was_read() {
    under_all_schedules(|| {
        let medium = Medium::new(thread_rng().gen_bool(0.5));
        let store = open(&medium);
        block_on(store.commit(put(&["k"], "0"), Durability::Eventual)).unwrap();
        let running = block_on(store.begin()).unwrap();
        let writing = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for round in ["1", "2"] {
                    block_on(store.commit(put(&["k"], round), Durability::Immediate)).unwrap();
                }
            })
        };
        for _ in 0..2 {
            let before = value(&store, "k");
            let mut transaction = block_on(store.begin()).unwrap();
            let seen = block_on(transaction.get(&space(), &key("k"))).unwrap();
            let seen = seen.map(|value| String::from_utf8(value).unwrap());
            assert!(seen >= before, "{before:?} was read, and then {seen:?}");
        }
        writing.join().unwrap();
        drop(running);
    });
}

/// A transaction that is doomed stays so when its caller goes away at any step of its commit.
#[test]
fn an_abandoned_transaction_overwrites_nobody() {
    under_all_schedules(|| {
        let medium = Medium::new(thread_rng().gen_bool(0.5));
        let store = open(&medium);
        block_on(store.commit(put(&["count"], "0"), Durability::Eventual)).unwrap();
        let mut transaction = block_on(store.begin()).unwrap();
        block_on(transaction.get(&space(), &key("count"))).unwrap();
        transaction.put(&space(), key("count"), b"1".to_vec()).unwrap();
        block_on(store.commit(put(&["count"], "100"), Durability::Eventual)).unwrap();
        let abandoning = thread::spawn(move || {
            let mut commit = transaction.commit(Durability::Immediate);
            for _ in 0..thread_rng().gen_range(0..3) {
                if (&mut commit).now_or_never().is_some() {
                    return;
                }
                thread::yield_now();
            }
        });
        block_on(store.commit(put(&["other"], ""), Durability::Immediate)).unwrap();
        abandoning.join().unwrap();
        block_on(store.sync()).unwrap();
        assert_eq!(value(&store, "count").as_deref(), Some("100"));
    });
}

/// The medium that forgets is found: the tests above can fail.
#[test]
#[should_panic(expected = "`a`")]
fn a_medium_that_forgets_is_found() {
    shuttle::check_random(
        || {
            let medium = Medium::forgetful();
            let store = open(&medium);
            block_on(store.commit(put(&["a"], "1"), Durability::Immediate)).unwrap();
            assert!(value(&open(&medium.after_power_loss()), "a").is_some(), "`a`");
        },
        10,
    );
}
