//! Packs extents into a chunk.

use wal::planted::{self, Bug};
use wal::{BLOCK_BYTES, Epoch, Extent, HoleKind, Layout, Lba, SECTOR_BYTES, ShardId, VolumeId};

use super::frames::{Compression, Frames};
use super::header::{self, RawHeader};
use super::index::{ChunkIndex, payload_range};
use super::{ChunkInfo, Content, Entry, block_crc};
use crate::ids::{ChunkId, PayloadBlock};
use crate::limits::{CHUNK_HEADER_BYTES, MAX_CHUNK_BYTES, MAX_CHUNK_ENTRIES, MAX_PAYLOAD_BLOCKS};

/// Bytes of a block that are looked at together; most blocks that are not zeros show it in the
/// first ones.
const ZERO_STEP: usize = 128;

impl From<HoleKind> for Content {
    fn from(hole: HoleKind) -> Self {
        match hole {
            HoleKind::Zero => Self::Zero,
            HoleKind::Discard => Self::Discard,
        }
    }
}

/// A chunk in the making. No block may be pushed twice.
#[derive(Debug)]
pub struct ChunkBuilder {
    info: ChunkInfo,
    /// Room for the header, then the payload.
    body: Vec<u8>,
    entries: Vec<Entry>,
    blocks: u32,
}

impl ChunkBuilder {
    /// An empty chunk.
    #[must_use]
    pub fn new(volume: VolumeId, id: ChunkId, layout: Layout, epoch: Epoch) -> Self {
        Self {
            info: ChunkInfo { volume, id, layout, epoch },
            body: vec![0; CHUNK_HEADER_BYTES],
            entries: Vec::new(),
            blocks: 0,
        }
    }

    /// As [`Self::new`], in memory that held an object before: fresh memory costs more than the
    /// copy into it.
    #[must_use]
    pub fn reusing(mut memory: Vec<u8>, info: ChunkInfo) -> Self {
        memory.clear();
        memory.reserve_exact(MAX_CHUNK_BYTES);
        memory.resize(CHUNK_HEADER_BYTES, 0);
        Self { info, body: memory, entries: Vec::new(), blocks: 0 }
    }

    /// Blocks of data so far.
    #[must_use]
    pub fn payload_blocks(&self) -> u32 {
        self.blocks
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the chunk may take nothing more; only a push that joins the last entry might.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.payload_blocks() == MAX_PAYLOAD_BLOCKS || !self.has_entry_left()
    }

    fn has_entry_left(&self) -> bool {
        self.entries.len() < MAX_CHUNK_ENTRIES as usize
    }

    /// Copies whole blocks of the volume from `lba` on, as many as fit; those that hold nothing but
    /// zeros become holes. Returns how many.
    ///
    /// # Panics
    /// If `bytes` is not whole blocks.
    #[must_use]
    pub fn push_data(&mut self, lba: Lba, bytes: &[u8]) -> usize {
        assert!(bytes.len().is_multiple_of(BLOCK_BYTES), "data comes in whole blocks");
        self.push_blocks(lba, bytes.chunks_exact(BLOCK_BYTES))
    }

