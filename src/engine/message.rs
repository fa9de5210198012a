//! What cores say to each other. All of it owned data: nothing is shared but [`Shared`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunk::{ChunkBuilder, ChunkId, ChunkIndex, PageIndex, PageRef, Snapshot, SnapshotHeader};
use wal::{Epoch, HoleKind, Lsn, ShardRun, VolumeId};

use super::cache::VolumeNo;
use super::chunk_cache::CacheCounts;
use super::error::VolumeError;
use super::fetch_health::StoreState;
use super::flatten::{Flattened, Flattening};
use super::recovered::RecoveredShard;
use super::resize::Resize;
use super::sealed::PageNo;
use super::shared::{Shared, Unsynced};
use super::snapshot::NewSnapshot;

/// Bytes `[at, at + len)` in the address space of one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardBytes {
    /// First byte.
    pub at: u64,
    /// Number of bytes, at least 1.
    pub len: usize,
}

impl ShardBytes {
    /// The byte after the last one.
    #[must_use]
    pub fn end(self) -> u64 {
        self.at + self.len as u64
    }
}

/// What a run of blocks holds, as a client may know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Data.
    Data,
    /// Zeros that the client wrote.
    Zero,
    /// Nothing was ever written, or it was trimmed: reads as zeros.
    Hole,
}

/// A run of one status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StatusRun {
    /// The blocks.
    pub run: ShardRun,
    /// What they hold.
    pub status: Status,
}

/// What one shard of a volume is to do.
pub enum ShardAsk {
    /// Write bytes, any alignment.
    Write {
        /// Where; as long as `data`.
        at: u64,
        /// The content.
        data: Bytes,
    },
    /// Read bytes, any alignment.
    Read(ShardBytes),
    /// Make whole blocks read as zeros.
    Punch {
        /// The blocks.
        run: ShardRun,
        /// Written zeros or a hole.
        kind: HoleKind,
    },
    /// Answer when this is durable.
    Sync(Unsynced),
    /// Tell what a run holds, from its start, in at most [`super::limits::STATUS_RUNS`] runs.
    Status(ShardRun),
    /// Make the cut: freeze what belongs to `epoch` or an older one, seal it, upload full chunks.
    Seal(Epoch),
    /// Make durable in the log what belongs to `epoch` or an older one.
    LogCut(Epoch),
    /// A manifest with these chunks is durable; that of this cut, which was sealed last, if it is one.
    Published(Arc<Vec<ChunkIndex>>, Option<EndedCut>),
    /// Pack again what is still needed of these chunks, for a manifest of this cut.
    Compact(Arc<Vec<ChunkIndex>>, Epoch),
    /// Pack again what pages from this one on have of other volumes, for a manifest of this cut.
    Inherited(PageNo, Epoch),
    /// Write the delta of the map into pages.
    Fold,
    /// The manifest that names the folded pages is durable.
    Folded,
    /// Count what the shard holds.
    Count,
    /// The volume is stopped: whoever waits for the log is to look again.
    Stopped,
    /// Stop all tasks of the shard. What is not durable stays so.
    Close,
}

