//! What sizes the volume, and snapshots of it, may have. All of them in sectors.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::log::{Command, OpId};
use super::{Judge, Verdict, Violation};

/// A change that is under way, or was when the process died.
#[derive(Clone, Copy)]
struct Change {
    to: u64,
    /// What makes the tail read as zeros, if it shrinks.
    discards: Option<OpId>,
}

/// The size of a volume as far as it is known.
#[derive(Clone)]
pub(super) struct Sizes {
    /// What it is, but for the change.
    known: u64,
    change: Option<Change>,
    snapshots: BTreeMap<OpId, RangeInclusive<u64>>,
}

impl Sizes {
    pub(super) fn of(known: u64) -> Self {
        Self { known, change: None, snapshots: BTreeMap::new() }
    }

    fn most(&self) -> u64 {
        self.change.map_or(self.known, |change| change.to.max(self.known))
    }

    /// A snapshot is being made, or was.
    pub(super) fn note_snapshot(&mut self, op: OpId) {
        let most = self.most();
        let (known, new) = (self.known, self.known..=most);
        let seen = self.snapshots.entry(op).or_insert(new);
        *seen = known.min(*seen.start())..=most.max(*seen.end());
    }
}

impl Judge {
    /// The size that is known for certain.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.sizes.known
    }

    /// The volume is about to get another size; when it shrinks, nobody else may do anything until
    /// the outcome is known. False if another change may still be under way.
    pub fn invoke_resize(&mut self, to: u64) -> bool {
        let known = self.sizes.known;
        if self.sizes.change.is_some() {
            return false;
        }
        let tail = Command::Zero { first: to, count: known.saturating_sub(to), fua: false };
        let discards = (to < known).then(|| self.invoke(tail));
        self.sizes.change = Some(Change { to, discards });
        true
    }

    /// It has its new size.
    pub fn resize_done(&mut self, to: u64) {
        // Somebody may have seen it before.
        if let Some(change) = self.sizes.change.take_if(|change| change.to == to) {
            if let Some(discards) = change.discards {
                self.done(discards);
                // What was acknowledged before a volume shrank is published.
                let cut = self.invoke(Command::Cut);
                self.done(cut);
            }
            self.sizes.known = change.to;
        }
    }

    /// An error: until the process dies it may still happen.
    pub fn resize_failed(&mut self) {
        if let Some(discards) = self.sizes.change.and_then(|change| change.discards) {
            self.failed(discards);
        }
    }

    /// A size that a client was told while the volume is open.
    ///
    /// # Errors
    /// If it may not have that.
    pub fn size_seen(&mut self, size: u64) -> Result<(), Violation> {
        if size == self.sizes.known {
            return Ok(());
        }
        let Some(change) = self.sizes.change.take_if(|change| change.to == size) else {
            let expected = format!("it has {} sectors", self.sizes.known);
            return Err(self.wrong_size(size, expected));
        };
        if let Some(discards) = change.discards {
            // In an earlier life, and nobody was told so.
            self.log.happened(discards);
        }
        self.sizes.known = size;
        Ok(())
    }

    /// The size of a volume that was just opened: a change of an earlier life happened, or never
    /// will.
    ///
    /// # Errors
    /// If it may not have that.
    pub fn size_opened(&mut self, size: u64) -> Result<(), Violation> {
        self.size_seen(size)?;
        self.sizes.change = None;
        Ok(())
    }

    /// A snapshot was opened, and has this size.
    ///
    /// # Errors
    /// If the volume never had it while the snapshot was made, or it changed.
    pub fn judge_picture_size(&mut self, snapshot: OpId, size: u64) -> Result<(), Violation> {
        let may = &self.sizes.snapshots[&snapshot];
        if !may.contains(&size) {
            let expected = format!("a snapshot of the volume while it had {may:?} sectors");
            return Err(self.wrong_size(size, expected));
        }
        self.sizes.snapshots.insert(snapshot, size..=size);
        Ok(())
    }

    /// The size of a snapshot that was opened.
    #[must_use]
    pub fn picture_size(&self, snapshot: OpId) -> u64 {
        self.sizes.snapshots.get(&snapshot).map_or(u64::MAX, |size| *size.end())
    }

    fn wrong_size(&self, size: u64, expected: String) -> Violation {
        let found = format!("a size of {size} sectors");
        Violation { verdict: Verdict::Size, sector: size, life: self.log.life(), found, expected }
    }
}

#[cfg(test)]
mod tests {
    use chunk::Durability;

    use super::*;

    fn judge() -> Judge {
        Judge::new(7, std::slice::from_ref(&(0..16)), Durability::Writeback).of_size(64)
    }

    #[test]
    fn a_change_that_was_not_answered_happened_or_not_and_is_known_from_then_on() {
        for (found, other) in [(64, 32), (32, 64)] {
            let mut judge = judge();
            assert!(judge.invoke_resize(32) && !judge.invoke_resize(48));
            judge.crash(true);
            assert_eq!(judge.size_opened(found), Ok(()));
            assert!(judge.size_seen(other).is_err() && judge.size() == found);
        }
    }

    #[test]
    fn a_change_that_was_answered_or_seen_is_for_ever() {
        let (mut answered, mut seen) = (judge(), judge());
        assert!(answered.invoke_resize(80) && seen.invoke_resize(80));
        answered.resize_done(80);
        assert_eq!(seen.size_seen(80), Ok(()));
        for mut judge in [answered, seen] {
            judge.crash(true);
            assert!(judge.size_opened(64).is_err());
            assert_eq!(judge.size_opened(80), Ok(()));
        }
    }

    #[test]
    fn what_is_read_behind_an_end_that_was_is_not_what_stood_there() {
        let mut judge = judge();
        let write = judge.invoke(Command::Write { first: 8, count: 1, fua: true });
        let bytes = judge.payload(write);
        judge.done(write);
        assert!(judge.invoke_resize(8));
        judge.resize_done(8);
        let read = judge.invoke(Command::Read { first: 8, count: 1 });
        assert!(judge.read_done(read, &bytes).is_err());
    }

    #[test]
    fn a_snapshot_has_a_size_that_the_volume_had_while_it_was_made() {
        let mut judge = judge();
        let before = judge.invoke(Command::Snapshot);
        judge.done(before);
        assert!(judge.invoke_resize(80));
        let amid = judge.invoke(Command::Snapshot);
        judge.done(amid);
        judge.resize_done(80);
        assert!(judge.judge_picture_size(before, 80).is_err());
        assert_eq!(judge.judge_picture_size(before, 64), Ok(()));
        assert_eq!(judge.judge_picture_size(amid, 80), Ok(()));
        assert!(judge.judge_picture_size(amid, 64).is_err(), "it changed");
    }
}
