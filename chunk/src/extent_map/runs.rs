//! An ordered map from the first block of a run to what is known of it, for maps of millions of runs.
//!
//! Runs are kept in leaves of a few hundred, sorted, with the smallest key of each leaf beside each
//! other: a lookup is two binary searches over keys that lie close together, and the neighbours of
//! a run are one step away. In a search tree with a dozen keys a node it is half a dozen nodes, each
//! far from the processor. A leaf that is full is cut in halves, or followed by a new one where keys
//! come in order; one that gets empty goes; leaves that got small stay small.

use std::iter::Zip;
use std::vec;

/// Most runs of a leaf. Small in unit tests, so that few runs have many leaves.
const LEAF: usize = if cfg!(test) { 4 } else { 256 };

/// Number of blocks and value of a run.
pub(super) type Held<V> = (u64, V);

#[derive(Clone, Debug)]
struct Leaf<V> {
    /// First blocks, rising; as many as `held`, and at least one.
    firsts: Vec<u64>,
    held: Vec<Held<V>>,
}

/// Where a run is, until the map changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    leaf: usize,
    at: usize,
}

/// The map.
#[derive(Clone, Debug)]
pub(super) struct Runs<V> {
    /// The smallest key of each leaf.
    lowest: Vec<u64>,
    leaves: Vec<Leaf<V>>,
    len: usize,
}

impl<V> Default for Runs<V> {
    fn default() -> Self {
        Self { lowest: Vec::new(), leaves: Vec::new(), len: 0 }
    }
}

impl<V> Runs<V> {
    /// Number of runs.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where the last run is that begins at or before `key`.
    pub(super) fn floor(&self, key: u64) -> Option<Place> {
        let leaf = self.lowest.partition_point(|lowest| *lowest <= key).checked_sub(1)?;
        let behind = self.leaves[leaf].firsts.partition_point(|first| *first <= key);
        Some(Place { leaf, at: behind - 1 })
    }

    /// Where the first run is that begins at or after `key`.
    pub(super) fn ceiling(&self, key: u64) -> Option<Place> {
        match key.checked_sub(1) {
            Some(before) => self.after(self.floor(before)),
            None => self.after(None),
        }
    }

    /// Where the run behind one is; the first run behind none.
    pub(super) fn after(&self, place: Option<Place>) -> Option<Place> {
        let Some(Place { leaf, at }) = place else {
            return (!self.leaves.is_empty()).then_some(Place { leaf: 0, at: 0 });
        };
        if at + 1 < self.leaves[leaf].firsts.len() {
            return Some(Place { leaf, at: at + 1 });
        }
        (leaf + 1 < self.leaves.len()).then_some(Place { leaf: leaf + 1, at: 0 })
    }

    /// First block, number of blocks and value of the run at a place.
    pub(super) fn at(&self, Place { leaf, at }: Place) -> (u64, &Held<V>) {
        let leaf = &self.leaves[leaf];
        (leaf.firsts[at], &leaf.held[at])
    }

    /// Number of blocks and value of the run at a place, to be changed.
    pub(super) fn at_mut(&mut self, Place { leaf, at }: Place) -> &mut Held<V> {
        &mut self.leaves[leaf].held[at]
    }

    /// Moves the begin of the run at a place; it must stay between those of its neighbours.
    pub(super) fn move_first(&mut self, Place { leaf, at }: Place, first: u64) {
        self.leaves[leaf].firsts[at] = first;
        if at == 0 {
            self.lowest[leaf] = first;
        }
    }

    /// Adds a run behind the one at `place`, before all if that is none.
    pub(super) fn insert_after(&mut self, place: Option<Place>, first: u64, held: Held<V>) {
        self.len += 1;
        let Place { mut leaf, mut at } = match place {
            Some(Place { leaf, at }) => Place { leaf, at: at + 1 },
            None if self.leaves.is_empty() => {
                self.lowest.push(first);
                self.leaves.push(Leaf { firsts: vec![first], held: vec![held] });
                return;
            }
            None => Place { leaf: 0, at: 0 },
        };
        let runs = self.leaves[leaf].firsts.len();
        if runs == LEAF {
            let kept = if at == runs { runs } else { runs / 2 };
            let full = &mut self.leaves[leaf];
            let right =
                Leaf { firsts: full.firsts.split_off(kept), held: full.held.split_off(kept) };
            self.lowest.insert(leaf + 1, right.firsts.first().map_or(first, |lowest| *lowest));
            self.leaves.insert(leaf + 1, right);
            if at > kept || at == runs {
                (leaf, at) = (leaf + 1, at - kept);
            }
        }
        let into = &mut self.leaves[leaf];
        into.firsts.insert(at, first);
        into.held.insert(at, held);
        if at == 0 {
            self.lowest[leaf] = first;
        }
    }

