//! The cache of chunks on the local disk of one core: copies of what the store has, so that a
//! restart, or a working set larger than memory, does not cost a request for each read.
//!
//! Payload is kept in slots of [`SLOT_BLOCKS`] blocks, in a few large files that are made once and
//! reused for ever; a table at the head of each file says what its slots hold (see `FORMAT.md`
//! beside this file). Nothing is ever synced: after a power cut any block of table or slots may be
//! old, missing or noise. So nothing that stands here is believed: readers compare every block
//! with the checksum in the map, and what does not match is forgotten and fetched from the store.
//!
//! Nothing lives here alone. What is not yet in a published manifest is in the log, so any slot may
//! be reused at any time.

mod files;
mod fill;
mod order;
mod slots;
mod table;
mod upload;

use std::cell::{Cell, RefCell};
use std::ops::Range;

use chunk::ChunkId;
use wal::disk::{Disk, DiskFile};
use wal::{BLOCK_BYTES, VolumeId};

use super::limits::{AGE_SLICE_SLOTS, CACHE_AGES};
use super::mesh::CoreId;
use super::signal::Signal;
use files::Slab;
pub use slots::SlotKey;
use slots::Slots;

/// Blocks of one slot: 128 KiB. From a remote store a read of so much takes hardly longer than one
/// of a block, its neighbours in the chunk are neighbours in the volume or were written with it,
/// and a slot for each block would make the table as large as the maps.
pub const SLOT_BLOCKS: u32 = 32;

/// A chunk of a volume.
pub type ChunkKey = (VolumeId, ChunkId);

/// How large the cache of one core is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CacheSize {
    /// Files; 0 switches the cache off.
    pub slabs: u32,
    /// Slots of each file.
    pub slab_slots: u32,
}

impl CacheSize {
    /// Bytes that the files take when all are made.
    #[must_use]
    pub fn bytes(self) -> u64 {
        u64::from(self.slabs) * files::slab_bytes(self.slab_slots)
    }
}

/// What the cache of a core did so far.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CacheCounts {
    /// Reads that it answered.
    pub hits: u64,
    /// Reads of slots that held other bytes than the map wants, or could not be read.
    pub rejected: u64,
    /// Slots that were written, whole or in part.
    pub filled: u64,
}

impl CacheCounts {
    /// Adds those of another core.
    pub fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.rejected += other.rejected;
        self.filled += other.filled;
    }
}

/// The cache of one core.
pub struct ChunkCache<D: Disk> {
    size: CacheSize,
    core: CoreId,
    slots: RefCell<Slots>,
    slabs: RefCell<Vec<Slab<D::File>>>,
    counts: Cell<CacheCounts>,
    /// Nothing is read or filled before the files of the last run were looked at.
    is_open: Cell<bool>,
    /// A file is being made.
    grows: Cell<bool>,
    grown: Signal,
    /// The disk gave no room for another file: the cache stays as it is.
    is_stuck: Cell<bool>,
    fills: Cell<usize>,
}

/// Keeps a slot from being reused.
struct Pin<'s> {
    slots: &'s RefCell<Slots>,
    slot: u32,
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        self.slots.borrow_mut().unpin(self.slot);
    }
}

impl<D: Disk> ChunkCache<D> {
    /// A cache that holds nothing until it is opened.
    #[must_use]
    pub fn new(size: CacheSize, core: CoreId) -> Self {
        Self {
            size,
            core,
            slots: RefCell::default(),
            slabs: RefCell::default(),
            counts: Cell::default(),
            is_open: Cell::new(false),
            grows: Cell::new(false),
            grown: Signal::default(),
            is_stuck: Cell::new(false),
            fills: Cell::new(0),
        }
    }

