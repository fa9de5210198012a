//! Byte offsets of a header block, version 1. `wal/FORMAT.md` has the same table in words.

use std::ops::Range;

use crate::limits::{ENTRY_BYTES, HEADER_BYTES};

// The first 32 bytes mean the same in every version.
pub(crate) const MAGIC_AT: usize = 0;
pub(crate) const VERSION_AT: usize = 8;
pub(crate) const RESERVED_PREAMBLE: Range<usize> = 10..12;
pub(crate) const CRC_AT: usize = 12;
pub(crate) const VOLUME_AT: usize = 16;
// From here on they are those of version 1.
pub(crate) const FEATURES_AT: usize = 32;
pub(crate) const INCARNATION_AT: usize = 40;
pub(crate) const SALT_AT: usize = 48;
pub(crate) const SEGMENT_AT: usize = 56;
pub(crate) const LSN_AT: usize = 64;
pub(crate) const DURABLE_AT: usize = 72;
pub(crate) const EPOCH_AT: usize = 80;
pub(crate) const AT_BLOCK_AT: usize = 88;
pub(crate) const PAYLOAD_BLOCKS_AT: usize = 92;
pub(crate) const ENTRIES_AT: usize = 96;
pub(crate) const SHARD_AT: usize = 98;
pub(crate) const SHARDS_AT: usize = 100;
pub(crate) const STRIPE_SHIFT_AT: usize = 102;
pub(crate) const RESERVED_BYTE: Range<usize> = 103..104;
pub(crate) const KEY_ID_AT: usize = 104;
pub(crate) const RESERVED_TAIL: Range<usize> = 108..HEADER_BYTES;

// Within an entry.
pub(crate) const ENTRY_LBA_AT: usize = 0;
pub(crate) const ENTRY_COUNT_AT: usize = 8;
pub(crate) const ENTRY_KIND_AT: usize = 16;
pub(crate) const ENTRY_ENCODING_AT: usize = 17;
pub(crate) const ENTRY_RESERVED_A: Range<usize> = 18..20;
pub(crate) const ENTRY_CRC_AT: usize = 20;
pub(crate) const ENTRY_BLOCK_AT: usize = 24;
pub(crate) const ENTRY_AGE_AT: usize = 28;
/// The place of an AEAD tag.
pub(crate) const ENTRY_RESERVED_B: Range<usize> = 32..ENTRY_BYTES;

pub(crate) const KIND_DATA: u8 = 1;
pub(crate) const KIND_ZERO: u8 = 2;
pub(crate) const KIND_DISCARD: u8 = 3;
pub(crate) const KIND_NAME: u8 = 4;

/// The bytes of entry `index` within its header block.
pub(crate) fn entry_range(index: usize) -> Range<usize> {
    let start = HEADER_BYTES + index * ENTRY_BYTES;
    start..start + ENTRY_BYTES
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

pub(crate) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}
