//! Where the blocks of a shard are, or those of a cut of it, as far as no manifest covers them.

use std::ops::Deref;

use chunk::ExtentMap;
use wal::{ShardBlock, ShardRun};

use super::place::Place;

/// A place for each block that was written.
#[derive(Default)]
pub(super) struct Places {
    map: ExtentMap<Place>,
    /// See [`Self::may_be_logged`].
    logged: bool,
}

impl Places {
    /// Gives the blocks of a run a place.
    pub(super) fn insert(&mut self, run: ShardRun, place: Place) {
        self.logged |= matches!(place, Place::Log(_));
        self.map.insert(run, place);
    }

    /// Whether some of them are, or were, in a log: spares who asks for each write a look.
    pub(super) fn may_be_logged(&self) -> bool {
        self.logged
    }

    /// Forgets all blocks before one.
    pub(super) fn remove_below(&mut self, end: ShardBlock) {
        self.map.remove(ShardRun { start: ShardBlock(0), count: end.0 });
    }

    /// Hands out all, and has none.
    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }
}

impl Deref for Places {
    type Target = ExtentMap<Place>;

    fn deref(&self) -> &ExtentMap<Place> {
        &self.map
    }
}
