//! Writes that are in memory only: absorbed, so that what replaces them never reaches the disk.
//!
//! While nobody flushes, a write goes to the memory cache and no further, as with a disk that has
//! a volatile cache: a block that is written ten times costs one block of the log. Such a block is
//! *held*: the cache does not give its slot away. It goes to the log when somebody flushes, and when
//! it has been in memory for long, see [`super::unlogged_watch`].
//!
//! Three things always hold:
//! - a held block is the newest version of that block, or was set aside as the one that the cut being
//!   sealed has;
//! - the map says [`Place::Memory`] of it, in `dirty`, or in the frozen part if that cut took it
//!   from there;
//! - it has a place in no log yet, and its cut is not published yet.
//!
//! What a power cut leaves after each step:
//! 1. a write is absorbed and acknowledged: its block is as old as before; no flush has covered it.
//! 2. a flush came, the block was copied into an append buffer: as 1, and from there on as any
//!    other append. The flush is answered when that is durable.
//! 3. a cut took the block: it is sealed from memory. The chunk is garbage until the manifest is
//!    published, and all that is needed after it.
//! 4. a block that a cut has not published is replaced: the old version is set aside, where the cut
//!    finds it until it is published, and goes to no log, for a flush needs the newer one only. As 1
//!    for the newer one; the old one is gone if the manifest is not published, as what replaced it
//!    was acknowledged and not flushed, or was flushed and is in the log.

use chunk::Durability;
use futures_lite::future;
use wal::limits::ENTRY_MAX_BLOCKS;
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Lsn, ShardBlock, ShardRun};

use super::Env;
use super::cache::BlockCache;
use super::error::VolumeError;
use super::frozen::Layer;
use super::limits::{PACE_LOOK, POUR_BLOCKS, SETTLE_BLOCKS};
use super::log::NoRoom;
use super::place::Place;
use super::shard::{Maps, Shard};

/// How a write goes into memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Absorbed {
    /// All of its blocks are there only, and in no cut.
    Again,
    /// Some of them are elsewhere.
    Anew,
}

/// How far the blocks in memory went to the log.
enum Poured {
    /// All of them.
    All,
    /// Those before this one.
    Below(ShardBlock),
    /// Those before this one; the log has no room for it.
    Full(ShardBlock),
}

impl Maps {
    /// Whether the newest version of all of `run` is in memory only, and in no cut.
    fn is_held(&self, run: ShardRun) -> bool {
        self.absorbed.count(run) == run.count
    }
}

impl<E: Env> Shard<E> {
    /// Whether, and how, a write of whole blocks stays in memory for now.
    pub(super) fn absorbs(
        &self,
        maps: &Maps,
        cache: &BlockCache,
        run: ShardRun,
    ) -> Option<Absorbed> {
        if !self.may_absorb() {
            return None;
        }
        if maps.is_held(run) {
            return Some(Absorbed::Again);
        }
        let held = u64::from(cache.held()) + run.count;
        let fits = held <= u64::from(self.core.tuning.unlogged_blocks)
            && (self.pace.grants(held) || !self.pace.keeps_up(self.core.runtime.now()));
        let later = maps.unlogged.blocks() + run.count;
        (fits && self.log.is_ready_for(later) && self.is_unflushed()).then_some(Absorbed::Anew)
    }

    /// Whether writes of this volume may be in memory only.
    fn may_absorb(&self) -> bool {
        let is_on = self.core.tuning.unlogged_blocks > 0;
        is_on && self.shared.durability == Durability::Writeback
    }

    /// Nobody has flushed lately.
    fn is_unflushed(&self) -> bool {
        let flushed = self.shared.flushed_at();
        flushed.is_none_or(|at| self.core.runtime.now() >= at + self.core.tuning.absorb_after)
    }

    /// Whether a write for which memory has no room waits for some, rather than go to the log.
    pub(super) fn waits_for_memory(&self) -> bool {
        let keeps_up = || self.pace.keeps_up(self.core.runtime.now());
        self.may_absorb() && keeps_up() && self.is_unflushed() && self.shared.alive().is_ok()
    }

    /// Waits until sealing got on, or not for long.
    pub(super) async fn wait_for_memory(&self) {
        self.pace.note_waiter();
        let mut is_first = true;
        let moved = self.pace.moved.until(|| (!std::mem::take(&mut is_first)).then_some(()));
        future::or(moved, self.core.runtime.sleep(PACE_LOOK)).await;
    }

    /// Takes a write into memory.
    pub(super) fn absorb(&self, cache: &mut BlockCache, run: ShardRun, data: &[u8]) {
        for (block, content) in (run.start.0..).zip(data.chunks_exact(BLOCK_BYTES)) {
            cache.hold(self.volume, ShardBlock(block), content);
        }
    }

    /// Before blocks are taken into memory of which some may be elsewhere. Returns how many are not in
    /// memory only, or only as part of a cut.
    pub(super) fn make_way(&self, maps: &mut Maps, cache: &mut BlockCache, run: ShardRun) -> u64 {
        maps.set_aside(self.volume, run, cache);
        let held = maps.absorbed.count(run);
        maps.dirty.insert(run, Place::Memory);
        let is_first = maps.unlogged.is_empty();
        maps.unlogged.insert(run);
        maps.absorbed.insert(run);
        if is_first {
            self.shared.note_unlogged(self.id, true);
            self.watch_unlogged(maps);
        }
        run.count - held
    }

