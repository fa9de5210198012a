//! A page of the map: where the blocks of 4 MiB of a volume are, and their checksums.

mod codec;

use wal::Lba;

use crate::ids::{ChunkId, PayloadBlock};
use crate::limits::PAGE_BLOCKS;

pub use codec::PageIdentity;

/// Number of a page: the page of block `lba` is `lba / 1024`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PageIndex(pub u64);

impl PageIndex {
    /// The page that a block belongs to, and the block's place in it.
    #[must_use]
    pub fn of(lba: Lba) -> (Self, u16) {
        let blocks = u64::from(PAGE_BLOCKS);
        (Self(lba.0 / blocks), (lba.0 % blocks) as u16)
    }

    /// Address of the page's first block.
    #[must_use]
    pub fn first_block(self) -> Lba {
        Lba(self.0 * u64::from(PAGE_BLOCKS))
    }
}

/// A non-empty run of blocks within a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageRun {
    first: u16,
    count: u16,
}

impl PageRun {
    /// Returns `None` if the run is empty or leaves the page.
    #[must_use]
    pub fn new(first: u16, count: u16) -> Option<Self> {
        let fits = count > 0 && first < PAGE_BLOCKS && count <= PAGE_BLOCKS - first;
        fits.then_some(Self { first, count })
    }

    /// First block, counted from the page's first.
    #[must_use]
    pub fn first(self) -> u16 {
        self.first
    }

    /// Number of blocks, at least 1.
    #[must_use]
    pub fn count(self) -> u16 {
        self.count
    }

    /// The block after the last one.
    #[must_use]
    pub fn end(self) -> u16 {
        self.first + self.count
    }
}

/// What a run of a page holds. Blocks without a value are holes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageValue {
    /// Bytes in a chunk, from this block of its payload on.
    Data {
        /// The chunk.
        chunk: ChunkId,
        /// Where the run's first block is.
        block: PayloadBlock,
    },
    /// Zeros that are allocated.
    Zero,
}

/// One run in 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Run {
    at: PageRun,
    /// Of the first block; 0 for zeros.
    block: u32,
    /// `None` for zeros.
    chunk: Option<ChunkId>,
}

const _: () = assert!(size_of::<Run>() == 16);

impl Run {
    fn is_data(&self) -> bool {
        self.chunk.is_some()
    }

    /// Data blocks in this run, which is also how many checksums it has.
    fn data_blocks(&self) -> usize {
        if self.is_data() { usize::from(self.at.count) } else { 0 }
    }

    fn value(&self, skipped: u16) -> PageValue {
        match self.chunk {
            Some(chunk) => {
                PageValue::Data { chunk, block: PayloadBlock(self.block + u32::from(skipped)) }
            }
            None => PageValue::Zero,
        }
    }

    /// The part of the run in `[first, end)`, if there is one.
    fn part(&self, first: u16, end: u16) -> Option<Self> {
        let (first, end) = (first.max(self.at.first), end.min(self.at.end()));
        let at = PageRun::new(first, end.checked_sub(first)?)?;
        let skipped = if self.is_data() { u32::from(first - self.at.first) } else { 0 };
        Some(Self { at, block: self.block + skipped, chunk: self.chunk })
    }

    /// This run and the one right behind it as one, if they are one.
    fn joined(&self, next: &Self) -> Option<Self> {
        let block = if self.is_data() { self.block + u32::from(self.at.count) } else { 0 };
        let joins =
            self.at.end() == next.at.first && self.chunk == next.chunk && block == next.block;
        joins.then(|| Self {
            at: PageRun { first: self.at.first, count: self.at.count + next.at.count },
            ..*self
        })
    }
}

/// The map of 1024 blocks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MapPage {
    /// Disjoint, in order.
    runs: Vec<Run>,
    /// Of the data blocks, in the order of the runs.
    crcs: Vec<u32>,
}

