//! How old a write in memory may get.
//!
//! Somebody looks at the blocks that only memory has, from time to time. Few of them go to the log
//! once they are old. Many are better off in a cut: sealed from memory they are written once, and
//! not once to the log and once more to a chunk. A cut that is not published in time, as the store
//! is slow or down, changes nothing: then they go to the log.

use std::rc::Rc;

use wal::Epoch;
use wal::runtime::Runtime;

use super::Env;
use super::limits::{CUT_LOOKS_LEAST, CUT_LOOKS_MOST, UNLOGGED_LOOK, UNLOGGED_LOOKS};
use super::shard::{Maps, Shard};

/// What is to be done about what is in memory only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Nothing,
    Cut,
    Pour,
}

/// What the last look saw.
struct Watch {
    /// Looks that the oldest block may have seen.
    looks: u32,
    /// Those of them since a cut is being made.
    since_cut: u32,
    /// Looks that a cut takes: as many as the last one, or little less than the one before.
    cut_looks: u32,
    epoch: Epoch,
}

impl Watch {
    fn new(epoch: Epoch) -> Self {
        Self { looks: 0, since_cut: 0, cut_looks: CUT_LOOKS_LEAST, epoch }
    }

    /// Whether a cut must begin to be published in time, if it takes a quarter longer than expected.
    /// The later, the more of what is written meanwhile is overwritten, and never sealed.
    fn is_time_to_cut(&self) -> bool {
        let takes = self.cut_looks + self.cut_looks / 4 + 1;
        let is_under_way = self.since_cut > 0;
        let left = UNLOGGED_LOOKS - self.looks;
        !is_under_way && left <= takes.clamp(CUT_LOOKS_LEAST, CUT_LOOKS_MOST)
    }

    /// `much`: see [`super::limits::Tuning::cut_unlogged_blocks`].
    fn look(&mut self, maps: &Maps, much: u64) -> Due {
        self.looks += 1;
        if maps.epoch > self.epoch {
            self.since_cut += 1;
            if maps.frozen.is_empty() {
                // A cut was published: all there is was written since it began.
                self.looks = self.since_cut;
                let took = std::mem::take(&mut self.since_cut);
                self.cut_looks = took.min(CUT_LOOKS_MOST).max(self.cut_looks - 1);
                self.epoch = maps.epoch;
            }
        }
        let is_last = self.looks >= UNLOGGED_LOOKS;
        let is_much = maps.unlogged.blocks() >= much;
        match (is_last, is_much) {
            (true, _) => {
                if self.since_cut > 0 {
                    self.cut_looks = CUT_LOOKS_MOST;
                }
                self.looks = 0;
                self.since_cut = 0;
                Due::Pour
            }
            (false, true) if self.is_time_to_cut() => Due::Cut,
            (false, _) => Due::Nothing,
        }
    }
}

