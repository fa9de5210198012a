//! A chunk's index in memory: read, checked, and asked.

use std::ops::Range;

use wal::{BLOCK_BYTES, Extent, Layout, Lba, ShardId, ShardRun, VolumeId};

use super::frames::Frames;
use super::header::{Header, RawHeader, decode_index};
use super::{ChunkInfo, Content, Entry, block_crc};
use crate::error::{FormatError, ReadError, in_object};
use crate::extent_map::Piece;
use crate::ids::{ChunkId, PayloadBlock};
use crate::limits::CHUNK_HEADER_BYTES;
use crate::store::ObjectStore;

/// What a chunk holds, without its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChunkIndex {
    info: ChunkInfo,
    entries: Vec<Entry>,
    crcs: Vec<u32>,
    frames: Frames,
}

/// Reads where the payload of a chunk is, from its header: one range get.
///
/// # Errors
/// If the object is missing, damaged, or not this chunk of this volume.
pub async fn read_frames<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    id: ChunkId,
) -> Result<Frames, ReadError> {
    let name = id.chunk_name(volume);
    let bytes = store.get_range(&name, 0..CHUNK_HEADER_BYTES as u64).await?;
    let header = own_header(&bytes, volume, id).map_err(in_object(&name))?;
    Ok(header.frames)
}

/// Reads header and index of a chunk: two range gets.
///
/// # Errors
/// If the object is missing, damaged, or not this chunk of this volume.
pub async fn read_index<S: ObjectStore>(
    store: &S,
    volume: VolumeId,
    id: ChunkId,
) -> Result<ChunkIndex, ReadError> {
    let name = id.chunk_name(volume);
    let bytes = store.get_range(&name, 0..CHUNK_HEADER_BYTES as u64).await?;
    let header = own_header(&bytes, volume, id).map_err(in_object(&name))?;
    let start = u64::from(header.index_offset());
    let bytes = store.get_range(&name, start..start + u64::from(header.index_bytes())).await?;
    let (entries, crcs) = decode_index(&header, &bytes).map_err(in_object(&name))?;
    Ok(ChunkIndex::new(header.info, entries, crcs, header.frames))
}

fn own_header(bytes: &[u8], volume: VolumeId, id: ChunkId) -> Result<Header, FormatError> {
    let header = RawHeader::decode(bytes)?.check()?;
    let what = super::header::HEADER.what;
    if header.info.volume != volume {
        return Err(FormatError::Identity { what, field: "volume" });
    }
    if header.info.id != id {
        return Err(FormatError::Identity { what, field: "chunk" });
    }
    Ok(header)
}

impl ChunkIndex {
    pub(super) fn new(
        info: ChunkInfo,
        entries: Vec<Entry>,
        crcs: Vec<u32>,
        frames: Frames,
    ) -> Self {
        Self { info, entries, crcs, frames }
    }

    /// Reads the index out of a whole object. The payload is not looked at: see
    /// [`Self::check_block`].
    ///
    /// # Errors
    /// If the bytes are not exactly one sound chunk.
    pub fn decode(object: &[u8]) -> Result<Self, FormatError> {
        let what = super::header::HEADER.what;
        let have = object.len() as u64;
        let need = CHUNK_HEADER_BYTES as u64;
        let Some((header, _)) = object.split_at_checked(CHUNK_HEADER_BYTES) else {
            return Err(FormatError::Length { what, need, have });
        };
        let header = RawHeader::decode(header)?.check()?;
        let index = object.get(header.index_offset() as usize..).unwrap_or_default();
        let (entries, crcs) = decode_index(&header, index)?;
        Ok(Self::new(header.info, entries, crcs, header.frames))
    }

    /// As [`Self::decode`], for the object that should be this chunk of this volume.
    ///
    /// # Errors
    /// As [`Self::decode`], and if it is another chunk.
    pub fn decode_as(object: &[u8], volume: VolumeId, id: ChunkId) -> Result<Self, FormatError> {
        let header = object.get(..CHUNK_HEADER_BYTES).unwrap_or(object);
        own_header(header, volume, id)?;
        Self::decode(object)
    }

    /// What the chunk says about itself.
    #[must_use]
    pub fn info(&self) -> &ChunkInfo {
        &self.info
    }

    /// All entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Checksums ([`block_crc`]) of the payload's blocks.
    #[must_use]
    pub fn crcs(&self) -> &[u32] {
        &self.crcs
    }

    /// Where the payload is.
    #[must_use]
    pub fn frames(&self) -> &Frames {
        &self.frames
    }

    /// Blocks of payload.
    #[must_use]
    pub fn payload_blocks(&self) -> u32 {
        self.crcs.len() as u32
    }

