//! Floors and ceilings of the settings.

use std::time::Duration;

use super::size::ByteSize;

/// Least memory that the server runs in.
pub const MIN_MEMORY: ByteSize = ByteSize::mib(256);

/// Memory from which on chunks are compressed unless said otherwise: each one that is being
/// compressed is in memory twice.
pub const COMPRESSION_MEMORY: ByteSize = ByteSize::gib(1);

/// Most memory that the server takes unless it is told to take more.
pub const MAX_DEFAULT_MEMORY: ByteSize = ByteSize::gib(8);

/// Part of the machine's memory that the server takes unless told otherwise: a quarter, as the
/// rest is the guests'.
pub const DEFAULT_MEMORY_DIVISOR: u64 = 4;

/// Most cores of one server.
pub const MAX_CORES: u16 = 128;

/// Smallest segment of the write-ahead log.
pub const MIN_SEGMENT: ByteSize = ByteSize::mib(1);

/// Largest segment of the write-ahead log.
pub const MAX_SEGMENT: ByteSize = ByteSize::gib(1);

/// Largest segment unless told otherwise.
pub const MAX_DEFAULT_SEGMENT: ByteSize = ByteSize::mib(16);

/// What the log of an idle volume takes on disk, as far as the smallest segments allow.
pub const IDLE_LOG: ByteSize = ByteSize::mib(64);

/// Unit that segments are made of: a block.
pub const SEGMENT_UNIT: ByteSize = ByteSize(wal::BLOCK_BYTES as u64);

/// Segments of each core that a log must have room for: one that fills, one that is being sealed,
/// one that is recycled, and one to spare.
pub const MIN_SEGMENTS_PER_CORE: u64 = 4;

/// Smallest log unless told otherwise.
pub const MIN_DEFAULT_WAL: ByteSize = ByteSize::mib(256);

/// Largest log unless told otherwise.
pub const MAX_DEFAULT_WAL: ByteSize = ByteSize::gib(4);

/// Part of the free disk that the log of one volume takes unless told otherwise.
pub const DEFAULT_WAL_DIVISOR: u64 = 10;

/// Largest log: a cut may have all of it, and a manifest can name twice as many chunks. The smallest one of
/// many cores with large segments may be larger.
pub const MAX_WAL: ByteSize = ByteSize::gib(64);

/// Part of the free disk that the cache of a remote store takes unless told otherwise.
pub const DISK_CACHE_DIVISOR: u64 = 10;

/// Largest cache on the disk unless told otherwise.
pub const MAX_DEFAULT_DISK_CACHE: ByteSize = ByteSize::gib(8);

/// Bytes of the cache on the disk for each byte of memory, at most: its table takes about 100 bytes
/// for each 128 KiB, so a twentieth of the memory.
pub const DISK_CACHE_PER_MEMORY: u64 = 64;

/// Longest time that what is not used may be said to stay in the cache on the disk.
pub const MAX_CACHE_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// Most volumes that may be pinned in that cache: they are looked up at the start, and compared at
/// each eviction.
pub const MAX_PINNED: usize = 64;

/// Longest time that an acknowledged write may be missing from the object store.
pub const MAX_RPO_SECONDS: u64 = 24 * 3600;

/// That time unless told otherwise.
pub const DEFAULT_RPO_SECONDS: u64 = 10;

/// Fewest dirty bytes that start an upload: one chunk.
pub const MIN_RPO_BYTES: ByteSize = ByteSize::mib(4);

/// Dirty bytes that start an upload to a bucket unless told otherwise: what is promised of the loss
/// of the local disk.
pub const DEFAULT_BUCKET_RPO_BYTES: ByteSize = ByteSize::mib(64);

/// Most listening addresses.
pub const MAX_LISTENERS: usize = 64;

/// Most volumes that are named as read-only.
pub const MAX_READ_ONLY: usize = 4096;

/// Longest wait that a command can be asked for: while it waits it takes one of the few places for
/// commands at the server.
pub const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Largest configuration file.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

const _: () = assert!(MIN_MEMORY.0 <= MAX_DEFAULT_MEMORY.0);
const _: () = assert!(MIN_DEFAULT_WAL.0 <= MAX_DEFAULT_WAL.0 && MAX_DEFAULT_WAL.0 <= MAX_WAL.0);
const _: () = assert!(MIN_SEGMENT.0.is_multiple_of(SEGMENT_UNIT.0));
const _: () = assert!(
    2 * MAX_WAL.0 <= (chunk::limits::MAX_UNFOLDED_CHUNKS as u64) << 22,
    "a manifest can name the chunks of two cuts that have all of a log"
);
const _: () = assert!(MAX_CORES <= chunk::limits::MAX_SHARDS, "a core is a shard of each volume");

/// Least grace before garbage is removed, in seconds: longer than a read or an upload takes.
pub const MIN_GC_GRACE_SECONDS: u64 = 40;

/// Longest such grace: a week.
pub const MAX_GC_GRACE_SECONDS: u64 = 7 * 24 * 3600;

/// The grace unless somebody says otherwise.
pub const DEFAULT_GC_GRACE_SECONDS: u64 = 60;

const _: () = assert!(MIN_GC_GRACE_SECONDS > crate::engine::limits::READ_TIMEOUT.as_secs());

/// Memory below which uploads begin the sooner.
pub const SHORT_MEMORY: ByteSize = ByteSize::gib(2);
