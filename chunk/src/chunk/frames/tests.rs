use proptest::prelude::*;
use wal::{Epoch, Incarnation, Layout, Lba, VolumeId};

use super::*;
use crate::chunk::{ChunkBuilder, ChunkIndex};
use crate::ids::ChunkId;
use crate::limits::MAX_PAYLOAD_BLOCKS;
use crate::sealed;

fn builder() -> ChunkBuilder {
    let id = ChunkId::new(Incarnation(3), 5).unwrap();
    ChunkBuilder::new(VolumeId([7; 16]), id, Layout::new(10, 1).unwrap(), Epoch(11))
}

/// A block that says little, or one of noise; never one of zeros.
fn block(n: u64, is_noise: bool) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    match is_noise {
        true => (0..BLOCK_BYTES).map(|_| next()).collect(),
        false => n.to_le_bytes().iter().map(|byte| byte | 1).cycle().take(BLOCK_BYTES).collect(),
    }
}

/// A chunk of blocks that compress or do not.
fn chunk_of(noise: &[bool], compression: Compression) -> (Vec<u8>, ChunkIndex) {
    let mut chunk = builder();
    for (n, is_noise) in (0..).zip(noise) {
        assert_eq!(chunk.push_data(Lba(n), &block(n, *is_noise)), 1);
    }
    chunk.finish_as(compression)
}

/// Two frames that compress, one of noise, and a short one that compresses.
fn sample() -> (Vec<u8>, ChunkIndex) {
    let noise: Vec<_> = (0..52).map(|n| (32..48).contains(&n)).collect();
    chunk_of(&noise, Compression::Lz4)
}

#[test]
fn frames_that_compress_are_compressed_and_others_are_stored_as_they_are() {
    let (object, index) = sample();
    let frames = index.frames();
    assert_eq!(ChunkIndex::decode(&object).unwrap(), index);
    let packed: Vec<_> = (0..frames.count()).map(|frame| frames.is_compressed(frame)).collect();
    assert_eq!(packed, [true, true, false, true]);
    assert!(object.len() < 30 * BLOCK_BYTES, "{}", object.len());
    let plain = chunk_of(&[true; 20], Compression::Lz4);
    assert!(!plain.1.frames().is_framed(), "nothing was to be gained");
    assert_eq!(plain, chunk_of(&[true; 20], Compression::None), "and nothing is different");
}

#[test]
fn every_block_reads_back_alone_from_no_more_than_its_frame() {
    let (object, index) = sample();
    let frames = index.frames();
    for n in 0..52 {
        let range = frames.range(n..n + 1);
        let stored = &object[range.start as usize..range.end as usize];
        assert!(stored.len() <= BLOCK_BYTES, "block {n}: {} bytes", stored.len());
        let bytes = frames.unpack(n..n + 1, stored).unwrap();
        let is_noise = (32..48).contains(&n);
        assert_eq!(bytes, block(n.into(), is_noise), "block {n}");
        assert!(index.check_block(PayloadBlock(n), Lba(n.into()), &bytes), "block {n}");
        let around = if is_noise { n..n + 1 } else { frames.blocks(n / FRAME_BLOCKS) };
        assert_eq!(frames.around(n..n + 1), around, "block {n}");
    }
    assert_eq!(frames.around(40..60), 40..52);
    assert_eq!(frames.around(60..70), 52..52);
}

#[test]
fn the_fullest_chunk_compresses_too() {
    let noise: Vec<_> = (0..MAX_PAYLOAD_BLOCKS).map(|n| n % 16 < 6).collect();
    let (object, index) = chunk_of(&noise, Compression::Lz4);
    assert_eq!(index.frames().count() as usize, MAX_FRAMES);
    assert!(index.frames().is_compressed(62));
    assert_eq!(ChunkIndex::decode(&object).unwrap(), index);
}

/// The header of the sample with a field changed, sealed again.
fn with(at: usize, value: &[u8]) -> Result<ChunkIndex, FormatError> {
    let (mut object, _) = sample();
    object[at..at + value.len()].copy_from_slice(value);
    sealed::seal(&mut object[..CHUNK_HEADER_BYTES]);
    ChunkIndex::decode(&object)
}

