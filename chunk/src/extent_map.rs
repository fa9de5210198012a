//! Disjoint runs of blocks with a value each: what is dirty, frozen, or not folded into pages yet.

mod runs;

use wal::{ShardBlock, ShardRun};

use runs::{Held, Place, Runs};

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
    runs: Runs<V>,
    blocks: u64,
}

impl<V> Default for ExtentMap<V> {
    fn default() -> Self {
        Self { runs: Runs::default(), blocks: 0 }
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
        self.runs.len() == 0
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
        let mut left = self.runs.floor(right - 1);
        let mut covered = 0;
        if let Some(place) = left {
            let (first, (count, _)) = self.runs.at(place);
            if (first, *count) == (start, run.count) {
                self.runs.at_mut(place).1 = value;
                return run.count;
            }
            if first + count > start {
                covered = self.remove(run);
                left = self.runs.floor(right - 1);
            }
        }
        self.blocks += run.count;
        let joins_left = |&place: &Place| {
            let (first, (count, held)) = self.runs.at(place);
            first + count == start && held.joins(*count, &value)
        };
        let joined = left.filter(joins_left);
        let next = self.runs.after(left).filter(|&place| {
            let (first, (_, held)) = self.runs.at(place);
            first == right && value.joins(run.count, held)
        });
        match (joined, next) {
            (Some(left), None) => self.runs.at_mut(left).0 += run.count,
            (Some(left), Some(next)) => {
                let (_, (more, _)) = self.runs.remove(next);
                self.runs.at_mut(left).0 += run.count + more;
            }
            (None, Some(next)) => {
                let held = self.runs.at_mut(next);
                *held = (held.0 + run.count, value);
                self.runs.move_first(next, start);
            }
            (None, None) => self.runs.insert_after(left, start, (run.count, value)),
        }
        covered
    }

    /// Takes the value from every block of `run`. Returns how many had one.
    pub fn remove(&mut self, run: ShardRun) -> u64 {
        let (start, end) = (run.start.0, run.end().0);
        let mut removed = 0;
        let mut tail = None;
        let before = start.checked_sub(1).and_then(|before| self.runs.floor(before));
        if let Some(place) = before {
            let (first, (count, value)) = self.runs.at(place);
            let stop = first + *count;
            if stop > end {
                tail = Some((stop - end, value.skip(end - first)));
            }
            if stop > start {
                removed += stop.min(end) - start;
                self.runs.at_mut(place).0 = start - first;
            }
        }
        self.runs.remove_after(before, end, |first, (count, value)| {
            if first + count > end {
                tail = Some((first + count - end, value.skip(end - first)));
            }
            removed += (first + count).min(end) - first;
        });
        if let Some(tail) = tail {
            self.runs.insert_after(self.runs.floor(end), end, tail);
        }
        self.blocks -= removed;
        removed
    }

    /// Whether the run at a place, which begins at or before `block`, has it.
    fn holds(&self, place: Place, block: ShardBlock) -> bool {
        let (first, (count, _)) = self.runs.at(place);
        block.0 - first < *count
    }

    /// The run at a place from `block` on, which is in it.
    fn rest_from(&self, block: ShardBlock, place: Place) -> (ShardRun, V) {
        let (first, (count, value)) = self.runs.at(place);
        let skipped = block.0 - first;
        let value = if skipped == 0 { value.clone() } else { value.skip(skipped) };
        (ShardRun { start: block, count: count - skipped }, value)
    }

    /// The value at `block`, and the rest of its run from there.
    #[must_use]
    pub fn get(&self, block: ShardBlock) -> Option<(ShardRun, V)> {
        let place = self.runs.floor(block.0).filter(|place| self.holds(*place, block))?;
        Some(self.rest_from(block, place))
    }

    /// The first part of `run` that has one value, or none.
    #[must_use]
    pub fn first_part(&self, run: ShardRun) -> (ShardRun, Option<V>) {
        let before = self.runs.floor(run.start.0);
        let (count, value) = match before.filter(|place| self.holds(*place, run.start)) {
            Some(place) => {
                let (held, value) = self.rest_from(run.start, place);
                (held.count, Some(value))
            }
            None => {
                let next = self.runs.after(before).map(|place| self.runs.at(place).0);
                (next.map_or(run.count, |next| next - run.start.0), None)
            }
        };
        (ShardRun { count: count.min(run.count), ..run }, value)
    }

    /// Covers `run` from its first block to its last: parts that have a value, and gaps.
    pub fn iter_range(&self, run: ShardRun) -> impl Iterator<Item = (ShardRun, Option<V>)> + '_ {
        let end = run.end().0;
        let mut next = run.start.0;
        let before = self.runs.floor(next);
        let of_head = before.filter(|place| self.holds(*place, run.start));
        let mut head = of_head.map(|place| self.rest_from(run.start, place));
        let rest = self.runs.iter_at(self.runs.after(before));
        let mut rest = rest.take_while(move |(first, _)| *first < end).peekable();
        std::iter::from_fn(move || {
            if next == end {
                return None;
            }
            let start = ShardBlock(next);
            let (stop, value) = if let Some((held, value)) = head.take() {
                (held.end().0.min(end), Some(value))
            } else if let Some(&(first, (count, value))) = rest.peek() {
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
        self.runs.iter_at(self.runs.ceiling(from.0)).map(as_run)
    }

    /// The first run that reaches beyond `from`, without its blocks before `from`.
    #[must_use]
    pub fn next_from(&self, from: ShardBlock) -> Option<(ShardRun, V)> {
        let before = self.runs.floor(from.0);
        match before.filter(|place| self.holds(*place, from)) {
            Some(place) => Some(self.rest_from(from, place)),
            None => {
                let place = self.runs.after(before)?;
                Some(self.rest_from(ShardBlock(self.runs.at(place).0), place))
            }
        }
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
        self.runs.self_check();
        for (first, (count, _)) in self.runs.iter() {
            assert!(*count > 0, "the run at {first} is empty");
            assert!(first >= end, "the run at {first} overlaps the one before it");
            end = first.checked_add(*count).expect("runs stay within the address space");
            blocks += count;
        }
        assert_eq!(blocks, self.blocks, "blocks in runs and blocks counted");
    }
}

fn as_run<V>((first, (count, value)): (u64, &Held<V>)) -> (ShardRun, &V) {
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
pub struct IntoIter<V>(runs::IntoIter<V>);

impl<V> Iterator for IntoIter<V> {
    type Item = (ShardRun, V);

    fn next(&mut self) -> Option<(ShardRun, V)> {
        let (first, (count, value)) = self.0.next()?;
        Some((ShardRun { start: ShardBlock(first), count }, value))
    }
}

#[cfg(test)]
mod tests;
