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

use chunk::{Durability, Piece};
use wal::limits::ENTRY_MAX_BLOCKS;
use wal::runtime::Runtime;
use wal::{BLOCK_BYTES, Lsn, ShardBlock, ShardRun};

use super::Env;
use super::cache::BlockCache;
use super::error::VolumeError;
use super::frozen::Layer;
use super::limits::{POUR_BLOCKS, SETTLE_BLOCKS};
use super::log::NoRoom;
use super::place::Place;
use super::shard::{Maps, Shard};

/// Marks blocks that only memory has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Held;

impl Piece for Held {
    fn skip(&self, _blocks: u64) -> Self {
        Self
    }

    fn joins(&self, _blocks: u64, _next: &Self) -> bool {
        true
    }
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
        match self.dirty.get(run.start) {
            Some((held, Place::Memory)) => held.count >= run.count,
            _ => false,
        }
    }

    /// Blocks of `run` that were written since the newest cut and are in memory only.
    fn held_blocks(&self, run: ShardRun) -> u64 {
        let parts = self.dirty.iter_range(run);
        parts.filter(|(_, place)| *place == Some(Place::Memory)).map(|(part, _)| part.count).sum()
    }
}

impl<E: Env> Shard<E> {
    /// Whether a write of whole blocks stays in memory for now.
    pub(super) fn absorbs(&self, maps: &Maps, cache: &BlockCache, run: ShardRun) -> bool {
        let tuning = &self.core.tuning;
        if tuning.unlogged_blocks == 0 || self.shared.durability != Durability::Writeback {
            return false;
        }
        if maps.is_held(run) {
            return true;
        }
        let fits = u64::from(cache.held()) + run.count <= u64::from(tuning.unlogged_blocks);
        let waits = || {
            let flushed = self.shared.flushed_at();
            flushed.is_none_or(|at| self.core.runtime.now() >= at + tuning.absorb_after)
        };
        let later = maps.unlogged.blocks() + run.count;
        fits && self.log.is_ready_for(later) && waits()
    }

    /// Takes a write into memory. Returns how many of its blocks were not there before, or only as
    /// part of a cut.
    pub(super) fn absorb(
        &self,
        maps: &mut Maps,
        cache: &mut BlockCache,
        run: ShardRun,
        data: &[u8],
    ) -> u64 {
        let mut fresh = 0;
        if !maps.is_held(run) {
            maps.set_aside(self.volume, run, cache);
            fresh = run.count - maps.held_blocks(run);
            maps.dirty.insert(run, Place::Memory);
            let is_first = maps.unlogged.is_empty();
            maps.unlogged.insert(run, Held);
            if is_first {
                self.shared.note_unlogged(self.id, true);
                self.watch_unlogged(maps);
            }
        }
        for (block, content) in (run.start.0..).zip(data.chunks_exact(BLOCK_BYTES)) {
            cache.hold(self.volume, ShardBlock(block), content);
        }
        fresh
    }

    /// Logs blocks that are held, and holds them no longer.
    fn log_held(
        &self,
        maps: &mut Maps,
        cache: &mut BlockCache,
        run: ShardRun,
    ) -> Result<(), NoRoom> {
        let mut content = self.gathered.borrow_mut();
        let mut start = run.start;
        while start < run.end() {
            let whole = ShardRun { start, count: run.end().0 - start.0 };
            let (homed, layer) = maps.first_layer(whole);
            let count = homed.count.min(u64::from(ENTRY_MAX_BLOCKS));
            let entry = ShardRun { start, count: count.min(self.stripe_left(start)) };
            content.clear();
            for block in entry.start.0..entry.end().0 {
                let held = cache.peek(self.volume, ShardBlock(block));
                content.extend_from_slice(held.expect("held blocks stay in the cache"));
            }
            let lba = self.shared.layout.to_volume(self.id, start);
            let (of, map) = match layer {
                Some(Layer::Frozen(index)) => {
                    let frozen = &mut maps.frozen[index];
                    (frozen.epoch, &mut frozen.map)
                }
                Some(Layer::Dirty) => (maps.epoch, &mut maps.dirty),
                None => unreachable!("what only memory has is in a map"),
            };
            let place = self.log.push_older(maps.epoch, of, lba, &content)?;
            map.insert(entry, Place::Log(place));
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
        let mut at = from;
        for _ in 0..POUR_BLOCKS / u64::from(ENTRY_MAX_BLOCKS) {
            let Some((run, Held)) = maps.unlogged.next_from(at) else { return Poured::All };
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
    /// of it, from a block on, and tells where to go on: to let go of a cache full of blocks takes
    /// long.
    pub(super) fn settle_frozen(&self, from: ShardBlock) -> Option<ShardBlock> {
        let maps = &mut *self.maps.borrow_mut();
        if maps.unlogged.is_empty() {
            return None;
        }
        let mut cache = self.core.cache.borrow_mut();
        let (mut at, mut left) = (None, SETTLE_BLOCKS);
        while left > 0 {
            let (run, place) = maps.frozen.front()?.map.iter_from(at.unwrap_or(from)).next()?;
            let part = ShardRun { start: run.start, count: run.count.min(left) };
            if *place == Place::Memory {
                let mut newest = Vec::new();
                maps.each_layer(part, |part, found| {
                    if matches!(found, Some((Layer::Frozen(0), _))) {
                        newest.push(part);
                    }
                });
                // From here on the chunk is where it is.
                maps.frozen[0].map.remove(part);
                for part in newest {
                    cache.let_go(self.volume, part);
                    self.forget_unlogged(maps, part);
                }
                (at, left) = (Some(part.end()), left - part.count);
            } else {
                (at, left) = (Some(run.end()), left - 1);
            }
        }
        at
    }
}
