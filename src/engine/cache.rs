//! The memory cache of one core: 4 KiB blocks of all its volumes in a slab of bounded size.
//!
//! A cached block is the newest version of that block, or one that was set aside because a cut
//! wants it that is not published yet. A block has a home in the log or in a chunk, so its slot may be
//! reused at any time, unless it is held: then it lives here alone, see [`super::unlogged`].

use std::num::NonZeroU32;
use std::rc::Rc;

use ahash::AHashMap;
use wal::{BLOCK_BYTES, Epoch, ShardBlock, ShardRun};

use super::limits::{CACHE_SLAB_BLOCKS, CACHE_SPARE_SLABS};
use super::signal::Signal;

/// Number of an open volume within this process, the same on each core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VolumeNo(pub u32);

/// Name of a cached block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    volume: VolumeNo,
    /// The cut that wants this version; `None`: it is the newest one.
    aside: Option<CutTag>,
    block: ShardBlock,
}

/// Tells the cuts of a volume apart that are not published yet, in little space.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CutTag(NonZeroU32);

impl From<Epoch> for CutTag {
    fn from(epoch: Epoch) -> Self {
        Self(NonZeroU32::MIN.saturating_add((epoch.0 % u64::from(u32::MAX)) as u32))
    }
}

impl Key {
    fn newest(volume: VolumeNo, block: ShardBlock) -> Self {
        Self { volume, aside: None, block }
    }

    fn aside(volume: VolumeNo, cut: CutTag, block: ShardBlock) -> Self {
        Self { volume, aside: Some(cut), block }
    }
}

/// What a slot holds.
#[derive(Clone, Copy)]
struct Slot {
    /// `None`: free.
    key: Option<Key>,
    /// Looked at since the hand passed.
    referenced: bool,
    /// Nothing else has this block.
    held: bool,
}

const FREE: Slot = Slot { key: None, referenced: false, held: false };

/// Blocks in memory, replaced in CLOCK order.
pub struct BlockCache {
    index: AHashMap<Key, u32>,
    slots: Vec<Slot>,
    slabs: Vec<Box<[u8]>>,
    /// Slabs that wait for their use.
    spares: Vec<Box<[u8]>>,
    /// Told when a spare slab was taken.
    spare_taken: Rc<Signal>,
    free: Vec<u32>,
    capacity: u32,
    hand: u32,
    held: u32,
}

