//! What a seed makes of a world: sizes, workload and faults, each of them switched off in some
//! seeds, so that bugs which one feature hides from another can show.

mod focus;
mod troubles;

use std::ops::Range;
use std::time::Duration;

use chunk::{Compression, Promises};

use super::disk::{Call, PowerLoss};
use super::limits::{MAX_REQUEST_SECTORS, MAX_TRACKED_BLOCKS, MIN_CRASHES};
use super::random::Random;
use super::store::StoreFaults;
use crate::engine::chunk_cache::CacheSize;

/// Blocks of the smallest stripe and of one map page.
const STRIPE_BLOCKS: u64 = 1 << wal::layout::MIN_STRIPE_SHIFT;

/// Sizes and limits that a world wants of its subject: tiny ones, so that everything that happens
/// once a day to a server happens here all the time. A subject uses those that it knows.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// Blocks of a stripe, as a power of two.
    pub stripe_shift: u8,
    /// Blocks of one WAL segment.
    pub segment_blocks: u64,
    /// WAL segments of one shard before writes wait.
    pub wal_segments: u64,
    /// Blocks that a shard's cache holds.
    pub cache_blocks: u64,
    /// Blocks of it that may be in no log yet; no more than the cache may hold ever are.
    pub unlogged_blocks: u64,
    /// Blocks in memory only that are cut rather than logged, and for whose cut writers wait.
    pub cut_unlogged_blocks: u64,
    /// Blocks a second that a cut must make for that.
    pub pace_least: u64,
    /// Writes stay in memory when nobody has flushed for so long.
    pub absorb_after: Duration,
    /// Most blocks of a chunk.
    pub chunk_blocks: u64,
    /// Unfolded chunks that make the map fold.
    pub fold_after: u64,
    /// Time between cuts.
    pub cut_every: Duration,
    /// Dirty blocks that make a cut.
    pub cut_blocks: u64,
    /// Blocks that a core reads ahead.
    pub read_ahead_blocks: u64,
    /// The cache on the local disk, of one core.
    pub disk_cache: CacheSize,
    /// Messages that a ring of the mesh holds.
    pub ring_messages: usize,
    /// Longest time that a message takes from core to core.
    pub ring_delay: Duration,
    /// What the volume promises.
    pub promises: Promises,
    /// How long something is unneeded before it is collected, and the pause between two passes.
    pub gc_grace: Duration,
    /// Blocks that are written between two passes.
    pub gc_after_blocks: u64,
    /// How chunks are compressed.
    pub compression: Compression,
}

impl Tuning {
    fn draw(random: &mut Random) -> Self {
        Self {
            stripe_shift: wal::layout::MIN_STRIPE_SHIFT,
            segment_blocks: random.scaled(24..256),
            wal_segments: random.within(3..12),
            cache_blocks: random.scaled(1..256),
            unlogged_blocks: 0,
            cut_unlogged_blocks: u64::MAX,
            pace_least: u64::MAX,
            absorb_after: Duration::ZERO,
            chunk_blocks: random.scaled(1..128),
            fold_after: random.scaled(1..32),
            cut_every: Duration::from_millis(random.scaled(1..10_000)),
            cut_blocks: random.scaled(8..512),
            read_ahead_blocks: 0,
            disk_cache: CacheSize::default(),
            ring_messages: random.scaled(8..64) as usize,
            ring_delay: Duration::from_micros(60),
            promises: Promises::default(),
            gc_grace: NEVER_COLLECTED,
            gc_after_blocks: 0,
            compression: Compression::None,
        }
    }
}

/// No world lasts so long.
const NEVER_COLLECTED: Duration = Duration::from_secs(1 << 30);

/// How often each command is sent, relative to the others.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Writes.
    pub write: u64,
    /// Writes with FUA.
    pub fua: u64,
    /// Reads.
    pub read: u64,
    /// Flushes.
    pub flush: u64,
    /// TRIMs.
    pub discard: u64,
    /// WRITE_ZEROES.
    pub zero: u64,
    /// Cuts.
    pub cut: u64,
    /// Snapshots.
    pub snapshot: u64,
}

impl Mix {
    fn draw(random: &mut Random) -> Self {
        let mut weight = |most: u64| if random.chance(3) { 0 } else { 1 + random.below(most) };
        let (fua, read, flush) = (weight(8), weight(20), weight(8));
        let (discard, zero, cut) = (weight(6), weight(6), weight(4));
        Self { write: 10 + weight(30), fua, read, flush, discard, zero, cut, snapshot: 0 }
    }

