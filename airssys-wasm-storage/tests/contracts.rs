//! What every store promises about reading, writing, namespaces, quotas and commits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stores;

use std::fmt;
use std::ops::{Bound, ControlFlow};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::Poll;
use std::time::Duration;

use airssys_wasm_core::error::{Detail, StorageFault, WasmError};
use airssys_wasm_core::storage::{
    Batch, CommitVersion, Durability, Key, KeyRange, MAX_BATCH_BYTES, MAX_BATCH_OPERATIONS, MAX_PAGE_BYTES,
    MAX_VALUE, Namespace, Order, Precondition, Quota, RECORD_OVERHEAD, StorageBackend, StorageProfile, Usage,
};
use airssys_wasm_storage::{EngineError, KeyValueEngine, MemoryEngine, Store, Write};
use futures_util::FutureExt;
use stores::{Bench, fault, get, key, keys, put, recount, scan, space, value};

on_every_store! {
    async fn get_returns_what_was_set(bench: Bench) {
        let a = space("a");
        let every_byte: Vec<u8> = (0..=255).collect();
        let longest = vec![0xff; Key::MAX_LENGTH];
        let values = [vec![], every_byte.clone(), vec![7; MAX_VALUE], vec![0; 4096], vec![0; 4095], vec![0; 4097]];
        for name in [every_byte, longest, vec![0], b"k".to_vec()] {
            for value in &values {
                let mut batch = Batch::new();
                batch.put(&a, key(&name), value.clone());
                let outcome = bench.store.commit(batch, Durability::Eventual).await.unwrap();
                let record = get(&*bench.store, &a, &name).await.unwrap();
                assert!(record.value == *value, "{} bytes", value.len());
                assert_eq!(record.version, outcome.version);
            }
        }
        bench.reopen().await;
        if bench.store.profile().persistent {
            assert_eq!(value(&*bench.store, &a, "k").await, Some(vec![0; 4097]));
        }
    }

    // A transaction that was asked for no records of a range said that the range had ended.
    async fn a_page_of_no_records_is_not_the_end(bench: Bench) {
        let a = space("a");
        put(&*bench.store, &a, "k", "v").await;
        let mut transaction = bench.store.begin().await.unwrap();
        for range in [KeyRange::all(), KeyRange::all().reversed()] {
            let page = transaction.scan(&a, range, 0).await.unwrap();
            assert_eq!((page.records, page.more), (vec![], true));
        }
    }

    // A conflict over a namespace that others had made named a key without bytes.
    async fn a_conflict_over_a_namespace_names_it(bench: Bench) {
        let (a, b) = (space("a"), space("b"));
        let mut transaction = bench.store.begin().await.unwrap();
        assert_eq!(transaction.get(&a, &key("k")).await.unwrap(), None);
        transaction.put(&b, key("k"), vec![]).unwrap();
        put(&*bench.store, &a, "k", "").await;
        let error = transaction.commit(Durability::Immediate).await.unwrap_err();
        let named: Vec<_> = error.context().filter(|(name, _)| *name != "store").collect();
        assert_eq!(named, [("namespace", "a")]);
        assert_eq!(error.detail(), Some(Detail::Storage(StorageFault::Conflict)));
    }

    async fn absent_is_none_and_can_be_deleted(bench: Bench) {
        let a = space("a");
        assert_eq!(get(&*bench.store, &a, "k").await, None);
        let mut batch = Batch::new();
        batch.delete(&a, key("k"));
        let outcome = bench.store.commit(batch.clone(), Durability::Immediate).await.unwrap();
        assert_eq!(outcome.usage, [(a.clone(), Usage::default())]);
        put(&*bench.store, &a, "other", "").await;
        bench.store.commit(batch, Durability::Immediate).await.unwrap();
        assert_eq!(get(&*bench.store, &a, "k").await, None);
        assert_eq!(value(&*bench.store, &a, "other").await, Some(vec![]));
    }

    async fn set_overwrites_and_versions_grow(bench: Bench) {
        let a = space("a");
        let mut last = CommitVersion(0);
        for text in ["one", "two", "", "three"] {
            put(&*bench.store, &a, "k", text).await;
            let record = get(&*bench.store, &a, "k").await.unwrap();
            assert_eq!(record.value, text.as_bytes());
            assert!(record.version > last);
            last = record.version;
        }
        bench.reopen().await;
        put(&*bench.store, &a, "k", "after").await;
        assert!(get(&*bench.store, &a, "k").await.unwrap().version > last || !bench.store.profile().persistent);
    }

    async fn own_writes_are_visible_at_once(bench: Bench) {
        let a = space("a");
        for (number, durability) in [Durability::Eventual, Durability::Immediate].into_iter().cycle().take(40).enumerate() {
            let mut batch = Batch::new();
            batch.put(&a, key("k"), number.to_string()).delete(&a, key("gone"));
            bench.store.commit(batch, durability).await.unwrap();
            assert_eq!(value(&*bench.store, &a, "k").await, Some(number.to_string().into_bytes()));
        }
    }

    async fn values_have_a_limit(bench: Bench) {
        let a = space("a");
        let mut batch = Batch::new();
        batch.put(&a, key("fits"), "").put(&a, key("large"), vec![0; MAX_VALUE + 1]);
        let error = bench.store.commit(batch, Durability::Immediate).await.unwrap_err();
        assert!(error.to_string().contains("4194305 bytes of 4194304 allowed (namespace: a, key: large)"), "{error}");
        assert_eq!(fault::<()>(Err(error)), StorageFault::TooLarge);
        assert_eq!(get(&*bench.store, &a, "fits").await, None);
        assert_eq!(bench.store.usage(&a).await.unwrap(), Usage::default());
    }

    async fn batches_have_limits(bench: Bench) {
        let a = space("a");
        let batch_of = |operations: usize| {
            let mut batch = Batch::new();
            batch.require(&a, key("absent"), Precondition::Absent);
            for number in 1..operations {
                batch.put(&a, key(number.to_string()), "");
            }
            batch
        };
        let refused = bench.store.commit(batch_of(MAX_BATCH_OPERATIONS + 1), Durability::Immediate).await;
        assert_eq!(fault(refused), StorageFault::TooLarge);
        assert_eq!(bench.store.usage(&a).await.unwrap().keys, 0);
        bench.store.commit(batch_of(MAX_BATCH_OPERATIONS), Durability::Immediate).await.unwrap();
        assert_eq!(bench.store.usage(&a).await.unwrap().keys, 999);

        let batch_of = |bytes: usize| {
            let mut batch = Batch::new();
            for number in 0..4 {
                // One byte of each is the key.
                let length = bytes / 4 - 1 + if number == 0 { bytes % 4 } else { 0 };
                batch.put(&space("b"), key([number]), vec![number; length.min(MAX_VALUE)]);
                if length > MAX_VALUE {
                    batch.put(&space("b"), key("x"), vec![]);
                }
            }
            batch
        };
        assert_eq!(batch_of(MAX_BATCH_BYTES).bytes(), MAX_BATCH_BYTES);
        bench.store.commit(batch_of(MAX_BATCH_BYTES), Durability::Immediate).await.unwrap();
        let mut beyond = batch_of(MAX_BATCH_BYTES);
        beyond.delete(&a, key("1"));
        assert_eq!(fault(bench.store.commit(beyond, Durability::Immediate).await), StorageFault::TooLarge);
        assert_eq!(value(&*bench.store, &a, "1").await, Some(vec![]));
    }

    async fn a_scan_is_in_bytewise_order(bench: Bench) {
        let a = space("a");
        let mut names: Vec<Vec<u8>> = vec![
            vec![0], vec![0, 0], vec![0, 0xff], vec![1], b"a".to_vec(), b"a\0".to_vec(), b"ab".to_vec(), b"b".to_vec(),
            vec![0x7f], vec![0x80], vec![0xfe, 0xff], vec![0xff], vec![0xff, 0], vec![0xff, 0xff], vec![0xff, 0xff, 0xff],
        ];
        let mut batch = Batch::new();
        for name in names.iter().rev() {
            batch.put(&a, key(name), name.clone());
            batch.put(&space("b"), key(name), "another");
        }
        bench.store.commit(batch, Durability::Eventual).await.unwrap();
        names.sort();
        for limit in [1, 2, 7, 100] {
            assert_eq!(keys(&*bench.store, &a, KeyRange::all(), limit).await, names);
            for prefix in [&b"a"[..], b"", b"\0", b"\xff", b"\xff\xff", b"\xff\xff\xff\xff", b"c"] {
                let expected: Vec<_> = names.iter().filter(|name| name.starts_with(prefix)).cloned().collect();
                assert_eq!(keys(&*bench.store, &a, KeyRange::prefix(prefix), limit).await, expected, "{prefix:?}");
            }
        }
        let after = KeyRange::prefix(b"a").after(b"zzz");
        assert_eq!(scan(&*bench.store, &a, after, 10).await.records, []);
        assert!(!scan(&*bench.store, &a, KeyRange::prefix(b"none"), 10).await.more);
    }

    async fn a_page_stops_at_its_limits(bench: Bench) {
        let a = space("a");
        for number in 0..5 {
            let mut batch = Batch::new();
            // Three of these and their keys fill a page to the last byte.
            let spare = MAX_PAGE_BYTES % 3;
            let length = MAX_PAGE_BYTES / 3 - 1 + if number == 0 { spare } else { 0 };
            batch.put(&a, key([number]), vec![number; length]);
            bench.store.commit(batch, Durability::Eventual).await.unwrap();
        }
        let page = scan(&*bench.store, &a, KeyRange::all(), 100).await;
        assert_eq!((page.records.len(), page.more), (3, true));
        let page = scan(&*bench.store, &a, KeyRange::all().after(&[2]), 100).await;
        assert_eq!((page.records.len(), page.more), (2, false));
        let page = scan(&*bench.store, &a, KeyRange::all(), 2).await;
        assert_eq!((page.records.len(), page.more), (2, true));
        let page = scan(&*bench.store, &a, KeyRange::all(), 0).await;
        assert_eq!((page.records.len(), page.more), (0, true));
        let mut batch = Batch::new();
        batch.put(&a, key([1]), vec![0; MAX_PAGE_BYTES + 1]);
        bench.store.commit(batch, Durability::Eventual).await.unwrap();
        let page = scan(&*bench.store, &a, KeyRange::all().after(&[0]), 100).await;
        assert_eq!((page.records.len(), page.more), (1, true), "a larger record makes a page of one");
    }

    async fn namespaces_are_isolated(bench: Bench) {
        let pairs: [(&[u8], &[u8]); 12] = [
            (b"a", b"b/c"), (b"a/b", b"c"), (b"a", b"/b/c"), (b"a/", b"b/c"), (b"a\0", b"b"), (b"a", b"\0b"),
            ("\u{e9}".as_bytes(), b"k"), ("e\u{301}".as_bytes(), b"k"), (&[0xff; 255], &[0xff]), (&[0xff; 254], &[0xff, 0xff]),
            (b"\0\0\0\x01", b"k"), (b"\0\0\0\0", b"\x01k"),
        ];
        for (number, (name, name_of_key)) in pairs.iter().enumerate() {
            let mut batch = Batch::new();
            batch.put(&space(name), key(name_of_key), number.to_string());
            bench.store.commit(batch, Durability::Eventual).await.unwrap();
        }
        bench.reopen().await;
        if !bench.store.profile().persistent {
            assert_eq!(value(&*bench.store, &space("a"), "b/c").await, Some(b"0".to_vec()));
        }
        for (number, (name, name_of_key)) in pairs.iter().enumerate() {
            assert_eq!(value(&*bench.store, &space(name), name_of_key).await, Some(number.to_string().into_bytes()));
            let inside: Vec<_> =
                pairs.iter().filter(|(other, _)| other == name).map(|(_, name_of_key)| name_of_key.to_vec()).collect();
            assert_eq!(keys(&*bench.store, &space(name), KeyRange::all(), 1).await.len(), inside.len());
            let usage = bench.store.usage(&space(name)).await.unwrap();
            assert_eq!(usage, recount(&*bench.store, &space(name)).await);
            assert_eq!(usage.keys, inside.len() as u64);
        }
        assert_eq!(bench.store.usage(&space("never")).await.unwrap(), Usage::default());
    }

    async fn a_quota_is_exact(bench: Bench) {
        let a = space("a");
        let commit = async |changes: &[(&str, Option<usize>)], quota: Quota| {
            let mut batch = Batch::new();
            for (name, length) in changes {
                match length {
                    Some(length) => batch.put(&a, key(name), vec![0; *length]),
                    None => batch.delete(&a, key(name)),
                };
            }
            batch.limit(&a, quota);
            let outcome = bench.store.commit(batch, Durability::Eventual).await?;
            let usage = bench.store.usage(&a).await?;
            assert_eq!(usage, recount(&*bench.store, &a).await);
            assert_eq!(outcome.usage, [(a.clone(), usage)]);
            Ok::<Usage, WasmError>(usage)
        };
        let quota = Quota { bytes: 2 * (1 + RECORD_OVERHEAD) + 100, keys: 2 };
        let refused = commit(&[("a", Some(100)), ("b", Some(1))], quota).await.unwrap_err();
        let text = refused.to_string();
        assert!(text.ends_with("(namespace: a, used: 0, asked: 183, allowed: 182)"), "{text}");
        assert_eq!(fault::<()>(Err(refused)), StorageFault::QuotaExceeded);
        assert_eq!(bench.store.usage(&a).await.unwrap(), Usage::default());
        // The last byte fits, the next does not; the keys alike.
        assert_eq!(commit(&[("a", Some(100)), ("b", Some(0))], quota).await.unwrap(), Usage { bytes: 182, keys: 2 });
        assert_eq!(fault(commit(&[("b", Some(1))], quota).await), StorageFault::QuotaExceeded);
        assert_eq!(fault(commit(&[("c", Some(0)), ("a", Some(0))], quota).await), StorageFault::QuotaExceeded);
        // What is overwritten and deleted is given back, in the same batch, too.
        commit(&[("a", Some(99)), ("b", Some(1))], quota).await.unwrap();
        commit(&[("a", None), ("c", Some(99))], quota).await.unwrap();
        // Above the quota: what does not grow passes.
        let tight = Quota { bytes: 50, keys: 0 };
        commit(&[("c", Some(98))], tight).await.unwrap();
        commit(&[("c", Some(98))], tight).await.unwrap();
        assert_eq!(fault(commit(&[("c", Some(99))], tight).await), StorageFault::QuotaExceeded);
        assert_eq!(commit(&[("b", None), ("c", None)], tight).await.unwrap(), Usage::default());
        // A quota of a namespace that the batch does not change is no concern of it.
        let mut batch = Batch::new();
        batch.put(&space("b"), key("k"), "").limit(&a, Quota { bytes: 0, keys: 0 });
        bench.store.commit(batch, Durability::Eventual).await.unwrap();
        bench.reopen().await;
        assert_eq!(bench.store.usage(&a).await.unwrap(), recount(&*bench.store, &a).await);
    }

    async fn a_quota_has_no_race(bench: Bench) {
        let a = space("a");
        let quota = Quota { bytes: 50 * (RECORD_OVERHEAD + 3), keys: 1_000 };
        let writers = (0..8).map(|writer| {
            let store = Arc::clone(&bench.store);
            let a = a.clone();
            tokio::task::spawn_blocking(move || {
                let mut passed = 0;
                for number in 0..25 {
                    let mut batch = Batch::new();
                    batch.put(&a, key([writer, number]), "x").limit(&a, quota);
                    passed += u64::from(wait(store.commit(batch, Durability::Eventual)).is_ok());
                }
                passed
            })
        });
        let passed: u64 = futures_util::future::join_all(writers).await.into_iter().map(Result::unwrap).sum();
        assert_eq!(passed, 50);
        assert_eq!(bench.store.usage(&a).await.unwrap(), Usage { bytes: quota.bytes, keys: 50 });
        assert_eq!(recount(&*bench.store, &a).await.keys, 50);
    }

    async fn a_commit_is_atomic_to_readers(bench: Bench) {
        let stop = Arc::new(AtomicBool::new(false));
        let reader = tokio::task::spawn_blocking({
            let (store, stop) = (Arc::clone(&bench.store), Arc::clone(&stop));
            move || {
                let mut seen = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    // The first namespace is read first: whatever it shows, the others must show, too, or something later.
                    for round in [seen, seen + 1] {
                        let mut oldest = 0;
                        for part in 0..3 {
                            let namespace = space(format!("{part}/{}", round / 20));
                            let page = wait(scan(&*store, &namespace, KeyRange::all(), 10));
                            let values: Vec<u64> = page
                                .records
                                .iter()
                                .map(|(_, record)| String::from_utf8_lossy(&record.value).parse().unwrap())
                                .collect();
                            assert!(values.windows(2).all(|pair| pair[0] == pair[1]), "torn: {values:?}");
                            assert!(values.is_empty() || values.len() == 3, "torn: {values:?}");
                            let value = values.first().copied().unwrap_or(0);
                            assert!(value >= oldest, "{value} beside {oldest}");
                            oldest = value;
                        }
                        seen = seen.max(oldest);
                    }
                }
                seen
            }
        });
        for round in 1..=300_u64 {
            let mut batch = Batch::new();
            for part in 0..3 {
                for name in ["x", "y", "z"] {
                    batch.put(&space(format!("{part}/{}", round / 20)), key(name), round.to_string());
                }
            }
            bench.store.commit(batch, Durability::Eventual).await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        reader.await.unwrap();
    }

    async fn later_changes_of_a_key_win(bench: Bench) {
        let a = space("a");
        let mut batch = Batch::new();
        batch.put(&a, key("x"), "1").delete(&a, key("x"));
        batch.delete(&a, key("y")).put(&a, key("y"), "22").put(&a, key("y"), "333");
        batch.put(&space("b"), key("z"), "").put(&a, key("z"), "").delete(&a, key("z")).put(&a, key("z"), "4");
        let outcome = bench.store.commit(batch, Durability::Eventual).await.unwrap();
        assert_eq!(get(&*bench.store, &a, "x").await, None);
        assert_eq!(value(&*bench.store, &a, "y").await, Some(b"333".to_vec()));
        assert_eq!(value(&*bench.store, &a, "z").await, Some(b"4".to_vec()));
        let used = Usage { bytes: 2 * RECORD_OVERHEAD + 2 + 4, keys: 2 };
        let other = Usage { bytes: RECORD_OVERHEAD + 1, keys: 1 };
        assert_eq!(outcome.usage, [(a.clone(), used), (space("b"), other)]);
        let mut batch = Batch::new();
        batch.delete(&a, key("y")).put(&a, key("y"), "5").delete(&a, key("z"));
        bench.store.commit(batch, Durability::Eventual).await.unwrap();
        assert_eq!(keys(&*bench.store, &a, KeyRange::all(), 9).await, [b"y".to_vec()]);
        assert_eq!(bench.store.usage(&a).await.unwrap(), recount(&*bench.store, &a).await);
    }

    async fn preconditions_decide(bench: Bench) {
        let a = space("a");
        let never = space("never");
        put(&*bench.store, &a, "there", "1").await;
        let version = get(&*bench.store, &a, "there").await.unwrap().version;
        let commit = async |namespace: &Namespace, name: &str, precondition| {
            let mut batch = Batch::new();
            batch.require(&a, key("there"), Precondition::Present).require(namespace, key(name), precondition);
            batch.require(&a, key("second"), Precondition::Absent).put(&a, key("written"), "");
            bench.store.commit(batch, Durability::Eventual).await
        };
        for (namespace, name, precondition, required, found) in [
            (&a, "there", Precondition::Absent, "absent".to_owned(), format!("version {}", version.0)),
            (&a, "gone\n", Precondition::Present, "present".to_owned(), "absent".to_owned()),
            (&never, "gone", Precondition::Present, "present".to_owned(), "absent".to_owned()),
            (&a, "gone", Precondition::Version(version), format!("version {}", version.0), "absent".to_owned()),
            (
                &a,
                "there",
                Precondition::Version(CommitVersion(version.0 + 1)),
                format!("version {}", version.0 + 1),
                format!("version {}", version.0),
            ),
        ] {
            let error = commit(namespace, name, precondition).await.unwrap_err();
            let context: Vec<_> = error.context().map(|(name, value)| (name, value.to_owned())).collect();
            assert_eq!(
                context,
                [
                    ("namespace", namespace.to_string()),
                    ("key", name.escape_default().to_string()),
                    ("required", required),
                    ("found", found),
                ]
            );
            assert_eq!(fault::<()>(Err(error)), StorageFault::Conflict);
            assert_eq!(get(&*bench.store, &a, "written").await, None);
        }
        commit(&never, "gone", Precondition::Absent).await.unwrap();
        commit(&a, "there", Precondition::Version(version)).await.unwrap();
        commit(&a, "there", Precondition::Present).await.unwrap();
        // They are about the state before the batch.
        let mut batch = Batch::new();
        batch.put(&a, key("new"), "").require(&a, key("new"), Precondition::Absent);
        bench.store.commit(batch.clone(), Durability::Eventual).await.unwrap();
        assert_eq!(fault(bench.store.commit(batch, Durability::Eventual).await), StorageFault::Conflict);
        // Nothing but preconditions is a commit, too.
        let mut batch = Batch::new();
        batch.require(&a, key("new"), Precondition::Present);
        assert_eq!(bench.store.commit(batch, Durability::Immediate).await.unwrap().usage, []);
    }

    async fn a_value_that_came_back_is_a_conflict(bench: Bench) {
        let a = space("a");
        put(&*bench.store, &a, "k", "A").await;
        let version = get(&*bench.store, &a, "k").await.unwrap().version;
        put(&*bench.store, &a, "k", "B").await;
        put(&*bench.store, &a, "k", "A").await;
        let mut batch = Batch::new();
        batch.require(&a, key("k"), Precondition::Version(version)).put(&a, key("k"), "C");
        assert_eq!(fault(bench.store.commit(batch, Durability::Eventual).await), StorageFault::Conflict);
    }

    async fn one_contender_wins(bench: Bench) {
        const CONTENDERS: usize = 64;
        const ROUNDS: u64 = 1_000;
        let a = space("a");
        put(&*bench.store, &a, "counter", "0").await;
        let contenders = (0..CONTENDERS).map(|_| {
            let (store, a) = (Arc::clone(&bench.store), a.clone());
            async move {
                let mut won = 0;
                loop {
                    let record = get(&*store, &a, "counter").await.unwrap();
                    let count: u64 = String::from_utf8_lossy(&record.value).parse().unwrap();
                    if count == ROUNDS {
                        return won;
                    }
                    let mut batch = Batch::new();
                    batch.require(&a, key("counter"), Precondition::Version(record.version));
                    batch.put(&a, key("counter"), (count + 1).to_string());
                    match store.commit(batch, Durability::Eventual).await {
                        Ok(_) => won += 1,
                        error => assert_eq!(fault(error), StorageFault::Conflict),
                    }
                }
            }
        });
        let won: u64 = futures_util::future::join_all(contenders).await.into_iter().sum();
        assert_eq!(won, ROUNDS);
    }

    async fn a_refused_batch_of_a_group_fails_alone(bench: Bench) {
        let a = space("a");
        let commits = (0..30).map(|number: u8| {
            let mut batch = Batch::new();
            batch.put(&a, key([number]), "x").put(&space([b'n', number]), key("k"), "");
            match number % 3 {
                0 => batch.require(&a, key([number]), Precondition::Present),
                1 => batch.limit(&a, Quota { bytes: 0, keys: 0 }),
                _ => batch.require(&a, key([number]), Precondition::Absent),
            };
            bench.store.commit(batch, Durability::Eventual)
        });
        for (number, answer) in futures_util::future::join_all(commits).await.into_iter().enumerate() {
            let present = get(&*bench.store, &a, [number as u8]).await.is_some();
            match number % 3 {
                0 => assert_eq!(fault(answer), StorageFault::Conflict),
                1 => assert_eq!(fault(answer), StorageFault::QuotaExceeded),
                _ => assert!(answer.is_ok()),
            }
            assert_eq!(present, number % 3 == 2);
            assert_eq!(get(&*bench.store, &space([b'n', number as u8]), "k").await.is_some(), present);
        }
        bench.reopen().await;
        assert_eq!(bench.store.usage(&a).await.unwrap(), recount(&*bench.store, &a).await);
    }

    async fn a_dropped_commit_is_whole_or_absent(bench: Bench) {
        let a = space("a");
        for round in 0..100_u32 {
            let mut batch = Batch::new();
            batch.put(&a, key(format!("x{round}")), "1").put(&a, key(format!("y{round}")), "2");
            let mut commit = bench.store.commit(batch, Durability::Eventual);
            // Asked for, then given up; every other one not even asked for.
            if round % 2 == 0 {
                let polled = std::future::poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
                assert!(!matches!(polled, Poll::Ready(Err(_))));
            }
            drop(commit);
        }
        // Commits are taken in order: when this one is done, all others are decided.
        put(&*bench.store, &a, "last", "").await;
        for round in 0..100 {
            let x = get(&*bench.store, &a, format!("x{round}")).await;
            let y = get(&*bench.store, &a, format!("y{round}")).await;
            assert_eq!(x.is_some(), y.is_some());
            assert!(round % 2 == 0 || x.is_none());
        }
        assert_eq!(bench.store.usage(&a).await.unwrap(), recount(&*bench.store, &a).await);
    }

    async fn a_closed_store_says_so(bench: Bench) {
        let a = space("a");
        put(&*bench.store, &a, "k", "v").await;
        bench.store.close().await.unwrap();
        bench.store.close().await.unwrap();
        assert_eq!(fault(bench.store.get(&a, &key("k")).await), StorageFault::Closed);
        assert_eq!(fault(bench.store.get(&space("never"), &key("k")).await), StorageFault::Closed);
        assert_eq!(fault(bench.store.scan(&a, KeyRange::all(), 1).await), StorageFault::Closed);
        assert_eq!(fault(bench.store.usage(&a).await), StorageFault::Closed);
        assert_eq!(fault(bench.store.sync().await), StorageFault::Closed);
        assert_eq!(fault(bench.store.commit(Batch::new(), Durability::Immediate).await), StorageFault::Closed);
    }

    async fn closing_finishes_what_was_asked_for(bench: Bench) {
        let a = space("a");
        let commits: Vec<_> = (0..20_u8)
            .map(|number| {
                let mut batch = Batch::new();
                batch.put(&a, key([number]), "x");
                bench.store.commit(batch, Durability::Eventual)
            })
            .collect();
        let commits = futures_util::future::join_all(commits);
        let (answers, first, second) = tokio::join!(commits, bench.store.close(), bench.store.close());
        assert!(answers.iter().all(Result::is_ok));
        assert!(first.is_ok() && second.is_ok());
    }
}

