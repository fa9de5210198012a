use futures_lite::future::block_on;
use wal::Incarnation;

use super::*;
use crate::catalog::{NewVolume, create};
use crate::memory::MemoryStore;
use crate::promises::Promises;
use crate::sealed;

const VOLUME: VolumeId = VolumeId([7; 16]);

fn name(text: &str) -> SnapshotName {
    SnapshotName::new(text).unwrap()
}

fn vm() -> VolumeName {
    VolumeName::new("vm1").unwrap()
}

/// A store with a volume, and its manifest.
fn world() -> (MemoryStore, Manifest) {
    let store = MemoryStore::new();
    let new = NewVolume {
        name: vm(),
        id: VOLUME,
        size_bytes: 1 << 30,
        stripe_shift: 10,
        promises: Promises::default(),
        created_unix_ms: 5,
    };
    let mut manifest = block_on(create(&store, new)).unwrap();
    manifest.incarnation = Incarnation(2);
    (store, manifest)
}

fn snapshot(manifest: &Manifest, n: u8, text: &str) -> Snapshot {
    let (seq, manifest) = (ManifestSeq(4), manifest.clone());
    Snapshot { id: SnapshotId([n; 16]), name: name(text), created_unix_ms: 77, seq, manifest }
}

fn turn(n: u8) -> SnapshotId {
    SnapshotId([0xd0 + n; 16])
}

fn remove(store: &MemoryStore, text: &str) -> Result<(), SnapshotError> {
    block_on(delete(store, (VOLUME, &vm()), &name(text), turn(1)))
}

#[test]
fn names_are_those_of_volumes_or_of_clones() {
    for bad in ["", "A", "a/b", "_", "a@b", &"x".repeat(65)] {
        assert!(SnapshotName::new(bad).is_err(), "{bad}");
    }
    let hidden = SnapshotName::of_clone(VolumeId([0xab; 16]));
    assert_eq!(hidden.as_str(), format!("_{}", "ab".repeat(16)));
    assert!(SnapshotName::new(hidden.as_str()).is_err(), "nobody can type it");
    assert_eq!(SnapshotName::parse(hidden.as_str()), Ok(hidden.clone()));
    assert_eq!(hidden.clone_id(), Some(VolumeId([0xab; 16])));
    assert_eq!(name("a").clone_id(), None);
    assert!(SnapshotName::parse("_short").is_err());
    let object = name("day-1").object_name(VOLUME);
    assert_eq!(object.as_str(), format!("volumes/{VOLUME}/snapshots/day-1"));
}

#[test]
fn a_snapshot_reads_back_as_it_was_put() {
    let (store, manifest) = world();
    let made = snapshot(&manifest, 1, "a");
    block_on(async {
        assert_eq!(read(&store, VOLUME, &made.name).await.unwrap(), None);
        put(&store, &made).await.unwrap();
        put(&store, &made).await.expect("the same again, as after a lost answer");
        assert_eq!(read(&store, VOLUME, &made.name).await.unwrap().as_ref(), Some(&made));
        let header = read_header(&store, VOLUME, &made.name).await.unwrap();
        assert_eq!(header, Some(made.header()));
        let error = put(&store, &snapshot(&manifest, 2, "a")).await.unwrap_err();
        assert_eq!(error.to_string(), "snapshot vm1@a exists already");
        assert_eq!(error.kind(), None);
        assert_eq!(read(&store, VOLUME, &made.name).await.unwrap(), Some(made));
    });
}

#[test]
fn many_are_listed_with_their_headers_and_a_damaged_one_hides_none() {
    let (store, manifest) = world();
    block_on(async {
        for n in 0..100 {
            put(&store, &snapshot(&manifest, n, &format!("s{n:03}"))).await.unwrap();
        }
        let damaged = name("s050").object_name(VOLUME);
        store.put(&damaged, vec![1; 500]).await.unwrap();
        let stranger = object(format!("{}UPPER", snapshot_prefix(VOLUME)));
        store.put(&stranger, vec![1]).await.unwrap();
        let all = headers(&store, VOLUME).await.unwrap();
        assert_eq!(all.len(), 101);
        let (good, bad): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
        let good: Vec<_> = good.into_iter().flatten().map(|it| it.name.to_string()).collect();
        let right = (0..100).filter(|n| *n != 50).map(|n| format!("s{n:03}"));
        assert_eq!(good, right.collect::<Vec<_>>());
        let bad: Vec<_> = bad.into_iter().filter_map(Result::err).collect();
        assert!(bad.iter().all(|error| error.kind() == ErrorKind::Corrupt), "{bad:?}");
        assert_eq!(bad.len(), 2);
    });
}

