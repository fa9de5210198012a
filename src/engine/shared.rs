//! What the cores of one open volume share: a few atomics, no locks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chunk::{ChunkId, ChunkIndex, Compression, Durability, Lineage, Manifest};
use wal::{BLOCK_BYTES, Epoch, Incarnation, Layout, Lsn, ShardId, VolumeId};

use super::error::VolumeError;
use super::lease::Lease;

/// Stands in an epoch while it ends together with those of other volumes.
const ENDING: u64 = 1 << 63;

/// Looks at an epoch that is ending, before another thread may have the core.
const ENDING_SPINS: u32 = 1000;

/// Positions of one shard's log, written by the shard, read by all.
#[derive(Default)]
struct Positions {
    /// Newest record with an acknowledged write in it.
    accepted: AtomicU64,
    /// Newest record that is durable.
    durable: AtomicU64,
    /// Whether acknowledged writes are in no record yet.
    unlogged: AtomicBool,
}

/// What of a shard is to become durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsynced {
    /// The log up to a position.
    UpTo(Lsn),
    /// Everything: some of it is in memory only. Who asked for the rest may find that another flush
    /// has brought that to the log meanwhile, and must wait for it all the same.
    All,
}

/// One opening of a volume for writing, as all its cores see it.
pub struct Shared {
    /// The volume; of an open snapshot, the snapshot.
    pub volume: VolumeId,
    /// Whose objects those are that its map refers to.
    pub lineage: Lineage,
    /// Whether it is a snapshot: never written, without a log, a coordinator and a host.
    pub is_view: bool,
    /// How its blocks are dealt.
    pub layout: Layout,
    size_bytes: AtomicU64,
    /// Fencing number of this opening.
    pub incarnation: Incarnation,
    /// Drawn for this opening, part of every record.
    pub salt: u64,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Chunks of this incarnation and later ones may be compressed.
    pub compressed_since: Option<Incarnation>,
    /// What a flush needs besides.
    pub lease: Lease,
    /// Bytes of blocks that were sealed by this opening, and what they take in the store.
    sealed_bytes: AtomicU64,
    stored_bytes: AtomicU64,
    epoch: AtomicU64,
    positions: Vec<Positions>,
    /// Bytes logged since the last cut, over all shards.
    dirty_bytes: AtomicU64,
    dirty_noted: AtomicBool,
    /// Bytes that were replaced in memory, before the log had them.
    replaced_bytes: AtomicU64,
    /// When somebody flushed last, in nanoseconds of the clock; 0: never.
    flushed_at: AtomicU64,
    poison: OnceLock<VolumeError>,
}

impl Shared {
    /// State of a volume just opened by publishing `manifest`; the first record gets `epoch`.
    #[must_use]
    pub fn new(manifest: &Manifest, layout: Layout, lease: Lease, epoch: Epoch) -> Self {
        Self {
            volume: manifest.volume,
            lineage: manifest.lineage(),
            is_view: false,
            layout,
            size_bytes: AtomicU64::new(manifest.size_bytes),
            incarnation: manifest.incarnation,
            salt: manifest.salt,
            durability: manifest.promises.durability,
            compressed_since: manifest.compressed_since,
            lease,
            sealed_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            epoch: AtomicU64::new(epoch.0),
            positions: (0..layout.shards()).map(|_| Positions::default()).collect(),
            dirty_bytes: AtomicU64::new(0),
            dirty_noted: AtomicBool::new(false),
            replaced_bytes: AtomicU64::new(0),
            flushed_at: AtomicU64::new(0),
            poison: OnceLock::new(),
        }
    }

    /// The same, as a snapshot of this identity that is only read.
    #[must_use]
    pub fn as_view(self, snapshot: VolumeId) -> Self {
        Self { volume: snapshot, is_view: true, durability: Durability::Writeback, ..self }
    }

    /// The same, if this opening may compress what it writes.
    #[must_use]
    pub fn compressing(self, compression: Compression) -> Self {
        let own = match compression {
            Compression::None => None,
            Compression::Lz4 => Some(self.incarnation),
        };
        Self { compressed_since: self.compressed_since.or(own), ..self }
    }

    /// Whether the blocks of a chunk may be compressed.
    pub fn may_be_compressed(&self, chunk: ChunkId) -> bool {
        self.compressed_since.is_some_and(|since| chunk.incarnation() >= since)
    }

