//! What was written is what is read.

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::{Batch, Durability, Key, KeyRange, MAX_VALUE};

use super::{StorageBench, deleting, key, namespace, put, putting, read, read_all, refused};
use crate::random::Random;
use crate::runner::{contracts, ensure, ensure_eq};

contracts! { StorageBench;
    "storage.get" {
        /// A key reads as the last committed value, byte for byte: every byte, every size up to the largest; an empty
        /// value is a value.
        fn returns_what_was_set(t) {
            let store = t.open()?;
            let space = namespace("space");
            let every_byte: Vec<u8> = (0..=255).collect();
            let largest = Random::from_seed(1).bytes(MAX_VALUE);
            let pairs: Vec<(Vec<u8>, Vec<u8>)> = (0..=255_u8)
                .map(|byte| (vec![byte], vec![byte; usize::from(byte)]))
                .chain([
                    (b"empty".to_vec(), Vec::new()),
                    (every_byte.clone(), every_byte.repeat(300)),
                    (vec![0xff; Key::MAX_LENGTH], b"under the longest key".to_vec()),
                    (vec![0; Key::MAX_LENGTH], b"under zeros".to_vec()),
                    (b"largest".to_vec(), largest),
                ])
                .collect();
            for (name, value) in &pairs {
                put(&store, &space, name, value).await?;
            }
            for (name, value) in &pairs {
                let found = read(&store, &space, name).await?;
                let name = name.escape_ascii();
                ensure!(found.is_some(), "the value of `{name}`, {} bytes, is gone", value.len());
                ensure!(found.as_ref() == Some(value), "`{name}` reads as other bytes than were written");
            }
            Ok(())
        }

        /// A key without a record reads as none, and deleting it succeeds.
        fn absent_is_none(t) {
            let store = t.open()?;
            let space = namespace("space");
            ensure_eq!(read(&store, &space, "key").await?, None, "a key of an empty store");
            store.commit(deleting(&space, "key"), Durability::Immediate).await?;
            put(&store, &space, "key", "value").await?;
            for absent in ["ke", "key\0", "kez", "KEY"] {
                ensure_eq!(read(&store, &space, absent).await?, None, "the absent key {absent:?}");
            }
            store.commit(deleting(&space, "key"), Durability::Immediate).await?;
            ensure_eq!(read(&store, &space, "key").await?, None, "a deleted key");
            ensure_eq!(read_all(&store, &space, KeyRange::all(), 10).await?, vec![], "a scan after the delete");
            store.commit(deleting(&space, "key"), Durability::Immediate).await?;
            Ok(())
        }

        /// Reading has no effect: the same key reads the same, ten thousand times.
        fn is_repeatable(t) {
            let store = t.open()?;
            let space = namespace("space");
            let value = Random::from_seed(2).bytes(100);
            put(&store, &space, "key", &value).await?;
            for time in 0..10_000 {
                let found = read(&store, &space, "key").await?;
                ensure!(found.as_ref() == Some(&value), "read number {time} returned other bytes");
            }
            Ok(())
        }
    }

    "storage.set" {
        /// A value replaces the one before it, whatever their sizes, and carries the version of its commit.
        fn overwrites(t) {
            let store = t.open()?;
            let space = namespace("space");
            let mut before = None;
            for value in ["first", "a much longer value than the one before", "", "x"] {
                let outcome = put(&store, &space, "key", value).await?;
                let found = store.get(&space, &key("key")).await?;
                let found = found.map(|record| (record.value, record.version));
                ensure_eq!(found, Some((value.into(), outcome.version)), "value and version after overwriting");
                ensure!(before < Some(outcome.version), "the version did not grow with the commit");
                before = Some(outcome.version);
            }
            ensure_eq!(read_all(&store, &space, KeyRange::all(), 10).await?.len(), 1, "records of one key");
            Ok(())
        }
    }

    "storage.replace" {
        /// A replaced value is handed back by the commit that replaced it, in the order of the batch; so is one of the same batch.
        fn returns_the_evicted(t) {
            let store = t.open()?;
            let space = namespace("space");
            put(&store, &space, "there", "old").await?;
            let mut batch = Batch::new();
            batch.replace(&space, key("new"), "1").put(&space, key("plain"), "x").replace(&space, key("there"), "2");
            batch.replace(&space, key("new"), "3");
            let outcome = store.commit(batch, Durability::Eventual).await?;
            let expected = vec![None, Some(b"old".to_vec()), Some(b"1".to_vec())];
            ensure_eq!(outcome.evicted, expected, "what was replaced");
            ensure_eq!(read(&store, &space, "new").await?, Some(b"3".to_vec()), "the value after the batch");
            let mut batch = Batch::new();
            batch.clear(&space).replace(&space, key("there"), "4");
            let outcome = store.commit(batch, Durability::Eventual).await?;
            ensure_eq!(outcome.evicted, vec![None], "what was replaced in a namespace that the batch cleared");
            Ok(())
        }
    }

    "storage.own_writes" {
        /// What a commit wrote is read at once by everybody, at any durability, through every operation.
        fn are_visible(t) {
            let store = t.open()?;
            let space = namespace("space");
            for round in 0..50_u64 {
                let durability = if round % 10 == 0 { Durability::Immediate } else { Durability::Eventual };
                let value = round.to_string().into_bytes();
                let outcome = store.commit(putting(&space, "key", &value), durability).await?;
                let elsewhere = tokio::spawn({
                    let (store, space) = (store.clone(), space.clone());
                    async move { store.get(&space, &key("key")).await }
                });
                let found = store.get(&space, &key("key")).await?.map(|record| (record.value, record.version));
                ensure_eq!(found, Some((value.clone(), outcome.version)), "a read after commit {round}");
                let found = elsewhere.await??.map(|record| record.value);
                ensure_eq!(found.as_ref(), Some(&value), "a read of another task after commit {round}");
                let scanned = read_all(&store, &space, KeyRange::all(), 10).await?;
                ensure_eq!(scanned, vec![(b"key".to_vec(), value)], "a scan after commit {round}");
                let usage = store.usage(&space).await?;
                ensure_eq!(outcome.usage, vec![(space.clone(), usage)], "the usage after commit {round}");
                store.commit(deleting(&space, "key"), durability).await?;
                ensure_eq!(read(&store, &space, "key").await?, None, "a read after delete {round}");
            }
            Ok(())
        }
    }

    "storage.keys" {
        /// Keys of 1 to 2,048 bytes and values up to 4 MiB are taken. One byte more is refused, and nothing of the
        /// batch is written.
        fn limits(t) {
            let store = t.open()?;
            let space = namespace("space");
            for length in [1, 2, Key::MAX_LENGTH - 1, Key::MAX_LENGTH] {
                put(&store, &space, vec![b'k'; length], "value").await?;
                let found = read(&store, &space, vec![b'k'; length]).await?;
                ensure_eq!(found, Some(b"value".to_vec()), "a key of {length} bytes");
            }
            put(&store, &space, "largest", vec![7; MAX_VALUE]).await?;
            let before = store.usage(&space).await?;
            let mut batch = Batch::new();
            batch.put(&space, key("small"), "value");
            batch.put(&space, key("too large"), vec![7; MAX_VALUE + 1]);
            refused(store.commit(batch, Durability::Immediate).await, StorageFault::TooLarge, "a value beyond the limit")?;
            ensure_eq!(read(&store, &space, "too large").await?, None, "the value that was refused");
            ensure_eq!(read(&store, &space, "small").await?, None, "another value of the refused batch");
            ensure_eq!(store.usage(&space).await?, before, "the usage after the refusal");
            Ok(())
        }
    }
}
