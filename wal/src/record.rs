//! A record of the log: what it says, and where each byte of it stands (`wal/FORMAT.md`).
//!
//! Trust rises by type: bytes, then [`RawRecord`] (the seal holds, so somebody wrote exactly
//! this), then [`Record`] (every field has a meaning that this version knows).

mod decode;
pub(crate) mod encode;
mod fields;

use std::fmt;

pub(crate) use decode::starts_record;
pub use decode::{EntryReject, RawRecord, Reject};

use crate::layout::Layout;
use crate::limits::VOLUME_MAX_BLOCKS;
use crate::units::{BLOCK_BYTES, Epoch, Extent, Incarnation, Lba, Lsn, SegmentId};
use crate::units::{ShardId, VolumeId};

/// First bytes of every record of every version.
pub const MAGIC: [u8; 8] = *b"KraitWAL";

/// The version of the format that is written, and the only one that is read.
pub const VERSION: u16 = 1;

/// Whose log this is: the same in all records of one shard in one opening of a volume.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogIdentity {
    /// The volume.
    pub volume: VolumeId,
    /// The opening of the volume.
    pub incarnation: Incarnation,
    /// Random bits drawn for this opening: whoever writes data into a volume does not know them,
    /// and so cannot make data that passes for a record.
    pub salt: u64,
    /// The shard that writes.
    pub shard: ShardId,
    /// How the volume's blocks are dealt to the shards in this opening.
    pub layout: Layout,
}

/// What an extent without payload turns into.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HoleKind {
    /// Zeros that stay allocated.
    Zero,
    /// Nothing: reads as zeros and takes no space.
    Discard,
}

/// Where the payload of a data entry stands, and its checksum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DataPlace {
    /// First block of the payload, counted from the start of the segment file.
    pub block: u32,
    /// [`payload_crc`] of the whole entry.
    pub crc: u32,
}

/// What an entry does to the blocks of its extent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Body {
    /// They get the payload.
    Data(DataPlace),
    /// Those of them that the record's shard owns under the record's layout become a hole.
    Hole(HoleKind),
    /// None changes: the cut of the entry's epoch has a name, and the payload says which.
    Name(DataPlace),
}

/// One change of the volume.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// The blocks that it changes.
    pub extent: Extent,
    /// What they become.
    pub body: Body,
    /// Epochs by which it is older than its record: 0 for what is written in the record's own. What
    /// was in memory only when a cut took it may be logged later, for that cut.
    pub age: u32,
}

/// The unit of the log: changes that were made at one epoch and are replayed together, in order.
/// A record without entries only carries `durable_lsn`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whose log it belongs to.
    pub identity: LogIdentity,
    /// The use of the segment file in which it was written.
    pub segment: SegmentId,
    /// Position of its header block, in blocks from the start of the segment file.
    pub at_block: u32,
    /// Its number.
    pub lsn: Lsn,
    /// The highest number known to be synced when it was encoded; below its own.
    pub durable_lsn: Lsn,
    /// The epoch in which it was written; see [`Self::epoch_of`] for that of an entry.
    pub epoch: Epoch,
    /// Blocks of payload that follow the header block.
    pub payload_blocks: u32,
    /// What it changes, in order.
    pub entries: Box<[Entry]>,
}

impl Record {
    /// Blocks that it takes in the file, header included.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        1 + self.payload_blocks
    }

    /// The epoch of one of its entries.
    #[must_use]
    pub fn epoch_of(&self, entry: &Entry) -> Epoch {
        Epoch(self.epoch.0 - u64::from(entry.age))
    }
}

impl Entry {
    /// Checks payload bytes that were read back against the entry's checksum. Holes have none,
    /// so nothing matches them.
    #[must_use]
    pub fn matches(&self, payload: &[u8]) -> bool {
        match self.body {
            Body::Data(place) | Body::Name(place) => {
                payload.len() as u64 == self.extent.count() * BLOCK_BYTES as u64
                    && payload_crc(self.extent, payload) == place.crc
            }
            Body::Hole(_) => false,
        }
    }
}

/// The blocks that the payload of a name stands for in its checksum.
pub(crate) fn name_extent() -> Extent {
    Extent::new(Lba(0), 1).expect("one block is an extent")
}

/// Checksum of a data entry: CRC32C over the extent's first block and count (both 8 bytes,
/// little-endian) and then the payload, so that good bytes of another address do not pass.
#[must_use]
pub fn payload_crc(extent: Extent, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(address_crc(extent), payload)
}

/// The start of [`payload_crc`], to be continued with the payload.
pub(crate) fn address_crc(extent: Extent) -> u32 {
    let mut address = [0; 16];
    address[..8].copy_from_slice(&extent.lba().0.to_le_bytes());
    address[8..].copy_from_slice(&extent.count().to_le_bytes());
    crc32c::crc32c(&address)
}

/// Whether the extent lies in the largest volume and `shard` owns what an entry of this kind
/// needs: all blocks of a data extent, at least one of a hole.
pub(crate) fn fits_shard(identity: &LogIdentity, extent: Extent, is_data: bool) -> bool {
    if extent.end().0 > VOLUME_MAX_BLOCKS {
        return false;
    }
    let owned = identity.layout.owned(identity.shard, extent).map_or(0, |run| run.count);
    if is_data { owned == extent.count() } else { owned > 0 }
}

impl fmt::Display for HoleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HoleKind::Zero => "zero",
            HoleKind::Discard => "discard",
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.body {
            Body::Data(place) => {
                write!(f, "data {} at block {}, crc {:08x}", self.extent, place.block, place.crc)?;
            }
            Body::Hole(kind) => write!(f, "{kind} {}", self.extent)?,
            Body::Name(place) => {
                write!(f, "name of a cut at block {}, crc {:08x}", place.block, place.crc)?;
            }
        }
        match self.age {
            0 => Ok(()),
            age => write!(f, ", {age} epochs old"),
        }
    }
}

impl fmt::Display for Record {
    /// One line for the record and an indented one for each entry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = &self.identity;
        write!(
            f,
            "block {}: record lsn {} epoch {} durable {} shard {}/{} stripe 2^{} incarnation {} \
             salt {:016x} segment {} volume {} payload {} blocks",
            self.at_block,
            self.lsn,
            self.epoch,
            self.durable_lsn,
            id.shard,
            id.layout.shards(),
            id.layout.stripe_shift(),
            id.incarnation,
            id.salt,
            self.segment,
            id.volume,
            self.payload_blocks,
        )?;
        self.entries.iter().try_for_each(|entry| write!(f, "\n  {entry}"))
    }
}

#[cfg(test)]
mod tests;
