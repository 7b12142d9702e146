//! Namespaces do not meet.

use airssys_wasm_core::error::StorageFault;
use airssys_wasm_core::storage::{Batch, Durability, KeyRange, Namespace, Precondition, Usage};

use super::{
    StorageBench, Store, deleting, key, namespace, put, putting, read, read_all, recount, refused, requiring,
};
use crate::runner::{Outcome, contracts, ensure, ensure_eq};

/// Names that run into one another when they are joined with their keys, or with a separator.
fn tricky_namespaces() -> Vec<Namespace> {
    let names: Vec<Vec<u8>> = vec![
        b"a".into(),
        b"ab".into(),
        b"abc".into(),
        b"a\0".into(),
        b"a\0b".into(),
        b"a/".into(),
        b"a/b".into(),
        b"a:b".into(),
        b"a.b".into(),
        b"..".into(),
        b"A".into(),
        b"1".into(),
        b"\0".into(),
        b"\0\0".into(),
        vec![1],
        vec![1, b'a'],
        vec![0xff],
        vec![0xff, 0xff],
        vec![0xff; 255],
        vec![b'a'; 255],
        vec![b'a'; 254],
        "ä".into(),
        "a\u{308}".into(),
    ];
    names.into_iter().map(namespace).collect()
}

/// Every name, page by page.
async fn list_all(store: &Store, limit: usize) -> Outcome<Vec<Namespace>> {
    let mut all: Vec<Namespace> = Vec::new();
    loop {
        let page = store.namespaces(all.last(), limit).await?;
        ensure!(page.len() <= limit, "{} names where {limit} were asked for", page.len());
        let Some(first) = page.first() else { return Ok(all) };
        ensure!(Some(first) > all.last(), "{first:?} is listed behind {:?}", all.last());
        all.extend(page);
    }
}

