//! Reading a record's header block: length, magic, checksum, version, features, ranges, in this
//! order. The checksum comes before the version, since a version without a seal proves nothing.

use super::fields::{self as f, u16_at, u32_at, u64_at};
use super::{Body, DataPlace, Entry, HoleKind, LogIdentity, MAGIC, Record, VERSION, encode};
use super::{fits_shard, name_extent};
use crate::layout::Layout;
use crate::limits::{ENTRIES_PER_RECORD, ENTRY_MAX_BLOCKS, SEGMENT_MAX_BLOCKS};
use crate::units::{BLOCK_BYTES, Epoch, Extent, Incarnation, Lba, Lsn, SegmentId};
use crate::units::{ShardId, VolumeId};

/// Why a block is not a record of this version.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Reject {
    /// Not one block.
    #[error("a header block has {BLOCK_BYTES} bytes, these are {bytes}")]
    Length {
        /// Bytes given.
        bytes: usize,
    },
    /// Does not start as a record: most blocks do not.
    #[error("no record starts here")]
    Magic,
    /// Not what was written.
    #[error("header checksum is {stored:08x}, the block's is {computed:08x}")]
    Crc {
        /// What the block says.
        stored: u32,
        /// What it should say.
        computed: u32,
    },
    /// Written by another version of Krait.
    #[error("format version {version}; this Krait knows version {VERSION}")]
    Version {
        /// The version.
        version: u16,
    },
    /// Written with features that this version does not have.
    #[error("it needs the features {unknown:#x}, which this Krait does not know")]
    Features {
        /// The bits without a meaning here.
        unknown: u64,
    },
    /// A reserved byte is not zero.
    #[error("reserved byte {at} is not zero")]
    Reserved {
        /// Where in the block.
        at: usize,
    },
    /// Encrypted without the feature that says so.
    #[error("key id {key} without the feature for keys")]
    KeyId {
        /// The id.
        key: u32,
    },
    /// No such layout.
    #[error("{shards} shards with stripes of 2^{stripe_shift} blocks are no layout")]
    Layout {
        /// Number of shards.
        shards: u16,
        /// Stripe, as a power of two of blocks.
        stripe_shift: u8,
    },
    /// No such shard.
    #[error("shard {shard} of {shards}")]
    Shard {
        /// The shard.
        shard: u16,
        /// Number of shards.
        shards: u16,
    },
    /// Records count from 1, never to the end, and know only earlier ones to be durable.
    #[error("lsn {lsn} with durable lsn {durable}")]
    Lsn {
        /// The record's own number.
        lsn: u64,
        /// What it says is synced.
        durable: u64,
    },
    /// An epoch that none could follow.
    #[error("epoch {epoch}, the last of all")]
    Epoch {
        /// The epoch.
        epoch: u64,
    },
    /// More entries than fit.
    #[error("{entries} entries, {ENTRIES_PER_RECORD} fit")]
    Entries {
        /// Their number.
        entries: u16,
    },
    /// The payload is not that of the entries.
    #[error("{said} blocks of payload, the entries have {sum}")]
    Payload {
        /// What the header says.
        said: u32,
        /// The sum over the entries.
        sum: u32,
    },
    /// The record leaves the largest segment.
    #[error("block {at_block} and {payload_blocks} blocks of payload leave the segment")]
    Position {
        /// Where it says to stand.
        at_block: u32,
        /// Its payload.
        payload_blocks: u32,
    },
    /// One entry is bad.
    #[error("entry {index}: {source}")]
    Entry {
        /// Which one.
        index: usize,
        /// Why.
        source: EntryReject,
    },
}

/// Why an entry of a sealed header block has no meaning.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EntryReject {
    /// Unknown kind.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// Unknown encoding of the payload.
    #[error("unknown encoding {0}")]
    Encoding(u8),
    /// A reserved byte is not zero.
    #[error("reserved byte {0} is not zero")]
    Reserved(usize),
    /// Empty, or it wraps.
    #[error("{count} blocks from {lba} are no extent")]
    Extent {
        /// First block.
        lba: u64,
        /// Number of blocks.
        count: u64,
    },
    /// More blocks than a data entry may have.
    #[error("{0} blocks of data, {ENTRY_MAX_BLOCKS} are the limit")]
    TooLong(u64),
    /// Blocks outside of every volume, or of another shard.
    #[error("extent {0} is not the shard's")]
    NotOwned(Extent),
    /// Payload is laid out in the order of the entries, without gaps.
    #[error("payload at block {said} of the record, {expected} is next")]
    Block {
        /// What the entry says.
        said: u32,
        /// Where its payload must be.
        expected: u32,
    },
    /// Older than the first epoch.
    #[error("{age} epochs older than epoch {epoch}")]
    Age {
        /// How much older.
        age: u32,
        /// The record's.
        epoch: u64,
    },
    /// The name of a cut is one block of payload, and its cut has ended.
    #[error("a name of {extent}, {age} epochs old")]
    Name {
        /// What stands in place of block 0.
        extent: Extent,
        /// How old its cut is.
        age: u32,
    },
    /// A hole has neither payload nor checksum.
    #[error("a hole with payload")]
    HolePayload,
}

