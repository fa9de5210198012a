use std::cell::Cell;

use futures_lite::future::block_on;

use super::*;
use crate::hooked::{Call, HookedStore};
use crate::memory::MemoryStore;

const VOLUME: VolumeId = VolumeId([7; 16]);

fn body(n: u8) -> Vec<u8> {
    vec![n; 10]
}

#[test]
fn the_newest_manifest_is_found_and_old_ones_go() {
    let store = MemoryStore::new();
    block_on(async {
        assert_eq!(latest(&store, VOLUME).await.unwrap(), None);
        for n in 1..=12 {
            publish(&store, VOLUME, ManifestSeq(n), body(n as u8)).await.unwrap();
        }
        assert_eq!(latest(&store, VOLUME).await.unwrap(), Some((ManifestSeq(12), body(12))));
        assert_eq!(prune(&store, VOLUME, 3).await.unwrap(), 9);
        assert_eq!(prune(&store, VOLUME, 3).await.unwrap(), 0);
        assert_eq!(latest(&store, VOLUME).await.unwrap(), Some((ManifestSeq(12), body(12))));
        assert_eq!(store.list("").await.unwrap().len(), 3);
    });
}

#[test]
fn the_second_writer_of_a_number_loses() {
    let store = MemoryStore::new();
    block_on(async {
        publish(&store, VOLUME, ManifestSeq(1), body(1)).await.unwrap();
        publish(&store, VOLUME, ManifestSeq(2), body(2)).await.unwrap();
        for other in [body(3), vec![3; 11]] {
            let error = publish(&store, VOLUME, ManifestSeq(2), other).await.unwrap_err();
            assert!(matches!(error, PublishError::Lost { .. }), "{error}");
        }
        assert_eq!(latest(&store, VOLUME).await.unwrap(), Some((ManifestSeq(2), body(2))));
    });
}

#[test]
fn publishing_the_same_bytes_again_succeeds() {
    let store = MemoryStore::new();
    block_on(async {
        publish(&store, VOLUME, ManifestSeq(1), body(1)).await.unwrap();
        publish(&store, VOLUME, ManifestSeq(1), body(1)).await.unwrap();
    });
}

#[test]
fn a_number_that_is_free_again_because_of_pruning_is_lost() {
    let store = MemoryStore::new();
    block_on(async {
        for n in 1..=5 {
            publish(&store, VOLUME, ManifestSeq(n), body(n as u8)).await.unwrap();
        }
        prune(&store, VOLUME, 2).await.unwrap();
        // A writer that slept since manifest 2 takes number 3, which is free again.
        let error = publish(&store, VOLUME, ManifestSeq(3), body(33)).await.unwrap_err();
        assert!(matches!(error, PublishError::Lost { .. }), "{error}");
        assert_eq!(latest(&store, VOLUME).await.unwrap(), Some((ManifestSeq(5), body(5))));
    });
}

#[test]
fn strangers_and_giants_are_refused_by_name() {
    let store = MemoryStore::new();
    block_on(async {
        let giant = ManifestSeq(1).object_name(VOLUME);
        store.put(&giant, vec![0; MAX_MANIFEST_BYTES + 1]).await.unwrap();
        let error = latest(&store, VOLUME).await.unwrap_err();
        assert!(matches!(error, ManifestLogError::TooLong { .. }), "{error}");
        let stranger = format!("{}notes.txt", manifest_prefix(VOLUME));
        store.put(&ObjectName::new(stranger).unwrap(), body(1)).await.unwrap();
        let error = latest(&store, VOLUME).await.unwrap_err();
        assert!(matches!(error, ManifestLogError::Stranger { .. }), "{error}");
    });
}

/// A store where another writer publishes and prunes between each listing and reading, `races`
/// times.
fn racing(races: usize) -> HookedStore {
    let races = Cell::new(races);
    HookedStore::new(move |store, call| {
        if call == Call::GetRange && races.get() > 0 {
            races.set(races.get() - 1);
            block_on(async {
                let (newest, _) = latest(store, VOLUME).await.unwrap().unwrap();
                let next = newest.next();
                publish(store, VOLUME, next, body(0)).await.unwrap();
                publish(store, VOLUME, next.next(), body(1)).await.unwrap();
                prune(store, VOLUME, 2).await.unwrap();
            });
        }
    })
}

#[test]
fn a_manifest_that_vanishes_while_being_read_is_looked_for_again() {
    block_on(async {
        let store = racing(5);
        publish(&store.inner, VOLUME, ManifestSeq(1), body(1)).await.unwrap();
        let found = latest(&store, VOLUME).await.unwrap();
        assert_eq!(found, Some((ManifestSeq(11), body(1))));

        let store = racing(usize::MAX);
        publish(&store.inner, VOLUME, ManifestSeq(1), body(1)).await.unwrap();
        let error = latest(&store, VOLUME).await.unwrap_err();
        assert!(matches!(error, ManifestLogError::Unsettled { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Retry);
    });
}