/// A question from one core to another.
pub enum Ask {
    /// For a shard of an open volume.
    Shard(VolumeNo, ShardAsk),
    /// Open the shard of a volume; the volume itself is being opened by the asking core.
    OpenShard(Box<OpenShard>),
    /// For the registry: open a volume, if it is not open yet.
    Open(VolumeId, Reason),
    /// For the home of a volume: open it under this number.
    OpenAs(VolumeNo, VolumeId, Reason),
    /// For the home of a volume: publish all that is acknowledged.
    Drain(VolumeNo),
    /// For the home of a volume: make a snapshot of it.
    Snapshot(VolumeNo, Box<NewSnapshot>),
    /// For the home of a volume: publish that it has another size, see [`super::resize`].
    Resize(VolumeNo, Resize),
    /// For the home of a volume: which snapshots are on their way to the store?
    Coming(VolumeNo),
    /// For the registry: answer when all snapshots made of a volume by now are in the store.
    SettleVolume(VolumeId),
    /// For the home of a volume: the same.
    Settle(VolumeNo),
    /// For the home of a volume: begin no cut until this snapshot has its own; see
    /// [`super::group`].
    Hold(VolumeNo, Box<NewSnapshot>),
    /// For the home of a volume: make the cut of this epoch, which ended meanwhile, that snapshot.
    NameCut(VolumeNo, Epoch, Box<NewSnapshot>),
    /// For the home of a volume: there is none.
    LetGo(VolumeNo),
    /// For the home of a volume: delete a snapshot of a group that is not complete.
    TakeBack(VolumeNo, Box<SnapshotHeader>),
    /// For the registry: open a snapshot for reading, if it is not open yet.
    View(Arc<Snapshot>),
    /// For the home of a snapshot: open it under this number.
    ViewAs(VolumeNo, Arc<Snapshot>),
    /// For the home of a volume: see to it that this host still has it.
    Renew(VolumeNo),
    /// For the home of a volume: look in the store whether this host still has it.
    Confirm(VolumeNo),
    /// For the home of a volume: one pass of its collector.
    Collect(VolumeNo),
    /// For the home of a volume: separate it from what it was cloned from.
    Flatten(VolumeNo),
    /// For the home of a volume: how far is that?
    Flattening(VolumeNo),
    /// For the home of a volume: count what it holds.
    Count(VolumeNo),
    /// For the home of a volume: publish all, then close it.
    Close(VolumeNo),
    /// Payload of a chunk that the store has: for the cache on the disk.
    Keep(Box<Kept>),
    /// The coordinator of a volume is to look whether a cut is due; at once if `urgent`.
    Dirty {
        /// The volume.
        volume: VolumeNo,
        /// A shard waits for log space.
        urgent: bool,
    },
}

/// Payload of a chunk that another core uploaded.
pub struct Kept {
    /// The chunk.
    pub chunk: super::chunk_cache::ChunkKey,
    /// Blocks of its payload that belong to the core that is asked, and some around them.
    pub payload: Bytes,
    /// The first of them.
    pub first: u32,
}

/// A cut that is at its end.
#[derive(Clone, Copy, Debug)]
pub struct EndedCut {
    /// The epoch that it ended.
    pub epoch: Epoch,
    /// Whether a manifest has its positions. One of nothing needs none, and gives no log back.
    pub is_published: bool,
}

/// Why a volume is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Somebody uses it.
    Use,
    /// Its log may hold what the store lacks. If it does not, the volume is left as it is.
    Recovery,
    /// Somebody takes it over, whichever host has it.
    TakeOver,
    /// Somebody takes it over from a host whose lease has run out, once it has.
    LeaseEnd,
}

/// All that a core needs to open its shard of a volume.
pub struct OpenShard {
    /// Number of the volume in this process.
    pub volume: VolumeNo,
    /// What the cores share.
    pub shared: Arc<Shared>,
    /// First opening of this host without another host's in between.
    pub tenure: wal::Incarnation,
    /// Indexes of the unfolded chunks, oldest first.
    pub unfolded: Arc<Vec<ChunkIndex>>,
    /// Map pages of this shard: index of the page within the volume, and where it is.
    pub pages: Vec<(PageIndex, PageRef)>,
    /// What the log held for this shard.
    pub recovered: RecoveredShard,
}

/// What one shard sealed of a cut.
pub struct Sealed {
    /// Chunks uploaded, in order.
    pub chunks: Vec<ChunkIndex>,
    /// What was too little for a chunk of its own.
    pub rest: Option<ChunkBuilder>,
    /// Newest record that the cut covers.
    pub position: Lsn,
}

/// What one shard packed of other volumes' data.
pub struct Inherited {
    /// What was packed.
    pub sealed: Sealed,
    /// The page to go on with, if there is one.
    pub next: Option<PageNo>,
    /// Pages that were looked at.
    pub looked_at: u64,
    /// Those of them that had something of others.
    pub found: u64,
    /// Pages that the shard has.
    pub pages: u64,
}

/// What one shard folded.
#[derive(Default)]
pub struct FoldedPages {
    /// New places of pages; `None`: the page is empty now.
    pub pages: Vec<(PageIndex, Option<PageRef>)>,
}

