//! How fast writes take memory while a cut is sealed: as fast as that gets on.
//!
//! What is packed stays in memory until its manifest is published. Writers who come to the end of
//! memory before have their blocks logged, and sealing reads them back from there: three times the work
//! for the disk, in the middle of a cut that all of them wait for. So while a store keeps up, writers
//! wait for memory, a little each: what is free when sealing begins is dealt out as it gets on. And the
//! slower it gets on, the less memory they have, for no write may be there for long.
//! A store that does not keep up holds nobody: then the log takes what comes, for as long as it can.

use std::cell::Cell;
use std::time::Duration;

use wal::Epoch;

use super::limits::{PACE_CUT, PACE_STANDSTILL, Tuning};
use super::signal::Signal;

/// Eighths of the free memory that writers get at once, and until all is packed: the rest is for
/// what is written while the manifest is published.
const FIRST_EIGHTHS: u64 = 2;
const LAST_EIGHTHS: u64 = 7;

/// Eighths of the memory that writers get until a cut that is due begins: the map may be folded
/// before.
const DUE_EIGHTHS: u64 = 5;

/// Blocks that are packed before those who wait look again.
const STEP: u64 = 128;

/// Part of a cut that must be packed to tell how fast that goes: one in so many blocks.
const TELLING: u64 = 16;

/// A cut that is being sealed.
#[derive(Clone, Copy)]
struct Sealing {
    since: Duration,
    blocks: u64,
    packed: u64,
    /// Those packed that are holes: as many as there are take no time.
    holes: u64,
    /// Blocks that were packed when somebody looked, and when that first was so.
    seen: u64,
    seen_at: Duration,
    /// Blocks in memory only when it began, and how many more may be.
    held: u64,
    free: u64,
}

/// The pace of one shard's writers.
pub(super) struct Pace {
    /// See [`Tuning::cut_unlogged_blocks`]: who writes does not wait for a smaller cut.
    smallest: u64,
    /// See [`Tuning::pace_least`].
    least: u64,
    sealing: Cell<Option<Sealing>>,
    /// A cut is due, and has not begun: blocks that may be in memory only.
    due: Cell<Option<u64>>,
    /// Since when somebody waits for it.
    due_since: Cell<Option<Duration>>,
    /// Blocks that are packed in a second, as the last cut told that was not small.
    rate: Cell<Option<u64>>,
    /// Somebody waited since sealing began.
    waited: Cell<bool>,
    /// The newest epoch whose cut was asked for.
    asked_for: Cell<Epoch>,
    pub(super) moved: Signal,
}

impl Pace {
    pub(super) fn new(tuning: &Tuning) -> Self {
        Self {
            smallest: tuning.cut_unlogged_blocks,
            least: tuning.pace_least,
            sealing: Cell::default(),
            due: Cell::default(),
            due_since: Cell::default(),
            rate: Cell::default(),
            waited: Cell::default(),
            asked_for: Cell::default(),
            moved: Signal::default(),
        }
    }

    /// Blocks that may be in memory only, of `most` for which there is room: two cuts, each packed in
    /// [`PACE_CUT`].
    pub(super) fn room(&self, most: u64) -> u64 {
        let two = |rate: u64| rate.saturating_mul(2 * PACE_CUT.as_millis() as u64) / 1000;
        let least = self.smallest.saturating_mul(2);
        self.rate.get().map_or(most, |rate| two(rate).max(least).min(most))
    }

    /// Whether the next cut, of an epoch with so many blocks in memory only, takes half of the memory,
    /// so that it must be made if the other half shall do until it is published. True once for each,
    /// and not where the store does not keep up.
    pub(super) fn asks(&self, epoch: Epoch, blocks: u64, most: u64) -> bool {
        let room = self.room(most);
        let is_much = blocks >= self.smallest && blocks * 2 >= room;
        if !is_much || !self.is_fast(self.rate.get()) || self.asked_for.replace(epoch) == epoch {
            return false;
        }
        self.due.set(Some((room / 8 * DUE_EIGHTHS).max(blocks)));
        true
    }

    /// Sealing begins, maybe once more: `held` blocks are in memory only, at most `most` may be.
    pub(super) fn begin(&self, blocks: u64, held: u64, most: u64, now: Duration) {
        self.due.set(None);
        self.due_since.set(None);
        let room = self.room(most);
        // Where memory is full writers are slowed down, and not stopped.
        let free = room.saturating_sub(held).max(room / 8).min(most.saturating_sub(held));
        let (packed, holes, seen) = (0, 0, 0);
        let sealing = Sealing { since: now, blocks, packed, holes, seen, seen_at: now, held, free };
        self.sealing.set((blocks > 0 && blocks >= self.smallest).then_some(sealing));
    }

