//! Writing a record's header block, in the order in which a batch learns what it says.

use super::fields::{self as f, put};
use super::{Body, Entry, HoleKind, LogIdentity, MAGIC, VERSION};
use crate::units::{BLOCK_BYTES, Epoch, Lsn, SegmentId};

/// What is known of a record once its last entry is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// Position of the header block in the segment file.
    pub at_block: u32,
    pub lsn: Lsn,
    pub epoch: Epoch,
    pub entries: u16,
    pub payload_blocks: u32,
}

/// Writes one entry into a header block that stands at `at_block` of its segment file. Bytes
/// without a meaning are left as they are: the block was zeroed before.
pub(crate) fn put_entry(header: &mut [u8], index: usize, at_block: u32, entry: &Entry) {
    let bytes = &mut header[f::entry_range(index)];
    put(bytes, f::ENTRY_LBA_AT, &entry.extent.lba().0.to_le_bytes());
    put(bytes, f::ENTRY_COUNT_AT, &entry.extent.count().to_le_bytes());
    put(bytes, f::ENTRY_AGE_AT, &entry.age.to_le_bytes());
    let (kind, place) = match entry.body {
        Body::Data(place) => (f::KIND_DATA, Some(place)),
        Body::Hole(HoleKind::Zero) => (f::KIND_ZERO, None),
        Body::Hole(HoleKind::Discard) => (f::KIND_DISCARD, None),
        Body::Name(place) => (f::KIND_NAME, Some(place)),
    };
    bytes[f::ENTRY_KIND_AT] = kind;
    if let Some(place) = place {
        put(bytes, f::ENTRY_CRC_AT, &place.crc.to_le_bytes());
        put(bytes, f::ENTRY_BLOCK_AT, &(place.block - at_block).to_le_bytes());
    }
}

/// Writes the fixed part, but for what only the moment of writing knows.
pub(crate) fn put_head(header: &mut [u8], id: &LogIdentity, segment: SegmentId, head: &Head) {
    put(header, f::MAGIC_AT, &MAGIC);
    put(header, f::VERSION_AT, &VERSION.to_le_bytes());
    put(header, f::VOLUME_AT, &id.volume.0);
    put(header, f::INCARNATION_AT, &id.incarnation.0.to_le_bytes());
    put(header, f::SALT_AT, &id.salt.to_le_bytes());
    put(header, f::SEGMENT_AT, &segment.0.to_le_bytes());
    put(header, f::LSN_AT, &head.lsn.0.to_le_bytes());
    put(header, f::EPOCH_AT, &head.epoch.0.to_le_bytes());
    put(header, f::AT_BLOCK_AT, &head.at_block.to_le_bytes());
    put(header, f::PAYLOAD_BLOCKS_AT, &head.payload_blocks.to_le_bytes());
    put(header, f::ENTRIES_AT, &head.entries.to_le_bytes());
    put(header, f::SHARD_AT, &id.shard.0.to_le_bytes());
    put(header, f::SHARDS_AT, &id.layout.shards().to_le_bytes());
    header[f::STRIPE_SHIFT_AT] = id.layout.stripe_shift();
}

/// Writes the durable position and the checksum; the header block is complete then.
pub(crate) fn seal(header: &mut [u8], durable: Lsn) {
    debug_assert_eq!(header.len(), BLOCK_BYTES);
    put(header, f::DURABLE_AT, &durable.0.to_le_bytes());
    let crc = block_crc(header);
    put(header, f::CRC_AT, &crc.to_le_bytes());
}

/// Blocks of payload behind a header block that [`put_head`] wrote.
pub(crate) fn payload_blocks(header: &[u8]) -> u32 {
    f::u32_at(header, f::PAYLOAD_BLOCKS_AT)
}

/// CRC32C of a header block with its checksum field taken as zero.
pub(crate) fn block_crc(header: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&header[..f::CRC_AT]);
    let crc = crc32c::crc32c_append(crc, &[0; 4]);
    crc32c::crc32c_append(crc, &header[f::CRC_AT + 4..])
}
