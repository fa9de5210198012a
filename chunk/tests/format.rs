//! The examples of `FORMAT.md` are what the encoders write and what the decoders read.
//!
//! An example is a fenced block `hex <name>`: lines of an offset and up to 16 bytes, `*` for "as
//! the line before, up to the next offset", and the length alone at the end.

use chunk::catalog::{decode_name, encode_name};
use chunk::clones::Pin;
use chunk::map_object::{MapPart, parts};
use chunk::snapshot::HEADER_BYTES;
use chunk::{
    Ancestors, ChunkBuilder, ChunkId, ChunkIndex, Compression, Cut, DirectorySegment, Durability,
    Fencing, LeaseTerm, Manifest, ManifestSeq, MapObjectBuilder, MapPage, PageIdentity, PageIndex,
    PageRef, PageRun, Parent, PayloadBlock, Promises, SegmentIdentity, SegmentIndex, Snapshot,
    SnapshotId, SnapshotName, VolumeName,
};
use wal::{BLOCK_BYTES, Epoch, Extent, HoleKind, Incarnation, Layout, Lba, Lsn, ShardId, VolumeId};

const VOLUME: VolumeId =
    VolumeId(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");

fn id(sequence: u64) -> ChunkId {
    ChunkId::new(Incarnation(3), sequence).unwrap()
}

fn example(name: &str) -> Vec<u8> {
    let fence = format!("```hex {name}\n");
    let (_, rest) = include_str!("../FORMAT.md").split_once(&fence).expect("the example is there");
    let (text, _) = rest.split_once("```").expect("the example ends");
    let mut bytes: Vec<u8> = Vec::new();
    let mut repeat = false;
    for line in text.lines() {
        if line == "*" {
            repeat = true;
            continue;
        }
        let mut words = line.split_whitespace();
        let offset = usize::from_str_radix(words.next().expect("an offset"), 16).unwrap();
        while repeat && bytes.len() < offset {
            bytes.extend_from_within(bytes.len() - 16..);
        }
        repeat = false;
        assert_eq!(bytes.len(), offset, "offsets follow each other");
        bytes.extend(words.map(|word| u8::from_str_radix(word, 16).unwrap()));
    }
    bytes
}

fn dump(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut before: &[u8] = &[];
    let mut repeated = false;
    for (n, line) in bytes.chunks(16).enumerate() {
        if line == before {
            text += if repeated { "" } else { "*\n" };
            repeated = true;
            continue;
        }
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("{:04x}  {}\n", n * 16, hex.join(" "));
        (before, repeated) = (line, false);
    }
    text + &format!("{:04x}\n", bytes.len())
}

/// The encoder writes what the document says.
fn documented(name: &str, written: &[u8]) -> Vec<u8> {
    let example = example(name);
    assert!(example == written, "FORMAT.md should have for `{name}`:\n{}", dump(written));
    example
}

#[test]
fn the_chunk_is_as_documented() {
    let layout = Layout::new(10, 2).unwrap();
    let mut chunk = ChunkBuilder::new(VOLUME, id(7), layout, Epoch(42));
    assert_eq!(chunk.push_data(Lba(5), &[0x61; BLOCK_BYTES]), 1);
    assert!(chunk.push_hole(HoleKind::Zero, Extent::new(Lba(64), 16).unwrap(), None));
    let all = Extent::new(Lba(1024), 1 << 28).unwrap();
    assert!(chunk.push_hole(HoleKind::Discard, all, Some(ShardId(1))));
    let (bytes, index) = chunk.finish();
    let example = documented("chunk", &bytes);
    assert_eq!(ChunkIndex::decode_as(&example, VOLUME, id(7)).unwrap(), index);
}

#[test]
fn the_compressed_chunk_is_as_documented() {
    let mut chunk = ChunkBuilder::new(VOLUME, id(9), Layout::new(10, 1).unwrap(), Epoch(43));
    assert_eq!(chunk.push_data(Lba(7), &[0x61; 16 * BLOCK_BYTES]), 16);
    let last: Vec<u8> = (0..BLOCK_BYTES as u64).map(|n| b'a' + (n % 26) as u8).collect();
    assert_eq!(chunk.push_data(Lba(40), &last), 1);
    let (bytes, index) = chunk.finish_as(Compression::Lz4);
    // What an encoder makes of bytes is its own affair; the example is one that decodes.
    let example = documented("frames", &bytes);
    let found = ChunkIndex::decode_as(&example, VOLUME, id(9)).unwrap();
    assert_eq!(found, index);
    let frames: Vec<_> = found.frames().of_object(0..17, &example).collect();
    assert_eq!(frames[0].1.as_deref(), Ok(&[0x61; 16 * BLOCK_BYTES][..]));
    assert_eq!(frames[1].1.as_deref(), Ok(&last[..]));
}

fn page() -> MapPage {
    let mut page = MapPage::new();
    page.put_data(5, id(7), PayloadBlock(0), &[0x1234_5678]);
    page.put_zero(PageRun::new(64, 16).unwrap());
    page
}

#[test]
fn the_page_is_as_documented() {
    let identity = PageIdentity { volume: VOLUME, index: PageIndex(2049) };
    let example = documented("page", &page().encode(identity).0);
    assert_eq!(MapPage::decode_as(&example, identity).unwrap(), page());
}

fn place() -> PageRef {
    PageRef { object: id(8), offset: 0, len: 100, crc: 0x9abc_def0 }
}

#[test]
fn the_segment_is_as_documented() {
    let mut segment = DirectorySegment::new(SegmentIndex(2));
    segment.set(PageIndex(2049), Some(place()));
    let example = documented("segment", &segment.encode(VOLUME).0);
    let identity = SegmentIdentity { volume: VOLUME, index: SegmentIndex(2) };
    assert_eq!(DirectorySegment::decode_as(&example, identity).unwrap(), segment);
}

#[test]
fn the_map_object_is_the_parts_back_to_back() {
    let mut object = MapObjectBuilder::new(VOLUME, id(8));
    let first = object.push_page(PageIndex(2049), &page()).unwrap();
    assert_eq!((first.offset, first.len as usize), (0, example("page").len()));
    let mut segment = DirectorySegment::new(SegmentIndex(2));
    segment.set(PageIndex(2049), Some(place()));
    object.push_segment(&segment).unwrap();
    let both = [example("page"), example("segment")].concat();
    assert_eq!(object.finish(), both);
    assert!(matches!(parts(&both).unwrap()[..], [MapPart::Page(..), MapPart::Segment(..)]));
}

fn manifest() -> Manifest {
    Manifest {
        volume: VOLUME,
        name: VolumeName::new("vm1").unwrap(),
        size_bytes: 20 << 30,
        stripe_shift: 10,
        promises: Promises {
            durability: Durability::Remote,
            fencing: Fencing::Lease(LeaseTerm::default()),
        },
        created_unix_ms: 1_700_000_000_000,
        incarnation: Incarnation(3),
        owner: [0xaa; 16],
        tenure: Incarnation(2),
        salt: 0x0123_4567_89ab_cdef,
        cut: Cut {
            incarnation: Incarnation(3),
            epoch: Epoch(42),
            positions: vec![(ShardId(0), Lsn(100)), (ShardId(1), Lsn(90))],
        },
        directory: vec![(SegmentIndex(2), place())],
        unfolded: vec![id(7)],
        parent: None,
        ancestors: Ancestors::default(),
        compressed_since: None,
    }
}

#[test]
fn the_manifest_is_as_documented() {
    let manifest = manifest();
    let example = documented("manifest", &manifest.encode(ManifestSeq(9)));
    assert_eq!(Manifest::decode_as(&example, VOLUME, ManifestSeq(9)).unwrap(), manifest);
}

#[test]
fn the_manifest_of_compressed_chunks_is_as_documented() {
    let manifest = Manifest { compressed_since: Some(Incarnation(2)), ..manifest() };
    let example = documented("compressed", &manifest.encode(ManifestSeq(9)));
    assert_eq!(Manifest::decode_as(&example, VOLUME, ManifestSeq(9)).unwrap(), manifest);
}

fn snapshot() -> Snapshot {
    Snapshot {
        id: SnapshotId([0xbb; 16]),
        name: SnapshotName::new("before-upgrade").unwrap(),
        created_unix_ms: 1_700_000_600_000,
        seq: ManifestSeq(9),
        manifest: manifest(),
    }
}

#[test]
fn the_clones_manifest_is_as_documented() {
    let Snapshot { id: snapshot, name, manifest: from, .. } = snapshot();
    let clone = Manifest {
        volume: VolumeId([0xcc; 16]),
        name: VolumeName::new("vm2").unwrap(),
        created_unix_ms: 1_700_001_200_000,
        owner: [0; 16],
        tenure: Incarnation(3),
        salt: 0,
        cut: Cut { positions: Vec::new(), ..from.cut.clone() },
        ancestors: from.ancestors.descend(VOLUME, from.incarnation).unwrap(),
        parent: Some(Parent { volume: VOLUME, snapshot, name }),
        ..from
    };
    let example = documented("clone", &clone.encode(ManifestSeq(1)));
    assert_eq!(Manifest::decode(&example).unwrap(), (ManifestSeq(1), clone));
}

#[test]
fn the_snapshot_is_as_documented() {
    let manifest = example("manifest");
    let written = snapshot().encode();
    let (header, rest) = written.split_at(HEADER_BYTES);
    let header = documented("snapshot", header);
    assert_eq!(rest, manifest);
    let example = [header, manifest].concat();
    let name = SnapshotName::new("before-upgrade").unwrap();
    assert_eq!(Snapshot::decode_as(&example, VOLUME, &name).unwrap(), snapshot());
}

#[test]
fn the_pin_is_as_documented() {
    let pin = Pin {
        volume: VOLUME,
        snapshot: SnapshotName::new("before-upgrade").unwrap(),
        clone: VolumeId([0xcc; 16]),
        name: VolumeName::new("vm2").unwrap(),
        created_unix_ms: 1_700_001_200_000,
    };
    let example = documented("pin", &pin.encode());
    assert_eq!(Pin::decode_as(&example, VOLUME, &pin.object_name()).unwrap(), pin);
}

#[test]
fn the_name_is_as_documented() {
    let name = VolumeName::new("vm1").unwrap();
    let example = documented("name", &encode_name(&name, VOLUME));
    assert_eq!(decode_name(&example, &name).unwrap(), VOLUME);
}

#[test]
fn dumps_parse_as_they_are_printed() {
    assert_eq!(
        dump(&[0; 40]),
        "0000  00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n*\n0020  00 00 00 00 00 00 00 00\n0028\n"
    );
}
