//! Every bound of the engine, with the reason for its size.

use chunk::Compression;
use chunk::limits::{MAX_PAYLOAD_BLOCKS, MAX_UNFOLDED_CHUNKS};
use std::time::Duration;
use wal::BLOCK_BYTES;
use wal::limits::ENTRY_MAX_BLOCKS;

use super::chunk_cache::CacheSize;

/// Blocks of one slab of the memory cache: 2 MiB, so that memory grows in steps that the
/// allocator maps and a small cache stays small.
pub const CACHE_SLAB_BLOCKS: usize = 512;

/// Slabs that are made before a memory cache that grows needs them: 8 MiB, what is written while
/// the next ones are made.
pub const CACHE_SPARE_SLABS: usize = 4;

/// Largest append buffer: one write of 1 MiB keeps a fast disk busy and is filled by one client
/// request of the usual largest size.
pub const BATCH_BYTES: usize = 1 << 20;

/// Smallest append buffer, unless the segment has less left.
pub const BATCH_MIN_BYTES: usize = 128 << 10;

/// Blocks that a segment must have left to take another buffer: a header and the largest entry.
pub const ROLL_BLOCKS: u32 = 1 + ENTRY_MAX_BLOCKS;

/// Filled append buffers that may wait for the disk, per shard of a volume.
pub const BATCHES_WAITING: usize = 4;

/// Blocks of an append that is synced by the same request, header included: what a few clients write
/// who flush each write.
pub const LONE_BLOCKS: u32 = 64;

/// Append buffers under way to the disk at a time, per shard of a volume: a core that is busy with
/// the next writes notices late that one has ended, and meanwhile the disk has the others.
pub const APPENDS_UNDER_WAY: usize = 3;

/// Bytes that a shard copies before it lets other tasks of its core run. 1 MiB takes about
/// 150 µs, copies and checksums included: the longest that a small request waits for a large one.
pub const COPY_QUANTUM_BYTES: usize = 1 << 20;

/// Bytes that sealing handles between two pauses (about 100 µs): under load a pause is as
/// long as the next writes take, and what is sealed slowly has to be logged meanwhile.
pub const SEAL_SLICE_BYTES: usize = 512 << 10;

/// The pause while a cut is brought to the log to be named: somebody waits for that, and the disk
/// is one. Not so long that writers take sealing for one that stands, see [`PACE_STANDSTILL`].
pub const SEAL_REST: Duration = Duration::from_millis(5);

/// The same in blocks.
pub const SEAL_SLICE_BLOCKS: u64 = (SEAL_SLICE_BYTES / wal::BLOCK_BYTES) as u64;

/// Runs of a cut that are packed together. The log entries among them that memory has not got any
/// more are read at a time, for which a disk wants many requests...
pub const SEAL_READS: usize = 64;

/// ...and blocks that they have at most, unless the first one has more: 512 KiB, beside each chunk that
/// is being built.
pub const SEAL_READ_BLOCKS: u64 = 128;

/// Map pages that folding reads at a time: each comes by a request of its own.
pub const FOLD_READS: usize = 16;

/// Map pages that are folded between two pauses (about 50 us each).
pub const FOLD_SLICE_PAGES: usize = 4;

/// Map operations between two pauses (about 100 ns each).
pub const MAP_SLICE_ENTRIES: usize = 256;

/// Map entries that counting looks at between two pauses (about 10 ns each).
pub const COUNT_SLICE_ENTRIES: usize = 4096;

/// Capacity of one ring of the mesh, in messages. A core may have half as many calls under way at
/// another, so that answers always find room and two cores never wait for each other's ring.
pub const RING_MESSAGES: usize = 2048;

/// Segments that are made ready ahead of a stream of writes, at most.
pub const SPARES_MOST: usize = 4;

/// Bytes of log files that one shard of a volume pre-writes with zeros; the rest of its cap is
/// only reserved, when a stream of writes needs it.
pub const WRITTEN_LOG_BYTES: u64 = 64 << 20;

/// With fewer blocks than these from one sync to the next, a log is mostly flushed: the metadata
/// that go with the first write to a reserved block would cost more than to write zeros before.
pub const FLUSHED_BLOCKS: u32 = 64;

/// What a write waits when all of the log is waiting for a cut, and a part of that when most of it
/// is: the upload shall catch up before the log is full and writers stop altogether.
pub const SLOW_WRITE: Duration = Duration::from_millis(1);

/// Pause before a log looks again whether a full disk has space: long beside a write, short for
/// somebody who waits.
pub const SPACE_PAUSE: Duration = Duration::from_secs(1);

