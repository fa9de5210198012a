use super::*;
use crate::ids::ManifestSeq;
use crate::manifest_log::publish;
use crate::memory::MemoryStore;
use crate::sealed;
use crate::snapshot::{SnapshotId, SnapshotName};
use crate::store::ObjectStore;

const VOLUME: VolumeId = VolumeId([7; 16]);

fn id(incarnation: u64, n: u64) -> ChunkId {
    ChunkId::new(Incarnation(incarnation), n).unwrap()
}

fn sample() -> Manifest {
    let place = |n| PageRef { object: id(2, n), offset: 0, len: 80, crc: 5 };
    Manifest {
        volume: VOLUME,
        name: VolumeName::new("vm1").unwrap(),
        size_bytes: 20 << 30,
        stripe_shift: 10,
        promises: Promises::default(),
        created_unix_ms: 1_790_000_000_000,
        incarnation: Incarnation(3),
        owner: [9; 16],
        tenure: Incarnation(2),
        salt: 77,
        cut: Cut {
            incarnation: Incarnation(3),
            epoch: Epoch(12),
            positions: vec![(ShardId(0), Lsn(100)), (ShardId(1), Lsn(200))],
        },
        directory: vec![(SegmentIndex(0), place(1)), (SegmentIndex(4), place(2))],
        unfolded: vec![id(3, 5), id(3, 4)],
        parent: None,
        ancestors: Ancestors::default(),
        compressed_since: None,
    }
}

#[test]
fn reads_back_as_written() {
    let bytes = sample().encode(ManifestSeq(8));
    assert_eq!(Manifest::decode(&bytes).unwrap(), (ManifestSeq(8), sample()));
    assert_eq!(Manifest::decode_as(&bytes, VOLUME, ManifestSeq(8)).unwrap(), sample());
    assert_eq!(sample().blocks(), 5 << 20);
}

#[test]
fn wrong_frames_and_identities_are_refused() {
    let what = WHAT;
    let bytes = sample().encode(ManifestSeq(8));
    let error = Manifest::decode_as(&bytes, VolumeId([8; 16]), ManifestSeq(8)).unwrap_err();
    assert_eq!(error, FormatError::Identity { what, field: "volume" });
    let error = Manifest::decode_as(&bytes, VOLUME, ManifestSeq(9)).unwrap_err();
    assert_eq!(error, FormatError::Identity { what, field: "number" });
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        Manifest::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(&|b| b[3] = 0), FormatError::Magic { what });
    assert_eq!(with(&|b| b[8] = 2), FormatError::Version { what, found: 2, known: 1 });
    assert_eq!(with(&|b| b[60] ^= 1), FormatError::Checksum { what });
    let long = with(&|b| {
        b.push(0);
        sealed::seal(b);
    });
    assert_eq!(long, FormatError::Length { what, need: 0, have: 1 });
    let features = with(&|b| {
        b[16] = 8;
        sealed::seal(b);
    });
    assert_eq!(features, FormatError::Features { what, unknown: 8 });
}

#[test]
fn any_cut_off_body_is_refused() {
    let bytes = sample().encode(ManifestSeq(8));
    for length in 32..bytes.len() {
        let mut short = bytes[..length].to_vec();
        sealed::seal(&mut short);
        let error = Manifest::decode(&short).unwrap_err();
        assert!(matches!(error, FormatError::Length { what: WHAT, .. }), "{length}: {error}");
    }
}

/// Offsets of the parts behind the fixed one.
const NAME: usize = 176;
const POSITIONS: usize = NAME + 3;
const DIRECTORY: usize = POSITIONS + 2 * 10;
const UNFOLDED: usize = DIRECTORY + 2 * 24;

