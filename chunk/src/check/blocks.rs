//! Compares blocks of data with their checksums, many at a time, in the order of chunks.

use std::collections::HashMap;
use std::ops::Range;

use wal::{BLOCK_BYTES, Lba, VolumeId};

use super::{CheckReport, Problem};
use crate::chunk::{ChunkIndex, Content, Entry, block_crc, read_index};
use crate::error::ReadError;
use crate::ids::{ChunkId, PayloadBlock};
use crate::limits::{CHECK_GAP_BLOCKS, MAX_PAYLOAD_BLOCKS};
use crate::lineage::Lineage;
use crate::store::ObjectStore;

/// One block of the volume and where its bytes should be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct BlockRef {
    pub chunk: ChunkId,
    pub block: PayloadBlock,
    pub lba: Lba,
    /// As the map page has it; `None` if the chunk's own index has it.
    pub crc: Option<u32>,
}

const WORDS: usize = (MAX_PAYLOAD_BLOCKS as usize).div_ceil(64);

/// Payload blocks that were compared with the checksums of their chunk's index already: snapshots
/// have most of their blocks in common.
#[derive(Default)]
pub(super) struct Verified(HashMap<ChunkId, [u64; WORDS]>);

impl Verified {
    fn has(&self, chunk: ChunkId, block: PayloadBlock) -> bool {
        let words = self.0.get(&chunk);
        words.is_some_and(|words| words[block.0 as usize / 64] & (1 << (block.0 % 64)) != 0)
    }

    fn note(&mut self, chunk: ChunkId, block: PayloadBlock) {
        let words = self.0.entry(chunk).or_insert([0; WORDS]);
        words[block.0 as usize / 64] |= 1 << (block.0 % 64);
    }
}

/// The address of each payload block, as the index has it.
fn addresses(index: &ChunkIndex) -> Vec<Lba> {
    let data = |entry: &&Entry| matches!(entry.content, Content::Data(_));
    let blocks = index.entries().iter().filter(data).map(|entry| entry.extent);
    blocks.flat_map(|extent| extent.lba().0..extent.end().0).map(Lba).collect()
}

/// Checks all references and forgets them.
pub(super) async fn verify<S: ObjectStore>(
    store: &S,
    lineage: &Lineage,
    refs: &mut Vec<BlockRef>,
    verified: &mut Verified,
    report: &mut CheckReport,
) {
    refs.sort_unstable();
    for pair in refs.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        if (a.chunk, a.block) == (b.chunk, b.block) {
            let lbas = [a.lba, b.lba];
            report.problem(Problem::OwnedTwice { lbas, chunk: a.chunk, block: a.block });
        }
    }
    for same_chunk in refs.chunk_by(|a, b| a.chunk == b.chunk) {
        let chunk = same_chunk[0].chunk;
        report.counts.chunks += 1;
        if let Err(source) =
            verify_chunk(store, lineage.writer(chunk), same_chunk, verified, report).await
        {
            report.problem(Problem::Chunk { chunk, source });
        }
    }
    refs.clear();
}

async fn verify_chunk<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    refs: &[BlockRef],
    verified: &mut Verified,
    report: &mut CheckReport,
) -> Result<(), ReadError> {
    let chunk = refs[0].chunk;
    let index = read_index(store, volume, chunk).await?;
    let addresses = addresses(&index);
    // What the index says of the block, if the reference agrees with it.
    let agrees = |wanted: &BlockRef| {
        let at = wanted.block.0 as usize;
        let crc = wanted.crc.or_else(|| index.crcs().get(at).copied());
        addresses.get(at) == Some(&wanted.lba) && index.crcs().get(at).copied() == crc
    };
    let is_new = |wanted: &&BlockRef| !(agrees(wanted) && verified.has(chunk, wanted.block));
    let refs: Vec<_> = refs.iter().filter(is_new).copied().collect();
    let (refs, beyond): (Vec<_>, Vec<_>) =
        refs.into_iter().partition(|wanted| wanted.block.0 < index.payload_blocks());
    for BlockRef { chunk, block, lba, .. } in beyond {
        report.counts.blocks += 1;
        report.problem(Problem::Block { lba, chunk, block });
    }
    let near = |a: &BlockRef, b: &BlockRef| b.block.0 - a.block.0 <= CHECK_GAP_BLOCKS;
    for near_by in refs.chunk_by(near) {
        let blocks = near_by[0].block.0..near_by[near_by.len() - 1].block.0 + 1;
        let range = index.frames().range(blocks.clone());
        let stored = store.get_range(&chunk.chunk_name(volume), range).await?;
        let mut rest = near_by;
        for (part, content) in index.frames().unpack_each(blocks, &stored) {
            let (own, later) = rest.split_at(rest.partition_point(|at| at.block.0 < part.end));
            rest = later;
            for wanted in own {
                let at = block_bytes(wanted.block.0 - part.start);
                let crc = wanted.crc.or_else(|| index.crcs().get(wanted.block.0 as usize).copied());
                let found = content.as_ref().ok().map(|bytes| block_crc(wanted.lba, &bytes[at]));
                report.counts.blocks += 1;
                if found.is_none() || found != crc {
                    let BlockRef { chunk, block, lba, .. } = *wanted;
                    report.problem(Problem::Block { lba, chunk, block });
                } else if agrees(wanted) {
                    verified.note(chunk, wanted.block);
                }
            }
        }
    }
    Ok(())
}

fn block_bytes(block: u32) -> Range<usize> {
    let start = block as usize * BLOCK_BYTES;
    start..start + BLOCK_BYTES
}