    /// Sum of all weights.
    #[must_use]
    pub fn total(&self) -> u64 {
        let changes = self.write + self.fua + self.discard + self.zero;
        changes + self.read + self.flush + self.cut + self.snapshot
    }
}

/// A call on the disk that fails.
#[derive(Clone, Copy, Debug)]
pub struct FailsAt {
    /// Its kind.
    pub call: Call,
    /// Its number among those of its kind, from 0.
    pub nth: u64,
    /// Whether they are counted while the volume opens, or while its clients work.
    pub opening: bool,
}

/// One world, as its seed wants it.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// Size of the volume in blocks: a few stripes.
    pub volume_blocks: u64,
    /// The blocks that are written, in few runs around the edges of stripes, sorted.
    pub windows: Vec<Range<u64>>,
    /// Whether clients mostly write to the window of their own core's number.
    pub near: bool,
    /// Most cores of a life; each life draws its own number.
    pub most_cores: u16,
    /// Clients that work at the same time.
    pub clients: u64,
    /// Crashes.
    pub crashes: u64,
    /// Most steps from the start of the clients to the crash.
    pub life_steps: u64,
    /// Whether a life is seldom much shorter than that.
    pub long_lives: bool,
    /// The commands.
    pub mix: Mix,
    /// Most sectors of a request.
    pub request_sectors: u64,
    /// Whether requests start and end at blocks.
    pub whole_blocks: bool,
    /// Whether zeroes may reach far beyond the windows.
    pub wide_zeroes: bool,
    /// Most time that a client waits between two commands; often none.
    pub think: Duration,
    /// Whether a process may die without the machine.
    pub kills: bool,
    /// The ways in which the power may go.
    pub power: Vec<PowerLoss>,
    /// One in this many crashes takes the local disk with it; none if 0.
    pub disk_loss_one_in: u64,
    /// One in this many lives ends by another host that takes the volume over; none if 0.
    pub take_over_one_in: u64,
    /// One in this many disk calls stalls.
    pub stall_one_in: u64,
    /// One in this many lives finds the cache on its disk damaged; none if 0.
    pub cache_rot_one_in: u64,
    /// One in this many lives meets an error of the disk.
    pub disk_error_one_in: u64,
    /// A call of the second life that fails.
    pub fails_at: Option<FailsAt>,
    /// One in this many lives finds the disk full for a while; none if 0.
    pub full_one_in: u64,
    /// One in this many lives rests before it ends, long enough for everything that is done when
    /// nothing else is; none if 0.
    pub rest_one_in: u64,
    /// After one in this many lives, what is stored is damaged, looked at, and put back; none if
    /// 0.
    pub rot_one_in: u64,
    /// What goes wrong with the store.
    pub store: StoreFaults,
    /// One in this many looks at snapshots makes a clone of one; none if 0.
    pub clone_one_in: u64,
    /// One in this many lives begins by a change of the volume's size; none if 0.
    pub resize_one_in: u64,
    /// One in this many commands makes a volume larger that is not what it was at first; none if 0.
    pub grow_one_in: u64,
    /// One in this many lives has no store at all.
    pub outage_one_in: u64,
    /// Sizes and limits for the subject.
    pub tuning: Tuning,
}

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let random = &mut Random::stream(seed, "scenario");
        let stripes = random.within(1..5);
        let volume_blocks = stripes * STRIPE_BLOCKS - random.below(2) * random.below(900);
        let whole_blocks = random.chance(4);
        let least = if whole_blocks { 8 } else { 1 };
        let power: Vec<_> = PowerLoss::ALL.into_iter().filter(|_| random.chance(2)).collect();
        let no_power_loss = power.is_empty();
        let drawn = Self {
            seed,
            volume_blocks,
            windows: draw_windows(volume_blocks, random),
            near: false,
            most_cores: *random.pick(&[1, 2, 3, 4]),
            clients: random.within(1..9),
            crashes: MIN_CRASHES + random.below(4),
            life_steps: random.scaled(50..8000),
            long_lives: false,
            mix: Mix::draw(random),
            request_sectors: random.scaled(least..MAX_REQUEST_SECTORS + 1),
            whole_blocks,
            wide_zeroes: random.chance(4),
            think: Duration::from_micros(if random.chance(2) { 0 } else { random.below(2000) }),
            kills: no_power_loss || random.chance(2),
            power,
            disk_loss_one_in: 0,
            take_over_one_in: 0,
            stall_one_in: if random.chance(4) { 100 } else { 0 },
            cache_rot_one_in: 0,
            clone_one_in: 0,
            resize_one_in: 0,
            grow_one_in: 0,
            disk_error_one_in: if random.chance(3) { 3 } else { 0 },
            fails_at: None,
            full_one_in: 0,
            rest_one_in: 0,
            rot_one_in: 0,
            store: StoreFaults {
                error_one_in: if random.chance(2) { 0 } else { random.within(3..40) },
                hang_one_in: 0,
                lie_one_in: 0,
                outage: None,
                late_puts: random.chance(2),
                slow: random.chance(8),
                fast: false,
            },
            outage_one_in: if random.chance(4) { 3 } else { 0 },
            tuning: Tuning::draw(random),
        };
        let drawn = drawn.with_losses().with_a_bad_store().with_a_bad_disk().with_caches();
        let drawn = drawn.with_promises().with_a_collector().with_snapshots().with_sizes();
        drawn.with_absorbed_writes().with_compression()
    }

    /// A world in which nothing happens that nobody asks for: two cores, two stripes, and four
    /// blocks around the edge between them.
    #[must_use]
    pub fn calm() -> Self {
        let none =
            Mix { write: 0, fua: 0, read: 0, flush: 0, discard: 0, zero: 0, cut: 0, snapshot: 0 };
        let quiet = Mix { write: 1, ..none };
        Self {
            volume_blocks: 2 * STRIPE_BLOCKS,
            windows: std::iter::once(STRIPE_BLOCKS - 2..STRIPE_BLOCKS + 2).collect(),
            most_cores: 2,
            clients: 1,
            mix: quiet,
            power: PowerLoss::ALL.to_vec(),
            think: Duration::ZERO,
            disk_loss_one_in: 0,
            take_over_one_in: 0,
            stall_one_in: 0,
            disk_error_one_in: 0,
            full_one_in: 0,
            rest_one_in: 0,
            rot_one_in: 0,
            cache_rot_one_in: 0,
            clone_one_in: 0,
            resize_one_in: 0,
            grow_one_in: 0,
            outage_one_in: 0,
            store: StoreFaults::default(),
            tuning: Tuning {
                stripe_shift: wal::layout::MIN_STRIPE_SHIFT,
                segment_blocks: 24,
                wal_segments: 6,
                cache_blocks: 2,
                unlogged_blocks: 0,
                cut_unlogged_blocks: u64::MAX,
                pace_least: u64::MAX,
                absorb_after: Duration::ZERO,
                chunk_blocks: 4,
                fold_after: 2,
                cut_every: Duration::from_secs(36_000),
                cut_blocks: 512,
                ring_messages: 16,
                ring_delay: Duration::from_micros(60),
                read_ahead_blocks: 0,
                disk_cache: CacheSize::default(),
                promises: Promises::default(),
                gc_grace: NEVER_COLLECTED,
                gc_after_blocks: 0,
                compression: Compression::None,
            },
            ..Self::draw(0)
        }
    }

    /// Adds a collector that has something to do in the short lives of these worlds.
    fn with_a_collector(mut self) -> Self {
        let random = &mut Random::stream(self.seed, "collector");
        if random.chance(2) && !self.store.slow && self.stall_one_in == 0 {
            let grace = if self.store.error_one_in > 0 { 40_000 } else { random.within(50..2000) };
            self.tuning.gc_grace = Duration::from_millis(grace);
            self.tuning.gc_after_blocks = random.scaled(1..256) - 1;
        }
        self
    }

    /// Compresses chunks in two of three worlds.
    fn with_compression(mut self) -> Self {
        if !Random::stream(self.seed, "compression").chance(3) {
            self.tuning.compression = Compression::Lz4;
        }
        self
    }

    /// Lets writes stay in memory until somebody flushes, in most worlds.
    fn with_absorbed_writes(mut self) -> Self {
        let random = &mut Random::stream(self.seed, "absorbed");
        if !random.chance(3) {
            self.tuning.unlogged_blocks = random.scaled(1..128);
            self.tuning.absorb_after = Duration::from_millis(random.scaled(1..200) - 1);
        }
        if random.chance(2) {
            self.tuning.cut_unlogged_blocks = random.scaled(8..64);
            self.tuning.pace_least = random.scaled(1..100_000);
        }
        self
    }

    /// The windows in sectors.
    #[must_use]
    pub fn sectors(&self) -> Vec<Range<u64>> {
        let per_block = super::judge::BLOCK_SECTORS;
        let in_sectors = |w: &Range<u64>| w.start * per_block..w.end * per_block;
        self.windows.iter().map(in_sectors).collect()
    }
}