    /// Takes out the run at a place.
    pub(super) fn remove(&mut self, Place { leaf, at }: Place) -> (u64, Held<V>) {
        self.len -= 1;
        let from = &mut self.leaves[leaf];
        let removed = (from.firsts.remove(at), from.held.remove(at));
        if let Some(lowest) = from.firsts.first() {
            self.lowest[leaf] = *lowest;
        } else {
            self.leaves.remove(leaf);
            self.lowest.remove(leaf);
        }
        removed
    }

    /// Takes out the runs behind the one at `place`, all if that is none, that begin before `end`,
    /// and shows each to `each`.
    pub(super) fn remove_after(
        &mut self,
        place: Option<Place>,
        end: u64,
        mut each: impl FnMut(u64, &Held<V>),
    ) {
        let Some(Place { leaf: from, mut at }) = self.after(place) else { return };
        let mut gone = from..from;
        for index in from..self.leaves.len() {
            if self.lowest[index] >= end {
                break;
            }
            let leaf = &mut self.leaves[index];
            let stop = leaf.firsts.partition_point(|first| *first < end);
            for (first, held) in leaf.firsts.drain(at..stop).zip(leaf.held.drain(at..stop)) {
                each(first, &held);
            }
            self.len -= stop - at;
            if leaf.firsts.is_empty() {
                // At most the first and the last of them keep some.
                gone = if gone.is_empty() { index..index + 1 } else { gone.start..index + 1 };
            } else {
                self.lowest[index] = leaf.firsts[0];
            }
            at = 0;
        }
        self.leaves.drain(gone.clone());
        self.lowest.drain(gone);
    }

    /// All runs from a place on; none from no place.
    pub(super) fn iter_at(&self, from: Option<Place>) -> Iter<'_, V> {
        Iter { runs: self, next: from }
    }

    /// All runs.
    pub(super) fn iter(&self) -> Iter<'_, V> {
        self.iter_at(self.after(None))
    }

    /// Checks what must always hold.
    ///
    /// # Panics
    /// If it does not.
    pub(super) fn self_check(&self) {
        assert_eq!(self.lowest.len(), self.leaves.len());
        for (lowest, leaf) in self.lowest.iter().zip(&self.leaves) {
            assert_eq!(leaf.firsts.first(), Some(lowest));
            assert!(leaf.firsts.len() == leaf.held.len() && leaf.firsts.len() <= LEAF);
        }
        assert!(self.iter().is_sorted_by(|(one, _), (next, _)| one < next));
        assert_eq!(self.iter().count(), self.len);
    }
}

/// Runs in order.
#[derive(Debug)]
pub(super) struct Iter<'a, V> {
    runs: &'a Runs<V>,
    next: Option<Place>,
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (u64, &'a Held<V>);

    fn next(&mut self) -> Option<Self::Item> {
        let place = self.next?;
        self.next = self.runs.after(Some(place));
        Some(self.runs.at(place))
    }
}

impl<V> IntoIterator for Runs<V> {
    type Item = (u64, Held<V>);
    type IntoIter = IntoIter<V>;

    fn into_iter(self) -> IntoIter<V> {
        IntoIter { leaves: self.leaves.into_iter(), first: None }
    }
}

/// Runs in order, taken from their map.
#[derive(Debug)]
pub(super) struct IntoIter<V> {
    leaves: vec::IntoIter<Leaf<V>>,
    first: Option<Zip<vec::IntoIter<u64>, vec::IntoIter<Held<V>>>>,
}

impl<V> Iterator for IntoIter<V> {
    type Item = (u64, Held<V>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(next) = self.first.as_mut().and_then(Iterator::next) {
                return Some(next);
            }
            let leaf = self.leaves.next()?;
            self.first = Some(leaf.firsts.into_iter().zip(leaf.held));
        }
    }
}