impl<E: Env> Shard<E> {
    /// Sees to it that nothing is in memory only for long.
    pub(super) fn watch_unlogged(&self, maps: &Maps) {
        if self.watching.replace(true) {
            return;
        }
        // Closed by now, if it is not there.
        let Ok(shard) = self.core.shard(self.volume) else { return };
        let (shard, runtime) = (Rc::downgrade(&shard), self.core.runtime.clone());
        let mut watch = Watch::new(maps.epoch);
        self.core.runtime.spawn(async move {
            loop {
                runtime.sleep(UNLOGGED_LOOK).await;
                let Some(shard) = shard.upgrade() else { return };
                if shard.shared.alive().is_err() {
                    return;
                }
                let due = watch.look(&shard.maps.borrow(), shard.core.tuning.cut_unlogged_blocks);
                match due {
                    Due::Nothing => {}
                    Due::Cut => shard.core.note_dirty(shard.volume, true),
                    // A log without room gets some, or the next flush is told. One that fails stops
                    // the volume, and its next user is told.
                    Due::Pour => {
                        if let Ok(position) = shard.pour().await {
                            drop(shard.log.sync(position).await);
                        }
                    }
                }
                if shard.maps.borrow().unlogged.is_empty() {
                    shard.watching.set(false);
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use wal::{Layout, Lsn, ShardBlock, ShardId, ShardRun};

    use super::*;
    use crate::engine::block_set::BlockSet;
    use crate::engine::frozen::Frozen;
    use crate::engine::places::Places;
    use crate::engine::sealed::SealedMap;

    const MUCH: u64 = 1 << 14;

    fn maps(unlogged: u64) -> Maps {
        let layout = Layout::new(10, 1).expect("a layout");
        let mut maps = Maps {
            epoch: Epoch(1),
            dirty: Places::default(),
            frozen: Default::default(),
            sealed: SealedMap::new(layout, ShardId(0), Default::default(), 1),
            unlogged: BlockSet::default(),
            absorbed: BlockSet::default(),
        };
        maps.unlogged.insert(ShardRun { start: ShardBlock(0), count: unlogged });
        maps
    }

    fn after(looks: u32) -> Watch {
        Watch { looks, ..Watch::new(Epoch(1)) }
    }

    fn begin_cut(maps: &mut Maps) {
        maps.epoch = maps.epoch.next();
        maps.frozen.push_back(Frozen::new(maps.epoch, Places::default(), Some(Lsn(0))));
    }

    /// Looks without a cut until one is due.
    fn looks_until_cut(watch: &mut Watch, maps: &Maps) -> u32 {
        let mut looks = 1;
        while watch.look(maps, MUCH) != Due::Cut {
            looks += 1;
        }
        looks
    }

    #[test]
    fn what_was_written_while_a_cut_was_made_is_as_old_as_that() {
        let (mut watch, mut maps) = (after(0), maps(1));
        begin_cut(&mut maps);
        for _ in 1..UNLOGGED_LOOKS {
            assert_eq!(watch.look(&maps, MUCH), Due::Nothing);
        }
        maps.frozen.clear();
        assert_eq!(watch.look(&maps, MUCH), Due::Pour, "written just after it began");
    }

    #[test]
    fn little_goes_to_the_log_when_it_is_old() {
        let (mut watch, maps) = (after(0), maps(1));
        for _ in 1..UNLOGGED_LOOKS {
            assert_eq!(watch.look(&maps, MUCH), Due::Nothing);
        }
        assert_eq!(watch.look(&maps, MUCH), Due::Pour);
        assert_eq!(watch.look(&maps, MUCH), Due::Nothing, "it begins anew");
    }

    #[test]
    fn much_is_cut_and_goes_to_the_log_only_if_the_cut_takes_too_long() {
        let mut maps = maps(MUCH);
        let mut watch = after(UNLOGGED_LOOKS - 2);
        assert_eq!(watch.look(&maps, MUCH), Due::Cut);
        begin_cut(&mut maps);
        assert_eq!(watch.look(&maps, MUCH), Due::Pour, "it is not published");
        watch = after(UNLOGGED_LOOKS - 1);
        maps.frozen.clear();
        assert_eq!(watch.look(&maps, MUCH), Due::Nothing, "what there is came after the cut");
    }

    #[test]
    fn a_cut_begins_the_earlier_the_longer_they_take() {
        let mut maps = maps(MUCH);
        let mut watch = after(0);
        let first = looks_until_cut(&mut watch, &maps);
        assert!(first > UNLOGGED_LOOKS / 2 && first + CUT_LOOKS_LEAST < UNLOGGED_LOOKS, "{first}");
        begin_cut(&mut maps);
        for _ in 0..CUT_LOOKS_LEAST {
            assert_eq!(watch.look(&maps, MUCH), Due::Nothing, "one at a time");
        }
        maps.frozen.clear();
        let second = CUT_LOOKS_LEAST + looks_until_cut(&mut watch, &maps);
        assert!(second < first, "{second} after {first}");
        begin_cut(&mut maps);
        while watch.look(&maps, MUCH) != Due::Pour {}
        maps.frozen.clear();
        let third = looks_until_cut(&mut watch, &maps);
        assert_eq!(third, UNLOGGED_LOOKS - CUT_LOOKS_MOST, "one took too long");
        begin_cut(&mut maps);
        assert_eq!(watch.look(&maps, MUCH), Due::Nothing);
        maps.frozen.clear();
        let fourth = 1 + looks_until_cut(&mut watch, &maps);
        assert!((third..second).contains(&fourth), "one that was short tells little: {fourth}");
    }
}