#[test]
fn every_bad_field_is_refused_by_name() {
    let cases: [(usize, &[u8], &str); 28] = [
        (48, &[0], "number"),
        (56, &[0; 8], "size"),
        (56, &[1], "size"),
        (63, &[1], "size"),
        (67, &[1], "incarnation"),
        (104, &[4], "cut's incarnation"),
        (120, &[1], "parent"),
        (151, &[1], "parent"),
        (152, &[9], "stripe shift"),
        (152, &[21], "stripe shift"),
        (164, &[3], "durability"),
        (165, &[1], "reserved"),
        (166, &[4], "seconds of a lease"),
        (166, &[0x11, 0x0e], "seconds of a lease"),
        (168, &[9], "tenure"),
        (NAME, b"A", "name of length"),
        (NAME, b"\xff", "name of length"),
        (POSITIONS, &[1], "position's shard"),
        (POSITIONS + 10, &[0, 4], "position's shard"),
        (DIRECTORY, &[4], "directory segment"),
        (DIRECTORY + 24, &[5], "directory segment"),
        (DIRECTORY + 4 + 5, &[4], "map object"),
        (DIRECTORY + 4 + 5, &[0], "object id"),
        (DIRECTORY + 16, &[31], "length"),
        (DIRECTORY + 12, &[0, 0, 0x40], "offset"),
        (UNFOLDED, &[4], "unfolded chunk"),
        (UNFOLDED + 5, &[4], "unfolded chunk"),
        (UNFOLDED + 5, &[0], "unfolded chunk"),
    ];
    for (at, value, name) in cases {
        let mut bytes = sample().encode(ManifestSeq(8));
        bytes[at..at + value.len()].copy_from_slice(value);
        sealed::seal(&mut bytes);
        match Manifest::decode(&bytes).unwrap_err() {
            FormatError::Field { what: WHAT, field, .. } => assert_eq!(field, name, "at {at}"),
            other => panic!("{name}: {other}"),
        }
    }
}

fn clone() -> Manifest {
    let ancestors = Ancestors::default().descend(VolumeId([1; 16]), Incarnation(2)).unwrap();
    let (volume, snapshot) = (VolumeId([6; 16]), SnapshotId([5; 16]));
    let parent = Some(Parent { volume, snapshot, name: SnapshotName::new("s1").unwrap() });
    Manifest { parent, ancestors, ..sample() }
}

#[test]
fn a_clone_reads_back_as_written() {
    let only = |change: &dyn Fn(&mut Manifest)| {
        let mut manifest = clone();
        change(&mut manifest);
        manifest
    };
    let all =
        [clone(), only(&|it| it.parent = None), only(&|it| it.ancestors = Ancestors::default())];
    for manifest in all {
        let bytes = manifest.encode(ManifestSeq(8));
        assert_eq!(bytes[16], 1, "readers that do not know of ancestors refuse it");
        assert_eq!(Manifest::decode(&bytes).unwrap(), (ManifestSeq(8), manifest));
    }
    assert_eq!(sample().encode(ManifestSeq(8))[16], 0);
    let lineage = clone().lineage();
    assert_eq!(lineage.writer(id(2, 5)), VolumeId([1; 16]));
    assert_eq!(lineage.writer(id(3, 5)), VOLUME);
}

#[test]
fn a_manifest_of_compressed_chunks_reads_back_and_older_readers_refuse_it() {
    for plain in [sample(), clone()] {
        let manifest = Manifest { compressed_since: Some(Incarnation(3)), ..plain.clone() };
        let bytes = manifest.encode(ManifestSeq(8));
        let before = plain.encode(ManifestSeq(8));
        assert_eq!((bytes[16], bytes.len()), (before[16] | 2, before.len() + 8));
        assert_eq!(Manifest::decode(&bytes).unwrap(), (ManifestSeq(8), manifest.clone()));
        assert!(manifest.may_be_compressed(id(3, 0)) && !manifest.may_be_compressed(id(2, 9)));
        assert!(!plain.may_be_compressed(id(3, 0)));
        let at = bytes.len() - 8;
        for since in [0, 4] {
            let mut bytes = bytes.clone();
            bytes[at] = since;
            sealed::seal(&mut bytes);
            let field = "first compressed incarnation";
            let error = FormatError::Field { what: WHAT, field, value: since.into() };
            assert_eq!(Manifest::decode(&bytes), Err(error));
        }
        let mut short = bytes[..at + 7].to_vec();
        sealed::seal(&mut short);
        assert!(matches!(Manifest::decode(&short), Err(FormatError::Length { .. })));
    }
}

