//! Every bound of the log, by name, and how they hang together.

use crate::units::BLOCK_BYTES;

/// Bytes of the fixed part of a record's header block.
pub const HEADER_BYTES: usize = 256;

/// Bytes of one entry in a record's header block.
pub const ENTRY_BYTES: usize = 48;

/// Entries that fit into one record.
pub const ENTRIES_PER_RECORD: usize = 80;

/// Blocks of one data entry, at most: 64 KiB. A reader checks an entry as a whole, so this is
/// also the most that a read of one block has to fetch.
pub const ENTRY_MAX_BLOCKS: u32 = 16;

/// Blocks of the largest record: its header block and a full payload.
pub const RECORD_MAX_BLOCKS: u32 = 1 + ENTRIES_PER_RECORD as u32 * ENTRY_MAX_BLOCKS;

/// Blocks of the largest segment file: 64 GiB. Positions in a segment are 32-bit block numbers
/// and none of their sums may wrap.
pub const SEGMENT_MAX_BLOCKS: u32 = 1 << 24;

/// Blocks of the largest volume: its bytes are addressed with 64 bits.
pub const VOLUME_MAX_BLOCKS: u64 = 1 << 52;

/// Blocks that recovery reads at once: 1 MiB. Checking one piece takes some 40 µs, so that the
/// other tasks of the core come to their turn.
pub const SCAN_PIECE_BLOCKS: u32 = 256;

// A header block is exactly full, so no byte of it is without a rule.
const _: () = assert!(HEADER_BYTES + ENTRIES_PER_RECORD * ENTRY_BYTES == BLOCK_BYTES);
// Entry counts are 16-bit on disk.
const _: () = assert!(ENTRIES_PER_RECORD <= u16::MAX as usize);
// A record fits into the smallest sensible segment, and block + record never wraps.
const _: () = assert!(RECORD_MAX_BLOCKS < SEGMENT_MAX_BLOCKS);
const _: () = assert!((SEGMENT_MAX_BLOCKS as u64) * 2 < u32::MAX as u64);
// A data entry lies within one stripe or crosses into a neighbour, never over a whole one.
const _: () = assert!((ENTRY_MAX_BLOCKS as u64) < 1 << crate::layout::MIN_STRIPE_SHIFT);
// The byte address of the last block of a volume fits into 64 bits.
const _: () = assert!(VOLUME_MAX_BLOCKS.ilog2() + (BLOCK_BYTES as u64).ilog2() <= 64);