#[test]
fn a_deleted_one_is_gone_and_its_name_is_free() {
    let (store, manifest) = world();
    block_on(put(&store, &snapshot(&manifest, 1, "a"))).unwrap();
    let before = block_on(store.list("")).unwrap().len();
    remove(&store, "a").unwrap();
    assert_eq!(block_on(store.list("")).unwrap().len(), before - 1, "no marker is left");
    let error = remove(&store, "a").unwrap_err();
    assert!(error.to_string().starts_with("volume vm1 has no snapshot a"), "{error}");
    block_on(put(&store, &snapshot(&manifest, 2, "a"))).unwrap();
}

#[test]
fn a_deletion_that_was_cut_off_is_finished_by_the_next_one() {
    let (store, manifest) = world();
    let left = object(format!("volumes/{VOLUME}/deleting/a/{}", turn(9)));
    block_on(async {
        // Before the snapshot was deleted...
        put(&store, &snapshot(&manifest, 1, "a")).await.unwrap();
        store.put(&left, vec![1]).await.unwrap();
        remove(&store, "a").unwrap();
        assert!(store.head(&left).await.is_err());
        // ... and after it.
        store.put(&left, vec![1]).await.unwrap();
        let error = put(&store, &snapshot(&manifest, 2, "a")).await.unwrap_err();
        assert!(matches!(error, SnapshotError::Deleting { .. }), "{error}");
        remove(&store, "a").unwrap();
        put(&store, &snapshot(&manifest, 2, "a")).await.unwrap();
    });
}

#[test]
fn one_that_is_damaged_can_be_deleted() {
    let (store, _) = world();
    let object = name("a").object_name(VOLUME);
    block_on(store.put(&object, vec![1; 500])).unwrap();
    remove(&store, "a").unwrap();
    assert!(block_on(store.head(&object)).is_err());
}

#[test]
fn a_volume_that_was_deleted_meanwhile_gets_no_snapshot() {
    let (store, manifest) = world();
    block_on(async {
        store.delete(&vm().object_name()).await.unwrap();
        let made = snapshot(&manifest, 1, "a");
        let error = put(&store, &made).await.unwrap_err();
        assert!(matches!(error, SnapshotError::NoVolume { .. }), "{error}");
        assert_eq!(read(&store, VOLUME, &made.name).await.unwrap(), None);
    });
}

#[test]
fn unsound_snapshots_are_refused_by_name() {
    let (_, manifest) = world();
    let made = snapshot(&manifest, 1, "a");
    let whole = made.encode();
    assert_eq!(Snapshot::decode(&whole).unwrap(), made);
    let what = "snapshot";
    let cases: [(usize, &[u8], &str); 7] = [
        (72, &[0], "number of the manifest"),
        (91, &[1], "bytes of the manifest"),
        (96, &[0], "name of length"),
        (97, &[1], "reserved"),
        (104, b"A", "name of length"),
        (105, &[1], "reserved"),
        (82, &[9], "size"),
    ];
    for (at, value, field) in cases {
        let mut bytes = whole.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        sealed::seal(&mut bytes[..HEADER_BYTES]);
        match Snapshot::decode(&bytes) {
            Err(crate::FormatError::Field { field: found, .. }) => assert_eq!(found, field, "{at}"),
            other => panic!("{field}: {other:?}"),
        }
    }
    let error = |bytes: &[u8]| Snapshot::decode(bytes).unwrap_err();
    let manifest_bytes = (whole.len() - HEADER_BYTES) as u64;
    let short = crate::FormatError::Length { what, need: manifest_bytes, have: manifest_bytes - 1 };
    assert_eq!(error(&whole[..whole.len() - 1]), short);
    let mut bytes = whole.clone();
    bytes[HEADER_BYTES + 40] ^= 1;
    assert_eq!(error(&bytes), crate::FormatError::Checksum { what: "manifest" });
    let mut bytes = whole.clone();
    bytes[HEADER_BYTES + 12] ^= 1;
    assert_eq!(error(&bytes), crate::FormatError::Identity { what, field: "manifest" });
    let mut bytes = whole.clone();
    bytes[33] ^= 1;
    assert_eq!(error(&bytes), crate::FormatError::Checksum { what });
    let wrong = |volume, text| Snapshot::decode_as(&whole, volume, &name(text)).unwrap_err();
    let identity = |field| crate::FormatError::Identity { what, field };
    assert_eq!(wrong(VolumeId([8; 16]), "a"), identity("volume"));
    assert_eq!(wrong(VOLUME, "b"), identity("name"));
    let header = &whole[..HEADER_BYTES];
    let wrong = SnapshotHeader::decode_as(header, VOLUME, &name("b")).unwrap_err();
    assert_eq!(wrong, identity("name"));
    assert!(SnapshotHeader::decode_as(&whole, VOLUME, &name("a")).is_err(), "too long");
}
