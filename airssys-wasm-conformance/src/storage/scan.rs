//! Scans: order, ranges and pages.

use airssys_wasm_core::storage::{KeyRange, MAX_PAGE_BYTES};

use super::{Pair, StorageBench, key, namespace, put, read_all};
use crate::random::Random;
use crate::runner::{contracts, ensure, ensure_eq};

/// Keys that a careless order gets wrong: prefixes of one another, and both ends of the alphabet.
fn tricky_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = [
        "a", "aa", "ab", "b", "a\0", "a\0\0", "a\0b", "A", "1", "10", "2", "~", "/", "a/", "a/b", "\0",
        "\0\0",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    keys.extend([
        vec![0xff],
        vec![0xff, 0xff],
        vec![0xff, 0],
        vec![0xff, 0xff, 0],
        vec![0xfe],
        vec![0xfe, 0xff],
        vec![0x80],
        vec![0x7f],
        vec![0x7f, 0xff],
        vec![b'a', 0xff],
        vec![b'a', 0xff, 0xff],
        vec![0xff; 2048],
        vec![0; 2048],
        "é".into(),
        "ａ".into(),
    ]);
    keys
}

contracts! { StorageBench;
    "storage.scan" {
        /// Keys are ordered bytewise, forward and backward: keys that begin with others, zeros, bytes above 127, and ranges whose
        /// end overflows.
        fn order(t) {
            let store = t.open()?;
            let space = namespace("space");
            let mut keys = tricky_keys();
            for (position, name) in keys.iter().enumerate() {
                put(&store, &space, name, position.to_string()).await?;
            }
            let mut pairs: Vec<Pair> = Vec::new();
            for (position, name) in keys.iter().enumerate() {
                pairs.push((name.clone(), position.to_string().into_bytes()));
            }
            pairs.sort();
            keys.sort();
            ensure_eq!(read_all(&store, &space, KeyRange::all(), 1000).await?, pairs, "everything, in one page");
            let backward: Vec<_> = pairs.iter().rev().cloned().collect();
            for limit in [1, 7, 1000] {
                let found = read_all(&store, &space, KeyRange::all().reversed(), limit).await?;
                ensure_eq!(found, backward, "everything backward, in pages of {limit}");
            }

            let prefixes: &[&[u8]] = &[b"", b"a", b"a\0", b"a/", b"A", b"zz", &[0xff], &[0xff, 0xff], &[0xfe], &[0], &[0x7f]];
            for prefix in prefixes {
                let expected: Vec<_> = pairs.iter().filter(|(key, _)| key.starts_with(prefix)).cloned().collect();
                let found = read_all(&store, &space, KeyRange::prefix(prefix), 1000).await?;
                ensure_eq!(found, expected, "the prefix {:?}", prefix.escape_ascii().to_string());
                let backward: Vec<_> = expected.into_iter().rev().collect();
                let found = read_all(&store, &space, KeyRange::prefix(prefix).reversed(), 3).await?;
                ensure_eq!(found, backward, "the prefix {:?} backward", prefix.escape_ascii().to_string());
            }
            for after in &keys {
                let expected: Vec<_> = pairs.iter().filter(|(key, _)| key > after).cloned().collect();
                let found = read_all(&store, &space, KeyRange::all().after(after), 1000).await?;
                ensure_eq!(found, expected, "behind the key `{}`", after.escape_ascii());
                let expected: Vec<_> = pairs.iter().rev().filter(|(key, _)| key < after).cloned().collect();
                let found = read_all(&store, &space, KeyRange::all().reversed().after(after), 1000).await?;
                ensure_eq!(found, expected, "behind the key `{}`, backward", after.escape_ascii());
            }
            let nothing = KeyRange::prefix(b"a").after(b"b");
            ensure_eq!(read_all(&store, &space, nothing, 1000).await?, vec![], "a range that ends before it starts");
            Ok(())
        }

        /// Pages cover every key exactly once, whatever their size, while others write elsewhere; a page has at most
        /// `limit` records, and says whether the range goes on.
        fn pages(t) {
            let store = t.open()?;
            let (space, elsewhere) = (namespace("space"), namespace("spacf"));
            let mut pairs: Vec<Pair> = Vec::new();
            for number in 0..120 {
                let pair = (format!("key {number:03}").into_bytes(), number.to_string().into_bytes());
                put(&store, &space, &pair.0, &pair.1).await?;
                pairs.push(pair);
            }
            let writer = tokio::spawn({
                let store = store.clone();
                async move {
                    for number in 0.. {
                        if put(&store, &elsewhere, format!("{number}"), "x").await.is_err() {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                }
            });
            for limit in [1, 2, 7, 119, 120, 121, usize::MAX] {
                ensure_eq!(read_all(&store, &space, KeyRange::all(), limit).await?, pairs, "pages of {limit}");
                let page = store.scan(&space, KeyRange::all(), limit).await?;
                ensure_eq!(page.records.len(), limit.min(pairs.len()), "records of a page of {limit}");
                ensure_eq!(page.more, limit < pairs.len(), "whether there is more behind a page of {limit}");
                let page = store.scan(&space, KeyRange::prefix(b"key 11"), limit).await?;
                ensure_eq!(page.more, limit < 10, "whether there is more of ten behind a page of {limit}");
            }
            let page = store.scan(&space, KeyRange::all(), 0).await?;
            ensure!(page.records.is_empty(), "a page of no records has {}", page.records.len());
            writer.abort();
            Ok(())
        }

        /// A page stops at its limit of bytes; a single larger record still makes a page of one.
        fn page_bytes(t) {
            let store = t.open()?;
            let space = namespace("space");
            let mut random = Random::from_seed(3);
            let mut pairs: Vec<Pair> = Vec::new();
            for number in 0..24_usize {
                let size = match number { 5 => 2 * MAX_PAGE_BYTES, 11 => MAX_PAGE_BYTES, _ => 200_000 };
                let pair = (format!("{number:02}").into_bytes(), random.bytes(size));
                put(&store, &space, &pair.0, &pair.1).await?;
                pairs.push(pair);
            }
            let mut rest = KeyRange::all();
            let mut found: Vec<Pair> = Vec::new();
            loop {
                let page = store.scan(&space, rest.clone(), 1000).await?;
                let bytes: usize =
                    page.records.iter().map(|(key, record)| key.as_bytes().len() + record.value.len()).sum();
                let count = page.records.len();
                ensure!(count > 0, "a page is empty, {} records before the end", pairs.len() - found.len());
                ensure!(count == 1 || bytes <= MAX_PAGE_BYTES, "a page of {count} records has {bytes} bytes");
                found.extend(page.records.into_iter().map(|(key, record)| (key.into_bytes(), record.value)));
                ensure_eq!(page.more, found.len() < pairs.len(), "whether there is more behind {} records", found.len());
                if !page.more {
                    break;
                }
                rest = rest.after(&found[found.len() - 1].0);
            }
            ensure!(found == pairs, "the pages together are not what was written");
            Ok(())
        }

        /// The records of a page carry the versions that reading each of them gives.
        fn versions(t) {
            let store = t.open()?;
            let space = namespace("space");
            for number in 0..20 {
                put(&store, &space, format!("{}", number % 7), format!("{number}")).await?;
            }
            let page = store.scan(&space, KeyRange::all(), 100).await?;
            ensure_eq!(page.records.len(), 7, "records of the page");
            for (name, record) in page.records {
                let single = store.get(&space, &key(name.as_bytes())).await?;
                ensure_eq!(single, Some(record), "the record of `{name}`");
            }
            Ok(())
        }
    }
}