impl MapPage {
    /// A page of holes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether all blocks are holes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Number of runs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Bytes of memory that the page takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.runs.capacity() * size_of::<Run>()
            + self.crcs.capacity() * size_of::<u32>()
    }

    /// The blocks from `first` on are in `chunk` from `block` on; `crcs` has one checksum
    /// ([`crate::block_crc`]) for each.
    ///
    /// # Panics
    /// If they are none or leave the page.
    pub fn put_data(&mut self, first: u16, chunk: ChunkId, block: PayloadBlock, crcs: &[u32]) {
        let at = u16::try_from(crcs.len()).ok().and_then(|count| PageRun::new(first, count));
        let at = at.expect("data lies within its page");
        self.replace(at, Some(Run { at, block: block.0, chunk: Some(chunk) }), crcs);
    }

    /// The blocks are allocated zeros.
    pub fn put_zero(&mut self, at: PageRun) {
        self.replace(at, Some(Run { at, block: 0, chunk: None }), &[]);
    }

    /// The blocks are holes.
    pub fn discard(&mut self, at: PageRun) {
        self.replace(at, None, &[]);
    }

    fn replace(&mut self, at: PageRun, new: Option<Run>, crcs: &[u32]) {
        // Runs that touch `at`, or end or start right beside it and might join.
        let low = self.runs.partition_point(|run| run.at.end() < at.first);
        let high = self.runs.partition_point(|run| run.at.first <= at.end());
        let touched = &self.runs[low..high];
        let head = touched.first().and_then(|run| run.part(0, at.first));
        let tail = touched.last().and_then(|run| run.part(at.end(), PAGE_BLOCKS));
        let before: usize = self.runs[..low].iter().map(Run::data_blocks).sum();
        let inside: usize = touched.iter().map(Run::data_blocks).sum();
        let crc_low = before + head.as_ref().map_or(0, Run::data_blocks);
        let crc_high = before + inside - tail.as_ref().map_or(0, Run::data_blocks);
        self.crcs.splice(crc_low..crc_high, crcs.iter().copied());

        let mut parts = [head, new, tail];
        for left in 0..2 {
            if let (Some(first), Some(second)) = (parts[left], parts[left + 1])
                && let Some(whole) = first.joined(&second)
            {
                parts[left] = None;
                parts[left + 1] = Some(whole);
            }
        }
        self.runs.splice(low..high, parts.into_iter().flatten());
    }

    /// What is at `block`: how many blocks from there on are alike, their value (a hole has
    /// none), and their checksums if they are data.
    ///
    /// # Panics
    /// If the block is not in the page.
    #[must_use]
    pub fn get(&self, block: u16) -> (u16, Option<PageValue>, &[u32]) {
        assert!(block < PAGE_BLOCKS, "a page has {PAGE_BLOCKS} blocks");
        let slot = self.runs.partition_point(|run| run.at.end() <= block);
        let Some(run) = self.runs.get(slot) else {
            return (PAGE_BLOCKS - block, None, &[]);
        };
        if run.at.first > block {
            return (run.at.first - block, None, &[]);
        }
        let (skipped, count) = (block - run.at.first, run.at.end() - block);
        let crcs = if run.is_data() {
            let before: usize = self.runs[..slot].iter().map(Run::data_blocks).sum();
            &self.crcs[before + usize::from(skipped)..][..usize::from(count)]
        } else {
            &[]
        };
        (count, Some(run.value(skipped)), crcs)
    }

    /// All runs in order with their values, and checksums if they are data.
    pub fn iter(&self) -> impl Iterator<Item = (PageRun, PageValue, &[u32])> + '_ {
        let mut crcs = self.crcs.as_slice();
        self.runs.iter().map(move |run| {
            let (own, rest) = crcs.split_at(run.data_blocks());
            crcs = rest;
            (run.at, run.value(0), own)
        })
    }

    /// Gives back memory that edits left unused.
    pub fn shrink(&mut self) {
        self.runs.shrink_to_fit();
        self.crcs.shrink_to_fit();
    }

    /// Checks what must always hold.
    ///
    /// # Panics
    /// If runs overlap or leave the page, or the checksums are not as many as the data blocks.
    pub fn self_check(&self) {
        let mut end = 0;
        for run in &self.runs {
            assert!(run.at.first >= end && run.at.count > 0 && run.at.end() <= PAGE_BLOCKS);
            end = run.at.end();
        }
        let data: usize = self.runs.iter().map(Run::data_blocks).sum();
        assert_eq!(data, self.crcs.len(), "one checksum per data block");
    }
}

#[cfg(test)]
mod tests;