    /// Bytes of memory that the index takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + self.entries.capacity() * size_of::<Entry>()
            + self.crcs.capacity() * size_of::<u32>()
    }

    /// Whether `bytes` are block `block` of the payload, which holds the volume's block `lba`.
    #[must_use]
    pub fn check_block(&self, block: PayloadBlock, lba: Lba, bytes: &[u8]) -> bool {
        self.crcs.get(block.0 as usize) == Some(&block_crc(lba, bytes))
    }

    /// What the chunk says about the blocks that `shard` owns under `layout`, which may deal to
    /// other shards than the chunk's own layout.
    ///
    /// Under a layout of one shard these are the blocks of the volume themselves.
    pub fn pieces(
        &self,
        layout: Layout,
        shard: ShardId,
    ) -> impl Iterator<Item = (ShardRun, Content)> + '_ {
        self.entries.iter().flat_map(move |entry| {
            parts(self.info.layout, entry, layout, shard).filter_map(move |part| {
                let run = layout.owned(shard, part)?;
                let skipped = layout.to_volume(shard, run.start).0 - entry.extent.lba().0;
                let content = match entry.content {
                    Content::Data(_) if skipped > 0 => entry.content.skip(skipped),
                    content => content,
                };
                Some((run, content))
            })
        })
    }

    /// Two entries that speak of the same block: a chunk that was made wrongly.
    #[must_use]
    pub fn overlap(&self) -> Option<(Entry, Entry)> {
        let mut sorted = self.entries.clone();
        sorted.sort_by_key(|entry| entry.extent.lba());
        let mut open: Vec<Entry> = Vec::new();
        for entry in sorted {
            open.retain(|before| before.extent.end() > entry.extent.lba());
            if let Some(before) = open.iter().find(|before| self.share(before, &entry)) {
                return Some((*before, entry));
            }
            open.push(entry);
        }
        None
    }

    /// Whether two entries have a block in common; `a` starts first and ends behind `b`'s start.
    fn share(&self, a: &Entry, b: &Entry) -> bool {
        let end = a.extent.end().min(b.extent.end());
        let both = Extent::new(b.extent.lba(), end.0 - b.extent.lba().0).expect("they intersect");
        match (a.filter, b.filter) {
            (None, None) => true,
            (Some(a), Some(b)) if a != b => false,
            (Some(shard), _) | (None, Some(shard)) => self.info.layout.owned(shard, both).is_some(),
        }
    }
}

/// Extents that together hold those blocks of an entry which `shard` owns under `layout`; other
/// shards' blocks may lie between. One extent if the layout is the chunk's own, else one for each
/// stripe of a filtered entry.
fn parts(
    own: Layout,
    entry: &Entry,
    layout: Layout,
    shard: ShardId,
) -> impl Iterator<Item = Extent> + use<> {
    let extent = entry.extent;
    let by_stripe = entry.filter.filter(|_| layout != own);
    let whole = match entry.filter {
        None => Some(extent),
        Some(filter) => (layout == own && filter == shard).then_some(extent),
    };
    let stripes = by_stripe.into_iter().flat_map(move |filter| {
        let step = u64::from(own.shards());
        let first = extent.lba().0 >> own.stripe_shift();
        let skip = (u64::from(filter.0) + step - first % step) % step;
        let last = (extent.end().0 - 1) >> own.stripe_shift();
        let (first, step) = match own.stripe_shift() == layout.stripe_shift() {
            true => both(first + skip, step, layout, shard)?,
            false => (first + skip, step),
        };
        Some((first..=last).step_by(step as usize))
    });
    let by_stripe = stripes.flatten().filter_map(move |stripe| {
        let start = (stripe << own.stripe_shift()).max(extent.lba().0);
        let end = ((stripe + 1) << own.stripe_shift()).min(extent.end().0);
        Extent::new(Lba(start), end - start)
    });
    whole.into_iter().chain(by_stripe)
}

/// The first of the stripes `first`, `first + step`, .. that `shard` owns under `layout`, and how far
/// each such stripe is from the next; `None` if it owns none of them.
fn both(first: u64, step: u64, layout: Layout, shard: ShardId) -> Option<(u64, u64)> {
    let shards = u64::from(layout.shards());
    let owned = |stripe: &u64| stripe % shards == u64::from(shard.0);
    let first = (0..shards).map(|n| first + n * step).find(owned)?;
    let again = (1..=shards).map(|n| n * step).find(|far| far.is_multiple_of(shards))?;
    Some((first, again))
}

/// Where some blocks of payload lie in a chunk object whose blocks are stored as they are.
#[must_use]
pub fn payload_range(first: PayloadBlock, blocks: u32) -> Range<u64> {
    let start = CHUNK_HEADER_BYTES as u64 + u64::from(first.0) * BLOCK_BYTES as u64;
    start..start + u64::from(blocks) * BLOCK_BYTES as u64
}