/// Byte counts of a shard of a volume.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Not in the object store, and in memory only: the log does not have it yet.
    pub dirty: u64,
    /// Not in the object store, and in the log (durable or not).
    pub logged: u64,
    /// Being sealed and uploaded.
    pub syncing: u64,
    /// In the memory cache.
    pub cached: u64,
    /// Segment files of the log, in bytes on the disk.
    pub log_files: u64,
    /// Since the volume was opened; whole blocks.
    pub written: u64,
    /// Bytes of blocks that this opening sealed, compactions included...
    pub sealed: u64,
    /// ...and what they take in the store.
    pub stored: u64,
    /// Age of the oldest write that no manifest covers, if there is one.
    pub unpublished_age: Option<Duration>,
    /// Time since this opening published what it then had.
    pub published_age: Option<Duration>,
    /// In the cache on the local disk, of all volumes.
    pub disk_cached: u64,
    /// What that cache did so far.
    pub disk_cache: CacheCounts,
    /// How the store is doing, as seen by the core that fares worst.
    pub store: StoreState,
}

impl Counts {
    /// Adds those of another shard.
    pub fn add(&mut self, other: Self) {
        self.dirty += other.dirty;
        self.logged += other.logged;
        self.syncing += other.syncing;
        self.cached += other.cached;
        self.log_files += other.log_files;
        self.written += other.written;
        self.sealed += other.sealed;
        self.stored += other.stored;
        self.unpublished_age = self.unpublished_age.max(other.unpublished_age);
        self.published_age = self.published_age.max(other.published_age);
        self.disk_cached += other.disk_cached;
        self.disk_cache.add(other.disk_cache);
        self.store = self.store.max(other.store);
    }
}

/// What a core answers.
pub enum Answer {
    /// It is done.
    Done,
    /// What was read.
    Data(Vec<u8>),
    /// What a run holds.
    Status(Vec<StatusRun>),
    /// What was sealed.
    Sealed(Sealed),
    /// What was inherited.
    Inherited(Inherited),
    /// What was folded.
    Folded(FoldedPages),
    /// The shard is closed.
    Closed {
        /// Whether manifests cover all that it logged.
        is_covered: bool,
    },
    /// What a pass of the collector found and did.
    Collected(Box<super::collect::Collected>),
    /// What a separation did.
    Flattened(Flattened),
    /// How far it is.
    Flattening(Flattening),
    /// What a shard, or a volume, holds.
    Counts(Counts),
    /// What the snapshot is that was made.
    Snapshot(Box<SnapshotHeader>),
    /// What snapshots are on their way to the store.
    Coming(Vec<SnapshotHeader>),
    /// The volume, or snapshot, is open.
    Opened(VolumeNo, Arc<Shared>),
}

/// One message on the mesh.
pub enum Wire {
    /// A question; the answer carries the same token back.
    Ask {
        /// Who asks.
        from: super::mesh::CoreId,
        /// Chosen by the asker.
        token: u32,
        /// What.
        ask: Ask,
    },
    /// The answer.
    Answer {
        /// From the question.
        token: u32,
        /// The result.
        answer: Result<Answer, VolumeError>,
    },
}

/// Sequence numbers for the object names of one shard of one opening: every `stride`-th from
/// `next`, so that shards and the coordinator never meet.
#[derive(Clone, Copy, Debug)]
pub struct ObjectIds {
    incarnation: wal::Incarnation,
    next: u64,
    stride: u64,
}

impl ObjectIds {
    /// The numbers of shard `turn` of `stride` parties.
    #[must_use]
    pub fn new(incarnation: wal::Incarnation, turn: u64, stride: u64) -> Self {
        assert!(turn < stride);
        Self { incarnation, next: turn, stride }
    }

    /// A name that no object of this volume ever had or will have again.
    pub fn draw(&mut self) -> ChunkId {
        let id = ChunkId::new(self.incarnation, self.next);
        self.next += self.stride;
        id.expect("an opening does not write 2^40 objects")
    }
}
