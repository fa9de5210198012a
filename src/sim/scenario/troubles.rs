//! What a world is drawn with beside its volume and its clients: each kind from a stream of its own,
//! so that a new kind changes nothing in the worlds that do not have it.

use std::time::Duration;

use chunk::limits::MIN_LEASE_SECONDS;
use chunk::{Durability, Fencing, LeaseTerm};

use super::{Scenario, draw_stripes};
use crate::engine::chunk_cache::CacheSize;
use crate::sim::random::Random;

impl Scenario {
    /// Adds what can happen to the machine as a whole.
    pub(super) fn with_losses(mut self) -> Self {
        let random = &mut Random::stream(self.seed, "losses");
        if random.chance(3) {
            self.disk_loss_one_in = random.within(2..5);
            // Many cuts in each life, so that what is lost begins in the middle of something.
            self.store.fast = random.chance(2);
            self.life_steps = random.scaled(500..4000);
            self.long_lives = true;
            // Cores that are busy with something else.
            self.tuning.ring_delay *= [1, 20][random.below(2) as usize];
            if random.chance(2) {
                self.near = true;
                self.windows = draw_stripes(self.volume_blocks, random);
                self.most_cores = 4;
                if random.chance(2) {
                    // Writes that nothing holds up, and cuts in the midst of them.
                    (self.mix.flush, self.mix.fua, self.mix.cut) = (0, 0, 0);
                    self.tuning.cut_blocks = random.scaled(8..64);
                }
            }
            if random.chance(3) {
                self.think = Duration::from_millis(random.scaled(10..400));
            }
        }
        self
    }

    /// Adds what can go wrong with a store besides plain errors.
    pub(super) fn with_a_bad_store(mut self) -> Self {
        let random = &mut Random::stream(self.seed, "bad store");
        if self.store.error_one_in > 0 && random.chance(3) {
            self.store.hang_one_in = random.scaled(3..20);
        }
        if random.chance(5) {
            self.take_over_one_in = random.within(1..4);
        } else if random.chance(5) {
            self.store.lie_one_in = random.scaled(4..60);
        }
        self
    }

    /// Adds what can go wrong with a disk besides plain errors.
    pub(super) fn with_a_bad_disk(mut self) -> Self {
        let random = &mut Random::stream(self.seed, "bad disk");
        if random.chance(5) {
            self.full_one_in = random.within(1..4);
        }
        if random.chance(5) {
            self.rot_one_in = random.within(1..4);
            self.rest_one_in = random.within(0..3);
            if random.chance(2) {
                // Logs that no manifest covers.
                self.tuning.cut_every = Duration::from_secs(100);
                self.mix.cut = random.below(2);
            }
        }
        self
    }

    /// Adds what reads do beside reading: a cache on the disk that is too small for the chunks and
    /// rots, and reading ahead.
    pub(super) fn with_caches(mut self) -> Self {
        let random = &mut Random::stream(self.seed, "caches");
        if random.chance(2) {
            let (slabs, slab_slots) = (random.scaled(1..4) as u32, random.scaled(1..8) as u32);
            self.tuning.disk_cache = CacheSize { slabs, slab_slots };
            self.cache_rot_one_in = if random.chance(2) { 0 } else { random.scaled(1..4) };
        }
        if random.chance(2) {
            self.tuning.read_ahead_blocks = random.scaled(1..256);
        }
        self
    }

    /// Adds snapshots, and clones of them.
    pub(super) fn with_snapshots(mut self) -> Self {
        let random = &mut Random::stream(self.seed, "snapshots");
        if random.chance(3) {
            self.mix.snapshot = 1 + random.below(3);
            self.clone_one_in = random.within(0..3);
        }
        self
    }

    /// Adds other sizes, between lives and in the midst of them.
    pub(super) fn with_sizes(mut self) -> Self {
        let random = &mut Random::stream(self.seed, "sizes");
        if random.chance(3) {
            self.resize_one_in = random.within(1..4);
            self.grow_one_in = if random.chance(3) { 0 } else { random.scaled(4..200) };
        }
        self
    }

    /// Adds what the volume promises beyond the usual.
    pub(super) fn with_promises(mut self) -> Self {
        let random = &mut Random::stream(self.seed, "promises");
        let durability = [Durability::Wal, Durability::Remote];
        if random.chance(4) {
            self.tuning.promises.durability = *random.pick(&durability);
        }
        if random.chance(if self.take_over_one_in > 0 { 2 } else { 8 }) {
            let seconds = random.within(MIN_LEASE_SECONDS.into()..4 * u64::from(MIN_LEASE_SECONDS));
            let term = LeaseTerm::new(seconds).expect("within the limits");
            self.tuning.promises.fencing = Fencing::Lease(term);
        }
        self
    }
}
