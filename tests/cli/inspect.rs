//! `krait inspect`.

use super::*;
use chunk::{ChunkBuilder, ChunkId, DirectorySegment, MapObjectBuilder, MapPage};
use chunk::{PageIndex, PageRun, PayloadBlock, SegmentIndex};
use wal::{BLOCK_BYTES, Epoch, Extent, Incarnation, Layout, Lba, VolumeId};
use wal::{Batch, HoleKind, LogIdentity, Lsn, SegmentId, ShardId};

#[test]
fn refuses_files_that_are_not_krait_s() {
    let shell = Shell::new();
    fs::write(shell.path().join("text"), "hello").unwrap();
    says(
        &shell.fails(2, "inspect text"),
        "give a WAL segment, chunk, map object, manifest, snapshot or name",
    );
    says(&shell.fails(3, "inspect none"), "none");
}

#[test]
fn shows_the_name_of_a_volume() {
    let shell = Shell::new();
    let id = shell.json("volume create vm1 --size 8M --json")["id"].clone();
    let view = shell.json("inspect --json krait-data/store/names/vm1");
    assert_eq!(
        (&view["kind"], &view["name"], &view["volume"]),
        (&"name".into(), &"vm1".into(), &id)
    );
    let path = shell.path().join("krait-data/store/names/vm1");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    says(&shell.fails(6, "inspect krait-data/store/names/vm1"), "the file is damaged");
}

/// A segment with two records: data with a discard, then data of the next epoch.
fn segment() -> Vec<u8> {
    let identity = LogIdentity {
        volume: VolumeId([7; 16]),
        incarnation: Incarnation(3),
        salt: 0xfeed,
        shard: ShardId(0),
        layout: Layout::new(10, 1).unwrap(),
    };
    let buf = vec![0; 16 * BLOCK_BYTES];
    let mut batch = Batch::begin(buf, identity, SegmentId(4), 0, Lsn(11));
    batch.push_data(Epoch(5), Lba(8), &[1; 2 * BLOCK_BYTES]).unwrap();
    assert!(batch.push_hole(Epoch(5), HoleKind::Discard, Extent::new(Lba(50), 9).unwrap()));
    batch.push_data(Epoch(6), Lba(9), &[2; BLOCK_BYTES]).unwrap();
    let mut bytes = batch.finish(Lsn(10)).buf;
    bytes.resize(32 * BLOCK_BYTES, 0);
    bytes
}

#[test]
fn shows_the_records_of_a_segment_and_which_are_damaged() {
    let shell = Shell::new();
    let mut bytes = segment();
    written(&shell, "0001.wal", &bytes);
    let view = shell.json("inspect 0001.wal --json");
    assert_eq!(view["kind"], "wal-segment");
    let records = view["records"].as_array().unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!((&records[0]["state"], &records[0]["lsn"]), (&"sound".into(), &11.into()));
    assert_eq!(records[0]["entries"][1]["kind"], "discard");
    assert_eq!((&records[1]["epoch"], &records[1]["at_block"]), (&6.into(), &3.into()));
    says(&shell.ok("inspect 0001.wal"), "record lsn 12 epoch 6");

    bytes[4 * BLOCK_BYTES + 9] ^= 1;
    written(&shell, "0001.wal", &bytes);
    let view = shell.json("inspect 0001.wal --json");
    assert_eq!(view["records"][0]["state"], "sound");
    assert_eq!(view["records"][1]["state"], "damaged");
    says(&shell.ok("inspect 0001.wal"), "DAMAGED");
}

#[test]
fn knows_a_segment_by_its_first_bytes_and_an_empty_one_by_its_name() {
    let shell = Shell::new();
    written(&shell, "copy", &segment());
    assert_eq!(shell.json("inspect copy --json")["records"].as_array().unwrap().len(), 2);
    written(&shell, "0002.wal", &[0; 4 * BLOCK_BYTES]);
    assert_eq!(shell.json("inspect 0002.wal --json")["records"].as_array().unwrap().len(), 0);
}

#[test]
fn shows_a_manifest() {
    let shell = Shell::new();
    let made = shell.json("volume create vm1 --size 1G --json");
    let path = files_below(&shell.path().join("krait-data/store/volumes")).remove(0);
    let name = path.to_str().unwrap();
    let view = shell.json(&format!("inspect {name} --json"));
    assert_eq!((&view["kind"], &view["volume"]), (&"manifest".into(), &made["id"]));
    says(&shell.ok(&format!("inspect {name}")), "manifest 1 of volume");
    let bytes = fs::read(&path).unwrap();
    written(&shell, "short", &bytes[..bytes.len() - 1]);
    says(&shell.fails(6, "inspect short"), "the file is damaged");
}

#[test]
fn shows_the_pages_and_segments_of_a_map_object() {
    let shell = Shell::new();
    let (volume, chunk) = (VolumeId([7; 16]), ChunkId::new(Incarnation(1), 2).unwrap());
    let mut page = MapPage::new();
    page.put_data(3, chunk, PayloadBlock(9), &[0xabcd]);
    page.put_zero(PageRun::new(100, 24).unwrap());
    let mut builder = MapObjectBuilder::new(volume, ChunkId::new(Incarnation(1), 3).unwrap());
    let place = builder.push_page(PageIndex(2), &page).unwrap();
    let mut segment = DirectorySegment::new(SegmentIndex(0));
    segment.set(PageIndex(2), Some(place));
    builder.push_segment(&segment).unwrap();
    written(&shell, "map", &builder.finish());
    let view = shell.json("inspect map --json");
    assert_eq!(view["kind"], "map");
    assert_eq!(view["parts"][0]["runs"][0]["lba"], 2 * 1024 + 3);
    assert_eq!(view["parts"][0]["runs"][0]["crcs"][0], "0000abcd");
    assert_eq!(view["parts"][1]["pages"][0]["page"], 2);
    says(&shell.ok("inspect map"), "zero [2148, 2172)");
}

#[test]
fn shows_the_index_of_a_chunk_and_finds_damage_in_its_payload() {
    let shell = Shell::new();
    let id = ChunkId::new(Incarnation(3), 7).unwrap();
    let layout = Layout::new(10, 2).unwrap();
    let mut builder = ChunkBuilder::new(VolumeId([7; 16]), id, layout, Epoch(9));
    assert_eq!(builder.push_data(Lba(5), &[1; 2 * BLOCK_BYTES]), 2);
    assert!(builder.push_hole(HoleKind::Discard, Extent::new(Lba(100), 50).unwrap(), None));
    let (mut object, _) = builder.finish();

    written(&shell, "chunk", &object);
    let view = shell.json("inspect chunk --json");
    assert_eq!(view["kind"], "chunk");
    assert_eq!(view["id"], "0000030000000007");
    assert_eq!(view["entries"].as_array().unwrap().len(), 2);
    assert_eq!(view["damaged_blocks"], 0);
    says(&shell.ok("inspect chunk"), "discard [100, 150)");

    object[BLOCK_BYTES + 5] ^= 1;
    written(&shell, "chunk", &object);
    let ran = shell.run("inspect chunk --json");
    assert_eq!(ran.code, 6);
    let view: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(view["damaged_blocks"], 1);
    says(&ran.err, "1 of its blocks are damaged");

    object[40] ^= 1;
    written(&shell, "chunk", &object);
    says(&shell.fails(6, "inspect chunk"), "the file is damaged");
}
