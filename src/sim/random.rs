//! Random numbers that are the same on every machine and in every version: SplitMix64 (Steele,
//! Lea and Flood, "Fast splittable pseudorandom number generators", 2014).

use std::ops::Range;

/// A stream of random numbers, wholly decided by its seed.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

/// The finishing function of SplitMix64: spreads every input bit over all output bits.
#[must_use]
pub fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

impl Random {
    /// The stream `label` of a seed. Each part of a world draws from its own stream, so that a
    /// change in one part leaves the draws of the others alone.
    #[must_use]
    pub fn stream(seed: u64, label: &str) -> Self {
        let fold = |sum: u64, byte: u8| mix(sum.wrapping_add(u64::from(byte)));
        Self { state: label.bytes().fold(mix(seed ^ 0x6B72_6169_7473_696D), fold) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.state)
    }

    /// A number of `0..count`, which must not be empty.
    pub fn below(&mut self, count: u64) -> u64 {
        assert!(count > 0, "nothing to choose from");
        ((u128::from(self.bits()) * u128::from(count)) >> 64) as u64
    }

    /// A number of `range`, which must not be empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// A number of `range` (above 0), small ones as likely as large ones by magnitude.
    pub fn scaled(&mut self, range: Range<u64>) -> u64 {
        let doublings = (range.end / range.start.max(1)).ilog2() + 1;
        let top = range.start << self.within(1..u64::from(doublings) + 1);
        self.within(range.start..top.clamp(range.start + 1, range.end))
    }

    /// True once in `one_in` draws; never if `one_in` is 0.
    pub fn chance(&mut self, one_in: u64) -> bool {
        one_in > 0 && self.below(one_in) == 0
    }

    /// One of several; there must be one.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_never_change() {
        let mut random = Random { state: 0 };
        // The first outputs of SplitMix64 from state 0, as its authors publish them.
        assert_eq!(random.bits(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(random.bits(), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn every_draw_stays_in_its_range() {
        let mut random = Random::stream(7, "test");
        for _ in 0..2000 {
            assert!((5..9).contains(&random.within(5..9)));
            assert!((3..1000).contains(&random.scaled(3..1000)));
            assert!((1..2).contains(&random.scaled(1..2)));
            assert!(!random.chance(0));
        }
    }

    #[test]
    fn streams_of_one_seed_differ() {
        assert_ne!(Random::stream(1, "disk").bits(), Random::stream(1, "store").bits());
    }
}
