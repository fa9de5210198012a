//! A chunk: one immutable object with data and holes of many extents, and the index that says
//! which. Its index is also the change that it makes to the map of the volume.

mod builder;
mod frames;
mod header;
mod index;
mod worth;

use wal::{Epoch, Extent, Layout, Lba, ShardId, VolumeId};

use crate::extent_map::Piece;
use crate::ids::{ChunkId, PayloadBlock};

pub use builder::ChunkBuilder;
pub use frames::{Compression, CompressionError, Frames};
pub use index::{ChunkIndex, payload_range, read_frames, read_index};

/// What a chunk says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChunkInfo {
    /// The volume that it belongs to.
    pub volume: VolumeId,
    /// Its identity within the volume.
    pub id: ChunkId,
    /// How blocks were dealt to shards when it was made: what the filters of holes refer to.
    pub layout: Layout,
    /// The cut that it was made for.
    pub epoch: Epoch,
}

/// What a chunk has for the blocks of one entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Bytes, from this block of the payload on.
    Data(PayloadBlock),
    /// Zeros that stay allocated.
    Zero,
    /// Nothing: the blocks are holes and read as zeros.
    Discard,
}

impl Piece for Content {
    fn skip(&self, blocks: u64) -> Self {
        match *self {
            Self::Data(PayloadBlock(first)) => {
                let blocks = u32::try_from(blocks).expect("an entry is shorter than a chunk");
                Self::Data(PayloadBlock(first + blocks))
            }
            Self::Zero => Self::Zero,
            Self::Discard => Self::Discard,
        }
    }

    fn joins(&self, blocks: u64, next: &Self) -> bool {
        match (self, next) {
            (Self::Data(first), Self::Data(next)) => u64::from(first.0) + blocks == next.0.into(),
            (Self::Zero, Self::Zero) | (Self::Discard, Self::Discard) => true,
            (Self::Data(_) | Self::Zero | Self::Discard, _) => false,
        }
    }
}

/// One entry of a chunk's index.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The blocks of the volume.
    pub extent: Extent,
    /// What they hold.
    pub content: Content,
    /// If set, only those blocks of the extent that this shard owns under the chunk's layout.
    /// Never set for data.
    pub filter: Option<ShardId>,
}

/// Checksum of one block of payload: CRC32C over the block's address in the volume (8 bytes,
/// little-endian) and then its bytes, so that a block that stands in for another one shows.
#[must_use]
pub fn block_crc(lba: Lba, block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&lba.0.to_le_bytes()), block)
}

#[cfg(test)]
mod tests;