    /// So many more blocks are packed.
    pub(super) fn packed(&self, blocks: u64) {
        let Some(before) = self.sealing.get() else { return };
        let packed = (before.packed + blocks).min(before.blocks);
        self.sealing.set(Some(Sealing { packed, ..before }));
        if before.packed / STEP != packed / STEP {
            self.moved.notify();
        }
    }

    /// The same of blocks that are a hole.
    pub(super) fn packed_hole(&self, blocks: u64) {
        if let Some(before) = self.sealing.get() {
            self.sealing.set(Some(Sealing { holes: before.holes + blocks, ..before }));
        }
        self.packed(blocks);
    }

    /// All of the cut is packed.
    pub(super) fn all_packed(&self, now: Duration) {
        if let Some(sealing) = self.sealing.get()
            && sealing.data() >= self.smallest
        {
            self.rate.set(Some(sealing.rate(now)));
        }
    }

    /// The cut is published, and its memory free. Returns whether somebody waited for that.
    pub(super) fn end(&self) -> bool {
        self.sealing.set(None);
        self.moved.notify();
        self.waited.take()
    }

    /// Whether so many blocks may be in memory only now.
    pub(super) fn grants(&self, held: u64) -> bool {
        match (self.sealing.get(), self.due.get()) {
            (Some(sealing), _) => held <= sealing.held + sealing.dealt(),
            (None, Some(due)) => held <= due,
            (None, None) => true,
        }
    }

    /// Whether it is worth to wait for memory: what is being sealed soon gives some back.
    pub(super) fn keeps_up(&self, now: Duration) -> bool {
        let Some(mut sealing) = self.sealing.get() else {
            if self.due.get().is_none() {
                return false;
            }
            let since = self.due_since.get().unwrap_or(now);
            self.due_since.set(Some(since));
            return self.is_fast(self.rate.get()) && now.saturating_sub(since) < PACE_STANDSTILL;
        };
        if sealing.seen != sealing.packed {
            (sealing.seen, sealing.seen_at) = (sealing.packed, now);
            self.sealing.set(Some(sealing));
        }
        let data = sealing.data();
        let tells = data > 0
            && data.saturating_mul(TELLING) >= sealing.blocks.saturating_sub(sealing.holes);
        let is_packed = sealing.packed == sealing.blocks;
        let rate = if tells && !is_packed { Some(sealing.rate(now)) } else { self.rate.get() };
        let stands = now.saturating_sub(sealing.seen_at) >= PACE_STANDSTILL;
        self.is_fast(rate) && !stands
    }

    fn is_fast(&self, rate: Option<u64>) -> bool {
        rate.is_none_or(|rate| rate >= self.least)
    }

    /// Takes note of somebody who waits.
    pub(super) fn note_waiter(&self) {
        self.waited.set(true);
    }
}

impl Sealing {
    /// Blocks that writers may have by now.
    fn dealt(&self) -> u64 {
        let later = self.free * (LAST_EIGHTHS - FIRST_EIGHTHS) / 8;
        let later = u128::from(later) * u128::from(self.packed) / u128::from(self.blocks);
        self.free * FIRST_EIGHTHS / 8 + later as u64
    }

    /// Blocks of data that are packed.
    fn data(&self) -> u64 {
        self.packed.saturating_sub(self.holes)
    }