/// A few blocks within each of the first stripes.
fn draw_stripes(volume_blocks: u64, random: &mut Random) -> Vec<Range<u64>> {
    let stripes = volume_blocks.div_ceil(STRIPE_BLOCKS);
    let blocks = random.within(1..5);
    let starts = (0..stripes).map(|stripe| stripe * STRIPE_BLOCKS);
    starts.map(|start| start..start + blocks).collect()
}

/// One to four runs of blocks: at the edges of stripes, across them, at the end of the volume.
fn draw_windows(volume_blocks: u64, random: &mut Random) -> Vec<Range<u64>> {
    let count = random.within(1..5);
    let most = MAX_TRACKED_BLOCKS / count;
    let edges = volume_blocks.div_ceil(STRIPE_BLOCKS) + 1;
    let mut windows: Vec<Range<u64>> = Vec::new();
    for _ in 0..count {
        let blocks = random.scaled(2..most + 1);
        let edge = random.below(edges) * STRIPE_BLOCKS;
        let start = edge.saturating_sub(random.below(blocks + 1)).min(volume_blocks - blocks);
        let window = start..start + blocks;
        if windows.iter().all(|other| other.end <= window.start || window.end <= other.start) {
            windows.push(window);
        }
    }
    windows.sort_by_key(|window| window.start);
    windows
}