/// A header block of any version whose seal holds.
#[derive(Clone, Copy, Debug)]
pub struct RawRecord<'a> {
    block: &'a [u8],
}

impl<'a> RawRecord<'a> {
    /// Checks length, magic and checksum, which are the same in every version.
    ///
    /// # Errors
    /// [`Reject::Length`], [`Reject::Magic`], [`Reject::Crc`].
    pub fn parse(block: &'a [u8]) -> Result<Self, Reject> {
        if block.len() != BLOCK_BYTES {
            return Err(Reject::Length { bytes: block.len() });
        }
        if !starts_record(block) {
            return Err(Reject::Magic);
        }
        let stored = u32_at(block, f::CRC_AT);
        let computed = encode::block_crc(block);
        if stored != computed {
            return Err(Reject::Crc { stored, computed });
        }
        Ok(Self { block })
    }

    /// Version of the format.
    #[must_use]
    pub fn version(&self) -> u16 {
        u16_at(self.block, f::VERSION_AT)
    }

    /// The volume; it stands at the same place in every version.
    #[must_use]
    pub fn volume(&self) -> VolumeId {
        VolumeId(self.block[f::VOLUME_AT..f::VOLUME_AT + 16].try_into().expect("16 bytes"))
    }

    /// Checks version, features and every range. What it cannot know is whether the record
    /// stands where it says, and whether the payload is good.
    ///
    /// # Errors
    /// All of [`Reject`] but those of [`Self::parse`].
    pub fn check(&self) -> Result<Record, Reject> {
        let block = self.block;
        if self.version() != VERSION {
            return Err(Reject::Version { version: self.version() });
        }
        let unknown = u64_at(block, f::FEATURES_AT);
        if unknown != 0 {
            return Err(Reject::Features { unknown });
        }
        self.check_reserved()?;
        let identity = self.identity()?;
        let lsn = u64_at(block, f::LSN_AT);
        let durable = u64_at(block, f::DURABLE_AT);
        // There is always a next one, of both.
        if lsn == 0 || lsn == u64::MAX || durable >= lsn {
            return Err(Reject::Lsn { lsn, durable });
        }
        let epoch = u64_at(block, f::EPOCH_AT);
        if epoch == u64::MAX {
            return Err(Reject::Epoch { epoch });
        }
        let at_block = u32_at(block, f::AT_BLOCK_AT);
        let (entries, payload_blocks) = self.entries(&identity, at_block)?;
        Ok(Record {
            identity,
            segment: SegmentId(u64_at(block, f::SEGMENT_AT)),
            at_block,
            lsn: Lsn(lsn),
            durable_lsn: Lsn(durable),
            epoch: Epoch(epoch),
            payload_blocks,
            entries,
        })
    }

    fn check_reserved(&self) -> Result<(), Reject> {
        let key = u32_at(self.block, f::KEY_ID_AT);
        if key != 0 {
            return Err(Reject::KeyId { key });
        }
        let zero = [f::RESERVED_PREAMBLE, f::RESERVED_BYTE, f::RESERVED_TAIL];
        match zero.into_iter().flatten().find(|&at| self.block[at] != 0) {
            None => Ok(()),
            Some(at) => Err(Reject::Reserved { at }),
        }
    }

    fn identity(&self) -> Result<LogIdentity, Reject> {
        let shards = u16_at(self.block, f::SHARDS_AT);
        let stripe_shift = self.block[f::STRIPE_SHIFT_AT];
        let Some(layout) = Layout::new(stripe_shift, shards) else {
            return Err(Reject::Layout { shards, stripe_shift });
        };
        let shard = u16_at(self.block, f::SHARD_AT);
        if shard >= shards {
            return Err(Reject::Shard { shard, shards });
        }
        Ok(LogIdentity {
            volume: self.volume(),
            incarnation: Incarnation(u64_at(self.block, f::INCARNATION_AT)),
            salt: u64_at(self.block, f::SALT_AT),
            shard: ShardId(shard),
            layout,
        })
    }

