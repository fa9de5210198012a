//! A set of blocks of one shard, as bits: for blocks that are in memory anyway, one by one.

use std::collections::BTreeMap;
use std::ops::Range;

use wal::{ShardBlock, ShardRun};

/// Blocks of one word.
const WORD: u64 = u64::BITS as u64;

/// Words of one page: 1,024 blocks take 128 bytes.
const WORDS: usize = 16;
const PAGE: u64 = WORD * WORDS as u64;

type Page = [u64; WORDS];

/// Blocks of a shard; memory is taken for each stretch of 1,024 blocks that has one of them.
#[derive(Default)]
pub(super) struct BlockSet {
    pages: BTreeMap<u64, Page>,
    blocks: u64,
}

impl BlockSet {
    /// Number of blocks.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks == 0
    }

    pub(super) fn insert(&mut self, run: ShardRun) {
        for (page, bits) in parts(run) {
            let page = self.pages.entry(page).or_insert([0; WORDS]);
            for (word, mask) in masks(bits) {
                self.blocks += u64::from((mask & !page[word]).count_ones());
                page[word] |= mask;
            }
        }
    }

    /// Costs by the blocks that are there, however long the run is.
    pub(super) fn remove(&mut self, run: ShardRun) {
        let (first, last) = (run.start.0 / PAGE, (run.end().0 - 1) / PAGE);
        let mut emptied = Vec::new();
        for (&number, page) in self.pages.range_mut(first..=last) {
            for (word, mask) in masks(within(run, number)) {
                self.blocks -= u64::from((mask & page[word]).count_ones());
                page[word] &= !mask;
            }
            if page.iter().all(|word| *word == 0) {
                emptied.push(number);
            }
        }
        for number in emptied {
            self.pages.remove(&number);
        }
    }

    /// Blocks of a run that are there. Costs as [`Self::remove`] does.
    pub(super) fn count(&self, run: ShardRun) -> u64 {
        let (first, last) = (run.start.0 / PAGE, (run.end().0 - 1) / PAGE);
        let there = |number: u64, page: &Page| -> u64 {
            let bits = masks(within(run, number));
            bits.map(|(word, mask)| u64::from((mask & page[word]).count_ones())).sum()
        };
        if first == last {
            return self.pages.get(&first).map_or(0, |page| there(first, page));
        }
        self.pages.range(first..=last).map(|(&number, page)| there(number, page)).sum()
    }

    /// The first blocks from one on that follow each other, up to the end of their word.
    pub(super) fn next_from(&self, from: ShardBlock) -> Option<ShardRun> {
        let page = from.0 / PAGE;
        let mut at = from.0 % PAGE;
        for (&number, words) in self.pages.range(page..) {
            if number > page {
                at = 0;
            }
            for (word, bits) in words.iter().enumerate().skip((at / WORD) as usize) {
                let start = word as u64 * WORD;
                let rest = bits & (u64::MAX << at.saturating_sub(start));
                if rest != 0 {
                    let first = rest.trailing_zeros();
                    let count = u64::from((rest >> first).trailing_ones());
                    let start = ShardBlock(number * PAGE + start + u64::from(first));
                    return Some(ShardRun { start, count });
                }
            }
        }
        None
    }
}

/// A run by pages: the number of each, and the blocks within it.
fn parts(run: ShardRun) -> impl Iterator<Item = (u64, Range<u64>)> {
    (run.start.0 / PAGE..=(run.end().0 - 1) / PAGE).map(move |page| (page, within(run, page)))
}

/// The blocks of a run that are in a page, counted from its start.
fn within(run: ShardRun, page: u64) -> Range<u64> {
    let from = run.start.0.max(page * PAGE) - page * PAGE;
    let to = run.end().0.min((page + 1) * PAGE) - page * PAGE;
    from..to
}

/// Blocks within a page by words: the index of each, and its bits.
fn masks(blocks: Range<u64>) -> impl Iterator<Item = (usize, u64)> {
    (blocks.start / WORD..=(blocks.end - 1) / WORD).map(move |word| {
        let from = blocks.start.max(word * WORD) - word * WORD;
        let count = blocks.end.min((word + 1) * WORD) - word * WORD - from;
        (word as usize, (u64::MAX >> (WORD - count)) << from)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn run(start: u64, count: u64) -> ShardRun {
        ShardRun { start: ShardBlock(start), count }
    }

    fn walk(set: &BlockSet) -> Vec<u64> {
        let mut found = Vec::new();
        let mut at = ShardBlock(0);
        while let Some(run) = set.next_from(at) {
            found.extend(run.start.0..run.end().0);
            at = run.end();
        }
        found
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_numbers(
            changes in prop::collection::vec((any::<bool>(), 0u64..3000, 1u64..1500), 1..20)
        ) {
            let (mut set, mut oracle) = (BlockSet::default(), BTreeSet::new());
            for (puts, start, count) in changes {
                if puts {
                    set.insert(run(start, count));
                    oracle.extend(start..start + count);
                } else {
                    set.remove(run(start, count));
                    oracle.retain(|block| !(start..start + count).contains(block));
                }
                prop_assert_eq!(set.blocks(), oracle.len() as u64);
                let there = oracle.range(start..start + count).count() as u64;
                prop_assert_eq!(set.count(run(start, count)), there);
                prop_assert_eq!(set.is_empty(), oracle.is_empty());
                prop_assert_eq!(walk(&set), oracle.iter().copied().collect::<Vec<_>>());
                let next = |from| set.next_from(ShardBlock(from)).map(|run| run.start.0);
                for from in [0, 1, 63, 64, 1023, 1024, start, start + count] {
                    prop_assert_eq!(next(from), oracle.range(from..).next().copied());
                }
            }
        }
    }

    #[test]
    fn a_terabyte_without_blocks_costs_nothing() {
        let mut set = BlockSet::default();
        set.insert(run(7, 1));
        set.insert(run(1 << 28, 2));
        set.remove(run(8, (1 << 36) - 8));
        assert_eq!(walk(&set), [7]);
        assert_eq!(set.pages.len(), 1);
    }
}