    /// As [`Self::push_data`], for blocks that lie apart in memory. Blocks of zeros become holes.
    ///
    /// # Panics
    /// If one of them is not a whole block.
    #[must_use]
    pub fn push_blocks<'b>(
        &mut self,
        lba: Lba,
        blocks: impl ExactSizeIterator<Item = &'b [u8]>,
    ) -> usize {
        let mut taken = 0;
        for (lba, block) in (lba.0..).map(Lba).zip(blocks) {
            assert_eq!(block.len(), BLOCK_BYTES, "data comes in whole blocks");
            let extent = Extent::new(lba, 1).expect("one block");
            let content = match is_zeros(block) {
                true => Content::Discard,
                false => Content::Data(PayloadBlock(self.payload_blocks())),
            };
            let is_data = content != Content::Discard;
            let fits = !is_data || self.payload_blocks() < MAX_PAYLOAD_BLOCKS;
            if !fits || !self.push(Entry { extent, content, filter: None }) {
                break;
            }
            if is_data {
                self.blocks += 1;
                self.body.extend_from_slice(block);
            }
            taken += 1;
        }
        taken
    }

    /// Adds a hole: all of `extent`, or only those of its blocks that the shard `filter` owns.
    /// Returns whether it fitted.
    #[must_use]
    pub fn push_hole(&mut self, hole: HoleKind, extent: Extent, filter: Option<ShardId>) -> bool {
        assert!(filter.is_none_or(|shard| shard.0 < self.info.layout.shards()), "no such shard");
        self.push(Entry { extent, content: hole.into(), filter })
    }

    /// Adds an entry, or makes the last one longer.
    fn push(&mut self, entry: Entry) -> bool {
        use crate::extent_map::Piece;
        if let Some(last) = self.entries.last_mut()
            && last.extent.end() == entry.extent.lba()
            && last.filter == entry.filter
            && last.content.joins(last.extent.count(), &entry.content)
            && let Some(whole) =
                Extent::new(last.extent.lba(), last.extent.count() + entry.extent.count())
        {
            last.extent = whole;
            return true;
        }
        let fits = self.has_entry_left();
        if fits {
            self.entries.push(entry);
        }
        fits
    }

    /// All entries so far.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The bytes of blocks of data.
    #[must_use]
    pub fn payload(&self, first: PayloadBlock, blocks: u32) -> &[u8] {
        let range = payload_range(first, blocks);
        &self.body[range.start as usize..range.end as usize]
    }

    /// What the chunk says about itself.
    #[must_use]
    pub fn info(&self) -> &ChunkInfo {
        &self.info
    }

    /// Checksums of all blocks of data. Made last, for whoever pushes has more urgent work.
    fn crcs(&self) -> Vec<u32> {
        let mut crcs = Vec::with_capacity(self.blocks as usize);
        for entry in &self.entries {
            if let Content::Data(first) = entry.content {
                let payload = self.payload(first, entry.extent.count() as u32);
                let blocks =
                    (entry.extent.lba().0..).map(Lba).zip(payload.chunks_exact(BLOCK_BYTES));
                crcs.extend(blocks.map(|(lba, block)| block_crc(lba, block)));
            }
        }
        crcs
    }

    /// The object's bytes, and its index.
    ///
    /// # Panics
    /// If nothing was pushed: an empty chunk has no use.
    #[must_use]
    pub fn finish(self) -> (Vec<u8>, ChunkIndex) {
        self.finish_as(Compression::None)
    }

    /// As [`Self::finish`], with its payload compressed where that is worth it: for a full chunk up
    /// to 10 ms of computing, and 1 ms without.
    ///
    /// # Panics
    /// As [`Self::finish`].
    #[must_use]
    pub fn finish_as(self, compression: Compression) -> (Vec<u8>, ChunkIndex) {
        assert!(!self.is_empty(), "a chunk has an entry");
        let crcs = self.crcs();
        let Self { info, mut body, entries, blocks } = self;
        let index = header::encode_index(&entries, &crcs);
        let frames = Frames::pack(&mut body, blocks, compression);
        let header = RawHeader::of(&info, entries.len(), &frames, &index);
        body[..CHUNK_HEADER_BYTES].copy_from_slice(&header.encode());
        body.extend_from_slice(&index);
        assert!(body.len() <= MAX_CHUNK_BYTES);
        (body, ChunkIndex::new(info, entries, crcs, frames))
    }
}

/// Whether a block holds nothing but zeros.
fn is_zeros(block: &[u8]) -> bool {
    let looked_at = match planted::is(Bug::ZerosBySector) {
        true => &block[..SECTOR_BYTES],
        false => block,
    };
    let is_zero = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all | byte) == 0;
    looked_at.chunks(ZERO_STEP).all(is_zero)
}