impl BlockCache {
    /// A cache of at most `capacity` blocks; memory is taken as it fills. A capacity of 0 caches
    /// nothing.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        Self {
            index: AHashMap::new(),
            slots: Vec::new(),
            slabs: Vec::new(),
            spares: Vec::new(),
            spare_taken: Rc::default(),
            free: Vec::new(),
            capacity,
            hand: 0,
            held: 0,
        }
    }

    /// Whether it grows, and another slab should be made for it with [`new_slab`] before it is
    /// needed.
    #[must_use]
    pub fn lacks_spare(&self) -> bool {
        let most = (self.capacity as usize).div_ceil(CACHE_SLAB_BLOCKS);
        let grows = !self.slabs.is_empty() && self.slabs.len() + self.spares.len() < most;
        grows && self.spares.len() < CACHE_SPARE_SLABS
    }

    /// Takes in a slab that was made while [`Self::lacks_spare`], if it still does.
    pub fn add_spare(&mut self, slab: Box<[u8]>) {
        if self.lacks_spare() {
            self.spares.push(slab);
        }
    }

    /// Told when [`Self::lacks_spare`] may have become true.
    #[must_use]
    pub fn spare_taken(&self) -> Rc<Signal> {
        self.spare_taken.clone()
    }

    /// Blocks held.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.index.len() as u64
    }

    /// The newest content of a block, if it is here.
    pub fn get(&mut self, volume: VolumeNo, block: ShardBlock) -> Option<&[u8]> {
        let slot = *self.index.get(&Key::newest(volume, block))?;
        self.slots[slot as usize].referenced = true;
        Some(self.bytes(slot))
    }

    /// The newest content of a run of blocks, in parts as long as they lie in memory, if all of it
    /// is here.
    pub fn get_run(&mut self, volume: VolumeNo, run: ShardRun) -> Option<Vec<&[u8]>> {
        let mut places: Vec<(usize, usize, usize)> = Vec::new();
        for block in (run.start.0..run.end().0).map(ShardBlock) {
            let slot = *self.index.get(&Key::newest(volume, block))?;
            self.slots[slot as usize].referenced = true;
            let (slab, at) = place(slot);
            match places.last_mut() {
                Some((same, _, end)) if (*same, *end) == (slab, at) => *end += BLOCK_BYTES,
                _ => places.push((slab, at, at + BLOCK_BYTES)),
            }
        }
        let bytes = |(slab, from, to): (usize, usize, usize)| &self.slabs[slab][from..to];
        Some(places.into_iter().map(bytes).collect())
    }

    /// As [`Self::get`], without touching the block's place in the order.
    #[must_use]
    pub fn peek(&self, volume: VolumeNo, block: ShardBlock) -> Option<&[u8]> {
        self.index.get(&Key::newest(volume, block)).map(|slot| self.bytes(*slot))
    }

    /// Keeps the newest version of a block, if it is here, for a cut: it is about to be replaced.
    /// One that is held is held on.
    pub fn set_aside(&mut self, volume: VolumeNo, cut: CutTag, block: ShardBlock) -> bool {
        let Some(slot) = self.index.remove(&Key::newest(volume, block)) else { return false };
        let aside = Key::aside(volume, cut, block);
        self.slots[slot as usize].key = Some(aside);
        let before = self.index.insert(aside, slot);
        assert!(before.is_none(), "a block has one version in a cut");
        true
    }

    /// A block that was set aside, if it is still here.
    #[must_use]
    pub fn peek_aside(&self, volume: VolumeNo, cut: CutTag, block: ShardBlock) -> Option<&[u8]> {
        self.index.get(&Key::aside(volume, cut, block)).map(|slot| self.bytes(*slot))
    }

    /// Forgets a block that was set aside: the cut has it.
    pub fn drop_aside(&mut self, volume: VolumeNo, cut: CutTag, block: ShardBlock) {
        if let Some(slot) = self.index.remove(&Key::aside(volume, cut, block)) {
            self.release(slot);
        }
    }

    /// Something else has a block now that was set aside.
    pub fn let_aside_go(&mut self, volume: VolumeNo, cut: CutTag, block: ShardBlock) {
        if let Some(&slot) = self.index.get(&Key::aside(volume, cut, block)) {
            self.end_hold(slot);
        }
    }

    /// Blocks that nothing else has.
    #[must_use]
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Stores the newest content of a block that nothing else has: it stays until it is replaced,
    /// forgotten or let go. No more than [`most_held`] may be.
    pub fn hold(&mut self, volume: VolumeNo, block: ShardBlock, content: &[u8]) {
        let slot = self.store(volume, block, content);
        if !std::mem::replace(&mut self.slots[slot as usize].held, true) {
            self.held += 1;
            let most = most_held(u64::from(self.capacity));
            assert!(u64::from(self.held) <= most, "a cache of which too much is held");
        }
    }

    /// Something else has the blocks of a run now.
    pub fn let_go(&mut self, volume: VolumeNo, run: ShardRun) {
        for block in run.start.0..run.end().0 {
            if let Some(&slot) = self.index.get(&Key::newest(volume, ShardBlock(block))) {
                self.end_hold(slot);
            }
        }
    }

    fn end_hold(&mut self, slot: u32) {
        self.held -= u32::from(std::mem::take(&mut self.slots[slot as usize].held));
    }

    /// Stores the newest content of a block that has a home.
    pub fn put(&mut self, volume: VolumeNo, block: ShardBlock, content: &[u8]) {
        if self.capacity > 0 {
            let slot = self.store(volume, block, content);
            self.end_hold(slot);
        }
    }

    fn store(&mut self, volume: VolumeNo, block: ShardBlock, content: &[u8]) -> u32 {
        assert_eq!(content.len(), BLOCK_BYTES);
        let key = Key::newest(volume, block);
        let slot = match self.index.get(&key) {
            Some(&slot) => slot,
            None => {
                let slot = self.take_slot();
                self.slots[slot as usize].key = Some(key);
                self.index.insert(key, slot);
                slot
            }
        };
        self.slots[slot as usize].referenced = true;
        self.bytes_mut(slot).copy_from_slice(content);
        slot
    }

    /// Forgets the blocks `[start, start + count)` of a volume: by block or by slot, whichever
    /// is fewer.
    pub fn forget(&mut self, volume: VolumeNo, start: ShardBlock, count: u64) {
        if count <= self.index.len() as u64 {
            for block in start.0..start.0 + count {
                if let Some(slot) = self.index.remove(&Key::newest(volume, ShardBlock(block))) {
                    self.release(slot);
                }
            }
            return;
        }
        let inside = |key: &Key| {
            let is_in = key.block >= start && key.block.0 - start.0 < count;
            key.volume == volume && is_in && key.aside.is_none()
        };
        for slot in 0..self.slots.len() as u32 {
            if let Some(key) = self.slots[slot as usize].key.filter(inside) {
                self.index.remove(&key);
                self.release(slot);
            }
        }
    }

    /// Forgets all blocks of a volume, those that were set aside as well.
    pub fn forget_volume(&mut self, volume: VolumeNo) {
        for slot in 0..self.slots.len() as u32 {
            if let Some(key) = self.slots[slot as usize].key.filter(|key| key.volume == volume) {
                self.index.remove(&key);
                self.release(slot);
            }
        }
    }

    fn release(&mut self, slot: u32) {
        self.end_hold(slot);
        self.slots[slot as usize] = FREE;
        self.free.push(slot);
    }

    /// A slot to fill: a free one, a new one below the capacity, or the one that the hand finds.
    fn take_slot(&mut self) -> u32 {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        if (self.slots.len() as u32) < self.capacity {
            let slot = self.slots.len() as u32;
            if (slot as usize).is_multiple_of(CACHE_SLAB_BLOCKS) {
                self.slabs.push(self.spares.pop().unwrap_or_else(untouched_slab));
                self.spare_taken.notify();
            }
            self.slots.push(FREE);
            return slot;
        }
        loop {
            let slot = self.hand;
            self.hand = (self.hand + 1) % self.capacity;
            let state = &mut self.slots[slot as usize];
            if state.held || std::mem::take(&mut state.referenced) {
                continue;
            }
            if let Some(key) = state.key.take() {
                self.index.remove(&key);
            }
            return slot;
        }
    }

    fn bytes(&self, slot: u32) -> &[u8] {
        let (slab, at) = place(slot);
        &self.slabs[slab][at..at + BLOCK_BYTES]
    }

    fn bytes_mut(&mut self, slot: u32) -> &mut [u8] {
        let (slab, at) = place(slot);
        &mut self.slabs[slab][at..at + BLOCK_BYTES]
    }
}