    /// Whether there is a cache at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.size.slabs > 0
    }

    /// Reads of the store are to begin and end at multiples of so many payload blocks.
    #[must_use]
    pub fn granule(&self) -> u32 {
        if self.is_on() { SLOT_BLOCKS } else { 1 }
    }

    /// What it did so far.
    #[must_use]
    pub fn counts(&self) -> CacheCounts {
        self.counts.get()
    }

    /// Bytes of payload that it holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.slots.borrow().blocks() * BLOCK_BYTES as u64
    }

    /// Takes over what an earlier run left, and removes what does not belong to a cache of this
    /// size on this many cores.
    pub async fn open(&self, disk: &D, cores: u16) {
        self.open_files(disk, cores).await;
        self.is_open.set(true);
    }

    /// Whether a payload block of a chunk is here, and for how many blocks that answer holds,
    /// within its slot.
    #[must_use]
    pub fn look(&self, (volume, chunk): ChunkKey, block: u32) -> (bool, u32) {
        if !self.is_on() {
            return (false, u32::MAX);
        }
        let (key, within) = SlotKey::of(volume, chunk, block);
        let slots = self.slots.borrow();
        let present = slots.find(key).map_or(0, |slot| slots.present(slot)) >> within;
        let is_here = present & 1 == 1;
        let same = if is_here { present.trailing_ones() } else { present.trailing_zeros() };
        (is_here, same.min(SLOT_BLOCKS - within))
    }

    /// Reads payload blocks that lie within one slot; `None` if they are not here any more. The
    /// bytes are as they are on the disk: the caller compares checksums.
    pub async fn read(
        &self,
        (volume, chunk): ChunkKey,
        blocks: Range<u32>,
    ) -> Option<<D::File as DiskFile>::Read> {
        let (key, within) = SlotKey::of(volume, chunk, blocks.start);
        let (slot, pin) = {
            let mut slots = self.slots.borrow_mut();
            let slot = slots.find(key)?;
            let wanted = mask(within..within + blocks.len() as u32);
            if slots.present(slot) & wanted != wanted {
                return None;
            }
            slots.touch(slot);
            slots.pin(slot);
            (slot, Pin { slots: &self.slots, slot })
        };
        let (file, at) = self.place(slot);
        let at = at + u64::from(within) * BLOCK_BYTES as u64;
        let read = file.read_at(at, blocks.len() * BLOCK_BYTES).await.ok();
        drop(pin);
        if read.is_some() {
            self.count(|counts| counts.hits += 1);
        }
        read
    }

    /// Forgets the slot that holds a payload block: it could not be read, or has other bytes than
    /// the map wants.
    pub fn forget(&self, (volume, chunk): ChunkKey, block: u32) {
        let (key, _) = SlotKey::of(volume, chunk, block);
        self.slots.borrow_mut().forget(key);
        self.count(|counts| counts.rejected += 1);
    }

    /// Keeps others from the room of these volumes, and them from ageing.
    pub fn pin(&self, volumes: &[VolumeId]) {
        self.slots.borrow_mut().pin_volumes(volumes);
    }

    /// Counts a part of the slots, from `first` on; those that were not used while they were counted
    /// [`CACHE_AGES`] times are emptied. Returns where the next part begins, if there is one.
    pub async fn age(&self, first: u32) -> Option<u32> {
        let end = first + AGE_SLICE_SLOTS;
        let mut gone = self.slots.borrow_mut().age(first..end, CACHE_AGES);
        gone.dedup_by_key(|slot| self.table_block(*slot));
        for slot in gone {
            // One that a table goes on to tell of is back after a restart.
            let _ = self.write_table(slot).await;
        }
        (end < self.slots.borrow().count()).then_some(end)
    }

    fn can_grow(&self) -> bool {
        !self.is_stuck.get() && (self.slabs.borrow().len() as u32) < self.size.slabs
    }

    /// Makes one more file, or waits until one was made.
    async fn grow(&self, disk: &D) {
        if self.grows.get() {
            self.grown.until(|| (!self.grows.get()).then_some(())).await;
            return;
        }
        self.grows.set(true);
        if self.make_slab(disk).await.is_none() {
            self.is_stuck.set(true);
        }
        self.grows.set(false);
        self.grown.notify();
    }

    fn count(&self, change: impl FnOnce(&mut CacheCounts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }
}

/// The bits of blocks of a slot.
fn mask(blocks: Range<u32>) -> u32 {
    let below = |block: u32| (1u64 << block) - 1;
    (below(blocks.end) & !below(blocks.start)) as u32
}

const _: () = assert!(SLOT_BLOCKS == u32::BITS, "a slot has one bit for each block");

#[cfg(test)]
mod tests;