/// Time between two lines that tell of a full disk.
pub const TELL_FULL: Duration = Duration::from_secs(60);

/// Pause between two looks of a full log at whether its disk still lives: as long as somebody may
/// wait for nothing.
pub const LIFE_PAUSE: Duration = Duration::from_secs(1);

/// Longest time that appended data stays unsynced, and a synced log without a mark while nothing
/// more comes; and most unsynced bytes per shard. A sync makes
/// the device write out everything, so a short bound on bytes would hold every stream of writes to
/// what the medium takes, which nobody asked for who does not flush.
pub const UNSYNCED_AGE: Duration = Duration::from_secs(5);
/// See [`UNSYNCED_AGE`].
pub const UNSYNCED_BYTES: u64 = 512 << 20;

/// Somebody looks that often at what is in memory only...
pub const UNLOGGED_LOOK: Duration = Duration::from_millis(200);

/// ...and nothing is there at so many looks, or else goes to the log: the longest time that a write
/// stays in memory only, with the sync that follows, is [`UNSYNCED_AGE`]. Before that, much of it is
/// better cut.
pub const UNLOGGED_LOOKS: u32 = 24;

/// Looks that are left to such a cut, at least and at most: what is written while it is made is that
/// old when it ends, and has to be cut in time as well.
pub const CUT_LOOKS_LEAST: u32 = 6;
/// See [`CUT_LOOKS_LEAST`].
pub const CUT_LOOKS_MOST: u32 = 14;

const _: () = assert!(CUT_LOOKS_LEAST <= CUT_LOOKS_MOST && CUT_LOOKS_MOST < UNLOGGED_LOOKS);

/// Time in which a cut should be packed, so that two of them, one after the other and with their
/// manifests, are in time for [`UNSYNCED_AGE`].
pub const PACE_CUT: Duration = Duration::from_millis(1500);

/// Longest standstill of sealing for which writers wait.
pub const PACE_STANDSTILL: Duration = Duration::from_millis(500);

/// Pause between two looks of a writer that waits for memory whether that is worth it.
pub const PACE_LOOK: Duration = Duration::from_millis(50);

const _: () = assert!(
    UNLOGGED_LOOK.as_millis() as u64 * (UNLOGGED_LOOKS as u64) < UNSYNCED_AGE.as_millis() as u64
);

/// After this a deletion of a snapshot that stands in the way of one of its name was cut off: none takes
/// so long.
pub const DELETION_ENDS: Duration = Duration::from_secs(30);

/// Snapshots of a volume that are on their way to the store at most; whoever wants one more waits.
pub const NAMED_CUTS: usize = 16;

/// Blocks that go from memory to the log between two pauses (about 50 us).
pub const POUR_BLOCKS: u64 = 64;

/// The same, for a cut that was named: whoever asked waits for all of it, behind the requests of each
/// pause (about 300 us), and sealing takes a rest, see [`SEAL_REST`].
pub const NAME_BLOCKS: u64 = 256;

/// Blocks that are let go, as a cut that has them is published, between two pauses (about 50 us).
pub const SETTLE_BLOCKS: u64 = 512;

/// First and longest pause between tries of an upload that failed.
pub const RETRY_FIRST: Duration = Duration::from_millis(50);
/// See [`RETRY_FIRST`].
pub const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// Times that a manifest is put before its writer looks whether the volume still lives.
pub const PUBLISH_TRIES: u32 = 8;

/// Times that an opening starts anew because a publication came in between: a host that has the
/// volume and is busy publishes again and again, and wins every second race.
pub const CLAIM_TRIES: u32 = 16;

/// Longest time that a read waits for a failing store (P5 of the promises).
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Whoever waits for the end of a lease waits this part of it longer: clocks of two hosts run
/// differently by far less than a sixteenth.
pub const LEASE_MARGIN: u32 = 16;

/// Parts of one read, each at most a stripe, that other cores hold in memory for it at a time.
pub const READS_AHEAD: usize = 2;

/// Most bytes that those parts take, beside the memory of the read itself.
pub const READ_AHEAD_BYTES: usize = READS_AHEAD * (BLOCK_BYTES << wal::layout::MIN_STRIPE_SHIFT);

/// Blocks that one read of the store returns at most: 1 MiB.
pub const FETCH_BLOCKS: u64 = 256;

/// Pieces of one request that are fetched at a time.
pub const FETCHES_PER_REQUEST: usize = 16;

