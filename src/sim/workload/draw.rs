//! What a client does next.

use std::ops::Range;

use super::{Deed, Shift};
use crate::engine::mesh::CoreId;
use crate::sim::judge::{BLOCK_SECTORS, Command};
use crate::sim::limits::MAX_SNAPSHOTS;
use crate::sim::random::Random;
use crate::sim::subject::ZeroKind;

impl Shift {
    /// A command for a client on this core who sees so many sectors.
    pub(super) fn draw(&self, place: (CoreId, u64), random: &mut Random) -> Deed {
        let mix = &self.scenario.mix;
        let mut ticket = random.below(mix.total());
        let mut is = |weight: u64| {
            let hit = ticket < weight;
            ticket = ticket.wrapping_sub(weight);
            hit
        };
        let (fua, kind) = (random.chance(6), ZeroKind::Zero);
        let (command, kind) = if is(mix.write) {
            let (first, count) = self.range(place, random);
            (Command::Write { first, count, fua: false }, kind)
        } else if is(mix.fua) {
            let (first, count) = self.range(place, random);
            (Command::Write { first, count, fua: true }, kind)
        } else if is(mix.read) {
            let (first, count) = self.range(place, random);
            (Command::Read { first, count }, kind)
        } else if is(mix.flush) {
            (Command::Flush, kind)
        } else if is(mix.discard) {
            let (first, count) = self.wide_range(place, random);
            (Command::Zero { first, count, fua }, ZeroKind::Discard)
        } else if is(mix.zero) {
            let (first, count) = self.wide_range(place, random);
            (Command::Zero { first, count, fua }, kind)
        } else if is(mix.snapshot) && self.judge.borrow().picture_count() < MAX_SNAPSHOTS {
            (Command::Snapshot, kind)
        } else {
            (Command::Cut, kind)
        };
        Deed { command, kind }
    }

    /// A range of sectors within one window, for a client on this core who sees so many sectors.
    fn range(&self, (core, size): (CoreId, u64), random: &mut Random) -> (u64, u64) {
        let unit = if self.scenario.whole_blocks { BLOCK_SECTORS } else { 1 };
        let seen = |window: &Range<u64>| {
            let end = (window.end * BLOCK_SECTORS).min(size);
            let (low, high) = (window.start * BLOCK_SECTORS / unit, end / unit);
            (low < high).then_some((low, high))
        };
        let windows: Vec<_> = self.scenario.windows.iter().filter_map(seen).collect();
        let (low, high) = match self.scenario.near && !random.chance(8) {
            true => windows[usize::from(core.0) % windows.len()],
            false => *random.pick(&windows),
        };
        let most = (self.scenario.request_sectors / unit).clamp(1, high - low);
        let count = random.scaled(1..most + 1);
        // Whole blocks are common even where they are not the rule.
        if unit == 1 && count > BLOCK_SECTORS && random.chance(2) {
            let count = count / BLOCK_SECTORS * BLOCK_SECTORS;
            let first = random.within(low..high - count + 1) / BLOCK_SECTORS * BLOCK_SECTORS;
            return (first.max(low), count);
        }
        (random.within(low..high - count + 1) * unit, count * unit)
    }

    /// A range of sectors, sometimes far beyond the windows.
    fn wide_range(&self, place: (CoreId, u64), random: &mut Random) -> (u64, u64) {
        let (first, count) = self.range(place, random);
        if !self.scenario.wide_zeroes || random.chance(2) {
            return (first, count);
        }
        let end = place.1;
        let first = first - random.below(2) * random.below(first + 1);
        (first, random.within(1..end - first + 1))
    }
}
