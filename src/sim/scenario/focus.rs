//! Worlds drawn for one kind of trouble, which in others is rare.

use std::time::Duration;

use chunk::{Durability, Fencing, LeaseTerm};

use super::{Scenario, draw_stripes};
use crate::engine::chunk_cache::CacheSize;
use crate::sim::judge::BLOCK_SECTORS;
use crate::sim::limits::MAX_REQUEST_SECTORS;
use crate::sim::random::Random;

impl Scenario {
    /// The same world, but for what is stored, which rots after each of its lives.
    #[must_use]
    pub fn rotting(mut self) -> Self {
        (self.rot_one_in, self.rest_one_in) = (1, 2);
        self.tuning.cache_blocks = self.tuning.cache_blocks.min(8);
        self
    }

    /// The same world, but for its store, which fails and lies often.
    #[must_use]
    pub fn lying(mut self) -> Self {
        (self.store.error_one_in, self.store.lie_one_in) = (6, 6);
        self
    }

    /// The same world, but for its disk, which fails in each of its lives while many wait for syncs of
    /// single shards.
    #[must_use]
    pub fn failing(mut self) -> Self {
        self.disk_error_one_in = 1;
        (self.mix.flush, self.mix.fua) = (self.mix.flush + 5, self.mix.fua + 40);
        (self.clients, self.think) = (8, Duration::ZERO);
        self
    }

    /// The same world, but for its disk, which is full for a while in each of its lives.
    #[must_use]
    pub fn full(mut self) -> Self {
        self.full_one_in = 1;
        self.tuning.segment_blocks = self.tuning.segment_blocks.min(64);
        self
    }

    /// The same world, but for a disk that often stalls while more is written than it takes.
    #[must_use]
    pub fn stalling(mut self) -> Self {
        self.stall_one_in = 4;
        (self.tuning.segment_blocks, self.tuning.wal_segments) = (255, 12);
        self.request_sectors = MAX_REQUEST_SECTORS;
        (self.mix.flush, self.mix.fua, self.mix.cut) = (0, 0, 0);
        (self.life_steps, self.long_lives) = (8000, true);
        (self.clients, self.think) = (8, Duration::ZERO);
        self
    }

    /// The same world, but for hosts that take its volume from each other, with much flushed that
    /// is not published.
    #[must_use]
    pub fn contested(mut self) -> Self {
        self.take_over_one_in = 2;
        self.disk_loss_one_in = 0;
        (self.store.lie_one_in, self.disk_error_one_in, self.rot_one_in) = (0, 0, 0);
        self.mix.fua += 10;
        self.mix.cut = 0;
        self.tuning.cut_every = Duration::from_secs(2);
        self.life_steps = self.life_steps.min(1500);
        self
    }

    /// The same world, with snapshots, and clones of them in each life.
    #[must_use]
    pub fn copied(mut self) -> Self {
        (self.mix.snapshot, self.clone_one_in) = (3, 1);
        (self.store.lie_one_in, self.rot_one_in) = (0, 0);
        self
    }

    /// The same world, whose volume has another size in each life.
    #[must_use]
    pub fn resized(mut self) -> Self {
        (self.resize_one_in, self.grow_one_in) = (1, 6);
        (self.store.lie_one_in, self.rot_one_in, self.disk_error_one_in) = (0, 0, 0);
        self.mix.fua += 5;
        self
    }

    /// The same world, but for much that is overwritten, collected and compacted, while readers
    /// ask a store that takes its time.
    #[must_use]
    pub fn collected(mut self) -> Self {
        (self.store.error_one_in, self.store.hang_one_in, self.store.lie_one_in) = (0, 0, 0);
        (self.store.slow, self.stall_one_in, self.outage_one_in) = (false, 0, 0);
        (self.disk_error_one_in, self.full_one_in, self.rot_one_in) = (0, 0, 0);
        (self.tuning.gc_grace, self.tuning.gc_after_blocks) = (Duration::from_millis(50), 0);
        (self.tuning.cache_blocks, self.tuning.disk_cache) = (1, CacheSize::default());
        self.tuning.cut_blocks = self.tuning.cut_blocks.min(64);
        (self.mix.read, self.mix.write) = (20, 20);
        self.think = self.think.max(Duration::from_millis(2));
        (self.life_steps, self.long_lives) = (8000, true);
        (self.mix.snapshot, self.clone_one_in) = (1, 2);
        self
    }

    /// The same world, but for much that is compacted while it is written, before the disk is lost.
    #[must_use]
    pub fn compacted(self) -> Self {
        let mut collected = self.collected();
        (collected.disk_loss_one_in, collected.take_over_one_in) = (2, 0);
        (collected.mix.snapshot, collected.clone_one_in) = (0, 0);
        collected.tuning.gc_grace = Duration::from_millis(20);
        collected.tuning.chunk_blocks = collected.tuning.chunk_blocks.clamp(4, 16);
        // What was written since a cut waits long for the next one.
        (collected.tuning.cut_blocks, collected.mix.cut) = (512, 0);
        collected.tuning.cut_every = Duration::from_millis(200);
        (collected.clients, collected.request_sectors) = (8, 8 * BLOCK_SECTORS);
        collected.whole_blocks = true;
        collected
    }

    /// The same world, but for hosts that take its volume from each other when the lease of the
    /// one that stands still has run out.
    #[must_use]
    pub fn leased(self) -> Self {
        let mut contested = self.contested();
        contested.mix.flush += 10;
        contested.tuning.promises.fencing = Fencing::Lease(LeaseTerm::default());
        contested
    }

    /// The same world, but for a volume of this durability, whose disk is lost now and then.
    #[must_use]
    pub fn durable(mut self, durability: Durability) -> Self {
        self.tuning.promises.durability = durability;
        (self.take_over_one_in, self.disk_error_one_in) = (0, 0);
        self.disk_loss_one_in = if durability == Durability::Remote { 2 } else { 0 };
        self.mix.flush += 5;
        self
    }

    /// The same world, but for its disk, which is lost after many cuts in the midst of writes that
    /// nothing holds up.
    #[must_use]
    pub fn losing(mut self) -> Self {
        let random = &mut Random::stream(self.seed, "losing");
        self.disk_loss_one_in = 2;
        self.take_over_one_in = 0;
        (self.store.fast, self.store.slow, self.near) = (true, false, true);
        (self.life_steps, self.long_lives) = (random.scaled(500..4000), true);
        self.tuning.ring_delay *= 20;
        self.windows = draw_stripes(self.volume_blocks, random);
        self.most_cores = 4;
        (self.mix.flush, self.mix.fua, self.mix.cut) = (0, 0, 0);
        self.tuning.cut_blocks = random.scaled(8..64);
        self
    }
}
