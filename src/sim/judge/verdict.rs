//! What the judge says.

use std::fmt;

/// What is wrong with a sector.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    /// A read went back in time within one life (rule 1).
    StaleRead,
    /// A covered write is not there after a crash (rule 2).
    LostWrite,
    /// What recovery showed is gone, or what it found lost is back (rule 3).
    Unseen,
    /// A write survived the loss of the disk, an earlier one did not (rule 4).
    BrokenPrefix,
    /// Zeros where a version was expected (rule 5): fatal.
    SilentZeros,
    /// A mixture of contents, or noise.
    Torn,
    /// A content of another address, another volume, or of no write at all.
    Foreign,
    /// A snapshot holds something else than before.
    Changed,
    /// The volume, or a snapshot, has a size that it may not have (rule 7).
    Size,
    /// A part of a block is of an uncovered write, another part is older than it.
    TornBlock,
}

/// A promise that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// What is wrong.
    pub verdict: Verdict,
    /// The sector.
    pub sector: u64,
    /// The life in which it was found.
    pub life: u32,
    /// What was found there.
    pub found: String,
    /// What may be there.
    pub expected: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, sector, life, found, expected } = self;
        write!(f, "{verdict:?} in sector {sector}, life {life}: found {found}; {expected}")
    }
}
