//! The memory cache of one core: 4 KiB blocks of all its volumes in a slab of bounded size.
//!
//! A cached block is the newest version of that block, or one that was set aside because a cut
//! wants it that is not published yet. A block has a home in the log or in a chunk, so its slot may be
//! reused at any time, unless it is held: then it lives here alone, see [`super::unlogged`].

mod slabs;

use std::collections::hash_map::Entry;
use std::num::NonZeroU32;

use ahash::AHashMap;
use wal::{BLOCK_BYTES, Epoch, ShardBlock, ShardRun};

use slabs::Parts;
pub use slabs::{Slabs, new_slab};

/// Number of an open volume within this process, the same on each core.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VolumeNo(pub u32);

/// Name of a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Key {
    volume: VolumeNo,
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

/// What a slot holds.
#[derive(Clone, Copy)]
struct Slot {
    key: Key,
    /// The cut that wants this version; `None`: it is the newest one.
    cut: Option<CutTag>,
    /// The next older version that is here.
    older: Option<SlotNo>,
    in_use: bool,
    /// Looked at since the hand passed.
    referenced: bool,
    /// Nothing else has this block.
    held: bool,
}

const FREE: Slot = Slot {
    key: Key { volume: VolumeNo(0), block: ShardBlock(0) },
    cut: None,
    older: None,
    in_use: false,
    referenced: false,
    held: false,
};

/// A slot by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct SlotNo(NonZeroU32);

