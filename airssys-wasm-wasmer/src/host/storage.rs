//! `airssys:core/storage`.

use airssys_wasm_core::error::Result;
use airssys_wasm_core::runtime::{Comparison, HostServices, Listing, StorageRefusal};

use airssys_wasm_engine::call::check_transfer;

use super::{Import, ask_later};
use crate::store::Store;

type Answer<T> = Result<std::result::Result<T, StorageRefusal>>;

/// An import whose service is asked with what `$check` counts against the limit of bytes handed over.
macro_rules! import {
    ($name:literal, |$services:ident, $transfer:ident, ($($parameter:ident: $ty:ty),*)| $size:expr, $answer:expr) => {
        |side, cells| {
            let start = |store: &Store, $services: HostServices, ($($parameter,)*): ($($ty,)*)| {
                store.check_transfer($name, $size)?;
                let $transfer = store.transfer;
                Ok(async move { $answer })
            };
            // SAFETY: the caller keeps to the contract of an import.
            #[expect(unsafe_code, reason = "leaves the guest's stack while the store works")]
            unsafe {
                ask_later($name, side, cells, start)
            }
        }
    };
}

pub(super) fn find(function: &str) -> Option<Import> {
    Some(match function {
        "get" => import!("storage.get", |services, transfer, (key: Vec<u8>)| key.len(), {
            let answer: std::result::Result<_, _> = services.storage.get(&key).await?;
            if let Ok(Some(value)) = &answer {
                check_transfer("storage.get", transfer, value.len())?;
            }
            Ok(answer)
        }),
        "set" => {
            import!("storage.set", |services, _transfer, (key: Vec<u8>, value: Vec<u8>)| key.len() + value.len(), {
                services.storage.set(key, value).await
            })
        }
        "replace" => import!(
            "storage.replace",
            |services, transfer, (key: Vec<u8>, value: Vec<u8>)| key.len() + value.len(),
            {
                let answer: std::result::Result<_, _> = services.storage.replace(key, value).await?;
                if let Ok(Some(evicted)) = &answer {
                    check_transfer("storage.replace", transfer, evicted.len())?;
                }
                Ok(answer)
            }
        ),
        "delete" => import!("storage.delete", |services, _transfer, (key: Vec<u8>)| key.len(), {
            services.storage.delete(key).await
        }),
        "exists" => import!("storage.exists", |services, _transfer, (key: Vec<u8>)| key.len(), {
            services.storage.exists(&key).await
        }),
        "list" => import!(
            "storage.list",
            |services, transfer, (prefix: Vec<u8>, cursor: Option<Vec<u8>>, limit: u32)| {
                prefix.len() + cursor.as_ref().map_or(0, Vec::len)
            },
            list(&services, transfer, &prefix, cursor.as_deref(), limit).await
        ),
        "compare-and-set" => import!(
            "storage.compare-and-set",
            |services, _transfer, (key: Vec<u8>, expected: Comparison, value: Vec<u8>)| {
                let comparison = if let Comparison::Value(value) = &expected { value.len() } else { 0 };
                key.len() + comparison + value.len()
            },
            services.storage.compare_and_set(key, expected, value).await
        ),
        "usage" => import!("storage.usage", |services, _transfer, ()| 0, services.storage.usage().await),
        _ => return None,
    })
}

async fn list(
    services: &HostServices,
    transfer: usize,
    prefix: &[u8],
    cursor: Option<&[u8]>,
    limit: u32,
) -> Answer<Listing> {
    let answer = services.storage.list(prefix, cursor, limit).await?;
    if let Ok(listing) = &answer {
        let entries: usize = listing.entries.iter().map(|entry| entry.key.len() + entry.value.len()).sum();
        check_transfer("storage.list", transfer, entries + listing.cursor.as_ref().map_or(0, Vec::len))?;
    }
    Ok(answer)
}
