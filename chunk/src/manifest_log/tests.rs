use std::cell::Cell;

use futures_lite::future::block_on;

use super::{publish as publish_after, *};
use crate::hooked::{Call, HookedStore};
use crate::memory::MemoryStore;
use crate::promises::Promises;

const VOLUME: VolumeId = VolumeId([7; 16]);

/// A manifest of the opening with this salt.
fn body(seq: u64, salt: u8) -> Vec<u8> {
    let seq = ManifestSeq(seq);
    let name = crate::ids::VolumeName::new("a").unwrap();
    let manifest = Manifest {
        volume: VOLUME,
        name,
        size_bytes: 1 << 30,
        stripe_shift: 10,
        promises: Promises::default(),
        created_unix_ms: 5,
        incarnation: wal::Incarnation(1),
        owner: [1; 16],
        tenure: wal::Incarnation(1),
        salt: salt.into(),
        cut: crate::manifest::Cut::default(),
        directory: Vec::new(),
        unfolded: Vec::new(),
        parent: None,
        ancestors: crate::lineage::Ancestors::default(),
        compressed_since: None,
    };
    manifest.encode(seq)
}

/// Publishes after whatever is there.
async fn publish<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    seq: ManifestSeq,
    body: Vec<u8>,
) -> Result<(), PublishError> {
    let before = match latest(store, volume).await {
        Ok(Some((newest, body))) if newest.next() == seq => body,
        _ if seq == ManifestSeq::FIRST => Vec::new(),
        _ => self::body(seq.0 - 1, seq.0 as u8 - 1),
    };
    publish_after(store, volume, seq, body, &before).await
}

#[test]
fn the_newest_manifest_is_found_and_old_ones_go() {
    let store = MemoryStore::new();
    block_on(async {
        assert_eq!(latest(&store, VOLUME).await.unwrap(), None);
        for n in 1..=12 {
            publish(&store, VOLUME, ManifestSeq(n), body(n, n as u8)).await.unwrap();
        }
        assert_eq!(latest(&store, VOLUME).await.unwrap(), Some((ManifestSeq(12), body(12, 12))));
        assert_eq!(prune(&store, VOLUME, 3).await.unwrap(), 9);
        assert_eq!(prune(&store, VOLUME, 3).await.unwrap(), 0);
        assert_eq!(latest(&store, VOLUME).await.unwrap(), Some((ManifestSeq(12), body(12, 12))));
        assert_eq!(store.list("").await.unwrap().len(), 3);
    });
}

#[test]
fn the_second_writer_of_a_number_loses() {
    let store = MemoryStore::new();
    block_on(async {
        publish(&store, VOLUME, ManifestSeq(1), body(1, 1)).await.unwrap();
        publish(&store, VOLUME, ManifestSeq(2), body(2, 2)).await.unwrap();
        let late = publish_after(&store, VOLUME, ManifestSeq(2), body(2, 3), &body(1, 1)).await;
        let error = late.unwrap_err();
        assert!(matches!(error, PublishError::Lost { .. }), "{error}");
        assert_eq!(latest(&store, VOLUME).await.unwrap(), Some((ManifestSeq(2), body(2, 2))));
    });
}

#[test]
fn publishing_the_same_bytes_again_succeeds() {
    let store = MemoryStore::new();
    block_on(async {
        publish(&store, VOLUME, ManifestSeq(1), body(1, 1)).await.unwrap();
        publish(&store, VOLUME, ManifestSeq(1), body(1, 1)).await.unwrap();
    });
}

#[test]
fn a_number_that_is_free_again_because_of_pruning_is_lost() {
    let store = MemoryStore::new();
    block_on(async {
        for n in 1..=5 {
            publish(&store, VOLUME, ManifestSeq(n), body(n, n as u8)).await.unwrap();
        }
        prune(&store, VOLUME, 2).await.unwrap();
        // A writer that slept since manifest 2 takes number 3, which is free again.
        let late = publish_after(&store, VOLUME, ManifestSeq(3), body(3, 33), &body(2, 2)).await;
        let error = late.unwrap_err();
        assert!(matches!(error, PublishError::Lost { .. }), "{error}");
        assert_eq!(latest(&store, VOLUME).await.unwrap(), Some((ManifestSeq(5), body(5, 5))));
    });
}