    /// Logs blocks that are held, and holds them no longer.
    fn log_held(
        &self,
        maps: &mut Maps,
        cache: &mut BlockCache,
        run: ShardRun,
    ) -> Result<(), NoRoom> {
        let mut start = run.start;
        while start < run.end() {
            let whole = ShardRun { start, count: run.end().0 - start.0 };
            let (homed, layer) = maps.first_layer(whole);
            let count = homed.count.min(u64::from(ENTRY_MAX_BLOCKS));
            let entry = ShardRun { start, count: count.min(self.stripe_left(start)) };
            let blocks = (entry.start.0..entry.end().0).map(ShardBlock);
            let held = blocks.map(|block| cache.peek(self.volume, block));
            let held: Vec<_> = held.map(|block| block.expect("held blocks stay")).collect();
            let lba = self.shared.layout.to_volume(self.id, start);
            let (of, places) = match layer {
                Some((Layer::Frozen(index), _)) => {
                    let frozen = &mut maps.frozen[index];
                    (frozen.epoch, &mut frozen.map)
                }
                Some((Layer::Dirty, _)) => (maps.epoch, &mut maps.dirty),
                None => unreachable!("what only memory has is in a map"),
            };
            let place = self.log.push_older(maps.epoch, of, lba, &held)?;
            places.insert(entry, Place::Log(place));
            cache.let_go(self.volume, entry);
            self.forget_unlogged(maps, entry);
            start = entry.end();
        }
        Ok(())
    }

    /// Blocks from one on to the end of its stripe: data in a log or a chunk lies within one, runs
    /// in memory need not.
    pub(super) fn stripe_left(&self, start: ShardBlock) -> u64 {
        let stripe = self.shared.layout.stripe_blocks();
        stripe - start.0 % stripe
    }

    /// The blocks of `run` are not in memory only, or not any more.
    pub(super) fn forget_unlogged(&self, maps: &mut Maps, run: ShardRun) {
        if maps.unlogged.is_empty() {
            return;
        }
        maps.unlogged.remove(run);
        maps.absorbed.remove(run);
        if maps.unlogged.is_empty() {
            self.shared.note_unlogged(self.id, false);
        }
    }

    /// Brings everything that is in memory only now to the log. Returns the log position that has it.
    ///
    /// # Errors
    /// The volume is stopped, or the log cannot grow: then it is in memory as before.
    pub(super) async fn pour(&self) -> Result<Lsn, VolumeError> {
        let mut from = ShardBlock(0);
        loop {
            self.shared.alive()?;
            match self.pour_some(from) {
                Poured::All => return Ok(self.log.last_lsn()),
                Poured::Below(next) => {
                    from = next;
                    self.core.runtime.pause().await;
                }
                Poured::Full(next) => {
                    from = next;
                    self.log.room().await?;
                }
            }
        }
    }

    fn pour_some(&self, from: ShardBlock) -> Poured {
        let mut maps = self.maps.borrow_mut();
        let mut cache = self.core.cache.borrow_mut();
        self.stamp(&mut maps);
        let mut at = from;
        for _ in 0..POUR_BLOCKS / u64::from(ENTRY_MAX_BLOCKS) {
            let Some(run) = maps.unlogged.next_from(at) else { return Poured::All };
            let count = run.count.min(u64::from(ENTRY_MAX_BLOCKS));
            let entry = ShardRun { start: run.start, count };
            if self.log_held(&mut maps, &mut cache, entry).is_err() {
                return Poured::Full(entry.start);
            }
            at = entry.end();
        }
        Poured::Below(at)
    }

    /// The cut is published: what it had in memory and is the newest needs no other place. Does some
    /// of it, and tells whether there is more: to let go of a cache full of blocks takes long.
    pub(super) fn settle_frozen(&self) -> bool {
        let maps = &mut *self.maps.borrow_mut();
        let mut cache = self.core.cache.borrow_mut();
        let Some(frozen) = maps.frozen.front_mut() else { return false };
        let (mut held, mut settled, mut left) = (Vec::new(), None, SETTLE_BLOCKS);
        for (run, place) in frozen.map.iter() {
            // Only blocks in memory are let go one by one: a hole may be as long as the volume.
            let taken = if *place == Place::Memory { run.count.min(left) } else { run.count };
            let part = ShardRun { count: taken, ..run };
            if *place == Place::Memory {
                held.push(part);
            }
            settled = Some(part.end());
            left = left.saturating_sub(taken);
            if left == 0 {
                break;
            }
        }
        let Some(end) = settled else { return false };
        // From here on the chunks are where they are.
        frozen.map.remove_below(end);
        let mut newest = Vec::new();
        for run in held {
            maps.each_layer(run, |part, found| {
                if found.is_none() {
                    newest.push(part);
                }
            });
        }
        for part in newest {
            cache.let_go(self.volume, part);
            self.forget_unlogged(maps, part);
        }
        true
    }
}