#[test]
fn every_bad_field_of_a_lineage_is_refused_by_name() {
    const LINEAGE: usize = UNFOLDED + 2 * 8;
    let cases: [(usize, &[u8], &str); 9] = [
        (LINEAGE + 2, &[0], "snapshot name of length"),
        (LINEAGE + 2, &[1], "ancestor's incarnation"),
        (LINEAGE + 3, &[1], "reserved"),
        (LINEAGE + 4, b"A", "snapshot name of length"),
        (LINEAGE + 6, &[7; 16], "ancestor"),
        (LINEAGE + 22, &[0], "ancestor's incarnation"),
        (LINEAGE + 22, &[4], "ancestor's incarnation"),
        (120, &[0; 32], "snapshot name of length"),
        (120, &[7; 16], "parent"),
    ];
    for (at, value, name) in cases {
        let mut bytes = clone().encode(ManifestSeq(8));
        bytes[at..at + value.len()].copy_from_slice(value);
        sealed::seal(&mut bytes);
        match Manifest::decode(&bytes) {
            Err(FormatError::Field { field, .. }) => assert_eq!(field, name, "at {at}"),
            // One byte less of the name, and all behind it is out of place.
            Err(FormatError::Length { .. }) if name.ends_with("incarnation") => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    let bytes = clone().encode(ManifestSeq(8));
    for length in LINEAGE..bytes.len() {
        let mut short = bytes[..length].to_vec();
        sealed::seal(&mut short);
        let error = Manifest::decode(&short).unwrap_err();
        assert!(matches!(error, FormatError::Length { what: WHAT, .. }), "{length}: {error}");
    }
}

#[test]
fn too_many_positions_or_chunks_are_refused() {
    let mut manifest = sample();
    manifest.unfolded = (0..=MAX_UNFOLDED_CHUNKS as u64).map(|n| id(1, n)).collect();
    let field = "number of unfolded chunks";
    let error = FormatError::Field { what: WHAT, field, value: MAX_UNFOLDED_CHUNKS as u64 + 1 };
    assert_eq!(manifest.check(), Err(error));
    manifest.unfolded.pop();
    assert_eq!(manifest.check(), Ok(()));
    manifest.cut.positions = (0..=MAX_SHARDS).map(|n| (ShardId(n), Lsn(0))).collect();
    let field = "number of positions";
    let error = FormatError::Field { what: WHAT, field, value: u64::from(MAX_SHARDS) + 1 };
    assert_eq!(manifest.check(), Err(error));
}

#[test]
fn a_damaged_newest_manifest_is_an_error_and_no_older_one_stands_in() {
    let store = MemoryStore::new();
    futures_lite::future::block_on(async {
        assert!(load(&store, VOLUME).await.unwrap().is_none());
        let (first, second) = (ManifestSeq(1), ManifestSeq(2));
        let before = sample().encode(first);
        publish(&store, VOLUME, first, before.clone(), &[]).await.unwrap();
        publish(&store, VOLUME, second, sample().encode(second), &before).await.unwrap();
        assert_eq!(load(&store, VOLUME).await.unwrap(), Some((ManifestSeq(2), sample())));
        // A sound manifest, but the one of another number.
        let stale = sample().encode(ManifestSeq(1));
        for body in [stale, vec![0; 500], Vec::new()] {
            store.put(&ManifestSeq(2).object_name(VOLUME), body).await.unwrap();
            let error = load(&store, VOLUME).await.unwrap_err();
            assert!(matches!(error, LoadError::Format { seq: ManifestSeq(2), .. }), "{error}");
            assert_eq!(error.kind(), crate::error::ErrorKind::Corrupt);
        }
    });
}