/// A memory engine that lets somebody look right after each `apply`, before the store has heard of it.
#[derive(Default)]
struct Watched {
    engine: MemoryEngine,
    /// Whether commits go through the queue.
    queues: bool,
    watcher: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
    /// Whether scans begin at the first record of all, as those of an engine with a damaged inner page may.
    strays: Arc<AtomicBool>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.engine.fmt(f)
    }
}

impl KeyValueEngine for Watched {
    fn profile(&self) -> StorageProfile {
        self.engine.profile()
    }

    fn place(&self) -> &str {
        self.engine.place()
    }

    fn commits_inline(&self) -> bool {
        !self.queues
    }

    fn get<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, EngineError> {
        self.engine.get(key, read)
    }

    fn scan(
        &self,
        start: Bound<&[u8]>,
        end: Bound<&[u8]>,
        order: Order,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), EngineError> {
        let start = if self.strays.load(Ordering::Relaxed) { Bound::Unbounded } else { start };
        self.engine.scan(start, end, order, visit)
    }

    fn apply(&self, writes: Vec<Write>, durability: Durability) -> Result<(), EngineError> {
        self.engine.apply(writes, durability)?;
        if let Some(watcher) = self.watcher.get() {
            watcher();
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.engine.sync()
    }

    fn close(&self) -> Result<(), EngineError> {
        self.engine.close()
    }
}

/// A reader who sees one change of a commit sees all, those in namespaces that are new with it, too.
#[tokio::test]
async fn a_new_namespace_appears_with_its_commit() {
    let watcher = Arc::new(OnceLock::new());
    let engine = Watched { watcher: Arc::clone(&watcher), ..Watched::default() };
    let store = Arc::new(Store::over(engine, Duration::ZERO).unwrap());
    put(&*store, &space("old"), "k", "before").await;
    let seen = Arc::new(AtomicBool::new(false));
    let look = {
        let (store, seen) = (Arc::clone(&store), Arc::clone(&seen));
        move || {
            let (store, seen) = (Arc::clone(&store), Arc::clone(&seen));
            let look = std::thread::spawn(move || {
                let old = wait(value(&*store, &space("old"), "k"));
                let new = wait(value(&*store, &space("new"), "k"));
                seen.store(true, Ordering::Relaxed);
                assert_eq!((old, new), (Some(b"after".to_vec()), Some(b"after".to_vec())));
            });
            look.join().unwrap();
        }
    };
    assert!(watcher.set(Box::new(look)).is_ok());
    let mut batch = Batch::new();
    batch.put(&space("old"), key("k"), "after").put(&space("new"), key("k"), "after");
    store.commit(batch, Durability::Eventual).await.unwrap();
    assert!(seen.load(Ordering::Relaxed));
}

/// An engine that loses its way shows nobody what belongs to another, and removes nothing of it.
#[tokio::test]
async fn what_lies_outside_of_a_range_is_damage() {
    let strays = Arc::new(AtomicBool::new(false));
    let engine = Watched { strays: Arc::clone(&strays), ..Watched::default() };
    let store = Store::over(engine, Duration::ZERO).unwrap();
    for number in 0..10_u8 {
        put(&store, &space("first"), &number.to_string(), "secret").await;
        put(&store, &space("second"), &number.to_string(), "open").await;
    }
    let mut transaction = store.begin().await.unwrap();
    strays.store(true, Ordering::Relaxed);
    let scanned = store.scan(&space("second"), KeyRange::all(), 5).await;
    assert_eq!(fault(scanned), StorageFault::Damaged);
    let scanned = transaction.scan(&space("second"), KeyRange::all(), 5).await;
    assert_eq!(fault(scanned), StorageFault::Damaged);
    drop(transaction);
    let mut batch = Batch::new();
    batch.clear(&space("second"));
    // The store may say that it is damaged, too; what counts is what it removes.
    let _ = store.commit(batch, Durability::Immediate).await;
    strays.store(false, Ordering::Relaxed);
    let page = store.scan(&space("first"), KeyRange::all(), 100).await.unwrap();
    assert_eq!(page.records.len(), 10);
}

/// What is asked for while a commit is made durable is made durable together: 32 writers, one write behind the first.
#[tokio::test]
async fn commits_that_gather_are_one_write() {
    let watcher = Arc::new(OnceLock::new());
    let engine = Watched { queues: true, watcher: Arc::clone(&watcher), ..Watched::default() };
    let store = Store::over(engine, Duration::from_secs(3_600)).unwrap();
    let writes = Arc::new(AtomicUsize::new(0));
    let (go, gate) = mpsc::channel::<()>();
    let (counted, gate) = (Arc::clone(&writes), Mutex::new(gate));
    let watch = move || {
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            gate.lock().unwrap().recv().unwrap();
        }
    };
    assert!(watcher.set(Box::new(watch)).is_ok());
    let a = space("a");
    let commit = |number: u32| {
        let mut batch = Batch::new();
        batch.put(&a, key(number.to_be_bytes()), "x");
        Box::pin(store.commit(batch, Durability::Immediate))
    };
    let mut first = commit(0);
    assert!((&mut first).now_or_never().is_none());
    while writes.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    let mut others: Vec<_> = (1..=32).map(commit).collect();
    for other in &mut others {
        assert!(other.now_or_never().is_none(), "it has to wait for the first");
    }
    go.send(()).unwrap();
    first.await.unwrap();
    let answers = futures_util::future::join_all(others).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(writes.load(Ordering::SeqCst), 2);
}

/// Waits on a thread that is not one of the runtime's.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