    fn entries(&self, id: &LogIdentity, at_block: u32) -> Result<(Box<[Entry]>, u32), Reject> {
        let count = u16_at(self.block, f::ENTRIES_AT);
        if usize::from(count) > ENTRIES_PER_RECORD {
            return Err(Reject::Entries { entries: count });
        }
        let said = u32_at(self.block, f::PAYLOAD_BLOCKS_AT);
        if at_block >= SEGMENT_MAX_BLOCKS || said >= SEGMENT_MAX_BLOCKS - at_block {
            return Err(Reject::Position { at_block, payload_blocks: said });
        }
        let mut entries = Vec::with_capacity(usize::from(count));
        let mut sum = 0;
        for index in 0..usize::from(count) {
            let bytes = &self.block[f::entry_range(index)];
            let rejected = |source| Reject::Entry { index, source };
            let entry = decode_entry(bytes, id, at_block, 1 + sum).map_err(rejected)?;
            let (age, epoch) = (entry.age, u64_at(self.block, f::EPOCH_AT));
            if u64::from(age) > epoch {
                return Err(rejected(EntryReject::Age { age, epoch }));
            }
            if let Body::Data(_) | Body::Name(_) = entry.body {
                sum += entry.extent.count() as u32;
            }
            entries.push(entry);
        }
        if said != sum {
            return Err(Reject::Payload { said, sum });
        }
        let unused = f::entry_range(usize::from(count)).start..BLOCK_BYTES;
        if let Some(at) = unused.into_iter().find(|&at| self.block[at] != 0) {
            return Err(Reject::Reserved { at });
        }
        Ok((entries.into_boxed_slice(), sum))
    }
}

/// Whether a block starts with the magic: the cheap test that sorts out almost all others.
pub(crate) fn starts_record(block: &[u8]) -> bool {
    block.starts_with(&MAGIC)
}

fn decode_entry(
    bytes: &[u8],
    id: &LogIdentity,
    at_block: u32,
    next_block: u32,
) -> Result<Entry, EntryReject> {
    let kind = bytes[f::ENTRY_KIND_AT];
    let hole = match kind {
        f::KIND_DATA | f::KIND_NAME => None,
        f::KIND_ZERO => Some(HoleKind::Zero),
        f::KIND_DISCARD => Some(HoleKind::Discard),
        unknown => return Err(EntryReject::Kind(unknown)),
    };
    if bytes[f::ENTRY_ENCODING_AT] != 0 {
        return Err(EntryReject::Encoding(bytes[f::ENTRY_ENCODING_AT]));
    }
    let mut reserved = f::ENTRY_RESERVED_A.chain(f::ENTRY_RESERVED_B);
    if let Some(at) = reserved.find(|&at| bytes[at] != 0) {
        return Err(EntryReject::Reserved(at));
    }
    let (lba, count) = (u64_at(bytes, f::ENTRY_LBA_AT), u64_at(bytes, f::ENTRY_COUNT_AT));
    let extent = Extent::new(Lba(lba), count).ok_or(EntryReject::Extent { lba, count })?;
    if hole.is_none() && count > u64::from(ENTRY_MAX_BLOCKS) {
        return Err(EntryReject::TooLong(count));
    }
    let age = u32_at(bytes, f::ENTRY_AGE_AT);
    if kind == f::KIND_NAME {
        if extent != name_extent() || age == 0 {
            return Err(EntryReject::Name { extent, age });
        }
    } else if !fits_shard(id, extent, hole.is_none()) {
        return Err(EntryReject::NotOwned(extent));
    }
    let (crc, said) = (u32_at(bytes, f::ENTRY_CRC_AT), u32_at(bytes, f::ENTRY_BLOCK_AT));
    let body = match hole {
        Some(_) if crc != 0 || said != 0 => return Err(EntryReject::HolePayload),
        Some(kind) => Body::Hole(kind),
        None if said != next_block => {
            return Err(EntryReject::Block { said, expected: next_block });
        }
        None if kind == f::KIND_NAME => Body::Name(DataPlace { block: at_block + said, crc }),
        None => Body::Data(DataPlace { block: at_block + said, crc }),
    };
    Ok(Entry { extent, body, age })
}