    /// Blocks of data in a second.
    fn rate(&self, now: Duration) -> u64 {
        let took = now.saturating_sub(self.since).as_millis().max(1);
        u64::try_from(u128::from(self.data()) * 1000 / took).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const MUCH: u64 = 96 << 14;
    const LEAST: u64 = 75_000;

    fn pace(smallest: u64) -> Pace {
        let cut_unlogged_blocks = smallest;
        Pace::new(&Tuning { cut_unlogged_blocks, pace_least: LEAST, ..Tuning::default() })
    }

    #[test]
    fn free_memory_is_dealt_out_as_a_cut_is_packed() {
        let pace = pace(1);
        assert!(pace.grants(u64::MAX), "nothing is being sealed");
        pace.begin(100, 1000, 1800, Duration::ZERO);
        assert!(pace.grants(1200) && !pace.grants(1201), "a quarter of what is free");
        pace.packed(50);
        assert!(pace.grants(1450) && !pace.grants(1451));
        pace.packed(50);
        assert!(pace.grants(1700) && !pace.grants(1701), "the manifest is not published");
        assert!(!pace.end(), "nobody waited");
        assert!(pace.grants(u64::MAX));
        pace.begin(100, 2000, 1800, MS);
        assert!(!pace.grants(2001), "more is held than may be");
    }

    #[test]
    fn the_slower_sealing_is_the_less_memory_writers_have() {
        let pace = pace(2);
        assert_eq!(pace.room(MUCH), MUCH, "nothing is known yet");
        assert!(!pace.asks(Epoch(1), MUCH / 2 - 1, MUCH) && pace.asks(Epoch(1), MUCH / 2, MUCH));
        assert!(!pace.asks(Epoch(1), MUCH, MUCH), "once for each cut");
        pace.begin(MUCH / 2, MUCH / 2, MUCH, Duration::ZERO);
        pace.packed(MUCH / 2);
        pace.all_packed(PACE_CUT * 2);
        assert_eq!(pace.room(MUCH), MUCH / 2, "a cut of a quarter is packed in time");
        assert!(pace.asks(Epoch(2), MUCH / 4, MUCH));
        pace.begin(MUCH / 2, MUCH / 2, MUCH, Duration::ZERO);
        let (quarter, little) = (MUCH / 16 / 4, MUCH / 2);
        assert!(pace.grants(little + quarter) && !pace.grants(little + quarter + 1), "some");
        pace.end();
        pace.begin(1, 1, MUCH, Duration::ZERO);
        pace.all_packed(PACE_CUT * 2);
        assert_eq!(pace.room(MUCH), MUCH / 2, "a small cut tells nothing");
    }

    #[test]
    fn a_large_hole_tells_nothing_of_how_fast_data_are_packed() {
        let pace = pace(2);
        let (hole, second) = (1 << 40, MS * 1000);
        pace.begin(hole + LEAST, 0, MUCH, Duration::ZERO);
        pace.packed_hole(hole);
        pace.packed(LEAST / 8);
        assert!(!pace.keeps_up(second), "an eighth of the data in a second");
        pace.packed(LEAST - LEAST / 8);
        pace.all_packed(second * 10);
        assert_eq!(pace.room(MUCH), LEAST / 10 * 3, "two cuts of what is packed in time");
        pace.end();
        pace.begin(hole + 1, 0, MUCH, Duration::ZERO);
        pace.packed_hole(hole);
        pace.packed(1);
        pace.all_packed(second);
        assert_eq!(pace.room(MUCH), LEAST / 10 * 3, "a small cut");
    }

    #[test]
    fn until_a_cut_that_is_due_begins_writers_have_a_little_more_than_half() {
        let pace = pace(1);
        assert!(pace.asks(Epoch(1), 800, 1600));
        assert!(pace.grants(1000) && !pace.grants(1001));
        assert!(pace.keeps_up(MS) && pace.keeps_up(PACE_STANDSTILL));
        assert!(!pace.keeps_up(MS + PACE_STANDSTILL), "it does not begin");
        pace.begin(1000, 1000, 1600, MS);
        assert!(pace.grants(1150));
        pace.end();
        assert!(pace.grants(u64::MAX) && !pace.keeps_up(MS));
    }

    #[test]
    fn nobody_waits_for_a_store_that_does_not_keep_up() {
        let pace = pace(1);
        assert!(!pace.keeps_up(Duration::ZERO), "nothing to wait for");
        let second = MS * 1000;
        pace.begin(LEAST * 4, 0, MUCH, Duration::ZERO);
        assert!(pace.keeps_up(MS), "nothing is known yet");
        assert!(!pace.keeps_up(PACE_STANDSTILL), "it does not get on");
        pace.packed(LEAST - 1);
        assert!(!pace.keeps_up(second), "too slow");
        pace.packed(LEAST);
        assert!(pace.keeps_up(second), "it does get on");
        pace.packed(LEAST * 2);
        pace.note_waiter();
        pace.all_packed(second * 5);
        assert!(pace.end(), "somebody waited");
        pace.begin(LEAST, 0, MUCH, second);
        assert!(!pace.keeps_up(second), "the last one was slow");
        pace.packed(LEAST / 2);
        assert!(pace.keeps_up(second + MS), "this one is not");
    }
}