/// Chunk indexes and directory segments that an opening reads at a time: it waits for the latency
/// of a far store now and then, not once for each.
pub const OPENING_READS: usize = 32;

/// Bytes that one core fetches at a time at least, beside the memory of the reads themselves; the
/// last piece may go beyond, and each request may always fetch one.
pub const FETCH_WINDOW_LEAST: usize = 1 << 20;

/// Payload blocks between two wanted ones of a chunk that are read along rather than asking twice:
/// 64 KiB take less time than one more request, on a local disk as from a remote store.
pub const FETCH_GAP_BLOCKS: u32 = 16;

/// Chunks whose frames one core knows, over all volumes; for others it reads the header again. Each
/// takes 300 bytes, and lets 4 MiB be read without a request more.
pub const FRAME_TABLES: usize = 8192;

/// Frames that a core decompresses by itself, for a read that somebody waits for: 40 µs each.
pub const FRAMES_AT_ONCE: u32 = 1;

/// Payload blocks that are decompressed at a time for the cache on the disk: as many as it writes
/// together.
pub const KEEP_BLOCKS: u32 = FILL_SLOTS as u32 * super::chunk_cache::SLOT_BLOCKS;

/// Streams of sequential reads that a shard of a volume follows: as many as the guest's programs
/// that read large files at a time.
pub const STREAMS: usize = 4;

/// Reads of other places after which a stream counts as ended.
pub const STREAM_AGE: u64 = 256;

/// Blocks that are read ahead at first, once a read goes on where another one ended: 128 KiB.
pub const READ_AHEAD_FIRST: u64 = 32;

/// Most blocks that are read ahead of one stream: 32 MiB, which from a store that takes 30 ms for
/// each answer are 1 GiB/s.
pub const READ_AHEAD_MOST: u64 = 8192;

/// Reads of the store that one core's cache on disk writes down at a time; what else comes
/// meanwhile is not kept. Each holds 1 MiB at most, an upload what it holds anyway.
pub const FILLS_UNDER_WAY: usize = 8;

/// Slots of that cache that one write fills at most, if they lie side by side: 512 KiB.
pub const FILL_SLOTS: usize = 4;

/// Slots that may not be reused that the search for one passes: more than reads and writes are
/// under way. Those of pinned volumes it does not meet again soon.
pub const PINNED_SLOTS_PASSED: usize = 1024;

/// Looks at the cache on the disk in the time that what is not used may stay there.
pub const CACHE_AGES: u8 = 8;

/// Slots of it that one of these looks counts between two pauses (about 5 ns each).
pub const AGE_SLICE_SLOTS: u32 = 4096;

/// A call that takes longer counts as slow.
pub const SLOW_CALL: Duration = Duration::from_secs(2);

/// Newest calls that tell how the store is doing.
pub const HEALTH_CALLS: u32 = 16;

/// Bad ones among them that make it slow.
pub const SLOW_AMONG: u32 = 4;

/// Failures in a row that make it down.
pub const DOWN_AFTER: u32 = 3;

/// Share of what is stored in chunks that is needed, in percent, below which chunks are compacted...
pub const COMPACT_BELOW_PERCENT: u64 = 70;

/// ...until it is so much.
pub const COMPACT_UP_TO_PERCENT: u64 = 75;

/// Chunks of each shard that a clone copies of what it has inherited before a cut may come in between.
pub const FLATTEN_CHUNKS: u64 = 4;

/// Chunks whose blocks move between two cuts: a cut waits for so many at most.
pub const COMPACT_AT_A_TIME: usize = 8;

/// Objects that are removed at a time.
pub const DELETES_AT_A_TIME: usize = 16;

/// Manifests kept: enough for a reader that listed the newest one to read it.
pub const MANIFESTS_KEPT: u64 = 4;

/// Runs that one block-status answer of a shard holds.
pub const STATUS_RUNS: usize = 4096;

/// Blocks that one block-status request walks at most (64 GiB).
pub const STATUS_BLOCKS: u64 = 1 << 24;

const _: () = assert!(BATCH_MIN_BYTES >= ROLL_BLOCKS as usize * BLOCK_BYTES);
const _: () = assert!(BATCH_BYTES >= BATCH_MIN_BYTES);
const _: () = assert!(FETCH_BLOCKS.is_multiple_of(super::chunk_cache::SLOT_BLOCKS as u64));
const _: () = assert!(READ_AHEAD_FIRST <= READ_AHEAD_MOST);
const _: () = assert!(SLOW_AMONG <= HEALTH_CALLS && HEALTH_CALLS < u32::BITS);

