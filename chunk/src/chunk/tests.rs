use proptest::prelude::*;
use wal::{BLOCK_BYTES, HoleKind, Incarnation};

use super::*;
use crate::error::FormatError;
use crate::extent_map::ExtentMap;
use crate::limits::{
    CHUNK_HEADER_BYTES, MAX_CHUNK_BYTES, MAX_CHUNK_ENTRIES, MAX_PAYLOAD_BLOCKS, MAX_VOLUME_BLOCKS,
};
use crate::sealed;

const VOLUME: VolumeId = VolumeId([7; 16]);

fn id() -> ChunkId {
    ChunkId::new(Incarnation(3), 5).unwrap()
}

fn builder(shards: u16) -> ChunkBuilder {
    ChunkBuilder::new(VOLUME, id(), Layout::new(10, shards).unwrap(), Epoch(11))
}

fn extent(lba: u64, count: u64) -> Extent {
    Extent::new(Lba(lba), count).unwrap()
}

/// Data, zeros and a filtered discard: blocks 5..8, 2048..3072, shard 1 of 4096..8192.
fn sample() -> (Vec<u8>, ChunkIndex) {
    let mut chunk = builder(2);
    assert_eq!(chunk.push_data(Lba(5), &[1; 2 * BLOCK_BYTES]), 2);
    assert_eq!(chunk.push_data(Lba(7), &[2; BLOCK_BYTES]), 1);
    assert!(chunk.push_hole(HoleKind::Zero, extent(2048, 1024), None));
    assert!(chunk.push_hole(HoleKind::Discard, extent(4096, 4096), Some(ShardId(1))));
    chunk.finish()
}

#[test]
fn a_chunk_reads_back_as_it_was_made() {
    let (bytes, index) = sample();
    assert_eq!(ChunkIndex::decode(&bytes).unwrap(), index);
    assert_eq!(ChunkIndex::decode_as(&bytes, VOLUME, id()).unwrap(), index);
    assert_eq!(index.entries().len(), 3, "neighbours joined");
    assert_eq!(index.entries()[0].content, Content::Data(PayloadBlock(0)));
    let range = payload_range(PayloadBlock(2), 1);
    let block = &bytes[range.start as usize..range.end as usize];
    assert_eq!(block, &[2; BLOCK_BYTES]);
    assert!(index.check_block(PayloadBlock(2), Lba(7), block));
    assert!(!index.check_block(PayloadBlock(2), Lba(8), block), "the address counts");
    assert!(!index.check_block(PayloadBlock(3), Lba(8), block), "no such block");
    assert_eq!(index.overlap(), None);
}

#[test]
fn the_fullest_chunk_fits() {
    let mut chunk = builder(1);
    for n in 0..u64::from(MAX_PAYLOAD_BLOCKS) {
        assert!(!chunk.is_full());
        assert_eq!(chunk.push_data(Lba(n * 2), &[n as u8 | 1; BLOCK_BYTES]), 1);
    }
    assert!(chunk.is_full());
    assert_eq!(chunk.push_data(Lba(1 << 20), &[1; BLOCK_BYTES]), 0);
    let mut holes = 0;
    while chunk.push_hole(HoleKind::Zero, extent((1 << 30) + holes * 2, 1), None) {
        holes += 1;
    }
    assert_eq!(holes, u64::from(MAX_CHUNK_ENTRIES - MAX_PAYLOAD_BLOCKS));
    let (bytes, index) = chunk.finish();
    assert!(bytes.len() <= MAX_CHUNK_BYTES);
    assert_eq!(ChunkIndex::decode(&bytes).unwrap(), index);
}

#[test]
fn holes_alone_end_at_their_limit() {
    let mut chunk = builder(1);
    for n in 0..u64::from(MAX_CHUNK_ENTRIES) {
        assert!(!chunk.is_full());
        assert!(chunk.push_hole(HoleKind::Discard, extent(n * 2, 1), None));
    }
    assert!(chunk.is_full());
    assert!(!chunk.push_hole(HoleKind::Discard, extent(1 << 20, 1), None));
    assert_eq!(chunk.push_data(Lba(1 << 20), &[0; BLOCK_BYTES]), 0);
    let (bytes, index) = chunk.finish();
    assert_eq!(ChunkIndex::decode(&bytes).unwrap(), index);
}

