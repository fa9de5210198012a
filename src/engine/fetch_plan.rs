//! What a request must fetch, as few reads: pieces are cut where their sources differ, and blocks
//! that lie near each other in a chunk become one read.

use std::ops::Range;
use std::rc::Rc;

use chunk::limits::MAX_PAYLOAD_BLOCKS;
use chunk::{ChunkId, PayloadBlock, Piece};
use wal::{ShardBlock, ShardRun};

use super::chunk_cache::SLOT_BLOCKS;
use super::fetch_flight::RangeFlight;
use super::limits::{FETCH_BLOCKS, FETCH_GAP_BLOCKS};
use super::place::LogPlace;
use super::read::Home;
use super::sealed::SealedPlace;

/// Part of a chunk that a request wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    pub(super) run: ShardRun,
    pub(super) chunk: ChunkId,
    pub(super) first: PayloadBlock,
    /// One checksum for each block.
    pub(super) sums: Vec<u32>,
}

impl Wanted {
    /// Where the map has it.
    pub(super) fn home(&self) -> Home {
        Home::Sealed(SealedPlace::Data { chunk: self.chunk, block: self.first })
    }

    fn blocks(&self) -> Range<u32> {
        self.first.0..self.first.0 + self.run.count as u32
    }

    /// The first `count` blocks, and the rest, if there is one.
    fn split(mut self, count: u32) -> (Self, Option<Self>) {
        let count = u64::from(count);
        if self.run.count <= count {
            return (self, None);
        }
        let place = SealedPlace::Data { chunk: self.chunk, block: self.first };
        let SealedPlace::Data { block: first, .. } = place.skip(count) else {
            unreachable!("a part of data is data")
        };
        let start = ShardBlock(self.run.start.0 + count);
        let run = ShardRun { start, count: self.run.count - count };
        let sums = self.sums.split_off(count as usize);
        let rest = Self { run, chunk: self.chunk, first, sums };
        self.run.count = count;
        (self, Some(rest))
    }
}

/// Where blocks of a chunk can be had.
pub(super) enum Spot {
    /// They are on their way already.
    Flying(Rc<RangeFlight>),
    /// In the cache on the local disk.
    Cached,
    /// In the store only.
    Store,
}

/// One read.
pub(super) enum Job {
    /// Of a log entry.
    Log(ShardRun, LogPlace),
    /// Of a chunk.
    Chunk(ChunkJob),
}

/// One read of a chunk.
pub(super) struct ChunkJob {
    pub(super) spot: Spot,
    pub(super) chunk: ChunkId,
    /// What to read; more than what is wanted.
    pub(super) blocks: Range<u32>,
    /// Not empty, in the order of the chunk.
    pub(super) parts: Vec<Wanted>,
}

impl ChunkJob {
    /// The least range that has all parts.
    pub(super) fn wanted(&self) -> Range<u32> {
        let end = self.parts.iter().map(|part| part.blocks().end).max();
        self.parts[0].first.0..end.expect("a job has parts")
    }

    /// The same, from the store.
    pub(super) fn into_store_job(self, around: impl Fn(ChunkId, Range<u32>) -> Range<u32>) -> Self {
        let blocks = around(self.chunk, self.wanted());
        Self { spot: Spot::Store, blocks, ..self }
    }
}

/// Turns what is wanted into reads. `look` tells where a payload block of a chunk can be had, and
/// for how many blocks from it on that holds; `around`, which blocks around some a read of the store
/// takes along.
pub(super) fn plan(
    mut wanted: Vec<Wanted>,
    around: impl Fn(ChunkId, Range<u32>) -> Range<u32>,
    look: impl Fn(ChunkId, u32) -> (Spot, u32),
) -> Vec<ChunkJob> {
    wanted.sort_unstable_by_key(|part| (part.chunk, part.first.0, part.run.start));
    let mut jobs: Vec<ChunkJob> = Vec::new();
    for part in wanted {
        let mut rest = Some(part);
        while let Some(part) = rest.take() {
            let first = part.first.0;
            let (spot, holds) = look(part.chunk, first);
            let slot_end = (first / SLOT_BLOCKS + 1) * SLOT_BLOCKS;
            let most = match &spot {
                Spot::Flying(_) => holds,
                Spot::Cached => holds.min(slot_end - first),
                Spot::Store => {
                    let open = jobs.last().filter(|job| job.takes(&spot, &part));
                    let own = || around(part.chunk, first..first + 1).start;
                    let start = open.map_or_else(own, |job| job.blocks.start);
                    holds.min(start + FETCH_BLOCKS as u32 - first)
                }
            };
            let (part, later) = part.split(most);
            rest = later;
            let range = match &spot {
                Spot::Flying(flight) => flight.blocks.clone(),
                Spot::Cached => part.blocks(),
                Spot::Store => around(part.chunk, part.blocks()),
            };
            match jobs.last_mut().filter(|job| job.takes(&spot, &part)) {
                Some(job) => {
                    job.blocks.end = job.blocks.end.max(range.end);
                    job.parts.push(part);
                }
                None => {
                    let chunk = part.chunk;
                    jobs.push(ChunkJob { spot, chunk, blocks: range, parts: vec![part] });
                }
            }
        }
    }
    jobs
}

impl ChunkJob {
    /// Whether a part that comes behind those that are in it may join.
    fn takes(&self, spot: &Spot, part: &Wanted) -> bool {
        let first = part.first.0;
        self.chunk == part.chunk
            && match (&self.spot, spot) {
                (Spot::Flying(mine), Spot::Flying(other)) => Rc::ptr_eq(mine, other),
                (Spot::Cached, Spot::Cached) => {
                    self.blocks.start / SLOT_BLOCKS == first / SLOT_BLOCKS
                }
                (Spot::Store, Spot::Store) => {
                    let near = first <= self.blocks.end + FETCH_GAP_BLOCKS;
                    near && first < self.blocks.start + FETCH_BLOCKS as u32
                }
                (Spot::Flying(_) | Spot::Cached | Spot::Store, _) => false,
            }
    }
}

/// Blocks widened to multiples of `granule`.
pub(super) fn rounded(blocks: &Range<u32>, granule: u32) -> Range<u32> {
    let end = blocks.end.next_multiple_of(granule);
    blocks.start / granule * granule..end.min(MAX_PAYLOAD_BLOCKS.max(blocks.end))
}

#[cfg(test)]
mod tests;