#[cfg(test)]
mod tests {
    use chunk::Durability;

    use super::*;

    #[test]
    fn every_scenario_keeps_its_own_limits() {
        for seed in 0..2000 {
            let scenario = Scenario::draw(seed);
            let blocks: u64 = scenario.windows.iter().map(|w| w.end - w.start).sum();
            assert!((1..=MAX_TRACKED_BLOCKS).contains(&blocks), "{scenario:?}");
            assert!(scenario.windows.iter().all(|w| w.end <= scenario.volume_blocks));
            assert!(scenario.windows.is_sorted_by(|a, b| a.end <= b.start), "{scenario:?}");
            assert!(scenario.crashes >= MIN_CRASHES && scenario.mix.write > 0);
            assert!(scenario.kills || !scenario.power.is_empty());
        }
    }

    #[test]
    fn every_feature_is_off_in_some_seeds_and_on_in_others() {
        let features: [fn(&Scenario) -> bool; 24] = [
            |s| s.tuning.compression == Compression::Lz4,
            |s| s.mix.snapshot > 0,
            |s| s.clone_one_in > 0,
            |s| s.resize_one_in > 0,
            |s| s.grow_one_in > 0,
            |s| s.tuning.promises.durability == Durability::Wal,
            |s| s.tuning.promises.durability == Durability::Remote,
            |s| s.tuning.promises.fencing.lease().is_some(),
            |s| s.full_one_in > 0,
            |s| s.rot_one_in > 0,
            |s| s.rest_one_in > 0,
            |s| s.take_over_one_in > 0,
            |s| s.store.hang_one_in > 0,
            |s| s.store.lie_one_in > 0,
            |s| s.disk_loss_one_in > 0,
            |s| s.mix.flush > 0,
            |s| s.mix.fua > 0,
            |s| s.mix.discard + s.mix.zero > 0,
            |s| s.mix.cut > 0,
            |s| s.whole_blocks,
            |s| s.most_cores > 1,
            |s| s.store.error_one_in > 0,
            |s| s.disk_error_one_in > 0,
            |s| s.windows.len() > 1,
        ];
        for (number, feature) in features.into_iter().enumerate() {
            let on = (0..500).filter(|&seed| feature(&Scenario::draw(seed))).count();
            assert!((25..475).contains(&on), "feature {number} is on in {on} of 500 seeds");
        }
    }
}