#[test]
fn holes_of_different_kind_or_shard_do_not_join() {
    let mut chunk = builder(2);
    assert!(chunk.push_hole(HoleKind::Zero, extent(0, 1024), None));
    assert!(chunk.push_hole(HoleKind::Zero, extent(1024, 1024), Some(ShardId(1))));
    assert!(chunk.push_hole(HoleKind::Discard, extent(2048, 1024), Some(ShardId(1))));
    assert!(chunk.push_hole(HoleKind::Discard, extent(3072, 1024), Some(ShardId(1))));
    let (_, index) = chunk.finish();
    assert_eq!(
        index.entries().iter().map(|e| e.extent.count()).collect::<Vec<_>>(),
        [1024, 1024, 2048]
    );
}

#[test]
fn a_long_push_takes_what_fits() {
    let mut chunk = builder(1);
    let bytes = vec![9; 1500 * BLOCK_BYTES];
    assert_eq!(chunk.push_data(Lba(0), &bytes), MAX_PAYLOAD_BLOCKS as usize);
    assert_eq!(chunk.payload_blocks(), MAX_PAYLOAD_BLOCKS);
}

#[test]
fn blocks_of_zeros_become_holes() {
    let mut bytes = vec![9; 6 * BLOCK_BYTES];
    bytes[BLOCK_BYTES..3 * BLOCK_BYTES].fill(0);
    bytes[5 * BLOCK_BYTES..].fill(0);
    let mut chunk = builder(1);
    assert_eq!(chunk.push_data(Lba(10), &bytes), 6);
    let (object, index) = chunk.finish();
    let (data, hole) = (|n| Content::Data(PayloadBlock(n)), Content::Discard);
    let entry = |lba, count, content| Entry { extent: extent(lba, count), content, filter: None };
    let expected =
        [entry(10, 1, data(0)), entry(11, 2, hole), entry(13, 2, data(1)), entry(15, 1, hole)];
    assert_eq!(index.entries(), expected);
    assert_eq!(index.payload_blocks(), 3);
    assert_eq!(ChunkIndex::decode(&object).unwrap(), index);
}

#[test]
fn a_block_with_one_byte_in_it_is_data() {
    for at in [0, 1, 127, 128, 511, 512, 4095] {
        let mut block = [0; BLOCK_BYTES];
        block[at] = 1;
        let mut chunk = builder(1);
        assert_eq!(chunk.push_data(Lba(10), &block), 1);
        assert_eq!(chunk.payload_blocks(), 1, "byte {at}");
    }
}

#[test]
fn blocks_of_zeros_take_entries_until_there_are_none() {
    let mut chunk = builder(1);
    let mut pair = vec![0; 2 * BLOCK_BYTES];
    pair[..BLOCK_BYTES].fill(1);
    let bytes = pair.repeat(1100);
    let taken = chunk.push_data(Lba(0), &bytes);
    assert_eq!(taken as u32, MAX_CHUNK_ENTRIES, "each is an entry of its own");
    assert!(chunk.is_full());
    let (object, index) = chunk.finish();
    assert_eq!(ChunkIndex::decode(&object).unwrap(), index);
}

#[test]
fn another_chunk_or_volume_is_refused() {
    let (bytes, _) = sample();
    let other = ChunkIndex::decode_as(&bytes, VolumeId([8; 16]), id()).unwrap_err();
    assert_eq!(other, FormatError::Identity { what: "chunk header", field: "volume" });
    let sibling = ChunkId::new(Incarnation(3), 6).unwrap();
    let other = ChunkIndex::decode_as(&bytes, VOLUME, sibling).unwrap_err();
    assert_eq!(other, FormatError::Identity { what: "chunk header", field: "chunk" });
}

