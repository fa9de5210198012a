//! Who owns which block: stripes dealt to shards in turn.
//!
//! A shard sees its stripes laid end to end as one small address space of [`ShardBlock`]s. That
//! makes a request over many stripes one contiguous run for each shard, so TRIM of a terabyte is
//! one map operation per shard whatever the stripe is.

use crate::units::{Extent, Lba, ShardBlock, ShardId};

/// Smallest stripe, as a power of two of blocks: 4 MiB, the span of one map page, so that each
/// page has one owner.
pub const MIN_STRIPE_SHIFT: u8 = 10;

/// Largest stripe: 4 GiB.
pub const MAX_STRIPE_SHIFT: u8 = 20;

/// How the blocks of a volume are dealt to the shards of one server:
/// `owner(lba) = (lba >> stripe_shift) % shards`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    stripe_shift: u8,
    shards: u16,
}

/// A non-empty run `[start, start + count)` in the address space of one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardRun {
    /// First block.
    pub start: ShardBlock,
    /// Number of blocks, at least 1.
    pub count: u64,
}

impl ShardRun {
    /// The block after the last one.
    #[must_use]
    pub fn end(self) -> ShardBlock {
        ShardBlock(self.start.0 + self.count)
    }
}

impl Layout {
    /// Returns `None` if the stripe is out of `[MIN_STRIPE_SHIFT, MAX_STRIPE_SHIFT]` or there is
    /// no shard.
    #[must_use]
    pub fn new(stripe_shift: u8, shards: u16) -> Option<Self> {
        let shift_fits = (MIN_STRIPE_SHIFT..=MAX_STRIPE_SHIFT).contains(&stripe_shift);
        (shift_fits && shards > 0).then_some(Self { stripe_shift, shards })
    }

    /// Blocks of one stripe, as a power of two.
    #[must_use]
    pub fn stripe_shift(self) -> u8 {
        self.stripe_shift
    }

    /// Number of shards, at least 1.
    #[must_use]
    pub fn shards(self) -> u16 {
        self.shards
    }

    /// Blocks of one stripe.
    #[must_use]
    pub fn stripe_blocks(self) -> u64 {
        1 << self.stripe_shift
    }

    /// The shard that owns a block.
    #[must_use]
    pub fn owner(self, lba: Lba) -> ShardId {
        ShardId(((lba.0 >> self.stripe_shift) % u64::from(self.shards)) as u16)
    }

    /// The address of a block within its owner.
    #[must_use]
    pub fn to_shard(self, lba: Lba) -> ShardBlock {
        let stripe = (lba.0 >> self.stripe_shift) / u64::from(self.shards);
        ShardBlock((stripe << self.stripe_shift) | (lba.0 & (self.stripe_blocks() - 1)))
    }

    /// The volume's address of a shard's block: the inverse of [`Self::to_shard`].
    #[must_use]
    pub fn to_volume(self, shard: ShardId, block: ShardBlock) -> Lba {
        debug_assert!(shard.0 < self.shards);
        let stripe = (block.0 >> self.stripe_shift) * u64::from(self.shards) + u64::from(shard.0);
        Lba((stripe << self.stripe_shift) | (block.0 & (self.stripe_blocks() - 1)))
    }

    /// The blocks of `extent` that `shard` owns: always one run, or none.
    #[must_use]
    pub fn owned(self, shard: ShardId, extent: Extent) -> Option<ShardRun> {
        let start = self.lower_bound(shard, extent.lba());
        let end = self.lower_bound(shard, extent.end());
        (end > start).then(|| ShardRun { start: ShardBlock(start), count: end - start })
    }

