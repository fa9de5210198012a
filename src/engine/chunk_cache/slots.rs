//! What is in which slot, in memory.

use std::ops::Range;

use ahash::AHashMap;
use chunk::ChunkId;
use wal::VolumeId;

use super::SLOT_BLOCKS;
use super::order::Order;
use crate::engine::limits::PINNED_SLOTS_PASSED;

/// A part of a chunk's payload that has a slot of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SlotKey {
    /// The volume.
    pub volume: VolumeId,
    /// Its chunk.
    pub chunk: ChunkId,
    /// Number of the part, from 0.
    pub part: u16,
}

impl SlotKey {
    /// The part that has a payload block, and the block's place in it.
    #[must_use]
    pub fn of(volume: VolumeId, chunk: ChunkId, block: u32) -> (Self, u32) {
        let part = u16::try_from(block / SLOT_BLOCKS).expect("chunks are short");
        (Self { volume, chunk, part }, block % SLOT_BLOCKS)
    }
}

#[derive(Clone, Copy, Default)]
struct Slot {
    key: Option<SlotKey>,
    /// A bit for each block that is there.
    present: u32,
    /// Reads and writes under way.
    pins: u16,
    /// Times that it was counted since its last use.
    age: u8,
}

/// All slots of a cache.
#[derive(Default)]
pub(super) struct Slots {
    index: AHashMap<SlotKey, u32>,
    slots: Vec<Slot>,
    order: Order,
    blocks: u64,
    /// Volumes whose slots are not for others.
    pinned: Vec<VolumeId>,
}

impl Slots {
    /// Adds an empty slot, or one that an earlier run filled.
    pub(super) fn push(&mut self, held: Option<(SlotKey, u32)>) {
        let slot = self.slots.len() as u32;
        let held = held.filter(|(key, _)| !self.index.contains_key(key));
        let (key, present) = held.unzip();
        let present = present.unwrap_or_default();
        self.blocks += u64::from(present.count_ones());
        self.slots.push(Slot { key, present, pins: 0, age: 0 });
        self.order.add_last(slot);
        if let Some(key) = key {
            self.index.insert(key, slot);
            self.order.put_first(slot);
        }
    }

    /// Has the empty ones of the newest `count` slots used in their order: what is written one after
    /// the other then lies side by side.
    pub(super) fn use_in_order(&mut self, count: u32) {
        let end = self.slots.len() as u32;
        for slot in (end - count..end).rev() {
            if self.slots[slot as usize].key.is_none() {
                self.order.put_last(slot);
            }
        }
    }

    /// Blocks that are there.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The slot of a part.
    pub(super) fn find(&self, key: SlotKey) -> Option<u32> {
        self.index.get(&key).copied()
    }

    /// What a slot is for, and its blocks.
    pub(super) fn held(&self, slot: u32) -> Option<(SlotKey, u32)> {
        let Slot { key, present, .. } = self.slots[slot as usize];
        key.map(|key| (key, present))
    }

    /// The blocks that a slot has.
    pub(super) fn present(&self, slot: u32) -> u32 {
        self.slots[slot as usize].present
    }

    /// A slot was used.
    pub(super) fn touch(&mut self, slot: u32) {
        self.slots[slot as usize].age = 0;
        self.order.put_first(slot);
    }

    /// A slot is in use until it is unpinned.
    pub(super) fn pin(&mut self, slot: u32) {
        self.slots[slot as usize].pins += 1;
    }

    /// Ends one use.
    pub(super) fn unpin(&mut self, slot: u32) {
        self.slots[slot as usize].pins -= 1;
    }

    /// The slot of a part, or an empty one for it, or, if one may be emptied, the one that was used
    /// longest ago; pinned. `None` if there is none that is not in use.
    pub(super) fn take(&mut self, key: SlotKey, may_empty: bool) -> Option<u32> {
        let slot = match self.find(key) {
            Some(slot) => slot,
            None => {
                let slot = self.oldest(key.volume)?;
                if self.slots[slot as usize].key.is_some() && !may_empty {
                    return None;
                }
                self.empty(slot);
                self.slots[slot as usize].key = Some(key);
                self.index.insert(key, slot);
                slot
            }
        };
        self.touch(slot);
        self.pin(slot);
        Some(slot)
    }

    /// The slot that was used longest ago, of those that are not in use and that a volume may have.
    fn oldest(&mut self, volume: VolumeId) -> Option<u32> {
        let takes_any = self.pinned.contains(&volume);
        let (mut passed, mut found) = (Vec::new(), None);
        for slot in self.order.oldest_first().take(PINNED_SLOTS_PASSED) {
            let Slot { key, pins, .. } = self.slots[slot as usize];
            if !takes_any && key.is_some_and(|key| self.pinned.contains(&key.volume)) {
                passed.push(slot);
            } else if pins == 0 {
                found = Some(slot);
                break;
            }
        }
        passed.into_iter().for_each(|slot| self.order.put_first(slot));
        found
    }

    /// From now on the slots of these volumes are not for others, and do not age.
    pub(super) fn pin_volumes(&mut self, volumes: &[VolumeId]) {
        self.pinned = volumes.to_vec();
    }

    /// Counts slots, and empties those that were counted more than `most` times since their last
    /// use; returns these. Those that are being read stay.
    pub(super) fn age(&mut self, slots: Range<u32>, most: u8) -> Vec<u32> {
        let mut gone = Vec::new();
        for slot in slots.start..slots.end.min(self.slots.len() as u32) {
            let state = &mut self.slots[slot as usize];
            let Some(key) = state.key.filter(|key| !self.pinned.contains(&key.volume)) else {
                continue;
            };
            state.age = state.age.saturating_add(1);
            if state.age > most && state.pins == 0 {
                self.forget(key);
                gone.push(slot);
            }
        }
        gone
    }

    /// Slots, empty ones included.
    pub(super) fn count(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Blocks of a slot have been written, if it is still meant for them.
    pub(super) fn add(&mut self, slot: u32, key: SlotKey, blocks: u32) {
        let state = &mut self.slots[slot as usize];
        if state.key == Some(key) {
            self.blocks += u64::from((blocks & !state.present).count_ones());
            state.present |= blocks;
        }
    }

    /// Empties the slot of a part.
    pub(super) fn forget(&mut self, key: SlotKey) {
        if let Some(slot) = self.find(key) {
            self.empty(slot);
            self.order.put_last(slot);
        }
    }

    fn empty(&mut self, slot: u32) {
        let state = &mut self.slots[slot as usize];
        self.blocks -= u64::from(state.present.count_ones());
        state.present = 0;
        if let Some(key) = state.key.take() {
            self.index.remove(&key);
        }
    }
}