/// What a decoder says after `change` was made to header or index, with checksums made good.
fn after(change: impl FnOnce(&mut [u8])) -> FormatError {
    let (mut bytes, index) = sample();
    change(&mut bytes);
    let at = payload_range(PayloadBlock(index.payload_blocks()), 0).start as usize;
    let crc = crc32c::crc32c(&bytes[at..]);
    bytes[80..84].copy_from_slice(&crc.to_le_bytes());
    sealed::seal(&mut bytes[..CHUNK_HEADER_BYTES]);
    ChunkIndex::decode(&bytes).unwrap_err()
}

#[test]
fn every_bad_header_field_is_refused_by_name() {
    let cases: [(usize, &[u8], &str); 15] = [
        (53, &[0; 3], "chunk id"),
        (64, &[0, 0], "shards"),
        (66, &[9], "stripe shift"),
        (67, &[9], "block shift"),
        (68, &[0xff, 0xff], "payload blocks"),
        (72, &[1], "index offset"),
        (84, &[0], "entries"),
        (84, &[0xff, 0xff], "entries"),
        (76, &[1], "index length"),
        (88, &[1], "compression"),
        (128, &[1], "reserved"),
        (90, &[1], "reserved"),
        (92, &[1], "key id"),
        (96, &[1], "content hash"),
        (4000, &[1], "reserved"),
    ];
    for (at, value, name) in cases {
        match after(|bytes| bytes[at..at + value.len()].copy_from_slice(value)) {
            FormatError::Field { what: "chunk header", field, .. } => assert_eq!(field, name),
            // The id's bytes hold the incarnation at their upper end.
            other => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn every_bad_index_field_is_refused_by_name() {
    let index = CHUNK_HEADER_BYTES + 3 * BLOCK_BYTES;
    let cases: [(usize, &[u8], &str); 11] = [
        (8, &[0; 8], "block count"),
        (0, &[0xff; 8], "block count"),
        (32 + 4, &[0x10], "last block"),
        (64 + 12, &[0x10], "last block"),
        (16, &[1], "payload block"),
        (32 + 16, &[1], "payload block"),
        (20, &[4], "kind"),
        (21, &[1], "reserved"),
        (22, &[0, 0], "filter"),
        (64 + 22, &[2, 0], "filter"),
        (31, &[1], "reserved"),
    ];
    for (at, value, name) in cases {
        let at = index + at;
        match after(|bytes| bytes[at..at + value.len()].copy_from_slice(value)) {
            FormatError::Field { what: "chunk index", field, .. } => assert_eq!(field, name),
            other => panic!("{name}: {other}"),
        }
    }
    for count in [2, 4] {
        let error = after(|bytes| bytes[index + 8] = count);
        let field = "number of data blocks";
        assert_eq!(error, FormatError::Field { what: "chunk index", field, value: count.into() });
    }
}

#[test]
fn frames_are_checked_in_order() {
    let (bytes, _) = sample();
    let what = "chunk header";
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        ChunkIndex::decode(&bytes).unwrap_err()
    };
    let need = CHUNK_HEADER_BYTES as u64;
    assert_eq!(with(&|b| b.truncate(7)), FormatError::Length { what, need, have: 7 });
    assert_eq!(with(&|b| b[0] ^= 1), FormatError::Magic { what });
    assert_eq!(with(&|b| b[8] = 2), FormatError::Version { what, found: 2, known: 1 });
    assert_eq!(with(&|b| b[8] = 0), FormatError::Version { what, found: 0, known: 1 });
    assert_eq!(with(&|b| b[24] = 1), FormatError::Length { what, need: 4097, have: 4096 });
    assert_eq!(with(&|b| b[40] ^= 1), FormatError::Checksum { what });
    assert_eq!(after(|b| b[16] = 4), FormatError::Features { what, unknown: 4 });
    for at in [10, 28] {
        let reserved = FormatError::Field { what, field: "reserved", value: 1 };
        assert_eq!(after(|b| b[at] = 1), reserved);
    }
    let what = "chunk index";
    let (need, have) = (3 * 32 + 3 * 4, 3 * 32 + 3 * 4);
    assert_eq!(with(&|b| b.push(0)), FormatError::Length { what, need, have: have + 1 });
    let short = with(&|b| b.truncate(b.len() - 1));
    assert_eq!(short, FormatError::Length { what, need, have: have - 1 });
    let last = bytes.len() - 1;
    assert_eq!(with(&|b| b[last] ^= 1), FormatError::Checksum { what });
    let cut = with(&|b| b.truncate(5000));
    assert_eq!(cut, FormatError::Length { what, need, have: 0 });
}

#[test]
fn overlaps_are_found_only_where_blocks_are_shared() {
    let mut chunk = builder(2);
    assert!(chunk.push_hole(HoleKind::Zero, extent(0, 4096), Some(ShardId(0))));
    assert!(chunk.push_hole(HoleKind::Zero, extent(0, 4096), Some(ShardId(1))));
    assert_eq!(chunk.finish().1.overlap(), None);

    let mut chunk = builder(2);
    assert!(chunk.push_hole(HoleKind::Zero, extent(0, 4096), Some(ShardId(0))));
    assert_eq!(chunk.push_data(Lba(1024), &[1; BLOCK_BYTES]), 1);
    assert_eq!(chunk.finish().1.overlap(), None);

    let mut chunk = builder(2);
    assert!(chunk.push_hole(HoleKind::Zero, extent(0, 4096), Some(ShardId(0))));
    assert_eq!(chunk.push_data(Lba(2048), &[1; BLOCK_BYTES]), 1);
    assert!(chunk.finish().1.overlap().is_some());
}

/// Sixteen million stripes of the third of four shards: of two shards only the first has any.
#[test]
#[expect(clippy::disallowed_methods, reason = "what must not happen takes a minute")]
fn stripes_that_a_shard_never_has_are_not_looked_at_one_by_one() {
    let mut chunk = builder(4);
    let all = extent(0, MAX_VOLUME_BLOCKS);
    assert!(chunk.push_hole(HoleKind::Discard, all, Some(ShardId(2))));
    let (_, index) = chunk.finish();
    let layout = Layout::new(10, 2).unwrap();
    let first = index.pieces(layout, ShardId(0)).next();
    let run = wal::ShardRun { start: wal::ShardBlock(1024), count: 1024 };
    assert_eq!(first, Some((run, Content::Discard)));
    let begun = std::time::Instant::now();
    for _ in 0..1000 {
        assert_eq!(index.pieces(layout, ShardId(1)).next(), None);
    }
    assert!(begun.elapsed().as_secs() < 10, "each stripe was looked at");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    /// Whatever the layouts of writer and reader: what all shards see together is what the entry
    /// says, block by block.
    #[test]
    fn pieces_reach_the_right_shards(
        shards in 1u16..5, readers in 1u16..5,
        data in (0u64..6000, 1usize..40), hole in (8192u64..12000, 1u64..9000), filter in 0u16..5,
    ) {
        let own = Layout::new(10, shards).unwrap();
        let mut chunk = builder(shards);
        prop_assert_eq!(chunk.push_data(Lba(data.0), &vec![1; data.1 * BLOCK_BYTES]), data.1);
        let filter = (filter < shards).then_some(ShardId(filter));
        prop_assert!(chunk.push_hole(HoleKind::Zero, extent(hole.0, hole.1), filter));
        let (_, index) = chunk.finish();
        let layout = Layout::new(10, readers).unwrap();
        let mut seen = Vec::new();
        for shard in (0..readers).map(ShardId) {
            let mut map = ExtentMap::new();
            for (run, content) in index.pieces(layout, shard) {
                prop_assert_eq!(map.insert(run, content), 0, "no block twice");
            }
            for (run, content) in map {
                for n in 0..run.count {
                    let lba = layout.to_volume(shard, wal::ShardBlock(run.start.0 + n));
                    seen.push((lba.0, if n == 0 { content } else { content.skip(n) }));
                }
            }
        }
        seen.sort_by_key(|(lba, _)| *lba);
        let mut expected: Vec<_> =
            (0..data.1).map(|n| (data.0 + n as u64, Content::Data(PayloadBlock(n as u32)))).collect();
        let owned = |lba: &u64| filter.is_none_or(|shard| own.owner(Lba(*lba)) == shard);
        expected.extend((hole.0..hole.0 + hole.1).filter(owned).map(|lba| (lba, Content::Zero)));
        prop_assert_eq!(seen, expected);
    }
}