    /// The runs that `shard` owns of those blocks of `extent` which `maker` owned under the layout
    /// `made`: what an extent in a log or a chunk of an earlier opening means in this one. The
    /// stripe is the same in both. One run if the layouts are equal or `made` has one shard, else one
    /// for each stripe.
    pub fn inherited(
        self,
        shard: ShardId,
        made: Self,
        maker: ShardId,
        extent: Extent,
    ) -> impl Iterator<Item = ShardRun> {
        assert_eq!(self.stripe_shift, made.stripe_shift, "the stripe of a volume never changes");
        let same = self == made;
        let at_once = if same { shard == maker } else { made.shards == 1 };
        let whole = at_once.then(|| self.owned(shard, extent)).flatten();
        let made_by = if same || at_once { None } else { made.owned(maker, extent) };
        let stripes = made_by.into_iter().flat_map(move |run| {
            let shift = made.stripe_shift;
            (run.start.0 >> shift..=(run.end().0 - 1) >> shift).filter_map(move |stripe| {
                let start = run.start.0.max(stripe << shift);
                let end = run.end().0.min((stripe + 1) << shift);
                let lba = made.to_volume(maker, ShardBlock(start));
                self.owned(shard, Extent::new(lba, end - start).expect("a part of the run"))
            })
        });
        whole.into_iter().chain(stripes)
    }

    /// How many blocks below `lba` the shard owns, which is the shard address of the first owned
    /// block at or after `lba`.
    fn lower_bound(self, shard: ShardId, lba: Lba) -> u64 {
        let stripe = lba.0 >> self.stripe_shift;
        let (round, turn) = (stripe / u64::from(self.shards), stripe % u64::from(self.shards));
        let within = match turn.cmp(&u64::from(shard.0)) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => lba.0 & (self.stripe_blocks() - 1),
            std::cmp::Ordering::Greater => self.stripe_blocks(),
        };
        (round << self.stripe_shift) + within
    }

    /// The smallest extent of the volume whose blocks owned by `shard` are exactly `run`.
    #[must_use]
    pub fn span(self, shard: ShardId, run: ShardRun) -> Extent {
        let first = self.to_volume(shard, run.start);
        let last = self.to_volume(shard, ShardBlock(run.end().0 - 1));
        Extent::new(first, last.0 - first.0 + 1).expect("a run is not empty")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shard_addresses_are_a_bijection(lba in 0u64..1 << 40, shards in 1u16..17, shift in 10u8..13) {
            let layout = Layout::new(shift, shards).unwrap();
            let owner = layout.owner(Lba(lba));
            prop_assert_eq!(layout.to_volume(owner, layout.to_shard(Lba(lba))), Lba(lba));
        }

        #[test]
        fn owned_counts_exactly_the_blocks_owned(lba in 0u64..9000, count in 1u64..9000, shards in 1u16..5) {
            let layout = Layout::new(10, shards).unwrap();
            let extent = Extent::new(Lba(lba), count).unwrap();
            for shard in (0..shards).map(ShardId) {
                let slow: Vec<_> = (lba..lba + count)
                    .filter(|&l| layout.owner(Lba(l)) == shard)
                    .map(|l| layout.to_shard(Lba(l)).0)
                    .collect();
                match layout.owned(shard, extent) {
                    None => prop_assert!(slow.is_empty()),
                    Some(run) => {
                        prop_assert_eq!(slow, (run.start.0..run.end().0).collect::<Vec<_>>());
                        prop_assert_eq!(layout.owned(shard, layout.span(shard, run)), Some(run));
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn an_inherited_extent_is_the_same_blocks(
            lba in 0u64..9000, count in 1u64..9000, before in 1u16..5, after in 1u16..5,
        ) {
            let (made, now) = (Layout::new(10, before).unwrap(), Layout::new(10, after).unwrap());
            let extent = Extent::new(Lba(lba), count).unwrap();
            for maker in (0..before).map(ShardId) {
                let mut slow: Vec<_> =
                    (lba..lba + count).filter(|&l| made.owner(Lba(l)) == maker).collect();
                let mut fast: Vec<_> = (0..after)
                    .map(ShardId)
                    .flat_map(|shard| {
                        now.inherited(shard, made, maker, extent).flat_map(move |run| {
                            (run.start.0..run.end().0).map(move |b| now.to_volume(shard, ShardBlock(b)).0)
                        })
                    })
                    .collect();
                fast.sort_unstable();
                slow.sort_unstable();
                prop_assert_eq!(fast, slow);
            }
        }
    }

    #[test]
    fn layouts_without_shards_or_with_odd_stripes_are_refused() {
        assert_eq!(Layout::new(10, 0), None);
        assert_eq!(Layout::new(9, 1), None);
        assert_eq!(Layout::new(21, 1), None);
    }
}
