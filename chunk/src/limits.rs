//! Every limit of this crate, with what ties them together.

use wal::BLOCK_BYTES;
use wal::layout::MIN_STRIPE_SHIFT;

/// Bytes of the largest chunk object.
pub const MAX_CHUNK_BYTES: usize = 4 << 20;

/// Blocks of payload that one chunk holds at most.
pub const MAX_PAYLOAD_BLOCKS: u32 = 1008;

/// Index entries that one chunk holds at most, data and holes together.
pub const MAX_CHUNK_ENTRIES: u32 = 1792;

/// Bytes of one index entry.
pub const CHUNK_ENTRY_BYTES: usize = 32;

/// Bytes of a chunk's header, one block.
pub const CHUNK_HEADER_BYTES: usize = BLOCK_BYTES;

/// Payload blocks of one frame, of which the last one of a chunk may have fewer: 64 KiB. What is
/// compressed together is read together, so a frame is as long as one more request is worth (see
/// [`CHECK_GAP_BLOCKS`]); longer ones compress hardly better, for LZ4 looks back 64 KiB.
pub const FRAME_BLOCKS: u32 = 16;

/// Frames of one chunk at most.
pub const MAX_FRAMES: usize = MAX_PAYLOAD_BLOCKS.div_ceil(FRAME_BLOCKS) as usize;

/// A frame is stored compressed if that saves one in so many bytes; otherwise it is not worth
/// reading all of it for one of its blocks.
pub const FRAME_GAIN: usize = 8;

const MAX_INDEX_BYTES: usize =
    MAX_CHUNK_ENTRIES as usize * CHUNK_ENTRY_BYTES + MAX_PAYLOAD_BLOCKS as usize * 4;

// A chunk that its two limits allow always fits.
const _: () = assert!(
    CHUNK_HEADER_BYTES + MAX_PAYLOAD_BLOCKS as usize * BLOCK_BYTES + MAX_INDEX_BYTES
        <= MAX_CHUNK_BYTES
);
// A chunk can be filled with single blocks that have no neighbour.
const _: () = assert!(MAX_CHUNK_ENTRIES >= MAX_PAYLOAD_BLOCKS);
// The data of one entry lies in two stripes at most, so each of several shards sees it as one run.
const _: () = assert!(MAX_PAYLOAD_BLOCKS as u64 <= 1 << MIN_STRIPE_SHIFT);

/// Blocks of a volume that one map page covers: 4 MiB.
pub const PAGE_BLOCKS: u16 = 1024;

// A page belongs to one stripe, so to one shard.
const _: () = assert!((PAGE_BLOCKS as u64) <= 1 << MIN_STRIPE_SHIFT);

/// Pages that one directory segment covers: 4 GiB of a volume.
pub const SEGMENT_PAGES: u16 = 1024;

/// Bytes of the largest object of map pages.
pub const MAX_MAP_OBJECT_BYTES: usize = 4 << 20;

/// Bytes of the largest encoded page: every block a run of its own.
pub const MAX_PAGE_BYTES: usize = 64 + PAGE_BLOCKS as usize * (16 + 4);

/// Bytes of the largest encoded directory segment.
pub const MAX_SEGMENT_BYTES: usize = 56 + SEGMENT_PAGES as usize * 24;

// An empty map object takes any page and any segment.
const _: () = assert!(MAX_PAGE_BYTES <= MAX_MAP_OBJECT_BYTES);
const _: () = assert!(MAX_SEGMENT_BYTES <= MAX_MAP_OBJECT_BYTES);

/// Largest volume: 256 TiB, whose directory still fits in a manifest.
pub const MAX_VOLUME_BYTES: u64 = 256 << 40;

/// The block behind the last one that a volume can have.
pub const MAX_VOLUME_BLOCKS: u64 = MAX_VOLUME_BYTES / BLOCK_BYTES as u64;

/// Shards that one server deals a volume to, at most.
pub const MAX_SHARDS: u16 = 1024;

/// Chunks that a manifest may list as not folded into pages: 128 GiB of one cut. Folding starts long
/// before, where it can.
pub const MAX_UNFOLDED_CHUNKS: usize = 1 << 15;

/// Bytes of the largest manifest.
pub const MAX_MANIFEST_BYTES: usize = 2 << 20;

/// Ancestors that a clone may have, so how deep clones of clones may go. Each costs 24 bytes in
/// every manifest, and nothing when reading.
pub const MAX_ANCESTORS: usize = 1024;

/// Snapshots whose headers are read at a time.
pub const SNAPSHOT_READS: usize = 32;

/// Objects that are read at a time when two states of a volume are compared.
pub const DIFF_READS: usize = 32;

/// Bytes of a volume that one segment of the page directory speaks of.
pub const SEGMENT_SPAN_BYTES: u64 = SEGMENT_PAGES as u64 * PAGE_BLOCKS as u64 * BLOCK_BYTES as u64;

// A manifest that the limits above allow always fits.
const _: () = assert!(
    256 + MAX_SHARDS as usize * 10
        + (MAX_VOLUME_BYTES / SEGMENT_SPAN_BYTES) as usize * 24
        + MAX_UNFOLDED_CHUNKS * 8
        + MAX_ANCESTORS * 24
        <= MAX_MANIFEST_BYTES
);

/// Bytes of a manifest that tell it from all others: its frame with the checksum of the rest, and
/// all fields of fixed length.
pub const MANIFEST_PROOF_BYTES: usize = 176;

/// Newest manifests that are always kept. The predecessor of the newest one proves to its writer
/// that nobody overtook it, so it cannot be fewer than two.
pub const MIN_KEPT_MANIFESTS: usize = 2;

/// Shortest lease, in seconds: a busy store answers well within half of it, so it can be renewed.
pub const MIN_LEASE_SECONDS: u16 = 5;

/// Longest lease, in seconds: whoever takes over from a dead host waits that long.
pub const MAX_LEASE_SECONDS: u16 = 3600;

/// Seconds of a lease unless somebody says otherwise.
pub const DEFAULT_LEASE_SECONDS: u16 = 30;

/// How often the newest manifest may vanish between listing and reading before giving up.
pub const LATEST_TRIES: usize = 64;

/// Blocking jobs that wait for a worker thread, at most; more make their callers wait.
pub const MAX_QUEUED_JOBS: usize = 256;

/// Files that a file store keeps open for reading.
pub const MAX_OPEN_FILES: usize = 256;

/// Objects of at most so many bytes are opened afresh for each read.
pub const SMALL_OBJECT_BYTES: u64 = 4096;

/// References to blocks of data that a check holds at a time.
pub const MAX_CHECK_REFS: usize = 1 << 20;

/// Problems that a check reports by name; the rest is counted.
pub const MAX_PROBLEMS: usize = 1000;

/// How often a check starts again because the volume moved on under it.
pub const CHECK_TRIES: usize = 3;

/// Blocks between two wanted ones that a check reads along rather than making another request.
pub const CHECK_GAP_BLOCKS: u32 = 16;