contracts! { StorageBench;
    "storage.namespace" {
        /// Namespaces never meet, whatever their names hold: neither in reads nor scans, usage or deletes.
        fn isolates(t) {
            let store = t.open()?;
            let spaces = tricky_namespaces();
            let keys: &[&[u8]] = &[b"a", b"b", b"bc", b"c", b"\0", b"\0b", b"/b", b"b/c", &[0xff], &[0xff, 0xff], &[1]];
            let value = |space: usize, key: usize| format!("{space} {key}").into_bytes();
            for (number, space) in spaces.iter().enumerate() {
                for (position, name) in keys.iter().enumerate() {
                    put(&store, space, name, value(number, position)).await?;
                }
            }
            let mut sorted: Vec<_> = keys.iter().enumerate().collect();
            sorted.sort_by_key(|(_, name)| **name);
            for (number, space) in spaces.iter().enumerate() {
                for (position, name) in keys.iter().enumerate() {
                    let found = read(&store, space, name).await?;
                    ensure_eq!(found, Some(value(number, position)), "`{}` of {space:?}", name.escape_ascii());
                }
                let expected: Vec<_> =
                    sorted.iter().map(|(position, name)| (name.to_vec(), value(number, *position))).collect();
                ensure_eq!(read_all(&store, space, KeyRange::all(), 5).await?, expected, "a scan of {space:?}");
                ensure_eq!(store.usage(space).await?, recount(&store, space).await?, "the usage of {space:?}");
            }
            for (number, space) in spaces.iter().enumerate().filter(|(number, _)| number % 2 == 0) {
                for name in keys {
                    store.commit(deleting(space, name), Durability::Eventual).await?;
                }
                ensure_eq!(store.usage(space).await?.keys, 0, "records of {space:?}, number {number}, emptied");
            }
            for (number, space) in spaces.iter().enumerate() {
                let left = if number % 2 == 0 { 0 } else { keys.len() };
                let found = read_all(&store, space, KeyRange::all(), 100).await?.len();
                ensure_eq!(found, left, "records left in {space:?} after others were emptied");
            }
            Ok(())
        }

        /// A namespace that nobody wrote to is empty, and reading it does not make it.
        fn unknown_is_empty(t) {
            let store = t.open()?;
            put(&store, &namespace("known"), "key", "value").await?;
            let unknown = namespace("unknown");
            ensure_eq!(store.get(&unknown, &key("key")).await?, None, "a key");
            ensure_eq!(read_all(&store, &unknown, KeyRange::all(), 10).await?, vec![], "a scan");
            ensure_eq!(store.usage(&unknown).await?, Default::default(), "the usage");
            Ok(())
        }

        /// A cleared namespace is empty in an instant, and its usage is nothing; what is put in the same batch is in it. Others
        /// are untouched, old records never come back, and a batch that is refused clears nothing.
        fn clear_is_atomic(t) {
            let store = t.open()?;
            let (space, other) = (namespace("space"), namespace("spacf"));
            for number in 0..700 {
                put(&store, &space, format!("{number:03}"), "old").await?;
            }
            put(&store, &other, "key", "value").await?;
            let mut refused_batch = Batch::new();
            refused_batch.clear(&space).require(&other, key("key"), Precondition::Absent);
            refused(store.commit(refused_batch, Durability::Eventual).await, StorageFault::Conflict, "a batch that clears")?;
            ensure_eq!(store.usage(&space).await?.keys, 700, "records after a refusal");
            let mut batch = Batch::new();
            batch.put(&space, key("001"), "new").clear(&space).put(&other, key("also"), "there");
            let outcome = store.commit(batch, Durability::Immediate).await?;
            let new = vec![(b"001".to_vec(), b"new".to_vec())];
            ensure_eq!(read_all(&store, &space, KeyRange::all(), 10).await?, new, "the namespace after it was cleared");
            let usage = recount(&store, &space).await?;
            ensure_eq!(store.usage(&space).await?, usage, "its usage");
            ensure!(outcome.usage.contains(&(space.clone(), usage)), "the outcome does not tell the usage: {outcome:?}");
            ensure_eq!(read(&store, &space, "002").await?, None, "a record of before");
            ensure_eq!(read_all(&store, &other, KeyRange::all(), 10).await?.len(), 2, "records of another namespace");
            for round in 0..30 {
                put(&store, &space, format!("more {round}"), "x").await?;
                let found = read_all(&store, &space, KeyRange::all(), 3).await?;
                ensure_eq!(found.len(), round + 2, "records after {} more", round + 1);
            }
            let mut twice = Batch::new();
            twice.clear(&space);
            for _ in 0..2 {
                store.commit(twice.clone(), Durability::Eventual).await?;
                ensure_eq!(store.usage(&space).await?, Usage::default(), "the usage of an empty namespace");
            }
            let mut unknown = Batch::new();
            unknown.clear(&namespace("unknown"));
            store.commit(unknown, Durability::Eventual).await?;
            put(&store, &space, "last", "one").await?;
            if !store.profile().persistent {
                return Ok(());
            }
            let mut store = store;
            for time in 0..3 {
                store = t.reopen(store).await?;
                let found = read_all(&store, &space, KeyRange::all(), 10).await?;
                ensure_eq!(found, vec![(b"last".to_vec(), b"one".to_vec())], "the namespace after opening it {time} times more");
            }
            Ok(())
        }

        /// Names are listed bytewise, page by page, each once: all that hold a record, and none that was never written to.
        fn list(t) {
            let store = t.open()?;
            ensure_eq!(list_all(&store, 10).await?, vec![], "the names of an empty store");
            let mut spaces = tricky_namespaces();
            for space in spaces.iter().rev() {
                put(&store, space, "key", "value").await?;
            }
            let unknown = namespace("unknown");
            ensure_eq!(read(&store, &unknown, "key").await?, None, "a key of a namespace that is only read");
            store.commit(deleting(&unknown, "key"), Durability::Eventual).await?;
            let refusal = requiring(putting(&unknown, "key", "x"), &unknown, "key", Precondition::Present);
            refused(store.commit(refusal, Durability::Eventual).await, StorageFault::Conflict, "a refused batch")?;
            spaces.sort();
            for limit in [1, 2, 7, spaces.len(), spaces.len() + 1] {
                ensure_eq!(list_all(&store, limit).await?, spaces, "the names by {limit}");
            }
            ensure_eq!(store.namespaces(None, 0).await?, vec![], "no name asked for");
            for (name, first) in [(b"abb".to_vec(), "abc"), (b"\0\0\0".to_vec(), "\u{1}"), (b"..a".to_vec(), "1")] {
                let behind = store.namespaces(Some(&namespace(name.clone())), 1).await?;
                ensure_eq!(behind, vec![namespace(first)], "the name behind `{}`, which is none", name.escape_ascii());
            }
            if store.profile().persistent {
                let store = t.reopen(store).await?;
                ensure_eq!(list_all(&store, 5).await?, spaces, "the names after opening again");
            }
            Ok(())
        }
    }
}
