//! The dirty part of a shard as it was at a cut, until the manifest of the cut is published.

use std::cell::{Cell, RefCell};

use chunk::ExtentMap;
use wal::planted::{self, Bug};
use wal::{Lsn, ShardBlock, ShardRun};

use super::cache::{BlockCache, VolumeNo};
use super::limits::SETTLE_BLOCKS;
use super::place::Place;
use super::shard::Maps;

/// Two planted bugs at once.
fn takes_newest() -> bool {
    planted::is(Bug::CutTakesNewest) || planted::is(Bug::FrozenMemoryReplaced)
}

/// The blocks of a cut.
pub(super) struct Frozen {
    /// Where they are.
    pub(super) map: ExtentMap<Place>,
    /// Newest record of the cut.
    pub(super) position: Lsn,
    /// All blocks below that are in the log have been packed into chunks.
    packed_below: Cell<ShardBlock>,
    /// Blocks that the cache keeps for the cut.
    aside: RefCell<Vec<ShardBlock>>,
}

impl Frozen {
    /// A cut of which nothing is packed yet.
    pub(super) fn new(map: ExtentMap<Place>, position: Lsn) -> Self {
        let packed_below = Cell::new(ShardBlock(0));
        Self { map, position, packed_below, aside: RefCell::default() }
    }

    /// The blocks of `run`, and all before it, are in chunks: their memory may go.
    pub(super) fn packed(&self, volume: VolumeNo, run: ShardRun, cache: &mut BlockCache) {
        self.packed_below.set(run.end());
        for block in run.start.0..run.end().0 {
            cache.drop_aside(volume, ShardBlock(block));
        }
    }

    /// The cut is published: nothing of it is kept any more. Does some of it; true if there is more.
    pub(super) fn drop_aside(&self, volume: VolumeNo, cache: &mut BlockCache) -> bool {
        let mut aside = self.aside.borrow_mut();
        let some = aside.len().saturating_sub(SETTLE_BLOCKS as usize)..;
        for block in aside.drain(some) {
            cache.drop_aside(volume, block);
        }
        !aside.is_empty()
    }
}

impl Maps {
    /// Before `run` is overwritten: what the cut that is being sealed still wants of it stays in
    /// the memory cache. Of what is in the log, that is what the cache has: it would have to be read
    /// back, which for blocks that are written again and again takes longer than all other sealing.
    /// What only memory has stays until the cut is published, as sealing may begin again.
    pub(super) fn set_aside(&self, volume: VolumeNo, run: ShardRun, cache: &mut BlockCache) {
        let Some(frozen) = &self.frozen else { return };
        for (part, place) in frozen.map.iter_range(run) {
            match place {
                Some(Place::Log(_)) if part.end() > frozen.packed_below.get() => {}
                Some(Place::Memory) if !planted::is(Bug::FrozenMemoryReplaced) => {}
                _ => continue,
            }
            // A block that was overwritten since is not cached in the version of the cut.
            for (part, newer) in self.dirty.iter_range(part) {
                if newer.is_none() {
                    let kept = |block: &ShardBlock| cache.set_aside(volume, *block);
                    let blocks = (part.start.0..part.end().0).map(ShardBlock);
                    frozen.aside.borrow_mut().extend(blocks.filter(kept));
                }
            }
        }
    }

    /// Content of the blocks of `run` as the cut has them, if all of it is in memory.
    pub(super) fn frozen_content<'c>(
        &self,
        volume: VolumeNo,
        run: ShardRun,
        cache: &'c BlockCache,
    ) -> Option<Vec<&'c [u8]>> {
        let mut found = Vec::with_capacity(run.count as usize);
        for (part, newer) in self.dirty.iter_range(run) {
            for block in (part.start.0..part.end().0).map(ShardBlock) {
                found.push(match newer {
                    None => cache.peek(volume, block)?,
                    Some(_) if takes_newest() => cache.peek(volume, block)?,
                    Some(_) => cache.peek_aside(volume, block)?,
                });
            }
        }
        Some(found)
    }
}