#[test]
fn what_one_sleeper_left_is_no_predecessor_for_another_one() {
    let store = MemoryStore::new();
    block_on(async {
        for n in 1..=9 {
            publish(&store, VOLUME, ManifestSeq(n), body(n, n as u8)).await.unwrap();
        }
        prune(&store, VOLUME, 2).await.unwrap();
        // The first one slept since manifest 3, the second one since manifest 4.
        let first = publish_after(&store, VOLUME, ManifestSeq(4), body(4, 44), &body(3, 3)).await;
        assert_eq!(first.unwrap_err().kind(), ErrorKind::Fenced);
        let second = publish_after(&store, VOLUME, ManifestSeq(5), body(5, 55), &body(4, 4)).await;
        assert_eq!(second.unwrap_err().kind(), ErrorKind::Fenced);
        assert_eq!(latest(&store, VOLUME).await.unwrap(), Some((ManifestSeq(9), body(9, 9))));
    });
}

#[test]
fn a_damaged_answer_of_the_predecessor_loses_nothing() {
    block_on(async {
        for bytes in [body(1, 1)[..90].to_vec(), vec![7; 300], Vec::new()] {
            let store = MemoryStore::new();
            store.put(&ManifestSeq(1).object_name(VOLUME), bytes).await.unwrap();
            let error =
                publish_after(&store, VOLUME, ManifestSeq(2), body(2, 2), &body(1, 1)).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Retry);
        }
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
        store.put(&ObjectName::new(stranger).unwrap(), body(1, 1)).await.unwrap();
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
                publish(store, VOLUME, next, body(next.0, 0)).await.unwrap();
                publish(store, VOLUME, next.next(), body(next.0 + 1, 1)).await.unwrap();
                prune(store, VOLUME, 2).await.unwrap();
            });
        }
    })
}

#[test]
fn a_manifest_that_vanishes_while_being_read_is_looked_for_again() {
    block_on(async {
        let store = racing(5);
        publish(&store.inner, VOLUME, ManifestSeq(1), body(1, 1)).await.unwrap();
        let found = latest(&store, VOLUME).await.unwrap();
        assert_eq!(found, Some((ManifestSeq(11), body(11, 1))));

        let store = racing(usize::MAX);
        publish(&store.inner, VOLUME, ManifestSeq(1), body(1, 1)).await.unwrap();
        let error = latest(&store, VOLUME).await.unwrap_err();
        assert!(matches!(error, ManifestLogError::Unsettled { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::Retry);
    });
}

/// Publishes a manifest whose name is taken by `stored`.
fn publish_over(stored: Vec<u8>, ours: Vec<u8>) -> Result<(), PublishError> {
    let store = MemoryStore::new();
    block_on(async {
        publish(&store, VOLUME, ManifestSeq(1), body(1, 1)).await.unwrap();
        store.put(&ManifestSeq(2).object_name(VOLUME), stored).await.unwrap();
        publish_after(&store, VOLUME, ManifestSeq(2), ours, &body(1, 1)).await
    })
}

#[test]
fn a_damaged_read_back_is_no_other_writer() {
    let ours = body(2, 2);
    let again = |stored: Vec<u8>| {
        let error = publish_over(stored, ours.clone()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    };
    for at in 0..ours.len() {
        let mut damaged = ours.clone();
        damaged[at] ^= 0x10;
        again(damaged);
        again(ours[..at].to_vec());
    }
    again(body(3, 3)); // a manifest of another number, under this one's name
    let mut of_this_opening = Manifest::decode(&ours).unwrap().1;
    of_this_opening.cut.epoch = wal::Epoch(7);
    again(of_this_opening.encode(ManifestSeq(2)));
    publish_over(ours.clone(), ours.clone()).unwrap();
    let error = publish_over(body(2, 3), ours.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{error}");
}