    /// Counts a chunk that was sealed.
    pub fn note_sealed(&self, index: &ChunkIndex) {
        let blocks = u64::from(index.payload_blocks()) * BLOCK_BYTES as u64;
        self.sealed_bytes.fetch_add(blocks, Ordering::Relaxed);
        self.stored_bytes.fetch_add(index.frames().stored_bytes().into(), Ordering::Relaxed);
    }

    /// Bytes of blocks that were sealed by this opening, and what they take in the store.
    pub fn sealed(&self) -> (u64, u64) {
        let load = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed);
        (load(&self.sealed_bytes), load(&self.stored_bytes))
    }

    /// Bytes that a client sees which connects now. Grows at any time; shrinks only while nobody
    /// uses the volume.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    /// Called when a manifest with this size is published.
    pub(super) fn resized(&self, bytes: u64) {
        self.size_bytes.store(bytes, Ordering::Release);
    }

    /// The epoch to stamp on a write about to be acknowledged. One atomic orders all shards: a
    /// write sent after another was acknowledged, on whatever core, reads no lower epoch.
    pub fn epoch(&self) -> Epoch {
        let epoch = self.epoch.load(Ordering::SeqCst);
        if epoch & ENDING == 0 { Epoch(epoch) } else { self.epoch_that_comes() }
    }

    /// The mark stands for as long as a few stores take, if the system lets them.
    #[cold]
    fn epoch_that_comes(&self) -> Epoch {
        loop {
            for _ in 0..ENDING_SPINS {
                let epoch = self.epoch.load(Ordering::SeqCst);
                if epoch & ENDING == 0 {
                    return Epoch(epoch);
                }
                std::hint::spin_loop();
            }
            std::thread::yield_now();
        }
    }

    /// Ends the epochs of several volumes as one: no write reads its epoch after the end of one of
    /// them and before that of another. None of them may be there twice. Returns the epochs.
    pub(super) fn end_epochs(volumes: &[&Self]) -> Vec<Epoch> {
        for volume in volumes {
            let before = volume.epoch.fetch_or(ENDING, Ordering::SeqCst);
            assert_eq!(before & ENDING, 0, "one end at a time");
        }
        let end = |volume: &&Self| {
            let ended = volume.epoch.load(Ordering::SeqCst) & !ENDING;
            volume.epoch.store(ended + 1, Ordering::SeqCst);
            Epoch(ended)
        };
        volumes.iter().map(end).collect()
    }

    /// Starts the next epoch; returns the one that ended, which names the cut.
    pub fn end_epoch(&self) -> Epoch {
        loop {
            let Epoch(ending) = self.epoch();
            let (order, other) = (Ordering::SeqCst, Ordering::SeqCst);
            if self.epoch.compare_exchange(ending, ending + 1, order, other).is_ok() {
                return Epoch(ending);
            }
        }
    }

    /// Called by a shard before it acknowledges what record `lsn` holds.
    pub fn accepted(&self, shard: ShardId, lsn: Lsn) {
        self.positions[usize::from(shard.0)].accepted.store(lsn.0, Ordering::Release);
    }

    /// The newest record of a shard with something in it; marks have nothing.
    pub fn newest_entry(&self, shard: ShardId) -> Lsn {
        Lsn(self.positions[usize::from(shard.0)].accepted.load(Ordering::Acquire))
    }

    /// Called by a shard when a sync that covers `lsn` ended well.
    pub fn synced(&self, shard: ShardId, lsn: Lsn) {
        self.positions[usize::from(shard.0)].durable.store(lsn.0, Ordering::Release);
    }

    /// Called by a shard before it acknowledges a write that is in memory only, and when there is
    /// none any more.
    pub fn note_unlogged(&self, shard: ShardId, some: bool) {
        self.positions[usize::from(shard.0)].unlogged.store(some, Ordering::Release);
    }

    /// What a flush must wait for, if the shard holds anything not yet durable.
    pub fn unsynced(&self, shard: ShardId) -> Option<Unsynced> {
        let positions = &self.positions[usize::from(shard.0)];
        // First this: what leaves memory is in a record before.
        if positions.unlogged.load(Ordering::Acquire) {
            return Some(Unsynced::All);
        }
        let accepted = positions.accepted.load(Ordering::Acquire);
        let durable = positions.durable.load(Ordering::Acquire);
        (accepted > durable).then_some(Unsynced::UpTo(Lsn(accepted)))
    }

    /// Counts what was replaced before the log had it: written, and dirty only once.
    pub fn note_replaced(&self, bytes: u64) {
        if bytes > 0 {
            self.replaced_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Bytes counted so.
    pub fn replaced_bytes(&self) -> u64 {
        self.replaced_bytes.load(Ordering::Relaxed)
    }

    /// Takes note of a flush.
    pub fn note_flush(&self, now: Duration) {
        self.flushed_at.store(now.as_nanos() as u64, Ordering::Relaxed);
    }

    /// When somebody flushed last.
    pub fn flushed_at(&self) -> Option<Duration> {
        let at = self.flushed_at.load(Ordering::Relaxed);
        (at > 0).then_some(Duration::from_nanos(at))
    }

    /// Counts logged bytes; true when the coordinator must hear of it: the first since a cut, or
    /// the one that crosses `limit`.
    pub fn add_dirty(&self, bytes: u64, limit: u64) -> bool {
        let before = self.dirty_bytes.fetch_add(bytes, Ordering::Relaxed);
        let crossed = before < limit && before + bytes >= limit;
        crossed || !self.dirty_noted.swap(true, Ordering::Relaxed)
    }

    /// Bytes logged since the last cut began.
    pub fn dirty_bytes(&self) -> u64 {
        self.dirty_bytes.load(Ordering::Relaxed)
    }

    /// Called as a cut begins: what follows is counted anew. Returns what was counted.
    pub fn reset_dirty(&self) -> u64 {
        self.dirty_noted.store(false, Ordering::Relaxed);
        self.dirty_bytes.swap(0, Ordering::Relaxed)
    }

    /// Stops the volume for good; the first cause stays.
    pub fn poison(&self, cause: VolumeError) {
        let cause = match cause {
            stopped @ (VolumeError::Poisoned { .. } | VolumeError::Fenced { .. }) => stopped,
            other => {
                VolumeError::Poisoned { volume: self.volume.to_string(), cause: other.to_string() }
            }
        };
        // A second cause adds nothing: the volume is stopped already.
        let _ = self.poison.set(cause);
    }

    /// Fails if the volume is stopped.
    ///
    /// # Errors
    /// The first cause, as [`VolumeError::Poisoned`] or [`VolumeError::Fenced`].
    pub fn alive(&self) -> Result<(), VolumeError> {
        self.poison.get().map_or(Ok(()), |cause| Err(cause.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use chunk::catalog::NewVolume;
    use chunk::{Fencing, MemoryStore, Promises, VolumeName, catalog};

    use super::*;

    fn shared() -> Shared {
        let new = NewVolume {
            name: VolumeName::new("vm").unwrap(),
            id: VolumeId([7; 16]),
            size_bytes: 1 << 30,
            stripe_shift: 10,
            promises: Promises::default(),
            created_unix_ms: 0,
        };
        let store = MemoryStore::new();
        let manifest = futures_lite::future::block_on(catalog::create(&store, new)).unwrap();
        let lease = Lease::new(Fencing::Contact, Duration::ZERO);
        Shared::new(&manifest, Layout::new(10, 1).unwrap(), lease, Epoch(1))
    }

    /// A client that reads the epoch of one volume, then that of another one, never sees the first one
    /// after its end and the second one before.
    #[test]
    fn epochs_that_end_as_one_are_seen_to() {
        const ENDS: u64 = 20_000;
        let volumes = Arc::new([shared(), shared()]);
        let seen = volumes.clone();
        let reader = std::thread::Builder::new().spawn(move || {
            loop {
                let [first, second] = [&seen[0], &seen[1]].map(Shared::epoch);
                assert!(second >= first, "{first:?} {second:?}");
                let [second, first] = [&seen[1], &seen[0]].map(Shared::epoch);
                assert!(first >= second, "{first:?} {second:?}");
                if first.0 > ENDS {
                    return;
                }
            }
        });
        for _ in 0..ENDS {
            Shared::end_epochs(&[&volumes[0], &volumes[1]]);
        }
        reader.unwrap().join().expect("each pair of epochs is right");
    }
}
