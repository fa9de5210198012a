//! The dirty parts of a shard as they were at cuts, until the manifests of those are published.

use std::cell::{Cell, RefCell};

use wal::planted::{self, Bug};
use wal::{Epoch, Lsn, ShardBlock, ShardRun};

use super::Env;
use super::block_set::BlockSet;
use super::cache::{BlockCache, CutTag, VolumeNo};
use super::limits::SETTLE_BLOCKS;
use super::place::Place;
use super::places::Places;
use super::shard::{Maps, Shard};

/// Two planted bugs at once.
fn takes_newest() -> bool {
    planted::is(Bug::CutTakesNewest) || planted::is(Bug::FrozenMemoryReplaced)
}

/// The blocks of a cut that were written since the one before.
pub(super) struct Frozen {
    /// The epoch that it ended.
    pub(super) epoch: Epoch,
    /// Where they are.
    pub(super) map: Places,
    /// Newest record of the cut; none if an earlier opening made it.
    pub(super) position: Option<Lsn>,
    /// All blocks below that are in the log have been packed into chunks.
    packed_below: Cell<ShardBlock>,
    /// Blocks that the cache keeps for the cut.
    aside: RefCell<Vec<ShardBlock>>,
}

impl Frozen {
    /// A cut of which nothing is packed yet.
    pub(super) fn new(epoch: Epoch, map: Places, position: Option<Lsn>) -> Self {
        let packed_below = Cell::new(ShardBlock(0));
        Self { epoch, map, position, packed_below, aside: RefCell::default() }
    }

    /// What the cache knows it by.
    pub(super) fn tag(&self) -> CutTag {
        self.epoch.into()
    }

    /// The blocks of `run`, and all before it, are in chunks: their memory may go.
    pub(super) fn packed(&self, volume: VolumeNo, run: ShardRun, cache: &mut BlockCache) {
        self.packed_below.set(run.end());
        for block in run.start.0..run.end().0 {
            cache.drop_aside(volume, self.tag(), ShardBlock(block));
        }
    }

    /// Whether blocks of a run are in the log and not in chunks yet.
    fn awaits(&self, run: ShardRun) -> bool {
        if !self.map.may_be_logged() || run.end() <= self.packed_below.get() {
            return false;
        }
        self.map.iter_range(run).any(|(_, place)| matches!(place, Some(Place::Log(_))))
    }

    /// The content of blocks that only memory has: a block that was written again since is set aside.
    pub(super) fn held<'c>(
        &self,
        volume: VolumeNo,
        run: ShardRun,
        cache: &'c BlockCache,
    ) -> Vec<&'c [u8]> {
        let held = |block: ShardBlock| {
            let held = match takes_newest() {
                true => cache.peek(volume, block),
                false => cache.peek_of(volume, self.tag(), block),
            };
            held.expect("held blocks stay in the cache")
        };
        (run.start.0..run.end().0).map(ShardBlock).map(held).collect()
    }

    /// The cut is published: nothing of it is kept any more. Does some of it; true if there is more.
    pub(super) fn drop_aside(&self, volume: VolumeNo, cache: &mut BlockCache) -> bool {
        let mut aside = self.aside.borrow_mut();
        let some = aside.len().saturating_sub(SETTLE_BLOCKS as usize)..;
        for block in aside.drain(some) {
            cache.drop_aside(volume, self.tag(), block);
        }
        !aside.is_empty()
    }
}

/// A part of what no manifest covers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Layer {
    /// A cut, as an index into `frozen`: later ones are newer.
    Frozen(usize),
    /// What was written since all cuts.
    Dirty,
}

impl Maps {
    /// Hands out the parts of a run with the newest place of each that no manifest covers, in order.
    pub(super) fn each_layer(
        &self,
        run: ShardRun,
        mut found: impl FnMut(ShardRun, Option<(Layer, Place)>),
    ) {
        let mut rest = run;
        while rest.count > 0 {
            let (part, newest) = self.first_layer(rest);
            found(part, newest);
            rest = ShardRun { start: part.end(), count: rest.count - part.count };
        }
    }