/// What an operator may set, resolved; see `krait config explain` for where each comes from.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Blocks of the memory cache of one core.
    pub cache_blocks: u32,
    /// Blocks of that cache that may be in no log yet, at most [`super::cache::most_held`]; 0: each
    /// write is logged at once.
    pub unlogged_blocks: u32,
    /// Blocks in memory only that are better cut than logged: fewer do not pay for the objects.
    pub cut_unlogged_blocks: u64,
    /// Blocks that must be packed in a second to make it worth to wait for memory. What is slower than
    /// that is a store behind a network, beside which a log takes a burst at no harm.
    pub pace_least: u64,
    /// Writes stay in memory when nobody has flushed for so long: who flushes is served faster when
    /// the disk has them already.
    pub absorb_after: Duration,
    /// Map pages that one shard of a volume keeps decoded.
    pub map_pages: usize,
    /// Blocks of one WAL segment file.
    pub segment_blocks: u32,
    /// Segment files of one shard of a volume: the cap of the WAL.
    pub segments: u32,
    /// Segment files that an idle shard keeps for reuse.
    pub idle_segments: usize,
    /// A cut is made when this many bytes were logged since the last one ...
    pub rpo_bytes: u64,
    /// ... or the oldest of them is this old.
    pub rpo_age: Duration,
    /// Unfolded chunks that make a fold due.
    pub fold_chunks: usize,
    /// Most of them, whatever happens: 32,768, less only in tests.
    pub unfolded_chunks: usize,
    /// Payload blocks of a full chunk.
    pub chunk_blocks: u32,
    /// Objects that one core builds and uploads at a time, over all its volumes.
    pub uploads: usize,
    /// Blocks that one core reads ahead at a time, over all streams; 0 switches that off.
    pub read_ahead_blocks: u64,
    /// Bytes that one core fetches at a time, over all requests; see [`FETCH_WINDOW_LEAST`].
    pub fetch_bytes: usize,
    /// The cache of one core on the local disk.
    pub disk_cache: CacheSize,
    /// How long what is not used stays there; `None`: until its room is wanted.
    pub cache_ttl: Option<Duration>,
    /// How long something must have been unneeded before it is removed, and the pause between two
    /// passes of the collector. Longer than a read takes: [`READ_TIMEOUT`].
    pub gc_grace: Duration,
    /// Bytes that must have been written since a pass before there is another one.
    pub gc_after_bytes: u64,
    /// ...and this part of what is stored: one in so many bytes.
    pub gc_share: u64,
    /// Bytes that one pass moves at most, and the blocks of one chunk.
    pub gc_pass_bytes: u64,
    /// How what goes to the store is compressed.
    pub compression: Compression,
    /// Messages that a ring between two cores holds.
    pub ring_messages: usize,
}

impl Tuning {
    /// Segment files of one shard that are pre-written.
    #[must_use]
    pub fn written_segments(&self) -> usize {
        let segment = u64::from(self.segment_blocks) * BLOCK_BYTES as u64;
        (WRITTEN_LOG_BYTES / segment).max(1) as usize
    }

    /// Logged bytes that make a cut due: never more than half of what one shard's log takes, so
    /// that a cut is under way before writers have to wait.
    #[must_use]
    pub fn cut_bytes(&self) -> u64 {
        let shard = u64::from(self.segments) * u64::from(self.segment_blocks) * BLOCK_BYTES as u64;
        self.rpo_bytes.min(shard / 2)
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            cache_blocks: 16_384,
            unlogged_blocks: 0,
            cut_unlogged_blocks: (64 << 20) / BLOCK_BYTES as u64,
            pace_least: 300_000_000 / BLOCK_BYTES as u64,
            absorb_after: Duration::from_millis(200),
            map_pages: 1024,
            segment_blocks: 4096,
            segments: 32,
            idle_segments: 0,
            rpo_bytes: 64 << 20,
            rpo_age: Duration::from_secs(10),
            fold_chunks: 128,
            unfolded_chunks: MAX_UNFOLDED_CHUNKS,
            chunk_blocks: MAX_PAYLOAD_BLOCKS,
            uploads: 8,
            read_ahead_blocks: 0,
            fetch_bytes: FETCH_WINDOW_LEAST,
            disk_cache: CacheSize::default(),
            cache_ttl: None,
            gc_grace: Duration::from_secs(60),
            gc_after_bytes: 256 << 20,
            gc_share: 8,
            gc_pass_bytes: 256 << 20,
            compression: Compression::None,
            ring_messages: RING_MESSAGES,
        }
    }
}