/// Blocks of a cache that may be held: there is always another one to replace, and not far to look
/// for it.
#[must_use]
pub fn most_held(capacity: u64) -> u64 {
    capacity / 4 * 3
}

fn untouched_slab() -> Box<[u8]> {
    vec![0; CACHE_SLAB_BLOCKS * BLOCK_BYTES].into_boxed_slice()
}

/// Memory for [`CACHE_SLAB_BLOCKS`] blocks, touched: where a hypervisor has to find it first, that
/// takes longer than everything else that is done with a block.
#[must_use]
pub fn new_slab() -> Box<[u8]> {
    vec![0xA5; CACHE_SLAB_BLOCKS * BLOCK_BYTES].into_boxed_slice()
}

/// Slab and byte within it of a slot.
fn place(slot: u32) -> (usize, usize) {
    let slot = slot as usize;
    (slot / CACHE_SLAB_BLOCKS, slot % CACHE_SLAB_BLOCKS * BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOLUME: VolumeNo = VolumeNo(7);
    const CUT: CutTag = CutTag(NonZeroU32::MIN);

    fn content(tag: u8) -> Vec<u8> {
        vec![tag; BLOCK_BYTES]
    }

    #[test]
    fn the_newest_content_is_returned() {
        let mut cache = BlockCache::new(4);
        cache.put(VOLUME, ShardBlock(1), &content(1));
        cache.put(VOLUME, ShardBlock(1), &content(2));
        assert_eq!(cache.get(VOLUME, ShardBlock(1)), Some(&content(2)[..]));
        assert_eq!(cache.get(VolumeNo(8), ShardBlock(1)), None, "volumes do not mix");
        assert_eq!(cache.blocks(), 1);
    }

    #[test]
    fn a_full_cache_replaces_what_was_not_looked_at() {
        let mut cache = BlockCache::new(3);
        for block in 0..3 {
            cache.put(VOLUME, ShardBlock(block), &content(block as u8));
        }
        cache.put(VOLUME, ShardBlock(3), &content(3)); // clears all marks, takes block 0
        assert!(cache.get(VOLUME, ShardBlock(1)).is_some());
        cache.put(VOLUME, ShardBlock(4), &content(4)); // block 1 was looked at, 2 was not
        assert!(cache.peek(VOLUME, ShardBlock(1)).is_some());
        assert!(cache.peek(VOLUME, ShardBlock(2)).is_none());
        assert_eq!(cache.blocks(), 3, "never over its capacity");
    }

    #[test]
    fn forgetting_a_terabyte_costs_what_the_cache_holds() {
        let mut cache = BlockCache::new(8);
        for block in [0, 5, 1 << 30] {
            cache.put(VOLUME, ShardBlock(block), &content(1));
        }
        cache.put(VolumeNo(8), ShardBlock(5), &content(1));
        cache.forget(VOLUME, ShardBlock(1), 1 << 28);
        assert!(cache.peek(VOLUME, ShardBlock(0)).is_some());
        assert!(cache.peek(VOLUME, ShardBlock(5)).is_none());
        assert!(cache.peek(VOLUME, ShardBlock(1 << 30)).is_some());
        assert!(cache.peek(VolumeNo(8), ShardBlock(5)).is_some());
    }

    #[test]
    fn what_a_cut_wants_outlives_the_block_that_replaced_it() {
        let mut cache = BlockCache::new(4);
        cache.put(VOLUME, ShardBlock(1), &content(1));
        assert!(cache.set_aside(VOLUME, CUT, ShardBlock(1)));
        assert_eq!(cache.get(VOLUME, ShardBlock(1)), None, "it is not the newest any more");
        cache.put(VOLUME, ShardBlock(1), &content(2));
        cache.forget(VOLUME, ShardBlock(0), 8);
        let later = CutTag::from(Epoch(8));
        cache.put(VOLUME, ShardBlock(1), &content(3));
        assert!(cache.set_aside(VOLUME, later, ShardBlock(1)));
        assert_eq!(cache.peek_aside(VOLUME, CUT, ShardBlock(1)), Some(&content(1)[..]));
        assert_eq!(cache.peek_aside(VOLUME, later, ShardBlock(1)), Some(&content(3)[..]));
        cache.drop_aside(VOLUME, CUT, ShardBlock(1));
        cache.drop_aside(VOLUME, later, ShardBlock(1));
        assert_eq!(cache.peek_aside(VOLUME, CUT, ShardBlock(1)), None);
        assert_eq!(cache.blocks(), 0);
    }

    #[test]
    fn what_is_held_stays_whatever_comes() {
        let mut cache = BlockCache::new(4);
        cache.hold(VOLUME, ShardBlock(1), &content(1));
        cache.hold(VOLUME, ShardBlock(2), &content(2));
        for block in 10..30 {
            cache.put(VOLUME, ShardBlock(block), &content(3));
        }
        assert_eq!(cache.get(VOLUME, ShardBlock(1)), Some(&content(1)[..]));
        assert_eq!(cache.get(VOLUME, ShardBlock(2)), Some(&content(2)[..]));
        assert_eq!((cache.blocks(), cache.held()), (4, 2));
        cache.let_go(VOLUME, ShardRun { start: ShardBlock(0), count: 2 });
        cache.put(VOLUME, ShardBlock(2), &content(4));
        assert_eq!(cache.held(), 0, "let go, and replaced by what has a home");
        cache.hold(VOLUME, ShardBlock(2), &content(5));
        cache.forget(VOLUME, ShardBlock(0), 1 << 40);
        assert_eq!((cache.blocks(), cache.held()), (0, 0));
    }

    #[test]
    fn a_run_comes_in_parts_that_lie_side_by_side() {
        let mut cache = BlockCache::new(8);
        for block in [1, 2, 3, 7, 4] {
            cache.put(VOLUME, ShardBlock(block), &content(block as u8));
        }
        let run = |start, count| ShardRun { start: ShardBlock(start), count };
        let found = cache.get_run(VOLUME, run(1, 4)).expect("all of it is here");
        let lengths: Vec<_> = found.iter().map(|part| part.len() / BLOCK_BYTES).collect();
        assert_eq!(lengths, [3, 1], "block 7 lies between");
        assert_eq!(found.concat(), [content(1), content(2), content(3), content(4)].concat());
        assert_eq!(cache.get_run(VOLUME, run(4, 2)), None, "there is no block 5");
    }

    #[test]
    fn a_cache_that_grows_wants_slabs_in_advance_and_no_more_than_it_can_use() {
        let slab = CACHE_SLAB_BLOCKS as u64;
        let mut cache = BlockCache::new(3 * CACHE_SLAB_BLOCKS as u32);
        assert!(!cache.lacks_spare(), "nothing was put into it");
        for block in 0..=2 * slab {
            cache.put(VOLUME, ShardBlock(block), &content(1));
            while cache.lacks_spare() {
                cache.add_spare(new_slab());
            }
            assert!(cache.slabs.len() + cache.spares.len() <= 3);
        }
        assert_eq!((cache.slabs.len(), cache.spares.len()), (3, 0), "spares are used first");
    }

    #[test]
    fn a_volume_that_goes_takes_what_was_set_aside_along() {
        let mut cache = BlockCache::new(8);
        cache.hold(VOLUME, ShardBlock(1), &content(1));
        assert!(cache.set_aside(VOLUME, CUT, ShardBlock(1)));
        cache.hold(VOLUME, ShardBlock(1), &content(2));
        cache.put(VolumeNo(8), ShardBlock(1), &content(3));
        cache.forget_volume(VOLUME);
        assert_eq!((cache.blocks(), cache.held()), (1, 0));
        assert!(cache.peek(VolumeNo(8), ShardBlock(1)).is_some());
    }

    #[test]
    fn a_cache_of_nothing_stays_empty() {
        let mut cache = BlockCache::new(0);
        cache.put(VOLUME, ShardBlock(1), &content(1));
        assert_eq!(cache.get(VOLUME, ShardBlock(1)), None);
    }
}