impl SlotNo {
    fn new(index: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(index))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// The newest version of a block that is here.
#[derive(Clone, Copy)]
struct First {
    slot: SlotNo,
    /// None was written since: no cut has it. Also told by its slot, which is one step farther from
    /// the processor.
    is_newest: bool,
}

/// Blocks in memory, replaced in CLOCK order.
pub struct BlockCache {
    /// By block; older versions hang on the first one.
    index: AHashMap<Key, First>,
    slots: Vec<Slot>,
    slabs: Slabs,
    free: Vec<SlotNo>,
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
            slabs: Slabs::new(capacity),
            free: Vec::new(),
            capacity,
            hand: 0,
            held: 0,
        }
    }

    /// Its memory.
    #[must_use]
    pub fn slabs(&self) -> &Slabs {
        &self.slabs
    }

    /// Its memory, to be added to.
    pub fn slabs_mut(&mut self) -> &mut Slabs {
        &mut self.slabs
    }

    /// Blocks that are here, each version of them.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        (self.slots.len() - self.free.len()) as u64
    }

    /// The versions of a block that are here, newest first.
    fn versions(&self, volume: VolumeNo, block: ShardBlock) -> impl Iterator<Item = SlotNo> + '_ {
        let first = self.index.get(&Key { volume, block }).map(|first| first.slot);
        std::iter::successors(first, |slot| self.slots[slot.index()].older)
    }

    /// The newest content of a block.
    fn newest(&self, volume: VolumeNo, block: ShardBlock) -> Option<SlotNo> {
        let first = self.index.get(&Key { volume, block })?;
        first.is_newest.then_some(first.slot)
    }

    /// The version of a block that was set aside for a cut.
    fn aside(&self, volume: VolumeNo, cut: CutTag, block: ShardBlock) -> Option<SlotNo> {
        self.versions(volume, block).find(|slot| self.slots[slot.index()].cut == Some(cut))
    }

    /// The newest content of a block, if it is here.
    pub fn get(&mut self, volume: VolumeNo, block: ShardBlock) -> Option<&[u8]> {
        let slot = self.newest(volume, block)?;
        self.slots[slot.index()].referenced = true;
        Some(self.slabs.block(slot.index()))
    }

    /// The newest content of a run of blocks, in parts as long as they lie in memory, if all of it
    /// is here.
    pub fn get_run(&mut self, volume: VolumeNo, run: ShardRun) -> Option<Vec<&[u8]>> {
        let mut parts = Parts::default();
        for block in (run.start.0..run.end().0).map(ShardBlock) {
            let slot = self.newest(volume, block)?;
            self.slots[slot.index()].referenced = true;
            parts.add(slot.index());
        }
        Some(self.slabs.parts(parts))
    }

    /// As [`Self::get`], without touching the block's place in the order.
    #[must_use]
    pub fn peek(&self, volume: VolumeNo, block: ShardBlock) -> Option<&[u8]> {
        self.newest(volume, block).map(|slot| self.slabs.block(slot.index()))
    }

    /// Keeps the newest version of a block, if it is here, for a cut: it is about to be replaced.
    /// One that is held is held on.
    pub fn set_aside(&mut self, volume: VolumeNo, cut: CutTag, block: ShardBlock) -> bool {
        let first = self.index.get_mut(&Key { volume, block });
        let Some(first) = first.filter(|first| first.is_newest) else { return false };
        first.is_newest = false;
        let slot = first.slot;
        let older = self.slots[slot.index()].older;
        let is_first = older.is_none_or(|older| self.slots[older.index()].cut != Some(cut));
        assert!(is_first, "a block has one version in a cut");
        self.slots[slot.index()].cut = Some(cut);
        true
    }

    /// A block that was set aside, if it is still here.
    #[must_use]
    pub fn peek_aside(&self, volume: VolumeNo, cut: CutTag, block: ShardBlock) -> Option<&[u8]> {
        self.aside(volume, cut, block).map(|slot| self.slabs.block(slot.index()))
    }

    /// A block as a cut has it, if it is here: set aside, or the newest if none was.
    #[must_use]
    pub fn peek_of(&self, volume: VolumeNo, cut: CutTag, block: ShardBlock) -> Option<&[u8]> {
        let mut newest = None;
        for slot in self.versions(volume, block) {
            match self.slots[slot.index()].cut {
                None => newest = Some(slot),
                Some(of) if of == cut => return Some(self.slabs.block(slot.index())),
                Some(_) => {}
            }
        }
        newest.map(|slot| self.slabs.block(slot.index()))
    }

    /// Forgets a block that was set aside: the cut has it.
    pub fn drop_aside(&mut self, volume: VolumeNo, cut: CutTag, block: ShardBlock) {
        if let Some(slot) = self.aside(volume, cut, block) {
            self.release(slot);
        }
    }

    /// Something else has a block now that was set aside.
    pub fn let_aside_go(&mut self, volume: VolumeNo, cut: CutTag, block: ShardBlock) {
        if let Some(slot) = self.aside(volume, cut, block) {
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
        if !std::mem::replace(&mut self.slots[slot.index()].held, true) {
            self.held += 1;
            let most = most_held(u64::from(self.capacity));
            assert!(u64::from(self.held) <= most, "a cache of which too much is held");
        }
    }

    /// Something else has the blocks of a run now.
    pub fn let_go(&mut self, volume: VolumeNo, run: ShardRun) {
        for block in run.start.0..run.end().0 {
            if let Some(slot) = self.newest(volume, ShardBlock(block)) {
                self.end_hold(slot);
            }
        }
    }

    fn end_hold(&mut self, slot: SlotNo) {
        self.held -= u32::from(std::mem::take(&mut self.slots[slot.index()].held));
    }

    /// Stores the newest content of a block that has a home.
    pub fn put(&mut self, volume: VolumeNo, block: ShardBlock, content: &[u8]) {
        if self.capacity > 0 {
            let slot = self.store(volume, block, content);
            self.end_hold(slot);
        }
    }

    fn store(&mut self, volume: VolumeNo, block: ShardBlock, content: &[u8]) -> SlotNo {
        assert_eq!(content.len(), BLOCK_BYTES);
        let slot = self.newest(volume, block).unwrap_or_else(|| {
            let slot = self.take_slot();
            let key = Key { volume, block };
            let older = self.index.insert(key, First { slot, is_newest: true });
            let older = older.map(|first| first.slot);
            self.slots[slot.index()] = Slot { key, older, in_use: true, ..FREE };
            slot
        });
        self.slots[slot.index()].referenced = true;
        self.slabs.block_mut(slot.index()).copy_from_slice(content);
        slot
    }

    /// Forgets the blocks `[start, start + count)` of a volume: by block or by slot, whichever
    /// is fewer.
    pub fn forget(&mut self, volume: VolumeNo, start: ShardBlock, count: u64) {
        if count <= self.index.len() as u64 {
            for block in start.0..start.0 + count {
                if let Some(slot) = self.newest(volume, ShardBlock(block)) {
                    self.release(slot);
                }
            }
            return;
        }
        self.release_those(|slot| {
            let Key { volume: of, block } = slot.key;
            of == volume && slot.cut.is_none() && block >= start && block.0 - start.0 < count
        });
    }

    /// Forgets all blocks of a volume, those that were set aside as well.
    pub fn forget_volume(&mut self, volume: VolumeNo) {
        self.release_those(|slot| slot.key.volume == volume);
    }

    fn release_those(&mut self, which: impl Fn(&Slot) -> bool) {
        for index in 0..self.slots.len() {
            if self.slots[index].in_use && which(&self.slots[index]) {
                self.release(SlotNo::new(index as u32));
            }
        }
    }

    fn release(&mut self, slot: SlotNo) {
        self.end_hold(slot);
        self.unlink(slot);
        self.slots[slot.index()] = FREE;
        self.free.push(slot);
    }

    /// Takes a version out of those of its block.
    fn unlink(&mut self, slot: SlotNo) {
        let Slot { key, older, .. } = self.slots[slot.index()];
        let Entry::Occupied(mut first) = self.index.entry(key) else {
            unreachable!("each version hangs on the newest one")
        };
        let mut newer = first.get().slot;
        if newer == slot {
            match older {
                Some(slot) => *first.get_mut() = First { slot, is_newest: false },
                None => _ = first.remove(),
            }
            return;
        }
        while let Some(next) = self.slots[newer.index()].older.filter(|next| *next != slot) {
            newer = next;
        }
        self.slots[newer.index()].older = older;
    }

    /// A slot to fill: a free one, a new one below the capacity, or the one that the hand finds.
    fn take_slot(&mut self) -> SlotNo {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        if (self.slots.len() as u32) < self.capacity {
            let index = self.slots.len() as u32;
            self.slabs.reach(index as usize);
            self.slots.push(FREE);
            return SlotNo::new(index);
        }
        loop {
            let slot = SlotNo::new(self.hand);
            self.hand = (self.hand + 1) % self.capacity;
            let state = &mut self.slots[slot.index()];
            if state.held || std::mem::take(&mut state.referenced) {
                continue;
            }
            // None is free here.
            self.unlink(slot);
            return slot;
        }
    }
}

/// Blocks of a cache that may be held: there is always another one to replace, and not far to look
/// for it.
#[must_use]
pub fn most_held(capacity: u64) -> u64 {
    capacity / 4 * 3
}

#[cfg(test)]
mod tests;