    /// The first part of a run that has its newest version in one place, if no manifest covers it.
    pub(super) fn first_layer(&self, run: ShardRun) -> (ShardRun, Option<(Layer, Place)>) {
        let (mut part, place) = self.dirty.first_part(run);
        let mut newest = place.map(|place| (Layer::Dirty, place));
        for (index, frozen) in self.frozen.iter().enumerate().rev() {
            if newest.is_some() {
                break;
            }
            let place;
            (part, place) = frozen.map.first_part(part);
            newest = place.map(|place| (Layer::Frozen(index), place));
        }
        (part, newest)
    }

    /// Before `run` is overwritten: what cuts that are not published still want of it stays in
    /// the memory cache. Of what is in the log, that is what the cache has for the cut that is being
    /// sealed: it would have to be read back, which for blocks that are written again and again
    /// takes longer than all other sealing.
    /// What only memory has stays until the cut is published, as sealing may begin again.
    pub(super) fn set_aside(&self, volume: VolumeNo, run: ShardRun, cache: &mut BlockCache) {
        // Most blocks are none of these, and every write asks.
        let Some(front) = self.frozen.front() else { return };
        let is_held = || self.unlogged.count(run) > self.absorbed.count(run);
        if !front.awaits(run) && !is_held() {
            return;
        }
        // A block that was overwritten since is not cached in the version of an older cut.
        self.each_layer(run, |part, found| {
            let Some((Layer::Frozen(index), place)) = found else { return };
            let frozen = &self.frozen[index];
            match place {
                Place::Log(_) if index == 0 && part.end() > frozen.packed_below.get() => {}
                Place::Memory if !planted::is(Bug::FrozenMemoryReplaced) => {}
                _ => return,
            }
            let tag = frozen.tag();
            let kept = |block: &ShardBlock| cache.set_aside(volume, tag, *block);
            let blocks = (part.start.0..part.end().0).map(ShardBlock);
            frozen.aside.borrow_mut().extend(blocks.filter(kept));
        });
    }

    /// Content of the blocks of `run` as a cut has them that wrote them, if all of it is in memory.
    pub(super) fn frozen_content<'c>(
        &self,
        index: usize,
        volume: VolumeNo,
        run: ShardRun,
        cache: &'c BlockCache,
    ) -> Option<Vec<&'c [u8]>> {
        let mut found = Vec::with_capacity(run.count as usize);
        let tag = self.frozen[index].tag();
        self.each_layer(run, |part, newest| {
            let is_newest = newest.is_none_or(|(layer, _)| layer == Layer::Frozen(index));
            for block in (part.start.0..part.end().0).map(ShardBlock) {
                let content = match is_newest || takes_newest() {
                    true => cache.peek(volume, block),
                    false => cache.peek_aside(volume, tag, block),
                };
                found.extend(content);
            }
        });
        (found.len() as u64 == run.count).then_some(found)
    }
}

impl<E: Env> Shard<E> {
    /// Reads the epoch for a write that is about to be acknowledged; the first one of a new epoch
    /// freezes what came before it.
    pub(super) fn observe_epoch(&self, maps: &mut Maps) -> Epoch {
        let late = planted::is(Bug::CutTakenLate);
        let epoch = if late { maps.epoch } else { self.shared.epoch() };
        if epoch > maps.epoch {
            self.freeze(maps, epoch);
        }
        epoch
    }

    /// The epoch for a record of what was written before. An idle log may have a mark of the newest one
    /// already, and epochs never fall within a log.
    pub(super) fn stamp(&self, maps: &mut Maps) -> Epoch {
        match planted::is(Bug::StaleStamp) {
            true => maps.epoch,
            false => self.observe_epoch(maps),
        }
    }

    /// Everything up to now is a cut; `epoch` is what comes. Nothing was written here in epochs that
    /// ended in between.
    pub(super) fn freeze(&self, maps: &mut Maps, epoch: Epoch) {
        while maps.epoch < epoch {
            let map = maps.dirty.take();
            maps.absorbed = BlockSet::default();
            let position = Some(self.log.last_lsn());
            maps.frozen.push_back(Frozen::new(maps.epoch, map, position));
            maps.epoch = maps.epoch.next();
        }
    }
}
