//! Disjoint runs of blocks with a value each: what is dirty, frozen, or not folded into pages yet.

use std::collections::BTreeMap;

use wal::{ShardBlock, ShardRun};

/// A value that belongs to a whole run of blocks and can be cut into parts.
pub trait Piece: Clone {
    /// The value of the same run without its first `blocks`, which are fewer than the run has.
    #[must_use]
    fn skip(&self, blocks: u64) -> Self;

    /// Whether a run of `blocks` with this value and the run right behind it with `next` can be
    /// told as one run with this value.
    fn joins(&self, blocks: u64, next: &Self) -> bool;
}

/// Disjoint runs over the blocks of one shard, each with a value; blocks of no run have none.
#[derive(Clone, Debug)]
pub struct ExtentMap<V> {
    /// First block → number of blocks and value.
    runs: BTreeMap<u64, (u64, V)>,
    blocks: u64,
}

impl<V> Default for ExtentMap<V> {
    fn default() -> Self {
        Self { runs: BTreeMap::new(), blocks: 0 }
    }
}

impl<V: Piece> ExtentMap<V> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of runs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether no block has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Number of blocks that have a value.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Gives `run` a value, over whatever was there. Returns how many of its blocks had one.
    pub fn insert(&mut self, run: ShardRun, value: V) -> u64 {
        let (start, right) = (run.start.0, run.end().0);
        // Most runs replace one of their own length, or come to where nothing is: a map of millions of
        // runs is far from the processor, so it is looked at as seldom as can be.
        let covered = match self.runs.range_mut(..right).next_back() {
            Some((&first, (count, old))) if (first, *count) == (start, run.count) => {
                *old = value;
                return run.count;
            }
            Some((&first, (count, _))) if first + *count > start => self.remove(run),
            _ => 0,
        };
        self.blocks += run.count;
        let mut count = run.count;
        if let Some((more, next)) = self.runs.get(&right)
            && value.joins(count, next)
        {
            count += more;
            self.runs.remove(&right);
        }
        if let Some((&left, (before, held))) = self.runs.range_mut(..start).next_back()
            && left + *before == start
            && held.joins(*before, &value)
        {
            *before += count;
        } else {
            self.runs.insert(start, (count, value));
        }
        covered
    }

    /// Takes the value from every block of `run`. Returns how many had one.
    pub fn remove(&mut self, run: ShardRun) -> u64 {
        let (start, end) = (run.start.0, run.end().0);
        let mut removed = 0;
        let mut tail = None;
        if let Some((&left, (count, value))) = self.runs.range_mut(..start).next_back()
            && left + *count > start
        {
            let left_end = left + *count;
            if left_end > end {
                tail = Some((left_end - end, value.skip(end - left)));
            }
            removed += left_end.min(end) - start;
            *count = start - left;
        }
        while let Some((&first, _)) = self.runs.range(start..end).next() {
            let (count, value) = self.runs.remove(&first).expect("was found just now");
            if first + count > end {
                tail = Some((first + count - end, value.skip(end - first)));
            }
            removed += (first + count).min(end) - first;
        }
        if let Some(tail) = tail {
            self.runs.insert(end, tail);
        }
        self.blocks -= removed;
        removed
    }

    /// Takes the first run out, or as much of it as the blocks that `most` tells of its value.
    pub fn take_first(&mut self, most: impl FnOnce(&V) -> u64) -> Option<(ShardRun, V)> {
        let (start, (count, value)) = self.runs.pop_first()?;
        let taken = count.min(most(&value));
        if taken < count {
            self.runs.insert(start + taken, (count - taken, value.skip(taken)));
        }
        self.blocks -= taken;
        Some((ShardRun { start: ShardBlock(start), count: taken }, value))
    }

    /// The value at `block`, and the rest of its run from there.
    #[must_use]
    pub fn get(&self, block: ShardBlock) -> Option<(ShardRun, V)> {
        let (&first, (count, value)) = self.runs.range(..=block.0).next_back()?;
        let skipped = block.0 - first;
        if skipped >= *count {
            return None;
        }
        let value = if skipped == 0 { value.clone() } else { value.skip(skipped) };
        Some((ShardRun { start: block, count: count - skipped }, value))
    }

    /// Covers `run` from its first block to its last: parts that have a value, and gaps.
    pub fn iter_range(&self, run: ShardRun) -> impl Iterator<Item = (ShardRun, Option<V>)> + '_ {
        let end = run.end().0;
        let mut next = run.start.0;
        let mut head = self.get(run.start);
        // What a run has besides its first block is looked for where there may be something.
        let behind = head.as_ref().map_or(next + 1, |(held, _)| held.end().0);
        let rest = (behind < end).then(|| self.runs.range(behind..end));
        let mut rest = rest.into_iter().flatten().peekable();
        std::iter::from_fn(move || {
            if next == end {
                return None;
            }
            let start = ShardBlock(next);
            let (stop, value) = if let Some((held, value)) = head.take() {
                (held.end().0.min(end), Some(value))
            } else if let Some(&(&first, (count, value))) = rest.peek() {
                if first == next {
                    rest.next();
                    ((first + count).min(end), Some(value.clone()))
                } else {
                    (first, None)
                }
            } else {
                (end, None)
            };
            next = stop;
            Some((ShardRun { start, count: stop - start.0 }, value))
        })
    }

    /// All runs in order.
    pub fn iter(&self) -> impl Iterator<Item = (ShardRun, &V)> + '_ {
        self.runs.iter().map(as_run)
    }

    /// The runs whose first block is `from` or a later one, in order: a walk can stop and go on.
    pub fn iter_from(&self, from: ShardBlock) -> impl Iterator<Item = (ShardRun, &V)> + '_ {
        self.runs.range(from.0..).map(as_run)
    }

    /// The first run that reaches beyond `from`, without its blocks before `from`.
    #[must_use]
    pub fn next_from(&self, from: ShardBlock) -> Option<(ShardRun, V)> {
        self.get(from)
            .or_else(|| self.iter_from(from).next().map(|(run, value)| (run, value.clone())))
    }

    /// Hands out all runs and leaves the map empty.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Checks what must always hold.
    ///
    /// # Panics
    /// If runs are empty, overlap, or the block count is wrong.
    pub fn self_check(&self) {
        let mut end = 0;
        let mut blocks = 0;
        for (&first, (count, _)) in &self.runs {
            assert!(*count > 0, "the run at {first} is empty");
            assert!(first >= end, "the run at {first} overlaps the one before it");
            end = first.checked_add(*count).expect("runs stay within the address space");
            blocks += count;
        }
        assert_eq!(blocks, self.blocks, "blocks in runs and blocks counted");
    }
}

fn as_run<'a, V>((&first, (count, value)): (&u64, &'a (u64, V))) -> (ShardRun, &'a V) {
    (ShardRun { start: ShardBlock(first), count: *count }, value)
}

impl<V> IntoIterator for ExtentMap<V> {
    type Item = (ShardRun, V);
    type IntoIter = IntoIter<V>;

    fn into_iter(self) -> IntoIter<V> {
        IntoIter(self.runs.into_iter())
    }
}

/// The runs of a map in order.
#[derive(Debug)]
pub struct IntoIter<V>(std::collections::btree_map::IntoIter<u64, (u64, V)>);

impl<V> Iterator for IntoIter<V> {
    type Item = (ShardRun, V);

    fn next(&mut self) -> Option<(ShardRun, V)> {
        let (first, (count, value)) = self.0.next()?;
        Some((ShardRun { start: ShardBlock(first), count }, value))
    }
}

#[cfg(test)]
mod tests;