#[test]
fn headers_that_no_writer_makes_are_refused() {
    let frame = |value| FormatError::Field { what: "frame", field: "length", value };
    assert_eq!(with(128, &[0; 4]), Err(frame(0)), "an empty frame");
    assert_eq!(with(128, &65537_u32.to_le_bytes()), Err(frame(65537)), "longer than its blocks");
    assert_eq!(with(140, &16385_u32.to_le_bytes()), Err(frame(16385)), "the last one is short");
    assert_eq!(with(144, &[1]), Err(frame(1)), "there is no such frame");
    let header = |field, value| Err(FormatError::Field { what: "chunk header", field, value });
    assert_eq!(with(88, &[0]), header("compression", 0));
    assert_eq!(with(88, &[2]), header("compression", 2));
    let (_, index) = sample();
    let first = index.frames().lengths().next().unwrap();
    assert!(matches!(
        with(128, &(first + 1).to_le_bytes()),
        Err(FormatError::Field { field: "index offset", .. })
    ));
    // A build that knows nothing of frames refuses them by name, as this one does what comes next.
    assert_eq!(with(16, &[3]), Err(FormatError::Features { what: "chunk header", unknown: 2 }),);
    assert_eq!(with(16, &[0]), header("compression", 1), "frames without the feature");
}

#[test]
fn a_damaged_frame_is_an_error_or_other_bytes_and_never_more_than_its_blocks() {
    let (object, index) = sample();
    let frames = index.frames();
    let range = frames.range(0..16);
    let good = object[range.start as usize..range.end as usize].to_vec();
    let whole = frames.unpack(0..16, &good).unwrap();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            // Nothing in a frame says how long it is, so no damage makes it longer.
            if let Ok(found) = frames.unpack(0..16, &bad) {
                assert_eq!(found.len(), whole.len());
                let right = |n: u32| {
                    let from = n as usize * BLOCK_BYTES;
                    index.check_block(PayloadBlock(n), Lba(n.into()), &found[from..][..BLOCK_BYTES])
                };
                assert!(found == whole || !(0..16).all(right), "byte {at}");
            }
        }
    }
}

#[test]
fn a_frame_of_another_length_is_refused() {
    let what = "frame";
    let short = lz4_flex::block::compress(&[1; 4096]);
    let length = FormatError::Length { what, need: 8192, have: 4096 };
    assert_eq!(unpack(&short, 8192), Err(length), "too short");
    let bomb = lz4_flex::block::compress(&vec![1; 64 << 20]);
    assert_eq!(unpack(&bomb, 65536), Err(FormatError::Packed { what }), "a bomb");
    assert_eq!(unpack(&[], 4096), Err(FormatError::Packed { what }), "nothing");
    assert_eq!(unpack(&[0x0f, 0, 0], 4096), Err(FormatError::Packed { what }), "no such offset");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Any run of blocks of any chunk is what was put in, frame by frame.
    #[test]
    fn any_run_reads_back(
        noise in proptest::collection::vec(any::<bool>(), 1..90),
        at in any::<proptest::sample::Index>(), count in 1u32..90,
    ) {
        let (object, index) = chunk_of(&noise, Compression::Lz4);
        prop_assert_eq!(&ChunkIndex::decode(&object).unwrap(), &index);
        let blocks = noise.len() as u32;
        let start = at.index(noise.len()) as u32;
        let run = start..(start + count).min(blocks);
        let mut next = run.start;
        for (part, bytes) in index.frames().of_object(run.clone(), &object) {
            prop_assert_eq!(part.start, next);
            next = part.end;
            let expected: Vec<u8> =
                part.flat_map(|n| block(n.into(), noise[n as usize])).collect();
            prop_assert!(*bytes.unwrap() == *expected);
        }
        prop_assert_eq!(next, run.end);
        let around = index.frames().around(run.clone());
        prop_assert!(around.start <= run.start && around.end >= run.end);
        prop_assert_eq!(index.frames().range(around).end, index.frames().range(run).end);
    }
}
